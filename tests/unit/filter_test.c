/* Filters: what each condition means, one case a line, and what is wrong with a bad one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index/datetime.h"
#include "index/filter_tree.h"
#include "server/json.h"

static struct span value_of(struct arena *arena, const char *text)
{
    struct json json;
    struct span value;
    json_init(&json, span_text(text), arena);
    if (!json_value(&json, &value))
        fail_msg("%s: %s", text, json.why);
    return value;
}

/* JSON in tests is written with ' for ". */
static const char *json_of(struct arena *arena, const char *text)
{
    char *copy = arena_format(arena, "%s", text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

static bool only_image(const struct filter_point *point, struct span name)
{
    (void)point;
    return span_equal(name, span_text("image"));
}

static bool matches(struct arena *arena, const char *filter_text, const char *payload_text,
                    struct point_id id)
{
    const struct filter *filter;
    struct filter_fault fault;
    struct filter_limits limits = filter_limits_default();
    struct span source = value_of(arena, json_of(arena, filter_text));
    if (filter_compile(source, "filter", &limits, arena, &filter, &fault) != OK)
        fail_msg("%s: %s: %s", filter_text, fault.path, fault.text);
    assert_true(span_equal(filter_source(filter), source));
    const struct filter_point point = {
        .id = &id,
        .payload = value_of(arena, json_of(arena, payload_text)),
        .has_vector = only_image,
    };
    return filter_matches(filter, &point);
}

struct example {
    const char *filter, *payload;
    bool expected;
};

static void check_examples(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena arena;
        arena_init(&arena);
        bool got = matches(&arena, examples[i].filter, examples[i].payload, point_id_number(7));
        if (got != examples[i].expected)
            fail_msg("%s on %s: %s", examples[i].filter, examples[i].payload, got ? "yes" : "no");
        arena_release(&arena);
    }
}
#define CHECK(examples) check_examples(examples, sizeof examples / sizeof *examples)

/* A condition on its own. */
#define MUST(condition) "{'must':" condition "}"
#define ON(key, test) MUST("{'key':'" key "'," test "}")
#define MATCH(key, match) ON(key, "'match':{" match "}")

static void test_match(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {MATCH("a", "'value':'x'"), "{'a':'x'}", true},
        {MATCH("a", "'value':'x'"), "{'a':['y','x']}", true},
        {MATCH("a", "'value':'x'"), "{'a':[['x']]}", false},
        {MATCH("a", "'value':'x'"), "{'b':'x'}", false},
        {MATCH("a", "'value':'x'"), "{'a':null}", false},
        {MATCH("a", "'value':1"), "{'a':1}", true},
        {MATCH("a", "'value':1"), "{'a':1.0}", false},
        {MATCH("a", "'value':1"), "{'a':true}", false},
        {MATCH("a", "'value':1"), "{'a':'1'}", false},
        {MATCH("a", "'value':-9223372036854775808"), "{'a':-9223372036854775808}", true},
        {MATCH("a", "'value':9223372036854775807"), "{'a':9223372036854775808}", false},
        {MATCH("a", "'value':true"), "{'a':[false,true]}", true},
        {MATCH("a", "'value':true"), "{'a':1}", false},
        {MATCH("a", "'any':['x','y']"), "{'a':'y'}", true},
        {MATCH("a", "'any':['x','y']"), "{'a':'z'}", false},
        {MATCH("a", "'any':[3,1,2]"), "{'a':[9,2]}", true},
        {MATCH("a", "'any':[3,1,2]"), "{'a':'2'}", false},
        {MATCH("a", "'any':[]"), "{'a':'y'}", false},
        {MATCH("a", "'except':['x']"), "{'a':'y'}", true},
        {MATCH("a", "'except':['x']"), "{'a':'x'}", false},
        {MATCH("a", "'except':['x']"), "{'a':['x','y']}", true},
        {MATCH("a", "'except':['x']"), "{'a':1}", true},
        {MATCH("a", "'except':['x']"), "{'a':{}}", true},
        {MATCH("a", "'except':['x']"), "{'a':[[]]}", true},
        {MATCH("a", "'except':['x']"), "{'a':[]}", false},
        {MATCH("a", "'except':['x']"), "{'a':null}", false},
        {MATCH("a", "'except':['x']"), "{'a':[null]}", false},
        {MATCH("a", "'except':['x']"), "{}", false},
        {MATCH("a", "'except':[]"), "{'a':'x'}", true},
        {MATCH("a", "'except':[1]"), "{'a':1.0}", true},
        {MATCH("a", "'except':[1]"), "{'a':1}", false},
        {MATCH("a", "'text':'bc'"), "{'a':'abcd'}", true},
        {MATCH("a", "'text':'BC'"), "{'a':'abcd'}", false},
        {MATCH("a", "'text':''"), "{'a':''}", true},
        {MATCH("a", "'text':'1'"), "{'a':1}", false},
        {MATCH("a", "'text_any':'x bc\\ty'"), "{'a':'abcd'}", true},
        {MATCH("a", "'text_any':' x  y '"), "{'a':'abcd'}", false},
        {MATCH("a", "'text_any':''"), "{'a':'abcd'}", false},
        {MATCH("a", "'phrase':'b c'"), "{'a':'a b c d'}", true},
        {MATCH("a", "'phrase':'c b'"), "{'a':'a b c d'}", false},
        {MATCH("a", "'prefix':'ab'"), "{'a':['x','abc']}", true},
        {MATCH("a", "'prefix':'bc'"), "{'a':'abc'}", false},
        {MATCH("a", "'prefix':''"), "{'a':1}", false},
        {MATCH("a", "'substring':'bc'"), "{'a':'abcd'}", true},
        {MATCH("a", "'value':'\\u0000b'"), "{'a':'\\u0000b'}", true},
        {MATCH("a", "'value':'\\u0000'"), "{'a':'\\u0000b'}", false},
        {MATCH("a", "'value':'é','text':null"), "{'a':'\\u00e9'}", true},
    };
    CHECK(examples);
}

