/* Applying ops: what is stored, generations and epochs, groups that fail, and readers meanwhile. */
#include "index_fixture.h"

#include <pthread.h>

#define DIM 40u

static const uint8_t REQUEST[16] = {9};

static void random_floats(uint64_t *random, uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        out[i] = (float)(random_normal(random) + 1.0);
    }
}

/* An upsert of points first, first + 1, ...; vectors from the seed. */
static struct span upsert(struct arena *arena, uint64_t first, uint32_t count, uint64_t seed)
{
    struct op_builder builder;
    op_begin(&builder, arena, OP_UPSERT, REQUEST);
    for (uint32_t i = 0; i < count; i++) {
        const struct point_id id = point_id_number(first + i);
        uint8_t *out = op_put_dense_point(&builder, &id, DIM, (struct span){NULL, 0});
        float vector[DIM];
        random_floats(&seed, DIM, vector);
        memcpy(out, vector, sizeof vector);
    }
    return op_end(&builder);
}

static struct span deletion(struct arena *arena, uint64_t first, uint32_t count)
{
    struct op_builder builder;
    op_begin(&builder, arena, OP_DELETE, REQUEST);
    for (uint32_t i = 0; i < count; i++) {
        const struct point_id id = point_id_number(first + i);
        op_put_id(&builder, &id);
    }
    return op_end(&builder);
}

static void apply_one(struct fixture *fixture, struct span op)
{
    struct apply_item item = {.op = op};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
}

static struct counters counters_now(struct fixture *fixture)
{
    struct view view = fixture_view(fixture);
    const struct counters counters = *view_counters(&view);
    view_close(&view);
    return counters;
}

static struct vector_counters vectors_now(struct fixture *fixture)
{
    struct view view = fixture_view(fixture);
    const struct vector_counters counters = *view_vector_counters(&view, 0);
    view_close(&view);
    return counters;
}

static void test_last_of_an_op_wins(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 100, 100);
    fixture_create(&fixture, DIM, METRIC_DOT, 0);
    struct op_builder builder;
    op_begin(&builder, &fixture.arena, OP_UPSERT, REQUEST);
    const struct point_id id = point_id_number(5);
    for (uint32_t round = 0; round < 3; round++) {
        uint8_t *out =
            op_put_dense_point(&builder, &id, DIM, fixture_payload(&fixture.arena, 100 + round));
        for (uint32_t i = 0; i < DIM; i++) {
            store_float(out + 4 * i, (float)round);
        }
    }
    apply_one(&fixture, op_end(&builder));
    struct view view = fixture_view(&fixture);
    assert_int_equal(view_counters(&view)->point_count, 1);
    assert_int_equal(view_vector_counters(&view, 0)->vector_count, 1);
    assert_int_equal(view_vector_counters(&view, 0)->dead_count, 2);
    uint64_t slot;
    assert_int_equal(view_slot(&view, &id, &slot), OK);
    struct point_row row;
    assert_int_equal(view_point(&view, slot, &row), OK);
    assert_true(span_equal(row.payload, fixture_payload(&fixture.arena, 102)));
    struct vector_row vector;
    assert_int_equal(view_vector(&view, 0, slot, &vector), OK);
    assert_true(load_float(vector.vector) == 2.0f);
    view_close(&view);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* A replaced point may lose its vector, and get it back. */
static void test_vectors_come_and_go(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 100, 100);
    fixture_create(&fixture, DIM, METRIC_DOT, 0);
    for (int round = 0; round < 3; round++) {
        apply_one(&fixture, upsert(&fixture.arena, 1, 2, 7));
        assert_int_equal(vectors_now(&fixture).vector_count, 2);
        struct op_builder builder;
        op_begin(&builder, &fixture.arena, OP_UPSERT, REQUEST);
        const struct point_id id = point_id_number(2);
        assert_null(op_put_dense_point(&builder, &id, 0, fixture_payload(&fixture.arena, 3)));
        apply_one(&fixture, op_end(&builder));
        assert_int_equal(counters_now(&fixture).point_count, 2);
        assert_int_equal(vectors_now(&fixture).vector_count, 1);
        fixture_verify(&fixture);
    }
    apply_one(&fixture, deletion(&fixture.arena, 0, 10));
    const struct counters counters = counters_now(&fixture);
    assert_int_equal(counters.point_count, 0);
    assert_int_equal(vectors_now(&fixture).vector_count, 0);
    assert_true(counters.id_hash == 0);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* A group with one bad op is not applied at all, and the next one is as if it had never been. */
