/* PUT /collections/{c}/points: a list of points, or columns of them.
 *
 * Everything is judged before anything is submitted. The list form goes point by point into the op;
 * the column form is gathered column by column first, because its keys come in any order. */
#include "server/api_points.h"
#include "server/handlers.h"
#include "server/point_reader.h"
#include "server/update.h"

#include <inttypes.h>

enum { SEEN_POINTS = 1, SEEN_BATCH = 2, SEEN_IDS = 4, SEEN_VECTORS = 8, SEEN_PAYLOADS = 16 };

struct upsert {
    struct body body;
    struct point_reader reader;
    struct op_builder op;
    uint64_t point_count, point_max;
    enum op_mode mode;
    const struct filter *filter;
};

static bool count_point(struct upsert *upsert, uint64_t count)
{
    if (count <= upsert->point_max)
        return true;
    return refuse(&upsert->body.refusal, upsert->body.arena, REFUSAL_REQUEST,
                  "more than strict.upsert_max_batchsize (%" PRIu64 ") points in one request",
                  upsert->point_max);
}

/* Say which item of a list is wrong, in the scanner's words or the refusal's; false. */
static bool name_item(struct upsert *upsert, const char *list, uint64_t i)
{
    struct body *body = &upsert->body;
    if (body->refusal.kind == REFUSAL_NONE)
        return json_fail_within(&body->json, "%s[%" PRIu64 "]", list, i);
    const char *text = body->refusal.text;
    if (body->refusal.kind == REFUSAL_VALIDATION) /* it begins with the path inside the item */
        text = arena_format(body->arena, "%s[%" PRIu64 "].%s", list, i, text);
    else
        text = arena_format(body->arena, "%s (%s[%" PRIu64 "])", text, list, i);
    body->refusal.text = text;
    return false;
}

/* ---- {"points": [...]} ---- */

static bool read_points(struct upsert *upsert)
{
    struct json *json = &upsert->body.json;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "points: expected an array of points");
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        struct point point;
        if (!count_point(upsert, ++upsert->point_count))
            return false;
        if (!point_read(&upsert->reader, &upsert->body, &point))
            return name_item(upsert, "points", upsert->point_count - 1);
        point_put(&upsert->reader, &point);
    }
    return !json_failed(json);
}

/* ---- {"batch": {"ids": [...], "vectors": ..., "payloads": [...]}} ---- */

/* A growing column in the arena. Its size is bounded by the body, the old copies by its doubling.
 */
struct column {
    uint8_t *items;
    size_t count, capacity;
};

static void *column_add(struct arena *arena, struct column *column, size_t item_bytes)
{
    if (column->count == column->capacity) {
        size_t capacity = column->capacity == 0 ? 64 : column->capacity * 2;
        uint8_t *items = arena_allocate(arena, size_product(capacity, item_bytes));
        if (column->count > 0)
            memcpy(items, column->items, column->count * item_bytes);
        column->items = items;
        column->capacity = capacity;
    }
    return column->items + column->count++ * item_bytes;
}

struct named_id {
    struct point_id id;
    struct span text; /* of a string id */
};

struct columns {
    struct column ids, payloads;
    struct column vectors[COLLECTION_VECTORS_MAX]; /* struct vector_data, by number */
    struct vector_set given;                       /* none: every point is without */
};

static bool read_ids(struct upsert *upsert, struct column *ids)
{
    struct json *json = &upsert->body.json;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "batch.ids: expected an array of ids");
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        struct named_id *id = column_add(upsert->body.arena, ids, sizeof *id);
        if (!count_point(upsert, ids->count))
            return false;
        if (!api_read_id_text(&upsert->body, &id->id, &id->text))
            return name_item(upsert, "batch.ids", ids->count - 1);
    }
    return !json_failed(json);
}

/* A dense vector lies in the reader's row: the column keeps a copy. */
static bool read_column_vector(struct upsert *upsert, uint16_t number, struct column *vectors)
{
    struct vector_data vector;
    struct arena *arena = upsert->body.arena;
    if (!vector_read_one(&upsert->reader, &upsert->body, number, &vector))
        return false;
    if (vector.kind == VECTOR_DENSE)
        vector.data = arena_copy(arena, vector.data, vector_data_bytes(&vector));
    memcpy(column_add(arena, vectors, sizeof vector), &vector, sizeof vector);
    return true;
}

