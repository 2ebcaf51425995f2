/* Dividing points: balance, ends, determinism, and that near points stay together. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "index/partition.h"

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static float uniform(uint64_t *state)
{
    return (float)(next_random(state) >> 40) * 0x1p-24f - 0.5f;
}

struct data {
    struct rows rows;
    float *floats;
    uint32_t *members;
    size_t count;
};

static struct data data_new(uint32_t dim, size_t count)
{
    struct data data = {.count = count};
    data.floats = allocate_aligned(count * dim * sizeof(float));
    data.members = allocate(count * sizeof(uint32_t));
    for (size_t i = 0; i < count; i++) {
        data.members[i] = (uint32_t)i;
    }
    data.rows = (struct rows){codec_new(dim, 1, NULL), data.floats, dim};
    return data;
}

static void data_free(struct data *data)
{
    codec_free((struct codec *)(uintptr_t)data->rows.codec);
    free(data->floats);
    free(data->members);
}

static void assert_permutation(const uint32_t *members, size_t count)
{
    uint8_t *seen = allocate_zeroed(count, 1);
    for (size_t i = 0; i < count; i++) {
        assert_true(members[i] < count);
        assert_int_equal(seen[members[i]], 0);
        seen[members[i]] = 1;
    }
    free(seen);
}

/* Two clouds far apart come out as the two groups, whatever the order. */
static void test_halve_two_clouds(void **state)
{
    (void)state;
    struct data data = data_new(40, 200);
    uint64_t random = 1;
    for (size_t i = 0; i < data.count; i++) {
        const bool second = next_random(&random) % 10 < 4;
        for (uint32_t j = 0; j < data.rows.dim; j++) {
            data.floats[i * data.rows.dim + j] = uniform(&random) + (second ? 20.0f : 0.0f);
        }
    }
    struct partition_scratch scratch = {0};
    const size_t cut = partition_halve(&data.rows, data.members, data.count, &scratch);
    assert_permutation(data.members, data.count);
    const bool first_is_second = data.floats[(size_t)data.members[0] * data.rows.dim] > 10.0f;
    for (size_t i = 0; i < data.count; i++) {
        const bool second = data.floats[(size_t)data.members[i] * data.rows.dim] > 10.0f;
        assert_int_equal(second, (i < cut) == first_is_second);
    }
    partition_scratch_release(&scratch);
    data_free(&data);
}

/* Norms over six decades, and equal rows: neither side below 3/10. */
static void test_halve_is_balanced(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct data data = data_new(33, 301);
        uint64_t random = 7;
        for (size_t i = 0; i < data.count; i++) {
            const float scale = kind == 0 ? powf(10.0f, 12.0f * uniform(&random)) : 1.0f;
            for (uint32_t j = 0; j < data.rows.dim; j++) {
                const float x = kind == 1 ? 1.0f : uniform(&random);
                data.floats[i * data.rows.dim + j] = kind == 2 && i > 5 ? 0.0f : scale * x;
            }
        }
        struct partition_scratch scratch = {0};
        const size_t cut = partition_halve(&data.rows, data.members, data.count, &scratch);
        assert_permutation(data.members, data.count);
        assert_in_range(cut, data.count * 3 / 10, data.count - data.count * 3 / 10);
        partition_scratch_release(&scratch);
        data_free(&data);
    }
}

static void test_divide_sizes(void **state)
{
    (void)state;
    const size_t counts[] = {1, 2, 7, 8, 13, 100, 1000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        struct data data = data_new(32, counts[c]);
        uint64_t random = counts[c];
        for (size_t i = 0; i < data.count * data.rows.dim; i++) {
            data.floats[i] = uniform(&random);
        }
        const struct partition_sizes sizes = partition_sizes_of(32, 8);
        uint32_t *ends = allocate(partition_groups_max(data.count, &sizes) * sizeof *ends);
        struct partition_scratch scratch = {0};
        const size_t groups =
            partition_divide(&data.rows, data.members, data.count, &sizes, ends, &scratch);
        assert_permutation(data.members, data.count);
        assert_in_range(groups, 1, partition_groups_max(data.count, &sizes));
        size_t begin = 0;
        for (size_t i = 0; i < groups; i++) {
            assert_in_range(ends[i] - begin, 1, sizes.most);
            begin = ends[i];
        }
        assert_int_equal(begin, data.count);
        /* the same again from the same order */
        uint32_t *again = allocate(data.count * sizeof *again);
        for (size_t i = 0; i < data.count; i++) {
            again[i] = (uint32_t)i;
        }
        uint32_t *ends_again = allocate(partition_groups_max(data.count, &sizes) * sizeof *ends);
        assert_int_equal(
            partition_divide(&data.rows, again, data.count, &sizes, ends_again, &scratch), groups);
        assert_memory_equal(again, data.members, data.count * sizeof *again);
        assert_memory_equal(ends, ends_again, groups * sizeof *ends);
        free(ends);
        free(ends_again);
        free(again);
        partition_scratch_release(&scratch);
        data_free(&data);
    }
}

/* A Lloyd step never makes the sum of squared distances larger. */
static void test_lloyd_improves(void **state)
{
    (void)state;
    enum { CENTRES = 6, DIM = 35 };
    struct data data = data_new(DIM, 400);
    uint64_t random = 3;
    for (size_t i = 0; i < data.count * DIM; i++) {
        data.floats[i] = uniform(&random) + (float)(i / DIM % 5);
    }
    float *centres = allocate_aligned(CENTRES * DIM * sizeof *centres);
    memcpy(centres, data.floats, CENTRES * DIM * sizeof *centres);
    uint32_t *owner = allocate_zeroed(data.count, sizeof *owner);
    struct partition_scratch scratch = {0};
    double before = INFINITY;
    for (unsigned step = 0; step < 5; step++) {
        (void)partition_lloyd(&data.rows, data.count, owner, centres, CENTRES, &scratch);
        double sum = 0.0;
        for (size_t i = 0; i < data.count; i++) {
            sum += (double)partition_distance(data.rows.codec, rows_at(&data.rows, i),
                                              centres + owner[i] * DIM);
        }
        assert_true(sum <= before * (1.0 + 1e-5));
        before = sum;
    }
    free(centres);
    free(owner);
    partition_scratch_release(&scratch);
    data_free(&data);
}

static void test_sizes(void **state)
{
    (void)state;
    for (uint32_t dim = 1; dim <= CODEC_DIM_MAX; dim = dim * 2 + 1) {
        const struct partition_sizes sizes = partition_sizes_of(dim, 0);
        assert_in_range(sizes.target, CODEC_BLOCK_LANES, 256);
        assert_true(sizes.least < sizes.target && sizes.target < sizes.most);
        assert_true(sizes.target == CODEC_BLOCK_LANES ||
                    sizes.most * (size_t)(dim / 8 + 8) <= 256 * 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halve_two_clouds),
        cmocka_unit_test(test_halve_is_balanced),
        cmocka_unit_test(test_divide_sizes),
        cmocka_unit_test(test_lloyd_improves),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
