/* How the bounds of the codec hold on real sets: bench_codec_sets SEED DIR...
 *
 * For every true neighbour of every query, the epsilon it needed to be found: (key of the k-th true
 * neighbour - estimate) / half width. Its quantiles say which epsilon gives which recall; the
 * counts say what that costs: codes that reach the k-th key at 1 bit, and of these at 4 bits. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "codec/codec_internal.h"
#include "tests/bench_npy.h"

#define K 10u

struct set {
    struct matrix base, queries, ids;
    enum metric metric;
    size_t block_count;
};

struct coded {
    struct codec *codec;
    float *centre; /* rotated mean, or NULL */
    uint8_t *blocks, *rows;
    struct code_factors *factors;
};

struct list {
    double *values;
    size_t count;
};

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        abort();
    }
    return memset(memory, 0, (bytes + 63) / 64 * 64);
}

static struct coded encode_set(const struct set *set, uint64_t seed, bool centred)
{
    const uint32_t dim = (uint32_t)set->base.dim;
    struct coded coded = {.codec = codec_new(dim, seed, NULL)};
    void *work = allocate(codec_work_bytes(coded.codec));
    float *rotated = allocate(dim * sizeof(float)), *mean = allocate(dim * sizeof(float));
    double *sums = allocate(dim * sizeof(double));
    for (size_t i = 0; i < set->base.rows * dim; i++) {
        sums[i % dim] += (double)set->base.data[i] / (double)set->base.rows;
    }
    for (uint32_t j = 0; j < dim; j++) {
        mean[j] = (float)sums[j];
    }
    if (centred) {
        coded.centre = allocate(dim * sizeof(float));
        codec_rotate(coded.codec, mean, coded.centre, work);
    }
    const size_t block_bytes = codec_block_bytes(coded.codec);
    const size_t row_bytes = codec_code_bytes(coded.codec, 4);
    coded.blocks = allocate(set->block_count * block_bytes);
    coded.rows = allocate(set->base.rows * row_bytes);
    coded.factors = allocate(set->base.rows * sizeof *coded.factors);
    uint8_t *code = allocate(row_bytes + 64);
    for (size_t i = 0; i < set->base.rows; i++) {
        struct code_factors factors;
        codec_rotate(coded.codec, set->base.data + i * dim, rotated, work);
        codec_encode(coded.codec, codec_first_bits(coded.codec), set->metric, rotated, coded.centre,
                     code, &factors, work);
        codec_block_put(coded.codec, coded.blocks + i / 32 * block_bytes, (unsigned)(i % 32), code,
                        factors);
        codec_encode(coded.codec, 4, set->metric, rotated, coded.centre, coded.rows + i * row_bytes,
                     &coded.factors[i], work);
    }
    free(work);
    free(rotated);
    free(mean);
    free(sums);
    free(code);
    return coded;
}

static void coded_free(struct coded *coded)
{
    codec_free(coded->codec);
    free(coded->centre);
    free(coded->blocks);
    free(coded->rows);
    free(coded->factors);
}

