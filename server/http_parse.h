/* One request from bytes: gate, llhttp, and what their facts mean together. No sockets.
 *
 * The header block goes through the gate as it comes and to llhttp in one piece once it is whole,
 * so that every name and value is contiguous; the body goes through llhttp as it comes. llhttp is
 * seen by http_parse.c alone, so another parser takes the place of it behind these functions. */
#ifndef KITH_SERVER_HTTP_PARSE_H
#define KITH_SERVER_HTTP_PARSE_H

#include <llhttp.h>

#include "server/gate.h"
#include "server/http.h"

enum http_parse_stage { HTTP_PARSE_HEAD, HTTP_PARSE_BODY, HTTP_PARSE_END };

/* Takes a piece of the body; returns 0 or the status to refuse with. */
typedef int http_body_sink(void *context, const char *data, size_t bytes);

#define HTTP_PARSE_NAMED                                                                           \
    9 /* headers of interest, in the order of named_headers in http_parse.c                        \
       */

struct http_parser { /* one a request; all fields belong to whoever feeds it */
    llhttp_t llhttp;
    struct gate gate;
    struct http_request *request;
    char *head; /* the block so far, when it did not come in one piece */
    size_t head_bytes, head_capacity;
    size_t head_limit;    /* of framing (chunk lines, trailers) between two pieces of the body */
    size_t framing_bytes; /* of it, since the last piece */
    const char *framing_from; /* in the bytes being fed: counted up to here */
    const char *why;          /* after a refusal: static text for the client */
    int status;               /* after a refusal: the status; 0 before */
    enum http_parse_stage stage;
    uint8_t host_count, coding_count;
    bool keep_alive;      /* the client wants the connection kept */
    bool expect_continue; /* it waits for 100 Continue */
    bool chunked;
    bool http_1_0;
    /* While the block is parsed: where things lie in it. */
    struct span target, name, value;
    struct span named[HTTP_PARSE_NAMED];
    /* While a piece of the body is parsed. */
    http_body_sink *sink;
    void *sink_context;
};

/* Begin a request. request is zeroed but for its arena, which must be empty and ready; limits
 * outlive the parser. Begin in place: the parser must not be moved afterwards. */
void http_parser_init(struct http_parser *parser, struct http_request *request,
                      const struct gate_limits *limits);
void http_parser_release(struct http_parser *parser);

/* Feed bytes of the head. *used tells how many belonged to it. When parser->stage has left
 * HTTP_PARSE_HEAD the request is filled in (all spans in its arena) and the rest of the bytes are
 * body, or, at HTTP_PARSE_END, the next request. Returns 0 or the status to refuse with
 * (parser->why tells why). */
int http_parser_head(struct http_parser *parser, const char *data, size_t bytes, size_t *used);

/* Feed bytes of the body while stage is HTTP_PARSE_BODY; pieces go to sink. Returns 0 or the status
 * to refuse with: 400, 431 for endless framing, or what sink returned. */
int http_parser_body(struct http_parser *parser, const char *data, size_t bytes, size_t *used,
                     http_body_sink *sink, void *context);

/* Split a request target (http_target.c): fills path, query, segments; memory from request->arena.
 * Percent-decodes once, drops empty segments. Returns 0, or 400 with *why. */
int http_target_split(struct http_request *request, struct span target, const char **why);

#endif
