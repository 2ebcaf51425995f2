/* One running collection_apply: what its files share. Private to them. */
#ifndef KITH_INDEX_COLLECTION_APPLY_H
#define KITH_INDEX_COLLECTION_APPLY_H

#include "index/collection.h"
#include "index/field_changes.h"
#include "index/filter_text.h"
#include "index/path.h"

#define SAMPLE_COUNT_MAX 1024u

/* A vector of this transaction that the mean of the open generation may use. */
struct sample {
    uint64_t slot;
    const uint8_t *floats; /* in the op */
};

/* What one of the collection's vectors needs while it is written to. */
struct vector_scratch {
    struct encode_scratch encode;
    struct scratch block_code, row_code; /* made again by the writer */
    struct scratch blocks, slots;        /* the open block value */
    struct scratch run_vectors, run_codes, run_factors;
    struct scratch sum, mean, centre; /* sealing */
    struct sample samples[SAMPLE_COUNT_MAX];
};

/* The state of one of the collection's vectors, from its first use in this transaction on. */
struct apply_vector {
    struct apply *apply;
    const struct collection_vector *vector;
    struct vector_counters *counters; /* the write's */
    struct vector_scratch *scratch;
    struct centres centres;
    size_t code_bytes, row_bytes, block_bytes; /* of the 1-bit code, the 4-bit code, a block */
    /* the open generation */
    bool generation_exists; /* false: no vector yet, number 0 is to be made */
    bool generation_touched;
    uint64_t codes;        /* in it */
    uint64_t stored_codes; /* of them in the view */
    uint64_t sample_stride;
    size_t sample_count;
    /* its last block value */
    size_t value_capacity; /* codes a value */
    bool value_touched;
    uint8_t *blocks;
    uint64_t *slots;
    /* the pending run */
    uint64_t run_first;
    size_t run_count, run_capacity;
};

struct apply_scratch { /* by number of the vector; made when first needed, kept */
    struct vector_scratch *vectors[COLLECTION_VECTORS_MAX];
    struct apply_vector states[COLLECTION_VECTORS_MAX];
};

struct apply {
    struct collection *collection;
    struct apply_scratch *scratch;
    struct write *write;
    struct counters *counters;
    struct view view; /* of the version before this write */
    bool view_open;
    struct vector_set loaded; /* vectors whose states are valid */
    struct field_changes fields;
    struct arena arena; /* of points put together here, until the end */
};

/* ---- collection_apply.c ---- */

/* A slot's payload was `before` (empty: none) and is `after` from now on: for the payload indexes.
 */
enum error apply_note_payload(struct apply *apply, uint64_t slot, struct span before,
                              struct span after) MUST_CHECK;

struct op_codes;
/* A slot's row and vectors are gone, with the id if remove_id. */
enum error apply_point_remove(struct apply *apply, uint64_t slot, const struct point_id *id,
                              bool remove_id) MUST_CHECK;
/* A point into the next slot; its id has none, or one that was removed. version: the operation that
 * wrote it. */
enum error apply_point_insert(struct apply *apply, const struct op_point *point, uint64_t version,
                              struct op_codes *codes) MUST_CHECK;
/* One transaction of `body`, finished and committed, or aborted on any error. Writer thread. */
enum error apply_transaction(struct collection *collection,
                             enum error (*body)(struct apply *apply, void *context),
                             void *context) MUST_CHECK;

/* ---- apply_vectors.c ---- */

struct apply_clauses;
/* OP_VECTORS_UPDATE and OP_VECTORS_DELETE of one point; one that is not there is noted in item,
 * unless its vectors were to be deleted. */
enum error apply_vectors_change(struct apply *apply, const struct apply_clauses *clauses,
                                const struct op_point *point, struct apply_item *item) MUST_CHECK;

/* A point that stays as it is, into a new slot. */
enum error apply_point_move(struct apply *apply, uint64_t slot) MUST_CHECK;

/* ---- apply_point.c ---- */

/* The codes that came with an op, and how many of each vector have been used. */
struct op_codes {
    const struct encoded *encoded; /* or NULL */
    uint32_t used[COLLECTION_VECTORS_MAX];
};

/* Which vectors has a slot that is to be removed? Its payload leaves the indexes. A row that is
 * damaged does not say; the stored vectors do, for rows of earlier versions, and rows of this
 * transaction are not damaged. */
