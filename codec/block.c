/* Blocks: 32 first-stage codes side by side, so that one instruction looks up a column of all, or
 * multiplies dims of sixteen. */
#include "codec/codec.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "codec/codec_internal.h"

#define FACTORS_BYTES (CODEC_BLOCK_LANES * sizeof(struct code_factors))

size_t codec_block_bytes(const struct codec *codec)
{
    const size_t more = codec_has_lanes(codec)        ? CODEC_BLOCK_LANES * sizeof(float)
                        : codec->first_bits == CODE_2 ? CODEC_BLOCK_LANES
                                                      : 0;
    return codec->shape.column_count * 16 + FACTORS_BYTES + more;
}

/* ---- FastScan ---- */

/* The byte of a column that holds a lane: the inverse of fastscan_lane. */
static size_t byte_of_lane(unsigned lane)
{
    const unsigned of_16 = lane % 16;
    return of_16 < 8 ? of_16 * 2 : (of_16 - 8) * 2 + 1;
}

/* Dims whose level is an outer one, rank 0 or 3, in 1/255 of all. */
static uint8_t heavy_share(const struct codec *codec, const uint8_t *code)
{
    const uint32_t dim = codec->dim;
    uint32_t inner = 0;
    for (uint32_t i = 0; i < (dim + 3) / 4; i++) {
        const uint32_t left = dim - 4 * i, dims = left < 4 ? left : 4;
        const unsigned differ = ((unsigned)code[i] ^ (unsigned)code[i] >> 1) & 0x55u;
        inner += (uint32_t)__builtin_popcount(differ & ((1u << (2 * dims)) - 1));
    }
    return (uint8_t)(((dim - inner) * CODEC_HEAVY_FULL + dim / 2) / dim);
}

static void columns_put(const struct codec *codec, uint8_t *block, unsigned lane,
                        const uint8_t *code)
{
    const unsigned shift = lane < 16 ? 0 : 4;
    uint8_t *byte = block + byte_of_lane(lane);
    for (size_t column = 0; column < codec->shape.column_count; column++, byte += 16) {
        const unsigned nibble = ((unsigned)code[column / 2] >> (4 * (column % 2))) & 15u;
        *byte = (uint8_t)(((unsigned)*byte & ~(15u << shift)) | nibble << shift);
    }
}

static void columns_get(const struct codec *codec, const uint8_t *block, unsigned lane,
                        uint8_t *code)
{
    const unsigned shift = lane < 16 ? 0 : 4;
    const uint8_t *byte = block + byte_of_lane(lane);
    memset(code, 0, codec_code_bytes(codec, codec->first_bits));
    for (size_t column = 0; column < codec->shape.column_count; column++, byte += 16) {
        const unsigned nibble = ((unsigned)*byte >> shift) & 15u;
        code[column / 2] = (uint8_t)((unsigned)code[column / 2] | nibble << (4 * (column % 2)));
    }
}

/* ---- lane-16 codes ---- */

#define LANE_BYTES 4u                                /* of a group: 8 dims of 4 bits, 4 of 8 */
#define GROUP_BYTES (CODEC_BLOCK_LANES * LANE_BYTES) /* lanes in order */

/* A group of 8 dims from `first` on; dims past the last are 0, as their query is. */
static void group_put_4(const struct codec *codec, uint8_t *to, const uint8_t *code, uint32_t first)
{
    memset(to, 0, LANE_BYTES);
    for (uint32_t k = 0; k < 8 && first + k < codec->dim; k++) {
        unsigned shift;
        const size_t byte = codec_row_byte(codec->dim, first + k, &shift);
        const unsigned index = (unsigned)code[byte] >> shift & 15u;
        to[k % 4] = (uint8_t)((unsigned)to[k % 4] | index << (k < 4 ? 0 : 4));
    }
}

static void group_get_4(const struct codec *codec, const uint8_t *from, uint8_t *code,
                        uint32_t first)
{
    for (uint32_t k = 0; k < 8 && first + k < codec->dim; k++) {
        unsigned shift;
        const size_t byte = codec_row_byte(codec->dim, first + k, &shift);
        const unsigned index = (unsigned)from[k % 4] >> (k < 4 ? 0 : 4) & 15u;
        code[byte] = (uint8_t)((unsigned)code[byte] | index << shift);
    }
}

