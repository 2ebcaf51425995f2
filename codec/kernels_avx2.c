/* AVX2 (every x86-64 server since 2015): the same bytes as kernels_scalar.c. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "codec/codebook.h"
#include "codec/kernels_avx2.h"

/* Every CPU with AVX2 has F16C, a name that clang's builtin does not know. */
static bool supported(void)
{
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

/* ---- memory ---- */

static inline __m256i load_bytes(const void *bytes)
{
    return _mm256_loadu_si256(bytes);
}

static inline __m256 load_floats(const void *bytes)
{
    return _mm256_loadu_ps(bytes);
}

/* All ones in the first n of 8 lanes. */
static inline __m256i lane_mask(size_t n)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n < 8 ? n : 8)), lanes);
}

/* The first n of 8 floats, the others zero; memory past them is not touched. */
static inline __m256 load_first(const void *bytes, size_t n)
{
    return _mm256_maskload_ps(bytes, lane_mask(n));
}

static inline __m256 absolute(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* ---- rotation ---- */

/* The sign bit in each lane whose bit is set. */
static inline __m256 sign_mask(uint8_t bits)
{
    const __m256i shifts = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const __m256i shifted = _mm256_sllv_epi32(_mm256_set1_epi32(bits), shifts);
    return _mm256_and_ps(_mm256_castsi256_ps(shifted), _mm256_set1_ps(-0.0f));
}

void avx2_copy_signed(float *out, const float *x, const uint8_t *bits, size_t n)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        _mm256_storeu_ps(out + j, _mm256_xor_ps(load_floats(x + j), sign_mask(bits[j / 8])));
    }
    if (j < n) {
        const __m256 flipped = _mm256_xor_ps(load_first(x + j, n - j), sign_mask(bits[j / 8]));
        _mm256_maskstore_ps(out + j, lane_mask(n - j), flipped);
    }
}

/* Four at a time, put together in a register: 174 ns for 768 on Zen 4, where storing one by one
 * takes 430 and gathers 285. */
void avx2_permute(float *out, const float *x, const uint16_t *sources, size_t n)
{
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        uint64_t at;
        memcpy(&at, sources + j, sizeof at);
        __m128 four = _mm_load_ss(x + (at & 0xffff));
        four = _mm_insert_ps(four, _mm_load_ss(x + (at >> 16 & 0xffff)), 0x10);
        four = _mm_insert_ps(four, _mm_load_ss(x + (at >> 32 & 0xffff)), 0x20);
        four = _mm_insert_ps(four, _mm_load_ss(x + (at >> 48)), 0x30);
        _mm_storeu_ps(out + j, four);
    }
    for (; j < n; j++) {
        out[j] = x[sources[j]];
    }
}

/* Butterflies over distances 1, 2 and 4 of eight floats: the operand in place times 1 or -1, plus
 * the other. Multiplying by 1 is exact, so that the fused operation rounds as a sum does. */
static inline __m256 butterflies_of_eight(__m256 x)
{
    const __m256 odd = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    const __m256 pair = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    const __m256 half = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
    x = _mm256_fmadd_ps(x, odd, _mm256_permute_ps(x, 0xb1));
    x = _mm256_fmadd_ps(x, pair, _mm256_permute_ps(x, 0x4e));
    return _mm256_fmadd_ps(x, half, _mm256_permute2f128_ps(x, x, 1));
}

static inline void butterfly(__m256 *a, __m256 *b)
{
    const __m256 sum = _mm256_add_ps(*a, *b);
    *b = _mm256_sub_ps(*a, *b);
    *a = sum;
}

/* Distances 1, 2 and 4 of eight rows. */
static inline void butterflies_of_rows(__m256 r[8])
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

/* Distances d, 2d and 4d of eight rows in one pass over memory. */
static void butterflies_three(float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i += 8 * d) {
        for (size_t j = i; j < i + d; j += 8) {
            __m256 r[8];
            for (size_t k = 0; k < 8; k++) {
                r[k] = load_floats(x + j + k * d);
            }
            butterflies_of_rows(r);
            for (size_t k = 0; k < 8; k++) {
                _mm256_storeu_ps(x + j + k * d, r[k]);
            }
        }
    }
}

static void butterflies_one(float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i += 2 * d) {
        for (size_t j = i; j < i + d; j += 8) {
            __m256 a = load_floats(x + j), b = load_floats(x + j + d);
            butterfly(&a, &b);
            _mm256_storeu_ps(x + j, a);
            _mm256_storeu_ps(x + j + d, b);
        }
    }
}

static inline __m256 load_signed(const float *x, uint8_t bits, __m256 scale)
{
    return butterflies_of_eight(
        _mm256_mul_ps(_mm256_xor_ps(load_floats(x), sign_mask(bits)), scale));
}

