/* Vectors of queries, in every form the API knows: numbers, rows of numbers, sparse, or an id. */
#include "server/query_node.h"

#include <inttypes.h>

#include "server/point_reader.h"
#include "server/sparse_reader.h"

#define MULTI_ROWS_MAX (UINT32_C(1) << 16)

/* ---- dense and multi ---- */

static bool read_dense(struct body *body, struct query_vector *vector)
{
    float *floats;
    size_t count;
    if (!json_floats_arena(&body->json, &floats, &count, CODEC_DIM_MAX))
        return false;
    *vector = (struct query_vector){
        .kind = VECTOR_DENSE, .floats = floats, .count = 1, .dim = (uint32_t)count};
    return true;
}

struct rows {
    float *floats;
    size_t count, capacity; /* floats */
    size_t dim, row_count;
};

static bool add_row(struct body *body, struct rows *rows)
{
    float *row;
    size_t dim;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "vector: expected an array of arrays of numbers");
    if (!json_floats_arena(&body->json, &row, &dim, CODEC_DIM_MAX))
        return false;
    if (rows->row_count == MULTI_ROWS_MAX || dim == 0 || (rows->row_count > 0 && dim != rows->dim))
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "all vectors of a multivector must have the same dimension, and it has at "
                      "most %u vectors",
                      MULTI_ROWS_MAX);
    if (rows->count + dim > rows->capacity) {
        rows->capacity = 2 * (rows->count + dim);
        float *larger = arena_allocate(body->arena, size_product(rows->capacity, sizeof(float)));
        if (rows->count > 0)
            memcpy(larger, rows->floats, rows->count * sizeof(float));
        rows->floats = larger;
    }
    memcpy(rows->floats + rows->count, row, dim * sizeof(float));
    rows->count += dim;
    rows->dim = dim;
    rows->row_count++;
    return true;
}

static bool read_multi(struct body *body, struct query_vector *vector)
{
    struct rows rows = {0};
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!add_row(body, &rows))
            return false;
    }
    *vector = (struct query_vector){.kind = VECTOR_MULTI,
                                    .floats = rows.floats,
                                    .count = rows.row_count,
                                    .dim = (uint32_t)rows.dim};
    return !json_failed(&body->json);
}

/* An array of numbers, or of arrays: seen by a copy of the scanner. */
static bool is_multi(const struct json *json)
{
    struct json inside = *json;
    return json_enter_array(&inside) && json_element(&inside) && json_peek(&inside) == JSON_ARRAY;
}

static bool read_sparse(struct body *body, const char *name, struct query_vector *vector)
{
    struct sparse_pairs pairs;
    if (!sparse_read(body, name, &pairs))
        return false;
    *vector = (struct query_vector){.kind = VECTOR_SPARSE,
                                    .floats = pairs.values,
                                    .indices = pairs.indices,
                                    .count = pairs.count};
    return true;
}

bool query_input_read(struct body *body, const char *name, struct query_input *input)
{
    struct json *json = &body->json;
    *input = (struct query_input){0};
    switch ((int)json_peek(json)) {
    case JSON_ARRAY:
        return is_multi(json) ? read_multi(body, &input->vector) : read_dense(body, &input->vector);
    case JSON_OBJECT:
        return read_sparse(body, name, &input->vector);
    default:
        input->by_id = true;
        return api_read_id(body, &input->id);
    }
}

/* ---- does it fit? ---- */

static bool refuse_kind(struct body *body, enum vector_kind given, enum vector_kind wanted)
{
    const bool sparse = given == VECTOR_SPARSE || wanted == VECTOR_SPARSE;
    return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                  "Conversion between %s and regular vectors failed", sparse ? "sparse" : "multi");
}

bool query_vector_fit(struct body *body, const struct vector_settings *settings,
                      struct query_vector *vector)
{
    if (vector->kind == VECTOR_DENSE && settings->kind == VECTOR_MULTI)
        vector->kind = VECTOR_MULTI;
    if (vector->kind != settings->kind)
        return refuse_kind(body, vector->kind, settings->kind);
    if (settings->kind == VECTOR_SPARSE)
        return true;
    if (vector->dim != settings->dim || vector->count == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Vector dimension error: expected dim: %" PRIu32 ", got %" PRIu32,
                      settings->dim, vector->dim);
    for (size_t i = 0; i < vector->count; i++) {
        if (!vector_is_sane(vector->floats + i * vector->dim, vector->dim))
            return refuse(&body->refusal, body->arena, REFUSAL_INPUT, VECTOR_TOO_LONG_TEXT,
                          (double)VECTOR_NORM2_MAX);
    }
    return true;
}

static bool uses_vector(enum query_kind kind)
{
    return kind == QUERY_NEAREST || kind == QUERY_RECOMMEND || kind == QUERY_DISCOVER ||
           kind == QUERY_CONTEXT;
}

bool query_vectors_fit(struct body *body, const struct collection_settings *settings,
                       struct query_node *node)
{
    if (!uses_vector(node->query.kind))
        return true;
    const struct vector_settings *vector =
        settings_find_vector(settings, node->query.using, &node->query.vector_number);
    if (vector == NULL || vector->kind == VECTOR_NONE)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Not existing vector name error: %.*s", (int)node->query.using.bytes,
                      (const char *)node->query.using.data);
    for (size_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i].by_id && !query_vector_fit(body, vector, &node->inputs[i].vector))
            return false;
    }
    return true;
}