static void test_paths(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {MATCH("a.b.c", "'value':1"), "{'a':{'b':{'c':1}}}", true},
        {MATCH("a.b", "'value':1"), "{'a.b':1}", false},
        {MATCH("\\\"a.b\\\"", "'value':1"), "{'a.b':1}", true},
        {MATCH("a.b", "'value':1"), "{'a':[{'b':1}]}", false},
        {MATCH("a[].b", "'value':1"), "{'a':[{'b':2},{'b':1}]}", true},
        {MATCH("a[].b", "'value':1"), "{'a':{'b':1}}", false},
        {MATCH("a[1].b", "'value':1"), "{'a':[{'b':1},{'b':2}]}", false},
        {MATCH("a[1].b", "'value':2"), "{'a':[{'b':1},{'b':2}]}", true},
        {MATCH("a[7]", "'value':2"), "{'a':[2]}", false},
        {MATCH("a[][]", "'value':2"), "{'a':[[1],[2]]}", true},
        {MATCH("a[]", "'value':2"), "{'a':[[1],[2]]}", true},
        {MATCH("ключ", "'value':2"), "{'ключ':2}", true},
        {MATCH("a-b_c", "'value':2"), "{'a-b_c':2}", true},
    };
    CHECK(examples);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {ON("a", "'range':{'gt':1,'lt':3}"), "{'a':2}", true},
        {ON("a", "'range':{'gt':1,'lt':3}"), "{'a':[1,3]}", false},
        {ON("a", "'range':{'gte':1,'lte':3}"), "{'a':[0,3]}", true},
        {ON("a", "'range':{'gte':1}"), "{'a':1.0}", true},
        {ON("a", "'range':{'gt':1}"), "{'a':1.0000001}", true},
        {ON("a", "'range':{'gt':1}"), "{'a':'2'}", false},
        {ON("a", "'range':{'gt':1}"), "{'a':true}", false},
        {ON("a", "'range':{}"), "{'a':true}", false},
        {ON("a", "'range':{}"), "{'a':-1e300}", true},
        {ON("a", "'range':{'gt':9007199254740992}"), "{'a':9007199254740993}", true},
        {ON("a", "'range':{'lt':18446744073709551615}"), "{'a':18446744073709551615}", false},
        {ON("a", "'range':{'lte':18446744073709551615}"), "{'a':18446744073709551615}", true},
        {ON("a", "'range':{'gt':18446744073709551615}"), "{'a':1.9e19}", true},
        {ON("a", "'range':{'lt':-9223372036854775807}"), "{'a':-9223372036854775808}", true},
        {ON("a", "'range':{'gte':0}"), "{'a':-0.0}", true},
        {ON("a", "'range':{'gte':'2020-01-01'}"), "{'a':'2020-01-01T00:00:00Z'}", true},
        {ON("a", "'range':{'gt':'2020-01-01'}"), "{'a':'2020-01-01T00:00:00Z'}", false},
        {ON("a", "'range':{'gt':'2020-01-01'}"), "{'a':'2020-01-01T01:00:00+01:00'}", false},
        {ON("a", "'range':{'gt':'2020-01-01'}"), "{'a':'2020-01-01 00:00:00.000001'}", true},
        {ON("a", "'range':{'lt':'2020-01-01'}"), "{'a':1}", false},
        {ON("a", "'range':{'lt':'2020-01-01'}"), "{'a':'soon'}", false},
    };
    CHECK(examples);
}

