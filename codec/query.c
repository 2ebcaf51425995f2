/* Searching: a query prepared once, then scanned, scored and compared exactly. */
#include "codec/codec.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "codec/codec_internal.h"

/* |r| as told from a code and its error byte is off by some 0.6 % at 1 bit and 0.02 % at 4, and its
 * share in g^2 - (t/|r|)^2 by twice that; the slack keeps that difference from being too small. */
#define NORM_SLACK_1 0.012f
#define NORM_SLACK_4 0.001f
/* Float sums of f_add and f_mul * ip, whose parts may be larger than their sum. */
#define FLOAT_SLACK 2.4e-7

struct codec_query {
    enum metric metric;
    const float *vector;
    double norm;    /* |q| */
    float lut_step; /* ip = lut_step * sum + lut_bias */
    float lut_bias;
    double lut_error; /* standard deviation of ip for rounding the table */
    float int8_step;
    float int8_variance; /* of ip per |L|^2: |q - int8_step * int8|^2 / d */
    float *rotated;
    uint8_t *lut; /* [16 * column_count], and a column of zeros when that is odd */
    int8_t *low;  /* [round_to_pad(row_bytes)]: dims of low nibbles */
    int8_t *high; /* likewise */
};

static float load_float(const uint8_t *bytes, size_t j)
{
    float value;
    memcpy(&value, bytes + j * sizeof value, sizeof value);
    return value;
}

static size_t lut_bytes(const struct codec *codec)
{
    return round_to_pad((codec->column_count + 1) / 2 * 32);
}

size_t codec_query_bytes(const struct codec *codec)
{
    return round_to_pad(sizeof(struct codec_query)) + round_to_pad(codec->dim) * sizeof(float) +
           lut_bytes(codec) + 2 * round_to_pad(codec->row_bytes);
}

static void query_layout(const struct codec *codec, struct codec_query *query)
{
    uint8_t *next = (uint8_t *)query + round_to_pad(sizeof *query);
    query->rotated = (void *)next;
    next += round_to_pad(codec->dim) * sizeof(float);
    query->lut = next;
    next += lut_bytes(codec);
    query->low = (int8_t *)next;
    query->high = query->low + round_to_pad(codec->row_bytes);
}

/* ---- the lookup table of the first stage ---- */

/* The four dims of a column, zero past dim. */
static void column_values(const struct codec *codec, const float *rotated, size_t column,
                          float values[4])
{
    for (size_t i = 0; i < 4; i++) {
        const size_t j = column * 4 + i;
        values[i] = j < codec->dim ? rotated[j] : 0.0f;
    }
}

/* Twice the sum of magnitudes: what the column's entries range over. */
static float column_range(const float values[4])
{
    return 2.0f * ((fabsf(values[0]) + fabsf(values[1])) + (fabsf(values[2]) + fabsf(values[3])));
}

/* Entry m: twice the magnitudes of the values whose sign bit m has, in steps. */
static void column_fill(const float values[4], float per_step, uint8_t *entries)
{
    float sums[16] = {0.0f};
    for (unsigned i = 0; i < 4; i++) {
        const float twice = 2.0f * fabsf(values[i]) * per_step;
        const float if_set = values[i] > 0.0f ? twice : 0.0f;
        const float if_clear = values[i] > 0.0f ? 0.0f : twice;
        for (unsigned m = 0; m < 16; m++) {
            sums[m] += m >> i & 1 ? if_set : if_clear;
        }
    }
    for (unsigned m = 0; m < 16; m++) {
        const float rounded = sums[m] + 0.5f;
        entries[m] = (uint8_t)(rounded < 255.0f ? rounded : 255.0f);
    }
}

