/* How often each value of a field is there. */
#include <stdlib.h>
#include <time.h>

#include "index/collection.h"
#include "index/field_key.h"
#include "index/filter_plan.h"

#define STOP_CHECK_POSTINGS 1024u

/* A value among the best so far. Values are met in their own order. */
struct entry {
    uint64_t count;
    uint64_t order; /* in which it was met */
    struct span key;
    uint64_t slot; /* one that has it */
};

struct facet {
    const struct view *view;
    const struct field *field;
    const struct slots *slots; /* NULL: all points */
    uint64_t deadline_ns, seen, met;
    struct arena *arena;
    struct entry *heap; /* the worst at its root; malloc'd */
    size_t count, capacity;
    uint64_t limit;
};

static bool worse(const struct entry *a, const struct entry *b)
{
    return a->count != b->count ? a->count < b->count : a->order > b->order;
}

static int compare_entries(const void *a, const void *b)
{
    return worse(b, a) ? -1 : worse(a, b);
}

static void sift_up(struct facet *facet, size_t i)
{
    for (; i > 0 && worse(&facet->heap[i], &facet->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        const struct entry moved = facet->heap[i];
        facet->heap[i] = facet->heap[(i - 1) / 2];
        facet->heap[(i - 1) / 2] = moved;
    }
}

static void sift_down(struct facet *facet)
{
    for (size_t i = 0, child = 1; child < facet->count; i = child, child = 2 * i + 1) {
        if (child + 1 < facet->count && worse(&facet->heap[child + 1], &facet->heap[child]))
            child++;
        if (!worse(&facet->heap[child], &facet->heap[i]))
            return;
        const struct entry moved = facet->heap[i];
        facet->heap[i] = facet->heap[child];
        facet->heap[child] = moved;
    }
}

/* A value is whole: is it among the best? */
static void offer(struct facet *facet, const struct entry *entry)
{
    if (entry->count == 0 || facet->limit == 0)
        return;
    struct entry kept = *entry;
    if (facet->count == facet->limit) {
        if (!worse(&facet->heap[0], entry))
            return;
        kept.key = span_of(arena_copy(facet->arena, kept.key.data, kept.key.bytes), kept.key.bytes);
        facet->heap[0] = kept;
        sift_down(facet);
        return;
    }
    if (facet->count == facet->capacity) {
        facet->capacity = facet->capacity == 0 ? 16 : 2 * facet->capacity;
        facet->heap = grow(facet->heap, size_product(facet->capacity, sizeof *facet->heap));
    }
    kept.key = span_of(arena_copy(facet->arena, kept.key.data, kept.key.bytes), kept.key.bytes);
    facet->heap[facet->count] = kept;
    sift_up(facet, facet->count++);
}

static enum error check_stop(struct facet *facet)
{
    struct timespec now;
    if (facet->deadline_ns == 0 || facet->seen++ % STOP_CHECK_POSTINGS != 0)
        return OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return now_ns >= facet->deadline_ns ? ERROR_CANCELLED : OK;
}

static enum field_key_class class_of(enum field_kind kind)
{
    return kind == FIELD_INTEGER ? KEY_NUMBER
           : kind == FIELD_BOOL  ? KEY_BOOL
           : kind == FIELD_UUID  ? KEY_UUID
                                 : KEY_STRING;
}

/* Only integers count in an integer field. */
static bool counts(struct span key)
{
    struct exact number;
    bool is_double = false;
    return key.data[0] != KEY_NUMBER ||
           (field_key_to_number(key, &number, &is_double) && !is_double);
}

static uint64_t first_slot(const struct posting *posting)
{
    uint32_t place = 0;
    while (place < POSTING_CHUNK_SLOTS && !posting_has(posting, place))
        place++;
    return (posting->chunk << POSTING_CHUNK_BITS) + place;
}

static enum error walk(struct facet *facet)
{
    struct posting_walk postings;
    struct posting posting;
    struct field_key first;
    struct entry entry = {0};
    uint8_t key[FIELD_KEY_BYTES_MAX];
    const enum field_key_class which = class_of(facet->field->kind);
    field_key_class(which, &first);
    enum error error = posting_walk_begin(facet->view, facet->field->record.number, &postings);
    if (error == OK)
        error = posting_seek(&postings, field_key_span(&first), 0, &posting);
    while (error == OK && posting.key.data[0] == which) {
        if (!span_equal(posting.key, entry.key)) {
            offer(facet, &entry);
            memcpy(key, posting.key.data, posting.key.bytes);
            entry = (struct entry){.order = facet->met++,
                                   .key = span_of(key, posting.key.bytes),
                                   .slot = first_slot(&posting)};
        }
        if (counts(posting.key))
            entry.count +=
                facet->slots == NULL ? posting.count : slots_count_posting(facet->slots, &posting);
        error = check_stop(facet);
        if (error == OK)
            error = posting_next(&postings, &posting);
    }
    offer(facet, &entry);
    posting_walk_end(&postings);
    return error == ERROR_NOT_FOUND ? OK : error;
}

/* ---- back to values ---- */

/* A string that was cut in its key is looked up in the payload of a point that has it. */
struct lookup {
    struct span key, text;
};

static bool find_string(const void *context, struct span value)
{
    struct lookup *lookup = *(struct lookup *const *)context;
    struct value_cursor cursor;
    struct span name, element;
    struct field_key key;
    if (value_kind(value) == VALUE_ARRAY) {
        value_walk(value, &cursor);
        while (value_next(&cursor, &name, &element))
            if (value_kind(element) == VALUE_STRING && find_string(context, element))
                return true;
        return false;
    }
    if (value_kind(value) != VALUE_STRING)
        return false;
    field_key_string(KEY_STRING, value_string(value), &key);
    if (!span_equal(field_key_span(&key), lookup->key))
        return false;
    lookup->text = value_string(value);
    return true;
}

static void put_string(const struct facet *facet, const struct entry *entry,
                       struct value_builder *builder)
{
    uint8_t text[FIELD_KEY_BYTES_MAX];
    size_t bytes;
    struct point_row row;
    if (field_key_to_string(entry->key, text, &bytes)) {
        value_put_string(builder, span_of(text, bytes));
        return;
    }
    struct lookup lookup = {.key = entry->key};
    struct lookup *const shared = &lookup;
    if (view_point(facet->view, entry->slot, &row) == OK)
        (void)path_visit(&facet->field->path, row.payload, find_string, &shared);
    value_put_string(builder, lookup.text);
}

static struct span value_of(const struct facet *facet, const struct entry *entry)
{
    struct value_builder builder;
    struct exact number;
    uint8_t uuid[36];
    bool flag = false;
    value_begin(&builder, facet->arena);
    if (field_key_to_number(entry->key, &number, &flag)) {
        const exact_wide wide = (exact_wide)number.near + number.rest;
        if (wide < 0)
            value_put_integer(&builder, (int64_t)wide, (struct span){0});
        else
            value_put_unsigned(&builder, (uint64_t)wide, (struct span){0});
    } else if (field_key_to_uuid(entry->key, uuid)) {
        value_put_string(&builder, span_of(uuid, sizeof uuid));
    } else if (field_key_to_bool(entry->key, &flag)) {
        value_put_bool(&builder, flag);
    } else {
        put_string(facet, entry, &builder);
    }
    return value_end(&builder);
}

enum error field_facet(struct collection *collection, const struct view *view,
                       const struct field *field, const struct filter *filter, uint64_t limit,
                       uint64_t deadline_ns, struct arena *arena, struct facet_hit **hits,
                       size_t *hit_count)
{
    struct slots slots;
    struct facet facet = {
        .view = view, .field = field, .deadline_ns = deadline_ns, .arena = arena, .limit = limit};
    *hits = NULL;
    *hit_count = 0;
    slots_init(&slots);
    enum error error = OK;
    if (!filter_is_empty(filter)) {
        error = filter_slots(collection, view, filter, deadline_ns, &slots);
        facet.slots = &slots;
    }
    if (error == OK)
        error = walk(&facet);
    slots_release(&slots);
    if (error == OK && facet.count > 0) {
        qsort(facet.heap, facet.count, sizeof *facet.heap, compare_entries);
        *hits = arena_allocate(arena, size_product(facet.count, sizeof **hits));
        for (size_t i = 0; i < facet.count; i++)
            (*hits)[i] = (struct facet_hit){value_of(&facet, &facet.heap[i]), facet.heap[i].count};
        *hit_count = facet.count;
    }
    free(facet.heap);
    return error;
}
