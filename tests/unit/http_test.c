/* The server over real sockets: what clients see of each request. Deadlines, streams and the end of
 * the server are http_stream_test.c's. */
#include "tests/unit/http_harness.h"

#include "tests/requests/rows.h"

/* ---- plain requests ---- */

static void test_get(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    for (int i = 0; i < 3; i++) {
        client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\nx-request-id: id-7\r\n\r\n");
        struct response response = client_receive(&client, false);
        assert_int_equal(response.status, 200);
        assert_string_equal(response.body, "now");
        assert_true(has(&response, "HTTP/1.1 200 OK\r\n"));
        assert_true(has(&response, "\r\nServer: kith/" KITH_VERSION "\r\n"));
        assert_true(has(&response, "\r\nContent-Type: text/plain\r\n"));
        assert_true(has(&response, "\r\nX-Extra: 1\r\n"));
        assert_true(has(&response, "\r\nx-request-id: id-7\r\n"));
        assert_true(has(&response, "\r\nConnection: keep-alive\r\nKeep-Alive: timeout=70\r\n"));
        assert_true(has(&response, "\r\nDate: ") && has(&response, " GMT\r\n"));
        free(response.body);
    }
    /* An id that could break out of a header or a log line is dropped. */
    client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\nx-request-id: a\"b\r\n\r\n");
    struct response response = client_receive(&client, false);
    assert_false(has(&response, "x-request-id"));
    free(response.body);
    client_close(&client);
    fixture_free(fixture);
}

static void test_head(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client,
               "HEAD /now HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    struct response response = client_receive(&client, true);
    assert_true(response.status == 200 && has(&response, "Content-Length: 3\r\n"));
    free(response.body);
    client_expect(&client, 200, "now"); /* had HEAD sent a body, this would not parse */
    client_close(&client);
    fixture_free(fixture);
}

static void test_http_1_0(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct response response = client_receive(&client, false);
    assert_true(response.status == 200 && has(&response, "Connection: keep-alive\r\n"));
    free(response.body);
    client_say(&client, "GET /now HTTP/1.0\r\n\r\n");
    response = client_receive(&client, false);
    assert_true(response.status == 200 && has(&response, "Connection: close\r\n"));
    free(response.body);
    assert_true(client_at_end(&client));
    client_close(&client);
    fixture_free(fixture);
}

static void test_close(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                        "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    struct response response = client_receive(&client, false);
    assert_true(response.status == 200 && has(&response, "Connection: close\r\n"));
    free(response.body);
    assert_true(client_at_end(&client)); /* what came after it is not answered */
    client_close(&client);
    fixture_free(fixture);
}

/* ---- hostile requests, as files ---- */

static char *read_request(const char *name, size_t *bytes)
{
    char path[128];
    snprintf(path, sizeof path, "tests/requests/%s.req", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s (run from the repository's root)", path);
    char *data = malloc(1 << 16);
    *bytes = fread(data, 1, 1 << 16, file);
    fclose(file);
    return data;
}

static void test_request_files(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.request_line_bytes = request_limits.request_line_bytes;
    limits.header_bytes = request_limits.header_bytes;
    limits.header_count = (uint32_t)request_limits.header_count;
    struct fixture *fixture = fixture_new(limits);
    for (size_t i = 0; i < REQUEST_ROWS; i++) {
        size_t bytes;
        char *data = read_request(request_rows[i].file, &bytes);
        struct client client = client_open(fixture);
        client_send(&client, data, bytes);
        shutdown(client.fd, SHUT_WR);
        for (int r = 0; r < request_rows[i].requests; r++)
            client_expect(&client, 200, NULL);
        if (request_rows[i].status != 0) {
            struct response response = client_receive(&client, false);
            if (response.status != request_rows[i].status)
                fail_msg("%s: %d not %d", request_rows[i].file, response.status,
                         request_rows[i].status);
            assert_true(has(&response, "Connection: close\r\n"));
            assert_non_null(strstr(response.body, "{\"status\":{\"error\":\""));
            free(response.body);
        }
        if (!client_at_end(&client))
            fail_msg("%s: answered more than expected", request_rows[i].file);
        client_close(&client);
        free(data);
    }
    fixture_free(fixture);
}

/* 200 KB of header: told so while still sending, and not stored. */
static void test_huge_header(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    size_t bytes = 200 * 1024;
    char *value = malloc(bytes);
    memset(value, 'a', bytes);
    client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\nx: ");
    while (bytes > 0) { /* the server may close at any moment */
        ssize_t n = send(client.fd, value, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            break;
        bytes -= (size_t)n;
    }
    client_expect(&client, 431, NULL);
    client_close(&client);
    free(value);
    fixture_free(fixture);
}

/* ---- bodies ---- */

static void test_echo_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 65537, 1 << 20, 5000000};
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *data = malloc(sizes[i] + 1), head[100];
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (char)('a' + k % 23);
        data[sizes[i]] = 0;
        snprintf(head, sizeof head,
                 "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
        client_say(&client, head);
        client_send(&client, data, sizes[i]);
        client_expect(&client, 200, data);
        free(data);
    }
    client_close(&client);
    fixture_free(fixture);
}

static void test_chunked(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 500; i++)
        client_say(&client, "3;ext=1\r\nabc\r\n");
    client_say(&client, "0\r\nTrailer: x\r\n\r\n");
    struct response response = client_receive(&client, false);
    assert_true(response.status == 200 && response.body_bytes == 1500);
    free(response.body);
    client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&client, 200, "now");
    client_close(&client);
    fixture_free(fixture);
}

