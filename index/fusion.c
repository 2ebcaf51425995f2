/* Every list's contributions are put into one array and sorted by slot; runs of equal slots are
 * summed. No table, no second lookup: a query fuses some thousands at most. */
#include "index/fusion.h"

#include <math.h>
#include <stdlib.h>

struct part {
    const struct scored *from;
    uint32_t list;
    double add;
};

static int compare_parts(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    if (x->from->slot != y->from->slot)
        return x->from->slot < y->from->slot ? -1 : 1;
    return x->list < y->list ? -1 : x->list > y->list;
}

/* -1 when a comes first. */
static int compare_scores(float a, float b)
{
    const bool a_bad = isnan(a), b_bad = isnan(b);
    if (a_bad || b_bad)
        return a_bad - b_bad;
    return a > b ? -1 : a < b;
}

static int compare_larger(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    const int order = compare_scores(x->score, y->score);
    return order != 0 ? order : point_id_compare(&x->id, &y->id);
}

static int compare_smaller(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    const int order = compare_scores(-x->score, -y->score);
    return order != 0 ? order : point_id_compare(&x->id, &y->id);
}

static int compare_ids(const void *a, const void *b)
{
    return point_id_compare(&((const struct scored *)a)->id, &((const struct scored *)b)->id);
}

void scored_sort(struct scored_list *list, bool smaller_is_better)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof *list->items,
              smaller_is_better ? compare_smaller : compare_larger);
}

static size_t count_all(const struct scored_list *lists, size_t list_count)
{
    size_t count = 0;
    for (size_t i = 0; i < list_count; i++)
        count += lists[i].count;
    return count;
}

static struct part *parts_new(const struct scored_list *lists, size_t list_count,
                              struct arena *arena)
{
    return arena_allocate(arena,
                          size_product(count_all(lists, list_count) + 1, sizeof(struct part)));
}

/* Sum up what each slot got; unsorted. */
static void sum_parts(struct part *parts, size_t count, struct arena *arena,
                      struct scored_list *fused)
{
    fused->items = arena_allocate(arena, size_product(count + 1, sizeof *fused->items));
    fused->count = 0;
    fused->values = NULL;
    if (count > 1)
        qsort(parts, count, sizeof *parts, compare_parts);
    for (size_t i = 0; i < count;) {
        const struct scored *first = parts[i].from;
        double sum = 0;
        for (; i < count && parts[i].from->slot == first->slot; i++)
            sum += parts[i].add;
        struct scored *out = &fused->items[fused->count++];
        *out = *first;
        out->score = (float)sum;
    }
}

void fusion_rrf(const struct scored_list *lists, size_t list_count, double k, const float *weights,
                struct arena *arena, struct scored_list *fused)
{
    struct part *parts = parts_new(lists, list_count, arena);
    size_t count = 0;
    for (size_t i = 0; i < list_count; i++) {
        const double weight = weights == NULL ? 1.0 : (double)weights[i];
        for (size_t j = 0; j < lists[i].count; j++) {
            const double rank = ((double)j + 1.0) / weight + k - 1.0;
            parts[count++] =
                (struct part){&lists[i].items[j], (uint32_t)i, weight > 0 ? 1.0 / rank : 0.0};
        }
    }
    sum_parts(parts, count, arena, fused);
    scored_sort(fused, false);
}

/* Mean and sample deviation; false when all scores are equal or there is but one. */
static bool deviation(const struct scored_list *list, double *mean, double *sigma)
{
    double sum = 0, squares = 0;
    for (size_t j = 0; j < list->count; j++)
        sum += (double)list->items[j].score;
    *mean = sum / (double)list->count;
    for (size_t j = 0; j < list->count; j++) {
        const double off = (double)list->items[j].score - *mean;
        squares += off * off;
    }
    *sigma = list->count < 2 ? 0 : sqrt(squares / (double)(list->count - 1));
    return *sigma > 0;
}

/* The mean of equal scores may be off by a rounding, and their deviation with it. */
static bool all_equal(const struct scored_list *list)
{
    for (size_t j = 1; j < list->count; j++) {
        if (list->items[j].score != list->items[0].score)
            return false;
    }
    return true;
}

void fusion_dbsf(const struct scored_list *lists, size_t list_count, struct arena *arena,
                 struct scored_list *fused)
{
    struct part *parts = parts_new(lists, list_count, arena);
    size_t count = 0;
    for (size_t i = 0; i < list_count; i++) {
        double mean = 0, sigma = 1;
        const bool spread =
            lists[i].count > 0 && !all_equal(&lists[i]) && deviation(&lists[i], &mean, &sigma);
        for (size_t j = 0; j < lists[i].count; j++) {
            const double score = (double)lists[i].items[j].score;
            parts[count++] =
                (struct part){&lists[i].items[j], (uint32_t)i,
                              spread ? (score - (mean - 3 * sigma)) / (6 * sigma) : 0.5};
        }
    }
    sum_parts(parts, count, arena, fused);
    scored_sort(fused, false);
}

void fusion_union(const struct scored_list *lists, size_t list_count, struct arena *arena,
                  struct scored_list *all)
{
    struct part *parts = parts_new(lists, list_count, arena);
    size_t count = 0;
    for (size_t i = 0; i < list_count; i++) {
        for (size_t j = 0; j < lists[i].count; j++)
            parts[count++] = (struct part){&lists[i].items[j], (uint32_t)i, 0};
    }
    if (count > 1)
        qsort(parts, count, sizeof *parts, compare_parts);
    all->items = arena_allocate(arena, size_product(count + 1, sizeof *all->items));
    all->count = 0;
    all->values = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || parts[i].from->slot != parts[i - 1].from->slot)
            all->items[all->count++] = *parts[i].from;
    }
    if (all->count > 1)
        qsort(all->items, all->count, sizeof *all->items, compare_ids);
}
