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

unsigned codec_first_bits_for(uint32_t dim)
{
    return dim >= CODEC_SCAN_DIM_MIN && dim <= CODEC_TWO_BIT_DIM_MAX ? CODE_2 : CODE_1;
}

struct codec *codec_new(uint32_t dim, uint64_t seed, const struct kernels *kernels)
{
    return codec_new_bits(dim, seed, codec_first_bits_for(dim), CODE_4, kernels);
}

/* A rotation has at most CODEC_DIM_MAX dims. */
static uint32_t extended_dim(uint32_t dim)
{
    const uint32_t wanted = dim + (dim + 1) / 2;
    return wanted < CODEC_DIM_MAX ? wanted : CODEC_DIM_MAX;
}

/* Any fixed number: the extension has its own signs. */
#define EXTENSION_SEED 0x9e3779b97f4a7c15u

struct codec *codec_new_bits(uint32_t dim, uint64_t seed, unsigned first, unsigned second,
                             const struct kernels *kernels)
{
    return codec_new_scaled(dim, seed, first, second, SCALE_EDEN, kernels);
}

/* Columns of 16 bytes: 4 bits of 32 lanes, or at 4 and 8 bits eighths of 8 or 4 dims of theirs. */
static size_t block_columns(const struct codec *codec)
{
    const size_t dims = codec->code_dim;
    return codec->first_bits == CODE_4   ? (dims + 7) / 8 * 8
           : codec->first_bits == CODE_8 ? (dims + 3) / 4 * 8
                                         : (dims * (codec->first_bits == CODE_2 ? 2 : 1) + 3) / 4;
}

struct codec *codec_new_scaled(uint32_t dim, uint64_t seed, unsigned first, unsigned second,
                               enum code_scale scale, const struct kernels *kernels)
{
    assert(scale == SCALE_EDEN || (second != CODE_8 && first != CODE_4 && first != CODE_8));
    assert(dim >= 1 && dim <= CODEC_DIM_MAX);
    assert(first == CODE_1 || first == CODE_1_5 || first == CODE_2 || first == CODE_4 ||
           first == CODE_8);
    assert(second == CODE_NONE || second == CODE_4 || second == CODE_8);
    struct codec *codec = malloc(sizeof *codec);
    if (codec == NULL) {
        abort();
    }
    *codec = (struct codec){
        .dim = dim,
        .first_bits = first,
        .second_bits = second,
        .scale = scale,
        .code_dim = first == CODE_1_5 ? extended_dim(dim) : dim,
        .kernels = kernels != NULL ? kernels : kernels_best(),
    };
    codec->row_bytes = codec_code_bytes(codec, second);
    codec->pad_square = second == CODE_4 && dim % 2 != 0 ? CODEC_PAD_SQUARE : 0;
    codec->shape.column_count = block_columns(codec);
    codec->shape.block_bytes = codec_block_bytes(codec);
    rotation_init(&codec->rotation, dim, seed, codec->kernels);
    if (first == CODE_1_5) {
        rotation_init(&codec->extension, codec->code_dim, seed ^ EXTENSION_SEED, codec->kernels);
    }
    for (unsigned i = 0; i < CODEBOOK_SCALES; i++) {
        codebook_rank_table(i, &codec->ranks[i]);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        codec->errors_fine[byte] = (float)codebook_error_of(CODE_1, (uint8_t)byte);
        codec->errors_coarse[byte] = (float)codebook_error_of(CODE_4, (uint8_t)byte);
    }
    return codec;
}

void codec_free(struct codec *codec)
{
    if (codec != NULL) {
        rotation_release(&codec->rotation);
        rotation_release(&codec->extension);
        free(codec);
    }
}

unsigned codec_first_bits(const struct codec *codec)
{
    return codec->first_bits;
}

unsigned codec_second_bits(const struct codec *codec)
{
    return codec->second_bits;
}

