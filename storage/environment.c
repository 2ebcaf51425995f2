/* Making, opening and closing a collection's environment; the gate. */
#include "storage/environment.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fault.h"
#include "storage/files.h"

/* Versions alive at once. Each pinned one holds back the pages its snapshot needs and a row of the
 * reader table per reader; when that many are pinned, the writer waits for a view to close. */
#define LIVING_MAX 16u

/* Above these a shape is nonsense: the sizes of 65,536 dims, with room. */
#define SHAPE_DIM_MAX 65536u
#define SHAPE_CODE_BYTES_MAX 65536u
#define SHAPE_BLOCK_BYTES_MAX (1u << 20)

static const char *const table_names[TABLE_COUNT] = {NULL,    "ids",    "rows",    "runs", "blocks",
                                                     "parts", "fields", "vectors", "lists"};

char *environment_path(const struct store *store, uint64_t directory)
{
    char name[DIRECTORY_NAME_BYTES];
    directory_name(directory, name);
    const size_t bytes = strlen(store->path) + sizeof "/collections/" + sizeof name;
    char *path = allocate(bytes);
    snprintf(path, bytes, "%s/collections/%s", store->path, name);
    return path;
}

int environment_open_tables(MDB_txn *txn, MDB_dbi tables[TABLE_COUNT], unsigned flags)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        const int result =
            mdb_dbi_open(txn, table_names[i], table_names[i] == NULL ? 0 : flags, &tables[i]);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

/* ---- creating ---- */

static int put_first_record(MDB_txn *txn, MDB_dbi table, uint64_t directory, uint32_t chunk_bits)
{
    const struct key key = key_main(MAIN_COLLECTION);
    uint8_t record[COLLECTION_BYTES] = {0};
    store64(record + FORMAT_HEADER_BYTES, directory);
    store32(record + FORMAT_HEADER_BYTES + 8, chunk_bits);
    value_seal(key_span(&key), record, sizeof record, KIND_COLLECTION, 0);
    MDB_val lmdb_key = lmdb_value(key_span(&key));
    MDB_val value = lmdb_value(span_of(record, sizeof record));
    return mdb_put(txn, table, &lmdb_key, &value, 0);
}

static int create_tables(MDB_env *env, uint64_t directory, uint32_t chunk_bits)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(env, NULL, 0, &txn);
    if (result != 0) {
        return result;
    }
    MDB_dbi tables[TABLE_COUNT];
    result = environment_open_tables(txn, tables, MDB_CREATE);
    if (result == 0) {
        result = put_first_record(txn, tables[TABLE_MAIN], directory, chunk_bits);
    }
    if (result != 0) {
        mdb_txn_abort(txn);
        return result;
    }
    return mdb_txn_commit(txn);
}

enum error environment_create(struct store *store, uint64_t directory)
{
    char *path = environment_path(store, directory);
    const struct map_options options = {.bytes = store->options.map_initial_bytes,
                                        .readers_max = SPARE_READERS,
                                        .tables_max = TABLE_COUNT,
                                        .create = true};
    MDB_env *env;
    enum error error = map_open(path, &options, &env);
    free(path);
    if (error != OK) {
        return error;
    }
    error = store_write_error(store, create_tables(env, directory, store->options.slot_chunk_bits));
    mdb_env_close(env);
    if (error != OK) {
        return error;
    }
    /* LMDB flushes the file, not the directory that names it. */
    char name[DIRECTORY_NAME_BYTES];
    directory_name(directory, name);
    int descriptor;
    error = directory_open(store->collections, name, &descriptor);
    if (error == OK) {
        error = directory_sync(descriptor);
        close(descriptor);
    }
    return error;
}

/* ---- opening and closing LMDB ---- */

static enum error open_handles(struct environment *environment)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(environment->env, NULL, MDB_RDONLY, &txn);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    result = environment_open_tables(txn, environment->tables, 0);
    if (result != 0) {
        mdb_txn_abort(txn);
        return result == MDB_NOTFOUND ? ERROR_CORRUPT : error_of_lmdb(result);
    }
    return error_of_lmdb(mdb_txn_commit(txn)); /* keeps the handles */
}

static enum error load_first(struct environment *environment)
{
    struct version *version;
    enum error error = version_begin(environment, &version);
    if (error != OK) {
        return error;
    }
    error = version_load(version);
    if (error != OK) {
        version_end(version);
        return error;
    }
    environment_publish(environment, version);
    return OK;
}

static void close_map(struct environment *environment)
{
    versions_free(environment);
    if (environment->env != NULL) {
        mdb_env_close(environment->env);
    }
    environment->env = NULL;
}

/* Open LMDB and publish what it holds. */
static enum error open_map(struct environment *environment, uint64_t bytes)
{
    const struct map_options options = {
        .bytes = bytes,
        .readers_max =
            (uint32_t)environment->living_max * environment->reader_count + SPARE_READERS,
        .tables_max = TABLE_COUNT};
    fault_enter(environment);
    enum error error = map_open(environment->path, &options, &environment->env);
    if (error == OK) {
        error = open_handles(environment);
    }
    if (error == OK) {
        error = load_first(environment);
    }
    if (error != OK) {
        close_map(environment);
    }
    fault_leave(environment);
    return error;
}

