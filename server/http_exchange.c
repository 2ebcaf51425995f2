/* One request's life and its reply.
 *
 * A reply comes from any thread: its parts are laid into the exchange, which is put into the
 * server's list, and the loop is woken. The loop writes head and body with one system call; only
 * what the socket does not take at once is left to uv_write. */
#include "server/http_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Entity"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

struct http_exchange *http_exchange_new(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct http_exchange *exchange = allocate_zeroed(1, sizeof *exchange);
    exchange->server = server;
    exchange->connection = connection;
    arena_init(&exchange->request.arena);
    exchange->request.started_ns = uv_hrtime();
    http_parser_init(&exchange->parser, &exchange->request, &server->gate_limits);
    exchange->write.data = exchange;
    server->exchanges++;
    return exchange;
}

void http_exchange_free(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    http_budget_unwait(exchange);
    if (exchange->mode == MODE_STREAM)
        http_stream_release(exchange);
    atomic_fetch_sub_explicit(&server->held_bytes, exchange->charged, memory_order_relaxed);
    http_parser_release(&exchange->parser);
    free(exchange->body);
    free(exchange->reply.data);
    arena_release(&exchange->request.arena);
    server->exchanges--;
    free(exchange);
}

/* ---- posting ---- */

void http_exchange_post(struct http_exchange *exchange, uint8_t what)
{
    struct http_server *server = exchange->server;
    pthread_mutex_lock(&server->lock);
    bool first = server->posted_first == NULL;
    if (exchange->posted == 0) {
        exchange->posted_next = NULL;
        if (first)
            server->posted_first = exchange;
        else
            server->posted_last->posted_next = exchange;
        server->posted_last = exchange;
    }
    exchange->posted |= what;
    /* Sent under the lock: once it is let go, the loop may answer, finish and close the handle. */
    bool at_end = pthread_equal(pthread_self(), server->thread) && server->depth > 0;
    if (first && !at_end)
        uv_async_send(&server->async);
    pthread_mutex_unlock(&server->lock);
}

void http_reply(struct http_request *request, int status, const char *content_type,
                const char *extra_headers, struct http_body body)
{
    struct http_exchange *exchange = (struct http_exchange *)(void *)request;
    exchange->status = status;
    exchange->content_type = content_type;
    if (extra_headers != NULL)
        exchange->extra_headers =
            arena_copy(&request->arena, extra_headers, strlen(extra_headers) + 1);
    exchange->reply = body;
    exchange->ready = NULL;
    if (exchange->mode == MODE_STREAM) {
        pthread_mutex_lock(&exchange->stream.lock);
        exchange->stream.replied = true;
        pthread_mutex_unlock(&exchange->stream.lock);
    }
    http_exchange_post(exchange, POSTED_REPLY);
}

/* ---- the reply on the wire ---- */

static const char *date_now(struct http_server *server)
{
    time_t now = time(NULL);
    if (now != server->date_second) {
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        server->date_second = now;
    }
    return server->date;
}

/* "Connection: ..." lines and the empty line. The announced time is shorter than ours, so that the
 * client is the one who lets go first and never sends into a connection that we are just closing.
 */
static void format_connection(const struct http_server *server, bool keep, char *out, size_t bytes)
{
    uint32_t seconds = server->limits.idle_timeout_ms / 1000;
    if (!keep)
        snprintf(out, bytes, "Connection: close\r\n\r\n");
    else if (seconds > 5)
        snprintf(out, bytes, "Connection: keep-alive\r\nKeep-Alive: timeout=%u\r\n\r\n",
                 seconds - 5);
    else
        snprintf(out, bytes, "Connection: keep-alive\r\n\r\n");
}

