/* Search: recall on real data, ties, thresholds, stops, and damage. */
#include "index_fixture.h"

#include <time.h>

static const uint8_t REQUEST[16] = {7};

/* Upsert vectors first..first+count-1 (their ids) of a matrix in one commit. */
static void put_rows(struct fixture *fixture, const float *rows, uint32_t dim, uint32_t first,
                     uint32_t count)
{
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_UPSERT, REQUEST);
    for (uint32_t i = first; i < first + count; i++) {
        const struct point_id id = point_id_number(i);
        memcpy(op_put_dense_point(&builder, &id, dim, (struct span){NULL, 0}),
               rows + (size_t)i * dim, dim * sizeof(float));
    }
    struct apply_item item = {.op = op_end(&builder)};
    struct encoded *encoded;
    assert_int_equal(collection_encode(fixture->collection, 1, item.op, &fixture->arena,
                                       fixture->workspace, &encoded),
                     OK);
    item.encoded = encoded;
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    arena_release(&fixture->arena);
}

static void delete_ids(struct fixture *fixture, uint32_t first, uint32_t count, uint32_t step)
{
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_DELETE, REQUEST);
    for (uint32_t i = 0; i < count; i++) {
        const struct point_id id = point_id_number(first + i * step);
        op_put_id(&builder, &id);
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    assert_int_equal(item.points_changed, count);
}

struct answer {
    struct hit *hits;
    size_t count;
    struct search_stats stats;
};

static struct answer ask(struct fixture *fixture, const struct search_request *request)
{
    struct answer answer;
    struct view view = fixture_view(fixture);
    assert_int_equal(collection_search(fixture->collection, &view, request, fixture->workspace,
                                       &fixture->arena, &answer.hits, &answer.count, &answer.stats),
                     OK);
    view_close(&view); /* ids stay: they are copies */
    return answer;
}

static uint64_t hit_number(const struct hit *hit)
{
    assert_int_equal(hit->row.id.kind, POINT_ID_NUMBER);
    return load64_big(hit->row.id.bytes);
}

/* ---- the words ---- */

#define WORDS 10000u
#define WORDS_DIM 100u

static float half_to_float(uint16_t half)
{
    const uint32_t exponent = half >> 10 & 31u;
    const double fraction = (double)(half & 1023u) / 1024;
    const double size =
        exponent == 0 ? ldexp(fraction, -14) : ldexp(1 + fraction, (int)exponent - 15);
    return (float)(half >> 15 ? -size : size);
}

/* float[10000 * 100], normalised. */
static float *read_words(const struct codec *codec)
{
    FILE *file = fopen("tests/data/words-10k/words.npy", "rb");
    assert_non_null(file);
    uint8_t header[10];
    assert_int_equal(fread(header, 1, sizeof header, file), sizeof header);
    assert_int_equal(fseek(file, 10 + load16(header + 8), SEEK_SET), 0);
    float *words = malloc((size_t)WORDS * WORDS_DIM * sizeof(float));
    uint16_t *halves = malloc((size_t)WORDS * WORDS_DIM * sizeof *halves);
    assert_non_null(words);
    assert_non_null(halves);
    assert_int_equal(fread(halves, 2, (size_t)WORDS * WORDS_DIM, file), WORDS * WORDS_DIM);
    for (size_t i = 0; i < (size_t)WORDS * WORDS_DIM; i++) {
        words[i] = half_to_float(halves[i]);
    }
    free(halves);
    fclose(file);
    for (size_t i = 0; i < WORDS; i++) {
        codec_normalise(codec, words + i * WORDS_DIM);
    }
    return words;
}

static int descending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x > y ? -1 : x < y;
}

/* Share of the k hits that are as good as the k-th of a scan in double precision. */
static double recall_of(const struct answer *answer, const float *rows, const float *query,
                        size_t k, bool (*live)(size_t i))
{
    double *keys = malloc(WORDS * sizeof *keys);
    assert_non_null(keys);
    size_t count = 0;
    for (size_t i = 0; i < WORDS; i++) {
        if (!live(i)) {
            continue;
        }
        double key = 0;
        for (size_t j = 0; j < WORDS_DIM; j++) {
            key += (double)rows[i * WORDS_DIM + j] * (double)query[j];
        }
        keys[count++] = key;
    }
    qsort(keys, count, sizeof *keys, descending);
    size_t good = 0;
    for (size_t i = 0; i < answer->count; i++) {
        good += (double)answer->hits[i].key >= keys[k - 1] - 1e-6;
    }
    free(keys);
    return (double)good / (double)k;
}

