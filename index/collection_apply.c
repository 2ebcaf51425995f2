/* Applying ops: one storage write for a group of them.
 *
 * Nothing of the writer's state outlives a call: the open generation's last block value and the
 * centres are copied from the view of the version before (a few microseconds beside a flush of
 * hundreds), so an aborted write leaves nothing to repair and a collection costs no memory between
 * its writes. The buffers belong to the database, whose one writer thread is the only caller.
 *
 * Order of things for a vector: its row waits in the pending run (written when it is full, when a
 * slot is left out, when the epoch changes, and at the end), its 1-bit code goes into the open
 * block value (written when it is full, at sealing, and at the end).
 */
#include "index/collection_apply.h"

#include <assert.h>
#include <stdlib.h>

/* Vectors and codes of the pending run: what is handed to storage at once. */
#define RUN_BYTES_MAX ((size_t)1024 * 1024)
struct apply_scratch *apply_scratch_new(void)
{
    return allocate_zeroed(1, sizeof(struct apply_scratch));
}

void apply_scratch_free(struct apply_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    encode_scratch_release(&scratch->encode);
    struct scratch *all[] = {&scratch->block_code,  &scratch->row_code,    &scratch->blocks,
                             &scratch->slots,       &scratch->run_vectors, &scratch->run_codes,
                             &scratch->run_factors, &scratch->sum,         &scratch->mean,
                             &scratch->centre};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        scratch_release(all[i]);
    }
    free(scratch);
}

/* ---- beginning ---- */

uint64_t apply_generation_capacity(const struct apply *apply)
{
    const struct database_options *options = database_options(apply->collection->database);
    const uint64_t capacity = apply->centres.generation == 0 ? options->first_generation_codes
                                                             : options->generation_codes;
    return capacity > 0 ? capacity : 1;
}

/* Every how many codes a vector belongs to the sample. */
void apply_set_sample_stride(struct apply *apply)
{
    apply->sample_stride =
        (apply_generation_capacity(apply) + SAMPLE_COUNT_MAX - 1) / SAMPLE_COUNT_MAX;
}

static size_t value_code_count(const struct apply *apply)
{
    return (size_t)(apply->codes % apply->value_capacity);
}

static size_t value_bytes(const struct apply *apply)
{
    return size_product(apply->value_capacity / CODEC_BLOCK_LANES, apply->block_bytes);
}

void apply_clear_value(struct apply *apply)
{
    memset(apply->blocks, 0, value_bytes(apply));
    memset(apply->slots, 0, apply->value_capacity * sizeof *apply->slots);
    apply->value_touched = false;
}

/* The last block value of the open generation, if it has room. */
static enum error load_value(struct apply *apply, const struct generation *open)
{
    apply_clear_value(apply);
    const size_t used = value_code_count(apply);
    if (used == 0) {
        return OK;
    }
    struct block_value value;
    const enum error error =
        view_blocks(&apply->view, open->number, open->code_count / apply->value_capacity, &value);
    if (error != OK) {
        return error;
    }
    if (value.code_count != used || value.block_count * apply->block_bytes > value_bytes(apply)) {
        return ERROR_CORRUPT;
    }
    memcpy(apply->blocks, value.blocks, value.block_count * apply->block_bytes);
    memcpy(apply->slots, value.slots, used * sizeof *apply->slots);
    return OK;
}

static enum error load_vectors_state(struct apply *apply)
{
    const struct collection *collection = apply->collection;
    struct apply_scratch *scratch = apply->scratch;
    struct generation open;
    enum error error = generation_open(&apply->view, &open);
    if (error == OK) {
        error = centres_load(collection, &apply->view, &scratch->encode, &apply->centres);
    }
    if (error != OK) {
        return error;
    }
    apply->generation_exists = apply->counters->generation_count > 0;
    apply->codes = apply->stored_codes = open.code_count;
    apply->code_bytes = codec_code_bytes(collection->codec, 1);
    apply->row_bytes = codec_code_bytes(collection->codec, 4);
    apply->block_bytes = codec_block_bytes(collection->codec);
    apply->value_capacity =
        environment_blocks_per_value(collection->environment) * CODEC_BLOCK_LANES;
    apply->blocks = scratch_need(&scratch->blocks, value_bytes(apply));
    apply->slots =
        scratch_need(&scratch->slots, size_product(apply->value_capacity, sizeof *apply->slots));
    const size_t row = collection->settings.dim * sizeof(float) + apply->row_bytes;
    apply->run_capacity = row < RUN_BYTES_MAX ? RUN_BYTES_MAX / row : 1;
    apply_set_sample_stride(apply);
    return load_value(apply, &open);
}

/* The view is opened after write_begin and closed before the commit: both may have to wait until
 * there are no views. */
static enum error apply_begin(struct apply *apply)
{
    struct collection *collection = apply->collection;
    enum error error = write_begin(collection->environment, &apply->write);
    if (error != OK) {
        return error;
    }
    apply->counters = write_counters(apply->write);
    error = view_open(collection->environment, database_writer_reader(collection->database),
                      &apply->view);
    if (error != OK) {
        return error;
    }
    apply->view_open = true;
    return collection->settings.dim > 0 ? load_vectors_state(apply) : OK;
}

