/* Learning the table from stored points and sampled queries. */
#include <math.h>
#include <stdlib.h>

#include "index/recall_private.h"
#include "index/search.h"

#define STORED_FIRST 300u
#define STORED_IDLE 2000u
#define MADE_FIRST 320u /* copies: shifted, or in another order */
#define MADE_IDLE 1280u
#define LIVE_STEP 200u    /* new ones after which the table is made anew */
#define CHANGE_SHARE 5u   /* of the codes: a fifth more or fewer; half more when busy */
#define SLICE_QUERIES 16u /* of a slice, at most */
#define SLICE_CODES UINT64_C(20000000) /* scanned by a slice, about */

/* Lengths of a copy's shift in those of its point; of eight copies one is in another order. */
static const float shifts[] = {0.2f, 0.4f, 0.6f, 0.8f, 1.2f, 2.0f, 8.0f};
#define SHIFTS (sizeof shifts / sizeof *shifts)

struct learning {
    struct needs *needs; /* of stored points, then of copies */
    size_t count, stored, wanted_stored, wanted;
    uint64_t random;
    uint32_t misses; /* lanes drawn that are dead */
    bool live_only;  /* stored points were learnt from before */
};

void learning_free(struct learning *learning)
{
    if (learning != NULL) {
        free(learning->needs);
        free(learning);
    }
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- is it time? ---- */

static bool codes_changed(const struct recall_table *table, uint64_t codes)
{
    const uint64_t apart = table->codes > codes ? table->codes - codes : codes - table->codes;
    return apart * CHANGE_SHARE > table->codes;
}

/* While points stream in: of more codes the shares of fewer are enough for long. */
static bool codes_changed_much(const struct recall_table *table, uint64_t codes)
{
    return codes > table->codes + table->codes / 2 ||
           (codes < table->codes && codes_changed(table, codes));
}

bool recall_is_due(const struct collection_vector *vector, const struct view *view, uint64_t codes,
                   bool idle)
{
    (void)recall_share(vector, view, RECALL_DEFAULT, 0.0, codes, 10); /* loads what is stored */
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    bool due = !state->known || codes_changed_much(&state->table, codes);
    if (idle) {
        due = due || codes_changed(&state->table, codes) || state->table.stored < STORED_IDLE ||
              state->ring_count > 0 || state->live_since >= LIVE_STEP;
    }
    pthread_mutex_unlock(&state->mutex);
    return due && codes > 0;
}

/* ---- where the true neighbours are ---- */

/* Slots that are looked for, and the partition each is in. */
struct place {
    uint64_t slot;
    uint32_t partition; /* UINT32_MAX: none */
};

struct looking {
    struct collection *collection;
    const struct collection_vector *vector;
    const struct view *view;
    struct search_workspace *workspace;
    const struct centre_table *table;
    struct arena arena;
    struct place *places; /* hash table, a power of two; slot UINT64_MAX: free */
    size_t mask;
};

static struct place *place_of(const struct looking *looking, uint64_t slot)
{
    size_t at = (size_t)(slot * 0x9e3779b97f4a7c15u >> 20) & looking->mask;
    while (looking->places[at].slot != UINT64_MAX && looking->places[at].slot != slot) {
        at = (at + 1) & looking->mask;
    }
    return &looking->places[at];
}

/* The partitions of all slots looked for, in one pass over the slots of all partitions. */
static void find_places(struct looking *looking)
{
    for (uint32_t i = 0; i < looking->table->count; i++) {
        struct partition partition;
        if (looking->table->entries[i].codes == 0 ||
            view_partition(looking->view, looking->vector->number, i, &partition) != OK) {
            continue;
        }
        for (size_t lane = 0; lane < partition.code_count; lane++) {
            struct place *place = place_of(looking, load64(partition.slots + lane * 8));
            if (place->slot != UINT64_MAX) {
                place->partition = i;
            }
        }
    }
}

/* Codes that are read before each of some partitions is, for one query. */
static void find_needs(struct looking *looking, const float *query, const uint64_t *slots,
                       size_t count, struct needs *needs)
{
    struct centre_query order = {0};
    const struct centre_table *table = looking->table;
    centre_query_run_alone(&order, looking->vector->codec, query, looking->vector->settings->metric,
                           table, SIZE_MAX);
    float *before = allocate(size_product((size_t)table->count + 1, sizeof *before));
    double read = 0.0;
    for (size_t i = 0; i < order.count; i++) { /* not empty: there are codes */
        const uint32_t index = centre_query_at(&order, i);
        before[index] = (float)(read / (double)table->codes);
        read += (double)table->entries[index].codes;
    }
    needs->distance = (float)centre_query_distance(&order, 0);
    needs->count = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t partition = place_of(looking, slots[i])->partition;
        if (partition != UINT32_MAX) { /* it is not in a generation */
            needs->share[needs->count++] = before[partition];
        }
    }
    free(before);
    centre_query_release(&order);
}

