/* What the api_points_*.c files share. */
#ifndef KITH_SERVER_API_POINTS_H
#define KITH_SERVER_API_POINTS_H

#include "server/fields.h"

/* done() of every point update: UpdateResult with the operation's number. Writer thread. */
void api_update_done(struct write_job *job);

/* Points in id order, through a view, some at a time. */
#define ID_WALK_STEP 256
struct id_walk {
    const struct view *view;
    struct id_slot items[ID_WALK_STEP + 1]; /* one more, to know where the next step begins */
    size_t count, next;
    bool last; /* no step after this one */
};
/* from: inclusive, NULL for the first point. */
enum error id_walk_begin(struct id_walk *walk, const struct view *view,
                         const struct point_id *from) MUST_CHECK;
/* *item NULL at the end. Borrowed until the next call. */
enum error id_walk_next(struct id_walk *walk, const struct id_slot **item) MUST_CHECK;
/* The next one that matches a filter (NULL: every one does). ERROR_CANCELLED past the deadline. */
enum error id_walk_match(struct id_walk *walk, const struct call *call, const struct filter *filter,
                         const struct id_slot **item) MUST_CHECK;

/* ERROR_CANCELLED when the call's deadline has passed. */
enum error call_check_deadline(const struct call *call) MUST_CHECK;

#endif
