/* Distance matrix: how near the points of a random sample are to each other.
 *
 * sample points that have the vector and match the filter, in the order of ids; of each, the
 * `limit` nearest of the others, exactly. */
#include "server/api_query.h"

#include <stdlib.h>

#include "server/config.h"
#include "server/handlers.h"

enum {
    SEEN_SAMPLE = QUERY_SEEN_OWN,
};

struct matrix {
    struct query_call *query_call;
    struct query_node node; /* filter, using, limit; a sample query */
    uint64_t sample;
    struct scored_list points; /* in the order of ids */
    struct scored_list others; /* of the row under way */
};

static bool read_matrix(struct matrix *matrix)
{
    struct query_call *query_call = matrix->query_call;
    struct body *body = &query_call->body;
    struct query_request query = {.root.query = {.limit = 3}};
    struct span key;
    unsigned seen = 0;
    body->path = "";
    matrix->sample = 10;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine = false;
        const bool known = key_is(key, "filter") || key_is(key, "limit") || key_is(key, "using") ||
                           key_is(key, "shard_key");
        if (key_is(key, "sample")) {
            mine = true;
            if (!field_once(body, &seen, SEEN_SAMPLE, "sample") ||
                !field_u64(body, "sample", 2, &matrix->sample))
                return false;
        }
        if (known && !query_field_read(&query_call->reader, key, &query, &seen, &mine))
            return false;
        if (!mine && !json_skip(&body->json))
            return false;
    }
    matrix->node = query.root;
    matrix->node.query.kind = QUERY_NEAREST; /* for the check that the vector is there */
    return body_end(body) && query_node_check(&query_call->reader, &matrix->node) &&
           body_check_limit(body, query_call->call, matrix->sample) &&
           body_check_limit(body, query_call->call, matrix->node.query.limit);
}

/* ---- the sample ---- */

static int compare_ids(const void *a, const void *b)
{
    return point_id_compare(&((const struct scored *)a)->id, &((const struct scored *)b)->id);
}

/* Only points that have the vector: {"must": [filter, {"has_vector": name}]}. */
static bool require_vector(struct matrix *matrix)
{
    struct body *body = &matrix->query_call->body;
    const struct filter *filter = matrix->node.filter;
    struct value_builder builder;
    value_begin(&builder, body->arena);
    if (value_open_object(&builder) != OK || value_put_key(&builder, span_text("must")) != OK ||
        value_open_array(&builder) != OK)
        return false;
    if (!filter_is_empty(filter))
        value_put_value(&builder, filter_source(filter));
    if (value_open_object(&builder) != OK || value_put_key(&builder, span_text("has_vector")) != OK)
        return false;
    value_put_string(&builder, matrix->node.query.using);
    value_close(&builder);
    value_close(&builder);
    value_close(&builder);
    body->filters = (struct filter_limits){FILTER_DEPTH_MAX, UINT32_MAX, UINT32_MAX,
                                           body->filters.id_bytes_max};
    return filter_value(body, value_end(&builder), "filter", &matrix->node.filter);
}

static bool draw_sample(struct matrix *matrix, struct arena *arena)
{
    struct query_call *query_call = matrix->query_call;
    struct query_node node = matrix->node;
    bool degraded;
    node.query.kind = QUERY_SAMPLE;
    node.query.limit = matrix->sample;
    if (!query_call_run(query_call, &node, arena, &matrix->points, &degraded))
        return false;
    struct scored_list *points = &matrix->points;
    if (points->count > 1)
        qsort(points->items, points->count, sizeof(struct scored), compare_ids);
    if (points->count < 2)
        points->count = 0; /* no pair */
    matrix->others.items =
        arena_allocate(arena, size_product(points->count + 1, sizeof(struct scored)));
    return true;
}

/* ---- rows ---- */

/* The nearest of the others to point i, in the arena. */
static enum error find_row(struct matrix *matrix, size_t i, struct arena *arena,
                           struct scored_list *row)
{
    const struct scored_list *points = &matrix->points;
    struct call *call = matrix->query_call->call;
    struct query_run run = {
        .collection = call->collection,
        .view = &call->view,
        .workspace = call->worker->workspace,
        .arena = arena,
        .deadline_ns = call->deadline_ns,
    };
    struct query_vector vector;
    const enum error error =
        query_vector_load(run.collection, run.view, matrix->node.query.vector_number,
                          points->items[i].slot, arena, &vector);
    if (error != OK)
        return error;
    const struct query query = {
        .kind = QUERY_NEAREST,
        .vector_number = matrix->node.query.vector_number,
        .vectors = &vector,
        .vector_count = 1,
        .limit = matrix->node.query.limit,
    };
    matrix->others.count = 0;
    for (size_t j = 0; j < points->count; j++) {
        if (j != i)
            matrix->others.items[matrix->others.count++] = points->items[j];
    }
    const enum error ranked = query_evaluate_among(&run, &query, &matrix->others, row);
    query_call_count(matrix->query_call, &run.stats);
    return ranked;
}

