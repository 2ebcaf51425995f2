/* Ops as bytes: there and back, and bytes that are no op. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "index/op.h"

static const uint8_t REQUEST[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static struct point_id uuid(uint8_t fill)
{
    struct point_id id = {.kind = POINT_ID_UUID};
    memset(id.bytes, fill, sizeof id.bytes);
    return id;
}

/* Of the sample's points: the vectors that point i has, and how many. */
static size_t sample_vectors(uint32_t i, struct vector_data vectors[2])
{
    vectors[0] =
        i == 0 ? (struct vector_data){.number = 0, .kind = VECTOR_DENSE, .dim = 3, .count = 1}
               : (struct vector_data){.number = 2, .kind = VECTOR_MULTI, .dim = 2, .count = 3};
    vectors[1] = (struct vector_data){.number = 255, .kind = VECTOR_SPARSE, .count = 2};
    return i == 0 ? 2 : i == 1 ? 1 : 0;
}

/* Four points: both kinds of id, with and without vectors and payload. */
static struct span sample_op(struct arena *arena)
{
    struct op_builder builder;
    op_begin(&builder, arena, OP_UPSERT, REQUEST);
    const struct point_id ids[] = {point_id_number(7), uuid(0xab), point_id_number(UINT64_MAX),
                                   uuid(0)};
    for (uint32_t i = 0; i < 4; i++) {
        struct vector_data vectors[2];
        op_put_point(&builder, &ids[i], i & 1 ? span_text("payload") : (struct span){NULL, 0});
        const size_t count = sample_vectors(i, vectors);
        for (size_t j = 0; j < count; j++) {
            uint8_t *data = op_put_vector(&builder, &vectors[j]);
            for (size_t k = 0; k < vector_data_bytes(&vectors[j]); k++) {
                data[k] = (uint8_t)(7 * i + j + k);
            }
        }
    }
    return op_end(&builder);
}

static void compare_vectors(uint32_t i, struct op_point *point)
{
    struct vector_data vectors[2], vector;
    const size_t count = sample_vectors(i, vectors);
    assert_int_equal(point->vector_count, count);
    for (size_t j = 0; j < count; j++) {
        assert_true(op_next_vector(&point->vectors, &vector));
        assert_int_equal(vector.number, vectors[j].number);
        assert_int_equal(vector.kind, vectors[j].kind);
        assert_int_equal(vector.dim, vectors[j].dim);
        assert_int_equal(vector.count, vectors[j].count);
        for (size_t k = 0; k < vector_data_bytes(&vector); k++) {
            assert_int_equal(vector.data[k], (uint8_t)(7 * i + j + k));
        }
    }
    assert_false(op_next_vector(&point->vectors, &vector));
}

static void test_upsert_there_and_back(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct span op = sample_op(&arena);
    struct op_header header;
    struct span points;
    assert_int_equal(op_open(op, &header, &points), OK);
    assert_int_equal(header.kind, OP_UPSERT);
    assert_memory_equal(header.request_id, REQUEST, 16);
    assert_int_equal(header.point_count, 4);
    assert_int_equal(header.vector_count, 3);
    struct op_point point;
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(op_next(&header, &points, &point));
        compare_vectors(i, &point);
        assert_true(
            span_equal(point.payload, i & 1 ? span_text("payload") : (struct span){NULL, 0}));
        const struct point_id expected = i == 0   ? point_id_number(7)
                                         : i == 1 ? uuid(0xab)
                                         : i == 2 ? point_id_number(UINT64_MAX)
                                                  : uuid(0);
        assert_int_equal(point_id_compare(&point.id, &expected), 0);
    }
    assert_false(op_next(&header, &points, &point));
    arena_release(&arena);
}