static bool every(size_t i)
{
    (void)i;
    return true;
}

static bool not_third(size_t i)
{
    return i % 3 != 0;
}

/* Mean recall@k of 200 words as queries, and that the stages spared most of the work. */
static double words_recall(struct fixture *fixture, const float *words, size_t k,
                           bool (*live)(size_t i))
{
    double recall = 0;
    uint64_t exact = 0;
    for (size_t n = 0; n < 200; n++) {
        const float *query = words + n * 49 * WORDS_DIM;
        const struct search_request request = {.vector = query, .limit = k};
        const struct answer answer = ask(fixture, &request);
        assert_int_equal(answer.count, k);
        assert_int_equal(answer.stats.codes_scanned, WORDS);
        assert_false(answer.stats.degraded);
        exact += answer.stats.exact_scored;
        recall += recall_of(&answer, words, query, k, live);
        arena_release(&fixture->arena);
    }
    assert_true(exact < 200 * WORDS / 10);
    return recall / 200;
}

static void test_recall_on_words(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 1024, 4096);
    fixture_create(&fixture, WORDS_DIM, METRIC_COSINE, 0);
    float *words = read_words(collection_codec(fixture.collection, 0));
    for (uint32_t first = 0; first < WORDS; first += 500) {
        put_rows(&fixture, words, WORDS_DIM, first, 500);
    }
    assert_true(words_recall(&fixture, words, 10, every) >= 0.995);
    assert_true(words_recall(&fixture, words, 1, every) >= 0.995);
    assert_true(words_recall(&fixture, words, 200, every) >= 0.995);
    delete_ids(&fixture, 0, (WORDS + 2) / 3, 3);
    assert_true(words_recall(&fixture, words, 10, not_third) >= 0.995);
    fixture_verify(&fixture);
    free(words);
    fixture_end(&fixture);
}

/* Wanting all of them, and some between. */
static void test_large_limits(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 1024, 4096);
    fixture_create(&fixture, WORDS_DIM, METRIC_COSINE, 0);
    float *words = read_words(collection_codec(fixture.collection, 0));
    for (uint32_t first = 0; first < WORDS; first += 1000) {
        put_rows(&fixture, words, WORDS_DIM, first, 1000);
    }
    const uint64_t limits[] = {600, 2000, 3000, 9999, 10000, UINT64_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct search_request request = {.vector = words + 77 * WORDS_DIM, .limit = limits[i]};
        const struct answer answer = ask(&fixture, &request);
        const size_t expected = limits[i] < WORDS ? (size_t)limits[i] : WORDS;
        assert_int_equal(answer.count, expected);
        assert_int_equal(hit_number(&answer.hits[0]), 77);
        request.exact = true;
        const struct answer exact = ask(&fixture, &request);
        size_t same = 0;
        for (size_t j = 0; j < expected; j++) {
            same += answer.hits[j].key >= exact.hits[expected - 1].key;
            assert_true(j == 0 || answer.hits[j - 1].key >= answer.hits[j].key);
        }
        assert_true((double)same >= 0.995 * (double)expected);
        /* The offset leaves out exactly the best ones. */
        request.offset = 100;
        const struct answer behind = ask(&fixture, &request);
        assert_int_equal(behind.count, expected + 100 <= WORDS ? expected : WORDS - 100);
        for (size_t j = 0; j + 100 < expected; j++) {
            assert_int_equal(behind.hits[j].slot, exact.hits[j + 100].slot);
        }
        arena_release(&fixture.arena);
    }
    free(words);
    fixture_end(&fixture);
}

/* ---- ties ---- */

/* Three thousand equal vectors, stored against the order of their ids, some of them dead: the
 * smallest living ids are the answer, by every path. */
