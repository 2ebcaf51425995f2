/* What the http_*.c files share. Nothing outside them includes this.
 *
 * A connection (http_connection.c) is a state machine over bytes; it has at most one exchange: a
 * request being received, executed or answered. Phases go round:
 *
 *   IDLE -> HEAD -> BODY -> EXECUTE -> REPLY -> IDLE
 *
 * and leave the circle through LINGER (we have answered, the peer may still be sending) to CLOSING.
 * An exchange outlives its connection while somebody else owns the request: its connection is NULL
 * then and the reply only frees it. Everything here is the loop thread's but what says otherwise.
 */
#ifndef KITH_SERVER_HTTP_INTERNAL_H
#define KITH_SERVER_HTTP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/http.h"
#include "server/http_parse.h"
#include "server/http_wheel.h"

#define READ_BUFFER_BYTES (64 * 1024)
#define READ_AHEAD_BYTES (4 * 1024) /* of the next request, while one is executed */
#define LINGER_BYTES (64 * 1024)
#define LINGER_MS 1000
#define BODY_FIRST_BYTES                                                                           \
    (1024 * 1024)                   /* never allocated ahead beyond this, whatever a length says */
#define CROWDED_IDLE_MS 10000       /* idle time when over 80 % of the connections are taken */
#define REFUSED_CONNECTIONS_MAX 128 /* beyond the limit, told 503; further ones are just closed */

enum http_phase {
    PHASE_IDLE,    /* waiting for a request's first byte */
    PHASE_HEAD,    /* receiving its head */
    PHASE_BODY,    /* receiving its body */
    PHASE_EXECUTE, /* somebody else has it */
    PHASE_REPLY,   /* the reply is being written */
    PHASE_LINGER,  /* answered and half-closed; what still comes is thrown away */
    PHASE_CLOSING
};

enum http_pause { PAUSE_NONE, PAUSE_BUDGET, PAUSE_STREAM };

struct http_connection { /* as small as it can be: there are 10,000 of them, idle */
    uv_tcp_t tcp;
    struct http_server *server;
    struct http_exchange *exchange;
    struct wheel_entry timer;
    uint64_t since_ms; /* phase began; BODY: moved by our own pauses; REPLY: last progress */
    uint8_t *tail;     /* read but not consumed: the next requests, or a paused body */
    uint32_t tail_bytes, tail_next;
    size_t progress; /* REPLY: the write queue's size when last looked at; LINGER: bytes dropped */
    uint8_t phase;   /* enum http_phase */
    uint8_t pause;   /* enum http_pause, of BODY */
    bool reading;
    bool eof;   /* the peer has half-closed */
    bool close; /* after the reply */
};

enum http_mode { MODE_NONE, MODE_BUFFER, MODE_STREAM, MODE_DISCARD };

/* A streamed body between the loop, which puts, and one worker, which takes. All under lock. */
struct http_stream_queue {
    pthread_mutex_t lock;
    uint8_t *data;
    size_t bytes, capacity;
    bool end;     /* nothing comes after what is queued */
    bool broken;  /* and the body is not whole */
    bool hungry;  /* the next bytes are to be told by stream() */
    bool full;    /* the loop has stopped reading and waits for a take */
    bool replied; /* http_reply was called: never tell again */
};

enum { POSTED_REPLY = 1, POSTED_WAKE = 2 };

struct http_exchange {
    struct http_request request; /* first: http_reply finds the exchange by it */
    struct http_server *server;
    struct http_connection *connection; /* NULL when it has gone */
    struct http_parser parser;
    enum http_mode mode;
    bool announced; /* headers() has seen it, so finished() will */
    bool handed;    /* somebody will call http_reply, or has */
    bool writing;   /* a uv_write of the reply is under way */
    /* The body. */
    char *body;
    size_t body_bytes, body_capacity;
    size_t charged;                  /* of the body budget, by body and head */
    uint64_t received;               /* bytes of the body as sent, framing and all */
    uint64_t last_byte_ms;           /* when the latest came; moved by our own pauses */
    uint64_t pause_ms;               /* when the present pause began */
    int failed_status;               /* of a stream that broke: overrides the reply's */
    const char *failed_why;          /* and its text, where the reply has none */
    struct http_stream_queue stream; /* MODE_STREAM */
    struct http_exchange *wait_next, *wait_previous; /* in server->waiting when paused on budget */
    /* The reply: set by http_reply before posting, the loop's afterwards. */
    int status;
    const char *content_type;
    const char *extra_headers; /* in the arena */
    struct http_body reply;
    uv_write_t write;
    /* Of a reply in pieces. */
    http_piece_ready *ready; /* NULL: the reply is in one piece */
    uint64_t length;         /* announced, or HTTP_LENGTH_UNKNOWN */
    enum http_piece piece;   /* the present one's place */
    bool head_sent;
    uint64_t sent;       /* bytes of head and pieces */
    char chunk_line[24]; /* before a chunk */
    /* In the server's list of posted exchanges; under server->lock. */
    struct http_exchange *posted_next;
    uint8_t posted;
};

