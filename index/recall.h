/* How much of a collection a search reads for the recall that is asked for.
 *
 * The one knob: recall r. A search reads the partitions in order until it has read a SHARE of their
 * codes. Which share gives which recall depends on the data, and on the query: one that lies far
 * from every partition's centre finds its neighbours much further down the order (words by image
 * descriptors: eight times the share for .8). So a table has shares for each level of recall at
 * eight DISTANCES of a query from its nearest centre, and a query takes what lies between the two
 * next to its own.
 *
 * It is learnt: stored points, left out of their own answers, are searched for among all codes; how
 * far down the order the partitions of their true neighbours lie says what each share would have
 * found. For queries that are unlike anything stored, copies of points are shifted by 0.2 to 8
 * times their length in random directions and looked at likewise. A few hundred at once, thousands
 * when idle, again when the points have become a fifth more or fewer. Live queries are sampled into
 * a ring and looked at likewise: near which distances there are enough of them, they decide.
 *
 * The aim is above what is asked: by one standard error, and by a part of what may be missed,
 * because real queries are a little further from the data than its own points are (digits by other
 * writers: .78 for .8), and those beyond the stored ones' distances further than random directions
 * tell.
 *
 * What is counted is what lies in partitions: generations are read by every query, but are
 * partitions tomorrow. Every query reads its full share: the early stops that were tried lost up to
 * 4 points of recall on queries that differ moderately from the data.
 *
 * Threads: reading and sampling any; learning the planning thread; storing the writer. Private to
 * index/; what others may know is in recall_report.h. */
#ifndef KITH_INDEX_RECALL_H
#define KITH_INDEX_RECALL_H

#include <stdatomic.h>

#include "index/collection.h"
#include "index/recall_report.h"

#define RECALL_LEVELS 7u /* .8 .9 .95 .98 .99 .995 .999 */
#define RECALL_KNOTS 8u

/* Shares in (0, 1] for the 10 nearest and for the 100 nearest. */
struct recall_shares {
    float of[2][RECALL_KNOTS][RECALL_LEVELS];
};

/* What was learnt. */
struct recall_table {
    uint64_t codes;              /* in partitions at the time */
    uint32_t stored, made, live; /* points, shifted copies and queries it was learnt from */
    float far[RECALL_KNOTS];     /* distances, ascending */
    struct recall_shares base;   /* from points and copies */
    struct recall_shares share;  /* in force: the same, or from live queries */
};

struct recall_state; /* of one vector: table, ring, and what sampled queries got */
struct recall_state *recall_state_new(void);
void recall_state_free(struct recall_state *state); /* accepts NULL */

/* Before anything was measured: a share in (0, 1] that was enough for queries like the data on
 * every set tried. recall in [0.5, 1); code_count: in partitions; k: results wanted. */
double recall_prior_share(double recall, uint64_t code_count, size_t k);
/* By a table, and in proportion below its levels. distance: centre_query_distance() of the first.
 */
double recall_table_share(const struct recall_table *table, double recall, double distance,
                          uint64_t code_count, size_t k);
/* The share for a query: by the table as the view or what was learnt since has it, or the prior.
 * k: results wanted; under a filter, code_count: of points that match. */
double recall_share(const struct collection_vector *vector, const struct view *view, double recall,
                    double distance, uint64_t code_count, size_t k);

/* ---- live queries ---- */

struct search_request;
struct hit;

/* A query that is about to be answered: is it one of those that are looked at again? */
bool recall_sample(const struct collection_vector *vector);
/* Keep it and its answer. The view's next slot tells later what was there to be found. */
void recall_sample_keep(const struct collection_vector *vector, const struct view *view,
                        const struct search_request *request, const struct hit *hits, size_t count);

/* ---- for the planner ---- */

struct search_workspace;
struct learning;                               /* one going on; NULL: none */
void learning_free(struct learning *learning); /* accepts NULL */

/* Is there something to learn? codes: in partitions. */
bool recall_is_due(const struct collection_vector *vector, const struct view *view, uint64_t codes,
                   bool idle);
/* A slice of it. *done: table is complete and to be stored with the next commit; *sampled: the
 * slice was one of live queries. */
enum error recall_learn(struct collection *collection, const struct collection_vector *vector,
                        const struct view *view, bool idle, struct search_workspace *workspace,
                        struct learning **learning, bool *done, bool *sampled,
                        struct recall_table *table) MUST_CHECK;
/* Put a table; and take it over once the commit is made. */
enum error recall_write(struct write *write, uint16_t vector,
                        const struct recall_table *table) MUST_CHECK;
void recall_adopt(const struct collection_vector *vector, const struct recall_table *table);

#endif
