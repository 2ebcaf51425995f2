/* Which key of a filter has no payload index: for collections that refuse such filters. */
#ifndef KITH_INDEX_FILTER_UNINDEXED_H
#define KITH_INDEX_FILTER_UNINDEXED_H

#include "index/field.h"
#include "index/filter.h"

/* true: there is one. key: as the filter writes it, behind those of the nested filters it stands
 * in; kinds: the index kinds (bit 1 << kind) that would do. In the arena. Only ready indexes count.
 * Conditions on ids and vectors need none. */
bool filter_unindexed(const struct filter *filter, const struct field_list *fields,
                      struct arena *arena, struct span *key, unsigned *kinds);

#endif
