/* Filters over HTTP: scroll, count and query see the same points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

enum { COUNT = 1200, DIM = 40 };

/* Point i lies at distance i along one axis; its payload says what it is divisible by. */
static int open_server(void **state)
{
    (void)state;
    fixture_prepare(&server);
    fixture_start(&server);
    char body[128];
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":%d,\"distance\":\"Euclid\"}}", DIM);
    expect_result(&server, "PUT", "/collections/c", body, "true");
    struct body_text points;
    text_open(&points);
    fputs("{\"points\":[", points.out);
    for (unsigned i = 0; i < COUNT; i++) {
        float vector[DIM] = {(float)i};
        fprintf(points.out,
                "%s{\"id\":%u,\"payload\":{\"n\":%u,\"odd\":%s,\"by\":[%s%s]},\"vector\":",
                i ? "," : "", i, i, i % 2 ? "true" : "false", i % 2 ? "\"1\"" : "\"1\",\"2\"",
                i % 300 ? "" : ",\"300\"");
        put_floats(points.out, vector, DIM);
        fputs("}", points.out);
    }
    fputs("]}", points.out);
    char *text = text_of(&points);
    json_decref(call_result_of(&server, "PUT", "/collections/c/points?wait=true", text));
    free(text);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    fixture_stop(&server);
    fixture_release(&server);
    return 0;
}

#define BY(n) "{\"must\":{\"key\":\"by\",\"match\":{\"value\":\"" n "\"}}}"
#define POINTS "/collections/c/points"

static void test_count(void **state)
{
    (void)state;
    expect_result(&server, "POST", POINTS "/count", "{\"filter\":" BY("2") "}", "{\"count\":600}");
    expect_result(&server, "POST", POINTS "/count", "{\"filter\":" BY("300") "}", "{\"count\":4}");
    expect_result(&server, "POST", POINTS "/count", "{\"filter\":" BY("7") "}", "{\"count\":0}");
    expect_result(&server, "POST", POINTS "/count",
                  "{\"filter\":{\"must\":{\"has_vector\":\"\"},\"must_not\":{\"key\":\"odd\","
                  "\"match\":{\"value\":true}}}}",
                  "{\"count\":600}");
    expect_result(&server, "POST", POINTS "/count",
                  "{\"filter\":{\"must\":{\"has_vector\":\"other\"}}}", "{\"count\":0}");
}

/* Pages of matching points only, the next page beginning with one. */
static void test_scroll(void **state)
{
    (void)state;
    expect_result(
        &server, "POST", POINTS "/scroll",
        "{\"limit\":2,\"with_payload\":[\"n\"],\"filter\":" BY("300") "}",
        "{\"points\":[{\"id\":0,\"payload\":{\"n\":0}},{\"id\":300,\"payload\":{\"n\":300}}],"
        "\"next_page_offset\":600}");
    expect_result(&server, "POST", POINTS "/scroll",
                  "{\"offset\":600,\"limit\":2,\"with_payload\":false,\"filter\":" BY("300") "}",
                  "{\"points\":[{\"id\":600},{\"id\":900}],\"next_page_offset\":null}");
    expect_result(&server, "POST", POINTS "/scroll", "{\"filter\":" BY("7") "}",
                  "{\"points\":[],\"next_page_offset\":null}");
}

/* The ids of a query's answer, in order. */
static void expect_ids(const char *body, const unsigned *ids, size_t count)
{
    json_t *result = call_result_of(&server, "POST", POINTS "/query", body);
    json_t *points = json_object_get(result, "points");
    if (json_array_size(points) != count)
        fail_msg("%s: %zu points, expected %zu", body, json_array_size(points), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(points, i), "id")),
                         ids[i]);
    json_decref(result);
}

static void test_query(void **state)
{
    (void)state;
    static const char *const ways[] = {"", ",\"params\":{\"exact\":true}"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char body[512];
#define NEAR_598 "\"query\":598,\"with_payload\":false"
        snprintf(body, sizeof body, "{" NEAR_598 ",\"limit\":3,\"filter\":" BY("2") "%s}", ways[i]);
        expect_ids(body, (unsigned[]){596, 600, 594}, 3);
        snprintf(body, sizeof body, "{" NEAR_598 ",\"limit\":9,\"filter\":" BY("300") "%s}",
                 ways[i]);
        expect_ids(body, (unsigned[]){600, 300, 900, 0}, 4);
        snprintf(body, sizeof body,
                 "{" NEAR_598
                 ",\"limit\":9,\"offset\":1,\"score_threshold\":303,\"filter\":" BY("300") "%s}",
                 ways[i]);
        expect_ids(body, (unsigned[]){300, 900}, 2);
        snprintf(body, sizeof body, "{" NEAR_598 ",\"filter\":" BY("7") "%s}", ways[i]);
        expect_ids(body, NULL, 0);
    }
    expect_ids("{\"limit\":2,\"offset\":1,\"filter\":" BY("300") "}", (unsigned[]){300, 600}, 2);
}

/* Limits of the configuration, and texts with the path to what is wrong. */
static void test_refusals(void **state)
{
    (void)state;
    expect_error(
        &server, "POST", POINTS "/query",
        "{\"filter\":{\"must\":[{\"key\":\"n\",\"match\":{\"value\":1}},{\"key\":\"n\"}]}}", 422,
        "Validation error in JSON body: [internal.filter.must[1]: At least one field "
        "condition must be specified]");
    expect_error(&server, "POST", POINTS "/count",
                 "{\"filter\":{\"must\":[{\"key\":\"n\",\"range\":{\"lt\":\"x\"}}]}}", 400,
                 "Format error in JSON body: data did not match any variant of untagged enum "
                 "Condition: filter.must[0].range.lt: `x` is not an RFC 3339 date-time");
    struct body_text deep;
    text_open(&deep);
    fputs("{\"filter\":", deep.out);
    for (int i = 0; i < 17; i++)
        fputs("{\"must\":[", deep.out);
    for (int i = 0; i < 17; i++)
        fputs("]}", deep.out);
    fputs("}", deep.out);
    char *text = text_of(&deep);
    expect_error(&server, "POST", POINTS "/scroll", text, 400, "Bad request: filter.must[0]…");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_scroll),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("api_filter", tests, open_server, close_server);
}
