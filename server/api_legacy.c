/* The routes before /points/query: search, recommend and discover, as translations into it. */
#include "server/api_query.h"

#include "server/handlers.h"
#include "server/query_groups.h"

/* Bits beside those of query_groups.c. */
enum {
    SEEN_VECTOR = QUERY_SEEN_OWN * 8,
    SEEN_LIMIT = QUERY_SEEN_OWN * 16,
    SEEN_OFFSET = QUERY_SEEN_OWN * 32,
    SEEN_POSITIVE = QUERY_SEEN_OWN * 64,
    SEEN_NEGATIVE = QUERY_SEEN_OWN * 128,
    SEEN_STRATEGY = QUERY_SEEN_OWN * 256,
    SEEN_TARGET = QUERY_SEEN_OWN * 512,
    SEEN_CONTEXT = QUERY_SEEN_OWN * 1024,
};

struct legacy {
    const struct query_reader *reader;
    struct query_request *query;
    unsigned seen;
    struct query_node positive, negative, pairs; /* inputs only */
    struct query_input target;
    bool has_target;
};

/* ---- fields ---- */

/* {"name": ..., "vector": ...}: of a search in a named vector. */
static bool read_named(struct legacy *legacy, struct query_input *input)
{
    struct body *body = legacy->reader->body;
    struct query_node *node = &legacy->query->root;
    struct span key;
    unsigned seen = 0;
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "name")) {
            node->has_using = true;
            good = json_peek(&body->json) == JSON_STRING
                       ? json_string(&body->json, &node->query.using)
                       : json_fail(&body->json, "vector.name: expected a string");
        } else if (key_is(key, "vector")) {
            good = field_once(body, &seen, 1, "vector") &&
                   query_input_read(body, "vector.vector", input);
        } else {
            good = json_skip(&body->json);
        }
        if (!good)
            return false;
    }
    return !json_failed(&body->json) &&
           (seen != 0 || json_fail(&body->json, "vector: missing field `vector`"));
}

static bool read_vector(struct legacy *legacy)
{
    struct body *body = legacy->reader->body;
    struct query_node *node = &legacy->query->root;
    struct query_input *input = query_node_input(node, body);
    node->query.kind = QUERY_NEAREST;
    node->has_query = true;
    const bool good = json_peek(&body->json) == JSON_OBJECT
                          ? read_named(legacy, input)
                          : query_input_read(body, "vector", input);
    return good &&
           (!input->by_id || json_fail(&body->json, "vector: expected a vector, found an id"));
}

static bool read_target(struct legacy *legacy)
{
    struct body *body = legacy->reader->body;
    if (field_null(body))
        return true;
    legacy->has_target = true;
    return query_input_read(body, "target", &legacy->target);
}

/* `top` is what `limit` was called. */
static bool read_paging(struct legacy *legacy, struct span key, bool *mine)
{
    struct body *body = legacy->reader->body;
    struct query *query = &legacy->query->root.query;
    *mine = true;
    if (key_is(key, "limit") || key_is(key, "top"))
        return field_once(body, &legacy->seen, SEEN_LIMIT, "limit") &&
               field_u64(body, "limit", 1, &query->limit);
    if (key_is(key, "offset") && legacy->query->groups == NULL)
        return field_once(body, &legacy->seen, SEEN_OFFSET, "offset") &&
               field_u64(body, "offset", 0, &query->offset);
    *mine = false;
    return true;
}

typedef bool form_field(struct legacy *legacy, struct span key, bool *mine);

static bool search_field(struct legacy *legacy, struct span key, bool *mine)
{
    *mine = key_is(key, "vector");
    return !*mine || (field_once(legacy->reader->body, &legacy->seen, SEEN_VECTOR, "vector") &&
                      read_vector(legacy));
}

static bool recommend_field(struct legacy *legacy, struct span key, bool *mine)
{
    struct body *body = legacy->reader->body;
    *mine = true;
    if (key_is(key, "positive"))
        return field_once(body, &legacy->seen, SEEN_POSITIVE, "positive") &&
               query_inputs_read(body, "positive", &legacy->positive);
    if (key_is(key, "negative"))
        return field_once(body, &legacy->seen, SEEN_NEGATIVE, "negative") &&
               query_inputs_read(body, "negative", &legacy->negative);
    if (key_is(key, "strategy"))
        return field_once(body, &legacy->seen, SEEN_STRATEGY, "strategy") &&
               query_strategy_read(body, &legacy->query->root);
    *mine = false;
    return true;
}

