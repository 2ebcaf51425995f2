/* String ids: the hash that stands for them, ops that carry them, and rows that keep them through
 * every way a row is written. */
#include "index_fixture.h"

#include "index/string_id.h"
#include "tests/unit/random_payload.h"

static const uint8_t REQUEST[16] = {1};

static void expect_hash(struct span text, const char *hex)
{
    uint8_t hash[32];
    char shown[65];
    sha256(text, hash);
    for (size_t i = 0; i < 32; i++)
        snprintf(shown + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(shown, hex);
}

/* FIPS 180-4's examples, and lengths around the block's end (by sha256sum). */
static void test_sha256(void **state)
{
    (void)state;
    expect_hash(span_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hash(span_text("abc"),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_hash(span_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char many[200];
    memset(many, 'a', sizeof many);
    expect_hash(span_of(many, 55),
                "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    expect_hash(span_of(many, 56),
                "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
    expect_hash(span_of(many, 64),
                "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    expect_hash(span_of(many, 119),
                "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
    expect_hash(span_of(many, 120),
                "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c");
    expect_hash(span_of(many, 200),
                "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5");
}

/* ---- ops ---- */

static struct span op_of(struct arena *arena, enum op_kind kind, struct span text,
                         struct span payload)
{
    struct op_builder op;
    const struct point_id id = point_id_string(text);
    op_begin(&op, arena, kind, REQUEST);
    op_put_named_point(&op, &id, text, payload);
    return op_end(&op);
}

static void test_ops(void **state)
{
    (void)state;
    struct arena arena;
    struct op_header header;
    struct op_point point;
    struct span points;
    arena_init(&arena);
    const struct span text = span_text("a/b \xc3\xbc");
    const struct point_id id = point_id_string(text);
    struct span op = op_of(&arena, OP_UPSERT, text, span_text("payload"));
    assert_int_equal(op_open(op, &header, &points), OK);
    assert_true(op_next(&header, &points, &point));
    assert_int_equal(point_id_compare(&point.id, &id), 0);
    assert_true(span_equal(point.id_text, text));
    assert_true(span_equal(point.payload, span_text("payload")));
    /* Any byte that is changed or missing up to the payload: refused, or another text and its hash
     * cannot both be. */
    uint8_t *copy = arena_copy(&arena, op.data, op.bytes);
    for (size_t i = 33; i < 33 + 16 + 2 + text.bytes; i++) {
        copy[i] ^= 1;
        assert_int_equal(op_open(span_of(copy, op.bytes), &header, &points), ERROR_CORRUPT);
        copy[i] ^= 1;
    }
    for (size_t bytes = 0; bytes < op.bytes; bytes++)
        assert_int_equal(op_open(span_of(copy, bytes), &header, &points), ERROR_CORRUPT);
    copy[32] |= 2; /* a UUID as well */
    assert_int_equal(op_open(span_of(copy, op.bytes), &header, &points), ERROR_CORRUPT);
    /* Others name it by its hash alone. */
    op = op_of(&arena, OP_DELETE, text, (struct span){0});
    assert_int_equal(op.bytes, 32 + 1 + 16);
    assert_int_equal(op_open(op, &header, &points), OK);
    assert_true(op_next(&header, &points, &point));
    assert_int_equal(point_id_compare(&point.id, &id), 0);
    assert_int_equal(point.id_text.bytes, 0);
    arena_release(&arena);
}

/* ---- rows ---- */

#define IDS 60u

/* Of every length from 1 to the limit, about; UTF-8 is the API's affair. */
static struct span name_of(struct arena *arena, uint32_t i)
{
    const size_t bytes = i == IDS - 1 ? POINT_ID_TEXT_BYTES_MAX : 1 + i * 17;
    uint8_t *text = arena_allocate(arena, bytes);
    for (size_t at = 0; at < bytes; at++)
        text[at] = (uint8_t)(i + 3 * at);
    return span_of(text, bytes);
}

static void apply(struct fixture *fixture, struct span op)
{
    struct apply_item item = {.op = op};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
}

static struct span put_op(struct arena *arena, uint32_t i, uint64_t *random)
{
    struct op_builder op;
    const struct vector_data vector = {.kind = VECTOR_DENSE, .dim = 4, .count = 1};
    const struct span text = name_of(arena, i);
    const struct point_id id = point_id_string(text);
    const float floats[4] = {(float)random_normal(random), 1, 2, 3};
    op_begin(&op, arena, OP_UPSERT, REQUEST);
    op_put_named_point(&op, &id, text,
                       random_below(random, 3) > 0 ? random_payload(arena, random)
                                                   : (struct span){0});
    memcpy(op_put_vector(&op, &vector), floats, sizeof floats);
    return op_end(&op);
}

static struct span change_op(struct arena *arena, uint32_t i, uint64_t *random)
{
    struct op_builder op;
    const struct vector_data vector = {.kind = VECTOR_DENSE, .dim = 4, .count = 1};
    const struct point_id id = point_id_string(name_of(arena, i));
    const float floats[4] = {4, 5, 6, (float)random_normal(random)};
    const bool moves = random_below(random, 2) == 0;
    op_begin(&op, arena, moves ? OP_VECTORS_UPDATE : OP_PAYLOAD_OVERWRITE, REQUEST);
    op_put_id(&op, &id);
    if (moves)
        memcpy(op_put_vector(&op, &vector), floats, sizeof floats);
    else
        op_put_value(&op, random_payload(arena, random));
    return op_end(&op);
}

static struct span delete_op(struct arena *arena, uint32_t i)
{
    struct op_builder op;
    const struct point_id id = point_id_string(name_of(arena, i));
    op_begin(&op, arena, OP_DELETE, REQUEST);
    op_put_id(&op, &id);
    return op_end(&op);
}

static void compare(struct fixture *fixture, struct arena *arena, const bool live[IDS])
{
    struct view view = fixture_view(fixture);
    for (uint32_t i = 0; i < IDS; i++) {
        const struct span text = name_of(arena, i);
        const struct point_id id = point_id_string(text);
        uint64_t slot;
        struct point_row row;
        assert_int_equal(view_slot(&view, &id, &slot), live[i] ? OK : ERROR_NOT_FOUND);
        if (!live[i])
            continue;
        assert_int_equal(view_point(&view, slot, &row), OK);
        assert_true(span_equal(row.id_text, text));
    }
    view_close(&view);
}

/* Written, written anew, moved to other slots, changed in place, deleted, and read back after every
 * opening. */
static void test_rows(void **state)
{
    (void)state;
    struct fixture fixture;
    bool live[IDS] = {false};
    uint64_t random = 11;
    const struct vector_settings vector = {
        .kind = VECTOR_DENSE, .metric = METRIC_DOT, .dim = 4, .seed = 42};
    const struct collection_settings settings = {
        .vectors = &vector, .vector_count = 1, .string_ids = true, .config = span_text("{}")};
    fixture_begin(&fixture, 32, 64);
    assert_int_equal(database_create(fixture.database, FIXTURE_NAME, &settings), OK);
    assert_int_equal(collection_acquire(fixture.database, FIXTURE_NAME, &fixture.collection), OK);
    for (int step = 0; step < 600; step++) {
        struct arena arena;
        const uint32_t i = (uint32_t)random_below(&random, IDS);
        const uint64_t what = random_below(&random, 10);
        arena_init(&arena);
        if (what < 4) {
            apply(&fixture, put_op(&arena, i, &random));
            live[i] = true;
        } else if (what < 8 && live[i]) {
            apply(&fixture, change_op(&arena, i, &random));
        } else if (what >= 8) {
            apply(&fixture, delete_op(&arena, i));
            live[i] = false;
        }
        compare(&fixture, &arena, live);
        arena_release(&arena);
        if (step % 40 == 0) {
            fixture_reopen(&fixture);
            assert_true(collection_settings(fixture.collection)->string_ids);
            fixture_verify(&fixture);
        }
    }
    fixture_verify(&fixture);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
