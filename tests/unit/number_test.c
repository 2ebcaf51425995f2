/* Numbers against the C library: reading is strtod's, printing is the shortest that reads back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/number.h"

#ifdef __SANITIZE_ADDRESS__
#define MANY 200000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MANY 200000
#endif
#endif
#ifndef MANY
#ifdef __SANITIZE_THREAD__
#define MANY 200000
#else
#define MANY 3000000
#endif
#endif

static uint64_t random_state = 0x9e3779b97f4a7c15;
static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t double_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* Both ends are exact, so a read past the text is seen by ASan. */
static double read_text(const char *text, size_t bytes)
{
    struct decimal decimal;
    char *copy = malloc(bytes);
    memcpy(copy, text, bytes);
    const char *end = number_scan(copy, copy + bytes, &decimal);
    assert_ptr_equal(end, copy + bytes);
    double v = number_double(&decimal, copy, bytes);
    free(copy);
    return v;
}

static void assert_as_strtod(const char *text)
{
    double expected = strtod(text, NULL), v = read_text(text, strlen(text));
    if (double_bits(v) != double_bits(expected))
        fail_msg("%s: %.17g, strtod %.17g", text, v, expected);
}

/* ---- the table ---- */

#define LIMBS 36
/* Big integers, 64 bits a limb, lowest first. */
struct big {
    uint64_t limbs[LIMBS];
};

static void big_multiply(struct big *big, uint64_t by)
{
    __uint128_t carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (__uint128_t)big->limbs[i] * by;
        big->limbs[i] = (uint64_t)carry;
        carry >>= 64;
    }
    assert_true(carry == 0);
}

static void big_divide(struct big *big, uint64_t by)
{
    __uint128_t rest = 0;
    for (int i = LIMBS - 1; i >= 0; i--) {
        rest = rest << 64 | big->limbs[i];
        big->limbs[i] = (uint64_t)(rest / by);
        rest %= by;
    }
}

static void big_double(struct big *big)
{
    for (int i = LIMBS - 1; i >= 0; i--)
        big->limbs[i] = big->limbs[i] << 1 | (i ? big->limbs[i - 1] >> 63 : 0);
}

static void assert_power(int exponent)
{
    struct big big = {{0}};
    big.limbs[exponent < 0 ? LIMBS - 1 : 0] = exponent < 0 ? UINT64_C(1) << 63 : 1;
    for (int i = 0; i < abs(exponent); i++)
        if (exponent < 0)
            big_divide(&big, 10); /* floors of floors are the floor of the whole */
        else
            big_multiply(&big, 10);
    while (!(big.limbs[LIMBS - 1] >> 63))
        big_double(&big);
    assert_int_equal(number_powers[exponent - NUMBER_POWER_MIN][0], big.limbs[LIMBS - 1]);
    assert_int_equal(number_powers[exponent - NUMBER_POWER_MIN][1], big.limbs[LIMBS - 2]);
}

static void test_powers(void **state)
{
    (void)state;
    for (int exponent = NUMBER_POWER_MIN; exponent <= NUMBER_POWER_MAX; exponent++)
        assert_power(exponent);
}

/* ---- reading ---- */

