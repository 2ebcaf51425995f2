/* The writer over a real database: order, groups, turns, limits, deletes, a full disk.
 *
 * To see a group the writer is held first: a job's done() waits, so whatever is submitted meanwhile
 * lies in the queue together. */
#include "index_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "server/writer.h"

#define DIM 8

struct job {
    struct write_job write; /* first */
    struct arena arena;
    sem_t done;
    atomic_uint *clock; /* ticks per finished job, NULL: none */
    unsigned finished_at;
    sem_t *reached, *go; /* done() stops here */
};

static void job_done(struct write_job *write)
{
    struct job *job = (struct job *)(void *)write;
    if (job->clock != NULL)
        job->finished_at = atomic_fetch_add(job->clock, 1) + 1;
    if (job->reached != NULL) {
        sem_post(job->reached);
        sem_wait(job->go);
    }
    if (write->kind == WRITE_OP)
        collection_release(write->collection);
    sem_post(&job->done); /* the last touch */
}

static void job_init(struct job *job)
{
    memset(job, 0, sizeof *job);
    arena_init(&job->arena);
    sem_init(&job->done, 0, 0);
    job->write.done = job_done;
}

static void job_end(struct job *job)
{
    arena_release(&job->arena);
    sem_destroy(&job->done);
}

/* An op of `count` points from id `first` on. */
static void job_op(struct job *job, struct collection *collection, enum op_kind kind,
                   uint64_t first, uint32_t count)
{
    struct op_builder builder;
    uint8_t request_id[16] = {0};
    store64(request_id, first + 1);
    op_begin(&builder, &job->arena, kind, request_id);
    for (uint32_t i = 0; i < count; i++) {
        struct point_id id = point_id_number(first + i);
        if (kind == OP_DELETE) {
            op_put_id(&builder, &id);
            continue;
        }
        uint8_t *vector = op_put_dense_point(&builder, &id, DIM, (struct span){0});
        for (uint32_t j = 0; j < DIM; j++)
            store_float(vector + 4 * j, (float)(first + i + j));
    }
    job->write.kind = WRITE_OP;
    job->write.collection = collection;
    job->write.op = op_end(&builder);
    job->write.point_count = count;
}

static struct collection *acquire(struct database *database, const char *name)
{
    struct collection *collection;
    assert_int_equal(collection_acquire(database, span_text(name), &collection), OK);
    return collection;
}

static enum error run(struct writer *writer, struct job *job)
{
    assert_true(writer_submit(writer, &job->write));
    sem_wait(&job->done);
    return job->write.error;
}

static enum error control(struct writer *writer, enum write_kind kind, const char *name)
{
    const struct vector_settings vector = {
        .kind = VECTOR_DENSE, .dim = DIM, .metric = METRIC_EUCLID, .seed = 7};
    const struct collection_settings settings = {
        .vectors = &vector, .vector_count = 1, .config = span_text("{}")};
    struct job job;
    job_init(&job);
    job.write.kind = kind;
    job.write.name = span_text(name);
    job.write.settings = &settings;
    enum error error = run(writer, &job);
    job_end(&job);
    return error;
}

static uint64_t count_points(struct database *database, const char *name)
{
    struct collection *collection = acquire(database, name);
    struct view view;
    assert_int_equal(view_open(collection_environment(collection), 0, &view), OK);
    uint64_t count = view_counters(&view)->point_count;
    view_close(&view);
    collection_release(collection);
    return count;
}

static void verify_report(void *context, const char *text)
{
    (void)context;
    print_error("%s\n", text);
}

static void assert_sound(struct database *database, const char *name)
{
    uint64_t problems = 0;
    struct collection *collection = acquire(database, name);
    assert_int_equal(collection_verify(collection, 0, verify_report, NULL, &problems), OK);
    assert_int_equal(problems, 0);
    collection_release(collection);
}

/* A writer whose thread waits in the done() of a first job. */
struct held {
    struct job job;
    sem_t reached, go;
};

