/* Which step is next; settling, purging, merging and polishing of partitions. */
#include "index/plan.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "index/plan_private.h"

#define POLISH_GROUP 16u
#define POLISH_ROUNDS 2u
#define POLISH_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define DEAD_SHARE 5u        /* a partition with a fifth of dead codes is written anew */
#define SWEEP_DEAD_SHARE 16u /* look for them once a sixteenth of all codes is dead */
/* An idle collection's open generation is sealed when it holds so many codes, or a quarter of what
 * it may, and one for every fourth partition: moving writes a partition anew for a code or a few.
 */
#define SEAL_CODES 1024u
#define SEAL_PARTITIONS 4u

struct plan_scratch *plan_scratch_new(void)
{
    struct plan_scratch *scratch = allocate_zeroed(1, sizeof *scratch);
    scratch->workspace = search_workspace_new();
    return scratch;
}

void plan_scratch_free(struct plan_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    encode_scratch_release(&scratch->encode);
    partition_scratch_release(&scratch->divide);
    centre_query_release(&scratch->query);
    search_workspace_free(scratch->workspace);
    struct scratch *all[] = {&scratch->rows,    &scratch->members, &scratch->ends,
                             &scratch->lanes,   &scratch->picked,  &scratch->code,
                             &scratch->centres, &scratch->centre,  &scratch->rotated_centre,
                             &scratch->across,  &scratch->owner};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        scratch_release(all[i]);
    }
    free(scratch);
}

/* ---- groups of neighbours ---- */

/* A partition and up to most - 1 of those whose centres are nearest; members[0] is itself. 0 when
 * it cannot be read. */
static size_t neighbourhood(struct planning *planning, uint32_t index, size_t most,
                            struct member *members)
{
    struct centre_query *query = &planning->scratch->query;
    if (!plan_member(planning, index, 0, &members[0])) {
        return 0;
    }
    size_t count = 1;
    centre_query_run_alone(query, planning->codec, members[0].centre, METRIC_EUCLID,
                           planning->table, most);
    for (size_t i = 0; i < query->count && count < most; i++) {
        const uint32_t other = centre_query_at(query, i);
        count += other != index && plan_member(planning, other, count, &members[count]);
    }
    return count;
}

static size_t centre_floats(const struct planning *planning)
{
    return ((size_t)planning->dim + 15) / 16 * 16;
}

static struct plan_lane *group_lanes(struct planning *planning, const struct member *members,
                                     size_t member_count)
{
    size_t codes = 0;
    for (size_t i = 0; i < member_count; i++) {
        codes += members[i].partition.code_count;
    }
    return scratch_need(&planning->scratch->lanes,
                        size_product(codes + 1, sizeof(struct plan_lane)));
}

/* ---- settling ---- */

/* Of the group's centres the nearest to a vector. */
static uint32_t nearest_member(const struct planning *planning, const struct member *members,
                               size_t member_count, size_t first, const uint8_t *vector)
{
    float *own = scratch_need(&planning->scratch->centre, planning->dim * sizeof *own);
    memcpy(own, vector, planning->dim * sizeof *own);
    uint32_t nearest = (uint32_t)first;
    float least = INFINITY;
    for (size_t i = first; i < member_count; i++) {
        const float distance = partition_distance(planning->codec, own, members[i].centre);
        if (distance < least) {
            least = distance;
            nearest = (uint32_t)i;
        }
    }
    return nearest;
}

/* Is a vector nearer to members[0] than to its own partition? By one product with the difference of
 * the centres: |x - a|^2 < |x - b|^2 when 2 <x, b - a> < |b|^2 - |a|^2. */
struct nearer {
    float *across;
    float limit;
};

static struct nearer nearer_of(struct planning *planning, const float *a, const float *b)
{
    float *across = scratch_need(&planning->scratch->across, planning->dim * sizeof *across);
    for (uint32_t j = 0; j < planning->dim; j++) {
        across[j] = b[j] - a[j];
    }
    const float limit = 0.5f * (codec_key(planning->codec, METRIC_DOT, b, b) -
                                codec_key(planning->codec, METRIC_DOT, a, a));
    return (struct nearer){across, limit};
}

