/* Values of partitions, moved bits of generations, and the end of generations. */
#include "storage/partitions.h"

#include <assert.h>
#include <sys/mman.h>

#include "storage/environment.h"

#define TOUCH_BYTES 2048u
#define HEAD_CRC_OFFSET 32u

/* Offsets inside a partition's value. */
struct partition_layout {
    size_t blocks, slots, end;
};

static struct partition_layout partition_layout_of(const struct layout *layout, size_t block_count)
{
    const size_t centre_end = FORMAT_PAGED_HEADER_BYTES + layout->dim * sizeof(float);
    struct partition_layout at;
    /* The value begins at 16 of a page and the header has 48 bytes: blocks on 64-byte borders. */
    at.blocks = (centre_end - FORMAT_PAGED_HEADER_BYTES + 63) / 64 * 64 + FORMAT_PAGED_HEADER_BYTES;
    at.slots = at.blocks + block_count * layout->block_bytes;
    at.end = at.slots + block_count * FORMAT_BLOCK_LANES * sizeof(uint64_t);
    return at;
}

size_t partition_value_bytes(const struct environment *environment, uint16_t vector,
                             size_t block_count)
{
    return paged_bytes(partition_layout_of(&environment->vectors[vector].layout, block_count).end);
}

void pages_will_need(const uint8_t *data, size_t bytes)
{
    const uintptr_t first = (uintptr_t)data / FORMAT_PAGE_BYTES * FORMAT_PAGE_BYTES;
    /* LMDB's own map is asked for; the call only hints, so its result does not matter. */
    (void)madvise((void *)first, (uintptr_t)data + bytes - first, MADV_WILLNEED);
}

/* ---- reading ---- */

uint64_t view_partition_count(const struct view *view, uint16_t vector)
{
    const struct version_vector *known = version_vector_of(view->version, vector);
    return known == NULL ? 0 : known->partition_count;
}

enum error partition_open(const struct layout *layout, struct span value, uint64_t index,
                          struct partition *out)
{
    if (value.bytes < FORMAT_PAGED_HEADER_BYTES) {
        return ERROR_CORRUPT;
    }
    const size_t count = load32(value.data + 16);
    const size_t blocks = (count + FORMAT_BLOCK_LANES - 1) / FORMAT_BLOCK_LANES;
    /* Bounded before it is multiplied: a block is larger than its lanes. */
    if (count == 0 || count > value.bytes || load64(value.data + 8) != index ||
        load32(value.data + 20) != layout->block_bytes || load32(value.data + 24) != layout->dim) {
        return ERROR_CORRUPT;
    }
    const struct partition_layout at = partition_layout_of(layout, blocks);
    if (at.end > value.bytes) {
        return ERROR_CORRUPT;
    }
    *out = (struct partition){
        .centre = value.data + FORMAT_PAGED_HEADER_BYTES,
        .blocks = value.data + at.blocks,
        .slots = value.data + at.slots,
        .block_count = blocks,
        .code_count = count,
        .radius = load_float(value.data + 28),
        .flags = value_flags(value.data),
    };
    return OK;
}

static _Atomic uint64_t *partition_word(const struct view *view, uint16_t vector, uint64_t index)
{
    const struct version_vector *known = version_vector_of(view->version, vector);
    return known == NULL || index >= known->partition_count ? NULL
                                                            : array_at(&known->partitions, index);
}

enum error view_partition(const struct view *view, uint16_t vector, uint64_t index,
                          struct partition *out)
{
    _Atomic uint64_t *word = partition_word(view, vector, index);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator == 0) {
        return ERROR_NOT_FOUND;
    }
    const struct span value = locator_span(locator);
    if ((locator & LOCATOR_CHECKED) == 0) {
        const struct key key = key_run(vector, index);
        const enum error error =
            stored_check(key_span(&key), value, KIND_PARTITION, FORMAT_PAGED_HEADER_BYTES);
        if (error != OK) {
            return error;
        }
        atomic_fetch_or_explicit(word, LOCATOR_CHECKED, memory_order_relaxed);
    }
    return partition_open(&view->environment->vectors[vector].layout, value, index, out);
}

void view_partition_touch(const struct view *view, uint16_t vector, uint64_t index)
{
    const _Atomic uint64_t *word = partition_word(view, vector, index);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator != 0) {
        const struct layout *layout = &view->environment->vectors[vector].layout;
        const uint8_t *data = locator_span(locator).data;
        const size_t bytes = partition_layout_of(layout, 1).slots;
        for (size_t at = 0; at < bytes && at < TOUCH_BYTES; at += 64) {
            __builtin_prefetch(data + at);
        }
    }
}

void view_partition_prefetch(const struct view *view, uint16_t vector, uint64_t index, bool cold)
{
    const _Atomic uint64_t *word = partition_word(view, vector, index);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator != 0 && (cold || (locator & LOCATOR_CHECKED) == 0)) {
        pages_will_need(locator_span(locator).data, locator_span(locator).bytes);
    }
}

