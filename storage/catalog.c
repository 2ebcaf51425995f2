/* The catalogue: what collections there are. A collection exists from the commit that names it to
 * the commit that no longer does; directories the catalogue does not name are leftovers. */
#include "storage/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/files.h"

#define READERS_MAX 1024
#define FORMAT_RECORD_BYTES (FORMAT_HEADER_BYTES + 8)
#define NEXT_RECORD_BYTES (FORMAT_HEADER_BYTES + 8)
#define DIRECTORY_TRIES 1000 /* numbers taken by directories that could not be removed */

/* ---- keys and records ---- */

enum error name_key(enum catalog_key which, struct span name, struct name_key *key)
{
    if (name.bytes == 0 || name.bytes > FORMAT_NAME_BYTES_MAX) {
        return ERROR_INVALID;
    }
    key->bytes[0] = (uint8_t)which;
    memcpy(key->bytes + 1, name.data, name.bytes);
    key->count = name.bytes + 1;
    return OK;
}

enum error catalog_record_get(MDB_txn *txn, MDB_dbi table, struct span key, struct span *value)
{
    MDB_val lmdb_key = lmdb_value(key), found;
    const int result = mdb_get(txn, table, &lmdb_key, &found);
    if (result == 0) {
        *value = span_of_lmdb(&found);
    }
    return error_of_lmdb(result);
}

int catalog_record_put(MDB_txn *txn, MDB_dbi table, struct span key, struct span value)
{
    MDB_val lmdb_key = lmdb_value(key), lmdb_data = lmdb_value(value);
    return mdb_put(txn, table, &lmdb_key, &lmdb_data, 0);
}

/* The two records of one u64. */
static int number_put(MDB_txn *txn, MDB_dbi table, enum catalog_key which, enum value_kind kind,
                      uint64_t number)
{
    const uint8_t key = (uint8_t)which;
    uint8_t value[FORMAT_HEADER_BYTES + 8];
    store64(value + FORMAT_HEADER_BYTES, number);
    value_seal(span_of(&key, 1), value, sizeof value, kind, 0);
    return catalog_record_put(txn, table, span_of(&key, 1), span_of(value, sizeof value));
}

static enum error number_get(MDB_txn *txn, MDB_dbi table, enum catalog_key which,
                             enum value_kind kind, uint64_t *number)
{
    const uint8_t key = (uint8_t)which;
    struct span value;
    enum error error = catalog_record_get(txn, table, span_of(&key, 1), &value);
    if (error == OK) {
        error = stored_check(span_of(&key, 1), value, kind, FORMAT_HEADER_BYTES + 8);
    }
    if (error == OK) {
        *number = load64(value.data + FORMAT_HEADER_BYTES);
    }
    return error;
}

/* ---- opening ---- */

enum error catalog_read_begin(struct catalog *catalog, MDB_txn **txn)
{
    pthread_rwlock_rdlock(&catalog->lock);
    const enum error error = error_of_lmdb(mdb_txn_begin(catalog->env, NULL, MDB_RDONLY, txn));
    if (error != OK) {
        pthread_rwlock_unlock(&catalog->lock);
    }
    return error;
}

void catalog_read_end(struct catalog *catalog, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&catalog->lock);
}