static void settle(struct planning *planning, uint32_t index)
{
    struct member members[GROUP_MAX];
    plan_new(planning, PLAN_SETTLE);
    const size_t member_count = neighbourhood(planning, index, GROUP_MAX, members);
    if (member_count == 0) {
        return;
    }
    struct plan_lane *lanes = group_lanes(planning, members, member_count);
    bool changed[GROUP_MAX] = {true};
    size_t count = plan_take_lanes(planning, &members[0].partition, 0, lanes);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *vector = plan_vector(planning, lanes[i].slot, members[0].centre);
        lanes[i].to = nearest_member(planning, members, member_count, 0, vector);
        changed[lanes[i].to] = true;
    }
    const uint64_t dead_out = planning->plan->dead_out;
    for (size_t m = 1; m < member_count; m++) {
        const struct nearer nearer = nearer_of(planning, members[0].centre, members[m].centre);
        const size_t begin = count;
        count += plan_take_lanes(planning, &members[m].partition, (uint32_t)m, lanes + count);
        for (size_t i = begin; i < count; i++) {
            struct vector_row row;
            if (view_vector(&planning->view, planning->vector->number, lanes[i].slot, &row) == OK) {
                float *own = scratch_need(&planning->scratch->centre, planning->dim * sizeof *own);
                memcpy(own, row.vector, planning->dim * sizeof *own);
                if (codec_key(planning->codec, METRIC_DOT, nearer.across, own) < nearer.limit) {
                    lanes[i].to = 0;
                    changed[m] = true;
                }
            }
        }
    }
    /* Only what changes is written. */
    planning->plan->dead_out = dead_out;
    struct member touched[GROUP_MAX];
    uint16_t flags[GROUP_MAX];
    uint32_t renumbered[GROUP_MAX];
    size_t touched_count = 0;
    for (size_t m = 0; m < member_count; m++) {
        renumbered[m] = UINT32_MAX;
        if (changed[m]) {
            renumbered[m] = (uint32_t)touched_count;
            touched[touched_count] = members[m];
            flags[touched_count++] = members[m].partition.flags | (m == 0 ? PARTITION_SETTLED : 0);
        }
    }
    size_t kept = 0;
    uint64_t live[GROUP_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        live[lanes[i].from]++;
        if (renumbered[lanes[i].to] != UINT32_MAX) {
            const struct plan_lane lane = lanes[i];
            lanes[kept++] = (struct plan_lane){lane.slot, renumbered[lane.from], lane.lane,
                                               renumbered[lane.to]};
        }
    }
    for (size_t m = 1; m < member_count; m++) {
        planning->plan->dead_out += changed[m] ? members[m].partition.code_count - live[m] : 0;
    }
    plan_rebuild(planning, touched, touched_count, lanes, kept, flags);
}

/* ---- purging and merging ---- */

static void purge(struct planning *planning, uint32_t index)
{
    struct member member;
    plan_new(planning, PLAN_PURGE);
    if (!plan_member(planning, index, 0, &member)) {
        return;
    }
    struct plan_lane *lanes = group_lanes(planning, &member, 1);
    const size_t count = plan_take_lanes(planning, &member.partition, 0, lanes);
    const uint16_t flags = member.partition.flags;
    plan_rebuild(planning, &member, 1, lanes, count, &flags);
}

