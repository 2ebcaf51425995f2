/* Definitions of payload indexes, and their postings. Byte tables: format.h. */
#include "storage/fields.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/environment.h"

/* As long as a bitmap, so the shorter of the two. */
#define ARRAY_COUNT_MAX (POSTING_BITMAP_BYTES / 2)

/* ---- definitions ---- */

static struct key field_key(uint32_t number)
{
    struct key key = key_main(MAIN_FIELD);
    store32(key.bytes + key.count, __builtin_bswap32(number));
    key.count += 4;
    return key;
}

static enum error decode_field(struct span key, struct span value, struct field_record *out)
{
    const enum error error = stored_check(key, value, KIND_FIELD, FIELD_BYTES);
    if (error != OK) {
        return error;
    }
    const size_t name = load32(value.data + FORMAT_HEADER_BYTES + 16);
    if (value_flags(value.data) > FIELD_DROPPED || name > value.bytes - FIELD_BYTES) {
        return ERROR_CORRUPT;
    }
    *out = (struct field_record){
        .number = __builtin_bswap32(load32(key.data + 1)),
        .state = (enum field_state)value_flags(value.data),
        .built = load64(value.data + FORMAT_HEADER_BYTES),
        .end = load64(value.data + FORMAT_HEADER_BYTES + 8),
        .name = span_of(value.data + FIELD_BYTES, name),
        .schema = span_of(value.data + FIELD_BYTES + name, value.bytes - FIELD_BYTES - name),
    };
    return OK;
}

/* The entry a cursor has found, its bounds checked. */
static enum error entry_check(const struct view *view, const MDB_val *key, const MDB_val *value)
{
    const struct extent *extent = &view->version->extent;
    return extent_holds(extent, key->mv_data, key->mv_size) &&
                   extent_holds(extent, value->mv_data, value->mv_size)
               ? OK
               : ERROR_CORRUPT;
}

static enum error open_cursor(const struct view *view, enum table table, MDB_cursor **cursor)
{
    return error_of_lmdb(
        mdb_cursor_open(view->transaction, view->environment->tables[table], cursor));
}

enum error view_field_next(const struct view *view, uint32_t number, struct field_record *out)
{
    MDB_cursor *cursor;
    enum error error = open_cursor(view, TABLE_MAIN, &cursor);
    if (error != OK) {
        return error;
    }
    const struct key first = field_key(number);
    MDB_val key = lmdb_value(key_span(&first)), value;
    error = error_of_lmdb(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE));
    if (error == OK) {
        error = entry_check(view, &key, &value);
    }
    mdb_cursor_close(cursor);
    if (error != OK) {
        return error;
    }
    const struct span found = span_of_lmdb(&key);
    if (found.bytes != first.count || found.data[0] != MAIN_FIELD) {
        return ERROR_NOT_FOUND;
    }
    return decode_field(found, span_of_lmdb(&value), out);
}

enum error write_field(struct write *write, const struct field_record *record)
{
    assert(record->name.bytes <= FIELD_NAME_BYTES_MAX &&
           record->schema.bytes <= FIELD_SCHEMA_BYTES_MAX);
    const struct key key = field_key(record->number);
    const size_t bytes = FIELD_BYTES + record->name.bytes + record->schema.bytes;
    uint8_t *value = allocate(bytes); /* the record may lie in the value that is replaced */
    memset(value, 0, FIELD_BYTES);
    store64(value + FORMAT_HEADER_BYTES, record->built);
    store64(value + FORMAT_HEADER_BYTES + 8, record->end);
    store32(value + FORMAT_HEADER_BYTES + 16, (uint32_t)record->name.bytes);
    memcpy(value + FIELD_BYTES, record->name.data, record->name.bytes);
    if (record->schema.bytes > 0) {
        memcpy(value + FIELD_BYTES + record->name.bytes, record->schema.data, record->schema.bytes);
    }
    value_seal(key_span(&key), value, bytes, KIND_FIELD, (uint16_t)record->state);
    uint8_t *place;
    const enum error error = write_reserve(write, TABLE_MAIN, key_span(&key), bytes, 0, &place);
    if (error == OK) {
        memcpy(place, value, bytes);
    }
    free(value);
    return error;
}

static enum error delete_entry(struct write *write, enum table table, struct span key)
{
    MDB_val lmdb_key = lmdb_value(key);
    const int result =
        mdb_del(write->transaction, write->environment->tables[table], &lmdb_key, NULL);
    return result == 0 || result == MDB_NOTFOUND ? OK : write_fail(write, result);
}

enum error write_field_remove(struct write *write, uint32_t number)
{
    const struct key key = field_key(number);
    return delete_entry(write, TABLE_MAIN, key_span(&key));
}

/* ---- postings ---- */

struct posting_key {
    uint8_t bytes[4 + FIELD_KEY_BYTES_MAX + 8];
    size_t count;
};

static struct span posting_span(const struct posting_key *key)
{
    return span_of(key->bytes, key->count);
}

