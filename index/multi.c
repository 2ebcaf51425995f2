#include "index/multi.h"

#include <math.h>

float multi_key(const struct codec *codec, enum metric metric, const struct multi_query *query,
                const struct stored_vector *stored, float *row)
{
    const size_t bytes = query->dim * sizeof(float);
    float sum = 0;
    for (size_t i = 0; i < query->count; i++) {
        const float *own = query->rows + i * query->dim;
        float best = -INFINITY;
        for (size_t j = 0; j < stored->count; j++) {
            memcpy(row, stored->data + j * bytes, bytes);
            const float key = codec_key(codec, metric, own, row);
            best = key > best ? key : best;
        }
        sum += best;
    }
    return sum;
}