/* One query to look at: its vector, and the point that it is or was made from, if any. */
struct probe {
    const float *vector;
    bool has_point, foreign;
    struct point_id id;
    struct sample *sample;    /* NULL, or a live one */
    uint64_t slots[RECALL_K]; /* of its nearest */
    float keys[RECALL_K];
    size_t count;
};

/* The nearest of all, through the codes of all. */
static enum error find_nearest(struct looking *looking, struct probe *probe)
{
    const struct search_request request = {
        .vector_number = looking->vector->number,
        .vector = probe->vector,
        .limit = RECALL_K,
        .share = 1.0f,
        .exclude = &probe->id,
        .exclude_count = probe->has_point,
        .unsampled = true,
    };
    struct hit *hits;
    struct search_stats stats;
    const enum error error =
        collection_search(looking->collection, looking->view, &request, looking->workspace,
                          &looking->arena, &hits, &probe->count, &stats);
    for (size_t i = 0; error == OK && i < probe->count; i++) {
        probe->slots[i] = hits[i].slot;
        probe->keys[i] = hits[i].key;
        *place_of(looking, hits[i].slot) = (struct place){hits[i].slot, UINT32_MAX};
    }
    return error;
}

/* Needs of all probes. */
static enum error look_at(struct looking *looking, struct probe *probes, size_t count,
                          struct needs *needs)
{
    size_t size = 64;
    while (size < 4 * count * RECALL_K) {
        size *= 2;
    }
    looking->places = allocate(size_product(size, sizeof *looking->places));
    looking->mask = size - 1;
    for (size_t i = 0; i < size; i++) {
        looking->places[i] = (struct place){UINT64_MAX, UINT32_MAX};
    }
    enum error error = OK;
    for (size_t i = 0; i < count && error == OK; i++) {
        error = find_nearest(looking, &probes[i]);
    }
    if (error == OK) {
        find_places(looking);
        for (size_t i = 0; i < count; i++) {
            find_needs(looking, probes[i].vector, probes[i].slots, probes[i].count, &needs[i]);
            needs[i].foreign = probes[i].foreign;
        }
    }
    free(looking->places);
    return error;
}

/* ---- probes ---- */

/* A live stored point, at random; false: the lane drawn is dead or cannot be read. */
static bool draw_point(struct looking *looking, uint64_t *random, struct probe *probe)
{
    const struct centre_table *table = looking->table;
    uint64_t at = next_random(random) % table->codes;
    uint32_t index = 0;
    while (at >= table->entries[index].codes) {
        at -= table->entries[index++].codes;
    }
    struct partition partition;
    struct vector_row row;
    struct point_row point;
    if (view_partition(looking->view, looking->vector->number, index, &partition) != OK ||
        at >= partition.code_count) {
        return false;
    }
    const uint64_t slot = load64(partition.slots + at * 8);
    if (view_is_dead(looking->view, slot) ||
        view_vector(looking->view, looking->vector->number, slot, &row) != OK ||
        vector_row_check(looking->view, looking->vector->number, &row) != OK ||
        view_point(looking->view, slot, &point) != OK) {
        return false;
    }
    *probe = (struct probe){.vector = arena_copy(&looking->arena, row.vector,
                                                 looking->vector->settings->dim * sizeof(float)),
                            .has_point = true,
                            .id = point.id};
    return true;
}

/* Standard normal, by Box and Muller. */
static float random_normal(uint64_t *random)
{
    const double one = ((double)(next_random(random) >> 11) + 1.0) * 0x1p-53;
    const double two = (double)(next_random(random) >> 11) * 0x1p-53;
    return (float)(sqrt(-2.0 * log(one)) * cos(6.283185307179586 * two));
}

static double length_of(const float *vector, size_t dim)
{
    double square = 0.0;
    for (size_t i = 0; i < dim; i++) {
        square += (double)vector[i] * (double)vector[i];
    }
    return sqrt(square);
}

/* A query like none that is stored: the point's vector moved by `shift` times its length in a
 * random direction; where only directions count, of the same length as before. */
static void shift_probe(struct looking *looking, float shift, uint64_t *random, struct probe *probe)
{
    const size_t dim = looking->vector->settings->dim;
    float *moved = arena_allocate(&looking->arena, size_product(dim, sizeof *moved));

    for (size_t i = 0; i < dim; i++) {
        moved[i] = random_normal(random);
    }
    const double length = length_of(probe->vector, dim);
    const double scale = (double)shift * length / fmax(length_of(moved, dim), 1e-30);
    for (size_t i = 0; i < dim; i++) {
        moved[i] = probe->vector[i] + (float)scale * moved[i];
    }
    if (looking->vector->settings->metric != METRIC_EUCLID) {
        const double back = length / fmax(length_of(moved, dim), 1e-30);
        for (size_t i = 0; i < dim; i++) {
            moved[i] *= (float)back;
        }
    }
    probe->vector = moved;
}

