/* What a vector has learnt, the ring of live queries, and what they got. */
#include "index/recall_private.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "index/search.h"

struct recall_state *recall_state_new(void)
{
    struct recall_state *state = allocate_zeroed(1, sizeof *state);
    pthread_mutex_init(&state->mutex, NULL);
    return state;
}

void recall_state_free(struct recall_state *state)
{
    if (state == NULL) {
        return;
    }
    free(state->ring);
    free(state->live);
    free(state->outcomes);
    pthread_mutex_destroy(&state->mutex);
    free(state);
}

/* The stored table, once, when nothing was learnt since the opening. Under the mutex. */
static void load_table(const struct collection_vector *vector, const struct view *view)
{
    struct recall_state *state = vector->recall;
    struct span bytes;

    state->loaded = true;
    /* None, or damaged: the prior stands in, and it is learnt anew. */
    state->known =
        view_recall(view, vector->number, &bytes) == OK && recall_table_get(&state->table, bytes);
}

double recall_share(const struct collection_vector *vector, const struct view *view, double recall,
                    double distance, uint64_t code_count, size_t k)
{
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    if (!state->loaded) {
        load_table(vector, view);
    }
    const double share = state->known
                             ? recall_table_share(&state->table, recall, distance, code_count, k)
                             : recall_prior_share(recall, code_count, k);
    pthread_mutex_unlock(&state->mutex);
    return share;
}

/* ---- sampling ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool recall_sample(const struct collection_vector *vector)
{
    return atomic_fetch_add_explicit(&vector->recall->seen, 1, memory_order_relaxed) %
               RECALL_SAMPLE_EVERY ==
           0;
}

/* What its answer says about a recall, if it does: one that begins with the best, of nothing but
 * the nearest. */
static float recall_asked(const struct search_request *request)
{
    const bool whole = request->offset == 0 && !request->has_threshold &&
                       request->exclude_count == 0 && request->share <= 0.0f;
    if (!whole || (request->recall <= 0.0f && request->effort > 0.0f)) {
        return 0.0f;
    }
    return request->recall > 0.0f ? request->recall : (float)RECALL_DEFAULT;
}

void recall_sample_keep(const struct collection_vector *vector, const struct view *view,
                        const struct search_request *request, const struct hit *hits, size_t count)
{
    struct recall_state *state = vector->recall;
    const size_t bytes = vector->settings->dim * sizeof(float);
    const size_t whole = sizeof(struct sample) + (bytes + 7) / 8 * 8;
    struct sample sample = {.when_ns = now_ns(),
                            .next_slot = view_counters(view)->next_slot,
                            .asked = recall_asked(request),
                            .count = (uint32_t)(count < RECALL_K ? count : RECALL_K)};

    for (size_t i = 0; i < sample.count; i++) {
        sample.slots[i] = hits[i].slot;
        sample.keys[i] = hits[i].key;
    }
    pthread_mutex_lock(&state->mutex);
    if (state->ring == NULL) {
        state->ring_capacity = RING_BYTES / whole < RING_MAX ? RING_BYTES / whole : RING_MAX;
        state->ring_capacity = state->ring_capacity > 0 ? state->ring_capacity : 1;
        state->ring = allocate(size_product(state->ring_capacity, whole));
    }
    /* Full: those that wait are older, but no worse. */
    if (state->ring_count < state->ring_capacity) {
        uint8_t *at = state->ring + state->ring_count++ * whole;
        memcpy(at, &sample, sizeof sample);
        memcpy(at + sizeof sample, request->vector, bytes);
    }
    pthread_mutex_unlock(&state->mutex);
}

/* ---- the report ---- */

void recall_interval(double mean, uint64_t queries, double *low, double *high)
{
    const double z = 1.959964, n = (double)queries;
    if (queries == 0) {
        *low = 0.0;
        *high = 1.0;
        return;
    }
    const double middle = mean + z * z / (2.0 * n);
    const double width = z * sqrt(fmax(mean * (1.0 - mean), 0.0) / n + z * z / (4.0 * n * n));
    *low = fmax((middle - width) / (1.0 + z * z / n), 0.0);
    *high = fmin((middle + width) / (1.0 + z * z / n), 1.0);
}

static struct recall_group *group_of(struct recall_report *report, float asked)
{
    size_t at = 0;
    while (at < report->group_count && report->groups[at].asked < asked) {
        at++;
    }
    if (at < report->group_count && report->groups[at].asked <= asked) {
        return &report->groups[at];
    }
    if (report->group_count == RECALL_GROUPS) {
        return NULL;
    }
    memmove(&report->groups[at + 1], &report->groups[at],
            (report->group_count++ - at) * sizeof *report->groups);
    report->groups[at] = (struct recall_group){.asked = asked};
    return &report->groups[at];
}

void recall_report_get(struct collection *collection, uint16_t vector, const struct view *view,
                       uint64_t window_ns, struct recall_report *report)
{
    const struct collection_vector *own = &collection->vectors[vector];
    struct recall_state *state = own->recall;
    const uint64_t now = now_ns();

    *report = (struct recall_report){.seen = atomic_load(&state->seen)};
    pthread_mutex_lock(&state->mutex);
    if (!state->loaded) {
        load_table(own, view);
    }
    report->learnt = state->known;
    if (state->known) {
        report->codes = state->table.codes;
        report->stored = state->table.stored;
        report->made = state->table.made;
        report->live = state->table.live;
    }
    report->waiting = state->ring_count;
    for (size_t i = 0; i < state->outcome_count; i++) {
        const struct outcome *outcome = &state->outcomes[i];
        struct recall_group *group =
            now - outcome->when_ns <= window_ns ? group_of(report, outcome->asked) : NULL;
        if (group != NULL) {
            group->queries++;
            group->mean += (double)outcome->got;
        }
    }
    pthread_mutex_unlock(&state->mutex);
    for (size_t i = 0; i < report->group_count; i++) {
        struct recall_group *group = &report->groups[i];
        group->mean /= (double)group->queries;
        recall_interval(group->mean, group->queries, &group->low, &group->high);
    }
}

/* ---- storing ---- */

enum error recall_write(struct write *write, uint16_t vector, const struct recall_table *table)
{
    uint8_t bytes[RECALL_TABLE_BYTES];
    recall_table_put(table, bytes);
    return write_recall(write, vector, span_of(bytes, sizeof bytes));
}

void recall_adopt(const struct collection_vector *vector, const struct recall_table *table)
{
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    state->table = *table;
    state->known = state->loaded = true;
    pthread_mutex_unlock(&state->mutex);
}
