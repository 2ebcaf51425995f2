/* Versions: a snapshot's transactions and the addresses of its large values.
 *
 * A version is loaded by walking the tables once, when an environment is opened, and after that
 * made from the one before and the keys a write changed. Walks take addresses and sizes from leaf
 * pages only; the values' own pages are not touched until somebody reads them. */
#include "storage/environment.h"

#include <assert.h>
#include <stdlib.h>

/* Removed runs below this number are not worth making the directory of runs anew. */
#define RUNS_REMOVED_LEAST 1024u

/* ---- locators ---- */

bool extent_holds(const struct extent *extent, const void *data, size_t bytes)
{
    const uintptr_t from = (uintptr_t)data, base = (uintptr_t)extent->base;
    return from >= base && from - base <= extent->bytes && bytes <= extent->bytes - (from - base);
}

enum error locator_make(const struct extent *extent, const MDB_val *value, uint64_t *locator)
{
    const uintptr_t address = (uintptr_t)value->mv_data;
    const size_t whole = value->mv_size + FORMAT_PAGE_HEADER_BYTES;
    if (address % FORMAT_PAGE_BYTES != FORMAT_PAGE_HEADER_BYTES || whole % FORMAT_PAGE_BYTES != 0 ||
        whole / FORMAT_PAGE_BYTES > FORMAT_PAGES_MAX ||
        !extent_holds(extent, value->mv_data, value->mv_size)) {
        return ERROR_CORRUPT;
    }
    const uintptr_t page = address - FORMAT_PAGE_HEADER_BYTES;
    assert((page & ~LOCATOR_ADDRESS) == 0); /* user addresses have 48 bits */
    *locator = (uint64_t)(whole / FORMAT_PAGE_BYTES) << 48 | page;
    return OK;
}

struct span locator_span(uint64_t locator)
{
    /* The one place where an address kept as a number becomes a pointer again. */
    const uintptr_t page = (uintptr_t)(locator & LOCATOR_ADDRESS);
    return span_of((const uint8_t *)page + FORMAT_PAGE_HEADER_BYTES,
                   (size_t)(locator >> 48) * FORMAT_PAGE_BYTES - FORMAT_PAGE_HEADER_BYTES);
}

/* ---- beginning and ending ---- */

static struct version *version_new(struct environment *environment)
{
    struct version *version = allocate_zeroed(1, sizeof *version);
    version->environment = environment;
    version->transactions = allocate_zeroed(environment->reader_count, sizeof(MDB_txn *));
    version->vector_count = environment->vector_count;
    version->vectors = allocate_zeroed(version->vector_count > 0 ? version->vector_count : 1,
                                       sizeof *version->vectors);
    return version;
}

static void release_arrays(struct version *version)
{
    for (uint32_t i = 0; i < version->vector_count; i++) {
        struct version_vector *vector = &version->vectors[i];
        array_release(&vector->generations);
        array_release(&vector->blocks);
        array_release(&vector->run_slots);
        array_release(&vector->run_locators);
        array_release(&vector->run_hints);
        array_release(&vector->epochs);
        array_release(&vector->partitions);
        vector->partition_count = 0;
        *vector = (struct version_vector){0};
    }
    array_release(&version->dead);
    version->all_dead = 0;
}

static int begin_transaction(MDB_env *env, MDB_txn **transaction)
{
    if (*transaction != NULL) {
        return mdb_txn_renew(*transaction);
    }
    return mdb_txn_begin(env, NULL, MDB_RDONLY, transaction);
}

static int begin_all(struct version *version)
{
    const struct environment *environment = version->environment;
    for (uint32_t i = 0; i < environment->reader_count; i++) {
        const int result = begin_transaction(environment->env, &version->transactions[i]);
        if (result != 0) {
            return result;
        }
        /* Nobody else commits, so all of them see the same snapshot. */
        assert(mdb_txn_id(version->transactions[i]) == mdb_txn_id(version->transactions[0]));
    }
    return 0;
}

enum error version_begin(struct environment *environment, struct version **version)
{
    struct version *taken = environment->spare;
    if (taken != NULL) {
        environment->spare = taken->next;
    } else {
        taken = version_new(environment);
    }
    taken->next = NULL;
    *version = taken;
    const int result = begin_all(taken);
    struct map_state state;
    enum error error = error_of_lmdb(result);
    if (error == OK) {
        error = map_state_get(environment->env, &state);
    }
    if (error != OK) {
        version_end(taken);
        *version = NULL;
        return error;
    }
    taken->extent.bytes = state.used_bytes;
    atomic_store(&environment->map_bytes, state.map_bytes);
    atomic_store(&environment->used_bytes, state.used_bytes);
    return OK;
}

