/* The scanner: every corner of the grammar, the states, the hot loop, and what is printed. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/json.h"

/* A body in an allocation of exactly its size, so that ASan sees any read past it. */
struct body {
    struct json json;
    struct arena arena;
    char *copy;
};

static void body_open(struct body *body, const void *data, size_t bytes)
{
    body->copy = malloc(bytes ? bytes : 1);
    memcpy(body->copy, data, bytes);
    arena_init(&body->arena);
    json_init(&body->json, span_of(body->copy, bytes), &body->arena);
}

static void body_close(struct body *body)
{
    arena_release(&body->arena);
    free(body->copy);
}

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

/* ---- values ---- */

static void assert_kept(const char *text, const char *expected)
{
    struct body body;
    struct span value;
    struct text out = {0};
    body_open(&body, text, strlen(text));
    if (!json_value(&body.json, &value))
        fail_msg("%s: %s", text, body.json.why);
    text_value(&out, value);
    text_put(&out, "", 1);
    assert_string_equal(out.data, expected);
    text_release(&out);
    body_close(&body);
}

static void test_values_kept(void **state)
{
    (void)state;
    static const char *const same[] = {
        "0",
        "-1",
        "10.0",
        "10.00",
        "1e2",
        "1E2",
        "1E+2",
        "-0",
        "-0.0",
        "0.1",
        "0.10",
        "1.5e3",
        "1.5e-3",
        "1.5e-5",
        "123456789012345678",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "0.30000000000000004",
        "0.3000000000000000444089209850062616169452667236328125",
        "1e-7",
        "1e-400",
        "5e-324",
        "1.7976931348623157e308",
        "100000000000000000000000000",
        "0.00001",
        "0.000001",
        "1.0e0",
        "[]",
        "{}",
        "[1,2.50,{\"a\":[]}]",
        "\"\\u0000\\u001f\\\"\\\\\"",
        "\"\\b\\f\\n\\r\\t\"",
        "{\"b\":1,\"a\":2,\"\":3}",
        "null",
        "true",
        "false",
        "\"/\x7f\xc3\xa9\"",
        "-123.456",
        "9007199254740993",
        "1e22",
        "0e0",
        "0.0e5",
        "-0e1",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_kept(same[i], same[i]);
    assert_kept(" [ 1 , \"\\u00e9\\/\" ] ", "[1,\"\xc3\xa9/\"]");
}

/* A double's source is stored only where printing would give another text. */
static void test_source_only_if_needed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool kept;
    } cases[] = {
        {"1.5", false},
        {"0.1", false},
        {"-123.456", false},
        {"0.30000000000000004", false},
        {"0.12345678901234567", true},
        {"1e16", false},
        {"1e-7", false},
        {"10.0", false},
        {"10", false},
        {"1.50", true},
        {"1e2", true},
        {"1E16", true},
        {"1.5e-3", true},
        {"0.000001", true},
        {"-0", true},
        {"-0.0", false},
        {"0.00001", false},
        {"12345.5e0", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct body body;
        struct span value;
        body_open(&body, cases[i].text, strlen(cases[i].text));
        assert_true(json_value(&body.json, &value));
        if ((value_source(value).bytes > 0) != cases[i].kept)
            fail_msg("%s", cases[i].text);
        body_close(&body);
    }
}

static void test_value_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum value_kind kind;
    } cases[] = {
        {"9223372036854775807", VALUE_INTEGER},
        {"9223372036854775808", VALUE_UNSIGNED},
        {"-9223372036854775808", VALUE_INTEGER},
        {"-9223372036854775809", VALUE_DOUBLE},
        {"18446744073709551615", VALUE_UNSIGNED},
        {"18446744073709551616", VALUE_DOUBLE},
        {"-0", VALUE_DOUBLE},
        {"1.0", VALUE_DOUBLE},
        {"1e0", VALUE_DOUBLE},
        {"0", VALUE_INTEGER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct body body;
        struct span value;
        body_open(&body, cases[i].text, strlen(cases[i].text));
        assert_true(json_value(&body.json, &value));
        assert_int_equal(value_kind(value), cases[i].kind);
        assert_true(value_double(value) == strtod(cases[i].text, NULL));
        body_close(&body);
    }
}

