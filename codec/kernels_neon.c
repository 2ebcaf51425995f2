/* NEON (every 64-bit ARM, without the dot product extension): the same bytes as kernels_scalar.c.
 */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "codec/codebook.h"

static bool supported(void)
{
    return true;
}

/* ---- memory ---- */

/* Four floats at element `at` of an array that ends at `end`, zero past it. */
static inline float32x4_t load_within(const float *x, size_t at, size_t end)
{
    if (at + 4 <= end) {
        return vld1q_f32(x + at);
    }
    float first[4] = {0};
    for (size_t i = 0; at + i < end; i++) {
        first[i] = x[at + i];
    }
    return vld1q_f32(first);
}

static inline void store_within(float *out, size_t at, size_t end, float32x4_t values)
{
    if (at + 4 <= end) {
        vst1q_f32(out + at, values);
        return;
    }
    float four[4];
    vst1q_f32(four, values);
    for (size_t i = 0; at + i < end; i++) {
        out[at + i] = four[i];
    }
}

/* Four floats at any address, and float16 ones. */
static inline float32x4_t load_bytes_within(const uint8_t *y, size_t at, size_t end)
{
    uint8_t bytes[16] = {0};
    if (at + 4 <= end) {
        return vreinterpretq_f32_u8(vld1q_u8(y + at * 4));
    }
    if (at < end) {
        memcpy(bytes, y + at * 4, (end - at) * 4);
    }
    return vreinterpretq_f32_u8(vld1q_u8(bytes));
}

static inline float32x4_t load_halves_within(const uint8_t *y, size_t at, size_t end)
{
    uint8_t bytes[8] = {0};
    if (at + 4 <= end) {
        return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(y + at * 2)));
    }
    if (at < end) {
        memcpy(bytes, y + at * 2, (end - at) * 2);
    }
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(bytes)));
}

/* The sign bit in each of four lanes whose bit is set. */
static inline uint32x4_t sign_mask(unsigned bits)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    const uint32x4_t set = vtstq_u32(vdupq_n_u32(bits), vld1q_u32(bit));
    return vandq_u32(set, vdupq_n_u32(0x80000000u));
}

static inline float32x4_t flip_signs(float32x4_t x, uint32x4_t signs)
{
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), signs));
}

/* Four bits of an array, at a multiple of four. */
static inline unsigned four_bits(const uint8_t *bits, size_t at)
{
    return (unsigned)bits[at / 8] >> (at % 8);
}

/* ---- rotation ---- */

static void copy_signed(float *out, const float *x, const uint8_t *bits, size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        store_within(out, j, n, flip_signs(load_within(x, j, n), sign_mask(four_bits(bits, j))));
    }
}

static void permute(float *out, const float *x, const uint16_t *sources, size_t n)
{
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        float32x4_t four = vld1q_dup_f32(x + sources[j]);
        four = vld1q_lane_f32(x + sources[j + 1], four, 1);
        four = vld1q_lane_f32(x + sources[j + 2], four, 2);
        vst1q_f32(out + j, vld1q_lane_f32(x + sources[j + 3], four, 3));
    }
    for (; j < n; j++) {
        out[j] = x[sources[j]];
    }
}

/* Butterflies over distances 1 and 2 of four floats: the operand in place times 1 or -1, plus the
 * other. Multiplying by 1 is exact, so that the fused operation rounds as a sum does. */
static inline float32x4_t butterflies_of_four(float32x4_t x)
{
    static const float odd[4] = {1, -1, 1, -1}, pair[4] = {1, 1, -1, -1};
    x = vfmaq_f32(vrev64q_f32(x), x, vld1q_f32(odd));
    return vfmaq_f32(vextq_f32(x, x, 2), x, vld1q_f32(pair));
}

static inline void butterfly(float32x4_t *a, float32x4_t *b)
{
    const float32x4_t sum = vaddq_f32(*a, *b);
    *b = vsubq_f32(*a, *b);
    *a = sum;
}

/* Distances 1, 2 and 4 of eight rows. */
static inline void butterflies_of_rows(float32x4_t r[8])
{
    for (size_t k = 0; k < 8; k += 2) {
        butterfly(&r[k], &r[k + 1]);
    }
    for (size_t k = 0; k < 8; k += 4) {
        butterfly(&r[k], &r[k + 2]);
        butterfly(&r[k + 1], &r[k + 3]);
    }
    for (size_t k = 0; k < 4; k++) {
        butterfly(&r[k], &r[k + 4]);
    }
}

