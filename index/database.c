/* Collections of one data directory: a table of the open ones, counted holders, and a list of those
 * nobody holds, least recently used first.
 *
 * One mutex guards all of it and is held while an environment is opened or closed (about 0.1 ms for
 * a small collection): an environment must never be open twice in a process, and with one lock it
 * cannot be. It is not held while files are removed; the collection stays in the table, marked, so
 * that nobody opens it again meanwhile.
 */
#include "index/database.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "index/centre_table.h"
#include "index/filter_sets.h"
#include "index/plan.h"
#include "index/recall.h"
#include "index/settings.h"
#include "storage/compact.h"
#include "index/utf8.h"
#include "index/verify.h"

#define SETTINGS_BYTES_MAX ((size_t)1024 * 1024) /* of the catalogue */

struct database {
    struct database_options options;
    struct store *store;
    struct apply_scratch *apply_scratch; /* of the writer thread */
    /* One change of the catalogue at a time, and with a delete the table's change that belongs to
     * it; taken before the mutex. */
    pthread_mutex_t changing;
    pthread_mutex_t mutex;
    pthread_cond_t released; /* what a deletion waits for has come */
    /* under the mutex */
    struct collection **buckets;
    size_t bucket_count;                /* a power of two */
    size_t open_count;                  /* environments open */
    struct collection *oldest, *newest; /* of the collections nobody holds */
};

struct database_options database_options_default(void)
{
    return (struct database_options){
        .storage = store_options_default(),
        .max_open_collections = 512,
        .first_generation_codes = 1024,
        .generation_codes = 16384,
        .sparse_tail_points = 4096,
        .partition_start_codes = 8192,
        .plan_bytes = UINT64_C(1) << 20,
    };
}

const struct database_options *database_options(const struct database *database)
{
    return &database->options;
}

uint32_t database_writer_reader(const struct database *database)
{
    return database->options.storage.reader_count;
}

struct apply_scratch *database_apply_scratch(struct database *database)
{
    return database->apply_scratch;
}

struct store *database_store(struct database *database)
{
    return database->store;
}

/* ---- names ---- */

