/* Random operations on a collection and on a naive model; every answer compared, and the collection
 * verified, after every step. */
#include "index_fixture.h"

#include "index/compact.h"
#include "index/plan.h"

#define STEPS 120
#define OPS_A_GROUP 4

struct run {
    struct fixture fixture;
    struct model model;
    uint64_t random;
    /* how the staged search did, over the whole run */
    uint64_t wanted, found;
    uint64_t steps; /* of maintenance */
    uint64_t compacted;
};

/* One random op, applied to the model as the collection will see it: version `operation`. */
static struct span random_op(struct run *run, uint64_t operation, uint32_t *changed)
{
    struct op_builder builder;
    const bool deletes = random_below(&run->random, 4) == 0;
    uint8_t request_id[16];
    store64(request_id, random_next(&run->random));
    store64(request_id + 8, operation);
    op_begin(&builder, &run->fixture.arena, deletes ? OP_DELETE : OP_UPSERT, request_id);
    const uint64_t count = random_below(&run->random, deletes ? 12 : 50);
    const uint64_t range = 1 + random_below(&run->random, MODEL_IDS);
    *changed = 0;
    for (uint64_t n = 0; n < count; n++) {
        const uint32_t i = (uint32_t)random_below(&run->random, range); /* repeats within the op */
        const struct point_id id = model_id(i);
        struct model_point *point = &run->model.points[i];
        if (deletes) {
            op_put_id(&builder, &id);
            *changed += point->live;
            point->live = false;
            continue;
        }
        const bool has_vector = run->model.dim > 0 && random_below(&run->random, 10) != 0;
        point->live = true;
        point->has_vector = has_vector;
        point->version = operation;
        point->payload = random_below(&run->random, 3) == 0 ? 0 : random_next(&run->random) >> 20;
        uint8_t *out = op_put_dense_point(&builder, &id, has_vector ? run->model.dim : 0,
                                          fixture_payload(&run->fixture.arena, point->payload));
        if (has_vector) {
            model_random_vector(&run->model, collection_codec(run->fixture.collection, 0),
                                &run->random, point->vector);
            memcpy(out, point->vector, run->model.dim * sizeof(float));
        }
        ++*changed;
    }
    return op_end(&builder);
}

/* A group of ops in one commit; some encoded beside the writer, all of them before the group, so
 * that later ones may be out of date when they are applied. */
static void apply_group(struct run *run)
{
    struct fixture *fixture = &run->fixture;
    struct view view = fixture_view(fixture);
    const uint64_t before = view_counters(&view)->operation;
    view_close(&view);
    struct apply_item items[OPS_A_GROUP] = {{.operation = 0}};
    uint32_t changed[OPS_A_GROUP];
    const size_t count = 1 + random_below(&run->random, OPS_A_GROUP);
    for (size_t i = 0; i < count; i++) {
        items[i].op = random_op(run, before + 1 + i, &changed[i]);
        struct encoded *encoded = NULL;
        if (run->model.dim > 0 && random_below(&run->random, 2) == 0) {
            assert_int_equal(collection_encode(fixture->collection, 1, items[i].op, &fixture->arena,
                                               fixture->workspace, &encoded),
                             OK);
        }
        items[i].encoded = encoded;
    }
    assert_int_equal(collection_apply(fixture->collection, items, count), OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(items[i].operation, before + 1 + i);
        assert_int_equal(items[i].points_changed, changed[i]);
    }
}

/* Ids, rows, payloads and vectors as the model has them. */
static void check_points(struct run *run)
{
    struct view view = fixture_view(&run->fixture);
    uint64_t points = 0, vectors = 0;
    for (uint32_t i = 0; i < MODEL_IDS; i++) {
        const struct model_point *point = &run->model.points[i];
        const struct point_id id = model_id(i);
        uint64_t slot;
        const enum error error = view_slot(&view, &id, &slot);
        assert_int_equal(error, point->live ? OK : ERROR_NOT_FOUND);
        if (!point->live) {
            continue;
        }
        struct point_row row;
        assert_int_equal(view_point(&view, slot, &row), OK);
        assert_int_equal(point_id_compare(&row.id, &id), 0);
        assert_int_equal(row.version, point->version);
        assert_int_equal(vector_set_has(&row.vectors, 0), point->has_vector);
        assert_true(span_equal(row.payload, fixture_payload(&run->fixture.arena, point->payload)));
        assert_false(view_is_dead(&view, slot));
        points++;
        if (point->has_vector) {
            struct vector_row vector;
            assert_int_equal(view_vector(&view, 0, slot, &vector), OK);
            assert_int_equal(vector_row_check(&view, 0, &vector), OK);
            assert_memory_equal(vector.vector, point->vector, run->model.dim * sizeof(float));
            vectors++;
        }
    }
    assert_int_equal(view_counters(&view)->point_count, points);
    assert_int_equal(view_vector_counters(&view, 0)->vector_count, vectors);
    view_close(&view);
}

