/* Reading a query.
 *
 * Of `params`: `exact` and `quantization.ignore` ask for an exhaustive float search. The others are
 * checked and have no effect here: `hnsw_ef` (there is no graph; how much is read follows from the
 * bounds), `indexed_only` (every point is indexed), `quantization.rescore` and `oversampling`
 * (scores are always exact, so candidates are always rescored, as many as the bounds ask for) and
 * `acorn` (filters do not walk a graph). `idf` would change scores: refused. */
#include "server/query_request.h"

#include <math.h>

enum {
    SEEN_QUERY = 1,
    SEEN_USING = 2,
    SEEN_FILTER = 4,
    SEEN_PARAMS = 8,
    SEEN_THRESHOLD = 16,
    SEEN_LIMIT = 32,
    SEEN_OFFSET = 64,
    SEEN_PAYLOAD = 128,
    SEEN_VECTOR = 256,
    SEEN_PREFETCH = 512,
    SEEN_NEAREST = 1024
};

struct query_reader {
    const struct point_reader *points;
    const struct collection_settings *settings;
    struct body *body;
    struct query_request *query;
    unsigned seen;
    bool has_prefetch;
};

static bool once(struct query_reader *reader, unsigned bit, const char *name)
{
    return field_once(reader->body, &reader->seen, bit, name);
}

static bool unsupported(struct query_reader *reader, struct span name)
{
    const char *text =
        arena_format(reader->body->arena, "%.*s", (int)name.bytes, (const char *)name.data);
    return field_unsupported(reader->body, text);
}

/* ---- the query itself ---- */

static bool read_nearest_vector(struct query_reader *reader)
{
    struct query_request *query = reader->query;
    size_t bytes = size_product(reader->points->dim + 1, sizeof(float));
    query->kind = QUERY_VECTOR;
    query->vector = arena_allocate(reader->body->arena, bytes);
    if (!vector_read_array(reader->points, reader->body, query->vector))
        return false;
    vector_prepare(reader->points, query->vector);
    return true;
}

/* [numbers] or an id: what `query` and `query.nearest` have in common. */
static bool read_nearest(struct query_reader *reader)
{
    struct json *json = &reader->body->json;
    enum json_token token = json_peek(json);
    if (token == JSON_ARRAY)
        return read_nearest_vector(reader);
    if (token == JSON_OBJECT) {
        return refuse(&reader->body->refusal, reader->body->arena, REFUSAL_INPUT,
                      "Conversion between sparse and regular vectors failed");
    }
    reader->query->kind = QUERY_ID;
    return api_read_id(json, &reader->query->id);
}

static bool is_unbuilt_form(struct span key)
{
    static const char *const names[] = {"recommend", "discover", "context",
                                        "order_by",  "fusion",   "rrf",
                                        "formula",   "sample",   "relevance_feedback"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (key_is(key, names[i]))
            return true;
    }
    return false;
}

static bool read_query_object(struct query_reader *reader)
{
    struct json *json = &reader->body->json;
    struct span key;
    if (!json_enter_object(json))
        return false;
    while (json_key(json, &key)) {
        bool good;
        if (key_is(key, "nearest"))
            good = once(reader, SEEN_NEAREST, "nearest") && read_nearest(reader);
        else if (key_is(key, "mmr") || is_unbuilt_form(key))
            good = unsupported(reader, key);
        else
            good = json_fail(json, "query: unknown variant `%.*s`", (int)key.bytes,
                             (const char *)key.data);
        if (!good)
            return false;
    }
    if (!json_failed(json) && (reader->seen & SEEN_NEAREST) == 0)
        return json_fail(json, "query: expected a vector, an id or an object with `nearest`");
    return !json_failed(json);
}

static bool read_query(struct query_reader *reader)
{
    if (field_null(reader->body))
        return true;
    if (!once(reader, SEEN_QUERY, "query"))
        return false;
    if (json_peek(&reader->body->json) == JSON_OBJECT)
        return read_query_object(reader);
    return read_nearest(reader);
}

static bool read_using(struct query_reader *reader)
{
    struct body *body = reader->body;
    struct span name;
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "using: expected a vector name as a string");
    if (!once(reader, SEEN_USING, "using") || !json_string(&body->json, &name))
        return false;
    if (name.bytes == 0)
        return true;
    return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                  "Not existing vector name error: %.*s", (int)name.bytes, (const char *)name.data);
}

/* ---- params ---- */

static bool enter_params(struct query_reader *reader, const char *name)
{
    struct json *json = &reader->body->json;
    if (json_peek(json) != JSON_OBJECT)
        return json_fail(json, "%s: expected an object", name);
    return json_enter_object(json);
}

static bool read_quantization(struct query_reader *reader)
{
    struct body *body = reader->body;
    struct span key;
    bool ignore = false, rescore = true, present = false;
    double oversampling = 1;
    if (field_null(body))
        return true;
    if (!enter_params(reader, "params.quantization"))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "ignore"))
            good = field_bool(body, "params.quantization.ignore", &ignore);
        else if (key_is(key, "rescore"))
            good = field_bool(body, "params.quantization.rescore", &rescore);
        else if (key_is(key, "oversampling"))
            good =
                field_double(body, "params.quantization.oversampling", 1, &oversampling, &present);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    reader->query->exact |= ignore;
    return !json_failed(&body->json);
}

