/* POST /collections/{c}/points/query and /query/batch. */
#include "server/api_points.h"

#include <inttypes.h>

#include "server/config.h"
#include "server/handlers.h"
#include "server/query_request.h"

/* Of results in id order: there is nothing to score. */
static const float no_score = 0;

struct query_call {
    struct call *call;
    struct body body;
    struct point_reader reader;
    const struct collection_settings *settings;
};

/* ---- running; each returns false when the call has been ended ---- */

static bool fail(struct call *call, enum error error)
{
    call_fail_error(call, error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error);
    return false;
}

static bool put_hits(const struct query_call *query_call, const struct query_request *query,
                     const struct hit *hits, size_t hit_count)
{
    struct call *call = query_call->call;
    for (size_t i = 0; i < hit_count; i++) {
        float score = metric_score(query_call->reader.metric, hits[i].key);
        if (i > 0)
            text_puts(&call->out, ",");
        enum error error =
            selectors_put_record(&query->selectors, &call->view, hits[i].slot, &hits[i].row,
                                 query_call->reader.dim, &score, &call->out);
        if (error != OK)
            return fail(call, error);
        if (!call_result_fits(call))
            return false;
    }
    return true;
}

static bool run_nearest(const struct query_call *query_call, const struct query_request *query,
                        struct arena *arena)
{
    struct call *call = query_call->call;
    const struct search_request request = {
        .vector = query->vector,
        .limit = query->limit,
        .offset = query->offset,
        .has_threshold = query->has_threshold,
        .threshold_score = query->threshold,
        .exact = query->exact,
        .filter = query->filter,
        .exclude = &query->id,
        .exclude_count = query->kind == QUERY_ID ? 1 : 0,
        .deadline_ns = call->deadline_ns,
    };
    struct search_stats stats = {0};
    struct hit *hits;
    size_t hit_count;
    enum error error = collection_search(call->collection, &call->view, &request,
                                         call->worker->workspace, arena, &hits, &hit_count, &stats);
    if (error != OK)
        return fail(call, error);
    if (!put_hits(query_call, query, hits, hit_count))
        return false;
    text_puts(&call->out, stats.degraded ? "],\"degraded\":true}" : "]}");
    return true;
}

static bool fail_missing(struct call *call, const struct point_id *id, const char *what)
{
    struct text name = {0};
    text_point_id(&name, id);
    size_t quote = id->kind == POINT_ID_UUID ? 1 : 0;
    const char *shown =
        arena_format(call->arena, "%.*s", (int)(name.bytes - 2 * quote), name.data + quote);
    text_release(&name);
    call_fail(call, 404, "Not found: %s%s found", what, shown);
    return false;
}

/* The stored vector of the example is the query; Cosine stored it normalised. */
static bool run_id(const struct query_call *query_call, const struct query_request *query,
                   struct arena *arena)
{
    struct call *call = query_call->call;
    struct query_request by_vector = *query;
    struct vector_row row;
    uint64_t slot;
    enum error error = view_slot(&call->view, &query->id, &slot);
    if (error == ERROR_NOT_FOUND)
        return fail_missing(call, &query->id, "No point with id ");
    struct point_row point;
    if (error == OK)
        error = view_point(&call->view, slot, &point);
    if (error == OK && !vector_set_has(&point.vectors, 0))
        return fail_missing(call, &query->id, "No vector of the point with id ");
    if (error == OK)
        error = view_vector(&call->view, 0, slot, &row);
    if (error == OK)
        error = vector_row_check(&call->view, 0, &row);
    if (error != OK)
        return fail(call, error);
    by_vector.vector = arena_copy(arena, row.vector, query_call->reader.dim * sizeof(float));
    return run_nearest(query_call, &by_vector, arena);
}

static bool put_in_order(const struct query_call *query_call, const struct query_request *query,
                         struct id_walk *walk)
{
    struct call *call = query_call->call;
    uint64_t seen = 0, put = 0;
    const struct id_slot *item = NULL;
    enum error error = id_walk_begin(walk, &call->view, NULL);
    while (error == OK && put < query->limit) {
        error = id_walk_match(walk, call, query->filter, &item);
        if (error != OK || item == NULL)
            break;
        if (seen++ % ID_WALK_STEP == 0)
            error = call_check_deadline(call);
        if (error != OK || seen <= query->offset)
            continue;
        struct point_row row;
        if (put++ > 0)
            text_puts(&call->out, ",");
        error = view_point(&call->view, item->slot, &row);
        if (error == OK)
            error = selectors_put_record(&query->selectors, &call->view, item->slot, &row,
                                         query_call->reader.dim, &no_score, &call->out);
        if (error == OK && !call_result_fits(call))
            return false;
    }
    return error == OK || fail(call, error);
}

