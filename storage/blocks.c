/* Generations, their block values and centres; the centres of epochs. */
#include "storage/environment.h"

#include <assert.h>

/* ---- centres ---- */

/* A centre reached by a locator, checked on its first read. */
static enum error read_centre(const struct view *view, uint16_t vector, _Atomic uint64_t *word,
                              const struct key *key, enum value_kind kind, const uint8_t **centre)
{
    const struct layout *layout = &view->environment->vectors[vector].layout;
    const uint64_t locator = atomic_load_explicit(word, memory_order_relaxed);
    const struct span value = locator_span(locator);
    if ((locator & LOCATOR_CHECKED) == 0) {
        const enum error error = stored_check(key_span(key), value, kind, layout->centre_bytes);
        if (error != OK) {
            return error;
        }
        if (load32(value.data + 16) != layout->dim) {
            return ERROR_CORRUPT;
        }
        atomic_fetch_or_explicit(word, LOCATOR_CHECKED, memory_order_relaxed);
    }
    *centre = value.data + FORMAT_PAGED_HEADER_BYTES;
    return OK;
}

static enum error put_centre(struct write *write, uint16_t vector, const struct key *key,
                             enum value_kind kind, uint64_t number, const float *centre)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    const size_t centre_end = FORMAT_PAGED_HEADER_BYTES + layout->dim * sizeof(float);
    uint8_t *value;
    const enum error error =
        write_reserve(write, TABLE_MAIN, key_span(key), layout->centre_bytes, 0, &value);
    if (error != OK) {
        return error;
    }
    memset(value, 0, FORMAT_PAGED_HEADER_BYTES);
    store64(value + 8, number);
    store32(value + 16, (uint32_t)layout->dim);
    memcpy(value + FORMAT_PAGED_HEADER_BYTES, centre, layout->dim * sizeof(float));
    memset(value + centre_end, 0, layout->centre_bytes - centre_end);
    value_seal(key_span(key), value, layout->centre_bytes, kind, 0);
    return OK;
}

enum error view_epoch_centre(const struct view *view, uint16_t vector, uint32_t epoch,
                             const uint8_t **centre)
{
    *centre = NULL;
    const struct version_vector *known = version_vector_of(view->version, vector);
    if (known == NULL) {
        return ERROR_NOT_FOUND;
    }
    if (epoch == 0) {
        return OK;
    }
    _Atomic uint64_t *word = array_at(&known->epochs, epoch);
    if (word == NULL || atomic_load_explicit(word, memory_order_relaxed) == 0) {
        return ERROR_CORRUPT;
    }
    const struct key key = key_centre(MAIN_EPOCH, vector, epoch);
    return read_centre(view, vector, word, &key, KIND_EPOCH, centre);
}

enum error write_epoch(struct write *write, uint16_t vector, uint32_t epoch, const float *centre)
{
    assert(epoch > 0 && centre != NULL);
    const struct key key = key_centre(MAIN_EPOCH, vector, epoch);
    const enum error error = put_centre(write, vector, &key, KIND_EPOCH, epoch, centre);
    failpoint("storage-put-epoch");
    if (error == OK) {
        write_note(write, CHANGE_EPOCH, vector, epoch, 0);
    }
    return error;
}

/* ---- generations ---- */

/* Bits of the lanes that are in partitions, checked on their first read. */
static enum error read_moved(uint16_t vector, _Atomic uint64_t *word, struct generation *generation)
{
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator == 0) {
        return OK;
    }
    const struct span value = locator_span(locator);
    if ((locator & LOCATOR_CHECKED) == 0) {
        const struct key key = key_centre(MAIN_MOVED, vector, generation->number);
        const enum error error =
            stored_check(key_span(&key), value, KIND_MOVED, FORMAT_PAGED_HEADER_BYTES);
        if (error != OK) {
            return error;
        }
        atomic_fetch_or_explicit(word, LOCATOR_CHECKED, memory_order_relaxed);
    }
    const uint64_t bytes = load32(value.data + 16);
    if (load64(value.data + 8) != generation->number || bytes * 8 < generation->code_count ||
        bytes > value.bytes - FORMAT_PAGED_HEADER_BYTES) {
        return ERROR_CORRUPT;
    }
    generation->moved = value.data + FORMAT_PAGED_HEADER_BYTES;
    return OK;
}

