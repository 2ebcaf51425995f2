/* Named, sparse and multi vectors against naive models: random points with any subset of them, put,
 * replaced and deleted in groups; every search compared with a linear scan, verify after each
 * round. */
#include "tests/unit/index_fixture.h"

#define ID_COUNT 150u
#define DENSE_DIM 40u
#define SMALL_DIM 3u
#define MULTI_DIM 33u
#define ROWS_MAX 4u
#define PAIRS_MAX 12u
#define INDEX_COUNT 30u

enum { NUMBER_DENSE, NUMBER_SPARSE, NUMBER_SMALL, NUMBER_IDF, NUMBER_MULTI, NUMBER_COUNT };

struct sparse {
    uint32_t count, indices[PAIRS_MAX];
    float values[PAIRS_MAX];
};

struct vectors_point {
    bool live, has[NUMBER_COUNT];
    float dense[DENSE_DIM], small[SMALL_DIM], rows[ROWS_MAX * MULTI_DIM];
    uint32_t row_count;
    struct sparse sparse[2]; /* NUMBER_SPARSE, NUMBER_IDF */
};

struct run {
    struct fixture fixture;
    uint64_t random;
    struct vectors_point points[ID_COUNT];
};

static struct sparse *sparse_of(struct vectors_point *point, uint16_t number)
{
    return &point->sparse[number == NUMBER_IDF];
}

/* ---- random vectors ---- */

static void random_row(struct run *run, uint32_t dim, bool normalise, uint16_t number, float *row)
{
    for (uint32_t i = 0; i < dim; i++) {
        row[i] = (float)random_normal(&run->random);
    }
    if (normalise) {
        codec_normalise(collection_codec(run->fixture.collection, number), row);
    }
}

/* Small whole values, so that equal sums are common: ties go by id. */
static void random_sparse(struct run *run, struct sparse *sparse)
{
    sparse->count = 0;
    for (uint32_t index = 0; index < INDEX_COUNT && sparse->count < PAIRS_MAX; index++) {
        /* low indices are in most vectors, high ones in few */
        if (random_below(&run->random, 2 + index) == 0) {
            sparse->indices[sparse->count] = index * 1000003u;
            sparse->values[sparse->count++] = (float)random_below(&run->random, 7) - 3.0f;
        }
    }
}

static void random_point(struct run *run, struct vectors_point *point)
{
    *point = (struct vectors_point){.live = true};
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        point->has[i] = random_below(&run->random, 4) != 0;
    }
    random_row(run, DENSE_DIM, true, NUMBER_DENSE, point->dense);
    random_row(run, SMALL_DIM, false, NUMBER_SMALL, point->small);
    point->row_count = 1 + (uint32_t)random_below(&run->random, ROWS_MAX);
    for (uint32_t i = 0; i < point->row_count; i++) {
        random_row(run, MULTI_DIM, true, NUMBER_MULTI, point->rows + i * MULTI_DIM);
    }
    random_sparse(run, &point->sparse[0]);
    random_sparse(run, &point->sparse[1]);
}

/* ---- the same into both ---- */

static void put_vectors(struct op_builder *builder, struct vectors_point *point)
{
    for (uint16_t i = 0; i < NUMBER_COUNT; i++) {
        if (!point->has[i]) {
            continue;
        }
        struct vector_data vector = {.number = i, .kind = VECTOR_DENSE, .count = 1};
        if (i == NUMBER_DENSE) {
            vector.dim = DENSE_DIM;
            memcpy(op_put_vector(builder, &vector), point->dense, sizeof point->dense);
        } else if (i == NUMBER_SMALL) {
            vector.dim = SMALL_DIM;
            memcpy(op_put_vector(builder, &vector), point->small, sizeof point->small);
        } else if (i == NUMBER_MULTI) {
            vector.kind = VECTOR_MULTI;
            vector.dim = MULTI_DIM;
            vector.count = point->row_count;
            memcpy(op_put_vector(builder, &vector), point->rows, vector_data_bytes(&vector));
        } else {
            const struct sparse *sparse = sparse_of(point, i);
            vector.kind = VECTOR_SPARSE;
            vector.count = sparse->count;
            uint8_t *to = op_put_vector(builder, &vector);
            memcpy(to, sparse->indices, 4u * sparse->count);
            memcpy(to + 4u * sparse->count, sparse->values, 4u * sparse->count);
        }
    }
}

