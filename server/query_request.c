/* Reading a query and its prefetches.
 *
 * Of `params`: `exact` and `quantization.ignore` ask for an exhaustive float search. `hnsw_ef` and
 * `quantization.oversampling` are hints of effort where no `?recall=` says more: a larger ef than
 * 128, or an oversampling, reads so many times the codes of the default (a quarter to eight times).
 * The others are checked and have no effect here: `indexed_only` (every point is indexed),
 * `quantization.rescore` (scores are always exact) and `acorn` (filters do not walk a graph). `idf`
 * would change scores: refused. */
#include "server/query_groups.h"

#include <math.h>
#include <stdio.h>

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
    SEEN_LOOKUP = 1024
};

static bool unsupported(struct body *body, struct span name)
{
    const char *text = arena_format(body->arena, "%.*s", (int)name.bytes, (const char *)name.data);
    return field_unsupported(body, text);
}

static bool enter_object(struct body *body, const char *name)
{
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "%s: expected an object", name);
    return json_enter_object(&body->json);
}

static bool read_text(struct body *body, const char *name, struct span *text)
{
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "%s: expected a string", name);
    return json_string(&body->json, text);
}

/* ---- params ---- */

static bool check_exact(struct body *body)
{
    return body->call->limits.forbid_exact == 0 ||
           refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                  "Exact search is not allowed (search_allow_exact of the collection's "
                  "strict_mode_config)");
}

static bool check_oversampling(struct body *body, double oversampling)
{
    uint64_t most = body->call == NULL ? 0 : body->call->limits.search_max_oversampling_milli;
    return most == 0 || oversampling * 1000 <= (double)most ||
           refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                  "Limit exceeded %g > %g for \"oversampling\" (search_max_oversampling of the "
                  "collection's strict_mode_config)",
                  oversampling, (double)most / 1000);
}

#define EF_DEFAULT 128.0 /* of hnsw_ef: what reads as much as no hint */
#define EFFORT_MIN 0.25
#define EFFORT_MAX 8.0

/* The largest of the hints counts. */
static void hint_effort(struct query_node *node, double times)
{
    const double effort = times < EFFORT_MIN ? EFFORT_MIN : times > EFFORT_MAX ? EFFORT_MAX : times;
    if ((double)node->query.effort < effort)
        node->query.effort = (float)effort;
}

static bool read_quantization(struct body *body, struct query_node *node)
{
    struct span key;
    bool ignore = false, rescore = true, present = false;
    double oversampling = 1;
    if (field_null(body))
        return true;
    if (!enter_object(body, "params.quantization"))
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
    node->query.exact |= ignore;
    if (present)
        hint_effort(node, oversampling);
    return !json_failed(&body->json) && check_oversampling(body, oversampling);
}

static bool read_param(struct body *body, struct span key, struct query_node *node)
{
    uint64_t ef = 1;
    bool flag = false;
    if (key_is(key, "hnsw_ef")) {
        if (field_null(body))
            return true;
        if (!field_u64(body, "params.hnsw_ef", 1, &ef))
            return false;
        hint_effort(node, (double)ef / EF_DEFAULT);
        return body->call == NULL || refuse_limit(body, ef, body->call->limits.search_max_hnsw_ef,
                                                  "hnsw_ef", "search_max_hnsw_ef");
    }
    if (key_is(key, "exact")) {
        bool good = field_bool(body, "params.exact", &flag);
        node->query.exact |= flag;
        return good && (!flag || body->call == NULL || check_exact(body));
    }
    if (key_is(key, "indexed_only"))
        return field_bool(body, "params.indexed_only", &flag);
    if (key_is(key, "quantization"))
        return read_quantization(body, node);
    if (key_is(key, "acorn"))
        return json_peek(&body->json) == JSON_OBJECT ? json_skip(&body->json)
                                                     : field_unsupported(body, "params.acorn");
    if (key_is(key, "idf"))
        return field_unsupported(body, "params.idf");
    return json_skip(&body->json);
}

static bool read_params(struct body *body, struct query_node *node)
{
    struct span key;
    if (field_null(body))
        return true;
    if (!enter_object(body, "params"))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_param(body, key, node))
            return false;
    }
    return !json_failed(&body->json);
}

/* ---- the other fields ---- */

static bool read_threshold(struct body *body, struct query_node *node)
{
    double value = 0;
    bool present = false;
    if (!field_double(body, "score_threshold", -HUGE_VAL, &value, &present))
        return false;
    node->query.has_threshold = present;
    node->query.threshold = (float)value; /* beyond float: an infinity, which compares rightly */
    return true;
}