/* Distances d, 2d and 4d in one pass over memory. */
static void butterflies_three(float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i += 8 * d) {
        for (size_t j = i; j < i + d; j += 4) {
            float32x4_t r[8];
            for (size_t k = 0; k < 8; k++) {
                r[k] = vld1q_f32(x + j + k * d);
            }
            butterflies_of_rows(r);
            for (size_t k = 0; k < 8; k++) {
                vst1q_f32(x + j + k * d, r[k]);
            }
        }
    }
}

static void butterflies_one(float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i += 2 * d) {
        for (size_t j = i; j < i + d; j += 4) {
            float32x4_t a = vld1q_f32(x + j), b = vld1q_f32(x + j + d);
            butterfly(&a, &b);
            vst1q_f32(x + j, a);
            vst1q_f32(x + j + d, b);
        }
    }
}

static void hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
{
    if (n < 8) {
        kernels_scalar.hadamard(out, x, bits, n, scale);
        return;
    }
    for (size_t j = 0; j < n; j += 4) {
        const float32x4_t part = flip_signs(vld1q_f32(x + j), sign_mask(four_bits(bits, j)));
        vst1q_f32(out + j, butterflies_of_four(vmulq_n_f32(part, scale)));
    }
    size_t d = 4;
    for (; d * 8 <= n; d *= 8) {
        butterflies_three(out, n, d);
    }
    for (; d < n; d *= 2) {
        butterflies_one(out, n, d);
    }
}

/* ---- sums ---- */

/* Sixteen lanes as eight pairs of doubles, in order. */
struct lanes {
    float64x2_t done[8];
};

static inline struct lanes lanes_zero(void)
{
    struct lanes lanes;
    for (size_t i = 0; i < 8; i++) {
        lanes.done[i] = vdupq_n_f64(0.0);
    }
    return lanes;
}

static inline void lanes_add(struct lanes *lanes, const float32x4_t sums[4])
{
    for (size_t i = 0; i < 4; i++) {
        const float64x2_t low = vcvt_f64_f32(vget_low_f32(sums[i]));
        lanes->done[2 * i] = vaddq_f64(lanes->done[2 * i], low);
        lanes->done[2 * i + 1] = vaddq_f64(lanes->done[2 * i + 1], vcvt_high_f64_f32(sums[i]));
    }
}

static inline double lanes_total(const struct lanes *lanes)
{
    float64x2_t sums[4];
    for (size_t i = 0; i < 4; i++) {
        sums[i] = vaddq_f64(lanes->done[i], lanes->done[i + 4]);
    }
    const float64x2_t a = vaddq_f64(sums[0], sums[2]), b = vaddq_f64(sums[1], sums[3]);
    const float64x2_t two = vaddq_f64(a, b);
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

static inline float32x4_t squared_difference(float32x4_t a, float32x4_t b)
{
    const float32x4_t difference = vsubq_f32(a, b);
    return vmulq_f32(difference, difference);
}

static inline float32x4_t absolute_difference(float32x4_t a, float32x4_t b)
{
    return vabsq_f32(vsubq_f32(a, b));
}

/* Up to three sums in one pass, each in the order of kernels.h. BODY and the terms see `at`, where
 * the next four floats are, and `end`, of their block; zero lanes must give 0. */
#define THREE_SUMS(n, BODY, A, B, C)                                                               \
    struct lanes lanes_a = lanes_zero(), lanes_b = lanes_zero(), lanes_c = lanes_zero();           \
    for (size_t begin = 0; begin < (n); begin += KERNEL_SUM_BLOCK) {                               \
        const size_t end = (n)-begin < KERNEL_SUM_BLOCK ? (n) : begin + KERNEL_SUM_BLOCK;          \
        float32x4_t a[4], b[4], c[4];                                                              \
        for (size_t i = 0; i < 4; i++) {                                                           \
            a[i] = b[i] = c[i] = vdupq_n_f32(0.0f);                                                \
        }                                                                                          \
        for (size_t j = begin; j < end; j += 16) {                                                 \
            for (size_t i = 0; i < 4; i++) {                                                       \
                const size_t at = j + 4 * i;                                                       \
                BODY;                                                                              \
                a[i] = vaddq_f32(a[i], A);                                                         \
                b[i] = vaddq_f32(b[i], B);                                                         \
                c[i] = vaddq_f32(c[i], C);                                                         \
            }                                                                                      \
        }                                                                                          \
        lanes_add(&lanes_a, a);                                                                    \
        lanes_add(&lanes_b, b);                                                                    \
        lanes_add(&lanes_c, c);                                                                    \
    }

#define NO_SUM vdupq_n_f32(0.0f)

#define SUM_OF(n, BODY, A)                                                                         \
    THREE_SUMS(n, BODY, A, NO_SUM, NO_SUM)                                                         \
    return lanes_total(&lanes_a)

#define LOAD_X const float32x4_t p = load_within(x, at, end)
#define LOAD_Y const float32x4_t q = load_bytes_within(y, at, end)
#define LOAD_HALVES const float32x4_t q = load_halves_within(y, at, end)

static double dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_Y, vmulq_f32(p, q));
}

