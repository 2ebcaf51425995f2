/* Aliases: other names of collections, records of the catalogue.
 *
 * An alias names a collection that is there and never has a collection's name: create checks both
 * in its own transaction, and deleting a collection takes its aliases along. Whatever a list of
 * actions does is one commit, so a reader that resolves names sees all of it or nothing. */
#include "storage/store_private.h"

#include <assert.h>

_Static_assert(ALIAS_TARGET_BYTES_MAX == FORMAT_NAME_BYTES_MAX, "an alias stands for a name");

static struct span alias_target(struct span record)
{
    return span_of(record.data + FORMAT_HEADER_BYTES, record.bytes - FORMAT_HEADER_BYTES);
}

static enum error alias_check(struct span key, struct span record)
{
    const enum error error = stored_check(key, record, KIND_ALIAS, FORMAT_HEADER_BYTES + 1);
    return error == OK && alias_target(record).bytes > FORMAT_NAME_BYTES_MAX ? ERROR_CORRUPT
                                                                             : error;
}

/* ---- reading ---- */

enum error catalog_alias(struct store *store, struct span alias, uint8_t *target,
                         size_t *target_bytes)
{
    struct name_key key;
    if (name_key(CATALOG_ALIAS, alias, &key) != OK) {
        return ERROR_NOT_FOUND;
    }
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    struct span record;
    error = catalog_record_get(txn, store->catalog.table, name_key_span(&key), &record);
    if (error == OK) {
        error = alias_check(name_key_span(&key), record);
    }
    if (error == OK) {
        *target_bytes = alias_target(record).bytes;
        memcpy(target, alias_target(record).data, *target_bytes);
    }
    catalog_read_end(&store->catalog, txn);
    return error;
}