static void hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
{
    if (n < 8) {
        kernels_scalar.hadamard(out, x, bits, n, scale);
        return;
    }
    const __m256 scales = _mm256_set1_ps(scale);
    size_t d = n < 64 ? 8 : 64;
    if (n < 64) {
        for (size_t j = 0; j < n; j += 8) {
            _mm256_storeu_ps(out + j, load_signed(x + j, bits[j / 8], scales));
        }
    } else {
        for (size_t j = 0; j < n; j += 64) { /* distances 1 to 32 without leaving the registers */
            __m256 r[8];
            for (size_t k = 0; k < 8; k++) {
                r[k] = load_signed(x + j + 8 * k, bits[j / 8 + k], scales);
            }
            butterflies_of_rows(r);
            for (size_t k = 0; k < 8; k++) {
                _mm256_storeu_ps(out + j + 8 * k, r[k]);
            }
        }
    }
    for (; d * 8 <= n; d *= 8) {
        butterflies_three(out, n, d);
    }
    for (; d < n; d *= 2) {
        butterflies_one(out, n, d);
    }
}

/* ---- sums ---- */

/* Sixteen lanes as four vectors of doubles, in order. */
struct lanes {
    __m256d done[4];
};

static inline struct lanes lanes_zero(void)
{
    const __m256d zero = _mm256_setzero_pd();
    return (struct lanes){{zero, zero, zero, zero}};
}

static inline void lanes_add(struct lanes *lanes, __m256 a, __m256 b)
{
    const __m256d parts[4] = {
        _mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)),
        _mm256_cvtps_pd(_mm256_castps256_ps128(b)), _mm256_cvtps_pd(_mm256_extractf128_ps(b, 1))};
    for (size_t i = 0; i < 4; i++) {
        lanes->done[i] = _mm256_add_pd(lanes->done[i], parts[i]);
    }
}

static inline double lanes_total(const struct lanes *lanes)
{
    const __m256d low = _mm256_add_pd(lanes->done[0], lanes->done[2]);
    const __m256d high = _mm256_add_pd(lanes->done[1], lanes->done[3]);
    const __m256d four = _mm256_add_pd(low, high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

static inline __m256 product_of(__m256 a, __m256 b)
{
    return _mm256_mul_ps(a, b);
}

static inline __m256 squared_difference(__m256 a, __m256 b)
{
    const __m256 difference = _mm256_sub_ps(a, b);
    return _mm256_mul_ps(difference, difference);
}

static inline __m256 absolute_difference(__m256 a, __m256 b)
{
    return absolute(_mm256_sub_ps(a, b));
}

/* The order of kernels.h for a TERM of two vectors, A of x and B of y, whose zero lanes give 0.
 * LOAD and LOAD_FIRST read eight of y at element j. Two blocks go side by side, since one alone
 * waits for its own additions. */
#define SUM_OF(n, LOAD, LOAD_FIRST, TERM)                                                          \
    struct lanes lanes = lanes_zero();                                                             \
    size_t j = 0;                                                                                  \
    for (; j + 2 * KERNEL_SUM_BLOCK <= (n); j += KERNEL_SUM_BLOCK) {                               \
        const size_t end = j + KERNEL_SUM_BLOCK;                                                   \
        __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),           \
                          _mm256_setzero_ps()};                                                    \
        for (; j < end; j += 16) {                                                                 \
            const size_t k = j + KERNEL_SUM_BLOCK;                                                 \
            sums[0] = _mm256_add_ps(sums[0], TERM(load_floats(x + j), LOAD(j)));                   \
            sums[1] = _mm256_add_ps(sums[1], TERM(load_floats(x + j + 8), LOAD(j + 8)));           \
            sums[2] = _mm256_add_ps(sums[2], TERM(load_floats(x + k), LOAD(k)));                   \
            sums[3] = _mm256_add_ps(sums[3], TERM(load_floats(x + k + 8), LOAD(k + 8)));           \
        }                                                                                          \
        lanes_add(&lanes, sums[0], sums[1]);                                                       \
        lanes_add(&lanes, sums[2], sums[3]);                                                       \
    }                                                                                              \
    while (j < (n)) {                                                                              \
        const size_t end = (n)-j < KERNEL_SUM_BLOCK ? (n) : j + KERNEL_SUM_BLOCK;                  \
        __m256 first = _mm256_setzero_ps(), second = _mm256_setzero_ps();                          \
        for (; j + 16 <= end; j += 16) {                                                           \
            first = _mm256_add_ps(first, TERM(load_floats(x + j), LOAD(j)));                       \
            second = _mm256_add_ps(second, TERM(load_floats(x + j + 8), LOAD(j + 8)));             \
        }                                                                                          \
        if (j < end) {                                                                             \
            const size_t left = end - j;                                                           \
            first = _mm256_add_ps(first, TERM(load_first(x + j, left), LOAD_FIRST(j, left)));      \
            if (left > 8) {                                                                        \
                second = _mm256_add_ps(                                                            \
                    second, TERM(load_first(x + j + 8, left - 8), LOAD_FIRST(j + 8, left - 8)));   \
            }                                                                                      \
            j = end;                                                                               \
        }                                                                                          \
        lanes_add(&lanes, first, second);                                                          \
    }                                                                                              \
    return lanes_total(&lanes)

