/* What the files recall*.c share. Private to them. */
#ifndef KITH_INDEX_RECALL_PRIVATE_H
#define KITH_INDEX_RECALL_PRIVATE_H

#include <pthread.h>

#include "index/centre_table.h"
#include "index/recall.h"

#define RECALL_K 100u /* neighbours looked for */
#define RING_MAX 256u
#define RING_BYTES ((size_t)1024 * 1024)
#define LIVE_MAX 1000u    /* the newest live queries whose needs are kept */
#define OUTCOME_MAX 1000u /* and what they got */

extern const double recall_levels[RECALL_LEVELS];

/* The share of codes at which each of a query's nearest in partitions is found, in order of
 * nearness. */
struct needs {
    float share[RECALL_K];
    float distance;
    uint32_t count;
    bool foreign; /* of a copy with its coordinates in another order */
};

/* A table from needs of stored points and, after them, of shifted copies; shares in force are its
 * own. */
void recall_table_make(struct recall_table *table, const struct needs *needs, size_t stored,
                       size_t made);
/* Near the distances where there are enough live queries, the shares they need are in force; those
 * of the base elsewhere. */
void recall_table_overlay(struct recall_table *table, const struct needs *live, size_t count);

/* As stored; format.h has the layout. */
#define RECALL_TABLE_BYTES (24u + 4u * RECALL_KNOTS + 2u * 2u * 4u * RECALL_KNOTS * RECALL_LEVELS)
void recall_table_put(const struct recall_table *table, uint8_t bytes[RECALL_TABLE_BYTES]);
bool recall_table_get(struct recall_table *table, struct span bytes);

/* A live query and its answer. */
struct sample {
    uint64_t when_ns; /* CLOCK_MONOTONIC */
    uint64_t next_slot;
    float asked;    /* recall; 0: its answer says nothing about one */
    uint32_t count; /* of its nearest that are kept */
    uint64_t slots[RECALL_K];
    float keys[RECALL_K];
};

struct outcome {
    uint64_t when_ns; /* it was answered */
    float asked, got;
};

struct recall_state {
    atomic_ullong seen; /* queries */
    pthread_mutex_t mutex;
    /* under the mutex */
    bool loaded, known;
    struct recall_table table;
    uint8_t *ring; /* samples, each before its vector, that wait to be looked at */
    size_t ring_count, ring_capacity;
    struct needs *live; /* [LIVE_MAX], of the newest */
    size_t live_next, live_count;
    size_t live_since; /* looked at since a table was made */
    struct outcome *outcomes;
    size_t outcome_next, outcome_count;
};

#endif
