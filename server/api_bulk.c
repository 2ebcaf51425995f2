/* POST /collections/{c}/bulk: the life of an upload. bulk.h tells how it runs.
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

#define KICKS UINT64_C(0xFFFFFFFF)
#define JOB_DONE (UINT64_C(1) << 32)
#define SLICE_READS 8 /* takes from the input before giving way, when they fill no step */

/* ---- kicks ---- */

static void kick(struct bulk *bulk, uint64_t what)
{
    /* Whoever finds no kick pending queues the task. After adding to a pending one the upload may
     * be gone: its memory is not touched again. */
    struct workers *workers = bulk->service->workers;
    if ((atomic_fetch_add(&bulk->events, what + 1) & KICKS) == 0)
        workers_continue(workers, &bulk->task);
}

/* All that the writer tells is done with: nothing of the upload is in its hands. */
static bool jobs_done(const struct bulk *bulk)
{
    return (uint32_t)(atomic_load(&bulk->events) >> 32) == bulk->submitted;
}

/* Writer thread. */
static void step_done(struct write_job *job)
{
    struct bulk_step *step = (struct bulk_step *)(void *)job;
    struct bulk *bulk = step->bulk;
    collection_release(job->collection);
    atomic_store(&step->landed, true); /* from here on the step may be reused */
    kick(bulk, JOB_DONE);
}

/* Writer thread. */
static void create_done(struct write_job *job)
{
    kick((struct bulk *)(void *)((char *)job - offsetof(struct bulk, create)), JOB_DONE);
}

/* ---- steps ---- */

static void stop(struct bulk *bulk, enum error error)
{
    if (bulk->refusal.kind == REFUSAL_NONE && bulk->error == OK)
        bulk->error = error;
    bulk->phase = BULK_ENDING;
}

static void step_free(struct bulk_step *step)
{
    arena_release(&step->arena);
    step->taken = false;
    step->point_count = 0;
    atomic_store(&step->landed, false);
}

/* Account for what the writer has finished. */
static void collect(struct bulk *bulk)
{
    for (size_t i = 0; i < BULK_STEPS; i++) {
        struct bulk_step *step = &bulk->steps[i];
        if (!atomic_load(&step->landed))
            continue;
        if (step->job.error == OK) {
            bulk->points += step->point_count;
            bulk->batches++;
        } else {
            stop(bulk, step->job.error);
        }
        step_free(step);
    }
}

/* A step to fill, or NULL while the writer has all of them. */
static struct bulk_step *step_take(struct bulk *bulk)
{
    for (size_t i = 0; bulk->filling == NULL && i < BULK_STEPS; i++) {
        struct bulk_step *step = &bulk->steps[i];
        if (step->taken)
            continue;
        uint8_t request_id[16];
        request_id_draw(request_id);
        step->taken = true;
        step->bulk = bulk;
        arena_init(&step->arena);
        op_begin(&step->op, &step->arena, OP_UPSERT, request_id, bulk->reader.dim);
        bulk->filling = step;
    }
    if (bulk->filling != NULL)
        bulk->reader.op = &bulk->filling->op;
    return bulk->filling;
}

/* Encode what was filled and give it to the writer, who does not refuse it however full its queue
 * is: SERVICE_BULKS_MAX and BULK_STEPS bound what can wait there. */
static void step_submit(struct bulk *bulk)
{
    struct bulk_step *step = bulk->filling;
    struct encoded *encoded = NULL;
    struct collection *hold = NULL;
    bulk->filling = NULL;
    if (step == NULL || step->point_count == 0) {
        if (step != NULL)
            step_free(step);
        return;
    }
    struct span op = op_end(&step->op);
    enum error error = collection_encode(bulk->collection, bulk->worker->reader, op, &step->arena,
                                         bulk->worker->workspace, &encoded);
    if (error == OK)
        error = collection_acquire(bulk->service->database, bulk->request->segments[1], &hold);
    if (error != OK) {
        step_free(step);
        stop(bulk, error);
        return;
    }
    step->job = (struct write_job){.kind = WRITE_OP,
                                   .name = bulk->request->segments[1],
                                   .collection = hold,
                                   .op = op,
                                   .encoded = encoded,
                                   .point_count = step->point_count,
                                   .done = step_done};
    bulk->submitted++;
    writer_continue(bulk->service->writer, &step->job);
}

static void step_drop(struct bulk *bulk)
{
    if (bulk->filling != NULL)
        step_free(bulk->filling);
    bulk->filling = NULL;
}

/* ---- opening ---- */

/* The lowest number above all numeric ids: 64 probes, since ids are walked upwards only. false:
 * there is none. */
static enum error next_free_id(const struct view *view, uint64_t *next)
{
    uint64_t low = 0, count = UINT64_MAX;
    /* invariant: no number >= low + count is there, or that is beyond 64 bits and not known yet */
    while (count > 0) {
        uint64_t half = count / 2;
        struct point_id from = point_id_number(low + half);
        struct id_slot found;
        size_t found_count = 0;
        enum error error = view_ids(view, &from, &found, 1, &found_count);
        if (error != OK)
            return error;
        if (found_count > 0 && found.id.kind == POINT_ID_NUMBER) {
            uint64_t above = load64_big(found.id.bytes);
            if (above == UINT64_MAX)
                return ERROR_FULL;
            count -= above + 1 - low;
            low = above + 1;
        } else {
            count = half;
        }
    }
    *next = low;
    return OK;
}

