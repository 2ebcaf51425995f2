/* What payload indexes make of a filter: a set of slots.
 *
 * Every matching point is in the set; when the plan is EXACT nothing else is. Otherwise a condition
 * had no index that covers it, or the index knows too little (a place lies in a cell, a long string
 * is cut), and candidates are checked on their payload. The set is given as it is or INVERTED: the
 * slots that are not in it, of the live ones. */
#ifndef KITH_INDEX_FILTER_PLAN_H
#define KITH_INDEX_FILTER_PLAN_H

#include "index/field.h"
#include "index/filter.h"
#include "index/filter_text.h"
#include "index/slots.h"

struct filter_plan {
    struct slots slots;
    bool inverted;
    bool exact;
    struct slots
        sure; /* of a plan that is not exact: slots that match, unlooked at; some of them */
    struct filter_texts texts; /* for filter_matches_texts */
    struct arena arena;        /* of the texts and the fields they are bound to */
};

/* A NULL or empty filter: inverted, exact and empty. Works as long as it pays: a set that would
 * take more postings than looking at payloads costs is left out. The plan is to be released
 * whatever comes back. ERROR_CORRUPT, ERROR_IO. */
enum error filter_plan_make(const struct view *view, const struct filter *filter,
                            struct filter_plan *plan) MUST_CHECK;
void filter_plan_release(struct filter_plan *plan);

/* At most how many points match: of point_count live ones. */
uint64_t filter_plan_count(const struct filter_plan *plan, uint64_t point_count);
static inline bool filter_plan_has(const struct filter_plan *plan, uint64_t slot)
{
    return slots_have(&plan->slots, slot) != plan->inverted;
}
/* Is a slot that it has to be checked on its payload? */
static inline bool filter_plan_doubts(const struct filter_plan *plan, uint64_t slot)
{
    return !plan->exact && !slots_have(&plan->sure, slot);
}
/* Does it say nothing at all? */
static inline bool filter_plan_is_open(const struct filter_plan *plan)
{
    return plan->inverted && plan->slots.count == 0;
}

/* The set itself of all points that match, checked on payloads where the plan is not exact; never
 * inverted. deadline_ns: CLOCK_MONOTONIC, 0 none. ERROR_CANCELLED. */
enum error filter_slots(struct collection *collection, const struct view *view,
                        const struct filter *filter, uint64_t deadline_ns,
                        struct slots *slots) MUST_CHECK;

/* Make a plan exact that lets many through and is sure of few, where few match: by looking at all
 * payloads that it lets through, or by what an earlier look has found. To be called where the whole
 * set is used; the plan is fine as it is, too. ERROR_CANCELLED. */
enum error filter_plan_resolve(struct collection *collection, const struct view *view,
                               const struct filter *filter, uint64_t deadline_ns,
                               struct filter_plan *plan) MUST_CHECK;

#endif
