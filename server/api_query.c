/* Queries, one or many in a body: /points/query, /search, /recommend and /discover, and /batch of
 * each. */
#include "server/api_query.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "server/api_points.h"
#include "server/config.h"
#include "server/handlers.h"
#include "server/npy_reply.h"

/* ---- a query call ---- */

/* ?recall=: the share of the true nearest that a search may be expected to find; 1 is exact. */
static bool read_recall(struct call *call, float *recall)
{
    struct span text;
    char copy[32], *end = copy;
    if (!request_parameter(call->request, "recall", &text))
        return true;
    if (text.bytes > 0 && text.bytes < sizeof copy) {
        memcpy(copy, text.data, text.bytes);
        copy[text.bytes] = '\0';
        *recall = strtof(copy, &end);
    }
    const bool number = end != copy && *end == '\0' && isfinite(*recall);
    if (number && *recall >= 0.5f && *recall <= 1)
        return true;
    if (number)
        call_fail(call, 422,
                  "Validation error in query parameters: [recall: value %g invalid, must be from "
                  "0.5 to 1]",
                  (double)*recall);
    else
        call_fail(call, 400, "Deserialize error in query parameters: recall: expected a number");
    return false;
}

bool query_call_begin(struct query_call *query_call, struct call *call)
{
    float recall = 0;
    if (!read_recall(call, &recall) || !call_collection(call))
        return false;
    *query_call = (struct query_call){.call = call, .recall = recall, .begun_ns = clock_ns()};
    body_begin_call(&query_call->body, call);
    query_call->body.path = "internal.";
    query_call->reader =
        (struct query_reader){&query_call->body, collection_settings(call->collection)};
    return true;
}

bool query_call_refuse(struct query_call *query_call)
{
    query_lookups_release(&query_call->lookups);
    body_refuse(&query_call->body, query_call->call);
    return false;
}

bool query_call_fail(struct query_call *query_call, enum error error)
{
    query_lookups_release(&query_call->lookups);
    call_fail_error(query_call->call, error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error);
    return false;
}

void query_call_count(struct query_call *query_call, const struct search_stats *stats)
{
    query_call->stats.codes_scanned += stats->codes_scanned;
    query_call->stats.partitions += stats->partitions;
    query_call->stats.second_stage += stats->second_stage;
    query_call->stats.exact_scored += stats->exact_scored;
}

/* What a request cost: milliseconds of each stage, and how much was looked at. */
static void set_timing(struct query_call *query_call)
{
    struct call *call = query_call->call;
    const struct search_stats *stats = &query_call->stats;
    const uint64_t now = clock_ns(), begun = query_call->begun_ns;
    const uint64_t read = query_call->first_run_ns == 0 ? 0 : query_call->first_run_ns - begun;
    const uint64_t run = query_call->run_ns, all = now - begun;
    const uint64_t write = all > read + run ? all - read - run : 0;
    const uint64_t waited =
        begun > call->request->started_ns ? begun - call->request->started_ns : 0;
    call->headers = arena_format(
        call->arena,
        "Server-Timing: wait;dur=%.3f, read;dur=%.3f, search;dur=%.3f, write;dur=%.3f, "
        "partitions;desc=\"%" PRIu64 "\", codes;desc=\"%" PRIu64 "\", reranked;desc=\"%" PRIu64
        "\", exact;desc=\"%" PRIu64 "\"\r\n",
        (double)waited * 1e-6, (double)read * 1e-6, (double)run * 1e-6, (double)write * 1e-6,
        stats->partitions, stats->codes_scanned, stats->second_stage, stats->exact_scored);
}

void query_call_ok(struct query_call *query_call)
{
    set_timing(query_call);
    query_lookups_release(&query_call->lookups);
    call_ok(query_call->call);
}

bool query_call_limit(struct query_call *query_call, const struct query_node *node)
{
    if (!body_check_limit(&query_call->body, query_call->call, node->query.limit))
        return false;
    for (size_t i = 0; i < node->prefetch_count; i++) {
        if (!query_call_limit(query_call, &node->prefetches[i]))
            return false;
    }
    return true;
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed ^= clock_ns();
    return seed;
}

