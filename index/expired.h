/* Points whose payload says until when they are wanted: found here in bounded steps, deleted by an
 * op as any others. The op carries their ids and the condition, which judges each of them again
 * when it is applied, so that one that was written anew meanwhile stays; the time is in the
 * condition, and applying needs no clock.
 *
 * The field holds seconds since 1970 (a number) or an RFC 3339 date-time, or an array of them: the
 * earliest counts. Anything else, and a missing field, never expires. */
#ifndef KITH_INDEX_EXPIRED_H
#define KITH_INDEX_EXPIRED_H

#include "index/database.h"
#include "index/filter.h"

#define EXPIRED_LOOKED_AT_MAX 16384u /* points of one step that no index helps to find */

struct expired_search {
    struct span field; /* its path */
    int64_t now_us; /* since 1970, in years 1 to 9999: points of this time and before are expired */
    struct point_id begin; /* where the next step begins, where no index helps */
    bool has_begin;
};

/* The condition, as the value that an op carries. In the arena. */
struct span expired_condition(struct arena *arena, struct span field, int64_t now_us);

/* Up to max expired points into ids[max], and on to the next step. *more: there may be others. With
 * an integer, float or datetime index on the field, its values of that kind are walked over from
 * the earliest on, and those found have to be deleted before the next step; without one, up to
 * EXPIRED_LOOKED_AT_MAX points in the order of ids. */
enum error expired_find(struct expired_search *search, const struct collection *collection,
                        const struct view *view, struct arena *arena, struct point_id *ids,
                        size_t max, size_t *count, bool *more) MUST_CHECK;

#endif
