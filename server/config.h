/* Every option of the server: one table (config.c) drives parsing, --print-config and --help.
 *
 * Sources, later ones win: defaults, the file (`name = value` lines, # begins a comment), the
 * environment (KITH__HTTP__BODY_BYTES_MAX is http.body_bytes_max; KITH_API_KEY is service.api_key;
 * a secret also by file: KITH_API_KEY_FILE, service.api_key_file), then flags. An unknown name is a
 * refusal that says the nearest known one. Secrets never come from flags: flags show in ps. */
#ifndef KITH_SERVER_CONFIG_H
#define KITH_SERVER_CONFIG_H

#include <stdio.h>

#include "server/http.h"
#include "server/log.h"
#include "server/expiry.h"
#include "server/planner.h"
#include "server/writer.h"

struct strict_limits {             /* generous; names follow the compatible API's strict mode */
    uint32_t search_max_batchsize; /* strict.search_max_batchsize: searches of one batch */
    uint32_t upsert_max_batchsize; /* strict.upsert_max_batchsize: points of one request */
    uint32_t update_max_batchsize; /* strict.update_max_batchsize: operations of one batch */
    uint32_t ids_max;              /* strict.ids_max: ids listed in one request */
    uint64_t max_query_limit;      /* strict.max_query_limit: 0 none */
    uint64_t max_points_count;     /* strict.max_points_count: 0 none */
    uint64_t max_collection_vector_size_bytes; /* strict.max_collection_vector_size_bytes: 0 none */
    uint64_t read_rate_limit;                  /* strict.read_rate_limit: reads a minute, 0 none */
    uint64_t write_rate_limit;      /* strict.write_rate_limit: writes a minute, 0 none */
    uint64_t payload_bytes_max;     /* strict.payload_bytes_max: of one point's payload, as JSON */
    uint32_t id_bytes_max;          /* strict.id_bytes_max: of a string id */
    uint32_t max_timeout_s;         /* strict.max_timeout_s: ?timeout= is cut to it */
    uint32_t filter_max_depth;      /* strict.filter_max_depth: filters within filters */
    uint32_t filter_max_conditions; /* strict.filter_max_conditions: of one filter, all levels */
    uint32_t condition_max_size;    /* strict.condition_max_size: values in one condition's list */
};

struct config {
    /* service: strings are owned by the config, NULL when not set */
    char *host;
    uint32_t port;
    char *api_key, *alt_api_key, *read_only_api_key;
    bool allow_insecure;
    char *title, *version, *commit;  /* of GET / */
    uint32_t timeout_s;              /* of a request without ?timeout= */
    uint32_t worker_count;           /* 0: one a core */
    uint32_t work_queue_max;         /* requests waiting for a worker -> 503 */
    uint64_t response_bytes_max;     /* of one reply -> 400 naming it */
    uint64_t control_body_bytes_max; /* of a body read as a tree (jansson) -> 413 */
    /* log */
    uint32_t log_level; /* enum log_level */
    uint32_t slow_ms;   /* requests slower than this are logged; 0 none */
    /* storage */
    char *data_dir;
    struct database_options database;
    struct http_limits http;
    struct writer_options writer;
    struct planner_options planner;
    struct strict_limits strict;
    struct expiry_options expiry;
    uint32_t exports_max; /* exports running at once -> 503 */
};

/* All fields at their defaults. Release with config_release. */
void config_init(struct config *config);
void config_release(struct config *config);

/* Set one option from text: the file's, the environment's and the flags' common path. false: *why
 * is one line (unknown name with the nearest known, not a number, out of range). */
bool config_set(struct config *config, const char *name, const char *value, char *why,
                size_t why_bytes);
/* Read a file of `name = value` lines. *why names file and line. */
bool config_read_file(struct config *config, const char *path, char *why, size_t why_bytes);
/* Apply the KITH_ variables of an environment (NULL-terminated "NAME=value"). */
bool config_read_environment(struct config *config, char *const *environment, char *why,
                             size_t why_bytes);
/* Do the values agree with each other? (keys, listening beyond loopback, group against queue) */
bool config_check(const struct config *config, char *why, size_t why_bytes);
/* `name = value  # doc` for every option, readable by config_read_file; secrets as a digest. */
void config_print(const struct config *config, FILE *out);

/* Names, for tests and help: NULL at the end. */
const char *config_option_name(size_t i);
/* The value as text in buffer, as config_print would show it (secrets: "(set)" or empty). */
void config_get(const struct config *config, const char *name, char *buffer, size_t buffer_bytes);
/* The known option whose name has the smallest edit distance. */
const char *config_nearest(const char *name);

#endif