void version_end(struct version *version)
{
    struct environment *environment = version->environment;
    for (uint32_t i = 0; i < environment->reader_count; i++) {
        if (version->transactions[i] != NULL) {
            mdb_txn_reset(version->transactions[i]);
        }
    }
    release_arrays(version);
    version->next = environment->spare;
    environment->spare = version;
}

static void version_free(struct version *version)
{
    for (uint32_t i = 0; i < version->environment->reader_count; i++) {
        mdb_txn_abort(version->transactions[i]);
    }
    release_arrays(version);
    free(version->transactions);
    free(version->vectors);
    free(version);
}

static void free_list(struct version **list)
{
    while (*list != NULL) {
        struct version *version = *list;
        *list = version->next;
        version_free(version);
    }
}

void versions_free(struct environment *environment)
{
    free_list(&environment->living);
    free_list(&environment->spare);
    environment->living_count = 0;
}

static bool is_pinned(const struct environment *environment, const struct version *version)
{
    for (uint32_t i = 0; i < environment->reader_count; i++) {
        if (atomic_load(&environment->pins[i].version) == version) {
            return true;
        }
    }
    return false;
}

void versions_reclaim(struct environment *environment)
{
    const struct version *current = atomic_load(&environment->current);
    struct version **link = &environment->living;
    while (*link != NULL) {
        struct version *version = *link;
        if (version == current || is_pinned(environment, version)) {
            link = &version->next;
        } else {
            *link = version->next;
            environment->living_count--;
            version_end(version);
        }
    }
    atomic_store(&environment->versions_alive, environment->living_count);
}

struct version_vector *version_vector_of(const struct version *version, uint32_t vector)
{
    const bool has_codes =
        vector < version->vector_count && version->environment->vectors[vector].layout.dim > 0;
    return has_codes ? &version->vectors[vector] : NULL;
}

/* ---- generations ---- */

static uint64_t generation_word(const struct version_vector *vector, uint64_t index,
                                enum generation_word word)
{
    return array_get(&vector->generations, index * GENERATION_WORDS + word);
}

static void set_generation_word(struct version_vector *vector, uint64_t index,
                                enum generation_word word, uint64_t v)
{
    array_set(&vector->generations, index * GENERATION_WORDS + word, v);
}

