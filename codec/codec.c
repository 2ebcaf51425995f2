/* The code of a vector, and the estimate it gives.
 *
 *     r = x - m,  y = R r,  L = integer levels of y's codeword,  f = |r|^2 / <y, L>
 *     <q - m, r>  is estimated by  f * <R(q - m), L>,  unbiased whatever rule chose L
 *     (EDEN, Vargaftik et al. 2022: the error is orthogonal to r)
 *
 * Row code, 4 bit: groups of 128 dims as 64 bytes, dims 0..63 in the low and 64..127 in the high
 * nibbles; a last group of n dims as ceil(n/2) bytes the same way. 1 bit: bit j % 8 of byte j / 8.
 */
#include "codec/codec.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codebook.h"
#include "codec/kernels.h"
#include "codec/rotate.h"

struct codec {
    uint32_t dim;
    size_t columns;
    const struct kernels *kernels;
    struct rotation rotation;
    float square_root; /* of dim */
    uint64_t signs[];
};

struct codec_query {
    enum metric metric;
    const float *vector;
    float *rotated; /* [dim] */
    uint8_t *table; /* [columns][16] */
    int8_t *bytes;  /* [dim] */
    double norm_square;
    float table_step, table_bias, table_noise;
    float byte_step;
};

static size_t align64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

struct codec *codec_new(uint32_t dim, uint64_t seed, const struct kernels *kernels)
{
    size_t words = ROTATE_ROUNDS * (((size_t)dim + 63) / 64);
    struct codec *codec = malloc(sizeof *codec + words * sizeof *codec->signs);
    if (codec == NULL) {
        fputs("kith: out of memory\n", stderr);
        abort();
    }
    const char *wanted = getenv("KITH_KERNELS");
    if (kernels == NULL && wanted != NULL)
        kernels = kernels_by_name(wanted);
    codec->dim = dim;
    codec->columns = ((size_t)dim + 3) / 4;
    codec->kernels = kernels != NULL ? kernels : kernels_best();
    codec->square_root = sqrtf((float)dim);
    rotation_init(&codec->rotation, dim, seed, codec->signs);
    return codec;
}

void codec_free(struct codec *codec)
{
    free(codec);
}

uint32_t codec_dim(const struct codec *codec)
{
    return codec->dim;
}

const char *codec_kernels_name(const struct codec *codec)
{
    return codec->kernels->name;
}

/* Three float[dim] and a byte[dim + 16], each aligned. */
size_t codec_work_bytes(const struct codec *codec)
{
    return 2 * align64(codec->dim * sizeof(float)) + 2 * align64((size_t)codec->dim + 16);
}

void codec_rotate(const struct codec *codec, const float *x, float *y, void *work)
{
    rotation_apply(&codec->rotation, codec->kernels, x, y, work);
}

static double square_sum(const float *x, size_t n)
{
    double lanes[4] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % 4] += (double)x[i] * (double)x[i];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

void codec_normalise(const struct codec *codec, float *x)
{
    double norm = square_sum(x, codec->dim);
    if (fabs(norm - 1.0) <= 1e-6 || norm < (double)FLT_EPSILON)
        return;
    double inverse = 1.0 / sqrt(norm);
    for (size_t i = 0; i < codec->dim; i++)
        x[i] = (float)((double)x[i] * inverse);
}

/* ---- encoding ---- */

size_t codec_code_bytes(const struct codec *codec, unsigned bits)
{
    return bits == 1 ? ((size_t)codec->dim + 7) / 8 : ((size_t)codec->dim + 1) / 2;
}

/* What the factors need: |r|^2, <r, L>, <r, Rm>, <L, Rm>. */
struct encode_sums {
    double square, level, centre, level_centre;
};

