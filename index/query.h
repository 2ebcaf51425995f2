/* A query as a tree, and its evaluation over one view.
 *
 * A LEAF (no prefetches) ranks the collection's points: those its filters let through and whose ids
 * nobody excluded. An INNER query takes the results of its prefetches, as fusion does, or ranks
 * their union again. Filters and excluded ids of a query hold for every leaf below it, so what
 * reaches it has passed them already.
 *
 * Nearest (and recommend by average) leaves use the index; every other form scores each live point
 * exactly, and stops at the deadline. Ids of examples are looked up by whoever builds the tree:
 * here are only vectors. Everything a client asked for by number is clamped to the live points
 * before memory is taken. */
#ifndef KITH_INDEX_QUERY_H
#define KITH_INDEX_QUERY_H

#include "index/field.h"
#include "index/filter.h"
#include "index/formula.h"
#include "index/fusion.h"
#include "index/path.h"
#include "index/search.h"

#define QUERY_PREFETCH_DEPTH_MAX 64u
#define QUERY_MMR_CANDIDATES_MAX 16384u

struct query_vector {
    enum vector_kind kind;
    const float *floats;     /* float[count * dim]; sparse: values float[count] */
    const uint32_t *indices; /* sparse: [count], ascending */
    size_t count;            /* rows of a multivector, entries of a sparse one; dense: 1 */
    uint32_t dim;
};

enum query_kind {
    QUERY_IN_ORDER, /* by id */
    QUERY_NEAREST,
    QUERY_RECOMMEND,
    QUERY_DISCOVER, /* target and pairs */
    QUERY_CONTEXT,  /* pairs only */
    QUERY_RRF,
    QUERY_DBSF,
    QUERY_FORMULA,
    QUERY_ORDER_BY,
    QUERY_SAMPLE,
};

enum recommend_strategy { RECOMMEND_AVERAGE, RECOMMEND_BEST, RECOMMEND_SUM };

/* What a formula needs beside its tree: variables and conditions by number. */
struct query_formula {
    const struct formula *root;
    struct formula_variable *variables;
    struct path *paths; /* of the variables */
    size_t variable_count;
    const struct filter **conditions;
    size_t condition_count;
};

/* What `order_by` asks for. */
struct query_order {
    struct span key;           /* as written */
    const struct field *field; /* ready, of a kind that has an order; set when the view is open */
    bool descending;
    bool has_start; /* inclusive */
    struct order_value start;
};

struct query {
    enum query_kind kind;
    struct span using; /* the vector's name, checked: it is there and fits the vectors below */
    uint16_t vector_number;
    /* nearest: target; discover: target, then pairs; recommend: positives, then negatives; context:
     * pairs. A pair is its positive, then its negative. Cosine: normalised, but for the average. */
    struct query_vector *vectors;
    size_t vector_count;
    size_t positive_count;
    enum recommend_strategy strategy;
    bool mmr;
    float lambda; /* of MMR: 1 - diversity */
    uint64_t candidates_limit;
    double rrf_k;
    const float *weights; /* of RRF: float[prefetch_count], or NULL */
    const struct query_formula *formula;
    struct query_order order;
    uint64_t limit, offset;
    bool has_threshold;
    float threshold;
    bool exact;
    float effort; /* how many times the default to read, when no recall is asked for; 0: once */
    /* of a leaf: what it and all queries above it ask for */
    const struct filter *filter; /* NULL: none */
    struct point_id *excluded;   /* ids of examples, ascending */
    size_t excluded_count;
    struct query *prefetches;
    size_t prefetch_count;
};

/* Where a query runs. */
struct query_run {
    struct collection *collection;
    const struct view *view;
    struct search_workspace *workspace;
    struct arena *arena; /* of the results */
    uint64_t deadline_ns;
    uint64_t seed; /* of random samples */
    float recall;  /* of searches, as in search_request; 1: exact */
    /* out */
    struct search_stats stats; /* of all searches of the tree */
    const char *why;           /* ERROR_INVALID: what a formula made of this data, in the arena */
};

/* The result of the tree, best first, its offset left out. ERROR_INVALID (see why),
 * ERROR_CANCELLED, ERROR_CORRUPT. The thread that opened the view. */
enum error query_evaluate(struct query_run *run, const struct query *query,
                          struct scored_list *result) MUST_CHECK;

/* The same over given points, which nothing is asked of; a query without prefetches. */
enum error query_evaluate_among(struct query_run *run, const struct query *query,
                                const struct scored_list *among,
                                struct scored_list *result) MUST_CHECK;

/* The vector of a stored point, in the arena. number: of the collection's settings.
 * ERROR_NOT_FOUND: the point lacks it; ERROR_CORRUPT. */
enum error query_vector_load(const struct collection *collection, const struct view *view,
                             uint16_t number, uint64_t slot, struct arena *arena,
                             struct query_vector *vector) MUST_CHECK;

/* Are scores of this query better when they are smaller? */
bool query_smaller_is_better(const struct query_run *run, const struct query *query);

#endif
