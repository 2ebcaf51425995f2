/* Moving a sealed generation out: every code to the partition whose centre is nearest.
 *
 * The destinations of all its points are found first, a slice a call, and kept between plans; then
 * partitions are written anew one after the other with what comes to them, as many a plan as fill a
 * megabyte. Against the order of arrival that writes a partition once instead of once a point. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "index/plan_private.h"

#define ASSIGN_SLICE 2048u /* points a call finds destinations for */
#define ASSIGN_EXACT 3u    /* centres compared exactly, the best by their int8 rows */
#define ROWS_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define NO_DESTINATION UINT32_MAX

static bool bit_get(const uint8_t *bits, size_t i)
{
    return bits[i / 8] >> i % 8 & 1;
}

static void bit_set(uint8_t *bits, size_t i)
{
    bits[i / 8] |= (uint8_t)(1u << i % 8);
}

static size_t bits_bytes(size_t count)
{
    return (count + 7) / 8;
}

static void assignment_drop(struct maintenance *maintenance)
{
    free(maintenance->destination);
    free(maintenance->order);
    free(maintenance->moved);
    maintenance->destination = maintenance->order = NULL;
    maintenance->moved = NULL;
    maintenance->assigning = false;
}

void maintenance_free(struct maintenance *maintenance)
{
    if (maintenance != NULL) {
        assignment_drop(maintenance);
        learning_free(maintenance->learning);
        free(maintenance);
    }
}

/* ---- lanes of a generation ---- */

/* Slot of a lane; false when its value cannot be read. */
static bool lane_slot(const struct planning *planning, const struct generation *generation,
                      size_t lane, uint64_t *slot)
{
    const size_t lanes =
        environment_blocks_per_value(planning->view.environment, planning->vector->number) *
        CODEC_BLOCK_LANES;
    struct block_value value;
    if (view_blocks(&planning->view, planning->vector->number, generation->number, lane / lanes,
                    &value) != OK ||
        lane % lanes >= value.code_count) {
        return false;
    }
    *slot = load64(value.slots + lane % lanes * 8);
    return true;
}

static uint8_t *copy_moved(const struct generation *generation)
{
    uint8_t *bits = allocate_zeroed(bits_bytes(generation->code_count) + 1, 1);
    if (generation->moved != NULL) {
        memcpy(bits, generation->moved, bits_bytes(generation->code_count));
    }
    return bits;
}

static bool all_moved(const uint8_t *bits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!bit_get(bits, i)) {
            return false;
        }
    }
    return true;
}

/* What the plan says of the generation, once its lanes are taken. */
static void plan_moves(struct planning *planning, const struct generation *generation,
                       const uint8_t *moved)
{
    struct plan *plan = planning->plan;
    const size_t count = (size_t)generation->code_count;
    plan->moves = true;
    plan->generation = generation->number;
    plan->moved_bytes = bits_bytes(count);
    plan->moved = allocate_zeroed(plan->moved_bytes + 1, 1);
    memcpy(plan->moved, moved, plan->moved_bytes);
    plan->drop = all_moved(moved, count);
}

/* ---- the first partitions ---- */

/* Of a generation that is divided in place: all live lanes, or evenly spread ones where their
 * vectors would take too much memory at once. */
static size_t start_lanes(struct planning *planning, const struct generation *generation,
                          uint8_t *moved, struct plan_lane *lanes, size_t most)
{
    const size_t codes = (size_t)generation->code_count;
    const size_t stride = codes / most + (codes % most != 0);
    size_t count = 0;
    for (size_t lane = 0; lane < codes; lane += stride) {
        uint64_t slot;
        if (bit_get(moved, lane) || !lane_slot(planning, generation, lane, &slot)) {
            continue;
        }
        bit_set(moved, lane);
        if (view_is_dead(&planning->view, slot)) {
            planning->plan->dead_out++;
        } else {
            lanes[count++] = (struct plan_lane){slot, FROM_GENERATION, 0, 0};
        }
    }
    return count;
}