#define FLOATS_OF_Y(j) load_floats(y + (j) * sizeof(float))
#define FIRST_OF_Y(j, n) load_first(y + (j) * sizeof(float), n)

static double dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, product_of);
}

static double squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, squared_difference);
}

static double absolute_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, absolute_difference);
}

static inline __m256 load_halves(const uint8_t *halves)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)halves));
}

static inline __m256 load_first_halves(const uint8_t *halves, size_t n)
{
    uint8_t first[16] = {0};
    memcpy(first, halves, 2 * (n < 8 ? n : 8));
    return load_halves(first);
}

#define HALVES_OF_Y(j) load_halves(y + (j)*2)
#define FIRST_HALVES_OF_Y(j, n) load_first_halves(y + (j)*2, n)

static double dot_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, product_of);
}

static double squared_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, squared_difference);
}

static double absolute_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, absolute_difference);
}

static inline __m256 absolute_first(__m256 a, __m256 b)
{
    (void)b;
    return absolute(a);
}

#define NOTHING(j) _mm256_setzero_ps()
#define NOTHING_FIRST(j, n) _mm256_setzero_ps()

static double absolute_sum(const float *x, size_t n)
{
    SUM_OF(n, NOTHING, NOTHING_FIRST, absolute_first);
}

/* Eight floats at element `at` of a block that ends at `end`, zero past it. */
static inline __m256 load_within(const float *x, size_t at, size_t end)
{
    return at + 8 <= end ? load_floats(x + at)
                         : load_first(x + (at < end ? at : 0), at < end ? end - at : 0);
}

/* Three sums in one pass, each in the order of a sum on its own. */
#define THREE_SUMS(n, BODY, A, B, C)                                                               \
    struct lanes lanes_a = lanes_zero(), lanes_b = lanes_zero(), lanes_c = lanes_zero();           \
    for (size_t begin = 0; begin < (n); begin += KERNEL_SUM_BLOCK) {                               \
        const size_t end = (n)-begin < KERNEL_SUM_BLOCK ? (n) : begin + KERNEL_SUM_BLOCK;          \
        __m256 a[2], b[2], c[2];                                                                   \
        for (size_t i = 0; i < 2; i++) {                                                           \
            a[i] = b[i] = c[i] = _mm256_setzero_ps();                                              \
        }                                                                                          \
        for (size_t j = begin; j < end; j += 16) {                                                 \
            for (size_t i = 0; i < 2; i++) {                                                       \
                const size_t at = j + 8 * i;                                                       \
                BODY;                                                                              \
                a[i] = _mm256_add_ps(a[i], A);                                                     \
                b[i] = _mm256_add_ps(b[i], B);                                                     \
                c[i] = _mm256_add_ps(c[i], C);                                                     \
            }                                                                                      \
        }                                                                                          \
        lanes_add(&lanes_a, a[0], a[1]);                                                           \
        lanes_add(&lanes_b, b[0], b[1]);                                                           \
        lanes_add(&lanes_c, c[0], c[1]);                                                           \
    }

static struct centre_sums centre_sums(const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, const __m256 p = load_within(x, at, end);
               const __m256 q = load_within(y, at, end), _mm256_mul_ps(p, q),
               squared_difference(p, q), _mm256_mul_ps(q, q));
    return (struct centre_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                lanes_total(&lanes_c)};
}

static inline void store_within(float *out, size_t at, size_t end, __m256 values)
{
    if (at + 8 <= end) {
        _mm256_storeu_ps(out + at, values);
    } else if (at < end) {
        _mm256_maskstore_ps(out + at, lane_mask(end - at), values);
    }
}

static struct residual_sums residual(float *out, const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, const __m256 p = load_within(x, at, end);
               const __m256 q = load_within(y, at, end); const __m256 r = _mm256_sub_ps(p, q);
               store_within(out, at, end, r), _mm256_mul_ps(r, q), _mm256_mul_ps(r, r),
               _mm256_mul_ps(p, p));
    return (struct residual_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                  lanes_total(&lanes_c)};
}

static inline __m256i load_integers(const int8_t *levels)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)levels));
}

static inline __m256i load_integers_within(const int8_t *levels, size_t at, size_t end)
{
    if (at + 8 <= end) {
        return load_integers(levels + at);
    }
    int8_t first[8] = {0};
    memcpy(first, levels + (at < end ? at : 0), at < end ? end - at : 0);
    return load_integers(first);
}

static inline __m256 grid_of(__m256i levels)
{
    const __m256i twice = _mm256_add_epi32(levels, levels);
    return _mm256_cvtepi32_ps(_mm256_add_epi32(twice, _mm256_set1_epi32(1)));
}

