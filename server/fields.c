#include "server/fields.h"

#include <inttypes.h>

#include "server/config.h"

void body_begin(struct body *body, struct span text, struct arena *arena)
{
    *body = (struct body){.arena = arena, .path = "", .filters = filter_limits_default()};
    json_init(&body->json, text.bytes == 0 ? span_text("{}") : text, arena);
}

static uint32_t at_most(uint64_t limit, uint32_t most)
{
    return limit == 0 || limit > most ? most : (uint32_t)limit;
}

void body_begin_call(struct body *body, struct call *call)
{
    const struct strict_limits *strict = &call->service->config->strict;
    body_begin(body, call->request->body, call->arena);
    body->call = call;
    body->filters = (struct filter_limits){
        .depth_max = strict->filter_max_depth,
        .conditions_max =
            at_most(call->limits.filter_max_conditions, strict->filter_max_conditions),
        .list_max = at_most(call->limits.condition_max_size, strict->condition_max_size),
        .id_bytes_max = call_id_bytes_max(call),
    };
}

bool body_good(struct body *body)
{
    if (body->refusal.kind == REFUSAL_NONE && json_failed(&body->json))
        refuse_json(&body->refusal, &body->json);
    return body->refusal.kind == REFUSAL_NONE;
}

bool body_end(struct body *body)
{
    if (body_good(body))
        (void)json_finish(&body->json);
    return body_good(body);
}

void body_refuse(struct body *body, struct call *call)
{
    (void)body_good(body);
    call_refuse(call, &body->refusal);
}

bool body_check_limit(struct body *body, const struct call *call, uint64_t limit)
{
    return refuse_limit(body, limit, call->limits.max_query_limit, "limit", "max_query_limit");
}

bool field_once(struct body *body, unsigned *seen, unsigned bit, const char *name)
{
    if ((*seen & bit) != 0)
        return json_fail(&body->json, "duplicate field `%s`", name);
    *seen |= bit;
    return true;
}

bool field_null(struct body *body)
{
    return json_peek(&body->json) == JSON_NULL && json_null(&body->json);
}

/* The scanner's own words do not name the field, so types are looked at before reading. */
static bool expect(struct body *body, const char *name, bool fits, const char *what)
{
    return fits || json_fail(&body->json, "%s: expected %s", name, what);
}

bool field_bool(struct body *body, const char *name, bool *value)
{
    if (field_null(body))
        return true;
    enum json_token token = json_peek(&body->json);
    return expect(body, name, token == JSON_TRUE || token == JSON_FALSE, "a boolean") &&
           json_bool(&body->json, value);
}

bool field_u64(struct body *body, const char *name, uint64_t min, uint64_t *value)
{
    if (field_null(body))
        return true;
    if (!expect(body, name, json_peek(&body->json) == JSON_NUMBER, "an unsigned integer"))
        return false;
    if (!json_u64(&body->json, value))
        return json_fail_within(&body->json, "%s", name);
    if (*value >= min)
        return true;
    return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                  "%s%s: value %" PRIu64 " invalid, must be %" PRIu64 " or larger", body->path,
                  name, *value, min);
}

bool field_double(struct body *body, const char *name, double min, double *value, bool *present)
{
    if (field_null(body))
        return true;
    if (!expect(body, name, json_peek(&body->json) == JSON_NUMBER, "a number"))
        return false;
    if (!json_double(&body->json, value))
        return json_fail_within(&body->json, "%s", name);
    *present = true;
    if (*value >= min)
        return true;
    return refuse(&body->refusal, body->arena, REFUSAL_VALIDATION,
                  "%s%s: value %g invalid, must be %.1f or larger", body->path, name, *value, min);
}

bool field_unsupported(struct body *body, const char *name)
{
    return field_null(body) || refuse_unsupported(&body->refusal, body->arena, name);
}

/* Consume `[]`; false if there is something else, which then counts as a refusal of `name`. */
static bool empty_list(struct body *body, const char *name)
{
    if (json_peek(&body->json) != JSON_ARRAY)
        return refuse_unsupported(&body->refusal, body->arena, name);
    if (!json_enter_array(&body->json))
        return false;
    if (json_element(&body->json))
        return refuse_unsupported(&body->refusal, body->arena, name);
    return !json_failed(&body->json);
}

bool field_unsupported_list(struct body *body, const char *name)
{
    return field_null(body) || empty_list(body, name);
}
