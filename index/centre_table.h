/* The centres of a vector's partitions as int8 rows: what a query looks through to order them.
 *
 * A table belongs to one state of the partitions, which their stamp names (it grows with every
 * commit that changes any): readers take the table of the stamp their view shows, so table and
 * snapshot agree. The writer makes the next table from the one before and the changes; a reader
 * that finds none of its stamp (after opening, or when it is late) makes one from its view.
 *
 * Rows lie in GROUPS of up to 64 centres that are near each other, each with a HEAD, the mean of
 * its rows when it was made. So a query of many thousands of partitions looks at the heads and then
 * at the nearest groups only. A new centre goes to the group of the nearest head; a full group is
 * divided. Groups are shared between tables until one of them changes.
 *
 * Rows are rounded: an order from them is near, exact figures come from the map. Memory: about 1.4
 * (dim + 24) bytes a partition. */
#ifndef KITH_INDEX_CENTRE_TABLE_H
#define KITH_INDEX_CENTRE_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "index/collection.h"
#include "storage/partitions.h"

#define CENTRE_GROUP 64u

struct centre_group {
    atomic_uint references; /* tables */
    uint32_t count;         /* at least 1 */
    uint32_t indexes[CENTRE_GROUP];
    float squares[CENTRE_GROUP]; /* |m|^2 */
    _Alignas(64) uint8_t rows[]; /* [CENTRE_GROUP][codec_centre_bytes] */
};

struct centre_entry {
    uint32_t codes; /* 0: empty index */
    float radius;
    uint16_t flags;
};

struct centre_table {
    uint64_t stamp;
    uint32_t references; /* under the cache's mutex */
    uint32_t count;      /* indexes are below it */
    uint32_t live;       /* of them not empty */
    uint32_t damaged;    /* partitions that could not be read when it was made */
    uint64_t codes;      /* of all */
    struct centre_entry *entries;
    uint32_t *places; /* [count]: group * CENTRE_GROUP + row of the not empty ones */
    uint32_t group_count;
    struct centre_group **groups;
    uint8_t *heads; /* [group_count] rows */
};

/* The newest tables of one vector. */
struct centre_cache;
struct centre_cache *centre_cache_new(void);
void centre_cache_free(struct centre_cache *cache); /* accepts NULL; no table may be held */

/* The table of the view's partitions; release it. ERROR_CORRUPT when one cannot be read. Any
 * thread. */
enum error centre_table_acquire(const struct collection_vector *vector, const struct view *view,
                                const struct centre_table **table) MUST_CHECK;
void centre_table_release(const struct collection_vector *vector, const struct centre_table *table);

/* |m|^2 of the centre of an index that is not empty. */
float centre_table_square(const struct centre_table *table, uint32_t index);

/* One changed partition; centre float[dim] at any alignment, or NULL when only the entry changed;
 * entry.codes 0: removed. */
struct centre_change {
    uint32_t index;
    const uint8_t *centre;
    struct centre_entry entry;
};
/* The table after changes, kept in the cache under the next stamp. Writer thread, before the
 * commit that makes it true. */
void centre_table_advance(const struct collection_vector *vector, const struct centre_table *before,
                          const struct centre_change *changes, size_t count);
/* The commit failed: forget it. */
void centre_table_forget(const struct collection_vector *vector, uint64_t stamp);

/* ---- centre_group.c: where rows lie; private to the table's files ---- */

/* What it takes to place rows. */
struct centre_placing {
    const struct codec *codec;
    void *query, *work;                       /* all owned */
    float *centre, *rotated, *decoded, *mean; /* [dim] */
    uint8_t *row;
    float *scores;
    size_t scores_capacity;
};
void centre_placing_begin(struct centre_placing *placing, const struct codec *codec);
void centre_placing_end(struct centre_placing *placing);
/* A centre, float[dim] at any alignment, into the group that is nearest. The index has no place. */
void centre_table_place(struct centre_table *table, struct centre_placing *placing, uint32_t index,
                        const uint8_t *centre);
/* The index has no place any more. */
void centre_table_displace(struct centre_table *table, const struct codec *codec, uint32_t index);
/* The groups of another table, into one that has none. */
void centre_groups_share(struct centre_table *table, const struct codec *codec,
                         const struct centre_table *from);
void centre_groups_release(struct centre_table *table);

/* ---- centre_query.c: queries against centres ---- */

struct centre_query { /* zero before first use */
    struct scratch scores, keys, groups, rotated, work, own;
    uint64_t *keys_in_order; /* of `count`; the first `sorted` are in order */
    size_t count, sorted;
    bool by_product;
    float norm;      /* by product: of the vector */
    size_t flat_max; /* up to so many partitions all are looked at; 0: as measured */
};
void centre_query_release(struct centre_query *query);
/* Order partitions for a vector (float[dim], and as a codec's query): nearest first, or, for inner
 * products, by what they can reach. wanted: how many the caller may take; of many partitions only
 * some times as many are looked at then, those of the nearest groups (not for inner products).
 * SIZE_MAX: all. */
void centre_query_run(struct centre_query *query, const struct codec *codec,
                      const struct codec_query *of, const float *vector, enum metric metric,
                      const struct centre_table *table, size_t wanted);
/* The same for a vector that is no query yet. */
void centre_query_run_alone(struct centre_query *query, const struct codec *codec,
                            const float *vector, enum metric metric,
                            const struct centre_table *table, size_t wanted);
/* The index of the i-th of the order, i < count; sorts ahead as needed. */
uint32_t centre_query_at(struct centre_query *query, size_t i);
/* How far the vector is from the centre of the i-th, i < count; for inner products, minus what the
 * partition can reach for each unit of the vector's length. */
double centre_query_distance(struct centre_query *query, size_t i);

#endif
