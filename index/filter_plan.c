/* From a filter to a set of slots. Each condition gives a BOUND: slots among which its matches are,
 * or outside of which they are (inverted), exactly or not; clauses combine bounds as sets. What no
 * index covers bounds nothing: inverted, empty, not exact. */
#include "index/filter_plan.h"

#include "index/collection.h"
#include "index/field_key.h"
#include "index/filter_bound.h"
#include "index/filter_cells.h"
#include "index/filter_ranges.h"
#include "index/filter_tree.h"

/* Postings one condition may take, about a millisecond of them; looking at the payloads of what a
 * search lets through is cheaper than more. */
#define POSTINGS_MAX 8192u
#define IDS_MAX 65536u

struct planner {
    const struct view *view;
    struct arena arena;
    struct field_list fields;
    const struct filter_texts *texts;
    uint64_t budget;    /* postings the condition at hand may still take */
    struct path prefix; /* of the nested condition around; count 0: none */
};

/* ---- reading postings ---- */

static bool spend(struct planner *planner)
{
    if (planner->budget == 0)
        return false;
    planner->budget--;
    return true;
}

/* Add the slots of one key. *enough false: the budget is used up. */
static enum error add_key(struct planner *planner, struct posting_walk *walk, struct span key,
                          struct slots *slots, bool *enough)
{
    struct posting posting;
    enum error error = posting_seek(walk, key, 0, &posting);
    *enough = spend(planner);
    while (*enough && error == OK && span_equal(posting.key, key)) {
        slots_add_posting(slots, &posting);
        error = posting_next(walk, &posting);
        *enough = spend(planner);
    }
    return error == ERROR_NOT_FOUND ? OK : error;
}

/* The union of some keys' slots. */
static enum error bound_of_keys(struct planner *planner, const struct field *field,
                                const struct field_key *keys, size_t count, bool exact,
                                struct filter_plan *out)
{
    struct posting_walk walk;
    bool enough = true;
    bound_none(out);
    out->exact = exact;
    enum error error = posting_walk_begin(planner->view, field->record.number, &walk);
    for (size_t i = 0; i < count && error == OK && enough; i++) {
        out->exact &= !keys[i].cut;
        error = add_key(planner, &walk, field_key_span(&keys[i]), &out->slots, &enough);
    }
    posting_walk_end(&walk);
    if (error == OK && !enough)
        bound_give_up(out);
    return error;
}

/* Slots with certain kinds of values: a list of enum field_key_class. */
static enum error bound_of_classes(struct planner *planner, const struct field *field,
                                   const enum field_key_class *classes, size_t count, bool exact,
                                   struct filter_plan *out)
{
    struct field_key keys[3];
    for (size_t i = 0; i < count; i++)
        field_key_class(classes[i], &keys[i]);
    return bound_of_keys(planner, field, keys, count, exact, out);
}

static enum error bound_other(struct planner *planner, const struct field *field,
                              struct filter_plan *out)
{
    static const enum field_key_class classes[] = {KEY_OTHER};
    return bound_of_classes(planner, field, classes, 1, false, out);
}

/* Slots with any value but null. */
static enum error bound_valued(struct planner *planner, const struct field *field,
                               struct filter_plan *out)
{
    static const enum field_key_class classes[] = {KEY_PRESENT, KEY_OTHER};
    return bound_of_classes(planner, field, classes, 2, false, out);
}

/* Slots where the path leads to something that is not empty. */
static enum error bound_filled(struct planner *planner, const struct field *field, bool exact,
                               struct filter_plan *out)
{
    static const enum field_key_class classes[] = {KEY_PRESENT, KEY_OTHER, KEY_HOLLOW};
    return bound_of_classes(planner, field, classes, 3, exact, out);
}

/* ---- ranges ---- */

static bool number_passes(const void *range, struct span key)
{
    struct exact v;
    bool is_double;
    return field_key_to_number(key, &v, &is_double) && range_holds(range, v);
}

