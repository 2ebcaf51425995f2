/* The settings of a collection, as the catalogue keeps them:
 *
 *     bytes    field
 *     0        format, 2
 *     1        flags: 1 ids may be strings
 *     2..3     0
 *     4..7     u32 count of vectors
 *     8..15    u64 first slot
 *     16..19   u32 bytes of the configuration
 *     20..     the vectors, in order of their numbers; the configuration, JSON text
 *
 * A vector:
 *
 *     1        kind (enum vector_kind)
 *     1        metric (enum metric)
 *     1        datatype (enum vector_datatype)
 *     1        flags: 1 idf; 2, 4, 8 code bits (0 as the dim suggests, 1 one,
 *              2 one and a half, 3 two, 4 four, 5 eight); 16 TurboQuant_mse's scale
 *     4        u32 dim
 *     8        u64 seed of the rotation
 *     1        n, bytes of the name
 *     n        the name
 */
#ifndef KITH_INDEX_SETTINGS_H
#define KITH_INDEX_SETTINGS_H

#include "index/database.h"

/* What encoding them would take. */
size_t collection_settings_bytes(const struct collection_settings *settings);
/* malloc'd, the caller's; *bytes its length. The settings are valid. Any thread, as all here. */
uint8_t *collection_settings_encode(const struct collection_settings *settings, size_t *bytes);
/* Are kinds, dims, codes and names in range, and are names told apart? */
bool collection_settings_valid(const struct collection_settings *settings);
/* settings->config and names point into data; *vectors is malloc'd, the caller's, NULL on error.
 * ERROR_NEWER: a later format. ERROR_CORRUPT. */
enum error collection_settings_decode(struct span data, struct collection_settings *settings,
                                      struct vector_settings **vectors) MUST_CHECK;

#endif
