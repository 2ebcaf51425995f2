/* Memory of one request: many small allocations, freed in one call. */
#ifndef KITH_INDEX_ARENA_H
#define KITH_INDEX_ARENA_H

#include "storage/base.h"

struct arena {
    struct arena_chunk *chunks;
    uint8_t *next;
    size_t left;
    size_t total_bytes; /* of all chunks: what the request holds */
};

void arena_init(struct arena *arena);
void arena_release(struct arena *arena); /* frees all; the arena is empty and usable again */
/* 16-byte aligned, uninitialised; aborts when out of memory. One thread at a time. */
void *arena_allocate(struct arena *arena, size_t bytes) __attribute__((returns_nonnull));
void *arena_copy(struct arena *arena, const void *data, size_t bytes);
/* printf into the arena; the text is NUL-terminated. */
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