/* Between two orders all numbers are inside; numbers of the orders themselves are looked at, since
 * integers have more bits than orders. */
static enum error read_numbers(struct range_reader *reader, const struct range *range)
{
    uint64_t low = 0, high = UINT64_MAX;
    bool has_low = false, has_high = false;
    const struct {
        unsigned bound;
        const struct exact *v;
    } bounds[] = {{BOUND_GT, &range->gt},
                  {BOUND_GTE, &range->gte},
                  {BOUND_LT, &range->lt},
                  {BOUND_LTE, &range->lte}};
    for (size_t i = 0; i < 4; i++) {
        if (!(range->bounds & bounds[i].bound))
            continue;
        const uint64_t order = field_order_of_number(*bounds[i].v);
        if (i < 2) {
            low = !has_low || order > low ? order : low;
            has_low = true;
        } else {
            high = !has_high || order < high ? order : high;
            has_high = true;
        }
    }
    enum error error = OK;
    if (low > high)
        return OK;
    if (has_low)
        error = range_read_order(reader, low, number_passes, range);
    if (error == OK && has_high && (!has_low || high != low))
        error = range_read_order(reader, high, number_passes, range);
    const uint64_t first = has_low ? low + 1 : low, last = has_high ? high - 1 : high;
    return error == OK && low < high ? range_read(reader, first, last) : error;
}

static enum error bound_of_numbers(struct planner *planner, const struct field *field,
                                   const struct range *range, struct filter_plan *out)
{
    struct range_reader reader;
    struct slot_gather gather;
    bound_none(out);
    gather_init(&gather);
    enum error error = range_reader_begin(&reader, planner->view, field, &planner->budget);
    reader.into = &gather;
    if (error == OK)
        error = read_numbers(&reader, range);
    range_reader_end(&reader);
    gather_end(&gather, &out->slots);
    if (error == OK && !reader.enough)
        bound_give_up(out);
    return error;
}

/* From and to, inclusive. false: there is nothing between. */
static bool times_between(const struct time_range *range, uint64_t *first, uint64_t *last)
{
    int64_t low = INT64_MIN, high = INT64_MAX;
    if (((range->bounds & BOUND_GT) && range->gt == INT64_MAX) ||
        ((range->bounds & BOUND_LT) && range->lt == INT64_MIN))
        return false;
    if (range->bounds & BOUND_GTE)
        low = range->gte;
    if ((range->bounds & BOUND_GT) && range->gt + 1 > low)
        low = range->gt + 1;
    if (range->bounds & BOUND_LTE)
        high = range->lte;
    if ((range->bounds & BOUND_LT) && range->lt - 1 < high)
        high = range->lt - 1;
    *first = field_order_of_time(low);
    *last = field_order_of_time(high);
    return low <= high;
}

static enum error bound_of_times(struct planner *planner, const struct field *field,
                                 const struct time_range *range, struct filter_plan *out)
{
    struct range_reader reader;
    struct slot_gather gather;
    uint64_t first, last;
    bound_none(out);
    if (!times_between(range, &first, &last))
        return OK;
    gather_init(&gather);
    enum error error = range_reader_begin(&reader, planner->view, field, &planner->budget);
    reader.into = &gather;
    if (error == OK)
        error = range_read(&reader, first, last);
    range_reader_end(&reader);
    gather_end(&gather, &out->slots);
    if (error == OK && !reader.enough)
        bound_give_up(out);
    return error;
}

