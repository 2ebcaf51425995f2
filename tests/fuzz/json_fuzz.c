/* The scanner on any bytes: skipping and building agree, what is built prints and reads back as the
 * same bytes, float arrays are those that json_double reads one by one, and a handler calling
 * whatever it likes never gets past the body's end. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_value(struct span body, struct arena *arena)
{
    struct json json, again;
    struct span value, back;
    json_init(&json, body, arena);
    bool skipped = json_skip(&json) && json_finish(&json);
    REQUIRE(skipped || json_failed(&json));
    json_init(&json, body, arena);
    bool built = json_value(&json, &value) && json_finish(&json);
    if (!built) {
        REQUIRE(json_failed(&json));
        REQUIRE(!skipped || strstr(json.why, "duplicate key") || strstr(json.why, "out of range"));
        return;
    }
    REQUIRE(skipped && value_check(value));
    struct text text = {0};
    text_value(&text, value);
    json_init(&again, span_of(text.data, text.bytes), arena);
    REQUIRE(json_value(&again, &back) && json_finish(&again));
    REQUIRE(span_equal(value, back));
    text_release(&text);
}

/* The same array one element at a time. */
static bool floats_one_by_one(struct json *json, float *out, size_t capacity, size_t *count)
{
    double v;
    *count = 0;
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        if (!json_double(json, &v) || v >= 0x1.ffffffp127 || v <= -0x1.ffffffp127)
            return false;
        if (*count < capacity)
            out[*count] = (float)v;
        ++*count;
    }
    return !json_failed(json);
}

#define FLOATS 300
static void check_floats(struct span body, struct arena *arena)
{
    static float fast[FLOATS], slow[FLOATS];
    struct json a, b;
    size_t fast_count, slow_count;
    json_init(&a, body, arena);
    json_init(&b, body, arena);
    bool good = json_floats(&a, fast, FLOATS, &fast_count);
    REQUIRE(good == floats_one_by_one(&b, slow, FLOATS, &slow_count));
    if (!good) {
        REQUIRE(json_failed(&a));
        return;
    }
    REQUIRE(fast_count == slow_count && a.next == b.next && a.depth == b.depth);
    REQUIRE(memcmp(fast, slow, (fast_count < FLOATS ? fast_count : FLOATS) * sizeof *fast) == 0);
    float *grown;
    json_init(&b, body, arena);
    bool fits = json_floats_arena(&b, &grown, &slow_count, FLOATS);
    REQUIRE(fits == (fast_count <= FLOATS));
    if (fits && fast_count)
        REQUIRE(memcmp(fast, grown, fast_count * sizeof *fast) == 0);
}

/* One call, any of them, in any state. */
static void any_call(struct json *json, unsigned which)
{
    struct span text;
    uint64_t number;
    double real;
    bool flag;
    float floats[3];
    size_t count;
    switch (which % 13) {
    case 0:
        (void)json_enter_object(json);
        break;
    case 1:
        (void)json_key(json, &text);
        break;
    case 2:
        (void)json_enter_array(json);
        break;
    case 3:
        (void)json_element(json);
        break;
    case 4:
        (void)json_string(json, &text);
        break;
    case 5:
        (void)json_bool(json, &flag);
        break;
    case 6:
        (void)json_null(json);
        break;
    case 7:
        (void)json_number(json, &text);
        break;
    case 8:
        (void)json_u64(json, &number);
        break;
    case 9:
        (void)json_double(json, &real);
        break;
    case 10:
        (void)json_floats(json, floats, 3, &count);
        break;
    case 11:
        (void)json_value(json, &text);
        break;
    default:
        (void)json_skip(json);
    }
}

/* The first eight bytes choose the calls; what opens is mostly entered, or few would get deep. */
static void check_calls(struct span body, struct arena *arena)
{
    struct json json;
    if (body.bytes < 8)
        return;
    uint64_t choices = load64(body.data) | 1;
    json_init(&json, span_of(body.data + 8, body.bytes - 8), arena);
    for (int i = 0; i < 200 && !json_failed(&json); i++) {
        unsigned which = (unsigned)(choices >> 33);
        choices = choices * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        enum json_token token = json_peek(&json);
        if (token == JSON_END) {
            REQUIRE(json_finish(&json) && json.depth == 0);
            return;
        }
        bool opens = token == JSON_OBJECT || token == JSON_ARRAY;
        if (opens && which & 3)
            any_call(&json, token == JSON_OBJECT ? 0 : 2);
        else
            any_call(&json, which >> 2);
        REQUIRE(json.next >= json.begin && json.next <= json.end && json.depth <= JSON_DEPTH_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    struct span body = span_of(data, bytes);
    arena_init(&arena);
    check_value(body, &arena);
    check_floats(body, &arena);
    check_calls(body, &arena);
    arena_release(&arena);
    return 0;
}
