/* The route table: found right, keys and methods checked on every row, parameters, types, sizes. */
#include "serve_harness.h"

#include "server/routes.h"

#define JSON "Content-Type: application/json\r\n"

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

/* ---- finding, without a server ---- */

static const struct route *find(enum http_method method, const char *path, unsigned *allowed)
{
    struct span segments[16];
    size_t count = 0;
    while (*path == '/' && path[1] != '\0') {
        path++;
        size_t bytes = strcspn(path, "/");
        segments[count++] = span_of(path, bytes);
        path += bytes;
    }
    return route_find(method, segments, count, allowed);
}

static void paths_find_their_routes(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path, *pattern;
    } cases[] = {
        {HTTP_METHOD_GET, "/", "/"},
        {HTTP_METHOD_HEAD, "/", "/"},
        {HTTP_METHOD_GET, "/collections", "/collections"},
        {HTTP_METHOD_PUT, "/collections/a", "/collections/{}"},
        {HTTP_METHOD_PUT, "/collections/points/points", "/collections/{}/points"},
        {HTTP_METHOD_POST, "/collections/aliases", "/collections/aliases"},
        {HTTP_METHOD_GET, "/collections/a/points/7", "/collections/{}/points/{}"},
        {HTTP_METHOD_POST, "/collections/a/points/delete", "/collections/{}/points/delete"},
        {HTTP_METHOD_POST, "/collections/a/points/query/batch",
         "/collections/{}/points/query/batch"},
        {HTTP_METHOD_POST, "/collections/a/bulk", "/collections/{}/bulk"},
        {HTTP_METHOD_PUT, "/collections/a/snapshots/recover", "/collections/{}/snapshots/recover"},
        {HTTP_METHOD_GET, "/collections/a/snapshots/recover", "/collections/{}/snapshots/{}"},
        {HTTP_METHOD_GET, "/collections/exists/exists", "/collections/{}/exists"},
    };
    unsigned allowed;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct route *route = find(cases[i].method, cases[i].path, &allowed);
        assert_non_null(route);
        assert_string_equal(route->pattern, cases[i].pattern);
    }
    assert_null(find(HTTP_METHOD_GET, "/collections/a/b/c/d/e", &allowed));
    assert_int_equal(allowed, 0);
    assert_null(find(HTTP_METHOD_GET, "/nothing", &allowed));
    assert_int_equal(allowed, 0);
    assert_null(find(HTTP_METHOD_POST, "/collections", &allowed));
    assert_int_equal(allowed, 1u << HTTP_METHOD_GET);
    assert_null(find(HTTP_METHOD_OTHER, "/collections/a", &allowed));
    assert_int_equal(allowed, 1u << HTTP_METHOD_GET | 1u << HTTP_METHOD_PUT |
                                  1u << HTTP_METHOD_PATCH | 1u << HTTP_METHOD_DELETE);
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        assert_int_equal(route->pattern[0], '/');
        assert_int_equal(route->kind == ROUTE_CALL, route->handler != NULL);
        bool open = route->kind == ROUTE_VERSION || route->kind == ROUTE_LIVE ||
                    route->kind == ROUTE_READY || route->handler == api_openapi;
        assert_int_equal((route->flags & ROUTE_OPEN) != 0, open);
        if ((route->flags & PARAMETER_WAIT) != 0)
            assert_true((route->flags & ROUTE_WRITE) != 0);
        if (route->method == HTTP_METHOD_PUT || route->method == HTTP_METHOD_PATCH ||
            route->method == HTTP_METHOD_DELETE)
            assert_true((route->flags & ROUTE_WRITE) != 0);
        for (size_t j = 0; j < i; j++)
            assert_false(routes[j].method == route->method &&
                         strcmp(routes[j].pattern, route->pattern) == 0);
    }
}

/* ---- over a socket ---- */

/* A path of the pattern: {} becomes a name that is a number as well. */
static const char *path_of(const char *pattern, char path[128])
{
    size_t at = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '{')
            path[at++] = '1';
        else if (*pattern != '}')
            path[at++] = *pattern;
    }
    path[at] = '\0';
    return path;
}

