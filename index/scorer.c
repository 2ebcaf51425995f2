#include "index/scorer.h"

#include <math.h>
#include <stdlib.h>

#include "index/multi.h"
#include "index/recommend.h"
#include "index/sparse.h"

void scorer_begin(struct scorer *scorer, const struct query_run *run, uint16_t vector_number)
{
    const struct vector_settings *settings =
        &collection_settings(run->collection)->vectors[vector_number];
    *scorer = (struct scorer){
        .collection = run->collection,
        .kind = settings->kind,
        .codec = collection_codec(run->collection, vector_number),
        .metric = settings->metric,
        .view = run->view,
        .vector_number = vector_number,
        .dim = settings->dim,
        .row = arena_allocate(run->arena, size_product(settings->dim + 1, sizeof(float))),
    };
}

/* ---- stored vectors ---- */

static enum error load_row(struct scorer *scorer, uint64_t slot)
{
    struct vector_row stored;
    enum error error = view_vector(scorer->view, scorer->vector_number, slot, &stored);
    if (error == OK)
        error = vector_row_check(scorer->view, scorer->vector_number, &stored);
    if (error == OK)
        memcpy(scorer->row, stored.vector, scorer->dim * sizeof(float));
    return error;
}

static enum error load_stored(const struct scorer *scorer, uint64_t slot,
                              struct stored_vector *stored)
{
    const enum error error = view_stored(scorer->view, scorer->vector_number, slot, stored);
    const bool fits = error != OK || (stored->dim == scorer->dim &&
                                      (stored->count > 0 || scorer->kind == VECTOR_SPARSE));
    return fits ? error : ERROR_CORRUPT;
}

/* ---- keys ---- */

static enum error sparse_keys(struct scorer *scorer, uint64_t slot,
                              const struct query_vector *vectors, size_t count, float *keys)
{
    struct stored_vector stored;
    const enum error error = load_stored(scorer, slot, &stored);
    bool any = false;
    for (size_t i = 0; i < count && error == OK; i++) {
        const struct sparse_query query = {vectors[i].indices, vectors[i].floats, vectors[i].count};
        bool overlap;
        keys[i] = sparse_dot(&query, &stored, &overlap);
        any |= overlap;
    }
    return error == OK && scorer->needs_overlap && !any ? ERROR_NOT_FOUND : error;
}

static enum error multi_keys(struct scorer *scorer, uint64_t slot,
                             const struct query_vector *vectors, size_t count, float *keys)
{
    struct stored_vector stored;
    const enum error error = load_stored(scorer, slot, &stored);
    for (size_t i = 0; i < count && error == OK; i++) {
        const struct multi_query query = {vectors[i].floats, vectors[i].count, scorer->dim};
        keys[i] = multi_key(scorer->codec, scorer->metric, &query, &stored, scorer->row);
    }
    return error;
}

enum error scorer_keys(struct scorer *scorer, uint64_t slot, const struct query_vector *vectors,
                       size_t count, float *keys)
{
    if (scorer->kind == VECTOR_SPARSE)
        return sparse_keys(scorer, slot, vectors, count, keys);
    if (scorer->kind == VECTOR_MULTI)
        return multi_keys(scorer, slot, vectors, count, keys);
    const enum error error = load_row(scorer, slot);
    if (error != OK)
        return error;
    for (size_t i = 0; i < count; i++)
        keys[i] = codec_key(scorer->codec, scorer->metric, vectors[i].floats, scorer->row);
    return OK;
}

enum error scorer_weigh(const struct scorer *scorer, const struct query_run *run,
                        const struct query_vector *vectors, size_t count,
                        const struct query_vector **weighed)
{
    *weighed = vectors;
    if (!collection_settings(run->collection)->vectors[scorer->vector_number].idf)
        return OK;
    struct query_vector *copies =
        arena_allocate(run->arena, size_product(count + 1, sizeof *copies));
    enum error error = OK;
    for (size_t i = 0; i < count && error == OK; i++) {
        float *weights =
            arena_allocate(run->arena, size_product(vectors[i].count + 1, sizeof *weights));
        copies[i] = vectors[i];
        copies[i].floats = weights;
        error = sparse_weigh(run->collection, run->view, scorer->vector_number, vectors[i].indices,
                             vectors[i].floats, vectors[i].count, NULL, NULL, weights);
    }
    *weighed = copies;
    return error;
}

/* ---- a point's own vector ---- */

static void copy_stored(const struct stored_vector *stored, uint32_t dim, struct arena *arena,
                        struct query_vector *vector)
{
    const size_t count = stored->count;
    *vector = (struct query_vector){
        .kind = dim == 0 ? VECTOR_SPARSE : VECTOR_MULTI, .count = count, .dim = dim};
    if (dim > 0) {
        vector->floats = arena_copy(arena, stored->data, stored_data_bytes(stored));
        return;
    }
    vector->indices = arena_copy(arena, stored->data, count * 4);
    vector->floats = arena_copy(arena, stored->data + count * 4, count * 4);
}

