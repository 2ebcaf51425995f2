/* Writing one of the collection's vectors: its pending run, its open block value and generation.
 *
 * Order of things for a vector: its row waits in the pending run (written when it is full, when a
 * slot is left out, when the epoch changes, and at the end), its 1-bit code goes into the open
 * block value (written when it is full, at sealing, and at the end). */
#include "index/collection_apply.h"

#include <assert.h>

/* Vectors and codes of the pending run: what is handed to storage at once. Shared by the vectors of
 * a collection, down to a least. */
#define RUN_BYTES_MAX ((size_t)1024 * 1024)
#define RUN_BYTES_MIN ((size_t)64 * 1024)

/* ---- beginning ---- */

uint64_t apply_generation_capacity(const struct apply_vector *state)
{
    const struct database_options *options = database_options(state->apply->collection->database);
    const uint64_t generation = state->centres.generation;
    /* The second is sealed when there are codes enough to divide. */
    const uint64_t second = options->partition_start_codes > options->first_generation_codes
                                ? options->partition_start_codes - options->first_generation_codes
                                : options->generation_codes;
    if (generation == 1 && second < options->generation_codes) {
        return second;
    }
    const uint64_t capacity = state->centres.generation == 0 ? options->first_generation_codes
                                                             : options->generation_codes;
    return capacity > 0 ? capacity : 1;
}

/* Every how many codes a vector belongs to the sample. */
void apply_set_sample_stride(struct apply_vector *state)
{
    state->sample_stride =
        (apply_generation_capacity(state) + SAMPLE_COUNT_MAX - 1) / SAMPLE_COUNT_MAX;
}

static size_t value_code_count(const struct apply_vector *state)
{
    return (size_t)(state->codes % state->value_capacity);
}

static size_t value_bytes(const struct apply_vector *state)
{
    return size_product(state->value_capacity / CODEC_BLOCK_LANES, state->block_bytes);
}

void apply_clear_value(struct apply_vector *state)
{
    memset(state->blocks, 0, value_bytes(state));
    memset(state->slots, 0, state->value_capacity * sizeof *state->slots);
    state->value_touched = false;
}

/* The last block value of the open generation, if it has room. */
static enum error load_value(struct apply_vector *state, const struct generation *open)
{
    apply_clear_value(state);
    const size_t used = value_code_count(state);
    if (used == 0) {
        return OK;
    }
    struct block_value value;
    const enum error error = view_blocks(&state->apply->view, state->vector->number, open->number,
                                         open->code_count / state->value_capacity, &value);
    if (error != OK) {
        return error;
    }
    if (value.code_count != used || value.block_count * state->block_bytes > value_bytes(state)) {
        return ERROR_CORRUPT;
    }
    memcpy(state->blocks, value.blocks, value.block_count * state->block_bytes);
    memcpy(state->slots, value.slots, used * sizeof *state->slots);
    return OK;
}

static size_t run_capacity(const struct apply_vector *state)
{
    const uint32_t vectors = state->apply->collection->settings.vector_count;
    const size_t share = RUN_BYTES_MAX / vectors;
    const size_t bytes = share < RUN_BYTES_MIN ? RUN_BYTES_MIN : share;
    const size_t row = state->vector->settings->dim * sizeof(float) + state->row_bytes;
    return row < bytes ? bytes / row : 1;
}

static enum error load_state(struct apply_vector *state)
{
    const struct collection *collection = state->apply->collection;
    const struct collection_vector *vector = state->vector;
    const struct view *view = &state->apply->view;
    struct vector_scratch *scratch = state->scratch;
    struct generation open;
    enum error error = generation_open(view, vector->number, &open);
    if (error == OK) {
        error = centres_load(vector, view, &scratch->encode, &state->centres);
    }
    if (error != OK) {
        return error;
    }
    state->generation_exists = state->counters->generation_count > 0;
    state->codes = state->stored_codes = open.code_count;
    state->code_bytes = codec_code_bytes(vector->codec, codec_first_bits(vector->codec));
    state->row_bytes = codec_code_bytes(vector->codec, codec_second_bits(vector->codec));
    state->block_bytes = codec_block_bytes(vector->codec);
    state->value_capacity =
        environment_blocks_per_value(collection->environment, vector->number) * CODEC_BLOCK_LANES;
    state->blocks = scratch_need(&scratch->blocks, value_bytes(state));
    state->slots =
        scratch_need(&scratch->slots, size_product(state->value_capacity, sizeof *state->slots));
    state->run_capacity = run_capacity(state);
    apply_set_sample_stride(state);
    return load_value(state, &open);
}

