#include "index/field_key.h"

#include <math.h>

#include "index/uuid.h"

#define STRING_BYTES_MAX 400u /* of a string so written; longer ones are cut */
#define UUID_TEXT_BYTES 36u

static void begin(struct field_key *key, enum field_key_class which)
{
    key->data[0] = (uint8_t)which;
    key->bytes = 1;
    key->cut = false;
}

static void add64(struct field_key *key, uint64_t v)
{
    store64_big(key->data + key->bytes, v);
    key->bytes += 8;
}

void field_key_class(enum field_key_class which, struct field_key *key)
{
    begin(key, which);
}

/* ---- numbers, times ---- */

/* Bits of a double in the order of doubles. */
static uint64_t ordered(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

void field_key_number(struct exact v, bool is_double, struct field_key *key)
{
    begin(key, KEY_NUMBER);
    add64(key, ordered(v.near));
    store16_big(key->data + key->bytes, (uint16_t)(v.rest + 32768));
    key->data[key->bytes + 2] = is_double;
    key->bytes += 3;
}

bool field_key_to_number(struct span key, struct exact *v, bool *is_double)
{
    if (key.bytes != 12 || key.data[0] != KEY_NUMBER)
        return false;
    uint64_t bits = load64_big(key.data + 1);
    bits = bits >> 63 ? bits & ~(UINT64_C(1) << 63) : ~bits;
    memcpy(&v->near, &bits, sizeof bits);
    v->rest = (int16_t)(load16_big(key.data + 9) - 32768);
    *is_double = key.data[11] != 0;
    return isfinite(v->near);
}

void field_key_time(int64_t microseconds, struct field_key *key)
{
    field_key_order(KEY_TIME, field_order_of_time(microseconds), key);
}

bool field_key_to_time(struct span key, int64_t *microseconds)
{
    if (key.bytes != 9 || key.data[0] != KEY_TIME)
        return false;
    *microseconds = (int64_t)(load64_big(key.data + 1) ^ UINT64_C(1) << 63);
    return true;
}

uint64_t field_order_of_number(struct exact v)
{
    return ordered(v.near);
}

uint64_t field_order_of_time(int64_t microseconds)
{
    return (uint64_t)microseconds ^ UINT64_C(1) << 63;
}

/* ---- spans ---- */

/* Of a double: its power of two, and 6 and 12 bits of what follows. Of a time: 203 days, 3.2 days,
 * 72 minutes. Of a place: squares of a 16th, a 64th, ... a 16,384th of the world's extent (2.4 by
 * 1.2 km). A finer level costs as much as a key of each value, where the values are not dense. */
size_t field_key_levels(enum field_key_class which, const uint8_t **shifts)
{
    static const uint8_t numbers[] = {52, 46, 40}, times[] = {44, 38, 32},
                         places[] = {56, 52, 48, 44, 40, 36};
    *shifts = which == KEY_NUMBER ? numbers : which == KEY_TIME ? times : places;
    return which == KEY_PLACE ? sizeof places : which == KEY_TIME ? sizeof times : sizeof numbers;
}

void field_key_level(size_t level, uint64_t order, struct field_key *key)
{
    begin(key, KEY_SPAN);
    key->data[key->bytes++] = (uint8_t)level;
    add64(key, order);
}

void field_key_order(enum field_key_class which, uint64_t order, struct field_key *key)
{
    begin(key, which);
    add64(key, order);
}

bool field_key_to_order(struct span key, uint64_t *order)
{
    if (key.bytes < 9 ||
        (key.data[0] != KEY_NUMBER && key.data[0] != KEY_TIME && key.data[0] != KEY_PLACE))
        return false;
    *order = load64_big(key.data + 1);
    return true;
}

bool field_key_to_level(struct span key, size_t *level, uint64_t *order)
{
    if (key.bytes != 10 || key.data[0] != KEY_SPAN)
        return false;
    *level = key.data[1];
    *order = load64_big(key.data + 2);
    return true;
}

/* ---- strings ---- */

/* FNV-1a; a chosen collision costs its author a look at the payload. */
static uint64_t hash(struct span text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < text.bytes; i++)
        h = (h ^ text.data[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* As much of the text as goes in, escaped; false: not all of it. */
static bool add_escaped(struct field_key *key, struct span text)
{
    size_t end = key->bytes + STRING_BYTES_MAX;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (key->bytes + (c == 0 ? 2 : 1) > end)
            return false;
        key->data[key->bytes++] = c;
        if (c == 0)
            key->data[key->bytes++] = 0xff;
    }
    return true;
}

void field_key_string(enum field_key_class which, struct span text, struct field_key *key)
{
    begin(key, which);
    key->cut = !add_escaped(key, text);
    key->data[key->bytes++] = 0;
    key->data[key->bytes++] = key->cut;
    if (key->cut)
        add64(key, hash(text));
}

void field_key_prefix(struct span text, struct field_key *key)
{
    begin(key, KEY_STRING);
    key->cut = !add_escaped(key, text);
}

bool field_key_to_string(struct span key, uint8_t *text, size_t *bytes)
{
    *bytes = 0;
    if (key.bytes < 3 || key.bytes > FIELD_KEY_BYTES_MAX ||
        (key.data[0] != KEY_STRING && key.data[0] != KEY_TOKEN))
        return false;
    for (size_t i = 1; i + 1 < key.bytes; i++) {
        text[*bytes] = key.data[i];
        if (key.data[i] == 0) {
            if (key.data[i + 1] != 0xff)
                return key.data[i + 1] == 0 && i + 2 == key.bytes;
            i++;
        }
        ++*bytes;
    }
    return false;
}

/* ---- the others ---- */

static void uuid_print(const uint8_t uuid[16], uint8_t *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = (uint8_t)digits[uuid[i] >> 4];
        text[at++] = (uint8_t)digits[uuid[i] & 15];
    }
}

bool field_key_uuid(struct span text, struct field_key *key)
{
    uint8_t printed[UUID_TEXT_BYTES];
    begin(key, KEY_UUID);
    key->bytes += 16;
    if (text.bytes != UUID_TEXT_BYTES || !uuid_parse(text, key->data + 1))
        return false;
    uuid_print(key->data + 1, printed);
    return memcmp(printed, text.data, sizeof printed) == 0;
}

bool field_key_to_uuid(struct span key, uint8_t *text)
{
    if (key.bytes != 17 || key.data[0] != KEY_UUID)
        return false;
    uuid_print(key.data + 1, text);
    return true;
}

void field_key_bool(bool v, struct field_key *key)
{
    begin(key, KEY_BOOL);
    key->data[key->bytes++] = v;
}

bool field_key_to_bool(struct span key, bool *v)
{
    if (key.bytes != 2 || key.data[0] != KEY_BOOL)
        return false;
    *v = key.data[1] != 0;
    return true;
}

uint32_t field_key_scale(double v, double from, double over)
{
    double scaled = (v - from) / over * 4294967296.0;
    return scaled >= 4294967295.0 ? UINT32_MAX : scaled > 0 ? (uint32_t)scaled : 0;
}

/* Bits of v at the even places from the top. */
static uint64_t spread(uint32_t v)
{
    uint64_t x = v;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & UINT64_C(0x5555555555555555);
}

void field_key_place(double lon, double lat, struct field_key *key)
{
    field_key_order(
        KEY_PLACE,
        spread(field_key_scale(lon, -180, 360)) << 1 | spread(field_key_scale(lat, -90, 180)), key);
}
