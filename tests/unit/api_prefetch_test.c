/* Query trees over HTTP: prefetches, fusion, formulas, recommend and the rest, each against the
 * definition computed here. tests/local_test.py compares thousands of them with another engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

enum { COUNT = 60, DIM = 4 };
static float vectors[COUNT][DIM];

#define QUERY "/collections/points/points/query"

static uint32_t random_state = 5;
static float random_float(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(int32_t)(random_state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

static double dot(unsigned a, unsigned b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += (double)vectors[a][i] * (double)vectors[b][i];
    return sum;
}

/* ---- the model: ids and scores, best first ---- */

struct ranked {
    unsigned id;
    double score;
};
struct ranking {
    struct ranked items[COUNT];
    size_t count;
};

static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static void rank_sort(struct ranking *ranking, size_t limit)
{
    qsort(ranking->items, ranking->count, sizeof ranking->items[0], compare);
    if (ranking->count > limit)
        ranking->count = limit;
}

/* Nearest to a point, itself left out; the points of `mod` kept (n % mod == 0), 1: all. */
static struct ranking nearest(unsigned to, unsigned mod, size_t limit)
{
    struct ranking ranking = {.count = 0};
    for (unsigned i = 0; i < COUNT; i++) {
        if (i != to && i % mod == 0)
            ranking.items[ranking.count++] = (struct ranked){i, dot(i, to)};
    }
    rank_sort(&ranking, limit);
    return ranking;
}

static double score_in(const struct ranking *ranking, unsigned id, double absent)
{
    for (size_t i = 0; i < ranking->count; i++) {
        if (ranking->items[i].id == id)
            return ranking->items[i].score;
    }
    return absent;
}

static size_t place_in(const struct ranking *ranking, unsigned id)
{
    for (size_t i = 0; i < ranking->count; i++) {
        if (ranking->items[i].id == id)
            return i;
    }
    return COUNT;
}

static void expect_points(json_t *points, const struct ranking *wanted, size_t offset)
{
    assert_int_equal(json_array_size(points), wanted->count - offset);
    for (size_t i = offset; i < wanted->count; i++) {
        json_t *point = json_array_get(points, i - offset);
        assert_int_equal(json_integer_value(json_object_get(point, "id")), wanted->items[i].id);
        const double score = json_number_value(json_object_get(point, "score"));
        if (fabs(score - wanted->items[i].score) > 1e-5)
            fail_msg("place %zu: %g, not %g", i, score, wanted->items[i].score);
    }
}

static void expect_ranking(const char *body, const struct ranking *wanted, size_t offset)
{
    json_t *result = call_result_of(&server, "POST", QUERY, body);
    expect_points(json_object_get(result, "points"), wanted, offset);
    json_decref(result);
}

/* ---- tests ---- */

static void test_rrf(void **state)
{
    (void)state;
    const struct ranking a = nearest(1, 1, 10), b = nearest(2, 1, 5);
    struct ranking wanted = {.count = 0};
    for (unsigned id = 0; id < COUNT; id++) {
        const size_t x = place_in(&a, id), y = place_in(&b, id);
        double score = 0;
        if (x < COUNT)
            score += 1 / ((double)x + 2);
        if (y < COUNT)
            score += 1 / (((double)y + 1) / 3 + 1);
        if (x < COUNT || y < COUNT)
            wanted.items[wanted.count++] = (struct ranked){id, score};
    }
    rank_sort(&wanted, 8);
    expect_ranking("{\"prefetch\":[{\"query\":1},{\"query\":2,\"limit\":5}],"
                   "\"query\":{\"rrf\":{\"weights\":[1,3]}},\"limit\":8}",
                   &wanted, 0);
    expect_ranking("{\"prefetch\":[{\"query\":1},{\"query\":2,\"limit\":5}],"
                   "\"query\":{\"rrf\":{\"weights\":[1,3],\"k\":2}},\"limit\":5,\"offset\":3}",
                   &wanted, 3);
    /* equal to the threshold is enough: the best two of one list score 1/2 and 1/3 */
    json_t *result = call_result_of(&server, "POST", QUERY,
                                    "{\"prefetch\":{\"query\":1},\"query\":{\"fusion\":\"rrf\"},"
                                    "\"score_threshold\":0.5}");
    assert_int_equal(json_array_size(json_object_get(result, "points")), 1);
    json_decref(result);
}

