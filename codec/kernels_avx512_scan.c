/* AVX-512: queries, scans of blocks, row codes and centres. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "codec/codebook.h"
#include "codec/kernels_avx512.h"

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

void avx512_fill_lut(const float *x, size_t column_count, unsigned bits, float per_step,
                     uint8_t *lut)
{
    (bits == 2 ? fill_lut_2 : fill_lut_1)(x, column_count, per_step, lut);
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

void avx512_scan_sums(const uint8_t *codes, size_t column_count, const uint8_t *lut, uint32_t *out)
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

void avx512_scan_blocks(const uint8_t *blocks, size_t block_count, struct block_shape shape,
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

/* ---- lane-16 codes ---- */

#define MOST_LEVEL 104 /* of 4 bits: added to a level, it is not below zero */

static inline __m512i raised_levels(void)
{
    return _mm512_broadcast_i32x4(_mm_setr_epi8(0, 25, 42, 56, 68, 79, 89, 99, 109, 119, (char)129,
                                                (char)140, (char)152, (char)166, (char)183,
                                                (char)208));
}

/* What raising the levels adds: MOST_LEVEL times the sum of the query. */
static inline int32_t raised_by(const uint8_t *query, size_t n)
{
    __m512i sums = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 64) {
        sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(MOST_LEVEL), load_bytes(query + i));
    }
    return sum_of_32(sums);
}

static inline __m512i load_quads(const uint8_t *bytes)
{
    int32_t quad;
    memcpy(&quad, bytes, sizeof quad);
    return _mm512_set1_epi32(quad);
}

/* Sums of `count` queries; eight dims of 16 lanes a register. */
static inline void lane_sums_4(const uint8_t *codes, size_t code_bytes,
                               const struct scan_task *tasks, size_t count, struct sums *sums)
{
    const __m512i raised = raised_levels(), mask = _mm512_set1_epi8(15);
    for (size_t i = 0; i < count; i++) {
        const int32_t back = raised_by(tasks[i].lut, code_bytes / 16);
        sums[i].low = sums[i].high = _mm512_set1_epi32(-back);
    }
    for (size_t at = 0; at < code_bytes; at += 128) {
        const __m512i a = load_bytes(codes + at), b = load_bytes(codes + at + 64);
        const __m512i a_low = _mm512_shuffle_epi8(raised, _mm512_and_si512(a, mask));
        const __m512i b_low = _mm512_shuffle_epi8(raised, _mm512_and_si512(b, mask));
        const __m512i a_high =
            _mm512_shuffle_epi8(raised, _mm512_and_si512(_mm512_srli_epi16(a, 4), mask));
        const __m512i b_high =
            _mm512_shuffle_epi8(raised, _mm512_and_si512(_mm512_srli_epi16(b, 4), mask));
        for (size_t i = 0; i < count; i++) {
            const __m512i first = load_quads(tasks[i].lut + at / 16);
            const __m512i second = load_quads(tasks[i].lut + at / 16 + 4);
            sums[i].low = _mm512_dpbusd_epi32(sums[i].low, a_low, first);
            sums[i].high = _mm512_dpbusd_epi32(sums[i].high, b_low, first);
            sums[i].low = _mm512_dpbusd_epi32(sums[i].low, a_high, second);
            sums[i].high = _mm512_dpbusd_epi32(sums[i].high, b_high, second);
        }
    }
}

/* Sixteen lanes of two registers that hold two sums a lane, twice that and the query's sum. */
static inline __m512i lanes_of_pairs(__m512i a, __m512i b, __m512i of_query)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i whole = _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b),
                                           _mm512_permutex2var_epi32(a, odd, b));
    return _mm512_add_epi32(_mm512_slli_epi32(whole, 1), of_query);
}

static inline __m512i sum_of_int16(const uint8_t *query, size_t n)
{
    __m512i sums = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 64) {
        sums = _mm512_dpwssd_epi32(sums, load_bytes(query + i), _mm512_set1_epi16(1));
    }
    return _mm512_set1_epi32(sum_of_32(sums));
}