static bool discover_field(struct legacy *legacy, struct span key, bool *mine)
{
    struct body *body = legacy->reader->body;
    *mine = true;
    if (key_is(key, "target"))
        return field_once(body, &legacy->seen, SEEN_TARGET, "target") && read_target(legacy);
    if (key_is(key, "context"))
        return field_once(body, &legacy->seen, SEEN_CONTEXT, "context") &&
               query_pairs_read(body, "context", &legacy->pairs);
    *mine = false;
    return true;
}

/* ---- bodies ---- */

static bool read_field(struct legacy *legacy, struct span key, form_field *own)
{
    bool mine;
    struct query_request *query = legacy->query;
    if (!own(legacy, key, &mine) || mine)
        return mine && !json_failed(&legacy->reader->body->json) &&
               legacy->reader->body->refusal.kind == REFUSAL_NONE;
    if (!read_paging(legacy, key, &mine))
        return false;
    /* not of these routes, whatever the newer ones make of them */
    const bool foreign = key_is(key, "query") || key_is(key, "prefetch");
    if (!mine && !foreign && !query_field_read(legacy->reader, key, query, &legacy->seen, &mine))
        return false;
    if (!mine && query->groups != NULL &&
        !query_groups_field(legacy->reader, key, query->groups, &legacy->seen, &mine))
        return false;
    return mine || json_skip(&legacy->reader->body->json);
}

static bool read_body(struct legacy *legacy, form_field *own)
{
    struct body *body = legacy->reader->body;
    struct span key;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected a query object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(legacy, key, own))
            return false;
    }
    if (!json_failed(&body->json) && (legacy->seen & SEEN_LIMIT) == 0)
        return json_fail(&body->json, "missing field `limit`");
    return !json_failed(&body->json);
}

bool legacy_search_read(const struct query_reader *reader, struct query_request *query)
{
    struct legacy legacy = {.reader = reader, .query = query};
    if (!read_body(&legacy, search_field))
        return false;
    if ((legacy.seen & SEEN_VECTOR) == 0)
        return json_fail(&reader->body->json, "missing field `vector`");
    return query_node_check(reader, &query->root);
}

bool legacy_recommend_read(const struct query_reader *reader, struct query_request *query)
{
    struct legacy legacy = {.reader = reader, .query = query};
    query->root.has_query = true;
    return read_body(&legacy, recommend_field) &&
           query_recommend_set(reader->body, &query->root, &legacy.positive, &legacy.negative) &&
           query_node_check(reader, &query->root);
}

/* Without a target it is a context search; with neither there is nothing to search by. */
bool legacy_discover_read(const struct query_reader *reader, struct query_request *query)
{
    struct legacy legacy = {.reader = reader, .query = query};
    struct query_node *root = &query->root;
    struct body *body = reader->body;
    root->has_query = true;
    if (!read_body(&legacy, discover_field))
        return false;
    if (legacy.has_target) {
        if (!query_discover_set(body, root, &legacy.target, &legacy.pairs))
            return false;
    } else if (legacy.pairs.input_count == 0) {
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST, "No target or context given");
    } else {
        root->query.kind = QUERY_CONTEXT;
        root->inputs = legacy.pairs.inputs;
        root->input_count = legacy.pairs.input_count;
        root->input_capacity = legacy.pairs.input_capacity;
    }
    return query_node_check(reader, root);
}

/* ---- handlers ---- */

void api_points_search(struct call *call)
{
    query_call_one(call, legacy_search_read, true);
}

void api_points_search_batch(struct call *call)
{
    query_call_batch(call, legacy_search_read, true);
}

void api_points_recommend(struct call *call)
{
    query_call_one(call, legacy_recommend_read, true);
}

void api_points_recommend_batch(struct call *call)
{
    query_call_batch(call, legacy_recommend_read, true);
}

void api_points_discover(struct call *call)
{
    query_call_one(call, legacy_discover_read, true);
}

void api_points_discover_batch(struct call *call)
{
    query_call_batch(call, legacy_discover_read, true);
}