static void posting_key_make(uint32_t field, struct span value, uint64_t chunk,
                             struct posting_key *key)
{
    assert(value.bytes <= FIELD_KEY_BYTES_MAX);
    store32(key->bytes, __builtin_bswap32(field));
    if (value.bytes > 0) {
        memcpy(key->bytes + 4, value.data, value.bytes);
    }
    store64_big(key->bytes + 4 + value.bytes, chunk);
    key->count = 4 + value.bytes + 8;
}

enum error posting_decode(struct span key, struct span value, struct posting *out)
{
    if (key.bytes < 4 + 1 + 8) {
        return ERROR_CORRUPT;
    }
    const enum error error = stored_check(key, value, KIND_POSTING, POSTING_BYTES + 2);
    if (error != OK) {
        return error;
    }
    const bool bitmap = (value_flags(value.data) & FLAG_BITMAP) != 0;
    const uint32_t count = load32(value.data + FORMAT_HEADER_BYTES);
    const size_t bytes = bitmap ? POSTING_BITMAP_BYTES : 2 * (size_t)count;
    if (count == 0 || count > POSTING_CHUNK_SLOTS || value.bytes != POSTING_BYTES + bytes) {
        return ERROR_CORRUPT;
    }
    *out = (struct posting){
        .key = span_of(key.data + 4, key.bytes - 12),
        .chunk = load64_big(key.data + key.bytes - 8),
        .count = count,
        .bitmap = bitmap,
        .data = value.data + POSTING_BYTES,
    };
    return OK;
}

bool posting_has(const struct posting *posting, uint32_t place)
{
    if (posting->bitmap) {
        return (posting->data[place / 8] >> place % 8 & 1) != 0;
    }
    size_t low = 0, high = posting->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const uint32_t at = load16(posting->data + 2 * middle);
        if (at == place) {
            return true;
        }
        if (at < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* ---- walking ---- */

enum error posting_walk_begin(const struct view *view, uint32_t field, struct posting_walk *walk)
{
    *walk = (struct posting_walk){.view = view, .field = field};
    MDB_cursor *cursor;
    const enum error error = open_cursor(view, TABLE_FIELDS, &cursor);
    walk->cursor = error == OK ? cursor : NULL;
    return error;
}

void posting_walk_end(struct posting_walk *walk)
{
    if (walk->cursor != NULL) {
        mdb_cursor_close(walk->cursor);
    }
    walk->cursor = NULL;
}

/* What the cursor stands on, if it belongs to the field. */
static enum error take(const struct posting_walk *walk, int result, const MDB_val *key,
                       const MDB_val *value, struct posting *out)
{
    enum error error = error_of_lmdb(result);
    if (error == OK) {
        error = entry_check(walk->view, key, value);
    }
    if (error != OK) {
        return error;
    }
    const struct span found = span_of_lmdb(key);
    if (found.bytes < 4 || __builtin_bswap32(load32(found.data)) != walk->field) {
        return ERROR_NOT_FOUND;
    }
    return posting_decode(found, span_of_lmdb(value), out);
}

/* Stand at or behind a key; LMDB's result. */
static int seek(struct posting_walk *walk, uint32_t field, struct span value, uint64_t chunk,
                MDB_val *key, MDB_val *found)
{
    struct posting_key first;
    posting_key_make(field, value, chunk, &first);
    if (value.bytes == 0) {
        first.count = 4;
    }
    *key = lmdb_value(posting_span(&first));
    return mdb_cursor_get(walk->cursor, key, found, MDB_SET_RANGE);
}

enum error posting_seek(struct posting_walk *walk, struct span key, uint64_t chunk,
                        struct posting *out)
{
    MDB_val found_key, value;
    const int result = seek(walk, walk->field, key, chunk, &found_key, &value);
    return take(walk, result, &found_key, &value, out);
}

enum error posting_seek_before(struct posting_walk *walk, struct span key, uint64_t chunk,
                               struct posting *out)
{
    MDB_val found_key, value;
    const uint32_t field = key.bytes > 0 ? walk->field : walk->field + 1;
    int result = seek(walk, field, key, chunk, &found_key, &value);
    if (result == 0 || result == MDB_NOTFOUND) {
        result =
            mdb_cursor_get(walk->cursor, &found_key, &value, result == 0 ? MDB_PREV : MDB_LAST);
    }
    return take(walk, result, &found_key, &value, out);
}

enum error posting_next(struct posting_walk *walk, struct posting *out)
{
    MDB_val key, value;
    const int result = mdb_cursor_get(walk->cursor, &key, &value, MDB_NEXT);
    return take(walk, result, &key, &value, out);
}

enum error posting_previous(struct posting_walk *walk, struct posting *out)
{
    MDB_val key, value;
    const int result = mdb_cursor_get(walk->cursor, &key, &value, MDB_PREV);
    return take(walk, result, &key, &value, out);
}

/* ---- changing ---- */

/* A posting as bits, and how many. */
struct places {
    uint8_t bits[POSTING_BITMAP_BYTES];
    uint32_t count;
};

static void places_load(struct places *places, const struct posting *posting)
{
    memset(places, 0, sizeof *places);
    if (posting == NULL) {
        return;
    }
    places->count = posting->count;
    if (posting->bitmap) {
        memcpy(places->bits, posting->data, POSTING_BITMAP_BYTES);
        return;
    }
    for (uint32_t i = 0; i < posting->count; i++) {
        const uint32_t at = load16(posting->data + 2 * (size_t)i) % POSTING_CHUNK_SLOTS;
        places->bits[at / 8] |= (uint8_t)(1u << at % 8);
    }
}

/* true if anything changed. */
static bool places_change(struct places *places, const struct posting_change *changes, size_t count)
{
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        assert(changes[i].place < POSTING_CHUNK_SLOTS);
        uint8_t *byte = &places->bits[changes[i].place / 8];
        const uint8_t bit = (uint8_t)(1u << changes[i].place % 8);
        if (((*byte & bit) != 0) == changes[i].add) {
            continue;
        }
        *byte ^= bit;
        places->count += changes[i].add ? 1 : UINT32_MAX;
        changed = true;
    }
    return changed;
}

static void places_to_array(const struct places *places, uint8_t *out)
{
    for (size_t word = 0; word < POSTING_BITMAP_BYTES / 8; word++) {
        for (uint64_t bits = load64(places->bits + 8 * word); bits != 0; bits &= bits - 1) {
            store16(out, (uint16_t)(64 * word + (size_t)__builtin_ctzll(bits)));
            out += 2;
        }
    }
}

static enum error places_put(struct write *write, struct span key, const struct places *places)
{
    if (places->count == 0) {
        return delete_entry(write, TABLE_FIELDS, key);
    }
    const bool bitmap = places->count > ARRAY_COUNT_MAX;
    const size_t bytes =
        POSTING_BYTES + (bitmap ? POSTING_BITMAP_BYTES : 2 * (size_t)places->count);
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_FIELDS, key, bytes, 0, &value);
    if (error != OK) {
        return error;
    }
    store32(value + FORMAT_HEADER_BYTES, places->count);
    if (bitmap) {
        memcpy(value + POSTING_BYTES, places->bits, POSTING_BITMAP_BYTES);
    } else {
        places_to_array(places, value + POSTING_BYTES);
    }
    value_seal(key, value, bytes, KIND_POSTING, bitmap ? FLAG_BITMAP : 0);
    return OK;
}

