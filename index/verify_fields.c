/* Payload indexes against payloads: what the postings hold must be what the rows say.
 *
 * Both are summed up as hashes of (key, slot), which needs neither order nor memory: two different
 * sets of the same sums would have to be made on purpose. */
#include "index/verify_fields.h"

#include <stdio.h>

#include "index/field.h"

struct sums {
    uint64_t count, sum, mixed;
};

struct rows {
    const struct view *view;
    const struct field_list *fields;
    struct sums *sums; /* [fields->count] */
    /* one slot in one field */
    struct sums *at;
    uint64_t slot;
    struct span *keys;
    size_t key_count, key_capacity;
    struct arena arena;
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void add(struct sums *sums, struct span key, uint64_t slot)
{
    const uint64_t hash =
        mix(slot * UINT64_C(0x9e3779b97f4a7c15) + ((uint64_t)crc32c(1, key.data, key.bytes) << 32) +
            crc32c(0, key.data, key.bytes));
    sums->count++;
    sums->sum += hash;
    sums->mixed ^= mix(hash + 1);
}

/* A key that comes twice is one entry. */
static void take_key(void *context, struct span key)
{
    struct rows *rows = context;
    for (size_t i = 0; i < rows->key_count; i++) {
        if (span_equal(rows->keys[i], key)) {
            return;
        }
    }
    if (rows->key_count == rows->key_capacity) {
        rows->key_capacity = rows->key_capacity == 0 ? 64 : 2 * rows->key_capacity;
        struct span *keys = arena_allocate(&rows->arena, rows->key_capacity * sizeof *keys);
        if (rows->key_count > 0) {
            memcpy(keys, rows->keys, rows->key_count * sizeof *keys);
        }
        rows->keys = keys;
    }
    rows->keys[rows->key_count++] =
        span_of(arena_copy(&rows->arena, key.data, key.bytes), key.bytes);
    add(rows->at, key, rows->slot);
}

static enum error take_row(void *context, uint64_t slot)
{
    struct rows *rows = context;
    struct point_row row;
    if (view_point(rows->view, slot, &row) != OK) {
        return OK; /* reported by who checks rows */
    }
    rows->slot = slot;
    for (size_t i = 0; i < rows->fields->count; i++) {
        const struct field_record *record = &rows->fields->items[i].record;
        if (record->state == FIELD_BUILDING && slot >= record->built && slot < record->end) {
            continue;
        }
        rows->at = &rows->sums[i];
        rows->key_count = rows->key_capacity = 0;
        arena_init(&rows->arena);
        field_keys(&rows->fields->items[i], row.payload, take_key, rows);
        arena_release(&rows->arena);
    }
    return OK;
}

static void sum_posting(const struct posting *posting, struct sums *sums)
{
    const uint64_t first = posting->chunk << POSTING_CHUNK_BITS;
    for (uint32_t i = 0; !posting->bitmap && i < posting->count; i++) {
        add(sums, posting->key, first + load16(posting->data + 2 * (size_t)i));
    }
    for (uint32_t place = 0; posting->bitmap && place < POSTING_CHUNK_SLOTS; place++) {
        if (posting_has(posting, place)) {
            add(sums, posting->key, first + place);
        }
    }
}

static enum error sum_postings(const struct view *view, uint32_t field, struct sums *sums)
{
    struct posting_walk walk;
    struct posting posting;
    enum error error = posting_walk_begin(view, field, &walk);
    if (error != OK) {
        return error;
    }
    error = posting_seek(&walk, (struct span){0}, 0, &posting);
    while (error == OK || error == ERROR_CORRUPT) {
        if (error == OK) {
            sum_posting(&posting, sums);
        }
        error = posting_next(&walk, &posting);
    }
    posting_walk_end(&walk);
    return error == ERROR_NOT_FOUND ? OK : error;
}

static enum error compare(const struct view *view, struct rows *rows,
                          void (*report)(void *context, const char *text), void *context)
{
    enum error error = view_each_row(view, take_row, rows);
    for (size_t i = 0; error == OK && i < rows->fields->count; i++) {
        const struct field_record *record = &rows->fields->items[i].record;
        struct sums stored = {0};
        error = sum_postings(view, record->number, &stored);
        if (error != OK || memcmp(&stored, &rows->sums[i], sizeof stored) == 0) {
            continue;
        }
        char text[200];
        snprintf(text, sizeof text,
                 "payload index `%.*s` has %llu entries, the payloads have %llu, or others",
                 (int)(record->name.bytes < 80 ? record->name.bytes : 80),
                 (const char *)record->name.data, (unsigned long long)stored.count,
                 (unsigned long long)rows->sums[i].count);
        report(context, text);
    }
    return error;
}

enum error verify_fields(const struct view *view, void (*report)(void *context, const char *text),
                         void *context)
{
    struct arena arena;
    struct field_list fields;
    arena_init(&arena);
    enum error error = view_fields(view, &arena, &fields);
    if (error == ERROR_CORRUPT) {
        report(context, "the definition of a payload index is damaged");
        error = OK;
    } else if (error == OK && fields.count > 0) {
        struct rows rows = {.view = view, .fields = &fields};
        rows.sums = arena_allocate(&arena, fields.count * sizeof *rows.sums);
        memset(rows.sums, 0, fields.count * sizeof *rows.sums);
        error = compare(view, &rows, report, context);
    }
    arena_release(&arena);
    return error;
}
