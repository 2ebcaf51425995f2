/* Numbers as text: read exactly as strtod reads them, printed in the fewest digits that read back.
 *
 * Private to the JSON files of server/. Nothing here depends on the locale: strtod, the last resort
 * of number_double, is given digits and an exponent, never a point. Any thread. */
#ifndef KITH_SERVER_NUMBER_H
#define KITH_SERVER_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Powers of ten as 128-bit integers, rounded down: see number_powers.c. */
#define NUMBER_POWER_MIN (-342)
#define NUMBER_POWER_MAX 324
#define NUMBER_POWER_COUNT (NUMBER_POWER_MAX - NUMBER_POWER_MIN + 1)
extern const uint64_t number_powers[NUMBER_POWER_COUNT][2];

/* A number's text, taken apart: (-1)^negative * digits * 10^exponent. */
struct decimal {
    uint64_t digits;  /* the first 19 significant ones */
    int64_t exponent; /* of the last of them */
    bool negative;
    bool truncated; /* a digit other than 0 was left out after the 19th */
    bool integer;   /* no fraction and no exponent was written */
};

/* Read a number by the grammar of JSON (RFC 8259, section 6).
 *
 * next, end  the text; only read
 * decimal    out
 *
 * Returns the byte after the number, or NULL when the text does not begin with one. */
const char *number_scan(const char *next, const char *end, struct decimal *decimal);

/* The double nearest to a scanned number, ties to even: what strtod gives. Infinite beyond its
 * range. text, bytes: what number_scan read. */
double number_double(const struct decimal *decimal, const char *text, size_t bytes);

/* digits * 10^exponent by Eisel-Lemire, digits not 0. Returns false where 128 bits of the power do
 * not decide, and for results outside the normal doubles.
 * Source: Lemire, Number parsing at a gigabyte per second, 2021, section 5. */
bool number_eisel_lemire(uint64_t digits, int64_t exponent, double *out);

/* Print in the fewest digits that read back to the same float or double; of several, the nearest.
 * From 1e-5 to 1e16 (floats: 1e-6 to 1e13) in plain notation with at least one decimal place, else
 * 1.5e300 or 1e-7. Finite only. Returns the bytes written, no NUL.
 * Source: Giulietti, The Schubfach way to render doubles, 2020. */
#define NUMBER_TEXT_BYTES 32
size_t number_print_float(float v, char out[NUMBER_TEXT_BYTES]);
size_t number_print_double(double v, char out[NUMBER_TEXT_BYTES]);
size_t number_print_unsigned(uint64_t v, char out[NUMBER_TEXT_BYTES]);

#endif
