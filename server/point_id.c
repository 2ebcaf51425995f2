/* Point ids as JSON and as text: an unsigned number, or a UUID in four spellings. */
#include "index/uuid.h"
#include "server/api.h"

static bool id_from_uuid(struct span text, struct point_id *id)
{
    struct point_id parsed = {.kind = POINT_ID_UUID};
    if (!uuid_parse(text, parsed.bytes))
        return false;
    *id = parsed;
    return true;
}

bool point_id_parse_text(struct span text, struct point_id *id)
{
    uint64_t number;
    if (parse_u64(text, &number)) {
        *id = point_id_number(number);
        return true;
    }
    return id_from_uuid(text, id);
}

static bool id_refuse(struct json *json, struct span text)
{
    return json_fail(json,
                     "value %.*s is not a valid point ID, valid values are either an unsigned "
                     "integer or a UUID",
                     (int)(text.bytes > 100 ? 100 : text.bytes), (const char *)text.data);
}

bool api_read_id(struct json *json, struct point_id *id)
{
    enum json_token token = json_peek(json);
    struct span text;
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