/* Two sums of x and y with the same LEVEL, of y none where there is no y. */
#define LEVEL_SUMS(n, LEVEL)                                                                       \
    const float *other = y != NULL ? y : x;                                                        \
    THREE_SUMS(n, const __m256 level = LEVEL, _mm256_mul_ps(load_within(x, at, end), level),       \
               _mm256_mul_ps(load_within(other, at, end), level), _mm256_setzero_ps());            \
    return (struct level_sums)                                                                     \
    {                                                                                              \
        lanes_total(&lanes_a), y != NULL ? lanes_total(&lanes_b) : 0.0                             \
    }

static struct level_sums level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, _mm256_cvtepi32_ps(load_integers_within(levels, at, end)));
}

static struct level_sums grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, grid_of(load_integers_within(levels, at, end)));
}

/* 1 or -1 for eight bits. */
static inline __m256 signs_of(uint8_t bits)
{
    return _mm256_xor_ps(sign_mask((uint8_t)~bits), _mm256_set1_ps(1.0f));
}

static struct level_sums sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
{
    LEVEL_SUMS(n, signs_of(at < end ? bits[at / 8] : 0));
}

/* ---- encoding ---- */

void avx2_subtract(float *out, const float *x, const float *y, size_t n)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        _mm256_storeu_ps(out + j, _mm256_sub_ps(load_floats(x + j), load_floats(y + j)));
    }
    for (; j < n; j++) {
        out[j] = x[j] - y[j];
    }
}

static void sign_bits(const float *x, size_t n, uint8_t *bits)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        bits[j / 8] = (uint8_t)~_mm256_movemask_ps(load_floats(x + j));
    }
    if (j < n) {
        const int negative = _mm256_movemask_ps(load_first(x + j, n - j));
        bits[j / 8] = (uint8_t)(~negative & ((1 << (n - j)) - 1));
    }
}

/* Eight small 32-bit integers as bytes. */
static inline void store_eight(int8_t *out, __m256i integers)
{
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
    _mm_storel_epi64((void *)out, _mm_packs_epi16(words, words));
}

void avx2_outer_levels(const float *x, size_t n, float threshold, uint8_t *bits, int8_t *levels)
{
    const __m256i inner = _mm256_set1_epi32(CODEBOOK_LEVEL_2);
    const __m256i rise = _mm256_set1_epi32(CODEBOOK_OUTER_2 - CODEBOOK_LEVEL_2);
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        const __m256 part = load_floats(x + j);
        const __m256 above = _mm256_cmp_ps(absolute(part), _mm256_set1_ps(threshold), _CMP_GT_OQ);
        const __m256i level =
            _mm256_add_epi32(inner, _mm256_and_si256(_mm256_castps_si256(above), rise));
        const __m256i negative = _mm256_srai_epi32(_mm256_castps_si256(part), 31);
        bits[j / 8] = (uint8_t)_mm256_movemask_ps(above);
        store_eight(levels + j, _mm256_sub_epi32(_mm256_xor_si256(level, negative), negative));
    }
    if (j < n) {
        kernels_scalar.outer_levels(x + j, n - j, threshold, bits + j / 8, levels + j);
    }
}

void avx2_grid_levels(const float *x, size_t n, float scale, int8_t *levels)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        const __m256 scaled = _mm256_mul_ps(load_floats(x + j), _mm256_set1_ps(scale));
        const __m256 moved = _mm256_add_ps(scaled, _mm256_set1_ps(128.0f));
        /* max and min give their second operand for not a number: 0 as in the scalar kernel */
        const __m256 clamped =
            _mm256_min_ps(_mm256_max_ps(moved, _mm256_setzero_ps()), _mm256_set1_ps(255.0f));
        const __m256i k = _mm256_sub_epi32(_mm256_cvttps_epi32(clamped), _mm256_set1_epi32(128));
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(k), _mm256_extracti128_si256(k, 1));
        _mm_storel_epi64((void *)(levels + j), _mm_packs_epi16(words, words));
    }
    if (j < n) {
        kernels_scalar.grid_levels(x + j, n - j, scale, levels + j);
    }
}

/* Eight magnitudes of 12 bits as 32-bit integers. */
static inline __m256i magnitudes_of(__m256 x, __m256 scale)
{
    const __m256 scaled = _mm256_mul_ps(absolute(x), scale);
    return _mm256_cvttps_epi32(_mm256_min_ps(scaled, _mm256_set1_ps(4095.0f)));
}

