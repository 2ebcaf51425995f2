/* Writing sparse vectors.
 *
 * A new one is only stored: it belongs to the TAIL, which searches score one by one. When the tail
 * has grown to a share of the collection, all of it goes into the posting lists at once, ordered by
 * index: a vector touches as many lists as it has pairs, a few hundred vectors hardly more, so this
 * writes each list's last chunk once for all of them (one vector of 100 pairs at a time would write
 * 100 pages).
 *
 * What a removed point leaves in the lists is skipped by its dead bit. When a quarter is dead, a
 * SWEEP goes over the chunks, some at each commit, and leaves dead slots out. */
#include "index/collection_apply.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/lists.h"

#define TAIL_SHARE 64u              /* of the vectors: what the tail may grow to */
#define TAIL_MIN 256u               /* but at least this */
#define GATHER_PAIRS_MAX (1u << 18) /* taken into the lists in one transaction */
#define SWEEP_SHARE 4u              /* of the vectors: dead ones that begin a sweep */
#define SWEEP_DEAD_MIN 256u         /* but at least this many */
#define SWEEP_CHUNKS 256u           /* looked at in one transaction */

/* ---- one vector ---- */

enum error apply_sparse_add(struct apply *apply, uint64_t slot, const struct vector_data *vector)
{
    struct vector_counters *counters = write_vector_counters(apply->write, vector->number);
    const struct stored_vector stored = {.count = vector->count, .data = vector->data};
    counters->vector_count++;
    counters->tail_count++;
    return write_stored(apply->write, vector->number, slot, &stored);
}

enum error apply_sparse_remove(struct apply *apply, uint16_t number, uint64_t slot)
{
    struct vector_counters *counters = write_vector_counters(apply->write, number);
    uint64_t *counter = slot >= counters->tail_slot ? &counters->tail_count : NULL;
    if (counters->vector_count == 0 || (counter != NULL && *counter == 0)) {
        return ERROR_CORRUPT;
    }
    counters->vector_count--;
    if (counter != NULL) {
        --*counter;
    } else {
        counters->dead_count++;
    }
    return write_stored_remove(apply->write, number, slot);
}

/* ---- from the tail into the lists ---- */

struct pair {
    uint32_t index;
    uint32_t offset; /* of the slot from the first of the tail */
    float value;
};

struct gather {
    struct pair *pairs;
    size_t count, capacity;
    uint64_t first_slot, next_slot;
    uint64_t vectors;
};

static enum error gather_one(void *context, uint64_t slot, const struct stored_vector *stored,
                             enum error error)
{
    struct gather *gather = context;
    const size_t count = stored == NULL ? 0 : stored->count;
    if (slot - gather->first_slot > UINT32_MAX ||
        (gather->count > 0 && gather->count + count > GATHER_PAIRS_MAX)) {
        return ERROR_BUSY; /* enough for now */
    }
    (void)error; /* a damaged one is in no list: verify tells */
    gather->next_slot = slot + 1;
    gather->vectors++;
    if (stored == NULL || stored->dim != 0) {
        return OK;
    }
    if (gather->count + count > gather->capacity) {
        const size_t twice = 2 * gather->capacity;
        gather->capacity = gather->count + count > twice ? gather->count + count : twice;
        gather->pairs = grow(gather->pairs, size_product(gather->capacity, sizeof *gather->pairs));
    }
    for (size_t i = 0; i < count; i++) {
        gather->pairs[gather->count++] =
            (struct pair){load32(stored->data + 4 * i), (uint32_t)(slot - gather->first_slot),
                          load_float(stored->data + 4 * (count + i))};
    }
    return OK;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->index != y->index) {
        return x->index < y->index ? -1 : 1;
    }
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* A chunk that is being filled. */
struct filling {
    struct list_chunk chunk;
    uint8_t data[LIST_CHUNK_MAX * LIST_ENTRY_BYTES];
};

