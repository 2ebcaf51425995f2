/* Flat values: what is built reads back, damaged bytes never read past their end, selectors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index/utf8.h"
#include "server/json.h"

static const struct span none = {0};

/* A value from JSON text, in its own allocation so that ASan sees a read past it. */
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
    text_value(&text, value);
    text_put(&text, "", 1);
    assert_string_equal(text.data, expected);
    text_release(&text);
}

/* ---- building and reading ---- */

static void test_scalars(void **state)
{
    (void)state;
    static const int64_t integers[] = {0,         1,          -1,         127,         128,
                                       -128,      -129,       32767,      32768,       -32768,
                                       -32769,    2147483647, 2147483648, -2147483648, -2147483649,
                                       INT64_MAX, INT64_MIN};
    struct arena arena;
    arena_init(&arena);
    struct value_builder b;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        value_begin(&b, &arena);
        value_put_integer(&b, integers[i], none);
        struct span v = value_end(&b);
        assert_int_equal(value_kind(v), VALUE_INTEGER);
        assert_true(value_integer(v) == integers[i]);
        assert_true(value_double(v) == (double)integers[i]);
        assert_true(value_check(v));
    }
    value_begin(&b, &arena);
    value_put_unsigned(&b, UINT64_MAX, none);
    assert_int_equal(value_kind(value_end(&b)), VALUE_UNSIGNED);
    assert_true(value_unsigned(value_end(&b)) == UINT64_MAX);
    assert_true(value_double(value_end(&b)) == 0x1p64);
    value_begin(&b, &arena);
    value_put_unsigned(&b, 7, none);
    assert_int_equal(value_kind(value_end(&b)), VALUE_INTEGER);
    assert_true(value_unsigned(value_end(&b)) == 7);
    value_begin(&b, &arena);
    value_put_double(&b, 10.0, span_text("10.00"));
    struct span v = value_end(&b);
    assert_int_equal(value_kind(v), VALUE_DOUBLE);
    assert_true(value_double(v) == 10.0);
    assert_true(span_equal(value_source(v), span_text("10.00")));
    assert_text(v, "10.00");
    value_begin(&b, &arena);
    value_put_bool(&b, true);
    assert_true(value_bool(value_end(&b)));
    assert_int_equal(value_kind(value_end(&b)), VALUE_BOOL);
    arena_release(&arena);
}

static void test_wrong_kind_reads(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct span text = value_of(&arena, "\"x\""), number = value_of(&arena, "-5");
    assert_int_equal(value_integer(text), 0);
    assert_true(value_double(text) == 0);
    assert_int_equal(value_unsigned(number), 0);
    assert_int_equal(value_string(number).bytes, 0);
    assert_int_equal(value_count(number), 0);
    assert_int_equal(value_get(number, span_text("a")).bytes, 0);
    assert_false(value_bool(number));
    struct value_cursor cursor;
    struct span key, value;
    value_walk(text, &cursor);
    assert_false(value_next(&cursor, &key, &value));
    assert_int_equal(value_kind(none), VALUE_INVALID);
    assert_false(value_check(none));
    arena_release(&arena);
}

static void test_containers(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct span v = value_of(&arena, "{\"a\":1,\"b\":[true,null,\"x\",{}],\"\":{\"c\":[]}}");
    assert_int_equal(value_count(v), 3);
    assert_int_equal(value_integer(value_get(v, span_text("a"))), 1);
    struct span list = value_get(v, span_text("b"));
    assert_int_equal(value_kind(list), VALUE_ARRAY);
    assert_int_equal(value_count(list), 4);
    assert_int_equal(value_kind(value_get(v, span_text(""))), VALUE_OBJECT);
    assert_int_equal(value_get(v, span_text("z")).bytes, 0);
    struct value_cursor cursor;
    struct span key, inner;
    static const enum value_kind kinds[] = {VALUE_BOOL, VALUE_NULL, VALUE_STRING, VALUE_OBJECT};
    value_walk(list, &cursor);
    for (size_t i = 0; i < 4; i++) {
        assert_true(value_next(&cursor, &key, &inner));
        assert_int_equal(key.bytes, 0);
        assert_int_equal(value_kind(inner), kinds[i]);
    }
    assert_false(value_next(&cursor, &key, &inner));
    assert_true(value_check(v));
    assert_text(v, "{\"a\":1,\"b\":[true,null,\"x\",{}],\"\":{\"c\":[]}}");
    struct value_builder b;
    value_begin(&b, &arena);
    assert_int_equal(value_open_array(&b), OK);
    value_put_value(&b, v);
    value_put_value(&b, list);
    value_close(&b);
    assert_int_equal(value_count(value_end(&b)), 2);
    assert_true(value_check(value_end(&b)));
    arena_release(&arena);
}

