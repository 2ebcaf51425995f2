/* A server in a thread, a worker beside it, and clients on raw sockets: what the http tests share.
 *
 * Paths: /now is answered in headers(), /deny too (401); /echo on the loop with the body it got;
 * /later by the worker; /hold by whoever releases it; /stream is read by the worker; /pieces is
 * answered by it in pieces. */
#ifndef KITH_TESTS_HTTP_HARNESS_H
#define KITH_TESTS_HTTP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/http.h"

#define GUARD_MS 20000 /* nothing takes as long; a test that waits so long has failed */
#define HELD_MAX 1024
#define UNUSED __attribute__((unused))

struct fixture {
    struct http_limits limits;
    struct http_server *server;
    uint16_t port;
    uv_loop_t loop;
    uv_async_t call;
    pthread_t loop_thread, worker_thread;
    sem_t ready, called;
    void (*function)(struct fixture *fixture); /* run on the loop by fixture_call */
    struct http_figures figures;
    /* Under lock: requests for the worker, requests held, and what finished() has said. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_request *work[HELD_MAX], *held[HELD_MAX];
    size_t work_count, held_count;
    bool ending, stopped;
    uint64_t finished_count;
    int finished_status; /* the latest */
    /* The streamed request's worker. */
    bool stream_paused;     /* takes nothing while set */
    size_t stream_reply_at; /* replies once it has taken so much; 0: at the end */
    bool stream_silent;     /* replies without a body */
    bool stream_refused;    /* is replied to on the loop, nothing taken */
    uint64_t stream_bytes, stream_sum, stream_held_most;
    enum http_stream_state stream_state;
    /* The reply in pieces: how many, how long; its length is announced or not, it ends or is cut.
     */
    size_t pieces, piece_bytes;
    bool pieces_known, pieces_cut;
    size_t pieces_made; /* under lock, as the next */
    bool pieces_lost;   /* ready() has said that nobody reads */
};

/* ---- the server's side ---- */

static struct http_body body_text(const char *text)
{
    size_t bytes = strlen(text);
    char *data = malloc(bytes + 1);
    memcpy(data, text, bytes + 1);
    return (struct http_body){data, bytes};
}

static bool at_path(const struct http_request *request, const char *name)
{
    return request->segment_count > 0 && span_equal(request->segments[0], span_text(name));
}

static enum http_verdict on_headers(void *context, struct http_request *request)
{
    (void)context;
    if (at_path(request, "stream"))
        return HTTP_STREAM;
    if (at_path(request, "now")) {
        http_reply(request, 200, "text/plain", "X-Extra: 1\r\n", body_text("now"));
        return HTTP_DONE;
    }
    if (at_path(request, "deny")) {
        http_reply(request, 401, "text/plain", NULL, body_text("no"));
        return HTTP_DONE;
    }
    return HTTP_BUFFER;
}

static void echo(struct http_request *request)
{
    char *copy = malloc(request->body.bytes + 1);
    if (request->body.bytes > 0)
        memcpy(copy, request->body.data, request->body.bytes);
    http_reply(request, 200, "application/octet-stream", NULL,
               (struct http_body){copy, request->body.bytes});
}

