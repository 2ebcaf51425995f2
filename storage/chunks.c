/* Chunks of slots: their dead bits, and giving back what dead slots have stored. */
#include "storage/chunks.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/environment.h"
#include "storage/run.h"

/* ---- dead bits ---- */

static uint64_t chunk_slots(const struct environment *environment)
{
    return UINT64_C(1) << environment->chunk_bits;
}

/* Where a chunk's word is; NULL: below the first slot, or nothing near it is dead. */
static _Atomic uint64_t *dead_word(const struct version *version, uint64_t chunk)
{
    const uint64_t base = chunk_of(version->environment, version->environment->first_slot);
    return chunk < base ? NULL : array_at(&version->dead, chunk - base);
}

uint64_t version_dead_locator(const struct version *version, uint64_t chunk)
{
    _Atomic uint64_t *word = dead_word(version, chunk);
    return word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
}

enum error version_take_dead(struct version *version, struct span key, const MDB_val *value)
{
    uint64_t locator = LOCATOR_ALL_DEAD;
    enum error error = OK;
    if (key.bytes != 9) {
        return ERROR_CORRUPT;
    }
    if (value->mv_size != ALL_DEAD_BYTES) {
        error = locator_make(&version->extent, value, &locator);
    } else if (!extent_holds(&version->extent, value->mv_data, value->mv_size)) {
        error = ERROR_CORRUPT;
    } else {
        error = stored_check(key, span_of_lmdb(value), KIND_DEAD, ALL_DEAD_BYTES);
    }
    const uint64_t base = chunk_of(version->environment, version->environment->first_slot);
    const uint64_t chunk = load64_big(key.data + 1);
    if (error != OK || chunk < base) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    const bool was = array_get(&version->dead, chunk - base) == LOCATOR_ALL_DEAD;
    version->all_dead += (locator == LOCATOR_ALL_DEAD) - (uint64_t)was;
    array_set(&version->dead, chunk - base, locator);
    return OK;
}

/* The bits of a chunk that has some. ERROR_CORRUPT when they are damaged. */
static enum error chunk_bits(_Atomic uint64_t *word, uint64_t locator, uint64_t chunk,
                             const uint8_t **bits)
{
    const struct span value = locator_span(locator);
    if ((locator & LOCATOR_CHECKED) == 0) {
        const struct key key = key_dead(chunk);
        const enum error error = stored_check(key_span(&key), value, KIND_DEAD,
                                              FORMAT_PAGED_HEADER_BYTES + FORMAT_DEAD_BYTES);
        if (error != OK) {
            return error;
        }
        atomic_fetch_or_explicit(word, LOCATOR_CHECKED, memory_order_relaxed);
    }
    *bits = value.data + FORMAT_PAGED_HEADER_BYTES;
    return OK;
}

bool view_is_dead(const struct view *view, uint64_t slot)
{
    const uint64_t chunk = chunk_of(view->environment, slot);
    _Atomic uint64_t *word = dead_word(view->version, chunk);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    const uint8_t *bits;
    if (locator == 0 || locator == LOCATOR_ALL_DEAD) {
        return locator != 0;
    }
    if (chunk_bits(word, locator, chunk, &bits) != OK) {
        /* The bits are lost, but a live slot has a row and a dead one none. */
        struct point_row row;
        return view_point(view, slot, &row) == ERROR_NOT_FOUND;
    }
    const size_t bit = (size_t)(slot & (chunk_slots(view->environment) - 1));
    return bits[bit / 8] >> bit % 8 & 1;
}

/* Damaged bits made anew: below the next slot, what has no row is dead. */
static enum error rebuild_bits(struct write *write, uint64_t chunk, uint8_t *bits)
{
    const uint64_t slots = chunk_slots(write->environment);
    const uint64_t first = chunk << write->environment->chunk_bits;
    for (uint64_t i = 0; i < slots && first + i < write->counters.next_slot; i++) {
        struct point_row row;
        const enum error error = write_read_point(write, first + i, &row);
        if (error == ERROR_NOT_FOUND) {
            bits[i / 8] |= (uint8_t)(1u << i % 8);
        } else if (error != OK && error != ERROR_CORRUPT) {
            return error;
        }
    }
    return OK;
}

static enum error load_bits(struct write *write, uint64_t chunk, uint8_t *bits)
{
    const struct key key = key_dead(chunk);
    struct span value;
    memset(bits, 0, FORMAT_DEAD_BYTES);
    enum error error = write_get(write, TABLE_MAIN, key_span(&key), &value);
    if (error == ERROR_NOT_FOUND) {
        return OK;
    }
    if (error == OK) {
        error = stored_check(key_span(&key), value, KIND_DEAD,
                             FORMAT_PAGED_HEADER_BYTES + FORMAT_DEAD_BYTES);
    }
    if (error == ERROR_CORRUPT) {
        return rebuild_bits(write, chunk, bits);
    }
    if (error == OK) {
        memcpy(bits, value.data + FORMAT_PAGED_HEADER_BYTES, FORMAT_DEAD_BYTES);
    }
    return error;
}