/* Or one of the same numbers in another order: as long and as lumpy as what is stored, but from
 * nowhere near it. Shifted copies are nearer to where they came from than to all else; these are as
 * far from everything as what another model makes (clusters of others: .65 for .8 without them). */
static void shuffle_probe(struct looking *looking, uint64_t *random, struct probe *probe)
{
    const size_t dim = looking->vector->settings->dim;
    float *moved = arena_copy(&looking->arena, probe->vector, size_product(dim, sizeof *moved));

    for (size_t i = dim; i > 1; i--) {
        const size_t j = (size_t)(next_random(random) % i);
        const float x = moved[i - 1];
        moved[i - 1] = moved[j];
        moved[j] = x;
    }
    probe->vector = moved;
    probe->foreign = true;
}

/* Up to `most` live queries out of the ring. */
static size_t take_live(struct looking *looking, struct probe *probes, size_t most)
{
    struct recall_state *state = looking->vector->recall;
    const size_t bytes = looking->vector->settings->dim * sizeof(float);
    const size_t whole = sizeof(struct sample) + (bytes + 7) / 8 * 8;
    size_t count = 0;
    pthread_mutex_lock(&state->mutex);
    while (count < most && state->ring_count > 0) {
        const uint8_t *last = state->ring + --state->ring_count * whole;
        probes[count++] = (struct probe){
            .sample = arena_copy(&looking->arena, last, sizeof(struct sample)),
            .vector = arena_copy(&looking->arena, last + sizeof(struct sample), bytes)};
    }
    pthread_mutex_unlock(&state->mutex);
    return count;
}

/* ---- what live queries got ---- */

static bool is_gone(const struct view *view, uint64_t slot)
{
    struct point_row row;
    return view_is_dead(view, slot) || view_point(view, slot, &row) != OK;
}

/* The share of its nearest that a live query got, of the points that were there then and still are;
 * ties count. False: there is no telling. */
static bool judge(const struct looking *looking, const struct probe *probe, float *got)
{
    const struct sample *sample = probe->sample;
    float kept[RECALL_K], nearest[RECALL_K];
    size_t kept_count = 0, nearest_count = 0;
    for (size_t i = 0; i < sample->count; i++) {
        if (!is_gone(looking->view, sample->slots[i])) {
            kept[kept_count++] = sample->keys[i];
        }
    }
    for (size_t i = 0; i < probe->count; i++) {
        if (probe->slots[i] < sample->next_slot) {
            nearest[nearest_count++] = probe->keys[i];
        }
    }
    if (sample->asked <= 0.0f || kept_count == 0 || nearest_count < kept_count) {
        return false;
    }
    const float last = nearest[kept_count - 1];
    size_t found = 0;
    for (size_t i = 0; i < kept_count; i++) {
        found += kept[i] >= last - 1e-6f * fmaxf(1.0f, fabsf(last));
    }
    *got = (float)found / (float)kept_count;
    return true;
}

/* Keep what was found of live queries, and what they got. */
static void keep_live(struct looking *looking, const struct probe *probes,
                      const struct needs *needs, size_t count)
{
    struct recall_state *state = looking->vector->recall;
    pthread_mutex_lock(&state->mutex);
    if (state->live == NULL) {
        state->live = allocate(size_product(LIVE_MAX, sizeof *state->live));
        state->outcomes = allocate(size_product(OUTCOME_MAX, sizeof *state->outcomes));
    }
    for (size_t i = 0; i < count; i++) {
        struct outcome outcome = {probes[i].sample->when_ns, probes[i].sample->asked, 0.0f};
        if (judge(looking, &probes[i], &outcome.got)) {
            state->outcomes[state->outcome_next++ % OUTCOME_MAX] = outcome;
            state->outcome_count += state->outcome_count < OUTCOME_MAX;
        }
        state->live[state->live_next++ % LIVE_MAX] = needs[i];
        state->live_count += state->live_count < LIVE_MAX;
    }
    state->live_since += count;
    pthread_mutex_unlock(&state->mutex);
}

/* ---- the table ---- */

/* From what the learning found, or the base that there is, and from live queries, unless they were
 * looked at when there were much fewer or more codes. */
