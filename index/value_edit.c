/* Changing a value, by building the new one in one walk through the old. */
#include "index/value_edit.h"

#include <assert.h>
#include <stdlib.h>

/* Members of a patch written into all the places of a path; a second or two at most. */
#define MERGE_WORK_MAX (UINT64_C(1) << 26)

static bool is_object(struct span value)
{
    return value_kind(value) == VALUE_OBJECT;
}

/* The result, unless it has become too large for 32-bit offsets. */
static enum error edit_end(struct value_builder *builder, enum error error, struct span *out)
{
    if (error != OK) {
        return error;
    }
    *out = value_end(builder);
    return out->bytes <= VALUE_BYTES_MAX ? OK : ERROR_TOO_LARGE;
}

/* Keys of a sound value are unique: one that is there twice is damage. */
static enum error put_key(struct value_builder *builder, struct span key)
{
    return value_put_key(builder, key) == OK ? OK : ERROR_CORRUPT;
}

static enum error put_member(struct value_builder *builder, struct span key, struct span value)
{
    const enum error error = put_key(builder, key);
    if (error == OK) {
        value_put_value(builder, value);
    }
    return error;
}

/* ---- merging ---- */

/* The members of a patch, sorted by key: a payload may have a million of them, and so may what it
 * is merged into. */
struct member {
    struct span key, value;
    bool used;
};
struct members {
    struct member *items; /* in document order */
    struct member **sorted;
    size_t count;
};