static void test_a_bad_op_spoils_its_group(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 20, 30);
    fixture_create(&fixture, DIM, METRIC_EUCLID, 0);
    apply_one(&fixture, upsert(&fixture.arena, 0, 15, 1));
    const struct counters before = counters_now(&fixture);
    struct op_builder builder;
    op_begin(&builder, &fixture.arena, OP_UPSERT, REQUEST);
    const struct point_id id = point_id_number(1);
    memset(op_put_dense_point(&builder, &id, DIM + 1, (struct span){NULL, 0}), 0, (DIM + 1) * 4);
    /* The good op seals a generation before the bad one is met. */
    struct apply_item items[] = {{.op = upsert(&fixture.arena, 10, 50, 2)},
                                 {.op = op_end(&builder)}};
    assert_int_equal(collection_apply(fixture.collection, items, 2), ERROR_INVALID);
    items[1].op = span_text("no op at all");
    assert_int_equal(collection_apply(fixture.collection, items, 2), ERROR_CORRUPT);
    const struct counters after = counters_now(&fixture);
    assert_memory_equal(&before, &after, sizeof before);
    fixture_verify(&fixture);
    apply_one(&fixture, upsert(&fixture.arena, 10, 50, 2));
    assert_int_equal(counters_now(&fixture).point_count, 60);
    assert_int_equal(counters_now(&fixture).operation, before.operation + 1);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* The mean of the vectors of slots first..last, rotated, compared with a stored centre. */
static void check_centre(struct fixture *fixture, const struct view *view, uint64_t first,
                         uint64_t last, const uint8_t *centre)
{
    double sum[DIM] = {0};
    for (uint64_t slot = first; slot <= last; slot++) {
        struct vector_row row;
        assert_int_equal(view_vector(view, 0, slot, &row), OK);
        for (uint32_t i = 0; i < DIM; i++) {
            sum[i] += (double)load_float(row.vector + 4 * i);
        }
    }
    float mean[DIM], rotated[DIM];
    for (uint32_t i = 0; i < DIM; i++) {
        mean[i] = (float)(sum[i] / (double)(last - first + 1));
    }
    const struct codec *codec = collection_codec(fixture->collection, 0);
    void *work = allocate_aligned(codec_work_bytes(codec));
    codec_rotate(codec, mean, rotated, work);
    free(work);
    for (uint32_t i = 0; i < DIM; i++) {
        assert_true(fabsf(load_float(centre + 4 * i) - rotated[i]) < 1e-5f);
    }
}

