/* RFC 3339 date-times as microseconds since 1970 UTC.
 *
 * Read leniently, as the compatible server does: `T` or a blank between date and time, fractions of
 * any length (cut to microseconds), an offset Z, z, +HH, +HHMM, +HH:MM or " UTC", with or without a
 * blank before it; none means UTC. Seconds may be missing, and the whole time. */
#ifndef KITH_INDEX_DATETIME_H
#define KITH_INDEX_DATETIME_H

#include "storage/base.h"

/* false: not a date-time. Years 0001 to 9999. */
bool datetime_parse(struct span text, int64_t *microseconds);

#endif
