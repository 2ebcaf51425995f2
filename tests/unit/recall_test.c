/* What a recall costs to read: the table from needs, its bytes, what searches make of it, live
 * queries and what they got. */
#include "index_fixture.h"

#include "index/plan.h"
#include "index/recall_private.h"

/* ---- the table alone ---- */

#define STORED 1000u
#define MADE 700u

/* Stored points near 1, whose neighbours lie within the first tenth; copies from 2 to 5, the
 * farther the deeper, up to all of the codes. */
static struct needs *make_needs(uint64_t *random)
{
    struct needs *all = calloc(STORED + MADE, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < STORED + MADE; i++) {
        const double far =
            i < STORED ? 0.9 + 0.2 * random_unit(random) : 2.0 + 3.0 * random_unit(random);
        const double deepest = i < STORED ? 0.1 : far / 5.0;
        all[i].distance = (float)far;
        all[i].count = RECALL_K;
        for (size_t j = 0; j < RECALL_K; j++) {
            all[i].share[j] = (float)(deepest * random_unit(random));
        }
    }
    return all;
}

static double found(const struct recall_table *table, const struct needs *needs, size_t count,
                    size_t k, double recall)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double share =
            recall_table_share(table, recall, (double)needs[i].distance, table->codes, k);
        for (size_t j = 0; j < k; j++) {
            sum += (double)needs[i].share[j] <= share;
        }
    }
    return sum / (double)(count * k);
}

static void test_a_table_gives_what_is_asked(void **state)
{
    (void)state;
    uint64_t random = 5;
    struct needs *needs = make_needs(&random);
    struct recall_table table = {.codes = 100000};
    recall_table_make(&table, needs, STORED, MADE);
    assert_int_equal(table.stored, STORED);
    assert_int_equal(table.made, MADE);
    for (size_t i = 0; i < RECALL_LEVELS; i++) {
        const double recall = recall_levels[i];
        for (size_t k = 10; k <= 100; k += 90) {
            assert_true(found(&table, needs, STORED, k, recall) >= recall);
            assert_true(found(&table, needs + STORED, MADE, k, recall) >= recall);
        }
        /* Near ones do not pay for far ones. */
        assert_true(recall_table_share(&table, recall, 1.0, table.codes, 10) <= 0.11);
        assert_true(recall_table_share(&table, recall, 4.9, table.codes, 10) >= 0.75);
    }
    free(needs);
}

static void test_shares_grow_with_what_is_asked(void **state)
{
    (void)state;
    uint64_t random = 6;
    struct needs *needs = make_needs(&random);
    struct recall_table table = {.codes = 100000};
    recall_table_make(&table, needs, STORED, MADE);
    for (double distance = 0.0; distance < 8.0; distance += 0.3) {
        double before = 0.0;
        for (double recall = 0.5; recall < 0.9999; recall += 0.0049) {
            const double share = recall_table_share(&table, recall, distance, table.codes, 10);
            assert_true(share >= before && share > 0.0 && share <= 1.0);
            before = share;
        }
        const double ten = recall_table_share(&table, 0.95, distance, table.codes, 10);
        assert_true(recall_table_share(&table, 0.95, distance, table.codes, 1000) >= ten);
        assert_true(recall_table_share(&table, 0.95, distance, table.codes / 4, 10) >= ten);
    }
    double before = 0.0;
    for (double recall = 0.5; recall < 0.9999; recall += 0.0049) {
        const double share = recall_prior_share(recall, 1000000, 10);
        assert_true(share >= before && share > 0.0 && share <= 1.0);
        before = share;
    }
    free(needs);
}

