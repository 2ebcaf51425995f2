/* Points of a view one by one, and ranking them by exact scores. Private to index/. */
#ifndef KITH_INDEX_QUERY_SCAN_H
#define KITH_INDEX_QUERY_SCAN_H

#include "index/query.h"

/* ERROR_CANCELLED past the deadline. */
enum error query_check_stop(const struct query_run *run) MUST_CHECK;

/* An error of one point that leaves it out, and says so, in place of ending the query. */
bool query_leave_out(struct query_run *run, enum error error);

/* Call visit for every point a query ranks, in the order of ids, until it fails or sets *enough:
 * those of `among` if it is not NULL, else the leaf's: live, let through by its filter, not
 * excluded. */
enum error query_each(struct query_run *run, const struct query *query,
                      const struct scored_list *among,
                      enum error (*visit)(void *context, uint64_t slot, const struct point_id *id,
                                          bool *enough),
                      void *context) MUST_CHECK;

/* limit + offset, no more than there can be points. */
size_t query_wanted(const struct query_run *run, const struct query *query,
                    const struct scored_list *among);

/* The best of the points query_each visits, by the query's own vectors; best first, the offset
 * still in. Nearest, recommend, discover, context. */
enum error query_rank(struct query_run *run, const struct query *query,
                      const struct scored_list *among, struct scored_list *result) MUST_CHECK;

/* query_formula.c: score the union of the lists by the query's formula. ERROR_INVALID, run->why. */
enum error query_formula_rank(struct query_run *run, const struct query *query,
                              const struct scored_list *lists,
                              struct scored_list *result) MUST_CHECK;

/* query_order.c: by a field; `among` as above. */
enum error query_order_rank(struct query_run *run, const struct query *query,
                            const struct scored_list *among, struct scored_list *result) MUST_CHECK;

#endif
