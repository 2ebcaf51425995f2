/* The inner loops of the codec, one table of functions per instruction set.
 *
 * kernels_scalar.c is the reference: it defines the answer, and every other table gives the same
 * bytes. That holds for floats too, because the order of every float operation is fixed here and
 * nothing is contracted (-ffp-contract=off, no FMA):
 *
 *   sum over n floats   blocks of KERNEL_SUM_BLOCK elements; in a block, lane l of 16 adds elements
 *                       l, l+16, l+32 ... in float; the 16 lane sums are added to 16 doubles, and
 *                       these at the end as a tree: l with l+8, then l+4, l+2, l+1. At most 16
 *                       float additions in a row: within 1.1e-6 of the sum of the terms'
 * magnitudes. Hadamard            signs and the scale first, then butterflies (a+b, a-b) over
 * distances 1, 2, 4, ... integers            exact, so in any order.
 *
 * A table is constant, any thread. Pointers need no alignment beyond their type's; nothing past the
 * given lengths is read or written unless said. */
#ifndef KITH_CODEC_KERNELS_H
#define KITH_CODEC_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KERNEL_SUM_BLOCK 256u
/* Bits of 1.0f, and of a float what one of the error's byte is worth: 32 a power of two. */
#define KERNEL_ROOT_ONE 0x3f800000u
#define KERNEL_ROOT_SHIFT 18
/* Byte streams of queries are zero up to a multiple of this, so that no kernel needs a tail. */
#define KERNEL_PAD 64u

