#include "index/admission.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define STOP_CHECK_BYTES ((size_t)1024 * 1024)
#define THRESHOLD_ROUNDING 1e-5f /* what a key may differ by from the threshold's */

/* ---- stopping ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

enum error admission_check_stop(const struct admission *admission)
{
    const struct search_request *request = admission->request;
    return request->deadline_ns != 0 && now_ns() >= request->deadline_ns ? ERROR_CANCELLED : OK;
}

enum error admission_worked(struct admission *admission, size_t bytes)
{
    admission->work_bytes += bytes;
    if (admission->work_bytes < STOP_CHECK_BYTES) {
        return OK;
    }
    admission->work_bytes = 0;
    return admission_check_stop(admission);
}

/* ---- what is in, and what is good enough ---- */

bool admission_leave_out(struct admission *admission, enum error error)
{
    if (error != ERROR_CORRUPT && error != ERROR_NOT_FOUND) {
        return false;
    }
    /* Not every slot of a filter has the vector that is searched. */
    admission->stats->degraded |= !(admission->by_slots && error == ERROR_NOT_FOUND);
    return true;
}

static int compare_slots(const void *a, const void *b)
{
    const uint64_t x = load64(a), y = load64(b);
    return x < y ? -1 : x > y;
}

bool admission_filtered_out(const struct admission *admission, uint64_t slot)
{
    if (admission->mask == NULL) {
        return !filter_plan_has(&admission->plan, slot);
    }
    const uint64_t bit = slot - admission->mask_base;
    return bit >= admission->mask_bits || (admission->mask[bit / 8] >> bit % 8 & 1) == 0;
}

bool admission_left_aside(const struct admission *admission, uint64_t slot)
{
    if (admission_is_filtered(admission) && admission_filtered_out(admission, slot)) {
        return true;
    }
    if (admission->any_dead && view_is_dead(admission->view, slot)) {
        return true;
    }
    return admission->excluded_count > 0 &&
           bsearch(&slot, admission->excluded, admission->excluded_count, sizeof slot,
                   compare_slots) != NULL;
}

/* Strictly better than the score threshold, as clients count. */
static bool key_passes(const struct admission *admission, float key)
{
    const struct search_request *request = admission->request;
    if (!request->has_threshold) {
        return true;
    }
    const float score = metric_score(admission->metric, key);
    const bool smaller =
        admission->metric == METRIC_EUCLID || admission->metric == METRIC_MANHATTAN;
    return smaller ? score < request->threshold_score : score > request->threshold_score;
}

/* Does the point of a slot match the filter? */
static enum error check_filter(struct admission *admission, uint64_t slot, bool *matches)
{
    *matches = true;
    if (!filter_plan_doubts(&admission->plan, slot)) {
        return OK;
    }
    struct point_row row;
    const enum error error = view_point(admission->view, slot, &row);
    *matches = error == OK && filter_matches_texts(admission->request->filter, admission->settings,
                                                   &admission->plan.texts, &row);
    return error == OK || admission_leave_out(admission, error) ? OK : error;
}

enum error admission_offer(struct admission *admission, uint64_t slot, float key)
{
    if (key < admission_wanted_key(admission) || !key_passes(admission, key)) {
        return OK;
    }
    bool matches;
    const enum error error = check_filter(admission, slot, &matches);
    if (error == OK && matches) {
        topk_push(&admission->topk, key, slot);
    }
    return error;
}

/* ---- beginning ---- */

static void id_of_slot(void *context, uint64_t slot, struct point_id *id)
{
    const struct admission *admission = context;
    struct point_row row;
    if (view_point(admission->view, slot, &row) == OK) {
        *id = row.id;
    } else {
        memset(id, 0xff, sizeof *id);
    }
}

