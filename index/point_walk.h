/* The points that match a filter, in the order of ids.
 *
 * Where payload indexes leave few of them, those are looked up and sorted; otherwise all ids are
 * walked over, and what the indexes rule out costs no look at its payload. */
#ifndef KITH_INDEX_POINT_WALK_H
#define KITH_INDEX_POINT_WALK_H

#include "index/filter_plan.h"

#define POINT_WALK_STEP 256u

struct point_walk {
    const struct view *view;
    const struct collection_settings *settings;
    const struct filter *filter; /* NULL: all points */
    struct filter_plan plan;
    uint64_t deadline_ns, seen;
    bool *degraded; /* set when a row that cannot be read is left out; NULL: that is an error */
    const struct id_slot *listed; /* malloc'd; NULL: walk over all ids */
    const struct id_slot *items;  /* of this step: `steps`, or `listed` */
    size_t count, next;
    bool last;                                 /* no step after this one */
    struct id_slot steps[POINT_WALK_STEP + 1]; /* one more, to know where the next begins */
};

/* from: inclusive, NULL for the first point. deadline_ns: CLOCK_MONOTONIC, 0 none. degraded: NULL,
 * or set when a row that cannot be read is left out. End it in any case. */
enum error point_walk_begin(struct point_walk *walk, const struct collection *collection,
                            const struct view *view, const struct filter *filter,
                            const struct point_id *from, uint64_t deadline_ns,
                            bool *degraded) MUST_CHECK;
/* *item NULL at the end; borrowed until the next call. ERROR_CANCELLED, ERROR_CORRUPT. */
enum error point_walk_next(struct point_walk *walk, const struct id_slot **item) MUST_CHECK;
void point_walk_end(struct point_walk *walk);

#endif
