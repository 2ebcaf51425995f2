/* Runs: vectors, second-stage codes and their factors by slot. */
#include "storage/environment.h"
#include "storage/run.h"

#include <assert.h>
#include <stdlib.h>

/* ---- reading ---- */

enum error run_open(const struct layout *layout, struct span value, struct run *run)
{
    if (value.bytes < FORMAT_PAGED_HEADER_BYTES) {
        return ERROR_CORRUPT;
    }
    const size_t count = load32(value.data + 16);
    /* 32 bits each: their product does not overflow. */
    if (count == 0 || count * layout->row_bytes > value.bytes - FORMAT_PAGED_HEADER_BYTES ||
        load32(value.data + 24) != layout->dim || load32(value.data + 28) != layout->code_bytes) {
        return ERROR_CORRUPT;
    }
    *run = (struct run){.value = value,
                        .first_slot = load64(value.data + 8),
                        .count = count,
                        .epoch = load32(value.data + 20),
                        .at = run_layout_of(layout, count)};
    return OK;
}

enum error run_check(const struct run *run, uint16_t vector, uint64_t first_slot)
{
    const struct key key = key_run(vector, first_slot);
    const enum error error = stored_check(key_span(&key), span_of(run->value.data, run->at.vectors),
                                          KIND_RUN, FORMAT_PAGED_HEADER_BYTES);
    return error == OK && run->first_slot != first_slot ? ERROR_CORRUPT : error;
}

void run_place(const struct layout *layout, const struct run *run, size_t i,
               struct vector_place *place)
{
    const uint8_t *data = run->value.data, *head = data + run->at.heads + i * layout->head_bytes;
    *place = (struct vector_place){
        .code = head + RUN_HEAD_CODE,
        .factors = head + RUN_HEAD_FACTORS,
        .vector = data + run->at.vectors + i * layout->dim * sizeof(float),
        .crc = head + RUN_HEAD_CRC,
        .epoch = run->epoch,
    };
}

void vector_place_row(const struct vector_place *place, struct vector_row *row)
{
    *row = (struct vector_row){
        .code = place->code,
        .f_mul = load_float(place->factors),
        .f_add = load_float(place->factors + 4),
        .epoch = place->epoch,
        .vector = place->vector,
        .crc = load32(place->crc),
    };
}

void run_row(const struct layout *layout, const struct run *run, size_t i, struct vector_row *row)
{
    struct vector_place place;
    run_place(layout, run, i, &place);
    vector_place_row(&place, row);
}

void view_vector_prefetch(const struct view *view, uint16_t vector, uint64_t slot, bool cold)
{
    uint64_t index;
    if (version_find_run(view->version, vector, slot, &index)) {
        const struct array *locators = &view->version->vectors[vector].run_locators;
        const uint64_t locator = array_get(locators, index);
        if (!cold) {
            __builtin_prefetch(locator_span(locator).data + 16);
        } else if (locator != 0) {
            pages_will_need(locator_span(locator).data, FORMAT_PAGED_HEADER_BYTES);
        }
    }
}

void vector_place_will_need(const struct view *view, uint16_t vector,
                            const struct vector_place *place, bool head)
{
    const struct layout *layout = &view->environment->vectors[vector].layout;
    if (head) {
        pages_will_need(place->factors, layout->head_bytes);
    } else {
        pages_will_need(place->vector, layout->dim * sizeof(float));
    }
}

enum error view_vector_place(const struct view *view, uint16_t vector, uint64_t slot,
                             struct vector_place *out)
{
    uint64_t index;
    if (!version_find_run(view->version, vector, slot, &index)) {
        return ERROR_NOT_FOUND;
    }
    const struct version_vector *version = &view->version->vectors[vector];
    const struct layout *layout = &view->environment->vectors[vector].layout;
    _Atomic uint64_t *word = array_at(&version->run_locators, index);
    const uint64_t locator = atomic_load_explicit(word, memory_order_relaxed);
    struct run run;
    if (locator == 0) {
        return ERROR_NOT_FOUND; /* removed: all its slots are dead */
    }
    enum error error = run_open(layout, locator_span(locator), &run);
    if (error != OK) {
        return error;
    }
    const uint64_t first_slot = array_get(&version->run_slots, index);
    if ((locator & LOCATOR_CHECKED) == 0) {
        error = run_check(&run, vector, first_slot);
        if (error != OK) {
            return error;
        }
        atomic_fetch_or_explicit(word, LOCATOR_CHECKED, memory_order_relaxed);
    }
    if (slot - first_slot >= run.count) {
        return ERROR_NOT_FOUND;
    }
    run_place(layout, &run, (size_t)(slot - first_slot), out);
    return OK;
}

