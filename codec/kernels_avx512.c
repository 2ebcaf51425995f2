/* AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later): the same bytes as kernels_scalar.c. What
 * gains nothing from wider registers is that of kernels_avx2.c. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "codec/codebook.h"
#include "codec/kernels_avx2.h"

static bool supported(void)
{
    return kernels_avx2.supported() && __builtin_cpu_supports("avx512f") != 0 &&
           __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
           __builtin_cpu_supports("avx512vbmi") != 0;
}

/* ---- memory ---- */

/* The sum of all lanes, modulo 2^32: gcc's own reduction adds signed ints, whose overflow is not
 * defined. */
static inline int32_t sum_of_32(__m512i x)
{
    const __m256i y = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i z = _mm_add_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0x4e));
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0xb1));
    return _mm_cvtsi128_si32(z);
}

static inline __m512i load_bytes(const void *bytes)
{
    return _mm512_loadu_si512(bytes);
}

static inline __m512 load_floats(const void *bytes)
{
    return _mm512_loadu_ps(bytes);
}

/* The first n of 16 lanes. */
static inline __mmask16 lane_mask(size_t n)
{
    return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffffu);
}

/* The first n of 16 floats, the others zero; memory past them is not touched. */
static inline __m512 load_first(const void *bytes, size_t n)
{
    return _mm512_maskz_loadu_ps(lane_mask(n), bytes);
}

static inline __mmask64 byte_mask(size_t n)
{
    return n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
}

static inline __m512 absolute(__m512 x)
{
    return _mm512_abs_ps(x);
}

static inline __mmask16 load_mask(const uint8_t *bits)
{
    uint16_t mask;
    memcpy(&mask, bits, sizeof mask);
    return mask;
}

/* Sixteen bits of an array of n, zero past it. */
static inline __mmask16 load_mask_within(const uint8_t *bits, size_t at, size_t end)
{
    if (at + 16 <= end) {
        return load_mask(bits + at / 8);
    }
    const unsigned low = at < end ? bits[at / 8] : 0;
    const unsigned high = at + 8 < end ? bits[at / 8 + 1] : 0;
    return (__mmask16)(low | high << 8);
}

static inline __m512 negate_where(__mmask16 mask, __m512 x)
{
    return _mm512_mask_xor_ps(x, mask, x, _mm512_set1_ps(-0.0f));
}

/* ---- rotation ---- */

/* Butterflies over distances 1, 2, 4 and 8 of sixteen floats: the operand in place times 1 or -1,
 * plus the other. Multiplying by 1 is exact, so that the fused operation rounds as a sum does. */
static inline __m512 butterflies_of_sixteen(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    x = _mm512_fmadd_ps(x, negate_where(0xaaaa, one), _mm512_permute_ps(x, 0xb1));
    x = _mm512_fmadd_ps(x, negate_where(0xcccc, one), _mm512_permute_ps(x, 0x4e));
    x = _mm512_fmadd_ps(x, negate_where(0xf0f0, one), _mm512_shuffle_f32x4(x, x, 0xb1));
    return _mm512_fmadd_ps(x, negate_where(0xff00, one), _mm512_shuffle_f32x4(x, x, 0x4e));
}

static inline void butterfly(__m512 *a, __m512 *b)
{
    const __m512 sum = _mm512_add_ps(*a, *b);
    *b = _mm512_sub_ps(*a, *b);
    *a = sum;
}

static inline void butterflies_at(__m512 *r, size_t rows, size_t distance)
{
    if (distance < rows) {
#pragma GCC unroll 16
        for (size_t k = 0; k < rows / 2; k++) {
            const size_t i = k / distance * 2 * distance + k % distance;
            butterfly(&r[i], &r[i + distance]);
        }
    }
}

/* Distances 1 to rows/2 of 1 to 16 rows, a constant. */
static inline void butterflies_of_rows(__m512 *r, size_t rows)
{
    butterflies_at(r, rows, 1);
    butterflies_at(r, rows, 2);
    butterflies_at(r, rows, 4);
    butterflies_at(r, rows, 8);
}

/* Distances d to d * rows / 2 in one pass over memory. */
static inline void butterflies_apart(float *x, size_t n, size_t d, size_t rows)
{
    for (size_t i = 0; i < n; i += rows * d) {
        for (size_t j = i; j < i + d; j += 16) {
            __m512 r[8];
            for (size_t k = 0; k < rows; k++) {
                r[k] = load_floats(x + j + k * d);
            }
            butterflies_of_rows(r, rows);
            for (size_t k = 0; k < rows; k++) {
                _mm512_storeu_ps(x + j + k * d, r[k]);
            }
        }
    }
}

