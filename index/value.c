/* Flat values: the builder and the reader.
 *
 * A value is one tag byte and what the tag says; a document is one value. Containers know their
 * size, so that a reader steps over what it does not want. Little-endian, nothing is aligned.
 *
 *   tag    kind       then
 *   0x00   null
 *   0x01   false
 *   0x02   true
 *   0x10   integer    i8     the fewest bytes that hold it
 *   0x11   integer    i16
 *   0x12   integer    i32
 *   0x13   integer    i64
 *   0x14   unsigned   u64    above INT64_MAX
 *   0x15   double     f64    finite
 *   0x20 | a number's tag    the number, then text: how it was written
 *   0x40   string     text
 *   0x50   array      u32 bytes behind the count, u32 count, that many values
 *   0x51   object     u32 bytes behind the count, u32 count, that many times: text (key), value
 *
 *   text = u8 length below 255, or 255 and u32 length; then that many bytes
 *
 * Values come back from disk, so every read is held inside its span: damaged bytes read as
 * VALUE_INVALID, as an empty string or as an early end, never as memory that is not theirs. */
#include "index/value.h"

#include <assert.h>
#include <math.h>
#include <sys/random.h>

enum tag {
    TAG_NULL = 0x00,
    TAG_FALSE = 0x01,
    TAG_TRUE = 0x02,
    TAG_INTEGER = 0x10, /* to 0x13: log2 of the bytes in the low bits */
    TAG_UNSIGNED = 0x14,
    TAG_DOUBLE = 0x15,
    TAG_SOURCE = 0x20, /* a bit beside a number's tag */
    TAG_STRING = 0x40,
    TAG_ARRAY = 0x50,
    TAG_OBJECT = 0x51,
};
#define CONTAINER_HEAD 9 /* tag, bytes, count */
#define LONG_TEXT 255

/* Duplicate keys: a short object is searched from its start, a longer one gets a hash table in the
 * arena. The hash is keyed with random bytes, or a client could choose keys that all collide; the
 * key changes nothing but the order of the probes. */
#define KEYS_SCANNED 16

struct value_keys {
    uint64_t seed[2];
    size_t count, mask;
    struct value_key_slot {
        uint32_t hash, at; /* at: where the key's text begins in the builder's data; 0 is free */
    } * slots;
};

/* ---- reading one item ---- */

/* What lies at the start of some bytes. */
struct item {
    enum value_kind kind;
    uint8_t tag;
    size_t bytes;     /* of the whole item */
    size_t count;     /* of a container, not above its bytes */
    struct span body; /* number, string's text, or a container's contents */
    struct span source;
};

/* Take a length and that many bytes off the front. */
static bool take_text(struct span *rest, struct span *text)
{
    if (rest->bytes < 1)
        return false;
    size_t head = 1, length = rest->data[0];
    if (length == LONG_TEXT) {
        if (rest->bytes < 5)
            return false;
        head = 5;
        length = load32(rest->data + 1);
    }
    if (rest->bytes - head < length)
        return false;
    *text = span_of(rest->data + head, length);
    *rest = span_of(rest->data + head + length, rest->bytes - head - length);
    return true;
}

static bool item_number(struct span rest, uint8_t tag, struct item *item)
{
    uint8_t plain = tag & (uint8_t)~TAG_SOURCE;
    size_t size = 8;
    if (plain >= TAG_INTEGER && plain < TAG_UNSIGNED) {
        item->kind = VALUE_INTEGER;
        size = (size_t)1 << (plain & 3);
    } else if (plain == TAG_UNSIGNED) {
        item->kind = VALUE_UNSIGNED;
    } else if (plain == TAG_DOUBLE) {
        item->kind = VALUE_DOUBLE;
    } else {
        return false;
    }
    if (rest.bytes < size)
        return false;
    item->tag = plain;
    item->body = span_of(rest.data, size);
    item->bytes = 1 + size;
    if (tag == plain)
        return true;
    struct span behind = span_of(rest.data + size, rest.bytes - size);
    if (!take_text(&behind, &item->source))
        return false;
    item->bytes = 1 + rest.bytes - behind.bytes;
    return true;
}

static bool item_container(struct span value, struct item *item)
{
    if (value.bytes < CONTAINER_HEAD)
        return false;
    size_t inside = load32(value.data + 1), count = load32(value.data + 5);
    if (value.bytes - CONTAINER_HEAD < inside || count > inside)
        return false;
    item->kind = value.data[0] == TAG_ARRAY ? VALUE_ARRAY : VALUE_OBJECT;
    item->count = count;
    item->body = span_of(value.data + CONTAINER_HEAD, inside);
    item->bytes = CONTAINER_HEAD + inside;
    return true;
}

