/* Sets of slots: a sorted array of (high 32 bits, CRoaring bitmap). The only file that knows
 * CRoaring. One thread at a time. */
#ifndef KITH_INDEX_SLOTS_H
#define KITH_INDEX_SLOTS_H

#include "storage/fields.h"

struct slot_part; /* the slots of one high half */

struct slots {
    struct slot_part *parts; /* ascending; malloc'd */
    size_t count, capacity;
};

void slots_init(struct slots *slots); /* empty */
void slots_release(struct slots *slots);
/* to is released first and takes what from had; from is empty afterwards. */
void slots_move(struct slots *to, struct slots *from);

void slots_add(struct slots *slots, uint64_t slot);
void slots_add_posting(struct slots *slots, const struct posting *posting);

/* Postings gathered as bits of chunks: for many of them far quicker than into a set at once. */
struct slot_gather {
    struct gathered_chunk *chunks; /* ascending; malloc'd */
    size_t count, capacity, last;  /* last: the one added to */
};
void gather_init(struct slot_gather *gather);
void gather_add(struct slot_gather *gather, const struct posting *posting);
/* Add all of it to the set. The gather is empty afterwards. */
void gather_end(struct slot_gather *gather, struct slots *slots);

/* to becomes a copy; it is released first. */
void slots_copy(struct slots *to, const struct slots *from);
/* slots becomes its intersection, union or difference with other. */
void slots_and(struct slots *slots, const struct slots *other);
void slots_or(struct slots *slots, const struct slots *other);
void slots_and_not(struct slots *slots, const struct slots *other);

uint64_t slots_count(const struct slots *slots);
/* What a copy would take. */
size_t slots_bytes(const struct slots *slots);
bool slots_have(const struct slots *slots, uint64_t slot);
/* How many slots of a posting are in the set. */
uint64_t slots_count_posting(const struct slots *slots, const struct posting *posting);

/* Up to max slots from `from` on (inclusive), ascending; returns how many. */
size_t slots_list(const struct slots *slots, uint64_t from, uint64_t *out, size_t max);

/* Set bit slot - base of bits[0..bit_count) for each slot in the set from base on. */
void slots_to_bits(const struct slots *slots, uint64_t base, uint8_t *bits, uint64_t bit_count);

#endif