/* Sums of the levels 2 k + 1: twice those of k, and the query's. Eight lanes a register. */
static inline void lane_sums_8(const uint8_t *codes, size_t code_bytes,
                               const struct scan_task *tasks, size_t count, struct sums *sums)
{
    __m512i of_k[4][4];
    for (size_t i = 0; i < 4 * count; i++) {
        of_k[i / 4][i % 4] = _mm512_setzero_si512();
    }
    for (size_t at = 0; at < code_bytes; at += 128) {
        __m512i k[4];
        for (size_t part = 0; part < 4; part++) {
            const void *from = codes + at + 32 * part;
            k[part] = _mm512_cvtepi8_epi16(_mm256_loadu_si256(from));
        }
        for (size_t i = 0; i < count; i++) {
            long long quad;
            memcpy(&quad, tasks[i].lut + at / 16, sizeof quad);
            const __m512i four = _mm512_set1_epi64(quad);
            for (size_t part = 0; part < 4; part++) {
                of_k[i][part] = _mm512_dpwssd_epi32(of_k[i][part], k[part], four);
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        const __m512i of_query = sum_of_int16(tasks[i].lut, code_bytes / 16);
        sums[i].low = lanes_of_pairs(of_k[i][0], of_k[i][1], of_query);
        sums[i].high = lanes_of_pairs(of_k[i][2], of_k[i][3], of_query);
    }
}

static inline uint32_t lane_bounds_of(__m512i sums, const uint8_t *f_mul,
                                      const struct scan_line *line, float *bounds)
{
    const __m512 mul = load_floats(f_mul), norm = load_floats(f_mul + 64 * sizeof(float));
    const __m512i byte = _mm512_and_si512(_mm512_castps_si512(mul), _mm512_set1_epi32(255));
    const __m512 root = _mm512_castsi512_ps(_mm512_sub_epi32(
        _mm512_set1_epi32(KERNEL_ROOT_ONE), _mm512_slli_epi32(byte, KERNEL_ROOT_SHIFT)));
    const __m512 ip = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(line->step));
    const __m512 width =
        _mm512_mul_ps(norm, _mm512_add_ps(_mm512_mul_ps(root, _mm512_set1_ps(line->of_error)),
                                          _mm512_set1_ps(line->of_norm)));
    const __m512 shifted =
        _mm512_add_ps(_mm512_mul_ps(mul, ip), load_floats(f_mul + 32 * sizeof(float)));
    const __m512 bound =
        _mm512_min_ps(_mm512_add_ps(_mm512_add_ps(shifted, _mm512_set1_ps(line->add)), width),
                      _mm512_set1_ps(INFINITY));
    _mm512_storeu_ps(bounds, bound);
    return _mm512_cmp_ps_mask(bound, _mm512_set1_ps(line->threshold), _CMP_GE_OQ);
}

static inline void scan_lane_block(const uint8_t *block, struct block_shape shape, size_t at,
                                   uint32_t allowed, const struct scan_task *tasks, size_t count,
                                   unsigned bits)
{
    const size_t code_bytes = shape.column_count * 16;
    const uint8_t *factors = block + code_bytes;
    struct sums sums[4];
    if (bits == 4) {
        lane_sums_4(block, code_bytes, tasks, count, sums);
    } else {
        lane_sums_8(block, code_bytes, tasks, count, sums);
    }
    for (size_t i = 0; i < count; i++) {
        float *bounds = tasks[i].bounds + at * 32;
        const uint32_t low = lane_bounds_of(sums[i].low, factors, &tasks[i].line, bounds);
        const uint32_t high =
            lane_bounds_of(sums[i].high, factors + 64, &tasks[i].line, bounds + 16);
        tasks[i].survivors[at] = allowed & (low | high << 16);
    }
}

static inline void scan_lanes(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                              const uint32_t *lanes, const struct scan_task *tasks,
                              size_t task_count, unsigned bits)
{
    for (size_t block = 0; block < block_count; block++, blocks += shape.block_bytes) {
        const uint32_t allowed = lanes != NULL ? lanes[block] : ~0u;
        size_t i = 0;
        for (; allowed == 0 && i < task_count; i++) {
            tasks[i].survivors[block] = 0;
        }
        for (; i + 4 <= task_count; i += 4) {
            scan_lane_block(blocks, shape, block, allowed, tasks + i, 4, bits);
        }
        for (; i + 2 <= task_count; i += 2) {
            scan_lane_block(blocks, shape, block, allowed, tasks + i, 2, bits);
        }
        if (i < task_count) {
            scan_lane_block(blocks, shape, block, allowed, tasks + i, 1, bits);
        }
    }
}

void avx512_scan_lanes_4(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                         const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 4);
}

