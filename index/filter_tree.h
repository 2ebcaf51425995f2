/* A compiled filter. Private to index/: filter_compile.c makes it, filter.c matches by it,
 * filter_plan.c turns it into sets of slots. */
#ifndef KITH_INDEX_FILTER_TREE_H
#define KITH_INDEX_FILTER_TREE_H

#include "index/exact.h"
#include "index/filter.h"
#include "index/path.h"

struct condition;

struct clause {
    struct condition *conditions;
    size_t count;
};

struct filter {
    struct span source;
    struct clause must, must_not, should, min_should;
    uint64_t min_count;  /* of min_should */
    bool has_min_should; /* which constrains even without conditions */
};

enum condition_kind {
    CONDITION_FIELD,
    CONDITION_IS_EMPTY, /* {"is_empty": {"key": ..}}: of all values at the path */
    CONDITION_IS_NULL,
    CONDITION_HAS_ID,
    CONDITION_HAS_VECTOR,
    CONDITION_NESTED,
    CONDITION_SLICE,
    CONDITION_FILTER,
};

/* ---- the tests of a field; a condition may have several, of which one must hold ---- */

enum test_kind {
    TEST_BOOL,
    TEST_STRINGS,  /* one of a list */
    TEST_INTEGERS, /* one of a list */
    TEST_EXCEPT_STRINGS,
    TEST_EXCEPT_INTEGERS,
    TEST_TEXT,
    TEST_TEXT_ANY,
    TEST_PHRASE,
    TEST_PREFIX,
    TEST_SUBSTRING,
    TEST_RANGE,
    TEST_TIMES,
    TEST_GEO_BOX,
    TEST_GEO_RADIUS,
    TEST_GEO_POLYGON,
    TEST_COUNT,
    TEST_EMPTY,
    TEST_NULL,
};

enum bound { BOUND_LT = 1, BOUND_GT = 2, BOUND_LTE = 4, BOUND_GTE = 8 };

struct range { /* each as its bit in `bounds` says */
    unsigned bounds;
    struct exact lt, gt, lte, gte;
};
struct time_range { /* microseconds */
    unsigned bounds;
    int64_t lt, gt, lte, gte;
};
struct count_range {
    unsigned bounds;
    uint64_t lt, gt, lte, gte;
};
struct geo_point {
    double lon, lat;
};
struct geo_ring { /* closed: the last point is the first */
    struct geo_point *points;
    size_t count;
};
struct geo_polygon {
    struct geo_ring exterior;
    struct geo_ring *interiors;
    size_t interior_count;
};

struct test {
    enum test_kind kind;
    union {
        bool flag; /* BOOL, EMPTY, NULL */
        struct {
            struct span *items; /* ascending by bytes, then length */
            size_t count;
        } strings;
        struct {
            int64_t *items; /* ascending */
            size_t count;
        } integers;
        struct span text; /* TEXT, TEXT_ANY, PHRASE, PREFIX, SUBSTRING */
        struct range range;
        struct time_range times;
        struct {
            struct geo_point top_left, bottom_right;
        } box;
        struct {
            struct geo_point center;
            double metres;
        } radius;
        struct geo_polygon polygon;
        struct count_range count;
    };
};

struct condition {
    enum condition_kind kind;
    struct span key_text; /* as written: FIELD, IS_EMPTY, IS_NULL, NESTED */
    struct path path;     /* of NESTED with [] at its end */
    union {
        struct {
            struct test *tests; /* at least one */
            size_t count;
        } field;
        struct {
            struct point_id *items; /* ascending */
            size_t count;
        } ids;
        struct span vector;
        const struct filter *filter; /* NESTED, FILTER */
        struct {
            uint64_t total, index;
        } slice;
    };
};

/* Order of match strings. */
static inline int span_compare(struct span a, struct span b)
{
    size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* One value against one test; an array is a value here, its elements are the caller's affair. */
bool test_value(const struct test *test, struct span value);
/* Does a point that lacks the field pass? */
bool test_missing(const struct test *test);
bool range_holds(const struct range *range, struct exact v);
bool time_range_holds(const struct time_range *range, int64_t v);
/* Is the value {lon, lat}? */
bool geo_point_of(struct span value, struct geo_point *point);
/* One of the three geo tests. */
bool geo_holds(const struct test *test, struct geo_point point);
/* Metres between two points on the mean sphere. */
double geo_metres(struct geo_point a, struct geo_point b);
/* SipHash-2-4 of an id under a zero key, as conditions on slices define it. */
uint64_t point_id_hash(const struct point_id *id);

#endif
