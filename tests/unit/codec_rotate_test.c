/* The rotation: golden values, length kept, its own inverse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "codec/rotate.h"
#include "tests/unit/codec_inputs.h"

static const uint32_t dims[] = {1,   2,   3,   4,   5,   7,   8,    12,   31,   64,  96,
                                100, 128, 200, 384, 768, 960, 1000, 1536, 3072, 4096};
#define DIMS (sizeof dims / sizeof *dims)

static void splitmix_golden(void **state)
{
    (void)state;
    uint64_t words = 1;
    assert_true(splitmix64(&words) == 0x910a2dec89025cc1u);
    assert_true(splitmix64(&words) == 0xbeeb8da1658eec67u);
}

static void check_golden(uint32_t dim, const double *expected, const struct kernels *kernels)
{
    struct rotation rotation;
    rotation_init(&rotation, dim, 1, kernels);
    float *x = calloc(dim, sizeof *x), *y = calloc(dim, sizeof *y), *work = calloc(dim, sizeof *y);
    for (uint32_t i = 0; i < dim; i++) {
        x[i] = (float)((double)(i + 1) / (double)dim);
    }
    rotation_apply(&rotation, x, y, work);
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs((double)y[i] - expected[i]) <= 1e-5);
    }
    free(x);
    free(y);
    free(work);
    rotation_release(&rotation);
}

/* codec.md 1.9 */
static void rotation_golden(void **state)
{
    (void)state;
    for (size_t i = 0; kernels_at(i) != NULL; i++) {
        if (kernels_at(i)->supported()) {
            check_golden(100, (double[]){1.35104793, -1.84457369, .53570053, -1.23089216},
                         kernels_at(i));
            check_golden(128, (double[]){1.06549391, 1.14352425, .20336225, .89113408},
                         kernels_at(i));
            check_golden(768, (double[]){-.74016892, .24334863, .9670018, -.58109565},
                         kernels_at(i));
        }
    }
}

static void strides(void **state)
{
    (void)state;
    const uint32_t expected[][2] = {{96, 59},   {100, 61},  {200, 123},  {300, 187},  {384, 239},
                                    {768, 475}, {960, 593}, {1000, 619}, {1536, 949}, {3072, 1901}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct rotation rotation;
        rotation_init(&rotation, expected[i][0], 1, &kernels_scalar);
        assert_int_equal(rotation.stride, expected[i][1]);
        rotation_release(&rotation);
    }
}

static double square(const float *x, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        sum += (double)x[j] * (double)x[j];
    }
    return sum;
}

/* C1: length to 1e-5, and back to where it came from. */
static void check_isometry(uint32_t dim, uint64_t seed)
{
    struct rotation rotation;
    rotation_init(&rotation, dim, seed, kernels_best());
    float *x = calloc(dim, sizeof *x), *y = calloc(dim, sizeof *y);
    float *back = calloc(dim, sizeof *x), *work = calloc(dim, sizeof *y);
    struct random random = {seed};
    for (int input = 0; input < INPUT_COUNT; input++) {
        input_fill((enum input)input, x, dim, &random);
        rotation_apply(&rotation, x, y, work);
        const double before = square(x, dim);
        assert_true(fabs(square(y, dim) / before - 1.0) <= 1e-5);
        rotation_invert(&rotation, y, back, work);
        for (uint32_t j = 0; j < dim; j++) {
            assert_true(fabs((double)back[j] - (double)x[j]) <= 2e-6 * sqrt(before));
        }
    }
    free(x);
    free(y);
    free(back);
    free(work);
    rotation_release(&rotation);
}

static void isometry(void **state)
{
    (void)state;
    for (size_t i = 0; i < DIMS; i++) {
        check_isometry(dims[i], 7 + i);
    }
    check_isometry(65535, 3);
    check_isometry(65536, 3);
}

/* Vectors near the ends of float do not overflow on the way when their length does not. */
static void no_overflow(void **state)
{
    (void)state;
    const uint32_t dim = 1000;
    struct rotation rotation;
    rotation_init(&rotation, dim, 5, kernels_best());
    float x[1000], y[1000], work[1000];
    for (uint32_t j = 0; j < dim; j++) {
        x[j] = j % 3 == 0 ? 1e37f : -1e37f;
    }
    rotation_apply(&rotation, x, y, work);
    for (uint32_t j = 0; j < dim; j++) {
        assert_true(isfinite(y[j]));
    }
    rotation_release(&rotation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitmix_golden), cmocka_unit_test(rotation_golden),
        cmocka_unit_test(strides),         cmocka_unit_test(isometry),
        cmocka_unit_test(no_overflow),
    };
    return cmocka_run_group_tests_name("rotate", tests, NULL, NULL);
}
