/* A connection: bytes in, phases, deadlines, and its end.
 *
 * Reading is stopped lazily: while a request is executed the socket stays registered, so the usual
 * client, who waits for the answer, costs no epoll_ctl; only one that sends ahead is stopped, after
 * at most READ_AHEAD_BYTES. It also lets us notice a peer that has reset. What was read and does
 * not belong to the present request is kept as the tail, and the connection reads nothing while it
 * has one. */
#include "server/http_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static size_t feed(struct http_connection *connection, const char *data, size_t bytes);
static void settle(struct http_connection *connection);

static uint64_t now_ms(const struct http_connection *connection)
{
    return uv_now(connection->server->loop);
}

static void set_deadline(struct http_connection *connection, uint64_t ms)
{
    wheel_set(&connection->server->wheel, &connection->timer, now_ms(connection) + ms);
}

/* ---- reading on and off, the tail ---- */

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct http_connection *connection = handle->data;
    (void)suggested;
    bool ahead = connection->phase == PHASE_EXECUTE || connection->phase == PHASE_REPLY;
    buffer->base = connection->server->read_buffer;
    buffer->len = ahead ? READ_AHEAD_BYTES : READ_BUFFER_BYTES;
}

static void on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer);

static void read_on(struct http_connection *connection)
{
    if (connection->reading || connection->eof)
        return;
    int error = uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
    connection->reading = error == 0;
    if (error != 0)
        http_connection_close(connection);
}

static void read_off(struct http_connection *connection)
{
    if (connection->reading)
        uv_read_stop((uv_stream_t *)&connection->tcp);
    connection->reading = false;
}

static void release_tail(struct http_connection *connection)
{
    if (connection->tail == NULL)
        return;
    atomic_fetch_sub_explicit(&connection->server->held_bytes, connection->tail_bytes,
                              memory_order_relaxed);
    free(connection->tail);
    connection->tail = NULL;
    connection->tail_bytes = connection->tail_next = 0;
}

static void keep_tail(struct http_connection *connection, const char *data, size_t bytes)
{
    assert(connection->tail == NULL && bytes <= READ_BUFFER_BYTES);
    connection->tail = allocate(bytes);
    memcpy(connection->tail, data, bytes);
    connection->tail_bytes = (uint32_t)bytes;
    connection->tail_next = 0;
    atomic_fetch_add_explicit(&connection->server->held_bytes, bytes, memory_order_relaxed);
}

/* ---- errors ---- */

/* The present request cannot be received to its end. */
static void fail(struct http_connection *connection, int status, const char *why)
{
    struct http_exchange *exchange = connection->exchange;
    if (exchange->mode != MODE_STREAM && exchange->mode != MODE_DISCARD) {
        http_exchange_refuse(exchange, status, why);
        return;
    }
    /* Its owner answers: a stream says how far it came. The connection closes then, since the
     * parser has not seen the end. */
    connection->phase = PHASE_EXECUTE;
    connection->pause = PAUSE_NONE;
    set_deadline(connection, connection->server->limits.idle_timeout_ms);
    if (exchange->mode == MODE_DISCARD)
        return;
    connection->server->rejected++;
    exchange->failed_status = status;
    exchange->failed_why = why; /* static: only buffered bodies are refused with a made text */
    http_stream_finish(exchange, true);
    http_stream_tell(exchange);
}

static void fail_too_large(struct http_connection *connection)
{
    char why[96];
    snprintf(why, sizeof why, "the body has exceeded the limit (%zu bytes, http.body_bytes_max)",
             connection->server->limits.body_bytes);
    fail(connection, 413, why);
}

/* ---- the head ---- */

static void begin(struct http_connection *connection)
{
    connection->exchange = http_exchange_new(connection);
    connection->phase = PHASE_HEAD;
    connection->since_ms = now_ms(connection);
    set_deadline(connection, connection->server->limits.header_timeout_ms);
}

static void body_complete(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    struct http_server *server = connection->server;
    connection->phase = PHASE_EXECUTE;
    set_deadline(connection, server->limits.idle_timeout_ms);
    if (exchange->mode == MODE_STREAM) {
        http_stream_finish(exchange, false);
        http_stream_tell(exchange);
    } else if (exchange->mode == MODE_BUFFER) {
        exchange->request.body = span_of(exchange->body, exchange->body_bytes);
        exchange->handed = true;
        server->handlers.request(server->handlers.context, &exchange->request);
    }
}

