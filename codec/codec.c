/* Encoding: rotated vectors to signs, levels and factors, and the blocks that hold signs.
 *
 * Source of the scale: Vargaftik et al., EDEN (ICML 2022): S = |r|^2 / <r, c> makes the estimate
 * S <q, c> of <q, r> unbiased over rotations whatever rule chose the code c, and its error is
 * orthogonal to r. */
#include "codec/codec.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_internal.h"

struct codec *codec_new(uint32_t dim, uint64_t seed, const struct kernels *kernels)
{
    assert(dim >= 1 && dim <= CODEC_DIM_MAX);
    struct codec *codec = malloc(sizeof *codec);
    if (codec == NULL) {
        abort();
    }
    *codec = (struct codec){
        .dim = dim,
        .column_count = ((size_t)dim + 3) / 4,
        .row_bytes = ((size_t)dim + 1) / 2,
        .kernels = kernels != NULL ? kernels : kernels_best(),
    };
    rotation_init(&codec->rotation, dim, seed, codec->kernels);
    for (unsigned i = 0; i < CODEBOOK_SCALES; i++) {
        codebook_rank_table(i, &codec->ranks[i]);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        codec->errors_1[byte] = (float)codebook_error_of(1, (uint8_t)byte);
        codec->errors_4[byte] = (float)codebook_error_of(4, (uint8_t)byte);
    }
    return codec;
}

void codec_free(struct codec *codec)
{
    if (codec != NULL) {
        rotation_release(&codec->rotation);
        free(codec);
    }
}

uint32_t codec_dim(const struct codec *codec)
{
    return codec->dim;
}

const char *codec_kernels_name(const struct codec *codec)
{
    return codec->kernels->name;
}

/* ---- scratch: a residual and five planes of bytes ---- */

struct planes {
    float *residual;
    struct magnitudes magnitudes;
    uint8_t *indices;
    int8_t *levels;
};

size_t codec_work_bytes(const struct codec *codec)
{
    return round_to_pad(codec->dim) * (sizeof(float) + 5);
}

static struct planes planes_of(const struct codec *codec, void *work)
{
    const size_t n = round_to_pad(codec->dim);
    uint8_t *bytes = (uint8_t *)work + n * sizeof(float);
    return (struct planes){
        .residual = work,
        .magnitudes = {bytes, bytes + n, bytes + 2 * n},
        .indices = bytes + 3 * n,
        .levels = (int8_t *)(bytes + 4 * n),
    };
}

void codec_rotate(const struct codec *codec, const float *x, float *y, void *work)
{
    rotation_apply(&codec->rotation, x, y, work);
}

void codec_normalise(const struct codec *codec, float *x)
{
    const double square = codec->kernels->dot(x, (const uint8_t *)x, codec->dim);
    double scale = 1.0 / sqrt(square);
    if (fabs(square - 1.0) <= 1e-6 || square < (double)FLT_EPSILON) {
        return;
    }
    if (!(square < CODEC_SQUARE_MAX)) { /* float products overflow: once more in double */
        double sum = 0.0;
        for (uint32_t j = 0; j < codec->dim; j++) {
            sum += (double)x[j] * (double)x[j];
        }
        scale = 1.0 / sqrt(sum);
    }
    for (uint32_t j = 0; j < codec->dim; j++) {
        x[j] = (float)((double)x[j] * scale);
    }
}

/* ---- codes ---- */

size_t codec_code_bytes(const struct codec *codec, unsigned bits)
{
    assert(bits == 1 || bits == 4);
    return bits == 1 ? ((size_t)codec->dim + 7) / 8 : codec->row_bytes;
}

static double square_of(const struct codec *codec, const float *x)
{
    return codec->kernels->dot(x, (const uint8_t *)x, codec->dim);
}

static double dot_of(const struct codec *codec, const float *x, const float *y)
{
    return codec->kernels->dot(x, (const uint8_t *)y, codec->dim);
}