struct http_server {
    uv_loop_t *loop;
    pthread_t thread;
    uv_tcp_t listener;
    uv_timer_t timer;
    uv_async_t async;
    uint32_t handles_closing;
    uint16_t port;
    struct http_limits limits;
    struct gate_limits gate_limits;
    struct http_handlers handlers;
    struct wheel wheel;
    char *read_buffer; /* every connection reads into it and is done with it in the same callback */
    uint32_t connection_limit, connections;
    uint32_t exchanges;
    uint32_t sending; /* of them: in the middle of a reply in pieces */
    uint32_t depth;   /* inside one of our callbacks: posted exchanges are seen to at its end */
    pthread_mutex_t lock;
    struct http_exchange *posted_first, *posted_last; /* under lock */
    atomic_size_t held_bytes;                         /* of heads, bodies, streams and tails */
    struct http_exchange *waiting_first, *waiting_last;
    uint64_t requests, rejected;
    bool stopping, forced, finished;
    uint64_t stop_deadline_ms;
    void (*stopped)(void *context);
    void *stopped_context;
    time_t date_second;
    char date[32];
};

/* ---- http.c ---- */

/* Around every callback libuv makes: the outermost leave answers what was posted meanwhile. */
void http_enter(struct http_server *server);
void http_leave(struct http_server *server);

/* ---- http_connection.c ---- */

void http_connection_accept(struct http_server *server);
/* The reply is written: go on with the next request, or half-close. Frees the exchange. */
void http_connection_answered(struct http_connection *connection);
/* A paused body may go on. */
void http_connection_resume(struct http_connection *connection);
void http_connection_close(struct http_connection *connection);
/* Its deadline has come. */
void http_connection_expired(struct http_connection *connection);
static inline struct http_connection *http_connection_of_timer(struct wheel_entry *entry)
{
    return (struct http_connection *)(void *)((char *)entry -
                                              offsetof(struct http_connection, timer));
}

/* ---- http_exchange.c ---- */

struct http_exchange *http_exchange_new(struct http_connection *connection);
void http_exchange_free(struct http_exchange *exchange);
/* End a request that nobody owns with an error of http's own. */
void http_exchange_refuse(struct http_exchange *exchange, int status, const char *why);
/* The reply fields are set: tell finished(), and write them if the peer is still there. */
void http_exchange_answer(struct http_exchange *exchange);
void http_exchange_continue(struct http_exchange *exchange); /* 100 Continue */
/* Queue for the loop. Any thread; after POSTED_REPLY the exchange is the loop's. */
void http_exchange_post(struct http_exchange *exchange, uint8_t what);
const char *http_reason(int status);

/* ---- http_body.c ---- */

/* Make room for more bytes of a buffered body. false: the budget is used up. */
bool http_body_reserve(struct http_exchange *exchange, size_t bytes);
/* Sinks for http_parser_body; context is the exchange. */
int http_body_append(void *context, const char *data, size_t bytes);
int http_body_discard(void *context, const char *data, size_t bytes);
int http_stream_append(void *context, const char *data, size_t bytes);
void http_charge(struct http_exchange *exchange, size_t bytes);
bool http_budget_fits(const struct http_server *server, size_t bytes);
void http_budget_wait(struct http_exchange *exchange);
void http_budget_unwait(struct http_exchange *exchange);
/* Resume those that waited and fit now. true if one did. */
bool http_budget_serve(struct http_server *server);
void http_stream_open(struct http_exchange *exchange);
/* The body is complete, or (broken) never will be. */
void http_stream_finish(struct http_exchange *exchange, bool broken);
/* Tell stream() if its worker waits to be told. */
void http_stream_tell(struct http_exchange *exchange);
/* true: the queue has reached its limit, and a take will post POSTED_WAKE. */
bool http_stream_check_full(struct http_exchange *exchange);
void http_stream_release(struct http_exchange *exchange);

#endif