/* The first distances, up to those of `rows` registers, with signs and scale. */
static inline void hadamard_begin(float *out, const float *x, const uint8_t *bits, size_t n,
                                  float scale, size_t rows)
{
    const __m512 scales = _mm512_set1_ps(scale);
    for (size_t j = 0; j < n; j += 16 * rows) {
        __m512 r[16];
        for (size_t k = 0; k < rows; k++) {
            const size_t at = j + 16 * k;
            const __m512 part = negate_where(load_mask(bits + at / 8), load_floats(x + at));
            r[k] = butterflies_of_sixteen(_mm512_mul_ps(part, scales));
        }
        butterflies_of_rows(r, rows);
        for (size_t k = 0; k < rows; k++) {
            _mm512_storeu_ps(out + j + 16 * k, r[k]);
        }
    }
}

static void hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
{
    if (n < 16) {
        kernels_avx2.hadamard(out, x, bits, n, scale);
        return;
    }
    size_t d = n < 256 ? n : 256;
    switch (d) {
    case 16:
        hadamard_begin(out, x, bits, n, scale, 1);
        break;
    case 32:
        hadamard_begin(out, x, bits, n, scale, 2);
        break;
    case 64:
        hadamard_begin(out, x, bits, n, scale, 4);
        break;
    case 128:
        hadamard_begin(out, x, bits, n, scale, 8);
        break;
    default:
        hadamard_begin(out, x, bits, n, scale, 16);
        break;
    }
    for (; d * 8 <= n; d *= 8) {
        butterflies_apart(out, n, d, 8);
    }
    if (d * 4 <= n) {
        butterflies_apart(out, n, d, 4);
    } else if (d * 2 <= n) {
        butterflies_apart(out, n, d, 2);
    }
}

/* ---- sums ---- */

/* Sixteen lanes as two vectors of doubles, in order. */
struct lanes {
    __m512d done[2];
};

static inline struct lanes lanes_zero(void)
{
    return (struct lanes){{_mm512_setzero_pd(), _mm512_setzero_pd()}};
}

static inline void lanes_add(struct lanes *lanes, __m512 x)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    lanes->done[0] = _mm512_add_pd(lanes->done[0], low);
    lanes->done[1] = _mm512_add_pd(lanes->done[1], high);
}

