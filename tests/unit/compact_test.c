/* Compaction: the file shrinks to what it holds, nothing else changes, and what goes wrong leaves
 * the old file as it was. */
#include "index_fixture.h"

#include <sys/stat.h>

#include "index/compact.h"
#include "index/plan.h"

#define DIM 64u

static void put_points(struct fixture *fixture, uint32_t first, uint32_t count, uint64_t round)
{
    const uint8_t request_id[16] = {0};
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_UPSERT, request_id);
    for (uint32_t i = first; i < first + count; i++) {
        const struct point_id id = point_id_number(i);
        uint64_t random = round * 1000003 + i;
        uint8_t *out = op_put_dense_point(&builder, &id, DIM,
                                          fixture_payload(&fixture->arena, round * 10000 + i + 1));
        for (uint32_t j = 0; j < DIM; j++) {
            store_float(out + j * sizeof(float), (float)random_normal(&random));
        }
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    arena_release(&fixture->arena);
}

static void delete_points(struct fixture *fixture, uint32_t first, uint32_t end, uint32_t but)
{
    const uint8_t request_id[16] = {0};
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_DELETE, request_id);
    for (uint32_t i = first; i < end; i++) {
        const struct point_id id = point_id_number(i);
        if (i % but != 0) {
            op_put_id(&builder, &id);
        }
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    arena_release(&fixture->arena);
}

static uint64_t file_bytes(const struct fixture *fixture)
{
    char path[128];
    struct stat file;
    snprintf(path, sizeof path, "%s/collections/%016x/data.mdb", fixture->directory, 1);
    assert_int_equal(stat(path, &file), 0);
    return (uint64_t)file.st_size;
}

static bool is_there(const struct fixture *fixture, const char *name)
{
    char path[128];
    struct stat file;
    snprintf(path, sizeof path, "%s/%s", fixture->directory, name);
    return stat(path, &file) == 0;
}

/* Every point of number i: i % but == 0, as put in round `round`. */
static void check_points(struct fixture *fixture, uint32_t end, uint32_t but, uint64_t round)
{
    struct view view = fixture_view(fixture);
    assert_int_equal(view_counters(&view)->point_count, (end + but - 1) / but);
    for (uint32_t i = 0; i < end; i += but) {
        const struct point_id id = point_id_number(i);
        uint64_t slot, random = round * 1000003 + i;
        struct vector_row row;
        struct point_row point;
        assert_int_equal(view_slot(&view, &id, &slot), OK);
        assert_int_equal(view_point(&view, slot, &point), OK);
        assert_true(
            span_equal(point.payload, fixture_payload(&fixture->arena, round * 10000 + i + 1)));
        assert_int_equal(view_vector(&view, 0, slot, &row), OK);
        for (uint32_t j = 0; j < DIM; j++) {
            assert_true(load_float(row.vector + j * sizeof(float)) ==
                        (float)random_normal(&random));
        }
    }
    view_close(&view);
    arena_release(&fixture->arena);
    fixture_verify(fixture);
}

static enum error compact(struct fixture *fixture, struct compaction_sizes *sizes)
{
    uint64_t steps;
    bool done = false;
    enum error error = collection_reclaim_all(fixture->collection, 2, &steps);
    while (error == OK && !done) {
        error = collection_compact(fixture->collection, &done, sizes);
    }
    return error;
}

/* As people have it: partitions of 256 from 8,192 points on. */
static void begin_full_size(struct fixture *fixture)
{
    const struct database_options defaults = database_options_default();
    fixture_begin(fixture, defaults.first_generation_codes, defaults.generation_codes);
    database_close(fixture->database);
    fixture->options.partition_start_codes = defaults.partition_start_codes;
    fixture->options.partition_codes = defaults.partition_codes;
    fixture->options.plan_bytes = defaults.plan_bytes;
    fixture->options.storage.slot_chunk_bits = defaults.storage.slot_chunk_bits;
    fixture_open(fixture);
    fixture_create(fixture, DIM, METRIC_EUCLID, 0);
}

static uint64_t fresh_bytes(uint32_t end, uint32_t but)
{
    struct fixture fixture;
    uint64_t steps;
    begin_full_size(&fixture);
    for (uint32_t i = 0; i < end; i += but) {
        put_points(&fixture, i, 1, 1);
    }
    assert_int_equal(collection_maintain(fixture.collection, 2, false, UINT64_MAX, &steps), OK);
    const uint64_t bytes = file_bytes(&fixture);
    fixture_end(&fixture);
    return bytes;
}