bool query_call_run(struct query_call *query_call, const struct query_node *node,
                    struct arena *arena, struct scored_list *result, bool *degraded)
{
    struct call *call = query_call->call;
    struct query query;
    const uint64_t begun = clock_ns();
    if (query_call->first_run_ns == 0)
        query_call->first_run_ns = begun;
    if (!query_build(call, &query_call->body, node, &query_call->lookups, &query))
        return query_call_refuse(query_call);
    struct query_run run = {
        .collection = call->collection,
        .view = &call->view,
        .workspace = call->worker->workspace,
        .arena = arena,
        .deadline_ns = call->deadline_ns,
        .seed = random_seed(),
        .recall = query_call->recall,
    };
    const enum error error = query_evaluate(&run, &query, result);
    *degraded = run.stats.degraded;
    query_call->run_ns += clock_ns() - begun;
    query_call_count(query_call, &run.stats);
    if (run.stats.sampled)
        planner_measure(call->service->planner, collection_name(call->collection));
    if (error == OK)
        return true;
    if (error != ERROR_INVALID || run.why == NULL)
        return query_call_fail(query_call, error);
    (void)refuse(&query_call->body.refusal, call->arena, REFUSAL_INPUT, "%s", run.why);
    return query_call_refuse(query_call);
}

/* ---- replies ---- */

bool query_call_fits(struct query_call *query_call, size_t more)
{
    struct call *call = query_call->call;
    const uint64_t limit = call->service->config->response_bytes_max;
    if (call->out.bytes + more <= limit)
        return true;
    (void)refuse(&query_call->body.refusal, call->arena, REFUSAL_REQUEST,
                 "the reply would be larger than service.response_bytes_max (%" PRIu64
                 " bytes); ask for fewer points",
                 limit);
    return query_call_refuse(query_call);
}

bool query_call_put(struct query_call *query_call, const struct selectors *selectors,
                    const struct scored *scored, const struct order_value *value)
{
    struct call *call = query_call->call;
    struct point_row row;
    enum error error = view_point(&call->view, scored->slot, &row);
    if (error == OK)
        error = selectors_put_record(selectors, &call->view, scored->slot, &row,
                                     query_call->reader.settings, &scored->score, &call->out);
    if (error != OK)
        return query_call_fail(query_call, error);
    if (value != NULL)
        text_order_value_into(&call->out, value);
    return query_call_fits(query_call, 0);
}

bool query_call_put_all(struct query_call *query_call, const struct selectors *selectors,
                        const struct scored_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        enum error error = i % 256 == 255 ? call_check_deadline(query_call->call) : OK;
        if (error != OK)
            return query_call_fail(query_call, error);
        if (i > 0)
            text_puts(&query_call->call->out, ",");
        if (!query_call_put(query_call, selectors, &list->items[i],
                            list->values == NULL ? NULL : &list->values[i]))
            return false;
    }
    return true;
}

/* Results lie in an arena of their own: a batch of queries with a large limit or offset holds those
 * of one at a time. */
static bool run(struct query_call *query_call, const struct query_request *query, bool bare)
{
    struct arena arena;
    struct scored_list result;
    bool degraded;
    arena_init(&arena);
    bool good = query_call_run(query_call, &query->root, &arena, &result, &degraded);
    struct text *out = &query_call->call->out;
    if (good) {
        text_puts(out, bare ? "[" : "{\"points\":[");
        good = query_call_put_all(query_call, &query->selectors, &result);
    }
    if (good)
        text_puts(out, bare ? "]" : degraded ? "],\"degraded\":true}" : "]}");
    arena_release(&arena);
    return good;
}

