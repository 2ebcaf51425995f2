/* Readers against a committing writer, with the map growing in the middle: each view must be one
 * snapshot, whole, for as long as it is open. Meant for TSan as well. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/storage_model.h"

enum { READERS = 3, COMMITS = 60, IDS = 300 };

struct shared {
    struct environment *environment;
    struct vector_shape vectors[MODEL_VECTORS];
    struct environment_shape shape;
    atomic_bool done;
    atomic_uint views;
    atomic_uint failures; /* cmocka's asserts are for the main thread only */
};

struct reader {
    struct shared *shared;
    uint32_t number;
    uint64_t last_operation;
};

#define EXPECT(reader, condition)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            atomic_fetch_add(&(reader)->shared->failures, 1);                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
        }                                                                                          \
    } while (0)

struct sum {
    struct reader *reader;
    const struct view *view;
    uint64_t hash, count;
};

/* A row's slot, by its id, and its vector. */
static enum error sum_row(void *context, uint64_t slot)
{
    struct sum *sum = context;
    struct point_row row = {0};
    uint64_t named = 0;
    sum->hash ^= mix(slot);
    sum->count++;
    EXPECT(sum->reader, view_point(sum->view, slot, &row) == OK);
    EXPECT(sum->reader, view_slot(sum->view, &row.id, &named) == OK && named == slot);
    EXPECT(sum->reader, !view_is_dead(sum->view, slot));
    struct vector_row vector;
    if (vector_set_has(&row.vectors, MODEL_VECTOR)) {
        const enum error error = view_vector(sum->view, MODEL_VECTOR, slot, &vector);
        EXPECT(sum->reader, error == OK);
        EXPECT(sum->reader,
               error == OK && vector_row_check(sum->view, MODEL_VECTOR, &vector) == OK);
        EXPECT(sum->reader,
               error == OK && load_float(vector.vector) == made_float(MADE_VECTOR, slot, 0));
    }
    return OK;
}

static uint64_t count_codes(struct reader *reader, const struct view *view)
{
    uint64_t codes = 0;
    for (uint64_t i = 0; i < view_vector_counters(view, MODEL_VECTOR)->generation_count; i++) {
        struct generation generation = {0};
        EXPECT(reader, view_generation(view, MODEL_VECTOR, i, &generation) == OK);
        uint64_t in_generation = 0;
        for (uint64_t j = 0; j < generation.value_count; j++) {
            struct block_value value = {0};
            EXPECT(reader, view_blocks(view, MODEL_VECTOR, generation.number, j, &value) == OK);
            for (size_t lane = 0; lane < value.code_count; lane++) {
                codes += !view_is_dead(view, load64(value.slots + 8 * lane));
            }
            in_generation += value.code_count;
        }
        EXPECT(reader, in_generation == generation.code_count);
    }
    return codes;
}

static void *read_views(void *argument)
{
    struct reader *reader = argument;
    struct shared *shared = reader->shared;
    while (!atomic_load(&shared->done)) {
        struct view view;
        EXPECT(reader, view_open(shared->environment, reader->number, &view) == OK);
        const struct counters counters = *view_counters(&view);
        EXPECT(reader, counters.operation >= reader->last_operation);
        reader->last_operation = counters.operation;
        /* Twice: what a view shows must not change while it is open. */
        for (int i = 0; i < 2; i++) {
            struct sum sum = {reader, &view, 0, 0};
            EXPECT(reader, view_each_row(&view, sum_row, &sum) == OK);
            EXPECT(reader, sum.count == counters.point_count && sum.hash == counters.id_hash);
            EXPECT(reader, count_codes(reader, &view) ==
                               view_vector_counters(&view, MODEL_VECTOR)->vector_count);
        }
        view_close(&view);
        atomic_fetch_add(&shared->views, 1);
    }
    return NULL;
}

static void commit_group(struct model *model, struct environment *environment,
                         struct random *random)
{
    struct write *write;
    assert_int_equal(write_begin(environment, &write), OK);
    assert_int_equal(model_step(model, write, random, IDS), OK);
    model_put_counters(model, write);
    const uint64_t operation = model->counters.operation;
    assert_int_equal(write_commit(write), OK);
    /* Whoever is answered after the commit reads what was written. */
    struct view view;
    assert_int_equal(view_open(environment, READERS, &view), OK);
    assert_true(view_counters(&view)->operation == operation);
    view_close(&view);
}

