/* Float arrays: the hot loop of every ingest.
 *
 * A number of the usual shape (sign, up to 19 digits around a point, perhaps an exponent), with
 * enough of the body behind it that no byte needs a bounds check, is read eight digits at a time;
 * anything else, and every error, is left to the scanner. Both round to double first and then to
 * float, as NumPy and JavaScript do. */
#include "server/json.h"

#include "server/json_private.h"

/* What the fast path may look at from a number's first byte on: sign, 19 digits before the point,
 * the point, three words of eight behind it, and e-123. */
#define FAST_BYTES 64

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint32_t integer_powers[] = {1,      10,      100,      1000,     10000,
                                          100000, 1000000, 10000000, 100000000};

/* Eight digits as a number; each byte of v is 0..9, the first one in the lowest byte.
 * Source: Lemire, Number parsing at a gigabyte per second, 2021, section 4. */
static inline uint64_t eight_digits(uint64_t v)
{
    const uint64_t pairs = UINT64_C(0x000000ff000000ff);
    v = v * 10 + (v >> 8);
    return (((v & pairs) * (100 + (UINT64_C(1000000) << 32))) +
            (((v >> 16) & pairs) * (1 + (UINT64_C(10000) << 32)))) >>
           32;
}

/* How many of the eight bytes at p are digits, from the front; *digits is their number. */
static inline unsigned leading_digits(const char *p, uint32_t *digits)
{
    uint64_t v = load64(p) ^ UINT64_C(0x3030303030303030);
    uint64_t others = ((v + UINT64_C(0x7676767676767676)) | v) & UINT64_C(0x8080808080808080);
    if (others == 0) {
        *digits = (uint32_t)eight_digits(v);
        return 8;
    }
    unsigned count = (unsigned)__builtin_ctzll(others) / 8;
    *digits = count ? (uint32_t)eight_digits(v << (64 - 8 * count)) : 0;
    return count;
}

/* The digits behind a point into *digits; NULL when there are none or more than 24. */
static inline const char *fast_fraction(const char *p, uint64_t *digits)
{
    const char *begin = p;
    uint32_t part;
    for (int words = 0; words < 3; words++) {
        unsigned count = leading_digits(p, &part);
        *digits = *digits * integer_powers[count] + part;
        p += count;
        if (count < 8)
            return p > begin ? p : NULL;
    }
    return NULL;
}

static inline const char *fast_exponent(const char *p, int *exponent)
{
    bool negative = *p == '-';
    p += negative || *p == '+';
    int v = 0;
    const char *begin = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (p - begin == 3)
            return NULL;
        v = v * 10 + (*p - '0');
    }
    *exponent += negative ? -v : v;
    return p > begin ? p : NULL;
}

/* A number at p with FAST_BYTES behind it. Returns the byte after it, or NULL to leave it to the
 * scanner. */
static inline const char *fast_number(const char *p, double *out)
{
    bool negative = *p == '-';
    p += negative;
    const char *begin = p;
    uint64_t digits = (uint64_t)(uint8_t)*p - '0';
    if (digits > 9)
        return NULL;
    p++;
    if (digits)
        for (; *p >= '0' && *p <= '9'; p++) {
            if (p - begin == 19)
                return NULL;
            digits = digits * 10 + (uint64_t)(*p - '0');
        }
    int exponent = 0;
    ptrdiff_t taken = p - begin;
    if (*p == '.') {
        const char *fraction = p + 1;
        p = fast_fraction(fraction, &digits);
        if (!p)
            return NULL;
        exponent = -(int)(p - fraction);
        /* A lone zero before the point takes no room in the 19 digits that fit. */
        taken = (*begin == '0' ? 0 : taken) + (p - fraction);
    }
    if (taken > 19)
        return NULL;
    if ((*p | 0x20) == 'e') {
        p = fast_exponent(p + 1, &exponent);
        if (!p)
            return NULL;
    }
    double v;
    if (digits <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22)
        v = exponent < 0 ? (double)digits / powers[-exponent] : (double)digits * powers[exponent];
    else if (digits == 0)
        v = 0;
    else if (!number_eisel_lemire(digits, exponent, &v))
        return NULL;
    /* Every other number of an embedding is negative: a branch would be guessed wrong half the
     * time. */
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits |= (uint64_t)negative << 63;
    memcpy(out, &bits, sizeof bits);
    return p;
}

