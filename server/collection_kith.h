/* kith's own settings of a collection: the object `kith` in its `metadata`, which clients pass on
 * and the compatible API leaves alone.
 *
 *     expire_field   path of a payload field: its points are deleted when their time has come
 *                    (index/expired.h). May be changed and removed by PATCH.
 *     string_ids     true: ids are numbers and any strings, kept and shown as they were given. Of
 *                    the whole life of a collection. */
#ifndef KITH_SERVER_COLLECTION_KITH_H
#define KITH_SERVER_COLLECTION_KITH_H

#include "server/api_control.h"

#define KITH_PATH_BYTES_MAX 1024u /* as of a payload index's field */

struct kith_settings {
    struct span expire_field; /* empty: none */
    bool string_ids;
};

/* Judge and read what metadata (a value, or empty) says; unknown names are refused. */
void judge_kith(struct judgement *judgement, struct span metadata, struct kith_settings *settings);
/* Those of a held collection, as they are now; in the arena. Any thread. */
struct kith_settings kith_settings_of(const struct collection *collection, struct arena *arena);
/* May a configuration (struct collection_settings, config) name an expire_field? Cheap, for looking
 * through collections that are not open: true may turn out wrong. */
bool config_may_expire(struct span config);

#endif
