/* Copying an environment and putting the copy in its place. */
#include "storage/compact.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/environment.h"
#include "storage/fault.h"
#include "storage/files.h"

#define COMPACT_DIRECTORY "compact"
#define MAP_SLACK_BYTES (UINT64_C(16) << 20)
#define WORTH_SHARE 20u
#define TABLE_RECORD_LEAST 'a' /* keys of the main table from here on are LMDB's own */

struct compaction {
    struct environment *environment;
    struct view view;
    bool view_open;
    struct compaction_sizes sizes;
    int parent; /* DIR/compact; -1 */
    char name[DIRECTORY_NAME_BYTES];
    char *path; /* DIR/compact/N */
    MDB_env *to;
    MDB_dbi tables[TABLE_COUNT];
    MDB_txn *transaction; /* of the copy, during a step */
    unsigned table;       /* that is copied now */
    MDB_cursor *cursor;   /* in it; NULL: to be opened */
    uint64_t entries;     /* copied of it */
    bool made;            /* there is a directory to remove */
};

/* ---- what there is ---- */

static enum error live_bytes(MDB_txn *transaction, const MDB_dbi *tables, uint64_t *live)
{
    *live = 2 * FORMAT_PAGE_BYTES; /* the meta pages */
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        MDB_stat stat;
        const int result = mdb_stat(transaction, tables[i], &stat);
        if (result != 0) {
            return error_of_lmdb(result);
        }
        *live += (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
                 FORMAT_PAGE_BYTES;
    }
    return OK;
}

enum error compaction_worth(struct environment *environment, uint64_t *used, uint64_t *live,
                            bool *worth)
{
    const struct version *current = atomic_load(&environment->current);
    *used = *live = 0;
    *worth = false;
    if (current == NULL) {
        return ERROR_IO; /* it could not be opened again */
    }
    *used = current->extent.bytes;
    const enum error error = live_bytes(current->transactions[0], environment->tables, live);
    *worth = error == OK && *used > *live && (*used - *live) * WORTH_SHARE >= *used;
    return error;
}

/* ---- beginning and ending ---- */

static void remove_copy(struct compaction *compaction)
{
    if (compaction->made && compaction->parent >= 0) {
        const enum error error = directory_remove(compaction->parent, compaction->name);
        (void)error; /* what is left is removed at the next start */
    }
    compaction->made = false;
}

static void close_copy(struct compaction *compaction)
{
    if (compaction->transaction != NULL) {
        mdb_txn_abort(compaction->transaction);
    }
    if (compaction->to != NULL) {
        mdb_env_close(compaction->to);
    }
    compaction->transaction = NULL;
    compaction->to = NULL;
}

static void close_original(struct compaction *compaction)
{
    if (compaction->cursor != NULL) {
        mdb_cursor_close(compaction->cursor);
    }
    if (compaction->view_open) {
        fault_enter(compaction->environment);
        view_close(&compaction->view);
    }
    compaction->cursor = NULL;
    compaction->view_open = false;
}

void compaction_end(struct compaction *compaction)
{
    if (compaction == NULL) {
        return;
    }
    close_original(compaction);
    close_copy(compaction);
    remove_copy(compaction);
    if (compaction->parent >= 0) {
        close(compaction->parent);
    }
    free(compaction->path);
    free(compaction);
}

/* An empty directory DIR/compact/N, whatever an earlier one left there. */
static enum error make_directory(struct compaction *compaction)
{
    const struct store *store = compaction->environment->store;
    enum error error = directory_make(store->directory, COMPACT_DIRECTORY);
    if (error == OK || error == ERROR_EXISTS) {
        error = directory_open(store->directory, COMPACT_DIRECTORY, &compaction->parent);
    }
    if (error == OK) {
        error = directory_remove(compaction->parent, compaction->name);
    }
    if (error == OK) {
        error = directory_make(compaction->parent, compaction->name);
        compaction->made = error == OK;
    }
    return error;
}

/* Live pages are written with room to spare in the map, not on the disk: the file is as long as
 * what is in it. */
static enum error open_copy(struct compaction *compaction)
{
    const struct map_options options = {.bytes = 2 * compaction->sizes.bytes_live + MAP_SLACK_BYTES,
                                        .readers_max = SPARE_READERS,
                                        .tables_max = TABLE_COUNT,
                                        .create = true};
    const enum error error = map_open(compaction->path, &options, &compaction->to);
    if (error != OK) {
        return error;
    }
    MDB_txn *transaction;
    int result = mdb_txn_begin(compaction->to, NULL, 0, &transaction);
    if (result != 0) {
        return store_write_error(compaction->environment->store, result);
    }
    result = environment_open_tables(transaction, compaction->tables, MDB_CREATE);
    if (result != 0) {
        mdb_txn_abort(transaction);
        return store_write_error(compaction->environment->store, result);
    }
    return store_write_error(compaction->environment->store, mdb_txn_commit(transaction));
}

