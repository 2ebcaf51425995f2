/* Queries over HTTP: answers against a plain scan, forms, and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

enum { COUNT = 300, DIM = 40 };
static float vectors[COUNT][DIM];

static uint32_t random_state = 1;
static float random_float(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(int32_t)(random_state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

/* Points 0..COUNT-1 in a collection of this distance, named like it. */
static void fill_collection(const char *distance)
{
    char path[128], body[128];
    snprintf(path, sizeof path, "/collections/%s", distance);
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":%d,\"distance\":\"%s\"}}", DIM, distance);
    expect_result(&server, "PUT", path, body, "true");
    struct body_text points;
    text_open(&points);
    fputs("{\"points\":[", points.out);
    for (unsigned i = 0; i < COUNT; i++) {
        fprintf(points.out, "%s{\"id\":%u,\"payload\":{\"n\":%u},\"vector\":", i ? "," : "", i, i);
        put_floats(points.out, vectors[i], DIM);
        fputs("}", points.out);
    }
    fputs("]}", points.out);
    char *text = text_of(&points);
    snprintf(path, sizeof path, "/collections/%s/points?wait=true", distance);
    json_decref(call_result_of(&server, "PUT", path, text));
    free(text);
}

/* ---- the model ---- */

struct scored {
    double score;
    unsigned id;
};

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double model_score(const char *distance, const float *q, const float *x)
{
    double sum = 0;
    if (distance[0] == 'C')
        return dot(q, x) / sqrt(dot(q, q) * dot(x, x));
    if (distance[0] == 'D')
        return dot(q, x);
    for (size_t i = 0; i < DIM; i++) {
        double d = (double)q[i] - (double)x[i];
        sum += distance[0] == 'E' ? d * d : fabs(d);
    }
    return distance[0] == 'E' ? sqrt(sum) : sum;
}

static bool larger_is_better(const char *distance)
{
    return distance[0] == 'C' || distance[0] == 'D';
}

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score < y->score ? -1 : x->score > y->score;
}

static void model(const char *distance, const float *q, struct scored *out)
{
    double sign = larger_is_better(distance) ? -1 : 1;
    for (unsigned i = 0; i < COUNT; i++)
        out[i] = (struct scored){sign * model_score(distance, q, vectors[i]), i};
    qsort(out, COUNT, sizeof out[0], by_score);
    for (unsigned i = 0; i < COUNT; i++)
        out[i].score *= sign;
}

static json_t *query(const char *distance, const float *q, const char *more)
{
    char path[128];
    struct body_text body;
    snprintf(path, sizeof path, "/collections/%s/points/query", distance);
    text_open(&body);
    fputs("{\"query\":", body.out);
    put_floats(body.out, q, DIM);
    fprintf(body.out, "%s}", more);
    char *text = text_of(&body);
    json_t *result = call_result_of(&server, "POST", path, text);
    free(text);
    return result;
}

static void expect_hits(json_t *result, const struct scored *wanted, size_t count)
{
    json_t *points = json_object_get(result, "points");
    assert_int_equal(json_array_size(points), count);
    for (size_t i = 0; i < count; i++) {
        json_t *point = json_array_get(points, i);
        if (json_integer_value(json_object_get(point, "id")) != wanted[i].id)
            fail_msg("hit %zu is %lld with %.9g, wanted %u with %.9g, then %u with %.9g", i,
                     json_integer_value(json_object_get(point, "id")),
                     json_number_value(json_object_get(point, "score")), wanted[i].id,
                     wanted[i].score, wanted[i + 1].id, wanted[i + 1].score);
        assert_true(json_is_integer(json_object_get(point, "version")));
        double score = json_number_value(json_object_get(point, "score"));
        assert_true(fabs(score - wanted[i].score) < 1e-5 * (fabs(wanted[i].score) + DIM));
    }
    json_decref(result);
}

/* Without `exact` a hit may be missed now and then: count those found; the scores of what is
 * returned are right all the same. */
struct tally {
    size_t found, wanted;
};

static void tally_hits(json_t *result, const struct scored *wanted, size_t count,
                       struct tally *tally)
{
    json_t *points = json_object_get(result, "points");
    assert_int_equal(json_array_size(points), count);
    for (size_t i = 0; i < count; i++) {
        json_t *point = json_array_get(points, i);
        json_int_t id = json_integer_value(json_object_get(point, "id"));
        double score = json_number_value(json_object_get(point, "score"));
        for (size_t j = 0; j < COUNT; j++) {
            if (wanted[j].id != id)
                continue;
            assert_true(fabs(score - wanted[j].score) < 1e-5 * (fabs(wanted[j].score) + DIM));
            tally->found += j < count;
        }
    }
    tally->wanted += count;
    json_decref(result);
}

