/* Sealed generations of vectors that are not partitioned: dropped when all their codes are dead,
 * written anew in their place when the most are. Codes are copied, not made again; rows of a
 * multivector keep their order. */
#include <assert.h>
#include <stdlib.h>

#include "index/plan_private.h"

#define SWEEP_SHARE 16u   /* a sweep begins once a sixteenth of all codes died since the last */
#define REWRITE_SHARE 2u  /* half dead: worth writing the other half again */
#define THOROUGH_SHARE 8u /* before a compaction, and when idle */

void rewrite_free(struct rewrite *rewrite)
{
    if (rewrite != NULL) {
        free(rewrite->blocks);
        free(rewrite->slots);
        free(rewrite->centre);
        free(rewrite);
    }
}

static size_t value_blocks(const struct planning *planning)
{
    return environment_blocks_per_value(planning->view.environment, planning->vector->number);
}

/* Calls for each lane of a generation that can be read; false: a value cannot. */
static bool count_live(const struct planning *planning, const struct generation *generation,
                       uint64_t *live)
{
    *live = 0;
    for (uint64_t i = 0; i < generation->value_count; i++) {
        struct block_value value;
        if (view_blocks(&planning->view, planning->vector->number, generation->number, i, &value) !=
            OK) {
            return false;
        }
        for (size_t lane = 0; lane < value.code_count; lane++) {
            *live += !view_is_dead(&planning->view, load64(value.slots + lane * 8));
        }
    }
    return true;
}

static void copy_lane(struct planning *planning, struct rewrite *rewrite,
                      const struct block_value *value, size_t lane, uint64_t slot)
{
    const struct codec *codec = planning->codec;
    const size_t block_bytes = codec_block_bytes(codec), to = rewrite->code_count++;
    uint8_t *code =
        scratch_need(&planning->scratch->code, codec_code_bytes(codec, codec_first_bits(codec)));
    struct code_factors factors;
    codec_block_get(codec, value->blocks + lane / CODEC_BLOCK_LANES * block_bytes,
                    (unsigned)(lane % CODEC_BLOCK_LANES), code, &factors);
    codec_block_put(codec, rewrite->blocks + to / CODEC_BLOCK_LANES * block_bytes,
                    (unsigned)(to % CODEC_BLOCK_LANES), code, factors);
    rewrite->slots[to] = slot;
}

/* The live codes of a generation, which there are. */
static bool rewrite_make(struct planning *planning, const struct generation *generation,
                         uint64_t live)
{
    const size_t blocks = value_blocks(planning), lanes = blocks * CODEC_BLOCK_LANES;
    struct rewrite *rewrite = allocate_zeroed(1, sizeof *rewrite);
    rewrite->value_count = (live + lanes - 1) / lanes;
    rewrite->old_value_count = generation->value_count;
    const size_t all = size_product((size_t)rewrite->value_count, blocks);
    rewrite->blocks = allocate_zeroed(all, codec_block_bytes(planning->codec));
    rewrite->slots = allocate_zeroed(size_product(all, CODEC_BLOCK_LANES), sizeof(uint64_t));
    planning->plan->rewrite = rewrite;
    for (uint64_t i = 0; i < generation->value_count; i++) {
        struct block_value value;
        if (view_blocks(&planning->view, planning->vector->number, generation->number, i, &value) !=
            OK) {
            return false;
        }
        for (size_t lane = 0; lane < value.code_count; lane++) {
            const uint64_t slot = load64(value.slots + lane * 8);
            if (!view_is_dead(&planning->view, slot)) {
                copy_lane(planning, rewrite, &value, lane, slot);
            }
        }
    }
    assert(rewrite->code_count == live);
    if (generation->centre != NULL) {
        const size_t bytes = size_product(planning->dim, sizeof(float));
        rewrite->centre =
            memcpy(allocate_aligned((bytes + 63) / 64 * 64), generation->centre, bytes);
    }
    planning->plan->bytes = size_product(all, codec_block_bytes(planning->codec));
    return true;
}

static void drop(struct planning *planning, const struct generation *generation)
{
    struct plan *plan = planning->plan;
    plan->moves = plan->drop = true;
    plan->generation = generation->number;
}

/* What is to be done about one generation; false: nothing. */
static bool look_at(struct planning *planning, const struct generation *generation, uint64_t share)
{
    uint64_t live;
    if (!generation->sealed || generation->moved != NULL ||
        !count_live(planning, generation, &live)) {
        return false;
    }
    const uint64_t dead = generation->code_count - live;
    if (dead == 0 || (live > 0 && dead * share < generation->code_count)) {
        return false;
    }
    plan_new(planning, PLAN_PURGE);
    planning->plan->generation = generation->number;
    planning->plan->dead_out = dead;
    if (live == 0) {
        drop(planning, generation);
        return true;
    }
    if (!rewrite_make(planning, generation, live)) {
        plan_free(planning->plan);
        planning->plan = NULL;
        return false;
    }
    return true;
}

static uint64_t codes_of(const struct planning *planning)
{
    uint64_t codes = 0;
    for (uint64_t i = 0; i < planning->counters->generation_count; i++) {
        struct generation one;
        if (view_generation(&planning->view, planning->vector->number, i, &one) == OK) {
            codes += one.code_count;
        }
    }
    return codes;
}

static bool is_due(struct planning *planning, bool thorough)
{
    struct maintenance *maintenance = planning->maintenance;
    const uint64_t dead = planning->counters->dead_count;
    if (dead < maintenance->swept_dead) {
        maintenance->swept_dead = dead;
    }
    if (!maintenance->sweeping && dead > maintenance->swept_dead &&
        (thorough || (dead - maintenance->swept_dead) * SWEEP_SHARE > codes_of(planning))) {
        maintenance->sweeping = true;
        maintenance->sweep = 0;
    }
    return maintenance->sweeping;
}

enum error plan_generations(struct planning *planning, bool thorough, bool *found)
{
    struct maintenance *maintenance = planning->maintenance;
    const uint64_t share = thorough ? THOROUGH_SHARE : REWRITE_SHARE;
    *found = false;
    if (!is_due(planning, thorough)) {
        return OK;
    }
    for (; maintenance->sweep < planning->counters->generation_count; maintenance->sweep++) {
        struct generation generation;
        const enum error error = view_generation(&planning->view, planning->vector->number,
                                                 maintenance->sweep, &generation);
        if (error == ERROR_CORRUPT) {
            continue;
        }
        if (error != OK) {
            return error;
        }
        /* One that is dropped leaves its place to the next. */
        if (look_at(planning, &generation, share)) {
            maintenance->sweep += planning->plan->drop ? 0 : 1;
            *found = true;
            return OK;
        }
    }
    maintenance->sweeping = false;
    maintenance->swept_dead = planning->counters->dead_count;
    return OK;
}

enum error rewrite_apply(struct write *write, const struct plan *plan)
{
    const struct rewrite *rewrite = plan->rewrite;
    const struct generation_rewrite values = {
        .blocks = rewrite->blocks,
        .slots = rewrite->slots,
        .code_count = rewrite->code_count,
        .value_count = rewrite->value_count,
        .old_value_count = rewrite->old_value_count,
        .centre = rewrite->centre,
    };
    const enum error error = write_generation_anew(write, plan->vector, plan->generation, &values);
    failpoint("index-plan-rewrite");
    return error;
}
