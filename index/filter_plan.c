/* From a filter to a set of slots. Each condition gives a BOUND: slots among which its matches are,
 * or outside of which they are (inverted), exactly or not; clauses combine bounds as sets. What no
 * index covers bounds nothing: inverted, empty, not exact. */
#include "index/filter_plan.h"

#include <stdlib.h>
#include <time.h>

#include "index/collection.h"
#include "index/field_key.h"
#include "index/filter_cells.h"
#include "index/filter_tree.h"

/* Postings one condition may take, about a millisecond of them; looking at the payloads of what a
 * search lets through is cheaper than more. */
#define POSTINGS_MAX 8192u
/* After how many a range is judged by how far it has come. */
#define POSTINGS_SAMPLE 256u
#define IDS_MAX 65536u
#define STOP_CHECK_POINTS 256u
#define ROWS_AT_ONCE 256u

struct planner {
    const struct view *view;
    struct arena arena;
    struct field_list fields;
    const struct filter_texts *texts;
    uint64_t budget;    /* postings the condition at hand may still take */
    struct path prefix; /* of the nested condition around; count 0: none */
};

static void bound_nothing(struct filter_plan *out, bool exact)
{
    slots_init(&out->slots);
    out->inverted = true;
    out->exact = exact;
}

static void bound_none(struct filter_plan *out)
{
    slots_init(&out->slots);
    out->inverted = false;
    out->exact = true;
}

/* Leave the bound at that: too dear. */
static void bound_give_up(struct filter_plan *out)
{
    slots_release(&out->slots);
    bound_nothing(out, false);
}

/* a = a and b; b is taken. */
static void bound_and(struct filter_plan *a, struct filter_plan *b)
{
    a->exact = a->exact && b->exact;
    if (a->inverted && b->inverted) {
        slots_or(&a->slots, &b->slots);
    } else if (b->inverted) {
        slots_and_not(&a->slots, &b->slots);
    } else if (a->inverted) {
        slots_and_not(&b->slots, &a->slots);
        slots_move(&a->slots, &b->slots);
        a->inverted = false;
    } else {
        slots_and(&a->slots, &b->slots);
    }
    slots_release(&b->slots);
}

/* a = a or b; b is taken. */
static void bound_or(struct filter_plan *a, struct filter_plan *b)
{
    a->exact = a->exact && b->exact;
    if (a->inverted && b->inverted) {
        slots_and(&a->slots, &b->slots);
    } else if (a->inverted) {
        slots_and_not(&a->slots, &b->slots);
    } else if (b->inverted) {
        slots_and_not(&b->slots, &a->slots);
        slots_move(&a->slots, &b->slots);
        a->inverted = true;
    } else {
        slots_or(&a->slots, &b->slots);
    }
    slots_release(&b->slots);
}

/* Not a: of a set that is only a bound, nothing is known of what is outside. */
static void bound_not(struct filter_plan *a)
{
    if (a->exact)
        a->inverted = !a->inverted;
    else
        bound_give_up(a);
}

static bool bound_is_empty(const struct filter_plan *a)
{
    return !a->inverted && slots_count(&a->slots) == 0;
}

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

/* ---- ranges: keys from `first` on until `take` says that is all ---- */

enum take { TAKE, SKIP, STOP };

struct range_walk {
    enum take (*take)(const struct range_walk *range, struct span key);
    /* How much of the range lies before a key, 0 to 1; NULL: nobody can say. */
    double (*progress)(const struct range_walk *range, struct span key);
    const void *context;
};

/* Would the whole range take more than the budget, as far as it has come? */
static bool too_long(const struct range_walk *range, struct span key, uint64_t taken,
                     uint64_t budget)
{
    if (range->progress == NULL || taken != POSTINGS_SAMPLE)
        return false;
    return range->progress(range, key) * (double)(budget + taken) < (double)taken;
}

static enum error bound_of_range(struct planner *planner, const struct field *field,
                                 struct span first, const struct range_walk *range, bool exact,
                                 struct filter_plan *out)
{
    struct posting_walk walk;
    struct posting posting;
    bound_none(out);
    out->exact = exact;
    enum error error = posting_walk_begin(planner->view, field->record.number, &walk);
    if (error == OK)
        error = posting_seek(&walk, first, 0, &posting);
    for (uint64_t taken = 1; error == OK; taken++) {
        enum take take = range->take(range, posting.key);
        if (take == STOP)
            break;
        if (!spend(planner) || too_long(range, posting.key, taken, planner->budget)) {
            bound_give_up(out);
            break;
        }
        if (take == TAKE)
            slots_add_posting(&out->slots, &posting);
        error = posting_next(&walk, &posting);
    }
    posting_walk_end(&walk);
    return error == ERROR_NOT_FOUND ? OK : error;
}

