#include "server/expiry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "index/expired.h"
#include "server/collection_kith.h"
#include "server/log.h"
#include "server/point_reader.h"

#define NICENESS 10

/* A collection in a sweep. */
struct entry {
    uint8_t *name; /* owned */
    size_t name_bytes;
    struct expired_search search;
    struct entry *next;
};

struct expiry {
    struct database *database;
    struct writer *writer;
    uint32_t reader;
    struct expiry_options options;
    pthread_t thread;
    struct point_id *ids; /* [batch_points], the thread's */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a job is done, or the thread stops */
    /* all below: under the mutex */
    bool stopping, applied;
    struct expiry_figures figures;
};

struct expiry_options expiry_options_default(void)
{
    return (struct expiry_options){.interval_ms = 10000, .batch_points = 1000};
}

/* ---- the time ---- */

#ifdef KITH_TEST_HOOKS
/* Tests set the time: seconds since 1970, in the file that KITH_CLOCK_FILE names. */
static bool clock_of_test(int64_t *us)
{
    const char *path = getenv("KITH_CLOCK_FILE");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    long long seconds = 0;
    const bool good = file != NULL && fscanf(file, "%lld", &seconds) == 1;
    if (file != NULL)
        (void)fclose(file);
    *us = (int64_t)seconds * 1000000;
    return good;
}
#endif

static int64_t now_us(void)
{
    struct timespec t;
#ifdef KITH_TEST_HOOKS
    int64_t us;
    if (clock_of_test(&us))
        return us;
#endif
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- a step ---- */

struct expiry_job {
    struct write_job job; /* first */
    struct expiry *expiry;
};

static void job_done(struct write_job *job)
{
    struct expiry *expiry = ((struct expiry_job *)(void *)job)->expiry;
    pthread_mutex_lock(&expiry->mutex);
    expiry->applied = true;
    pthread_cond_signal(&expiry->changed);
    pthread_mutex_unlock(&expiry->mutex);
}

static struct span delete_op(const struct expiry *expiry, struct arena *arena,
                             const struct expired_search *search, size_t count)
{
    struct op_builder op;
    uint8_t request_id[16];
    request_id_draw(request_id);
    op_begin(&op, arena, OP_DELETE, request_id);
    for (size_t i = 0; i < count; i++)
        op_put_id(&op, &expiry->ids[i]);
    op_put_filter(&op, expired_condition(arena, search->field, search->now_us), true);
    return op_end(&op);
}

/* Have the writer delete those in expiry->ids, and wait for it. */
static enum error delete_found(struct expiry *expiry, struct collection *collection,
                               struct arena *arena, const struct expired_search *search,
                               size_t count, bool *progress)
{
    struct expiry_job job = {.job = {.kind = WRITE_OP,
                                     .name = collection_name(collection),
                                     .collection = collection,
                                     .op = delete_op(expiry, arena, search, count),
                                     .point_count = (uint32_t)count,
                                     .done = job_done},
                             .expiry = expiry};
    pthread_mutex_lock(&expiry->mutex);
    expiry->applied = false;
    pthread_mutex_unlock(&expiry->mutex);
    writer_continue(expiry->writer, &job.job); /* one at a time: bounded */
    pthread_mutex_lock(&expiry->mutex);
    while (!expiry->applied)
        pthread_cond_wait(&expiry->changed, &expiry->mutex);
    if (job.job.error == OK)
        expiry->figures.points += job.job.points_changed;
    pthread_mutex_unlock(&expiry->mutex);
    *progress = job.job.points_changed > 0;
    return job.job.error;
}

static enum error find(struct expiry *expiry, struct collection *collection, struct arena *arena,
                       struct expired_search *search, size_t *count, bool *more)
{
    struct view view;
    enum error error = view_open(collection_environment(collection), expiry->reader, &view);
    if (error != OK)
        return error;
    error = expired_find(search, collection, &view, arena, expiry->ids,
                         expiry->options.batch_points, count, more);
    view_close(&view);
    return error;
}

/* *more: another step may find some. */
static enum error step(struct expiry *expiry, struct entry *entry, struct arena *arena, bool *more)
{
    struct collection *collection = NULL;
    struct expired_search *search = &entry->search;
    size_t count = 0;
    bool progress = true;
    *more = false;
    enum error error = collection_acquire_unaliased(
        expiry->database, span_of(entry->name, entry->name_bytes), &collection);
    if (error != OK)
        return error;
    search->field = kith_settings_of(collection, arena).expire_field;
    if (search->field.bytes > 0)
        error = find(expiry, collection, arena, search, &count, more);
    if (error == OK && count > 0)
        error = delete_found(expiry, collection, arena, search, count, &progress);
    /* What was found and stayed was written anew, or its index is damaged: not now. */
    *more = *more && (progress || search->has_begin);
    search->field = (struct span){0}; /* it is in the arena */
    collection_release(collection);
    return error;
}

/* ---- a sweep ---- */

static enum error add_entry(void *context, struct span name, struct span config)
{
    struct entry **first = context;
    if (!config_may_expire(config))
        return OK;
    struct entry *entry = allocate_zeroed(1, sizeof *entry);
    entry->name = allocate(name.bytes + 1);
    memcpy(entry->name, name.data, name.bytes);
    entry->name_bytes = name.bytes;
    entry->next = *first;
    *first = entry;
    return OK;
}

static bool is_stopping(struct expiry *expiry)
{
    pthread_mutex_lock(&expiry->mutex);
    const bool stopping = expiry->stopping;
    pthread_mutex_unlock(&expiry->mutex);
    return stopping;
}

static void tell(const struct entry *entry, enum error error)
{
    char quoted[300];
    if (error != OK && error != ERROR_NOT_FOUND)
        log_write(LOG_LEVEL_WARN, "expired points not deleted", "collection=%s error=\"%s\"",
                  log_quote(span_of(entry->name, entry->name_bytes), quoted, sizeof quoted),
                  error_text(error));
}

/* A step of each in turn, until none has more. */
static void sweep(struct expiry *expiry)
{
    struct entry *first = NULL;
    struct arena arena;
    const int64_t now = now_us();
    const enum error error = database_each(expiry->database, add_entry, &first);
    if (error != OK)
        log_write(LOG_LEVEL_WARN, "collections not looked through for expired points",
                  "error=\"%s\"", error_text(error));
    for (struct entry *entry = first; entry != NULL; entry = entry->next)
        entry->search.now_us = now;
    arena_init(&arena);
    while (first != NULL) {
        for (struct entry **at = &first; *at != NULL;) {
            struct entry *entry = *at;
            bool more = false;
            if (!is_stopping(expiry))
                tell(entry, step(expiry, entry, &arena, &more));
            arena_release(&arena);
            if (more) {
                at = &entry->next;
                continue;
            }
            *at = entry->next;
            free(entry->name);
            free(entry);
        }
    }
    arena_release(&arena);
    pthread_mutex_lock(&expiry->mutex);
    expiry->figures.sweeps++;
    pthread_mutex_unlock(&expiry->mutex);
}

static void wait_interval(struct expiry *expiry)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    const uint64_t ns = (uint64_t)at.tv_nsec + expiry->options.interval_ms * UINT64_C(1000000);
    at.tv_sec += (time_t)(ns / 1000000000u);
    at.tv_nsec = (long)(ns % 1000000000u);
    int waited = 0;
    while (!expiry->stopping && waited == 0)
        waited = pthread_cond_timedwait(&expiry->changed, &expiry->mutex, &at);
}

