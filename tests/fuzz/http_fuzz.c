/* Gate, llhttp and request assembly, without sockets: a connection's bytes as a series of requests.
 *
 * Whole and cut into pieces must give the same requests, bodies and refusal; what is accepted must
 * keep the promises of http.h. */
#include <assert.h>
#include <stdlib.h>

#include "server/http_parse.h"

#define BODY_LIMIT 300

struct answer {
    int status;
    size_t requests;
    size_t bodies; /* bytes of complete requests */
    uint32_t crc;  /* of everything complete requests showed */
};

struct one { /* a request under way */
    struct http_parser parser;
    struct http_request request;
    size_t body_bytes;
    uint32_t crc;
};

static uint32_t mix(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *byte = data;
    for (size_t i = 0; i < bytes; i++)
        crc = (crc ^ byte[i]) * 16777619u; /* FNV-1a */
    return crc;
}

static int sink(void *context, const char *data, size_t bytes)
{
    struct one *one = context;
    if (bytes > BODY_LIMIT - one->body_bytes)
        return 413;
    one->body_bytes += bytes;
    one->crc = mix(one->crc, data, bytes);
    return 0;
}

static void check_request(struct one *one)
{
    const struct http_request *request = &one->request;
    const struct span spans[] = {request->path,         request->query,
                                 request->content_type, request->content_encoding,
                                 request->api_key,      request->authorization,
                                 request->accept,       request->accept_encoding,
                                 request->request_id,   request->origin};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        assert(spans[i].data != NULL || spans[i].bytes == 0);
        one->crc = mix(one->crc, spans[i].data, spans[i].bytes);
    }
    for (size_t i = 0; i < request->segment_count; i++) {
        struct span segment = request->segments[i];
        assert(segment.bytes > 0 && memchr(segment.data, '/', segment.bytes) == NULL &&
               memchr(segment.data, 0, segment.bytes) == NULL);
        one->crc = mix(one->crc, segment.data, segment.bytes);
    }
    assert(request->request_id.bytes <= 128);
    assert(one->parser.chunked == (request->content_length == UINT64_MAX));
}

static void begin(struct one *one)
{
    static const struct gate_limits limits = {256, 1024, 12};
    memset(one, 0, sizeof *one);
    arena_init(&one->request.arena);
    http_parser_init(&one->parser, &one->request, &limits);
}

static void end(struct one *one)
{
    http_parser_release(&one->parser);
    arena_release(&one->request.arena);
}

/* One call into the parser. Returns the bytes it used. */
static size_t step(struct one *one, const char *data, size_t bytes, int *status)
{
    size_t used = 0;
    if (one->parser.stage == HTTP_PARSE_HEAD) {
        *status = http_parser_head(&one->parser, data, bytes, &used);
        if (*status == 0 && one->parser.stage != HTTP_PARSE_HEAD)
            check_request(one);
    } else {
        *status = http_parser_body(&one->parser, data, bytes, &used, sink, one);
    }
    assert(used > 0 && used <= bytes);
    assert(*status == one->parser.status && (*status == 0 || one->parser.why != NULL));
    return used;
}

static struct answer feed(const uint8_t *data, size_t bytes, size_t cut)
{
    struct answer answer = {0, 0, 0, 0};
    struct one one;
    bool last = false;
    begin(&one);
    for (size_t at = 0; at < bytes && answer.status == 0 && !last;) {
        size_t n = bytes - at < cut ? bytes - at : cut;
        char *piece = malloc(n); /* of its own, so that ASan sees its end */
        memcpy(piece, data + at, n);
        for (size_t used = 0; used < n && answer.status == 0 && !last;) {
            used += step(&one, piece + used, n - used, &answer.status);
            if (answer.status != 0 || one.parser.stage != HTTP_PARSE_END)
                continue;
            if (one.request.content_length != UINT64_MAX)
                assert(one.body_bytes == one.request.content_length);
            answer.requests++;
            answer.bodies += one.body_bytes;
            answer.crc = mix(answer.crc, &one.crc, sizeof one.crc);
            last = !one.parser.keep_alive;
            end(&one);
            begin(&one);
        }
        free(piece);
        at += n;
    }
    end(&one);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    size_t cut = data[0] % 61 + 1; /* the first byte only says how to cut */
    struct answer whole = feed(data + 1, bytes - 1, bytes);
    struct answer pieces = feed(data + 1, bytes - 1, cut);
    assert(whole.requests == pieces.requests && whole.bodies == pieces.bodies);
    assert(whole.crc == pieces.crc);
    assert((whole.status != 0) == (pieces.status != 0));
    return 0;
}