static enum take take_number(const struct range_walk *walk, struct span key)
{
    const struct range *range = walk->context;
    struct exact v;
    bool is_double;
    if (!field_key_to_number(key, &v, &is_double))
        return STOP;
    if (range_holds(range, v))
        return TAKE;
    bool past = ((range->bounds & BOUND_LT) && exact_compare(v, range->lt) >= 0) ||
                ((range->bounds & BOUND_LTE) && exact_compare(v, range->lte) > 0);
    return past ? STOP : SKIP;
}

static double number_progress(const struct range_walk *walk, struct span key)
{
    const struct range *range = walk->context;
    struct exact v;
    bool is_double;
    if (!(range->bounds & (BOUND_LT | BOUND_LTE)) || !(range->bounds & (BOUND_GT | BOUND_GTE)) ||
        !field_key_to_number(key, &v, &is_double))
        return 1;
    double low = range->bounds & BOUND_GT ? range->gt.near : range->gte.near;
    double high = range->bounds & BOUND_LT ? range->lt.near : range->lte.near;
    return high > low ? (v.near - low) / (high - low) : 1;
}

static enum error bound_of_numbers(struct planner *planner, const struct field *field,
                                   const struct range *range, struct filter_plan *out)
{
    const struct range_walk walk = {take_number, number_progress, range};
    struct field_key first;
    struct exact low = {0, 0};
    bool bounded = (range->bounds & (BOUND_GT | BOUND_GTE)) != 0;
    if (range->bounds & BOUND_GTE)
        low = range->gte;
    if ((range->bounds & BOUND_GT) &&
        (!(range->bounds & BOUND_GTE) || exact_compare(range->gt, low) > 0))
        low = range->gt;
    field_key_number(low, false, &first);
    if (!bounded)
        first.bytes = 1; /* the class alone: before all numbers */
    return bound_of_range(planner, field, field_key_span(&first), &walk, true, out);
}

static enum take take_time(const struct range_walk *walk, struct span key)
{
    const struct time_range *range = walk->context;
    int64_t v;
    if (!field_key_to_time(key, &v))
        return STOP;
    if (time_range_holds(range, v))
        return TAKE;
    bool past = ((range->bounds & BOUND_LT) && v >= range->lt) ||
                ((range->bounds & BOUND_LTE) && v > range->lte);
    return past ? STOP : SKIP;
}

static double time_progress(const struct range_walk *walk, struct span key)
{
    const struct time_range *range = walk->context;
    int64_t v;
    if (!(range->bounds & (BOUND_LT | BOUND_LTE)) || !(range->bounds & (BOUND_GT | BOUND_GTE)) ||
        !field_key_to_time(key, &v))
        return 1;
    double low = (double)(range->bounds & BOUND_GT ? range->gt : range->gte);
    double high = (double)(range->bounds & BOUND_LT ? range->lt : range->lte);
    return high > low ? ((double)v - low) / (high - low) : 1;
}

static enum error bound_of_times(struct planner *planner, const struct field *field,
                                 const struct time_range *range, struct filter_plan *out)
{
    const struct range_walk walk = {take_time, time_progress, range};
    struct field_key first;
    int64_t low = INT64_MIN;
    if (range->bounds & BOUND_GTE)
        low = range->gte;
    if ((range->bounds & BOUND_GT) && range->gt > low)
        low = range->gt;
    field_key_time(low, &first);
    return bound_of_range(planner, field, field_key_span(&first), &walk, true, out);
}

static enum take take_prefix(const struct range_walk *walk, struct span key)
{
    const struct field_key *prefix = walk->context;
    return key.bytes >= prefix->bytes && memcmp(key.data, prefix->data, prefix->bytes) == 0 ? TAKE
                                                                                            : STOP;
}

static enum error bound_of_prefix(struct planner *planner, const struct field *field,
                                  struct span text, struct filter_plan *out)
{
    struct field_key prefix;
    field_key_prefix(text, &prefix);
    const struct range_walk walk = {take_prefix, NULL, &prefix};
    return bound_of_range(planner, field, field_key_span(&prefix), &walk, !prefix.cut, out);
}

