/* Random payloads of every shape, few enough values that conditions meet them. Include after
 * index_fixture.h. */
#ifndef KITH_TESTS_RANDOM_PAYLOAD_H
#define KITH_TESTS_RANDOM_PAYLOAD_H

#include "server/json.h"

static inline struct span json_of(struct arena *arena, const char *text)
{
    struct json json;
    struct span value;
    json_init(&json, span_text(text), arena);
    if (!json_value(&json, &value)) {
        fail_msg("%s: %s", text, json.why);
    }
    return value;
}

static const char *const paths[] = {"a", "b", "a.b", "c[].b", "c[]", "\"x.y\""};
#define PATHS (sizeof paths / sizeof *paths)

/* A value of any shape, shallow. */
static inline const char *random_value(struct arena *arena, uint64_t *random, int depth)
{
    switch (random_below(random, depth > 0 ? 13 : 9)) {
    case 0:
        return "null";
    case 1:
        return random_below(random, 2) ? "true" : "false";
    case 2:
        return arena_format(arena, "%d", (int)random_below(random, 5) - 2);
    case 3:
        return arena_format(arena, "%g", (double)random_below(random, 8) / 4 - 1);
    case 4:
        return random_below(random, 2) ? "18446744073709551615" : "-9007199254740993";
    case 5:
        return arena_format(arena, random_below(random, 2) ? "\"%c\\u0000é\"" : "\"%c A b\"",
                            'a' + (char)random_below(random, 3));
    case 6:
        return random_below(random, 2) ? "\"2024-01-01T00:00:00Z\"" : "\"2024-01-02\"";
    case 7:
        return random_below(random, 2) ? "\"550e8400-e29b-41d4-a716-446655440000\""
                                       : "\"550E8400E29B41D4A716446655440000\"";
    case 8:
        return arena_format(arena, "{\"lon\":%d,\"lat\":%d}", (int)random_below(random, 360) - 180,
                            (int)random_below(random, 180) - 90);
    case 9:
        return "[]";
    case 10:
        return arena_format(arena, "[%s,%s]", random_value(arena, random, depth - 1),
                            random_value(arena, random, depth - 1));
    default:
        return arena_format(arena, "{\"b\":%s,\"z\":%s}", random_value(arena, random, depth - 1),
                            random_value(arena, random, depth - 1));
    }
}

static inline struct span random_payload(struct arena *arena, uint64_t *random)
{
    const char *text = "";
    static const char *const keys[] = {"a", "b", "c", "x.y"};
    for (size_t i = 0; i < 4; i++) {
        if (random_below(random, 3) > 0) {
            text = arena_format(arena, "%s%s\"%s\":%s", text, *text ? "," : "", keys[i],
                                random_value(arena, random, 2));
        }
    }
    return json_of(arena, arena_format(arena, "{%s}", text));
}

#endif
