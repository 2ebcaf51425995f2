/* int8 rows of centres, their cache, and queries against them. */
#include "index/centre_table.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>

#define TABLES_KEPT 4u
#define SORT_FIRST 24u
/* How far above its centre's inner product a partition's points are taken to reach, in radii across
 * one direction: 3 halves what 1 and 2 read for a recall of .99 (raw GloVe). */
#define REACH_FACTOR 3.0f

struct centre_chunk {
    atomic_uint references;
    float steps[CENTRE_CHUNK];   /* of a row's levels */
    float squares[CENTRE_CHUNK]; /* |m|^2 */
    int8_t rows[];               /* [CENTRE_CHUNK][stride] */
};

struct centre_cache {
    pthread_mutex_t mutex;
    struct centre_table *tables[TABLES_KEPT]; /* newest first; NULL at the end */
};

static size_t stride_of(uint32_t dim)
{
    return ((size_t)dim + 63) / 64 * 64;
}

/* ---- tables ---- */

static struct centre_chunk *chunk_new(uint32_t dim, const struct centre_chunk *from)
{
    const size_t bytes = sizeof(struct centre_chunk) + CENTRE_CHUNK * stride_of(dim);
    struct centre_chunk *chunk = allocate_aligned((bytes + 63) / 64 * 64);
    if (from != NULL) {
        memcpy(chunk, from, bytes);
    } else {
        memset(chunk, 0, bytes);
    }
    atomic_init(&chunk->references, 1);
    return chunk;
}

static void chunk_release(struct centre_chunk *chunk)
{
    if (chunk != NULL && atomic_fetch_sub(&chunk->references, 1) == 1) {
        free(chunk);
    }
}

static int8_t level_of(float x, float per_step)
{
    return (int8_t)lrintf(x * per_step);
}

static void row_put(struct centre_chunk *chunk, uint32_t dim, size_t i, const uint8_t *centre)
{
    int8_t *row = chunk->rows + i * stride_of(dim);
    float largest = 0.0f;
    double square = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        const float x = load_float(centre + j * sizeof x);
        largest = fabsf(x) > largest ? fabsf(x) : largest;
        square += (double)x * (double)x;
    }
    const float per_step = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (uint32_t j = 0; j < dim; j++) {
        row[j] = level_of(load_float(centre + j * sizeof(float)), per_step);
    }
    chunk->steps[i] = largest / 127.0f;
    chunk->squares[i] = (float)square;
}

static size_t chunk_count(size_t count)
{
    return (count + CENTRE_CHUNK - 1) / CENTRE_CHUNK;
}

/* A table for `count` indexes with what `before`, or NULL, has. */
static struct centre_table *table_new(const struct centre_table *before, size_t count)
{
    struct centre_table *table = allocate_zeroed(1, sizeof *table);
    table->count = (uint32_t)count;
    table->entries = allocate_zeroed(count + 1, sizeof *table->entries);
    table->chunks = allocate_zeroed(chunk_count(count) + 1, sizeof(struct centre_chunk *));
    if (before != NULL) {
        table->live = before->live;
        table->codes = before->codes;
        table->damaged = before->damaged;
        memcpy(table->entries, before->entries, before->count * sizeof *table->entries);
        for (size_t i = 0; i < chunk_count(before->count); i++) {
            table->chunks[i] = before->chunks[i];
            atomic_fetch_add(&table->chunks[i]->references, 1);
        }
    }
    return table;
}

static void table_free(struct centre_table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < chunk_count(table->count); i++) {
        chunk_release(table->chunks[i]);
    }
    free(table->chunks);
    free(table->entries);
    free(table);
}

static void table_change(struct centre_table *table, uint32_t dim,
                         const struct centre_change *change)
{
    struct centre_entry *entry = &table->entries[change->index];
    table->live = table->live - (entry->codes > 0) + (change->entry.codes > 0);
    table->codes = table->codes - entry->codes + change->entry.codes;
    *entry = change->entry;
    if (change->centre == NULL || change->entry.codes == 0) {
        return;
    }
    struct centre_chunk **chunk = &table->chunks[change->index / CENTRE_CHUNK];
    if (*chunk == NULL || atomic_load(&(*chunk)->references) > 1) {
        struct centre_chunk *own = chunk_new(dim, *chunk);
        chunk_release(*chunk);
        *chunk = own;
    }
    row_put(*chunk, dim, change->index % CENTRE_CHUNK, change->centre);
}

/* Every chunk exists, so that a query need not ask. */
static void table_fill(struct centre_table *table, uint32_t dim)
{
    for (size_t i = 0; i < chunk_count(table->count); i++) {
        if (table->chunks[i] == NULL) {
            table->chunks[i] = chunk_new(dim, NULL);
        }
    }
}

