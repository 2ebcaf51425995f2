/* kith's codes of a whole set in memory, and the staged search over them at its best: codes of the
 * first stage, of those that may still be among the k best codes of the second, of those the exact
 * keys; always the most promising next, so that the counts are the least these bounds allow. What
 * statistics and benchmarks of the codec run on; the server's search is index/search.c. */
#ifndef KITH_TESTS_STAGED_H
#define KITH_TESTS_STAGED_H

#include "codec/codec.h"

/* Level of dim j of a code of `bits` (1, 2, 4, 8), read by the layouts of codec.h and not by the
 * codec's own functions. */
int staged_level(const uint8_t *code, unsigned bits, uint32_t dim, uint32_t j);

/* 1/rho^2 - 1 of a code of one rotated vector (relative to the origin), rho their cosine. */
double staged_error(const uint8_t *code, unsigned bits, const float *rotated, uint32_t dim);

struct staged {
    struct codec *codec;
    enum metric metric;
    const float *rows; /* float[row_count * dim], the caller's; unit vectors under Cosine */
    size_t row_count, block_count;
    uint32_t dim;
    float *centre; /* rotated mean, or NULL */
    uint8_t *blocks, *codes;
    size_t code_bytes;
    struct code_factors *factors;
};

/* Encodes all rows, `first` and `second` bits as in codec_new_bits. Aborts when out of memory.
 * staged_release frees. */
void staged_init(struct staged *staged, enum metric metric, const float *rows, size_t row_count,
                 uint32_t dim, unsigned first, unsigned second, uint64_t seed, bool centred);
void staged_release(struct staged *staged);

/* Scratch for queries, one at a time. */
struct staged_query {
    struct codec_query *query;
    struct centre_terms terms;
    void *work;
    float *bounds; /* [block_count * 32] */
    struct staged_entry *heap;
};
void staged_query_init(struct staged_query *query, const struct staged *staged);
void staged_query_release(struct staged_query *query);
/* vector: float[dim], kept by pointer. */
void staged_ask(const struct staged *staged, struct staged_query *query, const float *vector);

/* bounds[row] = estimate + epsilon * half width, of the first stage and all rows. */
void staged_scan(const struct staged *staged, struct staged_query *query, float epsilon,
                 float *bounds);
/* The same of the second stage and one row. */
float staged_row(const struct staged *staged, const struct staged_query *query, size_t row,
                 float *half_width);
float staged_exact(const struct staged *staged, const struct staged_query *query, size_t row);

struct staged_counts {
    size_t rows, exact; /* second-stage codes and exact keys looked at */
};

/* The k best keys, best first. epsilon_2 < 0: no second stage. */
struct staged_counts staged_search(const struct staged *staged, struct staged_query *query,
                                   float epsilon_1, float epsilon_2, size_t k, float *keys);

#endif