static const char *const distances[] = {"Cosine", "Dot", "Euclid", "Manhattan"};

/* ---- tests ---- */

#define EXACT ",\"params\":{\"exact\":true}"

static void random_query(float *q)
{
    for (size_t i = 0; i < DIM; i++)
        q[i] = random_float();
}

static void test_exact_answers_are_those_of_a_scan(void **state)
{
    (void)state;
    struct scored wanted[COUNT];
    for (size_t d = 0; d < 4; d++) {
        for (unsigned n = 0; n < 10; n++) {
            float q[DIM];
            random_query(q);
            model(distances[d], q, wanted);
            expect_hits(query(distances[d], q, EXACT), wanted, 10);
            expect_hits(query(distances[d], q, EXACT ",\"limit\":1"), wanted, 1);
            expect_hits(query(distances[d], q, EXACT ",\"limit\":25,\"offset\":7"), wanted + 7, 25);
            expect_hits(query(distances[d], q, EXACT ",\"limit\":999999999,\"offset\":290"),
                        wanted + 290, COUNT - 290);
            expect_hits(query(distances[d], q, ",\"offset\":18446744073709551615"), wanted, 0);
            expect_hits(query(distances[d], q,
                              ",\"params\":{\"exact\":true,\"hnsw_ef\":1,\"indexed_only\":true,"
                              "\"acorn\":{\"enable\":true},\"unknown\":[],\"quantization\":{"
                              "\"ignore\":false,\"rescore\":false,\"oversampling\":2.5}},\"using\":"
                              "\"\",\"filter\":{},\"prefetch\":[],\"shard_key\":null,\"any\":1"),
                        wanted, 10);
            expect_hits(query(distances[d], q, ",\"params\":{\"quantization\":{\"ignore\":true}}"),
                        wanted, 10);
        }
    }
}

/* ?recall=1 is a scan too. */
static void test_recall_one_is_exact(void **state)
{
    (void)state;
    struct scored wanted[COUNT];
    for (unsigned n = 0; n < 30; n++) {
        struct body_text text;
        text_open(&text);
        fputs("{\"query\":", text.out);
        float q[DIM];
        random_query(q);
        put_floats(text.out, q, DIM);
        fputs("}", text.out);
        char *body = text_of(&text);
        model("Euclid", q, wanted);
        expect_hits(
            call_result_of(&server, "POST", "/collections/Euclid/points/query?recall=1.0", body),
            wanted, 10);
        json_decref(
            call_result_of(&server, "POST", "/collections/Euclid/points/query?recall=0.5", body));
        free(body);
    }
}

static void test_default_answers(void **state)
{
    (void)state;
    struct scored wanted[COUNT];
    for (size_t d = 0; d < 4; d++) {
        struct tally tally = {0};
        for (unsigned n = 0; n < 100; n++) {
            float q[DIM];
            random_query(q);
            model(distances[d], q, wanted);
            tally_hits(query(distances[d], q, ""), wanted, 10, &tally);
        }
        assert_true((double)tally.found >= 0.98 * (double)tally.wanted);
        /* all points asked for: none is missed */
        tally = (struct tally){0};
        model(distances[d], vectors[0], wanted);
        tally_hits(query(distances[d], vectors[0], ",\"limit\":999999999"), wanted, COUNT, &tally);
        assert_int_equal(tally.found, COUNT);
    }
}

static void test_threshold_is_strict(void **state)
{
    (void)state;
    struct scored wanted[COUNT];
    for (size_t d = 0; d < 4; d++) {
        model(distances[d], vectors[5], wanted);
        double between = (wanted[19].score + wanted[20].score) / 2;
        char more[128];
        snprintf(more, sizeof more, EXACT ",\"limit\":50,\"score_threshold\":%.9g", between);
        expect_hits(query(distances[d], vectors[5], more), wanted, 20);
    }
    /* the best score of all is not better than itself */
    json_t *all = query("Euclid", vectors[5], ",\"limit\":1,\"score_threshold\":0");
    assert_int_equal(json_array_size(json_object_get(all, "points")), 0);
    json_decref(all);
}

