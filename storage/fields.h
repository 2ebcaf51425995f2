/* Payload indexes: their definitions, and postings: which slots have a value.
 *
 * A FIELD is an index over one path of the payloads; it has a number that is never used again. Its
 * POSTINGS say, for a value's key and a chunk of 16,384 slots, which slots of the chunk have the
 * value. What a key means is index/'s affair (field_key.h); here it is bytes that sort, and no key
 * of a field may be the beginning of another. */
#ifndef KITH_STORAGE_FIELDS_H
#define KITH_STORAGE_FIELDS_H

#include "storage/points.h"

#define FIELD_KEY_BYTES_MAX 480u
#define FIELD_NAME_BYTES_MAX 1024u /* its path */
#define FIELD_SCHEMA_BYTES_MAX ((size_t)1 << 20)
#define POSTING_CHUNK_BITS 14
#define POSTING_CHUNK_SLOTS (UINT32_C(1) << POSTING_CHUNK_BITS)
#define POSTING_BITMAP_BYTES (POSTING_CHUNK_SLOTS / 8)

enum field_state {
    FIELD_BUILDING = 0, /* slots below built and from end on are in it, those between are not */
    FIELD_READY = 1,
    FIELD_DROPPED = 2, /* gone for readers; its postings are being removed */
};

struct field_record {
    uint32_t number; /* from 1 on */
    enum field_state state;
    uint64_t built, end; /* of FIELD_BUILDING */
    struct span name;    /* the path's text */
    struct span schema;  /* opaque */
};

/* ---- reading; everything borrowed until the view closes ---- */

/* Definitions in order of their numbers: ERROR_NOT_FOUND when there is none from `number` on. */
enum error view_field_next(const struct view *view, uint32_t number,
                           struct field_record *out) MUST_CHECK;

struct posting {
    struct span key; /* of the value */
    uint64_t chunk;
    uint32_t count;      /* of slots, at least 1 */
    bool bitmap;         /* data: POSTING_BITMAP_BYTES, slot s is bit s%8 of byte s/8; else */
    const uint8_t *data; /* u16 little-endian [count], ascending places in the chunk */
};

/* A walk over a field's postings in order of (key, chunk). */
struct posting_walk {
    const struct view *view;
    void *cursor;
    uint32_t field;
};
enum error posting_walk_begin(const struct view *view, uint32_t field,
                              struct posting_walk *walk) MUST_CHECK;
void posting_walk_end(struct posting_walk *walk);
/* The first posting at or behind (key, chunk). An empty key: the field's first. ERROR_NOT_FOUND,
 * ERROR_CORRUPT. */
enum error posting_seek(struct posting_walk *walk, struct span key, uint64_t chunk,
                        struct posting *out) MUST_CHECK;
/* The last posting before the first at or behind (key, chunk); an empty key: the field's last. */
enum error posting_seek_before(struct posting_walk *walk, struct span key, uint64_t chunk,
                               struct posting *out) MUST_CHECK;
enum error posting_next(struct posting_walk *walk, struct posting *out) MUST_CHECK;
enum error posting_previous(struct posting_walk *walk, struct posting *out) MUST_CHECK;

/* Is the place in the posting? */
bool posting_has(const struct posting *posting, uint32_t place);

/* The first row at or behind a slot, for building. ERROR_NOT_FOUND at the end. On ERROR_CORRUPT
 * *slot is that of the damaged row. */
enum error view_next_row(const struct view *view, uint64_t from, uint64_t *slot,
                         struct point_row *out) MUST_CHECK;

/* ---- writing ---- */

enum error write_field(struct write *write, const struct field_record *record) MUST_CHECK;
enum error write_field_remove(struct write *write, uint32_t number) MUST_CHECK;

struct posting_change {
    uint16_t place; /* in the chunk */
    bool add;       /* or remove */
};
/* Change one posting: `count` changes with ascending places. Adding what is there and removing what
 * is not change nothing. */
enum error write_posting(struct write *write, uint32_t field, struct span key, uint64_t chunk,
                         const struct posting_change *changes, size_t count) MUST_CHECK;
/* Remove up to `most` postings of a field; *done when none is left. */
enum error write_postings_remove(struct write *write, uint32_t field, size_t most,
                                 bool *done) MUST_CHECK;

#endif
