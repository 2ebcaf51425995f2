/* Filters in bodies. */
#include "server/fields.h"

static bool refuse_fault(struct body *body, const struct filter_fault *fault)
{
    struct refusal *refusal = &body->refusal;
    switch (fault->kind) {
    case FILTER_FAULT_FORMAT:
        return refuse(refusal, body->arena, REFUSAL_FORMAT, "%s: %s", fault->path, fault->text);
    case FILTER_FAULT_CONDITION:
        return refuse(refusal, body->arena, REFUSAL_FORMAT,
                      "data did not match any variant of untagged enum Condition: %s: %s",
                      fault->path, fault->text);
    case FILTER_FAULT_VALUE:
        return refuse(refusal, body->arena, REFUSAL_VALIDATION, "%s%s: %s", body->path, fault->path,
                      fault->text);
    case FILTER_FAULT_LIMIT:
        break;
    }
    return refuse(refusal, body->arena, REFUSAL_REQUEST, "%s: %s", fault->path, fault->text);
}

bool filter_value(struct body *body, struct span value, const char *name,
                  const struct filter **filter)
{
    struct filter_fault fault;
    if (filter_compile(value, name, &body->filters, body->arena, filter, &fault) != OK)
        return refuse_fault(body, &fault);
    return check_indexed(body, *filter);
}

bool field_filter(struct body *body, const char *name, const struct filter **filter)
{
    struct span value;
    if (field_null(body))
        return true;
    return json_value(&body->json, &value) && filter_value(body, value, name, filter);
}
