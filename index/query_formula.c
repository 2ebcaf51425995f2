/* Scoring the union of some lists by a formula. */
#include <stdlib.h>

#include "index/datetime.h"
#include "index/filter_text.h"
#include "index/query_scan.h"

/* Slots of a list in order, to find a point's score. */
struct column {
    struct scored *items; /* ascending by slot */
    size_t count;
};

struct formula_run {
    struct query_run *run;
    const struct query_formula *formula;
    struct filter_texts *texts; /* of each condition */
    struct column *columns;
    size_t column_count;
    /* the point */
    uint64_t slot;
    struct point_row row;
};

static int compare_slots(const void *a, const void *b)
{
    const uint64_t x = ((const struct scored *)a)->slot, y = ((const struct scored *)b)->slot;
    return x < y ? -1 : x > y;
}

static bool score_in(void *context, uint32_t list, double *score)
{
    const struct formula_run *formula = context;
    if (list >= formula->column_count || formula->columns[list].count == 0)
        return false;
    const struct column *column = &formula->columns[list];
    const struct scored wanted = {.slot = formula->slot};
    const struct scored *found =
        bsearch(&wanted, column->items, column->count, sizeof wanted, compare_slots);
    if (found != NULL)
        *score = (double)found->score;
    return found != NULL;
}

/* ---- payload values ---- */

struct found {
    struct span first;
    size_t count;
};

/* An array at the end of a path stands for its elements. Two values are as good as many. */
static bool note_value(const void *context, struct span value)
{
    struct found *const *found = context;
    if (value_kind(value) != VALUE_ARRAY) {
        if ((*found)->count++ == 0)
            (*found)->first = value;
        return (*found)->count > 1;
    }
    struct value_cursor cursor;
    struct span key, element;
    value_walk(value, &cursor);
    while ((*found)->count < 2 && value_next(&cursor, &key, &element)) {
        if ((*found)->count++ == 0)
            (*found)->first = element;
    }
    return (*found)->count > 1;
}

static size_t values_at(void *context, uint32_t variable, struct span *first)
{
    const struct formula_run *formula = context;
    struct found found = {0};
    struct found *const to = &found;
    if (formula->row.payload.bytes > 0)
        (void)path_visit(&formula->formula->paths[variable], formula->row.payload, note_value, &to);
    *first = found.first;
    return found.count;
}

static bool condition_holds(void *context, uint32_t condition)
{
    const struct formula_run *formula = context;
    return filter_matches_texts(formula->formula->conditions[condition],
                                collection_settings(formula->run->collection),
                                &formula->texts[condition], &formula->row);
}

static bool seconds_of(struct span text, double *seconds)
{
    int64_t microseconds;
    if (!datetime_parse(text, &microseconds))
        return false;
    *seconds = (double)microseconds / 1e6;
    return true;
}

/* ---- all points ---- */

static enum error score_point(struct formula_run *formula, const struct formula_point *point,
                              struct scored *scored)
{
    struct query_run *run = formula->run;
    const enum error error = view_point(run->view, scored->slot, &formula->row);
    if (error != OK)
        return error;
    formula->slot = scored->slot;
    if (formula_score(formula->formula->root, formula->formula->variables, point, run->arena,
                      &scored->score, &run->why))
        return OK;
    return ERROR_INVALID;
}

/* A condition on a text means here what it means in a filter. */
static enum error bind_texts(struct formula_run *formula)
{
    const struct query_formula *source = formula->formula;
    struct arena *arena = formula->run->arena;
    struct field_list fields;
    if (source->condition_count == 0)
        return OK;
    formula->texts =
        arena_allocate(arena, size_product(source->condition_count, sizeof *formula->texts));
    const enum error error = view_fields(formula->run->view, arena, &fields);
    for (size_t i = 0; i < source->condition_count && error == OK; i++)
        filter_texts_bind(source->conditions[i], &fields, arena, &formula->texts[i]);
    return error;
}

static void make_columns(struct formula_run *formula, const struct scored_list *lists)
{
    struct arena *arena = formula->run->arena;
    formula->columns =
        arena_allocate(arena, size_product(formula->column_count, sizeof *formula->columns));
    for (size_t i = 0; i < formula->column_count; i++) {
        struct column *column = &formula->columns[i];
        column->count = lists[i].count;
        column->items = lists[i].items;
        if (column->count > 1) {
            column->items = arena_copy(arena, lists[i].items,
                                       size_product(column->count, sizeof(struct scored)));
            qsort(column->items, column->count, sizeof(struct scored), compare_slots);
        }
    }
}

enum error query_formula_rank(struct query_run *run, const struct query *query,
                              const struct scored_list *lists, struct scored_list *result)
{
    struct formula_run formula = {
        .run = run, .formula = query->formula, .column_count = query->prefetch_count};
    const struct formula_point point = {&formula, score_in, values_at, condition_holds, seconds_of};
    size_t kept = 0;
    const enum error bound = bind_texts(&formula);
    if (bound != OK)
        return bound;
    make_columns(&formula, lists);
    fusion_union(lists, query->prefetch_count, run->arena, result);
    for (size_t i = 0; i < result->count; i++) {
        struct scored scored = result->items[i];
        enum error error = query_check_stop(run);
        if (error == OK)
            error = score_point(&formula, &point, &scored);
        if (error == OK)
            result->items[kept++] = scored;
        else if (!query_leave_out(run, error))
            return error;
    }
    result->count = kept;
    scored_sort(result, false);
    return OK;
}
