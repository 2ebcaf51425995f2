/* The seeded rotation R: three rounds of random signs, a stride permutation, and a chunked
 * Walsh-Hadamard transform. Any dimension, no padding, no table beyond the sign words.
 *
 * One round is unusable and two leave sparse inputs up to 2.8 times off; three stay within 6 % of a
 * uniformly random rotation at 64 dims and 2 % from 384 on (codec specification 1.2, measured). */
#ifndef KITH_CODEC_ROTATE_H
#define KITH_CODEC_ROTATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/kernels.h"

#define ROTATE_ROUNDS 3

struct rotation {
    uint32_t dim;
    uint32_t stride; /* of the permutation; 0 when dim is a power of two: none */
    uint64_t *signs; /* [ROTATE_ROUNDS][ceil(dim/64)] */
};

/* The next word of splitmix64. */
uint64_t splitmix64(uint64_t *state);
/* Fill a rotation; signs: uint64_t[ROTATE_ROUNDS * ceil(dim/64)], the caller's. */
void rotation_init(struct rotation *rotation, uint32_t dim, uint64_t seed, uint64_t *signs);
/* y = R x. work float[dim]; none may overlap. Bit-identical on every kernel table. */
void rotation_apply(const struct rotation *rotation, const struct kernels *kernels, const float *x,
                    float *y, float *work);
/* x = R^-1 y. */
void rotation_undo(const struct rotation *rotation, const struct kernels *kernels, const float *y,
                   float *x, float *work);

#endif