void plan_start(struct planning *planning, const struct generation *generation)
{
    struct plan_scratch *scratch = planning->scratch;
    const size_t codes = (size_t)generation->code_count, dim = planning->dim;
    size_t most = ROWS_BYTES_MAX / (dim * sizeof(float));
    most = most < planning->sizes.most ? planning->sizes.most : most;
    plan_new(planning, PLAN_START);
    uint8_t *moved = copy_moved(generation);
    struct plan_lane *lanes = scratch_need(&scratch->lanes, size_product(codes + 1, sizeof *lanes));
    const size_t count = start_lanes(planning, generation, moved, lanes, most);
    float *origin = scratch_need(&scratch->across, dim * sizeof *origin);
    memset(origin, 0, dim * sizeof *origin);
    const struct member member = {.index = 0, .centre = origin};
    /* A sample is divided more finely: each part stands for more points. */
    const struct partition_sizes sizes = planning->sizes;
    if (count < codes / 2) {
        const uint32_t target = (uint32_t)(sizes.target * count / codes);
        planning->sizes = partition_sizes_of(planning->dim, target > 1 ? target : 1);
    }
    const uint16_t flags = 0;
    plan_rebuild(planning, &member, 1, lanes, count, &flags);
    planning->sizes = sizes;
    plan_moves(planning, generation, moved);
    free(moved);
}

/* ---- destinations ---- */

static void assign_begin(struct planning *planning, const struct generation *generation)
{
    struct maintenance *maintenance = planning->maintenance;
    assignment_drop(maintenance);
    const size_t codes = (size_t)generation->code_count;
    maintenance->assigning = true;
    maintenance->generation = generation->number;
    maintenance->stamp = planning->counters->partition_stamp;
    maintenance->codes = codes;
    maintenance->assigned = maintenance->cursor = 0;
    maintenance->destination = allocate(size_product(codes + 1, sizeof(uint32_t)));
    maintenance->moved = copy_moved(generation);
}

/* The partition whose centre is nearest to a vector. */
static uint32_t destination_of(struct planning *planning, const float *vector)
{
    struct centre_query *query = &planning->scratch->query;
    centre_query_run_alone(query, planning->codec, vector, METRIC_EUCLID, planning->table,
                           ASSIGN_EXACT);
    uint32_t best = 0;
    float least = INFINITY;
    const size_t exact = query->count < ASSIGN_EXACT ? query->count : ASSIGN_EXACT;
    for (size_t i = 0; i < exact; i++) {
        const uint32_t index = centre_query_at(query, i);
        struct partition partition;
        best = i == 0 ? index : best;
        if (view_partition(&planning->view, planning->vector->number, index, &partition) != OK) {
            continue;
        }
        float *centre = scratch_need(&planning->scratch->centre, planning->dim * sizeof *centre);
        memcpy(centre, partition.centre, planning->dim * sizeof *centre);
        const float distance = partition_distance(planning->codec, vector, centre);
        if (i == 0 || distance < least) {
            least = distance;
            best = index;
        }
    }
    return best;
}

