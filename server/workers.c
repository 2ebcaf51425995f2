/* The pool: a mutex, a list, two conditions.
 *
 * One shared queue was chosen over one a thread: tasks take 20 us to tens of ms, so a lock held for
 * some ns is not where time goes, and a long search never has short ones waiting behind it while
 * another thread idles. */
#include "server/workers.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct worker_thread {
    struct workers *workers;
    struct worker worker;
    pthread_t thread;
};

struct workers {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    /* all below: under mutex */
    struct task *first, *last;
    uint32_t queued, queue_max;
    bool stopping;
    /* written by workers_new only */
    uint32_t count;
    struct worker_thread threads[];
};

static struct task *queue_take(struct workers *workers)
{
    struct task *task = workers->first;
    if (task != NULL) {
        workers->first = task->next;
        if (workers->first == NULL)
            workers->last = NULL;
        task->next = NULL;
        workers->queued--;
    }
    return task;
}

static void queue_put(struct workers *workers, struct task *task)
{
    task->next = NULL;
    if (workers->last == NULL)
        workers->first = task;
    else
        workers->last->next = task;
    workers->last = task;
    workers->queued++;
    pthread_cond_signal(&workers->filled);
}

/* The next task, or NULL when the pool stops and nothing is left. */
static struct task *worker_wait(struct workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    struct task *task = queue_take(workers);
    while (task == NULL && !workers->stopping) {
        pthread_cond_wait(&workers->filled, &workers->mutex);
        task = queue_take(workers);
    }
    pthread_mutex_unlock(&workers->mutex);
    return task;
}

static void *worker_main(void *argument)
{
    struct worker_thread *self = argument;
    for (struct task *task = worker_wait(self->workers); task != NULL;
         task = worker_wait(self->workers))
        task->run(task, &self->worker);
    return NULL;
}

static void worker_start(struct workers *workers, uint32_t i, uint32_t reader)
{
    struct worker_thread *self = &workers->threads[i];
    self->workers = workers;
    self->worker.reader = reader;
    self->worker.workspace = search_workspace_new();
    int result = pthread_create(&self->thread, NULL, worker_main, self);
    if (result != 0) {
        fprintf(stderr, "kith: cannot start a worker thread: %s\n", strerror(result));
        abort();
    }
    pthread_setname_np(self->thread, "kith-worker");
}

struct workers *workers_new(uint32_t count, uint32_t first_reader, uint32_t queue_max)
{
    assert(count > 0);
    struct workers *workers =
        allocate_zeroed(1, sizeof *workers + size_product(count, sizeof workers->threads[0]));
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->filled, NULL);
    workers->queue_max = queue_max;
    workers->count = count;
    for (uint32_t i = 0; i < count; i++)
        worker_start(workers, i, first_reader + i);
    return workers;
}

bool workers_submit(struct workers *workers, struct task *task)
{
    pthread_mutex_lock(&workers->mutex);
    bool room = workers->queued < workers->queue_max;
    if (room)
        queue_put(workers, task);
    pthread_mutex_unlock(&workers->mutex);
    return room;
}

void workers_continue(struct workers *workers, struct task *task)
{
    pthread_mutex_lock(&workers->mutex);
    queue_put(workers, task);
    pthread_mutex_unlock(&workers->mutex);
}

void workers_free(struct workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->filled);
    pthread_mutex_unlock(&workers->mutex);
    for (uint32_t i = 0; i < workers->count; i++) {
        pthread_join(workers->threads[i].thread, NULL);
        search_workspace_free(workers->threads[i].worker.workspace);
    }
    assert(workers->first == NULL);
    pthread_cond_destroy(&workers->filled);
    pthread_mutex_destroy(&workers->mutex);
    free(workers);
}

uint32_t workers_queued(struct workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    uint32_t queued = workers->queued;
    pthread_mutex_unlock(&workers->mutex);
    return queued;
}
