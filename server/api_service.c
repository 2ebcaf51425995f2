/* The server about itself: version, health, telemetry, metrics.
 *
 * Health and version are answered on the loop from flags, so they work when every worker is busy.
 * Telemetry and metrics look into collections and run on a worker. */
#include "server/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "server/routes.h"

#define COLLECTIONS_LABELLED_MAX 200 /* more of them have no rows of their own in /metrics */

/* ---- answered on the loop ---- */

static void reply(struct http_request *request, int status, const char *type, struct text *out)
{
    http_reply(request, status, type, NULL, (struct http_body){out->data, out->bytes});
}

void request_text(struct http_request *request, int status, const char *body)
{
    struct text out = {0};
    text_puts(&out, body);
    reply(request, status, "text/plain; charset=utf-8", &out);
}

void service_reply_version(const struct config *config, struct http_request *request)
{
    struct text out = {0};
    text_puts(&out, "{\"title\":");
    text_json_string(&out, span_text(config->title));
    text_puts(&out, ",\"version\":");
    text_json_string(&out, span_text(config->version));
    text_puts(&out, ",\"commit\":");
    text_json_string(&out, span_text(config->commit));
    text_puts(&out, "}");
    reply(request, 200, "application/json", &out);
}

void service_reply_live(struct http_request *request)
{
    request_text(request, 200, "healthz check passed");
}

void service_reply_ready(const struct service *service, struct http_request *request)
{
    if (atomic_load(&service->draining))
        request_text(request, 503, "some shards are not ready: the server is stopping");
    else if (atomic_load(&service->disk_low))
        request_text(request, 503, "some shards are not ready: the disk is nearly full");
    else
        request_text(request, 200, "all shards are ready");
}

/* ---- telemetry ---- */

void api_telemetry(struct call *call)
{
    const struct service *service = call->service;
    struct span *names;
    size_t count;
    struct tm utc;
    char startup[32];
    enum error error = database_names(service->database, call->arena, &names, &count);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    gmtime_r(&service->started, &utc);
    strftime(startup, sizeof startup, "%Y-%m-%dT%H:%M:%SZ", &utc);
    struct text *out = call_result(call);
    text_printf(out, "{\"id\":\"%s\",\"app\":{\"name\":\"qdrant\",\"version\":", service->id);
    text_json_string(out, span_text(service->config->version));
    text_printf(out,
                ",\"startup\":\"%s\"},\"collections\":{\"number_of_collections\":%zu},\"kith\":{"
                "\"name\":\"kith\",\"version\":\"%s\"}}",
                startup, count, KITH_VERSION);
    call_ok(call);
}

/* ---- metrics ---- */

/* Figures of one collection, gathered first: a metric's rows must stand together. */
struct collection_figures {
    struct span name;
    enum error error;
    uint64_t points, vectors;
    struct environment_stats environment;
};

static void figures_get(struct call *call, struct collection_figures *figures)
{
    struct collection *collection;
    struct view view;
    figures->error = collection_acquire(call->service->database, figures->name, &collection);
    if (figures->error != OK)
        return;
    struct environment *environment = collection_environment(collection);
    figures->error = view_open(environment, call->worker->reader, &view);
    if (figures->error == OK) {
        figures->points = view_counters(&view)->point_count;
        const uint32_t count = collection_settings(collection)->vector_count;
        for (uint32_t i = 0; i < count; i++)
            figures->vectors += view_vector_counters(&view, (uint16_t)i)->vector_count;
        environment_stats_get(environment, &figures->environment);
        view_close(&view);
    }
    collection_release(collection);
}

/* The name as a label: backslash, quote and newline escaped as the format asks. */
static void put_label(struct text *out, struct span name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        char c = (char)name.data[i];
        if (c == '"' || c == '\\')
            text_puts(out, "\\");
        if (c == '\n')
            text_puts(out, "\\n");
        else
            text_put(out, &c, 1);
    }
}

static void put_collections(struct text *out, const struct collection_figures *figures,
                            size_t count, const char *name, const char *help, size_t offset)
{
    metrics_put_head(out, name, "gauge", help);
    for (size_t i = 0; i < count; i++) {
        if (figures[i].error != OK)
            continue;
        text_printf(out, "%s{id=\"", name);
        put_label(out, figures[i].name);
        text_printf(out, "\"} %" PRIu64 "\n", load64((const char *)&figures[i] + offset));
    }
}

static void put_figure(struct text *out, const char *name, const char *type, const char *help,
                       double value)
{
    metrics_put_head(out, name, type, help);
    text_printf(out, "%s %.15g\n", name, value);
}

