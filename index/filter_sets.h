/* Sets of slots that filters have been found to mean: a cache of one collection. Private to index/.
 *
 * What no payload index covers is looked up in every payload, which costs a thousand times what the
 * search does that follows. Who asks once often asks again: the last few of such sets are kept, as
 * long as the collection is as it was. It can be dropped at any time. */
#ifndef KITH_INDEX_FILTER_SETS_H
#define KITH_INDEX_FILTER_SETS_H

#include "index/slots.h"

struct filter_sets;
struct filter_sets *filter_sets_new(void);
void filter_sets_free(struct filter_sets *sets); /* accepts NULL */

/* How often has the filter of these source bytes been asked for before, of the same state of the
 * collection? *found: its set is known, *slots is a copy. Remembers that it was asked. Any thread.
 */
uint32_t filter_sets_ask(struct filter_sets *sets, const struct counters *state, struct span source,
                         struct slots *slots, bool *found);
/* Keep a copy of a set, unless it is a large one. Any thread. */
void filter_sets_keep(struct filter_sets *sets, const struct counters *state, struct span source,
                      const struct slots *slots);

#endif
