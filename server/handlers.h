/* Every handler the route table names. Each runs on a worker with a call and ends it once. */
#ifndef KITH_SERVER_HANDLERS_H
#define KITH_SERVER_HANDLERS_H

#include "server/api.h"

/* api_service.c. The first three are answered on the loop thread and end the request. */
void service_reply_version(const struct config *config, struct http_request *request);
void service_reply_live(struct http_request *request);
void service_reply_ready(const struct service *service, struct http_request *request);
void request_text(struct http_request *request, int status, const char *body); /* text/plain */
call_handler api_telemetry;                                                    /* GET /telemetry */
call_handler api_metrics;                                                      /* GET /metrics */

/* api_collections.c */
call_handler api_collections_list;   /* GET    /collections */
call_handler api_collection_create;  /* PUT    /collections/{c} */
call_handler api_collection_info;    /* GET    /collections/{c} */
call_handler api_collection_exists;  /* GET    /collections/{c}/exists */
call_handler api_collection_compact; /* POST /collections/{c}/compact: api_compact.c */
call_handler
    api_vector_name_create; /* PUT    /collections/{c}/vectors/{name}: api_vector_names.c */
call_handler api_vector_name_delete; /* DELETE */
call_handler api_collection_update;  /* PATCH  /collections/{c}: api_configure.c */
call_handler api_collection_delete;  /* DELETE /collections/{c} */

/* api_aliases.c */
call_handler api_aliases_change;     /* POST /collections/aliases */
call_handler api_aliases_list;       /* GET  /aliases */
call_handler api_collection_aliases; /* GET  /collections/{c}/aliases */

/* api_points.c */
call_handler api_points_upsert;   /* PUT  /collections/{c}/points */
call_handler api_points_retrieve; /* POST /collections/{c}/points */
call_handler api_point_get;       /* GET  /collections/{c}/points/{id} */
call_handler api_points_scroll;   /* POST /collections/{c}/points/scroll */
call_handler api_index_create;    /* PUT /collections/{c}/index */
call_handler api_index_delete;    /* DELETE /collections/{c}/index/{field} */
call_handler api_points_count;    /* POST /collections/{c}/points/count */

/* api_vectors.c */
call_handler api_vectors_update; /* PUT  /collections/{c}/points/vectors */
call_handler api_vectors_delete; /* POST /collections/{c}/points/vectors/delete */

/* api_payload.c */
call_handler api_points_delete;     /* POST /collections/{c}/points/delete */
call_handler api_payload_set;       /* POST /collections/{c}/points/payload */
call_handler api_payload_overwrite; /* PUT  /collections/{c}/points/payload */
call_handler api_payload_delete;    /* POST /collections/{c}/points/payload/delete */
call_handler api_payload_clear;     /* POST /collections/{c}/points/payload/clear */

/* api_constants.c */
call_handler api_cluster;       /* GET    /cluster */
call_handler api_issues;        /* GET    /issues */
call_handler api_issues_clear;  /* DELETE /issues */
call_handler api_quotas;        /* GET    /quotas */
call_handler api_quotas_set;    /* PUT    /quotas */
call_handler api_optimizations; /* GET    /collections/{c}/optimizations */

/* api_batch.c */
call_handler api_points_batch; /* POST /collections/{c}/points/batch */

/* openapi.c */
call_handler api_openapi; /* GET /openapi.json */

/* api_query.c */
call_handler api_points_query;       /* POST /collections/{c}/points/query */
call_handler api_points_query_batch; /* POST /collections/{c}/points/query/batch */

/* api_groups.c */
call_handler api_points_query_groups;     /* POST /collections/{c}/points/query/groups */
call_handler api_points_search_groups;    /* POST /collections/{c}/points/search/groups */
call_handler api_points_recommend_groups; /* POST /collections/{c}/points/recommend/groups */

/* api_facet.c */
call_handler api_facet; /* POST /collections/{c}/facet */

/* api_matrix.c */
call_handler api_matrix_pairs;   /* POST /collections/{c}/points/search/matrix/pairs */
call_handler api_matrix_offsets; /* POST /collections/{c}/points/search/matrix/offsets */

/* api_legacy.c: what the newest version no longer documents and older clients call */
call_handler api_points_search;          /* POST /collections/{c}/points/search */
call_handler api_points_search_batch;    /* POST /collections/{c}/points/search/batch */
call_handler api_points_recommend;       /* POST /collections/{c}/points/recommend */
call_handler api_points_recommend_batch; /* POST /collections/{c}/points/recommend/batch */
call_handler api_points_discover;        /* POST /collections/{c}/points/discover */
call_handler api_points_discover_batch;  /* POST /collections/{c}/points/discover/batch */

/* api_recall.c */
call_handler api_recall_get;     /* GET  /collections/{c}/recall */
call_handler api_recall_measure; /* POST /collections/{c}/recall */

/* api_export.c: GET and POST /collections/{c}/export */
call_handler api_export;

/* api_bulk.c: POST /collections/{c}/bulk, a streamed body (HTTP_STREAM). bulk_begin is called on
 * the loop thread in the headers callback after routing and authorisation; it sets request->user
 * and either returns HTTP_STREAM or replies and returns HTTP_DONE. bulk_stream is http's stream().
 */
enum http_verdict bulk_begin(struct service *service, struct http_request *request);
void bulk_stream(struct service *service, struct http_request *request);

/* Creates a collection from code (bulk's ?distance=): fills settings (seed drawn at random, config
 * text as api_collection_create would store it). Strings in the arena. api_collections.c */
void collection_settings_simple(struct arena *arena, uint32_t dim, enum metric metric,
                                struct collection_settings *settings);

#endif
