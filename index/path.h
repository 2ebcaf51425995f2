/* Paths into a value: `a.b.c`, `a[].b`, `a[0]`, `"quoted.key"`.
 *
 * Plain names are letters, digits, `_`, `-` and everything beyond ASCII; in quotes stands anything,
 * \" and \\ for themselves. `[]` is every element of an array, `[3]` one of them. */
#ifndef KITH_INDEX_PATH_H
#define KITH_INDEX_PATH_H

#include "index/value.h"

/* A longer path leads nowhere: no value is deeper. */
#define PATH_SEGMENTS_MAX VALUE_DEPTH_MAX

enum path_segment_kind { SEGMENT_KEY, SEGMENT_EVERY, SEGMENT_INDEX };

struct path_segment {
    enum path_segment_kind kind;
    struct span key;
    uint64_t index;
};

struct path {
    struct path_segment *segments;
    size_t count; /* at least 1 */
};

/* Keys point into text or the arena. false: malformed, not UTF-8, or more than PATH_SEGMENTS_MAX
 * segments. */
bool path_parse(struct span text, struct arena *arena, struct path *path);

/* Call visit for every value the path leads to, in order, until it says true; true if it did. A
 * name is looked up in objects only, a place in arrays only. Allocates nothing; the value may be
 * damaged.
 */
bool path_visit(const struct path *path, struct span value,
                bool (*visit)(const void *context, struct span value), const void *context);

#endif
