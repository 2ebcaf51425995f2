/* A write as bytes.
 *
 * The writer applies ops; replay, replication and the determinism test use the same bytes. Applying
 * uses no clock and no randomness: what had to be decided travels here, with a request id. Vectors
 * in an op are final (Cosine already normalised) and finite; codes are never in it. Byte table:
 * op.c. */
#ifndef KITH_INDEX_OP_H
#define KITH_INDEX_OP_H

#include "index/value.h"
#include "index/vector.h"

enum op_kind {
    OP_UPSERT = 1,
    OP_DELETE = 2,
    OP_VECTORS_UPDATE = 3, /* of points that are there: those given; others and the payload stay */
    OP_VECTORS_DELETE = 4, /* the numbers given, as sparse vectors without pairs, of any kind */
    OP_PAYLOAD_MERGE = 8,  /* value at path[0], or at the top */
    OP_PAYLOAD_OVERWRITE = 9, /* value */
    OP_PAYLOAD_REMOVE = 10,   /* paths */
    OP_PAYLOAD_CLEAR = 11,
    OP_FIELD_DEFINE = 16, /* a payload index: paths[0], value {"schema": its definition} */
    OP_FIELD_DROP = 17,   /* paths[0] */
    OP_GROUP = 12,        /* ops of their own, one after the other: all of them or none */
};

/* Of OP_UPSERT: what becomes of points that are there, or are not. */
enum op_mode { OP_MODE_UPSERT = 0, OP_MODE_INSERT_ONLY = 1, OP_MODE_UPDATE_ONLY = 2 };

#define OP_PATHS_MAX VALUE_PATHS_MAX
#define OP_GROUP_MAX (UINT32_C(1) << 20) /* ops in a group */

struct op_builder {
    struct arena *arena;
    uint8_t *data;
    size_t bytes, capacity;
    size_t point;   /* offset of the point put last */
    size_t vectors; /* offset of its count of vectors; 0: it has none yet */
};

/* request_id: 16 bytes, unique per request. */
void op_begin(struct op_builder *builder, struct arena *arena, enum op_kind kind,
              const uint8_t request_id[16]);
/* A point; its vectors follow. payload: a value, or empty for none. */
void op_put_point(struct op_builder *builder, const struct point_id *id, struct span payload);
/* The same of a string id: an OP_UPSERT carries its text. Other ops and ids do not: text is ignored
 * then. */
void op_put_named_point(struct op_builder *builder, const struct point_id *id, struct span text,
                        struct span payload);
/* A vector of the point put last, numbers ascending. What vector->data says is ignored: the room
 * for it is returned (vector_data_bytes, unaligned; fill it before the next call). */
uint8_t *op_put_vector(struct op_builder *builder, const struct vector_data *vector);
/* A point and, unless dim is 0, its dense vector 0: the room for it, or NULL. */
static inline uint8_t *op_put_dense_point(struct op_builder *builder, const struct point_id *id,
                                          uint32_t dim, struct span payload)
{
    const struct vector_data vector = {.kind = VECTOR_DENSE, .dim = dim, .count = 1};
    op_put_point(builder, id, payload);
    return dim > 0 ? op_put_vector(builder, &vector) : NULL;
}
void op_put_id(struct op_builder *builder, const struct point_id *id); /* all but OP_UPSERT */
/* Clauses, each at most once, after the points.
 *
 * filter   the source of a filter (index/filter.h): of an upsert, points that are there change only
 *          if they match; of the others, ids that do not match are left alone
 * found    the ids were looked up by that filter: one that has gone is no error
 * value    an object, of OP_PAYLOAD_MERGE and OP_PAYLOAD_OVERWRITE
 * paths    path_count texts that path_parse takes, at most OP_PATHS_MAX */
void op_put_mode(struct op_builder *builder, enum op_mode mode);
void op_put_filter(struct op_builder *builder, struct span filter, bool found);
void op_put_value(struct op_builder *builder, struct span value);
void op_put_paths(struct op_builder *builder, const struct span *paths, size_t path_count);
struct span op_end(struct op_builder *builder);
/* A group of finished ops (no groups); count from 1 to OP_GROUP_MAX. */
struct span op_group(struct arena *arena, const uint8_t request_id[16], const struct span *ops,
                     size_t count);

struct op_header {
    enum op_kind kind;
    uint8_t request_id[16];
    uint32_t point_count;  /* of OP_GROUP: its ops */
    uint32_t vector_count; /* of all points */
    enum op_mode mode;
    bool found;
    struct span filter, value; /* empty: none */
    struct span paths;         /* op_next_path walks them */
};
struct op_point {
    struct point_id id;
    struct span id_text; /* of a string id in an OP_UPSERT; else empty */
    struct span payload;
    uint32_t vector_count;
    struct span vectors; /* where op_next_vector begins */
};
/* ERROR_CORRUPT for bytes that are no op. *points is where op_next begins. */
enum error op_open(struct span op, struct op_header *header, struct span *points) MUST_CHECK;
bool op_next(const struct op_header *header, struct span *points, struct op_point *point);
/* The vectors of a point, numbers ascending. */
bool op_next_vector(struct span *vectors, struct vector_data *vector);
bool op_next_path(struct span *paths, struct span *path);
/* *ops: what op_open gave as points for OP_GROUP. */
bool op_next_op(struct span *ops, struct span *op);

#endif