/* One step for all columns, so that sums of different columns add up. */
static void query_fill_lut(const struct codec *codec, struct codec_query *query)
{
    float values[4], widest = 0.0f;
    double magnitude = 0.0;
    for (size_t column = 0; column < codec->column_count; column++) {
        column_values(codec, query->rotated, column, values);
        const float range = column_range(values);
        widest = range > widest ? range : widest;
        magnitude += (double)range;
    }
    const float per_step = widest > 0.0f ? 255.0f / widest : 0.0f;
    memset(query->lut, 0, lut_bytes(codec));
    for (size_t column = 0; column < codec->column_count; column++) {
        column_values(codec, query->rotated, column, values);
        column_fill(values, per_step, query->lut + column * 16);
    }
    query->lut_step = widest / 255.0f;
    query->lut_bias = (float)(-0.5 * magnitude);
    query->lut_error = (double)query->lut_step * sqrt((double)codec->column_count / 12.0);
}

/* ---- the 8-bit form for the second stage ---- */

static int8_t int8_of(float value, float per_step)
{
    const float scaled = value * per_step;
    return (int8_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f);
}

static void query_fill_int8(const struct codec *codec, struct codec_query *query)
{
    const float *rotated = query->rotated;
    float largest = 0.0f;
    for (uint32_t j = 0; j < codec->dim; j++) {
        largest = fabsf(rotated[j]) > largest ? fabsf(rotated[j]) : largest;
    }
    const float step = largest / 127.0f, per_step = step > FLT_MIN ? 127.0f / largest : 0.0f;
    memset(query->low, 0, 2 * round_to_pad(codec->row_bytes));
    size_t byte = 0;
    double error = 0.0;
    for (size_t first = 0; first < codec->dim; first += CODEC_ROW_GROUP) {
        const size_t half = codec_half_group(codec->dim, first);
        for (size_t k = 0; k < 2 * half && first + k < codec->dim; k++) {
            const int8_t rounded = int8_of(rotated[first + k], per_step);
            const float off = rotated[first + k] - (float)rounded * step;
            (k < half ? query->low : query->high)[byte + k % half] = rounded;
            error += (double)off * (double)off;
        }
        byte += half;
    }
    query->int8_step = step;
    query->int8_variance = (float)(error / (double)codec->dim);
}

void codec_query_init(const struct codec *codec, enum metric metric, const float *vector,
                      struct codec_query *query, void *work)
{
    *query = (struct codec_query){.metric = metric, .vector = vector};
    query_layout(codec, query);
    if (metric == METRIC_MANHATTAN) {
        return; /* no codes help */
    }
    codec_rotate(codec, vector, query->rotated, work);
    query->norm = sqrt(codec->kernels->dot(vector, (const uint8_t *)vector, codec->dim));
    if (query->norm * query->norm <= CODEC_SQUARE_MAX) {
        query_fill_lut(codec, query);
        query_fill_int8(codec, query);
    }
}

struct centre_terms codec_query_centre(const struct codec *codec, const struct codec_query *query,
                                       const float *centre)
{
    const struct kernels *kernels = codec->kernels;
    double product = 0.0, distance = query->norm * query->norm, square = 0.0;
    if (centre != NULL) {
        const uint8_t *bytes = (const uint8_t *)centre;
        product = kernels->dot(query->rotated, bytes, codec->dim);
        distance = kernels->squared_distance(query->rotated, bytes, codec->dim);
        square = kernels->dot(centre, bytes, codec->dim);
    }
    const double add = query->metric == METRIC_EUCLID ? -distance : product;
    if (!(fabs(add) <= CODEC_SQUARE_MAX) || !(distance <= CODEC_SQUARE_MAX) ||
        !(query->norm * query->norm <= CODEC_SQUARE_MAX)) {
        return (struct centre_terms){.reach = INFINITY};
    }
    return (struct centre_terms){(float)add, (float)sqrt(distance), (float)square};
}

/* ---- first stage ---- */

/* Rounding that floats leave in estimates, as an error of ip (codes of norm `code_norm`). */
static double float_error(const struct codec_query *query, struct centre_terms terms,
                          double code_norm)
{
    return FLOAT_SLACK * code_norm * (2.0 * query->norm + (double)terms.reach);
}

