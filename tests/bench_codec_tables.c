/* The codec beside its family, in figures of accuracy: bench_codec_tables [-q QUERIES] [-s FILE]
 * DIR...
 *
 * Without DIR: Gaussian vectors of 768 dims at 1 to 8 bits, and FILE, the picture of them. With:
 * for every real set a table of all schemes at 1, 2 and 4 bits (1.5 and 8 for kith) over residuals
 * of the set's mean on both sides, and what bounds do in a staged search of the whole set.
 * recall@10 is by estimates alone, nothing scored again, ties counted as found; "-" marks what a
 * scheme has none of; the last column is how far kith is ahead of the row, with the standard error
 * of that difference over queries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/codec_internal.h"
#include "tests/bench_codec_svg.h"
#include "tests/bench_npy.h"
#include "tests/coder.h"
#include "tests/staged.h"
#include "tests/unit/codec_inputs.h"

#define K 10u
#define SEED 1u
#define BATCH 32u    /* queries scored together */
#define PAIRED 100u  /* queries of the scheme that compares pair by pair, slowly */
#define SAMPLE 4000u /* rows that errors and noise are measured on */

static void *must_allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (memory == NULL) {
        abort();
    }
    return memset(memory, 0, (bytes + 63) / 64 * 64 + 64);
}

/* ---- a set ---- */

struct set {
    const char *name;
    enum metric metric;
    uint32_t dim;
    size_t row_count, query_count;
    struct matrix base, queries, ids;
    struct codec *codec; /* the rotation everything shares */
    float *mean;         /* rotated */
    float *residuals;    /* rotated, float[row_count * dim] */
    float *asked;        /* rotated q - m, float[query_count * dim] */
    float *columns;      /* the same, float[dim * column_count]: a dim of all queries */
    size_t column_count; /* query_count, rounded up to BATCH */
    float *add;          /* of a key besides what is estimated: <r, m>, or -|r|^2 */
    float *kth;          /* key of the K-th true neighbour of each query */
};

static const struct kernels *kernels; /* set by main */

static double dot(const float *x, const float *y, uint32_t dim)
{
    return kernels->dot(x, (const uint8_t *)y, dim);
}

static float *mean_of(const struct matrix *base, uint32_t dim)
{
    double *sums = must_allocate(dim * sizeof *sums);
    float *mean = must_allocate(dim * sizeof *mean);
    for (size_t i = 0; i < base->rows * dim; i++) {
        sums[i % dim] += (double)base->data[i];
    }
    for (uint32_t j = 0; j < dim; j++) {
        mean[j] = (float)(sums[j] / (double)base->rows);
    }
    free(sums);
    return mean;
}

/* R(x - m) of each row of a matrix. */
static float *rotate_rows(const struct set *set, const struct matrix *rows, size_t count)
{
    void *work = must_allocate(codec_work_bytes(set->codec));
    float *out = must_allocate(count * set->dim * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        float *row = out + i * set->dim;
        codec_rotate(set->codec, rows->data + i * set->dim, row, work);
        for (uint32_t j = 0; j < set->dim; j++) {
            row[j] -= set->mean[j];
        }
    }
    free(work);
    return out;
}

static void set_rotate(struct set *set)
{
    void *work = must_allocate(codec_work_bytes(set->codec));
    float *mean = mean_of(&set->base, set->dim);
    set->mean = must_allocate(set->dim * sizeof *mean);
    codec_rotate(set->codec, mean, set->mean, work);
    set->residuals = rotate_rows(set, &set->base, set->row_count);
    set->asked = rotate_rows(set, &set->queries, set->query_count);
    set->column_count = (set->query_count + BATCH - 1) / BATCH * BATCH;
    set->columns = must_allocate(set->dim * set->column_count * sizeof(float));
    for (size_t q = 0; q < set->query_count; q++) {
        for (uint32_t j = 0; j < set->dim; j++) {
            set->columns[j * set->column_count + q] = set->asked[q * set->dim + j];
        }
    }
    set->add = must_allocate(set->row_count * sizeof *set->add);
    for (size_t i = 0; i < set->row_count; i++) {
        const float *r = set->residuals + i * set->dim;
        set->add[i] = (float)(set->metric == METRIC_EUCLID ? -dot(r, r, set->dim)
                                                           : dot(r, set->mean, set->dim));
    }
    free(mean);
    free(work);
}

static float exact_key(const struct set *set, size_t query, size_t row)
{
    return codec_key(set->codec, set->metric, set->queries.data + query * set->dim,
                     set->base.data + row * set->dim);
}

