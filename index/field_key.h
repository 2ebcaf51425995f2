/* Keys of values in payload indexes: bytes that sort as the values do. The table is in
 * storage/format.h. No key is the beginning of another. */
#ifndef KITH_INDEX_FIELD_KEY_H
#define KITH_INDEX_FIELD_KEY_H

#include "index/exact.h"
#include "storage/fields.h"

enum field_key_class {
    KEY_PRESENT = 0x01, /* slots with a value that the field's kind can hold */
    KEY_OTHER = 0x02,   /* slots with another value; null is none */
    KEY_HOLLOW = 0x03,  /* slots whose array holds nothing but nulls */
    KEY_NULL = 0x04,    /* slots with null at the path */
    KEY_SEVERAL = 0x05, /* of a text index: slots with more than one text */
    KEY_NUMBER = 0x10,
    KEY_TIME = 0x11,
    KEY_STRING = 0x12,
    KEY_UUID = 0x13,
    KEY_BOOL = 0x14,
    KEY_PLACE = 0x15, /* an order alone: places have no key but those of their spans */
    KEY_TOKEN = 0x16,
    KEY_SPAN = 0x20, /* slots with a number, time or place that begins with certain bits */
};

struct field_key {
    size_t bytes;
    bool cut; /* a long string: others may have the same key */
    uint8_t data[FIELD_KEY_BYTES_MAX];
};
static inline struct span field_key_span(const struct field_key *key)
{
    return span_of(key->data, key->bytes);
}

void field_key_class(enum field_key_class which, struct field_key *key);
void field_key_number(struct exact v, bool is_double, struct field_key *key);
void field_key_time(int64_t microseconds, struct field_key *key);
/* which: KEY_STRING or KEY_TOKEN. */
void field_key_string(enum field_key_class which, struct span text, struct field_key *key);
/* Without its end: what the keys of all strings begin with that begin so. */
void field_key_prefix(struct span text, struct field_key *key);
/* false: not the hyphenated lower-case form. */
bool field_key_uuid(struct span text, struct field_key *key);
void field_key_bool(bool v, struct field_key *key);
void field_key_place(double lon, double lat, struct field_key *key);
/* A coordinate scaled to 32 bits; from: its least value, over: its extent. Clamped. */
uint32_t field_key_scale(double v, double from, double over);

/* ---- spans: many values in one key ----
 *
 * Numbers, times and places are ordered by 64 bits, the ORDER of a value. Besides its own key each
 * is under one key for every LEVEL: the order without its last bits. So a range of any length is a
 * few dozen keys, most of them of many values, in place of one key for each value in it. */

/* The levels of places end here, and places have no key but those of their levels. */
#define FIELD_PLACE_BITS_LEAST 36u

/* Bits that the levels of KEY_NUMBER, KEY_TIME or KEY_PLACE leave out, most first; returns how many
 * levels there are. */
size_t field_key_levels(enum field_key_class which, const uint8_t **shifts);
/* The key of a level for an order whose last bits are zero. */
void field_key_level(size_t level, uint64_t order, struct field_key *key);
/* Where all values of an order begin. */
void field_key_order(enum field_key_class which, uint64_t order, struct field_key *key);
/* Of a key of KEY_NUMBER, KEY_TIME, KEY_PLACE; false: it is of none of these. */
bool field_key_to_order(struct span key, uint64_t *order);
/* Of a key of KEY_SPAN. */
bool field_key_to_level(struct span key, size_t *level, uint64_t *order);
uint64_t field_order_of_number(struct exact v);
uint64_t field_order_of_time(int64_t microseconds);

/* ---- back to values; false when the key is of another class or damaged ---- */

bool field_key_to_number(struct span key, struct exact *v, bool *is_double);
bool field_key_to_time(struct span key, int64_t *microseconds);
/* Into text[FIELD_KEY_BYTES_MAX]; false also for a long string, which was cut. */
bool field_key_to_string(struct span key, uint8_t *text, size_t *bytes);
/* Into text[36]. */
bool field_key_to_uuid(struct span key, uint8_t *text);
bool field_key_to_bool(struct span key, bool *v);

#endif
