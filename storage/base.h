/* Errors, spans and bytes: the few things every folder but codec/ agrees on.
 *
 * An error is one of a short list, 0 is OK, and no caller may drop it. Text for people is made only
 * where input is judged (server/) and where a start fails (store_open, database_open). */
#ifndef KITH_STORAGE_BASE_H
#define KITH_STORAGE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ERROR_LIST(X)                                                                              \
    X(OK, "ok")                                                                                    \
    X(ERROR_NOT_FOUND, "not found")                                                                \
    X(ERROR_EXISTS, "exists already")                                                              \
    X(ERROR_INVALID, "invalid input")                                                              \
    X(ERROR_TOO_LARGE, "too large")                                                                \
    X(ERROR_FULL, "no space left, on the disk or in the map")                                      \
    X(ERROR_IO, "input/output error")                                                              \
    X(ERROR_CORRUPT, "damaged data: a checksum or an invariant does not hold")                     \
    X(ERROR_LOCKED, "in use by another kith")                                                      \
    X(ERROR_PERMISSION, "permission denied")                                                       \
    X(ERROR_NEWER, "written by a newer kith")                                                      \
    X(ERROR_READ_ONLY, "read-only after a failed flush")                                           \
    X(ERROR_BUSY, "busy, try again")                                                               \
    X(ERROR_CANCELLED, "cancelled or timed out")

enum error {
#define X(name, text) name,
    ERROR_LIST(X)
#undef X
};

/* The text of an error, static. Any thread. */
const char *error_text(enum error error);

#define MUST_CHECK __attribute__((warn_unused_result))

/* Bytes somebody else owns; valid as long as the owner says. */
struct span {
    const uint8_t *data;
    size_t bytes;
};

static inline struct span span_of(const void *data, size_t bytes)
{
    return (struct span){data, bytes};
}

static inline struct span span_text(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

/* Allocate or abort with a message: a size a user chooses is capped before it comes here. Freed
 * with free(). allocate_aligned is 64-byte aligned. grow reallocates. Any thread. */
void *allocate(size_t bytes) __attribute__((malloc, returns_nonnull));
void *allocate_zeroed(size_t count, size_t bytes) __attribute__((malloc, returns_nonnull));
void *allocate_aligned(size_t bytes) __attribute__((malloc, returns_nonnull));
void *grow(void *memory, size_t bytes) __attribute__((returns_nonnull));

/* a * b, or abort when it does not fit size_t: for sizes already within their limits. */
size_t size_product(size_t a, size_t b);

/* Little-endian values and big-endian keys, at any address. */
static inline uint16_t load16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t load32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline float load_float(const void *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store_float(void *p, float v)
{
    memcpy(p, &v, sizeof v);
}
static inline uint16_t load16_big(const void *p)
{
    return __builtin_bswap16(load16(p));
}
static inline uint64_t load64_big(const void *p)
{
    return __builtin_bswap64(load64(p));
}
static inline void store16_big(void *p, uint16_t v)
{
    store16(p, __builtin_bswap16(v));
}
static inline void store64_big(void *p, uint64_t v)
{
    store64(p, __builtin_bswap64(v));
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "kith runs on little-endian machines");

/* CRC32C (Castagnoli) of bytes, continuing from seed (0 to begin). Hardware where there is some,
 * same result everywhere. Any thread. */
uint32_t crc32c(uint32_t seed, const void *data, size_t bytes);
/* The same by table: the reference that tests hold crc32c against. */
uint32_t crc32c_by_table(uint32_t seed, const void *data, size_t bytes);

/* A point's external id: an unsigned number, a UUID or, in collections that say so, any string.
 * Numbers sort before UUIDs, those before strings, each ascending; strings by the hash that stands
 * for them wherever an id is compared or looked up. The string itself is kept in the point's row.
 */
enum point_id_kind { POINT_ID_NUMBER = 0, POINT_ID_UUID = 1, POINT_ID_STRING = 2 };
#define POINT_ID_TEXT_BYTES_MAX 1024u /* of a string */
struct point_id {
    uint8_t kind;      /* enum point_id_kind */
    uint8_t bytes[16]; /* number: big-endian u64 in bytes 0..7, the rest 0; UUID: its 16 bytes;
                           string: the first 16 bytes of its SHA-256 (index/string_id.h) */
};
#define POINT_ID_KEY_BYTES 17 /* kind and bytes: the longest key form; numbers use 9 of them */

static inline struct point_id point_id_number(uint64_t number)
{
    struct point_id id = {POINT_ID_NUMBER, {0}};
    store64_big(id.bytes, number);
    return id;
}
static inline int point_id_compare(const struct point_id *a, const struct point_id *b)
{
    return memcmp(a, b, sizeof *a);
}
_Static_assert(sizeof(struct point_id) == 17, "no padding: compared and stored as bytes");

/* Stop here when KITH_FAILPOINT=name:n says so (test builds only): the n-th time `name` is reached,
 * the process ends by _exit(86), as kill -9 would end it. */
#ifdef KITH_TEST_HOOKS
void failpoint(const char *name);
#else
static inline void failpoint(const char *name)
{
    (void)name;
}
#endif

#endif
