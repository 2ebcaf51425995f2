/* JSON in and out.
 *
 * In: a pull scanner for every body that can hold an id, a vector or a payload. It never builds a
 * tree: float arrays are filled directly, payloads become flat values, the rest is skipped or
 * handed over token by token. Numbers are read exactly as strtod reads them, u64 over the whole
 * range. Control bodies without any of these go through jansson (api_control.c). Out: a text
 * buffer; floats in the shortest form that reads back to the same float32.
 *
 * Strict RFC 8259: no trailing commas, leading zeros, comments, byte order mark, control characters
 * in strings, lone surrogates or broken UTF-8; \u0000 is accepted. After json_key, and after
 * json_element has said true, exactly one value is read. The first failure stays: everything after
 * it returns false. One thread at a time. */
#ifndef KITH_SERVER_JSON_H
#define KITH_SERVER_JSON_H

#include "index/value.h"

#define JSON_DEPTH_MAX 128

/* libjansson exports functions of these names and calls them itself through its symbol table: ours
 * would take their place. */
#define json_string kith_json_string
#define json_null kith_json_null

enum json_token {
    JSON_ERROR,
    JSON_END,
    JSON_NULL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_OBJECT,
    JSON_ARRAY, /* their opening brackets */
    JSON_OBJECT_END,
    JSON_ARRAY_END
};

struct json {
    const char *next, *end, *begin;
    struct arena *arena; /* for unescaped strings and error text */
    uint32_t depth;
    char closing[JSON_DEPTH_MAX]; /* of each open object or array: } or ] */
    bool comma;      /* a value was read at this depth, so a comma or the end comes next */
    bool due;        /* a value must come next */
    const char *why; /* after JSON_ERROR: what is wrong, for "Format error in JSON body: %s" */
};

/* jansson has functions of these names too (json_null, json_string). Hidden, ours stay out of the
 * program's dynamic symbols, where jansson's own calls could find them. */
#pragma GCC visibility push(hidden)

void json_init(struct json *json, struct span text, struct arena *arena);
/* Type of the next token without consuming it. JSON_END only after a complete document with nothing
 * but blanks behind it. */
enum json_token json_peek(struct json *json);
/* Each consumes one token of its kind; false (and why set) if the next is another. */
bool json_enter_object(struct json *json);
/* Next key of the open object, or false at its end (consumed) or on error: check json_failed. */
bool json_key(struct json *json, struct span *key);
bool json_enter_array(struct json *json);
/* true if the open array has another element; false at its end (consumed) or on error. */
bool json_element(struct json *json);
bool json_string(struct json *json, struct span *text); /* unescaped; borrowed from body or arena */
bool json_bool(struct json *json, bool *value);
bool json_null(struct json *json);
/* A number's text, checked against the grammar. */
bool json_number(struct json *json, struct span *text);
bool json_u64(struct json *json, uint64_t *value);  /* digits only */
bool json_double(struct json *json, double *value); /* finite, as strtod */
/* A float array into out[capacity]; *count = how many it has (may exceed capacity, the surplus is
 * counted but not stored). Each number: strtod, then rounded to float; a float overflow is an error
 * naming the index. */
bool json_floats(struct json *json, float *out, size_t capacity, size_t *count);
/* Same, growing in the arena; more than max_count are an error. */
bool json_floats_arena(struct json *json, float **out, size_t *count, size_t max_count);
/* Any value -> flat bytes in the arena. A duplicate key is an error naming it. */
bool json_value(struct json *json, struct span *value);
bool json_skip(struct json *json); /* any value, checked */
/* Error state: record a message of the caller's own (first one wins; " at line 1 column 9" is
 * added). Returns false, so that `return json_fail(...)` reads well. */
bool json_fail(struct json *json, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Say of what a recorded failure is: the words and ": " go before its message. Returns false. */
bool json_fail_within(struct json *json, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool json_failed(const struct json *json);
/* Must be at the end of the document. */
bool json_finish(struct json *json);

/* Exactly what strtod gives for a JSON number's text (grammar already checked). */
double json_parse_double(struct span text);

#pragma GCC visibility pop

/* ---- out ---- */

struct text { /* grows; malloc'd, becomes an http_body */
    char *data;
    size_t bytes, capacity;
};
void text_release(struct text *text);
void text_put(struct text *text, const void *data, size_t bytes);
void text_puts(struct text *text, const char *s);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_u64(struct text *text, uint64_t v);
void text_float(struct text *text, float v);   /* shortest form; 1.0 prints as 1.0, 1e30 as 1e30 */
void text_double(struct text *text, double v); /* shortest form */
void text_json_string(struct text *text, struct span s); /* with quotes, escaped */
void text_value(struct text *text, struct span value);   /* a flat value as JSON */
void text_floats(struct text *text, const uint8_t *floats,
                 size_t count); /* [..], unaligned floats */

#endif