static void test_generations_and_epochs(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 10, 30);
    fixture_create(&fixture, DIM, METRIC_DOT, 0);
    /* Boundaries at 10, 40, 70, 100, ...: epochs when 10, 80 and 640 codes have been sealed. */
    apply_one(&fixture, upsert(&fixture.arena, 0, 9, 3));
    assert_int_equal(vectors_now(&fixture).generation_count, 1);
    apply_one(&fixture, upsert(&fixture.arena, 9, 1, 4));
    assert_int_equal(vectors_now(&fixture).generation_count, 2);
    apply_one(&fixture, upsert(&fixture.arena, 10, 95, 5));
    struct view view = fixture_view(&fixture);
    const struct vector_counters *counters = view_vector_counters(&view, 0);
    assert_int_equal(counters->generation_count, 5);
    assert_int_equal(counters->epoch_count, 3);
    const uint64_t codes[] = {10, 30, 30, 30, 5};
    for (uint64_t i = 0; i < 5; i++) {
        struct generation generation;
        assert_int_equal(view_generation(&view, 0, i, &generation), OK);
        assert_int_equal(generation.number, i);
        assert_int_equal(generation.code_count, codes[i]);
        assert_int_equal(generation.sealed, i < 4);
        assert_int_equal(generation.centre == NULL, i == 0);
        if (i > 0) {
            check_centre(&fixture, &view, 0, i == 1 ? 9 : i * 30 - 21, generation.centre);
        }
    }
    for (uint64_t slot = 0; slot < 105; slot++) {
        struct vector_row row;
        assert_int_equal(view_vector(&view, 0, slot, &row), OK);
        assert_int_equal(row.epoch, slot < 10 ? 0 : slot < 100 ? 1 : 2);
    }
    const uint8_t *centre;
    assert_int_equal(view_epoch_centre(&view, 0, 1, &centre), OK);
    check_centre(&fixture, &view, 0, 9, centre);
    assert_int_equal(view_epoch_centre(&view, 0, 2, &centre), OK);
    check_centre(&fixture, &view, 0, 99, centre);
    view_close(&view);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* Dead vectors are no part of a mean. */
static void test_the_mean_is_of_live_vectors(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 60, 60);
    fixture_create(&fixture, DIM, METRIC_DOT, 0);
    apply_one(&fixture, upsert(&fixture.arena, 0, 20, 3)); /* slots 0..19 stay */
    apply_one(&fixture, upsert(&fixture.arena, 100, 20, 9));
    apply_one(&fixture, deletion(&fixture.arena, 100, 20));
    struct apply_item items[] = {{.op = upsert(&fixture.arena, 200, 10, 4)},
                                 {.op = deletion(&fixture.arena, 200, 10)},
                                 {.op = upsert(&fixture.arena, 300, 10, 5)}};
    assert_int_equal(collection_apply(fixture.collection, items, 3), OK);
    struct view view = fixture_view(&fixture);
    struct generation generation;
    assert_int_equal(view_generation(&view, 0, 1, &generation), OK);
    assert_int_equal(generation.code_count, 0);
    double sum[DIM] = {0};
    for (uint64_t slot = 0; slot < 60; slot++) {
        struct vector_row row;
        if (view_is_dead(&view, slot)) {
            continue;
        }
        assert_int_equal(view_vector(&view, 0, slot, &row), OK);
        for (uint32_t i = 0; i < DIM; i++) {
            sum[i] += (double)load_float(row.vector + 4 * i) / 30;
        }
    }
    float mean[DIM], rotated[DIM];
    for (uint32_t i = 0; i < DIM; i++) {
        mean[i] = (float)sum[i];
    }
    const struct codec *codec = collection_codec(fixture.collection, 0);
    void *work = allocate_aligned(codec_work_bytes(codec));
    codec_rotate(codec, mean, rotated, work);
    free(work);
    for (uint32_t i = 0; i < DIM; i++) {
        assert_true(fabsf(load_float(generation.centre + 4 * i) - rotated[i]) < 1e-5f);
    }
    view_close(&view);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* Rows, vectors and centres of two collections, whatever their layout. */
