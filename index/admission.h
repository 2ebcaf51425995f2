/* What every kind of search shares: which points may be in its answer, when it stops, and the k
 * best so far. Private to index/. */
#ifndef KITH_INDEX_ADMISSION_H
#define KITH_INDEX_ADMISSION_H

#include "index/collection.h"
#include "index/filter_plan.h"
#include "index/topk.h"
#include "index/workspace.h"

struct admission {
    const struct collection_settings *settings;
    enum metric metric;
    const struct view *view;
    const struct search_request *request;
    struct search_workspace *workspace;
    struct search_stats *stats;
    struct filter_plan plan; /* of the request's filter; open and exact when there is none */
    /* Slots the plan lets through, from mask_base on, as bits, and a bit 0 behind the last; NULL:
     * ask the plan */
    const uint8_t *mask;
    uint64_t mask_base, mask_bits;
    bool by_slots; /* the plan's slots are scored one by one */
    size_t k;
    struct topk topk;
    float floor; /* key that a score threshold asks for at least */
    bool any_dead;
    const uint64_t *excluded; /* ascending */
    size_t excluded_count;
    size_t work_bytes; /* since the last check for a stop */
};

/* Sort out a request; *nothing: its answer is empty. The admission must stay where it is, and its
 * plan is to be released whatever comes back. */
enum error admission_begin(struct admission *admission, struct collection *collection,
                           const struct view *view, const struct search_request *request,
                           struct search_workspace *workspace, struct search_stats *stats,
                           bool *nothing) MUST_CHECK;
/* The k best in the arena, without the `offset` best of them. */
enum error admission_end(struct admission *admission, struct arena *arena, struct hit **hits,
                         size_t *hit_count) MUST_CHECK;

/* ERROR_CANCELLED when the request is to end. */
enum error admission_check_stop(const struct admission *admission) MUST_CHECK;
/* Count work; look for a stop once there is enough of it to pay for a clock. */
enum error admission_worked(struct admission *admission, size_t bytes) MUST_CHECK;
/* A damaged row or one that is missing is left out, and said so: true. Anything else ends the
 * search. */
bool admission_leave_out(struct admission *admission, enum error error);

/* Does the filter leave slots out, by the payload indexes as far as they know? This one? */
static inline bool admission_is_filtered(const struct admission *admission)
{
    return !filter_plan_is_open(&admission->plan);
}
bool admission_filtered_out(const struct admission *admission, uint64_t slot);
/* Is the slot filtered out, dead, or its id excluded? */
bool admission_left_aside(const struct admission *admission, uint64_t slot);
/* The key a point must have to be among the k, as far as is known. */
static inline float admission_wanted_key(const struct admission *admission)
{
    const float reached = topk_threshold(&admission->topk);
    return reached > admission->floor ? reached : admission->floor;
}
/* Offer a point that is not left aside, with its exact key. */
enum error admission_offer(struct admission *admission, uint64_t slot, float key) MUST_CHECK;

/* collection_search of the other kinds; search_sparse.c, search_multi.c. */
enum error search_sparse(struct admission *admission, struct collection *collection) MUST_CHECK;
enum error search_multi(struct admission *admission, struct collection *collection) MUST_CHECK;

#endif
