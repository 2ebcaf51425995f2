/* The values of a plan: partitions written anew from lanes of partitions and generations. */
#include <assert.h>
#include <math.h>

#include "index/plan_private.h"

/* ---- plans ---- */

void plan_new(struct planning *planning, enum plan_kind kind)
{
    struct plan *plan = allocate_zeroed(1, sizeof *plan);
    plan->kind = kind;
    plan->vector = planning->vector->number;
    plan->stamp = planning->counters->partition_stamp;
    planning->plan = plan;
    planning->next_free = 0;
}

enum plan_kind plan_kind_of(const struct plan *plan)
{
    return plan->kind;
}

size_t plan_bytes(const struct plan *plan)
{
    return plan->bytes;
}

void plan_free(struct plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->partitions[i].centre);
        free(plan->partitions[i].blocks);
        free(plan->partitions[i].slots);
    }
    free(plan->partitions);
    free(plan->moved);
    rewrite_free(plan->rewrite);
    reclaim_free(plan->reclaim);
    free(plan);
}

static struct planned *plan_add(struct planning *planning, uint32_t index)
{
    struct plan *plan = planning->plan;
    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity == 0 ? 16 : 2 * plan->capacity;
        plan->partitions =
            grow(plan->partitions, size_product(plan->capacity, sizeof *plan->partitions));
    }
    struct planned *planned = &plan->partitions[plan->count++];
    *planned = (struct planned){.index = index};
    return planned;
}

/* An index without a partition, now and in the plan. */
static uint32_t free_index(struct planning *planning)
{
    const struct centre_table *table = planning->table;
    for (;; planning->next_free++) {
        const uint32_t index = planning->next_free;
        bool used = index < table->count && table->entries[index].codes > 0;
        for (size_t i = 0; i < planning->plan->count && !used; i++) {
            used = planning->plan->partitions[i].index == index;
        }
        if (!used) {
            planning->next_free++;
            return index;
        }
    }
}

/* ---- reading ---- */

const uint8_t *plan_vector(const struct planning *planning, uint64_t slot, const float *instead)
{
    struct vector_row row;
    if (view_vector(&planning->view, planning->vector->number, slot, &row) == OK &&
        vector_row_check(&planning->view, planning->vector->number, &row) == OK) {
        return row.vector;
    }
    return (const uint8_t *)instead;
}

size_t plan_take_lanes(struct planning *planning, const struct partition *partition, uint32_t from,
                       struct plan_lane *lanes)
{
    size_t count = 0;
    for (size_t lane = 0; lane < partition->code_count; lane++) {
        const uint64_t slot = load64(partition->slots + lane * 8);
        if (view_is_dead(&planning->view, slot)) {
            planning->plan->dead_out++;
        } else {
            lanes[count++] = (struct plan_lane){slot, from, (uint32_t)lane, from};
        }
    }
    return count;
}

const float *plan_copy_centre(struct planning *planning, size_t i, const uint8_t *centre)
{
    assert(i < GROUP_MAX);
    const size_t floats = ((size_t)planning->dim + 15) / 16 * 16;
    float *all =
        scratch_need(&planning->scratch->centres, size_product(GROUP_MAX * floats, sizeof *all));
    return memcpy(all + i * floats, centre, planning->dim * sizeof *all);
}

bool plan_member(struct planning *planning, uint32_t index, size_t i, struct member *member)
{
    *member = (struct member){.index = index};
    if (view_partition(&planning->view, planning->vector->number, index, &member->partition) !=
        OK) {
        return false;
    }
    member->exists = true;
    member->centre = plan_copy_centre(planning, i, member->partition.centre);
    return true;
}

/* ---- writing ---- */

/* Room for `capacity` codes around a centre. */
static void planned_begin(struct planning *planning, struct planned *planned, const float *centre,
                          size_t capacity)
{
    const size_t blocks = (capacity + CODEC_BLOCK_LANES - 1) / CODEC_BLOCK_LANES;
    const size_t dim_bytes = planning->dim * sizeof(float);
    planned->capacity = blocks * CODEC_BLOCK_LANES;
    planned->centre = allocate_aligned((dim_bytes + 63) / 64 * 64);
    memcpy(planned->centre, centre, dim_bytes);
    planned->blocks = allocate_zeroed(blocks, codec_block_bytes(planning->codec));
    planned->slots = allocate_zeroed(planned->capacity, sizeof *planned->slots);
    float *rotated = scratch_need(&planning->scratch->rotated_centre, dim_bytes);
    void *work = scratch_need(&planning->scratch->encode.work, codec_work_bytes(planning->codec));
    codec_rotate(planning->codec, planned->centre, rotated, work);
    planned->rotated = rotated;
}

static void planned_put(struct planning *planning, struct planned *planned, uint64_t slot,
                        const uint8_t *code, struct code_factors factors)
{
    const size_t lane = planned->code_count++;
    assert(lane < planned->capacity);
    codec_block_put(planning->codec,
                    planned->blocks + lane / CODEC_BLOCK_LANES * codec_block_bytes(planning->codec),
                    (unsigned)(lane % CODEC_BLOCK_LANES), code, factors);
    planned->slots[lane] = slot;
}

