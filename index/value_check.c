/* Is this one well-formed value? For bytes from disk or from another machine. */
#include "index/utf8.h"
#include "index/value.h"

#include <math.h>

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
        if (!utf8_check(key) || !check(inner, depth + 1))
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
        return utf8_check(value_string(value));
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
