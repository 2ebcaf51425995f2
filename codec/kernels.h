/* One table of functions per instruction set; the scalar one defines every answer.
 *
 * Integer results and encode are identical on every table. Float sums run over 16 lanes (element i
 * goes to lane i mod 16, lanes added as a tree 8, 4, 2, 1), multiply and add rounded separately, so
 * exact keys are identical too. To add a machine: add kernels_<isa>.c and a row in kernels.c. */
#ifndef KITH_CODEC_KERNELS_H
#define KITH_CODEC_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One block's scan: bound = (add + f_add) + f_mul * (step * sum + shift), and a lane survives when
 * bound >= threshold. shift holds both the table's bias and the half width (f_mul is never
 * negative). */
struct scan_query {
    const uint8_t *table; /* [columns][16] u8 */
    size_t columns;
    float step, shift, add, threshold;
};

struct kernels {
    const char *name;
    bool (*supported)(void);
    /* In-place natural-order Walsh-Hadamard transform of n = 2^k floats, scaled by `scale`. */
    void (*hadamard)(float *x, size_t n, float scale);
    /* ||a-b||^2-style sums, a at any alignment (bytes of float[n]). */
    float (*dot)(const uint8_t *a, const float *b, size_t n);
    float (*square_distance)(const uint8_t *a, const float *b, size_t n);
    float (*absolute_distance)(const uint8_t *a, const float *b, size_t n);
    /* FastScan: sums[32] of one block. */
    void (*block_sums)(const uint8_t *codes, const uint8_t *table, size_t columns, uint32_t *sums);
    /* Fused scan of one block: mask of surviving lanes, their bounds in bounds[32]. */
    uint32_t (*scan_block)(const struct scan_query *query, const uint8_t *block, float *bounds);
    /* sum of level(code j) * query[j] over dims; row nibbles (codec.c). */
    int32_t (*row_dot)(const uint8_t *code, const int8_t *query, size_t dim);
    /* Nearest 4-bit code of z[j] * factor for every j; returns sum z[j]*level / sqrt(sum level^2),
     * the figure the scale search maximises. */
    float (*quantise)(const float *z, size_t n, float factor, uint8_t *codes);
};

extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
#endif

const struct kernels *kernels_best(void);
const struct kernels *kernels_by_name(const char *name); /* NULL if unknown or unsupported */

#endif
