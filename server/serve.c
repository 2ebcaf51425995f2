#include "server/serve.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/field_builder.h"
#include "server/routes.h"
#include "server/tree.h"

#define READY_CHECK_MS 2000
#define STOP_POLL_MS 200 /* a worker has replied but not yet returned */
#define ENVIRONMENT_DESCRIPTORS 3
#define OTHER_DESCRIPTORS 256 /* the catalogue, the loop, logs, connections being refused */

/* How many environments and connections may be open at once, by configuration and RLIMIT_NOFILE. */
struct shares {
    uint32_t environments, connections;
};

struct server {
    const struct config *config;
    struct shares shares;
    struct service service;
    struct router router;
    struct http_server *http;
    uv_loop_t loop;
    /* loop thread only */
    uv_signal_t signals[3];
    uv_async_t stop;
    uv_timer_t ready_timer;
    bool stopping;
    /* readiness: asked by a worker, as statvfs may block */
    struct task ready_task;
    atomic_bool ready_running;
};

static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP};

uint32_t server_worker_count(const struct config *config)
{
    cpu_set_t cpus;
    if (config->worker_count > 0)
        return config->worker_count;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return 1;
    int count = CPU_COUNT(&cpus);
    return count < 1 ? 1 : count > 256 ? 256 : (uint32_t)count;
}

/* ---- stopping ---- */

static void close_handles(struct server *server)
{
    for (size_t i = 0; i < sizeof handled_signals / sizeof handled_signals[0]; i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    uv_close((uv_handle_t *)&server->stop, NULL);
    uv_close((uv_handle_t *)&server->ready_timer, NULL);
}

static void on_stopped(void *context)
{
    close_handles(context);
}

static void begin_stop(struct server *server, const char *reason)
{
    server->stopping = true;
    atomic_store(&server->service.draining, true);
    log_write(LOG_LEVEL_INFO, "stopping", "reason=\"%s\" drain_timeout_ms=%" PRIu32, reason,
              server->config->http.drain_timeout_ms);
    http_server_stop(server->http, on_stopped, server);
}

/* SIGHUP turns debug lines on and off again. */
static void switch_level(const struct config *config)
{
    bool debug = log_enabled(LOG_LEVEL_DEBUG) && config->log_level != LOG_LEVEL_DEBUG;
    log_level_set(debug ? (enum log_level)config->log_level : LOG_LEVEL_DEBUG);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (number == SIGHUP)
        switch_level(server->config);
    else if (server->stopping)
        _exit(128 + number);
    else
        begin_stop(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_stop(uv_async_t *handle)
{
    struct server *server = handle->data;
    if (!server->stopping)
        begin_stop(server, "asked to");
}

void server_stop(struct server *server)
{
    uv_async_send(&server->stop);
}

/* ---- readiness ---- */

static void ready_run(struct task *task, struct worker *worker)
{
    struct server *server =
        (struct server *)(void *)((char *)task - offsetof(struct server, ready_task));
    (void)worker;
    bool low = store_check_space(database_store(server->service.database)) == ERROR_FULL;
    if (low != atomic_exchange(&server->service.disk_low, low))
        log_write(LOG_LEVEL_WARN, low ? "disk nearly full: upserts are refused" : "disk has room",
                  "free_bytes=%" PRIu64,
                  store_free_bytes(database_store(server->service.database)));
    atomic_store(&server->ready_running, false);
}

static void on_ready_timer(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (atomic_exchange(&server->ready_running, true))
        return;
    server->ready_task.run = ready_run;
    if (!workers_submit(server->service.workers, &server->ready_task))
        atomic_store(&server->ready_running, false);
}

/* ---- starting ---- */

/* The hard limit of descriptors, made the soft one too. */
static uint64_t raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024; /* what it commonly is */
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit most = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &most) == 0)
            return most.rlim_cur; /* RLIM_INFINITY is the largest number there is */
    }
    return limit.rlim_cur;
}

static uint32_t at_most(uint64_t value, uint32_t limit)
{
    return value < 1 ? 1 : value < limit ? (uint32_t)value : limit;
}

/* Shared out before anything is opened, so that neither clients nor collections can take the
 * other's: a full table would fail reads of collections, not only new connections. */
static struct shares share_descriptors(const struct config *config, uint64_t files)
{
    uint64_t others = files / 4 < OTHER_DESCRIPTORS ? files / 4 : OTHER_DESCRIPTORS;
    uint64_t left = files - others;
    struct shares shares;
    shares.environments =
        at_most(left / 2 / ENVIRONMENT_DESCRIPTORS, config->database.max_open_collections);
    left -= (uint64_t)ENVIRONMENT_DESCRIPTORS * shares.environments;
    shares.connections = at_most(left, config->http.connection_count);
    return shares;
}

static void start_handles(struct server *server)
{
    for (size_t i = 0; i < sizeof handled_signals / sizeof handled_signals[0]; i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, handled_signals[i]);
    }
    uv_async_init(&server->loop, &server->stop, on_stop);
    uv_timer_init(&server->loop, &server->ready_timer);
    server->stop.data = server->ready_timer.data = server;
    uv_timer_start(&server->ready_timer, on_ready_timer, 0, READY_CHECK_MS);
}