/* Some vectors of points replaced or deleted; the others stay. Missing points are left alone. */
static struct span random_change(struct run *run)
{
    struct op_builder builder;
    const uint8_t request_id[16] = {0};
    const bool deletes = random_below(&run->random, 2) == 0;
    op_begin(&builder, &run->fixture.arena, deletes ? OP_VECTORS_DELETE : OP_VECTORS_UPDATE,
             request_id);
    const uint64_t count = 1 + random_below(&run->random, 15);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t number = random_below(&run->random, ID_COUNT);
        const struct point_id id = point_id_number(number);
        struct vectors_point *point = &run->points[number], given;
        random_point(run, &given);
        op_put_point(&builder, &id, (struct span){NULL, 0});
        if (!deletes) {
            put_vectors(&builder, &given);
        }
        for (uint16_t n = 0; n < NUMBER_COUNT; n++) {
            const struct vector_data name = {.number = n, .kind = VECTOR_SPARSE};
            if (!given.has[n]) {
                continue;
            }
            if (deletes) {
                (void)op_put_vector(&builder, &name);
                point->has[n] = false;
                continue;
            }
            point->has[n] = true;
            if (n == NUMBER_DENSE) {
                memcpy(point->dense, given.dense, sizeof given.dense);
            } else if (n == NUMBER_SMALL) {
                memcpy(point->small, given.small, sizeof given.small);
            } else if (n == NUMBER_MULTI) {
                memcpy(point->rows, given.rows, sizeof given.rows);
                point->row_count = given.row_count;
            } else {
                *sparse_of(point, n) = *sparse_of(&given, n);
            }
        }
    }
    return op_end(&builder);
}

static struct span random_op(struct run *run)
{
    if (random_below(&run->random, 3) == 0) {
        return random_change(run);
    }
    struct op_builder builder;
    const uint8_t request_id[16] = {0};
    const bool deletes = random_below(&run->random, 4) == 0;
    op_begin(&builder, &run->fixture.arena, deletes ? OP_DELETE : OP_UPSERT, request_id);
    const uint64_t count = 1 + random_below(&run->random, deletes ? 12 : 25);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t number = random_below(&run->random, ID_COUNT);
        const struct point_id id = point_id_number(number);
        if (deletes) {
            run->points[number].live = false;
            op_put_id(&builder, &id);
        } else {
            random_point(run, &run->points[number]);
            op_put_point(&builder, &id, (struct span){NULL, 0});
            put_vectors(&builder, &run->points[number]);
        }
    }
    return op_end(&builder);
}

static void apply_group(struct run *run)
{
    struct apply_item items[3];
    const size_t count = 1 + random_below(&run->random, 3);
    for (size_t i = 0; i < count; i++) {
        struct encoded *encoded = NULL;
        items[i] = (struct apply_item){.op = random_op(run)};
        if (random_below(&run->random, 2) == 0) {
            assert_int_equal(collection_encode(run->fixture.collection, 1, items[i].op,
                                               &run->fixture.arena, run->fixture.workspace,
                                               &encoded),
                             OK);
        }
        items[i].encoded = encoded;
    }
    assert_int_equal(collection_apply(run->fixture.collection, items, count), OK);
    arena_release(&run->fixture.arena);
}

/* ---- naive keys ---- */

static double idf_of(struct run *run, uint32_t index)
{
    double total = 0, has = 0;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct vectors_point *point = &run->points[i];
        if (!point->live || !point->has[NUMBER_IDF]) {
            continue;
        }
        total++;
        for (uint32_t j = 0; j < point->sparse[1].count; j++) {
            has += point->sparse[1].indices[j] == index;
        }
    }
    return log((total - has + 0.5) / (has + 0.5) + 1.0);
}

