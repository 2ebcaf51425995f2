/* The codec's statistics, targets C1 to C4, C6 and C7 of the specification, on every input of
 * codec_inputs.h: lengths, errors of codes, bias, calibration of the half widths, the factors
 * against decoded vectors, and what a staged search finds and costs. Seeds are fixed and bounds
 * stated, so a failure is a change of the code and never luck. (C5, the same integers on every
 * instruction set, is kernels_test.c; C8 is a speed, in make bench-codec.)
 *
 * Without an argument a core of a few seconds; with `all` every dimension and 2,000 draws an input,
 * 20,000 seeds a pair: make codec-stats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "codec/codec_internal.h"
#include "tests/family.h"
#include "tests/staged.h"
#include "tests/unit/codec_inputs.h"

static bool whole; /* set by main */

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    assert_non_null(memory);
    return memory;
}

static double dot(const float *x, const float *y, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        sum += (double)x[j] * (double)y[j];
    }
    return sum;
}

/* Buffers for one dimension; the codec is made anew for every seed. */
struct bench {
    uint32_t dim;
    unsigned first, second; /* bits */
    struct codec *codec;
    float *x, *rotated, *other, *centre;
    uint8_t *code, *block;
    void *work;
    struct codec_query *query;
};

static struct bench bench_new(uint32_t dim, unsigned first, unsigned second)
{
    struct bench bench = {.dim = dim, .first = first, .second = second};
    bench.codec = codec_new_bits(dim, 1, first, second, NULL);
    bench.x = aligned(dim * sizeof(float));
    bench.rotated = aligned(dim * sizeof(float));
    bench.other = aligned(dim * sizeof(float));
    bench.centre = aligned(dim * sizeof(float));
    bench.code = aligned((size_t)dim * 2);
    bench.block = aligned(codec_block_bytes(bench.codec));
    bench.work = aligned(codec_work_bytes(bench.codec));
    bench.query = aligned(codec_query_bytes(bench.codec));
    return bench;
}

static void bench_seed(struct bench *bench, uint64_t seed)
{
    codec_free(bench->codec);
    bench->codec = codec_new_bits(bench->dim, seed, bench->first, bench->second, NULL);
}

static void bench_free(struct bench *bench)
{
    codec_free(bench->codec);
    free(bench->x);
    free(bench->rotated);
    free(bench->other);
    free(bench->centre);
    free(bench->code);
    free(bench->block);
    free(bench->work);
    free(bench->query);
}

/* ---- C1 and C2: lengths, and 1/rho^2 - 1 of codes ---- */

/* Codes measured: kith's own, and floats of family.h: 3 bits, which it has none of, and what the
 * search of five scales saves at 4. */
enum measured { KITH_1, KITH_2, KITH_4, KITH_8, FLOAT_3, FLOAT_4, MEASURED };
static const char *const measured_names[MEASURED] = {
    "1 bit", "2 bits", "4 bits", "8 bits", "3 bits (float)", "4 bits (no search)"};
static const unsigned measured_bits[MEASURED] = {CODE_1, CODE_2, CODE_4, CODE_8, 3, 4};

/* Bounds on the mean, codec.md 2.6; there 9.6e-5 at 8 bits, where kith's grid fits each vector. */
static double bound_of(uint32_t dim, enum measured measured)
{
    static const struct {
        uint32_t dim;
        double searched;
    } bounds[] = {{64, .0079},  {100, .0084},  {128, .0086},  {200, .0089},  {384, .0092},
                  {768, .0095}, {1536, .0096}, {3072, .0098}, {65536, .0098}};
    switch (measured) {
    case KITH_1:
        return .578;
    case KITH_2:
        return .1345;
    case FLOAT_3:
        return .0362;
    case FLOAT_4:
        return .0098;
    case KITH_8:
        return dim > 3072 ? 9.6e-5 : dim > 1536 ? 8.2e-5 : 7e-5;
    case KITH_4:
    case MEASURED:
        break;
    }
    size_t i = 0;
    while (bounds[i].dim < dim) {
        i++;
    }
    return bounds[i].searched;
}

