/* Centres, codes beside the writer, and small things of an open collection. */
#include "index/collection.h"

#include <assert.h>

#include "index/workspace.h"

_Atomic uint64_t *collection_meters(struct collection *collection)
{
    return collection->meters;
}

struct span collection_config(const struct collection *collection)
{
    const struct kept_config *config =
        atomic_load_explicit(&collection->config, memory_order_acquire);
    return span_of(config->data, config->bytes);
}

struct collection *collection_newest(struct collection *collection)
{
    while (collection->successor != NULL) {
        collection = collection->successor;
    }
    return collection;
}

const struct collection_settings *collection_newest_settings(struct collection *collection)
{
    return &collection_newest(collection)->settings;
}

struct span collection_newest_config(struct collection *collection)
{
    return collection_config(collection_newest(collection));
}

struct span collection_name(const struct collection *collection)
{
    return collection->name;
}

bool collection_first_look(struct collection *collection)
{
    return !atomic_load_explicit(&collection->looked_at, memory_order_relaxed) &&
           !atomic_exchange(&collection->looked_at, true);
}

const struct collection_settings *collection_settings(const struct collection *collection)
{
    return &collection->settings;
}

const struct codec *collection_codec(const struct collection *collection, uint16_t vector)
{
    return vector < collection->settings.vector_count ? collection->vectors[vector].codec : NULL;
}

const struct vector_settings *settings_find_vector(const struct collection_settings *settings,
                                                   struct span name, uint16_t *number)
{
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        const struct vector_settings *vector = &settings->vectors[i];
        if (vector->kind != VECTOR_NONE && span_equal(vector->name, name)) {
            *number = (uint16_t)i;
            return vector;
        }
    }
    return NULL;
}

struct environment *collection_environment(const struct collection *collection)
{
    return collection->environment;
}

/* Finaliser of splitmix64. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t point_hash(const struct point_id *id, uint64_t slot)
{
    uint64_t hash = mix(slot + 0x9e3779b97f4a7c15u);
    hash = mix(hash ^ load64(id->bytes));
    hash = mix(hash ^ load64(id->bytes + 8));
    return mix(hash + id->kind);
}

enum error generation_open(const struct view *view, uint16_t vector, struct generation *open)
{
    const uint64_t count = view_vector_counters(view, vector)->generation_count;
    if (count == 0) {
        *open = (struct generation){0};
        return OK;
    }
    const enum error error = view_generation(view, vector, count - 1, open);
    if (error != OK) {
        return error;
    }
    /* Sealing one opens the next in the same transaction. */
    return open->sealed ? ERROR_CORRUPT : OK;
}

/* A centre as the view has it (unaligned, or NULL) copied for the codec. */
static const float *copy_centre(const struct collection_vector *vector, const uint8_t *stored,
                                struct scratch *scratch)
{
    if (stored == NULL) {
        return NULL;
    }
    const size_t bytes = size_product(vector->settings->dim, sizeof(float));
    return memcpy(scratch_need(scratch, bytes), stored, bytes);
}

enum error centres_load(const struct collection_vector *vector, const struct view *view,
                        struct encode_scratch *scratch, struct centres *centres)
{
    struct generation open;
    enum error error = generation_open(view, vector->number, &open);
    if (error != OK) {
        return error;
    }
    const uint64_t epoch_count = view_vector_counters(view, vector->number)->epoch_count;
    const uint8_t *epoch_centre = NULL;
    *centres = (struct centres){.generation = open.number};
    if (epoch_count > 1) {
        centres->epoch = (uint32_t)(epoch_count - 1);
        error = view_epoch_centre(view, vector->number, centres->epoch, &epoch_centre);
        if (error != OK) {
            return error;
        }
    }
    centres->generation_centre = copy_centre(vector, open.centre, &scratch->generation_centre);
    centres->epoch_centre = copy_centre(vector, epoch_centre, &scratch->epoch_centre);
    return OK;
}

const float *encode_rotate(const struct collection_vector *vector, const uint8_t *floats,
                           struct encode_scratch *scratch)
{
    const size_t bytes = size_product(vector->settings->dim, sizeof(float));
    float *aligned = scratch_need(&scratch->vector, bytes);
    float *rotated = scratch_need(&scratch->rotated, bytes);
    void *work = scratch_need(&scratch->work, codec_work_bytes(vector->codec));
    memcpy(aligned, floats, bytes);
    codec_rotate(vector->codec, aligned, rotated, work);
    return rotated;
}

void encode_rotated(const struct collection_vector *vector, unsigned bits, const float *rotated,
                    const float *centre, uint8_t *code, struct code_factors *factors,
                    struct encode_scratch *scratch)
{
    void *work = scratch_need(&scratch->work, codec_work_bytes(vector->codec));
    codec_encode(vector->codec, bits, vector->settings->metric, rotated, centre, code, factors,
                 work);
}

static void encoded_begin(const struct collection_vector *vector, struct arena *arena,
                          const struct centres *centres, uint32_t count,
                          struct encoded_vector *encoded)
{
    const struct codec *codec = vector->codec;
    const size_t factors_bytes = size_product(count, sizeof(struct code_factors));
    *encoded = (struct encoded_vector){
        .generation = centres->generation,
        .epoch = centres->epoch,
        .count = count,
        .block_codes = arena_allocate(
            arena, size_product(count, codec_code_bytes(codec, codec_first_bits(codec)))),
        .row_codes = arena_allocate(
            arena, size_product(count, codec_code_bytes(codec, codec_second_bits(codec)))),
        .block_factors = arena_allocate(arena, factors_bytes),
        .row_factors = arena_allocate(arena, factors_bytes),
    };
}