static void chunk_begin(struct filling *filling, uint32_t index, uint64_t slot)
{
    filling->chunk =
        (struct list_chunk){.index = index, .first_slot = slot, .count = 0, .data = filling->data};
}

static void chunk_add(struct filling *filling, uint64_t slot, float value)
{
    uint8_t *to = filling->data + filling->chunk.count++ * LIST_ENTRY_BYTES;
    store32(to, (uint32_t)(slot - filling->chunk.first_slot));
    store_float(to + 4, value);
}

/* The last chunk of the list, if it can take `slot`; else a new one. */
static enum error chunk_continue(struct list_reader *reader, uint16_t number, uint32_t index,
                                 uint64_t slot, struct filling *filling)
{
    struct list_chunk last;
    const enum error error = lists_find_last(reader, number, index, &last);
    chunk_begin(filling, index, slot);
    if (error != OK) {
        return error == ERROR_NOT_FOUND || error == ERROR_CORRUPT ? OK : error;
    }
    if (last.count < LIST_CHUNK_MAX && slot - last.first_slot <= UINT32_MAX) {
        filling->chunk.first_slot = last.first_slot;
        filling->chunk.count = last.count;
        memcpy(filling->data, last.data, last.count * LIST_ENTRY_BYTES);
    }
    return OK;
}

/* The pairs of one index, slots ascending. */
static enum error extend_list(struct apply *apply, struct list_reader *reader, uint16_t number,
                              const struct gather *gather, const struct pair *pairs, size_t count)
{
    struct filling filling;
    const uint32_t index = pairs[0].index;
    enum error error =
        chunk_continue(reader, number, index, gather->first_slot + pairs[0].offset, &filling);
    for (size_t i = 0; i < count && error == OK; i++) {
        const uint64_t slot = gather->first_slot + pairs[i].offset;
        if (filling.chunk.count == LIST_CHUNK_MAX || slot - filling.chunk.first_slot > UINT32_MAX) {
            error = write_list_chunk(apply->write, number, &filling.chunk);
            chunk_begin(&filling, index, slot);
        }
        chunk_add(&filling, slot, pairs[i].value);
    }
    return error == OK ? write_list_chunk(apply->write, number, &filling.chunk) : error;
}

static enum error extend_lists(struct apply *apply, uint16_t number, const struct gather *gather)
{
    struct list_reader reader;
    enum error error = write_lists_open(apply->write, &reader);
    for (size_t first = 0, end; first < gather->count && error == OK; first = end) {
        end = first + 1;
        while (end < gather->count && gather->pairs[end].index == gather->pairs[first].index) {
            end++;
        }
        error = extend_list(apply, &reader, number, gather, gather->pairs + first, end - first);
    }
    lists_close(&reader);
    return error;
}

static uint64_t tail_max(const struct apply *apply, const struct vector_counters *counters)
{
    const uint64_t most = database_options(apply->collection->database)->sparse_tail_points;
    const uint64_t share = counters->vector_count / TAIL_SHARE;
    const uint64_t wanted = share < TAIL_MIN ? TAIL_MIN : share;
    return wanted < most ? wanted : most;
}

static enum error take_tail(struct apply *apply, uint16_t number)
{
    struct vector_counters *counters = write_vector_counters(apply->write, number);
    struct gather gather = {.first_slot = counters->tail_slot, .next_slot = counters->tail_slot};
    failpoint("index-sparse-tail");
    enum error error =
        write_each_stored(apply->write, number, counters->tail_slot, gather_one, &gather);
    if (error == ERROR_BUSY || error == OK) {
        if (gather.count > 0) {
            qsort(gather.pairs, gather.count, sizeof *gather.pairs, compare_pairs);
        }
        error = extend_lists(apply, number, &gather);
    }
    if (error == OK) {
        counters->tail_slot = gather.next_slot;
        counters->tail_count -=
            gather.vectors < counters->tail_count ? gather.vectors : counters->tail_count;
    }
    free(gather.pairs);
    return error;
}

