/* Edits of any bytes as a value, as a disk might give them back, by any paths.
 *
 * Bytes 0 and 1: how long the paths are (one a line) and how long the patch is; then the paths, the
 * patch, and the value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/value_edit.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define PATHS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct span take(struct span *rest, size_t bytes)
{
    bytes = bytes < rest->bytes ? bytes : rest->bytes;
    struct span taken = span_of(rest->data, bytes);
    *rest = span_of(rest->data + bytes, rest->bytes - bytes);
    return taken;
}

static size_t read_paths(struct span text, struct arena *arena, struct path paths[PATHS])
{
    size_t count = 0, begin = 0;
    for (size_t i = 0; i <= text.bytes && count < PATHS; i++)
        if (i == text.bytes || text.data[i] == '\n') {
            count += path_parse(span_of(text.data + begin, i - begin), arena, &paths[count]);
            begin = i + 1;
        }
    return count;
}

/* Unique keys are the builder's promise; a damaged value may break it, and is refused or mended. */
static void require_sound(bool sound, enum error error, struct span out)
{
    if (sound)
        REQUIRE(error == OK || error == ERROR_TOO_LARGE || error == ERROR_CORRUPT);
    if (sound && error == OK)
        REQUIRE(value_check(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    struct path paths[PATHS];
    struct span out = {0}, again = {0};
    if (bytes < 2)
        return 0;
    struct span rest = span_of(data + 2, bytes - 2);
    arena_init(&arena);
    size_t count = read_paths(take(&rest, data[0]), &arena, paths);
    struct span patch = take(&rest, data[1]);
    bool sound = value_check(patch) && (rest.bytes == 0 || value_check(rest));
    require_sound(sound, value_merge(rest, patch, &arena, &out), out);
    if (count > 0)
        require_sound(sound, value_merge_at(rest, &paths[0], patch, &arena, &out), out);
    enum error error = value_remove(rest, paths, count, &arena, &out);
    require_sound(sound, error, out);
    if (sound && error == OK) { /* what is removed stays removed */
        REQUIRE(value_remove(out, paths, count, &arena, &again) == OK);
        REQUIRE(span_equal(out, again));
    }
    arena_release(&arena);
    return 0;
}
