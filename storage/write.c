/* The write transaction: begin, puts, commit, publication. */
#include "storage/environment.h"
#include "storage/fault.h"

#include <assert.h>
#include <stdlib.h>

/* ---- beginning ---- */

/* Grow when the map is half full, once: to the size it then keeps. */
static enum error grow_if_due(struct environment *environment)
{
    const uint64_t map = atomic_load(&environment->map_bytes);
    const uint64_t largest = environment->store->options.map_max_bytes;
    const bool due = environment->map_was_full || atomic_load(&environment->used_bytes) > map / 2;
    if (!due || map >= largest || environment->growth_refused) {
        return OK;
    }
    const enum error error = environment_reopen(environment, largest);
    if (error != OK) {
        return error;
    }
    if (atomic_load(&environment->map_bytes) > map) {
        atomic_fetch_add(&environment->map_growths, 1);
        environment->map_was_full = false;
    } else {
        environment->growth_refused = true; /* no address space: go on until the map is full */
    }
    return OK;
}

static enum error begin_transaction(struct environment *environment, MDB_txn **transaction)
{
    int result = mdb_txn_begin(environment->env, NULL, 0, transaction);
    if (result == MDB_PANIC) {
        /* Writing a meta page failed. What was committed before is whole. */
        const enum error error =
            environment_reopen(environment, atomic_load(&environment->map_bytes));
        if (error != OK) {
            return error;
        }
        result = mdb_txn_begin(environment->env, NULL, 0, transaction);
    }
    return store_write_error(environment->store, result);
}

static void begin_vectors(struct write *write, const struct version *current)
{
    const uint32_t count = write->environment->vector_count;
    if (write->vectors == NULL) {
        write->vectors = allocate_zeroed(count > 0 ? count : 1, sizeof *write->vectors);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct version_vector *vector = &current->vectors[i];
        const bool runs = vector->run_count > 0;
        write->vectors[i] = (struct write_vector){
            .counters = vector->counters,
            .tail_exists = runs,
            .tail_slot = runs ? array_get(&vector->run_slots, vector->run_count - 1) : 0};
    }
}

enum error write_begin(struct environment *environment, struct write **write)
{
    *write = NULL;
    assert(!environment->writing);
    if (environment->read_only) {
        return ERROR_READ_ONLY;
    }
    if (environment->env == NULL) {
        return ERROR_IO; /* it could not be opened again */
    }
    environment_wait_for_version(environment);
    enum error error = grow_if_due(environment);
    MDB_txn *transaction = NULL;
    if (error == OK) {
        error = begin_transaction(environment, &transaction);
    }
    if (error != OK) {
        return error;
    }
    const struct version *current = atomic_load(&environment->current);
    struct write *begun = &environment->write;
    begun->environment = environment;
    begun->transaction = transaction;
    begun->failed = OK;
    begun->counters = current->counters;
    begun->changed_count = begun->dead_count = 0;
    begin_vectors(begun, current);
    environment->writing = true;
    fault_enter(environment);
    *write = begun;
    return OK;
}

void write_abort(struct write *write)
{
    if (write == NULL) {
        return;
    }
    mdb_txn_abort(write->transaction);
    fault_leave(write->environment);
    write->transaction = NULL;
    write->environment->writing = false;
}

struct counters *write_counters(struct write *write)
{
    return &write->counters;
}

struct vector_counters *write_vector_counters(struct write *write, uint16_t vector)
{
    assert(vector < write->environment->vector_count);
    return &write->vectors[vector].counters;
}

/* ---- putting ---- */

enum error write_fail(struct write *write, int result)
{
    struct environment *environment = write->environment;
    environment->map_was_full |= result == MDB_MAP_FULL;
    const enum error error = store_write_error(environment->store, result);
    if (write->failed == OK) {
        write->failed = error;
    }
    return error;
}

