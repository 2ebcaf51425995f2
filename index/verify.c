/* Walks of one snapshot, side by side.
 *
 * Rows, stored vectors and, once they are listed, the block codes of each vector are in order of
 * their slots: they are merged. "Exactly one code" is: strictly ascending, and there. */
#include "index/string_id.h"
#include "index/verify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "index/collection.h"
#include "index/value.h"
#include "index/verify_fields.h"
#include "index/verify_lanes.h"
#include "index/verify_lists.h"

#define REPORTS_OF_A_KIND_MAX 1000u
#define IDS_AT_ONCE 256u

enum kind {
    KIND_CHECKSUM,
    KIND_ROW,
    KIND_ID,
    KIND_BLOCK_CODE,
    KIND_VECTOR,
    KIND_ENCODING,
    KIND_COUNTER,
    KIND_FIELD,
    KIND_COUNT
};

/* Where the walk over a vector's codes is. */
struct lane_walk {
    struct lane_list list;
    size_t next;                    /* place to come */
    const struct lane_place *place; /* the one just read */
    uint64_t slot;                  /* of it */
    bool pending;                   /* it is not accounted for yet */
    bool ended;
};

/* What is checked and counted of one of the collection's vectors. */
struct verify_vector {
    const struct collection_vector *vector;
    struct lane_walk walk;
    struct scratch epoch_centre;
    uint32_t epoch; /* whose centre is in epoch_centre */
    bool epoch_known;
    uint64_t vectors, dead_lanes, last_slot;
    bool any;
};

struct verify {
    struct collection *collection;
    struct view view;
    void (*report)(void *context, const char *text);
    void *context;
    uint64_t reported[KIND_COUNT];
    uint64_t problems;
    struct encode_scratch scratch;
    struct scratch code, expected;
    struct verify_vector *vectors; /* by number */
    uint32_t vector_count;
    struct verify_vector *walked; /* whose stored vectors are walked over */
    uint64_t points, id_hash;     /* counted */
};

__attribute__((format(printf, 3, 4))) static void problem(struct verify *verify, enum kind kind,
                                                          const char *format, ...)
{
    verify->problems++;
    if (verify->reported[kind]++ >= REPORTS_OF_A_KIND_MAX) {
        return;
    }
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    verify->report(verify->context, text);
}

static void field_problem(void *context, const char *text)
{
    problem(context, KIND_FIELD, "%s", text);
}

static void checksum_problem(void *context, const char *text)
{
    problem(context, KIND_CHECKSUM, "%s", text);
}

/* A damaged value has been reported as such by the walk over all checksums; only a failing walk
 * ends the check. */
static enum error survivable(enum error error)
{
    return error == ERROR_CORRUPT || error == ERROR_NOT_FOUND ? OK : error;
}

/* ---- lanes ---- */

static void list_problem(void *context, const char *text)
{
    problem(context, KIND_VECTOR, "%s", text);
}

static void lane_problem(void *context, const char *text)
{
    problem(context, KIND_BLOCK_CODE, "%s", text);
}

/* Step to the next code. At the end walk->ended. */
static void lane_next(struct verify *verify, struct verify_vector *of)
{
    struct lane_walk *walk = &of->walk;
    if (walk->next == walk->list.count) {
        walk->ended = true;
        return;
    }
    const struct lane_place *before = walk->place;
    walk->place = &walk->list.places[walk->next++];
    walk->slot = walk->place->slot;
    if (before != NULL && before->slot == walk->slot &&
        of->vector->settings->kind != VECTOR_MULTI) {
        problem(verify, KIND_BLOCK_CODE, "slot %" PRIu64 " has more than one block code",
                walk->slot);
    }
    walk->pending = true;
}

/* A lane without a row that has a vector: right for dead slots only. */
static void lane_without_row(struct verify *verify, struct verify_vector *of)
{
    if (view_is_dead(&verify->view, of->walk.slot)) {
        of->dead_lanes++;
    } else {
        problem(verify, KIND_BLOCK_CODE, "block code of slot %" PRIu64 " belongs to no live point",
                of->walk.slot);
    }
}

