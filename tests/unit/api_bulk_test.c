/* Bulk uploads over HTTP: both formats in pieces of any size, and everything that can be wrong with
 * them, each with the number of the record and of the points that were kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <time.h>
#include <zlib.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

#define NDJSON "Content-Type: application/x-ndjson\r\n"
#define NPY "Content-Type: application/x-npy\r\n"
#define RAW "Content-Type: application/octet-stream\r\n"
#define GZIP "Content-Encoding: gzip\r\n"

struct bytes {
    uint8_t *data;
    size_t count;
};

static void create(struct fixture *fixture, const char *name, unsigned dim, const char *distance)
{
    char path[128], body[128];
    snprintf(path, sizeof path, "/collections/%s", name);
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":%u,\"distance\":\"%s\"}}", dim, distance);
    expect_result(fixture, "PUT", path, body, "true");
}

/* Upload in chunks of `piece` bytes; 0: with a Content-Length, at once. */
static void upload(struct fixture *fixture, const char *path, const char *headers,
                   struct bytes body, size_t piece, struct reply *reply)
{
    int fd = client_connect(fixture->port);
    bool open = client_send_head(fd, "POST", path, headers, piece == 0 ? body.count : UINT64_MAX);
    if (piece == 0)
        open = open && client_send(fd, body.data, body.count);
    for (size_t at = 0; open && piece > 0 && at < body.count; at += piece)
        open = client_send_chunk(fd, body.data + at,
                                 body.count - at < piece ? body.count - at : piece);
    if (open && piece > 0)
        (void)client_send(fd, "0\r\n\r\n", 5);
    client_receive(fd, reply);
    close(fd);
}

static json_t *upload_json(struct fixture *fixture, const char *path, const char *headers,
                           struct bytes body, size_t piece, int status)
{
    struct reply reply;
    json_error_t error;
    upload(fixture, path, headers, body, piece, &reply);
    if (reply.status != status)
        fail_msg("%s: expected %d, got %d: %.*s", path, status, reply.status, (int)reply.body_bytes,
                 reply.body);
    json_t *json = json_loadb(reply.body, reply.body_bytes, 0, &error);
    assert_non_null(json);
    reply_release(&reply);
    return json;
}

static void expect_upload(struct fixture *fixture, const char *path, const char *headers,
                          struct bytes body, size_t piece, json_int_t points)
{
    json_t *json = upload_json(fixture, path, headers, body, piece, 200);
    json_t *result = json_object_get(json, "result");
    assert_int_equal(json_integer_value(json_object_get(result, "points")), points);
    assert_int_equal(json_integer_value(json_object_get(result, "bytes")), body.count);
    json_int_t batches = json_integer_value(json_object_get(result, "batches"));
    assert_true(batches >= (points + 1023) / 1024 && batches <= points);
    assert_true(json_is_real(json_object_get(result, "seconds")));
    assert_string_equal(json_string_value(json_object_get(json, "status")), "ok");
    json_decref(json);
}

/* text: the whole error text, or its beginning when it ends in "…". */
static void expect_bad_upload(struct fixture *fixture, const char *path, const char *headers,
                              struct bytes body, size_t piece, int status, json_int_t accepted,
                              const char *expected)
{
    json_t *json = upload_json(fixture, path, headers, body, piece, status);
    const char *text = json_string_value(json_object_get(json_object_get(json, "status"), "error"));
    assert_non_null(text);
    size_t bytes = strlen(expected);
    bool prefix = bytes >= 3 && strcmp(expected + bytes - 3, "…") == 0;
    if (prefix ? strncmp(text, expected, bytes - 3) != 0 : strcmp(text, expected) != 0)
        fail_msg("expected \"%s\", got \"%s\"", expected, text);
    if (accepted >= 0)
        assert_int_equal(json_integer_value(json_object_get(json, "accepted")), accepted);
    json_decref(json);
}

static json_int_t count_points(struct fixture *fixture, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/collections/%s/points/count", name);
    json_t *result = call_result_of(fixture, "POST", path, "{}");
    json_int_t count = json_integer_value(json_object_get(result, "count"));
    json_decref(result);
    return count;
}

static struct bytes text_bytes(const char *text)
{
    struct bytes bytes = {(uint8_t *)strdup(text), strlen(text)};
    return bytes;
}

/* ---- bodies ---- */

static struct bytes gzip(struct bytes plain)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    size_t capacity = deflateBound(&stream, plain.count) + 32;
    struct bytes out = {malloc(capacity), 0};
    stream.next_in = plain.data;
    stream.avail_in = (uInt)plain.count;
    stream.next_out = out.data;
    stream.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.count = capacity - stream.avail_out;
    deflateEnd(&stream);
    return out;
}