static float sparse_key(const struct sparse *query, const float *weights,
                        const struct sparse *point, bool *overlap)
{
    float sum = 0;
    *overlap = false;
    for (uint32_t i = 0; i < query->count; i++) {
        for (uint32_t j = 0; j < point->count; j++) {
            if (query->indices[i] == point->indices[j]) {
                sum += weights[i] * point->values[j];
                *overlap = true;
            }
        }
    }
    return sum;
}

static float max_sim(struct run *run, const float *query, uint32_t count,
                     const struct vectors_point *point)
{
    float sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        float best = -INFINITY;
        for (uint32_t j = 0; j < point->row_count; j++) {
            const float key =
                codec_key(collection_codec(run->fixture.collection, NUMBER_MULTI), METRIC_COSINE,
                          query + i * MULTI_DIM, point->rows + j * MULTI_DIM);
            best = key > best ? key : best;
        }
        sum += best;
    }
    return sum;
}

/* ---- searching ---- */

struct expected {
    uint64_t id;
    float key;
};

static int compare_expected(const void *a, const void *b)
{
    const struct expected *x = a, *y = b;
    if (x->key != y->key) {
        return x->key > y->key ? -1 : 1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static void compare_search(struct run *run, struct search_request *request,
                           struct expected *expected, size_t count)
{
    qsort(expected, count, sizeof *expected, compare_expected);
    request->limit = 1 + random_below(&run->random, 20);
    request->offset = random_below(&run->random, 3);
    const size_t behind = count > request->offset ? count - (size_t)request->offset : 0;
    const size_t wanted = behind < request->limit ? behind : (size_t)request->limit;
    struct view view = fixture_view(&run->fixture);
    struct hit *hits;
    size_t hit_count;
    struct search_stats stats;
    assert_int_equal(collection_search(run->fixture.collection, &view, request,
                                       run->fixture.workspace, &run->fixture.arena, &hits,
                                       &hit_count, &stats),
                     OK);
    assert_false(stats.degraded);
    assert_int_equal(hit_count, wanted);
    for (size_t i = 0; i < hit_count; i++) {
        const struct expected *want = &expected[request->offset + i];
        assert_true(hits[i].key == want->key);
        assert_true(load64_big(hits[i].row.id.bytes) == want->id);
    }
    view_close(&view);
}

static void search_sparse(struct run *run, uint16_t number)
{
    struct sparse query;
    random_sparse(run, &query);
    float weights[PAIRS_MAX];
    for (uint32_t i = 0; i < query.count; i++) {
        weights[i] = query.values[i];
        if (number == NUMBER_IDF) {
            weights[i] *= (float)idf_of(run, query.indices[i]);
        }
    }
    struct expected expected[ID_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct vectors_point *point = &run->points[i];
        bool overlap;
        const float key = sparse_key(&query, weights, sparse_of(point, number), &overlap);
        if (point->live && point->has[number] && overlap) {
            expected[count++] = (struct expected){i, key};
        }
    }
    struct search_request request = {.vector_number = number,
                                     .vector = query.values,
                                     .indices = query.indices,
                                     .vector_count = query.count};
    compare_search(run, &request, expected, count);
}

static void search_multi(struct run *run)
{
    struct vectors_point query;
    random_point(run, &query);
    struct expected expected[ID_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < ID_COUNT; i++) {
        const struct vectors_point *point = &run->points[i];
        if (point->live && point->has[NUMBER_MULTI]) {
            expected[count++] =
                (struct expected){i, max_sim(run, query.rows, query.row_count, point)};
        }
    }
    struct search_request request = {
        .vector_number = NUMBER_MULTI, .vector = query.rows, .vector_count = query.row_count};
    compare_search(run, &request, expected, count);
}

static void search_dense(struct run *run, uint16_t number)
{
    struct vectors_point query;
    random_point(run, &query);
    const float *floats = number == NUMBER_DENSE ? query.dense : query.small;
    struct expected expected[ID_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < ID_COUNT; i++) {
        const struct vectors_point *point = &run->points[i];
        if (!point->live || !point->has[number]) {
            continue;
        }
        const float *own = number == NUMBER_DENSE ? point->dense : point->small;
        expected[count++] = (struct expected){
            i, codec_key(collection_codec(run->fixture.collection, number),
                         number == NUMBER_DENSE ? METRIC_COSINE : METRIC_EUCLID, floats, own)};
    }
    struct search_request request = {.vector_number = number, .vector = floats, .exact = true};
    compare_search(run, &request, expected, count);
}

/* ---- what is stored ---- */

static void compare_stored(struct run *run)
{
    struct view view = fixture_view(&run->fixture);
    for (uint64_t i = 0; i < ID_COUNT; i++) {
        struct vectors_point *point = &run->points[i];
        const struct point_id id = point_id_number(i);
        uint64_t slot;
        assert_int_equal(view_slot(&view, &id, &slot), point->live ? OK : ERROR_NOT_FOUND);
        for (uint16_t n = 0; point->live && n < NUMBER_COUNT; n++) {
            struct stored_vector stored;
            if (n == NUMBER_DENSE || n == NUMBER_SMALL) {
                continue; /* index_property_test.c */
            }
            const enum error error = view_stored(&view, n, slot, &stored);
            assert_int_equal(error, point->has[n] ? OK : ERROR_NOT_FOUND);
            if (error == OK && n == NUMBER_MULTI) {
                assert_int_equal(stored.count, point->row_count);
                assert_memory_equal(stored.data, point->rows, stored_data_bytes(&stored));
            } else if (error == OK) {
                const struct sparse *sparse = sparse_of(point, n);
                assert_int_equal(stored.count, sparse->count);
                assert_memory_equal(stored.data, sparse->indices, 4u * sparse->count);
            }
        }
    }
    view_close(&view);
}

static void run_seed(uint64_t seed, uint64_t first_slot)
{
    static struct run run;
    run = (struct run){.random = seed};
    fixture_begin(&run.fixture, 20, 30);
    database_close(run.fixture.database);
    run.fixture.options.sparse_tail_points = 10;
    fixture_open(&run.fixture);
    const struct vector_settings vectors[NUMBER_COUNT] = {
        [NUMBER_DENSE] = {.name = span_text("d"),
                          .kind = VECTOR_DENSE,
                          .metric = METRIC_COSINE,
                          .dim = DENSE_DIM,
                          .seed = 1},
        [NUMBER_SPARSE] = {.name = span_text("s"), .kind = VECTOR_SPARSE, .metric = METRIC_DOT},
        [NUMBER_SMALL] = {.name = span_text(""),
                          .kind = VECTOR_DENSE,
                          .metric = METRIC_EUCLID,
                          .dim = SMALL_DIM,
                          .seed = 2},
        [NUMBER_IDF] = {.name = span_text("b"),
                        .kind = VECTOR_SPARSE,
                        .metric = METRIC_DOT,
                        .idf = true},
        [NUMBER_MULTI] = {.name = span_text("m"),
                          .kind = VECTOR_MULTI,
                          .metric = METRIC_COSINE,
                          .dim = MULTI_DIM,
                          .seed = 3},
    };
    const struct collection_settings settings = {.vectors = vectors,
                                                 .vector_count = NUMBER_COUNT,
                                                 .first_slot = first_slot,
                                                 .config = span_text("{}")};
    assert_int_equal(database_create(run.fixture.database, FIXTURE_NAME, &settings), OK);
    assert_int_equal(
        collection_acquire(run.fixture.database, FIXTURE_NAME, &run.fixture.collection), OK);
    for (int round = 0; round < 60; round++) {
        apply_group(&run);
        if (round % 25 == 24) {
            fixture_reopen(&run.fixture);
        }
        for (int i = 0; i < 3; i++) {
            search_sparse(&run, NUMBER_SPARSE);
            search_sparse(&run, NUMBER_IDF);
            search_multi(&run);
            search_dense(&run, NUMBER_DENSE);
            search_dense(&run, NUMBER_SMALL);
        }
        fixture_verify(&run.fixture);
        compare_stored(&run);
        arena_release(&run.fixture.arena);
    }
    fixture_end(&run.fixture);
}

static void test_seeds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_seed(seed * 7919, seed % 2 == 0 ? 0 : (UINT64_C(1) << 32) - 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
