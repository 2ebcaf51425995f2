/* Several ranked lists into one: reciprocal ranks (RRF) or scores made comparable (DBSF).
 *
 * Lists are best first, each slot at most once a list; what a list's own scores mean (larger or
 * smaller is better) plays no part in RRF, and DBSF takes them as they are. Fused scores: larger
 * is better. Sums run over lists in their order, so the same lists give the same bytes.
 *
 * Sources: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion (SIGIR 2009), with k = 2 and
 * ranks that weights stretch, as the compatible API has them; Mazzeschi, Distribution-Based Score
 * Fusion (2023). */
#ifndef KITH_INDEX_FUSION_H
#define KITH_INDEX_FUSION_H

#include "index/arena.h"

#define FUSION_RRF_K 2.0

/* A point and its score as clients see it. */
struct scored {
    uint64_t slot;
    float score;
    struct point_id id;
};

struct order_value; /* field.h */

struct scored_list {
    struct scored *items; /* best first, unless said otherwise */
    size_t count;
    struct order_value *values; /* [count]: what an order_by query sorted by; else NULL */
};

/* Sum over lists of 1 / ((position + 1) / weight + k - 1), positions from 0; a weight <= 0 adds
 * nothing, yet its points are there.
 *
 * weights  float[list_count], or NULL for 1 each
 * fused    out, in the arena: score descending, then id ascending */
void fusion_rrf(const struct scored_list *lists, size_t list_count, double k, const float *weights,
                struct arena *arena, struct scored_list *fused);

/* Sum over lists of (score - (mean - 3 s)) / 6 s, s the sample deviation; 0.5 in a list of one
 * point or of equal scores. */
void fusion_dbsf(const struct scored_list *lists, size_t list_count, struct arena *arena,
                 struct scored_list *fused);

/* Every slot of the lists once, in the order of ids; scores of the first list that has it. */
void fusion_union(const struct scored_list *lists, size_t list_count, struct arena *arena,
                  struct scored_list *all);

/* Order a list: score descending (or ascending), then id ascending. A NaN counts as worst. */
void scored_sort(struct scored_list *list, bool smaller_is_better);

#endif
