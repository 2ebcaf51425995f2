/* One logfmt line per event on stderr: ts, level, msg, then key=value pairs.
 *
 * The level is the one setting a process has of it, changed at run time (SIGHUP, configuration), so
 * it is the module's only state: an atomic in log.c. Keys and bodies of requests are never logged.
 */
#ifndef KITH_SERVER_LOG_H
#define KITH_SERVER_LOG_H

#include "index/arena.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT
};

const char *log_level_name(enum log_level level);
bool log_level_parse(const char *text, enum log_level *level);
void log_level_set(enum log_level level); /* any thread */
bool log_enabled(enum log_level level);

/* ts=… level=… msg="message" and the formatted pairs, e.g. log_write(LOG_LEVEL_INFO, "listening",
 * "host=%s port=%u", host, port); format "" for none. One write(2) a line. Any thread. */
void log_write(enum log_level level, const char *message, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A text from outside as a logfmt value: quoted, escaped and cut to fit. Returns buffer. */
const char *log_quote(struct span text, char *buffer, size_t buffer_bytes);

#endif