static void planned_encode(struct planning *planning, struct planned *planned, uint64_t slot,
                           const uint8_t *vector)
{
    uint8_t *code =
        scratch_need(&planning->scratch->code,
                     codec_code_bytes(planning->codec, codec_first_bits(planning->codec)));
    struct code_factors factors;
    const float *rotated = encode_rotate(planning->vector, vector, &planning->scratch->encode);
    encode_rotated(planning->vector, codec_first_bits(planning->codec), rotated, planned->rotated,
                   code, &factors, &planning->scratch->encode);
    planned->square_sum += (double)partition_distance(planning->codec, planned->rotated, rotated);
    planned_put(planning, planned, slot, code, factors);
}

static void planned_keep(struct planning *planning, struct planned *planned, uint64_t slot,
                         const struct partition *from, size_t lane)
{
    uint8_t *code =
        scratch_need(&planning->scratch->code,
                     codec_code_bytes(planning->codec, codec_first_bits(planning->codec)));
    struct code_factors factors;
    codec_block_get(planning->codec,
                    from->blocks + lane / CODEC_BLOCK_LANES * codec_block_bytes(planning->codec),
                    (unsigned)(lane % CODEC_BLOCK_LANES), code, &factors);
    planned->square_sum += (double)from->radius * (double)from->radius; /* about */
    planned_put(planning, planned, slot, code, factors);
}

static void planned_end(struct planning *planning, struct planned *planned)
{
    planned->rotated = NULL;
    planning->plan->bytes +=
        partition_value_bytes(planning->view.environment, planning->vector->number,
                              (planned->code_count + CODEC_BLOCK_LANES - 1) / CODEC_BLOCK_LANES);
}

/* The points picked[count] around one new centre, their mean. */
static void build_new(struct planning *planning, uint32_t index, const struct rows *rows,
                      const struct plan_lane *lanes, const uint32_t *picked, size_t count)
{
    float *mean = scratch_need(&planning->scratch->centre, planning->dim * sizeof(float));
    partition_mean(rows, picked, count, mean);
    for (uint32_t j = 0; j < planning->dim; j++) {
        if (!isfinite(mean[j])) { /* a sum left float: any of the points will do */
            memcpy(mean, rows_at(rows, picked[0]), planning->dim * sizeof *mean);
            break;
        }
    }
    struct planned *planned = plan_add(planning, index);
    planned->has_new_centre = true;
    /* Those that come of Lloyd steps are not gone through again. */
    planned->flags = planning->plan->kind == PLAN_POLISH ? PARTITION_POLISHED : 0;
    planned_begin(planning, planned, mean, count);
    for (size_t i = 0; i < count; i++) {
        planned_encode(planning, planned, lanes[picked[i]].slot,
                       (const uint8_t *)rows_at(rows, picked[i]));
    }
    planned_end(planning, planned);
}

/* Too many for one partition: divided, the first part under the old index. */
static void build_divided(struct planning *planning, const struct member *member,
                          const struct plan_lane *lanes, size_t count)
{
    struct plan_scratch *scratch = planning->scratch;
    const size_t dim = planning->dim;
    float *data = scratch_need(&scratch->rows, size_product(count * dim, sizeof *data));
    uint32_t *picked = scratch_need(&scratch->members, size_product(count, sizeof *picked));
    for (size_t i = 0; i < count; i++) {
        memcpy(data + i * dim, plan_vector(planning, lanes[i].slot, member->centre),
               dim * sizeof *data);
        picked[i] = (uint32_t)i;
    }
    const struct rows rows = {planning->codec, data, planning->dim};
    uint32_t *ends =
        scratch_need(&scratch->ends, partition_groups_max(count, &planning->sizes) * sizeof *ends);
    const size_t groups =
        partition_divide(&rows, picked, count, &planning->sizes, ends, &scratch->divide);
    size_t begin = 0;
    for (size_t i = 0; i < groups; i++) {
        const uint32_t index =
            i == 0 && member->index != UINT32_MAX ? member->index : free_index(planning);
        build_new(planning, index, &rows, lanes, picked + begin, ends[i] - begin);
        begin = ends[i];
    }
}

static void build_one(struct planning *planning, const struct member *members, size_t which,
                      const struct plan_lane *lanes, size_t count, uint16_t flags)
{
    const struct member *member = &members[which];
    struct planned *planned = plan_add(planning, member->index);
    planned->flags = flags;
    planned->has_new_centre = member->has_new_centre || !member->exists;
    planned_begin(planning, planned, member->centre, count);
    for (size_t i = 0; i < count; i++) {
        const struct plan_lane *lane = &lanes[i];
        if (lane->from == which && !planned->has_new_centre) {
            planned_keep(planning, planned, lane->slot, &member->partition, lane->lane);
        } else {
            planned_encode(planning, planned, lane->slot,
                           plan_vector(planning, lane->slot, member->centre));
        }
    }
    planned_end(planning, planned);
}

void plan_rebuild(struct planning *planning, const struct member *members, size_t member_count,
                  struct plan_lane *lanes, size_t lane_count, const uint16_t *flags)
{
    struct plan_lane *picked =
        scratch_need(&planning->scratch->picked, size_product(lane_count + 1, sizeof *picked));
    for (size_t which = 0; which < member_count; which++) {
        size_t count = 0;
        for (size_t i = 0; i < lane_count; i++) {
            if (lanes[i].to == which) {
                picked[count++] = lanes[i];
            }
        }
        if (count == 0) {
            if (members[which].exists) {
                plan_add(planning, members[which].index)->remove = true;
            }
        } else if (count > planning->sizes.most) {
            build_divided(planning, &members[which], picked, count);
        } else {
            build_one(planning, members, which, picked, count, flags[which]);
        }
    }
}
