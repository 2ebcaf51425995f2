/* The set of all points that match: what the plan is sure of, and what a look at payloads finds in
 * the rest. */
#include <time.h>

#include "index/collection.h"
#include "index/filter_plan.h"
#include "index/filter_sets.h"

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
static bool sift(const struct sifting *sifting, uint64_t slot, const struct point_row *row)
{
    return !filter_plan_doubts(sifting->plan, slot) ||
           filter_matches_texts(sifting->filter, sifting->settings, &sifting->plan->texts, row);
}

static enum error sift_row(void *context, uint64_t slot, const struct point_row *row)
{
    struct sifting *sifting = context;
    const enum error error = check_deadline(sifting);
    if (error == OK && row != NULL && filter_plan_has(sifting->plan, slot) &&
        sift(sifting, slot, row))
        slots_add(sifting->slots, slot);
    return error;
}

static enum error sift_slot(struct sifting *sifting, uint64_t slot)
{
    struct point_row row;
    enum error error = check_deadline(sifting);
    if (error != OK)
        return error;
    error = view_point(sifting->view, slot, &row);
    if (error == OK && sift(sifting, slot, &row))
        slots_add(sifting->slots, slot);
    return error == ERROR_NOT_FOUND || error == ERROR_CORRUPT ? OK : error;
}

static enum error sift_listed(struct sifting *sifting)
{
    uint64_t list[ROWS_AT_ONCE], from = 0;
    enum error error = OK;
    for (size_t count = ROWS_AT_ONCE; count == ROWS_AT_ONCE && error == OK;) {
        count = slots_list(&sifting->plan->slots, from, list, ROWS_AT_ONCE);
        for (size_t i = 0; i < count && error == OK; i++)
            error = sift_slot(sifting, list[i]);
        from = count > 0 ? list[count - 1] + 1 : 0;
    }
    return error;
}

static enum error resolve(struct sifting *sifting, struct filter_plan *plan)
{
    slots_init(sifting->slots);
    if (plan->exact && !plan->inverted)
        slots_move(sifting->slots, &plan->slots);
    else if (plan->inverted)
        return view_each_point(sifting->view, sift_row, sifting);
    else
        return sift_listed(sifting);
    return OK;
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
    if (error == OK)
        error = resolve(&sifting, &plan);
    filter_plan_release(&plan);
    return error;
}

/* ---- plans that know too little ---- */

/* Of so many points, spread over all, no more than so many match: looking at all payloads costs
 * less than a search that looks at what comes by; or it does when the set is used again; or it has
 * been asked for so often that it pays whatever it costs. */
#define SAMPLE_POINTS 256u
#define FEW_AT_ONCE 1u
#define FEW_AGAIN 12u
#define ASKED_OFTEN 32u
#define SCORED_FEW 2048u /* so few are checked as they come, as cheaply */

/* Do at most `few` of a sample match? */
static bool are_few(const struct sifting *sifting, uint32_t few)
{
    const uint64_t first = sifting->settings->first_slot;
    const uint64_t slots = view_counters(sifting->view)->next_slot - first;
    uint32_t matches = 0;
    for (uint64_t i = 0; i < SAMPLE_POINTS && slots > 0 && matches <= few; i++) {
        struct point_row row;
        /* Not in equal steps: what payloads hold may come in steps, too. */
        const uint64_t slot = first + ((i + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 16) % slots;
        matches += filter_plan_has(sifting->plan, slot) &&
                   view_point(sifting->view, slot, &row) == OK && sift(sifting, slot, &row);
    }
    return matches <= few;
}

/* Is it worth looking at all payloads? */
static bool is_worth_it(const struct sifting *sifting, uint32_t asked)
{
    if (asked >= ASKED_OFTEN)
        return true;
    return asked < 2 && are_few(sifting, asked == 0 ? FEW_AT_ONCE : FEW_AGAIN);
}

static void make_exact(struct filter_plan *plan, struct slots *slots)
{
    slots_move(&plan->slots, slots);
    slots_release(&plan->sure);
    plan->inverted = false;
    plan->exact = true;
}

enum error filter_plan_resolve(struct collection *collection, const struct view *view,
                               const struct filter *filter, uint64_t deadline_ns,
                               struct filter_plan *plan)
{
    const struct counters *state = view_counters(view);
    struct slots slots;
    struct sifting sifting = {.view = view,
                              .settings = collection_settings(collection),
                              .filter = filter,
                              .plan = plan,
                              .deadline_ns = deadline_ns,
                              .slots = &slots};
    const uint64_t let = filter_plan_count(plan, state->point_count);
    if (plan->exact || let <= SCORED_FEW || slots_count(&plan->sure) * 2 >= let)
        return OK;
    const struct span source = filter_source(filter);
    bool found;
    const uint32_t asked = filter_sets_ask(collection->filter_sets, state, source, &slots, &found);
    if (found) {
        make_exact(plan, &slots);
        return OK;
    }
    if (!is_worth_it(&sifting, asked))
        return OK;
    const enum error error = resolve(&sifting, plan);
    if (error == OK) {
        filter_sets_keep(collection->filter_sets, state, source, &slots);
        make_exact(plan, &slots);
    }
    slots_release(&slots);
    return error;
}
