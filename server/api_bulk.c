/* POST /collections/{c}/bulk: how an upload begins and how it is answered; bulk_run.c is its life.
 *
 * Without ?first_id= the rows of a matrix get the ids behind the highest number there is when the
 * upload begins; of two such uploads into one collection at once the second is refused, because
 * both would begin at the same id. */
#include "server/bulk.h"

#include <assert.h>
#include <inttypes.h>
#include <strings.h>

#include "server/config.h"
#include "server/handlers.h"

/* ---- the answer ---- */

static double seconds_since(uint64_t began_ns)
{
    uint64_t now = clock_ns();
    return now <= began_ns ? 0.0 : (double)(now - began_ns) * 1e-9;
}

static int error_status(enum error error)
{
    switch ((int)error) {
    case ERROR_NOT_FOUND:
        return 404;
    case ERROR_INVALID:
    case ERROR_TOO_LARGE:
        return 400;
    case ERROR_FULL:
        return 507;
    default:
        return 500;
    }
}

static const char *error_message(struct bulk *bulk)
{
    struct arena *arena = &bulk->request->arena;
    const char *name = request_segment_text(bulk->request, 1);
    switch ((int)bulk->error) {
    case ERROR_NOT_FOUND:
        return arena_format(arena, "Not found: Collection `%s` doesn't exist!", name);
    case ERROR_INVALID:
    case ERROR_TOO_LARGE:
        return arena_format(arena, "Wrong input: Collection `%s`: %s", name,
                            error_text(bulk->error));
    case ERROR_FULL:
        return arena_format(arena, "Insufficient storage: %s", error_text(bulk->error));
    default:
        return arena_format(arena, "Service internal error: Collection `%s`: %s", name,
                            error_text(bulk->error));
    }
}

/* An error's text says what was kept, and "accepted" says it to programs. */
static int put_failure(struct bulk *bulk, struct text *out)
{
    struct arena *arena = &bulk->request->arena;
    int status = error_status(bulk->error);
    const char *message;
    if (bulk->refusal.kind == REFUSAL_NONE) {
        message = error_message(bulk);
    } else {
        status = refusal_status(&bulk->refusal);
        message = arena_format(arena, "%s%s%s%s", refusal_prefix(&bulk->refusal), bulk->where,
                               bulk->refusal.text, refusal_suffix(&bulk->refusal));
    }
    if (bulk->refusal.kind != REFUSAL_NONE || bulk->points > 0)
        message = arena_format(arena, "%s; %" PRIu64 " points before it were accepted%s", message,
                               bulk->points, bulk->error == ERROR_NOT_FOUND ? "" : " and are kept");
    text_puts(out, "{\"status\":{\"error\":");
    text_json_string(out, span_text(message));
    text_printf(out, "},\"time\":%.9f,\"accepted\":%" PRIu64 "}",
                seconds_since(bulk->request->started_ns), bulk->points);
    return status;
}

static void put_success(const struct bulk *bulk, struct text *out)
{
    double seconds = seconds_since(bulk->request->started_ns);
    text_printf(out,
                "{\"result\":{\"points\":%" PRIu64 ",\"batches\":%" PRIu64
                ",\"seconds\":%.6f,\"bytes\":%" PRIu64 "},\"status\":\"ok\",\"time\":%.9f}",
                bulk->points, bulk->batches, seconds, bulk->input.bytes_taken, seconds);
}

static void release_numbers(struct bulk *bulk)
{
    for (size_t i = 0; i < SERVICE_BULKS_MAX; i++) {
        struct bulk *mine = bulk;
        (void)atomic_compare_exchange_strong(&bulk->service->numbering[i], &mine, NULL);
    }
}

/* Nothing is in the writer's hands any more and the low half of events stays above 0, so nobody
 * will queue the task again: the upload ends here. */
void bulk_finish(struct bulk *bulk)
{
    struct http_request *request = bulk->request;
    struct service *service = bulk->service;
    struct text out = {0};
    int status = 200;
    if (bulk->refusal.kind != REFUSAL_NONE || bulk->error != OK)
        status = put_failure(bulk, &out);
    else
        put_success(bulk, &out);
    bulk_input_release(&bulk->input);
    release_numbers(bulk);
    atomic_fetch_sub(&service->bulk_streams, 1);
    http_reply(request, status, "application/json", NULL, (struct http_body){out.data, out.bytes});
}

/* ---- beginning; loop thread ---- */

/* Is a header's value `name`, whatever its case and parameters? */
static bool value_is(struct span value, const char *name)
{
    size_t bytes = strlen(name);
    if (value.bytes < bytes || strncasecmp((const char *)value.data, name, bytes) != 0)
        return false;
    return value.bytes == bytes || value.data[bytes] == ';' || value.data[bytes] == ' ';
}

