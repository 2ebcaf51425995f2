/* The centres of a vector's partitions as int8 rows: what a query looks through to order them.
 *
 * A table belongs to one state of the partitions, which their stamp names (it grows with every
 * commit that changes any): readers take the table of the stamp their view shows, so table and
 * snapshot agree. The writer makes the next table from the one before and the changes; a reader
 * that finds none of its stamp (after opening, or when it is late) makes one from its view.
 *
 * Chunks of 64 centres are shared between tables until one of them changes. Rows are rounded: an
 * order from them is near, exact figures come from the map. Memory: dim bytes a partition. */
#ifndef KITH_INDEX_CENTRE_TABLE_H
#define KITH_INDEX_CENTRE_TABLE_H

#include <pthread.h>

#include "index/collection.h"
#include "storage/partitions.h"

#define CENTRE_CHUNK 64u

struct centre_chunk;

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
    struct centre_chunk **chunks;
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

/* A query against centres. */
struct centre_rank {
    float value; /* larger: sooner */
    uint32_t index;
};
struct centre_query {
    struct scratch row, ranks; /* zero before first use */
    struct centre_rank *order; /* of `count`; the first `sorted` are in order */
    size_t count, sorted;
};
void centre_query_release(struct centre_query *query);
/* Values of all partitions for a vector (float[dim]); metric as the collection's: nearest first,
 * or by what the inner product can reach. */
void centre_query_run(struct centre_query *query, const struct codec *codec, enum metric metric,
                      const struct centre_table *table, const float *vector);
/* The i-th of the order, i < count; sorts ahead as needed. */
const struct centre_rank *centre_query_at(struct centre_query *query, size_t i);

#endif
