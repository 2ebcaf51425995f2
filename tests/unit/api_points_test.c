/* Points over HTTP: what is stored, what is answered, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

#define COMPLETED "completed"

static void create(const char *name, unsigned dim, const char *distance)
{
    char path[128], body[128];
    snprintf(path, sizeof path, "/collections/%s", name);
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":%u,\"distance\":\"%s\"}}", dim, distance);
    expect_result(&server, "PUT", path, body, "true");
}

/* PUT points that must succeed; the status of the UpdateResult is checked, its number returned. */
static json_int_t upsert(const char *path, const char *body, const char *status)
{
    json_t *result = call_result_of(&server, "PUT", path, body);
    assert_string_equal(json_string_value(json_object_get(result, "status")), status);
    assert_true(json_is_integer(json_object_get(result, "operation_id")));
    json_int_t operation = json_integer_value(json_object_get(result, "operation_id"));
    json_decref(result);
    return operation;
}

static void expect_text(const char *method, const char *path, const char *body, const char *part)
{
    struct reply reply;
    client_call(server.port, method, path, JSON_HEADER, body, strlen(body), &reply);
    assert_int_equal(reply.status, 200);
    if (strstr(reply.body, part) == NULL)
        fail_msg("no %s in %s", part, reply.body);
    reply_release(&reply);
}

/* ---- upsert and read back ---- */

static void test_list_form(void **state)
{
    (void)state;
    create("list", 3, "Dot");
    const char *path = "/collections/list/points?wait=true";
    json_int_t first =
        upsert(path,
               "{\"points\":[{\"id\":1,\"vector\":[1,2,3],\"payload\":{\"a\":1}},"
               "{\"payload\":null,\"vectors\":[0.5,-2,1e-3],\"id\":2,\"other\":[{}]},"
               "{\"vector\":{\"\":[7,8,9]},\"payload\":{},\"id\":3},"
               "{\"id\":4,\"vector\":{}}],\"unknown\":{\"x\":[1]}}",
               COMPLETED);
    expect_result(&server, "POST", "/collections/list/points",
                  "{\"ids\":[4,1,3,2],\"with_vector\":true}",
                  "[{\"id\":4,\"payload\":{},\"vector\":{}},"
                  "{\"id\":1,\"payload\":{\"a\":1},\"vector\":[1.0,2.0,3.0]},"
                  "{\"id\":3,\"payload\":{},\"vector\":[7.0,8.0,9.0]},"
                  "{\"id\":2,\"payload\":{},\"vector\":[0.5,-2.0,0.001]}]");
    json_int_t second = upsert(path, "{\"points\":[{\"id\":1,\"vector\":[4,5,6]}]}", COMPLETED);
    assert_true(second > first);
    /* replaced as a whole: the payload is gone */
    expect_result(&server, "GET", "/collections/list/points/1", "",
                  "{\"id\":1,\"payload\":{},\"vector\":[4.0,5.0,6.0]}");
    /* without wait it is applied all the same, and said to be acknowledged */
    upsert("/collections/list/points", "{\"points\":[{\"id\":5,\"vector\":[1,1,1]}]}",
           "acknowledged");
    expect_result(&server, "POST", "/collections/list/points/count", "{}", "{\"count\":5}");
}

static void test_last_one_wins(void **state)
{
    (void)state;
    create("last", 1, "Dot");
    upsert("/collections/last/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":[1]},{\"id\":2,\"vector\":[2]},{\"id\":1,\"vector\":["
           "3]}]}",
           COMPLETED);
    expect_result(&server, "POST", "/collections/last/points/scroll", "{\"with_vector\":true}",
                  "{\"points\":[{\"id\":1,\"payload\":{},\"vector\":[3.0]},"
                  "{\"id\":2,\"payload\":{},\"vector\":[2.0]}],\"next_page_offset\":null}");
}