static struct code_factors factors_of(enum metric metric, const struct encode_sums *sums)
{
    bool distance = metric == METRIC_EUCLID || metric == METRIC_MANHATTAN;
    double f = sums->level > 0 ? sums->square / sums->level : 0;
    if (distance) {
        double f_mul = (double)(float)(2 * f);
        return (struct code_factors){(float)f_mul,
                                     (float)(-sums->square - f_mul * sums->level_centre)};
    }
    double f_mul = (double)(float)f;
    return (struct code_factors){(float)f_mul, (float)(sums->centre - f_mul * sums->level_centre)};
}

static struct encode_sums sums_of(const float *r, const float *centre, const int8_t *levels,
                                  size_t dim)
{
    struct encode_sums sums = {0};
    sums.square = square_sum(r, dim);
    double level[4] = {0}, mean[4] = {0}, cross[4] = {0};
    for (size_t j = 0; j < dim; j++)
        level[j % 4] += (double)r[j] * (double)levels[j];
    for (size_t j = 0; centre != NULL && j < dim; j++) {
        mean[j % 4] += (double)r[j] * (double)centre[j];
        cross[j % 4] += (double)centre[j] * (double)levels[j];
    }
    sums.level = (level[0] + level[2]) + (level[1] + level[3]);
    sums.centre = (mean[0] + mean[2]) + (mean[1] + mean[3]);
    sums.level_centre = (cross[0] + cross[2]) + (cross[1] + cross[3]);
    return sums;
}

static void encode_1bit(const float *r, size_t dim, uint8_t *code, int8_t *levels)
{
    memset(code, 0, (dim + 7) / 8);
    for (size_t j = 0; j < dim; j++) {
        bool positive = r[j] >= 0;
        levels[j] = positive ? 1 : -1;
        code[j / 8] |= (uint8_t)(positive << (j % 8));
    }
}

static void pack_4bit(const uint8_t *codes, size_t dim, uint8_t *row)
{
    for (size_t begin = 0; begin < dim; begin += 128) {
        size_t dims = dim - begin < 128 ? dim - begin : 128, bytes = (dims + 1) / 2;
        for (size_t i = 0; i < bytes; i++) {
            unsigned high = bytes + i < dims ? codes[begin + bytes + i] : 0;
            row[i] = (uint8_t)(codes[begin + i] | high << 4);
        }
        row += bytes;
    }
}

/* The best of five scalings by cosine; z is r scaled to look N(0,1). Leaves levels of the best. */
static void encode_4bit(const struct codec *codec, const float *r, double square, uint8_t *row,
                        int8_t *levels, float *z, uint8_t *trial)
{
    size_t dim = codec->dim;
    float scale = square > 0 ? (float)(sqrt((double)dim) / sqrt(square)) : 0;
    for (size_t j = 0; j < dim; j++)
        z[j] = r[j] * scale;
    float best = -1;
    unsigned best_i = 0;
    for (unsigned i = 0; i < CODEBOOK_SEARCH_COUNT; i++) {
        float cosine = codec->kernels->quantise(z, dim, codebook_search[i], trial);
        if (cosine > best) {
            best = cosine;
            best_i = i;
        }
    }
    codec->kernels->quantise(z, dim, codebook_search[best_i], trial);
    for (size_t j = 0; j < dim; j++)
        levels[j] = codebook_levels_4bit[trial[j]];
    pack_4bit(trial, dim, row);
}

void codec_encode(const struct codec *codec, unsigned bits, enum metric metric,
                  const float *rotated, const float *centre, uint8_t *code,
                  struct code_factors *factors, void *work)
{
    size_t dim = codec->dim;
    float *r = work;
    float *z = (float *)(void *)((uint8_t *)work + align64(dim * sizeof(float)));
    int8_t *levels = (int8_t *)(z) + align64(dim * sizeof(float));
    uint8_t *trial = (uint8_t *)levels + align64(dim + 16);
    for (size_t j = 0; j < dim; j++)
        r[j] = centre == NULL ? rotated[j] : rotated[j] - centre[j];
    if (bits == 1)
        encode_1bit(r, dim, code, levels);
    else
        encode_4bit(codec, r, square_sum(r, dim), code, levels, z, trial);
    struct encode_sums sums = sums_of(r, centre, levels, dim);
    *factors = factors_of(metric, &sums);
}