static void check_ties(enum metric metric, uint32_t dim)
{
    struct fixture fixture;
    fixture_begin(&fixture, 200, 700);
    fixture_create(&fixture, dim, metric, 0);
    enum { COUNT = 3000 };
    struct op_builder builder;
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 500 == 0) {
            op_begin(&builder, &fixture.arena, OP_UPSERT, REQUEST);
        }
        const struct point_id id = point_id_number(COUNT - 1 - i);
        uint8_t *out = op_put_dense_point(&builder, &id, dim, (struct span){NULL, 0});
        for (uint32_t j = 0; j < dim; j++) {
            store_float(out + 4 * j, i % 10 == 0 ? 0.3f : -0.1f);
        }
        if (i % 500 == 499) {
            struct apply_item item = {.op = op_end(&builder)};
            assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
        }
    }
    delete_ids(&fixture, 9, 5, 10); /* i % 10 == 0 are the ids that end in 9 */
    float query[64];
    for (uint32_t j = 0; j < dim; j++) {
        query[j] = 0.25f;
    }
    for (int exact = 0; exact < 2; exact++) {
        const struct search_request request = {
            .vector = query, .limit = 20, .offset = 3, .exact = exact == 1};
        const struct answer answer = ask(&fixture, &request);
        assert_int_equal(answer.count, 20);
        for (size_t i = 0; i < 20; i++) {
            assert_int_equal(hit_number(&answer.hits[i]), 9 + 10 * (5 + 3 + i));
        }
    }
    fixture_end(&fixture);
}

static void test_ties_go_by_id(void **state)
{
    (void)state;
    check_ties(METRIC_EUCLID, 64);
    check_ties(METRIC_DOT, 64);
    check_ties(METRIC_DOT, 8);
    check_ties(METRIC_MANHATTAN, 40);
}

/* ---- thresholds ---- */

/* One-dimensional positions 1..9 along an axis: scores are exact, so that strict is strict. */
static void check_threshold(enum metric metric, uint32_t dim, float threshold, uint64_t first,
                            uint64_t last)
{
    struct fixture fixture;
    fixture_begin(&fixture, 4, 4);
    fixture_create(&fixture, dim, metric, 0);
    float *rows = calloc((size_t)10 * dim, sizeof *rows);
    assert_non_null(rows);
    for (uint32_t i = 0; i < 10; i++) {
        rows[i * dim] = (float)i;
    }
    put_rows(&fixture, rows, dim, 1, 9);
    float *query = calloc(dim, sizeof *query);
    assert_non_null(query);
    query[0] = metric == METRIC_DOT || metric == METRIC_COSINE ? 1 : 0;
    const struct search_request request = {
        .vector = query, .limit = 2, .has_threshold = true, .threshold_score = threshold};
    struct search_request all = request;
    all.limit = 100;
    const struct answer two = ask(&fixture, &request), answer = ask(&fixture, &all);
    const size_t expected =
        first == 0 ? 0 : (size_t)(first > last ? first - last : last - first) + 1;
    assert_int_equal(answer.count, expected);
    assert_int_equal(two.count, expected < 2 ? expected : 2);
    for (size_t i = 0; i < expected; i++) {
        assert_int_equal(hit_number(&answer.hits[i]), first > last ? first - i : first + i);
    }
    free(rows);
    free(query);
    fixture_end(&fixture);
}

static void test_thresholds_are_strict(void **state)
{
    (void)state;
    const uint32_t dims[] = {2, 64};
    for (size_t i = 0; i < 2; i++) {
        check_threshold(METRIC_DOT, dims[i], 6, 9, 7);
        check_threshold(METRIC_DOT, dims[i], 9, 0, 0);
        check_threshold(METRIC_DOT, dims[i], -5, 9, 1);
        check_threshold(METRIC_COSINE, dims[i], 8.5f, 9, 9);
        check_threshold(METRIC_EUCLID, dims[i], 3, 1, 2);
        check_threshold(METRIC_EUCLID, dims[i], 1, 0, 0);
        check_threshold(METRIC_EUCLID, dims[i], 0, 0, 0);
        check_threshold(METRIC_EUCLID, dims[i], -4, 0, 0);
        check_threshold(METRIC_EUCLID, dims[i], INFINITY, 1, 9);
        check_threshold(METRIC_MANHATTAN, dims[i], 4, 1, 3);
        check_threshold(METRIC_DOT, dims[i], NAN, 0, 0);
    }
}

