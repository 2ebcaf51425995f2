/* Chunks of slots, and giving back what dead slots have stored by slot.
 *
 * Slots are never reused, space is: a run whose slots are all dead is removed at any time (a code
 * that still names one of its slots is left aside for the dead bit before anybody asks for the
 * vector), and a chunk whose slots are all dead keeps one short record instead of its bits. Rows,
 * ids and stored vectors go with their point, codes when their partition or generation is written
 * anew; so this is all there is to give back. Lifetimes and threads as in points.h. */
#ifndef KITH_STORAGE_CHUNKS_H
#define KITH_STORAGE_CHUNKS_H

#include "storage/points.h"

/* A chunk is 1 << bits slots; a slot's chunk is slot >> bits. Of a collection, for ever. */
uint32_t environment_chunk_bits(const struct environment *environment);

struct slot_chunk {
    uint64_t first_slot, end_slot; /* of its slots given out so far */
    uint64_t dead_count;           /* of them */
    bool full;                     /* all its slots were given out */
    bool all_dead;                 /* and are dead, and nothing is left to give back */
};
/* ERROR_CORRUPT: its bits are damaged. */
enum error view_chunk(const struct view *view, uint64_t chunk, struct slot_chunk *out) MUST_CHECK;
/* Slots of all chunks that are all_dead. */
uint64_t view_all_dead_slots(const struct view *view);

struct stored_run {
    uint64_t first_slot;
    size_t count; /* slots */
    size_t bytes; /* on disk */
    bool last;    /* of its vector: later writes may extend it */
};
/* Indexes of a vector's runs are below this, ascending by slot; some may be removed. */
uint64_t view_run_count(const struct view *view, uint16_t vector);
/* ERROR_NOT_FOUND: removed. ERROR_CORRUPT. */
enum error view_run(const struct view *view, uint16_t vector, uint64_t index,
                    struct stored_run *out) MUST_CHECK;
/* Index of the last run that begins at or before a slot; 0 when there is none. */
uint64_t view_run_from(const struct view *view, uint16_t vector, uint64_t slot);

/* A run none of whose slots lives, and that is not its vector's last. */
enum error write_run_remove(struct write *write, uint16_t vector, uint64_t first_slot) MUST_CHECK;
/* A full chunk without a live slot and without a run that begins in it. */
enum error write_chunk_all_dead(struct write *write, uint64_t chunk) MUST_CHECK;
/* Vectors of this write begin new runs: points that leave a run are not put into the same again. */
void write_close_tails(struct write *write);

/* ---- vectors whose number is not in use any more ---- */

/* Is anything left of it? */
enum error view_vector_left(const struct view *view, uint16_t vector, bool *left) MUST_CHECK;
/* Remove what is stored of it, at most so many values; its counters become zero. */
enum error write_vector_remove(struct write *write, uint16_t vector, size_t values) MUST_CHECK;

#endif