static inline double lanes_total(const struct lanes *lanes)
{
    const __m512d eight = _mm512_add_pd(lanes->done[0], lanes->done[1]);
    const __m256d four =
        _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

static inline __m512 product_of(__m512 a, __m512 b)
{
    return _mm512_mul_ps(a, b);
}

static inline __m512 squared_difference(__m512 a, __m512 b)
{
    const __m512 difference = _mm512_sub_ps(a, b);
    return _mm512_mul_ps(difference, difference);
}

static inline __m512 absolute_difference(__m512 a, __m512 b)
{
    return absolute(_mm512_sub_ps(a, b));
}

/* COUNT whole blocks side by side, while there are so many: one alone waits for its own additions.
 */
#define SUM_BLOCKS(n, COUNT, LOAD, TERM)                                                           \
    for (; j + (COUNT)*KERNEL_SUM_BLOCK <= (n); j += ((COUNT)-1) * KERNEL_SUM_BLOCK) {             \
        __m512 sums[COUNT];                                                                        \
        for (size_t i = 0; i < (COUNT); i++) {                                                     \
            sums[i] = _mm512_setzero_ps();                                                         \
        }                                                                                          \
        for (const size_t end = j + KERNEL_SUM_BLOCK; j < end; j += 16) {                          \
            for (size_t i = 0; i < (COUNT); i++) {                                                 \
                const size_t at = j + i * KERNEL_SUM_BLOCK;                                        \
                sums[i] = _mm512_add_ps(sums[i], TERM(load_floats(x + at), LOAD(at)));             \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < (COUNT); i++) {                                                     \
            lanes_add(&lanes, sums[i]);                                                            \
        }                                                                                          \
    }

/* The order of kernels.h for a TERM of two vectors, A of x and B of y, whose zero lanes give 0.
 * LOAD and LOAD_FIRST read sixteen of y at element j. */
#define SUM_OF(n, LOAD, LOAD_FIRST, TERM)                                                          \
    struct lanes lanes = lanes_zero();                                                             \
    size_t j = 0;                                                                                  \
    SUM_BLOCKS(n, 4, LOAD, TERM)                                                                   \
    SUM_BLOCKS(n, 2, LOAD, TERM)                                                                   \
    while (j < (n)) {                                                                              \
        const size_t end = (n)-j < KERNEL_SUM_BLOCK ? (n) : j + KERNEL_SUM_BLOCK;                  \
        __m512 sum = _mm512_setzero_ps();                                                          \
        for (; j + 16 <= end; j += 16) {                                                           \
            sum = _mm512_add_ps(sum, TERM(load_floats(x + j), LOAD(j)));                           \
        }                                                                                          \
        if (j < end) {                                                                             \
            sum = _mm512_add_ps(sum, TERM(load_first(x + j, end - j), LOAD_FIRST(j, end - j)));    \
            j = end;                                                                               \
        }                                                                                          \
        lanes_add(&lanes, sum);                                                                    \
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

#define HALVES_OF_Y(j) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(y + (j)*2)))
#define FIRST_HALVES_OF_Y(j, n)                                                                    \
    _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lane_mask(n), (const void *)(y + (j)*2)))

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

static inline __m512 absolute_first(__m512 a, __m512 b)
{
    (void)b;
    return absolute(a);
}

#define NOTHING(j) _mm512_setzero_ps()
#define NOTHING_FIRST(j, n) _mm512_setzero_ps()

static double absolute_sum(const float *x, size_t n)
{
    SUM_OF(n, NOTHING, NOTHING_FIRST, absolute_first);
}

/* Sixteen floats at element `at` of a block that ends at `end`, zero past it. */
static inline __m512 load_within(const float *x, size_t at, size_t end)
{
    return at + 16 <= end ? load_floats(x + at) : load_first(x + at, end - at);
}

/* One to three sums over COUNT blocks side by side. */
#define THREE_BLOCKS(COUNT, LIMIT, BODY, A, B, C)                                                  \
    {                                                                                              \
        __m512 a[COUNT], b[COUNT], c[COUNT];                                                       \
        for (size_t i = 0; i < (COUNT); i++) {                                                     \
            a[i] = b[i] = c[i] = _mm512_setzero_ps();                                              \
        }                                                                                          \
        for (size_t j = begin; j < (LIMIT); j += 16) {                                             \
            for (size_t i = 0; i < (COUNT); i++) {                                                 \
                const size_t at = j + i * KERNEL_SUM_BLOCK;                                        \
                const size_t end = (LIMIT) + i * KERNEL_SUM_BLOCK;                                 \
                BODY;                                                                              \
                a[i] = _mm512_add_ps(a[i], A);                                                     \
                b[i] = _mm512_add_ps(b[i], B);                                                     \
                c[i] = _mm512_add_ps(c[i], C);                                                     \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < (COUNT); i++) {                                                     \
            lanes_add(&lanes_a, a[i]);                                                             \
            lanes_add(&lanes_b, b[i]);                                                             \
            lanes_add(&lanes_c, c[i]);                                                             \
        }                                                                                          \
    }

/* Three sums in one pass, each in the order of a sum on its own. */
#define THREE_SUMS(n, BODY, A, B, C)                                                               \
    struct lanes lanes_a = lanes_zero(), lanes_b = lanes_zero(), lanes_c = lanes_zero();           \
    size_t begin = 0;                                                                              \
    for (; begin + 2 * KERNEL_SUM_BLOCK <= (n); begin += 2 * KERNEL_SUM_BLOCK) {                   \
        const size_t limit = begin + KERNEL_SUM_BLOCK;                                             \
        THREE_BLOCKS(2, limit, BODY, A, B, C)                                                      \
    }                                                                                              \
    for (; begin < (n); begin += KERNEL_SUM_BLOCK) {                                               \
        const size_t limit = (n)-begin < KERNEL_SUM_BLOCK ? (n) : begin + KERNEL_SUM_BLOCK;        \
        THREE_BLOCKS(1, limit, BODY, A, B, C)                                                      \
    }

static struct centre_sums centre_sums(const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, const __m512 p = load_within(x, at, end);
               const __m512 q = load_within(y, at, end), _mm512_mul_ps(p, q),
               squared_difference(p, q), _mm512_mul_ps(q, q))
    return (struct centre_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                lanes_total(&lanes_c)};
}

static struct residual_sums residual(float *out, const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, const __m512 p = load_within(x, at, end);
               const __m512 q = load_within(y, at, end); const __m512 r = _mm512_sub_ps(p, q);
               _mm512_mask_storeu_ps(out + at, lane_mask(end - at), r), _mm512_mul_ps(r, q),
               _mm512_mul_ps(r, r), _mm512_mul_ps(p, p))
    return (struct residual_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                  lanes_total(&lanes_c)};
}

