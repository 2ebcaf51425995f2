/* Options: every one can be set, shown and read back; wrong ones are refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "server/config.h"

static char why[2048];

static bool set(struct config *config, const char *name, const char *value)
{
    why[0] = '\0';
    return config_set(config, name, value, why, sizeof why);
}

static void write_file(char *path, const char *text)
{
    strcpy(path, "/tmp/kith-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void defaults_are_those_of_the_modules(void **state)
{
    (void)state;
    struct config config;
    config_init(&config);
    assert_string_equal(config.host, "127.0.0.1");
    assert_int_equal(config.port, 6333);
    assert_string_equal(config.data_dir, "./kith-data");
    assert_string_equal(config.title, "qdrant - vector search engine");
    assert_string_equal(config.version, "1.19.0");
    assert_int_equal(strlen(config.commit), 40);
    assert_null(config.api_key);
    assert_int_equal(config.http.body_bytes, 32u << 20);
    assert_int_equal(config.writer.group_points_max, 1024);
    assert_int_equal(config.database.storage.map_initial_bytes, 1u << 30);
    assert_int_equal(config.timeout_s, 60);
    assert_true(config_check(&config, why, sizeof why));
    config_release(&config);
}

/* Set the option to another value than it has, of whatever kind it is; returns that value. */
static const char *set_other(struct config *config, const char *name)
{
    static const char *const values[] = {
        "true", "false",  "debug",   "7",      "40",
        "4097", "131072", "2097152", "1.20.3", "0123456789abcdef0123456789abcdef01234567"};
    char now[4200];
    config_get(config, name, now, sizeof now);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(now, values[i]) != 0 && set(config, name, values[i]))
            return values[i];
    }
    fail_msg("%s takes none of the values: %s", name, why);
    return NULL;
}

static void every_option_is_set_and_shown(void **state)
{
    (void)state;
    struct config config;
    char before[4200], after[4200];
    config_init(&config);
    for (size_t i = 0; config_option_name(i) != NULL; i++) {
        const char *name = config_option_name(i);
        config_get(&config, name, before, sizeof before);
        const char *value = set_other(&config, name);
        config_get(&config, name, after, sizeof after);
        bool secret = strstr(name, "api_key") != NULL;
        assert_string_equal(after, secret ? "(set)" : value);
        assert_string_not_equal(before, after);
    }
    config_release(&config);
}

/* No two rows may share a field: setting one must change that one only. */
static void no_two_options_share_a_field(void **state)
{
    (void)state;
    for (size_t i = 0; config_option_name(i) != NULL; i++) {
        struct config config, plain;
        char a[4200], b[4200];
        config_init(&config);
        config_init(&plain);
        set_other(&config, config_option_name(i));
        for (size_t j = 0; config_option_name(j) != NULL; j++) {
            if (j == i)
                continue;
            config_get(&config, config_option_name(j), a, sizeof a);
            config_get(&plain, config_option_name(j), b, sizeof b);
            assert_string_equal(a, b);
        }
        config_release(&config);
        config_release(&plain);
    }
}

static void unknown_names_are_told_the_nearest(void **state)
{
    (void)state;
    struct config config;
    config_init(&config);
    assert_false(set(&config, "http.body_byte_max", "1"));
    assert_non_null(strstr(why, "'http.body_byte_max'"));
    assert_non_null(strstr(why, "'http.body_bytes_max'"));
    assert_string_equal(config_nearest("service.apikey"), "service.api_key");
    assert_string_equal(config_nearest("http_port"), "service.http_port");
    assert_string_equal(config_nearest("data_dir"), "storage.data_dir");
    assert_string_equal(config_nearest("port"), "service.http_port");
    assert_string_equal(config_nearest("http.body"), "http.body_bytes_max");
    assert_string_equal(config_nearest("http.bdy_bytes_max"), "http.body_bytes_max");
    assert_non_null(config_nearest(""));
    assert_string_equal(config_nearest("writer.queue_point_max"), "writer.queue_points_max");
    config_release(&config);
}

