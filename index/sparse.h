/* Arithmetic of sparse vectors, and what an index is worth in a query. Private to index/. */
#ifndef KITH_INDEX_SPARSE_H
#define KITH_INDEX_SPARSE_H

#include "index/collection.h"
#include "storage/lists.h"

struct sparse_query {
    const uint32_t *indices; /* [count], ascending */
    const float *weights;    /* [count] */
    size_t count;
};

/* The dot product with a stored sparse vector, products added in order of index, in float: what the
 * lists add up to, bit by bit. *overlap: they have an index in common. */
float sparse_dot(const struct sparse_query *query, const struct stored_vector *stored,
                 bool *overlap);

/* The weights of a query's values: the values themselves, or with the idf modifier each times
 * ln((N - n + 0.5) / (n + 0.5) + 1), N the live points that have the vector, n those of them that
 * have the index. weights: out, float[count]. deadline: checked through `stop`, which may be NULL.
 * ERROR_CORRUPT, ERROR_CANCELLED. */
enum error sparse_weigh(const struct collection *collection, const struct view *view,
                        uint16_t vector, const uint32_t *indices, const float *values, size_t count,
                        enum error (*stop)(void *context), void *context,
                        float *weights) MUST_CHECK;

#endif