/* ---- writing what is pending ---- */

enum error apply_flush_run(struct apply *apply)
{
    if (apply->run_count == 0) {
        return OK;
    }
    const struct run_rows rows = {
        .first_slot = apply->run_first,
        .count = apply->run_count,
        .epoch = apply->centres.epoch,
        .codes = apply->scratch->run_codes.data,
        .factors = apply->scratch->run_factors.data,
        .vectors = apply->scratch->run_vectors.data,
    };
    apply->run_count = 0;
    return write_vectors(apply->write, &rows);
}

/* The block value that ends with the newest code. */
enum error apply_flush_value(struct apply *apply)
{
    if (!apply->value_touched) {
        return OK;
    }
    const uint64_t value = (apply->codes - 1) / apply->value_capacity;
    const size_t used = (size_t)((apply->codes - 1) % apply->value_capacity) + 1;
    apply->value_touched = false;
    return write_blocks(apply->write, apply->centres.generation, value, apply->blocks, apply->slots,
                        used);
}

enum error apply_flush_generation(struct apply *apply, bool sealed)
{
    if (!apply->generation_touched) {
        return OK;
    }
    apply->generation_touched = false;
    const uint64_t values = (apply->codes + apply->value_capacity - 1) / apply->value_capacity;
    return write_generation(apply->write, apply->centres.generation, apply->codes, values, sealed,
                            apply->centres.generation_centre);
}

static enum error flush_all(struct apply *apply)
{
    enum error error = apply_flush_run(apply);
    if (error == OK) {
        error = apply_flush_value(apply);
    }
    return error == OK ? apply_flush_generation(apply, false) : error;
}

/* ---- one point ---- */

/* The codes of one vector, as `encoded` has them or made here. */
struct codes {
    const uint8_t *block_code, *row_code;
    struct code_factors block_factors, row_factors;
};

static void codes_of(struct apply *apply, const uint8_t *vector, const struct encoded *encoded,
                     uint32_t i, struct codes *codes)
{
    const struct centres *centres = &apply->centres;
    struct apply_scratch *scratch = apply->scratch;
    const bool has_block = encoded != NULL && encoded->generation == centres->generation;
    const bool has_row = encoded != NULL && encoded->epoch == centres->epoch;
    const float *rotated =
        has_block && has_row ? NULL : encode_rotate(apply->collection, vector, &scratch->encode);
    if (has_block) {
        codes->block_code = encoded->block_codes + i * apply->code_bytes;
        codes->block_factors = encoded->block_factors[i];
    } else {
        uint8_t *code = scratch_need(&scratch->block_code, apply->code_bytes);
        encode_rotated(apply->collection, 1, rotated, centres->generation_centre, code,
                       &codes->block_factors, &scratch->encode);
        codes->block_code = code;
    }
    if (has_row) {
        codes->row_code = encoded->row_codes + i * apply->row_bytes;
        codes->row_factors = encoded->row_factors[i];
    } else {
        uint8_t *code = scratch_need(&scratch->row_code, apply->row_bytes);
        encode_rotated(apply->collection, 4, rotated, centres->epoch_centre, code,
                       &codes->row_factors, &scratch->encode);
        codes->row_code = code;
    }
}

static enum error run_append(struct apply *apply, uint64_t slot, const uint8_t *vector,
                             const struct codes *codes)
{
    if (apply->run_count == apply->run_capacity ||
        (apply->run_count > 0 && apply->run_first + apply->run_count != slot)) {
        const enum error error = apply_flush_run(apply);
        if (error != OK) {
            return error;
        }
    }
    struct apply_scratch *scratch = apply->scratch;
    const size_t vector_bytes = apply->collection->settings.dim * sizeof(float);
    const size_t i = apply->run_count;
    uint8_t *vectors = scratch_need(&scratch->run_vectors, apply->run_capacity * vector_bytes);
    uint8_t *rows = scratch_need(&scratch->run_codes, apply->run_capacity * apply->row_bytes);
    float *factors = scratch_need(&scratch->run_factors, apply->run_capacity * 2 * sizeof(float));
    memcpy(vectors + i * vector_bytes, vector, vector_bytes);
    memcpy(rows + i * apply->row_bytes, codes->row_code, apply->row_bytes);
    factors[2 * i] = codes->row_factors.f_mul;
    factors[2 * i + 1] = codes->row_factors.f_add;
    if (i == 0) {
        apply->run_first = slot;
    }
    apply->run_count++;
    return OK;
}

static enum error block_append(struct apply *apply, uint64_t slot, const struct codes *codes)
{
    const size_t lane = value_code_count(apply);
    if (lane == 0) {
        apply_clear_value(apply);
    }
    codec_block_put(apply->collection->codec,
                    apply->blocks + lane / CODEC_BLOCK_LANES * apply->block_bytes,
                    (unsigned)(lane % CODEC_BLOCK_LANES), codes->block_code, codes->block_factors);
    apply->slots[lane] = slot;
    apply->codes++;
    apply->value_touched = apply->generation_touched = true;
    return lane + 1 == apply->value_capacity ? apply_flush_value(apply) : OK;
}