static void test_dbsf(void **state)
{
    (void)state;
    struct ranking wanted = nearest(1, 1, 10);
    double mean = 0, sigma = 0;
    for (size_t i = 0; i < 10; i++)
        mean += wanted.items[i].score / 10;
    for (size_t i = 0; i < 10; i++)
        sigma += (wanted.items[i].score - mean) * (wanted.items[i].score - mean) / 9;
    sigma = sqrt(sigma);
    for (size_t i = 0; i < 10; i++)
        wanted.items[i].score = (wanted.items[i].score - mean + 3 * sigma) / (6 * sigma);
    expect_ranking("{\"prefetch\":[{\"query\":1}],\"query\":{\"fusion\":\"dbsf\"}}", &wanted, 0);
}

/* The union of the prefetches by another vector; prefetches may be nested as deep as is allowed. */
static void test_rescoring(void **state)
{
    (void)state;
    const struct ranking a = nearest(1, 1, 10), b = nearest(2, 1, 7);
    struct ranking wanted = {.count = 0};
    for (unsigned id = 0; id < COUNT; id++) {
        /* 3 is an example above: left out of everything below */
        if (id != 3 && (place_in(&a, id) < COUNT || place_in(&b, id) < COUNT))
            wanted.items[wanted.count++] = (struct ranked){id, dot(id, 3)};
    }
    if (place_in(&a, 3) < COUNT || place_in(&b, 3) < COUNT)
        fail_msg("choose other points: 3 must not be among those near 1 and 2");
    rank_sort(&wanted, 10);
    expect_ranking("{\"prefetch\":[{\"query\":1},{\"query\":2,\"limit\":7}],\"query\":3}", &wanted,
                   0);
    for (unsigned depth = 64; depth <= 65; depth++) {
        struct body_text text;
        text_open(&text);
        for (unsigned i = 0; i < depth; i++)
            fputs("{\"query\":1,\"prefetch\":", text.out);
        fputs("{\"query\":1}", text.out);
        for (unsigned i = 0; i < depth; i++)
            fputs("}", text.out);
        char *body = text_of(&text);
        if (depth == 64) {
            const struct ranking top = nearest(1, 1, 10);
            expect_ranking(body, &top, 0);
        } else {
            expect_error(&server, "POST", QUERY, body, 400,
                         "Bad request: prefetches depth 65 exceeds max depth of 64");
        }
        free(body);
    }
}

/* Filters above hold below, before the limits of prefetches count. */
static void test_filters_go_down(void **state)
{
    (void)state;
    const struct ranking even = nearest(1, 2, 5), sixth = nearest(1, 6, 5);
    expect_ranking("{\"prefetch\":{\"query\":1,\"limit\":5},\"query\":1,\"filter\":{\"must\":[{"
                   "\"key\":\"half\",\"match\":{\"value\":true}}]}}",
                   &even, 0);
    expect_ranking(
        "{\"prefetch\":{\"query\":1,\"limit\":5,\"filter\":{\"must\":[{\"key\":\"third\","
        "\"match\":{\"value\":true}}]}},\"query\":1,\"filter\":{\"must\":{\"key\":"
        "\"half\",\"match\":{\"value\":true}}}}",
        &sixth, 0);
}

static void test_formula(void **state)
{
    (void)state;
    const struct ranking a = nearest(1, 1, 10), b = nearest(2, 1, 10);
    struct ranking wanted = {.count = 0};
    for (unsigned id = 0; id < COUNT; id++) {
        if (place_in(&a, id) == COUNT && place_in(&b, id) == COUNT)
            continue;
        const double price = id % 3 == 0 ? 7 : id; /* payload, or its default */
        const double score =
            score_in(&a, id, 0) + 2 * score_in(&b, id, -0.5) + price / 10 + (id % 2 == 0 ? 1 : 0);
        wanted.items[wanted.count++] = (struct ranked){id, score};
    }
    rank_sort(&wanted, 10);
    expect_ranking(
        "{\"prefetch\":[{\"query\":1},{\"query\":2}],\"query\":{\"defaults\":{"
        "\"$score[1]\":-0.5,\"deep.price\":7},\"formula\":{\"sum\":[\"$score\",{\"mult\":"
        "[2,\"$score[1]\"]},{\"div\":{\"left\":\"deep.price\",\"right\":10}},{\"key\":"
        "\"half\",\"match\":{\"value\":true}}]}}}",
        &wanted, 0);
    expect_error(&server, "POST", QUERY,
                 "{\"prefetch\":{\"query\":1,\"limit\":60},\"query\":{\"formula\":\"deep.price\"}}",
                 400,
                 "Wrong input: No value found for deep.price in the payload nor the formula "
                 "defaults");
}

