/* Payload updates and deletes: POST and PUT .../points/payload, /payload/delete, /payload/clear,
 * /points/delete. */
#include "server/update.h"

#include <inttypes.h>

#include "index/path.h"
#include "index/point_walk.h"
#include "server/handlers.h"
#include "server/point_reader.h"

enum {
    SEEN_POINTS = 1,
    SEEN_FILTER = 2,
    SEEN_PAYLOAD = 4,
    SEEN_KEY = 8,
    SEEN_KEYS = 16,
    SEEN_VECTOR = 32
};

/* What an update may and must have besides points or a filter. */
struct form {
    enum op_kind kind;
    unsigned required; /* SEEN_ bits */
    unsigned known;
    const char *neither; /* text when there are neither points nor a filter */
};

static const struct form delete_form = {OP_DELETE, 0, 0,
                                        "data did not match any variant of untagged enum "
                                        "PointsSelector: expected `points` or `filter`"};
static const struct form clear_form = {OP_PAYLOAD_CLEAR, 0, 0,
                                       "data did not match any variant of untagged enum "
                                       "PointsSelector: expected `points` or `filter`"};
#define NEITHER "Either list of point ids or filter must be provided"
static const struct form set_form = {OP_PAYLOAD_MERGE, SEEN_PAYLOAD, SEEN_PAYLOAD | SEEN_KEY,
                                     NEITHER};
static const struct form overwrite_form = {OP_PAYLOAD_OVERWRITE, SEEN_PAYLOAD,
                                           SEEN_PAYLOAD | SEEN_KEY, NEITHER};
static const struct form remove_form = {OP_PAYLOAD_REMOVE, SEEN_KEYS, SEEN_KEYS, NEITHER};

static const struct form vectors_form = {OP_VECTORS_DELETE, SEEN_VECTOR, SEEN_VECTOR, NEITHER};

struct reading {
    struct update *update;
    const struct form *form;
    struct body body;
    struct id_list ids;
    size_t found; /* of them named, or found in the view */
    const struct filter *filter;
    struct span payload;
    struct span *paths;
    size_t path_count;
    struct vector_set vectors;
    unsigned seen;
};

/* ---- ids ---- */

void id_list_add(struct id_list *list, struct arena *arena, const struct point_id *id)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct point_id *ids = arena_allocate(arena, size_product(capacity, sizeof *ids));
        if (list->count > 0)
            memcpy(ids, list->ids, list->count * sizeof *ids);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = *id;
}

bool id_list_read(struct body *body, const char *name, uint32_t max, struct id_list *list)
{
    struct json *json = &body->json;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "%s: expected an array of ids", name);
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        struct point_id id;
        if (list->count == max)
            return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                          "%s: more than strict.ids_max (%" PRIu32 ") ids in one request", name,
                          max);
        if (!api_read_id(body, &id))
            return json_fail_within(json, "%s[%zu]", name, list->count);
        id_list_add(list, body->arena, &id);
    }
    return !json_failed(json);
}

/* ---- reading ---- */

static bool read_path(struct reading *reading, const char *name)
{
    struct body *body = &reading->body;
    struct path path;
    struct span text;
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "%s: expected a path as a string", name);
    if (reading->path_count == OP_PATHS_MAX)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST, "%s has more than %u paths",
                      name, OP_PATHS_MAX);
    if (!json_string(&body->json, &text))
        return false;
    if (!path_parse(text, body->arena, &path))
        return json_fail(&body->json, "%s: Invalid json path: '%.*s'", name,
                         (int)(text.bytes < 256 ? text.bytes : 256), (const char *)text.data);
    if (reading->paths == NULL)
        reading->paths = arena_allocate(body->arena, OP_PATHS_MAX * sizeof(struct span));
    reading->paths[reading->path_count++] = text;
    return true;
}

static bool read_keys(struct reading *reading)
{
    struct json *json = &reading->body.json;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "keys: expected an array of paths");
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        if (!read_path(reading, "keys"))
            return false;
    }
    return !json_failed(json);
}

static bool read_payload(struct reading *reading)
{
    struct point_reader reader = {
        .payload_bytes_max = reading->update->call->service->config->strict.payload_bytes_max};
    if (json_peek(&reading->body.json) != JSON_OBJECT)
        return json_fail(&reading->body.json, "payload: expected an object");
    return payload_read(&reader, &reading->body, &reading->payload);
}

static bool read_vector_names(struct reading *reading)
{
    struct body *body = &reading->body;
    struct span name;
    uint16_t number;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "vector: expected an array of vector names");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (json_peek(&body->json) != JSON_STRING)
            return json_fail(&body->json, "vector: expected a vector name as a string");
        if (!json_string(&body->json, &name))
            return false;
        if (settings_find_vector(collection_settings(reading->update->call->collection), name,
                                 &number) == NULL)
            return refuse(&body->refusal, body->arena, REFUSAL_INPUT,
                          "Not existing vector name error: %.*s", (int)name.bytes,
                          (const char *)name.data);
        vector_set_add(&reading->vectors, number);
    }
    if (!json_failed(&body->json) &&
        vector_set_next(&reading->vectors, 0) == COLLECTION_VECTORS_MAX)
        return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                      "vector: must specify vector names to delete");
    return !json_failed(&body->json);
}

