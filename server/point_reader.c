#include "server/point_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "server/config.h"
#include "server/sparse_reader.h"

enum { SEEN_ID = 1, SEEN_VECTOR = 2, SEEN_PAYLOAD = 4 };

void request_id_draw(uint8_t request_id[16])
{
    /* Up to 256 bytes are never cut short nor interrupted once the source is seeded. */
    if (getrandom(request_id, 16, 0) != 16) {
        fputs("kith: the kernel gives no random bytes\n", stderr);
        abort();
    }
}

static void set_default(struct point_reader *reader)
{
    reader->dim = 0;
    reader->metric = METRIC_COSINE;
    for (uint32_t i = 0; i < reader->vector_count; i++) {
        const struct vector_settings *vector = &reader->vectors[i];
        if (vector->kind == VECTOR_DENSE && vector->name.bytes == 0) {
            reader->number = (uint16_t)i;
            reader->metric = vector->metric;
            reader->dim = vector->dim;
        }
    }
    reader->codec = reader->collection == NULL || reader->dim == 0
                        ? NULL
                        : collection_codec(reader->collection, reader->number);
}

static void set_collection(struct point_reader *reader, const struct collection *collection)
{
    const struct collection_settings *settings = collection_settings(collection);
    reader->collection = collection;
    reader->vectors = settings->vectors;
    reader->vector_count = settings->vector_count;
    set_default(reader);
}

static void make_rows(struct point_reader *reader)
{
    const size_t bytes = size_product(COLLECTION_VECTORS_MAX, sizeof *reader->rows);
    reader->rows = memset(arena_allocate(reader->arena, bytes), 0, bytes);
}

void point_reader_begin(struct point_reader *reader, const struct collection *collection,
                        const struct config *config, struct arena *arena)
{
    *reader = (struct point_reader){.arena = arena,
                                    .payload_bytes_max = config->strict.payload_bytes_max};
    set_collection(reader, collection);
    make_rows(reader);
}

void point_reader_begin_dim(struct point_reader *reader, uint32_t dim, const struct config *config,
                            struct arena *arena)
{
    struct vector_settings *vector = arena_allocate(arena, sizeof *vector);
    *vector = (struct vector_settings){.kind = VECTOR_DENSE, .metric = METRIC_DOT, .dim = dim};
    *reader = (struct point_reader){.vectors = vector,
                                    .vector_count = 1,
                                    .arena = arena,
                                    .payload_bytes_max = config->strict.payload_bytes_max};
    set_default(reader);
    make_rows(reader);
}

bool point_reader_renew(struct point_reader *reader, const struct collection *collection)
{
    const uint32_t dim = reader->dim;
    const enum metric metric = reader->metric;
    set_collection(reader, collection);
    return reader->dim == dim && reader->metric == metric;
}

/* ---- vectors ---- */

/* Eight sums keep the additions of one from waiting for each other: 0.2 us for 768 floats. */
bool vector_is_sane(const float *row, uint32_t dim)
{
    float sums[8] = {0};
    uint32_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        for (uint32_t j = 0; j < 8; j++)
            sums[j] += row[i + j] * row[i + j];
    }
    for (; i < dim; i++)
        sums[0] += row[i] * row[i];
    float norm2 = 0;
    for (uint32_t j = 0; j < 8; j++)
        norm2 += sums[j];
    return norm2 <= VECTOR_NORM2_MAX;
}

void vector_prepare(const struct point_reader *reader, float *row)
{
    if (reader->metric == METRIC_COSINE && reader->codec != NULL)
        codec_normalise(reader->codec, row);
}

static bool refuse_name(struct body *body, struct span name)
{
    return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                  "Not existing vector name error: %.*s", (int)name.bytes, (const char *)name.data);
}

/* `before` is the scanner as it stood at the array: was it a list of lists? */
static bool refuse_array(struct body *body, const struct json *before)
{
    struct json inside = *before;
    if (json_enter_array(&inside) && json_element(&inside) && json_peek(&inside) == JSON_ARRAY) {
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Conversion between multi and regular vectors failed");
    }
    return json_fail_within(&body->json, "vector");
}

/* [numbers] of a dense vector into row[dim]. */
static bool read_floats(struct body *body, float *row, uint32_t dim)
{
    struct json before = body->json;
    size_t count = 0;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "vector: expected an array of numbers");
    if (!json_floats(&body->json, row, dim, &count))
        return refuse_array(body, &before);
    if (count != dim)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Vector dimension error: expected dim: %" PRIu32 ", got %zu", dim, count);
    if (!vector_is_sane(row, dim))
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT, VECTOR_TOO_LONG_TEXT,
                      (double)VECTOR_NORM2_MAX);
    return true;
}

bool vector_read_array(const struct point_reader *reader, struct body *body, float *row)
{
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "vector: expected an array of numbers");
    if (reader->dim == 0)
        return refuse_name(body, span_text(""));
    return read_floats(body, row, reader->dim);
}

