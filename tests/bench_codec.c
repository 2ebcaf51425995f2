/* The codec's speed, one round of it: bench_codec DIM...
 *
 * Lines of tab-separated name, kernels, dim, place, ns per vector and query, bytes read per vector.
 * Places: "cache", 512 KiB again and again; "memory", 256 MiB from front to back, codes repeating
 * every 2 MiB; "-" for encoding. Times are this thread's own, the best of a few passes; the driver,
 * bench_codec.py, runs rounds of this between rounds of others and takes medians. The first line of
 * each dim is the memory itself, read by sums in the best of several patterns (BENCH_MEMORY=1 in
 * the environment prints each): its ns are for each 64 bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "codec/codec_internal.h"
#include "tests/unit/codec_inputs.h"

#define CACHE_BYTES ((size_t)512 << 10)
#define MEMORY_BYTES ((size_t)256 << 20)
#define PATTERN_BYTES ((size_t)2 << 20)
#define CALL_BLOCKS 64u
#define HUGE_PAGE ((size_t)2 << 20)
#define VECTORS 512u /* distinct */

static volatile double sink; /* what is computed is used */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* In pages of 2 MiB where BENCH_HUGE is set and the machine gives them. */
static void *must_allocate(size_t bytes)
{
    const size_t size = (bytes + 63) / 64 * 64 + 64;
    const bool huge = getenv("BENCH_HUGE") != NULL && size >= HUGE_PAGE;
    void *memory = aligned_alloc(huge ? HUGE_PAGE : 64,
                                 huge ? (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE : size);
    if (memory == NULL) {
        abort();
    }
    if (huge && madvise(memory, size, MADV_HUGEPAGE) != 0) {
        perror("BENCH_HUGE");
        exit(1);
    }
    return memset(memory, 0, size);
}

/* Best time of one call of `body` over passes that last 20 ms or more. */
#define BEST_SECONDS(best, body)                                                                   \
    double best = INFINITY;                                                                        \
    for (int pass = 0; pass < 5; pass++) {                                                         \
        size_t calls = 0;                                                                          \
        const double begin = seconds();                                                            \
        do {                                                                                       \
            body;                                                                                  \
            calls++;                                                                               \
        } while (seconds() - begin < 0.02);                                                        \
        best = fmin(best, (seconds() - begin) / (double)calls);                                    \
    }

static void print_line(const char *name, const char *kernels, uint32_t dim, const char *place,
                       double ns, double bytes)
{
    printf("%s\t%s\t%u\t%s\t%.4f\t%.1f\n", name, kernels, dim, place, ns, bytes);
    fflush(stdout);
}

/* ---- memory ---- */

typedef uint64_t words __attribute__((vector_size(64)));

#define STREAMS_MAX 8u
#define STEP_WORDS 4u

#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

enum fetch { FETCH_NONE, FETCH_NEAR, FETCH_SECOND }; /* into the first or second level cache */

/* The whole of memory summed as `streams` runs side by side, each fetched `ahead` bytes before. */
WIDE static uint64_t read_all(const uint8_t *memory, size_t streams, enum fetch fetch, size_t ahead)
{
    const size_t part = MEMORY_BYTES / streams;
    words sums[STEP_WORDS] = {{0}};
    for (size_t i = 0; i < part; i += sizeof sums) {
        for (size_t s = 0; s < streams; s++) {
            const uint8_t *at = memory + s * part + i;
            for (size_t k = 0; k < STEP_WORDS && fetch != FETCH_NONE; k++) {
                if (fetch == FETCH_NEAR) { /* past the end is allowed: a prefetch does not fault */
                    __builtin_prefetch(at + ahead + k * 64);
                } else {
                    __builtin_prefetch(at + ahead + k * 64, 0, 2);
                }
            }
            for (size_t k = 0; k < STEP_WORDS; k++) {
                words value;
                memcpy(&value, at + k * sizeof value, sizeof value);
                sums[k] += value;
            }
        }
    }
    return (sums[0] + sums[1] + sums[2] + sums[3])[0];
}

/* What one core can fetch at best. A plain run fetches less than kith's own scans do, as the
 * hardware's prefetcher stops at every page: which pattern is best is found out by trying. */
static void bench_memory(void)
{
    static const struct {
        enum fetch fetch;
        size_t ahead;
    } ways[] = {{FETCH_NONE, 0},
                {FETCH_NEAR, 512},
                {FETCH_NEAR, 2048},
                {FETCH_SECOND, 1024},
                {FETCH_SECOND, 2048}};
    uint8_t *memory = must_allocate(MEMORY_BYTES);
    memset(memory, 1, MEMORY_BYTES);
    double best = INFINITY;
    for (size_t streams = 1; streams <= STREAMS_MAX; streams *= 2) {
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            BEST_SECONDS(pattern,
                         sink += (double)read_all(memory, streams, ways[i].fetch, ways[i].ahead))
            if (getenv("BENCH_MEMORY") != NULL) {
                fprintf(stderr, "memory, %zu streams, %zu ahead (%d): %.1f GB/s\n", streams,
                        ways[i].ahead, (int)ways[i].fetch, 1e-9 * (double)MEMORY_BYTES / pattern);
            }
            best = fmin(best, pattern);
        }
    }
    print_line("memory", "-", 0, "memory", best * 1e9 / (MEMORY_BYTES / 64), 64);
    free(memory);
}

