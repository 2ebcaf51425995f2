/* Changing some vectors of a point that is there.
 *
 * Its slot's other vectors cannot be taken along in place (a slot's vectors are written once), so
 * the point gets a new slot, as an upsert would give it: its id, its payload, the vectors that stay
 * and those that are new, put together as an op of one point. */
#include "index/collection_apply.h"

/* The stored vector of a number into the op. */
static enum error keep_vector(struct apply *apply, uint16_t number, uint64_t slot,
                              struct op_builder *op)
{
    const struct vector_settings *settings = &apply->collection->settings.vectors[number];
    struct vector_data vector = {
        .number = number, .kind = (uint8_t)settings->kind, .dim = settings->dim, .count = 1};
    if (settings->kind == VECTOR_NONE) {
        return OK;
    }
    if (settings->kind != VECTOR_DENSE) {
        struct stored_vector stored;
        const enum error error = write_read_stored(apply->write, number, slot, &stored);
        vector.count = stored.count;
        if (error == OK && (stored.dim != settings->dim || !vector_data_fits(&vector))) {
            return ERROR_CORRUPT;
        }
        if (error == OK && stored_data_bytes(&stored) > 0) {
            memcpy(op_put_vector(op, &vector), stored.data, stored_data_bytes(&stored));
        } else if (error == OK) {
            (void)op_put_vector(op, &vector);
        }
        return error;
    }
    struct apply_vector *state;
    struct vector_row row;
    enum error error = OK;
    if (view_vector(&apply->view, number, slot, &row) != OK ||
        vector_row_check(&apply->view, number, &row) != OK) {
        error = apply_vector_load(apply, number, &state);
        if (error == OK) {
            error = apply_flush_run(state); /* it may be of this transaction */
        }
        if (error == OK) {
            error = write_read_vector(apply->write, number, slot, &row);
        }
    }
    if (error == OK) {
        memcpy(op_put_vector(op, &vector), row.vector, settings->dim * sizeof(float));
    }
    return error;
}

/* Both lists ascend: what is given replaces what is there. */
static enum error merge_vectors(struct apply *apply, uint64_t slot, const struct vector_set *kept,
                                struct span given, struct op_builder *op)
{
    struct vector_data vector;
    bool more = op_next_vector(&given, &vector);
    enum error error = OK;
    uint32_t next = vector_set_next(kept, 0);
    while (error == OK && (more || next < COLLECTION_VECTORS_MAX)) {
        if (!more || next < vector.number) {
            error = keep_vector(apply, (uint16_t)next, slot, op);
            next = vector_set_next(kept, next + 1);
            continue;
        }
        if (next == vector.number) {
            next = vector_set_next(kept, next + 1);
        }
        uint8_t *to = op_put_vector(op, &vector);
        if (vector_data_bytes(&vector) > 0) {
            memcpy(to, vector.data, vector_data_bytes(&vector));
        }
        more = op_next_vector(&given, &vector);
    }
    return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
}

/* The point as it will be, as an op in the transaction's arena: samples of sealing point into it.
 */
static enum error build_point(struct apply *apply, uint64_t slot, const struct op_point *point,
                              bool removes, struct span *op, bool *changes)
{
    static const uint8_t no_request[16];
    struct op_builder builder;
    struct vector_data vector;
    struct point_row row;
    enum error error = write_read_point(apply->write, slot, &row);
    if (error != OK) {
        return error;
    }
    struct span given = point->vectors;
    *changes = !removes;
    while (removes && op_next_vector(&given, &vector)) {
        *changes |= vector_set_has(&row.vectors, vector.number);
        vector_set_remove(&row.vectors, vector.number);
    }
    if (!*changes) {
        return OK;
    }
    op_begin(&builder, &apply->arena, OP_UPSERT, no_request);
    op_put_named_point(&builder, &row.id, row.id_text, row.payload);
    error = merge_vectors(apply, slot, &row.vectors, removes ? (struct span){0} : point->vectors,
                          &builder);
    *op = op_end(&builder);
    return error;
}

/* The point of an op of one, in place of what the slot had. */
static enum error replace_point(struct apply *apply, uint64_t slot, struct span op,
                                uint64_t version)
{
    struct op_header header;
    struct op_point whole;
    struct span points;
    enum error error = op_open(op, &header, &points);
    if (error != OK || !op_next(&header, &points, &whole)) {
        return error == OK ? ERROR_CORRUPT : error;
    }
    struct op_codes codes = {0};
    error = apply_point_remove(apply, slot, &whole.id, false);
    return error == OK ? apply_point_insert(apply, &whole, version, &codes) : error;
}

enum error apply_point_move(struct apply *apply, uint64_t slot)
{
    static const uint8_t no_request[16];
    struct op_builder builder;
    struct point_row row;
    enum error error = write_read_point(apply->write, slot, &row);
    if (error != OK) {
        return error;
    }
    const uint64_t version = row.version;
    op_begin(&builder, &apply->arena, OP_UPSERT, no_request);
    op_put_named_point(&builder, &row.id, row.id_text, row.payload);
    error = merge_vectors(apply, slot, &row.vectors, (struct span){0}, &builder);
    const struct span op = op_end(&builder);
    return error == OK ? replace_point(apply, slot, op, version) : error;
}

enum error apply_vectors_change(struct apply *apply, const struct apply_clauses *clauses,
                                const struct op_point *point, struct apply_item *item)
{
    uint64_t slot;
    struct span op;
    struct vector_set given;
    bool changes = true;
    const bool removes = clauses->header->kind == OP_VECTORS_DELETE;
    enum error error = write_slot(apply->write, &point->id, &slot);
    if (error == ERROR_NOT_FOUND) {
        if (!item->missing && !clauses->header->found && !removes) {
            item->missing = true;
            item->missing_id = point->id;
        }
        return OK;
    }
    if (error == OK) {
        error = apply_clauses_match(apply, clauses, slot, &changes);
    }
    if (error == OK && !removes) {
        error = apply_vectors_check(apply, point->vectors, &given);
    }
    if (error == OK && changes) {
        error = build_point(apply, slot, point, removes, &op, &changes);
    }
    if (error != OK || !changes) {
        return error;
    }
    item->points_changed++;
    return replace_point(apply, slot, op, apply->counters->operation);
}