static double squeeze(double x)
{
    return x / (1 + fabs(x));
}

static void test_recommend_and_discover(void **state)
{
    (void)state;
    struct ranking best = {.count = 0}, sum = best, average = best, discover = best, context = best;
    for (unsigned i = 0; i < COUNT; i++) {
        if (i == 1 || i == 2 || i == 3)
            continue;
        const double p = fmax(dot(i, 1), dot(i, 2)), n = dot(i, 3);
        const double won = dot(i, 1) > dot(i, 2) ? 1 : -1;
        const double lost = dot(i, 1) - dot(i, 2) - 1.1920929e-7;
        best.items[best.count++] =
            (struct ranked){i, p > n ? 0.5 * (squeeze(p) + 1) : -0.5 * (squeeze(n) + 1)};
        sum.items[sum.count++] = (struct ranked){i, dot(i, 1) + dot(i, 2) - dot(i, 3)};
        average.items[average.count++] = (struct ranked){i, dot(i, 1) + dot(i, 2) - dot(i, 3)};
        discover.items[discover.count++] = (struct ranked){i, won + 0.5 * (squeeze(dot(i, 3)) + 1)};
        context.items[context.count++] = (struct ranked){i, lost < 0 ? squeeze(lost) : 0};
    }
    /* 3 is no example of the context */
    const double lost = dot(3, 1) - dot(3, 2) - 1.1920929e-7;
    context.items[context.count++] = (struct ranked){3, lost < 0 ? squeeze(lost) : 0};
    rank_sort(&best, 10);
    rank_sort(&sum, 10);
    rank_sort(&average, 10);
    rank_sort(&discover, 10);
    rank_sort(&context, COUNT);
    expect_ranking("{\"query\":{\"recommend\":{\"negative\":[3],\"positive\":[1,2],\"strategy\":"
                   "\"best_score\"}}}",
                   &best, 0);
    expect_ranking("{\"query\":{\"recommend\":{\"negative\":[3],\"positive\":[1,2],\"strategy\":"
                   "\"sum_scores\"}}}",
                   &sum, 0);
    expect_ranking("{\"query\":{\"recommend\":{\"negative\":[3],\"positive\":[1,2]}}}", &average,
                   0);
    expect_ranking("{\"query\":{\"discover\":{\"target\":3,\"context\":[{\"positive\":1,"
                   "\"negative\":2}]}}}",
                   &discover, 0);
    expect_ranking("{\"query\":{\"context\":{\"positive\":1,\"negative\":2}},\"limit\":999999999}",
                   &context, 0);
}

static void test_mmr(void **state)
{
    (void)state;
    /* no diversity: the nearest as they come; the scores are the similarities in any case */
    const struct ranking plain = nearest(1, 1, 5);
    expect_ranking("{\"query\":{\"nearest\":1,\"mmr\":{\"diversity\":0}},\"limit\":5}", &plain, 0);
    expect_ranking("{\"query\":{\"nearest\":1,\"mmr\":{\"diversity\":0,\"candidates_limit\":20}},"
                   "\"limit\":3,\"offset\":2}",
                   &plain, 2);
    /* the second of full diversity is the candidate least like the first */
    const struct ranking candidates = nearest(1, 1, 20);
    json_t *result = call_result_of(&server, "POST", QUERY,
                                    "{\"query\":{\"nearest\":1,\"mmr\":{\"diversity\":1,"
                                    "\"candidates_limit\":20}},\"limit\":2}");
    json_t *points = json_object_get(result, "points");
    unsigned least = candidates.items[1].id;
    for (size_t i = 1; i < 20; i++) {
        if (dot(candidates.items[i].id, candidates.items[0].id) <
            dot(least, candidates.items[0].id))
            least = candidates.items[i].id;
    }
    json_t *second = json_array_get(points, 1);
    assert_int_equal(json_integer_value(json_object_get(second, "id")), least);
    assert_true(fabs(json_number_value(json_object_get(second, "score")) - dot(least, 1)) < 1e-5);
    json_decref(result);
}