static void put_planner(struct text *out, struct service *service)
{
    struct planner_figures figures;
    planner_figures_get(service->planner, &figures);
    put_figure(out, "maintenance_plans_total", "counter", "steps of maintenance applied",
               (double)figures.plans);
    put_figure(out, "maintenance_bytes_total", "counter", "bytes they wrote",
               (double)figures.bytes);
    put_figure(out, "maintenance_planning_seconds_total", "counter", "time spent planning",
               figures.planning_seconds);
    put_figure(out, "maintenance_applying_seconds_total", "counter",
               "time from a plan to its commit, the writer's queue included",
               figures.applying_seconds);
    put_figure(out, "maintenance_pending_collections", "gauge",
               "collections with maintenance to do", (double)figures.pending);
}

static void put_expiry(struct text *out, struct service *service)
{
    struct expiry_figures figures;
    expiry_figures_get(service->expiry, &figures);
    put_figure(out, "expired_points_total", "counter", "points deleted because they had expired",
               (double)figures.points);
    put_figure(out, "expiry_sweeps_total", "counter", "sweeps for expired points, finished",
               (double)figures.sweeps);
}

static void put_writer(struct text *out, struct service *service)
{
    struct writer_figures figures;
    writer_figures_get(service->writer, &figures);
    put_figure(out, "compactions_total", "counter", "files of collections written anew",
               (double)figures.compactions);
    put_figure(out, "compacted_bytes_total", "counter", "bytes they gave back",
               (double)figures.compacted_bytes);
    put_figure(out, "write_queue_points", "gauge", "points waiting to be written",
               (double)figures.queue_points);
    put_figure(out, "commits_total", "counter", "committed groups", (double)figures.commits);
    put_figure(out, "commit_points_total", "counter", "points of committed groups",
               (double)figures.points);
    put_figure(out, "commit_seconds_total", "counter", "time spent applying and committing",
               figures.commit_seconds);
    put_figure(out, "work_queue_requests", "gauge", "requests waiting for a worker",
               workers_queued(service->workers));
    put_figure(out, "disk_free_bytes", "gauge", "free bytes of the data directory's file system",
               (double)store_free_bytes(database_store(service->database)));
}

#define FIGURE(field) offsetof(struct collection_figures, field)

static void put_database(struct text *out, const struct collection_figures *figures, size_t count,
                         size_t collection_count)
{
    uint64_t vectors = 0;
    size_t damaged = 0;
    for (size_t i = 0; i < count; i++) {
        vectors += figures[i].vectors;
        damaged += figures[i].error == OK || figures[i].error == ERROR_NOT_FOUND ? 0 : 1;
    }
    put_figure(out, "collections_total", "gauge", "collections", (double)collection_count);
    put_figure(out, "collections_damaged", "gauge", "collections that cannot be opened",
               (double)damaged);
    put_figure(out, "collections_vector_total", "gauge", "vectors of the collections listed here",
               (double)vectors);
    put_collections(out, figures, count, "collection_points", "points", FIGURE(points));
    put_collections(out, figures, count, "collection_vectors", "vectors", FIGURE(vectors));
    put_collections(out, figures, count, "lmdb_map_bytes", "address space of the map",
                    FIGURE(environment.map_bytes));
    put_collections(out, figures, count, "lmdb_used_bytes", "bytes in use in the map",
                    FIGURE(environment.used_bytes));
}

static const char *route_method(size_t route)
{
    return route < route_count ? method_text(routes[route].method) : "";
}

static const char *route_endpoint(size_t route)
{
    return route < route_count ? routes[route].pattern : "";
}

void api_metrics(struct call *call)
{
    struct service *service = call->service;
    struct span *names;
    size_t total;
    enum error error = database_names(service->database, call->arena, &names, &total);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    size_t count = total < COLLECTIONS_LABELLED_MAX ? total : COLLECTIONS_LABELLED_MAX;
    struct collection_figures *figures = arena_allocate(call->arena, count * sizeof *figures + 1);
    for (size_t i = 0; i < count; i++) {
        figures[i] = (struct collection_figures){.name = names[i]};
        figures_get(call, &figures[i]);
    }
    struct text out = {0};
    metrics_put_head(&out, "app_info", "gauge", "the API served and who serves it");
    text_printf(&out, "app_info{name=\"qdrant\",version=\"%s\",server=\"kith %s\"} 1\n",
                service->config->version, KITH_VERSION);
    put_database(&out, figures, count, total);
    put_writer(&out, service);
    put_planner(&out, service);
    put_expiry(&out, service);
    metrics_put_http(service->metrics, &out);
    metrics_put_process(&out);
    metrics_put_requests(service->metrics, &out, route_method, route_endpoint);
    text_put(&out, "", 1);
    call_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", out.data);
    text_release(&out);
}