/* ---- first stage ---- */

struct bench {
    struct codec *codec;
    uint32_t dim;
    float *vectors; /* [VECTORS * dim], rotated and unrotated are alike: Gaussian, unit length */
    void *work;
    struct codec_query *queries[CODEC_SCANS_MAX];
};

static struct bench bench_new(uint32_t dim, unsigned first, unsigned second,
                              const struct kernels *kernels)
{
    struct bench bench = {.codec = codec_new_bits(dim, 1, first, second, kernels), .dim = dim};
    struct random random = {dim};
    bench.vectors = must_allocate((size_t)VECTORS * dim * sizeof(float));
    bench.work = must_allocate(codec_work_bytes(bench.codec));
    for (size_t i = 0; i < VECTORS; i++) {
        input_fill(INPUT_GAUSSIAN, bench.vectors + i * dim, dim, &random);
        codec_normalise(bench.codec, bench.vectors + i * dim);
    }
    for (size_t q = 0; q < CODEC_SCANS_MAX; q++) {
        bench.queries[q] = must_allocate(codec_query_bytes(bench.codec));
        codec_query_init(bench.codec, METRIC_COSINE, bench.vectors + q * dim, bench.queries[q],
                         bench.work);
    }
    return bench;
}

static void bench_free(struct bench *bench)
{
    codec_free(bench->codec);
    free(bench->vectors);
    free(bench->work);
    for (size_t q = 0; q < CODEC_SCANS_MAX; q++) {
        free(bench->queries[q]);
    }
}