static inline __m512i load_integers(const int8_t *levels, size_t at, size_t end)
{
    return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lane_mask(end - at), levels + at));
}

static inline __m512 grid_of(__m512i levels)
{
    const __m512i twice = _mm512_add_epi32(levels, levels);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(1)));
}

/* Sums of x and y with the same level, of y none where there is no y. */
#define LEVEL_SUMS(n, LEVEL)                                                                       \
    const float *other = y != NULL ? y : x;                                                        \
    THREE_SUMS(n, const __m512 level = LEVEL, _mm512_mul_ps(load_within(x, at, end), level),       \
               _mm512_mul_ps(load_within(other, at, end), level), _mm512_setzero_ps())             \
    return (struct level_sums)                                                                     \
    {                                                                                              \
        lanes_total(&lanes_a), y != NULL ? lanes_total(&lanes_b) : 0.0                             \
    }

static struct level_sums level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, _mm512_cvtepi32_ps(load_integers(levels, at, end)));
}

static struct level_sums grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, grid_of(load_integers(levels, at, end)));
}

static struct level_sums sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
{
    const float *other = y != NULL ? y : x;
    THREE_SUMS(n, const __mmask16 set = load_mask_within(bits, at, end),
               negate_where((__mmask16)~set, load_within(x, at, end)),
               negate_where((__mmask16)~set, load_within(other, at, end)), _mm512_setzero_ps())
    return (struct level_sums){lanes_total(&lanes_a), y != NULL ? lanes_total(&lanes_b) : 0.0};
}

/* ---- encoding ---- */

static void sign_bits(const float *x, size_t n, uint8_t *bits)
{
    for (size_t j = 0; j < n; j += 16) {
        const size_t left = n - j;
        const __m512i part = _mm512_castps_si512(load_first(x + j, left));
        const unsigned set = ~(unsigned)_mm512_movepi32_mask(part) & lane_mask(left);
        bits[j / 8] = (uint8_t)set;
        if (left > 8) {
            bits[j / 8 + 1] = (uint8_t)(set >> 8);
        }
    }
}

static void magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
{
    const __m512 scales = _mm512_set1_ps(scale), most = _mm512_set1_ps(4095.0f);
    for (size_t j = 0; j < round_to_pad(n); j += 16) {
        const size_t left = j < n ? n - j : 0;
        const __m512 part = load_first(x + (j < n ? j : 0), left);
        const __m512 scaled = _mm512_mul_ps(absolute(part), scales);
        const __m512i magnitude = _mm512_cvttps_epi32(_mm512_min_ps(scaled, most));
        const __m512i units =
            _mm512_srli_epi32(_mm512_add_epi32(magnitude, _mm512_set1_epi32(16)), 5);
        _mm_storeu_si128((void *)(out.high + j),
                         _mm512_cvtepi32_epi8(_mm512_srli_epi32(magnitude, 8)));
        _mm_storeu_si128((void *)(out.low + j), _mm512_cvtepi32_epi8(magnitude));
        _mm_storeu_si128((void *)(out.units + j), _mm512_cvtepi32_epi8(units));
    }
}

static inline __m512i load_table(const uint8_t *table)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table));
}

/* By the high bits of a magnitude: the threshold, and the level below and above it. */
struct levels_at {
    __m512i after, below, above;
};

static inline struct levels_at levels_load(const struct rank_table *table)
{
    const __m512i base = load_table(table->base), level = load_table(table->level);
    return (struct levels_at){
        load_table(table->after),
        _mm512_shuffle_epi8(level, base),
        _mm512_shuffle_epi8(level, _mm512_add_epi8(base, _mm512_set1_epi8(1))),
    };
}

