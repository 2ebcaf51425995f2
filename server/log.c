/* The line is built on the stack and written by one write(2): lines of two threads never mix, and
 * nothing is buffered when the process ends. */
#include "server/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};
static atomic_int level_now = LOG_LEVEL_INFO;

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < LOG_LEVEL_COUNT ? level_names[level] : "?";
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_level_set(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

static size_t put_time(char *line, size_t bytes)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, bytes, "ts=%Y-%m-%dT%H:%M:%S", &utc);
    int length = snprintf(line + used, bytes - used, ".%03ldZ", now.tv_nsec / 1000000);
    return used + (length < 0 ? 0 : (size_t)length);
}

void log_write(enum log_level level, const char *message, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char line[LINE_BYTES_MAX];
    size_t used = put_time(line, sizeof line);
    int length = snprintf(line + used, sizeof line - used, " level=%s msg=\"%s\" ",
                          log_level_name(level), message);
    used += length < 0 ? 0 : (size_t)length;
    if (used < sizeof line - 1) {
        va_list arguments;
        va_start(arguments, format);
        length = vsnprintf(line + used, sizeof line - used, format, arguments);
        va_end(arguments);
        used += length < 0 ? 0 : (size_t)length;
    }
    if (used > sizeof line - 1)
        used = sizeof line - 1;
    while (used > 0 && line[used - 1] == ' ')
        used--;
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* nobody to tell */
}

const char *log_quote(struct span text, char *buffer, size_t buffer_bytes)
{
    size_t at = 0;
    buffer[at++] = '"';
    for (size_t i = 0; i < text.bytes && at + 6 < buffer_bytes; i++) {
        uint8_t c = text.data[i];
        if (c < 0x20 || c >= 0x7F) {
            at += (size_t)snprintf(buffer + at, 5, "\\x%02x", c);
        } else {
            if (c == '"' || c == '\\')
                buffer[at++] = '\\';
            buffer[at++] = (char)c;
        }
    }
    buffer[at++] = '"';
    buffer[at] = '\0';
    return buffer;
}
