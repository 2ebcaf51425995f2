#include "index/field_changes.h"

#include <assert.h>
#include <stdlib.h>

#define PENDING_MAX ((size_t)1 << 18)

struct field_change {
    const uint8_t *key;
    uint64_t slot;
    uint32_t key_bytes;
    uint32_t field;
    uint32_t order; /* in which it was noted */
    bool add;
};

void field_changes_init(struct field_changes *changes)
{
    *changes = (struct field_changes){.next_number = 1};
    arena_init(&changes->arena);
}

void field_changes_release(struct field_changes *changes)
{
    arena_release(&changes->arena);
    free(changes->items);
    changes->items = NULL;
}

enum error field_changes_load(struct field_changes *changes, const struct view *view)
{
    if (changes->loaded) {
        return OK;
    }
    changes->loaded = true;
    struct field_record record = {0};
    enum error error = OK;
    while ((error = view_field_next(view, changes->next_number, &record)) == OK) {
        changes->next_number = record.number + 1;
    }
    return error == ERROR_NOT_FOUND ? view_fields(view, &changes->arena, &changes->fields) : error;
}

/* ---- gathering ---- */

static void gather(void *context, struct span key)
{
    struct field_changes *changes = context;
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity == 0 ? 256 : 2 * changes->capacity;
        changes->items =
            grow(changes->items, size_product(changes->capacity, sizeof *changes->items));
    }
    changes->items[changes->count] = (struct field_change){
        .key = arena_copy(&changes->arena, key.data, key.bytes),
        .slot = changes->slot,
        .key_bytes = (uint32_t)key.bytes,
        .field = changes->field,
        .order = (uint32_t)changes->count,
        .add = changes->add,
    };
    changes->count++;
}

/* Is the slot in the field, as far as the field is built? */
static bool covers(const struct field *field, uint64_t slot)
{
    const struct field_record *record = &field->record;
    return record->state == FIELD_READY || slot < record->built || slot >= record->end;
}

void field_changes_note(struct field_changes *changes, uint64_t slot, struct span before,
                        struct span after)
{
    for (size_t i = 0; i < changes->fields.count; i++) {
        const struct field *field = &changes->fields.items[i];
        if (!covers(field, slot)) {
            continue;
        }
        changes->field = field->record.number;
        changes->slot = slot;
        changes->add = false;
        field_keys(field, before, gather, changes);
        changes->add = true;
        field_keys(field, after, gather, changes);
    }
}

enum error field_changes_trim(struct field_changes *changes, struct write *write)
{
    return changes->count < PENDING_MAX ? OK : field_changes_flush(changes, write);
}

void field_changes_add(struct field_changes *changes, const struct field *field, uint64_t slot,
                       struct span payload)
{
    changes->field = field->record.number;
    changes->slot = slot;
    changes->add = true;
    field_keys(field, payload, gather, changes);
}

/* ---- putting ---- */

static int compare_keys(const struct field_change *a, const struct field_change *b)
{
    if (a->field != b->field) {
        return a->field < b->field ? -1 : 1;
    }
    const size_t common = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
    const int order = memcmp(a->key, b->key, common);
    return order != 0 ? order : (a->key_bytes > b->key_bytes) - (a->key_bytes < b->key_bytes);
}

static int compare_changes(const void *a, const void *b)
{
    const struct field_change *x = a, *y = b;
    const int order = compare_keys(x, y);
    if (order != 0) {
        return order;
    }
    if (x->slot != y->slot) {
        return x->slot < y->slot ? -1 : 1;
    }
    return (x->order > y->order) - (x->order < y->order);
}

static bool same_posting(const struct field_change *a, const struct field_change *b)
{
    return a->slot >> POSTING_CHUNK_BITS == b->slot >> POSTING_CHUNK_BITS &&
           compare_keys(a, b) == 0;
}