/* Into the arena, with one pass: every part of unknown length is counted into the room first. */
static char *format_head(struct http_exchange *exchange, bool keep)
{
    struct http_request *request = &exchange->request;
    struct span id = request->request_id;
    const char *type = exchange->content_type != NULL ? exchange->content_type : "";
    const char *extra = exchange->extra_headers != NULL ? exchange->extra_headers : "";
    size_t room = 384 + strlen(type) + strlen(extra) + id.bytes;
    char *head = arena_allocate(&request->arena, room), *next = head, *end = head + room;
    next += snprintf(next, room, "HTTP/1.1 %d %s\r\nServer: kith/" KITH_VERSION "\r\nDate: %s\r\n",
                     exchange->status, http_reason(exchange->status), date_now(exchange->server));
    /* that of 304 would be the length of the reply it stands for */
    if (exchange->length != HTTP_LENGTH_UNKNOWN && exchange->status != 304)
        next += snprintf(next, (size_t)(end - next), "Content-Length: %" PRIu64 "\r\n",
                         exchange->length);
    else if (!exchange->parser.http_1_0 && exchange->status != 304)
        next += snprintf(next, (size_t)(end - next), "Transfer-Encoding: chunked\r\n");
    next += snprintf(next, (size_t)(end - next), "%s", extra);
    if (type[0] != 0)
        next += snprintf(next, (size_t)(end - next), "Content-Type: %s\r\n", type);
    if (id.bytes > 0)
        next += snprintf(next, (size_t)(end - next), "x-request-id: %.*s\r\n", (int)id.bytes,
                         (const char *)id.data);
    format_connection(exchange->server, keep, next, (size_t)(end - next));
    assert(strlen(head) + 1 < room);
    return head;
}

static void on_written(uv_write_t *write, int status)
{
    struct http_exchange *exchange = write->data;
    struct http_server *server = exchange->server;
    struct http_connection *connection = exchange->connection;
    http_enter(server);
    exchange->writing = false;
    if (connection == NULL)
        http_exchange_free(exchange);
    else if (status < 0)
        http_connection_close(connection);
    else
        http_connection_answered(connection);
    http_leave(server);
}

/* Skip what has been written. */
static void advance(uv_buf_t *buffers, size_t count, size_t written)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = written < buffers[i].len ? written : buffers[i].len;
        buffers[i].base += n;
        buffers[i].len -= n;
        written -= n;
    }
}

static void write_reply(struct http_exchange *exchange, uv_buf_t buffers[2], unsigned count)
{
    struct http_connection *connection = exchange->connection;
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    size_t total = buffers[0].len + (count > 1 ? buffers[1].len : 0);
    int written = uv_try_write(stream, buffers, count);
    if (written >= 0 && (size_t)written == total) {
        http_connection_answered(connection);
        return;
    }
    if (written < 0 && written != UV_EAGAIN) {
        http_connection_close(connection);
        return;
    }
    advance(buffers, count, written > 0 ? (size_t)written : 0);
    exchange->writing = uv_write(&exchange->write, stream, buffers, count, on_written) == 0;
    if (!exchange->writing) {
        http_connection_close(connection);
        return;
    }
    connection->progress = uv_stream_get_write_queue_size(stream);
    wheel_set(&exchange->server->wheel, &connection->timer,
              connection->since_ms + exchange->server->wheel.tick_ms);
}

static void tell_finished(struct http_exchange *exchange, size_t reply_bytes)
{
    struct http_server *server = exchange->server;
    if (!exchange->announced)
        return;
    server->requests++;
    if (server->handlers.finished == NULL)
        return;
    double seconds = (double)(uv_hrtime() - exchange->request.started_ns) * 1e-9;
    server->handlers.finished(server->handlers.context, &exchange->request, exchange->status,
                              reply_bytes, seconds);
}

/* May the connection be kept? Only if we know where the next request begins, want one, and one can
 * come (an end of input is not read before the tail is consumed). */
static bool keeps(const struct http_exchange *exchange)
{
    const struct http_connection *connection = exchange->connection;
    return exchange->parser.stage == HTTP_PARSE_END && exchange->parser.status == 0 &&
           exchange->parser.keep_alive && !exchange->server->stopping && !connection->eof;
}

/* The texts begin as those of the compatible API do. */
static const char *error_prefix(int status)
{
    switch (status) {
    case 400:
        return "Bad request: ";
    case 408:
        return "Timeout: ";
    case 413:
        return "Payload error: ";
    case 503:
        return "Service unavailable: ";
    default:
        return "";
    }
}

/* why is our own text or llhttp's: nothing in it needs escaping, but a quote would. */
static struct http_body error_body(int status, const char *why)
{
    char *text = allocate(512);
    int n = snprintf(text, 512, "{\"status\":{\"error\":\"%s", error_prefix(status));
    size_t at = (size_t)n;
    for (const char *c = why; *c != 0 && at < 480; c++)
        text[at++] = *c == '"' || *c == '\\' || (unsigned char)*c < ' ' ? '\'' : *c;
    n = snprintf(text + at, 512 - at, "\"},\"time\":0.0}");
    return (struct http_body){text, at + (size_t)n};
}

