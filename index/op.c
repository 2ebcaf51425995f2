/* A write as bytes: building and reading.
 *
 *     bytes      field
 *     0          format, 1
 *     1          kind (enum op_kind)
 *     2..3       0
 *     4..7       u32 dim: floats a vector
 *     8..23      request id
 *     24..27     u32 points (OP_DELETE: ids)
 *     28..31     u32 points with a vector
 *     32..       points, one after the other
 *
 * A point:
 *
 *     1          flags: 1 has a vector, 2 the id is a UUID, 4 has a payload
 *     8 or 16    id: u64 big-endian, or a UUID's bytes
 *     4          u32 payload bytes, only with flag 4
 *     4 * dim    the vector, only with flag 1
 *     n          the payload (a value), only with flag 4
 *
 * Integers and floats are little-endian where nothing else is said; nothing is aligned. Ops come
 * from our own builder, but also from logs and replicas later: op_open walks all points once and
 * refuses whatever does not fit exactly, so that op_next can only stop at the end. */
#include "index/op.h"

#include <assert.h>

#include "codec/codec.h"

#define OP_FORMAT 1
#define OP_HEADER_BYTES 32
#define OP_CAPACITY_MIN 1024

#define POINT_VECTOR 1u
#define POINT_UUID 2u
#define POINT_PAYLOAD 4u

/* ---- building ---- */

/* Room for `bytes` more at the end. Doubling leaves the smaller copies in the arena: at most as
 * much again as the op itself. */
static uint8_t *builder_extend(struct op_builder *builder, size_t bytes)
{
    const size_t needed = builder->bytes + bytes;
    assert(needed >= bytes);
    if (needed > builder->capacity) {
        const size_t twice = builder->capacity * 2;
        const size_t capacity = needed > twice ? needed : twice;
        uint8_t *data = arena_allocate(builder->arena, capacity);
        memcpy(data, builder->data, builder->bytes);
        builder->data = data;
        builder->capacity = capacity;
    }
    uint8_t *end = builder->data + builder->bytes;
    builder->bytes = needed;
    return end;
}

void op_begin(struct op_builder *builder, struct arena *arena, enum op_kind kind,
              const uint8_t request_id[16], uint32_t dim)
{
    assert(dim <= CODEC_DIM_MAX);
    *builder = (struct op_builder){.arena = arena, .dim = dim, .capacity = OP_CAPACITY_MIN};
    builder->data = arena_allocate(arena, builder->capacity);
    uint8_t *header = builder_extend(builder, OP_HEADER_BYTES);
    memset(header, 0, OP_HEADER_BYTES);
    header[0] = OP_FORMAT;
    header[1] = (uint8_t)kind;
    store32(header + 4, dim);
    memcpy(header + 8, request_id, 16);
}

/* Add one to a counter of the header. */
static void header_count(struct op_builder *builder, size_t offset)
{
    const uint32_t count = load32(builder->data + offset);
    assert(count < UINT32_MAX);
    store32(builder->data + offset, count + 1);
}

static size_t id_bytes(uint8_t flags)
{
    return flags & POINT_UUID ? 16 : 8;
}

uint8_t *op_put_point(struct op_builder *builder, const struct point_id *id, bool has_vector,
                      struct span payload)
{
    assert(payload.bytes <= UINT32_MAX);
    const uint8_t flags =
        (uint8_t)((has_vector ? POINT_VECTOR : 0u) | (id->kind == POINT_ID_UUID ? POINT_UUID : 0u) |
                  (payload.bytes > 0 ? POINT_PAYLOAD : 0u));
    const size_t vector_bytes = has_vector ? (size_t)builder->dim * sizeof(float) : 0;
    const size_t length_bytes = payload.bytes > 0 ? 4 : 0;
    uint8_t *next =
        builder_extend(builder, 1 + id_bytes(flags) + length_bytes + vector_bytes + payload.bytes);
    *next++ = flags;
    memcpy(next, id->bytes, id_bytes(flags));
    next += id_bytes(flags);
    uint8_t *vector = next + length_bytes;
    if (payload.bytes > 0) {
        store32(next, (uint32_t)payload.bytes);
        memcpy(vector + vector_bytes, payload.data, payload.bytes);
    }
    header_count(builder, 24);
    if (!has_vector) {
        return NULL;
    }
    header_count(builder, 28);
    return vector;
}

void op_put_id(struct op_builder *builder, const struct point_id *id)
{
    (void)op_put_point(builder, id, false, (struct span){NULL, 0});
}

struct span op_end(struct op_builder *builder)
{
    return span_of(builder->data, builder->bytes);
}

/* ---- reading ---- */

/* Cut `bytes` off the front; false when there are fewer. */
static bool take(struct span *rest, size_t bytes, const uint8_t **data)
{
    if (rest->bytes < bytes) {
        return false;
    }
    *data = rest->data;
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

/* One point off the front; false when the bytes are none. */
static bool read_point(const struct op_header *header, struct span *rest, struct op_point *point)
{
    const uint8_t *flags, *id, *length, *payload;
    const uint8_t allowed = header->kind == OP_DELETE ? POINT_UUID : 7u;
    if (!take(rest, 1, &flags) || (*flags & ~allowed) != 0 || !take(rest, id_bytes(*flags), &id)) {
        return false;
    }
    *point = (struct op_point){.id.kind = *flags & POINT_UUID ? POINT_ID_UUID : POINT_ID_NUMBER};
    memcpy(point->id.bytes, id, id_bytes(*flags));
    size_t payload_bytes = 0;
    if (*flags & POINT_PAYLOAD) {
        if (!take(rest, 4, &length) || load32(length) == 0) {
            return false;
        }
        payload_bytes = load32(length);
    }
    if ((*flags & POINT_VECTOR) &&
        !take(rest, (size_t)header->dim * sizeof(float), &point->vector)) {
        return false;
    }
    if (!take(rest, payload_bytes, &payload)) {
        return false;
    }
    point->payload = span_of(payload_bytes > 0 ? payload : NULL, payload_bytes);
    return true;
}

static bool read_header(struct span *rest, struct op_header *header)
{
    const uint8_t *data;
    if (!take(rest, OP_HEADER_BYTES, &data) || data[0] != OP_FORMAT || load16(data + 2) != 0 ||
        (data[1] != OP_UPSERT && data[1] != OP_DELETE)) {
        return false;
    }
    *header = (struct op_header){.kind = data[1] == OP_UPSERT ? OP_UPSERT : OP_DELETE,
                                 .dim = load32(data + 4),
                                 .point_count = load32(data + 24),
                                 .vector_count = load32(data + 28)};
    memcpy(header->request_id, data + 8, sizeof header->request_id);
    return header->dim <= CODEC_DIM_MAX && (header->dim > 0 || header->vector_count == 0);
}

enum error op_open(struct span op, struct op_header *header, struct span *points)
{
    struct span rest = op;
    if (!read_header(&rest, header)) {
        return ERROR_CORRUPT;
    }
    *points = rest;
    uint32_t vectors = 0;
    struct op_point point;
    /* Ends with the bytes: each point takes at least 9. */
    for (uint32_t i = 0; i < header->point_count; i++) {
        if (!read_point(header, &rest, &point)) {
            return ERROR_CORRUPT;
        }
        vectors += point.vector != NULL;
    }
    return rest.bytes == 0 && vectors == header->vector_count ? OK : ERROR_CORRUPT;
}

bool op_next(const struct op_header *header, struct span *points, struct op_point *point)
{
    return read_point(header, points, point);
}
