/* GET and POST /collections/{c}/export: all points, or those of a filter, of any number.
 *
 * As lines (format=ndjson): in the order of ids, in pieces of about 256 KiB, each made when the one
 * before has gone to the client. A piece is one published version and holds view and collection
 * only while it is made, so no reader waits for a socket; between two pieces writes go on. A point
 * that is there throughout is exported exactly once; one that is written, changed or deleted
 * meanwhile is there or not, and then whole.
 *
 * As a matrix (format=npy): its head says how many rows there are, so all of it is spooled over one
 * version to an unlinked file in the data directory, at disk speed, and sent from there. */
#include "server/export.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "index/point_walk.h"
#include "server/log.h"

enum { SEEN_FILTER = 1, SEEN_PAYLOAD = 2, SEEN_VECTOR = 4 };

/* ---- the end ---- */

static void finish(struct call *call, struct export *export, enum http_piece piece)
{
    if (export->file >= 0)
        (void)close(export->file);
    atomic_fetch_sub(&call->service->exports, 1);
    call_piece(call, piece);
}

/* What has gone cannot be taken back: the client sees the connection end within the body. */
static void cut(struct call *call, struct export *export, enum error error)
{
    char quoted[300];
    if (!call->gone)
        log_write(LOG_LEVEL_WARN, "export cut", "collection=%s error=\"%s\"",
                  log_quote(export->name, quoted, sizeof quoted), error_text(error));
    text_release(&call->out);
    finish(call, export, HTTP_PIECE_CUT);
}

/* ---- lines ---- */

static enum error put_line(struct call *call, const struct export *export, uint64_t slot)
{
    struct point_row row;
    enum error error = view_point(&call->view, slot, &row);
    if (error == OK)
        error = selectors_put_record(&export->selectors, &call->view, slot, &row,
                                     collection_settings(call->collection), NULL, &call->out);
    text_puts(&call->out, "\n");
    return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
}

/* One piece into call->out. *more: there is another, from export->next on. */
static enum error put_lines(struct call *call, struct export *export, bool *more)
{
    const struct id_slot *item = NULL;
    struct point_walk *walk = allocate(sizeof *walk);
    enum error error =
        point_walk_begin(walk, call->collection, &call->view, export->filter,
                         export->begun ? &export->next : NULL, call->deadline_ns, NULL);
    *more = false;
    while (error == OK) {
        error = point_walk_next(walk, &item);
        if (error != OK || item == NULL)
            break;
        if (call->out.bytes >= EXPORT_PIECE_BYTES) {
            export->next = item->id;
            export->begun = *more = true;
            break;
        }
        error = put_line(call, export, item->slot);
    }
    point_walk_end(walk);
    free(walk);
    return error;
}

/* The collection again, with a view of it. */
static enum error reopen(struct call *call, const struct export *export)
{
    enum error error =
        collection_acquire_unaliased(call->service->database, export->name, &call->collection);
    if (error != OK) {
        call->collection = NULL;
        return error;
    }
    struct environment *environment = collection_environment(call->collection);
    if (environment_directory(environment) != export->directory)
        return ERROR_NOT_FOUND;
    error = view_open(environment, call->worker->reader, &call->view);
    call->view_open = error == OK;
    return error;
}

static void next_lines(struct call *call)
{
    struct export *export = call->extra;
    bool more = false;
    enum error error = call->gone ? ERROR_CANCELLED : reopen(call, export);
    if (error == OK)
        error = put_lines(call, export, &more);
    if (error != OK)
        cut(call, export, error);
    else if (more)
        call_piece(call, HTTP_PIECE_MORE);
    else
        finish(call, export, HTTP_PIECE_LAST);
}

