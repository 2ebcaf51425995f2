/* Expired points are deleted: one thread of low priority, beside the writer.
 *
 * Every expire.interval_ms it looks through the collections that name an expire_field, takes up to
 * expire.batch_points of one that have expired, and has the writer delete them by an ordinary op;
 * collections take turns until none has any left. A collection is held only while a step of it is
 * made. So an expired point is found by reads for the interval and what the sweep takes at most. */
#ifndef KITH_SERVER_EXPIRY_H
#define KITH_SERVER_EXPIRY_H

#include "server/writer.h"

struct expiry_options {
    uint32_t interval_ms;  /* expire.interval_ms, default 10,000 */
    uint32_t batch_points; /* expire.batch_points, default 1,000: of one op */
};
struct expiry_options expiry_options_default(void);

struct expiry;
/* reader: the thread's own reader number. */
struct expiry *expiry_new(struct database *database, struct writer *writer, uint32_t reader,
                          const struct expiry_options *options);
/* Stops at the next step; the writer must still be running. Accepts NULL. */
void expiry_free(struct expiry *expiry);

struct expiry_figures {
    uint64_t points; /* deleted */
    uint64_t sweeps; /* of all collections, finished */
};
void expiry_figures_get(struct expiry *expiry, struct expiry_figures *figures);

#endif