static void test_depth(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct value_builder b;
    value_begin(&b, &arena);
    for (int i = 0; i < VALUE_DEPTH_MAX; i++)
        assert_int_equal(value_open_array(&b), OK);
    assert_int_equal(value_open_array(&b), ERROR_TOO_LARGE);
    assert_int_equal(value_open_object(&b), ERROR_TOO_LARGE);
    for (int i = 0; i < VALUE_DEPTH_MAX; i++)
        value_close(&b);
    struct span v = value_end(&b);
    assert_true(value_check(v));
    /* One more level, as damage could fake it. */
    uint8_t *deeper = malloc(v.bytes + 9);
    deeper[0] = 0x50;
    store32(deeper + 1, (uint32_t)v.bytes);
    store32(deeper + 5, 1);
    memcpy(deeper + 9, v.data, v.bytes);
    assert_false(value_check(span_of(deeper, v.bytes + 9)));
    struct text text = {0};
    text_value(&text, span_of(deeper, v.bytes + 9)); /* must end */
    text_release(&text);
    free(deeper);
    arena_release(&arena);
}

/* Lengths around the border of the short form, and long keys. */
static void test_text_lengths(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    static char letters[70000];
    memset(letters, 'x', sizeof letters);
    static const size_t lengths[] = {0, 1, 253, 254, 255, 256, 65535, 65536, 70000};
    struct value_builder b;
    value_begin(&b, &arena);
    assert_int_equal(value_open_object(&b), OK);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(value_put_key(&b, span_of(letters, lengths[i])), OK);
        value_put_string(&b, span_of(letters, lengths[i]));
        assert_int_equal(value_put_key(&b, span_of(letters, lengths[i])), ERROR_EXISTS);
    }
    value_close(&b);
    struct span v = value_end(&b);
    assert_true(value_check(v));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct span found = value_get(v, span_of(letters, lengths[i]));
        assert_int_equal(value_string(found).bytes, lengths[i]);
    }
    arena_release(&arena);
}

/* ---- duplicate keys ---- */

static void test_duplicate_keys(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    char key[32];
    for (unsigned count = 1; count < 200; count += count < 40 ? 1 : 37)
        for (unsigned again = 0; again < count; again += 1 + count / 9) {
            struct value_builder b;
            value_begin(&b, &arena);
            assert_int_equal(value_open_object(&b), OK);
            for (unsigned i = 0; i < count; i++) {
                snprintf(key, sizeof key, "key%u", i);
                assert_int_equal(value_put_key(&b, span_text(key)), OK);
                /* The same keys inside are another object's. */
                assert_int_equal(value_open_object(&b), OK);
                assert_int_equal(value_put_key(&b, span_text(key)), OK);
                value_put_integer(&b, (int64_t)i * 1000, none);
                value_close(&b);
            }
            snprintf(key, sizeof key, "key%u", again);
            assert_int_equal(value_put_key(&b, span_text(key)), ERROR_EXISTS);
            assert_int_equal(value_put_key(&b, span_text("other")), OK);
            value_put_null(&b);
            value_close(&b);
            assert_int_equal(value_count(value_end(&b)), count + 1);
            assert_true(value_check(value_end(&b)));
        }
    arena_release(&arena);
}

/* 100,000 keys: quadratic work would be five billion steps and show as a test that does not end. */
static void test_many_keys(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct value_builder b;
    char key[32];
    value_begin(&b, &arena);
    assert_int_equal(value_open_object(&b), OK);
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "%u", i * 7919u);
        assert_int_equal(value_put_key(&b, span_text(key)), OK);
        value_put_integer(&b, i, none);
    }
    for (unsigned i = 0; i < 100000; i += 9999) {
        snprintf(key, sizeof key, "%u", i * 7919u);
        assert_int_equal(value_put_key(&b, span_text(key)), ERROR_EXISTS);
    }
    value_close(&b);
    assert_int_equal(value_count(value_end(&b)), 100000);
    arena_release(&arena);
}

/* ---- damage ---- */

static void read_everything(struct span value, unsigned depth)
{
    struct value_cursor cursor;
    struct span key, inner;
    volatile uint64_t sum = 0;
    if (depth > 200)
        return;
    sum += (uint64_t)value_kind(value) + value_count(value) + value_unsigned(value);
    sum += (uint64_t)value_integer(value) + value_source(value).bytes;
    struct span text = value_string(value);
    for (size_t i = 0; i < text.bytes; i++)
        sum += text.data[i];
    assert_true(value_count(value) <= value.bytes);
    value_walk(value, &cursor);
    while (value_next(&cursor, &key, &inner))
        read_everything(inner, depth + 1);
    (void)sum;
}

