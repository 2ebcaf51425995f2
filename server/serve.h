/* The server put together: database, writer, workers, loop, signals; and taken apart in order.
 *
 * Stopping: /readyz turns 503, listeners close, running requests get http.drain_timeout_ms, then
 * the writer finishes its queue and environments close. A second signal ends the process at once,
 * which is safe at any time: what was answered is on disk. */
#ifndef KITH_SERVER_SERVE_H
#define KITH_SERVER_SERVE_H

#include "server/config.h"

struct server;

/* Open the data directory, listen, start threads. Logs what it is. On failure *why is one line for
 * a person. config must outlive the server. The thread that calls it runs the loop. */
enum error server_open(const struct config *config, struct server **server, char *why,
                       size_t why_bytes) MUST_CHECK;
/* Serve until stopped by a signal or server_stop. */
void server_run(struct server *server);
/* Begin to stop. Any thread. */
void server_stop(struct server *server);
/* After server_run. Ends the process with code 0 if requests are still running after their time.
 * Accepts NULL. */
void server_close(struct server *server);
uint16_t server_port(const struct server *server);

/* Collections' views are numbered by thread: workers of a configuration, one for each core if it
 * does not say. */
uint32_t server_worker_count(const struct config *config);

#endif