static double squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_Y, squared_difference(p, q));
}

static double absolute_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_Y, absolute_difference(p, q));
}

static double dot_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_HALVES, vmulq_f32(p, q));
}

static double squared_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_HALVES, squared_difference(p, q));
}

static double absolute_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_HALVES, absolute_difference(p, q));
}

static double absolute_sum(const float *x, size_t n)
{
    SUM_OF(n, LOAD_X, vabsq_f32(p));
}

static struct centre_sums centre_sums(const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, LOAD_X; const float32x4_t q = load_within(y, at, end), vmulq_f32(p, q),
                          squared_difference(p, q), vmulq_f32(q, q))
    return (struct centre_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                lanes_total(&lanes_c)};
}

static struct residual_sums residual(float *out, const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, LOAD_X; const float32x4_t q = load_within(y, at, end);
               const float32x4_t r = vsubq_f32(p, q);
               store_within(out, at, end, r), vmulq_f32(r, q), vmulq_f32(r, r), vmulq_f32(p, p))
    return (struct residual_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                  lanes_total(&lanes_c)};
}

static inline int32x4_t load_integers(const int8_t *levels, size_t at, size_t end)
{
    int8_t bytes[8] = {0};
    if (at < end) {
        memcpy(bytes, levels + at, end - at < 4 ? end - at : 4);
    }
    return vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(bytes))));
}

static inline float32x4_t grid_of(int32x4_t levels)
{
    return vcvtq_f32_s32(vaddq_s32(vaddq_s32(levels, levels), vdupq_n_s32(1)));
}

/* Sums of x and y with the same level, of y none where there is no y. */
#define LEVEL_SUMS(n, BODY, TERM)                                                                  \
    const float *other = y != NULL ? y : x;                                                        \
    THREE_SUMS(n, BODY, TERM(load_within(x, at, end), level),                                      \
               TERM(load_within(other, at, end), level), NO_SUM)                                   \
    return (struct level_sums)                                                                     \
    {                                                                                              \
        lanes_total(&lanes_a), y != NULL ? lanes_total(&lanes_b) : 0.0                             \
    }

static struct level_sums level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, const float32x4_t level = vcvtq_f32_s32(load_integers(levels, at, end)),
               vmulq_f32);
}

static struct level_sums grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, const float32x4_t level = grid_of(load_integers(levels, at, end)), vmulq_f32);
}

static struct level_sums sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
{
    LEVEL_SUMS(n, const uint32x4_t level = sign_mask(at < end ? ~four_bits(bits, at) : 0u),
               flip_signs);
}

/* ---- encoding ---- */

static void subtract(float *out, const float *x, const float *y, size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        store_within(out, j, n, vsubq_f32(load_within(x, j, n), load_within(y, j, n)));
    }
}

/* Bit i: lane i of two masks of four. */
static inline unsigned bits_of(uint32x4_t low, uint32x4_t high)
{
    static const uint32_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u32(vandq_u32(low, vld1q_u32(bit))) +
           vaddvq_u32(vandq_u32(high, vld1q_u32(bit + 4)));
}

static inline uint32x4_t negative_lanes(float32x4_t x)
{
    return vcltzq_s32(vreinterpretq_s32_f32(x));
}

static void sign_bits(const float *x, size_t n, uint8_t *bits)
{
    for (size_t j = 0; j < n; j += 8) {
        const unsigned negative =
            bits_of(negative_lanes(load_within(x, j, n)), negative_lanes(load_within(x, j + 4, n)));
        const unsigned there = n - j < 8 ? (1u << (n - j)) - 1 : 255u;
        bits[j / 8] = (uint8_t)(~negative & there);
    }
}

/* Eight small integers as bytes. */
static inline int8x8_t eight_bytes(int32x4_t low, int32x4_t high)
{
    return vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high)));
}

