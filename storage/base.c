/* Error texts, memory that never fails by returning, and the failpoint of test builds. */
#include "storage/base.h"

#include <stdio.h>
#include <stdlib.h>
#ifdef KITH_TEST_HOOKS
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#endif

const char *error_text(enum error error)
{
    switch (error) {
#define X(name, text)                                                                              \
    case name:                                                                                     \
        return text;
        ERROR_LIST(X)
#undef X
    }
    return "unknown error";
}

static void *checked(void *memory, size_t bytes)
{
    if (memory == NULL) {
        fprintf(stderr, "kith: out of memory (%zu bytes)\n", bytes);
        abort();
    }
    return memory;
}

/* malloc(0) may return NULL, which would look like failure. */
static size_t at_least_one(size_t bytes)
{
    return bytes == 0 ? 1 : bytes;
}

void *allocate(size_t bytes)
{
    return checked(malloc(at_least_one(bytes)), bytes);
}

void *allocate_zeroed(size_t count, size_t bytes)
{
    return checked(calloc(at_least_one(count), at_least_one(bytes)), size_product(count, bytes));
}

void *allocate_aligned(size_t bytes)
{
    const size_t rounded = (at_least_one(bytes) + 63) & ~(size_t)63;
    return checked(rounded < bytes ? NULL : aligned_alloc(64, rounded), bytes);
}

void *grow(void *memory, size_t bytes)
{
    return checked(realloc(memory, at_least_one(bytes)), bytes);
}

size_t size_product(size_t a, size_t b)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        fprintf(stderr, "kith: a size overflows (%zu * %zu)\n", a, b);
        abort();
    }
    return product;
}

#ifdef KITH_TEST_HOOKS
/* What KITH_FAILPOINT says, read once: written under the once, then only the count changes. */
static struct {
    pthread_once_t once;
    char name[64]; /* empty: none */
    atomic_long left;
} chosen = {.once = PTHREAD_ONCE_INIT};

static void read_failpoint(void)
{
    const char *text = getenv("KITH_FAILPOINT");
    const char *colon = text == NULL ? NULL : strchr(text, ':');
    if (colon == NULL) {
        return;
    }
    const size_t bytes = (size_t)(colon - text);
    const long hits = strtol(colon + 1, NULL, 10);
    if (bytes == 0 || bytes >= sizeof chosen.name || hits < 1) {
        fprintf(stderr, "kith: KITH_FAILPOINT=%s is not name:n\n", text);
        _exit(2);
    }
    memcpy(chosen.name, text, bytes);
    atomic_store(&chosen.left, hits);
}

void failpoint(const char *name)
{
    pthread_once(&chosen.once, read_failpoint);
    if (chosen.name[0] != '\0' && strcmp(chosen.name, name) == 0 &&
        atomic_fetch_sub(&chosen.left, 1) == 1) {
        _exit(86);
    }
}
#endif