static enum error table_load(const struct collection_vector *vector, const struct view *view,
                             struct centre_table **loaded)
{
    const uint64_t count = view_partition_count(view, vector->number);
    struct centre_table *table = table_new(NULL, (size_t)count);
    for (uint64_t i = 0; i < count; i++) {
        struct partition partition;
        const enum error error = view_partition(view, vector->number, i, &partition);
        if (error == ERROR_NOT_FOUND) {
            continue;
        }
        if (error == ERROR_CORRUPT) {
            table->damaged++; /* verify reports it, and so does every search */
            continue;
        }
        if (error != OK) {
            table_free(table);
            return error;
        }
        const struct centre_change change = {
            (uint32_t)i,
            partition.centre,
            {(uint32_t)partition.code_count, partition.radius, partition.flags}};
        table_change(table, vector->settings->dim, &change);
    }
    table_fill(table, vector->settings->dim);
    table->stamp = view_vector_counters(view, vector->number)->partition_stamp;
    *loaded = table;
    return OK;
}

float centre_table_square(const struct centre_table *table, uint32_t index)
{
    return table->chunks[index / CENTRE_CHUNK]->squares[index % CENTRE_CHUNK];
}

/* ---- the cache ---- */

struct centre_cache *centre_cache_new(void)
{
    struct centre_cache *cache = allocate_zeroed(1, sizeof *cache);
    pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

void centre_cache_free(struct centre_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < TABLES_KEPT; i++) {
        assert(cache->tables[i] == NULL || cache->tables[i]->references == 1);
        table_free(cache->tables[i]);
    }
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

/* Under the mutex: a table that holds a reference less; the one to free, or NULL. */
static struct centre_table *unreference(struct centre_table *table)
{
    return table != NULL && --table->references == 0 ? table : NULL;
}

/* Keep a table in order of stamps; what falls out is returned for freeing. Under the mutex. */
static struct centre_table *cache_put(struct centre_cache *cache, struct centre_table *table)
{
    size_t at = 0;
    while (at < TABLES_KEPT && cache->tables[at] != NULL &&
           cache->tables[at]->stamp > table->stamp) {
        at++;
    }
    if (at == TABLES_KEPT) {
        return NULL; /* an old one: its reader keeps it alone */
    }
    struct centre_table *last = cache->tables[TABLES_KEPT - 1];
    memmove(&cache->tables[at + 1], &cache->tables[at],
            (TABLES_KEPT - 1 - at) * sizeof(struct centre_table *));
    cache->tables[at] = table;
    table->references++;
    return unreference(last);
}

static struct centre_table *cache_find(struct centre_cache *cache, uint64_t stamp)
{
    for (size_t i = 0; i < TABLES_KEPT && cache->tables[i] != NULL; i++) {
        if (cache->tables[i]->stamp == stamp) {
            return cache->tables[i];
        }
    }
    return NULL;
}

enum error centre_table_acquire(const struct collection_vector *vector, const struct view *view,
                                const struct centre_table **table)
{
    struct centre_cache *cache = vector->centres;
    const uint64_t stamp = view_vector_counters(view, vector->number)->partition_stamp;
    pthread_mutex_lock(&cache->mutex);
    struct centre_table *found = cache_find(cache, stamp);
    if (found != NULL) {
        found->references++;
    }
    pthread_mutex_unlock(&cache->mutex);
    *table = found;
    if (found != NULL) {
        return OK;
    }
    const enum error error = table_load(vector, view, &found);
    if (error != OK) {
        return error;
    }
    found->references = 1;
    pthread_mutex_lock(&cache->mutex);
    struct centre_table *dropped =
        cache_find(cache, stamp) == NULL ? cache_put(cache, found) : NULL;
    pthread_mutex_unlock(&cache->mutex);
    table_free(dropped);
    *table = found;
    return OK;
}

void centre_table_release(const struct collection_vector *vector, const struct centre_table *table)
{
    if (table == NULL) {
        return;
    }
    struct centre_table *own = (struct centre_table *)(uintptr_t)table;
    pthread_mutex_lock(&vector->centres->mutex);
    struct centre_table *dropped = unreference(own);
    pthread_mutex_unlock(&vector->centres->mutex);
    table_free(dropped);
}

void centre_table_advance(const struct collection_vector *vector, const struct centre_table *before,
                          const struct centre_change *changes, size_t count)
{
    struct centre_cache *cache = vector->centres;
    size_t indexes = before->count;
    for (size_t i = 0; i < count; i++) {
        if (changes[i].entry.codes > 0 && changes[i].index >= indexes) {
            indexes = (size_t)changes[i].index + 1;
        }
    }
    struct centre_table *table = table_new(before, indexes);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].index < indexes) {
            table_change(table, vector->settings->dim, &changes[i]);
        }
    }
    table_fill(table, vector->settings->dim);
    table->stamp = before->stamp + 1;
    pthread_mutex_lock(&cache->mutex);
    struct centre_table *dropped = cache_put(cache, table);
    pthread_mutex_unlock(&cache->mutex);
    table_free(dropped);
}

