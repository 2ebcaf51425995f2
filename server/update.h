/* Updates of points: the body of a call, or an operation of a batch, read into an op.
 *
 * Which points an update means is said by ids or by a filter. A filter is looked up in a view here,
 * on the worker; the op carries the ids that were found and the filter, which judges each of them
 * again when the op is applied. In a batch, points that an earlier operation names may come to
 * match by it, so they are candidates too. */
#ifndef KITH_SERVER_UPDATE_H
#define KITH_SERVER_UPDATE_H

#include "server/api_points.h"

/* Ids in the order they came, growing in an arena. */
struct id_list {
    struct point_id *ids;
    size_t count, capacity;
};
void id_list_add(struct id_list *list, struct arena *arena, const struct point_id *id);
/* An array of at most `max` ids (strict.ids_max); name: of the field, for texts. */
bool id_list_read(struct body *body, const char *name, uint32_t max, struct id_list *list);

struct update {
    struct call *call; /* its collection is held */
    struct span text;  /* of the update; empty for a body without one */
    const char *begin; /* of the document the text is part of, for lines and columns in texts */
    struct id_list *touched; /* in a batch: ids of the operations before; NULL otherwise */
    uint64_t ids_max;        /* found by a filter: the op must fit the writer's queue */
    /* out */
    struct span op;
    uint64_t point_count;
    struct refusal refusal;
    enum error error; /* when neither op nor refusal */
};

/* Each reads one update into update->op; false: there is a refusal, or an error. */
typedef bool update_reader(struct update *update);
update_reader update_read_upsert; /* api_points_upsert.c */
update_reader update_read_delete; /* these: api_payload.c */
update_reader update_read_set_payload;
update_reader update_read_overwrite_payload;
update_reader update_read_delete_payload;
update_reader update_read_clear_payload;
update_reader update_read_delete_vectors;
update_reader update_read_update_vectors; /* api_vectors.c */

/* How many ids filters may find for one request. */
uint64_t update_ids_max(const struct call *call);
/* The whole of a call that is one update. */
void update_run(struct call *call, update_reader *read);
/* Submit an op that was read; encodes what is to be encoded. */
void update_submit(struct call *call, struct span op, uint64_t point_count,
                   void (*done)(struct write_job *job));
/* done(): 404 for a missing point. true: the call has been ended. */
bool update_missing(struct write_job *job);

#endif
