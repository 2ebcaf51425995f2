/* The table of options and everything that walks it.
 *
 * An option is one row: name, kind, where its value lies in struct config, the range, one line for
 * people. Defaults are set once, in config_init, from the modules that use them. */
#include "server/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/filter.h"
#include "server/version.h"

#define NAME_BYTES_MAX 128
#define FILE_BYTES_MAX (1u << 20)
#define SECRET_BYTES_MAX 1024

enum option_kind {
    OPTION_TEXT,
    OPTION_SECRET, /* text that is never shown; also NAME_file */
    OPTION_BOOL,
    OPTION_LEVEL, /* a log level's name */
    OPTION_U32,
    OPTION_U64,
    OPTION_BYTES, /* u64 or size_t; KiB, MiB and GiB may follow the number */
};

struct option {
    const char *name;
    enum option_kind kind;
    size_t offset;
    uint64_t min, max;
    const char *doc;
};

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "byte limits are read and written as u64");

#define KIB ((uint64_t)1024)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
#define AT(field) offsetof(struct config, field)

static const struct option options[] = {
    {"service.host", OPTION_TEXT, AT(host), 1, 255, "address to listen on"},
    {"service.http_port", OPTION_U32, AT(port), 0, 65535, "port; 0: any free one"},
    {"service.api_key", OPTION_SECRET, AT(api_key), 0, SECRET_BYTES_MAX, "key for everything"},
    {"service.alt_api_key", OPTION_SECRET, AT(alt_api_key), 0, SECRET_BYTES_MAX,
     "second key for everything, for rotation"},
    {"service.read_only_api_key", OPTION_SECRET, AT(read_only_api_key), 0, SECRET_BYTES_MAX,
     "key for reading"},
    {"service.allow_insecure", OPTION_BOOL, AT(allow_insecure), 0, 1,
     "listen beyond loopback without a key"},
    {"service.title", OPTION_TEXT, AT(title), 1, 255, "title in GET /, for clients that look"},
    {"service.version", OPTION_TEXT, AT(version), 5, 32,
     "x.y.z in GET /, for clients that compare"},
    {"service.commit", OPTION_TEXT, AT(commit), 40, 40, "40 hex digits in GET /"},
    {"service.timeout_s", OPTION_U32, AT(timeout_s), 1, 86400, "of a request without ?timeout="},
    {"service.workers", OPTION_U32, AT(worker_count), 0, 256, "search threads; 0: one a core"},
    {"service.work_queue_max", OPTION_U32, AT(work_queue_max), 1, 1000000,
     "requests waiting for a search thread; above: 503"},
    {"service.response_bytes_max", OPTION_BYTES, AT(response_bytes_max), KIB, 4 * GIB,
     "of one reply; above: 400"},
    {"service.control_body_bytes_max", OPTION_BYTES, AT(control_body_bytes_max), KIB, 64 * MIB,
     "of a body that describes a collection; above: 413"},
    {"log.level", OPTION_LEVEL, AT(log_level), 0, LOG_LEVEL_COUNT - 1,
     "error, warn, info or debug"},
    {"log.slow_ms", OPTION_U32, AT(slow_ms), 0, 3600000, "log requests that took longer; 0: none"},
    {"storage.data_dir", OPTION_TEXT, AT(data_dir), 1, 4096, "where everything is kept"},
    {"storage.map_initial_bytes", OPTION_BYTES, AT(database.storage.map_initial_bytes), 64 * KIB,
     16 * TIB, "address space of a new collection"},
    {"storage.map_max_bytes", OPTION_BYTES, AT(database.storage.map_max_bytes), 64 * KIB, 16 * TIB,
     "address space of a grown collection: its largest size"},
    {"storage.min_free_bytes", OPTION_BYTES, AT(database.storage.min_free_bytes), 0, 16 * TIB,
     "refuse upserts below this much free disk; 0: the smaller of 5 % and 1 GiB"},
    {"storage.ballast_bytes", OPTION_BYTES, AT(database.storage.ballast_bytes), 0, TIB,
     "given back so that deletes work on a full disk"},
    {"storage.allow_network_fs", OPTION_BOOL, AT(database.storage.allow_network_fs), 0, 1,
     "data on NFS, SMB, 9p or FUSE, where a mapped file is not safe"},
    {"storage.slot_chunk_bits", OPTION_U32, AT(database.storage.slot_chunk_bits), 6, 14,
     "slots given back at once, as a power of two, of new collections; small only in tests"},
    {"storage.max_open_environments", OPTION_U32, AT(database.max_open_collections), 1, 100000,
     "collections open at once; fewer where the descriptor limit is low"},
    {"index.first_generation_codes", OPTION_U32, AT(database.first_generation_codes), 32, 1u << 24,
     "codes of a collection's first generation"},
    {"index.generation_codes", OPTION_U32, AT(database.generation_codes), 32, 1u << 24,
     "codes of the generations after it"},
    {"index.partition_start_codes", OPTION_U32, AT(database.partition_start_codes), 64, 1u << 24,
     "codes of a vector from which on they are divided into partitions"},
    {"index.partition_codes", OPTION_U32, AT(database.partition_codes), 0, 65536,
     "codes a partition aims at; 0: what the dims suggest"},
    {"index.sparse_tail_points", OPTION_U32, AT(database.sparse_tail_points), 1, 65536,
     "most points of a sparse vector outside its posting lists"},
    {"index.plan_bytes", OPTION_BYTES, AT(database.plan_bytes), 4 * KIB, GIB,
     "written by a step of maintenance, about"},
    {"planner.enabled", OPTION_BOOL, AT(planner.enabled), 0, 1,
     "maintenance of partitions; off only to measure what it costs"},
    {"planner.measure_percent", OPTION_U32, AT(planner.measure_percent), 0, 50,
     "of a core, spent on measuring the recall that sampled queries got"},
    {"expire.interval_ms", OPTION_U32, AT(expiry.interval_ms), 1, 86400000,
     "between two sweeps for points that have expired"},
    {"expire.batch_points", OPTION_U32, AT(expiry.batch_points), 1, 65536,
     "expired points deleted by one operation"},
    {"export.running_max", OPTION_U32, AT(exports_max), 1, 256, "exports at once; above: 503"},
    {"http.request_line_bytes_max", OPTION_BYTES, AT(http.request_line_bytes), 64, MIB,
     "above: 414"},
    {"http.header_bytes_max", OPTION_BYTES, AT(http.header_bytes), 256, MIB,
     "all headers; above: 431"},
    {"http.header_count_max", OPTION_U64, AT(http.header_count), 1, 10000, "above: 431"},
    {"http.body_bytes_max", OPTION_BYTES, AT(http.body_bytes), 1, 4 * GIB,
     "of a body that is not streamed; above: 413"},
    {"http.body_budget_bytes", OPTION_BYTES, AT(http.body_budget_bytes), MIB, TIB,
     "of all bodies held at once; above: clients wait"},
    {"http.stream_buffer_bytes", OPTION_BYTES, AT(http.stream_buffer_bytes), 64 * KIB, GIB,
     "held of one streamed body"},
    {"http.connections_max", OPTION_U32, AT(http.connection_count), 1, 1000000,
     "open connections; fewer where the descriptor limit is low"},
    {"http.header_timeout_ms", OPTION_U32, AT(http.header_timeout_ms), 1, 3600000,
     "from the first byte to the last header; later: 408"},
    {"http.body_grace_ms", OPTION_U32, AT(http.body_grace_ms), 1, 3600000,
     "after this a body must have come at the rate below"},
    {"http.body_bytes_per_s_min", OPTION_U32, AT(http.body_bytes_per_s), 0, 1u << 30,
     "slower: 408"},
    {"http.idle_timeout_ms", OPTION_U32, AT(http.idle_timeout_ms), 1, 86400000,
     "close a connection without requests"},
    {"http.write_timeout_ms", OPTION_U32, AT(http.write_timeout_ms), 1, 86400000,
     "close a connection that takes nothing of its answer"},
    {"http.drain_timeout_ms", OPTION_U32, AT(http.drain_timeout_ms), 0, 86400000,
     "for running requests when stopping"},
    {"writer.queue_points_max", OPTION_U32, AT(writer.queue_points_max), 1, 1u << 30,
     "points waiting to be written; above: 503"},
    {"writer.queue_bytes_max", OPTION_BYTES, AT(writer.queue_bytes_max), KIB, TIB,
     "bytes waiting to be written; above: 503"},
    {"writer.group_points_max", OPTION_U32, AT(writer.group_points_max), 1, 65536,
     "points committed together"},
    {"writer.group_bytes_max", OPTION_BYTES, AT(writer.group_bytes_max), KIB, GIB,
     "bytes committed together"},
    {"writer.group_gather_us", OPTION_U32, AT(writer.group_gather_us), 0, 1000000,
     "longest gathering of a group"},
    {"strict.search_max_batchsize", OPTION_U32, AT(strict.search_max_batchsize), 1, 1u << 20,
     "searches of one batch; above: 400"},
    {"strict.upsert_max_batchsize", OPTION_U32, AT(strict.upsert_max_batchsize), 1, 1u << 24,
     "points of one upsert; above: 400"},
    {"strict.update_max_batchsize", OPTION_U32, AT(strict.update_max_batchsize), 1, 1u << 20,
     "operations of one batch; above: 400"},
    {"strict.ids_max", OPTION_U32, AT(strict.ids_max), 1, 1u << 24,
     "ids listed in one request; above: 400"},
    {"strict.max_query_limit", OPTION_U64, AT(strict.max_query_limit), 0, UINT64_MAX,
     "largest limit of a query; above: 400; 0: none"},
    {"strict.max_points_count", OPTION_U64, AT(strict.max_points_count), 0, UINT64_MAX,
     "points of one collection; above: 400; 0: none"},
    {"strict.max_collection_vector_size_bytes", OPTION_BYTES,
     AT(strict.max_collection_vector_size_bytes), 0, UINT64_MAX,
     "vectors of one collection as floats; above: 400; 0: none"},
    {"strict.read_rate_limit", OPTION_U64, AT(strict.read_rate_limit), 0, 1000000000,
     "reads of one collection a minute; above: 429; 0: none"},
    {"strict.write_rate_limit", OPTION_U64, AT(strict.write_rate_limit), 0, 1000000000,
     "writes of one collection a minute; above: 429; 0: none"},
    {"strict.payload_bytes_max", OPTION_BYTES, AT(strict.payload_bytes_max), 2, GIB,
     "of one point's payload; above: 400"},
    {"strict.id_bytes_max", OPTION_U32, AT(strict.id_bytes_max), 1, POINT_ID_TEXT_BYTES_MAX,
     "of an id in a collection with string ids; above: 400"},
    {"strict.max_timeout_s", OPTION_U32, AT(strict.max_timeout_s), 1, 86400,
     "?timeout= is cut to it"},
    {"strict.filter_max_depth", OPTION_U32, AT(strict.filter_max_depth), 1, FILTER_DEPTH_MAX,
     "filters within filters; above: 400"},
    {"strict.filter_max_conditions", OPTION_U32, AT(strict.filter_max_conditions), 1, 1u << 20,
     "conditions of one filter; above: 400"},
    {"strict.condition_max_size", OPTION_U32, AT(strict.condition_max_size), 1, 1u << 24,
     "values in one condition's list; above: 400"},
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

/* Variables without a section, as one would guess them. */
static const struct {
    const char *variable, *option;
} short_names[] = {
    {"KITH_API_KEY", "service.api_key"},
    {"KITH_ALT_API_KEY", "service.alt_api_key"},
    {"KITH_READ_ONLY_API_KEY", "service.read_only_api_key"},
};

static char *text_copy(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(allocate(bytes), text, bytes);
}

void config_init(struct config *config)
{
    *config = (struct config){
        .host = text_copy("127.0.0.1"),
        .port = 6333,
        .title = text_copy("qdrant - vector search engine"),
        .version = text_copy("1.19.0"),
        .commit = text_copy(version_commit()),
        .timeout_s = 60,
        .work_queue_max = 1024,
        .response_bytes_max = 256 * MIB,
        .control_body_bytes_max = MIB,
        .log_level = LOG_LEVEL_INFO,
        .slow_ms = 500,
        .data_dir = text_copy("./kith-data"),
        .database = database_options_default(),
        .http = http_limits_default(),
        .writer = writer_options_default(),
        .planner = planner_options_default(),
        .expiry = expiry_options_default(),
        .exports_max = 4,
        .strict =
            {
                .search_max_batchsize = 1000,
                .upsert_max_batchsize = 100000,
                .update_max_batchsize = 1000,
                .ids_max = 1u << 20,
                .payload_bytes_max = 16 * MIB,
                .id_bytes_max = 512,
                .max_timeout_s = 3600,
                .filter_max_depth = filter_limits_default().depth_max,
                .filter_max_conditions = filter_limits_default().conditions_max,
                .condition_max_size = filter_limits_default().list_max,
            },
    };
}

/* ---- fields ---- */

static bool option_is_text(const struct option *option)
{
    return option->kind == OPTION_TEXT || option->kind == OPTION_SECRET;
}

static char **text_field(struct config *config, const struct option *option)
{
    return (char **)(void *)((char *)config + option->offset);
}

static const char *text_value(const struct config *config, const struct option *option)
{
    const char *text;
    memcpy(&text, (const char *)config + option->offset, sizeof text);
    return text;
}

static uint64_t number_value(const struct config *config, const struct option *option)
{
    const char *field = (const char *)config + option->offset;
    switch (option->kind) {
    case OPTION_BOOL:
        return *(const bool *)(const void *)field;
    case OPTION_LEVEL:
    case OPTION_U32:
        return load32(field);
    case OPTION_U64:
    case OPTION_BYTES:
        return load64(field);
    case OPTION_TEXT:
    case OPTION_SECRET:
        break;
    }
    return 0;
}

static void number_store(struct config *config, const struct option *option, uint64_t value)
{
    char *field = (char *)config + option->offset;
    if (option->kind == OPTION_BOOL)
        *(bool *)(void *)field = value != 0;
    else if (option->kind == OPTION_U32 || option->kind == OPTION_LEVEL)
        store32(field, (uint32_t)value);
    else
        store64(field, value);
}

static void text_clear(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void config_release(struct config *config)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!option_is_text(&options[i]))
            continue;
        text_clear(*text_field(config, &options[i]));
        *text_field(config, &options[i]) = NULL;
    }
}