/* ---- the gate ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t environment_oldest_reader_ns(struct environment *environment)
{
    versions_reclaim(environment);
    const struct version *current = atomic_load(&environment->current);
    const uint64_t now = now_ns();
    uint64_t oldest = 0;
    for (const struct version *v = environment->living; v != NULL; v = v->next) {
        if (v != current && now - v->replaced_ns > oldest) {
            oldest = now - v->replaced_ns;
        }
    }
    return oldest;
}

void environment_publish(struct environment *environment, struct version *version)
{
    if (environment->living != NULL) {
        environment->living->replaced_ns = now_ns();
    }
    version->next = environment->living;
    environment->living = version;
    environment->living_count++;
    atomic_store(&environment->current, version);
    versions_reclaim(environment);
}

/* Wait for readers until done(). */
static void wait_released(struct environment *environment,
                          bool (*done)(struct environment *environment))
{
    if (done(environment)) {
        return;
    }
    pthread_mutex_lock(&environment->mutex);
    atomic_store(&environment->waiting, true);
    while (!done(environment)) {
        pthread_cond_wait(&environment->released, &environment->mutex);
    }
    atomic_store(&environment->waiting, false);
    pthread_mutex_unlock(&environment->mutex);
}

static bool version_available(struct environment *environment)
{
    versions_reclaim(environment);
    return environment->living_count < environment->living_max;
}

void environment_wait_for_version(struct environment *environment)
{
    wait_released(environment, version_available);
}

static bool nothing_pinned(struct environment *environment)
{
    for (uint32_t i = 0; i < environment->reader_count; i++) {
        if (atomic_load(&environment->pins[i].version) != NULL) {
            return false;
        }
    }
    return true;
}

static enum error do_nothing(struct environment *environment, void *context)
{
    (void)environment;
    (void)context;
    return OK;
}

enum error environment_reopen(struct environment *environment, uint64_t bytes)
{
    return environment_reopen_with(environment, bytes, do_nothing, NULL);
}

enum error environment_reopen_with(struct environment *environment, uint64_t bytes,
                                   enum error (*between)(struct environment *environment,
                                                         void *context),
                                   void *context)
{
    const uint64_t before = atomic_load(&environment->map_bytes);
    atomic_store(&environment->current, NULL);
    wait_released(environment, nothing_pinned);
    failpoint("storage-reopen-closed");
    close_map(environment);
    const enum error between_error = between(environment, context);
    enum error error = open_map(environment, bytes);
    if (error != OK && bytes != before) {
        error = open_map(environment, before);
    }
    failpoint("storage-reopen-opened");
    pthread_mutex_lock(&environment->mutex);
    environment->failed = error != OK;
    pthread_cond_broadcast(&environment->opened);
    pthread_mutex_unlock(&environment->mutex);
    return error == OK ? between_error : error;
}

/* ---- opening and closing ---- */

