/* The data directory: lock, layout, space, trash. */
#include "storage/store_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/files.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TRASH_TRIES 1000

struct store_options store_options_default(void)
{
    return (struct store_options){
        .map_initial_bytes = GIB,
        .map_max_bytes = 256 * GIB,
        .reader_count = 1,
        .ballast_bytes = 64 * MIB,
        .slot_chunk_bits = FORMAT_CHUNK_BITS,
    };
}

void directory_name(uint64_t directory, char name[DIRECTORY_NAME_BYTES])
{
    snprintf(name, DIRECTORY_NAME_BYTES, "%016llx", (unsigned long long)directory);
}

/* ---- space ---- */

static bool space_get(const struct store *store, struct statvfs *space)
{
    return fstatvfs(store->directory, space) == 0;
}

uint64_t store_free_bytes(struct store *store)
{
    struct statvfs space;
    return space_get(store, &space) ? (uint64_t)space.f_bavail * space.f_frsize : 0;
}

static uint64_t default_min_free_bytes(const struct store *store)
{
    struct statvfs space;
    if (!space_get(store, &space)) {
        return GIB;
    }
    const uint64_t share = (uint64_t)space.f_blocks * space.f_frsize / 20;
    return share < GIB ? share : GIB;
}

enum error store_check_space(struct store *store)
{
    return store_free_bytes(store) < store->min_free_bytes ? ERROR_FULL : OK;
}

enum error store_write_error(struct store *store, int result)
{
    /* Less than a group's worth of room: whatever was said, it is the disk that is full. */
    if (result == EIO && store_free_bytes(store) < 16 * MIB) {
        return ERROR_FULL;
    }
    return error_of_lmdb(result);
}

/* The ballast is a convenience: a disk without room for it is no reason not to start. */
static void make_ballast(struct store *store)
{
    const uint64_t bytes = store->options.ballast_bytes;
    if (bytes == 0 || store_free_bytes(store) < store->min_free_bytes + bytes) {
        return;
    }
    const int file = openat(store->directory, "ballast", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                            (mode_t)0600);
    if (file < 0) {
        return;
    }
    struct stat present;
    bool whole = fstat(file, &present) == 0 && (uint64_t)present.st_size >= bytes;
    if (!whole) {
        whole = posix_fallocate(file, 0, (off_t)bytes) == 0;
    }
    close(file);
    if (!whole) {
        store_drop_ballast(store);
    }
}

void store_drop_ballast(struct store *store)
{
    (void)unlinkat(store->directory, "ballast", 0);
}

/* ---- trash ---- */

enum error store_discard(struct store *store, const char *name)
{
    char target[DIRECTORY_NAME_BYTES + 8];
    for (int i = 0; i < TRASH_TRIES; i++) {
        snprintf(target, sizeof target, "%s.%d", name, i);
        if (renameat(store->collections, name, store->trash, target) == 0) {
            enum error error = directory_sync(store->collections);
            if (error == OK) {
                error = directory_sync(store->trash);
            }
            failpoint("storage-discard-moved");
            return error == OK ? directory_remove(store->trash, target) : error;
        }
        if (errno != EEXIST && errno != ENOTEMPTY) {
            return error_of_errno(errno);
        }
    }
    return ERROR_EXISTS;
}

static bool is_directory_name(const char *name, uint64_t *directory)
{
    if (strlen(name) != DIRECTORY_NAME_BYTES - 1 ||
        strspn(name, "0123456789abcdef") != DIRECTORY_NAME_BYTES - 1) {
        return false;
    }
    *directory = strtoull(name, NULL, 16);
    return true;
}

struct tidying {
    struct store *store;
    uint64_t *numbers;
    size_t count;
};

static int compare_number(const void *key, const void *element)
{
    const uint64_t left = *(const uint64_t *)key, right = *(const uint64_t *)element;
    return (left > right) - (left < right);
}

/* Failures are passed over: what cannot be removed must not keep a start from succeeding. */
static enum error discard_unnamed(void *context, const char *name)
{
    const struct tidying *tidying = context;
    uint64_t directory;
    if (!is_directory_name(name, &directory)) {
        return OK;
    }
    if (tidying->count == 0 || bsearch(&directory, tidying->numbers, tidying->count,
                                       sizeof directory, compare_number) == NULL) {
        const enum error error = store_discard(tidying->store, name);
        (void)error;
    }
    return OK;
}