/* The item at the start of the bytes; more may follow it. false: damaged. */
static bool item_read(struct span value, struct item *item)
{
    *item = (struct item){.kind = VALUE_INVALID};
    if (value.bytes < 1)
        return false;
    item->tag = value.data[0];
    item->bytes = 1;
    struct span rest = span_of(value.data + 1, value.bytes - 1);
    switch (item->tag) {
    case TAG_NULL:
        item->kind = VALUE_NULL;
        return true;
    case TAG_FALSE:
    case TAG_TRUE:
        item->kind = VALUE_BOOL;
        return true;
    case TAG_STRING:
        if (!take_text(&rest, &item->body))
            return false;
        item->kind = VALUE_STRING;
        item->bytes = value.bytes - rest.bytes;
        return true;
    case TAG_ARRAY:
    case TAG_OBJECT:
        return item_container(value, item);
    default:
        if (item_number(rest, item->tag, item))
            return true;
        item->kind = VALUE_INVALID;
        return false;
    }
}

static int64_t load_integer(struct span body)
{
    switch (body.bytes) {
    case 1:
        return (int8_t)body.data[0];
    case 2:
        return (int16_t)load16(body.data);
    case 4:
        return (int32_t)load32(body.data);
    default:
        return (int64_t)load64(body.data);
    }
}

static double load_double(struct span body)
{
    double v;
    memcpy(&v, body.data, sizeof v);
    return v;
}

/* ---- building ---- */

void value_begin(struct value_builder *builder, struct arena *arena)
{
    builder->arena = arena;
    builder->data = NULL;
    builder->bytes = 0;
    builder->capacity = 0;
    builder->depth = 0;
}

/* Room for bytes more. */
static uint8_t *reserve(struct value_builder *builder, size_t bytes)
{
    if (builder->capacity - builder->bytes < bytes) {
        size_t capacity = builder->capacity ? 2 * builder->capacity : 256;
        if (capacity < builder->bytes + bytes)
            capacity = builder->bytes + bytes;
        uint8_t *data = arena_allocate(builder->arena, capacity);
        if (builder->bytes)
            memcpy(data, builder->data, builder->bytes);
        builder->data = data;
        builder->capacity = capacity;
    }
    uint8_t *place = builder->data + builder->bytes;
    builder->bytes += bytes;
    return place;
}

static void put_text(struct value_builder *builder, struct span text)
{
    bool longer = text.bytes >= LONG_TEXT;
    assert(text.bytes <= VALUE_BYTES_MAX);
    uint8_t *p = reserve(builder, text.bytes + (longer ? 5 : 1));
    *p++ = longer ? LONG_TEXT : (uint8_t)text.bytes;
    if (longer) {
        store32(p, (uint32_t)text.bytes);
        p += 4;
    }
    if (text.bytes)
        memcpy(p, text.data, text.bytes);
}

static void add_count(struct value_builder *builder)
{
    uint8_t *count = builder->data + builder->open[builder->depth - 1] + 5;
    store32(count, load32(count) + 1);
}

/* An array counts its elements as they begin; an object counts its keys. */
static void begin_item(struct value_builder *builder)
{
    if (builder->depth && builder->data[builder->open[builder->depth - 1]] == TAG_ARRAY)
        add_count(builder);
}

static void put_number(struct value_builder *builder, uint8_t tag, const void *number, size_t bytes,
                       struct span source)
{
    begin_item(builder);
    uint8_t *p = reserve(builder, 1 + bytes);
    *p = source.bytes ? tag | TAG_SOURCE : tag;
    memcpy(p + 1, number, bytes);
    if (source.bytes)
        put_text(builder, source);
}

void value_put_null(struct value_builder *builder)
{
    begin_item(builder);
    *reserve(builder, 1) = TAG_NULL;
}

void value_put_bool(struct value_builder *builder, bool v)
{
    begin_item(builder);
    *reserve(builder, 1) = v ? TAG_TRUE : TAG_FALSE;
}

void value_put_integer(struct value_builder *builder, int64_t v, struct span source)
{
    unsigned log2_bytes = 3;
    if (v == (int8_t)v)
        log2_bytes = 0;
    else if (v == (int16_t)v)
        log2_bytes = 1;
    else if (v == (int32_t)v)
        log2_bytes = 2;
    /* Little-endian: the low bytes come first. */
    put_number(builder, (uint8_t)(TAG_INTEGER + log2_bytes), &v, (size_t)1 << log2_bytes, source);
}

void value_put_unsigned(struct value_builder *builder, uint64_t v, struct span source)
{
    if (v <= INT64_MAX)
        value_put_integer(builder, (int64_t)v, source);
    else
        put_number(builder, TAG_UNSIGNED, &v, sizeof v, source);
}