/* What a code and its scale tell of the residual r. */
struct residual {
    float scale;       /* S of the integer levels */
    float error;       /* 1 - rho^2 */
    float code_square; /* |L|^2 */
    float square;      /* |r|^2 */
};

static struct residual residual_of(const struct codec_query *query, float f_mul, float error,
                                   float code_square)
{
    const float scale = query->metric == METRIC_EUCLID ? 0.5f * f_mul : f_mul;
    return (struct residual){scale, error, code_square,
                             scale * scale * code_square * (1.0f - error)};
}

/* The square of the part of q - m that lies across r, where all of the error is: g^2 - (t/|r|)^2,
 * t = <q - m, r> told from the estimate. <r, m> takes part in t: known from |x| = 1 under Cosine,
 * not known under Dot, where g^2 stands. */
static float across_square(const struct codec_query *query, struct centre_terms terms,
                           struct residual residual, float estimate, float slack)
{
    const float reach = terms.reach * terms.reach;
    float along;
    if (query->metric == METRIC_EUCLID) {
        along = 0.5f * (estimate + reach + residual.square);
    } else if (terms.square <= 0.0f) {
        along = estimate - terms.add;
    } else if (query->metric == METRIC_COSINE) {
        along = estimate - terms.add - 0.5f * (1.0f - terms.square - residual.square);
    } else {
        return reach;
    }
    const float across = reach - along * along / residual.square;
    return fminf(reach, fmaxf(across, 0.0f) + slack * reach);
}

/* Half width of one code: |r| |across| sqrt((1/rho^2 - 1)/(d - 1)), and the noise. */
static float half_width_of(const struct codec *codec, struct residual residual, float f_mul,
                           float across, float noise)
{
    const float others = codec->dim > 1 ? (float)(codec->dim - 1) : 1.0f;
    return f_mul * sqrtf(residual.code_square * residual.error / others * across + noise);
}

/* Variance of ip for a code of square `code_square`: rounding the table, and floats. */
static double noise_1(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms)
{
    const double floats = float_error(query, terms, sqrt((double)codec->dim));
    return query->lut_error * query->lut_error + floats * floats;
}

/* The scan's half width, per f_mul: the mean code's and all of g, a little more for codes that are
 * worse than the mean (the spread of 1 - rho^2 is .94/sqrt(d) of it). */
static double half_width_1(const struct codec *codec, struct centre_terms terms, double noise)
{
    const double d = (double)codec->dim, reach = (double)terms.reach;
    const double others = d > 1.0 ? d - 1.0 : 1.0;
    const double error = CODEBOOK_ERROR_1 * (1.0 + 1.0 / sqrt(d));
    return sqrt(d * error / others * reach * reach + noise);
}

/* What a scan found, looked at with each code's own half width. */
struct refinement {
    float epsilon;
    float allowed; /* in the scan's bounds, per f_mul */
    float noise;
    float threshold;
};

static uint32_t refine_block(const struct codec *codec, const struct codec_query *query,
                             struct centre_terms terms, const uint8_t *scalars,
                             const struct refinement *refinement, uint32_t lanes, float *bounds)
{
    uint32_t kept = lanes;
    for (; lanes != 0; lanes &= lanes - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(lanes);
        const float f_mul = load_float(scalars, lane);
        if (!(f_mul > 0.0f) || !isfinite(bounds[lane])) {
            continue;
        }
        const float estimate = bounds[lane] - f_mul * refinement->allowed;
        const struct residual residual =
            residual_of(query, f_mul, codec->errors_1[factor_error_byte(f_mul)], (float)codec->dim);
        const float across = across_square(query, terms, residual, estimate, NORM_SLACK_1);
        const float half_width = half_width_of(codec, residual, f_mul, across, refinement->noise);
        const float bound = estimate + refinement->epsilon * half_width;
        if (bound < bounds[lane]) {
            bounds[lane] = bound;
            kept &= bound < refinement->threshold ? ~(1u << lane) : ~0u;
        }
    }
    return kept;
}