static void test_delete_there_and_back(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct op_builder builder;
    op_begin(&builder, &arena, OP_DELETE, REQUEST);
    enum { COUNT = 5000 }; /* grows several times */
    for (uint64_t i = 0; i < COUNT; i++) {
        const struct point_id id = point_id_number(i * i);
        op_put_id(&builder, &id);
    }
    struct op_header header;
    struct span points;
    assert_int_equal(op_open(op_end(&builder), &header, &points), OK);
    assert_int_equal(header.kind, OP_DELETE);
    assert_int_equal(header.point_count, COUNT);
    struct op_point point;
    for (uint64_t i = 0; i < COUNT; i++) {
        const struct point_id id = point_id_number(i * i);
        assert_true(op_next(&header, &points, &point));
        assert_int_equal(point_id_compare(&point.id, &id), 0);
    }
    assert_false(op_next(&header, &points, &point));
    arena_release(&arena);
}

static void test_an_op_without_points(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct op_builder builder;
    op_begin(&builder, &arena, OP_UPSERT, REQUEST);
    struct op_header header;
    struct span points;
    assert_int_equal(op_open(op_end(&builder), &header, &points), OK);
    struct op_point point;
    assert_false(op_next(&header, &points, &point));
    arena_release(&arena);
}

/* Open bytes that lie at the end of their allocation, so that the sanitizer sees any read past it,
 * and walk whatever is accepted. */
static enum error open_exact(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(copy);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    struct op_header header;
    struct span points;
    const enum error error = op_open(span_of(copy, bytes), &header, &points);
    if (error == OK) {
        struct op_point point;
        struct span part, path;
        uint32_t count = 0;
        while (header.kind == OP_GROUP ? op_next_op(&points, &part)
                                       : op_next(&header, &points, &point)) {
            struct vector_data vector;
            uint32_t vectors = 0;
            while (header.kind != OP_GROUP && op_next_vector(&point.vectors, &vector)) {
                vectors++;
            }
            assert_true(header.kind == OP_GROUP || vectors == point.vector_count);
            count++;
        }
        assert_int_equal(count, header.point_count);
        while (op_next_path(&header.paths, &path)) {
            assert_true(path.bytes > 0);
        }
    }
    free(copy);
    return error;
}

static void test_truncated_and_longer_bytes_are_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct span op = sample_op(&arena);
    for (size_t bytes = 0; bytes < op.bytes; bytes++) {
        assert_int_equal(open_exact(op.data, bytes), ERROR_CORRUPT);
    }
    assert_int_equal(open_exact(op.data, op.bytes), OK);
    uint8_t *longer = arena_allocate(&arena, op.bytes + 1);
    memcpy(longer, op.data, op.bytes);
    longer[op.bytes] = 0;
    assert_int_equal(open_exact(longer, op.bytes + 1), ERROR_CORRUPT);
    arena_release(&arena);
}

static void test_fields_out_of_range_are_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct span op = sample_op(&arena);
    uint8_t *data = arena_copy(&arena, op.data, op.bytes);
    const struct {
        size_t offset;
        uint32_t value;
    } wrong[] = {
        {0, 1},                      /* format */
        {1, 3},                      /* kind */
        {1, 0},                      /* kind */
        {2, 1},                      /* reserved */
        {4, 1},                      /* reserved */
        {24, 5},                     /* points */
        {24, 3},                     /* points */
        {24, UINT32_MAX},            /* points */
        {28, 1},                     /* vectors */
        {32, 8},                     /* flags of the first point */
        {41, 3},                     /* its vectors: 16 bits */
        {41, 0},          {43, 255}, /* number of the first: not below the second's */
        {45, 4},                     /* its kind */
        {45, 0},          {46, 1},   /* reserved */
        {47, 65537},                 /* its dim */
        {47, 0},          {51, 2},   /* its count */
        {75, 1},                     /* dim of the sparse one */
        {83, 1000},                  /* its first index, not below the second */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(data, op.data, op.bytes);
        const size_t at = wrong[i].offset;
        if (at < 4 || at == 32 || at == 45 || at == 46) {
            data[at] = (uint8_t)wrong[i].value;
        } else if (at == 41 || at == 43) {
            store16(data + at, (uint16_t)wrong[i].value);
        } else {
            store32(data + at, wrong[i].value);
        }
        assert_int_equal(open_exact(data, op.bytes), ERROR_CORRUPT);
    }
    arena_release(&arena);
}

