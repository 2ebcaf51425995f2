/* A naive model of a collection's storage, for the tests of storage/: arrays of what was written,
 * a writer that puts the same into an environment, and a comparison of everything a view shows.
 *
 * Vectors, codes, blocks, centres and payloads are functions of slots and numbers, so that the
 * model need not keep them. Everything is static: each test program is one file. */
#ifndef KITH_TESTS_STORAGE_MODEL_H
#define KITH_TESTS_STORAGE_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/points.h"

#define UNUSED __attribute__((unused))

/* ---- random and made-up bytes ---- */

static inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct random {
    uint64_t state;
};

static inline uint64_t random_below(struct random *random, uint64_t n)
{
    return mix(random->state++) % n;
}

/* Byte i of the stream that belongs to (kind, a, b). */
static inline uint8_t made_byte(uint64_t kind, uint64_t a, uint64_t b, size_t i)
{
    return (uint8_t)mix(kind ^ mix(a ^ mix(b ^ (i << 20))));
}

static inline float made_float(uint64_t kind, uint64_t a, size_t i)
{
    return (float)(mix(kind ^ mix(a ^ (i << 20))) % 2001) - 1000.0f;
}

enum made {
    MADE_CODE = 1,
    MADE_VECTOR,
    MADE_FACTOR,
    MADE_BLOCK,
    MADE_CENTRE,
    MADE_EPOCH,
    MADE_ROW
};

/* ---- the model ---- */

struct model_slot {
    struct point_id id;
    uint64_t version;
    bool live, has_vector;
    uint32_t epoch;
    uint32_t payload_bytes;
};

struct model_generation {
    uint64_t code_count;
    bool sealed, has_centre;
    uint64_t *slots;
};

/* The vector that is written to; the ones beside it stay empty. */
#define MODEL_VECTOR 1
#define MODEL_VECTORS 3

struct model {
    struct vector_shape shape; /* of MODEL_VECTOR */
    uint64_t first_slot;
    size_t blocks_per_value;
    struct counters counters;
    struct vector_counters vector;
    struct model_slot *slots; /* of first_slot + i */
    struct model_generation *generations;
};

#define MODEL_SLOTS_MAX 20000
#define MODEL_GENERATIONS_MAX 64
#define MODEL_GENERATION_CODES 700

static UNUSED void model_init(struct model *model, const struct environment_shape *shape,
                              size_t blocks_per_value)
{
    *model = (struct model){.shape = shape->vectors[MODEL_VECTOR],
                            .first_slot = shape->first_slot,
                            .blocks_per_value = blocks_per_value};
    model->counters.next_slot = shape->first_slot;
    model->slots = allocate_zeroed(MODEL_SLOTS_MAX, sizeof *model->slots);
    model->generations = allocate_zeroed(MODEL_GENERATIONS_MAX, sizeof *model->generations);
}

static UNUSED void model_release(struct model *model)
{
    for (size_t i = 0; i < MODEL_GENERATIONS_MAX; i++) {
        free(model->generations[i].slots);
    }
    free(model->generations);
    free(model->slots);
}

static UNUSED void model_copy(struct model *to, const struct model *from)
{
    *to = *from;
    to->slots = allocate_zeroed(MODEL_SLOTS_MAX, sizeof *to->slots);
    to->generations = allocate_zeroed(MODEL_GENERATIONS_MAX, sizeof *to->generations);
    /* id_hash: XOR over live slots of mix(slot) */
    memcpy(to->slots, from->slots, MODEL_SLOTS_MAX * sizeof *to->slots);
    for (size_t i = 0; i < from->vector.generation_count; i++) {
        to->generations[i] = from->generations[i];
        to->generations[i].slots = allocate(MODEL_GENERATION_CODES * sizeof(uint64_t));
        memcpy(to->generations[i].slots, from->generations[i].slots,
               MODEL_GENERATION_CODES * sizeof(uint64_t));
    }
}

static inline size_t model_used(const struct model *model)
{
    return (size_t)(model->counters.next_slot - model->first_slot);
}

