/* Payload indexes: keys sort as their values do; after any writes and any steps of building, what
 * is indexed is what verify finds in the payloads. */
#include "index_fixture.h"

#include "index/field.h"
#include "index/field_key.h"
#include "index/filter.h"
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

/* ---- order and facets, against all keys of all rows ---- */

struct pair {
    struct field_key key;
    uint64_t slot;
};
struct pairs {
    const struct view *view;
    const struct field *field;
    struct pair *items;
    size_t count;
    uint64_t slot;
    uint8_t class;
};

static void take_pair(void *context, struct span key)
{
    struct pairs *pairs = context;
    if (key.data[0] != pairs->class) {
        return;
    }
    struct pair *pair = &pairs->items[pairs->count];
    memcpy(pair->key.data, key.data, key.bytes);
    pair->key.bytes = key.bytes;
    pair->slot = pairs->slot;
    for (size_t i = 0; i < pairs->count; i++) {
        if (pairs->items[i].slot == pair->slot &&
            span_equal(field_key_span(&pairs->items[i].key), key)) {
            return; /* a value a point has twice */
        }
    }
    pairs->count++;
    assert_true(pairs->count < 5000);
}

static enum error pairs_of_row(void *context, uint64_t slot)
{
    struct pairs *pairs = context;
    struct point_row row;
    assert_int_equal(view_point(pairs->view, slot, &row), OK);
    pairs->slot = slot;
    field_keys(pairs->field, row.payload, take_pair, pairs);
    return OK;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    const int order = compare_keys(&x->key, &y->key);
    return order != 0 ? order : (x->slot > y->slot) - (x->slot < y->slot);
}

static void pairs_make(struct pairs *pairs, const struct view *view, const struct field *field,
                       enum field_key_class which)
{
    *pairs = (struct pairs){.view = view, .field = field, .class = (uint8_t)which};
    pairs->items = calloc(5000, sizeof *pairs->items);
    assert_int_equal(view_each_row(view, pairs_of_row, pairs), OK);
    qsort(pairs->items, pairs->count, sizeof *pairs->items, compare_pairs);
}

/* Walk from start and compare with the pairs first, first + step, ... */
static void check_walk(const struct pairs *pairs, struct arena *arena, bool descending,
                       const struct order_value *start, size_t expected)
{
    struct order_walk *walk;
    struct order_value value, last = {0};
    uint64_t slot;
    size_t count = 0;
    assert_int_equal(order_walk_begin(pairs->view, pairs->field, descending, start, arena, &walk),
                     OK);
    while (order_walk_next(walk, &slot, &value) == OK) {
        struct field_key key;
        if (value.is_time) {
            field_key_time(value.microseconds, &key);
        } else {
            field_key_number(value.number, value.is_double, &key);
        }
        const struct pair wanted = {key, slot};
        if (bsearch(&wanted, pairs->items, pairs->count, sizeof wanted, compare_pairs) == NULL) {
            fail_msg("slot %llu has no such value", (unsigned long long)slot);
        }
        if (count++ > 0) {
            const int order = value.is_time ? (value.microseconds > last.microseconds) -
                                                  (value.microseconds < last.microseconds)
                                            : exact_compare(value.number, last.number);
            assert_true(descending ? order <= 0 : order >= 0);
        }
        last = value;
    }
    order_walk_end(walk);
    if (count != expected) {
        fail_msg("%zu of %zu", count, expected);
    }
}

static size_t count_from(const struct pairs *pairs, const struct order_value *start,
                         bool descending)
{
    size_t count = 0;
    for (size_t i = 0; i < pairs->count; i++) {
        struct exact number;
        int64_t time;
        bool is_double;
        const struct span key = field_key_span(&pairs->items[i].key);
        const int order = field_key_to_time(key, &time)
                              ? (time > start->microseconds) - (time < start->microseconds)
                          : field_key_to_number(key, &number, &is_double)
                              ? exact_compare(number, start->number)
                              : 0;
        count += descending ? order <= 0 : order >= 0;
    }
    return count;
}

static void check_order(const struct view *view, const struct field *field, struct arena *arena)
{
    struct pairs pairs;
    const bool is_time = field->kind == FIELD_DATETIME;
    pairs_make(&pairs, view, field, is_time ? KEY_TIME : KEY_NUMBER);
    assert_true(pairs.count > 10);
    for (int descending = 0; descending < 2; descending++) {
        check_walk(&pairs, arena, descending, NULL, pairs.count);
        for (int n = -4; n <= 4; n++) {
            const struct order_value start = {.is_time = is_time,
                                              .number = {(double)n / 4, 0},
                                              .microseconds = 1704067200000000 + n * 86400000000};
            check_walk(&pairs, arena, descending, &start, count_from(&pairs, &start, descending));
        }
    }
    free(pairs.items);
}

static bool is_even(const struct point_row *row)
{
    return load64_big(row->id.bytes) % 2 == 0;
}

