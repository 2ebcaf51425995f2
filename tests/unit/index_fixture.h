/* What the tests of the index share: a database in a directory of its own, random vectors, a naive
 * model of arrays and linear scans, and the comparison of the two. */
#ifndef KITH_TESTS_INDEX_FIXTURE_H
#define KITH_TESTS_INDEX_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "index/search.h"
#include "index/value.h"
#include "index/verify.h"

/* ---- random numbers ---- */

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return random_next(state) % bound;
}

static inline double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

static inline double random_normal(uint64_t *state)
{
    const double u = random_unit(state) + 0x1p-60, v = random_unit(state);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* ---- a database of its own ---- */

struct fixture {
    char directory[64];
    struct database_options options;
    struct database *database;
    struct collection *collection; /* held; of the name below */
    struct search_workspace *workspace;
    struct arena arena;
};

#define FIXTURE_NAME span_text("points")

static inline void fixture_open(struct fixture *fixture)
{
    char why[256] = "";
    const enum error error = database_open(fixture->directory, true, &fixture->options,
                                           &fixture->database, why, sizeof why);
    if (error != OK) {
        fail_msg("database_open: %s: %s", error_text(error), why);
    }
}

/* Small generations, small maps, no ballast. Zero sizes keep these. */
static inline void fixture_begin(struct fixture *fixture, uint32_t first_generation_codes,
                                 uint32_t generation_codes)
{
    *fixture = (struct fixture){.options = database_options_default()};
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/kith-test-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->options.storage.map_initial_bytes = (uint64_t)64 << 20;
    fixture->options.storage.map_max_bytes = (uint64_t)512 << 20;
    fixture->options.storage.reader_count = 4;
    fixture->options.storage.min_free_bytes = 1;
    fixture->options.storage.ballast_bytes = 0;
    fixture->options.storage.allow_network_fs = true;
    fixture->options.storage.slot_chunk_bits = 6;
    fixture->options.first_generation_codes = first_generation_codes;
    fixture->options.generation_codes = generation_codes;
    fixture->options.partition_start_codes = first_generation_codes + generation_codes;
    fixture->options.partition_codes = 12;
    fixture->options.plan_bytes = 16384;
    fixture->workspace = search_workspace_new();
    arena_init(&fixture->arena);
    fixture_open(fixture);
}

static inline void fixture_create(struct fixture *fixture, uint32_t dim, enum metric metric,
                                  uint64_t first_slot)
{
    const struct vector_settings vector = {
        .kind = VECTOR_DENSE, .metric = metric, .dim = dim, .seed = 42};
    const struct collection_settings settings = {.vectors = &vector,
                                                 .vector_count = dim > 0 ? 1 : 0,
                                                 .first_slot = first_slot,
                                                 .config = span_text("{}")};
    assert_int_equal(database_create(fixture->database, FIXTURE_NAME, &settings), OK);
    assert_int_equal(collection_acquire(fixture->database, FIXTURE_NAME, &fixture->collection), OK);
}

static inline void fixture_close(struct fixture *fixture)
{
    collection_release(fixture->collection);
    fixture->collection = NULL;
    database_close(fixture->database);
    fixture->database = NULL;
}

static inline void fixture_reopen(struct fixture *fixture)
{
    fixture_close(fixture);
    fixture_open(fixture);
    assert_int_equal(collection_acquire(fixture->database, FIXTURE_NAME, &fixture->collection), OK);
}

static inline int fixture_remove_entry(const char *path, const struct stat *stat, int type,
                                       struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void fixture_end(struct fixture *fixture)
{
    fixture_close(fixture);
    search_workspace_free(fixture->workspace);
    arena_release(&fixture->arena);
    assert_int_equal(nftw(fixture->directory, fixture_remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline struct view fixture_view(struct fixture *fixture)
{
    struct view view;
    assert_int_equal(view_open(collection_environment(fixture->collection), 0, &view), OK);
    return view;
}

static inline void fixture_report(void *context, const char *text)
{
    (void)context;
    print_error("verify: %s\n", text);
}

static inline void fixture_verify(struct fixture *fixture)
{
    uint64_t problems = 0;
    assert_int_equal(collection_verify(fixture->collection, 0, fixture_report, NULL, &problems),
                     OK);
    assert_int_equal(problems, 0);
}

/* ---- the model ---- */

#define MODEL_IDS 400u

struct model_point {
    bool live, has_vector;
    uint64_t version;
    uint64_t payload; /* 0: none; else the integer that is the payload */
    float *vector;    /* [dim] */
};

struct model {
    uint32_t dim;
    enum metric metric;
    struct model_point points[MODEL_IDS];
};

static inline void model_begin(struct model *model, uint32_t dim, enum metric metric)
{
    *model = (struct model){.dim = dim, .metric = metric};
    for (uint32_t i = 0; i < MODEL_IDS; i++) {
        model->points[i].vector = calloc(dim + 1, sizeof(float));
        assert_non_null(model->points[i].vector);
    }
}

static inline void model_end(struct model *model)
{
    for (uint32_t i = 0; i < MODEL_IDS; i++) {
        free(model->points[i].vector);
    }
}

/* Even numbers are number ids, odd ones UUIDs: model order is not id order. */
static inline struct point_id model_id(uint32_t i)
{
    if (i % 2 == 0) {
        return point_id_number((uint64_t)i * 1000003u % 65537u);
    }
    struct point_id id = {.kind = POINT_ID_UUID};
    store64_big(id.bytes, (uint64_t)i * 7919u % 104729u);
    id.bytes[15] = (uint8_t)i;
    return id;
}

static inline double model_key(const struct model *model, const float *a, const float *b)
{
    double dot = 0, square = 0, absolute = 0;
    for (uint32_t i = 0; i < model->dim; i++) {
        const double x = (double)a[i], y = (double)b[i];
        dot += x * y;
        square += (x - y) * (x - y);
        absolute += fabs(x - y);
    }
    switch (model->metric) {
    case METRIC_COSINE:
    case METRIC_DOT:
        return dot;
    case METRIC_EUCLID:
        return -square;
    case METRIC_MANHATTAN:
        return -absolute;
    }
    return 0;
}

/* A random vector: clustered, off centre, or one of a few, so that there are ties. */
static inline void model_random_vector(const struct model *model, const struct codec *codec,
                                       uint64_t *random, float *out)
{
    const uint64_t shape = random_below(random, 8);
    uint64_t few = random_below(random, 5);
    uint64_t *source = shape == 0 ? &few : random;
    uint64_t cluster = 1000 + random_below(random, 6);
    for (uint32_t i = 0; i < model->dim; i++) {
        double x = random_normal(source);
        if (shape > 2) {
            x = 0.7 * x + random_normal(&cluster) + 0.5;
        }
        out[i] = (float)x;
    }
    if (model->metric == METRIC_COSINE) {
        codec_normalise(codec, out);
    }
}

struct model_hit {
    double key;
    uint32_t id;
};

static inline int model_compare_hits(const void *a, const void *b)
{
    const double x = ((const struct model_hit *)a)->key, y = ((const struct model_hit *)b)->key;
    return x > y ? -1 : x < y;
}

/* All live vectors by key, best first. */
static inline size_t model_search(const struct model *model, const float *query,
                                  struct model_hit hits[MODEL_IDS])
{
    size_t count = 0;
    for (uint32_t i = 0; i < MODEL_IDS; i++) {
        const struct model_point *point = &model->points[i];
        if (point->live && point->has_vector) {
            hits[count++] = (struct model_hit){model_key(model, query, point->vector), i};
        }
    }
    qsort(hits, count, sizeof *hits, model_compare_hits);
    return count;
}

static inline uint32_t model_index_of(const struct point_id *id)
{
    for (uint32_t i = 0; i < MODEL_IDS; i++) {
        const struct point_id other = model_id(i);
        if (point_id_compare(&other, id) == 0) {
            return i;
        }
    }
    fail_msg("an id that was never given");
    return 0;
}

/* Score as clients see it, of a key. */
static inline double model_score(enum metric metric, double key)
{
    switch (metric) {
    case METRIC_COSINE:
    case METRIC_DOT:
        return key;
    case METRIC_EUCLID:
        return sqrt(-key);
    case METRIC_MANHATTAN:
        return -key;
    }
    return 0;
}

static inline double model_tolerance(const struct model *model, const float *query)
{
    double norm = 0, largest = 0;
    for (uint32_t i = 0; i < model->dim; i++) {
        norm += (double)query[i] * (double)query[i];
    }
    for (uint32_t p = 0; p < MODEL_IDS; p++) {
        double square = 0;
        for (uint32_t i = 0; i < model->dim; i++) {
            square += (double)model->points[p].vector[i] * (double)model->points[p].vector[i];
        }
        largest = square > largest ? square : largest;
    }
    return 1e-5 * (norm + largest);
}

/* ---- payloads ---- */

static inline struct span fixture_payload(struct arena *arena, uint64_t number)
{
    if (number == 0) {
        return (struct span){NULL, 0};
    }
    struct value_builder builder;
    value_begin(&builder, arena);
    assert_int_equal(value_open_object(&builder), OK);
    assert_int_equal(value_put_key(&builder, span_text("n")), OK);
    value_put_integer(&builder, (int64_t)number, (struct span){NULL, 0});
    value_close(&builder);
    return value_end(&builder);
}

#endif
