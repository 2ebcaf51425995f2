#include "server/routes.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#define FAILURES_LOGGED_PER_SECOND 10

#define W (ROUTE_WRITE | (unsigned)PARAMETER_WAIT | (unsigned)PARAMETER_TIMEOUT)
#define R ((unsigned)PARAMETER_TIMEOUT | (unsigned)PARAMETER_CONSISTENCY)
#define T ((unsigned)PARAMETER_TIMEOUT)
#define WT (ROUTE_WRITE | T)

#define GET HTTP_METHOD_GET
#define POST HTTP_METHOD_POST
#define PUT HTTP_METHOD_PUT
#define PATCH HTTP_METHOD_PATCH
#define DELETE HTTP_METHOD_DELETE

#define C "/collections/{}"
#define P C "/points"
#define S C "/snapshots"
#define SHARD C "/shards/{}"

#define BUILT(method, path, flags, handler, operation)                                             \
    {                                                                                              \
        method, path, ROUTE_CALL, flags, handler, operation                                        \
    }
#define LOOP(method, path, kind)                                                                   \
    {                                                                                              \
        method, path, kind, ROUTE_OPEN, NULL, NULL                                                 \
    }
#define UNBUILT(method, path, flags)                                                               \
    {                                                                                              \
        method, path, ROUTE_UNBUILT, flags, NULL, NULL                                             \
    }
#define CLUSTER(method, path, flags)                                                               \
    {                                                                                              \
        method, path, ROUTE_STANDALONE, flags, NULL, NULL                                          \
    }