/* Any bytes: never a read past the end, never a walk that disagrees with the header. */
static void test_damaged_bytes_do_no_harm(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct span op = sample_op(&arena);
    uint8_t *data = arena_copy(&arena, op.data, op.bytes);
    uint32_t random = 7;
    for (size_t round = 0; round < 20000; round++) {
        memcpy(data, op.data, op.bytes);
        for (size_t flips = 0; flips < 1 + round % 4; flips++) {
            random = random * 1664525u + 1013904223u;
            data[(random >> 8) % op.bytes] = (uint8_t)(random >> 24);
        }
        (void)open_exact(data, op.bytes);
    }
    arena_release(&arena);
}

/* ---- clauses and groups ---- */

static struct span object(struct arena *arena, const char *key)
{
    struct value_builder builder;
    value_begin(&builder, arena);
    assert_int_equal(value_open_object(&builder), OK);
    assert_int_equal(value_put_key(&builder, span_text(key)), OK);
    value_put_bool(&builder, true);
    value_close(&builder);
    return value_end(&builder);
}

static struct span payload_op(struct arena *arena, enum op_kind kind, bool filter, bool found)
{
    struct op_builder builder;
    const struct span paths[] = {span_text("a.b"), span_text("c[]")};
    op_begin(&builder, arena, kind, REQUEST);
    for (uint64_t i = 0; i < 3; i++) {
        const struct point_id id = point_id_number(i);
        op_put_id(&builder, &id);
    }
    if (filter) {
        op_put_filter(&builder, object(arena, "must"), found);
    }
    if (kind == OP_PAYLOAD_MERGE || kind == OP_PAYLOAD_OVERWRITE) {
        op_put_value(&builder, object(arena, "value"));
    }
    if (kind == OP_PAYLOAD_REMOVE || (kind == OP_PAYLOAD_MERGE && filter)) {
        op_put_paths(&builder, paths, kind == OP_PAYLOAD_REMOVE ? 2 : 1);
    }
    return op_end(&builder);
}

static void test_clauses_there_and_back(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (enum op_kind kind = OP_PAYLOAD_MERGE; kind <= OP_PAYLOAD_CLEAR; kind++) {
        for (unsigned which = 0; which < 3; which++) {
            const bool filter = which > 0, found = which > 1;
            const struct span op = payload_op(&arena, kind, filter, found);
            struct op_header header;
            struct span points, path;
            struct op_point point;
            assert_int_equal(op_open(op, &header, &points), OK);
            assert_int_equal(header.kind, kind);
            assert_int_equal(header.point_count, 3);
            assert_int_equal(header.found, found);
            assert_true(span_equal(header.filter,
                                   filter ? object(&arena, "must") : (struct span){NULL, 0}));
            if (header.value.bytes > 0) {
                assert_true(span_equal(header.value, object(&arena, "value")));
            }
            for (uint64_t i = 0; i < 3; i++) {
                const struct point_id id = point_id_number(i);
                assert_true(op_next(&header, &points, &point));
                assert_int_equal(point_id_compare(&point.id, &id), 0);
            }
            assert_false(op_next(&header, &points, &point));
            if (kind == OP_PAYLOAD_REMOVE || (kind == OP_PAYLOAD_MERGE && filter)) {
                assert_true(op_next_path(&header.paths, &path));
                assert_true(span_equal(path, span_text("a.b")));
                assert_int_equal(op_next_path(&header.paths, &path), kind == OP_PAYLOAD_REMOVE);
                assert_false(op_next_path(&header.paths, &path));
            }
            for (size_t bytes = 0; bytes < op.bytes; bytes++) {
                assert_int_equal(open_exact(op.data, bytes), ERROR_CORRUPT);
            }
            assert_int_equal(open_exact(op.data, op.bytes), OK);
        }
    }
    arena_release(&arena);
}

