/* Scores made of several similarities: recommend, discover, context.
 *
 * Similarities are keys (codec.h): larger is nearer for every metric, the squared distance negated
 * for Euclid. All pure functions, any thread. Formulas: those of the compatible API. */
#ifndef KITH_INDEX_RECOMMEND_H
#define KITH_INDEX_RECOMMEND_H

#include <stdbool.h>
#include <stddef.h>

/* x / (1 + |x|), into (-1, 1); NaN and infinities stay. */
float score_sigmoid(float x);
/* (score_sigmoid(x) + 1) / 2, into (0, 1). */
float score_scaled_sigmoid(float x);

/* Best score: the nearest positive against the nearest negative. Either list may be empty. */
float recommend_best(const float *positive, size_t positive_count, const float *negative,
                     size_t negative_count);
/* Sum of positives minus sum of negatives. */
float recommend_sum(const float *positive, size_t positive_count, const float *negative,
                    size_t negative_count);

/* pairs: similarity to positive and negative, alternating, float[2 * pair_count]. */
/* One per pair whose positive is nearer, minus one per pair whose negative is; plus the target's
 * similarity squeezed into (0, 1). */
float discover_score(float target, const float *pairs, size_t pair_count);
/* Sum over pairs of score_sigmoid(min(positive - negative - epsilon, 0)): 0 is best. */
float context_score(const float *pairs, size_t pair_count);

/* The vector of the average strategy: 2 mean(positive) - mean(negative), or mean(positive).
 *
 * positive, negative  float[count][dim], at least one positive
 * out                 float[dim] */
void recommend_average(const float *const *positive, size_t positive_count,
                       const float *const *negative, size_t negative_count, size_t dim, float *out);

#endif
