/* Keys: the hash against the reference vectors, the verdicts, what counts as a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/auth.h"

/* The first vectors of the reference implementation: key 00..0f, message 00, 01, ... */
static void siphash_is_the_reference(void **state)
{
    (void)state;
    static const uint8_t expected[][16] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02,
         0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc,
         0x45},
    };
    uint8_t key[16], message[64], out[16];
    for (uint8_t i = 0; i < 64; i++)
        message[i] = i;
    memcpy(key, message, sizeof key);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        siphash_128(key, span_of(message, i), out);
        assert_memory_equal(out, expected[i], 16);
    }
}

static void siphash_sees_every_byte(void **state)
{
    (void)state;
    uint8_t key[16] = {1}, message[40] = {0}, plain[16], changed[16];
    for (size_t bytes = 1; bytes <= sizeof message; bytes++) {
        siphash_128(key, span_of(message, bytes), plain);
        for (size_t i = 0; i < bytes; i++) {
            message[i] = 1;
            siphash_128(key, span_of(message, bytes), changed);
            message[i] = 0;
            assert_memory_not_equal(plain, changed, 16);
        }
    }
}

static enum auth_verdict check(const struct auth *auth, const char *api_key, const char *bearer)
{
    return auth_check(auth, span_text(api_key), span_text(bearer));
}

static struct auth *with_keys(const char *full, const char *other, const char *read_only)
{
    struct config config;
    char why[256];
    config_init(&config);
    assert_true(config_set(&config, "service.api_key", full, why, sizeof why));
    assert_true(config_set(&config, "service.alt_api_key", other, why, sizeof why));
    assert_true(config_set(&config, "service.read_only_api_key", read_only, why, sizeof why));
    struct auth *auth = auth_new(&config);
    config_release(&config);
    return auth;
}

static void without_keys_everything_is_open(void **state)
{
    (void)state;
    struct auth *auth = with_keys("", "", "");
    assert_null(auth);
    assert_int_equal(check(auth, "", ""), AUTH_FULL);
    auth_free(auth);
}

static void verdicts(void **state)
{
    (void)state;
    struct auth *auth = with_keys("full-key", "next-key", "reader");
    assert_int_equal(check(auth, "full-key", ""), AUTH_FULL);
    assert_int_equal(check(auth, "next-key", ""), AUTH_FULL);
    assert_int_equal(check(auth, "reader", ""), AUTH_READ_ONLY);
    assert_int_equal(check(auth, "", "Bearer full-key"), AUTH_FULL);
    assert_int_equal(check(auth, "", "bearer  reader"), AUTH_READ_ONLY);
    assert_int_equal(check(auth, "", ""), AUTH_MISSING);
    assert_int_equal(check(auth, "", "Basic full-key"), AUTH_MISSING);
    assert_int_equal(check(auth, "", "Bearer "), AUTH_MISSING);
    assert_int_equal(check(auth, "", "full-key"), AUTH_MISSING);
    assert_int_equal(check(auth, "full-ke", ""), AUTH_WRONG);
    assert_int_equal(check(auth, "full-key2", ""), AUTH_WRONG);
    assert_int_equal(check(auth, "full-kex", ""), AUTH_WRONG);
    assert_int_equal(check(auth, "Full-key", ""), AUTH_WRONG);
    /* the first one present counts */
    assert_int_equal(check(auth, "wrong", "Bearer full-key"), AUTH_WRONG);
    auth_free(auth);
}

static void digests_differ_between_processes(void **state)
{
    (void)state;
    /* two auths of the same key accept it though their hash keys differ */
    struct auth *a = with_keys("k", "", ""), *b = with_keys("k", "", "");
    assert_int_equal(check(a, "k", ""), AUTH_FULL);
    assert_int_equal(check(b, "k", ""), AUTH_FULL);
    assert_memory_not_equal(a, b, 32); /* the drawn keys come first */
    auth_free(a);
    auth_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_the_reference),
        cmocka_unit_test(siphash_sees_every_byte),
        cmocka_unit_test(without_keys_everything_is_open),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(digests_differ_between_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
