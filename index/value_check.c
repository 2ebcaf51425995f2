/* Is this one well-formed value? For bytes from disk or from another machine. */
#include "index/value.h"

#include <math.h>

/* Bytes of the character at p, 0 if it is none. */
static size_t character_bytes(const uint8_t *p, size_t left)
{
    uint8_t first = p[0];
    if (first < 0x80)
        return 1;
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < bytes)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* The first two bytes tell what is overlong, a surrogate or past U+10FFFF. */
    if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] > 0x9f) ||
        (first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] > 0x8f))
        return 0;
    return bytes;
}

bool value_text_check(struct span text)
{
    size_t i = 0;
    while (i < text.bytes) {
        if (text.bytes - i >= 8 && !(load64(text.data + i) & UINT64_C(0x8080808080808080))) {
            i += 8;
            continue;
        }
        size_t bytes = character_bytes(text.data + i, text.bytes - i);
        if (bytes == 0)
            return false;
        i += bytes;
    }
    return true;
}

/* A source is printed as it is, so it must at least look like a number. */
static bool source_check(struct span source)
{
    for (size_t i = 0; i < source.bytes; i++)
        if (source.data[i] == 0 || !strchr("0123456789+-.eE", source.data[i]))
            return false;
    return true;
}

static bool check(struct span value, unsigned depth);

static bool check_inside(struct span value, unsigned depth)
{
    struct value_cursor cursor;
    struct span key, inner;
    size_t count = 0;
    if (depth == VALUE_DEPTH_MAX)
        return false;
    value_walk(value, &cursor);
    const uint8_t *end = cursor.rest.data + cursor.rest.bytes, *seen = cursor.rest.data;
    while (value_next(&cursor, &key, &inner)) {
        if (!value_text_check(key) || !check(inner, depth + 1))
            return false;
        seen = inner.data + inner.bytes;
        count++;
    }
    return seen == end && count == value_count(value);
}

static bool check(struct span value, unsigned depth)
{
    switch (value_kind(value)) {
    case VALUE_NULL:
    case VALUE_BOOL:
        return true;
    case VALUE_INTEGER:
    case VALUE_UNSIGNED:
    case VALUE_DOUBLE:
        return isfinite(value_double(value)) && source_check(value_source(value));
    case VALUE_STRING:
        return value_text_check(value_string(value));
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        return check_inside(value, depth);
    case VALUE_INVALID:
        break;
    }
    return false;
}

bool value_check(struct span value)
{
    struct value_cursor cursor = {.rest = value};
    struct span key, first;
    return value_next(&cursor, &key, &first) && first.bytes == value.bytes && check(value, 0);
}