/* The table's handle, and the format record when the catalogue is new. */
static enum error catalog_prepare(struct store *store, bool create)
{
    struct catalog *catalog = &store->catalog;
    MDB_txn *txn;
    int result = mdb_txn_begin(catalog->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (result != 0) {
        return store_write_error(store, result);
    }
    result = mdb_dbi_open(txn, NULL, 0, &catalog->table);
    MDB_stat stat;
    if (result == 0) {
        result = mdb_stat(txn, catalog->table, &stat);
    }
    if (result == 0 && create && stat.ms_entries == 0) {
        result = number_put(txn, catalog->table, CATALOG_FORMAT, KIND_CATALOG, FORMAT_NUMBER);
        if (result == 0) {
            result = number_put(txn, catalog->table, CATALOG_NEXT, KIND_NEXT, 1);
        }
    }
    uint64_t format = 0;
    enum error error = store_write_error(store, result);
    if (error == OK) {
        error = number_get(txn, catalog->table, CATALOG_FORMAT, KIND_CATALOG, &format);
        error = error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
    }
    if (error != OK) {
        mdb_txn_abort(txn);
        return error;
    }
    error = store_write_error(store, mdb_txn_commit(txn));
    return error == OK && (uint32_t)format > FORMAT_NUMBER ? ERROR_NEWER : error;
}

static bool catalog_is_new(const struct store *store)
{
    struct stat file;
    return fstatat(store->directory, "catalog/data.mdb", &file, 0) != 0 && errno == ENOENT;
}

/* Make catalog.new with its first records, then rename it: a catalogue is there whole or not at
 * all, so that one that is not whole is damage and never mistaken for a new one. */
static enum error catalog_make(struct store *store)
{
    enum error error = directory_remove(store->directory, "catalog.new");
    if (error == OK) {
        error = directory_make(store->directory, "catalog.new");
    }
    if (error != OK) {
        return error;
    }
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/catalog.new", store->path);
    if (length < 0 || (size_t)length >= sizeof path) {
        return ERROR_TOO_LARGE;
    }
    const struct map_options options = {
        .bytes = store->options.map_initial_bytes, .readers_max = READERS_MAX, .create = true};
    error = map_open(path, &options, &store->catalog.env);
    if (error == OK) {
        error = catalog_prepare(store, true);
        mdb_env_close(store->catalog.env);
        store->catalog.env = NULL;
    }
    int made;
    if (error == OK) {
        error = directory_open(store->directory, "catalog.new", &made);
    }
    if (error != OK) {
        return error;
    }
    error = directory_sync(made);
    close(made);
    failpoint("storage-catalog-made");
    if (error == OK &&
        renameat(store->directory, "catalog.new", store->directory, "catalog") != 0) {
        error = error_of_errno(errno);
    }
    return error == OK ? directory_sync(store->directory) : error;
}

static uint64_t file_bytes(const struct store *store)
{
    struct stat file;
    return fstatat(store->directory, "catalog/data.mdb", &file, 0) == 0 ? (uint64_t)file.st_size
                                                                        : 0;
}

enum error catalog_open(struct store *store, bool create)
{
    struct catalog *catalog = &store->catalog;
    const size_t bytes = strlen(store->path) + sizeof "/catalog";
    catalog->path = allocate(bytes);
    snprintf(catalog->path, bytes, "%s/catalog", store->path);
    enum error error = OK;
    if (create && catalog_is_new(store)) {
        error = catalog_make(store);
    }
    if (error != OK) {
        return error;
    }
    const bool large = file_bytes(store) > store->options.map_initial_bytes / 2;
    const struct map_options options = {.bytes = large ? store->options.map_max_bytes
                                                       : store->options.map_initial_bytes,
                                        .readers_max = READERS_MAX};
    error = map_open(catalog->path, &options, &catalog->env);
    return error == OK ? catalog_prepare(store, false) : error;
}

void catalog_close(struct store *store)
{
    if (store->catalog.env != NULL) {
        mdb_env_close(store->catalog.env);
    }
    store->catalog.env = NULL;
    free(store->catalog.path);
    store->catalog.path = NULL;
}

/* ---- reading ---- */

static enum error name_record(MDB_txn *txn, const struct catalog *catalog,
                              const struct name_key *key, struct span *record)
{
    const enum error error = catalog_record_get(txn, catalog->table, name_key_span(key), record);
    return error == OK ? stored_check(name_key_span(key), *record, KIND_NAME, NAME_SETTINGS_OFFSET)
                       : error;
}

enum error catalog_get(struct store *store, struct span name, uint64_t *directory,
                       uint8_t **settings, size_t *settings_bytes)
{
    struct name_key key;
    if (name_key(CATALOG_NAME, name, &key) != OK) {
        return ERROR_NOT_FOUND;
    }
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    struct span record;
    error = name_record(txn, &store->catalog, &key, &record);
    if (error == OK) {
        *directory = load64(record.data + FORMAT_HEADER_BYTES);
        *settings_bytes = record.bytes - NAME_SETTINGS_OFFSET;
        *settings = allocate(*settings_bytes);
        memcpy(*settings, record.data + NAME_SETTINGS_OFFSET, *settings_bytes);
    }
    catalog_read_end(&store->catalog, txn);
    return error;
}

enum error catalog_each(struct store *store,
                        enum error (*each)(void *context, struct span name, uint64_t directory,
                                           struct span settings),
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
    const uint8_t first = CATALOG_NAME;
    MDB_val key = lmdb_value(span_of(&first, 1)), value;
    int result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (result == 0 && error == OK) {
        const struct span whole = span_of_lmdb(&key), record = span_of_lmdb(&value);
        if (whole.bytes < 2 || whole.data[0] != CATALOG_NAME) {
            break;
        }
        const bool sound = stored_check(whole, record, KIND_NAME, NAME_SETTINGS_OFFSET) == OK;
        error = each(
            context, span_of(whole.data + 1, whole.bytes - 1),
            sound ? load64(record.data + FORMAT_HEADER_BYTES) : 0,
            sound ? span_of(record.data + NAME_SETTINGS_OFFSET, record.bytes - NAME_SETTINGS_OFFSET)
                  : span_of(NULL, 0));
        result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    catalog_read_end(&store->catalog, txn);
    if (error == OK && result != 0 && result != MDB_NOTFOUND) {
        error = error_of_lmdb(result);
    }
    return error;
}

/* ---- numbers of all, for the tidying at start ---- */

struct numbers {
    uint64_t *numbers;
    size_t count, capacity;
    bool damaged;
};

static enum error numbers_add(void *context, struct span name, uint64_t directory,
                              struct span settings)
{
    (void)name;
    (void)settings;
    struct numbers *all = context;
    all->damaged |= directory == 0;
    if (all->count == all->capacity) {
        all->capacity = all->capacity == 0 ? 64 : 2 * all->capacity;
        all->numbers = grow(all->numbers, size_product(all->capacity, sizeof *all->numbers));
    }
    all->numbers[all->count++] = directory;
    return OK;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

enum error catalog_numbers(struct store *store, uint64_t **numbers, size_t *count)
{
    struct numbers all = {NULL, 0, 0, false};
    enum error error = catalog_each(store, numbers_add, &all);
    if (error == OK && all.damaged) {
        error = ERROR_CORRUPT;
    }
    if (error != OK) {
        free(all.numbers);
        return error;
    }
    if (all.count > 0) {
        qsort(all.numbers, all.count, sizeof *all.numbers, compare_numbers);
    }
    *numbers = all.numbers;
    *count = all.count;
    return OK;
}

/* ---- writing ---- */

/* Close and open again, with a map of `bytes` if there is so much address space, else as before:
 * to grow, once in the catalogue's life (LMDB leaves an environment without a map when resizing it
 * fails), and after a failed write of a meta page, when LMDB answers MDB_PANIC until then. */
static enum error catalog_reopen(struct store *store, uint64_t bytes)
{
    struct catalog *catalog = &store->catalog;
    struct map_state state;
    enum error error = map_state_get(catalog->env, &state);
    if (error != OK) {
        return error;
    }
    pthread_rwlock_wrlock(&catalog->lock);
    mdb_env_close(catalog->env);
    catalog->env = NULL;
    struct map_options options = {.bytes = bytes, .readers_max = READERS_MAX};
    error = map_open(catalog->path, &options, &catalog->env);
    if (error != OK && bytes != state.map_bytes) {
        options.bytes = state.map_bytes;
        error = map_open(catalog->path, &options, &catalog->env);
    }
    if (error == OK) {
        error = catalog_prepare(store, false);
    }
    pthread_rwlock_unlock(&catalog->lock);
    return error;
}

static int commit_once(const struct catalog *catalog, catalog_edit *edit, void *context)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(catalog->env, NULL, 0, &txn);
    if (result != 0) {
        return result;
    }
    result = edit(txn, catalog, context);
    if (result != 0) {
        mdb_txn_abort(txn);
        return result;
    }
    return mdb_txn_commit(txn);
}

enum error catalog_commit(struct store *store, catalog_edit *edit, void *context)
{
    if (store->catalog.env == NULL) {
        return ERROR_IO;
    }
    int result = commit_once(&store->catalog, edit, context);
    if (result == MDB_PANIC || result == MDB_MAP_FULL) {
        const enum error error = catalog_reopen(store, store->options.map_max_bytes);
        if (error != OK) {
            return error;
        }
        result = commit_once(&store->catalog, edit, context);
    }
    return store_write_error(store, result);
}

/* A collection's record as it is to be. */
struct name_edit {
    const struct name_key *key;
    struct span settings;
    uint64_t directory;
};

static int put_name(MDB_txn *txn, const struct catalog *catalog, void *context)
{
    const struct name_edit *edit = context;
    const size_t bytes = NAME_SETTINGS_OFFSET + edit->settings.bytes;
    uint8_t *record = allocate_zeroed(1, bytes);
    store64(record + FORMAT_HEADER_BYTES, edit->directory);
    if (edit->settings.bytes > 0) {
        memcpy(record + NAME_SETTINGS_OFFSET, edit->settings.data, edit->settings.bytes);
    }
    value_seal(name_key_span(edit->key), record, bytes, KIND_NAME, 0);
    const int result =
        catalog_record_put(txn, catalog->table, name_key_span(edit->key), span_of(record, bytes));
    free(record);
    return result;
}

static int create_name(MDB_txn *txn, const struct catalog *catalog, void *context)
{
    const struct name_edit *edit = context;
    const int result = put_name(txn, catalog, context);
    return result == 0
               ? number_put(txn, catalog->table, CATALOG_NEXT, KIND_NEXT, edit->directory + 1)
               : result;
}

static int delete_name(MDB_txn *txn, const struct catalog *catalog, void *context)
{
    const struct name_edit *edit = context;
    MDB_val key = lmdb_value(name_key_span(edit->key));
    const int result = mdb_del(txn, catalog->table, &key, NULL);
    return result == 0 ? catalog_drop_aliases(txn, catalog, name_key_name(edit->key)) : result;
}

/* The number the next collection gets, above those of leftovers; its directory is made. */
static enum error make_directory(struct store *store, uint64_t *directory)
{
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    error = number_get(txn, store->catalog.table, CATALOG_NEXT, KIND_NEXT, directory);
    catalog_read_end(&store->catalog, txn);
    if (error != OK) {
        return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
    }
    for (int i = 0; i < DIRECTORY_TRIES; i++, ++*directory) {
        char name[DIRECTORY_NAME_BYTES];
        directory_name(*directory, name);
        error = directory_make(store->collections, name);
        if (error != ERROR_EXISTS) {
            return error;
        }
    }
    return error;
}

/* Neither a collection nor an alias may have the name. */
static enum error check_absent(struct store *store, struct span name)
{
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    const enum catalog_key kinds[] = {CATALOG_NAME, CATALOG_ALIAS};
    for (size_t i = 0; i < 2 && error == OK; i++) {
        struct name_key key;
        struct span record;
        error = name_key(kinds[i], name, &key);
        if (error == OK) {
            error = catalog_record_get(txn, store->catalog.table, name_key_span(&key), &record);
            error = error == OK ? ERROR_EXISTS : error == ERROR_NOT_FOUND ? OK : error;
        }
    }
    catalog_read_end(&store->catalog, txn);
    return error;
}

enum error catalog_create(struct store *store, struct span name, struct span settings,
                          uint64_t *directory)
{
    struct name_key key;
    enum error error = name_key(CATALOG_NAME, name, &key);
    if (error == OK && settings.bytes > FORMAT_SETTINGS_BYTES_MAX) {
        error = ERROR_TOO_LARGE;
    }
    if (error == OK) {
        error = check_absent(store, name);
    }
    if (error == OK) {
        error = make_directory(store, directory);
    }
    if (error != OK) {
        return error;
    }
    failpoint("storage-create-directory");
    error = environment_create(store, *directory);
    failpoint("storage-create-environment");
    if (error == OK) {
        struct name_edit edit = {.key = &key, .settings = settings, .directory = *directory};
        error = catalog_commit(store, create_name, &edit);
    }
    failpoint("storage-create-committed");
    if (error != OK) {
        char leftover[DIRECTORY_NAME_BYTES];
        directory_name(*directory, leftover);
        const enum error discarded = store_discard(store, leftover);
        (void)discarded; /* the next start tries again */
    }
    return error;
}

enum error catalog_update(struct store *store, struct span name, struct span settings)
{
    struct name_key key;
    if (name_key(CATALOG_NAME, name, &key) != OK) {
        return ERROR_NOT_FOUND;
    }
    if (settings.bytes > FORMAT_SETTINGS_BYTES_MAX) {
        return ERROR_TOO_LARGE;
    }
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    struct span record;
    struct name_edit edit = {.key = &key, .settings = settings};
    error = name_record(txn, &store->catalog, &key, &record);
    if (error == OK) {
        edit.directory = load64(record.data + FORMAT_HEADER_BYTES);
    }
    catalog_read_end(&store->catalog, txn);
    return error == OK ? catalog_commit(store, put_name, &edit) : error;
}

enum error catalog_delete(struct store *store, struct span name)
{
    struct name_key key;
    if (name_key(CATALOG_NAME, name, &key) != OK) {
        return ERROR_NOT_FOUND;
    }
    MDB_txn *txn;
    enum error error = catalog_read_begin(&store->catalog, &txn);
    if (error != OK) {
        return error;
    }
    struct span record;
    uint64_t directory = 0; /* of a damaged record: its directory is found at the next start */
    error = catalog_record_get(txn, store->catalog.table, name_key_span(&key), &record);
    if (error == OK &&
        stored_check(name_key_span(&key), record, KIND_NAME, NAME_SETTINGS_OFFSET) == OK) {
        directory = load64(record.data + FORMAT_HEADER_BYTES);
    }
    catalog_read_end(&store->catalog, txn);
    if (error == OK) {
        struct name_edit edit = {.key = &key};
        error = catalog_commit(store, delete_name, &edit);
    }
    failpoint("storage-delete-committed");
    if (error != OK || directory == 0) {
        return error;
    }
    char leftover[DIRECTORY_NAME_BYTES];
    directory_name(directory, leftover);
    const enum error discarded = store_discard(store, leftover);
    (void)discarded; /* the collection is gone either way; the next start tries again */
    return OK;
}
