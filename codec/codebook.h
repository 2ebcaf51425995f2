/* Levels of the codes: Lloyd-Max for N(0,1), rounded to small integers so that every instruction
 * set computes the same integers (costs 0.055 % of variance at 4 bits). A level is
 * sign * magnitude * unit; factors are computed with these very levels, so rounding is no bias. */
#ifndef KITH_CODEC_CODEBOOK_H
#define KITH_CODEC_CODEBOOK_H

#include <stdint.h>

#define CODEBOOK_UNIT_1BIT 0.797884561 /* of level 1 */
#define CODEBOOK_UNIT_4BIT (2.732589571 / 104.25)
/* Variance left by the quantiser, D_b, and K_b = sqrt(D_b (1 - D_b)). */
#define CODEBOOK_D_1BIT 0.363380227632
#define CODEBOOK_D_4BIT 0.009501008008
#define CODEBOOK_K_1BIT 0.48098
#define CODEBOOK_K_4BIT 0.09701

/* Level of code 0..15, ascending; 8..15 are the positive ones. */
extern const int8_t codebook_levels_4bit[16];
/* Upper threshold of magnitudes 0..6 in N(0,1) units: midpoints of the integer levels. */
extern const float codebook_thresholds_4bit[7];
/* Factors of the scale search: the codeword with the best cosine is kept. */
#define CODEBOOK_SEARCH_COUNT 5
extern const float codebook_search[CODEBOOK_SEARCH_COUNT];

#endif