/* Go on to the lane of `slot`, or the first behind it. */
static void lane_seek(struct verify *verify, struct verify_vector *of, uint64_t slot)
{
    struct lane_walk *walk = &of->walk;
    while (!walk->ended && (!walk->pending || walk->slot < slot)) {
        if (walk->pending) {
            lane_without_row(verify, of);
            walk->pending = false;
        }
        lane_next(verify, of);
    }
}

/* ---- codes ---- */

static bool same_code(const uint8_t *a, struct code_factors x, const uint8_t *b,
                      struct code_factors y, size_t bytes)
{
    return memcmp(a, b, bytes) == 0 && memcmp(&x, &y, sizeof x) == 0;
}

static enum error check_block_code(struct verify *verify, struct verify_vector *of, uint64_t slot,
                                   const float *rotated)
{
    const struct codec *codec = of->vector->codec;
    const size_t bytes = codec_code_bytes(codec, codec_first_bits(codec));
    uint8_t *stored = scratch_need(&verify->code, bytes);
    uint8_t *expected = scratch_need(&verify->expected, bytes);
    struct code_factors stored_factors, factors;
    const uint8_t *block;
    const float *centre;
    unsigned lane;
    const enum error error = lane_list_get(&of->walk.list, of->vector, &verify->view,
                                           of->walk.place, &block, &lane, &centre);
    if (error != OK) {
        return survivable(error);
    }
    codec_block_get(codec, block, lane, stored, &stored_factors);
    encode_rotated(of->vector, codec_first_bits(codec), rotated, centre, expected, &factors,
                   &verify->scratch);
    if (!same_code(stored, stored_factors, expected, factors, bytes)) {
        problem(verify, KIND_ENCODING, "block code of slot %" PRIu64 " is not its vector's", slot);
    }
    return OK;
}

static enum error load_epoch_centre(struct verify *verify, struct verify_vector *of, uint32_t epoch,
                                    const float **centre)
{
    *centre = NULL;
    if (epoch == 0) {
        return OK;
    }
    if (!of->epoch_known || of->epoch != epoch) {
        const size_t bytes = of->vector->settings->dim * sizeof(float);
        const uint8_t *stored;
        const enum error error =
            view_epoch_centre(&verify->view, of->vector->number, epoch, &stored);
        if (error != OK) {
            return error;
        }
        memcpy(scratch_need(&of->epoch_centre, bytes), stored, bytes);
        of->epoch = epoch;
        of->epoch_known = true;
    }
    *centre = of->epoch_centre.data;
    return OK;
}

static enum error check_row_code(struct verify *verify, struct verify_vector *of, uint64_t slot,
                                 const float *rotated, const struct vector_row *row)
{
    const float *centre;
    const enum error error = load_epoch_centre(verify, of, row->epoch, &centre);
    if (error != OK) {
        problem(verify, KIND_VECTOR, "slot %" PRIu64 ": centre of epoch %" PRIu32 ": %s", slot,
                row->epoch, error_text(error));
        return survivable(error);
    }
    const size_t bytes = codec_code_bytes(of->vector->codec, codec_second_bits(of->vector->codec));
    uint8_t *expected = scratch_need(&verify->expected, bytes);
    struct code_factors factors;
    encode_rotated(of->vector, codec_second_bits(of->vector->codec), rotated, centre, expected,
                   &factors, &verify->scratch);
    if (!same_code(row->code, (struct code_factors){row->f_mul, row->f_add}, expected, factors,
                   bytes)) {
        problem(verify, KIND_ENCODING, "row code of slot %" PRIu64 " is not its vector's", slot);
    }
    return OK;
}

/* Vector, 4-bit code and block code of a live slot. */
static enum error check_vector(struct verify *verify, struct verify_vector *of, uint64_t slot)
{
    struct vector_row row;
    enum error error = view_vector(&verify->view, of->vector->number, slot, &row);
    if (error == OK) {
        error = vector_row_check(&verify->view, of->vector->number, &row);
    }
    const bool readable = error == OK;
    if (!readable) {
        problem(verify, KIND_VECTOR, "vector of slot %" PRIu64 ": %s", slot, error_text(error));
    }
    const float *rotated =
        readable ? encode_rotate(of->vector, row.vector, &verify->scratch) : NULL;
    error = survivable(error);
    if (error == OK && readable) {
        error = check_row_code(verify, of, slot, rotated, &row);
    }
    if (error != OK) {
        return error;
    }
    lane_seek(verify, of, slot);
    if (of->walk.ended || of->walk.slot != slot) {
        problem(verify, KIND_BLOCK_CODE, "slot %" PRIu64 " has no block code", slot);
        return OK;
    }
    of->walk.pending = false;
    return readable ? check_block_code(verify, of, slot, rotated) : OK;
}

