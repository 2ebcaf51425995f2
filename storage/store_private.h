/* The open data directory, for store.c, catalog.c, aliases.c and environment.c only. */
#ifndef KITH_STORAGE_STORE_PRIVATE_H
#define KITH_STORAGE_STORE_PRIVATE_H

#include <pthread.h>

#include "storage/format.h"
#include "storage/map.h"

#define DIRECTORY_NAME_BYTES 17 /* 16 hex digits of a directory number and a NUL */

/* The catalogue's environment. Its map grows with the lock held for writing, so a read transaction
 * holds it for reading. */
struct catalog {
    MDB_env *env;
    MDB_dbi table;
    char *path;
    pthread_rwlock_t lock;
};

struct store {
    /* constant after store_open */
    char *path;
    int directory, collections, trash; /* descriptors; -1 when not open */
    int lock_file;
    struct store_options options;
    uint64_t min_free_bytes;
    struct catalog catalog;
};

/* Open DIR/catalog, making it when the directory is new, and check the directory's format. */
enum error catalog_open(struct store *store, bool create) MUST_CHECK;
void catalog_close(struct store *store);
/* The directory numbers of all collections, ascending; *numbers is malloc'd, the caller's.
 * ERROR_CORRUPT when one of them cannot be read: then nobody knows which directories are left over.
 */
enum error catalog_numbers(struct store *store, uint64_t **numbers, size_t *count) MUST_CHECK;

/* ---- what catalog.c and aliases.c share ---- */

/* The key of a collection's or an alias's record. */
struct name_key {
    uint8_t bytes[FORMAT_KEY_BYTES_MAX];
    size_t count;
};
/* ERROR_INVALID: empty or longer than FORMAT_NAME_BYTES_MAX. */
enum error name_key(enum catalog_key which, struct span name, struct name_key *key) MUST_CHECK;
static inline struct span name_key_span(const struct name_key *key)
{
    return span_of(key->bytes, key->count);
}
static inline struct span name_key_name(const struct name_key *key)
{
    return span_of(key->bytes + 1, key->count - 1);
}

/* A read transaction, and with it the catalogue's lock. */
enum error catalog_read_begin(struct catalog *catalog, MDB_txn **txn) MUST_CHECK;
void catalog_read_end(struct catalog *catalog, MDB_txn *txn);
enum error catalog_record_get(MDB_txn *txn, MDB_dbi table, struct span key,
                              struct span *value) MUST_CHECK;
int catalog_record_put(MDB_txn *txn, MDB_dbi table, struct span key, struct span value);

/* One change of the catalogue in a transaction of its own, tried again with a larger map. edit
 * returns LMDB's result; anything but 0 aborts and comes back as its error. */
typedef int catalog_edit(MDB_txn *txn, const struct catalog *catalog, void *context);
enum error catalog_commit(struct store *store, catalog_edit *edit, void *context) MUST_CHECK;

/* Remove the aliases of a collection, within an edit. LMDB's result. */
int catalog_drop_aliases(MDB_txn *txn, const struct catalog *catalog, struct span collection);

void directory_name(uint64_t directory, char name[DIRECTORY_NAME_BYTES]);
/* Move DIR/collections/`name` to the trash and remove it there. What cannot be removed stays in the
 * trash until the next start. */
enum error store_discard(struct store *store, const char *name) MUST_CHECK;

/* Make the environment of a new collection, in an empty directory: its tables and first record. */
enum error environment_create(struct store *store, uint64_t directory) MUST_CHECK;
/* Path of a collection's directory; the caller frees it. */
char *environment_path(const struct store *store, uint64_t directory);
/* What a failed put or commit means: LMDB reports a short write on a full disk as EIO. */
enum error store_write_error(struct store *store, int result) MUST_CHECK;

#endif
