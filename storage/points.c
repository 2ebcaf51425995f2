/* Ids and rows. */
#include "storage/environment.h"

#include <assert.h>
#include <stdlib.h>

enum error table_read(MDB_txn *transaction, MDB_dbi table, const struct extent *extent,
                      struct span key, struct span *value)
{
    MDB_val lmdb_key = lmdb_value(key), found;
    const int result = mdb_get(transaction, table, &lmdb_key, &found);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    if (!extent_holds(extent, found.mv_data, found.mv_size)) {
        return ERROR_CORRUPT;
    }
    *value = span_of_lmdb(&found);
    return OK;
}

static enum error view_read(const struct view *view, enum table table, const struct key *key,
                            struct span *value)
{
    return table_read(view->transaction, view->environment->tables[table], &view->version->extent,
                      key_span(key), value);
}

/* ---- ids ---- */

static enum error decode_slot(struct span key, struct span value, uint64_t *slot)
{
    const enum error error = stored_check(key, value, KIND_ID, ID_BYTES);
    if (error == OK) {
        *slot = load64(value.data + FORMAT_HEADER_BYTES);
    }
    return error;
}

enum error view_slot(const struct view *view, const struct point_id *id, uint64_t *slot)
{
    const struct key key = key_id(id);
    struct span value;
    const enum error error = view_read(view, TABLE_IDS, &key, &value);
    return error == OK ? decode_slot(key_span(&key), value, slot) : error;
}

enum error write_slot(struct write *write, const struct point_id *id, uint64_t *slot)
{
    const struct key key = key_id(id);
    struct span value;
    const enum error error = write_get(write, TABLE_IDS, key_span(&key), &value);
    return error == OK ? decode_slot(key_span(&key), value, slot) : error;
}

static enum error take_id(const struct view *view, const MDB_val *key, const MDB_val *value,
                          struct id_slot *out)
{
    const struct extent *extent = &view->version->extent;
    const struct span id = span_of_lmdb(key);
    if (!extent_holds(extent, key->mv_data, key->mv_size) ||
        !extent_holds(extent, value->mv_data, value->mv_size) || !key_to_id(id, &out->id)) {
        return ERROR_CORRUPT;
    }
    return decode_slot(id, span_of_lmdb(value), &out->slot);
}

