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
#include "server/workers.h"
#include "server/writer.h"

struct service {
    struct database *database;
    struct workers *workers;
    struct writer *writer;
    const struct config *config;
    atomic_bool draining;
    atomic_uint bulk_streams; /* running bulk uploads, bounded in api_bulk.c */
};

struct call {
    struct task task; /* first member */
    struct service *service;
    struct http_request *request;
    struct arena *arena;            /* request->arena */
    struct worker *worker;          /* set while a handler runs */
    struct collection *collection;  /* released when the call ends */
    struct view view;               /* closed when the call ends, if view_open */
    bool view_open;
    struct write_job job;
    struct text out;
    uint64_t deadline_ns;           /* ?timeout= or the default; 0 none */
    bool wait;                      /* ?wait=true */
};

typedef void call_handler(struct call *call);

/* Begin a success envelope in call->out: {"result": ; write the result next, then call_ok. */
struct text *call_result(struct call *call);
void call_ok(struct call *call); /* closes the envelope with status and time */
void call_text(struct call *call, int status, const char *content_type, const char *body);
/* Error envelope; the text should begin with the prefix of its status, e.g. "Wrong input: ". */
void call_fail(struct call *call, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Map a storage/index error met while executing to its status and text. */
void call_fail_error(struct call *call, enum error error);
/* "Format error in JSON body: ..." from a failed scanner. */
void call_fail_json(struct call *call, const struct json *json);
/* Acquire the collection of path segment 1 (404 text on failure) / and open a view. false: the call
 * has been ended. */
bool call_collection(struct call *call);
bool call_view(struct call *call);
/* Submit call->job (kind, op, encoded... filled in); its done() must end the call. false: ended with
 * 503. */
bool call_submit_write(struct call *call, void (*done)(struct write_job *job));
static inline struct call *call_of_job(struct write_job *job)
{
    return (struct call *)(void *)((char *)job - offsetof(struct call, job));
}

/* Scan a point id (number, or UUID string in its four spellings) from JSON; fails the scanner with
 * "value X is not a valid point ID, valid values are either an unsigned integer or a UUID". */
bool api_read_id(struct json *json, struct point_id *id);
bool point_id_parse_text(struct span text, struct point_id *id); /* path segment: number, then UUID */
void text_point_id(struct text *text, const struct point_id *id);

#endif