static struct set set_read(const char *directory, size_t query_limit)
{
    const char *slash = strrchr(directory, '/');
    struct set set = {.name = slash != NULL ? slash + 1 : directory,
                      .metric = METRIC_COSINE,
                      .base = npy_read(directory, "base"),
                      .queries = npy_read(directory, "queries"),
                      .ids = npy_read(directory, "gt_ids")};
    if (strstr(set.name, "sift") != NULL || strstr(set.name, "mnist") != NULL) {
        set.metric = METRIC_EUCLID;
    }
    set.dim = (uint32_t)set.base.dim;
    set.row_count = set.base.rows;
    set.query_count = set.queries.rows < query_limit ? set.queries.rows : query_limit;
    set.codec = codec_new(set.dim, SEED, NULL);
    for (size_t i = 0; set.metric == METRIC_COSINE && i < set.base.rows; i++) {
        codec_normalise(set.codec, set.base.data + i * set.dim);
    }
    for (size_t i = 0; set.metric == METRIC_COSINE && i < set.queries.rows; i++) {
        codec_normalise(set.codec, set.queries.data + i * set.dim);
    }
    set_rotate(&set);
    set.kth = must_allocate(set.query_count * sizeof *set.kth);
    for (size_t q = 0; q < set.query_count; q++) {
        set.kth[q] = exact_key(&set, q, (size_t)set.ids.data[q * set.ids.dim + K - 1]);
    }
    return set;
}

static void set_free(struct set *set)
{
    matrix_free(&set->base);
    matrix_free(&set->queries);
    matrix_free(&set->ids);
    codec_free(set->codec);
    free(set->mean);
    free(set->residuals);
    free(set->asked);
    free(set->columns);
    free(set->add);
    free(set->kth);
}

/* ---- recall by estimates alone ---- */

struct best {
    float key[K];
    uint32_t row[K];
};

static void best_put(struct best *best, float key, size_t row)
{
    if (key > best->key[K - 1]) {
        size_t i = K - 1;
        for (; i > 0 && best->key[i - 1] < key; i--) {
            best->key[i] = best->key[i - 1];
            best->row[i] = best->row[i - 1];
        }
        best->key[i] = key;
        best->row[i] = (uint32_t)row;
    }
}

static struct best *best_new(size_t count)
{
    struct best *best = must_allocate(count * sizeof *best);
    for (size_t q = 0; q < count; q++) {
        for (size_t i = 0; i < K; i++) {
            best[q].key[i] = -INFINITY;
        }
    }
    return best;
}

/* Found of each query, as shares of K. */
static double *hits_of(const struct set *set, struct best *best, size_t count)
{
    double *hits = must_allocate(count * sizeof *hits);
    for (size_t q = 0; q < count; q++) {
        for (size_t i = 0; i < K; i++) {
            hits[q] += exact_key(set, q, best[q].row[i]) >= set->kth[q] ? 1.0 / K : 0.0;
        }
    }
    free(best);
    return hits;
}

typedef float quad __attribute__((vector_size(16)));

/* products[q] = <asked q, x> for BATCH queries from `first` on. */
static void score_batch(const struct set *set, const float *x, size_t first, float *products)
{
    quad sums[BATCH / 4] = {{0}};
    for (uint32_t j = 0; j < set->dim; j++) {
        const float *column = set->columns + j * set->column_count + first;
        const quad value = {x[j], x[j], x[j], x[j]};
        for (size_t i = 0; i < BATCH / 4; i++) {
            quad asked;
            memcpy(&asked, column + 4 * i, sizeof asked);
            sums[i] += asked * value;
        }
    }
    memcpy(products, sums, sizeof sums);
}

static float key_factor(const struct set *set)
{
    return set->metric == METRIC_EUCLID ? 2.0f : 1.0f;
}

static double *recall_decoded(const struct set *set, struct coder *coder)
{
    struct best *best = best_new(set->query_count);
    float *decoded = must_allocate(set->dim * sizeof *decoded), products[BATCH];
    for (size_t i = 0; i < set->row_count; i++) {
        coder_encode(coder, set->residuals + i * set->dim);
        coder_decode(coder, decoded);
        for (size_t q = 0; q < set->query_count; q++) {
            if (q % BATCH == 0) {
                score_batch(set, decoded, q, products);
            }
            best_put(&best[q], key_factor(set) * products[q % BATCH] + set->add[i], i);
        }
    }
    free(decoded);
    return hits_of(set, best, set->query_count);
}

/* Code against code: the first PAIRED queries only. */
static double *recall_paired(const struct set *set, struct coder *coder, size_t count)
{
    struct best *best = best_new(count);
    double norms[PAIRED];
    const size_t code_bytes = set->dim;
    uint8_t *codes = must_allocate(count * code_bytes);
    for (size_t q = 0; q < count; q++) {
        coder_encode(coder, set->asked + q * set->dim);
        memcpy(codes + q * code_bytes, coder->code, family_code_bytes(coder->family, coder->bits));
        norms[q] = coder->scalars.left;
    }
    for (size_t i = 0; i < set->row_count; i++) {
        coder_encode(coder, set->residuals + i * set->dim);
        for (size_t q = 0; q < count; q++) {
            const double ip = coder_product(coder, codes + q * code_bytes, norms[q]);
            best_put(&best[q], key_factor(set) * (float)ip + set->add[i], i);
        }
    }
    free(codes);
    return hits_of(set, best, count);
}