static void test_damage(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct span v = value_of(
        &arena, "{\"a\":[1,-300,70000,5000000000,18446744073709551615,1.50],\"b\":{\"c\":\"text\","
                "\"d\":[[],{},null,true,false]},\"\\u00e9\":\"\\u20ac\",\"e\":0.1}");
    assert_true(value_check(v));
    for (size_t cut = 0; cut < v.bytes; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, v.data, cut);
        assert_false(value_check(span_of(copy, cut)));
        read_everything(span_of(copy, cut), 0);
        free(copy);
    }
    uint8_t *copy = malloc(v.bytes);
    struct text text = {0};
    for (size_t i = 0; i < v.bytes; i++)
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(copy, v.data, v.bytes);
            copy[i] = (uint8_t)byte;
            struct span damaged = span_of(copy, v.bytes);
            (void)value_check(damaged);
            read_everything(damaged, 0);
            text.bytes = 0;
            text_value(&text, damaged);
        }
    /* A byte behind a value is damage too. */
    uint8_t *longer = malloc(v.bytes + 1);
    memcpy(longer, v.data, v.bytes);
    longer[v.bytes] = 0;
    assert_false(value_check(span_of(longer, v.bytes + 1)));
    free(longer);
    free(copy);
    text_release(&text);
    arena_release(&arena);
}

static void test_check_contents(void **state)
{
    (void)state;
    static const uint8_t nan[] = {0x15, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f};
    static const uint8_t not_utf8[] = {0x40, 2, 0xc3, 0x28};
    static const uint8_t bad_source[] = {0x30, 5, 2, '5', '"'};
    static const uint8_t good_source[] = {0x30, 5, 2, '0', '5'};
    static const uint8_t count_too_low[] = {0x50, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0};
    static const uint8_t count_right[] = {0x50, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0};
    static const uint8_t bad_key[] = {0x51, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0};
    assert_false(value_check(span_of(nan, sizeof nan)));
    assert_false(value_check(span_of(not_utf8, sizeof not_utf8)));
    assert_false(value_check(span_of(bad_source, sizeof bad_source)));
    assert_true(value_check(span_of(good_source, sizeof good_source)));
    assert_false(value_check(span_of(count_too_low, sizeof count_too_low)));
    assert_true(value_check(span_of(count_right, sizeof count_right)));
    assert_false(value_check(span_of(bad_key, sizeof bad_key)));
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "abc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "abcdefgh\xc3\xa9"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe2\x82",
                                      "\xe2\x28\xa1",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf0\x90\x80",
                                      "\xff",
                                      "abcdefg\xfe",
                                      "abcdefghijkl\xc3",
                                      "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_check(span_text(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_check(span_text(bad[i])));
}

/* Every code point and every surrogate, against the definition. */
static void test_utf8_all(void **state)
{
    (void)state;
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        uint8_t b[4] = {(uint8_t)point};
        size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
        for (size_t i = n - 1; i > 0 && n > 1; i--)
            b[i] = (uint8_t)(0x80 | (point >> (6 * (n - 1 - i)) & 0x3f));
        if (n > 1)
            b[0] = (uint8_t)(lead[n] | point >> (6 * (n - 1)));
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        assert_true(utf8_check(span_of(b, n)) == !surrogate);
        if (n > 1)
            assert_false(utf8_check(span_of(b, n - 1)));
    }
}

/* ---- selectors ---- */

static const char document[] =
    "{\"a\":1,\"b\":{\"c\":123,\"e\":{\"f\":[1,2,3],\"g\":7,\"h\":\"text\","
    "\"i\":[{\"j\":1,\"k\":2},{\"j\":3,\"k\":4}]}},\"x.y\":5,\"caf\xc3\xa9\":6}";

struct selector_case {
    bool include;
    const char *paths[4];
    const char *document, *expected;
};

