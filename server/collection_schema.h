/* What describes a collection, as tables for control_judge: shared by creating and changing one. */
#ifndef KITH_SERVER_COLLECTION_SCHEMA_H
#define KITH_SERVER_COLLECTION_SCHEMA_H

#include "server/api_control.h"

extern const char
    *const datatype_words[]; /* in the order of enum vector_datatype; NULL at the end */

extern const struct schema_field create_schema[];        /* the body of PUT /collections/{c} */
extern const struct schema_field update_schema[];        /* of PATCH; quantization_config is any */
extern const struct schema_field vector_schema[];        /* VectorParams */
extern const struct schema_field vector_update_schema[]; /* of PATCH; quantization_config is any */
extern const struct schema_field sparse_schema[];        /* SparseVectorParams */
extern const struct schema_field quantization_schema[];

/* Member of an object; empty when there is none. */
static inline struct span member(struct span object, const char *name)
{
    return object.bytes == 0 ? object : value_get(object, span_text(name));
}

/* The object with another value for one of its members, in its place; empty: without it. */
struct span with_member(struct arena *arena, struct span object, const char *name,
                        struct span value);

/* A judged strict_mode_config, or empty: limits that are asked for and not kept are refused. */
void judge_strict(struct judgement *judgement, struct span strict);

#endif
