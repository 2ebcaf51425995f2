#include "index/path.h"

#include <assert.h>

#include "index/utf8.h"

/* ---- parsing ---- */

static bool is_plain(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-' || c >= 0x80;
}

static bool at(struct span text, size_t i, char c)
{
    return i < text.bytes && text.data[i] == (uint8_t)c;
}

/* "quoted": the closing quote ends it; \" and \\ stand for themselves. */
static bool parse_quoted(struct span text, size_t *i, struct arena *arena, struct span *key)
{
    uint8_t *out = arena_allocate(arena, text.bytes);
    size_t bytes = 0, p = *i + 1;
    while (p < text.bytes && text.data[p] != '"') {
        if (text.data[p] == '\\' && (at(text, p + 1, '"') || at(text, p + 1, '\\')))
            p++;
        out[bytes++] = text.data[p++];
    }
    *i = p + 1;
    *key = span_of(out, bytes);
    return at(text, p, '"');
}

static bool parse_key(struct span text, size_t *i, struct arena *arena,
                      struct path_segment *segment)
{
    segment->kind = SEGMENT_KEY;
    if (at(text, *i, '"'))
        return parse_quoted(text, i, arena, &segment->key);
    size_t begin = *i;
    while (*i < text.bytes && is_plain(text.data[*i]))
        ++*i;
    segment->key = span_of(text.data + begin, *i - begin);
    return *i > begin;
}

/* [] or [number] */
static bool parse_index(struct span text, size_t *i, struct path_segment *segment)
{
    size_t p = *i + 1;
    segment->kind = at(text, p, ']') ? SEGMENT_EVERY : SEGMENT_INDEX;
    segment->index = 0;
    for (; p < text.bytes && text.data[p] >= '0' && text.data[p] <= '9'; p++) {
        if (segment->index > UINT32_MAX)
            return false;
        segment->index = segment->index * 10 + (text.data[p] - '0');
    }
    bool digits = p > *i + 1;
    *i = p + 1;
    return at(text, p, ']') && (digits || segment->kind == SEGMENT_EVERY);
}

bool path_parse(struct span text, struct arena *arena, struct path *path)
{
    size_t most = 1;
    if (!utf8_check(text)) /* a key of a value is UTF-8 */
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        most += at(text, i, '.') || at(text, i, '[');
    path->segments = arena_allocate(arena, size_product(most, sizeof *path->segments));
    path->count = 0;
    size_t i = 0;
    if (!parse_key(text, &i, arena, &path->segments[path->count++]))
        return false;
    while (i < text.bytes) {
        struct path_segment *segment = &path->segments[path->count++];
        bool good = false;
        if (at(text, i, '['))
            good = parse_index(text, &i, segment);
        else if (at(text, i, '.') && ++i)
            good = parse_key(text, &i, arena, segment);
        if (!good)
            return false;
    }
    assert(path->count <= most);
    return path->count <= PATH_SEGMENTS_MAX;
}

/* ---- following ---- */

struct visit {
    const struct path *path;
    bool (*visit)(const void *context, struct span value);
    const void *context;
};

/* From segment i on; no deeper than the path is long. */
static bool visit_from(const struct visit *visit, size_t i, struct span value)
{
    if (i == visit->path->count)
        return visit->visit(visit->context, value);
    const struct path_segment *segment = &visit->path->segments[i];
    if (segment->kind == SEGMENT_KEY) {
        struct span member = value_get(value, segment->key);
        return member.bytes > 0 && visit_from(visit, i + 1, member);
    }
    struct value_cursor cursor;
    struct span key, element;
    value_walk(value, &cursor);
    if (cursor.object)
        return false;
    for (uint64_t place = 0; value_next(&cursor, &key, &element); place++) {
        if (segment->kind == SEGMENT_INDEX && place < segment->index)
            continue;
        if (visit_from(visit, i + 1, element))
            return true;
        if (segment->kind == SEGMENT_INDEX)
            break;
    }
    return false;
}

bool path_visit(const struct path *path, struct span value,
                bool (*visit)(const void *context, struct span value), const void *context)
{
    const struct visit all = {path, visit, context};
    return visit_from(&all, 0, value);
}
