/* AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later): the same bytes as kernels_scalar.c. What
 * gains nothing from wider registers is that of kernels_avx2.c. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "codec/codebook.h"
#include "codec/kernels_avx512.h"

bool avx512_supported(void)
{
    return avx2_supported() && __builtin_cpu_supports("avx512f") != 0 &&
           __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
           __builtin_cpu_supports("avx512vbmi") != 0;
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

void avx512_hadamard(float *out, const float *x, const uint8_t *bits, size_t n, float scale)
{
    if (n < 16) {
        avx2_hadamard(out, x, bits, n, scale);
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

double avx512_dot(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, product_of);
}

double avx512_squared_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, squared_difference);
}

double avx512_absolute_distance(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, FLOATS_OF_Y, FIRST_OF_Y, absolute_difference);
}

#define HALVES_OF_Y(j) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(y + (j)*2)))
#define FIRST_HALVES_OF_Y(j, n)                                                                    \
    _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lane_mask(n), (const void *)(y + (j)*2)))

double avx512_dot_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, product_of);
}

double avx512_squared_distance_half(const float *x, const uint8_t *y, size_t n)
{
    SUM_OF(n, HALVES_OF_Y, FIRST_HALVES_OF_Y, squared_difference);
}

double avx512_absolute_distance_half(const float *x, const uint8_t *y, size_t n)
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

double avx512_absolute_sum(const float *x, size_t n)
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

struct centre_sums avx512_centre_sums(const float *x, const float *y, size_t n)
{
    THREE_SUMS(n, const __m512 p = load_within(x, at, end);
               const __m512 q = load_within(y, at, end), _mm512_mul_ps(p, q),
               squared_difference(p, q), _mm512_mul_ps(q, q))
    return (struct centre_sums){lanes_total(&lanes_a), lanes_total(&lanes_b),
                                lanes_total(&lanes_c)};
}

struct residual_sums avx512_residual(float *out, const float *x, const float *y, size_t n)
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

struct level_sums avx512_level_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, _mm512_cvtepi32_ps(load_integers(levels, at, end)));
}

struct level_sums avx512_grid_sums(const float *x, const float *y, const int8_t *levels, size_t n)
{
    LEVEL_SUMS(n, grid_of(load_integers(levels, at, end)));
}

struct level_sums avx512_sign_sums(const float *x, const float *y, const uint8_t *bits, size_t n)
{
    const float *other = y != NULL ? y : x;
    THREE_SUMS(n, const __mmask16 set = load_mask_within(bits, at, end),
               negate_where((__mmask16)~set, load_within(x, at, end)),
               negate_where((__mmask16)~set, load_within(other, at, end)), _mm512_setzero_ps())
    return (struct level_sums){lanes_total(&lanes_a), y != NULL ? lanes_total(&lanes_b) : 0.0};
}

/* ---- encoding ---- */

void avx512_sign_bits(const float *x, size_t n, uint8_t *bits)
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

void avx512_magnitudes(const float *x, size_t n, float scale, struct magnitudes out)
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

void avx512_try_ranks(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
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

void avx512_take_ranks(struct magnitudes magnitudes, const float *x, size_t n,
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

double avx512_quantise(const float *x, size_t n, float per_step, float step, int8_t *out)
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

const struct kernels kernels_avx512 = {.name = "avx512", KERNEL_ALL(KERNEL_ENTRY, avx512)};

#else
enum { KERNELS_AVX512_IS_FOR_X86_64 }; /* a translation unit may not be empty */
#endif