/* A payload in the middle of a body: only its own brackets are taken. */
static void test_value_inside(void **state)
{
    (void)state;
    const char *text = "{\"p\":{\"a\":[1]},\"q\":[{\"b\":2}],\"r\":3}";
    struct body body;
    struct span key, value;
    uint64_t number;
    body_open(&body, text, strlen(text));
    assert_true(json_enter_object(&body.json));
    assert_true(json_key(&body.json, &key));
    assert_true(json_value(&body.json, &value));
    assert_int_equal(value_count(value), 1);
    assert_true(json_key(&body.json, &key) && json_skip(&body.json));
    assert_true(json_key(&body.json, &key) && json_u64(&body.json, &number) && number == 3);
    assert_false(json_key(&body.json, &key));
    assert_true(json_finish(&body.json));
    body_close(&body);
}

/* ---- float arrays ---- */

static void assert_floats(const char *text, const float *expected, size_t count)
{
    struct body body;
    float out[64];
    float *grown;
    size_t n;
    body_open(&body, text, strlen(text));
    if (!json_floats(&body.json, out, 64, &n) || !json_finish(&body.json))
        fail_msg("%s: %s", text, body.json.why);
    assert_int_equal(n, count);
    if (count)
        assert_memory_equal(out, expected, count * sizeof *out);
    body_close(&body);
    body_open(&body, text, strlen(text));
    assert_true(json_floats_arena(&body.json, &grown, &n, 64) && json_finish(&body.json));
    assert_int_equal(n, count);
    if (count)
        assert_memory_equal(grown, expected, count * sizeof *out);
    body_close(&body);
}

static void test_floats(void **state)
{
    (void)state;
    assert_floats("[]", NULL, 0);
    assert_floats(" [ ] ", NULL, 0);
    assert_floats("[1]", (float[]){1}, 1);
    assert_floats("[1,-2.5,3e2,0.1,-0.0,0,1E-3]", (float[]){1, -2.5f, 300, 0.1f, -0.0f, 0, 1e-3f},
                  7);
    assert_floats("[ 1 ,\n2\t,\r3 ]", (float[]){1, 2, 3}, 3);
    assert_floats("[0.12345678806304932, 0.12345678806304932, 0.12345678806304932, "
                  "0.12345678806304932, 1]",
                  (float[]){0.12345678806304932f, 0.12345678806304932f, 0.12345678806304932f,
                            0.12345678806304932f, 1},
                  5);
    assert_floats("[3.4028235e38,-3.4028235e38,3.4028235677973362e38,1e-46,1e-45,1.17549435e-38]",
                  (float[]){FLT_MAX, -FLT_MAX, FLT_MAX, 0, 1e-45f, FLT_MIN}, 6);
    assert_floats("[12345678901234567890123,0.00000000000000000000000000000012345,"
                  "1234567890123456789,12345678901234567890.5,0.0000000000000000000000000000]",
                  (float[]){12345678901234567890123.0f, 1.2345e-31f, 1234567890123456789.0f,
                            12345678901234567890.5f, 0},
                  5);
}

static void assert_floats_fail(const char *text, const char *why)
{
    struct body body;
    float out[4], *grown;
    size_t n;
    body_open(&body, text, strlen(text));
    assert_false(json_floats(&body.json, out, 4, &n));
    if (!strstr(body.json.why, why))
        fail_msg("%s: %s", text, body.json.why);
    body_close(&body);
    body_open(&body, text, strlen(text));
    assert_false(json_floats_arena(&body.json, &grown, &n, 100));
    assert_non_null(strstr(body.json.why, why));
    body_close(&body);
}

/* Each text twice: as it is, where the scanner reads it, and with enough behind it for the fast
 * path. */