/* All of a small partition's points to its neighbours. */
static void merge(struct planning *planning, uint32_t index)
{
    struct member members[GROUP_MAX];
    plan_new(planning, PLAN_MERGE);
    const size_t member_count = neighbourhood(planning, index, GROUP_MAX, members);
    if (member_count < 2) {
        return;
    }
    struct plan_lane *lanes = group_lanes(planning, members, member_count);
    size_t count = plan_take_lanes(planning, &members[0].partition, 0, lanes);
    bool taken[GROUP_MAX] = {true};
    for (size_t i = 0; i < count; i++) {
        const uint8_t *vector = plan_vector(planning, lanes[i].slot, members[0].centre);
        lanes[i].to = nearest_member(planning, members, member_count, 1, vector);
        taken[lanes[i].to] = true;
    }
    uint16_t flags[GROUP_MAX];
    for (size_t m = 0; m < member_count; m++) {
        flags[m] = members[m].partition.flags;
        if (m > 0 && taken[m]) {
            count += plan_take_lanes(planning, &members[m].partition, (uint32_t)m, lanes + count);
        } else if (m > 0) {
            members[m].exists = false; /* gets nothing and is not removed */
        }
    }
    plan_rebuild(planning, members, member_count, lanes, count, flags);
}

static size_t live_codes(const struct planning *planning, const struct partition *partition)
{
    size_t live = 0;
    for (size_t lane = 0; lane < partition->code_count; lane++) {
        live += !view_is_dead(&planning->view, load64(partition->slots + lane * 8));
    }
    return live;
}

/* Look at the next partitions for dead codes and small ones; a plan, or the sweep's end. */
static bool sweep(struct planning *planning)
{
    struct maintenance *maintenance = planning->maintenance;
    const struct centre_table *table = planning->table;
    for (; maintenance->sweep < table->count; maintenance->sweep++) {
        const uint32_t index = maintenance->sweep;
        struct partition partition;
        if (table->entries[index].codes == 0 ||
            view_partition(&planning->view, planning->vector->number, index, &partition) != OK) {
            continue;
        }
        const size_t live = live_codes(planning, &partition);
        if (live > 0 && live < planning->sizes.least && table->live > 1) {
            merge(planning, index);
        } else if (live == 0 || (partition.code_count - live) * DEAD_SHARE > partition.code_count) {
            purge(planning, index);
        } else {
            continue;
        }
        maintenance->sweep++;
        return true;
    }
    maintenance->sweeping = false;
    maintenance->swept_dead = planning->counters->dead_count;
    return false;
}

static bool sweep_is_due(struct planning *planning)
{
    struct maintenance *maintenance = planning->maintenance;
    const uint64_t dead = planning->counters->dead_count, codes = planning->table->codes;
    if (!maintenance->sweeping && dead > maintenance->swept_dead &&
        (dead - maintenance->swept_dead) * SWEEP_DEAD_SHARE > codes) {
        maintenance->sweeping = true;
        maintenance->sweep = 0;
    }
    if (dead < maintenance->swept_dead) {
        maintenance->swept_dead = dead;
    }
    return maintenance->sweeping;
}

/* ---- polishing ---- */

static size_t gather_rows(struct planning *planning, const struct member *members,
                          const struct plan_lane *lanes, size_t count)
{
    const size_t dim = planning->dim;
    float *data =
        scratch_need(&planning->scratch->rows, size_product(count * dim + 1, sizeof *data));
    uint32_t *owner = scratch_need(&planning->scratch->owner, (count + 1) * sizeof *owner);
    for (size_t i = 0; i < count; i++) {
        memcpy(data + i * dim, plan_vector(planning, lanes[i].slot, members[lanes[i].from].centre),
               dim * sizeof *data);
        owner[i] = lanes[i].from;
    }
    return count;
}

