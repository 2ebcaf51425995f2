/* Payload indexes.
 *
 * A FIELD indexes what lies at one path of the payloads, as one of eight kinds. It changes how fast
 * an answer comes, not which: values that its kind cannot hold are known to be there (KEY_OTHER in
 * field_key.h), and a condition that may mean them is looked up in the payload. Four things need
 * one, as in the compatible API: order_by (integer, float, datetime), facets (keyword, integer with
 * lookup, uuid, bool), and what match.text and match.phrase mean once there is a text index.
 *
 * A field on a collection that holds data is built slot by slot in bounded steps; until it is ready
 * nobody reads it. */
#ifndef KITH_INDEX_FIELD_H
#define KITH_INDEX_FIELD_H

#include "index/database.h"
#include "index/exact.h"
#include "index/path.h"
#include "storage/fields.h"

#define FIELDS_MAX 1024u /* of a collection */

enum field_kind {
    FIELD_KEYWORD,
    FIELD_INTEGER,
    FIELD_FLOAT,
    FIELD_GEO,
    FIELD_TEXT,
    FIELD_BOOL,
    FIELD_DATETIME,
    FIELD_UUID,
    FIELD_KINDS
};
/* "keyword", "integer", ... */
const char *field_kind_name(enum field_kind kind);

struct text_analyzer; /* text.h */

struct field {
    struct field_record record; /* borrowed from where it was read */
    enum field_kind kind;
    bool lookup; /* FIELD_INTEGER: equality is asked for (default), which facets need */
    struct path path;
    const struct text_analyzer *analyzer; /* FIELD_TEXT */
};

enum field_fault_kind { FIELD_FAULT_FORMAT, FIELD_FAULT_VALUE, FIELD_FAULT_INPUT };
struct field_fault {
    enum field_fault_kind kind;
    const char *text; /* with the field it is about; in the arena */
};
/* Judge a definition: name, the path's text; schema, a value: a kind's name, or an object with
 * `type` and options. ERROR_INVALID with *fault set. The field keeps name and schema. */
enum error field_compile(struct span name, struct span schema, struct arena *arena,
                         struct field *field, struct field_fault *fault) MUST_CHECK;

/* ---- the fields of a view ---- */

struct field_list {
    struct field *items;
    size_t count;
};
/* Those that are not dropped, building ones included. In the arena, until the view closes. */
enum error view_fields(const struct view *view, struct arena *arena,
                       struct field_list *list) MUST_CHECK;
/* The ready field of a path, whose kind is in `kinds` (bit 1 << kind); NULL when there is none. */
const struct field *field_find(const struct field_list *list, const struct path *path,
                               unsigned kinds);
/* The text field of a path, building or ready; NULL when there is none. */
const struct field *field_find_text(const struct field_list *list, const struct path *path);
/* How many points have a value in the field. */
enum error field_point_count(const struct view *view, const struct field *field,
                             uint64_t *count) MUST_CHECK;

/* Call emit with every key a payload has in a field, KEY_PRESENT and its like included; a key may
 * come twice. */
void field_keys(const struct field *field, struct span payload,
                void (*emit)(void *context, struct span key), void *context);

/* ---- order_by ---- */

/* What is sorted by: a number as it is stored, or microseconds. */
struct order_value {
    bool is_time, is_double;
    struct exact number;
    int64_t microseconds;
};

#define FIELD_KINDS_ORDERED (1u << FIELD_INTEGER | 1u << FIELD_FLOAT | 1u << FIELD_DATETIME)
#define FIELD_KINDS_FACETED                                                                        \
    (1u << FIELD_KEYWORD | 1u << FIELD_INTEGER | 1u << FIELD_BOOL | 1u << FIELD_UUID)

struct order_walk;
/* Walk the points of a field by their values; a point with several comes once for each. Points of
 * equal values come in no order that is promised. start: where to begin, inclusive; NULL: at the
 * first. In the arena. */
enum error order_walk_begin(const struct view *view, const struct field *field, bool descending,
                            const struct order_value *start, struct arena *arena,
                            struct order_walk **walk) MUST_CHECK;
/* ERROR_NOT_FOUND at the end. */
enum error order_walk_next(struct order_walk *walk, uint64_t *slot,
                           struct order_value *value) MUST_CHECK;
void order_walk_end(struct order_walk *walk); /* accepts NULL */

/* ---- facets ---- */

struct facet_hit {
    struct span value; /* a value (index/value.h): a string, an integer or a bool; in the arena */
    uint64_t count;
};
struct filter;
/* The `limit` most frequent values among the points that match, by count descending, then value
 * ascending (integers and bools as numbers, strings by bytes). deadline_ns as in search.h. */
enum error field_facet(struct collection *collection, const struct view *view,
                       const struct field *field, const struct filter *filter, uint64_t limit,
                       uint64_t deadline_ns, struct arena *arena, struct facet_hit **hits,
                       size_t *hit_count) MUST_CHECK;

/* ---- changing: the writer thread ---- */

/* One bounded step of what is left to do for fields: the next points of a building one, or postings
 * of a dropped one. *more: there is something left. A transaction of its own. */
enum error collection_build_fields(struct collection *collection, bool *more) MUST_CHECK;
/* Is there anything for it to do? Any thread with a view. */
enum error collection_fields_pending(const struct view *view, bool *pending) MUST_CHECK;

#endif