static size_t scan_all(const struct bench *bench, size_t query_count, float threshold,
                       const uint8_t *blocks, size_t block_count, float *all)
{
    static float bounds[CODEC_SCANS_MAX][CALL_BLOCKS * CODEC_BLOCK_LANES];
    static uint32_t survivors[CODEC_SCANS_MAX][CALL_BLOCKS];
    struct codec_scan scans[CODEC_SCANS_MAX];
    const size_t block_bytes = codec_block_bytes(bench->codec);
    size_t count = 0;
    for (size_t q = 0; q < query_count; q++) {
        scans[q] = (struct codec_scan){.query = bench->queries[q],
                                       .terms = {.add = 0.0f, .reach = 1.0f, .square = 0.0f},
                                       .epsilon = CODEC_EPSILON_1BIT,
                                       .threshold = threshold,
                                       .survivors = survivors[q],
                                       .bounds = bounds[q]};
    }
    for (size_t block = 0; block < block_count; block += CALL_BLOCKS) {
        const size_t left = block_count - block, n = left < CALL_BLOCKS ? left : CALL_BLOCKS;
        codec_scan_many(bench->codec, scans, query_count, blocks + block * block_bytes, n, NULL);
        for (size_t i = 0; i < n; i++) {
            count += (size_t)__builtin_popcount(survivors[0][i]);
        }
        if (all != NULL) {
            memcpy(all + block * CODEC_BLOCK_LANES, bounds[0],
                   n * CODEC_BLOCK_LANES * sizeof(float));
        }
    }
    return count;
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* What one code of a thousand reaches, as in a search. */
static float choose_threshold(const struct bench *bench, const uint8_t *blocks, size_t block_count)
{
    const size_t count = block_count * CODEC_BLOCK_LANES;
    float *bounds = must_allocate(count * sizeof *bounds);
    scan_all(bench, 1, -INFINITY, blocks, block_count, bounds);
    qsort(bounds, count, sizeof *bounds, descending);
    const float threshold = bounds[count / 1000];
    free(bounds);
    return threshold;
}

static uint8_t *fill_blocks(const struct bench *bench, unsigned bits, size_t block_count)
{
    const size_t block_bytes = codec_block_bytes(bench->codec);
    const size_t pattern = PATTERN_BYTES / block_bytes;
    uint8_t *blocks = must_allocate(block_count * block_bytes);
    uint8_t *code = must_allocate(codec_code_bytes(bench->codec, bits));
    for (size_t i = 0; i < block_count && i < pattern; i++) {
        for (unsigned lane = 0; lane < CODEC_BLOCK_LANES; lane++) {
            struct code_factors factors;
            const size_t vector = (i * CODEC_BLOCK_LANES + lane) % VECTORS;
            codec_encode(bench->codec, bits, METRIC_COSINE, bench->vectors + vector * bench->dim,
                         NULL, code, &factors, bench->work);
            codec_block_put(bench->codec, blocks + i * block_bytes, lane, code, factors);
        }
    }
    for (size_t i = pattern; i < block_count; i++) {
        memcpy(blocks + i * block_bytes, blocks + (i - pattern) * block_bytes, block_bytes);
    }
    free(code);
    return blocks;
}

static void bench_scan(uint32_t dim, unsigned bits, const struct kernels *kernels, bool memory)
{
    struct bench bench = bench_new(dim, bits, CODE_NONE, kernels);
    const size_t block_bytes = codec_block_bytes(bench.codec);
    const size_t block_count = (memory ? MEMORY_BYTES : CACHE_BYTES) / block_bytes;
    uint8_t *blocks = fill_blocks(&bench, bits, block_count);
    const size_t seen = block_count < 1000 ? block_count : 1000;
    const float threshold = choose_threshold(&bench, blocks, seen);
    for (size_t queries = 1; queries <= 16; queries *= 4) {
        const size_t asked = queries == 16 ? 8 : queries;
        BEST_SECONDS(best,
                     sink += (double)scan_all(&bench, asked, threshold, blocks, block_count, NULL))
        char name[64];
        snprintf(name, sizeof name, "scan %g bit x%zu", bits == CODE_1_5 ? 1.5 : (double)bits,
                 asked);
        print_line(name, kernels->name, dim, memory ? "memory" : "cache",
                   best * 1e9 / (double)(block_count * CODEC_BLOCK_LANES * asked),
                   (double)block_bytes / CODEC_BLOCK_LANES);
    }
    free(blocks);
    bench_free(&bench);
}

/* ---- second and third stage ---- */

#define BATCH 64u

/* codec_score_rows, `count` rows in the order given. */
static void bench_row_batches(const struct bench *bench, const uint8_t *rows, size_t row_bytes,
                              const uint32_t *order, size_t count, const char *name,
                              const char *kernels, const char *place)
{
    const struct centre_terms terms = {.add = 0.0f, .reach = 1.0f, .square = 0.0f};
    struct codec_row batch[BATCH];
    float estimates[BATCH], half_widths[BATCH];
    BEST_SECONDS(best, {
        for (size_t i = 0; i + BATCH <= count; i += BATCH) {
            for (size_t k = 0; k < BATCH; k++) {
                const uint8_t *row = rows + order[i + k] * row_bytes;
                batch[k].code = row;
                memcpy(&batch[k].factors, row + row_bytes - 8, 8);
            }
            codec_score_rows(bench->codec, bench->queries[0], terms, batch, BATCH, estimates,
                             half_widths);
            sink += (double)estimates[i % BATCH];
        }
    })
    print_line(name, kernels, bench->dim, place, best * 1e9 / (double)(count / BATCH * BATCH),
               (double)row_bytes);
}

/* codec_exact_keys likewise. */
static void bench_exact_batches(const struct bench *bench, const uint8_t *rows,
                                const uint32_t *order, size_t count, const char *name,
                                const char *kernels, const char *place)
{
    const size_t row_bytes = bench->dim * sizeof(float);
    const uint8_t *batch[BATCH];
    float keys[BATCH];
    BEST_SECONDS(best, {
        for (size_t i = 0; i + BATCH <= count; i += BATCH) {
            for (size_t k = 0; k < BATCH; k++) {
                batch[k] = rows + order[i + k] * row_bytes;
            }
            codec_exact_keys(bench->codec, bench->queries[0], batch, BATCH, keys);
            sink += (double)keys[i % BATCH];
        }
    })
    print_line(name, kernels, bench->dim, place, best * 1e9 / (double)(count / BATCH * BATCH),
               (double)row_bytes);
}

/* 0..count-1 in order, or drawn from them. */
static uint32_t *order_new(size_t count, bool drawn)
{
    uint32_t *order = must_allocate(count * sizeof *order);
    struct random random = {1};
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)(drawn ? splitmix64(&random.state) % count : i);
    }
    return order;
}

