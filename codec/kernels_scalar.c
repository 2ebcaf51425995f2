/* The reference: plain C that defines what every other table must give, byte for byte. */
#include "codec/kernels_table.h"

#include "codec/codebook.h"

#include <math.h>
#include <string.h>

#define LANES 16u

KERNEL_ALL(KERNEL_PROTOTYPE, scalar)

bool scalar_supported(void)
{
    return true;
}

/* ---- rotation ---- */

void scalar_copy_signed(float *out, const float *x, const uint8_t *bits, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = bits[j / 8] >> (j % 8) & 1 ? -x[j] : x[j];
    }
}

void scalar_permute(float *out, const float *x, const uint16_t *sources, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = x[sources[j]];
    }
}

void scalar_hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = (bits[j / 8] >> (j % 8) & 1 ? -x[j] : x[j]) * scale;
    }
    for (size_t distance = 1; distance < n; distance *= 2) {
        for (size_t i = 0; i < n; i += 2 * distance) {
            for (size_t j = i; j < i + distance; j++) {
                const float a = out[j], b = out[j + distance];
                out[j] = a + b;
                out[j + distance] = a - b;
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

double scalar_dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, x[j] * load(y, j));
}

static float square(float x)
{
    return x * x;
}

double scalar_squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, square(x[j] - load(y, j)));
}

double scalar_absolute_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, fabsf(x[j] - load(y, j)));
}

static float half(const uint8_t *bytes, size_t j)
{
    uint16_t half;
    memcpy(&half, bytes + j * sizeof half, sizeof half);
    const uint32_t exponent = half >> 10 & 31u, fraction = half & 1023u;
    const uint32_t normal = (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
    float value;
    memcpy(&value, &normal, sizeof value);
    value = exponent == 0 ? (float)fraction * 0x1p-24f : value; /* subnormal */
    return half >> 15 != 0 ? -value : value;
}

double scalar_dot_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, x[j] * half(y, j));
}

double scalar_squared_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, square(x[j] - half(y, j)));
}

double scalar_absolute_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, fabsf(x[j] - half(y, j)));
}

struct centre_sums scalar_centre_sums(const float *x, const float *y, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)y;
    return (struct centre_sums){scalar_dot(x, bytes, n), scalar_squared_distance(x, bytes, n),
                                scalar_dot(y, bytes, n)};
}

static double dot_levels(const float *x, const int8_t *levels, size_t n)
{
    SUM_OF(n, x[j] * (float)levels[j]);
}

static double dot_grid(const float *x, const int8_t *levels, size_t n)
{
    SUM_OF(n, x[j] * (float)(2 * levels[j] + 1));
}

static double dot_signs(const float *x, const uint8_t *bits, size_t n)
{
    SUM_OF(n, bits[j / 8] >> (j % 8) & 1 ? x[j] : -x[j]);
}

struct level_sums scalar_level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    return (struct level_sums){dot_levels(x, levels, n),
                               y != NULL ? dot_levels(y, levels, n) : 0.0};
}

struct level_sums scalar_grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    return (struct level_sums){dot_grid(x, levels, n), y != NULL ? dot_grid(y, levels, n) : 0.0};
}

struct level_sums scalar_sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
{
    return (struct level_sums){dot_signs(x, bits, n), y != NULL ? dot_signs(y, bits, n) : 0.0};
}

double scalar_absolute_sum(const float *x, size_t n)
{
    SUM_OF(n, fabsf(x[j]));
}

/* ---- encoding ---- */

void scalar_subtract(float *out, const float *x, const float *y, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = x[j] - y[j];
    }
}

struct residual_sums scalar_residual(float *out, const float *x, const float *y, size_t n)
{
    scalar_subtract(out, x, y, n);
    return (struct residual_sums){scalar_dot(out, (const uint8_t *)y, n),
                                  scalar_dot(out, (const uint8_t *)out, n),
                                  scalar_dot(x, (const uint8_t *)x, n)};
}

void scalar_sign_bits(const float *x, size_t n, uint8_t *bits)
{
    memset(bits, 0, (n + 7) / 8);
    for (size_t j = 0; j < n; j++) {
        if (!signbit(x[j])) {
            bits[j / 8] = (uint8_t)(bits[j / 8] | 1u << (j % 8));
        }
    }
}

