/* The family of schemes: levels, packing, scales, and the errors codec.md 2.1 and 2.2 promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "codec/codec.h"
#include "tests/family.h"
#include "tests/family_levels.h"
#include "tests/unit/codec_inputs.h"

static double density(double x)
{
    return exp(-0.5 * x * x) * 0.3989422804014327;
}

static double below(double x)
{
    return 0.5 * erfc(-x * 0.7071067811865476);
}

/* Every level is the mean of its cell, and the cells' edges are midpoints. */
static void levels_are_lloyd_max(void **state)
{
    (void)state;
    static const double errors[8] = {0.363380227632, 0.117481847829, 0.034547760789,
                                     0.009501008008, 0.002504668356, 0.000644239665,
                                     0.000163478230, 0.000041185083};
    for (unsigned bits = 1; bits <= 8; bits++) {
        const double *levels = family_levels[bits - 1];
        const unsigned half = 1u << (bits - 1);
        for (unsigned i = 0; i < half; i++) {
            const double from = i == 0 ? 0.0 : (levels[i - 1] + levels[i]) / 2;
            const double to = i + 1 < half ? (levels[i] + levels[i + 1]) / 2 : HUGE_VAL;
            const double mean = (density(from) - density(to)) / (below(to) - below(from));
            assert_true(fabs(mean - levels[i]) <= 2e-9);
        }
        assert_true(fabs(family_level_error(bits) - errors[bits - 1]) <= 2e-9);
    }
}

/* codec.md 1.3: excess of the best uniform grid's variance over Lloyd-Max, dims without end. */
static void grid_excess(void **state)
{
    (void)state;
    /* At 8 bits the step that codec.h's grid uses is the same. */
    assert_true(fabs(family_grid_step(8) - 0.030762396) <= 2e-5);
    const double steps[] = {0.9957, 0.5860, 0.3352}; /* Max (1960), Table II, 4, 8, 16 levels */
    for (unsigned bits = 2; bits <= 4; bits++) {
        assert_true(fabs(family_grid_step(bits) - steps[bits - 2]) <= 3e-3);
    }
}

struct bench {
    struct family *family;
    uint32_t dim;
    float *x, *decoded;
    uint8_t *code;
    struct family_scalars scalars;
    struct random random;
};

static struct bench bench_new(uint32_t dim)
{
    return (struct bench){.family = family_new(dim, 7),
                          .dim = dim,
                          .x = calloc(dim, sizeof(float)),
                          .decoded = calloc(dim, sizeof(float)),
                          .code = calloc(8, ((size_t)dim + 7) / 8),
                          .random = {dim}};
}

static void bench_free(struct bench *bench)
{
    family_free(bench->family);
    free(bench->x);
    free(bench->decoded);
    free(bench->code);
}

static double product(const float *x, const float *y, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        sum += (double)x[j] * (double)y[j];
    }
    return sum;
}

static void code_gaussian(struct bench *bench, enum scheme scheme, unsigned bits)
{
    input_fill(INPUT_GAUSSIAN, bench->x, bench->dim, &bench->random);
    family_encode(bench->family, scheme, bits, bench->x, bench->code, &bench->scalars);
    family_decode(bench->family, scheme, bits, bench->code, bench->scalars, bench->decoded);
}

/* |x - x^|^2 / |x|^2 over `draws` Gaussian vectors. */
static double error_of(struct bench *bench, enum scheme scheme, unsigned bits, int draws)
{
    double sum = 0.0;
    bench->random = (struct random){bench->dim * 8 + bits}; /* the same vectors for every scheme */
    for (int i = 0; i < draws; i++) {
        code_gaussian(bench, scheme, bits);
        const double square = product(bench->x, bench->x, bench->dim);
        sum += (square - 2.0 * product(bench->x, bench->decoded, bench->dim) +
                product(bench->decoded, bench->decoded, bench->dim)) /
               square;
    }
    return sum / draws;
}

/* codec.md 2.1, Gaussian inputs. Rows: EDEN unbiased, EDEN biased, TurboQuant_mse, RaBitQ grid of
 * one step. */