/* clang-format off */
const struct route routes[] = {
    LOOP(GET, "/", ROUTE_VERSION),
    LOOP(GET, "/healthz", ROUTE_LIVE),
    LOOP(GET, "/livez", ROUTE_LIVE),
    LOOP(GET, "/readyz", ROUTE_READY),

    BUILT(GET, "/telemetry", T, api_telemetry, "Telemetry"),
    {GET, "/openapi.json", ROUTE_CALL, ROUTE_OPEN, api_openapi, "OpenAPI"},
    BUILT(GET, "/metrics", T | ROUTE_FIGURES, api_metrics, "Metrics"),

    BUILT(GET, "/collections", 0, api_collections_list, "List collections"),
    BUILT(GET, C "/exists", 0, api_collection_exists, "Collection exists"),
    BUILT(GET, C, 0, api_collection_info, "Get collection"),
    BUILT(PUT, C, WT | ROUTE_TREE, api_collection_create, "Create collection"),
    BUILT(PATCH, C, WT | ROUTE_TREE, api_collection_update, "Update collection"),
    BUILT(DELETE, C, WT, api_collection_delete, "Delete collection"),
    BUILT(POST, C "/compact", W, api_collection_compact, "Compact collection"),

    BUILT(POST, "/collections/aliases", WT | ROUTE_TREE, api_aliases_change, "Change aliases"),
    BUILT(GET, "/aliases", 0, api_aliases_list, "List aliases"),
    BUILT(GET, C "/aliases", 0, api_collection_aliases, "List aliases"),

    BUILT(PUT, P, W, api_points_upsert, "Upsert"),
    BUILT(POST, P, R, api_points_retrieve, "Retrieve"),
    BUILT(GET, P "/{}", R, api_point_get, "Retrieve"),
    BUILT(POST, P "/delete", W, api_points_delete, "Delete"),
    BUILT(POST, P "/scroll", R, api_points_scroll, "Scroll"),
    BUILT(POST, P "/count", R, api_points_count, "Count"),
    BUILT(POST, P "/query", R, api_points_query, "Query"),
    BUILT(POST, P "/query/batch", R, api_points_query_batch, "Query"),
    BUILT(POST, P "/search", R, api_points_search, "Search"),
    BUILT(POST, P "/search/batch", R, api_points_search_batch, "Search"),
    BUILT(POST, P "/query/groups", R, api_points_query_groups, "Query"),
    BUILT(POST, C "/facet", R, api_facet, "Facet"),
    BUILT(POST, P "/search/matrix/pairs", R, api_matrix_pairs, "Search matrix"),
    BUILT(POST, P "/search/matrix/offsets", R, api_matrix_offsets, "Search matrix"),
    BUILT(POST, P "/search/groups", R, api_points_search_groups, "Search"),
    BUILT(POST, P "/recommend", R, api_points_recommend, "Recommend"),
    BUILT(POST, P "/recommend/batch", R, api_points_recommend_batch, "Recommend"),
    BUILT(POST, P "/recommend/groups", R, api_points_recommend_groups, "Recommend"),
    BUILT(POST, P "/discover", R, api_points_discover, "Discover"),
    BUILT(POST, P "/discover/batch", R, api_points_discover_batch, "Discover"),

    BUILT(POST, P "/payload", W, api_payload_set, "Set payload"),
    BUILT(PUT, P "/payload", W, api_payload_overwrite, "Overwrite payload"),
    BUILT(POST, P "/payload/delete", W, api_payload_delete, "Delete payload"),
    BUILT(POST, P "/payload/clear", W, api_payload_clear, "Clear payload"),
    BUILT(POST, P "/batch", W, api_points_batch, "Batch update"),

    BUILT(GET, "/cluster", 0, api_cluster, "Cluster"),
    BUILT(GET, "/issues", 0, api_issues, "Issues"),
    BUILT(DELETE, "/issues", ROUTE_WRITE, api_issues_clear, "Issues"),
    BUILT(GET, "/quotas", 0, api_quotas, "Quotas"),
    BUILT(PUT, "/quotas", ROUTE_WRITE | ROUTE_TREE, api_quotas_set, "Quotas"),
    BUILT(GET, C "/optimizations", 0, api_optimizations, "Optimizations"),

    BUILT(GET, C "/recall", T, api_recall_get, "Recall"),
    BUILT(POST, C "/recall", R, api_recall_measure, "Recall"),
    BUILT(GET, C "/export", R, api_export, "Export"),
    BUILT(POST, C "/export", R, api_export, "Export"),
    {POST, C "/bulk", ROUTE_BULK, ROUTE_WRITE, NULL, "Bulk"},

    /* known, not built */
    BUILT(PUT, C "/index", W, api_index_create, "Create index"),
    BUILT(DELETE, C "/index/{}", W, api_index_delete, "Delete index"),
    BUILT(PUT, P "/vectors", W, api_vectors_update, "Update vectors"),
    BUILT(POST, P "/vectors/delete", W, api_vectors_delete, "Delete vectors"),
    UNBUILT(GET, S, 0),
    UNBUILT(POST, S, ROUTE_WRITE),
    UNBUILT(GET, S "/{}", 0),
    UNBUILT(DELETE, S "/{}", ROUTE_WRITE),
    UNBUILT(PUT, S "/recover", ROUTE_WRITE),
    UNBUILT(POST, S "/upload", ROUTE_WRITE),
    UNBUILT(GET, "/snapshots", 0),
    UNBUILT(POST, "/snapshots", ROUTE_WRITE),
    UNBUILT(GET, "/snapshots/{}", 0),
    UNBUILT(DELETE, "/snapshots/{}", ROUTE_WRITE),
    BUILT(PUT, C "/vectors/{}", W | ROUTE_TREE, api_vector_name_create, "Create vector name"),
    BUILT(DELETE, C "/vectors/{}", W, api_vector_name_delete, "Delete vector name"),

    /* need a cluster */
    CLUSTER(GET, C "/cluster", 0),
    CLUSTER(POST, C "/cluster", ROUTE_WRITE),
    CLUSTER(GET, C "/shards", 0),
    CLUSTER(PUT, C "/shards", ROUTE_WRITE),
    CLUSTER(POST, C "/shards/delete", ROUTE_WRITE),
    CLUSTER(GET, "/cluster/telemetry", 0),
    CLUSTER(POST, "/cluster/recover", ROUTE_WRITE),
    CLUSTER(DELETE, "/cluster/peer/{}", ROUTE_WRITE),
    CLUSTER(GET, SHARD "/snapshots", 0),
    CLUSTER(POST, SHARD "/snapshots", ROUTE_WRITE),
    CLUSTER(GET, SHARD "/snapshot", 0),
    CLUSTER(GET, SHARD "/snapshots/{}", 0),
    CLUSTER(DELETE, SHARD "/snapshots/{}", ROUTE_WRITE),
    CLUSTER(PUT, SHARD "/snapshots/recover", ROUTE_WRITE),
    CLUSTER(POST, SHARD "/snapshots/upload", ROUTE_WRITE),
};
/* clang-format on */
const size_t route_count = sizeof routes / sizeof routes[0];

static const char *const method_names[] = {"GET",   "HEAD",   "POST",    "PUT",
                                           "PATCH", "DELETE", "OPTIONS", "OTHER"};

const char *method_text(enum http_method method)
{
    return method_names[method];
}

/* ---- finding ---- */

/* How well a pattern fits: 0 not at all; else 1 + a bit per literal segment, the first one highest,
 * so that /collections/{}/snapshots/upload wins over /collections/{}/snapshots/{}. */
static unsigned pattern_match(const char *pattern, const struct span *segments, size_t count)
{
    unsigned fit = 1;
    size_t i = 0;
    while (*pattern == '/' && pattern[1] != '\0') {
        pattern++;
        size_t bytes = strcspn(pattern, "/");
        if (i == count)
            return 0;
        bool any = bytes == 2 && memcmp(pattern, "{}", 2) == 0;
        if (!any && !span_equal(segments[i], span_of(pattern, bytes)))
            return 0;
        fit = fit << 1 | (any ? 0u : 1u);
        pattern += bytes;
        i++;
    }
    return i == count ? fit : 0;
}

