/* The k best against sorting everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "index/topk.h"

/* Ids run against slots, so that one cannot stand in for the other. */
static struct point_id id_of(uint64_t slot)
{
    return point_id_number(1000000 - slot);
}

static void id_of_slot(void *context, uint64_t slot, struct point_id *id)
{
    ++*(uint64_t *)context;
    *id = id_of(slot);
}

struct pair {
    float key;
    uint64_t slot;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->key != y->key) {
        return x->key > y->key ? -1 : 1;
    }
    const struct point_id p = id_of(x->slot), q = id_of(y->slot);
    return point_id_compare(&p, &q);
}

static void check(size_t n, size_t k, uint32_t distinct_keys, uint32_t seed)
{
    struct pair *pairs = calloc(n, sizeof *pairs);
    struct topk_entry *entries = calloc(k, sizeof *entries);
    assert_non_null(pairs);
    assert_non_null(entries);
    uint64_t lookups = 0;
    struct topk topk;
    topk_init(&topk, entries, k, id_of_slot, &lookups);
    uint32_t random = seed;
    for (size_t i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u;
        pairs[i] = (struct pair){(float)((random >> 8) % distinct_keys), i};
        assert_true(i < k ? topk_threshold(&topk) == -INFINITY : !isinf(topk_threshold(&topk)));
        topk_push(&topk, pairs[i].key, pairs[i].slot);
    }
    qsort(pairs, n, sizeof *pairs, compare_pairs);
    const size_t expected = n < k ? n : k;
    assert_int_equal(topk.count, expected);
    if (n >= k) {
        assert_true(topk_threshold(&topk) == pairs[k - 1].key);
    }
    topk_sort(&topk);
    for (size_t i = 0; i < expected; i++) {
        assert_int_equal(topk.entries[i].slot, pairs[i].slot);
        assert_true(topk.entries[i].key == pairs[i].key);
    }
    assert_true(lookups <= n); /* each at most once */
    free(pairs);
    free(entries);
}

static void test_against_sorting(void **state)
{
    (void)state;
    const size_t counts[] = {0, 1, 2, 9, 10, 11, 100, 1000};
    const size_t ks[] = {1, 2, 10, 100, 999, 1000, 2000};
    const uint32_t keys[] = {1, 3, 50, 1u << 24};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            for (size_t l = 0; l < sizeof keys / sizeof *keys; l++) {
                check(counts[i], ks[j], keys[l], (uint32_t)(i * 100 + j * 10 + l + 1));
            }
        }
    }
}

static void test_ids_are_not_read_without_ties(void **state)
{
    (void)state;
    uint64_t lookups = 0;
    struct topk_entry entries[10];
    struct topk topk;
    topk_init(&topk, entries, 10, id_of_slot, &lookups);
    for (uint64_t i = 0; i < 1000; i++) {
        topk_push(&topk, (float)(i * 7919 % 1000), i);
    }
    topk_sort(&topk);
    assert_int_equal(lookups, 0);
}

static void test_not_a_number_comes_last(void **state)
{
    (void)state;
    uint64_t lookups = 0;
    struct topk_entry entries[3];
    struct topk topk;
    topk_init(&topk, entries, 3, id_of_slot, &lookups);
    topk_push(&topk, NAN, 1);
    topk_push(&topk, -1e30f, 2);
    topk_push(&topk, INFINITY, 3);
    topk_push(&topk, NAN, 4);
    topk_sort(&topk);
    assert_int_equal(topk.entries[0].slot, 3);
    assert_int_equal(topk.entries[1].slot, 2);
    assert_true(topk.entries[2].key == -INFINITY);
    assert_int_equal(topk.entries[2].slot, 4); /* the smaller id of the two */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorting),
        cmocka_unit_test(test_ids_are_not_read_without_ties),
        cmocka_unit_test(test_not_a_number_comes_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
