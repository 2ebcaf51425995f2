/* How much of a collection a search reads for the recall that is asked for.
 *
 * The one knob: recall r. A search reads the partitions in order until it has read a SHARE of their
 * codes. The share a recall takes depends on the data and not on its place in it, and it falls as
 * the data grows. Every query reads its full share: the early stops that were tried lost up to 4
 * points of recall on queries that differ moderately from the data. Private to index/. */
#ifndef KITH_INDEX_RECALL_H
#define KITH_INDEX_RECALL_H

#include <stddef.h>
#include <stdint.h>

#define RECALL_DEFAULT 0.99

/* Before anything was measured: a share in (0, 1] that was enough on every set tried. recall in
 * [0.5, 1); code_count: in partitions; k: results wanted. */
double recall_prior_share(double recall, uint64_t code_count, size_t k);

#endif