/* Strings that begin so: keys from the beginning on. */
static enum error bound_of_prefix(struct planner *planner, const struct field *field,
                                  struct span text, struct filter_plan *out)
{
    struct field_key prefix;
    struct posting_walk walk;
    struct posting posting;
    struct slot_gather gather;
    bool enough = true;
    bound_none(out);
    gather_init(&gather);
    field_key_prefix(text, &prefix);
    out->exact = !prefix.cut;
    enum error error = posting_walk_begin(planner->view, field->record.number, &walk);
    if (error == OK)
        error = posting_seek(&walk, field_key_span(&prefix), 0, &posting);
    while (error == OK && posting.key.bytes >= prefix.bytes &&
           memcmp(posting.key.data, prefix.data, prefix.bytes) == 0) {
        enough = spend(planner);
        if (!enough)
            break;
        gather_add(&gather, &posting);
        error = posting_next(&walk, &posting);
    }
    posting_walk_end(&walk);
    gather_end(&gather, &out->slots);
    error = error == ERROR_NOT_FOUND ? OK : error;
    if (error == OK && !enough)
        bound_give_up(out);
    return error;
}

/* ---- places ---- */

static enum error read_places(struct range_reader *reader, const struct filter_cells *cells,
                              struct slot_gather *sure, struct slot_gather *edge)
{
    enum error error = OK;
    for (size_t i = 0; i < cells->count && error == OK && reader->enough; i++) {
        reader->into = cells->ranges[i].sure ? sure : edge;
        error = range_read(reader, cells->ranges[i].first, cells->ranges[i].last);
    }
    return error;
}

/* Cells inside the shape, whose places are too, and cells on its edge, whose places are for the
 * payload to judge; so are those beyond the degrees there are. */
static enum error bound_of_places(struct planner *planner, const struct field *field,
                                  const struct test *test, struct filter_plan *out)
{
    struct filter_cells *cells = arena_allocate(&planner->arena, sizeof *cells);
    struct range_reader reader;
    struct slot_gather sure, edge;
    filter_cells_of(test, cells);
    enum error error = bound_other(planner, field, out);
    if (error != OK || out->inverted)
        return error;
    gather_init(&sure);
    gather_init(&edge);
    error = range_reader_begin(&reader, planner->view, field, &planner->budget);
    if (error == OK)
        error = read_places(&reader, cells, &sure, &edge);
    range_reader_end(&reader);
    gather_end(&sure, &out->sure);
    gather_end(&edge, &out->slots);
    slots_or(&out->slots, &out->sure);
    if (error == OK && !reader.enough)
        bound_give_up(out);
    return error;
}

/* ---- texts ---- */

/* Slots with all tokens, or with any; a phrase is all of them and a look at the text. Where a point
 * has several texts the tokens may come from different ones. */
static enum error bound_of_text(struct planner *planner, const struct filter_text *text,
                                struct filter_plan *out)
{
    const bool any = text->test->kind == TEST_TEXT_ANY;
    static const enum field_key_class several[] = {KEY_SEVERAL};
    struct filter_plan part;
    enum error error = OK;
    bound_none(out);
    if (text->field->record.state != FIELD_READY) {
        bound_give_up(out);
        return OK;
    }
    for (size_t i = 0; i < text->count && error == OK; i++) {
        struct field_key key;
        field_key_string(KEY_TOKEN, text->tokens[i], &key);
        error = bound_of_keys(planner, text->field, &key, 1, true, &part);
        if (i == 0)
            out->inverted = !any;
        if (any)
            bound_or(out, &part);
        else
            bound_and(out, &part);
    }
    if (error != OK || any || text->count < 2)
        return error;
    error = bound_of_classes(planner, text->field, several, 1, true, &part);
    out->exact = out->exact && text->test->kind != TEST_PHRASE && bound_is_empty(&part);
    bound_release(&part);
    return error;
}

/* ---- tests ---- */

/* Which values a test can hold for. */
enum wants { WANTS_ANY, WANTS_STRING, WANTS_NUMBER, WANTS_BOOL, WANTS_OBJECT };

