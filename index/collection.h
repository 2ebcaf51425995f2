/* An open collection, and its codes' centres. Private to index/.
 *
 * The codes of a vector are relative to two centres that are frozen once codes refer to them, both
 * kept rotated: the open GENERATION's (1-bit codes; the origin for generation 0, then the mean so
 * far when the generation before was sealed) and the newest EPOCH's (4-bit codes; epoch 0 is the
 * origin, another is frozen when the codes are eight times as many as at the last one). */
#ifndef KITH_INDEX_COLLECTION_H
#define KITH_INDEX_COLLECTION_H

#include <stdatomic.h>

#include "index/database.h"
#include "index/scratch.h"

struct apply_scratch; /* collection_apply.c */
struct filter_sets;   /* filter_sets.h */

struct collection_vector {
    uint16_t number;
    const struct vector_settings *settings;
    struct codec *codec;             /* owned; NULL without dim */
    struct centre_cache *centres;    /* owned */
    struct recall_state *recall;     /* owned */
    struct maintenance *maintenance; /* owned; the planning thread's; NULL at first */
};

/* A configuration as it was at some time; earlier ones stay while somebody may read them. */
struct kept_config {
    struct kept_config *older;
    size_t bytes;
    uint8_t data[];
};

/* The search for what dead slots have stored; the planning thread's. */
struct reclaim_sweep {
    bool sweeping;
    uint64_t chunk;      /* to be looked at next */
    uint64_t swept_dead; /* dead slots that were left when the last one ended */
};

struct collection {
    /* set at open, then constant */
    struct database *database;
    uint8_t *settings_bytes;                  /* owned; settings.config and names point into it */
    struct vector_settings *settings_vectors; /* owned; settings.vectors */
    struct collection_settings settings;
    struct collection_vector *vectors; /* owned; [settings.vector_count], by number */
    atomic_bool looked_at;             /* collection_first_look has said so */
    struct environment *environment;   /* NULL only while a closed collection is deleted */
    /* The settings' vectors have changed since it was opened: what it is now, with the same
     * environment. The writer thread goes on with that one; it is held until this one is let go. */
    struct collection *successor;
    uint64_t clean[COLLECTION_VECTORS_MAX / 64]; /* removed vectors nothing is left of; the
                                                    planning thread's */
    struct reclaim_sweep sweep;
    struct compaction *compaction; /* under way, or NULL; the writer thread's */
    _Atomic uint64_t meters[2];
    struct filter_sets *filter_sets;      /* owned */
    _Atomic(struct kept_config *) config; /* owned, and the older ones; by the writer thread */
    /* of database.c, under its mutex */
    uint8_t *name_data; /* owned */
    struct span name;
    uint64_t name_hash;
    struct collection *bucket_next;
    struct collection *older, *newer; /* in the list of those nobody holds */
    uint32_t holders;                 /* a predecessor that is held counts as one */
    uint32_t *sharers;                /* owned with the environment: objects that have it */
    bool deleting, altering;
};

/* What the collection is by now. Writer thread. */
struct collection *collection_newest(struct collection *collection);
/* What collection_apply takes from its database. */
const struct database_options *database_options(const struct database *database);
/* The writer thread's own reader number: one above those of the options. */
uint32_t database_writer_reader(const struct database *database);
struct apply_scratch *database_apply_scratch(struct database *database);
struct apply_scratch *apply_scratch_new(void);
void apply_scratch_free(struct apply_scratch *scratch); /* accepts NULL */

/* The centres new codes are made against, as one view shows them. */
struct centres {
    uint64_t generation; /* number of the open one; 0 when there is none yet */
    uint32_t epoch;
    const float *generation_centre; /* rotated, float[dim]; NULL: the origin. In the scratch */
    const float *epoch_centre;
};
enum error centres_load(const struct collection_vector *vector, const struct view *view,
                        struct encode_scratch *scratch, struct centres *centres) MUST_CHECK;
/* *open: the generation that takes new codes; generation_count 0 gives an empty number 0. */
enum error generation_open(const struct view *view, uint16_t vector,
                           struct generation *open) MUST_CHECK;

/* Rotate floats (float[dim], any alignment). The result stays in the scratch until the next. */
const float *encode_rotate(const struct collection_vector *vector, const uint8_t *floats,
                           struct encode_scratch *scratch);
/* The code of a rotated vector; code: codec_code_bytes(bits). */
void encode_rotated(const struct collection_vector *vector, unsigned bits, const float *rotated,
                    const float *centre, uint8_t *code, struct code_factors *factors,
                    struct encode_scratch *scratch);

/* Seal the open generation of a vector before it is full, so that its codes can be moved; one
 * commit. Writer thread. */
enum error collection_seal(struct collection *collection, uint16_t vector) MUST_CHECK;

/* The codes an op needs of one of the collection's vectors, in the order of the op. */
struct encoded_vector {
    uint64_t generation;
    uint32_t epoch;
    uint32_t count;       /* length of the arrays; 0: none of this vector */
    uint8_t *block_codes; /* 1 bit */
    uint8_t *row_codes;   /* 4 bits */
    struct code_factors *block_factors;
    struct code_factors *row_factors;
};

struct encoded {
    uint32_t vector_count;          /* of the collection's settings, or fewer */
    struct encoded_vector *vectors; /* by number */
    struct encoded **parts; /* of an OP_GROUP alone: of its ops, NULL where none is needed */
};

/* Is it of the kind and dim that the settings say? ERROR_INVALID. *removed: its vector has been
 * removed from the collection since, and it is to be left out. */
enum error collection_check_vector(const struct collection *collection,
                                   const struct vector_data *vector, bool *removed) MUST_CHECK;

/* What counters.id_hash is the XOR of. */
uint64_t point_hash(const struct point_id *id, uint64_t slot);

#endif