static void test_column_form(void **state)
{
    (void)state;
    create("columns", 2, "Dot");
    const char *path = "/collections/columns/points?wait=true";
    upsert(path,
           "{\"batch\":{\"ids\":[1,2],\"vectors\":[[1,2],[3,4]],\"payloads\":[{\"p\":true},null]}}",
           COMPLETED);
    upsert(path, "{\"batch\":{\"payloads\":[{}],\"vectors\":{\"\":[[5,6]]},\"ids\":[3]}}",
           COMPLETED);
    upsert(path, "{\"batch\":{\"vectors\":{},\"ids\":[4]}}", COMPLETED);
    expect_result(&server, "POST", "/collections/columns/points/scroll", "{\"with_vectors\":true}",
                  "{\"points\":[{\"id\":1,\"payload\":{\"p\":true},\"vector\":[1.0,2.0]},"
                  "{\"id\":2,\"payload\":{},\"vector\":[3.0,4.0]},"
                  "{\"id\":3,\"payload\":{},\"vector\":[5.0,6.0]},"
                  "{\"id\":4,\"payload\":{},\"vector\":{}}],\"next_page_offset\":null}");
}

static void test_ids(void **state)
{
    (void)state;
    create("ids", 1, "Dot");
    upsert("/collections/ids/points?wait=true",
           "{\"batch\":{\"ids\":[18446744073709551615,0,9223372036854775808,"
           "\"936DA01F-9ABD-4d9d-80C7-02AF85C822A8\",\"550e8400e29b41d4a716446655440000\","
           "\"urn:uuid:F9168C5E-CEB2-4faa-B6BF-329BF39FA1E4\","
           "\"{00000000-0000-0000-0000-00000000000a}\"],"
           "\"vectors\":[[1],[2],[3],[4],[5],[6],[7]]}}",
           COMPLETED);
    /* numbers ascending, then UUIDs ascending, hyphenated in lower case */
    expect_text("POST", "/collections/ids/points/scroll", "{\"with_payload\":false}",
                "{\"points\":[{\"id\":0},{\"id\":9223372036854775808},"
                "{\"id\":18446744073709551615},{\"id\":\"00000000-0000-0000-0000-00000000000a\"},"
                "{\"id\":\"550e8400-e29b-41d4-a716-446655440000\"},"
                "{\"id\":\"936da01f-9abd-4d9d-80c7-02af85c822a8\"},"
                "{\"id\":\"f9168c5e-ceb2-4faa-b6bf-329bf39fa1e4\"}],\"next_page_offset\":null}");
    expect_text("GET", "/collections/ids/points/18446744073709551615", "", "\"vector\":[1.0]");
    expect_text("GET", "/collections/ids/points/936da01f9abd4d9d80c702af85c822a8", "",
                "\"vector\":[4.0]");
    expect_error(&server, "GET", "/collections/ids/points/7", "", 404,
                 "Not found: Point with id 7 does not exists!");
    expect_error(&server, "GET", "/collections/ids/points/936da01f-9abd-4d9d-80c7-02af85c822a9", "",
                 404,
                 "Not found: Point with id 936da01f-9abd-4d9d-80c7-02af85c822a9 does not exists!");
    expect_error(&server, "GET", "/collections/ids/points/abc", "", 400,
                 "Wrong input: value abc is not a valid point ID, valid values are either an "
                 "unsigned integer or a UUID");
}

static void test_cosine_is_normalised(void **state)
{
    (void)state;
    create("cosine", 2, "Cosine");
    upsert("/collections/cosine/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":[3,4]},{\"id\":2,\"vector\":[0,0]},"
           "{\"id\":3,\"vector\":[0.6,0.8]}]}",
           COMPLETED);
    expect_text("POST", "/collections/cosine/points",
                "{\"ids\":[1,2,3],\"with_vector\":true,\"with_payload\":false}",
                "[{\"id\":1,\"vector\":[0.6,0.8]},{\"id\":2,\"vector\":[0.0,0.0]},"
                "{\"id\":3,\"vector\":[0.6,0.8]}]");
}

