/* Matching: the tree is walked once per point, against the payload's own bytes. */
#include "index/filter_tree.h"

#include <stdlib.h>

#include "index/database.h"
#include "index/datetime.h"
#include "index/filter_text.h"

/* ---- single values ---- */

bool range_holds(const struct range *range, struct exact v)
{
    return (!(range->bounds & BOUND_LT) || exact_compare(v, range->lt) < 0) &&
           (!(range->bounds & BOUND_GT) || exact_compare(v, range->gt) > 0) &&
           (!(range->bounds & BOUND_LTE) || exact_compare(v, range->lte) <= 0) &&
           (!(range->bounds & BOUND_GTE) || exact_compare(v, range->gte) >= 0);
}

bool time_range_holds(const struct time_range *range, int64_t v)
{
    return (!(range->bounds & BOUND_LT) || v < range->lt) &&
           (!(range->bounds & BOUND_GT) || v > range->gt) &&
           (!(range->bounds & BOUND_LTE) || v <= range->lte) &&
           (!(range->bounds & BOUND_GTE) || v >= range->gte);
}

static bool count_holds(const struct count_range *range, uint64_t v)
{
    return (!(range->bounds & BOUND_LT) || v < range->lt) &&
           (!(range->bounds & BOUND_GT) || v > range->gt) &&
           (!(range->bounds & BOUND_LTE) || v <= range->lte) &&
           (!(range->bounds & BOUND_GTE) || v >= range->gte);
}

