/* The writer: lanes of jobs, one a collection, served in turn.
 *
 *     submit -> lane of its collection -> (the writer) group -> collection_apply -> done() of each
 *
 * A lane exists while it has jobs. The writer takes the first lane, gathers a group from it, moves
 * the lane behind the others and commits. Jobs that create or delete collections have a lane of
 * their own and are a group each; so is a step of building payload indexes, in the lane of its
 * collection.
 *
 * A deleted collection must first be let go by everybody who holds it, such as a search that runs
 * to the end of its timeout. The others' writes do not wait for that: a second thread, the deleter,
 * does.
 *
 * A group fails as a whole, so one bad op must not take its neighbours with it: after an error that
 * is about an op (not about the disk) each job is applied alone. */
#include "server/writer.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "index/compact.h"
#include "index/field.h"
#include "index/plan.h"

#define GATHER_STEP 64 /* jobs taken from a lane at one locking */

struct lane {
    struct collection *collection; /* NULL: creating and deleting */
    struct write_job *first, *last;
    struct lane *next;
};

/* What is committed together; the writer thread's alone. */
struct group {
    struct write_job **jobs;
    struct apply_item *items;
    size_t count, capacity;
    uint64_t points, bytes;
};

struct writer {
    struct database *database;
    struct writer_options options;
    pthread_t thread, deleter;
    struct group group;
    pthread_mutex_t mutex;
    pthread_cond_t filled, doomed;
    /* all below: under mutex */
    struct lane *first, *last;
    uint64_t queue_points, queue_bytes;
    struct write_job *deletes, *last_delete; /* for the deleter */
    const struct collection *deleting;       /* ops for it are refused at once */
    struct span deleting_name;
    bool stopping, deleter_stopping;
    pthread_mutex_t watching; /* guards the two below; held while applied() runs */
    void (*applied)(void *context, struct collection *collection);
    void *applied_context;
    struct writer_figures figures;
};

