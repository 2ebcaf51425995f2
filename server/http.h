/* HTTP/1.1 on a libuv loop: sockets, the request gate, llhttp, limits, timeouts, back-pressure.
 *
 * Knows nothing of collections. It hands a request over twice: when its headers are complete (loop
 * thread; route and authorise here, nothing slow) and when its body is (or, for streams, whenever
 * bytes have come). Whoever owns the request ends it by exactly one http_reply, from any thread,
 * and does not touch it afterwards. One request a connection at a time; pipelined ones wait, in
 * order. Requests whose peer went away still belong to their owner until http_reply, which then
 * only frees. */
#ifndef KITH_SERVER_HTTP_H
#define KITH_SERVER_HTTP_H

#include <uv.h>

#include "index/arena.h"

struct http_limits {            /* defaults and config keys: config.c */
    size_t request_line_bytes;  /* http.request_line_bytes_max 8 KiB -> 414 */
    size_t header_bytes;        /* http.header_bytes_max 32 KiB -> 431 */
    size_t header_count;        /* http.header_count_max 64 -> 431 */
    size_t body_bytes;          /* http.body_bytes_max 32 MiB -> 413 */
    size_t body_budget_bytes;   /* http.body_budget_bytes 512 MiB over all requests */
    size_t stream_buffer_bytes; /* http.stream_buffer_bytes 1 MiB queued per streamed body */
    uint32_t connection_count;  /* http.connections_max 10000; the caller has the descriptors */
    uint32_t header_timeout_ms; /* http.header_timeout_ms 10 s from the first byte -> 408 */
    uint32_t body_grace_ms;     /* http.body_grace_ms 10 s, then at least */
    uint32_t body_bytes_per_s;  /* http.body_bytes_per_s_min 4 KiB/s -> 408 */
    uint32_t idle_timeout_ms;   /* http.idle_timeout_ms 75 s; 10 s over 80 % of connections */
    uint32_t write_timeout_ms;  /* http.write_timeout_ms 30 s without progress */
    uint32_t drain_timeout_ms;  /* http.drain_timeout_ms 8 s for running requests at stop */
};
struct http_limits http_limits_default(void);

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_OTHER
};

/* Read-only for handlers, except user. All spans live until http_reply. */
struct http_request {
    enum http_method method;
    struct span method_text;
    /* Path segments, percent-decoded once, empty ones dropped. A segment with a slash, NUL or
     * invalid UTF-8 after decoding was refused with 400 before this. */
    struct span *segments;
    size_t segment_count;
    struct span path;  /* as sent, without the query string */
    struct span query; /* raw, without '?' */
    /* Headers of interest, empty when absent. */
    struct span content_type, content_encoding, api_key, authorization, accept, accept_encoding,
        if_none_match, request_id, origin;
    uint64_t content_length; /* UINT64_MAX when chunked */
    uint64_t started_ns;     /* CLOCK_MONOTONIC, first byte */
    struct span body;        /* complete, for HTTP_BUFFER requests */
    struct arena arena;      /* of whoever owns the request now; freed at http_reply */
    const void *route;       /* for the routing layer */
    void *user;
};

enum http_verdict {
    HTTP_BUFFER, /* collect the body (up to body_bytes), then request() */
    HTTP_STREAM, /* body of any length; stream() is told when bytes have come */
    HTTP_DONE,   /* http_reply was called already (error, or answered from flags) */
};

struct http_handlers {
    void *context;
    /* Loop thread. Headers are complete and passed the gate. With Expect: 100-continue the verdict
     * decides between 100 Continue and the final answer. */
    enum http_verdict (*headers)(void *context, struct http_request *request);
    /* Loop thread. The whole body is in request->body. Must not block; hand it to a worker. */
    void (*request)(void *context, struct http_request *request);
    /* Loop thread. Bytes have come for a streamed request, or its end, or the peer is gone. */
    void (*stream)(void *context, struct http_request *request);
    /* Loop thread, once for every request that headers() saw, when its reply is handed to the
     * socket: for metrics and the log, and to let go of request->user. Also for those http ended
     * itself (413, 408, ...). status is HTTP_PEER_GONE when the peer went away before the body was
     * whole. May be NULL. */
    void (*finished)(void *context, const struct http_request *request, int status,
                     size_t reply_bytes, double seconds);
};

#define HTTP_PEER_GONE 499

struct http_server;