static double float_error(struct family *family, struct bench *bench, unsigned bits)
{
    struct family_scalars scalars;
    family_encode(family, SCHEME_EDEN_UNBIASED, bits, bench->rotated, bench->code, &scalars);
    family_decode(family, SCHEME_EDEN_UNBIASED, bits, bench->code, scalars, bench->other);
    return dot(bench->other, bench->other, bench->dim) /
               dot(bench->rotated, bench->rotated, bench->dim) -
           1.0;
}

static void measure_errors(struct bench *bench, struct family *family, double sums[MEASURED])
{
    for (int m = 0; m < MEASURED; m++) {
        const unsigned bits = measured_bits[m];
        if (m > KITH_8) {
            sums[m] += family != NULL ? float_error(family, bench, bits) : 0.0;
            continue;
        }
        struct code_factors factors;
        codec_encode(bench->codec, bits, METRIC_DOT, bench->rotated, NULL, bench->code, &factors,
                     bench->work);
        sums[m] += staged_error(bench->code, bits, bench->rotated, bench->dim);
    }
}

/* Every input under `draws` seeds; floats_each: every how many draws the float codes too. */
static void check_errors(uint32_t dim, int draws, int floats_each) /* fewer draws: 2 % slack */
{
    struct bench bench = bench_new(dim, CODE_1, CODE_4);
    struct family *family = family_new(dim, 1);
    double sums[INPUT_COUNT][MEASURED] = {{0.0}};
    struct random random = {dim};
    for (int draw = 0; draw < draws; draw++) {
        bench_seed(&bench, 1000003u * (uint64_t)draw + dim);
        for (int input = 0; input < INPUT_COUNT; input++) {
            input_fill((enum input)input, bench.x, dim, &random);
            codec_rotate(bench.codec, bench.x, bench.rotated, bench.work);
            const double square = dot(bench.x, bench.x, dim);
            assert_true(fabs(dot(bench.rotated, bench.rotated, dim) / square - 1.0) <= 1e-5);
            measure_errors(&bench, draw % floats_each == 0 ? family : NULL, sums[input]);
        }
    }
    const int float_draws = (draws + floats_each - 1) / floats_each;
    for (int m = 0; m < MEASURED; m++) {
        double worst = 0.0;
        int worst_input = 0;
        for (int input = 0; input < INPUT_COUNT; input++) {
            const double mean = sums[input][m] / (m > KITH_8 ? float_draws : draws);
            worst_input = mean > worst ? input : worst_input;
            worst = fmax(worst, mean);
        }
        print_message("%6u dims %-19s gaussian %.4g, worst %.4g (%s), bound %.4g\n", dim,
                      measured_names[m], sums[0][m] / (m > KITH_8 ? float_draws : draws), worst,
                      input_name((enum input)worst_input), bound_of(dim, (enum measured)m));
        if (worst > bound_of(dim, (enum measured)m) * (draws < 2000 && dim < 3072 ? 1.02 : 1.0)) {
            fail_msg("%u dims, %s, input %s: mean 1/rho^2 - 1 is %g", dim, measured_names[m],
                     input_name((enum input)worst_input), worst);
        }
    }
    family_free(family);
    bench_free(&bench);
}

static void errors(void **state)
{
    (void)state;
    if (!whole) {
        check_errors(64, 1000, 1);
        check_errors(100, 1000, 1);
        check_errors(768, 200, 1);
        return;
    }
    const uint32_t dims[] = {64, 100, 128, 200, 384, 768, 960, 1000, 1536};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        check_errors(dims[i], 2000, 1);
    }
    check_errors(3072, 50, 1);
    check_errors(65536, 50, 10);
}

/* ---- C3: no bias, whatever the pair ---- */

enum { ESTIMATE_FIRST, ESTIMATE_SECOND, ESTIMATES };