static bool is_first_stage(unsigned bits)
{
    return bits == CODE_1 || bits == CODE_1_5 || bits == CODE_2;
}

/* kith as it searches: blocks or row codes, queries rounded. */
static double *recall_kith(const struct set *set, unsigned bits)
{
    struct staged staged;
    struct staged_query query;
    staged_init(&staged, set->metric, set->base.data, set->row_count, set->dim,
                is_first_stage(bits) ? bits : CODE_1, is_first_stage(bits) ? CODE_4 : bits, SEED,
                true);
    staged_query_init(&query, &staged);
    struct best *best = best_new(set->query_count);
    for (size_t q = 0; q < set->query_count; q++) {
        staged_ask(&staged, &query, set->queries.data + q * set->dim);
        if (is_first_stage(bits)) {
            staged_scan(&staged, &query, 0.0f, query.bounds);
        }
        for (size_t i = 0; i < set->row_count; i++) {
            float half_width;
            best_put(&best[q],
                     is_first_stage(bits) ? query.bounds[i]
                                          : staged_row(&staged, &query, i, &half_width),
                     i);
        }
    }
    staged_query_release(&query);
    staged_release(&staged);
    return hits_of(set, best, set->query_count);
}

/* ---- tables ---- */

static void print_head(const char *title, bool recall)
{
    printf("\n%s\n\n", title);
    printf("| bits | scheme | error | bias %% | noise cos 0 | cos .5 | cos .9 | encode us |%s\n",
           recall ? " recall@10 | kith ahead by |" : "");
    printf("|---|---|---|---|---|---|---|---|%s\n", recall ? "---|---|" : "");
}

static void print_figures(const struct coder *coder, const struct coder_figures *figures)
{
    printf("| %g | %s | ", coder_bits(coder), coder->name);
    if (coder_decodes(coder)) {
        printf("%.4g", figures->error);
    } else {
        printf("-");
    }
    printf(" | %+.2f | %.4g | %.4g | %.4g | %.1f |", 100.0 * (figures->slope - 1.0),
           figures->noise[0], figures->noise[1], figures->noise[2], figures->encode_us);
}

static double mean_of_hits(const double *hits, size_t count)
{
    double sum = 0.0;
    for (size_t q = 0; q < count; q++) {
        sum += hits[q];
    }
    return sum / (double)count;
}

/* Mean and standard error of kith's hits less the other's, query by query. */
static void print_recall(const double *hits, const double *kith, size_t count)
{
    double sum = 0.0, square = 0.0;
    for (size_t q = 0; q < count; q++) {
        const double ahead = kith[q] - hits[q];
        sum += ahead;
        square += ahead * ahead;
    }
    const double n = (double)count, mean = sum / n;
    printf(" %.4f | %+.4f +- %.4f |", mean_of_hits(hits, count), mean,
           sqrt((square / n - mean * mean) / n));
}

static void print_set_bits(const struct set *set, struct family *family, unsigned bits)
{
    struct coder kith = coder_kith(set->dim, bits, SEED);
    const size_t sample = set->row_count < SAMPLE ? set->row_count : SAMPLE;
    struct coder_figures figures = coder_measure(&kith, set->residuals, sample);
    double *kith_hits = recall_kith(set, bits);
    print_figures(&kith, &figures);
    printf(" %.4f | |\n", mean_of_hits(kith_hits, set->query_count));
    fflush(stdout);
    coder_release(&kith);
    for (int s = SCHEME_EDEN_UNBIASED; s < SCHEME_COUNT; s++) {
        if (!scheme_takes((enum scheme)s, bits) || bits == CODE_8) {
            continue;
        }
        struct coder coder = coder_family(family, set->dim, (enum scheme)s, bits);
        figures = coder_measure(&coder, set->residuals, sample);
        const size_t all = set->query_count, few = all < PAIRED ? all : PAIRED;
        const size_t count = coder_decodes(&coder) ? all : few;
        double *hits =
            coder_decodes(&coder) ? recall_decoded(set, &coder) : recall_paired(set, &coder, count);
        print_figures(&coder, &figures);
        print_recall(hits, kith_hits, count);
        printf("\n");
        fflush(stdout);
        free(hits);
        coder_release(&coder);
    }
    free(kith_hits);
}

/* ---- bounds ---- */