static void test_geo(void **state)
{
    (void)state;
#define SQUARE "{'lon':0,'lat':0},{'lon':0,'lat':9},{'lon':9,'lat':9},{'lon':9,'lat':0}"
#define HOLE "{'lon':4,'lat':4},{'lon':4,'lat':6},{'lon':6,'lat':6},{'lon':6,'lat':4}"
#define RING(points) "{'points':[" points ",{'lon':0,'lat':0}]}"
#define BOX "'geo_bounding_box':{'top_left':{'lon':0,'lat':9},'bottom_right':{'lon':9,'lat':0}}"
#define WRAP                                                                                       \
    "'geo_bounding_box':{'top_left':{'lon':170,'lat':9},'bottom_right':{'lon':-170,'lat':0}}"
#define CIRCLE "'geo_radius':{'center':{'lon':13.4,'lat':52.5},'radius':1000}"
#define POLYGON                                                                                    \
    "'geo_polygon':{'exterior':" RING(SQUARE) ",'interiors':[{'points':[" HOLE                     \
                                              ",{'lon':4,'lat':4}]}]}"
    static const struct example examples[] = {
        {ON("a", BOX), "{'a':{'lon':1,'lat':1}}", true},
        {ON("a", BOX), "{'a':{'lon':0,'lat':1}}", false},
        {ON("a", BOX), "{'a':[{'lon':99,'lat':1},{'lat':1,'lon':1.5,'x':0}]}", true},
        {ON("a", BOX), "{'a':{'lon':1}}", false},
        {ON("a", BOX), "{'a':{'lon':'1','lat':1}}", false},
        {ON("a", WRAP), "{'a':{'lon':175,'lat':1}}", true},
        {ON("a", WRAP), "{'a':{'lon':-175,'lat':1}}", true},
        {ON("a", WRAP), "{'a':{'lon':0,'lat':1}}", false},
        {ON("a", CIRCLE), "{'a':{'lon':13.41,'lat':52.5}}", true},
        {ON("a", CIRCLE), "{'a':{'lon':13.42,'lat':52.5}}", false},
        {ON("a", POLYGON), "{'a':{'lon':1,'lat':1}}", true},
        {ON("a", POLYGON), "{'a':{'lon':5,'lat':5}}", false},
        {ON("a", POLYGON), "{'a':{'lon':9,'lat':5}}", false},
        {ON("a", POLYGON), "{'a':{'lon':4,'lat':5}}", false},
        {ON("a", POLYGON), "{'a':{'lon':-1,'lat':5}}", false},
    };
    CHECK(examples);
}