void view_partition_prefetch_centre(const struct view *view, uint16_t vector, uint64_t index)
{
    const _Atomic uint64_t *word = partition_word(view, vector, index);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator != 0 && (locator & LOCATOR_CHECKED) == 0) {
        const struct layout *layout = &view->environment->vectors[vector].layout;
        pages_will_need(locator_span(locator).data, partition_layout_of(layout, 0).blocks);
    }
}

/* Bytes up to the end of the centre. */
static size_t head_bytes(const struct layout *layout)
{
    return FORMAT_PAGED_HEADER_BYTES + layout->dim * sizeof(float);
}

static uint32_t head_crc(const struct layout *layout, struct span key, const uint8_t *value)
{
    const size_t dim_bytes = layout->dim * sizeof(float);
    uint32_t crc = crc32c(0, key.data, key.bytes);
    crc = crc32c(crc, value, 4);
    crc = crc32c(crc, value + FORMAT_HEADER_BYTES, HEAD_CRC_OFFSET - FORMAT_HEADER_BYTES);
    crc = crc32c(crc, value + FORMAT_PAGED_HEADER_BYTES, dim_bytes);
    return crc == 0 ? 1 : crc; /* 0 says that there is none */
}

enum error partition_head_check(const struct layout *layout, struct span key, struct span value)
{
    const uint32_t stored = load32(value.data + HEAD_CRC_OFFSET);
    return stored == 0 || stored == head_crc(layout, key, value.data) ? OK : ERROR_CORRUPT;
}

enum error view_partition_head(const struct view *view, uint16_t vector, uint64_t index,
                               struct partition *out)
{
    _Atomic uint64_t *word = partition_word(view, vector, index);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator == 0) {
        return ERROR_NOT_FOUND;
    }
    const struct layout *layout = &view->environment->vectors[vector].layout;
    const struct span value = locator_span(locator);
    const struct key key = key_run(vector, index);
    if (value.bytes < head_bytes(layout) || load32(value.data + HEAD_CRC_OFFSET) == 0) {
        return view_partition(view, vector, index, out); /* all of it is checked */
    }
    const enum error error =
        (locator & LOCATOR_CHECKED) != 0 ? OK : partition_head_check(layout, key_span(&key), value);
    return error == OK ? partition_open(layout, value, index, out) : error;
}

enum error view_recall(const struct view *view, uint16_t vector, struct span *bytes)
{
    const struct key key = key_centre(MAIN_RECALL, vector, 0);
    struct span value;
    enum error error = table_read(view->transaction, view->environment->tables[TABLE_MAIN],
                                  &view->version->extent, key_span(&key), &value);
    if (error == OK) {
        error = stored_check(key_span(&key), value, KIND_RECALL, FORMAT_HEADER_BYTES);
    }
    if (error == OK) {
        *bytes = span_of(value.data + FORMAT_HEADER_BYTES, value.bytes - FORMAT_HEADER_BYTES);
    }
    return error;
}

/* ---- writing ---- */

enum error write_recall(struct write *write, uint16_t vector, struct span bytes)
{
    const struct key key = key_centre(MAIN_RECALL, vector, 0);
    const size_t whole = FORMAT_HEADER_BYTES + bytes.bytes;
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_MAIN, key_span(&key), whole, 0, &value);
    failpoint("storage-put-recall");
    if (error == OK) {
        memcpy(value + FORMAT_HEADER_BYTES, bytes.data, bytes.bytes);
        value_seal(key_span(&key), value, whole, KIND_RECALL, 0);
    }
    return error;
}

enum error write_partition(struct write *write, uint16_t vector, uint64_t index,
                           const struct partition *partition)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    const size_t lanes = partition->block_count * FORMAT_BLOCK_LANES;
    assert(partition->code_count > 0 && partition->code_count <= lanes &&
           lanes - partition->code_count < FORMAT_BLOCK_LANES);
    const struct partition_layout at = partition_layout_of(layout, partition->block_count);
    const size_t bytes = paged_bytes(at.end), centre_bytes = layout->dim * sizeof(float);
    const struct key key = key_run(vector, index);
    uint8_t *value;
    const enum error error =
        write_reserve(write, TABLE_PARTITIONS, key_span(&key), bytes, 0, &value);
    failpoint("storage-put-partition");
    if (error != OK) {
        return error;
    }
    memset(value, 0, at.blocks);
    store64(value + 8, index);
    store32(value + 16, (uint32_t)partition->code_count);
    store32(value + 20, (uint32_t)layout->block_bytes);
    store32(value + 24, (uint32_t)layout->dim);
    store_float(value + 28, partition->radius);
    memcpy(value + FORMAT_PAGED_HEADER_BYTES, partition->centre, centre_bytes);
    value[0] = FORMAT_NUMBER; /* as value_seal will have them */
    value[1] = KIND_PARTITION;
    store16(value + 2, partition->flags);
    store32(value + HEAD_CRC_OFFSET, head_crc(layout, key_span(&key), value));
    memcpy(value + at.blocks, partition->blocks, at.slots - at.blocks);
    memcpy(value + at.slots, partition->slots, at.end - at.slots);
    memset(value + at.end, 0, bytes - at.end);
    value_seal(key_span(&key), value, bytes, KIND_PARTITION, partition->flags);
    write_note(write, CHANGE_PARTITION, vector, index, 0);
    return OK;
}