/* ---- places ---- */

struct cell_range {
    struct field_key last;
};

static enum take take_cell(const struct range_walk *walk, struct span key)
{
    const struct cell_range *cells = walk->context;
    return span_compare(key, field_key_span(&cells->last)) <= 0 ? TAKE : STOP;
}

/* Cells that the shape may reach into; which places in them do is for the payload to say. */
static enum error bound_of_places(struct planner *planner, const struct field *field,
                                  const struct test *test, struct filter_plan *out)
{
    struct filter_cells cells;
    filter_cells_of(test, &cells);
    enum error error = bound_other(planner, field, out); /* beyond the degrees there are */
    for (size_t i = 0; i < cells.count && error == OK; i++) {
        struct cell_range range;
        struct field_key first;
        field_key_cell(cells.ranges[i].first, &first);
        field_key_cell(cells.ranges[i].last, &range.last);
        const struct range_walk walk = {take_cell, NULL, &range};
        struct filter_plan part;
        error = bound_of_range(planner, field, field_key_span(&first), &walk, false, &part);
        bound_or(out, &part);
    }
    out->exact = false;
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
    slots_release(&part.slots);
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
    out->exact = false;
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
    any.exact = any.exact && exact;
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
    slots_release(&plan->slots);
    arena_release(&plan->arena);
}

uint64_t filter_plan_count(const struct filter_plan *plan, uint64_t point_count)
{
    const uint64_t count = slots_count(&plan->slots);
    if (plan->inverted)
        return count < point_count ? point_count - count : 0;
    return count < point_count ? count : point_count;
}

/* ---- the set itself ---- */

struct sifting {
    const struct view *view;
    const struct collection_settings *settings;
    const struct filter *filter;
    const struct filter_plan *plan;
    uint64_t deadline_ns, seen;
    struct slots *slots;
};

static enum error check_deadline(struct sifting *sifting)
{
    struct timespec now;
    if (sifting->deadline_ns == 0 || sifting->seen++ % STOP_CHECK_POINTS != 0)
        return OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return now_ns >= sifting->deadline_ns ? ERROR_CANCELLED : OK;
}

/* A row that is damaged or gone matches nothing. */
static enum error sift(struct sifting *sifting, uint64_t slot)
{
    struct point_row row;
    enum error error = check_deadline(sifting);
    if (error != OK)
        return error;
    error = view_point(sifting->view, slot, &row);
    if (error == OK &&
        (sifting->plan->exact ||
         filter_matches_texts(sifting->filter, sifting->settings, &sifting->plan->texts, &row)))
        slots_add(sifting->slots, slot);
    return error == ERROR_NOT_FOUND || error == ERROR_CORRUPT ? OK : error;
}

static enum error sift_row(void *context, uint64_t slot)
{
    struct sifting *sifting = context;
    return filter_plan_has(sifting->plan, slot) ? sift(sifting, slot) : OK;
}

static enum error sift_listed(struct sifting *sifting)
{
    uint64_t list[ROWS_AT_ONCE], from = 0;
    enum error error = OK;
    for (size_t count = ROWS_AT_ONCE; count == ROWS_AT_ONCE && error == OK;) {
        count = slots_list(&sifting->plan->slots, from, list, ROWS_AT_ONCE);
        for (size_t i = 0; i < count && error == OK; i++)
            error = sift(sifting, list[i]);
        from = count > 0 ? list[count - 1] + 1 : 0;
    }
    return error;
}

enum error filter_slots(struct collection *collection, const struct view *view,
                        const struct filter *filter, uint64_t deadline_ns, struct slots *slots)
{
    struct filter_plan plan;
    slots_init(slots);
    enum error error = filter_plan_make(view, filter, &plan);
    struct sifting sifting = {.view = view,
                              .settings = collection_settings(collection),
                              .filter = filter,
                              .plan = &plan,
                              .deadline_ns = deadline_ns,
                              .slots = slots};
    if (error == OK && plan.exact && !plan.inverted)
        slots_move(slots, &plan.slots);
    else if (error == OK && plan.inverted)
        error = view_each_row(view, sift_row, &sifting);
    else if (error == OK)
        error = sift_listed(&sifting);
    filter_plan_release(&plan);
    return error;
}
