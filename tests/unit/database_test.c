/* Collections by name: settings, holders, the limit on open ones, deletion. */
#include "index_fixture.h"

#include <dirent.h>
#include <pthread.h>

static void test_names(void **state)
{
    (void)state;
    char longest[256];
    memset(longest, 'x', sizeof longest);
    assert_true(collection_name_valid(span_of(longest, 255)));
    assert_false(collection_name_valid(span_of(longest, 256)));
    const char *good[] = {"a", "words", "with space", "..", "a.b-c_d", "Gänse", "名前", "😀", "\t"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(collection_name_valid(span_text(good[i])));
    }
    const char *bad[] = {"",     "a<",       "a>b",
                         ":",    "\"",       "a/b",
                         "a\\b", "|",        "?",
                         "*",    "\x1f",     "\x80",
                         "\xc3", "\xc0\xaf", "\xed\xa0\x80",
                         "\xff", "\xe2\x82", "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(collection_name_valid(span_text(bad[i])));
    }
    assert_false(collection_name_valid(span_of("a\0b", 3)));
}

static void compare_settings(const struct collection_settings *kept,
                             const struct collection_settings *expected)
{
    assert_int_equal(kept->vector_count, expected->vector_count);
    assert_true(kept->first_slot == expected->first_slot);
    assert_true(span_equal(kept->config, expected->config));
    for (uint32_t i = 0; i < kept->vector_count; i++) {
        const struct vector_settings *one = &kept->vectors[i], *two = &expected->vectors[i];
        assert_true(span_equal(one->name, two->name));
        assert_true(one->kind == two->kind && one->metric == two->metric);
        assert_true(one->datatype == two->datatype && one->idf == two->idf);
        assert_true(one->dim == two->dim && one->seed == two->seed);
        assert_true(one->code_bits == two->code_bits && one->code_scale == two->code_scale);
        uint16_t number;
        const struct vector_settings *found = settings_find_vector(kept, one->name, &number);
        assert_true(one->kind == VECTOR_NONE || (found == one && number == i));
    }
    uint16_t number;
    assert_null(settings_find_vector(kept, span_text("other"), &number));
}

static void test_create_acquire_delete(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    const struct vector_settings vectors[] = {
        {.name = span_text("image"),
         .kind = VECTOR_DENSE,
         .metric = METRIC_DOT,
         .datatype = DATATYPE_UINT8,
         .code_bits = CODE_1_5,
         .code_scale = SCALE_TURBOQUANT_MSE,
         .dim = 3},
        {.kind = VECTOR_DENSE, .metric = METRIC_EUCLID, .dim = 5, .seed = UINT64_MAX - 3},
        {.kind = VECTOR_NONE},
        {.name = span_text("Wörter"), .kind = VECTOR_SPARSE, .metric = METRIC_DOT, .idf = true},
    };
    const struct collection_settings settings = {
        .vectors = vectors, .vector_count = 4, .first_slot = 77, .config = span_text("{\"a\":1}")};
    const struct span name = span_text("Gänse");
    struct collection *collection;
    assert_int_equal(collection_acquire(fixture.database, name, &collection), ERROR_NOT_FOUND);
    assert_null(collection);
    assert_int_equal(database_create(fixture.database, name, &settings), OK);
    assert_int_equal(database_create(fixture.database, name, &settings), ERROR_EXISTS);
    assert_int_equal(database_create(fixture.database, span_text("a/b"), &settings), ERROR_INVALID);
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_int_equal(collection_acquire(fixture.database, name, &collection), OK);
        const struct collection_settings *kept = collection_settings(collection);
        compare_settings(kept, &settings);
        assert_int_equal(codec_dim(collection_codec(collection, 0)), 3);
        assert_int_equal(codec_dim(collection_codec(collection, 1)), 5);
        assert_null(collection_codec(collection, 2));
        assert_null(collection_codec(collection, 3));
        assert_null(collection_codec(collection, 4));
        collection_release(collection);
        if (!reopened) {
            database_close(fixture.database);
            fixture_open(&fixture);
        }
    }
    assert_int_equal(database_delete(fixture.database, name), OK);
    assert_int_equal(database_delete(fixture.database, name), ERROR_NOT_FOUND);
    assert_int_equal(database_delete(fixture.database, span_text("?")), ERROR_NOT_FOUND);
    assert_int_equal(collection_acquire(fixture.database, name, &collection), ERROR_NOT_FOUND);
    fixture_end(&fixture);
}

