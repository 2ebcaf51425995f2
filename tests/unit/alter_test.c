/* Other vectors for a collection that is open: who holds it goes on with it as it was, who acquires
 * it gets the new one, both of one environment; deletion waits for all of them. */
#include "index_fixture.h"

#include <pthread.h>
#include <sched.h>

#include "index/collection.h"
#include "index/plan.h"
#include "storage/chunks.h"

static const struct vector_settings first = {.name = {(const uint8_t *)"a", 1},
                                             .kind = VECTOR_DENSE,
                                             .metric = METRIC_DOT,
                                             .dim = 40,
                                             .seed = 5};
static const struct vector_settings second = {.name = {(const uint8_t *)"b", 1},
                                              .kind = VECTOR_DENSE,
                                              .metric = METRIC_EUCLID,
                                              .dim = 8,
                                              .seed = 6};
static const struct vector_settings none = {.kind = VECTOR_NONE};

static void create(struct fixture *fixture)
{
    const struct collection_settings settings = {
        .vectors = &first, .vector_count = 1, .config = span_text("{}")};
    fixture_begin(fixture, 70, 130);
    assert_int_equal(database_create(fixture->database, FIXTURE_NAME, &settings), OK);
    assert_int_equal(collection_acquire(fixture->database, FIXTURE_NAME, &fixture->collection), OK);
}

static enum error alter(struct fixture *fixture, struct collection *collection,
                        const struct vector_settings *a, const struct vector_settings *b)
{
    const struct vector_settings vectors[] = {*a, *b};
    const struct collection_settings settings = {
        .vectors = vectors, .vector_count = 2, .config = span_text("{\"altered\":1}")};
    return database_alter(fixture->database, collection, &settings);
}

/* Points [0, count) with the vectors asked for, as the settings number them. */
static enum error put(struct fixture *fixture, struct collection *collection, uint32_t count,
                      bool with_a, bool with_b)
{
    const uint8_t request_id[16] = {0};
    struct op_builder builder;
    op_begin(&builder, &fixture->arena, OP_UPSERT, request_id);
    for (uint32_t i = 0; i < count; i++) {
        const struct point_id id = point_id_number(i);
        op_put_point(&builder, &id, (struct span){0});
        for (uint16_t number = 0; number < 2; number++) {
            const struct vector_data vector = {.number = number,
                                               .kind = VECTOR_DENSE,
                                               .dim = number == 0 ? first.dim : second.dim,
                                               .count = 1};
            if (number == 0 ? !with_a : !with_b) {
                continue;
            }
            uint8_t *out = op_put_vector(&builder, &vector);
            for (uint32_t j = 0; j < vector.dim; j++) {
                store_float(out + j * sizeof(float), (float)(i + j));
            }
        }
    }
    struct encoded *encoded;
    struct apply_item item = {.op = op_end(&builder)};
    enum error error =
        collection_encode(collection, 0, item.op, &fixture->arena, fixture->workspace, &encoded);
    if (error == OK) {
        item.encoded = encoded;
        error = collection_apply(collection, &item, 1);
    }
    arena_release(&fixture->arena);
    return error;
}

static uint64_t count_of(const struct collection *collection, uint16_t vector)
{
    struct view view;
    assert_int_equal(view_open(collection_environment(collection), 1, &view), OK);
    const uint64_t count = view_vector_counters(&view, vector)->vector_count;
    view_close(&view);
    return count;
}

static void test_added(void **state)
{
    (void)state;
    struct fixture fixture;
    struct collection *newer, *again;
    create(&fixture);
    struct collection *old = fixture.collection;
    assert_int_equal(put(&fixture, old, 300, true, false), OK);
    assert_int_equal(alter(&fixture, old, &first, &second), OK);
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &newer), OK);
    assert_ptr_not_equal(newer, old);
    assert_ptr_equal(collection_environment(newer), collection_environment(old));
    assert_int_equal(collection_settings(old)->vector_count, 1);
    assert_int_equal(collection_settings(newer)->vector_count, 2);
    assert_true(span_equal(collection_config(newer), span_text("{\"altered\":1}")));
    /* Who holds the old one writes and reads on; what it does not know stays as it is. */
    assert_int_equal(put(&fixture, newer, 100, true, true), OK);
    assert_int_equal(put(&fixture, old, 50, true, false), OK);
    assert_int_equal(put(&fixture, old, 10, true, true), ERROR_INVALID);
    assert_int_equal(count_of(newer, 0), 300);
    assert_int_equal(count_of(old, 1), 50);
    /* Again, while both are held. */
    assert_int_equal(alter(&fixture, old, &none, &second), OK);
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &again), OK);
    assert_int_equal(count_of(newer, 0), 0);
    assert_int_equal(put(&fixture, newer, 60, true, true), OK);
    assert_int_equal(count_of(again, 0), 0);
    assert_int_equal(count_of(again, 1), 100);
    collection_release(newer);
    fixture.collection = again;
    fixture_verify(&fixture);
    collection_release(old);
    fixture_verify(&fixture);
    fixture_reopen(&fixture);
    assert_int_equal(collection_settings(fixture.collection)->vector_count, 2);
    assert_int_equal(count_of(fixture.collection, 1), 100);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* What was stored of a removed vector goes in bounded steps, and nothing is left. */