/* ---- names ---- */

const char *config_option_name(size_t i)
{
    return i < OPTION_COUNT ? options[i].name : NULL;
}

static const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    }
    return NULL;
}

/* Levenshtein, one row at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES_MAX + 1];
    size_t b_bytes = strnlen(b, NAME_BYTES_MAX);
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_bytes; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            size_t removed = row[j + 1] + 1, added = row[j] + 1;
            diagonal = row[j + 1];
            size_t least = removed < added ? removed : added;
            row[j + 1] = replaced < least ? replaced : least;
        }
    }
    return row[b_bytes];
}

/* How far a name is from an option. `port` should find service.http_port and `http.body` one of
 * http.body_..., not the shortest name there is. */
static size_t option_distance(const char *option, const char *name)
{
    size_t distance = edit_distance(option, name);
    const char *last = strchr(name, '.') == NULL ? strrchr(option, '.') + 1 : option;
    size_t other = edit_distance(last, name);
    if (*name != '\0' && strstr(last, name) != NULL)
        other = 1;
    return other < distance ? other : distance;
}

const char *config_nearest(const char *name)
{
    const char *nearest = options[0].name;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        size_t distance = option_distance(options[i].name, name);
        if (distance < least) {
            least = distance;
            nearest = options[i].name;
        }
    }
    return nearest;
}

