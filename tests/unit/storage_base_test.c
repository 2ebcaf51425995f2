/* CRC32C against its table and published values, point ids, allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/base.h"

static void test_crc_published(void **state)
{
    (void)state;
    /* RFC 3720, B.4 */
    uint8_t bytes[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
    for (uint8_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = i;
    }
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
    assert_int_equal(crc32c(0, bytes, 0), 0);
}

/* Every length around the ends of streams, at odd addresses, whole and continued. */
static void test_crc_table(void **state)
{
    (void)state;
    enum { BYTES = 5000 };
    uint8_t *data = allocate(BYTES + 8);
    uint32_t random = 1;
    for (size_t i = 0; i < BYTES + 8; i++) {
        random = random * 1664525u + 1013904223u;
        data[i] = (uint8_t)(random >> 24);
    }
    for (size_t bytes = 0; bytes < BYTES; bytes += bytes < 400 ? 1 : 37) {
        const uint8_t *at = data + bytes % 8;
        const uint32_t expected = crc32c_by_table(7, at, bytes);
        assert_int_equal(crc32c(7, at, bytes), expected);
        const size_t first = bytes / 3;
        assert_int_equal(crc32c(crc32c(7, at, first), at + first, bytes - first), expected);
    }
    free(data);
}

static void test_ids_sort(void **state)
{
    (void)state;
    const struct point_id small = point_id_number(255), large = point_id_number(256);
    const struct point_id uuid = {POINT_ID_UUID, {0}};
    assert_true(point_id_compare(&small, &large) < 0);
    assert_true(point_id_compare(&large, &uuid) < 0);
    assert_int_equal(point_id_compare(&uuid, &uuid), 0);
}

static void test_errors(void **state)
{
    (void)state;
    assert_string_equal(error_text(OK), "ok");
    assert_string_equal(error_text(ERROR_CANCELLED), "cancelled or timed out");
}

static void test_allocate(void **state)
{
    (void)state;
    uint8_t *memory = allocate_zeroed(3, 5);
    for (size_t i = 0; i < 15; i++) {
        assert_int_equal(memory[i], 0);
    }
    memory[14] = 9;
    memory = grow(memory, 100000);
    assert_int_equal(memory[14], 9);
    free(memory);
    void *aligned = allocate_aligned(65);
    assert_int_equal((uintptr_t)aligned % 64, 0);
    free(aligned);
    free(allocate(0));
    assert_int_equal(size_product(3, 7), 21);
}

/* How a child ends that allocates or multiplies too much, or reaches a failpoint. */
static int end_of_child(void (*run)(void))
{
    const pid_t child = fork();
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        run();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void overflow(void)
{
    (void)size_product(SIZE_MAX / 2, 3);
}

static void third_hit(void)
{
    setenv("KITH_FAILPOINT", "storage-test:3", 1);
    failpoint("storage-test");
    failpoint("storage-other");
    failpoint("storage-test");
    failpoint("storage-other");
    failpoint("storage-test");
}

static void second_hit_only(void)
{
    setenv("KITH_FAILPOINT", "storage-test:3", 1);
    failpoint("storage-test");
    failpoint("storage-test");
}

static void test_ends(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(end_of_child(overflow)));
    assert_int_equal(WEXITSTATUS(end_of_child(third_hit)), 86);
    assert_int_equal(end_of_child(second_hit_only), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_published), cmocka_unit_test(test_crc_table),
        cmocka_unit_test(test_ids_sort),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_allocate),      cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