bool version_find_generation(const struct version_vector *vector, uint64_t number, uint64_t *index)
{
    /* Until generations are dropped, a generation's number is its index. */
    if (number < vector->generation_count &&
        generation_word(vector, number, GENERATION_NUMBER) == number) {
        *index = number;
        return true;
    }
    uint64_t low = 0, high = vector->generation_count;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (generation_word(vector, middle, GENERATION_NUMBER) < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index = low;
    return low < vector->generation_count &&
           generation_word(vector, low, GENERATION_NUMBER) == number;
}

static enum error load_locator(const struct version *version, MDB_dbi table, const struct key *key,
                               uint64_t *locator)
{
    MDB_val lmdb_key = lmdb_value(key_span(key)), value;
    const int result = mdb_get(version->transactions[0], table, &lmdb_key, &value);
    return result == 0 ? locator_make(&version->extent, &value, locator) : error_of_lmdb(result);
}

/* Take over one generation's record; a new one comes behind the last. */
static enum error take_generation(struct version *version, struct span key, struct span record)
{
    enum error error = stored_check(key, record, KIND_GENERATION, GENERATION_BYTES);
    if (error != OK || key.bytes != 11) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    const uint16_t v = load16_big(key.data + 1);
    struct version_vector *vector = version_vector_of(version, v);
    if (vector == NULL) {
        return OK; /* not reached by readers; verify reports it */
    }
    const uint64_t number = load64_big(key.data + 3);
    uint64_t index, centre = 0;
    if (!version_find_generation(vector, number, &index)) {
        index = vector->generation_count;
        const uint64_t last = index - 1;
        if (index > 0 && number <= generation_word(vector, last, GENERATION_NUMBER)) {
            return ERROR_CORRUPT;
        }
        const uint64_t first = index == 0 ? 0
                                          : generation_word(vector, last, GENERATION_FIRST) +
                                                generation_word(vector, last, GENERATION_VALUES);
        set_generation_word(vector, index, GENERATION_NUMBER, number);
        set_generation_word(vector, index, GENERATION_FIRST, first);
        vector->generation_count++;
    }
    uint64_t moved = 0;
    const struct key moved_key = key_centre(MAIN_MOVED, v, number);
    error = load_locator(version, version->environment->tables[TABLE_MAIN], &moved_key, &moved);
    if (error != OK && error != ERROR_NOT_FOUND) {
        return error;
    }
    const uint16_t flags = value_flags(record.data);
    if (flags & FLAG_HAS_CENTRE) {
        const struct key centre_key = key_centre(MAIN_CENTRE, v, number);
        error =
            load_locator(version, version->environment->tables[TABLE_MAIN], &centre_key, &centre);
        if (error != OK) {
            return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
        }
    }
    set_generation_word(vector, index, GENERATION_CODES, load64(record.data + FORMAT_HEADER_BYTES));
    set_generation_word(vector, index, GENERATION_VALUES,
                        load64(record.data + FORMAT_HEADER_BYTES + 8));
    set_generation_word(vector, index, GENERATION_FLAGS, flags);
    set_generation_word(vector, index, GENERATION_CENTRE, centre);
    set_generation_word(vector, index, GENERATION_MOVED, moved);
    return OK;
}

/* A dropped generation: those behind it move up. Its block values stay in their array until the
 * next opening, reached by nobody. */
static void remove_generation(struct version *version, uint16_t v, uint64_t number)
{
    struct version_vector *vector = version_vector_of(version, v);
    uint64_t index;
    if (vector == NULL || !version_find_generation(vector, number, &index)) {
        return;
    }
    const uint64_t end = vector->generation_count * GENERATION_WORDS;
    for (uint64_t at = index * GENERATION_WORDS; at < end; at++) {
        const uint64_t next = at + GENERATION_WORDS;
        array_set(&vector->generations, at, next < end ? array_get(&vector->generations, next) : 0);
    }
    vector->generation_count--;
}

/* ---- runs ---- */

/* Make the chunks that a run reaches into lead to it, unless an earlier run does. */
static void set_run_hints(struct version *version, uint16_t v, uint64_t index, uint64_t first_slot,
                          size_t value_bytes)
{
    const struct layout *layout = &version->environment->vectors[v].layout;
    struct array *hints = &version->vectors[v].run_hints;
    const uint64_t base = version->environment->first_slot >> RUN_HINT_BITS;
    /* At least as many as it holds: the value is padded. */
    const uint64_t rows = (value_bytes - FORMAT_PAGED_HEADER_BYTES) / layout->row_bytes;
    const uint64_t last = rows > UINT64_MAX - first_slot ? UINT64_MAX : first_slot + rows;
    for (uint64_t chunk = (first_slot >> RUN_HINT_BITS) - base;
         chunk <= (last >> RUN_HINT_BITS) - base; chunk++) {
        if (array_get(hints, chunk) == 0) {
            array_set(hints, chunk, index + 1);
        }
    }
}

static enum error take_run(struct version *version, struct span key, const MDB_val *value)
{
    uint64_t locator;
    const enum error error = locator_make(&version->extent, value, &locator);
    if (error != OK || key.bytes != 10) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    const uint16_t v = load16_big(key.data);
    struct version_vector *vector = version_vector_of(version, v);
    if (vector == NULL) {
        return OK;
    }
    const uint64_t first_slot = load64_big(key.data + 2);
    if (first_slot < version->environment->first_slot) {
        return ERROR_CORRUPT;
    }
    uint64_t index = vector->run_count;
    if (index > 0) {
        const uint64_t last = array_get(&vector->run_slots, index - 1);
        if (first_slot < last) {
            return ERROR_CORRUPT;
        }
        index -= first_slot == last; /* the tail, extended */
    }
    array_set(&vector->run_slots, index, first_slot);
    array_set(&vector->run_locators, index, locator);
    set_run_hints(version, v, index, first_slot, value->mv_size);
    vector->run_count = index + 1;
    return OK;
}

/* A run that is gone: its place stays, or all behind it would move. */
static void remove_run(struct version *version, uint16_t v, uint64_t first_slot)
{
    struct version_vector *vector = version_vector_of(version, v);
    uint64_t index;
    if (vector != NULL && version_find_run(version, v, first_slot, &index) &&
        array_get(&vector->run_slots, index) == first_slot &&
        array_get(&vector->run_locators, index) != 0) {
        array_set(&vector->run_locators, index, 0);
        vector->runs_removed++;
    }
}

/* Leave the places of removed runs out, once they are the most. */
static void compact_runs(struct version *version, uint16_t v)
{
    struct version_vector *vector = &version->vectors[v];
    if (vector->runs_removed < RUNS_REMOVED_LEAST || vector->runs_removed * 2 < vector->run_count) {
        return;
    }
    struct version_vector before = *vector;
    vector->run_count = vector->runs_removed = 0;
    vector->run_slots = vector->run_locators = vector->run_hints = (struct array){NULL, 0};
    for (uint64_t i = 0; i < before.run_count; i++) {
        const uint64_t locator = array_get(&before.run_locators, i);
        const uint64_t first_slot = array_get(&before.run_slots, i);
        if (locator != 0) {
            array_set(&vector->run_slots, vector->run_count, first_slot);
            array_set(&vector->run_locators, vector->run_count, locator);
            set_run_hints(version, v, vector->run_count++, first_slot, locator_span(locator).bytes);
        }
    }
    array_release(&before.run_slots);
    array_release(&before.run_locators);
    array_release(&before.run_hints);
}

bool version_find_run(const struct version *version, uint16_t v, uint64_t slot, uint64_t *index)
{
    const struct version_vector *vector = version_vector_of(version, v);
    if (vector == NULL) {
        return false;
    }
    const uint64_t base = version->environment->first_slot >> RUN_HINT_BITS;
    const uint64_t chunk = slot >> RUN_HINT_BITS;
    const uint64_t hint = chunk < base ? 0 : array_get(&vector->run_hints, chunk - base);
    if (hint == 0) {
        return false;
    }
    /* Runs that reach into a chunk: each slot begins at most one, and one comes from before. */
    uint64_t low = hint - 1, high = low + (1u << RUN_HINT_BITS) + 1;
    high = high < vector->run_count ? high : vector->run_count;
    if (array_get(&vector->run_slots, low) > slot) {
        return false;
    }
    /* Runs of bulk loads are longer than a chunk: mostly the first or the second is it. */
    for (uint64_t step = 1; high - low > step; step *= 2) {
        if (array_get(&vector->run_slots, low + step) > slot) {
            high = low + step;
            break;
        }
        low += step;
    }
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        if (array_get(&vector->run_slots, middle) <= slot) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *index = low;
    return true;
}

/* ---- blocks, partitions, epochs ---- */

static enum error take_blocks(struct version *version, struct span key, const MDB_val *value)
{
    uint64_t locator, index;
    const enum error error = locator_make(&version->extent, value, &locator);
    if (error != OK || key.bytes != 18) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    const uint64_t number = load64_big(key.data + 10);
    struct version_vector *vector = version_vector_of(version, load16_big(key.data));
    /* A value no generation counts is not reached by readers; verify reports it. */
    if (vector != NULL && version_find_generation(vector, load64_big(key.data + 2), &index) &&
        number < generation_word(vector, index, GENERATION_VALUES)) {
        array_set(&vector->blocks, generation_word(vector, index, GENERATION_FIRST) + number,
                  locator);
    }
    return OK;
}

static enum error take_partition(struct version *version, struct span key, const MDB_val *value)
{
    uint64_t locator;
    const enum error error = locator_make(&version->extent, value, &locator);
    if (error != OK || key.bytes != 10) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    struct version_vector *vector = version_vector_of(version, load16_big(key.data));
    const uint64_t index = load64_big(key.data + 2);
    if (vector == NULL) {
        return OK; /* not reached by readers; verify reports it */
    }
    if (index > FORMAT_PARTITIONS_MAX) {
        return ERROR_CORRUPT;
    }
    array_set(&vector->partitions, index, locator);
    if (index >= vector->partition_count) {
        vector->partition_count = index + 1;
    }
    return OK;
}

static void remove_partition(struct version *version, uint16_t v, uint64_t index)
{
    struct version_vector *vector = version_vector_of(version, v);
    if (vector != NULL && index < vector->partition_count) {
        array_set(&vector->partitions, index, 0);
    }
}

static enum error take_epoch(struct version *version, struct span key, const MDB_val *value)
{
    uint64_t locator;
    const enum error error = locator_make(&version->extent, value, &locator);
    if (error != OK || key.bytes != 11) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    const uint64_t epoch = load64_big(key.data + 3);
    struct version_vector *vector = version_vector_of(version, load16_big(key.data + 1));
    if (vector == NULL) {
        return OK;
    }
    if (epoch > UINT32_MAX) {
        return ERROR_CORRUPT;
    }
    array_set(&vector->epochs, epoch, locator);
    return OK;
}

static enum error take_counters(struct version *version)
{
    const struct environment *environment = version->environment;
    const struct key key = key_main(MAIN_COUNTERS);
    struct span value;
    enum error error = table_read(version->transactions[0], environment->tables[TABLE_MAIN],
                                  &version->extent, key_span(&key), &value);
    if (error == ERROR_NOT_FOUND) { /* nothing was written yet */
        version->counters = (struct counters){.next_slot = environment->first_slot};
        return OK; /* the vectors' are zero */
    }
    if (error == OK) {
        error = stored_check(key_span(&key), value, KIND_COUNTERS, COUNTERS_BYTES);
    }
    if (error != OK) {
        return error;
    }
    memcpy(&version->counters, value.data + FORMAT_HEADER_BYTES, sizeof version->counters);
    const size_t each = sizeof(struct vector_counters);
    const size_t stored = (value.bytes - COUNTERS_BYTES) / each;
    for (uint32_t i = 0; i < version->vector_count && i < stored; i++) {
        if (!environment->vectors[i].shape.removed) { /* else they are zero */
            memcpy(&version->vectors[i].counters, value.data + COUNTERS_BYTES + i * each, each);
        }
    }
    /* LMDB's meta pages have no checksum: a damaged one may show an older snapshot. */
    const uint64_t transaction = load64(value.data + FORMAT_HEADER_BYTES + sizeof(struct counters));
    return transaction == mdb_txn_id(version->transactions[0]) ? OK : ERROR_CORRUPT;
}

/* ---- loading ---- */

/* Where the file is mapped: LMDB does not tell, but every page begins with its number. */
static enum error find_base(struct version *version)
{
    struct environment *environment = version->environment;
    const struct key key = key_main(MAIN_COLLECTION);
    MDB_val lmdb_key = lmdb_value(key_span(&key)), value;
    const int result =
        mdb_get(version->transactions[0], environment->tables[TABLE_MAIN], &lmdb_key, &value);
    if (result != 0) {
        return result == MDB_NOTFOUND ? ERROR_CORRUPT : error_of_lmdb(result);
    }
    const uintptr_t address = (uintptr_t)value.mv_data;
    const uintptr_t in_page = address % FORMAT_PAGE_BYTES;
    const uint8_t *page = (const uint8_t *)value.mv_data - in_page;
    const uint64_t number = load64(page);
    if (number >= version->extent.bytes / FORMAT_PAGE_BYTES) {
        return ERROR_CORRUPT;
    }
    version->extent.base = page - number * FORMAT_PAGE_BYTES;
    if (!extent_holds(&version->extent, value.mv_data, value.mv_size)) {
        return ERROR_CORRUPT;
    }
    const enum error error =
        stored_check(key_span(&key), span_of_lmdb(&value), KIND_COLLECTION, COLLECTION_BYTES);
    if (error != OK) {
        return error;
    }
    const uint32_t bits = load32((const uint8_t *)value.mv_data + FORMAT_HEADER_BYTES + 8);
    if (bits < FORMAT_CHUNK_BITS_MIN || bits > FORMAT_CHUNK_BITS) {
        return ERROR_CORRUPT;
    }
    environment->chunk_bits = bits;
    return OK;
}

/* One entry of the main table; others than these are not of our business here. */
static enum error take_main(struct version *version, struct span key, const MDB_val *value)
{
    switch (key.data[0]) {
    case MAIN_GENERATION:
        if (!extent_holds(&version->extent, value->mv_data, value->mv_size)) {
            return ERROR_CORRUPT;
        }
        return take_generation(version, key, span_of_lmdb(value));
    case MAIN_EPOCH:
        return take_epoch(version, key, value);
    case MAIN_DEAD:
        return version_take_dead(version, key, value);
    default:
        return OK;
    }
}

static enum error walk(struct version *version, enum table table,
                       enum error (*take)(struct version *, struct span, const MDB_val *))
{
    MDB_cursor *cursor;
    enum error error = error_of_lmdb(
        mdb_cursor_open(version->transactions[0], version->environment->tables[table], &cursor));
    if (error != OK) {
        return error;
    }
    MDB_val key, value;
    int result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (result == 0 && error == OK) {
        const bool inside =
            key.mv_size > 0 && extent_holds(&version->extent, key.mv_data, key.mv_size);
        error = inside ? take(version, span_of_lmdb(&key), &value) : ERROR_CORRUPT;
        if (error == OK) {
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return error == OK && result != MDB_NOTFOUND ? error_of_lmdb(result) : error;
}

enum error version_load(struct version *version)
{
    enum error error = find_base(version);
    if (error == OK) {
        error = take_counters(version);
    }
    if (error == OK) {
        error = walk(version, TABLE_MAIN, take_main);
    }
    if (error == OK) {
        error = walk(version, TABLE_BLOCKS, take_blocks);
    }
    if (error == OK) {
        error = walk(version, TABLE_PARTITIONS, take_partition);
    }
    return error == OK ? walk(version, TABLE_RUNS, take_run) : error;
}

/* ---- updating ---- */

static void copy_arrays(struct version *version, const struct version *before)
{
    array_copy(&version->dead, &before->dead);
    version->all_dead = before->all_dead;
    for (uint32_t i = 0; i < before->vector_count; i++) {
        const struct version_vector *from = &before->vectors[i];
        struct version_vector *to = &version->vectors[i];
        to->generation_count = from->generation_count;
        to->run_count = from->run_count;
        to->runs_removed = from->runs_removed;
        to->partition_count = from->partition_count;
        array_copy(&to->partitions, &from->partitions);
        array_copy(&to->generations, &from->generations);
        array_copy(&to->blocks, &from->blocks);
        array_copy(&to->run_slots, &from->run_slots);
        array_copy(&to->run_locators, &from->run_locators);
        array_copy(&to->run_hints, &from->run_hints);
        array_copy(&to->epochs, &from->epochs);
    }
}

static struct key changed_key(const struct changed *changed)
{
    switch (changed->kind) {
    case CHANGE_GENERATION:
        return key_centre(MAIN_GENERATION, changed->vector, changed->number);
    case CHANGE_BLOCKS:
        return key_blocks(changed->vector, changed->number, changed->value);
    case CHANGE_RUN:
    case CHANGE_PARTITION:
        return key_run(changed->vector, changed->number);
    case CHANGE_DEAD:
        return key_dead(changed->number);
    case CHANGE_EPOCH:
        break;
    }
    return key_centre(MAIN_EPOCH, changed->vector, changed->number);
}

static enum error take_changed(struct version *version, const struct changed *changed)
{
    const struct key key = changed_key(changed);
    const enum table table = changed->kind == CHANGE_BLOCKS      ? TABLE_BLOCKS
                             : changed->kind == CHANGE_RUN       ? TABLE_RUNS
                             : changed->kind == CHANGE_PARTITION ? TABLE_PARTITIONS
                                                                 : TABLE_MAIN;
    MDB_val lmdb_key = lmdb_value(key_span(&key)), value;
    const int result =
        mdb_get(version->transactions[0], version->environment->tables[table], &lmdb_key, &value);
    if (result == MDB_NOTFOUND && changed->kind == CHANGE_GENERATION) {
        remove_generation(version, changed->vector, changed->number);
        return OK;
    }
    if (result == MDB_NOTFOUND && changed->kind == CHANGE_RUN) {
        remove_run(version, changed->vector, changed->number);
        return OK;
    }
    if (result == MDB_NOTFOUND && changed->kind == CHANGE_PARTITION) {
        remove_partition(version, changed->vector, changed->number);
        return OK;
    }
    if (result != 0) {
        return result == MDB_NOTFOUND ? ERROR_CORRUPT : error_of_lmdb(result);
    }
    if (table == TABLE_BLOCKS) {
        return take_blocks(version, key_span(&key), &value);
    }
    if (table == TABLE_PARTITIONS) {
        return take_partition(version, key_span(&key), &value);
    }
    return table == TABLE_RUNS ? take_run(version, key_span(&key), &value)
                               : take_main(version, key_span(&key), &value);
}

enum error version_update(struct version *version, const struct version *before,
                          const struct changed *changed, size_t count)
{
    version->extent.base = before->extent.base;
    copy_arrays(version, before);
    enum error error = take_counters(version);
    /* Generations first: a block value finds its place by its generation. */
    for (size_t i = 0; i < count && error == OK; i++) {
        if (changed[i].kind == CHANGE_GENERATION) {
            error = take_changed(version, &changed[i]);
        }
    }
    for (size_t i = 0; i < count && error == OK; i++) {
        if (changed[i].kind != CHANGE_GENERATION) {
            error = take_changed(version, &changed[i]);
        }
    }
    for (uint32_t i = 0; i < version->vector_count && error == OK; i++) {
        compact_runs(version, (uint16_t)i);
    }
    return error;
}