struct writer_options writer_options_default(void)
{
    return (struct writer_options){
        .queue_points_max = 65536,
        .queue_bytes_max = 256u << 20,
        .group_points_max = 1024,
        .group_bytes_max = 8u << 20,
        .group_gather_us = 2000,
    };
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A job without points (create, delete) weighs as one, so that every queue is bounded. */
static uint64_t job_points(const struct write_job *job)
{
    return job->point_count == 0 ? 1 : job->point_count;
}

/* Does it wait in its collection's own lane? */
static bool job_is_of_collection(const struct write_job *job)
{
    return job->kind == WRITE_OP || job->kind == WRITE_FIELDS || job->kind == WRITE_ALTER ||
           job->kind == WRITE_COMPACT;
}

static void job_finish(struct write_job *job, enum error error)
{
    job->error = error;
    job->done(job);
}

/* ---- lanes; all under the mutex ---- */

static struct lane *lane_find(struct writer *writer, const struct collection *collection)
{
    struct lane *lane = writer->first;
    while (lane != NULL && lane->collection != collection)
        lane = lane->next;
    return lane;
}

static void lane_append(struct writer *writer, struct lane *lane)
{
    lane->next = NULL;
    if (writer->last == NULL)
        writer->first = lane;
    else
        writer->last->next = lane;
    writer->last = lane;
}

/* front: before the others that wait there. */
static void lane_put(struct writer *writer, struct write_job *job, bool front)
{
    struct collection *collection = job_is_of_collection(job) ? job->collection : NULL;
    struct lane *lane = lane_find(writer, collection);
    if (lane == NULL) {
        lane = allocate_zeroed(1, sizeof *lane);
        lane->collection = collection;
        lane_append(writer, lane);
    }
    job->next = front ? lane->first : NULL;
    if (front || lane->last == NULL)
        lane->first = job;
    else
        lane->last->next = job;
    if (!front || lane->last == NULL)
        lane->last = job;
    writer->queue_points += job_points(job);
    writer->queue_bytes += job->op.bytes;
}

static struct write_job *lane_take(struct writer *writer, struct lane *lane)
{
    struct write_job *job = lane->first;
    lane->first = job->next;
    if (lane->first == NULL)
        lane->last = NULL;
    job->next = NULL;
    writer->queue_points -= job_points(job);
    writer->queue_bytes -= job->op.bytes;
    return job;
}

/* The first lane has had its turn: to the end, or away when it is empty. */
static void lane_rotate(struct writer *writer)
{
    struct lane *lane = writer->first;
    writer->first = lane->next;
    if (writer->first == NULL)
        writer->last = NULL;
    if (lane->first == NULL)
        free(lane);
    else
        lane_append(writer, lane);
}

/* ---- submitting ---- */

static bool queue_has_room(const struct writer *writer, const struct write_job *job)
{
    if (writer->first == NULL) /* a job above the limits is still served, alone */
        return true;
    return writer->queue_points + job_points(job) <= writer->options.queue_points_max &&
           writer->queue_bytes + job->op.bytes <= writer->options.queue_bytes_max;
}

static bool job_is_doomed(const struct writer *writer, const struct write_job *job)
{
    if (!job_is_of_collection(job) || writer->deleting_name.bytes == 0)
        return false;
    return job->collection == writer->deleting || span_equal(job->name, writer->deleting_name);
}

static bool submit(struct writer *writer, struct write_job *job, bool always)
{
    assert(job->done != NULL && (!job_is_of_collection(job) || job->collection != NULL));
    pthread_mutex_lock(&writer->mutex);
    bool doomed = job_is_doomed(writer, job);
    bool room = always || queue_has_room(writer, job);
    if (!doomed && room) {
        lane_put(writer, job, false);
        pthread_cond_signal(&writer->filled);
    }
    pthread_mutex_unlock(&writer->mutex);
    if (doomed)
        job_finish(job, ERROR_NOT_FOUND);
    return doomed || room;
}

bool writer_submit(struct writer *writer, struct write_job *job)
{
    return submit(writer, job, false);
}

void writer_continue(struct writer *writer, struct write_job *job)
{
    (void)submit(writer, job, true);
}

/* ---- groups ---- */

static bool group_takes(const struct writer *writer, const struct group *group,
                        const struct write_job *job)
{
    if (group->count == 0)
        return true;
    return group->jobs[0]->kind == WRITE_OP && job->kind == WRITE_OP &&
           group->count < group->capacity &&
           group->points + job_points(job) <= writer->options.group_points_max &&
           group->bytes + job->op.bytes <= writer->options.group_bytes_max;
}

/* Take up to GATHER_STEP jobs of the first lane. true: there may be more to take. */
static bool group_take_step(struct writer *writer, struct group *group)
{
    pthread_mutex_lock(&writer->mutex);
    struct lane *lane = writer->first;
    size_t taken = 0;
    while (lane->first != NULL && taken < GATHER_STEP && group_takes(writer, group, lane->first)) {
        struct write_job *job = lane_take(writer, lane);
        group->points += job_points(job);
        group->bytes += job->op.bytes;
        group->jobs[group->count++] = job;
        taken++;
    }
    bool more = taken == GATHER_STEP;
    pthread_mutex_unlock(&writer->mutex);
    return more;
}

/* Gather from the first lane until it is empty, the group is full, or the time is over. */
static void group_gather(struct writer *writer, struct group *group)
{
    uint64_t end = now_ns() + (uint64_t)writer->options.group_gather_us * 1000u;
    group->count = 0;
    group->points = group->bytes = 0;
    while (group_take_step(writer, group) && now_ns() < end)
        ;
    pthread_mutex_lock(&writer->mutex);
    lane_rotate(writer);
    pthread_mutex_unlock(&writer->mutex);
}

static void group_account(struct writer *writer, uint64_t points, uint64_t elapsed_ns)
{
    pthread_mutex_lock(&writer->mutex);
    writer->figures.commits++;
    writer->figures.points += points;
    writer->figures.commit_seconds += (double)elapsed_ns * 1e-9;
    pthread_mutex_unlock(&writer->mutex);
}

void writer_watch(struct writer *writer,
                  void (*applied)(void *context, struct collection *collection), void *context)
{
    pthread_mutex_lock(&writer->watching);
    writer->applied = applied;
    writer->applied_context = context;
    pthread_mutex_unlock(&writer->watching);
}

static void tell_watcher(struct writer *writer, struct collection *collection)
{
    pthread_mutex_lock(&writer->watching);
    if (writer->applied != NULL)
        writer->applied(writer->applied_context, collection);
    pthread_mutex_unlock(&writer->watching);
}

/* One transaction over jobs[0..count). */
static enum error jobs_commit(struct writer *writer, struct write_job **jobs, size_t count)
{
    struct apply_item *items = writer->group.items;
    uint64_t points = 0;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct apply_item){.op = jobs[i]->op, .encoded = jobs[i]->encoded};
        points += jobs[i]->point_count;
    }
    uint64_t began = now_ns();
    failpoint("writer_before_apply");
    enum error error = collection_apply(jobs[0]->collection, items, count);
    failpoint("writer_after_apply");
    for (size_t i = 0; i < count; i++) {
        jobs[i]->missing = items[i].missing;
        jobs[i]->missing_id = items[i].missing_id;
    }
    if (error != OK)
        return error;
    group_account(writer, points, now_ns() - began);
    tell_watcher(writer, jobs[0]->collection);
    for (size_t i = 0; i < count; i++) {
        jobs[i]->operation = items[i].operation;
        jobs[i]->points_changed = items[i].points_changed;
    }
    return OK;
}

