/* What a single node answers about clusters, issues, quotas and optimizations. */
#include "serve_harness.h"

#define JSON "Content-Type: application/json\r\n"

static struct serve_fixture fixture;

static int setup(void **state)
{
    (void)state;
    serve_begin(&fixture, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    serve_end(&fixture);
    return 0;
}

static void get(const char *path, int status, const char *text)
{
    expect_answer(&fixture, "GET", path, "", NULL, status, text);
}

static void put_quotas(const char *body, int status, const char *text)
{
    expect_answer(&fixture, "PUT", "/quotas", JSON, body, status, text);
}

static void constants(void **state)
{
    (void)state;
    get("/cluster", 200, "{\"result\":{\"status\":\"disabled\"},\"status\":\"ok\"");
    get("/issues", 200, "{\"result\":{\"issues\":[]}");
    expect_answer(&fixture, "DELETE", "/issues", "", NULL, 200, "\"result\":true");
    get("/quotas", 200, "\"config\":{\"enabled\":false}");
}

static void quotas(void **state)
{
    (void)state;
    put_quotas("{}", 200, "\"result\":true");
    put_quotas("{\"enabled\":false,\"max_disk_usage_percent\":90}", 200, "true");
    put_quotas("{\"enabled\":true}", 400, "Wrong input: enabled: quotas are not supported");
    put_quotas("{\"enabled\":1}", 400, "enabled: invalid type: integer `1`, expected a boolean");
    put_quotas("{\"max_disk_usage_percent\":101}", 422,
               "[max_disk_usage_percent: value 101 invalid, must be from 1 to 100]");
    put_quotas("[]", 400, "Format error in JSON body");
}

static void optimizations(void **state)
{
    (void)state;
    get("/collections/a/optimizations", 404, "Collection `a` doesn't exist!");
    expect_answer(&fixture, "PUT", "/collections/a", JSON,
                  "{\"vectors\":{\"size\":2,\"distance\":\"Dot\"}}", 200, "true");
    get("/collections/a/optimizations", 200,
        "{\"summary\":{\"queued_optimizations\":0,\"queued_segments\":0,\"queued_points\":0,"
        "\"idle_segments\":0},\"running\":[]},\"status\"");
    get("/collections/a/optimizations?with=queued,idle_segments", 200,
        "\"running\":[],\"queued\":[],\"idle_segments\":[]}");
    get("/collections/a/optimizations?with=completed", 200, "\"running\":[],\"completed\":[]}");
    get("/collections/a/optimizations?with=other", 200, "\"running\":[]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(constants, setup, teardown),
        cmocka_unit_test_setup_teardown(quotas, setup, teardown),
        cmocka_unit_test_setup_teardown(optimizations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