static int status_of(struct serve_fixture *fixture, const struct route *route, const char *extra)
{
    char path[128];
    struct answer answer =
        ask(fixture, method_names[route->method], path_of(route->pattern, path), extra, NULL);
    int status = answer.status;
    if (status == 401)
        assert_null(strchr(answer.body, '{')); /* plain text */
    if (status == 403)
        assert_non_null(strstr(answer.body, "Forbidden: "));
    answer_free(&answer);
    return status;
}

static void every_row_asks_for_its_key(void **state)
{
    (void)state;
    struct serve_fixture fixture;
    serve_begin(&fixture, (const char *[]){"service.api_key", "full", "service.read_only_api_key",
                                           "reader", NULL});
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        bool open = (route->flags & ROUTE_OPEN) != 0, write = (route->flags & ROUTE_WRITE) != 0;
        int without = status_of(&fixture, route, "");
        int wrong = status_of(&fixture, route, "api-key: fulL\r\n");
        int reader = status_of(&fixture, route, "Authorization: Bearer reader\r\n");
        int full = status_of(&fixture, route, "api-key: full\r\n");
        assert_int_equal(without == 401, !open);
        assert_int_equal(wrong == 401, !open);
        assert_int_equal(reader == 403, write);
        assert_int_not_equal(reader, 401);
        assert_true(full != 401 && full != 403);
        assert_int_equal(full == 501, route->kind == ROUTE_UNBUILT);
        assert_int_equal(full == 405, route->kind == ROUTE_STANDALONE);
    }
    expect_answer(&fixture, "GET", "/nowhere", "", NULL, 401, AUTH_TEXT_MISSING);
    expect_answer(&fixture, "GET", "/nowhere", "api-key: x\r\n", NULL, 401, AUTH_TEXT_WRONG);
    expect_answer(&fixture, "GET", "/nowhere", "api-key: full\r\n", NULL, 404, "Not found: ");
    serve_end(&fixture);
}

static void the_loop_answers_for_itself(void **state)
{
    (void)state;
    struct serve_fixture fixture;
    serve_begin(&fixture, NULL);
    expect_answer(
        &fixture, "GET", "/", "", NULL, 200,
        "{\"title\":\"qdrant - vector search engine\",\"version\":\"1.19.0\",\"commit\":");
    expect_answer(&fixture, "GET", "/healthz", "", NULL, 200, "healthz check passed");
    expect_answer(&fixture, "GET", "//livez/", "", NULL, 200, "healthz check passed");
    expect_answer(&fixture, "GET", "/readyz", "", NULL, 200, "all shards are ready");
    struct answer answer = ask(&fixture, "HEAD", "/healthz", "", NULL);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "");
    answer_free(&answer);
    answer = ask(&fixture, "POST", "/healthz", "", NULL);
    assert_int_equal(answer.status, 405);
    assert_non_null(strstr(answer.head, "Allow: GET"));
    answer_free(&answer);
    expect_answer(&fixture, "GET", "/cluster/telemetry", "", NULL, 405, "standalone mode");
    expect_answer(&fixture, "POST", "/snapshots", "", NULL, 501, "POST /snapshots");
    serve_end(&fixture);
}