static void writer_hold(struct writer *writer, struct held *held)
{
    static const struct collection_settings settings = {0};
    job_init(&held->job);
    sem_init(&held->reached, 0, 0);
    sem_init(&held->go, 0, 0);
    held->job.reached = &held->reached;
    held->job.go = &held->go;
    held->job.write.kind = WRITE_CREATE; /* refused: quick */
    held->job.write.name = span_text("no/name");
    held->job.write.settings = &settings;
    assert_true(writer_submit(writer, &held->job.write));
    sem_wait(&held->reached);
}

static void writer_let_go(struct held *held)
{
    sem_post(&held->go);
    sem_wait(&held->job.done);
    assert_int_not_equal(held->job.write.error, OK);
    sem_destroy(&held->reached);
    sem_destroy(&held->go);
    job_end(&held->job);
}

static uint64_t commits(struct writer *writer)
{
    struct writer_figures figures;
    writer_figures_get(writer, &figures);
    return figures.commits;
}

static int setup(void **state)
{
    struct fixture *fixture = malloc(sizeof *fixture);
    fixture_begin(fixture, 64, 256);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fixture_end(fixture);
    free(fixture);
    return 0;
}

static void a_collection_lives_and_dies(void **state)
{
    struct fixture *fixture = *state;
    struct writer_options options = writer_options_default();
    struct writer *writer = writer_new(fixture->database, &options);
    struct job job;
    assert_int_equal(control(writer, WRITE_CREATE, "a"), OK);
    assert_int_equal(control(writer, WRITE_CREATE, "a"), ERROR_EXISTS);
    assert_int_equal(control(writer, WRITE_CREATE, "a/b"), ERROR_INVALID);
    job_init(&job);
    job_op(&job, acquire(fixture->database, "a"), OP_UPSERT, 10, 3);
    assert_int_equal(run(writer, &job), OK);
    assert_int_equal(job.write.points_changed, 3);
    uint64_t operation = job.write.operation;
    job_end(&job);
    assert_int_equal(count_points(fixture->database, "a"), 3); /* answered = visible */
    job_init(&job);
    job_op(&job, acquire(fixture->database, "a"), OP_DELETE, 11, 1);
    assert_int_equal(run(writer, &job), OK);
    assert_true(job.write.operation > operation);
    job_end(&job);
    assert_int_equal(count_points(fixture->database, "a"), 2);
    assert_sound(fixture->database, "a");
    assert_int_equal(control(writer, WRITE_DELETE_COLLECTION, "a"), OK);
    assert_int_equal(control(writer, WRITE_DELETE_COLLECTION, "a"), ERROR_NOT_FOUND);
    writer_free(writer);
}

/* ---- many submitters ---- */

struct submitter {
    struct fixture *fixture;
    struct writer *writer;
    const char *name;
    uint64_t first;
    size_t count;
    uint64_t last_operation;
    size_t refused;
};

static void *submit_one_by_one(void *argument)
{
    struct submitter *self = argument;
    for (size_t i = 0; i < self->count; i++) {
        struct job job;
        job_init(&job);
        job_op(&job, acquire(self->fixture->database, self->name), OP_UPSERT, self->first + i, 1);
        if (!writer_submit(self->writer, &job.write)) {
            collection_release(job.write.collection);
            self->refused++;
        } else {
            sem_wait(&job.done);
            if (job.write.error != OK || job.write.operation <= self->last_operation)
                self->refused++;
            self->last_operation = job.write.operation;
        }
        job_end(&job);
    }
    return NULL;
}

static void many_submitters_keep_their_order(void **state)
{
    struct fixture *fixture = *state;
    enum { THREADS = 6, COUNT = 60 };
    static const char *const names[] = {"a", "b", "c"};
    struct writer_options options = writer_options_default();
    options.group_points_max = 8;
    struct writer *writer = writer_new(fixture->database, &options);
    struct submitter submitters[THREADS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(control(writer, WRITE_CREATE, names[i]), OK);
    for (size_t t = 0; t < THREADS; t++) {
        submitters[t] = (struct submitter){fixture, writer, names[t % 3], t * 1000, COUNT, 0, 0};
        pthread_create(&threads[t], NULL, submit_one_by_one, &submitters[t]);
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        assert_int_equal(submitters[t].refused, 0);
    }
    struct writer_figures figures;
    writer_figures_get(writer, &figures);
    assert_int_equal(figures.points, THREADS * COUNT);
    assert_int_equal(figures.queue_points, 0);
    assert_true(figures.commits <= THREADS * COUNT);
    writer_free(writer);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(count_points(fixture->database, names[i]), THREADS / 3 * COUNT);
        assert_sound(fixture->database, names[i]);
    }
}

