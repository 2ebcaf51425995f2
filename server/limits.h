/* Limits of a call: the server's (strict.*) and those of the collection's strict_mode_config, under
 * the names of the compatible API. 0 is no limit, throughout. */
#ifndef KITH_SERVER_LIMITS_H
#define KITH_SERVER_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* name in strict_mode_config and strict.*; X(field, kind): number, or flag that forbids */
#define LIMIT_LIST(X)                                                                              \
    X(max_query_limit)                                                                             \
    X(max_timeout)                                                                                 \
    X(upsert_max_batchsize)                                                                        \
    X(search_max_batchsize)                                                                        \
    X(filter_max_conditions)                                                                       \
    X(condition_max_size)                                                                          \
    X(max_points_count)                                                                            \
    X(max_collection_vector_size_bytes)                                                            \
    X(max_payload_index_count)                                                                     \
    X(search_max_hnsw_ef)                                                                          \
    X(search_max_oversampling_milli)                                                               \
    X(read_rate_limit)                                                                             \
    X(write_rate_limit)                                                                            \
    X(forbid_exact)                                                                                \
    X(forbid_unindexed_retrieve)                                                                   \
    X(forbid_unindexed_update)

/* search_max_oversampling_milli: a thousand times the factor. max_payload_index_count: one more
 * than it says, as none at all is a limit. forbid_*: 1 forbids. */
struct limits {
#define X(name) uint64_t name;
    LIMIT_LIST(X)
#undef X
};

#endif