/* Lines of dimension dim with ids first, first + step, ...; coordinate j of id i is i + j/8. */
static struct bytes lines(unsigned first, unsigned count, unsigned step, unsigned dim)
{
    struct body_text text;
    text_open(&text);
    for (unsigned i = 0; i < count; i++) {
        fprintf(text.out, "{\"id\":%u,\"vector\":[", first + i * step);
        for (unsigned j = 0; j < dim; j++)
            fprintf(text.out, "%s%.9g", j ? "," : "", (double)(first + i * step) + j / 8.0);
        fprintf(text.out, "],\"payload\":{\"n\":%u}}\n", i);
    }
    char *data = text_of(&text);
    return (struct bytes){(uint8_t *)data, text.bytes};
}

/* An NPY file; header "" makes the usual one. */
static struct bytes npy(const char *descr, const char *order, uint64_t rows, uint64_t columns,
                        const void *data, size_t data_bytes)
{
    char header[128];
    int bytes = snprintf(header, sizeof header,
                         "{'descr': '%s', 'fortran_order': %s, 'shape': (%llu, %llu), }", descr,
                         order, (unsigned long long)rows, (unsigned long long)columns);
    while ((bytes + 11) % 64 != 0)
        header[bytes++] = ' ';
    header[bytes++] = '\n';
    struct bytes out = {malloc(10 + (size_t)bytes + data_bytes), 10 + (size_t)bytes + data_bytes};
    memcpy(out.data, "\x93NUMPY\x01\x00", 8);
    out.data[8] = (uint8_t)bytes;
    out.data[9] = 0;
    memcpy(out.data + 10, header, (size_t)bytes);
    memcpy(out.data + 10 + bytes, data, data_bytes);
    return out;
}

static struct bytes npy_floats(unsigned rows, unsigned columns)
{
    float *data = malloc(rows * columns * sizeof(float));
    for (unsigned i = 0; i < rows * columns; i++)
        data[i] = (float)i / 4;
    struct bytes out = npy("<f4", "False", rows, columns, data, rows * columns * sizeof(float));
    free(data);
    return out;
}

static void expect_vector(struct fixture *fixture, const char *name, unsigned long long id,
                          const double *vector, size_t dim)
{
    char path[128];
    snprintf(path, sizeof path, "/collections/%s/points/%llu", name, id);
    json_t *result = call_result_of(fixture, "GET", path, "");
    json_t *got = json_object_get(result, "vector");
    assert_int_equal(json_array_size(got), dim);
    for (size_t i = 0; i < dim; i++)
        assert_true((float)json_number_value(json_array_get(got, i)) == (float)vector[i]);
    json_decref(result);
}

/* ---- good uploads ---- */

static void test_lines_in_any_pieces(void **state)
{
    (void)state;
    struct bytes body =
        text_bytes("{\"id\":1,\"vector\":[1,2],\"payload\":{\"a\":\"\\u00e9\"}}\r\n"
                   "\n   \t\n"
                   "{\"vectors\":{\"\":[3,4]},\"id\":\"550e8400e29b41d4a716446655440"
                   "000\",\"payload\":null}\n"
                   "{\"id\":2,\"vector\":{}}\n"
                   "{\"id\":1,\"vector\":[5,6]}");
    struct bytes packed = gzip(body);
    const size_t pieces[] = {0, 1, 2, 3, 7, 50, 1000};
    for (size_t i = 0; i < 2 * sizeof pieces / sizeof pieces[0]; i++) {
        bool plain = i % 2 == 0;
        char name[32], path[64], scroll[64];
        snprintf(name, sizeof name, "pieces%zu", i);
        snprintf(path, sizeof path, "/collections/%s/bulk", name);
        create(&server, name, 2, "Dot");
        expect_upload(&server, path, plain ? NDJSON : NDJSON GZIP, plain ? body : packed,
                      pieces[i / 2], 4);
        snprintf(scroll, sizeof scroll, "/collections/%s/points/scroll", name);
        expect_result(&server, "POST", scroll, "{\"with_vector\":true}",
                      "{\"points\":[{\"id\":1,\"payload\":{},\"vector\":[5.0,6.0]},"
                      "{\"id\":2,\"payload\":{},\"vector\":{}},"
                      "{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"payload\":{},"
                      "\"vector\":[3.0,4.0]}],\"next_page_offset\":null}");
    }
    free(body.data);
    free(packed.data);
}

/* Several steps, and the last of two points with one id wins though they are in different ones. */
static void test_many_steps(void **state)
{
    (void)state;
    create(&server, "steps", 3, "Euclid");
    struct bytes first = lines(0, 5000, 1, 3), second = lines(0, 1, 1, 3);
    struct bytes body = {malloc(first.count + 100), first.count};
    memcpy(body.data, first.data, first.count);
    const char *last = "{\"id\":0,\"vector\":[9,9,9]}\n";
    memcpy(body.data + body.count, last, strlen(last));
    body.count += strlen(last);
    for (size_t piece = 0; piece <= 60000; piece += 20001)
        expect_upload(&server, "/collections/steps/bulk", NDJSON, body, piece, 5001);
    assert_int_equal(count_points(&server, "steps"), 5000);
    expect_vector(&server, "steps", 0, (const double[]){9, 9, 9}, 3);
    expect_vector(&server, "steps", 4999, (const double[]){4999, 4999.125, 4999.25}, 3);
    free(first.data);
    free(second.data);
    free(body.data);
}

