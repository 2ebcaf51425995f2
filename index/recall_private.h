/* What the files recall*.c share. Private to them. */
#ifndef KITH_INDEX_RECALL_PRIVATE_H
#define KITH_INDEX_RECALL_PRIVATE_H

#include <pthread.h>

#include "index/centre_table.h"
#include "index/recall.h"

#define RECALL_K 100u /* neighbours looked for */
#define SAMPLE_EVERY 8u
#define RING_MAX 256u
#define RING_BYTES ((size_t)1024 * 1024)
#define LIVE_MAX 1000u /* the newest live queries whose needs are kept */

extern const double recall_levels[RECALL_LEVELS];

/* The share of codes at which each of a query's nearest is found, in order of nearness: 0 for those
 * that are in a generation. */
struct needs {
    float share[RECALL_K];
    uint32_t count;
};

struct recall_state {
    atomic_ullong seen; /* queries */
    pthread_mutex_t mutex;
    /* under the mutex */
    bool loaded, known;
    struct recall_table table;
    float *ring; /* live queries that wait to be looked at */
    size_t ring_count, ring_capacity;
    struct needs *live; /* [LIVE_MAX], of the newest */
    size_t live_next, live_count;
    size_t live_since; /* looked at since a table was made */
    struct recall_figures figures;
};

#endif
