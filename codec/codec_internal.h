/* What codec.c and query.c share; nobody else includes it, tests apart. */
#ifndef KITH_CODEC_CODEC_INTERNAL_H
#define KITH_CODEC_CODEC_INTERNAL_H

#include "codec/codebook.h"
#include "codec/codec.h"
#include "codec/kernels.h"
#include "codec/rotate.h"

struct codec {
    uint32_t dim;
    size_t column_count; /* of a block: 4 dims each */
    size_t row_bytes;    /* of a 4-bit code */
    const struct kernels *kernels;
    struct rotation rotation;
    struct rank_table ranks[CODEBOOK_SCALES];
};

/* Squares above this are not estimated: their sums could leave float. */
#define CODEC_SQUARE_MAX 1e37
/* And below this, products of floats lose bits. */
#define CODEC_SQUARE_MIN 1e-30

/* A row code is groups of 64 dims, 32 bytes each: byte k holds dim k low and dim 32 + k high. The
 * last group of n dims likewise, with ceil(n/2) for 32; an odd n leaves a last high nibble, index
 * CODEC_NIBBLE_PAD. So low and high nibbles are two byte streams whatever the vector width. */
#define CODEC_ROW_GROUP 64u
#define CODEC_NIBBLE_PAD 8u
#define CODEC_PAD_SQUARE 25u /* level 5 */

static inline size_t codec_half_group(uint32_t dim, size_t first)
{
    const size_t left = dim - first;
    return left < CODEC_ROW_GROUP ? (left + 1) / 2 : CODEC_ROW_GROUP / 2;
}

#endif
