/* Changing values: the documented cases, and random edits against a naive tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index/value_edit.h"
#include "server/json.h"

static struct span value_of(struct arena *arena, const char *text)
{
    struct json json;
    struct span value;
    json_init(&json, span_text(text), arena);
    if (!json_value(&json, &value))
        fail_msg("%s: %s", text, json.why);
    return value;
}

static void assert_text(struct span value, const char *expected)
{
    struct text text = {0};
    assert_true(value_check(value));
    text_value(&text, value);
    text_put(&text, "", 1);
    assert_string_equal(text.data, expected);
    text_release(&text);
}

static struct path path_of(struct arena *arena, const char *text)
{
    struct path path;
    if (!path_parse(span_text(text), arena, &path))
        fail_msg("no path: %s", text);
    return path;
}

static struct span object_of(struct arena *arena, const char *text)
{
    return *text == '\0' ? (struct span){0} : value_of(arena, text);
}

/* ---- cases ---- */

static void test_bad_paths(void **state)
{
    static const char *const bad[] = {"", "a.", ".a", "a[", "a[x]", "a]", "a b", "\"a", "[0]",
                                      /* not UTF-8, so no key of a value */
                                      "\xff", "a.\x80", "\"\xc3\"", "a.\xed\xa0\x80[]"};
    struct arena arena;
    struct path path;
    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (path_parse(span_text(bad[i]), &arena, &path))
            fail_msg("%s: taken as a path", bad[i]);
    assert_true(path_parse(span_text("gr\xc3\xb6\xc3\x9f"
                                     "e[].\"a b\""),
                           &arena, &path));
    assert_int_equal(path.count, 3);
    arena_release(&arena);
}

static void test_merge(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"", "{}", "{}"},
        {"", "{\"a\":1,\"n\":null}", "{\"a\":1}"},
        {"{\"a\":1,\"b\":{\"x\":1}}", "{\"b\":{\"y\":2},\"c\":10.0}",
         "{\"a\":1,\"b\":{\"y\":2},\"c\":10.0}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", "{\"z\":0,\"b\":null,\"a\":[null]}",
         "{\"a\":[null],\"c\":3,\"z\":0}"},
        {"{\"\":1,\"aa\":2,\"a\":3}", "{\"a\":4,\"\":5}", "{\"\":5,\"aa\":2,\"a\":4}"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct span out;
        assert_int_equal(value_merge(object_of(&arena, cases[i][0]), value_of(&arena, cases[i][1]),
                                     &arena, &out),
                         OK);
        assert_text(out, cases[i][2]);
    }
    arena_release(&arena);
}

static void test_merge_at(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"", "a", "{\"x\":1}", "{\"a\":{\"x\":1}}"},
        {"{\"a\":7}", "a", "{\"x\":1,\"n\":null}", "{\"a\":{\"x\":1}}"},
        {"{\"a\":{\"y\":2}}", "a", "{\"x\":1}", "{\"a\":{\"y\":2,\"x\":1}}"},
        {"{\"a\":{\"y\":2}}", "a.b.c", "{\"x\":1}", "{\"a\":{\"y\":2,\"b\":{\"c\":{\"x\":1}}}}"},
        {"{\"a\":[{\"y\":2},3]}", "a[]", "{\"x\":1}", "{\"a\":[{\"y\":2,\"x\":1},{\"x\":1}]}"},
        {"{\"a\":[{\"y\":2},3]}", "a[1]", "{\"x\":1}", "{\"a\":[{\"y\":2},{\"x\":1}]}"},
        {"{\"a\":[{\"y\":2},3]}", "a[2]", "{\"x\":1}", "{\"a\":[{\"y\":2},3]}"},
        {"{\"a\":{\"y\":2}}", "a[0]", "{\"x\":1}", "{\"a\":[]}"},
        {"{\"a\":{\"y\":2}}", "a[]", "{\"x\":1}", "{\"a\":[]}"},
        {"{}", "a[].b", "{\"x\":1}", "{\"a\":[]}"},
        {"{\"a\":[{},{\"b\":[1]}]}", "a[].b[0].c", "{\"x\":1}",
         "{\"a\":[{\"b\":[]},{\"b\":[{\"c\":{\"x\":1}}]}]}"},
        {"{\"a\":[1]}", "a.b", "{\"x\":1}", "{\"a\":{\"b\":{\"x\":1}}}"},
        {"{\"a.b\":1}", "\"a.b\"", "{\"x\":1}", "{\"a.b\":{\"x\":1}}"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct path path = path_of(&arena, cases[i][1]);
        struct span out;
        assert_int_equal(value_merge_at(object_of(&arena, cases[i][0]), &path,
                                        value_of(&arena, cases[i][2]), &arena, &out),
                         OK);
        assert_text(out, cases[i][3]);
    }
    arena_release(&arena);
}

