/* Calls: envelopes, texts, the way from an error to a status, query parameters, point ids.
 *
 * The call lies in the request's arena, so the last thing that ends it is http_reply and nothing
 * may be read from it afterwards. Order at the end: close the view, release the collection, reply.
 */
#include "server/api.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define JSON_TYPE "application/json"
#define RETRY_AFTER "Retry-After: 1\r\n"
#define ERROR_TEXT_BYTES_MAX 4096 /* an error echoes names and values, cut here */

uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- envelopes ---- */

static double request_seconds(const struct http_request *request)
{
    uint64_t now = clock_ns();
    return now <= request->started_ns ? 0.0 : (double)(now - request->started_ns) * 1e-9;
}

static void text_time(struct text *out, const struct http_request *request)
{
    text_printf(out, ",\"time\":%.9f}", request_seconds(request));
}

static void request_end(struct http_request *request, int status, const char *type,
                        struct text *out)
{
    const char *extra = status == 503 || status == 429 ? RETRY_AFTER : NULL;
    struct http_body body = {out->data, out->bytes};
    *out = (struct text){0};
    http_reply(request, status, type, extra, body);
}

void text_result_begin(struct text *out)
{
    text_puts(out, "{\"result\":");
}

void request_ok(struct http_request *request, struct text *out)
{
    text_puts(out, ",\"status\":\"ok\"");
    text_time(out, request);
    request_end(request, 200, JSON_TYPE, out);
}

/* Without the last character if it has several bytes: it may have been cut, and the reply must stay
 * valid UTF-8. */
static size_t utf8_cut(const char *text, size_t bytes)
{
    while (bytes > 0 && ((uint8_t)text[bytes - 1] & 0xC0) == 0x80)
        bytes--;
    return bytes > 0 && (uint8_t)text[bytes - 1] >= 0xC0 ? bytes - 1 : bytes;
}

__attribute__((format(printf, 2, 0))) static struct span
message_format(char message[ERROR_TEXT_BYTES_MAX], const char *format, va_list arguments)
{
    int length = vsnprintf(message, ERROR_TEXT_BYTES_MAX, format, arguments);
    size_t bytes = length < 0 ? 0 : (size_t)length;
    if (bytes >= ERROR_TEXT_BYTES_MAX)
        bytes = utf8_cut(message, ERROR_TEXT_BYTES_MAX - 1);
    return span_of(message, bytes);
}

static void request_fail_message(struct http_request *request, int status, struct span message)
{
    struct text out = {0};
    text_puts(&out, "{\"status\":{\"error\":");
    text_json_string(&out, message);
    text_puts(&out, "}");
    text_time(&out, request);
    request_end(request, status, JSON_TYPE, &out);
}