enum error view_generation(const struct view *view, uint16_t vector, uint64_t i,
                           struct generation *out)
{
    const struct version_vector *version = version_vector_of(view->version, vector);
    if (version == NULL) {
        return ERROR_NOT_FOUND;
    }
    if (i >= version->generation_count) {
        return ERROR_CORRUPT; /* the counters count more than there are */
    }
    const uint64_t at = i * GENERATION_WORDS;
    *out = (struct generation){
        .number = array_get(&version->generations, at + GENERATION_NUMBER),
        .code_count = array_get(&version->generations, at + GENERATION_CODES),
        .value_count = array_get(&version->generations, at + GENERATION_VALUES),
        .sealed = (array_get(&version->generations, at + GENERATION_FLAGS) & FLAG_SEALED) != 0,
    };
    const enum error error =
        read_moved(vector, array_at(&version->generations, at + GENERATION_MOVED), out);
    if (error != OK) {
        return error;
    }
    _Atomic uint64_t *word = array_at(&version->generations, at + GENERATION_CENTRE);
    if (atomic_load_explicit(word, memory_order_relaxed) == 0) {
        return OK;
    }
    const struct key key = key_centre(MAIN_CENTRE, vector, out->number);
    return read_centre(view, vector, word, &key, KIND_CENTRE, &out->centre);
}

/* Is this centre stored already? It never changes, so it is written once. */
static bool centre_is_stored(struct write *write, uint16_t vector, const struct key *key,
                             const float *centre)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    struct span value;
    return write_get(write, TABLE_MAIN, key_span(key), &value) == OK &&
           value.bytes == layout->centre_bytes &&
           memcmp(value.data + FORMAT_PAGED_HEADER_BYTES, centre, layout->dim * sizeof(float)) == 0;
}

/* Values of all generations stand in one array, each generation's behind those of the one before:
 * only the last may get more; others may lose some, whose places stay. */
static bool may_change(const struct write *write, uint16_t vector, uint64_t number,
                       uint64_t value_count)
{
    const struct version_vector *current =
        version_vector_of(atomic_load(&write->environment->current), vector);
    uint64_t index;
    if (current == NULL || !version_find_generation(current, number, &index) ||
        index + 1 == current->generation_count) {
        return true;
    }
    return array_get(&current->generations, index * GENERATION_WORDS + GENERATION_VALUES) >=
           value_count;
}

enum error write_generation(struct write *write, uint16_t vector, uint64_t number,
                            uint64_t code_count, uint64_t value_count, bool sealed,
                            const float *centre)
{
    if (!may_change(write, vector, number, value_count)) {
        return ERROR_INVALID;
    }
    const struct key key = key_centre(MAIN_GENERATION, vector, number);
    const struct key centre_key = key_centre(MAIN_CENTRE, vector, number);
    enum error error = OK;
    if (centre != NULL && !centre_is_stored(write, vector, &centre_key, centre)) {
        error = put_centre(write, vector, &centre_key, KIND_CENTRE, number, centre);
    }
    uint8_t *value;
    if (error == OK) {
        error = write_reserve(write, TABLE_MAIN, key_span(&key), GENERATION_BYTES, 0, &value);
    }
    failpoint("storage-put-generation");
    if (error != OK) {
        return error;
    }
    store64(value + FORMAT_HEADER_BYTES, code_count);
    store64(value + FORMAT_HEADER_BYTES + 8, value_count);
    value_seal(key_span(&key), value, GENERATION_BYTES, KIND_GENERATION,
               (uint16_t)((sealed ? FLAG_SEALED : 0) | (centre != NULL ? FLAG_HAS_CENTRE : 0)));
    write_note(write, CHANGE_GENERATION, vector, number, 0);
    return OK;
}

/* ---- block values ---- */