enum error apply_slot_vectors(struct apply *apply, uint64_t slot,
                              struct vector_set *vectors) MUST_CHECK;
/* Count them as removed with their slot. */
enum error apply_vectors_remove(struct apply *apply, uint64_t slot,
                                const struct vector_set *vectors) MUST_CHECK;
/* Which of an op's vectors of a point the collection has. ERROR_INVALID. */
enum error apply_vectors_check(const struct apply *apply, struct span vectors,
                               struct vector_set *set) MUST_CHECK;
/* Put those in the set. */
enum error apply_vectors_put(struct apply *apply, uint64_t slot, struct span vectors,
                             const struct vector_set *set, struct op_codes *codes) MUST_CHECK;
/* The point is left as it is: its codes are not used. */
enum error apply_vectors_skip(const struct apply *apply, struct span vectors,
                              struct op_codes *codes) MUST_CHECK;

/* ---- apply_sparse.c ---- */

enum error apply_sparse_add(struct apply *apply, uint64_t slot,
                            const struct vector_data *vector) MUST_CHECK;
enum error apply_sparse_remove(struct apply *apply, uint16_t number, uint64_t slot) MUST_CHECK;
/* What is due of the posting lists, at the end of a transaction, in bounded steps. */
enum error apply_sparse_finish(struct apply *apply) MUST_CHECK;

/* ---- apply_vector.c ---- */

/* The state of vector `number`, which has a dim; loaded on its first use. */
enum error apply_vector_load(struct apply *apply, uint16_t number,
                             struct apply_vector **state) MUST_CHECK;
/* Add a vector, or one row of a multivector (stored by the caller): floats, float[dim] in the op;
 * its codes are item i of `encoded`, if not NULL. */
enum error apply_vector_add(struct apply_vector *state, uint64_t slot, const uint8_t *floats,
                            const struct encoded_vector *encoded, uint32_t i) MUST_CHECK;
/* Write what is pending of all vectors. */
enum error apply_flush(struct apply *apply) MUST_CHECK;

/* Write what is pending (nothing: OK). flush_generation: the open one's header. */
enum error apply_flush_run(struct apply_vector *state) MUST_CHECK;
enum error apply_flush_value(struct apply_vector *state) MUST_CHECK;
enum error apply_flush_generation(struct apply_vector *state, bool sealed) MUST_CHECK;

/* How many codes the open generation takes, at least 1. */
uint64_t apply_generation_capacity(const struct apply_vector *state);
/* Empty the open block value. */
void apply_clear_value(struct apply_vector *state);
void apply_set_sample_stride(struct apply_vector *state);

/* ---- collection_seal.c ---- */

/* Begin an empty generation: the one that is written to from now on. centre: rotated, or NULL. */
void apply_generation_begin(struct apply_vector *state, uint64_t number, const float *centre);
/* The open generation is full: seal it, open the next, and begin an epoch if it is time. */
enum error apply_seal(struct apply_vector *state) MUST_CHECK;

/* ---- apply_payload.c ---- */

/* What an op says besides its points, ready to be applied. */
struct apply_clauses {
    const struct op_header *header;
    struct arena arena;
    const struct filter *filter; /* NULL: none */
    struct filter_texts texts;
    struct path *paths;
    size_t path_count;
};
/* ERROR_INVALID: no filter, or no path. To be ended in any case. */
enum error apply_clauses_begin(struct apply_clauses *clauses, const struct op_header *header,
                               bool string_ids) MUST_CHECK;
void apply_clauses_end(struct apply_clauses *clauses);
/* Does the op's filter, if it has one, leave this point (that is there) to the op? */
enum error apply_clauses_match(struct apply *apply, const struct apply_clauses *clauses,
                               uint64_t slot, bool *match) MUST_CHECK;
/* May an upsert go on, by its mode and filter? exists: the id has the slot. */
enum error apply_clauses_admit(struct apply *apply, const struct apply_clauses *clauses,
                               bool exists, uint64_t slot, bool *admit) MUST_CHECK;
/* Change the payload of one point as the op says. */
enum error apply_payload(struct apply *apply, const struct apply_clauses *clauses,
                         const struct point_id *id, struct apply_item *item) MUST_CHECK;

#endif