static int compare_spans(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static int compare_integers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_number(enum value_kind kind)
{
    return kind == VALUE_INTEGER || kind == VALUE_UNSIGNED || kind == VALUE_DOUBLE;
}

static bool in_strings(const struct test *test, struct span value)
{
    if (value_kind(value) != VALUE_STRING || test->strings.count == 0)
        return false;
    struct span text = value_string(value);
    return bsearch(&text, test->strings.items, test->strings.count, sizeof text, compare_spans) !=
           NULL;
}

static bool in_integers(const struct test *test, struct span value)
{
    if (value_kind(value) != VALUE_INTEGER || test->integers.count == 0)
        return false;
    int64_t v = value_integer(value);
    return bsearch(&v, test->integers.items, test->integers.count, sizeof v, compare_integers) !=
           NULL;
}

/* A value that is there at all: null counts as absent, as do damaged bytes. */
static bool is_present(struct span value)
{
    enum value_kind kind = value_kind(value);
    return kind != VALUE_NULL && kind != VALUE_INVALID;
}

static bool contains(struct span text, struct span part)
{
    return part.bytes == 0 ||
           (text.bytes > 0 && memmem(text.data, text.bytes, part.data, part.bytes) != NULL);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Is one of the blank-separated pieces in the text? */
static bool contains_any(struct span text, struct span pieces)
{
    size_t i = 0;
    while (i < pieces.bytes) {
        size_t begin = i;
        while (i < pieces.bytes && !is_blank(pieces.data[i]))
            i++;
        if (i > begin && contains(text, span_of(pieces.data + begin, i - begin)))
            return true;
        i++;
    }
    return false;
}

static bool text_holds(const struct test *test, struct span value)
{
    if (value_kind(value) != VALUE_STRING)
        return false;
    struct span text = value_string(value);
    if (test->kind == TEST_PREFIX)
        return text.bytes >= test->text.bytes &&
               (test->text.bytes == 0 || memcmp(text.data, test->text.data, test->text.bytes) == 0);
    if (test->kind == TEST_TEXT_ANY)
        return contains_any(text, test->text);
    return contains(text, test->text);
}

static bool is_empty_value(struct span value)
{
    enum value_kind kind = value_kind(value);
    return kind == VALUE_NULL || (kind == VALUE_ARRAY && value_count(value) == 0);
}

/* null, or an array with a null in it. */
static bool has_null(struct span value)
{
    struct value_cursor cursor;
    struct span key, element;
    if (value_kind(value) != VALUE_ARRAY)
        return value_kind(value) == VALUE_NULL;
    value_walk(value, &cursor);
    while (value_next(&cursor, &key, &element))
        if (value_kind(element) == VALUE_NULL)
            return true;
    return false;
}

static uint64_t count_of(struct span value)
{
    enum value_kind kind = value_kind(value);
    return kind == VALUE_ARRAY ? value_count(value) : kind != VALUE_NULL;
}

static bool time_holds(const struct time_range *range, struct span value)
{
    int64_t v;
    return value_kind(value) == VALUE_STRING && datetime_parse(value_string(value), &v) &&
           time_range_holds(range, v);
}

static bool number_holds(const struct range *range, struct span value)
{
    enum value_kind kind = value_kind(value);
    return is_number(kind) && range_holds(range, exact_of(value, kind));
}

bool test_value(const struct test *test, struct span value)
{
    struct geo_point point;
    switch (test->kind) {
    case TEST_BOOL:
        return value_kind(value) == VALUE_BOOL && value_bool(value) == test->flag;
    case TEST_STRINGS:
        return in_strings(test, value);
    case TEST_INTEGERS:
        return in_integers(test, value);
    case TEST_EXCEPT_STRINGS:
        return is_present(value) && !in_strings(test, value);
    case TEST_EXCEPT_INTEGERS:
        return is_present(value) && !in_integers(test, value);
    case TEST_TEXT:
    case TEST_TEXT_ANY:
    case TEST_PHRASE:
    case TEST_PREFIX:
    case TEST_SUBSTRING:
        return text_holds(test, value);
    case TEST_RANGE:
        return number_holds(&test->range, value);
    case TEST_TIMES:
        return time_holds(&test->times, value);
    case TEST_GEO_BOX:
    case TEST_GEO_RADIUS:
    case TEST_GEO_POLYGON:
        return geo_point_of(value, &point) && geo_holds(test, point);
    case TEST_COUNT:
        return count_holds(&test->count, count_of(value));
    case TEST_EMPTY:
        return is_empty_value(value) == test->flag;
    case TEST_NULL:
        return has_null(value) == test->flag;
    }
    return false;
}

bool test_missing(const struct test *test)
{
    if (test->kind == TEST_COUNT)
        return count_holds(&test->count, 0);
    return (test->kind == TEST_EMPTY && test->flag) || (test->kind == TEST_NULL && !test->flag);
}

/* ---- fields ---- */

/* Tests on what is at a path as a whole; the others look into an array. */
static bool takes_whole(enum test_kind kind)
{
    return kind == TEST_COUNT || kind == TEST_EMPTY || kind == TEST_NULL;
}

static bool test_one(const struct test *test, const struct filter_texts *texts, struct span value)
{
    const struct filter_text *text = filter_texts_find(texts, test);
    if (text == NULL)
        return test_value(test, value);
    return value_kind(value) == VALUE_STRING && filter_text_holds(text, value_string(value));
}

static bool test_at(const struct test *test, const struct filter_texts *texts, struct span value)
{
    if (takes_whole(test->kind) || value_kind(value) != VALUE_ARRAY)
        return test_one(test, texts, value);
    struct value_cursor cursor;
    struct span key, element;
    value_walk(value, &cursor);
    while (value_next(&cursor, &key, &element))
        if (test_one(test, texts, element))
            return true;
    return false;
}

struct field_context {
    const struct condition *condition;
    const struct filter_texts *texts;
};

static bool field_visit(const void *context, struct span value)
{
    const struct field_context *field = context;
    const struct condition *condition = field->condition;
    for (size_t i = 0; i < condition->field.count; i++)
        if (test_at(&condition->field.tests[i], field->texts, value))
            return true;
    return false;
}

static bool any_visit(const void *context, struct span value)
{
    (void)context, (void)value;
    return true;
}

static bool field_matches(const struct condition *condition, const struct filter_point *point)
{
    const struct field_context context = {condition, point->texts};
    const struct span payload = point->payload;
    if (path_visit(&condition->path, payload, field_visit, &context))
        return true;
    bool passes = false;
    for (size_t i = 0; i < condition->field.count; i++)
        passes |= test_missing(&condition->field.tests[i]);
    return passes && !path_visit(&condition->path, payload, any_visit, NULL);
}

static bool filled_visit(const void *context, struct span value)
{
    (void)context;
    return !is_empty_value(value);
}

static bool null_visit(const void *context, struct span value)
{
    (void)context;
    return value_kind(value) == VALUE_NULL;
}

/* ---- ids ---- */

static int compare_ids(const void *a, const void *b)
{
    return point_id_compare(a, b);
}

static bool id_matches(const struct condition *condition, const struct point_id *id)
{
    return id != NULL && condition->ids.count > 0 &&
           bsearch(id, condition->ids.items, condition->ids.count, sizeof *id, compare_ids) != NULL;
}

static uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static void sip_rounds(uint64_t v[4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t point_id_hash(const struct point_id *id)
{
    bool number = id->kind == POINT_ID_NUMBER;
    uint64_t words[3] = {number ? load64_big(id->bytes) : load64(id->bytes), load64(id->bytes + 8),
                         0};
    size_t count = number ? 1 : 2;
    words[count] = (uint64_t)(8 * count) << 56; /* the last word holds the length alone */
    uint64_t v[4] = {UINT64_C(0x736f6d6570736575), UINT64_C(0x646f72616e646f6d),
                     UINT64_C(0x6c7967656e657261), UINT64_C(0x7465646279746573)};
    for (size_t i = 0; i <= count; i++) {
        v[3] ^= words[i];
        sip_rounds(v, 2);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the tree ---- */

struct nested_context {
    const struct filter *filter;
    const struct filter_texts *texts;
};

static bool nested_visit(const void *context, struct span value)
{
    const struct nested_context *nested = context;
    const struct filter_point element = {.payload = value, .texts = nested->texts};
    return value_kind(value) == VALUE_OBJECT && filter_matches(nested->filter, &element);
}

static bool nested_matches(const struct condition *condition, const struct filter_point *point)
{
    const struct nested_context context = {condition->filter, point->texts};
    return path_visit(&condition->path, point->payload, nested_visit, &context);
}

static bool condition_matches(const struct condition *condition, const struct filter_point *point)
{
    switch (condition->kind) {
    case CONDITION_FIELD:
        return field_matches(condition, point);
    case CONDITION_IS_EMPTY:
        return !path_visit(&condition->path, point->payload, filled_visit, NULL);
    case CONDITION_IS_NULL:
        return path_visit(&condition->path, point->payload, null_visit, NULL);
    case CONDITION_HAS_ID:
        return id_matches(condition, point->id);
    case CONDITION_HAS_VECTOR:
        return point->has_vector != NULL && point->has_vector(point, condition->vector);
    case CONDITION_NESTED:
        return nested_matches(condition, point);
    case CONDITION_SLICE:
        return point->id != NULL &&
               point_id_hash(point->id) % condition->slice.total == condition->slice.index;
    case CONDITION_FILTER:
        return filter_matches(condition->filter, point);
    }
    return false;
}

static bool all_hold(const struct clause *clause, const struct filter_point *point)
{
    for (size_t i = 0; i < clause->count; i++)
        if (!condition_matches(&clause->conditions[i], point))
            return false;
    return true;
}

/* At least `wanted` of the clause's conditions hold. */
static bool enough(const struct clause *clause, uint64_t wanted, const struct filter_point *point)
{
    for (size_t i = 0; wanted > 0 && i < clause->count; i++)
        wanted -= condition_matches(&clause->conditions[i], point);
    return wanted == 0;
}

bool filter_matches(const struct filter *filter, const struct filter_point *point)
{
    if (filter == NULL)
        return true;
    return all_hold(&filter->must, point) &&
           (filter->must_not.count == 0 || !enough(&filter->must_not, 1, point)) &&
           (filter->should.count == 0 || enough(&filter->should, 1, point)) &&
           (!filter->has_min_should || enough(&filter->min_should, filter->min_count, point));
}

struct row_vectors {
    const struct collection_settings *settings;
    const struct vector_set *set;
};

static bool row_has_vector(const struct filter_point *point, struct span name)
{
    const struct row_vectors *vectors = point->vectors;
    uint16_t number;
    return settings_find_vector(vectors->settings, name, &number) != NULL &&
           vector_set_has(vectors->set, number);
}

bool filter_matches_texts(const struct filter *filter, const struct collection_settings *settings,
                          const struct filter_texts *texts, const struct point_row *row)
{
    const struct row_vectors vectors = {settings, &row->vectors};
    const struct filter_point point = {.id = &row->id,
                                       .payload = row->payload,
                                       .has_vector = row_has_vector,
                                       .vectors = &vectors,
                                       .texts = texts};
    return filter_matches(filter, &point);
}

bool filter_matches_row(const struct filter *filter, const struct collection_settings *settings,
                        const struct point_row *row)
{
    return filter_matches_texts(filter, settings, NULL, row);
}

bool filter_is_empty(const struct filter *filter)
{
    return filter == NULL || (filter->must.count == 0 && filter->must_not.count == 0 &&
                              filter->should.count == 0 && !filter->has_min_should);
}

struct span filter_source(const struct filter *filter)
{
    return filter->source;
}
