/* Estimates of both stages against the keys they estimate, at every number of bits: they are within
 * their half widths, scans of several queries are those of one, masks of lanes hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "codec/codec_internal.h"
#include "tests/unit/codec_inputs.h"

#define VECTORS 320u
#define QUERIES CODEC_SCANS_MAX
#define BLOCKS (VECTORS / CODEC_BLOCK_LANES)

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    assert_non_null(memory);
    return memset(memory, 0, (bytes + 63) / 64 * 64 + 64);
}

/* Vectors around a centre, coded both ways. */
struct set {
    struct codec *codec;
    enum metric metric;
    uint32_t dim;
    float *x, *centre, *queries;
    uint8_t *blocks, *rows;
    struct code_factors *factors;
    void *work;
    struct codec_query *query[QUERIES];
};

static void fill(const struct set *set, float *x, struct random *random)
{
    input_fill(INPUT_GAUSSIAN, x, set->dim, random);
    for (uint32_t j = 0; j < set->dim; j++) {
        x[j] += 1.0f; /* about as far from the origin as from each other */
    }
    if (set->metric == METRIC_COSINE) {
        codec_normalise(set->codec, x);
    }
}

static struct set set_new_scaled(uint32_t dim, unsigned first, unsigned second, enum metric metric,
                                 enum code_scale scale, const struct kernels *kernels)
{
    struct set set = {.codec = codec_new_scaled(dim, 7, first, second, scale, kernels),
                      .metric = metric,
                      .dim = dim};
    struct random random = {dim + first};
    const size_t row_bytes = codec_code_bytes(set.codec, second);
    const size_t block_bytes = codec_block_bytes(set.codec);
    set.x = aligned(VECTORS * dim * sizeof(float));
    set.queries = aligned(QUERIES * dim * sizeof(float));
    set.centre = aligned(dim * sizeof(float));
    set.blocks = aligned(BLOCKS * block_bytes);
    set.rows = aligned(VECTORS * row_bytes);
    set.factors = aligned(VECTORS * sizeof *set.factors);
    set.work = aligned(codec_work_bytes(set.codec));
    float *rotated = aligned(dim * sizeof(float));
    uint8_t *code = aligned(codec_code_bytes(set.codec, first));
    for (uint32_t j = 0; j < dim; j++) {
        rotated[j] = metric == METRIC_COSINE ? 0.7f / sqrtf((float)dim) : 1.0f;
    }
    codec_rotate(set.codec, rotated, set.centre, set.work);
    for (size_t i = 0; i < VECTORS; i++) {
        fill(&set, set.x + i * dim, &random);
        codec_rotate(set.codec, set.x + i * dim, rotated, set.work);
        struct code_factors factors;
        codec_encode(set.codec, first, metric, rotated, set.centre, code, &factors, set.work);
        codec_block_put(set.codec, set.blocks + i / 32 * block_bytes, (unsigned)(i % 32), code,
                        factors);
        codec_encode(set.codec, second, metric, rotated, set.centre, set.rows + i * row_bytes,
                     &set.factors[i], set.work);
    }
    for (size_t q = 0; q < QUERIES; q++) {
        fill(&set, set.queries + q * dim, &random);
        set.query[q] = aligned(codec_query_bytes(set.codec));
        codec_query_init(set.codec, metric, set.queries + q * dim, set.query[q], set.work);
    }
    free(rotated);
    free(code);
    return set;
}

static struct set set_new(uint32_t dim, unsigned first, unsigned second, enum metric metric,
                          const struct kernels *kernels)
{
    return set_new_scaled(dim, first, second, metric, SCALE_EDEN, kernels);
}

static void set_free(struct set *set)
{
    for (size_t q = 0; q < QUERIES; q++) {
        free(set->query[q]);
    }
    free(set->x);
    free(set->queries);
    free(set->centre);
    free(set->blocks);
    free(set->rows);
    free(set->factors);
    free(set->work);
    codec_free(set->codec);
}

/* Sums of errors in half widths. */
struct spread {
    double count, sum, square, widest;
};

static void spread_add(struct spread *spread, double z)
{
    spread->count += 1.0;
    spread->sum += z;
    spread->square += z * z;
    spread->widest = fabs(z) > spread->widest ? fabs(z) : spread->widest;
}