/* Estimates of <q, x> through the kernels, with the rounding of queries that search has. */
static void estimate_both(struct bench *bench, const float *vector, const float *query,
                          const float *centre, double estimates[ESTIMATES])
{
    uint32_t survivors;
    float bounds[32], half_width;
    struct code_factors factors;
    if (centre != NULL) {
        codec_rotate(bench->codec, centre, bench->centre, bench->work);
    }
    const float *rotated_centre = centre != NULL ? bench->centre : NULL;
    codec_rotate(bench->codec, vector, bench->rotated, bench->work);
    codec_query_init(bench->codec, METRIC_DOT, query, bench->query, bench->work);
    const struct centre_terms terms =
        codec_query_centre(bench->codec, bench->query, rotated_centre);
    codec_encode(bench->codec, bench->first, METRIC_DOT, bench->rotated, rotated_centre,
                 bench->code, &factors, bench->work);
    codec_block_put(bench->codec, bench->block, 0, bench->code, factors);
    codec_scan_blocks(bench->codec, bench->query, terms, bench->block, 1, 0.0f, -INFINITY,
                      &survivors, bounds);
    estimates[ESTIMATE_FIRST] = (double)bounds[0];
    codec_encode(bench->codec, bench->second, METRIC_DOT, bench->rotated, rotated_centre,
                 bench->code, &factors, bench->work);
    estimates[ESTIMATE_SECOND] = (double)codec_score_row(bench->codec, bench->query, terms,
                                                         bench->code, factors, &half_width);
}

/* |mean error| <= 3 standard errors, .021 sd at 20,000 seeds; the spread as theory has it at 1 bit,
 * sqrt((1 - cos^2) D/(1-D)/(d-1)) of the lengths. */
static void check_bias(struct bench *bench, const char *name, const float *query,
                       const float *centre, int seeds)
{
    double sums[ESTIMATES] = {0}, squares[ESTIMATES] = {0};
    const uint32_t dim = bench->dim;
    const double truth = dot(query, bench->x, dim);
    memset(bench->block, 0, codec_block_bytes(bench->codec));
    for (int seed = 0; seed < seeds; seed++) {
        double estimates[ESTIMATES];
        bench_seed(bench, (uint64_t)seed * 7919u + dim);
        estimate_both(bench, bench->x, query, centre, estimates);
        for (int e = 0; e < ESTIMATES; e++) {
            sums[e] += estimates[e] - truth;
            squares[e] += (estimates[e] - truth) * (estimates[e] - truth);
        }
    }
    for (int e = 0; e < ESTIMATES; e++) {
        const double mean = sums[e] / seeds, sd = sqrt(squares[e] / seeds - mean * mean);
        const double allowed = seeds >= 20000 ? .0212 : 3.0 / sqrt((double)seeds);
        if (fabs(mean) > allowed * sd) {
            fail_msg("%u dims, %s, %u bits: bias %.4f sd over %d seeds", dim, name,
                     e == ESTIMATE_FIRST ? bench->first : bench->second, mean / sd, seeds);
        }
    }
    if (centre == NULL && dim >= 100 && bench->first == CODE_1) {
        const double square = dot(query, query, dim) * dot(bench->x, bench->x, dim);
        const double sd = sqrt((square - truth * truth) * .570796 / (double)(dim - 1));
        const double found = sqrt(squares[ESTIMATE_FIRST] / seeds);
        const double allowed = .03 + 2.2 / sqrt((double)seeds);
        if (fabs(found / sd - 1.0) > allowed) {
            fail_msg("%u dims, %s: spread at 1 bit %.4f of theory's", dim, name, found / sd);
        }
    }
}

