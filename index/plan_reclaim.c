/* Planning what is given back of dead slots: a sweep over the chunks that have any. */
#include <assert.h>
#include <stdlib.h>

#include "index/plan_private.h"
#include "storage/chunks.h"
#include "storage/lists.h"

#define SWEEP_SHARE 16u         /* a sweep begins once a sixteenth of the slots in use died since */
#define SWEEP_LEAST 32u         /* and at least this many */
#define CHUNKS_A_CALL 64u       /* looked at */
#define RUNS_A_PLAN 256u        /* removed: each frees up to 64 pages */
#define MOVE_SHARE 2u           /* points leave a run or chunk of which half is dead */
#define THOROUGH_SHARE 8u       /* or an eighth, before a compaction */
#define TAIL_BYTES_LEAST 65536u /* a smaller last run is worth the trouble only then, too */
#define POINT_BYTES 256u /* what a moved point writes besides its vectors and payload, about */

struct sweep {
    struct collection *collection;
    struct view view;
    struct plan *plan;
    struct reclaim *reclaim;
    bool thorough;
    bool full; /* the plan takes no more */
    uint64_t bytes_max;
};

void reclaim_free(struct reclaim *reclaim)
{
    if (reclaim != NULL) {
        free(reclaim->runs);
        free(reclaim->slots);
        free(reclaim->chunks);
        free(reclaim);
    }
}

static void add_number(uint64_t **numbers, size_t *count, size_t *capacity, uint64_t number)
{
    if (*count == *capacity) {
        *capacity = *capacity == 0 ? 64 : 2 * *capacity;
        *numbers = grow(*numbers, size_product(*capacity, sizeof **numbers));
    }
    (*numbers)[(*count)++] = number;
}

static void add_run(struct sweep *sweep, uint16_t vector, uint64_t first_slot)
{
    struct reclaim *reclaim = sweep->reclaim;
    for (size_t i = 0; i < reclaim->run_count; i++) {
        if (reclaim->runs[i].vector == vector && reclaim->runs[i].first_slot == first_slot) {
            return; /* it reaches over two chunks */
        }
    }
    if (reclaim->run_count == reclaim->run_capacity) {
        reclaim->run_capacity = reclaim->run_capacity == 0 ? 64 : 2 * reclaim->run_capacity;
        reclaim->runs =
            grow(reclaim->runs, size_product(reclaim->run_capacity, sizeof *reclaim->runs));
    }
    reclaim->runs[reclaim->run_count++] = (struct reclaim_run){first_slot, vector};
    sweep->full |= reclaim->run_count >= RUNS_A_PLAN;
}

/* ---- points that get new slots ---- */

/* What moving a slot's point writes, about; 0 when it cannot be read, and so stays. */
static size_t move_bytes(const struct sweep *sweep, uint64_t slot)
{
    const struct collection_settings *settings = &sweep->collection->settings;
    struct point_row row;
    if (view_point(&sweep->view, slot, &row) != OK) {
        return 0;
    }
    size_t bytes = POINT_BYTES + row.payload.bytes;
    for (uint32_t i = vector_set_next(&row.vectors, 0); i < settings->vector_count;
         i = vector_set_next(&row.vectors, i + 1)) {
        struct vector_row vector;
        struct stored_vector stored;
        if (settings->vectors[i].kind == VECTOR_DENSE) {
            if (view_vector(&sweep->view, (uint16_t)i, slot, &vector) != OK ||
                vector_row_check(&sweep->view, (uint16_t)i, &vector) != OK) {
                return 0;
            }
            bytes += settings->vectors[i].dim * sizeof(float);
        } else if (settings->vectors[i].kind != VECTOR_NONE) {
            if (view_stored(&sweep->view, (uint16_t)i, slot, &stored) != OK) {
                return 0;
            }
            bytes += stored_data_bytes(&stored);
        }
    }
    return bytes;
}

static void add_live(struct sweep *sweep, uint64_t first_slot, uint64_t end_slot)
{
    struct reclaim *reclaim = sweep->reclaim;
    for (uint64_t slot = first_slot; slot < end_slot && !sweep->full; slot++) {
        if (view_is_dead(&sweep->view, slot)) {
            continue;
        }
        const size_t bytes = move_bytes(sweep, slot);
        if (bytes > 0) {
            add_number(&reclaim->slots, &reclaim->slot_count, &reclaim->slot_capacity, slot);
            sweep->plan->bytes += bytes;
            sweep->full |= sweep->plan->bytes >= sweep->bytes_max;
        }
    }
}

