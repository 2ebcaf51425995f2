/* payload_schema of a collection's info. */
#ifndef KITH_SERVER_API_INDEX_H
#define KITH_SERVER_API_INDEX_H

#include "server/api.h"

/* {"field": {"data_type", "params"?, "points"}, ...} */
enum error text_payload_schema(struct text *out, const struct view *view,
                               struct arena *arena) MUST_CHECK;

#endif
