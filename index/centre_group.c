/* Groups of rows that are near each other: placing, taking away, dividing. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "index/centre_table.h"

#define ROOM_STEP 16u /* groups a table's arrays grow by */

/* ---- scratch ---- */

void centre_placing_begin(struct centre_placing *placing, const struct codec *codec)
{
    const size_t floats = ((size_t)codec_dim(codec) + 15) / 16 * 16;
    *placing = (struct centre_placing){
        .codec = codec,
        .query = allocate_aligned((codec_query_bytes(codec) + 63) / 64 * 64),
        .work = allocate_aligned((codec_work_bytes(codec) + 63) / 64 * 64),
        .centre = allocate_aligned(floats * sizeof(float)),
        .rotated = allocate_aligned(floats * sizeof(float)),
        .decoded = allocate_aligned(floats * sizeof(float)),
        .mean = allocate_aligned(floats * sizeof(float)),
        .row = allocate_aligned((codec_centre_bytes(codec) + 63) / 64 * 64),
    };
}

void centre_placing_end(struct centre_placing *placing)
{
    free(placing->query);
    free(placing->work);
    free(placing->centre);
    free(placing->rotated);
    free(placing->decoded);
    free(placing->mean);
    free(placing->row);
    free(placing->scores);
    *placing = (struct centre_placing){0};
}

static float *scores_need(struct centre_placing *placing, size_t count)
{
    if (placing->scores_capacity < count) {
        placing->scores_capacity = 2 * count;
        free(placing->scores);
        placing->scores = allocate(size_product(placing->scores_capacity, sizeof(float)));
    }
    return placing->scores;
}

/* ---- groups ---- */

static size_t group_bytes(const struct codec *codec)
{
    const size_t bytes = sizeof(struct centre_group) + CENTRE_GROUP * codec_centre_bytes(codec);
    return (bytes + 63) / 64 * 64;
}

static struct centre_group *group_new(const struct codec *codec, const struct centre_group *from)
{
    struct centre_group *group = allocate_aligned(group_bytes(codec));
    memset(group, 0, group_bytes(codec));
    if (from != NULL) {
        group->count = from->count;
        memcpy(group->indexes, from->indexes, sizeof group->indexes);
        memcpy(group->squares, from->squares, sizeof group->squares);
        memcpy(group->rows, from->rows, from->count * codec_centre_bytes(codec));
    }
    atomic_init(&group->references, 1);
    return group;
}

static void group_release(struct centre_group *group)
{
    if (atomic_fetch_sub(&group->references, 1) == 1) {
        free(group);
    }
}

/* A group of the table that may be changed. */
static struct centre_group *group_own(struct centre_table *table, const struct codec *codec,
                                      uint32_t number)
{
    struct centre_group **group = &table->groups[number];
    if (atomic_load(&(*group)->references) > 1) {
        struct centre_group *own = group_new(codec, *group);
        group_release(*group);
        *group = own;
    }
    return *group;
}

/* Room for arrays of groups that hold `count` of them. */
static size_t room_for(size_t count)
{
    return (count + ROOM_STEP) / ROOM_STEP * ROOM_STEP;
}

void centre_groups_share(struct centre_table *table, const struct codec *codec,
                         const struct centre_table *from)
{
    const size_t row = codec_centre_bytes(codec), room = room_for(from->group_count);
    table->group_count = from->group_count;
    table->groups = allocate(size_product(room, sizeof(struct centre_group *)));
    table->heads = allocate(size_product(room, row));
    for (uint32_t i = 0; i < from->group_count; i++) {
        table->groups[i] = from->groups[i];
        atomic_fetch_add(&table->groups[i]->references, 1);
    }
    if (from->group_count > 0) {
        memcpy(table->heads, from->heads, from->group_count * row);
    }
}

void centre_groups_release(struct centre_table *table)
{
    for (uint32_t i = 0; i < table->group_count; i++) {
        group_release(table->groups[i]);
    }
    free(table->groups);
    free(table->heads);
}

static uint8_t *row_at(const struct codec *codec, struct centre_group *group, size_t i)
{
    return group->rows + i * codec_centre_bytes(codec);
}

/* An empty group behind the others. */
static uint32_t group_add(struct centre_table *table, const struct codec *codec)
{
    const size_t row = codec_centre_bytes(codec);
    if (table->group_count % ROOM_STEP == 0) {
        const size_t room = room_for(table->group_count);
        table->groups = grow(table->groups, size_product(room, sizeof(struct centre_group *)));
        table->heads = grow(table->heads, size_product(room, row));
    }
    table->groups[table->group_count] = group_new(codec, NULL);
    return table->group_count++;
}

static void group_append(struct centre_table *table, const struct codec *codec, uint32_t number,
                         uint32_t index, const uint8_t *row, float square)
{
    struct centre_group *group = group_own(table, codec, number);
    assert(group->count < CENTRE_GROUP);
    memcpy(row_at(codec, group, group->count), row, codec_centre_bytes(codec));
    group->indexes[group->count] = index;
    group->squares[group->count] = square;
    table->places[index] = number * CENTRE_GROUP + group->count++;
}

/* The last group takes the place of one that has become empty. */
static void group_remove(struct centre_table *table, const struct codec *codec, uint32_t number)
{
    const size_t row = codec_centre_bytes(codec);
    const uint32_t last = --table->group_count;
    group_release(table->groups[number]);
    if (number != last) {
        struct centre_group *moved = table->groups[last];
        table->groups[number] = moved;
        memcpy(table->heads + number * row, table->heads + last * row, row);
        for (uint32_t i = 0; i < moved->count; i++) {
            table->places[moved->indexes[i]] = number * CENTRE_GROUP + i;
        }
    }
}