static void test_floats_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[1,2", "unexpected end"},
        {"[1,", "unexpected end"},
        {"[", "unexpected end"},
        {"[1,]", "trailing comma"},
        {"[,1]", "expected a number at index 0"},
        {"[1 2]", "expected , or ]"},
        {"[1,\"2\"]", "expected a number at index 1"},
        {"[1,null]", "expected a number at index 1"},
        {"[1,NaN]", "expected a number at index 1"},
        {"[[1]]", "expected a number at index 0"},
        {"[01]", "expected , or ]"},
        {"[-01]", "expected , or ]"},
        {"[1.]", "invalid number"},
        {"[.5]", "expected a number at index 0"},
        {"[+1]", "expected a number at index 0"},
        {"[1e]", "invalid number"},
        {"[1e+]", "invalid number"},
        {"[-]", "invalid number"},
        {"[0x1]", "expected , or ]"},
        {"[1,2,3.4028236e38]", "number out of range for float32 at index 2"},
        {"[-1e39]", "number out of range for float32 at index 0"},
        {"[1e400]", "number out of range"},
        {"[1}", "expected , or ]"},
        {"[1.5.5]", "expected , or ]"},
        {"[1e5e5]", "expected , or ]"},
        {"[1,2,3,4,5,6,1e39]", "number out of range for float32 at index 6"},
    };
    char longer[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_floats_fail(cases[i].text, cases[i].why);
        if (strcmp(cases[i].why, "unexpected end") == 0)
            continue;
        snprintf(longer, sizeof longer, "%s%100s", cases[i].text, "]");
        assert_floats_fail(longer, cases[i].why);
    }
}

static void test_floats_surplus(void **state)
{
    (void)state;
    struct body body;
    float out[3] = {0, 0, 77}, *grown;
    size_t n;
    const char *text =
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28]";
    body_open(&body, text, strlen(text));
    assert_true(json_floats(&body.json, out, 2, &n) && json_finish(&body.json));
    assert_int_equal(n, 28);
    assert_true(out[0] == 1 && out[1] == 2 && out[2] == 77);
    body_close(&body);
    body_open(&body, text, strlen(text));
    assert_true(json_floats(&body.json, out, 0, &n) && json_finish(&body.json));
    assert_int_equal(n, 28);
    body_close(&body);
    body_open(&body, text, strlen(text));
    assert_true(json_floats_arena(&body.json, &grown, &n, 28) && json_finish(&body.json));
    assert_int_equal(n, 28);
    body_close(&body);
    body_open(&body, text, strlen(text));
    assert_false(json_floats_arena(&body.json, &grown, &n, 27));
    assert_non_null(strstr(body.json.why, "more than 27 numbers"));
    body_close(&body);
}

static uint64_t random_state = 88172645463325252;
static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* One random number in one of the styles clients write, with its separator. */
static size_t put_random(char *text, size_t room)
{
    static const char *const styles[] = {"%.6f", "%.9g", "%.17g", "%.8e", "%.0f", "%.15g", "%.3g"};
    static const char *const separators[] = {",", ", ", " ,", ",\n  "};
    uint64_t bits = random_bits();
    double v = (double)(int64_t)random_bits() / 0x1p63;
    if (bits % 5 == 0)
        v = ldexp(v, (int)(bits >> 8 & 0xff) - 128);
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"");
    int n = snprintf(text, room, styles[(bits >> 16) % 7], v);
    _Pragma("GCC diagnostic pop");
    n += snprintf(text + n, room - (size_t)n, "%s", separators[(bits >> 24) % 4]);
    return (size_t)n;
}

#define ARRAY_MAX 3000
/* Long arrays of mixed styles against strtod, so that the fast path hands over and takes up again.
 */
static void test_floats_random(void **state)
{
    (void)state;
    static float out[ARRAY_MAX];
    char *text = malloc(ARRAY_MAX * 400);
    for (size_t round = 0; round < 60; round++) {
        size_t count = 1 + random_bits() % ARRAY_MAX, bytes = 0, n;
        text[bytes++] = '[';
        for (size_t i = 0; i < count; i++)
            bytes += put_random(text + bytes, 400);
        while (text[--bytes] != ',')
            ;
        text[bytes++] = ']';
        struct body body;
        float *grown;
        body_open(&body, text, bytes);
        if (!json_floats(&body.json, out, ARRAY_MAX, &n) || !json_finish(&body.json))
            fail_msg("%s", body.json.why);
        assert_int_equal(n, count);
        body_close(&body);
        body_open(&body, text, bytes);
        assert_true(json_floats_arena(&body.json, &grown, &n, ARRAY_MAX));
        assert_int_equal(n, count);
        assert_memory_equal(grown, out, count * sizeof *out);
        body_close(&body);
        text[bytes] = 0;
        char *p = text + 1;
        for (size_t i = 0; i < count; i++) {
            float expected = (float)strtod(p, &p);
            if (memcmp(&expected, &out[i], sizeof expected) != 0)
                fail_msg("%zu: %.9g, strtod %.9g", i, (double)out[i], (double)expected);
            p += strspn(p, " ,\n");
        }
    }
    free(text);
}