enum error view_vector(const struct view *view, uint16_t vector, uint64_t slot,
                       struct vector_row *out)
{
    struct vector_place place;
    const enum error error = view_vector_place(view, vector, slot, &place);
    if (error == OK) {
        vector_place_row(&place, out);
    }
    return error;
}

enum error vector_row_check(const struct view *view, uint16_t vector, const struct vector_row *row)
{
    const size_t bytes = view->environment->vectors[vector].layout.dim * sizeof(float);
    return crc32c(0, row->vector, bytes) == row->crc ? OK : ERROR_CORRUPT;
}

/* ---- writing ---- */

/* Rows first to first + count of `rows` into a run's value behind its first `before` rows. */
static void fill_rows(const struct layout *layout, uint8_t *value, const struct run_layout *at,
                      size_t before, const struct run_rows *rows, size_t first, size_t count)
{
    const float *vectors = rows->vectors + first * layout->dim;
    const size_t vector_bytes = layout->dim * sizeof(float);
    uint8_t *head = value + at->heads + before * layout->head_bytes;
    memset(head, 0, count * layout->head_bytes);
    for (size_t i = 0; i < count; i++, head += layout->head_bytes) {
        memcpy(head + RUN_HEAD_FACTORS, rows->factors + 2 * (first + i), 2 * sizeof(float));
        store32(head + RUN_HEAD_CRC, crc32c(0, vectors + i * layout->dim, vector_bytes));
        memcpy(head + RUN_HEAD_CODE, rows->codes + (first + i) * layout->code_bytes,
               layout->code_bytes);
    }
    memcpy(value + at->vectors + before * vector_bytes, vectors, count * vector_bytes);
}

/* The rows of the run that was there, at their new places; their CRCs go along unchanged. */
static void copy_rows(const struct layout *layout, uint8_t *value, const struct run_layout *at,
                      const struct run *from)
{
    const uint8_t *old = from->value.data;
    memcpy(value + at->heads, old + from->at.heads, from->count * layout->head_bytes);
    memcpy(value + at->vectors, old + from->at.vectors, from->count * layout->dim * sizeof(float));
}

static void fill_header(const struct layout *layout, uint8_t *value, uint64_t first_slot,
                        size_t count, uint32_t epoch)
{
    memset(value, 0, FORMAT_PAGED_HEADER_BYTES);
    store64(value + 8, first_slot);
    store32(value + 16, (uint32_t)count);
    store32(value + 20, epoch);
    store32(value + 24, (uint32_t)layout->dim);
    store32(value + 28, (uint32_t)layout->code_bytes);
}

/* A run of the last vector that has any comes last in the table. */
static unsigned append_flag(const struct write *write, uint16_t vector)
{
    for (uint32_t i = vector + 1u; i < write->environment->vector_count; i++) {
        if (write->vectors[i].tail_exists || write->environment->vectors[i].shape.removed) {
            return 0; /* of a removed one there may be some that nobody knows */
        }
    }
    return MDB_APPEND;
}

/* Put a run of the rows of `before`, if any, and the given ones of `rows`. */
static enum error put_run(struct write *write, uint16_t vector, const struct run *before,
                          const struct run_rows *rows, size_t first, size_t count)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    const size_t kept = before == NULL ? 0 : before->count;
    const uint64_t first_slot = before == NULL ? rows->first_slot + first : before->first_slot;
    const struct run_layout at = run_layout_of(layout, kept + count);
    const size_t bytes = paged_bytes(at.end);
    const struct key key = key_run(vector, first_slot);
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_RUNS, key_span(&key), bytes,
                                           before == NULL ? append_flag(write, vector) : 0, &value);
    if (error != OK) {
        return error;
    }
    fill_header(layout, value, first_slot, kept + count, rows->epoch);
    if (before != NULL) {
        copy_rows(layout, value, &at, before);
    }
    fill_rows(layout, value, &at, kept, rows, first, count);
    memset(value + at.end, 0, bytes - at.end);
    value_seal(key_span(&key), value, at.vectors, KIND_RUN, 0);
    write_note(write, CHANGE_RUN, vector, first_slot, 0);
    write->vectors[vector].tail_exists = true;
    write->vectors[vector].tail_closed = false;
    write->vectors[vector].tail_slot = first_slot;
    return OK;
}

