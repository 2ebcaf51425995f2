/* The data directory: lock, layout, leftovers, refusals; the catalogue. */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <lmdb.h>

#include "storage/format.h"
#include "storage/map.h"
#include "tests/unit/storage_model.h"

static void below(char out[400], const char *path, const char *name)
{
    snprintf(out, 400, "%s/%s", path, name);
}

static bool exists(const char *path, const char *name)
{
    char whole[400];
    below(whole, path, name);
    return access(whole, F_OK) == 0;
}

static void put_file(const char *path, const char *name, const void *data, size_t bytes)
{
    char whole[400];
    below(whole, path, name);
    FILE *file = fopen(whole, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void make_below(const char *path, const char *name)
{
    char whole[400];
    below(whole, path, name);
    assert_int_equal(mkdir(whole, 0700), 0);
}

/* store_open fails with this error and a line that holds the text. */
static void assert_refused(const char *path, bool create, const struct store_options *options,
                           enum error expected, const char *text)
{
    struct store *store;
    char why[300] = "";
    assert_int_equal(store_open(path, create, options, &store, why, sizeof why), expected);
    assert_null(store);
    if (strstr(why, text) == NULL || strchr(why, '\n') != NULL) {
        fail_msg("\"%s\" should say \"%s\"", why, text);
    }
}

static uint64_t create(struct store *store, const char *name)
{
    uint64_t directory;
    assert_int_equal(catalog_create(store, span_text(name), span_text(name), &directory), OK);
    return directory;
}

static enum error get(struct store *store, const char *name, uint64_t *directory)
{
    uint8_t *settings;
    size_t bytes;
    const enum error error = catalog_get(store, span_text(name), directory, &settings, &bytes);
    if (error == OK) {
        assert_true(span_equal(span_of(settings, bytes), span_text(name)));
        free(settings);
    }
    return error;
}

/* ---- opening ---- */

static void test_locked(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    int ready[2], done[2];
    assert_int_equal(pipe(ready) | pipe(done), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct store *store;
        char why[300], byte;
        if (store_open(path, true, &options, &store, why, sizeof why) != OK) {
            _exit(1);
        }
        (void)!write(ready[1], "x", 1);
        (void)!read(done[0], &byte, 1);
        _exit(0); /* as kill -9 would: the kernel gives the lock back */
    }
    char byte, holder[40];
    assert_int_equal(read(ready[0], &byte, 1), 1);
    snprintf(holder, sizeof holder, "in use by another kith (process %d)", (int)child);
    assert_refused(path, true, &options, ERROR_LOCKED, holder);
    assert_refused(path, false, &options, ERROR_LOCKED, holder);
    assert_int_equal(write(done[1], "x", 1), 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store_close(open_store(path, &options));
    close(ready[0]);
    close(ready[1]);
    close(done[0]);
    close(done[1]);
    scratch_remove(path);
}

static void test_nothing_there(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    assert_refused(path, false, &options, ERROR_NOT_FOUND, "no kith data in");
    assert_false(exists(path, "catalog"));
    assert_false(exists(path, "lock"));
    char missing[400];
    below(missing, path, "a/b");
    assert_refused(missing, true, &options, ERROR_NOT_FOUND, "cannot create the data directory");
    put_file(path, "file", "x", 1);
    below(missing, path, "file");
    assert_refused(missing, true, &options, ERROR_IO, "Not a directory");
    scratch_remove(path);
}

static void test_permission(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        /* Root may do anything: ask as nobody. */
        char *path = scratch_directory();
        const struct store_options options = small_options();
        const pid_t child = fork();
        if (child == 0) {
            struct store *store;
            char why[300] = "";
            if (setuid(65534) != 0) {
                _exit(3);
            }
            const enum error error = store_open(path, true, &options, &store, why, sizeof why);
            _exit(error == ERROR_PERMISSION && strstr(why, "Permission denied") ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        scratch_remove(path);
        return;
    }
    const struct store_options options = small_options();
    assert_refused("/root-only/kith", true, &options, ERROR_NOT_FOUND, "cannot create");
}

static void put_format(const char *path, uint8_t value_format, uint64_t directory_format)
{
    char whole[400];
    below(whole, path, "catalog");
    const struct map_options options = {.bytes = 1 << 20, .readers_max = 8};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    assert_int_equal(map_open(whole, &options, &env), OK);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &table), 0);
    const uint8_t key = CATALOG_FORMAT;
    uint8_t value[16] = {0};
    store64(value + 8, directory_format);
    value_seal(span_of(&key, 1), value, sizeof value, KIND_CATALOG, 0);
    value[0] = value_format;
    uint32_t crc = crc32c(0, &key, 1);
    crc = crc32c(crc, value, 4);
    store32(value + 4, crc32c(crc, value + 8, 8));
    MDB_val lmdb_key = lmdb_value(span_of(&key, 1)), data = {sizeof value, value};
    assert_int_equal(mdb_put(txn, table, &lmdb_key, &data, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void test_newer(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    store_close(open_store(path, &options));
    put_format(path, 0, 1);
    assert_refused(path, true, &options, ERROR_NEWER, "newer kith");
    assert_refused(path, false, &options, ERROR_NEWER, "newer kith");
    put_format(path, 1, 0);
    assert_refused(path, true, &options, ERROR_NEWER, "newer kith");
    put_format(path, 0, 0);
    store_close(open_store(path, &options));
    scratch_remove(path);
}

static void test_damaged_catalog(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    struct store *store = open_store(path, &options);
    create(store, "a");
    store_close(store);
    char data[400];
    below(data, path, "catalog/data.mdb");
    assert_int_equal(truncate(data, 9000), 0);
    assert_refused(path, true, &options, ERROR_CORRUPT, "catalogue");
    assert_int_equal(truncate(data, 0), 0);
    assert_refused(path, true, &options, ERROR_CORRUPT, "catalogue");
    /* Gone altogether: a new one would make leftovers of the collections. */
    assert_int_equal(unlink(data), 0);
    assert_refused(path, true, &options, ERROR_CORRUPT, "missing although there are collections");
    assert_true(exists(path, "collections/0000000000000001/data.mdb"));
    scratch_remove(path);
}

/* ---- leftovers ---- */

static void test_leftovers(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    struct store *store = open_store(path, &options);
    const uint64_t first = create(store, "a");
    store_close(store);
    /* A collection that was never named; files of somebody else; a half-made catalogue. */
    make_below(path, "collections/00000000000000ff");
    put_file(path, "collections/00000000000000ff/data.mdb", "xx", 2);
    make_below(path, "collections/00000000000000ff/below");
    put_file(path, "collections/00000000000000ff/below/file", "xx", 2);
    put_file(path, "collections/README", "xx", 2);
    make_below(path, "collections/lost+found");
    put_file(path, "notes.txt", "xx", 2);
    make_below(path, "trash/old.0");
    put_file(path, "trash/old.0/data.mdb", "xx", 2);
    char link[400];
    below(link, path, "trash/link");
    assert_int_equal(symlink(path, link), 0);
    make_below(path, "catalog.new");
    put_file(path, "catalog.new/data.mdb", "", 0);
    /* Looking does not tidy. */
    char why[300];
    assert_int_equal(store_open(path, false, &options, &store, why, sizeof why), OK);
    store_close(store);
    assert_true(exists(path, "collections/00000000000000ff"));
    store = open_store(path, &options);
    assert_false(exists(path, "collections/00000000000000ff"));
    assert_false(exists(path, "trash/old.0"));
    assert_false(exists(path, "trash/link"));
    assert_true(exists(path, "collections/README"));
    assert_true(exists(path, "collections/lost+found"));
    assert_true(exists(path, "notes.txt"));
    uint64_t directory;
    assert_int_equal(get(store, "a", &directory), OK);
    assert_true(directory == first);
    /* A number whose directory is there already is passed over. */
    make_below(path, "collections/0000000000000002");
    assert_true(create(store, "b") == 3);
    store_close(store);
    scratch_remove(path);
}

static void test_ballast(void **state)
{
    (void)state;
    char *path = scratch_directory();
    struct store_options options = small_options();
    options.ballast_bytes = 1 << 20;
    struct store *store = open_store(path, &options);
    struct stat file;
    char ballast[400];
    below(ballast, path, "ballast");
    assert_int_equal(stat(ballast, &file), 0);
    assert_int_equal(file.st_size, 1 << 20);
    assert_int_equal(store_check_space(store), OK);
    assert_true(store_free_bytes(store) > 1 << 20);
    store_drop_ballast(store);
    assert_false(exists(path, "ballast"));
    store_drop_ballast(store);
    store_close(store);
    options.min_free_bytes = UINT64_MAX / 2;
    store = open_store(path, &options);
    assert_int_equal(store_check_space(store), ERROR_FULL);
    assert_false(exists(path, "ballast"));
    store_close(store);
    scratch_remove(path);
}

/* ---- the catalogue ---- */

struct names {
    char text[200];
    size_t count;
};

static enum error add_name(void *context, struct span name, uint64_t directory,
                           struct span settings)
{
    struct names *names = context;
    assert_true(directory > 0 && span_equal(name, settings));
    strncat(names->text, (const char *)name.data, name.bytes);
    return ++names->count == 4 ? ERROR_CANCELLED : OK;
}

static void test_catalog(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    struct store *store = open_store(path, &options);
    uint64_t directory, other;
    assert_int_equal(get(store, "b", &directory), ERROR_NOT_FOUND);
    const uint64_t b = create(store, "b"), a = create(store, "a");
    assert_true(a != b);
    assert_int_equal(catalog_create(store, span_text("a"), span_text(""), &other), ERROR_EXISTS);
    assert_int_equal(catalog_create(store, span_text(""), span_text(""), &other), ERROR_INVALID);
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = '\0';
    assert_int_equal(catalog_create(store, span_text(longest), span_text(""), &other),
                     ERROR_INVALID);
    longest[255] = '\0';
    create(store, longest);
    assert_int_equal(get(store, longest, &other), OK);
    assert_int_equal(catalog_delete(store, span_text(longest)), OK);
    assert_int_equal(catalog_delete(store, span_text(longest)), ERROR_NOT_FOUND);
    uint8_t *large = allocate_zeroed(1, (1 << 20) + 1);
    assert_int_equal(catalog_create(store, span_text("c"), span_of(large, (1 << 20) + 1), &other),
                     ERROR_TOO_LARGE);
    struct names names = {"", 0};
    assert_int_equal(catalog_each(store, add_name, &names), OK);
    assert_string_equal(names.text, "ab");
    create(store, "c");
    create(store, "d");
    create(store, "e");
    names = (struct names){"", 0};
    assert_int_equal(catalog_each(store, add_name, &names), ERROR_CANCELLED);
    assert_string_equal(names.text, "abcd");
    /* Three settings of 1 MiB do not fit the map of 1 MiB: it grows. */
    for (char name[2] = "x"; name[0] <= 'z'; name[0]++) {
        assert_int_equal(catalog_create(store, span_text(name), span_of(large, 1 << 20), &other),
                         OK);
    }
    store_close(store);
    store = open_store(path, &options);
    assert_int_equal(get(store, "a", &directory), OK);
    assert_true(directory == a);
    uint8_t *settings;
    size_t bytes;
    assert_int_equal(catalog_get(store, span_text("z"), &other, &settings, &bytes), OK);
    assert_int_equal(bytes, 1 << 20);
    free(settings);
    assert_true(exists(path, "collections/0000000000000001/data.mdb"));
    assert_int_equal(catalog_delete(store, span_text("b")), OK);
    assert_false(exists(path, "collections/0000000000000001"));
    assert_int_equal(get(store, "b", &other), ERROR_NOT_FOUND);
    assert_true(create(store, "b") > other);
    store_close(store);
    free(large);
    scratch_remove(path);
}

/* Kill at every step of creating and deleting: the next start has it whole or not at all. */
static int create_or_delete(const char *path, bool deleting)
{
    const struct store_options options = small_options();
    struct store *store;
    char why[300];
    uint64_t directory;
    if (store_open(path, true, &options, &store, why, sizeof why) != OK) {
        return 1;
    }
    const enum error error =
        deleting ? catalog_delete(store, span_text("a"))
                 : catalog_create(store, span_text("a"), span_text("a"), &directory);
    return error == OK ? 0 : 2;
}

/* In a program of its own: the failpoint is read once a process. */
static void run_killed(const char *path, const char *failpoint_text, bool deleting)
{
    const pid_t child = fork();
    if (child == 0) {
        setenv("KITH_FAILPOINT", failpoint_text, 1);
        execl("/proc/self/exe", "test", path, deleting ? "delete" : "create", (char *)NULL);
        _exit(3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WEXITSTATUS(status) != 86) {
        fail_msg("%s: exit code %d", failpoint_text, WEXITSTATUS(status));
    }
}

static size_t count_entries(const char *path, const char *name)
{
    char command[500], text[32] = "";
    snprintf(command, sizeof command, "ls '%s/%s' | wc -l", path, name);
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(text, sizeof text, pipe));
    pclose(pipe);
    return (size_t)atoi(text);
}

static void test_killed(void **state)
{
    (void)state;
    static const struct {
        const char *failpoint;
        bool deleting, there;
    } rows[] = {
        {"storage-catalog-made:1", false, false},
        {"storage-create-directory:1", false, false},
        {"storage-create-environment:1", false, false},
        {"storage-create-committed:1", false, true},
        {"storage-delete-committed:1", true, false},
        {"storage-discard-moved:1", true, false},
    };
    const struct store_options options = small_options();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *path = scratch_directory();
        uint64_t directory;
        if (rows[i].deleting) {
            struct store *store = open_store(path, &options);
            create(store, "a");
            store_close(store);
        }
        run_killed(path, rows[i].failpoint, rows[i].deleting);
        struct store *store = open_store(path, &options);
        assert_int_equal(get(store, "a", &directory), rows[i].there ? OK : ERROR_NOT_FOUND);
        assert_int_equal(count_entries(path, "collections"), rows[i].there);
        assert_int_equal(count_entries(path, "trash"), 0);
        if (rows[i].there) {
            struct vector_shape vectors[MODEL_VECTORS];
            const struct environment_shape shape = small_shape(8, vectors);
            struct environment *environment;
            assert_int_equal(environment_open(store, directory, &shape, &environment), OK);
            environment_close(environment);
        } else {
            create(store, "a");
        }
        store_close(store);
        scratch_remove(path);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return create_or_delete(argv[1], strcmp(argv[2], "delete") == 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locked),          cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_permission),      cmocka_unit_test(test_newer),
        cmocka_unit_test(test_damaged_catalog), cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_ballast),         cmocka_unit_test(test_catalog),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