static void test_after_deletes(void **state)
{
    (void)state;
    struct fixture fixture;
    struct compaction_sizes sizes;
    begin_full_size(&fixture);
    for (uint32_t i = 0; i < 12000; i += 500) {
        put_points(&fixture, i, 500, 1);
    }
    uint64_t steps;
    assert_int_equal(collection_maintain(fixture.collection, 2, false, UINT64_MAX, &steps), OK);
    delete_points(&fixture, 0, 12000, 10);
    const uint64_t before = file_bytes(&fixture);
    assert_int_equal(compact(&fixture, &sizes), OK);
    assert_true(sizes.bytes_before >= before && sizes.bytes_after == file_bytes(&fixture));
    assert_true(sizes.bytes_after < before / 4);
    assert_true(file_bytes(&fixture) * 2 < fresh_bytes(12000, 10) * 3);
    assert_false(is_there(&fixture, "compact/0000000000000001"));
    check_points(&fixture, 12000, 10, 1);
    fixture_reopen(&fixture);
    check_points(&fixture, 12000, 10, 1);
    /* Life goes on. */
    put_points(&fixture, 0, 700, 2);
    delete_points(&fixture, 0, 12000, 20000);
    put_points(&fixture, 0, 100, 3);
    check_points(&fixture, 100, 1, 3);
    /* Again at once there is nothing to gain. */
    assert_int_equal(compact(&fixture, &sizes), OK);
    assert_int_equal(compact(&fixture, &sizes), OK);
    assert_int_equal(sizes.bytes_after, sizes.bytes_before);
    check_points(&fixture, 100, 1, 3);
    fixture_end(&fixture);
}

/* Between two steps writes and plans are refused, views are as ever, and giving up is fine. */
static void test_between_steps(void **state)
{
    (void)state;
    struct fixture fixture;
    struct compaction_sizes sizes;
    bool done;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, DIM, METRIC_EUCLID, 0);
    for (uint64_t round = 0; round < 20; round++) {
        put_points(&fixture, 0, 200, round);
    }
    const uint64_t before = file_bytes(&fixture);
    assert_int_equal(collection_compact(fixture.collection, &done, &sizes), OK);
    assert_false(done);
    assert_true(is_there(&fixture, "compact/0000000000000001/data.mdb"));
    struct apply_item item = {.op = {NULL, 0}};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), ERROR_BUSY);
    uint64_t steps;
    assert_int_equal(collection_maintain(fixture.collection, 2, false, 1, &steps), ERROR_BUSY);
    check_points(&fixture, 200, 1, 19);
    collection_compact_cancel(fixture.collection);
    assert_false(is_there(&fixture, "compact/0000000000000001"));
    assert_int_equal(file_bytes(&fixture), before);
    check_points(&fixture, 200, 1, 19);
    put_points(&fixture, 0, 200, 20);
    /* Closed in the middle of one. */
    assert_int_equal(collection_compact(fixture.collection, &done, &sizes), OK);
    fixture_reopen(&fixture);
    check_points(&fixture, 200, 1, 20);
    assert_int_equal(compact(&fixture, &sizes), OK);
    assert_true(sizes.bytes_after < sizes.bytes_before);
    check_points(&fixture, 200, 1, 20);
    fixture_end(&fixture);
}

static void test_no_room(void **state)
{
    (void)state;
    struct fixture fixture;
    struct compaction_sizes sizes;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, DIM, METRIC_EUCLID, 0);
    for (uint64_t round = 0; round < 5; round++) {
        put_points(&fixture, 0, 200, round);
    }
    fixture_close(&fixture);
    fixture.options.storage.min_free_bytes = UINT64_MAX / 2; /* the disk is full */
    fixture_open(&fixture);
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &fixture.collection), OK);
    assert_int_equal(compact(&fixture, &sizes), ERROR_FULL);
    assert_false(is_there(&fixture, "compact/0000000000000001"));
    check_points(&fixture, 200, 1, 4);
    fixture_end(&fixture);
}

/* An empty collection, and one without vectors. */
static void test_little(void **state)
{
    (void)state;
    struct fixture fixture;
    struct compaction_sizes sizes;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    assert_int_equal(compact(&fixture, &sizes), OK);
    for (uint32_t i = 0; i < 300; i++) {
        const uint8_t request_id[16] = {0};
        struct op_builder builder;
        const struct point_id id = point_id_number(i % 7);
        op_begin(&builder, &fixture.arena, OP_UPSERT, request_id);
        op_put_point(&builder, &id, fixture_payload(&fixture.arena, i + 1));
        struct apply_item item = {.op = op_end(&builder)};
        assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    }
    assert_int_equal(compact(&fixture, &sizes), OK);
    fixture_verify(&fixture);
    fixture_reopen(&fixture);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* What a killed process left behind is removed at the next start. */
static void test_leftover(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[128];
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, 4, METRIC_DOT, 0);
    snprintf(path, sizeof path, "%s/compact", fixture.directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/compact/0000000000000001", fixture.directory);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_reopen(&fixture);
    assert_false(is_there(&fixture, "compact/0000000000000001"));
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_after_deletes), cmocka_unit_test(test_between_steps),
        cmocka_unit_test(test_no_room),       cmocka_unit_test(test_little),
        cmocka_unit_test(test_leftover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
