/* Building payload indexes of collections that hold data, and removing dropped ones, a bounded step
 * at a time. Between two steps the writer serves everybody else. */
#include "index/collection.h"
#include "index/field_changes.h"

/* Of a step: about 10 ms of keys, and as much to write. */
#define STEP_POINTS 2048u
#define STEP_BYTES ((size_t)2 << 20)
#define STEP_POSTINGS 4096u

struct step {
    struct collection *collection;
    struct write *write;
    struct view view;
    struct field_changes changes;
};

/* The next slots of a field into `changes`. A damaged row is left out: it has no payload. */
static enum error gather_rows(struct step *step, struct field *field)
{
    struct field_record *record = &field->record;
    size_t bytes = 0;
    for (uint32_t points = 0; points < STEP_POINTS && bytes < STEP_BYTES; points++) {
        struct point_row row;
        uint64_t slot;
        const enum error error = view_next_row(&step->view, record->built, &slot, &row);
        if (error == ERROR_NOT_FOUND || (error == OK && slot >= record->end)) {
            record->state = FIELD_READY;
            record->built = record->end;
            return OK;
        }
        if (error != OK && error != ERROR_CORRUPT) {
            return error;
        }
        if (error == OK) {
            field_changes_add(&step->changes, field, slot, row.payload);
            bytes += row.payload.bytes;
        }
        record->built = slot + 1;
    }
    return OK;
}

static enum error build(struct step *step, struct field *field)
{
    enum error error = gather_rows(step, field);
    if (error == OK) {
        error = field_changes_flush(&step->changes, step->write);
    }
    failpoint("index-build-step");
    return error == OK ? write_field(step->write, &field->record) : error;
}

/* A dropped field's next postings, and its definition after the last. */
static enum error remove_dropped(struct step *step, bool *found)
{
    struct field_record record = {0};
    enum error error = OK;
    *found = false;
    for (uint32_t number = 1; error == OK && !*found; number = record.number + 1) {
        error = view_field_next(&step->view, number, &record);
        *found = error == OK && record.state == FIELD_DROPPED;
    }
    if (error != OK) {
        return error == ERROR_NOT_FOUND ? OK : error;
    }
    bool done;
    error = write_postings_remove(step->write, record.number, STEP_POSTINGS, &done);
    return error == OK && done ? write_field_remove(step->write, record.number) : error;
}

static enum error run(struct step *step, bool *more)
{
    enum error error = field_changes_load(&step->changes, &step->view);
    for (size_t i = 0; error == OK && i < step->changes.fields.count; i++) {
        if (step->changes.fields.items[i].record.state == FIELD_BUILDING) {
            *more = true;
            return build(step, &step->changes.fields.items[i]);
        }
    }
    return error == OK ? remove_dropped(step, more) : error;
}

enum error collection_build_fields(struct collection *collection, bool *more)
{
    struct step step = {.collection = collection};
    *more = false;
    enum error error = write_begin(collection->environment, &step.write);
    if (error != OK) {
        return error;
    }
    field_changes_init(&step.changes);
    error = view_open(collection->environment, database_writer_reader(collection->database),
                      &step.view);
    if (error == OK) {
        error = run(&step, more);
        view_close(&step.view);
    }
    field_changes_release(&step.changes);
    if (error != OK || !*more) {
        write_abort(step.write);
        return error;
    }
    return write_commit(step.write);
}

enum error collection_fields_pending(const struct view *view, bool *pending)
{
    struct field_record record = {0};
    enum error error = OK;
    *pending = false;
    for (uint32_t number = 1; error == OK && !*pending; number = record.number + 1) {
        error = view_field_next(view, number, &record);
        *pending = error == OK && record.state != FIELD_READY;
    }
    return error == ERROR_NOT_FOUND ? OK : error;
}
