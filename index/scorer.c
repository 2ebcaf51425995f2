#include "index/scorer.h"

#include "index/recommend.h"

void scorer_begin(struct scorer *scorer, const struct query_run *run, uint16_t vector_number)
{
    const struct vector_settings *settings =
        &collection_settings(run->collection)->vectors[vector_number];
    *scorer = (struct scorer){
        .codec = collection_codec(run->collection, vector_number),
        .metric = settings->metric,
        .view = run->view,
        .vector_number = vector_number,
        .dim = settings->dim,
        .row = arena_allocate(run->arena, size_product(settings->dim + 1, sizeof(float))),
        .kept = arena_allocate(run->arena, size_product(settings->dim + 1, sizeof(float))),
    };
}

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

enum error scorer_keys(struct scorer *scorer, uint64_t slot, const struct query_vector *vectors,
                       size_t count, float *keys)
{
    const enum error error = load_row(scorer, slot);
    if (error != OK)
        return error;
    for (size_t i = 0; i < count; i++)
        keys[i] = codec_key(scorer->codec, scorer->metric, vectors[i].floats, scorer->row);
    return OK;
}

enum error scorer_vector(struct scorer *scorer, uint64_t slot, struct query_vector *vector)
{
    const enum error error = load_row(scorer, slot);
    if (error != OK)
        return error;
    memcpy(scorer->kept, scorer->row, scorer->dim * sizeof(float));
    *vector = (struct query_vector){
        .kind = VECTOR_DENSE, .floats = scorer->kept, .count = 1, .dim = scorer->dim};
    return OK;
}

void scorer_average(const struct query_run *run, const struct query *query,
                    struct query_vector *vector)
{
    const uint32_t dim = query->vectors[0].dim;
    const float **floats =
        arena_allocate(run->arena, size_product(query->vector_count, sizeof *floats));
    float *out = arena_allocate(run->arena, size_product(dim, sizeof *out));
    for (size_t i = 0; i < query->vector_count; i++)
        floats[i] = query->vectors[i].floats;
    recommend_average(floats, query->positive_count, floats + query->positive_count,
                      query->vector_count - query->positive_count, dim, out);
    if (collection_settings(run->collection)->vectors[query->vector_number].metric == METRIC_COSINE)
        codec_normalise(collection_codec(run->collection, query->vector_number), out);
    *vector = (struct query_vector){.kind = VECTOR_DENSE, .floats = out, .count = 1, .dim = dim};
}

enum error query_vector_load(const struct collection *collection, const struct view *view,
                             uint16_t number, uint64_t slot, struct arena *arena,
                             struct query_vector *vector)
{
    const uint32_t dim = collection_settings(collection)->vectors[number].dim;
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