static void check_same_state(struct fixture *a, struct fixture *b)
{
    struct view x = fixture_view(a), y = fixture_view(b);
    assert_memory_equal(view_counters(&x), view_counters(&y), sizeof(struct counters));
    struct id_slot p[400], q[400];
    size_t count, other;
    assert_int_equal(view_ids(&x, NULL, p, 400, &count), OK);
    assert_int_equal(view_ids(&y, NULL, q, 400, &other), OK);
    assert_int_equal(count, other);
    for (size_t i = 0; i < count; i++) {
        struct point_row row, same;
        struct vector_row vector, same_vector;
        assert_int_equal(point_id_compare(&p[i].id, &q[i].id), 0);
        assert_int_equal(p[i].slot, q[i].slot);
        assert_int_equal(view_point(&x, p[i].slot, &row), OK);
        assert_int_equal(view_point(&y, q[i].slot, &same), OK);
        assert_int_equal(row.version, same.version);
        assert_true(span_equal(row.payload, same.payload));
        assert_int_equal(view_vector(&x, 0, p[i].slot, &vector), OK);
        assert_int_equal(view_vector(&y, 0, q[i].slot, &same_vector), OK);
        assert_memory_equal(vector.vector, same_vector.vector, DIM * 4);
        assert_int_equal(vector.epoch, same_vector.epoch);
        assert_true(vector.f_mul == same_vector.f_mul && vector.f_add == same_vector.f_add);
    }
    for (uint64_t i = 1; i < view_vector_counters(&x, 0)->generation_count; i++) {
        struct generation one, two;
        assert_int_equal(view_generation(&x, 0, i, &one), OK);
        assert_int_equal(view_generation(&y, 0, i, &two), OK);
        assert_memory_equal(one.centre, two.centre, DIM * 4);
    }
    view_close(&x);
    view_close(&y);
}

static void test_grouping_plays_no_part(void **state)
{
    (void)state;
    struct fixture one, two;
    fixture_begin(&one, 25, 40);
    fixture_begin(&two, 25, 40);
    fixture_create(&one, DIM, METRIC_EUCLID, 0);
    fixture_create(&two, DIM, METRIC_EUCLID, 0);
    enum { COUNT = 48 };
    struct apply_item items[COUNT];
    uint64_t random = 77;
    for (size_t i = 0; i < COUNT; i++) {
        const uint64_t first = random_below(&random, 200);
        items[i] = (struct apply_item){
            .op = i % 5 == 4 ? deletion(&one.arena, first, 12)
                             : upsert(&one.arena, first, 1 + (uint32_t)random_below(&random, 30),
                                      random_next(&random))};
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(collection_apply(one.collection, &items[i], 1), OK);
    }
    for (size_t done = 0; done < COUNT;) {
        size_t group = 1 + random_below(&random, 20);
        group = group < COUNT - done ? group : COUNT - done;
        for (size_t i = done; i < done + group; i++) { /* codes against centres of before */
            struct encoded *encoded;
            assert_int_equal(collection_encode(two.collection, 1, items[i].op, &two.arena,
                                               two.workspace, &encoded),
                             OK);
            items[i].encoded = encoded;
        }
        assert_int_equal(collection_apply(two.collection, items + done, group), OK);
        done += group;
        if (random_below(&random, 3) == 0) {
            fixture_reopen(&two);
        }
    }
    check_same_state(&one, &two);
    fixture_verify(&one);
    fixture_verify(&two);
    fixture_end(&one);
    fixture_end(&two);
}

static void test_encode_refuses(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 10, 10);
    fixture_create(&fixture, DIM + 1, METRIC_DOT, 0);
    struct encoded *encoded;
    assert_int_equal(collection_encode(fixture.collection, 0, upsert(&fixture.arena, 0, 3, 1),
                                       &fixture.arena, fixture.workspace, &encoded),
                     ERROR_INVALID);
    assert_int_equal(collection_encode(fixture.collection, 0, span_text("?"), &fixture.arena,
                                       fixture.workspace, &encoded),
                     ERROR_CORRUPT);
    assert_int_equal(collection_encode(fixture.collection, 0, deletion(&fixture.arena, 0, 3),
                                       &fixture.arena, fixture.workspace, &encoded),
                     OK);
    assert_null(encoded);
    fixture_end(&fixture);
}

