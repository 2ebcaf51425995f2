/* A write as bytes: building and reading.
 *
 *     bytes      field
 *     0          format, 2
 *     1          kind (enum op_kind)
 *     2..3       flags: 1 filter, 2 value, 4 paths, 8 insert only, 16 update only, 32 found
 *     4..7       0
 *     8..23      request id
 *     24..27     u32 points (all but OP_UPSERT: ids; OP_GROUP: ops)
 *     28..31     u32 vectors of all points
 *     32..       points, one after the other; then the clauses that the flags say, in their order
 *
 * A point:
 *
 *     1          flags: 1 has vectors, 2 the id is a UUID, 4 has a payload, 8 the id is a string
 *     8 or 16    id: u64 big-endian, a UUID's bytes, or a string's hash
 *     2          u16 bytes of the string, only with flag 8 in an OP_UPSERT; the string
 *     4          u32 payload bytes, only with flag 4
 *     n          the payload (a value), only with flag 4
 *     2          u16 vectors, only with flag 1; the vectors, their numbers ascending
 *
 * A vector:
 *
 *     2          u16 number in the collection's settings
 *     1          kind (enum vector_kind)
 *     1          0
 *     4          u32 dim
 *     4          u32 count
 *     n          as struct vector_data has them
 *
 * A filter and a value are u32 bytes and a value; paths are u32 bytes and texts, each u32 bytes and
 * the text. A group has no points and no clauses, but ops, each u32 bytes and the op.
 *
 * Integers and floats are little-endian where nothing else is said; nothing is aligned. Ops come
 * from our own builder, but also from logs and replicas later: op_open walks all points once and
 * refuses whatever does not fit exactly, so that op_next can only stop at the end. */
#include "index/op.h"

#include <assert.h>

#include "index/string_id.h"

#define OP_FORMAT 2
#define OP_HEADER_BYTES 32
#define OP_CAPACITY_MIN 1024

#define FLAG_FILTER 1u
#define FLAG_VALUE 2u
#define FLAG_PATHS 4u
#define FLAG_INSERT_ONLY 8u
#define FLAG_UPDATE_ONLY 16u
#define FLAG_FOUND 32u

#define VECTOR_HEADER_BYTES 12

#define POINT_VECTORS 1u
#define POINT_UUID 2u
#define POINT_PAYLOAD 4u
#define POINT_STRING 8u

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
              const uint8_t request_id[16])
{
    *builder = (struct op_builder){.arena = arena, .capacity = OP_CAPACITY_MIN};
    builder->data = arena_allocate(arena, builder->capacity);
    uint8_t *header = builder_extend(builder, OP_HEADER_BYTES);
    memset(header, 0, OP_HEADER_BYTES);
    header[0] = OP_FORMAT;
    header[1] = (uint8_t)kind;
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
    return flags & (POINT_UUID | POINT_STRING) ? 16 : 8;
}

void op_put_point(struct op_builder *builder, const struct point_id *id, struct span payload)
{
    op_put_named_point(builder, id, (struct span){0}, payload);
}

void op_put_named_point(struct op_builder *builder, const struct point_id *id, struct span text,
                        struct span payload)
{
    const bool named = builder->data[1] == OP_UPSERT && id->kind == POINT_ID_STRING;
    if (!named)
        text = (struct span){0};
    assert(payload.bytes <= UINT32_MAX && text.bytes <= POINT_ID_TEXT_BYTES_MAX);
    assert(!named || text.bytes > 0);
    const uint8_t flags = (uint8_t)((id->kind == POINT_ID_UUID ? POINT_UUID : 0u) |
                                    (id->kind == POINT_ID_STRING ? POINT_STRING : 0u) |
                                    (payload.bytes > 0 ? POINT_PAYLOAD : 0u));
    const size_t length_bytes = payload.bytes > 0 ? 4 : 0;
    const size_t text_bytes = text.bytes > 0 ? 2 + text.bytes : 0;
    builder->point = builder->bytes;
    builder->vectors = 0;
    uint8_t *next =
        builder_extend(builder, 1 + id_bytes(flags) + text_bytes + length_bytes + payload.bytes);
    *next++ = flags;
    memcpy(next, id->bytes, id_bytes(flags));
    next += id_bytes(flags);
    if (text.bytes > 0) {
        store16(next, (uint16_t)text.bytes);
        memcpy(next + 2, text.data, text.bytes);
        next += text_bytes;
    }
    if (payload.bytes > 0) {
        store32(next, (uint32_t)payload.bytes);
        memcpy(next + 4, payload.data, payload.bytes);
    }
    header_count(builder, 24);
}

