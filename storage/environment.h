/* An open environment, its versions and its write. Private to storage/.
 *
 * WHO WRITES WHAT. Everything belongs to the writer thread but the readers' pins, which each reader
 * sets and clears for itself, and the marks of verified values inside a version's arrays.
 *
 * PINS. A reader pins a version by storing its pointer in its own cache line and looking again
 * whether it is still the current one (hazard pointers, Michael 2004); releasing is one store.
 * Readers never contend with each other. The writer takes a version back when no pin names it: at
 * its next write or publication, never from a reader. Both sides use sequentially consistent
 * operations: a pin that the writer does not see is followed by a look that sees the new version.
 *
 * THE GATE. `current` is NULL while the environment is opened anew (the map grows, or LMDB
 * panicked) and for good once that has failed. Readers then wait on `opened`; the writer waits on
 * `released` for the pins to go. `waiting` tells readers that somebody listens, so that releasing
 * stays cheap. */
#ifndef KITH_STORAGE_ENVIRONMENT_H
#define KITH_STORAGE_ENVIRONMENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/array.h"
#include "storage/partitions.h"
#include "storage/store_private.h"

enum table {
    TABLE_MAIN,
    TABLE_IDS,
    TABLE_ROWS,
    TABLE_RUNS,
    TABLE_BLOCKS,
    TABLE_PARTITIONS,
    TABLE_FIELDS,
    TABLE_VECTORS,
    TABLE_LISTS,
    TABLE_COUNT
};

/* The mapped file, as of one version: what LMDB hands out lies in here or is damaged. */
struct extent {
    const uint8_t *base;
    uint64_t bytes; /* of the pages in use */
};

/* LOCATORS: a whole-page value in 64 bits. Bits 63..48 its pages, 47..12 the address of its first
 * page, bit 0 set once its checksum was verified. 0: none. */
#define LOCATOR_CHECKED UINT64_C(1)
#define LOCATOR_ADDRESS UINT64_C(0x0000fffffffff000)
/* ERROR_CORRUPT when the value is not whole pages inside the extent. */
enum error locator_make(const struct extent *extent, const MDB_val *value,
                        uint64_t *locator) MUST_CHECK;
struct span locator_span(uint64_t locator);
/* In place of a chunk's dead bits: all are set, and no value says so bit by bit. */
#define LOCATOR_ALL_DEAD LOCATOR_CHECKED

/* A generation takes eight words of version.generations. */
enum generation_word {
    GENERATION_NUMBER,
    GENERATION_CODES,
    GENERATION_VALUES,
    GENERATION_FLAGS,
    GENERATION_CENTRE, /* locator */
    GENERATION_FIRST,  /* its first value's index in version.blocks */
    GENERATION_MOVED,  /* locator, or 0 */
    GENERATION_WORDS = 8
};

#define RUN_HINT_BITS 7

/* What a version knows of one vector. */
struct version_vector {
    struct vector_counters counters;
    uint64_t generation_count, run_count;
    uint64_t runs_removed;     /* of the run_count: their locators are 0 */
    uint64_t partition_count;  /* indexes are below it */
    struct array partitions;   /* locators, by index; 0: empty */
    struct array generations;  /* words, by index */
    struct array blocks;       /* locators, in order of generation and value */
    struct array run_slots;    /* first slots, ascending */
    struct array run_locators; /* the same runs */
    struct array run_hints;    /* chunk of 128 slots -> first run that reaches into it, plus 1 */
    struct array epochs;       /* locators, by epoch */
};

struct version {
    struct environment *environment;
    struct version *next;   /* in the list of the living or of the spare ones */
    uint64_t replaced_ns;   /* when a newer one was published; the writer's */
    MDB_txn **transactions; /* one per reader: of one snapshot; reset while spare */
    struct extent extent;
    struct counters counters;
    struct array dead; /* locators, by chunk from that of the first slot on */
    uint64_t all_dead; /* chunks that are LOCATOR_ALL_DEAD */
    uint32_t vector_count;
    struct version_vector *vectors; /* [vector_count], by number */
};

