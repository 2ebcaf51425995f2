/* Maintenance of partitions, in bounded steps planned beside the writer.
 *
 * A plan holds finished values: which partitions to put or remove, which codes of a sealed
 * generation they take over. It is made from a view by a planning thread and applied by the writer
 * in one transaction of about a megabyte. User writes touch rows, runs, the open generation and
 * dead bits, plans touch partitions and sealed generations: the two sets are disjoint, and there is
 * one planning thread a collection, so a plan does not go stale (a stamp is compared all the same).
 *
 * Vectors without partitions (multivectors, few dims, Manhattan) keep their generations; a sealed
 * one is dropped when all its codes are dead and written anew when the most are.
 *
 * In every snapshot a code is in exactly one place: a partition, or a generation that has not
 * marked its lane as moved. Codes of dead slots are left out when their partition is written anew.
 *
 * What is done, the most urgent first: the oldest sealed generation is moved out, ordered by
 * destination, and dropped (the first large one is divided in place); partitions made by a division
 * are SETTLED (their points and those of 16 neighbours go where they are nearest: LIRE); partitions
 * with many dead codes are purged, small ones merged; when idle, the open generation is sealed
 * before it is full, once it holds codes enough to be worth moving, so that searches need not read
 * all of them, and groups of 16 neighbours are POLISHED by Lloyd steps. */
#ifndef KITH_INDEX_PLAN_H
#define KITH_INDEX_PLAN_H

#include "index/collection.h"

struct plan;
struct plan_scratch; /* of one planning thread */
struct plan_scratch *plan_scratch_new(void);
void plan_scratch_free(struct plan_scratch *scratch); /* accepts NULL */

enum plan_state {
    PLAN_NOTHING,  /* nothing is due */
    PLAN_AGAIN,    /* a part of the planning is done: call again */
    PLAN_READY,    /* *plan is to be applied and freed before the next is made */
    PLAN_MEASURED, /* sampled queries were answered again: rest as long as the machine's share asks
                    */
};
enum plan_kind {
    PLAN_START,
    PLAN_MOVE,
    PLAN_SEAL,
    PLAN_SETTLE,
    PLAN_PURGE,
    PLAN_MERGE,
    PLAN_POLISH,
    PLAN_LEARN,
    PLAN_RECLAIM,
};

/* The next step for one vector (by number). idle: also what only makes things better; measure: also
 * sampled queries, answered again through all codes. One thread a collection, holding it.
 * ERROR_CORRUPT, ERROR_IO. */
enum error collection_plan(struct collection *collection, uint16_t vector, uint32_t reader,
                           bool idle, bool measure, struct plan_scratch *scratch,
                           enum plan_state *state, struct plan **plan) MUST_CHECK;
/* The next step that gives back what dead slots have stored (storage/chunks.h): runs without a live
 * slot are removed, points of runs and chunks that are mostly dead get new slots, as an update
 * would give them, but keep their version. thorough: points are moved from where an eighth is dead,
 * not half. First of all, what is stored of vectors that were removed goes. Threads as above. */
enum error collection_plan_reclaim(struct collection *collection, uint32_t reader, bool thorough,
                                   enum plan_state *state, struct plan **plan) MUST_CHECK;
enum plan_kind plan_kind_of(const struct plan *plan);
size_t plan_bytes(const struct plan *plan); /* that it writes */
void plan_free(struct plan *plan);          /* accepts NULL */

/* One transaction, one commit. Writer thread. ERROR_BUSY: a reader has been holding an older
 * version for over a second (maintenance rests, or the file would grow), the collection is being
 * compacted, or the plan is stale: plan anew later. */
enum error collection_apply_plan(struct collection *collection, const struct plan *plan) MUST_CHECK;

/* Plan and apply on this thread, which must be the writer's, until nothing is due or `steps_max`
 * plans were applied: tests, benchmarks and tools. */
enum error collection_maintain(struct collection *collection, uint32_t reader, bool idle,
                               uint64_t steps_max, uint64_t *steps) MUST_CHECK;
/* The same of what gives space back, thoroughly: what compaction begins with. */
enum error collection_reclaim_all(struct collection *collection, uint32_t reader,
                                  uint64_t *steps) MUST_CHECK;

/* What collection_vector keeps for its planner; NULL at first. */
struct maintenance;
void maintenance_free(struct maintenance *maintenance); /* accepts NULL */

#endif