static bool read_type(struct bulk *bulk)
{
    struct span type = bulk->request->content_type;
    if (value_is(type, "application/x-npy")) {
        bulk->format = BULK_NPY;
        return true;
    }
    if (value_is(type, "application/octet-stream")) {
        bulk->format = BULK_FLOATS;
        return true;
    }
    bulk->format = BULK_NDJSON;
    if (value_is(type, "application/x-ndjson"))
        return true;
    request_fail(bulk->request, 415,
                 "Bad request: the Content-Type of a bulk body must be application/x-ndjson, "
                 "application/x-npy or application/octet-stream, not `%.*s`",
                 (int)(type.bytes > 128 ? 128 : type.bytes), (const char *)type.data);
    return false;
}

static bool read_distance(struct bulk *bulk)
{
    struct span text;
    if (!request_parameter(bulk->request, "distance", &text))
        return true;
    bulk->creates = metric_parse((const char *)text.data, text.bytes, &bulk->distance);
    if (!bulk->creates)
        request_fail(bulk->request, 400,
                     "Deserialize error in query parameters: distance: unknown variant `%.*s`, "
                     "expected one of `Cosine`, `Euclid`, `Dot`, `Manhattan`",
                     (int)text.bytes, (const char *)text.data);
    return bulk->creates;
}

static bool read_first_id(struct bulk *bulk)
{
    struct span text;
    bulk->has_first_id = request_parameter(bulk->request, "first_id", &text);
    if (!request_parameter_u64(bulk->request, "first_id", 0, UINT64_MAX, &bulk->first_id))
        return false;
    if (!bulk->has_first_id || bulk->format != BULK_NDJSON)
        return true;
    request_fail(bulk->request, 400,
                 "Bad request: first_id numbers the rows of a matrix; lines have ids of their own");
    return false;
}

/* The width of rows that come without a header. */
static bool read_dim(struct bulk *bulk)
{
    struct span text;
    uint64_t dim = 0;
    bool given = request_parameter(bulk->request, "dim", &text);
    if (!request_parameter_u64(bulk->request, "dim", 1, CODEC_DIM_MAX, &dim))
        return false;
    if (given == (bulk->format == BULK_FLOATS)) {
        bulk->has_header = given;
        if (given)
            bulk->header = npy_floats((uint32_t)dim);
        return true;
    }
    request_fail(bulk->request, 400,
                 given ? "Bad request: dim tells the width of application/octet-stream's rows; "
                         "other bodies show theirs"
                       : "Bad request: rows of application/octet-stream need ?dim=, the number of "
                         "float32 values in each");
    return false;
}

static bool check_name(struct bulk *bulk)
{
    if (!bulk->creates || collection_name_valid(bulk->request->segments[1]))
        return true;
    request_fail(bulk->request, 400, "Wrong input: `%s` is not a valid collection name",
                 request_segment_text(bulk->request, 1));
    return false;
}

/* Uploads are freed on this thread only, after they have left the list: those in it can be read. */
static bool claim_numbers(struct bulk *bulk)
{
    struct service *service = bulk->service;
    size_t at = SERVICE_BULKS_MAX;
    if (bulk->format == BULK_NDJSON || bulk->has_first_id)
        return true;
    for (size_t i = 0; i < SERVICE_BULKS_MAX; i++) {
        struct bulk *other = atomic_load(&service->numbering[i]);
        if (other == NULL) {
            at = i;
        } else if (span_equal(other->request->segments[1], bulk->request->segments[1])) {
            request_fail(bulk->request, 409,
                         "Wrong input: another upload without first_id into `%s` is running; give "
                         "first_id, or wait for its end",
                         request_segment_text(bulk->request, 1));
            return false;
        }
    }
    assert(at < SERVICE_BULKS_MAX); /* there are no more of them than uploads */
    atomic_store(&service->numbering[at], bulk);
    return true;
}

static bool count_stream(struct service *service, struct http_request *request)
{
    if (atomic_fetch_add(&service->bulk_streams, 1) < SERVICE_BULKS_MAX)
        return true;
    atomic_fetch_sub(&service->bulk_streams, 1);
    request_fail(request, 503, "Shard temporarily unavailable: %d bulk uploads are running already",
                 SERVICE_BULKS_MAX);
    return false;
}

static bool admit(struct bulk *bulk)
{
    if (!count_stream(bulk->service, bulk->request))
        return false;
    struct service *service = bulk->service;
    bool good = claim_numbers(bulk);
    if (!good)
        atomic_fetch_sub(&service->bulk_streams, 1);
    return good;
}

enum http_verdict bulk_begin(struct service *service, struct http_request *request)
{
    enum packing packing;
    struct bulk *bulk = arena_allocate(&request->arena, sizeof *bulk);
    memset(bulk, 0, sizeof *bulk);
    bulk->service = service;
    bulk->request = request;
    bulk->name = request->segments[1];
    bulk->where = "";
    bulk->task.run = bulk_run;
    if (!read_type(bulk) || !request_read_packing(request, &packing) || !read_distance(bulk) ||
        !read_first_id(bulk) || !read_dim(bulk) || !check_name(bulk) || !admit(bulk))
        return HTTP_DONE;
    bulk_input_begin(&bulk->input, request, packing);
    request->user = bulk;
    return HTTP_STREAM;
}

void bulk_stream(struct service *service, struct http_request *request)
{
    (void)service;
    bulk_kick(request->user, 0);
}