static void make_table(struct looking *looking, const struct learning *learning,
                       struct recall_table *table)
{
    struct recall_state *state = looking->vector->recall;
    pthread_mutex_lock(&state->mutex);
    if (state->known && codes_changed(&state->table, looking->table->codes)) {
        state->live_count = state->live_next = 0;
    }
    *table = state->table;
    const size_t count = state->live_count;
    struct needs *live = allocate(size_product(count + 1, sizeof *live));
    if (count > 0) {
        memcpy(live, state->live, count * sizeof *live);
    }
    state->live_since = 0;
    pthread_mutex_unlock(&state->mutex);
    if (!learning->live_only) {
        table->codes = looking->table->codes;
        recall_table_make(table, learning->needs, learning->stored,
                          learning->count - learning->stored);
    }
    recall_table_overlay(table, live, count);
    free(live);
}

/* ---- a slice ---- */

static void learning_begin(const struct looking *looking, bool idle, struct learning *learning)
{
    struct recall_state *state = looking->vector->recall;
    pthread_mutex_lock(&state->mutex);
    learning->live_only = idle && state->known && state->table.stored >= STORED_IDLE &&
                          !codes_changed(&state->table, looking->table->codes);
    pthread_mutex_unlock(&state->mutex);
    if (!learning->live_only) {
        learning->wanted_stored = idle ? STORED_IDLE : STORED_FIRST;
        learning->wanted = learning->wanted_stored + (idle ? MADE_IDLE : MADE_FIRST);
    }
    learning->needs =
        allocate(size_product(learning->wanted + SLICE_QUERIES, sizeof *learning->needs));
    learning->random = looking->table->stamp;
}

/* Stored points first, then shifted copies. */
static size_t draw_probes(struct looking *looking, struct learning *learning, struct probe *probes,
                          size_t most)
{
    size_t count = 0;
    while (count < most && learning->count + count < learning->wanted) {
        const size_t at = learning->count + count;
        if (!draw_point(looking, &learning->random, &probes[count])) {
            if (++learning->misses > 100 * STORED_IDLE) {
                learning->wanted = at; /* nearly all are dead: enough */
            }
            continue;
        }
        if (at >= learning->wanted_stored && at % (SHIFTS + 1) == SHIFTS) {
            shuffle_probe(looking, &learning->random, &probes[count]);
        } else if (at >= learning->wanted_stored) {
            shift_probe(looking, shifts[at % (SHIFTS + 1)], &learning->random, &probes[count]);
        } else {
            learning->stored++;
        }
        count++;
    }
    return count;
}

static enum error learn_slice(struct looking *looking, struct learning *learning, bool *done,
                              bool *sampled)
{
    struct probe probes[SLICE_QUERIES];
    uint64_t most = SLICE_CODES / looking->table->codes;
    most = most < 1 ? 1 : most > SLICE_QUERIES ? SLICE_QUERIES : most;
    enum error error = OK;
    size_t count = draw_probes(looking, learning, probes, (size_t)most);
    if (count > 0) {
        error = look_at(looking, probes, count, learning->needs + learning->count);
        learning->count += count;
        return error;
    }
    count = take_live(looking, probes, (size_t)most);
    if (count > 0) {
        struct needs needs[SLICE_QUERIES];
        *sampled = true;
        error = look_at(looking, probes, count, needs);
        if (error == OK) {
            keep_live(looking, probes, needs, count);
        }
        return error;
    }
    *done = true;
    return OK;
}

/* Learning live queries only, too few of them for a new table. */
static bool nothing_new(const struct looking *looking, const struct learning *learning)
{
    struct recall_state *state = looking->vector->recall;
    pthread_mutex_lock(&state->mutex);
    const bool few = learning->live_only && state->live_since < LIVE_STEP;
    pthread_mutex_unlock(&state->mutex);
    return few;
}

enum error recall_learn(struct collection *collection, const struct collection_vector *vector,
                        const struct view *view, bool idle, struct search_workspace *workspace,
                        struct learning **learning, bool *done, bool *sampled,
                        struct recall_table *table)
{
    struct looking looking = {
        .collection = collection, .vector = vector, .view = view, .workspace = workspace};
    *done = *sampled = false;
    enum error error = centre_table_acquire(vector, view, &looking.table);
    if (error != OK) {
        return error;
    }
    arena_init(&looking.arena);
    if (*learning == NULL) {
        *learning = allocate_zeroed(1, sizeof **learning);
        learning_begin(&looking, idle, *learning);
    }
    bool complete = false;
    if (looking.table->codes > 0) {
        error = learn_slice(&looking, *learning, &complete, sampled);
    }
    if (error == OK && complete && !nothing_new(&looking, *learning)) {
        make_table(&looking, *learning, table);
        *done = true;
    }
    if (error != OK || complete || looking.table->codes == 0) {
        learning_free(*learning);
        *learning = NULL;
    }
    arena_release(&looking.arena);
    centre_table_release(vector, looking.table);
    return error;
}
