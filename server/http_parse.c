/* The head is judged three times: line by line by the gate, as a grammar by llhttp, and as a whole
 * here (Host, codings, lengths). A fact is refused by the first that sees it; the other two stay,
 * so that no one of them is the only wall. */
#include "server/http_parse.h"

#include <stdlib.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t field; /* the span of struct http_request it goes to */
    bool once;    /* twice is 400: which of the two counts is how checks are got round */
} named_headers[HTTP_PARSE_NAMED] = {
    {"content-type", offsetof(struct http_request, content_type), true},
    {"content-encoding", offsetof(struct http_request, content_encoding), true},
    {"api-key", offsetof(struct http_request, api_key), true},
    {"authorization", offsetof(struct http_request, authorization), true},
    {"accept", offsetof(struct http_request, accept), false},
    {"accept-encoding", offsetof(struct http_request, accept_encoding), false},
    {"if-none-match", offsetof(struct http_request, if_none_match), false},
    {"x-request-id", offsetof(struct http_request, request_id), false},
    {"origin", offsetof(struct http_request, origin), false},
};

#define REQUEST_ID_BYTES_MAX 128
#define HEAD_FIRST_BYTES 1024

static bool named(struct span text, const char *name)
{
    size_t n = strlen(name);
    return text.bytes == n && strncasecmp((const char *)text.data, name, n) == 0;
}