static enum error check_room(const struct compaction *compaction)
{
    struct store *store = compaction->environment->store;
    const uint64_t need = compaction->sizes.bytes_live + store->min_free_bytes;
    return store_free_bytes(store) < need ? ERROR_FULL : OK;
}

enum error compaction_begin(struct environment *environment, uint32_t reader,
                            struct compaction **compaction)
{
    struct compaction *begun = allocate_zeroed(1, sizeof *begun);
    *compaction = begun;
    begun->environment = environment;
    begun->parent = -1;
    directory_name(environment->directory, begun->name);
    const size_t bytes =
        strlen(environment->store->path) + sizeof "/" COMPACT_DIRECTORY "/" + sizeof begun->name;
    begun->path = allocate(bytes);
    snprintf(begun->path, bytes, "%s/" COMPACT_DIRECTORY "/%s", environment->store->path,
             begun->name);
    enum error error = view_open(environment, reader, &begun->view);
    begun->view_open = error == OK;
    if (error == OK) {
        fault_leave(environment); /* the steps say themselves when they touch it */
        begun->sizes.bytes_before = begun->view.version->extent.bytes;
        error = live_bytes(begun->view.transaction, environment->tables, &begun->sizes.bytes_live);
    }
    if (error == OK) {
        error = check_room(begun);
    }
    if (error == OK) {
        error = make_directory(begun);
    }
    if (error == OK) {
        error = open_copy(begun);
    }
    failpoint("compact-begun");
    if (error != OK) {
        compaction_end(begun);
        *compaction = NULL;
    }
    return error;
}

/* ---- copying ---- */

static bool is_left_out(const struct compaction *compaction, const MDB_val *key)
{
    const struct span text = span_of_lmdb(key);
    return compaction->table == TABLE_MAIN &&
           (text.data[0] >= TABLE_RECORD_LEAST ||
            (text.data[0] == MAIN_COUNTERS && text.bytes == 1)); /* they come last */
}

static enum error put_entry(struct compaction *compaction, MDB_val *key, MDB_val *value)
{
    /* The tables' records stand behind ours in the main table: only there appending will not do. */
    const unsigned flags = compaction->table == TABLE_MAIN ? 0 : MDB_APPEND;
    const int result =
        mdb_put(compaction->transaction, compaction->tables[compaction->table], key, value, flags);
    if (result == MDB_KEYEXIST) {
        return ERROR_CORRUPT; /* keys out of order */
    }
    return store_write_error(compaction->environment->store, result);
}

/* The entry at the cursor. */
static enum error copy_entry(struct compaction *compaction, MDB_val *key, MDB_val *value,
                             uint64_t *bytes)
{
    const struct extent *extent = &compaction->view.version->extent;
    if (key->mv_size == 0 || !extent_holds(extent, key->mv_data, key->mv_size) ||
        !extent_holds(extent, value->mv_data, value->mv_size)) {
        return ERROR_CORRUPT;
    }
    compaction->entries++;
    if (is_left_out(compaction, key)) {
        return OK;
    }
    *bytes += key->mv_size + value->mv_size;
    return put_entry(compaction, key, value);
}

/* The whole table is copied: as many entries as it says it has. */
static enum error finish_table(struct compaction *compaction)
{
    MDB_stat stat;
    const MDB_dbi table = compaction->environment->tables[compaction->table];
    const int result = mdb_stat(compaction->view.transaction, table, &stat);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    mdb_cursor_close(compaction->cursor);
    compaction->cursor = NULL;
    const bool all = stat.ms_entries == compaction->entries;
    compaction->entries = 0;
    compaction->table++;
    return all ? OK : ERROR_CORRUPT;
}

static enum error copy_some(struct compaction *compaction, uint64_t bytes_max)
{
    const struct environment *environment = compaction->environment;
    uint64_t bytes = 0;
    enum error error = OK;
    while (error == OK && compaction->table < TABLE_COUNT && bytes < bytes_max) {
        MDB_val key, value;
        const bool first = compaction->cursor == NULL;
        int result =
            first ? mdb_cursor_open(compaction->view.transaction,
                                    environment->tables[compaction->table], &compaction->cursor)
                  : 0;
        if (result == 0) {
            result = mdb_cursor_get(compaction->cursor, &key, &value, first ? MDB_FIRST : MDB_NEXT);
        }
        if (result == 0) {
            error = copy_entry(compaction, &key, &value, &bytes);
        } else {
            error = result == MDB_NOTFOUND ? finish_table(compaction) : error_of_lmdb(result);
        }
    }
    return error;
}

