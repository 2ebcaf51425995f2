/* A write as bytes.
 *
 * The writer applies ops; replay, replication and the determinism test use the same bytes. Applying
 * uses no clock and no randomness: what had to be decided travels here, with a request id. Vectors
 * in an op are final (Cosine already normalised) and finite; codes are never in it. Byte table:
 * op.c. */
#ifndef KITH_INDEX_OP_H
#define KITH_INDEX_OP_H

#include "index/arena.h"

enum op_kind { OP_UPSERT = 1, OP_DELETE = 2 };

struct op_builder {
    struct arena *arena;
    uint8_t *data;
    size_t bytes, capacity;
    uint32_t dim;
};

/* request_id: 16 bytes, unique per request. dim: floats a vector in this op (0: none). */
void op_begin(struct op_builder *builder, struct arena *arena, enum op_kind kind,
              const uint8_t request_id[16], uint32_t dim);
/* Room for a point's vector is returned when has_vector (float[dim], unaligned, fill it before the
 * next call; NULL otherwise). payload: a value, or empty for none. */
uint8_t *op_put_point(struct op_builder *builder, const struct point_id *id, bool has_vector,
                      struct span payload);
void op_put_id(struct op_builder *builder, const struct point_id *id); /* OP_DELETE */
struct span op_end(struct op_builder *builder);

struct op_header {
    enum op_kind kind;
    uint8_t request_id[16];
    uint32_t dim;
    uint32_t point_count;
    uint32_t vector_count;
};
struct op_point {
    struct point_id id;
    const uint8_t *vector; /* float[dim] unaligned, or NULL */
    struct span payload;
};
/* ERROR_CORRUPT for bytes that are no op. *points is where op_next begins. */
enum error op_open(struct span op, struct op_header *header, struct span *points) MUST_CHECK;
bool op_next(const struct op_header *header, struct span *points, struct op_point *point);

#endif
