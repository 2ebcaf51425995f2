/* Queries against a table of centres: which partitions are near. */
#include <assert.h>
#include <math.h>

#include "index/centre_table.h"

/* Up to so many partitions all are looked at: a microsecond for each 400 of 100 dims. One that is
 * not looked at costs recall, which the learnt table does not know of, and of clustered centres the
 * heads hide one in 40 of the nearest when a fifth is looked at. */
#define FLAT_MAX 32768u
/* Above, the groups that are near are, until they hold so many times what is wanted, and so many in
 * any case. */
#define WANTED_TIMES 32u
#define LOOKED_AT_MIN 2048u
#define SORT_FIRST 16u
#define INSERTION_MAX 16u
/* How far above its centre's inner product a partition's points are taken to reach, in radii across
 * one direction: 3 halves what 1 and 2 read for a recall of .99 (raw GloVe). */
#define REACH_FACTOR 3.0f

void centre_query_release(struct centre_query *query)
{
    scratch_release(&query->scores);
    scratch_release(&query->keys);
    scratch_release(&query->groups);
    scratch_release(&query->rotated);
    scratch_release(&query->work);
    scratch_release(&query->own);
}

/* ---- keys: larger is sooner; the value's order above, the smaller index first below ---- */

static uint64_t key_of(float value, uint32_t index)
{
    uint32_t bits;
    value = isnan(value) ? INFINITY : value;
    memcpy(&bits, &value, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~index;
}

static float value_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float value;
    bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t index_of(uint64_t key)
{
    return ~(uint32_t)key;
}

/* Bring the `wanted` first of keys[count] to the front, in any order (Hoare's FIND). */
static void select_first(uint64_t *keys, size_t count, size_t wanted)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)count - 1;
    const ptrdiff_t last = (ptrdiff_t)wanted - 1;
    while (low < high) {
        const uint64_t pivot = keys[last];
        ptrdiff_t i = low, j = high;
        do {
            while (keys[i] > pivot) {
                i++;
            }
            while (pivot > keys[j]) {
                j--;
            }
            if (i <= j) {
                const uint64_t moved = keys[i];
                keys[i++] = keys[j];
                keys[j--] = moved;
            }
        } while (i <= j);
        low = j < last ? i : low;
        high = last < i ? j : high;
    }
}

static void insertion_sort(uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const uint64_t moved = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] < moved; j--) {
            keys[j] = keys[j - 1];
        }
        keys[j] = moved;
    }
}

/* Halves by rank, so that the depth is bounded whatever the keys. */
static void sort_keys(uint64_t *keys, size_t count)
{
    while (count > INSERTION_MAX) {
        const size_t half = count / 2;
        select_first(keys, count, half);
        sort_keys(keys, half);
        keys += half;
        count -= half;
    }
    insertion_sort(keys, count);
}

/* ---- looking ---- */

struct look {
    const struct codec *codec;
    const struct codec_query *of;
    const struct centre_table *table;
    bool by_product;
    float reach; /* by product: what a radius adds */
    float *scores;
    uint64_t *next;
};

static void look_at(struct look *look, uint32_t number)
{
    const struct centre_group *group = look->table->groups[number];
    float *scores = look->scores;
    codec_score_centres(look->codec, look->of, group->rows, group->count,
                        look->by_product ? scores : NULL, look->by_product ? NULL : scores);
    for (uint32_t i = 0; i < group->count; i++) {
        const uint32_t index = group->indexes[i];
        const float value = look->by_product
                                ? scores[i] + look->reach * look->table->entries[index].radius
                                : -scores[i];
        *look->next++ = key_of(value, index);
    }
}

static void look_at_all(struct look *look)
{
    for (uint32_t i = 0; i < look->table->group_count; i++) {
        look_at(look, i);
    }
}