static void test_npy_types(void **state)
{
    (void)state;
    static const float f4[] = {1.5f, -2.25f, 3e18f, 1e-40f};
    static const double f8[] = {1.5, 0.1, -3e18, 1e-320};
    static const uint16_t f2[] = {0x3c00, 0xc000, 0x0001, 0x7bff};
    static const uint8_t u1[] = {0, 1, 127, 255};
    static const int8_t i1[] = {-128, -1, 0, 127};
    const struct {
        const char *descr;
        const void *data;
        size_t bytes;
        double wanted[4];
    } table[] = {
        {"<f4", f4, 16, {1.5, -2.25, (double)3e18f, (double)1e-40f}},
        {"<f8", f8, 32, {1.5, (double)0.1f, (double)-3e18f, 0}},
        {"<f2", f2, 8, {1, -2, 0x1p-24, 65504}},
        {"|u1", u1, 4, {0, 1, 127, 255}},
        {"|i1", i1, 4, {-128, -1, 0, 127}},
    };
    create(&server, "types", 2, "Manhattan");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t piece = 0; piece < 12; piece += 1 + piece) {
            struct bytes body = npy(table[i].descr, "False", 2, 2, table[i].data, table[i].bytes);
            struct bytes packed = gzip(body);
            expect_upload(&server, "/collections/types/bulk?first_id=7", NPY, body, piece, 2);
            expect_upload(&server, "/collections/types/bulk?first_id=7", NPY GZIP, packed, piece,
                          2);
            for (unsigned row = 0; row < 2; row++)
                expect_vector(&server, "types", 7 + row, table[i].wanted + 2 * row, 2);
            free(body.data);
            free(packed.data);
        }
    }
    assert_int_equal(count_points(&server, "types"), 2);
}

