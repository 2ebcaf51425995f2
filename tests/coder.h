/* One scheme at one width, kith's own codes or one of family.h, as the comparison sees it: a
 * rotated residual goes in, what its code stands for comes out. And what is measured of it. */
#ifndef KITH_TESTS_CODER_H
#define KITH_TESTS_CODER_H

#include "codec/codec.h"
#include "tests/family.h"

#define CODER_COSINES 3u
extern const double coder_cosines[CODER_COSINES]; /* 0, .5, .9 */

struct coder {
    const char *name;
    unsigned bits; /* CODE_1_5 too, kith's */
    bool kith;
    enum scheme scheme; /* unless kith */
    uint32_t dim;
    struct codec *codec;   /* owned; kith's */
    struct family *family; /* borrowed */
    uint8_t *code;
    void *work;
    float *extended, *scratch; /* [1.5 dim] */
    struct code_factors factors;
    struct family_scalars scalars;
};

/* bits: as family.h, or for kith 1, CODE_1_5, 2, 4, 8. seed: kith's, for the rotation of CODE_1_5.
 * Aborts when out of memory; coder_release frees. */
struct coder coder_kith(uint32_t dim, unsigned bits, uint64_t seed);
struct coder coder_family(struct family *family, uint32_t dim, enum scheme scheme, unsigned bits);
void coder_release(struct coder *coder);
/* SCHEME_RANDOM_PROJECTION compares codes with codes; everything else decodes. */
bool coder_decodes(const struct coder *coder);
double coder_bits(const struct coder *coder); /* 1.5 for CODE_1_5 */

void coder_encode(struct coder *coder, const float *rotated);
/* What the last code stands for, float[dim]. */
void coder_decode(struct coder *coder, float *out);
/* Estimate of <q, r> of the last code where nothing is decoded: code_q of the same coder. */
double coder_product(const struct coder *coder, const uint8_t *code_q, double norm_q);

struct coder_figures {
    double error;                /* mean |r^ - r|^2 / |r|^2 (0: decodes nothing) */
    double slope;                /* mean estimate of cosine .9, over .9 */
    double noise[CODER_COSINES]; /* d Var(estimate / slope) between unit vectors */
    double encode_us;            /* of rotated vectors, this thread's time */
};

/* rows: rotated residuals, float[count * dim]; zero rows are passed over. Partners at the given
 * cosines are made of other rows' directions. */
struct coder_figures coder_measure(struct coder *coder, const float *rows, size_t count);

#endif