static void try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
                      uint32_t *dots, uint32_t *squares)
{
    struct levels_at at[KERNEL_TABLES];
    __m512i dot[KERNEL_TABLES], square[KERNEL_TABLES];
    for (size_t i = 0; i < KERNEL_TABLES; i++) {
        at[i] = levels_load(&tables[i]);
        dot[i] = square[i] = _mm512_setzero_si512();
    }
    for (size_t j = 0; j < n; j += 64) {
        const __m512i high = load_bytes(magnitudes.high + j), low = load_bytes(magnitudes.low + j);
        const __m512i units = load_bytes(magnitudes.units + j);
        for (size_t i = 0; i < KERNEL_TABLES; i++) {
            const __mmask64 above =
                _mm512_cmpgt_epu8_mask(low, _mm512_shuffle_epi8(at[i].after, high));
            const __m512i level = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(at[i].below, high),
                                                           above, at[i].above, high);
            dot[i] = _mm512_dpbusd_epi32(dot[i], units, level);
            square[i] = _mm512_dpbusd_epi32(square[i], level, level);
        }
    }
    for (size_t i = 0; i < KERNEL_TABLES; i++) {
        dots[i] = (uint32_t)sum_of_32(dot[i]);
        squares[i] = (uint32_t)sum_of_32(square[i]);
    }
}

/* Bit i: float j + i has its sign bit set. */
static inline __mmask64 negatives(const float *x, size_t n, size_t j)
{
    uint64_t negative = 0;
    for (size_t i = 0; i < 64 && j + i < n; i += 16) {
        const __m512i part = _mm512_castps_si512(load_first(x + j + i, n - j - i));
        negative |= (uint64_t)_mm512_movepi32_mask(part) << i;
    }
    return negative;
}

static void take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
                       const struct rank_table *table, uint8_t *indices, int8_t *levels)
{
    const __m512i after = load_table(table->after), base = load_table(table->base);
    const __m512i level_of = load_table(table->level);
    for (size_t j = 0; j < round_to_pad(n); j += 64) {
        const __m512i high = load_bytes(magnitudes.high + j), low = load_bytes(magnitudes.low + j);
        const __mmask64 above = _mm512_cmpgt_epu8_mask(low, _mm512_shuffle_epi8(after, high));
        const __m512i below = _mm512_shuffle_epi8(base, high);
        const __m512i rank = _mm512_mask_add_epi8(below, above, below, _mm512_set1_epi8(1));
        const __mmask64 negative = negatives(x, n, j);
        const __m512i level = _mm512_shuffle_epi8(level_of, rank);
        const __m512i up = _mm512_add_epi8(rank, _mm512_set1_epi8(8));
        _mm512_storeu_si512(indices + j,
                            _mm512_mask_sub_epi8(up, negative, _mm512_set1_epi8(7), rank));
        _mm512_storeu_si512(levels + j,
                            _mm512_mask_sub_epi8(level, negative, _mm512_setzero_si512(), level));
    }
}

/* ---- queries ---- */

/* Entries from their sums, at most 255. */
static inline void store_entries(uint8_t *entries, __m512 sums)
{
    const __m512 rounded = _mm512_add_ps(sums, _mm512_set1_ps(0.5f));
    const __m512 least = _mm512_min_ps(rounded, _mm512_set1_ps(255.0f));
    _mm_storeu_si128((void *)entries, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(least)));
}

/* sums plus the range where the dim's bit in the entry is set, or clear where flip. */
static inline __m512 add_range(__m512 sums, float range, unsigned set, unsigned flip)
{
    const __mmask16 mask = (__mmask16)(set ^ (flip != 0 ? 0xffffu : 0u));
    return _mm512_mask_add_ps(sums, mask, sums, _mm512_set1_ps(range));
}

static void fill_lut_1(const float *x, size_t column_count, float per_step, uint8_t *lut)
{
    for (size_t column = 0; column < column_count; column++) {
        const __m128 four = _mm_loadu_ps(x + column * 4);
        const __m128 twice = _mm_mul_ps(_mm_set1_ps(2.0f), _mm_andnot_ps(_mm_set1_ps(-0.0f), four));
        const __mmask8 flips = _mm_cmp_ps_mask(four, _mm_setzero_ps(), _CMP_NGT_UQ);
        float ranges[4];
        _mm_storeu_ps(ranges, _mm_mul_ps(twice, _mm_set1_ps(per_step)));
        __m512 sums = add_range(_mm512_setzero_ps(), ranges[0], 0xaaaa, flips & 1u);
        sums = add_range(sums, ranges[1], 0xcccc, flips & 2u);
        sums = add_range(sums, ranges[2], 0xf0f0, flips & 4u);
        store_entries(lut + column * 16, add_range(sums, ranges[3], 0xff00, flips & 8u));
    }
}