static inline size_t round_to_pad(size_t n)
{
    return (n + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
}

/* Zero to one threshold in each 1/16 of the range of magnitudes: rank = base[high] plus one when
 * low > after[high]. codebook.h makes these. */
struct rank_table {
    uint8_t base[16];
    uint8_t after[16]; /* 255: no threshold here */
    uint8_t level[16]; /* level of a rank, 8 in use */
};

/* Magnitudes of a vector in 12 bits, 1/32 of a level's unit, as three planes. */
struct magnitudes {
    uint8_t *high;  /* bits 8..11 */
    uint8_t *low;   /* bits 0..7 */
    uint8_t *units; /* rounded to whole units, 0..128 */
};

/* A block: column_count columns of 16 bytes, f_mul[32], f_add[32] and what else it may hold; of
 * lane-16 codes, norm[32]. */
struct block_shape {
    size_t column_count;
    size_t block_bytes;
};

/* bound = f_mul * (sum * step + bias) + f_add + add; a lane survives unless bound < threshold.
 * Lane-16 codes: bound = f_mul * (sum * step) + f_add + add + norm * (root * of_error + of_norm),
 * root = kernel_root_of(f_mul). */
struct scan_line {
    float step;
    float bias;
    float add;
    float threshold;
    float of_error, of_norm;
};

/* Not less than the square root of the error 2^(-byte/16) in the low byte of f_mul, and at most 6 %
 * more: the exponent's power of two, and a chord for the rest of the byte. */
static inline float kernel_root_of(float f_mul)
{
    uint32_t bits;
    float root;
    memcpy(&bits, &f_mul, sizeof bits);
    bits = KERNEL_ROOT_ONE - ((bits & 255u) << KERNEL_ROOT_SHIFT);
    memcpy(&root, &bits, sizeof root);
    return root;
}

/* One query's part in a scan. */
struct scan_task {
    const uint8_t *lut; /* of lane-16 codes int8[dims] or int16[dims], zero up to KERNEL_PAD */
    struct scan_line line;
    uint32_t *survivors; /* out, a word a block */
    float *bounds;       /* out, 32 a block; undefined where the lane did not survive */
};
#define KERNEL_TASKS_MAX 8u
#define KERNEL_TABLES 5u /* of a scale search */

/* What one row code gives: the integer inner product with the query and its own square. */
struct row_sums {
    int32_t dot;
    uint32_t square;
};

/* <x, y>, |x - y|^2 and |y|^2. */
struct centre_sums {
    double product, distance, square;
};

/* <r, y>, |r|^2 and |x|^2 of r = x - y. */
struct residual_sums {
    double product, square, own;
};

/* <x, L> and <y, L>. */
struct level_sums {
    double of_x, of_y;
};

struct kernels {
    const char *name;
    bool (*supported)(void);

    /* Rotation. bits: bit j of byte j/8 negates x[j]. */
    void (*copy_signed)(float *out, const float *x, const uint8_t *bits, size_t n);
    void (*permute)(float *out, const float *x, const uint16_t *sources, size_t n);
    /* out = H(scale * x with the signs of bits), n a power of two; out may be x. */
    void (*hadamard)(float *out, const float *x, const uint8_t *bits, size_t n, float scale);

    /* Exact sums; x float[n], y float[n] as bytes at any alignment. _half: float16[n]. */
    double (*dot)(const float *x, const uint8_t *y, size_t n);
    double (*squared_distance)(const float *x, const uint8_t *y, size_t n);
    double (*absolute_distance)(const float *x, const uint8_t *y, size_t n);
    double (*dot_half)(const float *x, const uint8_t *y, size_t n);
    double (*squared_distance_half)(const float *x, const uint8_t *y, size_t n);
    double (*absolute_distance_half)(const float *x, const uint8_t *y, size_t n);
    double (*absolute_sum)(const float *x, size_t n);
    struct centre_sums (*centre_sums)(const float *x, const float *y, size_t n); /* in one pass */
    /* Sums over x and, unless NULL, over y of x[j] times: levels[j]; 2 levels[j] + 1; +1 where bit
     * j is set and -1 elsewhere. */
    struct level_sums (*level_sums)(const float *x, const float *y, const int8_t *levels, size_t n);
    struct level_sums (*grid_sums)(const float *x, const float *y, const int8_t *levels, size_t n);
    struct level_sums (*sign_sums)(const float *x, const float *y, const uint8_t *bits, size_t n);

    /* Encoding. Planes and ranks hold n bytes rounded up to KERNEL_PAD; the padding is written. */
    void (*subtract)(float *out, const float *x, const float *y, size_t n);
    struct residual_sums (*residual)(float *out, const float *x, const float *y, size_t n);
    /* 1 bit: bit j of byte j/8 set when x[j] has no sign bit; ceil(n/8) bytes. */
    void (*sign_bits)(const float *x, size_t n, uint8_t *bits);
    /* 2 bits: bit j of byte j/8 set when |x[j]| > threshold, and the level that makes with its
     * sign.
     */
    void (*outer_levels)(const float *x, size_t n, float threshold, uint8_t *bits, int8_t *levels);
    /* k = x[j] * scale rounded down, within -128..127: the level 2 k + 1 of 8 bits. */
    void (*grid_levels)(const float *x, size_t n, float scale, int8_t *levels);
    void (*magnitudes)(const float *x, size_t n, float scale, struct magnitudes out);
    /* For each of KERNEL_TABLES: *dot = sum of units * level of the rank, *square = sum of the
     * levels' squares; the caller takes the padding (magnitude 0, rank 0) off. n: a multiple of
     * KERNEL_PAD. */
    void (*try_ranks)(struct magnitudes magnitudes, size_t n, const struct rank_table *tables,
                      uint32_t *dots, uint32_t *squares);
    /* index 0..15 in order of level (7 - rank below zero, 8 + rank above) and the signed level. */
    void (*take_ranks)(struct magnitudes magnitudes, const float *x, size_t n,
                       const struct rank_table *table, uint8_t *indices, int8_t *levels);

    /* Queries. But for quantise, x is zero up to a multiple of KERNEL_PAD. */
    float (*largest)(const float *x, size_t n); /* of the magnitudes */
    /* The widest range of a column's entries: twice the sum of its magnitudes, of 4 dims at 1 bit
     * and of 2 at 2 bits. */
    float (*widest_column)(const float *x, size_t n, unsigned bits);
    /* Entries of column_count columns: how far the level of four bits is above the column's lowest,
     * over twice the outer level, times per_step, rounded, at most 255. */
    void (*fill_lut)(const float *x, size_t column_count, unsigned bits, float per_step,
                     uint8_t *lut);
    /* x * per_step rounded, halves away from zero; returns the sum of (x - out * step)^2. */
    double (*quantise)(const float *x, size_t n, float per_step, float step, int8_t *out);

    /* First stage: sums[32] of lut over the columns of one block; the u8 lut is 16 bytes a column,
     * zero up to a multiple of KERNEL_PAD. 48 bytes past the columns are readable: in a block they
     * are factors. */
    void (*scan_sums)(const uint8_t *codes, size_t column_count, const uint8_t *lut,
                      uint32_t *sums);
    /* The same over block_count blocks, fused with the bounds and their comparison, for 1 to
     * KERNEL_TASKS_MAX queries while a block is at hand. lanes: u32[block_count] of the lanes that
     * may survive, or NULL for all; a block with none is not read. Not a number counts as survived,
     * with bound +infinity. */
    void (*scan_blocks)(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                        const uint32_t *lanes, const struct scan_task *tasks, size_t task_count);

    /* The same over blocks of lane-16 codes of 4 and of 8 bits: a column_count of 8 for each 8
     * dims, or each 4. */
    void (*scan_lanes_4)(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                         const uint32_t *lanes, const struct scan_task *tasks, size_t task_count);
    void (*scan_lanes_8)(const uint8_t *blocks, size_t block_count, struct block_shape shape,
                         const uint32_t *lanes, const struct scan_task *tasks, size_t task_count);

    /* Second stage: nibbles of code_bytes bytes against two int8 streams (zero up to KERNEL_PAD):
     * low nibbles with low[], high ones with high[]. A nibble the vector lacks counts in square as
     * written: the caller takes it off. */
    struct row_sums (*row_sums)(const uint8_t *code, size_t code_bytes, const int8_t *low,
                                const int8_t *high);
    /* The same for count rows. */
    void (*rows_sums)(const uint8_t *const *codes, size_t count, size_t code_bytes,
                      const int8_t *low, const int8_t *high, struct row_sums *sums);
    /* n bytes k of an 8-bit code, level 2 k + 1, against an int16 stream (zero up to KERNEL_PAD)
     * whose magnitudes sum to at most INT32_MAX / 255. */
    struct row_sums (*row_sums_8)(const uint8_t *code, size_t n, const int16_t *query);

    /* Centres: inner products of an int8 query with count rows of int8, each row_bytes long, a
     * multiple of KERNEL_PAD and stride bytes apart; none is -128. */
    void (*int8_dots)(const int8_t *query, const uint8_t *rows, size_t count, size_t row_bytes,
                      size_t stride, int32_t *dots);
};

/* Byte k of a column holds lane fastscan_lane(k) in its low nibble and that + 16 in its high. */
static inline unsigned fastscan_lane(unsigned byte)
{
    return byte / 2 + (byte % 2) * 8;
}

extern const struct kernels kernels_scalar;

/* The best table of this CPU, or the one KITH_KERNELS names ("scalar", "avx2", "avx512", "neon").
 * A name that is unknown, or whose instructions the CPU lacks, is ignored: the answers are the same
 * bytes anyway, and codec_kernels_name tells which one runs. */
const struct kernels *kernels_best(void);
/* NULL: no such table in this build. It may still not be supported(). */
const struct kernels *kernels_by_name(const char *name);
/* Every table of this build, scalar first; NULL after the last. */
const struct kernels *kernels_at(size_t i);

#endif