static void check_biases(uint32_t dim, unsigned first, unsigned second, int seeds)
{
    struct bench bench = bench_new(dim, first, second);
    struct random random = {dim + 1};
    float *query = aligned(dim * sizeof *query), *centre = aligned(dim * sizeof *centre);
    input_fill(INPUT_TWO_HOT, bench.x, dim, &random);
    input_fill(INPUT_ONE_HOT_HEAD, query, dim, &random);
    query[1] = 1.0f;
    check_bias(&bench, "2-hot", query, NULL, seeds);
    input_fill(INPUT_RAMP, bench.x, dim, &random);
    input_fill(INPUT_ALTERNATING, query, dim, &random);
    query[0] += 3.0f;
    check_bias(&bench, "ramp", query, NULL, seeds);
    input_fill(INPUT_CONSTANT, query, dim, &random);
    for (uint32_t j = 0; j < dim; j++) {
        centre[j] = 0.4f;
    }
    check_bias(&bench, "ramp, centred", query, centre, seeds);
    input_fill(INPUT_CAUCHY, bench.x, dim, &random);
    input_fill(INPUT_CAUCHY, query, dim, &random);
    check_bias(&bench, "cauchy", query, NULL, seeds);
    free(query);
    free(centre);
    bench_free(&bench);
}

static void bias(void **state)
{
    (void)state;
    if (!whole) {
        check_biases(64, CODE_1, CODE_4, 3000);
        check_biases(100, CODE_2, CODE_8, 2000);
        check_biases(100, CODE_4, CODE_8, 2000); /* the first in blocks, of lane-16 codes */
        check_biases(64, CODE_8, CODE_4, 2000);
        return;
    }
    const uint32_t dims[] = {64, 100, 128, 200, 384, 768, 960, 1000, 1536};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        check_biases(dims[i], CODE_1, CODE_4, 20000);
        check_biases(dims[i], CODE_2, CODE_8, 20000);
    }
}

/* ---- sets: clusters around a mean far from the origin, some directions wider than others ---- */

#define CLUSTERS 50u

struct clustered {
    float *rows, *queries; /* [row_count * dim], [query_count * dim] */
    size_t row_count, query_count;
    uint32_t dim;
};

/* Spread along direction j: variance falls off as it does in embeddings. */
static double width(uint32_t j)
{
    return pow(1.0 + j / 8.0, -0.75);
}

static void clustered_row(const struct clustered *set, const float *means, struct random *random,
                          float *row)
{
    const float *mean = means + (size_t)(random_uniform(random) * CLUSTERS) % CLUSTERS * set->dim;
    for (uint32_t j = 0; j < set->dim; j++) {
        row[j] = mean[j] + (float)(0.8 * width(j) * random_normal(random));
    }
}

static struct clustered clustered_new(uint32_t dim, size_t rows, size_t queries, enum metric metric)
{
    struct clustered set = {.row_count = rows, .query_count = queries, .dim = dim};
    struct random random = {dim};
    float *means = aligned(CLUSTERS * dim * sizeof *means);
    struct codec *codec = codec_new(dim, 1, NULL);
    set.rows = aligned(rows * dim * sizeof(float));
    set.queries = aligned(queries * dim * sizeof(float));
    for (size_t i = 0; i < (size_t)CLUSTERS * dim; i++) {
        const uint32_t j = (uint32_t)(i % dim);
        means[i] = (float)(width(j) * random_normal(&random) + 0.5 * (double)(j % 3));
    }
    for (size_t i = 0; i < rows + queries; i++) {
        float *row = i < rows ? set.rows + i * dim : set.queries + (i - rows) * dim;
        clustered_row(&set, means, &random, row);
        if (metric == METRIC_COSINE) {
            codec_normalise(codec, row);
        }
    }
    free(means);
    codec_free(codec);
    return set;
}

static void clustered_free(struct clustered *set)
{
    free(set->rows);
    free(set->queries);
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x > y ? -1 : x < y;
}

/* ---- C4: errors are as large as the half widths say ---- */

struct spread {
    double sum, square, count, below_1_9, below_2_5;
};

static void spread_add(struct spread *spread, double z)
{
    spread->sum += z;
    spread->square += z * z;
    spread->count += 1.0;
    spread->below_1_9 += z < -1.9;
    spread->below_2_5 += z < -2.5;
}