/* ---- writing the same to both ---- */

static UNUSED struct point_id model_id(uint64_t number)
{
    struct point_id id = point_id_number(number);
    if (number % 3 == 0) {
        id.kind = POINT_ID_UUID;
        store64_big(id.bytes + 8, mix(number));
    }
    return id;
}

/* The live slot of an id, or NULL. */
static UNUSED struct model_slot *model_find(const struct model *model, const struct point_id *id,
                                            uint64_t *slot)
{
    for (size_t i = model_used(model); i-- > 0;) {
        if (model->slots[i].live && point_id_compare(&model->slots[i].id, id) == 0) {
            *slot = model->first_slot + i;
            return &model->slots[i];
        }
    }
    return NULL;
}

static UNUSED void made_vector(const struct model *model, uint64_t slot, float *vector)
{
    for (size_t i = 0; i < model->shape.dim; i++) {
        vector[i] = made_float(MADE_VECTOR, slot, i);
    }
}

static UNUSED void made_centre(const struct model *model, enum made kind, uint64_t number,
                               float *centre)
{
    for (size_t i = 0; i < model->shape.dim; i++) {
        centre[i] = made_float(kind, number, i);
    }
}

/* Write the runs of `count` slots from first on, in one call. */
static UNUSED enum error model_write_run(const struct model *model, struct write *write,
                                         uint64_t first, size_t count)
{
    const size_t dim = model->shape.dim, code_bytes = model->shape.code_bytes;
    uint8_t *codes = allocate(count * code_bytes);
    float *factors = allocate(count * 2 * sizeof(float));
    float *vectors = allocate(count * dim * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < code_bytes; j++) {
            codes[i * code_bytes + j] = made_byte(MADE_CODE, first + i, 0, j);
        }
        factors[2 * i] = made_float(MADE_FACTOR, first + i, 0);
        factors[2 * i + 1] = made_float(MADE_FACTOR, first + i, 1);
        made_vector(model, first + i, vectors + i * dim);
    }
    const struct run_rows rows = {
        .first_slot = first,
        .count = count,
        .epoch = model->slots[first - model->first_slot].epoch,
        .codes = codes,
        .factors = factors,
        .vectors = vectors,
    };
    const enum error error = write_vectors(write, MODEL_VECTOR, &rows);
    free(codes);
    free(factors);
    free(vectors);
    return error;
}

static UNUSED size_t model_value_lanes(const struct model *model)
{
    return model->blocks_per_value * 32;
}

/* The bytes a block value has when `lanes` lanes of it are used. */
static UNUSED uint8_t model_block_byte(uint64_t generation, uint64_t value, size_t lanes, size_t i)
{
    return made_byte(MADE_BLOCK, generation << 32 | value, lanes, i);
}

static UNUSED enum error model_write_value(const struct model *model, struct write *write,
                                           uint64_t number, uint64_t value)
{
    const struct model_generation *generation = &model->generations[number];
    const size_t most = model_value_lanes(model);
    const size_t left = (size_t)(generation->code_count - value * most);
    const size_t lanes = left < most ? left : most;
    const size_t bytes = model->blocks_per_value * model->shape.block_bytes;
    uint8_t *blocks = allocate(bytes);
    uint64_t *slots = allocate_zeroed(most, sizeof *slots);
    for (size_t i = 0; i < bytes; i++) {
        blocks[i] = model_block_byte(number, value, lanes, i);
    }
    memcpy(slots, generation->slots + value * most, lanes * sizeof *slots);
    const enum error error = write_blocks(write, MODEL_VECTOR, number, value, blocks, slots, lanes);
    free(blocks);
    free(slots);
    return error;
}

static UNUSED uint64_t model_value_count(const struct model *model, uint64_t number)
{
    const size_t most = model_value_lanes(model);
    return (model->generations[number].code_count + most - 1) / most;
}