static void wrong_values_are_refused(void **state)
{
    (void)state;
    struct config config;
    config_init(&config);
    assert_false(set(&config, "service.http_port", "65536"));
    assert_non_null(strstr(why, "out of range"));
    assert_false(set(&config, "service.http_port", "-1"));
    assert_false(set(&config, "service.http_port", "80x"));
    assert_false(set(&config, "service.http_port", ""));
    assert_false(set(&config, "service.http_port", "99999999999999999999"));
    assert_false(set(&config, "service.http_port", "1 KiB")); /* no bytes */
    assert_false(set(&config, "service.allow_insecure", "yes"));
    assert_false(set(&config, "log.level", "loud"));
    assert_false(set(&config, "service.api_key", "two words"));
    assert_false(set(&config, "service.api_key", "line\n"));
    assert_false(set(&config, "service.host", ""));
    assert_false(set(&config, "http.body_bytes_max", "99999999 TiB"));
    assert_int_equal(config.port, 6333);
    assert_null(config.api_key);
    config_release(&config);
}

static void bytes_take_units(void **state)
{
    (void)state;
    struct config config;
    config_init(&config);
    assert_true(set(&config, "http.body_bytes_max", "64 MiB"));
    assert_int_equal(config.http.body_bytes, 64u << 20);
    assert_true(set(&config, "http.body_bytes_max", "7KiB"));
    assert_int_equal(config.http.body_bytes, 7u << 10);
    assert_true(set(&config, "storage.map_max_bytes", "2 TiB"));
    assert_int_equal(config.database.storage.map_max_bytes, (uint64_t)2 << 40);
    config_release(&config);
}

static void files_are_read_line_by_line(void **state)
{
    (void)state;
    struct config config;
    char path[64];
    config_init(&config);
    write_file(path, "# a comment\n\n  service.http_port = 7000  # and one more\r\n"
                     "storage.data_dir=\"/tmp/a # b\" # quoted\n"
                     "service.api_key = k#1\n");
    assert_true(config_read_file(&config, path, why, sizeof why));
    unlink(path);
    assert_int_equal(config.port, 7000);
    assert_string_equal(config.data_dir, "/tmp/a # b");
    assert_string_equal(config.api_key, "k#1");
    config_release(&config);
}

static void files_with_faults_name_the_line(void **state)
{
    (void)state;
    static const char *const faulty[] = {
        "service.http_port = 1\nservice.htp_port = 2\n",
        "\nservice.http_port\n",
        "\nservice.host = \"open\n",
        "\nservice.host = \"a\" b\n",
        "\nservice.http_port = many\n",
    };
    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++) {
        struct config config;
        char path[64];
        config_init(&config);
        write_file(path, faulty[i]);
        assert_false(config_read_file(&config, path, why, sizeof why));
        assert_non_null(strstr(why, path));
        assert_non_null(strstr(why, "line 2"));
        unlink(path);
        config_release(&config);
    }
    struct config config;
    config_init(&config);
    assert_false(config_read_file(&config, "/tmp/kith-there-is-no-such-file", why, sizeof why));
    config_release(&config);
}

static void what_is_printed_can_be_read(void **state)
{
    (void)state;
    struct config config, again;
    char path[] = "/tmp/kith-config-XXXXXX", a[4200], b[4200];
    config_init(&config);
    config_init(&again);
    assert_true(set(&config, "storage.data_dir", "/tmp/x # y"));
    assert_true(set(&config, "writer.group_points_max", "77"));
    assert_true(set(&config, "service.api_key", "geheim"));
    FILE *file = fdopen(mkstemp(path), "w+");
    assert_non_null(file);
    config_print(&config, file);
    fclose(file);
    if (!config_read_file(&again, path, why, sizeof why))
        fail_msg("%s", why);
    for (size_t i = 0; config_option_name(i) != NULL; i++) {
        if (strstr(config_option_name(i), "api_key") != NULL)
            continue;
        config_get(&config, config_option_name(i), a, sizeof a);
        config_get(&again, config_option_name(i), b, sizeof b);
        assert_string_equal(a, b);
    }
    assert_null(again.api_key); /* secrets are not shown */
    unlink(path);
    config_release(&config);
    config_release(&again);
}