static void begin_lines(struct call *call, struct export *export)
{
    bool more = false;
    const enum error error = put_lines(call, export, &more);
    if (error != OK) {
        atomic_fetch_sub(&call->service->exports, 1);
        call_fail_error(call, error);
        return;
    }
    call_pieces(call, "application/x-ndjson", HTTP_LENGTH_UNKNOWN, next_lines);
    if (more)
        call_piece(call, HTTP_PIECE_MORE);
    else
        finish(call, export, HTTP_PIECE_LAST);
}

/* ---- matrices ---- */

/* The next bytes of the spooled file into call->out. */
static enum error read_file(struct call *call, struct export *export)
{
    const uint64_t left = export->file_bytes - export->file_sent;
    const size_t bytes = left < EXPORT_PIECE_BYTES ? (size_t)left : EXPORT_PIECE_BYTES;
    struct text *out = &call->out;
    out->data = allocate(bytes + 1);
    out->capacity = bytes + 1;
    out->bytes = 0;
    while (out->bytes < bytes) {
        const ssize_t got = pread(export->file, out->data + out->bytes, bytes - out->bytes,
                                  (off_t)(export->file_sent + out->bytes));
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return ERROR_IO;
        out->bytes += got > 0 ? (size_t)got : 0;
    }
    export->file_sent += bytes;
    return OK;
}

static void next_bytes(struct call *call)
{
    struct export *export = call->extra;
    const enum error error = call->gone ? ERROR_CANCELLED : read_file(call, export);
    if (error != OK)
        cut(call, export, error);
    else if (export->file_sent < export->file_bytes)
        call_piece(call, HTTP_PIECE_MORE);
    else
        finish(call, export, HTTP_PIECE_LAST);
}

static void begin_npy(struct call *call, struct export *export)
{
    enum error error = export_npy_spool(call, export);
    if (error == OK)
        error = read_file(call, export);
    if (error != OK) {
        if (export->file >= 0)
            (void)close(export->file);
        atomic_fetch_sub(&call->service->exports, 1);
        call_fail_error(call, error);
        return;
    }
    call_pieces(call, "application/x-npy", export->file_bytes, next_bytes);
    if (export->file_sent < export->file_bytes)
        call_piece(call, HTTP_PIECE_MORE);
    else
        finish(call, export, HTTP_PIECE_LAST);
}

/* ---- what is asked for ---- */

/* What a query string says; each false when it has ended the call. */

static bool read_format(struct call *call, struct export *export)
{
    struct span format;
    if (!request_parameter(call->request, "format", &format))
        return true;
    export->npy = key_is(format, "npy");
    if (export->npy || key_is(format, "ndjson"))
        return true;
    call_fail(call, 400,
              "Deserialize error in query parameters: format: unknown variant `%.*s`, expected "
              "`ndjson` or `npy`",
              (int)format.bytes, (const char *)format.data);
    return false;
}

/* A parameter of the other format would do nothing: said, not ignored. */
static bool check_misplaced(struct call *call, const struct export *export)
{
    static const char *const of_npy[] = {"vector", "with_ids"};
    static const char *const of_lines[] = {"with_payload", "with_vector"};
    const char *const *others = export->npy ? of_lines : of_npy;
    struct span value;
    for (size_t i = 0; i < 2; i++) {
        if (!request_parameter(call->request, others[i], &value))
            continue;
        call_fail(call, 400, "Bad request: %s has no meaning for format=%s", others[i],
                  export->npy ? "npy" : "ndjson");
        return false;
    }
    return true;
}

/* true or false into *value; *given says whether it was there. */
static bool read_flag(struct call *call, const char *name, bool *value)
{
    struct span text;
    if (!request_parameter(call->request, name, &text))
        return true;
    *value = key_is(text, "true");
    if (*value || key_is(text, "false"))
        return true;
    call_fail(call, 400,
              "Deserialize error in query parameters: %s: invalid value `%.*s`, expected `true` or "
              "`false`",
              name, (int)(text.bytes > 255 ? 255 : text.bytes), (const char *)text.data);
    return false;
}