/* The groups whose centres are nearest, until they hold enough. */
static void look_at_near(struct centre_query *query, struct look *look, size_t enough)
{
    const struct centre_table *table = look->table;
    const size_t count = table->group_count;
    uint64_t *keys = scratch_need(&query->groups, size_product(count, sizeof *keys));
    codec_score_centres(look->codec, look->of, table->heads, count, NULL, look->scores);
    for (size_t i = 0; i < count; i++) {
        keys[i] = key_of(-look->scores[i], (uint32_t)i);
    }
    size_t sorted = 0, seen = 0;
    for (size_t i = 0; i < count && seen < enough; i++) {
        if (i == sorted) {
            const size_t left = count - sorted;
            const size_t take = left < SORT_FIRST ? left : SORT_FIRST;
            select_first(keys + sorted, left, take);
            sort_keys(keys + sorted, take);
            sorted += take;
        }
        const uint32_t number = index_of(keys[i]);
        seen += table->groups[number]->count;
        look_at(look, number);
    }
}

void centre_query_run(struct centre_query *query, const struct codec *codec,
                      const struct codec_query *of, const float *vector, enum metric metric,
                      const struct centre_table *table, size_t wanted)
{
    const size_t most = table->group_count > CENTRE_GROUP ? table->group_count : CENTRE_GROUP;
    struct look look = {
        .codec = codec,
        .of = of,
        .table = table,
        .by_product = metric == METRIC_DOT,
        .scores = scratch_need(&query->scores, size_product(most, sizeof(float))),
        .next = scratch_need(&query->keys, size_product((size_t)table->live + 1, sizeof(uint64_t))),
    };
    query->by_product = look.by_product;
    if (look.by_product) {
        query->norm = sqrtf(codec_key(codec, METRIC_DOT, vector, vector));
        look.reach = REACH_FACTOR * query->norm / sqrtf((float)codec_dim(codec));
    }
    query->keys_in_order = look.next;
    const size_t flat_max = query->flat_max > 0 ? query->flat_max : FLAT_MAX;
    const bool few = wanted < table->live / WANTED_TIMES;
    if (!few || table->live <= flat_max || look.by_product) {
        look_at_all(&look);
    } else {
        const size_t enough = wanted * WANTED_TIMES;
        look_at_near(query, &look, enough < LOOKED_AT_MIN ? LOOKED_AT_MIN : enough);
    }
    query->count = (size_t)(look.next - query->keys_in_order);
    query->sorted = 0;
}

void centre_query_run_alone(struct centre_query *query, const struct codec *codec,
                            const float *vector, enum metric metric,
                            const struct centre_table *table, size_t wanted)
{
    float *rotated = scratch_need(&query->rotated, codec_dim(codec) * sizeof *rotated);
    void *work = scratch_need(&query->work, codec_work_bytes(codec));
    struct codec_query *own = scratch_need(&query->own, codec_query_bytes(codec));
    codec_rotate(codec, vector, rotated, work);
    codec_query_init_centres(codec, rotated, own);
    centre_query_run(query, codec, own, vector, metric, table, wanted);
}

uint32_t centre_query_at(struct centre_query *query, size_t i)
{
    assert(i < query->count);
    while (i >= query->sorted) {
        const size_t left = query->count - query->sorted;
        size_t take = query->sorted == 0 ? SORT_FIRST : query->sorted;
        take = take < left ? take : left;
        uint64_t *from = query->keys_in_order + query->sorted;
        if (take < left) {
            select_first(from, left, take);
        }
        sort_keys(from, take);
        query->sorted += take;
    }
    return index_of(query->keys_in_order[i]);
}

double centre_query_distance(struct centre_query *query, size_t i)
{
    (void)centre_query_at(query, i); /* sorts so far */
    const double value = (double)value_of(query->keys_in_order[i]);
    double distance = sqrt(fmax(-value, 0.0));
    if (query->by_product) {
        distance = query->norm > 0.0f ? -value / (double)query->norm : 0.0;
    }
    return isfinite(distance) ? distance : 0.0;
}