static enum wants wants_of(enum test_kind kind)
{
    switch (kind) {
    case TEST_BOOL:
        return WANTS_BOOL;
    case TEST_INTEGERS:
    case TEST_RANGE:
        return WANTS_NUMBER;
    case TEST_STRINGS:
    case TEST_TEXT:
    case TEST_TEXT_ANY:
    case TEST_PHRASE:
    case TEST_PREFIX:
    case TEST_SUBSTRING:
    case TEST_TIMES:
        return WANTS_STRING;
    case TEST_GEO_BOX:
    case TEST_GEO_RADIUS:
    case TEST_GEO_POLYGON:
        return WANTS_OBJECT;
    case TEST_EXCEPT_STRINGS:
    case TEST_EXCEPT_INTEGERS:
    case TEST_COUNT:
    case TEST_EMPTY:
    case TEST_NULL:
        break;
    }
    return WANTS_ANY;
}

static enum wants holds_of(enum field_kind kind)
{
    switch (kind) {
    case FIELD_INTEGER:
    case FIELD_FLOAT:
        return WANTS_NUMBER;
    case FIELD_BOOL:
        return WANTS_BOOL;
    case FIELD_GEO:
        return WANTS_OBJECT;
    case FIELD_KEYWORD:
    case FIELD_TEXT:
    case FIELD_DATETIME:
    case FIELD_UUID:
    case FIELD_KINDS:
        break;
    }
    return WANTS_STRING;
}

static enum error bound_of_strings(struct planner *planner, const struct field *field,
                                   const struct test *test, struct filter_plan *out)
{
    const size_t count = test->strings.count;
    struct field_key *keys = arena_allocate(&planner->arena, size_product(count + 1, sizeof *keys));
    size_t used = 0;
    bool exact = true;
    if (count > POSTINGS_MAX) {
        bound_nothing(out, false);
        return OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (field->kind == FIELD_KEYWORD)
            field_key_string(KEY_STRING, test->strings.items[i], &keys[used++]);
        else if (field_key_uuid(test->strings.items[i], &keys[used]))
            used++;
        else
            exact = false; /* a spelling that is not indexed */
    }
    if (!exact)
        field_key_class(KEY_OTHER, &keys[used++]);
    return bound_of_keys(planner, field, keys, used, exact, out);
}

static enum error bound_of_integers(struct planner *planner, const struct field *field,
                                    const struct test *test, struct filter_plan *out)
{
    const size_t count = test->integers.count;
    struct field_key *keys = arena_allocate(&planner->arena, size_product(count + 1, sizeof *keys));
    if (count > POSTINGS_MAX) {
        bound_nothing(out, false);
        return OK;
    }
    for (size_t i = 0; i < count; i++)
        field_key_number(exact_of_integer(test->integers.items[i]), false, &keys[i]);
    return bound_of_keys(planner, field, keys, count, true, out);
}

static enum error bound_of_bool(struct planner *planner, const struct field *field, bool v,
                                struct filter_plan *out)
{
    struct field_key key;
    field_key_bool(v, &key);
    return bound_of_keys(planner, field, &key, 1, true, out);
}

/* Where the field's kind holds just what the test asks for. false: it does not. */
static bool bound_precisely(struct planner *planner, const struct field *field,
                            const struct test *test, struct filter_plan *out, enum error *error)
{
    const enum field_kind kind = field->kind;
    const bool number = kind == FIELD_INTEGER || kind == FIELD_FLOAT;
    switch ((int)test->kind) {
    case TEST_STRINGS:
        if (kind != FIELD_KEYWORD && kind != FIELD_UUID)
            return false;
        *error = bound_of_strings(planner, field, test, out);
        return true;
    case TEST_PREFIX:
        if (kind != FIELD_KEYWORD)
            return false;
        *error = bound_of_prefix(planner, field, test->text, out);
        return true;
    case TEST_INTEGERS:
        *error = number ? bound_of_integers(planner, field, test, out) : OK;
        return number;
    case TEST_RANGE:
        *error = number ? bound_of_numbers(planner, field, &test->range, out) : OK;
        return number;
    case TEST_TIMES:
        *error = kind == FIELD_DATETIME ? bound_of_times(planner, field, &test->times, out) : OK;
        return kind == FIELD_DATETIME;
    case TEST_BOOL:
        *error = kind == FIELD_BOOL ? bound_of_bool(planner, field, test->flag, out) : OK;
        return kind == FIELD_BOOL;
    case TEST_GEO_BOX:
    case TEST_GEO_RADIUS:
    case TEST_GEO_POLYGON:
        *error = kind == FIELD_GEO ? bound_of_places(planner, field, test, out) : OK;
        return kind == FIELD_GEO;
    default:
        return false;
    }
}

