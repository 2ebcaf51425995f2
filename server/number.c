/* Reading numbers.
 *
 * Three steps, each exact: digits below 2^53 with a power of ten up to 22 are two doubles and one
 * rounding; then Eisel-Lemire multiplies the digits with 128 bits of the power and knows when that
 * is not enough; then strtod, on the significant digits only. Which step answers never changes the
 * answer: number_test.c compares with strtod. */
#include "server/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 19 /* of a u64, whatever they are */
/* A tie between two doubles has at most 767 significant digits; beyond that only "more than zero"
 * matters. */
#define STRTOD_DIGITS_MAX 800
/* An exponent is cut here: far beyond any double, and no sum with a text's length overflows. */
#define EXPONENT_MAX 1000000000000

static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define EXACT_POWER_MAX 22

static inline bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

/* Digits from p on, into the decimal while it has room. step: what a digit adds to the exponent, 0
 * before the point and -1 behind it. */
static const char *scan_digits(const char *p, const char *end, int64_t step, int *taken,
                               struct decimal *decimal)
{
    for (; is_digit(p, end); p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (*taken < DIGITS_MAX) {
            decimal->digits = decimal->digits * 10 + digit;
            decimal->exponent += step;
            *taken += decimal->digits != 0;
        } else {
            decimal->truncated |= digit != 0;
            decimal->exponent += step + 1;
        }
    }
    return p;
}

/* The number behind e or E; NULL if there is none. */
static const char *scan_exponent(const char *p, const char *end, int64_t *exponent)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (!is_digit(p, end))
        return NULL;
    int64_t v = 0;
    for (; is_digit(p, end); p++)
        if (v < EXPONENT_MAX)
            v = v * 10 + (*p - '0');
    *exponent += negative ? -v : v;
    return p;
}

/* Up to 18 digits and nothing that goes on as a number: most integers. NULL: look properly. */
static const char *scan_plain_integer(const char *p, const char *end, struct decimal *decimal)
{
    const char *begin = p;
    uint64_t v = 0;
    for (; p - begin <= 18 && is_digit(p, end); p++)
        v = v * 10 + (uint64_t)(*p - '0');
    bool more = p < end && (*p == '.' || *p == 'e' || *p == 'E');
    if (p == begin || p - begin > 18 || more || (*begin == '0' && p - begin > 1))
        return NULL;
    decimal->digits = v;
    return p;
}

const char *number_scan(const char *next, const char *end, struct decimal *decimal)
{
    const char *p = next;
    int taken = 0;
    *decimal = (struct decimal){.integer = true};
    if (p < end && *p == '-') {
        decimal->negative = true;
        p++;
    }
    const char *whole = scan_plain_integer(p, end, decimal);
    if (whole)
        return whole;
    if (!is_digit(p, end))
        return NULL;
    /* A zero stands alone: in 01 the number ends before the 1. */
    p = *p == '0' ? p + 1 : scan_digits(p, end, 0, &taken, decimal);
    if (p < end && *p == '.') {
        decimal->integer = false;
        const char *fraction = p + 1;
        p = scan_digits(fraction, end, -1, &taken, decimal);
        if (p == fraction)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        decimal->integer = false;
        p = scan_exponent(p + 1, end, &decimal->exponent);
    }
    return p;
}

bool number_eisel_lemire(uint64_t digits, int64_t exponent, double *out)
{
    if (exponent < NUMBER_POWER_MIN || exponent > 308)
        return false;
    const uint64_t *power = number_powers[exponent - NUMBER_POWER_MIN];
    int zeros = __builtin_clzll(digits);
    digits <<= zeros;
    /* 217706 / 2^16 is log2(10), near enough for the floor over this range. */
    // cppcheck-suppress shiftNegativeLHS ; arithmetic in gcc and clang
    int64_t binary = ((217706 * exponent) >> 16) + 64 + 1023 - zeros;
    __uint128_t product = (__uint128_t)digits * power[0];
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    /* The power was cut, so the product is too small by less than `digits` in its last place: only
     * a run of ones could still carry into the bits that count. */
    if ((high & 0x1ff) == 0x1ff && low + digits < digits) {
        __uint128_t rest = (__uint128_t)digits * power[1];
        uint64_t carry = (uint64_t)(rest >> 64);
        low += carry;
        high += low < carry;
        if ((high & 0x1ff) == 0x1ff && low == UINT64_MAX && (uint64_t)rest + digits < digits)
            return false;
    }
    unsigned top = (unsigned)(high >> 63);
    uint64_t mantissa = high >> (top + 9); /* 54 bits, the last one for rounding */
    binary -= !top;
    /* What looks like a tie may be just above one. */
    if (low == 0 && (high & 0x1ff) == 0 && (mantissa & 3) == 1)
        return false;
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >> 53) {
        mantissa >>= 1;
        binary++;
    }
    if (binary < 1 || binary > 2046)
        return false;
    uint64_t bits = (uint64_t)binary << 52 | (mantissa & ((UINT64_C(1) << 52) - 1));
    memcpy(out, &bits, sizeof bits);
    return true;
}

/* strtod on the significant digits, at most STRTOD_DIGITS_MAX of them and a 1 for the rest. */
static double double_by_strtod(const struct decimal *decimal, const char *text, size_t bytes)
{
    char copy[STRTOD_DIGITS_MAX + 48];
    size_t length = 0;
    int64_t exponent = decimal->exponent;
    size_t significant = 0, more = 0;
    for (size_t i = 0; i < bytes && text[i] != 'e' && text[i] != 'E'; i++) {
        if (text[i] < '0' || text[i] > '9' || (significant == 0 && text[i] == '0'))
            continue;
        significant++;
        if (significant <= STRTOD_DIGITS_MAX)
            copy[length++] = text[i];
        else
            more |= text[i] != '0';
    }
    if (more)
        copy[length++] = '1';
    /* The decimal's exponent is that of the 19th digit; this text goes on. */
    if (length > DIGITS_MAX)
        exponent -= (int64_t)(length - DIGITS_MAX);
    snprintf(copy + length, sizeof copy - length, "e%lld", (long long)exponent);
    return strtod(copy, NULL);
}

static double double_magnitude(const struct decimal *decimal, const char *text, size_t bytes)
{
    double v, above;
    int64_t exponent = decimal->exponent;
    if (decimal->digits == 0)
        return 0;
    if (!decimal->truncated && decimal->digits <= UINT64_C(1) << 53 &&
        exponent >= -EXACT_POWER_MAX && exponent <= EXACT_POWER_MAX) {
        v = (double)decimal->digits;
        return exponent < 0 ? v / exact_powers[-exponent] : v * exact_powers[exponent];
    }
    if (number_eisel_lemire(decimal->digits, exponent, &v)) {
        if (!decimal->truncated)
            return v;
        /* Digits were left out: if one more in the last place makes no difference, they do not. */
        if (number_eisel_lemire(decimal->digits + 1, exponent, &above) && above <= v)
            return v;
    }
    return double_by_strtod(decimal, text, bytes);
}

double number_double(const struct decimal *decimal, const char *text, size_t bytes)
{
    double v = double_magnitude(decimal, text, bytes);
    return decimal->negative ? -v : v;
}
