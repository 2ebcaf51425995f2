/* The tables, field by field as the compatible API has them. */
#include "server/collection_schema.h"

#include <float.h>

#define BOOL(n)                                                                                    \
    {                                                                                              \
        .name = n, .kind = FIELD_BOOL                                                              \
    }
#define UINT(n, low, high)                                                                         \
    {                                                                                              \
        .name = n, .kind = FIELD_UINT, .min = low, .max = high                                     \
    }
#define UINT_ALIAS(n, a, low)                                                                      \
    {                                                                                              \
        .name = n, .alias = a, .kind = FIELD_UINT, .min = low, .max = UINT64_MAX                   \
    }
#define WORD(n, list)                                                                              \
    {                                                                                              \
        .name = n, .kind = FIELD_WORD, .words = list                                               \
    }
#define OBJECT(n, schema)                                                                          \
    {                                                                                              \
        .name = n, .kind = FIELD_OBJECT, .object = schema                                          \
    }
#define ANY(n)                                                                                     \
    {                                                                                              \
        .name = n, .kind = FIELD_ANY                                                               \
    }

static const char *const distances[] = {"Cosine", "Euclid", "Dot", "Manhattan", NULL};
const char *const datatype_words[] = {"float32", "float16", "uint8", "turbo4", NULL};
static const char *const comparators[] = {"max_sim", NULL};
static const char *const sharding[] = {"auto", "custom", NULL};
static const char *const scalar_types[] = {"int8", NULL};
static const char *const compressions[] = {"x4", "x8", "x16", "x32", "x64", NULL};
static const char *const encodings[] = {"one_bit", "two_bits", "one_and_half_bits", NULL};
static const char *const query_encodings[] = {"default", "binary", "scalar4bits", "scalar8bits",
                                              NULL};
static const char *const turbo_bits[] = {"bits1", "bits1_5", "bits2", "bits4", "bits8", NULL};
static const char *const mse_bits[] = {"bits1", "bits1_5", "bits2", "bits4", NULL};
static const char *const modifiers[] = {"none", "idf", NULL};

static const struct schema_field hnsw_schema[] = {
    UINT("m", 0, UINT64_MAX),
    UINT("ef_construct", 4, UINT64_MAX),
    UINT_ALIAS("full_scan_threshold", "full_scan_threshold_kb", 10),
    UINT("max_indexing_threads", 0, UINT64_MAX),
    BOOL("on_disk"),
    UINT("payload_m", 0, UINT64_MAX),
    BOOL("inline_storage"),
    ANY("memory"),
    {0},
};

static const struct schema_field scalar_schema[] = {
    {.name = "type", .kind = FIELD_WORD, .required = true, .words = scalar_types},
    {.name = "quantile", .kind = FIELD_NUMBER, .least = 0.5, .most = 1.0},
    BOOL("always_ram"),
    ANY("memory"),
    {0},
};
static const struct schema_field product_schema[] = {
    {.name = "compression", .kind = FIELD_WORD, .required = true, .words = compressions},
    BOOL("always_ram"),
    ANY("memory"),
    {0},
};
static const struct schema_field binary_schema[] = {
    BOOL("always_ram"),
    WORD("encoding", encodings),
    WORD("query_encoding", query_encodings),
    ANY("memory"),
    {0},
};
static const struct schema_field turbo_schema[] = {
    WORD("bits", turbo_bits),
    BOOL("always_ram"),
    ANY("memory"),
    {0},
};
static const struct schema_field mse_schema[] = {
    WORD("bits", mse_bits),
    BOOL("always_ram"),
    ANY("memory"),
    {0},
};
const struct schema_field quantization_schema[] = {
    OBJECT("scalar", scalar_schema),      OBJECT("product", product_schema),
    OBJECT("binary", binary_schema),      OBJECT("turbo", turbo_schema),
    OBJECT("turboquant_mse", mse_schema), {0},
};

static const struct schema_field multivector_schema[] = {
    {.name = "comparator", .kind = FIELD_WORD, .required = true, .words = comparators},
    {0},
};
const struct schema_field vector_schema[] = {
    {.name = "size", .kind = FIELD_UINT, .required = true, .min = 1, .max = CODEC_DIM_MAX},
    {.name = "distance", .kind = FIELD_WORD, .required = true, .words = distances},
    OBJECT("hnsw_config", hnsw_schema),
    {.name = "quantization_config",
     .alias = "quantization",
     .kind = FIELD_OBJECT,
     .object = quantization_schema},
    BOOL("on_disk"),
    ANY("memory"),
    WORD("datatype", datatype_words),
    OBJECT("multivector_config", multivector_schema),
    {0},
};

static const struct schema_field sparse_index_schema[] = {
    UINT("full_scan_threshold", 0, UINT64_MAX),
    BOOL("on_disk"),
    WORD("datatype", datatype_words),
    ANY("memory"),
    {0},
};
const struct schema_field sparse_schema[] = {
    OBJECT("index", sparse_index_schema),
    WORD("modifier", modifiers),
    {0},
};

static const struct schema_field wal_schema[] = {
    UINT("wal_capacity_mb", 1, UINT64_MAX),
    UINT("wal_segments_ahead", 0, UINT64_MAX),
    UINT("wal_retain_closed", 1, UINT64_MAX),
    {0},
};

static const struct schema_field optimizers_schema[] = {
    {.name = "deleted_threshold", .kind = FIELD_NUMBER, .least = 0.0, .most = 1.0},
    UINT("vacuum_min_vector_number", 100, UINT64_MAX),
    UINT("default_segment_number", 0, UINT64_MAX),
    UINT_ALIAS("max_segment_size", "max_segment_size_kb", 1),
    UINT_ALIAS("memmap_threshold", "memmap_threshold_kb", 0),
    UINT_ALIAS("indexing_threshold", "indexing_threshold_kb", 0),
    UINT("flush_interval_sec", 0, UINT64_MAX),
    {.name = "max_optimization_threads", .kind = FIELD_UINT_OR_AUTO, .min = 0, .max = UINT64_MAX},
    BOOL("prevent_unoptimized"),
    {0},
};