bool collection_name_valid(struct span name)
{
    if (name.bytes == 0 || name.bytes > COLLECTION_NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.bytes;) {
        const uint8_t byte = name.data[i];
        if (byte == 0 || byte == 0x1f || (byte < 0x80 && strchr("<>:\"/\\|?*", byte) != NULL)) {
            return false;
        }
        const size_t length = utf8_length(span_of(name.data + i, name.bytes - i));
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

/* ---- the table and the list; all under the mutex ---- */

static uint64_t name_hash(struct span name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < name.bytes; i++) {
        hash = (hash ^ name.data[i]) * 0x100000001b3u;
    }
    return hash;
}

static struct collection **bucket_of(struct database *database, uint64_t hash)
{
    return &database->buckets[hash & (database->bucket_count - 1)];
}

static struct collection *table_find(struct database *database, struct span name, uint64_t hash)
{
    struct collection *collection = *bucket_of(database, hash);
    while (collection != NULL &&
           !(collection->name_hash == hash && span_equal(collection->name, name))) {
        collection = collection->bucket_next;
    }
    return collection;
}

static void table_add(struct database *database, struct collection *collection)
{
    struct collection **bucket = bucket_of(database, collection->name_hash);
    collection->bucket_next = *bucket;
    *bucket = collection;
}

static void table_remove(struct database *database, struct collection *collection)
{
    struct collection **link = bucket_of(database, collection->name_hash);
    while (*link != collection) {
        link = &(*link)->bucket_next;
    }
    *link = collection->bucket_next;
}

static void idle_add(struct database *database, struct collection *collection)
{
    collection->older = database->newest;
    collection->newer = NULL;
    *(database->newest != NULL ? &database->newest->newer : &database->oldest) = collection;
    database->newest = collection;
}

static void idle_remove(struct database *database, struct collection *collection)
{
    *(collection->older != NULL ? &collection->older->newer : &database->oldest) =
        collection->newer;
    *(collection->newer != NULL ? &collection->newer->older : &database->newest) =
        collection->older;
    collection->older = collection->newer = NULL;
}

/* ---- opening and closing one ---- */

static struct kept_config *config_new(struct span config, struct kept_config *older)
{
    struct kept_config *kept = allocate(sizeof *kept + config.bytes);
    kept->older = older;
    kept->bytes = config.bytes;
    if (config.bytes > 0) {
        memcpy(kept->data, config.data, config.bytes);
    }
    return kept;
}

static void config_free(struct kept_config *config)
{
    while (config != NULL) {
        struct kept_config *older = config->older;
        free(config);
        config = older;
    }
}

static struct collection *collection_new(struct database *database, struct span name, uint64_t hash)
{
    struct collection *collection = allocate_zeroed(1, sizeof *collection);
    collection->database = database;
    collection->name_data = allocate(name.bytes);
    memcpy(collection->name_data, name.data, name.bytes);
    collection->name = span_of(collection->name_data, name.bytes);
    collection->name_hash = hash;
    return collection;
}

static void close_vectors(struct collection *collection)
{
    for (uint32_t i = 0; collection->vectors != NULL && i < collection->settings.vector_count;
         i++) {
        codec_free(collection->vectors[i].codec);
        centre_cache_free(collection->vectors[i].centres);
        recall_state_free(collection->vectors[i].recall);
        maintenance_free(collection->vectors[i].maintenance);
    }
    free(collection->vectors);
}

static struct codec *codec_of_settings(const struct vector_settings *settings)
{
    const unsigned bits = settings->code_bits == CODE_NONE ? CODE_4 : settings->code_bits;
    const bool two_stages = bits == CODE_4 || bits == CODE_8;
    return codec_new_scaled(settings->dim, settings->seed,
                            two_stages ? codec_first_bits_for(settings->dim) : bits,
                            two_stages ? bits : CODE_NONE, settings->code_scale, NULL);
}

/* Their codecs, and the shapes they have in storage. */
static void open_vectors(struct collection *collection, struct vector_shape *shapes)
{
    const struct collection_settings *settings = &collection->settings;
    collection->vectors = allocate_zeroed(settings->vector_count + 1, sizeof *collection->vectors);
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        struct collection_vector *vector = &collection->vectors[i];
        *vector = (struct collection_vector){.number = (uint16_t)i,
                                             .settings = &settings->vectors[i],
                                             .centres = centre_cache_new(),
                                             .recall = recall_state_new()};
        shapes[i] = (struct vector_shape){.dim = vector->settings->dim,
                                          .removed = vector->settings->kind == VECTOR_NONE};
        if (vector->settings->dim > 0) {
            vector->codec = codec_of_settings(vector->settings);
            shapes[i].code_bytes =
                (uint32_t)codec_code_bytes(vector->codec, codec_second_bits(vector->codec));
            shapes[i].block_bytes = (uint32_t)codec_block_bytes(vector->codec);
        }
    }
}

/* Under the mutex, or nobody else has it. */
static void collection_free(struct collection *collection)
{
    compaction_end(collection->compaction);
    if (collection->sharers == NULL || --*collection->sharers == 0) {
        environment_close(collection->environment);
        free(collection->sharers);
    }
    config_free(atomic_load(&collection->config));
    filter_sets_free(collection->filter_sets);
    close_vectors(collection);
    free(collection->settings_bytes);
    free(collection->settings_vectors);
    free(collection->name_data);
    free(collection);
}

/* Settings, codec and environment. */
static enum error collection_open(struct database *database, struct collection *collection)
{
    uint64_t directory;
    size_t bytes;
    enum error error = catalog_get(database->store, collection->name, &directory,
                                   &collection->settings_bytes, &bytes);
    if (error != OK) {
        collection->settings_bytes = NULL;
        return error;
    }
    struct collection_settings *settings = &collection->settings;
    error = collection_settings_decode(span_of(collection->settings_bytes, bytes), settings,
                                       &collection->settings_vectors);
    if (error != OK) {
        return error;
    }
    atomic_store(&collection->config, config_new(settings->config, NULL));
    collection->filter_sets = filter_sets_new();
    struct vector_shape shapes[COLLECTION_VECTORS_MAX];
    open_vectors(collection, shapes);
    const struct environment_shape shape = {
        .vectors = shapes,
        .vector_count = settings->vector_count,
        .first_slot = settings->first_slot,
    };
    error = environment_open(database->store, directory, &shape, &collection->environment);
    if (error == OK) {
        collection->sharers = allocate_zeroed(1, sizeof *collection->sharers);
        *collection->sharers = 1;
    }
    return error;
}

/* Close idle collections, the least recently used first, down to the limit. */
static void close_surplus(struct database *database)
{
    while (database->open_count > database->options.max_open_collections &&
           database->oldest != NULL) {
        struct collection *collection = database->oldest;
        idle_remove(database, collection);
        table_remove(database, collection);
        collection_free(collection);
        database->open_count--;
    }
}

