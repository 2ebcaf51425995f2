/* Every live posting has its pair in the slot's stored vector, lists ascend, and there are as many
 * postings as pairs: so each pair that belongs in a list is there once. */
#include "index/verify_lists.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct lists {
    const struct collection_vector *vector;
    const struct view *view;
    void (*report)(void *context, const char *text);
    void *context;
    uint64_t tail_slot;
    uint64_t pairs;    /* of stored vectors that belong in lists */
    uint64_t tail;     /* stored vectors that do not */
    uint64_t postings; /* of live slots */
    uint64_t dead;     /* of dead ones */
};

__attribute__((format(printf, 2, 3))) static void say(const struct lists *lists, const char *format,
                                                      ...)
{
    char text[200];
    const int length = snprintf(text, sizeof text, "vector %u: ", (unsigned)lists->vector->number);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    lists->report(lists->context, text);
}

static enum error check_stored(void *context, uint64_t slot, const struct stored_vector *stored,
                               enum error error)
{
    struct lists *lists = context;
    struct point_row row;
    const enum error found = view_point(lists->view, slot, &row);
    if (found == ERROR_NOT_FOUND ||
        (found == OK && !vector_set_has(&row.vectors, lists->vector->number))) {
        say(lists, "stored vector of slot %" PRIu64 " belongs to no live point", slot);
    }
    if (slot >= lists->tail_slot) {
        lists->tail++;
    } else if (error == OK) { /* a damaged one is reported by its checksum */
        lists->pairs += stored->count;
    }
    return OK;
}

/* Has the stored vector this pair? */
static bool has_pair(const struct stored_vector *stored, uint32_t index, float value)
{
    uint32_t low = 0, high = stored->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (load32(stored->data + (size_t)middle * 4) < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const uint8_t *values = stored->data + (size_t)stored->count * 4;
    return low < stored->count && load32(stored->data + (size_t)low * 4) == index &&
           load_float(values + (size_t)low * 4) == value;
}

static void check_posting(struct lists *lists, uint32_t index, uint64_t slot, float value)
{
    struct stored_vector stored;
    if (view_is_dead(lists->view, slot)) {
        lists->dead++;
        return;
    }
    lists->postings++;
    const enum error error = view_stored(lists->view, lists->vector->number, slot, &stored);
    if (error == ERROR_NOT_FOUND || slot >= lists->tail_slot ||
        (error == OK && !has_pair(&stored, index, value))) {
        say(lists, "list of index %" PRIu32 " has slot %" PRIu64 ", whose vector has not", index,
            slot);
    }
}

static enum error check_chunks(struct lists *lists)
{
    struct list_reader reader;
    enum error error = view_lists_open(lists->view, &reader);
    uint32_t index = 0;
    uint64_t next = 0; /* slot */
    while (error == OK) {
        struct list_chunk chunk;
        error = lists_find(&reader, lists->vector->number, index, next, &chunk);
        if (error == ERROR_CORRUPT) { /* reported by its checksum */
            index = chunk.index;
            next = chunk.first_slot + 1;
            error = OK;
        } else if (error == OK) {
            const uint64_t last = list_slot(&chunk, chunk.count - 1);
            for (uint32_t i = 0; i < chunk.count; i++) {
                check_posting(lists, chunk.index, list_slot(&chunk, i), list_value(&chunk, i));
            }
            struct list_chunk behind;
            const enum error found = lists_find(&reader, lists->vector->number, chunk.index,
                                                chunk.first_slot + 1, &behind);
            if (found == OK && behind.index == chunk.index && behind.first_slot <= last) {
                say(lists, "chunks of index %" PRIu32 " overlap at slot %" PRIu64, chunk.index,
                    behind.first_slot);
            }
            index = chunk.index;
            next = chunk.first_slot + 1;
        }
    }
    lists_close(&reader);
    return error == ERROR_NOT_FOUND ? OK : error;
}

enum error lists_verify(const struct collection_vector *vector, const struct view *view,
                        void (*report)(void *context, const char *text), void *context)
{
    const struct vector_counters *counters = view_vector_counters(view, vector->number);
    struct lists lists = {.vector = vector,
                          .view = view,
                          .report = report,
                          .context = context,
                          .tail_slot = counters->tail_slot};
    enum error error = view_each_stored(view, vector->number, 0, check_stored, &lists);
    if (error != OK || vector->settings->kind != VECTOR_SPARSE) {
        return error;
    }
    error = check_chunks(&lists);
    if (error == OK && lists.postings != lists.pairs) {
        say(&lists, "%" PRIu64 " postings for %" PRIu64 " pairs", lists.postings, lists.pairs);
    }
    if (error == OK && lists.tail != counters->tail_count) {
        say(&lists, "counter tail is %" PRIu64 ", counted %" PRIu64, counters->tail_count,
            lists.tail);
    }
    if (error == OK && lists.dead > 0 && counters->dead_count == 0) {
        say(&lists, "lists have dead slots, but the counter says none");
    }
    return error;
}
