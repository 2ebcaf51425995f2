#include "index/recommend.h"

#include <float.h>
#include <math.h>

float score_sigmoid(float x)
{
    return isfinite(x) ? x / (1.0f + fabsf(x)) : x;
}

float score_scaled_sigmoid(float x)
{
    return 0.5f * (score_sigmoid(x) + 1.0f);
}

static float largest(const float *values, size_t count)
{
    float best = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (values[i] > best)
            best = values[i];
    }
    return best;
}

float recommend_best(const float *positive, size_t positive_count, const float *negative,
                     size_t negative_count)
{
    const float for_it = largest(positive, positive_count);
    const float against = largest(negative, negative_count);
    return for_it > against ? score_scaled_sigmoid(for_it) : -score_scaled_sigmoid(against);
}

static float sum(const float *values, size_t count)
{
    float all = 0;
    for (size_t i = 0; i < count; i++)
        all += values[i];
    return all;
}

float recommend_sum(const float *positive, size_t positive_count, const float *negative,
                    size_t negative_count)
{
    return sum(positive, positive_count) - sum(negative, negative_count);
}

float discover_score(float target, const float *pairs, size_t pair_count)
{
    long rank = 0;
    for (size_t i = 0; i < pair_count; i++)
        rank += (pairs[2 * i] > pairs[2 * i + 1]) - (pairs[2 * i] < pairs[2 * i + 1]);
    return (float)rank + score_scaled_sigmoid(target);
}

float context_score(const float *pairs, size_t pair_count)
{
    float all = 0;
    for (size_t i = 0; i < pair_count; i++) {
        const float difference = pairs[2 * i] - pairs[2 * i + 1] - FLT_EPSILON;
        all += score_sigmoid(difference < 0 ? difference : 0);
    }
    return all;
}

static double mean_of(const float *const *vectors, size_t count, size_t i)
{
    double all = 0;
    for (size_t j = 0; j < count; j++)
        all += (double)vectors[j][i];
    return all / (double)count;
}

void recommend_average(const float *const *positive, size_t positive_count,
                       const float *const *negative, size_t negative_count, size_t dim, float *out)
{
    for (size_t i = 0; i < dim; i++) {
        double value = mean_of(positive, positive_count, i);
        if (negative_count > 0)
            value += value - mean_of(negative, negative_count, i);
        out[i] = (float)value;
    }
}