static UNUSED enum error model_write_generation(const struct model *model, struct write *write,
                                                uint64_t number)
{
    const struct model_generation *generation = &model->generations[number];
    float *centre = allocate((model->shape.dim + 1) * sizeof(float));
    made_centre(model, MADE_CENTRE, number, centre);
    const enum error error = write_generation(write, MODEL_VECTOR, number, generation->code_count,
                                              model_value_count(model, number), generation->sealed,
                                              generation->has_centre ? centre : NULL);
    free(centre);
    return error;
}

static UNUSED void model_begin_generation(struct model *model)
{
    const uint64_t number = model->vector.generation_count++;
    assert_true(number < MODEL_GENERATIONS_MAX);
    model->generations[number] = (struct model_generation){
        .has_centre = number > 0, .slots = allocate(MODEL_GENERATION_CODES * sizeof(uint64_t))};
}

/* The codes of `count` new slots: block values as they fill, the generation's record, sealing. */
static UNUSED enum error model_write_codes(struct model *model, struct write *write, uint64_t first,
                                           size_t count)
{
    if (model->vector.generation_count == 0) {
        model_begin_generation(model);
    }
    enum error error = OK;
    for (size_t i = 0; i < count && error == OK; i++) {
        const uint64_t number = model->vector.generation_count - 1;
        struct model_generation *generation = &model->generations[number];
        generation->slots[generation->code_count++] = first + i;
        const bool full = generation->code_count == MODEL_GENERATION_CODES;
        if (full || i + 1 == count || generation->code_count % model_value_lanes(model) == 0) {
            error = model_write_value(model, write, number, model_value_count(model, number) - 1);
        }
        if (full && error == OK) {
            generation->sealed = true;
            error = model_write_generation(model, write, number);
            model_begin_generation(model);
        }
    }
    return error == OK ? model_write_generation(model, write, model->vector.generation_count - 1)
                       : error;
}

static UNUSED enum error model_kill(struct model *model, struct write *write,
                                    const struct point_id *id, bool remove_id)
{
    uint64_t slot, stored;
    struct model_slot *found = model_find(model, id, &slot);
    if (found == NULL) {
        assert_int_equal(write_slot(write, id, &stored), ERROR_NOT_FOUND);
        return OK;
    }
    assert_int_equal(write_slot(write, id, &stored), OK);
    assert_true(stored == slot);
    found->live = false;
    model->counters.point_count--;
    model->vector.vector_count -= found->has_vector;
    model->vector.dead_count += found->has_vector;
    model->counters.id_hash ^= mix(slot);
    return write_remove(write, slot, id, remove_id);
}

static UNUSED void made_payload(uint64_t slot, uint32_t bytes, uint8_t *payload)
{
    for (size_t i = 0; i < bytes; i++) {
        payload[i] = made_byte(MADE_ROW, slot, 0, i);
    }
}

/* Insert or replace one point in the next slot; its vector is the caller's to write. */
static UNUSED enum error model_put(struct model *model, struct write *write, uint64_t number,
                                   bool has_vector, uint32_t payload_bytes)
{
    const struct point_id id = model_id(number);
    enum error error = model_kill(model, write, &id, false);
    if (error != OK) {
        return error;
    }
    const uint64_t slot = model->counters.next_slot++;
    assert_true(model_used(model) <= MODEL_SLOTS_MAX);
    const uint32_t epoch =
        model->vector.epoch_count > 1 ? (uint32_t)model->vector.epoch_count - 1 : 0;
    model->slots[slot - model->first_slot] =
        (struct model_slot){id, model->counters.operation, true, has_vector, epoch, payload_bytes};
    uint8_t *payload = allocate(payload_bytes);
    made_payload(slot, payload_bytes, payload);
    struct point_row row = {
        .id = id, .version = model->counters.operation, .payload = {payload, payload_bytes}};
    if (has_vector) {
        vector_set_add(&row.vectors, MODEL_VECTOR);
    }
    error = write_point(write, slot, &row);
    free(payload);
    model->counters.point_count++;
    model->vector.vector_count += has_vector;
    model->counters.id_hash ^= mix(slot);
    return error;
}