static const struct selector_case selector_cases[] = {
    {true, {"a"}, document, "{\"a\":1}"},
    {true, {"a", "b.e.f"}, document, "{\"a\":1,\"b\":{\"e\":{\"f\":[1,2,3]}}}"},
    {true, {"b.c", "b.e.g", "b.c"}, document, "{\"b\":{\"c\":123,\"e\":{\"g\":7}}}"},
    {true, {"b.e.i[].j"}, document, "{\"b\":{\"e\":{\"i\":[{\"j\":1},{\"j\":3}]}}}"},
    {true, {"b.e.i.j"}, document, "{\"b\":{\"e\":{\"i\":[{\"j\":1},{\"j\":3}]}}}"},
    {true, {"b.e.i[1].k"}, document, "{\"b\":{\"e\":{\"i\":[{\"k\":4}]}}}"},
    {true, {"b.e.f[2]"}, document, "{\"b\":{\"e\":{\"f\":[3]}}}"},
    {true, {"b.e.f[]"}, document, "{\"b\":{\"e\":{\"f\":[1,2,3]}}}"},
    {true, {"b.e.f[9]"}, document, "{\"b\":{\"e\":{\"f\":[]}}}"},
    {true, {"\"x.y\""}, document, "{\"x.y\":5}"},
    {true, {"x.y"}, document, "{}"},
    {true, {"caf\xc3\xa9"}, document, "{\"caf\xc3\xa9\":6}"},
    {true, {"nope", "b.nope"}, document, "{\"b\":{}}"},
    {true, {"a.b"}, "{\"a\":5,\"c\":1}", "{\"a\":5}"},
    {true,
     {"a.b"},
     "{\"a\":[1,{\"b\":2,\"c\":3},[{\"b\":4}]]}",
     "{\"a\":[1,{\"b\":2},[{\"b\":4}]]}"},
    {true, {"a[][].b"}, "{\"a\":[[{\"b\":1,\"c\":2}]]}", "{\"a\":[[{\"b\":1}]]}"},
    {true, {"b", "b.c"}, "{\"b\":{\"c\":1,\"d\":2}}", "{\"b\":{\"c\":1,\"d\":2}}"},
    {true, {NULL}, document, "{}"},
    {false, {NULL}, "{\"a\":1}", "{\"a\":1}"},
    {false, {"a", "b.e", "x.y", "\"x.y\""}, document, "{\"b\":{\"c\":123},\"caf\xc3\xa9\":6}"},
    {false, {"b", "caf\xc3\xa9"}, document, "{\"a\":1,\"x.y\":5}"},
    {false,
     {"b.e.i[].j", "a"},
     "{\"a\":1,\"b\":{\"e\":{\"i\":[{\"j\":1,\"k\":2},{\"j\":3}]}}}",
     "{\"b\":{\"e\":{\"i\":[{\"k\":2},{}]}}}"},
    {false, {"b.i.j"}, "{\"b\":{\"i\":[{\"j\":1,\"k\":2},7]}}", "{\"b\":{\"i\":[{\"k\":2},7]}}"},
    {false, {"a[0]"}, "{\"a\":[1,2,3]}", "{\"a\":[2,3]}"},
    {false, {"a[]"}, "{\"a\":[1,2,3]}", "{\"a\":[]}"},
    {false, {"a.b"}, "{\"a\":5}", "{\"a\":5}"},
    {false, {"\"q\\\"\\\\\""}, "{\"q\\\"\\\\\":1,\"r\":10.0}", "{\"r\":10.0}"},
    {true, {"a"}, "[1,2]", "[1,2]"},
};

static void test_select(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof selector_cases / sizeof *selector_cases; i++) {
        const struct selector_case *c = &selector_cases[i];
        struct span paths[4], out;
        size_t count = 0, bad;
        for (; count < 4 && c->paths[count]; count++)
            paths[count] = span_text(c->paths[count]);
        struct span v = value_of(&arena, c->document);
        assert_int_equal(value_select(v, c->include, paths, count, &arena, &out, &bad), OK);
        assert_text(out, c->expected);
        assert_true(value_check(out));
    }
    arena_release(&arena);
}

static void test_select_malformed(void **state)
{
    (void)state;
    static const char *const bad_paths[] = {
        "",      ".",       "a.",    ".a",     "a..b",  "a[",
        "a[1",   "a[x]",    "a[-1]", "[0]",    "[]",    "\"a",
        "a]",    "a b",     "a[]b",  "\"a\"b", "a.[0]", "a[99999999999999999999]",
        "a[1 ]", "\"a\\\"", "a,b",   "a\"b\""};
    struct arena arena;
    arena_init(&arena);
    struct span v = value_of(&arena, "{\"a\":1}"), out;
    for (size_t i = 0; i < sizeof bad_paths / sizeof *bad_paths; i++) {
        struct span paths[2] = {span_text("a"), span_text(bad_paths[i])};
        size_t bad = 99;
        if (value_select(v, true, paths, 2, &arena, &out, &bad) != ERROR_INVALID || bad != 1)
            fail_msg("accepted: %s", bad_paths[i]);
    }
    static struct span many[VALUE_PATHS_MAX + 1];
    for (size_t i = 0; i <= VALUE_PATHS_MAX; i++)
        many[i] = span_text("a");
    size_t bad = 0;
    assert_int_equal(value_select(v, true, many, VALUE_PATHS_MAX + 1, &arena, &out, &bad),
                     ERROR_TOO_LARGE);
    assert_int_equal(value_select(v, true, many, VALUE_PATHS_MAX, &arena, &out, &bad), OK);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),          cmocka_unit_test(test_wrong_kind_reads),
        cmocka_unit_test(test_containers),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_text_lengths),     cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_many_keys),        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_check_contents),   cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_all),         cmocka_unit_test(test_select),
        cmocka_unit_test(test_select_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
