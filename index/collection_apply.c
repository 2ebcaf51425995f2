/* Applying ops: one storage write for a group of them.
 *
 * Nothing of the writer's state outlives a call: the open generation's last block value and the
 * centres of each vector the ops touch are copied from the view of the version before (a few
 * microseconds beside a flush of hundreds), so an aborted write leaves nothing to repair and a
 * collection costs no memory between its writes. The buffers belong to the database, whose one
 * writer thread is the only caller. */
#include "index/collection_apply.h"

#include <assert.h>
#include <stdlib.h>

struct apply_scratch *apply_scratch_new(void)
{
    return allocate_zeroed(1, sizeof(struct apply_scratch));
}

static void vector_scratch_free(struct vector_scratch *scratch)
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

void apply_scratch_free(struct apply_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    for (size_t i = 0; i < COLLECTION_VECTORS_MAX; i++) {
        vector_scratch_free(scratch->vectors[i]);
    }
    free(scratch);
}

/* The view is opened after write_begin and closed before the commit: both may have to wait until
 * there are no views. */
static enum error apply_begin(struct apply *apply)
{
    struct collection *collection = apply->collection;
    if (collection->compaction != NULL) {
        return ERROR_BUSY; /* the copy would not have it */
    }
    enum error error = write_begin(collection->environment, &apply->write);
    if (error != OK) {
        return error;
    }
    apply->counters = write_counters(apply->write);
    error = view_open(collection->environment, database_writer_reader(collection->database),
                      &apply->view);
    apply->view_open = error == OK;
    return error;
}

enum error apply_note_payload(struct apply *apply, uint64_t slot, struct span before,
                              struct span after)
{
    const enum error error = field_changes_load(&apply->fields, &apply->view);
    if (error == OK) {
        field_changes_note(&apply->fields, slot, before, after);
    }
    return error;
}

/* ---- one point ---- */

enum error apply_point_remove(struct apply *apply, uint64_t slot, const struct point_id *id,
                              bool remove_id)
{
    struct counters *counters = apply->counters;
    struct vector_set vectors;
    enum error error = apply_slot_vectors(apply, slot, &vectors);
    if (error == OK) {
        error = write_remove(apply->write, slot, id, remove_id);
    }
    if (error != OK) {
        return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error; /* the id named this slot */
    }
    if (counters->point_count == 0) {
        return ERROR_CORRUPT;
    }
    counters->point_count--;
    counters->id_hash ^= point_hash(id, slot);
    return apply_vectors_remove(apply, slot, &vectors);
}

enum error apply_point_insert(struct apply *apply, const struct op_point *point, uint64_t version,
                              struct op_codes *codes)
{
    struct counters *counters = apply->counters;
    const uint64_t slot = counters->next_slot++;
    struct point_row row = {
        .id = point->id, .version = version, .id_text = point->id_text, .payload = point->payload};
    enum error error = apply_vectors_check(apply, point->vectors, &row.vectors);
    if (error == OK) {
        error = write_point(apply->write, slot, &row);
    }
    if (error == OK) {
        error = apply_note_payload(apply, slot, (struct span){0}, row.payload);
    }
    if (error == OK) {
        error = apply_vectors_put(apply, slot, point->vectors, &row.vectors, codes);
    }
    counters->point_count++;
    counters->id_hash ^= point_hash(&point->id, slot);
    return error;
}

static enum error point_upsert(struct apply *apply, const struct op_point *point,
                               const struct apply_clauses *clauses, struct op_codes *codes,
                               uint32_t *changed)
{
    uint64_t earlier = 0;
    enum error error = write_slot(apply->write, &point->id, &earlier);
    if (error == OK || error == ERROR_NOT_FOUND) {
        bool admit;
        const enum error failed = apply_clauses_admit(apply, clauses, error == OK, earlier, &admit);
        if (failed != OK || !admit) {
            return failed != OK ? failed : apply_vectors_skip(apply, point->vectors, codes);
        }
    }
    if (error == OK) {
        error = apply_point_remove(apply, earlier, &point->id, false);
    } else if (error == ERROR_NOT_FOUND) {
        error = OK;
    }
    if (error != OK) {
        return error;
    }
    ++*changed;
    return apply_point_insert(apply, point, apply->counters->operation, codes);
}

static enum error point_delete(struct apply *apply, const struct apply_clauses *clauses,
                               const struct point_id *id, uint32_t *removed)
{
    uint64_t slot;
    enum error error = write_slot(apply->write, id, &slot);
    bool match = true;
    if (error == OK) {
        error = apply_clauses_match(apply, clauses, slot, &match);
    }
    if (error != OK || !match) {
        return error == ERROR_NOT_FOUND ? OK : error;
    }
    ++*removed;
    return apply_point_remove(apply, slot, id, true);
}

/* ---- ops ---- */

