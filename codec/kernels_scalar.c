/* The reference: plain C that defines what every other table must give, byte for byte. */
#include "codec/kernels.h"

#include "codec/codebook.h"

#include <math.h>
#include <string.h>

#define LANES 16u

static bool supported(void)
{
    return true;
}

/* ---- rotation ---- */

static void copy_signed(float *out, const float *x, const uint8_t *bits, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = bits[j / 8] >> (j % 8) & 1 ? -x[j] : x[j];
    }
}

static void hadamard(float *x, size_t n, float scale)
{
    for (size_t j = 0; j < n; j++) {
        x[j] *= scale;
    }
    for (size_t distance = 1; distance < n; distance *= 2) {
        for (size_t i = 0; i < n; i += 2 * distance) {
            for (size_t j = i; j < i + distance; j++) {
                const float a = x[j], b = x[j + distance];
                x[j] = a + b;
                x[j + distance] = a - b;
            }
        }
    }
}

/* ---- sums ---- */

/* Sums on their way: doubles for the blocks done. */
struct lanes {
    double done[LANES];
};

static double lanes_total(struct lanes *lanes)
{
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            lanes->done[l] += lanes->done[l + half];
        }
    }
    return lanes->done[0];
}

/* The order of every sum, for a TERM in x and j. */
#define SUM_OF(n, TERM)                                                                            \
    struct lanes lanes = {{0}};                                                                    \
    for (size_t begin = 0; begin < (n); begin += KERNEL_SUM_BLOCK) {                               \
        const size_t end = (n)-begin < KERNEL_SUM_BLOCK ? (n) : begin + KERNEL_SUM_BLOCK;          \
        float block[LANES] = {0};                                                                  \
        for (size_t j = begin; j < end; j++) {                                                     \
            block[j % LANES] += (TERM);                                                            \
        }                                                                                          \
        for (size_t l = 0; l < LANES; l++) {                                                       \
            lanes.done[l] += (double)block[l];                                                     \
        }                                                                                          \
    }                                                                                              \
    return lanes_total(&lanes)

static float load(const uint8_t *bytes, size_t j)
{
    float value;
    memcpy(&value, bytes + j * sizeof value, sizeof value);
    return value;
}

static double dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, x[j] * load(y, j));
}

static float square(float x)
{
    return x * x;
}

static double squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, square(x[j] - load(y, j)));
}

static double absolute_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, fabsf(x[j] - load(y, j)));
}

static struct centre_sums centre_sums(const float *x, const float *y, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)y;
    return (struct centre_sums){dot(x, bytes, n), squared_distance(x, bytes, n), dot(y, bytes, n)};
}

static double dot_grid(const float *x, const int8_t *levels, size_t n)
{
    SUM_OF(n, x[j] * (float)(2 * levels[j] + 1));
}

static double dot_levels(const float *x, const int8_t *levels, size_t n)
{
    SUM_OF(n, x[j] * (float)levels[j]);
}

static double absolute_sum(const float *x, size_t n)
{
    SUM_OF(n, fabsf(x[j]));
}

/* ---- encoding ---- */

static void subtract(float *out, const float *x, const float *y, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = x[j] - y[j];
    }
}

static void sign_bits(const float *x, size_t n, uint8_t *bits)
{
    memset(bits, 0, (n + 7) / 8);
    for (size_t j = 0; j < n; j++) {
        if (!signbit(x[j])) {
            bits[j / 8] = (uint8_t)(bits[j / 8] | 1u << (j % 8));
        }
    }
}

static void outer_bits(const float *x, size_t n, float threshold, uint8_t *bits)
{
    memset(bits, 0, (n + 7) / 8);
    for (size_t j = 0; j < n; j++) {
        if (fabsf(x[j]) > threshold) {
            bits[j / 8] = (uint8_t)(bits[j / 8] | 1u << (j % 8));
        }
    }
}

static void grid_levels(const float *x, size_t n, float scale, int8_t *levels)
{
    for (size_t j = 0; j < n; j++) {
        const float moved = x[j] * scale + 128.0f; /* above zero: truncation rounds down */
        const float clamped = moved > 0.0f ? (moved < 255.0f ? moved : 255.0f) : 0.0f;
        levels[j] = (int8_t)((int)clamped - 128);
    }
}

static void magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
{
    for (size_t j = 0; j < round_to_pad(n); j++) {
        const float scaled = j < n ? fabsf(x[j]) * scale : 0.0f;
        const uint32_t magnitude = (uint32_t)(scaled < 4095.0f ? scaled : 4095.0f);
        out.high[j] = (uint8_t)(magnitude >> 8);
        out.low[j] = (uint8_t)magnitude;
        out.units[j] = (uint8_t)((magnitude + 16) >> 5);
    }
}