static bool choose_first_id(struct bulk *bulk)
{
    struct view view;
    bulk->next_id = bulk->first_id;
    if (bulk->has_first_id || bulk->format != BULK_NPY)
        return true;
    enum error error =
        view_open(collection_environment(bulk->collection), bulk->worker->reader, &view);
    if (error == OK) {
        error = next_free_id(&view, &bulk->next_id);
        view_close(&view);
    }
    if (error == ERROR_FULL) {
        bulk_refuse(bulk, REFUSAL_INPUT, "no id is free above the highest; give ?first_id=");
        bulk->phase = BULK_ENDING;
    } else if (error != OK) {
        stop(bulk, error);
    }
    return error == OK;
}

/* The collection is there for the first time. */
static void opened(struct bulk *bulk)
{
    const struct collection_settings *settings = collection_settings(bulk->collection);
    point_reader_begin(&bulk->reader, bulk->collection, bulk->service->config,
                       &bulk->request->arena);
    if (bulk->creates && settings->metric != bulk->distance) {
        bulk_refuse(bulk, REFUSAL_INPUT, "the collection's distance is %s, not %s",
                    metric_name(settings->metric), metric_name(bulk->distance));
        bulk->phase = BULK_ENDING;
    } else if (choose_first_id(bulk)) {
        bulk->phase = BULK_READING;
    }
}

static void submit_create(struct bulk *bulk, uint32_t dim)
{
    struct arena *arena = &bulk->request->arena;
    struct collection_settings *settings = arena_allocate(arena, sizeof *settings);
    collection_settings_simple(arena, dim, bulk->distance, settings);
    bulk->create = (struct write_job){.kind = WRITE_CREATE,
                                      .name = bulk->request->segments[1],
                                      .settings = settings,
                                      .done = create_done};
    bulk->phase = BULK_CREATING;
    bulk->submitted++;
    writer_continue(bulk->service->writer, &bulk->create);
}

/* ---- running ---- */

enum run_result { RUN_AGAIN, RUN_WAIT, RUN_OVER };

static void judge_input(struct bulk *bulk, enum bulk_input_state state)
{
    switch (state) {
    case BULK_INPUT_END:
        bulk->input_ended = true;
        return;
    case BULK_INPUT_GONE:
        bulk->gone = true;
        step_drop(bulk);
        break;
    case BULK_INPUT_BROKEN:
        bulk_refuse(bulk, REFUSAL_INPUT, "the gzip data is damaged or cut");
        break;
    case BULK_INPUT_TOO_LARGE:
        bulk_refuse(bulk, REFUSAL_LARGE, "the gzip data unpacks to more than %u times its size",
                    INFLATE_RATIO_MAX);
        break;
    case BULK_INPUT_MORE:
    case BULK_INPUT_WAIT:
        return;
    }
    bulk->phase = BULK_ENDING;
}

/* More input for records that are not whole yet. false: none now. */
static bool read_more(struct bulk *bulk)
{
    enum bulk_input_state state = bulk_input_more(&bulk->input);
    judge_input(bulk, state);
    return state != BULK_INPUT_WAIT;
}

static enum run_result create_from_body(struct bulk *bulk)
{
    for (unsigned reads = 0; reads < SLICE_READS; reads++) {
        uint32_t dim = 0;
        enum bulk_progress progress = bulk_look_at_dim(bulk, &dim);
        if (progress == BULK_DONE) {
            submit_create(bulk, dim);
            return RUN_WAIT; /* for create_done */
        }
        if (progress == BULK_BAD)
            bulk->phase = BULK_ENDING;
        else if (!read_more(bulk))
            return RUN_WAIT;
        if (bulk->phase == BULK_ENDING)
            return RUN_AGAIN;
    }
    return RUN_AGAIN;
}

static enum run_result run_opening(struct bulk *bulk)
{
    if (bulk->collection != NULL) {
        opened(bulk);
        return RUN_AGAIN;
    }
    if (bulk->creates)
        return create_from_body(bulk);
    stop(bulk, ERROR_NOT_FOUND);
    return RUN_AGAIN;
}

static enum run_result run_creating(struct bulk *bulk)
{
    if (!jobs_done(bulk))
        return RUN_WAIT;
    bulk->phase = BULK_OPENING;
    if (bulk->create.error != OK && bulk->create.error != ERROR_EXISTS)
        stop(bulk, bulk->create.error);
    return RUN_AGAIN;
}

