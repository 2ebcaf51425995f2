/* Slots whose values lie in a range, from the postings of a payload index. Private to index/. */
#ifndef KITH_INDEX_FILTER_RANGES_H
#define KITH_INDEX_FILTER_RANGES_H

#include "index/field.h"
#include "index/field_key.h"
#include "index/slots.h"

struct range_reader {
    struct posting_walk walk;
    enum field_key_class which; /* KEY_NUMBER, KEY_TIME, KEY_PLACE */
    const uint8_t *shifts;      /* of its levels */
    size_t level_count;
    uint64_t *budget;         /* postings it may still take */
    struct slot_gather *into; /* may be changed between ranges */
    bool enough;              /* false: the budget is used up, and something is missing */
};

/* The walk is to be ended whatever comes back. */
enum error range_reader_begin(struct range_reader *reader, const struct view *view,
                              const struct field *field, uint64_t *budget) MUST_CHECK;
void range_reader_end(struct range_reader *reader);

/* All slots with a value whose order (field_key.h) is from first to last, inclusive. Postings of
 * whole spans where there are any, of single values at the ends; a range of places is of whole
 * spans. */
enum error range_read(struct range_reader *reader, uint64_t first, uint64_t last) MUST_CHECK;
/* Those with a value of one order whose key passes. */
enum error range_read_order(struct range_reader *reader, uint64_t order,
                            bool (*passes)(const void *context, struct span key),
                            const void *context) MUST_CHECK;

#endif