static unsigned rank_of(struct magnitudes magnitudes, size_t j, const struct rank_table *table)
{
    const unsigned high = magnitudes.high[j];
    return table->base[high] + (magnitudes.low[j] > table->after[high] ? 1u : 0u);
}

static void try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *table,
                      uint32_t *dot_out, uint32_t *square_out)
{
    uint32_t dot_sum = 0, square_sum = 0;
    for (size_t j = 0; j < n; j++) {
        const uint32_t level = table->level[rank_of(magnitudes, j, table)];
        dot_sum += level * magnitudes.units[j];
        square_sum += level * level;
    }
    *dot_out = dot_sum;
    *square_out = square_sum;
}

static void take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
                       const struct rank_table *table, uint8_t *indices, int8_t *levels)
{
    for (size_t j = 0; j < round_to_pad(n); j++) {
        const unsigned rank = rank_of(magnitudes, j, table);
        const bool negative = j < n && signbit(x[j]);
        indices[j] = (uint8_t)(negative ? 7u - rank : 8u + rank);
        levels[j] = (int8_t)(negative ? -(int)table->level[rank] : (int)table->level[rank]);
    }
}

/* ---- search ---- */

static void scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *sums)
{
    memset(sums, 0, 32 * sizeof *sums);
    for (size_t column = 0; column < column_count; column++) {
        const uint8_t *values = lut + column * 16;
        for (unsigned k = 0; k < 16; k++) {
            const uint8_t byte = codes[column * 16 + k];
            sums[fastscan_lane(k)] += values[byte & 15];
            sums[fastscan_lane(k) + 16] += values[byte >> 4];
        }
    }
}

static uint32_t block_bounds(const uint8_t *block, struct block_shape shape,
                             const struct scan_task *task, float *bounds)
{
    const uint8_t *factors = block + shape.column_count * 16;
    const struct scan_line *line = &task->line;
    uint32_t sums[32], mask = 0;
    scan_sums(block, shape.column_count, task->lut, sums);
    for (size_t lane = 0; lane < 32; lane++) {
        const float ip = (float)sums[lane] * line->step + line->bias;
        float bound = load(factors, lane) * ip + load(factors, 32 + lane) + line->add;
        bound = isnan(bound) ? INFINITY : bound;
        bounds[lane] = bound;
        mask |= bound >= line->threshold ? 1u << lane : 0;
    }
    return mask;
}

static void scan_blocks(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                        const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    for (size_t block = 0; block < block_count; block++, blocks += shape.block_bytes) {
        const uint32_t allowed = lanes != NULL ? lanes[block] : ~0u;
        for (size_t i = 0; i < task_count; i++) {
            tasks[i].survivors[block] = allowed == 0
                                            ? 0
                                            : allowed & block_bounds(blocks, shape, &tasks[i],
                                                                     tasks[i].bounds + block * 32);
        }
    }
}

static struct row_sums row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
                                const int8_t *high)
{
    struct row_sums sums = {0, 0};
    for (size_t i = 0; i < code_bytes; i++) {
        const int a = codebook_levels_4[code[i] & 15], b = codebook_levels_4[code[i] >> 4];
        sums.dot += a * low[i] + b * high[i];
        sums.square += (uint32_t)(a * a + b * b);
    }
    return sums;
}

static struct row_sums row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
{
    struct row_sums sums = {0, 0};
    for (size_t i = 0; i < n; i++) {
        const int level = 2 * (int8_t)code[i] + 1;
        sums.dot += level * query[i];
        sums.square += (uint32_t)(level * level);
    }
    return sums;
}

const struct kernels kernels_scalar = {
    .name = "scalar",
    .supported = supported,
    .copy_signed = copy_signed,
    .hadamard = hadamard,
    .dot = dot,
    .squared_distance = squared_distance,
    .absolute_distance = absolute_distance,
    .centre_sums = centre_sums,
    .dot_levels = dot_levels,
    .dot_grid = dot_grid,
    .absolute_sum = absolute_sum,
    .subtract = subtract,
    .sign_bits = sign_bits,
    .outer_bits = outer_bits,
    .grid_levels = grid_levels,
    .magnitudes = magnitudes,
    .try_ranks = try_ranks,
    .take_ranks = take_ranks,
    .scan_sums = scan_sums,
    .scan_blocks = scan_blocks,
    .row_sums = row_sums,
    .row_sums_8 = row_sums_8,
};