struct expected {
    struct model_hit hits[MODEL_IDS];
    size_t count;
};

/* What a request must find: without the excluded, what passes the threshold, behind the offset. */
static void expect(const struct run *run, const struct search_request *request,
                   struct expected *expected)
{
    struct model_hit all[MODEL_IDS];
    const size_t count = model_search(&run->model, request->vector, all);
    const bool smaller =
        run->model.metric == METRIC_EUCLID || run->model.metric == METRIC_MANHATTAN;
    size_t passed = 0;
    expected->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct point_id id = model_id(all[i].id);
        bool out = false;
        for (size_t j = 0; j < request->exclude_count; j++) {
            out = out || point_id_compare(&request->exclude[j], &id) == 0;
        }
        const double score = model_score(run->model.metric, all[i].key);
        if (request->has_threshold && (smaller ? score >= (double)request->threshold_score
                                               : score <= (double)request->threshold_score)) {
            out = true;
        }
        if (!out && passed++ >= request->offset && expected->count < request->limit) {
            expected->hits[expected->count++] = all[i];
        }
    }
}

/* Keys are right for their points, in order, and without repeats. */
static void check_hits(struct run *run, const struct search_request *request,
                       const struct hit *hits, size_t count, double tolerance)
{
    bool seen[MODEL_IDS] = {false};
    for (size_t i = 0; i < count; i++) {
        const uint32_t index = model_index_of(&hits[i].row.id);
        const struct model_point *point = &run->model.points[index];
        assert_true(point->live && point->has_vector);
        assert_false(seen[index]);
        seen[index] = true;
        const double key = model_key(&run->model, request->vector, point->vector);
        assert_true(fabs(key - (double)hits[i].key) <= tolerance);
        if (i > 0) {
            assert_true(hits[i - 1].key >= hits[i].key);
            if (hits[i - 1].key == hits[i].key) {
                assert_true(point_id_compare(&hits[i - 1].row.id, &hits[i].row.id) < 0);
            }
        }
    }
}

static void check_search(struct run *run, const struct search_request *request)
{
    struct fixture *fixture = &run->fixture;
    struct view view = fixture_view(fixture);
    struct hit *hits;
    size_t count;
    struct search_stats stats;
    assert_int_equal(collection_search(fixture->collection, &view, request, fixture->workspace,
                                       &fixture->arena, &hits, &count, &stats),
                     OK);
    assert_false(stats.degraded);
    static struct expected expected;
    expect(run, request, &expected);
    const double tolerance = model_tolerance(&run->model, request->vector);
    check_hits(run, request, hits, count, tolerance);
    size_t found = 0;
    for (size_t i = 0; i < count && i < expected.count; i++) {
        /* Each place's key is at most the true one; where it is the true one, nothing is missing.
         */
        assert_true((double)hits[i].key <= expected.hits[i].key + tolerance);
        found += (double)hits[i].key >= expected.hits[i].key - tolerance;
    }
    const bool scored_all = request->exact || run->model.dim < CODEC_SCAN_DIM_MIN ||
                            run->model.metric == METRIC_MANHATTAN;
    if (scored_all) {
        assert_int_equal(count, expected.count);
        assert_int_equal(found, expected.count);
    } else {
        assert_true(count <= expected.count);
        run->wanted += expected.count;
        run->found += found;
    }
    view_close(&view);
}

/* A threshold that no score is near to, between two neighbours in order. */
static void random_threshold(struct run *run, struct search_request *request)
{
    struct model_hit all[MODEL_IDS];
    const size_t count = model_search(&run->model, request->vector, all);
    if (count < 2) {
        return;
    }
    const size_t i = random_below(&run->random, count - 1);
    const double above = model_score(run->model.metric, all[i].key);
    const double below = model_score(run->model.metric, all[i + 1].key);
    if (fabs(above - below) > 1e-3 * (1 + fabs(above))) {
        request->has_threshold = true;
        request->threshold_score = (float)((above + below) / 2);
    }
}