/* ---- groups ---- */

/* Submit `count` ops of `points` each while the writer is held, then let it go and wait. */
static uint64_t commits_of(struct fixture *fixture, const struct writer_options *options,
                           size_t count, uint32_t points)
{
    struct writer *writer = writer_new(fixture->database, options);
    struct job *jobs = malloc(count * sizeof *jobs);
    atomic_uint clock = 0;
    struct held held;
    control(writer, WRITE_CREATE, "g");
    writer_hold(writer, &held);
    for (size_t i = 0; i < count; i++) {
        job_init(&jobs[i]);
        jobs[i].clock = &clock;
        job_op(&jobs[i], acquire(fixture->database, "g"), OP_UPSERT, i * points, points);
        assert_true(writer_submit(writer, &jobs[i].write));
    }
    uint64_t before = commits(writer);
    writer_let_go(&held);
    for (size_t i = 0; i < count; i++) {
        sem_wait(&jobs[i].done);
        assert_int_equal(jobs[i].write.error, OK);
        assert_int_equal(jobs[i].finished_at, i + 1); /* first come, first served */
        assert_int_equal(jobs[i].write.operation, jobs[0].write.operation + i);
        job_end(&jobs[i]);
    }
    uint64_t made = commits(writer) - before;
    writer_free(writer);
    free(jobs);
    return made;
}

static void a_group_ends_at_its_limits(void **state)
{
    struct fixture *fixture = *state;
    struct writer_options options = writer_options_default();
    assert_int_equal(commits_of(fixture, &options, 100, 2), 1);
    options.group_points_max = 50;
    assert_int_equal(commits_of(fixture, &options, 100, 2), 4);
    options.group_points_max = 5; /* 2 + 2, never 2 + 2 + half */
    assert_int_equal(commits_of(fixture, &options, 10, 2), 5);
    options.group_points_max = 3; /* a larger one is a group of its own */
    assert_int_equal(commits_of(fixture, &options, 4, 10), 4);
    options = writer_options_default();
    options.group_bytes_max = 1;
    assert_int_equal(commits_of(fixture, &options, 7, 1), 7);
    options = writer_options_default();
    options.group_gather_us = 0; /* one step of 64 jobs */
    assert_int_equal(commits_of(fixture, &options, 128, 1), 2);
}

static void collections_take_turns(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 20 };
    struct writer_options options = writer_options_default();
    options.group_points_max = 1;
    struct writer *writer = writer_new(fixture->database, &options);
    struct job many[COUNT], one, two;
    atomic_uint clock = 0;
    struct held held;
    assert_int_equal(control(writer, WRITE_CREATE, "bulk"), OK);
    assert_int_equal(control(writer, WRITE_CREATE, "small"), OK);
    writer_hold(writer, &held);
    for (size_t i = 0; i < COUNT; i++) {
        job_init(&many[i]);
        many[i].clock = &clock;
        job_op(&many[i], acquire(fixture->database, "bulk"), OP_UPSERT, i, 1);
        assert_true(writer_submit(writer, &many[i].write));
    }
    job_init(&one);
    job_init(&two);
    one.clock = two.clock = &clock;
    job_op(&one, acquire(fixture->database, "small"), OP_UPSERT, 1, 1);
    job_op(&two, acquire(fixture->database, "small"), OP_UPSERT, 2, 1);
    assert_true(writer_submit(writer, &one.write));
    assert_true(writer_submit(writer, &two.write));
    writer_let_go(&held);
    for (size_t i = 0; i < COUNT; i++) {
        sem_wait(&many[i].done);
        job_end(&many[i]);
    }
    sem_wait(&one.done);
    sem_wait(&two.done);
    assert_int_equal(one.finished_at, 2);
    assert_int_equal(two.finished_at, 4);
    job_end(&one);
    job_end(&two);
    writer_free(writer);
}