/* Errors have mean 0 and are as wide as is said: never much wider, and not much narrower. */
static void spread_check(const struct spread *spread, uint32_t dim, unsigned bits)
{
    const double mean = spread->sum / spread->count;
    const double deviation = sqrt(spread->square / spread->count - mean * mean);
    if (fabs(mean) > 0.15 || deviation > 1.06 || deviation < 0.85 || spread->widest > 5.5) {
        fail_msg("%u dims, %u bits: errors in half widths: mean %.3f deviation %.3f most %.2f", dim,
                 bits, mean, deviation, spread->widest);
    }
}

static void check_estimates(const struct set *set, size_t q, struct spread *first,
                            struct spread *second)
{
    const struct centre_terms terms = codec_query_centre(set->codec, set->query[q], set->centre);
    float *bounds[2];
    uint32_t survivors[BLOCKS];
    const size_t row_bytes = codec_code_bytes(set->codec, codec_second_bits(set->codec));
    for (size_t e = 0; e < 2; e++) { /* estimates, and with one half width */
        bounds[e] = aligned(VECTORS * sizeof(float));
        codec_scan_blocks(set->codec, set->query[q], terms, set->blocks, BLOCKS, (float)e,
                          -INFINITY, survivors, bounds[e]);
    }
    for (size_t i = 0; i < VECTORS; i++) {
        const double key = (double)codec_exact_key(set->codec, set->query[q],
                                                   (const uint8_t *)(set->x + i * set->dim));
        spread_add(first,
                   (key - (double)bounds[0][i]) / ((double)bounds[1][i] - (double)bounds[0][i]));
        float half_width;
        const float estimate =
            codec_score_row(set->codec, set->query[q], terms, set->rows + i * row_bytes,
                            set->factors[i], &half_width);
        if (codec_second_bits(set->codec) == CODE_NONE) {
            assert_true(estimate == INFINITY);
        } else {
            spread_add(second, (key - (double)estimate) / (double)half_width);
        }
    }
    free(bounds[0]);
    free(bounds[1]);
}

static const unsigned first_bits[] = {CODE_1, CODE_1_5, CODE_2, CODE_4, CODE_8};
#define FIRST_BITS (sizeof first_bits / sizeof *first_bits)
static const unsigned second_bits[] = {CODE_4, CODE_8, CODE_NONE};
static const enum metric metrics[] = {METRIC_COSINE, METRIC_DOT, METRIC_EUCLID};

static void estimates(void **state)
{
    (void)state;
    const uint32_t dims[] = {64, 100, 200, 301, 768};
    for (size_t i = 0; i < 5; i++) {
        for (size_t b = 0; b < FIRST_BITS; b++) {
            for (size_t m = 0; m < 3; m++) {
                struct set set =
                    set_new(dims[i], first_bits[b], second_bits[b % 3], metrics[m], NULL);
                struct spread first = {0}, second = {0};
                for (size_t q = 0; q < QUERIES; q++) {
                    check_estimates(&set, q, &first, &second);
                }
                /* under Dot, and at 1 bit for codes better than the mean one, widths are generous
                 */
                spread_check(&first, dims[i], first_bits[b]);
                if (second.count > 0.0) {
                    spread_check(&second, dims[i], second_bits[b % 3]);
                }
                set_free(&set);
            }
        }
    }
}

/* ---- queries that lie nearly along a code's residual ---- */

/* q = x_i and a tenth of |r| in a random direction; whether the bound of lane i hides it. */
static bool is_missed(const struct set *set, size_t i, struct random *random, float *query)
{
    const size_t block_bytes = codec_block_bytes(set->codec);
    const float *x = set->x + i * set->dim;
    const float reach = set->metric == METRIC_COSINE ? 0.7f : sqrtf((float)set->dim);
    uint32_t survivors;
    float bounds[CODEC_BLOCK_LANES];
    for (uint32_t j = 0; j < set->dim; j++) {
        query[j] = x[j] + 0.1f * reach / sqrtf((float)set->dim) * (float)random_normal(random);
    }
    if (set->metric == METRIC_COSINE) {
        codec_normalise(set->codec, query);
    }
    codec_query_init(set->codec, set->metric, query, set->query[0], set->work);
    codec_scan_blocks(set->codec, set->query[0],
                      codec_query_centre(set->codec, set->query[0], set->centre),
                      set->blocks + i / CODEC_BLOCK_LANES * block_bytes, 1, CODEC_EPSILON_1BIT,
                      -INFINITY, &survivors, bounds);
    return codec_exact_key(set->codec, set->query[0], (const uint8_t *)x) >
           bounds[i % CODEC_BLOCK_LANES];
}