/* ---- setting ---- */

__attribute__((format(printf, 3, 4))) static bool refuse(char *why, size_t why_bytes,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, why_bytes, format, arguments);
    va_end(arguments);
    return false;
}

static bool parse_number(const char *text, bool bytes, uint64_t *value)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < (bytes ? sizeof units / sizeof units[0] : 1); i++) {
        if (strcasecmp(end, units[i].name) == 0) {
            *value = (uint64_t)v << units[i].shift;
            return *value >> units[i].shift == v;
        }
    }
    return false;
}

static bool parse_bool(const char *text, uint64_t *value)
{
    *value = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *value != 0 || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

static bool set_number(struct config *config, const struct option *option, const char *value,
                       char *why, size_t why_bytes)
{
    uint64_t number = 0;
    enum log_level level = LOG_LEVEL_INFO;
    if (option->kind == OPTION_LEVEL) {
        if (!log_level_parse(value, &level))
            return refuse(why, why_bytes, "%s: '%.64s' is none of error, warn, info, debug",
                          option->name, value);
        number = (uint64_t)level;
    } else if (option->kind == OPTION_BOOL) {
        if (!parse_bool(value, &number))
            return refuse(why, why_bytes, "%s: '%.64s' is neither true nor false", option->name,
                          value);
    } else if (!parse_number(value, option->kind == OPTION_BYTES, &number)) {
        return refuse(why, why_bytes, "%s: '%.64s' is not a number%s", option->name, value,
                      option->kind == OPTION_BYTES ? " of bytes (such as 1048576 or 32 MiB)" : "");
    }
    if (number < option->min || number > option->max)
        return refuse(why, why_bytes,
                      "%s: %" PRIu64 " is out of range, must be from %" PRIu64 " to %" PRIu64,
                      option->name, number, option->min, option->max);
    number_store(config, option, number);
    return true;
}

/* A secret that is empty counts as not set: compose files pass optional ones that way. */
static bool set_text(struct config *config, const struct option *option, const char *value,
                     char *why, size_t why_bytes)
{
    size_t bytes = strlen(value);
    if (bytes < option->min || bytes > option->max)
        return refuse(why, why_bytes, "%s: must have from %" PRIu64 " to %" PRIu64 " bytes",
                      option->name, option->min, option->max);
    for (size_t i = 0; option->kind == OPTION_SECRET && i < bytes; i++) {
        if (!isgraph((unsigned char)value[i]))
            return refuse(why, why_bytes,
                          "%s: may only have visible ASCII characters, as it travels in a header",
                          option->name);
    }
    char **field = text_field(config, option);
    text_clear(*field);
    *field = bytes == 0 ? NULL : text_copy(value);
    return true;
}

static bool set_from_file(struct config *config, const struct option *option, const char *path,
                          char *why, size_t why_bytes)
{
    char secret[SECRET_BYTES_MAX + 2];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return refuse(why, why_bytes, "%s: cannot read %.512s: %s", option->name, path,
                      strerror(errno));
    size_t bytes = fread(secret, 1, sizeof secret - 1, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    while (bytes > 0 && (secret[bytes - 1] == '\n' || secret[bytes - 1] == '\r'))
        bytes--;
    secret[bytes] = '\0';
    bool ok = !failed && strlen(secret) == bytes && bytes > 0;
    ok = ok ? set_text(config, option, secret, why, why_bytes)
            : refuse(why, why_bytes, "%s: %.512s has no key in it", option->name, path);
    explicit_bzero(secret, sizeof secret);
    return ok;
}

/* NAME_file of a secret, or NULL. */
static const struct option *option_find_by_file(const char *name)
{
    static const char suffix[] = "_file";
    char base[NAME_BYTES_MAX];
    size_t bytes = strlen(name), suffix_bytes = sizeof suffix - 1;
    if (bytes <= suffix_bytes || bytes >= sizeof base ||
        strcmp(name + bytes - suffix_bytes, suffix) != 0)
        return NULL;
    memcpy(base, name, bytes - suffix_bytes);
    base[bytes - suffix_bytes] = '\0';
    const struct option *option = option_find(base);
    return option != NULL && option->kind == OPTION_SECRET ? option : NULL;
}

bool config_set(struct config *config, const char *name, const char *value, char *why,
                size_t why_bytes)
{
    const struct option *option = option_find_by_file(name);
    if (option != NULL)
        return set_from_file(config, option, value, why, why_bytes);
    option = option_find(name);
    if (option == NULL)
        return refuse(why, why_bytes, "unknown option '%.100s'; the nearest known one is '%s'",
                      name, config_nearest(name));
    return option_is_text(option) ? set_text(config, option, value, why, why_bytes)
                                  : set_number(config, option, value, why, why_bytes);
}

/* ---- the file ---- */

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t bytes = strlen(text);
    while (bytes > 0 && isspace((unsigned char)text[bytes - 1]))
        text[--bytes] = '\0';
    return text;
}

/* The value of a line in place: quoted, or up to a # that follows a blank. NULL: a quote is open or
 * something follows the closing one. */
static char *parse_value(char *text)
{
    text = trim(text);
    if (*text == '"') {
        char *end = strchr(text + 1, '"');
        if (end == NULL)
            return NULL;
        *end = '\0';
        const char *rest = trim(end + 1);
        return *rest == '\0' || *rest == '#' ? text + 1 : NULL;
    }
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '#' && (c == text || isspace((unsigned char)c[-1]))) {
            *c = '\0';
            break;
        }
    }
    return trim(text);
}

