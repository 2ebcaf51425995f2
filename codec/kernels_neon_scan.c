/* NEON: queries, scans of blocks, row codes and centres. */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include <math.h>

#include "codec/codebook.h"
#include "codec/kernels_neon.h"

/* ---- queries ---- */

float neon_largest(const float *x, size_t n)
{
    float32x4_t most = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < n; j += 4) {
        most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + j)));
    }
    return vmaxvq_f32(most);
}

float neon_widest_column(const float *x, size_t n, unsigned bits)
{
    float32x4_t widest = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < n; j += 8) {
        const float32x4_t pairs =
            vpaddq_f32(vabsq_f32(vld1q_f32(x + j)), vabsq_f32(vld1q_f32(x + j + 4)));
        widest = vmaxq_f32(widest, bits == 2 ? pairs : vpaddq_f32(pairs, pairs));
    }
    return 2.0f * vmaxvq_f32(widest);
}

static inline uint32x4_t entries_of(float32x4_t sums)
{
    const float32x4_t rounded = vaddq_f32(sums, vdupq_n_f32(0.5f));
    return vcvtq_u32_f32(vminq_f32(rounded, vdupq_n_f32(255.0f)));
}

static inline float32x4_t masked(float value, uint32x4_t mask)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(vdupq_n_f32(value)), mask));
}

static void fill_column_1(const float *x, float per_step, uint8_t *entries)
{
    static const uint32_t first[4] = {0, ~0u, 0, ~0u}, second[4] = {0, 0, ~0u, ~0u};
    float range[4];
    uint32_t flip[4];
    for (size_t i = 0; i < 4; i++) {
        range[i] = 2.0f * fabsf(x[i]) * per_step;
        flip[i] = x[i] > 0.0f ? 0 : ~0u;
    }
    const float32x4_t sums =
        vaddq_f32(masked(range[0], veorq_u32(vld1q_u32(first), vdupq_n_u32(flip[0]))),
                  masked(range[1], veorq_u32(vld1q_u32(second), vdupq_n_u32(flip[1]))));
    uint32x4_t parts[4];
    for (unsigned group = 0; group < 4; group++) { /* bits 2 and 3 of the entry */
        const float third = ((group & 1u) != 0) != (flip[2] != 0) ? range[2] : 0.0f;
        const float fourth = ((group & 2u) != 0) != (flip[3] != 0) ? range[3] : 0.0f;
        parts[group] =
            entries_of(vaddq_f32(vaddq_f32(sums, vdupq_n_f32(third)), vdupq_n_f32(fourth)));
    }
    vst1q_u8(entries, pack_bytes(parts));
}

static void fill_column_2(const float *x, float per_step, uint8_t *entries)
{
    static const float up[4] = {0.0f, CODEBOOK_RISE_2, 1.0f - CODEBOOK_RISE_2, 1.0f};
    static const float down[4] = {1.0f, 1.0f - CODEBOOK_RISE_2, CODEBOOK_RISE_2, 0.0f};
    const float32x4_t first =
        vmulq_n_f32(vld1q_f32(x[0] > 0.0f ? up : down), 2.0f * fabsf(x[0]) * per_step);
    const float range = 2.0f * fabsf(x[1]) * per_step;
    uint32x4_t parts[4];
    for (unsigned rank = 0; rank < 4; rank++) {
        const float second = range * (x[1] > 0.0f ? up : down)[rank];
        parts[rank] = entries_of(vaddq_f32(first, vdupq_n_f32(second)));
    }
    vst1q_u8(entries, pack_bytes(parts));
}

void neon_fill_lut(const float *x, size_t column_count, unsigned bits, float per_step, uint8_t *lut)
{
    for (size_t column = 0; column < column_count; column++) {
        (bits == 2 ? fill_column_2 : fill_column_1)(x + column * (4 / bits), per_step,
                                                    lut + column * 16);
    }
}

/* ---- first stage ---- */

/* 16-bit sums of a column's low and high nibbles, by byte: 0..7 and 8..15. */
struct columns {
    uint16x8_t low[2], high[2];
};

#define FLUSH_COLUMNS ((size_t)256) /* 255 each: still 16 bits */

static inline void columns_add(struct columns *sums, uint8x16_t codes, uint8x16_t lut)
{
    const uint8x16_t low = vqtbl1q_u8(lut, vandq_u8(codes, vdupq_n_u8(15)));
    const uint8x16_t high = vqtbl1q_u8(lut, vshrq_n_u8(codes, 4));
    sums->low[0] = vaddw_u8(sums->low[0], vget_low_u8(low));
    sums->low[1] = vaddw_high_u8(sums->low[1], low);
    sums->high[0] = vaddw_u8(sums->high[0], vget_low_u8(high));
    sums->high[1] = vaddw_high_u8(sums->high[1], high);
}

