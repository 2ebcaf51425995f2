/* Which cells of the world a geo condition may reach into. Private to index/.
 *
 * A cell is a range of the keys of places (field_key.h): longitude and latitude halved in turn. */
#ifndef KITH_INDEX_FILTER_CELLS_H
#define KITH_INDEX_FILTER_CELLS_H

#include "index/filter_tree.h"

#define FILTER_CELLS_MAX 256u

struct filter_cells {
    size_t count;
    struct {
        uint64_t first, last; /* inclusive */
    } ranges[FILTER_CELLS_MAX];
};

/* Of a geo test; ranges that touch are one. */
void filter_cells_of(const struct test *test, struct filter_cells *cells);

#endif