static enum error apply_points(struct apply *apply, const struct apply_clauses *clauses,
                               struct span points, struct apply_item *item)
{
    const struct op_header *header = clauses->header;
    struct op_codes codes = {.encoded = item->encoded};
    struct op_point point;
    enum error error = OK;
    while (error == OK && op_next(header, &points, &point)) {
        if (header->kind == OP_UPSERT) {
            error = point_upsert(apply, &point, clauses, &codes, &item->points_changed);
        } else if (header->kind == OP_DELETE) {
            error = point_delete(apply, clauses, &point.id, &item->points_changed);
        } else if (header->kind == OP_VECTORS_UPDATE || header->kind == OP_VECTORS_DELETE) {
            error = apply_vectors_change(apply, clauses, &point, item);
        } else {
            error = apply_payload(apply, clauses, &point.id, item);
        }
        if (error == OK) {
            error = field_changes_trim(&apply->fields, apply->write);
        }
    }
    return error;
}

static enum error apply_op(struct apply *apply, struct apply_item *item);

/* Payload indexes are defined and dropped. */
static enum error apply_field(struct apply *apply, const struct op_header *header)
{
    struct span paths = header->paths, name;
    if (!op_next_path(&paths, &name)) {
        return ERROR_INVALID;
    }
    const enum error error = field_changes_load(&apply->fields, &apply->view);
    if (error != OK) {
        return error;
    }
    if (header->kind == OP_FIELD_DROP) {
        return field_changes_drop(&apply->fields, apply->write, name);
    }
    return field_changes_define(&apply->fields, apply->write, name,
                                value_get(header->value, span_text("schema")),
                                apply->counters->next_slot);
}

/* All or none: what a single op would only report is an error here. */
static enum error apply_group(struct apply *apply, struct span ops, struct apply_item *item)
{
    const struct encoded *encoded = item->encoded;
    struct span op;
    enum error error = OK;
    for (size_t i = 0; error == OK && op_next_op(&ops, &op); i++) {
        struct apply_item part = {.op = op};
        if (encoded != NULL && encoded->parts != NULL) {
            part.encoded = encoded->parts[i];
        }
        error = apply_op(apply, &part);
        item->operation = part.operation;
        item->points_changed += part.points_changed;
        if (part.missing) {
            item->missing = true;
            item->missing_id = part.missing_id;
            error = error == OK ? ERROR_NOT_FOUND : error;
        }
    }
    return error;
}

static enum error apply_op(struct apply *apply, struct apply_item *item)
{
    struct op_header header;
    struct span points;
    enum error error = op_open(item->op, &header, &points);
    if (error != OK) {
        return error;
    }
    item->points_changed = 0;
    item->missing = false;
    if (header.kind == OP_GROUP) {
        return apply_group(apply, points, item);
    }
    item->operation = ++apply->counters->operation;
    if (header.kind == OP_FIELD_DEFINE || header.kind == OP_FIELD_DROP) {
        return apply_field(apply, &header);
    }
    struct apply_clauses clauses;
    error = apply_clauses_begin(&clauses, &header, apply->collection->settings.string_ids);
    if (error == OK && clauses.filter != NULL) {
        error = field_changes_load(&apply->fields, &apply->view);
        if (error == OK) {
            filter_texts_bind(clauses.filter, &apply->fields.fields, &clauses.arena,
                              &clauses.texts);
        }
    }
    if (error == OK) {
        error = apply_points(apply, &clauses, points, item);
    }
    apply_clauses_end(&clauses);
    return error;
}

enum error apply_transaction(struct collection *collection,
                             enum error (*body)(struct apply *apply, void *context), void *context)
{
    collection = collection_newest(collection);
    struct apply apply = {.collection = collection,
                          .scratch = database_apply_scratch(collection->database)};
    field_changes_init(&apply.fields);
    arena_init(&apply.arena);
    enum error error = apply_begin(&apply);
    if (error == OK) {
        error = body(&apply, context);
    }
    if (error == OK) {
        error = apply_sparse_finish(&apply);
    }
    if (error == OK) {
        error = apply_flush(&apply);
    }
    if (error == OK) {
        error = field_changes_flush(&apply.fields, apply.write);
    }
    field_changes_release(&apply.fields);
    arena_release(&apply.arena);
    if (apply.view_open) {
        view_close(&apply.view);
    }
    if (error != OK) {
        write_abort(apply.write);
        return error;
    }
    return write_commit(apply.write);
}

struct apply_items {
    struct apply_item *items;
    size_t count;
};

static enum error apply_items(struct apply *apply, void *context)
{
    const struct apply_items *items = context;
    enum error error = OK;
    for (size_t i = 0; i < items->count && error == OK; i++) {
        error = apply_op(apply, &items->items[i]);
        failpoint("index-applied");
    }
    return error;
}

enum error collection_apply(struct collection *collection, struct apply_item *items,
                            size_t item_count)
{
    struct apply_items all = {items, item_count};
    return apply_transaction(collection, apply_items, &all);
}

static enum error apply_early_seal(struct apply *apply, void *context)
{
    const uint16_t *vector = context;
    struct apply_vector *state;
    const enum error error = apply_vector_load(apply, *vector, &state);
    if (error != OK || state->codes == 0) {
        return error;
    }
    state->generation_touched = true;
    return apply_seal(state);
}

enum error collection_seal(struct collection *collection, uint16_t vector)
{
    return apply_transaction(collection, apply_early_seal, &vector);
}