static void body_begin(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    connection->phase = PHASE_BODY;
    connection->since_ms = exchange->last_byte_ms = now_ms(connection);
    set_deadline(connection, connection->server->wheel.tick_ms);
}

static void head_complete(struct http_connection *connection, bool body_follows)
{
    static const enum http_mode modes[] = {
        [HTTP_BUFFER] = MODE_BUFFER, [HTTP_STREAM] = MODE_STREAM, [HTTP_DONE] = MODE_DISCARD};
    struct http_exchange *exchange = connection->exchange;
    struct http_server *server = connection->server;
    uint64_t length = exchange->request.content_length;
    exchange->announced = true;
    enum http_verdict verdict =
        server->handlers.headers(server->handlers.context, &exchange->request);
    exchange->mode = modes[verdict];
    exchange->handed = exchange->mode != MODE_BUFFER;
    if (exchange->mode == MODE_STREAM)
        http_stream_open(exchange);
    if (exchange->mode == MODE_BUFFER && length != UINT64_MAX && length > server->limits.body_bytes)
        fail_too_large(connection);
    else if (exchange->parser.stage == HTTP_PARSE_END)
        body_complete(connection);
    else {
        body_begin(connection);
        if (exchange->parser.expect_continue && exchange->mode != MODE_DISCARD && !body_follows)
            http_exchange_continue(exchange);
    }
}

static size_t feed_head(struct http_connection *connection, const char *data, size_t bytes)
{
    struct http_exchange *exchange = connection->exchange;
    struct http_parser *parser = &exchange->parser;
    size_t used = 0, held = parser->head_capacity;
    int status = http_parser_head(parser, data, bytes, &used);
    if (status != 0) {
        http_exchange_refuse(exchange, status, parser->why);
        return bytes;
    }
    if (parser->stage != HTTP_PARSE_HEAD) {
        head_complete(connection, used < bytes);
        return used;
    }
    size_t more = parser->head_capacity - held;
    if (!http_budget_fits(connection->server, more))
        http_exchange_refuse(exchange, 503, "http.body_budget_bytes is used up");
    else
        http_charge(exchange, more);
    return used;
}

/* ---- the body ---- */

static void pause_body(struct http_connection *connection, enum http_pause pause)
{
    connection->pause = (uint8_t)pause;
    connection->exchange->pause_ms = now_ms(connection);
    if (pause == PAUSE_BUDGET)
        http_budget_wait(connection->exchange);
}

static size_t feed_body(struct http_connection *connection, const char *data, size_t bytes)
{
    static http_body_sink *const sinks[] = {[MODE_BUFFER] = http_body_append,
                                            [MODE_STREAM] = http_stream_append,
                                            [MODE_DISCARD] = http_body_discard};
    struct http_exchange *exchange = connection->exchange;
    if (exchange->mode == MODE_BUFFER && !http_body_reserve(exchange, bytes)) {
        pause_body(connection, PAUSE_BUDGET);
        return 0;
    }
    size_t used = 0;
    int status =
        http_parser_body(&exchange->parser, data, bytes, &used, sinks[exchange->mode], exchange);
    exchange->received += used;
    exchange->last_byte_ms = now_ms(connection);
    if (status == 413) {
        fail_too_large(connection);
    } else if (status != 0) {
        fail(connection, status, exchange->parser.why);
    } else if (exchange->parser.stage == HTTP_PARSE_END) {
        body_complete(connection);
    } else if (exchange->mode == MODE_STREAM) {
        if (http_stream_check_full(exchange))
            pause_body(connection, PAUSE_STREAM);
        http_stream_tell(exchange);
    }
    return status != 0 ? bytes : used;
}

void http_connection_resume(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    uint64_t paused = now_ms(connection) - exchange->pause_ms;
    if (connection->pause == PAUSE_NONE)
        return;
    connection->pause = PAUSE_NONE;
    connection->since_ms += paused; /* our slowness is not the client's */
    exchange->last_byte_ms += paused;
    settle(connection);
}

/* ---- bytes ---- */

/* Consume as much as the phase allows; what is left waits. */
static size_t feed(struct http_connection *connection, const char *data, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        switch (connection->phase) {
        case PHASE_IDLE:
            begin(connection);
            break;
        case PHASE_HEAD:
            at += feed_head(connection, data + at, bytes - at);
            break;
        case PHASE_BODY:
            if (connection->pause != PAUSE_NONE)
                return at;
            at += feed_body(connection, data + at, bytes - at);
            break;
        case PHASE_EXECUTE:
        case PHASE_REPLY:
            return at;
        default:
            return bytes;
        }
    }
    return at;
}