/* A multivector: the code of each row stands where the one before is followed. */
static enum error check_multi(struct verify *verify, struct verify_vector *of, uint64_t slot)
{
    struct stored_vector stored;
    enum error error = view_stored(&verify->view, of->vector->number, slot, &stored);
    const bool readable =
        error == OK && stored.dim == of->vector->settings->dim && stored.count > 0;
    if (!readable) {
        problem(verify, KIND_VECTOR, "vector of slot %" PRIu64 ": %s", slot, error_text(error));
        return survivable(error);
    }
    lane_seek(verify, of, slot);
    for (uint32_t i = 0; i < stored.count && error == OK; i++) {
        if (of->walk.ended || of->walk.slot != slot) {
            problem(verify, KIND_BLOCK_CODE,
                    "row %" PRIu32 " of slot %" PRIu64 " has no block code", i, slot);
            break;
        }
        const float *rotated = encode_rotate(
            of->vector, stored.data + (size_t)i * stored.dim * sizeof(float), &verify->scratch);
        error = check_block_code(verify, of, slot, rotated);
        of->walk.pending = false;
        lane_next(verify, of);
    }
    if (!of->walk.ended && of->walk.slot == slot) {
        problem(verify, KIND_BLOCK_CODE, "slot %" PRIu64 " has more block codes than rows", slot);
    }
    return error;
}

static enum error check_sparse(struct verify *verify, struct verify_vector *of, uint64_t slot)
{
    struct stored_vector stored;
    const enum error error = view_stored(&verify->view, of->vector->number, slot, &stored);
    if (error != OK || stored.dim != 0) {
        problem(verify, KIND_VECTOR, "vector of slot %" PRIu64 ": %s", slot, error_text(error));
    }
    return survivable(error);
}

static enum error check_by_kind(struct verify *verify, struct verify_vector *of, uint64_t slot)
{
    switch (of->vector->settings->kind) {
    case VECTOR_DENSE:
        return check_vector(verify, of, slot);
    case VECTOR_MULTI:
        return check_multi(verify, of, slot);
    case VECTOR_SPARSE:
        return check_sparse(verify, of, slot);
    case VECTOR_NONE:
        break;
    }
    return OK;
}

/* ---- rows ---- */

static enum error check_row_id(struct verify *verify, uint64_t slot, const struct point_row *row)
{
    uint64_t named;
    if (row->id.kind == POINT_ID_STRING) {
        const struct point_id id = point_id_string(row->id_text);
        if (point_id_compare(&id, &row->id) != 0) {
            problem(verify, KIND_ROW, "the string id of slot %" PRIu64 " is not what its hash says",
                    slot);
        }
    }
    const enum error error = view_slot(&verify->view, &row->id, &named);
    if (error != OK || named != slot) {
        problem(verify, KIND_ID, "the id of slot %" PRIu64 " does not name it", slot);
    }
    return survivable(error);
}

static enum error check_row_vectors(struct verify *verify, uint64_t slot,
                                    const struct vector_set *vectors)
{
    enum error error = OK;
    for (uint32_t i = vector_set_next(vectors, 0); i < COLLECTION_VECTORS_MAX && error == OK;
         i = vector_set_next(vectors, i + 1)) {
        if (i >= verify->vector_count) {
            problem(verify, KIND_ROW,
                    "slot %" PRIu64 " has a vector of number %" PRIu32 ", which there is not", slot,
                    i);
            continue;
        }
        verify->vectors[i].vectors++;
        error = check_by_kind(verify, &verify->vectors[i], slot);
    }
    return error;
}

