/* The staged search of staged.h: a heap of bounds, the largest first. */
#include "tests/staged.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codebook.h"

struct staged_entry {
    float bound;
    uint32_t row;
    bool scored; /* by the second stage */
};

static void *must_allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (memory == NULL) {
        abort();
    }
    return memset(memory, 0, (bytes + 63) / 64 * 64 + 64);
}

/* ---- codes ---- */

int staged_level(const uint8_t *code, unsigned bits, uint32_t dim, uint32_t j)
{
    static const int levels_2[4] = {-CODEBOOK_OUTER_2, -CODEBOOK_LEVEL_2, CODEBOOK_LEVEL_2,
                                    CODEBOOK_OUTER_2};
    switch (bits) {
    case CODE_1:
        return (code[j / 8] >> (j % 8) & 1) != 0 ? 1 : -1;
    case CODE_2:
        return levels_2[code[j / 4] >> (2 * (j % 4)) & 3];
    case CODE_8:
        return 2 * (int8_t)code[j] + 1;
    default:
        assert(bits == CODE_4);
    }
    const uint32_t group = j / 64, left = dim - group * 64;
    const uint32_t half = left < 64 ? (left + 1) / 2 : 32;
    const uint8_t byte = code[group * 32 + j % 64 % half];
    return codebook_levels_4[j % 64 < half ? byte & 15 : byte >> 4];
}

double staged_error(const uint8_t *code, unsigned bits, const float *rotated, uint32_t dim)
{
    double product = 0.0, square = 0.0, length = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        const double level = staged_level(code, bits, dim, j), x = (double)rotated[j];
        product += x * level;
        square += level * level;
        length += x * x;
    }
    return square * length / (product * product) - 1.0;
}

static float *rotated_mean(const struct staged *staged, void *work)
{
    const uint32_t dim = staged->dim;
    double *sums = must_allocate(dim * sizeof *sums);
    float *mean = must_allocate(dim * sizeof *mean), *centre = must_allocate(dim * sizeof *mean);
    for (size_t i = 0; i < staged->row_count; i++) {
        for (uint32_t j = 0; j < dim; j++) {
            sums[j] += (double)staged->rows[i * dim + j];
        }
    }
    for (uint32_t j = 0; j < dim; j++) {
        mean[j] = (float)(sums[j] / (double)staged->row_count);
    }
    codec_rotate(staged->codec, mean, centre, work);
    free(sums);
    free(mean);
    return centre;
}

void staged_init(struct staged *staged, enum metric metric, const float *rows, size_t row_count,
                 uint32_t dim, unsigned first, unsigned second, uint64_t seed, bool centred)
{
    *staged = (struct staged){.codec = codec_new_bits(dim, seed, first, second, NULL),
                              .metric = metric,
                              .rows = rows,
                              .row_count = row_count,
                              .block_count = (row_count + 31) / 32,
                              .dim = dim};
    void *work = must_allocate(codec_work_bytes(staged->codec));
    float *rotated = must_allocate(dim * sizeof *rotated);
    staged->centre = centred ? rotated_mean(staged, work) : NULL;
    const size_t block_bytes = codec_block_bytes(staged->codec);
    staged->code_bytes = codec_code_bytes(staged->codec, second);
    staged->blocks = must_allocate(staged->block_count * block_bytes);
    staged->codes = must_allocate(row_count * staged->code_bytes);
    staged->factors = must_allocate(row_count * sizeof *staged->factors);
    uint8_t *code = must_allocate(codec_code_bytes(staged->codec, first));
    for (size_t i = 0; i < row_count; i++) {
        struct code_factors factors;
        codec_rotate(staged->codec, rows + i * dim, rotated, work);
        codec_encode(staged->codec, first, metric, rotated, staged->centre, code, &factors, work);
        codec_block_put(staged->codec, staged->blocks + i / 32 * block_bytes, (unsigned)(i % 32),
                        code, factors);
        codec_encode(staged->codec, second, metric, rotated, staged->centre,
                     staged->codes + i * staged->code_bytes, &staged->factors[i], work);
    }
    free(work);
    free(rotated);
    free(code);
}