static void jobs_finish(struct write_job **jobs, size_t count, enum error error)
{
    for (size_t i = 0; i < count; i++)
        job_finish(jobs[i], error);
}

static bool job_frees_space(const struct write_job *job)
{
    struct op_header header;
    struct span points;
    return op_open(job->op, &header, &points) == OK && header.kind == OP_DELETE;
}

/* The disk or the map is full: upserts fail, deletes go on in the ballast's space. */
static void group_apply_deletes(struct writer *writer, struct group *group)
{
    store_drop_ballast(database_store(writer->database));
    for (size_t i = 0; i < group->count; i++) {
        struct write_job *job = group->jobs[i];
        job_finish(job, job_frees_space(job) ? jobs_commit(writer, &job, 1) : ERROR_FULL);
    }
}

static void group_apply_singly(struct writer *writer, struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        struct write_job *job = group->jobs[i];
        job_finish(job, jobs_commit(writer, &job, 1));
    }
}

/* Is it an op that is wrong, rather than the disk or the collection? */
static bool error_is_of_an_op(enum error error)
{
    return error == ERROR_INVALID || error == ERROR_TOO_LARGE || error == ERROR_NOT_FOUND ||
           error == ERROR_EXISTS || error == ERROR_CORRUPT;
}

static void group_apply(struct writer *writer, struct group *group)
{
    enum error error = store_check_space(database_store(writer->database));
    if (error == OK)
        error = jobs_commit(writer, group->jobs, group->count);
    if (error == ERROR_FULL)
        group_apply_deletes(writer, group);
    else if (error_is_of_an_op(error) && group->count > 1)
        group_apply_singly(writer, group);
    else
        jobs_finish(group->jobs, group->count, error);
}

/* ---- creating and deleting ---- */

static enum error control_create(struct writer *writer, const struct write_job *job)
{
    enum error error = store_check_space(database_store(writer->database));
    if (error != OK)
        return error;
    failpoint("writer_before_create");
    error = database_create(writer->database, job->name, job->settings);
    failpoint("writer_after_create");
    return error;
}

/* Ops of the collection are refused from here on; the queued ones are the caller's to answer. */
static struct write_job *deleting_begin(struct writer *writer, struct span name,
                                        const struct collection *collection)
{
    struct write_job *doomed = NULL;
    pthread_mutex_lock(&writer->mutex);
    writer->deleting = collection;
    writer->deleting_name = name;
    struct lane *lane = collection == NULL ? NULL : lane_find(writer, collection);
    if (lane != NULL) {
        for (struct write_job *job = lane->first; job != NULL; job = job->next) {
            writer->queue_points -= job_points(job);
            writer->queue_bytes -= job->op.bytes;
        }
        doomed = lane->first;
        lane->first = lane->last = NULL; /* an empty lane goes at its turn */
    }
    pthread_mutex_unlock(&writer->mutex);
    return doomed;
}