static bool run_in_order(const struct query_call *query_call, const struct query_request *query,
                         struct arena *arena)
{
    struct id_walk *walk = arena_allocate(arena, sizeof *walk);
    if (!put_in_order(query_call, query, walk))
        return false;
    text_puts(&query_call->call->out, "]}");
    return true;
}

static bool run_kind(const struct query_call *query_call, const struct query_request *query,
                     struct arena *arena)
{
    switch (query->kind) {
    case QUERY_NONE:
        return run_in_order(query_call, query, arena);
    case QUERY_ID:
        return run_id(query_call, query, arena);
    case QUERY_VECTOR:
        break;
    }
    return run_nearest(query_call, query, arena);
}

/* Hits lie in an arena of their own: a batch of queries with a large limit or offset holds those of
 * one at a time. */
static bool run(const struct query_call *query_call, const struct query_request *query)
{
    struct arena arena;
    arena_init(&arena);
    text_puts(&query_call->call->out, "{\"points\":[");
    bool good = run_kind(query_call, query, &arena);
    arena_release(&arena);
    return good;
}

/* ---- the two handlers ---- */

static bool begin(struct query_call *query_call, struct call *call)
{
    struct span value;
    if (!call_collection(call))
        return false;
    if (request_parameter(call->request, "recall", &value)) {
        call_fail(call, 400, "Bad request: `recall` is not supported yet");
        return false;
    }
    *query_call =
        (struct query_call){.call = call, .settings = collection_settings(call->collection)};
    body_begin_call(&query_call->body, call);
    point_reader_begin(&query_call->reader, call->collection, call->service->config, call->arena);
    return true;
}

static bool read_one(struct query_call *query_call, struct query_request *query)
{
    return query_request_read(&query_call->reader, query_call->settings, &query_call->body,
                              query) &&
           body_check_limit(&query_call->body, query_call->call, query->limit);
}

void api_points_query(struct call *call)
{
    struct query_call query_call;
    struct query_request query;
    if (!begin(&query_call, call))
        return;
    query_call.body.path = "internal.";
    if (!read_one(&query_call, &query) || !body_end(&query_call.body)) {
        body_refuse(&query_call.body, call);
        return;
    }
    if (!call_view(call))
        return;
    (void)call_result(call);
    if (run(&query_call, &query))
        call_ok(call);
}

struct query_list {
    struct query_request *items;
    size_t count, capacity;
};

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

static bool read_searches(struct query_call *query_call, struct query_list *list)
{
    struct body *body = &query_call->body;
    uint32_t max = query_call->call->service->config->strict.search_max_batchsize;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "searches: expected an array of queries");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (list->count == max)
            return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                          "more than strict.search_max_batchsize (%" PRIu32 ") searches in one "
                          "request",
                          max);
        char path[48];
        snprintf(path, sizeof path, "searches[%zu].internal.", list->count);
        body->path = path;
        bool good = read_one(query_call, list_add(list, body->arena));
        body->path = "";
        if (!good)
            return false;
    }
    return !json_failed(&body->json);
}

static bool read_batch(struct query_call *query_call, struct query_list *list)
{
    struct body *body = &query_call->body;
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `searches`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine = key_is(key, "searches");
        if (mine ? !field_once(body, &seen, 1, "searches") || !read_searches(query_call, list)
                 : !json_skip(&body->json))
            return false;
    }
    if (!json_failed(&body->json) && seen == 0)
        return json_fail(&body->json, "missing field `searches`");
    return body_end(body);
}

void api_points_query_batch(struct call *call)
{
    struct query_call query_call;
    struct query_list list = {0};
    if (!begin(&query_call, call))
        return;
    if (!read_batch(&query_call, &list)) {
        body_refuse(&query_call.body, call);
        return;
    }
    if (!call_view(call))
        return;
    text_puts(call_result(call), "[");
    for (size_t i = 0; i < list.count; i++) {
        if (i > 0)
            text_puts(&call->out, ",");
        if (!run(&query_call, &list.items[i]))
            return;
    }
    text_puts(&call->out, "]");
    call_ok(call);
}
