/* Centres of partitions as int8, to tell which ones are near a query.
 *
 * A row is int8[dim] in steps of its own, zero up to a multiple of KERNEL_PAD, then f32 step,
 * f32 |m|^2 and eight zero bytes. */
#include "codec/codec.h"

#include <float.h>
#include <string.h>

#include "codec/codec_internal.h"

#define TAIL_BYTES 16u
#define ROWS_AT_ONCE 64u

size_t codec_centre_bytes(const struct codec *codec)
{
    return round_to_pad(codec->dim) + TAIL_BYTES;
}

void codec_centre_encode(const struct codec *codec, const float *centre, uint8_t *row)
{
    memset(row, 0, codec_centre_bytes(codec));
    float largest = 0.0f;
    for (uint32_t j = 0; j < codec->dim; j++) {
        const float size = centre[j] < 0.0f ? -centre[j] : centre[j];
        largest = size > largest ? size : largest;
    }
    const float step = largest / 127.0f, per_step = step > FLT_MIN ? 127.0f / largest : 0.0f;
    codec->kernels->quantise(centre, codec->dim, per_step, step, (int8_t *)row);
    const float square = (float)codec->kernels->dot(centre, (const uint8_t *)centre, codec->dim);
    memcpy(row + round_to_pad(codec->dim), &step, sizeof step);
    memcpy(row + round_to_pad(codec->dim) + sizeof step, &square, sizeof square);
}

void codec_centre_decode(const struct codec *codec, const uint8_t *row, float *centre)
{
    float step;
    memcpy(&step, row + round_to_pad(codec->dim), sizeof step);
    for (uint32_t j = 0; j < codec->dim; j++) {
        centre[j] = step * (float)(int8_t)row[j];
    }
}

void codec_score_centres(const struct codec *codec, const struct codec_query *query,
                         const uint8_t *rows, size_t count, float *products, float *distances)
{
    const size_t row_bytes = round_to_pad(codec->dim), stride = codec_centre_bytes(codec);
    const float own = (float)(query->norm * query->norm);
    int32_t dots[ROWS_AT_ONCE];
    for (size_t first = 0; first < count; first += ROWS_AT_ONCE) {
        const size_t rows_now = count - first < ROWS_AT_ONCE ? count - first : ROWS_AT_ONCE;
        const uint8_t *row = rows + first * stride;
        codec->kernels->int8_dots(query->plain, row, rows_now, row_bytes, stride, dots);
        for (size_t i = 0; i < rows_now; i++, row += stride) {
            float step, square;
            memcpy(&step, row + row_bytes, sizeof step);
            memcpy(&square, row + row_bytes + sizeof step, sizeof square);
            const float product = query->plain_step * step * (float)dots[i];
            if (products != NULL) {
                products[first + i] = product;
            }
            if (distances != NULL) {
                distances[first + i] = own + square - 2.0f * product;
            }
        }
    }
}
