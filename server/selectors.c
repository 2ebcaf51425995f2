#include "server/selectors.h"

/* ---- reading ---- */

static bool add_path(struct body *body, struct selectors *selectors)
{
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "with_payload: expected a path as a string");
    if (selectors->path_count == SELECTOR_PATHS_MAX)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "with_payload has more than %u paths", SELECTOR_PATHS_MAX);
    if (selectors->paths == NULL)
        selectors->paths = arena_allocate(body->arena, SELECTOR_PATHS_MAX * sizeof(struct span));
    return json_string(&body->json, &selectors->paths[selectors->path_count++]);
}

/* Paths are judged here, on an empty document, so that no reply is begun with a bad one. */
static bool check_paths(struct body *body, const struct selectors *selectors)
{
    struct value_builder empty;
    struct span ignored;
    size_t bad = 0;
    value_begin(&empty, body->arena);
    enum error error = value_open_object(&empty);
    if (error == OK) {
        value_close(&empty);
        error = value_select(value_end(&empty), selectors->payload == SELECT_INCLUDE,
                             selectors->paths, selectors->path_count, body->arena, &ignored, &bad);
    }
    if (error == OK)
        return true;
    struct span path = bad < selectors->path_count ? selectors->paths[bad] : (struct span){0};
    return json_fail(&body->json, "with_payload: `%.*s` is not a path", (int)path.bytes,
                     (const char *)path.data);
}

static bool read_paths(struct body *body, struct selectors *selectors, enum selection selection)
{
    selectors->payload = selection;
    selectors->path_count = 0;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "with_payload: expected a list of paths");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!add_path(body, selectors))
            return false;
    }
    return !json_failed(&body->json) && check_paths(body, selectors);
}

static bool read_selector_object(struct body *body, struct selectors *selectors)
{
    struct span key;
    size_t count = 0;
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool include = key_is(key, "include");
        if ((!include && !key_is(key, "exclude")) || ++count > 1)
            return json_fail(&body->json,
                             "with_payload: expected either `include` or `exclude`, found `%.*s`",
                             (int)key.bytes, (const char *)key.data);
        if (!read_paths(body, selectors, include ? SELECT_INCLUDE : SELECT_EXCLUDE))
            return false;
    }
    if (count == 0)
        return json_fail(&body->json, "with_payload: expected `include` or `exclude`");
    return !json_failed(&body->json);
}

bool selectors_read_payload(struct body *body, struct selectors *selectors)
{
    bool all = false;
    if (field_null(body))
        return true;
    switch ((int)json_peek(&body->json)) {
    case JSON_ARRAY:
        return read_paths(body, selectors, SELECT_INCLUDE);
    case JSON_OBJECT:
        return read_selector_object(body, selectors);
    default:
        if (!field_bool(body, "with_payload", &all))
            return false;
        selectors->payload = all ? SELECT_ALL : SELECT_NONE;
        return true;
    }
}

static bool read_vector_name(struct body *body, const struct collection_settings *settings,
                             struct selectors *selectors)
{
    struct span name;
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "with_vector: expected a vector name as a string");
    if (!json_string(&body->json, &name))
        return false;
    uint16_t number;
    if (settings_find_vector(settings, name, &number) == NULL)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                      "Not existing vector name error: %.*s", (int)name.bytes,
                      (const char *)name.data);
    vector_set_add(&selectors->vectors, number);
    return true;
}

bool selectors_read_vector(struct body *body, const struct collection_settings *settings,
                           struct selectors *selectors)
{
    bool all = false;
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_ARRAY) {
        if (!field_bool(body, "with_vector", &all))
            return false;
        selectors->vector = all ? SELECT_ALL : SELECT_NONE;
        return true;
    }
    selectors->vector = SELECT_INCLUDE;
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (!read_vector_name(body, settings, selectors))
            return false;
    }
    return !json_failed(&body->json);
}

/* ---- writing ---- */

/* What a selector keeps lives only until it is written: an arena of its own, so that a reply of a
 * million points does not pile up in the request's. */
static enum error put_selected(const struct selectors *selectors, struct span payload,
                               struct text *out)
{
    struct arena arena;
    struct span kept;
    size_t bad;
    arena_init(&arena);
    enum error error = value_select(payload, selectors->payload == SELECT_INCLUDE, selectors->paths,
                                    selectors->path_count, &arena, &kept, &bad);
    if (error == OK)
        text_value(out, kept);
    arena_release(&arena);
    return error;
}