static void fill_lut_2(const float *x, size_t column_count, float per_step, uint8_t *lut)
{
    const __m512 two = _mm512_set1_ps(2.0f), steps = _mm512_set1_ps(per_step);
    const __m512 rises =
        _mm512_broadcast_f32x4(_mm_setr_ps(0.0f, CODEBOOK_RISE_2, 1.0f - CODEBOOK_RISE_2, 1.0f));
    const __m512 falls = _mm512_permute_ps(rises, 0x1b);
    const __m512i slow = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512 slow_rises = _mm512_permutexvar_ps(slow, rises);
    const __m512 slow_falls = _mm512_permutexvar_ps(slow, falls);
    for (size_t column = 0; column < column_count; column++) {
        const __m512 p = _mm512_set1_ps(x[column * 2]), q = _mm512_set1_ps(x[column * 2 + 1]);
        const __m512 range_p = _mm512_mul_ps(_mm512_mul_ps(two, absolute(p)), steps);
        const __m512 range_q = _mm512_mul_ps(_mm512_mul_ps(two, absolute(q)), steps);
        const __mmask16 flip_p = _mm512_cmp_ps_mask(p, _mm512_setzero_ps(), _CMP_NGT_UQ);
        const __mmask16 flip_q = _mm512_cmp_ps_mask(q, _mm512_setzero_ps(), _CMP_NGT_UQ);
        const __m512 first = _mm512_mul_ps(range_p, _mm512_mask_mov_ps(rises, flip_p, falls));
        const __m512 second =
            _mm512_mul_ps(range_q, _mm512_mask_mov_ps(slow_rises, flip_q, slow_falls));
        store_entries(lut + column * 16, _mm512_add_ps(first, second));
    }
}

static void fill_lut(const float *x, size_t column_count, unsigned bits, float per_step,
                     uint8_t *lut)
{
    (bits == 2 ? fill_lut_2 : fill_lut_1)(x, column_count, per_step, lut);
}

static double quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
{
    const __m512 per_steps = _mm512_set1_ps(per_step), steps = _mm512_set1_ps(step);
    const __m512 sign = _mm512_set1_ps(-0.0f), half = _mm512_set1_ps(0.5f);
    THREE_SUMS(n, const __m512 part = load_within(x, at, end);
               const __m512 scaled = _mm512_mul_ps(part, per_steps);
               const __m512 away = _mm512_or_ps(_mm512_and_ps(scaled, sign), half);
               const __m512i rounded = _mm512_cvttps_epi32(_mm512_add_ps(scaled, away));
               const __m512 off =
                   _mm512_sub_ps(part, _mm512_mul_ps(_mm512_cvtepi32_ps(rounded), steps));
               _mm_mask_storeu_epi8(out + at, lane_mask(end - at), _mm512_cvtepi32_epi8(rounded)),
               _mm512_mul_ps(off, off), _mm512_setzero_ps(), _mm512_setzero_ps())
    return lanes_total(&lanes_a);
}

/* ---- first stage ---- */

/* Sums of lanes 0..15 and 16..31. */
struct sums {
    __m512i low, high;
};

/* Four columns at a time. One permutation puts the four bytes of a lane side by side, so that one
 * 64-byte table holds the entries of all four columns, by column and nibble, and one instruction
 * adds the four results of each lane to its 32-bit sum. Against the 16-bit sums of AVX2 this saves
 * a third of the instructions. */
struct shuffle {
    __m512i order;   /* byte 4 lane + c: of column c the byte of that lane */
    __m512i columns; /* 16 c */
    __m512i nibble;  /* 15 */
    __m512i ones;
};

static inline struct shuffle shuffle_begin(void)
{
    static const uint8_t order[64] = {
        0,  16, 32, 48, 2,  18, 34, 50, 4,  20, 36, 52, 6,  22, 38, 54, 8,  24, 40, 56, 10, 26,
        42, 58, 12, 28, 44, 60, 14, 30, 46, 62, 1,  17, 33, 49, 3,  19, 35, 51, 5,  21, 37, 53,
        7,  23, 39, 55, 9,  25, 41, 57, 11, 27, 43, 59, 13, 29, 45, 61, 15, 31, 47, 63};
    return (struct shuffle){load_bytes(order), _mm512_set1_epi32(0x30201000), _mm512_set1_epi8(15),
                            _mm512_set1_epi8(1)};
}