/* Delete a key; one that is not there is damage. */
static enum error remove_key(struct write *write, enum table table, struct span key)
{
    MDB_val lmdb_key = lmdb_value(key);
    const int result =
        mdb_del(write->transaction, write->environment->tables[table], &lmdb_key, NULL);
    return result == 0 ? OK : result == MDB_NOTFOUND ? ERROR_CORRUPT : write_fail(write, result);
}

enum error write_partition_remove(struct write *write, uint16_t vector, uint64_t index)
{
    const struct key key = key_run(vector, index);
    const enum error error = remove_key(write, TABLE_PARTITIONS, key_span(&key));
    if (error == OK) {
        write_note(write, CHANGE_PARTITION, vector, index, 0);
    }
    return error;
}

enum error write_moved(struct write *write, uint16_t vector, uint64_t generation,
                       const uint8_t *bits, size_t bytes)
{
    const struct key key = key_centre(MAIN_MOVED, vector, generation);
    const size_t whole = paged_bytes(FORMAT_PAGED_HEADER_BYTES + bytes);
    uint8_t *value;
    const enum error error = write_reserve(write, TABLE_MAIN, key_span(&key), whole, 0, &value);
    failpoint("storage-put-moved");
    if (error != OK) {
        return error;
    }
    memset(value, 0, FORMAT_PAGED_HEADER_BYTES);
    store64(value + 8, generation);
    store32(value + 16, (uint32_t)bytes);
    memcpy(value + FORMAT_PAGED_HEADER_BYTES, bits, bytes);
    memset(value + FORMAT_PAGED_HEADER_BYTES + bytes, 0, whole - FORMAT_PAGED_HEADER_BYTES - bytes);
    value_seal(key_span(&key), value, whole, KIND_MOVED, 0);
    write_note(write, CHANGE_GENERATION, vector, generation, 0);
    return OK;
}

enum error write_generation_drop(struct write *write, uint16_t vector, uint64_t generation)
{
    const struct version *current = atomic_load(&write->environment->current);
    const struct version_vector *known = version_vector_of(current, vector);
    uint64_t index;
    if (known == NULL || !version_find_generation(known, generation, &index)) {
        return ERROR_CORRUPT;
    }
    const uint64_t at = index * GENERATION_WORDS;
    const uint64_t values = array_get(&known->generations, at + GENERATION_VALUES);
    enum error error = OK;
    for (uint64_t i = 0; i < values && error == OK; i++) {
        const struct key key = key_blocks(vector, generation, i);
        error = remove_key(write, TABLE_BLOCKS, key_span(&key));
    }
    if (error == OK && array_get(&known->generations, at + GENERATION_CENTRE) != 0) {
        const struct key key = key_centre(MAIN_CENTRE, vector, generation);
        error = remove_key(write, TABLE_MAIN, key_span(&key));
    }
    if (error == OK && array_get(&known->generations, at + GENERATION_MOVED) != 0) {
        const struct key key = key_centre(MAIN_MOVED, vector, generation);
        error = remove_key(write, TABLE_MAIN, key_span(&key));
    }
    failpoint("storage-drop-generation");
    if (error == OK) {
        const struct key key = key_centre(MAIN_GENERATION, vector, generation);
        error = remove_key(write, TABLE_MAIN, key_span(&key));
    }
    if (error == OK) {
        write_note(write, CHANGE_GENERATION, vector, generation, 0);
    }
    return error;
}

enum error write_generation_anew(struct write *write, uint16_t vector, uint64_t generation,
                                 const struct generation_rewrite *anew)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    const size_t lanes = layout->blocks_per_value * FORMAT_BLOCK_LANES;
    enum error error = OK;
    assert(anew->value_count > 0 && anew->value_count <= anew->old_value_count);
    for (uint64_t i = 0; i < anew->value_count && error == OK; i++) {
        const uint64_t left = anew->code_count - i * lanes;
        error = write_blocks(write, vector, generation, i,
                             anew->blocks + i * layout->blocks_per_value * layout->block_bytes,
                             anew->slots + i * lanes, left < lanes ? (size_t)left : lanes);
    }
    for (uint64_t i = anew->value_count; i < anew->old_value_count && error == OK; i++) {
        const struct key key = key_blocks(vector, generation, i);
        error = remove_key(write, TABLE_BLOCKS, key_span(&key));
    }
    return error == OK ? write_generation(write, vector, generation, anew->code_count,
                                          anew->value_count, true, anew->centre)
                       : error;
}
