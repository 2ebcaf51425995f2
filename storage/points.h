/* Reading a collection through a view, and writing it through a write transaction.
 *
 * A VIEW pins one published version: a read transaction per reader number plus the pointers of that
 * very snapshot (a cached pointer costs 2-17 ns, a tree walk 130-380). Readers never wait for the
 * writer, except while the map grows. A WRITE is the one write transaction; write_commit makes it
 * durable, publishes the next version and only then returns, so whoever is answered after it can
 * read what was written. Everything a view returns is borrowed until view_close.
 *
 * VECTORS. A point has any of the collection's vectors; each has a number, which all calls about
 * vectors and codes take, and runs, generations, epochs and counters of its own. Slots are shared:
 * all vectors of a point lie under the point's one slot. A number the environment's shape gives no
 * dim has nothing: reading it is ERROR_NOT_FOUND.
 *
 * Slots are u64, increasing, never reused. A slot's vector, second-stage code and factors lie in a
 * RUN: consecutive slots written together (tail runs of up to 16 KiB are extended in place of
 * starting a new one, so single upserts do not waste a page each; a run never exceeds 256 KiB or
 * one row). 1-bit codes lie in GENERATIONS: block values in order of arrival, each with
 * store_blocks_per_value() blocks, all padded to whole pages. */
#ifndef KITH_STORAGE_POINTS_H
#define KITH_STORAGE_POINTS_H

#include "storage/store.h"

struct counters {
    uint64_t point_count; /* live */
    uint64_t next_slot;
    uint64_t operation; /* number of the last op applied: what the position is, too */
    uint64_t id_hash;   /* XOR over live points of a hash of (id, slot): verify recomputes it */
};

/* Of one vector. */
struct vector_counters {
    uint64_t vector_count; /* live points that have it */
    uint64_t dead_count;   /* dead slots whose codes of it are still stored */
    uint64_t epoch_count;  /* second-stage centres; epoch 0 is the origin and has no row */
    uint64_t generation_count;
    uint64_t partition_stamp; /* grows by one with every commit that changes partitions */
    uint64_t sealed_codes;    /* of all generations sealed so far, dropped ones too */
    uint64_t frozen_codes;    /* the same at the time of the newest epoch */
    /* of a sparse vector: dead_count counts dead slots in posting lists */
    uint64_t tail_slot;  /* slots from here on are in no posting list yet */
    uint64_t tail_count; /* live points of them that have it */
    uint64_t sweep_dead; /* dead_count when the sweep of the lists began; 0: none is under way */
    uint64_t sweep_index, sweep_slot; /* where it goes on */
};

/* Which vectors a point has. */
struct vector_set {
    uint64_t words[ENVIRONMENT_VECTORS_MAX / 64];
};
static inline bool vector_set_has(const struct vector_set *set, uint32_t vector)
{
    return vector < ENVIRONMENT_VECTORS_MAX && (set->words[vector / 64] >> vector % 64 & 1) != 0;
}
static inline void vector_set_add(struct vector_set *set, uint32_t vector)
{
    set->words[vector / 64] |= UINT64_C(1) << vector % 64;
}
static inline void vector_set_remove(struct vector_set *set, uint32_t vector)
{
    set->words[vector / 64] &= ~(UINT64_C(1) << vector % 64);
}
/* The first vector at or behind `vector`; ENVIRONMENT_VECTORS_MAX when there is none. */
uint32_t vector_set_next(const struct vector_set *set, uint32_t vector);

/* ---- views ---- */

struct view {
    struct environment *environment;
    struct version *version;
    void *transaction;
    uint32_t reader;
};

/* reader: this thread's number; a reader holds one view of an environment at a time. Waits only
 * while the map grows. ERROR_IO. */
enum error view_open(struct environment *environment, uint32_t reader,
                     struct view *view) MUST_CHECK;
void view_close(struct view *view);

const struct counters *view_counters(const struct view *view);
/* All zero for a number that has nothing yet. */
const struct vector_counters *view_vector_counters(const struct view *view, uint16_t vector);

