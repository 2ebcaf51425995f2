/* The scanner: every corner of the grammar, the states and the texts of failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/json_body.h"

/* Read as a value and as something to skip: both must agree. */
static bool accepted(const void *data, size_t bytes, char why[256])
{
    struct body body;
    struct span value;
    body_open(&body, data, bytes);
    bool skipped = json_skip(&body.json) && json_finish(&body.json);
    body_close(&body);
    body_open(&body, data, bytes);
    bool good = json_value(&body.json, &value) && json_finish(&body.json);
    if (good)
        assert_true(value_check(value));
    else
        snprintf(why, 256, "%s", body.json.why);
    /* Only what building adds may differ: duplicate keys and the range of numbers. */
    if (skipped != good && !strstr(why, "duplicate key") && !strstr(why, "out of range"))
        fail_msg("%.*s: skip and value differ", (int)bytes, (const char *)data);
    body_close(&body);
    return good;
}

static const char *const good_texts[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1.5e+10",
    "\"\"",
    "[]",
    "{}",
    " \t\r\n[ ] \n",
    "[1,2]",
    "[ 1 , [ ] , { } ]",
    "{\"a\":1,\"b\":[{\"c\":null}]}",
    "{ \"a\" : 1 , \"b\" : 2 }",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\u0000\"",
    "\"\\uD834\\uDD1E\"",
    "\"\\ud83d\\uDE00x\"",
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\"",
    "\"\x7f\"",
    "[[[[[]]]]]",
    "{\"\":0}",
    "[0,-0,0.0,1e5,1E-5,123.456]",
    "18446744073709551615",
    "\"/\"",
    "{\"a\":{\"a\":1}}",
    "\"\\uFFFF\"",
    "[\"a\",\"b\"]",
    "1e-400",
};

static const char *const bad_texts[] = {
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "tru",
    "+1",
    "01",
    "-01",
    "1.",
    ".5",
    "1e",
    "1e+",
    "- 1",
    "0x1",
    "NaN",
    "Infinity",
    "-Infinity",
    "1 2",
    "[",
    "]",
    "{",
    "}",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,,2]",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{\"a\":1 \"b\":2}",
    "[}",
    "{]",
    "[1}",
    "{\"a\":1]",
    "\"",
    "\"a",
    "\"\\",
    "\"\\\"",
    "\"\\x\"",
    "\"\\u\"",
    "\"\\u12\"",
    "\"\\u12G4\"",
    "\"\\uD800\"",
    "\"\\uD800x\"",
    "\"\\uD800\\n\"",
    "\"\\uD800\\u0041\"",
    "\"\\uDC00\"",
    "\"\\uD800\\uD800\"",
    "\"\\uDFFF\"",
    "\"\\u+123\"",
    "\"\x01\"",
    "\"a\nb\"",
    "\"\t\"",
    "\"\x1f\"",
    "\"\x80\"",
    "\"\xc3\"",
    "\"\xc0\x80\"",
    "\"\xed\xa0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\\n\xff\"",
    "[1]x",
    "{}{}",
    "null null",
    "//x\n1",
    "/**/1",
    "\xef\xbb\xbf[]",
    "[\"a\"\"b\"]",
    "{\"a\":1,\"a\":2}",
    "{\"b\":1,\"\\u0062\":2}",
    "1e400",
    "[1,2,-1e999]",
    "'a'",
    "[1\v]",
    "[1\f]",
    "[\"\\u00\"]",
    "\"\\u00",
    "[true false]",
    "{\"a\":tru}",
    "undefined",
    "\xa0",
    "[\"]",
    "{\"a}",
};

static void test_grammar(void **state)
{
    (void)state;
    char why[256];
    for (size_t i = 0; i < sizeof good_texts / sizeof *good_texts; i++)
        if (!accepted(good_texts[i], strlen(good_texts[i]), why))
            fail_msg("refused: %s (%s)", good_texts[i], why);
    for (size_t i = 0; i < sizeof bad_texts / sizeof *bad_texts; i++)
        if (accepted(bad_texts[i], strlen(bad_texts[i]), why))
            fail_msg("accepted: %s", bad_texts[i]);
    /* NUL bytes are no blanks and no ends. */
    assert_false(accepted("1\0", 2, why));
    assert_false(accepted("\0"
                          "1",
                          2, why));
    assert_false(accepted("\"\0\"", 3, why));
    assert_false(accepted("[\0]", 3, why));
}

/* Every prefix of a good text is refused, except where a number ends early. */
static void test_prefixes(void **state)
{
    (void)state;
    char why[256];
    const char *text = "{\"a\\u00e9\\ud834\\udd1e\":[1.5e3,true,false,null,\"x\\n\"],\"b\":{}}";
    for (size_t cut = 0; cut < strlen(text); cut++)
        assert_false(accepted(text, cut, why));
    assert_true(accepted(text, strlen(text), why));
}

