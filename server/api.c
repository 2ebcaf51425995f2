/* Calls: envelopes, texts, the way from an error to a status, and from the loop to a worker.
 *
 * The call lies in the request's arena, so the last thing that ends it is http_reply and nothing
 * may be read from it afterwards. Order at the end: close the view, release the collection, reply.
 */
#include "server/api.h"

#include "index/utf8.h"
#include "server/unpack.h"

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
                        const char *extra, struct text *out)
{
    if (extra == NULL && (status == 503 || status == 429))
        extra = RETRY_AFTER;
    struct http_body body = {out->data, out->bytes};
    *out = (struct text){0};
    http_reply(request, status, type, extra, body);
}

void text_result_begin(struct text *out)
{
    text_puts(out, "{\"result\":");
}

static void request_ok_headers(struct http_request *request, const char *headers, struct text *out)
{
    text_puts(out, ",\"status\":\"ok\"");
    text_time(out, request);
    request_end(request, 200, JSON_TYPE, headers, out);
}

void request_ok(struct http_request *request, struct text *out)
{
    request_ok_headers(request, NULL, out);
}

/* Texts echo what clients sent, cut somewhere: what is no UTF-8 becomes a question mark. */
static void utf8_repair(char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t step = utf8_length(span_of(text + at, bytes - at));
        if (step == 0)
            text[at] = '?';
        at += step == 0 ? 1 : step;
    }
}

__attribute__((format(printf, 2, 0))) static struct span
message_format(char message[ERROR_TEXT_BYTES_MAX], const char *format, va_list arguments)
{
    int length = vsnprintf(message, ERROR_TEXT_BYTES_MAX, format, arguments);
    size_t bytes = length < 0 ? 0 : (size_t)length;
    if (bytes >= ERROR_TEXT_BYTES_MAX)
        bytes = ERROR_TEXT_BYTES_MAX - 1;
    utf8_repair(message, bytes);
    return span_of(message, bytes);
}

static void request_fail_message(struct http_request *request, int status, const char *extra,
                                 struct span message)
{
    struct text out = {0};
    text_puts(&out, "{\"status\":{\"error\":");
    text_json_string(&out, message);
    text_puts(&out, "}");
    text_time(&out, request);
    request_end(request, status, JSON_TYPE, extra, &out);
}