static float *row_of(struct point_reader *reader, uint16_t number)
{
    struct reader_row *row = &reader->rows[number];
    const uint32_t dim = reader->vectors[number].dim;
    if (row->dim < dim) {
        row->floats = arena_allocate(reader->arena, size_product(dim, sizeof(float)));
        row->dim = dim;
    }
    return row->floats;
}

static bool refuse_sparse(struct body *body)
{
    return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                  "Conversion between sparse and regular vectors failed");
}

/* Is the array at hand a list of lists? */
static bool is_matrix(const struct json *json)
{
    struct json inside = *json;
    return json_enter_array(&inside) && json_element(&inside) && json_peek(&inside) == JSON_ARRAY;
}

/* Rows of a multivector, growing in the body's arena. */
struct matrix {
    uint8_t *data;
    uint32_t dim, count, capacity; /* rows */
};

static bool matrix_add(struct body *body, struct matrix *matrix)
{
    if (matrix->count == matrix->capacity) {
        const uint32_t most = VECTOR_MULTI_FLOATS_MAX / matrix->dim;
        if (matrix->count == most)
            return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                          "a multivector has at most %u floats", VECTOR_MULTI_FLOATS_MAX);
        const uint32_t wanted = matrix->capacity == 0 ? 8 : 2 * matrix->capacity;
        matrix->capacity = wanted < most ? wanted : most;
        const size_t row_bytes = matrix->dim * sizeof(float);
        uint8_t *data = arena_allocate(body->arena, size_product(matrix->capacity, row_bytes));
        if (matrix->count > 0)
            memcpy(data, matrix->data, matrix->count * row_bytes);
        matrix->data = data;
    }
    float *row = (float *)(void *)matrix->data + (size_t)matrix->count * matrix->dim;
    matrix->count++;
    return read_floats(body, row, matrix->dim);
}

/* [[numbers]], or [numbers] for a multivector of one. */
static bool read_multi(struct body *body, uint32_t dim, struct vector_data *vector)
{
    struct matrix matrix = {.dim = dim};
    if (!is_matrix(&body->json)) {
        struct json inside = body->json;
        if (!json_enter_array(&inside))
            return json_fail(&body->json, "vector: expected an array of arrays of numbers");
        if (json_peek(&inside) == JSON_ARRAY_END)
            return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                          "%svector: multivector must not be empty", body->path);
        if (!matrix_add(body, &matrix))
            return false;
    } else {
        (void)json_enter_array(&body->json);
        while (json_element(&body->json)) {
            if (!matrix_add(body, &matrix))
                return false;
        }
    }
    *vector = (struct vector_data){
        .kind = VECTOR_MULTI, .dim = dim, .count = matrix.count, .data = matrix.data};
    return !json_failed(&body->json);
}

static bool read_sparse(struct body *body, struct vector_data *vector)
{
    struct sparse_pairs pairs;
    if (!sparse_read(body, "vector.?", &pairs))
        return false;
    const size_t bytes = pairs.count * 4;
    uint8_t *data = arena_allocate(body->arena, 2 * bytes + 1);
    if (bytes > 0) {
        memcpy(data, pairs.indices, bytes);
        memcpy(data + bytes, pairs.values, bytes);
    }
    *vector =
        (struct vector_data){.kind = VECTOR_SPARSE, .count = (uint32_t)pairs.count, .data = data};
    return true;
}

/* One vector of a point as its settings ask for; not null. */
bool vector_read_one(struct point_reader *reader, struct body *body, uint16_t number,
                     struct vector_data *vector)
{
    const struct vector_settings *settings = &reader->vectors[number];
    const bool object = json_peek(&body->json) == JSON_OBJECT;
    bool good;
    if (object != (settings->kind == VECTOR_SPARSE))
        return refuse_sparse(body);
    if (settings->kind == VECTOR_DENSE) {
        float *row = row_of(reader, number);
        good = read_floats(body, row, settings->dim);
        *vector = (struct vector_data){
            .kind = VECTOR_DENSE, .dim = settings->dim, .count = 1, .data = (const uint8_t *)row};
    } else if (settings->kind == VECTOR_MULTI) {
        good = read_multi(body, settings->dim, vector);
    } else {
        good = read_sparse(body, vector);
    }
    vector->number = number;
    return good;
}

bool vector_find(const struct point_reader *reader, struct body *body, struct span name,
                 uint16_t *number)
{
    const struct collection_settings settings = {.vectors = reader->vectors,
                                                 .vector_count = reader->vector_count};
    return settings_find_vector(&settings, name, number) != NULL || refuse_name(body, name);
}

