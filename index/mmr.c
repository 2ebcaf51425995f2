#include "index/mmr.h"

#include <math.h>

struct pending {
    size_t candidate;
    float nearest; /* largest similarity to a chosen one */
};

/* The last of the largest; NaN is never larger. */
static size_t last_best(const struct pending *pending, size_t count, const float *relevance,
                        float lambda, bool first)
{
    size_t best = 0;
    float best_score = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        float score = relevance[pending[i].candidate];
        if (!first)
            score = lambda * score - (1.0f - lambda) * pending[i].nearest;
        if (score >= best_score) {
            best = i;
            best_score = score;
        }
    }
    return best;
}

enum error mmr_choose(const float *relevance, size_t count, float lambda, size_t limit,
                      enum error (*similarity)(void *context, size_t a, size_t b, float *out),
                      void *context, struct arena *arena, size_t **chosen, size_t *chosen_count)
{
    struct pending *pending = arena_allocate(arena, size_product(count + 1, sizeof *pending));
    size_t left = count;
    if (limit > count)
        limit = count;
    *chosen = arena_allocate(arena, size_product(limit + 1, sizeof **chosen));
    *chosen_count = 0;
    for (size_t i = 0; i < count; i++)
        pending[i] = (struct pending){i, -INFINITY};
    while (*chosen_count < limit) {
        const size_t place = last_best(pending, left, relevance, lambda, *chosen_count == 0);
        const size_t taken = pending[place].candidate;
        pending[place] = pending[--left];
        (*chosen)[(*chosen_count)++] = taken;
        for (size_t i = 0; i < left && *chosen_count < limit; i++) {
            float near;
            const enum error error = similarity(context, pending[i].candidate, taken, &near);
            if (error != OK)
                return error;
            if (near > pending[i].nearest)
                pending[i].nearest = near;
        }
    }
    return OK;
}
