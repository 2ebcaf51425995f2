/* Printing numbers in the fewest digits.
 *
 * Schubfach: scale the value and the two ends of the interval that rounds to it by one power of
 * ten, so that the interval spans between one and ten integers, then take the multiple of ten
 * inside it if there is one, else the nearest integer. One table of 128-bit powers serves floats
 * (its upper half) and doubles. */
#include "server/number.h"

#include <string.h>

/* Digits are copied by so many at once, whatever their number: a copy of fixed size is two moves.
 */
#define DIGITS_ROOM 20

struct shortest {
    uint64_t digits;
    int exponent;
};

/* floor(log2(10^e)) for |e| <= 1233. */
static inline int floor_log2_power10(int e)
{
    return (e * 1741647) >> 19;
}

/* floor(log10(2^e)), or of 3/4 * 2^e, where the interval is shorter on its lower side. */
static inline int floor_log10_power2(int e, bool three_quarters)
{
    return (e * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

/* The scaled value, cut to an integer whose last bit also says whether anything was cut off (round
 * to odd), so that comparisons with it stay right. The tables' powers are cut, hence the + 1. */
static inline uint64_t scale_double(const uint64_t *power, uint64_t v)
{
    uint64_t low = power[1] + 1, high = power[0] + (low == 0);
    uint64_t carry = (uint64_t)(((__uint128_t)low * v) >> 64);
    __uint128_t product = (__uint128_t)high * v + carry;
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

static inline uint64_t scale_float(const uint64_t *power, uint64_t v)
{
    __uint128_t product = (__uint128_t)(power[0] + 1) * v;
    return (uint64_t)(product >> 64) | ((uint32_t)(product >> 32) > 1);
}

/* The value and the ends of the interval that rounds to it, times 4 / 10^exponent. */
struct interval {
    uint64_t lower, v, upper;
    int exponent;
};

/* mantissa * 2^binary; closer: the next value below is half as far away as the next above. */
static struct interval interval_of(uint64_t mantissa, int binary, bool closer, bool is_float)
{
    int k = floor_log10_power2(binary, closer);
    int shift = binary + floor_log2_power10(-k) + 1;
    const uint64_t *power = number_powers[-k - NUMBER_POWER_MIN];
    uint64_t ends[3] = {4 * mantissa - 2 + closer, 4 * mantissa, 4 * mantissa + 2};
    for (int i = 0; i < 3; i++)
        ends[i] =
            is_float ? scale_float(power, ends[i] << shift) : scale_double(power, ends[i] << shift);
    /* A tie goes to the even mantissa, so an odd one does not own its ends. */
    unsigned odd = mantissa & 1;
    return (struct interval){ends[0] + odd, ends[1], ends[2] - odd, k};
}

/* tens: whether the multiple of ten may be taken. */
static struct shortest choose(const struct interval *in, bool tens)
{
    uint64_t s = in->v / 4, ten = s / 10;
    if (tens && ten) {
        bool below = in->lower <= 40 * ten, above = 40 * ten + 40 <= in->upper;
        if (below != above)
            return (struct shortest){ten + above, in->exponent + 1};
    }
    bool below = in->lower <= 4 * s, above = 4 * s + 4 <= in->upper;
    if (below != above)
        return (struct shortest){s + above, in->exponent};
    uint64_t middle = 4 * s + 2;
    return (struct shortest){s + (in->v > middle || (in->v == middle && (s & 1))), in->exponent};
}

/* Clients read a float as a double and round again, and a text that lies as good as on the end of
 * the interval may then land on the other side of it. Of all floats one does (all were tried):
 * 7.0385307e-26, which 7.038531e-26 would name shorter. It gets the next digit. */
static struct shortest choose_float(const struct interval *in, float magnitude)
{
    struct shortest v = choose(in, true);
    uint64_t quarters = v.digits * (v.exponent > in->exponent ? 40 : 4);
    if (quarters - in->lower > 1 && in->upper - quarters > 1)
        return v;
    char digits[NUMBER_TEXT_BYTES];
    struct decimal decimal = {.digits = v.digits, .exponent = v.exponent};
    size_t bytes = number_print_unsigned(v.digits, digits);
    return (float)number_double(&decimal, digits, bytes) == magnitude ? v : choose(in, false);
}

size_t number_print_unsigned(uint64_t v, char out[NUMBER_TEXT_BYTES])
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "6869707172737475767778798081828384858687888990919293949596979899";
    char digits[2 * DIGITS_ROOM];
    size_t at = DIGITS_ROOM;
    while (v >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * v, 2);
    } else {
        digits[--at] = (char)('0' + v);
    }
    memcpy(out, digits + at, DIGITS_ROOM);
    return DIGITS_ROOM - at;
}

/* 1e30, 1.234e33 */
static size_t print_scientific(const char *digits, size_t count, int exponent, char *out)
{
    char *p = out;
    *p++ = digits[0];
    if (count > 1) {
        *p++ = '.';
        memcpy(p, digits + 1, count - 1);
        p += count - 1;
    }
    *p++ = 'e';
    if (exponent < 0)
        *p++ = '-';
    char text[NUMBER_TEXT_BYTES];
    size_t bytes = number_print_unsigned((uint64_t)(exponent < 0 ? -exponent : exponent), text);
    memcpy(p, text, bytes);
    return (size_t)(p - out) + bytes;
}

/* 0.00123, 12.34, 12300.0: point is where the decimal point falls, counted from the first digit. */
static size_t print_plain(const char *digits, size_t count, int point, char *out)
{
    char *p = out;
    if (point <= 0) {
        memcpy(p, "0.00000000", (size_t)(2 - point));
        p += 2 - point;
        memcpy(p, digits, DIGITS_ROOM);
        return (size_t)(p - out) + count;
    }
    size_t whole = (size_t)point;
    size_t head = whole < count ? whole : count;
    memcpy(p, digits, head);
    memset(p + head, '0', whole - head);
    p += whole;
    *p++ = '.';
    if (whole >= count) {
        *p++ = '0';
    } else {
        memcpy(p, digits + whole, count - whole);
        p += count - whole;
    }
    return (size_t)(p - out);
}

/* plain_max: the most digits before the point, plain_min: zeros behind it are fewer than -this. */
static size_t print_shortest(struct shortest v, int plain_min, int plain_max, char *out)
{
    char digits[NUMBER_TEXT_BYTES];
    size_t count = number_print_unsigned(v.digits, digits);
    int point = (int)count + v.exponent;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (point > plain_min && point <= plain_max)
        return print_plain(digits, count, point, out);
    return print_scientific(digits, count, point - 1, out);
}

size_t number_print_float(float v, char out[NUMBER_TEXT_BYTES])
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t sign = bits >> 31;
    out[0] = '-';
    out += sign;
    uint32_t fraction = bits & 0x7fffff, exponent = bits >> 23 & 0xff;
    if (fraction == 0 && exponent == 0) {
        memcpy(out, "0.0", 3);
        return sign + 3;
    }
    uint32_t mantissa = exponent ? fraction | 0x800000 : fraction;
    int binary = (exponent ? (int)exponent : 1) - 150;
    bool closer = fraction == 0 && exponent > 1;
    struct interval in = interval_of(mantissa, binary, closer, true);
    return sign + print_shortest(choose_float(&in, v < 0 ? -v : v), -6, 13, out);
}

size_t number_print_double(double v, char out[NUMBER_TEXT_BYTES])
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t sign = bits >> 63;
    out[0] = '-';
    out += sign;
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    if (fraction == 0 && exponent == 0) {
        memcpy(out, "0.0", 3);
        return sign + 3;
    }
    uint64_t mantissa = exponent ? fraction | UINT64_C(1) << 52 : fraction;
    int binary = (exponent ? exponent : 1) - 1075;
    bool closer = fraction == 0 && exponent > 1;
    struct interval in = interval_of(mantissa, binary, closer, false);
    return sign + print_shortest(choose(&in, true), -5, 16, out);
}