/* Floats in their shortest form, payload numbers as they came. */
static void test_numbers_come_back(void **state)
{
    (void)state;
    create("numbers", 4, "Euclid");
    upsert("/collections/numbers/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":[0.19,1e-40,-3.4e18,16777217],"
           "\"payload\":{\"a\":10.0,\"b\":10,\"c\":1e2,\"d\":18446744073709551615,"
           "\"e\":\"\\u0000\\u00e9\\n\",\"f\":[null,true,{}]}}]}",
           COMPLETED);
    expect_text("GET", "/collections/numbers/points/1", "",
                "\"payload\":{\"a\":10.0,\"b\":10,\"c\":1e2,\"d\":18446744073709551615,"
                "\"e\":\"\\u0000é\\n\",\"f\":[null,true,{}]}");
    json_t *result = call_result_of(&server, "POST", "/collections/numbers/points",
                                    "{\"ids\":[1],\"with_payload\":false,\"with_vector\":true}");
    const float sent[] = {0.19f, 1e-40f, -3.4e18f, 16777216.0f};
    for (size_t i = 0; i < 4; i++) {
        json_t *vector = json_object_get(json_array_get(result, 0), "vector");
        double got = json_number_value(json_array_get(vector, i));
        assert_true((float)got == sent[i]);
    }
    json_decref(result);
    expect_text("GET", "/collections/numbers/points/1", "", "[0.19,");
}

/* ---- refusals: each leaves the collection as it was ---- */

struct bad {
    const char *body;
    int status;
    const char *text;
};

static void expect_unchanged(const char *collection, const char *scroll)
{
    char path[128];
    snprintf(path, sizeof path, "/collections/%s/points/scroll", collection);
    expect_result(&server, "POST", path, "{\"with_vector\":true}", scroll);
}

#define ID_TEXT " is not a valid point ID, valid values are either an unsigned integer or a UUID"