static void errors_of_table(void **state)
{
    (void)state;
    static const enum scheme schemes[4] = {SCHEME_EDEN_UNBIASED, SCHEME_EDEN_BIASED,
                                           SCHEME_TURBOQUANT_MSE, SCHEME_RABITQ_STEP};
    static const struct {
        uint32_t dim;
        double error[3][4]; /* at 2, 3, 4 bits */
        double one_bit, searched;
    } expected[] = {
        {64,
         {{.1273, .1124, .1140, .1291},
          {.03357, .03242, .03332, .03657},
          {.00892, .00883, .00914, .01074}},
         .5602,
         .00760},
        {100,
         {{.1295, .1143, .1153, .1314},
          {.03444, .03324, .03384, .03748},
          {.00919, .00910, .00931, .01110}},
         .5688,
         .00813},
        {768,
         {{.1322, .1168, .1169, .1341},
          {.03556, .03433, .03441, .03864},
          {.00954, .00945, .00949, .01160}},
         .5706,
         .00912},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct bench bench = bench_new(expected[i].dim);
        const int draws = expected[i].dim < 200 ? 1000 : 200;
        for (unsigned bits = 2; bits <= 4; bits++) {
            for (size_t s = 0; s < 4; s++) {
                const double wanted = expected[i].error[bits - 2][s];
                const double found = error_of(&bench, schemes[s], bits, draws);
                if (fabs(found / wanted - 1.0) > 0.025) {
                    fail_msg("%s, %u dims, %u bits: %.5f, not %.5f", scheme_name(schemes[s]),
                             expected[i].dim, bits, found, wanted);
                }
            }
        }
        const double one_bit = error_of(&bench, SCHEME_EDEN_UNBIASED, 1, draws);
        assert_true(fabs(one_bit / expected[i].one_bit - 1.0) <= 0.02);
        const double searched = error_of(&bench, SCHEME_EDEN_SEARCH, 4, draws);
        assert_true(fabs(searched / expected[i].searched - 1.0) <= 0.03);
        bench_free(&bench);
    }
}

/* Limits for many dims: D/(1-D), D, 2(1 - sqrt(1-D)); a sketch of what is left. */
static void errors_of_many_dims(void **state)
{
    (void)state;
    struct bench bench = bench_new(1536);
    for (unsigned bits = 1; bits <= 8; bits++) {
        const double d = family_level_error(bits);
        const double expected[3] = {d / (1 - d), d, 2 * (1 - sqrt(1 - d))};
        const enum scheme schemes[3] = {SCHEME_EDEN_UNBIASED, SCHEME_EDEN_BIASED,
                                        SCHEME_MATCHED_NORM};
        for (size_t s = 0; s < 3; s++) {
            const double found = error_of(&bench, schemes[s], bits, 300);
            if (fabs(found / expected[s] - 1.0) > .03) {
                fail_msg("%s, %u bits: %.4g, not %.4g", scheme_name(schemes[s]), bits, found,
                         expected[s]);
            }
        }
        /* an unbiased sketch of one sign a dim: pi/2 (Gaussian) or pi/2 - 1 times the rest */
        const double rest = bits == 1 ? 1.0 : family_level_error(bits - 1);
        const double found = error_of(&bench, SCHEME_TURBOQUANT_PROD_ORTHONORMAL, bits, 30);
        assert_true(fabs(found / (rest * 0.5707963) - 1.0) <= .04);
    }
    bench_free(&bench);
}

/* Which scheme keeps <x^, x> = |x|^2, |x^| = |x|, or the error across x^; and what is DRIVE. */
static void scales(void **state)
{
    (void)state;
    struct bench bench = bench_new(101);
    for (unsigned bits = 1; bits <= 8; bits++) {
        for (int scheme = 0; scheme < SCHEME_RANDOM_PROJECTION; scheme++) {
            if (!scheme_takes((enum scheme)scheme, bits)) {
                continue;
            }
            code_gaussian(&bench, (enum scheme)scheme, bits);
            const double square = product(bench.x, bench.x, 101);
            const double along = product(bench.x, bench.decoded, 101);
            const double decoded = product(bench.decoded, bench.decoded, 101);
            if (scheme <= SCHEME_RABITQ_STEP) {
                assert_true(fabs(along / square - 1.0) <= 1e-6);
            } else if (scheme == SCHEME_EDEN_BIASED) {
                assert_true(fabs(along / decoded - 1.0) <= 1e-6);
            } else if (scheme == SCHEME_MATCHED_NORM) {
                assert_true(fabs(decoded / square - 1.0) <= 1e-6);
            } else if (scheme == SCHEME_TURBOQUANT_MSE) {
                assert_true(fabs(bench.scalars.scale - sqrt(square / 101.0)) <= 1e-6);
            }
        }
    }
    code_gaussian(&bench, SCHEME_DRIVE, 1);
    struct family_scalars eden;
    family_encode(bench.family, SCHEME_EDEN_UNBIASED, 1, bench.x, bench.code, &eden);
    assert_true(eden.scale == bench.scalars.scale);
    bench_free(&bench);
}