static bool read_line(struct config *config, char *line, char *why, size_t why_bytes)
{
    line = trim(line);
    if (*line == '\0' || *line == '#')
        return true;
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return refuse(why, why_bytes, "expected `name = value`");
    *equals = '\0';
    char *value = parse_value(equals + 1);
    if (value == NULL)
        return refuse(why, why_bytes, "a quoted value must end with its quote");
    return config_set(config, trim(line), value, why, why_bytes);
}

static bool read_lines(struct config *config, FILE *file, const char *path, char *why,
                       size_t why_bytes)
{
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    ssize_t bytes;
    for (size_t number = 1; ok && (bytes = getline(&line, &capacity, file)) >= 0; number++) {
        char reason[1024] = "a NUL byte";
        ok = strlen(line) == (size_t)bytes && read_line(config, line, reason, sizeof reason);
        if (!ok)
            refuse(why, why_bytes, "%s line %zu: %s", path, number, reason);
    }
    if (ok && ferror(file))
        ok = refuse(why, why_bytes, "cannot read %s: %s", path, strerror(errno));
    if (line != NULL)
        explicit_bzero(line, capacity);
    free(line);
    return ok;
}

bool config_read_file(struct config *config, const char *path, char *why, size_t why_bytes)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return refuse(why, why_bytes, "cannot read %s: %s", path, strerror(errno));
    struct stat status;
    bool ok;
    if (fstat(fileno(file), &status) == 0 && status.st_size > FILE_BYTES_MAX)
        ok = refuse(why, why_bytes, "%s is larger than %u bytes", path, FILE_BYTES_MAX);
    else
        ok = read_lines(config, file, path, why, why_bytes);
    fclose(file);
    return ok;
}

