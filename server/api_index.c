/* PUT /collections/{c}/index, DELETE /collections/{c}/index/{field}, payload_schema in info. */
#include "server/api_index.h"

#include <inttypes.h>

#include "index/field.h"
#include "server/api_points.h"
#include "server/field_builder.h"
#include "server/handlers.h"
#include "server/point_reader.h"

enum { SEEN_NAME = 1, SEEN_SCHEMA = 2 };

struct definition {
    struct span name, schema;
};

static bool read_schema(struct body *body, struct definition *definition)
{
    return field_null(body) || json_value(&body->json, &definition->schema);
}

static bool read_name(struct body *body, struct definition *definition)
{
    if (json_peek(&body->json) != JSON_STRING)
        return json_fail(&body->json, "field_name: expected a path as a string");
    return json_string(&body->json, &definition->name);
}

static bool read_definition(struct body *body, struct definition *definition)
{
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `field_name` and `field_schema`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool good;
        if (key_is(key, "field_name"))
            good = field_once(body, &seen, SEEN_NAME, "field_name") && read_name(body, definition);
        else if (key_is(key, "field_schema") || key_is(key, "field_type"))
            good = field_once(body, &seen, SEEN_SCHEMA, "field_schema") &&
                   read_schema(body, definition);
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    if (!json_failed(&body->json) && (seen & SEEN_NAME) == 0)
        return json_fail(&body->json, "missing field `field_name`");
    return body_end(body);
}

/* The compatible server guesses a kind from the data when there is no schema; guesses go wrong. */
static bool judge(struct body *body, const struct definition *definition)
{
    struct field field;
    struct field_fault fault;
    if (definition->schema.bytes == 0)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "field_schema is missing: name the kind of index");
    if (field_compile(definition->name, definition->schema, body->arena, &field, &fault) == OK)
        return true;
    static const enum refusal_kind kinds[] = {[FIELD_FAULT_FORMAT] = REFUSAL_FORMAT,
                                              [FIELD_FAULT_VALUE] = REFUSAL_VALIDATION,
                                              [FIELD_FAULT_INPUT] = REFUSAL_INPUT};
    return refuse(&body->refusal, body->arena, kinds[fault.kind], "%s", fault.text);
}

static bool put_schema(struct op_builder *op, struct arena *arena, struct span schema)
{
    struct value_builder builder;
    value_begin(&builder, arena);
    if (value_open_object(&builder) != OK || value_put_key(&builder, span_text("schema")) != OK)
        return false;
    value_put_value(&builder, schema);
    value_close(&builder);
    op_put_value(op, value_end(&builder));
    return true;
}

/* ---- building, as part of the call that waits or behind it ---- */

static void step_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (job->error == OK && job->more && !atomic_load(&call->service->draining))
        writer_continue(call->service->writer, job);
    else
        api_update_done(job);
}

static void definition_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (job->error == ERROR_TOO_LARGE) {
        call_fail(call, 400, "Bad request: a collection has at most %u payload indexes",
                  FIELDS_MAX);
        return;
    }
    if (job->error != OK) {
        api_update_done(job);
        return;
    }
    if (!call->wait) {
        field_builder_start(call->service, job->name);
        api_update_done(job);
        return;
    }
    job->kind = WRITE_FIELDS;
    job->op = (struct span){0};
    job->done = step_done;
    writer_continue(call->service->writer, job);
}

static void submit(struct call *call, struct op_builder *op)
{
    call->job = (struct write_job){.kind = WRITE_OP, .op = op_end(op)};
    (void)call_submit_write(call, definition_done);
}

/* max_payload_index_count of the collection's strict_mode_config. false: the call has been ended.
 */
static bool check_count(struct call *call, struct span name)
{
    struct field_list list;
    uint64_t others = 0, limit = call->limits.max_payload_index_count;
    if (limit == 0)
        return true;
    if (!call_view(call))
        return false;
    enum error error = view_fields(&call->view, call->arena, &list);
    for (size_t i = 0; error == OK && i < list.count; i++)
        others += !span_equal(list.items[i].record.name, name);
    if (error == OK && others + 1 < limit)
        return true;
    if (error != OK)
        call_fail_error(call, error);
    else
        call_fail(call, 400,
                  "Bad request: Collection already has the maximum number of payload indices "
                  "(%" PRIu64 "). Please delete an existing index before creating a new one.",
                  limit - 1);
    return false;
}

void api_index_create(struct call *call)
{
    struct body body;
    struct definition definition = {0};
    struct op_builder op;
    uint8_t request_id[16];
    if (!call_collection(call))
        return;
    body_begin_call(&body, call);
    if (!read_definition(&body, &definition) || !judge(&body, &definition)) {
        body_refuse(&body, call);
        return;
    }
    if (!check_count(call, definition.name))
        return;
    request_id_draw(request_id);
    op_begin(&op, call->arena, OP_FIELD_DEFINE, request_id);
    if (!put_schema(&op, call->arena, definition.schema)) {
        call_fail_error(call, ERROR_TOO_LARGE);
        return;
    }
    op_put_paths(&op, &definition.name, 1);
    submit(call, &op);
}

void api_index_delete(struct call *call)
{
    struct op_builder op;
    uint8_t request_id[16];
    if (!call_collection(call))
        return;
    request_id_draw(request_id);
    op_begin(&op, call->arena, OP_FIELD_DROP, request_id);
    op_put_paths(&op, &call->request->segments[3], 1);
    submit(call, &op);
}

/* ---- info ---- */

enum error text_payload_schema(struct text *out, const struct view *view, struct arena *arena)
{
    struct field_list list;
    enum error error = view_fields(view, arena, &list);
    text_puts(out, "{");
    for (size_t i = 0; error == OK && i < list.count; i++) {
        const struct field *field = &list.items[i];
        uint64_t points;
        error = field_point_count(view, field, &points);
        text_puts(out, i > 0 ? "," : "");
        text_json_string(out, field->record.name);
        text_printf(out, ":{\"data_type\":\"%s\",", field_kind_name(field->kind));
        if (value_kind(field->record.schema) == VALUE_OBJECT) {
            text_puts(out, "\"params\":");
            text_value(out, field->record.schema);
            text_puts(out, ",");
        }
        text_printf(out, "\"points\":%" PRIu64 "}", error == OK ? points : 0);
    }
    text_puts(out, "}");
    return error;
}