static enum error check_row(void *context, uint64_t slot)
{
    struct verify *verify = context;
    const struct counters *counters = view_counters(&verify->view);
    struct point_row row;
    enum error error = view_point(&verify->view, slot, &row);
    if (error != OK) {
        problem(verify, KIND_ROW, "row of slot %" PRIu64 ": %s", slot, error_text(error));
        return survivable(error);
    }
    if (view_is_dead(&verify->view, slot)) {
        problem(verify, KIND_ROW, "dead slot %" PRIu64 " has a row", slot);
    }
    if (slot >= counters->next_slot || row.version > counters->operation) {
        problem(verify, KIND_ROW, "slot %" PRIu64 " or its version is ahead of the counters", slot);
    }
    if (row.payload.bytes > 0 && !value_check(row.payload)) {
        problem(verify, KIND_ROW, "payload of slot %" PRIu64 " is no value", slot);
    }
    verify->points++;
    verify->id_hash ^= point_hash(&row.id, slot);
    error = check_row_id(verify, slot, &row);
    return error == OK ? check_row_vectors(verify, slot, &row.vectors) : error;
}

/* Every stored vector belongs to a live point or a dead slot, and to one only. */
static enum error check_stored_vector(void *context, uint64_t slot)
{
    struct verify *verify = context;
    struct verify_vector *of = verify->walked;
    if (of->any && slot <= of->last_slot) {
        problem(verify, KIND_VECTOR, "slot %" PRIu64 " has more than one stored vector", slot);
    }
    of->any = true;
    of->last_slot = slot;
    if (view_is_dead(&verify->view, slot)) {
        return OK;
    }
    struct point_row row;
    const enum error error = view_point(&verify->view, slot, &row);
    if (error == ERROR_NOT_FOUND ||
        (error == OK && !vector_set_has(&row.vectors, of->vector->number))) {
        problem(verify, KIND_VECTOR, "stored vector of slot %" PRIu64 " belongs to no live point",
                slot);
    }
    return survivable(error);
}

/* ---- ids and counters ---- */

static enum error check_id(struct verify *verify, const struct id_slot *pair)
{
    struct point_row row;
    const enum error error = view_point(&verify->view, pair->slot, &row);
    if (error == ERROR_NOT_FOUND) {
        problem(verify, KIND_ID, "an id names slot %" PRIu64 ", which has no row", pair->slot);
    } else if (error == OK && point_id_compare(&row.id, &pair->id) != 0) {
        problem(verify, KIND_ID, "an id names slot %" PRIu64 ", which has another id", pair->slot);
    }
    return survivable(error);
}

/* The smallest id behind `id`; false behind the last. */
static bool id_after(struct point_id *id)
{
    const size_t last = id->kind == POINT_ID_NUMBER ? 8 : sizeof id->bytes;
    for (size_t i = last; i-- > 0;) {
        if (++id->bytes[i] != 0) {
            return true;
        }
    }
    if (id->kind == POINT_ID_STRING) {
        return false;
    }
    *id = (struct point_id){.kind = (uint8_t)(id->kind + 1)};
    return true;
}

static enum error check_ids(struct verify *verify)
{
    struct id_slot pairs[IDS_AT_ONCE];
    struct point_id from;
    uint64_t ids = 0;
    size_t count;
    bool more = true;
    memset(&from, 0, sizeof from);
    while (more) {
        enum error error = view_ids(&verify->view, &from, pairs, IDS_AT_ONCE, &count);
        for (size_t i = 0; i < count && error == OK; i++) {
            error = check_id(verify, &pairs[i]);
        }
        if (error != OK) {
            return error;
        }
        ids += count;
        more = count == IDS_AT_ONCE;
        if (more) {
            from = pairs[count - 1].id;
            more = id_after(&from);
        }
    }
    if (ids != verify->points) {
        problem(verify, KIND_ID, "%" PRIu64 " ids for %" PRIu64 " points", ids, verify->points);
    }
    return OK;
}

static void check_counter(struct verify *verify, const char *name, uint64_t stored,
                          uint64_t counted)
{
    if (stored != counted) {
        problem(verify, KIND_COUNTER, "counter %s is %" PRIu64 ", counted %" PRIu64, name, stored,
                counted);
    }
}