static const struct schema_field strict_schema[] = {
    BOOL("enabled"),
    UINT("max_query_limit", 1, UINT64_MAX),
    UINT("max_timeout", 1, UINT64_MAX),
    BOOL("unindexed_filtering_retrieve"),
    BOOL("unindexed_filtering_update"),
    UINT("search_max_hnsw_ef", 1, UINT64_MAX),
    BOOL("search_allow_exact"),
    {.name = "search_max_oversampling", .kind = FIELD_NUMBER, .least = 0.0, .most = DBL_MAX},
    UINT("upsert_max_batchsize", 1, UINT64_MAX),
    UINT("search_max_batchsize", 1, UINT64_MAX),
    UINT("max_collection_vector_size_bytes", 1, UINT64_MAX),
    UINT("read_rate_limit", 1, UINT64_MAX),
    UINT("write_rate_limit", 1, UINT64_MAX),
    UINT("max_collection_payload_size_bytes", 1, UINT64_MAX),
    UINT("max_points_count", 1, UINT64_MAX),
    UINT("filter_max_conditions", 1, UINT64_MAX),
    UINT("condition_max_size", 1, UINT64_MAX),
    {.name = "multivector_config", .kind = FIELD_ANY_OBJECT},
    {.name = "sparse_config", .kind = FIELD_ANY_OBJECT},
    UINT("max_payload_index_count", 0, UINT64_MAX),
    UINT("max_resident_memory_percent", 1, 100),
    {0},
};

const struct schema_field create_schema[] = {
    {.name = "vectors", .kind = FIELD_ANY_OBJECT},
    {.name = "sparse_vectors", .kind = FIELD_ANY_OBJECT},
    UINT_ALIAS("shard_number", "shards_number", 1),
    UINT("replication_factor", 1, UINT32_MAX),
    UINT("write_consistency_factor", 1, UINT32_MAX),
    WORD("sharding_method", sharding),
    BOOL("on_disk_payload"),
    ANY("payload"),
    OBJECT("hnsw_config", hnsw_schema),
    OBJECT("wal_config", wal_schema),
    {.name = "optimizers_config",
     .alias = "optimizer_config",
     .kind = FIELD_OBJECT,
     .object = optimizers_schema},
    {.name = "quantization_config",
     .alias = "quantization",
     .kind = FIELD_OBJECT,
     .object = quantization_schema},
    OBJECT("strict_mode_config", strict_schema),
    {.name = "metadata", .kind = FIELD_ANY_OBJECT},
    {0},
};

const struct schema_field vector_update_schema[] = {
    OBJECT("hnsw_config", hnsw_schema),
    {.name = "quantization_config", .alias = "quantization", .kind = FIELD_ANY},
    BOOL("on_disk"),
    ANY("memory"),
    {0},
};

static const struct schema_field params_update_schema[] = {
    UINT("replication_factor", 1, UINT32_MAX),
    UINT("write_consistency_factor", 1, UINT32_MAX),
    UINT("read_fan_out_factor", 0, UINT32_MAX),
    UINT("read_fan_out_delay_ms", 0, UINT64_MAX),
    BOOL("on_disk_payload"),
    ANY("payload"),
    {0},
};

const struct schema_field update_schema[] = {
    {.name = "vectors", .kind = FIELD_ANY_OBJECT},
    {.name = "optimizers_config",
     .alias = "optimizer_config",
     .kind = FIELD_OBJECT,
     .object = optimizers_schema},
    OBJECT("params", params_update_schema),
    OBJECT("hnsw_config", hnsw_schema),
    {.name = "quantization_config", .alias = "quantization", .kind = FIELD_ANY},
    {.name = "sparse_vectors", .kind = FIELD_ANY_OBJECT},
    OBJECT("strict_mode_config", strict_schema),
    {.name = "metadata", .kind = FIELD_ANY_OBJECT},
    {0},
};

struct span with_member(struct arena *arena, struct span object, const char *name,
                        struct span value)
{
    struct value_builder builder;
    struct value_cursor cursor;
    struct span key, inner;
    bool put = value.bytes == 0;
    value_begin(&builder, arena);
    bool good = value_open_object(&builder) == OK;
    value_walk(object, &cursor);
    while (good && value_next(&cursor, &key, &inner)) {
        bool mine = span_equal(key, span_text(name));
        if (mine && value.bytes == 0)
            continue;
        good = value_put_key(&builder, key) == OK;
        value_put_value(&builder, mine ? value : inner);
        put |= mine;
    }
    if (good && !put) {
        good = value_put_key(&builder, span_text(name)) == OK;
        value_put_value(&builder, value);
    }
    value_close(&builder);
    return value_end(&builder);
}

void judge_strict(struct judgement *judgement, struct span strict)
{
    static const char *const unbuilt[] = {"max_collection_payload_size_bytes",
                                          "max_resident_memory_percent", "multivector_config",
                                          "sparse_config"};
    struct span enabled = member(strict, "enabled");
    if (enabled.bytes == 0 || !value_bool(enabled))
        return;
    for (size_t i = 0; i < sizeof unbuilt / sizeof unbuilt[0]; i++) {
        if (member(strict, unbuilt[i]).bytes > 0)
            judge_wrong(judgement,
                        "strict_mode_config.%s: this limit is not supported yet, so strict mode "
                        "cannot be enabled with it",
                        unbuilt[i]);
    }
}
