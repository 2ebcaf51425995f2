/* AVX2: the same answers as kernels_scalar.c, 8 floats or 32 bytes at a time. No fused
 * multiply-add: products and sums round separately, as in the reference. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "codec/codebook.h"
#include "codec/codec.h"

#define FLUSH_COLUMNS 512 /* 256 a 128-bit half: 255 * 256 still fits u16 */

static bool avx2_supported(void)
{
    return __builtin_cpu_supports("avx2");
}

/* Stages of half-width 1, 2 and 4 inside one register; signs by xor, so rounding is as in the
 * reference. */
static __m256 hadamard8(__m256 x)
{
    const __m256 odd = _mm256_castsi256_ps(
        _mm256_setr_epi32(0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN));
    const __m256 pair = _mm256_castsi256_ps(
        _mm256_setr_epi32(0, 0, INT32_MIN, INT32_MIN, 0, 0, INT32_MIN, INT32_MIN));
    const __m256 quad = _mm256_castsi256_ps(
        _mm256_setr_epi32(0, 0, 0, 0, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN));
    x = _mm256_add_ps(_mm256_moveldup_ps(x), _mm256_xor_ps(_mm256_movehdup_ps(x), odd));
    x = _mm256_add_ps(_mm256_permute_ps(x, 0x44), _mm256_xor_ps(_mm256_permute_ps(x, 0xEE), pair));
    return _mm256_add_ps(_mm256_permute2f128_ps(x, x, 0x00),
                         _mm256_xor_ps(_mm256_permute2f128_ps(x, x, 0x11), quad));
}

static void avx2_hadamard(float *x, size_t n, float scale)
{
    if (n < 8) {
        kernels_scalar.hadamard(x, n, scale);
        return;
    }
    for (size_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(x + i, hadamard8(_mm256_loadu_ps(x + i)));
    for (size_t half = 8; half < n; half *= 2) {
        for (size_t i = 0; i < n; i += 2 * half) {
            for (size_t j = i; j < i + half; j += 8) {
                __m256 a = _mm256_loadu_ps(x + j), b = _mm256_loadu_ps(x + j + half);
                _mm256_storeu_ps(x + j, _mm256_add_ps(a, b));
                _mm256_storeu_ps(x + j + half, _mm256_sub_ps(a, b));
            }
        }
    }
    __m256 factor = _mm256_set1_ps(scale);
    for (size_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
}

/* Lanes 0..7 in low, 8..15 in high; the tree of the reference. */
static float tree_sum(__m256 low, __m256 high)
{
    __m256 eight = _mm256_add_ps(low, high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* n rest (< 16) floats, zeros behind them: adding 0 * 0 changes no lane. */
static void load_rest(const uint8_t *a, const float *b, size_t n, float *pa, float *pb)
{
    for (size_t i = 0; i < 16; i++)
        pa[i] = pb[i] = 0;
    __builtin_memcpy(pa, a, n * sizeof *pa);
    __builtin_memcpy(pb, b, n * sizeof *pb);
}

#define SUM_KERNEL(name, TERM)                                                                     \
    static float name(const uint8_t *bytes, const float *b, size_t n)                              \
    {                                                                                              \
        __m256 low = _mm256_setzero_ps(), high = low;                                              \
        size_t i = 0;                                                                              \
        for (; i + 16 <= n; i += 16) {                                                             \
            const uint8_t *at = bytes + i * sizeof(float);                                         \
            __m256 x = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(const void *)at)); \
            __m256 y =                                                                             \
                _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(const void *)(at + 32))); \
            low = _mm256_add_ps(low, TERM(x, _mm256_loadu_ps(b + i)));                             \
            high = _mm256_add_ps(high, TERM(y, _mm256_loadu_ps(b + i + 8)));                       \
        }                                                                                          \
        if (i < n) {                                                                               \
            float pa[16], pb[16];                                                                  \
            load_rest(bytes + i * sizeof(float), b + i, n - i, pa, pb);                            \
            low = _mm256_add_ps(low, TERM(_mm256_loadu_ps(pa), _mm256_loadu_ps(pb)));              \
            high = _mm256_add_ps(high, TERM(_mm256_loadu_ps(pa + 8), _mm256_loadu_ps(pb + 8)));    \
        }                                                                                          \
        return tree_sum(low, high);                                                                \
    }

static inline __m256 square(__m256 x, __m256 y)
{
    __m256 difference = _mm256_sub_ps(x, y);
    return _mm256_mul_ps(difference, difference);
}

static inline __m256 absolute(__m256 x, __m256 y)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(x, y));
}

SUM_KERNEL(avx2_dot, _mm256_mul_ps)
SUM_KERNEL(avx2_square_distance, square)
SUM_KERNEL(avx2_absolute_distance, absolute)