/* The table whose code has the largest cosine with the vector. */
static const struct rank_table *best_ranks(const struct codec *codec, struct magnitudes magnitudes,
                                           double *code_square)
{
    const size_t n = round_to_pad(codec->dim);
    const uint32_t padding = (uint32_t)(n - codec->dim);
    const struct rank_table *best = &codec->ranks[0];
    double best_cosine = -1.0;
    for (unsigned i = 0; i < CODEBOOK_SCALES; i++) {
        uint32_t dot, square;
        codec->kernels->try_ranks(magnitudes, n, &codec->ranks[i], &dot, &square);
        square -= padding * CODEC_PAD_SQUARE;
        const double cosine = (double)dot * (double)dot / (double)square;
        if (cosine > best_cosine) {
            best_cosine = cosine;
            best = &codec->ranks[i];
            *code_square = (double)square;
        }
    }
    return best;
}

static void pack_row(const struct codec *codec, uint8_t *indices, uint8_t *code)
{
    for (size_t first = 0; first < codec->dim; first += CODEC_ROW_GROUP) {
        const size_t half = codec_half_group(codec->dim, first);
        const uint8_t *low = indices + first, *high = low + half;
        if (half == CODEC_ROW_GROUP / 2) {
            for (size_t k = 0; k < CODEC_ROW_GROUP / 2; k++) {
                code[k] = (uint8_t)(low[k] | high[k] << 4);
            }
        } else {
            for (size_t k = 0; k < half; k++) { /* indices past dim are the pad's */
                code[k] = (uint8_t)(low[k] | high[k] << 4);
            }
        }
        code += half;
    }
}
_Static_assert(CODEC_NIBBLE_PAD == 8, "what take_ranks writes for magnitude 0");

/* What encoding a residual gives: <r, L> and |L|^2. */
struct fit {
    double product;
    double code_square;
};

static struct fit encode_signs(const struct codec *codec, const struct planes *planes,
                               bool want_levels, uint8_t *code)
{
    codec->kernels->sign_bits(planes->residual, codec->dim, code);
    if (want_levels) {
        for (uint32_t j = 0; j < codec->dim; j++) {
            planes->levels[j] = (int8_t)((code[j / 8] >> (j % 8) & 1) * 2 - 1);
        }
    }
    return (struct fit){codec->kernels->absolute_sum(planes->residual, codec->dim),
                        (double)codec->dim};
}

static struct fit encode_levels(const struct codec *codec, const struct planes *planes,
                                double square, uint8_t *code)
{
    const double scale = 32.0 * sqrt((double)codec->dim / square) / CODEBOOK_UNIT_4;
    codec->kernels->magnitudes(planes->residual, codec->dim, (float)scale, planes->magnitudes);
    double code_square = 0.0;
    const struct rank_table *table = best_ranks(codec, planes->magnitudes, &code_square);
    codec->kernels->take_ranks(planes->magnitudes, planes->residual, codec->dim, table,
                               planes->indices, planes->levels);
    pack_row(codec, planes->indices, code);
    return (struct fit){codec->kernels->dot_levels(planes->residual, planes->levels, codec->dim),
                        code_square};
}

/* Squares whose float sums are whole, and factors that come out finite. */
static bool can_estimate(double square)
{
    return square >= CODEC_SQUARE_MIN && square <= CODEC_SQUARE_MAX;
}

/* A code that says nothing and a bound that is always good enough. */
static struct code_factors factors_unknown(void)
{
    return (struct code_factors){0.0f, INFINITY};
}

/* f_add makes up for m: the estimate is of <q - m, r>, the kernels see <q, L>. All in the factors
 * as they are stored. */
static struct code_factors factors_of(const struct codec *codec, enum metric metric, unsigned bits,
                                      double square, struct fit fit, const struct planes *planes,
                                      const float *centre)
{
    const bool euclid = metric == METRIC_EUCLID;
    const double scale = square / fit.product;
    const double error = 1.0 - fit.product * fit.product / (fit.code_square * square);
    const float f_mul = factor_with_error_byte((float)(euclid ? 2.0 * scale : scale),
                                               codebook_error_byte(bits, error));
    double f_add = euclid ? -square : 0.0;
    if (centre != NULL) {
        f_add -= (double)f_mul * codec->kernels->dot_levels(centre, planes->levels, codec->dim);
        f_add += euclid ? 0.0 : dot_of(codec, planes->residual, centre);
    }
    if (!isfinite(f_mul) || !(fabs(f_add) <= CODEC_SQUARE_MAX)) {
        return factors_unknown();
    }
    return (struct code_factors){f_mul, (float)f_add};
}

