/* POST /collections/{c}/points/delete and /count. */
#include "server/api_points.h"

#include <inttypes.h>

#include "server/handlers.h"
#include "server/point_reader.h"

enum { SEEN_POINTS = 1, SEEN_FILTER = 2, SEEN_EXACT = 4 };

/* ---- delete ---- */

struct removal {
    struct body body;
    struct op_builder op;
    uint64_t count;
};

static bool read_ids(struct removal *removal)
{
    struct json *json = &removal->body.json;
    if (json_peek(json) != JSON_ARRAY)
        return json_fail(json, "points: expected an array of ids");
    if (!json_enter_array(json))
        return false;
    while (json_element(json)) {
        struct point_id id;
        if (!api_read_id(json, &id))
            return false;
        op_put_id(&removal->op, &id);
        removal->count++;
    }
    return !json_failed(json);
}

static bool read_delete_field(struct removal *removal, struct span key, unsigned *seen)
{
    struct body *body = &removal->body;
    if (key_is(key, "points"))
        return field_null(body) ||
               (field_once(body, seen, SEEN_POINTS, "points") && read_ids(removal));
    if (key_is(key, "filter"))
        return field_unsupported(body, "filter"); /* an empty one would delete every point */
    if (key_is(key, "shard_key"))
        return field_unsupported(body, "shard_key");
    return json_skip(&body->json);
}

static bool read_delete(struct removal *removal)
{
    struct body *body = &removal->body;
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `points` or `filter`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_delete_field(removal, key, &seen))
            return false;
    }
    if (!json_failed(&body->json) && seen == 0)
        return json_fail(&body->json, "expected `points` or `filter`");
    return body_end(body);
}

void api_points_delete(struct call *call)
{
    if (!call_collection(call))
        return;
    struct removal *removal = arena_allocate(call->arena, sizeof *removal);
    *removal = (struct removal){0};
    uint8_t request_id[16];
    request_id_draw(request_id);
    body_begin(&removal->body, call->request->body, call->arena);
    op_begin(&removal->op, call->arena, OP_DELETE, request_id);
    bool good = read_delete(removal);
    if (good && removal->count == 0)
        good = refuse(&removal->body.refusal, call->arena, REFUSAL_REQUEST, "Empty update request");
    if (!good) {
        body_refuse(&removal->body, call);
        return;
    }
    call->job = (struct write_job){
        .kind = WRITE_OP, .op = op_end(&removal->op), .point_count = (uint32_t)removal->count};
    (void)call_submit_write(call, api_update_done);
}

/* ---- count ---- */

/* Every count is exact, so `exact` is checked and changes nothing. */
static bool read_count(struct body *body, const struct filter **filter)
{
    struct span key;
    unsigned seen = 0;
    bool exact = true;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "filter"))
            good = field_once(body, &seen, SEEN_FILTER, "filter") &&
                   field_filter(body, "filter", filter);
        else if (key_is(key, "exact"))
            good =
                field_once(body, &seen, SEEN_EXACT, "exact") && field_bool(body, "exact", &exact);
        else if (key_is(key, "shard_key"))
            good = field_unsupported(body, "shard_key");
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    return body_end(body);
}

/* Points that match. */
static enum error count_points(struct call *call, const struct filter *filter, uint64_t *count)
{
    const struct id_slot *item = NULL;
    *count = view_counters(&call->view)->point_count;
    if (filter_is_empty(filter))
        return OK;
    *count = 0;
    struct id_walk *walk = arena_allocate(call->arena, sizeof *walk);
    enum error error = id_walk_begin(walk, &call->view, NULL);
    while (error == OK) {
        error = id_walk_match(walk, call, filter, &item);
        if (error == OK && item == NULL)
            break;
        ++*count;
    }
    return error;
}

void api_points_count(struct call *call)
{
    struct body body;
    const struct filter *filter = NULL;
    uint64_t count;
    if (!call_collection(call))
        return;
    body_begin_call(&body, call);
    if (!read_count(&body, &filter)) {
        body_refuse(&body, call);
        return;
    }
    if (!call_view(call))
        return;
    enum error error = count_points(call, filter, &count);
    if (error != OK) {
        call_fail_error(call, error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error);
        return;
    }
    text_printf(call_result(call), "{\"count\":%" PRIu64 "}", count);
    call_ok(call);
}
