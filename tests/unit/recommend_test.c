/* Recommend, discover, context; and MMR against the definition with a full matrix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "index/mmr.h"
#include "index/recommend.h"

static double sigmoid(double x)
{
    return x / (1 + fabs(x));
}

static void test_sigmoid(void **state)
{
    (void)state;
    assert_float_equal(score_sigmoid(3), 0.75f, 1e-7f);
    assert_float_equal(score_sigmoid(-1), -0.5f, 1e-7f);
    assert_true(isinf(score_sigmoid(-INFINITY)));
    assert_true(isnan(score_sigmoid(NAN)));
    assert_float_equal(score_scaled_sigmoid(0), 0.5f, 1e-7f);
}

static void test_best_and_sum(void **state)
{
    (void)state;
    const float positive[] = {0.25f, 0.5f}, negative[] = {0.75f, -4.0f};
    assert_float_equal(recommend_best(positive, 2, negative, 2), -0.5f * (0.75f / 1.75f + 1),
                       1e-6f);
    assert_float_equal(recommend_best(positive, 2, negative + 1, 1), 0.5f * (0.5f / 1.5f + 1),
                       1e-6f);
    assert_float_equal(recommend_best(positive, 2, NULL, 0), 0.5f * (0.5f / 1.5f + 1), 1e-6f);
    assert_float_equal(recommend_best(NULL, 0, negative, 1), -0.5f * (0.75f / 1.75f + 1), 1e-6f);
    /* equal: the negative decides */
    assert_true(recommend_best(positive, 1, positive, 1) < 0);
    assert_float_equal(recommend_sum(positive, 2, negative, 2), 0.75f - (0.75f - 4.0f), 1e-6f);
    assert_float_equal(recommend_sum(NULL, 0, negative, 2), 3.25f, 1e-6f);
}

static void test_discover_and_context(void **state)
{
    (void)state;
    const float pairs[] = {0.5f, 0.25f, 0.1f, 0.9f, 0.3f, 0.3f, 2, 1};
    assert_float_equal(discover_score(0.5f, pairs, 4), (float)(1 + 0.5 * (sigmoid(0.5) + 1)),
                       1e-6f);
    assert_float_equal(discover_score(-3, pairs + 2, 1), (float)(-1 + 0.5 * (1 - 0.75)), 1e-6f);
    assert_float_equal(discover_score(1, NULL, 0), 0.75f, 1e-6f);
    assert_float_equal(context_score(pairs, 1), 0, 0);
    assert_float_equal(context_score(pairs, 2), (float)sigmoid(-0.8 - (double)FLT_EPSILON), 1e-6f);
    assert_float_equal(context_score(pairs + 4, 1), (float)-(double)FLT_EPSILON, 1e-12f);
    assert_float_equal(context_score(NULL, 0), 0, 0);
}

static void test_average(void **state)
{
    (void)state;
    const float a[] = {1, 2}, b[] = {3, -2}, c[] = {10, 20};
    const float *positive[] = {a, b}, *negative[] = {c};
    float out[2];
    recommend_average(positive, 2, NULL, 0, 2, out);
    assert_float_equal(out[0], 2, 0);
    assert_float_equal(out[1], 0, 0);
    recommend_average(positive, 2, negative, 1, 2, out);
    assert_float_equal(out[0], -6, 0);
    assert_float_equal(out[1], -20, 0);
}

/* ---- MMR ---- */

#define CANDIDATES 30
static float matrix[CANDIDATES][CANDIDATES];
static size_t asked;

static enum error near(void *context, size_t a, size_t b, float *out)
{
    (void)context;
    asked++;
    *out = matrix[a][b];
    return OK;
}

static enum error broken(void *context, size_t a, size_t b, float *out)
{
    (void)context, (void)a, (void)b, (void)out;
    return ERROR_CORRUPT;
}

static uint32_t random_state = 3;
static float random_float(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / 16777216.0f;
}

static void check_choice(const float *relevance, float lambda, const size_t *chosen, size_t count)
{
    bool taken[CANDIDATES] = {false};
    for (size_t i = 0; i < count; i++) {
        float best = -INFINITY, mine = -INFINITY;
        for (size_t c = 0; c < CANDIDATES; c++) {
            float closest = -INFINITY;
            for (size_t j = 0; j < i; j++)
                closest = fmaxf(closest, matrix[c][chosen[j]]);
            const float score =
                i == 0 ? relevance[c] : lambda * relevance[c] - (1 - lambda) * closest;
            if (c == chosen[i])
                mine = score;
            if (!taken[c] && score > best)
                best = score;
        }
        assert_false(taken[chosen[i]]);
        taken[chosen[i]] = true;
        assert_float_equal(mine, best, 0);
    }
}

static void test_mmr(void **state)
{
    (void)state;
    struct arena arena;
    float relevance[CANDIDATES];
    size_t *chosen, count;
    for (int round = 0; round < 50; round++) {
        arena_init(&arena);
        for (size_t a = 0; a < CANDIDATES; a++) {
            relevance[a] = random_float();
            for (size_t b = 0; b <= a; b++)
                matrix[a][b] = matrix[b][a] = random_float();
        }
        const float lambda = (float)(round % 5) / 4;
        asked = 0;
        assert_int_equal(
            mmr_choose(relevance, CANDIDATES, lambda, 10, near, NULL, &arena, &chosen, &count), OK);
        assert_int_equal(count, 10);
        assert_true(asked <= CANDIDATES * 10);
        check_choice(relevance, lambda, chosen, count);
        arena_release(&arena);
    }
}

static void test_mmr_edges(void **state)
{
    (void)state;
    struct arena arena;
    size_t *chosen, count;
    arena_init(&arena);
    const float relevance[] = {1, 1, 1};
    assert_int_equal(mmr_choose(relevance, 0, 0.5f, 5, near, NULL, &arena, &chosen, &count), OK);
    assert_int_equal(count, 0);
    /* a limit of any size allocates by the candidates; equal ones: the last first */
    assert_int_equal(mmr_choose(relevance, 3, 1, SIZE_MAX, near, NULL, &arena, &chosen, &count),
                     OK);
    assert_int_equal(count, 3);
    assert_int_equal(chosen[0], 2);
    assert_int_equal(mmr_choose(relevance, 3, 0.5f, 2, broken, NULL, &arena, &chosen, &count),
                     ERROR_CORRUPT);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sigmoid), cmocka_unit_test(test_best_and_sum),
        cmocka_unit_test(test_average), cmocka_unit_test(test_discover_and_context),
        cmocka_unit_test(test_mmr),     cmocka_unit_test(test_mmr_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
