/* What the scanner's own files share; nobody else includes it. */
#ifndef KITH_SERVER_JSON_PRIVATE_H
#define KITH_SERVER_JSON_PRIVATE_H

#include "server/json.h"
#include "server/number.h"

/* A value has been read whole. */
static inline bool json_value_done(struct json *json)
{
    json->comma = true;
    json->due = false;
    return true;
}

/* The string that next stands before, its quote included, whatever the state. */
bool json_scan_string(struct json *json, struct span *text);
/* The number that next stands before, taken apart; a value is due. */
bool json_scan_number(struct json *json, struct span *text, struct decimal *decimal);
/* The magnitude of an integer, exact; false when it does not fit or text is no integer. */
bool json_decimal_u64(const struct decimal *decimal, struct span text, uint64_t *value);

/* The first byte from p on that ends a plain run of a string: a quote, a backslash or a control
 * character. *other: a byte above 0x7f was passed. */
static inline const char *json_plain_end(const char *p, const char *end, bool *other)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    uint64_t seen = 0;
    for (; end - p >= 8; p += 8) {
        uint64_t v = load64(p), quote = v ^ ones * '"', slash = v ^ ones * '\\';
        /* High bit of each byte that is 0 after the xor, or below 0x20; bytes above 0x7f are masked
         * out by ~v. Borrows only disturb bytes behind the first hit. */
        uint64_t hits = ((quote - ones) | (slash - ones) | (v - ones * 0x20)) & ~v & highs;
        if (hits) {
            seen |= v & (hits ^ (hits - 1)); /* up to the first hit */
            *other = (seen & highs) != 0;
            return p + __builtin_ctzll(hits) / 8;
        }
        seen |= v;
    }
    for (; p < end && *p != '"' && *p != '\\' && (uint8_t)*p >= 0x20; p++)
        seen |= (uint8_t)*p & 0x80;
    *other = (seen & highs) != 0;
    return p;
}

#endif