void staged_release(struct staged *staged)
{
    codec_free(staged->codec);
    free(staged->centre);
    free(staged->blocks);
    free(staged->codes);
    free(staged->factors);
    *staged = (struct staged){0};
}

/* ---- queries ---- */

void staged_query_init(struct staged_query *query, const struct staged *staged)
{
    *query = (struct staged_query){
        .query = must_allocate(codec_query_bytes(staged->codec)),
        .work = must_allocate(codec_work_bytes(staged->codec)),
        .bounds = must_allocate(staged->block_count * 32 * sizeof(float)),
        .heap = must_allocate(staged->row_count * sizeof(struct staged_entry)),
    };
}

void staged_query_release(struct staged_query *query)
{
    free(query->query);
    free(query->work);
    free(query->bounds);
    free(query->heap);
    *query = (struct staged_query){0};
}

void staged_ask(const struct staged *staged, struct staged_query *query, const float *vector)
{
    codec_query_init(staged->codec, staged->metric, vector, query->query, query->work);
    query->terms = codec_query_centre(staged->codec, query->query, staged->centre);
}

void staged_scan(const struct staged *staged, struct staged_query *query, float epsilon,
                 float *bounds)
{
    uint32_t survivors[64];
    const size_t block_bytes = codec_block_bytes(staged->codec);
    for (size_t block = 0; block < staged->block_count; block += 64) {
        const size_t left = staged->block_count - block;
        codec_scan_blocks(staged->codec, query->query, query->terms,
                          staged->blocks + block * block_bytes, left < 64 ? left : 64, epsilon,
                          -INFINITY, survivors, bounds + block * 32);
    }
}

float staged_row(const struct staged *staged, const struct staged_query *query, size_t row,
                 float *half_width)
{
    return codec_score_row(staged->codec, query->query, query->terms,
                           staged->codes + row * staged->code_bytes, staged->factors[row],
                           half_width);
}

float staged_exact(const struct staged *staged, const struct staged_query *query, size_t row)
{
    return codec_exact_key(staged->codec, query->query,
                           (const uint8_t *)(staged->rows + row * staged->dim));
}

/* ---- search ---- */

static void sift_down(struct staged_entry *heap, size_t count, size_t i)
{
    const struct staged_entry entry = heap[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        child += child + 1 < count && heap[child + 1].bound > heap[child].bound ? 1 : 0;
        if (!(heap[child].bound > entry.bound)) {
            break;
        }
        heap[i] = heap[child];
    }
    heap[i] = entry;
}

static void insert_key(float *keys, size_t k, float key)
{
    if (key > keys[k - 1]) {
        size_t i = k - 1;
        for (; i > 0 && keys[i - 1] < key; i--) {
            keys[i] = keys[i - 1];
        }
        keys[i] = key;
    }
}

struct staged_counts staged_search(const struct staged *staged, struct staged_query *query,
                                   float epsilon_1, float epsilon_2, size_t k, float *keys)
{
    struct staged_entry *heap = query->heap;
    struct staged_counts counts = {0, 0};
    size_t count = staged->row_count;
    staged_scan(staged, query, epsilon_1, query->bounds);
    for (size_t i = 0; i < count; i++) {
        heap[i] = (struct staged_entry){query->bounds[i], (uint32_t)i, epsilon_2 < 0.0f};
    }
    for (size_t i = count / 2; i-- > 0;) {
        sift_down(heap, count, i);
    }
    for (size_t i = 0; i < k; i++) {
        keys[i] = -INFINITY;
    }
    while (count > 0 && heap[0].bound >= keys[k - 1]) {
        if (heap[0].scored) {
            counts.exact++;
            insert_key(keys, k, staged_exact(staged, query, heap[0].row));
            heap[0] = heap[--count];
        } else {
            float half_width;
            counts.rows++;
            const float estimate = staged_row(staged, query, heap[0].row, &half_width);
            heap[0].bound = estimate + epsilon_2 * half_width;
            heap[0].scored = true;
        }
        sift_down(heap, count, 0);
    }
    return counts;
}
