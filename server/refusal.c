#include "server/refusal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define REFUSAL_TEXT_BYTES_MAX 1024

bool refuse(struct refusal *refusal, struct arena *arena, enum refusal_kind kind,
            const char *format, ...)
{
    if (refusal->kind != REFUSAL_NONE)
        return false;
    char text[REFUSAL_TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments); /* a character cut in two is mended in JSON */
    va_end(arguments);
    refusal->kind = kind;
    refusal->text = arena_format(arena, "%s", text);
    return false;
}

bool refuse_json(struct refusal *refusal, const struct json *json)
{
    return refuse(refusal, json->arena, REFUSAL_FORMAT, "%s",
                  json->why == NULL ? "invalid document" : json->why);
}

bool refuse_unsupported(struct refusal *refusal, struct arena *arena, const char *field)
{
    return refuse(refusal, arena, REFUSAL_REQUEST, "`%s` is not supported yet", field);
}

int refusal_status(const struct refusal *refusal)
{
    switch (refusal->kind) {
    case REFUSAL_VALIDATION:
        return 422;
    case REFUSAL_MISSING:
        return 404;
    case REFUSAL_LARGE:
        return 413;
    case REFUSAL_TIMEOUT:
        return 408;
    case REFUSAL_INTERNAL:
        return 500;
    case REFUSAL_NONE:
    case REFUSAL_FORMAT:
    case REFUSAL_INPUT:
    case REFUSAL_REQUEST:
        break;
    }
    return 400;
}

const char *refusal_prefix(const struct refusal *refusal)
{
    switch (refusal->kind) {
    case REFUSAL_FORMAT:
        return "Format error in JSON body: ";
    case REFUSAL_REQUEST:
        return "Bad request: ";
    case REFUSAL_VALIDATION:
        return "Validation error in JSON body: [";
    case REFUSAL_MISSING:
        return "Not found: ";
    case REFUSAL_TIMEOUT:
        return "Timeout: ";
    case REFUSAL_INTERNAL:
        return "Service internal error: ";
    case REFUSAL_NONE:
    case REFUSAL_INPUT:
    case REFUSAL_LARGE:
        break;
    }
    return "Wrong input: ";
}

const char *refusal_suffix(const struct refusal *refusal)
{
    return refusal->kind == REFUSAL_VALIDATION ? "]" : "";
}

void call_refuse(struct call *call, const struct refusal *refusal)
{
    assert(refusal->kind != REFUSAL_NONE);
    call_fail(call, refusal_status(refusal), "%s%s%s", refusal_prefix(refusal), refusal->text,
              refusal_suffix(refusal));
}