static void check_searches(struct run *run)
{
    for (int n = 0; n < 4; n++) {
        float *query = arena_allocate(&run->fixture.arena, (run->model.dim + 1) * sizeof(float));
        model_random_vector(&run->model, collection_codec(run->fixture.collection, 0), &run->random,
                            query);
        struct search_request request = {.vector = query, .exact = n == 0};
        const uint64_t limits[] = {1, 5, 10, 37, MODEL_IDS, UINT64_MAX, 0};
        request.limit = limits[random_below(&run->random, 7)];
        const uint64_t offsets[] = {0, 0, 0, 1, 7, 200, UINT64_MAX};
        request.offset = offsets[random_below(&run->random, 7)];
        struct point_id exclude[5];
        request.exclude = exclude;
        request.exclude_count = random_below(&run->random, 6);
        for (size_t i = 0; i < request.exclude_count; i++) {
            exclude[i] = model_id((uint32_t)random_below(&run->random, MODEL_IDS));
        }
        if (random_below(&run->random, 3) == 0) {
            random_threshold(run, &request);
        }
        check_search(run, &request);
    }
}

/* A few steps of maintenance, or all there are. */
static void maintain(struct run *run)
{
    uint64_t steps;
    const uint64_t most = random_below(&run->random, 4) == 0 ? 1000 : 3;
    assert_int_equal(collection_maintain(run->fixture.collection, 2,
                                         random_below(&run->random, 3) == 0, most, &steps),
                     OK);
    run->steps += steps;
}

/* Whole, or given up on the way. */
static void compact(struct run *run)
{
    struct compaction_sizes sizes;
    uint64_t steps;
    bool done = false;
    if (random_below(&run->random, 2) == 0) {
        assert_int_equal(collection_reclaim_all(run->fixture.collection, 2, &steps), OK);
    }
    while (!done) {
        assert_int_equal(collection_compact(run->fixture.collection, &done, &sizes), OK);
        if (!done && random_below(&run->random, 6) == 0) {
            collection_compact_cancel(run->fixture.collection);
            return;
        }
    }
    run->compacted += sizes.bytes_after < sizes.bytes_before;
}

static void run_steps(uint32_t dim, enum metric metric, uint64_t first_slot, uint64_t seed)
{
    static struct run run;
    run = (struct run){.random = seed};
    fixture_begin(&run.fixture, 70, 130);
    fixture_create(&run.fixture, dim, metric, first_slot);
    model_begin(&run.model, dim, metric);
    for (int step = 0; step < STEPS; step++) {
        if (random_below(&run.random, 8) == 0) {
            fixture_reopen(&run.fixture);
        } else if (random_below(&run.random, 12) == 0) {
            compact(&run);
        } else if (random_below(&run.random, 2) == 0) {
            maintain(&run);
        } else {
            apply_group(&run);
        }
        check_points(&run);
        if (dim > 0) {
            check_searches(&run);
        }
        fixture_verify(&run.fixture);
        arena_release(&run.fixture.arena);
    }
    if (run.wanted > 0) {
        /* The default asks for .99. */
        assert_true((double)run.found >= 0.985 * (double)run.wanted);
        assert_true(run.steps > 20);
        assert_true(run.compacted > 0);
    }
    model_end(&run.model);
    fixture_end(&run.fixture);
}

static void test_cosine(void **state)
{
    (void)state;
    run_steps(48, METRIC_COSINE, 0, 1);
}

static void test_dot(void **state)
{
    (void)state;
    run_steps(100, METRIC_DOT, 0, 2);
}

static void test_euclid(void **state)
{
    (void)state;
    run_steps(65, METRIC_EUCLID, 0, 3);
}

static void test_manhattan(void **state)
{
    (void)state;
    run_steps(33, METRIC_MANHATTAN, 0, 4);
}

static void test_few_dims(void **state)
{
    (void)state;
    run_steps(1, METRIC_EUCLID, 0, 5);
    run_steps(3, METRIC_COSINE, 0, 6);
    run_steps(2, METRIC_DOT, 0, 9);
    run_steps(7, METRIC_EUCLID, 0, 10);
    run_steps(31, METRIC_COSINE, 0, 11);
}

static void test_without_vectors(void **state)
{
    (void)state;
    run_steps(0, METRIC_DOT, 0, 7);
}

/* Slots cross 2^32 while the steps run. */
static void test_slots_beyond_32_bits(void **state)
{
    (void)state;
    run_steps(40, METRIC_EUCLID, UINT64_C(4294967296) - 100, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_dot),
        cmocka_unit_test(test_euclid),
        cmocka_unit_test(test_manhattan),
        cmocka_unit_test(test_few_dims),
        cmocka_unit_test(test_without_vectors),
        cmocka_unit_test(test_slots_beyond_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
