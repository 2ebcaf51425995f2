/* Exact keys of stored points against the vectors of a query: what every form but a plain nearest
 * search is made of. Private to index/. */
#ifndef KITH_INDEX_SCORER_H
#define KITH_INDEX_SCORER_H

#include "index/query.h"

struct scorer {
    const struct collection *collection;
    enum vector_kind kind;
    const struct codec *codec; /* of dense and multi */
    enum metric metric;
    const struct view *view;
    uint16_t vector_number;
    uint32_t dim;
    bool needs_overlap; /* a sparse vector without a common index counts as not there */
    float *row;         /* float[dim] scratch: stored rows lie unaligned */
    struct arena kept;  /* of scorer_vector */
};

/* The scratch lies in the run's arena. To be ended. */
void scorer_begin(struct scorer *scorer, const struct query_run *run, uint16_t vector_number);
void scorer_end(struct scorer *scorer);
/* keys[i] of vectors[i] and the point at slot. ERROR_NOT_FOUND: the point lacks the vector;
 * ERROR_CORRUPT: it is damaged. */
enum error scorer_keys(struct scorer *scorer, uint64_t slot, const struct query_vector *vectors,
                       size_t count, float *keys) MUST_CHECK;
/* The query's vectors with what the idf modifier makes of their values; others as they are. */
enum error scorer_weigh(const struct scorer *scorer, const struct query_run *run,
                        const struct query_vector *vectors, size_t count,
                        const struct query_vector **weighed) MUST_CHECK;
/* The point's own vector; stays until the next call of this. */
enum error scorer_vector(struct scorer *scorer, uint64_t slot,
                         struct query_vector *vector) MUST_CHECK;
/* What a recommend query by average searches for, in the run's arena. */
void scorer_average(const struct query_run *run, const struct query *query,
                    struct query_vector *vector);

#endif
