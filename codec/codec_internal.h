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
    unsigned first_bits, second_bits;
    enum code_scale scale;
    uint32_t code_dim; /* dims of a first-stage code: more than dim at CODE_1_5 */
    struct block_shape shape;
    size_t row_bytes;    /* of a second-stage code */
    uint32_t pad_square; /* |L|^2 of the nibble that an odd dim leaves over, in row_sums */
    const struct kernels *kernels;
    struct rotation rotation;
    struct rotation extension; /* at CODE_1_5: of code_dim dims, behind the other */
    struct rank_table ranks[CODEBOOK_SCALES];
    float errors_fine[256];   /* codebook_error_of 1 bit */
    float errors_coarse[256]; /* and of more */
};

static inline const float *codec_errors(const struct codec *codec, unsigned bits)
{
    return bits == CODE_1 || bits == CODE_1_5 ? codec->errors_fine : codec->errors_coarse;
}

/* y[code_dim] of x[dim], zero-extended and rotated once more. work: code_dim floats. */
void codec_extend(const struct codec *codec, const float *x, float *y, float *work);

/* Whether blocks hold lane-16 codes: levels side by side, and a norm. */
static inline bool codec_has_lanes(const struct codec *codec)
{
    return codec->first_bits == CODE_4 || codec->first_bits == CODE_8;
}

/* f_mul |L|, behind the factors of a block of lane-16 codes. */
static inline float codec_lane_norm(const uint8_t *scalars, unsigned lane)
{
    float norm;
    memcpy(&norm, scalars + (2 * CODEC_BLOCK_LANES + lane) * sizeof norm, sizeof norm);
    return norm;
}

/* Room for codec_extend behind what else lies in codec_work_bytes. */
size_t codec_plane_bytes(const struct codec *codec);

/* Measured before the layout was frozen, and left out:
 *
 * Factors of 16 bits, scanning 8 blocks of 100 dims at random places of 512 MB: 4.0 ns a code
 * instead of 4.2 at 1 bit, 5.3 instead of 5.5 at 2. Not worth a second rounding of f_add, and no
 * room for the error byte.
 *
 * Codebooks of 16 words of vectors on the same kernel (4 dims a word at 1 bit, 2 at 2), trained on
 * N(0,1): 9 % less error at both on every set, and with 2.75 half widths of the own error
 *
 *                       codes that pass, 1 bit     2 bits      (of base vectors, 100 queries)
 *     GloVe, 100 dims   3,130 -> 2,558, 18 %       221 -> 190, 14 %     120,000
 *     SIFT, 128         1,061 ->   923, 13 %       189 -> 180,  5 %     120,000
 *     sentences, 512      118 ->   106, 10 %        33 ->  31,  6 %      50,000
 *     digits, 784          38 ->    37,  4 %        19 ->  19,  2 %      30,000
 *
 * At the bits that each of them is scanned with (2, 2, 1, 1) that saves 2 to 31 looks at rows, some
 * .2 us each, of queries that take hundreds: 1 to 3 %, for an encode that compares 16 words where a
 * sign is one bit, and codes whose squares must be stored. */

/* At 2 bits a block ends in a byte a lane: how many levels of 255 dims are the outer ones. */
#define CODEC_HEAVY_FULL 255u

struct codec_query {
    enum metric metric;
    const float *vector;
    double norm;    /* |q| */
    float lut_step; /* ip = lut_step * sum + lut_bias */
    float lut_bias;
    double lut_error;               /* standard deviation of ip for rounding the table */
    float narrow_step;              /* of plain's integers where they meet codes: unbiased */
    float narrow_variance;          /* of ip per |L|^2: |q - step * plain|^2 / d */
    float wide_step, wide_variance; /* the same of wide */
    float *rotated;
    float *spread; /* what codes of the first stage are of: rotated, or extended at CODE_1_5 */
    uint8_t *lut;  /* [16 * column_count], and a column of zeros when that is odd */
    int8_t *plain; /* [round_to_pad(dim)] the query in steps of plain_step, for centres */
    float plain_step;
    int8_t *low;   /* [round_to_pad(row_bytes)]: dims of low nibbles */
    int8_t *high;  /* likewise */
    int16_t *wide; /* [round_to_pad(dim)] where a stage has CODE_8 */
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

/* Have bytes brought to the second-level cache: what is scored later is not waited for then.
 * Into the first-level cache was slower in every case measured, its few open misses being those
 * of what is read now. */
static inline void codec_fetch(const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at < count; at += 64) {
        __builtin_prefetch(bytes + at, 0, 2);
    }
}

static inline size_t codec_half_group(uint32_t dim, size_t first)
{
    const size_t left = dim - first;
    return left < CODEC_ROW_GROUP ? (left + 1) / 2 : CODEC_ROW_GROUP / 2;
}

/* Where dim j of a row code of 4 bits is: its byte, and the shift there. */
static inline size_t codec_row_byte(uint32_t dim, uint32_t j, unsigned *shift)
{
    const uint32_t first = j / CODEC_ROW_GROUP * CODEC_ROW_GROUP;
    const size_t half = codec_half_group(dim, first), k = j - first;
    *shift = k < half ? 0 : 4;
    return first / 2 + (k < half ? k : k - half);
}

#endif