static int compare_keys(const struct span *a, const struct span *b)
{
    const size_t bytes = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = bytes == 0 ? 0 : memcmp(a->data, b->data, bytes);
    return order != 0 ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int compare_members(const void *a, const void *b)
{
    const struct member *const *left = a, *const *right = b;
    return compare_keys(&(*left)->key, &(*right)->key);
}

static void members_read(struct span object, struct arena *arena, struct members *members)
{
    const size_t most = value_count(object); /* never more than its bytes */
    struct value_cursor cursor;
    struct member member = {.used = false};
    members->items = arena_allocate(arena, size_product(most + 1, sizeof *members->items));
    members->sorted = arena_allocate(arena, size_product(most + 1, sizeof(struct member *)));
    members->count = 0;
    value_walk(object, &cursor);
    while (members->count < most && value_next(&cursor, &member.key, &member.value)) {
        members->items[members->count] = member;
        members->sorted[members->count] = &members->items[members->count];
        members->count++;
    }
    qsort(members->sorted, members->count, sizeof(struct member *), compare_members);
}

static struct member *members_find(const struct members *members, struct span key)
{
    size_t low = 0, high = members->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_keys(&members->sorted[middle]->key, &key);
        if (order == 0) {
            return members->sorted[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct merge {
    struct value_builder builder;
    const struct path *path;
    struct members members; /* of the patch */
    size_t patch_bytes;
    uint64_t work; /* members of the patch gone through: [] multiplies them */
};

static void merge_begin(struct merge *merge, const struct path *path, struct span patch,
                        struct arena *arena)
{
    *merge = (struct merge){.path = path, .patch_bytes = patch.bytes};
    value_begin(&merge->builder, arena);
    members_read(patch, arena, &merge->members);
}

static bool merge_fits(struct merge *merge)
{
    merge->work += merge->members.count;
    return merge->work <= MERGE_WORK_MAX &&
           merge->builder.bytes + merge->patch_bytes <= VALUE_BYTES_MAX;
}

static enum error put_unused(struct merge *merge)
{
    enum error error = OK;
    for (size_t i = 0; i < merge->members.count && error == OK; i++) {
        struct member *member = &merge->members.items[i];
        if (!member->used && value_kind(member->value) != VALUE_NULL) {
            error = put_member(&merge->builder, member->key, member->value);
        }
        member->used = false;
    }
    return error;
}

/* An object with the patch merged in, at the builder's place. object: empty, or an object. */
static enum error put_merged(struct merge *merge, struct span object)
{
    struct value_builder *builder = &merge->builder;
    struct value_cursor cursor;
    struct span key, value;
    if (!merge_fits(merge)) {
        return ERROR_TOO_LARGE;
    }
    enum error error = value_open_object(builder);
    value_walk(object, &cursor);
    while (error == OK && value_next(&cursor, &key, &value)) {
        struct member *member = members_find(&merge->members, key);
        if (member != NULL) {
            member->used = true;
            value = member->value;
        }
        if (member == NULL || value_kind(value) != VALUE_NULL) {
            error = put_member(builder, key, value);
        }
    }
    if (error == OK) {
        error = put_unused(merge);
    }
    if (error == OK) {
        value_close(builder);
    }
    return error;
}

enum error value_merge(struct span object, struct span patch, struct arena *arena, struct span *out)
{
    if ((object.bytes > 0 && !is_object(object)) || !is_object(patch)) {
        return ERROR_CORRUPT;
    }
    struct merge merge;
    merge_begin(&merge, NULL, patch, arena);
    const enum error error = put_merged(&merge, object);
    return edit_end(&merge.builder, error, out);
}

/* ---- merging at a path ---- */

static enum error merge_into(struct merge *merge, struct span value, size_t used);

/* A name: the member of that key, which is made if it is missing. */
static enum error merge_into_key(struct merge *merge, struct span value, size_t used)
{
    const struct path_segment *segment = &merge->path->segments[used];
    struct value_cursor cursor;
    struct span key, inner;
    bool found = false;
    enum error error = value_open_object(&merge->builder);
    value_walk(is_object(value) ? value : (struct span){0}, &cursor);
    while (error == OK && value_next(&cursor, &key, &inner)) {
        if (!span_equal(key, segment->key)) {
            error = put_member(&merge->builder, key, inner);
            continue;
        }
        found = true;
        error = put_key(&merge->builder, key);
        if (error == OK) {
            error = merge_into(merge, inner, used + 1);
        }
    }
    if (error == OK && !found) {
        error = put_key(&merge->builder, segment->key);
        if (error == OK) {
            error = merge_into(merge, (struct span){0}, used + 1);
        }
    }
    if (error == OK) {
        value_close(&merge->builder);
    }
    return error;
}

/* [] or [n]: elements of an array that is there. */
static enum error merge_into_elements(struct merge *merge, struct span value, size_t used)
{
    const struct path_segment *segment = &merge->path->segments[used];
    struct value_cursor cursor;
    struct span key, inner;
    enum error error = value_open_array(&merge->builder);
    value_walk(value_kind(value) == VALUE_ARRAY ? value : (struct span){0}, &cursor);
    for (uint64_t place = 0; error == OK && value_next(&cursor, &key, &inner); place++) {
        if (segment->kind == SEGMENT_EVERY || segment->index == place) {
            error = merge_into(merge, inner, used + 1);
        } else {
            value_put_value(&merge->builder, inner);
        }
    }
    if (error == OK) {
        value_close(&merge->builder);
    }
    return error;
}

/* value: what is there, empty if nothing is. Depth ends where value_open_* refuses. */
static enum error merge_into(struct merge *merge, struct span value, size_t used)
{
    if (used == merge->path->count) {
        return put_merged(merge, is_object(value) ? value : (struct span){0});
    }
    return merge->path->segments[used].kind == SEGMENT_KEY
               ? merge_into_key(merge, value, used)
               : merge_into_elements(merge, value, used);
}

enum error value_merge_at(struct span object, const struct path *path, struct span patch,
                          struct arena *arena, struct span *out)
{
    assert(path->count > 0 && path->segments[0].kind == SEGMENT_KEY);
    if ((object.bytes > 0 && !is_object(object)) || !is_object(patch)) {
        return ERROR_CORRUPT;
    }
    struct merge merge;
    merge_begin(&merge, path, patch, arena);
    const enum error error = merge_into(&merge, object, 0);
    return edit_end(&merge.builder, error, out);
}

/* ---- removing ---- */

/* A path that agrees with the way to a node, and how many of its segments that took. */
struct trail {
    uint32_t path, used;
};

struct removal {
    struct value_builder builder;
    const struct path *paths;
    size_t path_count;
    struct trail *trails; /* (VALUE_DEPTH_MAX + 1) lists of path_count */
};

static const struct path_segment *trail_segment(const struct removal *removal, struct trail trail)
{
    return &removal->paths[trail.path].segments[trail.used];
}

static bool trail_ends(const struct removal *removal, struct trail trail)
{
    return trail.used + 1 == removal->paths[trail.path].count;
}

/* The trails that go on through a member (key) or an element (place); *remove: one ends there. */
static size_t follow(const struct removal *removal, const struct trail *trails, size_t count,
                     const struct span *key, uint64_t place, struct trail *below, bool *remove)
{
    size_t kept = 0;
    *remove = false;
    for (size_t i = 0; i < count; i++) {
        const struct path_segment *segment = trail_segment(removal, trails[i]);
        const bool fits = key != NULL
                              ? segment->kind == SEGMENT_KEY && span_equal(segment->key, *key)
                              : segment->kind == SEGMENT_EVERY ||
                                    (segment->kind == SEGMENT_INDEX && segment->index == place);
        if (!fits) {
            continue;
        }
        if (trail_ends(removal, trails[i])) {
            *remove |= segment->kind != SEGMENT_INDEX;
            continue;
        }
        below[kept++] = (struct trail){trails[i].path, trails[i].used + 1};
    }
    return kept;
}

static enum error put_without(struct removal *removal, struct span value, size_t depth,
                              size_t trail_count)
{
    const struct trail *trails = removal->trails + depth * removal->path_count;
    struct trail *below = removal->trails + (depth + 1) * removal->path_count;
    struct value_cursor cursor;
    struct span key, inner;
    const bool object = is_object(value);
    if (trail_count == 0 || (!object && value_kind(value) != VALUE_ARRAY)) {
        value_put_value(&removal->builder, value);
        return OK;
    }
    enum error error =
        object ? value_open_object(&removal->builder) : value_open_array(&removal->builder);
    value_walk(value, &cursor);
    for (uint64_t place = 0; error == OK && value_next(&cursor, &key, &inner); place++) {
        bool remove;
        const size_t kept =
            follow(removal, trails, trail_count, object ? &key : NULL, place, below, &remove);
        if (remove) {
            continue;
        }
        if (object) {
            error = put_key(&removal->builder, key);
        }
        if (error == OK) {
            error = put_without(removal, inner, depth + 1, kept);
        }
    }
    if (error == OK) {
        value_close(&removal->builder);
    }
    return error;
}

enum error value_remove(struct span object, const struct path *paths, size_t path_count,
                        struct arena *arena, struct span *out)
{
    if (object.bytes > 0 && !is_object(object)) {
        return ERROR_CORRUPT;
    }
    if (path_count > VALUE_PATHS_MAX) {
        return ERROR_TOO_LARGE;
    }
    struct removal removal = {.paths = paths, .path_count = path_count};
    value_begin(&removal.builder, arena);
    removal.trails = arena_allocate(
        arena, size_product((VALUE_DEPTH_MAX + 1) * (path_count + 1), sizeof(struct trail)));
    for (size_t i = 0; i < path_count; i++) {
        assert(paths[i].count > 0);
        removal.trails[i] = (struct trail){(uint32_t)i, 0};
    }
    enum error error;
    if (object.bytes == 0) {
        error = value_open_object(&removal.builder);
        if (error == OK) {
            value_close(&removal.builder);
        }
    } else {
        error = put_without(&removal, object, 0, path_count);
    }
    return edit_end(&removal.builder, error, out);
}