/* ---- the environment ---- */

/* KITH__HTTP__BODY_BYTES_MAX -> http.body_bytes_max; false when it is none of ours or too long. */
static bool variable_option(const char *variable, size_t variable_bytes, char *name,
                            size_t name_bytes)
{
    static const char prefix[] = "KITH__";
    if (variable_bytes >= name_bytes || strncmp(variable, prefix, sizeof prefix - 1) != 0)
        return false;
    size_t at = 0;
    for (size_t i = sizeof prefix - 1; i < variable_bytes; i++) {
        if (variable[i] == '_' && i + 1 < variable_bytes && variable[i + 1] == '_') {
            name[at++] = '.';
            i++;
        } else {
            name[at++] = (char)tolower((unsigned char)variable[i]);
        }
    }
    name[at] = '\0';
    return true;
}

static bool variable_short(const char *variable, size_t variable_bytes, char *name,
                           size_t name_bytes)
{
    for (size_t i = 0; i < sizeof short_names / sizeof short_names[0]; i++) {
        size_t bytes = strlen(short_names[i].variable);
        if (variable_bytes < bytes || memcmp(variable, short_names[i].variable, bytes) != 0)
            continue;
        bool file = variable_bytes == bytes + 5 && memcmp(variable + bytes, "_FILE", 5) == 0;
        if (!file && variable_bytes != bytes)
            continue;
        snprintf(name, name_bytes, "%s%s", short_names[i].option, file ? "_file" : "");
        return true;
    }
    return false;
}

