#include "index/sparse.h"

#include <math.h>
#include <stdlib.h>

float sparse_dot(const struct sparse_query *query, const struct stored_vector *stored,
                 bool *overlap)
{
    const uint8_t *indices = stored->data, *values = stored->data + (size_t)stored->count * 4;
    size_t i = 0, j = 0;
    float sum = 0;
    *overlap = false;
    while (i < query->count && j < stored->count) {
        const uint32_t a = query->indices[i], b = load32(indices + 4 * j);
        if (a == b) {
            sum += query->weights[i++] * load_float(values + 4 * j++);
            *overlap = true;
        } else if (a < b) {
            i++;
        } else {
            j++;
        }
    }
    return sum;
}

/* ---- how many live points have each of some indices ---- */

struct census {
    const struct view *view;
    const uint32_t *indices;
    uint64_t *counts;
    size_t count;
    bool any_dead;
    enum error (*stop)(void *context);
    void *context;
    uint64_t looked;
};

static enum error census_stop(struct census *census)
{
    return census->stop != NULL && ++census->looked % 1024 == 0 ? census->stop(census->context)
                                                                : OK;
}

static enum error count_tail(void *context, uint64_t slot, const struct stored_vector *stored,
                             enum error error)
{
    struct census *census = context;
    (void)slot;
    size_t i = 0, j = 0;
    while (error == OK && i < census->count && j < stored->count) {
        const uint32_t a = census->indices[i], b = load32(stored->data + 4 * j);
        census->counts[i] += a == b;
        i += a <= b;
        j += b <= a;
    }
    return census_stop(census);
}

static uint64_t count_chunk(const struct census *census, const struct list_chunk *chunk)
{
    if (!census->any_dead) {
        return chunk->count;
    }
    uint64_t live = 0;
    for (size_t i = 0; i < chunk->count; i++) {
        live += !view_is_dead(census->view, list_slot(chunk, i));
    }
    return live;
}

static enum error count_list(struct census *census, struct list_reader *reader, uint16_t vector,
                             size_t i)
{
    uint64_t slot = 0;
    for (;;) {
        struct list_chunk chunk;
        enum error error = lists_find(reader, vector, census->indices[i], slot, &chunk);
        if (error != OK && error != ERROR_CORRUPT) {
            return error == ERROR_NOT_FOUND ? OK : error;
        }
        if (chunk.index != census->indices[i]) {
            return OK;
        }
        slot = chunk.first_slot + 1;
        if (error == OK) {
            slot = list_slot(&chunk, chunk.count - 1) + 1;
            census->counts[i] += count_chunk(census, &chunk);
        }
        error = census_stop(census);
        if (error != OK) {
            return error;
        }
    }
}

static enum error take_census(struct census *census, uint16_t vector)
{
    struct list_reader reader;
    enum error error = view_lists_open(census->view, &reader);
    for (size_t i = 0; i < census->count && error == OK; i++) {
        error = count_list(census, &reader, vector, i);
    }
    lists_close(&reader);
    const uint64_t tail = view_vector_counters(census->view, vector)->tail_slot;
    return error == OK ? view_each_stored(census->view, vector, tail, count_tail, census) : error;
}

enum error sparse_weigh(const struct collection *collection, const struct view *view,
                        uint16_t vector, const uint32_t *indices, const float *values, size_t count,
                        enum error (*stop)(void *context), void *context, float *weights)
{
    if (count > 0) {
        memcpy(weights, values, count * sizeof *weights);
    }
    if (!collection->settings.vectors[vector].idf || count == 0) {
        return OK;
    }
    const struct vector_counters *counters = view_vector_counters(view, vector);
    struct census census = {.view = view,
                            .indices = indices,
                            .counts = allocate_zeroed(count, sizeof(uint64_t)),
                            .count = count,
                            .any_dead = counters->dead_count > 0,
                            .stop = stop,
                            .context = context};
    const enum error error = take_census(&census, vector);
    for (size_t i = 0; i < count && error == OK; i++) {
        const double total = (double)counters->vector_count, has = (double)census.counts[i];
        weights[i] *= (float)log((total - has + 0.5) / (has + 0.5) + 1.0);
    }
    free(census.counts);
    return error;
}