/* Who this process is, in telemetry: a random UUID and when it began. */
static void service_identify(struct service *service)
{
    struct point_id id = {.kind = POINT_ID_UUID};
    struct text text = {0};
    if (getrandom(id.bytes, sizeof id.bytes, 0) != sizeof id.bytes)
        abort();
    text_point_id(&text, &id); /* with quotes */
    memcpy(service->id, text.data + 1, sizeof service->id - 1);
    text_release(&text);
    service->started = time(NULL);
}

static enum error start_listening(struct server *server, char *why, size_t why_bytes)
{
    const struct config *config = server->config;
    const struct http_handlers handlers = {
        .context = &server->router,
        .headers = routes_headers,
        .request = routes_request,
        .stream = routes_stream,
        .finished = routes_finished,
    };
    struct http_limits limits = config->http;
    limits.connection_count = server->shares.connections;
    return http_server_new(&server->loop, config->host, (uint16_t)config->port, &limits, &handlers,
                           &server->http, why, why_bytes);
}

static void log_start(const struct server *server, uint32_t worker_count)
{
    const struct config *config = server->config;
    char directory[300];
    log_write(LOG_LEVEL_INFO, "kith",
              "version=" KITH_VERSION " durability=commit workers=%" PRIu32
              " data_dir=%s free_bytes=%" PRIu64,
              worker_count, log_quote(span_text(config->data_dir), directory, sizeof directory),
              store_free_bytes(database_store(server->service.database)));
    log_write(LOG_LEVEL_INFO, "limits",
              "body_bytes_max=%zu connections_max=%" PRIu32 " max_open_environments=%" PRIu32
              " work_queue_max=%" PRIu32 " response_bytes_max=%" PRIu64 " queue_points_max=%" PRIu32
              " group_points_max=%" PRIu32 " timeout_s=%" PRIu32 " map_max_bytes=%" PRIu64,
              config->http.body_bytes, server->shares.connections, server->shares.environments,
              config->work_queue_max, config->response_bytes_max, config->writer.queue_points_max,
              config->writer.group_points_max, config->timeout_s,
              config->database.storage.map_max_bytes);
    log_write(LOG_LEVEL_INFO, "listening", "host=%s port=%u key=%s", config->host,
              http_port(server->http), server->service.auth == NULL ? "none" : "required");
}

enum error server_open(const struct config *config, struct server **result, char *why,
                       size_t why_bytes)
{
    uint32_t worker_count = server_worker_count(config);
    struct database_options options = config->database;
    options.storage.reader_count = worker_count + 2; /* the planner's and the expiry's */
    struct database *database = NULL;
    struct shares shares = share_descriptors(config, raise_file_limit());
    options.max_open_collections = shares.environments;
    tree_seed();
    enum error error = database_open(config->data_dir, true, &options, &database, why, why_bytes);
    if (error != OK)
        return error;
    struct server *server = allocate_zeroed(1, sizeof *server);
    server->config = config;
    server->shares = shares;
    server->router.service = &server->service;
    uv_loop_init(&server->loop);
    error = start_listening(server, why, why_bytes);
    if (error != OK) {
        uv_loop_close(&server->loop);
        free(server);
        database_close(database);
        return error;
    }
    server->router.http = server->http;
    service_identify(&server->service);
    server->service.metrics = metrics_new(route_count);
    server->service.database = database;
    server->service.config = config;
    server->service.auth = auth_new(config);
    server->service.writer = writer_new(database, &config->writer);
    field_builder_resume(&server->service);
    server->service.planner =
        planner_new(database, server->service.writer, worker_count, &config->planner);
    server->service.expiry =
        expiry_new(database, server->service.writer, worker_count + 1, &config->expiry);
    server->service.workers = workers_new(worker_count, 0, config->work_queue_max);
    start_handles(server);
    log_start(server, worker_count);
    *result = server;
    return OK;
}

uint16_t server_port(const struct server *server)
{
    return http_port(server->http);
}

void server_run(struct server *server)
{
    uv_run(&server->loop, UV_RUN_DEFAULT);
}

/* ---- the end ---- */

static bool requests_running(const struct service *service)
{
    return atomic_load_explicit(&service->calls, memory_order_acquire) > 0 ||
           atomic_load(&service->bulk_streams) > 0 || atomic_load(&service->field_builds) > 0;
}

/* Requests that are still running would reply into what is about to be freed. */
static void wait_for_requests(const struct service *service)
{
    const struct timespec step = {.tv_nsec = 1000000};
    for (int i = 0; i < STOP_POLL_MS && requests_running(service); i++)
        nanosleep(&step, NULL);
    if (!requests_running(service))
        return;
    log_write(LOG_LEVEL_WARN, "stopped with requests running", "calls=%u bulk_streams=%u",
              atomic_load(&service->calls), atomic_load(&service->bulk_streams));
    _exit(0);
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    wait_for_requests(&server->service);
    expiry_free(server->service.expiry);
    planner_free(server->service.planner);
    writer_free(server->service.writer);
    workers_free(server->service.workers);
    http_server_free(server->http);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    database_close(server->service.database);
    auth_free(server->service.auth);
    metrics_free(server->service.metrics);
    log_write(LOG_LEVEL_INFO, "stopped", "%s", "");
    free(server);
}
