/* Sparse vectors and multivectors by slot, and the chunks of posting lists. */
#include "storage/lists.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/environment.h"

#define STORED_HEADER_BYTES (FORMAT_HEADER_BYTES + 8)
#define CHUNK_HEADER_BYTES (FORMAT_HEADER_BYTES + 8)
_Static_assert(CHUNK_HEADER_BYTES + LIST_CHUNK_MAX * LIST_ENTRY_BYTES < 2000,
               "LMDB keeps it inside a leaf page");

/* ---- stored vectors ---- */

size_t stored_data_bytes(const struct stored_vector *stored)
{
    return stored->dim == 0 ? size_product(stored->count, 8)
                            : size_product(size_product(stored->count, stored->dim), sizeof(float));
}

static enum error decode_stored(struct span key, struct span value, struct stored_vector *out)
{
    const enum error error = stored_check(key, value, KIND_VECTOR, STORED_HEADER_BYTES);
    if (error != OK) {
        return error;
    }
    *out = (struct stored_vector){
        .dim = load32(value.data + FORMAT_HEADER_BYTES),
        .count = load32(value.data + FORMAT_HEADER_BYTES + 4),
        .data = value.data + STORED_HEADER_BYTES,
    };
    const size_t each = out->dim == 0 ? 8 : (size_t)out->dim * sizeof(float);
    const size_t bytes = value.bytes - STORED_HEADER_BYTES;
    return bytes % each == 0 && bytes / each == out->count ? OK : ERROR_CORRUPT;
}

enum error view_stored(const struct view *view, uint16_t vector, uint64_t slot,
                       struct stored_vector *out)
{
    const struct key key = key_run(vector, slot);
    struct span value;
    const enum error error = table_read(view->transaction, view->environment->tables[TABLE_VECTORS],
                                        &view->version->extent, key_span(&key), &value);
    return error == OK ? decode_stored(key_span(&key), value, out) : error;
}

enum error write_read_stored(struct write *write, uint16_t vector, uint64_t slot,
                             struct stored_vector *out)
{
    const struct key key = key_run(vector, slot);
    struct span value;
    const enum error error = write_get(write, TABLE_VECTORS, key_span(&key), &value);
    return error == OK ? decode_stored(key_span(&key), value, out) : error;
}

enum error write_stored(struct write *write, uint16_t vector, uint64_t slot,
                        const struct stored_vector *stored)
{
    const struct key key = key_run(vector, slot);
    const size_t data_bytes = stored_data_bytes(stored), bytes = STORED_HEADER_BYTES + data_bytes;
    MDB_val lmdb_key = lmdb_value(key_span(&key)), room = {bytes, NULL};
    const MDB_dbi table = write->environment->tables[TABLE_VECTORS];
    /* Appending fills pages to the end; it works for the last vector that has any here. */
    int result = mdb_put(write->transaction, table, &lmdb_key, &room, MDB_APPEND | MDB_RESERVE);
    if (result == MDB_KEYEXIST) {
        result = mdb_put(write->transaction, table, &lmdb_key, &room, MDB_RESERVE);
    }
    failpoint("storage-put-vector");
    if (result != 0) {
        return write_fail(write, result);
    }
    uint8_t *value = room.mv_data;
    store32(value + FORMAT_HEADER_BYTES, stored->dim);
    store32(value + FORMAT_HEADER_BYTES + 4, stored->count);
    if (data_bytes > 0) {
        memcpy(value + STORED_HEADER_BYTES, stored->data, data_bytes);
    }
    value_seal(key_span(&key), value, bytes, KIND_VECTOR, 0);
    return OK;
}

/* Delete a key, which may not be there. */
static enum error remove_key(struct write *write, enum table table, const struct key *key)
{
    MDB_val lmdb_key = lmdb_value(key_span(key));
    const int result =
        mdb_del(write->transaction, write->environment->tables[table], &lmdb_key, NULL);
    return result == 0 || result == MDB_NOTFOUND ? OK : write_fail(write, result);
}

