/* Definitions of payload indexes, and the keys a payload has in one. */
#include "index/field.h"

#include <math.h>

#include "index/datetime.h"
#include "index/field_key.h"
#include "index/filter_tree.h"
#include "index/text.h"

static const char *const kind_names[FIELD_KINDS] = {
    [FIELD_KEYWORD] = "keyword",   [FIELD_INTEGER] = "integer", [FIELD_FLOAT] = "float",
    [FIELD_GEO] = "geo",           [FIELD_TEXT] = "text",       [FIELD_BOOL] = "bool",
    [FIELD_DATETIME] = "datetime", [FIELD_UUID] = "uuid",
};

const char *field_kind_name(enum field_kind kind)
{
    return kind_names[kind];
}

/* ---- definitions ---- */

static enum error wrong(struct field_fault *fault, enum field_fault_kind kind, const char *text)
{
    *fault = (struct field_fault){kind, text};
    return ERROR_INVALID;
}

static bool find_kind(struct span name, enum field_kind *kind)
{
    for (size_t i = 0; i < FIELD_KINDS; i++) {
        if (span_equal(name, span_text(kind_names[i]))) {
            *kind = (enum field_kind)i;
            return true;
        }
    }
    return false;
}

/* Options of which kinds, and of which type they are. They say how the compatible server lays its
 * index out, which ours is not asked: they are checked and kept. Text has its own (text.c). */
static const struct {
    const char *name;
    unsigned kinds;
    enum value_kind type;
} options[] = {
    {"on_disk", ~0u, VALUE_BOOL},
    {"enable_hnsw", ~0u, VALUE_BOOL},
    {"memory", ~0u, VALUE_STRING},
    {"is_tenant", 1u << FIELD_KEYWORD | 1u << FIELD_UUID, VALUE_BOOL},
    {"prefix", 1u << FIELD_KEYWORD, VALUE_BOOL},
    {"is_principal", 1u << FIELD_INTEGER | 1u << FIELD_FLOAT | 1u << FIELD_DATETIME, VALUE_BOOL},
    {"lookup", 1u << FIELD_INTEGER, VALUE_BOOL},
    {"range", 1u << FIELD_INTEGER, VALUE_BOOL},
};

static struct span member(struct span object, const char *name)
{
    struct span value = value_get(object, span_text(name));
    return value_kind(value) == VALUE_NULL ? (struct span){0} : value;
}

static bool memory_known(struct span name)
{
    return span_equal(name, span_text("cold")) || span_equal(name, span_text("cached")) ||
           span_equal(name, span_text("pinned"));
}

static enum error check_options(struct span schema, enum field_kind kind, struct arena *arena,
                                struct field_fault *fault)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct span value = member(schema, options[i].name);
        if (value.bytes == 0 || (options[i].kinds >> kind & 1) == 0)
            continue;
        if (value_kind(value) != options[i].type)
            return wrong(fault, FIELD_FAULT_FORMAT,
                         arena_format(arena, "field_schema.%s: expected %s", options[i].name,
                                      options[i].type == VALUE_BOOL ? "a boolean" : "a string"));
        if (options[i].type == VALUE_STRING && !memory_known(value_string(value)))
            return wrong(fault, FIELD_FAULT_FORMAT,
                         "field_schema.memory: expected one of `cold`, `cached`, `pinned`");
    }
    return OK;
}

static bool option_on(struct span schema, const char *name, bool otherwise)
{
    struct span value = member(schema, name);
    return value.bytes == 0 ? otherwise : value_bool(value);
}

static enum error check_object(struct span schema, struct arena *arena, struct field *field,
                               struct field_fault *fault)
{
    enum error error = check_options(schema, field->kind, arena, fault);
    if (error != OK || field->kind != FIELD_INTEGER)
        return error;
    field->lookup = option_on(schema, "lookup", true);
    if (!field->lookup && !option_on(schema, "range", true))
        return wrong(fault, FIELD_FAULT_VALUE,
                     "field_schema: at least one of `lookup` and `range` must be true");
    return OK;
}

