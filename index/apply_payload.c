/* Applying ops to payloads, and the conditions under which ops apply at all.
 *
 * A point whose payload changes keeps its slot, so that neither its vectors nor its codes are
 * touched: only its row is put again, with the version of the op. Filters are compiled here from
 * the op's own bytes and judge the point as this transaction has it, which may be later than what
 * the request saw: the outcome depends on the ops and their order alone. */
#include "index/collection_apply.h"

#include "index/value_edit.h"

/* What a filter may be was judged by who built the op; here only recursion is bounded. */
static const struct filter_limits no_limits = {
    .depth_max = FILTER_DEPTH_MAX, .conditions_max = UINT32_MAX, .list_max = UINT32_MAX};

static enum error read_paths(struct apply_clauses *clauses)
{
    struct span paths = clauses->header->paths, text;
    if (paths.bytes == 0) {
        return OK;
    }
    clauses->paths = arena_allocate(&clauses->arena, OP_PATHS_MAX * sizeof(struct path));
    while (op_next_path(&paths, &text)) {
        if (!path_parse(text, &clauses->arena, &clauses->paths[clauses->path_count])) {
            return ERROR_INVALID;
        }
        clauses->path_count++;
    }
    return OK;
}

enum error apply_clauses_begin(struct apply_clauses *clauses, const struct op_header *header,
                               bool string_ids)
{
    struct filter_limits limits = no_limits;
    limits.id_bytes_max = string_ids ? POINT_ID_TEXT_BYTES_MAX : 0;
    *clauses = (struct apply_clauses){.header = header};
    arena_init(&clauses->arena);
    const enum error error = read_paths(clauses);
    if (error != OK || header->filter.bytes == 0) {
        return error;
    }
    struct filter_fault fault;
    return filter_compile(header->filter, "filter", &limits, &clauses->arena, &clauses->filter,
                          &fault);
}

void apply_clauses_end(struct apply_clauses *clauses)
{
    arena_release(&clauses->arena);
}

/* ---- conditions ---- */

enum error apply_clauses_match(struct apply *apply, const struct apply_clauses *clauses,
                               uint64_t slot, bool *match)
{
    struct point_row row;
    *match = true;
    if (clauses->filter == NULL) {
        return OK;
    }
    const enum error error = write_read_point(apply->write, slot, &row);
    if (error == OK) {
        *match = filter_matches_texts(clauses->filter, &apply->collection->settings,
                                      &clauses->texts, &row);
    }
    return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error; /* the id named this slot */
}

enum error apply_clauses_admit(struct apply *apply, const struct apply_clauses *clauses,
                               bool exists, uint64_t slot, bool *admit)
{
    const enum op_mode mode = clauses->header->mode;
    *admit = exists ? mode != OP_MODE_INSERT_ONLY : mode != OP_MODE_UPDATE_ONLY;
    return exists && *admit ? apply_clauses_match(apply, clauses, slot, admit) : OK;
}

/* ---- payloads ---- */

/* The payload as the op leaves it, in the arena or the op. */
static enum error edit(const struct apply_clauses *clauses, struct span payload,
                       struct arena *arena, struct span *out)
{
    const struct op_header *header = clauses->header;
    switch (header->kind) {
    case OP_PAYLOAD_MERGE:
        return clauses->path_count > 0
                   ? value_merge_at(payload, clauses->paths, header->value, arena, out)
                   : value_merge(payload, header->value, arena, out);
    case OP_PAYLOAD_OVERWRITE:
        *out = header->value;
        return OK;
    case OP_PAYLOAD_REMOVE:
        return value_remove(payload, clauses->paths, clauses->path_count, arena, out);
    case OP_PAYLOAD_CLEAR:
        *out = (struct span){0};
        return OK;
    case OP_UPSERT:
    case OP_DELETE:
    case OP_VECTORS_UPDATE:
    case OP_VECTORS_DELETE:
    case OP_FIELD_DEFINE:
    case OP_FIELD_DROP:
    case OP_GROUP:
        break;
    }
    return ERROR_INVALID;
}

static enum error change_row(struct apply *apply, const struct apply_clauses *clauses,
                             uint64_t slot, struct point_row *row)
{
    struct arena arena;
    arena_init(&arena);
    struct span payload;
    enum error error = edit(clauses, row->payload, &arena, &payload);
    if (error == OK) {
        error = apply_note_payload(apply, slot, row->payload, payload);
    }
    if (error == OK) {
        /* no members: stored as no payload at all */
        row->payload = value_count(payload) > 0 ? payload : (struct span){0};
        row->version = apply->counters->operation;
        error = write_replace_point(apply->write, slot, row);
    }
    arena_release(&arena);
    return error;
}

static enum error note_missing(const struct apply_clauses *clauses, const struct point_id *id,
                               struct apply_item *item)
{
    if (!clauses->header->found && !item->missing) {
        item->missing = true;
        item->missing_id = *id;
    }
    return OK;
}

enum error apply_payload(struct apply *apply, const struct apply_clauses *clauses,
                         const struct point_id *id, struct apply_item *item)
{
    uint64_t slot;
    struct point_row row;
    enum error error = write_slot(apply->write, id, &slot);
    if (error == ERROR_NOT_FOUND) {
        return note_missing(clauses, id, item);
    }
    if (error == OK) {
        error = write_read_point(apply->write, slot, &row);
        error = error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error; /* the id named this slot */
    }
    if (error != OK || (clauses->filter != NULL &&
                        !filter_matches_texts(clauses->filter, &apply->collection->settings,
                                              &clauses->texts, &row))) {
        return error;
    }
    item->points_changed++;
    return change_row(apply, clauses, slot, &row);
}