/* A group of points with vectors, in consecutive slots. */
static UNUSED enum error model_put_group(struct model *model, struct write *write,
                                         struct random *random, uint64_t ids, size_t count)
{
    const uint64_t first = model->counters.next_slot;
    enum error error = OK;
    for (size_t i = 0; i < count && error == OK; i++) {
        const uint32_t payload =
            random_below(random, 30) == 0 ? 3000 : (uint32_t)random_below(random, 80);
        error = model_put(model, write, random_below(random, ids), true, payload);
    }
    if (error == OK) {
        error = model_write_run(model, write, first, count);
    }
    return error == OK ? model_write_codes(model, write, first, count) : error;
}

static UNUSED enum error model_begin_epoch(struct model *model, struct write *write)
{
    const uint64_t count = model->vector.epoch_count;
    const uint32_t epoch = count > 1 ? (uint32_t)count : 1;
    float *centre = allocate(model->shape.dim * sizeof(float));
    made_centre(model, MADE_EPOCH, epoch, centre);
    const enum error error = write_epoch(write, MODEL_VECTOR, epoch, centre);
    free(centre);
    model->vector.epoch_count = (uint64_t)epoch + 1;
    return error;
}

static UNUSED void model_put_counters(const struct model *model, struct write *write)
{
    *write_counters(write) = model->counters;
    *write_vector_counters(write, MODEL_VECTOR) = model->vector;
}

/* One random change of the kinds a server makes. */
static UNUSED enum error model_step(struct model *model, struct write *write, struct random *random,
                                    uint64_t ids)
{
    model->counters.operation++;
    switch (random_below(random, 12)) {
    case 0:
        return model_put(model, write, random_below(random, ids), false, 10);
    case 1:
    case 2: {
        const struct point_id id = model_id(random_below(random, ids));
        return model_kill(model, write, &id, true);
    }
    case 3:
        return random_below(random, 10) == 0 ? model_begin_epoch(model, write) : OK;
    case 4:
        return model_put_group(model, write, random, ids, 1 + random_below(random, 150));
    default:
        return model_put_group(model, write, random, ids, 1 + random_below(random, 4));
    }
}

/* ---- comparing ---- */

static UNUSED void compare_bytes(const uint8_t *bytes, const void *expected, size_t count)
{
    assert_memory_equal(bytes, expected, count);
}

/* Is it this vector alone, or none? */
static UNUSED bool model_only(const struct vector_set *set, bool has_vector)
{
    const uint32_t first = vector_set_next(set, 0);
    return has_vector
               ? first == MODEL_VECTOR && vector_set_next(set, first + 1) == ENVIRONMENT_VECTORS_MAX
               : first == ENVIRONMENT_VECTORS_MAX;
}

static UNUSED void compare_slot(const struct model *model, const struct view *view, uint64_t slot)
{
    const struct model_slot *expected = &model->slots[slot - model->first_slot];
    struct point_row row;
    uint64_t named;
    assert_int_equal(view_is_dead(view, slot), !expected->live);
    if (!expected->live) {
        assert_int_equal(view_point(view, slot, &row), ERROR_NOT_FOUND);
        assert_false(view_slot(view, &expected->id, &named) == OK && named == slot);
        return;
    }
    assert_int_equal(view_point(view, slot, &row), OK);
    assert_int_equal(point_id_compare(&row.id, &expected->id), 0);
    assert_true(row.version == expected->version && model_only(&row.vectors, expected->has_vector));
    assert_int_equal(row.payload.bytes, expected->payload_bytes);
    for (size_t i = 0; i < row.payload.bytes; i++) {
        assert_int_equal(row.payload.data[i], made_byte(MADE_ROW, slot, 0, i));
    }
    assert_int_equal(view_slot(view, &expected->id, &named), OK);
    assert_true(named == slot);
}

