/* Payload indexes are built behind the requests that define them, a bounded step at a time on the
 * writer's thread, until nothing is left. */
#ifndef KITH_SERVER_FIELD_BUILDER_H
#define KITH_SERVER_FIELD_BUILDER_H

#include "server/api.h"

/* Build what a collection has to build. Nobody waits for it: a failure is logged, and a restart
 * takes it up again. Any thread. */
void field_builder_start(struct service *service, struct span name);
/* Take up in all collections what was not finished when the last process ended. At start, before
 * the workers. Opens every collection once. */
void field_builder_resume(struct service *service);

#endif