/* All codes again, relative to the origin: where nothing but the estimate tells <q, r>. */
static void set_uncentre(struct set *set)
{
    float *rotated = aligned(set->dim * sizeof *rotated);
    uint8_t *code = aligned(codec_code_bytes(set->codec, codec_first_bits(set->codec)));
    memset(set->centre, 0, set->dim * sizeof *set->centre);
    for (size_t i = 0; i < VECTORS; i++) {
        struct code_factors factors;
        codec_rotate(set->codec, set->x + i * set->dim, rotated, set->work);
        codec_encode(set->codec, codec_first_bits(set->codec), set->metric, rotated, set->centre,
                     code, &factors, set->work);
        codec_block_put(set->codec, set->blocks + i / 32 * codec_block_bytes(set->codec),
                        (unsigned)(i % 32), code, factors);
    }
    free(rotated);
    free(code);
}

/* What is across r is then a small difference of two large squares: with |r| a few hundredths off,
 * half of the bounds that should be wide have no width, and SIFT's neighbours were missed. */
static void along(void **state)
{
    (void)state;
    const uint32_t dims[] = {64, 128, 768};
    for (size_t i = 0; i < 3; i++) {
        for (size_t b = 0; b < 3; b++) {
            for (size_t m = 0; m < 3; m++) {
                struct set set = set_new(dims[i], first_bits[b], CODE_NONE, metrics[m], NULL);
                struct random random = {dims[i]};
                float *query = aligned(dims[i] * sizeof *query);
                if (metrics[m] == METRIC_DOT) {
                    set_uncentre(&set);
                }
                size_t missed = 0;
                for (size_t v = 0; v < VECTORS; v++) {
                    missed += is_missed(&set, v, &random, query);
                }
                if (missed * 50 > VECTORS) { /* 2 %; .3 % are to be expected */
                    fail_msg("%u dims, %u bits, metric %d: %zu of %u missed", dims[i],
                             first_bits[b], (int)metrics[m], missed, VECTORS);
                }
                free(query);
                set_free(&set);
            }
        }
    }
}

/* ---- TurboQuant_mse's scale ---- */

/* f_mul is |r| unit / sqrt(d), to the 2^-16 its low byte leaves. */
static void check_mse_factor(const struct set *set, size_t i)
{
    float *rotated = aligned(set->dim * sizeof(float));
    double square = 0.0;
    codec_rotate(set->codec, set->x + i * set->dim, rotated, set->work);
    for (uint32_t j = 0; j < set->dim; j++) {
        const double r = (double)rotated[j] - (double)set->centre[j];
        square += r * r;
    }
    const double two = set->metric == METRIC_EUCLID ? 2.0 : 1.0;
    const double scale = two * sqrt(square / set->dim) * CODEBOOK_UNIT_4;
    assert_true(fabs((double)set->factors[i].f_mul / scale - 1.0) < 2e-5);
    free(rotated);
}

struct misses {
    size_t count, first, second;
    double width[2]; /* sums of bounds less keys */
};

/* Keys above their bounds of three half widths. */
static void count_misses(const struct set *set, size_t q, struct misses *misses)
{
    const struct centre_terms terms = codec_query_centre(set->codec, set->query[q], set->centre);
    const size_t row_bytes = codec_code_bytes(set->codec, CODE_4);
    uint32_t survivors[BLOCKS];
    float *bounds = aligned(VECTORS * sizeof(float));
    codec_scan_blocks(set->codec, set->query[q], terms, set->blocks, BLOCKS, 3.0f, -INFINITY,
                      survivors, bounds);
    for (size_t i = 0; i < VECTORS; i++) {
        const float key =
            codec_exact_key(set->codec, set->query[q], (const uint8_t *)(set->x + i * set->dim));
        float half_width;
        const float estimate =
            codec_score_row(set->codec, set->query[q], terms, set->rows + i * row_bytes,
                            set->factors[i], &half_width);
        misses->count++;
        misses->first += key > bounds[i];
        misses->second += key > estimate + 3.0f * half_width;
        misses->width[0] += (double)(bounds[i] - key);
        misses->width[1] += (double)(estimate + 3.0f * half_width - key);
    }
    free(bounds);
}

