/* kith's index as a peer of bench_index.py, without HTTP: a process that is told "build" and
 * "search RECALL OUT" or "share SHARE OUT" on standard input and answers a line each. One thread
 * does everything, maintenance included. What a DIRECTORY holds from an earlier run is searched as
 * it is, for profiles. Arguments: BASE.f32 QUERIES.f32 DIM COSINE|EUCLID K DIRECTORY. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "index/plan.h"
#include "index/search.h"

#define GROUP_POINTS 1024u /* of one transaction, as the writer takes them */

struct floats {
    float *data;
    size_t rows;
};

struct bench {
    struct floats base, queries;
    uint32_t dim;
    size_t k;
    const char *directory;
    bool built; /* by an earlier run */
    struct database *database;
    struct collection *collection;
    struct search_workspace *workspace;
    struct arena arena;
};

static void must(enum error error, const char *what)
{
    if (error != OK) {
        fprintf(stderr, "%s: %s\n", what, error_text(error));
        exit(1);
    }
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct floats read_floats(const char *path, uint32_t dim)
{
    struct stat stat_buffer;
    FILE *file = fopen(path, "rb");
    if (file == NULL || stat(path, &stat_buffer) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    const size_t bytes = (size_t)stat_buffer.st_size;
    struct floats floats = {allocate(bytes), bytes / (dim * sizeof(float))};
    if (fread(floats.data, 1, bytes, file) != bytes) {
        fprintf(stderr, "%s: short\n", path);
        exit(1);
    }
    fclose(file);
    return floats;
}

static void open_collection(struct bench *bench, enum metric metric)
{
    struct database_options options = database_options_default();
    options.storage.reader_count = 1;
    options.storage.ballast_bytes = 0;
    char why[256] = "";
    must(database_open(bench->directory, true, &options, &bench->database, why, sizeof why), why);
    const struct vector_settings vector = {
        .kind = VECTOR_DENSE, .metric = metric, .dim = bench->dim, .seed = 42};
    const struct collection_settings settings = {
        .vectors = &vector, .vector_count = 1, .config = span_text("{}")};
    const enum error made = database_create(bench->database, span_text("bench"), &settings);
    bench->built = made == ERROR_EXISTS;
    must(bench->built ? OK : made, "create");
    must(collection_acquire(bench->database, span_text("bench"), &bench->collection), "acquire");
}

static void put_group(struct bench *bench, size_t first, size_t count)
{
    struct op_builder builder;
    const uint8_t request[16] = {0};
    op_begin(&builder, &bench->arena, OP_UPSERT, request);
    for (size_t i = first; i < first + count; i++) {
        const struct point_id id = point_id_number(i);
        uint8_t *vector = op_put_dense_point(&builder, &id, bench->dim, span_of(NULL, 0));
        memcpy(vector, bench->base.data + i * bench->dim, bench->dim * sizeof(float));
    }
    struct apply_item item = {.op = op_end(&builder)};
    must(collection_apply(bench->collection, &item, 1), "apply");
    arena_release(&bench->arena);
}

static void build(struct bench *bench)
{
    const double begin = seconds(CLOCK_MONOTONIC);
    for (size_t i = 0; i < bench->base.rows && !bench->built; i += GROUP_POINTS) {
        const size_t left = bench->base.rows - i;
        put_group(bench, i, left < GROUP_POINTS ? left : GROUP_POINTS);
        uint64_t steps;
        must(collection_maintain(bench->collection, 0, false, UINT64_MAX, &steps), "maintain");
    }
    const double spent = seconds(CLOCK_MONOTONIC) - begin;
    uint64_t steps; /* what an idle server does later */
    must(collection_maintain(bench->collection, 0, true, UINT64_MAX, &steps), "maintain");
    const double idle = seconds(CLOCK_MONOTONIC) - begin - spent;
    struct environment_stats stats;
    environment_stats_get(collection_environment(bench->collection), &stats);
    printf("built %.6f %llu %.6f\n", spent, (unsigned long long)stats.used_bytes, idle);
}

static void search(struct bench *bench, double recall, double share, const char *path)
{
    int32_t *ids = allocate_zeroed(bench->queries.rows * bench->k, sizeof *ids);
    struct search_stats total = {0};
    const double begin = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < bench->queries.rows; i++) {
        struct search_request request = {.vector = bench->queries.data + i * bench->dim,
                                         .limit = bench->k,
                                         .recall = recall < 1.0 ? (float)recall : 0.0f,
                                         .share = (float)share,
                                         .exact = recall >= 1.0};
        struct view view;
        must(view_open(collection_environment(bench->collection), 0, &view), "view");
        struct hit *hits;
        size_t count;
        struct search_stats stats = {0};
        must(collection_search(bench->collection, &view, &request, bench->workspace, &bench->arena,
                               &hits, &count, &stats),
             "search");
        for (size_t j = 0; j < bench->k; j++) {
            ids[i * bench->k + j] =
                j < count ? (int32_t)load64_big(hits[j].row.id.bytes) : (int32_t)-1;
        }
        total.codes_scanned += stats.codes_scanned;
        total.second_stage += stats.second_stage;
        total.exact_scored += stats.exact_scored;
        view_close(&view);
        arena_release(&bench->arena);
    }
    const double spent = seconds(CLOCK_THREAD_CPUTIME_ID) - begin;
    FILE *out = fopen(path, "wb");
    if (out == NULL || fwrite(ids, sizeof *ids, bench->queries.rows * bench->k, out) == 0) {
        fprintf(stderr, "%s: cannot be written\n", path);
        exit(1);
    }
    fclose(out);
    free(ids);
    const double n = (double)bench->queries.rows;
    printf("searched %.6f %.0f %.1f %.1f\n", spent, (double)total.codes_scanned / n,
           (double)total.second_stage / n, (double)total.exact_scored / n);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        return 2;
    }
    struct bench bench = {.dim = (uint32_t)strtoul(argv[3], NULL, 10),
                          .k = strtoul(argv[5], NULL, 10),
                          .directory = argv[6]};
    bench.base = read_floats(argv[1], bench.dim);
    bench.queries = read_floats(argv[2], bench.dim);
    bench.workspace = search_workspace_new();
    arena_init(&bench.arena);
    open_collection(&bench, strcmp(argv[4], "COSINE") == 0 ? METRIC_COSINE : METRIC_EUCLID);
    char line[4096], path[4000];
    double recall, share;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "build", 5) == 0) {
            build(&bench);
        } else if (sscanf(line, "search %lf %3999s", &recall, path) == 2) {
            search(&bench, recall, 0.0, path);
        } else if (sscanf(line, "share %lf %3999s", &share, path) == 2) {
            search(&bench, 0.0, share, path);
        }
        fflush(stdout);
    }
    collection_release(bench.collection);
    database_close(bench.database);
    search_workspace_free(bench.workspace);
    free(bench.base.data);
    free(bench.queries.data);
    return 0;
}