static bool shape_is_valid(const struct environment_shape *shape)
{
    if (shape->vector_count > ENVIRONMENT_VECTORS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < shape->vector_count; i++) {
        const struct vector_shape *vector = &shape->vectors[i];
        if (vector->dim > SHAPE_DIM_MAX || vector->code_bytes > SHAPE_CODE_BYTES_MAX ||
            vector->block_bytes > SHAPE_BLOCK_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

static struct environment_vector *vectors_new(const struct environment_shape *shape)
{
    struct environment_vector *vectors =
        allocate_zeroed(shape->vector_count > 0 ? shape->vector_count : 1, sizeof *vectors);
    for (uint32_t i = 0; i < shape->vector_count; i++) {
        vectors[i] = (struct environment_vector){shape->vectors[i], layout_of(&shape->vectors[i])};
    }
    return vectors;
}

static struct environment *environment_new(struct store *store, uint64_t directory,
                                           const struct environment_shape *shape)
{
    struct environment *environment = allocate_zeroed(1, sizeof *environment);
    environment->store = store;
    environment->directory = directory;
    environment->path = environment_path(store, directory);
    environment->first_slot = shape->first_slot;
    environment->vector_count = shape->vector_count;
    environment->vectors = vectors_new(shape);
    environment->reader_count = store->options.reader_count;
    environment->living_max =
        environment->reader_count + 2 < LIVING_MAX ? environment->reader_count + 2 : LIVING_MAX;
    environment->pins =
        allocate_aligned(size_product(environment->reader_count, sizeof(struct reader_pin)));
    for (uint32_t i = 0; i < environment->reader_count; i++) {
        atomic_init(&environment->pins[i].version, NULL);
    }
    pthread_mutex_init(&environment->mutex, NULL);
    pthread_cond_init(&environment->opened, NULL);
    pthread_cond_init(&environment->released, NULL);
    return environment;
}

uint64_t environment_map_bytes(const struct environment *environment, uint64_t file_bytes)
{
    const struct store_options *options = &environment->store->options;
    return file_bytes > options->map_initial_bytes / 2 ? options->map_max_bytes
                                                       : options->map_initial_bytes;
}

/* A map that was grown stays large: the file says so. */
static uint64_t choose_map_bytes(const struct environment *environment)
{
    char name[DIRECTORY_NAME_BYTES + sizeof "/data.mdb"];
    directory_name(environment->directory, name);
    memcpy(name + DIRECTORY_NAME_BYTES - 1, "/data.mdb", sizeof "/data.mdb");
    struct stat file;
    const bool known = fstatat(environment->store->collections, name, &file, 0) == 0;
    return environment_map_bytes(environment, known ? (uint64_t)file.st_size : 0);
}

enum error environment_open(struct store *store, uint64_t directory,
                            const struct environment_shape *shape, struct environment **environment)
{
    *environment = NULL;
    if (!shape_is_valid(shape)) {
        return ERROR_INVALID;
    }
    if (!store->options.open_marked && store_is_marked(store, directory)) {
        return ERROR_CORRUPT;
    }
    struct environment *opened = environment_new(store, directory, shape);
    const enum error error = open_map(opened, choose_map_bytes(opened));
    if (error != OK) {
        environment_close(opened);
        return error;
    }
    *environment = opened;
    return OK;
}

enum error environment_check_copy(const struct environment *environment, const char *path,
                                  const struct counters *counters)
{
    struct vector_shape shapes[ENVIRONMENT_VECTORS_MAX];
    for (uint32_t i = 0; i < environment->vector_count; i++) {
        shapes[i] = environment->vectors[i].shape;
    }
    const struct environment_shape shape = {shapes, environment->vector_count,
                                            environment->first_slot};
    struct environment *copy = environment_new(environment->store, environment->directory, &shape);
    free(copy->path);
    copy->path = allocate(strlen(path) + 1);
    memcpy(copy->path, path, strlen(path) + 1);
    enum error error = open_map(copy, environment->store->options.map_initial_bytes);
    if (error == OK) {
        const struct version *version = atomic_load(&copy->current);
        error = memcmp(&version->counters, counters, sizeof *counters) == 0 ? OK : ERROR_CORRUPT;
    }
    environment_close(copy);
    return error;
}

static void set_vectors(struct environment *environment, struct environment_vector *vectors,
                        uint32_t count)
{
    environment->vectors = vectors;
    environment->vector_count = count;
    free(environment->write.vectors);
    environment->write.vectors = NULL;
}

struct reshaping {
    struct environment_vector *vectors;
    uint32_t count;
};

static enum error take_shape(struct environment *environment, void *context)
{
    const struct reshaping *reshaping = context;
    set_vectors(environment, reshaping->vectors, reshaping->count);
    return OK;
}

enum error environment_reshape(struct environment *environment,
                               const struct environment_shape *shape)
{
    struct environment_vector *before = environment->vectors;
    const uint32_t count_before = environment->vector_count;
    const uint64_t bytes = atomic_load(&environment->map_bytes);
    assert(!environment->writing);
    if (!shape_is_valid(shape) || shape->vector_count < count_before) {
        return ERROR_INVALID;
    }
    struct reshaping reshaping = {vectors_new(shape), shape->vector_count};
    environment->retired = grow(environment->retired, size_product(environment->retired_count + 1,
                                                                   sizeof *environment->retired));
    const enum error error = environment_reopen_with(environment, bytes, take_shape, &reshaping);
    if (error != OK && environment->env == NULL) {
        /* Not with these: with those before, if it can be. */
        struct reshaping back = {before, count_before};
        const enum error again = environment_reopen_with(environment, bytes, take_shape, &back);
        (void)again; /* the first error tells */
        before = reshaping.vectors;
    }
    environment->retired[environment->retired_count++] = before;
    return error;
}

void environment_close(struct environment *environment)
{
    if (environment == NULL) {
        return;
    }
    assert(!environment->writing && nothing_pinned(environment));
    close_map(environment);
    pthread_cond_destroy(&environment->opened);
    pthread_cond_destroy(&environment->released);
    pthread_mutex_destroy(&environment->mutex);
    free(environment->write.changed);
    free(environment->write.dead);
    free(environment->write.vectors);
    for (size_t i = 0; i < environment->retired_count; i++) {
        free(environment->retired[i]);
    }
    free(environment->retired);
    free(environment->vectors);
    free(environment->pins);
    free(environment->path);
    free(environment);
}

void environment_stats_get(struct environment *environment, struct environment_stats *stats)
{
    *stats = (struct environment_stats){
        .map_bytes = atomic_load(&environment->map_bytes),
        .used_bytes = atomic_load(&environment->used_bytes),
        .map_growths = atomic_load(&environment->map_growths),
        .versions_alive = atomic_load(&environment->versions_alive),
    };
}

size_t environment_blocks_per_value(const struct environment *environment, uint16_t vector)
{
    assert(vector < environment->vector_count);
    return environment->vectors[vector].layout.blocks_per_value;
}

uint64_t environment_directory(const struct environment *environment)
{
    return environment->directory;
}
