/* The walk over the catalogue for verify. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "storage/store_private.h"

struct catalog_check {
    struct store *store;
    MDB_txn *txn;
    void (*report)(void *context, const char *text);
    void *context;
    uint64_t *directories; /* of the collections */
    size_t count, capacity;
    uint64_t next; /* directory number; 0: its record is missing or damaged */
};

__attribute__((format(printf, 3, 4))) static void
complain(const struct catalog_check *check, struct span name, const char *format, ...)
{
    char text[512];
    const int bytes = (int)(name.bytes < 255 ? name.bytes : 255);
    const int length = snprintf(text, sizeof text, "%.*s%s", bytes, (const char *)name.data,
                                bytes > 0 ? ": " : "");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    check->report(check->context, text);
}

static void add_directory(struct catalog_check *check, struct span name, uint64_t directory)
{
    char path[DIRECTORY_NAME_BYTES];
    struct stat there;
    directory_name(directory, path);
    if (fstatat(check->store->collections, path, &there, 0) != 0 || !S_ISDIR(there.st_mode)) {
        complain(check, name, "its directory collections/%s is missing", path);
    }
    for (size_t i = 0; i < check->count; i++) {
        if (check->directories[i] == directory) {
            complain(check, name, "another collection has its directory collections/%s", path);
        }
    }
    if (check->count == check->capacity) {
        check->capacity = check->capacity == 0 ? 64 : 2 * check->capacity;
        check->directories =
            grow(check->directories, size_product(check->capacity, sizeof(uint64_t)));
    }
    check->directories[check->count++] = directory;
}

static void check_name(struct catalog_check *check, struct span key, struct span record)
{
    const struct span name = span_of(key.data + 1, key.bytes - 1);
    if (stored_check(key, record, KIND_NAME, NAME_SETTINGS_OFFSET) != OK) {
        complain(check, name, "its record in the catalogue is damaged");
        return;
    }
    add_directory(check, name, load64(record.data + FORMAT_HEADER_BYTES));
}

static bool is_collection(const struct catalog_check *check, struct span name)
{
    struct name_key key;
    struct span record;
    return name_key(CATALOG_NAME, name, &key) == OK &&
           catalog_record_get(check->txn, check->store->catalog.table, name_key_span(&key),
                              &record) == OK;
}

static void check_alias(struct catalog_check *check, struct span key, struct span record)
{
    const struct span alias = span_of(key.data + 1, key.bytes - 1);
    if (stored_check(key, record, KIND_ALIAS, FORMAT_HEADER_BYTES + 1) != OK) {
        complain(check, alias, "the alias's record in the catalogue is damaged");
        return;
    }
    const struct span target =
        span_of(record.data + FORMAT_HEADER_BYTES, record.bytes - FORMAT_HEADER_BYTES);
    if (!is_collection(check, target)) {
        complain(check, alias, "the alias leads to %.*s, which is no collection",
                 (int)(target.bytes < 255 ? target.bytes : 255), (const char *)target.data);
    }
    if (is_collection(check, alias)) {
        complain(check, alias, "a collection and an alias have this name");
    }
}

static void check_next(struct catalog_check *check, struct span key, struct span record)
{
    if (stored_check(key, record, KIND_NEXT, FORMAT_HEADER_BYTES + 8) != OK) {
        complain(check, span_of("", 0), "the next directory's number is damaged");
        return;
    }
    check->next = load64(record.data + FORMAT_HEADER_BYTES);
}

static void check_record(struct catalog_check *check, struct span key, struct span record)
{
    if (key.bytes >= 2 && key.data[0] == CATALOG_NAME) {
        check_name(check, key, record);
    } else if (key.bytes >= 2 && key.data[0] == CATALOG_ALIAS) {
        check_alias(check, key, record);
    } else if (key.bytes == 1 && key.data[0] == CATALOG_NEXT) {
        check_next(check, key, record);
    } else if (key.bytes == 1 && key.data[0] == CATALOG_FORMAT) {
        if (stored_check(key, record, KIND_CATALOG, FORMAT_HEADER_BYTES + 8) != OK) {
            complain(check, span_of("", 0), "the record of the format is damaged");
        }
    } else {
        complain(check, span_of("", 0), "the catalogue has an unknown key");
    }
}

/* A number that is given out must never have been. */
static void check_numbers(const struct catalog_check *check)
{
    for (size_t i = 0; i < check->count; i++) {
        if (check->directories[i] >= check->next) {
            complain(check, span_of("", 0),
                     "directory %llu is in use, but the next to be given out is %llu",
                     (unsigned long long)check->directories[i], (unsigned long long)check->next);
        }
    }
}

enum error catalog_verify(struct store *store, void (*report)(void *context, const char *text),
                          void *context)
{
    struct catalog_check check = {.store = store, .report = report, .context = context};
    enum error error = catalog_read_begin(&store->catalog, &check.txn);
    if (error != OK) {
        return error;
    }
    MDB_cursor *cursor;
    MDB_val key, value;
    int result = mdb_cursor_open(check.txn, store->catalog.table, &cursor);
    if (result == 0) {
        result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        while (result == 0) {
            check_record(&check, span_of_lmdb(&key), span_of_lmdb(&value));
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    catalog_read_end(&store->catalog, check.txn);
    check_numbers(&check);
    free(check.directories);
    return result == MDB_NOTFOUND ? OK : error_of_lmdb(result);
}