static void polish(struct planning *planning, uint32_t index)
{
    struct plan_scratch *scratch = planning->scratch;
    struct member members[GROUP_MAX];
    const size_t dim = planning->dim;
    const size_t rows_most = POLISH_BYTES_MAX / (dim * sizeof(float));
    size_t most = rows_most / planning->sizes.most;
    most = most < 2 ? 2 : most > POLISH_GROUP ? POLISH_GROUP : most;
    plan_new(planning, PLAN_POLISH);
    const size_t member_count = neighbourhood(planning, index, most, members);
    if (member_count == 0) {
        return;
    }
    struct plan_lane *lanes = group_lanes(planning, members, member_count);
    size_t count = 0;
    for (size_t m = 0; m < member_count; m++) {
        count += plan_take_lanes(planning, &members[m].partition, (uint32_t)m, lanes + count);
    }
    gather_rows(planning, members, lanes, count);
    /* Centres one behind the other, as the step wants them. */
    float *centres =
        allocate_aligned((size_product(member_count * dim, sizeof *centres) + 63) / 64 * 64);
    for (size_t m = 0; m < member_count; m++) {
        memcpy(centres + m * dim, members[m].centre, dim * sizeof *centres);
    }
    const struct rows rows = {planning->codec, scratch->rows.data, planning->dim};
    uint32_t *owner = scratch->owner.data;
    for (unsigned round = 0; round < POLISH_ROUNDS; round++) {
        partition_lloyd(&rows, count, owner, centres, member_count, &scratch->divide);
    }
    uint16_t flags[GROUP_MAX];
    float *copies = scratch->centres.data;
    for (size_t m = 0; m < member_count; m++) {
        memcpy(copies + m * centre_floats(planning), centres + m * dim, dim * sizeof *centres);
        members[m].centre = copies + m * centre_floats(planning);
        members[m].has_new_centre = true;
        flags[m] = PARTITION_SETTLED | PARTITION_POLISHED;
    }
    free(centres);
    for (size_t i = 0; i < count; i++) {
        lanes[i].to = owner[i];
    }
    plan_rebuild(planning, members, member_count, lanes, count, flags);
}

/* The next index from *from on, around, whose flags lack one; false: none. */
static bool next_without(const struct centre_table *table, uint16_t flag, uint32_t *from)
{
    for (uint32_t n = 0; n < table->count; n++) {
        const uint32_t index = (*from + n) % table->count;
        if (table->entries[index].codes > 0 && !(table->entries[index].flags & flag)) {
            *from = index;
            return true;
        }
    }
    return false;
}

/* ---- what is next ---- */

/* The oldest sealed generation; before there are partitions the largest, once there are points
 * enough in all. */
static enum error next_generation(struct planning *planning, bool *found,
                                  struct generation *generation)
{
    const uint64_t count = planning->counters->generation_count;
    uint64_t sealed_codes = 0;
    *found = false;
    for (uint64_t i = 0; i < count; i++) {
        struct generation one;
        const enum error error =
            view_generation(&planning->view, planning->vector->number, i, &one);
        if (error != OK) {
            return error;
        }
        if (!one.sealed) {
            continue;
        }
        sealed_codes += one.code_count;
        if (planning->table->live > 0) {
            *generation = one;
            *found = true;
            return OK;
        }
        if (!*found || one.code_count > generation->code_count) {
            *generation = one;
            *found = true;
        }
    }
    *found = *found && sealed_codes >= planning->start_codes;
    return OK;
}

/* Is the open generation worth moving, now that there is time? */
static enum error seal_is_due(const struct planning *planning, bool *due)
{
    const uint64_t count = planning->counters->generation_count;
    struct generation open;
    *due = false;
    if (count == 0) {
        return OK;
    }
    const enum error error =
        view_generation(&planning->view, planning->vector->number, count - 1, &open);
    if (error == OK) {
        const uint64_t capacity =
            database_options(planning->collection->database)->generation_codes;
        const uint64_t some = capacity / 4 < SEAL_CODES ? capacity / 4 : SEAL_CODES;
        *due = !open.sealed && open.code_count > 0 && open.code_count >= some &&
               open.code_count >= planning->table->live / SEAL_PARTITIONS;
    }
    return error;
}

/* A slice of learning which share gives which recall; a plan once a table is made. */
static enum error learn(struct planning *planning, bool idle, enum plan_state *state)
{
    struct recall_table table;
    bool done, sampled;

    const enum error error = recall_learn(
        planning->collection, planning->vector, &planning->view, idle, planning->scratch->workspace,
        &planning->maintenance->learning, &done, &sampled, &table);

    if (error == OK && done) {
        plan_new(planning, PLAN_LEARN);
        planning->plan->recall = table;
        *state = PLAN_READY;
    } else {
        *state = sampled ? PLAN_MEASURED : PLAN_AGAIN;
    }
    return error;
}

