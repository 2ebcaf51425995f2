#include "index/uuid.h"

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool uuid_parse_hyphenated(const uint8_t *text, uint8_t out[16])
{
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text[at++] != '-')
                return false;
        }
        int high = digit(text[at]), low = digit(text[at + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
        at += 2;
    }
    return true;
}

static bool uuid_parse_simple(const uint8_t *text, uint8_t out[16])
{
    for (size_t i = 0; i < 16; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* The four spellings differ in length: 32 plain, 36 hyphenated, 38 in braces, 45 as a URN. */
bool uuid_parse(struct span text, uint8_t out[16])
{
    switch (text.bytes) {
    case 32:
        return uuid_parse_simple(text.data, out);
    case 36:
        return uuid_parse_hyphenated(text.data, out);
    case 38:
        return text.data[0] == '{' && text.data[37] == '}' &&
               uuid_parse_hyphenated(text.data + 1, out);
    case 45:
        return memcmp(text.data, "urn:uuid:", 9) == 0 && uuid_parse_hyphenated(text.data + 9, out);
    default:
        return false;
    }
}
