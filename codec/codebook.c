/* Integer levels and rank tables. */
#include "codec/codebook.h"

#include <assert.h>
#include <string.h>

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
