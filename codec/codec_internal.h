/* What codec.c and query.c share; nobody else includes it, tests apart. */
#ifndef KITH_CODEC_CODEC_INTERNAL_H
#define KITH_CODEC_CODEC_INTERNAL_H

#include <string.h>

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
    float errors_1[256]; /* codebook_error_of 1 and 4 bits */
    float errors_4[256];
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

/* The low byte of f_mul holds codebook_error_byte of the code; its other bits are those of S (or
 * 2 S), rounded so that the whole float is within 2^-16 of it. Estimates take f_mul as it is, and
 * f_add is made for it as it is. */
static inline uint8_t factor_error_byte(float f_mul)
{
    uint32_t bits;
    memcpy(&bits, &f_mul, sizeof bits);
    return (uint8_t)bits;
}

static inline float factor_with_error_byte(float f_mul, uint8_t byte)
{
    uint32_t bits;
    memcpy(&bits, &f_mul, sizeof bits);
    bits = ((bits - byte + 128u) & ~255u) | byte;
    memcpy(&f_mul, &bits, sizeof bits);
    return f_mul;
}

static inline size_t codec_half_group(uint32_t dim, size_t first)
{
    const size_t left = dim - first;
    return left < CODEC_ROW_GROUP ? (left + 1) / 2 : CODEC_ROW_GROUP / 2;
}

#endif