/* Lanes in order: even bytes are 0..7, odd ones 8..15. */
static inline void columns_flush(const struct columns *sums, uint32x4_t total[8])
{
    const uint16x8_t in_order[4] = {
        vuzp1q_u16(sums->low[0], sums->low[1]), vuzp2q_u16(sums->low[0], sums->low[1]),
        vuzp1q_u16(sums->high[0], sums->high[1]), vuzp2q_u16(sums->high[0], sums->high[1])};
    for (size_t i = 0; i < 4; i++) {
        total[2 * i] = vaddw_u16(total[2 * i], vget_low_u16(in_order[i]));
        total[2 * i + 1] = vaddw_high_u16(total[2 * i + 1], in_order[i]);
    }
}

static inline void block_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut,
                              uint32x4_t total[8])
{
    const uint16x8_t zero = vdupq_n_u16(0);
    for (size_t i = 0; i < 8; i++) {
        total[i] = vdupq_n_u32(0);
    }
    for (size_t column = 0; column < column_count;) {
        struct columns sums = {{zero, zero}, {zero, zero}};
        const size_t left = column_count - column;
        const size_t end = column + (left < FLUSH_COLUMNS ? left : FLUSH_COLUMNS);
        for (; column < end; column++) {
            columns_add(&sums, vld1q_u8(codes + column * 16), vld1q_u8(lut + column * 16));
        }
        columns_flush(&sums, total);
    }
}

void neon_scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *sums)
{
    uint32x4_t total[8];
    block_sums(codes, column_count, lut, total);
    for (size_t i = 0; i < 8; i++) {
        vst1q_u32(sums + 4 * i, total[i]);
    }
}

/* Bounds of four lanes; not a number becomes +infinity. */
static inline float32x4_t bounds_of(uint32x4_t sums, const uint8_t *f_mul,
                                    const struct scan_line *line)
{
    const float32x4_t ip =
        vaddq_f32(vmulq_n_f32(vcvtq_f32_u32(sums), line->step), vdupq_n_f32(line->bias));
    const float32x4_t mul = vreinterpretq_f32_u8(vld1q_u8(f_mul));
    const float32x4_t add = vreinterpretq_f32_u8(vld1q_u8(f_mul + 32 * sizeof(float)));
    const float32x4_t bound = vaddq_f32(vaddq_f32(vmulq_f32(mul, ip), add), vdupq_n_f32(line->add));
    return vminnmq_f32(bound, vdupq_n_f32(INFINITY));
}

static inline uint32_t block_bounds(const uint8_t *block, struct block_shape shape,
                                    const struct scan_task *task, float *bounds)
{
    const uint8_t *factors = block + shape.column_count * 16;
    const float32x4_t threshold = vdupq_n_f32(task->line.threshold);
    uint32x4_t total[8];
    uint32_t mask = 0;
    block_sums(block, shape.column_count, task->lut, total);
    for (size_t i = 0; i < 8; i += 2) {
        const float32x4_t a = bounds_of(total[i], factors + 16 * i, &task->line);
        const float32x4_t b = bounds_of(total[i + 1], factors + 16 * i + 16, &task->line);
        vst1q_f32(bounds + 4 * i, a);
        vst1q_f32(bounds + 4 * i + 4, b);
        mask |= bits_of(vcgeq_f32(a, threshold), vcgeq_f32(b, threshold)) << (4 * i);
    }
    return mask;
}