static void test_remove(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"", "a", "", "{}"},
        {"{\"a\":1,\"b\":2}", "a", "", "{\"b\":2}"},
        {"{\"a\":1,\"b\":2}", "a", "b", "{}"},
        {"{\"a\":{\"b\":1,\"c\":2}}", "a.b", "a.x", "{\"a\":{\"c\":2}}"},
        {"{\"a\":{\"b\":1,\"c\":2}}", "a", "a.b", "{}"},
        {"{\"a\":[{\"b\":1},{\"b\":2,\"c\":3}]}", "a.b", "",
         "{\"a\":[{\"b\":1},{\"b\":2,\"c\":3}]}"},
        {"{\"a\":[{\"b\":1},{\"b\":2,\"c\":3}]}", "a[].b", "", "{\"a\":[{},{\"c\":3}]}"},
        {"{\"a\":[{\"b\":1},{\"b\":2,\"c\":3}]}", "a[1].b", "a[0].c",
         "{\"a\":[{\"b\":1},{\"c\":3}]}"},
        {"{\"a\":[1,2,3]}", "a[1]", "", "{\"a\":[1,2,3]}"},
        {"{\"a\":[1,[2],3]}", "a[]", "", "{\"a\":[]}"},
        {"{\"a\":[1,[2],3]}", "a[][]", "a[1]", "{\"a\":[1,[],3]}"},
        {"{\"a.b\":1,\"a\":{\"b\":2}}", "\"a.b\"", "", "{\"a\":{\"b\":2}}"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct path paths[2] = {path_of(&arena, cases[i][1])};
        size_t count = 1;
        if (*cases[i][2] != '\0')
            paths[count++] = path_of(&arena, cases[i][2]);
        struct span out;
        assert_int_equal(value_remove(object_of(&arena, cases[i][0]), paths, count, &arena, &out),
                         OK);
        assert_text(out, cases[i][3]);
    }
    arena_release(&arena);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena arena;
    struct span out = {0}, patch, large;
    char text[600] = "a";
    arena_init(&arena);
    /* 127 objects around the patch's own are as deep as a value gets */
    for (size_t i = 1; i < VALUE_DEPTH_MAX - 1; i++)
        strcat(text, ".a");
    struct path path = path_of(&arena, text);
    patch = value_of(&arena, "{\"x\":1}");
    assert_int_equal(value_merge_at(out, &path, patch, &arena, &out), OK);
    assert_true(value_check(out));
    strcat(text, ".a");
    path = path_of(&arena, text);
    assert_int_equal(value_merge_at(out, &path, patch, &arena, &out), ERROR_TOO_LARGE);
    /* no objects */
    assert_int_equal(value_merge(value_of(&arena, "[1]"), patch, &arena, &out), ERROR_CORRUPT);
    assert_int_equal(value_merge(patch, value_of(&arena, "7"), &arena, &out), ERROR_CORRUPT);
    assert_int_equal(value_remove(value_of(&arena, "7"), &path, 1, &arena, &out), ERROR_CORRUPT);
    assert_int_equal(value_remove(patch, &path, VALUE_PATHS_MAX + 1, &arena, &out),
                     ERROR_TOO_LARGE);
    /* a [] multiplies: 20,000 places times 4,000 members */
    struct value_builder builder;
    value_begin(&builder, &arena);
    assert_int_equal(value_open_object(&builder), OK);
    assert_int_equal(value_put_key(&builder, span_text("a")), OK);
    assert_int_equal(value_open_array(&builder), OK);
    for (int i = 0; i < 20000; i++)
        value_put_null(&builder);
    value_close(&builder);
    value_close(&builder);
    large = value_end(&builder);
    value_begin(&builder, &arena);
    assert_int_equal(value_open_object(&builder), OK);
    for (int i = 0; i < 4000; i++) {
        assert_int_equal(value_put_key(&builder, span_text(arena_format(&arena, "%d", i))), OK);
        value_put_null(&builder);
    }
    value_close(&builder);
    path = path_of(&arena, "a[]");
    assert_int_equal(value_merge_at(large, &path, value_end(&builder), &arena, &out),
                     ERROR_TOO_LARGE);
    arena_release(&arena);
}

