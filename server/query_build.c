/* From a query as it was read to the tree that is evaluated: ids become vectors, and what a query
 * asks of every point below it moves down to the leaves. */
#include "server/query_request.h"

#include <inttypes.h>
#include <stdlib.h>

/* What holds below: a stack of filters and of excluded ids, the outermost first. */
struct inherited {
    const struct filter *const *filters;
    size_t filter_count;
    const struct point_id *excluded;
    size_t excluded_count;
};

struct building {
    struct call *call;
    struct body *body;
    struct query_lookups *lookups;
};

/* ---- other collections ---- */

void query_lookups_release(struct query_lookups *lookups)
{
    for (size_t i = 0; i < lookups->count; i++) {
        if (lookups->items[i].open)
            view_close(&lookups->items[i].view);
        collection_release(lookups->items[i].collection);
    }
    lookups->count = 0;
}

static bool refuse_error(struct body *body, enum error error)
{
    return refuse(&body->refusal, body->arena, REFUSAL_INTERNAL, "%s", error_text(error));
}

static struct query_lookup *lookup_held(struct query_lookups *lookups,
                                        const struct collection *collection)
{
    for (size_t i = 0; i < lookups->count; i++) {
        if (lookups->items[i].collection == collection)
            return &lookups->items[i];
    }
    return NULL;
}

bool query_lookup_hold(struct call *call, struct body *body, struct query_lookups *lookups,
                       struct span name, struct query_lookup **lookup, bool *own)
{
    struct collection *collection;
    const enum error error = collection_acquire(call->service->database, name, &collection);
    if (error == ERROR_NOT_FOUND || error == ERROR_INVALID)
        return refuse(&body->refusal, body->arena, REFUSAL_MISSING, "Collection %.*s not found",
                      (int)name.bytes, (const char *)name.data);
    if (error != OK)
        return refuse_error(body, error);
    *own = collection == call->collection;
    *lookup = lookup_held(lookups, collection);
    if (*own || *lookup != NULL) {
        collection_release(collection);
        return true;
    }
    if (lookups->count == QUERY_LOOKUPS_MAX) {
        collection_release(collection);
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "lookups in more than %u collections", QUERY_LOOKUPS_MAX);
    }
    *lookup = &lookups->items[lookups->count++];
    **lookup = (struct query_lookup){.collection = collection};
    return true;
}

const struct view *query_lookup_view(struct call *call, struct body *body,
                                     struct query_lookup *lookup)
{
    if (!lookup->open) {
        const enum error error = view_open(collection_environment(lookup->collection),
                                           call->worker->reader, &lookup->view);
        lookup->open = error == OK;
        if (error != OK)
            (void)refuse_error(body, error);
    }
    return lookup->open ? &lookup->view : NULL;
}

/* Where the ids of a node are looked up. */
struct source {
    struct collection *collection;
    const struct view *view;
    bool own; /* the collection that is searched: its ids are left out of the result */
};

static bool find_source(struct building *building, const struct query_node *node,
                        struct source *source)
{
    struct call *call = building->call;
    struct query_lookup *lookup;
    bool own = true;
    *source = (struct source){call->collection, &call->view, true};
    if (node->has_lookup && !query_lookup_hold(call, building->body, building->lookups,
                                               node->lookup_collection, &lookup, &own))
        return false;
    if (own)
        return true;
    *source =
        (struct source){lookup->collection, query_lookup_view(call, building->body, lookup), false};
    return source->view != NULL;
}

/* ---- ids ---- */

static bool refuse_missing(struct building *building, const struct point_id *id, const char *what)
{
    (void)refuse(&building->body->refusal, building->body->arena, REFUSAL_MISSING, "%s%s found",
                 what, request_id_text(building->call->request, id));
    return false;
}

static bool look_up(struct building *building, const struct source *source, struct span name,
                    const struct point_id *id, struct query_vector *vector)
{
    struct body *body = building->body;
    uint16_t number;
    uint64_t slot;
    const struct vector_settings *settings =
        settings_find_vector(collection_settings(source->collection), name, &number);
    if (settings == NULL || settings->kind == VECTOR_NONE)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Not existing vector name error: %.*s", (int)name.bytes,
                      (const char *)name.data);
    enum error error = view_slot(source->view, id, &slot);
    if (error == ERROR_NOT_FOUND)
        return refuse_missing(building, id, "No point with id ");
    if (error == OK)
        error =
            query_vector_load(source->collection, source->view, number, slot, body->arena, vector);
    if (error == ERROR_NOT_FOUND)
        return refuse_missing(building, id, "No vector of the point with id ");
    return error == OK || refuse_error(building->body, error);
}

/* Cosine compares what is normalised; the average strategy does so itself, behind the mean. */
static void prepare(struct building *building, const struct query_node *node,
                    struct query_vector *vector)
{
    const struct collection *collection = building->call->collection;
    const uint16_t number = node->query.vector_number;
    if (vector->kind == VECTOR_SPARSE ||
        collection_settings(collection)->vectors[number].metric != METRIC_COSINE ||
        (node->query.kind == QUERY_RECOMMEND && node->query.strategy == RECOMMEND_AVERAGE))
        return;
    float *floats = arena_copy(building->body->arena, vector->floats,
                               size_product(vector->count * vector->dim, sizeof(float)));
    for (size_t i = 0; i < vector->count; i++)
        codec_normalise(collection_codec(collection, number), floats + i * vector->dim);
    vector->floats = floats;
}