/* Other variables of that prefix are not ours (a service named kith in Kubernetes sets several),
 * but a key that nobody asks for must not leave the door open. */
static bool variable_is_key(const char *variable, size_t variable_bytes)
{
    return variable_bytes >= 5 && strncmp(variable, "KITH_", 5) == 0 &&
           memmem(variable, variable_bytes, "API_KEY", 7) != NULL;
}

bool config_read_environment(struct config *config, char *const *environment, char *why,
                             size_t why_bytes)
{
    for (; *environment != NULL; environment++) {
        const char *variable = *environment, *equals = strchr(variable, '=');
        char name[NAME_BYTES_MAX], reason[1024];
        if (equals == NULL)
            continue;
        size_t bytes = (size_t)(equals - variable);
        if (!variable_short(variable, bytes, name, sizeof name) &&
            !variable_option(variable, bytes, name, sizeof name)) {
            if (variable_is_key(variable, bytes))
                return refuse(why, why_bytes,
                              "environment variable %.*s: not known; keys are KITH_API_KEY, "
                              "KITH_ALT_API_KEY and KITH_READ_ONLY_API_KEY, each also with _FILE",
                              (int)bytes, variable);
            continue;
        }
        if (!config_set(config, name, equals + 1, reason, sizeof reason))
            return refuse(why, why_bytes, "environment variable %.*s: %s", (int)bytes, variable,
                          reason);
    }
    return true;
}

