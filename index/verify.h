/* kith verify: does a collection agree with itself? */
#ifndef KITH_INDEX_VERIFY_H
#define KITH_INDEX_VERIFY_H

#include "index/database.h"
#include "storage/fault.h"

/* Checks every checksum; that each live slot with a vector has exactly one 1-bit code and one
 * second-stage code; ids <-> slots <-> vectors <-> payloads in both directions; the counters; and
 * that each code equals re-encoding the stored vector. report(context, text) once per problem (at
 * most 1,000 of one kind); *problems counts all. Returns non-OK only if the walk could not go on.
 */
enum error collection_verify(struct collection *collection, uint32_t reader,
                             void (*report)(void *context, const char *text), void *context,
                             uint64_t *problems) MUST_CHECK;

/* The catalogue, aliases included: storage/store.h. */
enum error database_verify(struct database *database,
                           void (*report)(void *context, const char *text), void *context,
                           uint64_t *problems) MUST_CHECK;
/* A collection that was marked as damaged and has no problem: it may be opened again. */
enum error database_unmark(struct database *database, struct span name, bool *was) MUST_CHECK;

#endif