enum error write_stored_remove(struct write *write, uint16_t vector, uint64_t slot)
{
    const struct key key = key_run(vector, slot);
    return remove_key(write, TABLE_VECTORS, &key);
}

/* Does the entry a cursor found lie where it may? Found through a view, or in a transaction. */
static bool entry_is_inside(const struct view *view, const struct write *write, const MDB_val *key,
                            const MDB_val *value)
{
    if (view == NULL) {
        return write_holds(write, key) && write_holds(write, value);
    }
    const struct extent *extent = &view->version->extent;
    return extent_holds(extent, key->mv_data, key->mv_size) &&
           extent_holds(extent, value->mv_data, value->mv_size);
}

static enum error each_stored(const struct view *view, struct write *write, uint16_t vector,
                              uint64_t from, stored_each *each, void *context)
{
    // cppcheck-suppress nullPointer ; one of the two is given
    MDB_txn *transaction = view != NULL ? view->transaction : write->transaction;
    // cppcheck-suppress nullPointer
    const struct environment *environment = view != NULL ? view->environment : write->environment;
    MDB_cursor *cursor;
    enum error error =
        error_of_lmdb(mdb_cursor_open(transaction, environment->tables[TABLE_VECTORS], &cursor));
    if (error != OK) {
        return error;
    }
    const struct key first = key_run(vector, from);
    MDB_val key = lmdb_value(key_span(&first)), value;
    int result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (result == 0 && error == OK) {
        if (!entry_is_inside(view, write, &key, &value) || key.mv_size != 10) {
            error = ERROR_CORRUPT;
            break;
        }
        const struct span at = span_of_lmdb(&key);
        if (load16_big(at.data) != vector) {
            break;
        }
        struct stored_vector stored;
        const enum error bad = decode_stored(at, span_of_lmdb(&value), &stored);
        error = each(context, load64_big(at.data + 2), bad == OK ? &stored : NULL, bad);
        if (error == OK) {
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return error == OK && result != 0 && result != MDB_NOTFOUND ? error_of_lmdb(result) : error;
}

enum error view_each_stored(const struct view *view, uint16_t vector, uint64_t from,
                            stored_each *each, void *context)
{
    return each_stored(view, NULL, vector, from, each, context);
}

enum error write_each_stored(struct write *write, uint16_t vector, uint64_t from, stored_each *each,
                             void *context)
{
    return each_stored(NULL, write, vector, from, each, context);
}

/* ---- posting lists ---- */

enum error view_lists_open(const struct view *view, struct list_reader *reader)
{
    MDB_cursor *cursor;
    const enum error error = error_of_lmdb(
        mdb_cursor_open(view->transaction, view->environment->tables[TABLE_LISTS], &cursor));
    *reader = (struct list_reader){error == OK ? cursor : NULL, view, NULL};
    return error;
}

enum error write_lists_open(struct write *write, struct list_reader *reader)
{
    MDB_cursor *cursor;
    const enum error error = error_of_lmdb(
        mdb_cursor_open(write->transaction, write->environment->tables[TABLE_LISTS], &cursor));
    *reader = (struct list_reader){error == OK ? cursor : NULL, NULL, write};
    return error;
}

void lists_close(struct list_reader *reader)
{
    if (reader->cursor != NULL) {
        mdb_cursor_close(reader->cursor);
    }
    reader->cursor = NULL;
}

/* Slots ascend and stay below 2^32 from the first: what readers rely on. */
static bool chunk_ascends(const struct list_chunk *chunk)
{
    for (uint32_t i = 1; i < chunk->count; i++) {
        if (load32(chunk->data + i * LIST_ENTRY_BYTES) <=
            load32(chunk->data + (i - 1) * LIST_ENTRY_BYTES)) {
            return false;
        }
    }
    return load32(chunk->data) == 0 && chunk->first_slot <= UINT64_MAX - UINT32_MAX;
}

static enum error decode_chunk(const struct list_reader *reader, const MDB_val *key,
                               const MDB_val *value, uint16_t vector, struct list_chunk *out)
{
    const struct span at = span_of_lmdb(key), stored = span_of_lmdb(value);
    if (!entry_is_inside(reader->view, reader->write, key, value) || at.bytes != 14) {
        return ERROR_IO; /* nobody knows what comes behind it */
    }
    if (load16_big(at.data) != vector) {
        return ERROR_NOT_FOUND;
    }
    *out = (struct list_chunk){.index = __builtin_bswap32(load32(at.data + 2)),
                               .first_slot = load64_big(at.data + 6)};
    const enum error error =
        stored_check(at, stored, KIND_LIST, CHUNK_HEADER_BYTES + LIST_ENTRY_BYTES);
    if (error != OK) {
        return error;
    }
    out->count = load32(stored.data + FORMAT_HEADER_BYTES);
    out->data = stored.data + CHUNK_HEADER_BYTES;
    return out->count > 0 && out->count <= LIST_CHUNK_MAX &&
                   stored.bytes == CHUNK_HEADER_BYTES + out->count * LIST_ENTRY_BYTES &&
                   chunk_ascends(out)
               ? OK
               : ERROR_CORRUPT;
}

enum error lists_find(struct list_reader *reader, uint16_t vector, uint32_t index, uint64_t slot,
                      struct list_chunk *out)
{
    const struct key first = key_list(vector, index, slot);
    MDB_val key = lmdb_value(key_span(&first)), value;
    const int result = mdb_cursor_get(reader->cursor, &key, &value, MDB_SET_RANGE);
    if (result != 0) { /* ERROR_CORRUPT would promise a place to go on from */
        return result == MDB_NOTFOUND ? ERROR_NOT_FOUND : ERROR_IO;
    }
    return decode_chunk(reader, &key, &value, vector, out);
}

enum error lists_find_last(struct list_reader *reader, uint16_t vector, uint32_t index,
                           struct list_chunk *out)
{
    const struct key behind = key_list(vector, index, UINT64_MAX);
    MDB_val key = lmdb_value(key_span(&behind)), value;
    int result = mdb_cursor_get(reader->cursor, &key, &value, MDB_SET_RANGE);
    if (result == 0 || result == MDB_NOTFOUND) {
        result = mdb_cursor_get(reader->cursor, &key, &value,
                                result == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
    }
    if (result != 0) {
        return error_of_lmdb(result);
    }
    const enum error error = decode_chunk(reader, &key, &value, vector, out);
    return error == OK && out->index != index ? ERROR_NOT_FOUND : error;
}

enum error write_list_chunk(struct write *write, uint16_t vector, const struct list_chunk *chunk)
{
    assert(chunk->count > 0 && chunk->count <= LIST_CHUNK_MAX && chunk_ascends(chunk));
    const struct key key = key_list(vector, chunk->index, chunk->first_slot);
    const size_t bytes = CHUNK_HEADER_BYTES + chunk->count * LIST_ENTRY_BYTES;
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_LISTS, key_span(&key), bytes, 0, &value);
    failpoint("storage-put-list");
    if (error != OK) {
        return error;
    }
    store32(value + FORMAT_HEADER_BYTES, chunk->count);
    store32(value + FORMAT_HEADER_BYTES + 4, 0);
    memcpy(value + CHUNK_HEADER_BYTES, chunk->data, chunk->count * LIST_ENTRY_BYTES);
    value_seal(key_span(&key), value, bytes, KIND_LIST, 0);
    return OK;
}

enum error write_list_chunk_remove(struct write *write, uint16_t vector, uint32_t index,
                                   uint64_t first_slot)
{
    const struct key key = key_list(vector, index, first_slot);
    return remove_key(write, TABLE_LISTS, &key);
}