#define AND_OR 0xea /* of _mm512_ternarylogic: (a & b) | c */

/* Indices into four columns' entries: of the low nibbles and of the high ones. */
static inline struct sums shuffle_indices(const struct shuffle *shuffle, const uint8_t *codes)
{
    const __m512i bytes = _mm512_permutexvar_epi8(shuffle->order, load_bytes(codes));
    return (struct sums){
        _mm512_ternarylogic_epi32(bytes, shuffle->nibble, shuffle->columns, AND_OR),
        _mm512_ternarylogic_epi32(_mm512_srli_epi16(bytes, 4), shuffle->nibble, shuffle->columns,
                                  AND_OR)};
}

static inline void sums_add(struct sums *sums, struct sums indices, __m512i entries, __m512i ones)
{
    sums->low = _mm512_dpbusd_epi32(sums->low, _mm512_permutexvar_epi8(indices.low, entries), ones);
    sums->high =
        _mm512_dpbusd_epi32(sums->high, _mm512_permutexvar_epi8(indices.high, entries), ones);
}

/* Sums of `count` queries over one block; whatever lies behind the columns has entries of zero. */
static inline void block_sums(const uint8_t *codes, size_t column_count,
                              const struct scan_task *tasks, size_t count, struct sums *sums)
{
    const struct shuffle shuffle = shuffle_begin();
    for (size_t i = 0; i < count; i++) {
        sums[i].low = sums[i].high = _mm512_setzero_si512();
    }
    for (size_t at = 0; at < column_count * 16; at += 64) {
        const struct sums indices = shuffle_indices(&shuffle, codes + at);
        for (size_t i = 0; i < count; i++) {
            sums_add(&sums[i], indices, load_bytes(tasks[i].lut + at), shuffle.ones);
        }
    }
}

static void scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *out)
{
    const struct scan_task task = {.lut = lut};
    struct sums sums;
    block_sums(codes, column_count, &task, 1, &sums);
    _mm512_storeu_si512(out, sums.low);
    _mm512_storeu_si512(out + 16, sums.high);
}

/* Bounds of sixteen lanes, and those that survive; not a number becomes +infinity, since min gives
 * its second operand. */
static inline uint32_t bounds_of(__m512i sums, const uint8_t *f_mul, const struct scan_line *line,
                                 float *bounds)
{
    const __m512 ip =
        _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(line->step)),
                      _mm512_set1_ps(line->bias));
    const __m512 shifted = _mm512_add_ps(_mm512_mul_ps(load_floats(f_mul), ip),
                                         load_floats(f_mul + 32 * sizeof(float)));
    const __m512 bound =
        _mm512_min_ps(_mm512_add_ps(shifted, _mm512_set1_ps(line->add)), _mm512_set1_ps(INFINITY));
    _mm512_storeu_ps(bounds, bound);
    return _mm512_cmp_ps_mask(bound, _mm512_set1_ps(line->threshold), _CMP_GE_OQ);
}

static inline void scan_block(const uint8_t *block, struct block_shape shape, size_t at,
                              uint32_t allowed, const struct scan_task *tasks, size_t count)
{
    const uint8_t *factors = block + shape.column_count * 16;
    struct sums sums[4];
    block_sums(block, shape.column_count, tasks, count, sums);
    for (size_t i = 0; i < count; i++) {
        float *bounds = tasks[i].bounds + at * 32;
        const uint32_t low = bounds_of(sums[i].low, factors, &tasks[i].line, bounds);
        const uint32_t high = bounds_of(sums[i].high, factors + 64, &tasks[i].line, bounds + 16);
        tasks[i].survivors[at] = allowed & (low | high << 16);
    }
}

static void scan_blocks(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                        const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    for (size_t block = 0; block < block_count; block++, blocks += shape.block_bytes) {
        const uint32_t allowed = lanes != NULL ? lanes[block] : ~0u;
        if (allowed == 0) {
            for (size_t i = 0; i < task_count; i++) {
                tasks[i].survivors[block] = 0;
            }
            continue;
        }
        size_t i = 0;
        for (; i + 4 <= task_count; i += 4) {
            scan_block(blocks, shape, block, allowed, tasks + i, 4);
        }
        for (; i + 2 <= task_count; i += 2) {
            scan_block(blocks, shape, block, allowed, tasks + i, 2);
        }
        if (i < task_count) {
            scan_block(blocks, shape, block, allowed, tasks + i, 1);
        }
    }
}

/* ---- second stage ---- */