static void the_queue_has_an_end(void **state)
{
    struct fixture *fixture = *state;
    struct writer_options options = writer_options_default();
    options.queue_points_max = 10;
    options.group_points_max = 10;
    struct writer *writer = writer_new(fixture->database, &options);
    struct job large, small, refused;
    struct held held;
    assert_int_equal(control(writer, WRITE_CREATE, "q"), OK);
    struct collection *collection = acquire(fixture->database, "q");
    writer_hold(writer, &held);
    job_init(&large);
    job_init(&small);
    job_init(&refused);
    /* above the limit, but nothing else waits: it must be possible to serve it at all */
    job_op(&large, acquire(fixture->database, "q"), OP_UPSERT, 0, 25);
    assert_true(writer_submit(writer, &large.write));
    job_op(&refused, collection, OP_UPSERT, 100, 1);
    assert_false(writer_submit(writer, &refused.write));
    writer_let_go(&held);
    sem_wait(&large.done);
    assert_int_equal(large.write.error, OK);
    job_op(&small, acquire(fixture->database, "q"), OP_UPSERT, 200, 1);
    assert_int_equal(run(writer, &small), OK);
    assert_int_equal(count_points(fixture->database, "q"), 26);
    collection_release(collection);
    job_end(&large);
    job_end(&small);
    job_end(&refused);
    writer_free(writer);
}

/* ---- faults ---- */

static void a_bad_op_does_not_take_its_neighbours(void **state)
{
    struct fixture *fixture = *state;
    struct writer_options options = writer_options_default();
    struct writer *writer = writer_new(fixture->database, &options);
    struct job jobs[3];
    struct held held;
    assert_int_equal(control(writer, WRITE_CREATE, "n"), OK);
    writer_hold(writer, &held);
    for (size_t i = 0; i < 3; i++) {
        job_init(&jobs[i]);
        job_op(&jobs[i], acquire(fixture->database, "n"), OP_UPSERT, i, 1);
        if (i == 1)
            jobs[i].write.op.bytes -= 5;
        assert_true(writer_submit(writer, &jobs[i].write));
    }
    writer_let_go(&held);
    for (size_t i = 0; i < 3; i++) {
        sem_wait(&jobs[i].done);
        if (i == 1)
            assert_int_not_equal(jobs[i].write.error, OK);
        else
            assert_int_equal(jobs[i].write.error, OK);
        job_end(&jobs[i]);
    }
    assert_int_equal(count_points(fixture->database, "n"), 2);
    assert_sound(fixture->database, "n");
    writer_free(writer);
}

/* While somebody holds a collection that is being deleted, the others' writes go on, and ops for it
 * are answered by writer_submit. */
static void a_delete_waits_alone(void **state)
{
    struct fixture *fixture = *state;
    struct writer_options options = writer_options_default();
    struct writer *writer = writer_new(fixture->database, &options);
    struct job delete, late, other;
    assert_int_equal(control(writer, WRITE_CREATE, "d"), OK);
    assert_int_equal(control(writer, WRITE_CREATE, "other"), OK);
    struct collection *holder = acquire(fixture->database, "d");
    job_init(&late);
    job_op(&late, acquire(fixture->database, "d"), OP_UPSERT, 1, 1);
    job_init(&delete);
    delete.write.kind = WRITE_DELETE_COLLECTION;
    delete.write.name = span_text("d");
    assert_true(writer_submit(writer, &delete.write));
    struct collection *again;
    while (collection_acquire(fixture->database, span_text("d"), &again) == OK)
        collection_release(again); /* until the delete has begun */
    assert_true(writer_submit(writer, &late.write));
    assert_int_equal(sem_trywait(&late.done), 0); /* answered at once */
    assert_int_equal(late.write.error, ERROR_NOT_FOUND);
    job_init(&other);
    job_op(&other, acquire(fixture->database, "other"), OP_UPSERT, 1, 1);
    assert_int_equal(run(writer, &other), OK);
    assert_int_not_equal(sem_trywait(&delete.done), 0); /* still waiting for us */
    collection_release(holder);
    sem_wait(&delete.done);
    assert_int_equal(delete.write.error, OK);
    job_end(&late);
    job_end(&other);
    job_end(&delete);
    assert_int_equal(control(writer, WRITE_CREATE, "d"), OK);
    assert_int_equal(count_points(fixture->database, "d"), 0);
    writer_free(writer);
}

