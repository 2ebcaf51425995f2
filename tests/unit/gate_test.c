/* Requests as files, most of them hostile, against the gate alone and against the whole parser;
 * each whole, byte by byte and cut at every position: where a buffer ends must never change the
 * answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/http_parse.h"
#include "tests/requests/rows.h"

static char *read_file(const char *name, size_t *bytes)
{
    char path[128];
    snprintf(path, sizeof path, "tests/requests/%s.req", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s (run from the repository's root)", path);
    char *data = malloc(1 << 16);
    *bytes = fread(data, 1, 1 << 16, file);
    fclose(file);
    assert_true(*bytes > 0 && *bytes < 1 << 16);
    /* Exactly as long as the file, so that a read past the end is seen by ASan. */
    return realloc(data, *bytes);
}

/* ---- one way through the parser, and what came out of it as text ---- */

struct outcome {
    int status, requests;
    size_t bytes;
    char text[8192];
};

struct reader {
    struct http_parser parser;
    struct http_request request;
    struct outcome *outcome;
    bool open, stop;
};

static int say_bytes(void *context, const char *data, size_t bytes)
{
    struct outcome *outcome = context;
    assert_true(outcome->bytes + bytes < sizeof outcome->text);
    if (bytes > 0)
        memcpy(outcome->text + outcome->bytes, data, bytes);
    outcome->bytes += bytes;
    return 0;
}

static void say_span(struct outcome *outcome, const char *label, struct span span)
{
    say_bytes(outcome, label, strlen(label));
    say_bytes(outcome, (const char *)span.data, span.bytes);
}

static void say_request(struct outcome *outcome, const struct http_request *request)
{
    char line[64];
    snprintf(line, sizeof line, "length %llu method %d",
             (unsigned long long)request->content_length, (int)request->method);
    say_span(outcome, "", span_text(line));
    say_span(outcome, " path ", request->path);
    say_span(outcome, " query ", request->query);
    for (size_t i = 0; i < request->segment_count; i++)
        say_span(outcome, " segment ", request->segments[i]);
    say_span(outcome, " type ", request->content_type);
    say_span(outcome, " key ", request->api_key);
    say_span(outcome, " origin ", request->origin);
    say_span(outcome, " id ", request->request_id);
    say_span(outcome, " body ", (struct span){NULL, 0});
}

static void reader_next(struct reader *reader)
{
    memset(&reader->request, 0, sizeof reader->request);
    arena_init(&reader->request.arena);
    http_parser_init(&reader->parser, &reader->request, &request_limits);
    reader->open = true;
}

static void reader_close(struct reader *reader)
{
    http_parser_release(&reader->parser);
    arena_release(&reader->request.arena);
    reader->open = false;
}

static size_t reader_step(struct reader *reader, const char *data, size_t bytes)
{
    struct http_parser *parser = &reader->parser;
    struct outcome *outcome = reader->outcome;
    size_t used = 0;
    if (!reader->open)
        reader_next(reader);
    if (parser->stage == HTTP_PARSE_HEAD) {
        outcome->status = http_parser_head(parser, data, bytes, &used);
        if (outcome->status == 0 && parser->stage != HTTP_PARSE_HEAD)
            say_request(outcome, &reader->request);
    } else {
        outcome->status = http_parser_body(parser, data, bytes, &used, say_bytes, outcome);
    }
    assert_true(used > 0 && used <= bytes);
    if (outcome->status != 0) {
        assert_non_null(parser->why);
        reader->stop = true;
    } else if (parser->stage == HTTP_PARSE_END) {
        outcome->requests++;
        reader->stop = !parser->keep_alive;
        reader_close(reader);
    }
    return used;
}

static void reader_feed(struct reader *reader, const char *data, size_t bytes)
{
    for (size_t at = 0; at < bytes && !reader->stop;)
        at += reader_step(reader, data + at, bytes - at);
}

/* Feed data in pieces: up to cut, then in steps. The piece is copied to memory of its own size. */
static void run(const char *data, size_t bytes, size_t cut, size_t step, struct outcome *outcome)
{
    struct reader reader = {.outcome = outcome};
    memset(outcome, 0, sizeof *outcome);
    for (size_t at = 0; at < bytes && !reader.stop;) {
        size_t n = at < cut ? cut - at : step;
        n = n < bytes - at ? n : bytes - at;
        char *piece = malloc(n);
        memcpy(piece, data + at, n);
        reader_feed(&reader, piece, n);
        free(piece);
        at += n;
    }
    if (reader.open)
        reader_close(&reader);
}