enum error write_posting(struct write *write, uint32_t field, struct span key, uint64_t chunk,
                         const struct posting_change *changes, size_t count)
{
    struct posting_key full;
    struct posting posting;
    struct places places;
    struct span value;
    posting_key_make(field, key, chunk, &full);
    enum error error = write_get(write, TABLE_FIELDS, posting_span(&full), &value);
    const bool exists = error == OK;
    if (exists) {
        error = posting_decode(posting_span(&full), value, &posting);
    }
    if (error != OK && error != ERROR_NOT_FOUND) {
        return error;
    }
    places_load(&places, exists ? &posting : NULL);
    if (!places_change(&places, changes, count)) {
        return OK;
    }
    failpoint("storage-put-posting");
    return places_put(write, posting_span(&full), &places);
}

enum error write_postings_remove(struct write *write, uint32_t field, size_t most, bool *done)
{
    MDB_cursor *cursor;
    *done = false;
    int result =
        mdb_cursor_open(write->transaction, write->environment->tables[TABLE_FIELDS], &cursor);
    if (result != 0) {
        return write_fail(write, result);
    }
    uint8_t first[4];
    store32(first, __builtin_bswap32(field));
    for (size_t i = 0; result == 0 && i < most; i++) {
        MDB_val key = lmdb_value(span_of(first, sizeof first)), value;
        result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (result == 0 && (key.mv_size < 4 || memcmp(key.mv_data, first, 4) != 0)) {
            result = MDB_NOTFOUND;
        }
        if (result == 0) {
            result = mdb_cursor_del(cursor, 0);
        }
    }
    mdb_cursor_close(cursor);
    *done = result == MDB_NOTFOUND;
    return result == 0 || *done ? OK : write_fail(write, result);
}

/* ---- rows in order of slots ---- */

enum error view_next_row(const struct view *view, uint64_t from, uint64_t *slot,
                         struct point_row *out)
{
    MDB_cursor *cursor;
    enum error error = open_cursor(view, TABLE_ROWS, &cursor);
    if (error != OK) {
        return error;
    }
    const struct key first = key_row(from);
    MDB_val key = lmdb_value(key_span(&first)), value;
    error = error_of_lmdb(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE));
    if (error == OK) {
        error = entry_check(view, &key, &value);
    }
    if (error == OK && key.mv_size != 8) {
        error = ERROR_CORRUPT;
    }
    if (error == OK) {
        *slot = load64_big(key.mv_data);
        error = view_point(view, *slot, out);
    } else if (error == ERROR_CORRUPT) {
        *slot = from;
    }
    mdb_cursor_close(cursor);
    return error;
}
