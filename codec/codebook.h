/* Levels of the codes and the thresholds between them.
 *
 * Lloyd-Max levels of the normal distribution as small integers times a unit, so that every
 * instruction set gets the same integer inner products. Rounding them costs 0.055 % of variance at
 * 4 bits; as scales are computed with the very integers, it causes no bias. */
#ifndef KITH_CODEC_CODEBOOK_H
#define KITH_CODEC_CODEBOOK_H

#include <stdint.h>

#include "codec/kernels.h"

#define CODEBOOK_RANKS_4 8u
#define CODEBOOK_UNIT_1 0.797884561     /* level 1 in standard deviations */
#define CODEBOOK_UNIT_4 0.0262118903693 /* 2.732589571 / 104.25 */
/* 2 bits: levels +-18 and +-60; 8 bits: the uniform grid, levels 2 k + 1, k -128..127. */
#define CODEBOOK_LEVEL_2 18
#define CODEBOOK_OUTER_2 60
#define CODEBOOK_RISE_2 .35f              /* from one outer level to the next, over all: 42 / 120 */
#define CODEBOOK_THRESHOLD_2 0.9815988115 /* between them, in standard deviations */
#define CODEBOOK_UNIT_2 0.0251736268      /* 1.510417608 / 60 */
#define CODEBOOK_UNIT_8 0.015381198       /* 0.030762396 / 2 */
/* Mean squared error of a level against N(0,1): D_b; K_b = sqrt(D_b (1 - D_b)). */
#define CODEBOOK_ERROR_1 0.363380227632
#define CODEBOOK_ERROR_2 0.117481847829
#define CODEBOOK_ERROR_4 0.009501008008
/* Scales tried for each vector; the one whose code has the largest cosine is kept. */
#define CODEBOOK_SCALES KERNEL_TABLES

/* Positive levels of 4 bits, by rank, and all sixteen, by index. */
extern const uint8_t codebook_ranks_4[CODEBOOK_RANKS_4];
extern const int8_t codebook_levels_4[16];

/* A level of 1 in standard deviations. bits: an enum code_bits but CODE_NONE. */
double codebook_unit(unsigned bits);

/* |L|^2 of a 2-bit code with so many outer levels. */
static inline double codebook_square_2(uint32_t dim, double outer)
{
    const double inner = CODEBOOK_LEVEL_2 * CODEBOOK_LEVEL_2;
    return (double)dim * inner + outer * (CODEBOOK_OUTER_2 * CODEBOOK_OUTER_2 - inner);
}

/* How far a code is from its vector, 1 - rho^2 with rho the cosine between them, in one byte on a
 * logarithmic scale: 32 steps an octave at 1 bit, 16 otherwise (down to 2^-16). */
uint8_t codebook_error_byte(unsigned bits, double error);
double codebook_error_of(unsigned bits, uint8_t byte);

/* Thresholds between the levels divided by scale i of CODEBOOK_SCALES, in 1/32 units. */
void codebook_rank_table(unsigned i, struct rank_table *table);

#endif
