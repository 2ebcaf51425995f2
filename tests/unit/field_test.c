/* Payload indexes: keys sort as their values do; after any writes and any steps of building, what
 * is indexed is what verify finds in the payloads. */
#include "index_fixture.h"

#include "index/field.h"
#include "index/field_key.h"
#include "tests/unit/random_payload.h"

/* ---- keys ---- */

static int compare_keys(const struct field_key *a, const struct field_key *b)
{
    const size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->data, b->data, common);
    if (order == 0 && a->bytes != b->bytes) {
        fail_msg("a key begins another");
    }
    return order;
}

static void test_number_keys(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "-1e308",
        "-9223372036854775808",
        "-9007199254740993",
        "-9007199254740992",
        "-1.5",
        "-1",
        "-1e-300",
        "0",
        "5e-324",
        "1",
        "1.0000000000000002",
        "2",
        "9007199254740992",
        "9007199254740993",
        "9007199254740994",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709549568",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
    };
    struct arena arena;
    arena_init(&arena);
    struct field_key last = {0};
    for (size_t i = 0; i < sizeof ascending / sizeof *ascending; i++) {
        const struct span value = json_of(&arena, ascending[i]);
        const enum value_kind kind = value_kind(value);
        const struct exact exact = exact_of(value, kind);
        struct field_key key;
        struct exact back;
        bool is_double;
        field_key_number(exact, kind == VALUE_DOUBLE, &key);
        if (i > 0 && compare_keys(&last, &key) >= 0) {
            fail_msg("%s does not come behind %s", ascending[i], ascending[i - 1]);
        }
        assert_true(field_key_to_number(field_key_span(&key), &back, &is_double));
        assert_int_equal(exact_compare(exact, back), 0);
        assert_int_equal(is_double, kind == VALUE_DOUBLE);
        last = key;
    }
    arena_release(&arena);
}

static void test_string_keys(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < 20000; round++) {
        uint8_t text[2][8];
        struct field_key keys[2];
        struct span spans[2];
        for (int i = 0; i < 2; i++) {
            const size_t bytes = random_below(&random, 6);
            for (size_t j = 0; j < bytes; j++) {
                text[i][j] =
                    (uint8_t)(random_below(&random, 3) == 0 ? 0xff : random_below(&random, 3));
            }
            spans[i] = span_of(text[i], bytes);
            field_key_string(KEY_STRING, spans[i], &keys[i]);
            uint8_t back[FIELD_KEY_BYTES_MAX];
            size_t back_bytes;
            assert_true(field_key_to_string(field_key_span(&keys[i]), back, &back_bytes));
            assert_true(span_equal(span_of(back, back_bytes), spans[i]));
        }
        const size_t common = spans[0].bytes < spans[1].bytes ? spans[0].bytes : spans[1].bytes;
        int order = common == 0 ? 0 : memcmp(text[0], text[1], common);
        order = order != 0 ? order : (int)spans[0].bytes - (int)spans[1].bytes;
        const int got = compare_keys(&keys[0], &keys[1]);
        assert_true((order < 0) == (got < 0) && (order > 0) == (got > 0));
    }
}

static void test_long_strings(void **state)
{
    (void)state;
    uint8_t text[1000];
    struct field_key a, b;
    uint8_t back[FIELD_KEY_BYTES_MAX];
    size_t bytes;
    memset(text, 'x', sizeof text);
    field_key_string(KEY_STRING, span_of(text, 400), &a);
    assert_false(a.cut);
    field_key_string(KEY_STRING, span_of(text, 1000), &a);
    field_key_string(KEY_STRING, span_of(text, 999), &b);
    assert_true(a.cut && b.cut);
    assert_false(span_equal(field_key_span(&a), field_key_span(&b)));
    assert_false(field_key_to_string(field_key_span(&a), back, &bytes));
    memset(text, 0, sizeof text);
    field_key_string(KEY_STRING, span_of(text, 1000), &a);
    assert_true(a.cut && a.bytes <= FIELD_KEY_BYTES_MAX);
}

