/* A query prepared once: its lookup table, its integers, its terms of centres; exact keys. */
#include "codec/codec.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "codec/codec_internal.h"

static float load_float(const uint8_t *bytes, size_t j)
{
    float value;
    memcpy(&value, bytes + j * sizeof value, sizeof value);
    return value;
}

static size_t lut_bytes(const struct codec *codec)
{
    if (codec_has_lanes(codec)) {
        return 0; /* the query's own integers do */
    }
    return round_to_pad((codec->shape.column_count + 1) / 2 * 32);
}

/* Two int8 streams at CODE_4. */
static size_t nibble_stream_bytes(const struct codec *codec)
{
    return codec->second_bits == CODE_4 ? 2 * round_to_pad(codec->row_bytes) : 0;
}

static size_t wide_bytes(const struct codec *codec)
{
    const bool used = codec->first_bits == CODE_8 || codec->second_bits == CODE_8;
    return used ? round_to_pad(codec->dim) * sizeof(int16_t) : 0;
}

/* The rotated query; at CODE_1_5 also the extended one. */
static size_t rotated_count(const struct codec *codec)
{
    return round_to_pad(codec->dim) +
           (codec->first_bits == CODE_1_5 ? round_to_pad(codec->code_dim) : 0);
}

size_t codec_query_bytes(const struct codec *codec)
{
    return round_to_pad(sizeof(struct codec_query)) + rotated_count(codec) * sizeof(float) +
           lut_bytes(codec) + round_to_pad(codec->dim) + nibble_stream_bytes(codec) +
           wide_bytes(codec);
}

static void query_layout(const struct codec *codec, struct codec_query *query)
{
    uint8_t *next = (uint8_t *)query + round_to_pad(sizeof *query);
    query->rotated = (void *)next;
    query->spread = query->rotated;
    if (codec->first_bits == CODE_1_5) {
        query->spread += round_to_pad(codec->dim);
    }
    memset(next, 0, rotated_count(codec) * sizeof(float)); /* kernels count on the padding */
    next += rotated_count(codec) * sizeof(float);
    query->lut = next;
    next += lut_bytes(codec);
    query->plain = (int8_t *)next;
    memset(query->plain, 0, round_to_pad(codec->dim));
    next += round_to_pad(codec->dim);
    query->low = (int8_t *)next;
    query->high = query->low + round_to_pad(codec->row_bytes);
    query->wide = (void *)(next + nibble_stream_bytes(codec));
}

/* ---- the lookup table of the first stage ---- */

/* One step for all columns, so that sums of different columns add up. Of the lowest entries, which
 * the table leaves out, lut_bias is the sum: minus all magnitudes. */
static void query_fill_lut(const struct codec *codec, struct codec_query *query)
{
    const struct kernels *kernels = codec->kernels;
    const unsigned bits = codec->first_bits == CODE_2 ? 2 : 1;
    const float outer = bits == 2 ? (float)CODEBOOK_OUTER_2 : 1.0f;
    const size_t column_count = codec->shape.column_count;
    const float widest = kernels->widest_column(query->spread, codec->code_dim, bits);
    const float per_step = widest > FLT_MIN ? 255.0f / widest : 0.0f;
    memset(query->lut + column_count * 16, 0, lut_bytes(codec) - column_count * 16);
    kernels->fill_lut(query->spread, column_count, bits, per_step, query->lut);
    query->lut_step = widest / 255.0f * outer;
    query->lut_bias =
        (float)(-kernels->absolute_sum(query->spread, codec->code_dim) * (double)outer);
    query->lut_error = (double)query->lut_step * sqrt((double)column_count / 12.0);
}

/* ---- the integers of the second stage ---- */

/* The query in int8, and the mean square of what rounding took. */
static float query_fill_plain(const struct codec *codec, struct codec_query *query)
{
    const float largest = codec->kernels->largest(query->rotated, codec->dim);
    const float step = largest / 127.0f, per_step = step > FLT_MIN ? 127.0f / largest : 0.0f;
    const double error =
        codec->kernels->quantise(query->rotated, codec->dim, per_step, step, query->plain);
    query->plain_step = step;
    return (float)(error / (double)codec->dim);
}

/* The step that keeps <q, rounded q> at |q|^2, EDEN's for queries: what rounding adds lies across
 * q. With the plain one, sparse queries, rotated onto a few values all rounded the same way, biased
 * estimates by up to .03 of their spread. */
static float unbiased_step(const struct codec *codec, const struct codec_query *query)
{
    const struct kernels *kernels = codec->kernels;
    const float *rotated = query->rotated;
    const double product = kernels->level_sums(rotated, NULL, query->plain, codec->dim).of_x;
    const double square = kernels->dot(rotated, (const uint8_t *)rotated, codec->dim);
    return product > 0.0 ? (float)(square / product) : query->plain_step;
}

/* The same, spread over the streams of low and high nibbles. */
static void query_fill_nibbles(const struct codec *codec, struct codec_query *query)
{
    memset(query->low, 0, nibble_stream_bytes(codec));
    size_t byte = 0;
    for (size_t first = 0; first < codec->dim; first += CODEC_ROW_GROUP) {
        const size_t half = codec_half_group(codec->dim, first), left = codec->dim - first;
        memcpy(query->low + byte, query->plain + first, half);
        memcpy(query->high + byte, query->plain + first + half,
               left < 2 * half ? left - half : half);
        byte += half;
    }
}

