/* Listing codes by slot. */
#include "index/verify_lanes.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct loading {
    struct lane_list *list;
    const struct collection_vector *vector;
    const struct view *view;
    void (*report)(void *context, const char *text);
    void *context;
};

__attribute__((format(printf, 2, 3))) static void say(const struct loading *loading,
                                                      const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    loading->report(loading->context, text);
}

static bool survivable(enum error error)
{
    return error == OK || error == ERROR_CORRUPT || error == ERROR_NOT_FOUND;
}

static void add_home(struct lane_list *list, bool is_partition, uint64_t number)
{
    if (list->home_count == list->home_capacity) {
        list->home_capacity = list->home_capacity == 0 ? 64 : 2 * list->home_capacity;
        list->homes = grow(list->homes, size_product(list->home_capacity, sizeof *list->homes));
    }
    list->homes[list->home_count++] = (struct lane_home){is_partition, number};
}

/* A code of the home added last. */
static void add_place(struct lane_list *list, uint64_t slot, size_t lane)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 1024 : 2 * list->capacity;
        list->places = grow(list->places, size_product(list->capacity, sizeof *list->places));
    }
    list->places[list->count++] =
        (struct lane_place){slot, (uint32_t)(list->home_count - 1), (uint32_t)lane};
}

static size_t value_lanes(const struct view *view, const struct collection_vector *vector)
{
    return environment_blocks_per_value(view->environment, vector->number) * CODEC_BLOCK_LANES;
}

/* ---- generations ---- */

static enum error add_generation(const struct loading *loading, const struct generation *generation)
{
    const size_t lanes = value_lanes(loading->view, loading->vector);
    uint64_t held = 0, moved = 0;
    add_home(loading->list, false, generation->number);
    for (uint64_t i = 0; i < generation->value_count; i++) {
        struct block_value value;
        const enum error error =
            view_blocks(loading->view, loading->vector->number, generation->number, i, &value);
        if (error != OK) {
            say(loading, "block value %" PRIu64 " of generation %" PRIu64 ": %s", i,
                generation->number, error_text(error));
            if (!survivable(error)) {
                return error;
            }
            continue;
        }
        held += value.code_count;
        for (size_t lane = 0; lane < value.code_count; lane++) {
            const uint64_t at = i * lanes + lane;
            if (generation->moved != NULL && at < generation->code_count &&
                (generation->moved[at / 8] >> at % 8 & 1) != 0) {
                moved++;
            } else {
                add_place(loading->list, load64(value.slots + lane * 8), (size_t)at);
            }
        }
    }
    if (held != generation->code_count) {
        say(loading, "generation %" PRIu64 " counts %" PRIu64 " codes but holds %" PRIu64,
            generation->number, generation->code_count, held);
    }
    if (moved == held && held > 0) {
        say(loading, "generation %" PRIu64 " has no code left but was not dropped",
            generation->number);
    }
    return OK;
}

static enum error add_generations(const struct loading *loading)
{
    const uint64_t count =
        view_vector_counters(loading->view, loading->vector->number)->generation_count;
    for (uint64_t i = 0; i < count; i++) {
        struct generation generation;
        enum error error = view_generation(loading->view, loading->vector->number, i, &generation);
        if (error != OK) {
            say(loading, "generation at %" PRIu64 ": %s", i, error_text(error));
        } else {
            error = add_generation(loading, &generation);
        }
        if (!survivable(error)) {
            return error;
        }
    }
    return OK;
}

/* ---- partitions ---- */

static void add_partition(const struct loading *loading, uint64_t index,
                          const struct partition *partition)
{
    bool finite = isfinite(partition->radius) && partition->radius >= 0.0f;
    for (uint32_t j = 0; j < loading->vector->settings->dim && finite; j++) {
        finite = isfinite(load_float(partition->centre + j * sizeof(float)));
    }
    if (!finite) {
        say(loading, "partition %" PRIu64 " has a centre or radius that is no number", index);
    }
    add_home(loading->list, true, index);
    for (size_t lane = 0; lane < partition->code_count; lane++) {
        add_place(loading->list, load64(partition->slots + lane * 8), lane);
    }
}