static int compare_slots(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A point may have been added for its run of each vector and for its chunk. */
static void unique_slots(struct reclaim *reclaim)
{
    size_t kept = 0;
    if (reclaim->slot_count > 1) {
        qsort(reclaim->slots, reclaim->slot_count, sizeof *reclaim->slots, compare_slots);
    }
    for (size_t i = 0; i < reclaim->slot_count; i++) {
        if (kept == 0 || reclaim->slots[i] != reclaim->slots[kept - 1]) {
            reclaim->slots[kept++] = reclaim->slots[i];
        }
    }
    reclaim->slot_count = kept;
}

/* ---- runs and chunks ---- */

static uint64_t run_dead(const struct sweep *sweep, const struct stored_run *run)
{
    uint64_t dead = 0;
    for (size_t i = 0; i < run->count; i++) {
        dead += view_is_dead(&sweep->view, run->first_slot + i);
    }
    return dead;
}

static bool mostly_dead(const struct sweep *sweep, uint64_t dead, uint64_t count)
{
    return dead > 0 && dead * (sweep->thorough ? THOROUGH_SHARE : MOVE_SHARE) >= count;
}

/* The runs of one vector that reach into a chunk. Returns how many that begin in it stay. */
static uint64_t look_at_runs(struct sweep *sweep, uint16_t vector, const struct slot_chunk *chunk)
{
    const uint64_t count = view_run_count(&sweep->view, vector);
    uint64_t staying = 0;
    for (uint64_t i = view_run_from(&sweep->view, vector, chunk->first_slot); i < count; i++) {
        struct stored_run run;
        const enum error error = view_run(&sweep->view, vector, i, &run);
        if (run.first_slot >= chunk->end_slot) {
            break;
        }
        if (error == ERROR_NOT_FOUND || (error == OK && run.first_slot < chunk->first_slot &&
                                         run.first_slot + run.count <= chunk->first_slot)) {
            continue;
        }
        const uint64_t dead = error == OK ? run_dead(sweep, &run) : 0;
        if (error == OK && dead == run.count && !run.last && !sweep->full) {
            add_run(sweep, vector, run.first_slot);
            continue;
        }
        staying += run.first_slot >= chunk->first_slot;
        if (error == OK && mostly_dead(sweep, dead, run.count) &&
            (sweep->thorough || !run.last || run.bytes >= TAIL_BYTES_LEAST)) {
            add_live(sweep, run.first_slot, run.first_slot + run.count);
        }
    }
    return staying;
}

static void look_at_chunk(struct sweep *sweep, uint64_t number)
{
    const struct collection_settings *settings = &sweep->collection->settings;
    struct reclaim *reclaim = sweep->reclaim;
    struct slot_chunk chunk;
    if (view_chunk(&sweep->view, number, &chunk) != OK || chunk.all_dead || chunk.dead_count == 0) {
        return; /* damaged bits are made anew by the next delete */
    }
    const uint64_t slots = chunk.end_slot - chunk.first_slot;
    uint64_t staying = 0;
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        if (settings->vectors[i].kind == VECTOR_DENSE) {
            staying += look_at_runs(sweep, (uint16_t)i, &chunk);
        }
    }
    if (chunk.full && chunk.dead_count < slots && mostly_dead(sweep, chunk.dead_count, slots)) {
        add_live(sweep, chunk.first_slot, chunk.end_slot);
    }
    if (chunk.full && chunk.dead_count == slots && staying == 0 && !sweep->full) {
        add_number(&reclaim->chunks, &reclaim->chunk_count, &reclaim->chunk_capacity, number);
    }
}

/* ---- the sweep ---- */

static uint64_t dead_slots(const struct sweep *sweep)
{
    const struct counters *counters = view_counters(&sweep->view);
    const uint64_t given = counters->next_slot - sweep->collection->settings.first_slot;
    const uint64_t rest = counters->point_count + view_all_dead_slots(&sweep->view);
    return given > rest ? given - rest : 0;
}

