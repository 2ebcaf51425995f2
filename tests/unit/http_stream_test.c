/* Streams, deadlines, budgets, and the end of the server.
 *
 * Deadlines are real time with tiny settings; a test waits for what the server does about them, on
 * its socket. Only where nothing must happen does it wait for the time itself to pass. */
#include "tests/unit/http_harness.h"

/* ---- streams ---- */

static void say_stream_head(struct client *client, size_t bytes)
{
    char head[128];
    snprintf(head, sizeof head, "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             bytes);
    client_say(client, head);
}

/* What the worker sums up of a body made by fill. */
static uint64_t fill(char *data, size_t bytes, uint64_t position)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (char)((position + i) * 7 % 256);
        sum += (uint8_t)data[i] * ((position + i) % 251 + 1);
    }
    return sum;
}

static void set_paused(struct fixture *fixture, bool paused)
{
    pthread_mutex_lock(&fixture->lock);
    fixture->stream_paused = paused;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

struct sender { /* of a long body, in a thread of its own since the server makes it wait */
    struct client *client;
    size_t bytes;
    bool chunked;
    uint64_t sum;
};

static void *run_sender(void *context)
{
    struct sender *sender = context;
    enum { PIECE = 50000 };
    static char data[PIECE];
    for (size_t at = 0; at < sender->bytes;) {
        size_t n = sender->bytes - at < PIECE ? sender->bytes - at : PIECE;
        char line[16];
        sender->sum += fill(data, n, at);
        snprintf(line, sizeof line, "%zx\r\n", n);
        if (sender->chunked)
            client_say(sender->client, line);
        client_send(sender->client, data, n);
        if (sender->chunked)
            client_say(sender->client, "\r\n");
        at += n;
    }
    if (sender->chunked)
        client_say(sender->client, "0\r\n\r\n");
    return NULL;
}

/* 20 MB through a buffer of 64 KiB, and then another request on the same connection. */
static void stream_much(bool chunked)
{
    struct http_limits limits = test_limits();
    limits.stream_buffer_bytes = 64 * 1024;
    limits.body_bytes = 1000; /* does not count here */
    struct fixture *fixture = fixture_new(limits);
    struct client client = client_open(fixture);
    struct sender sender = {&client, 20000000, chunked, 0};
    fixture->stream_paused = true;
    if (chunked)
        client_say(&client,
                   "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        say_stream_head(&client, sender.bytes);
    pthread_t thread;
    pthread_create(&thread, NULL, run_sender, &sender);
    /* The consumer takes nothing: the server holds the buffer and no more, however much comes. */
    do
        fixture_call(fixture, get_figures);
    while (fixture->figures.body_bytes_held < limits.stream_buffer_bytes);
    for (int i = 0; i < 100; i++) {
        fixture_call(fixture, get_figures);
        assert_true(fixture->figures.body_bytes_held <= 4 * 64 * 1024);
    }
    set_paused(fixture, false);
    client_expect(&client, 200, "streamed");
    pthread_join(thread, NULL);
    assert_int_equal(fixture->stream_bytes, sender.bytes);
    assert_int_equal(fixture->stream_sum, sender.sum);
    assert_true(fixture->stream_held_most <= 2 * 64 * 1024);
    assert_int_equal(fixture->stream_state, HTTP_STREAM_END);
    client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&client, 200, "now");
    fixture_call(fixture, get_figures);
    assert_int_equal(fixture->figures.body_bytes_held, 0);
    client_close(&client);
    fixture_free(fixture);
}

static void test_stream_much(void **state)
{
    (void)state;
    stream_much(false);
}

static void test_stream_much_chunked(void **state)
{
    (void)state;
    stream_much(true);
}

static void test_stream_small(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    say_stream_head(&client, 0);
    client_expect(&client, 200, "streamed");
    /* Told anew each time the consumer has run dry. */
    say_stream_head(&client, 200);
    for (uint64_t i = 1; i <= 200; i++) {
        client_say(&client, "x");
        FIXTURE_WAIT(fixture, fixture->stream_bytes == i);
    }
    client_expect(&client, 200, "streamed");
    client_close(&client);
    fixture_free(fixture);
}

/* Its owner answers before the body's end: the client sees it, and the connection ends. */
static void test_stream_answered_early(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    fixture->stream_reply_at = 10;
    struct client client = client_open(fixture);
    say_stream_head(&client, 1000000);
    client_say(&client, "0123456789");
    client_expect(&client, 200, "streamed");
    client_say(&client, "and some more that nobody reads");
    assert_true(client_at_end(&client));
    client_close(&client);
    /* With bytes in the queue that nobody took. */
    fixture->stream_refused = true;
    client = client_open(fixture);
    say_stream_head(&client, 1000000);
    client_say(&client, "0123456789");
    client_expect(&client, 400, "refused");
    assert_true(client_at_end(&client));
    client_close(&client);
    fixture_call(fixture, get_figures);
    assert_int_equal(fixture->figures.body_bytes_held, 0);
    fixture_free(fixture);
}

static void expect_broken(struct fixture *fixture, struct client *client, int status)
{
    client_expect(client, status, "streamed");
    assert_true(client_at_end(client));
    client_close(client);
    pthread_mutex_lock(&fixture->lock);
    assert_int_equal(fixture->stream_state, HTTP_STREAM_BROKEN);
    assert_int_equal(fixture->stream_bytes, 3); /* what had come was delivered before */
    assert_int_equal(fixture->finished_status, status);
    pthread_mutex_unlock(&fixture->lock);
    fixture_free(fixture);
}

static void test_stream_broken(void **state)
{
    (void)state;
    /* Malformed. */
    struct fixture *fixture = fixture_new(test_limits());
    struct client client = client_open(fixture);
    client_say(&client, "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\nzz\r\n");
    expect_broken(fixture, &client, 400);
    /* With nothing to say on its owner's side: then http says what was wrong. */
    fixture = fixture_new(test_limits());
    fixture->stream_silent = true;
    client = client_open(fixture);
    say_stream_head(&client, 100);
    shutdown(client.fd, SHUT_WR);
    client_expect(&client, 400,
                  "{\"status\":{\"error\":\"Bad request: the connection ended within the "
                  "request\"},\"time\":0.0}");
    client_close(&client);
    fixture_free(fixture);
    /* Half-closed. */
    fixture = fixture_new(test_limits());
    client = client_open(fixture);
    say_stream_head(&client, 100);
    client_say(&client, "abc");
    shutdown(client.fd, SHUT_WR);
    expect_broken(fixture, &client, 400);
    /* Too slow. */
    struct http_limits limits = test_limits();
    limits.body_grace_ms = 100;
    fixture = fixture_new(limits);
    client = client_open(fixture);
    say_stream_head(&client, 100);
    client_say(&client, "abc");
    expect_broken(fixture, &client, 408);
    /* Gone. */
    fixture = fixture_new(test_limits());
    client = client_open(fixture);
    say_stream_head(&client, 100);
    client_say(&client, "abc");
    client_abort(&client);
    FIXTURE_WAIT(fixture, fixture->finished_count == 1);
    assert_int_equal(fixture->stream_state, HTTP_STREAM_BROKEN);
    fixture_free(fixture);
}

/* While we are the slow side the client's rate is not held against it. */
static void test_stream_slow_consumer(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.stream_buffer_bytes = 1000;
    limits.body_grace_ms = 100;
    limits.body_bytes_per_s = 4000;
    struct fixture *fixture = fixture_new(limits);
    struct client client = client_open(fixture);
    static char data[3000];
    fixture->stream_paused = true;
    say_stream_head(&client, sizeof data + 1);
    client_send(&client, data, sizeof data);
    /* 3,000 bytes are enough for 0.75 s: neither in twice that time nor afterwards is it a 408. */
    assert_false(wait_for(client.fd, POLLIN, 1600));
    set_paused(fixture, false);
    FIXTURE_WAIT(fixture, fixture->stream_bytes == sizeof data);
    assert_false(wait_for(client.fd, POLLIN, 100));
    client_say(&client, "x");
    client_expect(&client, 200, "streamed");
    client_close(&client);
    fixture_free(fixture);
}

/* ---- deadlines ---- */

static void expect_timeout(struct client *client, const char *key)
{
    struct response response = client_receive(client, false);
    assert_int_equal(response.status, 408);
    assert_non_null(strstr(response.body, key));
    free(response.body);
    assert_true(client_at_end(client));
    client_close(client);
}

static void test_header_timeout(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.header_timeout_ms = 200;
    struct fixture *fixture = fixture_new(limits);
    struct client client = client_open(fixture);
    client_say(&client, "GET /now HTTP/1.1\r\nHost:");
    expect_timeout(&client, "http.header_timeout_ms");
    /* Absolute: a byte now and then does not move it. */
    client = client_open(fixture);
    client_say(&client, "GET /now HTTP/1.1\r\nHost: ");
    int bytes = 0;
    while (!wait_for(client.fd, POLLIN, 20) && bytes++ < 500)
        client_say(&client, "a");
    assert_true(bytes < 500);
    expect_timeout(&client, "http.header_timeout_ms");
    fixture_free(fixture);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.idle_timeout_ms = 200;
    struct fixture *fixture = fixture_new(limits);
    struct client client = client_open(fixture);
    assert_true(client_at_end(&client)); /* before a first request, without a word */
    client_close(&client);
    client = client_open(fixture);
    client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&client, 200, "now");
    assert_true(client_at_end(&client)); /* and between two */
    client_close(&client);
    /* But not while a request is executed. */
    client = client_open(fixture);
    client_say(&client, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    FIXTURE_WAIT(fixture, fixture->held_count == 1);
    assert_false(wait_for(client.fd, POLLIN, 600));
    release(fixture, 0);
    client_expect(&client, 200, "");
    client_close(&client);
    fixture_free(fixture);
}

static void test_body_rate(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.body_grace_ms = 200;
    limits.body_bytes_per_s = 10000;
    struct fixture *fixture = fixture_new(limits);
    struct client client = client_open(fixture);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    expect_timeout(&client, "http.body_bytes_per_s_min");
    /* Fast enough on average, but then nothing for as long as an idle connection is kept. */
    limits.body_bytes_per_s = 0;
    limits.idle_timeout_ms = 300;
    struct fixture *stalling = fixture_new(limits);
    client = client_open(stalling);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    expect_timeout(&client, "http.body_bytes_per_s_min");
    fixture_free(stalling);
    /* Fast enough, for three times the grace. */
    client = client_open(fixture);
    static char data[1000];
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
    for (int i = 0; i < 30; i++) {
        assert_false(wait_for(client.fd, POLLIN, 20));
        client_send(&client, data, sizeof data);
    }
    client_expect(&client, 200, NULL);
    client_close(&client);
    fixture_free(fixture);
}

/* ---- back-pressure ---- */

/* Receive pieces of up to 100 KB with a pause before each. */
static void read_slowly(struct client *client, int pieces, int pause_ms)
{
    for (int i = 0; i < pieces; i++) {
        assert_false(wait_for(client->fd, 0, pause_ms));
        assert_true(client_more_of(client, 100000));
    }
}

/* A client that does not read its answer is let go; one that reads slowly is not. */
static void test_write_timeout(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.write_timeout_ms = 1200; /* a busy machine may pause us for as long */
    struct fixture *fixture = fixture_new(limits);
    enum { BYTES = 20000000 };
    char *body = malloc(BYTES), head[100];
    memset(body, 'w', BYTES);
    snprintf(head, sizeof head, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
             BYTES);
    for (int slow = 0; slow < 2; slow++) {
        struct client client = client_open(fixture);
        client_say(&client, head);
        client_send(&client, body, BYTES);
        client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"); /* waits behind it */
        FIXTURE_WAIT(fixture, fixture->finished_count == (uint64_t)slow + 1);
        if (slow) { /* for longer than the timeout, but never without progress for so long */
            read_slowly(&client, 100, 15);
            struct response response = client_receive(&client, false);
            assert_true(response.status == 200 && response.body_bytes == BYTES);
            free(response.body);
            client_expect(&client, 200, "now");
        }
        do
            fixture_call(fixture, get_figures);
        while (!slow && fixture->figures.connections > 0);
        assert_int_equal(fixture->figures.body_bytes_held, 0);
        client_close(&client);
    }
    free(body);
    fixture_free(fixture);
}

static void say_body_head(struct client *client, size_t bytes)
{
    char head[100];
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             bytes);
    client_say(client, head);
}