/* The counters name the transaction that wrote them; without any nothing was ever written. */
static enum error put_counters(struct compaction *compaction)
{
    const struct key key = key_main(MAIN_COUNTERS);
    struct span there;
    enum error error =
        table_read(compaction->view.transaction, compaction->environment->tables[TABLE_MAIN],
                   &compaction->view.version->extent, key_span(&key), &there);
    if (error == ERROR_NOT_FOUND) {
        return OK;
    }
    if (error == OK) {
        error = stored_check(key_span(&key), there, KIND_COUNTERS, COUNTERS_BYTES);
    }
    if (error != OK) {
        return error;
    }
    uint8_t *copy = allocate(there.bytes);
    memcpy(copy, there.data, there.bytes);
    store64(copy + FORMAT_HEADER_BYTES + sizeof(struct counters),
            mdb_txn_id(compaction->transaction));
    value_seal(key_span(&key), copy, there.bytes, KIND_COUNTERS, 0);
    MDB_val lmdb_key = lmdb_value(key_span(&key));
    MDB_val value = lmdb_value(span_of(copy, there.bytes));
    const int result =
        mdb_put(compaction->transaction, compaction->tables[TABLE_MAIN], &lmdb_key, &value, 0);
    free(copy);
    return store_write_error(compaction->environment->store, result);
}

/* LMDB has flushed the file; the directories that name it are flushed here. */
static enum error sync_copy(struct compaction *compaction)
{
    struct map_state state;
    int directory;
    enum error error = map_state_get(compaction->to, &state);
    compaction->sizes.bytes_after = state.used_bytes;
    if (error == OK) {
        error = directory_open(compaction->parent, compaction->name, &directory);
    }
    if (error == OK) {
        error = directory_sync(directory);
        close(directory);
    }
    return error;
}

static enum error step(struct compaction *compaction, uint64_t bytes, bool *done)
{
    struct store *store = compaction->environment->store;
    *done = false;
    enum error error =
        store_write_error(store, mdb_txn_begin(compaction->to, NULL, 0, &compaction->transaction));
    if (error != OK) {
        compaction->transaction = NULL;
        return error;
    }
    error = copy_some(compaction, bytes);
    const bool last = error == OK && compaction->table == TABLE_COUNT;
    if (last) {
        error = put_counters(compaction);
    }
    failpoint("compact-step");
    if (error != OK) {
        mdb_txn_abort(compaction->transaction);
        compaction->transaction = NULL;
        return error;
    }
    error = store_write_error(store, mdb_txn_commit(compaction->transaction));
    compaction->transaction = NULL;
    if (error == OK && last) {
        error = sync_copy(compaction);
        *done = error == OK;
    }
    return error;
}

enum error compaction_step(struct compaction *compaction, uint64_t bytes, bool *done)
{
    fault_enter(compaction->environment);
    const enum error error = step(compaction, bytes, done);
    fault_leave(compaction->environment);
    return error;
}

/* ---- swapping ---- */

static enum error rename_copy(struct environment *environment, void *context)
{
    struct compaction *compaction = context;
    (void)environment;
    int from, to;
    enum error error = directory_open(compaction->parent, compaction->name, &from);
    if (error != OK) {
        return error;
    }
    error = directory_open(environment->store->collections, compaction->name, &to);
    if (error == OK) {
        failpoint("compact-rename");
        if (renameat(from, "data.mdb", to, "data.mdb") != 0) {
            error = error_of_errno(errno);
        }
        failpoint("compact-renamed");
        /* From here on it is the new file, whatever happens; a failed flush of the directory leaves
         * it to the file system which of the two a power cut would show: both are whole. */
        if (error == OK && (directory_sync(to) != OK || directory_sync(from) != OK)) {
            error = OK;
        }
        close(to);
    }
    close(from);
    return error;
}

enum error compaction_swap(struct compaction *compaction)
{
    struct environment *environment = compaction->environment;
    const struct counters counters = *view_counters(&compaction->view);
    assert(compaction->table == TABLE_COUNT && !environment->writing);
    close_original(compaction);
    close_copy(compaction);
    enum error error = environment_check_copy(environment, compaction->path, &counters);
    failpoint("compact-checked");
    if (error != OK) {
        return error;
    }
    return environment_reopen_with(
        environment, environment_map_bytes(environment, compaction->sizes.bytes_after), rename_copy,
        compaction);
}

const struct compaction_sizes *compaction_sizes(const struct compaction *compaction)
{
    return &compaction->sizes;
}