static void test_bad_upserts(void **state)
{
    (void)state;
    static const struct bad table[] = {
        {"", 400, "Format error in JSON body: missing field `points`…"},
        {"[]", 400, "Format error in JSON body: expected an object with `points` or `batch`…"},
        {"{", 400, "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}]} x", 400, "Format error in JSON body: …"},
        {"{\"points\":{}}", 400, "Format error in JSON body: points: expected an array of points…"},
        {"{\"points\":[]}", 400, "Bad request: Empty update request"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3]}]}", 400,
         "Wrong input: Vector dimension error: expected dim: 4, got 3 (points[0])"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4,5]}]}", 400,
         "Wrong input: Vector dimension error: expected dim: 4, got 5 (points[0])"},
        {"{\"points\":[{\"id\":1,\"vector\":[]}]}", 400,
         "Wrong input: Vector dimension error: expected dim: 4, got 0 (points[0])"},
        {"{\"points\":[{\"id\":2,\"vector\":[1,2,3,4]},{\"id\":1,\"vector\":[1,2,3]}]}", 400,
         "Wrong input: Vector dimension error: expected dim: 4, got 3 (points[1])"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,NaN]}]}", 400, "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,1e39]}]}", 400, "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,Infinity]}]}", 400,
         "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,1e20]}]}", 400,
         "Wrong input: Vector is too long: its squared norm must not exceed 8.5e+37 (points[0])"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,null]}]}", 400, "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":\"x\"}]}", 400,
         "Format error in JSON body: points[0]: vector: expected an array of numbers or an "
         "object…"},
        {"{\"points\":[{\"id\":1,\"vector\":[[1,2,3,4]]}]}", 400,
         "Wrong input: Conversion between multi and regular vectors failed (points[0])"},
        {"{\"points\":[{\"id\":1,\"vector\":{\"\":{\"indices\":[1],\"values\":[1]}}}]}", 400,
         "Wrong input: Conversion between sparse and regular vectors failed (points[0])"},
        {"{\"points\":[{\"id\":1,\"vector\":{\"image\":[1,2,3,4]}}]}", 400,
         "Wrong input: Not existing vector name error: image (points[0])"},
        {"{\"points\":[{\"id\":1}]}", 400,
         "Format error in JSON body: points[0]: missing field `vector`…"},
        {"{\"points\":[{\"id\":1,\"vector\":null}]}", 400,
         "Format error in JSON body: points[0]: missing field `vector`…"},
        {"{\"points\":[{\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: missing field `id`…"},
        {"{\"points\":[{\"id\":\"7\",\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: value 7" ID_TEXT "…"},
        {"{\"points\":[{\"id\":-1,\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: value -1" ID_TEXT "…"},
        {"{\"points\":[{\"id\":1.0,\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: value 1.0" ID_TEXT "…"},
        {"{\"points\":[{\"id\":18446744073709551616,\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: value 18446744073709551616" ID_TEXT "…"},
        {"{\"points\":[{\"id\":null,\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: value null" ID_TEXT "…"},
        {"{\"points\":[{\"id\":1,\"id\":2,\"vector\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: duplicate field `id`…"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4],\"vectors\":[1,2,3,4]}]}", 400,
         "Format error in JSON body: points[0]: duplicate field `vector`…"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4],\"payload\":{\"a\":1,\"a\":2}}]}", 400,
         "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4],\"payload\":[1]}]}", 400,
         "Format error in JSON body: points[0]: payload: expected an object or null…"},
        {"{\"points\":[],\"points\":[]}", 400,
         "Format error in JSON body: duplicate field `points`…"},
        {"{\"points\":[7]}", 400, "Format error in JSON body: points[0]: expected a point object…"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}],\"update_mode\":7}", 400,
         "Format error in JSON body: update_mode: expected a string…"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}],\"update_mode\":\"x\"}", 400,
         "Format error in JSON body: unknown variant `x`…"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}],\"update_filter\":{\"x\":1}}", 400,
         "Format error in JSON body: …"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}],\"shard_key\":\"a\"}", 400,
         "Bad request: `shard_key` is not supported yet"},
        {"{\"points\":[{\"id\":1,\"vector\":[1,2,3,4]}],\"batch\":{\"ids\":[],\"vectors\":[]}}",
         400, "Format error in JSON body: both `points` and `batch` are given…"},
        {"{\"batch\":[]}", 400, "Format error in JSON body: batch: expected an object of columns…"},
        {"{\"batch\":{\"ids\":[1]}}", 400,
         "Format error in JSON body: batch: missing field `vectors`…"},
        {"{\"batch\":{\"ids\":[1,2],\"vectors\":[[1,2,3,4]]}}", 422,
         "Validation error in JSON body: [batch: number of ids and vectors must be equal (2 != "
         "1)]"},
        {"{\"batch\":{\"ids\":[1],\"vectors\":[[1,2,3,4]],\"payloads\":[]}}", 422,
         "Validation error in JSON body: [batch: number of ids and payloads must be equal (1 != "
         "0)]"},
        {"{\"batch\":{\"ids\":[1],\"vectors\":{\"x\":[[1,2,3,4]]}}}", 400,
         "Wrong input: Not existing vector name error: x"},
        {"{\"batch\":{\"ids\":[1],\"vectors\":[[1,2]]}}", 400,
         "Wrong input: Vector dimension error: expected dim: 4, got 2 (batch.vectors[0])"},
        {"{\"batch\":{\"ids\":[1],\"vectors\":[[[1,2,3,4]]]}}", 400,
         "Wrong input: Conversion between multi and regular vectors failed (batch.vectors[0])"},
    };
    create("bad", 4, "Euclid");
    upsert("/collections/bad/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":[9,8,7,6],\"payload\":{\"k\":\"v\"}}]}", COMPLETED);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        expect_error(&server, "PUT", "/collections/bad/points?wait=true", table[i].body,
                     table[i].status, table[i].text);
        expect_error(&server, "PUT", "/collections/bad/points", table[i].body, table[i].status,
                     table[i].text);
    }
    expect_unchanged("bad", "{\"points\":[{\"id\":1,\"payload\":{\"k\":\"v\"},"
                            "\"vector\":[9.0,8.0,7.0,6.0]}],\"next_page_offset\":null}");
    expect_error(&server, "PUT", "/collections/nowhere/points",
                 "{\"points\":[{\"id\":1,\"vector\":[1]}]}", 404,
                 "Not found: Collection `nowhere` doesn't exist!");
}

static void test_defaults_that_are_allowed(void **state)
{
    (void)state;
    create("defaults", 1, "Dot");
    upsert("/collections/defaults/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":[1]}],\"batch\":null,\"shard_key\":null,"
           "\"update_filter\":null,\"update_mode\":\"upsert\"}",
           COMPLETED);
}