void value_put_double(struct value_builder *builder, double v, struct span source)
{
    assert(isfinite(v));
    put_number(builder, TAG_DOUBLE, &v, sizeof v, source);
}

void value_put_string(struct value_builder *builder, struct span text)
{
    begin_item(builder);
    *reserve(builder, 1) = TAG_STRING;
    put_text(builder, text);
}

void value_put_value(struct value_builder *builder, struct span value)
{
    assert(value.bytes);
    begin_item(builder);
    memcpy(reserve(builder, value.bytes), value.data, value.bytes);
}

static enum error open_container(struct value_builder *builder, enum tag tag)
{
    if (builder->depth == VALUE_DEPTH_MAX)
        return ERROR_TOO_LARGE;
    begin_item(builder);
    builder->open[builder->depth] = builder->bytes;
    builder->keys[builder->depth] = NULL;
    builder->depth++;
    uint8_t *p = reserve(builder, CONTAINER_HEAD);
    memset(p, 0, CONTAINER_HEAD);
    p[0] = (uint8_t)tag;
    return OK;
}

enum error value_open_array(struct value_builder *builder)
{
    return open_container(builder, TAG_ARRAY);
}

enum error value_open_object(struct value_builder *builder)
{
    return open_container(builder, TAG_OBJECT);
}

void value_close(struct value_builder *builder)
{
    assert(builder->depth);
    size_t open = builder->open[--builder->depth];
    size_t inside = builder->bytes - open - CONTAINER_HEAD;
    assert(inside <= UINT32_MAX);
    store32(builder->data + open + 1, (uint32_t)inside);
}

struct span value_end(struct value_builder *builder)
{
    assert(builder->depth == 0);
    return span_of(builder->data, builder->bytes);
}

/* ---- duplicate keys ---- */

static inline uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012): its key keeps collisions from being chosen. */
static uint32_t key_hash(const struct value_keys *keys, struct span key)
{
    uint64_t v[4] = {
        keys->seed[0] ^ UINT64_C(0x736f6d6570736575), keys->seed[1] ^ UINT64_C(0x646f72616e646f6d),
        keys->seed[0] ^ UINT64_C(0x6c7967656e657261), keys->seed[1] ^ UINT64_C(0x7465646279746573)};
    size_t i = 0;
    for (; key.bytes - i >= 8; i += 8) {
        uint64_t word = load64(key.data + i);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)key.bytes << 56;
    for (size_t shift = 0; i < key.bytes; i++, shift += 8)
        last |= (uint64_t)key.data[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        sip_round(v);
    uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(hash ^ hash >> 32);
}

static struct span key_at(const struct value_builder *builder, size_t at)
{
    struct span rest = span_of(builder->data + at, builder->bytes - at), key = {0};
    bool whole = take_text(&rest, &key);
    assert(whole);
    return key;
}

static void slot_insert(struct value_keys *keys, uint32_t hash, uint32_t at)
{
    size_t i = hash & keys->mask;
    while (keys->slots[i].at)
        i = (i + 1) & keys->mask;
    keys->slots[i] = (struct value_key_slot){hash, at};
    keys->count++;
}

/* Twice the slots, so that at most half are taken. */
static void keys_grow(struct value_keys *keys, struct arena *arena)
{
    struct value_key_slot *old = keys->slots;
    size_t old_slots = old ? keys->mask + 1 : 0, slots = old ? 2 * old_slots : 8 * KEYS_SCANNED;
    keys->slots = arena_allocate(arena, slots * sizeof *keys->slots);
    memset(keys->slots, 0, slots * sizeof *keys->slots);
    keys->mask = slots - 1;
    keys->count = 0;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].at)
            slot_insert(keys, old[i].hash, old[i].at);
}

/* The table of an object that has grown past KEYS_SCANNED members. */
static struct value_keys *keys_new(struct value_builder *builder, size_t open)
{
    struct value_keys *keys = arena_allocate(builder->arena, sizeof *keys);
    *keys = (struct value_keys){0};
    if (getrandom(keys->seed, sizeof keys->seed, 0) != (ssize_t)sizeof keys->seed)
        keys->seed[0] = (uint64_t)(uintptr_t)keys; /* a kernel without it: better than a constant */
    keys_grow(keys, builder->arena);
    struct span rest = span_of(builder->data + open, builder->bytes - open);
    struct span key = {0};
    struct item item;
    while (rest.bytes) {
        size_t at = (size_t)(rest.data - builder->data);
        bool whole = take_text(&rest, &key) && item_read(rest, &item);
        assert(whole);
        slot_insert(keys, key_hash(keys, key), (uint32_t)at);
        rest = span_of(rest.data + item.bytes, rest.bytes - item.bytes);
    }
    return keys;
}