static void *expiry_main(void *argument)
{
    struct expiry *expiry = argument;
    /* On Linux a thread has a priority of its own. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICENESS);
    pthread_mutex_lock(&expiry->mutex);
    while (!expiry->stopping) {
        pthread_mutex_unlock(&expiry->mutex);
        sweep(expiry);
        pthread_mutex_lock(&expiry->mutex);
        wait_interval(expiry);
    }
    pthread_mutex_unlock(&expiry->mutex);
    return NULL;
}

/* ---- beginning and end ---- */

struct expiry *expiry_new(struct database *database, struct writer *writer, uint32_t reader,
                          const struct expiry_options *options)
{
    struct expiry *expiry = allocate_zeroed(1, sizeof *expiry);
    expiry->database = database;
    expiry->writer = writer;
    expiry->reader = reader;
    expiry->options = *options;
    expiry->ids = allocate(size_product(options->batch_points, sizeof *expiry->ids));
    pthread_mutex_init(&expiry->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&expiry->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const int result = pthread_create(&expiry->thread, NULL, expiry_main, expiry);
    if (result != 0) {
        fprintf(stderr, "kith: cannot start the thread kith-expiry: %s\n", strerror(result));
        abort();
    }
    pthread_setname_np(expiry->thread, "kith-expiry");
    return expiry;
}

void expiry_free(struct expiry *expiry)
{
    if (expiry == NULL)
        return;
    pthread_mutex_lock(&expiry->mutex);
    expiry->stopping = true;
    pthread_cond_signal(&expiry->changed);
    pthread_mutex_unlock(&expiry->mutex);
    pthread_join(expiry->thread, NULL);
    pthread_cond_destroy(&expiry->changed);
    pthread_mutex_destroy(&expiry->mutex);
    free(expiry->ids);
    free(expiry);
}

void expiry_figures_get(struct expiry *expiry, struct expiry_figures *figures)
{
    *figures = (struct expiry_figures){0};
    if (expiry == NULL)
        return;
    pthread_mutex_lock(&expiry->mutex);
    *figures = expiry->figures;
    pthread_mutex_unlock(&expiry->mutex);
}
