/* The copy-on-write array against plain arrays: many copies alive, each must keep its own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/array.h"

enum { WORDS = 9000, COPIES = 6 };

static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void assert_words(const struct array *array, const uint64_t *words)
{
    for (size_t i = 0; i < WORDS; i++) {
        assert_true(array_get(array, i) == words[i]);
    }
}

static void test_copies(void **state)
{
    (void)state;
    struct array arrays[COPIES] = {{NULL, 0}};
    uint64_t *words[COPIES];
    for (size_t i = 0; i < COPIES; i++) {
        words[i] = allocate_zeroed(WORDS, sizeof(uint64_t));
    }
    for (size_t round = 0; round < 400; round++) {
        const size_t from = random_next() % COPIES, to = random_next() % COPIES;
        if (from != to) {
            array_release(&arrays[to]);
            array_copy(&arrays[to], &arrays[from]);
            memcpy(words[to], words[from], WORDS * sizeof(uint64_t));
        }
        const size_t limit = round < 100 ? 64 : WORDS;
        for (size_t i = 0; i < 20; i++) {
            const size_t index = random_next() % limit;
            const uint64_t word = random_next();
            array_set(&arrays[to], index, word);
            words[to][index] = word;
        }
        if (round % 20 == 0) {
            for (size_t i = 0; i < COPIES; i++) {
                assert_words(&arrays[i], words[i]);
            }
        }
    }
    for (size_t i = 0; i < COPIES; i++) {
        assert_words(&arrays[i], words[i]);
        array_release(&arrays[i]);
        free(words[i]);
    }
}

static void test_sparse(void **state)
{
    (void)state;
    struct array array = {NULL, 0};
    assert_null(array_at(&array, 0));
    array_set(&array, UINT64_MAX, 1);
    array_set(&array, 0, 2);
    array_set(&array, UINT64_C(1) << 32, 3);
    assert_int_equal(array_get(&array, UINT64_MAX), 1);
    assert_int_equal(array_get(&array, 0), 2);
    assert_int_equal(array_get(&array, UINT64_C(1) << 32), 3);
    assert_int_equal(array_get(&array, 5000), 0);
    array_release(&array);
    array_set(&array, 63, 4);
    assert_null(array_at(&array, 64));
    assert_int_equal(array_get(&array, 63), 4);
    array_release(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_sparse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