uint8_t *op_put_vector(struct op_builder *builder, const struct vector_data *vector)
{
    assert(builder->point > 0 && vector_data_fits(vector));
    if (builder->vectors == 0) {
        builder->vectors = builder->bytes;
        store16(builder_extend(builder, 2), 0);
        builder->data[builder->point] |= POINT_VECTORS;
    }
    uint8_t *next = builder_extend(builder, VECTOR_HEADER_BYTES + vector_data_bytes(vector));
    const uint16_t count = load16(builder->data + builder->vectors);
    assert(count < UINT16_MAX);
    store16(builder->data + builder->vectors, (uint16_t)(count + 1));
    store16(next, vector->number);
    next[2] = vector->kind;
    next[3] = 0;
    store32(next + 4, vector->dim);
    store32(next + 8, vector->count);
    header_count(builder, 28);
    return next + VECTOR_HEADER_BYTES;
}

void op_put_id(struct op_builder *builder, const struct point_id *id)
{
    op_put_point(builder, id, (struct span){NULL, 0});
}

/* ---- clauses ---- */

static void header_flag(struct op_builder *builder, uint16_t flag)
{
    const uint16_t flags = load16(builder->data + 2);
    assert((flags & flag) == 0);
    store16(builder->data + 2, flags | flag);
}

static void put_sized(struct op_builder *builder, struct span bytes)
{
    assert(bytes.bytes > 0 && bytes.bytes <= UINT32_MAX);
    uint8_t *next = builder_extend(builder, 4 + bytes.bytes);
    store32(next, (uint32_t)bytes.bytes);
    memcpy(next + 4, bytes.data, bytes.bytes);
}

void op_put_mode(struct op_builder *builder, enum op_mode mode)
{
    if (mode != OP_MODE_UPSERT) {
        header_flag(builder, mode == OP_MODE_INSERT_ONLY ? FLAG_INSERT_ONLY : FLAG_UPDATE_ONLY);
    }
}

/* Clauses are stored in the order of their flags. */
static bool builder_is_before(const struct op_builder *builder, uint16_t flag)
{
    const uint16_t clauses = FLAG_FILTER | FLAG_VALUE | FLAG_PATHS;
    return (load16(builder->data + 2) & clauses) < flag;
}

void op_put_filter(struct op_builder *builder, struct span filter, bool found)
{
    assert(builder_is_before(builder, FLAG_FILTER));
    header_flag(builder, FLAG_FILTER);
    if (found) {
        header_flag(builder, FLAG_FOUND);
    }
    put_sized(builder, filter);
}

void op_put_value(struct op_builder *builder, struct span value)
{
    assert(builder_is_before(builder, FLAG_VALUE));
    header_flag(builder, FLAG_VALUE);
    put_sized(builder, value);
}

void op_put_paths(struct op_builder *builder, const struct span *paths, size_t path_count)
{
    assert(builder_is_before(builder, FLAG_PATHS) && path_count > 0 && path_count <= OP_PATHS_MAX);
    header_flag(builder, FLAG_PATHS);
    (void)builder_extend(builder, 4);
    const size_t begin = builder->bytes;
    for (size_t i = 0; i < path_count; i++) {
        put_sized(builder, paths[i]);
    }
    assert(builder->bytes - begin <= UINT32_MAX);
    store32(builder->data + begin - 4, (uint32_t)(builder->bytes - begin));
}

struct span op_end(struct op_builder *builder)
{
    return span_of(builder->data, builder->bytes);
}