static void test_other_keys(void **state)
{
    (void)state;
    struct field_key a, b;
    int64_t time;
    uint8_t text[36];
    bool flag;
    field_key_time(-1, &a);
    field_key_time(1, &b);
    assert_true(compare_keys(&a, &b) < 0);
    assert_true(field_key_to_time(field_key_span(&a), &time) && time == -1);
    assert_true(field_key_uuid(span_text("550e8400-e29b-41d4-a716-446655440000"), &a));
    assert_true(field_key_to_uuid(field_key_span(&a), text));
    assert_memory_equal(text, "550e8400-e29b-41d4-a716-446655440000", 36);
    assert_false(field_key_uuid(span_text("550E8400-e29b-41d4-a716-446655440000"), &a));
    assert_false(field_key_uuid(span_text("550e8400e29b41d4a716446655440000"), &a));
    field_key_bool(true, &a);
    assert_true(field_key_to_bool(field_key_span(&a), &flag) && flag);
    /* a place east and north of another comes behind it */
    field_key_place(-180, -90, &a);
    field_key_place(180, 90, &b);
    assert_true(compare_keys(&a, &b) < 0);
}

/* ---- definitions ---- */

static void test_definitions(void **state)
{
    (void)state;
    static const struct {
        const char *name, *schema, *wrong; /* NULL: it is fine */
        enum field_fault_kind kind;
    } cases[] = {
        {"a.b[]", "\"keyword\"", NULL, 0},
        {"a", "{\"type\":\"integer\",\"lookup\":false,\"range\":true,\"on_disk\":null}", NULL, 0},
        {"a", "{\"type\":\"keyword\",\"is_tenant\":true,\"memory\":\"cold\",\"prefix\":true}", NULL,
         0},
        {"a", "{\"type\":\"keyword\",\"lookup\":3}", NULL, 0}, /* not an option of its kind */
        {"a..b", "\"bool\"", "`a..b` is not a path", FIELD_FAULT_FORMAT},
        {"a", "\"words\"", "expected one of keyword, integer", FIELD_FAULT_FORMAT},
        {"a", "{\"lookup\":true}", "such a `type`", FIELD_FAULT_FORMAT},
        {"a", "{\"type\":\"integer\",\"lookup\":1}", "field_schema.lookup: expected a boolean",
         FIELD_FAULT_FORMAT},
        {"a", "{\"type\":\"float\",\"memory\":\"hot\"}", "field_schema.memory", FIELD_FAULT_FORMAT},
        {"a", "{\"type\":\"integer\",\"lookup\":false,\"range\":false}", "at least one of",
         FIELD_FAULT_VALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena;
        struct field field;
        struct field_fault fault;
        arena_init(&arena);
        const enum error error = field_compile(
            span_text(cases[i].name), json_of(&arena, cases[i].schema), &arena, &field, &fault);
        if (cases[i].wrong == NULL) {
            assert_int_equal(error, OK);
        } else if (error != ERROR_INVALID || fault.kind != cases[i].kind ||
                   strstr(fault.text, cases[i].wrong) == NULL) {
            fail_msg("%s %s: %s", cases[i].name, cases[i].schema,
                     error == OK ? "taken" : fault.text);
        }
        arena_release(&arena);
    }
}

/* ---- writes and building ---- */

#define IDS 60u

static void begin(struct op_builder *op, struct arena *arena, enum op_kind kind)
{
    static const uint8_t request_id[16] = {0};
    op_begin(op, arena, kind, request_id);
}

static struct span random_points(struct arena *arena, uint64_t *random)
{
    struct op_builder op;
    const bool upsert = random_below(random, 3) > 0;
    const uint64_t count = 1 + random_below(random, 20);
    begin(&op, arena, upsert ? OP_UPSERT : OP_DELETE);
    for (uint64_t i = 0; i < count; i++) {
        const struct point_id id = point_id_number(random_below(random, IDS));
        if (upsert) {
            op_put_point(&op, &id, random_payload(arena, random));
        } else {
            op_put_id(&op, &id);
        }
    }
    return op_end(&op);
}

static struct span random_edit(struct arena *arena, uint64_t *random)
{
    struct op_builder op;
    const struct point_id id = point_id_number(random_below(random, IDS));
    const uint64_t which = random_below(random, 4);
    static const enum op_kind kinds[] = {OP_PAYLOAD_MERGE, OP_PAYLOAD_OVERWRITE, OP_PAYLOAD_REMOVE,
                                         OP_PAYLOAD_CLEAR};
    begin(&op, arena, kinds[which]);
    op_put_id(&op, &id);
    if (which < 2) {
        op_put_value(&op, random_payload(arena, random));
    } else if (which == 2) {
        const struct span path = span_text(paths[random_below(random, PATHS)]);
        op_put_paths(&op, &path, 1);
    }
    return op_end(&op);
}

static struct span random_definition(struct arena *arena, uint64_t *random)
{
    struct op_builder op;
    const struct span path = span_text(paths[random_below(random, PATHS)]);
    const bool drop = random_below(random, 4) == 0;
    enum field_kind kind = (enum field_kind)random_below(random, FIELD_KINDS);
    kind = kind == FIELD_TEXT ? FIELD_KEYWORD : kind;
    begin(&op, arena, drop ? OP_FIELD_DROP : OP_FIELD_DEFINE);
    if (!drop) {
        op_put_value(
            &op, json_of(arena, arena_format(arena, "{\"schema\":\"%s\"}", field_kind_name(kind))));
    }
    op_put_paths(&op, &path, 1);
    return op_end(&op);
}

/* Some ops in one transaction, as the writer gathers them. */
static void apply_some(struct fixture *fixture, uint64_t *random)
{
    struct arena arena;
    struct apply_item items[4];
    const size_t count = 1 + random_below(random, 4);
    arena_init(&arena);
    for (size_t i = 0; i < count; i++) {
        const uint64_t kind = random_below(random, 8);
        items[i] = (struct apply_item){.op = kind == 0  ? random_definition(&arena, random)
                                             : kind < 4 ? random_edit(&arena, random)
                                                        : random_points(&arena, random)};
    }
    assert_int_equal(collection_apply(fixture->collection, items, count), OK);
    arena_release(&arena);
}

static void test_random_writes(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t random = 7;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, (UINT64_C(1) << 32) - 100);
    for (int round = 0; round < 400; round++) {
        bool more;
        apply_some(&fixture, &random);
        if (random_below(&random, 3) == 0) {
            assert_int_equal(collection_build_fields(fixture.collection, &more), OK);
        }
        if (random_below(&random, 50) == 0) {
            fixture_reopen(&fixture);
        }
        fixture_verify(&fixture);
    }
    bool more = true;
    while (more) {
        assert_int_equal(collection_build_fields(fixture.collection, &more), OK);
    }
    fixture_verify(&fixture);
    struct view view = fixture_view(&fixture);
    bool pending = true;
    assert_int_equal(collection_fields_pending(&view, &pending), OK);
    assert_false(pending);
    view_close(&view);
    fixture_end(&fixture);
}