const struct route *route_find(enum http_method method, const struct span *segments,
                               size_t segment_count, unsigned *allowed)
{
    const struct route *best = NULL;
    unsigned best_fit = 0;
    *allowed = 0;
    if (method == HTTP_METHOD_HEAD)
        method = HTTP_METHOD_GET;
    for (size_t i = 0; i < route_count; i++) {
        unsigned fit = pattern_match(routes[i].pattern, segments, segment_count);
        if (fit == 0)
            continue;
        *allowed |= 1u << routes[i].method;
        if (routes[i].method == method && fit > best_fit) {
            best = &routes[i];
            best_fit = fit;
        }
    }
    return best;
}

/* ---- answers of the loop ---- */

static const char *path_text(struct http_request *request)
{
    size_t bytes = request->path.bytes < 512 ? request->path.bytes : 512;
    return arena_format(&request->arena, "%.*s %.*s", (int)request->method_text.bytes,
                        (const char *)request->method_text.data, (int)bytes,
                        (const char *)request->path.data);
}

static void reply_no_route(struct http_request *request, unsigned allowed)
{
    if (allowed == 0) {
        request_fail(request, 404, "Not found: there is no route %s", path_text(request));
        return;
    }
    char allow[96];
    size_t at = (size_t)snprintf(allow, sizeof allow, "Allow: ");
    const char *comma = "";
    for (unsigned method = 0; method < HTTP_METHOD_OTHER; method++) {
        if ((allowed >> method & 1) == 0)
            continue;
        at += (size_t)snprintf(allow + at, sizeof allow - at, "%s%s", comma, method_names[method]);
        comma = ", ";
    }
    snprintf(allow + at, sizeof allow - at, "\r\n");
    request_fail_headers(request, 405, allow, "Bad request: method not allowed: %s",
                         path_text(request));
}

/* ---- checks, each false when it has ended the request ---- */

static bool check_key(const struct service *service, const struct route *route,
                      struct http_request *request, bool *may_write)
{
    *may_write = true;
    if (route != NULL && (route->flags & ROUTE_OPEN) != 0)
        return true;
    enum auth_verdict verdict = auth_check(service->auth, request->api_key, request->authorization);
    *may_write = verdict == AUTH_FULL;
    if (verdict == AUTH_FULL || verdict == AUTH_READ_ONLY)
        return true;
    request_text(request, 401, verdict == AUTH_MISSING ? AUTH_TEXT_MISSING : AUTH_TEXT_WRONG);
    return false;
}

/* application/json, whatever its parameters and case. */
static bool type_is_json(struct span type)
{
    static const char json[] = "application/json";
    size_t bytes = sizeof json - 1;
    if (type.bytes < bytes || strncasecmp((const char *)type.data, json, bytes) != 0)
        return false;
    return type.bytes == bytes || type.data[bytes] == ';' || type.data[bytes] == ' ';
}

static bool check_type(struct http_request *request)
{
    if (request->content_length == 0)
        return true;
    struct span type = request->content_type;
    enum packing packing;
    if (type.bytes > 0 && !type_is_json(type)) {
        request_fail(request, 415,
                     "Bad request: the body of %s must be application/json, not %.*s (curl: -H "
                     "'Content-Type: application/json')",
                     path_text(request), (int)(type.bytes > 128 ? 128 : type.bytes),
                     (const char *)type.data);
        return false;
    }
    return request_read_packing(request, &packing);
}

static bool check_size(const struct config *config, const struct route *route,
                       struct http_request *request)
{
    if ((route->flags & ROUTE_TREE) == 0 || request->content_length == UINT64_MAX ||
        request->content_length <= config->control_body_bytes_max)
        return true;
    request_fail(request, 413,
                 "Bad request: the body is larger than service.control_body_bytes_max (%" PRIu64
                 " bytes)",
                 config->control_body_bytes_max);
    return false;
}

/* Refuse before the body is read; the queue is asked again when it is there. */
static bool check_queue(struct service *service, struct http_request *request)
{
    if (atomic_load(&service->draining)) {
        request_fail(request, 503, "Shard temporarily unavailable: the server is stopping");
        return false;
    }
    if (workers_queued(service->workers) < service->config->work_queue_max)
        return true;
    request_fail(request, 503, "Shard temporarily unavailable: too many requests are waiting");
    return false;
}

static uint32_t timeout_of(const struct config *config, const struct parameters *parameters)
{
    uint32_t timeout_s = parameters->timeout_s == 0 ? config->timeout_s : parameters->timeout_s;
    return timeout_s < config->strict.max_timeout_s ? timeout_s : config->strict.max_timeout_s;
}