static void test_sample(void **state)
{
    (void)state;
    bool seen[COUNT] = {false};
    json_t *result = call_result_of(&server, "POST", QUERY,
                                    "{\"query\":{\"sample\":\"random\"},\"limit\":999999999,"
                                    "\"offset\":7,\"filter\":{\"must\":{\"key\":\"half\",\"match\":"
                                    "{\"value\":true}}}}");
    json_t *points = json_object_get(result, "points");
    assert_int_equal(json_array_size(points), COUNT / 2);
    for (size_t i = 0; i < COUNT / 2; i++) {
        const json_int_t id = json_integer_value(json_object_get(json_array_get(points, i), "id"));
        assert_true(id >= 0 && id < COUNT && id % 2 == 0 && !seen[id]);
        seen[id] = true;
    }
    json_decref(result);
    /* small samples reach every point */
    size_t reached = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 2000 && reached < COUNT; i++) {
        result = call_result_of(&server, "POST", QUERY,
                                "{\"query\":{\"sample\":\"random\"},\"limit\":2}");
        points = json_object_get(result, "points");
        assert_int_equal(json_array_size(points), 2);
        const json_int_t id = json_integer_value(json_object_get(json_array_get(points, 1), "id"));
        reached += !seen[id];
        seen[id] = true;
        json_decref(result);
    }
    assert_int_equal(reached, COUNT);
}

/* Ids of another collection are looked up there and leave nothing out here. */
static void test_lookup(void **state)
{
    (void)state;
    expect_result(&server, "PUT", "/collections/others",
                  "{\"vectors\":{\"size\":4,\"distance\":\"Euclid\"}}", "true");
    struct body_text text;
    text_open(&text);
    fputs("{\"points\":[{\"id\":7,\"vector\":", text.out);
    put_floats(text.out, vectors[1], DIM);
    fputs("}]}", text.out);
    char *body = text_of(&text);
    json_decref(call_result_of(&server, "PUT", "/collections/others/points?wait=true", body));
    free(body);
    struct ranking wanted = {.count = 0};
    for (unsigned i = 0; i < COUNT; i++)
        wanted.items[wanted.count++] = (struct ranked){i, dot(i, 1)};
    rank_sort(&wanted, COUNT);
    expect_ranking("{\"query\":7,\"limit\":60,\"lookup_from\":{\"collection\":\"others\"}}",
                   &wanted, 0);
    expect_ranking("{\"query\":{\"recommend\":{\"positive\":[7,7]}},\"limit\":60,\"lookup_from\":{"
                   "\"collection\":\"others\"}}",
                   &wanted, 0);
    const struct ranking own = nearest(1, 1, 10);
    expect_ranking("{\"query\":1,\"lookup_from\":{\"collection\":\"points\"}}", &own, 0);
    expect_error(&server, "POST", QUERY,
                 "{\"query\":1,\"lookup_from\":{\"collection\":\"others\"}}", 404,
                 "Not found: No point with id 1 found");
    expect_result(&server, "PUT", "/collections/narrow",
                  "{\"vectors\":{\"size\":1,\"distance\":\"Dot\"}}", "true");
    json_decref(call_result_of(&server, "PUT", "/collections/narrow/points?wait=true",
                               "{\"points\":[{\"id\":1,\"vector\":[1]}]}"));
    expect_error(&server, "POST", QUERY,
                 "{\"query\":1,\"lookup_from\":{\"collection\":\"narrow\"}}", 400,
                 "Wrong input: Vector dimension error: expected dim: 4, got 1");
}

static int setup(void **state)
{
    (void)state;
    struct body_text text;
    fixture_prepare(&server);
    fixture_start(&server);
    expect_result(&server, "PUT", "/collections/points",
                  "{\"vectors\":{\"size\":4,\"distance\":\"Dot\"}}", "true");
    text_open(&text);
    fputs("{\"points\":[", text.out);
    for (unsigned i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < DIM; j++)
            vectors[i][j] = random_float();
        fprintf(text.out, "%s{\"id\":%u,\"payload\":{\"half\":%s,\"third\":%s", i ? "," : "", i,
                i % 2 == 0 ? "true" : "false", i % 3 == 0 ? "true" : "false");
        if (i % 3 != 0)
            fprintf(text.out, ",\"deep\":{\"price\":%u}", i);
        fputs("},\"vector\":", text.out);
        put_floats(text.out, vectors[i], DIM);
        fputs("}", text.out);
    }
    fputs("]}", text.out);
    char *body = text_of(&text);
    json_decref(call_result_of(&server, "PUT", "/collections/points/points?wait=true", body));
    free(body);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&server);
    fixture_release(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rrf),       cmocka_unit_test(test_dbsf),
        cmocka_unit_test(test_rescoring), cmocka_unit_test(test_filters_go_down),
        cmocka_unit_test(test_formula),   cmocka_unit_test(test_recommend_and_discover),
        cmocka_unit_test(test_mmr),       cmocka_unit_test(test_sample),
        cmocka_unit_test(test_lookup),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