static struct span trim(struct span text)
{
    while (text.bytes > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = span_of(text.data + 1, text.bytes - 1);
    while (text.bytes > 0 &&
           (text.data[text.bytes - 1] == ' ' || text.data[text.bytes - 1] == '\t'))
        text.bytes--;
    return text;
}

/* Remember a refusal; the first one counts. Returns what a llhttp callback returns to stop. */
static int refuse(struct http_parser *parser, int status, const char *why)
{
    if (parser->status == 0) {
        parser->status = status;
        parser->why = why;
    }
    return HPE_USER;
}

/* ---- headers ---- */

static int take_transfer_encoding(struct http_parser *parser, struct span value)
{
    if (parser->coding_count++ > 0)
        return refuse(parser, 400, "Transfer-Encoding twice");
    if (!named(value, "chunked"))
        return refuse(parser, 501, "the only Transfer-Encoding understood is chunked");
    parser->chunked = true;
    return 0;
}

static int take_header(struct http_parser *parser, struct span name, struct span value)
{
    if (named(name, "host")) {
        if (parser->host_count++ > 0)
            return refuse(parser, 400, "Host twice");
    } else if (named(name, "transfer-encoding")) {
        return take_transfer_encoding(parser, value);
    } else if (named(name, "expect")) {
        parser->expect_continue = named(value, "100-continue");
    }
    for (size_t i = 0; i < HTTP_PARSE_NAMED; i++) {
        if (!named(name, named_headers[i].name))
            continue;
        if (parser->named[i].data == NULL)
            parser->named[i] = value;
        else if (named_headers[i].once)
            return refuse(parser, 400, "a header that may come only once came twice");
    }
    return 0;
}

/* The header whose value is complete now. */
static int end_header(struct http_parser *parser)
{
    struct span name = parser->name, value = trim(parser->value);
    if (value.data == NULL)
        value = span_of(name.data, 0); /* present and empty */
    parser->name = parser->value = (struct span){NULL, 0};
    return take_header(parser, name, value);
}

static void extend(struct span *span, const char *data, size_t bytes)
{
    if (span->data == NULL)
        span->data = (const uint8_t *)data;
    span->bytes = (size_t)((const uint8_t *)data + bytes - span->data);
}

static int on_url(llhttp_t *llhttp, const char *data, size_t bytes)
{
    struct http_parser *parser = llhttp->data;
    extend(&parser->target, data, bytes);
    return 0;
}

/* Trailers come through the same callbacks as headers: whatever comes after the head is dropped, or
 * a trailer could smuggle an api-key. */
static int on_header_field(llhttp_t *llhttp, const char *data, size_t bytes)
{
    struct http_parser *parser = llhttp->data;
    if (parser->stage != HTTP_PARSE_HEAD)
        return 0;
    extend(&parser->name, data, bytes);
    return 0;
}

static int on_header_value(llhttp_t *llhttp, const char *data, size_t bytes)
{
    struct http_parser *parser = llhttp->data;
    if (parser->stage != HTTP_PARSE_HEAD)
        return 0;
    extend(&parser->value, data, bytes);
    return 0;
}

static int on_header_value_complete(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    if (parser->stage != HTTP_PARSE_HEAD)
        return 0;
    return end_header(parser);
}

/* ---- the head as a whole ---- */

static int check_facts(struct http_parser *parser)
{
    if (!parser->http_1_0 && parser->host_count == 0)
        return refuse(parser, 400, "HTTP/1.1 asks for a Host header");
    if (parser->coding_count > 0 && parser->http_1_0)
        return refuse(parser, 400, "Transfer-Encoding in HTTP/1.0");
    if (parser->coding_count > 0 && (parser->llhttp.flags & F_CONTENT_LENGTH) != 0)
        return refuse(parser, 400, "Content-Length and Transfer-Encoding together");
    if (parser->llhttp.method == HTTP_CONNECT)
        return refuse(parser, 501, "CONNECT: this is not a proxy");
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    parser->http_1_0 = llhttp->http_minor == 0;
    if (check_facts(parser) != 0)
        return HPE_USER;
    parser->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    parser->expect_continue &= !parser->http_1_0;
    parser->request->content_length = parser->chunked ? UINT64_MAX : llhttp->content_length;
    parser->stage = HTTP_PARSE_BODY;
    return 0;
}

/* Chunk lines and trailers have no end by themselves: count them from one piece of the body to the
 * next, up to data. Counted by position, so that the answer does not depend on where buffers end.
 */
static int count_framing(struct http_parser *parser, const char *data)
{
    parser->framing_bytes += (size_t)(data - parser->framing_from);
    parser->framing_from = data;
    if (parser->framing_bytes <= parser->head_limit)
        return 0;
    return refuse(parser, 431,
                  "chunk extensions or trailers are longer than http.header_bytes_max");
}

static int on_body(llhttp_t *llhttp, const char *data, size_t bytes)
{
    struct http_parser *parser = llhttp->data;
    if (count_framing(parser, data) != 0)
        return HPE_USER;
    parser->framing_bytes = 0;
    parser->framing_from = data + bytes;
    int status = parser->sink(parser->sink_context, data, bytes);
    return status == 0 ? 0 : refuse(parser, status, "the body was refused");
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    parser->stage = HTTP_PARSE_END;
    return HPE_PAUSED; /* what follows is another request's */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_parser_init(struct http_parser *parser, struct http_request *request,
                      const struct gate_limits *limits)
{
    memset(parser, 0, sizeof *parser);
    parser->request = request;
    parser->head_limit = limits->header_bytes;
    gate_reset(&parser->gate, limits);
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
    parser->llhttp.data = parser;
}

static void release_head(struct http_parser *parser)
{
    free(parser->head);
    parser->head = NULL;
    parser->head_bytes = parser->head_capacity = 0;
}

void http_parser_release(struct http_parser *parser)
{
    release_head(parser);
}

static enum http_method method_of(uint8_t llhttp_method)
{
    switch (llhttp_method) {
    case HTTP_GET:
        return HTTP_METHOD_GET;
    case HTTP_HEAD:
        return HTTP_METHOD_HEAD;
    case HTTP_POST:
        return HTTP_METHOD_POST;
    case HTTP_PUT:
        return HTTP_METHOD_PUT;
    case HTTP_PATCH:
        return HTTP_METHOD_PATCH;
    case HTTP_DELETE:
        return HTTP_METHOD_DELETE;
    case HTTP_OPTIONS:
        return HTTP_METHOD_OPTIONS;
    default:
        return HTTP_METHOD_OTHER;
    }
}

/* An id goes back to the client and into the log: short, and nothing that could end a line. */
static bool request_id_fit(struct span id)
{
    for (size_t i = 0; i < id.bytes; i++)
        if (id.data[i] <= ' ' || id.data[i] >= 0x7f || id.data[i] == '"' || id.data[i] == '\\')
            return false;
    return id.bytes <= REQUEST_ID_BYTES_MAX;
}

/* Copy what is of interest out of the block, which goes away. */
static int fill_request(struct http_parser *parser)
{
    struct http_request *request = parser->request;
    request->method = method_of(parser->llhttp.method);
    request->method_text = span_text(llhttp_method_name((llhttp_method_t)parser->llhttp.method));
    for (size_t i = 0; i < HTTP_PARSE_NAMED; i++) {
        struct span from = parser->named[i];
        if (from.bytes == 0)
            continue;
        struct span to = {arena_copy(&request->arena, from.data, from.bytes), from.bytes};
        memcpy((char *)request + named_headers[i].field, &to, sizeof to);
    }
    if (!request_id_fit(request->request_id))
        request->request_id = (struct span){NULL, 0};
    const char *why = NULL;
    int status = http_target_split(request, parser->target, &why);
    if (status != 0)
        refuse(parser, status, why);
    return status;
}

/* What llhttp refused by itself: its own reason is a static text. */
static int refuse_by_llhttp(struct http_parser *parser, llhttp_errno_t error)
{
    int status = 400;
    if (error == HPE_INVALID_METHOD)
        status = 501;
    else if (error == HPE_INVALID_TRANSFER_ENCODING && parser->stage == HTTP_PARSE_HEAD)
        status = parser->coding_count > 0 ? 400 : 501; /* a second one, or an unknown one */
    const char *reason = llhttp_get_error_reason(&parser->llhttp);
    refuse(parser, status, reason != NULL ? reason : "malformed request");
    return parser->status;
}

static int parse_block(struct http_parser *parser, const char *block, size_t bytes)
{
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, block, bytes);
    if (parser->status != 0)
        return parser->status;
    if (error != HPE_OK && error != HPE_PAUSED)
        return refuse_by_llhttp(parser, error);
    if (parser->stage == HTTP_PARSE_HEAD) {
        refuse(parser, 400, "malformed request"); /* gate and llhttp disagree on where it ends */
        return parser->status;
    }
    return fill_request(parser);
}

static void keep_head(struct http_parser *parser, const char *data, size_t bytes)
{
    size_t need = parser->head_bytes + bytes; /* bounded: the gate has counted them */
    if (need > parser->head_capacity) {
        size_t capacity = parser->head_capacity > 0 ? parser->head_capacity : HEAD_FIRST_BYTES;
        while (capacity < need)
            capacity *= 2;
        parser->head = grow(parser->head, capacity);
        parser->head_capacity = capacity;
    }
    memcpy(parser->head + parser->head_bytes, data, bytes);
    parser->head_bytes = need;
}

int http_parser_head(struct http_parser *parser, const char *data, size_t bytes, size_t *used)
{
    bool done = false;
    const char *why = NULL;
    int status = gate_feed(&parser->gate, data, bytes, used, &done, &why);
    if (status != 0) {
        refuse(parser, status, why);
        return status;
    }
    if (!done) {
        keep_head(parser, data, *used);
        return 0;
    }
    if (parser->head == NULL)
        return parse_block(parser, data, *used);
    keep_head(parser, data, *used);
    status = parse_block(parser, parser->head, parser->head_bytes);
    release_head(parser);
    return status;
}

int http_parser_body(struct http_parser *parser, const char *data, size_t bytes, size_t *used,
                     http_body_sink *sink, void *context)
{
    parser->sink = sink;
    parser->sink_context = context;
    parser->framing_from = data;
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, data, bytes);
    *used = bytes;
    if (parser->status != 0)
        return parser->status;
    if (error == HPE_PAUSED && parser->stage == HTTP_PARSE_END)
        *used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    else if (error != HPE_OK)
        return refuse_by_llhttp(parser, error);
    count_framing(parser, data + *used);
    return parser->status;
}