static bool read_rows(struct upsert *upsert, struct columns *columns, struct span name)
{
    struct json *json = &upsert->body.json;
    uint16_t number;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "batch.vectors: expected an array of vectors");
    if (!json_enter_array(json))
        return false;
    if (!vector_find(&upsert->reader, &upsert->body, name, &number))
        return false;
    if (vector_set_has(&columns->given, number))
        return json_fail(json, "duplicate field `%.*s`", (int)name.bytes, (const char *)name.data);
    vector_set_add(&columns->given, number);
    struct column *vectors = &columns->vectors[number];
    while (json_element(json)) {
        if (!count_point(upsert, vectors->count + 1))
            return false;
        if (!read_column_vector(upsert, number, vectors))
            return name_item(upsert, "batch.vectors", vectors->count);
    }
    return !json_failed(json);
}

static bool read_vectors(struct upsert *upsert, struct columns *columns)
{
    struct json *json = &upsert->body.json;
    struct span name;
    if (json_peek(json) != JSON_OBJECT)
        return read_rows(upsert, columns, (struct span){0});
    if (!json_enter_object(json))
        return false;
    while (json_key(json, &name)) {
        if (!read_rows(upsert, columns, name))
            return false;
    }
    return !json_failed(json);
}

static bool read_payloads(struct upsert *upsert, struct column *payloads)
{
    struct json *json = &upsert->body.json;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "batch.payloads: expected an array of objects or nulls");
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        struct span *payload = column_add(upsert->body.arena, payloads, sizeof *payload);
        if (!count_point(upsert, payloads->count))
            return false;
        if (!payload_read(&upsert->reader, &upsert->body, payload))
            return name_item(upsert, "batch.payloads", payloads->count - 1);
    }
    return !json_failed(json);
}

static bool read_column(struct upsert *upsert, struct span key, struct columns *columns,
                        unsigned *seen)
{
    struct body *body = &upsert->body;
    if (key_is(key, "ids"))
        return field_once(body, seen, SEEN_IDS, "ids") && read_ids(upsert, &columns->ids);
    if (key_is(key, "vectors") || key_is(key, "vector"))
        return field_once(body, seen, SEEN_VECTORS, "vectors") && read_vectors(upsert, columns);
    if (key_is(key, "payloads"))
        return field_null(body) || (field_once(body, seen, SEEN_PAYLOADS, "payloads") &&
                                    read_payloads(upsert, &columns->payloads));
    return json_skip(&body->json);
}

static bool check_lengths(struct upsert *upsert, const struct columns *columns, unsigned seen)
{
    size_t ids = columns->ids.count;
    struct body *body = &upsert->body;
    if ((seen & SEEN_IDS) == 0 || (seen & SEEN_VECTORS) == 0)
        return json_fail(&body->json, "batch: missing field `%s`",
                         (seen & SEEN_IDS) == 0 ? "ids" : "vectors");
    for (uint32_t i = vector_set_next(&columns->given, 0); i < COLLECTION_VECTORS_MAX;
         i = vector_set_next(&columns->given, i + 1)) {
        if (ids != columns->vectors[i].count)
            return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                          "batch: number of ids and vectors must be equal (%zu != %zu)", ids,
                          columns->vectors[i].count);
    }
    if ((seen & SEEN_PAYLOADS) != 0 && ids != columns->payloads.count)
        return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                      "batch: number of ids and payloads must be equal (%zu != %zu)", ids,
                      columns->payloads.count);
    return true;
}

static void put_columns(struct upsert *upsert, const struct columns *columns)
{
    struct vector_data vectors[COLLECTION_VECTORS_MAX];
    for (size_t i = 0; i < columns->ids.count; i++) {
        struct point point = {.vectors = vectors};
        struct named_id id;
        memcpy(&id, columns->ids.items + i * sizeof id, sizeof id);
        point.id = id.id;
        point.id_text = id.text;
        if (i < columns->payloads.count)
            memcpy(&point.payload, columns->payloads.items + i * sizeof point.payload,
                   sizeof point.payload);
        for (uint32_t j = vector_set_next(&columns->given, 0); j < COLLECTION_VECTORS_MAX;
             j = vector_set_next(&columns->given, j + 1))
            memcpy(&vectors[point.vector_count++],
                   columns->vectors[j].items + i * sizeof vectors[0], sizeof vectors[0]);
        point_put(&upsert->reader, &point);
    }
    upsert->point_count = columns->ids.count;
}

static bool read_batch(struct upsert *upsert)
{
    struct json *json = &upsert->body.json;
    struct columns *columns = arena_allocate(upsert->body.arena, sizeof *columns);
    struct span key;
    unsigned seen = 0;
    memset(columns, 0, sizeof *columns);
    if (json_peek(json) != JSON_OBJECT)
        return json_fail(json, "batch: expected an object of columns");
    if (!json_enter_object(json))
        return false;
    while (json_key(json, &key)) {
        if (!read_column(upsert, key, columns, &seen))
            return false;
    }
    if (json_failed(json) || !check_lengths(upsert, columns, seen))
        return false;
    put_columns(upsert, columns);
    return true;
}

