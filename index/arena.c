/* Chunks in a list, newest first; small requests are cut from the newest one.
 *
 * Chunks double from 4 KiB up to 256 KiB, so a small request costs one malloc and a large one few.
 * What is larger than a quarter of the next chunk gets a chunk of its own behind the newest, whose
 * rest stays in use. */
#include "index/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES_MIN ((size_t)4096)
#define CHUNK_BYTES_MAX ((size_t)256 * 1024)
#define ALIGNMENT ((size_t)16)

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes; /* with this header */
};
_Static_assert(sizeof(struct arena_chunk) % ALIGNMENT == 0, "what follows the header is aligned");

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_release(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena_init(arena);
}

static struct arena_chunk *chunk_new(struct arena *arena, size_t bytes)
{
    struct arena_chunk *chunk = allocate(bytes);
    chunk->bytes = bytes;
    arena->total_bytes += bytes;
    return chunk;
}

/* A chunk for one request alone, behind the newest. */
static void *allocate_large(struct arena *arena, size_t bytes)
{
    struct arena_chunk *chunk = chunk_new(arena, sizeof *chunk + bytes);
    if (arena->chunks == NULL) {
        chunk->next = NULL;
        arena->chunks = chunk;
    } else {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    }
    return chunk + 1;
}

/* The next chunk to cut from: as large as all so far, within the limits. */
static size_t next_chunk_bytes(const struct arena *arena)
{
    size_t bytes = arena->total_bytes;
    bytes = bytes < CHUNK_BYTES_MIN ? CHUNK_BYTES_MIN : bytes;
    bytes = bytes > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : bytes;
    return (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

void *arena_allocate(struct arena *arena, size_t bytes)
{
    /* Sizes are capped by who asks; one this large is our own mistake. */
    assert(bytes < SIZE_MAX / 4);
    bytes = (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (bytes > arena->left) {
        const size_t chunk_bytes = next_chunk_bytes(arena);
        if (bytes > chunk_bytes / 4) {
            return allocate_large(arena, bytes);
        }
        struct arena_chunk *chunk = chunk_new(arena, chunk_bytes);
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->next = (uint8_t *)(chunk + 1);
        arena->left = chunk_bytes - sizeof *chunk;
    }
    void *result = arena->next;
    if (result == NULL) { /* 0 bytes asked of an empty arena */
        return arena_allocate(arena, ALIGNMENT);
    }
    arena->next += bytes;
    arena->left -= bytes;
    return result;
}

void *arena_copy(struct arena *arena, const void *data, size_t bytes)
{
    void *copy = arena_allocate(arena, bytes);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    char small[256]; /* most texts: formatted once, then copied */
    const int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    assert(length >= 0);
    char *text = arena_allocate(arena, (size_t)length + 1);
    if ((size_t)length < sizeof small) {
        memcpy(text, small, (size_t)length + 1);
    } else {
        const int written = vsnprintf(text, (size_t)length + 1, format, again);
        assert(written == length);
    }
    va_end(again);
    return text;
}