static enum error acquire_closed(struct database *database, struct span name, uint64_t hash,
                                 struct collection **collection)
{
    struct collection *opened = collection_new(database, name, hash);
    const enum error error = collection_open(database, opened);
    if (error != OK) {
        collection_free(opened);
        return error;
    }
    opened->holders = 1;
    table_add(database, opened);
    database->open_count++;
    close_surplus(database);
    *collection = opened;
    return OK;
}

/* A collection that is not open may be an alias of one that is. */
static enum error acquire(struct database *database, struct span name, bool aliases,
                          struct collection **collection)
{
    uint8_t target[ALIAS_TARGET_BYTES_MAX];
    size_t target_bytes;
    uint64_t hash = name_hash(name);
    struct collection *found = table_find(database, name, hash);
    if (found == NULL && aliases) {
        const enum error error = catalog_alias(database->store, name, target, &target_bytes);
        if (error == OK) {
            name = span_of(target, target_bytes);
            hash = name_hash(name);
            found = table_find(database, name, hash);
        } else if (error != ERROR_NOT_FOUND) {
            return error;
        }
    }
    if (found == NULL) {
        return acquire_closed(database, name, hash, collection);
    }
    if (found->deleting) {
        return ERROR_NOT_FOUND;
    }
    if (found->holders++ == 0) {
        idle_remove(database, found);
    }
    *collection = found;
    return OK;
}

static enum error acquire_locked(struct database *database, struct span name, bool aliases,
                                 struct collection **collection)
{
    *collection = NULL;
    if (!collection_name_valid(name)) {
        return ERROR_NOT_FOUND;
    }
    pthread_mutex_lock(&database->mutex);
    const enum error error = acquire(database, name, aliases, collection);
    pthread_mutex_unlock(&database->mutex);
    return error;
}

enum error collection_acquire(struct database *database, struct span name,
                              struct collection **collection)
{
    return acquire_locked(database, name, true, collection);
}

enum error collection_acquire_unaliased(struct database *database, struct span name,
                                        struct collection **collection)
{
    return acquire_locked(database, name, false, collection);
}

/* One that has a successor is done with once nobody holds it, and lets go of that. */
static void let_go(struct database *database, struct collection *collection)
{
    assert(collection->holders > 0);
    while (--collection->holders == 0 && collection->successor != NULL) {
        struct collection *successor = collection->successor;
        collection_free(collection);
        collection = successor;
        assert(collection->holders > 0);
    }
    if (collection->holders > 0) {
        return;
    }
    struct kept_config *config = atomic_load(&collection->config);
    config_free(config->older); /* nobody reads them any more */
    config->older = NULL;
    if (collection->deleting) {
        pthread_cond_signal(&database->released);
    } else {
        idle_add(database, collection);
        close_surplus(database);
    }
}

void collection_release(struct collection *collection)
{
    if (collection == NULL) {
        return;
    }
    struct database *database = collection->database;
    pthread_mutex_lock(&database->mutex);
    let_go(database, collection);
    pthread_mutex_unlock(&database->mutex);
}

/* ---- the database ---- */

enum error database_open(const char *directory, bool create, const struct database_options *options,
                         struct database **database, char *why, size_t why_bytes)
{
    *database = NULL;
    struct store_options storage = options->storage;
    storage.reader_count++; /* collection_apply reads what was there before it */
    struct store *store;
    const enum error error = store_open(directory, create, &storage, &store, why, why_bytes);
    if (error != OK) {
        return error;
    }
    struct database *opened = allocate_zeroed(1, sizeof *opened);
    opened->options = *options;
    opened->store = store;
    opened->apply_scratch = apply_scratch_new();
    opened->bucket_count = 64;
    /* A limit, not a size: a table of 2^16 buckets serves any number of collections. */
    while (opened->bucket_count < options->max_open_collections && opened->bucket_count < 65536) {
        opened->bucket_count *= 2;
    }
    opened->buckets = allocate_zeroed(opened->bucket_count, sizeof(struct collection *));
    pthread_mutex_init(&opened->changing, NULL);
    pthread_mutex_init(&opened->mutex, NULL);
    pthread_cond_init(&opened->released, NULL);
    *database = opened;
    return OK;
}