void request_fail(struct http_request *request, int status, const char *format, ...)
{
    char message[ERROR_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    struct span text = message_format(message, format, arguments);
    va_end(arguments);
    request_fail_message(request, status, text);
}

/* ---- errors to statuses ---- */

const char *request_segment_text(struct http_request *request, size_t i)
{
    if (i >= request->segment_count)
        return "";
    struct span segment = request->segments[i];
    return arena_format(&request->arena, "%.*s", (int)segment.bytes, (const char *)segment.data);
}

void request_fail_error(struct http_request *request, enum error error, const char *operation,
                        uint32_t timeout_s)
{
    const char *name = request_segment_text(request, 1);
    switch (error) {
    case ERROR_NOT_FOUND:
        request_fail(request, 404, "Not found: Collection `%s` doesn't exist!", name);
        return;
    case ERROR_EXISTS:
        request_fail(request, 409, "Wrong input: Collection `%s` already exists!", name);
        return;
    case ERROR_INVALID:
    case ERROR_TOO_LARGE:
        request_fail(request, 400, "Wrong input: %s", error_text(error));
        return;
    case ERROR_FULL:
        request_fail(request, 507, "Insufficient storage: %s", error_text(error));
        return;
    case ERROR_BUSY:
        request_fail(request, 503, "Shard temporarily unavailable: %s", error_text(error));
        return;
    case ERROR_CANCELLED:
        request_fail(request, 408, "Timeout: Operation '%s' timed out after %" PRIu32 " seconds",
                     operation, timeout_s);
        return;
    case OK:
    case ERROR_IO:
    case ERROR_CORRUPT:
    case ERROR_LOCKED:
    case ERROR_PERMISSION:
    case ERROR_NEWER:
    case ERROR_READ_ONLY:
        break;
    }
    request_fail(request, 500, "Service internal error: Collection `%s`: %s", name,
                 error_text(error));
}

/* ---- the call ---- */

struct call *call_new(struct service *service, struct http_request *request, call_handler *handler,
                      const char *operation)
{
    struct call *call = arena_allocate(&request->arena, sizeof *call);
    memset(call, 0, sizeof *call);
    call->service = service;
    call->request = request;
    call->arena = &request->arena;
    call->handler = handler;
    call->operation = operation;
    return call;
}

static void call_close_view(struct call *call)
{
    if (call->view_open)
        view_close(&call->view);
    call->view_open = false;
}

/* Let go of everything the call holds; the reply comes next. */
static struct http_request *call_release(struct call *call)
{
    call_close_view(call);
    collection_release(call->collection);
    call->collection = NULL;
    return call->request;
}

struct text *call_result(struct call *call)
{
    assert(call->out.bytes == 0);
    text_result_begin(&call->out);
    return &call->out;
}

bool call_result_fits(struct call *call)
{
    uint64_t limit = call->service->config->response_bytes_max;
    if (call->out.bytes <= limit)
        return true;
    call_fail(call, 400,
              "Bad request: the reply would be larger than service.response_bytes_max (%" PRIu64
              " bytes); ask for fewer points",
              limit);
    return false;
}

void call_ok(struct call *call)
{
    assert(call->out.bytes > 0);
    if (!call_result_fits(call))
        return;
    struct text out = call->out;
    call->out = (struct text){0};
    request_ok(call_release(call), &out);
}

void call_text(struct call *call, int status, const char *content_type, const char *body)
{
    struct text out = {0};
    text_puts(&out, body);
    text_release(&call->out);
    request_end(call_release(call), status, content_type, &out);
}

void call_fail(struct call *call, int status, const char *format, ...)
{
    char message[ERROR_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    /* before the release: arguments may lie in the view or the collection */
    struct span text = message_format(message, format, arguments);
    va_end(arguments);
    text_release(&call->out);
    request_fail_message(call_release(call), status, text);
}

void call_fail_error(struct call *call, enum error error)
{
    const char *operation = call->operation;
    uint32_t timeout_s = call->timeout_s;
    text_release(&call->out);
    request_fail_error(call_release(call), error, operation, timeout_s);
}

void call_fail_json(struct call *call, const struct json *json)
{
    call_fail(call, 400, "Format error in JSON body: %s", json->why == NULL ? "" : json->why);
}

bool call_collection(struct call *call)
{
    assert(call->request->segment_count >= 2 && call->collection == NULL);
    struct span name = call->request->segments[1];
    enum error error = collection_acquire(call->service->database, name, &call->collection);
    if (error == OK)
        return true;
    call->collection = NULL;
    call_fail_error(call, error);
    return false;
}

bool call_view(struct call *call)
{
    assert(call->worker != NULL && !call->view_open);
    enum error error =
        view_open(collection_environment(call->collection), call->worker->reader, &call->view);
    call->view_open = error == OK;
    if (error != OK)
        call_fail_error(call, error);
    return error == OK;
}

/* The view closes here: it belongs to this worker, the call goes on on the writer's thread, and a
 * writer that must grow the map waits for every view. */
bool call_submit_write(struct call *call, void (*done)(struct write_job *job))
{
    struct write_job *job = &call->job;
    call_close_view(call);
    job->done = done;
    if (job->name.bytes == 0 && call->request->segment_count >= 2)
        job->name = call->request->segments[1];
    if (job->kind == WRITE_OP && job->collection == NULL)
        job->collection = call->collection;
    if (writer_submit(call->service->writer, job))
        return true;
    call_fail(call, 503, "Shard temporarily unavailable: the write queue is full");
    return false;
}

/* ---- query parameters ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A malformed escape is kept as it is: parameters we do not know must not be an error. */
static struct span query_decode(struct arena *arena, struct span text)
{
    uint8_t *out = arena_allocate(arena, text.bytes + 1);
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (c == '%' && i + 2 < text.bytes && hex_digit(text.data[i + 1]) >= 0 &&
            hex_digit(text.data[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[bytes++] = c;
    }
    out[bytes] = 0;
    return span_of(out, bytes);
}

static bool query_next(struct span *rest, struct span *pair)
{
    if (rest->bytes == 0)
        return false;
    const uint8_t *end = memchr(rest->data, '&', rest->bytes);
    size_t bytes = end == NULL ? rest->bytes : (size_t)(end - rest->data);
    *pair = span_of(rest->data, bytes);
    size_t used = end == NULL ? bytes : bytes + 1;
    *rest = span_of(rest->data + used, rest->bytes - used);
    return true;
}

bool request_parameter(struct http_request *request, const char *name, struct span *value)
{
    struct span rest = request->query, pair;
    while (query_next(&rest, &pair)) {
        const uint8_t *equals = pair.bytes == 0 ? NULL : memchr(pair.data, '=', pair.bytes);
        size_t key_bytes = equals == NULL ? pair.bytes : (size_t)(equals - pair.data);
        struct span key = query_decode(&request->arena, span_of(pair.data, key_bytes));
        if (!span_equal(key, span_text(name)))
            continue;
        *value = equals == NULL ? (struct span){0}
                                : query_decode(&request->arena,
                                               span_of(equals + 1, pair.bytes - key_bytes - 1));
        return true;
    }
    return false;
}

/* Digits only, no overflow. */
static bool parse_u64(struct span text, uint64_t *value)
{
    if (text.bytes == 0 || text.bytes > 20)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *value = v;
    return true;
}

bool request_parameter_u64(struct http_request *request, const char *name, uint64_t min,
                           uint64_t max, uint64_t *value)
{
    struct span text;
    if (!request_parameter(request, name, &text))
        return true;
    uint64_t v;
    if (!parse_u64(text, &v)) {
        request_fail(request, 400,
                     "Deserialize error in query parameters: %s: invalid value `%.*s`, expected an "
                     "unsigned integer",
                     name, (int)text.bytes, (const char *)text.data);
        return false;
    }
    if (v < min || v > max) {
        char range[64];
        if (max == UINT64_MAX)
            snprintf(range, sizeof range, "must be %" PRIu64 " or larger", min);
        else
            snprintf(range, sizeof range, "must be from %" PRIu64 " to %" PRIu64, min, max);
        request_fail(request, 422,
                     "Validation error in query parameters: [%s: value %" PRIu64 " invalid, %s]",
                     name, v, range);
        return false;
    }
    *value = v;
    return true;
}

bool request_parameter_bool(struct http_request *request, const char *name, bool *value)
{
    struct span text;
    if (!request_parameter(request, name, &text))
        return true;
    bool is_true = span_equal(text, span_text("true"));
    if (!is_true && !span_equal(text, span_text("false"))) {
        request_fail(request, 400,
                     "Deserialize error in query parameters: %s: provided string was not `true` or "
                     "`false`",
                     name);
        return false;
    }
    *value = is_true;
    return true;
}

/* ---- point ids ---- */

static bool uuid_parse_hyphenated(const uint8_t *text, uint8_t out[16])
{
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text[at++] != '-')
                return false;
        }
        int high = hex_digit(text[at]), low = hex_digit(text[at + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
        at += 2;
    }
    return true;
}

static bool uuid_parse_simple(const uint8_t *text, uint8_t out[16])
{
    for (size_t i = 0; i < 16; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* The four spellings differ in length: 32 plain, 36 hyphenated, 38 in braces, 45 as a URN. */
static bool uuid_parse(struct span text, uint8_t out[16])
{
    switch (text.bytes) {
    case 32:
        return uuid_parse_simple(text.data, out);
    case 36:
        return uuid_parse_hyphenated(text.data, out);
    case 38:
        return text.data[0] == '{' && text.data[37] == '}' &&
               uuid_parse_hyphenated(text.data + 1, out);
    case 45:
        return memcmp(text.data, "urn:uuid:", 9) == 0 && uuid_parse_hyphenated(text.data + 9, out);
    default:
        return false;
    }
}

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

void text_point_id(struct text *text, const struct point_id *id)
{
    if (id->kind == POINT_ID_NUMBER) {
        text_u64(text, load64_big(id->bytes));
        return;
    }
    static const char digits[] = "0123456789abcdef";
    char out[38];
    size_t bytes = 0;
    out[bytes++] = '"';
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[bytes++] = '-';
        out[bytes++] = digits[id->bytes[i] >> 4];
        out[bytes++] = digits[id->bytes[i] & 15];
    }
    out[bytes++] = '"';
    text_put(text, out, bytes);
}
