/* Every path the compatible API knows and ours, as one table; and what happens before a handler.
 *
 * On the loop thread, when a request's headers are complete: route, key, parameters, content type,
 * body size, queue. Health and version are answered right there from flags. A route that is known
 * but not built answers 501 naming itself; a cluster route 405, as one node does. */
#ifndef KITH_SERVER_ROUTES_H
#define KITH_SERVER_ROUTES_H

#include "server/auth.h"
#include "server/handlers.h"

enum route_kind {
    ROUTE_CALL,       /* a handler on a worker */
    ROUTE_BULK,       /* bulk_begin, bulk_stream */
    ROUTE_VERSION,    /* answered on the loop */
    ROUTE_LIVE,       /* "healthz check passed" */
    ROUTE_READY,      /* "all shards are ready", or 503 */
    ROUTE_UNBUILT,    /* 501 */
    ROUTE_STANDALONE, /* 405: needs a cluster */
};

enum route_flag {
    /* bits 0..2: enum parameter_flag, the parameters it knows */
    ROUTE_WRITE = 8,    /* refused with 403 for the read-only key */
    ROUTE_OPEN = 16,    /* needs no key */
    ROUTE_TREE = 32,    /* its body is read as a tree: control_body_bytes_max */
    ROUTE_FIGURES = 64, /* shows what http counts */
};

struct route {
    enum http_method method;
    const char *pattern; /* "/collections/{}/points": {} is any one segment */
    enum route_kind kind;
    unsigned flags;
    call_handler *handler;
    const char *operation; /* in the text of a timeout */
};

/* The table, for tests too. */
extern const struct route routes[];
extern const size_t route_count;

struct router { /* context of the http handlers; owner main */
    struct service *service;
    struct http_server *http; /* for its figures */
    /* loop thread: failures logged within the present second */
    uint64_t failures_second;
    uint32_t failures_logged;
};

const char *method_text(enum http_method method);

/* The route of a method and path. NULL: none; then *allowed has a bit per method that the path
 * knows (0: 404). Any thread. */
const struct route *route_find(enum http_method method, const struct span *segments,
                               size_t segment_count, unsigned *allowed);

/* http's callbacks, context: struct router. */
enum http_verdict routes_headers(void *context, struct http_request *request);
void routes_request(void *context, struct http_request *request);
void routes_stream(void *context, struct http_request *request);
void routes_finished(void *context, const struct http_request *request, int status,
                     size_t reply_bytes, double seconds);

#endif