static void test_body_budget(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.body_budget_bytes = 1500000;
    limits.body_grace_ms = 400;
    limits.body_bytes_per_s = 0;
    struct fixture *fixture = fixture_new(limits);
    enum { BYTES = 1000000 };
    char *body = malloc(BYTES);
    memset(body, 'b', BYTES);
    /* The second waits until the first is answered. */
    struct client first = client_open(fixture), second = client_open(fixture);
    say_body_head(&first, BYTES);
    client_send(&first, body, BYTES - 1);
    do
        fixture_call(fixture, get_figures);
    while (fixture->figures.body_bytes_held < BYTES);
    say_body_head(&second, BYTES);
    client_send(&second, body, 100000);
    assert_false(wait_for(second.fd, POLLIN, 50));
    fixture_call(fixture, get_figures);
    assert_true(fixture->figures.body_bytes_held <= limits.body_budget_bytes);
    client_send(&first, body, 1);
    client_expect(&first, 200, NULL);
    client_send(&second, body, BYTES - 100000);
    client_expect(&second, 200, NULL);
    /* Or is told to come back when nobody lets go. */
    say_body_head(&first, BYTES);
    client_send(&first, body, BYTES - 1);
    do
        fixture_call(fixture, get_figures);
    while (fixture->figures.body_bytes_held < BYTES);
    say_body_head(&second, BYTES);
    client_send(&second, body, 1000);
    struct response response = client_receive(&second, false);
    assert_true(response.status == 503 && has(&response, "Retry-After: 1\r\n"));
    assert_non_null(strstr(response.body, "http.body_budget_bytes"));
    free(response.body);
    assert_true(client_at_end(&second));
    client_send(&first, body, 1);
    client_expect(&first, 200, NULL);
    client_close(&first);
    client_close(&second);
    free(body);
    fixture_free(fixture);
}

