/* `order_by`: which field, which way, from where on. */
#include "server/query_node.h"

#include <inttypes.h>

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

/* A number, or a date-time: whichever the field is of, the other is made of it. */
static bool read_start(struct body *body, struct query_order *order)
{
    struct span value;
    struct order_value *start = &order->start;
    if (field_null(body))
        return true;
    if (!json_value(&body->json, &value))
        return false;
    order->has_start = true;
    const enum value_kind kind = value_kind(value);
    if (kind == VALUE_INTEGER || kind == VALUE_UNSIGNED || kind == VALUE_DOUBLE) {
        const double number = value_double(value);
        start->number = exact_of(value, kind);
        start->microseconds = number >= 9.2e18    ? INT64_MAX
                              : number <= -9.2e18 ? INT64_MIN
                                                  : (int64_t)number;
        return true;
    }
    if (kind != VALUE_STRING || !datetime_parse(value_string(value), &start->microseconds))
        return json_fail(&body->json, "order_by.start_from: expected a number or a date-time");
    start->number = (struct exact){(double)start->microseconds, 0}; /* years 1 to 9999: exact */
    return true;
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

bool query_order_find(struct body *body, const struct view *view, struct query_order *order)
{
    struct field_list fields;
    struct path path;
    const enum error error = view_fields(view, body->arena, &fields);
    if (error != OK)
        return refuse(&body->refusal, body->arena, REFUSAL_INTERNAL, "%s", error_text(error));
    order->field = path_parse(order->key, body->arena, &path)
                       ? field_find(&fields, &path, FIELD_KINDS_ORDERED)
                       : NULL;
    if (order->field != NULL) {
        order->start.is_time = order->field->kind == FIELD_DATETIME;
        return true;
    }
    return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                  "No range index for `order_by` key: `%.*s`. Please create one to use `order_by`.",
                  (int)order->key.bytes, (const char *)order->key.data);
}

static void text_order_value(struct text *out, const struct order_value *value)
{
    if (value->is_time) {
        text_printf(out, "%" PRId64, value->microseconds);
    } else if (value->is_double) {
        text_double(out, value->number.near);
    } else {
        const exact_wide whole = (exact_wide)value->number.near + value->number.rest;
        text_puts(out, whole < 0 ? "-" : "");
        text_u64(out, (uint64_t)(whole < 0 ? -whole : whole));
    }
}

void text_order_value_into(struct text *out, const struct order_value *value)
{
    out->bytes--; /* the record's closing brace */
    text_puts(out, ",\"order_value\":");
    text_order_value(out, value);
    text_puts(out, "}");
}