/* One step at most, then others have their turn. */
static enum run_result run_reading(struct bulk *bulk)
{
    for (unsigned reads = 0; reads < SLICE_READS; reads++) {
        if (step_take(bulk) == NULL)
            return RUN_WAIT; /* for step_done */
        enum bulk_progress progress = bulk_fill(bulk);
        if (progress == BULK_MORE) {
            if (!read_more(bulk))
                return RUN_WAIT;
            if (bulk->phase == BULK_READING)
                continue;
        }
        if (progress == BULK_DONE || progress == BULK_BAD)
            bulk->phase = BULK_ENDING;
        step_submit(bulk); /* the points before a fault are kept */
        return RUN_AGAIN;
    }
    return RUN_AGAIN;
}

static enum run_result advance(struct bulk *bulk)
{
    collect(bulk);
    switch (bulk->phase) {
    case BULK_OPENING:
        return run_opening(bulk);
    case BULK_CREATING:
        return run_creating(bulk);
    case BULK_READING:
        return run_reading(bulk);
    case BULK_ENDING:
        break;
    }
    step_drop(bulk);
    if (!jobs_done(bulk))
        return RUN_WAIT;
    collect(bulk); /* the last ones may have landed since */
    return RUN_OVER;
}

/* The collection is held while the upload runs, so that deleting it never waits for a client's next
 * bytes. It must still be the one the upload began with: the reader's row has its dimension. */
static void hold_collection(struct bulk *bulk)
{
    bulk->collection = NULL;
    if (bulk->phase != BULK_OPENING && bulk->phase != BULK_READING)
        return;
    enum error error =
        collection_acquire(bulk->service->database, bulk->request->segments[1], &bulk->collection);
    if (error != OK)
        bulk->collection = NULL;
    if (error == ERROR_NOT_FOUND && bulk->phase == BULK_OPENING)
        return;
    if (error == OK && bulk->phase == BULK_READING) {
        const struct collection_settings *settings = collection_settings(bulk->collection);
        if (settings->dim != bulk->reader.dim || settings->metric != bulk->reader.metric)
            error = ERROR_NOT_FOUND;
        bulk->reader.codec = collection_codec(bulk->collection);
    }
    if (error != OK)
        stop(bulk, error);
}

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
        message = arena_format(arena, "%s; %" PRIu64 " points before it were accepted and are kept",
                               message, bulk->points);
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
static void finish(struct bulk *bulk)
{
    struct http_request *request = bulk->request;
    struct service *service = bulk->service;
    struct text out = {0};
    int status = 200;
    if (bulk->refusal.kind != REFUSAL_NONE || bulk->error != OK)
        status = put_failure(bulk, &out);
    else if (!bulk->gone)
        put_success(bulk, &out);
    bulk_input_release(&bulk->input);
    release_numbers(bulk);
    atomic_fetch_sub(&service->bulk_streams, 1);
    http_reply(request, status, "application/json", NULL, (struct http_body){out.data, out.bytes});
}

static void run(struct task *task, struct worker *worker)
{
    struct bulk *bulk = (struct bulk *)(void *)task;
    uint64_t kicks = atomic_load(&bulk->events) & KICKS;
    bulk->worker = worker;
    hold_collection(bulk);
    enum run_result result = advance(bulk);
    collection_release(bulk->collection);
    bulk->collection = NULL;
    if (result == RUN_OVER)
        finish(bulk);
    else if (result == RUN_AGAIN)
        workers_continue(bulk->service->workers, task);
    else if ((atomic_fetch_sub(&bulk->events, kicks) & KICKS) != kicks)
        workers_continue(bulk->service->workers, task); /* kicked meanwhile */
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
    bulk->format = BULK_NDJSON;
    if (value_is(type, "application/x-ndjson"))
        return true;
    request_fail(bulk->request, 415,
                 "Bad request: the Content-Type of a bulk body must be application/x-ndjson or "
                 "application/x-npy, not `%.*s`",
                 (int)(type.bytes > 128 ? 128 : type.bytes), (const char *)type.data);
    return false;
}

static bool read_encoding(struct bulk *bulk, bool *packed)
{
    struct span encoding = bulk->request->content_encoding;
    *packed = value_is(encoding, "gzip");
    if (*packed || encoding.bytes == 0 || value_is(encoding, "identity"))
        return true;
    request_fail(bulk->request, 415, "Bad request: Content-Encoding must be gzip or identity");
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
    if (!bulk->has_first_id || bulk->format == BULK_NPY)
        return true;
    request_fail(bulk->request, 400,
                 "Bad request: first_id numbers the rows of application/x-npy; lines have ids of "
                 "their own");
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
    if (bulk->format != BULK_NPY || bulk->has_first_id)
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
    bool packed;
    struct bulk *bulk = arena_allocate(&request->arena, sizeof *bulk);
    memset(bulk, 0, sizeof *bulk);
    bulk->service = service;
    bulk->request = request;
    bulk->where = "";
    bulk->task.run = run;
    if (!read_type(bulk) || !read_encoding(bulk, &packed) || !read_distance(bulk) ||
        !read_first_id(bulk) || !check_name(bulk) || !admit(bulk))
        return HTTP_DONE;
    bulk_input_begin(&bulk->input, request, packed);
    request->user = bulk;
    return HTTP_STREAM;
}

void bulk_stream(struct service *service, struct http_request *request)
{
    (void)service;
    kick(request->user, 0);
}