static enum error put_payload(const struct selectors *selectors, struct span payload,
                              struct text *out)
{
    if (selectors->payload == SELECT_NONE)
        return OK;
    text_puts(out, ",\"payload\":");
    if (payload.bytes == 0)
        text_puts(out, "{}");
    else if (selectors->payload == SELECT_ALL)
        text_value(out, payload);
    else
        return put_selected(selectors, payload, out);
    return OK;
}

static void put_sparse(const struct stored_vector *stored, struct text *out)
{
    text_puts(out, "{\"indices\":[");
    for (uint32_t i = 0; i < stored->count; i++) {
        text_puts(out, i == 0 ? "" : ",");
        text_u64(out, load32(stored->data + (size_t)i * 4));
    }
    text_puts(out, "],\"values\":");
    text_floats(out, stored->data + (size_t)stored->count * 4, stored->count);
    text_puts(out, "}");
}

static void put_multi(const struct stored_vector *stored, struct text *out)
{
    text_puts(out, "[");
    for (uint32_t i = 0; i < stored->count; i++) {
        text_puts(out, i == 0 ? "" : ",");
        text_floats(out, stored->data + (size_t)i * stored->dim * sizeof(float), stored->dim);
    }
    text_puts(out, "]");
}

/* The stored vector of one number. */
static enum error put_vector(const struct view *view, uint64_t slot, uint16_t number,
                             const struct vector_settings *settings, struct text *out)
{
    if (settings->kind != VECTOR_DENSE) {
        struct stored_vector kept;
        const enum error failed = view_stored(view, number, slot, &kept);
        if (failed == OK && kept.dim == settings->dim)
            (settings->kind == VECTOR_SPARSE ? put_sparse : put_multi)(&kept, out);
        return failed == ERROR_NOT_FOUND || (failed == OK && kept.dim != settings->dim)
                   ? ERROR_CORRUPT
                   : failed;
    }
    struct vector_row stored;
    enum error error = view_vector(view, number, slot, &stored);
    if (error == OK)
        error = vector_row_check(view, number, &stored);
    if (error == OK)
        text_floats(out, stored.vector, settings->dim);
    return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
}

static enum error put_named(const struct view *view, uint64_t slot, const struct vector_set *set,
                            const struct collection_settings *settings, struct text *out)
{
    enum error error = OK;
    bool first = true;
    text_puts(out, "{");
    for (uint32_t i = vector_set_next(set, 0); i < settings->vector_count && error == OK;
         i = vector_set_next(set, i + 1)) {
        if (settings->vectors[i].kind == VECTOR_NONE)
            continue;
        text_puts(out, first ? "" : ",");
        first = false;
        text_json_string(out, settings->vectors[i].name);
        text_puts(out, ":");
        error = put_vector(view, slot, (uint16_t)i, &settings->vectors[i], out);
    }
    text_puts(out, "}");
    return error;
}

static enum error put_vectors(const struct selectors *selectors, const struct view *view,
                              uint64_t slot, const struct point_row *row,
                              const struct collection_settings *settings, struct text *out)
{
    if (selectors->vector == SELECT_NONE)
        return OK;
    text_puts(out, ",\"vector\":");
    struct vector_set set = row->vectors;
    for (size_t i = 0; selectors->vector == SELECT_INCLUDE && i < ENVIRONMENT_VECTORS_MAX / 64; i++)
        set.words[i] &= selectors->vectors.words[i];
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        if (settings->vectors[i].kind == VECTOR_NONE) /* removed, but rows name it still */
            vector_set_remove(&set, i);
    }
    const uint32_t only = vector_set_next(&set, 0);
    const bool one =
        only < settings->vector_count && vector_set_next(&set, only + 1) >= settings->vector_count;
    if (one && settings->vectors[only].kind != VECTOR_NONE &&
        settings->vectors[only].name.bytes == 0)
        return put_vector(view, slot, (uint16_t)only, &settings->vectors[only], out);
    return put_named(view, slot, &set, settings, out);
}

enum error selectors_put_record(const struct selectors *selectors, const struct view *view,
                                uint64_t slot, const struct point_row *row,
                                const struct collection_settings *settings, const float *score,
                                struct text *out)
{
    text_puts(out, "{\"id\":");
    text_row_id(out, row);
    if (score != NULL) {
        text_puts(out, ",\"version\":");
        text_u64(out, row->version);
        text_puts(out, ",\"score\":");
        text_float(out, *score);
    }
    enum error error = put_payload(selectors, row->payload, out);
    if (error == OK)
        error = put_vectors(selectors, view, slot, row, settings, out);
    text_puts(out, "}");
    return error;
}