void codec_scan_blocks(const struct codec *codec, const struct codec_query *query,
                       struct centre_terms terms, const uint8_t *blocks, size_t block_count,
                       float epsilon, float threshold, uint32_t *survivors, float *bounds)
{
    assert(block_count <= 64);
    const double noise = noise_1(codec, query, terms);
    const double allowed = (double)epsilon * half_width_1(codec, terms, noise);
    const struct scan_line line = {
        .step = query->lut_step,
        .bias = (float)((double)query->lut_bias + allowed),
        .add = terms.add,
        .threshold = threshold,
    };
    codec->kernels->scan_blocks(blocks, block_count, codec->column_count, query->lut, &line,
                                survivors, bounds);
    const struct refinement refinement = {epsilon, (float)allowed, (float)noise, threshold};
    const uint8_t *scalars = blocks + codec->column_count * 16;
    for (size_t block = 0; block < block_count; block++) {
        if (survivors[block] != 0) {
            survivors[block] =
                refine_block(codec, query, terms, scalars + block * codec_block_bytes(codec),
                             &refinement, survivors[block], bounds + block * CODEC_BLOCK_LANES);
        }
    }
}

/* ---- second stage ---- */

float codec_score_row(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms, const uint8_t *code, struct code_factors factors,
                      float *half_width)
{
    const struct row_sums sums =
        codec->kernels->row_sums(code, codec->row_bytes, query->low, query->high);
    const double ip = (double)query->int8_step * (double)sums.dot;
    const float estimate =
        (float)((double)terms.add + (double)factors.f_add + (double)factors.f_mul * ip);
    *half_width = 0.0f;
    if (!isfinite(estimate) || !isfinite(terms.reach)) {
        return INFINITY;
    }
    if (!(factors.f_mul > 0.0f)) {
        return estimate;
    }
    const float code_square = (float)(sums.square - (codec->dim % 2 != 0 ? CODEC_PAD_SQUARE : 0u));
    const struct residual residual = residual_of(
        query, factors.f_mul, codec->errors_4[factor_error_byte(factors.f_mul)], code_square);
    const float across = across_square(query, terms, residual, estimate, NORM_SLACK_4);
    const float of_query = query->int8_variance * code_square;
    const double of_floats = float_error(query, terms, sqrt((double)code_square));
    *half_width = half_width_of(codec, residual, factors.f_mul, across,
                                of_query + (float)(of_floats * of_floats));
    return estimate;
}

/* ---- exact ---- */

/* Where float products overflow: in double, slowly. */
static double key_in_double(enum metric metric, const float *a, const uint8_t *b, size_t n)
{
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) {
        const double x = (double)a[j], y = (double)load_float(b, j), off = x - y;
        sum += metric == METRIC_EUCLID      ? -(off * off)
               : metric == METRIC_MANHATTAN ? -fabs(off)
                                            : x * y;
    }
    return sum;
}

static float key_of(const struct codec *codec, enum metric metric, const float *a, const uint8_t *b)
{
    const struct kernels *kernels = codec->kernels;
    double key = 0.0;
    switch (metric) {
    case METRIC_COSINE:
    case METRIC_DOT:
        key = kernels->dot(a, b, codec->dim);
        break;
    case METRIC_EUCLID:
        key = -kernels->squared_distance(a, b, codec->dim);
        break;
    case METRIC_MANHATTAN:
        key = -kernels->absolute_distance(a, b, codec->dim);
        break;
    }
    if (!isfinite(key)) {
        key = key_in_double(metric, a, b, codec->dim);
    }
    const double most = (double)FLT_MAX;
    return (float)(key > most ? most : key < -most ? -most : key);
}

float codec_exact_key(const struct codec *codec, const struct codec_query *query,
                      const uint8_t *row)
{
    return key_of(codec, query->metric, query->vector, row);
}

float codec_key(const struct codec *codec, enum metric metric, const float *a, const float *b)
{
    return key_of(codec, metric, a, (const uint8_t *)b);
}
