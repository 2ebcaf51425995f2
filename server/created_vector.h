/* A vector that a body declares: what creating a collection and adding a vector's name share. */
#ifndef KITH_SERVER_CREATED_VECTOR_H
#define KITH_SERVER_CREATED_VECTOR_H

#include "server/collection_schema.h"

struct created_vector {
    struct span name;
    struct span clean; /* after vector_schema or sparse_schema */
    bool sparse;
};

/* A dense vector's parameters, or a multivector's. api_collections.c */
void created_vector_judge(struct judgement *judgement, struct span params, const char *path,
                          struct span *clean);
/* The settings, with a seed drawn anew. shared: the collection's quantization_config. */
void created_vector_fill(const struct created_vector *created, struct span shared,
                         struct vector_settings *vector);

#endif
