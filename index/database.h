/* All collections of one data directory, opened on demand.
 *
 * A collection is open while somebody holds it or until max_open_collections others were used since
 * (least recently used closed first). Threads: acquire and release from any; create and
 * collection_apply from the writer thread only; delete from one thread, the writer's deleter, as it
 * waits for holders and other collections' writes must not. */
#ifndef KITH_INDEX_DATABASE_H
#define KITH_INDEX_DATABASE_H

#include "codec/codec.h"
#include "index/op.h"
#include "storage/lists.h"
#include "storage/points.h"

#define COLLECTION_NAME_BYTES_MAX 255

struct database_options {
    struct store_options storage;
    uint32_t max_open_collections; /* storage.max_open_environments, default 512 */
    /* Sizes of generations; tests set them small. Defaults: 1024 and 16384. */
    uint32_t first_generation_codes;
    uint32_t generation_codes;
    /* Codes of a vector from which on they are divided into partitions, default 8192, and what a
     * partition aims at, default 0: what the dims suggest. Tests set them small. */
    uint32_t partition_start_codes;
    uint32_t partition_codes;
    uint64_t plan_bytes; /* that a step of maintenance writes, about; default 1 MiB */
    /* Most points of a sparse vector outside its posting lists, default 4096. Tests set it small.
     */
    uint32_t sparse_tail_points;
};
struct database_options database_options_default(void);

struct database;
struct collection;

/* As store_open. */
enum error database_open(const char *directory, bool create, const struct database_options *options,
                         struct database **database, char *why, size_t why_bytes) MUST_CHECK;
/* Every collection must be released. Accepts NULL. */
void database_close(struct database *database);
struct store *database_store(struct database *database);

/* A collection's vectors are numbered by their place in its settings; rows, ops and storage know
 * them by number only. */
#define COLLECTION_VECTORS_MAX ENVIRONMENT_VECTORS_MAX
#define VECTOR_NAME_BYTES_MAX 200

/* What was asked for; all are stored as float32. */
enum vector_datatype { DATATYPE_FLOAT32, DATATYPE_FLOAT16, DATATYPE_UINT8, DATATYPE_TURBO4 };

struct vector_settings {
    struct span name; /* empty: the default vector, which cannot be sparse */
    enum vector_kind kind;
    enum metric metric;
    enum vector_datatype datatype;
    bool idf; /* sparse: values of queries are weighted by how rare their index is */
    /* Bits a dim of the codes. CODE_NONE and CODE_4: a first stage as the dim suggests, and a
     * second of 4 bits; CODE_8: of 8, with SCALE_EDEN only. CODE_1, CODE_1_5, CODE_2: one stage of
     * those. */
    enum code_bits code_bits;
    enum code_scale code_scale;
    uint32_t dim;  /* 0 for sparse ones */
    uint64_t seed; /* of the rotation, drawn at random by who creates */
};

struct collection_settings {
    const struct vector_settings *vectors; /* names are distinct */
    uint32_t vector_count;                 /* at most COLLECTION_VECTORS_MAX; 0: payloads only */
    uint64_t first_slot;                   /* 0 but in tests */
    bool string_ids; /* ids are numbers and any strings, UUIDs among them being strings as others */
    struct span config; /* bytes kept for the API; not read here. As of the opening or creation: see
                           collection_config */
};

/* The vector of a name, and its number; NULL if there is none. */
const struct vector_settings *settings_find_vector(const struct collection_settings *settings,
                                                   struct span name, uint16_t *number);

/* Writer thread. ERROR_EXISTS; ERROR_INVALID for a bad name (empty, > 255 bytes, or with one of
 * < > : " / \ | ? * NUL 0x1F, or no UTF-8). */
enum error database_create(struct database *database, struct span name,
                           const struct collection_settings *settings) MUST_CHECK;
/* Deleter thread. Waits for holders to release (their requests end within the timeout), new
 * acquires fail at once. ERROR_NOT_FOUND. */
enum error database_delete(struct database *database, struct span name) MUST_CHECK;

/* Names in order, in the arena. Any thread. */
enum error database_names(struct database *database, struct arena *arena, struct span **names,
                          size_t *count) MUST_CHECK;

/* Call each(context, name, bytes) for every collection, open or not, in order; bytes: as they are
 * stored, its config is at their end. Both valid during the call. Any thread. */
