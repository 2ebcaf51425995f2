/* One data directory: its lock, its catalogue, one LMDB environment per collection.
 *
 *     DIR/lock            flock, one kith at a time
 *     DIR/catalog/        LMDB: collection name -> directory number and settings
 *     DIR/collections/N/  LMDB: one collection (16 hex digits)
 *     DIR/compact/N/      a copy of one under way (compact.h); emptied at start
 *     DIR/trash/          directories the catalogue does not name; emptied at start
 *     DIR/ballast         bytes given back when the disk is full
 *
 * LMDB facts that shape this file are in reliability terms: flags are MDB_NOTLS | MDB_NORDAHEAD and
 * nothing else; never the same environment twice in a process; no read transaction outlives a view;
 * a map grows once, behind the gate in view.h. Sizes and byte tables: format.h. */
#ifndef KITH_STORAGE_STORE_H
#define KITH_STORAGE_STORE_H

#include "storage/base.h"

struct store_options {
    uint64_t map_initial_bytes; /* storage.map_initial_bytes, default 1 GiB */
    uint64_t map_max_bytes;     /* storage.map_max_bytes, default 256 GiB */
    uint32_t reader_count;      /* threads that may hold views, numbered 0..reader_count-1 */
    uint64_t min_free_bytes;    /* storage.min_free_bytes; 0: the smaller of 5 % and 1 GiB */
    uint64_t ballast_bytes;     /* storage.ballast_bytes, default 64 MiB */
    bool allow_network_fs;      /* storage.allow_network_fs, default false */
    bool open_marked;           /* also collections marked as damaged (fault.h): kith verify */
    /* storage.slot_chunk_bits: slots of a chunk of collections created from now on, a power of two,
     * default 14 (16,384 slots); tests set it small */
    uint32_t slot_chunk_bits;
};

/* The defaults above. */
struct store_options store_options_default(void);

struct store;

/* Open (creating what is missing) and lock. On failure *why says in one line what and where, for a
 * person: ERROR_LOCKED, ERROR_PERMISSION, ERROR_NEWER, ERROR_CORRUPT, ERROR_IO. create false:
 * a directory without a catalogue is ERROR_NOT_FOUND (kith verify). Main thread. */
enum error store_open(const char *directory, bool create, const struct store_options *options,
                      struct store **store, char *why, size_t why_bytes) MUST_CHECK;
void store_close(struct store *store);

/* OK, or ERROR_FULL when the disk has less than min_free_bytes. Any thread. */
enum error store_check_space(struct store *store) MUST_CHECK;
/* Free bytes of the file system; the ballast is given back once by store_drop_ballast. */
uint64_t store_free_bytes(struct store *store);
void store_drop_ballast(struct store *store);

/* ---- catalogue: changes one at a time, the caller's lock; the rest from any thread ---- */

/* Directory and environment first, then the catalogue commit that makes the collection exist.
 * settings: opaque bytes, at most 1 MiB. ERROR_EXISTS, also when an alias has the name. *directory
 * out: its number. */
enum error catalog_create(struct store *store, struct span name, struct span settings,
                          uint64_t *directory) MUST_CHECK;
/* The catalogue commit first, which takes the collection's aliases with it, then removal of the
 * files. The environment must be closed. */
enum error catalog_delete(struct store *store, struct span name) MUST_CHECK;
/* Other settings for a collection that is there. ERROR_NOT_FOUND, ERROR_TOO_LARGE. */
enum error catalog_update(struct store *store, struct span name, struct span settings) MUST_CHECK;
/* *settings is malloc'd, the caller's. ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error catalog_get(struct store *store, struct span name, uint64_t *directory,
                       uint8_t **settings, size_t *settings_bytes) MUST_CHECK;
/* Calls each(context, name, directory, settings) in name order; spans are valid during the call;
 * a non-OK return ends the walk and is passed on. */
enum error catalog_each(struct store *store,
                        enum error (*each)(void *context, struct span name, uint64_t directory,
                                           struct span settings),
                        void *context) MUST_CHECK;

/* Checks every record of the catalogue: its checksum, that collections have a directory each of
 * their own, and that aliases lead to collections and are not named like any. report(context, text)
 * for each problem; OK unless the walk itself fails. */
enum error catalog_verify(struct store *store, void (*report)(void *context, const char *text),
                          void *context) MUST_CHECK;

/* ---- aliases: other names of collections. aliases.c ---- */

enum alias_action_kind { ALIAS_CREATE, ALIAS_DELETE, ALIAS_RENAME };
struct alias_action {
    enum alias_action_kind kind;
    struct span alias;
    struct span target; /* ALIAS_CREATE: the collection; ALIAS_RENAME: the new alias */
};
/* All of them in order, in one transaction: readers see all or none. Creating one that is there
 * points it elsewhere, deleting one that is not is fine. *failed: the action an error is about, or
 * count. ERROR_NOT_FOUND: no such collection (create) or alias (rename). ERROR_EXISTS: the new
 * alias is a collection's name. ERROR_INVALID: an alias that cannot be one. */
enum error catalog_change_aliases(struct store *store, const struct alias_action *actions,
                                  size_t count, size_t *failed) MUST_CHECK;
/* What an alias stands for: target[ALIAS_TARGET_BYTES_MAX]. ERROR_NOT_FOUND, ERROR_CORRUPT. */
#define ALIAS_TARGET_BYTES_MAX 255
enum error catalog_alias(struct store *store, struct span alias, uint8_t *target,
                         size_t *target_bytes) MUST_CHECK;
/* In order of the aliases; as catalog_each. target: empty when the record is damaged. */
enum error catalog_each_alias(struct store *store,
                              enum error (*each)(void *context, struct span alias,
                                                 struct span target),
                              void *context) MUST_CHECK;

/* ---- environments ---- */

struct environment;

/* Open one collection's environment and publish its first version. Checks the file's length against
 * its last page (a truncated file would be SIGBUS later): ERROR_CORRUPT, and so is a marked one.
 * vectors: by number, copied. */
#define ENVIRONMENT_VECTORS_MAX 256u /* of one collection: what a row's set of vectors may name */
struct vector_shape {
    uint32_t dim;         /* floats a vector; 0: this number has no codes */
    uint32_t code_bytes;  /* of a second-stage row code */
    uint32_t block_bytes; /* of one 32-lane block */
    bool removed;         /* the number is not in use: what it has is on its way out */
};
struct environment_shape {
    const struct vector_shape *vectors;
    uint32_t vector_count; /* at most ENVIRONMENT_VECTORS_MAX */
    uint64_t first_slot;   /* of a collection without points yet */
};
enum error environment_open(struct store *store, uint64_t directory,
                            const struct environment_shape *shape,
                            struct environment **environment) MUST_CHECK;
/* Other vectors from now on: as many or more, those there with the same shapes or removed. Behind
 * the gate, like the growth of a map: waits for the open views. On an error it is as it was. Writer
 * thread, no write open. */
enum error environment_reshape(struct environment *environment,
                               const struct environment_shape *shape) MUST_CHECK;
/* No view and no write may be open. Accepts NULL. */
void environment_close(struct environment *environment);
/* The number it was opened by: never used again, also when a collection of that name is. */
uint64_t environment_directory(const struct environment *environment);
/* Figures for metrics and info. Any thread that holds a view, or the writer. */
struct environment_stats {
    uint64_t map_bytes, used_bytes, map_growths, versions_alive;
};
void environment_stats_get(struct environment *environment, struct environment_stats *stats);

#endif