void database_close(struct database *database)
{
    if (database == NULL) {
        return;
    }
    while (database->oldest != NULL) {
        struct collection *collection = database->oldest;
        idle_remove(database, collection);
        table_remove(database, collection);
        collection_free(collection);
        database->open_count--;
    }
    assert(database->open_count == 0);
    store_close(database->store);
    apply_scratch_free(database->apply_scratch);
    pthread_cond_destroy(&database->released);
    pthread_mutex_destroy(&database->mutex);
    pthread_mutex_destroy(&database->changing);
    free(database->buckets);
    free(database);
}

enum error database_create(struct database *database, struct span name,
                           const struct collection_settings *settings)
{
    if (!collection_name_valid(name) || !collection_settings_valid(settings)) {
        return ERROR_INVALID;
    }
    if (settings->config.bytes > SETTINGS_BYTES_MAX ||
        collection_settings_bytes(settings) > SETTINGS_BYTES_MAX) {
        return ERROR_TOO_LARGE;
    }
    size_t bytes;
    uint8_t *data = collection_settings_encode(settings, &bytes);
    uint64_t directory;
    pthread_mutex_lock(&database->changing);
    const enum error error =
        catalog_create(database->store, name, span_of(data, bytes), &directory);
    pthread_mutex_unlock(&database->changing);
    free(data);
    return error;
}

enum error database_configure(struct database *database, struct collection *collection,
                              struct span config)
{
    collection = collection_newest(collection);
    struct collection_settings settings = collection->settings;
    settings.config = config;
    if (config.bytes > SETTINGS_BYTES_MAX ||
        collection_settings_bytes(&settings) > SETTINGS_BYTES_MAX) {
        return ERROR_TOO_LARGE;
    }
    size_t bytes;
    uint8_t *data = collection_settings_encode(&settings, &bytes);
    pthread_mutex_lock(&database->changing);
    const enum error error =
        catalog_update(database->store, collection->name, span_of(data, bytes));
    pthread_mutex_unlock(&database->changing);
    free(data);
    if (error == OK) {
        struct kept_config *before = atomic_load(&collection->config);
        atomic_store_explicit(&collection->config, config_new(config, before),
                              memory_order_release);
    }
    return error;
}

/* ---- other vectors ---- */

/* Are those there in their places, or removed? */
static bool settings_follow(const struct collection_settings *before,
                            const struct collection_settings *after)
{
    if (after->vector_count < before->vector_count || after->first_slot != before->first_slot) {
        return false;
    }
    for (uint32_t i = 0; i < before->vector_count; i++) {
        const struct vector_settings *a = &before->vectors[i], *b = &after->vectors[i];
        if (b->kind != VECTOR_NONE && (a->kind != b->kind || a->metric != b->metric ||
                                       a->dim != b->dim || a->seed != b->seed)) {
            return false;
        }
    }
    return true;
}

/* An object of its own for the altered settings, given as bytes that it takes over. */
static struct collection *successor_new(struct collection *collection, uint8_t *data, size_t bytes,
                                        struct vector_shape *shapes)
{
    struct collection *successor =
        collection_new(collection->database, collection->name, collection->name_hash);
    successor->settings_bytes = data;
    const enum error error = collection_settings_decode(span_of(data, bytes), &successor->settings,
                                                        &successor->settings_vectors);
    assert(error == OK); /* they were encoded just now */
    atomic_store(&successor->config, config_new(successor->settings.config, NULL));
    open_vectors(successor, shapes);
    for (size_t i = 0; i < sizeof successor->meters / sizeof successor->meters[0]; i++) {
        atomic_store(&successor->meters[i], atomic_load(&collection->meters[i]));
    }
    successor->environment = collection->environment;
    successor->sharers = collection->sharers;
    return successor;
}

/* In the table in the place of the one before, which holds it. */
static void succeed(struct database *database, struct collection *collection,
                    struct collection *successor)
{
    pthread_mutex_lock(&database->mutex);
    ++*successor->sharers;
    successor->holders = 1;
    table_remove(database, collection);
    table_add(database, successor);
    collection->successor = successor;
    pthread_mutex_unlock(&database->mutex);
}

static enum error update_settings(struct database *database, const struct collection *collection,
                                  struct span data)
{
    pthread_mutex_lock(&database->changing);
    const enum error error = catalog_update(database->store, collection->name, data);
    pthread_mutex_unlock(&database->changing);
    return error;
}

