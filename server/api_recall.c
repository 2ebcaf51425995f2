/* /collections/{c}/recall. GET: what was learnt about each dense vector, and what sampled queries
 * of the last minutes got. POST: searches as in /points/query/batch, run as ?recall= asks and again
 * exactly, and how many of the exact answers the first ones had.
 *
 * Sampled are searches of dense vectors through the index without a filter, one in eight. A
 * multivector's candidates and sparse vectors (their answers are exact) are not; POST takes them
 * all, with filters too, and queries with prefetches. */
#include "server/api_query.h"

#include <inttypes.h>
#include <math.h>

#include "index/recall_report.h"
#include "server/handlers.h"

#define WINDOW_DEFAULT 15u
#define WINDOW_MAX 1440u
#define MINUTE_NS UINT64_C(60000000000)

/* ---- GET ---- */

static void put_groups(struct text *out, const struct recall_report *report)
{
    text_puts(out, "\"got\":[");
    for (size_t i = 0; i < report->group_count; i++) {
        const struct recall_group *group = &report->groups[i];
        text_printf(out,
                    "%s{\"asked\":%.6g,\"queries\":%" PRIu32
                    ",\"recall\":%.6f,\"low\":%.6f,\"high\":%.6f}",
                    i > 0 ? "," : "", (double)group->asked, group->queries, group->mean, group->low,
                    group->high);
    }
    text_puts(out, "]");
}

static void put_vector(struct text *out, const struct recall_report *report)
{
    text_printf(out,
                "{\"sampled\":true,\"queries\":%" PRIu64
                ",\"sampled_every\":%u,\"waiting\":%" PRIu64 ",",
                report->seen, RECALL_SAMPLE_EVERY, report->waiting);
    if (report->learnt) {
        text_printf(out,
                    "\"learnt_from\":{\"codes\":%" PRIu64 ",\"points\":%" PRIu32
                    ",\"copies\":%" PRIu32 ",\"live_queries\":%" PRIu32 "},",
                    report->codes, report->stored, report->made, report->live);
    } else {
        text_puts(out, "\"learnt_from\":null,");
    }
    put_groups(out, report);
    text_puts(out, "}");
}

void api_recall_get(struct call *call)
{
    uint64_t minutes = WINDOW_DEFAULT;
    if (!request_parameter_u64(call->request, "minutes", 1, WINDOW_MAX, &minutes) ||
        !call_collection(call) || !call_view(call))
        return;
    const struct collection_settings *settings = collection_settings(call->collection);
    struct text *out = call_result(call);
    text_printf(out, "{\"minutes\":%" PRIu64 ",\"vectors\":{", minutes);
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        const struct vector_settings *vector = &settings->vectors[i];
        text_puts(out, i > 0 ? "," : "");
        text_json_string(out, vector->name);
        text_puts(out, ":");
        if (vector->kind == VECTOR_DENSE) {
            struct recall_report report;
            recall_report_get(call->collection, (uint16_t)i, &call->view, minutes * MINUTE_NS,
                              &report);
            put_vector(out, &report);
        } else {
            text_puts(out, "{\"sampled\":false}");
        }
    }
    text_puts(out, "}}");
    call_ok(call);
}

/* ---- POST ---- */

static bool holds(const struct scored_list *list, uint64_t slot)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].slot == slot)
            return true;
    }
    return false;
}

/* Is a score no worse than the last that belongs to the answer? Where all are the same, the same.
 */
static bool reaches(const struct scored_list *exact, float score)
{
    const float first = exact->items[0].score, last = exact->items[exact->count - 1].score;
    const float slack = 1e-6f * fmaxf(1.0f, fabsf(last));
    if (first > last)
        return score >= last - slack;
    if (first < last)
        return score <= last + slack;
    return fabsf(score - last) <= slack;
}

/* How many of the exact answers are in the other; a tie with the last is one of them. */
static size_t count_found(const struct scored_list *got, const struct scored_list *exact, bool ties)
{
    size_t found = 0;
    for (size_t i = 0; i < got->count && exact->count > 0; i++)
        found += (ties && reaches(exact, got->items[i].score)) || holds(exact, got->items[i].slot);
    return found < exact->count ? found : exact->count;
}

struct measured {
    size_t found, of;
};

/* One search, both ways. */
static bool measure(struct query_call *query_call, const struct query_node *node,
                    struct measured *measured)
{
    const float asked = query_call->recall;
    struct arena arena;
    struct scored_list got, exact;
    bool degraded;
    arena_init(&arena);
    bool good = query_call_run(query_call, node, &arena, &got, &degraded);
    if (good) {
        query_call->recall = 1;
        good = query_call_run(query_call, node, &arena, &exact, &degraded);
        query_call->recall = asked;
    }
    if (good)
        *measured =
            (struct measured){count_found(&got, &exact, node->prefetch_count == 0), exact.count};
    arena_release(&arena);
    return good;
}

/* Answers that no recall can be told of. */
static bool refuse_unscored(struct query_call *query_call, const struct query_list *list)
{
    struct body *body = &query_call->body;
    for (size_t i = 0; i < list->count; i++) {
        const struct query *query = &list->items[i].root.query;
        if (query->kind == QUERY_IN_ORDER || query->kind == QUERY_ORDER_BY ||
            query->kind == QUERY_SAMPLE || query->mmr)
            return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                          "searches[%zu]: a recall is that of the best by score: not of points in "
                          "order, at random or by MMR",
                          i);
    }
    return true;
}

static void put_measured(struct query_call *query_call, const struct measured *all, size_t count)
{
    struct text *out = call_result(query_call->call);
    double sum = 0, low, high, lowest = 1;
    for (size_t i = 0; i < count; i++) {
        const double one = all[i].of > 0 ? (double)all[i].found / (double)all[i].of : 1;
        sum += one;
        lowest = one < lowest ? one : lowest;
    }
    const double mean = count > 0 ? sum / (double)count : 1;
    recall_interval(mean, count, &low, &high);
    text_printf(out,
                "{\"asked\":%.6g,\"queries\":%zu,\"recall\":%.6f,\"low\":%.6f,\"high\":%.6f,"
                "\"lowest\":%.6f,\"searches\":[",
                query_call->recall > 0 ? (double)query_call->recall : RECALL_DEFAULT, count, mean,
                low, high, lowest);
    for (size_t i = 0; i < count; i++)
        text_printf(out, "%s{\"found\":%zu,\"of\":%zu}", i > 0 ? "," : "", all[i].found, all[i].of);
    text_puts(out, "]}");
}

void api_recall_measure(struct call *call)
{
    struct query_call query_call;
    struct query_list list = {0};
    if (!query_call_begin(&query_call, call))
        return;
    if (!query_call_read_batch(&query_call, query_request_read, &list) ||
        !refuse_unscored(&query_call, &list)) {
        (void)query_call_refuse(&query_call);
        return;
    }
    if (!call_view(call))
        return;
    struct measured *all = arena_allocate(call->arena, size_product(list.count + 1, sizeof *all));
    for (size_t i = 0; i < list.count; i++) {
        if (!measure(&query_call, &list.items[i].root, &all[i]))
            return;
    }
    put_measured(&query_call, all, list.count);
    query_call_ok(&query_call);
}