/* x equal to its centre: the estimate is A alone, and exact. */
static struct code_factors factors_exact(void)
{
    return (struct code_factors){0.0f, 0.0f};
}

/* Under Cosine, codec_score_row counts on |x| = 1; what codec_normalise left alone is not. */
static bool breaks_cosine(const struct codec *codec, enum metric metric, const float *rotated,
                          const float *centre)
{
    return metric == METRIC_COSINE && centre != NULL && square_of(codec, rotated) < 0.5;
}

void codec_encode(const struct codec *codec, unsigned bits, enum metric metric,
                  const float *rotated, const float *centre, uint8_t *code,
                  struct code_factors *factors, void *work)
{
    struct planes planes = planes_of(codec, work);
    if (centre != NULL) {
        codec->kernels->subtract(planes.residual, rotated, centre, codec->dim);
    } else {
        memcpy(planes.residual, rotated, codec->dim * sizeof *rotated);
    }
    const double square = square_of(codec, planes.residual);
    const bool zero = square < CODEC_SQUARE_MIN &&
                      codec->kernels->absolute_sum(planes.residual, codec->dim) <= 0.0;
    if (zero || !can_estimate(square) || breaks_cosine(codec, metric, rotated, centre)) {
        memset(code, 0, codec_code_bytes(codec, bits));
        *factors = zero ? factors_exact() : factors_unknown();
        return;
    }
    const struct fit fit = bits == 1 ? encode_signs(codec, &planes, centre != NULL, code)
                                     : encode_levels(codec, &planes, square, code);
    *factors = factors_of(codec, metric, bits, square, fit, &planes, centre);
}

/* ---- blocks ---- */

size_t codec_block_bytes(const struct codec *codec)
{
    return codec->column_count * 16 + CODEC_BLOCK_LANES * sizeof(struct code_factors);
}

/* The byte of a column that holds a lane: the inverse of fastscan_lane. */
static size_t byte_of_lane(unsigned lane)
{
    const unsigned of_16 = lane % 16;
    return of_16 < 8 ? of_16 * 2 : (of_16 - 8) * 2 + 1;
}

void codec_block_put(const struct codec *codec, uint8_t *block, unsigned lane, const uint8_t *code,
                     struct code_factors factors)
{
    assert(lane < CODEC_BLOCK_LANES);
    const unsigned shift = lane < 16 ? 0 : 4;
    uint8_t *byte = block + byte_of_lane(lane);
    for (size_t column = 0; column < codec->column_count; column++, byte += 16) {
        const unsigned nibble = ((unsigned)code[column / 2] >> (4 * (column % 2))) & 15u;
        *byte = (uint8_t)(((unsigned)*byte & ~(15u << shift)) | nibble << shift);
    }
    uint8_t *scalars = block + codec->column_count * 16;
    memcpy(scalars + lane * sizeof(float), &factors.f_mul, sizeof(float));
    memcpy(scalars + (CODEC_BLOCK_LANES + lane) * sizeof(float), &factors.f_add, sizeof(float));
}

void codec_block_get(const struct codec *codec, const uint8_t *block, unsigned lane, uint8_t *code,
                     struct code_factors *factors)
{
    assert(lane < CODEC_BLOCK_LANES);
    const unsigned shift = lane < 16 ? 0 : 4;
    const uint8_t *byte = block + byte_of_lane(lane);
    memset(code, 0, codec_code_bytes(codec, 1));
    for (size_t column = 0; column < codec->column_count; column++, byte += 16) {
        const unsigned nibble = ((unsigned)*byte >> shift) & 15u;
        code[column / 2] = (uint8_t)((unsigned)code[column / 2] | nibble << (4 * (column % 2)));
    }
    const uint8_t *scalars = block + codec->column_count * 16;
    memcpy(&factors->f_mul, scalars + lane * sizeof(float), sizeof(float));
    memcpy(&factors->f_add, scalars + (CODEC_BLOCK_LANES + lane) * sizeof(float), sizeof(float));
}
