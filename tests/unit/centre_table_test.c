/* Tables of centres: placing and taking away against a plain array, and orders against linear
 * scans, of few partitions and of so many that only the nearest groups are looked at. */
#include "tests/unit/index_fixture.h"

#include "index/centre_table.h"
#include "index/plan.h"

#define DIM 64u
#define MANY 10000u
#define CLUSTERS 250u
#define QUERIES 60u

/* ---- a table beside a model ---- */

struct world {
    struct codec *codec;
    struct centre_table table;
    struct centre_placing placing;
    float *centres; /* [MANY][DIM] */
    bool present[MANY];
    uint64_t random;
};

static void fill_random(struct world *world, float *clusters)
{
    for (size_t i = 0; i < (size_t)CLUSTERS * DIM; i++) {
        clusters[i] = (float)random_normal(&world->random);
    }
    for (size_t i = 0; i < MANY; i++) {
        const float *cluster = clusters + random_below(&world->random, CLUSTERS) * DIM;
        for (size_t j = 0; j < DIM; j++) {
            world->centres[i * DIM + j] = cluster[j] + 0.6f * (float)random_normal(&world->random);
        }
    }
}

static void world_begin(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed, .codec = codec_new(DIM, 1, NULL)};
    world->centres = allocate(sizeof(float) * MANY * DIM);
    float *clusters = allocate(sizeof(float) * CLUSTERS * DIM);
    fill_random(world, clusters);
    free(clusters);
    world->table.count = MANY;
    world->table.entries = allocate_zeroed(MANY, sizeof *world->table.entries);
    world->table.places = allocate_zeroed(MANY, sizeof *world->table.places);
    centre_placing_begin(&world->placing, world->codec);
}

static void world_end(struct world *world)
{
    centre_placing_end(&world->placing);
    centre_groups_release(&world->table);
    free(world->table.entries);
    free(world->table.places);
    free(world->centres);
    codec_free(world->codec);
}

static void place(struct world *world, uint32_t index)
{
    centre_table_place(&world->table, &world->placing, index,
                       (const uint8_t *)(world->centres + (size_t)index * DIM));
    world->table.entries[index].codes = 1;
    world->table.live++;
    world->present[index] = true;
}

static void displace(struct world *world, uint32_t index)
{
    centre_table_displace(&world->table, world->codec, index);
    world->table.entries[index].codes = 0;
    world->table.live--;
    world->present[index] = false;
}

/* Everything that is there is in one place, and nothing else is. */
static void check(const struct world *world, const struct centre_table *table)
{
    size_t rows = 0, present = 0;
    for (uint32_t g = 0; g < table->group_count; g++) {
        const struct centre_group *group = table->groups[g];
        assert_true(group->count > 0 && group->count <= CENTRE_GROUP);
        rows += group->count;
        for (uint32_t i = 0; i < group->count; i++) {
            assert_int_equal(table->places[group->indexes[i]], g * CENTRE_GROUP + i);
        }
    }
    for (uint32_t i = 0; i < MANY; i++) {
        present += world->present[i];
        if (world->present[i]) {
            const float *centre = world->centres + (size_t)i * DIM;
            const float square = codec_key(world->codec, METRIC_DOT, centre, centre);
            assert_true(fabsf(centre_table_square(table, i) - square) <= 1e-4f * square);
        }
    }
    assert_int_equal(rows, present);
}

/* ---- orders ---- */

static double distance(const float *a, const float *b)
{
    double sum = 0.0;
    for (size_t j = 0; j < DIM; j++) {
        sum += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
    }
    return sum;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How many of the first `wanted` of the order are among as many nearest, give or take a hundredth
 * of the distance, which rounded rows cannot tell; summed over queries. */
static double overlap(struct world *world, size_t wanted, size_t looked_at_max)
{
    struct centre_query query = {.flat_max = 2048};
    double *all = allocate(sizeof(double) * MANY);
    size_t found = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        float vector[DIM];
        const float *near = world->centres + random_below(&world->random, MANY) * DIM;
        for (size_t j = 0; j < DIM; j++) {
            vector[j] = near[j] + 0.5f * (float)random_normal(&world->random);
        }
        size_t count = 0;
        for (size_t i = 0; i < MANY; i++) {
            if (world->present[i]) {
                all[count++] = distance(vector, world->centres + i * DIM);
            }
        }
        qsort(all, count, sizeof *all, compare_doubles);
        centre_query_run_alone(&query, world->codec, vector, METRIC_EUCLID, &world->table, wanted);
        assert_true(query.count >= wanted && query.count <= looked_at_max);
        bool seen[MANY] = {false};
        for (size_t i = 0; i < wanted; i++) {
            const uint32_t index = centre_query_at(&query, i);
            assert_true(index < MANY && world->present[index] && !seen[index]);
            seen[index] = true;
            found +=
                distance(vector, world->centres + (size_t)index * DIM) <= 1.01 * all[wanted - 1];
        }
    }
    free(all);
    centre_query_release(&query);
    return (double)found / (double)(QUERIES * wanted);
}