/* 32 sums in four registers of eight: vectors 0-7, 8-15, 16-23, 24-31. */
struct sums {
    __m256i v[4];
};

static inline __m256i fold(__m256i x)
{
    return _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),
                            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)));
}

/* Accumulators a, c hold whole words of byte pairs, b, d their odd bytes: the even ones follow by
 * subtraction modulo 2^16, which saves a mask a column. */
static inline struct sums block_sums(const uint8_t *codes, const uint8_t *table, size_t columns)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    struct sums sums = {{_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                         _mm256_setzero_si256()}};
    for (size_t begin = 0; begin < columns; begin += FLUSH_COLUMNS) {
        size_t end = columns - begin > FLUSH_COLUMNS ? begin + FLUSH_COLUMNS : columns, j = begin;
        __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
        for (; j + 2 <= end; j += 2) {
            __m256i code = _mm256_loadu_si256((const __m256i *)(const void *)(codes + 16 * j));
            __m256i entry = _mm256_loadu_si256((const __m256i *)(const void *)(table + 16 * j));
            __m256i low = _mm256_shuffle_epi8(entry, _mm256_and_si256(code, nibble));
            __m256i high =
                _mm256_shuffle_epi8(entry, _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble));
            a = _mm256_add_epi16(a, low);
            b = _mm256_add_epi16(b, _mm256_srli_epi16(low, 8));
            c = _mm256_add_epi16(c, high);
            d = _mm256_add_epi16(d, _mm256_srli_epi16(high, 8));
        }
        if (j < end) {
            __m128i code = _mm_loadu_si128((const __m128i *)(const void *)(codes + 16 * j));
            __m128i entry = _mm_loadu_si128((const __m128i *)(const void *)(table + 16 * j));
            __m128i mask = _mm256_castsi256_si128(nibble);
            __m256i low =
                _mm256_zextsi128_si256(_mm_shuffle_epi8(entry, _mm_and_si128(code, mask)));
            __m256i high = _mm256_zextsi128_si256(
                _mm_shuffle_epi8(entry, _mm_and_si128(_mm_srli_epi16(code, 4), mask)));
            a = _mm256_add_epi16(a, low);
            b = _mm256_add_epi16(b, _mm256_srli_epi16(low, 8));
            c = _mm256_add_epi16(c, high);
            d = _mm256_add_epi16(d, _mm256_srli_epi16(high, 8));
        }
        a = _mm256_sub_epi16(a, _mm256_slli_epi16(b, 8));
        c = _mm256_sub_epi16(c, _mm256_slli_epi16(d, 8));
        sums.v[0] = _mm256_add_epi32(sums.v[0], fold(a));
        sums.v[1] = _mm256_add_epi32(sums.v[1], fold(b));
        sums.v[2] = _mm256_add_epi32(sums.v[2], fold(c));
        sums.v[3] = _mm256_add_epi32(sums.v[3], fold(d));
    }
    return sums;
}

static void avx2_block_sums(const uint8_t *codes, const uint8_t *table, size_t columns,
                            uint32_t *out)
{
    struct sums sums = block_sums(codes, table, columns);
    for (size_t i = 0; i < 4; i++)
        _mm256_storeu_si256((__m256i *)(void *)(out + 8 * i), sums.v[i]);
}

static inline __m256 load8(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static uint32_t avx2_scan_block(const struct scan_query *query, const uint8_t *block, float *bounds)
{
    struct sums sums = block_sums(block, query->table, query->columns);
    const uint8_t *f_mul = block + 16 * query->columns;
    const uint8_t *f_add = f_mul + CODEC_BLOCK_LANES * sizeof(float);
    const __m256 step = _mm256_set1_ps(query->step), shift = _mm256_set1_ps(query->shift);
    const __m256 add = _mm256_set1_ps(query->add), threshold = _mm256_set1_ps(query->threshold);
    uint32_t mask = 0;
    for (size_t i = 0; i < 4; i++) {
        __m256 ip = _mm256_add_ps(_mm256_mul_ps(step, _mm256_cvtepi32_ps(sums.v[i])), shift);
        __m256 bound = _mm256_add_ps(_mm256_add_ps(load8(f_add + 32 * i), add),
                                     _mm256_mul_ps(load8(f_mul + 32 * i), ip));
        _mm256_storeu_ps(bounds + 8 * i, bound);
        int lanes = _mm256_movemask_ps(_mm256_cmp_ps(bound, threshold, _CMP_GE_OQ));
        mask |= (uint32_t)lanes << (8 * i);
    }
    return mask;
}

static inline __m256i row_products(__m256i levels, __m256i query)
{
    __m256i words = _mm256_maddubs_epi16(_mm256_abs_epi8(levels), _mm256_sign_epi8(query, levels));
    return _mm256_madd_epi16(words, _mm256_set1_epi16(1));
}

static int32_t avx2_row_dot(const uint8_t *code, const int8_t *query, size_t dim)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i levels = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)(const void *)codebook_levels_4bit));
    __m256i sum = _mm256_setzero_si256();
    size_t begin = 0;
    for (; begin + 128 <= dim; begin += 128, code += 64) {
        for (size_t i = 0; i < 64; i += 32) {
            __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(code + i));
            __m256i low = _mm256_shuffle_epi8(levels, _mm256_and_si256(c, nibble));
            __m256i high =
                _mm256_shuffle_epi8(levels, _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble));
            const int8_t *q = query + begin + i;
            sum = _mm256_add_epi32(
                sum, row_products(low, _mm256_loadu_si256((const __m256i *)(const void *)q)));
            sum = _mm256_add_epi32(
                sum,
                row_products(high, _mm256_loadu_si256((const __m256i *)(const void *)(q + 64))));
        }
    }
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    int32_t total = _mm_cvtsi128_si32(four);
    return begin < dim ? total + kernels_scalar.row_dot(code, query + begin, dim - begin) : total;
}

