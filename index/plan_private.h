/* A plan and its making: what the files plan*.c share. Private to them. */
#ifndef KITH_INDEX_PLAN_PRIVATE_H
#define KITH_INDEX_PLAN_PRIVATE_H

#include "index/centre_table.h"
#include "index/partition.h"
#include "index/plan.h"
#include "index/recall.h"
#include "index/search.h"

#define PARTITION_SETTLED 1u  /* its neighbourhood was looked at since its centre was made */
#define PARTITION_POLISHED 2u /* it was in a group of Lloyd steps since its centre was made */

#define NEIGHBOURS 16u /* LIRE's: 64 cost three times as much and gain nothing */
#define GROUP_MAX (NEIGHBOURS + 1)
#define FROM_GENERATION UINT32_MAX

/* One value to put, or to remove. */
struct planned {
    uint32_t index;
    bool remove;
    float *centre;        /* owned, float[dim], not rotated */
    const float *rotated; /* in the scratch while it is filled */
    uint8_t *blocks;      /* owned */
    uint64_t *slots;      /* owned */
    size_t capacity, code_count;
    double square_sum; /* of its points' distances to the centre */
    uint16_t flags;
    bool has_new_centre;
};

/* What is given back of dead slots, in a plan of its own kind. */
struct reclaim {
    struct reclaim_run {
        uint64_t first_slot;
        uint16_t vector;
    } * runs; /* to remove; owned */
    size_t run_count, run_capacity;
    uint64_t *slots; /* whose points get new slots; owned */
    size_t slot_count, slot_capacity;
    uint64_t *chunks; /* that are dead as a whole; owned */
    size_t chunk_count, chunk_capacity;
    bool removes_vector; /* what is stored of `vector`, which is VECTOR_NONE: some of it */
    uint16_t vector;
};

/* A sealed generation written anew in its place, without its dead codes. */
struct rewrite {
    uint8_t *blocks; /* owned; [value_count * blocks_per_value] */
    uint64_t *slots; /* owned; [value_count * blocks_per_value * 32] */
    uint64_t code_count, value_count, old_value_count;
    float *centre; /* owned, rotated; NULL: the origin */
};

struct plan {
    enum plan_kind kind;
    uint16_t vector;
    uint64_t stamp; /* of the partitions it was made from */
    struct planned *partitions;
    size_t count, capacity;
    size_t bytes;
    bool moves; /* codes of a generation */
    uint64_t generation;
    uint8_t *moved; /* owned: all its lanes that are gone, afterwards */
    size_t moved_bytes;
    bool drop;                  /* all are gone */
    uint64_t dead_out;          /* codes of dead slots that are left out */
    struct recall_table recall; /* PLAN_LEARN */
    struct rewrite *rewrite;    /* owned; of `generation`, without moves; NULL: none */
    struct reclaim *reclaim;    /* owned; NULL but in a PLAN_RECLAIM, which has nothing else */
};

/* A generation on its way out, between two plans. */
struct maintenance {
    bool assigning;
    uint64_t generation;
    uint64_t stamp; /* that the partitions have when the last plan was applied */
    size_t codes, assigned, cursor;
    uint32_t *destination; /* [codes] */
    uint32_t *order;       /* [codes]: lanes by destination, once all are assigned */
    uint8_t *moved;        /* bits of the lanes that are gone or planned to go */
    /* the search for partitions with dead codes */
    uint32_t sweep;
    uint64_t swept_dead; /* dead codes when the last sweep ended */
    bool sweeping;
    uint32_t polish; /* where to look for the next partition to polish */
    uint32_t settle;
    struct learning *learning;
};

/* A point that is put into a partition. */
struct plan_lane {
    uint64_t slot;
    uint32_t from; /* which of the group it is in now, or FROM_GENERATION */
    uint32_t lane;
    uint32_t to; /* which of the group it goes to */
};

struct plan_scratch {
    struct encode_scratch encode;
    struct partition_scratch divide;
    struct centre_query query;
    struct search_workspace *workspace;
    struct scratch rows, members, ends, lanes, picked, code, centres, centre, rotated_centre,
        across, owner;
};

/* One running collection_plan. */
struct planning {
    struct collection *collection;
    const struct collection_vector *vector;
    const struct codec *codec;
    enum metric metric;
    uint32_t dim;
    struct view view;
    const struct vector_counters *counters;
    const struct centre_table *table;
    struct plan_scratch *scratch;
    struct maintenance *maintenance;
    struct partition_sizes sizes;
    struct plan *plan;
    uint32_t next_free; /* indexes below it are in use */
    uint64_t plan_bytes;
    uint64_t start_codes; /* in sealed generations, for there to be partitions */
};

/* A partition of the group a plan is about. */
struct member {
    uint32_t index;
    struct partition partition; /* as the view has it */
    bool exists;                /* false: a new one */
    const float *centre;        /* of the codes to be written */
    bool has_new_centre;
};

/* plan_move.c: divide a generation in place; move the next of one out (false: planning goes on at
 * the next call). */
void plan_start(struct planning *planning, const struct generation *generation);
bool plan_move(struct planning *planning, const struct generation *generation);

void plan_new(struct planning *planning, enum plan_kind kind);

/* plan_generation.c: drop or write anew the next sealed generation that is mostly dead; false: none
 * is. For vectors that are not partitioned. thorough: already at an eighth. */
enum error plan_generations(struct planning *planning, bool thorough, bool *found) MUST_CHECK;
void rewrite_free(struct rewrite *rewrite); /* accepts NULL */
enum error rewrite_apply(struct write *write, const struct plan *plan) MUST_CHECK;

/* plan_reclaim.c, apply_reclaim.c */
void reclaim_free(struct reclaim *reclaim); /* accepts NULL */
enum error reclaim_apply(struct collection *collection, const struct reclaim *reclaim) MUST_CHECK;

/* The vector of a slot, not rotated, any alignment; when it cannot be read, `instead`: the point
 * then stands at a centre, and whoever finds it there reports the damage. */
const uint8_t *plan_vector(const struct planning *planning, uint64_t slot, const float *instead);
/* Live lanes of a partition as lanes[count] from `from` to the same; dead ones are counted out of
 * the plan. lanes has room for the partition's codes. */
size_t plan_take_lanes(struct planning *planning, const struct partition *partition, uint32_t from,
                       struct plan_lane *lanes);
/* Write a group anew: member i gets the lanes that go `to` i. What is too large is divided, what
 * gets nothing is removed. centre float[dim] aligned copies. flags of those that are not divided.
 */
void plan_rebuild(struct planning *planning, const struct member *members, size_t member_count,
                  struct plan_lane *lanes, size_t lane_count, const uint16_t *flags);
/* Copy of a stored centre into memory of the scratch (GROUP_MAX of them fit). */
const float *plan_copy_centre(struct planning *planning, size_t i, const uint8_t *centre);
/* The partition of an index, with its centre copied as number i. false: it cannot be read. */
bool plan_member(struct planning *planning, uint32_t index, size_t i, struct member *member);

#endif
