/* Centres, codes beside the writer, and small things of an open collection. */
#include "index/collection.h"

#include <assert.h>

#include "index/workspace.h"

struct span collection_name(const struct collection *collection)
{
    return collection->name;
}

const struct collection_settings *collection_settings(const struct collection *collection)
{
    return &collection->settings;
}

const struct codec *collection_codec(const struct collection *collection)
{
    return collection->codec;
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

enum error generation_open(const struct view *view, struct generation *open)
{
    const uint64_t count = view_counters(view)->generation_count;
    if (count == 0) {
        *open = (struct generation){0};
        return OK;
    }
    const enum error error = view_generation(view, count - 1, open);
    if (error != OK) {
        return error;
    }
    /* Sealing one opens the next in the same transaction. */
    return open->sealed ? ERROR_CORRUPT : OK;
}

/* A centre as the view has it (unaligned, or NULL) copied for the codec. */
static const float *copy_centre(const struct collection *collection, const uint8_t *stored,
                                struct scratch *scratch)
{
    if (stored == NULL) {
        return NULL;
    }
    const size_t bytes = size_product(collection->settings.dim, sizeof(float));
    return memcpy(scratch_need(scratch, bytes), stored, bytes);
}

enum error centres_load(const struct collection *collection, const struct view *view,
                        struct encode_scratch *scratch, struct centres *centres)
{
    struct generation open;
    enum error error = generation_open(view, &open);
    if (error != OK) {
        return error;
    }
    const uint64_t epoch_count = view_counters(view)->epoch_count;
    const uint8_t *epoch_centre = NULL;
    *centres = (struct centres){.generation = open.number};
    if (epoch_count > 1) {
        centres->epoch = (uint32_t)(epoch_count - 1);
        error = view_epoch_centre(view, centres->epoch, &epoch_centre);
        if (error != OK) {
            return error;
        }
    }
    centres->generation_centre = copy_centre(collection, open.centre, &scratch->generation_centre);
    centres->epoch_centre = copy_centre(collection, epoch_centre, &scratch->epoch_centre);
    return OK;
}

const float *encode_rotate(const struct collection *collection, const uint8_t *vector,
                           struct encode_scratch *scratch)
{
    const size_t bytes = size_product(collection->settings.dim, sizeof(float));
    float *aligned = scratch_need(&scratch->vector, bytes);
    float *rotated = scratch_need(&scratch->rotated, bytes);
    void *work = scratch_need(&scratch->work, codec_work_bytes(collection->codec));
    memcpy(aligned, vector, bytes);
    codec_rotate(collection->codec, aligned, rotated, work);
    return rotated;
}

void encode_rotated(const struct collection *collection, unsigned bits, const float *rotated,
                    const float *centre, uint8_t *code, struct code_factors *factors,
                    struct encode_scratch *scratch)
{
    void *work = scratch_need(&scratch->work, codec_work_bytes(collection->codec));
    codec_encode(collection->codec, bits, collection->settings.metric, rotated, centre, code,
                 factors, work);
}

static struct encoded *encoded_new(const struct collection *collection, struct arena *arena,
                                   const struct centres *centres, uint32_t vector_count)
{
    const struct codec *codec = collection->codec;
    struct encoded *encoded = arena_allocate(arena, sizeof *encoded);
    const size_t factors_bytes = size_product(vector_count, sizeof(struct code_factors));
    *encoded = (struct encoded){
        .generation = centres->generation,
        .epoch = centres->epoch,
        .vector_count = vector_count,
        .block_codes =
            arena_allocate(arena, size_product(vector_count, codec_code_bytes(codec, 1))),
        .row_codes = arena_allocate(arena, size_product(vector_count, codec_code_bytes(codec, 4))),
        .block_factors = arena_allocate(arena, factors_bytes),
        .row_factors = arena_allocate(arena, factors_bytes),
    };
    return encoded;
}

static void encode_point(const struct collection *collection, const struct centres *centres,
                         const uint8_t *vector, struct encoded *encoded, uint32_t i,
                         struct encode_scratch *scratch)
{
    const float *rotated = encode_rotate(collection, vector, scratch);
    encode_rotated(collection, 1, rotated, centres->generation_centre,
                   encoded->block_codes + i * codec_code_bytes(collection->codec, 1),
                   &encoded->block_factors[i], scratch);
    encode_rotated(collection, 4, rotated, centres->epoch_centre,
                   encoded->row_codes + i * codec_code_bytes(collection->codec, 4),
                   &encoded->row_factors[i], scratch);
}

enum error collection_encode(struct collection *collection, uint32_t reader, struct span op,
                             struct arena *arena, struct search_workspace *workspace,
                             struct encoded **encoded)
{
    *encoded = NULL;
    struct op_header header;
    struct span points;
    enum error error = op_open(op, &header, &points);
    if (error != OK || header.vector_count == 0) {
        return error;
    }
    if (header.dim != collection->settings.dim) {
        return ERROR_INVALID;
    }
    /* The centres are copied, so that the view is not held over the encoding of a large op. */
    struct view view;
    error = view_open(collection->environment, reader, &view);
    if (error != OK) {
        return error;
    }
    struct centres centres;
    error = centres_load(collection, &view, &workspace->encode, &centres);
    view_close(&view);
    if (error != OK) {
        return error;
    }
    struct encoded *result = encoded_new(collection, arena, &centres, header.vector_count);
    struct op_point point;
    uint32_t i = 0;
    while (op_next(&header, &points, &point)) {
        if (point.vector != NULL) {
            encode_point(collection, &centres, point.vector, result, i++, &workspace->encode);
        }
    }
    assert(i == header.vector_count);
    *encoded = result;
    return OK;
}