enum error query_vector_load(const struct collection *collection, const struct view *view,
                             uint16_t number, uint64_t slot, struct arena *arena,
                             struct query_vector *vector)
{
    const struct vector_settings *settings = &collection_settings(collection)->vectors[number];
    const uint32_t dim = settings->dim;
    if (settings->kind != VECTOR_DENSE) {
        const struct scorer scorer = {
            .kind = settings->kind, .view = view, .vector_number = number, .dim = dim};
        struct stored_vector stored;
        const enum error error = load_stored(&scorer, slot, &stored);
        if (error == OK)
            copy_stored(&stored, dim, arena, vector);
        return error;
    }
    struct vector_row stored;
    enum error error = view_vector(view, number, slot, &stored);
    if (error == OK)
        error = vector_row_check(view, number, &stored);
    if (error != OK)
        return error;
    *vector = (struct query_vector){
        .kind = VECTOR_DENSE,
        .floats = arena_copy(arena, stored.vector, dim * sizeof(float)),
        .count = 1,
        .dim = dim,
    };
    return OK;
}

enum error scorer_vector(struct scorer *scorer, uint64_t slot, struct query_vector *vector)
{
    arena_release(&scorer->kept);
    return query_vector_load(scorer->collection, scorer->view, scorer->vector_number, slot,
                             &scorer->kept, vector);
}

void scorer_end(struct scorer *scorer)
{
    arena_release(&scorer->kept);
}

/* ---- the average strategy ---- */

static void average(const struct query *query, const float *const *floats, size_t dim, float *out)
{
    recommend_average(floats, query->positive_count, floats + query->positive_count,
                      query->vector_count - query->positive_count, dim, out);
}

static int compare_indices(const void *a, const void *b)
{
    const uint32_t x = load32(a), y = load32(b);
    return x < y ? -1 : x > y;
}

/* All indices of the query's vectors, ascending. */
static uint32_t *all_indices(const struct query_run *run, const struct query *query, size_t *count)
{
    size_t total = 0;
    for (size_t i = 0; i < query->vector_count; i++)
        total += query->vectors[i].count;
    uint32_t *indices = arena_allocate(run->arena, size_product(total + 1, sizeof *indices));
    size_t next = 0;
    for (size_t i = 0; i < query->vector_count; i++) {
        if (query->vectors[i].count > 0)
            memcpy(indices + next, query->vectors[i].indices,
                   query->vectors[i].count * sizeof *indices);
        next += query->vectors[i].count;
    }
    if (total > 0)
        qsort(indices, total, sizeof *indices, compare_indices);
    *count = 0;
    for (size_t i = 0; i < total; i++) {
        if (*count == 0 || indices[*count - 1] != indices[i])
            indices[(*count)++] = indices[i];
    }
    return indices;
}

/* The mean of sparse vectors: dense ones over the indices that any of them has. */
static void sparse_average(const struct query_run *run, const struct query *query,
                           struct query_vector *vector)
{
    size_t count;
    uint32_t *indices = all_indices(run, query, &count);
    const float **rows =
        arena_allocate(run->arena, size_product(query->vector_count, sizeof *rows));
    float *out = arena_allocate(run->arena, size_product(count + 1, sizeof *out));
    for (size_t i = 0; i < query->vector_count; i++) {
        const struct query_vector *from = &query->vectors[i];
        float *row = arena_allocate(run->arena, size_product(count + 1, sizeof *row));
        for (size_t at = 0, next = 0; at < count; at++)
            row[at] = next < from->count && from->indices[next] == indices[at]
                          ? from->floats[next++]
                          : 0.0f;
        rows[i] = row;
    }
    average(query, rows, count, out);
    *vector = (struct query_vector){
        .kind = VECTOR_SPARSE, .floats = out, .indices = indices, .count = count};
}

/* Of multivectors: the rows of all, those of the negatives turned around. */
static void multi_average(const struct query_run *run, const struct query *query, uint32_t dim,
                          struct query_vector *vector)
{
    size_t count = 0;
    for (size_t i = 0; i < query->vector_count; i++)
        count += query->vectors[i].count;
    float *rows = arena_allocate(run->arena, size_product(count * dim + 1, sizeof *rows));
    size_t next = 0;
    for (size_t i = 0; i < query->vector_count; i++) {
        const float sign = i < query->positive_count ? 1.0f : -1.0f;
        for (size_t j = 0; j < query->vectors[i].count * dim; j++)
            rows[next++] = sign * query->vectors[i].floats[j];
    }
    *vector =
        (struct query_vector){.kind = VECTOR_MULTI, .floats = rows, .count = count, .dim = dim};
}

void scorer_average(const struct query_run *run, const struct query *query,
                    struct query_vector *vector)
{
    const struct vector_settings *settings =
        &collection_settings(run->collection)->vectors[query->vector_number];
    const struct codec *codec = collection_codec(run->collection, query->vector_number);
    const uint32_t dim = settings->dim;
    if (settings->kind == VECTOR_SPARSE) {
        sparse_average(run, query, vector);
        return;
    }
    if (settings->kind == VECTOR_MULTI) {
        multi_average(run, query, dim, vector);
    } else {
        const float **floats =
            arena_allocate(run->arena, size_product(query->vector_count, sizeof *floats));
        for (size_t i = 0; i < query->vector_count; i++)
            floats[i] = query->vectors[i].floats;
        float *out = arena_allocate(run->arena, size_product(dim, sizeof *out));
        average(query, floats, dim, out);
        *vector =
            (struct query_vector){.kind = VECTOR_DENSE, .floats = out, .count = 1, .dim = dim};
    }
    float *rows = arena_copy(run->arena, vector->floats, vector->count * dim * sizeof(float));
    for (size_t i = 0; i < vector->count && settings->metric == METRIC_COSINE; i++)
        codec_normalise(codec, rows + i * dim);
    vector->floats = rows;
}