/* A point without vectors in a collection without vectors. */
static void test_payload_only(void **state)
{
    (void)state;
    expect_result(&server, "PUT", "/collections/payloads", "{}", "true");
    upsert("/collections/payloads/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":{},\"payload\":{\"a\":\"b\"}}]}", COMPLETED);
    expect_result(&server, "GET", "/collections/payloads/points/1", "",
                  "{\"id\":1,\"payload\":{\"a\":\"b\"},\"vector\":{}}");
    expect_error(&server, "PUT", "/collections/payloads/points",
                 "{\"points\":[{\"id\":1,\"vector\":[1]}]}", 400,
                 "Wrong input: Not existing vector name error:  (points[0])");
}

/* ---- reading ---- */

static void fill_pages(void)
{
    create("pages", 1, "Dot");
    struct body_text body;
    text_open(&body);
    fputs("{\"points\":[", body.out);
    for (unsigned i = 0; i < 1000; i++)
        fprintf(body.out, "%s{\"id\":%u,\"vector\":[%u],\"payload\":{\"n\":%u}}", i ? "," : "",
                2 * i, i, i);
    fputs("]}", body.out);
    char *text = text_of(&body);
    upsert("/collections/pages/points?wait=true", text, COMPLETED);
    free(text);
}

static void test_scroll(void **state)
{
    (void)state;
    const char *path = "/collections/pages/points/scroll";
    fill_pages();
    for (unsigned limit = 1; limit <= 1100; limit = limit * 7 / 4 + 1) {
        char body[128] = "";
        unsigned expected = 0;
        snprintf(body, sizeof body, "{\"limit\":%u,\"with_payload\":false}", limit);
        for (bool more = true; more;) {
            json_t *page = call_result_of(&server, "POST", path, body);
            json_t *points = json_object_get(page, "points");
            json_t *next = json_object_get(page, "next_page_offset");
            for (size_t i = 0; i < json_array_size(points); i++, expected += 2)
                assert_int_equal(
                    json_integer_value(json_object_get(json_array_get(points, i), "id")), expected);
            more = !json_is_null(next);
            assert_int_equal(json_array_size(points), more ? limit : (1000 - 1) % limit + 1);
            if (more) {
                assert_int_equal(json_integer_value(next), expected);
                snprintf(body, sizeof body, "{\"limit\":%u,\"offset\":%u,\"with_payload\":false}",
                         limit, expected);
            }
            json_decref(page);
        }
        assert_int_equal(expected, 2000);
    }
    /* an offset between two ids, the default limit, and a limit nobody allocates */
    json_t *page = call_result_of(&server, "POST", path, "{\"offset\":7,\"filter\":{}}");
    assert_int_equal(json_array_size(json_object_get(page, "points")), 10);
    assert_int_equal(json_integer_value(json_object_get(page, "next_page_offset")), 28);
    json_decref(page);
    page = call_result_of(&server, "POST", path,
                          "{\"limit\":999999999,\"with_vector\":null,\"filter\":{\"should\":[]}}");
    assert_int_equal(json_array_size(json_object_get(page, "points")), 1000);
    json_decref(page);
    expect_result(&server, "POST", path, "{\"offset\":\"00000000-0000-0000-0000-000000000000\"}",
                  "{\"points\":[],\"next_page_offset\":null}");
}