static void test_settings_out_of_range(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    const struct span name = span_text("x");
    const struct vector_settings bad[] = {
        {.kind = VECTOR_DENSE, .dim = CODEC_DIM_MAX + 1},
        {.kind = VECTOR_DENSE},
        {.kind = VECTOR_SPARSE}, /* the default vector cannot be sparse */
        {.kind = VECTOR_SPARSE, .name = span_text("x"), .dim = 1},
        {.kind = VECTOR_DENSE, .dim = 1, .metric = METRIC_MANHATTAN + 1},
        {.kind = VECTOR_DENSE, .dim = 1, .datatype = DATATYPE_TURBO4 + 1},
    };
    struct collection_settings settings = {.vector_count = 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        settings.vectors = &bad[i];
        assert_int_equal(database_create(fixture.database, name, &settings), ERROR_INVALID);
    }
    const struct vector_settings twins[] = {{.kind = VECTOR_DENSE, .dim = 1},
                                            {.kind = VECTOR_DENSE, .dim = 2}};
    settings = (struct collection_settings){.vectors = twins, .vector_count = 2};
    assert_int_equal(database_create(fixture.database, name, &settings), ERROR_INVALID);
    settings = (struct collection_settings){.vector_count = COLLECTION_VECTORS_MAX + 1};
    assert_int_equal(database_create(fixture.database, name, &settings), ERROR_INVALID);
    settings = (struct collection_settings){0};
    uint8_t *large = calloc(1, 1024 * 1024);
    assert_non_null(large);
    settings.config = span_of(large, 1024 * 1024);
    assert_int_equal(database_create(fixture.database, name, &settings), ERROR_TOO_LARGE);
    settings.config.bytes = 0;
    assert_int_equal(database_create(fixture.database, name, &settings), OK);
    struct collection *collection;
    assert_int_equal(collection_acquire(fixture.database, name, &collection), OK);
    assert_null(collection_codec(collection, 0));
    collection_release(collection);
    free(large);
    fixture_end(&fixture);
}

/* Settings that a newer kith wrote, or that are damaged: refused, not guessed at; still deletable.
 */
