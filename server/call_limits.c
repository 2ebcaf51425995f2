/* The limits of a call, once its collection is known: the deadline, the rate, and what bodies look
 * up later. */
#include "server/api.h"
#include "server/collection_config.h"
#include "server/fields.h"

#include <inttypes.h>

#include "index/field.h"
#include "index/filter_unindexed.h"

#define MINUTE_NS UINT64_C(60000000000)

/* Generic cell rate algorithm (ATM Forum, 1996): the meter is the time at which the bucket would be
 * full again; a call moves it on by its share of a minute, and may not move it further than a
 * minute ahead. A whole minute's worth may come at once. */
static bool rate_admits(_Atomic uint64_t *meter, uint64_t per_minute, uint64_t now)
{
    uint64_t share = MINUTE_NS / per_minute, before = atomic_load(meter), after;
    do {
        after = (before > now ? before : now) + share;
        if (after - now > MINUTE_NS)
            return false;
    } while (!atomic_compare_exchange_weak(meter, &before, after));
    return true;
}

static bool check_rate(struct call *call)
{
    uint64_t rate = call->writes ? call->limits.write_rate_limit : call->limits.read_rate_limit;
    _Atomic uint64_t *meters = collection_meters(call->collection);
    if (rate == 0 || !call->metered || rate_admits(&meters[call->writes ? 1 : 0], rate, clock_ns()))
        return true;
    call_fail(call, 429,
              "Rate limiting exceeded: %s rate limit of %" PRIu64 " a minute exceeded, retry later",
              call->writes ? "Write" : "Read", rate);
    return false;
}

bool call_limits_begin(struct call *call)
{
    limits_of(call->service->config, call->collection, &call->limits);
    uint64_t timeout_s = call->limits.max_timeout;
    if (timeout_s > 0 && call->timeout_s > timeout_s) {
        call->deadline_ns -= (call->timeout_s - timeout_s) * UINT64_C(1000000000);
        call->timeout_s = (uint32_t)timeout_s;
    }
    return check_rate(call);
}

bool refuse_limit(struct body *body, uint64_t value, uint64_t most, const char *what,
                  const char *limit)
{
    if (most == 0 || value <= most)
        return true;
    return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                  "Limit exceeded %" PRIu64 " > %" PRIu64
                  " for \"%s\" (%s, of the server's strict.%s "
                  "or the collection's strict_mode_config)",
                  value, most, what, limit, limit);
}

/* ---- filters without an index ---- */

static const char *kinds_text(struct arena *arena, unsigned kinds)
{
    const char *text = "";
    for (unsigned i = 0; i < FIELD_KINDS; i++) {
        if ((kinds >> i & 1) != 0)
            text = arena_format(arena, "%s%s%s", text, *text == '\0' ? "" : ", ",
                                field_kind_name((enum field_kind)i));
    }
    return text;
}

bool check_indexed(struct body *body, const struct filter *filter)
{
    struct call *call = body->call;
    struct view view;
    struct field_list fields;
    struct span key;
    unsigned kinds;
    if (call == NULL || filter_is_empty(filter) ||
        (call->writes ? call->limits.forbid_unindexed_update
                      : call->limits.forbid_unindexed_retrieve) == 0)
        return true;
    enum error error =
        view_open(collection_environment(call->collection), call->worker->reader, &view);
    if (error != OK)
        return refuse(&body->refusal, body->arena, REFUSAL_INPUT, "%s", error_text(error));
    bool good = true;
    error = view_fields(&view, body->arena, &fields);
    if (error != OK)
        good = refuse(&body->refusal, body->arena, REFUSAL_INPUT, "%s", error_text(error));
    else if (filter_unindexed(filter, &fields, body->arena, &key, &kinds))
        good = refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "Index required but not found for \"%.*s\" of one of the following types: "
                      "[%s]. Help: Create an index for this key or use a different filter.",
                      (int)key.bytes, (const char *)key.data, kinds_text(body->arena, kinds));
    view_close(&view);
    return good;
}

/* ---- sizes of a collection ---- */

static uint64_t stored_vector_bytes(const struct collection *collection, const struct view *view)
{
    const struct collection_settings *settings = collection_settings(collection);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < settings->vector_count; i++)
        bytes += view_vector_counters(view, (uint16_t)i)->vector_count * settings->vectors[i].dim *
                 sizeof(float);
    return bytes;
}

/* How many points of an upsert are not there yet. */
static enum error count_new(const struct view *view, struct span op, uint64_t *count)
{
    struct op_header header;
    struct op_point point;
    struct span points;
    uint64_t slot;
    *count = 0;
    enum error error = op_open(op, &header, &points);
    while (error == OK && op_next(&header, &points, &point)) {
        const enum error found = view_slot(view, &point.id, &slot);
        *count += found == ERROR_NOT_FOUND;
        error = found == ERROR_NOT_FOUND ? OK : found;
    }
    return error;
}

static bool sizes_admit(const struct sizes *sizes, const struct view *view, struct span op)
{
    uint64_t most = sizes->limits->max_points_count, added = 0;
    if (most > 0) {
        enum error error = count_new(view, op, &added);
        if (error != OK)
            return refuse(sizes->refusal, sizes->arena, REFUSAL_INPUT, "%s", error_text(error));
        if (added > 0 && view_counters(view)->point_count + added > most)
            return refuse(sizes->refusal, sizes->arena, REFUSAL_REQUEST,
                          "Max points count limit of %" PRIu64 " reached! (max_points_count)",
                          most);
    }
    most = sizes->limits->max_collection_vector_size_bytes;
    if (most > 0 && stored_vector_bytes(sizes->collection, view) >= most)
        return refuse(sizes->refusal, sizes->arena, REFUSAL_REQUEST,
                      "Max vector storage size limit of %" PRIu64
                      " bytes reached! (max_collection_vector_size_bytes)",
                      most);
    return true;
}

bool sizes_check(const struct sizes *sizes, uint32_t reader, struct span op)
{
    struct view view;
    if (sizes->limits->max_points_count == 0 &&
        sizes->limits->max_collection_vector_size_bytes == 0)
        return true;
    enum error error = view_open(collection_environment(sizes->collection), reader, &view);
    if (error != OK)
        return refuse(sizes->refusal, sizes->arena, REFUSAL_INPUT, "%s", error_text(error));
    bool good = sizes_admit(sizes, &view, op);
    view_close(&view);
    return good;
}

bool check_sizes(struct body *body, struct span op)
{
    const struct call *call = body->call;
    const struct sizes sizes = {&call->limits, call->collection, body->arena, &body->refusal};
    return sizes_check(&sizes, call->worker->reader, op);
}
