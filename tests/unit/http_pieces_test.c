/* Replies in pieces: framing, back-pressure, and what becomes of them when either side ends early.
 */
#include "tests/unit/http_harness.h"

static struct fixture *pieces_fixture(size_t pieces, size_t bytes, bool known)
{
    struct fixture *fixture = fixture_new(test_limits());
    fixture->pieces = pieces;
    fixture->piece_bytes = bytes;
    fixture->pieces_known = known;
    return fixture;
}

static void ask(struct client *client, const char *version)
{
    char line[80];
    snprintf(line, sizeof line, "GET /pieces HTTP/%s\r\nHost: a\r\n\r\n", version);
    client_say(client, line);
}

static void expect_bytes(const char *data, size_t bytes, size_t from)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] != (char)('a' + (from + i) % 23))
            fail_msg("byte %zu of the body is wrong", from + i);
    }
}

static struct response receive_head(struct client *client)
{
    struct response response = client_receive(client, true);
    free(response.body);
    response.body = NULL;
    return response;
}

static void need(struct client *client, size_t bytes)
{
    while (client->bytes < bytes)
        assert_true(client_more(client));
}

/* A chunk's bytes are consumed; 0 at the last one. */
static size_t receive_chunk(struct client *client, size_t from)
{
    char *end = NULL;
    while (client->bytes < 2 || (end = memmem(client->data, client->bytes, "\r\n", 2)) == NULL)
        assert_true(client_more(client));
    const size_t line = (size_t)(end - client->data) + 2, bytes = strtoul(client->data, NULL, 16);
    need(client, line + bytes + 2);
    expect_bytes(client->data + line, bytes, from);
    assert_memory_equal(client->data + line + bytes, "\r\n", 2);
    client_consume(client, line + bytes + 2);
    return bytes;
}

