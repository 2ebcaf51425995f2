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

/* Four points: both kinds of id, with and without vector and payload. */
static struct span sample_op(struct arena *arena)
{
    struct op_builder builder;
    op_begin(&builder, arena, OP_UPSERT, REQUEST, 3);
    const struct point_id ids[] = {point_id_number(7), uuid(0xab), point_id_number(UINT64_MAX),
                                   uuid(0)};
    for (uint32_t i = 0; i < 4; i++) {
        const struct span payload = i & 1 ? span_text("payload") : (struct span){NULL, 0};
        uint8_t *vector = op_put_point(&builder, &ids[i], i < 2, payload);
        assert_int_equal(vector != NULL, i < 2);
        for (uint32_t j = 0; vector != NULL && j < 3; j++) {
            store_float(vector + 4 * j, (float)(10 * i + j));
        }
    }
    return op_end(&builder);
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
    assert_int_equal(header.dim, 3);
    assert_int_equal(header.point_count, 4);
    assert_int_equal(header.vector_count, 2);
    struct op_point point;
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(op_next(&header, &points, &point));
        assert_int_equal(point.vector != NULL, i < 2);
        for (uint32_t j = 0; point.vector != NULL && j < 3; j++) {
            assert_true(load_float(point.vector + 4 * j) == (float)(10 * i + j));
        }
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
    op_begin(&builder, &arena, OP_DELETE, REQUEST, 0);
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
    op_begin(&builder, &arena, OP_UPSERT, REQUEST, 8);
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
        uint32_t count = 0;
        while (op_next(&header, &points, &point)) {
            count++;
        }
        assert_int_equal(count, header.point_count);
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
        {0, 2},           /* format */
        {1, 3},           /* kind */
        {1, 0},           /* kind */
        {2, 1},           /* reserved */
        {4, 65537},       /* dim */
        {4, 0},           /* dim 0 with vectors */
        {24, 5},          /* points */
        {24, 3},          /* points */
        {24, UINT32_MAX}, /* points */
        {28, 1},          /* vectors */
        {32, 8},          /* flags of the first point */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(data, op.data, op.bytes);
        if (wrong[i].offset < 4 || wrong[i].offset == 32) {
            data[wrong[i].offset] = (uint8_t)wrong[i].value;
        } else {
            store32(data + wrong[i].offset, wrong[i].value);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upsert_there_and_back),
        cmocka_unit_test(test_delete_there_and_back),
        cmocka_unit_test(test_an_op_without_points),
        cmocka_unit_test(test_truncated_and_longer_bytes_are_refused),
        cmocka_unit_test(test_fields_out_of_range_are_refused),
        cmocka_unit_test(test_damaged_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
