/* Tables of centres and their cache. */
#include "index/centre_table.h"

#include <assert.h>
#include <stdlib.h>

#define TABLES_KEPT 4u
#define LOAD_AHEAD 64u /* partitions whose pages are asked for together */

struct centre_cache {
    pthread_mutex_t mutex;
    struct centre_table *tables[TABLES_KEPT]; /* newest first; NULL at the end */
};

/* ---- tables ---- */

/* A table for `count` indexes with what `before`, or NULL, has. */
static struct centre_table *table_new(const struct codec *codec, const struct centre_table *before,
                                      size_t count)
{
    struct centre_table *table = allocate_zeroed(1, sizeof *table);
    table->count = (uint32_t)count;
    table->entries = allocate_zeroed(count + 1, sizeof *table->entries);
    table->places = allocate_zeroed(count + 1, sizeof *table->places);
    if (before != NULL) {
        table->live = before->live;
        table->codes = before->codes;
        table->damaged = before->damaged;
        memcpy(table->entries, before->entries, before->count * sizeof *table->entries);
        memcpy(table->places, before->places, before->count * sizeof *table->places);
        centre_groups_share(table, codec, before);
    }
    return table;
}

static void table_free(struct centre_table *table)
{
    if (table == NULL) {
        return;
    }
    centre_groups_release(table);
    free(table->entries);
    free(table->places);
    free(table);
}

static void table_change(struct centre_table *table, struct centre_placing *placing,
                         const struct centre_change *change)
{
    struct centre_entry *entry = &table->entries[change->index];
    const bool was = entry->codes > 0, is = change->entry.codes > 0;
    table->live = table->live - was + is;
    table->codes = table->codes - entry->codes + change->entry.codes;
    *entry = change->entry;
    assert(!is || was || change->centre != NULL);
    if (was && (!is || change->centre != NULL)) {
        centre_table_displace(table, placing->codec, change->index);
    }
    if (is && change->centre != NULL) {
        centre_table_place(table, placing, change->index, change->centre);
    }
}

/* Every partition of the view. */
static enum error table_load(const struct collection_vector *vector, const struct view *view,
                             struct centre_table **loaded)
{
    const uint64_t count = view_partition_count(view, vector->number);
    struct centre_table *table = table_new(vector->codec, NULL, (size_t)count);
    struct centre_placing placing;
    centre_placing_begin(&placing, vector->codec);
    enum error error = OK;
    for (uint64_t i = 0; i < count && error == OK; i++) {
        struct partition partition;
        if (i % LOAD_AHEAD == 0) {
            for (uint64_t j = i; j < i + LOAD_AHEAD && j < count; j++) {
                view_partition_prefetch_centre(view, vector->number, j);
            }
        }
        error = view_partition_head(view, vector->number, i, &partition);
        if (error == OK) {
            const struct centre_change change = {
                (uint32_t)i,
                partition.centre,
                {(uint32_t)partition.code_count, partition.radius, partition.flags}};
            table_change(table, &placing, &change);
        } else if (error == ERROR_NOT_FOUND || error == ERROR_CORRUPT) {
            /* What is damaged verify reports, and so does every search. */
            table->damaged += error == ERROR_CORRUPT;
            error = OK;
        }
    }
    centre_placing_end(&placing);
    if (error != OK) {
        table_free(table);
        return error;
    }
    table->stamp = view_vector_counters(view, vector->number)->partition_stamp;
    *loaded = table;
    return OK;
}

float centre_table_square(const struct centre_table *table, uint32_t index)
{
    const uint32_t place = table->places[index];
    return table->groups[place / CENTRE_GROUP]->squares[place % CENTRE_GROUP];
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
    struct centre_table *table = table_new(vector->codec, before, indexes);
    struct centre_placing placing;
    centre_placing_begin(&placing, vector->codec);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].index < indexes) {
            table_change(table, &placing, &changes[i]);
        }
    }
    centre_placing_end(&placing);
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