/* ---- the end ---- */

static void test_stop_drains(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new(test_limits());
    struct client idle = client_open(fixture), running = client_open(fixture),
                  sending = client_open(fixture);
    client_say(&idle, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&idle, 200, "now");
    client_say(&running, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    FIXTURE_WAIT(fixture, fixture->held_count == 1);
    client_say(&sending, "POST /later HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                         "Content-Length: 3\r\n\r\n");
    client_expect(&sending, 100, NULL);
    fixture_call(fixture, begin_stop);
    assert_true(client_at_end(&idle));
    client_say(&sending, "abc");
    struct response response = client_receive(&sending, false);
    assert_true(response.status == 200 && has(&response, "Connection: close\r\n"));
    free(response.body);
    assert_true(client_at_end(&sending));
    /* Nobody new. */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    close(fd);
    pthread_mutex_lock(&fixture->lock);
    assert_false(fixture->stopped);
    pthread_mutex_unlock(&fixture->lock);
    release(fixture, 0);
    client_expect(&running, 200, "");
    assert_true(client_at_end(&running));
    client_close(&idle);
    client_close(&running);
    client_close(&sending);
    fixture_end(fixture);
}

/* An owner that does not reply in time does not hold the end up, and may still reply after it. */
static void test_stop_forced(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.drain_timeout_ms = 200;
    struct fixture *fixture = fixture_new(limits);
    struct client running = client_open(fixture), half = client_open(fixture),
                  stream = client_open(fixture), gone = client_open(fixture);
    client_say(&running, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    client_say(&gone, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    FIXTURE_WAIT(fixture, fixture->held_count == 2);
    client_abort(&gone);
    client_say(&half, "GET /no");
    say_stream_head(&stream, 100);
    client_say(&stream, "abc");
    FIXTURE_WAIT(fixture, fixture->stream_bytes == 3);
    fixture_call(fixture, begin_stop);
    assert_true(client_at_end(&running));
    assert_true(client_at_end(&half));
    assert_true(client_at_end(&stream));
    client_close(&running);
    client_close(&half);
    client_close(&stream);
    fixture_end(fixture); /* releases what is held, after stopped() */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_much),    cmocka_unit_test(test_stream_much_chunked),
        cmocka_unit_test(test_stream_small),   cmocka_unit_test(test_stream_answered_early),
        cmocka_unit_test(test_stream_broken),  cmocka_unit_test(test_stream_slow_consumer),
        cmocka_unit_test(test_header_timeout), cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_body_rate),      cmocka_unit_test(test_write_timeout),
        cmocka_unit_test(test_body_budget),    cmocka_unit_test(test_stop_drains),
        cmocka_unit_test(test_stop_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
