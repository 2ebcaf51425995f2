/* MaxSim by codes against the exact scan: with more points than are scored one by one. */
#include "tests/unit/index_fixture.h"

#define DIM 64u
#define POINTS 4000u
#define ROWS 5u
#define TOPICS 40u
#define QUERY_COUNT 60u
#define K 10u

struct setup {
    struct fixture fixture;
    uint64_t random;
    float topics[TOPICS][DIM];
};

/* A row of a topic, normalised. */
static void make_row(struct setup *setup, uint32_t topic, float *row)
{
    for (uint32_t i = 0; i < DIM; i++) {
        row[i] = setup->topics[topic][i] + 0.7f * (float)random_normal(&setup->random);
    }
    codec_normalise(collection_codec(setup->fixture.collection, 0), row);
}

/* Rows of two or three topics: a document. */
static void make_rows(struct setup *setup, float rows[ROWS * DIM])
{
    uint32_t topics[3];
    for (size_t i = 0; i < 3; i++) {
        topics[i] = (uint32_t)random_below(&setup->random, TOPICS);
    }
    for (size_t i = 0; i < ROWS; i++) {
        make_row(setup, topics[random_below(&setup->random, 3)], rows + i * DIM);
    }
}

static void fill(struct setup *setup)
{
    const uint8_t request_id[16] = {0};
    for (uint32_t first = 0; first < POINTS; first += 500) {
        struct op_builder builder;
        op_begin(&builder, &setup->fixture.arena, OP_UPSERT, request_id);
        for (uint32_t i = first; i < first + 500; i++) {
            const struct point_id id = point_id_number(i);
            const struct vector_data vector = {
                .kind = VECTOR_MULTI, .dim = DIM, .count = 1 + i % ROWS};
            float rows[ROWS * DIM];
            make_rows(setup, rows);
            op_put_point(&builder, &id, (struct span){NULL, 0});
            memcpy(op_put_vector(&builder, &vector), rows, vector_data_bytes(&vector));
        }
        struct apply_item item = {.op = op_end(&builder)};
        assert_int_equal(collection_apply(setup->fixture.collection, &item, 1), OK);
        arena_release(&setup->fixture.arena);
    }
}

static size_t search(struct setup *setup, const float *rows, size_t count, bool exact,
                     uint64_t ids[K], struct search_stats *stats)
{
    const struct search_request request = {
        .vector = rows, .vector_count = count, .limit = K, .exact = exact};
    struct view view = fixture_view(&setup->fixture);
    struct hit *hits;
    size_t hit_count;
    assert_int_equal(collection_search(setup->fixture.collection, &view, &request,
                                       setup->fixture.workspace, &setup->fixture.arena, &hits,
                                       &hit_count, stats),
                     OK);
    for (size_t i = 0; i < hit_count; i++) {
        ids[i] = load64_big(hits[i].row.id.bytes);
    }
    view_close(&view);
    return hit_count;
}

static void compare(struct setup *setup)
{
    size_t found = 0, scored = 0;
    for (size_t q = 0; q < QUERY_COUNT; q++) {
        float rows[ROWS * DIM];
        uint64_t exact[K], ids[K];
        struct search_stats stats;
        make_rows(setup, rows);
        const size_t count = 1 + q % ROWS;
        assert_int_equal(search(setup, rows, count, true, exact, &stats), K);
        const size_t all = stats.exact_scored;
        assert_int_equal(search(setup, rows, count, false, ids, &stats), K);
        assert_true(stats.codes_scanned > 0 && stats.exact_scored < all);
        scored += stats.exact_scored;
        for (size_t i = 0; i < K; i++) {
            for (size_t j = 0; j < K; j++) {
                found += exact[i] == ids[j];
            }
        }
    }
    print_message("recall %.4f, %.0f of %u points scored exactly a query\n",
                  (double)found / (QUERY_COUNT * K), (double)scored / QUERY_COUNT, POINTS);
    assert_true(found >= QUERY_COUNT * K * 99 / 100);
}

static void remove_some(struct setup *setup)
{
    const uint8_t request_id[16] = {0};
    struct op_builder builder;
    op_begin(&builder, &setup->fixture.arena, OP_DELETE, request_id);
    for (uint32_t i = 0; i < POINTS; i += 3) {
        const struct point_id id = point_id_number(i);
        op_put_id(&builder, &id);
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(setup->fixture.collection, &item, 1), OK);
}

static void test_recall(void **state)
{
    (void)state;
    static struct setup setup;
    setup = (struct setup){.random = 5};
    fixture_begin(&setup.fixture, 500, 3000);
    for (uint32_t i = 0; i < TOPICS * DIM; i++) {
        setup.topics[i / DIM][i % DIM] = (float)random_normal(&setup.random);
    }
    const struct vector_settings vector = {
        .kind = VECTOR_MULTI, .metric = METRIC_COSINE, .dim = DIM, .seed = 9};
    const struct collection_settings settings = {
        .vectors = &vector, .vector_count = 1, .config = span_text("{}")};
    assert_int_equal(database_create(setup.fixture.database, FIXTURE_NAME, &settings), OK);
    assert_int_equal(
        collection_acquire(setup.fixture.database, FIXTURE_NAME, &setup.fixture.collection), OK);
    fill(&setup);
    compare(&setup);
    remove_some(&setup);
    compare(&setup);
    fixture_verify(&setup.fixture);
    fixture_end(&setup.fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recall)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