/* Four vectors of small 32-bit integers as bytes in order. */
static inline __m256i pack_bytes(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static inline void magnitudes_of_32(const __m256 *x, float scale, struct magnitudes out, size_t j)
{
    const __m256 scales = _mm256_set1_ps(scale);
    const __m256i low_byte = _mm256_set1_epi32(255), half = _mm256_set1_epi32(16);
    __m256i high[4], low[4], units[4];
    for (size_t i = 0; i < 4; i++) {
        const __m256i magnitude = magnitudes_of(x[i], scales);
        high[i] = _mm256_srli_epi32(magnitude, 8);
        low[i] = _mm256_and_si256(magnitude, low_byte);
        units[i] = _mm256_srli_epi32(_mm256_add_epi32(magnitude, half), 5);
    }
    _mm256_storeu_si256((void *)(out.high + j), pack_bytes(high[0], high[1], high[2], high[3]));
    _mm256_storeu_si256((void *)(out.low + j), pack_bytes(low[0], low[1], low[2], low[3]));
    _mm256_storeu_si256((void *)(out.units + j),
                        pack_bytes(units[0], units[1], units[2], units[3]));
}

static void magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
{
    for (size_t j = 0; j < round_to_pad(n); j += 32) {
        __m256 parts[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t at = j + 8 * i;
            parts[i] = at + 8 <= n ? load_floats(x + at)
                                   : load_first(x + (at < n ? at : 0), at < n ? n - at : 0);
        }
        magnitudes_of_32(parts, scale, out, j);
    }
}

static inline __m256i load_table(const uint8_t *table)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
}

/* Rank tables in registers; low bytes and thresholds moved by 128 for the signed comparison. */
struct ranks {
    __m256i base, after, level;
};

static inline struct ranks ranks_load(const struct rank_table *table)
{
    return (struct ranks){
        load_table(table->base),
        _mm256_xor_si256(load_table(table->after), _mm256_set1_epi8(-128)),
        load_table(table->level),
    };
}

static inline __m256i ranks_at(struct magnitudes magnitudes, size_t j, struct ranks ranks)
{
    const __m256i high = load_bytes(magnitudes.high + j);
    const __m256i low = _mm256_xor_si256(load_bytes(magnitudes.low + j), _mm256_set1_epi8(-128));
    const __m256i above = _mm256_cmpgt_epi8(low, _mm256_shuffle_epi8(ranks.after, high));
    return _mm256_sub_epi8(_mm256_shuffle_epi8(ranks.base, high), above);
}

static inline uint32_t sum_of_eight(__m256i x)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(sum);
}

static void try_table(struct magnitudes magnitudes, size_t n, const struct rank_table *table,
                      uint32_t *dot_out, uint32_t *square_out)
{
    const struct ranks ranks = ranks_load(table);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i dots = _mm256_setzero_si256(), squares = _mm256_setzero_si256();
    for (size_t j = 0; j < n; j += 32) {
        const __m256i level = _mm256_shuffle_epi8(ranks.level, ranks_at(magnitudes, j, ranks));
        /* pairs: at most 2 * 128 * 104, no saturation */
        const __m256i products = _mm256_maddubs_epi16(load_bytes(magnitudes.units + j), level);
        const __m256i own = _mm256_maddubs_epi16(level, level);
        dots = _mm256_add_epi32(dots, _mm256_madd_epi16(products, ones));
        squares = _mm256_add_epi32(squares, _mm256_madd_epi16(own, ones));
    }
    *dot_out = sum_of_eight(dots);
    *square_out = sum_of_eight(squares);
}

static void try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
                      uint32_t *dots, uint32_t *squares)
{
    for (size_t i = 0; i < KERNEL_TABLES; i++) {
        try_table(magnitudes, n, &tables[i], &dots[i], &squares[i]);
    }
}

/* 0xff in byte i for float j + i below zero (or -0), of those that exist. */
static inline __m256i negative_bytes(const float *x, size_t n, size_t j)
{
    uint32_t negative = 0;
    for (size_t i = 0; i < 32 && j + i < n; i += 8) {
        const size_t at = j + i;
        const __m256 part = at + 8 <= n ? load_floats(x + at) : load_first(x + at, n - at);
        negative |= (uint32_t)_mm256_movemask_ps(part) << i;
    }
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)negative), spread);
    return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
}

static void take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
                       const struct rank_table *table, uint8_t *indices, int8_t *levels)
{
    const struct ranks ranks = ranks_load(table);
    const __m256i eight = _mm256_set1_epi8(8);
    for (size_t j = 0; j < round_to_pad(n); j += 32) {
        const __m256i rank = ranks_at(magnitudes, j, ranks);
        const __m256i negative = negative_bytes(x, n, j);
        const __m256i level = _mm256_shuffle_epi8(ranks.level, rank);
        /* below zero: ~rank + 8 = 7 - rank, and ~level + 1 */
        const __m256i index = _mm256_add_epi8(_mm256_xor_si256(rank, negative), eight);
        const __m256i own = _mm256_sub_epi8(_mm256_xor_si256(level, negative), negative);
        _mm256_storeu_si256((void *)(indices + j), index);
        _mm256_storeu_si256((void *)(levels + j), own);
    }
}

/* ---- queries ---- */