void centre_table_forget(const struct collection_vector *vector, uint64_t stamp)
{
    struct centre_cache *cache = vector->centres;
    struct centre_table *dropped = NULL;
    pthread_mutex_lock(&cache->mutex);
    for (size_t i = 0; i < TABLES_KEPT && cache->tables[i] != NULL; i++) {
        if (cache->tables[i]->stamp == stamp) {
            dropped = unreference(cache->tables[i]);
            memmove(&cache->tables[i], &cache->tables[i + 1],
                    (TABLES_KEPT - 1 - i) * sizeof(struct centre_table *));
            cache->tables[TABLES_KEPT - 1] = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&cache->mutex);
    table_free(dropped);
}

/* ---- queries ---- */

void centre_query_release(struct centre_query *query)
{
    scratch_release(&query->row);
    scratch_release(&query->ranks);
}

/* n: a multiple of 64, rows padded with zeros. */
static int32_t dot_int8(const int8_t *a, const int8_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* The query's own int8 row; returns the step of its levels. */
static float query_row(struct centre_query *query, const float *vector, uint32_t dim, float *norm)
{
    int8_t *row = scratch_need(&query->row, stride_of(dim));
    float largest = 0.0f;
    double square = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        largest = fabsf(vector[j]) > largest ? fabsf(vector[j]) : largest;
        square += (double)vector[j] * (double)vector[j];
    }
    const float per_step = largest > 0.0f ? 127.0f / largest : 0.0f;
    memset(row, 0, stride_of(dim));
    for (uint32_t j = 0; j < dim; j++) {
        row[j] = level_of(vector[j], per_step);
    }
    *norm = (float)sqrt(square);
    return largest / 127.0f;
}

void centre_query_run(struct centre_query *query, const struct codec *codec, enum metric metric,
                      const struct centre_table *table, const float *vector)
{
    const uint32_t dim = codec_dim(codec);
    const size_t stride = stride_of(dim);
    float norm;
    const float step = query_row(query, vector, dim, &norm);
    const int8_t *row = query->row.data;
    const float reach = REACH_FACTOR * norm / sqrtf((float)dim);
    struct centre_rank *next =
        scratch_need(&query->ranks, size_product((size_t)table->count + 1, sizeof *next));
    query->order = next;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct centre_entry *entry = &table->entries[i];
        if (entry->codes == 0) {
            continue;
        }
        const struct centre_chunk *chunk = table->chunks[i / CENTRE_CHUNK];
        const size_t at = i % CENTRE_CHUNK;
        const float product =
            (float)dot_int8(chunk->rows + at * stride, row, stride) * chunk->steps[at] * step;
        const float value = metric == METRIC_DOT ? product + reach * entry->radius
                                                 : 2.0f * product - chunk->squares[at];
        *next++ = (struct centre_rank){isnan(value) ? INFINITY : value, i};
    }
    query->count = (size_t)(next - query->order);
    query->sorted = 0;
}

static bool rank_before(const struct centre_rank *a, const struct centre_rank *b)
{
    return a->value != b->value ? a->value > b->value : a->index < b->index;
}

static int compare_ranks(const void *a, const void *b)
{
    const struct centre_rank *x = a, *y = b;
    return rank_before(x, y) ? -1 : rank_before(y, x);
}

/* Bring the `wanted` first of ranks[count] to the front, in any order (Hoare's FIND). */
static void select_first(struct centre_rank *ranks, size_t count, size_t wanted)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)count - 1;
    const ptrdiff_t last = (ptrdiff_t)wanted - 1;
    while (low < high) {
        const struct centre_rank pivot = ranks[last];
        ptrdiff_t i = low, j = high;
        do {
            while (rank_before(&ranks[i], &pivot)) {
                i++;
            }
            while (rank_before(&pivot, &ranks[j])) {
                j--;
            }
            if (i <= j) {
                const struct centre_rank moved = ranks[i];
                ranks[i++] = ranks[j];
                ranks[j--] = moved;
            }
        } while (i <= j);
        low = j < last ? i : low;
        high = last < i ? j : high;
    }
}

const struct centre_rank *centre_query_at(struct centre_query *query, size_t i)
{
    assert(i < query->count);
    while (i >= query->sorted) {
        const size_t left = query->count - query->sorted;
        size_t take = query->sorted == 0 ? SORT_FIRST : query->sorted;
        take = take < left ? take : left;
        struct centre_rank *from = query->order + query->sorted;
        if (take < left) {
            select_first(from, left, take);
        }
        qsort(from, take, sizeof *from, compare_ranks);
        query->sorted += take;
    }
    return &query->order[i];
}