static void expect_next_request(struct client *client)
{
    client_say(client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(client, 200, "now");
}

static void test_chunked(void **state)
{
    (void)state;
    struct fixture *fixture = pieces_fixture(7, 1000, false);
    struct client client = client_open(fixture);
    ask(&client, "1.1");
    struct response response = receive_head(&client);
    assert_true(response.status == 200 && has(&response, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_true(has(&response, "\r\nX-Extra: 1\r\n") && !has(&response, "Content-Length"));
    size_t total = 0, chunks = 0;
    for (size_t got; (got = receive_chunk(&client, total)) > 0; total += got)
        chunks++;
    assert_int_equal(total, 7000);
    assert_int_equal(chunks, 7);
    expect_next_request(&client);
    client_close(&client);
    fixture_free(fixture);
}

static void test_known_length(void **state)
{
    (void)state;
    struct fixture *fixture = pieces_fixture(5, 300000, true);
    struct client client = client_open(fixture);
    ask(&client, "1.1");
    struct response response = client_receive(&client, false);
    assert_true(response.status == 200 && !has(&response, "chunked"));
    assert_int_equal(response.body_bytes, 1500000);
    expect_bytes(response.body, response.body_bytes, 0);
    free(response.body);
    expect_next_request(&client);
    /* finished() is told once for each of the two, with the length of both */
    FIXTURE_WAIT(fixture, fixture->finished_count == 2);
    client_close(&client);
    fixture_free(fixture);
}

static void test_one_piece(void **state)
{
    (void)state;
    struct fixture *fixture = pieces_fixture(1, 0, false);
    struct client client = client_open(fixture);
    ask(&client, "1.1");
    (void)receive_head(&client);
    assert_int_equal(receive_chunk(&client, 0), 0);
    expect_next_request(&client);
    client_close(&client);
    fixture_free(fixture);
}

/* HTTP/1.0 knows no chunks: the end of the connection is the end of the body. */
static void test_http_1_0(void **state)
{
    (void)state;
    struct fixture *fixture = pieces_fixture(3, 100, false);
    struct client client = client_open(fixture);
    client_say(&client, "GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct response response = receive_head(&client);
    assert_true(has(&response, "\r\nConnection: close\r\n") && !has(&response, "chunked"));
    while (client_more(&client))
        continue;
    assert_int_equal(client.bytes, 300);
    expect_bytes(client.data, 300, 0);
    client_close(&client);
    fixture_free(fixture);
}

/* Who does not read is not read for: no piece is made beyond what the socket takes. */
static void test_back_pressure(void **state)
{
    (void)state;
    enum { PIECES = 400, BYTES = 100000 };
    struct fixture *fixture = pieces_fixture(PIECES, BYTES, false);
    struct client client = client_open(fixture);
    ask(&client, "1.1");
    (void)receive_head(&client);
    size_t before, after;
    do { /* until a piece stays with the server: then nothing may happen */
        pthread_mutex_lock(&fixture->lock);
        before = fixture->pieces_made;
        pthread_mutex_unlock(&fixture->lock);
        for (int i = 0; i < 200; i++)
            fixture_call(fixture, get_figures);
        pthread_mutex_lock(&fixture->lock);
        after = fixture->pieces_made;
        pthread_mutex_unlock(&fixture->lock);
    } while (before != after);
    assert_true(after < PIECES);
    size_t total = 0;
    for (size_t got; (got = receive_chunk(&client, total)) > 0;)
        total += got;
    assert_int_equal(total, (size_t)PIECES * BYTES);
    client_close(&client);
    fixture_free(fixture);
}

/* The client sees a body that is cut: by framing, and by the end of the connection. */
static void test_cut(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct fixture *fixture = pieces_fixture(3, 1000, known == 1);
        fixture->pieces_cut = true;
        struct client client = client_open(fixture);
        ask(&client, "1.1");
        (void)receive_head(&client);
        while (client_more(&client))
            continue;
        assert_true(client.bytes < 3000);
        assert_null(memmem(client.data, client.bytes, "\r\n0\r\n", 5));
        client_close(&client);
        FIXTURE_WAIT(fixture, fixture->finished_count == 1);
        assert_int_equal(fixture->finished_status, HTTP_PEER_GONE);
        fixture_free(fixture);
    }
}

/* The owner is told, ends the request, and nothing of it stays. */
static void test_peer_gone(void **state)
{
    (void)state;
    struct fixture *fixture = pieces_fixture(1000000, 100000, true);
    for (uint64_t i = 1; i <= 5; i++) {
        struct client client = client_open(fixture);
        pthread_mutex_lock(&fixture->lock);
        fixture->pieces_made = 0;
        fixture->pieces_lost = false;
        pthread_mutex_unlock(&fixture->lock);
        ask(&client, "1.1");
        FIXTURE_WAIT(fixture, fixture->pieces_made > i);
        if (i % 2 == 0)
            client_close(&client);
        else
            client_abort(&client);
        FIXTURE_WAIT(fixture, fixture->pieces_lost && fixture->finished_count == i);
        assert_int_equal(fixture->finished_status, HTTP_PEER_GONE);
    }
    fixture_free(fixture);
}

/* A client that never reads on loses its connection, as with any reply. */
static void test_stalled(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.write_timeout_ms = 100;
    struct fixture *fixture = fixture_new(limits);
    fixture->pieces = 1000000;
    fixture->piece_bytes = 100000;
    struct client client = client_open(fixture);
    ask(&client, "1.1");
    FIXTURE_WAIT(fixture, fixture->pieces_lost && fixture->finished_count == 1);
    client_close(&client);
    fixture_free(fixture);
}

/* The end of the server, in the middle: after the time for running requests they are cut. */
static void test_stop(void **state)
{
    (void)state;
    struct http_limits limits = test_limits();
    limits.drain_timeout_ms = 100;
    struct fixture *fixture = fixture_new(limits);
    fixture->pieces = 1000000;
    fixture->piece_bytes = 100000;
    struct client client = client_open(fixture);
    ask(&client, "1.1");
    FIXTURE_WAIT(fixture, fixture->pieces_made > 2);
    fixture_call(fixture, begin_stop);
    fixture_end(fixture);
    client_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunked),       cmocka_unit_test(test_known_length),
        cmocka_unit_test(test_one_piece),     cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_peer_gone),     cmocka_unit_test(test_stalled),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
