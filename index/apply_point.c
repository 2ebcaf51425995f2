/* The vectors of one point, put into its slot and removed from it. */
#include "index/collection_apply.h"
#include "storage/lists.h"

enum error apply_slot_vectors(struct apply *apply, uint64_t slot, struct vector_set *vectors)
{
    struct point_row row;
    const enum error error = write_read_point(apply->write, slot, &row);
    if (error == OK) {
        *vectors = row.vectors;
        return apply_note_payload(apply, slot, row.payload, (struct span){0});
    }
    if (error != ERROR_CORRUPT) {
        return error;
    }
    *vectors = (struct vector_set){{0}};
    for (uint32_t i = 0; i < apply->collection->settings.vector_count; i++) {
        struct vector_row row_of;
        struct stored_vector stored;
        const bool in_run = apply->collection->settings.vectors[i].kind == VECTOR_DENSE;
        const enum error found = in_run ? view_vector(&apply->view, (uint16_t)i, slot, &row_of)
                                        : view_stored(&apply->view, (uint16_t)i, slot, &stored);
        if (found != ERROR_NOT_FOUND) {
            vector_set_add(vectors, i);
        }
    }
    return OK;
}

/* The lanes of a multivector die with it. */
static enum error multi_remove(struct apply *apply, uint16_t number, uint64_t slot)
{
    struct vector_counters *counters = write_vector_counters(apply->write, number);
    struct stored_vector stored = {.count = 0};
    const enum error error = write_read_stored(apply->write, number, slot, &stored);
    if (counters->vector_count == 0) {
        return ERROR_CORRUPT;
    }
    counters->vector_count--;
    counters->dead_count += error == OK ? stored.count : 0;
    return write_stored_remove(apply->write, number, slot);
}

static enum error dense_remove(struct apply *apply, uint16_t number)
{
    struct vector_counters *counters = write_vector_counters(apply->write, number);
    if (counters->vector_count == 0) {
        return ERROR_CORRUPT;
    }
    counters->vector_count--;
    counters->dead_count++;
    return OK;
}

enum error apply_vectors_remove(struct apply *apply, uint64_t slot,
                                const struct vector_set *vectors)
{
    const struct collection_settings *settings = &apply->collection->settings;
    enum error error = OK;
    for (uint32_t i = vector_set_next(vectors, 0); i < COLLECTION_VECTORS_MAX && error == OK;
         i = vector_set_next(vectors, i + 1)) {
        if (i >= settings->vector_count) {
            return ERROR_CORRUPT;
        }
        switch (settings->vectors[i].kind) {
        case VECTOR_NONE: /* its counters are gone with it */
            break;
        case VECTOR_DENSE:
            error = dense_remove(apply, (uint16_t)i);
            break;
        case VECTOR_MULTI:
            error = multi_remove(apply, (uint16_t)i, slot);
            break;
        case VECTOR_SPARSE:
            error = apply_sparse_remove(apply, (uint16_t)i, slot);
            break;
        }
    }
    return error;
}

/* A dense vector or a multivector: its codes, each row's in a lane of its own. */
static enum error coded_put(struct apply *apply, uint64_t slot, const struct vector_data *vector,
                            struct op_codes *codes)
{
    const struct encoded *encoded = codes->encoded;
    const struct encoded_vector *own = encoded != NULL && vector->number < encoded->vector_count
                                           ? &encoded->vectors[vector->number]
                                           : NULL;
    const uint32_t used = codes->used[vector->number];
    if (own != NULL && own->count - used < vector->count) {
        return ERROR_INVALID;
    }
    struct apply_vector *state;
    enum error error = apply_vector_load(apply, vector->number, &state);
    if (error == OK && vector->kind == VECTOR_MULTI) {
        const struct stored_vector stored = {vector->dim, vector->count, vector->data};
        error = write_stored(apply->write, vector->number, slot, &stored);
    }
    if (error != OK) {
        return error;
    }
    codes->used[vector->number] += vector->count;
    state->counters->vector_count++;
    for (uint32_t i = 0; i < vector->count && error == OK; i++) {
        const uint8_t *floats = vector->data + (size_t)i * vector->dim * sizeof(float);
        error = apply_vector_add(state, slot, floats, own, used + i);
    }
    return error;
}

enum error apply_vectors_check(const struct apply *apply, struct span vectors,
                               struct vector_set *set)
{
    struct vector_data vector;
    *set = (struct vector_set){{0}};
    while (op_next_vector(&vectors, &vector)) {
        bool removed;
        const enum error error = collection_check_vector(apply->collection, &vector, &removed);
        if (error != OK) {
            return error;
        }
        if (!removed) {
            vector_set_add(set, vector.number);
        }
    }
    return OK;
}

enum error apply_vectors_put(struct apply *apply, uint64_t slot, struct span vectors,
                             const struct vector_set *set, struct op_codes *codes)
{
    struct vector_data vector;
    enum error error = OK;
    while (error == OK && op_next_vector(&vectors, &vector)) {
        if (vector_set_has(set, vector.number)) {
            error = vector.kind == VECTOR_SPARSE ? apply_sparse_add(apply, slot, &vector)
                                                 : coded_put(apply, slot, &vector, codes);
        }
    }
    return error;
}

enum error apply_vectors_skip(const struct apply *apply, struct span vectors,
                              struct op_codes *codes)
{
    struct vector_data vector;
    while (op_next_vector(&vectors, &vector)) {
        bool removed;
        const enum error error = collection_check_vector(apply->collection, &vector, &removed);
        if (error != OK) {
            return error;
        }
        if (!removed && vector.dim > 0) {
            codes->used[vector.number] += vector.count;
        }
    }
    return OK;
}
