/* The planner thread: a list of collections, each looked at in turn. */
#include "server/planner.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "index/plan.h"
#include "server/log.h"

#define IDLE_AFTER_NS UINT64_C(1000000000)
#define BUSY_WAIT_NS UINT64_C(100000000) /* a reader is too old: look again */
#define NICENESS 10
/* Of maintenance before a compaction: writes that go on make more for ever. */
#define COMPACT_STEPS_MAX 100000u

struct entry {
    uint8_t *name; /* owned */
    size_t name_bytes;
    uint64_t touched_ns, not_before_ns;
    bool settled; /* nothing is due but what waits for it to be idle */
    bool reclaim_next;
    struct write_job *compact; /* to be handed on once nothing is left to give back, or NULL */
    uint32_t compact_steps;    /* taken for it */
    struct entry *next;
};

struct planner {
    struct database *database;
    struct writer *writer;
    uint32_t reader;
    struct planner_options options;
    pthread_t thread;
    struct plan_scratch *scratch; /* the thread's */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* something was touched or applied, or the planner stops */
    /* all below: under the mutex */
    struct entry *first, *last;
    bool stopping, applied;
    uint64_t measure_after_ns; /* sampled queries are answered again from then on */
    struct planner_figures figures;
};

struct planner_options planner_options_default(void)
{
    return (struct planner_options){.enabled = true, .measure_percent = 2};
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct span entry_name(const struct entry *entry)
{
    return span_of(entry->name, entry->name_bytes);
}

/* ---- the list; under the mutex ---- */

static void list_append(struct planner *planner, struct entry *entry)
{
    entry->next = NULL;
    if (planner->last == NULL)
        planner->first = entry;
    else
        planner->last->next = entry;
    planner->last = entry;
    planner->figures.pending++;
}

static void list_remove(struct planner *planner, struct entry *entry)
{
    struct entry *before = NULL;
    for (struct entry *e = planner->first; e != entry; e = e->next)
        before = e;
    *(before == NULL ? &planner->first : &before->next) = entry->next;
    if (planner->last == entry)
        planner->last = before;
    planner->figures.pending--;
}

static struct entry *list_find(struct planner *planner, struct span name)
{
    struct entry *entry = planner->first;
    while (entry != NULL && !span_equal(entry_name(entry), name))
        entry = entry->next;
    return entry;
}

static void entry_free(struct entry *entry)
{
    free(entry->name);
    free(entry);
}

/* When an entry may be looked at. */
static uint64_t entry_due(const struct entry *entry)
{
    const bool waits = entry->settled && entry->compact == NULL;
    const uint64_t idle = waits ? entry->touched_ns + IDLE_AFTER_NS : 0;
    return idle > entry->not_before_ns ? idle : entry->not_before_ns;
}

/* The first that is due; else NULL, and *wake is when the next will be (UINT64_MAX: none). */
static struct entry *list_due(struct planner *planner, uint64_t now, uint64_t *wake)
{
    *wake = UINT64_MAX;
    for (struct entry *entry = planner->first; entry != NULL; entry = entry->next) {
        const uint64_t due = entry_due(entry);
        if (due <= now)
            return entry;
        *wake = due < *wake ? due : *wake;
    }
    return NULL;
}

static struct entry *entry_new(struct span name)
{
    struct entry *entry = allocate_zeroed(1, sizeof *entry);
    entry->name = allocate(name.bytes + 1);
    memcpy(entry->name, name.data, name.bytes);
    entry->name_bytes = name.bytes;
    return entry;
}

static struct entry *list_touch(struct planner *planner, struct span name)
{
    struct entry *entry = list_find(planner, name);
    if (entry == NULL) {
        entry = entry_new(name);
        list_append(planner, entry);
    }
    entry->touched_ns = now_ns();
    entry->not_before_ns = 0;
    entry->settled = false;
    pthread_cond_signal(&planner->changed);
    return entry;
}

void planner_touch(struct planner *planner, struct span name)
{
    if (planner == NULL)
        return;
    pthread_mutex_lock(&planner->mutex);
    (void)list_touch(planner, name);
    pthread_mutex_unlock(&planner->mutex);
}

/* There are sampled queries to answer again, when it is time. */
void planner_measure(struct planner *planner, struct span name)
{
    if (planner == NULL || planner->options.measure_percent == 0)
        return;
    pthread_mutex_lock(&planner->mutex);
    if (list_find(planner, name) == NULL) {
        struct entry *entry = entry_new(name);
        entry->settled = true;
        entry->not_before_ns = planner->measure_after_ns;
        list_append(planner, entry);
        pthread_cond_signal(&planner->changed);
    }
    pthread_mutex_unlock(&planner->mutex);
}

enum error planner_compact(struct planner *planner, struct write_job *job)
{
    pthread_mutex_lock(&planner->mutex);
    struct entry *entry = list_touch(planner, job->name);
    const enum error error = entry->compact == NULL ? OK : ERROR_EXISTS;
    if (error == OK) {
        entry->compact = job;
        entry->compact_steps = 0;
    }
    pthread_mutex_unlock(&planner->mutex);
    return error;
}

static void on_applied(void *context, struct collection *collection)
{
    planner_touch(context, collection_name(collection));
}

/* ---- one step ---- */

struct plan_job {
    struct write_job job; /* first */
    struct planner *planner;
};

static void plan_done(struct write_job *job)
{
    struct planner *planner = ((struct plan_job *)job)->planner;
    pthread_mutex_lock(&planner->mutex);
    planner->applied = true;
    pthread_cond_signal(&planner->changed);
    pthread_mutex_unlock(&planner->mutex);
}

/* Have the writer apply a plan, and wait for it. */
static enum error apply(struct planner *planner, struct collection *collection,
                        const struct plan *plan)
{
    struct plan_job job = {.job = {.kind = WRITE_PLAN,
                                   .name = collection_name(collection),
                                   .collection = collection,
                                   .plan = plan,
                                   .done = plan_done},
                           .planner = planner};
    const uint64_t began = now_ns();
    pthread_mutex_lock(&planner->mutex);
    planner->applied = false;
    pthread_mutex_unlock(&planner->mutex);
    writer_continue(planner->writer, &job.job); /* one at a time: bounded */
    pthread_mutex_lock(&planner->mutex);
    while (!planner->applied)
        pthread_cond_wait(&planner->changed, &planner->mutex);
    planner->figures.applying_seconds += (double)(now_ns() - began) * 1e-9;
    if (job.job.error == OK) {
        planner->figures.plans++;
        planner->figures.bytes += plan_bytes(plan);
    }
    pthread_mutex_unlock(&planner->mutex);
    return job.job.error;
}

/* How long not to measure after having measured for `spent`. */
static uint64_t rest_after(const struct planner *planner, uint64_t spent)
{
    const uint32_t percent = planner->options.measure_percent;
    return percent == 0 ? UINT64_MAX / 4 : spent * (100 - percent) / percent;
}

/* What a step is to look for. */
struct stride {
    bool idle, measure;
    bool thorough;      /* before a compaction */
    bool reclaim_first; /* what dead slots give back comes first */
};

/* Make one plan and have it applied. vector: of collection_plan, or -1 for what dead slots give
 * back. */
static enum error step_of(struct planner *planner, struct collection *collection, int32_t vector,
                          struct stride stride, enum plan_state *state)
{
    struct plan *plan;
    const uint64_t began = now_ns();
    enum error error =
        vector < 0
            ? collection_plan_reclaim(collection, planner->reader, stride.thorough, state, &plan)
            : collection_plan(collection, (uint16_t)vector, planner->reader, stride.idle,
                              stride.measure, planner->scratch, state, &plan);
    pthread_mutex_lock(&planner->mutex);
    const uint64_t spent = now_ns() - began;
    planner->figures.planning_seconds += (double)spent * 1e-9;
    if (*state == PLAN_MEASURED)
        planner->measure_after_ns = now_ns() + rest_after(planner, spent);
    pthread_mutex_unlock(&planner->mutex);
    if (error == OK && *state == PLAN_READY)
        error = apply(planner, collection, plan);
    plan_free(plan);
    return error;
}

/* One step of the first kind that has one: what dead slots give back comes first every other time,
 * so that neither waits for the other to have nothing to do. *state: PLAN_NOTHING when none has. */
static enum error step(struct planner *planner, struct collection *collection, struct stride stride,
                       enum plan_state *state)
{
    const int32_t vectors = (int32_t)collection_settings(collection)->vector_count;
    enum error error = OK;
    *state = PLAN_NOTHING;
    if (stride.reclaim_first)
        error = step_of(planner, collection, -1, stride, state);
    for (int32_t v = 0; v < vectors && error == OK && *state == PLAN_NOTHING; v++)
        error = step_of(planner, collection, v, stride, state);
    if (!stride.reclaim_first && error == OK && *state == PLAN_NOTHING)
        error = step_of(planner, collection, -1, stride, state);
    return error;
}

/* Is the entry's compaction to be taken from the planner? Then *error is what ends it, or OK: it
 * goes on to the writer. */
static bool compact_is_ready(struct entry *entry, enum error *error, enum plan_state state)
{
    if (entry->compact == NULL)
        return false;
    if (atomic_load(entry->compact->stop))
        *error = ERROR_CANCELLED;
    if (*error == ERROR_BUSY)
        return false;
    entry->compact_steps++;
    return *error != OK || state == PLAN_NOTHING || entry->compact_steps >= COMPACT_STEPS_MAX;
}

/* What becomes of an entry after a step. Under the mutex. */
static void entry_after(struct planner *planner, struct entry *entry, uint64_t touched,
                        struct stride stride, enum error error, enum plan_state state)
{
    list_remove(planner, entry);
    const bool retry = error == ERROR_BUSY;
    const bool waits = error == OK && state == PLAN_NOTHING && stride.idle && !stride.measure &&
                       planner->options.measure_percent > 0;
    const bool more = error == OK && (state != PLAN_NOTHING || !stride.idle || waits);
    if (!retry && !more && entry->touched_ns == touched && entry->compact == NULL) {
        entry_free(entry); /* all is done, or it cannot be: until it is touched again */
        return;
    }
    if (retry)
        entry->not_before_ns = now_ns() + BUSY_WAIT_NS;
    if (waits)
        entry->not_before_ns = planner->measure_after_ns;
    if (error == OK && state == PLAN_NOTHING && entry->touched_ns == touched)
        entry->settled = true;
    list_append(planner, entry);
}

static void compact_end(struct planner *planner, struct write_job *job, enum error error)
{
    if (error == OK) {
        writer_continue(planner->writer, job); /* one a collection: bounded */
        return;
    }
    job->error = error;
    job->done(job);
}

static void work_on(struct planner *planner, struct entry *entry)
{
    const uint64_t touched = entry->touched_ns;
    const uint64_t now = now_ns();
    const struct stride stride = {
        .idle = entry->compact == NULL && now - touched >= IDLE_AFTER_NS,
        .measure = entry->compact == NULL && now >= planner->measure_after_ns,
        .thorough = entry->compact != NULL,
        .reclaim_first = entry->reclaim_next,
    };
    const struct span name = entry_name(entry);
    entry->reclaim_next = !entry->reclaim_next;
    pthread_mutex_unlock(&planner->mutex);
    struct collection *collection = NULL;
    enum plan_state state = PLAN_NOTHING;
    enum error error = collection_acquire_unaliased(planner->database, name, &collection);
    if (error == OK)
        error = step(planner, collection, stride, &state);
    collection_release(collection);
    if (error != OK && error != ERROR_BUSY && error != ERROR_NOT_FOUND) {
        char quoted[300];
        log_write(LOG_LEVEL_WARN, "maintenance stopped until the next write",
                  "collection=%s error=\"%s\"", log_quote(name, quoted, sizeof quoted),
                  error_text(error));
    }
    pthread_mutex_lock(&planner->mutex);
    struct write_job *compact = NULL;
    if (stride.thorough && compact_is_ready(entry, &error, state)) {
        compact = entry->compact;
        entry->compact = NULL;
    }
    entry_after(planner, entry, touched, stride, error, state);
    if (compact != NULL) {
        pthread_mutex_unlock(&planner->mutex);
        compact_end(planner, compact, error);
        pthread_mutex_lock(&planner->mutex);
    }
}

static void wait_until(struct planner *planner, uint64_t wake)
{
    if (wake == UINT64_MAX) {
        pthread_cond_wait(&planner->changed, &planner->mutex);
        return;
    }
    const struct timespec at = {.tv_sec = (time_t)(wake / 1000000000u),
                                .tv_nsec = (long)(wake % 1000000000u)};
    pthread_cond_timedwait(&planner->changed, &planner->mutex, &at);
}

static void *planner_main(void *argument)
{
    struct planner *planner = argument;
    /* On Linux a thread has a priority of its own. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICENESS);
    pthread_mutex_lock(&planner->mutex);
    while (!planner->stopping) {
        uint64_t wake;
        struct entry *entry = list_due(planner, now_ns(), &wake);
        if (entry != NULL)
            work_on(planner, entry);
        else
            wait_until(planner, wake);
    }
    pthread_mutex_unlock(&planner->mutex);
    return NULL;
}

/* ---- beginning and end ---- */

struct planner *planner_new(struct database *database, struct writer *writer, uint32_t reader,
                            const struct planner_options *options)
{
    if (!options->enabled)
        return NULL;
    struct planner *planner = allocate_zeroed(1, sizeof *planner);
    planner->database = database;
    planner->writer = writer;
    planner->reader = reader;
    planner->options = *options;
    planner->measure_after_ns = options->measure_percent == 0 ? UINT64_MAX : 0;
    planner->scratch = plan_scratch_new();
    pthread_mutex_init(&planner->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&planner->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const int result = pthread_create(&planner->thread, NULL, planner_main, planner);
    if (result != 0) {
        fprintf(stderr, "kith: cannot start the thread kith-planner: %s\n", strerror(result));
        abort();
    }
    pthread_setname_np(planner->thread, "kith-planner");
    writer_watch(writer, on_applied, planner);
    return planner;
}

void planner_free(struct planner *planner)
{
    if (planner == NULL)
        return;
    writer_watch(planner->writer, NULL, NULL);
    pthread_mutex_lock(&planner->mutex);
    planner->stopping = true;
    pthread_cond_signal(&planner->changed);
    pthread_mutex_unlock(&planner->mutex);
    pthread_join(planner->thread, NULL);
    while (planner->first != NULL) {
        struct entry *entry = planner->first;
        list_remove(planner, entry);
        if (entry->compact != NULL)
            compact_end(planner, entry->compact, ERROR_CANCELLED);
        entry_free(entry);
    }
    plan_scratch_free(planner->scratch);
    pthread_cond_destroy(&planner->changed);
    pthread_mutex_destroy(&planner->mutex);
    free(planner);
}

void planner_figures_get(struct planner *planner, struct planner_figures *figures)
{
    *figures = (struct planner_figures){0};
    if (planner == NULL)
        return;
    pthread_mutex_lock(&planner->mutex);
    *figures = planner->figures;
    pthread_mutex_unlock(&planner->mutex);
}
