/* How points are divided into partitions: pure arithmetic on rows of floats, no storage.
 *
 * A partition holds points near a common centre. Points are divided by TWO-MEANS with a balance
 * rule: rows are ordered by how much nearer they are to one centre than to the other and cut where
 * the sign changes, but never so that one side gets less than BALANCE of them. So a few points with
 * very large norms (or many equal ones) cannot leave a sliver on one side, and every division ends.
 * What a cut at a fixed share puts on the wrong side, reassignment to neighbours mends (LIRE, Xu et
 * al., SPFresh, SOSP 2023) and local Lloyd steps on groups of neighbouring partitions.
 *
 * Distances are Euclidean whatever the metric: a code's error grows with the residual's length.
 * Everything is deterministic: same rows, same order, same result. Any thread. Private to index/.
 */
#ifndef KITH_INDEX_PARTITION_H
#define KITH_INDEX_PARTITION_H

#include "codec/codec.h"
#include "index/scratch.h"

/* Sizes of partitions, in codes; they follow from the dims alone. */
struct partition_sizes {
    uint32_t target; /* what a division aims at */
    uint32_t most;   /* above it a partition is divided */
    uint32_t least;  /* below it a partition is merged into its neighbours */
};
/* About 256 codes, 192 from 256 dims up, and never more than 256 KiB of 1-bit codes before the
 * division (but at least a block on each side). target: 0, or what a test wants instead. */
struct partition_sizes partition_sizes_of(uint32_t dim, uint32_t target);

/* Rows of float[dim], one behind the other. */
struct rows {
    const struct codec *codec; /* whose kernels are used */
    const float *data;         /* 64-byte aligned */
    uint32_t dim;
};

struct partition_scratch { /* zero before first use */
    struct scratch centres, margins, order;
};
void partition_scratch_release(struct partition_scratch *scratch);

static inline const float *rows_at(const struct rows *rows, size_t i)
{
    return rows->data + i * rows->dim;
}

/* Squared distance of two vectors; b at any alignment. */
float partition_distance(const struct codec *codec, const float *a, const float *b);

/* Mean of the rows named by members[count], count >= 1, into centre[dim]. */
void partition_mean(const struct rows *rows, const uint32_t *members, size_t count, float *centre);

/* Reorder members[count], count >= 2, so that two groups of near ones follow each other; returns
 * the size of the first, 1..count-1. */
size_t partition_halve(const struct rows *rows, uint32_t *members, size_t count,
                       struct partition_scratch *scratch);

/* Reorder members[count] into groups of at most `most`, of about `target` each; ends[i] out: where
 * group i ends. ends has room for partition_groups_max() groups. Returns their number. */
size_t partition_divide(const struct rows *rows, uint32_t *members, size_t count,
                        const struct partition_sizes *sizes, uint32_t *ends,
                        struct partition_scratch *scratch);
size_t partition_groups_max(size_t count, const struct partition_sizes *sizes);

/* The nearest of centres[centre_count][dim] to a vector; the first of equals. */
uint32_t partition_nearest(const struct codec *codec, const float *vector, const float *centres,
                           size_t centre_count, float *distance);

/* One Lloyd step on a group of partitions: every row to its nearest centre (owner[count] out), then
 * centres[centre_count][dim] become the means of their rows, those without rows stay. Returns how
 * many rows changed their owner. */
size_t partition_lloyd(const struct rows *rows, size_t count, uint32_t *owner, float *centres,
                       size_t centre_count, struct partition_scratch *scratch);

#endif