static enum error add_partitions(const struct loading *loading)
{
    const uint64_t count = view_partition_count(loading->view, loading->vector->number);
    for (uint64_t i = 0; i < count; i++) {
        struct partition partition;
        const enum error error =
            view_partition(loading->view, loading->vector->number, i, &partition);
        if (error == OK) {
            add_partition(loading, i, &partition);
        } else if (error != ERROR_NOT_FOUND) {
            say(loading, "partition %" PRIu64 ": %s", i, error_text(error));
        }
        if (!survivable(error)) {
            return error;
        }
    }
    return OK;
}

/* ---- the list ---- */

static int compare_places(const void *a, const void *b)
{
    const struct lane_place *x = a, *y = b;
    if (x->slot != y->slot) {
        return x->slot < y->slot ? -1 : 1;
    }
    /* Rows of a multivector stand in their order. */
    if (x->home != y->home) {
        return x->home < y->home ? -1 : 1;
    }
    return x->lane < y->lane ? -1 : x->lane > y->lane;
}

enum error lane_list_load(struct lane_list *list, const struct collection_vector *vector,
                          const struct view *view, void (*report)(void *context, const char *text),
                          void *context)
{
    const struct loading loading = {list, vector, view, report, context};
    *list = (struct lane_list){0};
    enum error error = add_generations(&loading);
    if (error == OK) {
        error = add_partitions(&loading);
    }
    if (list->count > 1) {
        qsort(list->places, list->count, sizeof *list->places, compare_places);
    }
    return error;
}

void lane_list_release(struct lane_list *list)
{
    free(list->places);
    free(list->homes);
    scratch_release(&list->plain);
    scratch_release(&list->rotated);
    scratch_release(&list->work);
}

/* ---- one code ---- */

static enum error load_home(struct lane_list *list, const struct collection_vector *vector,
                            const struct view *view, uint32_t which)
{
    const struct lane_home *home = &list->homes[which];
    const size_t bytes = vector->settings->dim * sizeof(float);
    list->home_known = false;
    list->centre = NULL;
    if (home->is_partition) {
        const enum error error =
            view_partition(view, vector->number, home->number, &list->partition);
        if (error != OK) {
            return error;
        }
        float *plain = scratch_need(&list->plain, bytes);
        float *rotated = scratch_need(&list->rotated, bytes);
        memcpy(plain, list->partition.centre, bytes);
        codec_rotate(vector->codec, plain, rotated,
                     scratch_need(&list->work, codec_work_bytes(vector->codec)));
        list->centre = rotated;
    } else {
        const uint64_t count = view_vector_counters(view, vector->number)->generation_count;
        struct generation generation = {.number = home->number + 1};
        for (uint64_t i = 0; i < count && generation.number != home->number; i++) {
            const enum error error = view_generation(view, vector->number, i, &generation);
            if (error != OK && !survivable(error)) {
                return error;
            }
        }
        if (generation.number != home->number) {
            return ERROR_CORRUPT;
        }
        if (generation.centre != NULL) {
            list->centre = memcpy(scratch_need(&list->rotated, bytes), generation.centre, bytes);
        }
    }
    list->home = which;
    list->home_known = true;
    return OK;
}

enum error lane_list_get(struct lane_list *list, const struct collection_vector *vector,
                         const struct view *view, const struct lane_place *place,
                         const uint8_t **block, unsigned *lane, const float **centre)
{
    if (!list->home_known || list->home != place->home) {
        const enum error error = load_home(list, vector, view, place->home);
        if (error != OK) {
            return error;
        }
    }
    const struct lane_home *home = &list->homes[place->home];
    const uint8_t *blocks = list->partition.blocks;
    size_t in_value = place->lane;
    if (!home->is_partition) {
        const size_t lanes = value_lanes(view, vector);
        struct block_value value;
        const enum error error =
            view_blocks(view, vector->number, home->number, place->lane / lanes, &value);
        if (error != OK) {
            return error;
        }
        blocks = value.blocks;
        in_value = place->lane % lanes;
    }
    *block = blocks + in_value / CODEC_BLOCK_LANES * codec_block_bytes(vector->codec);
    *lane = (unsigned)(in_value % CODEC_BLOCK_LANES);
    *centre = list->centre;
    return OK;
}
