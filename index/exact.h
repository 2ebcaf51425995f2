/* Numbers of a payload, compared exactly: integers of 64 bits and doubles have no common type in C.
 *
 * near is the double nearest to the number, rest what an integer has beyond it. The order is that
 * of (near, rest), because rounding keeps order. */
#ifndef KITH_INDEX_EXACT_H
#define KITH_INDEX_EXACT_H

#include "index/value.h"

__extension__ typedef __int128 exact_wide;

struct exact {
    double near;
    int16_t rest; /* -1024..1024; 0 for a double */
};

/* Of a number kind (VALUE_INTEGER, VALUE_UNSIGNED, VALUE_DOUBLE). Negative zero is zero. */
static inline struct exact exact_of(struct span value, enum value_kind kind)
{
    if (kind == VALUE_DOUBLE)
        return (struct exact){value_double(value) + 0.0, 0};
    exact_wide v = kind == VALUE_INTEGER ? value_integer(value) : (exact_wide)value_unsigned(value);
    double near = (double)v;
    return (struct exact){near, (int16_t)(v - (exact_wide)near)};
}

static inline struct exact exact_of_integer(int64_t v)
{
    double near = (double)v;
    return (struct exact){near, (int16_t)((exact_wide)v - (exact_wide)near)};
}

static inline int exact_compare(struct exact a, struct exact b)
{
    if (a.near != b.near)
        return a.near < b.near ? -1 : 1;
    return (a.rest > b.rest) - (a.rest < b.rest);
}

#endif