static void encode_point(const struct collection_vector *vector, const struct centres *centres,
                         const uint8_t *floats, struct encoded_vector *encoded, uint32_t i,
                         struct encode_scratch *scratch)
{
    const float *rotated = encode_rotate(vector, floats, scratch);
    encode_rotated(vector, codec_first_bits(vector->codec), rotated, centres->generation_centre,
                   encoded->block_codes +
                       i * codec_code_bytes(vector->codec, codec_first_bits(vector->codec)),
                   &encoded->block_factors[i], scratch);
    if (vector->settings->kind == VECTOR_MULTI) {
        return; /* its rows have no second code */
    }
    encode_rotated(vector, codec_second_bits(vector->codec), rotated, centres->epoch_centre,
                   encoded->row_codes +
                       i * codec_code_bytes(vector->codec, codec_second_bits(vector->codec)),
                   &encoded->row_factors[i], scratch);
}

/* The centres are copied, so that the view is not held over the encoding of a large op. */
static enum error copy_centres(const struct collection *collection, uint32_t reader,
                               const struct collection_vector *vector,
                               struct encode_scratch *scratch, struct centres *centres)
{
    struct view view;
    enum error error = view_open(collection->environment, reader, &view);
    if (error != OK) {
        return error;
    }
    error = centres_load(vector, &view, scratch, centres);
    view_close(&view);
    return error;
}

enum error collection_check_vector(const struct collection *collection,
                                   const struct vector_data *vector, bool *removed)
{
    const struct collection_settings *settings = &collection->settings;
    *removed = false;
    if (vector->number >= settings->vector_count) {
        return ERROR_INVALID;
    }
    const struct vector_settings *expected = &settings->vectors[vector->number];
    *removed = expected->kind == VECTOR_NONE;
    return *removed || (vector->kind == expected->kind && vector->dim == expected->dim)
               ? OK
               : ERROR_INVALID;
}

/* How many codes an op needs of each vector. */
static enum error count_codes(const struct collection *collection, const struct op_header *header,
                              struct span points, uint32_t counts[COLLECTION_VECTORS_MAX])
{
    struct op_point point;
    struct vector_data vector;
    memset(counts, 0, COLLECTION_VECTORS_MAX * sizeof *counts);
    while (op_next(header, &points, &point)) {
        while (op_next_vector(&point.vectors, &vector)) {
            bool removed;
            const enum error error = collection_check_vector(collection, &vector, &removed);
            if (error != OK) {
                return error;
            }
            if (!removed && vector.dim > 0) {
                counts[vector.number] += vector.count;
            }
        }
    }
    return OK;
}

/* All of an op's vectors of one number. */
static void encode_points(const struct collection_vector *vector, const struct centres *centres,
                          const struct op_header *header, struct span points,
                          struct encoded_vector *encoded, struct encode_scratch *scratch)
{
    struct op_point point;
    struct vector_data data;
    uint32_t i = 0;
    while (op_next(header, &points, &point)) {
        while (op_next_vector(&point.vectors, &data)) {
            if (data.number != vector->number) {
                continue;
            }
            for (uint32_t j = 0; j < data.count; j++) {
                const uint8_t *floats = data.data + (size_t)j * data.dim * sizeof(float);
                encode_point(vector, centres, floats, encoded, i++, scratch);
            }
        }
    }
    assert(i == encoded->count);
}

static enum error encode_group(struct collection *collection, uint32_t reader, uint32_t count,
                               struct span ops, struct arena *arena,
                               struct search_workspace *workspace, struct encoded **encoded)
{
    struct encoded *result = arena_allocate(arena, sizeof *result);
    *result = (struct encoded){
        .parts = arena_allocate(arena, size_product(count, sizeof(struct encoded *)))};
    struct span op;
    enum error error = OK;
    for (uint32_t i = 0; error == OK && i < count && op_next_op(&ops, &op); i++) {
        error = collection_encode(collection, reader, op, arena, workspace, &result->parts[i]);
    }
    *encoded = result;
    return error;
}

enum error collection_encode(struct collection *collection, uint32_t reader, struct span op,
                             struct arena *arena, struct search_workspace *workspace,
                             struct encoded **encoded)
{
    *encoded = NULL;
    struct op_header header;
    struct span points;
    uint32_t counts[COLLECTION_VECTORS_MAX];
    enum error error = op_open(op, &header, &points);
    if (error == OK && header.kind == OP_GROUP) {
        return encode_group(collection, reader, header.point_count, points, arena, workspace,
                            encoded);
    }
    /* Changed vectors go to new slots with those that stay: the writer makes their codes. */
    if (error != OK || header.vector_count == 0 || header.kind != OP_UPSERT) {
        return error;
    }
    error = count_codes(collection, &header, points, counts);
    if (error != OK) {
        return error;
    }
    const uint32_t vector_count = collection->settings.vector_count;
    struct encoded *result = arena_allocate(arena, sizeof *result);
    *result = (struct encoded){
        vector_count, arena_allocate(arena, size_product(vector_count, sizeof *result->vectors)),
        NULL};
    for (uint32_t i = 0; i < vector_count; i++) {
        result->vectors[i] = (struct encoded_vector){0};
        if (counts[i] == 0) {
            continue;
        }
        const struct collection_vector *vector = &collection->vectors[i];
        struct centres centres;
        error = copy_centres(collection, reader, vector, &workspace->encode, &centres);
        if (error != OK) {
            return error;
        }
        encoded_begin(vector, arena, &centres, counts[i], &result->vectors[i]);
        encode_points(vector, &centres, &header, points, &result->vectors[i], &workspace->encode);
    }
    *encoded = result;
    return OK;
}
