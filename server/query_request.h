/* One query of POST …/points/query, of a batch or of a legacy body, read and judged. */
#ifndef KITH_SERVER_QUERY_REQUEST_H
#define KITH_SERVER_QUERY_REQUEST_H

#include "server/point_reader.h"
#include "server/query_node.h"
#include "server/selectors.h"

struct query_request {
    struct query_node root;
    struct selectors selectors;
};

/* Where queries of a call are read. */
struct query_reader {
    struct body *body;
    const struct collection_settings *settings;
};

/* Read one query object. body->path goes before names in texts of 422. */
bool query_request_read(const struct query_reader *reader, struct query_request *query);

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

/* The tree that index/ evaluates, in the body's arena; the call's view is open. Ids become vectors,
 * filters and excluded ids move down to the leaves. false: a refusal in the body. */
bool query_build(struct call *call, struct body *body, const struct query_node *node,
                 struct query_lookups *lookups, struct query *query);

#endif
