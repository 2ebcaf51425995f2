#include "server/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* The statuses the server answers with; the last one stands for any other. */
static const int statuses[] = {200, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414,
                               415, 417, 422, 431, 500, 501, 503, 505, 507, 0};
#define STATUS_COUNT (sizeof statuses / sizeof statuses[0])

static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                0.1,   0.25,   0.5,   1.0,  2.5,   10.0};
#define BOUND_COUNT (sizeof bounds / sizeof bounds[0])

struct cell {
    _Atomic uint64_t count, nanoseconds;
    _Atomic uint64_t buckets[BOUND_COUNT]; /* not cumulative */
};

struct metrics {
    size_t route_count;
    _Atomic uint64_t connections, requests, rejected, body_bytes_held;
    struct cell cells[]; /* [route_count + 1][STATUS_COUNT] */
};

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct metrics *metrics_new(size_t route_count)
{
    size_t cells = size_product(route_count + 1, STATUS_COUNT);
    struct metrics *metrics =
        allocate_zeroed(1, sizeof *metrics + size_product(cells, sizeof metrics->cells[0]));
    metrics->route_count = route_count;
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    free(metrics);
}

void metrics_count(struct metrics *metrics, size_t route, int status, double seconds)
{
    size_t s = 0, bucket = 0;
    while (s + 1 < STATUS_COUNT && statuses[s] != status)
        s++;
    struct cell *cell = &metrics->cells[route * STATUS_COUNT + s];
    add(&cell->count, 1);
    add(&cell->nanoseconds, (uint64_t)(seconds * 1e9));
    while (bucket < BOUND_COUNT && seconds > bounds[bucket])
        bucket++;
    if (bucket < BOUND_COUNT)
        add(&cell->buckets[bucket], 1);
}

void metrics_set_http(struct metrics *metrics, const struct http_figures *figures)
{
    atomic_store_explicit(&metrics->connections, figures->connections, memory_order_relaxed);
    atomic_store_explicit(&metrics->requests, figures->requests, memory_order_relaxed);
    atomic_store_explicit(&metrics->rejected, figures->rejected, memory_order_relaxed);
    atomic_store_explicit(&metrics->body_bytes_held, figures->body_bytes_held,
                          memory_order_relaxed);
}

/* ---- printing ---- */

void metrics_put_head(struct text *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_simple(struct text *out, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    metrics_put_head(out, name, type, help);
    text_printf(out, "%s %" PRIu64 "\n", name, value);
}

/* {method="GET",endpoint="/x",status="200" : the caller closes the brace */
static void put_labels(struct text *out, const char *name, const char *method, const char *endpoint,
                       int status)
{
    text_printf(out, "%s{method=\"%s\",endpoint=\"%s\",status=\"%d\"", name, method, endpoint,
                status);
}

static void put_histogram(struct text *out, const struct cell *cell, const char *method,
                          const char *endpoint, int status)
{
    uint64_t below = 0, count = get(&cell->count);
    for (size_t i = 0; i < BOUND_COUNT; i++) {
        below += get(&cell->buckets[i]);
        put_labels(out, "rest_responses_duration_seconds_bucket", method, endpoint, status);
        text_printf(out, ",le=\"%g\"} %" PRIu64 "\n", bounds[i], below < count ? below : count);
    }
    put_labels(out, "rest_responses_duration_seconds_bucket", method, endpoint, status);
    text_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", count);
    put_labels(out, "rest_responses_duration_seconds_sum", method, endpoint, status);
    text_printf(out, "} %.9f\n", (double)get(&cell->nanoseconds) * 1e-9);
    put_labels(out, "rest_responses_duration_seconds_count", method, endpoint, status);
    text_printf(out, "} %" PRIu64 "\n", count);
}

static void put_cells(const struct metrics *metrics, struct text *out, bool histogram,
                      const char *(*method)(size_t route), const char *(*endpoint)(size_t route))
{
    for (size_t route = 0; route <= metrics->route_count; route++) {
        for (size_t s = 0; s < STATUS_COUNT; s++) {
            const struct cell *cell = &metrics->cells[route * STATUS_COUNT + s];
            if (get(&cell->count) == 0)
                continue;
            if (histogram) {
                put_histogram(out, cell, method(route), endpoint(route), statuses[s]);
                continue;
            }
            put_labels(out, "rest_responses_total", method(route), endpoint(route), statuses[s]);
            text_printf(out, "} %" PRIu64 "\n", get(&cell->count));
        }
    }
}

void metrics_put_requests(const struct metrics *metrics, struct text *out,
                          const char *(*method)(size_t route),
                          const char *(*endpoint)(size_t route))
{
    metrics_put_head(out, "rest_responses_total", "counter", "answers by route and status");
    put_cells(metrics, out, false, method, endpoint);
    metrics_put_head(out, "rest_responses_duration_seconds", "histogram",
                     "from the first byte of a request to its answer");
    put_cells(metrics, out, true, method, endpoint);
}

void metrics_put_http(const struct metrics *metrics, struct text *out)
{
    put_simple(out, "http_connections", "gauge", "open connections", get(&metrics->connections));
    put_simple(out, "http_requests_total", "counter", "requests begun", get(&metrics->requests));
    put_simple(out, "http_rejected_total", "counter", "requests refused before routing",
               get(&metrics->rejected));
    put_simple(out, "http_body_bytes_held", "gauge", "bodies in memory",
               get(&metrics->body_bytes_held));
}

/* ---- the process ---- */

/* Value of a line `Name:   123 kB` of /proc/self/status. */
static uint64_t status_field(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10);
}

static uint64_t count_descriptors(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

void metrics_put_process(struct text *out)
{
    char status[8192] = "";
    struct rusage usage = {0};
    FILE *file = fopen("/proc/self/status", "re");
    if (file != NULL) {
        size_t bytes = fread(status, 1, sizeof status - 1, file);
        status[bytes] = '\0';
        fclose(file);
    }
    getrusage(RUSAGE_SELF, &usage);
    put_simple(out, "memory_resident_bytes", "gauge", "resident, mapped files included",
               status_field(status, "VmRSS:") * 1024);
    put_simple(out, "memory_allocated_bytes", "gauge", "resident and anonymous",
               status_field(status, "RssAnon:") * 1024);
    put_simple(out, "process_threads", "gauge", "threads", status_field(status, "Threads:"));
    put_simple(out, "process_open_fds", "gauge", "open descriptors", count_descriptors());
    put_simple(out, "process_major_page_faults_total", "counter", "pages read from disk",
               (uint64_t)usage.ru_majflt);
}
