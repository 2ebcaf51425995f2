/* The rotation of rotate.h: tables once, then three rounds over two buffers. */
#include "codec/rotate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b != 0) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The smallest integer from 0.618 dim on that is coprime to it: neighbours end up far apart. */
static uint32_t stride_of(uint32_t dim)
{
    uint32_t stride = (uint32_t)(0.6180339887 * (double)dim);
    if (stride == 0) {
        stride = 1;
    }
    while (gcd(stride, dim) != 1) {
        stride++;
    }
    return stride;
}

static uint16_t *sources_new(uint32_t dim, uint32_t stride)
{
    uint16_t *sources = must(malloc(dim * sizeof *sources));
    for (uint32_t j = 0, source = 0; j < dim; j++) {
        sources[j] = (uint16_t)source;
        source += stride;
        source -= source >= dim ? dim : 0;
    }
    return sources;
}

/* Signs go to memory where the transform meets them: the first round's as they are, the others' as
 * the permutation moves them. */
static uint8_t *moved_signs_new(const struct rotation *rotation)
{
    const size_t bytes = rotation->sign_bytes;
    uint8_t *moved = must(calloc(ROTATION_ROUNDS, bytes));
    for (unsigned round = 0; round < ROTATION_ROUNDS; round++) {
        for (uint32_t j = 0; j < rotation->dim; j++) {
            const uint32_t from = round > 0 && rotation->sources != NULL ? rotation->sources[j] : j;
            const unsigned signs = rotation->signs[round * bytes + from / 8];
            const unsigned bit = signs >> (from % 8) & 1u;
            uint8_t *byte = &moved[round * bytes + j / 8];
            *byte = (uint8_t)(*byte | bit << (j % 8));
        }
    }
    return moved;
}

void rotation_init(struct rotation *rotation, uint32_t dim, uint64_t seed,
                   const struct kernels *kernels)
{
    assert(dim >= 1 && dim <= 65536);
    const size_t sign_bytes = ((size_t)dim + 63) / 64 * 8;
    const bool power_of_two = (dim & (dim - 1)) == 0;
    *rotation = (struct rotation){
        .dim = dim,
        .stride = power_of_two ? 1 : stride_of(dim),
        .sign_bytes = sign_bytes,
        .signs = must(malloc(sign_bytes * ROTATION_ROUNDS)),
        .kernels = kernels,
    };
    for (size_t i = 0; i < sign_bytes * ROTATION_ROUNDS; i += 8) {
        const uint64_t word = splitmix64(&seed);
        for (unsigned byte = 0; byte < 8; byte++) {
            rotation->signs[i + byte] = (uint8_t)(word >> (8 * byte));
        }
    }
    if (!power_of_two) {
        rotation->sources = sources_new(dim, rotation->stride);
    }
    rotation->moved = moved_signs_new(rotation);
}

void rotation_release(struct rotation *rotation)
{
    free(rotation->signs);
    free(rotation->moved);
    free(rotation->sources);
    *rotation = (struct rotation){0};
}

static const uint8_t *round_signs(const struct rotation *rotation, unsigned round)
{
    return rotation->signs + round * rotation->sign_bytes;
}

/* Each descending power of two of dim on its own, signs first: out = H(signed x). */
static void transform(const struct rotation *rotation, float *out, const float *x,
                      const uint8_t *signs)
{
    uint32_t left = rotation->dim;
    for (uint32_t at = 0; left > 0;) {
        const uint32_t n = 1u << (31 - __builtin_clz(left));
        const float scale = (float)(1.0 / sqrt((double)n));
        /* pieces shorter than a byte lie within one */
        const uint8_t byte = (uint8_t)(signs[at / 8] >> (at % 8));
        rotation->kernels->hadamard(out + at, x + at, n < 8 ? &byte : signs + at / 8, n, scale);
        at += n;
        left -= n;
    }
}

void rotation_apply(const struct rotation *rotation, const float *x, float *y, float *work)
{
    const size_t sign_bytes = rotation->sign_bytes;
    transform(rotation, y, x, rotation->moved);
    for (unsigned round = 1; round < ROTATION_ROUNDS; round++) {
        const float *from = y;
        if (rotation->sources != NULL) {
            rotation->kernels->permute(work, y, rotation->sources, rotation->dim);
            from = work;
        }
        transform(rotation, y, from, rotation->moved + round * sign_bytes);
    }
}

void rotation_invert(const struct rotation *rotation, const float *y, float *x, float *work)
{
    static const uint8_t no_signs[65536 / 8];
    const uint32_t dim = rotation->dim;
    memcpy(x, y, dim * sizeof *x);
    for (unsigned round = ROTATION_ROUNDS; round-- > 0;) {
        transform(rotation, x, x, no_signs); /* its own inverse */
        if (round > 0 && rotation->sources != NULL) {
            for (uint32_t j = 0; j < dim; j++) {
                work[rotation->sources[j]] = x[j];
            }
            memcpy(x, work, dim * sizeof *x);
        }
        rotation->kernels->copy_signed(x, x, round_signs(rotation, round), dim);
    }
}