/* ---- a naive tree: nodes, changed in place, one path after the other ---- */

#define NODES_MAX 16

struct node {
    enum value_kind kind; /* VALUE_OBJECT, VALUE_ARRAY, VALUE_INTEGER or VALUE_NULL */
    int64_t number;
    char key[4]; /* in its object */
    struct node *inner[NODES_MAX];
    size_t count;
};

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state % below);
}

static const char *const keys[] = {"a", "b", "c", "d"};

static struct node *node_new(struct arena *arena, enum value_kind kind)
{
    struct node *node = arena_allocate(arena, sizeof *node);
    memset(node, 0, sizeof *node);
    node->kind = kind;
    return node;
}

static struct node *node_find(struct node *object, const char *key)
{
    for (size_t i = 0; i < object->count; i++)
        if (strcmp(object->inner[i]->key, key) == 0)
            return object->inner[i];
    return NULL;
}

static void node_drop(struct node *parent, size_t i)
{
    memmove(parent->inner + i, parent->inner + i + 1,
            (parent->count - i - 1) * sizeof parent->inner[0]);
    parent->count--;
}

static void node_add(struct node *parent, struct node *inner, const char *key)
{
    assert_true(parent->count < NODES_MAX);
    strcpy(inner->key, key);
    parent->inner[parent->count++] = inner;
}

static struct node *node_random(struct arena *arena, unsigned depth, bool object)
{
    uint32_t choice = object ? 9 : draw(10);
    if (depth == 4 || choice < 2) {
        struct node *leaf = node_new(arena, choice == 0 ? VALUE_NULL : VALUE_INTEGER);
        leaf->number = draw(5);
        return leaf;
    }
    struct node *node = node_new(arena, choice < 6 ? VALUE_ARRAY : VALUE_OBJECT);
    for (uint32_t i = draw(5); i > 0; i--) {
        const char *key = node->kind == VALUE_ARRAY ? "" : keys[draw(4)];
        if (node->kind == VALUE_ARRAY || node_find(node, key) == NULL)
            node_add(node, node_random(arena, depth + 1, false), key);
    }
    return node;
}

static struct node *node_copy(struct arena *arena, const struct node *node)
{
    struct node *copy = node_new(arena, node->kind);
    *copy = *node;
    for (size_t i = 0; i < node->count; i++)
        copy->inner[i] = node_copy(arena, node->inner[i]);
    return copy;
}

static void node_put(struct value_builder *builder, const struct node *node)
{
    if (node->kind == VALUE_NULL) {
        value_put_null(builder);
    } else if (node->kind == VALUE_INTEGER) {
        value_put_integer(builder, node->number, (struct span){0});
    } else {
        bool object = node->kind == VALUE_OBJECT;
        assert_int_equal(object ? value_open_object(builder) : value_open_array(builder), OK);
        for (size_t i = 0; i < node->count; i++) {
            if (object)
                assert_int_equal(value_put_key(builder, span_text(node->inner[i]->key)), OK);
            node_put(builder, node->inner[i]);
        }
        value_close(builder);
    }
}

static struct span node_value(struct arena *arena, const struct node *node)
{
    struct value_builder builder;
    value_begin(&builder, arena);
    node_put(&builder, node);
    return value_end(&builder);
}

static void model_merge(struct arena *arena, struct node *object, const struct node *patch)
{
    for (size_t i = 0; i < patch->count; i++) {
        const struct node *member = patch->inner[i];
        struct node *there = node_find(object, member->key);
        for (size_t j = 0; member->kind == VALUE_NULL && j < object->count; j++)
            if (object->inner[j] == there)
                node_drop(object, j);
        if (member->kind == VALUE_NULL)
            continue;
        if (there != NULL)
            *there = *node_copy(arena, member);
        else
            node_add(object, node_copy(arena, member), member->key);
    }
}

