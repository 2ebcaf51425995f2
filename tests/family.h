/* The family kith's codes come from: every scheme that gives each rotated coordinate one of 2^b
 * levels and each vector one or two numbers, in floats and plain C, to compare with and to learn
 * from. They differ in the levels and in one line, the scale S of the decoded vector
 *
 *     x^ = m + S R'c,   r = x - m,   c the levels of Rr,   z = Rr sqrt(d)/|r|
 *
 *     EDEN, unbiased       S = |r|^2 / <Rr,c>    <x^ - m, r> = |r|^2 exactly: the error lies across
 *                                                r, so the estimate <q, x^> is unbiased and its
 *                                                noise falls as q nears x
 *     EDEN, biased         S = <Rr,c> / |c|^2    least square error; shrinks every estimate
 *     matched norm         S = |r| / |c|         |x^ - m| = |r|; the geometric mean of the two
 *     TurboQuant_mse       S = |r| / sqrt(d)     no look at the code: least error on average only
 *     TurboQuant_prod      b-1 bits of TurboQuant_mse and one sign a dim of a sketch G of what is
 *                          left, e = r - (x^ - m): adds sqrt(pi/2)/d |e| G'sign(Ge) for G of N(0,1)
 *                          entries, sqrt(pi/2)/sqrt(d) |e| G'sign(Ge) for an orthonormal one
 *     DRIVE                EDEN, unbiased, at 1 bit
 *     RaBitQ               EDEN's unbiased scale over a uniform grid, its step the best for each
 *                          vector, or one for all
 *     random projections   both sides coded; the cosine whose cell counts are likeliest
 *
 * kith's own code is EDEN, unbiased, over integer levels with a search of five scales: in floats
 * SCHEME_EDEN_SEARCH, the real thing in codec/codec.h.
 *
 * They share kith's rotation (codec_rotate before, rotate.h for the orthonormal sketch) and
 * packing: planes of ceil(dim/8) bytes in the order of kith's 1-bit codes, most significant first,
 * so that plane 0 of a Lloyd-Max index is kith's 1-bit code itself.
 *
 * Sources: Vargaftik et al., DRIVE (NeurIPS 2021) and EDEN (ICML 2022); Zandieh et al., TurboQuant
 * (arXiv 2504.19874) and QJL (arXiv 2406.03482); Gao and Long, RaBitQ (SIGMOD 2024), Gao et al.
 * (SIGMOD 2025) for more bits; Li, Mitzenmacher and Slawski, Quantized random projections and
 * non-linear estimation of cosine similarity (NeurIPS 2016). */
#ifndef KITH_TESTS_FAMILY_H
#define KITH_TESTS_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAMILY_BITS_MAX 8u

enum scheme {
    SCHEME_EDEN_SEARCH,
    SCHEME_EDEN_UNBIASED,
    SCHEME_DRIVE,
    SCHEME_RABITQ,      /* step of each vector, the best of all */
    SCHEME_RABITQ_STEP, /* one step for all vectors */
    SCHEME_EDEN_BIASED,
    SCHEME_MATCHED_NORM,
    SCHEME_TURBOQUANT_MSE,
    SCHEME_TURBOQUANT_PROD_ORTHONORMAL,
    SCHEME_TURBOQUANT_PROD_GAUSSIAN,
    SCHEME_RANDOM_PROJECTION,
    SCHEME_COUNT
};

const char *scheme_name(enum scheme scheme);
/* Whether a scheme is defined at `bits` (1..8). */
bool scheme_takes(enum scheme scheme, unsigned bits);

/* Tables for one dimension: quantiles, steps, sketches. Owner: the caller, family_free. The
 * Gaussian sketch (dim^2 floats) is made at the first family_encode that needs it: encode with that
 * scheme from one thread first. Aborts when out of memory. */
struct family;
struct family *family_new(uint32_t dim, uint64_t seed);
void family_free(struct family *family);

/* Everything stored for one vector besides its planes. */
struct family_scalars {
    double scale; /* S */
    double left;  /* TurboQuant_prod: |e|; random projections: |r| */
};

/* Bytes of a code: bits planes. */
size_t family_code_bytes(const struct family *family, unsigned bits);

/* Code one residual. rotated: float[dim], Rr; code: out, family_code_bytes(bits). r = 0 gives
 * scalars of 0. */
void family_encode(struct family *family, enum scheme scheme, unsigned bits, const float *rotated,
                   uint8_t *code, struct family_scalars *scalars);

/* out float[dim]: R(x^ - m), so that the estimate of <q, r> is <Rq, out>. Not for
 * SCHEME_RANDOM_PROJECTION, which decodes no vector. */
void family_decode(const struct family *family, enum scheme scheme, unsigned bits,
                   const uint8_t *code, struct family_scalars scalars, float *out);

/* SCHEME_RANDOM_PROJECTION: the likeliest cosine of two codes (1 or 2 bits). */
double family_cosine(const struct family *family, unsigned bits, const uint8_t *a,
                     const uint8_t *b);

/* D_b, the mean squared error of the Lloyd-Max levels against N(0,1), and the step of the best
 * uniform grid of 2^bits levels, in standard deviations. */
double family_level_error(unsigned bits);
double family_grid_step(unsigned bits);

#endif