static void print_bounds(const struct set *set, unsigned first, bool second)
{
    struct staged staged;
    struct staged_query query;
    float keys[K];
    double found = 0.0, rows = 0.0, exact = 0.0;
    staged_init(&staged, set->metric, set->base.data, set->row_count, set->dim, first, CODE_4, SEED,
                true);
    staged_query_init(&query, &staged);
    for (size_t q = 0; q < set->query_count; q++) {
        staged_ask(&staged, &query, set->queries.data + q * set->dim);
        const struct staged_counts counts = staged_search(
            &staged, &query, CODEC_EPSILON_1BIT, second ? CODEC_EPSILON_4BIT : -1.0f, K, keys);
        rows += (double)counts.rows;
        exact += (double)counts.exact;
        for (size_t i = 0; i < K; i++) {
            found += keys[i] >= set->kth[q];
        }
    }
    const double n = (double)set->query_count;
    printf("| %g%s -> exact | %.4f | %.1f | %.1f |\n", first == CODE_1_5 ? 1.5 : (double)first,
           second ? " -> 4" : "", found / n / K, rows / n, exact / n);
    fflush(stdout);
    staged_query_release(&query);
    staged_release(&staged);
}

static void print_set(const char *directory, size_t query_limit)
{
    struct set set = set_read(directory, query_limit);
    struct family *family = family_new(set.dim, SEED);
    char title[256];
    snprintf(title, sizeof title, "%s: %zu vectors, %u dims, %s, %zu queries", set.name,
             set.row_count, set.dim, metric_name(set.metric), set.query_count);
    print_head(title, true);
    const unsigned bits[] = {CODE_1, CODE_1_5, CODE_2, CODE_4, CODE_8};
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        if (bits[i] == CODE_1_5) {
            continue; /* below: no scheme to stand beside */
        }
        print_set_bits(&set, family, bits[i]);
    }
    printf("\n%s, bounds of %.1f half widths\n\n", set.name, (double)CODEC_EPSILON_1BIT);
    printf("| stages | recall@10 | 4-bit codes | exact keys |\n|---|---|---|---|\n");
    print_bounds(&set, CODE_1, true);
    print_bounds(&set, CODE_1_5, true);
    print_bounds(&set, CODE_2, true);
    print_bounds(&set, CODE_1, false);
    family_free(family);
    set_free(&set);
}

/* ---- without a set ---- */

static bool kith_has(unsigned bits)
{
    return bits == CODE_1 || bits == CODE_1_5 || bits == CODE_2 || bits == CODE_4 || bits == CODE_8;
}

static const unsigned all_bits[] = {1, CODE_1_5, 2, 3, 4, 5, 6, 7, 8};

static void print_gaussian(uint32_t dim, const char *svg)
{
    enum { ROWS = 3000 };
    struct family *family = family_new(dim, SEED);
    struct random random = {dim};
    struct picture picture = {.dim = dim};
    float *rows = must_allocate((size_t)ROWS * dim * sizeof *rows);
    for (size_t i = 0; i < ROWS; i++) {
        input_fill(INPUT_GAUSSIAN, rows + i * dim, dim, &random);
    }
    char title[128];
    snprintf(title, sizeof title, "Gaussian vectors of %u dims, %d pairs at each cosine", dim,
             ROWS);
    print_head(title, false);
    for (size_t b = 0; b < sizeof all_bits / sizeof *all_bits; b++) {
        for (int s = -1; s < SCHEME_COUNT; s++) {
            const bool has =
                s < 0 ? kith_has(all_bits[b]) : scheme_takes((enum scheme)s, all_bits[b]);
            if (!has) {
                continue;
            }
            struct coder coder = s < 0 ? coder_kith(dim, all_bits[b], SEED)
                                       : coder_family(family, dim, (enum scheme)s, all_bits[b]);
            const struct coder_figures figures = coder_measure(&coder, rows, ROWS);
            print_figures(&coder, &figures);
            printf("\n");
            fflush(stdout);
            picture_add(&picture, &coder, &figures);
            coder_release(&coder);
        }
    }
    if (svg != NULL) {
        picture_write(&picture, svg);
    }
    free(rows);
    family_free(family);
}

int main(int argc, char **argv)
{
    size_t queries = 500;
    kernels = kernels_best();
    const char *svg = NULL;
    for (int option; (option = getopt(argc, argv, "q:s:")) != -1;) {
        if (option == 'q') {
            queries = strtoull(optarg, NULL, 10);
        } else if (option == 's') {
            svg = optarg;
        } else {
            fprintf(stderr, "usage: bench_codec_tables [-q QUERIES] [-s FILE] [DIR...]\n");
            return 2;
        }
    }
    if (optind == argc) {
        print_gaussian(768, svg);
    }
    for (int i = optind; i < argc; i++) {
        print_set(argv[i], queries);
    }
    return 0;
}