static enum error check_blocks(const struct layout *layout, uint16_t vector, uint64_t generation,
                               uint64_t value, struct span data)
{
    const struct key key = key_blocks(vector, generation, value);
    const enum error error = stored_check(key_span(&key), data, KIND_BLOCKS, layout->value_bytes);
    if (error != OK) {
        return error;
    }
    return load64(data.data + 8) == generation && load64(data.data + 16) == value &&
                   load32(data.data + 28) == layout->block_bytes &&
                   load32(data.data + 32) == layout->blocks_per_value
               ? OK
               : ERROR_CORRUPT;
}

enum error view_blocks(const struct view *view, uint16_t vector, uint64_t generation,
                       uint64_t value, struct block_value *out)
{
    const struct version_vector *version = version_vector_of(view->version, vector);
    if (version == NULL) {
        return ERROR_NOT_FOUND;
    }
    const struct layout *layout = &view->environment->vectors[vector].layout;
    uint64_t index;
    if (!version_find_generation(version, generation, &index)) {
        return ERROR_CORRUPT;
    }
    const uint64_t at = index * GENERATION_WORDS;
    if (value >= array_get(&version->generations, at + GENERATION_VALUES)) {
        return ERROR_CORRUPT;
    }
    _Atomic uint64_t *word =
        array_at(&version->blocks, array_get(&version->generations, at + GENERATION_FIRST) + value);
    const uint64_t locator = word == NULL ? 0 : atomic_load_explicit(word, memory_order_relaxed);
    if (locator == 0) {
        return ERROR_CORRUPT;
    }
    const struct span data = locator_span(locator);
    if ((locator & LOCATOR_CHECKED) == 0) {
        const enum error error = check_blocks(layout, vector, generation, value, data);
        if (error != OK) {
            return error;
        }
        atomic_fetch_or_explicit(word, LOCATOR_CHECKED, memory_order_relaxed);
    }
    const size_t code_count = load32(data.data + 24);
    if (code_count == 0 || code_count > layout->blocks_per_value * FORMAT_BLOCK_LANES) {
        return ERROR_CORRUPT;
    }
    *out = (struct block_value){
        .blocks = data.data + FORMAT_PAGED_HEADER_BYTES,
        .slots = data.data + block_slots_offset(layout),
        .block_count = (code_count + FORMAT_BLOCK_LANES - 1) / FORMAT_BLOCK_LANES,
        .code_count = code_count,
    };
    return OK;
}

enum error write_blocks(struct write *write, uint16_t vector, uint64_t generation, uint64_t value,
                        const uint8_t *blocks, const uint64_t *slots, size_t code_count)
{
    const struct layout *layout = &write->environment->vectors[vector].layout;
    const size_t lanes = layout->blocks_per_value * FORMAT_BLOCK_LANES;
    assert(code_count > 0 && code_count <= lanes);
    const struct key key = key_blocks(vector, generation, value);
    uint8_t *data;
    const enum error error =
        write_reserve(write, TABLE_BLOCKS, key_span(&key), layout->value_bytes, 0, &data);
    failpoint("storage-put-blocks");
    if (error != OK) {
        return error;
    }
    memset(data, 0, FORMAT_PAGED_HEADER_BYTES);
    store64(data + 8, generation);
    store64(data + 16, value);
    store32(data + 24, (uint32_t)code_count);
    store32(data + 28, (uint32_t)layout->block_bytes);
    store32(data + 32, (uint32_t)layout->blocks_per_value);
    memcpy(data + FORMAT_PAGED_HEADER_BYTES, blocks,
           layout->blocks_per_value * layout->block_bytes);
    uint8_t *at = data + block_slots_offset(layout);
    memcpy(at, slots, lanes * sizeof *slots);
    memset(at + lanes * sizeof *slots, 0,
           layout->value_bytes - block_slots_offset(layout) - lanes * sizeof *slots);
    value_seal(key_span(&key), data, layout->value_bytes, KIND_BLOCKS, 0);
    write_note(write, CHANGE_BLOCKS, vector, generation, value);
    return OK;
}
