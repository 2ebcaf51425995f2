/* JSON out: a buffer that grows and the few things written into it. */
#include "server/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "index/utf8.h"
#include "server/json_private.h"
#include "server/number.h"

void text_release(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

/* Room for bytes more; what is written there is added to bytes by the caller. */
static char *reserve(struct text *text, size_t bytes)
{
    if (text->capacity - text->bytes < bytes) {
        size_t capacity = text->capacity ? 2 * text->capacity : 512;
        if (capacity < text->bytes + bytes)
            capacity = text->bytes + bytes;
        text->data = grow(text->data, capacity);
        text->capacity = capacity;
    }
    return text->data + text->bytes;
}

void text_put(struct text *text, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    memcpy(reserve(text, bytes), data, bytes);
    text->bytes += bytes;
}

void text_puts(struct text *text, const char *s)
{
    text_put(text, s, strlen(s));
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = text->capacity - text->bytes;
    int bytes = vsnprintf(room ? text->data + text->bytes : NULL, room, format, arguments);
    if (bytes > 0 && (size_t)bytes >= room)
        vsnprintf(reserve(text, (size_t)bytes + 1), (size_t)bytes + 1, format, again);
    if (bytes > 0)
        text->bytes += (size_t)bytes;
    va_end(again);
    va_end(arguments);
}

void text_u64(struct text *text, uint64_t v)
{
    text->bytes += number_print_unsigned(v, reserve(text, NUMBER_TEXT_BYTES));
}

/* JSON has no word for these; upstream says null too. */
static bool put_not_finite(struct text *text, double v)
{
    if (__builtin_isfinite(v))
        return false;
    text_puts(text, "null");
    return true;
}

void text_float(struct text *text, float v)
{
    if (!put_not_finite(text, (double)v))
        text->bytes += number_print_float(v, reserve(text, NUMBER_TEXT_BYTES));
}

void text_double(struct text *text, double v)
{
    if (!put_not_finite(text, v))
        text->bytes += number_print_double(v, reserve(text, NUMBER_TEXT_BYTES));
}

void text_floats(struct text *text, const uint8_t *floats, size_t count)
{
    char *begin = reserve(text, size_product(count, NUMBER_TEXT_BYTES + 1) + 2), *p = begin;
    *p++ = '[';
    for (size_t i = 0; i < count; i++) {
        float v = load_float(floats + i * sizeof v);
        if (i)
            *p++ = ',';
        if (__builtin_isfinite(v)) {
            p += number_print_float(v, p);
        } else {
            memcpy(p, "null", 4);
            p += 4;
        }
    }
    *p++ = ']';
    text->bytes += (size_t)(p - begin);
}

/* ---- strings ---- */

/* One byte that cannot stand in a JSON string as it is. */
static void put_escape(struct text *text, uint8_t c)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *found = c ? strchr(escaped, c) : NULL;
    if (found)
        text_put(text, (char[]){'\\', names[found - escaped]}, 2);
    else
        text_printf(text, "\\u%04x", c);
}

static void put_escaped(struct text *text, struct span s)
{
    const char *p = (const char *)s.data, *end = p + s.bytes;
    bool other;
    while (p < end) {
        const char *run = p;
        p = json_plain_end(run, end, &other);
        text_put(text, run, (size_t)(p - run));
        if (p < end)
            put_escape(text, (uint8_t)*p++);
    }
}

/* Text from elsewhere (a message cut in the middle of a character): what is no UTF-8 becomes
 * U+FFFD, or the whole reply would be no JSON. */
static void put_repaired(struct text *text, struct span s)
{
    for (size_t i = 0; i < s.bytes;) {
        size_t bytes = utf8_length(span_of(s.data + i, s.bytes - i));
        if (bytes > 0)
            put_escaped(text, span_of(s.data + i, bytes));
        else
            text_puts(text, "\xef\xbf\xbd");
        i += bytes > 0 ? bytes : 1;
    }
}

void text_json_string(struct text *text, struct span s)
{
    text_put(text, "\"", 1);
    if (utf8_check(s))
        put_escaped(text, s);
    else
        put_repaired(text, s);
    text_put(text, "\"", 1);
}

/* ---- values ---- */

static void put_integer(struct text *text, int64_t v)
{
    if (v < 0)
        text_put(text, "-", 1);
    text_u64(text, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* Everything but a container. */
static void put_scalar(struct text *text, struct span value, enum value_kind kind)
{
    bool number = kind == VALUE_INTEGER || kind == VALUE_UNSIGNED || kind == VALUE_DOUBLE;
    struct span source = number ? value_source(value) : (struct span){0};
    if (source.bytes) {
        text_put(text, source.data, source.bytes);
        return;
    }
    switch (kind) {
    case VALUE_BOOL:
        text_puts(text, value_bool(value) ? "true" : "false");
        break;
    case VALUE_INTEGER:
        put_integer(text, value_integer(value));
        break;
    case VALUE_UNSIGNED:
        text_u64(text, value_unsigned(value));
        break;
    case VALUE_DOUBLE:
        text_double(text, value_double(value));
        break;
    case VALUE_STRING:
        text_json_string(text, value_string(value));
        break;
    case VALUE_NULL:
    case VALUE_ARRAY:
    case VALUE_OBJECT:
    case VALUE_INVALID:
        text_puts(text, "null");
        break;
    }
}

struct level {
    struct value_cursor cursor;
    bool begun;
};

/* The next member or element of a container that is being printed; false behind its last, when its
 * end has been printed. */
static bool put_next(struct text *text, struct level *level, struct span *value)
{
    struct span key;
    if (!value_next(&level->cursor, &key, value)) {
        text_put(text, level->cursor.object ? "}" : "]", 1);
        return false;
    }
    if (level->begun)
        text_put(text, ",", 1);
    level->begun = true;
    if (level->cursor.object) {
        text_json_string(text, key);
        text_put(text, ":", 1);
    }
    return true;
}

void text_value(struct text *text, struct span value)
{
    struct level levels[VALUE_DEPTH_MAX];
    size_t depth = 0;
    for (;;) {
        enum value_kind kind = value_kind(value);
        bool container = kind == VALUE_ARRAY || kind == VALUE_OBJECT;
        if (container && depth < VALUE_DEPTH_MAX) {
            levels[depth].begun = false;
            value_walk(value, &levels[depth++].cursor);
            text_put(text, kind == VALUE_OBJECT ? "{" : "[", 1);
        } else {
            put_scalar(text, value, kind);
        }
        while (depth && !put_next(text, &levels[depth - 1], &value))
            depth--;
        if (depth == 0)
            return;
    }
}
