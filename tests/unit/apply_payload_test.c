/* Payload ops, upsert modes, filters at apply and groups, against a naive model: two integers a
 * point. */
#include "index_fixture.h"

#include "server/json.h"

#define DIM 4
#define IDS 12
#define OPS 5 /* in a group, at most */

struct pair {
    bool exists;
    int a, b; /* -1: not there */
};
struct pairs {
    struct pair points[IDS];
};

/* What an op says, in the model's words. */
struct planned {
    enum op_kind kind;
    uint64_t ids[4];
    size_t count;
    enum op_mode mode;
    int filter; /* a must be this; -1: no filter */
    bool found;
    int a, b; /* the value; -2 in a merge: null */

    bool remove_a, remove_b;
};

static struct span json_of(struct arena *arena, const char *text)
{
    struct json json;
    struct span value;
    json_init(&json, span_text(text), arena);
    assert_true(json_value(&json, &value));
    return value;
}

static const char *member_text(struct arena *arena, const char *key, int value)
{
    if (value == -1) {
        return "";
    }
    return value == -2 ? arena_format(arena, ",\"%s\":null", key)
                       : arena_format(arena, ",\"%s\":%d", key, value);
}

static struct span payload_of(struct arena *arena, int a, int b)
{
    const char *members =
        arena_format(arena, "%s%s", member_text(arena, "a", a), member_text(arena, "b", b));
    return json_of(arena, arena_format(arena, "{%s}", *members == ',' ? members + 1 : members));
}

/* ---- drawing an op ---- */

static struct planned plan(uint64_t *random)
{
    static const enum op_kind kinds[] = {OP_UPSERT,
                                         OP_UPSERT,
                                         OP_DELETE,
                                         OP_PAYLOAD_MERGE,
                                         OP_PAYLOAD_MERGE,
                                         OP_PAYLOAD_REMOVE,
                                         OP_PAYLOAD_OVERWRITE,
                                         OP_PAYLOAD_CLEAR};
    struct planned planned = {.kind = kinds[random_below(random, 8)],
                              .count = 1 + random_below(random, 4),
                              .mode = (enum op_mode)random_below(random, 3),
                              .filter = (int)random_below(random, 6) - 3};
    planned.filter = planned.filter < 0 ? -1 : planned.filter;
    planned.found = planned.filter >= 0 && random_below(random, 2) == 0;
    for (size_t i = 0; i < planned.count; i++) {
        planned.ids[i] = random_below(random, IDS);
    }
    const int least = planned.kind == OP_PAYLOAD_MERGE ? -2 : -1;
    planned.a = (int)random_below(random, (uint64_t)(3 - least)) + least;
    planned.b = (int)random_below(random, (uint64_t)(3 - least)) + least;
    planned.remove_a = random_below(random, 2) == 0;
    planned.remove_b = !planned.remove_a || random_below(random, 2) == 0;
    return planned;
}

static void put_upsert(struct op_builder *builder, struct arena *arena,
                       const struct planned *planned)
{
    for (size_t i = 0; i < planned->count; i++) {
        const struct point_id id = point_id_number(planned->ids[i]);
        uint8_t *vector =
            op_put_dense_point(builder, &id, DIM, payload_of(arena, planned->a, planned->b));
        for (size_t j = 0; j < DIM; j++) {
            store_float(vector + j * sizeof(float), (float)(planned->ids[i] + j));
        }
    }
    op_put_mode(builder, planned->mode);
}

static struct span build(struct arena *arena, const struct planned *planned)
{
    struct op_builder builder;
    const uint8_t request_id[16] = {0};
    const bool upsert = planned->kind == OP_UPSERT;
    op_begin(&builder, arena, planned->kind, request_id);
    if (upsert) {
        put_upsert(&builder, arena, planned);
    }
    for (size_t i = 0; i < planned->count && !upsert; i++) {
        const struct point_id id = point_id_number(planned->ids[i]);
        op_put_id(&builder, &id);
    }
    if (planned->filter >= 0) {
        const char *text = arena_format(
            arena, "{\"must\":[{\"key\":\"a\",\"match\":{\"value\":%d}}]}", planned->filter);
        op_put_filter(&builder, json_of(arena, text), planned->found && !upsert);
    }
    if (planned->kind == OP_PAYLOAD_MERGE || planned->kind == OP_PAYLOAD_OVERWRITE) {
        op_put_value(&builder, payload_of(arena, planned->a, planned->b));
    }
    if (planned->kind == OP_PAYLOAD_REMOVE) {
        const struct span paths[] = {span_text("a"), span_text("b")};
        op_put_paths(&builder, planned->remove_a ? paths : paths + 1,
                     planned->remove_a && planned->remove_b ? 2 : 1);
    }
    return op_end(&builder);
}

/* ---- the model ---- */

static void pair_set(int *field, int value)
{
    *field = value == -1 ? *field : value == -2 ? -1 : value;
}