static UNUSED void compare_vector(const struct model *model, const struct view *view, uint64_t slot)
{
    const struct model_slot *expected = &model->slots[slot - model->first_slot];
    struct vector_row row;
    if (!expected->has_vector) {
        assert_int_equal(view_vector(view, MODEL_VECTOR, slot, &row), ERROR_NOT_FOUND);
        return;
    }
    assert_int_equal(view_vector(view, MODEL_VECTOR, slot, &row), OK);
    assert_int_equal(row.epoch, expected->epoch);
    assert_true(row.f_mul == made_float(MADE_FACTOR, slot, 0));
    assert_true(row.f_add == made_float(MADE_FACTOR, slot, 1));
    for (size_t i = 0; i < model->shape.code_bytes; i++) {
        assert_int_equal(row.code[i], made_byte(MADE_CODE, slot, 0, i));
    }
    for (size_t i = 0; i < model->shape.dim; i++) {
        assert_true(load_float(row.vector + i * 4) == made_float(MADE_VECTOR, slot, i));
    }
    assert_int_equal(vector_row_check(view, MODEL_VECTOR, &row), OK);
}

static UNUSED void compare_value(const struct model *model, const struct view *view,
                                 uint64_t number, uint64_t i)
{
    const struct model_generation *generation = &model->generations[number];
    const size_t most = model_value_lanes(model);
    const size_t left = (size_t)(generation->code_count - i * most);
    const size_t lanes = left < most ? left : most;
    struct block_value value;
    assert_int_equal(view_blocks(view, MODEL_VECTOR, number, i, &value), OK);
    assert_int_equal(value.code_count, lanes);
    assert_int_equal(value.block_count, (lanes + 31) / 32);
    assert_int_equal((uintptr_t)value.blocks % 64, 0);
    for (size_t j = 0; j < value.block_count * model->shape.block_bytes; j++) {
        assert_int_equal(value.blocks[j], model_block_byte(number, i, lanes, j));
    }
    for (size_t j = 0; j < lanes; j++) {
        assert_true(load64(value.slots + 8 * j) == generation->slots[i * most + j]);
    }
}

static UNUSED void compare_generation(const struct model *model, const struct view *view,
                                      uint64_t number)
{
    const struct model_generation *expected = &model->generations[number];
    struct generation generation;
    assert_int_equal(view_generation(view, MODEL_VECTOR, number, &generation), OK);
    assert_true(generation.number == number && generation.code_count == expected->code_count);
    assert_true(generation.value_count == model_value_count(model, number));
    assert_int_equal(generation.sealed, expected->sealed);
    assert_int_equal(generation.centre != NULL, expected->has_centre);
    for (size_t i = 0; i < model->shape.dim && generation.centre != NULL; i++) {
        assert_true(load_float(generation.centre + 4 * i) == made_float(MADE_CENTRE, number, i));
    }
    for (uint64_t i = 0; i < generation.value_count; i++) {
        compare_value(model, view, number, i);
    }
    struct block_value value;
    assert_int_equal(view_blocks(view, MODEL_VECTOR, number, generation.value_count, &value),
                     ERROR_CORRUPT);
}

static UNUSED void compare_ids(const struct model *model, const struct view *view)
{
    struct id_slot pairs[7];
    struct point_id last = {0};
    uint64_t total = 0;
    size_t count;
    bool first = true;
    do {
        assert_int_equal(view_ids(view, first ? NULL : &last, pairs, 7, &count), OK);
        /* Inclusive: but for the first call, the first pair is the last one again. */
        for (size_t i = first ? 0 : 1; i < count; i++) {
            assert_true((first && i == 0) || point_id_compare(&last, &pairs[i].id) < 0);
            const struct model_slot *slot = &model->slots[pairs[i].slot - model->first_slot];
            assert_true(slot->live && point_id_compare(&slot->id, &pairs[i].id) == 0);
            last = pairs[i].id;
            total++;
        }
        first = false;
    } while (count == 7);
    assert_true(total == model->counters.point_count);
}

struct seen {
    const struct model *model;
    uint64_t count;
};

static UNUSED enum error see_row(void *context, uint64_t slot)
{
    struct seen *seen = context;
    assert_true(seen->model->slots[slot - seen->model->first_slot].live);
    seen->count++;
    return OK;
}

