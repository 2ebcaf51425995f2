/* Running queries for a call: what api_query.c, api_groups.c and api_legacy.c share. */
#ifndef KITH_SERVER_API_QUERY_H
#define KITH_SERVER_API_QUERY_H

#include "server/query_request.h"

struct query_call {
    struct call *call;
    struct body body;
    struct query_reader reader;
    struct query_lookups lookups;
    float recall; /* ?recall=, 0: the default */
    /* for Server-Timing */
    uint64_t begun_ns, first_run_ns, run_ns;
    struct search_stats stats;
};

/* The collection is held, the body begun, the reader set. false: the call has been ended. */
bool query_call_begin(struct query_call *query_call, struct call *call);
/* End the call by what is wrong: a refusal in the body. Always false. */
bool query_call_refuse(struct query_call *query_call);
/* strict.max_query_limit. */
bool query_call_limit(struct query_call *query_call, const struct query_node *node);

/* Build and evaluate; the results in `arena`, the call's view open. false: the call has been ended
 * (the lookups are released by then). */
bool query_call_run(struct query_call *query_call, const struct query_node *node,
                    struct arena *arena, struct scored_list *result, bool *degraded);
/* End the call by an error. Always false. */
bool query_call_fail(struct query_call *query_call, enum error error);

/* Is the reply, with `more` bytes to come, within response_bytes_max? false: the call has been
 * ended. */
bool query_call_fits(struct query_call *query_call, size_t more);
/* One ScoredPoint into the reply; value: what it was ordered by, or NULL. */
bool query_call_put(struct query_call *query_call, const struct selectors *selectors,
                    const struct scored *scored, const struct order_value *value);
/* All of a list, with commas, between brackets of the caller's. */
bool query_call_put_all(struct query_call *query_call, const struct selectors *selectors,
                        const struct scored_list *list);
/* {"searches": [...]}: a whole body of queries. false: refused in the body. */
struct query_list {
    struct query_request *items; /* in the request's arena */
    size_t count, capacity;
};
bool query_call_read_batch(struct query_call *query_call, query_read *read,
                           struct query_list *list);
/* A whole handler: one body, or {"searches": [...]} of them. bare: hits stand in the result itself,
 * not under "points". */
void query_call_one(struct call *call, query_read *read, bool bare);
void query_call_batch(struct call *call, query_read *read, bool bare);

/* Work outside query_call_run, for Server-Timing. */
void query_call_count(struct query_call *query_call, const struct search_stats *stats);
/* The reply is written; it says in Server-Timing what it cost. */
void query_call_ok(struct query_call *query_call);

#endif