static void assign_lane(struct planning *planning, const struct generation *generation,
                        const float *origin, size_t lane)
{
    struct maintenance *maintenance = planning->maintenance;
    uint64_t slot;
    maintenance->destination[lane] = NO_DESTINATION;
    if (bit_get(maintenance->moved, lane) || !lane_slot(planning, generation, lane, &slot) ||
        view_is_dead(&planning->view, slot)) {
        return;
    }
    float *vector = scratch_need(&planning->scratch->rows, planning->dim * sizeof *vector);
    memcpy(vector, plan_vector(planning, slot, origin), planning->dim * sizeof *vector);
    maintenance->destination[lane] = destination_of(planning, vector);
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void order_lanes(struct maintenance *maintenance)
{
    const size_t codes = maintenance->codes;
    uint64_t *keys = allocate(size_product(codes + 1, sizeof *keys));
    for (size_t i = 0; i < codes; i++) {
        keys[i] = (uint64_t)maintenance->destination[i] << 32 | i;
    }
    qsort(keys, codes, sizeof *keys, compare_u64);
    maintenance->order = allocate(size_product(codes + 1, sizeof(uint32_t)));
    for (size_t i = 0; i < codes; i++) {
        maintenance->order[i] = (uint32_t)keys[i];
    }
    free(keys);
}

/* true: destinations of all lanes are known. */
static bool assign(struct planning *planning, const struct generation *generation)
{
    struct maintenance *maintenance = planning->maintenance;
    if (!maintenance->assigning || maintenance->generation != generation->number ||
        maintenance->stamp != planning->counters->partition_stamp) {
        assign_begin(planning, generation);
    }
    if (maintenance->order != NULL) {
        return true;
    }
    float *origin = scratch_need(&planning->scratch->across, planning->dim * sizeof *origin);
    memset(origin, 0, planning->dim * sizeof *origin);
    for (size_t n = 0; n < ASSIGN_SLICE && maintenance->assigned < maintenance->codes; n++) {
        assign_lane(planning, generation, origin, maintenance->assigned++);
    }
    if (maintenance->assigned < maintenance->codes) {
        return false;
    }
    order_lanes(maintenance);
    return true;
}

/* ---- moving ---- */

/* Lanes from the cursor on that go to one destination, behind those the partition has; at most
 * `most` of them. */
static size_t take_incoming(struct planning *planning, const struct generation *generation,
                            uint32_t destination, struct plan_lane *lanes, size_t count,
                            size_t most)
{
    struct maintenance *maintenance = planning->maintenance;
    size_t taken = 0;
    while (maintenance->cursor < maintenance->codes && taken < most) {
        const uint32_t lane = maintenance->order[maintenance->cursor];
        uint64_t slot;
        if (maintenance->destination[lane] != destination) {
            break;
        }
        maintenance->cursor++;
        if (bit_get(maintenance->moved, lane) || !lane_slot(planning, generation, lane, &slot)) {
            continue;
        }
        bit_set(maintenance->moved, lane);
        if (view_is_dead(&planning->view, slot)) {
            planning->plan->dead_out++;
        } else {
            lanes[count + taken++] = (struct plan_lane){slot, FROM_GENERATION, 0, 0};
        }
    }
    return count + taken;
}

/* Lanes without a destination are dead, or their value is lost: they go, too. */
static void take_rest(struct planning *planning, const struct generation *generation)
{
    struct maintenance *maintenance = planning->maintenance;
    for (; maintenance->cursor < maintenance->codes; maintenance->cursor++) {
        const uint32_t lane = maintenance->order[maintenance->cursor];
        uint64_t slot;
        if (bit_get(maintenance->moved, lane) || !lane_slot(planning, generation, lane, &slot)) {
            continue; /* a value that is lost keeps its generation from being dropped */
        }
        bit_set(maintenance->moved, lane);
        planning->plan->dead_out++;
    }
}

static void move_to(struct planning *planning, const struct generation *generation,
                    uint32_t destination)
{
    struct plan_scratch *scratch = planning->scratch;
    struct member member;
    size_t room = ROWS_BYTES_MAX / (planning->dim * sizeof(float));
    room = room < planning->sizes.most ? planning->sizes.most : room;
    if (!plan_member(planning, destination, 0, &member)) {
        member = (struct member){.index = UINT32_MAX}; /* damaged meanwhile: new ones beside it */
        float *origin = scratch_need(&scratch->across, planning->dim * sizeof *origin);
        memset(origin, 0, planning->dim * sizeof *origin);
        member.centre = origin;
    }
    const size_t existing = member.exists ? member.partition.code_count : 0;
    const size_t left = planning->maintenance->codes - planning->maintenance->cursor;
    const size_t most = left < room ? left : room;
    struct plan_lane *lanes =
        scratch_need(&scratch->lanes, size_product(existing + most + 1, sizeof *lanes));
    size_t count = member.exists ? plan_take_lanes(planning, &member.partition, 0, lanes) : 0;
    count = take_incoming(planning, generation, destination, lanes, count, most);
    const uint16_t flags = member.exists ? member.partition.flags : 0;
    plan_rebuild(planning, &member, 1, lanes, count, &flags);
}

bool plan_move(struct planning *planning, const struct generation *generation)
{
    if (!assign(planning, generation)) {
        return false;
    }
    struct maintenance *maintenance = planning->maintenance;
    plan_new(planning, PLAN_MOVE);
    while (maintenance->cursor < maintenance->codes &&
           planning->plan->bytes < planning->plan_bytes) {
        const uint32_t lane = maintenance->order[maintenance->cursor];
        const uint32_t destination = maintenance->destination[lane];
        if (destination == NO_DESTINATION) {
            take_rest(planning, generation);
        } else {
            move_to(planning, generation, destination);
        }
    }
    plan_moves(planning, generation, maintenance->moved);
    maintenance->stamp++;
    if (maintenance->cursor == maintenance->codes) {
        assignment_drop(maintenance);
    }
    return true;
}