static inline int32x4_t outer_level(float32x4_t x, uint32x4_t outer)
{
    const int32x4_t rise =
        vandq_s32(vreinterpretq_s32_u32(outer), vdupq_n_s32(CODEBOOK_OUTER_2 - CODEBOOK_LEVEL_2));
    const int32x4_t level = vaddq_s32(vdupq_n_s32(CODEBOOK_LEVEL_2), rise);
    return vbslq_s32(negative_lanes(x), vnegq_s32(level), level);
}

static void outer_levels(const float *x, size_t n, float threshold, uint8_t *bits, int8_t *levels)
{
    const float32x4_t limit = vdupq_n_f32(threshold);
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        const float32x4_t a = vld1q_f32(x + j), b = vld1q_f32(x + j + 4);
        const uint32x4_t outer_a = vcagtq_f32(a, limit), outer_b = vcagtq_f32(b, limit);
        bits[j / 8] = (uint8_t)bits_of(outer_a, outer_b);
        vst1_s8(levels + j, eight_bytes(outer_level(a, outer_a), outer_level(b, outer_b)));
    }
    if (j < n) {
        kernels_scalar.outer_levels(x + j, n - j, threshold, bits + j / 8, levels + j);
    }
}

static inline int32x4_t grid_level(float32x4_t x, float scale)
{
    const float32x4_t moved = vaddq_f32(vmulq_n_f32(x, scale), vdupq_n_f32(128.0f));
    /* the -nm forms give the number where the other is not one */
    const float32x4_t clamped =
        vminnmq_f32(vmaxnmq_f32(moved, vdupq_n_f32(0.0f)), vdupq_n_f32(255.0f));
    return vsubq_s32(vcvtq_s32_f32(clamped), vdupq_n_s32(128));
}

static void grid_levels(const float *x, size_t n, float scale, int8_t *levels)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        vst1_s8(levels + j, eight_bytes(grid_level(vld1q_f32(x + j), scale),
                                        grid_level(vld1q_f32(x + j + 4), scale)));
    }
    if (j < n) {
        kernels_scalar.grid_levels(x + j, n - j, scale, levels + j);
    }
}

/* Four vectors of small integers as bytes. */
static inline uint8x16_t pack_bytes(const uint32x4_t x[4])
{
    const uint16x8_t low = vcombine_u16(vmovn_u32(x[0]), vmovn_u32(x[1]));
    const uint16x8_t high = vcombine_u16(vmovn_u32(x[2]), vmovn_u32(x[3]));
    return vcombine_u8(vmovn_u16(low), vmovn_u16(high));
}

static void magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
{
    for (size_t j = 0; j < round_to_pad(n); j += 16) {
        uint32x4_t high[4], low[4], units[4];
        for (size_t i = 0; i < 4; i++) {
            const float32x4_t part = vabsq_f32(load_within(x, j + 4 * i, n));
            const float32x4_t scaled = vminnmq_f32(vmulq_n_f32(part, scale), vdupq_n_f32(4095.0f));
            const uint32x4_t magnitude = vcvtq_u32_f32(scaled);
            high[i] = vshrq_n_u32(magnitude, 8);
            low[i] = vandq_u32(magnitude, vdupq_n_u32(255));
            units[i] = vshrq_n_u32(vaddq_u32(magnitude, vdupq_n_u32(16)), 5);
        }
        vst1q_u8(out.high + j, pack_bytes(high));
        vst1q_u8(out.low + j, pack_bytes(low));
        vst1q_u8(out.units + j, pack_bytes(units));
    }
}

static inline uint8x16_t ranks_at(struct magnitudes magnitudes, size_t j,
                                  const struct rank_table *table)
{
    const uint8x16_t high = vld1q_u8(magnitudes.high + j), low = vld1q_u8(magnitudes.low + j);
    const uint8x16_t above = vcgtq_u8(low, vqtbl1q_u8(vld1q_u8(table->after), high));
    return vsubq_u8(vqtbl1q_u8(vld1q_u8(table->base), high), above);
}

/* Sums of products of bytes whose pairs fit 16 bits. */
static inline uint32x4_t add_products(uint32x4_t sums, uint8x16_t a, uint8x16_t b)
{
    const uint16x8_t low = vmull_u8(vget_low_u8(a), vget_low_u8(b));
    return vpadalq_u16(sums, vmlal_high_u8(low, a, b));
}