/* Can one path lead to several values, or to none of a longer array? */
static bool is_single(const struct path *path)
{
    for (size_t i = 0; i < path->count; i++)
        if (path->segments[i].kind != SEGMENT_KEY)
            return false;
    return true;
}

/* is_empty, is_null and values_count of a field condition. */
static enum error bound_of_shape(struct planner *planner, const struct field *field,
                                 const struct test *test, struct filter_plan *out)
{
    if (test->kind == TEST_COUNT && !test_missing(test))
        return bound_filled(planner, field, false, out);
    if (test->kind == TEST_EMPTY && !test->flag)
        return bound_filled(planner, field, true, out);
    if (test->kind == TEST_EMPTY && is_single(&field->path)) {
        enum error error = bound_filled(planner, field, true, out);
        bound_not(out);
        return error;
    }
    bound_nothing(out, false);
    return OK;
}

static enum error bound_of_test(struct planner *planner, const struct field *field,
                                const struct test *test, struct filter_plan *out)
{
    enum error error = OK;
    const struct filter_text *text = filter_texts_find(planner->texts, test);
    if (text != NULL)
        return bound_of_text(planner, text, out);
    if (bound_precisely(planner, field, test, out, &error))
        return error;
    if (test->kind == TEST_COUNT || test->kind == TEST_EMPTY || test->kind == TEST_NULL)
        return bound_of_shape(planner, field, test, out);
    const enum wants wants = wants_of(test->kind);
    return wants != WANTS_ANY && wants != holds_of(field->kind) ? bound_other(planner, field, out)
                                                                : bound_valued(planner, field, out);
}

/* The ready field over a path that serves a test best: precisely, or else any. */
static const struct field *best_field(const struct planner *planner, const struct path *path,
                                      const struct test *test)
{
    static const unsigned best[] = {
        [TEST_STRINGS] = 1u << FIELD_KEYWORD,  [TEST_PREFIX] = 1u << FIELD_KEYWORD,
        [TEST_INTEGERS] = 1u << FIELD_INTEGER, [TEST_RANGE] = 1u << FIELD_FLOAT,
        [TEST_TIMES] = 1u << FIELD_DATETIME,   [TEST_BOOL] = 1u << FIELD_BOOL,
        [TEST_GEO_BOX] = 1u << FIELD_GEO,      [TEST_GEO_RADIUS] = 1u << FIELD_GEO,
        [TEST_GEO_POLYGON] = 1u << FIELD_GEO,  [TEST_NULL] = 0,
    };
    const struct field *field = field_find(&planner->fields, path, best[test->kind]);
    return field != NULL ? field : field_find(&planner->fields, path, ~0u);
}

/* ---- conditions ---- */

/* The path from the payload's top on. */
static const struct path *full_path(struct planner *planner, const struct path *path,
                                    struct path *joined)
{
    if (planner->prefix.count == 0)
        return path;
    joined->count = planner->prefix.count + path->count;
    joined->segments = arena_allocate(&planner->arena, joined->count * sizeof *joined->segments);
    memcpy(joined->segments, planner->prefix.segments,
           planner->prefix.count * sizeof *joined->segments);
    memcpy(joined->segments + planner->prefix.count, path->segments,
           path->count * sizeof *joined->segments);
    return joined;
}

