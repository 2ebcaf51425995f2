/* The value of `query`: a vector, an id, or an object whose one key says what is asked. */
#include "server/query_node.h"

#include <inttypes.h>
#include <math.h>

enum {
    SEEN_FORM = 1,
    SEEN_MMR = 2,
    SEEN_POSITIVE = 4,
    SEEN_NEGATIVE = 8,
    SEEN_STRATEGY = 16,
    SEEN_TARGET = 32,
    SEEN_CONTEXT = 64,
    SEEN_DEFAULTS = 128
};

struct query_input *query_node_input(struct query_node *node, struct body *body)
{
    if (node->input_count == QUERY_EXAMPLES_MAX) {
        (void)refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                     "a query has more than %u examples", QUERY_EXAMPLES_MAX);
        return NULL;
    }
    if (node->input_count == node->input_capacity) {
        const size_t capacity = node->input_capacity == 0 ? 4 : 2 * node->input_capacity;
        struct query_input *larger =
            arena_allocate(body->arena, size_product(capacity, sizeof *larger));
        if (node->input_count > 0)
            memcpy(larger, node->inputs, node->input_count * sizeof *larger);
        node->inputs = larger;
        node->input_capacity = capacity;
    }
    return &node->inputs[node->input_count++];
}

static bool read_input(struct body *body, const char *name, struct query_node *node)
{
    struct query_input *input = query_node_input(node, body);
    return input != NULL && query_input_read(body, name, input);
}

static bool enter_object(struct body *body, const char *name)
{
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "%s: expected an object", name);
    return json_enter_object(&body->json);
}

/* One of some words; *value its number. */
static bool read_word(struct body *body, const char *name, const char *const *words, size_t count,
                      int *value)
{
    struct span text;
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "%s: expected a string", name);
    if (!json_string(&body->json, &text))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (key_is(text, words[i])) {
            *value = (int)i;
            return true;
        }
    }
    return json_fail(&body->json, "%s: unknown variant `%.*s`", name, (int)text.bytes,
                     (const char *)text.data);
}

/* ---- nearest ---- */

static bool read_diversity(struct body *body, struct query_node *node)
{
    double diversity = 0.5;
    bool present = false;
    if (!field_double(body, "query.mmr.diversity", 0, &diversity, &present))
        return false;
    if (!(diversity <= 1))
        return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                      "%squery.mmr.diversity: value %g invalid, must be from 0.0 to 1.0",
                      body->path, diversity);
    node->query.lambda = 1.0f - (float)diversity;
    return true;
}

static bool read_candidates(struct body *body, struct query_node *node)
{
    uint64_t most = UINT64_MAX;
    if (!field_u64(body, "query.mmr.candidates_limit", 0, &most))
        return false;
    if (most == UINT64_MAX)
        return true;
    if (most > QUERY_MMR_CANDIDATES_MAX)
        return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                      "%squery.mmr.candidates_limit: value %" PRIu64
                      " invalid, must be from 0 to %u",
                      body->path, most, QUERY_MMR_CANDIDATES_MAX);
    node->has_candidates = true;
    node->query.candidates_limit = most;
    return true;
}

static bool read_mmr(struct body *body, struct query_node *node)
{
    struct span key;
    if (field_null(body))
        return true;
    if (!enter_object(body, "query.mmr"))
        return false;
    node->query.mmr = true;
    node->query.lambda = 0.5f;
    while (json_key(&body->json, &key)) {
        const bool good = key_is(key, "diversity")          ? read_diversity(body, node)
                          : key_is(key, "candidates_limit") ? read_candidates(body, node)
                                                            : json_skip(&body->json);
        if (!good)
            return false;
    }
    return !json_failed(&body->json);
}

/* ---- recommend ---- */

bool query_inputs_read(struct body *body, const char *name, struct query_node *node)
{
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "%s: expected an array of vectors or ids", name);
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!read_input(body, name, node))
            return false;
    }
    return !json_failed(&body->json);
}

bool query_strategy_read(struct body *body, struct query_node *node)
{
    static const char *const words[] = {"average_vector", "best_score", "sum_scores"};
    int value = RECOMMEND_AVERAGE;
    if (!field_null(body) && !read_word(body, "strategy", words, 3, &value))
        return false;
    node->query.strategy = (enum recommend_strategy)value;
    return true;
}