/* ---- the sweep ---- */

/* One chunk without its dead slots. Dead is what was dead in the version before. */
static enum error sweep_chunk(struct apply *apply, uint16_t number, const struct list_chunk *chunk)
{
    struct filling filling;
    const uint64_t first_slot = chunk->first_slot;
    const uint32_t count = chunk->count, index = chunk->index;
    filling.chunk.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t slot = list_slot(chunk, i);
        if (view_is_dead(&apply->view, slot)) {
            continue;
        }
        if (filling.chunk.count == 0) {
            chunk_begin(&filling, index, slot);
        }
        chunk_add(&filling, slot, list_value(chunk, i));
    }
    if (filling.chunk.count == count) {
        return OK;
    }
    failpoint("index-sparse-sweep");
    enum error error = OK;
    if (filling.chunk.count == 0 || filling.chunk.first_slot != first_slot) {
        error = write_list_chunk_remove(apply->write, number, index, first_slot);
    }
    return error == OK && filling.chunk.count > 0
               ? write_list_chunk(apply->write, number, &filling.chunk)
               : error;
}

/* Some chunks from where the last step ended. */
static enum error sweep(struct apply *apply, uint16_t number)
{
    struct vector_counters *counters = write_vector_counters(apply->write, number);
    struct list_reader reader;
    enum error error = write_lists_open(apply->write, &reader);
    for (uint32_t i = 0; i < SWEEP_CHUNKS && error == OK; i++) {
        struct list_chunk chunk;
        error = lists_find(&reader, number, (uint32_t)counters->sweep_index, counters->sweep_slot,
                           &chunk);
        if (error == OK) {
            counters->sweep_slot = list_slot(&chunk, chunk.count - 1) + 1;
            counters->sweep_index = chunk.index;
            error = sweep_chunk(apply, number, &chunk);
        } else if (error == ERROR_CORRUPT) { /* left alone: verify tells */
            counters->sweep_slot = chunk.first_slot + 1;
            counters->sweep_index = chunk.index;
            error = OK;
        } else if (error == ERROR_NOT_FOUND) { /* the end */
            counters->dead_count -= counters->sweep_dead < counters->dead_count
                                        ? counters->sweep_dead
                                        : counters->dead_count;
            counters->sweep_dead = counters->sweep_index = counters->sweep_slot = 0;
            break;
        }
    }
    lists_close(&reader);
    return error == ERROR_NOT_FOUND ? OK : error;
}

static void sweep_begin(struct apply *apply, uint16_t number)
{
    struct vector_counters *counters = write_vector_counters(apply->write, number);
    const uint64_t most = counters->vector_count / SWEEP_SHARE;
    const uint64_t least =
        SWEEP_DEAD_MIN < database_options(apply->collection->database)->sparse_tail_points
            ? SWEEP_DEAD_MIN
            : database_options(apply->collection->database)->sparse_tail_points;
    if (counters->sweep_dead == 0 && counters->dead_count > least && counters->dead_count > most) {
        /* What has died in this transaction is not seen as dead by it. */
        counters->sweep_dead = view_vector_counters(&apply->view, number)->dead_count;
    }
}

enum error apply_sparse_finish(struct apply *apply)
{
    const struct collection_settings *settings = &apply->collection->settings;
    enum error error = OK;
    for (uint16_t i = 0; i < settings->vector_count && error == OK; i++) {
        if (settings->vectors[i].kind != VECTOR_SPARSE) {
            continue;
        }
        const struct vector_counters *counters = write_vector_counters(apply->write, i);
        if (counters->tail_count > tail_max(apply, counters)) {
            error = take_tail(apply, i);
        }
        sweep_begin(apply, i);
        if (error == OK && counters->sweep_dead > 0) {
            error = sweep(apply, i);
        }
    }
    return error;
}
