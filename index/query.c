/* Evaluation, from the leaves up. Every level's list is at most its limit long, so a tree holds
 * little at a time but for limits of a million, which are clamped to the points there are. */
#include "index/query.h"

#include <assert.h>
#include <stdlib.h>

#include "index/mmr.h"
#include "index/query_scan.h"
#include "index/recommend.h"
#include "index/scorer.h"

static enum error evaluate(struct query_run *run, const struct query *query,
                           struct scored_list *result);

static enum metric metric_of(const struct query_run *run, const struct query *query)
{
    return collection_settings(run->collection)->vectors[query->vector_number].metric;
}

bool query_smaller_is_better(const struct query_run *run, const struct query *query)
{
    if (query->kind != QUERY_NEAREST &&
        !(query->kind == QUERY_RECOMMEND && query->strategy == RECOMMEND_AVERAGE))
        return false;
    const enum metric metric = metric_of(run, query);
    return metric == METRIC_EUCLID || metric == METRIC_MANHATTAN;
}

/* What has no score of its own gets this one. */
#define SCORE_NONE 1.0f

static void add_stats(struct query_run *run, const struct search_stats *stats)
{
    run->stats.codes_scanned += stats->codes_scanned;
    run->stats.partitions += stats->partitions;
    run->stats.second_stage += stats->second_stage;
    run->stats.exact_scored += stats->exact_scored;
    run->stats.degraded |= stats->degraded;
    run->stats.sampled |= stats->sampled;
}

/* ---- nearest ---- */

static enum error search_leaf(struct query_run *run, const struct query *query,
                              struct scored_list *result)
{
    const struct search_request request = {
        .vector_number = query->vector_number,
        .filter = query->filter,
        .vector = query->vectors[0].floats,
        .indices = query->vectors[0].indices,
        .vector_count = query->vectors[0].count,
        .limit = query_wanted(run, query, NULL),
        .has_threshold = query->has_threshold,
        .threshold_score = query->threshold,
        .exact = query->exact || run->recall >= 1,
        .recall = run->recall >= 1 ? 0 : run->recall,
        .effort = query->effort,
        .exclude = query->excluded,
        .exclude_count = query->excluded_count,
        .deadline_ns = run->deadline_ns,
    };
    struct search_stats stats = {0};
    struct hit *hits;
    size_t count;
    const enum error error = collection_search(run->collection, run->view, &request, run->workspace,
                                               run->arena, &hits, &count, &stats);
    add_stats(run, &stats);
    if (error != OK)
        return error;
    result->items = arena_allocate(run->arena, size_product(count + 1, sizeof *result->items));
    result->count = count;
    for (size_t i = 0; i < count; i++)
        result->items[i] = (struct scored){
            .slot = hits[i].slot,
            .score = metric_score(metric_of(run, query), hits[i].key),
            .id = hits[i].row.id,
        };
    return OK;
}

static enum error nearest(struct query_run *run, const struct query *query,
                          const struct scored_list *among, struct scored_list *result)
{
    return among == NULL ? search_leaf(run, query, result) : query_rank(run, query, among, result);
}

/* ---- MMR ---- */

struct diversity {
    struct query_run *run;
    struct scorer scorer;
    const struct scored_list *candidates;
    struct query_vector last; /* vector of candidate `last_number` */
    size_t last_number;
    uint64_t asked;
};

/* The one last chosen is asked about for all that are left: its vector is kept, theirs are read in
 * place each time, so that memory does not follow candidates_limit. */
static enum error similarity(void *context, size_t a, size_t b, float *out)
{
    struct diversity *diversity = context;
    enum error error = OK;
    if (++diversity->asked % 1024 == 0)
        error = query_check_stop(diversity->run);
    if (error == OK && diversity->last_number != b) {
        error = scorer_vector(&diversity->scorer, diversity->candidates->items[b].slot,
                              &diversity->last);
        diversity->last_number = b;
    }
    return error == OK ? scorer_keys(&diversity->scorer, diversity->candidates->items[a].slot,
                                     &diversity->last, 1, out)
                       : error;
}