/* 300 far queries that find everything at once decide at their distance, and nowhere else. */
static void test_live_queries_decide_where_they_are(void **state)
{
    (void)state;
    uint64_t random = 7;
    struct needs *needs = make_needs(&random), *live = calloc(300, sizeof *live);
    assert_non_null(live);
    struct recall_table table = {.codes = 100000};
    recall_table_make(&table, needs, STORED, MADE);
    const struct recall_table base = table;
    const float far = table.far[RECALL_KNOTS - 1];
    for (size_t i = 0; i < 300; i++) {
        live[i] = (struct needs){.distance = far, .count = RECALL_K};
        live[i].share[0] = 0.001f;
    }
    recall_table_overlay(&table, live, 90);
    assert_int_equal(table.live, 0);
    assert_memory_equal(&table.share, &base.base, sizeof base.base); /* too few */
    recall_table_overlay(&table, live, 300);
    assert_int_equal(table.live, 300);
    assert_true(recall_table_share(&table, 0.99, (double)far, table.codes, 10) < 0.01);
    assert_true(fabs(recall_table_share(&table, 0.99, 1.0, table.codes, 10) -
                     recall_table_share(&base, 0.99, 1.0, table.codes, 10)) < 1e-12);
    assert_memory_equal(&table.base, &base.base, sizeof base.base);
    free(live);
    free(needs);
}

/* Where shuffled copies find their neighbours deeper than shifted ones, they decide; elsewhere not.
 */
static void test_the_worse_kind_decides(void **state)
{
    (void)state;
    uint64_t random = 9;
    struct needs *needs = make_needs(&random);
    struct recall_table table = {.codes = 100000}, foreign = table;
    recall_table_make(&table, needs, STORED, MADE);
    for (size_t i = STORED; i < STORED + MADE; i += 4) {
        needs[i].foreign = true;
        for (size_t j = 0; j < RECALL_K; j++) {
            needs[i].share[j] = needs[i].distance < 4.0f ? 0.9f : 0.01f;
        }
    }
    recall_table_make(&foreign, needs, STORED, MADE);
    assert_true(recall_table_share(&table, 0.8, 2.5, table.codes, 10) < 0.7);
    assert_true(recall_table_share(&foreign, 0.8, 2.5, table.codes, 10) > 0.8);
    assert_true(recall_table_share(&foreign, 0.8, 4.9, table.codes, 10) >= 0.75);
    assert_true(fabs(recall_table_share(&foreign, 0.8, 1.0, table.codes, 10) -
                     recall_table_share(&table, 0.8, 1.0, table.codes, 10)) < 0.02);
    free(needs);
}

static void test_nothing_to_learn_from(void **state)
{
    (void)state;
    struct recall_table table = {.codes = 1000};
    struct needs none = {.distance = 1.0f};
    recall_table_make(&table, &none, 0, 0);
    recall_table_overlay(&table, &none, 0);
    assert_true(recall_table_share(&table, 0.99, 3.0, 1000, 10) > 0.0);
    recall_table_make(&table, &none, 1, 0); /* all its nearest are in a generation */
    assert_true(recall_table_share(&table, 0.99, 3.0, 1000, 10) > 0.0);
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t random = 8;
    struct needs *needs = make_needs(&random);
    struct recall_table table = {.codes = (uint64_t)1 << 40}, again;
    recall_table_make(&table, needs, STORED, MADE);
    uint8_t bytes[RECALL_TABLE_BYTES + 1];
    recall_table_put(&table, bytes);
    assert_true(recall_table_get(&again, span_of(bytes, RECALL_TABLE_BYTES)));
    assert_memory_equal(&again.far, &table.far, sizeof table.far);
    assert_memory_equal(&again.base, &table.base, sizeof table.base);
    assert_memory_equal(&again.share, &table.share, sizeof table.share);
    assert_int_equal(again.codes, table.codes);
    assert_int_equal(again.stored, STORED);
    assert_false(recall_table_get(&again, span_of(bytes, RECALL_TABLE_BYTES - 1)));
    assert_false(recall_table_get(&again, span_of(bytes, RECALL_TABLE_BYTES + 1)));
    static const float bad[] = {NAN, 0.0f, -1.0f, 1.01f, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        store_float(bytes + RECALL_TABLE_BYTES - 4, bad[i]);
        assert_false(recall_table_get(&again, span_of(bytes, RECALL_TABLE_BYTES)));
    }
    store_float(bytes + RECALL_TABLE_BYTES - 4, 0.5f);
    store_float(bytes + 24, 1e30f); /* the first distance above the second */
    assert_false(recall_table_get(&again, span_of(bytes, RECALL_TABLE_BYTES)));
    free(needs);
}