static void test_read_edges(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "0e999999999999999999999",
        "1",
        "-1",
        "9",
        "10",
        "1e0",
        "1E+0",
        "1e-0",
        "123456789012345678",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9007199254740994",
        "9007199254740995",
        "18446744073709551615",
        "18446744073709551616",
        "0.1",
        "0.2",
        "0.3",
        "1e22",
        "1e23",
        "8.5e22",
        "1e-22",
        "1e-23",
        "123456789e22",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "2.225073858507201136057409796709131975934819546351645648023426109724822222021076945516529"
        "523908135087914149158913039621106870086438694594645527657207407820621743379988141063267329"
        "253552286881372149012981122451451889849057222307285255133155755015914397476397983411801999"
        "323962548289017107081850690630666655994938275772572015763062690663332647565300009245888316"
        "433037779791869612049497390377829704905051080609940730262937128958950003583799967207254304"
        "360284078895771796150945516748243471030702609144621572289880258182545180325707018860872113"
        "128079512233426288368622321503775666622503982534335974568884423900265498198385487948292206"
        "894721689831099698365846814022854243330660339850886445804001034933970427567186443383770486"
        "037861622771738545623065874679014086723327636718751234567890123456789012345678901e-308",
        "4.9e-324",
        "5e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.5e-324",
        "2.47e-324",
        "1e-324",
        "1e-400",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1.8e308",
        "1e309",
        "-1e400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0.000000000000000000000000000000000000001",
        "100000000000000000000000000000000000000000",
        "7.2057594037927933e16",
        "7.205759403792793199999e16",
        "7.20575940379279320001e16",
        "9214843084008499",
        "9007199254740993.0000000000000000000000000000000000000001",
        "0.500000000000000166533453693773481063544750213623046875",
        "3.518437208883201171875e13",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "10000000000000000000",
        "12345678901234567890123456789",
        "0.12345678901234567890123456789",
        "6.631236846766476e-316",
        "4.4501477170144023e-308",
        "99999999999999974834176",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_as_strtod(texts[i]);
}

/* A number of any shape JSON allows. */
static void random_number(char *text, size_t bytes)
{
    uint64_t shape = random_bits();
    unsigned digits = 1 + (unsigned)(shape & 31) % 25;
    size_t n = 0;
    if (shape & 64)
        text[n++] = '-';
    text[n++] = (char)('1' + random_bits() % 9);
    unsigned point = (unsigned)(shape >> 8) % 30;
    for (unsigned i = 1; i < digits; i++) {
        if (i == point)
            text[n++] = '.';
        text[n++] = (char)('0' + random_bits() % 10);
    }
    int range = shape & 128 ? 340 : 30;
    if (shape & 256)
        snprintf(text + n, bytes - n, "e%d", (int)(random_bits() % (2 * (unsigned)range)) - range);
    else
        text[n] = 0;
}

static void test_read_random(void **state)
{
    (void)state;
    char text[64];
    for (int i = 0; i < MANY; i++) {
        uint64_t bits = random_bits();
        double v;
        memcpy(&v, &bits, sizeof v);
        switch (i % 4) {
        case 0:
            random_number(text, sizeof text);
            break;
        case 1: /* doubles of any size, with 15 to 18 digits */
            if (!isfinite(v))
                continue;
            snprintf(text, sizeof text, "%.*e", 14 + (int)(bits >> 11 & 3), v);
            break;
        case 2: /* what embeddings look like */
            snprintf(text, sizeof text, "%.*g", 6 + (int)(bits % 12),
                     (double)(int64_t)bits / 0x1p63);
            break;
        default: /* halfway between two doubles, or next to it */
            snprintf(
                text, sizeof text, "%llu",
                (unsigned long long)((UINT64_C(1) << 53 | bits >> 11) * 2 + 1 + (bits & 3) - 1));
        }
        assert_as_strtod(text);
    }
}

/* More digits than any double needs: the ones beyond the last that matters still break a tie. */
static void test_read_long(void **state)
{
    (void)state;
    static char text[5000];
    for (size_t length = 700; length < 4000; length += 97)
        for (int last = 0; last < 2; last++) {
            size_t n = (size_t)sprintf(text, "9007199254740993.");
            memset(text + n, '0', length);
            text[n + length] = last ? '1' : '0';
            strcpy(text + n + length + 1, "e-5");
            assert_as_strtod(text);
            text[n + length + 1] = 0;
            assert_as_strtod(text);
            memset(text, '9', length);
            text[length] = '.';
            assert_as_strtod(text);
        }
    memset(text, '0', 4000);
    text[1] = '.';
    strcpy(text + 4000, "123456789012345678901e4010");
    assert_as_strtod(text);
}

