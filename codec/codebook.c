#include "codec/codebook.h"

const int8_t codebook_levels_4bit[16] = {-104, -79, -62, -48, -36, -25, -15, -5,
                                         5,    15,  25,  36,  48,  62,  79,  104};

#define MIDPOINT(a, b) ((float)(((a) + (b)) / 2.0 * CODEBOOK_UNIT_4BIT))
const float codebook_thresholds_4bit[7] = {
    MIDPOINT(5, 15),  MIDPOINT(15, 25), MIDPOINT(25, 36),  MIDPOINT(36, 48),
    MIDPOINT(48, 62), MIDPOINT(62, 79), MIDPOINT(79, 104),
};

const float codebook_search[CODEBOOK_SEARCH_COUNT] = {0.92f, 0.965f, 1.01f, 1.055f, 1.10f};