static void pair_change(struct pair *point, const struct planned *planned)
{
    switch ((int)planned->kind) {
    case OP_UPSERT:
        *point = (struct pair){true, planned->a, planned->b};
        break;
    case OP_DELETE:
        point->exists = false;
        break;
    case OP_PAYLOAD_MERGE:
        pair_set(&point->a, planned->a);
        pair_set(&point->b, planned->b);
        break;
    case OP_PAYLOAD_OVERWRITE:
        point->a = planned->a;
        point->b = planned->b;
        break;
    case OP_PAYLOAD_REMOVE:
        point->a = planned->remove_a ? -1 : point->a;
        point->b = planned->remove_b ? -1 : point->b;
        break;
    case OP_PAYLOAD_CLEAR:
        point->a = point->b = -1;
        break;
    default:
        fail();
    }
}

struct outcome {
    uint32_t changed;
    bool missing;
    uint64_t missing_id;
};

static void pairs_apply(struct pairs *model, const struct planned *planned, struct outcome *outcome)
{
    const bool upsert = planned->kind == OP_UPSERT;
    for (size_t i = 0; i < planned->count; i++) {
        struct pair *point = &model->points[planned->ids[i]];
        const bool payload = !upsert && planned->kind != OP_DELETE;
        if (!point->exists && payload && !planned->found && !outcome->missing) {
            outcome->missing = true;
            outcome->missing_id = planned->ids[i];
        }
        if (point->exists ? (upsert && planned->mode == OP_MODE_INSERT_ONLY) ||
                                (planned->filter >= 0 && point->a != planned->filter)
                          : !upsert || planned->mode == OP_MODE_UPDATE_ONLY) {
            continue;
        }
        pair_change(point, planned);
        outcome->changed++;
    }
}

static void compare(struct fixture *fixture, const struct pairs *model)
{
    struct view view;
    struct arena arena;
    uint64_t count = 0;
    arena_init(&arena);
    assert_int_equal(view_open(collection_environment(fixture->collection), 0, &view), OK);
    for (uint64_t i = 0; i < IDS; i++) {
        const struct pair *point = &model->points[i];
        const struct point_id id = point_id_number(i);
        struct point_row row;
        uint64_t slot;
        assert_int_equal(view_slot(&view, &id, &slot), point->exists ? OK : ERROR_NOT_FOUND);
        count += point->exists;
        if (!point->exists) {
            continue;
        }
        assert_int_equal(view_point(&view, slot, &row), OK);
        const struct span payload = row.payload;
        assert_int_equal(value_count(payload), (point->a != -1) + (point->b != -1));
        const struct span a = value_get(payload, span_text("a"));
        const struct span b = value_get(payload, span_text("b"));
        assert_int_equal(a.bytes == 0 ? -1 : value_integer(a), point->a);
        assert_int_equal(b.bytes == 0 ? -1 : value_integer(b), point->b);
        struct vector_row vector; /* it stays with its point */
        assert_int_equal(view_vector(&view, 0, slot, &vector), OK);
        assert_true(load_float(vector.vector) == (float)i);
    }
    assert_int_equal(view_counters(&view)->point_count, count);
    view_close(&view);
    arena_release(&arena);
}

/* ---- steps ---- */

static void apply_single(struct fixture *fixture, struct pairs *model, uint64_t *random,
                         struct arena *arena)
{
    const struct planned planned = plan(random);
    struct outcome outcome = {0};
    struct apply_item item = {.op = build(arena, &planned)};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
    pairs_apply(model, &planned, &outcome);
    assert_int_equal(item.points_changed, outcome.changed);
    assert_int_equal(item.missing, outcome.missing);
    if (outcome.missing) {
        const struct point_id id = point_id_number(outcome.missing_id);
        assert_int_equal(point_id_compare(&item.missing_id, &id), 0);
    }
}

static void apply_grouped(struct fixture *fixture, struct pairs *model, uint64_t *random,
                          struct arena *arena, struct search_workspace *workspace)
{
    struct planned planned[OPS];
    struct span ops[OPS];
    struct pairs after = *model;
    struct outcome outcome = {0};
    const uint8_t request_id[16] = {0};
    const size_t count = 1 + random_below(random, OPS);
    for (size_t i = 0; i < count; i++) {
        planned[i] = plan(random);
        ops[i] = build(arena, &planned[i]);
        if (!outcome.missing) {
            pairs_apply(&after, &planned[i], &outcome);
        }
    }
    struct apply_item item = {.op = op_group(arena, request_id, ops, count)};
    struct encoded *encoded = NULL;
    if (random_below(random, 2) == 0) {
        assert_int_equal(
            collection_encode(fixture->collection, 0, item.op, arena, workspace, &encoded), OK);
        item.encoded = encoded;
    }
    const enum error error = collection_apply(fixture->collection, &item, 1);
    assert_int_equal(error, outcome.missing ? ERROR_NOT_FOUND : OK);
    assert_int_equal(item.missing, outcome.missing);
    if (error == OK) {
        assert_int_equal(item.points_changed, outcome.changed);
        *model = after;
    }
}

static void test_model(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_begin(&fixture, 64, 64);
    fixture_create(&fixture, DIM, METRIC_DOT, 0);
    struct pairs model = {0};
    uint64_t random = 5;
    for (int step = 0; step < 600; step++) {
        struct arena arena;
        arena_init(&arena);
        if (step % 2 == 0) {
            apply_single(&fixture, &model, &random, &arena);
        } else {
            apply_grouped(&fixture, &model, &random, &arena, fixture.workspace);
        }
        compare(&fixture, &model);
        arena_release(&arena);
    }
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