void scalar_outer_levels(const float *x, size_t n, float threshold, uint8_t *bits, int8_t *levels)
{
    memset(bits, 0, (n + 7) / 8);
    for (size_t j = 0; j < n; j++) {
        const bool outer = fabsf(x[j]) > threshold;
        const int level = outer ? CODEBOOK_OUTER_2 : CODEBOOK_LEVEL_2;
        levels[j] = (int8_t)(signbit(x[j]) ? -level : level);
        if (outer) {
            bits[j / 8] = (uint8_t)(bits[j / 8] | 1u << (j % 8));
        }
    }
}

void scalar_grid_levels(const float *x, size_t n, float scale, int8_t *levels)
{
    for (size_t j = 0; j < n; j++) {
        const float moved = x[j] * scale + 128.0f; /* above zero: truncation rounds down */
        const float clamped = moved > 0.0f ? (moved < 255.0f ? moved : 255.0f) : 0.0f;
        levels[j] = (int8_t)((int)clamped - 128);
    }
}

void scalar_magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
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

void scalar_try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
                      uint32_t *dots, uint32_t *squares)
{
    for (unsigned i = 0; i < KERNEL_TABLES; i++) {
        dots[i] = squares[i] = 0;
        for (size_t j = 0; j < n; j++) {
            const uint32_t level = tables[i].level[rank_of(magnitudes, j, &tables[i])];
            dots[i] += level * magnitudes.units[j];
            squares[i] += level * level;
        }
    }
}

void scalar_take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
                       const struct rank_table *table, uint8_t *indices, int8_t *levels)
{
    for (size_t j = 0; j < round_to_pad(n); j++) {
        const unsigned rank = rank_of(magnitudes, j, table);
        const bool negative = j < n && signbit(x[j]);
        indices[j] = (uint8_t)(negative ? 7u - rank : 8u + rank);
        levels[j] = (int8_t)(negative ? -(int)table->level[rank] : (int)table->level[rank]);
    }
}

/* ---- queries ---- */

float scalar_largest(const float *x, size_t n)
{
    float most = 0.0f;
    for (size_t j = 0; j < n; j++) {
        most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    }
    return most;
}

float scalar_widest_column(const float *x, size_t n, unsigned bits)
{
    float widest = 0.0f;
    for (size_t j = 0; j < n; j += 4 / bits) {
        const float first = fabsf(x[j]) + fabsf(x[j + 1]);
        const float range = bits == 2 ? first : first + (fabsf(x[j + 2]) + fabsf(x[j + 3]));
        widest = range > widest ? range : widest;
    }
    return 2.0f * widest;
}

/* Entry m is the sum over the column's dims of twice their magnitude times how far the dim's rank
 * in m is from the lowest; ranks count down below zero. */
static void column_fill(const float *x, unsigned bits, float per_step, uint8_t *entries)
{
    static const float signs[2] = {0.0f, 1.0f};
    static const float ranks[4] = {0.0f, CODEBOOK_RISE_2, 1.0f - CODEBOOK_RISE_2, 1.0f};
    const float *from_lowest = bits == 2 ? ranks : signs;
    const unsigned top = (1u << bits) - 1;
    float sums[16] = {0.0f};
    for (unsigned i = 0; i < 4 / bits; i++) {
        const float range = 2.0f * fabsf(x[i]) * per_step;
        const unsigned flip = x[i] > 0.0f ? 0 : top;
        for (unsigned m = 0; m < 16; m++) {
            sums[m] += range * from_lowest[(m >> (i * bits) & top) ^ flip];
        }
    }
    for (unsigned m = 0; m < 16; m++) {
        const float rounded = sums[m] + 0.5f;
        entries[m] = (uint8_t)(rounded < 255.0f ? rounded : 255.0f);
    }
}

void scalar_fill_lut(const float *x, size_t column_count, unsigned bits, float per_step,
                     uint8_t *lut)
{
    for (size_t column = 0; column < column_count; column++) {
        column_fill(x + column * (4 / bits), bits, per_step, lut + column * 16);
    }
}

static int8_t int8_of(float value, float per_step)
{
    const float scaled = value * per_step;
    return (int8_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f);
}

double scalar_quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = int8_of(x[j], per_step);
    }
    SUM_OF(n, square(x[j] - (float)out[j] * step));
}

/* ---- search ---- */

void scalar_scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *sums)
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
    scalar_scan_sums(block, shape.column_count, task->lut, sums);
    for (size_t lane = 0; lane < 32; lane++) {
        const float ip = (float)sums[lane] * line->step + line->bias;
        float bound = load(factors, lane) * ip + load(factors, 32 + lane) + line->add;
        bound = isnan(bound) ? INFINITY : bound;
        bounds[lane] = bound;
        mask |= bound >= line->threshold ? 1u << lane : 0;
    }
    return mask;
}

