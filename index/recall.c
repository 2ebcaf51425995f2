/* The share of codes to read: prior, table, and the ring of live queries. */
#include "index/recall_private.h"

#include <math.h>
#include <stdlib.h>

/* Codes that 120,000 of GloVe's vectors, the hardest set at hand, take for the 10 nearest, with
 * half as much again on top; they grow with about the 0.6th power of the number of points. */
#define PRIOR_POINTS 120000.0
#define PRIOR_GROWTH 0.6
#define SHARE_MIN 1e-4

const double recall_levels[RECALL_LEVELS] = {0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999};

static const struct {
    double recall, codes;
} prior[] = {{0.5, 2000.0},   {0.8, 9000.0},   {0.9, 15000.0},   {0.95, 21000.0},
             {0.98, 34000.0}, {0.99, 46000.0}, {0.995, 60000.0}, {0.999, 90000.0}};
#define PRIOR_COUNT (sizeof prior / sizeof *prior)

/* Where a recall lies between two, in the logarithm of what is missed. */
static double between(double recall, double low, double high)
{
    const double missed = log(1.0 - low);
    return (missed - log(1.0 - recall)) / (missed - log(1.0 - high));
}

static double clamp_share(double share)
{
    return share < SHARE_MIN ? SHARE_MIN : share < 1.0 ? share : 1.0;
}

double recall_prior_share(double recall, uint64_t code_count, size_t k)
{
    size_t i = 1;
    while (i + 1 < PRIOR_COUNT && prior[i].recall < recall) {
        i++;
    }
    double at = between(fmin(recall, 0.99999), prior[i - 1].recall, prior[i].recall);
    at = at < 0.0 ? 0.0 : at;
    const double codes = prior[i - 1].codes * pow(prior[i].codes / prior[i - 1].codes, at);
    const double n = code_count > 0 ? (double)code_count : 1.0;
    const double more = k > 10 ? pow((double)k / 10.0, 0.35) : 1.0;
    return clamp_share(codes * more * pow(n / PRIOR_POINTS, PRIOR_GROWTH) / n);
}

/* Of one row of the table. */
static double level_share(const float *shares, double recall)
{
    if (recall <= recall_levels[0]) {
        /* Less than the lowest: in proportion, which is more than it takes. */
        return (double)shares[0] * recall / recall_levels[0];
    }
    size_t i = 1;
    while (i + 1 < RECALL_LEVELS && recall_levels[i] < recall) {
        i++;
    }
    const double at = between(fmin(recall, 0.99999), recall_levels[i - 1], recall_levels[i]);
    return (double)shares[i - 1] * pow((double)shares[i] / (double)shares[i - 1], at);
}

double recall_table_share(const struct recall_table *table, double recall, uint64_t code_count,
                          size_t k)
{
    const double ten = level_share(table->share[0], recall);
    double share = ten;
    if (k > 10) {
        const double hundred = level_share(table->share[1], recall);
        share = ten * pow(fmax(hundred / ten, 1.0), log10((double)k / 10.0));
    }
    /* Of fewer codes than it was learnt from (deletes, a filter) it takes a larger share. */
    if (code_count > 0 && code_count < table->codes) {
        share *= sqrt((double)table->codes / (double)code_count);
    }
    return clamp_share(share);
}

/* ---- state ---- */

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
    pthread_mutex_destroy(&state->mutex);
    free(state);
}

/* The stored table, once, when nothing was learnt since the opening. Under the mutex. */
static void load_table(const struct collection_vector *vector, const struct view *view)
{
    struct recall_state *state = vector->recall;
    struct span bytes;
    state->loaded = true;
    if (view_recall(view, vector->number, &bytes) != OK || bytes.bytes != sizeof state->table) {
        return; /* none, or damaged: the prior stands in, and it is learnt anew */
    }
    memcpy(&state->table, bytes.data, sizeof state->table);
    bool good = true;
    for (size_t i = 0; i < 2 * RECALL_LEVELS; i++) {
        const float share = state->table.share[i / RECALL_LEVELS][i % RECALL_LEVELS];
        good = good && share > 0.0f && share <= 1.0f;
    }
    state->known = good;
}

double recall_share(const struct collection_vector *vector, const struct view *view, double recall,
                    uint64_t code_count, size_t k)
{
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    if (!state->loaded) {
        load_table(vector, view);
    }
    const bool known = state->known;
    const struct recall_table table = state->table;
    pthread_mutex_unlock(&state->mutex);
    return known ? recall_table_share(&table, recall, code_count, k)
                 : recall_prior_share(recall, code_count, k);
}

bool recall_sample(const struct collection_vector *vector, const float *query)
{
    struct recall_state *state = vector->recall;
    if (atomic_fetch_add_explicit(&state->seen, 1, memory_order_relaxed) % SAMPLE_EVERY != 0) {
        return false;
    }
    const size_t bytes = vector->settings->dim * sizeof(float);
    pthread_mutex_lock(&state->mutex);
    if (state->ring == NULL) {
        state->ring_capacity = RING_BYTES / bytes < RING_MAX ? RING_BYTES / bytes : RING_MAX;
        state->ring_capacity = state->ring_capacity > 0 ? state->ring_capacity : 1;
        state->ring = allocate(size_product(state->ring_capacity, bytes));
    }
    /* Full: those that wait are older, but no worse. */
    if (state->ring_count < state->ring_capacity) {
        memcpy((uint8_t *)state->ring + state->ring_count++ * bytes, query, bytes);
    }
    pthread_mutex_unlock(&state->mutex);
    return true;
}

void recall_figures_get(const struct collection_vector *vector, struct recall_figures *figures)
{
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    *figures = state->figures;
    pthread_mutex_unlock(&state->mutex);
}

enum error recall_write(struct write *write, uint16_t vector, const struct recall_table *table)
{
    return write_recall(write, vector, span_of(table, sizeof *table));
}

void recall_adopt(const struct collection_vector *vector, const struct recall_table *table)
{
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    state->table = *table;
    state->known = state->loaded = true;
    pthread_mutex_unlock(&state->mutex);
}