/* No step of the grid does better than the walk over breakpoints; one for all does worse. */
static void grid_search_is_best(void **state)
{
    (void)state;
    struct bench bench = bench_new(60);
    for (unsigned bits = 2; bits <= 5; bits++) {
        const double searched = error_of(&bench, SCHEME_RABITQ, bits, 50);
        assert_true(searched < error_of(&bench, SCHEME_RABITQ_STEP, bits, 50));
        code_gaussian(&bench, SCHEME_RABITQ, bits);
        const double square = product(bench.x, bench.x, 60), half = 1u << (bits - 1);
        const double decoded = product(bench.decoded, bench.decoded, 60); /* |x|^2 / cosine^2 */
        const double common = family_grid_step(bits);
        for (double step = 0.6; step < 1.8; step += 1e-3) {
            double along = 0.0, length = 0.0;
            for (uint32_t j = 0; j < 60; j++) {
                const double z = fabs((double)bench.x[j]) * sqrt(60.0 / square);
                const double k = fmin(floor(z / (step * common)), half - 1) + 0.5;
                along += z * k;
                length += k * k;
            }
            assert_true(along * along / length / 60.0 <= square / decoded + 1e-6);
        }
    }
    bench_free(&bench);
}

/* The top plane of a Lloyd-Max code is kith's 1-bit code, and its scale at 1 bit is kith's. */
static void shares_packing(void **state)
{
    (void)state;
    struct bench bench = bench_new(100);
    struct codec *codec = codec_new(100, 1, NULL);
    void *work = aligned_alloc(64, (codec_work_bytes(codec) + 63) / 64 * 64);
    uint8_t kith[64];
    struct code_factors factors;
    code_gaussian(&bench, SCHEME_EDEN_UNBIASED, 4);
    codec_encode(codec, 1, METRIC_DOT, bench.x, NULL, kith, &factors, work);
    assert_memory_equal(kith, bench.code, 12);
    family_encode(bench.family, SCHEME_DRIVE, 1, bench.x, bench.code, &bench.scalars);
    assert_true(fabs(bench.scalars.scale * 0.797884561 / (double)factors.f_mul - 1.0) <= 2e-5);
    memset(bench.x, 0, 100 * sizeof(float));
    for (int scheme = 0; scheme < SCHEME_RANDOM_PROJECTION; scheme++) {
        family_encode(bench.family, (enum scheme)scheme, 1, bench.x, bench.code, &bench.scalars);
        family_decode(bench.family, (enum scheme)scheme, 1, bench.code, bench.scalars,
                      bench.decoded);
        assert_true(product(bench.decoded, bench.decoded, 100) <= 0.0);
    }
    free(work);
    codec_free(codec);
    bench_free(&bench);
}

/* Mean and d Var of estimates of a cosine between unit vectors. */
struct moments {
    double mean, noise;
};

static struct moments moments_at(struct bench *bench, enum scheme scheme, unsigned bits,
                                 double cosine, int pairs)
{
    const uint32_t d = bench->dim;
    float *q = calloc(d, sizeof *q);
    uint8_t *other = calloc(8, (d + 7) / 8);
    double sum = 0.0, squares = 0.0;
    bench->random = (struct random){11};
    for (int i = 0; i < pairs; i++) {
        input_fill(INPUT_GAUSSIAN, q, d, &bench->random);
        code_gaussian(bench, scheme == SCHEME_RANDOM_PROJECTION ? SCHEME_EDEN_UNBIASED : scheme,
                      bits);
        const double norm = sqrt(product(bench->x, bench->x, d));
        const double share = product(bench->x, q, d) / (norm * norm);
        double square = 0.0;
        for (uint32_t j = 0; j < d; j++) { /* across x */
            q[j] -= (float)(share * (double)bench->x[j]);
            square += (double)q[j] * (double)q[j];
        }
        const double across = sqrt((1.0 - cosine * cosine) / square);
        for (uint32_t j = 0; j < d; j++) {
            q[j] = (float)(cosine * (double)bench->x[j] / norm + across * (double)q[j]);
        }
        double estimate = product(q, bench->decoded, d) / norm;
        if (scheme == SCHEME_RANDOM_PROJECTION) {
            struct family_scalars scalars;
            family_encode(bench->family, scheme, bits, q, other, &scalars);
            estimate = family_cosine(bench->family, bits, bench->code, other);
        }
        sum += estimate;
        squares += estimate * estimate;
    }
    free(q);
    free(other);
    const double mean = sum / pairs;
    return (struct moments){mean, d * (squares / pairs - mean * mean)};
}

