/* Parts of a value, by path: `a.b.c`, `a[].b`, `a[0]`, `"quoted.key"`.
 *
 * All paths are followed together in one walk. At each node stands a list of states, one per path
 * that still agrees with the way there: how many of its segments are used up. A name that meets an
 * array stays where it is and looks into the elements. */
#include "index/path.h"

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
        const struct path_segment *segment = &path->segments[states[i].used];
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
        if (!path_parse(paths[*bad], scratch, &parsed[*bad]))
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