/* Steps of building in between writes: more points than a step takes, changed on both sides of
 * where it stands. */
static void test_building(void **state)
{
    (void)state;
    struct fixture fixture;
    struct arena arena;
    uint64_t random = 3;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    arena_init(&arena);
    struct op_builder op;
    begin(&op, &arena, OP_UPSERT);
    for (uint64_t i = 0; i < 10000; i++) {
        const struct point_id id = point_id_number(i);
        op_put_point(&op, &id, random_payload(&arena, &random));
    }
    struct apply_item item = {.op = op_end(&op)};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    begin(&op, &arena, OP_FIELD_DEFINE);
    op_put_value(&op, json_of(&arena, "{\"schema\":\"keyword\"}"));
    const struct span path = span_text("a");
    op_put_paths(&op, &path, 1);
    item = (struct apply_item){.op = op_end(&op)};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    int steps = 0;
    for (bool more = true; more; steps++) {
        begin(&op, &arena, steps % 2 ? OP_UPSERT : OP_DELETE);
        for (int i = 0; i < 50; i++) {
            const struct point_id id = point_id_number(random_below(&random, 10500));
            if (steps % 2) {
                op_put_point(&op, &id, random_payload(&arena, &random));
            } else {
                op_put_id(&op, &id);
            }
        }
        item = (struct apply_item){.op = op_end(&op)};
        assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
        fixture_verify(&fixture);
        assert_int_equal(collection_build_fields(fixture.collection, &more), OK);
        fixture_verify(&fixture);
    }
    assert_true(steps > 4);
    struct view view = fixture_view(&fixture);
    struct field_list fields;
    uint64_t points;
    assert_int_equal(view_fields(&view, &arena, &fields), OK);
    assert_int_equal(fields.count, 1);
    assert_int_equal(fields.items[0].record.state, FIELD_READY);
    assert_int_equal(field_point_count(&view, &fields.items[0], &points), OK);
    assert_true(points > 0);
    view_close(&view);
    arena_release(&arena);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_keys),  cmocka_unit_test(test_string_keys),
        cmocka_unit_test(test_long_strings), cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_definitions),  cmocka_unit_test(test_random_writes),
        cmocka_unit_test(test_building),
    };
    return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
