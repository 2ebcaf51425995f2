/* One query of POST …/points/query, of a batch or of a legacy body, read and judged. */
#ifndef KITH_SERVER_QUERY_REQUEST_H
#define KITH_SERVER_QUERY_REQUEST_H

#include "server/point_reader.h"
#include "server/query_node.h"
#include "server/selectors.h"

struct query_groups; /* query_groups.h */

struct query_request {
    struct query_node root;
    struct selectors selectors;
    struct query_groups *groups; /* set before reading by who wants groups; else NULL */
};

/* Where queries of a call are read. */
struct query_reader {
    struct body *body;
    const struct collection_settings *settings;
};

/* Read one query object into a request that is zero but for `groups`. body->path goes before names
 * in texts of 422. */
typedef bool query_read(const struct query_reader *reader, struct query_request *query);
query_read query_request_read;
/* Bodies of the older routes: api_legacy.c */
query_read legacy_search_read, legacy_recommend_read, legacy_discover_read;

/* A field that every kind of query body has: filter, params, score_threshold, using, prefetch,
 * lookup_from, limit, with_payload, with_vector. *mine: it is one of them. */
bool query_field_read(const struct query_reader *reader, struct span key,
                      struct query_request *query, unsigned *seen, bool *mine);
/* Bits of *seen from here on are the caller's. */
#define QUERY_SEEN_OWN 0x10000u

/* What must hold of a node when all its fields are read; finds its vector and makes the vectors it
 * brought fit. */
bool query_node_check(const struct query_reader *reader, struct query_node *node);

/* ---- ids to vectors: query_build.c ---- */

/* Collections that ids are looked up in besides the call's own: held and viewed until the reply.
 * Zero before first use. */
#define QUERY_LOOKUPS_MAX 16u
struct query_lookups {
    struct query_lookup {
        struct collection *collection;
        struct view view;
        bool open;
    } items[QUERY_LOOKUPS_MAX];
    size_t count;
};
void query_lookups_release(struct query_lookups *lookups);
/* A collection by its name or an alias, held once; NULL with a refusal. The call's own is not among
 * the lookups: *own. */
bool query_lookup_hold(struct call *call, struct body *body, struct query_lookups *lookups,
                       struct span name, struct query_lookup **lookup, bool *own);
/* Its view, opened when first asked for; NULL with a refusal. */
const struct view *query_lookup_view(struct call *call, struct body *body,
                                     struct query_lookup *lookup);

/* The tree that index/ evaluates, in the body's arena; the call's view is open. Ids become vectors,
 * filters and excluded ids move down to the leaves. false: a refusal in the body. */
bool query_build(struct call *call, struct body *body, const struct query_node *node,
                 struct query_lookups *lookups, struct query *query);

#endif