static void bench_rows(uint32_t dim, unsigned bits, const struct kernels *kernels, bool memory)
{
    struct bench bench = bench_new(dim, CODE_1, bits, kernels);
    const size_t code_bytes = codec_code_bytes(bench.codec, bits);
    const size_t row_bytes = code_bytes + sizeof(struct code_factors);
    const size_t count = (memory ? MEMORY_BYTES : CACHE_BYTES) / row_bytes;
    const size_t pattern = PATTERN_BYTES / row_bytes;
    uint8_t *rows = must_allocate(count * row_bytes);
    for (size_t i = 0; i < count && i < pattern; i++) {
        struct code_factors factors;
        codec_encode(bench.codec, bits, METRIC_COSINE, bench.vectors + i % VECTORS * dim, NULL,
                     rows + i * row_bytes, &factors, bench.work);
        memcpy(rows + i * row_bytes + code_bytes, &factors, sizeof factors);
    }
    for (size_t i = pattern; i < count; i++) {
        memcpy(rows + i * row_bytes, rows + (i - pattern) * row_bytes, row_bytes);
    }
    const struct centre_terms terms = {.add = 0.0f, .reach = 1.0f, .square = 0.0f};
    BEST_SECONDS(best, {
        float sum = 0.0f;
        for (size_t i = 0; i < count; i++) {
            struct code_factors factors;
            float half_width;
            memcpy(&factors, rows + i * row_bytes + code_bytes, sizeof factors);
            sum += codec_score_row(bench.codec, bench.queries[0], terms, rows + i * row_bytes,
                                   factors, &half_width);
        }
        sink += (double)sum;
    })
    char name[64];
    snprintf(name, sizeof name, "rows %u bit", bits);
    print_line(name, kernels->name, dim, memory ? "memory" : "cache", best * 1e9 / (double)count,
               (double)row_bytes);
    const struct codec_query *query = bench.queries[0];
    BEST_SECONDS(kernel, {
        int64_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            const uint8_t *row = rows + i * row_bytes;
            sum += bits == CODE_4 ? kernels->row_sums(row, code_bytes, query->low, query->high).dot
                                  : kernels->row_sums_8(row, dim, query->wide).dot;
        }
        sink += (double)sum;
    })
    snprintf(name, sizeof name, "rows %u bit, sums only", bits);
    print_line(name, kernels->name, dim, memory ? "memory" : "cache", kernel * 1e9 / (double)count,
               (double)row_bytes);
    for (unsigned drawn = 0; drawn < 2; drawn++) {
        uint32_t *order = order_new(count, drawn != 0);
        snprintf(name, sizeof name, "rows %u bit, batches%s", bits, drawn != 0 ? ", no order" : "");
        bench_row_batches(&bench, rows, row_bytes, order, count, name, kernels->name,
                          memory ? "memory" : "cache");
        free(order);
    }
    free(rows);
    bench_free(&bench);
}