static enum error empty_entry(void *context, const char *name)
{
    const enum error error = directory_remove(*(const int *)context, name);
    (void)error;
    return OK;
}

/* A copy that was being made when the process ended. */
static void remove_copies(struct store *store)
{
    int copies;
    if (directory_open(store->directory, "compact", &copies) != OK) {
        return; /* there was none */
    }
    const enum error error = directory_each(store->directory, "compact", empty_entry, &copies);
    (void)error;
    close(copies);
}

/* What a crash between the two steps of a creation or a deletion left behind. */
static enum error tidy(struct store *store)
{
    struct tidying tidying = {.store = store};
    remove_copies(store);
    enum error error = catalog_numbers(store, &tidying.numbers, &tidying.count);
    if (error == ERROR_CORRUPT) {
        return OK; /* what nobody can tell apart stays where it is */
    }
    if (error == OK) {
        error = directory_each(store->directory, "collections", discard_unnamed, &tidying);
    }
    free(tidying.numbers);
    return error == OK ? directory_each(store->directory, "trash", empty_entry, &store->trash)
                       : error;
}

/* ---- opening ---- */

/* Where a failed start says what and where. */
struct reason {
    const char *directory;
    char *text;
    size_t bytes;
};

__attribute__((format(printf, 3, 4))) static enum error
refuse(const struct reason *reason, enum error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (reason->bytes > 0) {
        vsnprintf(reason->text, reason->bytes, format, arguments);
    }
    va_end(arguments);
    return error;
}

/* With the errno of the call that has just failed. */
static enum error refuse_errno(const struct reason *reason, const char *what)
{
    const int number = errno;
    return refuse(reason, error_of_errno(number), "cannot %s %s: %s", what, reason->directory,
                  strerror(number));
}

static enum error open_directory(struct store *store, bool create, const struct reason *reason)
{
    if (create && mkdir(store->path, 0700) != 0 && errno != EEXIST) {
        return refuse_errno(reason, "create the data directory");
    }
    store->directory = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->directory < 0) {
        return refuse_errno(reason, "open the data directory");
    }
    const char *system = network_file_system(store->directory);
    if (system != NULL && !store->options.allow_network_fs) {
        return refuse(reason, ERROR_INVALID,
                      "%s is on a network file system (%s), where locks and shared maps are not "
                      "safe; storage.allow_network_fs overrides",
                      reason->directory, system);
    }
    struct stat catalog;
    if (!create && fstatat(store->directory, "catalog/data.mdb", &catalog, 0) != 0) {
        if (errno != ENOENT) {
            return refuse_errno(reason, "read the catalogue in");
        }
        return refuse(reason, ERROR_NOT_FOUND, "there is no kith data in %s", reason->directory);
    }
    return OK;
}

/* Who holds the lock, for the message; empty when the file does not say. */
static void read_holder(int file, char *text, size_t bytes)
{
    char number[24] = {0};
    if (pread(file, number, sizeof number - 1, 0) > 0 && strtol(number, NULL, 10) > 0) {
        snprintf(text, bytes, " (process %ld)", strtol(number, NULL, 10));
    } else {
        text[0] = '\0';
    }
}

static void write_holder(int file)
{
    char number[24];
    const int length = snprintf(number, sizeof number, "%ld\n", (long)getpid());
    /* Only the message of somebody else's refusal depends on it. */
    if (ftruncate(file, 0) == 0 && pwrite(file, number, (size_t)length, 0) != length) {
        (void)!ftruncate(file, 0);
    }
}

static enum error take_lock(struct store *store, const struct reason *reason)
{
    store->lock_file =
        openat(store->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)0600);
    if (store->lock_file < 0) {
        return refuse_errno(reason, "lock the data directory");
    }
    if (flock(store->lock_file, LOCK_EX | LOCK_NB) == 0) {
        write_holder(store->lock_file);
        return OK;
    }
    if (errno != EWOULDBLOCK) {
        return refuse_errno(reason, "lock the data directory");
    }
    char holder[40];
    read_holder(store->lock_file, holder, sizeof holder);
    return refuse(reason, ERROR_LOCKED, "%s is in use by another kith%s", reason->directory,
                  holder);
}