static void expect_too_large(struct client *client)
{
    struct response response = client_receive(client, false);
    assert_int_equal(response.status, 413);
    assert_non_null(strstr(response.body, "http.body_bytes_max"));
    assert_non_null(strstr(response.body, "1000 bytes"));
    free(response.body);
    assert_true(client_at_end(client));
}

static void test_too_large(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.body_bytes = 1000;
    struct fixture *fixture = fixture_new(limits);
    /* Exactly the limit passes. */
    struct client client = client_open(fixture);
    char body[1001];
    memset(body, 'x', 1000);
    body[1000] = 0;
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    client_say(&client, body);
    client_expect(&client, 200, body);
    /* One more is refused on its length alone, without waiting for the body. */
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    expect_too_large(&client);
    client_close(&client);
    /* With part of the body sent already, and more coming after the answer. */
    client = client_open(fixture);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n");
    for (int i = 0; i < 20; i++)
        client_say(&client, body);
    expect_too_large(&client);
    client_close(&client);
    /* Chunked: counted as it comes. */
    client = client_open(fixture);
    client_say(&client,
               "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n");
    client_say(&client, body);
    client_say(&client, "\r\n1\r\nx\r\n");
    expect_too_large(&client);
    client_close(&client);
    fixture_free(fixture);
}

static void test_expect(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.body_bytes = 1000;
    struct fixture *fixture = fixture_new(limits);
    struct client client = client_open(fixture);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Content-Length: 3\r\n\r\n");
    client_expect(&client, 100, NULL);
    client_say(&client, "abc");
    client_expect(&client, 200, "abc");
    /* The body is there already: no 100. */
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Content-Length: 3\r\n\r\nabc");
    client_expect(&client, 200, "abc");
    /* HTTP/1.0 knows no 100. */
    client_say(&client, "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n"
                        "Content-Length: 3\r\n\r\n");
    assert_false(wait_for(client.fd, POLLIN, 50));
    client_say(&client, "abc");
    client_expect(&client, 200, "abc");
    /* Refused: the final answer and no 100, and the connection ends, whether or not a body comes.
     */
    client_say(&client, "POST /deny HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Content-Length: 3\r\n\r\n");
    client_expect(&client, 401, "no");
    assert_true(client_at_end(&client));
    client_close(&client);
    client = client_open(fixture);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Content-Length: 2000\r\n\r\n");
    client_expect(&client, 413, NULL);
    assert_true(client_at_end(&client));
    client_close(&client);
    fixture_free(fixture);
}

