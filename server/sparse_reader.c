#include "server/sparse_reader.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SEEN_INDICES = 1, SEEN_VALUES = 2 };

struct pair {
    uint32_t index;
    float value;
};

struct sparse {
    uint32_t *indices;
    float *values;
    size_t index_count, index_capacity, value_count;
};

static bool read_indices(struct body *body, struct sparse *sparse)
{
    uint64_t index;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "indices: expected an array of integers");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!json_u64(&body->json, &index))
            return false;
        if (index > UINT32_MAX)
            return json_fail(&body->json, "indices: %" PRIu64 " does not fit 32 bits", index);
        if (sparse->index_count == VECTOR_SPARSE_PAIRS_MAX)
            return json_fail(&body->json, "more than %u indices", VECTOR_SPARSE_PAIRS_MAX);
        if (sparse->index_count == sparse->index_capacity) {
            sparse->index_capacity = sparse->index_capacity == 0 ? 64 : 2 * sparse->index_capacity;
            uint32_t *larger =
                arena_allocate(body->arena, size_product(sparse->index_capacity, sizeof *larger));
            if (sparse->index_count > 0)
                memcpy(larger, sparse->indices, sparse->index_count * sizeof *larger);
            sparse->indices = larger;
        }
        sparse->indices[sparse->index_count++] = (uint32_t)index;
    }
    return !json_failed(&body->json);
}

static bool read_values(struct body *body, struct sparse *sparse)
{
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "values: expected an array of numbers");
    return json_floats_arena(&body->json, &sparse->values, &sparse->value_count,
                             VECTOR_SPARSE_PAIRS_MAX);
}

static int compare_pairs(const void *a, const void *b)
{
    const uint32_t x = ((const struct pair *)a)->index, y = ((const struct pair *)b)->index;
    return x < y ? -1 : x > y;
}

static bool refuse_rule(struct body *body, const char *name, const char *field, const char *rule)
{
    return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                  "%s%s.%s: Validation error: %s [{}]", body->path, name, field, rule);
}

static bool refuse_inference(struct body *body)
{
    return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                  "InferenceService is not initialized: this server makes no embeddings, send "
                  "vectors");
}

static bool sort_pairs(struct body *body, const char *name, struct sparse *sparse)
{
    const size_t count = sparse->index_count;
    struct pair *pairs = arena_allocate(body->arena, size_product(count + 1, sizeof *pairs));
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct pair){sparse->indices[i], sparse->values[i]};
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && pairs[i].index == pairs[i - 1].index)
            return refuse_rule(body, name, "indices", "must be unique");
        sparse->indices[i] = pairs[i].index;
        sparse->values[i] = pairs[i].value;
    }
    return true;
}

static bool read_field(struct body *body, struct span key, struct sparse *sparse, unsigned *seen)
{
    if (key_is(key, "indices"))
        return field_once(body, seen, SEEN_INDICES, "indices") && read_indices(body, sparse);
    if (key_is(key, "values"))
        return field_once(body, seen, SEEN_VALUES, "values") && read_values(body, sparse);
    return key_is(key, "model") ? refuse_inference(body) : json_skip(&body->json);
}

bool sparse_read(struct body *body, const char *name, struct sparse_pairs *pairs)
{
    struct sparse sparse = {0};
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "%s: expected an object of indices and values", name);
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(body, key, &sparse, &seen))
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if (seen != (SEEN_INDICES | SEEN_VALUES))
        return json_fail(&body->json, "%s: expected a vector, an id or {indices, values}", name);
    if (sparse.index_count != sparse.value_count)
        return refuse_rule(body, name, "values", "must be the same length as indices");
    *pairs = (struct sparse_pairs){sparse.indices, sparse.values, sparse.index_count};
    return sort_pairs(body, name, &sparse);
}