static size_t scanned(const char *text)
{
    struct decimal decimal;
    const char *end = number_scan(text, text + strlen(text), &decimal);
    return end ? (size_t)(end - text) : 0;
}

static void test_grammar(void **state)
{
    (void)state;
    static const char *const none[] = {"",   "-",   "+1",  ".5",   "a",   "-a",       "1.",  "1.e",
                                       "1e", "1e+", "1e-", "1E-x", "--1", "Infinity", "NaN", "-.5"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(scanned(none[i]), 0);
    assert_int_equal(scanned("01"), 1);
    assert_int_equal(scanned("-01"), 2);
    assert_int_equal(scanned("00"), 1);
    assert_int_equal(scanned("0x10"), 1);
    assert_int_equal(scanned("1.5.5"), 3);
    assert_int_equal(scanned("1e5e5"), 3);
    assert_int_equal(scanned("12,"), 2);
}

static void test_scan_parts(void **state)
{
    (void)state;
    struct decimal d;
    const char *text = "-12.50e3";
    assert_non_null(number_scan(text, text + strlen(text), &d));
    assert_true(d.negative && !d.integer && !d.truncated);
    assert_int_equal(d.digits, 1250);
    assert_int_equal(d.exponent, 1);
    text = "18446744073709551615";
    assert_non_null(number_scan(text, text + strlen(text), &d));
    assert_true(d.integer && d.truncated);
    assert_int_equal(d.digits, UINT64_C(1844674407370955161));
    assert_int_equal(d.exponent, 1);
}

/* ---- printing ---- */

static void assert_prints(double v, const char *expected)
{
    char text[NUMBER_TEXT_BYTES + 1];
    text[number_print_double(v, text)] = 0;
    assert_string_equal(text, expected);
}

static void assert_prints_float(float v, const char *expected)
{
    char text[NUMBER_TEXT_BYTES + 1];
    text[number_print_float(v, text)] = 0;
    assert_string_equal(text, expected);
}

static void test_print_forms(void **state)
{
    (void)state;
    assert_prints(0, "0.0");
    assert_prints(-0.0, "-0.0");
    assert_prints(1, "1.0");
    assert_prints(-10, "-10.0");
    assert_prints(1e15, "1000000000000000.0");
    assert_prints(1e16, "1e16");
    assert_prints(1.5e16, "1.5e16");
    assert_prints(1234567890123456.0, "1234567890123456.0");
    assert_prints(0.1, "0.1");
    assert_prints(1e-5, "0.00001");
    assert_prints(1.25e-5, "0.0000125");
    assert_prints(1e-6, "1e-6");
    assert_prints(1e-7, "1e-7");
    assert_prints(1e23, "1e23");
    assert_prints(9.5e-310, "9.5e-310");
    assert_prints(5e-324, "5e-324");
    assert_prints(2.2250738585072014e-308, "2.2250738585072014e-308");
    assert_prints(1.7976931348623157e308, "1.7976931348623157e308");
    assert_prints(9007199254740993.0, "9007199254740992.0");
    assert_prints_float(1, "1.0");
    assert_prints_float(0.19f, "0.19");
    assert_prints_float(-0.0f, "-0.0");
    assert_prints_float(16777216, "16777216.0");
    assert_prints_float(1e12f, "1000000000000.0");
    assert_prints_float(1e13f, "1e13");
    assert_prints_float(1e16f, "1e16");
    assert_prints_float(1e30f, "1e30");
    assert_prints_float(1e-5f, "0.00001");
    assert_prints_float(1e-6f, "0.000001");
    assert_prints_float(1e-7f, "1e-7");
    assert_prints_float(1e-45f, "1e-45");
    assert_prints_float(3.4028235e38f, "3.4028235e38");
    assert_prints_float(1.17549435e-38f, "1.1754944e-38");
    assert_prints_float(33554432, "33554432.0");
    /* The one float whose shortest text, 7.038531e-26, comes back as its neighbour when it is read
     * as a double first. */
    assert_prints_float(0x1.5c87fap-84f, "7.0385307e-26");
    assert_prints_float(-0x1.5c87fap-84f, "-7.0385307e-26");
}

static void test_print_unsigned(void **state)
{
    (void)state;
    char text[NUMBER_TEXT_BYTES + 1], expected[32];
    for (uint64_t v = 1; v; v = v * 3 < v ? 0 : v * 3) {
        text[number_print_unsigned(v, text)] = 0;
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)v);
        assert_string_equal(text, expected);
    }
    text[number_print_unsigned(UINT64_MAX, text)] = 0;
    assert_string_equal(text, "18446744073709551615");
    text[number_print_unsigned(0, text)] = 0;
    assert_string_equal(text, "0");
}