/* The last run, if the rows continue it and it stays short; a damaged one is left alone. */
static bool tail_takes(struct write *write, uint16_t vector, const struct run_rows *rows,
                       struct run *tail)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    const struct write_vector *state = &write->vectors[vector];
    if (!state->tail_exists || state->tail_closed || rows->count > layout->tail_rows_max) {
        return false;
    }
    const struct key key = key_run(vector, state->tail_slot);
    struct span value;
    return write_get(write, TABLE_RUNS, key_span(&key), &value) == OK &&
           run_open(layout, value, tail) == OK && tail->epoch == rows->epoch &&
           tail->count + rows->count <= layout->tail_rows_max &&
           tail->first_slot + tail->count == rows->first_slot &&
           run_check(tail, vector, state->tail_slot) == OK;
}

/* The value that is read must not be the one that is written to: LMDB may reuse its pages. */
static enum error extend_tail(struct write *write, uint16_t vector, const struct run *tail,
                              const struct run_rows *rows)
{
    uint8_t *copy = allocate(tail->value.bytes);
    memcpy(copy, tail->value.data, tail->value.bytes);
    struct run before = *tail;
    before.value.data = copy;
    const enum error error = put_run(write, vector, &before, rows, 0, rows->count);
    free(copy);
    return error;
}

enum error write_vectors(struct write *write, uint16_t vector, const struct run_rows *rows)
{
    assert(vector < write->environment->vector_count && rows->count > 0);
    const struct layout *layout = &write->environment->vectors[vector].layout;
    assert(layout->dim > 0);
    struct run tail;
    enum error error = OK;
    failpoint("storage-put-run");
    if (tail_takes(write, vector, rows, &tail)) {
        return extend_tail(write, vector, &tail, rows);
    }
    const size_t most = layout->run_rows_max;
    for (size_t first = 0; first < rows->count && error == OK; first += most) {
        const size_t left = rows->count - first;
        error = put_run(write, vector, NULL, rows, first, left < most ? left : most);
    }
    return error;
}

/* The run that begins at or before a slot: its key's slot and value. */
static enum error find_run(struct write *write, uint16_t vector, uint64_t slot,
                           uint64_t *first_slot, struct span *value)
{
    MDB_cursor *cursor;
    int result =
        mdb_cursor_open(write->transaction, write->environment->tables[TABLE_RUNS], &cursor);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    const struct key wanted = key_run(vector, slot);
    MDB_val key = lmdb_value(key_span(&wanted)), found;
    result = mdb_cursor_get(cursor, &key, &found, MDB_SET_RANGE);
    const bool exact = result == 0 && write_holds(write, &key) &&
                       span_equal(span_of_lmdb(&key), key_span(&wanted));
    if (result == MDB_NOTFOUND) {
        result = mdb_cursor_get(cursor, &key, &found, MDB_LAST);
    } else if (result == 0 && !exact) {
        result = mdb_cursor_get(cursor, &key, &found, MDB_PREV);
    }
    mdb_cursor_close(cursor);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    if (!write_holds(write, &key) || !write_holds(write, &found) || key.mv_size != 10) {
        return ERROR_CORRUPT;
    }
    const struct span at = span_of_lmdb(&key);
    *first_slot = load64_big(at.data + 2);
    *value = span_of_lmdb(&found);
    return load16_big(at.data) == vector ? OK : ERROR_NOT_FOUND;
}

enum error write_read_vector(struct write *write, uint16_t vector, uint64_t slot,
                             struct vector_row *out)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    struct span value;
    uint64_t first_slot = 0;
    enum error error = find_run(write, vector, slot, &first_slot, &value);
    struct run run;
    if (error == OK) {
        error = run_open(layout, value, &run);
    }
    if (error == OK) {
        error = run_check(&run, vector, first_slot);
    }
    if (error != OK) {
        return error;
    }
    if (slot - first_slot >= run.count) {
        return ERROR_NOT_FOUND;
    }
    run_row(layout, &run, (size_t)(slot - first_slot), out);
    return crc32c(0, out->vector, layout->dim * sizeof(float)) == out->crc ? OK : ERROR_CORRUPT;
}