enum error view_ids(const struct view *view, const struct point_id *from, struct id_slot *out,
                    size_t max, size_t *count)
{
    *count = 0;
    MDB_cursor *cursor;
    enum error error = error_of_lmdb(
        mdb_cursor_open(view->transaction, view->environment->tables[TABLE_IDS], &cursor));
    if (error != OK) {
        return error;
    }
    const struct key first = from == NULL ? (struct key){{0}, 1} : key_id(from);
    MDB_val key = lmdb_value(key_span(&first)), value;
    int result = max == 0 ? MDB_NOTFOUND : mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (result == 0) {
        error = take_id(view, &key, &value, &out[*count]);
        if (error != OK || ++*count == max) {
            break;
        }
        result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return error == OK && result != 0 && result != MDB_NOTFOUND ? error_of_lmdb(result) : error;
}

/* ---- rows ---- */

uint32_t vector_set_next(const struct vector_set *set, uint32_t vector)
{
    while (vector < ENVIRONMENT_VECTORS_MAX) {
        const uint64_t left = set->words[vector / 64] >> vector % 64;
        if (left != 0) {
            return vector + (uint32_t)__builtin_ctzll(left);
        }
        vector = (vector / 64 + 1) * 64;
    }
    return ENVIRONMENT_VECTORS_MAX;
}

static size_t set_bytes(const struct vector_set *set)
{
    const uint8_t *bytes = (const uint8_t *)set->words;
    size_t count = sizeof set->words;
    while (count > 0 && bytes[count - 1] == 0) {
        count--;
    }
    return count;
}

/* A string id stands before the payload. */
static enum error decode_id_text(struct point_row *row)
{
    const struct span rest = row->payload;
    const size_t bytes = rest.bytes < 2 ? 0 : load16(rest.data);
    if (bytes == 0 || bytes > POINT_ID_TEXT_BYTES_MAX || bytes > rest.bytes - 2) {
        return ERROR_CORRUPT;
    }
    row->id_text = span_of(rest.data + 2, bytes);
    row->payload = span_of(rest.data + 2 + bytes, rest.bytes - 2 - bytes);
    return OK;
}

enum error row_decode(struct span key, struct span value, struct point_row *row)
{
    const enum error error = stored_check(key, value, KIND_ROW, ROW_SET_OFFSET + 1);
    if (error != OK) {
        return error;
    }
    row->version = load64(value.data + FORMAT_HEADER_BYTES);
    memcpy(&row->id, value.data + ROW_ID_OFFSET, sizeof row->id);
    row->vectors = (struct vector_set){{0}};
    const size_t count = value.data[ROW_SET_OFFSET], payload = ROW_SET_OFFSET + 1 + count;
    if (count > sizeof row->vectors.words || payload > value.bytes) {
        return ERROR_CORRUPT;
    }
    memcpy(row->vectors.words, value.data + ROW_SET_OFFSET + 1, count);
    row->payload = span_of(value.data + payload, value.bytes - payload);
    row->id_text = (struct span){0};
    return row->id.kind == POINT_ID_STRING ? decode_id_text(row) : OK;
}

enum error view_point(const struct view *view, uint64_t slot, struct point_row *out)
{
    const struct key key = key_row(slot);
    struct span value;
    const enum error error = view_read(view, TABLE_ROWS, &key, &value);
    return error == OK ? row_decode(key_span(&key), value, out) : error;
}

enum error write_read_point(struct write *write, uint64_t slot, struct point_row *out)
{
    const struct key key = key_row(slot);
    struct span value;
    const enum error error = write_get(write, TABLE_ROWS, key_span(&key), &value);
    return error == OK ? row_decode(key_span(&key), value, out) : error;
}

/* flags: MDB_APPEND for a row behind all others, 0 to replace one. */
static enum error put_row(struct write *write, uint64_t slot, const struct point_row *row,
                          unsigned flags)
{
    const struct key key = key_row(slot);
    const size_t set = set_bytes(&row->vectors), text = ROW_SET_OFFSET + 1 + set;
    const size_t payload = text + (row->id.kind == POINT_ID_STRING ? 2 + row->id_text.bytes : 0);
    const size_t bytes = payload + row->payload.bytes;
    uint8_t *value, id_text[POINT_ID_TEXT_BYTES_MAX];
    if ((row->id.kind == POINT_ID_STRING) != (row->id_text.bytes > 0) ||
        row->id_text.bytes > sizeof id_text) {
        return ERROR_INVALID;
    }
    if (row->id_text.bytes > 0) { /* it may lie in the row that is replaced */
        memcpy(id_text, row->id_text.data, row->id_text.bytes);
    }
    const enum error error = write_reserve(write, TABLE_ROWS, key_span(&key), bytes, flags, &value);
    if (error != OK) {
        return error;
    }
    store64(value + FORMAT_HEADER_BYTES, row->version);
    memcpy(value + ROW_ID_OFFSET, &row->id, sizeof row->id);
    value[ROW_SET_OFFSET] = (uint8_t)set;
    memcpy(value + ROW_SET_OFFSET + 1, row->vectors.words, set);
    if (row->id_text.bytes > 0) {
        store16(value + text, (uint16_t)row->id_text.bytes);
        memcpy(value + text + 2, id_text, row->id_text.bytes);
    }
    if (row->payload.bytes > 0) {
        memcpy(value + payload, row->payload.data, row->payload.bytes);
    }
    value_seal(key_span(&key), value, bytes, KIND_ROW, 0);
    return OK;
}

static enum error put_id(struct write *write, const struct point_id *id, uint64_t slot)
{
    const struct key key = key_id(id);
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_IDS, key_span(&key), ID_BYTES, 0, &value);
    if (error != OK) {
        return error;
    }
    store64(value + FORMAT_HEADER_BYTES, slot);
    value_seal(key_span(&key), value, ID_BYTES, KIND_ID, 0);
    return OK;
}

enum error write_point(struct write *write, uint64_t slot, const struct point_row *row)
{
    if (row->payload.bytes > UINT32_MAX - ROW_SET_OFFSET - 256 - 2 - POINT_ID_TEXT_BYTES_MAX) {
        return ERROR_TOO_LARGE;
    }
    const enum error error = put_row(write, slot, row, MDB_APPEND);
    failpoint("storage-put-row");
    return error == OK ? put_id(write, &row->id, slot) : error;
}

enum error write_replace_point(struct write *write, uint64_t slot, const struct point_row *row)
{
    if (row->payload.bytes > UINT32_MAX - ROW_SET_OFFSET - 256 - 2 - POINT_ID_TEXT_BYTES_MAX) {
        return ERROR_TOO_LARGE;
    }
    const enum error error = put_row(write, slot, row, 0);
    failpoint("storage-replace-row");
    return error;
}

/* ---- removing ---- */

static enum error delete_key(struct write *write, enum table table, const struct key *key)
{
    MDB_val lmdb_key = lmdb_value(key_span(key));
    const int result =
        mdb_del(write->transaction, write->environment->tables[table], &lmdb_key, NULL);
    return result == 0 || result == MDB_NOTFOUND ? error_of_lmdb(result)
                                                 : write_fail(write, result);
}

static void note_dead(struct write *write, uint64_t slot)
{
    if (write->dead_count == write->dead_capacity) {
        write->dead_capacity = write->dead_capacity == 0 ? 64 : 2 * write->dead_capacity;
        write->dead = grow(write->dead, size_product(write->dead_capacity, sizeof *write->dead));
    }
    write->dead[write->dead_count++] = slot;
}

enum error write_remove(struct write *write, uint64_t slot, const struct point_id *id,
                        bool remove_id)
{
    const struct key row = key_row(slot), id_key = key_id(id);
    enum error error = delete_key(write, TABLE_ROWS, &row);
    if (error == OK && remove_id) {
        error = delete_key(write, TABLE_IDS, &id_key);
    }
    failpoint("storage-remove");
    if (error == OK) {
        note_dead(write, slot);
    }
    return error;
}