enum error database_each(struct database *database,
                         enum error (*each)(void *context, struct span name, struct span bytes),
                         void *context) MUST_CHECK;

/* ---- aliases: storage/store.h says what the actions do and what errors mean ---- */

/* Writer thread. */
enum error database_change_aliases(struct database *database, const struct alias_action *actions,
                                   size_t count, size_t *failed) MUST_CHECK;
struct alias {
    struct span name, collection;
};
/* Those of a collection, or all when its name is empty, in order, in the arena. Any thread. */
enum error database_aliases(struct database *database, struct span collection, struct arena *arena,
                            struct alias **aliases, size_t *count) MUST_CHECK;
/* Is this an alias? OK or ERROR_NOT_FOUND. Any thread. */
enum error database_has_alias(struct database *database, struct span name) MUST_CHECK;

/* +1 hold, by the collection's name or an alias. ERROR_NOT_FOUND, ERROR_CORRUPT, ERROR_IO,
 * ERROR_NEWER. Any thread. */
enum error collection_acquire(struct database *database, struct span name,
                              struct collection **collection) MUST_CHECK;
/* The same by its own name only. */
enum error collection_acquire_unaliased(struct database *database, struct span name,
                                        struct collection **collection) MUST_CHECK;
void collection_release(struct collection *collection); /* accepts NULL */

/* Two figures of who limits the rate of reads [0] and writes [1]: 0 when the collection was opened,
 * read and changed by nobody else. Any thread that holds it. */
_Atomic uint64_t *collection_meters(struct collection *collection);
/* The present configuration; valid while the collection is held. Any thread. */
struct span collection_config(const struct collection *collection);
/* Put another in its place, in the catalogue and here. The collection is held. Writer thread.
 * ERROR_TOO_LARGE, ERROR_NOT_FOUND when it is being deleted. */
enum error database_configure(struct database *database, struct collection *collection,
                              struct span config) MUST_CHECK;
/* Other vectors from now on: `settings` has those there are in their places, some of them perhaps
 * VECTOR_NONE now, more behind them, and its config. What is under way goes on with the collection
 * as it was; who acquires it from now on gets the new one. Points lack an added vector; what is
 * stored of a removed one is given back by maintenance (index/plan.h). Waits for open views, like
 * the growth of a map. The collection is held. Writer thread. ERROR_TOO_LARGE, ERROR_NOT_FOUND when
 * it is being deleted; ERROR_BUSY while it is being compacted. */
enum error database_alter(struct database *database, struct collection *collection,
                          const struct collection_settings *settings) MUST_CHECK;
/* The settings and configuration of the newest. Writer thread. */
const struct collection_settings *collection_newest_settings(struct collection *collection);
struct span collection_newest_config(struct collection *collection);
struct span collection_name(const struct collection *collection); /* its own, while held */
/* true once after it was opened: whoever is told looks whether there is maintenance to do. */
bool collection_first_look(struct collection *collection);
const struct collection_settings *collection_settings(const struct collection *collection);
/* NULL for a vector without dim. */
const struct codec *collection_codec(const struct collection *collection, uint16_t vector);
struct environment *collection_environment(const struct collection *collection);
/* A name check of its own, for clear errors before anything else. */
bool collection_name_valid(struct span name);

/* ---- writes ---- */

/* Codes of an op's points, made beside the writer; the writer makes them again if the generation or
 * epoch they were made against is gone. Lives in the arena. */
struct encoded;
/* Any thread that holds the collection. reader: as in view_open; work: the worker's own search
 * workspace. */
struct search_workspace;
enum error collection_encode(struct collection *collection, uint32_t reader, struct span op,
                             struct arena *arena, struct search_workspace *workspace,
                             struct encoded **encoded) MUST_CHECK;

struct apply_item {
    struct span op;
    const struct encoded *encoded; /* or NULL */
    /* out */
    uint64_t operation; /* number of this op: UpdateResult.operation_id and points' version; of a
                           group: of its last */
    uint32_t points_changed;
    bool missing; /* a payload was to be changed of a point that is not there: the first such */
    struct point_id missing_id;
};
/* All items in order in one transaction, one commit. Writer thread. On any error nothing of the
 * group is applied. A missing point is no error, the others of its op are changed; but in an
 * OP_GROUP it is ERROR_NOT_FOUND. */
enum error collection_apply(struct collection *collection, struct apply_item *items,
                            size_t item_count) MUST_CHECK;

#endif
