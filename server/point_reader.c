#include "server/point_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "server/config.h"

enum { SEEN_ID = 1, SEEN_VECTOR = 2, SEEN_PAYLOAD = 4, SEEN_DEFAULT = 8 };

void request_id_draw(uint8_t request_id[16])
{
    /* Up to 256 bytes are never cut short nor interrupted once the source is seeded. */
    if (getrandom(request_id, 16, 0) != 16) {
        fputs("kith: the kernel gives no random bytes\n", stderr);
        abort();
    }
}

void point_reader_begin(struct point_reader *reader, const struct collection *collection,
                        const struct config *config, struct arena *arena)
{
    uint16_t number = 0;
    const struct vector_settings *vector =
        settings_find_vector(collection_settings(collection), (struct span){0}, &number);
    const uint32_t dim = vector == NULL ? 0 : vector->dim;
    *reader = (struct point_reader){
        .codec = collection_codec(collection, number),
        .metric = vector == NULL ? METRIC_COSINE : vector->metric,
        .dim = dim,
        .payload_bytes_max = config->strict.payload_bytes_max,
        .row = arena_allocate(arena, size_product(dim + 1, sizeof(float))),
    };
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

bool vector_read_array(const struct point_reader *reader, struct body *body, float *row)
{
    struct json before = body->json;
    size_t count = 0;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "vector: expected an array of numbers");
    if (reader->dim == 0)
        return refuse_name(body, span_text(""));
    if (!json_floats(&body->json, row, reader->dim, &count))
        return refuse_array(body, &before);
    if (count != reader->dim)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Vector dimension error: expected dim: %" PRIu32 ", got %zu", reader->dim,
                      count);
    if (!vector_is_sane(row, reader->dim))
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT, VECTOR_TOO_LONG_TEXT,
                      (double)VECTOR_NORM2_MAX);
    return true;
}

static bool vector_read_default(const struct point_reader *reader, struct body *body, float *row,
                                bool *present)
{
    if (field_null(body))
        return true;
    if (json_peek(&body->json) == JSON_OBJECT)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Conversion between sparse and regular vectors failed");
    *present = true;
    return vector_read_array(reader, body, row);
}

bool vector_read(const struct point_reader *reader, struct body *body, float *row, bool *present)
{
    unsigned seen = 0;
    struct span name;
    *present = false;
    if (json_peek(&body->json) == JSON_ARRAY) {
        *present = true;
        return vector_read_array(reader, body, row);
    }
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json,
                         "vector: expected an array of numbers or an object of named vectors");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &name)) {
        if (name.bytes != 0 || reader->dim == 0)
            return refuse_name(body, name);
        if (!field_once(body, &seen, SEEN_DEFAULT, "") ||
            !vector_read_default(reader, body, row, present))
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

void point_put(struct point_reader *reader, const struct point *point)
{
    if (point->row != NULL)
        vector_prepare(reader, point->row);
    op_put_point(reader->op, &point->id, point->payload);
    const struct vector_data vector = {.kind = VECTOR_DENSE, .dim = reader->dim, .count = 1};
    if (point->row != NULL)
        memcpy(op_put_vector(reader->op, &vector), point->row, reader->dim * sizeof(float));
}

static bool read_member(struct point_reader *reader, struct body *body, struct span key,
                        struct point *point, unsigned *seen)
{
    bool present = false;
    if (key_is(key, "id"))
        return field_once(body, seen, SEEN_ID, "id") && api_read_id(&body->json, &point->id);
    if (key_is(key, "payload"))
        return field_once(body, seen, SEEN_PAYLOAD, "payload") &&
               payload_read(reader, body, &point->payload);
    if (!key_is(key, "vector") && !key_is(key, "vectors"))
        return json_skip(&body->json);
    if (field_null(body))
        return true;
    if (!field_once(body, seen, SEEN_VECTOR, "vector") ||
        !vector_read(reader, body, reader->row, &present))
        return false;
    point->row = present ? reader->row : NULL;
    return true;
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
