/* Rounds t = 0, 1, 2: signs; from the second round on y[j] <- y[(stride * j) mod dim] (unless dim
 * is a power of two); greedy descending power-of-two chunks, each transformed and scaled by n^-1/2.
 */
#include "codec/rotate.h"

#include <math.h>
#include <string.h>

uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The smallest integer from the golden section of dim on that is coprime to it. */
static uint32_t stride_of(uint32_t dim)
{
    uint32_t stride = (uint32_t)(0.6180339887 * (double)dim);
    if (stride == 0)
        stride = 1;
    while (common_divisor(stride, dim) != 1)
        stride++;
    return stride;
}

void rotation_init(struct rotation *rotation, uint32_t dim, uint64_t seed, uint64_t *signs)
{
    rotation->dim = dim;
    rotation->stride = (dim & (dim - 1)) == 0 ? 0 : stride_of(dim);
    rotation->signs = signs;
    size_t words = ROTATE_ROUNDS * (((size_t)dim + 63) / 64);
    for (size_t i = 0; i < words; i++)
        signs[i] = splitmix64(&seed);
}

/* Flip the sign bit where the word's bit is set: exact, and without a branch. */
static void apply_signs(float *x, const uint64_t *signs, size_t dim)
{
    for (size_t j = 0; j < dim; j++) {
        uint32_t bits;
        memcpy(&bits, &x[j], sizeof bits);
        bits ^= (uint32_t)((signs[j / 64] >> (j % 64)) & 1) << 31;
        memcpy(&x[j], &bits, sizeof bits);
    }
}

static void apply_chunks(const struct kernels *kernels, float *x, size_t dim)
{
    for (size_t begin = 0; begin < dim;) {
        size_t n = (size_t)1 << (63 - __builtin_clzll((unsigned long long)(dim - begin)));
        kernels->hadamard(x + begin, n, (float)(1.0 / sqrt((double)n)));
        begin += n;
    }
}

static void permute(const float *x, float *y, uint32_t dim, uint32_t stride)
{
    for (uint32_t j = 0, from = 0; j < dim; j++) {
        y[j] = x[from];
        from += stride;
        if (from >= dim)
            from -= dim;
    }
}

static void permute_back(const float *y, float *x, uint32_t dim, uint32_t stride)
{
    for (uint32_t j = 0, to = 0; j < dim; j++) {
        x[to] = y[j];
        to += stride;
        if (to >= dim)
            to -= dim;
    }
}

void rotation_apply(const struct rotation *rotation, const struct kernels *kernels, const float *x,
                    float *y, float *work)
{
    size_t dim = rotation->dim, words = (dim + 63) / 64;
    memcpy(y, x, dim * sizeof *y);
    for (size_t t = 0; t < ROTATE_ROUNDS; t++) {
        apply_signs(y, rotation->signs + t * words, dim);
        if (t > 0 && rotation->stride != 0) {
            memcpy(work, y, dim * sizeof *y);
            permute(work, y, rotation->dim, rotation->stride);
        }
        apply_chunks(kernels, y, dim);
    }
}

void rotation_undo(const struct rotation *rotation, const struct kernels *kernels, const float *y,
                   float *x, float *work)
{
    size_t dim = rotation->dim, words = (dim + 63) / 64;
    memcpy(x, y, dim * sizeof *x);
    for (size_t t = ROTATE_ROUNDS; t-- > 0;) {
        apply_chunks(kernels, x, dim);
        if (t > 0 && rotation->stride != 0) {
            memcpy(work, x, dim * sizeof *x);
            permute_back(work, x, rotation->dim, rotation->stride);
        }
        apply_signs(x, rotation->signs + t * words, dim);
    }
}