static inline float most_of_eight(__m256 x)
{
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

float avx2_largest(const float *x, size_t n)
{
    __m256 most = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j += 8) {
        most = _mm256_max_ps(most, absolute(load_floats(x + j)));
    }
    return most_of_eight(most);
}

float avx2_widest_column(const float *x, size_t n, unsigned bits)
{
    __m256 widest = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j += 16) {
        __m256 sums =
            _mm256_hadd_ps(absolute(load_floats(x + j)), absolute(load_floats(x + j + 8)));
        sums = bits == 2 ? sums : _mm256_hadd_ps(sums, sums);
        widest = _mm256_max_ps(widest, sums);
    }
    return 2.0f * most_of_eight(widest);
}

/* Entries from their sums in two halves, at most 255. */
static inline void store_entries(uint8_t *entries, __m256 low, __m256 high)
{
    const __m256 half = _mm256_set1_ps(0.5f), most = _mm256_set1_ps(255.0f);
    const __m256i a = _mm256_cvttps_epi32(_mm256_min_ps(_mm256_add_ps(low, half), most));
    const __m256i b = _mm256_cvttps_epi32(_mm256_min_ps(_mm256_add_ps(high, half), most));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
    _mm_storeu_si128((void *)entries, _mm_packus_epi16(_mm256_castsi256_si128(words),
                                                       _mm256_extracti128_si256(words, 1)));
}

/* All ones unless x > 0: then a dim's ranks count down. */
static inline __m256 flips_of(__m256 x)
{
    return _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NGT_UQ);
}

static inline __m256 lane_of(__m256 x, int lane)
{
    return _mm256_permutevar8x32_ps(x, _mm256_set1_epi32(lane));
}

static void fill_lut_1(const float *x, size_t column_count, float per_step, uint8_t *lut)
{
    const __m256 set[3] = {
        _mm256_castsi256_ps(_mm256_setr_epi32(0, -1, 0, -1, 0, -1, 0, -1)),
        _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1)),
        _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, 0, 0, -1, -1, -1, -1)),
    };
    for (size_t column = 0; column < column_count; column++) {
        const __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(x + column * 4));
        const __m256 twice = _mm256_mul_ps(_mm256_set1_ps(2.0f), absolute(four));
        const __m256 ranges = _mm256_mul_ps(twice, _mm256_set1_ps(per_step));
        const __m256 flips = flips_of(four);
        __m256 sums = _mm256_and_ps(lane_of(ranges, 0), _mm256_xor_ps(set[0], lane_of(flips, 0)));
        for (int i = 1; i < 3; i++) {
            sums = _mm256_add_ps(
                sums, _mm256_and_ps(lane_of(ranges, i), _mm256_xor_ps(set[i], lane_of(flips, i))));
        }
        const __m256 last = lane_of(ranges, 3), down = lane_of(flips, 3);
        store_entries(lut + column * 16, _mm256_add_ps(sums, _mm256_and_ps(last, down)),
                      _mm256_add_ps(sums, _mm256_andnot_ps(down, last)));
    }
}

static void fill_lut_2(const float *x, size_t column_count, float per_step, uint8_t *lut)
{
    const float a = 0.0f, b = CODEBOOK_RISE_2, c = 1.0f - CODEBOOK_RISE_2, d = 1.0f;
    const __m256 up = _mm256_setr_ps(a, b, c, d, a, b, c, d);
    const __m256 down = _mm256_setr_ps(d, c, b, a, d, c, b, a);
    const __m256 low_up = _mm256_setr_ps(a, a, a, a, b, b, b, b);
    const __m256 low_down = _mm256_setr_ps(d, d, d, d, c, c, c, c);
    const __m256 high_up = _mm256_setr_ps(c, c, c, c, d, d, d, d);
    const __m256 high_down = _mm256_setr_ps(b, b, b, b, a, a, a, a);
    for (size_t column = 0; column < column_count; column++) {
        const __m256 p = _mm256_set1_ps(x[column * 2]), q = _mm256_set1_ps(x[column * 2 + 1]);
        const __m256 two = _mm256_set1_ps(2.0f), steps = _mm256_set1_ps(per_step);
        const __m256 range_p = _mm256_mul_ps(_mm256_mul_ps(two, absolute(p)), steps);
        const __m256 range_q = _mm256_mul_ps(_mm256_mul_ps(two, absolute(q)), steps);
        const __m256 flip_p = flips_of(p), flip_q = flips_of(q);
        const __m256 first = _mm256_mul_ps(range_p, _mm256_blendv_ps(up, down, flip_p));
        const __m256 low = _mm256_mul_ps(range_q, _mm256_blendv_ps(low_up, low_down, flip_q));
        const __m256 high = _mm256_mul_ps(range_q, _mm256_blendv_ps(high_up, high_down, flip_q));
        store_entries(lut + column * 16, _mm256_add_ps(first, low), _mm256_add_ps(first, high));
    }
}