enum error field_compile(struct span name, struct span schema, struct arena *arena,
                         struct field *field, struct field_fault *fault)
{
    bool object = value_kind(schema) == VALUE_OBJECT;
    struct span type = object ? value_get(schema, span_text("type")) : schema;
    *field = (struct field){.record = {.name = name, .schema = schema}, .lookup = true};
    if (name.bytes > FIELD_NAME_BYTES_MAX || !path_parse(name, arena, &field->path))
        return wrong(fault, FIELD_FAULT_FORMAT,
                     arena_format(arena, "field_name: `%.*s` is not a path",
                                  (int)(name.bytes < 100 ? name.bytes : 100),
                                  (const char *)name.data));
    if (value_kind(type) != VALUE_STRING || !find_kind(value_string(type), &field->kind))
        return wrong(fault, FIELD_FAULT_FORMAT,
                     "field_schema: expected one of keyword, integer, float, geo, text, bool, "
                     "datetime, uuid, or an object with such a `type`");
    enum error error = object ? check_object(schema, arena, field, fault) : OK;
    if (error == OK && field->kind == FIELD_TEXT)
        error = text_analyzer_compile(object ? schema : (struct span){0}, arena, &field->analyzer,
                                      fault);
    return error;
}

/* ---- of a view ---- */

enum error view_fields(const struct view *view, struct arena *arena, struct field_list *list)
{
    size_t capacity = 0;
    struct field_record record = {0};
    *list = (struct field_list){0};
    for (uint32_t number = 1;; number = record.number + 1) {
        enum error error = view_field_next(view, number, &record);
        if (error == ERROR_NOT_FOUND)
            return OK;
        if (error != OK)
            return error;
        if (record.state == FIELD_DROPPED)
            continue;
        if (list->count == capacity) {
            capacity = capacity == 0 ? 8 : 2 * capacity;
            struct field *items = arena_allocate(arena, size_product(capacity, sizeof *items));
            if (list->count > 0)
                memcpy(items, list->items, list->count * sizeof *items);
            list->items = items;
        }
        struct field *field = &list->items[list->count++];
        struct field_fault fault;
        if (field_compile(record.name, record.schema, arena, field, &fault) != OK)
            return ERROR_CORRUPT;
        field->record = record;
    }
}

static bool paths_equal(const struct path *a, const struct path *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct path_segment *x = &a->segments[i], *y = &b->segments[i];
        if (x->kind != y->kind || (x->kind == SEGMENT_KEY && !span_equal(x->key, y->key)) ||
            (x->kind == SEGMENT_INDEX && x->index != y->index))
            return false;
    }
    return true;
}

const struct field *field_find(const struct field_list *list, const struct path *path,
                               unsigned kinds)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct field *field = &list->items[i];
        if (field->record.state == FIELD_READY && (kinds >> field->kind & 1) != 0 &&
            paths_equal(&field->path, path))
            return field;
    }
    return NULL;
}

const struct field *field_find_text(const struct field_list *list, const struct path *path)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct field *field = &list->items[i];
        if (field->kind == FIELD_TEXT && field->record.state != FIELD_DROPPED &&
            paths_equal(&field->path, path))
            return field;
    }
    return NULL;
}

enum error field_point_count(const struct view *view, const struct field *field, uint64_t *count)
{
    struct posting_walk walk;
    struct posting posting;
    struct field_key key;
    field_key_class(KEY_PRESENT, &key);
    *count = 0;
    enum error error = posting_walk_begin(view, field->record.number, &walk);
    if (error != OK)
        return error;
    error = posting_seek(&walk, field_key_span(&key), 0, &posting);
    while (error == OK && span_equal(posting.key, field_key_span(&key))) {
        *count += posting.count;
        error = posting_next(&walk, &posting);
    }
    posting_walk_end(&walk);
    return error == ERROR_NOT_FOUND ? OK : error;
}

/* ---- keys of a payload ---- */

struct emitter {
    const struct field *field;
    void (*emit)(void *context, struct span key);
    void *context;
    bool present, other, filled, null;
    size_t texts;
};