static void test_modes(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (enum op_mode mode = OP_MODE_UPSERT; mode <= OP_MODE_UPDATE_ONLY; mode++) {
        struct op_builder builder;
        struct op_header header;
        struct span points;
        op_begin(&builder, &arena, OP_UPSERT, REQUEST);
        op_put_mode(&builder, mode);
        op_put_filter(&builder, object(&arena, "must"), false);
        assert_int_equal(op_open(op_end(&builder), &header, &points), OK);
        assert_int_equal(header.mode, mode);
        assert_true(header.filter.bytes > 0);
        uint8_t *data = arena_copy(&arena, builder.data, builder.bytes);
        store16(data + 2, 1 | 8 | 16); /* both */
        assert_int_equal(open_exact(data, builder.bytes), ERROR_CORRUPT);
    }
    /* flags that an op of this kind cannot have */
    const struct span op = payload_op(&arena, OP_PAYLOAD_CLEAR, false, false);
    for (unsigned flag = 1; flag < 65536; flag *= 2) {
        uint8_t *data = arena_copy(&arena, op.data, op.bytes);
        store16(data + 2, (uint16_t)flag);
        assert_int_equal(open_exact(data, op.bytes), ERROR_CORRUPT);
    }
    arena_release(&arena);
}

static struct span sample_group(struct arena *arena)
{
    const struct span ops[] = {sample_op(arena), payload_op(arena, OP_PAYLOAD_MERGE, true, true),
                               payload_op(arena, OP_DELETE, false, false)};
    return op_group(arena, REQUEST, ops, 3);
}

static void test_a_group_there_and_back(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct span group = sample_group(&arena);
    struct op_header header;
    struct span ops, op, points;
    assert_int_equal(op_open(group, &header, &ops), OK);
    assert_int_equal(header.kind, OP_GROUP);
    assert_int_equal(header.point_count, 3);
    const enum op_kind kinds[] = {OP_UPSERT, OP_PAYLOAD_MERGE, OP_DELETE};
    for (size_t i = 0; i < 3; i++) {
        struct op_header part;
        assert_true(op_next_op(&ops, &op));
        assert_int_equal(op_open(op, &part, &points), OK);
        assert_int_equal(part.kind, kinds[i]);
    }
    assert_false(op_next_op(&ops, &op));
    for (size_t bytes = 0; bytes < group.bytes; bytes++) {
        assert_int_equal(open_exact(group.data, bytes), ERROR_CORRUPT);
    }
    /* no groups within groups */
    const struct span nested = op_group(&arena, REQUEST, &group, 1);
    assert_int_equal(open_exact(nested.data, nested.bytes), ERROR_CORRUPT);
    arena_release(&arena);
}

static void test_damaged_groups_do_no_harm(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct span group = sample_group(&arena);
    uint8_t *data = arena_copy(&arena, group.data, group.bytes);
    uint32_t random = 7;
    for (size_t round = 0; round < 20000; round++) {
        memcpy(data, group.data, group.bytes);
        for (size_t flips = 0; flips < 1 + round % 4; flips++) {
            random = random * 1664525u + 1013904223u;
            data[(random >> 8) % group.bytes] = (uint8_t)(random >> 24);
        }
        (void)open_exact(data, group.bytes);
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upsert_there_and_back),
        cmocka_unit_test(test_delete_there_and_back),
        cmocka_unit_test(test_an_op_without_points),
        cmocka_unit_test(test_truncated_and_longer_bytes_are_refused),
        cmocka_unit_test(test_fields_out_of_range_are_refused),
        cmocka_unit_test(test_damaged_bytes_do_no_harm),
        cmocka_unit_test(test_clauses_there_and_back),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_a_group_there_and_back),
        cmocka_unit_test(test_damaged_groups_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