static void test_orders(void **state)
{
    (void)state;
    static struct world world;
    world_begin(&world, 1);
    for (uint32_t i = 0; i < 700; i++) {
        place(&world, i);
    }
    check(&world, &world.table);
    assert_true(overlap(&world, 40, 700) >= 0.99);
    for (uint32_t i = 700; i < MANY; i++) {
        place(&world, i);
    }
    check(&world, &world.table);
    assert_true(overlap(&world, MANY, MANY) == 1.0);
    /* Of 10,000 a fifth is looked at for the 30 nearest: those of a cluster. */
    const double near = overlap(&world, 30, 2200);
    print_message("  of the 30 nearest of %u centres %.4f are found through the heads\n", MANY,
                  near);
    assert_true(near >= 0.97);
    world_end(&world);
}

/* ---- changes ---- */

static void test_changes(void **state)
{
    (void)state;
    static struct world world;
    world_begin(&world, 2);
    for (size_t step = 0; step < 20000; step++) {
        const uint32_t index = (uint32_t)random_below(&world.random, MANY);
        /* Grows, then shrinks to nothing. */
        if (!world.present[index] && step < 12000) {
            place(&world, index);
        } else if (world.present[index] && step % 4 == 0) {
            displace(&world, index);
        }
        if (step % 2000 == 0) {
            check(&world, &world.table);
        }
    }
    check(&world, &world.table);
    for (uint32_t i = 0; i < MANY; i++) {
        if (world.present[i]) {
            displace(&world, i);
        }
    }
    assert_int_equal(world.table.group_count, 0);
    world_end(&world);
}

/* A table that shares another's groups leaves them as they are. */
static void test_sharing(void **state)
{
    (void)state;
    static struct world world;
    world_begin(&world, 3);
    for (uint32_t i = 0; i < 500; i++) {
        place(&world, i);
    }
    struct centre_table before = world.table;
    before.places = allocate(sizeof *before.places * MANY);
    memcpy(before.places, world.table.places, sizeof *before.places * MANY);
    before.groups = NULL;
    before.heads = NULL;
    centre_groups_share(&before, world.codec, &world.table);
    bool present[MANY];
    memcpy(present, world.present, sizeof present);
    for (uint32_t i = 0; i < 400; i++) {
        displace(&world, i);
    }
    for (uint32_t i = 500; i < 1500; i++) {
        place(&world, i);
    }
    check(&world, &world.table);
    memcpy(world.present, present, sizeof present);
    check(&world, &before);
    centre_groups_release(&before);
    free(before.places);
    world_end(&world);
}

/* ---- sealing before a generation is full ---- */

static void test_sealing(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 70, 130);
    fixture_create(&fixture, 48, METRIC_EUCLID, 0);
    const uint8_t request[16] = {0};
    uint64_t random = 4, steps;
    struct op_builder builder;
    op_begin(&builder, &fixture.arena, OP_UPSERT, request);
    for (uint64_t i = 0; i < 550; i++) {
        const struct point_id id = point_id_number(i);
        uint8_t *vector = op_put_dense_point(&builder, &id, 48, span_of(NULL, 0));
        for (size_t j = 0; j < 48; j++) {
            store_float(vector + j * sizeof(float), (float)random_normal(&random));
        }
    }
    struct apply_item item = {.op = op_end(&builder)};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    assert_int_equal(collection_maintain(fixture.collection, 2, false, 1000, &steps), OK);
    struct view view = fixture_view(&fixture);
    const uint64_t last = view_vector_counters(&view, 0)->generation_count - 1;
    struct generation open;
    assert_int_equal(view_generation(&view, 0, last, &open), OK);
    assert_int_equal(open.code_count, 550 - 70 - 3 * 130);
    view_close(&view);
    assert_int_equal(collection_maintain(fixture.collection, 2, true, 1000, &steps), OK);
    view = fixture_view(&fixture);
    assert_int_equal(view_vector_counters(&view, 0)->generation_count, 1);
    assert_int_equal(view_generation(&view, 0, 0, &open), OK);
    assert_int_equal(open.code_count, 0);
    view_close(&view);
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_sealing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