static void test_bad_scrolls(void **state)
{
    (void)state;
    static const struct bad table[] = {
        {"{\"limit\":0}", 422,
         "Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or larger]"},
        {"{\"limit\":-1}", 400, "Format error in JSON body: …"},
        {"{\"limit\":1.5}", 400, "Format error in JSON body: …"},
        {"{\"limit\":\"1\"}", 400,
         "Format error in JSON body: limit: expected an unsigned integer…"},
        {"{\"offset\":\"x\"}", 400, "Format error in JSON body: value x" ID_TEXT "…"},
        {"{\"order_by\":\"a\"}", 400,
         "Bad request: No range index for `order_by` key: `a`. Please create one to use "
         "`order_by`."},
        {"{\"filter\":{\"must\":[{\"key\":\"a\",\"match\":{\"value\":1.5}}]}}", 400,
         "Format error in JSON body: data did not match any variant of untagged enum Condition: "
         "filter.must[0].match.value: expected a string, a 64-bit integer or a boolean"},
        {"{\"filter\":{\"must\":{\"key\":\"a\"}}}", 422,
         "Validation error in JSON body: [internal.filter.must: At least one field condition must "
         "be "
         "specified]"},
        {"{\"filter\":{\"key\":\"a\"}}", 400,
         "Format error in JSON body: filter: unknown field `key`…"},
        {"{\"filter\":[]}", 400, "Format error in JSON body: filter: expected a filter object…"},
        {"{\"with_payload\":1}", 400,
         "Format error in JSON body: with_payload: expected a boolean…"},
        {"{\"with_payload\":{\"includes\":[]}}", 400, "Format error in JSON body: with_payload: …"},
        {"{\"with_payload\":{}}", 400, "Format error in JSON body: with_payload: …"},
        {"{\"with_payload\":{\"include\":[\"a\"],\"exclude\":[\"b\"]}}", 400,
         "Format error in JSON body: with_payload: …"},
        {"{\"with_payload\":[1]}", 400, "Format error in JSON body: with_payload: …"},
        {"{\"with_payload\":[\"a[\"]}", 400,
         "Format error in JSON body: with_payload: `a[` is not a path…"},
        {"{\"with_vector\":[\"image\"]}", 400,
         "Wrong input: Not existing vector name error: image"},
        {"{\"with_vector\":\"yes\"}", 400, "Format error in JSON body: with_vector: …"},
        {"{\"with_vector\":true,\"with_vectors\":true}", 400,
         "Format error in JSON body: duplicate field `with_vector`…"},
        {"{\"shard_key\":1}", 400, "Bad request: `shard_key` is not supported yet"},
        {"[]", 400, "Format error in JSON body: expected an object…"},
    };
    create("scrolls", 1, "Dot");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        expect_error(&server, "POST", "/collections/scrolls/points/scroll", table[i].body,
                     table[i].status, table[i].text);
    expect_error(&server, "POST", "/collections/nowhere/points/scroll", "{}", 404,
                 "Not found: Collection `nowhere` doesn't exist!");
}