static void test_counts_and_nulls(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {ON("a", "'values_count':{'gte':2}"), "{'a':[1,2]}", true},
        {ON("a", "'values_count':{'gte':2}"), "{'a':[1]}", false},
        {ON("a", "'values_count':{'gt':0}"), "{'a':{'b':1,'c':2}}", true},
        {ON("a", "'values_count':{'gt':1}"), "{'a':{'b':1,'c':2}}", false},
        {ON("a", "'values_count':{'lt':1}"), "{}", true},
        {ON("a", "'values_count':{'lt':1}"), "{'a':null}", true},
        {ON("a", "'values_count':{'lt':1}"), "{'a':[null]}", false},
        {ON("a[].b", "'values_count':{'gte':1,'lte':1}"), "{'a':[{'b':[]},{'b':[1,2]}]}", false},
        {ON("a", "'is_empty':true"), "{}", true},
        {ON("a", "'is_empty':true"), "{'a':[]}", true},
        {ON("a", "'is_empty':true"), "{'a':null}", true},
        {ON("a", "'is_empty':true"), "{'a':[null]}", false},
        {ON("a", "'is_empty':true"), "{'a':''}", false},
        {ON("a", "'is_empty':false"), "{'a':0}", true},
        {ON("a", "'is_empty':false"), "{}", false},
        {ON("a", "'is_null':true"), "{'a':null}", true},
        {ON("a", "'is_null':true"), "{'a':[1,null]}", true},
        {ON("a", "'is_null':true"), "{}", false},
        {ON("a", "'is_null':true"), "{'a':[]}", false},
        {ON("a", "'is_null':false"), "{'a':1}", true},
        {ON("a", "'is_null':false"), "{'a':[1,null]}", false},
        {ON("a", "'is_null':false"), "{}", true},
        {MUST("{'is_empty':{'key':'a'}}"), "{}", true},
        {MUST("{'is_empty':{'key':'a'}}"), "{'a':[]}", true},
        {MUST("{'is_empty':{'key':'a'}}"), "{'a':[null]}", false},
        {MUST("{'is_empty':{'key':'a[].b'}}"), "{'a':[{'b':null},{'b':[]},{}]}", true},
        {MUST("{'is_empty':{'key':'a[].b'}}"), "{'a':[{'b':null},{'b':1}]}", false},
        {MUST("{'is_null':{'key':'a'}}"), "{'a':null}", true},
        {MUST("{'is_null':{'key':'a'}}"), "{}", false},
        {MUST("{'is_null':{'key':'a'}}"), "{'a':[null]}", false},
        {MUST("{'is_null':{'key':'a[]'}}"), "{'a':[1,null]}", true},
    };
    CHECK(examples);
}