/* Listen on host:port (port 0: any free one, see http_port). On failure *why is one line for a
 * person ("cannot listen on 127.0.0.1:6333: address already in use"): ERROR_BUSY for that one,
 * ERROR_PERMISSION, ERROR_INVALID for a host that does not resolve, ERROR_IO. limits and handlers
 * are copied. SIGPIPE is ignored from here on. On the thread that runs the loop, as everything here
 * but what says otherwise. */
enum error http_server_new(uv_loop_t *loop, const char *host, uint16_t port,
                           const struct http_limits *limits, const struct http_handlers *handlers,
                           struct http_server **server, char *why, size_t why_bytes) MUST_CHECK;
uint16_t http_port(const struct http_server *server);
/* Graceful stop: close listeners, close idle connections, Connection: close on answers; stopped()
 * is called on the loop when the last request is answered or drain_timeout_ms has passed. */
void http_server_stop(struct http_server *server, void (*stopped)(void *context), void *context);
/* After stopped(), and after everybody who could still reply has ended. The memory goes when the
 * loop runs its closing callbacks: run it once more (UV_RUN_DEFAULT) before uv_loop_close. Accepts
 * NULL. */
void http_server_free(struct http_server *server);

/* A reply's bytes; taken over and freed with free(). */
struct http_body {
    char *data;
    size_t bytes;
};

/* End a request. Any thread. content_type: static text. extra_headers: "Name: value\r\n"... copied,
 * or NULL. Content-Length, Connection, Keep-Alive, Server, x-request-id (echo) are added here. HEAD
 * sends no body. If the request's body was not read to its end the connection lingers (<= 64 KiB or
 * 1 s) and closes. Frees the request and its arena. */
void http_reply(struct http_request *request, int status, const char *content_type,
                const char *extra_headers, struct http_body body);

/* ---- replies in pieces: of any length, made while the client reads ---- */

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

enum http_piece { HTTP_PIECE_MORE, HTTP_PIECE_LAST, HTTP_PIECE_CUT };
/* Called on the loop thread when a piece has gone to the socket: the owner may make the next. gone:
 * there is nobody to read it; the owner ends the request by HTTP_PIECE_CUT. Must not block. */
typedef void http_piece_ready(struct http_request *request, bool gone);

/* What http_reply would be told, before the first piece; instead of it. length: of all pieces
 * together, or HTTP_LENGTH_UNKNOWN (chunked; for HTTP/1.0 the connection's end is the body's).
 * content_type: static text. Sends nothing yet: until the first piece http_reply may still be
 * called instead. Any thread, for requests whose body was buffered, not HEAD. */
void http_reply_begin(struct http_request *request, int status, const char *content_type,
                      const char *extra_headers, uint64_t length, http_piece_ready *ready);
/* One piece, taken over and freed with free(); one at a time: after HTTP_PIECE_MORE the request is
 * not touched until ready() is called. LAST and CUT end the request as http_reply does. CUT: it
 * could not be finished; the connection is closed so that the client notices. Any thread. */
void http_reply_piece(struct http_request *request, struct http_body body, enum http_piece piece);

/* ---- streamed bodies: from the one thread that works on the request at the moment ---- */

enum http_stream_state { HTTP_STREAM_MORE, HTTP_STREAM_END, HTTP_STREAM_BROKEN };
/* Take what is queued (malloc'd, the caller's; *bytes may be 0). The state tells whether more may
 * come. Taking makes room: reading from the socket goes on (back-pressure). Any one thread. After
 * HTTP_STREAM_MORE with 0 bytes, stream() will be called when there is more: whoever took must not
 * touch the request any more then. HTTP_STREAM_BROKEN: the body will never be whole (peer gone, too
 * slow, malformed); it still has to be replied to, with what was done so far; if the connection is
 * still there the status sent is 408 or 400 whatever the reply says. */
enum http_stream_state http_stream_take(struct http_request *request, uint8_t **data,
                                        size_t *bytes);

/* Why the body of a streamed request is HTTP_STREAM_BROKEN: the status that will be sent and its
 * text (static); HTTP_PEER_GONE when nobody is left to read it. After http_stream_take said so. */
int http_stream_failure(const struct http_request *request, const char **why);

/* Figures for metrics; loop thread. */
struct http_figures {
    uint64_t connections, requests, rejected, body_bytes_held;
};
void http_figures_get(const struct http_server *server, struct http_figures *figures);

#endif
