/* The one thread that writes.
 *
 * Takes what has queued up, at most 1,024 points or 8 MiB of ops or 2 ms of gathering (a request is
 * never split; no waiting while the queue is empty), one LMDB transaction per collection in the
 * group, then calls done() of each. Collections take turns, so a bulk load cannot starve others.
 * Creating and deleting collections and changing aliases goes through here too. Ops of one
 * collection keep their order; deleting a collection answers its queued ops with ERROR_NOT_FOUND
 * (none of them was answered yet, so any order of the two is one the clients may see), and waits on
 * a thread of its own until its holders have let go. When the disk is short of space, upserts get
 * ERROR_FULL and deletes are still applied, in the space of the ballast. */
#ifndef KITH_SERVER_WRITER_H
#define KITH_SERVER_WRITER_H

#include <stdatomic.h>

#include "index/database.h"

enum write_kind {
    WRITE_OP,
    WRITE_FIELDS, /* one step of building payload indexes; `more` says whether there is another */
    WRITE_CREATE,
    WRITE_DELETE_COLLECTION,
    WRITE_ALIASES,
    WRITE_CONFIGURE,
    WRITE_ALTER, /* other vectors (database_alter) */
    WRITE_PLAN,
    WRITE_COMPACT, /* its file anew (index/compact.h), in steps; its other writes wait meanwhile */
};

struct write_job { /* the submitter's memory until done() */
    enum write_kind kind;
    struct span name; /* of the collection */
    /* WRITE_OP, WRITE_FIELDS, WRITE_PLAN, WRITE_CONFIGURE, WRITE_ALTER, WRITE_COMPACT: held by the
     * submitter until done() */
    struct collection *collection;
    struct span op;
    const struct encoded *encoded;
    uint32_t point_count;
    const struct collection_settings *settings; /* WRITE_CREATE */
    const struct plan *plan;                    /* WRITE_PLAN */
    /* WRITE_CONFIGURE: makes the new configuration out of the collection's present one, on the
     * writer's thread; *config stays valid until done() */
    enum error (*configure)(struct write_job *job, struct span *config);
    /* WRITE_ALTER: makes the new settings out of those of the newest, as above; *settings NULL:
     * there is nothing to change */
    enum error (*alter)(struct write_job *job, const struct collection_settings **settings);
    void *context;                      /* of who submits */
    const atomic_bool *stop;            /* WRITE_COMPACT: it is given up once this is set */
    const struct alias_action *actions; /* WRITE_ALIASES */
    size_t action_count;
    /* out, valid in done() */
    enum error error;
    uint64_t operation;
    uint32_t points_changed;
    bool missing; /* as in struct apply_item; also with ERROR_NOT_FOUND */
    struct point_id missing_id;
    bool more;                          /* WRITE_FIELDS */
    uint64_t bytes_before, bytes_after; /* WRITE_COMPACT: of the file */
    size_t action_failed;               /* WRITE_ALIASES: the one that error is about */
    /* Called on a thread of the writer after the commit (or its failure); must not block. One
     * exception: when the collection is being deleted, writer_submit itself calls it with
     * ERROR_NOT_FOUND before it returns true, so hold no lock of yours over writer_submit that
     * done() takes. */
    void (*done)(struct write_job *job);
    struct write_job *next;
};

struct writer_options {
    uint32_t queue_points_max; /* writer.queue_points_max 65536 -> 503 */
    uint64_t queue_bytes_max;  /* writer.queue_bytes_max 256 MiB -> 503 */
    uint32_t group_points_max; /* writer.group_points_max 1024 */
    uint64_t group_bytes_max;  /* writer.group_bytes_max 8 MiB */
    uint32_t group_gather_us;  /* writer.group_gather_us 2000 */
};
struct writer_options writer_options_default(void);

struct writer;
struct writer *writer_new(struct database *database, const struct writer_options *options);
/* false when the queue is full (503). Any thread. */
bool writer_submit(struct writer *writer, struct write_job *job) MUST_CHECK;
/* For a job that continues admitted work (a bulk stream's next step): never refused, so the number
 * of such jobs must be bounded by who submits them. */
void writer_continue(struct writer *writer, struct write_job *job);
/* Call applied(context, collection) after every commit of ops, on the writer's thread; NULL: nobody
 * any more, and none is running once this returns. Any thread but the writer's. */
void writer_watch(struct writer *writer,
                  void (*applied)(void *context, struct collection *collection), void *context);
void writer_free(struct writer *writer); /* finishes the queue first; accepts NULL */

struct writer_figures {
    uint64_t queue_points, commits, points;
    uint64_t compactions, compacted_bytes; /* given back by them */
    double commit_seconds;
};
void writer_figures_get(struct writer *writer, struct writer_figures *figures);

#endif