/* ---- agreement ---- */

/* A name that only begins like one (127.example.org) is not: it may lead anywhere. */
static bool host_is_loopback(const char *host)
{
    struct in_addr address;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0)
        return true;
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

static bool version_is_well_formed(const char *version)
{
    unsigned a, b, c;
    int used = 0;
    return sscanf(version, "%9u.%9u.%9u%n", &a, &b, &c, &used) == 3 && version[used] == '\0' &&
           strspn(version, "0123456789.") == strlen(version);
}

static bool check_keys(const struct config *config, char *why, size_t why_bytes)
{
    bool keyed = config->api_key != NULL;
    if (!keyed && (config->read_only_api_key != NULL || config->alt_api_key != NULL))
        return refuse(why, why_bytes,
                      "service.read_only_api_key and service.alt_api_key need service.api_key");
    if (config->read_only_api_key != NULL &&
        (strcmp(config->read_only_api_key, config->api_key) == 0 ||
         (config->alt_api_key != NULL &&
          strcmp(config->read_only_api_key, config->alt_api_key) == 0)))
        return refuse(why, why_bytes,
                      "service.read_only_api_key must differ from the keys for everything");
    if (!keyed && !config->allow_insecure && !host_is_loopback(config->host))
        return refuse(why, why_bytes,
                      "listening on %s without a key is refused: set KITH_API_KEY, or "
                      "service.allow_insecure = true if the network is trusted",
                      config->host);
    return true;
}

