/* Arenas: alignment, growth, what a release gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "index/arena.h"

static void test_allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    enum { COUNT = 2000 };
    uint8_t *data[COUNT];
    size_t bytes[COUNT];
    uint32_t random = 1;
    for (size_t i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = i % 100 == 99 ? 100000 + random % 100000 : random % 300;
        data[i] = arena_allocate(&arena, bytes[i]);
        assert_int_equal((uintptr_t)data[i] % 16, 0);
        memset(data[i], (int)(i & 0xff), bytes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < bytes[i]; j++) {
            assert_int_equal(data[i][j], i & 0xff);
        }
    }
    arena_release(&arena);
    assert_int_equal(arena.total_bytes, 0);
    assert_null(arena.chunks);
}

static void test_nothing_from_an_empty_arena(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_non_null(arena_allocate(&arena, 0));
    assert_non_null(arena_copy(&arena, NULL, 0));
    arena_release(&arena);
}

/* A large piece must not end the use of the chunk that small ones come from. */
static void test_a_large_piece_leaves_the_small_chunk(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    uint8_t *first = arena_allocate(&arena, 16);
    const size_t before = arena.total_bytes;
    void *large = arena_allocate(&arena, 1000000);
    assert_non_null(large);
    uint8_t *second = arena_allocate(&arena, 16);
    assert_ptr_equal(second, first + 16);
    assert_true(arena.total_bytes >= before + 1000000);
    assert_true(arena.total_bytes < before + 1000000 + 64);
    arena_release(&arena);
}

static void test_memory_held_stays_near_what_is_used(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < 100000; i++) {
        assert_non_null(arena_allocate(&arena, 48));
    }
    assert_true(arena.total_bytes >= 48 * 100000);
    assert_true(arena.total_bytes < 48 * 100000 + 512 * 1024);
    arena_release(&arena);
    assert_non_null(arena_allocate(&arena, 1));
    assert_true(arena.total_bytes <= 4096);
    arena_release(&arena);
}

static void test_format_and_copy(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    char *text = arena_format(&arena, "%s has %d points", "words", 10000);
    assert_string_equal(text, "words has 10000 points");
    char *copy = arena_copy(&arena, text, 6);
    text[0] = 'W';
    assert_memory_equal(copy, "words ", 6);
    char *wide = arena_format(&arena, "%*d", 5000, 7);
    assert_int_equal(strlen(wide), 5000);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_aligned_and_apart),
        cmocka_unit_test(test_nothing_from_an_empty_arena),
        cmocka_unit_test(test_a_large_piece_leaves_the_small_chunk),
        cmocka_unit_test(test_memory_held_stays_near_what_is_used),
        cmocka_unit_test(test_format_and_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
