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

struct point_reader {
    const struct codec *codec; /* of the held collection; NULL when dim is 0 */
    enum metric metric;
    uint32_t dim;
    uint64_t payload_bytes_max; /* as JSON text */
    float *row;                 /* float[dim], the reader's scratch */
    struct op_builder *op;      /* what points are put into */
};

/* The settings of a held collection, the row in `arena`. The op is the caller's to set. */
void point_reader_begin(struct point_reader *reader, const struct collection *collection,
                        const struct config *config, struct arena *arena);

struct point {
    struct point_id id;
    float *row;          /* the reader's, or NULL for a point without vector */
    struct span payload; /* in the body's arena, empty for none */
};

/* One point object: {id, vector | vectors, payload?}; other keys are skipped. */
bool point_read(struct point_reader *reader, struct body *body, struct point *point);

/* A default vector, [numbers] or {"": [numbers]}, into row[dim], judged but not normalised.
 * *present: false for {}. */
bool vector_read(const struct point_reader *reader, struct body *body, float *row, bool *present);
/* Only [numbers]. */
bool vector_read_array(const struct point_reader *reader, struct body *body, float *row);
/* Payload object into *payload (empty for null). */
bool payload_read(const struct point_reader *reader, struct body *body, struct span *payload);

/* Is the squared norm within VECTOR_NORM2_MAX? (false also for NaN and infinities) */
bool vector_is_sane(const float *row, uint32_t dim);
/* Normalise a sane row if the metric asks for it. */
void vector_prepare(const struct point_reader *reader, float *row);
/* Normalise the row and put the point into the op. */
void point_put(struct point_reader *reader, const struct point *point);

/* 16 bytes for op_begin, from the kernel's random source. */
void request_id_draw(uint8_t request_id[16]);

#endif