static void assert_same(const char *file, size_t cut, const struct outcome *a,
                        const struct outcome *b)
{
    /* A refused body may have been delivered up to another place. */
    bool same = a->status == b->status && a->requests == b->requests &&
                (a->status != 0 || (a->bytes == b->bytes && !memcmp(a->text, b->text, a->bytes)));
    if (!same)
        fail_msg("%s cut at %zu: status %d after %d, not %d after %d\n%.*s\n%.*s", file, cut,
                 b->status, b->requests, a->status, a->requests, (int)a->bytes, a->text,
                 (int)b->bytes, b->text);
}

static void test_parser_table(void **state)
{
    (void)state;
    static struct outcome whole, cut;
    for (size_t r = 0; r < REQUEST_ROWS; r++) {
        size_t bytes;
        char *data = read_file(request_rows[r].file, &bytes);
        run(data, bytes, 0, bytes, &whole);
        if (whole.status != request_rows[r].status || whole.requests != request_rows[r].requests)
            fail_msg("%s: status %d after %d requests, not %d after %d", request_rows[r].file,
                     whole.status, whole.requests, request_rows[r].status,
                     request_rows[r].requests);
        run(data, bytes, 0, 1, &cut);
        assert_same(request_rows[r].file, 0, &whole, &cut);
        for (size_t at = 1; at < bytes; at++) {
            run(data, bytes, at, bytes, &cut);
            assert_same(request_rows[r].file, at, &whole, &cut);
        }
        free(data);
    }
}

/* ---- the gate alone ---- */

static int gate_run(const char *data, size_t bytes, size_t cut, size_t step, size_t *block)
{
    struct gate gate;
    bool done = false;
    int status = 0;
    const char *why = NULL;
    gate_reset(&gate, &request_limits);
    *block = 0;
    for (size_t at = 0; at < bytes && status == 0 && !done;) {
        size_t used, n = at < cut ? cut - at : step;
        n = n < bytes - at ? n : bytes - at;
        status = gate_feed(&gate, data + at, n, &used, &done, &why);
        assert_true(used <= n && (used == n || done || status != 0));
        assert_true((status != 0) == (why != NULL));
        assert_false(done && status != 0);
        *block += used;
        at += used;
    }
    return status;
}

static void test_gate_table(void **state)
{
    (void)state;
    for (size_t r = 0; r < REQUEST_ROWS; r++) {
        size_t bytes, block, same;
        char *data = read_file(request_rows[r].file, &bytes);
        int status = gate_run(data, bytes, 0, bytes, &block);
        if (status != request_rows[r].gate)
            fail_msg("%s: gate says %d, not %d", request_rows[r].file, status,
                     request_rows[r].gate);
        assert_int_equal(gate_run(data, bytes, 0, 1, &same), status);
        assert_int_equal(same, block);
        for (size_t at = 1; at < bytes; at++) {
            assert_int_equal(gate_run(data, bytes, at, bytes, &same), status);
            assert_int_equal(same, block);
        }
        free(data);
    }
}

/* ---- what was read, not only that it was ---- */

static void assert_text(const char *file, const char *text)
{
    static struct outcome outcome;
    size_t bytes;
    char *data = read_file(file, &bytes);
    run(data, bytes, 0, bytes, &outcome);
    assert_int_equal(outcome.bytes, strlen(text));
    assert_memory_equal(outcome.text, text, outcome.bytes);
    free(data);
}

static void test_contents(void **state)
{
    (void)state;
    assert_text("get", "length 0 method 0 path /collections query  segment collections type  key "
                       " origin  id abc-1 body ");
    assert_text("get-absolute", "length 0 method 0 path /collections/x query wait=true segment "
                                "collections segment x type  key  origin  id  body ");
    assert_text("get-slashes", "length 0 method 0 path //collections///%C3%BC/ query  segment "
                               "collections segment \xc3\xbc type  key  origin  id  body ");
    assert_text("post-length", "length 5 method 2 path /c query  segment c type application/json "
                               "key  origin  id  body hello");
    assert_text("post-chunked",
                "length 18446744073709551615 method 2 path /c query  segment c type "
                " key  origin  id  body hello world");
    /* A trailer is no header. */
    assert_text("trailer-api-key", "length 18446744073709551615 method 2 path /c query  segment c "
                                   "type  key  origin  id  body hello");
}

