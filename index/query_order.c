/* order_by: points by the values of an indexed field, once for every value they have. */
#include <stdlib.h>

#include "index/datetime.h"
#include "index/field.h"
#include "index/query_scan.h"

#define SCORE_NONE 1.0f
#define STOP_CHECK_STEPS 64u

struct ordering {
    struct query_run *run;
    const struct query *query;
    uint64_t wanted; /* limit and offset */
    struct scored_list *result;
    size_t capacity;
    /* the point whose values are gathered */
    uint64_t slot;
    struct point_id id;
};

/* Grows with what is found: a field with many values a point has more entries than points. */
static void add(struct ordering *ordering, uint64_t slot, const struct point_id *id,
                const struct order_value *value)
{
    struct scored_list *result = ordering->result;
    struct arena *arena = ordering->run->arena;
    if (result->count == ordering->capacity) {
        const size_t capacity = ordering->capacity == 0 ? 64 : 2 * ordering->capacity;
        struct scored *items = arena_allocate(arena, size_product(capacity, sizeof *items));
        struct order_value *values = arena_allocate(arena, size_product(capacity, sizeof *values));
        if (result->count > 0) {
            memcpy(items, result->items, result->count * sizeof *items);
            memcpy(values, result->values, result->count * sizeof *values);
        }
        result->items = items;
        result->values = values;
        ordering->capacity = capacity;
    }
    result->items[result->count] = (struct scored){slot, SCORE_NONE, *id};
    result->values[result->count++] = *value;
}

/* ---- of the collection ---- */

static enum error add_found(struct ordering *ordering, uint64_t slot,
                            const struct order_value *value)
{
    struct query_run *run = ordering->run;
    struct point_row row;
    const enum error error = view_point(run->view, slot, &row);
    if (error != OK)
        return query_leave_out(run, error) ? OK : error;
    if (ordering->query->filter == NULL ||
        filter_matches_row(ordering->query->filter, collection_settings(run->collection), &row))
        add(ordering, slot, &row.id, value);
    return OK;
}

static enum error order_collection(struct ordering *ordering)
{
    struct query_run *run = ordering->run;
    const struct query_order *order = &ordering->query->order;
    struct order_walk *walk = NULL;
    enum error error = order_walk_begin(run->view, order->field, order->descending,
                                        order->has_start ? &order->start : NULL, run->arena, &walk);
    for (uint64_t step = 0; error == OK && ordering->result->count < ordering->wanted; step++) {
        uint64_t slot;
        struct order_value value;
        if (step % STOP_CHECK_STEPS == 0)
            error = query_check_stop(run);
        if (error == OK)
            error = order_walk_next(walk, &slot, &value);
        if (error == OK)
            error = add_found(ordering, slot, &value);
        else if (error == ERROR_NOT_FOUND)
            break;
    }
    order_walk_end(walk);
    return error == ERROR_NOT_FOUND ? OK : error;
}

/* ---- of given points ---- */

static int compare_values(const struct order_value *a, const struct order_value *b)
{
    if (a->is_time)
        return (a->microseconds > b->microseconds) - (a->microseconds < b->microseconds);
    return exact_compare(a->number, b->number);
}

/* What a field of this kind sorts a value by; false: it does not. */
static bool value_of(const struct field *field, struct span value, struct order_value *out)
{
    const enum value_kind kind = value_kind(value);
    *out = (struct order_value){.is_time = field->kind == FIELD_DATETIME};
    if (out->is_time)
        return kind == VALUE_STRING && datetime_parse(value_string(value), &out->microseconds);
    if (kind != VALUE_INTEGER && kind != VALUE_UNSIGNED && kind != VALUE_DOUBLE)
        return false;
    out->is_double = kind == VALUE_DOUBLE;
    out->number = exact_of(value, kind);
    return field->kind == FIELD_FLOAT || !out->is_double;
}

static void add_value(struct ordering *ordering, struct span value)
{
    const struct query_order *order = &ordering->query->order;
    const struct scored_list *result = ordering->result;
    struct order_value found;
    if (!value_of(order->field, value, &found))
        return;
    const int side = order->has_start ? compare_values(&found, &order->start) : 0;
    if (order->descending ? side > 0 : side < 0)
        return;
    for (size_t i = result->count; i > 0 && result->items[i - 1].slot == ordering->slot; i--) {
        if (compare_values(&result->values[i - 1], &found) == 0)
            return; /* twice the same value */
    }
    add(ordering, ordering->slot, &ordering->id, &found);
}

static bool visit_value(const void *context, struct span value)
{
    struct ordering *const *ordering = context;
    struct value_cursor cursor;
    struct span key, element;
    if (value_kind(value) != VALUE_ARRAY) {
        add_value(*ordering, value);
        return false;
    }
    value_walk(value, &cursor);
    while (value_next(&cursor, &key, &element))
        add_value(*ordering, element);
    return false;
}

struct entry {
    struct scored scored;
    struct order_value value;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const int order = compare_values(&x->value, &y->value);
    return order != 0 ? order : point_id_compare(&x->scored.id, &y->scored.id);
}

static void sort_entries(struct ordering *ordering)
{
    struct scored_list *result = ordering->result;
    struct entry *entries = allocate(size_product(result->count + 1, sizeof *entries));
    for (size_t i = 0; i < result->count; i++)
        entries[i] = (struct entry){result->items[i], result->values[i]};
    if (result->count > 1)
        qsort(entries, result->count, sizeof *entries, compare_entries);
    for (size_t i = 0; i < result->count; i++) {
        const size_t from = ordering->query->order.descending ? result->count - 1 - i : i;
        result->items[i] = entries[from].scored;
        result->values[i] = entries[from].value;
    }
    free(entries);
    if (result->count > ordering->wanted)
        result->count = (size_t)ordering->wanted;
}

static enum error order_points(struct ordering *ordering, const struct scored_list *among)
{
    struct query_run *run = ordering->run;
    struct ordering *const to = ordering;
    for (size_t i = 0; i < among->count; i++) {
        struct point_row row;
        enum error error = i % STOP_CHECK_STEPS == 0 ? query_check_stop(run) : OK;
        if (error == OK)
            error = view_point(run->view, among->items[i].slot, &row);
        if (error != OK && !query_leave_out(run, error))
            return error;
        if (error != OK || row.payload.bytes == 0)
            continue;
        ordering->slot = among->items[i].slot;
        ordering->id = row.id;
        (void)path_visit(&ordering->query->order.field->path, row.payload, visit_value, &to);
    }
    sort_entries(ordering);
    return OK;
}

enum error query_order_rank(struct query_run *run, const struct query *query,
                            const struct scored_list *among, struct scored_list *result)
{
    struct ordering ordering = {
        .run = run,
        .query = query,
        .wanted =
            query->limit > UINT64_MAX - query->offset ? UINT64_MAX : query->limit + query->offset,
        .result = result,
    };
    return among == NULL ? order_collection(&ordering) : order_points(&ordering, among);
}
