/* Expired points: the same ones are found with and without an index, in bounded steps; what was
 * written anew since it was found stays. */
#include "index_fixture.h"

#include "index/expired.h"
#include "index/field.h"
#include "tests/unit/random_payload.h"

#define NOW_S INT64_C(1700000000) /* 2023-11-14T22:13:20Z */
#define NOW_US (NOW_S * 1000000)
#define POINTS 40000u

static void begin(struct op_builder *op, struct arena *arena, enum op_kind kind)
{
    static const uint8_t request_id[16] = {1};
    op_begin(op, arena, kind, request_id);
}

static void apply(struct fixture *fixture, struct op_builder *op)
{
    struct apply_item item = {.op = op_end(op)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
}

/* What the field of point i holds, and whether it has expired at NOW: as an integer index, a
 * datetime index, or a walk over all of them sees it. */
static const struct {
    const char *payload;
    bool as_number, as_time, as_any;
} kinds[] = {
    {"{}", false, false, false},
    {"{\"e\": null}", false, false, false},
    {"{\"e\": 1699999999}", true, false, true},
    {"{\"e\": 1700000000}", true, false, true},
    {"{\"e\": 1700000001}", false, false, false},
    {"{\"e\": -9223372036854775808}", true, false, true},
    {"{\"e\": 18446744073709551615}", false, false, false},
    {"{\"e\": \"2023-11-14T22:13:20Z\"}", false, true, true},
    {"{\"e\": \"2023-11-14T22:13:20.000001Z\"}", false, false, false},
    {"{\"e\": \"2023-11-14T23:13:20+01:00\"}", false, true, true},
    {"{\"e\": \"1699999999\"}", false, false, false},
    {"{\"e\": [1800000000, 1600000000]}", true, false, true},
    {"{\"e\": [1800000000, \"2000-01-01\"]}", false, true, true},
    {"{\"e\": {\"x\": 1}}", false, false, false},
    {"{\"e\": true}", false, false, false},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void fill(struct fixture *fixture)
{
    struct arena arena;
    struct op_builder op;
    arena_init(&arena);
    begin(&op, &arena, OP_UPSERT);
    for (uint64_t i = 0; i < POINTS; i++) {
        const struct point_id id = point_id_number(i);
        op_put_point(&op, &id, json_of(&arena, kinds[i % KINDS].payload));
    }
    apply(fixture, &op);
    arena_release(&arena);
}

static void define_index(struct fixture *fixture, const char *kind)
{
    struct arena arena;
    struct op_builder op;
    const struct span path = span_text("e");
    arena_init(&arena);
    begin(&op, &arena, OP_FIELD_DEFINE);
    op_put_value(&op, json_of(&arena, arena_format(&arena, "{\"schema\":\"%s\"}", kind)));
    op_put_paths(&op, &path, 1);
    apply(fixture, &op);
    for (bool more = true; more;)
        assert_int_equal(collection_build_fields(fixture->collection, &more), OK);
    arena_release(&arena);
}

static bool expires(uint64_t i, const char *index)
{
    return index == NULL                   ? kinds[i % KINDS].as_any
           : strcmp(index, "integer") == 0 ? kinds[i % KINDS].as_number
                                           : kinds[i % KINDS].as_time;
}

static void delete_found(struct fixture *fixture, struct arena *arena,
                         const struct expired_search *search, const struct point_id *ids,
                         size_t count)
{
    struct op_builder op;
    begin(&op, arena, OP_DELETE);
    for (size_t i = 0; i < count; i++)
        op_put_id(&op, &ids[i]);
    op_put_filter(&op, expired_condition(arena, search->field, search->now_us), true);
    apply(fixture, &op);
}

static bool is_there(struct fixture *fixture, uint64_t i)
{
    struct view view = fixture_view(fixture);
    const struct point_id id = point_id_number(i);
    uint64_t slot;
    const enum error error = view_slot(&view, &id, &slot);
    view_close(&view);
    return error == OK;
}

/* Find and delete until there is no more; each step within its bounds. */
static void sweep(struct fixture *fixture, int64_t now_us, size_t max)
{
    struct expired_search search = {.field = span_text("e"), .now_us = now_us};
    struct point_id *ids = calloc(max, sizeof *ids);
    struct arena arena;
    arena_init(&arena);
    for (bool more = true; more;) {
        size_t count;
        struct view view = fixture_view(fixture);
        assert_int_equal(
            expired_find(&search, fixture->collection, &view, &arena, ids, max, &count, &more), OK);
        view_close(&view);
        assert_true(count <= max);
        if (count > 0)
            delete_found(fixture, &arena, &search, ids, count);
        arena_release(&arena);
    }
    free(ids);
}

static void sweep_all(const char *index)
{
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    if (index != NULL)
        define_index(&fixture, index);
    fill(&fixture);
    sweep(&fixture, -1500000, 1000); /* in 1969: before all there is but the least integer */
    sweep(&fixture, NOW_US, 700);
    for (uint64_t i = 0; i < POINTS; i++) {
        if (is_there(&fixture, i) == expires(i, index))
            fail_msg("point %u with %s", (unsigned)i, kinds[i % KINDS].payload);
    }
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

static void test_without_index(void **state)
{
    (void)state;
    sweep_all(NULL);
}

static void test_integer_index(void **state)
{
    (void)state;
    sweep_all("integer");
}

static void test_datetime_index(void **state)
{
    (void)state;
    sweep_all("datetime");
}

/* Between finding and deleting the client says that it wants the point for longer. */
static void test_written_anew(void **state)
{
    (void)state;
    struct fixture fixture;
    struct arena arena;
    struct op_builder op;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    fill(&fixture);
    arena_init(&arena);
    struct expired_search search = {.field = span_text("e"), .now_us = NOW_US};
    struct point_id ids[3];
    size_t count;
    bool more;
    struct view view = fixture_view(&fixture);
    assert_int_equal(
        expired_find(&search, fixture.collection, &view, &arena, ids, 3, &count, &more), OK);
    view_close(&view);
    assert_true(count == 3 && more);
    begin(&op, &arena, OP_PAYLOAD_MERGE);
    op_put_id(&op, &ids[1]);
    op_put_value(&op, json_of(&arena, "{\"e\": 1700000001}"));
    apply(&fixture, &op);
    delete_found(&fixture, &arena, &search, ids, count);
    assert_false(is_there(&fixture, load64_big(ids[0].bytes)));
    assert_true(is_there(&fixture, load64_big(ids[1].bytes)));
    assert_false(is_there(&fixture, load64_big(ids[2].bytes)));
    fixture_verify(&fixture);
    arena_release(&arena);
    fixture_end(&fixture);
}

/* A step looks at a bounded number of points, and the next goes on where it stopped. */
static void test_bounded_walk(void **state)
{
    (void)state;
    struct fixture fixture;
    struct arena arena;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    fill(&fixture);
    arena_init(&arena);
    struct expired_search search = {.field = span_text("nothing"), .now_us = NOW_US};
    struct point_id ids[3];
    size_t count, steps = 0;
    uint64_t before = 0;
    struct view view = fixture_view(&fixture);
    for (bool more = true; more; steps++) {
        assert_int_equal(
            expired_find(&search, fixture.collection, &view, &arena, ids, 3, &count, &more), OK);
        assert_int_equal(count, 0);
        assert_int_equal(search.has_begin, more);
        if (more) {
            const uint64_t at = load64_big(search.begin.bytes);
            assert_true(at > before && at - before <= EXPIRED_LOOKED_AT_MAX);
            before = at;
        }
    }
    assert_int_equal(steps, POINTS / EXPIRED_LOOKED_AT_MAX + 1);
    view_close(&view);
    arena_release(&arena);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_index),  cmocka_unit_test(test_integer_index),
        cmocka_unit_test(test_datetime_index), cmocka_unit_test(test_written_anew),
        cmocka_unit_test(test_bounded_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