/* Rows without a header: as many as come, in pieces of any size. */
static void test_raw_floats(void **state)
{
    (void)state;
    static const float rows[] = {1, 2, 3, -4.5f, 0.25f, 6};
    struct bytes body = {malloc(sizeof rows), sizeof rows};
    memcpy(body.data, rows, sizeof rows);
    struct bytes packed = gzip(body);
    create(&server, "raw", 3, "Dot");
    for (size_t piece = 0; piece < sizeof rows; piece += 1 + piece) {
        expect_upload(&server, "/collections/raw/bulk?dim=3&first_id=9", RAW, body, piece, 2);
        expect_upload(&server, "/collections/raw/bulk?dim=3&first_id=9", RAW GZIP, packed, piece,
                      2);
    }
    expect_vector(&server, "raw", 9, (const double[]){1, 2, 3}, 3);
    expect_vector(&server, "raw", 10, (const double[]){-4.5, 0.25, 6}, 3);
    expect_upload(&server, "/collections/raw/bulk?dim=3", RAW, body, 0, 2); /* 11 and 12 */
    assert_int_equal(count_points(&server, "raw"), 4);
    expect_upload(&server, "/collections/raw2/bulk?dim=2&distance=Euclid", RAW, body, 5, 3);
    expect_vector(&server, "raw2", 2, (const double[]){0.25, 6}, 2);
    expect_upload(&server, "/collections/raw/bulk?dim=3&first_id=18446744073709551614", RAW, body,
                  0, 2);
    expect_bad_upload(&server, "/collections/raw/bulk?dim=3&first_id=18446744073709551615", RAW,
                      body, 0, 400, 1,
                      "Wrong input: row 1 (the first is 0): no id is left: the row before has the "
                      "highest of 64 bits; 1 points before it were accepted and are kept");
    body.count = 20;
    expect_bad_upload(&server, "/collections/raw/bulk?dim=3&first_id=50", RAW, body, 7, 400, 1,
                      "Wrong input: row 1 (the first is 0): the body ends after 8 of the row's 12 "
                      "bytes (dim x 4); 1 points before it were accepted and are kept");
    body.count = 16;
    expect_bad_upload(&server, "/collections/raw/bulk?dim=2&first_id=60", RAW, body, 0, 400, 0,
                      "Wrong input: Vector dimension error: expected dim: 3, got 2; …");
    const struct {
        const char *query, *headers;
        int status;
        const char *text;
    } bad[] = {
        {"", RAW, 400, "Bad request: rows of application/octet-stream need ?dim=…"},
        {"?dim=0", RAW, 422, "Validation error in query parameters: [dim: value 0 invalid…"},
        {"?dim=65537", RAW, 422, "Validation error in query parameters: [dim: …"},
        {"?dim=x", RAW, 400, "Deserialize error in query parameters: dim…"},
        {"?dim=3", NPY, 400, "Bad request: dim tells the width…"},
        {"?dim=3", NDJSON, 400, "Bad request: dim tells the width…"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[64];
        snprintf(path, sizeof path, "/collections/raw/bulk%s", bad[i].query);
        expect_bad_upload(&server, path, bad[i].headers, body, 0, bad[i].status, -1, bad[i].text);
    }
    free(body.data);
    free(packed.data);
}

static void test_next_free_id(void **state)
{
    (void)state;
    const char *path = "/collections/free/bulk";
    create(&server, "free", 2, "Dot");
    struct bytes body = npy_floats(3, 2), none = npy_floats(0, 2);
    expect_upload(&server, path, NPY, none, 0, 0);
    expect_upload(&server, path, NPY, body, 0, 3); /* 0, 1, 2 */
    expect_upload(&server, path, NPY, body, 0, 3); /* 3, 4, 5 */
    json_decref(
        call_result_of(&server, "PUT", "/collections/free/points?wait=true",
                       "{\"batch\":{\"ids\":[1000,\"ffffffff-ffff-ffff-ffff-ffffffffffff\"],"
                       "\"vectors\":[[1,1],[1,1]]}}"));
    expect_upload(&server, path, NPY, body, 0, 3); /* 1001, 1002, 1003 */
    expect_vector(&server, "free", 1003, (const double[]){1, 1.25}, 2);
    assert_int_equal(count_points(&server, "free"), 11);
    expect_upload(&server, "/collections/free/bulk?first_id=18446744073709551613", NPY, body, 0, 3);
    expect_bad_upload(&server, path, NPY, body, 0, 400, 0,
                      "Wrong input: no id is free above the highest; give ?first_id=; 0 points "
                      "before it were accepted and are kept");
    expect_bad_upload(&server, "/collections/free/bulk?first_id=18446744073709551614", NPY, body, 0,
                      400, 0,
                      "Wrong input: 3 ids from 18446744073709551614 on do not fit 64 bits…");
    free(body.data);
    free(none.data);
}

static void test_creates_collections(void **state)
{
    (void)state;
    struct bytes body = lines(1, 3, 1, 5), matrix = npy_floats(3, 4);
    const char *const distances[] = {"Cosine", "Dot", "Euclid", "Manhattan"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t piece = 0; piece < 2; piece++) {
            char path[128];
            bool is_lines = i % 2 == 0;
            snprintf(path, sizeof path, "/collections/made%zu%zu/bulk?distance=%s", i, piece,
                     distances[i]);
            expect_upload(&server, path, is_lines ? NDJSON : NPY, is_lines ? body : matrix, piece,
                          3);
            expect_upload(&server, path, is_lines ? NDJSON : NPY, is_lines ? body : matrix, piece,
                          3);
            snprintf(path, sizeof path, "/collections/made%zu%zu", i, piece);
            json_t *info = call_result_of(&server, "GET", path, "");
            json_t *vectors = json_object_get(
                json_object_get(json_object_get(info, "config"), "params"), "vectors");
            assert_int_equal(json_integer_value(json_object_get(vectors, "size")),
                             is_lines ? 5 : 4);
            assert_string_equal(json_string_value(json_object_get(vectors, "distance")),
                                distances[i]);
            json_decref(info);
        }
    }
    /* the first line with a point decides, and is itself stored */
    struct bytes late = text_bytes("\n\n{\"vector\":{\"\":[1,2,3]},\"id\":8}\n");
    expect_upload(&server, "/collections/late/bulk?distance=Dot", NDJSON, late, 1, 1);
    expect_vector(&server, "late", 8, (const double[]){1, 2, 3}, 3);
    expect_bad_upload(&server, "/collections/late/bulk?distance=Euclid", NDJSON, late, 0, 400, 0,
                      "Wrong input: the collection's distance is Dot, not Euclid…");
    free(late.data);
    free(body.data);
    free(matrix.data);
}

/* ---- bad uploads ---- */

struct bad {
    const char *body;
    int status;
    json_int_t accepted;
    const char *text;
};

