#include "server/collection_config.h"

#include <string.h>

static struct span member(struct span object, const char *name)
{
    return object.bytes == 0 ? object : value_get(object, span_text(name));
}

static uint64_t number_of(struct span strict, const char *name)
{
    struct span value = member(strict, name);
    return value.bytes == 0 ? 0 : value_unsigned(value);
}

/* Is the flag there and false? */
static uint64_t forbids(struct span strict, const char *name)
{
    struct span value = member(strict, name);
    return value.bytes > 0 && !value_bool(value) ? 1 : 0;
}

static void limits_read(struct span strict, struct limits *limits)
{
    struct span enabled = member(strict, "enabled");
    struct span indexes = member(strict, "max_payload_index_count");
    struct span oversampling = member(strict, "search_max_oversampling");
    *limits = (struct limits){0};
    if (enabled.bytes == 0 || !value_bool(enabled))
        return;
#define X(name) limits->name = number_of(strict, #name);
    LIMIT_LIST(X)
#undef X
    limits->max_payload_index_count = indexes.bytes == 0 ? 0 : value_unsigned(indexes) + 1;
    double factor = oversampling.bytes == 0 ? 0 : value_double(oversampling);
    limits->search_max_oversampling_milli = factor > 1e15 ? 0 : (uint64_t)(factor * 1000 + 0.5);
    if (oversampling.bytes > 0 && factor < 1e15 && limits->search_max_oversampling_milli == 0)
        limits->search_max_oversampling_milli = 1; /* below any factor there is */
    limits->forbid_exact = forbids(strict, "search_allow_exact");
    limits->forbid_unindexed_retrieve = forbids(strict, "unindexed_filtering_retrieve");
    limits->forbid_unindexed_update = forbids(strict, "unindexed_filtering_update");
}

struct span config_pack(struct arena *arena, struct span json, struct span strict)
{
    struct limits limits;
    uint8_t *data = arena_allocate(arena, 4 + sizeof limits + json.bytes);
    limits_read(strict, &limits);
    store32(data, sizeof limits);
    memcpy(data + 4, &limits, sizeof limits); /* little-endian, as everything here */
    memcpy(data + 4 + sizeof limits, json.data, json.bytes);
    return span_of(data, 4 + sizeof limits + json.bytes);
}

/* The two parts; false when the bytes are no configuration of ours. */
static bool unpack(struct span kept, struct span *limits, struct span *json)
{
    if (kept.bytes < 4 || load32(kept.data) > kept.bytes - 4 || load32(kept.data) % 8 != 0)
        return false;
    *limits = span_of(kept.data + 4, load32(kept.data));
    *json = span_of(limits->data + limits->bytes, kept.bytes - 4 - limits->bytes);
    return true;
}

struct span config_json(const struct collection *collection)
{
    struct span limits, json;
    return unpack(collection_config(collection), &limits, &json) ? json : span_text("{}");
}

struct span config_newest_json(struct collection *collection)
{
    struct span limits, json;
    return unpack(collection_newest_config(collection), &limits, &json) ? json : span_text("{}");
}

static uint64_t stricter(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

void limits_of(const struct config *config, const struct collection *collection,
               struct limits *limits)
{
    const struct strict_limits *server = &config->strict;
    struct span kept, json;
    struct limits own = {0};
    *limits = (struct limits){
        .max_query_limit = server->max_query_limit,
        .max_timeout = server->max_timeout_s,
        .upsert_max_batchsize = server->upsert_max_batchsize,
        .search_max_batchsize = server->search_max_batchsize,
        .filter_max_conditions = server->filter_max_conditions,
        .condition_max_size = server->condition_max_size,
        .max_points_count = server->max_points_count,
        .max_collection_vector_size_bytes = server->max_collection_vector_size_bytes,
        .read_rate_limit = server->read_rate_limit,
        .write_rate_limit = server->write_rate_limit,
    };
    if (!unpack(collection_config(collection), &kept, &json))
        return;
    memcpy(&own, kept.data, kept.bytes < sizeof own ? kept.bytes : sizeof own);
#define X(name) limits->name = stricter(limits->name, own.name);
    LIMIT_LIST(X)
#undef X
}