static bool find_matrix(struct call *call, struct export *export)
{
    const struct collection_settings *settings = collection_settings(call->collection);
    struct span name = span_text("");
    (void)request_parameter(call->request, "vector", &name);
    const struct vector_settings *vector = settings_find_vector(settings, name, &export->vector);
    if (vector != NULL && vector->kind == VECTOR_DENSE)
        return true;
    if (vector == NULL)
        call_fail(call, 400, "Wrong input: Not existing vector name error: %.*s", (int)name.bytes,
                  (const char *)name.data);
    else
        call_fail(call, 400,
                  "Bad request: vector `%.*s` is not dense: its rows make no matrix; use "
                  "format=ndjson",
                  (int)name.bytes, (const char *)name.data);
    return false;
}

static bool read_parameters(struct call *call, struct export *export)
{
    bool payload = true, vector = true;
    if (!read_format(call, export) || !check_misplaced(call, export) ||
        !read_flag(call, "with_payload", &payload) || !read_flag(call, "with_vector", &vector) ||
        !read_flag(call, "with_ids", &export->with_ids))
        return false;
    export->selectors.payload = payload ? SELECT_ALL : SELECT_NONE;
    export->selectors.vector = vector ? SELECT_ALL : SELECT_NONE;
    return !export->npy || find_matrix(call, export);
}

static bool read_field(struct call *call, struct export *export, struct body *body, struct span key,
                       unsigned *seen)
{
    const struct collection_settings *settings = collection_settings(call->collection);
    const bool payload = key_is(key, "with_payload");
    if (key_is(key, "filter"))
        return field_once(body, seen, SEEN_FILTER, "filter") &&
               field_filter(body, "filter", &export->filter);
    if (!payload && !key_is(key, "with_vector") && !key_is(key, "with_vectors"))
        return json_skip(&body->json);
    if (export->npy)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "%s has no meaning for format=npy", payload ? "with_payload" : "with_vector");
    if (payload)
        return field_once(body, seen, SEEN_PAYLOAD, "with_payload") &&
               selectors_read_payload(body, &export->selectors);
    return field_once(body, seen, SEEN_VECTOR, "with_vector") &&
           selectors_read_vector(body, settings, &export->selectors);
}

static bool read_body(struct call *call, struct export *export)
{
    struct body body;
    struct span key;
    unsigned seen = 0;
    bool good = true;
    body_begin_call(&body, call);
    if (json_peek(&body.json) != JSON_OBJECT)
        good = json_fail(&body.json, "expected an object");
    good = good && json_enter_object(&body.json);
    while (good && json_key(&body.json, &key))
        good = read_field(call, export, &body, key, &seen);
    if (good && body_end(&body))
        return true;
    body_refuse(&body, call);
    return false;
}

/* ---- the handler ---- */

static bool count_export(struct call *call)
{
    struct service *service = call->service;
    const uint32_t most = service->config->exports_max;
    if (atomic_fetch_add(&service->exports, 1) < most)
        return true;
    atomic_fetch_sub(&service->exports, 1);
    call_fail(call, 503,
              "Shard temporarily unavailable: %u exports (export.running_max) are running", most);
    return false;
}

void api_export(struct call *call)
{
    if (!call_collection(call))
        return;
    struct export *export = arena_allocate(call->arena, sizeof *export);
    *export = (struct export){.file = -1};
    if (!read_parameters(call, export))
        return;
    if (call->request->method == HTTP_METHOD_POST && !read_body(call, export))
        return;
    const char *type = export->npy ? "application/x-npy" : "application/x-ndjson";
    if (call->request->method == HTTP_METHOD_HEAD) {
        call_text(call, 200, type, "");
        return;
    }
    const struct span name = collection_name(call->collection);
    export->name = span_of(arena_copy(call->arena, name.data, name.bytes), name.bytes);
    export->directory = environment_directory(collection_environment(call->collection));
    call->extra = export;
    if (!call_view(call) || !count_export(call))
        return;
    (export->npy ? begin_npy : begin_lines)(call, export);
}