static void run_threads(uint64_t map_initial_bytes, uint64_t seed)
{
    char *path = scratch_directory();
    struct store_options options = small_options();
    options.map_initial_bytes = map_initial_bytes;
    options.reader_count = READERS + 1;
    struct store *store = open_store(path, &options);
    struct shared shared = {0};
    shared.shape = small_shape(64, shared.vectors);
    uint64_t directory;
    assert_int_equal(catalog_create(store, span_text("t"), span_text(""), &directory), OK);
    assert_int_equal(environment_open(store, directory, &shared.shape, &shared.environment), OK);
    struct model model;
    model_init(&model, &shared.shape,
               environment_blocks_per_value(shared.environment, MODEL_VECTOR));
    struct random random = {seed};
    pthread_t threads[READERS];
    struct reader readers[READERS];
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){&shared, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, read_views, &readers[i]), 0);
    }
    for (size_t i = 0; i < COMMITS; i++) {
        commit_group(&model, shared.environment, &random);
    }
    atomic_store(&shared.done, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&shared.failures), 0);
    struct environment_stats stats;
    environment_stats_get(shared.environment, &stats);
    assert_int_equal(stats.map_growths, map_initial_bytes < options.map_max_bytes ? 1 : 0);
    assert_int_equal(stats.map_bytes, options.map_max_bytes);
    struct view view;
    assert_int_equal(view_open(shared.environment, 0, &view), OK);
    model_compare(&model, &view);
    view_close(&view);
    environment_close(shared.environment);
    store_close(store);
    model_release(&model);
    scratch_remove(path);
}

static void test_growth(void **state)
{
    (void)state;
    run_threads(1 << 19, 1);
}

static void test_versions(void **state)
{
    (void)state;
    run_threads(64 << 20, 2);
}

/* More versions held than may be alive: the writer waits for one to be given back. */
struct holder {
    struct environment *environment;
    struct view view;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool release;
};

static void *release_later(void *argument)
{
    struct holder *holder = argument;
    pthread_mutex_lock(&holder->mutex);
    while (!holder->release) {
        pthread_cond_wait(&holder->changed, &holder->mutex);
    }
    pthread_mutex_unlock(&holder->mutex);
    /* The writer may be waiting by now or not yet: both must end well. */
    view_close(&holder->view);
    return NULL;
}

static void commit_counter(struct environment *environment)
{
    struct write *write;
    assert_int_equal(write_begin(environment, &write), OK);
    write_counters(write)->operation++;
    assert_int_equal(write_commit(write), OK);
}

static void test_versions_exhausted(void **state)
{
    (void)state;
    enum { HOLDERS = 20 }; /* above the 16 versions that may be alive */
    char *path = scratch_directory();
    struct store_options options = small_options();
    options.reader_count = HOLDERS;
    struct store *store = open_store(path, &options);
    struct vector_shape vectors[MODEL_VECTORS];
    const struct environment_shape shape = small_shape(8, vectors);
    struct environment *environment;
    uint64_t directory;
    assert_int_equal(catalog_create(store, span_text("t"), span_text(""), &directory), OK);
    assert_int_equal(environment_open(store, directory, &shape, &environment), OK);
    struct view views[15];
    for (uint32_t i = 0; i < 15; i++) {
        assert_int_equal(view_open(environment, i, &views[i]), OK);
        commit_counter(environment);
    }
    struct environment_stats stats;
    environment_stats_get(environment, &stats);
    assert_int_equal(stats.versions_alive, 16);
    struct holder holder = {.environment = environment,
                            .view = views[7],
                            .mutex = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_later, &holder), 0);
    pthread_mutex_lock(&holder.mutex);
    holder.release = true;
    pthread_cond_signal(&holder.changed);
    pthread_mutex_unlock(&holder.mutex);
    commit_counter(environment);
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < 15; i++) {
        if (i != 7) {
            assert_int_equal(view_counters(&views[i])->operation, i);
            view_close(&views[i]);
        }
    }
    commit_counter(environment);
    environment_stats_get(environment, &stats);
    assert_int_equal(stats.versions_alive, 1);
    environment_close(environment);
    store_close(store);
    scratch_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_versions_exhausted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