static enum error vector_add(struct apply *apply, uint64_t slot, const uint8_t *vector,
                             const struct encoded *encoded, uint32_t i)
{
    if (!apply->generation_exists) {
        apply_generation_begin(apply, 0, NULL);
    }
    struct codes codes;
    codes_of(apply, vector, encoded, i, &codes);
    if (apply->codes % apply->sample_stride == 0 && apply->sample_count < SAMPLE_COUNT_MAX) {
        apply->scratch->samples[apply->sample_count++] = (struct sample){slot, vector};
    }
    enum error error = run_append(apply, slot, vector, &codes);
    if (error == OK) {
        error = block_append(apply, slot, &codes);
    }
    if (error == OK && apply->codes >= apply_generation_capacity(apply)) {
        error = apply_seal(apply);
    }
    return error;
}

/* Has the slot a vector? A row that is damaged does not say; the stored vector does, for rows of
 * earlier versions, and rows of this transaction are not damaged. */
static enum error slot_has_vector(struct apply *apply, uint64_t slot, bool *has_vector)
{
    struct point_row row;
    const enum error error = write_read_point(apply->write, slot, &row);
    *has_vector = row.has_vector;
    if (error == ERROR_CORRUPT) {
        struct vector_row vector;
        *has_vector = view_vector(&apply->view, slot, &vector) != ERROR_NOT_FOUND;
        return OK;
    }
    return error;
}

static enum error point_remove(struct apply *apply, uint64_t slot, const struct point_id *id,
                               bool remove_id)
{
    struct counters *counters = apply->counters;
    bool has_vector = false;
    enum error error = slot_has_vector(apply, slot, &has_vector);
    if (error == OK) {
        error = write_remove(apply->write, slot, id, remove_id);
    }
    if (error != OK) {
        return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error; /* the id named this slot */
    }
    if (counters->point_count == 0 || counters->vector_count < has_vector) {
        return ERROR_CORRUPT;
    }
    counters->point_count--;
    counters->vector_count -= has_vector;
    counters->dead_count += has_vector;
    counters->id_hash ^= point_hash(id, slot);
    return OK;
}

static enum error point_upsert(struct apply *apply, const struct op_point *point,
                               const struct encoded *encoded, uint32_t vector_index)
{
    struct counters *counters = apply->counters;
    uint64_t earlier;
    enum error error = write_slot(apply->write, &point->id, &earlier);
    if (error == OK) {
        error = point_remove(apply, earlier, &point->id, false);
    } else if (error == ERROR_NOT_FOUND) {
        error = OK;
    }
    if (error != OK) {
        return error;
    }
    const uint64_t slot = counters->next_slot++;
    const struct point_row row = {.id = point->id,
                                  .version = counters->operation,
                                  .has_vector = point->vector != NULL,
                                  .payload = point->payload};
    error = write_point(apply->write, slot, &row);
    if (error == OK && point->vector != NULL) {
        error = vector_add(apply, slot, point->vector, encoded, vector_index);
    }
    counters->point_count++;
    counters->vector_count += row.has_vector;
    counters->id_hash ^= point_hash(&point->id, slot);
    return error;
}

static enum error point_delete(struct apply *apply, const struct point_id *id, uint32_t *removed)
{
    uint64_t slot;
    const enum error error = write_slot(apply->write, id, &slot);
    if (error != OK) {
        return error == ERROR_NOT_FOUND ? OK : error;
    }
    ++*removed;
    return point_remove(apply, slot, id, true);
}

/* ---- ops ---- */

static enum error apply_op(struct apply *apply, struct apply_item *item)
{
    struct op_header header;
    struct span points;
    enum error error = op_open(item->op, &header, &points);
    if (error != OK) {
        return error;
    }
    const struct encoded *encoded = item->encoded;
    if (header.vector_count > 0 && (header.dim != apply->collection->settings.dim ||
                                    (encoded && encoded->vector_count != header.vector_count))) {
        return ERROR_INVALID;
    }
    item->operation = ++apply->counters->operation;
    item->points_changed = 0;
    uint32_t vectors = 0;
    struct op_point point;
    while (error == OK && op_next(&header, &points, &point)) {
        if (header.kind == OP_DELETE) {
            error = point_delete(apply, &point.id, &item->points_changed);
        } else {
            error = point_upsert(apply, &point, encoded, vectors);
            vectors += point.vector != NULL;
            item->points_changed++;
        }
    }
    return error;
}

enum error collection_apply(struct collection *collection, struct apply_item *items,
                            size_t item_count)
{
    struct apply apply = {.collection = collection,
                          .scratch = database_apply_scratch(collection->database)};
    enum error error = apply_begin(&apply);
    for (size_t i = 0; i < item_count && error == OK; i++) {
        error = apply_op(&apply, &items[i]);
        failpoint("index-applied");
    }
    if (error == OK) {
        error = flush_all(&apply);
    }
    if (apply.view_open) {
        view_close(&apply.view);
    }
    if (error != OK) {
        write_abort(apply.write);
        return error;
    }
    return write_commit(apply.write);
}
