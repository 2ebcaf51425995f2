/* Walks for verify: over what the tables hold, not over what versions point to. */
#include <stdarg.h>
#include <stdio.h>

#include "storage/environment.h"
#include "storage/fields.h"
#include "storage/run.h"

/* Calls each for every entry of a table whose bytes lie inside the file; damaged() for others. */
struct walk {
    const struct view *view;
    enum error (*each)(struct walk *walk, struct span key, struct span value);
    void (*damaged)(struct walk *walk); /* may be NULL */
    struct span prefix;                 /* of the keys to walk over; empty: all */
};

/* Behind the keys that begin with the prefix? A key that is damaged is not. */
static bool walk_is_past(const struct walk *walk, const MDB_val *key)
{
    const struct extent *extent = &walk->view->version->extent;
    const size_t bytes = walk->prefix.bytes;
    if (bytes == 0 || key->mv_size < bytes || !extent_holds(extent, key->mv_data, key->mv_size)) {
        return false;
    }
    return memcmp(key->mv_data, walk->prefix.data, bytes) != 0;
}

static enum error walk_table(struct walk *walk, enum table table)
{
    const struct view *view = walk->view;
    MDB_cursor *cursor;
    enum error error = error_of_lmdb(
        mdb_cursor_open(view->transaction, view->environment->tables[table], &cursor));
    if (error != OK) {
        return error;
    }
    const struct extent *extent = &view->version->extent;
    const bool all = walk->prefix.bytes == 0;
    MDB_val key = lmdb_value(walk->prefix), value;
    int result = mdb_cursor_get(cursor, &key, &value, all ? MDB_FIRST : MDB_SET_RANGE);
    while (result == 0 && error == OK) {
        if (walk_is_past(walk, &key)) {
            break;
        }
        if (key.mv_size > 0 && extent_holds(extent, key.mv_data, key.mv_size) &&
            extent_holds(extent, value.mv_data, value.mv_size)) {
            error = walk->each(walk, span_of_lmdb(&key), span_of_lmdb(&value));
        } else if (walk->damaged != NULL) {
            walk->damaged(walk);
        }
        if (error == OK) {
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return error == OK && result != 0 && result != MDB_NOTFOUND ? error_of_lmdb(result) : error;
}

/* ---- slots ---- */

struct slot_walk {
    struct walk walk; /* first */
    enum error (*each)(void *context, uint64_t slot);
    void *context;
};

static enum error each_row(struct walk *walk, struct span key, struct span value)
{
    (void)value;
    const struct slot_walk *slots = (const struct slot_walk *)walk;
    return key.bytes == 8 ? slots->each(slots->context, load64_big(key.data)) : OK;
}

enum error view_each_row(const struct view *view, enum error (*each)(void *context, uint64_t slot),
                         void *context)
{
    struct slot_walk slots = {{view, each_row, NULL, {NULL, 0}}, each, context};
    return walk_table(&slots.walk, TABLE_ROWS);
}

struct point_walk_each {
    struct walk walk; /* first */
    enum error (*each)(void *context, uint64_t slot, const struct point_row *row);
    void *context;
};

static enum error each_point(struct walk *walk, struct span key, struct span value)
{
    const struct point_walk_each *points = (const struct point_walk_each *)walk;
    struct point_row row;
    if (key.bytes != 8) {
        return OK;
    }
    const bool good = row_decode(key, value, &row) == OK;
    return points->each(points->context, load64_big(key.data), good ? &row : NULL);
}

enum error view_each_point(const struct view *view,
                           enum error (*each)(void *context, uint64_t slot,
                                              const struct point_row *row),
                           void *context)
{
    struct point_walk_each points = {{view, each_point, NULL, {NULL, 0}}, each, context};
    return walk_table(&points.walk, TABLE_ROWS);
}

/* Of the vector whose number a key begins with; NULL when it has no codes. */
static const struct layout *key_layout(const struct walk *walk, struct span key)
{
    const struct environment *environment = walk->view->environment;
    const uint32_t vector = load16_big(key.data);
    return version_vector_of(walk->view->version, vector) != NULL
               ? &environment->vectors[vector].layout
               : NULL;
}

static enum error each_run(struct walk *walk, struct span key, struct span value)
{
    const struct slot_walk *slots = (const struct slot_walk *)walk;
    struct run run;
    const struct layout *layout = key.bytes == 10 ? key_layout(walk, key) : NULL;
    if (layout == NULL || run_open(layout, value, &run) != OK) {
        return OK; /* view_check_all reports it */
    }
    enum error error = OK;
    for (size_t i = 0; i < run.count && error == OK; i++) {
        error = slots->each(slots->context, load64_big(key.data + 2) + i);
    }
    return error;
}

enum error view_each_vector(const struct view *view, uint16_t vector,
                            enum error (*each)(void *context, uint64_t slot), void *context)
{
    uint8_t prefix[2];
    store16_big(prefix, vector);
    struct slot_walk slots = {
        {view, each_run, NULL, span_of(prefix, sizeof prefix)}, each, context};
    return walk_table(&slots.walk, TABLE_RUNS);
}

/* ---- checksums ---- */

struct check {
    struct walk walk; /* first */
    const char *table;
    void (*report)(void *context, const char *text);
    void *context;
};

__attribute__((format(printf, 2, 3))) static void complain(const struct check *check,
                                                           const char *format, ...)
{
    char text[200];
    const int length = snprintf(text, sizeof text, "%s: ", check->table);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    check->report(check->context, text);
}

static void complain_outside(struct walk *walk)
{
    complain((const struct check *)walk, "an entry points out of the file");
}

/* A key as hexadecimal digits; as much as fits. */
static void key_text(struct span key, char text[48])
{
    text[0] = '\0';
    for (size_t i = 0; i < key.bytes && i < 20; i++) {
        snprintf(text + 2 * i, 3, "%02x", key.data[i]);
    }
}

static void complain_stray(const struct check *check, struct span key)
{
    const struct environment *environment = check->walk.view->environment;
    const uint32_t vector = key.bytes >= 2 ? load16_big(key.data) : UINT32_MAX;
    if (vector < environment->vector_count && environment->vectors[vector].shape.removed) {
        return; /* on its way out */
    }
    char text[48];
    key_text(key, text);
    complain(check, "key %s belongs to no vector of the collection", text);
}

static void check_value(const struct check *check, struct span key, struct span value,
                        enum value_kind kind, size_t least_bytes)
{
    const enum error error = stored_check(key, value, kind, least_bytes);
    if (error != OK) {
        char text[48];
        key_text(key, text);
        complain(check, "value of key %s: %s", text, error_text(error));
    }
}

/* Bits, or the word that all are set: then its chunk has been given out, and it says so. */
static void check_dead(const struct check *check, struct span key, struct span value)
{
    const struct view *view = check->walk.view;
    const uint64_t chunk = load64_big(key.data + 1);
    const bool all = value.bytes == ALL_DEAD_BYTES;
    const bool flag = value.bytes >= ALL_DEAD_BYTES && (value_flags(value.data) & FLAG_ALL_DEAD);
    const uint64_t end = (chunk + 1) << view->environment->chunk_bits;
    if (all != flag || (!all && value.bytes < FORMAT_PAGED_HEADER_BYTES + FORMAT_DEAD_BYTES) ||
        (all && (end > view_counters(view)->next_slot ||
                 load64(value.data + FORMAT_HEADER_BYTES) != chunk))) {
        complain(check, "the dead bits of chunk %llu are not what they say",
                 (unsigned long long)chunk);
    }
}

static enum error check_main(struct walk *walk, struct span key, struct span value)
{
    static const struct {
        enum value_kind kind;
        size_t key_bytes, least_bytes;
    } rows[] = {
        [MAIN_COLLECTION] = {KIND_COLLECTION, 1, COLLECTION_BYTES},
        [MAIN_COUNTERS] = {KIND_COUNTERS, 1, COUNTERS_BYTES},
        [MAIN_GENERATION] = {KIND_GENERATION, 11, GENERATION_BYTES},
        [MAIN_CENTRE] = {KIND_CENTRE, 11, FORMAT_PAGED_HEADER_BYTES},
        [MAIN_EPOCH] = {KIND_EPOCH, 11, FORMAT_PAGED_HEADER_BYTES},
        [MAIN_DEAD] = {KIND_DEAD, 9, ALL_DEAD_BYTES},
        [MAIN_MOVED] = {KIND_MOVED, 11, FORMAT_PAGED_HEADER_BYTES},
        [MAIN_RECALL] = {KIND_RECALL, 11, FORMAT_HEADER_BYTES},
        [MAIN_FIELD] = {KIND_FIELD, 5, FIELD_BYTES},
    };
    const struct check *check = (const struct check *)walk;
    const uint8_t which = key.data[0];
    if (which >= 'a') {
        return OK; /* LMDB's record of a table */
    }
    if (which == 0 || which >= sizeof rows / sizeof *rows || rows[which].key_bytes == 0 ||
        key.bytes != rows[which].key_bytes) {
        char text[48];
        key_text(key, text);
        complain(check, "unknown key %s", text);
        return OK;
    }
    check_value(check, key, value, rows[which].kind, rows[which].least_bytes);
    if (which == MAIN_DEAD) {
        check_dead(check, key, value);
    }
    return OK;
}

static enum error check_id(struct walk *walk, struct span key, struct span value)
{
    struct point_id id;
    if (!key_to_id(key, &id)) {
        char text[48];
        key_text(key, text);
        complain((const struct check *)walk, "unknown key %s", text);
        return OK;
    }
    check_value((const struct check *)walk, key, value, KIND_ID, ID_BYTES);
    return OK;
}

static enum error check_row(struct walk *walk, struct span key, struct span value)
{
    check_value((const struct check *)walk, key, value, KIND_ROW, ROW_SET_OFFSET + 1);
    return OK;
}

static enum error check_blocks(struct walk *walk, struct span key, struct span value)
{
    const struct layout *layout = key.bytes == 18 ? key_layout(walk, key) : NULL;
    check_value((const struct check *)walk, key, value, KIND_BLOCKS,
                layout != NULL ? layout->value_bytes : FORMAT_PAGED_HEADER_BYTES);
    if (layout == NULL) {
        complain_stray((const struct check *)walk, key);
    }
    return OK;
}

static enum error check_partition(struct walk *walk, struct span key, struct span value)
{
    const struct check *check = (const struct check *)walk;
    const struct layout *layout = key.bytes == 10 ? key_layout(walk, key) : NULL;
    if (layout == NULL) {
        complain_stray(check, key);
        return OK;
    }
    check_value(check, key, value, KIND_PARTITION, FORMAT_PAGED_HEADER_BYTES);
    struct partition partition;
    if (partition_open(layout, value, load64_big(key.data + 2), &partition) != OK ||
        partition_head_check(layout, key, value) != OK) {
        char text[48];
        key_text(key, text);
        complain(check, "partition of key %s does not hold what it says", text);
    }
    return OK;
}

static enum error check_run(struct walk *walk, struct span key, struct span value)
{
    const struct check *check = (const struct check *)walk;
    const struct layout *layout = key.bytes == 10 ? key_layout(walk, key) : NULL;
    struct run run;
    char text[48];
    key_text(key, text);
    if (layout == NULL) {
        complain_stray(check, key);
        return OK;
    }
    const uint16_t vector = load16_big(key.data);
    if (run_open(layout, value, &run) != OK ||
        run_check(&run, vector, load64_big(key.data + 2)) != OK) {
        complain(check, "run of key %s: %s", text, error_text(ERROR_CORRUPT));
        return OK;
    }
    for (size_t i = 0; i < run.count; i++) {
        struct vector_row row;
        run_row(layout, &run, i, &row);
        if (vector_row_check(walk->view, vector, &row) != OK) {
            complain(check, "vector of slot %llu: %s", (unsigned long long)(run.first_slot + i),
                     error_text(ERROR_CORRUPT));
        }
    }
    for (size_t i = run.at.end; i < value.bytes; i++) {
        if (value.data[i] != 0) {
            complain(check, "run of key %s: not zero behind its end", text);
            break;
        }
    }
    return OK;
}

static enum error check_posting(struct walk *walk, struct span key, struct span value)
{
    struct posting posting;
    const enum error error = posting_decode(key, value, &posting);
    if (error != OK) {
        char text[48];
        key_text(key, text);
        complain((const struct check *)walk, "posting of key %s: %s", text, error_text(error));
    }
    return OK;
}

static enum error check_vector(struct walk *walk, struct span key, struct span value)
{
    check_value((const struct check *)walk, key, value, KIND_VECTOR, FORMAT_HEADER_BYTES + 8);
    return OK;
}

static enum error check_list(struct walk *walk, struct span key, struct span value)
{
    check_value((const struct check *)walk, key, value, KIND_LIST, FORMAT_HEADER_BYTES + 16);
    return OK;
}

enum error view_check_all(const struct view *view, void (*report)(void *context, const char *text),
                          void *context)
{
    static const struct {
        const char *name;
        enum table table;
        enum error (*each)(struct walk *, struct span, struct span);
    } tables[] = {
        {"main", TABLE_MAIN, check_main},        {"ids", TABLE_IDS, check_id},
        {"rows", TABLE_ROWS, check_row},         {"runs", TABLE_RUNS, check_run},
        {"blocks", TABLE_BLOCKS, check_blocks},  {"parts", TABLE_PARTITIONS, check_partition},
        {"fields", TABLE_FIELDS, check_posting}, {"vectors", TABLE_VECTORS, check_vector},
        {"lists", TABLE_LISTS, check_list},
    };
    enum error error = OK;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && error == OK; i++) {
        struct check check = {
            {view, tables[i].each, complain_outside, {NULL, 0}}, tables[i].name, report, context};
        error = walk_table(&check.walk, tables[i].table);
    }
    return error;
}