static void check_vector_counters(struct verify *verify, const struct verify_vector *of)
{
    const uint16_t number = of->vector->number;
    const struct vector_counters *counters = view_vector_counters(&verify->view, number);
    const uint64_t next_slot = view_counters(&verify->view)->next_slot;
    if (of->vector->settings->kind == VECTOR_NONE) {
        return; /* rows may name it still */
    }
    check_counter(verify, "vectors", counters->vector_count, of->vectors);
    if (of->vector->codec != NULL) {
        check_counter(verify, "dead codes", counters->dead_count, of->dead_lanes);
    }
    if (of->any && of->last_slot >= next_slot) {
        problem(verify, KIND_COUNTER, "slot %" PRIu64 " has a vector, but the next is %" PRIu64,
                of->last_slot, next_slot);
    }
}

static void check_counters(struct verify *verify)
{
    const struct counters *counters = view_counters(&verify->view);
    check_counter(verify, "points", counters->point_count, verify->points);
    check_counter(verify, "id hash", counters->id_hash, verify->id_hash);
    for (uint32_t i = 0; i < verify->vector_count; i++) {
        check_vector_counters(verify, &verify->vectors[i]);
    }
}

/* Lanes behind the last live one, and the stored vectors, of all vectors with codes. */
static enum error finish_vectors(struct verify *verify)
{
    enum error error = OK;
    for (uint32_t i = 0; i < verify->vector_count && error == OK; i++) {
        struct verify_vector *of = &verify->vectors[i];
        const enum vector_kind kind = of->vector->settings->kind;
        if (of->vector->codec != NULL) {
            lane_seek(verify, of, UINT64_MAX);
        }
        if (kind == VECTOR_DENSE) {
            verify->walked = of;
            error =
                view_each_vector(&verify->view, of->vector->number, check_stored_vector, verify);
        } else if (kind != VECTOR_NONE) {
            error = lists_verify(of->vector, &verify->view, list_problem, verify);
        }
    }
    return error;
}

static enum error list_lanes(struct verify *verify)
{
    enum error error = OK;
    for (uint32_t i = 0; i < verify->vector_count && error == OK; i++) {
        struct verify_vector *of = &verify->vectors[i];
        if (of->vector->codec != NULL) {
            error = lane_list_load(&of->walk.list, of->vector, &verify->view, lane_problem, verify);
        }
    }
    return error;
}

static enum error verify_view(struct verify *verify)
{
    enum error error = view_check_all(&verify->view, checksum_problem, verify);
    if (error == OK) {
        error = list_lanes(verify);
    }
    if (error == OK) {
        error = view_each_row(&verify->view, check_row, verify);
    }
    if (error == OK) {
        error = finish_vectors(verify);
    }
    if (error == OK) {
        error = check_ids(verify);
    }
    if (error == OK) {
        error = verify_fields(&verify->view, field_problem, verify);
    }
    if (error == OK) {
        check_counters(verify);
    }
    return error;
}

static void vectors_begin(struct verify *verify)
{
    const struct collection *collection = verify->collection;
    verify->vector_count = collection->settings.vector_count;
    verify->vectors = allocate_zeroed(verify->vector_count + 1, sizeof *verify->vectors);
    for (uint32_t i = 0; i < verify->vector_count; i++) {
        verify->vectors[i].vector = &collection->vectors[i];
    }
}

static void vectors_end(struct verify *verify)
{
    for (uint32_t i = 0; i < verify->vector_count; i++) {
        lane_list_release(&verify->vectors[i].walk.list);
        scratch_release(&verify->vectors[i].epoch_centre);
    }
    free(verify->vectors);
}

enum error collection_verify(struct collection *collection, uint32_t reader,
                             void (*report)(void *context, const char *text), void *context,
                             uint64_t *problems)
{
    struct verify verify = {.collection = collection, .report = report, .context = context};
    *problems = 0;
    enum error error = view_open(collection->environment, reader, &verify.view);
    if (error != OK) {
        return error;
    }
    vectors_begin(&verify);
    error = verify_view(&verify);
    view_close(&verify.view);
    vectors_end(&verify);
    encode_scratch_release(&verify.scratch);
    scratch_release(&verify.code);
    scratch_release(&verify.expected);
    *problems = verify.problems;
    return error;
}
