#include "index/utf8.h"

size_t utf8_length(struct span text)
{
    if (text.bytes == 0)
        return 0;
    const uint8_t *p = text.data, first = p[0];
    if (first < 0x80)
        return 1;
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.bytes < bytes)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* The first two bytes tell what is overlong, a surrogate or past U+10FFFF. */
    if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] > 0x9f) ||
        (first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] > 0x8f))
        return 0;
    return bytes;
}

bool utf8_check(struct span text)
{
    size_t i = 0;
    while (i < text.bytes) {
        if (text.bytes - i >= 8 && !(load64(text.data + i) & UINT64_C(0x8080808080808080))) {
            i += 8;
            continue;
        }
        size_t bytes = utf8_length(span_of(text.data + i, text.bytes - i));
        if (bytes == 0)
            return false;
        i += bytes;
    }
    return true;
}
