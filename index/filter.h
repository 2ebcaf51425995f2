/* Filters: which points a request means.
 *
 * A filter comes as the JSON of a request, read into a value, and is compiled into a small tree in
 * the arena; the same value can travel in an op and be compiled again by who applies it. Matching
 * reads the stored payload in place and allocates nothing; a damaged payload matches or not, but is
 * never read past its end. Numbers are compared exactly, whatever their kinds; integers match only
 * integers. Text, phrase and text_any look for substrings, or for tokens where they are bound to a
 * text index (filter_text.h); for these memory is taken and given back. */
#ifndef KITH_INDEX_FILTER_H
#define KITH_INDEX_FILTER_H

#include "index/value.h"
#include "storage/points.h"

/* Filters inside filters go no deeper, whatever the limits say: matching is recursive. */
#define FILTER_DEPTH_MAX 64

struct filter_limits {
    uint32_t depth_max;      /* filters within filters, the outermost counted; at most the above */
    uint32_t conditions_max; /* conditions of all levels together */
    uint32_t list_max;       /* values in one match list or has_id */
    uint32_t id_bytes_max;   /* strings of has_id are ids themselves; 0: they must be UUIDs */
};
/* All but id_bytes_max at their defaults. */
struct filter_limits filter_limits_default(void);

enum filter_fault_kind {
    FILTER_FAULT_FORMAT,    /* not a filter: a wrong type, an unknown clause */
    FILTER_FAULT_CONDITION, /* the same of one of its conditions */
    FILTER_FAULT_VALUE,     /* well-formed, but out of the allowed range */
    FILTER_FAULT_LIMIT,     /* beyond the limits */
};
struct filter_fault {
    enum filter_fault_kind kind;
    const char *path; /* to what is wrong: "filter.must[0].range.lt"; in the arena */
    const char *text; /* what is wrong, without the path */
};

struct filter;

/* Compile a filter.
 *
 * source  an object, or null or empty for a filter that matches everything; the filter points into
 *         it and keeps it as its own bytes
 * name    what the texts call it: "filter"
 *
 * ERROR_INVALID with *fault set. */
enum error filter_compile(struct span source, const char *name, const struct filter_limits *limits,
                          struct arena *arena, const struct filter **filter,
                          struct filter_fault *fault) MUST_CHECK;
/* The value it was compiled from. */
struct span filter_source(const struct filter *filter);
/* Does it put no constraint at all? NULL: so it is. */
bool filter_is_empty(const struct filter *filter);

struct filter_texts; /* filter_text.h */

struct filter_point {
    const struct point_id *id;
    struct span payload; /* a value; empty for none */
    /* Has the point a vector of this name? ("" is the default one.) NULL: it has none. */
    bool (*has_vector)(const struct filter_point *point, struct span name);
    const void *vectors;              /* has_vector's own */
    const struct filter_texts *texts; /* tests that a text index gives a meaning; NULL: none */
};
/* NULL matches everything. Any thread. */
bool filter_matches(const struct filter *filter, const struct filter_point *point);
/* The same for a row of a view; settings: the collection's, for the names of its vectors. */
struct collection_settings;
bool filter_matches_row(const struct filter *filter, const struct collection_settings *settings,
                        const struct point_row *row);
bool filter_matches_texts(const struct filter *filter, const struct collection_settings *settings,
                          const struct filter_texts *texts, const struct point_row *row);

#endif