static void test_bad_lines(void **state)
{
    (void)state;
    static const struct bad table[] = {
        {"{\"id\":1,\"vector\":[1,2]}\n{\"id\":2,\"vector\":[1,2", 400, 1,
         "Format error in JSON body: line 2: …"},
        {"{\"id\":1,\"vector\":[1,2]}\n{\"id\":2,\"vec\n{\"id\":3,\"vector\":[1,2]}\n", 400, 1,
         "Format error in JSON body: line 2: …"},
        {"{\"id\":1,\"vector\":[1,2]} {\"id\":2,\"vector\":[1,2]}\n", 400, 0,
         "Format error in JSON body: line 1: …"},
        {"\n\n{\"id\":1,\"vector\":[1,2,3]}\n", 400, 0,
         "Wrong input: line 3: Vector dimension error: expected dim: 2, got 3; 0 points before it "
         "were accepted and are kept"},
        {"{\"id\":1,\"vector\":[1,2]}\n{\"id\":2,\"vector\":[3,4]}\n{\"id\":\"x\",\"vector\":[1,2]}"
         "\n",
         400, 2,
         "Format error in JSON body: line 3: value x is not a valid point ID, valid values are "
         "either an unsigned integer or a UUID at column…"},
        {"{\"id\":1,\"vector\":[1,1e40]}\n", 400, 0, "Format error in JSON body: line 1: …"},
        {"{\"id\":1,\"vector\":[1,NaN]}\n", 400, 0, "Format error in JSON body: line 1: …"},
        {"{\"id\":1,\"vector\":[1,1e19]}\n", 400, 0,
         "Wrong input: line 1: Vector is too long: its squared norm must not exceed 8.5e+37; 0…"},
        {"{\"id\":1,\"id\":1,\"vector\":[1,2]}\n", 400, 0,
         "Format error in JSON body: line 1: duplicate field `id`…"},
        {"{\"id\":1,\"vector\":[1,2],\"payload\":3}\n", 400, 0,
         "Format error in JSON body: line 1: payload: expected an object or null at column…"},
        {"{\"id\":1}\n", 400, 0, "Format error in JSON body: line 1: missing field `vector`…"},
        {"{\"id\":1,\"vector\":{\"a\":[1]}}\n", 400, 0,
         "Wrong input: line 1: Not existing vector name error: a; 0 points…"},
        {"[1,2]\n", 400, 0, "Format error in JSON body: line 1: expected a point object…"},
        {"\x93NUMPY", 400, 0, "Format error in JSON body: line 1: …"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t piece = 0; piece < 3; piece++) {
            char name[32], path[64];
            snprintf(name, sizeof name, "badlines%zu-%zu", i, piece);
            snprintf(path, sizeof path, "/collections/%s/bulk", name);
            create(&server, name, 2, "Dot");
            struct bytes body = text_bytes(table[i].body);
            expect_bad_upload(&server, path, NDJSON, body, piece, table[i].status,
                              table[i].accepted, table[i].text);
            assert_int_equal(count_points(&server, name), table[i].accepted);
            free(body.data);
        }
    }
}

/* A fault far into the body: all before it is kept, in whole steps and the begun one. */
static void test_bad_line_after_many(void **state)
{
    (void)state;
    create(&server, "after", 3, "Dot");
    struct bytes good = lines(0, 3000, 1, 3);
    struct bytes body = {malloc(2 * good.count + 10), good.count};
    memcpy(body.data, good.data, good.count);
    memcpy(body.data + body.count, "{\"id\"}\n", 7);
    memcpy(body.data + body.count + 7, good.data, good.count);
    body.count += 7 + good.count;
    expect_bad_upload(&server, "/collections/after/bulk", NDJSON, body, 0, 400, 3000,
                      "Format error in JSON body: line 3001: …");
    assert_int_equal(count_points(&server, "after"), 3000);
    free(good.data);
    free(body.data);
}