static void bench_exact(uint32_t dim, const struct kernels *kernels, bool memory)
{
    struct bench bench = bench_new(dim, CODE_1, CODE_4, kernels);
    const size_t row_bytes = dim * sizeof(float);
    const size_t count = (memory ? MEMORY_BYTES : CACHE_BYTES) / row_bytes;
    uint8_t *rows = must_allocate(count * row_bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(rows + i * row_bytes, bench.vectors + i % VECTORS * dim, row_bytes);
    }
    BEST_SECONDS(best, {
        float sum = 0.0f;
        for (size_t i = 0; i < count; i++) {
            sum += codec_exact_key(bench.codec, bench.queries[0], rows + i * row_bytes);
        }
        sink += (double)sum;
    })
    print_line("exact float32", kernels->name, dim, memory ? "memory" : "cache",
               best * 1e9 / (double)count, (double)row_bytes);
    for (unsigned drawn = 0; drawn < 2; drawn++) {
        uint32_t *order = order_new(count, drawn != 0);
        bench_exact_batches(&bench, rows, order, count,
                            drawn != 0 ? "exact, batches, no order" : "exact, batches",
                            kernels->name, memory ? "memory" : "cache");
        free(order);
    }
    free(rows);
    bench_free(&bench);
}

/* ---- encoding and queries ---- */

static void bench_encode(uint32_t dim, const struct kernels *kernels)
{
    static const unsigned bits[] = {CODE_1, CODE_1_5, CODE_2, CODE_4, CODE_8};
    for (size_t b = 0; b < sizeof bits / sizeof *bits; b++) {
        struct bench bench =
            bench_new(dim, bits[b] == CODE_1_5 ? CODE_1_5 : CODE_1, CODE_4, kernels);
        float *rotated = must_allocate(dim * sizeof *rotated);
        uint8_t *code = must_allocate((size_t)dim * 2);
        struct code_factors factors;
        BEST_SECONDS(best, {
            for (size_t i = 0; i < VECTORS; i++) {
                codec_rotate(bench.codec, bench.vectors + i * dim, rotated, bench.work);
                codec_encode(bench.codec, bits[b], METRIC_COSINE, rotated, bench.vectors, code,
                             &factors, bench.work);
            }
            sink += (double)factors.f_mul;
        })
        char name[64];
        snprintf(name, sizeof name, "encode %g bit", bits[b] == CODE_1_5 ? 1.5 : (double)bits[b]);
        print_line(name, kernels->name, dim, "-", best * 1e9 / VECTORS, dim * sizeof(float));
        free(rotated);
        free(code);
        bench_free(&bench);
    }
    struct bench bench = bench_new(dim, CODE_1, CODE_4, kernels);
    BEST_SECONDS(best, {
        for (size_t i = 0; i < VECTORS; i++) {
            codec_query_init(bench.codec, METRIC_COSINE, bench.vectors + i * dim, bench.queries[0],
                             bench.work);
        }
    })
    print_line("query", kernels->name, dim, "-", best * 1e9 / VECTORS, dim * sizeof(float));
    bench_free(&bench);
}

static void bench_dim(uint32_t dim)
{
    static const unsigned first[] = {CODE_1, CODE_1_5, CODE_2, CODE_4, CODE_8};
    for (size_t t = 0; kernels_at(t) != NULL; t++) {
        const struct kernels *kernels = kernels_at(t);
        if (!kernels->supported()) {
            fprintf(stderr, "SKIPPED %s: this CPU lacks its instructions\n", kernels->name);
            continue;
        }
        const bool best = kernels == kernels_best();
        for (int memory = 0; memory <= (best ? 1 : 0); memory++) {
            for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
                bench_scan(dim, first[i], kernels, memory == 1);
            }
            bench_rows(dim, CODE_4, kernels, memory == 1);
            bench_rows(dim, CODE_8, kernels, memory == 1);
            bench_exact(dim, kernels, memory == 1);
        }
        bench_encode(dim, kernels);
    }
}

int main(int argc, char **argv)
{
    bench_memory();
    for (int i = 1; i < argc; i++) {
        if (i > 1) {
            bench_memory();
        }
        bench_dim((uint32_t)strtoul(argv[i], NULL, 10));
    }
    return 0;
}
