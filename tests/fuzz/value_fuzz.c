/* Any bytes as a flat value, as a disk might give them back, and any paths to select from it.
 *
 * The first byte chooses include or exclude and how many of the following bytes are paths, one a
 * line; the rest is the value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define PATHS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint64_t read_bytes(struct span text)
{
    uint64_t sum = text.bytes;
    for (size_t i = 0; i < text.bytes; i++)
        sum += text.data[i];
    return sum;
}

static uint64_t read_everything(struct span value, unsigned depth)
{
    struct value_cursor cursor;
    struct span key, inner;
    uint64_t sum = (uint64_t)value_kind(value) + value_bool(value) + value_unsigned(value);
    sum += (uint64_t)value_integer(value) + (value_double(value) > 0);
    sum += read_bytes(value_string(value)) + read_bytes(value_source(value));
    REQUIRE(value_count(value) <= value.bytes);
    value_walk(value, &cursor);
    while (depth < 150 && value_next(&cursor, &key, &inner)) {
        REQUIRE(inner.bytes && inner.data + inner.bytes <= value.data + value.bytes);
        sum += read_bytes(key) + read_everything(inner, depth + 1);
    }
    return sum + read_bytes(value_get(value, span_text("a")));
}

static size_t split_lines(struct span text, struct span lines[PATHS])
{
    size_t count = 0, begin = 0;
    for (size_t i = 0; i <= text.bytes && count < PATHS; i++)
        if (i == text.bytes || text.data[i] == '\n') {
            lines[count++] = span_of(text.data + begin, i - begin);
            begin = i + 1;
        }
    return count;
}

static void check_select(struct span value, bool include, struct span paths, struct arena *arena)
{
    struct span lines[PATHS], out;
    size_t bad, count = split_lines(paths, lines);
    bool good = value_check(value);
    enum error error = value_select(value, include, lines, count, arena, &out, &bad);
    if (error == ERROR_INVALID)
        REQUIRE(bad < count);
    else if (good)
        REQUIRE(error == ERROR_EXISTS || (error == OK && value_check(out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    if (bytes < 1)
        return 0;
    size_t path_bytes = data[0] >> 1;
    if (path_bytes > bytes - 1)
        path_bytes = bytes - 1;
    struct span paths = span_of(data + 1, path_bytes);
    struct span value = span_of(data + 1 + path_bytes, bytes - 1 - path_bytes);
    arena_init(&arena);
    volatile uint64_t sum = read_everything(value, 0);
    (void)sum;
    check_select(value, data[0] & 1, paths, &arena);
    struct text text = {0};
    text_value(&text, value);
    text_release(&text);
    arena_release(&arena);
    return 0;
}
