/* POST /collections/{c}/points/batch: several updates in one transaction.
 *
 * The operations are read one after the other into ops and go to the writer as one group: all of
 * them or none. Each is read from its own piece of the body by what reads it as a single call. */
#include "server/update.h"

#include <inttypes.h>

#include "server/handlers.h"
#include "server/point_reader.h"

static const struct {
    const char *name;
    update_reader *read;
} operations[] = {
    {"upsert", update_read_upsert},
    {"delete", update_read_delete},
    {"set_payload", update_read_set_payload},
    {"overwrite_payload", update_read_overwrite_payload},
    {"delete_payload", update_read_delete_payload},
    {"clear_payload", update_read_clear_payload},
    {"update_vectors", update_read_update_vectors},
    {"delete_vectors", update_read_delete_vectors},
};
#define OPERATION_COUNT (sizeof operations / sizeof operations[0])

struct batch {
    struct call *call;
    struct body body;
    struct span *ops;
    size_t count, capacity;
    uint64_t point_count;
    uint64_t ids_left; /* that filters may find */
    struct id_list touched;
    enum error error;
};

static size_t operation_find(struct span key)
{
    size_t i = 0;
    while (i < OPERATION_COUNT && !key_is(key, operations[i].name))
        i++;
    return i;
}

static void add_op(struct batch *batch, struct span op)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? 16 : batch->capacity * 2;
        struct span *ops = arena_allocate(batch->call->arena, size_product(capacity, sizeof *ops));
        if (batch->count > 0)
            memcpy(ops, batch->ops, batch->count * sizeof *ops);
        batch->ops = ops;
        batch->capacity = capacity;
    }
    batch->ops[batch->count++] = op;
}

/* The update whose text comes next. Texts of faults are those of single calls, which programs
 * compare; where it happened stands behind them. */
static bool read_update(struct batch *batch, size_t which)
{
    struct body *body = &batch->body;
    (void)json_peek(&body->json); /* past blanks */
    const char *begin = body->json.next;
    if (!json_skip(&body->json))
        return false;
    struct update update = {
        .call = batch->call,
        .text = span_of(begin, (size_t)(body->json.next - begin)),
        .begin = body->json.begin,
        .touched = &batch->touched,
        .ids_max = batch->ids_left,
    };
    if (operations[which].read(&update)) {
        batch->ids_left -=
            update.point_count < batch->ids_left ? update.point_count : batch->ids_left;
        batch->point_count += update.point_count;
        add_op(batch, update.op);
        return true;
    }
    batch->error = update.error;
    if (update.refusal.kind == REFUSAL_NONE)
        return false;
    return refuse(&body->refusal, body->arena, update.refusal.kind, "%s (operations[%zu].%s)",
                  update.refusal.text, batch->count, operations[which].name);
}

/* {"name": {...}}: the first known name counts, others are ignored as unknown fields are. */
static bool read_operation(struct batch *batch)
{
    struct json *json = &batch->body.json;
    struct span key;
    bool found = false;
    if (json_peek(json) != JSON_OBJECT)
        return json_fail(json, "operations[%zu]: expected an object", batch->count);
    size_t at = batch->count;
    if (!json_enter_object(json))
        return false;
    while (json_key(json, &key)) {
        size_t which = operation_find(key);
        bool mine = which < OPERATION_COUNT && !found;
        if (mine ? !read_update(batch, which) : !json_skip(json))
            return false;
        found |= mine;
    }
    if (json_failed(json))
        return false;
    return found || json_fail(json,
                              "operations[%zu]: data did not match any variant of untagged enum "
                              "UpdateOperation",
                              at);
}

static bool read_operations(struct batch *batch)
{
    struct body *body = &batch->body;
    uint32_t most = batch->call->service->config->strict.update_max_batchsize;
    if (json_peek(&body->json) != JSON_ARRAY)
        return json_fail(&body->json, "operations: expected an array of operations");
    if (!json_enter_array(&body->json))
        return false;
    while (json_element(&body->json)) {
        if (batch->count == most)
            return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                          "more than strict.update_max_batchsize (%" PRIu32
                          ") operations in one request",
                          most);
        if (!read_operation(batch))
            return false;
    }
    return !json_failed(&body->json);
}

static bool read_batch(struct batch *batch)
{
    struct body *body = &batch->body;
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `operations`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine = key_is(key, "operations");
        if (mine ? !field_once(body, &seen, 1, "operations") || !read_operations(batch)
                 : !json_skip(&body->json))
            return false;
    }
    if (!json_failed(&body->json) && seen == 0)
        return json_fail(&body->json, "missing field `operations`");
    return body_end(body);
}

/* Operations have consecutive numbers; the job has the last. */
static void put_results(struct call *call, uint64_t last, uint64_t count)
{
    struct text *out = call_result(call);
    text_puts(out, "[");
    for (uint64_t i = 0; i < count; i++)
        text_printf(out, "%s{\"operation_id\":%" PRIu64 ",\"status\":\"%s\"}", i == 0 ? "" : ",",
                    last - (count - 1 - i), call->wait ? "completed" : "acknowledged");
    text_puts(out, "]");
    call_ok(call);
}

static void batch_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    struct op_header header;
    struct span points;
    if (update_missing(job))
        return;
    enum error error = job->error == OK ? op_open(job->op, &header, &points) : job->error;
    if (error != OK)
        call_fail_error(call, error);
    else
        put_results(call, job->operation, header.point_count);
}

void api_points_batch(struct call *call)
{
    if (!call_collection(call))
        return;
    struct batch *batch = arena_allocate(call->arena, sizeof *batch);
    *batch = (struct batch){.call = call, .ids_left = update_ids_max(call)};
    body_begin_call(&batch->body, call);
    if (!read_batch(batch)) {
        if (batch->error != OK && batch->body.refusal.kind == REFUSAL_NONE)
            call_fail_error(call, batch->error);
        else
            body_refuse(&batch->body, call);
        return;
    }
    if (batch->count == 0) {
        put_results(call, 0, 0);
        return;
    }
    uint8_t request_id[16];
    request_id_draw(request_id);
    update_submit(call, op_group(call->arena, request_id, batch->ops, batch->count),
                  batch->point_count, batch_done);
}