static void feed_tail(struct http_connection *connection)
{
    if (connection->tail == NULL)
        return;
    const char *rest = (const char *)connection->tail + connection->tail_next;
    size_t used = feed(connection, rest, connection->tail_bytes - connection->tail_next);
    if (connection->tail == NULL) /* the connection has been closed, or half-closed */
        return;
    connection->tail_next += (uint32_t)used;
    if (connection->tail_next == connection->tail_bytes)
        release_tail(connection);
}

/* The peer sends no more, and all it sent has been consumed. */
static void ended(struct http_connection *connection)
{
    static const char why[] = "the connection ended within the request";
    if (connection->phase == PHASE_HEAD)
        http_exchange_refuse(connection->exchange, 400, why);
    else if (connection->phase == PHASE_BODY)
        fail(connection, 400, why);
    else
        http_connection_close(connection);
}

/* Whatever has happened: consume the tail if the phase does, then read on, wait, or end. */
static void settle(struct http_connection *connection)
{
    feed_tail(connection);
    switch (connection->phase) {
    case PHASE_IDLE:
    case PHASE_HEAD:
    case PHASE_BODY:
        if (connection->pause != PAUSE_NONE)
            read_off(connection);
        else if (connection->eof)
            ended(connection);
        else
            read_on(connection);
        break;
    case PHASE_EXECUTE:
    case PHASE_REPLY:
        if (connection->tail != NULL)
            read_off(connection);
        break;
    default:
        break;
    }
}

static void linger_received(struct http_connection *connection, size_t bytes)
{
    connection->progress += bytes;
    if (connection->progress > LINGER_BYTES)
        read_off(connection); /* the deadline closes */
}

static void received(struct http_connection *connection, const char *data, size_t bytes)
{
    if (connection->phase == PHASE_LINGER) {
        linger_received(connection, bytes);
        return;
    }
    size_t used = feed(connection, data, bytes);
    if (used < bytes)
        keep_tail(connection, data + used, bytes - used);
    settle(connection);
}

static void on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
    struct http_connection *connection = stream->data;
    struct http_server *server = connection->server;
    if (bytes == 0)
        return;
    http_enter(server);
    if (bytes > 0) {
        received(connection, buffer->base, (size_t)bytes);
    } else if (bytes == UV_EOF && connection->phase != PHASE_LINGER) {
        read_off(connection);
        connection->eof = true;
        settle(connection);
    } else {
        http_connection_close(connection);
    }
    http_leave(server);
}

/* ---- the end of a request, and of the connection ---- */

static void go_idle(struct http_connection *connection)
{
    uint32_t idle = connection->server->limits.idle_timeout_ms;
    connection->phase = PHASE_IDLE;
    connection->since_ms = now_ms(connection);
    set_deadline(connection, idle < CROWDED_IDLE_MS ? idle : CROWDED_IDLE_MS);
}

/* Half-close and go on reading for a while: closing at once, with bytes unread, would send a reset
 * that can overtake the answer. */
static void linger(struct http_connection *connection)
{
    uv_os_fd_t fd;
    release_tail(connection);
    if (connection->eof || uv_fileno((uv_handle_t *)&connection->tcp, &fd) != 0 ||
        shutdown(fd, SHUT_WR) != 0) {
        http_connection_close(connection);
        return;
    }
    connection->phase = PHASE_LINGER;
    connection->progress = 0;
    set_deadline(connection, LINGER_MS);
    read_on(connection);
}

void http_connection_answered(struct http_connection *connection)
{
    http_exchange_free(connection->exchange);
    connection->exchange = NULL;
    if (connection->close) {
        linger(connection);
        return;
    }
    go_idle(connection);
    settle(connection);
    if (connection->server->stopping && connection->phase == PHASE_IDLE)
        http_connection_close(connection);
}

static void on_closed(uv_handle_t *handle)
{
    struct http_connection *connection = handle->data;
    struct http_server *server = connection->server;
    http_enter(server);
    server->connections--;
    free(connection);
    http_leave(server);
}

/* The peer is gone. Whoever owns the request goes on, and its reply finds nobody. */
static void abandon(struct http_exchange *exchange)
{
    exchange->connection = NULL;
    if (exchange->mode == MODE_STREAM && !exchange->writing) {
        http_stream_finish(exchange, exchange->parser.stage != HTTP_PARSE_END);
        http_stream_tell(exchange);
    }
    if (exchange->handed || exchange->writing)
        return;
    exchange->status = HTTP_PEER_GONE;
    http_exchange_answer(exchange);
}

