/* Learning the table from stored points and sampled queries. */
#include <math.h>
#include <stdlib.h>

#include "index/recall_private.h"
#include "index/search.h"

#define STORED_FIRST 300u
#define STORED_IDLE 2000u
#define LIVE_LEAST 200u                /* live queries that decide alone */
#define LIVE_STEP 200u                 /* new ones after which the table is made anew */
#define CHANGE_SHARE 5u                /* of the codes: a fifth more or fewer */
#define SLICE_QUERIES 16u              /* of a slice, at most */
#define SLICE_CODES UINT64_C(20000000) /* scanned by a slice, about */

struct learning {
    struct needs *needs; /* of stored points */
    size_t count, wanted;
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

bool recall_is_due(const struct collection_vector *vector, const struct view *view, uint64_t codes,
                   bool idle)
{
    (void)recall_share(vector, view, RECALL_DEFAULT, codes, 10); /* loads what is stored */
    struct recall_state *state = vector->recall;
    pthread_mutex_lock(&state->mutex);
    bool due = !state->known || codes_changed(&state->table, codes);
    if (idle) {
        due = due || state->table.stored < STORED_IDLE || state->ring_count > 0 ||
              state->live_since >= LIVE_STEP;
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
    for (size_t i = 0; i < order.count; i++) {
        const uint32_t index = centre_query_at(&order, i);
        before[index] = (float)(read / (double)table->codes);
        read += (double)table->entries[index].codes;
    }
    needs->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const uint32_t partition = place_of(looking, slots[i])->partition;
        needs->share[i] = partition == UINT32_MAX ? 0.0f : before[partition];
    }
    free(before);
    centre_query_release(&order);
}

/* One query to look at: its vector, and the point it is, if it is one. */
struct probe {
    const float *vector;
    bool is_point;
    struct point_id id;
    uint64_t slots[RECALL_K]; /* of its nearest */
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
        .exclude_count = probe->is_point,
        .unsampled = true,
    };
    struct hit *hits;
    struct search_stats stats;
    const enum error error =
        collection_search(looking->collection, looking->view, &request, looking->workspace,
                          &looking->arena, &hits, &probe->count, &stats);
    for (size_t i = 0; error == OK && i < probe->count; i++) {
        probe->slots[i] = hits[i].slot;
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
                            .is_point = true,
                            .id = point.id};
    return true;
}

/* Up to `most` live queries out of the ring. */
static size_t take_live(struct looking *looking, struct probe *probes, size_t most)
{
    struct recall_state *state = looking->vector->recall;
    const size_t bytes = looking->vector->settings->dim * sizeof(float);
    size_t count = 0;
    pthread_mutex_lock(&state->mutex);
    while (count < most && state->ring_count > 0) {
        const uint8_t *last = (const uint8_t *)state->ring + --state->ring_count * bytes;
        probes[count++] = (struct probe){.vector = arena_copy(&looking->arena, last, bytes)};
    }
    pthread_mutex_unlock(&state->mutex);
    return count;
}

/* Keep what was found of live queries, and what they got. */
static void keep_live(struct looking *looking, const struct needs *needs, size_t count)
{
    struct recall_state *state = looking->vector->recall;
    const double share =
        recall_share(looking->vector, looking->view, RECALL_DEFAULT, looking->table->codes, 10);
    pthread_mutex_lock(&state->mutex);
    if (state->live == NULL) {
        state->live = allocate(size_product(LIVE_MAX, sizeof *state->live));
    }
    for (size_t i = 0; i < count; i++) {
        const size_t ten = needs[i].count < 10 ? needs[i].count : 10;
        size_t found = 0;
        for (size_t j = 0; j < ten; j++) {
            found += (double)needs[i].share[j] <= share;
        }
        state->figures.queries++;
        state->figures.found += ten > 0 ? (double)found / (double)ten : 1.0;
        state->live[state->live_next++ % LIVE_MAX] = needs[i];
        state->live_count += state->live_count < LIVE_MAX;
    }
    state->live_since += count;
    pthread_mutex_unlock(&state->mutex);
}

