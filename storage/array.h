/* A copy-on-write array of u64 words, for the directories of versions.
 *
 * A tree of nodes with 64 words each: taking a copy costs a reference, changing a word of a copy
 * costs the nodes on the way to it. Words never set read as 0; indexes may be sparse. All but
 * reading is the writer thread's. Readers may set bits of a leaf word by themselves (the mark of a
 * value whose checksum was verified), so leaf words are atomic; a mark set in a node that is just
 * being copied is lost in the copy, which only costs one more check. */
#ifndef KITH_STORAGE_ARRAY_H
#define KITH_STORAGE_ARRAY_H

#include <stdatomic.h>

#include "storage/base.h"

#define ARRAY_FAN_BITS 6
#define ARRAY_FAN (1u << ARRAY_FAN_BITS)

struct array_node;

struct array {
    struct array_node *root; /* NULL: empty */
    unsigned height;         /* levels above the leaves */
};

/* *to, not initialised before, becomes a copy of *from. */
void array_copy(struct array *to, const struct array *from);
void array_release(struct array *array);
void array_set(struct array *array, uint64_t index, uint64_t word);
/* The word, or NULL where nothing near it was ever set. Any thread that holds the version. */
_Atomic uint64_t *array_at(const struct array *array, uint64_t index);

static inline uint64_t array_get(const struct array *array, uint64_t index)
{
    const _Atomic uint64_t *word = array_at(array, index);
    return word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
}

#endif