/* Slots of the ids to leave out; unknown ids are nobody's. */
static enum error find_excluded(struct admission *admission)
{
    const struct search_request *request = admission->request;
    if (request->exclude_count == 0) {
        return OK;
    }
    uint64_t *slots = scratch_need(&admission->workspace->excluded,
                                   size_product(request->exclude_count, sizeof *slots));
    size_t count = 0;
    for (size_t i = 0; i < request->exclude_count; i++) {
        const enum error error = view_slot(admission->view, &request->exclude[i], &slots[count]);
        if (error == OK) {
            count++;
        } else if (error != ERROR_NOT_FOUND) {
            return error;
        }
    }
    qsort(slots, count, sizeof *slots, compare_slots);
    admission->excluded = slots;
    admission->excluded_count = count;
    return OK;
}

/* The key a score threshold asks for at least: a little below its own, the rest is decided by
 * scores. false: nothing can pass. */
static bool set_floor(struct admission *admission)
{
    const struct search_request *request = admission->request;
    admission->floor = -INFINITY;
    if (!request->has_threshold) {
        return true;
    }
    const float score = request->threshold_score;
    if (isnan(score)) {
        return false;
    }
    if ((admission->metric == METRIC_EUCLID || admission->metric == METRIC_MANHATTAN) &&
        score <= 0) {
        return false; /* no distance is below 0 */
    }
    const float key = metric_key(admission->metric, score);
    admission->floor = key - THRESHOLD_ROUNDING * fabsf(key);
    return true;
}

enum error admission_begin(struct admission *admission, struct collection *collection,
                           const struct view *view, const struct search_request *request,
                           struct search_workspace *workspace, struct search_stats *stats,
                           bool *nothing)
{
    const struct collection_settings *settings = &collection->settings;
    const uint16_t vector = request->vector_number;
    const struct vector_counters *counters = view_vector_counters(view, vector);
    const uint64_t wanted = request->limit > UINT64_MAX - request->offset
                                ? UINT64_MAX
                                : request->limit + request->offset;
    *admission = (struct admission){
        .settings = settings,
        .metric = settings->vectors[vector].metric,
        .view = view,
        .request = request,
        .workspace = workspace,
        .stats = stats,
        .k = (size_t)(wanted < counters->vector_count ? wanted : counters->vector_count),
        .any_dead = counters->dead_count > 0,
    };
    *nothing = admission->k == 0 || request->limit == 0 || !set_floor(admission);
    if (*nothing) {
        return OK;
    }
    topk_init(
        &admission->topk,
        scratch_need(&workspace->entries, size_product(admission->k, sizeof(struct topk_entry))),
        admission->k, id_of_slot, admission);
    enum error error = admission_check_stop(admission);
    if (error == OK) {
        error = find_excluded(admission);
    }
    if (error == OK) {
        error = filter_plan_make(view, request->filter, &admission->plan);
    }
    return error == OK ? filter_plan_resolve(collection, view, request->filter,
                                             request->deadline_ns, &admission->plan)
                       : error;
}

/* ---- ending ---- */

enum error admission_end(struct admission *admission, struct arena *arena, struct hit **hits,
                         size_t *hit_count)
{
    struct topk *topk = &admission->topk;
    topk_sort(topk);
    const uint64_t offset = admission->request->offset;
    if (offset >= topk->count) {
        return OK;
    }
    const size_t count = topk->count - (size_t)offset;
    struct hit *out = arena_allocate(arena, size_product(count, sizeof *out));
    size_t made = 0;
    for (size_t i = (size_t)offset; i < topk->count; i++) {
        const struct topk_entry *entry = &topk->entries[i];
        struct hit *hit = &out[made];
        *hit = (struct hit){.slot = entry->slot, .key = entry->key};
        const enum error error = view_point(admission->view, entry->slot, &hit->row);
        if (error == OK) {
            made++;
        } else if (!admission_leave_out(admission, error)) {
            return error;
        }
    }
    *hits = out;
    *hit_count = made;
    return OK;
}
