/* Float arrays: the fast path, where it hands over to the scanner, and what is refused. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/json_body.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_floats_refused),
        cmocka_unit_test(test_floats_surplus),
        cmocka_unit_test(test_floats_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
