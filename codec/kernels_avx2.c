/* AVX2 (every x86-64 server since 2015): the same bytes as kernels_scalar.c. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "codec/codebook.h"
#include "codec/kernels_avx2.h"

/* Every CPU with AVX2 has F16C, a name that clang's builtin does not know. */
bool avx2_supported(void)
{
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
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

void avx2_hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
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

double avx2_dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, product_of);
}

double avx2_squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, squared_difference);
}

double avx2_absolute_distance(const float *x, const uint8_t *y, size_t n)
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

double avx2_dot_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, product_of);
}

double avx2_squared_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, squared_difference);
}

double avx2_absolute_distance_half(const float *x, const uint8_t *y, size_t n)
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

double avx2_absolute_sum(const float *x, size_t n)
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

struct centre_sums avx2_centre_sums(const float *x, const float *y, size_t n)
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

struct residual_sums avx2_residual(float *out, const float *x, const float *y, size_t n)
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

struct level_sums avx2_level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, _mm256_cvtepi32_ps(load_integers_within(levels, at, end)));
}

struct level_sums avx2_grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, grid_of(load_integers_within(levels, at, end)));
}

/* 1 or -1 for eight bits. */
static inline __m256 signs_of(uint8_t bits)
{
    return _mm256_xor_ps(sign_mask((uint8_t)~bits), _mm256_set1_ps(1.0f));
}

struct level_sums avx2_sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
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

void avx2_sign_bits(const float *x, size_t n, uint8_t *bits)
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

void avx2_magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
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

void avx2_try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
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

void avx2_take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
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

double avx2_quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
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

const struct kernels kernels_avx2 = {.name = "avx2", KERNEL_ALL(KERNEL_ENTRY, avx2)};

#else
enum { KERNELS_AVX2_IS_FOR_X86_64 }; /* a translation unit may not be empty */
#endif
