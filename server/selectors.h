/* with_payload and with_vector, and the records that are written by them. */
#ifndef KITH_SERVER_SELECTORS_H
#define KITH_SERVER_SELECTORS_H

#include "server/fields.h"

#define SELECTOR_PATHS_MAX 1024u

enum selection { SELECT_NONE, SELECT_ALL, SELECT_INCLUDE, SELECT_EXCLUDE };

struct selectors {
    enum selection payload;
    struct span *paths; /* of SELECT_INCLUDE and SELECT_EXCLUDE, checked, in the body's arena */
    size_t path_count;
    enum selection vector; /* SELECT_INCLUDE: those of `vectors` */
    struct vector_set vectors;
};

/* true | false | ["a.b", ...] | {"include": [...]} | {"exclude": [...]}; null keeps *selectors. */
bool selectors_read_payload(struct body *body, struct selectors *selectors);
/* true | false | ["name", ...] */
bool selectors_read_vector(struct body *body, const struct collection_settings *settings,
                           struct selectors *selectors);

/* One record: {"id":..., "version" and "score" if score is not NULL, "payload", "vector"}.
 *
 * view, slot, row: the point, from the view; settings: of its collection. "vector" is the array of
 * the default vector if that is all there is of what was asked for, else an object of the named
 * ones. ERROR_CORRUPT when a stored vector is damaged. */
enum error selectors_put_record(const struct selectors *selectors, const struct view *view,
                                uint64_t slot, const struct point_row *row,
                                const struct collection_settings *settings, const float *score,
                                struct text *out) MUST_CHECK;

#endif