static enum error bound_of_field(struct planner *planner, const struct condition *condition,
                                 struct filter_plan *out)
{
    struct path joined;
    const struct path *path = full_path(planner, &condition->path, &joined);
    bound_none(out);
    enum error error = OK;
    for (size_t i = 0; i < condition->field.count && error == OK; i++) {
        const struct test *test = &condition->field.tests[i];
        const struct filter_text *text = filter_texts_find(planner->texts, test);
        const struct field *field = text != NULL ? text->field : best_field(planner, path, test);
        struct filter_plan part;
        if (field == NULL)
            bound_nothing(&part, false);
        else
            error = bound_of_test(planner, field, test, &part);
        bound_or(out, &part);
    }
    return error;
}

static enum error bound_of_is_empty(struct planner *planner, const struct condition *condition,
                                    bool null, struct filter_plan *out)
{
    const struct field *field = field_find(&planner->fields, &condition->path, ~0u);
    if (field == NULL) {
        bound_nothing(out, false);
        return OK;
    }
    if (null) {
        static const enum field_key_class classes[] = {KEY_NULL};
        return bound_of_classes(planner, field, classes, 1, true, out);
    }
    enum error error = bound_filled(planner, field, true, out);
    bound_not(out);
    return error;
}

static enum error bound_of_ids(struct planner *planner, const struct condition *condition,
                               struct filter_plan *out)
{
    bound_none(out);
    if (condition->ids.count > IDS_MAX) {
        bound_give_up(out);
        return OK;
    }
    for (size_t i = 0; i < condition->ids.count; i++) {
        uint64_t slot;
        const enum error error = view_slot(planner->view, &condition->ids.items[i], &slot);
        if (error == OK)
            slots_add(&out->slots, slot);
        else if (error != ERROR_NOT_FOUND)
            return error;
    }
    return OK;
}

static enum error bound_of_filter(struct planner *planner, const struct filter *filter,
                                  struct filter_plan *out);

/* Elements of an array: what holds for one of them holds somewhere under the path with [], so only
 * positive tests of fields say something, and not all of it. */
static enum error bound_of_nested(struct planner *planner, const struct condition *condition,
                                  struct filter_plan *out)
{
    struct path joined, before = planner->prefix;
    planner->prefix = *full_path(planner, &condition->path, &joined);
    const enum error error = bound_of_filter(planner, condition->filter, out);
    planner->prefix = before;
    if (out->inverted)
        bound_give_up(out);
    bound_doubt(out);
    return error;
}

static enum error bound_of_condition(struct planner *planner, const struct condition *condition,
                                     struct filter_plan *out)
{
    const bool nested = planner->prefix.count > 0;
    switch (condition->kind) {
    case CONDITION_FIELD:
        return bound_of_field(planner, condition, out);
    case CONDITION_IS_EMPTY:
    case CONDITION_IS_NULL:
        if (nested)
            break;
        return bound_of_is_empty(planner, condition, condition->kind == CONDITION_IS_NULL, out);
    case CONDITION_HAS_ID:
        if (nested)
            break;
        return bound_of_ids(planner, condition, out);
    case CONDITION_NESTED:
        return bound_of_nested(planner, condition, out);
    case CONDITION_FILTER:
        return bound_of_filter(planner, condition->filter, out);
    case CONDITION_HAS_VECTOR:
    case CONDITION_SLICE:
        break;
    }
    bound_nothing(out, false);
    return OK;
}

/* ---- clauses ---- */

/* Ranges and their like are better asked when it is known how few are left. */
static bool is_dear(const struct condition *condition)
{
    if (condition->kind != CONDITION_FIELD)
        return condition->kind == CONDITION_NESTED || condition->kind == CONDITION_FILTER;
    for (size_t i = 0; i < condition->field.count; i++) {
        const enum test_kind kind = condition->field.tests[i].kind;
        if (kind != TEST_STRINGS && kind != TEST_INTEGERS && kind != TEST_BOOL &&
            kind != TEST_EMPTY)
            return true;
    }
    return false;
}