void neon_scan_blocks(const uint8_t *blocks, size_t block_count, struct block_shape shape,
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

/* ---- lane-16 codes ---- */

static inline int8x16_t load_quads(const uint8_t *bytes)
{
    int32_t quad;
    memcpy(&quad, bytes, sizeof quad);
    return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

static inline void lane_sums_4(const uint8_t *codes, size_t code_bytes, const uint8_t *query,
                               int32x4_t sums[8])
{
    const int8x16_t levels = vld1q_s8(codebook_levels_4);
    int32x4_t a[8], b[8];
    for (size_t i = 0; i < 8; i++) {
        a[i] = b[i] = vdupq_n_s32(0);
    }
    for (size_t at = 0; at < code_bytes; at += 128, query += 8) {
        const int8x16_t first = load_quads(query), second = load_quads(query + 4);
        for (size_t i = 0; i < 8; i++) {
            const uint8x16_t part = vld1q_u8(codes + at + 16 * i);
            const int8x16_t low = vqtbl1q_s8(levels, vandq_u8(part, vdupq_n_u8(15)));
            const int8x16_t high = vqtbl1q_s8(levels, vshrq_n_u8(part, 4));
            /* two products: below 2 * 104 * 127 */
            const int16x8_t lower = vmlal_s8(vmull_s8(vget_low_s8(low), vget_low_s8(first)),
                                             vget_low_s8(high), vget_low_s8(second));
            a[i] = vpadalq_s16(a[i], lower);
            b[i] = vpadalq_s16(b[i], vmlal_high_s8(vmull_high_s8(low, first), high, second));
        }
    }
    for (size_t i = 0; i < 8; i++) {
        sums[i] = vpaddq_s32(a[i], b[i]);
    }
}

/* Sixteen lanes. Sums of the levels 2 k + 1: twice those of k, and the query's. */
static inline void lane_sums_8(const uint8_t *codes, size_t code_bytes, const uint8_t *query,
                               int32x4_t sums[4])
{
    int32x4_t of_k[16], of_query = vdupq_n_s32(0);
    for (size_t i = 0; i < 16; i++) {
        of_k[i] = vdupq_n_s32(0);
    }
    for (size_t at = 0; at < code_bytes; at += 128, query += 8) {
        const int16x4_t four = vreinterpret_s16_u8(vld1_u8(query));
        of_query = vaddw_s16(of_query, four);
        for (size_t i = 0; i < 8; i++) {
            const int16x8_t k = vmovl_s8(vreinterpret_s8_u8(vld1_u8(codes + at + 8 * i)));
            of_k[2 * i] = vmlal_s16(of_k[2 * i], vget_low_s16(k), four);
            of_k[2 * i + 1] = vmlal_s16(of_k[2 * i + 1], vget_high_s16(k), four);
        }
    }
    const int32x4_t whole = vdupq_n_s32(vaddvq_s32(of_query));
    for (size_t i = 0; i < 4; i++) {
        const int32x4_t four = vpaddq_s32(vpaddq_s32(of_k[4 * i], of_k[4 * i + 1]),
                                          vpaddq_s32(of_k[4 * i + 2], of_k[4 * i + 3]));
        sums[i] = vaddq_s32(vshlq_n_s32(four, 1), whole);
    }
}

static inline float32x4_t load_factors(const uint8_t *bytes)
{
    return vreinterpretq_f32_u8(vld1q_u8(bytes));
}

static inline float32x4_t lane_bounds_of(int32x4_t sums, const uint8_t *f_mul,
                                         const struct scan_line *line)
{
    const float32x4_t mul = load_factors(f_mul), norm = load_factors(f_mul + 64 * sizeof(float));
    const uint32x4_t byte = vandq_u32(vreinterpretq_u32_f32(mul), vdupq_n_u32(255));
    const float32x4_t root = vreinterpretq_f32_u32(
        vsubq_u32(vdupq_n_u32(KERNEL_ROOT_ONE), vshlq_n_u32(byte, KERNEL_ROOT_SHIFT)));
    const float32x4_t ip = vmulq_n_f32(vcvtq_f32_s32(sums), line->step);
    const float32x4_t width =
        vmulq_f32(norm, vaddq_f32(vmulq_n_f32(root, line->of_error), vdupq_n_f32(line->of_norm)));
    const float32x4_t shifted =
        vaddq_f32(vmulq_f32(mul, ip), load_factors(f_mul + 32 * sizeof(float)));
    const float32x4_t bound = vaddq_f32(vaddq_f32(shifted, vdupq_n_f32(line->add)), width);
    return vminnmq_f32(bound, vdupq_n_f32(INFINITY));
}

static inline uint32_t lane_bounds(const uint8_t *block, struct block_shape shape,
                                   const struct scan_task *task, float *bounds, unsigned bits)
{
    const size_t code_bytes = shape.column_count * 16;
    const uint8_t *factors = block + code_bytes;
    const float32x4_t threshold = vdupq_n_f32(task->line.threshold);
    int32x4_t sums[8];
    uint32_t mask = 0;
    if (bits == 4) {
        lane_sums_4(block, code_bytes, task->lut, sums);
    } else {
        lane_sums_8(block, code_bytes, task->lut, sums);
        lane_sums_8(block + 64, code_bytes, task->lut, sums + 4);
    }
    for (size_t i = 0; i < 8; i += 2) {
        const float32x4_t a = lane_bounds_of(sums[i], factors + 16 * i, &task->line);
        const float32x4_t b = lane_bounds_of(sums[i + 1], factors + 16 * i + 16, &task->line);
        vst1q_f32(bounds + 4 * i, a);
        vst1q_f32(bounds + 4 * i + 4, b);
        mask |= bits_of(vcgeq_f32(a, threshold), vcgeq_f32(b, threshold)) << (4 * i);
    }
    return mask;
}

/* Every task over every block that has a lane wanted. */
static inline void scan_lanes(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                              const uint32_t *lanes, const struct scan_task *tasks,
                              size_t task_count, unsigned bits)
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

void neon_scan_lanes_4(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                       const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 4);
}

void neon_scan_lanes_8(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                       const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 8);
}