enum error catalog_each_alias(struct store *store,
                              enum error (*each)(void *context, struct span alias,
                                                 struct span target),
                              void *context)
{
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    MDB_cursor *cursor;
    error = error_of_lmdb(mdb_cursor_open(txn, store->catalog.table, &cursor));
    if (error != OK) {
        catalog_read_end(&store->catalog, txn);
        return error;
    }
    const uint8_t first = CATALOG_ALIAS;
    MDB_val key = lmdb_value(span_of(&first, 1)), value;
    int result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (result == 0 && error == OK) {
        const struct span whole = span_of_lmdb(&key), record = span_of_lmdb(&value);
        if (whole.bytes < 2 || whole.data[0] != CATALOG_ALIAS) {
            break;
        }
        const bool sound = alias_check(whole, record) == OK;
        error = each(context, span_of(whole.data + 1, whole.bytes - 1),
                     sound ? alias_target(record) : span_of(NULL, 0));
        result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    catalog_read_end(&store->catalog, txn);
    if (error == OK && result != 0 && result != MDB_NOTFOUND) {
        error = error_of_lmdb(result);
    }
    return error;
}

/* ---- changing: each within an edit, returns LMDB's result ---- */

static int record_exists(MDB_txn *txn, const struct catalog *catalog, enum catalog_key which,
                         struct span name)
{
    struct name_key key;
    if (name_key(which, name, &key) != OK) {
        return MDB_NOTFOUND;
    }
    MDB_val lmdb_key = lmdb_value(name_key_span(&key)), found;
    return mdb_get(txn, catalog->table, &lmdb_key, &found);
}

static int alias_remove(MDB_txn *txn, const struct catalog *catalog, struct span alias)
{
    struct name_key key;
    if (name_key(CATALOG_ALIAS, alias, &key) != OK) {
        return MDB_NOTFOUND;
    }
    MDB_val lmdb_key = lmdb_value(name_key_span(&key));
    return mdb_del(txn, catalog->table, &lmdb_key, NULL);
}

static int alias_put(MDB_txn *txn, const struct catalog *catalog, struct span alias,
                     struct span collection)
{
    struct name_key key;
    if (name_key(CATALOG_ALIAS, alias, &key) != OK) {
        return MDB_BAD_VALSIZE;
    }
    uint8_t record[FORMAT_HEADER_BYTES + FORMAT_NAME_BYTES_MAX];
    const size_t bytes = FORMAT_HEADER_BYTES + collection.bytes;
    assert(bytes <= sizeof record);
    memcpy(record + FORMAT_HEADER_BYTES, collection.data, collection.bytes);
    value_seal(name_key_span(&key), record, bytes, KIND_ALIAS, 0);
    return catalog_record_put(txn, catalog->table, name_key_span(&key), span_of(record, bytes));
}

/* The new name of a create or a rename must not be a collection's. */
static int alias_is_free(MDB_txn *txn, const struct catalog *catalog, struct span alias)
{
    const int result = record_exists(txn, catalog, CATALOG_NAME, alias);
    return result == 0 ? MDB_KEYEXIST : result == MDB_NOTFOUND ? 0 : result;
}

static int alias_create(MDB_txn *txn, const struct catalog *catalog,
                        const struct alias_action *action)
{
    int result = record_exists(txn, catalog, CATALOG_NAME, action->target);
    if (result == 0) {
        result = alias_is_free(txn, catalog, action->alias);
    }
    return result == 0 ? alias_put(txn, catalog, action->alias, action->target) : result;
}

static int alias_rename(MDB_txn *txn, const struct catalog *catalog,
                        const struct alias_action *action)
{
    struct name_key key;
    struct span record;
    if (name_key(CATALOG_ALIAS, action->alias, &key) != OK) {
        return MDB_NOTFOUND;
    }
    MDB_val lmdb_key = lmdb_value(name_key_span(&key)), found;
    int result = mdb_get(txn, catalog->table, &lmdb_key, &found);
    if (result != 0) {
        return result;
    }
    record = span_of_lmdb(&found);
    if (alias_check(name_key_span(&key), record) != OK) {
        return MDB_CORRUPTED;
    }
    uint8_t target[FORMAT_NAME_BYTES_MAX]; /* the record goes with the removal */
    const size_t bytes = alias_target(record).bytes;
    memcpy(target, alias_target(record).data, bytes);
    result = alias_is_free(txn, catalog, action->target);
    if (result == 0) {
        result = alias_remove(txn, catalog, action->alias);
    }
    return result == 0 ? alias_put(txn, catalog, action->target, span_of(target, bytes)) : result;
}

struct alias_edit {
    const struct alias_action *actions;
    size_t count, at;
};

static int change_aliases(MDB_txn *txn, const struct catalog *catalog, void *context)
{
    struct alias_edit *edit = context;
    int result = 0;
    for (edit->at = 0; edit->at < edit->count; edit->at++) {
        const struct alias_action *action = &edit->actions[edit->at];
        switch (action->kind) {
        case ALIAS_CREATE:
            result = alias_create(txn, catalog, action);
            break;
        case ALIAS_DELETE:
            result = alias_remove(txn, catalog, action->alias);
            result = result == MDB_NOTFOUND ? 0 : result;
            break;
        case ALIAS_RENAME:
            result = alias_rename(txn, catalog, action);
            break;
        }
        failpoint("storage-alias-action");
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

enum error catalog_change_aliases(struct store *store, const struct alias_action *actions,
                                  size_t count, size_t *failed)
{
    for (*failed = 0; *failed < count; ++*failed) {
        const struct alias_action *action = &actions[*failed];
        const struct span made = action->kind == ALIAS_RENAME ? action->target : action->alias;
        if (action->kind != ALIAS_DELETE &&
            (made.bytes == 0 || made.bytes > FORMAT_NAME_BYTES_MAX)) {
            return ERROR_INVALID;
        }
    }
    struct alias_edit edit = {.actions = actions, .count = count};
    const enum error error = catalog_commit(store, change_aliases, &edit);
    failpoint("storage-aliases-committed");
    *failed = edit.at;
    return error;
}

int catalog_drop_aliases(MDB_txn *txn, const struct catalog *catalog, struct span collection)
{
    MDB_cursor *cursor;
    int result = mdb_cursor_open(txn, catalog->table, &cursor);
    if (result != 0) {
        return result;
    }
    const uint8_t first = CATALOG_ALIAS;
    MDB_val key = lmdb_value(span_of(&first, 1)), value;
    result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (result == 0) {
        const struct span whole = span_of_lmdb(&key), record = span_of_lmdb(&value);
        if (whole.bytes < 2 || whole.data[0] != CATALOG_ALIAS) {
            break;
        }
        /* a damaged record names nothing, so it stands for no collection that could go on */
        if (record.bytes > FORMAT_HEADER_BYTES && span_equal(alias_target(record), collection)) {
            result = mdb_cursor_del(cursor, 0);
        }
        if (result == 0) {
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return result == MDB_NOTFOUND ? 0 : result;
}
