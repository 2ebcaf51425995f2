/* The set of all points that match: what the plan is sure of, and what a look at payloads finds in
 * the rest. */
#include <time.h>

#include "index/collection.h"
#include "index/filter_plan.h"

#define STOP_CHECK_POINTS 256u
#define ROWS_AT_ONCE 256u

struct sifting {
    const struct view *view;
    const struct collection_settings *settings;
    const struct filter *filter;
    const struct filter_plan *plan;
    uint64_t deadline_ns, seen;
    struct slots *slots;
};

static enum error check_deadline(struct sifting *sifting)
{
    struct timespec now;
    if (sifting->deadline_ns == 0 || sifting->seen++ % STOP_CHECK_POINTS != 0)
        return OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return now_ns >= sifting->deadline_ns ? ERROR_CANCELLED : OK;
}

/* A row that is damaged or gone matches nothing. */
static enum error sift(struct sifting *sifting, uint64_t slot)
{
    struct point_row row;
    enum error error = check_deadline(sifting);
    if (error != OK)
        return error;
    error = view_point(sifting->view, slot, &row);
    if (error == OK &&
        (!filter_plan_doubts(sifting->plan, slot) ||
         filter_matches_texts(sifting->filter, sifting->settings, &sifting->plan->texts, &row)))
        slots_add(sifting->slots, slot);
    return error == ERROR_NOT_FOUND || error == ERROR_CORRUPT ? OK : error;
}

static enum error sift_row(void *context, uint64_t slot)
{
    struct sifting *sifting = context;
    return filter_plan_has(sifting->plan, slot) ? sift(sifting, slot) : OK;
}

static enum error sift_listed(struct sifting *sifting)
{
    uint64_t list[ROWS_AT_ONCE], from = 0;
    enum error error = OK;
    for (size_t count = ROWS_AT_ONCE; count == ROWS_AT_ONCE && error == OK;) {
        count = slots_list(&sifting->plan->slots, from, list, ROWS_AT_ONCE);
        for (size_t i = 0; i < count && error == OK; i++)
            error = sift(sifting, list[i]);
        from = count > 0 ? list[count - 1] + 1 : 0;
    }
    return error;
}

enum error filter_slots(struct collection *collection, const struct view *view,
                        const struct filter *filter, uint64_t deadline_ns, struct slots *slots)
{
    struct filter_plan plan;
    slots_init(slots);
    enum error error = filter_plan_make(view, filter, &plan);
    struct sifting sifting = {.view = view,
                              .settings = collection_settings(collection),
                              .filter = filter,
                              .plan = &plan,
                              .deadline_ns = deadline_ns,
                              .slots = slots};
    if (error == OK && plan.exact && !plan.inverted)
        slots_move(slots, &plan.slots);
    else if (error == OK && plan.inverted)
        error = view_each_row(view, sift_row, &sifting);
    else if (error == OK)
        error = sift_listed(&sifting);
    filter_plan_release(&plan);
    return error;
}
