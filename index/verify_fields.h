/* Part of collection_verify. Private to index/. */
#ifndef KITH_INDEX_VERIFY_FIELDS_H
#define KITH_INDEX_VERIFY_FIELDS_H

#include "storage/points.h"

/* Do the payload indexes hold what the payloads say, as far as they are built? Calls report for
 * each that does not. */
enum error verify_fields(const struct view *view, void (*report)(void *context, const char *text),
                         void *context) MUST_CHECK;

#endif
