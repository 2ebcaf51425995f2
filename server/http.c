/* The server: its listener, its one timer, its list of posted exchanges, and its end.
 *
 * Every callback from libuv runs between http_enter and http_leave; the outermost leave sees to
 * what was posted meanwhile, so a handler that replies on the loop thread is answered in the same
 * turn. */
#include "server/http_internal.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

struct http_limits http_limits_default(void)
{
    return (struct http_limits){
        .request_line_bytes = 8 * 1024,
        .header_bytes = 32 * 1024,
        .header_count = 64,
        .body_bytes = (size_t)32 * 1024 * 1024,
        .body_budget_bytes = (size_t)512 * 1024 * 1024,
        .stream_buffer_bytes = (size_t)1024 * 1024,
        .connection_count = 10000,
        .header_timeout_ms = 10000,
        .body_grace_ms = 10000,
        .body_bytes_per_s = 4096,
        .idle_timeout_ms = 75000,
        .write_timeout_ms = 30000,
        .drain_timeout_ms = 8000,
    };
}

/* ---- posted exchanges ---- */

static struct http_exchange *take_posted(struct http_server *server, uint8_t *what)
{
    pthread_mutex_lock(&server->lock);
    struct http_exchange *exchange = server->posted_first;
    if (exchange != NULL) {
        server->posted_first = exchange->posted_next;
        if (server->posted_first == NULL)
            server->posted_last = NULL;
        *what = exchange->posted;
        exchange->posted = 0;
    }
    pthread_mutex_unlock(&server->lock);
    return exchange;
}

static bool serve_posted(struct http_server *server)
{
    uint8_t what = 0;
    struct http_exchange *exchange = take_posted(server, &what);
    if (exchange == NULL)
        return false;
    if ((what & POSTED_REPLY) != 0)
        http_exchange_answer(exchange);
    else if (exchange->connection != NULL)
        http_connection_resume(exchange->connection);
    return true;
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    if (--server->handles_closing == 0 && server->finished)
        server->stopped(server->stopped_context);
}

static void close_handle(struct http_server *server, uv_handle_t *handle)
{
    server->handles_closing++;
    uv_close(handle, on_handle_closed);
}

/* Stopped when nothing is open and nothing is owed, or the time for it has passed. The async handle
 * stays, so that late replies find a loop, but no longer keeps the loop running. */
static void check_stopped(struct http_server *server)
{
    if (!server->stopping || server->finished || server->connections > 0)
        return;
    if (server->sending > 0 || (server->exchanges > 0 && !server->forced))
        return; /* who makes pieces is told that nobody reads them, and ends at the next */
    server->finished = true;
    uv_unref((uv_handle_t *)&server->async);
    close_handle(server, (uv_handle_t *)&server->timer);
}

void http_enter(struct http_server *server)
{
    server->depth++;
}

void http_leave(struct http_server *server)
{
    if (server->depth == 1) {
        while (serve_posted(server) || http_budget_serve(server))
            continue;
        check_stopped(server);
    }
    server->depth--;
}

static void close_idle(void *context, struct wheel_entry *entry)
{
    struct http_connection *connection = http_connection_of_timer(entry);
    (void)context;
    if (connection->phase == PHASE_IDLE)
        http_connection_close(connection);
}

static void close_any(void *context, struct wheel_entry *entry)
{
    (void)context;
    http_connection_close(http_connection_of_timer(entry));
}

void http_server_stop(struct http_server *server, void (*stopped)(void *context), void *context)
{
    if (server->stopping)
        return;
    http_enter(server);
    server->stopping = true;
    server->stopped = stopped;
    server->stopped_context = context;
    server->stop_deadline_ms = uv_now(server->loop) + server->limits.drain_timeout_ms;
    close_handle(server, (uv_handle_t *)&server->listener);
    wheel_each(&server->wheel, close_idle, NULL);
    http_leave(server);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    pthread_mutex_destroy(&server->lock);
    free(server->read_buffer);
    free(server);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    http_enter(server);
    http_leave(server); /* replies that came after the end */
    uv_close((uv_handle_t *)&server->async, on_async_closed);
}

/* ---- callbacks ---- */

static void on_async(uv_async_t *async)
{
    struct http_server *server = async->data;
    http_enter(server);
    http_leave(server);
}

static void on_expired(void *context, struct wheel_entry *entry)
{
    (void)context;
    http_connection_expired(http_connection_of_timer(entry));
}