/* 16 bits, or fewer where sums with levels up to 255 could leave 32. */
static void query_fill_int16(const struct codec *codec, struct codec_query *query)
{
    const float *rotated = query->rotated;
    double largest = 0.0, sum = 0.0, error = 0.0;
    for (uint32_t j = 0; j < codec->dim; j++) {
        const double size = fabs((double)rotated[j]);
        largest = size > largest ? size : largest;
        sum += size;
    }
    const double most = (double)(INT32_MAX / 255) - (double)codec->dim;
    const double per_step = largest > (double)FLT_MIN ? fmin(32767.0 / largest, most / sum) : 0.0;
    const double step = per_step > 0.0 ? 1.0 / per_step : 0.0;
    memset(query->wide, 0, wide_bytes(codec));
    for (uint32_t j = 0; j < codec->dim; j++) {
        const double scaled = (double)rotated[j] * per_step;
        query->wide[j] = (int16_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
        const double off = (double)rotated[j] - (double)query->wide[j] * step;
        error += off * off;
    }
    query->wide_step = (float)step;
    query->wide_variance = (float)(error / (double)codec->dim);
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
        if (codec->first_bits == CODE_1_5) {
            codec_extend(codec, query->rotated, query->spread,
                         (void *)((uint8_t *)work + codec_plane_bytes(codec)));
        }
        if (!codec_has_lanes(codec)) {
            query_fill_lut(codec, query);
        }
        query->narrow_variance = query_fill_plain(codec, query);
        query->narrow_step = unbiased_step(codec, query);
        if (codec->second_bits == CODE_4) {
            query_fill_nibbles(codec, query);
        }
        if (wide_bytes(codec) > 0) {
            query_fill_int16(codec, query);
        }
    }
}

void codec_query_init_centres(const struct codec *codec, const float *rotated,
                              struct codec_query *query)
{
    *query = (struct codec_query){.metric = METRIC_EUCLID, .vector = rotated};
    query_layout(codec, query);
    memcpy(query->rotated, rotated, codec->dim * sizeof *rotated);
    query->norm = sqrt(codec->kernels->dot(rotated, (const uint8_t *)rotated, codec->dim));
    (void)query_fill_plain(codec, query);
}

struct centre_terms codec_query_centre(const struct codec *codec, const struct codec_query *query,
                                       const float *centre)
{
    struct centre_sums sums = {.distance = query->norm * query->norm};
    if (centre != NULL) {
        sums = codec->kernels->centre_sums(query->rotated, centre, codec->dim);
    }
    const double add = query->metric == METRIC_EUCLID ? -sums.distance : sums.product;
    if (!(fabs(add) <= CODEC_SQUARE_MAX) || !(sums.distance <= CODEC_SQUARE_MAX) ||
        !(query->norm * query->norm <= CODEC_SQUARE_MAX)) {
        return (struct centre_terms){.reach = INFINITY};
    }
    return (struct centre_terms){(float)add, (float)sqrt(sums.distance), (float)sums.square};
}

struct centre_terms codec_query_centre_plain(const struct codec *codec,
                                             const struct codec_query *query, const uint8_t *centre,
                                             float square)
{
    const struct kernels *kernels = codec->kernels;
    const double own = query->norm * query->norm;
    double add, distance;
    if (query->metric == METRIC_EUCLID) {
        distance = kernels->squared_distance(query->vector, centre, codec->dim);
        add = -distance;
    } else {
        add = kernels->dot(query->vector, centre, codec->dim);
        distance = own - 2.0 * add + (double)square;
        distance = (distance > 0.0 ? distance : 0.0) + 4e-6 * (own + (double)square);
    }
    if (!(fabs(add) <= CODEC_SQUARE_MAX) || !(distance <= CODEC_SQUARE_MAX) ||
        !(own <= CODEC_SQUARE_MAX)) {
        return (struct centre_terms){.reach = INFINITY};
    }
    return (struct centre_terms){(float)add, (float)sqrt(distance), square};
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

static float key_within(double key)
{
    const double most = (double)FLT_MAX;
    return (float)(key > most ? most : key < -most ? -most : key);
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
    return key_within(key);
}

float codec_exact_key(const struct codec *codec, const struct codec_query *query,
                      const uint8_t *row)
{
    return key_of(codec, query->metric, query->vector, row);
}

/* Some 6 KiB ahead, and at least a row. */
#define FETCH_BYTES 6144u

void codec_exact_keys(const struct codec *codec, const struct codec_query *query,
                      const uint8_t *const *rows, size_t count, float *keys)
{
    const size_t row_bytes = codec->dim * sizeof(float), ahead = 1 + FETCH_BYTES / row_bytes;
    for (size_t i = 1; i < ahead && i < count; i++) {
        codec_fetch(rows[i], row_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + ahead < count) {
            codec_fetch(rows[i + ahead], row_bytes);
        }
        keys[i] = key_of(codec, query->metric, query->vector, rows[i]);
    }
}

float codec_exact_key_half(const struct codec *codec, const struct codec_query *query,
                           const uint8_t *row)
{
    const struct kernels *kernels = codec->kernels;
    switch (query->metric) {
    case METRIC_EUCLID:
        return key_within(-kernels->squared_distance_half(query->vector, row, codec->dim));
    case METRIC_MANHATTAN:
        return key_within(-kernels->absolute_distance_half(query->vector, row, codec->dim));
    case METRIC_COSINE:
    case METRIC_DOT:
        break;
    }
    return key_within(kernels->dot_half(query->vector, row, codec->dim));
}

float codec_key(const struct codec *codec, enum metric metric, const float *a, const float *b)
{
    return key_of(codec, metric, a, (const uint8_t *)b);
}
