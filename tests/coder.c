/* The comparison's view of one scheme: coder.h. */
#include "tests/coder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/codec_internal.h"
#include "tests/staged.h"

const double coder_cosines[CODER_COSINES] = {0.0, 0.5, 0.9};

static void *must_allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static struct coder coder_new(uint32_t dim, unsigned bits, const char *name)
{
    return (struct coder){
        .name = name,
        .bits = bits,
        .dim = dim,
        .code = must_allocate((size_t)dim * 2),
        .extended = must_allocate((size_t)dim * 2 * sizeof(float)),
        .scratch = must_allocate((size_t)dim * 2 * sizeof(float)),
    };
}

struct coder coder_kith(uint32_t dim, unsigned bits, uint64_t seed)
{
    struct coder coder = coder_new(dim, bits, "kith");
    coder.kith = true;
    coder.codec = codec_new_bits(dim, seed, bits == CODE_1_5 ? CODE_1_5 : CODE_1, CODE_4, NULL);
    coder.work = must_allocate(codec_work_bytes(coder.codec));
    return coder;
}

struct coder coder_family(struct family *family, uint32_t dim, enum scheme scheme, unsigned bits)
{
    struct coder coder = coder_new(dim, bits, scheme_name(scheme));
    coder.family = family;
    coder.scheme = scheme;
    return coder;
}

void coder_release(struct coder *coder)
{
    codec_free(coder->codec);
    free(coder->code);
    free(coder->work);
    free(coder->extended);
    free(coder->scratch);
    *coder = (struct coder){0};
}

bool coder_decodes(const struct coder *coder)
{
    return coder->kith || coder->scheme != SCHEME_RANDOM_PROJECTION;
}

double coder_bits(const struct coder *coder)
{
    return coder->bits == CODE_1_5 ? 1.5 : (double)coder->bits;
}

void coder_encode(struct coder *coder, const float *rotated)
{
    if (coder->kith) {
        codec_encode(coder->codec, coder->bits, METRIC_DOT, rotated, NULL, coder->code,
                     &coder->factors, coder->work);
    } else {
        family_encode(coder->family, coder->scheme, coder->bits, rotated, coder->code,
                      &coder->scalars);
    }
}

/* The levels of ceil(1.5 dim) dims, back through the rotation that spread the vector over them. */
static void decode_extended(struct coder *coder, float *out)
{
    const uint32_t n = coder->codec->code_dim;
    for (uint32_t j = 0; j < n; j++) {
        coder->scratch[j] = coder->factors.f_mul * (float)staged_level(coder->code, CODE_1, n, j);
    }
    float *work = must_allocate(n * sizeof *work);
    rotation_invert(&coder->codec->extension, coder->scratch, coder->extended, work);
    free(work);
    memcpy(out, coder->extended, coder->dim * sizeof *out);
}

void coder_decode(struct coder *coder, float *out)
{
    if (!coder->kith) {
        family_decode(coder->family, coder->scheme, coder->bits, coder->code, coder->scalars, out);
        return;
    }
    if (coder->bits == CODE_1_5) {
        decode_extended(coder, out);
        return;
    }
    for (uint32_t j = 0; j < coder->dim; j++) {
        out[j] =
            coder->factors.f_mul * (float)staged_level(coder->code, coder->bits, coder->dim, j);
    }
}

double coder_product(const struct coder *coder, const uint8_t *code_q, double norm_q)
{
    assert(!coder_decodes(coder));
    return norm_q * coder->scalars.left *
           family_cosine(coder->family, coder->bits, coder->code, code_q);
}

/* ---- measuring ---- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double product(const float *x, const float *y, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        sum += (double)x[j] * (double)y[j];
    }
    return sum;
}

/* q = cosine x/|x| + sine w, w the direction of `other` across x. False: there is none. */
static bool make_partner(const float *x, const float *other, uint32_t dim, double cosine, float *q)
{
    const double square = product(x, x, dim), share = product(x, other, dim) / square;
    double across = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        const double w = (double)other[j] - share * (double)x[j];
        across += w * w;
    }
    if (!(across > 1e-6 * product(other, other, dim))) {
        return false;
    }
    const double along = cosine / sqrt(square), sine = sqrt((1.0 - cosine * cosine) / across);
    for (uint32_t j = 0; j < dim; j++) {
        const double w = (double)other[j] - share * (double)x[j];
        q[j] = (float)(along * (double)x[j] + sine * w);
    }
    return true;
}

struct sums {
    double count, error, estimates[CODER_COSINES], squares[CODER_COSINES];
};

static void measure_row(struct coder *coder, const float *x, const float *other, float *decoded,
                        float *q, struct sums *sums)
{
    const uint32_t dim = coder->dim;
    const double square = product(x, x, dim);
    uint8_t *code = must_allocate((size_t)dim * 2);
    double estimates[CODER_COSINES];
    coder_encode(coder, x);
    if (coder_decodes(coder)) {
        coder_decode(coder, decoded);
    }
    for (size_t c = 0; c < CODER_COSINES; c++) {
        if (!(square > 0.0) || !make_partner(x, other, dim, coder_cosines[c], q)) {
            free(code);
            return;
        }
        if (coder_decodes(coder)) {
            estimates[c] = product(q, decoded, dim) / sqrt(square);
        } else {
            struct family_scalars scalars;
            family_encode(coder->family, coder->scheme, coder->bits, q, code, &scalars);
            estimates[c] = coder_product(coder, code, scalars.left) / sqrt(square);
        }
    }
    free(code);
    for (size_t c = 0; c < CODER_COSINES; c++) {
        sums->estimates[c] += estimates[c];
        sums->squares[c] += estimates[c] * estimates[c];
    }
    for (uint32_t j = 0; coder_decodes(coder) && j < dim; j++) {
        const double off = (double)decoded[j] - (double)x[j];
        sums->error += off * off / square;
    }
    sums->count += 1.0;
}

struct coder_figures coder_measure(struct coder *coder, const float *rows, size_t count)
{
    const uint32_t dim = coder->dim;
    float *decoded = must_allocate(dim * sizeof *decoded), *q = must_allocate(dim * sizeof *q);
    struct sums sums = {0};
    for (size_t i = 0; i < count; i++) { /* a partner half the rows away */
        measure_row(coder, rows + i * dim, rows + (i + count / 2) % count * dim, decoded, q, &sums);
    }
    struct coder_figures figures = {.error = sums.error / sums.count};
    figures.slope = sums.estimates[CODER_COSINES - 1] / sums.count / .9;
    for (size_t c = 0; c < CODER_COSINES; c++) {
        const double mean = sums.estimates[c] / sums.count;
        figures.noise[c] = (double)dim * (sums.squares[c] / sums.count - mean * mean) /
                           (figures.slope * figures.slope);
    }
    const size_t timed = count < 500 ? count : 500;
    double best = INFINITY;
    for (int pass = 0; pass < 3; pass++) {
        const double begin = seconds();
        for (size_t i = 0; i < timed; i++) {
            coder_encode(coder, rows + i * dim);
        }
        best = fmin(best, seconds() - begin);
    }
    figures.encode_us = best * 1e6 / (double)timed;
    free(decoded);
    free(q);
    return figures;
}
