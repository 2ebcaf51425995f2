/* Which cells of the world a geo condition may reach into, and which lie inside as a whole. Private
 * to index/.
 *
 * A cell is a range of the orders of places (field_key.h): longitude and latitude halved in turn.
 */
#ifndef KITH_INDEX_FILTER_CELLS_H
#define KITH_INDEX_FILTER_CELLS_H

#include "index/filter_tree.h"

/* Two boxes, each of at most 34 squares either way. */
#define FILTER_CELLS_MAX (2u * 34u * 34u)

struct filter_cells {
    size_t count;
    struct {
        uint64_t first, last; /* inclusive */
        bool sure;            /* every place in it is inside */
    } ranges[FILTER_CELLS_MAX];
};

/* Of a geo test; ranges that touch and are equally sure are one. */
void filter_cells_of(const struct test *test, struct filter_cells *cells);

#endif