static void test_bad_matrices(void **state)
{
    (void)state;
    static float rows[6] = {1, 2, 3, 4, 5, 6};
    static float with_nan[6] = {1, 2, 3, 4, 5, 6};
    static float too_long[6] = {1, 2, 3, 4, 5, 1e19f};
    static const uint16_t half_inf[6] = {0, 0, 0, 0x7c00, 0, 0};
    with_nan[3] = NAN;
    const struct {
        struct bytes body;
        size_t cut; /* bytes left out at the end */
        json_int_t accepted;
        const char *text;
    } table[] = {
        {npy("<f4", "False", 3, 2, rows, 24), 1, 2,
         "Wrong input: row 2 (the first is 0): NPY: the body ends after 7 of the row's 8 bytes; "
         "the "
         "header announces 3 rows; 2 points before it were accepted and are kept"},
        {npy("<f4", "False", 4, 2, rows, 24), 0, 3,
         "Wrong input: row 3 (the first is 0): NPY: the body ends after 0 of the row's 8 bytes…"},
        {npy("<f4", "False", 2, 2, rows, 24), 0, 2,
         "Wrong input: NPY: bytes after the 2 rows that the header announces; 2 points…"},
        {npy("<f4", "False", 3, 2, rows, 24), 30, 0, "Wrong input: NPY: the header is cut after…"},
        {npy("<f4", "False", 3, 2, rows, 0), 128, 0,
         "Wrong input: NPY: the header is cut after 0…"},
        {npy("<i4", "False", 3, 2, rows, 24), 0, 0, "Wrong input: NPY: …"},
        {npy("<c8", "False", 3, 1, rows, 24), 0, 0, "Wrong input: NPY: …"},
        {npy(">f4", "False", 3, 2, rows, 24), 0, 0, "Wrong input: NPY: …"},
        {npy("<f4", "True", 3, 2, rows, 24), 0, 0, "Wrong input: NPY: …"},
        {npy("<f4", "False", 2, 3, rows, 24), 0, 0,
         "Wrong input: Vector dimension error: expected dim: 2, got 3; 0 points before it…"},
        {npy("<f4", "False", 3, 2, with_nan, 24), 0, 1,
         "Wrong input: row 1 (the first is 0): column 1 is not a finite number; 1 points…"},
        {npy("<f2", "False", 3, 2, half_inf, 12), 0, 1,
         "Wrong input: row 1 (the first is 0): column 1 is not a finite number; 1 points…"},
        {npy("<f4", "False", 3, 2, too_long, 24), 0, 2,
         "Wrong input: row 2 (the first is 0): Vector is too long…"},
        {text_bytes("{\"id\":1,\"vector\":[1,2]}\n"), 0, 0, "Wrong input: NPY: …"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct bytes body = table[i].body;
        body.count -= table[i].cut;
        for (size_t piece = 0; piece < 4; piece++) {
            char name[32], path[64];
            snprintf(name, sizeof name, "badrows%zu-%zu", i, piece);
            snprintf(path, sizeof path, "/collections/%s/bulk?first_id=1", name);
            create(&server, name, 2, "Dot");
            expect_bad_upload(&server, path, NPY, body, piece, 400, table[i].accepted,
                              table[i].text);
            assert_int_equal(count_points(&server, name), table[i].accepted);
        }
        free(body.data);
    }
}

static void test_bad_gzip(void **state)
{
    (void)state;
    create(&server, "gzip", 3, "Dot");
    const char *path = "/collections/gzip/bulk";
    const char *text = "Wrong input: line 2000: the gzip data is damaged or cut; …";
    struct bytes plain = lines(0, 2000, 1, 3), packed = gzip(plain);
    expect_bad_upload(&server, path, NDJSON GZIP, plain, 0, 400, 0,
                      "Wrong input: the gzip data is damaged or cut; 0 points before it were "
                      "accepted and are kept");
    packed.count -= 4;
    expect_bad_upload(&server, path, NDJSON GZIP, packed, 0, 400, -1, text);
    packed.count += 4;
    packed.data[packed.count - 6] ^= 1;
    expect_bad_upload(&server, path, NDJSON GZIP, packed, 0, 400, -1, "Wrong input: …");
    free(plain.data);
    free(packed.data);
    /* 64 MiB of blanks */
    plain = (struct bytes){malloc((size_t)64 << 20), (size_t)64 << 20};
    memset(plain.data, ' ', plain.count);
    packed = gzip(plain);
    expect_bad_upload(&server, path, NDJSON GZIP, packed, 0, 413, 0,
                      "Wrong input: the gzip data unpacks to more than 100 times its size; 0…");
    free(plain.data);
    free(packed.data);
}

static void expect_refused(const char *path, const char *headers, int status, const char *text)
{
    struct bytes body = text_bytes("{\"id\":1,\"vector\":[1]}\n");
    expect_bad_upload(&server, path, headers, body, 0, status, -1, text);
    free(body.data);
}

static void test_refused_at_once(void **state)
{
    (void)state;
    create(&server, "refused", 1, "Dot");
    expect_refused("/collections/refused/bulk", "", 415,
                   "Bad request: the Content-Type of a bulk…");
    expect_refused("/collections/refused/bulk", JSON_HEADER, 415, "Bad request: the Content-Type…");
    expect_refused("/collections/refused/bulk", NDJSON "Content-Encoding: br\r\n", 415,
                   "Bad request: Content-Encoding must be gzip, zstd or identity");
    expect_refused("/collections/missing/bulk", NDJSON, 404,
                   "Not found: Collection `missing` doesn't exist!");
    expect_refused("/collections/missing/bulk", NPY, 404,
                   "Not found: Collection `missing` doesn't exist!");
    expect_refused("/collections/missing/bulk?distance=L2", NDJSON, 400,
                   "Deserialize error in query parameters: distance: unknown variant `L2`…");
    expect_refused("/collections/a%3Cb/bulk?distance=Dot", NDJSON, 400,
                   "Wrong input: `a<b` is not a valid collection name");
    expect_refused("/collections/refused/bulk?first_id=x", NPY, 400,
                   "Deserialize error in query parameters: first_id…");
    expect_refused("/collections/refused/bulk?first_id=1", NDJSON, 400, "Bad request: first_id …");
    /* nothing to tell a dimension from */
    struct bytes empty = text_bytes("\n \n");
    expect_bad_upload(&server, "/collections/missing/bulk?distance=Dot", NDJSON, empty, 0, 400, 0,
                      "Wrong input: cannot create the collection: the body has no point…");
    free(empty.data);
    empty = text_bytes("{\"id\":1,\"vector\":{}}");
    expect_bad_upload(&server, "/collections/missing/bulk?distance=Dot", NDJSON, empty, 0, 400, 0,
                      "Wrong input: line 1: cannot create the collection from a vector of 0…");
    free(empty.data);
    /* a dimension, but no good record */
    empty = text_bytes("{\"id\":-1,\"vector\":[1]}\n{\"id\":1,\"vector\":[1]}");
    expect_bad_upload(&server, "/collections/missing/bulk?distance=Dot", NDJSON, empty, 0, 400, 0,
                      "Format error in JSON body: line 1: value -1 is not a valid point ID…");
    free(empty.data);
    float nan_row[2] = {1, NAN};
    empty = npy("<f4", "False", 1, 2, nan_row, sizeof nan_row);
    expect_bad_upload(&server, "/collections/missing/bulk?distance=Dot", NPY, empty, 0, 400, 0,
                      "Wrong input: row 0 (the first is 0): column 1 is not a finite number…");
    free(empty.data);
    empty = npy("<f4", "False", 1, 2, nan_row, 3);
    expect_bad_upload(&server, "/collections/missing/bulk?distance=Dot", NPY, empty, 0, 400, 0,
                      "Wrong input: row 0 (the first is 0): NPY: the body ends after 3 of the…");
    free(empty.data);
    empty = text_bytes("");
    expect_upload(&server, "/collections/refused/bulk", NDJSON, empty, 0, 0);
    free(empty.data);
    assert_int_equal(count_points(&server, "refused"), 0);
    expect_result(&server, "GET", "/collections/missing/exists", "", "{\"exists\":false}");
    /* types may have parameters and any case */
    expect_upload(&server, "/collections/refused/bulk",
                  "content-type: Application/X-NDJSON; charset=utf-8\r\n",
                  (struct bytes){(uint8_t *)(char[]){"{\"id\":1,\"vector\":[1]}"}, 21}, 0, 1);
}

/* ---- limits and company ---- */

static void test_limits(void **state)
{
    (void)state;
    struct fixture small;
    fixture_prepare(&small);
    fixture_set(&small, "http.body_bytes_max", "4KiB");
    fixture_set(&small, "writer.queue_points_max", "1100");
    fixture_set(&small, "writer.group_points_max", "100");
    fixture_start(&small);
    create(&small, "c", 3, "Dot");
    /* far more than the body limit and than the writer's queue, from several at once */
    struct bytes body = lines(0, 20000, 1, 3);
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = client_connect(small.port);
        assert_true(client_send_head(fds[i], "POST", "/collections/c/bulk", NDJSON, body.count));
    }
    for (size_t at = 0; at < body.count; at += 50000) {
        size_t piece = body.count - at < 50000 ? body.count - at : 50000;
        for (size_t i = 0; i < 3; i++)
            assert_true(client_send(fds[i], body.data + at, piece));
    }
    for (size_t i = 0; i < 3; i++) {
        struct reply reply;
        client_receive(fds[i], &reply);
        assert_int_equal(reply.status, 200);
        assert_non_null(strstr(reply.body, "\"points\":20000,"));
        reply_release(&reply);
        close(fds[i]);
    }
    assert_int_equal(count_points(&small, "c"), 20000);
    free(body.data);
    /* one line may not be longer than a body */
    struct bytes line = {malloc(6000), 6000};
    memset(line.data, ' ', 6000);
    memcpy(line.data, "{\"id\":1,\"vector\":[1,1,1]}\n", 26);
    expect_bad_upload(&small, "/collections/c/bulk", NDJSON, line, 0, 413, 1,
                      "Wrong input: line 2: the line is longer than http.body_bytes_max (4096 "
                      "bytes); 1 points before it were accepted and are kept");
    free(line.data);
    fixture_stop(&small);
    fixture_release(&small);
}