static void deleting_end(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    writer->deleting = NULL;
    writer->deleting_name = (struct span){0};
    pthread_mutex_unlock(&writer->mutex);
}

/* database_delete waits until nobody holds the collection, and every queued op holds it: they are
 * answered first, and those that come meanwhile by writer_submit. */
static enum error control_delete(struct writer *writer, const struct write_job *job)
{
    struct collection *collection = NULL;
    if (collection_acquire_unaliased(writer->database, job->name, &collection) != OK)
        collection = NULL; /* missing or damaged: nobody can hold it */
    struct write_job *doomed = deleting_begin(writer, job->name, collection);
    collection_release(collection);
    while (doomed != NULL) {
        struct write_job *next = doomed->next;
        if (doomed->kind == WRITE_COMPACT)
            collection_compact_cancel(doomed->collection); /* it waits for its next step */
        job_finish(doomed, ERROR_NOT_FOUND);
        doomed = next;
    }
    failpoint("writer_before_delete");
    enum error error = database_delete(writer->database, job->name);
    failpoint("writer_after_delete");
    deleting_end(writer);
    return error;
}

static void fields_run(struct writer *writer, struct write_job *job)
{
    enum error error = store_check_space(database_store(writer->database));
    job->more = false;
    if (error == OK)
        error = collection_build_fields(job->collection, &job->more);
    job_finish(job, error);
}

static enum error control_configure(struct writer *writer, struct write_job *job)
{
    struct span config;
    enum error error = job->configure(job, &config);
    return error == OK ? database_configure(writer->database, job->collection, config) : error;
}

/* Back to the front of its lane, so that nothing is written to the collection between two steps.
 * ERROR_NOT_FOUND: it is being deleted; ERROR_CANCELLED: the writer is to end. */
static enum error compact_again(struct writer *writer, struct write_job *job)
{
    pthread_mutex_lock(&writer->mutex);
    enum error error = writer->stopping || atomic_load(job->stop) ? ERROR_CANCELLED
                       : job_is_doomed(writer, job)               ? ERROR_NOT_FOUND
                                                                  : OK;
    if (error == OK)
        lane_put(writer, job, true);
    pthread_mutex_unlock(&writer->mutex);
    return error;
}

static void compact_run(struct writer *writer, struct write_job *job)
{
    bool done;
    struct compaction_sizes sizes = {0};
    enum error error = collection_compact(job->collection, &done, &sizes);
    if (error == OK && !done) {
        error = compact_again(writer, job);
        if (error == OK)
            return;
        collection_compact_cancel(job->collection);
    }
    job->bytes_before = sizes.bytes_before;
    job->bytes_after = sizes.bytes_after;
    pthread_mutex_lock(&writer->mutex);
    writer->figures.compactions += error == OK;
    if (error == OK)
        writer->figures.compacted_bytes += sizes.bytes_before - sizes.bytes_after;
    pthread_mutex_unlock(&writer->mutex);
    job_finish(job, error);
}

static enum error control_alter(struct writer *writer, struct write_job *job)
{
    const struct collection_settings *settings = NULL;
    enum error error = store_check_space(database_store(writer->database));
    if (error == OK)
        error = job->alter(job, &settings);
    if (error == OK && settings != NULL) {
        error = database_alter(writer->database, job->collection, settings);
        if (error == OK)
            tell_watcher(writer, job->collection);
    }
    return error;
}

static void control_run(struct writer *writer, struct write_job *job)
{
    if (job->kind == WRITE_ALTER) {
        job_finish(job, control_alter(writer, job));
        return;
    }
    if (job->kind == WRITE_COMPACT) {
        compact_run(writer, job);
        return;
    }
    if (job->kind == WRITE_FIELDS) {
        fields_run(writer, job);
        return;
    }
    if (job->kind == WRITE_CREATE) {
        job_finish(job, control_create(writer, job));
        return;
    }
    if (job->kind == WRITE_PLAN) {
        const enum error error = store_check_space(database_store(writer->database));
        job_finish(job, error == OK ? collection_apply_plan(job->collection, job->plan) : error);
        return;
    }
    if (job->kind == WRITE_CONFIGURE) {
        job_finish(job, control_configure(writer, job));
        return;
    }
    if (job->kind == WRITE_ALIASES) {
        job_finish(job, database_change_aliases(writer->database, job->actions, job->action_count,
                                                &job->action_failed));
        return;
    }
    pthread_mutex_lock(&writer->mutex);
    if (writer->last_delete == NULL)
        writer->deletes = job;
    else
        writer->last_delete->next = job;
    writer->last_delete = job;
    pthread_cond_signal(&writer->doomed);
    pthread_mutex_unlock(&writer->mutex);
}