struct span op_group(struct arena *arena, const uint8_t request_id[16], const struct span *ops,
                     size_t count)
{
    assert(count > 0 && count <= OP_GROUP_MAX);
    struct op_builder builder;
    op_begin(&builder, arena, OP_GROUP, request_id);
    for (size_t i = 0; i < count; i++) {
        put_sized(&builder, ops[i]);
    }
    store32(builder.data + 24, (uint32_t)count);
    return op_end(&builder);
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

/* One vector off the front; false when the bytes are none. */
static bool read_vector(struct span *rest, struct vector_data *vector)
{
    const uint8_t *header;
    if (!take(rest, VECTOR_HEADER_BYTES, &header) || header[3] != 0) {
        return false;
    }
    *vector = (struct vector_data){.number = load16(header),
                                   .kind = header[2],
                                   .dim = load32(header + 4),
                                   .count = load32(header + 8)};
    return vector_data_fits(vector) && take(rest, vector_data_bytes(vector), &vector->data);
}

/* A sparse vector's indices ascend. */
static bool indices_ascend(const struct vector_data *vector)
{
    for (size_t i = 1; vector->kind == VECTOR_SPARSE && i < vector->count; i++) {
        if (load32(vector->data + 4 * i) <= load32(vector->data + 4 * (i - 1))) {
            return false;
        }
    }
    return true;
}

/* The count of a point's vectors and the vectors off the front. */
static bool read_vectors(struct span *rest, struct op_point *point)
{
    const uint8_t *count;
    if (!take(rest, 2, &count) || load16(count) == 0) {
        return false;
    }
    point->vector_count = load16(count);
    point->vectors = *rest;
    struct vector_data vector;
    uint32_t least = 0;
    for (uint32_t i = 0; i < point->vector_count; i++) {
        if (!read_vector(rest, &vector) || vector.number < least || !indices_ascend(&vector)) {
            return false;
        }
        least = vector.number + 1u;
    }
    point->vectors.bytes -= rest->bytes;
    return true;
}

/* The string that the id stands for. */
static bool read_id_text(struct span *rest, struct op_point *point)
{
    const uint8_t *length, *text;
    if (!take(rest, 2, &length) || load16(length) == 0 ||
        load16(length) > POINT_ID_TEXT_BYTES_MAX || !take(rest, load16(length), &text)) {
        return false;
    }
    point->id_text = span_of(text, load16(length));
    const struct point_id id = point_id_string(point->id_text);
    return point_id_compare(&id, &point->id) == 0;
}

/* One point off the front; false when the bytes are none. */
static bool read_point(const struct op_header *header, struct span *rest, struct op_point *point)
{
    const uint8_t *flags, *id, *length, *payload;
    const bool vectors = header->kind == OP_VECTORS_UPDATE || header->kind == OP_VECTORS_DELETE;
    const uint8_t ids = POINT_UUID | POINT_STRING;
    const uint8_t allowed = header->kind == OP_UPSERT ? ids | POINT_VECTORS | POINT_PAYLOAD
                            : vectors                 ? ids | POINT_VECTORS
                                                      : ids;
    if (!take(rest, 1, &flags) || (*flags & ~allowed) != 0 || (*flags & ids) == ids ||
        !take(rest, id_bytes(*flags), &id)) {
        return false;
    }
    *point = (struct op_point){.id.kind = *flags & POINT_UUID     ? POINT_ID_UUID
                                          : *flags & POINT_STRING ? POINT_ID_STRING
                                                                  : POINT_ID_NUMBER};
    memcpy(point->id.bytes, id, id_bytes(*flags));
    if (header->kind == OP_UPSERT && point->id.kind == POINT_ID_STRING &&
        !read_id_text(rest, point)) {
        return false;
    }
    size_t payload_bytes = 0;
    if (*flags & POINT_PAYLOAD) {
        if (!take(rest, 4, &length) || load32(length) == 0) {
            return false;
        }
        payload_bytes = load32(length);
    }
    if (!take(rest, payload_bytes, &payload)) {
        return false;
    }
    point->payload = span_of(payload_bytes > 0 ? payload : NULL, payload_bytes);
    return (*flags & POINT_VECTORS) == 0 || read_vectors(rest, point);
}

/* u32 bytes and that many of them; never none. */
static bool take_sized(struct span *rest, struct span *out)
{
    const uint8_t *length, *data;
    if (!take(rest, 4, &length) || load32(length) == 0 || !take(rest, load32(length), &data)) {
        return false;
    }
    *out = span_of(data, load32(length));
    return true;
}

/* The flags an op of a kind may have; false: there is no such kind. */
static bool kind_flags(uint8_t kind, uint16_t *required, uint16_t *allowed)
{
    *required = 0;
    *allowed = FLAG_FILTER | FLAG_FOUND;
    switch (kind) {
    case OP_UPSERT:
        *allowed = FLAG_FILTER | FLAG_INSERT_ONLY | FLAG_UPDATE_ONLY;
        return true;
    case OP_VECTORS_UPDATE:
        *allowed = FLAG_FILTER;
        return true;
    case OP_DELETE:
    case OP_VECTORS_DELETE:
    case OP_PAYLOAD_CLEAR:
        return true;
    case OP_PAYLOAD_MERGE:
        *allowed |= FLAG_PATHS;
        *required = FLAG_VALUE;
        return true;
    case OP_PAYLOAD_OVERWRITE:
        *required = FLAG_VALUE;
        return true;
    case OP_PAYLOAD_REMOVE:
        *required = FLAG_PATHS;
        return true;
    case OP_FIELD_DEFINE:
        *allowed = 0;
        *required = FLAG_VALUE | FLAG_PATHS;
        return true;
    case OP_FIELD_DROP:
        *allowed = 0;
        *required = FLAG_PATHS;
        return true;
    case OP_GROUP:
        *allowed = 0;
        return true;
    default:
        return false;
    }
}

static bool read_header(struct span *rest, struct op_header *header, uint16_t *flags)
{
    const uint8_t *data;
    uint16_t required, allowed;
    if (!take(rest, OP_HEADER_BYTES, &data) || data[0] != OP_FORMAT || load32(data + 4) != 0 ||
        !kind_flags(data[1], &required, &allowed)) {
        return false;
    }
    *flags = load16(data + 2);
    const uint16_t modes = FLAG_INSERT_ONLY | FLAG_UPDATE_ONLY;
    if ((*flags & required) != required || (*flags & ~(required | allowed)) != 0 ||
        (*flags & modes) == modes || (*flags & (FLAG_FOUND | FLAG_FILTER)) == FLAG_FOUND) {
        return false;
    }
    *header = (struct op_header){.kind = (enum op_kind)data[1],
                                 .point_count = load32(data + 24),
                                 .vector_count = load32(data + 28),
                                 .found = (*flags & FLAG_FOUND) != 0};
    header->mode = *flags & FLAG_INSERT_ONLY   ? OP_MODE_INSERT_ONLY
                   : *flags & FLAG_UPDATE_ONLY ? OP_MODE_UPDATE_ONLY
                                               : OP_MODE_UPSERT;
    memcpy(header->request_id, data + 8, sizeof header->request_id);
    return true;
}

/* Whole values, which are read where they lie when the op is applied. */
static bool read_value(struct span *rest, struct span *value)
{
    return take_sized(rest, value) && value_check(*value) && value_kind(*value) == VALUE_OBJECT;
}

static bool read_paths(struct span *rest, const struct op_header *header, struct span *paths)
{
    struct span all, path;
    uint32_t count = 0;
    if (!take_sized(rest, paths)) {
        return false;
    }
    for (all = *paths; all.bytes > 0; count++) {
        if (count == OP_PATHS_MAX || !take_sized(&all, &path)) {
            return false;
        }
    }
    return header->kind == OP_PAYLOAD_REMOVE || count == 1;
}

static bool read_clauses(struct span *rest, uint16_t flags, struct op_header *header)
{
    return ((flags & FLAG_FILTER) == 0 || read_value(rest, &header->filter)) &&
           ((flags & FLAG_VALUE) == 0 || read_value(rest, &header->value)) &&
           ((flags & FLAG_PATHS) == 0 || read_paths(rest, header, &header->paths)) &&
           rest->bytes == 0;
}

/* The ops of a group are opened too, so that a group is refused as a whole. */
static bool read_group(const struct op_header *group, struct span rest)
{
    struct span op, points;
    struct op_header header;
    uint32_t count = 0;
    while (rest.bytes > 0) {
        if (count++ == group->point_count || !take_sized(&rest, &op) || op.bytes < 2 ||
            op.data[1] == OP_GROUP || op_open(op, &header, &points) != OK) {
            return false;
        }
    }
    return count == group->point_count && count > 0 && count <= OP_GROUP_MAX &&
           group->vector_count == 0;
}

enum error op_open(struct span op, struct op_header *header, struct span *points)
{
    struct span rest = op;
    uint16_t flags;
    if (!read_header(&rest, header, &flags)) {
        return ERROR_CORRUPT;
    }
    *points = rest;
    if (header->kind == OP_GROUP) {
        return read_group(header, rest) ? OK : ERROR_CORRUPT;
    }
    uint32_t vectors = 0;
    struct op_point point;
    /* Ends with the bytes: each point takes at least 9. */
    for (uint32_t i = 0; i < header->point_count; i++) {
        if (!read_point(header, &rest, &point)) {
            return ERROR_CORRUPT;
        }
        vectors += point.vector_count;
    }
    points->bytes -= rest.bytes;
    return vectors == header->vector_count && read_clauses(&rest, flags, header) ? OK
                                                                                 : ERROR_CORRUPT;
}

bool op_next_path(struct span *paths, struct span *path)
{
    return take_sized(paths, path);
}

bool op_next_op(struct span *ops, struct span *op)
{
    return take_sized(ops, op);
}

bool op_next(const struct op_header *header, struct span *points, struct op_point *point)
{
    return read_point(header, points, point);
}

bool op_next_vector(struct span *vectors, struct vector_data *vector)
{
    return vectors->bytes > 0 && read_vector(vectors, vector);
}
