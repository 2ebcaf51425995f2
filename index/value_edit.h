/* Changing a value: what payload updates do to a stored payload.
 *
 * A value is immutable, so each gives a new one in the arena and leaves the old alone; parts that
 * do not change are copied whole. `object` is an object, or empty for one without members; so is
 * the result (never empty bytes). In a merge a null removes its key, as in the compatible API. All
 * are functions of their bytes alone, so replicas that apply them agree. ERROR_TOO_LARGE: the
 * result would be nested deeper than VALUE_DEPTH_MAX or have more than VALUE_BYTES_MAX bytes, or a
 * [] would multiply the work beyond reason. ERROR_CORRUPT: object or patch is no object. */
#ifndef KITH_INDEX_VALUE_EDIT_H
#define KITH_INDEX_VALUE_EDIT_H

#include "index/path.h"

/* Members of patch take the place of those of object; new ones come behind, in their order. */
enum error value_merge(struct span object, struct span patch, struct arena *arena,
                       struct span *out) MUST_CHECK;
/* Merge patch into the object at path. What is missing on the way is made, and what is of another
 * type there is replaced: a name makes an object, [] and [n] an empty array. A place beyond an
 * array's end changes nothing, [] goes into every element. */
enum error value_merge_at(struct span object, const struct path *path, struct span patch,
                          struct arena *arena, struct span *out) MUST_CHECK;
/* Remove what the paths lead to: members of objects, all elements for a [] at the end. A path that
 * ends in [n] changes nothing, as removing it twice would remove two. At most VALUE_PATHS_MAX. */
enum error value_remove(struct span object, const struct path *paths, size_t path_count,
                        struct arena *arena, struct span *out) MUST_CHECK;

#endif