void http_connection_close(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    if (connection->phase == PHASE_CLOSING)
        return;
    bool answered = connection->phase == PHASE_REPLY;
    connection->phase = PHASE_CLOSING;
    connection->exchange = NULL;
    wheel_remove(&connection->timer);
    release_tail(connection);
    if (exchange != NULL) {
        if (answered && !exchange->writing)
            http_exchange_free(exchange);
        else
            abandon(exchange);
    }
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

/* ---- deadlines ---- */

static void expired_idle(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    uint64_t idle = now_ms(connection) - connection->since_ms;
    bool crowded = server->connections * UINT64_C(5) > server->connection_limit * UINT64_C(4);
    uint64_t left =
        server->limits.idle_timeout_ms > idle ? server->limits.idle_timeout_ms - idle : 0;
    if (crowded || left == 0)
        http_connection_close(connection);
    else
        set_deadline(connection, left < CROWDED_IDLE_MS ? left : CROWDED_IDLE_MS);
}

/* At least so many bytes a second on average once the grace is over, and never nothing for as long
 * as an idle connection would be kept. */
static bool body_too_slow(const struct http_connection *connection)
{
    const struct http_exchange *exchange = connection->exchange;
    const struct http_limits *limits = &connection->server->limits;
    uint64_t now = now_ms(connection), elapsed = now - connection->since_ms;
    if (now - exchange->last_byte_ms > limits->idle_timeout_ms)
        return true;
    return elapsed > limits->body_grace_ms &&
           exchange->received < elapsed * limits->body_bytes_per_s / 1000;
}

static void expired_body(struct http_connection *connection)
{
    uint64_t now = now_ms(connection);
    if (connection->pause == PAUSE_NONE && body_too_slow(connection))
        fail(connection, 408, "the body comes too slowly (http.body_bytes_per_s_min)");
    else if (connection->pause == PAUSE_BUDGET &&
             now - connection->exchange->pause_ms > connection->server->limits.body_grace_ms)
        http_exchange_refuse(connection->exchange, 503, "http.body_budget_bytes is used up");
    else
        set_deadline(connection, connection->server->wheel.tick_ms);
}

static void expired_reply(struct http_connection *connection)
{
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&connection->tcp);
    uint64_t now = now_ms(connection);
    if (left != connection->progress) {
        connection->progress = left;
        connection->since_ms = now;
    }
    if (now - connection->since_ms > connection->server->limits.write_timeout_ms)
        http_connection_close(connection);
    else
        set_deadline(connection, connection->server->wheel.tick_ms);
}

void http_connection_expired(struct http_connection *connection)
{
    switch (connection->phase) {
    case PHASE_IDLE:
        expired_idle(connection);
        break;
    case PHASE_HEAD:
        http_exchange_refuse(connection->exchange, 408,
                             "the headers did not come within http.header_timeout_ms");
        break;
    case PHASE_BODY:
        expired_body(connection);
        break;
    case PHASE_REPLY:
        expired_reply(connection);
        break;
    case PHASE_EXECUTE: /* the API's own timeouts end it */
        set_deadline(connection, connection->server->limits.idle_timeout_ms);
        break;
    default:
        http_connection_close(connection);
        break;
    }
}

/* ---- the beginning ---- */

/* They take descriptors that somebody else may need: few where the limit is low. */
static uint32_t refused_max(const struct http_server *server)
{
    uint32_t share = server->connection_limit / 4 + 1;
    return share < REFUSED_CONNECTIONS_MAX ? share : REFUSED_CONNECTIONS_MAX;
}

void http_connection_accept(struct http_server *server)
{
    struct http_connection *connection = allocate_zeroed(1, sizeof *connection);
    connection->server = server;
    uv_tcp_init(server->loop, &connection->tcp);
    connection->tcp.data = connection;
    server->connections++;
    go_idle(connection);
    if (uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&connection->tcp) != 0 ||
        server->connections > server->connection_limit + refused_max(server)) {
        server->rejected++;
        http_connection_close(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    if (server->connections > server->connection_limit) {
        connection->exchange = http_exchange_new(connection);
        http_exchange_refuse(connection->exchange, 503, "http.connections_max are open");
        return;
    }
    read_on(connection);
}