static void test_by_id(void **state)
{
    (void)state;
    struct scored wanted[COUNT], rest[COUNT];
    for (size_t d = 0; d < 4; d++) {
        char path[128], body[64];
        size_t count = 0;
        snprintf(path, sizeof path, "/collections/%s/points/query", distances[d]);
        snprintf(body, sizeof body, "{\"query\":17" EXACT "}");
        model(distances[d], vectors[17], wanted);
        for (size_t i = 0; i < COUNT; i++) {
            if (wanted[i].id != 17)
                rest[count++] = wanted[i];
        }
        expect_hits(call_result_of(&server, "POST", path, body), rest, 10);
        expect_hits(call_result_of(&server, "POST", path, "{\"query\":{\"nearest\":17}" EXACT "}"),
                    rest, 10);
    }
    expect_error(&server, "POST", "/collections/Dot/points/query", "{\"query\":999}", 404,
                 "Not found: No point with id 999 found");
    expect_error(&server, "POST", "/collections/Dot/points/query",
                 "{\"query\":\"550e8400-e29b-41d4-a716-446655440000\"}", 404,
                 "Not found: No point with id 550e8400-e29b-41d4-a716-446655440000 found");
}

static void test_without_a_query(void **state)
{
    (void)state;
    const char *path = "/collections/Dot/points/query";
    json_t *result = call_result_of(&server, "POST", path, "{\"limit\":3,\"offset\":5}");
    json_t *points = json_object_get(result, "points");
    assert_int_equal(json_array_size(points), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *point = json_array_get(points, i);
        assert_int_equal(json_integer_value(json_object_get(point, "id")), 5 + (int)i);
        assert_true(json_number_value(json_object_get(point, "score")) == 1);
        assert_null(json_object_get(point, "payload"));
        assert_null(json_object_get(point, "vector"));
    }
    json_decref(result);
    result = call_result_of(&server, "POST", path, "{\"limit\":999999999,\"query\":null}");
    assert_int_equal(json_array_size(json_object_get(result, "points")), COUNT);
    json_decref(result);
    expect_result(&server, "POST", path, "{\"offset\":300}", "{\"points\":[]}");
    result = call_result_of(&server, "POST", path, "");
    assert_int_equal(json_array_size(json_object_get(result, "points")), 10);
    json_decref(result);
}

static void test_selectors(void **state)
{
    (void)state;
    json_t *result =
        query("Dot", vectors[3], ",\"limit\":2,\"with_payload\":[\"n\"],\"with_vectors\":[\"\"]");
    for (size_t i = 0; i < 2; i++) {
        json_t *point = json_array_get(json_object_get(result, "points"), i);
        json_int_t id = json_integer_value(json_object_get(point, "id"));
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(point, "payload"), "n")), id);
        json_t *vector = json_object_get(point, "vector");
        assert_int_equal(json_array_size(vector), DIM);
        for (size_t j = 0; j < DIM; j++)
            assert_true((float)json_number_value(json_array_get(vector, j)) == vectors[id][j]);
    }
    json_decref(result);
}

static void test_batch(void **state)
{
    (void)state;
    const char *path = "/collections/Dot/points/query/batch";
    json_t *result =
        call_result_of(&server, "POST", path,
                       "{\"searches\":[{\"query\":1,\"limit\":2},{\"limit\":1},{\"query\":2}]}");
    assert_int_equal(json_array_size(result), 3);
    const size_t sizes[] = {2, 1, 10};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(json_array_size(json_object_get(json_array_get(result, i), "points")),
                         sizes[i]);
    json_decref(result);
    expect_result(&server, "POST", path, "{\"searches\":[]}", "[]");
    /* all or nothing */
    expect_error(&server, "POST", path, "{\"searches\":[{\"query\":1},{\"query\":999}]}", 404,
                 "Not found: No point with id 999 found");
    expect_error(
        &server, "POST", path, "{\"searches\":[{\"query\":1},{\"limit\":0}]}", 422,
        "Validation error in JSON body: [searches[1].internal.limit: value 0 invalid, must "
        "be 1 or larger]");
    expect_error(&server, "POST", path, "{\"searches\":[{\"query\":1},{\"query\":[1]}]}", 400,
                 "Wrong input: Vector dimension error: expected dim: 40, got 1");
    expect_error(&server, "POST", path, "{}", 400,
                 "Format error in JSON body: missing field `searches`…");
    expect_error(&server, "POST", path, "{\"searches\":{}}", 400,
                 "Format error in JSON body: searches: expected an array of queries…");
    expect_error(&server, "POST", path, "{\"searches\":[3]}", 400,
                 "Format error in JSON body: expected a query object…");
}