/* Ask until the answer is this one; a test that never gets it fails by the clock. */
static void wait_for_status(struct fixture *fixture, const char *path, struct bytes body,
                            int status)
{
    time_t end = time(NULL) + CLIENT_TIMEOUT_S;
    for (int got = 0; got != status;) {
        struct reply reply;
        upload(fixture, path, NPY, body, 0, &reply);
        got = reply.status;
        reply_release(&reply);
        assert_true(time(NULL) < end);
    }
}

static void wait_for_count(struct fixture *fixture, const char *name, json_int_t count)
{
    time_t end = time(NULL) + CLIENT_TIMEOUT_S;
    while (count_points(fixture, name) != count)
        assert_true(time(NULL) < end);
}

/* The peer goes in the middle: what came whole stays, and the place is free. */
static void test_peer_goes(void **state)
{
    (void)state;
    create(&server, "gone", 2, "Dot");
    const char *path = "/collections/gone/bulk";
    struct bytes body = npy_floats(10000, 2), small = npy_floats(1, 2);
    int fd = client_connect(server.port);
    assert_true(client_send_head(fd, "POST", path, NPY, body.count));
    assert_true(client_send(fd, body.data, 128 + 2500 * 8 + 3));
    wait_for_count(&server, "gone", 2048);
    /* while it runs, nobody else may choose ids */
    expect_bad_upload(&server, path, NPY, small, 0, 409, -1,
                      "Wrong input: another upload without first_id into `gone` is running…");
    close(fd);
    wait_for_count(&server, "gone", 2500);
    wait_for_status(&server, path, small, 200);
    assert_int_equal(count_points(&server, "gone"), 2501);
    free(body.data);
    free(small.data);
}