static bool read_param(struct query_reader *reader, struct span key)
{
    struct body *body = reader->body;
    uint64_t ef = 1;
    bool flag = false;
    if (key_is(key, "hnsw_ef"))
        return field_u64(body, "params.hnsw_ef", 1, &ef);
    if (key_is(key, "exact")) {
        bool good = field_bool(body, "params.exact", &flag);
        reader->query->exact |= flag;
        return good;
    }
    if (key_is(key, "indexed_only"))
        return field_bool(body, "params.indexed_only", &flag);
    if (key_is(key, "quantization"))
        return read_quantization(reader);
    if (key_is(key, "acorn"))
        return json_peek(&body->json) == JSON_OBJECT ? json_skip(&body->json)
                                                     : field_unsupported(body, "params.acorn");
    if (key_is(key, "idf"))
        return field_unsupported(body, "params.idf");
    return json_skip(&body->json);
}

static bool read_params(struct query_reader *reader)
{
    struct span key;
    if (field_null(reader->body))
        return true;
    if (!once(reader, SEEN_PARAMS, "params") || !enter_params(reader, "params"))
        return false;
    while (json_key(&reader->body->json, &key)) {
        if (!read_param(reader, key))
            return false;
    }
    return !json_failed(&reader->body->json);
}

/* ---- the other fields ---- */

static bool read_threshold(struct query_reader *reader)
{
    double value = 0;
    bool present = false;
    if (!once(reader, SEEN_THRESHOLD, "score_threshold") ||
        !field_double(reader->body, "score_threshold", -HUGE_VAL, &value, &present))
        return false;
    reader->query->has_threshold = present;
    reader->query->threshold = (float)value; /* beyond float: an infinity, which compares rightly */
    return true;
}

/* What a prefetch means depends on the query, which may come later. */
static bool read_prefetch(struct query_reader *reader)
{
    struct json *json = &reader->body->json;
    if (field_null(reader->body))
        return true;
    if (!once(reader, SEEN_PREFETCH, "prefetch"))
        return false;
    if (json_peek(json) != JSON_ARRAY) {
        reader->has_prefetch = true;
        return json_skip(json);
    }
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        reader->has_prefetch = true;
        if (!json_skip(json))
            return false;
    }
    return !json_failed(json);
}

static bool read_selection(struct query_reader *reader, struct span key)
{
    struct selectors *selectors = &reader->query->selectors;
    if (key_is(key, "with_payload"))
        return once(reader, SEEN_PAYLOAD, "with_payload") &&
               selectors_read_payload(reader->body, selectors);
    return once(reader, SEEN_VECTOR, "with_vector") &&
           selectors_read_vector(reader->body, reader->settings, selectors);
}

static bool read_field(struct query_reader *reader, struct span key)
{
    struct body *body = reader->body;
    struct query_request *query = reader->query;
    if (key_is(key, "query"))
        return read_query(reader);
    if (key_is(key, "limit"))
        return once(reader, SEEN_LIMIT, "limit") && field_u64(body, "limit", 1, &query->limit);
    if (key_is(key, "offset"))
        return once(reader, SEEN_OFFSET, "offset") && field_u64(body, "offset", 0, &query->offset);
    if (key_is(key, "filter"))
        return once(reader, SEEN_FILTER, "filter") && field_filter(body, "filter", &query->filter);
    if (key_is(key, "params"))
        return read_params(reader);
    if (key_is(key, "score_threshold"))
        return read_threshold(reader);
    if (key_is(key, "using"))
        return read_using(reader);
    if (key_is(key, "prefetch"))
        return read_prefetch(reader);
    if (key_is(key, "with_payload") || key_is(key, "with_vector") || key_is(key, "with_vectors"))
        return read_selection(reader, key);
    if (key_is(key, "lookup_from") || key_is(key, "shard_key"))
        return unsupported(reader, key);
    return json_skip(&body->json);
}

/* Fields that are good alone but not together. */
static bool check_together(struct query_reader *reader)
{
    struct body *body = reader->body;
    const struct query_request *query = reader->query;
    if (reader->has_prefetch && query->kind == QUERY_NONE)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "A query is needed to merge the prefetches. Can't have prefetches without "
                      "defining a query.");
    if (reader->has_prefetch)
        return refuse_unsupported(&body->refusal, body->arena, "prefetch");
    if (query->has_threshold && query->kind == QUERY_NONE)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "A query is needed to use the score_threshold. Can't have score_threshold "
                      "without defining a query.");
    if (query->kind == QUERY_ID && reader->points->dim == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Not existing vector name error: ");
    return true;
}

bool query_request_read(const struct point_reader *points,
                        const struct collection_settings *settings, struct body *body,
                        struct query_request *query)
{
    struct query_reader reader = {
        .points = points, .settings = settings, .body = body, .query = query};
    struct span key;
    *query = (struct query_request){.limit = 10};
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected a query object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(&reader, key))
            return false;
    }
    return !json_failed(&body->json) && check_together(&reader);
}
