/* POST /collections/{c}/points/count. */
#include "server/api_points.h"

#include <inttypes.h>

#include "index/filter_plan.h"
#include "server/handlers.h"

enum { SEEN_FILTER = 1, SEEN_EXACT = 2 };

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
    struct filter_plan plan;
    struct slots slots;
    const uint64_t points = view_counters(&call->view)->point_count;
    enum error error = filter_plan_make(&call->view, filter, &plan);
    if (error == OK && plan.exact) {
        *count = filter_plan_count(&plan, points);
    } else if (error == OK) {
        error = filter_slots(call->collection, &call->view, filter, call->deadline_ns, &slots);
        *count = slots_count(&slots);
        slots_release(&slots);
    }
    filter_plan_release(&plan);
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