/* A stream that broke under its owner: the status is ours, the text the owner's if there is one. */
static void apply_failure(struct http_exchange *exchange)
{
    if (exchange->failed_status == 0)
        return;
    exchange->status = exchange->failed_status;
    if (exchange->reply.bytes > 0)
        return;
    free(exchange->reply.data);
    exchange->reply = error_body(exchange->status, exchange->failed_why);
    exchange->content_type = "application/json";
}

/* ---- in pieces ---- */

void http_reply_begin(struct http_request *request, int status, const char *content_type,
                      const char *extra_headers, uint64_t length, http_piece_ready *ready)
{
    struct http_exchange *exchange = (struct http_exchange *)(void *)request;
    assert(exchange->mode == MODE_BUFFER && !exchange->head_sent);
    exchange->status = status;
    exchange->content_type = content_type;
    if (extra_headers != NULL)
        exchange->extra_headers =
            arena_copy(&request->arena, extra_headers, strlen(extra_headers) + 1);
    exchange->length = length;
    exchange->ready = ready;
}

void http_reply_piece(struct http_request *request, struct http_body body, enum http_piece piece)
{
    struct http_exchange *exchange = (struct http_exchange *)(void *)request;
    assert(exchange->ready != NULL && exchange->reply.data == NULL);
    exchange->reply = body;
    exchange->piece = piece;
    http_exchange_post(exchange, POSTED_REPLY);
}

static void piece_release(struct http_exchange *exchange)
{
    free(exchange->reply.data);
    exchange->reply = (struct http_body){0};
}

/* The last of it: whatever became of the connection. */
static void pieces_end(struct http_exchange *exchange)
{
    exchange->server->sending -= exchange->head_sent ? 1 : 0;
    tell_finished(exchange, exchange->sent);
}

/* Nobody reads: its owner is told, unless this was its last word. */
static void piece_lost(struct http_exchange *exchange)
{
    piece_release(exchange);
    if (exchange->piece == HTTP_PIECE_MORE) {
        exchange->ready(&exchange->request, true);
        return;
    }
    exchange->status = HTTP_PEER_GONE;
    pieces_end(exchange);
    http_exchange_free(exchange);
}

/* Closes the connection and keeps the exchange: in phase REPLY it would go with it. */
static void piece_disconnect(struct http_exchange *exchange)
{
    exchange->connection->phase = PHASE_EXECUTE;
    http_connection_close(exchange->connection);
    piece_lost(exchange);
}

static void piece_written(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    piece_release(exchange);
    if (exchange->piece == HTTP_PIECE_LAST) {
        pieces_end(exchange);
        http_connection_answered(connection);
        return;
    }
    /* The next may take its time: the deadline of a stalled write is not for the owner. */
    connection->phase = PHASE_EXECUTE;
    wheel_set(&exchange->server->wheel, &connection->timer,
              uv_now(exchange->server->loop) + exchange->server->limits.idle_timeout_ms);
    exchange->ready(&exchange->request, false);
}

static void on_piece_written(uv_write_t *write, int status)
{
    struct http_exchange *exchange = write->data;
    struct http_server *server = exchange->server;
    http_enter(server);
    exchange->writing = false;
    if (exchange->connection == NULL)
        piece_lost(exchange);
    else if (status < 0)
        piece_disconnect(exchange);
    else
        piece_written(exchange);
    http_leave(server);
}

static void write_piece(struct http_exchange *exchange, uv_buf_t *buffers, unsigned count)
{
    struct http_connection *connection = exchange->connection;
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += buffers[i].len;
    exchange->sent += total;
    int written = total == 0 ? 0 : uv_try_write(stream, buffers, count);
    if (written >= 0 && (size_t)written == total) {
        piece_written(exchange);
        return;
    }
    if (written < 0 && written != UV_EAGAIN) {
        piece_disconnect(exchange);
        return;
    }
    advance(buffers, count, written > 0 ? (size_t)written : 0);
    exchange->writing = uv_write(&exchange->write, stream, buffers, count, on_piece_written) == 0;
    if (!exchange->writing) {
        piece_disconnect(exchange);
        return;
    }
    connection->progress = uv_stream_get_write_queue_size(stream);
    wheel_set(&exchange->server->wheel, &connection->timer,
              connection->since_ms + exchange->server->wheel.tick_ms);
}