static void test_depth(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 3], why[256];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_true(accepted(text, 2 * JSON_DEPTH_MAX, why));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_false(accepted(text, 2 * JSON_DEPTH_MAX + 2, why));
    assert_non_null(strstr(why, "nested deeper than 128 levels"));
    char *deep = malloc(1000000);
    memset(deep, '[', 1000000);
    assert_false(accepted(deep, 1000000, why));
    free(deep);
}

/* ---- texts of failures ---- */

static void test_failure_texts(void **state)
{
    (void)state;
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"", "unexpected end at line 1 column 1"},
        {"[1,\n 2,]", "trailing comma at line 2 column 4"},
        {"{\"a\":1,\"a\":2}", "duplicate key \"a\" at line 1 column 12"},
        {"{\"a\" 1}", "expected : at line 1 column 6"},
        {"[1 2]", "expected , or ] at line 1 column 4"},
        {"{\"a\":1 \"b\":2}", "expected , or } at line 1 column 8"},
        {"{}\n\n x", "trailing characters at line 3 column 2"},
        {"\"\\ud800\"", "lone surrogate in a string at line 1 column 8"},
        {"{1:2}", "a key must be a string at line 1 column 2"},
        {"-", "invalid number at line 1 column 1"},
        {"[\"\x01\"]", "control character in a string at line 1 column 3"},
    };
    char why[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(accepted(cases[i].body, strlen(cases[i].body), why));
        assert_string_equal(why, cases[i].why);
    }
    struct body body;
    body_open(&body, "[1]", 3);
    assert_true(json_enter_array(&body.json));
    assert_false(json_failed(&body.json));
    assert_false(json_fail(&body.json, "my %s", "words"));
    assert_false(json_fail(&body.json, "later ones"));
    assert_true(json_failed(&body.json));
    assert_string_equal(body.json.why, "my words at line 1 column 2");
    assert_int_equal(json_peek(&body.json), JSON_ERROR);
    assert_false(json_element(&body.json));
    assert_false(json_finish(&body.json));
    body_close(&body);
}

/* ---- the states of the scanner ---- */

static void test_walk(void **state)
{
    (void)state;
    const char *text = " {\"id\":7,\"list\":[1,\"two\",[3]],\"none\":null,\"t\":true,\"d\":-2.5} ";
    struct body body;
    struct span key, string;
    uint64_t number;
    bool flag;
    double real;
    body_open(&body, text, strlen(text));
    struct json *json = &body.json;
    assert_int_equal(json_peek(json), JSON_OBJECT);
    assert_true(json_enter_object(json));
    assert_true(json_key(json, &key));
    assert_true(span_equal(key, span_text("id")));
    assert_int_equal(json_peek(json), JSON_NUMBER);
    assert_true(json_u64(json, &number) && number == 7);
    assert_true(json_key(json, &key));
    assert_true(json_enter_array(json));
    assert_true(json_element(json));
    assert_true(json_u64(json, &number) && number == 1);
    assert_true(json_element(json));
    assert_true(json_string(json, &string) && span_equal(string, span_text("two")));
    assert_true(json_element(json));
    assert_int_equal(json_peek(json), JSON_ARRAY);
    assert_true(json_skip(json));
    assert_int_equal(json_peek(json), JSON_ARRAY_END);
    assert_false(json_element(json));
    assert_false(json_failed(json));
    assert_true(json_key(json, &key));
    assert_true(json_null(json));
    assert_true(json_key(json, &key));
    assert_true(json_bool(json, &flag) && flag);
    assert_true(json_key(json, &key));
    assert_true(json_double(json, &real) && real == -2.5);
    assert_int_equal(json_peek(json), JSON_OBJECT_END);
    assert_false(json_key(json, &key));
    assert_false(json_failed(json));
    assert_int_equal(json_peek(json), JSON_END);
    assert_true(json_finish(json));
    body_close(&body);
}

static void assert_type_error(const char *text, bool (*read)(struct json *), const char *why)
{
    struct body body;
    body_open(&body, text, strlen(text));
    assert_false(read(&body.json));
    assert_string_equal(body.json.why, why);
    body_close(&body);
}

