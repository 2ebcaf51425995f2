#include "server/api_control.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "server/tree.h"

#define RANGES_BYTES_MAX 2048 /* of one reply; more faults than that need not be listed */

/* ---- what was found ---- */

__attribute__((format(printf, 2, 0))) static const char *
text_keep(struct arena *arena, const char *format, va_list arguments)
{
    char message[512];
    vsnprintf(message, sizeof message, format, arguments);
    return arena_copy(arena, message, strlen(message) + 1);
}

void judge_format(struct judgement *judgement, const char *format, ...)
{
    va_list arguments;
    if (judgement->format != NULL)
        return;
    va_start(arguments, format);
    judgement->format = text_keep(judgement->arena, format, arguments);
    va_end(arguments);
}

void judge_wrong(struct judgement *judgement, const char *format, ...)
{
    va_list arguments;
    if (judgement->wrong != NULL)
        return;
    va_start(arguments, format);
    judgement->wrong = text_keep(judgement->arena, format, arguments);
    va_end(arguments);
}

static void judge_range(struct judgement *judgement, const char *path, const char *value,
                        const char *range)
{
    const char *before = judgement->ranges;
    if (before != NULL && strlen(before) > RANGES_BYTES_MAX)
        return;
    judgement->ranges =
        arena_format(judgement->arena, "%s%s%s: value %s invalid, %s", before == NULL ? "" : before,
                     before == NULL ? "" : "; ", path, value, range);
}

bool judgement_is_clean(const struct judgement *judgement)
{
    return judgement->format == NULL && judgement->wrong == NULL && judgement->ranges == NULL;
}

/* Types are wrong before ranges, ranges before what is not built. */
void call_fail_judgement(struct call *call, const struct judgement *judgement)
{
    if (judgement->format != NULL)
        call_fail(call, 400, "Format error in JSON body: %s", judgement->format);
    else if (judgement->ranges != NULL)
        call_fail(call, 422, "Validation error in JSON body: [%s]", judgement->ranges);
    else
        call_fail(call, 400, "Wrong input: %s", judgement->wrong);
}

bool control_parse(struct call *call, struct span *object)
{
    struct span body = call->request->body;
    uint64_t limit = call->service->config->control_body_bytes_max;
    if (body.bytes > limit) {
        call_fail(call, 413,
                  "Bad request: the body is larger than service.control_body_bytes_max (%" PRIu64
                  " bytes)",
                  limit);
        return false;
    }
    const char *why = NULL;
    if (tree_parse(body, call->arena, object, &why))
        return true;
    call_fail(call, 400, "Format error in JSON body: %s", why);
    return false;
}

/* ---- judging ---- */

static const char *type_text(struct arena *arena, struct span value)
{
    struct span text = value_kind(value) == VALUE_STRING ? value_string(value) : span_text("");
    switch (value_kind(value)) {
    case VALUE_OBJECT:
        return "map";
    case VALUE_ARRAY:
        return "sequence";
    case VALUE_STRING:
        return arena_format(arena, "string \"%.*s\"", (int)(text.bytes < 64 ? text.bytes : 64),
                            (const char *)text.data);
    case VALUE_INTEGER:
        return arena_format(arena, "integer `%" PRId64 "`", value_integer(value));
    case VALUE_UNSIGNED:
        return arena_format(arena, "integer `%" PRIu64 "`", value_unsigned(value));
    case VALUE_DOUBLE:
        return arena_format(arena, "floating point `%g`", value_double(value));
    case VALUE_BOOL:
        return value_bool(value) ? "boolean `true`" : "boolean `false`";
    case VALUE_NULL:
    case VALUE_INVALID:
        break;
    }
    return "null";
}

static bool expect(struct judgement *judgement, bool holds, const char *path, struct span value,
                   const char *expected)
{
    if (!holds)
        judge_format(judgement, "%s: invalid type: %s, expected %s", path,
                     type_text(judgement->arena, value), expected);
    return holds;
}

static const char *range_text(struct arena *arena, uint64_t min, uint64_t max)
{
    return max == UINT64_MAX
               ? arena_format(arena, "must be %" PRIu64 " or larger", min)
               : arena_format(arena, "must be from %" PRIu64 " to %" PRIu64, min, max);
}

static void judge_uint(const struct schema_field *field, struct span value, const char *path,
                       struct judgement *judgement)
{
    if (!expect(judgement, value_kind(value) == VALUE_INTEGER, path, value, "an unsigned integer"))
        return;
    int64_t number = value_integer(value);
    if (number < 0)
        judge_format(judgement,
                     "%s: invalid value: integer `%" PRId64 "`, expected an unsigned integer", path,
                     number);
    else if ((uint64_t)number < field->min || (uint64_t)number > field->max)
        judge_range(judgement, path, arena_format(judgement->arena, "%" PRId64, number),
                    range_text(judgement->arena, field->min, field->max));
}