static void on_tick(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    http_enter(server);
    wheel_turn(&server->wheel, now, on_expired, NULL);
    if (server->stopping && now >= server->stop_deadline_ms && !server->forced) {
        server->forced = true;
        wheel_each(&server->wheel, close_any, NULL);
    }
    http_leave(server);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct http_server *server = listener->data;
    if (status < 0)
        return; /* out of descriptors, mostly: libuv has closed it, and the next try comes by itself
                 */
    http_enter(server);
    http_connection_accept(server);
    http_leave(server);
}

/* ---- the beginning ---- */

/* A tick is a second, or less where a limit is so short that a second would not keep it. */
static uint64_t tick_of(const struct http_limits *limits)
{
    const uint32_t timeouts[] = {limits->header_timeout_ms, limits->body_grace_ms,
                                 limits->idle_timeout_ms, limits->write_timeout_ms,
                                 limits->drain_timeout_ms};
    uint64_t tick = 1000;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++)
        if (timeouts[i] / 4 < tick)
            tick = timeouts[i] / 4;
    return tick < 10 ? 10 : tick;
}

static int bind_first(const struct addrinfo *found, int *error)
{
    *error = EADDRNOTAVAIL;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        int on = 1;
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            *error = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
            return fd;
        *error = errno;
        close(fd);
    }
    return -1;
}

static enum error error_of_errno(int error)
{
    if (error == EADDRINUSE)
        return ERROR_BUSY;
    if (error == EACCES || error == EPERM)
        return ERROR_PERMISSION;
    return ERROR_IO;
}

static enum error open_socket(const char *host, uint16_t port, int *fd, char *why, size_t why_bytes)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[8];
    int error = 0;
    snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed != 0) {
        snprintf(why, why_bytes, "cannot listen on %s:%u: %s", host, port, gai_strerror(failed));
        return ERROR_INVALID;
    }
    *fd = bind_first(found, &error);
    freeaddrinfo(found);
    if (*fd >= 0)
        return OK;
    snprintf(why, why_bytes, "cannot listen on %s:%u: %s", host, port,
             error == EADDRINUSE ? "address already in use" : strerror(error));
    return error_of_errno(error);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    char service[8] = "0";
    if (getsockname(fd, (struct sockaddr *)&address, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&address, bytes, NULL, 0, service, sizeof service,
                    NI_NUMERICSERV) != 0)
        return 0;
    return (uint16_t)strtoul(service, NULL, 10);
}

static void start_handles(struct http_server *server, int fd)
{
    uv_tcp_init(server->loop, &server->listener);
    uv_timer_init(server->loop, &server->timer);
    uv_async_init(server->loop, &server->async, on_async);
    server->listener.data = server->timer.data = server->async.data = server;
    uv_tcp_open(&server->listener, fd);
    uv_listen((uv_stream_t *)&server->listener, LISTEN_BACKLOG, on_connection);
    uv_timer_start(&server->timer, on_tick, server->wheel.tick_ms, server->wheel.tick_ms);
}

enum error http_server_new(uv_loop_t *loop, const char *host, uint16_t port,
                           const struct http_limits *limits, const struct http_handlers *handlers,
                           struct http_server **server, char *why, size_t why_bytes)
{
    int fd = -1;
    enum error error = open_socket(host, port, &fd, why, why_bytes);
    if (error != OK)
        return error;
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of write, not our end */
    struct http_server *made = allocate_zeroed(1, sizeof *made);
    made->loop = loop;
    made->thread = pthread_self();
    made->limits = *limits;
    made->handlers = *handlers;
    made->gate_limits = (struct gate_limits){limits->request_line_bytes, limits->header_bytes,
                                             limits->header_count};
    made->connection_limit = limits->connection_count;
    made->read_buffer = allocate(READ_BUFFER_BYTES);
    made->port = port_of(fd);
    pthread_mutex_init(&made->lock, NULL);
    uv_update_time(loop);
    wheel_init(&made->wheel, tick_of(limits), uv_now(loop));
    start_handles(made, fd);
    *server = made;
    return OK;
}

uint16_t http_port(const struct http_server *server)
{
    return server->port;
}

void http_figures_get(const struct http_server *server, struct http_figures *figures)
{
    figures->connections = server->connections;
    figures->requests = server->requests;
    figures->rejected = server->rejected;
    figures->body_bytes_held = atomic_load_explicit(&server->held_bytes, memory_order_relaxed);
}