static void the_environment_is_read(void **state)
{
    (void)state;
    struct config config;
    char path[64], by_file[128];
    write_file(path, "from-a-file\n");
    snprintf(by_file, sizeof by_file, "KITH_READ_ONLY_API_KEY_FILE=%s", path);
    char a[] = "KITH__HTTP__BODY_BYTES_MAX=1 MiB", b[] = "PATH=/bin", c[] = "KITH_API_KEY=abc",
         d[] = "KITH_FAILPOINT=x:1", e[] = "KITH__LOG__LEVEL=warn";
    char *environment[] = {a, b, c, d, e, by_file, NULL};
    config_init(&config);
    if (!config_read_environment(&config, environment, why, sizeof why))
        fail_msg("%s", why);
    assert_int_equal(config.http.body_bytes, 1u << 20);
    assert_string_equal(config.api_key, "abc");
    assert_string_equal(config.read_only_api_key, "from-a-file");
    assert_int_equal(config.log_level, LOG_LEVEL_WARN);
    char unknown[] = "KITH__SERVICE__APIKEY=abc";
    char *faulty[] = {unknown, NULL};
    assert_false(config_read_environment(&config, faulty, why, sizeof why));
    assert_non_null(strstr(why, "KITH__SERVICE__APIKEY"));
    assert_non_null(strstr(why, "service.api_key"));
    char empty[] = "KITH__SERVICE__API_KEY=";
    char *unset[] = {empty, NULL};
    assert_true(config_read_environment(&config, unset, why, sizeof why));
    assert_null(config.api_key);
    unlink(path);
    char *missing[] = {by_file, NULL};
    assert_false(config_read_environment(&config, missing, why, sizeof why));
    config_release(&config);
}

static void check_with(const char *const *pairs, bool expected, const char *text)
{
    struct config config;
    config_init(&config);
    for (; *pairs != NULL; pairs += 2)
        if (!set(&config, pairs[0], pairs[1]))
            fail_msg("%s", why);
    assert_int_equal(config_check(&config, why, sizeof why), expected);
    if (!expected && strstr(why, text) == NULL)
        fail_msg("'%s' is not in '%s'", text, why);
    config_release(&config);
}

static void values_must_agree(void **state)
{
    (void)state;
    check_with((const char *[]){"service.host", "0.0.0.0", NULL}, false, "KITH_API_KEY");
    check_with((const char *[]){"service.host", "192.168.1.2", NULL}, false, "refused");
    check_with((const char *[]){"service.host", "0.0.0.0", "service.api_key", "k", NULL}, true, "");
    check_with((const char *[]){"service.host", "::", "service.allow_insecure", "true", NULL}, true,
               "");
    check_with((const char *[]){"service.host", "::1", NULL}, true, "");
    check_with((const char *[]){"service.host", "localhost", NULL}, true, "");
    check_with((const char *[]){"service.host", "127.8.9.10", NULL}, true, "");
    check_with((const char *[]){"service.host", "127.example.org", NULL}, false, "refused");
    check_with((const char *[]){"service.read_only_api_key", "r", NULL}, false, "need");
    check_with((const char *[]){"service.api_key", "r", "service.read_only_api_key", "r", NULL},
               false, "differ");
    check_with((const char *[]){"service.version", "1.1x.0", NULL}, false, "x.y.z");
    check_with((const char *[]){"service.commit", "ZZZ3456789abcdef0123456789abcdef01234567", NULL},
               false, "hex");
    check_with((const char *[]){"storage.map_max_bytes", "1 MiB", NULL}, false, "map_initial");
    check_with((const char *[]){"writer.queue_points_max", "10", NULL}, false, "group_points_max");
    check_with((const char *[]){"writer.queue_bytes_max", "1 MiB", NULL}, false, "group_bytes_max");
    check_with((const char *[]){"http.body_bytes_max", "1 GiB", NULL}, false, "budget");
    check_with((const char *[]){"strict.max_timeout_s", "10", NULL}, false, "timeout_s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_modules),
        cmocka_unit_test(every_option_is_set_and_shown),
        cmocka_unit_test(no_two_options_share_a_field),
        cmocka_unit_test(unknown_names_are_told_the_nearest),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(bytes_take_units),
        cmocka_unit_test(files_are_read_line_by_line),
        cmocka_unit_test(files_with_faults_name_the_line),
        cmocka_unit_test(what_is_printed_can_be_read),
        cmocka_unit_test(the_environment_is_read),
        cmocka_unit_test(values_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