enum code_scale codec_scale(const struct codec *codec)
{
    return codec->scale;
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
    uint32_t dim; /* of the code */
    float *residual;
    struct magnitudes magnitudes;
    uint8_t *indices;
    int8_t *levels;
    float *centre; /* at CODE_1_5: the extended one; */
    float *work;   /* and scratch to extend with */
};

size_t codec_plane_bytes(const struct codec *codec)
{
    return round_to_pad(codec->code_dim) * (sizeof(float) + 5);
}

size_t codec_work_bytes(const struct codec *codec)
{
    const size_t more = codec->first_bits == CODE_1_5 ? 3 * round_to_pad(codec->code_dim) : 0;
    return codec_plane_bytes(codec) + more * sizeof(float);
}

static struct planes planes_of(const struct codec *codec, unsigned bits, void *work)
{
    const size_t n = round_to_pad(codec->code_dim);
    uint8_t *bytes = (uint8_t *)work + n * sizeof(float);
    struct planes planes = {
        .dim = bits == CODE_1_5 ? codec->code_dim : codec->dim,
        .residual = work,
        .magnitudes = {bytes, bytes + n, bytes + 2 * n},
        .indices = bytes + 3 * n,
        .levels = (int8_t *)(bytes + 4 * n),
    };
    if (bits == CODE_1_5) {
        planes.centre = (void *)((uint8_t *)work + codec_plane_bytes(codec));
        planes.work = planes.centre + n;
    }
    return planes;
}

void codec_extend(const struct codec *codec, const float *x, float *y, float *work)
{
    float *extended = work + round_to_pad(codec->code_dim);
    memcpy(extended, x, codec->dim * sizeof *x);
    memset(extended + codec->dim, 0, (codec->code_dim - codec->dim) * sizeof *x);
    rotation_apply(&codec->extension, extended, y, work);
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
    const size_t dim = codec->dim;
    switch (bits) {
    case CODE_NONE:
        return 0;
    case CODE_1:
        return (dim + 7) / 8;
    case CODE_1_5:
        return ((size_t)extended_dim(codec->dim) + 7) / 8;
    case CODE_2:
        return (dim + 3) / 4;
    case CODE_4:
        return (dim + 1) / 2;
    default:
        assert(bits == CODE_8);
        return dim;
    }
}

static double square_of(const struct codec *codec, const float *x)
{
    return codec->kernels->dot(x, (const uint8_t *)x, codec->dim);
}

/* The table whose code has the largest cosine with the vector. */
static const struct rank_table *best_ranks(const struct codec *codec, struct magnitudes magnitudes,
                                           double *code_square)
{
    const size_t n = round_to_pad(codec->dim);
    const uint32_t padding = (uint32_t)(n - codec->dim) * CODEC_PAD_SQUARE;
    uint32_t dots[CODEBOOK_SCALES], squares[CODEBOOK_SCALES];
    codec->kernels->try_ranks(magnitudes, n, codec->ranks, dots, squares);
    const bool search = codec->scale == SCALE_EDEN;
    const unsigned plain = CODEBOOK_SCALES / 2; /* 1.01: as good as the levels as they are */
    unsigned best = plain;
    double best_cosine = -1.0;
    for (unsigned i = search ? 0 : plain; i < (search ? CODEBOOK_SCALES : plain + 1); i++) {
        const double square = (double)(squares[i] - padding);
        const double cosine = (double)dots[i] * (double)dots[i] / square;
        if (cosine > best_cosine) {
            best_cosine = cosine;
            best = i;
            *code_square = square;
        }
    }
    return &codec->ranks[best];
}

/* Eight bytes of two indices each. */
static void pack_eight(const uint8_t *low, const uint8_t *high, uint8_t *code)
{
    uint64_t a, b;
    memcpy(&a, low, sizeof a);
    memcpy(&b, high, sizeof b);
    a |= b << 4; /* indices are below 16: nothing passes into the next byte */
    memcpy(code, &a, sizeof a);
}