/* Shrunken estimates have bounds that hold all the same, and that are wider than EDEN's. */
static void mse_scale(void **state)
{
    (void)state;
    const uint32_t dims[] = {64, 301, 768};
    for (size_t i = 0; i < 3; i++) {
        for (size_t b = 0; b < 3; b++) {
            for (size_t m = 0; m < 3; m++) {
                struct misses misses[2] = {{0}};
                for (unsigned scale = 0; scale < 2; scale++) {
                    struct set set = set_new_scaled(dims[i], first_bits[b], CODE_4, metrics[m],
                                                    (enum code_scale)scale, NULL);
                    for (size_t q = 0; q < QUERIES; q++) {
                        count_misses(&set, q, &misses[scale]);
                        if (scale == SCALE_TURBOQUANT_MSE) {
                            check_mse_factor(&set, q);
                        }
                    }
                    set_free(&set);
                }
                const struct misses *eden = &misses[0], *mse = &misses[1];
                if (mse->first * 200 > mse->count || mse->second * 200 > mse->count ||
                    mse->width[0] < eden->width[0] || mse->width[1] < eden->width[1]) {
                    fail_msg("%u dims, %u bits, metric %d: %zu and %zu of %zu missed, widths %g "
                             "%g and %g %g",
                             dims[i], first_bits[b], (int)metrics[m], mse->first, mse->second,
                             mse->count, eden->width[0], eden->width[1], mse->width[0],
                             mse->width[1]);
                }
            }
        }
    }
}

/* Several queries at once, and masks: the same bits as one by one. */
static void many(void **state)
{
    (void)state;
    for (size_t t = 0; kernels_at(t) != NULL; t++) {
        if (!kernels_at(t)->supported()) {
            continue;
        }
        for (size_t b = 0; b < FIRST_BITS; b++) {
            struct set set = set_new(75, first_bits[b], CODE_NONE, METRIC_EUCLID, kernels_at(t));
            struct codec_scan scans[QUERIES];
            uint32_t kept[QUERIES][BLOCKS], alone[BLOCKS], lanes[BLOCKS];
            float *bounds = aligned(QUERIES * VECTORS * sizeof(float));
            float *alone_bounds = aligned(VECTORS * sizeof(float));
            for (size_t i = 0; i < BLOCKS; i++) {
                lanes[i] = i == 3 ? 0 : 0x9e3779b9u * (uint32_t)(i + 1);
            }
            for (size_t q = 0; q < QUERIES; q++) {
                scans[q] = (struct codec_scan){
                    .query = set.query[q],
                    .terms = codec_query_centre(set.codec, set.query[q], set.centre),
                    .epsilon = 2.5f,
                    .threshold = -140.0f + (float)q,
                    .survivors = kept[q],
                    .bounds = bounds + q * VECTORS};
            }
            codec_scan_many(set.codec, scans, QUERIES, set.blocks, BLOCKS, lanes);
            size_t survivors = 0;
            for (size_t q = 0; q < QUERIES; q++) {
                codec_scan_blocks(set.codec, set.query[q], scans[q].terms, set.blocks, BLOCKS, 2.5f,
                                  scans[q].threshold, alone, alone_bounds);
                for (size_t i = 0; i < VECTORS; i++) {
                    const bool survives = kept[q][i / 32] >> (i % 32) & 1;
                    assert_int_equal(survives, (alone[i / 32] & lanes[i / 32]) >> (i % 32) & 1);
                    if (survives) {
                        assert_memory_equal(&bounds[q * VECTORS + i], &alone_bounds[i], 4);
                        survivors++;
                    }
                }
            }
            assert_true(survivors > 0 && survivors < QUERIES * VECTORS / 2);
            free(bounds);
            free(alone_bounds);
            set_free(&set);
        }
    }
}

/* Rows and keys of many at once: the same bits as one by one, for counts around the batch. */
static void batches(void **state)
{
    (void)state;
    for (size_t b = 0; b < 9; b++) {
        struct set set =
            set_new(75 + (uint32_t)b, CODE_1, second_bits[b % 3], metrics[b / 3], NULL);
        const size_t row_bytes = codec_code_bytes(set.codec, second_bits[b % 3]);
        struct codec_row rows[VECTORS];
        const uint8_t *vectors[VECTORS];
        float estimates[VECTORS], half_widths[VECTORS], keys[VECTORS];
        for (size_t i = 0; i < VECTORS; i++) {
            const size_t v = i * 7 % VECTORS;
            rows[i] = (struct codec_row){set.rows + v * row_bytes, set.factors[v]};
            vectors[i] = (const uint8_t *)(set.x + v * set.dim);
        }
        const size_t counts[] = {0, 1, 3, 4, 15, 16, 17, 33, VECTORS};
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            const struct codec_query *query = set.query[c % QUERIES];
            const struct centre_terms terms = codec_query_centre(set.codec, query, set.centre);
            codec_score_rows(set.codec, query, terms, rows, counts[c], estimates, half_widths);
            codec_exact_keys(set.codec, query, vectors, counts[c], keys);
            for (size_t i = 0; i < counts[c]; i++) {
                float half_width;
                const float estimate = codec_score_row(set.codec, query, terms, rows[i].code,
                                                       rows[i].factors, &half_width);
                const float key = codec_exact_key(set.codec, query, vectors[i]);
                assert_memory_equal(&estimate, &estimates[i], sizeof estimate);
                assert_memory_equal(&half_width, &half_widths[i], sizeof half_width);
                assert_memory_equal(&key, &keys[i], sizeof key);
            }
        }
        set_free(&set);
    }
}

