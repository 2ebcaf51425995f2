/* Groups, the distance matrix, and the routes from before /points/query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

#define P "/collections/points/points"

/* ---- groups ---- */

static void test_groups(void **state)
{
    (void)state;
    /* by nearness to [10]: 9 a, 8 a+b, 7 b, 6 a, 5 nothing, 4 true (in no group), 3 [1,true] (in
     * none), 2 1, 1 [1,1] (once) */
    expect_result(&server, "POST", P "/query/groups",
                  "{\"query\":[10],\"group_by\":\"g\",\"group_size\":2}",
                  "{\"groups\":[{\"id\":\"a\",\"hits\":[{\"id\":9,\"version\":1,\"score\":1.0},"
                  "{\"id\":8,\"version\":1,\"score\":2.0}]},"
                  "{\"id\":\"b\",\"hits\":[{\"id\":8,\"version\":1,\"score\":2.0},"
                  "{\"id\":7,\"version\":1,\"score\":3.0}]},"
                  "{\"id\":1,\"hits\":[{\"id\":2,\"version\":1,\"score\":8.0},"
                  "{\"id\":1,\"version\":1,\"score\":9.0}]}]}");
    expect_result(
        &server, "POST", P "/query/groups",
        "{\"group_by\":\"g\",\"group_size\":1,\"limit\":1,\"query\":[10]}",
        "{\"groups\":[{\"id\":\"a\",\"hits\":[{\"id\":9,\"version\":1,\"score\":1.0}]}]}");
    /* a thousand million groups of a thousand million hits allocate nothing by the number */
    json_t *result = call_result_of(&server, "POST", P "/query/groups",
                                    "{\"query\":[10],\"group_by\":\"g\",\"group_size\":999999999,"
                                    "\"limit\":999999999,\"with_payload\":true}");
    json_t *groups = json_object_get(result, "groups");
    assert_int_equal(json_array_size(groups), 3);
    assert_int_equal(json_array_size(json_object_get(json_array_get(groups, 0), "hits")), 3);
    json_decref(result);
    expect_result(&server, "POST", P "/query/groups", "{\"query\":[10],\"group_by\":\"none\"}",
                  "{\"groups\":[]}");
    expect_error(&server, "POST", P "/query/groups", "{\"query\":[10]}", 400,
                 "Format error in JSON body: missing field `group_by`…");
    expect_error(&server, "POST", P "/query/groups", "{\"query\":[10],\"group_by\":\"a..b\"}", 400,
                 "Format error in JSON body: group_by: `a..b` is not a path…");
    expect_error(&server, "POST", P "/query/groups",
                 "{\"query\":[10],\"group_by\":\"g\",\"group_size\":0}", 422,
                 "Validation error in JSON body: [internal.group_size: value 0 invalid, must be 1 "
                 "or larger]");
}

static void test_group_lookup(void **state)
{
    (void)state;
    expect_result(&server, "POST", P "/query/groups",
                  "{\"query\":[3],\"group_by\":\"g\",\"group_size\":1,\"limit\":2,\"with_lookup\":"
                  "{\"with_payload\":[\"name\"],\"collection\":\"names\"}}",
                  "{\"groups\":[{\"id\":1,\"hits\":[{\"id\":2,\"version\":1,\"score\":1.0}],"
                  "\"lookup\":{\"id\":1,\"payload\":{\"name\":\"one\"}}},"
                  "{\"id\":\"a\",\"hits\":[{\"id\":6,\"version\":1,\"score\":3.0}]}]}");
    json_t *result = call_result_of(&server, "POST", P "/query/groups",
                                    "{\"query\":[3],\"group_by\":\"g\",\"with_lookup\":\"names\"}");
    json_t *first = json_array_get(json_object_get(result, "groups"), 0);
    json_t *lookup = json_object_get(first, "lookup");
    assert_int_equal(json_object_size(json_object_get(lookup, "payload")), 2);
    assert_null(json_object_get(lookup, "vector"));
    json_decref(result);
    /* the searched collection itself is as good as another */
    result = call_result_of(&server, "POST", P "/query/groups",
                            "{\"query\":[3],\"group_by\":\"g\",\"with_lookup\":{\"collection\":"
                            "\"points\",\"with_payload\":false,\"with_vectors\":true}}");
    first = json_array_get(json_object_get(result, "groups"), 0);
    lookup = json_object_get(first, "lookup");
    assert_int_equal(json_integer_value(json_object_get(lookup, "id")), 1);
    assert_int_equal(json_array_size(json_object_get(lookup, "vector")), 1);
    json_decref(result);
    expect_error(&server, "POST", P "/query/groups",
                 "{\"query\":[3],\"group_by\":\"g\",\"with_lookup\":\"none\"}", 404,
                 "Not found: Collection none not found");
    expect_error(&server, "POST", P "/query/groups",
                 "{\"query\":[3],\"group_by\":\"g\",\"with_lookup\":{\"with_payload\":true}}", 400,
                 "Format error in JSON body: with_lookup: missing field `collection`…");
}

