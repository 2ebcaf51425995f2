/* PUT /collections/{c}/points/vectors: vectors of points that are there, the others stay. (Deleting
 * vectors: api_payload.c, as it chooses points as payload updates do.) */
#include "server/update.h"

#include <inttypes.h>

#include "server/handlers.h"
#include "server/point_reader.h"

enum { SEEN_POINTS = 1, SEEN_FILTER = 2 };

struct reading {
    struct body body;
    struct point_reader reader;
    struct op_builder op;
    const struct filter *filter;
    uint64_t point_count, point_max;
    unsigned seen;
};

/* Where a fault is, put before a path or behind a text as in upserts. */
static bool name_point(struct reading *reading, uint64_t i)
{
    struct body *body = &reading->body;
    if (body->refusal.kind == REFUSAL_NONE)
        return json_fail_within(&body->json, "points[%" PRIu64 "]", i);
    const char *text = body->refusal.text;
    body->refusal.text = body->refusal.kind == REFUSAL_VALIDATION
                             ? arena_format(body->arena, "points[%" PRIu64 "].%s", i, text)
                             : arena_format(body->arena, "%s (points[%" PRIu64 "])", text, i);
    return false;
}

static bool read_one(struct reading *reading)
{
    struct body *body = &reading->body;
    struct point point;
    if (!point_read(&reading->reader, body, &point))
        return false;
    if (point.vector_count == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                      "vector: must specify vectors to update for point");
    point.payload = (struct span){0}; /* not of this call: ignored as unknown fields are */
    point_put(&reading->reader, &point);
    return true;
}

static bool read_points(struct reading *reading)
{
    struct body *body = &reading->body;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "points: expected an array of points");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        const uint64_t i = reading->point_count++;
        if (i == reading->point_max)
            return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                          "more than strict.upsert_max_batchsize (%" PRIu64
                          ") points in one request",
                          reading->point_max);
        if (!read_one(reading))
            return name_point(reading, i);
    }
    return !json_failed(&body->json);
}

static bool read_field(struct reading *reading, struct span key)
{
    struct body *body = &reading->body;
    if (key_is(key, "points"))
        return field_once(body, &reading->seen, SEEN_POINTS, "points") && read_points(reading);
    if (key_is(key, "update_filter"))
        return field_null(body) ||
               (field_once(body, &reading->seen, SEEN_FILTER, "update_filter") &&
                field_filter(body, "update_filter", &reading->filter));
    if (key_is(key, "shard_key"))
        return field_unsupported(body, "shard_key");
    return json_skip(&body->json);
}

static bool read_body(struct reading *reading)
{
    struct body *body = &reading->body;
    struct span key;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `points`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(reading, key))
            return false;
    }
    if (!json_failed(&body->json) && (reading->seen & SEEN_POINTS) == 0)
        return json_fail(&body->json, "missing field `points`");
    if (body_good(body) && reading->point_count == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST, "Empty update request");
    return body_end(body);
}

bool update_read_update_vectors(struct update *update)
{
    struct call *call = update->call;
    struct reading *reading = arena_allocate(call->arena, sizeof *reading);
    *reading = (struct reading){.point_max = call->limits.upsert_max_batchsize};
    uint8_t request_id[16];
    request_id_draw(request_id);
    body_begin_call(&reading->body, call);
    json_init(&reading->body.json, update->text, call->arena);
    reading->body.json.begin = update->begin;
    point_reader_begin(&reading->reader, call->collection, call->service->config, call->arena);
    op_begin(&reading->op, call->arena, OP_VECTORS_UPDATE, request_id);
    reading->reader.op = &reading->op;
    if (!read_body(reading)) {
        (void)body_good(&reading->body);
        update->refusal = reading->body.refusal;
        return false;
    }
    if (!filter_is_empty(reading->filter))
        op_put_filter(&reading->op, filter_source(reading->filter), false);
    update->op = op_end(&reading->op);
    update->point_count = reading->point_count;
    return true;
}

void api_vectors_update(struct call *call)
{
    update_run(call, update_read_update_vectors);
}

void api_vectors_delete(struct call *call)
{
    update_run(call, update_read_delete_vectors);
}