static int compare_ids(const void *a, const void *b)
{
    return point_id_compare(a, b);
}

/* Vectors of a node; its own ids go to excluded[*count]. */
static bool build_vectors(struct building *building, const struct query_node *node,
                          struct query *query, struct point_id *excluded, size_t *count)
{
    struct body *body = building->body;
    struct source source = {0};
    const struct span name = node->has_lookup_vector ? node->lookup_vector : node->query.using;
    const struct vector_settings *settings =
        node->input_count == 0
            ? NULL
            : &collection_settings(building->call->collection)->vectors[node->query.vector_number];
    query->vector_count = node->input_count;
    query->vectors =
        arena_allocate(body->arena, size_product(node->input_count + 1, sizeof *query->vectors));
    for (size_t i = 0; i < node->input_count; i++) {
        const struct query_input *input = &node->inputs[i];
        query->vectors[i] = input->vector;
        if (input->by_id) {
            if ((source.collection == NULL && !find_source(building, node, &source)) ||
                !look_up(building, &source, name, &input->id, &query->vectors[i]) ||
                !query_vector_fit(body, settings, &query->vectors[i]))
                return false;
            if (source.own)
                excluded[(*count)++] = input->id;
        }
        prepare(building, node, &query->vectors[i]);
    }
    return true;
}

/* ---- down to the leaves ---- */

/* Several filters as one: {"must": [...]}. */
static bool join_filters(struct building *building, const struct filter *const *filters,
                         size_t count, const struct filter **joined)
{
    struct body *body = building->body;
    struct value_builder builder;
    value_begin(&builder, body->arena);
    if (value_open_object(&builder) != OK || value_put_key(&builder, span_text("must")) != OK ||
        value_open_array(&builder) != OK)
        return refuse_error(building->body, ERROR_TOO_LARGE);
    for (size_t i = 0; i < count; i++)
        value_put_value(&builder, filter_source(filters[i]));
    value_close(&builder);
    value_close(&builder);
    /* each was within the limits by itself */
    const struct filter_limits kept = body->filters;
    body->filters =
        (struct filter_limits){FILTER_DEPTH_MAX, UINT32_MAX, UINT32_MAX, kept.id_bytes_max};
    const bool good = filter_value(body, value_end(&builder), "filter", joined);
    body->filters = kept;
    return good;
}

static bool set_leaf(struct building *building, const struct inherited *below, struct query *query)
{
    struct point_id *excluded = arena_copy(building->body->arena, below->excluded,
                                           below->excluded_count * sizeof *excluded);
    if (below->excluded_count > 1)
        qsort(excluded, below->excluded_count, sizeof *excluded, compare_ids);
    query->excluded = excluded;
    query->excluded_count = below->excluded_count;
    query->filter = below->filter_count == 0 ? NULL : below->filters[0];
    return below->filter_count < 2 ||
           join_filters(building, below->filters, below->filter_count, &query->filter);
}

static bool build(struct building *building, const struct query_node *node,
                  const struct inherited *above, struct query *query)
{
    struct body *body = building->body;
    struct inherited below = *above;
    *query = node->query;
    struct point_id *excluded = arena_allocate(
        body->arena, size_product(above->excluded_count + node->input_count + 1, sizeof *excluded));
    if (above->excluded_count > 0)
        memcpy(excluded, above->excluded, above->excluded_count * sizeof *excluded);
    below.excluded = excluded;
    if (query->kind == QUERY_ORDER_BY &&
        !query_order_find(body, &building->call->view, &query->order))
        return false;
    if (!build_vectors(building, node, query, excluded, &below.excluded_count))
        return false;
    if (!filter_is_empty(node->filter)) {
        const struct filter **filters =
            arena_allocate(body->arena, size_product(above->filter_count + 1, sizeof *filters));
        if (above->filter_count > 0)
            memcpy(filters, above->filters, above->filter_count * sizeof *filters);
        filters[below.filter_count++] = node->filter;
        below.filters = filters;
    }
    query->candidates_limit =
        node->has_candidates ? node->query.candidates_limit : node->query.limit;
    if (node->prefetch_count == 0)
        return set_leaf(building, &below, query);
    query->prefetch_count = node->prefetch_count;
    query->prefetches =
        arena_allocate(body->arena, size_product(node->prefetch_count, sizeof *query->prefetches));
    for (size_t i = 0; i < node->prefetch_count; i++) {
        if (!build(building, &node->prefetches[i], &below, &query->prefetches[i]))
            return false;
    }
    return true;
}

bool query_build(struct call *call, struct body *body, const struct query_node *node,
                 struct query_lookups *lookups, struct query *query)
{
    struct building building = {call, body, lookups};
    const struct inherited nothing = {0};
    return build(&building, node, &nothing, query);
}