static void test_foreign_settings(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    /* One vector "v" of 3 floats behind 20 bytes of header. */
    uint8_t settings[38] = {2, [4] = 1, [20] = VECTOR_DENSE, METRIC_DOT, [24] = 3, [36] = 1, 'v'};
    const struct {
        size_t offset;
        uint8_t value;
        size_t bytes;
        enum error expected;
    } cases[] = {
        {0, 2, 38, OK},
        {0, 3, 38, ERROR_NEWER},
        {0, 1, 38, ERROR_CORRUPT},
        {1, 4, 38, ERROR_CORRUPT},
        {4, 2, 38, ERROR_CORRUPT},   /* a vector more than there is */
        {5, 2, 38, ERROR_CORRUPT},   /* more than there may be */
        {16, 1, 38, ERROR_CORRUPT},  /* bytes of configuration */
        {20, 4, 38, ERROR_CORRUPT},  /* kind */
        {21, 4, 38, ERROR_CORRUPT},  /* metric */
        {22, 4, 38, ERROR_CORRUPT},  /* datatype */
        {23, 32, 38, ERROR_CORRUPT}, /* flags */
        {23, 12, 38, ERROR_CORRUPT}, /* code bits */
        {23, 26, 38, ERROR_CORRUPT}, /* scale */
        {23, 10, 38, OK},
        {23, 24, 38, OK},
        {24, 0, 38, ERROR_CORRUPT}, /* dim */
        {26, 2, 38, ERROR_CORRUPT},
        {36, 2, 38, ERROR_CORRUPT}, /* bytes of the name */
        {0, 2, 37, ERROR_CORRUPT},
        {0, 2, 19, ERROR_CORRUPT},
        {0, 255, 1, ERROR_NEWER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t data[38];
        memcpy(data, settings, sizeof data);
        data[cases[i].offset] = cases[i].value;
        uint64_t directory;
        const struct span name = span_text("x");
        assert_int_equal(catalog_create(database_store(fixture.database), name,
                                        span_of(data, cases[i].bytes), &directory),
                         OK);
        struct collection *collection;
        assert_int_equal(collection_acquire(fixture.database, name, &collection),
                         cases[i].expected);
        collection_release(collection);
        assert_int_equal(database_delete(fixture.database, name), OK);
    }
    fixture_end(&fixture);
}

static void test_names_in_order(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    const struct vector_settings vector = {.kind = VECTOR_DENSE, .dim = 4};
    const struct collection_settings settings = {.vectors = &vector, .vector_count = 1};
    struct span *names;
    size_t count;
    assert_int_equal(database_names(fixture.database, &fixture.arena, &names, &count), OK);
    assert_int_equal(count, 0);
    for (uint32_t i = 0; i < 40; i++) {
        const char *name = arena_format(&fixture.arena, "c%02u", i * 17 % 40);
        assert_int_equal(database_create(fixture.database, span_text(name), &settings), OK);
    }
    assert_int_equal(database_names(fixture.database, &fixture.arena, &names, &count), OK);
    assert_int_equal(count, 40);
    for (uint32_t i = 0; i < 40; i++) {
        assert_true(span_equal(names[i], span_text(arena_format(&fixture.arena, "c%02u", i))));
    }
    fixture_end(&fixture);
}

/* Environments this process has open: descriptors of different data files. */
static size_t open_environments(const struct fixture *fixture)
{
    uint64_t seen[64];
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char link[300], target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        const ssize_t bytes = readlink(link, target, sizeof target - 1);
        if (bytes <= 0) {
            continue;
        }
        target[bytes] = 0;
        const char *within = strstr(target, "/collections/");
        if (strstr(target, fixture->directory) == NULL || within == NULL) {
            continue;
        }
        const uint64_t number = strtoull(within + 13, NULL, 16);
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known = known || seen[i] == number;
        }
        if (!known && count < 64) {
            seen[count++] = number;
        }
    }
    closedir(directory);
    return count;
}

static void put_point(struct fixture *fixture, struct collection *collection, uint64_t number)
{
    struct op_builder builder;
    const uint8_t request_id[16] = {0};
    op_begin(&builder, &fixture->arena, OP_UPSERT, request_id);
    const struct point_id id = point_id_number(number);
    uint8_t *vector = op_put_dense_point(&builder, &id, 4, (struct span){NULL, 0});
    for (uint32_t i = 0; i < 4; i++) {
        store_float(vector + 4 * i, (float)(number + i));
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(collection, &item, 1), OK);
}

static void test_idle_collections_are_closed(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    database_close(fixture.database);
    fixture.options.max_open_collections = 3;
    fixture_open(&fixture);
    enum { COUNT = 20 };
    const struct vector_settings vector = {.kind = VECTOR_DENSE, .dim = 4};
    const struct collection_settings settings = {.vectors = &vector, .vector_count = 1};
    struct span names[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        names[i] = span_text(arena_format(&fixture.arena, "small %u", i));
        assert_int_equal(database_create(fixture.database, names[i], &settings), OK);
        struct collection *collection;
        assert_int_equal(collection_acquire(fixture.database, names[i], &collection), OK);
        put_point(&fixture, collection, i);
        collection_release(collection);
        assert_int_equal(open_environments(&fixture), i < 3 ? i + 1 : 3);
    }
    /* Held ones stay open beyond the limit, and are closed once released. */
    struct collection *held[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(collection_acquire(fixture.database, names[i], &held[i]), OK);
    }
    assert_int_equal(open_environments(&fixture), COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct view view;
        assert_int_equal(view_open(collection_environment(held[i]), 0, &view), OK);
        assert_int_equal(view_counters(&view)->point_count, 1);
        const struct point_id id = point_id_number(i);
        uint64_t slot;
        assert_int_equal(view_slot(&view, &id, &slot), OK);
        view_close(&view);
        collection_release(held[i]);
    }
    assert_int_equal(open_environments(&fixture), 3);
    /* The last three released are the ones kept: used again, nothing is opened or closed. */
    struct collection *again;
    assert_int_equal(collection_acquire(fixture.database, names[COUNT - 1], &again), OK);
    assert_ptr_equal(again, held[COUNT - 1]);
    collection_release(again);
    fixture_end(&fixture);
}

