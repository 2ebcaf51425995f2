/* A vector of a point, of any kind: as ops carry it, as it is stored, as a query.
 *
 * All dense and multivector floats are final: Cosine's are normalised (a multivector's each for
 * itself). */
#ifndef KITH_INDEX_VECTOR_H
#define KITH_INDEX_VECTOR_H

#include "storage/base.h"

enum vector_kind {
    VECTOR_NONE = 0, /* a number not in use: its vector was removed */
    VECTOR_DENSE = 1,
    VECTOR_MULTI = 2,  /* several of dim floats a point, compared by MaxSim */
    VECTOR_SPARSE = 3, /* (index, value) pairs: no dim, always the dot product */
};

#define VECTOR_DIM_MAX 65536u
#define VECTOR_MULTI_FLOATS_MAX (1u << 20) /* of one multivector */
#define VECTOR_SPARSE_PAIRS_MAX (1u << 20) /* of one sparse vector */

struct vector_data {
    uint16_t number; /* place in the collection's settings */
    uint8_t kind;    /* enum vector_kind, never VECTOR_NONE */
    uint32_t dim;    /* floats of a vector, or of each of a multivector's; 0 for a sparse one */
    uint32_t count;  /* 1; vectors of a multivector, at least 1; pairs of a sparse one, maybe 0 */
    /* Unaligned. float[count][dim]; of a sparse one u32 index[count], ascending, float
     * value[count] */
    const uint8_t *data;
};

/* Bytes of .data, of a vector that fits. */
static inline size_t vector_data_bytes(const struct vector_data *vector)
{
    return vector->kind == VECTOR_SPARSE ? (size_t)vector->count * 8
                                         : (size_t)vector->count * vector->dim * sizeof(float);
}
/* Is it within the limits above? */
static inline bool vector_data_fits(const struct vector_data *vector)
{
    switch (vector->kind) {
    case VECTOR_DENSE:
        return vector->count == 1 && vector->dim > 0 && vector->dim <= VECTOR_DIM_MAX;
    case VECTOR_MULTI:
        return vector->count > 0 && vector->dim > 0 && vector->dim <= VECTOR_DIM_MAX &&
               vector->count <= VECTOR_MULTI_FLOATS_MAX / vector->dim;
    case VECTOR_SPARSE:
        return vector->dim == 0 && vector->count <= VECTOR_SPARSE_PAIRS_MAX;
    default:
        return false;
    }
}

#endif