static size_t place_of(const struct matrix *matrix, const struct scored *scored)
{
    const struct scored *found =
        bsearch(scored, matrix->points.items, matrix->points.count, sizeof *scored, compare_ids);
    return found == NULL ? 0 : (size_t)(found - matrix->points.items);
}

/* ---- the replies ---- */

static enum error put_id(const struct matrix *matrix, const struct scored *scored, struct text *out)
{
    return text_slot_id(out, &matrix->query_call->call->view, &scored->id, scored->slot);
}

static enum error put_pairs(struct matrix *matrix, size_t i, const struct scored_list *row,
                            struct text *out)
{
    enum error error = OK;
    for (size_t j = 0; j < row->count && error == OK; j++) {
        text_puts(out, out->data[out->bytes - 1] == '[' ? "{\"a\":" : ",{\"a\":");
        error = put_id(matrix, &matrix->points.items[i], out);
        text_puts(out, ",\"b\":");
        if (error == OK)
            error = put_id(matrix, &row->items[j], out);
        text_puts(out, ",\"score\":");
        text_float(out, row->items[j].score);
        text_puts(out, "}");
    }
    return error;
}

static bool answer_pairs(struct matrix *matrix)
{
    struct call *call = matrix->query_call->call;
    text_puts(call_result(call), "{\"pairs\":[");
    for (size_t i = 0; i < matrix->points.count; i++) {
        struct arena arena;
        struct scored_list row;
        arena_init(&arena);
        enum error error = find_row(matrix, i, &arena, &row);
        if (error == OK)
            error = put_pairs(matrix, i, &row, &call->out);
        arena_release(&arena);
        if (error != OK)
            return query_call_fail(matrix->query_call, error);
        if (!query_call_fits(matrix->query_call, 0))
            return false;
    }
    text_puts(&call->out, "]}");
    return true;
}

struct offsets {
    struct text rows, columns, scores;
};

static void offsets_release(struct offsets *offsets)
{
    text_release(&offsets->rows);
    text_release(&offsets->columns);
    text_release(&offsets->scores);
}

static void put_offsets(struct matrix *matrix, size_t i, const struct scored_list *row,
                        struct offsets *offsets)
{
    for (size_t j = 0; j < row->count; j++) {
        const char *comma = offsets->rows.bytes > 0 ? "," : "";
        text_puts(&offsets->rows, comma);
        text_u64(&offsets->rows, i);
        text_puts(&offsets->columns, comma);
        text_u64(&offsets->columns, place_of(matrix, &row->items[j]));
        text_puts(&offsets->scores, comma);
        text_float(&offsets->scores, row->items[j].score);
    }
}

static bool find_offsets(struct matrix *matrix, struct offsets *offsets)
{
    for (size_t i = 0; i < matrix->points.count; i++) {
        struct arena arena;
        struct scored_list row;
        arena_init(&arena);
        const enum error error = find_row(matrix, i, &arena, &row);
        if (error == OK)
            put_offsets(matrix, i, &row, offsets);
        arena_release(&arena);
        if (error != OK)
            return query_call_fail(matrix->query_call, error);
        if (!query_call_fits(matrix->query_call,
                             offsets->rows.bytes + offsets->columns.bytes + offsets->scores.bytes))
            return false;
    }
    return true;
}

static void put_text(struct text *out, const char *before, const struct text *text)
{
    text_puts(out, before);
    if (text->bytes > 0)
        text_put(out, text->data, text->bytes);
}

static bool answer_offsets(struct matrix *matrix)
{
    struct offsets offsets = {0};
    struct text *out = call_result(matrix->query_call->call);
    bool good = find_offsets(matrix, &offsets);
    if (good) {
        enum error error = OK;
        put_text(out, "{\"offsets_row\":[", &offsets.rows);
        put_text(out, "],\"offsets_col\":[", &offsets.columns);
        put_text(out, "],\"scores\":[", &offsets.scores);
        text_puts(out, "],\"ids\":[");
        for (size_t i = 0; i < matrix->points.count && error == OK; i++) {
            text_puts(out, i > 0 ? "," : "");
            error = put_id(matrix, &matrix->points.items[i], out);
        }
        text_puts(out, "]}");
        good = error == OK || query_call_fail(matrix->query_call, error);
    }
    offsets_release(&offsets);
    return good;
}

/* ---- handlers ---- */

static void run_matrix(struct call *call, bool (*answer)(struct matrix *matrix))
{
    struct query_call query_call;
    struct matrix matrix = {.query_call = &query_call};
    struct arena arena;
    if (!query_call_begin(&query_call, call))
        return;
    if (!read_matrix(&matrix) || !require_vector(&matrix)) {
        (void)query_call_refuse(&query_call);
        return;
    }
    if (!call_view(call))
        return;
    arena_init(&arena);
    if (draw_sample(&matrix, &arena) && answer(&matrix))
        query_call_ok(&query_call);
    arena_release(&arena);
}

void api_matrix_pairs(struct call *call)
{
    run_matrix(call, answer_pairs);
}

void api_matrix_offsets(struct call *call)
{
    run_matrix(call, answer_offsets);
}