/* Postings that are worth reading to make a bound tighter: where few slots are left, looking at
 * their payloads is as cheap. */
static uint64_t worth(const struct filter_plan *out)
{
    if (out->inverted)
        return POSTINGS_MAX;
    const uint64_t left = 4 * slots_count(&out->slots) + 64;
    return left < POSTINGS_MAX ? left : POSTINGS_MAX;
}

static enum error narrow(struct planner *planner, const struct condition *condition, bool negate,
                         struct filter_plan *out)
{
    struct filter_plan part;
    planner->budget = worth(out);
    const enum error error = bound_of_condition(planner, condition, &part);
    if (negate)
        bound_not(&part);
    bound_and(out, &part);
    return error;
}

static enum error bound_of_must(struct planner *planner, const struct clause *clause, bool negate,
                                bool dear, struct filter_plan *out)
{
    enum error error = OK;
    for (size_t i = 0; i < clause->count && error == OK; i++) {
        if (bound_is_empty(out))
            break;
        if (is_dear(&clause->conditions[i]) == dear)
            error = narrow(planner, &clause->conditions[i], negate, out);
    }
    return error;
}

/* At least one holds; exact: that is all that is asked for. */
static enum error bound_of_any(struct planner *planner, const struct clause *clause, bool exact,
                               struct filter_plan *out)
{
    struct filter_plan any;
    const uint64_t budget = worth(out);
    bound_none(&any);
    enum error error = OK;
    for (size_t i = 0; i < clause->count && error == OK; i++) {
        struct filter_plan part;
        planner->budget = budget;
        error = bound_of_condition(planner, &clause->conditions[i], &part);
        bound_or(&any, &part);
    }
    if (!exact)
        bound_doubt(&any);
    bound_and(out, &any);
    return error;
}

static enum error bound_of_filter(struct planner *planner, const struct filter *filter,
                                  struct filter_plan *out)
{
    /* In one element of an array, "not" says nothing about the point. */
    const bool nested = planner->prefix.count > 0;
    bound_nothing(out, !nested || filter->must_not.count == 0);
    enum error error = bound_of_must(planner, &filter->must, false, false, out);
    if (error == OK && !nested)
        error = bound_of_must(planner, &filter->must_not, true, false, out);
    if (error == OK && filter->should.count > 0)
        error = bound_of_any(planner, &filter->should, true, out);
    if (error == OK && filter->has_min_should)
        error = bound_of_any(planner, &filter->min_should, filter->min_count == 1, out);
    if (error == OK)
        error = bound_of_must(planner, &filter->must, false, true, out);
    if (error == OK && !nested)
        error = bound_of_must(planner, &filter->must_not, true, true, out);
    return error;
}

enum error filter_plan_make(const struct view *view, const struct filter *filter,
                            struct filter_plan *plan)
{
    bound_nothing(plan, true);
    plan->texts = (struct filter_texts){0};
    arena_init(&plan->arena);
    if (filter_is_empty(filter))
        return OK;
    struct planner planner = {.view = view, .texts = &plan->texts};
    arena_init(&planner.arena);
    enum error error = view_fields(view, &plan->arena, &planner.fields);
    if (error == OK) {
        filter_texts_bind(filter, &planner.fields, &plan->arena, &plan->texts);
        error = bound_of_filter(&planner, filter, plan);
    }
    arena_release(&planner.arena);
    return error;
}

void filter_plan_release(struct filter_plan *plan)
{
    bound_release(plan);
    arena_release(&plan->arena);
}

uint64_t filter_plan_count(const struct filter_plan *plan, uint64_t point_count)
{
    const uint64_t count = slots_count(&plan->slots);
    if (plan->inverted)
        return count < point_count ? point_count - count : 0;
    return count < point_count ? count : point_count;
}
