/* The 1-bit scan by itself: bench_scan DIR DIM...
 *
 * Blocks of codes in a file mapping (page cache), several times the last cache, scanned from front
 * to back as a search does it: 64 blocks a call, about one code of a thousand surviving. Prints,
 * for each dim, ns per vector and GB/s: best of 9 passes in the thread's own time, as bench_limits
 * takes the memory's rate. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "codec/codec.h"

#define FILE_BYTES ((size_t)512 << 20)
#define PATTERN_BLOCKS 1024u
#define CALL_BLOCKS 64u
#define PASSES 9

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    check(memory != NULL, "aligned_alloc");
    return memory;
}

static float normal(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (double)rand() / RAND_MAX;
    return (float)(sum - 6);
}

/* Codes of random vectors, PATTERN_BLOCKS of them, again and again. */
static void write_blocks(const struct codec *codec, int file, size_t block_count)
{
    uint32_t dim = codec_dim(codec);
    size_t block_bytes = codec_block_bytes(codec);
    uint8_t *blocks = calloc(PATTERN_BLOCKS, block_bytes);
    uint8_t *code = malloc(codec_code_bytes(codec, 1));
    float *vector = malloc(dim * sizeof *vector);
    void *work = aligned(codec_work_bytes(codec));
    check(blocks != NULL && code != NULL && vector != NULL, "malloc");
    for (size_t i = 0; i < (size_t)PATTERN_BLOCKS * CODEC_BLOCK_LANES; i++) {
        struct code_factors factors;
        for (uint32_t j = 0; j < dim; j++)
            vector[j] = normal() / sqrtf((float)dim);
        codec_encode(codec, 1, METRIC_DOT, vector, NULL, code, &factors, work);
        codec_block_put(codec, blocks + i / CODEC_BLOCK_LANES * block_bytes,
                        (unsigned)(i % CODEC_BLOCK_LANES), code, factors);
    }
    for (size_t i = 0; i < block_count; i += PATTERN_BLOCKS) {
        size_t bytes =
            (block_count - i < PATTERN_BLOCKS ? block_count - i : PATTERN_BLOCKS) * block_bytes;
        check(write(file, blocks, bytes) == (ssize_t)bytes, "write");
    }
    free(blocks);
    free(code);
    free(vector);
    free(work);
}

struct pass {
    const struct codec *codec;
    const struct codec_query *query;
    const uint8_t *blocks;
    size_t block_count;
};

/* Scan it all; bounds_out, if not NULL: float[block_count * 32], else survivors are counted. */
static size_t scan(const struct pass *pass, float threshold, float *bounds_out)
{
    struct centre_terms terms = codec_query_centre(pass->codec, pass->query, NULL);
    uint32_t survivors[CALL_BLOCKS];
    float bounds[CALL_BLOCKS * CODEC_BLOCK_LANES];
    size_t block_bytes = codec_block_bytes(pass->codec), count = 0;
    for (size_t i = 0; i < pass->block_count; i += CALL_BLOCKS) {
        size_t n = pass->block_count - i < CALL_BLOCKS ? pass->block_count - i : CALL_BLOCKS;
        codec_scan_blocks(pass->codec, pass->query, terms, pass->blocks + i * block_bytes, n, 3,
                          threshold, survivors, bounds);
        if (bounds_out != NULL)
            memcpy(bounds_out + i * CODEC_BLOCK_LANES, bounds,
                   n * CODEC_BLOCK_LANES * sizeof *bounds);
        for (size_t k = 0; k < n; k++)
            count += (size_t)__builtin_popcount(survivors[k]);
    }
    return count;
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The threshold that one code of a thousand reaches. */
static float choose_threshold(struct pass pass)
{
    pass.block_count = PATTERN_BLOCKS;
    size_t count = (size_t)PATTERN_BLOCKS * CODEC_BLOCK_LANES;
    float *bounds = malloc(count * sizeof *bounds);
    check(bounds != NULL, "malloc");
    (void)scan(&pass, -INFINITY, bounds);
    qsort(bounds, count, sizeof *bounds, descending);
    float threshold = bounds[count / 1000];
    free(bounds);
    return threshold;
}

static void bench(const char *directory, uint32_t dim)
{
    char path[4096];
    struct codec *codec = codec_new(dim, 1, NULL);
    size_t block_count = FILE_BYTES / codec_block_bytes(codec);
    size_t bytes = block_count * codec_block_bytes(codec);
    snprintf(path, sizeof path, "%s/scan.bin", directory);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(file >= 0, path);
    unlink(path);
    write_blocks(codec, file, block_count);
    const uint8_t *blocks = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
    check(blocks != MAP_FAILED, "mmap");
    struct codec_query *query = aligned(codec_query_bytes(codec));
    void *work = aligned(codec_work_bytes(codec));
    float *vector = malloc(dim * sizeof *vector);
    check(vector != NULL, "malloc");
    for (uint32_t j = 0; j < dim; j++)
        vector[j] = normal() / sqrtf((float)dim);
    codec_query_init(codec, METRIC_DOT, vector, query, work);
    struct pass it = {codec, query, blocks, block_count};
    float threshold = choose_threshold(it);
    size_t survivors = scan(&it, threshold, NULL); /* faults the pages in */
    double best = INFINITY;
    for (int pass = 0; pass < PASSES; pass++) {
        double began = seconds();
        survivors = scan(&it, threshold, NULL);
        best = fmin(best, seconds() - began);
    }
    double count = (double)block_count * CODEC_BLOCK_LANES;
    printf("%u %.3f %.2f %.5f\n", dim, 1e9 * best / count, (double)bytes / best / 1e9,
           (double)survivors / count);
    munmap((void *)(uintptr_t)blocks, bytes);
    close(file);
    free(vector);
    free(query);
    free(work);
    codec_free(codec);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_scan DIR DIM...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++)
        bench(argv[1], (uint32_t)atoi(argv[i]));
    return 0;
}