static enum error open_below(struct store *store, const char *name, bool create, int *descriptor,
                             const struct reason *reason)
{
    if (create) {
        const enum error error = directory_make(store->directory, name);
        if (error != OK && error != ERROR_EXISTS) {
            return refuse(reason, error, "cannot create %s/%s: %s", reason->directory, name,
                          error_text(error));
        }
    }
    const enum error error = directory_open(store->directory, name, descriptor);
    if (error != OK) {
        return refuse(reason, error, "cannot open %s/%s: %s", reason->directory, name,
                      error_text(error));
    }
    return OK;
}

static enum error find_collection(void *context, const char *name)
{
    uint64_t directory;
    *(bool *)context |= is_directory_name(name, &directory);
    return OK;
}

/* A catalogue that is gone must not be taken for a new one: its collections would be leftovers. */
static enum error check_orphans(struct store *store, const struct reason *reason)
{
    struct stat file;
    bool found = false;
    if (fstatat(store->directory, "catalog/data.mdb", &file, 0) == 0) {
        return OK;
    }
    const enum error error =
        directory_each(store->directory, "collections", find_collection, &found);
    if (error == OK && found) {
        return refuse(reason, ERROR_CORRUPT,
                      "the catalogue in %s is missing although there are collections",
                      reason->directory);
    }
    return error;
}

static enum error open_catalog(struct store *store, bool create, const struct reason *reason)
{
    const enum error orphans = check_orphans(store, reason);
    if (orphans != OK) {
        return orphans;
    }
    const enum error error = catalog_open(store, create);
    if (error == ERROR_NEWER) {
        return refuse(reason, error,
                      "%s was written by a newer kith (this one reads format %d); use that one",
                      reason->directory, FORMAT_NUMBER);
    }
    if (error == ERROR_CORRUPT) {
        return refuse(reason, error, "the catalogue in %s is damaged", reason->directory);
    }
    if (error == ERROR_INVALID) {
        return refuse(reason, error, "%s cannot be used: the system's pages are not 4 KiB",
                      reason->directory);
    }
    if (error != OK) {
        return refuse(reason, error, "cannot open the catalogue in %s: %s", reason->directory,
                      error_text(error));
    }
    return OK;
}

static enum error open_parts(struct store *store, bool create, const struct reason *reason)
{
    enum error error = open_directory(store, create, reason);
    if (error == OK) {
        error = take_lock(store, reason);
    }
    if (error == OK) {
        error = open_below(store, "collections", create, &store->collections, reason);
    }
    if (error == OK) {
        error = open_below(store, "trash", create, &store->trash, reason);
    }
    if (error == OK) {
        store->min_free_bytes = store->options.min_free_bytes > 0 ? store->options.min_free_bytes
                                                                  : default_min_free_bytes(store);
        error = open_catalog(store, create, reason);
    }
    if (error == OK && create) {
        error = tidy(store);
        if (error != OK) {
            return refuse(reason, error, "cannot tidy %s: %s", reason->directory,
                          error_text(error));
        }
        make_ballast(store);
    }
    return error;
}

enum error store_open(const char *directory, bool create, const struct store_options *options,
                      struct store **store, char *why, size_t why_bytes)
{
    *store = NULL;
    const struct reason reason = {directory, why, why_bytes};
    assert(options->reader_count > 0 && options->map_initial_bytes <= options->map_max_bytes);
    struct store *opened = allocate_zeroed(1, sizeof *opened);
    opened->path = allocate(strlen(directory) + 1);
    memcpy(opened->path, directory, strlen(directory) + 1);
    opened->options = *options;
    opened->directory = opened->collections = opened->trash = opened->lock_file = -1;
    pthread_rwlock_init(&opened->catalog.lock, NULL);
    const enum error error = open_parts(opened, create, &reason);
    if (error != OK) {
        store_close(opened);
        return error;
    }
    *store = opened;
    return OK;
}

static void close_descriptor(int descriptor)
{
    if (descriptor >= 0) {
        close(descriptor);
    }
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    catalog_close(store);
    pthread_rwlock_destroy(&store->catalog.lock);
    close_descriptor(store->collections);
    close_descriptor(store->trash);
    close_descriptor(store->directory);
    close_descriptor(store->lock_file); /* last: it gives the lock back */
    free(store->path);
    free(store);
}