/* The body stops in the middle, but the client still listens: it is told what was kept. */
static void test_body_is_cut(void **state)
{
    (void)state;
    create(&server, "cut", 2, "Dot");
    struct bytes body = npy_floats(10000, 2);
    struct reply reply;
    int fd = client_connect(server.port);
    assert_true(client_send_head(fd, "POST", "/collections/cut/bulk", NPY, body.count));
    assert_true(client_send(fd, body.data, 128 + 1500 * 8 + 3));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_receive(fd, &reply);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body,
                           "Bad request: row 1500 (the first is 0): the connection ended within "
                           "the request; 1500 points before it were accepted and are kept"));
    assert_non_null(strstr(reply.body, "\"accepted\":1500"));
    assert_int_equal(count_points(&server, "cut"), 1500);
    reply_release(&reply);
    close(fd);
    free(body.data);
}

/* The collection is deleted under an upload: it ends, and deleting did not wait for it. */
static void test_collection_goes(void **state)
{
    (void)state;
    create(&server, "deleted", 2, "Dot");
    struct bytes body = npy_floats(10000, 2);
    int fd = client_connect(server.port);
    assert_true(client_send_head(fd, "POST", "/collections/deleted/bulk", NPY, body.count));
    assert_true(client_send(fd, body.data, 128 + 2500 * 8));
    wait_for_count(&server, "deleted", 2048);
    expect_result(&server, "DELETE", "/collections/deleted", "", "true");
    /* another of that name is not taken for it: it has another dimension */
    create(&server, "deleted", 3, "Dot");
    (void)client_send(fd, body.data + 128 + 2500 * 8, body.count - 128 - 2500 * 8);
    struct reply reply;
    client_receive(fd, &reply);
    assert_int_equal(reply.status, 404);
    assert_non_null(strstr(reply.body, "Not found: Collection `deleted` doesn't exist!; 2048"));
    reply_release(&reply);
    close(fd);
    assert_int_equal(count_points(&server, "deleted"), 0);
    free(body.data);
}

static void test_too_many_uploads(void **state)
{
    (void)state;
    enum { MAX = 16 };
    create(&server, "crowd", 2, "Dot");
    struct bytes body = lines(0, 10, 1, 2);
    int fds[MAX];
    for (size_t i = 0; i < MAX; i++) {
        fds[i] = client_connect(server.port);
        /* the answer to Expect says that the upload has begun */
        assert_true(client_send_head(fds[i], "POST", "/collections/crowd/bulk",
                                     NDJSON "Expect: 100-continue\r\n", body.count));
        char answer[64];
        assert_true(recv(fds[i], answer, sizeof answer, 0) > 0);
        assert_memory_equal(answer, "HTTP/1.1 100", 12);
    }
    expect_bad_upload(&server, "/collections/crowd/bulk", NDJSON, body, 0, 503, -1,
                      "Shard temporarily unavailable: 16 bulk uploads are running already");
    for (size_t i = 0; i < MAX; i++) {
        struct reply reply;
        assert_true(client_send(fds[i], body.data, body.count));
        client_receive(fds[i], &reply);
        assert_int_equal(reply.status, 200);
        reply_release(&reply);
        close(fds[i]);
    }
    expect_upload(&server, "/collections/crowd/bulk", NDJSON, body, 0, 10);
    assert_int_equal(count_points(&server, "crowd"), 10);
    free(body.data);
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
        cmocka_unit_test(test_lines_in_any_pieces), cmocka_unit_test(test_many_steps),
        cmocka_unit_test(test_npy_types),           cmocka_unit_test(test_raw_floats),
        cmocka_unit_test(test_next_free_id),        cmocka_unit_test(test_creates_collections),
        cmocka_unit_test(test_bad_lines),           cmocka_unit_test(test_bad_line_after_many),
        cmocka_unit_test(test_bad_matrices),        cmocka_unit_test(test_bad_gzip),
        cmocka_unit_test(test_refused_at_once),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_peer_goes),           cmocka_unit_test(test_body_is_cut),
        cmocka_unit_test(test_collection_goes),     cmocka_unit_test(test_too_many_uploads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