static void test_intervals(void **state)
{
    (void)state;
    double low, high;
    recall_interval(0.9, 100, &low, &high); /* Wilson: .8256 to .9448 */
    assert_true(fabs(low - 0.8256) < 1e-3 && fabs(high - 0.9448) < 1e-3);
    recall_interval(1.0, 50, &low, &high);
    assert_true(low < 0.94 && low > 0.9 && high > 0.9999);
    recall_interval(0.0, 0, &low, &high);
    assert_true(low <= 0.0 && high >= 1.0);
}

/* ---- in a collection ---- */

#define DIM 64u
#define POINTS 3000u
#define CLUSTERS 30u

struct run {
    struct fixture fixture;
    float *rows;
};

static void random_row(uint64_t *random, const float *centre, float *row)
{
    for (size_t j = 0; j < DIM; j++) {
        row[j] = centre[j] + (float)(0.6 * random_normal(random));
    }
}

static void put_points(struct run *run, uint32_t first, uint32_t count)
{
    static const uint8_t request[16] = {1};
    struct op_builder builder;
    op_begin(&builder, &run->fixture.arena, OP_UPSERT, request);
    for (uint32_t i = first; i < first + count; i++) {
        const struct point_id id = point_id_number(i);
        memcpy(op_put_dense_point(&builder, &id, DIM, span_of(NULL, 0)), run->rows + i * DIM,
               DIM * sizeof(float));
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(run->fixture.collection, &item, 1), OK);
    arena_release(&run->fixture.arena);
}

static void maintain(struct run *run, bool idle)
{
    uint64_t steps;
    assert_int_equal(collection_maintain(run->fixture.collection, 0, idle, UINT64_MAX, &steps), OK);
}

static void run_begin(struct run *run)
{
    uint64_t random = 11;
    float *centres = malloc(CLUSTERS * DIM * sizeof *centres);
    fixture_begin(&run->fixture, 256, 256);
    fixture_create(&run->fixture, DIM, METRIC_EUCLID, 0);
    run->rows = malloc((size_t)POINTS * DIM * sizeof *run->rows);
    assert_non_null(centres);
    assert_non_null(run->rows);
    for (size_t i = 0; i < CLUSTERS * DIM; i++) {
        centres[i] = (float)random_normal(&random);
    }
    for (size_t i = 0; i < POINTS; i++) {
        random_row(&random, centres + i % CLUSTERS * DIM, run->rows + i * DIM);
    }
    free(centres);
    for (uint32_t i = 0; i < POINTS; i += 1000) {
        put_points(run, i, 1000);
        maintain(run, false);
    }
}

static void run_end(struct run *run)
{
    fixture_end(&run->fixture);
    free(run->rows);
}

static struct recall_report report_of(struct run *run)
{
    struct recall_report report;
    struct view view = fixture_view(&run->fixture);
    recall_report_get(run->fixture.collection, 0, &view, UINT64_MAX, &report);
    view_close(&view);
    return report;
}

static const struct recall_table *table_of(const struct run *run)
{
    return &run->fixture.collection->vectors[0].recall->table;
}

static struct search_stats ask(struct run *run, struct search_request request)
{
    struct hit *hits;
    size_t count;
    struct search_stats stats;
    struct view view = fixture_view(&run->fixture);
    request.limit = request.limit > 0 ? request.limit : 10;
    assert_int_equal(collection_search(run->fixture.collection, &view, &request,
                                       run->fixture.workspace, &run->fixture.arena, &hits, &count,
                                       &stats),
                     OK);
    view_close(&view);
    arena_release(&run->fixture.arena);
    return stats;
}