static void lane_put(const struct codec *codec, uint8_t *block, unsigned lane, const uint8_t *code)
{
    const uint32_t dims = codec->first_bits == CODE_4 ? 8 : 4;
    uint8_t *to = block + lane * LANE_BYTES;
    for (uint32_t first = 0; first < codec->dim; first += dims, to += GROUP_BYTES) {
        if (codec->first_bits == CODE_4) {
            group_put_4(codec, to, code, first);
        } else {
            const uint32_t left = codec->dim - first;
            memset(to, 0, LANE_BYTES);
            memcpy(to, code + first, left < dims ? left : dims);
        }
    }
}

static void lane_get(const struct codec *codec, const uint8_t *block, unsigned lane, uint8_t *code)
{
    const uint32_t dims = codec->first_bits == CODE_4 ? 8 : 4;
    const uint8_t *from = block + lane * LANE_BYTES;
    memset(code, 0, codec_code_bytes(codec, codec->first_bits));
    for (uint32_t first = 0; first < codec->dim; first += dims, from += GROUP_BYTES) {
        if (codec->first_bits == CODE_4) {
            group_get_4(codec, from, code, first);
        } else {
            const uint32_t left = codec->dim - first;
            memcpy(code + first, from, left < dims ? left : dims);
        }
    }
}

/* |L|^2 of a row code of 4 or 8 bits. */
static double row_square(const struct codec *codec, const uint8_t *code)
{
    uint64_t sum = 0;
    if (codec->first_bits == CODE_8) {
        for (uint32_t j = 0; j < codec->dim; j++) {
            const int level = 2 * (int8_t)code[j] + 1;
            sum += (uint32_t)(level * level);
        }
        return (double)sum;
    }
    for (size_t i = 0; i < codec_code_bytes(codec, CODE_4); i++) {
        const int low = codebook_levels_4[code[i] & 15], high = codebook_levels_4[code[i] >> 4];
        sum += (uint32_t)(low * low + high * high);
    }
    return (double)(sum - (codec->dim % 2 != 0 ? CODEC_PAD_SQUARE : 0));
}

/* ---- both ---- */

void codec_block_put(const struct codec *codec, uint8_t *block, unsigned lane, const uint8_t *code,
                     struct code_factors factors)
{
    assert(lane < CODEC_BLOCK_LANES);
    uint8_t *scalars = block + codec->shape.column_count * 16;
    memcpy(scalars + lane * sizeof(float), &factors.f_mul, sizeof(float));
    memcpy(scalars + (CODEC_BLOCK_LANES + lane) * sizeof(float), &factors.f_add, sizeof(float));
    if (codec_has_lanes(codec)) {
        const float norm = (float)((double)factors.f_mul * sqrt(row_square(codec, code)));
        lane_put(codec, block, lane, code);
        memcpy(scalars + (2 * CODEC_BLOCK_LANES + lane) * sizeof norm, &norm, sizeof norm);
        return;
    }
    columns_put(codec, block, lane, code);
    if (codec->first_bits == CODE_2) {
        scalars[FACTORS_BYTES + lane] = heavy_share(codec, code);
    }
}

void codec_block_get(const struct codec *codec, const uint8_t *block, unsigned lane, uint8_t *code,
                     struct code_factors *factors)
{
    assert(lane < CODEC_BLOCK_LANES);
    const uint8_t *scalars = block + codec->shape.column_count * 16;
    (codec_has_lanes(codec) ? lane_get : columns_get)(codec, block, lane, code);
    memcpy(&factors->f_mul, scalars + lane * sizeof(float), sizeof(float));
    memcpy(&factors->f_add, scalars + (CODEC_BLOCK_LANES + lane) * sizeof(float), sizeof(float));
    if (codec->first_bits == CODE_4 && codec->dim % 2 != 0 && factors->f_mul != 0.0f) {
        uint8_t *last = code + codec_code_bytes(codec, CODE_4) - 1; /* as codec_encode leaves it */
        *last = (uint8_t)((unsigned)*last | CODEC_NIBBLE_PAD << 4);
    }
}
