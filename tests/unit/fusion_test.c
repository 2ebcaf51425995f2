/* Fusion against the formulas written out, and against a naive model on random lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "index/fusion.h"

static struct scored point(uint64_t id, float score)
{
    return (struct scored){.slot = 1000 - id, .score = score, .id = point_id_number(id)};
}

static uint64_t number_of(const struct scored *scored)
{
    return load64_big(scored->id.bytes);
}

static void expect_fused(const struct scored_list *fused, size_t count, const uint64_t *ids,
                         const double *scores)
{
    assert_int_equal(fused->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(number_of(&fused->items[i]), ids[i]);
        assert_float_equal(fused->items[i].score, (float)scores[i], 1e-6f);
    }
}

static void test_rrf(void **state)
{
    (void)state;
    struct arena arena;
    struct scored_list fused;
    arena_init(&arena);
    struct scored a[] = {point(1, 9), point(2, 8), point(3, 7)}, b[] = {point(3, 5), point(4, 4)};
    const struct scored_list lists[] = {{a, 3, NULL}, {b, 2, NULL}};
    fusion_rrf(lists, 2, FUSION_RRF_K, NULL, &arena, &fused);
    expect_fused(&fused, 4, (const uint64_t[]){3, 1, 2, 4},
                 (const double[]){1.0 / 4 + 1.0 / 2, 1.0 / 2, 1.0 / 3, 1.0 / 3});
    fusion_rrf(lists, 2, 60, NULL, &arena, &fused);
    assert_float_equal(fused.items[0].score, (float)(1.0 / 62 + 1.0 / 60), 1e-7f);
    /* weights stretch ranks; one that is not positive adds nothing, its points stay */
    fusion_rrf(lists, 2, 2, (const float[]){3, 0}, &arena, &fused);
    expect_fused(&fused, 4, (const uint64_t[]){1, 2, 3, 4},
                 (const double[]){1 / (1.0 / 3 + 1), 1 / (2.0 / 3 + 1), 1 / (3.0 / 3 + 1), 0});
    fusion_rrf(lists, 2, 2, (const float[]){-1, -2}, &arena, &fused);
    expect_fused(&fused, 4, (const uint64_t[]){1, 2, 3, 4}, (const double[]){0, 0, 0, 0});
    fusion_rrf(NULL, 0, 2, NULL, &arena, &fused);
    assert_int_equal(fused.count, 0);
    arena_release(&arena);
}

static void test_dbsf(void **state)
{
    (void)state;
    struct arena arena;
    struct scored_list fused;
    arena_init(&arena);
    struct scored a[] = {point(1, 4), point(2, 2)}, b[] = {point(2, 7)},
                  c[] = {point(5, 0.1f), point(6, 0.1f), point(7, 0.1f)};
    const struct scored_list lists[] = {{a, 2, NULL}, {b, 1, NULL}, {c, 3, NULL}, {NULL, 0, NULL}};
    const double sigma = sqrt(2.0), mean = 3;
    fusion_dbsf(lists, 4, &arena, &fused);
    expect_fused(&fused, 5, (const uint64_t[]){2, 1, 5, 6, 7},
                 (const double[]){(2 - (mean - 3 * sigma)) / (6 * sigma) + 0.5,
                                  (4 - (mean - 3 * sigma)) / (6 * sigma), 0.5, 0.5, 0.5});
    arena_release(&arena);
}

static uint32_t random_state = 7;
static uint32_t random_u32(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

/* Random lists: every id's sum by a scan of all lists, and the order by score, then id. */
static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct arena arena;
        arena_init(&arena);
        struct scored_list lists[5], fused, all;
        const size_t list_count = random_u32() % 6;
        float weights[5];
        for (size_t i = 0; i < list_count; i++) {
            lists[i].items = arena_allocate(&arena, 40 * sizeof(struct scored));
            lists[i].count = 0;
            weights[i] = (float)(random_u32() % 5) * 0.5f;
            for (uint64_t id = 0; id < 40; id++) {
                if (random_u32() % 3 == 0)
                    lists[i].items[lists[i].count++] = point(id, (float)(random_u32() % 7));
            }
            scored_sort(&lists[i], i % 2 == 1);
        }
        fusion_rrf(lists, list_count, 2, weights, &arena, &fused);
        fusion_union(lists, list_count, &arena, &all);
        assert_int_equal(fused.count, all.count);
        for (size_t i = 0; i < fused.count; i++) {
            double sum = 0;
            for (size_t j = 0; j < list_count; j++) {
                for (size_t k = 0; k < lists[j].count; k++) {
                    if (lists[j].items[k].slot == fused.items[i].slot && weights[j] > 0)
                        sum += 1 / (((double)k + 1) / (double)weights[j] + 1);
                }
            }
            assert_float_equal(fused.items[i].score, (float)sum, 1e-6f);
            if (i > 0) {
                const struct scored *a = &fused.items[i - 1], *b = &fused.items[i];
                assert_true(a->score > b->score ||
                            (a->score == b->score && number_of(a) < number_of(b)));
                assert_true(number_of(&all.items[i - 1]) < number_of(&all.items[i]));
            }
        }
        arena_release(&arena);
    }
}

static void test_sort(void **state)
{
    (void)state;
    struct scored items[] = {point(1, NAN), point(2, 1), point(4, 3), point(3, 3)};
    struct scored_list list = {items, 4, NULL};
    scored_sort(&list, false);
    const uint64_t larger[] = {3, 4, 2, 1}, smaller[] = {2, 3, 4, 1};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(number_of(&items[i]), larger[i]);
    scored_sort(&list, true);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(number_of(&items[i]), smaller[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rrf),
        cmocka_unit_test(test_dbsf),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