/* Make room for one more vector of the point, kept in order of numbers. */
static struct vector_data *point_add(struct body *body, struct point *point, uint16_t number)
{
    uint32_t i = point->vector_count;
    if ((i & (i - 1)) == 0) { /* full at every power of two */
        struct vector_data *larger =
            arena_allocate(body->arena, (i == 0 ? 1 : 2 * i) * sizeof *larger);
        if (i > 0)
            memcpy(larger, point->vectors, i * sizeof *larger);
        point->vectors = larger;
    }
    for (; i > 0 && point->vectors[i - 1].number > number; i--)
        point->vectors[i] = point->vectors[i - 1];
    point->vector_count++;
    return &point->vectors[i];
}

static bool read_named(struct point_reader *reader, struct body *body, struct span name,
                       struct vector_set *seen, struct point *point)
{
    uint16_t number;
    struct vector_data vector;
    if (!vector_find(reader, body, name, &number))
        return false;
    if (vector_set_has(seen, number))
        return json_fail(&body->json, "duplicate field `%.*s`", (int)name.bytes,
                         (const char *)name.data);
    vector_set_add(seen, number);
    if (field_null(body))
        return true;
    if (!vector_read_one(reader, body, number, &vector))
        return false;
    *point_add(body, point, number) = vector;
    return true;
}

static bool read_default(struct point_reader *reader, struct body *body, struct point *point)
{
    struct vector_set seen = {{0}};
    return read_named(reader, body, (struct span){0}, &seen, point);
}

bool vectors_read(struct point_reader *reader, struct body *body, struct point *point)
{
    struct vector_set seen = {{0}};
    struct span name;
    if (json_peek(&body->json) == JSON_ARRAY)
        return read_default(reader, body, point);
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json,
                         "vector: expected an array of numbers or an object of named vectors");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &name)) {
        if (!read_named(reader, body, name, &seen, point))
            return false;
    }
    return !json_failed(&body->json);
}

/* ---- payloads and points ---- */

bool payload_read(const struct point_reader *reader, struct body *body, struct span *payload)
{
    *payload = (struct span){0};
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "payload: expected an object or null");
    const char *begin = body->json.next;
    if (!json_value(&body->json, payload))
        return false;
    uint64_t bytes = (uint64_t)(body->json.next - begin);
    if (bytes <= reader->payload_bytes_max)
        return true;
    return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                  "payload of %" PRIu64 " bytes is larger than strict.payload_bytes_max (%" PRIu64
                  ")",
                  bytes, reader->payload_bytes_max);
}

float *point_reader_row(struct point_reader *reader)
{
    return row_of(reader, reader->number);
}

void point_set_row(struct point_reader *reader, struct point *point, float *row)
{
    point->vectors = &reader->row_vector;
    point->vector_count = 1;
    reader->row_vector = (struct vector_data){.number = reader->number,
                                              .kind = VECTOR_DENSE,
                                              .dim = reader->dim,
                                              .count = 1,
                                              .data = (const uint8_t *)row};
}

/* Cosine: to unit length, where it lies in the op. Rows of an op lie anywhere. */
static void normalise(struct point_reader *reader, const struct vector_data *vector, uint8_t *to)
{
    const size_t bytes = vector->dim * sizeof(float);
    float *row = row_of(reader, vector->number);
    for (uint32_t i = 0; i < vector->count; i++) {
        memcpy(row, to + i * bytes, bytes);
        codec_normalise(collection_codec(reader->collection, vector->number), row);
        memcpy(to + i * bytes, row, bytes);
    }
}

void point_put(struct point_reader *reader, const struct point *point)
{
    op_put_named_point(reader->op, &point->id, point->id_text, point->payload);
    for (uint32_t i = 0; i < point->vector_count; i++) {
        const struct vector_data *vector = &point->vectors[i];
        const size_t bytes = vector_data_bytes(vector);
        uint8_t *to = op_put_vector(reader->op, vector);
        if (bytes > 0)
            memcpy(to, vector->data, bytes);
        if (vector->dim > 0 && reader->vectors[vector->number].metric == METRIC_COSINE)
            normalise(reader, vector, to);
    }
}

static bool read_member(struct point_reader *reader, struct body *body, struct span key,
                        struct point *point, unsigned *seen)
{
    if (key_is(key, "id"))
        return field_once(body, seen, SEEN_ID, "id") &&
               api_read_id_text(body, &point->id, &point->id_text);
    if (key_is(key, "payload"))
        return field_once(body, seen, SEEN_PAYLOAD, "payload") &&
               payload_read(reader, body, &point->payload);
    if (!key_is(key, "vector") && !key_is(key, "vectors"))
        return json_skip(&body->json);
    if (field_null(body))
        return true;
    return field_once(body, seen, SEEN_VECTOR, "vector") && vectors_read(reader, body, point);
}

bool point_read(struct point_reader *reader, struct body *body, struct point *point)
{
    struct span key;
    unsigned seen = 0;
    *point = (struct point){0};
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected a point object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_member(reader, body, key, point, &seen))
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if ((seen & SEEN_ID) == 0)
        return json_fail(&body->json, "missing field `id`");
    if ((seen & SEEN_VECTOR) == 0)
        return json_fail(&body->json, "missing field `vector`");
    return true;
}