/* Is one under way, or due? */
static bool sweep_is_due(struct sweep *sweep)
{
    struct reclaim_sweep *state = &sweep->collection->sweep;
    const uint64_t dead = dead_slots(sweep);
    const uint64_t share = (view_counters(&sweep->view)->point_count + dead) / SWEEP_SHARE;
    const uint64_t least = sweep->thorough ? 1 : share < SWEEP_LEAST ? SWEEP_LEAST : share;
    if (dead < state->swept_dead) {
        state->swept_dead = dead;
    }
    if (!state->sweeping && dead - state->swept_dead >= least) {
        state->sweeping = true;
        state->chunk = sweep->collection->settings.first_slot >>
                       environment_chunk_bits(sweep->collection->environment);
    }
    return state->sweeping;
}

static bool plan_is_empty(const struct reclaim *reclaim)
{
    return reclaim->run_count == 0 && reclaim->slot_count == 0 && reclaim->chunk_count == 0;
}

/* Look on until the plan has something, or the call has done enough. */
static enum plan_state sweep_on(struct sweep *sweep)
{
    struct reclaim_sweep *state = &sweep->collection->sweep;
    const uint64_t end = view_counters(&sweep->view)->next_slot;
    const uint32_t bits = environment_chunk_bits(sweep->collection->environment);
    for (unsigned n = 0; n < CHUNKS_A_CALL; n++) {
        if (state->chunk << bits >= end) {
            state->sweeping = false;
            state->swept_dead = dead_slots(sweep);
            return plan_is_empty(sweep->reclaim) ? PLAN_NOTHING : PLAN_READY;
        }
        look_at_chunk(sweep, state->chunk);
        if (sweep->full || sweep->reclaim->slot_count > 0) {
            return PLAN_READY; /* and look at this one again afterwards */
        }
        state->chunk++;
    }
    return plan_is_empty(sweep->reclaim) ? PLAN_AGAIN : PLAN_READY;
}

/* ---- removed vectors ---- */

/* Is there one that something is left of? It is the plan then. */
static enum error look_at_removed(struct sweep *sweep)
{
    struct collection *collection = sweep->collection;
    enum error error = OK;
    for (uint32_t i = 0; i < collection->settings.vector_count && error == OK; i++) {
        const uint64_t bit = UINT64_C(1) << i % 64;
        bool left = false;
        if (collection->settings.vectors[i].kind != VECTOR_NONE ||
            (collection->clean[i / 64] & bit) != 0) {
            continue;
        }
        error = view_vector_left(&sweep->view, (uint16_t)i, &left);
        if (error == OK && left) {
            sweep->reclaim->removes_vector = true;
            sweep->reclaim->vector = (uint16_t)i;
            return OK;
        }
        collection->clean[i / 64] |= error == OK ? bit : 0;
    }
    return error;
}

enum error collection_plan_reclaim(struct collection *collection, uint32_t reader, bool thorough,
                                   enum plan_state *state, struct plan **plan)
{
    *plan = NULL;
    *state = PLAN_NOTHING;
    struct sweep sweep = {
        .collection = collection,
        .thorough = thorough,
        .bytes_max = database_options(collection->database)->plan_bytes / 2,
    };
    enum error error = view_open(collection->environment, reader, &sweep.view);
    if (error != OK) {
        return error;
    }
    if (thorough && !collection->sweep.sweeping) {
        collection->sweep.swept_dead = 0;
    }
    sweep.plan = allocate_zeroed(1, sizeof *sweep.plan);
    sweep.plan->kind = PLAN_RECLAIM;
    sweep.plan->reclaim = sweep.reclaim = allocate_zeroed(1, sizeof *sweep.reclaim);
    error = look_at_removed(&sweep);
    if (error == OK && sweep.reclaim->removes_vector) {
        *state = PLAN_READY;
    } else if (error == OK && sweep_is_due(&sweep)) {
        *state = sweep_on(&sweep);
        unique_slots(sweep.reclaim);
    }
    view_close(&sweep.view);
    if (*state == PLAN_READY) {
        *plan = sweep.plan;
    } else {
        plan_free(sweep.plan);
    }
    return error;
}