static void test_a_view_does_not_see_later_writes(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 30, 30);
    fixture_create(&fixture, DIM, METRIC_DOT, 0);
    apply_one(&fixture, upsert(&fixture.arena, 0, 50, 1));
    struct view view = fixture_view(&fixture);
    float query[DIM];
    uint64_t random = 5;
    random_floats(&random, DIM, query);
    const struct search_request request = {.vector = query, .limit = 1000, .exact = true};
    struct hit *before, *after;
    size_t before_count, after_count;
    struct search_stats stats;
    assert_int_equal(collection_search(fixture.collection, &view, &request, fixture.workspace,
                                       &fixture.arena, &before, &before_count, &stats),
                     OK);
    apply_one(&fixture, upsert(&fixture.arena, 25, 100, 2));
    apply_one(&fixture, deletion(&fixture.arena, 0, 10));
    assert_int_equal(collection_search(fixture.collection, &view, &request, fixture.workspace,
                                       &fixture.arena, &after, &after_count, &stats),
                     OK);
    assert_int_equal(before_count, 50);
    assert_int_equal(after_count, 50);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(before[i].slot, after[i].slot);
        assert_true(before[i].key == after[i].key);
    }
    view_close(&view);
    view = fixture_view(&fixture);
    assert_int_equal(collection_search(fixture.collection, &view, &request, fixture.workspace,
                                       &fixture.arena, &after, &after_count, &stats),
                     OK);
    assert_int_equal(after_count, 115);
    view_close(&view);
    fixture_end(&fixture);
}

struct reader_thread {
    struct fixture *fixture;
    atomic_bool *stop;
    uint32_t reader;
    uint64_t searches;
};

/* Every answer is of one version: points are put and deleted in groups of ten. */
static void *search_while_applying(void *context)
{
    struct reader_thread *thread = context;
    struct search_workspace *workspace = search_workspace_new();
    struct arena arena;
    arena_init(&arena);
    uint64_t random = thread->reader;
    do {
        struct view view;
        assert_int_equal(
            view_open(collection_environment(thread->fixture->collection), thread->reader, &view),
            OK);
        float query[DIM];
        random_floats(&random, DIM, query);
        const bool all = thread->searches % 2 == 0;
        const struct search_request request = {.vector = query, .limit = all ? 100000 : 5};
        struct hit *hits;
        size_t count;
        struct search_stats stats;
        assert_int_equal(collection_search(thread->fixture->collection, &view, &request, workspace,
                                           &arena, &hits, &count, &stats),
                         OK);
        const uint64_t vectors = view_vector_counters(&view, 0)->vector_count;
        assert_int_equal(vectors % 10, 0);
        assert_int_equal(count, all || vectors < 5 ? vectors : 5);
        assert_false(stats.degraded);
        view_close(&view);
        struct encoded *encoded;
        assert_int_equal(collection_encode(thread->fixture->collection, thread->reader,
                                           upsert(&arena, 0, 3, random), &arena, workspace,
                                           &encoded),
                         OK);
        arena_release(&arena);
        thread->searches++;
    } while (!atomic_load(thread->stop));
    search_workspace_free(workspace);
    return NULL;
}

static void test_searches_while_applying(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 50, 70);
    fixture_create(&fixture, DIM, METRIC_EUCLID, 0);
    atomic_bool stop = false;
    struct reader_thread readers[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        readers[i] = (struct reader_thread){&fixture, &stop, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, search_while_applying, &readers[i]), 0);
    }
    for (uint32_t i = 0; i < 80; i++) {
        const uint64_t first = 10 * (i * 7 % 40);
        apply_one(&fixture, i % 4 == 3 ? deletion(&fixture.arena, first, 10)
                                       : upsert(&fixture.arena, first, 10, i));
        arena_release(&fixture.arena);
    }
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(readers[i].searches > 0);
    }
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_of_an_op_wins),
        cmocka_unit_test(test_vectors_come_and_go),
        cmocka_unit_test(test_a_bad_op_spoils_its_group),
        cmocka_unit_test(test_generations_and_epochs),
        cmocka_unit_test(test_the_mean_is_of_live_vectors),
        cmocka_unit_test(test_grouping_plays_no_part),
        cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_a_view_does_not_see_later_writes),
        cmocka_unit_test(test_searches_while_applying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