static bool value_is_number(struct span value)
{
    enum value_kind kind = value_kind(value);
    return kind == VALUE_INTEGER || kind == VALUE_UNSIGNED || kind == VALUE_DOUBLE;
}

static void judge_number(const struct schema_field *field, struct span value, const char *path,
                         struct judgement *judgement)
{
    if (!expect(judgement, value_is_number(value), path, value, "a number"))
        return;
    double number = value_double(value);
    if (number < field->least || number > field->most)
        judge_range(
            judgement, path, arena_format(judgement->arena, "%g", number),
            arena_format(judgement->arena, "must be from %g to %g", field->least, field->most));
}

static void judge_word(const struct schema_field *field, struct span value, const char *path,
                       struct judgement *judgement)
{
    if (!expect(judgement, value_kind(value) == VALUE_STRING, path, value, "a string"))
        return;
    struct span text = value_string(value);
    const char *list = "";
    for (const char *const *word = field->words; *word != NULL; word++) {
        if (span_equal(text, span_text(*word)))
            return;
        list = arena_format(judgement->arena, "%s%s`%s`", list, *list == '\0' ? "" : ", ", *word);
    }
    judge_format(judgement, "%s: unknown variant `%.*s`, expected one of %s", path,
                 (int)(text.bytes < 64 ? text.bytes : 64), (const char *)text.data, list);
}

static bool value_is_auto(struct span value)
{
    return value_kind(value) == VALUE_STRING && span_equal(value_string(value), span_text("auto"));
}

static void judge_leaf(const struct schema_field *field, struct span value, const char *path,
                       struct judgement *judgement)
{
    switch (field->kind) {
    case FIELD_BOOL:
        expect(judgement, value_kind(value) == VALUE_BOOL, path, value, "a boolean");
        break;
    case FIELD_UINT_OR_AUTO:
        if (!value_is_auto(value))
            judge_uint(field, value, path, judgement);
        break;
    case FIELD_UINT:
        judge_uint(field, value, path, judgement);
        break;
    case FIELD_NUMBER:
        judge_number(field, value, path, judgement);
        break;
    case FIELD_WORD:
        judge_word(field, value, path, judgement);
        break;
    case FIELD_TEXT:
        expect(judgement, value_kind(value) == VALUE_STRING, path, value, "a string");
        break;
    case FIELD_OBJECT:
    case FIELD_ANY_OBJECT:
        expect(judgement, value_kind(value) == VALUE_OBJECT, path, value, "a map");
        break;
    case FIELD_ANY:
        break;
    }
}

/* The field's value under its name or its synonym; empty when absent or null. */
static struct span field_value(const struct schema_field *field, struct span object,
                               struct judgement *judgement)
{
    struct span value = value_get(object, span_text(field->name)), other = {0};
    if (field->alias != NULL)
        other = value_get(object, span_text(field->alias));
    if (value.bytes > 0 && other.bytes > 0)
        judge_format(judgement, "duplicate field `%s`", field->name);
    if (value.bytes == 0)
        value = other;
    if (value.bytes > 0 && value_kind(value) == VALUE_NULL)
        value.bytes = 0;
    return value;
}

static void judge_field(const struct schema_field *field, struct span object, const char *path,
                        struct judgement *judgement, struct value_builder *builder)
{
    struct span value = field_value(field, object, judgement);
    const char *inner =
        *path == '\0' ? field->name : arena_format(judgement->arena, "%s.%s", path, field->name);
    if (value.bytes == 0) {
        if (field->required)
            judge_format(judgement, "%s%smissing field `%s`", path, *path == '\0' ? "" : ": ",
                         field->name);
        return;
    }
    judge_leaf(field, value, inner, judgement);
    if (judgement->format != NULL || value_put_key(builder, span_text(field->name)) != OK)
        return;
    if (field->kind == FIELD_OBJECT)
        control_judge(field->object, value, inner, judgement, builder);
    else
        value_put_value(builder, value);
}

void control_judge(const struct schema_field *schema, struct span object, const char *path,
                   struct judgement *judgement, struct value_builder *builder)
{
    if (value_open_object(builder) != OK) {
        judge_format(judgement, "nested too deeply");
        return;
    }
    for (const struct schema_field *field = schema; field->name != NULL; field++)
        judge_field(field, object, path, judgement, builder);
    value_close(builder);
}