static int split(const char *target, struct http_request *request)
{
    const char *why = NULL;
    memset(request, 0, sizeof *request);
    arena_init(&request->arena);
    int status = http_target_split(request, span_text(target), &why);
    assert_true((status == 0) == (why == NULL));
    return status;
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        int status;
        size_t segments;
        const char *last;
    } targets[] = {
        {"/", 0, 0, NULL},
        {"////", 0, 0, NULL},
        {"/a", 0, 1, "a"},
        {"/a/", 0, 1, "a"},
        {"//a//b?c=/d", 0, 2, "b"},
        {"/a%20b", 0, 1, "a b"},
        {"/%2525", 0, 1, "%25"}, /* decoded once */
        {"/.././%2e%2E", 0, 3, ".."},
        {"/%e2%82%ac", 0, 1, "\xe2\x82\xac"},
        {"/?", 0, 0, NULL},
        {"HTTP://h", 0, 0, NULL},
        {"http://h?x", 0, 0, NULL},
        {"https://h/%41", 0, 1, "A"},
        {"", 400, 0, NULL},
        {"a", 400, 0, NULL},
        {"*", 400, 0, NULL}, /* only for OPTIONS */
        {"/%", 400, 0, NULL},
        {"/%4", 400, 0, NULL},
        {"/%4g", 400, 0, NULL},
        {"/a%2fb", 400, 0, NULL},
        {"/%00", 400, 0, NULL},
        {"/%ed%a0%80", 400, 0, NULL},    /* a surrogate */
        {"/%f4%90%80%80", 400, 0, NULL}, /* beyond U+10FFFF */
        {"/%e2%82", 400, 0, NULL},       /* cut short */
        {"/%e2/%82%ac", 400, 0, NULL},   /* whole only across a slash */
        {"/a#b", 400, 0, NULL},
    };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct http_request request;
        int status = split(targets[i].target, &request);
        if (status != targets[i].status)
            fail_msg("%s: %d", targets[i].target, status);
        if (status == 0)
            assert_int_equal(request.segment_count, targets[i].segments);
        if (targets[i].last != NULL)
            assert_true(span_equal(request.segments[request.segment_count - 1],
                                   span_text(targets[i].last)));
        arena_release(&request.arena);
    }
}

/* Limits hold exactly: a line or block of the limit passes, one byte more does not. */
static void test_limits_exact(void **state)
{
    (void)state;
    char data[4096];
    size_t block;
    const char *line = "GET / HTTP/1.1\r\n";
    for (int more = 0; more < 2; more++) {
        /* "GET /aaa HTTP/1.1" + CRLF of exactly request_line_bytes (+ 1). */
        int pad = (int)request_limits.request_line_bytes - (int)strlen(line) + more;
        int n = snprintf(data, sizeof data, "GET /%0*d HTTP/1.1\r\n\r\n", pad, 0);
        assert_int_equal(gate_run(data, (size_t)n, 0, 1, &block), more ? 414 : 0);
        /* "x: 000" + CRLF + CRLF of exactly header_bytes (+ 1). */
        pad = (int)request_limits.header_bytes - 7 + more;
        n = snprintf(data, sizeof data, "%sx: %0*d\r\n\r\n", line, pad, 0);
        assert_int_equal(gate_run(data, (size_t)n, 0, 1, &block), more ? 431 : 0);
        size_t at = (size_t)snprintf(data, sizeof data, "%s", line);
        for (size_t i = 0; i < request_limits.header_count + (size_t)more; i++)
            at += (size_t)snprintf(data + at, sizeof data - at, "x%zu: a\r\n", i);
        at += (size_t)snprintf(data + at, sizeof data - at, "\r\n");
        assert_int_equal(gate_run(data, at, 0, 1, &block), more ? 431 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_table),   cmocka_unit_test(test_parser_table),
        cmocka_unit_test(test_contents),     cmocka_unit_test(test_targets),
        cmocka_unit_test(test_limits_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
