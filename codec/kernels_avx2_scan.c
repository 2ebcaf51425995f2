/* AVX2: queries, scans of blocks, row codes and centres. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "codec/codebook.h"
#include "codec/kernels_avx2.h"

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

void avx2_fill_lut(const float *x, size_t column_count, unsigned bits, float per_step, uint8_t *lut)
{
    (bits == 2 ? fill_lut_2 : fill_lut_1)(x, column_count, per_step, lut);
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

void avx2_scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *sums)
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

void avx2_scan_blocks(const uint8_t *blocks, size_t block_count, struct block_shape shape,
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

static inline __m256i load_quads(const uint8_t *bytes)
{
    int32_t quad;
    memcpy(&quad, bytes, sizeof quad);
    return _mm256_set1_epi32(quad);
}

/* Four dims of all lanes: the query, and its magnitudes. */
struct quads {
    __m256i signs, sizes;
};

static inline struct quads quads_at(const uint8_t *query)
{
    const __m256i quads = load_quads(query);
    return (struct quads){quads, _mm256_abs_epi8(quads)};
}

/* |query| times the level with the query's sign, four dims of a lane added. */
static inline __m256i lane_products(__m256i nibbles, __m256i levels, struct quads query)
{
    const __m256i level = _mm256_sign_epi8(_mm256_shuffle_epi8(levels, nibbles), query.signs);
    return _mm256_madd_epi16(_mm256_maddubs_epi16(query.sizes, level), _mm256_set1_epi16(1));
}

static inline struct sums lane_sums_4(const uint8_t *codes, size_t code_bytes, const uint8_t *query)
{
    const __m256i levels =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)codebook_levels_4));
    const __m256i mask = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    struct sums sums = {{zero, zero, zero, zero}};
    for (size_t at = 0; at < code_bytes; at += 128, query += 8) {
        const struct quads first = quads_at(query), second = quads_at(query + 4);
        for (size_t i = 0; i < 4; i++) {
            const __m256i part = load_bytes(codes + at + 32 * i);
            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(part, 4), mask);
            const __m256i both =
                _mm256_add_epi32(lane_products(_mm256_and_si256(part, mask), levels, first),
                                 lane_products(high, levels, second));
            sums.of[i] = _mm256_add_epi32(sums.of[i], both);
        }
    }
    return sums;
}

/* Sums of the levels 2 k + 1: twice those of k, and the query's. */
static inline struct sums lane_sums_8(const uint8_t *codes, size_t code_bytes, const uint8_t *query)
{
    __m256i of_k[8], of_query = _mm256_setzero_si256();
    for (size_t i = 0; i < 8; i++) {
        of_k[i] = _mm256_setzero_si256();
    }
    for (size_t at = 0; at < code_bytes; at += 128, query += 8) {
        long long quad;
        memcpy(&quad, query, sizeof quad);
        const __m256i four = _mm256_set1_epi64x(quad);
        of_query = _mm256_add_epi32(of_query, _mm256_madd_epi16(four, _mm256_set1_epi16(1)));
        for (size_t i = 0; i < 8; i++) {
            const __m256i k =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(codes + at + 16 * i)));
            of_k[i] = _mm256_add_epi32(of_k[i], _mm256_madd_epi16(k, four));
        }
    }
    struct sums sums;
    of_query = _mm256_add_epi32(of_query, _mm256_shuffle_epi32(of_query, 0xb1));
    for (size_t i = 0; i < 4; i++) {
        const __m256i pairs = _mm256_hadd_epi32(of_k[2 * i], of_k[2 * i + 1]);
        const __m256i in_order = _mm256_permute4x64_epi64(pairs, 0xd8);
        sums.of[i] = _mm256_add_epi32(_mm256_slli_epi32(in_order, 1), of_query);
    }
    return sums;
}

static inline __m256 lane_bounds_of(__m256i sums, const uint8_t *f_mul,
                                    const struct scan_line *line)
{
    const __m256 mul = load_floats(f_mul), norm = load_floats(f_mul + 64 * sizeof(float));
    const __m256i byte = _mm256_and_si256(_mm256_castps_si256(mul), _mm256_set1_epi32(255));
    const __m256 root = _mm256_castsi256_ps(_mm256_sub_epi32(
        _mm256_set1_epi32(KERNEL_ROOT_ONE), _mm256_slli_epi32(byte, KERNEL_ROOT_SHIFT)));
    const __m256 ip = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(line->step));
    const __m256 width =
        _mm256_mul_ps(norm, _mm256_add_ps(_mm256_mul_ps(root, _mm256_set1_ps(line->of_error)),
                                          _mm256_set1_ps(line->of_norm)));
    const __m256 shifted =
        _mm256_add_ps(_mm256_mul_ps(mul, ip), load_floats(f_mul + 32 * sizeof(float)));
    const __m256 bound = _mm256_add_ps(_mm256_add_ps(shifted, _mm256_set1_ps(line->add)), width);
    return _mm256_min_ps(bound, _mm256_set1_ps(INFINITY));
}

static inline uint32_t lane_bounds(const uint8_t *block, struct block_shape shape,
                                   const struct scan_task *task, float *bounds, unsigned bits)
{
    const size_t code_bytes = shape.column_count * 16;
    const struct sums sums = bits == 4 ? lane_sums_4(block, code_bytes, task->lut)
                                       : lane_sums_8(block, code_bytes, task->lut);
    const __m256 threshold = _mm256_set1_ps(task->line.threshold);
    uint32_t mask = 0;
    for (size_t i = 0; i < 4; i++) {
        const __m256 bound = lane_bounds_of(sums.of[i], block + code_bytes + 32 * i, &task->line);
        const __m256 kept = _mm256_cmp_ps(bound, threshold, _CMP_GE_OQ);
        mask |= (uint32_t)_mm256_movemask_ps(kept) << (8 * i);
        _mm256_storeu_ps(bounds + 8 * i, bound);
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

void avx2_scan_lanes_4(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                       const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 4);
}

void avx2_scan_lanes_8(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                       const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 8);
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

struct row_sums avx2_row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
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

void avx2_rows_sums(const uint8_t *const *codes, size_t count, size_t code_bytes, const int8_t *low,
                    const int8_t *high, struct row_sums *sums)
{
    for (size_t i = 0; i < count; i++) {
        sums[i] = avx2_row_sums(codes[i], code_bytes, low, high);
    }
}

struct row_sums avx2_row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
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

/* ---- centres ---- */

void avx2_int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
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

#else
enum { KERNELS_AVX2_SCAN_IS_FOR_X86_64 }; /* a translation unit may not be empty */
#endif