#define SPARE_READERS 8u /* of the reader table: mdb_stat and the like */

struct reader_pin {
    _Alignas(64) _Atomic(struct version *) version;
};

/* What a write changed of the values reached by locators. */
enum change_kind {
    CHANGE_GENERATION,
    CHANGE_BLOCKS,
    CHANGE_RUN,
    CHANGE_DEAD,
    CHANGE_EPOCH,
    CHANGE_PARTITION
};
struct changed {
    enum change_kind kind;
    uint16_t vector; /* but of CHANGE_DEAD */
    uint64_t number; /* generation, first slot, chunk, epoch or partition */
    uint64_t value;  /* of CHANGE_BLOCKS */
};

struct write_vector {
    struct vector_counters counters;
    /* the last run, which may be extended */
    bool tail_exists;
    uint64_t tail_slot;
    bool tail_closed; /* it is not extended in this write */
};

struct write {
    struct environment *environment;
    MDB_txn *transaction;
    enum error failed; /* the first put that failed: nothing more is accepted */
    struct counters counters;
    struct changed *changed; /* kept from write to write */
    size_t changed_count, changed_capacity;
    uint64_t *dead; /* slots whose bits are set at the commit, kept likewise */
    size_t dead_count, dead_capacity;
    struct write_vector *vectors; /* [the environment's vector_count], kept likewise */
};

/* One vector: constant once its number is known. */
struct environment_vector {
    struct vector_shape shape;
    struct layout layout;
};

struct environment {
    /* constant after open; the vectors but behind the gate */
    struct store *store;
    uint64_t directory;
    char *path;
    uint64_t first_slot;
    uint32_t chunk_bits; /* as the file says */
    uint32_t vector_count;
    struct environment_vector *vectors;  /* [vector_count], by number */
    struct environment_vector **retired; /* earlier ones, until the environment is closed */
    size_t retired_count;
    uint32_t reader_count;
    /* the writer's */
    MDB_env *env;
    MDB_dbi tables[TABLE_COUNT];
    struct version *living, *spare; /* current and pinned ones, newest first; ready for use */
    size_t living_count, living_max;
    struct write write;
    bool writing;
    bool read_only;
    bool map_was_full;   /* a write did not fit: grow before the next, however full it looks */
    bool growth_refused; /* there is not so much address space */
    /* between threads */
    _Atomic(struct version *) current;
    struct reader_pin *pins; /* [reader_count] */
    atomic_bool waiting;
    pthread_mutex_t mutex;
    pthread_cond_t opened, released;
    bool failed; /* under the mutex: could not be opened again */
    /* figures for anybody */
    atomic_ullong map_bytes, used_bytes, map_growths, versions_alive;
};

/* ---- version.c ---- */

/* A version of the newest snapshot, all its transactions begun, its arrays empty. */
enum error version_begin(struct environment *environment, struct version **version) MUST_CHECK;
/* Give it back: its transactions are reset and its arrays released. */
void version_end(struct version *version);
/* Fill it by walking the tables. */
enum error version_load(struct version *version) MUST_CHECK;
/* Fill it from the version before and the changed values. */
enum error version_update(struct version *version, const struct version *before,
                          const struct changed *changed, size_t count) MUST_CHECK;
/* Close all transactions and free all versions, living and spare; no pin may be set. */
void versions_free(struct environment *environment);
/* Take back the versions nobody pins but the current one. */
void versions_reclaim(struct environment *environment);
/* Index of a generation; false when there is none of that number. */
bool version_find_generation(const struct version_vector *vector, uint64_t number, uint64_t *index);
/* Index of the run that may hold a slot: the last that begins at or before it. */
bool version_find_run(const struct version *version, uint16_t vector, uint64_t slot,
                      uint64_t *index);
/* What a version knows of a vector that has codes; NULL for other numbers. */
struct version_vector *version_vector_of(const struct version *version, uint32_t vector);

/* ---- environment.c ---- */

