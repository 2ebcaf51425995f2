/* The reference: what every other table is tested against. Compiled without machine flags and
 * without contraction, so that a product and a sum are two roundings everywhere. */
#include "codec/kernels.h"

#include <math.h>
#include <string.h>

#include "codec/codebook.h"
#include "codec/codec.h"

#define LANES 16

static bool scalar_supported(void)
{
    return true;
}

static void scalar_hadamard(float *x, size_t n, float scale)
{
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t i = 0; i < n; i += 2 * half) {
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static float tree_sum(float *lanes)
{
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

static float load(const uint8_t *p, size_t i)
{
    float v;
    memcpy(&v, p + i * sizeof v, sizeof v);
    return v;
}

static float scalar_dot(const uint8_t *a, const float *b, size_t n)
{
    float lanes[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] += load(a, i) * b[i];
    return tree_sum(lanes);
}

static float scalar_square_distance(const uint8_t *a, const float *b, size_t n)
{
    float lanes[LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        float difference = load(a, i) - b[i];
        lanes[i % LANES] += difference * difference;
    }
    return tree_sum(lanes);
}

static float scalar_absolute_distance(const uint8_t *a, const float *b, size_t n)
{
    float lanes[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] += fabsf(load(a, i) - b[i]);
    return tree_sum(lanes);
}

/* Byte i of a column holds vector order(i) in its low nibble and 16 + order(i) in its high one. */
static void scalar_block_sums(const uint8_t *codes, const uint8_t *table, size_t columns,
                              uint32_t *sums)
{
    memset(sums, 0, CODEC_BLOCK_LANES * sizeof *sums);
    for (size_t column = 0; column < columns; column++) {
        const uint8_t *code = codes + 16 * column, *entry = table + 16 * column;
        for (size_t i = 0; i < 16; i++) {
            size_t lane = i / 2 + 8 * (i % 2);
            sums[lane] += entry[code[i] & 15];
            sums[lane + 16] += entry[code[i] >> 4];
        }
    }
}

static uint32_t scalar_scan_block(const struct scan_query *query, const uint8_t *block,
                                  float *bounds)
{
    uint32_t sums[CODEC_BLOCK_LANES], mask = 0;
    scalar_block_sums(block, query->table, query->columns, sums);
    const uint8_t *f_mul = block + 16 * query->columns;
    const uint8_t *f_add = f_mul + CODEC_BLOCK_LANES * sizeof(float);
    for (size_t lane = 0; lane < CODEC_BLOCK_LANES; lane++) {
        float ip = query->step * (float)(int32_t)sums[lane] + query->shift;
        bounds[lane] = (load(f_add, lane) + query->add) + load(f_mul, lane) * ip;
        if (bounds[lane] >= query->threshold)
            mask |= (uint32_t)1 << lane;
    }
    return mask;
}

static int32_t scalar_row_dot(const uint8_t *code, const int8_t *query, size_t dim)
{
    int32_t sum = 0;
    for (size_t begin = 0; begin < dim; begin += 128) {
        size_t dims = dim - begin < 128 ? dim - begin : 128, bytes = (dims + 1) / 2;
        for (size_t i = 0; i < bytes; i++) {
            sum += codebook_levels_4bit[code[i] & 15] * query[begin + i];
            if (bytes + i < dims)
                sum += codebook_levels_4bit[code[i] >> 4] * query[begin + bytes + i];
        }
        code += bytes;
    }
    return sum;
}

static float scalar_quantise(const float *z, size_t n, float factor, uint8_t *codes)
{
    float dots[LANES] = {0};
    int64_t norm = 0;
    for (size_t j = 0; j < n; j++) {
        float scaled = z[j] * factor, magnitude = fabsf(scaled);
        int rank = 0;
        for (int i = 0; i < 7; i++)
            rank += magnitude > codebook_thresholds_4bit[i];
        codes[j] = (uint8_t)(signbit(scaled) ? 7 - rank : 8 + rank);
        int level = codebook_levels_4bit[codes[j]];
        norm += level * level;
        dots[j % LANES] += z[j] * (float)level;
    }
    return tree_sum(dots) / sqrtf((float)norm);
}

const struct kernels kernels_scalar = {
    .name = "scalar",
    .supported = scalar_supported,
    .hadamard = scalar_hadamard,
    .dot = scalar_dot,
    .square_distance = scalar_square_distance,
    .absolute_distance = scalar_absolute_distance,
    .block_sums = scalar_block_sums,
    .scan_block = scalar_scan_block,
    .row_dot = scalar_row_dot,
    .quantise = scalar_quantise,
};