static enum error plan_next(struct planning *planning, bool idle, bool measure,
                            enum plan_state *state)
{
    struct maintenance *maintenance = planning->maintenance;
    struct generation generation;
    bool found, seal = false;
    enum error error = next_generation(planning, &found, &generation);
    if (error == OK && idle) {
        error = seal_is_due(planning, &seal);
    }
    if (error != OK) {
        return error;
    }
    *state = PLAN_READY;
    if (found && planning->table->live == 0) {
        plan_start(planning, &generation);
    } else if (found) {
        *state = plan_move(planning, &generation) ? PLAN_READY : PLAN_AGAIN;
    } else if (planning->table->live == 0) {
        *state = PLAN_NOTHING;
    } else if (maintenance->learning != NULL ||
               recall_is_due(planning->vector, &planning->view, planning->table->codes, false)) {
        return learn(planning, idle && measure, state);
    } else if (sweep_is_due(planning) && sweep(planning)) {
        ;
    } else if (next_without(planning->table, PARTITION_SETTLED, &maintenance->settle)) {
        settle(planning, maintenance->settle);
    } else if (seal) {
        plan_new(planning, PLAN_SEAL);
    } else if (idle && next_without(planning->table, PARTITION_POLISHED, &maintenance->polish)) {
        polish(planning, maintenance->polish);
    } else if (idle && measure &&
               recall_is_due(planning->vector, &planning->view, planning->table->codes, true)) {
        return learn(planning, true, state);
    } else {
        *state = PLAN_NOTHING;
    }
    return OK;
}

enum error collection_plan(struct collection *collection, uint16_t vector, uint32_t reader,
                           bool idle, bool measure, struct plan_scratch *scratch,
                           enum plan_state *state, struct plan **plan)
{
    *plan = NULL;
    *state = PLAN_NOTHING;
    struct collection_vector *own = &collection->vectors[vector];
    if (own->codec == NULL) {
        return OK;
    }
    /* Others are searched in their generations, or exactly, all of it. */
    const bool partitioned = own->settings->kind == VECTOR_DENSE &&
                             own->settings->dim >= CODEC_SCAN_DIM_MIN &&
                             own->settings->metric != METRIC_MANHATTAN;
    if (own->maintenance == NULL) {
        own->maintenance = allocate_zeroed(1, sizeof *own->maintenance);
    }
    const struct database_options *options = database_options(collection->database);
    struct planning planning = {
        .collection = collection,
        .vector = own,
        .codec = own->codec,
        .metric = own->settings->metric,
        .dim = own->settings->dim,
        .scratch = scratch,
        .maintenance = own->maintenance,
        .sizes = partition_sizes_of(own->settings->dim, options->partition_codes),
        .start_codes = options->partition_start_codes,
        .plan_bytes = options->plan_bytes,
    };
    enum error error = view_open(collection->environment, reader, &planning.view);
    if (error != OK) {
        return error;
    }
    planning.counters = view_vector_counters(&planning.view, vector);
    if (!partitioned) {
        bool found;
        error = plan_generations(&planning, idle, &found);
        *state = error == OK && found ? PLAN_READY : PLAN_NOTHING;
        view_close(&planning.view);
        *plan = planning.plan;
        return error;
    }
    error = centre_table_acquire(own, &planning.view, &planning.table);
    if (error == OK) {
        error = plan_next(&planning, idle, measure, state);
        centre_table_release(own, planning.table);
    }
    view_close(&planning.view);
    if (error == OK && *state == PLAN_READY && planning.plan->count == 0 && !planning.plan->moves &&
        planning.plan->kind != PLAN_LEARN && planning.plan->kind != PLAN_SEAL) {
        *state = PLAN_NOTHING; /* what it was about cannot be read */
    }
    if (error == OK && *state == PLAN_READY) {
        *plan = planning.plan;
    } else {
        plan_free(planning.plan);
    }
    return error;
}