static void test_effort_follows_recall_and_distance(void **state)
{
    (void)state;
    struct run run;
    run_begin(&run);
    assert_true(report_of(&run).learnt);
    float far[DIM];
    for (size_t j = 0; j < DIM; j++) {
        far[j] = run.rows[j] + (j % 2 == 0 ? 6.0f : -6.0f);
    }
    uint64_t before = 0;
    static const float recalls[] = {0.5f, 0.8f, 0.9f, 0.95f, 0.99f, 0.999f};
    for (size_t i = 0; i < sizeof recalls / sizeof *recalls; i++) {
        uint64_t near_codes = 0;
        for (size_t q = 0; q < 50; q++) {
            const struct search_stats stats = ask(
                &run, (struct search_request){.vector = run.rows + q * DIM, .recall = recalls[i]});
            near_codes += stats.codes_scanned;
        }
        const struct search_stats stats =
            ask(&run, (struct search_request){.vector = far, .recall = recalls[i]});
        assert_true(near_codes >= before);
        assert_true(stats.codes_scanned * 50 > near_codes);
        before = near_codes;
    }
    assert_true(before < 50 * POINTS * 9 / 10); /* and .999 is not a scan of all */
    /* Hints count without a recall only. */
    const struct search_request plain = {.vector = run.rows};
    const struct search_request half = {.vector = run.rows, .effort = 0.5f};
    const struct search_request twice = {.vector = run.rows, .effort = 2.0f};
    const struct search_request both = {.vector = run.rows, .effort = 2.0f, .recall = 0.99f};
    const uint64_t once = ask(&run, plain).codes_scanned;
    assert_true(ask(&run, half).codes_scanned < once);
    assert_true(ask(&run, twice).codes_scanned > once);
    assert_int_equal(ask(&run, both).codes_scanned, once);
    /* 1.0 is exact: every vector itself. */
    const struct search_stats exact =
        ask(&run, (struct search_request){.vector = run.rows, .exact = true});
    assert_int_equal(exact.exact_scored, POINTS);
    run_end(&run);
}

static void test_a_table_outlives_the_process(void **state)
{
    (void)state;
    struct run run;
    run_begin(&run);
    assert_true(report_of(&run).learnt);
    const struct recall_table before = *table_of(&run);
    fixture_reopen(&run.fixture);
    assert_true(report_of(&run).learnt);
    assert_memory_equal(&table_of(&run)->share, &before.share, sizeof before.share);
    assert_int_equal(table_of(&run)->codes, before.codes);
    maintain(&run, true); /* more points are looked at when idle */
    assert_true(report_of(&run).stored > before.stored);
    assert_true(report_of(&run).made > before.made);
    run_end(&run);
}

static void test_a_damaged_table_is_learnt_anew(void **state)
{
    (void)state;
    struct run run;
    run_begin(&run);
    uint8_t bytes[RECALL_TABLE_BYTES];
    const struct recall_table good = *table_of(&run);
    recall_table_put(&good, bytes);
    store_float(bytes + RECALL_TABLE_BYTES - 4, 7.0f);
    struct write *write;
    assert_int_equal(write_begin(collection_environment(run.fixture.collection), &write), OK);
    assert_int_equal(write_recall(write, 0, span_of(bytes, sizeof bytes)), OK);
    assert_int_equal(write_commit(write), OK);
    fixture_reopen(&run.fixture);
    assert_false(report_of(&run).learnt);
    const uint64_t scanned = ask(&run, (struct search_request){.vector = run.rows}).codes_scanned;
    assert_true(scanned > 0); /* by the prior */
    maintain(&run, false);
    assert_true(report_of(&run).learnt);
    run_end(&run);
}