static bool read_known(struct reading *reading, unsigned field)
{
    switch (field) {
    case SEEN_VECTOR:
        return read_vector_names(reading);
    case SEEN_PAYLOAD:
        return read_payload(reading);
    case SEEN_KEY:
        return read_path(reading, "key");
    default:
        return read_keys(reading);
    }
}

static uint32_t ids_max_of(const struct reading *reading)
{
    return reading->update->call->service->config->strict.ids_max;
}

static bool read_field(struct reading *reading, struct span key)
{
    static const struct {
        const char *name;
        unsigned field;
    } fields[] = {
        {"payload", SEEN_PAYLOAD}, {"key", SEEN_KEY}, {"keys", SEEN_KEYS}, {"vector", SEEN_VECTOR}};
    struct body *body = &reading->body;
    if (key_is(key, "points"))
        return field_null(body) ||
               (field_once(body, &reading->seen, SEEN_POINTS, "points") &&
                id_list_read(body, "points", ids_max_of(reading), &reading->ids));
    if (key_is(key, "filter"))
        return field_null(body) || (field_once(body, &reading->seen, SEEN_FILTER, "filter") &&
                                    field_filter(body, "filter", &reading->filter));
    if (key_is(key, "shard_key"))
        return field_unsupported(body, "shard_key");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (key_is(key, fields[i].name) && (reading->form->known & fields[i].field) != 0)
            return field_null(body) ||
                   (field_once(body, &reading->seen, fields[i].field, fields[i].name) &&
                    read_known(reading, fields[i].field));
    }
    return json_skip(&body->json);
}

static bool read_body(struct reading *reading)
{
    struct body *body = &reading->body;
    struct span key;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `points` or `filter`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(reading, key))
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if ((reading->seen & reading->form->required) != reading->form->required)
        return json_fail(&body->json, "missing field `%s`",
                         reading->form->required == SEEN_KEYS     ? "keys"
                         : reading->form->required == SEEN_VECTOR ? "vector"
                                                                  : "payload");
    if ((reading->seen & (SEEN_POINTS | SEEN_FILTER)) == 0)
        return json_fail(&body->json, "%s", reading->form->neither);
    if ((reading->seen & SEEN_POINTS) != 0 && reading->ids.count == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST, "Empty update request");
    return body_end(body);
}

/* ---- what a filter means ---- */

/* false: there is a refusal or an error. */
static bool find_id(struct reading *reading, const struct point_id *id)
{
    struct update *update = reading->update;
    if (reading->ids.count >= update->ids_max)
        return refuse(
            &update->refusal, update->call->arena, REFUSAL_REQUEST,
            "filter: finds more points than fit into writer.queue_bytes_max; say which in "
            "several requests");
    id_list_add(&reading->ids, update->call->arena, id);
    return true;
}

static enum error find_ids(struct reading *reading, const struct view *view)
{
    struct update *update = reading->update;
    struct arena *arena = update->call->arena;
    const struct id_slot *item = NULL;
    struct point_walk *walk = arena_allocate(arena, sizeof *walk);
    enum error error = point_walk_begin(walk, update->call->collection, view, reading->filter, NULL,
                                        update->call->deadline_ns, NULL);
    while (error == OK) {
        error = point_walk_next(walk, &item);
        if (error != OK || item == NULL || !find_id(reading, &item->id))
            break;
    }
    point_walk_end(walk);
    reading->found = reading->ids.count;
    for (size_t i = 0; error == OK && update->touched != NULL && i < update->touched->count; i++) {
        if (!find_id(reading, &update->touched->ids[i]))
            break;
    }
    return error;
}

/* The view is the update's own: a batch reads several, and submitting closes the call's. */
static bool look_up(struct reading *reading)
{
    struct update *update = reading->update;
    struct view view;
    update->error = view_open(collection_environment(update->call->collection),
                              update->call->worker->reader, &view);
    if (update->error != OK)
        return false;
    update->error = find_ids(reading, &view);
    view_close(&view);
    return update->error == OK && update->refusal.kind == REFUSAL_NONE;
}

/* ---- the op ---- */

/* Those that were touched before are in the list already. */
static void note_touched(const struct reading *reading)
{
    const struct update *update = reading->update;
    for (size_t i = 0; update->touched != NULL && i < reading->found; i++)
        id_list_add(update->touched, update->call->arena, &reading->ids.ids[i]);
}

/* An id; of an op that deletes vectors with their numbers. */
static void put_id(struct reading *reading, struct op_builder *op, const struct point_id *id)
{
    op_put_id(op, id);
    for (uint32_t i = vector_set_next(&reading->vectors, 0); i < COLLECTION_VECTORS_MAX;
         i = vector_set_next(&reading->vectors, i + 1)) {
        const struct vector_data number = {.number = (uint16_t)i, .kind = VECTOR_SPARSE};
        (void)op_put_vector(op, &number);
    }
}