static void fill_lut(const float *x, size_t column_count, unsigned bits, float per_step,
                     uint8_t *lut)
{
    (bits == 2 ? fill_lut_2 : fill_lut_1)(x, column_count, per_step, lut);
}

static double quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
{
    const __m256 per_steps = _mm256_set1_ps(per_step), steps = _mm256_set1_ps(step);
    const __m256 sign = _mm256_set1_ps(-0.0f), half = _mm256_set1_ps(0.5f);
    THREE_SUMS(
        n, const __m256 part = load_within(x, at, end);
        const __m256 scaled = _mm256_mul_ps(part, per_steps);
        const __m256 away = _mm256_or_ps(_mm256_and_ps(scaled, sign), half);
        const __m256i rounded = _mm256_cvttps_epi32(_mm256_add_ps(scaled, away));
        const __m256 off = _mm256_sub_ps(part, _mm256_mul_ps(_mm256_cvtepi32_ps(rounded), steps));
        if (at + 8 <= end) { store_eight(out + at, rounded); } else if (at < end) {
            int8_t last[8];
            store_eight(last, rounded);
            memcpy(out + at, last, end - at);
        },
        _mm256_mul_ps(off, off), _mm256_setzero_ps(), _mm256_setzero_ps());
    return lanes_total(&lanes_a);
}

/* ---- first stage ---- */

/* Sums of 32 lanes, in order, as four vectors of 32-bit integers. */
struct sums {
    __m256i of[4];
};

static inline __m256i widen(__m256i sums)
{
    return _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums)),
                            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1)));
}

/* Two columns, one in each half, in 16-bit sums of low and high nibbles: .. holds even bytes plus
 * 256 times the odd ones, modulo 2^16, and ..odd the odd ones. */
struct columns {
    __m256i low, low_odd, high, high_odd;
};

static inline void columns_add(struct columns *sums, __m256i codes, __m256i lut)
{
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(lut, _mm256_and_si256(codes, mask));
    const __m256i high =
        _mm256_shuffle_epi8(lut, _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask));
    sums->low = _mm256_add_epi16(sums->low, low);
    sums->low_odd = _mm256_add_epi16(sums->low_odd, _mm256_srli_epi16(low, 8));
    sums->high = _mm256_add_epi16(sums->high, high);
    sums->high_odd = _mm256_add_epi16(sums->high_odd, _mm256_srli_epi16(high, 8));
}

/* Even bytes are lanes 0..7, odd ones 8..15. */
static inline void columns_flush(const struct columns *sums, struct sums *total)
{
    const __m256i low = _mm256_sub_epi16(sums->low, _mm256_slli_epi16(sums->low_odd, 8));
    const __m256i high = _mm256_sub_epi16(sums->high, _mm256_slli_epi16(sums->high_odd, 8));
    total->of[0] = _mm256_add_epi32(total->of[0], widen(low));
    total->of[1] = _mm256_add_epi32(total->of[1], widen(sums->low_odd));
    total->of[2] = _mm256_add_epi32(total->of[2], widen(high));
    total->of[3] = _mm256_add_epi32(total->of[3], widen(sums->high_odd));
}

/* 256 steps of 255 still fit 16 bits. */
#define FLUSH_PAIRS ((size_t)256)

/* An odd last column goes with the 16 bytes behind it, whose entries are zero. */
static inline struct sums block_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut)
{
    const __m256i zero = _mm256_setzero_si256();
    struct sums total = {{zero, zero, zero, zero}};
    const size_t pairs = (column_count + 1) / 2;
    for (size_t pair = 0; pair < pairs;) {
        struct columns sums = {zero, zero, zero, zero};
        const size_t end = pairs - pair < FLUSH_PAIRS ? pairs : pair + FLUSH_PAIRS;
        for (; pair < end; pair++) {
            columns_add(&sums, load_bytes(codes + pair * 32), load_bytes(lut + pair * 32));
        }
        columns_flush(&sums, &total);
    }
    return total;
}

static void scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *sums)
{
    const struct sums total = block_sums(codes, column_count, lut);
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_si256((void *)(sums + 8 * i), total.of[i]);
    }
}

/* Bounds of eight lanes; not a number becomes +infinity, since min gives its second operand. */
static inline __m256 bounds_of(__m256i sums, const uint8_t *f_mul, const struct scan_line *line)
{
    const __m256 ip =
        _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(line->step)),
                      _mm256_set1_ps(line->bias));
    const __m256 shifted = _mm256_add_ps(_mm256_mul_ps(load_floats(f_mul), ip),
                                         load_floats(f_mul + 32 * sizeof(float)));
    const __m256 bound = _mm256_add_ps(shifted, _mm256_set1_ps(line->add));
    return _mm256_min_ps(bound, _mm256_set1_ps(INFINITY));
}