/* Make a version the current one. */
void environment_publish(struct environment *environment, struct version *version);
/* Close LMDB and open it again behind the gate, with a map of `bytes` if there is so much address
 * space, else as before; publish what it holds. Waits for the open views. */
enum error environment_reopen(struct environment *environment, uint64_t bytes) MUST_CHECK;
/* The same, and `between` the two; its error is passed on, once what there is is open again. */
enum error environment_reopen_with(struct environment *environment, uint64_t bytes,
                                   enum error (*between)(struct environment *environment,
                                                         void *context),
                                   void *context) MUST_CHECK;
/* Address space for a file of so many bytes: the largest once the first is half full. */
uint64_t environment_map_bytes(const struct environment *environment, uint64_t file_bytes);
/* Is what lies at `path` a whole environment of the same shape with these counters? ERROR_CORRUPT.
 */
enum error environment_check_copy(const struct environment *environment, const char *path,
                                  const struct counters *counters) MUST_CHECK;
/* mdb_dbi_open of all tables; LMDB's result. */
int environment_open_tables(MDB_txn *transaction, MDB_dbi tables[TABLE_COUNT], unsigned flags);
/* Wait until a further version can be made: one that a reader gives back, when as many as there may
 * be are pinned. */
void environment_wait_for_version(struct environment *environment);

/* ---- partitions.c ---- */

/* Have the pages of some bytes of the map read in, if they are not in memory. */
void pages_will_need(const uint8_t *data, size_t bytes);

/* What a partition's value holds, wherever it says it does; its checksum is not looked at. */
enum error partition_open(const struct layout *layout, struct span value, uint64_t index,
                          struct partition *out) MUST_CHECK;

/* The checksum of its figures and centre, if it has one; the value holds what it says. */
enum error partition_head_check(const struct layout *layout, struct span key,
                                struct span value) MUST_CHECK;

/* ---- chunks.c ---- */

/* Number of a slot's chunk. */
static inline uint64_t chunk_of(const struct environment *environment, uint64_t slot)
{
    return slot >> environment->chunk_bits;
}
/* A chunk's locator, LOCATOR_ALL_DEAD, or 0. */
uint64_t version_dead_locator(const struct version *version, uint64_t chunk);
/* Take over a DEAD value, of either form. */
enum error version_take_dead(struct version *version, struct span key,
                             const MDB_val *value) MUST_CHECK;

/* ---- fields.c ---- */

/* A posting from the table's entry. ERROR_CORRUPT. */
struct posting;
/* points.c: a row as it is stored. ERROR_CORRUPT. */
enum error row_decode(struct span key, struct span value, struct point_row *row) MUST_CHECK;
enum error posting_decode(struct span key, struct span value, struct posting *out) MUST_CHECK;

/* ---- the rest ---- */

/* Is bytes [data, data + bytes) inside the pages in use? */
bool extent_holds(const struct extent *extent, const void *data, size_t bytes);
/* mdb_get with the bounds of the result checked. */
enum error table_read(MDB_txn *transaction, MDB_dbi table, const struct extent *extent,
                      struct span key, struct span *value) MUST_CHECK;
/* Note a failed put: the transaction can only be aborted from now on. */
enum error write_fail(struct write *write, int result) MUST_CHECK;
void write_note(struct write *write, enum change_kind kind, uint16_t vector, uint64_t number,
                uint64_t value);
/* mdb_put with MDB_RESERVE: *value is where to write. */
enum error write_reserve(struct write *write, enum table table, struct span key, size_t bytes,
                         unsigned flags, uint8_t **value) MUST_CHECK;
/* May what LMDB hands out in this transaction be read? Pages it has touched are in memory; others
 * must be inside the file. */
bool write_holds(const struct write *write, const MDB_val *found);
/* A value as this transaction sees it; valid until the next put. Not checked. */
enum error write_get(struct write *write, enum table table, struct span key,
                     struct span *value) MUST_CHECK;
/* Set the dead bits that were noted. */
enum error write_dead_bits(struct write *write) MUST_CHECK;

#endif