/* Negatives may come before positives; positives stand first in the end. */
static bool read_recommend(struct body *body, struct query_node *node)
{
    struct query_node positive = {0}, negative = {0};
    struct span key;
    unsigned seen = 0;
    if (!enter_object(body, "query.recommend"))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "positive"))
            good = field_once(body, &seen, SEEN_POSITIVE, "positive") &&
                   query_inputs_read(body, "query.recommend.positive", &positive);
        else if (key_is(key, "negative"))
            good = field_once(body, &seen, SEEN_NEGATIVE, "negative") &&
                   query_inputs_read(body, "query.recommend.negative", &negative);
        else if (key_is(key, "strategy"))
            good = field_once(body, &seen, SEEN_STRATEGY, "strategy") &&
                   query_strategy_read(body, node);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    return !json_failed(&body->json) && query_recommend_set(body, node, &positive, &negative);
}

bool query_recommend_set(struct body *body, struct query_node *node,
                         const struct query_node *positive, const struct query_node *negative)
{
    node->query.kind = QUERY_RECOMMEND;
    node->query.positive_count = positive->input_count;
    for (size_t i = 0; i < positive->input_count + negative->input_count; i++) {
        struct query_input *input = query_node_input(node, body);
        if (input == NULL)
            return false;
        *input = i < positive->input_count ? positive->inputs[i]
                                           : negative->inputs[i - positive->input_count];
    }
    if (node->input_count == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                      "%srecommend: at least one positive or negative example is required",
                      body->path);
    if (node->query.strategy == RECOMMEND_AVERAGE && positive->input_count == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "Positive vectors should not be empty with `average` strategy");
    return true;
}

/* ---- discover and context ---- */

static bool read_pair(struct body *body, struct query_node *node)
{
    struct query_input pair[2];
    struct span key;
    unsigned seen = 0;
    if (!enter_object(body, "context"))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "positive"))
            good = field_once(body, &seen, SEEN_POSITIVE, "positive") &&
                   query_input_read(body, "context.positive", &pair[0]);
        else if (key_is(key, "negative"))
            good = field_once(body, &seen, SEEN_NEGATIVE, "negative") &&
                   query_input_read(body, "context.negative", &pair[1]);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if (seen != (SEEN_POSITIVE | SEEN_NEGATIVE))
        return json_fail(&body->json, "context: a pair has a `positive` and a `negative`");
    for (size_t i = 0; i < 2; i++) {
        struct query_input *input = query_node_input(node, body);
        if (input == NULL)
            return false;
        *input = pair[i];
    }
    return true;
}

bool query_pairs_read(struct body *body, const char *name, struct query_node *node)
{
    if (field_null(body))
        return true;
    if (json_peek(&body->json) == JSON_OBJECT)
        return read_pair(body, node);
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "%s: expected a pair of examples or an array of pairs", name);
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!read_pair(body, node))
            return false;
    }
    return !json_failed(&body->json);
}

static bool read_context(struct body *body, struct query_node *node)
{
    node->query.kind = QUERY_CONTEXT;
    if (!query_pairs_read(body, "query.context", node))
        return false;
    return node->input_count > 0 || refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                                           "context needs at least one pair of examples");
}

bool query_discover_set(struct body *body, struct query_node *node,
                        const struct query_input *target, const struct query_node *pairs)
{
    node->query.kind = QUERY_DISCOVER;
    for (size_t i = 0; i <= pairs->input_count; i++) {
        struct query_input *input = query_node_input(node, body);
        if (input == NULL)
            return false;
        *input = i == 0 ? *target : pairs->inputs[i - 1];
    }
    return true;
}

static bool read_discover(struct body *body, struct query_node *node)
{
    struct query_input target;
    struct query_node pairs = {0};
    struct span key;
    unsigned seen = 0;
    if (!enter_object(body, "query.discover"))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "target"))
            good = field_once(body, &seen, SEEN_TARGET, "target") &&
                   query_input_read(body, "query.discover.target", &target);
        else if (key_is(key, "context"))
            good = field_once(body, &seen, SEEN_CONTEXT, "context") &&
                   query_pairs_read(body, "query.discover.context", &pairs);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if ((seen & SEEN_TARGET) == 0)
        return json_fail(&body->json, "query.discover: missing field `target`");
    return query_discover_set(body, node, &target, &pairs);
}

/* ---- fusion, sample ---- */

