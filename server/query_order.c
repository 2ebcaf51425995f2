/* `order_by`: which field, which way, from where on. */
#include "server/query_node.h"

#include "index/datetime.h"

enum { SEEN_KEY = 1, SEEN_DIRECTION = 2, SEEN_START = 4 };

static bool read_key(struct body *body, struct query_order *order)
{
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "order_by.key: expected a path as a string");
    return json_string(&body->json, &order->key);
}

static bool read_direction(struct body *body, struct query_order *order)
{
    struct span text;
    if (field_null(body))
        return true;
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "order_by.direction: expected `asc` or `desc`");
    if (!json_string(&body->json, &text))
        return false;
    order->descending = key_is(text, "desc");
    return order->descending || key_is(text, "asc") ||
           json_fail(&body->json, "order_by.direction: unknown variant `%.*s`", (int)text.bytes,
                     (const char *)text.data);
}

/* A number, or a date-time as its microseconds. */
static bool read_start(struct body *body, struct query_order *order)
{
    struct span value;
    int64_t microseconds;
    if (field_null(body))
        return true;
    if (!json_value(&body->json, &value))
        return false;
    order->has_start = true;
    switch ((int)value_kind(value)) {
    case VALUE_INTEGER:
    case VALUE_UNSIGNED:
    case VALUE_DOUBLE:
        order->start = exact_of(value, value_kind(value));
        return true;
    case VALUE_STRING:
        if (datetime_parse(value_string(value), &microseconds)) {
            order->start = (struct exact){(double)microseconds, 0}; /* of years 1 to 9999: exact */
            return true;
        }
        break;
    default:
        break;
    }
    return json_fail(&body->json, "order_by.start_from: expected a number or a date-time");
}

bool query_order_read(struct body *body, struct query_order *order)
{
    struct span key;
    unsigned seen = 0;
    *order = (struct query_order){0};
    if (json_peek(&body->json) == JSON_STRING)
        return read_key(body, order);
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "order_by: expected a path or an object with `key`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "key"))
            good = field_once(body, &seen, SEEN_KEY, "key") && read_key(body, order);
        else if (key_is(key, "direction"))
            good =
                field_once(body, &seen, SEEN_DIRECTION, "direction") && read_direction(body, order);
        else if (key_is(key, "start_from"))
            good = field_once(body, &seen, SEEN_START, "start_from") && read_start(body, order);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    return !json_failed(&body->json) &&
           ((seen & SEEN_KEY) != 0 || json_fail(&body->json, "order_by: missing field `key`"));
}