/* The catalogue says again what this process goes on with. */
static void restore_settings(struct database *database, const struct collection *collection)
{
    struct collection_settings settings = collection->settings;
    settings.config = collection_config(collection);
    size_t bytes;
    uint8_t *data = collection_settings_encode(&settings, &bytes);
    const enum error error = update_settings(database, collection, span_of(data, bytes));
    (void)error; /* then the next opening has the altered ones, which is as well */
    free(data);
}

static enum error alter(struct database *database, struct collection *collection, uint8_t *data,
                        size_t bytes)
{
    struct vector_shape shapes[COLLECTION_VECTORS_MAX];
    enum error error = update_settings(database, collection, span_of(data, bytes));
    failpoint("index-alter-settings");
    if (error != OK) {
        free(data);
        return error;
    }
    struct collection *successor = successor_new(collection, data, bytes, shapes);
    const struct environment_shape shape = {shapes, successor->settings.vector_count,
                                            successor->settings.first_slot};
    error = environment_reshape(collection->environment, &shape);
    failpoint("index-alter-shaped");
    if (error != OK) {
        successor->environment = NULL;
        successor->sharers = NULL;
        collection_free(successor);
        restore_settings(database, collection);
        return error;
    }
    succeed(database, collection, successor);
    return OK;
}

/* A deletion that comes meanwhile waits. false: one is under way. */
static bool altering_begin(struct database *database, struct collection *collection)
{
    pthread_mutex_lock(&database->mutex);
    const bool begun = !collection->deleting;
    collection->altering = begun;
    pthread_mutex_unlock(&database->mutex);
    return begun;
}

static void altering_end(struct database *database, struct collection *collection)
{
    pthread_mutex_lock(&database->mutex);
    collection->altering = false;
    pthread_cond_signal(&database->released);
    pthread_mutex_unlock(&database->mutex);
}

enum error database_alter(struct database *database, struct collection *collection,
                          const struct collection_settings *settings)
{
    collection = collection_newest(collection);
    if (!collection_settings_valid(settings) || !settings_follow(&collection->settings, settings)) {
        return ERROR_INVALID;
    }
    if (collection->compaction != NULL) {
        return ERROR_BUSY;
    }
    if (settings->config.bytes > SETTINGS_BYTES_MAX ||
        collection_settings_bytes(settings) > SETTINGS_BYTES_MAX) {
        return ERROR_TOO_LARGE;
    }
    if (!altering_begin(database, collection)) {
        return ERROR_NOT_FOUND;
    }
    size_t bytes;
    uint8_t *data = collection_settings_encode(settings, &bytes);
    const enum error error = alter(database, collection, data, bytes);
    altering_end(database, collection);
    return error;
}

/* Mark a collection as being deleted and wait until nobody holds it. A closed one gets an entry
 * without an environment, so that it stays closed. */
static enum error delete_begin(struct database *database, struct span name,
                               struct collection **collection)
{
    const uint64_t hash = name_hash(name);
    struct collection *found = table_find(database, name, hash);
    while (found != NULL && found->altering) {
        pthread_cond_wait(&database->released, &database->mutex);
        found = table_find(database, name, hash);
    }
    if (found == NULL) {
        found = collection_new(database, name, hash);
        uint64_t directory;
        size_t bytes;
        const enum error error =
            catalog_get(database->store, name, &directory, &found->settings_bytes, &bytes);
        if (error != OK) {
            found->settings_bytes = NULL;
        }
        /* Damaged settings must not keep a collection from being deleted. */
        if (error == ERROR_NOT_FOUND) {
            collection_free(found);
            return error;
        }
        table_add(database, found);
        database->open_count++;
    } else if (found->deleting) {
        return ERROR_NOT_FOUND;
    } else if (found->holders == 0) {
        idle_remove(database, found);
    }
    found->deleting = true;
    while (found->holders > 0) {
        pthread_cond_wait(&database->released, &database->mutex);
    }
    environment_close(found->environment);
    found->environment = NULL;
    *collection = found;
    return OK;
}

enum error database_delete(struct database *database, struct span name)
{
    if (!collection_name_valid(name)) {
        return ERROR_NOT_FOUND;
    }
    struct collection *collection;
    pthread_mutex_lock(&database->mutex);
    enum error error = delete_begin(database, name, &collection);
    pthread_mutex_unlock(&database->mutex);
    if (error != OK) {
        return error;
    }
    pthread_mutex_lock(&database->changing);
    error = catalog_delete(database->store, name);
    pthread_mutex_lock(&database->mutex);
    table_remove(database, collection);
    database->open_count--;
    collection_free(collection);
    pthread_mutex_unlock(&database->mutex);
    pthread_mutex_unlock(&database->changing);
    return error;
}