enum error apply_vector_load(struct apply *apply, uint16_t number, struct apply_vector **state)
{
    assert(number < apply->collection->settings.vector_count);
    struct apply_scratch *scratch = apply->scratch;
    *state = &scratch->states[number];
    if (vector_set_has(&apply->loaded, number)) {
        return OK;
    }
    if (scratch->vectors[number] == NULL) {
        scratch->vectors[number] = allocate_zeroed(1, sizeof *scratch->vectors[number]);
    }
    **state = (struct apply_vector){
        .apply = apply,
        .vector = &apply->collection->vectors[number],
        .counters = write_vector_counters(apply->write, number),
        .scratch = scratch->vectors[number],
    };
    const enum error error = load_state(*state);
    if (error == OK) {
        vector_set_add(&apply->loaded, number);
    }
    return error;
}

/* ---- writing what is pending ---- */

enum error apply_flush_run(struct apply_vector *state)
{
    if (state->run_count == 0) {
        return OK;
    }
    const struct run_rows rows = {
        .first_slot = state->run_first,
        .count = state->run_count,
        .epoch = state->centres.epoch,
        .codes = state->scratch->run_codes.data,
        .factors = state->scratch->run_factors.data,
        .vectors = state->scratch->run_vectors.data,
    };
    state->run_count = 0;
    return write_vectors(state->apply->write, state->vector->number, &rows);
}

/* The block value that ends with the newest code. */
enum error apply_flush_value(struct apply_vector *state)
{
    if (!state->value_touched) {
        return OK;
    }
    const uint64_t value = (state->codes - 1) / state->value_capacity;
    const size_t used = (size_t)((state->codes - 1) % state->value_capacity) + 1;
    state->value_touched = false;
    return write_blocks(state->apply->write, state->vector->number, state->centres.generation,
                        value, state->blocks, state->slots, used);
}

enum error apply_flush_generation(struct apply_vector *state, bool sealed)
{
    if (!state->generation_touched) {
        return OK;
    }
    state->generation_touched = false;
    const uint64_t values = (state->codes + state->value_capacity - 1) / state->value_capacity;
    return write_generation(state->apply->write, state->vector->number, state->centres.generation,
                            state->codes, values, sealed, state->centres.generation_centre);
}

enum error apply_flush(struct apply *apply)
{
    enum error error = OK;
    for (uint32_t i = vector_set_next(&apply->loaded, 0); i < COLLECTION_VECTORS_MAX && error == OK;
         i = vector_set_next(&apply->loaded, i + 1)) {
        struct apply_vector *state = &apply->scratch->states[i];
        error = apply_flush_run(state);
        if (error == OK) {
            error = apply_flush_value(state);
        }
        if (error == OK) {
            error = apply_flush_generation(state, false);
        }
    }
    return error;
}

/* ---- one vector ---- */

/* The codes of one vector, as `encoded` has them or made here. */
struct codes {
    const uint8_t *block_code, *row_code;
    struct code_factors block_factors, row_factors;
};

