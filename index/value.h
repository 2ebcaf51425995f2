/* A JSON document as one flat, immutable, typed run of bytes.
 *
 * The same bytes are the stored payload and what filters read at match time; nothing is decoded
 * first. A number keeps its source text where printing it again would differ (10.0 is not 10, 1e2
 * is not 100). Byte table: value.c. Numbers: integers that fit i64 or u64 are exact; everything
 * else is a double. Strings are UTF-8 with any code point, NUL included. Object keys keep their
 * order and are unique. Values from disk may be damaged: readers are bounded by the span and never
 * read past it. */
#ifndef KITH_INDEX_VALUE_H
#define KITH_INDEX_VALUE_H

#include "index/arena.h"

#define VALUE_DEPTH_MAX 128
/* A value larger than this is refused by whoever reads it in: offsets inside are 32 bits. */
#define VALUE_BYTES_MAX (UINT32_C(1) << 30)
/* Paths in one value_select. */
#define VALUE_PATHS_MAX 1024

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INTEGER,  /* i64 */
    VALUE_UNSIGNED, /* u64 above INT64_MAX */
    VALUE_DOUBLE,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_OBJECT,
    VALUE_INVALID, /* damaged bytes or the end */
};

/* ---- building, in document order, into an arena ---- */

struct value_builder {
    struct arena *arena;
    uint8_t *data;
    size_t bytes, capacity; /* who fills a value from outside holds bytes to VALUE_BYTES_MAX */
    uint32_t depth;
    size_t open[VALUE_DEPTH_MAX];             /* where each open array or object began */
    struct value_keys *keys[VALUE_DEPTH_MAX]; /* of an open object with many members, else NULL */
};

void value_begin(struct value_builder *builder, struct arena *arena);
void value_put_null(struct value_builder *builder);
void value_put_bool(struct value_builder *builder, bool v);
/* source: the number's text where printing the number again would differ from it, else empty: then
 * it is kept. (JSON integers always print as they came.) A double must be finite. */
void value_put_integer(struct value_builder *builder, int64_t v, struct span source);
void value_put_unsigned(struct value_builder *builder, uint64_t v, struct span source);
void value_put_double(struct value_builder *builder, double v, struct span source);
void value_put_string(struct value_builder *builder, struct span text);
/* ERROR_TOO_LARGE at VALUE_DEPTH_MAX. */
enum error value_open_array(struct value_builder *builder) MUST_CHECK;
enum error value_open_object(struct value_builder *builder) MUST_CHECK;
/* Key of the next value. ERROR_EXISTS: duplicate in the open object. */
enum error value_put_key(struct value_builder *builder, struct span key) MUST_CHECK;
void value_close(struct value_builder *builder);
/* The finished bytes, in the arena. Everything opened has been closed. */
struct span value_end(struct value_builder *builder);
/* Copy a whole value in at the current place; not empty, trusted to be well-formed. */
void value_put_value(struct value_builder *builder, struct span value);

/* ---- reading ---- */

enum value_kind value_kind(struct span value);
bool value_bool(struct span value);
int64_t value_integer(struct span value);
uint64_t value_unsigned(struct span value);
double value_double(struct span value); /* of any number kind */
struct span value_string(struct span value);
struct span value_source(struct span value); /* a number's kept text, or empty */
size_t value_count(struct span value);       /* elements or members; never more than bytes */

/* Walk an array or object: start with value_first; key is empty for arrays. false at the end. */
struct value_cursor {
    struct span rest;
    bool object;
};
void value_walk(struct span value, struct value_cursor *cursor);
bool value_next(struct value_cursor *cursor, struct span *key, struct span *value);
/* Member of an object; VALUE_INVALID span (empty) if missing. */
struct span value_get(struct span object, struct span key);
/* true if the bytes are one well-formed value, strings and keys included. That keys are unique is
 * the builder's promise and not looked at again. */
bool value_check(struct span value);
/* with_payload selectors: keep only (include) or drop (exclude) the given paths: `a.b.c`, `a[].b`,
 * `a[0]`, `"quoted.key"`. A name also looks into the elements of arrays: `a.b` finds b in
 * {"a":[{"b":1}]}. As upstream does, include keeps what lies on the way: of {"a":{"c":1},"d":2} the
 * path a.b leaves {"a":{}}, and a scalar where a path goes on stays. Result in the arena.
 * ERROR_INVALID: a malformed path, *bad its index. ERROR_TOO_LARGE: more than VALUE_PATHS_MAX. */
enum error value_select(struct span value, bool include, const struct span *paths,
                        size_t path_count, struct arena *arena, struct span *out,
                        size_t *bad) MUST_CHECK;

#endif
