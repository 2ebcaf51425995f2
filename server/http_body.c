/* Where bodies go while they come: one growing buffer, or a queue that a worker empties.
 *
 * All of it, and partial heads and unread tails too, is counted in server->held_bytes. A buffered
 * body that would take the sum over the budget waits, unread, in the order of arrival; one that has
 * waited for body_grace_ms is answered 503, since those that hold the budget may be waiting like
 * it. */
#include "server/http_internal.h"

#include <assert.h>
#include <stdlib.h>

void http_charge(struct http_exchange *exchange, size_t bytes)
{
    exchange->charged += bytes;
    atomic_fetch_add_explicit(&exchange->server->held_bytes, bytes, memory_order_relaxed);
}

bool http_budget_fits(const struct http_server *server, size_t bytes)
{
    size_t held = atomic_load_explicit(&server->held_bytes, memory_order_relaxed);
    size_t budget = server->limits.body_budget_bytes;
    return bytes <= budget && held <= budget - bytes;
}

/* ---- buffered ---- */

/* At least need, at most what the declared length or the limit lets come. */
static size_t next_capacity(const struct http_exchange *exchange, size_t need)
{
    uint64_t length = exchange->request.content_length;
    size_t limit = exchange->server->limits.body_bytes;
    size_t most = length < limit ? (size_t)length : limit;
    size_t capacity = exchange->body_capacity * 2;
    if (exchange->body_capacity == 0)
        capacity = length == UINT64_MAX ? need : BODY_FIRST_BYTES;
    if (capacity > most)
        capacity = most;
    return capacity > need ? capacity : need;
}

bool http_body_reserve(struct http_exchange *exchange, size_t bytes)
{
    size_t limit = exchange->server->limits.body_bytes;
    size_t need = exchange->body_bytes + bytes;
    if (need > limit)
        need = limit; /* the rest will be refused, not stored */
    if (need <= exchange->body_capacity)
        return true;
    size_t capacity = next_capacity(exchange, need);
    if (!http_budget_fits(exchange->server, capacity - exchange->body_capacity))
        return false;
    exchange->body = grow(exchange->body, capacity);
    http_charge(exchange, capacity - exchange->body_capacity);
    exchange->body_capacity = capacity;
    return true;
}

int http_body_append(void *context, const char *data, size_t bytes)
{
    struct http_exchange *exchange = context;
    if (bytes > exchange->server->limits.body_bytes - exchange->body_bytes)
        return 413;
    assert(bytes <= exchange->body_capacity - exchange->body_bytes);
    memcpy(exchange->body + exchange->body_bytes, data, bytes);
    exchange->body_bytes += bytes;
    return 0;
}

int http_body_discard(void *context, const char *data, size_t bytes)
{
    (void)context, (void)data, (void)bytes;
    return 0;
}

/* ---- waiting for the budget ---- */

void http_budget_wait(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    exchange->wait_next = NULL;
    exchange->wait_previous = server->waiting_last;
    if (server->waiting_last != NULL)
        server->waiting_last->wait_next = exchange;
    else
        server->waiting_first = exchange;
    server->waiting_last = exchange;
}

void http_budget_unwait(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    if (exchange->wait_previous == NULL && server->waiting_first != exchange)
        return;
    if (exchange->wait_previous != NULL)
        exchange->wait_previous->wait_next = exchange->wait_next;
    else
        server->waiting_first = exchange->wait_next;
    if (exchange->wait_next != NULL)
        exchange->wait_next->wait_previous = exchange->wait_previous;
    else
        server->waiting_last = exchange->wait_previous;
    exchange->wait_next = exchange->wait_previous = NULL;
}

bool http_budget_serve(struct http_server *server)
{
    struct http_exchange *exchange = server->waiting_first;
    if (exchange == NULL)
        return false;
    struct http_connection *connection = exchange->connection;
    if (!http_body_reserve(exchange, connection->tail_bytes - connection->tail_next))
        return false;
    http_budget_unwait(exchange);
    http_connection_resume(connection);
    return true;
}

/* ---- streamed ---- */

