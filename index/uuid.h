/* UUIDs as text, in four spellings: hyphenated, 32 hex digits, in braces, urn:uuid:. */
#ifndef KITH_INDEX_UUID_H
#define KITH_INDEX_UUID_H

#include "storage/base.h"

/* Either case. false: none of the spellings; out may then be half written. */
bool uuid_parse(struct span text, uint8_t out[16]);

#endif
