/* NEON (every 64-bit ARM, without the dot product extension): the same bytes as kernels_scalar.c.
 */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include <math.h>

#include "codec/codebook.h"
#include "codec/kernels_neon.h"

bool neon_supported(void)
{
    return true;
}

/* ---- rotation ---- */

void neon_copy_signed(float *out, const float *x, const uint8_t *bits, size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        store_within(out, j, n, flip_signs(load_within(x, j, n), sign_mask(four_bits(bits, j))));
    }
}

void neon_permute(float *out, const float *x, const uint16_t *sources, size_t n)
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

void neon_hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
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

double neon_dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_Y, vmulq_f32(p, q));
}

double neon_squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_Y, squared_difference(p, q));
}

double neon_absolute_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_Y, absolute_difference(p, q));
}

double neon_dot_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_HALVES, vmulq_f32(p, q));
}

double neon_squared_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_HALVES, squared_difference(p, q));
}

double neon_absolute_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, LOAD_X; LOAD_HALVES, absolute_difference(p, q));
}

double neon_absolute_sum(const float *x, size_t n)
{
    SUM_OF(n, LOAD_X, vabsq_f32(p));
}

struct centre_sums neon_centre_sums(const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, LOAD_X; const float32x4_t q = load_within(y, at, end), vmulq_f32(p, q),
                          squared_difference(p, q), vmulq_f32(q, q))
    return (struct centre_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                lanes_total(&lanes_c)};
}

struct residual_sums neon_residual(float *out, const float *x, const float *y, size_t n)
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

struct level_sums neon_level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, const float32x4_t level = vcvtq_f32_s32(load_integers(levels, at, end)),
               vmulq_f32);
}

struct level_sums neon_grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, const float32x4_t level = grid_of(load_integers(levels, at, end)), vmulq_f32);
}

struct level_sums neon_sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
{
    LEVEL_SUMS(n, const uint32x4_t level = sign_mask(at < end ? ~four_bits(bits, at) : 0u),
               flip_signs);
}

/* ---- encoding ---- */

void neon_subtract(float *out, const float *x, const float *y, size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        store_within(out, j, n, vsubq_f32(load_within(x, j, n), load_within(y, j, n)));
    }
}

static inline uint32x4_t negative_lanes(float32x4_t x)
{
    return vcltzq_s32(vreinterpretq_s32_f32(x));
}

void neon_sign_bits(const float *x, size_t n, uint8_t *bits)
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

void neon_outer_levels(const float *x, size_t n, float threshold, uint8_t *bits, int8_t *levels)
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

void neon_grid_levels(const float *x, size_t n, float scale, int8_t *levels)
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

void neon_magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
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

void neon_try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
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

void neon_take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
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

double neon_quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
{
    SUM_OF(
        n, LOAD_X; const float32x4_t scaled = vmulq_n_f32(p, per_step);
        const float32x4_t away = vbslq_f32(vdupq_n_u32(0x80000000u), scaled, vdupq_n_f32(0.5f));
        const int32x4_t rounded = vcvtq_s32_f32(vaddq_f32(scaled, away)); int8_t bytes[8];
        vst1_s8(bytes, eight_bytes(rounded, rounded));
        if (at < end) { memcpy(out + at, bytes, end - at < 4 ? end - at : 4); },
        squared_difference(p, vmulq_n_f32(vcvtq_f32_s32(rounded), step)));
}

const struct kernels kernels_neon = {.name = "neon", KERNEL_ALL(KERNEL_ENTRY, neon)};

#else
enum { KERNELS_NEON_IS_FOR_AARCH64 }; /* a translation unit may not be empty */
#endif