/* Ops, deletes and creates of one name from several threads: each ends, and each error is one that
 * such a crossing explains. */
struct crossing {
    struct fixture *fixture;
    struct writer *writer;
    size_t count, unexplained;
};

static void *cross_with_ops(void *argument)
{
    struct crossing *self = argument;
    for (size_t i = 0; i < self->count; i++) {
        struct collection *collection;
        struct job job;
        if (collection_acquire(self->fixture->database, span_text("x"), &collection) != OK)
            continue;
        job_init(&job);
        job_op(&job, collection, OP_UPSERT, i, 1);
        enum error error = run(self->writer, &job);
        if (error != OK && error != ERROR_NOT_FOUND)
            self->unexplained++;
        job_end(&job);
    }
    return NULL;
}

static void *cross_with_deletes(void *argument)
{
    struct crossing *self = argument;
    for (size_t i = 0; i < self->count / 10; i++) {
        enum error error = control(self->writer, WRITE_DELETE_COLLECTION, "x");
        if (error != OK && error != ERROR_NOT_FOUND)
            self->unexplained++;
        error = control(self->writer, WRITE_CREATE, "x");
        if (error != OK && error != ERROR_EXISTS)
            self->unexplained++;
    }
    return NULL;
}

static void ops_and_deletes_cross(void **state)
{
    struct fixture *fixture = *state;
    enum { THREADS = 4 };
    struct writer_options options = writer_options_default();
    struct writer *writer = writer_new(fixture->database, &options);
    struct crossing crossings[THREADS];
    pthread_t threads[THREADS];
    assert_int_equal(control(writer, WRITE_CREATE, "x"), OK);
    for (size_t t = 0; t < THREADS; t++) {
        crossings[t] = (struct crossing){fixture, writer, 200, 0};
        pthread_create(&threads[t], NULL, t == 0 ? cross_with_deletes : cross_with_ops,
                       &crossings[t]);
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        assert_int_equal(crossings[t].unexplained, 0);
    }
    writer_free(writer);
    assert_sound(fixture->database, "x");
}

static void a_full_disk_refuses_upserts_but_not_deletes(void **state)
{
    struct fixture *fixture = *state;
    struct writer_options options = writer_options_default();
    struct writer *writer = writer_new(fixture->database, &options);
    struct job jobs[3];
    struct held held;
    assert_int_equal(control(writer, WRITE_CREATE, "f"), OK);
    job_init(&jobs[0]);
    job_op(&jobs[0], acquire(fixture->database, "f"), OP_UPSERT, 0, 4);
    assert_int_equal(run(writer, &jobs[0]), OK);
    job_end(&jobs[0]);
    writer_free(writer);
    /* the same directory with a server that wants more free space than any disk has */
    fixture_close(fixture);
    fixture->options.storage.min_free_bytes = (uint64_t)1 << 62;
    fixture_open(fixture);
    writer = writer_new(fixture->database, &options);
    writer_hold(writer, &held);
    for (size_t i = 0; i < 3; i++) {
        job_init(&jobs[i]);
        job_op(&jobs[i], acquire(fixture->database, "f"), i == 1 ? OP_DELETE : OP_UPSERT, i, 1);
        assert_true(writer_submit(writer, &jobs[i].write));
    }
    writer_let_go(&held);
    for (size_t i = 0; i < 3; i++) {
        sem_wait(&jobs[i].done);
        assert_int_equal(jobs[i].write.error, i == 1 ? OK : ERROR_FULL);
        job_end(&jobs[i]);
    }
    assert_int_equal(control(writer, WRITE_CREATE, "more"), ERROR_FULL);
    assert_int_equal(count_points(fixture->database, "f"), 3);
    assert_int_equal(control(writer, WRITE_DELETE_COLLECTION, "f"), OK);
    writer_free(writer);
    writer_free(NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_collection_lives_and_dies),
        CASE(many_submitters_keep_their_order),
        CASE(a_group_ends_at_its_limits),
        CASE(collections_take_turns),
        CASE(the_queue_has_an_end),
        CASE(a_bad_op_does_not_take_its_neighbours),
        CASE(a_delete_waits_alone),
        CASE(ops_and_deletes_cross),
        CASE(a_full_disk_refuses_upserts_but_not_deletes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