/* ---- matrix ---- */

static void test_matrix(void **state)
{
    (void)state;
    const char *filter = "{\"sample\":999999999,\"limit\":2,\"filter\":{\"must\":{\"has_id\":"
                         "[1,2,4,50]}}}"; /* 50 has no vector */
    expect_result(&server, "POST", P "/search/matrix/pairs", filter,
                  "{\"pairs\":[{\"a\":1,\"b\":2,\"score\":1.0},{\"a\":1,\"b\":4,\"score\":3.0},"
                  "{\"a\":2,\"b\":1,\"score\":1.0},{\"a\":2,\"b\":4,\"score\":2.0},"
                  "{\"a\":4,\"b\":2,\"score\":2.0},{\"a\":4,\"b\":1,\"score\":3.0}]}");
    expect_result(&server, "POST", P "/search/matrix/offsets", filter,
                  "{\"offsets_row\":[0,0,1,1,2,2],\"offsets_col\":[1,2,0,2,1,0],"
                  "\"scores\":[1.0,3.0,1.0,2.0,2.0,3.0],\"ids\":[1,2,4]}");
    json_t *result = call_result_of(&server, "POST", P "/search/matrix/offsets", "{}");
    assert_int_equal(json_array_size(json_object_get(result, "ids")), 9);
    assert_int_equal(json_array_size(json_object_get(result, "scores")), 27);
    json_decref(result);
    /* one point makes no pair */
    expect_result(&server, "POST", P "/search/matrix/pairs",
                  "{\"filter\":{\"must\":{\"has_id\":[1]}}}", "{\"pairs\":[]}");
    expect_error(&server, "POST", P "/search/matrix/pairs", "{\"sample\":1}", 422,
                 "Validation error in JSON body: [sample: value 1 invalid, must be 2 or larger]");
    expect_error(&server, "POST", P "/search/matrix/pairs", "{\"limit\":0}", 422,
                 "Validation error in JSON body: [limit: value 0 invalid, must be 1 or larger]");
    expect_error(&server, "POST", P "/search/matrix/offsets", "{\"using\":\"x\"}", 400,
                 "Wrong input: Not existing vector name error: x");
}

/* ---- order_by and facets ---- */

/* Named "o" to be apart from the points of the other tests. */
#define O "/collections/o"

static void test_order_and_facet(void **state)
{
    (void)state;
    expect_result(&server, "PUT", O, "{\"vectors\":{\"size\":1,\"distance\":\"Dot\"}}", "true");
    json_decref(
        call_result_of(&server, "PUT", O "/points?wait=true",
                       "{\"points\":[{\"id\":1,\"vector\":[1],\"payload\":{\"n\":[3,-1,3]}},"
                       "{\"id\":2,\"vector\":[2],\"payload\":{\"n\":3}},"
                       "{\"id\":3,\"vector\":[3],\"payload\":{\"n\":\"x\"}},"
                       "{\"id\":4,\"vector\":[4],\"payload\":{\"n\":7}}]}"));
    expect_error(&server, "POST", O "/facet", "{\"key\":\"n\"}", 400,
                 "Bad request: No appropriate index for faceting: `n`…");
    json_decref(call_result_of(&server, "PUT", O "/index?wait=true",
                               "{\"field_name\":\"n\",\"field_schema\":\"integer\"}"));
    expect_result(&server, "POST", O "/facet", "{\"key\":\"n\",\"limit\":999999999}",
                  "{\"hits\":[{\"value\":3,\"count\":2},{\"value\":-1,\"count\":1},"
                  "{\"value\":7,\"count\":1}]}");
    expect_result(&server, "POST", O "/facet",
                  "{\"key\":\"n\",\"limit\":1,\"filter\":{\"must\":{\"has_id\":[4]}}}",
                  "{\"hits\":[{\"value\":7,\"count\":1}]}");
    /* once for every value; the other direction and a start that counts itself */
    expect_result(&server, "POST", O "/points/scroll",
                  "{\"order_by\":\"n\",\"limit\":1,\"with_payload\":false}",
                  "{\"points\":[{\"id\":1,\"order_value\":-1}],\"next_page_offset\":null}");
    expect_result(&server, "POST", O "/points/scroll",
                  "{\"order_by\":{\"key\":\"n\",\"direction\":\"desc\",\"start_from\":3},"
                  "\"limit\":999999999,\"with_payload\":false,\"filter\":{\"must\":{\"has_id\":[1,"
                  "4]}}}",
                  "{\"points\":[{\"id\":1,\"order_value\":3},{\"id\":1,\"order_value\":-1}],"
                  "\"next_page_offset\":null}");
    expect_error(&server, "POST", O "/points/scroll", "{\"order_by\":\"n\",\"offset\":1}", 400,
                 "Bad request: Cannot use an `offset` when using `order_by`…");
    /* over the union of prefetches, whose others are left out */
    expect_result(&server, "POST", O "/points/query",
                  "{\"prefetch\":{\"query\":[1],\"limit\":3},\"query\":{\"order_by\":{\"key\":"
                  "\"n\",\"direction\":\"desc\"}}}",
                  "{\"points\":[{\"id\":4,\"version\":1,\"score\":1.0,\"order_value\":7},"
                  "{\"id\":2,\"version\":1,\"score\":1.0,\"order_value\":3}]}");
}

