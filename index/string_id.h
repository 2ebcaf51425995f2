/* String ids: what stands for one wherever ids are compared, sorted and looked up.
 *
 * The first 128 bits of SHA-256, so that nobody who chooses ids can make two of them meet. */
#ifndef KITH_INDEX_STRING_ID_H
#define KITH_INDEX_STRING_ID_H

#include "storage/base.h"

/* For texts, with the limit: a string that can be no id. */
#define POINT_ID_STRING_TEXT "a point ID that is a string must have 1 to %u bytes"

void sha256(struct span data, uint8_t out[32]);
struct point_id point_id_string(struct span text);

#endif