static void model_become(struct node *node, enum value_kind kind)
{
    if (node->kind != kind) {
        node->kind = kind;
        node->count = 0;
    }
}

static void model_merge_at(struct arena *arena, struct node *node, const struct path *path,
                           size_t used, const struct node *patch)
{
    if (used == path->count) {
        model_become(node, VALUE_OBJECT);
        model_merge(arena, node, patch);
        return;
    }
    const struct path_segment *segment = &path->segments[used];
    model_become(node, segment->kind == SEGMENT_KEY ? VALUE_OBJECT : VALUE_ARRAY);
    if (segment->kind == SEGMENT_KEY) {
        const char *key = arena_format(arena, "%.*s", (int)segment->key.bytes, segment->key.data);
        if (node_find(node, key) == NULL)
            node_add(node, node_new(arena, VALUE_NULL), key);
        model_merge_at(arena, node_find(node, key), path, used + 1, patch);
        return;
    }
    for (size_t i = 0; i < node->count; i++)
        if (segment->kind == SEGMENT_EVERY || segment->index == i)
            model_merge_at(arena, node->inner[i], path, used + 1, patch);
}

static void model_remove(struct node *node, const struct path *path, size_t used)
{
    const struct path_segment *segment = &path->segments[used];
    bool last = used + 1 == path->count;
    if (node->kind == VALUE_ARRAY && segment->kind == SEGMENT_EVERY && last) {
        node->count = 0;
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        struct node *inner = node->inner[i];
        if (node->kind == VALUE_OBJECT
                ? segment->kind != SEGMENT_KEY || !span_equal(segment->key, span_text(inner->key))
                : node->kind != VALUE_ARRAY || segment->kind == SEGMENT_KEY ||
                      (segment->kind == SEGMENT_INDEX && segment->index != i))
            continue;
        if (!last)
            model_remove(inner, path, used + 1);
        else if (node->kind == VALUE_OBJECT)
            node_drop(node, i--);
    }
}

static struct path path_random(struct arena *arena)
{
    char text[64];
    strcpy(text, keys[draw(4)]);
    for (uint32_t i = draw(4); i > 0; i--) {
        switch (draw(4)) {
        case 0:
            strcat(text, "[]");
            break;
        case 1:
            snprintf(text + strlen(text), 8, "[%u]", draw(4));
            break;
        default:
            strcat(text, ".");
            strcat(text, keys[draw(4)]);
        }
    }
    return path_of(arena, arena_format(arena, "%s", text)); /* keys point into the text */
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        random_state = seed * 0x9e3779b97f4a7c15u;
        struct arena arena;
        arena_init(&arena);
        struct node *node = node_random(&arena, 0, true);
        struct span value =
            draw(8) == 0 && node->count == 0 ? (struct span){0} : node_value(&arena, node);
        for (int step = 0; step < 6; step++) {
            const struct node *patch = node_random(&arena, 1, true);
            struct path paths[3] = {path_random(&arena), path_random(&arena), path_random(&arena)};
            size_t count = 1 + draw(3);
            struct span out;
            switch (draw(3)) {
            case 0:
                assert_int_equal(value_merge(value, node_value(&arena, patch), &arena, &out), OK);
                model_merge(&arena, node, patch);
                break;
            case 1:
                assert_int_equal(
                    value_merge_at(value, paths, node_value(&arena, patch), &arena, &out), OK);
                model_merge_at(&arena, node, paths, 0, patch);
                break;
            default:
                assert_int_equal(value_remove(value, paths, count, &arena, &out), OK);
                for (size_t i = 0; i < count; i++)
                    model_remove(node, &paths[i], 0);
            }
            struct span expected = node_value(&arena, node);
            if (!span_equal(out, expected)) {
                struct text text = {0};
                text_value(&text, value);
                text_puts(&text, " gives ");
                text_value(&text, out);
                text_puts(&text, ", not ");
                text_value(&text, expected);
                fail_msg("seed %d, step %d: %.*s", (int)seed, step, (int)text.bytes, text.data);
            }
            value = out;
        }
        arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_paths), cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_at),  cmocka_unit_test(test_remove),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