static inline uint32_t block_bounds(const uint8_t *block, struct block_shape shape,
                                    const struct scan_task *task, float *bounds)
{
    const uint8_t *factors = block + shape.column_count * 16;
    const struct sums sums = block_sums(block, shape.column_count, task->lut);
    const __m256 threshold = _mm256_set1_ps(task->line.threshold);
    uint32_t mask = 0;
    for (size_t i = 0; i < 4; i++) {
        const __m256 bound = bounds_of(sums.of[i], factors + 32 * i, &task->line);
        const __m256 kept = _mm256_cmp_ps(bound, threshold, _CMP_GE_OQ);
        mask |= (uint32_t)_mm256_movemask_ps(kept) << (8 * i);
        _mm256_storeu_ps(bounds + 8 * i, bound);
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

static inline __m256i row_dots(__m256i nibbles, __m256i query, __m256i *squares)
{
    const __m256i levels =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)codebook_levels_4));
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i level = _mm256_shuffle_epi8(levels, nibbles);
    const __m256i size = _mm256_abs_epi8(level);
    const __m256i own = _mm256_maddubs_epi16(size, size);
    /* |level| times the query with the level's sign: pairs stay below 2 * 104 * 127 */
    const __m256i products = _mm256_maddubs_epi16(size, _mm256_sign_epi8(query, level));
    *squares = _mm256_add_epi32(*squares, _mm256_madd_epi16(own, ones));
    return _mm256_madd_epi16(products, ones);
}

static struct row_sums row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
                                const int8_t *high)
{
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i dots = _mm256_setzero_si256(), squares = _mm256_setzero_si256();
    uint8_t last[32];
    uint32_t padding = 0;
    for (size_t i = 0; i < code_bytes; i += 32) {
        const uint8_t *from = code + i;
        if (code_bytes - i < 32) {
            memset(last, 0x88, sizeof last);
            memcpy(last, from, code_bytes - i);
            from = last;
            padding = 2 * (uint32_t)(32 - (code_bytes - i)) * 25; /* level 5 squared, twice */
        }
        const __m256i codes = load_bytes(from);
        const __m256i high_nibbles = _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask);
        const __m256i low_dots =
            row_dots(_mm256_and_si256(codes, mask), load_bytes(low + i), &squares);
        const __m256i high_dots = row_dots(high_nibbles, load_bytes(high + i), &squares);
        dots = _mm256_add_epi32(dots, _mm256_add_epi32(low_dots, high_dots));
    }
    return (struct row_sums){(int32_t)sum_of_eight(dots), sum_of_eight(squares) - padding};
}

static struct row_sums row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i dots = _mm256_setzero_si256(), squares = _mm256_setzero_si256();
    uint8_t last[16] = {0};
    uint32_t padding = 0;
    for (size_t i = 0; i < n; i += 16) {
        const uint8_t *from = code + i;
        if (n - i < 16) {
            memcpy(last, from, n - i);
            from = last;
            padding = (uint32_t)(16 - (n - i)); /* level 1 each */
        }
        const __m256i k = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)from));
        const __m256i level = _mm256_or_si256(_mm256_slli_epi16(k, 1), one);
        dots = _mm256_add_epi32(dots, _mm256_madd_epi16(level, load_bytes(query + i)));
        squares = _mm256_add_epi32(squares, _mm256_madd_epi16(level, level));
    }
    return (struct row_sums){(int32_t)sum_of_eight(dots), sum_of_eight(squares) - padding};
}

static void int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
                      size_t stride, int32_t *dots)
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t i = 0; i < count; i++, rows += stride) {
        __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (size_t j = 0; j < row_bytes; j += 64) {
            for (size_t k = 0; k < 2; k++) {
                const __m256i row = load_bytes(rows + j + 32 * k);
                const __m256i own = load_bytes(query + j + 32 * k);
                /* |row| times the query with the row's sign: pairs below 2 * 127 * 127 */
                const __m256i products =
                    _mm256_maddubs_epi16(_mm256_abs_epi8(row), _mm256_sign_epi8(own, row));
                sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(products, ones));
            }
        }
        dots[i] = (int32_t)sum_of_eight(_mm256_add_epi32(sums[0], sums[1]));
    }
}

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .supported = supported,
    .copy_signed = avx2_copy_signed,
    .permute = avx2_permute,
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
    .subtract = avx2_subtract,
    .residual = residual,
    .sign_bits = sign_bits,
    .outer_levels = avx2_outer_levels,
    .grid_levels = avx2_grid_levels,
    .magnitudes = magnitudes,
    .try_ranks = try_ranks,
    .take_ranks = take_ranks,
    .largest = avx2_largest,
    .widest_column = avx2_widest_column,
    .fill_lut = fill_lut,
    .quantise = quantise,
    .scan_sums = scan_sums,
    .scan_blocks = scan_blocks,
    .row_sums = row_sums,
    .row_sums_8 = row_sums_8,
    .int8_dots = int8_dots,
};

#else
enum { KERNELS_AVX2_IS_FOR_X86_64 }; /* a translation unit may not be empty */
#endif