struct bad {
    const char *body;
    int status;
    const char *text;
};

#define UNBUILT(field) 400, "Bad request: `" field "` is not supported yet"

static void test_refusals(void **state)
{
    (void)state;
    static const struct bad table[] = {
        {"{\"limit\":0}", 422,
         "Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or larger]"},
        {"{\"query\":1,\"params\":{\"hnsw_ef\":0}}", 422,
         "Validation error in JSON body: [internal.params.hnsw_ef: value 0 invalid, must be 1 or "
         "larger]"},
        {"{\"query\":1,\"params\":{\"quantization\":{\"oversampling\":0.5}}}", 422,
         "Validation error in JSON body: [internal.params.quantization.oversampling: value 0.5 "
         "invalid, must be 1.0 or larger]"},
        {"{\"query\":1,\"params\":{\"exact\":1}}", 400,
         "Format error in JSON body: params.exact: expected a boolean…"},
        {"{\"query\":1,\"params\":{\"quantization\":{\"ignore\":0}}}", 400,
         "Format error in JSON body: params.quantization.ignore: expected a boolean…"},
        {"{\"query\":1,\"params\":[]}", 400,
         "Format error in JSON body: params: expected an object…"},
        {"{\"query\":1,\"params\":{\"idf\":{}}}", UNBUILT("params.idf")},
        {"{\"query\":1,\"limit\":-1}", 400, "Format error in JSON body: …"},
        {"{\"query\":1,\"offset\":\"a\"}", 400,
         "Format error in JSON body: offset: expected an unsigned integer…"},
        {"{\"score_threshold\":0.5}", 400,
         "Bad request: A query is needed to use the score_threshold. Can't have score_threshold "
         "without defining a query."},
        {"{\"prefetch\":{\"filter\":{},\"limit\":999999999}}", 400,
         "Bad request: A query is needed to merge the prefetches. Can't have prefetches without "
         "defining a query."},
        {"{\"prefetch\":{\"prefetch\":{}},\"query\":1}", 400,
         "Bad request: A query is needed to merge the prefetches. Can't have prefetches without "
         "defining a query."},
        {"{\"prefetch\":{\"score_threshold\":1},\"query\":1}", 400,
         "Bad request: A query is needed to use the score_threshold. Can't have score_threshold "
         "without defining a query."},
        {"{\"prefetch\":[{\"limit\":0}],\"query\":1}", 422,
         "Validation error in JSON body: [internal.prefetch[0].limit: value 0 invalid, must be 1 "
         "or larger]"},
        {"{\"prefetch\":[{},{\"prefetch\":[{\"query\":[1]}],\"query\":2}],\"query\":1}", 400,
         "Wrong input: Vector dimension error: expected dim: 40, got 1"},
        {"{\"prefetch\":1,\"query\":1}", 400,
         "Format error in JSON body: prefetch: expected an object…"},
        {"{\"query\":{\"recommend\":{}}}", 422,
         "Validation error in JSON body: [internal.recommend: at least one positive or negative "
         "example is required]"},
        {"{\"query\":{\"recommend\":{\"negative\":[1]}}}", 400,
         "Bad request: Positive vectors should not be empty with `average` strategy"},
        {"{\"query\":{\"recommend\":{\"positive\":1}}}", 400,
         "Format error in JSON body: query.recommend.positive: expected an array of vectors or "
         "ids…"},
        {"{\"query\":{\"recommend\":{\"positive\":[1],\"strategy\":\"best\"}}}", 400,
         "Format error in JSON body: strategy: unknown variant `best`…"},
        {"{\"query\":{\"recommend\":{\"positive\":[1,999]}}}", 404,
         "Not found: No point with id 999 found"},
        {"{\"query\":{\"discover\":{}}}", 400,
         "Format error in JSON body: query.discover: missing field `target`…"},
        {"{\"query\":{\"discover\":{\"target\":1,\"context\":{\"positive\":2}}}}", 400,
         "Format error in JSON body: context: a pair has a `positive` and a `negative`…"},
        {"{\"query\":{\"context\":[]}}", 400,
         "Bad request: context needs at least one pair of examples"},
        {"{\"query\":{\"order_by\":\"a\"}}", 400,
         "Bad request: No range index for `order_by` key: `a`…"},
        {"{\"query\":{\"order_by\":{\"direction\":\"asc\"}}}", 400,
         "Format error in JSON body: order_by: missing field `key`…"},
        {"{\"query\":{\"order_by\":{\"key\":\"a\",\"direction\":\"up\"}}}", 400,
         "Format error in JSON body: order_by.direction: unknown variant `up`…"},
        {"{\"query\":{\"order_by\":\"a\"},\"score_threshold\":1}", 400,
         "Bad request: Can't use score_threshold with an order_by query."},
        {"{\"query\":{\"fusion\":\"rrf\"},\"prefetch\":[{}],\"using\":\"x\"}", 400,
         "Bad request: Fusion queries cannot be combined with the 'using' field."},
        {"{\"query\":{\"fusion\":\"rrf\"}}", 400,
         "Bad request: cannot apply Fusion without prefetches"},
        {"{\"query\":{\"fusion\":\"sum\"},\"prefetch\":[{}]}", 400,
         "Format error in JSON body: query.fusion: unknown variant `sum`…"},
        {"{\"query\":{\"rrf\":{\"k\":0}},\"prefetch\":[{}]}", 422,
         "Validation error in JSON body: [internal.query.rrf.k: value 0 invalid, must be 1 or "
         "larger]"},
        {"{\"query\":{\"rrf\":{\"weights\":[1,2]}},\"prefetch\":[{}]}", 400,
         "Bad request: RRF weights must be as many as prefetches: 2 weights, 1 prefetches"},
        {"{\"query\":{\"formula\":1}}", 400,
         "Bad request: cannot apply Formula without prefetches"},
        {"{\"query\":{\"formula\":true},\"prefetch\":{}}", 400,
         "Format error in JSON body: query.formula: expected a number, a variable, a condition or "
         "an expression…"},
        {"{\"query\":{\"formula\":\"$score[a]\"},\"prefetch\":{}}", 400,
         "Format error in JSON body: query.formula: invalid score pattern `$score[a]`…"},
        {"{\"query\":{\"formula\":\"a..b\"},\"prefetch\":{}}", 400,
         "Format error in JSON body: query.formula: `a..b` is not a path…"},
        {"{\"query\":{\"formula\":{\"div\":{\"left\":1}}},\"prefetch\":{}}", 400,
         "Format error in JSON body: query.formula: `div` needs `left` and `right`…"},
        {"{\"query\":{\"formula\":{\"cosine\":1}},\"prefetch\":{}}", 400,
         "Format error in JSON body: …"},
        {"{\"query\":{\"formula\":{\"exp_decay\":{\"x\":1,\"scale\":0}}},\"prefetch\":{}}", 400,
         "Wrong input: Scale must be non-zero positive, got 0"},
        {"{\"query\":{\"formula\":{\"gauss_decay\":{\"x\":1,\"midpoint\":1}}},\"prefetch\":{}}",
         400, "Wrong input: Decay midpoint should be in the range (0.0, 1.0), got 1"},
        {"{\"query\":{\"formula\":\"none\"},\"prefetch\":{}}", 400,
         "Wrong input: No value found for none in the payload nor the formula defaults"},
        {"{\"query\":{\"formula\":{\"div\":{\"left\":1,\"right\":0}}},\"prefetch\":{}}", 400,
         "Wrong input: The expression 1/0 produced a non-finite number"},
        {"{\"query\":{\"sample\":\"first\"}}", 400,
         "Format error in JSON body: query.sample: unknown variant `first`…"},
        {"{\"query\":{\"relevance_feedback\":{}}}", 400,
         "Bad request: `query.relevance_feedback` is not supported yet"},
        {"{\"query\":{\"nearest\":1,\"mmr\":{\"diversity\":1.5}}}", 422,
         "Validation error in JSON body: [internal.query.mmr.diversity: value 1.5 invalid, must be "
         "from 0.0 to 1.0]"},
        {"{\"query\":{\"nearest\":1,\"mmr\":{\"candidates_limit\":16385}}}", 422,
         "Validation error in JSON body: [internal.query.mmr.candidates_limit: value 16385 "
         "invalid, must be from 0 to 16384]"},
        {"{\"query\":1,\"lookup_from\":{\"collection\":\"x\"}}", 404,
         "Not found: Collection x not found"},
        {"{\"query\":1,\"lookup_from\":{\"collection\":\"Dot\",\"vector\":\"x\"}}", 400,
         "Wrong input: Not existing vector name error: x"},
        {"{\"query\":1,\"lookup_from\":{}}", 400,
         "Format error in JSON body: lookup_from: missing field `collection`…"},
        {"{\"query\":{\"text\":\"a\",\"model\":\"b\"}}", 400,
         "Bad request: InferenceService is not initialized…"},
        {"{\"query\":{\"nearest\":{\"text\":\"a\",\"model\":\"b\"}}}", 400,
         "Bad request: InferenceService is not initialized…"},
        {"{\"query\":{\"nearest\":{\"indices\":[1,1],\"values\":[1,2]}}}", 422,
         "Validation error in JSON body: [internal.query.indices: Validation error: must be unique "
         "[{}]]"},
        {"{\"query\":{\"nearest\":{\"indices\":[1],\"values\":[1,2]}}}", 422,
         "Validation error in JSON body: [internal.query.values: Validation error: must be the "
         "same length as indices [{}]]"},
        {"{\"query\":1,\"shard_key\":\"x\"}", UNBUILT("shard_key")},
        {"{\"query\":1,\"filter\":{\"must\":[{\"has_id\":1}]}}", 400,
         "Format error in JSON body: data did not match any variant of untagged enum Condition: "
         "filter.must[0].has_id: expected a list"},
        {"{\"query\":1,\"using\":\"image\"}", 400,
         "Wrong input: Not existing vector name error: image"},
        {"{\"query\":{\"nearest\":{\"indices\":[1],\"values\":[1]}}}", 400,
         "Wrong input: Conversion between sparse and regular vectors failed"},
        {"{\"query\":[[1,2]]}", 400,
         "Wrong input: Conversion between multi and regular vectors failed"},
        {"{\"query\":[1,2]}", 400, "Wrong input: Vector dimension error: expected dim: 40, got 2"},
        {"{\"query\":{\"nearest\":[]}}", 400,
         "Wrong input: Vector dimension error: expected dim: 40, got 0"},
        {"{\"query\":{}}", 400, "Format error in JSON body: query: expected a vector, an id or…"},
        {"{\"query\":{\"closest\":[1]}}", 400,
         "Format error in JSON body: query: unknown variant `closest`…"},
        {"{\"query\":\"abc\"}", 400,
         "Format error in JSON body: value abc is not a valid point ID, valid values are either an "
         "unsigned integer or a UUID…"},
        {"{\"query\":true}", 400, "Format error in JSON body: value true is not a valid point ID…"},
        {"{\"query\":1,\"query\":2}", 400, "Format error in JSON body: duplicate field `query`…"},
        {"{\"query\":1", 400, "Format error in JSON body: …"},
        {"{\"query\":1}}", 400, "Format error in JSON body: …"},
        {"{\"query\":1,\"with_payload\":{\"only\":[]}}", 400,
         "Format error in JSON body: with_payload: …"},
        {"{\"query\":1,\"with_vector\":[\"x\"]}", 400,
         "Wrong input: Not existing vector name error: x"},
        {"7", 400, "Format error in JSON body: expected a query object…"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        expect_error(&server, "POST", "/collections/Dot/points/query", table[i].body,
                     table[i].status, table[i].text);
    expect_error(&server, "POST", "/collections/none/points/query", "{}", 404,
                 "Not found: Collection `none` doesn't exist!");
    expect_error(&server, "POST", "/collections/none/points/query/batch", "{\"searches\":[]}", 404,
                 "Not found: Collection `none` doesn't exist!");
    static const char *const recalls[] = {"0.4", "1.1", "x", "", "nan", "0.9x"};
    for (size_t i = 0; i < sizeof recalls / sizeof recalls[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/collections/Dot/points/query?recall=%s", recalls[i]);
        expect_error(&server, "POST", path, "{\"query\":1}", i < 2 ? 422 : 400,
                     i < 2 ? "Validation error…"
                           : "Deserialize error in query parameters: recall: expected a number");
    }
    expect_error(&server, "POST", "/collections/Dot/points/query?timeout=0", "{\"query\":1}", 422,
                 "Validation error…");
    json_decref(
        call_result_of(&server, "POST", "/collections/Dot/points/query?other=1", "{\"query\":1}"));
}

/* What an answer cost stands in a header. */
static void test_server_timing(void **state)
{
    (void)state;
    struct reply reply;
    char value[512];
    double wait, read, search, write;
    unsigned long long partitions, codes, reranked, exact;
    static const char body[] = "{\"query\":1,\"params\":{\"exact\":true}}";
    client_call(server.port, "POST", "/collections/Dot/points/query", JSON_HEADER, body,
                sizeof body - 1, &reply);
    assert_int_equal(reply.status, 200);
    (void)reply_header(&reply, "Server-Timing", value, sizeof value);
    assert_int_equal(sscanf(value,
                            "wait;dur=%lf, read;dur=%lf, search;dur=%lf, write;dur=%lf, "
                            "partitions;desc=\"%llu\", codes;desc=\"%llu\", "
                            "reranked;desc=\"%llu\", exact;desc=\"%llu\"",
                            &wait, &read, &search, &write, &partitions, &codes, &reranked, &exact),
                     8);
    assert_true(wait >= 0 && read >= 0 && search > 0 && write >= 0);
    assert_int_equal(codes, 0);
    assert_int_equal(exact, COUNT - 1);
    reply_release(&reply);
}

static void test_points_without_vectors(void **state)
{
    (void)state;
    expect_result(&server, "PUT", "/collections/mixed",
                  "{\"vectors\":{\"size\":1,\"distance\":\"Dot\"}}", "true");
    json_decref(
        call_result_of(&server, "PUT", "/collections/mixed/points?wait=true",
                       "{\"points\":[{\"id\":1,\"vector\":{}},{\"id\":2,\"vector\":[2]}]}"));
    json_t *result =
        call_result_of(&server, "POST", "/collections/mixed/points/query", "{\"query\":[1]}");
    assert_int_equal(json_array_size(json_object_get(result, "points")), 1);
    json_decref(result);
    expect_error(&server, "POST", "/collections/mixed/points/query", "{\"query\":1}", 404,
                 "Not found: No vector of the point with id 1 found");
    expect_result(&server, "PUT", "/collections/bare", "{}", "true");
    expect_error(&server, "POST", "/collections/bare/points/query", "{\"query\":[1]}", 400,
                 "Wrong input: Not existing vector name error: ");
    expect_error(&server, "POST", "/collections/bare/points/query", "{\"query\":1}", 400,
                 "Wrong input: Not existing vector name error: ");
}

/* A deleted point is not found, a replaced one by its new vector only. */
static void test_after_changes(void **state)
{
    (void)state;
    expect_result(&server, "PUT", "/collections/changes",
                  "{\"vectors\":{\"size\":1,\"distance\":\"Euclid\"}}", "true");
    const char *path = "/collections/changes/points/query";
    json_decref(call_result_of(&server, "PUT", "/collections/changes/points?wait=true",
                               "{\"batch\":{\"ids\":[1,2,3],\"vectors\":[[1],[2],[3]]}}"));
    json_decref(call_result_of(&server, "PUT", "/collections/changes/points?wait=true",
                               "{\"points\":[{\"id\":1,\"vector\":[10]}]}"));
    json_decref(call_result_of(&server, "POST", "/collections/changes/points/delete?wait=true",
                               "{\"points\":[2]}"));
    json_t *result = call_result_of(&server, "POST", path, "{\"query\":[1]}");
    json_t *points = json_object_get(result, "points");
    assert_int_equal(json_array_size(points), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(points, 0), "id")), 3);
    assert_true(json_number_value(json_object_get(json_array_get(points, 0), "score")) == 2.0);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(points, 1), "id")), 1);
    assert_true(json_number_value(json_object_get(json_array_get(points, 1), "score")) == 9.0);
    json_decref(result);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < DIM; j++)
            vectors[i][j] = random_float();
    }
    fixture_prepare(&server);
    fixture_start(&server);
    for (size_t d = 0; d < 4; d++)
        fill_collection(distances[d]);
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
        cmocka_unit_test(test_exact_answers_are_those_of_a_scan),
        cmocka_unit_test(test_recall_one_is_exact),
        cmocka_unit_test(test_default_answers),
        cmocka_unit_test(test_threshold_is_strict),
        cmocka_unit_test(test_by_id),
        cmocka_unit_test(test_without_a_query),
        cmocka_unit_test(test_selectors),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_server_timing),
        cmocka_unit_test(test_points_without_vectors),
        cmocka_unit_test(test_after_changes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