static void build(struct reading *reading)
{
    struct update *update = reading->update;
    const struct form *form = reading->form;
    struct op_builder op;
    uint8_t request_id[16];
    request_id_draw(request_id);
    bool none = form->kind == OP_PAYLOAD_REMOVE && reading->path_count == 0;
    bool at = form->kind == OP_PAYLOAD_MERGE && reading->path_count > 0;
    op_begin(&op, update->call->arena, none ? OP_PAYLOAD_MERGE : form->kind, request_id);
    for (size_t i = 0; i < reading->ids.count; i++)
        put_id(reading, &op, &reading->ids.ids[i]);
    if ((reading->seen & SEEN_POINTS) == 0)
        op_put_filter(&op, filter_source(reading->filter), true);
    if (none) { /* no keys: nothing changes, but missing points are still told */
        struct value_builder empty;
        value_begin(&empty, update->call->arena);
        (void)!value_open_object(&empty);
        value_close(&empty);
        op_put_value(&op, value_end(&empty));
    } else if ((form->required & SEEN_PAYLOAD) != 0) {
        op_put_value(&op, reading->payload);
    }
    if (at || (form->kind == OP_PAYLOAD_REMOVE && !none))
        op_put_paths(&op, reading->paths, reading->path_count);
    update->op = op_end(&op);
    update->point_count = reading->ids.count;
}

static bool read_update(struct update *update, const struct form *form)
{
    struct reading *reading = arena_allocate(update->call->arena, sizeof *reading);
    *reading = (struct reading){.update = update, .form = form};
    body_begin_call(&reading->body, update->call);
    json_init(&reading->body.json, update->text, update->call->arena);
    reading->body.json.begin = update->begin;
    if (!read_body(reading)) {
        (void)body_good(&reading->body);
        update->refusal = reading->body.refusal;
        return false;
    }
    reading->found = reading->ids.count;
    if ((reading->seen & SEEN_POINTS) == 0 && !look_up(reading))
        return false;
    build(reading);
    note_touched(reading);
    return true;
}

bool update_read_delete(struct update *update)
{
    return read_update(update, &delete_form);
}

bool update_read_set_payload(struct update *update)
{
    return read_update(update, &set_form);
}

bool update_read_overwrite_payload(struct update *update)
{
    return read_update(update, &overwrite_form);
}

bool update_read_delete_payload(struct update *update)
{
    return read_update(update, &remove_form);
}

bool update_read_delete_vectors(struct update *update)
{
    return read_update(update, &vectors_form);
}

bool update_read_clear_payload(struct update *update)
{
    return read_update(update, &clear_form);
}

/* ---- calls ---- */

bool update_missing(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (!job->missing || (job->error == OK && !call->wait) ||
        (job->error != OK && job->error != ERROR_NOT_FOUND))
        return false;
    call_fail(call, 404, "Not found: No point with id %s found",
              request_id_text(call->request, &job->missing_id));
    return true;
}

void update_submit(struct call *call, struct span op, uint64_t point_count,
                   void (*done)(struct write_job *job))
{
    struct encoded *encoded = NULL;
    enum error error = collection_encode(call->collection, call->worker->reader, op, call->arena,
                                         call->worker->workspace, &encoded);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    /* a job that alone is more than half of the queue waits for its turn like any other */
    uint64_t most = call->service->config->writer.queue_points_max / 2 + 1;
    call->job =
        (struct write_job){.kind = WRITE_OP,
                           .op = op,
                           .encoded = encoded,
                           .point_count = (uint32_t)(point_count < most ? point_count : most)};
    (void)call_submit_write(call, done);
}

uint64_t update_ids_max(const struct call *call)
{
    return call->service->config->writer.queue_bytes_max / (1 + POINT_ID_KEY_BYTES);
}

void update_run(struct call *call, update_reader *read)
{
    if (!call_collection(call))
        return;
    struct span text = call->request->body.bytes > 0 ? call->request->body : span_text("{}");
    struct update update = {.call = call,
                            .text = text,
                            .begin = (const char *)text.data,
                            .ids_max = update_ids_max(call)};
    if (read(&update))
        update_submit(call, update.op, update.point_count, api_update_done);
    else if (update.refusal.kind != REFUSAL_NONE)
        call_refuse(call, &update.refusal);
    else
        call_fail_error(call, update.error);
}

void api_points_delete(struct call *call)
{
    update_run(call, update_read_delete);
}

void api_payload_set(struct call *call)
{
    update_run(call, update_read_set_payload);
}

void api_payload_overwrite(struct call *call)
{
    update_run(call, update_read_overwrite_payload);
}

void api_payload_delete(struct call *call)
{
    update_run(call, update_read_delete_payload);
}

void api_payload_clear(struct call *call)
{
    update_run(call, update_read_clear_payload);
}