static void test_removed(void **state)
{
    (void)state;
    struct fixture fixture;
    bool left;
    uint64_t steps;
    create(&fixture);
    assert_int_equal(alter(&fixture, fixture.collection, &first, &second), OK);
    struct collection *old = fixture.collection;
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &fixture.collection), OK);
    collection_release(old);
    for (uint32_t round = 0; round < 3; round++) {
        assert_int_equal(put(&fixture, fixture.collection, 900, true, true), OK);
    }
    assert_int_equal(collection_maintain(fixture.collection, 2, true, UINT64_MAX, &steps), OK);
    assert_int_equal(alter(&fixture, fixture.collection, &none, &second), OK);
    fixture_reopen(&fixture);
    fixture_verify(&fixture); /* what is left is no problem */
    struct view view = fixture_view(&fixture);
    assert_int_equal(view_vector_left(&view, 0, &left), OK);
    assert_true(left);
    view_close(&view);
    assert_int_equal(put(&fixture, fixture.collection, 20, false, true), OK);
    assert_int_equal(collection_maintain(fixture.collection, 2, false, UINT64_MAX, &steps), OK);
    view = fixture_view(&fixture);
    assert_int_equal(view_vector_left(&view, 0, &left), OK);
    assert_false(left);
    view_close(&view);
    assert_int_equal(count_of(fixture.collection, 1), 900);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

static void test_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct vector_settings other = first;
    create(&fixture);
    other.dim = 41;
    assert_int_equal(alter(&fixture, fixture.collection, &other, &second), ERROR_INVALID);
    assert_int_equal(alter(&fixture, fixture.collection, &first, &first), ERROR_INVALID);
    assert_int_equal(collection_settings(fixture.collection)->vector_count, 1);
    assert_int_equal(put(&fixture, fixture.collection, 10, true, false), OK);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

/* Readers of both objects while the vectors change, and a deletion that waits for all holders. */
struct readers {
    struct fixture *fixture;
    atomic_bool stop;
    atomic_uint reads;
};

static void *read_on(void *context)
{
    struct readers *readers = context;
    while (!atomic_load(&readers->stop)) {
        struct collection *collection;
        struct view view;
        if (collection_acquire(readers->fixture->database, FIXTURE_NAME, &collection) != OK) {
            continue;
        }
        for (int i = 0; i < 5; i++) {
            if (view_open(collection_environment(collection), 3, &view) == OK) {
                const uint32_t vectors = collection_settings(collection)->vector_count;
                struct vector_row row;
                for (uint16_t v = 0; v < vectors; v++) {
                    const enum error error = view_vector(&view, v, 5, &row);
                    (void)error;
                }
                view_close(&view);
                atomic_fetch_add(&readers->reads, 1);
            }
        }
        collection_release(collection);
    }
    return NULL;
}

static void *delete_it(void *context)
{
    struct fixture *fixture = context;
    const enum error error = database_delete(fixture->database, FIXTURE_NAME);
    assert_int_equal(error, OK);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static struct fixture fixture;
    create(&fixture);
    struct readers readers = {.fixture = &fixture};
    pthread_t reader, deleter;
    assert_int_equal(put(&fixture, fixture.collection, 200, true, false), OK);
    assert_int_equal(pthread_create(&reader, NULL, read_on, &readers), 0);
    struct vector_settings vectors[12] = {first};
    for (uint32_t n = 1; n < 12; n++) {
        vectors[n] = second;
        if (n > 1) {
            vectors[n - 1] = none;
        }
        const struct collection_settings settings = {
            .vectors = vectors, .vector_count = n + 1, .config = span_text("{}")};
        assert_int_equal(database_alter(fixture.database, fixture.collection, &settings), OK);
        const unsigned before = atomic_load(&readers.reads);
        while (atomic_load(&readers.reads) < before + 20) {
            sched_yield();
        }
    }
    assert_int_equal(pthread_create(&deleter, NULL, delete_it, &fixture), 0);
    collection_release(fixture.collection); /* the first of them holds all the others */
    pthread_join(deleter, NULL);
    atomic_store(&readers.stop, true);
    pthread_join(reader, NULL);
    fixture.collection = NULL;
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &fixture.collection),
                     ERROR_NOT_FOUND);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_added),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