static void test_deletes_make_it_learn_again(void **state)
{
    (void)state;
    static const uint8_t request[16] = {2};
    struct run run;
    run_begin(&run);
    const uint64_t before = report_of(&run).codes;
    struct op_builder builder;
    op_begin(&builder, &run.fixture.arena, OP_DELETE, request);
    for (uint32_t i = 0; i < POINTS; i += 2) {
        const struct point_id id = point_id_number(i);
        op_put_id(&builder, &id);
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(run.fixture.collection, &item, 1), OK);
    arena_release(&run.fixture.arena);
    maintain(&run, true);
    assert_true(report_of(&run).codes < before * 4 / 5);
    run_end(&run);
}

/* One query in eight is kept, answered again, and what it got is told; a full ring drops, so that
 * no more than it holds is ever due. */
static void test_live_queries_are_measured(void **state)
{
    (void)state;
    struct run run;
    run_begin(&run);
    maintain(&run, true);
    for (size_t i = 0; i < 8 * 40; i++) {
        const float recall = i / 8 % 2 == 0 ? 0.8f : 0.0f;
        (void)ask(&run, (struct search_request){.vector = run.rows + i * DIM, .recall = recall});
        (void)ask(&run, (struct search_request){.vector = run.rows, .unsampled = true});
    }
    struct recall_report report = report_of(&run);
    assert_int_equal(report.seen, 320);
    assert_int_equal(report.waiting, 40);
    assert_int_equal(report.group_count, 0);
    maintain(&run, true);
    report = report_of(&run);
    assert_int_equal(report.waiting, 0);
    assert_int_equal(report.group_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct recall_group *group = &report.groups[i];
        assert_true(fabs((double)group->asked - (i == 0 ? 0.8 : 0.99)) < 1e-6);
        assert_int_equal(group->queries, 20);
        assert_true(group->mean >= (double)group->asked - 0.1 && group->mean <= 1.0);
        assert_true(group->low <= group->mean && group->mean <= group->high);
    }
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < RECALL_SAMPLE_EVERY * (RING_MAX + 50); i++) {
            (void)ask(&run, (struct search_request){.vector = run.rows + i % POINTS * DIM});
        }
        assert_int_equal(report_of(&run).waiting, RING_MAX);
        maintain(&run, true);
    }
    report = report_of(&run);
    assert_true(report.live >= 200); /* and by now they decide */
    assert_true(report.groups[1].mean >= 0.985);
    run_end(&run);
}

/* What is not an answer to a recall is learnt from, but not counted; what came since is no miss. */
static void test_what_is_no_measure(void **state)
{
    (void)state;
    struct run run;
    run_begin(&run);
    maintain(&run, true);
    const struct search_request odd[] = {
        {.vector = run.rows, .offset = 3},
        {.vector = run.rows, .effort = 2.0f},
        {.vector = run.rows, .has_threshold = true, .threshold_score = 1.0f}};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < RECALL_SAMPLE_EVERY; j++) {
            (void)ask(&run, odd[i]);
        }
    }
    maintain(&run, true);
    assert_int_equal(report_of(&run).group_count, 0);
    for (size_t j = 0; j < RECALL_SAMPLE_EVERY; j++) {
        (void)ask(&run, (struct search_request){.vector = run.rows, .recall = 0.999f});
    }
    put_points(&run, 0, 900); /* all of its nearest are new points now */
    maintain(&run, true);
    const struct recall_report report = report_of(&run);
    assert_true(report.group_count <= 1);
    assert_true(report.group_count == 0 || report.groups[0].mean >= 0.99);
    run_end(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_gives_what_is_asked),
        cmocka_unit_test(test_shares_grow_with_what_is_asked),
        cmocka_unit_test(test_live_queries_decide_where_they_are),
        cmocka_unit_test(test_the_worse_kind_decides),
        cmocka_unit_test(test_nothing_to_learn_from),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_effort_follows_recall_and_distance),
        cmocka_unit_test(test_a_table_outlives_the_process),
        cmocka_unit_test(test_a_damaged_table_is_learnt_anew),
        cmocka_unit_test(test_deletes_make_it_learn_again),
        cmocka_unit_test(test_live_queries_are_measured),
        cmocka_unit_test(test_what_is_no_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