struct generation {
    uint64_t number;
    uint64_t code_count;  /* lanes used, dead ones included */
    uint64_t value_count; /* block values */
    bool sealed;
    const uint8_t *centre; /* rotated, float[dim] unaligned, or NULL for the origin */
    const uint8_t *moved;  /* bit i%8 of byte i/8: lane i is in a partition by now; NULL: none is */
};
/* i < view_vector_counters()->generation_count; generations dropped later in life will leave gaps
 * in number, not in i. */
enum error view_generation(const struct view *view, uint16_t vector, uint64_t i,
                           struct generation *out) MUST_CHECK;

struct block_value {
    const uint8_t *blocks; /* block_count * block_bytes */
    const uint8_t *slots;  /* u64 little-endian [block_count * 32], unaligned */
    size_t block_count;    /* blocks in use */
    size_t code_count;     /* lanes in use, from lane 0 on */
};
/* Checks the value's CRC on its first read after open: ERROR_CORRUPT. */
enum error view_blocks(const struct view *view, uint16_t vector, uint64_t generation,
                       uint64_t value, struct block_value *out) MUST_CHECK;

struct vector_row {
    const uint8_t *code; /* code_bytes */
    float f_mul, f_add;
    uint32_t epoch;
    const uint8_t *vector; /* float[dim], unaligned */
    uint32_t crc;          /* of the vector */
};
/* The row of a slot. Codes and factors of its run are checked on first read; the vector's own CRC
 * by vector_row_check at every use. ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error view_vector(const struct view *view, uint16_t vector, uint64_t slot,
                       struct vector_row *out) MUST_CHECK;
enum error vector_row_check(const struct view *view, uint16_t vector,
                            const struct vector_row *row) MUST_CHECK;

/* The same in two steps, for searches that have many rows to read: where a row is, so that its
 * lines can be asked for, and then what stands there. The first reads the run's header, nothing of
 * the row itself (but for the check of a run on its first read). */
#define VECTOR_HEAD_BYTES 12u /* factors and CRC, side by side with the code behind them */
struct vector_place {
    const uint8_t *code, *factors, *vector, *crc;
    uint32_t epoch;
};
enum error view_vector_place(const struct view *view, uint16_t vector, uint64_t slot,
                             struct vector_place *out) MUST_CHECK;
void vector_place_row(const struct vector_place *place, struct vector_row *row);
/* Ask for the header that view_vector_place reads, where runs are so many that it may be far; if
 * `cold`, for its page. */
void view_vector_prefetch(const struct view *view, uint16_t vector, uint64_t slot, bool cold);
/* Ask for the pages of what is at a place: of the head, or of the vector. */
void vector_place_will_need(const struct view *view, uint16_t vector,
                            const struct vector_place *place, bool head);

/* Rotated centre of second-stage epoch e (1 <= e < epoch_count); NULL for epoch 0. */
enum error view_epoch_centre(const struct view *view, uint16_t vector, uint32_t epoch,
                             const uint8_t **centre) MUST_CHECK;

bool view_is_dead(const struct view *view, uint64_t slot);

/* id -> slot. ERROR_NOT_FOUND. */
enum error view_slot(const struct view *view, const struct point_id *id, uint64_t *slot) MUST_CHECK;

struct point_row {
    struct point_id id;
    uint64_t version; /* operation that wrote it */
    struct vector_set vectors;
    struct span payload; /* a value (index/value.h); empty span: none */
    struct span id_text; /* of a string id, 1 to POINT_ID_TEXT_BYTES_MAX bytes; else empty */
};
/* CRC checked at every read. ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error view_point(const struct view *view, uint64_t slot, struct point_row *out) MUST_CHECK;

struct id_slot {
    struct point_id id;
    uint64_t slot;
};
/* Up to max (id, slot) pairs in id order, from `from` on (inclusive; NULL: the first). */
enum error view_ids(const struct view *view, const struct point_id *from, struct id_slot *out,
                    size_t max, size_t *count) MUST_CHECK;