/* codec.md 2.2 at 768 dims, cosines 0, .5 and .9: noise after the slope. */
static void noise_of_table(void **state)
{
    (void)state;
    static const struct {
        enum scheme scheme;
        unsigned bits;
        double slope, noise[3];
    } expected[] = {
        {SCHEME_EDEN_UNBIASED, 1, 1.0, {.576, .432, .109}},
        {SCHEME_EDEN_BIASED, 1, 1 - .3634, {.575, .503, .340}},
        {SCHEME_MATCHED_NORM, 1, 1 - .2021, {.576, .450, .167}},
        {SCHEME_TURBOQUANT_PROD_ORTHONORMAL, 1, 1.0, {.568, .443, .165}},
        {SCHEME_EDEN_UNBIASED, 2, 1.0, {.1354, .1016, .0257}},
        {SCHEME_RABITQ, 2, 1.0, {.1360, .1020, .0259}},
        {SCHEME_EDEN_BIASED, 2, 1 - .1175, {.135, .111, .058}},
        {SCHEME_MATCHED_NORM, 2, 1 - .0605, {.135, .104, .034}},
        {SCHEME_TURBOQUANT_MSE, 2, 1 - .1175, {.135, .149, .182}},
        {SCHEME_TURBOQUANT_PROD_ORTHONORMAL, 2, 1.0, {.209, .191, .154}},
        {SCHEME_EDEN_UNBIASED, 4, 1.0, {.00953, .00715, .00181}},
        {SCHEME_RABITQ_STEP, 4, 1.0, {.01160, .00870, .00220}},
        {SCHEME_TURBOQUANT_MSE, 4, 1 - .0095, {.0095, .0139, .0237}},
        {SCHEME_TURBOQUANT_PROD_ORTHONORMAL, 4, 1.0, {.0194, .0194, .0190}},
    };
    static const double cosines[3] = {0.0, 0.5, 0.9};
    struct bench bench = bench_new(768);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct moments moments[3];
        for (size_t c = 0; c < 3; c++) {
            moments[c] = moments_at(&bench, expected[i].scheme, expected[i].bits, cosines[c], 600);
        }
        const double slope = moments[2].mean / 0.9;
        assert_true(fabs(slope - expected[i].slope) <= 0.004);
        for (size_t c = 0; c < 3; c++) { /* 600 pairs tell a variance to 5.8 % */
            const double noise = moments[c].noise / (slope * slope);
            if (fabs(noise / expected[i].noise[c] - 1.0) > 0.19) {
                fail_msg("%s, %u bits, cosine %.1f: %.5f, not %.5f",
                         scheme_name(expected[i].scheme), expected[i].bits, cosines[c], noise,
                         expected[i].noise[c]);
            }
        }
    }
    bench_free(&bench);
}

/* The Gaussian sketch has its own constant: unbiased, and pi/2 times the rest. */
static void gaussian_sketch(void **state)
{
    (void)state;
    struct bench bench = bench_new(256);
    static const double rests[3] = {1.0, .363380, .034548};
    for (unsigned i = 0; i < 3; i++) {
        const unsigned bits = i == 2 ? 4 : i + 1;
        const struct moments at =
            moments_at(&bench, SCHEME_TURBOQUANT_PROD_GAUSSIAN, bits, 0.9, 600);
        assert_true(fabs(at.mean / 0.9 - 1.0) <= 4.0 * sqrt(1.571 * rests[i] / 256 / 600) / 0.9);
        const struct moments none =
            moments_at(&bench, SCHEME_TURBOQUANT_PROD_GAUSSIAN, bits, 0.0, 600);
        assert_true(fabs(none.noise / (1.5708 * rests[i]) - 1.0) <= 0.19);
    }
    bench_free(&bench);
}

/* The likeliest cosine finds the cosine; 2 bits find it better than 1. */
static void random_projection(void **state)
{
    (void)state;
    struct bench bench = bench_new(512);
    static const double cosines[] = {-.8, 0.0, .5, .9, .97};
    for (size_t i = 0; i < sizeof cosines / sizeof *cosines; i++) {
        const double c = cosines[i];
        const struct moments one = moments_at(&bench, SCHEME_RANDOM_PROJECTION, 1, c, 400);
        const struct moments two = moments_at(&bench, SCHEME_RANDOM_PROJECTION, 2, c, 400);
        assert_true(fabs(one.mean - c) <= 0.012 && fabs(two.mean - c) <= 0.008);
        assert_true(two.noise < 0.8 * one.noise);
        /* independent projections would give theta (pi - theta) sin^2; orthogonal ones less */
        const double theta = acos(c);
        assert_true(one.noise <= 1.2 * theta * (3.14159265 - theta) * (1 - c * c));
    }
    bench_free(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_lloyd_max),
        cmocka_unit_test(grid_excess),
        cmocka_unit_test(errors_of_table),
        cmocka_unit_test(errors_of_many_dims),
        cmocka_unit_test(scales),
        cmocka_unit_test(grid_search_is_best),
        cmocka_unit_test(shares_packing),
        cmocka_unit_test(noise_of_table),
        cmocka_unit_test(gaussian_sketch),
        cmocka_unit_test(random_projection),
    };
    return cmocka_run_group_tests_name("family", tests, NULL, NULL);
}