static void parameters_are_judged(void **state)
{
    (void)state;
    struct serve_fixture fixture;
    serve_begin(&fixture, NULL);
#define DENIED "Deserialize error in query parameters: "
    static const struct {
        const char *query;
        int status;
        const char *text;
    } writes[] = {
        {"wait=true", 404, "doesn't exist"},
        {"wait=yes", 400, DENIED},
        {"wait", 400, DENIED},
        {"ordering=strong&wait=false", 404, "doesn't exist"},
        {"ordering=strongest", 400, DENIED "unknown variant `strongest`"},
        {"timeout=0", 422, "timeout: value 0 invalid, must be 1 or larger"},
        {"timeout=-1", 400, DENIED},
        {"timeout=1.5", 400, DENIED},
        {"timeout=99999999999999999999", 400, DENIED},
        {"timeout=18446744073709551615", 404, "doesn't exist"},
        {"consistency=nonsense", 404, "doesn't exist"}, /* not one of a write's */
        {"unknown=1&also&=&&", 404, "doesn't exist"},
        {"%77ait=maybe", 400, DENIED},
    };
    static const struct {
        const char *query;
        int status;
        const char *text;
    } reads[] = {
        {"consistency=1", 404, "doesn't exist"},
        {"consistency=quorum", 404, "doesn't exist"},
        {"consistency=0", 422, "consistency: value 0 invalid"},
        {"consistency=most", 400, DENIED},
        {"wait=nonsense", 404, "doesn't exist"},
    };
    char path[256];
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        snprintf(path, sizeof path, "/collections/none/points/delete?%s", writes[i].query);
        expect_answer(&fixture, "POST", path, JSON, "{\"points\":[1]}", writes[i].status,
                      writes[i].text);
    }
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        snprintf(path, sizeof path, "/collections/none/points/count?%s", reads[i].query);
        expect_answer(&fixture, "POST", path, JSON, "{}", reads[i].status, reads[i].text);
    }
    serve_end(&fixture);
}

static void bodies_are_judged_before_they_are_read(void **state)
{
    (void)state;
    struct serve_fixture fixture;
    serve_begin(&fixture, (const char *[]){"service.control_body_bytes_max", "1024", NULL});
    static const char body[] = "{\"vectors\":{\"size\":4,\"distance\":\"Dot\"}}";
    const char *path = "/collections/types";
    expect_answer(&fixture, "PUT", path, "Content-Type: text/plain\r\n", body, 415,
                  "application/json");
    expect_answer(&fixture, "PUT", path, "Content-Type: application/jsonx\r\n", body, 415,
                  "application/json");
    expect_answer(&fixture, "PUT", path, JSON "Content-Encoding: br\r\n", body, 415, "gzip, zstd");
    expect_answer(&fixture, "PUT", path, JSON "Content-Encoding: gzip\r\n", body, 400, "gzip");
    expect_answer(&fixture, "PUT", path, JSON "Content-Encoding: zstd\r\n", body, 400, "zstd");
    expect_answer(&fixture, "PUT", path, JSON "Content-Encoding: identity\r\n", body, 200, "true");
    expect_answer(&fixture, "PUT", "/collections/t2", "", body, 200, "true");
    expect_answer(&fixture, "PUT", "/collections/t3",
                  "Content-Type: Application/JSON; charset=utf-8\r\n", body, 200, "true");
    char large[2048];
    memset(large, ' ', sizeof large);
    large[sizeof large - 1] = '\0';
    expect_answer(&fixture, "PUT", "/collections/t4", JSON, large, 413,
                  "service.control_body_bytes_max");
    serve_end(&fixture);
}

static void a_stopping_server_says_so(void **state)
{
    (void)state;
    struct serve_fixture fixture;
    serve_begin(&fixture, NULL);
    /* a connection that is open already when the stop begins */
    int fd = serve_connect(server_port(fixture.server));
    static const char half[] = "GET /readyz HTTP/1.1\r\nHost: x\r\n";
    static const char rest[] = "Connection: close\r\n\r\n";
    send_all(fd, half, sizeof half - 1);
    expect_answer(&fixture, "GET", "/healthz", "", NULL, 200, "passed"); /* half has arrived */
    uint16_t port = server_port(fixture.server);
    serve_ask_to_stop(&fixture);
    int again;
    do { /* until the listener is closed */
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        again = connect(probe, (struct sockaddr *)&address, sizeof address);
        close(probe);
    } while (again == 0);
    send_all(fd, rest, sizeof rest - 1);
    struct answer answer = read_answer(fd);
    assert_int_equal(answer.status, 503);
    answer_free(&answer);
    close(fd);
    serve_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_routes),
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(every_row_asks_for_its_key),
        cmocka_unit_test(the_loop_answers_for_itself),
        cmocka_unit_test(parameters_are_judged),
        cmocka_unit_test(bodies_are_judged_before_they_are_read),
        cmocka_unit_test(a_stopping_server_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