/* ---- legacy ---- */

/* The same hits as a query, without "points". */
static void expect_same(const char *path, const char *body, const char *query)
{
    json_t *old = call_result_of(&server, "POST", path, body);
    json_t *new = call_result_of(&server, "POST", P "/query", query);
    if (!json_equal(old, json_object_get(new, "points"))) {
        char *text = json_dumps(old, 0);
        fail_msg("%s %s: %s", path, body, text);
    }
    assert_true(json_array_size(old) > 0);
    json_decref(old);
    json_decref(new);
}

static void test_legacy(void **state)
{
    (void)state;
    expect_same(P "/search", "{\"vector\":[4],\"top\":3,\"with_payload\":true}",
                "{\"query\":[4],\"limit\":3,\"with_payload\":true}");
    expect_same(P "/search",
                "{\"vector\":{\"name\":\"\",\"vector\":[4]},\"limit\":4,\"offset\":1,"
                "\"score_threshold\":3,\"filter\":{\"must_not\":{\"has_id\":[4]}},"
                "\"with_vectors\":true,\"params\":{\"exact\":true}}",
                "{\"query\":[4],\"limit\":4,\"offset\":1,\"score_threshold\":3,\"filter\":{"
                "\"must_not\":{\"has_id\":[4]}},\"with_vector\":true}");
    expect_same(P "/recommend",
                "{\"positive\":[9,[7]],\"negative\":[1],\"limit\":5,\"strategy\":\"best_score\"}",
                "{\"query\":{\"recommend\":{\"positive\":[9,[7]],\"negative\":[1],\"strategy\":"
                "\"best_score\"}},\"limit\":5}");
    expect_same(P "/recommend", "{\"positive\":[9],\"limit\":5,\"using\":\"\"}",
                "{\"query\":{\"recommend\":{\"positive\":[9]}},\"limit\":5}");
    expect_same(P "/discover",
                "{\"target\":5,\"context\":[{\"positive\":9,\"negative\":1}],\"limit\":5}",
                "{\"query\":{\"discover\":{\"target\":5,\"context\":[{\"positive\":9,\"negative\":"
                "1}]}},\"limit\":5}");
    expect_same(P "/discover", "{\"context\":[{\"positive\":9,\"negative\":1}],\"limit\":5}",
                "{\"query\":{\"context\":[{\"positive\":9,\"negative\":1}]},\"limit\":5}");
    json_t *batch = call_result_of(&server, "POST", P "/search/batch",
                                   "{\"searches\":[{\"vector\":[1],\"limit\":1},{\"vector\":[9],"
                                   "\"limit\":2}]}");
    assert_int_equal(json_array_size(batch), 2);
    assert_int_equal(json_array_size(json_array_get(batch, 1)), 2);
    json_decref(batch);
    batch = call_result_of(&server, "POST", P "/recommend/batch",
                           "{\"searches\":[{\"positive\":[1],\"limit\":1}]}");
    assert_int_equal(json_array_size(json_array_get(batch, 0)), 1);
    json_decref(batch);
    batch = call_result_of(&server, "POST", P "/discover/batch",
                           "{\"searches\":[{\"target\":1,\"limit\":1}]}");
    assert_int_equal(json_array_size(json_array_get(batch, 0)), 1);
    json_decref(batch);
    json_t *groups = call_result_of(&server, "POST", P "/search/groups",
                                    "{\"vector\":[10],\"group_by\":\"g\",\"group_size\":1,"
                                    "\"limit\":2}");
    assert_int_equal(json_array_size(json_object_get(groups, "groups")), 2);
    json_decref(groups);
    groups = call_result_of(&server, "POST", P "/recommend/groups",
                            "{\"positive\":[9],\"group_by\":\"g\",\"group_size\":1,\"limit\":9}");
    assert_int_equal(json_array_size(json_object_get(groups, "groups")), 3);
    json_decref(groups);
}

