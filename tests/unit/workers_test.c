/* The pool: every task runs once, the queue has an end, continued tasks are never refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "server/workers.h"

#define WORKERS 3
#define FIRST_READER 5

struct probe {
    struct task task; /* first */
    struct workers *workers;
    atomic_int runs;
    int again; /* how often it continues itself */
    sem_t *started, *go;
    atomic_uint *readers;
};

static void probe_run(struct task *task, struct worker *worker)
{
    struct probe *probe = (struct probe *)(void *)task;
    assert_non_null(worker->workspace);
    if (probe->readers != NULL)
        atomic_fetch_or(probe->readers, 1u << worker->reader);
    if (probe->started != NULL) {
        sem_post(probe->started);
        sem_wait(probe->go);
    }
    atomic_fetch_add(&probe->runs, 1);
    if (probe->again > 0) {
        probe->again--;
        workers_continue(probe->workers, task);
    }
}

static void every_task_runs_once(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct probe *probes = calloc(COUNT, sizeof *probes);
    struct workers *workers = workers_new(WORKERS, FIRST_READER, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        probes[i].task.run = probe_run;
        assert_true(workers_submit(workers, &probes[i].task));
    }
    workers_free(workers); /* waits for the queue to empty */
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(atomic_load(&probes[i].runs), 1);
    free(probes);
}

/* All workers are held: each has its own reader number, and the queue fills to its end. */
static void the_queue_has_an_end(void **state)
{
    (void)state;
    enum { ROOM = 4 };
    struct probe held[WORKERS] = {0}, waiting[ROOM] = {0}, refused = {0}, extra = {0};
    atomic_uint readers = 0;
    sem_t started, go;
    sem_init(&started, 0, 0);
    sem_init(&go, 0, 0);
    struct workers *workers = workers_new(WORKERS, FIRST_READER, ROOM);
    for (size_t i = 0; i < WORKERS; i++) {
        held[i].task.run = probe_run;
        held[i].started = &started;
        held[i].go = &go;
        held[i].readers = &readers;
        assert_true(workers_submit(workers, &held[i].task));
    }
    for (size_t i = 0; i < WORKERS; i++)
        sem_wait(&started);
    assert_int_equal(atomic_load(&readers), 7u << FIRST_READER);
    assert_int_equal(workers_queued(workers), 0);
    for (size_t i = 0; i < ROOM; i++) {
        waiting[i].task.run = probe_run;
        assert_true(workers_submit(workers, &waiting[i].task));
    }
    refused.task.run = extra.task.run = probe_run;
    assert_int_equal(workers_queued(workers), ROOM);
    assert_false(workers_submit(workers, &refused.task));
    workers_continue(workers, &extra.task);
    assert_int_equal(workers_queued(workers), ROOM + 1);
    for (size_t i = 0; i < WORKERS; i++)
        sem_post(&go);
    workers_free(workers);
    for (size_t i = 0; i < ROOM; i++)
        assert_int_equal(atomic_load(&waiting[i].runs), 1);
    assert_int_equal(atomic_load(&extra.runs), 1);
    assert_int_equal(atomic_load(&refused.runs), 0);
    sem_destroy(&started);
    sem_destroy(&go);
}

static void tasks_continue_themselves(void **state)
{
    (void)state;
    struct probe probes[8] = {0};
    struct workers *workers = workers_new(WORKERS, 0, 8);
    for (size_t i = 0; i < 8; i++) {
        probes[i].task.run = probe_run;
        probes[i].workers = workers;
        probes[i].again = 500;
        assert_true(workers_submit(workers, &probes[i].task));
    }
    workers_free(workers); /* also of tasks that are continued while it waits */
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(atomic_load(&probes[i].runs), 501);
}

struct submitter {
    struct workers *workers;
    struct probe *probes;
    size_t count, accepted;
};

static void *submit_all(void *argument)
{
    struct submitter *self = argument;
    for (size_t i = 0; i < self->count; i++) {
        self->probes[i].task.run = probe_run;
        if (workers_submit(self->workers, &self->probes[i].task))
            self->accepted++;
        else
            self->probes[i].again = -1; /* refused: must not run */
    }
    return NULL;
}

static void many_threads_submit(void **state)
{
    (void)state;
    enum { THREADS = 4, COUNT = 3000 };
    pthread_t threads[THREADS];
    struct submitter submitters[THREADS];
    struct workers *workers = workers_new(WORKERS, 0, 64);
    for (size_t t = 0; t < THREADS; t++) {
        submitters[t] = (struct submitter){workers, calloc(COUNT, sizeof(struct probe)), COUNT, 0};
        pthread_create(&threads[t], NULL, submit_all, &submitters[t]);
    }
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    workers_free(workers);
    for (size_t t = 0; t < THREADS; t++) {
        size_t ran = 0;
        for (size_t i = 0; i < COUNT; i++) {
            int runs = atomic_load(&submitters[t].probes[i].runs);
            assert_int_equal(runs, submitters[t].probes[i].again == -1 ? 0 : 1);
            ran += (size_t)runs;
        }
        assert_int_equal(ran, submitters[t].accepted);
        free(submitters[t].probes);
    }
    workers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(the_queue_has_an_end),
        cmocka_unit_test(tasks_continue_themselves),
        cmocka_unit_test(many_threads_submit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
