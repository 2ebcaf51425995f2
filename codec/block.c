/* Blocks: 32 first-stage codes side by side, so that one instruction looks up a column of all. */
#include "codec/codec.h"

#include <assert.h>
#include <string.h>

#include "codec/codec_internal.h"

#define FACTORS_BYTES (CODEC_BLOCK_LANES * sizeof(struct code_factors))

size_t codec_block_bytes(const struct codec *codec)
{
    return codec->shape.column_count * 16 + FACTORS_BYTES +
           (codec->first_bits == CODE_2 ? CODEC_BLOCK_LANES : 0);
}

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

void codec_block_put(const struct codec *codec, uint8_t *block, unsigned lane, const uint8_t *code,
                     struct code_factors factors)
{
    assert(lane < CODEC_BLOCK_LANES);
    const unsigned shift = lane < 16 ? 0 : 4;
    const size_t column_count = codec->shape.column_count;
    uint8_t *byte = block + byte_of_lane(lane);
    for (size_t column = 0; column < column_count; column++, byte += 16) {
        const unsigned nibble = ((unsigned)code[column / 2] >> (4 * (column % 2))) & 15u;
        *byte = (uint8_t)(((unsigned)*byte & ~(15u << shift)) | nibble << shift);
    }
    uint8_t *scalars = block + column_count * 16;
    memcpy(scalars + lane * sizeof(float), &factors.f_mul, sizeof(float));
    memcpy(scalars + (CODEC_BLOCK_LANES + lane) * sizeof(float), &factors.f_add, sizeof(float));
    if (codec->first_bits == CODE_2) {
        scalars[FACTORS_BYTES + lane] = heavy_share(codec, code);
    }
}

void codec_block_get(const struct codec *codec, const uint8_t *block, unsigned lane, uint8_t *code,
                     struct code_factors *factors)
{
    assert(lane < CODEC_BLOCK_LANES);
    const unsigned shift = lane < 16 ? 0 : 4;
    const size_t column_count = codec->shape.column_count;
    const uint8_t *byte = block + byte_of_lane(lane);
    memset(code, 0, codec_code_bytes(codec, codec->first_bits));
    for (size_t column = 0; column < column_count; column++, byte += 16) {
        const unsigned nibble = ((unsigned)*byte >> shift) & 15u;
        code[column / 2] = (uint8_t)((unsigned)code[column / 2] | nibble << (4 * (column % 2)));
    }
    const uint8_t *scalars = block + column_count * 16;
    memcpy(&factors->f_mul, scalars + lane * sizeof(float), sizeof(float));
    memcpy(&factors->f_add, scalars + (CODEC_BLOCK_LANES + lane) * sizeof(float), sizeof(float));
}