/* Codes of 8 values as eight dwords; adds their products to dots. */
static inline __m256i quantise8(__m256 z, float factor, __m256 *dots, __m256i *norm)
{
    __m256 scaled = _mm256_mul_ps(z, _mm256_set1_ps(factor));
    __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), scaled);
    __m256i rank = _mm256_setzero_si256();
    for (size_t i = 0; i < 7; i++) {
        __m256 above =
            _mm256_cmp_ps(magnitude, _mm256_set1_ps(codebook_thresholds_4bit[i]), _CMP_GT_OQ);
        rank = _mm256_sub_epi32(rank, _mm256_castps_si256(above));
    }
    const __m256i levels = _mm256_setr_epi32(5, 15, 25, 36, 48, 62, 79, 104);
    __m256i level = _mm256_permutevar8x32_epi32(levels, rank);
    __m256i negative = _mm256_srai_epi32(_mm256_castps_si256(scaled), 31);
    *norm = _mm256_add_epi32(*norm, _mm256_mullo_epi32(level, level));
    level = _mm256_sub_epi32(_mm256_xor_si256(level, negative), negative);
    *dots = _mm256_add_ps(*dots, _mm256_mul_ps(z, _mm256_cvtepi32_ps(level)));
    __m256i code = _mm256_add_epi32(rank, _mm256_set1_epi32(8));
    return _mm256_blendv_epi8(code, _mm256_sub_epi32(_mm256_set1_epi32(7), rank), negative);
}

/* Whole groups of 16; the rest (< 16) goes through padded copies whose dots add nothing that the
 * reference would not: padded z is +0, its product 0, its norm subtracted. */
static float avx2_quantise(const float *z, size_t n, float factor, uint8_t *codes)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    int64_t norm = 0;
    for (size_t i = 0; i < n;) {
        size_t end = n - i > 4096 ? i + 4096 : n; /* 104^2 * 4096 / 8 fits i32 */
        __m256i part = _mm256_setzero_si256();
        for (; i < end; i += 16) {
            float padded[16] = {0};
            const float *at = z + i;
            size_t count = end - i < 16 ? end - i : 16;
            if (count < 16) {
                __builtin_memcpy(padded, at, count * sizeof *padded);
                at = padded;
                norm -= (int64_t)(16 - count) * 25;
            }
            __m256i a = quantise8(_mm256_loadu_ps(at), factor, &low, &part);
            __m256i b = quantise8(_mm256_loadu_ps(at + 8), factor, &high, &part);
            __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
            __m128i bytes =
                _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            uint8_t out[16];
            _mm_storeu_si128((__m128i *)(void *)out, bytes);
            __builtin_memcpy(codes + i, out, count);
        }
        i = end;
        int32_t parts[8];
        _mm256_storeu_si256((__m256i *)(void *)parts, part);
        for (size_t k = 0; k < 8; k++)
            norm += parts[k];
    }
    return tree_sum(low, high) / sqrtf((float)norm);
}

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .supported = avx2_supported,
    .hadamard = avx2_hadamard,
    .dot = avx2_dot,
    .square_distance = avx2_square_distance,
    .absolute_distance = avx2_absolute_distance,
    .block_sums = avx2_block_sums,
    .scan_block = avx2_scan_block,
    .row_dot = avx2_row_dot,
    .quantise = avx2_quantise,
};

#else
typedef int kernels_avx2_empty;
#endif
