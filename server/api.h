/* What every api_*.c shares: the service, a call, and the three ways to end it.
 *
 * A handler runs on a worker with a struct call. It ends by exactly one of call_ok / call_text
 * (reply), call_fail (error envelope), or call_submit_write (the writer's done() replies), and does
 * not touch the call afterwards. Texts and statuses are those of the compatible API. */
#ifndef KITH_SERVER_API_H
#define KITH_SERVER_API_H

#include "server/config.h"
#include "server/http.h"
#include "server/json.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/unpack.h"
#include "server/workers.h"
#include "server/planner.h"
#include "server/writer.h"

#define SERVICE_BULKS_MAX 16 /* bulk uploads running at once */

struct bulk;

struct service {
    struct database *database;
    struct workers *workers;
    struct writer *writer;
    struct planner *planner; /* NULL: switched off */
    struct expiry *expiry;
    const struct config *config;
    atomic_bool draining;
    atomic_uint field_builds; /* payload indexes being built behind requests */
    atomic_uint exports;      /* running, at most export.running_max */
    atomic_uint bulk_streams; /* running bulk uploads, at most SERVICE_BULKS_MAX */
    _Atomic(struct bulk *) numbering[SERVICE_BULKS_MAX]; /* those that choose ids; api_bulk.c */
    struct auth *auth;                                   /* NULL: no keys, every route is open */
    atomic_bool disk_low; /* set by the readiness check: upserts are refused */
    struct metrics *metrics;
    time_t started;
    char id[37];       /* of this process, a UUID: telemetry */
    atomic_uint calls; /* started and not ended: nothing may be freed while there are any */
};

struct call;
typedef void call_handler(struct call *call);

struct call {
    struct task task; /* first member */
    struct service *service;
    struct http_request *request;
    struct arena *arena; /* request->arena */
    call_handler *handler;
    const char *operation;         /* what it is called in the text of a timeout: "Search" */
    struct worker *worker;         /* set while a handler runs */
    struct collection *collection; /* released when the call ends */
    struct view view;              /* closed when the call ends, if view_open */
    bool view_open;
    struct write_job job;
    struct text out;
    uint64_t deadline_ns; /* ?timeout= or the default; 0 none */
    uint32_t timeout_s;   /* what deadline_ns was made from */
    bool wait;            /* ?wait=true */
    const char *headers; /* more of them for call_ok, "Name: value\r\n"..., in the arena; or NULL */
    bool writes;         /* its route does */
    bool metered;        /* it is about points: limits of rates count it */
    struct limits limits; /* once it has a collection */
    /* Of a reply in pieces. */
    call_handler *next; /* makes one */
    bool gone;          /* nobody reads it: end it by HTTP_PIECE_CUT */
    void *extra;        /* what next() needs to know, in the arena */
};

/* Begin a success envelope in call->out: {"result": ; write the result next, then call_ok. */
struct text *call_result(struct call *call);
/* Is call->out still within response_bytes_max? To be asked now and then by whoever writes a result
 * whose size a client chooses. false: the call has been ended with 400. */
bool call_result_fits(struct call *call);
void call_ok(struct call *call); /* closes the envelope with status and time */
/* A reply without the envelope. headers: "Name: value\r\n"..., or NULL; out: its bytes, taken over.
 */
void call_reply(struct call *call, int status, const char *content_type, const char *headers,
                struct text *out);
void call_text(struct call *call, int status, const char *content_type, const char *body);
/* End the call with 200 and call->out as it is: no envelope. */
void call_bytes(struct call *call, const char *content_type);
/* Begin a reply in pieces, in place of call_result: call->out holds the first, call_piece sends it.
 * type, length: as in http_reply_begin. next() makes each further piece in call->out, on a worker,
 * with call->deadline_ns anew. */
void call_pieces(struct call *call, const char *type, uint64_t length, call_handler *next);
/* Send call->out. MORE: lets go of view and collection, as who reads may be slow; the call is not
 * touched until next() runs. LAST and CUT end the call. */