/* Significant digits of a printed number, zeros at both ends left out. */
static int digits_of(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (count == 0 && *text == '0'))
            continue;
        count++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return count - zeros;
}

/* Reads back, by strtof and the way clients do it, and one digit less does not. */
static void assert_float_shortest(float v)
{
    char text[NUMBER_TEXT_BYTES + 1], shorter[48];
    text[number_print_float(v, text)] = 0;
    if (strtof(text, NULL) != v || (float)read_text(text, strlen(text)) != v)
        fail_msg("%s does not read back as %.9g", text, (double)v);
    int digits = digits_of(text);
    if (digits > 1) {
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, (double)v);
        if (strtof(shorter, NULL) == v)
            fail_msg("%s is longer than %s", text, shorter);
    }
}

static void test_print_floats(void **state)
{
    (void)state;
    for (uint64_t bits = 1; bits < 0x7f800000; bits += 0x7f800000 / MANY + 1) {
        uint32_t b = (uint32_t)bits;
        float v;
        memcpy(&v, &b, sizeof v);
        assert_float_shortest(v);
    }
    for (uint32_t exponent = 0; exponent < 255; exponent++)
        for (int delta = -3; delta <= 3; delta++) {
            uint32_t b = (exponent << 23) + (uint32_t)delta;
            float v;
            memcpy(&v, &b, sizeof v);
            if (isfinite(v) && v > 0)
                assert_float_shortest(v);
        }
}

static void assert_double_shortest(double v)
{
    char text[NUMBER_TEXT_BYTES + 1], shorter[48];
    text[number_print_double(v, text)] = 0;
    if (double_bits(strtod(text, NULL)) != double_bits(v))
        fail_msg("%s does not read back as %.17g", text, v);
    int digits = digits_of(text);
    if (digits > 1) {
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, v);
        if (strtod(shorter, NULL) == v)
            fail_msg("%s is longer than %s", text, shorter);
    }
}

static void test_print_doubles(void **state)
{
    (void)state;
    for (int i = 0; i < MANY / 3; i++) {
        uint64_t bits = random_bits();
        double v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v))
            assert_double_shortest(v);
        assert_double_shortest((double)(int64_t)bits / 0x1p63);
    }
    for (uint64_t exponent = 0; exponent < 2047; exponent++)
        for (uint64_t low = 0; low < 3; low++) {
            uint64_t bits = (exponent << 52) + low;
            double v;
            memcpy(&v, &bits, sizeof v);
            assert_double_shortest(v);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_powers),       cmocka_unit_test(test_read_edges),
        cmocka_unit_test(test_read_random),  cmocka_unit_test(test_read_long),
        cmocka_unit_test(test_grammar),      cmocka_unit_test(test_scan_parts),
        cmocka_unit_test(test_print_forms),  cmocka_unit_test(test_print_unsigned),
        cmocka_unit_test(test_print_floats), cmocka_unit_test(test_print_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
