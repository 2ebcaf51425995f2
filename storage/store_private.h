/* The open data directory, for store.c, catalog.c and environment.c only. */
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