static UNUSED enum error see_vector(void *context, uint64_t slot)
{
    struct seen *seen = context;
    assert_true(seen->model->slots[slot - seen->model->first_slot].has_vector);
    seen->count++;
    return OK;
}

static UNUSED void count_report(void *context, const char *text)
{
    (void)text;
    ++*(size_t *)context;
}

/* Everything the view shows against the model. */
static UNUSED void model_compare(const struct model *model, const struct view *view)
{
    static const struct vector_counters none;
    assert_memory_equal(view_counters(view), &model->counters, sizeof model->counters);
    for (uint16_t i = 0; i < MODEL_VECTORS; i++) {
        assert_memory_equal(view_vector_counters(view, i),
                            i == MODEL_VECTOR ? &model->vector : &none, sizeof none);
    }
    uint64_t vectors = 0;
    for (uint64_t slot = model->first_slot; slot < model->counters.next_slot; slot++) {
        compare_slot(model, view, slot);
        compare_vector(model, view, slot);
        vectors += model->slots[slot - model->first_slot].has_vector;
    }
    for (uint64_t i = 0; i < model->vector.generation_count; i++) {
        compare_generation(model, view, i);
    }
    for (uint64_t epoch = 1; epoch < model->vector.epoch_count; epoch++) {
        const uint8_t *centre;
        assert_int_equal(view_epoch_centre(view, MODEL_VECTOR, (uint32_t)epoch, &centre), OK);
        for (size_t i = 0; i < model->shape.dim; i++) {
            assert_true(load_float(centre + 4 * i) == made_float(MADE_EPOCH, epoch, i));
        }
    }
    compare_ids(model, view);
    struct seen rows = {model, 0}, runs = {model, 0};
    assert_int_equal(view_each_row(view, see_row, &rows), OK);
    assert_true(rows.count == model->counters.point_count);
    assert_int_equal(view_each_vector(view, MODEL_VECTOR, see_vector, &runs), OK);
    assert_true(runs.count == vectors);
    size_t problems = 0;
    assert_int_equal(view_check_all(view, count_report, &problems), OK);
    assert_int_equal(problems, 0);
}

/* ---- a data directory of the test's own ---- */

static UNUSED char *scratch_directory(void)
{
    const char *root = getenv("TMPDIR");
    char path[200];
    snprintf(path, sizeof path, "%s/kith-test-XXXXXX", root == NULL ? "/tmp" : root);
    assert_non_null(mkdtemp(path));
    return strdup(path);
}

static UNUSED void scratch_remove(char *path)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
    free(path);
}

static UNUSED struct store_options small_options(void)
{
    struct store_options options = store_options_default();
    options.map_initial_bytes = 1 << 20;
    options.map_max_bytes = 64 << 20;
    options.reader_count = 4;
    options.min_free_bytes = 1;
    options.ballast_bytes = 0;
    return options;
}

static UNUSED struct store *open_store(const char *path, const struct store_options *options)
{
    struct store *store;
    char why[300] = "";
    const enum error error = store_open(path, true, options, &store, why, sizeof why);
    if (error != OK) {
        fail_msg("%s (%s)", why, error_text(error));
    }
    return store;
}

/* vectors: of the result, the caller's. Beside the vector that is written to one that has no codes
 * and one that stays empty. */
static UNUSED struct environment_shape small_shape(uint32_t dim,
                                                   struct vector_shape vectors[MODEL_VECTORS])
{
    memset(vectors, 0, MODEL_VECTORS * sizeof *vectors);
    vectors[MODEL_VECTOR] = (struct vector_shape){
        .dim = dim, .code_bytes = (dim + 1) / 2, .block_bytes = (dim + 3) / 4 * 16 + 256};
    vectors[MODEL_VECTOR + 1] = vectors[MODEL_VECTOR];
    return (struct environment_shape){
        .vectors = vectors, .vector_count = MODEL_VECTORS, .first_slot = (UINT64_C(1) << 32) - 100};
}

#endif
