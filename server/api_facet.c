/* POST /collections/{c}/facet: how often each value of an indexed field is there. */
#include "server/api_query.h"

#include "server/handlers.h"

enum { SEEN_KEY = 1, SEEN_LIMIT = 2, SEEN_FILTER = 4, SEEN_EXACT = 8 };

struct facet {
    struct span key;
    uint64_t limit;
    const struct filter *filter;
};

/* Counts are exact whatever `exact` says. */
static bool read_field(struct body *body, struct span key, struct facet *facet, unsigned *seen)
{
    bool exact = false;
    if (key_is(key, "key")) {
        if (json_peek(&body->json) != JSON_STRING)
            return json_fail(&body->json, "key: expected a path as a string");
        return field_once(body, seen, SEEN_KEY, "key") && json_string(&body->json, &facet->key);
    }
    if (key_is(key, "limit"))
        return field_once(body, seen, SEEN_LIMIT, "limit") &&
               field_u64(body, "limit", 1, &facet->limit);
    if (key_is(key, "filter"))
        return field_once(body, seen, SEEN_FILTER, "filter") &&
               field_filter(body, "filter", &facet->filter);
    if (key_is(key, "exact"))
        return field_once(body, seen, SEEN_EXACT, "exact") && field_bool(body, "exact", &exact);
    if (key_is(key, "shard_key"))
        return field_unsupported(body, "shard_key");
    return json_skip(&body->json);
}

static bool read_facet(struct body *body, struct facet *facet)
{
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `key`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!read_field(body, key, facet, &seen))
            return false;
    }
    if (!json_failed(&body->json) && (seen & SEEN_KEY) == 0)
        return json_fail(&body->json, "missing field `key`");
    return body_end(body);
}

static bool find_field(struct call *call, struct body *body, const struct facet *facet,
                       const struct field **field)
{
    struct field_list fields;
    struct path path;
    const enum error error = view_fields(&call->view, body->arena, &fields);
    if (error != OK)
        return refuse(&body->refusal, body->arena, REFUSAL_INTERNAL, "%s", error_text(error));
    *field = path_parse(facet->key, body->arena, &path)
                 ? field_find(&fields, &path, FIELD_KINDS_FACETED)
                 : NULL;
    if (*field != NULL && ((*field)->kind != FIELD_INTEGER || (*field)->lookup))
        return true;
    return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                  "No appropriate index for faceting: `%.*s`. Please create one to facet on this "
                  "field.",
                  (int)facet->key.bytes, (const char *)facet->key.data);
}

static bool put_hits(struct call *call, const struct facet_hit *hits, size_t count)
{
    text_puts(call_result(call), "{\"hits\":[");
    for (size_t i = 0; i < count; i++) {
        text_puts(&call->out, i > 0 ? ",{\"value\":" : "{\"value\":");
        text_value(&call->out, hits[i].value);
        text_puts(&call->out, ",\"count\":");
        text_u64(&call->out, hits[i].count);
        text_puts(&call->out, "}");
        if (!call_result_fits(call))
            return false;
    }
    text_puts(&call->out, "]}");
    return true;
}

void api_facet(struct call *call)
{
    struct body body;
    struct facet facet = {.limit = 10};
    const struct field *field = NULL;
    struct facet_hit *hits;
    size_t count;
    if (!call_collection(call))
        return;
    body_begin_call(&body, call);
    if (!read_facet(&body, &facet) || !body_check_limit(&body, call, facet.limit)) {
        body_refuse(&body, call);
        return;
    }
    if (!call_view(call))
        return;
    if (!find_field(call, &body, &facet, &field)) {
        body_refuse(&body, call);
        return;
    }
    const enum error error =
        field_facet(call->collection, &call->view, field, facet.filter, facet.limit,
                    call->deadline_ns, call->arena, &hits, &count);
    if (error != OK)
        call_fail_error(call, error);
    else if (put_hits(call, hits, count))
        call_ok(call);
}
