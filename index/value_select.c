/* Parts of a value, by path: `a.b.c`, `a[].b`, `a[0]`, `"quoted.key"`.
 *
 * All paths are followed together in one walk. At each node stands a list of states, one per path
 * that still agrees with the way there: how many of its segments are used up. A name that meets an
 * array stays where it is and looks into the elements. */
#include "index/value.h"

#include <assert.h>

enum segment_kind { SEGMENT_KEY, SEGMENT_EVERY, SEGMENT_INDEX };

struct segment {
    enum segment_kind kind;
    struct span key;
    uint64_t index;
};

struct path {
    struct segment *segments;
    size_t count;
};

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

static bool parse_key(struct span text, size_t *i, struct arena *arena, struct segment *segment)
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
static bool parse_index(struct span text, size_t *i, struct segment *segment)
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

static bool parse_path(struct span text, struct arena *arena, struct path *path)
{
    size_t most = 1;
    for (size_t i = 0; i < text.bytes; i++)
        most += at(text, i, '.') || at(text, i, '[');
    path->segments = arena_allocate(arena, size_product(most, sizeof *path->segments));
    path->count = 0;
    size_t i = 0;
    if (!parse_key(text, &i, arena, &path->segments[path->count++]))
        return false;
    while (i < text.bytes) {
        struct segment *segment = &path->segments[path->count++];
        bool good = false;
        if (at(text, i, '['))
            good = parse_index(text, &i, segment);
        else if (at(text, i, '.') && ++i)
            good = parse_key(text, &i, arena, segment);
        if (!good)
            return false;
    }
    assert(path->count <= most);
    return true;
}

/* ---- following ---- */

struct state {
    uint32_t path, used;
};

struct selection {
    bool include;
    const struct path *paths;
    struct state *states; /* (VALUE_DEPTH_MAX + 1) lists of path_count */
    size_t path_count;
    struct value_builder builder;
};

/* The states below a node: of a member by its key, of an element by its place. Returns how many;
 * *whole says that one path ends there. */
static size_t descend(const struct selection *selection, const struct state *states, size_t count,
                      const struct span *key, uint64_t place, struct state *below, bool *whole)
{
    size_t kept = 0;
    *whole = false;
    for (size_t i = 0; i < count; i++) {
        const struct path *path = &selection->paths[states[i].path];
        const struct segment *segment = &path->segments[states[i].used];
        struct state next = states[i];
        if (key) {
            if (segment->kind != SEGMENT_KEY || !span_equal(segment->key, *key))
                continue;
            next.used++;
        } else if (segment->kind != SEGMENT_KEY) {
            if (segment->kind == SEGMENT_INDEX && segment->index != place)
                continue;
            next.used++;
        }
        *whole |= next.used == path->count;
        below[kept++] = next;
    }
    return kept;
}

static enum error select_inside(struct selection *selection, struct span value, size_t depth,
                                size_t state_count);

/* One member or element, whose key has been seen to if it has one. */
static enum error select_one(struct selection *selection, struct span value, size_t depth,
                             size_t state_count, bool whole)
{
    enum value_kind kind = value_kind(value);
    bool container = kind == VALUE_ARRAY || kind == VALUE_OBJECT;
    if (whole || state_count == 0 || !container) {
        value_put_value(&selection->builder, value);
        return OK;
    }
    return select_inside(selection, value, depth, state_count);
}

static enum error select_inside(struct selection *selection, struct span value, size_t depth,
                                size_t state_count)
{
    struct state *states = selection->states + depth * selection->path_count;
    struct value_cursor cursor;
    struct span key, inner;
    bool object = value_kind(value) == VALUE_OBJECT, whole;
    enum error error =
        object ? value_open_object(&selection->builder) : value_open_array(&selection->builder);
    if (error)
        return error;
    value_walk(value, &cursor);
    for (uint64_t place = 0; value_next(&cursor, &key, &inner); place++) {
        size_t below = descend(selection, states, state_count, object ? &key : NULL, place,
                               states + selection->path_count, &whole);
        if (selection->include ? below == 0 : whole)
            continue;
        if (object && (error = value_put_key(&selection->builder, key)))
            return error;
        if ((error = select_one(selection, inner, depth + 1, below, whole)))
            return error;
    }
    value_close(&selection->builder);
    return OK;
}

/* The work of value_select, with memory that ends with it apart from the result's. */
static enum error select_with(struct span value, struct selection *selection,
                              const struct span *paths, struct arena *scratch, struct span *out,
                              size_t *bad)
{
    size_t count = selection->path_count;
    struct path *parsed = arena_allocate(scratch, (count + 1) * sizeof *parsed);
    for (*bad = 0; *bad < count; ++*bad)
        if (!parse_path(paths[*bad], scratch, &parsed[*bad]))
            return ERROR_INVALID;
    if (value_kind(value) != VALUE_OBJECT) {
        *out = value;
        return OK;
    }
    selection->paths = parsed;
    selection->states =
        arena_allocate(scratch, (VALUE_DEPTH_MAX + 1) * (count + 1) * sizeof *selection->states);
    for (size_t i = 0; i < count; i++)
        selection->states[i] = (struct state){(uint32_t)i, 0};
    enum error error = select_inside(selection, value, 0, count);
    if (!error)
        *out = value_end(&selection->builder);
    return error;
}

enum error value_select(struct span value, bool include, const struct span *paths,
                        size_t path_count, struct arena *arena, struct span *out, size_t *bad)
{
    if (path_count > VALUE_PATHS_MAX) {
        *bad = VALUE_PATHS_MAX;
        return ERROR_TOO_LARGE;
    }
    struct selection selection = {.include = include, .path_count = path_count};
    value_begin(&selection.builder, arena);
    /* A reply may select from a million points: what each leaves in the request's arena counts. */
    struct arena scratch;
    arena_init(&scratch);
    enum error error = select_with(value, &selection, paths, &scratch, out, bad);
    arena_release(&scratch);
    return error;
}