static bool value_key(enum field_kind kind, struct span value, struct field_key *key)
{
    enum value_kind type = value_kind(value);
    int64_t time;
    struct geo_point point;
    switch (kind) {
    case FIELD_KEYWORD:
        if (type == VALUE_STRING)
            field_key_string(KEY_STRING, value_string(value), key);
        return type == VALUE_STRING;
    case FIELD_INTEGER:
    case FIELD_FLOAT:
        if (type != VALUE_INTEGER && type != VALUE_UNSIGNED && type != VALUE_DOUBLE)
            return false;
        field_key_number(exact_of(value, type), type == VALUE_DOUBLE, key);
        return true;
    case FIELD_BOOL:
        if (type == VALUE_BOOL)
            field_key_bool(value_bool(value), key);
        return type == VALUE_BOOL;
    case FIELD_DATETIME:
        if (type != VALUE_STRING || !datetime_parse(value_string(value), &time))
            return false;
        field_key_time(time, key);
        return true;
    case FIELD_UUID:
        return type == VALUE_STRING && field_key_uuid(value_string(value), key);
    case FIELD_GEO:
        if (!geo_point_of(value, &point) || fabs(point.lon) > 180 || fabs(point.lat) > 90)
            return false;
        field_key_place(point.lon, point.lat, key);
        return true;
    case FIELD_TEXT:
    case FIELD_KINDS:
        break;
    }
    return false;
}

static void emit_class(struct emitter *emitter, enum field_key_class which)
{
    const uint8_t key = (uint8_t)which;
    emitter->emit(emitter->context, span_of(&key, 1));
}

static bool emit_token(void *context, struct span token)
{
    struct emitter *emitter = context;
    struct field_key key;
    field_key_string(KEY_TOKEN, token, &key);
    emitter->emit(emitter->context, field_key_span(&key));
    return true;
}

static void emit_text(struct emitter *emitter, struct span value)
{
    emitter->texts++;
    emitter->present = true;
    text_tokens(emitter->field->analyzer, value_string(value), false, emit_token, emitter);
}

/* The keys of the spans that a value is in. */
static void emit_spans(struct emitter *emitter, const struct field_key *key)
{
    uint64_t order;
    const uint8_t *shifts;
    if (!field_key_to_order(field_key_span(key), &order))
        return;
    const size_t count = field_key_levels((enum field_key_class)key->data[0], &shifts);
    for (size_t i = 0; i < count; i++) {
        struct field_key level;
        field_key_level(i, order >> shifts[i] << shifts[i], &level);
        emitter->emit(emitter->context, field_key_span(&level));
    }
}

static void emit_value(struct emitter *emitter, struct span value)
{
    struct field_key key;
    enum value_kind kind = value_kind(value);
    if (kind == VALUE_NULL || kind == VALUE_INVALID)
        return;
    if (kind == VALUE_STRING && emitter->field->kind == FIELD_TEXT) {
        emit_text(emitter, value);
        return;
    }
    if (!value_key(emitter->field->kind, value, &key)) {
        emitter->other = true;
        return;
    }
    emitter->present = true;
    if (emitter->field->kind != FIELD_GEO)
        emitter->emit(emitter->context, field_key_span(&key));
    emit_spans(emitter, &key);
}

static bool visit(const void *context, struct span value)
{
    struct emitter *emitter = *(struct emitter *const *)context;
    struct value_cursor cursor;
    struct span key, element;
    enum value_kind kind = value_kind(value);
    if (kind == VALUE_NULL) {
        emitter->null = true;
    } else if (kind != VALUE_ARRAY) {
        emitter->filled = true;
        emit_value(emitter, value);
    } else {
        emitter->filled |= value_count(value) > 0;
        value_walk(value, &cursor);
        while (value_next(&cursor, &key, &element))
            emit_value(emitter, element);
    }
    return false;
}

void field_keys(const struct field *field, struct span payload,
                void (*emit)(void *context, struct span key), void *context)
{
    struct emitter emitter = {.field = field, .emit = emit, .context = context};
    struct emitter *const shared = &emitter;
    (void)path_visit(&field->path, payload, visit, &shared);
    if (emitter.null)
        emit_class(&emitter, KEY_NULL);
    if (emitter.present)
        emit_class(&emitter, KEY_PRESENT);
    if (emitter.other)
        emit_class(&emitter, KEY_OTHER);
    if (emitter.texts > 1)
        emit_class(&emitter, KEY_SEVERAL);
    if (emitter.filled && !emitter.present && !emitter.other)
        emit_class(&emitter, KEY_HOLLOW);
}