/* ---- blocks ---- */

size_t codec_block_bytes(const struct codec *codec)
{
    return 16 * codec->columns + 2 * CODEC_BLOCK_LANES * sizeof(float);
}

/* Byte of a lane in a column: vectors 0,8,1,9,..,7,15 (low nibbles), 16 more in the high ones. */
static size_t lane_byte(unsigned lane)
{
    unsigned low = lane % 16;
    return low < 8 ? 2 * low : 2 * (low - 8) + 1;
}

void codec_block_put(const struct codec *codec, uint8_t *block, unsigned lane, const uint8_t *code,
                     struct code_factors factors)
{
    unsigned shift = lane < 16 ? 0 : 4;
    uint8_t *at = block + lane_byte(lane);
    for (size_t column = 0; column < codec->columns; column++, at += 16) {
        unsigned nibble = (code[column / 2] >> (4 * (column % 2))) & 15;
        *at = (uint8_t)((*at & ~(15u << shift)) | nibble << shift);
    }
    uint8_t *f_mul = block + 16 * codec->columns + lane * sizeof(float);
    memcpy(f_mul, &factors.f_mul, sizeof(float));
    memcpy(f_mul + CODEC_BLOCK_LANES * sizeof(float), &factors.f_add, sizeof(float));
}

void codec_block_get(const struct codec *codec, const uint8_t *block, unsigned lane, uint8_t *code,
                     struct code_factors *factors)
{
    unsigned shift = lane < 16 ? 0 : 4;
    const uint8_t *at = block + lane_byte(lane);
    memset(code, 0, codec_code_bytes(codec, 1));
    for (size_t column = 0; column < codec->columns; column++, at += 16)
        code[column / 2] |= (uint8_t)(((*at >> shift) & 15) << (4 * (column % 2)));
    const uint8_t *f_mul = block + 16 * codec->columns + lane * sizeof(float);
    memcpy(&factors->f_mul, f_mul, sizeof(float));
    memcpy(&factors->f_add, f_mul + CODEC_BLOCK_LANES * sizeof(float), sizeof(float));
}

/* ---- searching ---- */

size_t codec_query_bytes(const struct codec *codec)
{
    return align64(sizeof(struct codec_query)) + align64(codec->dim * sizeof(float)) +
           align64(16 * codec->columns) + align64(codec->dim);
}

/* Entry m of a column: sum of +-q over its 4 dims, bit i of m set for +; the minimum, -sum|q|, goes
 * to the bias and one step serves all columns, so that entries fit a byte. */
static void build_table(const struct codec *codec, struct codec_query *query)
{
    float widest = 0;
    double bias = 0;
    for (size_t column = 0; column < codec->columns; column++) {
        float span = 0;
        for (size_t j = 4 * column; j < 4 * column + 4 && j < codec->dim; j++)
            span += fabsf(query->rotated[j]);
        widest = span > widest ? span : widest;
        bias -= (double)span;
    }
    float step = 2 * widest / 255, inverse = step > 0 ? 1 / step : 0;
    for (size_t column = 0; column < codec->columns; column++) {
        for (size_t m = 0; m < 16; m++) {
            float value = 0;
            for (size_t i = 0; i < 4 && 4 * column + i < codec->dim; i++) {
                float q = query->rotated[4 * column + i];
                bool up = ((m >> i) & 1) == (q >= 0); /* adds 2|q| over the minimum */
                value += up ? 2 * fabsf(q) : 0;
            }
            query->table[16 * column + m] = (uint8_t)(value * inverse + 0.5f);
        }
    }
    query->table_step = step;
    query->table_bias = (float)bias;
    query->table_noise = step * sqrtf((float)codec->columns / 12);
}