static enum error put_bits(struct write *write, uint64_t chunk, const uint8_t *bits)
{
    const struct key key = key_dead(chunk);
    const size_t bytes = paged_bytes(FORMAT_PAGED_HEADER_BYTES + FORMAT_DEAD_BYTES);
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_MAIN, key_span(&key), bytes, 0, &value);
    if (error != OK) {
        return error;
    }
    memset(value, 0, bytes);
    store64(value + FORMAT_HEADER_BYTES, chunk);
    memcpy(value + FORMAT_PAGED_HEADER_BYTES, bits, FORMAT_DEAD_BYTES);
    value_seal(key_span(&key), value, bytes, KIND_DEAD, 0);
    write_note(write, CHANGE_DEAD, 0, chunk, 0);
    return OK;
}

static int compare_slots(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* At the commit and not one by one: a group of deletes often falls into the same chunks. */
enum error write_dead_bits(struct write *write)
{
    if (write->dead_count > 0) {
        qsort(write->dead, write->dead_count, sizeof *write->dead, compare_slots);
    }
    uint8_t bits[FORMAT_DEAD_BYTES];
    const uint64_t slots = chunk_slots(write->environment);
    for (size_t i = 0; i < write->dead_count;) {
        const uint64_t chunk = chunk_of(write->environment, write->dead[i]);
        enum error error = load_bits(write, chunk, bits);
        if (error != OK) {
            return error;
        }
        for (; i < write->dead_count && chunk_of(write->environment, write->dead[i]) == chunk;
             i++) {
            const size_t bit = (size_t)(write->dead[i] & (slots - 1));
            bits[bit / 8] |= (uint8_t)(1u << bit % 8);
        }
        error = put_bits(write, chunk, bits);
        failpoint("storage-put-dead");
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* ---- chunks ---- */

uint32_t environment_chunk_bits(const struct environment *environment)
{
    return environment->chunk_bits;
}

uint64_t view_all_dead_slots(const struct view *view)
{
    return view->version->all_dead << view->environment->chunk_bits;
}

enum error view_chunk(const struct view *view, uint64_t chunk, struct slot_chunk *out)
{
    const struct environment *environment = view->environment;
    const uint64_t slots = chunk_slots(environment), next = view->version->counters.next_slot;
    const uint64_t begin = chunk << environment->chunk_bits;
    *out = (struct slot_chunk){
        .first_slot = begin < environment->first_slot ? environment->first_slot : begin,
        .end_slot = next < begin + slots ? next : begin + slots,
        .full = next >= begin + slots,
    };
    out->end_slot = out->end_slot < out->first_slot ? out->first_slot : out->end_slot;
    _Atomic uint64_t *word = dead_word(view->version, chunk);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    const uint8_t *bits;
    if (locator == LOCATOR_ALL_DEAD) {
        out->all_dead = true;
        out->dead_count = out->end_slot - out->first_slot;
    }
    if (locator == 0 || locator == LOCATOR_ALL_DEAD) {
        return OK;
    }
    const enum error error = chunk_bits(word, locator, chunk, &bits);
    for (uint64_t i = 0; i < slots / 8 && error == OK; i += 8) {
        out->dead_count += (uint64_t)__builtin_popcountll(load64(bits + i));
    }
    return error;
}

enum error write_chunk_all_dead(struct write *write, uint64_t chunk)
{
    const struct key key = key_dead(chunk);
    uint8_t *value;
    failpoint("storage-chunk-dead");
    const enum error error =
        write_reserve(write, TABLE_MAIN, key_span(&key), ALL_DEAD_BYTES, 0, &value);
    if (error != OK) {
        return error;
    }
    store64(value + FORMAT_HEADER_BYTES, chunk);
    value_seal(key_span(&key), value, ALL_DEAD_BYTES, KIND_DEAD, FLAG_ALL_DEAD);
    write_note(write, CHANGE_DEAD, 0, chunk, 0);
    return OK;
}

/* ---- runs ---- */

uint64_t view_run_count(const struct view *view, uint16_t vector)
{
    const struct version_vector *known = version_vector_of(view->version, vector);
    return known == NULL ? 0 : known->run_count;
}

enum error view_run(const struct view *view, uint16_t vector, uint64_t index,
                    struct stored_run *out)
{
    const struct version_vector *known = version_vector_of(view->version, vector);
    const struct layout *layout = &view->environment->vectors[vector].layout;
    if (known == NULL || index >= known->run_count) {
        return ERROR_NOT_FOUND;
    }
    const uint64_t locator = array_get(&known->run_locators, index);
    *out = (struct stored_run){.first_slot = array_get(&known->run_slots, index),
                               .last = index + 1 == known->run_count};
    struct run run;
    if (locator == 0) {
        return ERROR_NOT_FOUND;
    }
    const enum error error = run_open(layout, locator_span(locator), &run);
    if (error == OK) {
        out->count = run.count;
        out->bytes = (size_t)(locator >> 48) * FORMAT_PAGE_BYTES;
    }
    return error;
}

uint64_t view_run_from(const struct view *view, uint16_t vector, uint64_t slot)
{
    const struct version_vector *known = version_vector_of(view->version, vector);
    uint64_t low = 0, high = known == NULL ? 0 : known->run_count;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (array_get(&known->run_slots, middle) <= slot) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? low - 1 : 0;
}

enum error write_run_remove(struct write *write, uint16_t vector, uint64_t first_slot)
{
    const struct key key = key_run(vector, first_slot);
    MDB_val lmdb_key = lmdb_value(key_span(&key));
    failpoint("storage-run-remove");
    const int result =
        mdb_del(write->transaction, write->environment->tables[TABLE_RUNS], &lmdb_key, NULL);
    if (result != 0) {
        return result == MDB_NOTFOUND ? ERROR_CORRUPT : write_fail(write, result);
    }
    write_note(write, CHANGE_RUN, vector, first_slot, 0);
    return OK;
}

void write_close_tails(struct write *write)
{
    for (uint32_t i = 0; i < write->environment->vector_count; i++) {
        write->vectors[i].tail_closed = true;
    }
}

/* ---- removed vectors ---- */

/* Where keys begin with a vector's number, or with a byte and then the number. */
static const struct {
    enum table table;
    uint8_t first; /* 0: no such byte */
} homes[] = {
    {TABLE_RUNS, 0},           {TABLE_BLOCKS, 0},        {TABLE_PARTITIONS, 0},
    {TABLE_VECTORS, 0},        {TABLE_LISTS, 0},         {TABLE_MAIN, MAIN_GENERATION},
    {TABLE_MAIN, MAIN_CENTRE}, {TABLE_MAIN, MAIN_EPOCH}, {TABLE_MAIN, MAIN_MOVED},
    {TABLE_MAIN, MAIN_RECALL},
};
#define HOME_COUNT (sizeof homes / sizeof homes[0])

struct prefix {
    uint8_t bytes[3];
    size_t count;
};

static struct prefix home_prefix(size_t home, uint16_t vector)
{
    struct prefix prefix = {{homes[home].first}, homes[home].first == 0 ? 2 : 3};
    store16_big(prefix.bytes + prefix.count - 2, vector);
    return prefix;
}

/* The first key with the prefix; MDB_NOTFOUND when there is none. */
static int find_prefix(MDB_cursor *cursor, const struct extent *extent, const struct prefix *prefix)
{
    MDB_val key = lmdb_value(span_of(prefix->bytes, prefix->count)), value;
    const int result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (result != 0) {
        return result;
    }
    if (extent != NULL && !extent_holds(extent, key.mv_data, key.mv_size)) {
        return MDB_CORRUPTED;
    }
    return key.mv_size > prefix->count && memcmp(key.mv_data, prefix->bytes, prefix->count) == 0
               ? 0
               : MDB_NOTFOUND;
}

enum error view_vector_left(const struct view *view, uint16_t vector, bool *left)
{
    *left = false;
    for (size_t i = 0; i < HOME_COUNT && !*left; i++) {
        const struct prefix prefix = home_prefix(i, vector);
        MDB_cursor *cursor;
        int result =
            mdb_cursor_open(view->transaction, view->environment->tables[homes[i].table], &cursor);
        if (result != 0) {
            return error_of_lmdb(result);
        }
        result = find_prefix(cursor, &view->version->extent, &prefix);
        mdb_cursor_close(cursor);
        if (result != 0 && result != MDB_NOTFOUND) {
            return error_of_lmdb(result);
        }
        *left = result == 0;
    }
    return OK;
}

enum error write_vector_remove(struct write *write, uint16_t vector, size_t values)
{
    size_t removed = 0;
    int result = 0;
    assert(write->environment->vectors[vector].shape.removed);
    write->vectors[vector].counters = (struct vector_counters){0};
    for (size_t i = 0; i < HOME_COUNT && result == 0 && removed < values; i++) {
        const struct prefix prefix = home_prefix(i, vector);
        MDB_cursor *cursor;
        result = mdb_cursor_open(write->transaction, write->environment->tables[homes[i].table],
                                 &cursor);
        if (result != 0) {
            break;
        }
        for (; removed < values && result == 0; removed += result == 0) {
            result = find_prefix(cursor, NULL, &prefix);
            if (result == 0) {
                result = mdb_cursor_del(cursor, 0);
            }
        }
        mdb_cursor_close(cursor);
        result = result == MDB_NOTFOUND ? 0 : result;
        failpoint("storage-vector-remove");
    }
    return result == 0 ? OK : write_fail(write, result);
}
