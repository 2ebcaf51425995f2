/* Vectors that no run holds, by slot: sparse ones and multivectors; and the posting lists of the
 * sparse ones: for each index the slots and values that have it, ascending by slot, cut into chunks
 * of bounded size. Lifetimes and threads as in points.h. */
#ifndef KITH_STORAGE_LISTS_H
#define KITH_STORAGE_LISTS_H

#include "storage/points.h"

/* ---- stored vectors ---- */

struct stored_vector {
    uint32_t dim;        /* floats of each row of a multivector; 0: a sparse one */
    uint32_t count;      /* rows; pairs of a sparse one */
    const uint8_t *data; /* unaligned: float[count][dim]; u32 index[count], float value[count] */
};
size_t stored_data_bytes(const struct stored_vector *stored); /* of .data */

/* CRC checked at every read. ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error view_stored(const struct view *view, uint16_t vector, uint64_t slot,
                       struct stored_vector *out) MUST_CHECK;
/* The same as the transaction sees it; valid until the next write call. */
enum error write_read_stored(struct write *write, uint16_t vector, uint64_t slot,
                             struct stored_vector *out) MUST_CHECK;
enum error write_stored(struct write *write, uint16_t vector, uint64_t slot,
                        const struct stored_vector *stored) MUST_CHECK;
/* One that is not there is no error. */
enum error write_stored_remove(struct write *write, uint16_t vector, uint64_t slot) MUST_CHECK;

/* Calls each(context, slot, stored, error) for the stored vectors of slots from `from` on,
 * ascending, until it returns another than OK. error: OK, or ERROR_CORRUPT of this one, whose
 * `stored` is then NULL. */
typedef enum error stored_each(void *context, uint64_t slot, const struct stored_vector *stored,
                               enum error error);
enum error view_each_stored(const struct view *view, uint16_t vector, uint64_t from,
                            stored_each *each, void *context) MUST_CHECK;
/* The same as the transaction sees them; nothing may be written meanwhile. */
enum error write_each_stored(struct write *write, uint16_t vector, uint64_t from, stored_each *each,
                             void *context) MUST_CHECK;

/* ---- posting lists ---- */

#define LIST_ENTRY_BYTES 8u
#define LIST_CHUNK_MAX 240u /* of a chunk: two chunks fill a leaf page */

struct list_chunk {
    uint32_t index;
    uint64_t first_slot; /* of its first posting: part of its key */
    uint32_t count;      /* 1 to LIST_CHUNK_MAX */
    const uint8_t *data; /* (u32 slot - first_slot, float value)[count], ascending, unaligned */
};
static inline uint64_t list_slot(const struct list_chunk *chunk, size_t i)
{
    return chunk->first_slot + load32(chunk->data + i * LIST_ENTRY_BYTES);
}
static inline float list_value(const struct list_chunk *chunk, size_t i)
{
    return load_float(chunk->data + i * LIST_ENTRY_BYTES + 4);
}

/* Looks for chunks through a view, or in a transaction. */
struct list_reader {
    void *cursor;
    const struct view *view; /* one of the two */
    const struct write *write;
};
enum error view_lists_open(const struct view *view, struct list_reader *reader) MUST_CHECK;
/* To be closed before the next put: it may move what chunks point to. */
enum error write_lists_open(struct write *write, struct list_reader *reader) MUST_CHECK;
void lists_close(struct list_reader *reader);

/* The first chunk of a vector's lists at or behind (index, slot), in order of index and first slot.
 * ERROR_NOT_FOUND: none. A damaged one is ERROR_CORRUPT with out->index and first_slot set, so that
 * one can go on behind it. CRC checked at every read. */
enum error lists_find(struct list_reader *reader, uint16_t vector, uint32_t index, uint64_t slot,
                      struct list_chunk *out) MUST_CHECK;
/* The last chunk of an index's list; ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error lists_find_last(struct list_reader *reader, uint16_t vector, uint32_t index,
                           struct list_chunk *out) MUST_CHECK;

/* Put a chunk; another of the same index and first slot is replaced. data must not lie in the
 * file. */
enum error write_list_chunk(struct write *write, uint16_t vector,
                            const struct list_chunk *chunk) MUST_CHECK;
enum error write_list_chunk_remove(struct write *write, uint16_t vector, uint32_t index,
                                   uint64_t first_slot) MUST_CHECK;

#endif
