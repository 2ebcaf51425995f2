/* What one write transaction changes in the payload indexes. Private to index/.
 *
 * Changes are gathered as (field, key, slot) and put at the end, sorted, so that a posting is put
 * once however many points of the transaction have its value. */
#ifndef KITH_INDEX_FIELD_CHANGES_H
#define KITH_INDEX_FIELD_CHANGES_H

#include "index/field.h"

struct field_change;

struct field_changes {
    struct arena arena; /* definitions and keys */
    bool loaded;
    struct field_list fields; /* as they are in this transaction; from `view` or the arena */
    uint32_t next_number;
    struct field_change *items; /* malloc'd */
    size_t count, capacity;
    /* while keys are gathered */
    uint32_t field;
    uint64_t slot;
    bool add;
};

void field_changes_init(struct field_changes *changes);
void field_changes_release(struct field_changes *changes);
/* Read the definitions; the view stays open until the release. Once. */
enum error field_changes_load(struct field_changes *changes, const struct view *view) MUST_CHECK;
/* A slot's payload was `before` (empty: it had none, or was not there) and is `after`. */
void field_changes_note(struct field_changes *changes, uint64_t slot, struct span before,
                        struct span after);
/* Put what is pending, if that has grown large. */
enum error field_changes_trim(struct field_changes *changes, struct write *write) MUST_CHECK;
/* All keys of a slot in one field. */
void field_changes_add(struct field_changes *changes, const struct field *field, uint64_t slot,
                       struct span payload);
enum error field_changes_flush(struct field_changes *changes, struct write *write) MUST_CHECK;

/* Define a field over the path `name`, or change its schema; one that is there already as wanted
 * stays. end: slots from it on are new. ERROR_INVALID: not a definition; ERROR_TOO_LARGE: more than
 * FIELDS_MAX. */
enum error field_changes_define(struct field_changes *changes, struct write *write,
                                struct span name, struct span schema, uint64_t end) MUST_CHECK;
/* Drop the field over a path; it is fine when there is none. */
enum error field_changes_drop(struct field_changes *changes, struct write *write,
                              struct span name) MUST_CHECK;

#endif
