/* A bulk upload: what api_bulk.c (its life) and bulk_rows.c (its records) share.
 *
 * A body of any length becomes steps: ops of at most BULK_STEP_POINTS points or about
 * BULK_STEP_BYTES, encoded on the worker and committed by the writer while the next one is filled.
 * At most BULK_STEPS are held at once; while all are taken nothing is read from the connection, so
 * memory is bounded and the client waits.
 *
 * Three parties kick an upload: the loop (bytes have come), the writer (a job is done) and the
 * upload itself (it gives way after each step). `events` counts kicks not yet worked on in its low
 * half and finished jobs in its high half; who raises the low half from 0 queues the task, so it
 * runs on one worker at a time. Everything else is the running worker's. */
#ifndef KITH_SERVER_BULK_H
#define KITH_SERVER_BULK_H

#include "server/bulk_input.h"
#include "server/npy.h"
#include "server/point_reader.h"

#define BULK_STEPS 3
#define BULK_STEP_POINTS 1024u
#define BULK_STEP_BYTES ((size_t)4 * 1024 * 1024)
#define BULK_STREAMS_MAX                                                                           \
    16u /* of one service: bounds what uploads hold and have queued together                       \
         */

enum bulk_format { BULK_NDJSON, BULK_NPY, BULK_FLOATS };
enum bulk_phase {
    BULK_OPENING,  /* no collection yet: acquire it, or see what the body shows and create it */
    BULK_CREATING, /* the writer creates it */
    BULK_READING,
    BULK_ENDING, /* the verdict is known; wait for the jobs under way */
};

struct bulk_step {
    struct write_job job; /* first member; the writer's while under way */
    struct bulk *bulk;
    struct arena arena; /* of the op, its codes, and what was parsed for it */
    struct op_builder op;
    bool taken; /* being filled or under way */
    uint32_t point_count;
    _Atomic bool landed; /* set by done(): the worker may look and reuse it */
};

struct bulk {
    struct task task; /* first member */
    struct service *service;
    struct http_request *request;
    struct span name; /* of the collection: the path's, its own once it is open */
    enum bulk_format format;
    bool creates; /* ?distance= */
    enum metric distance;
    bool has_first_id; /* ?first_id= */
    uint64_t first_id;
    _Atomic uint64_t events;

    enum bulk_phase phase;
    struct worker *worker;         /* while running */
    struct collection *collection; /* held while running, never while waiting */
    struct write_job create;
    uint32_t submitted; /* jobs given to the writer */

    struct bulk_input input;
    bool input_ended;
    size_t scanned; /* bytes of the present line known to hold no newline */
    uint64_t line;  /* number of the present line, from 1, once looked at */
    struct npy_header header;
    bool has_header;
    uint64_t row; /* number of the present row, from 0 */
    uint64_t next_id;
    struct point_reader reader;

    struct bulk_step steps[BULK_STEPS];
    struct bulk_step *filling;

    uint64_t points, batches; /* committed */
    struct refusal refusal;   /* the verdict, if it is about the input */
    const char *where;        /* "line 7: ", in the request's arena */
    enum error error;         /* or if it is about storage */
};

/* ---- bulk_run.c ---- */

#define BULK_KICKS UINT64_C(0xFFFFFFFF)
#define BULK_JOB_DONE (UINT64_C(1) << 32)

/* what: 0 or BULK_JOB_DONE. Any thread; the upload may be gone afterwards. */
void bulk_kick(struct bulk *bulk, uint64_t what);
void bulk_run(struct task *task, struct worker *worker);

/* ---- api_bulk.c ---- */

/* Answer and let go: nothing of the upload is in the writer's hands, and a kick is pending, so that
 * nobody queues it again. */
void bulk_finish(struct bulk *bulk);

/* ---- bulk_rows.c ---- */

enum bulk_progress {
    BULK_FULL, /* the step has all it may hold */
    BULK_MORE, /* needs more input */
    BULK_DONE, /* the last record is read */
    BULK_BAD,  /* bulk->refusal says what and where */
};

/* Records from the input into bulk->filling. */
enum bulk_progress bulk_fill(struct bulk *bulk);
/* The dimension the body shows, without consuming a record: BULK_DONE when known. The first record
 * is judged whole, so that a body without a good one creates nothing. */
enum bulk_progress bulk_look_at_dim(struct bulk *bulk, uint32_t *dim);
/* A fault of the record at hand (its number goes into bulk->where); BULK_BAD. */
enum bulk_progress bulk_refuse(struct bulk *bulk, enum refusal_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