static bool read_using(struct body *body, struct query_node *node)
{
    if (field_null(body))
        return true;
    node->has_using = true;
    return read_text(body, "using", &node->query.using);
}

static bool read_lookup(struct body *body, struct query_node *node)
{
    struct span key;
    if (field_null(body))
        return true;
    if (!enter_object(body, "lookup_from"))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "collection")) {
            node->has_lookup = true;
            good = read_text(body, "lookup_from.collection", &node->lookup_collection);
        } else if (key_is(key, "vector")) {
            good = field_null(body);
            if (!good && !json_failed(&body->json)) {
                node->has_lookup_vector = true;
                good = read_text(body, "lookup_from.vector", &node->lookup_vector);
            }
        } else {
            good = json_skip(&body->json);
        }
        if (!good)
            return false;
    }
    return !json_failed(&body->json) &&
           (node->has_lookup || json_fail(&body->json, "lookup_from: missing field `collection`"));
}

static bool read_query(struct body *body, struct query_node *node)
{
    return field_null(body) || query_form_read(body, node);
}

/* A field that queries and prefetches share. */
static bool read_node_field(const struct query_reader *reader, struct span key,
                            struct query_node *node, unsigned *seen, bool *mine)
{
    struct body *body = reader->body;
    *mine = true;
    if (key_is(key, "query"))
        return field_once(body, seen, SEEN_QUERY, "query") && read_query(body, node);
    if (key_is(key, "limit"))
        return field_once(body, seen, SEEN_LIMIT, "limit") &&
               field_u64(body, "limit", 1, &node->query.limit);
    if (key_is(key, "filter"))
        return field_once(body, seen, SEEN_FILTER, "filter") &&
               field_filter(body, "filter", &node->filter);
    if (key_is(key, "params"))
        return field_once(body, seen, SEEN_PARAMS, "params") && read_params(body, node);
    if (key_is(key, "score_threshold"))
        return field_once(body, seen, SEEN_THRESHOLD, "score_threshold") &&
               read_threshold(body, node);
    if (key_is(key, "using"))
        return field_once(body, seen, SEEN_USING, "using") && read_using(body, node);
    if (key_is(key, "lookup_from"))
        return field_once(body, seen, SEEN_LOOKUP, "lookup_from") && read_lookup(body, node);
    *mine = false;
    return true;
}

/* ---- prefetches ---- */

static bool read_prefetches(const struct query_reader *reader, struct query_node *node,
                            unsigned depth);

static bool read_prefetch(const struct query_reader *reader, struct query_node *node,
                          unsigned depth)
{
    struct body *body = reader->body;
    struct span key;
    unsigned seen = 0;
    *node = (struct query_node){.query.limit = 10};
    if (!enter_object(body, "prefetch"))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine;
        if (!read_node_field(reader, key, node, &seen, &mine))
            return false;
        if (!mine &&
            !(key_is(key, "prefetch") ? field_once(body, &seen, SEEN_PREFETCH, "prefetch") &&
                                            read_prefetches(reader, node, depth + 1)
                                      : json_skip(&body->json)))
            return false;
    }
    return !json_failed(&body->json) && query_node_check(reader, node);
}

static struct query_node *add_prefetch(struct body *body, struct query_node *node)
{
    /* doubled when the count is a power of two */
    if ((node->prefetch_count & (node->prefetch_count - 1)) == 0) {
        const size_t capacity = node->prefetch_count == 0 ? 1 : 2 * node->prefetch_count;
        struct query_node *larger =
            arena_allocate(body->arena, size_product(capacity, sizeof *larger));
        if (node->prefetch_count > 0)
            memcpy(larger, node->prefetches, node->prefetch_count * sizeof *larger);
        node->prefetches = larger;
    }
    return &node->prefetches[node->prefetch_count++];
}

static bool read_numbered(const struct query_reader *reader, struct query_node *node,
                          unsigned depth)
{
    struct body *body = reader->body;
    const char *path = body->path;
    if (node->prefetch_count == QUERY_EXAMPLES_MAX)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "a query has more than %u prefetches", QUERY_EXAMPLES_MAX);
    body->path = arena_format(body->arena, "%sprefetch[%zu].", path, node->prefetch_count);
    const bool good = read_prefetch(reader, add_prefetch(body, node), depth);
    body->path = path;
    return good;
}