/* ---- for verify: walks over what is stored, whatever the counters say ---- */

/* Calls each(context, slot) for every row / every slot that stores this vector, ascending. */
enum error view_each_row(const struct view *view, enum error (*each)(void *context, uint64_t slot),
                         void *context) MUST_CHECK;
/* The same with the rows, for half the time; row NULL: it is damaged. */
enum error view_each_point(const struct view *view,
                           enum error (*each)(void *context, uint64_t slot,
                                              const struct point_row *row),
                           void *context) MUST_CHECK;
enum error view_each_vector(const struct view *view, uint16_t vector,
                            enum error (*each)(void *context, uint64_t slot),
                            void *context) MUST_CHECK;
/* Checks the checksum of every value of every table; report(context, text) for each bad one;
 * returns OK unless the walk itself fails. */
enum error view_check_all(const struct view *view, void (*report)(void *context, const char *text),
                          void *context) MUST_CHECK;

/* ---- writing: one write per environment at a time, the writer thread ---- */

struct write;

enum error write_begin(struct environment *environment, struct write **write) MUST_CHECK;
/* Durable and published, or nothing changed. ERROR_FULL, ERROR_IO, ERROR_READ_ONLY. Frees. */
enum error write_commit(struct write *write) MUST_CHECK;
void write_abort(struct write *write); /* frees; accepts NULL */

/* The counters as they will be committed; the caller changes them. */
struct counters *write_counters(struct write *write);
/* vector: of the environment's shape. */
struct vector_counters *write_vector_counters(struct write *write, uint16_t vector);

enum error write_slot(struct write *write, const struct point_id *id, uint64_t *slot) MUST_CHECK;
/* id -> slot and slot -> row. slot must be above every earlier one. */
enum error write_point(struct write *write, uint64_t slot, const struct point_row *row) MUST_CHECK;
/* The row of a point that stays in its slot: another payload or version. */
enum error write_replace_point(struct write *write, uint64_t slot,
                               const struct point_row *row) MUST_CHECK;
/* Removes the row of `slot` and, if remove_id, the id; sets the slot's dead bit. */
enum error write_remove(struct write *write, uint64_t slot, const struct point_id *id,
                        bool remove_id) MUST_CHECK;
/* Row of a slot as this transaction sees it (payload valid until the next write call). */
enum error write_read_point(struct write *write, uint64_t slot, struct point_row *out) MUST_CHECK;

/* Vectors of `count` consecutive slots from first_slot on, above all earlier ones. */
struct run_rows {
    uint64_t first_slot;
    size_t count;
    uint32_t epoch;
    const uint8_t *codes; /* count * code_bytes */
    const float *factors; /* count * 2: f_mul, f_add */
    const float *vectors; /* count * dim */
};
/* The row of a slot as the transaction sees it, its checksums checked; valid until the next put.
 * ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error write_read_vector(struct write *write, uint16_t vector, uint64_t slot,
                             struct vector_row *out) MUST_CHECK;
enum error write_vectors(struct write *write, uint16_t vector,
                         const struct run_rows *rows) MUST_CHECK;

size_t environment_blocks_per_value(const struct environment *environment, uint16_t vector);

/* Put block value `value` of the generation: blocks_per_value blocks (unused ones zero) and
 * slots[blocks_per_value * 32]; code_count lanes in use. */
enum error write_blocks(struct write *write, uint16_t vector, uint64_t generation, uint64_t value,
                        const uint8_t *blocks, const uint64_t *slots, size_t code_count) MUST_CHECK;
/* Put a generation's header: centre float[dim] rotated or NULL. */
enum error write_generation(struct write *write, uint16_t vector, uint64_t number,
                            uint64_t code_count, uint64_t value_count, bool sealed,
                            const float *centre) MUST_CHECK;
enum error write_epoch(struct write *write, uint16_t vector, uint32_t epoch,
                       const float *centre) MUST_CHECK;

#endif
