/* How a bulk upload runs: kicked, one step at a time, on a worker. bulk.h tells the plan. */
#include "server/collection_config.h"
#include "server/bulk.h"

#include "server/config.h"
#include "server/handlers.h"

#define SLICE_READS 8 /* takes from the input before giving way, when they fill no step */

/* ---- kicks ---- */

void bulk_kick(struct bulk *bulk, uint64_t what)
{
    /* Whoever finds no kick pending queues the task. After adding to a pending one the upload may
     * be gone: its memory is not touched again. */
    struct workers *workers = bulk->service->workers;
    if ((atomic_fetch_add(&bulk->events, what + 1) & BULK_KICKS) == 0)
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
    bulk_kick(bulk, BULK_JOB_DONE);
}

/* Writer thread. */
static void create_done(struct write_job *job)
{
    bulk_kick((struct bulk *)(void *)((char *)job - offsetof(struct bulk, create)), BULK_JOB_DONE);
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

static struct bulk_step *step_begin(struct bulk *bulk, struct bulk_step *step)
{
    uint8_t request_id[16];
    request_id_draw(request_id);
    step->taken = true;
    step->bulk = bulk;
    arena_init(&step->arena);
    op_begin(&step->op, &step->arena, OP_UPSERT, request_id);
    return step;
}

/* A step to fill, or NULL while the writer has all of them. */
static struct bulk_step *step_take(struct bulk *bulk)
{
    if (bulk->filling == NULL) {
        size_t i = 0;
        while (i < BULK_STEPS && bulk->steps[i].taken)
            i++;
        if (i == BULK_STEPS)
            return NULL;
        bulk->filling = step_begin(bulk, &bulk->steps[i]);
    }
    bulk->reader.op = &bulk->filling->op;
    return bulk->filling;
}

/* What earlier steps have still to commit is not counted: a few thousand points at most. */
static bool sizes_are_admitted(struct bulk *bulk, struct span op)
{
    struct limits limits;
    struct refusal refusal = {0};
    limits_of(bulk->service->config, bulk->collection, &limits);
    const struct sizes sizes = {&limits, bulk->collection, &bulk->request->arena, &refusal};
    if (sizes_check(&sizes, bulk->worker->reader, op))
        return true;
    bulk_refuse(bulk, refusal.kind, "%s", refusal.text);
    return false;
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
    if (!sizes_are_admitted(bulk, op)) {
        step_free(step);
        bulk->phase = BULK_ENDING;
        return;
    }
    enum error error = collection_encode(bulk->collection, bulk->worker->reader, op, &step->arena,
                                         bulk->worker->workspace, &encoded);
    if (error == OK)
        error = collection_acquire(bulk->service->database, bulk->name, &hold);
    if (error != OK) {
        step_free(step);
        stop(bulk, error);
        return;
    }
    step->job = (struct write_job){.kind = WRITE_OP,
                                   .name = bulk->name,
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

/* The lowest id from `from` on, if it is a number. */
static enum error number_from(const struct view *view, uint64_t from, uint64_t *number, bool *found)
{
    struct point_id id = point_id_number(from);
    struct id_slot item;
    size_t count = 0;
    enum error error = view_ids(view, &id, &item, 1, &count);
    *found = error == OK && count > 0 && item.id.kind == POINT_ID_NUMBER;
    if (*found)
        *number = load64_big(item.id.bytes);
    return error;
}

/* The lowest number above all numeric ids, by halving: ids are walked upwards only. ERROR_FULL:
 * there is none. */
static enum error next_free_id(const struct view *view, uint64_t *next)
{
    uint64_t low = 0, high = UINT64_MAX, number = 0; /* no id is >= high */
    bool found;
    enum error error = number_from(view, UINT64_MAX, &number, &found);
    if (error == OK && found)
        return ERROR_FULL;
    while (error == OK && low < high) {
        uint64_t middle = low + (high - low) / 2;
        error = number_from(view, middle, &number, &found);
        if (found)
            low = number + 1;
        else
            high = middle;
    }
    *next = low;
    return error;
}

static bool choose_first_id(struct bulk *bulk)
{
    struct view view;
    bulk->next_id = bulk->first_id;
    if (bulk->has_first_id || bulk->format == BULK_NDJSON)
        return true;
    if (!span_equal(bulk->name, bulk->request->segments[1])) {
        /* uploads that number rows are kept apart by the name in their path */
        bulk_refuse(bulk, REFUSAL_INPUT,
                    "`%s` is an alias: give ?first_id=, or the collection's own name",
                    request_segment_text(bulk->request, 1));
        bulk->phase = BULK_ENDING;
        return false;
    }
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
    const struct span name = collection_name(bulk->collection);
    /* an alias may be pointed elsewhere meanwhile: the upload stays with its collection */
    bulk->name = span_of(arena_copy(&bulk->request->arena, name.data, name.bytes), name.bytes);
    point_reader_begin(&bulk->reader, bulk->collection, bulk->service->config,
                       &bulk->request->arena);
    if (bulk->creates && bulk->reader.metric != bulk->distance) {
        bulk_refuse(bulk, REFUSAL_INPUT, "the collection's distance is %s, not %s",
                    metric_name(bulk->reader.metric), metric_name(bulk->distance));
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
    bulk->create = (struct write_job){
        .kind = WRITE_CREATE, .name = bulk->name, .settings = settings, .done = create_done};
    bulk->phase = BULK_CREATING;
    bulk->submitted++;
    writer_continue(bulk->service->writer, &bulk->create);
}

/* ---- running ---- */

enum run_result { RUN_AGAIN, RUN_WAIT, RUN_OVER };

/* What came whole is kept as before any other fault. Whether anybody hears of it is http's to know,
 * and the status too: the kind only chooses the text's first words. */
static void refuse_cut(struct bulk *bulk)
{
    const char *why;
    int status = http_stream_failure(bulk->request, &why);
    bulk_refuse(bulk, status == 408 ? REFUSAL_TIMEOUT : REFUSAL_REQUEST, "%s", why);
}

static void judge_input(struct bulk *bulk, enum bulk_input_state state)
{
    switch (state) {
    case BULK_INPUT_END:
        bulk->input_ended = true;
        return;
    case BULK_INPUT_CUT:
        refuse_cut(bulk);
        break;
    case BULK_INPUT_BROKEN:
        bulk_refuse(bulk, REFUSAL_INPUT, "the %s data is damaged or cut",
                    packing_name(bulk->input.packing));
        break;
    case BULK_INPUT_TOO_LARGE:
        bulk_refuse(bulk, REFUSAL_LARGE, "the %s data unpacks to more than %u times its size",
                    packing_name(bulk->input.packing), UNPACK_RATIO_MAX);
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
    enum error error = collection_acquire(bulk->service->database, bulk->name, &bulk->collection);
    if (error != OK)
        bulk->collection = NULL;
    if (error == ERROR_NOT_FOUND && bulk->phase == BULK_OPENING)
        return;
    if (error == OK && bulk->phase == BULK_READING) {
        if (!point_reader_renew(&bulk->reader, bulk->collection))
            error = ERROR_NOT_FOUND;
    }
    if (error != OK)
        stop(bulk, error);
}

void bulk_run(struct task *task, struct worker *worker)
{
    struct bulk *bulk = (struct bulk *)(void *)task;
    uint64_t kicks = atomic_load(&bulk->events) & BULK_KICKS;
    bulk->worker = worker;
    hold_collection(bulk);
    enum run_result result = advance(bulk);
    collection_release(bulk->collection);
    bulk->collection = NULL;
    if (result == RUN_OVER)
        bulk_finish(bulk);
    else if (result == RUN_AGAIN)
        workers_continue(bulk->service->workers, task);
    else if ((atomic_fetch_sub(&bulk->events, kicks) & BULK_KICKS) != kicks)
        workers_continue(bulk->service->workers, task); /* kicked meanwhile */
}