static void check_facet(struct fixture *fixture, const struct view *view, const struct field *field,
                        enum field_key_class which, struct arena *arena,
                        const struct filter *filter)
{
    struct pairs pairs;
    struct facet_hit *hits;
    size_t hit_count, values = 0;
    pairs_make(&pairs, view, field, which);
    for (uint64_t limit = 1; limit < 100; limit = 3 * limit + 1) {
        assert_int_equal(field_facet(fixture->collection, view, field, filter, limit, 0, arena,
                                     &hits, &hit_count),
                         OK);
        for (size_t i = 1; i < hit_count; i++) {
            assert_true(hits[i - 1].count >= hits[i].count);
        }
        assert_true(hit_count <= limit);
        values = hit_count;
    }
    uint64_t all = 0;
    for (size_t i = 0; i < values; i++) {
        all += hits[i].count;
    }
    size_t expected = 0;
    for (size_t i = 0; i < pairs.count; i++) {
        struct point_row row;
        struct exact number;
        bool is_double = false;
        assert_int_equal(view_point(view, pairs.items[i].slot, &row), OK);
        (void)field_key_to_number(field_key_span(&pairs.items[i].key), &number, &is_double);
        expected += !is_double && (filter == NULL || is_even(&row));
    }
    assert_true(expected > 5 && all == expected);
    free(pairs.items);
}

static void test_order_and_facets(void **state)
{
    (void)state;
    static const struct {
        const char *path, *kind;
        enum field_key_class which;
    } fields[] = {{"c", "keyword", KEY_STRING},     {"b", "integer", KEY_NUMBER},
                  {"\"x.y\"", "float", KEY_NUMBER}, {"\"b\"", "bool", KEY_BOOL},
                  {"a", "datetime", KEY_TIME},      {"\"a\"", "uuid", KEY_UUID}};
    struct fixture fixture;
    struct arena arena;
    uint64_t random = 9;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, (UINT64_C(1) << 32) - 100);
    arena_init(&arena);
    struct op_builder op;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct span path = span_text(fields[i].path);
        begin(&op, &arena, OP_FIELD_DEFINE);
        op_put_value(&op,
                     json_of(&arena, arena_format(&arena, "{\"schema\":\"%s\"}", fields[i].kind)));
        op_put_paths(&op, &path, 1);
        struct apply_item item = {.op = op_end(&op)};
        assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    }
    begin(&op, &arena, OP_UPSERT);
    const char *ids = "";
    for (uint64_t i = 0; i < 600; i++) {
        const struct point_id id = point_id_number(i);
        op_put_point(&op, &id, random_payload(&arena, &random));
        ids = i % 2 == 0 ? arena_format(&arena, "%s%s%d", ids, *ids ? "," : "", (int)i) : ids;
    }
    struct apply_item item = {.op = op_end(&op)};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    for (bool more = true; more;) {
        assert_int_equal(collection_build_fields(fixture.collection, &more), OK);
    }
    struct filter_limits limits = filter_limits_default();
    struct filter_fault fault;
    const struct filter *even;
    const char *text = arena_format(&arena, "{\"must\":{\"has_id\":[%s]}}", ids);
    assert_int_equal(
        filter_compile(json_of(&arena, text), "filter", &limits, &arena, &even, &fault), OK);
    struct view view = fixture_view(&fixture);
    struct field_list list;
    assert_int_equal(view_fields(&view, &arena, &list), OK);
    for (size_t i = 0; i < list.count; i++) {
        const struct field *field = &list.items[i];
        if ((FIELD_KINDS_ORDERED >> field->kind & 1) != 0) {
            check_order(&view, field, &arena);
        }
        if ((FIELD_KINDS_FACETED >> field->kind & 1) != 0) {
            check_facet(&fixture, &view, field, fields[i].which, &arena, NULL);
            check_facet(&fixture, &view, field, fields[i].which, &arena, even);
        }
    }
    view_close(&view);
    arena_release(&arena);
    fixture_end(&fixture);
}

/* A string that is cut in its key comes back whole. */
static void test_facet_of_long_strings(void **state)
{
    (void)state;
    struct fixture fixture;
    struct arena arena;
    char text[3000];
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    arena_init(&arena);
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    struct op_builder op;
    const struct span path = span_text("a");
    begin(&op, &arena, OP_FIELD_DEFINE);
    op_put_value(&op, json_of(&arena, "{\"schema\":\"keyword\"}"));
    op_put_paths(&op, &path, 1);
    struct apply_item item = {.op = op_end(&op)};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    begin(&op, &arena, OP_UPSERT);
    const struct point_id id = point_id_number(1);
    op_put_point(&op, &id, json_of(&arena, arena_format(&arena, "{\"a\":[\"x\",\"%s\"]}", text)));
    item = (struct apply_item){.op = op_end(&op)};
    assert_int_equal(collection_apply(fixture.collection, &item, 1), OK);
    for (bool more = true; more;) {
        assert_int_equal(collection_build_fields(fixture.collection, &more), OK);
    }
    struct view view = fixture_view(&fixture);
    struct field_list list;
    struct facet_hit *hits;
    size_t count;
    assert_int_equal(view_fields(&view, &arena, &list), OK);
    assert_int_equal(
        field_facet(fixture.collection, &view, &list.items[0], NULL, 10, 0, &arena, &hits, &count),
        OK);
    assert_int_equal(count, 2);
    assert_true(span_equal(value_string(hits[0].value), span_text("x")));
    assert_true(span_equal(value_string(hits[1].value), span_text(text)));
    view_close(&view);
    arena_release(&arena);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_keys),
        cmocka_unit_test(test_string_keys),
        cmocka_unit_test(test_long_strings),
        cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_definitions),
        cmocka_unit_test(test_random_writes),
        cmocka_unit_test(test_building),
        cmocka_unit_test(test_order_and_facets),
        cmocka_unit_test(test_facet_of_long_strings),
    };
    return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
