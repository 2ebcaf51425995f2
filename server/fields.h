/* Fields that many bodies share: optional scalars, duplicates, and what is not supported yet.
 *
 * Null equals absent everywhere. Every reader consumes one value; false means that the scanner has
 * failed (json_failed) or that there is a refusal. */
#ifndef KITH_SERVER_FIELDS_H
#define KITH_SERVER_FIELDS_H

#include "index/filter.h"
#include "server/refusal.h"

/* Where a body is read: the scanner, the memory and the verdict. */
struct body {
    struct json json;
    struct arena *arena;
    struct refusal refusal;
    const char *path;             /* put before field names in texts of 422, e.g. "internal." */
    struct filter_limits filters; /* id_bytes_max holds for ids outside filters too */
    struct call *call;            /* whose body it is, with its limits; NULL: none */
};

/* text empty: `{}`, as clients send calls without arguments. */
void body_begin(struct body *body, struct span text, struct arena *arena);
/* The body of a call, with the limits of its service. */
void body_begin_call(struct body *body, struct call *call);
/* Nothing may stand behind the document; a failed scanner becomes a refusal. true: all is well. */
bool body_end(struct body *body);
/* End the call with what is wrong with the body. */
void body_refuse(struct body *body, struct call *call);
/* Does the body still stand? A failed scanner becomes a refusal. */
bool body_good(struct body *body);

static inline bool key_is(struct span key, const char *name)
{
    return span_equal(key, span_text(name));
}

/* Set `bit` in *seen, or fail with "duplicate field" if it was set. */
bool field_once(struct body *body, unsigned *seen, unsigned bit, const char *name);
/* Consume a null if there is one. */
bool field_null(struct body *body);

bool field_bool(struct body *body, const char *name, bool *value);
/* Below min: 422 "<path><name>: value 0 invalid, must be 1 or larger". *value kept when null. */
bool field_u64(struct body *body, const char *name, uint64_t min, uint64_t *value);
bool field_double(struct body *body, const char *name, double min, double *value, bool *present);
/* 400 naming the field unless it is null. */
bool field_unsupported(struct body *body, const char *name);
/* Same, but an empty array says nothing either. */
bool field_unsupported_list(struct body *body, const char *name);
/* false with a refusal when value is above most (0: no limit). what: the request's field; limit:
 * the limit's name. call_limits.c, like the next two */
bool refuse_limit(struct body *body, uint64_t value, uint64_t most, const char *what,
                  const char *limit);
/* Where the collection asks for it: does every key of the filter have an index? */
bool check_indexed(struct body *body, const struct filter *filter);
/* May the points of an upsert still be stored? */
bool check_sizes(struct body *body, struct span op);
/* The same without a call. */
struct sizes {
    const struct limits *limits;
    const struct collection *collection; /* held */
    struct arena *arena;
    struct refusal *refusal;
};
bool sizes_check(const struct sizes *sizes, uint32_t reader, struct span op);
/* A limit beyond max_query_limit is refused. */
bool body_check_limit(struct body *body, const struct call *call, uint64_t limit);
/* A filter, compiled into the body's arena within body->filters; kept when null. filter_body.c */
bool field_filter(struct body *body, const char *name, const struct filter **filter);
/* The same of a value at hand. */
bool filter_value(struct body *body, struct span value, const char *name,
                  const struct filter **filter);

#endif