static bool read_u64(struct json *json)
{
    uint64_t v;
    return json_u64(json, &v);
}
static bool read_string(struct json *json)
{
    struct span v;
    return json_string(json, &v);
}
static bool read_bool(struct json *json)
{
    bool v;
    return json_bool(json, &v);
}
static bool read_double(struct json *json)
{
    double v;
    return json_double(json, &v);
}
static bool read_floats(struct json *json)
{
    float v[4];
    size_t count;
    return json_floats(json, v, 4, &count);
}
/* A handler that forgets to read a member's value. */
static bool forget_value(struct json *json)
{
    struct span key;
    return json_enter_object(json) && json_key(json, &key) && json_key(json, &key);
}
static bool close_wrong(struct json *json)
{
    struct span key;
    return json_enter_array(json) && json_key(json, &key);
}
static bool read_twice(struct json *json)
{
    uint64_t v;
    return json_u64(json, &v) && json_u64(json, &v);
}
static bool read_without_element(struct json *json)
{
    uint64_t v;
    return json_enter_array(json) && json_u64(json, &v);
}

static void test_type_errors(void **state)
{
    (void)state;
    assert_type_error("\"7\"", read_u64,
                      "invalid type: a string, expected a number at line 1 column 1");
    assert_type_error("{}", read_u64,
                      "invalid type: an object, expected a number at line 1 column 1");
    assert_type_error("7", read_string,
                      "invalid type: a number, expected a string at line 1 column 1");
    assert_type_error("null", read_bool,
                      "invalid type: null, expected a boolean at line 1 column 1");
    assert_type_error("1", read_bool,
                      "invalid type: a number, expected a boolean at line 1 column 1");
    assert_type_error("-1", read_u64,
                      "invalid value: -1, expected an unsigned 64-bit integer at line 1 column 3");
    assert_type_error("1.0", read_u64,
                      "invalid value: 1.0, expected an unsigned 64-bit integer at line 1 column 4");
    assert_type_error("1e400", read_double, "number out of range at line 1 column 6");
    assert_type_error("7", read_floats,
                      "invalid type: a number, expected an array at line 1 column 1");
    assert_type_error("{\"a\":\"b\"}", forget_value, "expected a value at line 1 column 6");
    assert_type_error("[1]", close_wrong, "expected a value at line 1 column 2");
    assert_type_error("1", read_twice,
                      "invalid type: the end, expected a number at line 1 column 2");
    assert_type_error("[1]", read_without_element,
                      "invalid type: a number, expected a number at line 1 column 2");
}

static void test_u64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"9007199254740993", true, 9007199254740993},
        {"9223372036854775808", true, UINT64_C(9223372036854775808)},
        {"9999999999999999999", true, UINT64_C(9999999999999999999)},
        {"10000000000000000000", true, UINT64_C(10000000000000000000)},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"18446744073709551620", false, 0},
        {"20000000000000000000", false, 0},
        {"99999999999999999999", false, 0},
        {"100000000000000000000", false, 0},
        {"184467440737095516150", false, 0},
        {"-0", false, 0},
        {"1e3", false, 0},
        {"1.0", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct body body;
        uint64_t v = 0;
        body_open(&body, cases[i].text, strlen(cases[i].text));
        assert_true(json_u64(&body.json, &v) == cases[i].good);
        assert_true(!cases[i].good || v == cases[i].value);
        body_close(&body);
    }
}

/* ---- strings ---- */

static void test_strings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
        size_t bytes;
    } cases[] = {
        {"\"plain\"", "plain", 5},
        {"\"\\u0000\"", "\0", 1},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u00e9\"", "\xc3\xa9", 2},
        {"\"\\u20AC\"", "\xe2\x82\xac", 3},
        {"\"\\ud834\\udd1e\"", "\xf0\x9d\x84\x9e", 4},
        {"\"before\\nafter a longer run\"", "before\nafter a longer run", 25},
        {"\"x\\u007fy\\u0080\"", "x\x7fy\xc2\x80", 5},
        {"\"\\\\\"", "\\", 1},
        {"\"\\\\\\\"\"", "\\\"", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct body body;
        struct span v;
        body_open(&body, cases[i].text, strlen(cases[i].text));
        assert_true(json_string(&body.json, &v));
        assert_true(span_equal(v, span_of(cases[i].value, cases[i].bytes)));
        assert_true(json_finish(&body.json));
        body_close(&body);
    }
}

/* Each byte that ends or spoils a plain run, at every place of the eight-byte words. */
static void test_string_bytes(void **state)
{
    (void)state;
    char text[40], why[256];
    for (size_t length = 1; length < 30; length++)
        for (size_t place = 0; place < length; place++)
            for (unsigned byte = 0; byte < 256; byte++) {
                memset(text, 'a', sizeof text);
                text[0] = '"';
                text[length + 1] = '"';
                text[place + 1] = (char)byte;
                bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                if (accepted(text, length + 2, why) != good)
                    fail_msg("byte 0x%02x at %zu of %zu", byte, place, length);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),      cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_depth),        cmocka_unit_test(test_failure_texts),
        cmocka_unit_test(test_walk),         cmocka_unit_test(test_type_errors),
        cmocka_unit_test(test_u64),          cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