static void *delete_thread(void *context)
{
    struct fixture *fixture = context;
    assert_int_equal(database_delete(fixture->database, FIXTURE_NAME), OK);
    return NULL;
}

static void test_deletion_waits_for_holders(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 4, METRIC_DOT, 0);
    put_point(&fixture, fixture.collection, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, delete_thread, &fixture), 0);
    struct collection *other = NULL;
    enum error error;
    while ((error = collection_acquire(fixture.database, FIXTURE_NAME, &other)) == OK) {
        collection_release(other); /* not begun yet */
    }
    assert_int_equal(error, ERROR_NOT_FOUND);
    /* What is held works to the end. */
    struct view view = fixture_view(&fixture);
    assert_int_equal(view_counters(&view)->point_count, 1);
    view_close(&view);
    collection_release(fixture.collection);
    fixture.collection = NULL;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &other), ERROR_NOT_FOUND);
    assert_int_equal(open_environments(&fixture), 0);
    /* The name is free again, and what comes is empty. */
    fixture_create(&fixture, 4, METRIC_DOT, 0);
    view = fixture_view(&fixture);
    assert_int_equal(view_counters(&view)->point_count, 0);
    view_close(&view);
    fixture_end(&fixture);
}

struct hammer {
    struct fixture *fixture;
    uint64_t random;
    uint32_t reader;
    uint64_t acquired;
};

static void *hammer_thread(void *context)
{
    struct hammer *hammer = context;
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", (unsigned)random_below(&hammer->random, 8));
        struct collection *collection;
        const enum error error =
            collection_acquire(hammer->fixture->database, span_text(name), &collection);
        if (error != OK) {
            assert_int_equal(error, ERROR_NOT_FOUND);
            continue;
        }
        struct view view;
        assert_int_equal(view_open(collection_environment(collection), hammer->reader, &view), OK);
        assert_int_equal(view_counters(&view)->point_count, 0);
        view_close(&view);
        collection_release(collection);
        hammer->acquired++;
    }
    return NULL;
}

/* Two threads acquire while the main one, as the writer, deletes and creates. */
static void test_acquire_against_delete(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 0, 0);
    database_close(fixture.database);
    fixture.options.max_open_collections = 3;
    fixture_open(&fixture);
    const struct vector_settings vector = {.kind = VECTOR_DENSE, .dim = 4};
    const struct collection_settings settings = {.vectors = &vector, .vector_count = 1};
    for (uint32_t i = 0; i < 8; i++) {
        const char *name = arena_format(&fixture.arena, "c%u", i);
        assert_int_equal(database_create(fixture.database, span_text(name), &settings), OK);
    }
    struct hammer hammers[2];
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        hammers[i] = (struct hammer){.fixture = &fixture, .random = i + 1, .reader = i};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_thread, &hammers[i]), 0);
    }
    for (uint32_t i = 0; i < 40; i++) {
        const char *name = arena_format(&fixture.arena, "c%u", i % 8);
        assert_int_equal(database_delete(fixture.database, span_text(name)), OK);
        assert_int_equal(database_create(fixture.database, span_text(name), &settings), OK);
    }
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(hammers[i].acquired > 0);
    }
    assert_true(open_environments(&fixture) <= 3);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_create_acquire_delete),
        cmocka_unit_test(test_settings_out_of_range),
        cmocka_unit_test(test_foreign_settings),
        cmocka_unit_test(test_names_in_order),
        cmocka_unit_test(test_idle_collections_are_closed),
        cmocka_unit_test(test_deletion_waits_for_holders),
        cmocka_unit_test(test_acquire_against_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
