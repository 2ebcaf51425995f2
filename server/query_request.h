/* One query of POST …/points/query, or of a batch, read and judged. */
#ifndef KITH_SERVER_QUERY_REQUEST_H
#define KITH_SERVER_QUERY_REQUEST_H

#include "server/point_reader.h"
#include "server/selectors.h"

enum query_kind {
    QUERY_NONE,   /* the points in id order */
    QUERY_VECTOR, /* nearest to a vector */
    QUERY_ID,     /* nearest to a stored point, itself left out */
};

struct query_request {
    enum query_kind kind;
    float *vector; /* QUERY_VECTOR: float[dim] in the arena, normalised for Cosine */
    struct point_id id;
    uint64_t limit, offset;
    bool has_threshold;
    float threshold;
    bool exact;
    const struct filter *filter; /* NULL: none */
    struct selectors selectors;
};

/* Read one query object. reader: of the collection, its row unused. body->path goes before the
 * names in texts of 422. Forms this version cannot answer are refused by name. */
bool query_request_read(const struct point_reader *reader,
                        const struct collection_settings *settings, struct body *body,
                        struct query_request *query);

#endif
