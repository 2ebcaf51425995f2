/* Integer levels and rank tables. */
#include "codec/codebook.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "codec/codec.h"

const uint8_t codebook_ranks_4[CODEBOOK_RANKS_4] = {5, 15, 25, 36, 48, 62, 79, 104};
const int8_t codebook_levels_4[16] = {-104, -79, -62, -48, -36, -25, -15, -5,
                                      5,    15,  25,  36,  48,  62,  79,  104};

/* In thousandths. The best cosine over all codewords is reached by rounding z * f for some f; these
 * five reach most of it (-16 % of variance at 100 dims, -4 % at 768). */
static const uint32_t scales[CODEBOOK_SCALES] = {920, 965, 1010, 1055, 1100};

/* The smallest magnitude, in 1/32 units, whose multiple by the scale reaches threshold `rank`, the
 * midpoint below level `rank`. */
static uint32_t threshold(unsigned rank, uint32_t scale)
{
    const uint32_t twice = (uint32_t)codebook_ranks_4[rank - 1] + codebook_ranks_4[rank];
    return (twice * 16000u + scale - 1) / scale;
}

/* 2^(-k/32): literals, since bytes on disk may not depend on a C library's exp2. */
static const double octave[32] = {1,
                                  0.97857206208770009,
                                  0.9576032806985737,
                                  0.93708381705514998,
                                  0.91700404320467122,
                                  0.89735453750155358,
                                  0.87812608018664973,
                                  0.85930964906123897,
                                  0.8408964152537145,
                                  0.82287773907698247,
                                  0.80524516597462714,
                                  0.78799042255394325,
                                  0.77110541270397037,
                                  0.75458221379671142,
                                  0.73841307296974967,
                                  0.72259040348852333,
                                  0.70710678118654757,
                                  0.69195494098191601,
                                  0.67712777346844633,
                                  0.66261832157987066,
                                  0.64841977732550482,
                                  0.63452547859586661,
                                  0.620928906036742,
                                  0.60762367999023448,
                                  0.59460355750136051,
                                  0.58186242938878874,
                                  0.56939431737834578,
                                  0.55719337129794622,
                                  0.54525386633262884,
                                  0.53357020033841185,
                                  0.52213689121370688,
                                  0.51094857432705831};
#define HALF_STEP_32 0.98922801319397546 /* 2^(-1/64) */

double codebook_unit(unsigned bits)
{
    return bits == CODE_2   ? CODEBOOK_UNIT_2
           : bits == CODE_4 ? CODEBOOK_UNIT_4
           : bits == CODE_8 ? CODEBOOK_UNIT_8
                            : CODEBOOK_UNIT_1;
}

static unsigned stride_of(unsigned bits)
{
    return bits == CODE_1 || bits == CODE_1_5 ? 1 : 2;
}

uint8_t codebook_error_byte(unsigned bits, double error)
{
    const unsigned stride = stride_of(bits), per_octave = 32 / stride;
    const double half_step = stride == 1 ? HALF_STEP_32 : HALF_STEP_32 * HALF_STEP_32;
    int exponent = -1000;
    const double mantissa = error > 0.0 ? frexp(error * half_step, &exponent) : 0.5;
    if (exponent > 0) {
        return 0;
    }
    if (exponent < -15) {
        return 255;
    }
    unsigned byte = (unsigned)-exponent * per_octave;
    for (unsigned k = 1; k < per_octave && octave[k * stride] >= mantissa; k++) {
        byte++;
    }
    return (uint8_t)(byte < 255 ? byte : 255);
}

double codebook_error_of(unsigned bits, uint8_t byte)
{
    const unsigned stride = stride_of(bits), per_octave = 32 / stride;
    return ldexp(octave[byte % per_octave * stride], -(int)(byte / per_octave));
}

void codebook_rank_table(unsigned i, struct rank_table *table)
{
    assert(i < CODEBOOK_SCALES);
    memset(table, 0, sizeof *table);
    memcpy(table->level, codebook_ranks_4, sizeof codebook_ranks_4);
    for (unsigned high = 0; high < 16; high++) {
        table->after[high] = 255;
        for (unsigned rank = 1; rank < CODEBOOK_RANKS_4; rank++) {
            const uint32_t at = threshold(rank, scales[i]);
            if (at <= high * 256u) {
                table->base[high]++;
            } else if (at < (high + 1) * 256u) {
                assert(table->after[high] == 255); /* thresholds lie 290 apart or more */
                table->after[high] = (uint8_t)(at - high * 256u - 1);
            }
        }
    }
}