static inline const char *pass_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* Store one number. The comparison is with what rounds to infinity: half a step above FLT_MAX. */
static inline bool store(double v, float *out, size_t capacity, size_t index)
{
    // cppcheck-suppress incorrectLogicOperator ; it misreads hexadecimal floats
    if (!(v < 0x1.ffffffp127 && v > -0x1.ffffffp127))
        return false;
    if (index < capacity)
        out[index] = (float)v;
    return true;
}

static bool refuse(struct json *json, size_t index)
{
    return json_fail(json, "number out of range for float32 at index %zu", index);
}

/* As many numbers as the fast path can take, from the element that next stands before, until there
 * are limit of them. Stops before an element it leaves to the scanner, or behind an element where
 * no comma follows. */
static bool fast_floats(struct json *json, float *out, size_t capacity, size_t limit, size_t *count)
{
    const char *p = json->next;
    size_t n = *count;
    bool good = true;
    while (json->end - p >= FAST_BYTES && n < limit) {
        double v;
        const char *q = fast_number(p, &v);
        if (!q)
            break;
        if (!store(v, out, capacity, n)) {
            good = false;
            break;
        }
        n++;
        p = q;
        json->comma = true;
        if (*p != ',') {
            json->due = false;
            break;
        }
        p = pass_blanks(p + 1, json->end);
    }
    json->next = p;
    if (!good)
        refuse(json, n);
    *count = n;
    return good;
}

/* One element the careful way. */
static bool scanned_float(struct json *json, float *out, size_t capacity, size_t index)
{
    double v;
    const char *p = json->next;
    if (p < json->end && *p != '-' && *p != ']' && (*p < '0' || *p > '9'))
        return json_fail(json, "expected a number at index %zu", index);
    return json_double(json, &v) && (store(v, out, capacity, index) || refuse(json, index));
}

/* The elements of an array that has been entered, from the one that next stands before on, until
 * the array ends, there are limit of them or something fails. The first capacity are stored. *more:
 * another element follows. */
static bool floats_into(struct json *json, float *out, size_t capacity, size_t limit, size_t *count,
                        bool *more)
{
    while (*more && *count < limit) {
        if (!fast_floats(json, out, capacity, limit, count))
            return false;
        if (json->due && *count == limit)
            return true;
        if (json->due) {
            if (!scanned_float(json, out, capacity, *count))
                return false;
            ++*count;
        }
        *more = json_element(json);
    }
    return !json->why;
}

bool json_floats(struct json *json, float *out, size_t capacity, size_t *count)
{
    *count = 0;
    if (!json_enter_array(json))
        return false;
    bool more = json_element(json);
    return floats_into(json, out, capacity, SIZE_MAX, count, &more);
}

bool json_floats_arena(struct json *json, float **out, size_t *count, size_t max_count)
{
    size_t capacity = 0;
    *out = NULL;
    *count = 0;
    if (!json_enter_array(json))
        return false;
    bool more = json_element(json);
    while (more) {
        if (capacity == max_count)
            return json_fail(json, "more than %zu numbers", max_count);
        size_t wanted = capacity ? 4 * capacity : 512;
        capacity = wanted < max_count ? wanted : max_count;
        float *grown = arena_allocate(json->arena, capacity * sizeof *grown);
        if (*count)
            memcpy(grown, *out, *count * sizeof *grown);
        *out = grown;
        if (!floats_into(json, grown, capacity, capacity, count, &more))
            return false;
    }
    return !json->why;
}