static void scan(const struct set *set, const struct coded *coded, const struct codec_query *query,
                 struct centre_terms terms, float epsilon, float *bounds)
{
    uint32_t survivors[64];
    const size_t block_bytes = codec_block_bytes(coded->codec);
    for (size_t block = 0; block < set->block_count; block += 64) {
        const size_t left = set->block_count - block;
        codec_scan_blocks(coded->codec, query, terms, coded->blocks + block * block_bytes,
                          left < 64 ? left : 64, epsilon, -INFINITY, survivors,
                          bounds + block * 32);
    }
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(struct list *list, double share)
{
    const size_t i = (size_t)(share * (double)list->count);
    return list->values[i < list->count ? i : list->count - 1];
}

static void print_list(const char *name, struct list *list)
{
    double sum = 0.0, square = 0.0;
    for (size_t i = 0; i < list->count; i++) {
        sum += list->values[i];
        square += list->values[i] * list->values[i];
    }
    const double n = (double)list->count, mean = sum / n;
    qsort(list->values, list->count, sizeof *list->values, compare);
    printf("  %-22s mean %6.3f sd %5.3f  quantiles .9 %6.2f .99 %6.2f .999 %6.2f .9999 %6.2f\n",
           name, mean, sqrt(square / n - mean * mean), quantile(list, .9), quantile(list, .99),
           quantile(list, .999), quantile(list, .9999));
}

#define EPSILONS 7
static const float epsilons[EPSILONS] = {1.5f, 1.9f, 2.2f, 2.5f, 3.0f, 3.5f, 4.0f};

struct results {
    struct list z1, z4, needed1, needed4; /* of true neighbours */
    double survivors1[EPSILONS], survivors4[EPSILONS];
};

static void list_add(struct list *list, double value)
{
    list->values[list->count++] = value;
}

/* One query: its true neighbours' errors in half widths, and what each epsilon lets through. */
static void measure(const struct set *set, const struct coded *coded, size_t q,
                    struct results *results, struct codec_query *query, void *work, float *at0,
                    float *at1)
{
    const size_t dim = set->base.dim, row_bytes = codec_code_bytes(coded->codec, 4);
    codec_query_init(coded->codec, set->metric, set->queries.data + q * dim, query, work);
    const struct centre_terms terms = codec_query_centre(coded->codec, query, coded->centre);
    scan(set, coded, query, terms, 0.0f, at0);
    scan(set, coded, query, terms, 1.0f, at1);
    const size_t last = (size_t)set->ids.data[q * set->ids.dim + K - 1];
    const float kth =
        codec_exact_key(coded->codec, query, (const uint8_t *)(set->base.data + last * dim));
    for (size_t i = 0; i < K; i++) {
        const size_t id = (size_t)set->ids.data[q * set->ids.dim + i];
        const float key =
            codec_exact_key(coded->codec, query, (const uint8_t *)(set->base.data + id * dim));
        float half;
        const float estimate = codec_score_row(
            coded->codec, query, terms, coded->rows + id * row_bytes, coded->factors[id], &half);
        const double half1 = (double)(at1[id] - at0[id]);
        list_add(&results->z1, (double)(key - at0[id]) / half1);
        list_add(&results->needed1, (double)(kth - at0[id]) / half1);
        list_add(&results->z4, (double)(key - estimate) / (double)half);
        list_add(&results->needed4, (double)(kth - estimate) / (double)half);
    }
    for (size_t i = 0; i < set->base.rows; i++) {
        const float needed = (kth - at0[i]) / (at1[i] - at0[i]);
        if (needed > epsilons[EPSILONS - 1]) {
            continue;
        }
        float half;
        const float estimate = codec_score_row(
            coded->codec, query, terms, coded->rows + i * row_bytes, coded->factors[i], &half);
        for (size_t e = 0; e < EPSILONS; e++) {
            results->survivors1[e] += needed <= epsilons[e];
            results->survivors4[e] += (kth - estimate) / half <= epsilons[e];
        }
    }
}

static void measure_set(const char *directory, uint64_t seed, bool centred)
{
    struct set set = {
        npy_read(directory, "base"), npy_read(directory, "queries"), npy_read(directory, "gt_ids"),
        strstr(directory, "sift") != NULL || strstr(directory, "mnist") != NULL ? METRIC_EUCLID
                                                                                : METRIC_COSINE,
        0};
    set.block_count = (set.base.rows + 31) / 32;
    struct codec *plain = codec_new((uint32_t)set.base.dim, 1, NULL);
    for (size_t i = 0; set.metric == METRIC_COSINE && i < set.base.rows + set.queries.rows; i++) {
        codec_normalise(plain, i < set.base.rows
                                   ? set.base.data + i * set.base.dim
                                   : set.queries.data + (i - set.base.rows) * set.base.dim);
    }
    codec_free(plain);
    struct coded coded = encode_set(&set, seed, centred);
    struct results results = {0};
    struct list *lists[] = {&results.z1, &results.z4, &results.needed1, &results.needed4};
    for (size_t i = 0; i < 4; i++) {
        lists[i]->values = allocate(set.queries.rows * K * sizeof(double));
    }
    struct codec_query *query = allocate(codec_query_bytes(coded.codec));
    void *work = allocate(codec_work_bytes(coded.codec));
    float *at0 = allocate(set.block_count * 32 * sizeof(float));
    float *at1 = allocate(set.block_count * 32 * sizeof(float));
    for (size_t q = 0; q < set.queries.rows; q++) {
        measure(&set, &coded, q, &results, query, work, at0, at1);
    }
    printf("%s seed %llu centre %s\n", directory, (unsigned long long)seed,
           centred ? "mean" : "none");
    print_list("1 bit error", lists[0]);
    print_list("1 bit epsilon needed", lists[2]);
    print_list("4 bit error", lists[1]);
    print_list("4 bit epsilon needed", lists[3]);
    for (size_t e = 0; e < EPSILONS; e++) {
        printf("  epsilon %.1f  codes through 1 bit %9.1f  through 4 bits %7.1f\n",
               (double)epsilons[e], results.survivors1[e] / (double)set.queries.rows,
               results.survivors4[e] / (double)set.queries.rows);
    }
    fflush(stdout);
    for (size_t i = 0; i < 4; i++) {
        free(lists[i]->values);
    }
    free(query);
    free(work);
    free(at0);
    free(at1);
    coded_free(&coded);
    matrix_free(&set.base);
    matrix_free(&set.queries);
    matrix_free(&set.ids);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_codec_sets SEED DIR...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        measure_set(argv[i], strtoull(argv[1], NULL, 10), true);
        measure_set(argv[i], strtoull(argv[1], NULL, 10), false);
    }
    return 0;
}