static bool read_prefetches(const struct query_reader *reader, struct query_node *node,
                            unsigned depth)
{
    struct body *body = reader->body;
    if (field_null(body))
        return true;
    if (depth > QUERY_PREFETCH_DEPTH_MAX)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "prefetches depth %u exceeds max depth of %u", depth,
                      QUERY_PREFETCH_DEPTH_MAX);
    if (json_peek(&body->json) != JSON_ARRAY)
        return read_numbered(reader, node, depth);
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!read_numbered(reader, node, depth))
            return false;
    }
    return !json_failed(&body->json);
}

/* ---- fields that are good alone but not together ---- */

static bool refuse_request(struct body *body, const char *text)
{
    return refuse(&body->refusal, body->arena, REFUSAL_REQUEST, "%s", text);
}

static bool check_fusion(struct body *body, const struct query_node *node)
{
    const bool formula = node->query.kind == QUERY_FORMULA;
    if (!formula && node->has_using && node->query.using.bytes > 0)
        return refuse_request(body, "Fusion queries cannot be combined with the 'using' field.");
    if (node->prefetch_count == 0)
        return refuse_request(body, formula ? "cannot apply Formula without prefetches"
                                            : "cannot apply Fusion without prefetches");
    if (node->query.weights != NULL && node->weight_count != node->prefetch_count)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "RRF weights must be as many as prefetches: %zu weights, %zu prefetches",
                      node->weight_count, node->prefetch_count);
    return true;
}

bool query_node_check(const struct query_reader *reader, struct query_node *node)
{
    struct body *body = reader->body;
    const enum query_kind kind = node->query.kind;
    if (node->prefetch_count > 0 && !node->has_query)
        return refuse_request(body, "A query is needed to merge the prefetches. Can't have "
                                    "prefetches without defining a query.");
    if (node->query.has_threshold && !node->has_query)
        return refuse_request(body, "A query is needed to use the score_threshold. Can't have "
                                    "score_threshold without defining a query.");
    if (node->query.has_threshold && kind == QUERY_ORDER_BY)
        return refuse_request(body, "Can't use score_threshold with an order_by query.");
    if (kind == QUERY_RRF || kind == QUERY_DBSF || kind == QUERY_FORMULA)
        return check_fusion(body, node);
    return query_vectors_fit(reader->body, reader->settings, node);
}

/* ---- the request ---- */

static bool read_selection(const struct query_reader *reader, struct span key,
                           struct query_request *query, unsigned *seen)
{
    if (key_is(key, "with_payload"))
        return field_once(reader->body, seen, SEEN_PAYLOAD, "with_payload") &&
               selectors_read_payload(reader->body, &query->selectors);
    return field_once(reader->body, seen, SEEN_VECTOR, "with_vector") &&
           selectors_read_vector(reader->body, reader->settings, &query->selectors);
}

bool query_field_read(const struct query_reader *reader, struct span key,
                      struct query_request *query, unsigned *seen, bool *mine)
{
    struct body *body = reader->body;
    if (!read_node_field(reader, key, &query->root, seen, mine))
        return false;
    if (*mine)
        return true;
    *mine = true;
    if (key_is(key, "prefetch"))
        return field_once(body, seen, SEEN_PREFETCH, "prefetch") &&
               read_prefetches(reader, &query->root, 1);
    if (key_is(key, "with_payload") || key_is(key, "with_vector") || key_is(key, "with_vectors"))
        return read_selection(reader, key, query, seen);
    if (key_is(key, "shard_key"))
        return unsupported(body, key);
    *mine = false;
    return true;
}

/* What only the outermost query has. */
static bool read_own_field(const struct query_reader *reader, struct span key,
                           struct query_request *query, unsigned *seen)
{
    bool mine = false;
    if (key_is(key, "offset") && query->groups == NULL)
        return field_once(reader->body, seen, SEEN_OFFSET, "offset") &&
               field_u64(reader->body, "offset", 0, &query->root.query.offset);
    if (query->groups != NULL && !query_groups_field(reader, key, query->groups, seen, &mine))
        return false;
    return mine || json_skip(&reader->body->json);
}

bool query_request_read(const struct query_reader *reader, struct query_request *query)
{
    struct body *body = reader->body;
    struct span key;
    unsigned seen = 0;
    query->root.query.limit = 10;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected a query object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine;
        if (!query_field_read(reader, key, query, &seen, &mine))
            return false;
        if (!mine && !read_own_field(reader, key, query, &seen))
            return false;
    }
    return !json_failed(&body->json) && query_node_check(reader, &query->root);
}