static void check_spread(uint32_t dim, unsigned bits, const struct spread *spread, double groups)
{
    const double mean = spread->sum / spread->count;
    const double sd = sqrt(spread->square / spread->count - mean * mean);
    print_message("%6u dims %2u bits mean %.3f sd %.3f P(z<-1.9) %.4f P(z<-2.5) %.4f\n", dim, bits,
                  mean, sd, spread->below_1_9 / spread->count, spread->below_2_5 / spread->count);
    assert_true(sd >= .96 && sd <= 1.04);
    assert_true(fabs(mean) <= 3.0 / sqrt(groups)); /* a group's errors may all be one */
    assert_true(spread->below_2_5 / spread->count <= .008);
}

/* z = (estimate - key) / half width of the true 200 nearest of each query, under one seed. */
static void measure_spread(const struct clustered *set, enum metric metric, unsigned first_bits,
                           unsigned second_bits, uint64_t seed, struct spread *first,
                           struct spread *second)
{
    const size_t rows = set->row_count;
    struct staged staged;
    struct staged_query query;
    staged_init(&staged, metric, set->rows, rows, set->dim, first_bits, second_bits, seed, true);
    staged_query_init(&query, &staged);
    float *keys = aligned(rows * sizeof *keys), *sorted = aligned(rows * sizeof *keys);
    float *at_0 = aligned((rows + 32) * sizeof *at_0), *at_1 = aligned((rows + 32) * sizeof *at_1);
    for (size_t q = 0; q < set->query_count; q++) {
        staged_ask(&staged, &query, set->queries + q * set->dim);
        for (size_t i = 0; i < rows; i++) {
            sorted[i] = keys[i] = staged_exact(&staged, &query, i);
        }
        qsort(sorted, rows, sizeof *sorted, descending);
        staged_scan(&staged, &query, 0.0f, at_0);
        staged_scan(&staged, &query, 1.0f, at_1);
        for (size_t i = 0; i < rows; i++) {
            if (keys[i] >= sorted[199]) {
                float half_width;
                const float estimate = staged_row(&staged, &query, i, &half_width);
                spread_add(second, (double)(estimate - keys[i]) / (double)half_width);
                spread_add(first, (double)(at_0[i] - keys[i]) / (double)(at_1[i] - at_0[i]));
            }
        }
    }
    free(keys);
    free(sorted);
    free(at_0);
    free(at_1);
    staged_query_release(&query);
    staged_release(&staged);
}

/* Errors of near vectors under one rotation go together, so several are drawn. */
static void check_calibration(uint32_t dim, enum metric metric, unsigned first_bits,
                              unsigned second_bits, size_t rows, size_t queries, uint64_t seeds)
{
    struct clustered set = clustered_new(dim, rows, queries, metric);
    struct spread first = {0}, second = {0};
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        measure_spread(&set, metric, first_bits, second_bits, seed, &first, &second);
    }
    const double groups = (double)(queries * seeds);
    check_spread(dim, first_bits, &first, groups);
    check_spread(dim, second_bits, &second, groups);
    clustered_free(&set);
}

static void calibration(void **state)
{
    (void)state;
    check_calibration(200, METRIC_EUCLID, CODE_1, CODE_4, 3000, 10, 6);
    check_calibration(200, METRIC_COSINE, CODE_4, CODE_8, 3000, 10, 6);
    if (whole) {
        const uint32_t dims[] = {200, 384, 768, 960, 1000, 1536};
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            check_calibration(dims[i], METRIC_COSINE, CODE_1, CODE_4, 5000, 20, 8);
            check_calibration(dims[i], METRIC_EUCLID, CODE_2, CODE_8, 5000, 20, 8);
            check_calibration(dims[i], METRIC_EUCLID, CODE_1_5, CODE_4, 5000, 20, 8);
            check_calibration(dims[i], METRIC_EUCLID, CODE_4, CODE_8, 5000, 20, 8);
            check_calibration(dims[i], METRIC_COSINE, CODE_8, CODE_4, 5000, 20, 8);
        }
    }
}

/* ---- C6: estimates are those of the decoded vector ---- */

/* A query whose rotated coordinates are whole multiples of its largest / 127: rounding it to 8 bits
 * loses nothing, so the kernels' answer is that of the decoded vector but for floats. */
