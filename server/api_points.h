/* What the api_points_*.c files share. */
#ifndef KITH_SERVER_API_POINTS_H
#define KITH_SERVER_API_POINTS_H

#include "server/fields.h"

/* done() of every point update: UpdateResult with the operation's number. Writer thread. */
void api_update_done(struct write_job *job);

/* ERROR_CANCELLED when the call's deadline has passed. */
enum error call_check_deadline(const struct call *call) MUST_CHECK;

#endif
