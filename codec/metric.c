#include "codec/codec.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"Cosine", "Dot", "Euclid", "Manhattan"};

const char *metric_name(enum metric metric)
{
    return names[metric];
}

bool metric_parse(const char *text, size_t text_bytes, enum metric *metric)
{
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == text_bytes && memcmp(names[i], text, text_bytes) == 0) {
            *metric = (enum metric)i;
            return true;
        }
    }
    return false;
}

float metric_score(enum metric metric, float key)
{
    if (metric == METRIC_EUCLID)
        return key < 0 ? sqrtf(-key) : 0.0f;
    return metric == METRIC_MANHATTAN ? 0.0f - key : key;
}

float metric_key(enum metric metric, float score)
{
    if (metric == METRIC_EUCLID)
        return score < 0 ? INFINITY : -(score * score);
    return metric == METRIC_MANHATTAN ? -score : score;
}
