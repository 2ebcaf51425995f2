/* Values from JSON and back, and everything else that is printed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/json_body.h"

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
        cmocka_unit_test(test_values_kept),
        cmocka_unit_test(test_source_only_if_needed),
        cmocka_unit_test(test_value_kinds),
        cmocka_unit_test(test_value_inside),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_strings),
        cmocka_unit_test(test_strings_round_trip),
        cmocka_unit_test(test_parse_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