/* Keys of the candidates; a damaged one is taken off the list. */
static enum error find_relevance(struct diversity *diversity, const struct query *query,
                                 struct scored_list *candidates, float *relevance)
{
    size_t kept = 0;
    for (size_t i = 0; i < candidates->count; i++) {
        const enum error error = scorer_keys(&diversity->scorer, candidates->items[i].slot,
                                             query->vectors, 1, &relevance[kept]);
        if (error == OK)
            candidates->items[kept++] = candidates->items[i];
        else if (!query_leave_out(diversity->run, error))
            return error;
    }
    candidates->count = kept;
    return OK;
}

static enum error diverse(struct query_run *run, const struct query *query,
                          const struct scored_list *among, struct scored_list *result)
{
    struct query plain = *query;
    struct scored_list candidates;
    plain.limit = query->candidates_limit;
    plain.offset = 0;
    enum error error = nearest(run, &plain, among, &candidates);
    if (error != OK)
        return error;
    struct diversity diversity = {.run = run, .candidates = &candidates, .last_number = SIZE_MAX};
    scorer_begin(&diversity.scorer, run, query->vector_number);
    float *relevance =
        arena_allocate(run->arena, size_product(candidates.count + 1, sizeof *relevance));
    error = find_relevance(&diversity, query, &candidates, relevance);
    size_t *chosen, chosen_count;
    if (error == OK)
        error = mmr_choose(relevance, candidates.count, query->lambda,
                           query_wanted(run, query, &candidates), similarity, &diversity,
                           run->arena, &chosen, &chosen_count);
    scorer_end(&diversity.scorer);
    if (error != OK)
        return error;
    result->items =
        arena_allocate(run->arena, size_product(chosen_count + 1, sizeof *result->items));
    result->count = chosen_count;
    for (size_t i = 0; i < chosen_count; i++)
        result->items[i] = candidates.items[chosen[i]];
    return OK;
}

/* ---- recommend ---- */

/* By average it is a nearest search for a vector made here. */
static enum error recommend(struct query_run *run, const struct query *query,
                            const struct scored_list *among, struct scored_list *result)
{
    if (query->strategy != RECOMMEND_AVERAGE)
        return query_rank(run, query, among, result);
    struct query average = *query;
    struct query_vector vector;
    scorer_average(run, query, &vector);
    average.kind = QUERY_NEAREST;
    average.vectors = &vector;
    average.vector_count = 1;
    return nearest(run, &average, among, result);
}

/* ---- without scores ---- */

struct listing {
    struct scored_list *result;
    size_t wanted;
};

static enum error list_one(void *context, uint64_t slot, const struct point_id *id, bool *enough)
{
    struct listing *listing = context;
    struct scored_list *result = listing->result;
    result->items[result->count++] = (struct scored){slot, SCORE_NONE, *id};
    *enough = result->count == listing->wanted;
    return OK;
}

static enum error in_order(struct query_run *run, const struct query *query,
                           const struct scored_list *among, struct scored_list *result)
{
    struct listing listing = {result, query_wanted(run, query, among)};
    if (listing.wanted == 0)
        return OK;
    result->items = arena_allocate(run->arena, size_product(listing.wanted, sizeof *result->items));
    return query_each(run, query, among, list_one, &listing);
}

/* ---- random ---- */

struct sampling {
    struct scored_list *result;
    size_t wanted;
    uint64_t seen, state;
};

