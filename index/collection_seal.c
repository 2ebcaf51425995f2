/* Sealing a full generation, and the centres of what follows.
 *
 * The mean of up to 1,024 evenly spaced vectors of the generation that are still live is merged
 * with the mean so far (which is the generation's own centre), each with the number of codes it
 * stands for. That is the next generation's centre, and at times a new epoch's. Everything is
 * decided by the stored state and the ops, in double precision and in a fixed order; where a group
 * begins and ends plays no part. */
#include "index/collection_apply.h"

#include <math.h>

#include "storage/lists.h"

#define EPOCH_GROWTH 8u

/* Count a sealed generation; true: an epoch begins with it. */
static bool totals_add(struct vector_counters *counters, uint64_t codes)
{
    counters->sealed_codes += codes;
    const bool freeze = counters->frozen_codes == 0 ||
                        counters->sealed_codes / EPOCH_GROWTH >= counters->frozen_codes;
    if (freeze) {
        counters->frozen_codes = counters->sealed_codes;
    }
    return freeze;
}

/* Add a slot's vector to the sum if the point is live as this transaction sees it. vector: from the
 * op, or NULL: from the view. Damage is left out of the mean: it is no reason to refuse writes. */
static enum error sum_add(struct apply_vector *state, uint64_t slot, const uint8_t *vector,
                          uint64_t *count)
{
    struct point_row point;
    const enum error error = write_read_point(state->apply->write, slot, &point);
    if (error == ERROR_NOT_FOUND || error == ERROR_CORRUPT) {
        return OK;
    }
    if (error != OK) {
        return error;
    }
    struct stored_vector stored;
    if (state->vector->settings->kind == VECTOR_MULTI) {
        /* The first row stands for all, wherever the lane came from. */
        if (write_read_stored(state->apply->write, state->vector->number, slot, &stored) != OK) {
            return OK;
        }
        vector = stored.data;
    } else if (vector == NULL) {
        struct vector_row row;
        if (view_vector(&state->apply->view, state->vector->number, slot, &row) != OK ||
            vector_row_check(&state->apply->view, state->vector->number, &row) != OK) {
            return OK;
        }
        vector = row.vector;
    }
    double *sum = state->scratch->sum.data;
    for (uint32_t i = 0; i < state->vector->settings->dim; i++) {
        sum[i] += (double)load_float(vector + i * sizeof(float));
    }
    ++*count;
    return OK;
}

/* Sum of the sample of the generation: stored codes by their slots, then this transaction's. */
static enum error sum_samples(struct apply_vector *state, uint64_t *count)
{
    const uint32_t dim = state->vector->settings->dim;
    double *sum = scratch_need(&state->scratch->sum, size_product(dim, sizeof *sum));
    memset(sum, 0, dim * sizeof *sum);
    *count = 0;
    for (uint64_t lane = 0; lane < state->stored_codes; lane += state->sample_stride) {
        struct block_value value;
        enum error error =
            view_blocks(&state->apply->view, state->vector->number, state->centres.generation,
                        lane / state->value_capacity, &value);
        const size_t in_value = (size_t)(lane % state->value_capacity);
        if (error == ERROR_CORRUPT || (error == OK && in_value >= value.code_count)) {
            continue;
        }
        if (error == OK) {
            error = sum_add(state, load64(value.slots + in_value * 8), NULL, count);
        }
        if (error != OK) {
            return error;
        }
    }
    for (size_t i = 0; i < state->sample_count; i++) {
        const struct sample *sample = &state->scratch->samples[i];
        const enum error error = sum_add(state, sample->slot, sample->floats, count);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* The mean so far, rotated, into the scratch's centre; the origin while nothing live was seen. */
static enum error mean_so_far(struct apply_vector *state, const float **centre)
{
    const uint32_t dim = state->vector->settings->dim;
    uint64_t count;
    const enum error error = sum_samples(state, &count);
    *centre = state->centres.generation_centre;
    if (error != OK || count == 0) {
        return error;
    }
    const double *sum = state->scratch->sum.data;
    float *mean = scratch_need(&state->scratch->mean, size_product(dim, sizeof *mean));
    for (uint32_t i = 0; i < dim; i++) {
        mean[i] = (float)(sum[i] / (double)count);
    }
    /* The mean is rotated once; everything else knows rotated centres only. */
    const float *rotated =
        encode_rotate(state->vector, (const uint8_t *)mean, &state->scratch->encode);
    const float *earlier = state->centres.generation_centre;
    const double earlier_weight = earlier != NULL ? (double)state->counters->sealed_codes : 0.0;
    const double weight = (double)state->codes;
    float *merged = scratch_need(&state->scratch->centre, size_product(dim, sizeof *merged));
    for (uint32_t i = 0; i < dim; i++) {
        const double before = earlier != NULL ? (double)earlier[i] * earlier_weight : 0.0;
        merged[i] = (float)((before + (double)rotated[i] * weight) / (earlier_weight + weight));
        if (!isfinite(merged[i])) {
            return OK; /* vectors near the ends of float: better the centre of before */
        }
    }
    *centre = merged;
    return OK;
}

/* A copy of a new centre where the encoder keeps the current one. */
static const float *adopt_centre(const struct apply_vector *state, const float *centre,
                                 struct scratch *scratch)
{
    const size_t bytes = size_product(state->vector->settings->dim, sizeof(float));
    return centre == NULL || centre == scratch->data
               ? centre
               : memcpy(scratch_need(scratch, bytes), centre, bytes);
}

static enum error freeze_epoch(struct apply_vector *state, const float *centre)
{
    const uint64_t count = state->counters->epoch_count;
    const uint32_t epoch = count > 1 ? (uint32_t)count : 1;
    if (centre == NULL) { /* nothing live was ever seen: an epoch at the origin */
        const size_t bytes = size_product(state->vector->settings->dim, sizeof(float));
        centre = memset(scratch_need(&state->scratch->mean, bytes), 0, bytes);
    }
    const enum error error = write_epoch(state->apply->write, state->vector->number, epoch, centre);
    state->counters->epoch_count = (uint64_t)epoch + 1;
    state->centres.epoch = epoch;
    state->centres.epoch_centre = adopt_centre(state, centre, &state->scratch->encode.epoch_centre);
    return error;
}

/* An empty generation, the one that is written to from now on. */
void apply_generation_begin(struct apply_vector *state, uint64_t number, const float *centre)
{
    state->centres.generation = number;
    state->centres.generation_centre =
        adopt_centre(state, centre, &state->scratch->encode.generation_centre);
    state->generation_exists = state->generation_touched = true;
    state->codes = state->stored_codes = 0;
    state->sample_count = 0;
    apply_set_sample_stride(state);
    apply_clear_value(state);
    state->counters->generation_count++;
}

/* The generation is full: seal it, open the next, and begin an epoch if it is time. */
enum error apply_seal(struct apply_vector *state)
{
    failpoint("index-seal");
    enum error error = apply_flush_run(state);
    if (error == OK) {
        error = apply_flush_value(state);
    }
    if (error == OK) {
        error = apply_flush_generation(state, true);
    }
    const float *centre;
    if (error == OK) {
        error = mean_so_far(state, &centre);
    }
    if (error != OK) {
        return error;
    }
    if (totals_add(state->counters, state->codes)) {
        error = freeze_epoch(state, centre);
    }
    apply_generation_begin(state, state->centres.generation + 1, centre);
    return error;
}
