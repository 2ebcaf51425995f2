/* A collection's configuration: the JSON that GET echoes, and the limits that were read from its
 * strict_mode_config when it was judged, so that no request parses JSON to know them.
 *
 * What the database keeps (struct collection_settings, config):
 *
 *     0..3   u32 bytes of the limits, a multiple of 8
 *     4..    the limits, u64 each, in the order of struct limits; those not there are 0: none
 *     n..    JSON text */
#ifndef KITH_SERVER_COLLECTION_CONFIG_H
#define KITH_SERVER_COLLECTION_CONFIG_H

#include "server/config.h"
#include "server/limits.h"

/* Both in the arena. strict: a judged strict_mode_config, or empty. */
struct span config_pack(struct arena *arena, struct span json, struct span strict);
/* The JSON of a held collection; "{}" when what is kept makes no sense. */
struct span config_json(const struct collection *collection);
/* Of what it is by now. Writer thread. */
struct span config_newest_json(struct collection *collection);
/* What holds for a call: the server's limits and, if the collection's are enabled, the stricter of
 * the two. */
void limits_of(const struct config *config, const struct collection *collection,
               struct limits *limits);

#endif