static struct write_job *deleter_wait(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->deletes == NULL && !writer->deleter_stopping)
        pthread_cond_wait(&writer->doomed, &writer->mutex);
    struct write_job *job = writer->deletes;
    if (job != NULL) {
        writer->deletes = job->next;
        if (writer->deletes == NULL)
            writer->last_delete = NULL;
        job->next = NULL;
    }
    pthread_mutex_unlock(&writer->mutex);
    return job;
}

static void *deleter_main(void *argument)
{
    struct writer *writer = argument;
    for (struct write_job *job = deleter_wait(writer); job != NULL; job = deleter_wait(writer))
        job_finish(job, control_delete(writer, job));
    return NULL;
}

/* ---- the threads ---- */

/* false: stopping and nothing is left. */
static bool writer_wait(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->first == NULL && !writer->stopping)
        pthread_cond_wait(&writer->filled, &writer->mutex);
    bool work = writer->first != NULL;
    pthread_mutex_unlock(&writer->mutex);
    return work;
}

static void *writer_main(void *argument)
{
    struct writer *writer = argument;
    struct group *group = &writer->group;
    while (writer_wait(writer)) {
        group_gather(writer, group);
        if (group->count == 0)
            continue; /* its jobs were answered by a delete */
        if (group->jobs[0]->kind == WRITE_OP)
            group_apply(writer, group);
        else
            control_run(writer, group->jobs[0]);
    }
    return NULL;
}

static void thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument)
{
    int result = pthread_create(thread, NULL, run, argument);
    if (result != 0) {
        fprintf(stderr, "kith: cannot start the thread %s: %s\n", name, strerror(result));
        abort();
    }
    pthread_setname_np(*thread, name);
}

struct writer *writer_new(struct database *database, const struct writer_options *options)
{
    assert(options->group_points_max > 0);
    struct writer *writer = allocate_zeroed(1, sizeof *writer);
    writer->database = database;
    writer->options = *options;
    struct group *group = &writer->group;
    group->capacity = options->group_points_max; /* a job weighs at least one point */
    group->jobs = allocate_zeroed(group->capacity, sizeof group->jobs[0]);
    group->items = allocate_zeroed(group->capacity, sizeof group->items[0]);
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_mutex_init(&writer->watching, NULL);
    pthread_cond_init(&writer->filled, NULL);
    pthread_cond_init(&writer->doomed, NULL);
    thread_start(&writer->thread, "kith-writer", writer_main, writer);
    thread_start(&writer->deleter, "kith-deleter", deleter_main, writer);
    return writer;
}

void writer_free(struct writer *writer)
{
    if (writer == NULL)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    pthread_cond_signal(&writer->filled);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    pthread_mutex_lock(&writer->mutex);
    writer->deleter_stopping = true; /* nothing comes to it any more */
    pthread_cond_signal(&writer->doomed);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->deleter, NULL);
    assert(writer->first == NULL && writer->queue_points == 0 && writer->queue_bytes == 0);
    pthread_mutex_destroy(&writer->watching);
    pthread_cond_destroy(&writer->filled);
    pthread_cond_destroy(&writer->doomed);
    pthread_mutex_destroy(&writer->mutex);
    free(writer->group.jobs);
    free(writer->group.items);
    free(writer);
}

void writer_figures_get(struct writer *writer, struct writer_figures *figures)
{
    pthread_mutex_lock(&writer->mutex);
    *figures = writer->figures;
    figures->queue_points = writer->queue_points;
    pthread_mutex_unlock(&writer->mutex);
}