/* splitmix64: Steele, Lea and Flood, OOPSLA 2014. */
static uint64_t draw(struct sampling *sampling)
{
    uint64_t z = sampling->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Below `bound`; the bias is below 2^-32 for all bounds there are. */
static uint64_t draw_below(struct sampling *sampling, uint64_t bound)
{
    return draw(sampling) % bound;
}

/* Algorithm R: Vitter, ACM TOMS 1985. */
static enum error sample_one(void *context, uint64_t slot, const struct point_id *id, bool *enough)
{
    struct sampling *sampling = context;
    struct scored_list *result = sampling->result;
    (void)enough;
    const struct scored scored = {slot, SCORE_NONE, *id};
    if (result->count < sampling->wanted) {
        result->items[result->count++] = scored;
    } else {
        const uint64_t place = draw_below(sampling, sampling->seen + 1);
        if (place < sampling->wanted)
            result->items[place] = scored;
    }
    sampling->seen++;
    return OK;
}

static void shuffle(struct sampling *sampling)
{
    struct scored *items = sampling->result->items;
    for (size_t i = sampling->result->count; i > 1; i--) {
        const size_t place = (size_t)draw_below(sampling, i);
        const struct scored moved = items[i - 1];
        items[i - 1] = items[place];
        items[place] = moved;
    }
}

static enum error sample(struct query_run *run, const struct query *query,
                         const struct scored_list *among, struct scored_list *result)
{
    struct query whole = *query;
    whole.offset = 0;
    struct sampling sampling = {
        .result = result, .wanted = query_wanted(run, &whole, among), .state = run->seed};
    if (sampling.wanted == 0)
        return OK;
    result->items =
        arena_allocate(run->arena, size_product(sampling.wanted, sizeof *result->items));
    const enum error error = query_each(run, query, among, sample_one, &sampling);
    if (error == OK)
        shuffle(&sampling);
    return error;
}

/* ---- inner queries ---- */

static void cut(struct scored_list *list, size_t most)
{
    if (list->count > most)
        list->count = most;
}

/* Fused scores and those of formulas: equal to the threshold is enough. */
static void drop_below(struct scored_list *list, const struct query *query)
{
    while (query->has_threshold && list->count > 0 &&
           !(list->items[list->count - 1].score >= query->threshold))
        list->count--;
}

static enum error prefetch_all(struct query_run *run, const struct query *query,
                               struct scored_list *lists)
{
    for (size_t i = 0; i < query->prefetch_count; i++) {
        const enum error error = evaluate(run, &query->prefetches[i], &lists[i]);
        if (error != OK)
            return error;
    }
    return OK;
}

static enum error rank_again(struct query_run *run, const struct query *query,
                             const struct scored_list *among, struct scored_list *result)
{
    switch ((int)query->kind) {
    case QUERY_IN_ORDER:
        return in_order(run, query, among, result);
    case QUERY_NEAREST:
        return query->mmr ? diverse(run, query, among, result) : nearest(run, query, among, result);
    case QUERY_RECOMMEND:
        return recommend(run, query, among, result);
    case QUERY_DISCOVER:
    case QUERY_CONTEXT:
        return query_rank(run, query, among, result);
    case QUERY_SAMPLE:
        return sample(run, query, among, result);
    case QUERY_ORDER_BY:
        return query_order_rank(run, query, among, result);
    default:
        break;
    }
    assert(false);
    return ERROR_INVALID;
}

static enum error inner(struct query_run *run, const struct query *query,
                        struct scored_list *result)
{
    struct scored_list all;
    struct scored_list *lists =
        arena_allocate(run->arena, size_product(query->prefetch_count, sizeof *lists));
    enum error error = prefetch_all(run, query, lists);
    if (error != OK)
        return error;
    switch (query->kind) {
    case QUERY_RRF:
        fusion_rrf(lists, query->prefetch_count, query->rrf_k, query->weights, run->arena, result);
        break;
    case QUERY_DBSF:
        fusion_dbsf(lists, query->prefetch_count, run->arena, result);
        break;
    case QUERY_FORMULA:
        error = query_formula_rank(run, query, lists, result);
        break;
    case QUERY_IN_ORDER:
    case QUERY_NEAREST:
    case QUERY_RECOMMEND:
    case QUERY_DISCOVER:
    case QUERY_CONTEXT:
    case QUERY_ORDER_BY:
    case QUERY_SAMPLE:
        fusion_union(lists, query->prefetch_count, run->arena, &all);
        return rank_again(run, query, &all, result);
    }
    if (error == OK) {
        cut(result, query_wanted(run, query, result));
        drop_below(result, query);
    }
    return error;
}

static enum error evaluate(struct query_run *run, const struct query *query,
                           struct scored_list *result)
{
    *result = (struct scored_list){0};
    return query->prefetch_count > 0 ? inner(run, query, result)
                                     : rank_again(run, query, NULL, result);
}

enum error query_evaluate(struct query_run *run, const struct query *query,
                          struct scored_list *result)
{
    const enum error error = evaluate(run, query, result);
    if (error != OK || query->kind == QUERY_SAMPLE)
        return error;
    const size_t skip = query->offset < result->count ? (size_t)query->offset : result->count;
    if (skip > 0)
        result->items += skip;
    if (skip > 0 && result->values != NULL)
        result->values += skip;
    result->count -= skip;
    return OK;
}

enum error query_evaluate_among(struct query_run *run, const struct query *query,
                                const struct scored_list *among, struct scored_list *result)
{
    *result = (struct scored_list){0};
    return rank_again(run, query, among, result);
}