static void test_legacy_refusals(void **state)
{
    (void)state;
    expect_error(&server, "POST", P "/search", "{\"vector\":[4]}", 400,
                 "Format error in JSON body: missing field `limit`…");
    expect_error(&server, "POST", P "/search", "{\"limit\":4}", 400,
                 "Format error in JSON body: missing field `vector`…");
    expect_error(&server, "POST", P "/search", "{\"vector\":4,\"limit\":1}", 400,
                 "Format error in JSON body: vector: expected a vector, found an id…");
    expect_error(&server, "POST", P "/search", "{\"vector\":[4,4],\"limit\":1}", 400,
                 "Wrong input: Vector dimension error: expected dim: 1, got 2");
    expect_error(&server, "POST", P "/search", "{\"vector\":[4],\"limit\":0}", 422,
                 "Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or "
                 "larger]");
    expect_error(&server, "POST", P "/recommend", "{\"limit\":1}", 422,
                 "Validation error in JSON body: [internal.recommend: at least one positive or "
                 "negative example is required]");
    expect_error(&server, "POST", P "/recommend", "{\"positive\":[77],\"limit\":1}", 404,
                 "Not found: No point with id 77 found");
    expect_error(&server, "POST", P "/discover", "{\"limit\":1}", 400,
                 "Bad request: No target or context given");
    expect_error(&server, "POST", P "/search/batch", "{\"searches\":[{\"vector\":[4]}]}", 400,
                 "Format error in JSON body: missing field `limit`…");
}

static int setup(void **state)
{
    (void)state;
    fixture_prepare(&server);
    fixture_start(&server);
    expect_result(&server, "PUT", "/collections/points",
                  "{\"vectors\":{\"size\":1,\"distance\":\"Euclid\"}}", "true");
    expect_result(&server, "PUT", "/collections/names",
                  "{\"vectors\":{\"size\":2,\"distance\":\"Dot\"}}", "true");
    json_decref(call_result_of(&server, "PUT", P "?wait=true",
                               "{\"points\":[{\"id\":1,\"vector\":[1],\"payload\":{\"g\":[1,1]}},"
                               "{\"id\":2,\"vector\":[2],\"payload\":{\"g\":1}},"
                               "{\"id\":3,\"vector\":[3],\"payload\":{\"g\":[1,true]}},"
                               "{\"id\":4,\"vector\":[4],\"payload\":{\"g\":true}},"
                               "{\"id\":5,\"vector\":[5],\"payload\":{\"h\":1}},"
                               "{\"id\":6,\"vector\":[6],\"payload\":{\"g\":\"a\"}},"
                               "{\"id\":7,\"vector\":[7],\"payload\":{\"g\":\"b\"}},"
                               "{\"id\":8,\"vector\":[8],\"payload\":{\"g\":[\"a\",\"b\"]}},"
                               "{\"id\":9,\"vector\":[9],\"payload\":{\"g\":\"a\"}},"
                               "{\"id\":50,\"vector\":{},\"payload\":{\"g\":\"c\"}}]}"));
    json_decref(call_result_of(&server, "PUT", "/collections/names/points?wait=true",
                               "{\"points\":[{\"id\":1,\"vector\":[1,2],\"payload\":{\"name\":"
                               "\"one\",\"more\":1}}]}"));
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
        cmocka_unit_test(test_groups), cmocka_unit_test(test_group_lookup),
        cmocka_unit_test(test_matrix), cmocka_unit_test(test_order_and_facet),
        cmocka_unit_test(test_legacy), cmocka_unit_test(test_legacy_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
