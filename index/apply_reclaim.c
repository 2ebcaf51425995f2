/* Giving back what dead slots have stored, in one transaction: points that live among them are put
 * into new slots, as an update would put them, then the runs and chunks without any go. */
#include "index/collection_apply.h"
#include "index/plan_private.h"
#include "storage/chunks.h"

#define REMOVED_VALUES_A_STEP 1024u

static enum error move_points(struct apply *apply, const struct reclaim *reclaim)
{
    enum error error = OK;
    write_close_tails(apply->write);
    for (size_t i = 0; i < reclaim->slot_count && error == OK; i++) {
        error = apply_point_move(apply, reclaim->slots[i]);
        if (error == ERROR_NOT_FOUND) {
            error = OK; /* deleted since the plan was made */
        }
        if (error == OK) {
            error = field_changes_trim(&apply->fields, apply->write);
        }
        failpoint("index-reclaim-point");
    }
    return error;
}

static enum error reclaim_in(struct apply *apply, void *context)
{
    const struct reclaim *reclaim = context;
    if (reclaim->removes_vector) {
        const enum error removed =
            write_vector_remove(apply->write, reclaim->vector, REMOVED_VALUES_A_STEP);
        failpoint("index-reclaim-vector");
        return removed;
    }
    enum error error = reclaim->slot_count > 0 ? move_points(apply, reclaim) : OK;
    for (size_t i = 0; i < reclaim->run_count && error == OK; i++) {
        error =
            write_run_remove(apply->write, reclaim->runs[i].vector, reclaim->runs[i].first_slot);
        failpoint("index-reclaim-run");
    }
    for (size_t i = 0; i < reclaim->chunk_count && error == OK; i++) {
        error = write_chunk_all_dead(apply->write, reclaim->chunks[i]);
        failpoint("index-reclaim-chunk");
    }
    return error;
}

enum error reclaim_apply(struct collection *collection, const struct reclaim *reclaim)
{
    struct reclaim copy = *reclaim;
    return apply_transaction(collection, reclaim_in, &copy);
}