/* The same as matrices; a batch has no such reply. */
static void run_npy(struct query_call *query_call, const struct query_request *query)
{
    struct call *call = query_call->call;
    struct arena arena;
    struct scored_list result;
    struct npy_reply reply;
    bool degraded;
    if (!npy_reply_begin(&reply, call, &query->selectors, true))
        return; /* nothing is looked up yet */
    arena_init(&arena);
    bool good = query_call_run(query_call, &query->root, &arena, &result, &degraded);
    for (size_t i = 0; good && i < result.count; i++) {
        struct point_row row;
        enum error error = view_point(&call->view, result.items[i].slot, &row);
        if (error == OK)
            error = npy_reply_put(&reply, call, result.items[i].slot, &row, &result.items[i].score);
        good = error == OK ? query_call_fits(query_call, 0) : query_call_fail(query_call, error);
    }
    arena_release(&arena);
    if (good) {
        set_timing(query_call);
        query_lookups_release(&query_call->lookups);
        npy_reply_end(&reply, call);
    }
    npy_reply_release(&reply);
}

/* ---- handlers ---- */

static bool read_one(struct query_call *query_call, query_read *read, struct query_request *query)
{
    *query = (struct query_request){0};
    return read(&query_call->reader, query) && query_call_limit(query_call, &query->root);
}

void query_call_one(struct call *call, query_read *read, bool bare)
{
    struct query_call query_call;
    struct query_request query;
    if (!query_call_begin(&query_call, call))
        return;
    if (!read_one(&query_call, read, &query) || !body_end(&query_call.body)) {
        (void)query_call_refuse(&query_call);
        return;
    }
    if (!call_view(call))
        return;
    if (npy_reply_wanted(call->request)) {
        run_npy(&query_call, &query);
        return;
    }
    (void)call_result(call);
    if (run(&query_call, &query, bare))
        query_call_ok(&query_call);
}

static struct query_request *list_add(struct query_list *list, struct arena *arena)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct query_request *items =
            arena_allocate(arena, size_product(capacity, sizeof items[0]));
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof items[0]);
        list->items = items;
        list->capacity = capacity;
    }
    return &list->items[list->count++];
}

static bool read_searches(struct query_call *query_call, query_read *read, struct query_list *list)
{
    struct body *body = &query_call->body;
    uint64_t max = query_call->call->limits.search_max_batchsize;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "searches: expected an array of queries");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (list->count == max)
            return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                          "more than strict.search_max_batchsize (%" PRIu64 ") searches in one "
                          "request",
                          max);
        char path[48];
        snprintf(path, sizeof path, "searches[%zu].internal.", list->count);
        body->path = path;
        bool good = read_one(query_call, read, list_add(list, body->arena));
        body->path = "";
        if (!good)
            return false;
    }
    return !json_failed(&body->json);
}

bool query_call_read_batch(struct query_call *query_call, query_read *read, struct query_list *list)
{
    struct body *body = &query_call->body;
    struct span key;
    unsigned seen = 0;
    body->path = "";
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `searches`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine = key_is(key, "searches");
        if (mine ? !field_once(body, &seen, 1, "searches") || !read_searches(query_call, read, list)
                 : !json_skip(&body->json))
            return false;
    }
    if (!json_failed(&body->json) && seen == 0)
        return json_fail(&body->json, "missing field `searches`");
    return body_end(body);
}

void query_call_batch(struct call *call, query_read *read, bool bare)
{
    struct query_call query_call;
    struct query_list list = {0};
    if (!query_call_begin(&query_call, call))
        return;
    if (!query_call_read_batch(&query_call, read, &list)) {
        (void)query_call_refuse(&query_call);
        return;
    }
    if (!call_view(call))
        return;
    text_puts(call_result(call), "[");
    for (size_t i = 0; i < list.count; i++) {
        if (i > 0)
            text_puts(&call->out, ",");
        if (!run(&query_call, &list.items[i], bare))
            return;
    }
    text_puts(&call->out, "]");
    query_call_ok(&query_call);
}

void api_points_query(struct call *call)
{
    query_call_one(call, query_request_read, false);
}

void api_points_query_batch(struct call *call)
{
    query_call_batch(call, query_request_read, false);
}