/* The changes of one posting, the last of each slot; returns how many items they were. */
static size_t fold(const struct field_change *items, size_t count, struct posting_change *out,
                   size_t *out_count)
{
    size_t i = 0;
    *out_count = 0;
    for (; i < count && same_posting(&items[0], &items[i]); i++) {
        const struct posting_change change = {
            .place = (uint16_t)(items[i].slot % POSTING_CHUNK_SLOTS), .add = items[i].add};
        if (*out_count > 0 && out[*out_count - 1].place == change.place) {
            --*out_count;
        }
        out[(*out_count)++] = change;
    }
    return i;
}

enum error field_changes_flush(struct field_changes *changes, struct write *write)
{
    const size_t count = changes->count;
    changes->count = 0;
    if (count == 0) {
        return OK;
    }
    qsort(changes->items, count, sizeof *changes->items, compare_changes);
    struct posting_change *folded = allocate(POSTING_CHUNK_SLOTS * sizeof *folded);
    enum error error = OK;
    for (size_t i = 0; i < count && error == OK;) {
        const struct field_change *first = &changes->items[i];
        size_t folded_count;
        i += fold(first, count - i, folded, &folded_count);
        error = write_posting(write, first->field, span_of(first->key, first->key_bytes),
                              first->slot >> POSTING_CHUNK_BITS, folded, folded_count);
    }
    free(folded);
    return error;
}

/* ---- definitions ---- */

static struct span copy(struct field_changes *changes, struct span span)
{
    return span_of(arena_copy(&changes->arena, span.data, span.bytes), span.bytes);
}

static size_t find(const struct field_changes *changes, struct span name)
{
    size_t i = 0;
    while (i < changes->fields.count && !span_equal(changes->fields.items[i].record.name, name)) {
        i++;
    }
    return i;
}

static enum error drop_at(struct field_changes *changes, struct write *write, size_t i)
{
    struct field_list *list = &changes->fields;
    struct field_record record = list->items[i].record;
    record.state = FIELD_DROPPED;
    /* What is pending of it would be put behind its removal. */
    enum error error = field_changes_flush(changes, write);
    if (error == OK) {
        error = write_field(write, &record);
    }
    memmove(&list->items[i], &list->items[i + 1], (list->count - i - 1) * sizeof *list->items);
    list->count--;
    return error;
}

static enum error append(struct field_changes *changes, struct write *write,
                         const struct field *field)
{
    struct field_list *list = &changes->fields;
    if (list->count == FIELDS_MAX) {
        return ERROR_TOO_LARGE;
    }
    struct field *items = arena_allocate(&changes->arena, (list->count + 1) * sizeof *items);
    if (list->count > 0) {
        memcpy(items, list->items, list->count * sizeof *items);
    }
    items[list->count++] = *field;
    list->items = items;
    return write_field(write, &field->record);
}

enum error field_changes_define(struct field_changes *changes, struct write *write,
                                struct span name, struct span schema, uint64_t end)
{
    struct field field;
    struct field_fault fault;
    enum error error =
        field_compile(copy(changes, name), copy(changes, schema), &changes->arena, &field, &fault);
    if (error != OK) {
        return error;
    }
    const size_t i = find(changes, name);
    if (i < changes->fields.count) {
        struct field *there = &changes->fields.items[i];
        if (span_equal(there->record.schema, schema)) {
            return OK;
        }
        if (there->kind == field.kind && field.kind != FIELD_TEXT) {
            field.record.number = there->record.number;
            field.record.state = there->record.state;
            field.record.built = there->record.built;
            field.record.end = there->record.end;
            *there = field;
            return write_field(write, &field.record);
        }
        error = drop_at(changes, write, i);
        if (error != OK) {
            return error;
        }
    }
    field.record.number = changes->next_number++;
    field.record.state = FIELD_BUILDING;
    field.record.end = end;
    return append(changes, write, &field);
}

enum error field_changes_drop(struct field_changes *changes, struct write *write, struct span name)
{
    const size_t i = find(changes, name);
    return i < changes->fields.count ? drop_at(changes, write, i) : OK;
}