static void whole_query(struct bench *bench, struct random *random, float *query)
{
    float *rotated = aligned(bench->dim * sizeof *rotated);
    float *work = aligned(bench->dim * sizeof *work);
    for (uint32_t j = 0; j < bench->dim; j++) {
        rotated[j] = (float)(floor(random_uniform(random) * 255.0) - 127.0) / 64.0f;
    }
    rotated[0] = 127.0f / 64.0f;
    rotation_invert(&bench->codec->rotation, rotated, query, work);
    free(rotated);
    free(work);
}

static double decoded_key(const struct bench *bench, enum metric metric, const float *query,
                          bool centred, double scale)
{
    double key = 0.0;
    codec_rotate(bench->codec, query, bench->other, bench->work);
    for (uint32_t j = 0; j < bench->dim; j++) {
        const double centre = centred ? (double)bench->centre[j] : 0.0;
        const double decoded = centre + scale * staged_level(bench->code, 4, bench->dim, j);
        const double q = (double)bench->other[j];
        key += metric == METRIC_EUCLID ? -(q - decoded) * (q - decoded) : q * decoded;
    }
    return key;
}

/* Euclid: the estimate has |r|^2 itself where |x^ - m|^2 = |r|^2/rho^2 would be; put it back. Dot
 * and Cosine: <r, m> is kept exactly where the decoded vector has <x^ - m, m>. */
static double exchanged(const struct bench *bench, enum metric metric, bool centred, double scale)
{
    double of_code = 0.0, of_vector = 0.0;
    for (uint32_t j = 0; j < bench->dim; j++) {
        const double centre = centred ? (double)bench->centre[j] : 0.0;
        const double level = scale * staged_level(bench->code, 4, bench->dim, j);
        const double r = (double)bench->rotated[j] - centre;
        of_code += metric == METRIC_EUCLID ? -level * level : level * centre;
        of_vector += metric == METRIC_EUCLID ? -r * r : r * centre;
    }
    return of_vector - of_code;
}

static void check_decoded(struct bench *bench, enum metric metric, bool centred,
                          struct random *random, float *query)
{
    struct code_factors factors;
    float half_width;
    whole_query(bench, random, query);
    codec_rotate(bench->codec, bench->x, bench->rotated, bench->work);
    const float *centre = centred ? bench->centre : NULL;
    codec_encode(bench->codec, 4, metric, bench->rotated, centre, bench->code, &factors,
                 bench->work);
    codec_query_init(bench->codec, metric, query, bench->query, bench->work);
    const struct centre_terms terms = codec_query_centre(bench->codec, bench->query, centre);
    const double estimate = (double)codec_score_row(bench->codec, bench->query, terms, bench->code,
                                                    factors, &half_width);
    const double scale = (double)factors.f_mul / (metric == METRIC_EUCLID ? 2.0 : 1.0);
    const double expected = decoded_key(bench, metric, query, centred, scale) +
                            exchanged(bench, metric, centred, scale);
    const double lengths = sqrt(dot(query, query, bench->dim)) *
                           (sqrt(dot(bench->x, bench->x, bench->dim)) +
                            (centred ? sqrt(dot(bench->centre, bench->centre, bench->dim)) : 0.0));
    const double whole_key = metric == METRIC_EUCLID ? fabs(expected) : lengths;
    assert_true(fabs(estimate - expected) <= 1e-4 * fmax(lengths, whole_key));
}

static void decoded(void **state)
{
    (void)state;
    const uint32_t dims[] = {2, 3, 7, 31, 64, 100, 200, 768, 1000, 1536};
    const enum metric metrics[] = {METRIC_DOT, METRIC_EUCLID, METRIC_COSINE};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        struct bench bench = bench_new(dims[i], CODE_1, CODE_4);
        struct random random = {dims[i]};
        float *query = aligned(dims[i] * sizeof *query);
        for (int input = 0; input < INPUT_COUNT * 6; input++) {
            input_fill(INPUT_GAUSSIAN, bench.x, dims[i], &random);
            codec_rotate(bench.codec, bench.x, bench.centre, bench.work);
            input_fill((enum input)(input / 6), bench.x, dims[i], &random);
            codec_normalise(bench.codec, bench.x);
            check_decoded(&bench, metrics[input % 3], input / 3 % 2 != 0, &random, query);
        }
        free(query);
        bench_free(&bench);
    }
}