struct row_state {
    __m512i dots, squares;
};

/* |level| times the query with the level's sign. */
static inline void row_add(struct row_state *state, __m512i nibbles, __m512i query)
{
    const __m512i sizes = _mm512_broadcast_i32x4(
        _mm_setr_epi8(104, 79, 62, 48, 36, 25, 15, 5, 5, 15, 25, 36, 48, 62, 79, 104));
    const __m512i size = _mm512_shuffle_epi8(sizes, nibbles);
    const __mmask64 negative = _mm512_testn_epi8_mask(nibbles, _mm512_set1_epi8(8));
    const __m512i own = _mm512_mask_sub_epi8(query, negative, _mm512_setzero_si512(), query);
    state->dots = _mm512_dpbusd_epi32(state->dots, size, own);
    state->squares = _mm512_dpbusd_epi32(state->squares, size, size);
}

static struct row_sums row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
                                const int8_t *high)
{
    const __m512i mask = _mm512_set1_epi8(15);
    struct row_state a = {_mm512_setzero_si512(), _mm512_setzero_si512()}, b = a;
    for (size_t i = 0; i < code_bytes; i += 64) {
        const __m512i codes = _mm512_mask_loadu_epi8(_mm512_set1_epi8((char)0x88),
                                                     byte_mask(code_bytes - i), code + i);
        row_add(&a, _mm512_and_si512(codes, mask), load_bytes(low + i));
        row_add(&b, _mm512_and_si512(_mm512_srli_epi16(codes, 4), mask), load_bytes(high + i));
    }
    /* what was read past the end is level 5, twice a byte */
    const uint32_t padding = 2 * 25 * (uint32_t)(round_to_pad(code_bytes) - code_bytes);
    return (struct row_sums){sum_of_32(_mm512_add_epi32(a.dots, b.dots)),
                             (uint32_t)sum_of_32(_mm512_add_epi32(a.squares, b.squares)) - padding};
}

static struct row_sums row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
{
    __m512i dots = _mm512_setzero_si512(), squares = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 32) {
        const __mmask32 mask = (__mmask32)byte_mask(n - i);
        const __m512i k = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, code + i));
        const __m512i level = _mm512_or_si512(_mm512_slli_epi16(k, 1), _mm512_set1_epi16(1));
        dots = _mm512_dpwssd_epi32(dots, level, load_bytes(query + i));
        squares = _mm512_dpwssd_epi32(squares, level, level);
    }
    const uint32_t padding = (uint32_t)((n + 31) / 32 * 32 - n); /* level 1 each */
    return (struct row_sums){sum_of_32(dots), (uint32_t)sum_of_32(squares) - padding};
}

/* ---- centres ---- */

/* Sums of four vectors, in order. */
static inline __m128i sums_of_four(const __m512i x[4])
{
    const __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
    const __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
    const __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    const __m256i d = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1));
}

/* Rows moved by 128 to be unsigned, which 128 times the sum of the query takes back. */
static void int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
                      size_t stride, int32_t *dots)
{
    const __m512i moved = _mm512_set1_epi8(-128);
    __m512i sums = _mm512_setzero_si512();
    for (size_t j = 0; j < row_bytes; j += 64) {
        sums = _mm512_dpbusd_epi32(sums, moved, load_bytes(query + j));
    }
    const int32_t back = sum_of_32(sums);
    for (size_t i = 0; i < count; i += 4) {
        __m512i four[4];
        const size_t left = count - i < 4 ? count - i : 4;
        for (size_t k = 0; k < 4; k++) {
            four[k] = _mm512_setzero_si512();
        }
        for (size_t j = 0; j < row_bytes; j += 64) {
            const __m512i own = load_bytes(query + j);
            for (size_t k = 0; k < 4; k++) { /* rows past the last are the last */
                const size_t row = i + (k < left ? k : left - 1);
                const __m512i bytes = _mm512_xor_si512(load_bytes(rows + row * stride + j), moved);
                four[k] = _mm512_dpbusd_epi32(four[k], bytes, own);
            }
        }
        const __m128i done = _mm_sub_epi32(sums_of_four(four), _mm_set1_epi32(back));
        _mm_mask_storeu_epi32(dots + i, (__mmask8)((1u << left) - 1), done);
    }
}

const struct kernels kernels_avx512 = {
    .name = "avx512",
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
enum { KERNELS_AVX512_IS_FOR_X86_64 }; /* a translation unit may not be empty */
#endif