void scalar_scan_blocks(const uint8_t *blocks, size_t block_count, struct block_shape shape,
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

/* Lane-16 codes: byte 4 lane + k of 128 holds dims k and 4 + k of 8, or dim k of 4. */
static void lane_sums_4(const uint8_t *codes, size_t code_bytes, const int8_t *query, int32_t *sums)
{
    for (size_t at = 0; at < code_bytes; at += 128, query += 8) {
        for (size_t i = 0; i < 128; i++) {
            const uint8_t byte = codes[at + i];
            sums[i / 4] += codebook_levels_4[byte & 15] * query[i % 4] +
                           codebook_levels_4[byte >> 4] * query[4 + i % 4];
        }
    }
}

static void lane_sums_8(const uint8_t *codes, size_t code_bytes, const uint8_t *query,
                        int32_t *sums)
{
    for (size_t at = 0; at < code_bytes; at += 128, query += 4 * sizeof(int16_t)) {
        int16_t four[4];
        memcpy(four, query, sizeof four);
        for (size_t i = 0; i < 128; i++) {
            sums[i / 4] += (2 * (int8_t)codes[at + i] + 1) * four[i % 4];
        }
    }
}

static uint32_t lane_bounds(const uint8_t *block, struct block_shape shape,
                            const struct scan_task *task, float *bounds, unsigned bits)
{
    const size_t code_bytes = shape.column_count * 16;
    const uint8_t *factors = block + code_bytes;
    const struct scan_line *line = &task->line;
    int32_t sums[32] = {0};
    uint32_t mask = 0;
    if (bits == 4) {
        lane_sums_4(block, code_bytes, (const int8_t *)task->lut, sums);
    } else {
        lane_sums_8(block, code_bytes, task->lut, sums);
    }
    for (size_t lane = 0; lane < 32; lane++) {
        const float f_mul = load(factors, lane), norm = load(factors, 64 + lane);
        const float ip = (float)sums[lane] * line->step;
        const float width = norm * (kernel_root_of(f_mul) * line->of_error + line->of_norm);
        float bound = f_mul * ip + load(factors, 32 + lane) + line->add + width;
        bound = isnan(bound) ? INFINITY : bound;
        bounds[lane] = bound;
        mask |= bound >= line->threshold ? 1u << lane : 0;
    }
    return mask;
}

/* Every task over every block that has a lane wanted. */
static void scan_lanes(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                       const uint32_t *lanes, const struct scan_task *tasks, size_t task_count,
                       unsigned bits)
{
    for (size_t block = 0; block < block_count; block++, blocks += shape.block_bytes) {
        const uint32_t allowed = lanes != NULL ? lanes[block] : ~0u;
        for (size_t i = 0; i < task_count; i++) {
            tasks[i].survivors[block] =
                allowed == 0 ? 0
                             : allowed & lane_bounds(blocks, shape, &tasks[i],
                                                     tasks[i].bounds + block * 32, bits);
        }
    }
}

void scalar_scan_lanes_4(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                         const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 4);
}

void scalar_scan_lanes_8(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                         const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 8);
}

struct row_sums scalar_row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
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

void scalar_rows_sums(const uint8_t *const *codes, size_t count, size_t code_bytes,
                      const int8_t *low, const int8_t *high, struct row_sums *sums)
{
    for (size_t i = 0; i < count; i++) {
        sums[i] = scalar_row_sums(codes[i], code_bytes, low, high);
    }
}

struct row_sums scalar_row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
{
    struct row_sums sums = {0, 0};
    for (size_t i = 0; i < n; i++) {
        const int level = 2 * (int8_t)code[i] + 1;
        sums.dot += level * query[i];
        sums.square += (uint32_t)(level * level);
    }
    return sums;
}

void scalar_int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
                      size_t stride, int32_t *dots)
{
    for (size_t i = 0; i < count; i++, rows += stride) {
        int32_t sum = 0;
        for (size_t j = 0; j < row_bytes; j++) {
            sum += query[j] * (int8_t)rows[j];
        }
        dots[i] = sum;
    }
}

const struct kernels kernels_scalar = {.name = "scalar", KERNEL_ALL(KERNEL_ENTRY, scalar)};