static void codes_of(struct apply_vector *state, const uint8_t *floats,
                     const struct encoded_vector *encoded, uint32_t i, struct codes *codes)
{
    const struct centres *centres = &state->centres;
    struct vector_scratch *scratch = state->scratch;
    const bool has_block = encoded != NULL && encoded->generation == centres->generation;
    const bool needs_row = state->vector->settings->kind == VECTOR_DENSE;
    const bool has_row = !needs_row || (encoded != NULL && encoded->epoch == centres->epoch);
    const float *rotated =
        has_block && has_row ? NULL : encode_rotate(state->vector, floats, &scratch->encode);
    if (has_block) {
        codes->block_code = encoded->block_codes + i * state->code_bytes;
        codes->block_factors = encoded->block_factors[i];
    } else {
        uint8_t *code = scratch_need(&scratch->block_code, state->code_bytes);
        encode_rotated(state->vector, codec_first_bits(state->vector->codec), rotated,
                       centres->generation_centre, code, &codes->block_factors, &scratch->encode);
        codes->block_code = code;
    }
    if (!needs_row) {
        codes->row_code = NULL;
    } else if (has_row) {
        codes->row_code = encoded->row_codes + i * state->row_bytes;
        codes->row_factors = encoded->row_factors[i];
    } else {
        uint8_t *code = scratch_need(&scratch->row_code, state->row_bytes);
        encode_rotated(state->vector, codec_second_bits(state->vector->codec), rotated,
                       centres->epoch_centre, code, &codes->row_factors, &scratch->encode);
        codes->row_code = code;
    }
}

static enum error run_append(struct apply_vector *state, uint64_t slot, const uint8_t *floats,
                             const struct codes *codes)
{
    if (state->run_count == state->run_capacity ||
        (state->run_count > 0 && state->run_first + state->run_count != slot)) {
        const enum error error = apply_flush_run(state);
        if (error != OK) {
            return error;
        }
    }
    struct vector_scratch *scratch = state->scratch;
    const size_t vector_bytes = state->vector->settings->dim * sizeof(float);
    const size_t i = state->run_count;
    uint8_t *vectors = scratch_need(&scratch->run_vectors, state->run_capacity * vector_bytes);
    uint8_t *rows = scratch_need(&scratch->run_codes, state->run_capacity * state->row_bytes);
    float *factors = scratch_need(&scratch->run_factors, state->run_capacity * 2 * sizeof(float));
    memcpy(vectors + i * vector_bytes, floats, vector_bytes);
    memcpy(rows + i * state->row_bytes, codes->row_code, state->row_bytes);
    factors[2 * i] = codes->row_factors.f_mul;
    factors[2 * i + 1] = codes->row_factors.f_add;
    if (i == 0) {
        state->run_first = slot;
    }
    state->run_count++;
    return OK;
}

static enum error block_append(struct apply_vector *state, uint64_t slot, const struct codes *codes)
{
    const size_t lane = value_code_count(state);
    if (lane == 0) {
        apply_clear_value(state);
    }
    codec_block_put(state->vector->codec,
                    state->blocks + lane / CODEC_BLOCK_LANES * state->block_bytes,
                    (unsigned)(lane % CODEC_BLOCK_LANES), codes->block_code, codes->block_factors);
    state->slots[lane] = slot;
    state->codes++;
    state->value_touched = state->generation_touched = true;
    return lane + 1 == state->value_capacity ? apply_flush_value(state) : OK;
}

enum error apply_vector_add(struct apply_vector *state, uint64_t slot, const uint8_t *floats,
                            const struct encoded_vector *encoded, uint32_t i)
{
    if (!state->generation_exists) {
        apply_generation_begin(state, 0, NULL);
    }
    struct codes codes;
    codes_of(state, floats, encoded, i, &codes);
    if (state->codes % state->sample_stride == 0 && state->sample_count < SAMPLE_COUNT_MAX) {
        state->scratch->samples[state->sample_count++] = (struct sample){slot, floats};
    }
    enum error error = OK;
    if (state->vector->settings->kind == VECTOR_DENSE) {
        error = run_append(state, slot, floats, &codes);
    }
    if (error == OK) {
        error = block_append(state, slot, &codes);
    }
    if (error == OK && state->codes >= apply_generation_capacity(state)) {
        error = apply_seal(state);
    }
    return error;
}
