/* What the server counts about requests, for /metrics.
 *
 * One row a route and status, counted on the loop when a request is finished, read by whoever
 * writes /metrics: relaxed atomics, since a figure that is a request behind is right enough. */
#ifndef KITH_SERVER_METRICS_H
#define KITH_SERVER_METRICS_H

#include "server/http.h"
#include "server/json.h"

struct metrics;

/* route_count: rows of the route table. */
struct metrics *metrics_new(size_t route_count);
void metrics_free(struct metrics *metrics); /* accepts NULL */

/* A finished request; route: its row, or route_count for none. Loop thread. */
void metrics_count(struct metrics *metrics, size_t route, int status, double seconds);
/* What http knows; loop thread. */
void metrics_set_http(struct metrics *metrics, const struct http_figures *figures);

/* rest_responses_total and rest_responses_duration_seconds. endpoint(i) and method(i) name the
 * rows. Any thread. */
void metrics_put_requests(const struct metrics *metrics, struct text *out,
                          const char *(*method)(size_t route),
                          const char *(*endpoint)(size_t route));
void metrics_put_http(const struct metrics *metrics, struct text *out);
/* memory, descriptors, threads, page faults: of this process, from the kernel. */
void metrics_put_process(struct text *out);

/* # HELP and # TYPE lines of a metric. */
void metrics_put_head(struct text *out, const char *name, const char *type, const char *help);

#endif
