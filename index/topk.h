/* The k best of a stream of (key, slot): key descending, then id ascending.
 *
 * A heap with the worst entry at its root. Most decisions fall by key alone; only entries with
 * equal keys are asked for their ids (a read of the row, 200 ns), and each at most once. Private to
 * index/. */
#ifndef KITH_INDEX_TOPK_H
#define KITH_INDEX_TOPK_H

#include "storage/base.h"

struct topk_entry {
    uint64_t slot;
    float key;
    bool has_id;
    struct point_id id; /* if has_id */
};
_Static_assert(sizeof(struct topk_entry) == 32, "two in a cache line");

struct topk {
    struct topk_entry *entries; /* [k], the caller's */
    size_t k;
    size_t count;
    /* Fill in *id of a slot. A slot whose id cannot be read gets the largest id there is, so that
     * the order stays total. */
    void (*id_of)(void *context, uint64_t slot, struct point_id *id);
    void *context;
};

/* k >= 1; entries struct topk_entry[k], kept until the end. */
void topk_init(struct topk *topk, struct topk_entry *entries, size_t k,
               void (*id_of)(void *context, uint64_t slot, struct point_id *id), void *context);
/* The key to reach: of the worst entry once there are k, minus infinity before. An equal key may
 * still win by its id. */
float topk_threshold(const struct topk *topk);
/* Offer an entry; a NaN key counts as minus infinity. Each slot at most once. */
void topk_push(struct topk *topk, float key, uint64_t slot);
/* Order the entries best first. Ends the heap: push no more. */
void topk_sort(struct topk *topk);

#endif
