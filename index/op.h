/* A write as bytes.
 *
 * The writer applies ops; replay, replication and the determinism test use the same bytes. Applying
 * uses no clock and no randomness: what had to be decided travels here, with a request id. Vectors
 * in an op are final (Cosine already normalised) and finite; codes are never in it. Byte table:
 * op.c. */
#ifndef KITH_INDEX_OP_H
#define KITH_INDEX_OP_H

#include "index/arena.h"
#include "index/vector.h"

enum op_kind { OP_UPSERT = 1, OP_DELETE = 2 };

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
void op_put_id(struct op_builder *builder, const struct point_id *id); /* OP_DELETE */
struct span op_end(struct op_builder *builder);

struct op_header {
    enum op_kind kind;
    uint8_t request_id[16];
    uint32_t point_count;
    uint32_t vector_count; /* of all points */
};
struct op_point {
    struct point_id id;
    struct span payload;
    uint32_t vector_count;
    struct span vectors; /* where op_next_vector begins */
};
/* ERROR_CORRUPT for bytes that are no op. *points is where op_next begins. */
enum error op_open(struct span op, struct op_header *header, struct span *points) MUST_CHECK;
bool op_next(const struct op_header *header, struct span *points, struct op_point *point);
/* The vectors of a point, numbers ascending. */
bool op_next_vector(struct span *vectors, struct vector_data *vector);

#endif
