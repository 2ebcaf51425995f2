/* Point ids as JSON and as text: an unsigned number, or a UUID in four spellings. */
#include "index/string_id.h"
#include "index/uuid.h"
#include "server/fields.h"

static bool id_from_uuid(struct span text, struct point_id *id)
{
    struct point_id parsed = {.kind = POINT_ID_UUID};
    if (!uuid_parse(text, parsed.bytes))
        return false;
    *id = parsed;
    return true;
}

bool point_id_parse_text(struct span text, uint32_t string_bytes_max, struct point_id *id)
{
    uint64_t number;
    if (parse_u64(text, &number)) {
        *id = point_id_number(number);
        return true;
    }
    if (string_bytes_max == 0)
        return id_from_uuid(text, id);
    *id = point_id_string(text);
    return text.bytes > 0 && text.bytes <= string_bytes_max;
}

uint32_t call_id_bytes_max(const struct call *call)
{
    if (call->collection == NULL || !collection_settings(call->collection)->string_ids)
        return 0;
    return call->service->config->strict.id_bytes_max;
}

static bool id_refuse(struct json *json, struct span text)
{
    return json_fail(json,
                     "value %.*s is not a valid point ID, valid values are either an unsigned "
                     "integer or a UUID",
                     (int)(text.bytes > 100 ? 100 : text.bytes), (const char *)text.data);
}

/* In a collection that has string ids: any string is one. */
static bool read_string(struct body *body, struct span text, struct point_id *id)
{
    if (text.bytes == 0 || text.bytes > body->filters.id_bytes_max)
        return json_fail(&body->json, POINT_ID_STRING_TEXT, body->filters.id_bytes_max);
    *id = point_id_string(text);
    return true;
}

bool api_read_id(struct body *body, struct point_id *id)
{
    struct span text;
    return api_read_id_text(body, id, &text);
}

bool api_read_id_text(struct body *body, struct point_id *id, struct span *id_text)
{
    struct json *json = &body->json;
    enum json_token token = json_peek(json);
    struct span text;
    *id_text = (struct span){0};
    if (token == JSON_STRING && body->filters.id_bytes_max > 0)
        return json_string(json, id_text) && read_string(body, *id_text, id);
    if (token == JSON_NUMBER) {
        uint64_t number;
        if (!json_number(json, &text))
            return false;
        if (!parse_u64(text, &number))
            return id_refuse(json, text);
        *id = point_id_number(number);
        return true;
    }
    if (token == JSON_STRING)
        return json_string(json, &text) && (id_from_uuid(text, id) || id_refuse(json, text));
    if (token == JSON_ERROR)
        return false;
    return id_refuse(json, span_text(token == JSON_NULL     ? "null"
                                     : token == JSON_TRUE   ? "true"
                                     : token == JSON_FALSE  ? "false"
                                     : token == JSON_OBJECT ? "{...}"
                                     : token == JSON_ARRAY  ? "[...]"
                                                            : "(nothing)"));
}

void text_point_id_bare(struct text *text, const struct point_id *id)
{
    if (id->kind == POINT_ID_NUMBER) {
        text_u64(text, load64_big(id->bytes));
        return;
    }
    static const char digits[] = "0123456789abcdef";
    char out[36];
    size_t bytes = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[bytes++] = '-';
        out[bytes++] = digits[id->bytes[i] >> 4];
        out[bytes++] = digits[id->bytes[i] & 15];
    }
    text_put(text, out, bytes);
}

void text_point_id(struct text *text, const struct point_id *id)
{
    const char *quote = id->kind == POINT_ID_NUMBER ? "" : "\"";
    text_puts(text, quote);
    text_point_id_bare(text, id);
    text_puts(text, quote);
}

void text_row_id_bare(struct text *text, const struct point_row *row)
{
    if (row->id.kind == POINT_ID_STRING)
        text_put(text, row->id_text.data, row->id_text.bytes);
    else
        text_point_id_bare(text, &row->id);
}

void text_row_id(struct text *text, const struct point_row *row)
{
    if (row->id.kind == POINT_ID_STRING)
        text_json_string(text, row->id_text);
    else
        text_point_id(text, &row->id);
}

enum error text_slot_id(struct text *text, const struct view *view, const struct point_id *id,
                        uint64_t slot)
{
    struct point_row row;
    if (id->kind != POINT_ID_STRING) {
        text_point_id(text, id);
        return OK;
    }
    const enum error error = view_point(view, slot, &row);
    if (error == OK)
        text_row_id(text, &row);
    return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
}

/* The first string of a JSON text that the id stands for; empty: there is none. */
static struct span find_string(struct span text, const struct point_id *id, struct arena *arena)
{
    const uint8_t *at = text.data, *const end = text.data + text.bytes;
    while (at < end && (at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        const uint8_t *last = at + 1;
        struct json json;
        struct span string;
        while (last < end && *last != '"')
            last += *last == '\\' ? 2 : 1;
        if (last >= end)
            break;
        json_init(&json, span_of(at, (size_t)(last + 1 - at)), arena);
        if (last - at <= 6 * POINT_ID_TEXT_BYTES_MAX && json_string(&json, &string)) {
            const struct point_id found = point_id_string(string);
            if (point_id_compare(&found, id) == 0)
                return string;
        }
        at = last + 1;
    }
    return (struct span){0};
}

const char *request_id_text(struct http_request *request, const struct point_id *id)
{
    struct arena *arena = &request->arena;
    if (id->kind == POINT_ID_STRING) {
        const struct span found = find_string(request->body, id, arena);
        if (found.bytes > 0)
            return arena_format(arena, "%.*s", (int)found.bytes, (const char *)found.data);
    }
    struct text name = {0};
    text_point_id_bare(&name, id);
    const char *shown = arena_format(arena, "%.*s", (int)name.bytes, name.data);
    text_release(&name);
    return shown;
}
