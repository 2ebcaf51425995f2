/* Random writes against the naive model; views held across commits; reopening. */
#include "tests/unit/storage_model.h"

struct fixture {
    char *path;
    struct store_options options;
    struct store *store;
    uint64_t directory;
    struct vector_shape vectors[MODEL_VECTORS];
    struct environment_shape shape;
    struct environment *environment;
    struct model model;
};

static void fixture_open(struct fixture *fixture)
{
    fixture->store = open_store(fixture->path, &fixture->options);
    fixture->shape.vectors = fixture->vectors; /* the fixture may have been copied */
    uint8_t *settings;
    size_t bytes;
    if (catalog_get(fixture->store, span_text("test"), &fixture->directory, &settings, &bytes) ==
        OK) {
        free(settings);
    } else {
        assert_int_equal(catalog_create(fixture->store, span_text("test"), span_text("settings"),
                                        &fixture->directory),
                         OK);
    }
    assert_int_equal(environment_open(fixture->store, fixture->directory, &fixture->shape,
                                      &fixture->environment),
                     OK);
}

static void fixture_close(struct fixture *fixture)
{
    environment_close(fixture->environment);
    store_close(fixture->store);
}

static struct fixture fixture_new(uint32_t dim, uint64_t map_bytes)
{
    struct fixture fixture = {.path = scratch_directory(), .options = small_options()};
    fixture.options.map_initial_bytes = map_bytes;
    fixture.shape = small_shape(dim, fixture.vectors);
    fixture_open(&fixture);
    model_init(&fixture.model, &fixture.shape,
               environment_blocks_per_value(fixture.environment, MODEL_VECTOR));
    return fixture;
}

static void fixture_end(struct fixture *fixture)
{
    fixture_close(fixture);
    model_release(&fixture->model);
    scratch_remove(fixture->path);
}

static void compare_now(struct fixture *fixture)
{
    struct view view;
    assert_int_equal(view_open(fixture->environment, 0, &view), OK);
    model_compare(&fixture->model, &view);
    view_close(&view);
}

static void commit_steps(struct fixture *fixture, struct random *random, uint64_t ids, size_t steps)
{
    struct write *write;
    assert_int_equal(write_begin(fixture->environment, &write), OK);
    for (size_t i = 0; i < steps; i++) {
        assert_int_equal(model_step(&fixture->model, write, random, ids), OK);
    }
    model_put_counters(&fixture->model, write);
    assert_int_equal(write_commit(write), OK);
}

/* A write that is given up leaves everything as it was. */
static void abort_steps(struct fixture *fixture, struct random *random, uint64_t ids)
{
    struct model other;
    model_copy(&other, &fixture->model);
    struct write *write;
    assert_int_equal(write_begin(fixture->environment, &write), OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(model_step(&other, write, random, ids), OK);
    }
    write_abort(write);
    model_release(&other);
}

struct held {
    struct view view;
    struct model model;
    bool open;
};

static void release_held(struct held *held)
{
    if (held->open) {
        model_compare(&held->model, &held->view);
        view_close(&held->view);
        model_release(&held->model);
    }
    held->open = false;
}

static void random_run(uint32_t dim, uint64_t seed, size_t commits, bool hold)
{
    /* Growth waits for views, and the thread that would wait holds them: no growth while holding.
     */
    struct fixture fixture = fixture_new(dim, hold ? 64 << 20 : 1 << 20);
    struct random random = {seed};
    struct held held[4] = {{.open = false}};
    compare_now(&fixture);
    for (size_t i = 0; i < commits; i++) {
        commit_steps(&fixture, &random, 600, 1 + random_below(&random, 6));
        if (i % 16 == 5) {
            abort_steps(&fixture, &random, 600);
        }
        struct held *slot = &held[1 + random_below(&random, 3)];
        release_held(slot);
        if (hold && random_below(&random, 2) == 0) {
            assert_int_equal(view_open(fixture.environment, (uint32_t)(slot - held), &slot->view),
                             OK);
            model_copy(&slot->model, &fixture.model);
            slot->open = true;
        }
        if (i % 8 == 0) {
            compare_now(&fixture);
        }
        if (i % 24 == 23) {
            for (size_t j = 1; j < 4; j++) {
                release_held(&held[j]);
            }
            fixture_close(&fixture);
            fixture_open(&fixture);
            compare_now(&fixture);
        }
    }
    for (size_t j = 1; j < 4; j++) {
        release_held(&held[j]);
    }
    compare_now(&fixture);
    fixture_end(&fixture);
}

static void test_random(void **state)
{
    (void)state;
    random_run(24, 1, 48, false);
}

static void test_random_held(void **state)
{
    (void)state;
    random_run(24, 4, 60, true);
}

static void test_random_large_dim(void **state)
{
    (void)state;
    random_run(700, 2, 24, false);
    random_run(700, 5, 24, true);
}

static void test_single(void **state)
{
    (void)state;
    struct fixture fixture = fixture_new(100, 1 << 20);
    struct random random = {3};
    for (size_t i = 0; i < 150; i++) {
        struct write *write;
        assert_int_equal(write_begin(fixture.environment, &write), OK);
        fixture.model.counters.operation++;
        assert_int_equal(model_put_group(&fixture.model, write, &random, 100000, 1), OK);
        model_put_counters(&fixture.model, write);
        assert_int_equal(write_commit(write), OK);
    }
    compare_now(&fixture);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_held),
        cmocka_unit_test(test_random_large_dim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