static void test_others(void **state)
{
    (void)state;
#define BOTH "{'key':'b','match':{'value':1}},{'key':'c','match':{'value':2}}"
    static const struct example examples[] = {
        {MUST("{'has_id':[3,7]}"), "{}", true},
        {MUST("{'has_id':[3,8,'550e8400-e29b-41d4-a716-446655440000']}"), "{}", false},
        {MUST("{'has_id':[]}"), "{}", false},
        {MUST("{'has_vector':'image'}"), "{}", true},
        {MUST("{'has_vector':''}"), "{}", false},
        {MUST("{'nested':{'key':'a','filter':{'must':[" BOTH "]}}}"), "{'a':[{'b':1,'c':2}]}",
         true},
        {MUST("{'nested':{'key':'a[]','filter':{'must':[" BOTH "]}}}"), "{'a':[{'b':1,'c':2}]}",
         true},
        {MUST("{'nested':{'key':'a','filter':{'must':[" BOTH "]}}}"), "{'a':[{'b':1},{'c':2}]}",
         false},
        {MUST("{'nested':{'key':'a','filter':{'must':[" BOTH "]}}}"), "{'a':{'b':1,'c':2}}", false},
        {MUST("{'nested':{'key':'a','filter':{}}}"), "{'a':[1]}", false},
        {MUST("{'nested':{'key':'a','filter':{'must_not':{'has_id':[7]}}}}"), "{'a':[{}]}", true},
        {MUST("{'nested':{'key':'a','filter':{'must':{'has_id':[7]}}}}"), "{'a':[{}]}", false},
        {"{'should':[" BOTH "]}", "{'c':2}", true},
        {"{'should':[" BOTH "]}", "{'c':1}", false},
        {"{'should':[]}", "{}", true},
        {"{'must':[" BOTH "]}", "{'b':1,'c':1}", false},
        {"{'must_not':[" BOTH "]}", "{'b':1,'c':1}", false},
        {"{'must_not':[" BOTH "]}", "{'b':2,'c':1}", true},
        {"{'min_should':{'conditions':[" BOTH "],'min_count':2}}", "{'b':1,'c':2}", true},
        {"{'min_should':{'conditions':[" BOTH "],'min_count':2}}", "{'b':1,'c':1}", false},
        {"{'min_should':{'conditions':[],'min_count':1}}", "{}", false},
        {"{'must':{'should':[" BOTH "]}}", "{'c':2}", true},
        {"{'must':{}}", "{}", true},
        {"{'must':[" BOTH "],'must_not':{'key':'d','is_empty':false}}", "{'b':1,'c':2,'d':3}",
         false},
        {ON("a", "'match':{'value':1},'range':{'gt':5}"), "{'a':6}", true},
        {"null", "{}", true},
        {"{}", "{}", true},
    };
    CHECK(examples);
}

/* Slices of an id space are disjoint and cover it; the hash is SipHash-2-4 as the Python client's
 * siphash.py computes it. */
