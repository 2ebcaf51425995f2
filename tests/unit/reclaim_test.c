/* What dead slots have stored is given back: the file stops growing however often points are put
 * anew, chunks without a live slot keep one short record, and points that moved are as they were.
 */
#include "index_fixture.h"

#include "index/plan.h"
#include "storage/chunks.h"

#define POINTS 200u

/* Points [first, first + count) anew, with vectors that `round` decides. */
static void put_points(struct fixture *fixture, uint32_t dim, uint32_t first, uint32_t count,
                       uint64_t round)
{
    const uint8_t request_id[16] = {0};
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_UPSERT, request_id);
    for (uint32_t i = first; i < first + count; i++) {
        const struct point_id id = model_id(i);
        uint64_t random = round * 1000003 + i;
        uint8_t *out = op_put_dense_point(&builder, &id, dim,
                                          fixture_payload(&fixture->arena, round * POINTS + i + 1));
        for (uint32_t j = 0; j < dim; j++) {
            store_float(out + j * sizeof(float), (float)random_normal(&random));
        }
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    arena_release(&fixture->arena);
}

static void delete_points(struct fixture *fixture, uint32_t first, uint32_t count, uint32_t stride)
{
    const uint8_t request_id[16] = {0};
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_DELETE, request_id);
    for (uint32_t i = first; i < first + count; i += stride) {
        const struct point_id id = model_id(i);
        op_put_id(&builder, &id);
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    arena_release(&fixture->arena);
}

static void maintain(struct fixture *fixture)
{
    uint64_t steps;
    assert_int_equal(collection_maintain(fixture->collection, 2, true, UINT64_MAX, &steps), OK);
}

static uint64_t used_bytes(struct fixture *fixture)
{
    struct environment_stats stats;
    environment_stats_get(collection_environment(fixture->collection), &stats);
    return stats.used_bytes;
}

/* Slots that runs store, dead ones among them; and of how many all_dead chunks there are. */
static void count_stored(struct fixture *fixture, uint64_t *stored, uint64_t *all_dead)
{
    struct view view = fixture_view(fixture);
    *stored = 0;
    for (uint64_t i = 0; i < view_run_count(&view, 0); i++) {
        struct stored_run run;
        const enum error error = view_run(&view, 0, i, &run);
        assert_true(error == OK || error == ERROR_NOT_FOUND);
        *stored += error == OK ? run.count : 0;
    }
    *all_dead = view_all_dead_slots(&view) >> environment_chunk_bits(view.environment);
    view_close(&view);
}

static void check_point(struct fixture *fixture, uint32_t dim, uint32_t i, uint64_t round,
                        uint64_t version)
{
    struct view view = fixture_view(fixture);
    const struct point_id id = model_id(i);
    uint64_t slot, random = round * 1000003 + i;
    struct point_row row;
    struct vector_row vector;
    assert_int_equal(view_slot(&view, &id, &slot), OK);
    assert_int_equal(view_point(&view, slot, &row), OK);
    assert_int_equal(row.version, version);
    assert_true(span_equal(row.payload, fixture_payload(&fixture->arena, round * POINTS + i + 1)));
    assert_int_equal(view_vector(&view, 0, slot, &vector), OK);
    for (uint32_t j = 0; j < dim; j++) {
        const float expected = (float)random_normal(&random);
        assert_true(load_float(vector.vector + j * sizeof(float)) == expected);
    }
    view_close(&view);
    arena_release(&fixture->arena);
}

static void churn(uint32_t dim, enum metric metric)
{
    struct fixture fixture;
    uint64_t settled = 0, stored, all_dead;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, dim, metric, 0);
    for (uint64_t round = 0; round < 120; round++) {
        /* All of them at times, or a part that begins anywhere: runs die whole or in part. */
        const uint32_t first = round % 3 == 0 ? 0 : (uint32_t)(round * 37 % 100);
        put_points(&fixture, dim, first, round % 3 == 0 ? POINTS : 60, round);
        if (round % 4 == 0) {
            maintain(&fixture);
            fixture_verify(&fixture);
        }
        settled = round == 60 ? used_bytes(&fixture) : settled;
    }
    maintain(&fixture);
    fixture_verify(&fixture);
    count_stored(&fixture, &stored, &all_dead);
    assert_true(used_bytes(&fixture) < settled + settled / 4);
    assert_true(stored < 3 * POINTS);
    assert_true(all_dead > 100); /* of some 200 */
    fixture_reopen(&fixture);
    fixture_verify(&fixture);
    uint64_t again;
    count_stored(&fixture, &again, &all_dead);
    assert_int_equal(again, stored);
    assert_true(all_dead > 100);
    fixture_end(&fixture);
}

static void test_churn(void **state)
{
    (void)state;
    churn(48, METRIC_COSINE);
    churn(4, METRIC_EUCLID); /* not partitioned: generations are dropped */
    churn(40, METRIC_MANHATTAN);
}

/* One point in eight survives: it moves, and keeps its version, payload and vector. */
static void test_survivors(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t stored, all_dead;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, 48, METRIC_EUCLID, 7);
    put_points(&fixture, 48, 0, POINTS, 5);
    put_points(&fixture, 48, POINTS, POINTS, 5);
    for (uint32_t i = 1; i < 8; i++) {
        delete_points(&fixture, i, 2 * POINTS - i, 8);
    }
    maintain(&fixture);
    fixture_verify(&fixture);
    count_stored(&fixture, &stored, &all_dead);
    assert_true(stored < POINTS);
    assert_true(all_dead >= 5);
    check_point(&fixture, 48, 0, 5, 1);
    check_point(&fixture, 48, 192, 5, 1);
    check_point(&fixture, 48, 208, 5, 2);
    uint64_t steps;
    assert_int_equal(collection_reclaim_all(fixture.collection, 2, &steps), OK);
    fixture_verify(&fixture);
    count_stored(&fixture, &stored, &all_dead);
    assert_true(stored <= POINTS / 4 + POINTS / 16);
    check_point(&fixture, 48, 392, 5, 2);
    fixture_reopen(&fixture);
    fixture_verify(&fixture);
    check_point(&fixture, 48, 8, 5, 1);
    fixture_end(&fixture);
}

/* Nothing is left: no run but the last, no code, no bits of full chunks. */
static void test_all_deleted(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t stored, all_dead, steps;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, 33, METRIC_COSINE, UINT64_C(4294967296) - 100);
    for (uint64_t round = 0; round < 4; round++) {
        put_points(&fixture, 33, 0, POINTS, round);
    }
    delete_points(&fixture, 0, POINTS, 1);
    assert_int_equal(collection_reclaim_all(fixture.collection, 2, &steps), OK);
    fixture_verify(&fixture);
    count_stored(&fixture, &stored, &all_dead);
    assert_true(all_dead >= 4 * POINTS / 64 - 3);
    put_points(&fixture, 33, 0, POINTS, 9);
    maintain(&fixture);
    fixture_verify(&fixture);
    check_point(&fixture, 33, 17, 9, 6);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_survivors),
        cmocka_unit_test(test_all_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