static void build_bytes(const struct codec *codec, struct codec_query *query)
{
    float widest = 0;
    for (size_t j = 0; j < codec->dim; j++)
        widest = fmaxf(widest, fabsf(query->rotated[j]));
    query->byte_step = widest / 127;
    float inverse = widest > 0 ? 127 / widest : 0;
    for (size_t j = 0; j < codec->dim; j++)
        query->bytes[j] = (int8_t)lrintf(query->rotated[j] * inverse);
}

void codec_query_init(const struct codec *codec, enum metric metric, const float *vector,
                      struct codec_query *query, void *work)
{
    uint8_t *at = (uint8_t *)query + align64(sizeof *query);
    query->metric = metric;
    query->vector = vector;
    query->rotated = (float *)(void *)at;
    query->table = at + align64(codec->dim * sizeof(float));
    query->bytes = (int8_t *)query->table + align64(16 * codec->columns);
    codec_rotate(codec, vector, query->rotated, work);
    query->norm_square = square_sum(vector, codec->dim);
    build_table(codec, query);
    build_bytes(codec, query);
}

struct centre_terms codec_query_centre(const struct codec *codec, const struct codec_query *query,
                                       const float *centre)
{
    const struct kernels *k = codec->kernels;
    const uint8_t *rotated = (const uint8_t *)query->rotated;
    float square = centre == NULL ? (float)query->norm_square
                                  : k->square_distance(rotated, centre, codec->dim);
    float dot = centre == NULL ? 0 : k->dot(rotated, centre, codec->dim);
    bool distance = query->metric == METRIC_EUCLID || query->metric == METRIC_MANHATTAN;
    return (struct centre_terms){distance ? -square : dot, sqrtf(square)};
}

void codec_scan_blocks(const struct codec *codec, const struct codec_query *query,
                       struct centre_terms terms, const uint8_t *blocks, size_t block_count,
                       float epsilon, float threshold, uint32_t *survivors, float *bounds)
{
    float k = (float)(CODEBOOK_K_1BIT / CODEBOOK_UNIT_1BIT) * terms.reach;
    float width = epsilon * sqrtf(k * k + query->table_noise * query->table_noise);
    struct scan_query scan = {
        .table = query->table,
        .columns = codec->columns,
        .step = query->table_step,
        .shift = query->table_bias + width,
        .add = terms.add,
        .threshold = threshold,
    };
    size_t bytes = codec_block_bytes(codec);
    for (size_t i = 0; i < block_count; i++)
        survivors[i] =
            codec->kernels->scan_block(&scan, blocks + i * bytes, bounds + i * CODEC_BLOCK_LANES);
}

float codec_score_row(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms, const uint8_t *code, struct code_factors factors,
                      float *half_width)
{
    int32_t sum = codec->kernels->row_dot(code, query->bytes, codec->dim);
    float k = (float)(CODEBOOK_K_4BIT / CODEBOOK_UNIT_4BIT) * terms.reach;
    /* The query's own rounding: uniform errors of step^2/12 a dim against levels of mean square
     * (1 - D) / unit^2. */
    float noise = query->byte_step * codec->square_root * (float)(0.2887 / CODEBOOK_UNIT_4BIT);
    *half_width = factors.f_mul * sqrtf(k * k + noise * noise);
    return terms.add + factors.f_add + factors.f_mul * (query->byte_step * (float)sum);
}

static float key_of(const struct codec *codec, enum metric metric, const uint8_t *row,
                    const float *query)
{
    switch (metric) {
    case METRIC_COSINE:
    case METRIC_DOT:
        return codec->kernels->dot(row, query, codec->dim);
    case METRIC_EUCLID:
        return -codec->kernels->square_distance(row, query, codec->dim);
    case METRIC_MANHATTAN:
        return -codec->kernels->absolute_distance(row, query, codec->dim);
    }
    abort();
}

float codec_exact_key(const struct codec *codec, const struct codec_query *query,
                      const uint8_t *row)
{
    return key_of(codec, query->metric, row, query->vector);
}

float codec_key(const struct codec *codec, enum metric metric, const float *a, const float *b)
{
    return key_of(codec, metric, (const uint8_t *)a, b);
}
