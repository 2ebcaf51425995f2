/* Multivectors: MaxSim, the sum over the query's rows of the best key among the point's. Private to
 * index/. */
#ifndef KITH_INDEX_MULTI_H
#define KITH_INDEX_MULTI_H

#include "index/collection.h"
#include "storage/lists.h"

struct multi_query {
    const float *rows; /* float[count][dim] */
    size_t count;
    uint32_t dim;
};

/* The exact key. stored: of the same dim, at least one row. row: scratch, float[dim]. Sums in
 * float, in order of the query's rows. */
float multi_key(const struct codec *codec, enum metric metric, const struct multi_query *query,
                const struct stored_vector *stored, float *row);

#endif