static bool read_fusion(struct body *body, struct query_node *node)
{
    static const char *const words[] = {"rrf", "dbsf"};
    int value = 0;
    if (!read_word(body, "query.fusion", words, 2, &value))
        return false;
    node->query.kind = value == 0 ? QUERY_RRF : QUERY_DBSF;
    node->query.rrf_k = FUSION_RRF_K;
    return true;
}

static bool read_weights(struct body *body, struct query_node *node)
{
    float *weights;
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "query.rrf.weights: expected an array of numbers");
    if (!json_floats_arena(&body->json, &weights, &node->weight_count, QUERY_EXAMPLES_MAX))
        return false;
    node->query.weights = weights;
    return true;
}

static bool read_rrf(struct body *body, struct query_node *node)
{
    struct span key;
    uint64_t k = (uint64_t)FUSION_RRF_K;
    node->query.kind = QUERY_RRF;
    if (!enter_object(body, "query.rrf"))
        return false;
    while (json_key(&body->json, &key)) {
        const bool good = key_is(key, "k")         ? field_u64(body, "query.rrf.k", 1, &k)
                          : key_is(key, "weights") ? read_weights(body, node)
                                                   : json_skip(&body->json);
        if (!good)
            return false;
    }
    node->query.rrf_k = (double)k;
    return !json_failed(&body->json);
}

static bool read_sample(struct body *body, struct query_node *node)
{
    static const char *const words[] = {"random"};
    int value;
    node->query.kind = QUERY_SAMPLE;
    return read_word(body, "query.sample", words, 1, &value);
}

/* ---- which ---- */

static bool read_nearest(struct body *body, struct query_node *node)
{
    node->query.kind = QUERY_NEAREST;
    return read_input(body, "query", node);
}

static bool read_order(struct body *body, struct query_node *node)
{
    node->query.kind = QUERY_ORDER_BY;
    return query_order_read(body, &node->query.order);
}

/* Built when `defaults` is known too, which may come later. */
static bool read_formula(struct body *body, struct query_node *node)
{
    node->query.kind = QUERY_FORMULA;
    return json_value(&body->json, &node->formula);
}

static bool read_defaults(struct body *body, struct query_node *node)
{
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "query.defaults: expected an object");
    return json_value(&body->json, &node->defaults);
}

static bool refuse_unbuilt(struct body *body, struct query_node *node)
{
    (void)node;
    return refuse_unsupported(&body->refusal, body->arena, "query.relevance_feedback");
}

static const struct form {
    const char *name;
    bool (*read)(struct body *body, struct query_node *node);
} forms[] = {
    {"nearest", read_nearest},   {"recommend", read_recommend},
    {"discover", read_discover}, {"context", read_context},
    {"order_by", read_order},    {"fusion", read_fusion},
    {"rrf", read_rrf},           {"formula", read_formula},
    {"sample", read_sample},     {"relevance_feedback", refuse_unbuilt},
};

static bool read_member(struct body *body, struct query_node *node, struct span key, unsigned *seen)
{
    if (key_is(key, "mmr"))
        return field_once(body, seen, SEEN_MMR, "mmr") && read_mmr(body, node);
    if (key_is(key, "defaults"))
        return field_once(body, seen, SEEN_DEFAULTS, "defaults") && read_defaults(body, node);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (key_is(key, forms[i].name))
            return field_once(body, seen, SEEN_FORM, forms[i].name) && forms[i].read(body, node);
    }
    if (key_is(key, "text") || key_is(key, "image") || key_is(key, "model") ||
        key_is(key, "object"))
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "InferenceService is not initialized: this server makes no embeddings, send "
                      "vectors");
    return json_fail(&body->json, "query: unknown variant `%.*s`", (int)key.bytes,
                     (const char *)key.data);
}

/* {"indices", "values"} is a vector, not a form: seen by a copy of the scanner. */
static bool is_sparse(const struct json *json)
{
    struct json inside = *json;
    struct span key;
    return json_enter_object(&inside) && json_key(&inside, &key) &&
           (key_is(key, "indices") || key_is(key, "values"));
}

bool query_form_read(struct body *body, struct query_node *node)
{
    struct span key;
    unsigned seen = 0;
    node->has_query = true;
    if (json_peek(&body->json) != JSON_OBJECT || is_sparse(&body->json))
        return read_nearest(body, node);
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_member(body, node, key, &seen))
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if ((seen & SEEN_FORM) == 0)
        return json_fail(&body->json,
                         "query: expected a vector, an id or an object with `nearest`");
    return node->query.kind != QUERY_FORMULA || query_formula_build(body, node);
}
