/* A pool of our own: one thread a core, one bounded queue. JSON, encoding, search and reads. */
#ifndef KITH_SERVER_WORKERS_H
#define KITH_SERVER_WORKERS_H

#include "index/search.h"

struct worker {      /* one a thread, handed to every task */
    uint32_t reader; /* view_open's reader number */
    struct search_workspace *workspace;
};

struct task { /* embedded in what the task works on; zero before first use */
    void (*run)(struct task *task, struct worker *worker);
    struct task *next;
};

struct workers;
/* count threads with reader numbers first_reader, first_reader + 1, ... */
struct workers *workers_new(uint32_t count, uint32_t first_reader, uint32_t queue_max);
/* false when the queue is full: answer 503 with Retry-After. Any thread. */
bool workers_submit(struct workers *workers, struct task *task) MUST_CHECK;
/* For a task that continues admitted work (a bulk stream's next step): never refused. */
void workers_continue(struct workers *workers, struct task *task);
void workers_free(struct workers *workers); /* waits for the queue to empty; accepts NULL */
uint32_t workers_queued(struct workers *workers);

#endif
