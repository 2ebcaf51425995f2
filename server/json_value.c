/* Any value: into flat bytes, or past it. One walk for both, with no recursion. */
#include "server/json.h"

#include "server/json_private.h"

/* Is a number's text what text_double would print? Up to 15 significant digits a decimal is the
 * only one of its length that reads as its double, so the plain form below needs no printing. */
static bool prints_alike(double v, const struct decimal *decimal, struct span text)
{
    char printed[NUMBER_TEXT_BYTES];
    const char *dot = memchr(text.data, '.', text.bytes);
    uint8_t last = text.data[text.bytes - 1];
    if (dot && last > '0' && text.bytes <= 15 && decimal->exponent >= -4 &&
        !memchr(text.data, 'e', text.bytes) && !memchr(text.data, 'E', text.bytes))
        return true;
    size_t bytes = number_print_double(v, printed);
    return span_equal(text, span_of(printed, bytes));
}

static bool put_number(struct json *json, struct value_builder *builder)
{
    struct decimal decimal;
    struct span text = {0}, none = {0};
    uint64_t magnitude;
    if (!json->due || !json_scan_number(json, &text, &decimal))
        return json_fail(json, "expected a value");
    if (!builder)
        return true;
    bool integer = json_decimal_u64(&decimal, text, &magnitude);
    if (integer && !decimal.negative) {
        value_put_unsigned(builder, magnitude, none);
    } else if (integer && magnitude != 0 && magnitude <= UINT64_C(1) << 63) {
        value_put_integer(builder, (int64_t)(0 - magnitude), none);
    } else {
        double v = number_double(&decimal, (const char *)text.data, text.bytes);
        if (!__builtin_isfinite(v))
            return json_fail(json, "number out of range");
        value_put_double(builder, v, prints_alike(v, &decimal, text) ? none : text);
    }
    return true;
}

static bool put_string(struct json *json, struct value_builder *builder)
{
    struct span text;
    if (!json->due || !json_scan_string(json, &text))
        return json_fail(json, "expected a value");
    json_value_done(json);
    if (builder)
        value_put_string(builder, text);
    return true;
}

static bool put_bool(struct json *json, struct value_builder *builder)
{
    bool v;
    if (!json_bool(json, &v))
        return false;
    if (builder)
        value_put_bool(builder, v);
    return true;
}

static bool open_container(struct json *json, struct value_builder *builder, bool object)
{
    if (!(object ? json_enter_object(json) : json_enter_array(json)))
        return false;
    if (builder && (object ? value_open_object(builder) : value_open_array(builder)) != OK)
        return json_fail(json, "nested deeper than %d levels", VALUE_DEPTH_MAX);
    return true;
}

/* A scalar whole, or the opening of a container. */
static bool take_item(struct json *json, struct value_builder *builder)
{
    if (builder && builder->bytes + (size_t)(json->end - json->next) > VALUE_BYTES_MAX)
        return json_fail(json, "value too large");
    switch (json_peek(json)) {
    case JSON_NULL:
        if (!json_null(json))
            return false;
        if (builder)
            value_put_null(builder);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        return put_bool(json, builder);
    case JSON_NUMBER:
        return put_number(json, builder);
    case JSON_STRING:
        return put_string(json, builder);
    case JSON_OBJECT:
    case JSON_ARRAY:
        return open_container(json, builder, *json->next == '{');
    case JSON_ERROR:
        return false;
    case JSON_END:
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        break;
    }
    return json_fail(json, "expected a value");
}

static bool put_key(struct json *json, struct value_builder *builder, struct span key)
{
    if (!builder || value_put_key(builder, key) == OK)
        return true;
    return json_fail(json, "duplicate key \"%.*s\"", (int)(key.bytes < 64 ? key.bytes : 64),
                     (const char *)key.data);
}

/* Behind an item: to the next one of the containers opened here, closing those that end. *more is
 * false when all have. */
static bool move_on(struct json *json, struct value_builder *builder, uint32_t base, bool *more)
{
    struct span key;
    *more = true;
    while (json->depth > base) {
        if (json->closing[json->depth - 1] == '}') {
            if (json_key(json, &key))
                return put_key(json, builder, key);
        } else if (json_element(json)) {
            return true;
        }
        if (json->why)
            return false;
        if (builder)
            value_close(builder);
    }
    *more = false;
    return true;
}

static bool take_value(struct json *json, struct value_builder *builder)
{
    uint32_t base = json->depth;
    bool more = true;
    while (more)
        if (!take_item(json, builder) || !move_on(json, builder, base, &more))
            return false;
    return true;
}

bool json_value(struct json *json, struct span *value)
{
    struct value_builder builder;
    value_begin(&builder, json->arena);
    if (!take_value(json, &builder))
        return false;
    *value = value_end(&builder);
    return true;
}

bool json_skip(struct json *json)
{
    return take_value(json, NULL);
}
