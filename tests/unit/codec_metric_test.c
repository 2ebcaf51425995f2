/* Names, keys and scores of metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "codec/codec.h"

static void names_round_trip(void **state)
{
    (void)state;
    for (int i = METRIC_COSINE; i <= METRIC_MANHATTAN; i++) {
        const char *name = metric_name((enum metric)i);
        enum metric metric = METRIC_COSINE;
        assert_true(metric_parse(name, strlen(name), &metric));
        assert_int_equal(metric, i);
        assert_false(metric_parse(name, strlen(name) - 1, &metric));
    }
    enum metric metric;
    assert_false(metric_parse("cosine", 6, &metric));
    assert_false(metric_parse("", 0, &metric));
    assert_false(metric_parse("Dot\0", 4, &metric));
}

static void scores(void **state)
{
    (void)state;
    assert_true(metric_score(METRIC_COSINE, 0.5f) == 0.5f);
    assert_true(metric_score(METRIC_DOT, -3.0f) == -3.0f);
    assert_true(metric_score(METRIC_EUCLID, -9.0f) == 3.0f);
    assert_true(metric_score(METRIC_MANHATTAN, -2.5f) == 2.5f);
    assert_false(signbit(metric_score(METRIC_EUCLID, -0.0f)));
    assert_false(signbit(metric_score(METRIC_MANHATTAN, -0.0f)));
    assert_false(signbit(metric_score(METRIC_MANHATTAN, 0.0f)));
}

/* Every key whose score is at least as good as a threshold reaches the threshold's key. */
static void keys_keep_order(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525u + 1013904223u;
        const float key = -ldexpf((float)(seed >> 8) / 16777216.0f + 0.5f, i % 60 - 30);
        const float score = metric_score(METRIC_EUCLID, key);
        assert_true(metric_key(METRIC_EUCLID, score) <= key);
        /* and not by much */
        assert_true(metric_key(METRIC_EUCLID, score) >= key * (1 + 1e-6f));
    }
    assert_true(metric_key(METRIC_EUCLID, INFINITY) == -INFINITY);
    assert_true(metric_key(METRIC_EUCLID, -2.0f) > metric_key(METRIC_EUCLID, 0.0f));
    assert_true(metric_key(METRIC_EUCLID, FLT_MAX) <= -FLT_MAX);
    assert_true(metric_key(METRIC_MANHATTAN, 2.0f) == -2.0f);
    assert_true(metric_key(METRIC_DOT, 2.0f) == 2.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(scores),
        cmocka_unit_test(keys_keep_order),
    };
    return cmocka_run_group_tests_name("metric", tests, NULL, NULL);
}