/* ---- C7: a staged search finds what there is, and scores few exactly ---- */

/* What searches of one set came to. */
struct found {
    double neighbours, found, codes, exact, queries;
};

static void search_all(const struct clustered *set, enum metric metric, float epsilon,
                       struct found *found)
{
    const size_t rows = set->row_count;
    struct staged staged;
    struct staged_query query;
    staged_init(&staged, metric, set->rows, rows, set->dim, CODE_1, CODE_4, 9, true);
    staged_query_init(&query, &staged);
    float *keys = aligned(rows * sizeof *keys), best[10];
    for (size_t q = 0; q < set->query_count; q++) {
        staged_ask(&staged, &query, set->queries + q * set->dim);
        const struct staged_counts counts =
            staged_search(&staged, &query, epsilon, epsilon, 10, best);
        for (size_t i = 0; i < rows; i++) {
            keys[i] = staged_exact(&staged, &query, i);
        }
        qsort(keys, rows, sizeof *keys, descending);
        for (size_t i = 0; i < 10; i++) { /* tied keys are as good as each other */
            found->found += best[i] >= keys[9];
        }
        found->exact += (double)counts.exact;
        found->codes += (double)counts.rows;
    }
    found->neighbours += 10.0 * (double)set->query_count;
    found->queries += (double)set->query_count;
    free(keys);
    staged_query_release(&query);
    staged_release(&staged);
}

static void print_found(uint32_t dim, enum metric metric, double epsilon, const struct found *found)
{
    print_message("%6u dims %s, epsilon %.1f: recall@10 %.4f, %.1f codes of 4 bits, %.1f exact "
                  "keys a query\n",
                  dim, metric_name(metric), epsilon, found->found / found->neighbours,
                  found->codes / found->queries, found->exact / found->queries);
}

/* All sets together are found to .999, with 2.5 half widths and with kith's. Each alone, where one
 * more miss of its 2,000 is luck and those of near vectors under one rotation go together, to .996
 * and .998. With 2.5 the exact keys stay under 2.2 k. */
static void check_staged(uint32_t dim, enum metric metric, size_t rows, size_t queries,
                         struct found all[2])
{
    static const float epsilons[2] = {2.5f, CODEC_EPSILON_1BIT};
    struct clustered set = clustered_new(dim, rows, queries, metric);
    for (size_t i = 0; i < 2; i++) {
        struct found found = {0};
        search_all(&set, metric, epsilons[i], &found);
        print_found(dim, metric, (double)epsilons[i], &found);
        assert_true(found.found / found.neighbours >= (i == 0 ? .996 : .998));
        assert_true(i == 1 || found.exact / found.queries <= 22.0);
        all[i].found += found.found;
        all[i].neighbours += found.neighbours;
    }
    clustered_free(&set);
}

static void staged_search_finds(void **state)
{
    (void)state;
    struct found all[2] = {{.found = 0.0}, {.found = 0.0}};
    check_staged(128, METRIC_COSINE, 5000, 40, all);
    if (whole) {
        const uint32_t dims[] = {64, 100, 128, 200, 384, 768, 960, 1000, 1536};
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            check_staged(dims[i], METRIC_COSINE, 20000, 200, all);
            check_staged(dims[i], METRIC_EUCLID, 20000, 200, all);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        const double recall = all[i].found / all[i].neighbours;
        print_message("all sets, epsilon %s: recall@10 %.5f\n", i == 0 ? "2.5" : "of kith", recall);
        assert_true(recall >= .999);
    }
}

int main(int argc, char **argv)
{
    whole = argc > 1 && strcmp(argv[1], "all") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test(bias),
        cmocka_unit_test(decoded),
        cmocka_unit_test(calibration),
        cmocka_unit_test(staged_search_finds),
    };
    return cmocka_run_group_tests_name("codec statistics", tests, NULL, NULL);
}