bool config_check(const struct config *config, char *why, size_t why_bytes)
{
    if (!check_keys(config, why, why_bytes))
        return false;
    if (!version_is_well_formed(config->version))
        return refuse(why, why_bytes, "service.version: '%s' is not of the form x.y.z",
                      config->version);
    if (strspn(config->commit, "0123456789abcdef") != 40)
        return refuse(why, why_bytes, "service.commit: must be 40 hex digits in lower case");
    const struct store_options *storage = &config->database.storage;
    if (storage->map_initial_bytes > storage->map_max_bytes)
        return refuse(why, why_bytes,
                      "storage.map_initial_bytes must not be above storage.map_max_bytes");
    if (config->writer.group_points_max > config->writer.queue_points_max)
        return refuse(why, why_bytes,
                      "writer.group_points_max must not be above writer.queue_points_max");
    if (config->writer.group_bytes_max > config->writer.queue_bytes_max)
        return refuse(why, why_bytes,
                      "writer.group_bytes_max must not be above writer.queue_bytes_max");
    if (config->http.body_bytes > config->http.body_budget_bytes)
        return refuse(why, why_bytes,
                      "http.body_bytes_max must not be above http.body_budget_bytes");
    if (config->timeout_s > config->strict.max_timeout_s)
        return refuse(why, why_bytes, "service.timeout_s must not be above strict.max_timeout_s");
    return true;
}

/* ---- showing ---- */

static void option_show(const struct config *config, const struct option *option, char *buffer,
                        size_t buffer_bytes)
{
    const char *text = option_is_text(option) ? text_value(config, option) : NULL;
    switch (option->kind) {
    case OPTION_TEXT:
        snprintf(buffer, buffer_bytes, "%s", text == NULL ? "" : text);
        break;
    case OPTION_SECRET:
        snprintf(buffer, buffer_bytes, "%s", text == NULL ? "" : "(set)");
        break;
    case OPTION_BOOL:
        snprintf(buffer, buffer_bytes, "%s", number_value(config, option) ? "true" : "false");
        break;
    case OPTION_LEVEL:
        snprintf(buffer, buffer_bytes, "%s",
                 log_level_name((enum log_level)number_value(config, option)));
        break;
    case OPTION_U32:
    case OPTION_U64:
    case OPTION_BYTES:
        snprintf(buffer, buffer_bytes, "%" PRIu64, number_value(config, option));
        break;
    }
}

void config_get(const struct config *config, const char *name, char *buffer, size_t buffer_bytes)
{
    const struct option *option = option_find(name);
    buffer[0] = '\0';
    if (option != NULL)
        option_show(config, option, buffer, buffer_bytes);
}

void config_print(const struct config *config, FILE *out)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char value[4200], line[4400];
        option_show(config, &options[i], value, sizeof value);
        if (options[i].kind == OPTION_SECRET)
            snprintf(line, sizeof line, "# %s is %s", options[i].name, *value ? "set" : "not set");
        else if (options[i].kind == OPTION_TEXT)
            snprintf(line, sizeof line, "%s = \"%s\"", options[i].name, value);
        else
            snprintf(line, sizeof line, "%s = %s", options[i].name, value);
        fprintf(out, "%-48s # %s\n", line, options[i].doc);
    }
}