static bool key_scan(const struct value_builder *builder, size_t open, struct span key)
{
    struct span rest = span_of(builder->data + open, builder->bytes - open), other = {0};
    struct item item;
    while (rest.bytes) {
        bool whole = take_text(&rest, &other) && item_read(rest, &item);
        assert(whole);
        if (span_equal(key, other))
            return true;
        rest = span_of(rest.data + item.bytes, rest.bytes - item.bytes);
    }
    return false;
}

/* true if the key is in the table; else it is entered, to be written at the builder's end. */
static bool key_enter(struct value_builder *builder, struct value_keys *keys, struct span key)
{
    uint32_t hash = key_hash(keys, key);
    for (size_t i = hash & keys->mask; keys->slots[i].at; i = (i + 1) & keys->mask)
        if (keys->slots[i].hash == hash && span_equal(key, key_at(builder, keys->slots[i].at)))
            return true;
    if (2 * (keys->count + 1) > keys->mask)
        keys_grow(keys, builder->arena);
    assert(builder->bytes <= UINT32_MAX);
    slot_insert(keys, hash, (uint32_t)builder->bytes);
    return false;
}

enum error value_put_key(struct value_builder *builder, struct span key)
{
    assert(builder->depth);
    size_t open = builder->open[builder->depth - 1];
    struct value_keys **keys = &builder->keys[builder->depth - 1];
    assert(builder->data[open] == TAG_OBJECT);
    if (!*keys && load32(builder->data + open + 5) >= KEYS_SCANNED)
        *keys = keys_new(builder, open + CONTAINER_HEAD);
    if (*keys ? key_enter(builder, *keys, key) : key_scan(builder, open + CONTAINER_HEAD, key))
        return ERROR_EXISTS;
    add_count(builder);
    put_text(builder, key);
    return OK;
}

/* ---- reading ---- */

enum value_kind value_kind(struct span value)
{
    struct item item;
    return item_read(value, &item) ? item.kind : VALUE_INVALID;
}

bool value_bool(struct span value)
{
    return value.bytes > 0 && value.data[0] == TAG_TRUE;
}

int64_t value_integer(struct span value)
{
    struct item item;
    return item_read(value, &item) && item.kind == VALUE_INTEGER ? load_integer(item.body) : 0;
}

uint64_t value_unsigned(struct span value)
{
    struct item item;
    if (!item_read(value, &item))
        return 0;
    if (item.kind == VALUE_UNSIGNED)
        return load64(item.body.data);
    int64_t v = item.kind == VALUE_INTEGER ? load_integer(item.body) : 0;
    return v < 0 ? 0 : (uint64_t)v;
}

double value_double(struct span value)
{
    struct item item;
    if (!item_read(value, &item))
        return 0;
    if (item.kind == VALUE_DOUBLE)
        return load_double(item.body);
    if (item.kind == VALUE_UNSIGNED)
        return (double)load64(item.body.data);
    return item.kind == VALUE_INTEGER ? (double)load_integer(item.body) : 0;
}

struct span value_string(struct span value)
{
    struct item item;
    return item_read(value, &item) && item.kind == VALUE_STRING ? item.body : (struct span){0};
}

struct span value_source(struct span value)
{
    struct item item;
    return item_read(value, &item) ? item.source : (struct span){0};
}

size_t value_count(struct span value)
{
    struct item item;
    return item_read(value, &item) ? item.count : 0;
}

void value_walk(struct span value, struct value_cursor *cursor)
{
    struct item item;
    *cursor = (struct value_cursor){0};
    if (!item_read(value, &item) || (item.kind != VALUE_ARRAY && item.kind != VALUE_OBJECT))
        return;
    cursor->rest = item.body;
    cursor->object = item.kind == VALUE_OBJECT;
}

bool value_next(struct value_cursor *cursor, struct span *key, struct span *value)
{
    struct item item;
    struct span *rest = &cursor->rest;
    *key = (struct span){0};
    *value = (struct span){0};
    if (rest->bytes == 0 || (cursor->object && !take_text(rest, key)) || !item_read(*rest, &item)) {
        *rest = (struct span){0};
        return false;
    }
    *value = span_of(rest->data, item.bytes);
    *rest = span_of(rest->data + item.bytes, rest->bytes - item.bytes);
    return true;
}

struct span value_get(struct span object, struct span key)
{
    struct value_cursor cursor;
    struct span name, value;
    value_walk(object, &cursor);
    if (!cursor.object)
        return (struct span){0};
    while (value_next(&cursor, &name, &value))
        if (span_equal(name, key))
            return value;
    return (struct span){0};
}
