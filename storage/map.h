/* LMDB as both kinds of environment use it: opening with checks, its errors in our words.
 *
 * Flags are MDB_NOTLS | MDB_NORDAHEAD. No DUPSORT, no nested transactions, no WRITEMAP: with these
 * rules no fix after 0.9.24 is needed for correctness. */
#ifndef KITH_STORAGE_MAP_H
#define KITH_STORAGE_MAP_H

#include <lmdb.h>

#include "storage/base.h"

/* What an LMDB result means. MDB_NOTFOUND is ERROR_NOT_FOUND, MDB_KEYEXIST ERROR_EXISTS. */
enum error error_of_lmdb(int result) MUST_CHECK;
/* What an errno means. */
enum error error_of_errno(int number) MUST_CHECK;

/* LMDB's MDB_val is not const; it only reads keys and the values that are put. */
static inline MDB_val lmdb_value(struct span span)
{
    union {
        const uint8_t *from;
        void *to;
    } data = {.from = span.data};
    return (MDB_val){span.bytes, data.to};
}

static inline struct span span_of_lmdb(const MDB_val *value)
{
    return span_of(value->mv_data, value->mv_size);
}

struct map_options {
    uint64_t bytes;       /* of address space */
    uint32_t readers_max; /* read transactions at once */
    uint32_t tables_max;
    bool create; /* else a missing or empty file is ERROR_CORRUPT: LMDB would make a new one */
};

/* Open `directory`/data.mdb. Refused with ERROR_CORRUPT when the file is shorter than its last page
 * says: touching what is missing would be a SIGBUS later. ERROR_INVALID when pages are not 4 KiB.
 */
enum error map_open(const char *directory, const struct map_options *options,
                    MDB_env **env) MUST_CHECK;

/* Bytes of the pages in use, free ones among them; the last committed transaction's id. */
struct map_state {
    uint64_t used_bytes, map_bytes, transaction;
};
enum error map_state_get(MDB_env *env, struct map_state *state) MUST_CHECK;

#endif