void write_note(struct write *write, enum change_kind kind, uint16_t vector, uint64_t number,
                uint64_t value)
{
    if (write->changed_count == write->changed_capacity) {
        write->changed_capacity = write->changed_capacity == 0 ? 64 : 2 * write->changed_capacity;
        write->changed =
            grow(write->changed, size_product(write->changed_capacity, sizeof *write->changed));
    }
    write->changed[write->changed_count++] = (struct changed){kind, vector, number, value};
}

enum error write_reserve(struct write *write, enum table table, struct span key, size_t bytes,
                         unsigned flags, uint8_t **value)
{
    MDB_val lmdb_key = lmdb_value(key), data = {bytes, NULL};
    const int result = mdb_put(write->transaction, write->environment->tables[table], &lmdb_key,
                               &data, flags | MDB_RESERVE);
    *value = data.mv_data;
    return result == 0 ? OK : write_fail(write, result);
}

bool write_holds(const struct write *write, const MDB_val *found)
{
    const struct version *current = atomic_load(&write->environment->current);
    const struct extent map = {current->extent.base, atomic_load(&write->environment->map_bytes)};
    return !extent_holds(&map, found->mv_data, 1) ||
           extent_holds(&current->extent, found->mv_data, found->mv_size);
}

enum error write_get(struct write *write, enum table table, struct span key, struct span *value)
{
    MDB_val lmdb_key = lmdb_value(key), found;
    const int result =
        mdb_get(write->transaction, write->environment->tables[table], &lmdb_key, &found);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    if (!write_holds(write, &found)) {
        return ERROR_CORRUPT;
    }
    *value = span_of_lmdb(&found);
    return OK;
}

/* ---- committing ---- */

static enum error put_counters(struct write *write)
{
    const struct key key = key_main(MAIN_COUNTERS);
    const uint32_t vectors = write->environment->vector_count;
    const size_t bytes = COUNTERS_BYTES + vectors * sizeof(struct vector_counters);
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_MAIN, key_span(&key), bytes, 0, &value);
    if (error != OK) {
        return error;
    }
    memcpy(value + FORMAT_HEADER_BYTES, &write->counters, sizeof write->counters);
    store64(value + FORMAT_HEADER_BYTES + sizeof write->counters, mdb_txn_id(write->transaction));
    for (uint32_t i = 0; i < vectors; i++) {
        memcpy(value + COUNTERS_BYTES + i * sizeof(struct vector_counters),
               &write->vectors[i].counters, sizeof(struct vector_counters));
    }
    value_seal(key_span(&key), value, bytes, KIND_COUNTERS, 0);
    return OK;
}

/* A disk that says EIO with room to spare is failing: after one failed flush nobody knows what the
 * kernel has dropped, so nothing more is written until a restart. Reading goes on. */
static enum error commit_failed(struct environment *environment, int result)
{
    environment->map_was_full |= result == MDB_MAP_FULL;
    const enum error error = store_write_error(environment->store, result);
    environment->read_only |= error == ERROR_IO;
    return error;
}

/* The new snapshot, from the version before or, if that fails, from the tables. */
static enum error publish(struct environment *environment, const struct write *write)
{
    struct version *version;
    enum error error = version_begin(environment, &version);
    if (error == OK) {
        error = version_update(version, atomic_load(&environment->current), write->changed,
                               write->changed_count);
        if (error == OK) {
            environment_publish(environment, version);
            return OK;
        }
        version_end(version);
    }
    return environment_reopen(environment, atomic_load(&environment->map_bytes));
}

enum error write_commit(struct write *write)
{
    struct environment *environment = write->environment;
    enum error error = write->failed;
    if (error == OK) {
        error = write_dead_bits(write);
    }
    if (error == OK) {
        error = put_counters(write);
    }
    failpoint("storage-commit-before");
    if (error != OK) {
        write_abort(write);
        return error;
    }
    const int result = mdb_txn_commit(write->transaction);
    write->transaction = NULL;
    environment->writing = false;
    if (result != 0) {
        fault_leave(environment);
        return commit_failed(environment, result);
    }
    failpoint("storage-commit-after");
    error = publish(environment, write);
    fault_leave(environment);
    failpoint("storage-published");
    return error;
}