/* ---- second stage ---- */

/* Sums of products of signed bytes whose pairs fit 16 bits. */
static inline int32x4_t add_signed(int32x4_t sums, int8x16_t a, int8x16_t b)
{
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    return vpadalq_s16(sums, vmlal_high_s8(low, a, b));
}

struct row_sums neon_row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
                              const int8_t *high)
{
    const int8x16_t levels = vld1q_s8(codebook_levels_4);
    int32x4_t dots = vdupq_n_s32(0), squares = vdupq_n_s32(0);
    uint8_t last[16];
    uint32_t padding = 0;
    for (size_t i = 0; i < code_bytes; i += 16) {
        const uint8_t *from = code + i;
        if (code_bytes - i < 16) {
            memset(last, 0x88, sizeof last);
            memcpy(last, from, code_bytes - i);
            from = last;
            padding = 2 * (uint32_t)(16 - (code_bytes - i)) * 25; /* level 5 squared, twice */
        }
        const uint8x16_t codes = vld1q_u8(from);
        const int8x16_t a = vqtbl1q_s8(levels, vandq_u8(codes, vdupq_n_u8(15)));
        const int8x16_t b = vqtbl1q_s8(levels, vshrq_n_u8(codes, 4));
        dots = add_signed(dots, a, vld1q_s8(low + i));
        dots = add_signed(dots, b, vld1q_s8(high + i));
        squares = add_signed(squares, a, a);
        squares = add_signed(squares, b, b);
    }
    return (struct row_sums){vaddvq_s32(dots), (uint32_t)vaddvq_s32(squares) - padding};
}

void neon_rows_sums(const uint8_t *const *codes, size_t count, size_t code_bytes, const int8_t *low,
                    const int8_t *high, struct row_sums *sums)
{
    for (size_t i = 0; i < count; i++) {
        sums[i] = neon_row_sums(codes[i], code_bytes, low, high);
    }
}

struct row_sums neon_row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
{
    int32x4_t dots = vdupq_n_s32(0), squares = vdupq_n_s32(0);
    uint8_t last[8] = {0};
    uint32_t padding = 0;
    for (size_t i = 0; i < n; i += 8) {
        const uint8_t *from = code + i;
        if (n - i < 8) {
            memcpy(last, from, n - i);
            from = last;
            padding = (uint32_t)(8 - (n - i)); /* level 1 each */
        }
        const int16x8_t k = vmovl_s8(vreinterpret_s8_u8(vld1_u8(from)));
        const int16x8_t level = vorrq_s16(vshlq_n_s16(k, 1), vdupq_n_s16(1));
        const int16x8_t own = vld1q_s16(query + i);
        dots = vmlal_s16(dots, vget_low_s16(level), vget_low_s16(own));
        dots = vmlal_high_s16(dots, level, own);
        squares = vmlal_s16(squares, vget_low_s16(level), vget_low_s16(level));
        squares = vmlal_high_s16(squares, level, level);
    }
    return (struct row_sums){vaddvq_s32(dots),
                             vaddvq_u32(vreinterpretq_u32_s32(squares)) - padding};
}

/* ---- centres ---- */

void neon_int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
                    size_t stride, int32_t *dots)
{
    for (size_t i = 0; i < count; i++, rows += stride) {
        int32x4_t sums = vdupq_n_s32(0);
        for (size_t j = 0; j < row_bytes; j += 16) {
            const int8x16_t row = vreinterpretq_s8_u8(vld1q_u8(rows + j));
            sums = add_signed(sums, row, vld1q_s8(query + j));
        }
        dots[i] = vaddvq_s32(sums);
    }
}

#else
enum { KERNELS_NEON_SCAN_IS_FOR_AARCH64 }; /* a translation unit may not be empty */
#endif
