#include "server/query_groups.h"

enum {
    SEEN_BY = QUERY_SEEN_OWN,
    SEEN_SIZE = QUERY_SEEN_OWN * 2,
    SEEN_LOOKUP = QUERY_SEEN_OWN * 4,
};
enum { SEEN_PAYLOAD = 1, SEEN_VECTOR = 2 };

static bool read_by(struct body *body, struct query_groups *groups)
{
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "group_by: expected a path as a string");
    if (!json_string(&body->json, &groups->group_by))
        return false;
    return path_parse(groups->group_by, body->arena, &groups->path) ||
           json_fail(&body->json, "group_by: `%.*s` is not a path", (int)groups->group_by.bytes,
                     (const char *)groups->group_by.data);
}

static bool hold(struct body *body, struct query_groups *groups, struct span name)
{
    groups->has_lookup = true;
    groups->lookup_selectors = (struct selectors){.payload = SELECT_ALL};
    return query_lookup_hold(groups->call, body, groups->lookups, name, &groups->lookup,
                             &groups->own_lookup);
}

static const struct collection_settings *lookup_settings(const struct query_groups *groups)
{
    return collection_settings(groups->own_lookup ? groups->call->collection
                                                  : groups->lookup->collection);
}

/* `collection` first, wherever it stands: names of vectors are judged by its settings. */
static bool find_collection(struct body *body, struct query_groups *groups)
{
    struct json before = body->json;
    struct span key, name = {0};
    bool found = false;
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        if (!key_is(key, "collection")) {
            if (!json_skip(&body->json))
                return false;
            continue;
        }
        if (json_peek(&body->json) != JSON_STRING)
            return json_fail(&body->json, "with_lookup.collection: expected a string");
        if (!json_string(&body->json, &name))
            return false;
        found = true;
    }
    if (json_failed(&body->json))
        return false;
    if (!found)
        return json_fail(&body->json, "with_lookup: missing field `collection`");
    body->json = before;
    return hold(body, groups, name);
}

static bool read_lookup_object(struct body *body, struct query_groups *groups)
{
    struct span key;
    unsigned seen = 0;
    if (!find_collection(body, groups) || !json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "with_payload"))
            good = field_once(body, &seen, SEEN_PAYLOAD, "with_payload") &&
                   selectors_read_payload(body, &groups->lookup_selectors);
        else if (key_is(key, "with_vectors") || key_is(key, "with_vector"))
            good = field_once(body, &seen, SEEN_VECTOR, "with_vectors") &&
                   selectors_read_vector(body, lookup_settings(groups), &groups->lookup_selectors);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    return !json_failed(&body->json);
}

static bool read_lookup(struct body *body, struct query_groups *groups)
{
    struct span name;
    if (field_null(body))
        return true;
    if (json_peek(&body->json) == JSON_STRING)
        return json_string(&body->json, &name) && hold(body, groups, name);
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "with_lookup: expected a collection or an object");
    return read_lookup_object(body, groups);
}

bool query_groups_field(const struct query_reader *reader, struct span key,
                        struct query_groups *groups, unsigned *seen, bool *mine)
{
    struct body *body = reader->body;
    *mine = true;
    if (key_is(key, "group_by"))
        return field_once(body, seen, SEEN_BY, "group_by") && read_by(body, groups);
    if (key_is(key, "group_size"))
        return field_once(body, seen, SEEN_SIZE, "group_size") &&
               field_u64(body, "group_size", 1, &groups->group_size);
    if (key_is(key, "with_lookup"))
        return field_once(body, seen, SEEN_LOOKUP, "with_lookup") && read_lookup(body, groups);
    *mine = false;
    return true;
}