static void test_slices(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (uint64_t i = 0; i < 200; i++) {
        int in = 0;
        for (int index = 0; index < 3; index++) {
            const char *filter =
                arena_format(&arena, "{'must':{'slice':{'total':3,'index':%d}}}", index);
            in += matches(&arena, filter, "{}", point_id_number(i));
        }
        assert_int_equal(in, 1);
    }
    const struct point_id uuid = {POINT_ID_UUID,
                                  {0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44,
                                   0x66, 0x55, 0x44, 0x00, 0x00}};
    const struct point_id number = point_id_number(7), largest = point_id_number(UINT64_MAX);
    assert_true(point_id_hash(&number) == UINT64_C(0xb6ea513a7ef62bf0));
    assert_true(point_id_hash(&largest) == UINT64_C(0x8050c18b6ac9d15e));
    assert_true(point_id_hash(&uuid) == UINT64_C(0xf5d0ca21ba34d504));
    arena_release(&arena);
}

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
        int64_t microseconds;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0, 0},
        {"1970-01-01", 0, 0},
        {"1970-01-01 00:01", 60, 0},
        {"1970-01-01T00:00:01", 1, 0},
        {"1969-12-31T23:59:59.5Z", -1, 500000},
        {"2000-02-29T12:00:00+00:00", 951825600, 0},
        {"2021-06-01T10:00:00.1234567+02:00", 1622534400, 123456},
        {"2021-06-01T10:00:00-0230", 1622550600, 0},
        {"2021-06-01t10:00:00 +02", 1622534400, 0},
        {"2021-06-01 08:00:00 UTC", 1622534400, 0},
        {"2021-06-01T08:00:00z", 1622534400, 0},
        {" 2021-6-1", 1622505600, 0},
        {"9999-12-31T23:59:59Z", 253402300799, 0},
        {"0001-01-01T00:00:00Z", -62135596800, 0},
    };
    static const char *const bad[] = {
        "",
        "2021",
        "2021-13-01",
        "2021-02-29",
        "2021-01-32",
        "2021-1",
        "2021-01-01T",
        "2021-01-01T25:00",
        "2021-01-01T10",
        "2021-01-01T10:60",
        "2021-01-01T10:00:61",
        "2021-01-01T10:00:00.",
        "2021-01-01T10:00:00+1",
        "2021-01-01T10:00Z",
        "2021-01-01T10:00:00+25:00",
        "0000-01-01",
        "2021-01-01T10:00:00Zx",
        "21-01-01",
        "2021-01-01x",
        "2021-01-01T10:00:00 UT",
    };
    int64_t got;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!datetime_parse(span_text(good[i].text), &got))
            fail_msg("%s: no date-time", good[i].text);
        if (got != good[i].seconds * 1000000 + good[i].microseconds)
            fail_msg("%s: %lld", good[i].text, (long long)got);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (datetime_parse(span_text(bad[i]), &got))
            fail_msg("%s: taken", bad[i]);
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        enum filter_fault_kind kind;
        const char *path, *text;
    } bad[] = {
        {"[]", FILTER_FAULT_FORMAT, "filter", "a filter object"},
        {"{'key':'a'}", FILTER_FAULT_FORMAT, "filter", "unknown field `key`"},
        {"{'musst':[]}", FILTER_FAULT_FORMAT, "filter", "unknown field `musst`"},
        {MUST("1"), FILTER_FAULT_CONDITION, "filter.must", "a condition"},
        {MUST("[{},[]]"), FILTER_FAULT_CONDITION, "filter.must[1]", "a condition"},
        {MUST("{'x':1}"), FILTER_FAULT_CONDITION, "filter.must", "unknown field `x`"},
        {MUST("{'key':'a'}"), FILTER_FAULT_VALUE, "filter.must",
         "At least one field condition must be specified"},
        {MUST("{'key':'a','match':null}"), FILTER_FAULT_VALUE, "filter.must", "At least one"},
        {MUST("{'key':1,'match':{'value':1}}"), FILTER_FAULT_CONDITION, "filter.must.key",
         "string"},
        {MUST("{'key':'a..b','match':{'value':1}}"), FILTER_FAULT_CONDITION, "filter.must.key",
         "`a..b` is not a path"},
        {MATCH("a", "'value':1.5"), FILTER_FAULT_CONDITION, "filter.must.match.value", "integer"},
        {MATCH("a", "'value':9223372036854775808"), FILTER_FAULT_CONDITION,
         "filter.must.match.value", "64-bit"},
        {MATCH("a", "'any':['x',1]"), FILTER_FAULT_CONDITION, "filter.must.match.any", "list of"},
        {MATCH("a", "'any':'x'"), FILTER_FAULT_CONDITION, "filter.must.match.any", "a list"},
        {MATCH("a", "'text':1"), FILTER_FAULT_CONDITION, "filter.must.match.text", "a string"},
        {MATCH("a", ""), FILTER_FAULT_CONDITION, "filter.must.match", "exactly one of"},
        {MATCH("a", "'value':1,'text':'x'"), FILTER_FAULT_CONDITION, "filter.must.match",
         "exactly one of"},
        {ON("a", "'match':1"), FILTER_FAULT_CONDITION, "filter.must.match", "an object"},
        {ON("a", "'range':{'lt':true}"), FILTER_FAULT_CONDITION, "filter.must.range.lt",
         "a number"},
        {ON("a", "'range':{'lt':1,'gt':'2020-01-01'}"), FILTER_FAULT_CONDITION,
         "filter.must.range.gt", "a number"},
        {ON("a", "'range':{'lt':'soon'}"), FILTER_FAULT_CONDITION, "filter.must.range.lt",
         "`soon` is not an RFC 3339"},
        {ON("a", "'values_count':{'lt':-1}"), FILTER_FAULT_CONDITION, "filter.must.values_count.lt",
         "unsigned"},
        {ON("a", "'is_null':1"), FILTER_FAULT_CONDITION, "filter.must.is_null", "a boolean"},
        {ON("a", "'geo_radius':{'center':{'lon':0,'lat':91},'radius':1}"), FILTER_FAULT_CONDITION,
         "filter.must.geo_radius.center", "within [-90;90]"},
        {ON("a", "'geo_radius':{'center':{'lon':0,'lat':1}}"), FILTER_FAULT_CONDITION,
         "filter.must.geo_radius.radius", "a number"},
        {ON("a", "'geo_bounding_box':{'top_left':{'lon':0,'lat':1}}"), FILTER_FAULT_CONDITION,
         "filter.must.geo_bounding_box.bottom_right", "a point"},
        {ON("a", "'geo_polygon':{'exterior':{'points':[{'lon':0,'lat':0}]}}"),
         FILTER_FAULT_CONDITION, "filter.must.geo_polygon.exterior", "must be at least 4"},
        {ON("a", "'geo_polygon':{'exterior':{'points':[" SQUARE "]}}"), FILTER_FAULT_CONDITION,
         "filter.must.geo_polygon.exterior", "closed line"},
        {MUST("{'has_id':[1,'x']}"), FILTER_FAULT_CONDITION, "filter.must.has_id",
         "value x is not a valid point ID"},
        {MUST("{'has_vector':1}"), FILTER_FAULT_CONDITION, "filter.must.has_vector", "a string"},
        {MUST("{'is_empty':true}"), FILTER_FAULT_CONDITION, "filter.must.is_empty", "`key`"},
        {MUST("{'nested':{'key':'a'}}"), FILTER_FAULT_CONDITION, "filter.must.nested.filter",
         "a filter"},
        {MUST("{'nested':{'key':'a','filter':{'must':{'key':'b'}}}}"), FILTER_FAULT_VALUE,
         "filter.must.nested.filter.must", "At least one"},
        {MUST("{'slice':{'total':0,'index':0}}"), FILTER_FAULT_VALUE, "filter.must.slice", "total"},
        {MUST("{'slice':{'total':2,'index':2}}"), FILTER_FAULT_VALUE, "filter.must.slice", "index"},
        {MUST("{'slice':{'total':2}}"), FILTER_FAULT_CONDITION, "filter.must.slice", "unsigned"},
        {"{'min_should':{'conditions':[]}}", FILTER_FAULT_FORMAT, "filter.min_should.min_count",
         "unsigned"},
        {"{'min_should':{'conditions':[],'min_count':0}}", FILTER_FAULT_VALUE,
         "filter.min_should.min_count", "must be 1 or larger"},
        {"{'min_should':[]}", FILTER_FAULT_FORMAT, "filter.min_should", "`conditions`"},
    };
    struct filter_limits limits = filter_limits_default();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena arena;
        arena_init(&arena);
        const struct filter *filter;
        struct filter_fault fault = {.path = "none", .text = "none"};
        struct span source = value_of(&arena, json_of(&arena, bad[i].filter));
        assert_int_equal(filter_compile(source, "filter", &limits, &arena, &filter, &fault),
                         ERROR_INVALID);
        if (fault.kind != bad[i].kind || strcmp(fault.path, bad[i].path) != 0 ||
            strstr(fault.text, bad[i].text) == NULL)
            fail_msg("%s: %d %s: %s", bad[i].filter, (int)fault.kind, fault.path, fault.text);
        arena_release(&arena);
    }
}