/* ---- out ---- */

static void assert_out(struct text *text, const char *expected)
{
    text_put(text, "", 1);
    assert_string_equal(text->data, expected);
    text_release(text);
}

static void test_text(void **state)
{
    (void)state;
    struct text text = {0};
    text_puts(&text, "a");
    text_put(&text, NULL, 0);
    text_printf(&text, "%d %s", 5, "x");
    text_u64(&text, UINT64_MAX);
    assert_out(&text, "a5 x18446744073709551615");
    text_float(&text, 0.19f);
    text_puts(&text, " ");
    text_double(&text, 0.19);
    text_puts(&text, " ");
    text_float(&text, INFINITY);
    text_puts(&text, " ");
    text_double(&text, (double)NAN);
    assert_out(&text, "0.19 0.19 null null");
    uint8_t floats[9];
    store_float(floats + 1, 1.0f);
    store_float(floats + 5, -2.5f);
    text_floats(&text, floats + 1, 2);
    text_floats(&text, floats, 0);
    assert_out(&text, "[1.0,-2.5][]");
    char *longer = malloc(5001);
    memset(longer, 'x', 5000);
    longer[5000] = 0;
    text_printf(&text, "%s", longer);
    text_printf(&text, "%s", longer);
    assert_int_equal(text.bytes, 10000);
    text_release(&text);
    assert_null(text.data);
    free(longer);
}

static void test_text_strings(void **state)
{
    (void)state;
    struct text text = {0};
    text_json_string(&text, span_of("a\"b\\c\0d\x1f\n\t\r\b\f\x7f/", 15));
    assert_out(&text, "\"a\\\"b\\\\c\\u0000d\\u001f\\n\\t\\r\\b\\f\x7f/\"");
    text_json_string(&text, (struct span){0});
    assert_out(&text, "\"\"");
    /* A character cut in half, and a byte that is none. */
    text_json_string(&text, span_text("x\xc3\xa9\xe2\x82"));
    assert_out(&text, "\"x\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"");
    text_json_string(&text, span_text("\xff\"\xf0\x9d\x84\x9e"));
    assert_out(&text, "\"\xef\xbf\xbd\\\"\xf0\x9d\x84\x9e\"");
}

/* Every character below U+0800 and some above, out and in again. */
static void test_strings_round_trip(void **state)
{
    (void)state;
    struct text text = {0};
    for (uint32_t point = 0; point < 0x800; point++) {
        uint8_t bytes[2] = {(uint8_t)point};
        size_t n = 1;
        if (point >= 0x80) {
            bytes[0] = (uint8_t)(0xc0 | point >> 6);
            bytes[1] = (uint8_t)(0x80 | (point & 0x3f));
            n = 2;
        }
        text.bytes = 0;
        text_json_string(&text, span_of(bytes, n));
        struct body body;
        struct span back;
        body_open(&body, text.data, text.bytes);
        assert_true(json_string(&body.json, &back) && json_finish(&body.json));
        assert_true(span_equal(back, span_of(bytes, n)));
        body_close(&body);
    }
    text_release(&text);
}

static void test_parse_double(void **state)
{
    (void)state;
    assert_true(json_parse_double(span_text("0.1")) == 0.1);
    assert_true(json_parse_double(span_text("-1.5e-7")) == -1.5e-7);
    assert_true(isinf(json_parse_double(span_text("1e400"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_failure_texts),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_type_errors),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_bytes),
        cmocka_unit_test(test_values_kept),
        cmocka_unit_test(test_source_only_if_needed),
        cmocka_unit_test(test_value_kinds),
        cmocka_unit_test(test_value_inside),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_floats_refused),
        cmocka_unit_test(test_floats_surplus),
        cmocka_unit_test(test_floats_random),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_strings),
        cmocka_unit_test(test_strings_round_trip),
        cmocka_unit_test(test_parse_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
