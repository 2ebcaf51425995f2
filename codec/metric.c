/* Names of metrics, and what a key looks like to a client. */
#include "codec/codec.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *const names[] = {
    [METRIC_COSINE] = "Cosine",
    [METRIC_DOT] = "Dot",
    [METRIC_EUCLID] = "Euclid",
    [METRIC_MANHATTAN] = "Manhattan",
};

const char *metric_name(enum metric metric)
{
    return names[metric];
}

bool metric_parse(const char *text, size_t text_bytes, enum metric *metric)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == text_bytes && memcmp(names[i], text, text_bytes) == 0) {
            *metric = (enum metric)i;
            return true;
        }
    }
    return false;
}

float metric_score(enum metric metric, float key)
{
    switch (metric) {
    case METRIC_EUCLID:
        return key < 0.0f ? sqrtf(-key) : 0.0f;
    case METRIC_MANHATTAN:
        return 0.0f - key; /* not -key: a distance of 0 is no -0 */
    case METRIC_COSINE:
    case METRIC_DOT:
        break;
    }
    return key;
}

/* The least float key whose score may still round to `score`: two steps below the square, since
 * squaring and taking the root each round once. */
static float euclid_key(float score)
{
    const float square = (float)((double)score * (double)score);
    if (score <= 0.0f) {
        return square; /* better than any distance */
    }
    return -nextafterf(nextafterf(square, INFINITY), INFINITY);
}

float metric_key(enum metric metric, float score)
{
    switch (metric) {
    case METRIC_EUCLID:
        return euclid_key(score);
    case METRIC_MANHATTAN:
        return -score;
    case METRIC_COSINE:
    case METRIC_DOT:
        break;
    }
    return score;
}
