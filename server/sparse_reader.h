/* A sparse vector from JSON: {"indices": [u32...], "values": [f32...]}. */
#ifndef KITH_SERVER_SPARSE_READER_H
#define KITH_SERVER_SPARSE_READER_H

#include "server/fields.h"

struct sparse_pairs { /* in the body's arena, ascending by index */
    uint32_t *indices;
    float *values;
    size_t count;
};

/* Read and judge one: equal lengths and unique indices, else 422 with body->path and `name` before
 * the field. An object of another service's (with a `model`) is refused as such. */
bool sparse_read(struct body *body, const char *name, struct sparse_pairs *pairs);

#endif