static void try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
                      uint32_t *dots, uint32_t *squares)
{
    for (size_t i = 0; i < KERNEL_TABLES; i++) {
        const uint8x16_t levels = vld1q_u8(tables[i].level);
        uint32x4_t dot_sums = vdupq_n_u32(0), square_sums = vdupq_n_u32(0);
        for (size_t j = 0; j < n; j += 16) {
            const uint8x16_t level = vqtbl1q_u8(levels, ranks_at(magnitudes, j, &tables[i]));
            dot_sums = add_products(dot_sums, vld1q_u8(magnitudes.units + j), level);
            square_sums = add_products(square_sums, level, level);
        }
        dots[i] = vaddvq_u32(dot_sums);
        squares[i] = vaddvq_u32(square_sums);
    }
}

static void take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
                       const struct rank_table *table, uint8_t *indices, int8_t *levels)
{
    const uint8x16_t level_of = vld1q_u8(table->level);
    for (size_t j = 0; j < round_to_pad(n); j += 16) {
        const uint8x16_t rank = ranks_at(magnitudes, j, table);
        uint32x4_t lanes[4];
        for (size_t i = 0; i < 4; i++) {
            lanes[i] = negative_lanes(load_within(x, j + 4 * i, n));
        }
        const uint8x16_t negative = pack_bytes(lanes);
        const int8x16_t level = vreinterpretq_s8_u8(vqtbl1q_u8(level_of, rank));
        vst1q_u8(indices + j,
                 vbslq_u8(negative, vsubq_u8(vdupq_n_u8(7), rank), vaddq_u8(rank, vdupq_n_u8(8))));
        vst1q_s8(levels + j, vbslq_s8(negative, vnegq_s8(level), level));
    }
}

/* ---- queries ---- */

static float largest(const float *x, size_t n)
{
    float32x4_t most = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < n; j += 4) {
        most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + j)));
    }
    return vmaxvq_f32(most);
}

static float widest_column(const float *x, size_t n, unsigned bits)
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

static void fill_lut(const float *x, size_t column_count, unsigned bits, float per_step,
                     uint8_t *lut)
{
    for (size_t column = 0; column < column_count; column++) {
        (bits == 2 ? fill_column_2 : fill_column_1)(x + column * (4 / bits), per_step,
                                                    lut + column * 16);
    }
}

static double quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
{
    SUM_OF(
        n, LOAD_X; const float32x4_t scaled = vmulq_n_f32(p, per_step);
        const float32x4_t away = vbslq_f32(vdupq_n_u32(0x80000000u), scaled, vdupq_n_f32(0.5f));
        const int32x4_t rounded = vcvtq_s32_f32(vaddq_f32(scaled, away)); int8_t bytes[8];
        vst1_s8(bytes, eight_bytes(rounded, rounded));
        if (at < end) { memcpy(out + at, bytes, end - at < 4 ? end - at : 4); },
        squared_difference(p, vmulq_n_f32(vcvtq_f32_s32(rounded), step)));
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

static void scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *sums)
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

/* ---- second stage ---- */

/* Sums of products of signed bytes whose pairs fit 16 bits. */
static inline int32x4_t add_signed(int32x4_t sums, int8x16_t a, int8x16_t b)
{
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    return vpadalq_s16(sums, vmlal_high_s8(low, a, b));
}

static struct row_sums row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
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

static struct row_sums row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
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

static void int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
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

const struct kernels kernels_neon = {
    .name = "neon",
    .supported = supported,
    .copy_signed = copy_signed,
    .permute = permute,
    .hadamard = hadamard,
    .dot = dot,
    .squared_distance = squared_distance,
    .absolute_distance = absolute_distance,
    .dot_half = dot_half,
    .squared_distance_half = squared_distance_half,
    .absolute_distance_half = absolute_distance_half,
    .absolute_sum = absolute_sum,
    .centre_sums = centre_sums,
    .level_sums = level_sums,
    .grid_sums = grid_sums,
    .sign_sums = sign_sums,
    .subtract = subtract,
    .residual = residual,
    .sign_bits = sign_bits,
    .outer_levels = outer_levels,
    .grid_levels = grid_levels,
    .magnitudes = magnitudes,
    .try_ranks = try_ranks,
    .take_ranks = take_ranks,
    .largest = largest,
    .widest_column = widest_column,
    .fill_lut = fill_lut,
    .quantise = quantise,
    .scan_sums = scan_sums,
    .scan_blocks = scan_blocks,
    .row_sums = row_sums,
    .row_sums_8 = row_sums_8,
    .int8_dots = int8_dots,
};

#else
enum { KERNELS_NEON_IS_FOR_AARCH64 }; /* a translation unit may not be empty */
#endif