/* The head with the first piece; a chunk's frame around each where the length is not known. */
static void send_piece(struct http_exchange *exchange)
{
    static char frame_end[] = "\r\n", body_end[] = "0\r\n\r\n";
    struct http_connection *connection = exchange->connection;
    const bool unknown = exchange->length == HTTP_LENGTH_UNKNOWN;
    const bool chunked = unknown && !exchange->parser.http_1_0;
    uv_buf_t buffers[5];
    unsigned count = 0;
    if (!exchange->head_sent) {
        const bool keep = keeps(exchange) && (chunked || !unknown);
        char *head = format_head(exchange, keep);
        buffers[count++] = (uv_buf_t){head, strlen(head)};
        connection->pause = PAUSE_NONE;
        connection->close = !keep;
        exchange->head_sent = true;
        exchange->server->sending++;
    }
    if (exchange->reply.bytes > 0) {
        if (chunked) {
            const int n = snprintf(exchange->chunk_line, sizeof exchange->chunk_line, "%zx\r\n",
                                   exchange->reply.bytes);
            buffers[count++] = (uv_buf_t){exchange->chunk_line, (size_t)n};
        }
        buffers[count++] = (uv_buf_t){exchange->reply.data, exchange->reply.bytes};
        if (chunked)
            buffers[count++] = (uv_buf_t){frame_end, 2};
    }
    if (chunked && exchange->piece == HTTP_PIECE_LAST)
        buffers[count++] = (uv_buf_t){body_end, 5};
    connection->phase = PHASE_REPLY;
    connection->since_ms = uv_now(exchange->server->loop);
    write_piece(exchange, buffers, count);
}

static void answer_piece(struct http_exchange *exchange)
{
    if (exchange->connection == NULL)
        piece_lost(exchange);
    else if (exchange->piece == HTTP_PIECE_CUT)
        piece_disconnect(exchange);
    else
        send_piece(exchange);
}

void http_exchange_answer(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    if (exchange->ready != NULL) {
        answer_piece(exchange);
        return;
    }
    apply_failure(exchange);
    exchange->length = exchange->reply.bytes;
    if (connection == NULL) {
        tell_finished(exchange, 0);
        http_exchange_free(exchange);
        return;
    }
    bool keep = keeps(exchange);
    char *head = format_head(exchange, keep);
    bool bare = exchange->request.method == HTTP_METHOD_HEAD || exchange->reply.bytes == 0;
    uv_buf_t buffers[2] = {{head, strlen(head)}, {exchange->reply.data, exchange->reply.bytes}};
    http_budget_unwait(exchange);
    connection->pause = PAUSE_NONE;
    connection->close = !keep;
    connection->phase = PHASE_REPLY;
    connection->since_ms = uv_now(exchange->server->loop);
    tell_finished(exchange, buffers[0].len + (bare ? 0 : buffers[1].len));
    write_reply(exchange, buffers, bare ? 1 : 2);
}

/* ---- what http itself answers ---- */

void http_exchange_refuse(struct http_exchange *exchange, int status, const char *why)
{
    exchange->status = status;
    exchange->content_type = "application/json";
    exchange->extra_headers = status == 503 ? "Retry-After: 1\r\n" : NULL;
    exchange->reply = error_body(status, why);
    exchange->parser.keep_alive = false;
    exchange->server->rejected++;
    http_exchange_answer(exchange);
}

static void on_continue_written(uv_write_t *write, int status)
{
    (void)status; /* a broken connection shows itself by the next read or write */
    free(write);
}

void http_exchange_continue(struct http_exchange *exchange)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buffer = {text, sizeof text - 1};
    uv_stream_t *stream = (uv_stream_t *)&exchange->connection->tcp;
    int written = uv_try_write(stream, &buffer, 1);
    if (written < 0 && written != UV_EAGAIN)
        return;
    advance(&buffer, 1, written > 0 ? (size_t)written : 0);
    if (buffer.len == 0)
        return;
    uv_write_t *write = allocate(sizeof *write);
    if (uv_write(write, stream, &buffer, 1, on_continue_written) != 0)
        free(write);
}
