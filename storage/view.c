/* Pinning a version. */
#include "storage/environment.h"

#include <assert.h>

#include "storage/fault.h"

static void unpin(struct environment *environment, uint32_t reader)
{
    atomic_store(&environment->pins[reader].version, NULL);
    if (atomic_load(&environment->waiting)) {
        pthread_mutex_lock(&environment->mutex);
        pthread_cond_signal(&environment->released);
        pthread_mutex_unlock(&environment->mutex);
    }
}

/* Behind the closed gate: wait until a version is published or never will be. */
static enum error wait_opened(struct environment *environment)
{
    pthread_mutex_lock(&environment->mutex);
    while (atomic_load(&environment->current) == NULL && !environment->failed) {
        pthread_cond_wait(&environment->opened, &environment->mutex);
    }
    const bool failed = environment->failed;
    pthread_mutex_unlock(&environment->mutex);
    return failed ? ERROR_IO : OK;
}

enum error view_open(struct environment *environment, uint32_t reader, struct view *view)
{
    assert(reader < environment->reader_count);
    _Atomic(struct version *) *pin = &environment->pins[reader].version;
    assert(atomic_load_explicit(pin, memory_order_relaxed) == NULL);
    for (;;) {
        struct version *version = atomic_load(&environment->current);
        if (version == NULL) {
            const enum error error = wait_opened(environment);
            if (error != OK) {
                return error;
            }
            continue;
        }
        atomic_store(pin, version);
        if (atomic_load(&environment->current) == version) {
            *view = (struct view){environment, version, version->transactions[reader], reader};
            fault_enter(environment);
            return OK;
        }
        unpin(environment, reader);
    }
}

void view_close(struct view *view)
{
    fault_leave(view->environment);
    unpin(view->environment, view->reader);
    *view = (struct view){0};
}

const struct counters *view_counters(const struct view *view)
{
    return &view->version->counters;
}

const struct vector_counters *view_vector_counters(const struct view *view, uint16_t vector)
{
    static const struct vector_counters none;
    return vector < view->version->vector_count ? &view->version->vectors[vector].counters : &none;
}