void call_piece(struct call *call, enum http_piece piece);
/* Error envelope; the text should begin with the prefix of its status, e.g. "Wrong input: ". */
void call_fail(struct call *call, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Map a storage/index error met while executing to its status and text. */
void call_fail_error(struct call *call, enum error error);
/* Acquire the collection of path segment 1 (404 text on failure), with its limits (429 when there
 * are too many such calls) / and open a view. false: the call
 * has been ended. */
bool call_collection(struct call *call);
bool call_view(struct call *call);
/* The part of call_collection that is about limits. call_limits.c */
bool call_limits_begin(struct call *call);
/* Submit call->job (kind, op, encoded... filled in; name and collection are taken from the call if
 * empty); its done() must end the call. Closes the view. false: ended with 503. */
bool call_submit_write(struct call *call, void (*done)(struct write_job *job));
static inline struct call *call_of_job(struct write_job *job)
{
    return (struct call *)(void *)((char *)job - offsetof(struct call, job));
}

/* The path segment as a name for texts: NUL-terminated, in the arena. "" if there is none. */
const char *request_segment_text(struct http_request *request, size_t i);

/* ---- without a call: the loop thread and streams (bulk) ---- */

/* End a request with an error envelope. Any thread that owns the request. 503 and 429 carry
 * Retry-After: 1. */
void request_fail(struct http_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Same, for a storage/index error. operation and timeout_s: for the text of a timeout. */
void request_fail_error(struct http_request *request, enum error error, const char *operation,
                        uint32_t timeout_s);
/* End a request with {"result": ... }: out holds what call_result would have begun and the result
 * (text_result_begin, then the result); taken over. */
void text_result_begin(struct text *out);
void request_ok(struct http_request *request, struct text *out);

/* ---- the query string: parameters.c ---- */

#define PARAMETERS_MAX 64

/* Is every name there but once, and are they no more than PARAMETERS_MAX? To be asked before any of
 * them is read: which of two counts is how checks are got round. false: the request has been ended
 * with 400. */
bool request_parameters_distinct(struct http_request *request);
/* One parameter of the query string, percent-decoded (+ is a blank) into the request's arena.
 * false: absent. A parameter without '=' is there with an empty value. */
bool request_parameter(struct http_request *request, const char *name, struct span *value);
/* Typed: absent leaves *value alone. false: there but malformed or out of [min, max]; the request
 * has been ended with 400 "Deserialize error in query parameters: ..." or 422. */
bool request_parameter_u64(struct http_request *request, const char *name, uint64_t min,
                           uint64_t max, uint64_t *value);
bool request_parameter_bool(struct http_request *request, const char *name, bool *value);

/* The parameters of the API itself, validated as the compatible server does. Flags say which of
 * them a route knows; the others are ignored as any unknown parameter is. ordering and consistency
 * have no effect on one node. false: the request has been ended. */
enum parameter_flag {
    PARAMETER_WAIT = 1,        /* wait=true|false, ordering=weak|medium|strong */
    PARAMETER_TIMEOUT = 2,     /* timeout=seconds, at least 1 */
    PARAMETER_CONSISTENCY = 4, /* consistency=integer >= 1|majority|quorum|all */
};
struct parameters {
    bool wait;
    uint32_t timeout_s; /* 0: not given */
};
bool request_parameters(struct http_request *request, unsigned flags,
                        struct parameters *parameters);

/* Digits only, no overflow. */
bool parse_u64(struct span text, uint64_t *value);
int hex_digit(uint8_t c); /* its value, or -1 */

/* ---- ids: point_id.c ---- */

/* Scan a point id (number, or UUID string in its four spellings) from JSON; fails the scanner with
 * "value X is not a valid point ID, valid values are either an unsigned integer or a UUID". */
struct body;
bool api_read_id(struct body *body, struct point_id *id);
/* The same; *text: the string of a string id, in body or arena; else empty. */
bool api_read_id_text(struct body *body, struct point_id *id, struct span *text);
/* A path segment: number, then UUID or (string_bytes_max above 0) a string of at most so much. */
bool point_id_parse_text(struct span text, uint32_t string_bytes_max, struct point_id *id);
/* Numbers and UUIDs; of a string id its hash, as nothing else is known. */
void text_point_id(struct text *text, const struct point_id *id);
/* The same without quotes. */
void text_point_id_bare(struct text *text, const struct point_id *id);
/* The id of a row, as it was given. */
void text_row_id(struct text *text, const struct point_row *row);
void text_row_id_bare(struct text *text, const struct point_row *row); /* without quotes */
/* The id of a slot: of a string id the row is read. ERROR_CORRUPT. */
enum error text_slot_id(struct text *text, const struct view *view, const struct point_id *id,
                        uint64_t slot) MUST_CHECK;
/* An id that a request names and that is not there, for an error's text, without quotes: a string
 * is found by its hash among those of the request's body. In the arena. */
const char *request_id_text(struct http_request *request, const struct point_id *id);
/* What a string id may be in a collection: 0: it has none. */
uint32_t call_id_bytes_max(const struct call *call);

/* ---- calls: for routes.c ---- */

/* New call in the request's arena; holds nothing until it starts. */
struct call *call_new(struct service *service, struct http_request *request, call_handler *handler,
                      const char *operation);
/* The body is there: hand the call to a worker. Unpacks a packed body first (on the worker). Ends
 * the call with 503 when the queue is full. Loop thread. */
void call_start(struct call *call);
/* How the body is packed; false: in no way we know, and 415 is answered. */
bool request_read_packing(struct http_request *request, enum packing *packing);
/* request_fail with more headers ("Allow: GET\r\n"). */
void request_fail_headers(struct http_request *request, int status, const char *extra_headers,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* CLOCK_MONOTONIC. */
uint64_t clock_ns(void);

#endif
