/* A query as it was read, before its ids are looked up: what query_request.c fills and
 * query_build.c turns into index/query.h's tree. All in the request's arena. */
#ifndef KITH_SERVER_QUERY_NODE_H
#define KITH_SERVER_QUERY_NODE_H

#include "index/query.h"
#include "server/fields.h"

/* Examples of one query: each may bring a vector of 256 KiB from the store. */
#define QUERY_EXAMPLES_MAX 1024u

struct query_input { /* an example: an id or a vector */
    bool by_id;
    struct point_id id;
    struct query_vector vector;
};

struct query_node {
    struct query query; /* but for vectors, filter, excluded and prefetches */
    bool has_query;
    bool has_using;
    bool has_candidates;        /* mmr.candidates_limit was given */
    struct query_input *inputs; /* as query.vectors are ordered */
    size_t input_count, input_capacity;
    const struct filter *filter; /* its own; NULL: none */
    size_t weight_count;
    struct span formula, defaults; /* values, as they came */
    bool has_lookup;
    struct span lookup_collection, lookup_vector;
    bool has_lookup_vector;
    struct query_node *prefetches;
    size_t prefetch_count;
};

/* The next input of a node; NULL with a refusal beyond QUERY_EXAMPLES_MAX. */
struct query_input *query_node_input(struct query_node *node, struct body *body);

/* Read one vector in any form, or an id. name: for texts. Whether it fits the collection is judged
 * when `using` is known. query_vector.c */
bool query_input_read(struct body *body, const char *name, struct query_input *input);

/* Find the vector a node uses and judge the vectors it brought: their kind and dim. Nodes without
 * vectors may use a name that is not there. query_vector.c */
bool query_vectors_fit(struct body *body, const struct collection_settings *settings,
                       struct query_node *node);
/* Does this vector fit those settings? Dense ones become multivectors of one row where needed. */
bool query_vector_fit(struct body *body, const struct vector_settings *settings,
                      struct query_vector *vector);

/* The value of `query` (not null). query_form.c */
bool query_form_read(struct body *body, struct query_node *node);
/* Pieces of it that legacy bodies share: they add inputs to the node. */
bool query_inputs_read(struct body *body, const char *name, struct query_node *node);
bool query_pairs_read(struct body *body, const char *name, struct query_node *node);
bool query_strategy_read(struct body *body, struct query_node *node);
/* Make a recommend or discover query of inputs read apart. */
bool query_recommend_set(struct body *body, struct query_node *node,
                         const struct query_node *positive, const struct query_node *negative);
bool query_discover_set(struct body *body, struct query_node *node,
                        const struct query_input *target, const struct query_node *pairs);

/* node->formula and node->defaults to query.formula. query_formula.c */
bool query_formula_build(struct body *body, struct query_node *node);
/* "key" or {key, direction?, start_from?}. query_order.c */
bool query_order_read(struct body *body, struct query_order *order);
/* Find its field; refused when there is none that has an order. */
bool query_order_find(struct body *body, const struct view *view, struct query_order *order);
/* Put an order_value into the record just written. */
void text_order_value_into(struct text *out, const struct order_value *value);

#endif
