/* Verify finds what it is there to find: each test breaks one thing through storage's own writes,
 * or in the file. */
#include "index_fixture.h"

#define DIM 40u
#define POINTS 150u

static const uint8_t REQUEST[16] = {7};

static void begin(struct fixture *fixture, uint64_t first_slot)
{
    fixture_begin(fixture, 40, 60);
    fixture_create(fixture, DIM, METRIC_DOT, first_slot);
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_UPSERT, REQUEST);
    uint64_t random = 11;
    for (uint32_t i = 0; i < POINTS; i++) {
        const struct point_id id = model_id(i);
        uint8_t *out = op_put_dense_point(&builder, &id, i % 10 != 9 ? DIM : 0,
                                          fixture_payload(&fixture->arena, i % 3));
        for (uint32_t j = 0; out != NULL && j < DIM; j++) {
            store_float(out + 4 * j, (float)random_normal(&random));
        }
    }
    struct apply_item items[2] = {{.op = op_end(&builder)}};
    op_begin(&builder, &fixture->arena, OP_DELETE, REQUEST);
    for (uint32_t i = 0; i < 20; i++) {
        const struct point_id id = model_id(i * 5);
        op_put_id(&builder, &id);
    }
    items[1].op = op_end(&builder);
    assert_int_equal(collection_apply(fixture->collection, items, 2), OK);
}

/* Texts of the last verify, and how many. */
struct reports {
    char text[4][256];
    uint64_t count;
};

static void keep_report(void *context, const char *text)
{
    struct reports *reports = context;
    if (reports->count < 4) {
        snprintf(reports->text[reports->count], sizeof reports->text[0], "%s", text);
    }
    reports->count++;
}

static uint64_t problems_of(struct fixture *fixture, struct reports *reports)
{
    uint64_t problems = 0;
    *reports = (struct reports){.count = 0};
    assert_int_equal(collection_verify(fixture->collection, 0, keep_report, reports, &problems),
                     OK);
    assert_int_equal(problems, reports->count);
    return problems;
}

static void expect_problem(struct fixture *fixture, const char *part)
{
    struct reports reports;
    assert_true(problems_of(fixture, &reports) > 0);
    bool found = false;
    for (size_t i = 0; i < 4 && i < reports.count; i++) {
        found = found || strstr(reports.text[i], part) != NULL;
    }
    if (!found) {
        fail_msg("no report of \"%s\", the first is \"%s\"", part, reports.text[0]);
    }
}

static struct write *begin_write(struct fixture *fixture)
{
    struct write *write;
    assert_int_equal(write_begin(collection_environment(fixture->collection), &write), OK);
    return write;
}

static void test_clean(void **state)
{
    (void)state;
    const uint64_t slots[] = {0, UINT64_C(4294967296) - 100, UINT64_C(1) << 40};
    for (size_t i = 0; i < 3; i++) {
        struct fixture fixture;
        begin(&fixture, slots[i]);
        fixture_verify(&fixture);
        struct view view = fixture_view(&fixture);
        assert_true(view_counters(&view)->next_slot == slots[i] + POINTS);
        view_close(&view);
        fixture_reopen(&fixture);
        fixture_verify(&fixture);
        fixture_end(&fixture);
    }
}

static void test_empty(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 40, 60);
    fixture_create(&fixture, DIM, METRIC_DOT, 5);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

static void test_counters(void **state)
{
    (void)state;
    const char *names[] = {"points", "vectors", "dead codes", "id hash"};
    for (size_t i = 0; i < 4; i++) {
        struct fixture fixture;
        begin(&fixture, 0);
        struct write *write = begin_write(&fixture);
        struct counters *counters = write_counters(write);
        struct vector_counters *vector = write_vector_counters(write, 0);
        *(i == 0   ? &counters->point_count
          : i == 1 ? &vector->vector_count
          : i == 2 ? &vector->dead_count
                   : &counters->id_hash) += 1;
        assert_int_equal(write_commit(write), OK);
        expect_problem(&fixture, names[i]);
        fixture_end(&fixture);
    }
}

/* A point taken away behind the counters' back: its codes stay, its id or its row is gone. */
static void test_rows_and_ids(void **state)
{
    (void)state;
    for (int keep_id = 0; keep_id < 2; keep_id++) {
        struct fixture fixture;
        begin(&fixture, 0);
        const struct point_id id = model_id(1);
        uint64_t slot;
        struct write *write = begin_write(&fixture);
        assert_int_equal(write_slot(write, &id, &slot), OK);
        assert_int_equal(write_remove(write, slot, &id, keep_id == 0), OK);
        assert_int_equal(write_commit(write), OK);
        expect_problem(&fixture, keep_id ? "which has no row" : "counter points");
        fixture_end(&fixture);
    }
}

/* A row whose id names another slot. */
static void test_two_rows_of_one_id(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct write *write = begin_write(&fixture);
    struct counters *counters = write_counters(write);
    const struct point_row row = {.id = model_id(1), .version = counters->operation};
    assert_int_equal(write_point(write, counters->next_slot++, &row), OK);
    assert_int_equal(write_commit(write), OK);
    expect_problem(&fixture, "does not name it");
    fixture_end(&fixture);
}

static void test_a_point_without_codes(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct write *write = begin_write(&fixture);
    struct counters *counters = write_counters(write);
    const struct point_row row = {
        .id = point_id_number(999999), .version = counters->operation, .vectors = {{1}}};
    assert_int_equal(write_point(write, counters->next_slot++, &row), OK);
    assert_int_equal(write_commit(write), OK);
    struct reports reports;
    assert_true(problems_of(&fixture, &reports) >= 2);
    expect_problem(&fixture, "has no block code");
    expect_problem(&fixture, "vector of slot");
    fixture_end(&fixture);
}