/* Answered before its body was read: kept when the body was there anyway, else closed after it. */
static void test_answered_early(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client, "POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                        "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&client, 401, "no");
    client_expect(&client, 200, "now");
    client_say(&client, "POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nabc");
    client_expect(&client, 401, "no");
    client_say(&client, "the rest comes too late");
    assert_true(client_at_end(&client));
    client_close(&client);
    fixture_free(fixture);
}

/* ---- order ---- */

static void test_pipelined(void **state)
{
    (void)state;
    static const char *const paths[] = {"later", "now", "echo"};
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    enum { COUNT = 300 };
    char *text = malloc(COUNT * 200), *at = text;
    for (int i = 0; i < COUNT; i++)
        at += sprintf(at, "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d",
                      paths[i % 3], i);
    client_send(&client, text, (size_t)(at - text));
    for (int i = 0; i < COUNT; i++) {
        char body[16];
        snprintf(body, sizeof body, "%04d", i);
        client_expect(&client, 200, i % 3 == 1 ? "now" : body);
    }
    free(text);
    client_close(&client);
    fixture_free(fixture);
}

/* Pipelined requests, one at a time, on connections whose owners answer in reverse order. */
static void test_out_of_order(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    struct fixture *fixture = fixture_new(test_limits());
    struct client clients[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        char text[200];
        clients[i] = client_open(fixture);
        snprintf(text, sizeof text,
                 "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%zu"
                 "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%c",
                 i, (int)('a' + i));
        client_say(&clients[i], text);
        FIXTURE_WAIT(fixture, fixture->held_count == i + 1); /* the second one is not: it waits */
    }
    for (int round = 0; round < 2; round++) {
        FIXTURE_WAIT(fixture, fixture->held_count == COUNT);
        for (size_t i = COUNT; i-- > 0;)
            echo(fixture->held[i]);
        pthread_mutex_lock(&fixture->lock);
        memmove(fixture->held, fixture->held + COUNT,
                (fixture->held_count - COUNT) * sizeof fixture->held[0]);
        fixture->held_count -= COUNT;
        pthread_mutex_unlock(&fixture->lock);
        for (size_t i = 0; i < COUNT; i++) {
            char body[2] = {(char)((round == 0 ? '0' : 'a') + (int)i), 0};
            client_expect(&clients[i], 200, body);
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        client_close(&clients[i]);
    fixture_free(fixture);
}

/* ---- peers that half-close or vanish ---- */

static void test_half_closed(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
                        "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(client.fd, SHUT_WR);
    FIXTURE_WAIT(fixture, fixture->held_count == 1);
    release(fixture, 0);
    client_expect(&client, 200, "x");
    client_expect(&client, 200, "now");
    assert_true(client_at_end(&client));
    client_close(&client);
    /* Seen while it is executed: the answer says that it is the last. */
    client = client_open(fixture);
    client_say(&client, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    FIXTURE_WAIT(fixture, fixture->held_count == 1);
    shutdown(client.fd, SHUT_WR);
    fixture_call(fixture, get_figures); /* the loop has seen the end, or sees it in this turn */
    fixture_call(fixture, get_figures);
    release(fixture, 0);
    struct response response = client_receive(&client, false);
    assert_true(response.status == 200 && has(&response, "Connection: close\r\n"));
    free(response.body);
    assert_true(client_at_end(&client));
    client_close(&client);
    /* Half a head, half a body: told so. */
    static const char *const halves[] = {
        "GET /now HTTP/1.1\r\nHos",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"};
    for (size_t i = 0; i < 3; i++) {
        client = client_open(fixture);
        client_say(&client, halves[i]);
        shutdown(client.fd, SHUT_WR);
        client_expect(&client, 400, NULL);
        assert_true(client_at_end(&client));
        client_close(&client);
    }
    /* Nothing at all: nothing. */
    client = client_open(fixture);
    shutdown(client.fd, SHUT_WR);
    assert_true(client_at_end(&client));
    client_close(&client);
    fixture_free(fixture);
}

static void test_vanished(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    /* While it is executed: the owner's reply finds nobody. */
    struct client client = client_open(fixture);
    client_say(&client, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    FIXTURE_WAIT(fixture, fixture->held_count == 1);
    client_abort(&client);
    do
        fixture_call(fixture, get_figures);
    while (fixture->figures.connections > 0);
    release(fixture, 0);
    FIXTURE_WAIT(fixture, fixture->finished_count == 1);
    assert_int_equal(fixture->finished_status, 200);
    /* While its body comes. */
    client = client_open(fixture);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Content-Length: 100000\r\n\r\n");
    client_expect(&client, 100, NULL);
    client_say(&client, "abc");
    client_abort(&client);
    FIXTURE_WAIT(fixture, fixture->finished_count == 2);
    /* libuv tells a reset behind the last bytes as an end: then 400 was tried. */
    assert_true(fixture->finished_status == HTTP_PEER_GONE || fixture->finished_status == 400);
    /* While its head comes, and before anything does. */
    client = client_open(fixture);
    client_say(&client, "GET /now HT");
    client_abort(&client);
    client = client_open(fixture);
    client_abort(&client);
    do
        fixture_call(fixture, get_figures);
    while (fixture->figures.connections > 0);
    assert_int_equal(fixture->figures.body_bytes_held, 0);
    assert_int_equal(fixture->figures.requests, 2);
    fixture_free(fixture);
}

/* ---- many ---- */

static void test_many_connections(void **state)
{
    (void)state;
    enum { COUNT = 150 };
    struct fixture *fixture = fixture_new(test_limits());
    struct client clients[COUNT];
    for (int i = 0; i < COUNT; i++)
        clients[i] = client_open(fixture);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < COUNT; i++)
            client_say(&clients[i],
                       "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        for (int i = 0; i < COUNT; i++)
            client_expect(&clients[i], 200, "hi");
    }
    fixture_call(fixture, get_figures);
    assert_int_equal(fixture->figures.connections, COUNT);
    assert_int_equal(fixture->figures.requests, 5 * COUNT);
    assert_int_equal(fixture->figures.body_bytes_held, 0);
    for (int i = 0; i < COUNT; i++)
        client_close(&clients[i]);
    fixture_free(fixture);
}

static void test_connection_limit(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.connection_count = 5;
    struct fixture *fixture = fixture_new(limits);
    struct client clients[5];
    for (int i = 0; i < 5; i++) {
        clients[i] = client_open(fixture);
        client_say(&clients[i], "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        client_expect(&clients[i], 200, "now");
    }
    struct client more = client_open(fixture);
    struct response response = client_receive(&more, false);
    assert_int_equal(response.status, 503);
    assert_true(has(&response, "Retry-After: 1\r\n") && has(&response, "Connection: close\r\n"));
    assert_non_null(strstr(response.body, "http.connections_max"));
    free(response.body);
    assert_true(client_at_end(&more));
    client_close(&more);
    /* One leaves, one can come. */
    client_close(&clients[0]);
    do
        fixture_call(fixture, get_figures);
    while (fixture->figures.connections > 4);
    clients[0] = client_open(fixture);
    client_say(&clients[0], "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&clients[0], 200, "now");
    for (int i = 0; i < 5; i++)
        client_close(&clients[i]);
    fixture_free(fixture);
}

static void test_listen_errors(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct http_limits limits = test_limits();
    struct http_handlers handlers = {NULL, on_headers, on_request, on_stream, NULL};
    struct http_server *server = NULL;
    uv_loop_t loop;
    char why[200] = "", expected[200];
    uv_loop_init(&loop);
    assert_int_equal(http_server_new(&loop, "127.0.0.1", fixture->port, &limits, &handlers, &server,
                                     why, sizeof why),
                     ERROR_BUSY);
    snprintf(expected, sizeof expected, "cannot listen on 127.0.0.1:%u: address already in use",
             fixture->port);
    assert_string_equal(why, expected);
    assert_int_equal(
        http_server_new(&loop, "no host", 0, &limits, &handlers, &server, why, sizeof why),
        ERROR_INVALID);
    assert_null(server);
    assert_int_equal(uv_loop_close(&loop), 0);
    http_server_free(NULL);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_request_files),
        cmocka_unit_test(test_huge_header),
        cmocka_unit_test(test_echo_sizes),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_answered_early),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_out_of_order),
        cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_vanished),
        cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_listen_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