static void test_payload_selectors(void **state)
{
    (void)state;
    create("select", 1, "Dot");
    const char *path = "/collections/select/points";
    upsert("/collections/select/points?wait=true",
           "{\"points\":[{\"id\":1,\"vector\":[1],\"payload\":{\"a\":{\"b\":1,\"c\":2},\"d\":[{"
           "\"e\":3,"
           "\"f\":4}],\"g\":5}}]}",
           COMPLETED);
    static const char *const table[][2] = {
        {"true", "{\"a\":{\"b\":1,\"c\":2},\"d\":[{\"e\":3,\"f\":4}],\"g\":5}"},
        {"null", "{\"a\":{\"b\":1,\"c\":2},\"d\":[{\"e\":3,\"f\":4}],\"g\":5}"},
        {"[\"a.b\",\"g\"]", "{\"a\":{\"b\":1},\"g\":5}"},
        {"[]", "{}"},
        {"{\"include\":[\"d[].e\"]}", "{\"d\":[{\"e\":3}]}"},
        {"{\"exclude\":[\"a.b\",\"d\"]}", "{\"a\":{\"c\":2},\"g\":5}"},
        {"{\"exclude\":[\"nothing\"]}",
         "{\"a\":{\"b\":1,\"c\":2},\"d\":[{\"e\":3,\"f\":4}],\"g\":5}"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[256], expected[256];
        snprintf(body, sizeof body, "{\"ids\":[1],\"with_payload\":%s}", table[i][0]);
        snprintf(expected, sizeof expected, "[{\"id\":1,\"payload\":%s}]", table[i][1]);
        expect_result(&server, "POST", path, body, expected);
    }
    expect_result(&server, "POST", path, "{\"ids\":[1],\"with_payload\":false}", "[{\"id\":1}]");
    expect_result(&server, "POST", path,
                  "{\"ids\":[1],\"with_payload\":false,\"with_vector\":[\"\"]}",
                  "[{\"id\":1,\"vector\":[1.0]}]");
    expect_result(&server, "POST", path, "{\"ids\":[1],\"with_payload\":false,\"with_vector\":[]}",
                  "[{\"id\":1,\"vector\":{}}]");
}

static void test_retrieve(void **state)
{
    (void)state;
    create("retrieve", 1, "Dot");
    const char *path = "/collections/retrieve/points";
    upsert("/collections/retrieve/points?wait=true",
           "{\"batch\":{\"ids\":[1,2],\"vectors\":[[1],[2]]}}", COMPLETED);
    expect_result(&server, "POST", path, "{\"ids\":[2,3,1,2],\"with_payload\":false}",
                  "[{\"id\":2},{\"id\":1},{\"id\":2}]");
    expect_result(&server, "POST", path, "{\"ids\":[]}", "[]");
    expect_error(&server, "POST", path, "{}", 400,
                 "Format error in JSON body: missing field `ids`…");
    expect_error(&server, "POST", path, "{\"ids\":1}", 400,
                 "Format error in JSON body: ids: expected an array of ids…");
    expect_error(&server, "POST", path, "{\"ids\":[\"12\"]}", 400,
                 "Format error in JSON body: ids[0]: value 12" ID_TEXT "…");
    expect_error(&server, "POST", path, "{\"ids\":[1],\"shard_key\":\"x\"}", 400,
                 "Bad request: `shard_key` is not supported yet");
}

static void test_delete(void **state)
{
    (void)state;
    create("delete", 1, "Dot");
    const char *path = "/collections/delete/points/delete";
    upsert("/collections/delete/points?wait=true",
           "{\"batch\":{\"ids\":[1,2,3],\"vectors\":[[1],[2],[3]]}}", COMPLETED);
    json_t *result = call_result_of(&server, "POST", "/collections/delete/points/delete?wait=true",
                                    "{\"points\":[2,77,\"550e8400e29b41d4a716446655440000\"]}");
    assert_string_equal(json_string_value(json_object_get(result, "status")), COMPLETED);
    json_decref(result);
    result = call_result_of(&server, "POST", path, "{\"points\":[2]}");
    assert_string_equal(json_string_value(json_object_get(result, "status")), "acknowledged");
    assert_true(json_is_integer(json_object_get(result, "operation_id")));
    json_decref(result);
    static const struct bad table[] = {
        {"{\"filter\":{\"x\":1}}", 400, "Format error in JSON body: …"},
        {"{}", 400,
         "Format error in JSON body: data did not match any variant of untagged enum "
         "PointsSelector: expected `points` or `filter`…"},
        {"{\"points\":[]}", 400, "Bad request: Empty update request"},
        {"{\"points\":[1,\"x\"]}", 400,
         "Format error in JSON body: points[1]: value x" ID_TEXT "…"},
        {"{\"points\":[1],\"points\":[3]}", 400, "Format error in JSON body: duplicate field…"},
        {"{\"points\":[1]} 2", 400, "Format error in JSON body: …"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        expect_error(&server, "POST", path, table[i].body, table[i].status, table[i].text);
    expect_unchanged("delete", "{\"points\":[{\"id\":1,\"payload\":{},\"vector\":[1.0]},"
                               "{\"id\":3,\"payload\":{},\"vector\":[3.0]}],"
                               "\"next_page_offset\":null}");
}

static void test_count(void **state)
{
    (void)state;
    create("count", 1, "Dot");
    const char *path = "/collections/count/points/count";
    expect_result(&server, "POST", path, "", "{\"count\":0}");
    upsert("/collections/count/points?wait=true",
           "{\"batch\":{\"ids\":[1,2,3],\"vectors\":[[1],[2],[3]]}}", COMPLETED);
    expect_result(&server, "POST", path, "{\"exact\":true}", "{\"count\":3}");
    expect_result(&server, "POST", path,
                  "{\"exact\":false,\"filter\":{\"must\":[],\"should\":null}}", "{\"count\":3}");
    expect_result(&server, "POST", path, "{\"filter\":{\"must_not\":[{}]}}", "{\"count\":0}");
    expect_error(&server, "POST", path, "{\"exact\":1}", 400,
                 "Format error in JSON body: exact: expected a boolean…");
}

/* ---- limits of the configuration ---- */

static void test_limits(void **state)
{
    (void)state;
    struct fixture small;
    fixture_prepare(&small);
    fixture_set(&small, "strict.upsert_max_batchsize", "2");
    fixture_set(&small, "strict.ids_max", "3");
    fixture_set(&small, "strict.payload_bytes_max", "1KiB");
    fixture_set(&small, "strict.max_query_limit", "100");
    fixture_set(&small, "service.response_bytes_max", "1KiB");
    fixture_start(&small);
    expect_result(&small, "PUT", "/collections/c",
                  "{\"vectors\":{\"size\":1,\"distance\":\"Dot\"}}", "true");
    const char *path = "/collections/c/points";
    const char *too_many =
        "Bad request: more than strict.upsert_max_batchsize (2) points in one request";
    expect_error(&small, "PUT", path,
                 "{\"points\":[{\"id\":1,\"vector\":[1]},{\"id\":2,\"vector\":[1]},{\"id\":3,"
                 "\"vector\":[1]}]}",
                 400, too_many);
    expect_error(&small, "PUT", path, "{\"batch\":{\"ids\":[1,2,3],\"vectors\":[[1],[1],[1]]}}",
                 400, too_many);
    char body[2048], payload[1200];
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = 0;
    snprintf(body, sizeof body,
             "{\"points\":[{\"id\":1,\"vector\":[1],\"payload\":{\"a\":\"%s\"}}]}", payload);
    expect_error(&small, "PUT", path, body, 400, "Wrong input: payload of 1207 bytes is larger …");
    payload[900] = 0;
    for (unsigned id = 1; id <= 2; id++) {
        snprintf(body, sizeof body,
                 "{\"points\":[{\"id\":%u,\"vector\":[1],\"payload\":{\"a\":\"%s\"}}]}", id,
                 payload);
        json_decref(call_result_of(&small, "PUT", "/collections/c/points?wait=true", body));
    }
    json_decref(call_result_of(&small, "POST", path, "{\"ids\":[1]}"));
    expect_error(&small, "POST", path, "{\"ids\":[1,2,3,4]}", 400,
                 "Bad request: ids: more than strict.ids_max (3) ids in one request");
    expect_error(&small, "POST", "/collections/c/points/delete", "{\"points\":[1,2,3,4]}", 400,
                 "Bad request: points: more than strict.ids_max (3) ids in one request");
    const char *too_large = "Bad request: the reply would be larger than "
                            "service.response_bytes_max (1024 bytes)…";
    expect_error(&small, "POST", path, "{\"ids\":[1,2]}", 400, too_large);
    expect_error(&small, "POST", "/collections/c/points/scroll", "{}", 400, too_large);
    expect_error(&small, "POST", "/collections/c/points/query", "{\"with_payload\":true}", 400,
                 too_large);
    expect_error(
        &small, "POST", "/collections/c/points/scroll", "{\"limit\":101}", 400,
        "Bad request: Limit exceeded 101 > 100 for \"limit\" (max_query_limit, of the server's "
        "strict.max_query_limit or the collection's strict_mode_config)");
    fixture_stop(&small);
    fixture_release(&small);
}

static int setup(void **state)
{
    (void)state;
    fixture_prepare(&server);
    fixture_start(&server);
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
        cmocka_unit_test(test_list_form),
        cmocka_unit_test(test_last_one_wins),
        cmocka_unit_test(test_column_form),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_cosine_is_normalised),
        cmocka_unit_test(test_numbers_come_back),
        cmocka_unit_test(test_bad_upserts),
        cmocka_unit_test(test_defaults_that_are_allowed),
        cmocka_unit_test(test_payload_only),
        cmocka_unit_test(test_scroll),
        cmocka_unit_test(test_bad_scrolls),
        cmocka_unit_test(test_payload_selectors),
        cmocka_unit_test(test_retrieve),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
