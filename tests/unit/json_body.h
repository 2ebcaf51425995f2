/* A JSON body for tests: in an allocation of exactly its size, so that ASan sees any read past it.
 */
#ifndef KITH_TESTS_JSON_BODY_H
#define KITH_TESTS_JSON_BODY_H

#include <stdlib.h>

#include "server/json.h"

struct body {
    struct json json;
    struct arena arena;
    char *copy;
};

static inline void body_open(struct body *body, const void *data, size_t bytes)
{
    body->copy = malloc(bytes ? bytes : 1);
    memcpy(body->copy, data, bytes);
    arena_init(&body->arena);
    json_init(&body->json, span_of(body->copy, bytes), &body->arena);
}

static inline void body_close(struct body *body)
{
    arena_release(&body->arena);
    free(body->copy);
}

#endif
