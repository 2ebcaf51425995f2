#include "index/query_scan.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "index/point_walk.h"
#include "index/recommend.h"
#include "index/scorer.h"
#include "index/topk.h"

#define STOP_CHECK_POINTS 64u

/* ---- stopping ---- */

enum error query_check_stop(const struct query_run *run)
{
    struct timespec now;
    if (run->deadline_ns == 0)
        return OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return now_ns >= run->deadline_ns ? ERROR_CANCELLED : OK;
}

bool query_leave_out(struct query_run *run, enum error error)
{
    if (error != ERROR_CORRUPT && error != ERROR_NOT_FOUND)
        return false;
    run->stats.degraded |= error == ERROR_CORRUPT;
    return true;
}

/* ---- walking ---- */

static int compare_ids(const void *a, const void *b)
{
    return point_id_compare(a, b);
}

static bool is_excluded(const struct query *query, const struct point_id *id)
{
    return query->excluded_count > 0 &&
           bsearch(id, query->excluded, query->excluded_count, sizeof *id, compare_ids) != NULL;
}

static enum error walk_list(struct query_run *run, const struct scored_list *among,
                            enum error (*visit)(void *context, uint64_t slot,
                                                const struct point_id *id, bool *enough),
                            void *context)
{
    bool enough = false;
    enum error error = OK;
    for (size_t i = 0; error == OK && i < among->count && !enough; i++) {
        if (i % STOP_CHECK_POINTS == 0)
            error = query_check_stop(run);
        if (error == OK)
            error = visit(context, among->items[i].slot, &among->items[i].id, &enough);
    }
    return error;
}

enum error query_each(struct query_run *run, const struct query *query,
                      const struct scored_list *among,
                      enum error (*visit)(void *context, uint64_t slot, const struct point_id *id,
                                          bool *enough),
                      void *context)
{
    if (among != NULL)
        return walk_list(run, among, visit, context);
    struct point_walk walk;
    const struct id_slot *item;
    bool enough = false;
    enum error error = point_walk_begin(&walk, run->collection, run->view, query->filter, NULL,
                                        run->deadline_ns, &run->stats.degraded);
    while (error == OK && !enough) {
        error = point_walk_next(&walk, &item);
        if (error != OK || item == NULL)
            break;
        if (!is_excluded(query, &item->id))
            error = visit(context, item->slot, &item->id, &enough);
    }
    point_walk_end(&walk);
    return error;
}

size_t query_wanted(const struct query_run *run, const struct query *query,
                    const struct scored_list *among)
{
    const uint64_t most = among != NULL ? among->count : view_counters(run->view)->point_count;
    const uint64_t wanted =
        query->limit > UINT64_MAX - query->offset ? UINT64_MAX : query->limit + query->offset;
    return (size_t)(wanted < most ? wanted : most);
}

/* ---- ranking ---- */

struct ranking {
    struct query_run *run;
    const struct query *query;
    struct scorer scorer;
    struct topk topk;
    const struct query_vector *vectors; /* the query's, weighed */
    float *keys;                        /* of them */
};

static void id_of_slot(void *context, uint64_t slot, struct point_id *id)
{
    const struct ranking *ranking = context;
    struct point_row row;
    if (view_point(ranking->run->view, slot, &row) == OK)
        *id = row.id;
    else
        memset(id, 0xff, sizeof *id);
}

/* Larger is better for all of them; of a nearest query, the key. */
static float score_of(const struct query *query, const float *keys)
{
    const size_t positives = query->positive_count;
    const size_t negatives = query->vector_count - positives;
    switch ((int)query->kind) {
    case QUERY_RECOMMEND:
        return query->strategy == RECOMMEND_BEST
                   ? recommend_best(keys, positives, keys + positives, negatives)
                   : recommend_sum(keys, positives, keys + positives, negatives);
    case QUERY_DISCOVER:
        return discover_score(keys[0], keys + 1, (query->vector_count - 1) / 2);
    case QUERY_CONTEXT:
        return context_score(keys, query->vector_count / 2);
    default:
        return keys[0];
    }
}

/* Strictly better than the threshold, as clients see scores. */
static bool passes(const struct ranking *ranking, float score)
{
    const struct query *query = ranking->query;
    if (!query->has_threshold)
        return true;
    if (query->kind != QUERY_NEAREST)
        return score > query->threshold;
    const float seen = metric_score(ranking->scorer.metric, score);
    return query_smaller_is_better(ranking->run, query) ? seen < query->threshold
                                                        : seen > query->threshold;
}

static enum error rank_one(void *context, uint64_t slot, const struct point_id *id, bool *enough)
{
    struct ranking *ranking = context;
    const struct query *query = ranking->query;
    (void)id, (void)enough;
    const enum error error =
        scorer_keys(&ranking->scorer, slot, ranking->vectors, query->vector_count, ranking->keys);
    if (error != OK)
        return query_leave_out(ranking->run, error) ? OK : error;
    ranking->run->stats.exact_scored++;
    const float score = score_of(query, ranking->keys);
    if (passes(ranking, score))
        topk_push(&ranking->topk, score, slot);
    return OK;
}

static void take_ranked(struct ranking *ranking, struct scored_list *result)
{
    struct topk *topk = &ranking->topk;
    topk_sort(topk);
    for (size_t i = 0; i < topk->count; i++) {
        struct scored *scored = &result->items[result->count++];
        const float score = topk->entries[i].key;
        *scored = (struct scored){.slot = topk->entries[i].slot, .score = score};
        id_of_slot(ranking, scored->slot, &scored->id);
        if (ranking->query->kind == QUERY_NEAREST)
            scored->score = metric_score(ranking->scorer.metric, score);
    }
}

enum error query_rank(struct query_run *run, const struct query *query,
                      const struct scored_list *among, struct scored_list *result)
{
    const size_t k = query_wanted(run, query, among);
    struct ranking ranking = {.run = run, .query = query};
    *result = (struct scored_list){0};
    if (k == 0)
        return OK;
    scorer_begin(&ranking.scorer, run, query->vector_number);
    ranking.keys = arena_allocate(run->arena, size_product(query->vector_count + 1, sizeof(float)));
    result->items = arena_allocate(run->arena, size_product(k, sizeof *result->items));
    /* The heap is large where k is: it is not to stay in the arena with the result. */
    struct topk_entry *entries = allocate(size_product(k, sizeof *entries));
    topk_init(&ranking.topk, entries, k, id_of_slot, &ranking);
    ranking.scorer.needs_overlap = query->kind == QUERY_NEAREST;
    enum error error =
        scorer_weigh(&ranking.scorer, run, query->vectors, query->vector_count, &ranking.vectors);
    if (error == OK)
        error = query_each(run, query, among, rank_one, &ranking);
    if (error == OK)
        take_ranked(&ranking, result);
    scorer_end(&ranking.scorer);
    free(entries);
    return error;
}