/* ---- the body ---- */

static bool read_mode(struct body *body, enum op_mode *out)
{
    static const struct {
        const char *name;
        enum op_mode mode;
    } modes[] = {{"upsert", OP_MODE_UPSERT},
                 {"insert_only", OP_MODE_INSERT_ONLY},
                 {"update_only", OP_MODE_UPDATE_ONLY}};
    struct span mode;
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "update_mode: expected a string");
    if (!json_string(&body->json, &mode))
        return false;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (key_is(mode, modes[i].name)) {
            *out = modes[i].mode;
            return true;
        }
    }
    return json_fail(&body->json,
                     "unknown variant `%.*s`, expected one of `upsert`, `insert_only`, "
                     "`update_only`",
                     (int)mode.bytes, (const char *)mode.data);
}

static bool read_field(struct upsert *upsert, struct span key, unsigned *seen)
{
    struct body *body = &upsert->body;
    if (key_is(key, "points"))
        return field_null(body) ||
               (field_once(body, seen, SEEN_POINTS, "points") && read_points(upsert));
    if (key_is(key, "batch"))
        return field_null(body) ||
               (field_once(body, seen, SEEN_BATCH, "batch") && read_batch(upsert));
    if (key_is(key, "shard_key"))
        return field_unsupported(body, "shard_key");
    if (key_is(key, "update_filter"))
        return field_filter(body, "update_filter", &upsert->filter);
    if (key_is(key, "update_mode"))
        return read_mode(body, &upsert->mode);
    return json_skip(&body->json);
}

static bool read_upsert(struct upsert *upsert)
{
    struct body *body = &upsert->body;
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `points` or `batch`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(upsert, key, &seen))
            return false;
    }
    if (json_failed(&body->json))
        return false;
    if (seen == 0)
        return json_fail(&body->json, "missing field `points`");
    if (seen == (SEEN_POINTS | SEEN_BATCH))
        return json_fail(&body->json, "both `points` and `batch` are given");
    return true;
}

/* Judge the whole body; true: upsert->op is ready to be ended. */
static bool judge(struct upsert *upsert)
{
    struct body *body = &upsert->body;
    if (read_upsert(upsert) && body_end(body) && upsert->point_count > 0)
        return true;
    if (body_good(body))
        (void)refuse(&body->refusal, body->arena, REFUSAL_REQUEST, "Empty update request");
    return false;
}

void api_update_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (update_missing(job))
        return;
    if (job->error == ERROR_TOO_LARGE) {
        call_fail(call, 400,
                  "Wrong input: a payload would be nested deeper than %d levels or too large",
                  VALUE_DEPTH_MAX);
        return;
    }
    if (job->error != OK) {
        call_fail_error(call, job->error);
        return;
    }
    text_printf(call_result(call), "{\"operation_id\":%" PRIu64 ",\"status\":\"%s\"}",
                job->operation, call->wait ? "completed" : "acknowledged");
    call_ok(call);
}

/* In a batch, later operations may find these points by a filter. */
static void note_touched(const struct update *update)
{
    struct op_header header;
    struct op_point point;
    struct span points;
    if (update->touched == NULL || op_open(update->op, &header, &points) != OK)
        return;
    while (op_next(&header, &points, &point))
        id_list_add(update->touched, update->call->arena, &point.id);
}

bool update_read_upsert(struct update *update)
{
    struct call *call = update->call;
    struct upsert *upsert = arena_allocate(call->arena, sizeof *upsert);
    *upsert = (struct upsert){.point_max = call->limits.upsert_max_batchsize};
    uint8_t request_id[16];
    request_id_draw(request_id);
    body_begin_call(&upsert->body, call);
    json_init(&upsert->body.json, update->text, call->arena);
    upsert->body.json.begin = update->begin;
    point_reader_begin(&upsert->reader, call->collection, call->service->config, call->arena);
    op_begin(&upsert->op, call->arena, OP_UPSERT, request_id);
    upsert->reader.op = &upsert->op;
    if (!judge(upsert)) {
        update->refusal = upsert->body.refusal;
        return false;
    }
    op_put_mode(&upsert->op, upsert->mode);
    if (!filter_is_empty(upsert->filter))
        op_put_filter(&upsert->op, filter_source(upsert->filter), false);
    update->op = op_end(&upsert->op);
    if (!check_sizes(&upsert->body, update->op)) {
        update->refusal = upsert->body.refusal;
        return false;
    }
    update->point_count = upsert->point_count;
    note_touched(update);
    return true;
}

void api_points_upsert(struct call *call)
{
    update_run(call, update_read_upsert);
}
