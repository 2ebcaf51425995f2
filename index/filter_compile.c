/* From the JSON of a filter to the tree, with an error that says where and what.
 *
 * The order in which the forms of a condition are tried is the compatible server's: what has a
 * `key` is a test of a field, then is_empty, is_null, has_id, has_vector, nested, slice; anything
 * else must be a filter. Keys that a form does not know are ignored, but in a filter, where a
 * misspelt clause would silently let everything through. Null equals absent. */
#include "index/filter_tree.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "index/datetime.h"
#include "index/string_id.h"
#include "index/uuid.h"

#define PATH_TEXT_BYTES 1024

struct compiler {
    struct arena *arena;
    const struct filter_limits *limits;
    struct filter_fault *fault;
    uint32_t depth, conditions;
    bool faulty;
    size_t path_bytes;
    char path[PATH_TEXT_BYTES]; /* to where we are; cut when longer */
};

static bool compile_filter(struct compiler *compiler, struct span value, struct filter *filter);

/* ---- where we are, and what is wrong ---- */

static size_t enter(struct compiler *compiler, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static size_t enter(struct compiler *compiler, const char *format, ...)
{
    size_t before = compiler->path_bytes, room = PATH_TEXT_BYTES - before;
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(compiler->path + before, room, format, arguments);
    va_end(arguments);
    size_t added = bytes < 0 ? 0 : (size_t)bytes;
    compiler->path_bytes += added < room ? added : room - 1;
    return before;
}

static void leave(struct compiler *compiler, size_t before)
{
    if (!compiler->faulty)
        compiler->path_bytes = before;
}

/* false, to be returned; the first fault stays. */
static bool wrong(struct compiler *compiler, enum filter_fault_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool wrong(struct compiler *compiler, enum filter_fault_kind kind, const char *format, ...)
{
    if (compiler->faulty)
        return false;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    compiler->faulty = true;
    *compiler->fault = (struct filter_fault){
        .kind =
            kind == FILTER_FAULT_FORMAT && compiler->conditions > 0 ? FILTER_FAULT_CONDITION : kind,
        .path = arena_format(compiler->arena, "%.*s", (int)compiler->path_bytes, compiler->path),
        .text = arena_format(compiler->arena, "%s", text),
    };
    return false;
}

static bool wrong_type(struct compiler *compiler, const char *expected)
{
    return wrong(compiler, FILTER_FAULT_FORMAT, "expected %s", expected);
}

/* A member; empty when absent or null. */
static struct span member(struct span object, const char *name)
{
    struct span value = value_get(object, span_text(name));
    return value_kind(value) == VALUE_NULL ? (struct span){0} : value;
}

static bool is_object(struct span value)
{
    return value_kind(value) == VALUE_OBJECT;
}

/* ---- scalars ---- */

static bool read_string(struct compiler *compiler, struct span value, struct span *text)
{
    if (value_kind(value) != VALUE_STRING)
        return wrong_type(compiler, "a string");
    *text = value_string(value);
    return true;
}

static bool read_bool(struct compiler *compiler, struct span value, bool *flag)
{
    if (value_kind(value) != VALUE_BOOL)
        return wrong_type(compiler, "a boolean");
    *flag = value_bool(value);
    return true;
}

static bool read_unsigned(struct compiler *compiler, struct span value, uint64_t *v)
{
    enum value_kind kind = value_kind(value);
    if (kind != VALUE_UNSIGNED && (kind != VALUE_INTEGER || value_integer(value) < 0))
        return wrong_type(compiler, "an unsigned integer");
    *v = value_unsigned(value);
    return true;
}

static bool read_number(struct compiler *compiler, struct span value, struct exact *v)
{
    enum value_kind kind = value_kind(value);
    if (kind != VALUE_INTEGER && kind != VALUE_UNSIGNED && kind != VALUE_DOUBLE)
        return wrong_type(compiler, "a number");
    *v = exact_of(value, kind);
    return true;
}

static bool read_double(struct compiler *compiler, struct span value, double *v)
{
    struct exact exact;
    if (!read_number(compiler, value, &exact))
        return false;
    *v = exact.near;
    return true;
}

static bool read_time(struct compiler *compiler, struct span value, int64_t *v)
{
    if (value_kind(value) != VALUE_STRING)
        return wrong_type(compiler, "a date-time, like the other bounds");
    struct span text = value_string(value);
    return datetime_parse(text, v) ||
           wrong(compiler, FILTER_FAULT_FORMAT, "`%.*s` is not an RFC 3339 date-time",
                 (int)(text.bytes < 100 ? text.bytes : 100), (const char *)text.data);
}

/* ---- lists ---- */

static int compare_spans(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static int compare_integers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int compare_ids(const void *a, const void *b)
{
    return point_id_compare(a, b);
}

static bool check_list(struct compiler *compiler, struct span list)
{
    if (value_kind(list) != VALUE_ARRAY)
        return wrong_type(compiler, "a list");
    if (value_count(list) <= compiler->limits->list_max)
        return true;
    return wrong(compiler, FILTER_FAULT_LIMIT,
                 "%zu values exceed strict.condition_max_size (%" PRIu32 ")", value_count(list),
                 compiler->limits->list_max);
}

/* Strings or integers, all of a kind; an empty list is one of strings. Sorted. */
static bool read_variants(struct compiler *compiler, struct span list, enum test_kind strings,
                          enum test_kind integers, struct test *test)
{
    struct value_cursor cursor;
    struct span key, element;
    if (!check_list(compiler, list))
        return false;
    size_t capacity = value_count(list) + 1, count = 0;
    struct span *texts = arena_allocate(compiler->arena, capacity * sizeof *texts);
    int64_t *numbers = arena_allocate(compiler->arena, capacity * sizeof *numbers);
    enum value_kind wanted = VALUE_STRING;
    value_walk(list, &cursor);
    while (count + 1 < capacity && value_next(&cursor, &key, &element)) {
        enum value_kind kind = value_kind(element);
        if (count == 0 && kind == VALUE_INTEGER)
            wanted = kind;
        if (kind != wanted)
            return wrong_type(compiler, "a list of strings or a list of integers");
        if (wanted == VALUE_STRING)
            texts[count++] = value_string(element);
        else
            numbers[count++] = value_integer(element);
    }
    test->kind = wanted == VALUE_STRING ? strings : integers;
    if (wanted == VALUE_STRING) {
        qsort(texts, count, sizeof *texts, compare_spans);
        test->strings.items = texts;
        test->strings.count = count;
    } else {
        qsort(numbers, count, sizeof *numbers, compare_integers);
        test->integers.items = numbers;
        test->integers.count = count;
    }
    return true;
}

static bool read_id(struct compiler *compiler, struct span value, struct point_id *id)
{
    enum value_kind kind = value_kind(value);
    if (kind == VALUE_UNSIGNED || (kind == VALUE_INTEGER && value_integer(value) >= 0)) {
        *id = point_id_number(value_unsigned(value));
        return true;
    }
    struct span text = value_string(value);
    const uint32_t most = compiler->limits->id_bytes_max;
    if (most > 0 && kind == VALUE_STRING && text.bytes > 0 && text.bytes <= most) {
        *id = point_id_string(text);
        return true;
    }
    *id = (struct point_id){.kind = POINT_ID_UUID};
    if (most == 0 && kind == VALUE_STRING && uuid_parse(text, id->bytes))
        return true;
    if (most > 0 && kind == VALUE_STRING)
        return wrong(compiler, FILTER_FAULT_FORMAT, POINT_ID_STRING_TEXT, most);
    return wrong(compiler, FILTER_FAULT_FORMAT,
                 "value %.*s is not a valid point ID, valid values are either an unsigned integer "
                 "or a UUID",
                 (int)(text.bytes < 100 ? text.bytes : 100), (const char *)text.data);
}

static bool read_ids(struct compiler *compiler, struct span list, struct condition *condition)
{
    struct value_cursor cursor;
    struct span key, element;
    if (!check_list(compiler, list))
        return false;
    size_t capacity = value_count(list), count = 0;
    condition->ids.items =
        arena_allocate(compiler->arena, size_product(capacity + 1, sizeof(struct point_id)));
    value_walk(list, &cursor);
    while (count < capacity && value_next(&cursor, &key, &element))
        if (!read_id(compiler, element, &condition->ids.items[count++]))
            return false;
    qsort(condition->ids.items, count, sizeof(struct point_id), compare_ids);
    condition->ids.count = count;
    return true;
}

/* ---- match ---- */

static bool read_match_value(struct compiler *compiler, struct span value, struct test *test)
{
    enum value_kind kind = value_kind(value);
    if (kind == VALUE_BOOL) {
        *test = (struct test){.kind = TEST_BOOL, .flag = value_bool(value)};
        return true;
    }
    if (kind == VALUE_INTEGER) {
        test->kind = TEST_INTEGERS;
        test->integers.items = arena_allocate(compiler->arena, sizeof(int64_t));
        test->integers.items[0] = value_integer(value);
        test->integers.count = 1;
        return true;
    }
    if (kind != VALUE_STRING)
        return wrong_type(compiler, "a string, a 64-bit integer or a boolean");
    test->kind = TEST_STRINGS;
    test->strings.items = arena_allocate(compiler->arena, sizeof(struct span));
    test->strings.items[0] = value_string(value);
    test->strings.count = 1;
    return true;
}

static const struct {
    const char *name;
    enum test_kind kind;
} text_matches[] = {
    {"text", TEST_TEXT},     {"text_any", TEST_TEXT_ANY},   {"phrase", TEST_PHRASE},
    {"prefix", TEST_PREFIX}, {"substring", TEST_SUBSTRING},
};

/* The variant called name; *found when there is one. */
static bool read_match_variant(struct compiler *compiler, struct span name, struct span value,
                               struct test *test, bool *found)
{
    *found = true;
    if (span_equal(name, span_text("value")))
        return read_match_value(compiler, value, test);
    if (span_equal(name, span_text("any")))
        return read_variants(compiler, value, TEST_STRINGS, TEST_INTEGERS, test);
    if (span_equal(name, span_text("except")))
        return read_variants(compiler, value, TEST_EXCEPT_STRINGS, TEST_EXCEPT_INTEGERS, test);
    for (size_t i = 0; i < sizeof text_matches / sizeof text_matches[0]; i++) {
        if (span_equal(name, span_text(text_matches[i].name))) {
            test->kind = text_matches[i].kind;
            return read_string(compiler, value, &test->text);
        }
    }
    *found = false;
    return true;
}

static bool read_match(struct compiler *compiler, struct span match, struct test *test)
{
    struct value_cursor cursor;
    struct span name, value;
    size_t variants = 0;
    if (!is_object(match))
        return wrong_type(compiler, "an object");
    value_walk(match, &cursor);
    while (value_next(&cursor, &name, &value)) {
        bool found;
        if (value_kind(value) == VALUE_NULL)
            continue;
        size_t before = enter(compiler, ".%.*s", (int)(name.bytes < 64 ? name.bytes : 64),
                              (const char *)name.data);
        if (!read_match_variant(compiler, name, value, test, &found))
            return false;
        leave(compiler, before);
        variants += found;
    }
    return variants == 1 ||
           wrong_type(compiler, "exactly one of `value`, `any`, `except`, `text`, `text_any`, "
                                "`phrase`, `prefix`, `substring`");
}

/* ---- ranges ---- */

static const struct {
    const char *name;
    enum bound bound;
} bounds[] = {{"lt", BOUND_LT}, {"gt", BOUND_GT}, {"lte", BOUND_LTE}, {"gte", BOUND_GTE}};
#define BOUND_COUNT (sizeof bounds / sizeof bounds[0])

/* The first bound that is there tells which kind of range it is. */
static bool is_time_range(struct span object)
{
    for (size_t i = 0; i < BOUND_COUNT; i++) {
        struct span value = member(object, bounds[i].name);
        if (value.bytes > 0)
            return value_kind(value) == VALUE_STRING;
    }
    return false;
}

static bool read_range(struct compiler *compiler, struct span object, struct test *test)
{
    if (!is_object(object))
        return wrong_type(compiler, "an object");
    bool times = is_time_range(object);
    *test = (struct test){.kind = times ? TEST_TIMES : TEST_RANGE};
    struct exact *numbers[BOUND_COUNT] = {&test->range.lt, &test->range.gt, &test->range.lte,
                                          &test->range.gte};
    int64_t *instants[BOUND_COUNT] = {&test->times.lt, &test->times.gt, &test->times.lte,
                                      &test->times.gte};
    unsigned found = 0;
    for (size_t i = 0; i < BOUND_COUNT; i++) {
        struct span value = member(object, bounds[i].name);
        if (value.bytes == 0)
            continue;
        size_t before = enter(compiler, ".%s", bounds[i].name);
        if (!(times ? read_time(compiler, value, instants[i])
                    : read_number(compiler, value, numbers[i])))
            return false;
        leave(compiler, before);
        found |= bounds[i].bound;
    }
    if (times)
        test->times.bounds = found;
    else
        test->range.bounds = found;
    return true;
}

static bool read_count(struct compiler *compiler, struct span object, struct test *test)
{
    if (!is_object(object))
        return wrong_type(compiler, "an object");
    *test = (struct test){.kind = TEST_COUNT};
    uint64_t *counts[BOUND_COUNT] = {&test->count.lt, &test->count.gt, &test->count.lte,
                                     &test->count.gte};
    for (size_t i = 0; i < BOUND_COUNT; i++) {
        struct span value = member(object, bounds[i].name);
        if (value.bytes == 0)
            continue;
        size_t before = enter(compiler, ".%s", bounds[i].name);
        if (!read_unsigned(compiler, value, counts[i]))
            return false;
        leave(compiler, before);
        test->count.bounds |= bounds[i].bound;
    }
    return true;
}

/* ---- geo ---- */

static bool read_geo_point(struct compiler *compiler, struct span object, const char *name,
                           struct geo_point *point)
{
    struct span value = name == NULL ? object : member(object, name);
    size_t before = compiler->path_bytes;
    if (name != NULL)
        before = enter(compiler, ".%s", name);
    if (!is_object(value))
        return wrong_type(compiler, "a point with `lon` and `lat`");
    if (!read_double(compiler, member(value, "lon"), &point->lon) ||
        !read_double(compiler, member(value, "lat"), &point->lat))
        return false;
    if (fabs(point->lon) > 180 || fabs(point->lat) > 90)
        return wrong(compiler, FILTER_FAULT_FORMAT,
                     "expected `lat` within [-90;90] and `lon` within [-180;180]");
    leave(compiler, before);
    return true;
}

static bool read_box(struct compiler *compiler, struct span object, struct test *test)
{
    test->kind = TEST_GEO_BOX;
    return is_object(object)
               ? read_geo_point(compiler, object, "top_left", &test->box.top_left) &&
                     read_geo_point(compiler, object, "bottom_right", &test->box.bottom_right)
               : wrong_type(compiler, "an object");
}

static bool read_radius(struct compiler *compiler, struct span object, struct test *test)
{
    test->kind = TEST_GEO_RADIUS;
    if (!is_object(object))
        return wrong_type(compiler, "an object");
    if (!read_geo_point(compiler, object, "center", &test->radius.center))
        return false;
    size_t before = enter(compiler, ".radius");
    if (!read_double(compiler, member(object, "radius"), &test->radius.metres))
        return false;
    leave(compiler, before);
    return true;
}

static bool read_ring(struct compiler *compiler, struct span object, struct geo_ring *ring)
{
    struct value_cursor cursor;
    struct span key, element, points = member(object, "points");
    if (!is_object(object) || value_kind(points) != VALUE_ARRAY)
        return wrong_type(compiler, "an object with a list `points`");
    if (!check_list(compiler, points))
        return false;
    size_t capacity = value_count(points);
    if (capacity < 4)
        return wrong(compiler, FILTER_FAULT_FORMAT,
                     "polygon invalid, the size must be at least 4, got %zu", capacity);
    ring->points =
        arena_allocate(compiler->arena, size_product(capacity, sizeof(struct geo_point)));
    ring->count = 0;
    value_walk(points, &cursor);
    while (ring->count < capacity && value_next(&cursor, &key, &element)) {
        size_t before = enter(compiler, ".points[%zu]", ring->count);
        if (!read_geo_point(compiler, element, NULL, &ring->points[ring->count++]))
            return false;
        leave(compiler, before);
    }
    const struct geo_point *first = &ring->points[0], *last = &ring->points[ring->count - 1];
    if (first->lon != last->lon || first->lat != last->lat)
        return wrong(compiler, FILTER_FAULT_FORMAT,
                     "polygon invalid, the first and the last points should be the "
                     "same to form a closed line");
    return true;
}

static bool read_interiors(struct compiler *compiler, struct span list, struct geo_polygon *polygon)
{
    struct value_cursor cursor;
    struct span key, element;
    if (!check_list(compiler, list))
        return false;
    size_t capacity = value_count(list);
    polygon->interiors =
        arena_allocate(compiler->arena, size_product(capacity + 1, sizeof(struct geo_ring)));
    value_walk(list, &cursor);
    while (polygon->interior_count < capacity && value_next(&cursor, &key, &element)) {
        size_t before = enter(compiler, ".interiors[%zu]", polygon->interior_count);
        if (!read_ring(compiler, element, &polygon->interiors[polygon->interior_count]))
            return false;
        polygon->interior_count++;
        leave(compiler, before);
    }
    return true;
}

static bool read_polygon(struct compiler *compiler, struct span object, struct test *test)
{
    *test = (struct test){.kind = TEST_GEO_POLYGON};
    if (!is_object(object))
        return wrong_type(compiler, "an object");
    size_t before = enter(compiler, ".exterior");
    if (!read_ring(compiler, member(object, "exterior"), &test->polygon.exterior))
        return false;
    leave(compiler, before);
    struct span interiors = member(object, "interiors");
    return interiors.bytes == 0 || read_interiors(compiler, interiors, &test->polygon);
}

/* ---- conditions ---- */

static bool read_empty(struct compiler *compiler, struct span value, struct test *test)
{
    *test = (struct test){.kind = TEST_EMPTY};
    return read_bool(compiler, value, &test->flag);
}

static bool read_null(struct compiler *compiler, struct span value, struct test *test)
{
    *test = (struct test){.kind = TEST_NULL};
    return read_bool(compiler, value, &test->flag);
}

static const struct {
    const char *name;
    bool (*read)(struct compiler *compiler, struct span value, struct test *test);
} tests[] = {
    {"match", read_match},       {"range", read_range},         {"geo_bounding_box", read_box},
    {"geo_radius", read_radius}, {"geo_polygon", read_polygon}, {"values_count", read_count},
    {"is_empty", read_empty},    {"is_null", read_null},
};
#define TEST_COUNT_MAX (sizeof tests / sizeof tests[0])

/* The path under `key`; [] is put behind it for nested conditions that lack it. */
static bool read_key(struct compiler *compiler, struct span object, bool every,
                     struct condition *condition)
{
    size_t before = enter(compiler, ".key");
    if (!read_string(compiler, member(object, "key"), &condition->key_text))
        return false;
    struct span text = condition->key_text;
    struct path *path = &condition->path;
    if (!path_parse(text, compiler->arena, path))
        return wrong(compiler, FILTER_FAULT_FORMAT, "`%.*s` is not a path",
                     (int)(text.bytes < 100 ? text.bytes : 100), (const char *)text.data);
    if (every && path->segments[path->count - 1].kind != SEGMENT_EVERY) {
        struct path_segment *longer =
            arena_allocate(compiler->arena, (path->count + 1) * sizeof *longer);
        memcpy(longer, path->segments, path->count * sizeof *longer);
        longer[path->count++] = (struct path_segment){.kind = SEGMENT_EVERY};
        path->segments = longer;
    }
    leave(compiler, before);
    return true;
}

static bool compile_field(struct compiler *compiler, struct span object,
                          struct condition *condition)
{
    if (!read_key(compiler, object, false, condition))
        return false;
    struct test *found = arena_allocate(compiler->arena, TEST_COUNT_MAX * sizeof *found);
    size_t count = 0;
    for (size_t i = 0; i < TEST_COUNT_MAX; i++) {
        struct span value = member(object, tests[i].name);
        if (value.bytes == 0)
            continue;
        size_t before = enter(compiler, ".%s", tests[i].name);
        if (!tests[i].read(compiler, value, &found[count++]))
            return false;
        leave(compiler, before);
    }
    condition->kind = CONDITION_FIELD;
    condition->field.tests = found;
    condition->field.count = count;
    return count > 0 ||
           wrong(compiler, FILTER_FAULT_VALUE, "At least one field condition must be specified");
}

static bool compile_at(struct compiler *compiler, struct span value, enum condition_kind kind,
                       struct condition *condition)
{
    condition->kind = kind;
    return is_object(value) ? read_key(compiler, value, false, condition)
                            : wrong_type(compiler, "an object with `key`");
}

static bool compile_has_id(struct compiler *compiler, struct span value,
                           struct condition *condition)
{
    condition->kind = CONDITION_HAS_ID;
    return read_ids(compiler, value, condition);
}

static bool compile_has_vector(struct compiler *compiler, struct span value,
                               struct condition *condition)
{
    condition->kind = CONDITION_HAS_VECTOR;
    return read_string(compiler, value, &condition->vector);
}

static bool compile_is_empty(struct compiler *compiler, struct span value,
                             struct condition *condition)
{
    return compile_at(compiler, value, CONDITION_IS_EMPTY, condition);
}

static bool compile_is_null(struct compiler *compiler, struct span value,
                            struct condition *condition)
{
    return compile_at(compiler, value, CONDITION_IS_NULL, condition);
}

static bool compile_nested(struct compiler *compiler, struct span value,
                           struct condition *condition)
{
    condition->kind = CONDITION_NESTED;
    if (!is_object(value))
        return wrong_type(compiler, "an object with `key` and `filter`");
    if (!read_key(compiler, value, true, condition))
        return false;
    struct filter *inner = arena_allocate(compiler->arena, sizeof *inner);
    size_t before = enter(compiler, ".filter");
    struct span filter = member(value, "filter");
    if (filter.bytes == 0)
        return wrong_type(compiler, "a filter");
    if (!compile_filter(compiler, filter, inner))
        return false;
    leave(compiler, before);
    condition->filter = inner;
    return true;
}

static bool compile_slice(struct compiler *compiler, struct span value, struct condition *condition)
{
    condition->kind = CONDITION_SLICE;
    if (!is_object(value))
        return wrong_type(compiler, "an object with `total` and `index`");
    if (!read_unsigned(compiler, member(value, "total"), &condition->slice.total) ||
        !read_unsigned(compiler, member(value, "index"), &condition->slice.index))
        return false;
    if (condition->slice.total < 1)
        return wrong(compiler, FILTER_FAULT_VALUE, "total value 0 invalid, must be 1 or larger");
    return condition->slice.index < condition->slice.total ||
           wrong(compiler, FILTER_FAULT_VALUE,
                 "index value %" PRIu64 " invalid, must be below %" PRIu64, condition->slice.index,
                 condition->slice.total);
}

static const struct {
    const char *name;
    bool (*compile)(struct compiler *compiler, struct span value, struct condition *condition);
} forms[] = {
    {"is_empty", compile_is_empty},     {"is_null", compile_is_null}, {"has_id", compile_has_id},
    {"has_vector", compile_has_vector}, {"nested", compile_nested},   {"slice", compile_slice},
};

static bool compile_condition(struct compiler *compiler, struct span value,
                              struct condition *condition)
{
    if (++compiler->conditions > compiler->limits->conditions_max)
        return wrong(compiler, FILTER_FAULT_LIMIT,
                     "more conditions than strict.filter_max_conditions (%" PRIu32 ")",
                     compiler->limits->conditions_max);
    *condition = (struct condition){.kind = CONDITION_FILTER};
    if (!is_object(value))
        return wrong_type(compiler, "a condition as an object");
    if (member(value, "key").bytes > 0)
        return compile_field(compiler, value, condition);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct span form = member(value, forms[i].name);
        if (form.bytes == 0)
            continue;
        size_t before = enter(compiler, ".%s", forms[i].name);
        if (!forms[i].compile(compiler, form, condition))
            return false;
        leave(compiler, before);
        return true;
    }
    struct filter *inner = arena_allocate(compiler->arena, sizeof *inner);
    condition->filter = inner;
    return compile_filter(compiler, value, inner);
}

/* ---- filters ---- */

static bool compile_list(struct compiler *compiler, struct span list, struct clause *clause)
{
    struct value_cursor cursor;
    struct span key, element;
    size_t capacity = value_count(list);
    if (capacity > compiler->limits->conditions_max)
        capacity = compiler->limits->conditions_max + (size_t)1; /* one more than pass */
    clause->conditions =
        arena_allocate(compiler->arena, size_product(capacity + 1, sizeof *clause->conditions));
    value_walk(list, &cursor);
    while (clause->count < capacity && value_next(&cursor, &key, &element)) {
        size_t before = enter(compiler, "[%zu]", clause->count);
        if (!compile_condition(compiler, element, &clause->conditions[clause->count++]))
            return false;
        leave(compiler, before);
    }
    return true;
}

/* One condition or a list of them. */
static bool compile_clause(struct compiler *compiler, struct span object, const char *name,
                           struct clause *clause)
{
    struct span value = member(object, name);
    if (value.bytes == 0)
        return true;
    size_t before = enter(compiler, ".%s", name);
    if (value_kind(value) == VALUE_ARRAY) {
        if (!compile_list(compiler, value, clause))
            return false;
    } else {
        clause->conditions = arena_allocate(compiler->arena, sizeof *clause->conditions);
        clause->count = 1;
        if (!compile_condition(compiler, value, clause->conditions))
            return false;
    }
    leave(compiler, before);
    return true;
}

static bool compile_min_should(struct compiler *compiler, struct span object, struct filter *filter)
{
    struct span value = member(object, "min_should");
    if (value.bytes == 0)
        return true;
    size_t before = enter(compiler, ".min_should");
    if (!is_object(value) || value_kind(member(value, "conditions")) != VALUE_ARRAY)
        return wrong_type(compiler, "an object with `conditions` and `min_count`");
    filter->has_min_should = true;
    size_t inside = enter(compiler, ".min_count");
    if (!read_unsigned(compiler, member(value, "min_count"), &filter->min_count))
        return false;
    if (filter->min_count < 1)
        return wrong(compiler, FILTER_FAULT_VALUE, "value 0 invalid, must be 1 or larger");
    leave(compiler, inside);
    inside = enter(compiler, ".conditions");
    if (!compile_list(compiler, member(value, "conditions"), &filter->min_should))
        return false;
    leave(compiler, inside);
    leave(compiler, before);
    return true;
}

static bool check_keys(struct compiler *compiler, struct span object)
{
    static const char *const known[] = {"should", "min_should", "must", "must_not"};
    struct value_cursor cursor;
    struct span key, value;
    value_walk(object, &cursor);
    while (value_next(&cursor, &key, &value)) {
        size_t i = 0;
        while (i < 4 && !span_equal(key, span_text(known[i])))
            i++;
        if (i == 4)
            return wrong(compiler, FILTER_FAULT_FORMAT,
                         "unknown field `%.*s`, expected one of `should`, `min_should`, `must`, "
                         "`must_not`",
                         (int)(key.bytes < 64 ? key.bytes : 64), (const char *)key.data);
    }
    return true;
}

static bool compile_filter(struct compiler *compiler, struct span value, struct filter *filter)
{
    *filter = (struct filter){.source = value};
    if (!is_object(value))
        return wrong_type(compiler, "a filter object");
    if (++compiler->depth > compiler->limits->depth_max)
        return wrong(compiler, FILTER_FAULT_LIMIT,
                     "filters are nested deeper than strict.filter_max_depth (%" PRIu32 ")",
                     compiler->limits->depth_max);
    bool good = check_keys(compiler, value) &&
                compile_clause(compiler, value, "must", &filter->must) &&
                compile_clause(compiler, value, "must_not", &filter->must_not) &&
                compile_clause(compiler, value, "should", &filter->should) &&
                compile_min_should(compiler, value, filter);
    compiler->depth--;
    return good;
}

struct filter_limits filter_limits_default(void)
{
    return (struct filter_limits){
        .depth_max = 16, .conditions_max = 4096, .list_max = UINT32_C(1) << 20};
}

enum error filter_compile(struct span source, const char *name, const struct filter_limits *limits,
                          struct arena *arena, const struct filter **filter,
                          struct filter_fault *fault)
{
    assert(limits->depth_max <= FILTER_DEPTH_MAX);
    struct compiler compiler = {.arena = arena, .limits = limits, .fault = fault};
    struct filter *compiled = arena_allocate(arena, sizeof *compiled);
    *compiled = (struct filter){.source = source};
    *filter = compiled;
    (void)enter(&compiler, "%s", name);
    if (source.bytes == 0 || value_kind(source) == VALUE_NULL)
        return OK;
    return compile_filter(&compiler, source, compiled) ? OK : ERROR_INVALID;
}