static enum http_verdict begin_call(struct router *router, const struct route *route,
                                    struct http_request *request)
{
    struct service *service = router->service;
    struct parameters parameters;
    if (!check_type(request) || !check_size(service->config, route, request) ||
        !check_queue(service, request) ||
        !request_parameters(request, route->flags & 7u, &parameters))
        return HTTP_DONE;
    if ((route->flags & ROUTE_FIGURES) != 0) {
        struct http_figures figures;
        http_figures_get(router->http, &figures);
        metrics_set_http(service->metrics, &figures);
    }
    struct call *call = call_new(service, request, route->handler, route->operation);
    call->wait = parameters.wait;
    call->writes = (route->flags & ROUTE_WRITE) != 0;
    call->metered = (route->flags & (unsigned)(PARAMETER_WAIT | PARAMETER_CONSISTENCY)) != 0;
    call->timeout_s = timeout_of(service->config, &parameters);
    request->user = call;
    return HTTP_BUFFER;
}

static enum http_verdict begin_route(struct router *router, const struct route *route,
                                     struct http_request *request)
{
    switch (route->kind) {
    case ROUTE_CALL:
        return begin_call(router, route, request);
    case ROUTE_BULK:
        return check_queue(router->service, request) ? bulk_begin(router->service, request)
                                                     : HTTP_DONE;
    case ROUTE_VERSION:
        service_reply_version(router->service->config, request);
        return HTTP_DONE;
    case ROUTE_LIVE:
        service_reply_live(request);
        return HTTP_DONE;
    case ROUTE_READY:
        service_reply_ready(router->service, request);
        return HTTP_DONE;
    case ROUTE_UNBUILT:
        request_fail(request, 501,
                     "Not implemented: %s is known but not built in kith " KITH_VERSION,
                     path_text(request));
        return HTTP_DONE;
    case ROUTE_STANDALONE:
        request_fail(request, 405,
                     "Bad request: %s needs a cluster; this server runs in standalone mode",
                     path_text(request));
        return HTTP_DONE;
    }
    assert(false);
    return HTTP_DONE;
}

enum http_verdict routes_headers(void *context, struct http_request *request)
{
    struct router *router = context;
    unsigned allowed;
    bool may_write;
    const struct route *route =
        route_find(request->method, request->segments, request->segment_count, &allowed);
    request->route = route;
    /* the key comes before 404 and 405: without one the paths are nobody's business */
    if (!check_key(router->service, route, request, &may_write))
        return HTTP_DONE;
    if (route == NULL) {
        reply_no_route(request, allowed);
        return HTTP_DONE;
    }
    if ((route->flags & ROUTE_WRITE) != 0 && !may_write) {
        request_fail(request, 403, "Forbidden: %s needs a key that may write, this one may read",
                     path_text(request));
        return HTTP_DONE;
    }
    return request_parameters_distinct(request) ? begin_route(router, route, request) : HTTP_DONE;
}

void routes_request(void *context, struct http_request *request)
{
    (void)context;
    call_start(request->user);
}

void routes_stream(void *context, struct http_request *request)
{
    struct router *router = context;
    bulk_stream(router->service, request);
}

/* ---- figures and the log ---- */

/* 500 and 507 are the operator's to hear of, not only the client's; a disk that fails fails often.
 */
static bool failure_is_told(struct router *router, int status)
{
    uint64_t second = clock_ns() / 1000000000u;
    if (status != 500 && status != 507)
        return false;
    if (second != router->failures_second)
        router->failures_logged = 0;
    router->failures_second = second;
    return router->failures_logged++ < FAILURES_LOGGED_PER_SECOND;
}

void routes_finished(void *context, const struct http_request *request, int status,
                     size_t reply_bytes, double seconds)
{
    struct router *router = context;
    const struct route *route = request->route;
    metrics_count(router->service->metrics, route == NULL ? route_count : (size_t)(route - routes),
                  status, seconds);
    uint32_t slow_ms = router->service->config->slow_ms;
    bool slow = slow_ms > 0 && seconds * 1e3 > (double)slow_ms;
    bool failed = failure_is_told(router, status);
    enum log_level level = failed ? LOG_LEVEL_ERROR : slow ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
    if (!log_enabled(level))
        return;
    char path[600], id[200];
    log_write(level,
              failed ? "request failed"
              : slow ? "slow request"
                     : "request",
              "method=%s path=%s status=%d bytes_in=%" PRIu64
              " bytes_out=%zu seconds=%.6f request_id=%s",
              method_names[request->method], log_quote(request->path, path, sizeof path), status,
              request->content_length == UINT64_MAX ? request->body.bytes : request->content_length,
              reply_bytes, seconds, log_quote(request->request_id, id, sizeof id));
}