/* ---- names of all ---- */

struct names {
    struct arena *arena;
    struct span *names;
    size_t count, capacity;
};

static enum error names_add(void *context, struct span name, uint64_t directory,
                            struct span settings)
{
    (void)directory;
    (void)settings;
    struct names *names = context;
    if (names->count == names->capacity) {
        const size_t capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        struct span *larger = arena_allocate(names->arena, size_product(capacity, sizeof *larger));
        if (names->count > 0) {
            memcpy(larger, names->names, names->count * sizeof *larger);
        }
        names->names = larger;
        names->capacity = capacity;
    }
    names->names[names->count++] =
        span_of(arena_copy(names->arena, name.data, name.bytes), name.bytes);
    return OK;
}

enum error database_names(struct database *database, struct arena *arena, struct span **names,
                          size_t *count)
{
    struct names all = {.arena = arena};
    const enum error error = catalog_each(database->store, names_add, &all);
    *names = all.names;
    *count = error == OK ? all.count : 0;
    return error;
}

struct each {
    enum error (*each)(void *context, struct span name, struct span bytes);
    void *context;
};

static enum error each_settings(void *context, struct span name, uint64_t directory,
                                struct span settings)
{
    const struct each *each = context;
    (void)directory;
    return each->each(each->context, name, settings);
}

enum error database_each(struct database *database,
                         enum error (*each)(void *context, struct span name, struct span bytes),
                         void *context)
{
    struct each all = {each, context};
    return catalog_each(database->store, each_settings, &all);
}

/* ---- aliases ---- */

enum error database_change_aliases(struct database *database, const struct alias_action *actions,
                                   size_t count, size_t *failed)
{
    pthread_mutex_lock(&database->changing);
    const enum error error = catalog_change_aliases(database->store, actions, count, failed);
    pthread_mutex_unlock(&database->changing);
    return error;
}

enum error database_has_alias(struct database *database, struct span name)
{
    uint8_t target[ALIAS_TARGET_BYTES_MAX];
    size_t target_bytes;
    return catalog_alias(database->store, name, target, &target_bytes);
}

struct alias_list {
    struct arena *arena;
    struct span collection; /* empty: of any */
    struct alias *items;
    size_t count, capacity;
};

static enum error aliases_add(void *context, struct span alias, struct span target)
{
    struct alias_list *list = context;
    if (list->collection.bytes > 0 && !span_equal(list->collection, target)) {
        return OK;
    }
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct alias *larger = arena_allocate(list->arena, size_product(capacity, sizeof *larger));
        if (list->count > 0) {
            memcpy(larger, list->items, list->count * sizeof *larger);
        }
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->count++] =
        (struct alias){span_of(arena_copy(list->arena, alias.data, alias.bytes), alias.bytes),
                       span_of(arena_copy(list->arena, target.data, target.bytes), target.bytes)};
    return OK;
}

enum error database_aliases(struct database *database, struct span collection, struct arena *arena,
                            struct alias **aliases, size_t *count)
{
    struct alias_list list = {.arena = arena, .collection = collection};
    const enum error error = catalog_each_alias(database->store, aliases_add, &list);
    *aliases = list.items;
    *count = error == OK ? list.count : 0;
    return error;
}

/* ---- for verify ---- */

struct counted_report {
    void (*report)(void *context, const char *text);
    void *context;
    uint64_t count;
};

static void report_counted(void *context, const char *text)
{
    struct counted_report *counted = context;
    counted->count++;
    counted->report(counted->context, text);
}

enum error database_verify(struct database *database,
                           void (*report)(void *context, const char *text), void *context,
                           uint64_t *problems)
{
    struct counted_report counted = {report, context, 0};
    const enum error error = catalog_verify(database->store, report_counted, &counted);
    *problems = counted.count;
    return error;
}

enum error database_unmark(struct database *database, struct span name, bool *was)
{
    uint64_t directory;
    uint8_t *settings;
    size_t bytes;
    *was = false;
    enum error error = catalog_get(database->store, name, &directory, &settings, &bytes);
    if (error != OK) {
        return error;
    }
    free(settings);
    *was = store_is_marked(database->store, directory);
    return *was ? store_unmark(database->store, directory) : OK;
}
