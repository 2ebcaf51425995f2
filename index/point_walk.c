#include "index/point_walk.h"

#include <stdlib.h>
#include <time.h>

/* Sorting that many ids costs less than walking over all. */
#define LISTED_FEW 1024u
#define LISTED_SHARE 16u
#define STOP_CHECK_POINTS 64u

static enum error check_stop(struct point_walk *walk)
{
    struct timespec now;
    if (walk->deadline_ns == 0 || walk->seen++ % STOP_CHECK_POINTS != 0)
        return OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return now_ns >= walk->deadline_ns ? ERROR_CANCELLED : OK;
}

/* A row that cannot be read; OK: leave it out. */
static enum error unreadable(struct point_walk *walk, enum error error)
{
    if (walk->degraded == NULL || (error != ERROR_CORRUPT && error != ERROR_NOT_FOUND))
        return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
    *walk->degraded = true;
    return OK;
}

static enum error fill(struct point_walk *walk, const struct point_id *from)
{
    walk->next = 0;
    walk->items = walk->steps;
    const enum error error =
        view_ids(walk->view, from, walk->steps, POINT_WALK_STEP + 1, &walk->count);
    walk->last = walk->count <= POINT_WALK_STEP;
    return error;
}

static int compare_items(const void *a, const void *b)
{
    return point_id_compare(&((const struct id_slot *)a)->id, &((const struct id_slot *)b)->id);
}

/* The plan's slots as ids from `from` on, sorted. */
static enum error list(struct point_walk *walk, const struct point_id *from, uint64_t most)
{
    struct id_slot *items = allocate(size_product((size_t)most + 1, sizeof *items));
    uint64_t slots[POINT_WALK_STEP], next = 0;
    enum error error = OK;
    walk->listed = walk->items = items;
    walk->last = true;
    for (size_t got = POINT_WALK_STEP; got == POINT_WALK_STEP && error == OK;) {
        got = slots_list(&walk->plan.slots, next, slots, POINT_WALK_STEP);
        for (size_t i = 0; i < got && error == OK; i++) {
            struct point_row row;
            error = view_point(walk->view, slots[i], &row);
            if (error == ERROR_NOT_FOUND) {
                error = OK; /* an index that is damaged */
            } else if (error != OK) {
                error = unreadable(walk, error);
            } else if (walk->count < most &&
                       (from == NULL || point_id_compare(&row.id, from) >= 0)) {
                items[walk->count++] = (struct id_slot){row.id, slots[i]};
            }
            if (error == OK)
                error = check_stop(walk);
        }
        next = got > 0 ? slots[got - 1] + 1 : 0;
    }
    qsort(items, walk->count, sizeof *items, compare_items);
    return error;
}

enum error point_walk_begin(struct point_walk *walk, const struct collection *collection,
                            const struct view *view, const struct filter *filter,
                            const struct point_id *from, uint64_t deadline_ns, bool *degraded)
{
    walk->view = view;
    walk->settings = collection_settings(collection);
    walk->filter = filter_is_empty(filter) ? NULL : filter;
    walk->deadline_ns = deadline_ns;
    walk->degraded = degraded;
    walk->listed = NULL;
    walk->seen = walk->count = walk->next = 0;
    const enum error error = filter_plan_make(view, walk->filter, &walk->plan);
    if (error != OK)
        return error;
    const uint64_t points = view_counters(view)->point_count;
    const uint64_t most = slots_count(&walk->plan.slots);
    if (!walk->plan.inverted && (most <= LISTED_FEW || most <= points / LISTED_SHARE))
        return list(walk, from, most);
    return fill(walk, from);
}

static enum error step(struct point_walk *walk, const struct id_slot **item)
{
    if (!walk->last && walk->next == POINT_WALK_STEP) {
        const struct point_id from = walk->steps[POINT_WALK_STEP].id;
        const enum error error = fill(walk, &from);
        if (error != OK)
            return error;
    }
    *item = walk->next < walk->count ? &walk->items[walk->next++] : NULL;
    return OK;
}

static enum error judge(struct point_walk *walk, const struct id_slot *item, bool *matches)
{
    struct point_row row;
    *matches = walk->listed != NULL || filter_plan_has(&walk->plan, item->slot);
    if (!*matches || !filter_plan_doubts(&walk->plan, item->slot))
        return OK;
    const enum error error = view_point(walk->view, item->slot, &row);
    *matches =
        error == OK && filter_matches_texts(walk->filter, walk->settings, &walk->plan.texts, &row);
    return error == OK ? OK : unreadable(walk, error);
}

enum error point_walk_next(struct point_walk *walk, const struct id_slot **item)
{
    for (;;) {
        bool matches = true;
        enum error error = check_stop(walk);
        if (error == OK)
            error = step(walk, item);
        if (error == OK && *item != NULL && walk->filter != NULL)
            error = judge(walk, *item, &matches);
        if (error != OK || *item == NULL || matches)
            return error;
    }
}

void point_walk_end(struct point_walk *walk)
{
    union {
        const struct id_slot *kept;
        struct id_slot *own;
    } listed = {walk->listed};
    free(listed.own);
    walk->listed = NULL;
    filter_plan_release(&walk->plan);
}
