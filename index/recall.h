/* How much of a collection a search reads for the recall that is asked for.
 *
 * The one knob: recall r. A search reads the partitions in order until it has read a SHARE of their
 * codes. Which share gives which recall depends on the data, so it is learnt: stored points, left
 * out of their own answers, are searched for among all codes; how far down the order the partitions
 * of their true neighbours lie says what each share would have found. 300 points at once, 2,000
 * when idle, again when the points have become a fifth more or fewer. Live queries are sampled into
 * a ring and looked at likewise: once there are enough of them, they decide. The table aims one
 * standard error above the recall.
 *
 * Every query reads its full share: the early stops that were tried lost up to 4 points of recall
 * on queries that differ moderately from the data, a fixed share .006 at most.
 *
 * Threads: reading and sampling any; learning the planning thread; storing the writer. Private to
 * index/. */
#ifndef KITH_INDEX_RECALL_H
#define KITH_INDEX_RECALL_H

#include <stdatomic.h>

#include "index/collection.h"

#define RECALL_DEFAULT 0.99
#define RECALL_LEVELS 7u /* .8 .9 .95 .98 .99 .995 .999 */

/* What was learnt. */
struct recall_table {
    uint64_t codes;                /* in partitions at the time */
    uint32_t stored, live;         /* points and queries it was learnt from */
    float share[2][RECALL_LEVELS]; /* for the 10 nearest, for the 100 nearest; in (0, 1] */
};

struct recall_state; /* of one vector: the table and the ring of live queries */
struct recall_state *recall_state_new(void);
void recall_state_free(struct recall_state *state); /* accepts NULL */

/* Before anything was measured: a share in (0, 1] that was enough on every set tried. recall in
 * [0.5, 1); code_count: in partitions; k: results wanted. */
double recall_prior_share(double recall, uint64_t code_count, size_t k);
/* By a table, and by the prior beyond its levels. */
double recall_table_share(const struct recall_table *table, double recall, uint64_t code_count,
                          size_t k);

/* The share for a query: by the table as the view or what was learnt since has it, or the prior.
 * k: results wanted; under a filter, divided by the share of points that match. */
double recall_share(const struct collection_vector *vector, const struct view *view, double recall,
                    uint64_t code_count, size_t k);
/* A query that is answered: one in some is kept for learning. query: float[dim]. true: some wait.
 */
bool recall_sample(const struct collection_vector *vector, const float *query);

/* What sampled live queries were found to have got at the default recall. */
struct recall_figures {
    uint64_t queries;
    double found; /* sum over the queries of the share of their 10 nearest */
};
void recall_figures_get(const struct collection_vector *vector, struct recall_figures *figures);

/* ---- for the planner ---- */

struct search_workspace;
struct learning;                               /* one going on; NULL: none */
void learning_free(struct learning *learning); /* accepts NULL */

/* Is there something to learn? codes: in partitions. */
bool recall_is_due(const struct collection_vector *vector, const struct view *view, uint64_t codes,
                   bool idle);
/* A slice of it. *done: table is complete and to be stored with the next commit. */
enum error recall_learn(struct collection *collection, const struct collection_vector *vector,
                        const struct view *view, bool idle, struct search_workspace *workspace,
                        struct learning **learning, bool *done,
                        struct recall_table *table) MUST_CHECK;
/* Put a table; and take it over once the commit is made. */
enum error recall_write(struct write *write, uint16_t vector,
                        const struct recall_table *table) MUST_CHECK;
void recall_adopt(const struct collection_vector *vector, const struct recall_table *table);

#endif