void avx512_scan_lanes_8(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                         const uint32_t *lanes, const struct scan_task *tasks, size_t task_count)
{
    scan_lanes(blocks, block_count, shape, lanes, tasks, task_count, 8);
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

struct row_sums avx512_row_sums(const uint8_t *code, size_t code_bytes, const int8_t *low,
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

/* Sums of one 64-byte part of a code: levels as they are above the lowest, and their squares. */
static inline void row_part_add(struct row_state *state, __m512i codes, const int8_t *low,
                                const int8_t *high)
{
    const __m512i raised = raised_levels();
    const __m512i sizes = _mm512_broadcast_i32x4(
        _mm_setr_epi8(104, 79, 62, 48, 36, 25, 15, 5, 5, 15, 25, 36, 48, 62, 79, 104));
    const __m512i mask = _mm512_set1_epi8(15);
    const __m512i a = _mm512_and_si512(codes, mask);
    const __m512i b = _mm512_and_si512(_mm512_srli_epi16(codes, 4), mask);
    const __m512i size_a = _mm512_shuffle_epi8(sizes, a), size_b = _mm512_shuffle_epi8(sizes, b);
    state->dots = _mm512_dpbusd_epi32(state->dots, _mm512_shuffle_epi8(raised, a), load_bytes(low));
    state->dots =
        _mm512_dpbusd_epi32(state->dots, _mm512_shuffle_epi8(raised, b), load_bytes(high));
    state->squares = _mm512_dpbusd_epi32(state->squares, size_a, size_a);
    state->squares = _mm512_dpbusd_epi32(state->squares, size_b, size_b);
}

/* Four rows at once share the query and the last additions: 14 ns a row of 768 dims, 20 alone. */
void avx512_rows_sums(const uint8_t *const *codes, size_t count, size_t code_bytes,
                      const int8_t *low, const int8_t *high, struct row_sums *sums)
{
    const int32_t raised = count >= 4 ? raised_by((const uint8_t *)low, code_bytes) +
                                            raised_by((const uint8_t *)high, code_bytes)
                                      : 0;
    const uint32_t padding = 2 * 25 * (uint32_t)(round_to_pad(code_bytes) - code_bytes);
    for (; count >= 4; count -= 4, codes += 4, sums += 4) {
        struct row_state state[4];
        __m512i dots[4], squares[4];
        for (size_t k = 0; k < 4; k++) {
            state[k].dots = state[k].squares = _mm512_setzero_si512();
        }
        for (size_t i = 0; i < code_bytes; i += 64) {
            const __mmask64 mask = byte_mask(code_bytes - i);
            for (size_t k = 0; k < 4; k++) {
                const __m512i part =
                    _mm512_mask_loadu_epi8(_mm512_set1_epi8((char)0x88), mask, codes[k] + i);
                row_part_add(&state[k], part, low + i, high + i);
            }
        }
        for (size_t k = 0; k < 4; k++) {
            dots[k] = state[k].dots;
            squares[k] = state[k].squares;
        }
        const __m128i all_dots = _mm_sub_epi32(sums_of_four(dots), _mm_set1_epi32(raised));
        const __m128i all_squares =
            _mm_sub_epi32(sums_of_four(squares), _mm_set1_epi32((int)padding));
        _mm_storeu_si128((void *)&sums[0], _mm_unpacklo_epi32(all_dots, all_squares));
        _mm_storeu_si128((void *)&sums[2], _mm_unpackhi_epi32(all_dots, all_squares));
    }
    for (size_t i = 0; i < count; i++) {
        sums[i] = avx512_row_sums(codes[i], code_bytes, low, high);
    }
}
_Static_assert(sizeof(struct row_sums) == 8, "four of dot and square fill two registers");

struct row_sums avx512_row_sums_8(const uint8_t *code, size_t n, const int16_t *query)
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

/* Rows moved by 128 to be unsigned, which 128 times the sum of the query takes back. */
void avx512_int8_dots(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
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

#else
enum { KERNELS_AVX512_SCAN_IS_FOR_X86_64 }; /* a translation unit may not be empty */
#endif
