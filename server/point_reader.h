/* Points from JSON into an op: shared by upserts in both forms and by lines of a bulk stream.
 *
 * A point's keys come in any order, so it is gathered first (the vector in a row of the reader's,
 * the payload as a value in the arena) and is put into the op when it is whole and judged. */
#ifndef KITH_SERVER_POINT_READER_H
#define KITH_SERVER_POINT_READER_H

#include "server/fields.h"

/* Squared norms above this could overflow a float distance between two such vectors: |a-b|^2 is at
 * most 4 max(|a|,|b|)^2. */
#define VECTOR_NORM2_MAX 8.5e37f
#define VECTOR_TOO_LONG_TEXT "Vector is too long: its squared norm must not exceed %g"

struct reader_row {
    float *floats;
    uint32_t dim;
};

struct point_reader {
    /* of the held collection; NULL while there is none yet (a bulk upload that creates it) */
    const struct collection *collection;
    const struct vector_settings *vectors;
    uint32_t vector_count;
    struct arena *arena;        /* of the rows */
    struct reader_row *rows;    /* by number; made when first needed */
    uint64_t payload_bytes_max; /* as JSON text */
    struct op_builder *op;      /* what points are put into */
    /* the default vector, if there is one and it is dense: else dim 0 */
    uint16_t number;
    enum metric metric;
    uint32_t dim;
    const struct codec *codec;
    struct vector_data row_vector; /* of point_set_row */
};

/* The settings of a held collection, rows in `arena`. The op is the caller's to set. */
void point_reader_begin(struct point_reader *reader, const struct collection *collection,
                        const struct config *config, struct arena *arena);
/* Without a collection: for points of one default vector of `dim` floats. */
void point_reader_begin_dim(struct point_reader *reader, uint32_t dim, const struct config *config,
                            struct arena *arena);
/* The collection was let go and is held again. false: its default vector is another. */
bool point_reader_renew(struct point_reader *reader, const struct collection *collection);

struct point {
    struct point_id id;
    struct span id_text; /* of a string id; else empty */
    struct span payload; /* in the body's arena, empty for none */
    /* Numbers ascending; dense ones lie in the reader's rows, valid until the next point is read,
     * the others in the body's arena. Not normalised. */
    struct vector_data *vectors;
    uint32_t vector_count;
};

/* One point object: {id, vector | vectors, payload?}; other keys are skipped. body->path goes
 * before "vector" in texts of 422. */
bool point_read(struct point_reader *reader, struct body *body, struct point *point);

/* What `vector` may be: [numbers] and [[numbers]] (the default vector), or {name: [numbers] |
 * [[numbers]] | {indices, values}}; {} for none. Fills in point->vectors. */
bool vectors_read(struct point_reader *reader, struct body *body, struct point *point);
/* One vector of a number, judged by its settings. */
bool vector_read_one(struct point_reader *reader, struct body *body, uint16_t number,
                     struct vector_data *vector);
/* The number of a name; false: refused. */
bool vector_find(const struct point_reader *reader, struct body *body, struct span name,
                 uint16_t *number);
/* [numbers] of the default vector into row[dim]. */
bool vector_read_array(const struct point_reader *reader, struct body *body, float *row);
/* Payload object into *payload (empty for null). */
bool payload_read(const struct point_reader *reader, struct body *body, struct span *payload);

/* Is the squared norm within VECTOR_NORM2_MAX? (false also for NaN and infinities) */
bool vector_is_sane(const float *row, uint32_t dim);
/* Normalise a sane row of the default vector if its metric asks for it. */
void vector_prepare(const struct point_reader *reader, float *row);
/* The row of the default vector, which is dense, and a point that has it alone. */
float *point_reader_row(struct point_reader *reader);
void point_set_row(struct point_reader *reader, struct point *point, float *row);
/* Put the point and its vectors, normalised, into the op. */
void point_put(struct point_reader *reader, const struct point *point);

/* 16 bytes for op_begin, from the kernel's random source. */
void request_id_draw(uint8_t request_id[16]);

#endif