/* int8 centres against exact terms. */
static void centres(void **state)
{
    (void)state;
    const uint32_t dims[] = {1, 3, 64, 100, 768};
    for (size_t i = 0; i < 5; i++) {
        for (size_t m = 0; m < 3; m++) {
            struct set set = set_new(dims[i], CODE_1, CODE_NONE, metrics[m], NULL);
            const size_t row_bytes = codec_centre_bytes(set.codec);
            uint8_t *rows = aligned(VECTORS * row_bytes);
            float *rotated = aligned(VECTORS * dims[i] * sizeof(float));
            float products[VECTORS], distances[VECTORS];
            for (size_t v = 0; v < VECTORS; v++) {
                codec_rotate(set.codec, set.x + v * dims[i], rotated + v * dims[i], set.work);
                codec_centre_encode(set.codec, rotated + v * dims[i], rows + v * row_bytes);
            }
            codec_score_centres(set.codec, set.query[0], rows, VECTORS, products, distances);
            for (size_t v = 0; v < VECTORS; v++) {
                const float *centre = rotated + v * dims[i], *query = set.query[0]->rotated;
                double product = 0.0, distance = 0.0, size = 0.0, own = 0.0;
                for (uint32_t j = 0; j < dims[i]; j++) {
                    const double a = (double)query[j], b = (double)centre[j];
                    product += a * b;
                    distance += (a - b) * (a - b);
                    size += b * b;
                    own += a * a;
                }
                const double room = 0.01 * sqrt(size * own);
                assert_true(fabs((double)products[v] - product) <= room);
                assert_true(fabs((double)distances[v] - distance) <=
                            2.0 * room + 1e-5 * (own + size));
            }
            free(rows);
            free(rotated);
            set_free(&set);
        }
    }
}

/* float16 rows: the key of the floats they stand for. */
static void half_keys(void **state)
{
    (void)state;
    enum { DIM = 37 };
    const enum metric all[] = {METRIC_COSINE, METRIC_DOT, METRIC_EUCLID, METRIC_MANHATTAN};
    struct codec *codec = codec_new(DIM, 1, NULL);
    struct codec_query *query = aligned(codec_query_bytes(codec));
    void *work = aligned(codec_work_bytes(codec));
    float vector[DIM], row[DIM];
    uint8_t halves[2 * DIM + 1];
    for (uint32_t j = 0; j < DIM; j++) { /* 1 + j/64: exponent 15, fraction 16 j */
        vector[j] = 0.25f * (float)(j % 5) - 0.5f;
        row[j] = 1.0f + (float)j / 64.0f;
        const unsigned half = 0x3c00u + 16u * j;
        halves[1 + 2 * j] = (uint8_t)half;
        halves[2 + 2 * j] = (uint8_t)(half >> 8);
    }
    for (size_t m = 0; m < 4; m++) {
        codec_query_init(codec, all[m], vector, query, work);
        assert_true(codec_exact_key_half(codec, query, halves + 1) ==
                    codec_exact_key(codec, query, (const uint8_t *)row));
    }
    free(query);
    free(work);
    codec_free(codec);
}

static void defaults(void **state)
{
    (void)state;
    const uint32_t dims[] = {1, 31, 32, 256, 257, 65536};
    const unsigned expected[] = {CODE_1, CODE_1, CODE_2, CODE_2, CODE_1, CODE_1};
    for (size_t i = 0; i < 6; i++) {
        struct codec *codec = codec_new(dims[i], 1, NULL);
        assert_int_equal(codec_first_bits(codec), expected[i]);
        assert_int_equal(codec_second_bits(codec), CODE_4);
        codec_free(codec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates), cmocka_unit_test(along),   cmocka_unit_test(mse_scale),
        cmocka_unit_test(many),      cmocka_unit_test(centres), cmocka_unit_test(half_keys),
        cmocka_unit_test(defaults),  cmocka_unit_test(batches),
    };
    return cmocka_run_group_tests_name("codec search", tests, NULL, NULL);
}