static void queue_put(struct fixture *fixture, struct http_request **queue, size_t *count,
                      struct http_request *request)
{
    pthread_mutex_lock(&fixture->lock);
    assert_true(*count < HELD_MAX);
    queue[(*count)++] = request;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static void on_request(void *context, struct http_request *request)
{
    struct fixture *fixture = context;
    request->user = fixture;
    if (at_path(request, "later") || at_path(request, "pieces"))
        queue_put(fixture, fixture->work, &fixture->work_count, request);
    else if (at_path(request, "hold"))
        queue_put(fixture, fixture->held, &fixture->held_count, request);
    else
        echo(request);
}

static void on_stream(void *context, struct http_request *request)
{
    struct fixture *fixture = context;
    if (fixture->stream_refused)
        http_reply(request, 400, "text/plain", NULL, body_text("refused"));
    else
        queue_put(fixture, fixture->work, &fixture->work_count, request);
}

static void on_finished(void *context, const struct http_request *request, int status,
                        size_t reply_bytes, double seconds)
{
    struct fixture *fixture = context;
    assert_non_null(request);
    assert_true(seconds >= 0.0 && reply_bytes < SIZE_MAX / 2);
    pthread_mutex_lock(&fixture->lock);
    fixture->finished_count++;
    fixture->finished_status = status;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

/* Take until there is nothing more at the moment, or the end. */
static void work_stream(struct fixture *fixture, struct http_request *request)
{
    for (;;) {
        pthread_mutex_lock(&fixture->lock);
        while (fixture->stream_paused)
            pthread_cond_wait(&fixture->changed, &fixture->lock);
        pthread_mutex_unlock(&fixture->lock);
        uint8_t *data = NULL;
        size_t bytes = 0;
        enum http_stream_state state = http_stream_take(request, &data, &bytes);
        uint64_t sum = 0;
        for (size_t i = 0; i < bytes; i++)
            sum += data[i] * (uint64_t)((i + fixture->stream_bytes) % 251 + 1);
        free(data);
        pthread_mutex_lock(&fixture->lock);
        fixture->stream_bytes += bytes;
        fixture->stream_sum += sum;
        fixture->stream_state = state;
        if (bytes > fixture->stream_held_most)
            fixture->stream_held_most = bytes;
        bool early =
            fixture->stream_reply_at > 0 && fixture->stream_bytes >= fixture->stream_reply_at;
        pthread_cond_broadcast(&fixture->changed);
        pthread_mutex_unlock(&fixture->lock);
        if (state != HTTP_STREAM_MORE || early) {
            http_reply(request, 200, "text/plain", NULL,
                       fixture->stream_silent ? (struct http_body){NULL, 0}
                                              : body_text("streamed"));
            return;
        }
        if (bytes == 0)
            return;
    }
}

static void on_piece_ready(struct http_request *request, bool gone)
{
    struct fixture *fixture = request->user;
    pthread_mutex_lock(&fixture->lock);
    fixture->pieces_lost = gone;
    pthread_mutex_unlock(&fixture->lock);
    queue_put(fixture, fixture->work, &fixture->work_count, request);
}

/* The next piece: bytes that tell their place in the whole. */
static void work_piece(struct fixture *fixture, struct http_request *request)
{
    pthread_mutex_lock(&fixture->lock);
    const size_t number = fixture->pieces_made++;
    const bool lost = fixture->pieces_lost;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
    if (number == 0)
        http_reply_begin(request, 200, "text/plain", "X-Extra: 1\r\n",
                         fixture->pieces_known ? fixture->pieces * fixture->piece_bytes
                                               : HTTP_LENGTH_UNKNOWN,
                         on_piece_ready);
    const bool last = number + 1 >= fixture->pieces;
    char *data = malloc(fixture->piece_bytes + 1);
    for (size_t i = 0; i < fixture->piece_bytes; i++)
        data[i] = (char)('a' + (number * fixture->piece_bytes + i) % 23);
    http_reply_piece(request, (struct http_body){data, fixture->piece_bytes},
                     lost || (last && fixture->pieces_cut) ? HTTP_PIECE_CUT
                     : last                                ? HTTP_PIECE_LAST
                                                           : HTTP_PIECE_MORE);
}

static void *run_worker(void *context)
{
    struct fixture *fixture = context;
    pthread_mutex_lock(&fixture->lock);
    for (;;) {
        while (fixture->work_count == 0 && !fixture->ending)
            pthread_cond_wait(&fixture->changed, &fixture->lock);
        if (fixture->work_count == 0)
            break;
        struct http_request *request = fixture->work[0];
        memmove(fixture->work, fixture->work + 1, --fixture->work_count * sizeof request);
        pthread_mutex_unlock(&fixture->lock);
        if (at_path(request, "stream"))
            work_stream(fixture, request);
        else if (at_path(request, "pieces"))
            work_piece(fixture, request);
        else
            echo(request);
        pthread_mutex_lock(&fixture->lock);
    }
    pthread_mutex_unlock(&fixture->lock);
    return NULL;
}

static void on_call(uv_async_t *async)
{
    struct fixture *fixture = async->data;
    void (*function)(struct fixture *) = fixture->function;
    fixture->function = NULL;
    if (function != NULL) {
        function(fixture);
        sem_post(&fixture->called);
    }
}

static void *run_loop(void *context)
{
    struct fixture *fixture = context;
    const struct http_handlers handlers = {fixture, on_headers, on_request, on_stream, on_finished};
    char why[200] = "";
    uv_loop_init(&fixture->loop);
    uv_async_init(&fixture->loop, &fixture->call, on_call);
    fixture->call.data = fixture;
    enum error error = http_server_new(&fixture->loop, "127.0.0.1", 0, &fixture->limits, &handlers,
                                       &fixture->server, why, sizeof why);
    if (error != OK) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    fixture->port = http_port(fixture->server);
    sem_post(&fixture->ready);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Run function on the loop and wait until it has. */
static UNUSED void fixture_call(struct fixture *fixture, void (*function)(struct fixture *fixture))
{
    fixture->function = function;
    uv_async_send(&fixture->call);
    while (sem_wait(&fixture->called) != 0)
        continue;
}

static UNUSED struct http_limits test_limits(void)
{
    struct http_limits limits = http_limits_default();
    limits.connection_count = 200;
    return limits;
}

static UNUSED struct fixture *fixture_new(struct http_limits limits)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->limits = limits;
    sem_init(&fixture->ready, 0, 0);
    sem_init(&fixture->called, 0, 0);
    pthread_mutex_init(&fixture->lock, NULL);
    pthread_cond_init(&fixture->changed, NULL);
    pthread_create(&fixture->loop_thread, NULL, run_loop, fixture);
    while (sem_wait(&fixture->ready) != 0)
        continue;
    pthread_create(&fixture->worker_thread, NULL, run_worker, fixture);
    return fixture;
}

static void on_stopped(void *context)
{
    struct fixture *fixture = context;
    pthread_mutex_lock(&fixture->lock);
    fixture->stopped = true;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
    uv_close((uv_handle_t *)&fixture->call, NULL);
}

static UNUSED void begin_stop(struct fixture *fixture)
{
    http_server_stop(fixture->server, on_stopped, fixture);
}

/* Wait, guarded, until condition holds; called with the lock held. */
#define FIXTURE_WAIT(fixture, condition)                                                           \
    do {                                                                                           \
        struct timespec until;                                                                     \
        clock_gettime(CLOCK_REALTIME, &until);                                                     \
        until.tv_sec += GUARD_MS / 1000;                                                           \
        pthread_mutex_lock(&(fixture)->lock);                                                      \
        int waited = 0;                                                                            \
        while (!(condition) && waited == 0)                                                        \
            waited = pthread_cond_timedwait(&(fixture)->changed, &(fixture)->lock, &until);        \
        pthread_mutex_unlock(&(fixture)->lock);                                                    \
        if (waited != 0)                                                                           \
            fail_msg("waited in vain for " #condition);                                            \
    } while (0)

static UNUSED void release(struct fixture *fixture, size_t index)
{
    pthread_mutex_lock(&fixture->lock);
    assert_true(index < fixture->held_count);
    struct http_request *request = fixture->held[index];
    fixture->held[index] = fixture->held[--fixture->held_count];
    pthread_mutex_unlock(&fixture->lock);
    echo(request);
}

/* After begin_stop: wait for the end, let the worker go, and see that nothing is left. */
static void fixture_end(struct fixture *fixture)
{
    FIXTURE_WAIT(fixture, fixture->stopped);
    pthread_join(fixture->loop_thread, NULL);
    pthread_mutex_lock(&fixture->lock);
    fixture->ending = true;
    fixture->stream_paused = false;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
    pthread_join(fixture->worker_thread, NULL);
    while (fixture->held_count > 0)
        release(fixture, 0);
    http_server_free(fixture->server);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    pthread_mutex_destroy(&fixture->lock);
    pthread_cond_destroy(&fixture->changed);
    free(fixture);
}

static UNUSED void fixture_free(struct fixture *fixture)
{
    fixture_call(fixture, begin_stop);
    fixture_end(fixture);
}

static UNUSED void get_figures(struct fixture *fixture)
{
    http_figures_get(fixture->server, &fixture->figures);
}

/* ---- the client's side ---- */

struct client {
    int fd;
    char *data; /* received, not yet consumed */
    size_t bytes, capacity;
};

struct response {
    int status;
    char head[2048];
    char *body;
    size_t body_bytes;
};

static UNUSED struct client client_open(const struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(client.fd >= 0);
    assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
    return client;
}

static UNUSED void client_close(struct client *client)
{
    close(client->fd);
    free(client->data);
    memset(client, 0, sizeof *client);
}

/* Close with a reset. */
static UNUSED void client_abort(struct client *client)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    client_close(client);
}

static bool wait_for(int fd, short events, int ms)
{
    struct pollfd entry = {.fd = fd, .events = events};
    int n;
    while ((n = poll(&entry, 1, ms)) < 0 && errno == EINTR)
        continue;
    return n > 0;
}

static UNUSED void client_send(struct client *client, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = send(client->fd, data, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            fail_msg("send: %s", strerror(errno));
        data += n;
        bytes -= (size_t)n;
    }
}

static UNUSED void client_say(struct client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

/* Receive some more, at most so much. false at the end (or a reset). */
static bool client_more_of(struct client *client, size_t most)
{
    if (client->capacity - client->bytes < 65536) {
        client->capacity = client->capacity * 2 + 65536;
        client->data = realloc(client->data, client->capacity);
    }
    if (!wait_for(client->fd, POLLIN, GUARD_MS))
        fail_msg("nothing came for %d ms", GUARD_MS);
    size_t room = client->capacity - client->bytes;
    ssize_t n = recv(client->fd, client->data + client->bytes, room < most ? room : most, 0);
    if (n <= 0)
        return false;
    client->bytes += (size_t)n;
    return true;
}

static bool client_more(struct client *client)
{
    return client_more_of(client, SIZE_MAX);
}

static UNUSED bool client_at_end(struct client *client)
{
    return client->bytes == 0 && !client_more(client);
}

static void client_consume(struct client *client, size_t bytes)
{
    memmove(client->data, client->data + bytes, client->bytes - bytes);
    client->bytes -= bytes;
}

/* One response, its body as long as Content-Length says (0 after HEAD and 100). */
static UNUSED struct response client_receive(struct client *client, bool no_body)
{
    struct response response = {0};
    char *end = NULL;
    while (client->bytes < 4 || (end = memmem(client->data, client->bytes, "\r\n\r\n", 4)) == NULL)
        if (!client_more(client))
            fail_msg("the connection ended before a response (%zu bytes of it)", client->bytes);
    size_t head = (size_t)(end - client->data) + 4;
    assert_true(head < sizeof response.head);
    memcpy(response.head, client->data, head);
    client_consume(client, head);
    assert_int_equal(sscanf(response.head, "HTTP/1.1 %d ", &response.status), 1);
    const char *length = strcasestr(response.head, "\r\nContent-Length: ");
    if (!no_body && length != NULL)
        response.body_bytes = strtoul(length + 18, NULL, 10);
    while (client->bytes < response.body_bytes)
        if (!client_more(client))
            fail_msg("the connection ended within a body");
    response.body = malloc(response.body_bytes + 1);
    if (response.body_bytes > 0) {
        memcpy(response.body, client->data, response.body_bytes);
        client_consume(client, response.body_bytes);
    }
    response.body[response.body_bytes] = 0;
    return response;
}

static UNUSED bool has(const struct response *response, const char *text)
{
    return strstr(response->head, text) != NULL;
}

/* Receive and expect: a status, and a body (NULL: any). */
static UNUSED void client_expect(struct client *client, int status, const char *body)
{
    struct response response = client_receive(client, status == 100);
    if (response.status != status || (body != NULL && strcmp(response.body, body) != 0))
        fail_msg("%s%s\nnot %d %s", response.head, response.body, status, body != NULL ? body : "");
    free(response.body);
}

#endif