void centre_table_displace(struct centre_table *table, const struct codec *codec, uint32_t index)
{
    const uint32_t number = table->places[index] / CENTRE_GROUP;
    const uint32_t i = table->places[index] % CENTRE_GROUP;
    struct centre_group *group = group_own(table, codec, number);
    assert(group->indexes[i] == index);
    const uint32_t last = --group->count;
    if (last == 0) {
        group_remove(table, codec, number);
    } else if (i != last) {
        memcpy(row_at(codec, group, i), row_at(codec, group, last), codec_centre_bytes(codec));
        group->indexes[i] = group->indexes[last];
        group->squares[i] = group->squares[last];
        table->places[group->indexes[i]] = number * CENTRE_GROUP + i;
    }
}

/* ---- dividing ---- */

/* The group's distances to one of its rows. */
static void distances_to(struct centre_placing *placing, struct centre_group *group, size_t i,
                         float *distances)
{
    codec_centre_decode(placing->codec, row_at(placing->codec, group, i), placing->decoded);
    codec_query_init_centres(placing->codec, placing->decoded, placing->query);
    codec_score_centres(placing->codec, placing->query, group->rows, group->count, NULL, distances);
}

static size_t farthest(const float *distances, size_t count)
{
    size_t most = 0;
    for (size_t i = 1; i < count; i++) {
        most = distances[i] > distances[most] ? i : most;
    }
    return most;
}

/* The mean of a group's rows as its head. */
static void head_make(struct centre_table *table, struct centre_placing *placing, uint32_t number)
{
    const struct codec *codec = placing->codec;
    const uint32_t dim = codec_dim(codec);
    struct centre_group *group = table->groups[number];
    float *mean = placing->mean, *one = placing->decoded;
    memset(mean, 0, dim * sizeof *mean);
    for (size_t i = 0; i < group->count; i++) {
        codec_centre_decode(codec, row_at(codec, group, i), one);
        for (uint32_t j = 0; j < dim; j++) {
            mean[j] += one[j] / (float)group->count;
        }
    }
    codec_centre_encode(codec, mean, table->heads + number * codec_centre_bytes(codec));
}

struct side {
    float nearer; /* to the first of the two, by so much */
    uint32_t i;
};

static int compare_sides(const void *a, const void *b)
{
    const struct side *x = a, *y = b;
    return x->nearer != y->nearer ? (x->nearer > y->nearer ? -1 : 1)
                                  : (x->i > y->i) - (x->i < y->i);
}

/* By two rows that are far apart; each side gets at least a quarter. */
static void group_divide(struct centre_table *table, struct centre_placing *placing,
                         uint32_t number)
{
    const struct codec *codec = placing->codec;
    struct centre_group *whole = group_own(table, codec, number);
    const uint32_t count = whole->count;
    float from[CENTRE_GROUP] = {0}, to[CENTRE_GROUP] = {0};
    struct side sides[CENTRE_GROUP] = {{0}};
    distances_to(placing, whole, 0, from);
    const size_t first = farthest(from, count);
    distances_to(placing, whole, first, from);
    distances_to(placing, whole, farthest(from, count), to);
    uint32_t cut = 0;
    for (uint32_t i = 0; i < count; i++) {
        const float nearer = to[i] - from[i];
        sides[i] = (struct side){isnan(nearer) ? 0.0f : nearer, i};
        cut += sides[i].nearer > 0.0f;
    }
    qsort(sides, count, sizeof *sides, compare_sides);
    cut = cut < count / 4 ? count / 4 : cut > count - count / 4 ? count - count / 4 : cut;
    const uint32_t other = group_add(table, codec);
    table->groups[number] = group_new(codec, NULL);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t at = sides[i].i;
        group_append(table, codec, i < cut ? number : other, whole->indexes[at],
                     row_at(codec, whole, at), whole->squares[at]);
    }
    group_release(whole);
    head_make(table, placing, number);
    head_make(table, placing, other);
}

/* ---- placing ---- */

/* By heads, of the centre in `rotated`. */
static uint32_t nearest_group(const struct centre_table *table, struct centre_placing *placing)
{
    float *scores = scores_need(placing, table->group_count);
    codec_query_init_centres(placing->codec, placing->rotated, placing->query);
    codec_score_centres(placing->codec, placing->query, table->heads, table->group_count, NULL,
                        scores);
    uint32_t nearest = 0;
    for (uint32_t i = 1; i < table->group_count; i++) {
        nearest = scores[i] < scores[nearest] ? i : nearest;
    }
    return nearest;
}

void centre_table_place(struct centre_table *table, struct centre_placing *placing, uint32_t index,
                        const uint8_t *centre)
{
    const struct codec *codec = placing->codec;
    const uint32_t dim = codec_dim(codec);
    double square = 0.0;
    memcpy(placing->centre, centre, dim * sizeof *placing->centre);
    for (uint32_t j = 0; j < dim; j++) {
        square += (double)placing->centre[j] * (double)placing->centre[j];
    }
    codec_rotate(codec, placing->centre, placing->rotated, placing->work);
    codec_centre_encode(codec, placing->rotated, placing->row);
    uint32_t number;
    if (table->group_count == 0) {
        number = group_add(table, codec);
        memcpy(table->heads, placing->row, codec_centre_bytes(codec));
    } else {
        number = nearest_group(table, placing);
        /* Heads move when a group is divided: the nearest may be another full one. */
        while (table->groups[number]->count == CENTRE_GROUP) {
            group_divide(table, placing, number);
            number = nearest_group(table, placing);
        }
    }
    group_append(table, codec, number, index, placing->row, (float)square);
}
