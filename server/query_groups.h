/* Hits by the value of a field: what …/groups routes ask for beside the query. */
#ifndef KITH_SERVER_QUERY_GROUPS_H
#define KITH_SERVER_QUERY_GROUPS_H

#include "server/query_request.h"

struct query_groups {
    struct span group_by; /* as written */
    struct path path;
    uint64_t group_size;
    bool has_lookup;
    bool own_lookup;             /* in the collection that is searched */
    struct query_lookup *lookup; /* held; NULL if own */
    struct selectors lookup_selectors;
    struct call *call; /* whose database lookups are found in; set before reading */
    struct query_lookups *lookups;
};

/* group_by, group_size, with_lookup. *mine: it is one of them. */
bool query_groups_field(const struct query_reader *reader, struct span key,
                        struct query_groups *groups, unsigned *seen, bool *mine);

#endif
