/* Bounds: slots among which a condition's matches are, or outside of which they are. Private to
 * index/; filter_plan.c makes them of conditions. A bound is a filter_plan without its texts. */
#ifndef KITH_INDEX_FILTER_BOUND_H
#define KITH_INDEX_FILTER_BOUND_H

#include "index/filter_plan.h"

/* What holds no memory yet becomes: everything (exact: and all of it matches, or nothing is known),
 * nothing. */
void bound_nothing(struct filter_plan *out, bool exact);
void bound_none(struct filter_plan *out);
void bound_release(struct filter_plan *out);

/* Leave the bound at everything, nothing known: more would be too dear. */
void bound_give_up(struct filter_plan *out);
/* What is in it may match or not. */
void bound_doubt(struct filter_plan *out);
/* a becomes a and b, a or b; b is taken. */
void bound_and(struct filter_plan *a, struct filter_plan *b);
void bound_or(struct filter_plan *a, struct filter_plan *b);
void bound_not(struct filter_plan *a);
bool bound_is_empty(const struct filter_plan *a);

#endif
