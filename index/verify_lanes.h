/* All block codes of a vector in order of their slots, wherever they stand: for verify.
 *
 * Partitions hold codes in no order, so what there is is listed (16 bytes a code) and sorted.
 * Private to index/. */
#ifndef KITH_INDEX_VERIFY_LANES_H
#define KITH_INDEX_VERIFY_LANES_H

#include "index/collection.h"
#include "storage/partitions.h"

/* Where codes stand: a generation or a partition. */
struct lane_home {
    bool is_partition;
    uint64_t number;
};

struct lane_place {
    uint64_t slot;
    uint32_t home;
    uint32_t lane;
};

struct lane_list {
    struct lane_place *places; /* by slot */
    size_t count, capacity;
    struct lane_home *homes;
    size_t home_count, home_capacity;
    /* the home last looked at */
    uint32_t home;
    bool home_known;
    const float *centre; /* rotated, or NULL for the origin; in the scratch */
    struct partition partition;
    struct scratch plain, rotated, work;
};

/* Fill it; report(context, text) says what cannot be read or does not hold together. */
enum error lane_list_load(struct lane_list *list, const struct collection_vector *vector,
                          const struct view *view, void (*report)(void *context, const char *text),
                          void *context) MUST_CHECK;
void lane_list_release(struct lane_list *list);

/* Block and lane of a place, and the rotated centre its code is relative to (NULL: the origin),
 * valid until the next call. */
enum error lane_list_get(struct lane_list *list, const struct collection_vector *vector,
                         const struct view *view, const struct lane_place *place,
                         const uint8_t **block, unsigned *lane, const float **centre) MUST_CHECK;

#endif