/* How a filter of `depth` nested filters is taken. */
static enum error compile_deep(struct arena *arena, int depth, const struct filter_limits *limits,
                               struct filter_fault *fault)
{
    const char *text = "{}";
    const struct filter *filter;
    for (int i = 1; i < depth; i++)
        text = arena_format(
            arena, i % 2 ? "{'must':[%s]}" : "{'should':{'nested':{'key':'a','filter':%s}}}", text);
    return filter_compile(value_of(arena, json_of(arena, text)), "filter", limits, arena, &filter,
                          fault);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct filter_fault fault;
    struct filter_limits limits = filter_limits_default();
    assert_int_equal(compile_deep(&arena, 16, &limits, &fault), OK);
    assert_int_equal(compile_deep(&arena, 17, &limits, &fault), ERROR_INVALID);
    assert_int_equal(fault.kind, FILTER_FAULT_LIMIT);
    assert_non_null(strstr(fault.text, "strict.filter_max_depth (16)"));
    limits.conditions_max = 3;
    limits.list_max = 2;
    const struct filter *filter;
    static const struct {
        const char *text, *limit;
    } cases[] = {
        {"{'must':[{},{},{}]}", NULL},
        {"{'must':[{},{},{},{}]}", "strict.filter_max_conditions (3)"},
        {"{'must':[{},{'should':[{}]},{}]}", "strict.filter_max_conditions (3)"},
        {MUST("{'has_id':[1,2]}"), NULL},
        {MUST("{'has_id':[1,2,3]}"), "strict.condition_max_size (2)"},
        {MATCH("a", "'any':[1,2,3]"), "strict.condition_max_size (2)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct span source = value_of(&arena, json_of(&arena, cases[i].text));
        enum error error = filter_compile(source, "filter", &limits, &arena, &filter, &fault);
        assert_int_equal(error, cases[i].limit == NULL ? OK : ERROR_INVALID);
        if (cases[i].limit != NULL) {
            assert_int_equal(fault.kind, FILTER_FAULT_LIMIT);
            assert_non_null(strstr(fault.text, cases[i].limit));
        }
    }
    arena_release(&arena);
}

/* Any byte of a payload may be damaged: a verdict, and no read past the end (ASan looks). */
static void test_damaged_payloads(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct filter_limits limits = filter_limits_default();
    struct filter_fault fault;
    const struct filter *filter;
    const char *text =
        "{'should':[{'key':'a[].b','match':{'value':'no'}},{'key':'c','range':{'gt':9e9}},"
        "{'nested':{'key':'a','filter':{'must':{'key':'b','values_count':{'gt':9}}}}},"
        "{'key':'d','geo_radius':{'center':{'lon':0,'lat':0},'radius':1}},"
        "{'is_null':{'key':'e'}},{'key':'f','match':{'text':'nothing'}}]}";
    assert_int_equal(filter_compile(value_of(&arena, json_of(&arena, text)), "filter", &limits,
                                    &arena, &filter, &fault),
                     OK);
    struct span payload = value_of(
        &arena,
        json_of(&arena, "{'a':[{'b':'x'},{'b':[1,2]}],'c':[1,2.5,-3e7],"
                        "'d':{'lon':1,'lat':2},'e':[[],{}],'f':'some text of some length'}"));
    const struct point_id id = point_id_number(1);
    for (size_t at = 0; at < payload.bytes; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *copy = malloc(payload.bytes);
            memcpy(copy, payload.data, payload.bytes);
            copy[at] ^= (uint8_t)(1u << bit);
            const struct filter_point point = {.id = &id, .payload = span_of(copy, payload.bytes)};
            (void)filter_matches(filter, &point);
            free(copy);
        }
        uint8_t *cut = malloc(at + 1);
        memcpy(cut, payload.data, at);
        const struct filter_point point = {.id = &id, .payload = span_of(cut, at)};
        assert_false(filter_matches(filter, &point));
        free(cut);
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_geo),
        cmocka_unit_test(test_counts_and_nulls),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_damaged_payloads),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