/* ---- the table ---- */

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Mean over the queries of what a share finds of the k nearest, and its standard error. */
static double found_by(const struct needs *needs, size_t count, size_t k, float share,
                       double *error)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        const size_t most = needs[i].count < k ? needs[i].count : k;
        size_t found = 0;
        for (size_t j = 0; j < most; j++) {
            found += needs[i].share[j] <= share;
        }
        const double of = most > 0 ? (double)found / (double)most : 1.0;
        sum += of;
        squares += of * of;
    }
    const double n = (double)count, mean = sum / n;
    *error = sqrt(fmax(squares / n - mean * mean, 0.0) / n);
    return mean;
}

/* The least share that finds each level's recall, and one standard error more. */
static void learn_shares(const struct needs *needs, size_t count, size_t k,
                         float shares[RECALL_LEVELS])
{
    float *all = allocate(size_product(count * k + 1, sizeof *all));
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < k && j < needs[i].count; j++) {
            all[total++] = needs[i].share[j];
        }
    }
    all[total++] = 1.0f;
    qsort(all, total, sizeof *all, compare_floats);
    for (size_t level = 0; level < RECALL_LEVELS; level++) {
        size_t low = 0, high = total - 1; /* all[high] is enough */
        while (low < high) {
            const size_t middle = (low + high) / 2;
            double error;
            const double mean = found_by(needs, count, k, all[middle], &error);
            if (mean >= fmin(recall_levels[level] + error, 1.0 - 1e-9)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        /* A little above: a partition is read when less than the share was read before it. */
        shares[level] = fminf(all[high] * 1.0001f + 1e-5f, 1.0f);
    }
    free(all);
}

static void make_table(struct looking *looking, const struct learning *learning,
                       struct recall_table *table)
{
    struct recall_state *state = looking->vector->recall;
    pthread_mutex_lock(&state->mutex);
    const bool live = state->live_count >= LIVE_LEAST;
    const size_t count = live ? state->live_count : learning->count;
    struct needs *needs = allocate(size_product(count + 1, sizeof *needs));
    memcpy(needs, live ? state->live : learning->needs, count * sizeof *needs);
    state->live_since = 0;
    *table = (struct recall_table){.codes = looking->table->codes,
                                   .stored = learning->live_only ? state->table.stored
                                                                 : (uint32_t)learning->count,
                                   .live = live ? (uint32_t)count : 0};
    pthread_mutex_unlock(&state->mutex);
    learn_shares(needs, count, 10, table->share[0]);
    learn_shares(needs, count, RECALL_K, table->share[1]);
    free(needs);
}

/* ---- a slice ---- */

static void learning_begin(const struct looking *looking, bool idle, struct learning *learning)
{
    const struct recall_state *state = looking->vector->recall;
    learning->wanted = idle ? STORED_IDLE : STORED_FIRST;
    learning->live_only = idle && state->known && state->table.stored >= STORED_IDLE &&
                          !codes_changed(&state->table, looking->table->codes);
    learning->wanted = learning->live_only ? 0 : learning->wanted;
    learning->needs =
        allocate(size_product(learning->wanted + SLICE_QUERIES, sizeof *learning->needs));
    learning->random = looking->table->stamp;
}

static size_t draw_probes(struct looking *looking, struct learning *learning, struct probe *probes,
                          size_t most)
{
    size_t count = 0;
    while (count < most && learning->count + count < learning->wanted) {
        if (draw_point(looking, &learning->random, &probes[count])) {
            count++;
        } else if (++learning->misses > 100 * STORED_IDLE) {
            learning->wanted = learning->count + count; /* nearly all are dead: enough */
        }
    }
    return count;
}

static enum error learn_slice(struct looking *looking, struct learning *learning, bool *done)
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
        error = look_at(looking, probes, count, needs);
        if (error == OK) {
            keep_live(looking, needs, count);
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
    const bool few =
        learning->live_only && (state->live_since < LIVE_STEP || state->live_count < LIVE_LEAST);
    pthread_mutex_unlock(&state->mutex);
    return few;
}

enum error recall_learn(struct collection *collection, const struct collection_vector *vector,
                        const struct view *view, bool idle, struct search_workspace *workspace,
                        struct learning **learning, bool *done, struct recall_table *table)
{
    struct looking looking = {
        .collection = collection, .vector = vector, .view = view, .workspace = workspace};
    *done = false;
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
        error = learn_slice(&looking, *learning, &complete);
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
