/* Applying a plan: puts of finished values, and the counters. */
#include <math.h>
#include <stdlib.h>

#include "index/plan_private.h"

#define READER_AGE_MAX_NS UINT64_C(1000000000)

static struct partition stored_form(const struct planned *planned)
{
    const size_t blocks = (planned->code_count + CODEC_BLOCK_LANES - 1) / CODEC_BLOCK_LANES;
    return (struct partition){
        .centre = (const uint8_t *)planned->centre,
        .blocks = planned->blocks,
        .slots = (const uint8_t *)planned->slots,
        .block_count = blocks,
        .code_count = planned->code_count,
        .radius = (float)sqrt(planned->square_sum / (double)planned->code_count),
        .flags = planned->flags,
    };
}

static enum error put_partitions(struct write *write, const struct plan *plan)
{
    enum error error = OK;
    for (size_t i = 0; i < plan->count && error == OK; i++) {
        const struct planned *planned = &plan->partitions[i];
        if (planned->remove) {
            error = write_partition_remove(write, plan->vector, planned->index);
        } else {
            const struct partition partition = stored_form(planned);
            error = write_partition(write, plan->vector, planned->index, &partition);
        }
        failpoint("index-plan-partition");
    }
    return error;
}

static enum error put_generation(struct write *write, const struct plan *plan)
{
    if (!plan->moves) {
        return plan->rewrite != NULL ? rewrite_apply(write, plan) : OK;
    }
    enum error error;
    if (plan->drop) {
        error = write_generation_drop(write, plan->vector, plan->generation);
        if (error == OK) {
            write_vector_counters(write, plan->vector)->generation_count--;
        }
    } else {
        error = write_moved(write, plan->vector, plan->generation, plan->moved, plan->moved_bytes);
    }
    failpoint("index-plan-generation");
    return error;
}

/* The table of the centres as the commit will leave them. */
static void advance_table(const struct collection_vector *vector, const struct centre_table *table,
                          const struct plan *plan)
{
    struct centre_change *changes =
        allocate(size_product(plan->count + 1, sizeof(struct centre_change)));
    for (size_t i = 0; i < plan->count; i++) {
        const struct planned *planned = &plan->partitions[i];
        changes[i] = (struct centre_change){.index = planned->index};
        if (!planned->remove) {
            const struct partition partition = stored_form(planned);
            changes[i].centre = planned->has_new_centre ? partition.centre : NULL;
            changes[i].entry = (struct centre_entry){(uint32_t)partition.code_count,
                                                     partition.radius, partition.flags};
        }
    }
    centre_table_advance(vector, table, changes, plan->count);
    free(changes);
}

static enum error apply_in(struct write *write, const struct collection_vector *vector,
                           const struct view *view, const struct plan *plan)
{
    struct vector_counters *counters = write_vector_counters(write, plan->vector);
    if (plan->kind == PLAN_LEARN) {
        return recall_write(write, plan->vector, &plan->recall);
    }
    if (counters->partition_stamp != plan->stamp) {
        return ERROR_BUSY;
    }
    if (counters->dead_count < plan->dead_out) {
        return ERROR_CORRUPT;
    }
    const struct centre_table *table;
    enum error error = centre_table_acquire(vector, view, &table);
    if (error == OK) {
        error = put_partitions(write, plan);
        if (error == OK) {
            error = put_generation(write, plan);
        }
        if (error == OK) {
            counters->dead_count -= plan->dead_out;
            counters->partition_stamp++;
            advance_table(vector, table, plan);
        }
        centre_table_release(vector, table);
    }
    return error;
}

enum error collection_apply_plan(struct collection *collection, const struct plan *plan)
{
    collection = collection_newest(collection);
    if (collection->compaction != NULL ||
        environment_oldest_reader_ns(collection->environment) > READER_AGE_MAX_NS) {
        return ERROR_BUSY;
    }
    if (plan->kind == PLAN_SEAL) {
        return collection_seal(collection, plan->vector);
    }
    if (plan->reclaim != NULL) {
        return reclaim_apply(collection, plan->reclaim);
    }
    const struct collection_vector *vector = &collection->vectors[plan->vector];
    if (vector->settings->kind == VECTOR_NONE) {
        return ERROR_BUSY; /* removed since the plan was made */
    }
    struct write *write;
    enum error error = write_begin(collection->environment, &write);
    if (error != OK) {
        return error;
    }
    struct view view;
    error = view_open(collection->environment, database_writer_reader(collection->database), &view);
    if (error == OK) {
        error = apply_in(write, vector, &view, plan);
        view_close(&view);
    }
    if (error != OK) {
        write_abort(write);
        return error;
    }
    failpoint("index-plan-applied");
    error = write_commit(write);
    if (error == OK && plan->kind == PLAN_LEARN) {
        recall_adopt(vector, &plan->recall);
    } else if (error != OK && plan->kind != PLAN_LEARN) {
        centre_table_forget(vector, plan->stamp + 1);
    }
    return error;
}

/* Plans of one kind until none is left; vector: of collection_plan, or -1 for what is given back.
 */
static enum error maintain_one(struct collection *collection, int32_t vector, uint32_t reader,
                               bool eager, uint64_t steps_max, struct plan_scratch *scratch,
                               uint64_t *steps)
{
    enum plan_state state = PLAN_AGAIN;
    enum error error = OK;
    while (error == OK && state != PLAN_NOTHING && *steps < steps_max) {
        struct plan *plan;
        error = vector < 0 ? collection_plan_reclaim(collection, reader, eager, &state, &plan)
                           : collection_plan(collection, (uint16_t)vector, reader, eager, eager,
                                             scratch, &state, &plan);
        if (error == OK && state == PLAN_READY) {
            error = collection_apply_plan(collection, plan);
            ++*steps;
        }
        plan_free(plan);
    }
    return error;
}

enum error collection_maintain(struct collection *collection, uint32_t reader, bool idle,
                               uint64_t steps_max, uint64_t *steps)
{
    struct plan_scratch *scratch = plan_scratch_new();
    *steps = 0;
    enum error error = maintain_one(collection, -1, reader, false, steps_max, scratch, steps);
    for (uint32_t v = 0; v < collection->settings.vector_count && error == OK; v++) {
        error = maintain_one(collection, (int32_t)v, reader, idle, steps_max, scratch, steps);
    }
    plan_scratch_free(scratch);
    return error;
}

enum error collection_reclaim_all(struct collection *collection, uint32_t reader, uint64_t *steps)
{
    struct plan_scratch *scratch = plan_scratch_new();
    *steps = 0;
    enum error error = maintain_one(collection, -1, reader, true, UINT64_MAX, scratch, steps);
    for (uint32_t v = 0; v < collection->settings.vector_count && error == OK; v++) {
        error = maintain_one(collection, (int32_t)v, reader, false, UINT64_MAX, scratch, steps);
    }
    plan_scratch_free(scratch);
    return error;
}