void http_stream_open(struct http_exchange *exchange)
{
    pthread_mutex_init(&exchange->stream.lock, NULL);
    exchange->stream.hungry = true;
}

static size_t stream_capacity(const struct http_stream_queue *queue, size_t bytes)
{
    size_t capacity = queue->capacity * 2, need = queue->bytes + bytes;
    return capacity > need ? capacity : need;
}

int http_stream_append(void *context, const char *data, size_t bytes)
{
    struct http_exchange *exchange = context;
    struct http_stream_queue *queue = &exchange->stream;
    pthread_mutex_lock(&queue->lock);
    if (!queue->replied) {
        if (bytes > queue->capacity - queue->bytes) {
            size_t capacity = stream_capacity(queue, bytes);
            queue->data = grow(queue->data, capacity);
            atomic_fetch_add_explicit(&exchange->server->held_bytes, capacity - queue->capacity,
                                      memory_order_relaxed);
            queue->capacity = capacity;
        }
        memcpy(queue->data + queue->bytes, data, bytes);
        queue->bytes += bytes;
    }
    pthread_mutex_unlock(&queue->lock);
    return 0;
}

bool http_stream_check_full(struct http_exchange *exchange)
{
    struct http_stream_queue *queue = &exchange->stream;
    pthread_mutex_lock(&queue->lock);
    queue->full = queue->bytes >= exchange->server->limits.stream_buffer_bytes;
    bool full = queue->full;
    pthread_mutex_unlock(&queue->lock);
    return full;
}

void http_stream_finish(struct http_exchange *exchange, bool broken)
{
    struct http_stream_queue *queue = &exchange->stream;
    pthread_mutex_lock(&queue->lock);
    queue->end = true;
    queue->broken = broken;
    pthread_mutex_unlock(&queue->lock);
}

void http_stream_tell(struct http_exchange *exchange)
{
    struct http_stream_queue *queue = &exchange->stream;
    pthread_mutex_lock(&queue->lock);
    bool tell = queue->hungry && !queue->replied && (queue->bytes > 0 || queue->end);
    if (tell)
        queue->hungry = false;
    pthread_mutex_unlock(&queue->lock);
    if (tell)
        exchange->server->handlers.stream(exchange->server->handlers.context, &exchange->request);
}

enum http_stream_state http_stream_take(struct http_request *request, uint8_t **data, size_t *bytes)
{
    struct http_exchange *exchange = (struct http_exchange *)(void *)request;
    struct http_stream_queue *queue = &exchange->stream;
    pthread_mutex_lock(&queue->lock);
    *data = queue->data;
    *bytes = queue->bytes;
    size_t freed = queue->capacity;
    queue->data = NULL;
    queue->bytes = queue->capacity = 0;
    enum http_stream_state state = HTTP_STREAM_MORE;
    if (queue->end && !queue->broken)
        state = HTTP_STREAM_END;
    else if (queue->broken && *bytes == 0)
        state = HTTP_STREAM_BROKEN;
    queue->hungry = *bytes == 0 && !queue->end;
    bool wake = queue->full;
    queue->full = false;
    pthread_mutex_unlock(&queue->lock);
    atomic_fetch_sub_explicit(&exchange->server->held_bytes, freed, memory_order_relaxed);
    if (wake)
        http_exchange_post(exchange, POSTED_WAKE);
    return state;
}

/* Written before the queue was marked as broken, under its lock. */
int http_stream_failure(const struct http_request *request, const char **why)
{
    const struct http_exchange *exchange = (const struct http_exchange *)(const void *)request;
    *why = exchange->failed_status == 0 ? "the connection was lost" : exchange->failed_why;
    return exchange->failed_status == 0 ? HTTP_PEER_GONE : exchange->failed_status;
}

void http_stream_release(struct http_exchange *exchange)
{
    struct http_stream_queue *queue = &exchange->stream;
    atomic_fetch_sub_explicit(&exchange->server->held_bytes, queue->capacity, memory_order_relaxed);
    free(queue->data);
    pthread_mutex_destroy(&queue->lock);
}