static void pack_row(const struct codec *codec, uint8_t *indices, uint8_t *code)
{
    for (size_t first = 0; first < codec->dim; first += CODEC_ROW_GROUP) {
        const size_t half = codec_half_group(codec->dim, first);
        const uint8_t *low = indices + first, *high = low + half;
        if (half == CODEC_ROW_GROUP / 2) {
            for (size_t k = 0; k < CODEC_ROW_GROUP / 2; k += 8) {
                pack_eight(low + k, high + k, code + k);
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

/* What encoding a residual gives: <r, L>, <m, L> and |L|^2. */
struct fit {
    struct level_sums sums;
    double code_square;
};

static struct fit encode_signs(const struct codec *codec, const struct planes *planes,
                               const float *centre, uint8_t *code)
{
    codec->kernels->sign_bits(planes->residual, planes->dim, code);
    return (struct fit){codec->kernels->sign_sums(planes->residual, centre, code, planes->dim),
                        (double)planes->dim};
}

/* abcd as 0a0b0c0d. */
static unsigned spread_bits(unsigned byte)
{
    byte = (byte | byte << 4) & 0x0f0fu;
    byte = (byte | byte << 2) & 0x3333u;
    return (byte | byte << 1) & 0x5555u;
}

/* Rank 2 | outer above zero, 1 - outer below: the signs and, in between, whether they agree with
 * outer. */
static uint32_t pack_two_bits(uint32_t dim, const uint8_t *signs, const uint8_t *outer,
                              uint8_t *code)
{
    const size_t code_bytes = ((size_t)dim + 3) / 4;
    uint32_t outer_count = 0;
    for (size_t i = 0; i < ((size_t)dim + 7) / 8; i++) {
        const unsigned high = signs[i], low = ~(high ^ outer[i]) & 255u;
        unsigned pairs = spread_bits(high) << 1 | spread_bits(low);
        if (dim - i * 8 < 8) { /* nothing past the last dim */
            pairs &= (1u << (2 * (dim - i * 8))) - 1;
        }
        outer_count += (uint32_t)__builtin_popcount(outer[i]);
        code[2 * i] = (uint8_t)pairs;
        if (2 * i + 1 < code_bytes) {
            code[2 * i + 1] = (uint8_t)(pairs >> 8);
        }
    }
    return outer_count;
}

static struct fit encode_two_bits(const struct codec *codec, const struct planes *planes,
                                  const float *centre, double square, uint8_t *code)
{
    const uint32_t dim = codec->dim;
    const double threshold = CODEBOOK_THRESHOLD_2 * sqrt(square / (double)dim);
    uint8_t *signs = planes->indices, *outer = planes->magnitudes.high;
    codec->kernels->sign_bits(planes->residual, dim, signs);
    codec->kernels->outer_levels(planes->residual, dim, (float)threshold, outer, planes->levels);
    const uint32_t outer_count = pack_two_bits(dim, signs, outer, code);
    return (struct fit){codec->kernels->level_sums(planes->residual, centre, planes->levels, dim),
                        codebook_square_2(dim, outer_count)};
}

static struct fit encode_levels(const struct codec *codec, const struct planes *planes,
                                const float *centre, double square, uint8_t *code)
{
    const double scale = 32.0 * sqrt((double)codec->dim / square) / CODEBOOK_UNIT_4;
    codec->kernels->magnitudes(planes->residual, codec->dim, (float)scale, planes->magnitudes);
    double code_square = 0.0;
    const struct rank_table *table = best_ranks(codec, planes->magnitudes, &code_square);
    codec->kernels->take_ranks(planes->magnitudes, planes->residual, codec->dim, table,
                               planes->indices, planes->levels);
    pack_row(codec, planes->indices, code);
    return (struct fit){
        codec->kernels->level_sums(planes->residual, centre, planes->levels, codec->dim),
        code_square};
}

/* Levels 2 k + 1 with k = r * scale rounded down; left in the code itself too. */
static struct fit try_grid(const struct codec *codec, const struct planes *planes,
                           const float *centre, double scale, uint8_t *code)
{
    codec->kernels->grid_levels(planes->residual, codec->dim, (float)scale, planes->levels);
    memcpy(code, planes->levels, codec->dim);
    uint64_t code_square = 0;
    for (uint32_t j = 0; j < codec->dim; j++) {
        const int level = 2 * planes->levels[j] + 1;
        code_square += (uint64_t)(level * level);
    }
    return (struct fit){
        codec->kernels->grid_sums(planes->residual, centre, planes->levels, codec->dim),
        (double)code_square};
}

static double squared_cosine(struct fit fit)
{
    return fit.sums.of_x * fit.sums.of_x / fit.code_square;
}

/* The grid ends where the vector does: no coordinate is cut off, and 768 dims have a third less
 * error than with one step for all. Where a vector reaches further than that step (one in fifteen
 * at 768 dims, most at 65536) it is tried too: to cut off a few may cost less. */
static struct fit encode_grid(const struct codec *codec, const struct planes *planes,
                              const float *centre, double square, uint8_t *code)
{
    const size_t padding = round_to_pad(codec->dim) - codec->dim;
    memset(planes->residual + codec->dim, 0, padding * sizeof *planes->residual);
    const double common = sqrt((double)codec->dim / square) / (2.0 * CODEBOOK_UNIT_8);
    const double whole = 127.5 / (double)codec->kernels->largest(planes->residual, codec->dim);
    struct fit fit = try_grid(codec, planes, centre, whole, code);
    if (whole < common) {
        const double of_whole = squared_cosine(fit);
        fit = try_grid(codec, planes, centre, common, code);
        if (squared_cosine(fit) < of_whole) {
            fit = try_grid(codec, planes, centre, whole, code);
        }
    }
    return fit;
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

/* S of the integer levels. */
static double scale_of(const struct codec *codec, unsigned bits, double square, struct fit fit)
{
    if (codec->scale == SCALE_TURBOQUANT_MSE) {
        const double dims = bits == CODE_1_5 ? codec->code_dim : codec->dim;
        return sqrt(square / dims) * codebook_unit(bits);
    }
    return square / fit.sums.of_x;
}

/* f_add makes up for m: the estimate is of <q - m, r>, the kernels see <q, L>. All in the factors
 * as they are stored. square: |r|^2, with_centre: <r, m>. */
static struct code_factors factors_of(const struct codec *codec, enum metric metric, unsigned bits,
                                      double square, double with_centre, struct fit fit)
{
    const bool euclid = metric == METRIC_EUCLID;
    const double product = fit.sums.of_x, scale = scale_of(codec, bits, square, fit);
    const double error = 1.0 - product * product / (fit.code_square * square);
    const float f_mul = factor_with_error_byte((float)(euclid ? 2.0 * scale : scale),
                                               codebook_error_byte(bits, error));
    const double f_add = (euclid ? -square : with_centre) - (double)f_mul * fit.sums.of_y;
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

/* r = x - m, and its sums. */
static struct residual_sums take_residual(const struct codec *codec, const float *rotated,
                                          const float *centre, float *residual)
{
    if (centre != NULL) {
        return codec->kernels->residual(residual, rotated, centre, codec->dim);
    }
    memcpy(residual, rotated, codec->dim * sizeof *rotated);
    const double square = square_of(codec, residual);
    return (struct residual_sums){0.0, square, square};
}

static struct fit encode_residual(const struct codec *codec, unsigned bits,
                                  const struct planes *planes, const float *centre, double square,
                                  uint8_t *code)
{
    switch (bits) {
    case CODE_2:
        return encode_two_bits(codec, planes, centre, square, code);
    case CODE_4:
        return encode_levels(codec, planes, centre, square, code);
    case CODE_8:
        return encode_grid(codec, planes, centre, square, code);
    default:
        return encode_signs(codec, planes, centre, code);
    }
}

/* Whether a residual has a code; if not, what its factors are. */
static bool has_code(const struct codec *codec, unsigned bits, enum metric metric,
                     const float *residual, bool centred, struct residual_sums sums,
                     struct code_factors *factors)
{
    const bool zero =
        sums.square < CODEC_SQUARE_MIN && codec->kernels->absolute_sum(residual, codec->dim) <= 0.0;
    /* Under Cosine estimates count on |x| = 1; what codec_normalise left alone is not. */
    const bool breaks_cosine = metric == METRIC_COSINE && centred && sums.own < 0.5;
    *factors = zero ? factors_exact() : factors_unknown();
    return !zero && bits != CODE_NONE && can_estimate(sums.square) && !breaks_cosine;
}

void codec_encode(const struct codec *codec, unsigned bits, enum metric metric,
                  const float *rotated, const float *centre, uint8_t *code,
                  struct code_factors *factors, void *work)
{
    assert(bits != CODE_1_5 || codec->first_bits == CODE_1_5);
    const struct planes planes = planes_of(codec, bits, work);
    const struct residual_sums sums = take_residual(codec, rotated, centre, planes.residual);
    if (!has_code(codec, bits, metric, planes.residual, centre != NULL, sums, factors)) {
        memset(code, 0, codec_code_bytes(codec, bits));
        return;
    }
    if (bits == CODE_1_5) {
        codec_extend(codec, planes.residual, planes.residual, planes.work);
        if (centre != NULL) {
            codec_extend(codec, centre, planes.centre, planes.work);
            centre = planes.centre;
        }
    }
    const struct fit fit = encode_residual(codec, bits, &planes, centre, sums.square, code);
    *factors = factors_of(codec, metric, bits, sums.square, sums.product, fit);
}

/* ---- codes of codes ---- */

/* What codec_encode keeps a level as: 1, 2 and 4 bits the level, 8 bits half of it, rounded down.
 */
static int8_t kept_level(const struct codec *codec, unsigned bits, const uint8_t *code, uint32_t j)
{
    static const int8_t levels_2[4] = {-CODEBOOK_OUTER_2, -CODEBOOK_LEVEL_2, CODEBOOK_LEVEL_2,
                                       CODEBOOK_OUTER_2};
    switch (bits) {
    case CODE_1:
        return (code[j / 8] >> (j % 8) & 1) != 0 ? 1 : -1;
    case CODE_2:
        return levels_2[code[j / 4] >> (2 * (j % 4)) & 3];
    case CODE_8:
        return (int8_t)code[j];
    default:
        break;
    }
    assert(bits == CODE_4);
    unsigned shift;
    const size_t byte = codec_row_byte(codec->dim, j, &shift);
    return codebook_levels_4[code[byte] >> shift & 15];
}

void codec_levels(const struct codec *codec, unsigned bits, const uint8_t *code, float *levels)
{
    for (uint32_t j = 0; j < codec->dim; j++) {
        const int level = kept_level(codec, bits, code, j);
        levels[j] = (float)(bits == CODE_8 ? 2 * level + 1 : level);
    }
}

void codec_factors(const struct codec *codec, unsigned bits, enum metric metric,
                   const float *rotated, const float *centre, const uint8_t *code,
                   struct code_factors *factors, void *work)
{
    const struct planes planes = planes_of(codec, bits, work);
    const struct residual_sums sums = take_residual(codec, rotated, centre, planes.residual);
    if (!has_code(codec, bits, metric, planes.residual, centre != NULL, sums, factors)) {
        return;
    }
    struct fit fit = {.code_square = 0.0};
    for (uint32_t j = 0; j < codec->dim; j++) {
        const int level = planes.levels[j] = kept_level(codec, bits, code, j);
        fit.code_square += bits == CODE_8 ? (2 * level + 1) * (2 * level + 1) : level * level;
    }
    fit.sums = (bits == CODE_8 ? codec->kernels->grid_sums : codec->kernels->level_sums)(
        planes.residual, centre, planes.levels, codec->dim);
    if (!(fit.sums.of_x > 0.0)) { /* a code that has nothing of the vector */
        *factors = factors_unknown();
        return;
    }
    *factors = factors_of(codec, metric, bits, sums.square, sums.product, fit);
}