/* ---- stops ---- */

static void test_late_searches_end(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 100, 100);
    fixture_create(&fixture, 64, METRIC_DOT, 0);
    float rows[50 * 64];
    uint64_t random = 3;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rows[i] = (float)random_normal(&random);
    }
    put_rows(&fixture, rows, 64, 0, 50);
    struct view view = fixture_view(&fixture);
    for (int exact = 0; exact < 2; exact++) {
        struct search_request request = {
            .vector = rows, .limit = 3, .exact = exact == 1, .deadline_ns = 1};
        struct hit *hits;
        size_t count;
        struct search_stats stats;
        assert_int_equal(collection_search(fixture.collection, &view, &request, fixture.workspace,
                                           &fixture.arena, &hits, &count, &stats),
                         ERROR_CANCELLED);
        assert_int_equal(count, 0);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        request.deadline_ns = (uint64_t)(now.tv_sec + 3600) * 1000000000u;
        assert_int_equal(collection_search(fixture.collection, &view, &request, fixture.workspace,
                                           &fixture.arena, &hits, &count, &stats),
                         OK);
        assert_int_equal(count, 3);
    }
    view_close(&view);
    fixture_end(&fixture);
}

/* ---- damage ---- */

/* Flip one bit in the middle of every place in the collection's file where `bytes` stand. */
static size_t damage(struct fixture *fixture, const void *bytes, size_t count)
{
    char path[128];
    snprintf(path, sizeof path, "%s/collections", fixture->directory);
    char command[256];
    snprintf(command, sizeof command, "ls %s/*/data.mdb", path);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    char name[256];
    assert_non_null(fgets(name, sizeof name, list));
    pclose(list);
    name[strcspn(name, "\n")] = 0;
    FILE *file = fopen(name, "r+b");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    const size_t size = (size_t)ftell(file);
    uint8_t *data = malloc(size);
    assert_non_null(data);
    rewind(file);
    assert_int_equal(fread(data, 1, size, file), size);
    size_t found = 0;
    for (size_t at = 0; at + count <= size; at++) {
        if (memcmp(data + at, bytes, count) == 0) {
            fseek(file, (long)(at + count / 2), SEEK_SET);
            fputc(data[at + count / 2] ^ 0x10, file);
            found++;
        }
    }
    free(data);
    fclose(file);
    return found;
}

static void test_a_damaged_vector_is_left_out(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 100, 100);
    fixture_create(&fixture, 64, METRIC_EUCLID, 0);
    enum { COUNT = 300 };
    static float rows[COUNT * 64];
    uint64_t random = 3;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rows[i] = (float)random_normal(&random);
    }
    put_rows(&fixture, rows, 64, 0, COUNT);
    fixture_close(&fixture);
    assert_true(damage(&fixture, rows + 123 * 64, 64 * sizeof(float)) >= 1);
    fixture_open(&fixture);
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &fixture.collection), OK);
    for (int exact = 0; exact < 2; exact++) {
        const struct search_request request = {
            .vector = rows + 123 * 64, .limit = 5, .exact = exact == 1};
        const struct answer answer = ask(&fixture, &request);
        assert_true(answer.stats.degraded);
        assert_int_equal(answer.count, 5);
        for (size_t i = 0; i < 5; i++) {
            assert_int_not_equal(hit_number(&answer.hits[i]), 123);
        }
    }
    /* Writes go on, the damaged point included. */
    delete_ids(&fixture, 123, 1, 1);
    const struct search_request request = {.vector = rows + 123 * 64, .limit = 5, .exact = true};
    assert_false(ask(&fixture, &request).stats.degraded);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall_on_words),
        cmocka_unit_test(test_large_limits),
        cmocka_unit_test(test_ties_go_by_id),
        cmocka_unit_test(test_thresholds_are_strict),
        cmocka_unit_test(test_late_searches_end),
        cmocka_unit_test(test_a_damaged_vector_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