/* A stored vector and a code for it, but no point. */
static void test_codes_without_a_point(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct write *write = begin_write(&fixture);
    const struct codec *codec = collection_codec(fixture.collection, 0);
    float *vector = calloc(DIM, sizeof *vector);
    uint8_t *code = calloc(1, codec_code_bytes(codec, 4));
    assert_non_null(vector);
    assert_non_null(code);
    const float factors[2] = {0, 0};
    const struct run_rows rows = {.first_slot = write_counters(write)->next_slot++,
                                  .count = 1,
                                  .codes = code,
                                  .factors = factors,
                                  .vectors = vector};
    assert_int_equal(write_vectors(write, 0, &rows), OK);
    assert_int_equal(write_commit(write), OK);
    expect_problem(&fixture, "belongs to no live point");
    free(vector);
    free(code);
    fixture_end(&fixture);
}

/* Put the open generation's last value again with one thing changed. */
static void rewrite_value(struct fixture *fixture,
                          void (*change)(struct fixture *fixture, uint8_t *blocks, uint64_t *slots))
{
    struct view view = fixture_view(fixture);
    const struct codec *codec = collection_codec(fixture->collection, 0);
    const size_t per_value =
        environment_blocks_per_value(collection_environment(fixture->collection), 0);
    uint8_t *blocks = calloc(per_value, codec_block_bytes(codec));
    uint64_t *slots = calloc(per_value * CODEC_BLOCK_LANES, sizeof *slots);
    assert_non_null(blocks);
    assert_non_null(slots);
    struct generation generation;
    struct block_value value;
    assert_int_equal(view_generation(&view, 0, 1, &generation), OK);
    assert_int_equal(view_blocks(&view, 0, 1, 0, &value), OK);
    const size_t codes = value.code_count;
    assert_true(codes > 10);
    memcpy(blocks, value.blocks, value.block_count * codec_block_bytes(codec));
    memcpy(slots, value.slots, codes * sizeof *slots);
    view_close(&view);
    change(fixture, blocks, slots);
    struct write *write = begin_write(fixture);
    assert_int_equal(write_blocks(write, 0, 1, 0, blocks, slots, codes), OK);
    assert_int_equal(write_commit(write), OK);
    free(blocks);
    free(slots);
}

static void change_code(struct fixture *fixture, uint8_t *blocks, uint64_t *slots)
{
    (void)fixture;
    for (size_t i = 0; i < 32; i++) { /* a bit of every lane: some are live */
        blocks[i] ^= 0x11;
    }
    (void)slots;
}

static void change_slot(struct fixture *fixture, uint8_t *blocks, uint64_t *slots)
{
    (void)fixture;
    (void)blocks;
    slots[3] = slots[2];
}

static void test_block_codes(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    rewrite_value(&fixture, change_code);
    expect_problem(&fixture, "is not its vector's");
    fixture_end(&fixture);
    begin(&fixture, 0);
    rewrite_value(&fixture, change_slot);
    expect_problem(&fixture, "block code");
    fixture_end(&fixture);
}

static void test_generation_counts(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct view view = fixture_view(&fixture);
    struct generation generation;
    const uint64_t last = view_vector_counters(&view, 0)->generation_count - 1;
    assert_int_equal(view_generation(&view, 0, last, &generation), OK);
    float centre[DIM];
    memcpy(centre, generation.centre, sizeof centre);
    view_close(&view);
    struct write *write = begin_write(&fixture);
    assert_int_equal(write_generation(write, 0, last, generation.code_count + 1,
                                      generation.value_count, false, centre),
                     OK);
    assert_int_equal(write_commit(write), OK);
    struct reports reports;
    assert_true(problems_of(&fixture, &reports) > 0);
    fixture_end(&fixture);
}

/* A payload that is no value. */
static void test_payloads(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct write *write = begin_write(&fixture);
    struct counters *counters = write_counters(write);
    const struct point_row row = {.id = point_id_number(999999),
                                  .version = counters->operation,
                                  .payload = span_text("\xff\xff\xff")};
    assert_int_equal(write_point(write, counters->next_slot++, &row), OK);
    assert_int_equal(write_commit(write), OK);
    expect_problem(&fixture, "is no value");
    fixture_end(&fixture);
}

static void test_at_most_a_thousand_reports_of_a_kind(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct write *write = begin_write(&fixture);
    struct counters *counters = write_counters(write);
    for (uint64_t i = 0; i < 1500; i++) {
        const struct point_row row = {.id = point_id_number(1000000 + i),
                                      .version = counters->operation + 1};
        assert_int_equal(write_point(write, counters->next_slot++, &row), OK);
    }
    assert_int_equal(write_commit(write), OK);
    struct reports reports = {.count = 0};
    uint64_t problems;
    assert_int_equal(collection_verify(fixture.collection, 0, keep_report, &reports, &problems),
                     OK);
    assert_true(problems >= 1500);
    assert_true(reports.count >= 1000 && reports.count < 1010);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_rows_and_ids),
        cmocka_unit_test(test_two_rows_of_one_id),
        cmocka_unit_test(test_a_point_without_codes),
        cmocka_unit_test(test_codes_without_a_point),
        cmocka_unit_test(test_block_codes),
        cmocka_unit_test(test_generation_counts),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_at_most_a_thousand_reports_of_a_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