void request_fail(struct http_request *request, int status, const char *format, ...)
{
    char message[ERROR_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    struct span text = message_format(message, format, arguments);
    va_end(arguments);
    request_fail_message(request, status, NULL, text);
}

void request_fail_headers(struct http_request *request, int status, const char *extra_headers,
                          const char *format, ...)
{
    char message[ERROR_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    struct span text = message_format(message, format, arguments);
    va_end(arguments);
    request_fail_message(request, status, extra_headers, text);
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

/* Let go of everything the call holds; the reply comes next, then call_ended. */
static struct http_request *call_release(struct call *call)
{
    call_close_view(call);
    collection_release(call->collection);
    call->collection = NULL;
    text_release(&call->out);
    return call->request;
}

/* After the reply, when the call's memory is gone. */
static void call_ended(struct service *service)
{
    atomic_fetch_sub_explicit(&service->calls, 1, memory_order_release);
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
    struct service *service = call->service;
    struct text out = call->out;
    const char *headers = call->headers;
    call->out = (struct text){0};
    request_ok_headers(call_release(call), headers, &out);
    call_ended(service);
}

void call_reply(struct call *call, int status, const char *content_type, const char *headers,
                struct text *out)
{
    struct service *service = call->service;
    struct text body = *out;
    *out = (struct text){0};
    request_end(call_release(call), status, content_type, headers, &body);
    call_ended(service);
}

void call_text(struct call *call, int status, const char *content_type, const char *body)
{
    struct text out = {0};
    text_puts(&out, body);
    call_reply(call, status, content_type, NULL, &out);
}

void call_bytes(struct call *call, const char *content_type)
{
    if (!call_result_fits(call))
        return;
    struct service *service = call->service;
    struct text out = call->out;
    const char *headers = call->headers;
    call->out = (struct text){0};
    request_end(call_release(call), 200, content_type, headers, &out);
    call_ended(service);
}

/* ---- in pieces ---- */

static void piece_run(struct task *task, struct worker *worker)
{
    struct call *call = (struct call *)(void *)task;
    call->worker = worker;
    call->deadline_ns = clock_ns() + (uint64_t)call->timeout_s * 1000000000u;
    call->next(call);
}

static void piece_ready(struct http_request *request, bool gone)
{
    struct call *call = request->user;
    call->gone = gone;
    call->task.run = piece_run;
    workers_continue(call->service->workers, &call->task);
}

void call_pieces(struct call *call, const char *type, uint64_t length, call_handler *next)
{
    call->next = next;
    http_reply_begin(call->request, 200, type, call->headers, length, piece_ready);
}

void call_piece(struct call *call, enum http_piece piece)
{
    struct service *service = call->service;
    struct http_body body = {call->out.data, call->out.bytes};
    call->out = (struct text){0};
    http_reply_piece(call_release(call), body, piece);
    if (piece != HTTP_PIECE_MORE)
        call_ended(service);
}

void call_fail(struct call *call, int status, const char *format, ...)
{
    struct service *service = call->service;
    char message[ERROR_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    /* before the release: arguments may lie in the view or the collection */
    struct span text = message_format(message, format, arguments);
    va_end(arguments);
    request_fail_message(call_release(call), status, NULL, text);
    call_ended(service);
}

void call_fail_error(struct call *call, enum error error)
{
    struct service *service = call->service;
    const char *operation = call->operation;
    uint32_t timeout_s = call->timeout_s;
    request_fail_error(call_release(call), error, operation, timeout_s);
    call_ended(service);
}

bool call_collection(struct call *call)
{
    assert(call->request->segment_count >= 2 && call->collection == NULL);
    struct span name = call->request->segments[1];
    enum error error = collection_acquire(call->service->database, name, &call->collection);
    if (error == OK) {
        if (collection_first_look(call->collection))
            planner_touch(call->service->planner, collection_name(call->collection));
        return call_limits_begin(call);
    }
    call->collection = NULL;
    /* a name that cannot be one names nothing */
    call_fail_error(call, error == ERROR_INVALID ? ERROR_NOT_FOUND : error);
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
    if (job->name.bytes == 0 && call->collection != NULL)
        job->name = collection_name(call->collection); /* the path may say an alias of it */
    if (job->name.bytes == 0 && call->request->segment_count >= 2)
        job->name = call->request->segments[1];
    if (job->kind == WRITE_OP && job->collection == NULL)
        job->collection = call->collection;
    if (writer_submit(call->service->writer, job))
        return true;
    call_fail(call, 503, "Shard temporarily unavailable: the write queue is full");
    return false;
}

/* ---- from the loop to a worker ---- */

bool request_read_packing(struct http_request *request, enum packing *packing)
{
    if (packing_parse(request->content_encoding, packing))
        return true;
    request_fail_headers(request, 415, "Accept-Encoding: " PACKINGS_TEXT "\r\n",
                         "Bad request: Content-Encoding must be gzip, zstd or identity");
    return false;
}

/* Unpack a body into the arena, doubling as it grows; the cap is that of plain bodies. */
static bool body_unpack(struct call *call, enum packing packing, struct span *body)
{
    struct unpack unpack;
    size_t capacity = 64u << 10, made = 0;
    uint8_t *out = arena_allocate(call->arena, capacity);
    unpack_begin(&unpack, packing, call->service->config->http.body_bytes);
    struct span rest = *body;
    enum unpack_state state = UNPACK_FULL;
    while (state == UNPACK_FULL) {
        if (made == capacity) {
            uint8_t *larger = arena_allocate(call->arena, 2 * capacity);
            out = memcpy(larger, out, made);
            capacity *= 2;
        }
        size_t used, step;
        state =
            unpack_step(&unpack, rest.data, rest.bytes, &used, out + made, capacity - made, &step);
        rest = span_of(rest.data + used, rest.bytes - used);
        made += step;
    }
    bool whole = state == UNPACK_MORE && unpack_complete(&unpack);
    unpack_release(&unpack);
    *body = span_of(out, made);
    if (whole)
        return true;
    if (state == UNPACK_TOO_LARGE)
        call_fail(
            call, 413,
            "Bad request: the unpacked body is larger than http.body_bytes_max (%zu bytes) or "
            "more than %u times the packed one",
            call->service->config->http.body_bytes, UNPACK_RATIO_MAX);
    else
        call_fail(call, 400, "Bad request: the body is not a whole %s stream",
                  packing_name(packing));
    return false;
}

static void call_run(struct task *task, struct worker *worker)
{
    struct call *call = (struct call *)(void *)task;
    struct http_request *request = call->request;
    call->worker = worker;
    if (clock_ns() >= call->deadline_ns) {
        call_fail_error(call, ERROR_CANCELLED);
        return;
    }
    enum packing packing;
    if (request->body.bytes > 0 && packing_parse(request->content_encoding, &packing) &&
        packing != PACKING_NONE && !body_unpack(call, packing, &request->body))
        return;
    call->handler(call);
}

void call_start(struct call *call)
{
    struct service *service = call->service;
    call->task.run = call_run;
    call->deadline_ns = clock_ns() + (uint64_t)call->timeout_s * 1000000000u;
    atomic_fetch_add_explicit(&service->calls, 1, memory_order_relaxed);
    if (!workers_submit(service->workers, &call->task))
        call_fail(call, 503, "Shard temporarily unavailable: too many requests are waiting");
}
