/* Collections over HTTP: what is accepted, refused, stored and echoed. */
#include "serve_harness.h"

#define JSON "Content-Type: application/json\r\n"

static struct serve_fixture fixture;

static int setup(void **state)
{
    (void)state;
    serve_begin(&fixture, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    serve_end(&fixture);
    return 0;
}

static void create(const char *name, const char *body, int status, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "/collections/%s", name);
    expect_answer(&fixture, "PUT", path, JSON, body, status, text);
}

static void info(const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "/collections/%s", name);
    expect_answer(&fixture, "GET", path, "", NULL, 200, text);
}

static void a_collection_lives_and_dies(void **state)
{
    (void)state;
    const char *body = "{\"vectors\":{\"size\":4,\"distance\":\"Cosine\"}}";
    expect_answer(&fixture, "GET", "/collections", "", NULL, 200, "{\"collections\":[]}");
    expect_answer(&fixture, "GET", "/collections/a/exists", "", NULL, 200, "{\"exists\":false}");
    expect_answer(&fixture, "GET", "/collections/a", "", NULL, 404,
                  "Not found: Collection `a` doesn't exist!");
    expect_answer(&fixture, "DELETE", "/collections/a", "", NULL, 200, "{\"result\":false");
    create("a", body, 200, "{\"result\":true,\"status\":\"ok\",\"time\":");
    create("a", body, 409, "Wrong input: Collection `a` already exists!");
    create("b", body, 200, "true");
    expect_answer(&fixture, "GET", "/collections", "", NULL, 200,
                  "{\"collections\":[{\"name\":\"a\"},{\"name\":\"b\"}]}");
    expect_answer(&fixture, "GET", "/collections/a/exists", "", NULL, 200, "{\"exists\":true}");
    info("a", "\"status\":\"green\",\"optimizer_status\":\"ok\"");
    info("a", "\"points_count\":0");
    /* it is still there after a restart, as it was */
    struct answer before = ask(&fixture, "GET", "/collections/a", "", NULL);
    serve_stop(&fixture);
    serve_start(&fixture);
    struct answer after = ask(&fixture, "GET", "/collections/a", "", NULL);
    size_t same = (size_t)(strstr(before.body, ",\"status\":\"ok\",\"time\"") - before.body);
    assert_memory_equal(before.body, after.body, same);
    answer_free(&before);
    answer_free(&after);
    expect_answer(&fixture, "DELETE", "/collections/a?timeout=5", "", NULL, 200,
                  "{\"result\":true");
    expect_answer(&fixture, "GET", "/collections/a/exists", "", NULL, 200, "{\"exists\":false}");
    create("a", body, 200, "true");
}

static void the_config_is_echoed_with_defaults(void **state)
{
    (void)state;
    create("plain", "{\"vectors\":{\"size\":3,\"distance\":\"Dot\"}}", 200, "true");
    info("plain",
         "\"config\":{\"params\":{\"vectors\":{\"size\":3,\"distance\":\"Dot\"},\"shard_number\":1,"
         "\"replication_factor\":1,\"write_consistency_factor\":1,\"on_disk_payload\":true},"
         "\"hnsw_config\":{\"m\":16,\"ef_construct\":100,\"full_scan_threshold\":10000,"
         "\"max_indexing_threads\":0,\"on_disk\":false},"
         "\"optimizer_config\":{\"deleted_threshold\":0.2,\"vacuum_min_vector_number\":1000,"
         "\"default_segment_number\":0,\"max_segment_size\":null,\"memmap_threshold\":null,"
         "\"indexing_threshold\":10000,\"flush_interval_sec\":5,\"max_optimization_threads\":null},"
         "\"wal_config\":{\"wal_capacity_mb\":32,\"wal_segments_ahead\":0,\"wal_retain_closed\":1},"
         "\"quantization_config\":null},\"payload_schema\":{}");
    create("map", "{\"vectors\":{\"\":{\"size\":3,\"distance\":\"Euclid\"}},\"sparse_vectors\":{}}",
           200, "true");
    info("map", "\"vectors\":{\"\":{\"size\":3,\"distance\":\"Euclid\"}}");
    info("map", "\"sparse_vectors\":{}");
    create("none", "{}", 200, "true");
    info("none", "\"vectors\":{}");
    create("nulls",
           "{\"vectors\":null,\"shard_number\":null,\"hnsw_config\":null,\"sharding_method\":null,"
           "\"quantization_config\":null}",
           200, "true");
    info("nulls", "\"quantization_config\":null");
}

static void settings_without_effect_are_echoed(void **state)
{
    (void)state;
    create(
        "rich",
        "{\"vectors\":{\"size\":8,\"distance\":\"Manhattan\",\"on_disk\":true,"
        "\"datatype\":\"float32\",\"hnsw_config\":{\"m\":4,\"unknown\":1},\"own\":2},"
        "\"shards_number\":2,\"replication_factor\":2,\"write_consistency_factor\":3,"
        "\"on_disk_payload\":false,"
        "\"hnsw_config\":{\"m\":0,\"payload_m\":16,\"on_disk\":true},"
        "\"wal_config\":{\"wal_capacity_mb\":1},"
        "\"optimizer_config\":{\"deleted_threshold\":0.5,\"memmap_threshold_kb\":20000,"
        "\"max_optimization_threads\":\"auto\"},"
        "\"quantization\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.99,\"always_ram\":true}},"
        "\"strict_mode_config\":{\"enabled\":false,\"max_query_limit\":10},"
        "\"metadata\":{\"a\":[1,2.5,10.0,null,true,\"\\u00e9\\u0000\"],\"b\":{}},"
        "\"no such field\":7}",
        200, "true");
    info("rich", "\"vectors\":{\"size\":8,\"distance\":\"Manhattan\",\"hnsw_config\":{\"m\":4},"
                 "\"on_disk\":true,\"datatype\":\"float32\"}");
    info("rich", "\"shard_number\":2,\"replication_factor\":2,\"write_consistency_factor\":3,"
                 "\"on_disk_payload\":false");
    info("rich", "\"hnsw_config\":{\"m\":0,\"ef_construct\":100,\"full_scan_threshold\":10000,"
                 "\"max_indexing_threads\":0,\"on_disk\":true,\"payload_m\":16}");
    info("rich", "\"deleted_threshold\":0.5,\"vacuum_min_vector_number\":1000");
    info("rich", "\"memmap_threshold\":20000");
    info("rich", "\"max_optimization_threads\":\"auto\"");
    info("rich", "\"wal_capacity_mb\":1,\"wal_segments_ahead\":0");
    info("rich", "\"quantization_config\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.99,"
                 "\"always_ram\":true}}");
    info("rich", "\"strict_mode_config\":{\"enabled\":false,\"max_query_limit\":10}");
    info("rich", "\"metadata\":{\"a\":[1,2.5,10.0,null,true,\"é\\u0000\"],\"b\":{}}");
    static const char *const quantizations[] = {
        "{\"product\":{\"compression\":\"x16\"}}", "{\"binary\":{\"encoding\":\"two_bits\"}}",
        "{\"binary\":{}}", "{\"turbo\":{\"bits\":\"bits4\"}}", "{\"turbo\":{}}"};
    for (size_t i = 0; i < sizeof quantizations / sizeof quantizations[0]; i++) {
        char name[16], body[256];
        snprintf(name, sizeof name, "q%zu", i);
        snprintf(body, sizeof body,
                 "{\"vectors\":{\"size\":4,\"distance\":\"Dot\"},\"quantization_config\":%s}",
                 quantizations[i]);
        create(name, body, 200, "true");
        info(name, quantizations[i]);
    }
}

#define V "\"vectors\":{\"size\":4,\"distance\":\"Dot\"}"
#define FORMAT "Format error in JSON body: "
#define RANGE "Validation error in JSON body: ["
#define UNBUILT "Wrong input: "

static void wrong_bodies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *text;
    } cases[] = {
        /* no JSON, wrong types */
        {"", 400, FORMAT "EOF"},
        {"{", 400, FORMAT},
        {"[]", 400, FORMAT "invalid type"},
        {"\"text\"", 400, FORMAT},
        {"{} x", 400, FORMAT},
        {"{\"vectors\":{},\"vectors\":{}}", 400, FORMAT "duplicate"},
        {"{\"vectors\":4}", 400, FORMAT "vectors: invalid type: integer `4`, expected a map"},
        {"{\"vectors\":{\"size\":4}}", 400, "missing field `distance`"},
        {"{\"vectors\":{\"distance\":\"Dot\"}}", 400, "missing field `size`"},
        {"{\"vectors\":{\"size\":\"4\",\"distance\":\"Dot\"}}", 400, FORMAT "vectors.size: "},
        {"{\"vectors\":{\"size\":4.0,\"distance\":\"Dot\"}}", 400, FORMAT "vectors.size: "},
        {"{\"vectors\":{\"size\":-4,\"distance\":\"Dot\"}}", 400, "integer `-4`"},
        {"{\"vectors\":{\"size\":4,\"distance\":\"dot\"}}", 400,
         "unknown variant `dot`, expected one of `Cosine`, `Euclid`, `Dot`, `Manhattan`"},
        {"{" V ",\"shard_number\":-1}", 400, FORMAT "shard_number: invalid value"},
        {"{" V ",\"shard_number\":1,\"shards_number\":1}", 400, FORMAT "duplicate field"},
        {"{" V ",\"on_disk_payload\":1}", 400, FORMAT "on_disk_payload: "},
        {"{" V ",\"hnsw_config\":[]}", 400, FORMAT "hnsw_config: "},
        {"{" V ",\"hnsw_config\":{\"on_disk\":\"no\"}}", 400, FORMAT "hnsw_config.on_disk: "},
        {"{" V ",\"sharding_method\":\"best\"}", 400, "unknown variant `best`"},
        {"{" V ",\"quantization_config\":{}}", 400, "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\"},\"binary\":{}}}", 400,
         "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{}}}", 400, "missing field `type`"},
        {"{" V ",\"quantization_config\":{\"product\":{\"compression\":\"x5\"}}}", 400,
         "unknown variant `x5`"},
        {"{" V ",\"optimizers_config\":{\"max_optimization_threads\":\"all\"}}", 400, FORMAT},
        {"{" V ",\"metadata\":3}", 400, FORMAT "metadata: "},
        {"{\"sparse_vectors\":{\"s\":3}}", 400, FORMAT "sparse_vectors"},
        {"{\"vectors\":{\"\":3}}", 400, FORMAT},
        /* out of range */
        {"{\"vectors\":{\"size\":65537,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 65537 invalid, must be from 1 to 65536]"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 0 invalid, must be from 1 to 65536]"},
        {"{" V ",\"shard_number\":0}", 422, RANGE "shard_number: value 0 invalid, must be 1 or"},
        {"{" V ",\"replication_factor\":0}", 422, RANGE "replication_factor: value 0"},
        {"{" V ",\"hnsw_config\":{\"ef_construct\":3}}", 422, RANGE "hnsw_config.ef_construct: "},
        {"{" V ",\"hnsw_config\":{\"full_scan_threshold\":9}}", 422, "must be 10 or larger"},
        {"{" V ",\"wal_config\":{\"wal_capacity_mb\":0}}", 422, RANGE "wal_config.wal_capacity_mb"},
        {"{" V ",\"optimizers_config\":{\"deleted_threshold\":1.5}}", 422,
         RANGE "optimizers_config.deleted_threshold: value 1.5 invalid, must be from 0 to 1]"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.4}}}", 422,
         "quantile: value 0.4 invalid"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"},\"shard_number\":0}", 422, "; "},
        {"{\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\"}},\"sparse_vectors\":{\"a\":{}}}",
         400, UNBUILT "Dense and sparse vector names must be unique - duplicate found with 'a'"},
        {"{\"sparse_vectors\":{\"\":{}}}", 400, UNBUILT "Sparse vector name cannot be empty"},
        {"{\"sparse_vectors\":{\"t\":{\"modifier\":\"bm25\"}}}", 400, "sparse_vectors.?.modifier"},
        /* known, and not built yet */
        {"{\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\"}},\"sparse_vectors\":{\"a\":{}}}",
         400, UNBUILT "Dense and sparse vector names must be unique - duplicate found with 'a'"},
        {"{\"sparse_vectors\":{\"\":{}}}", 400, UNBUILT "Sparse vector name cannot be empty"},
        {"{\"sparse_vectors\":{\"t\":{\"modifier\":\"bm25\"}}}", 400, "sparse_vectors.?.modifier"},
        {"{" V ",\"sharding_method\":\"best\"}", 400, "unknown variant `best`"},
        {"{" V ",\"quantization_config\":{}}", 400, "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\"},\"binary\":{}}}", 400,
         "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{}}}", 400, "missing field `type`"},
        {"{" V ",\"quantization_config\":{\"product\":{\"compression\":\"x5\"}}}", 400,
         "unknown variant `x5`"},
        {"{" V ",\"optimizers_config\":{\"max_optimization_threads\":\"all\"}}", 400, FORMAT},
        {"{" V ",\"metadata\":3}", 400, FORMAT "metadata: "},
        {"{\"sparse_vectors\":{\"s\":3}}", 400, FORMAT "sparse_vectors"},
        {"{\"vectors\":{\"\":3}}", 400, FORMAT},
        /* out of range */
        {"{\"vectors\":{\"size\":65537,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 65537 invalid, must be from 1 to 65536]"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 0 invalid, must be from 1 to 65536]"},
        {"{" V ",\"shard_number\":0}", 422, RANGE "shard_number: value 0 invalid, must be 1 or"},
        {"{" V ",\"replication_factor\":0}", 422, RANGE "replication_factor: value 0"},
        {"{" V ",\"hnsw_config\":{\"ef_construct\":3}}", 422, RANGE "hnsw_config.ef_construct: "},
        {"{" V ",\"hnsw_config\":{\"full_scan_threshold\":9}}", 422, "must be 10 or larger"},
        {"{" V ",\"wal_config\":{\"wal_capacity_mb\":0}}", 422, RANGE "wal_config.wal_capacity_mb"},
        {"{" V ",\"optimizers_config\":{\"deleted_threshold\":1.5}}", 422,
         RANGE "optimizers_config.deleted_threshold: value 1.5 invalid, must be from 0 to 1]"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.4}}}", 422,
         "quantile: value 0.4 invalid"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"},\"shard_number\":0}", 422, "; "},
        {"{\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\"}},\"sparse_vectors\":{\"a\":{}}}",
         400, UNBUILT "Dense and sparse vector names must be unique - duplicate found with 'a'"},
        {"{\"sparse_vectors\":{\"\":{}}}", 400, UNBUILT "Sparse vector name cannot be empty"},
        {"{\"sparse_vectors\":{\"t\":{\"modifier\":\"bm25\"}}}", 400, "sparse_vectors.?.modifier"},
        /* known, and not built yet */
        {"{" V ",\"sharding_method\":\"best\"}", 400, "unknown variant `best`"},
        {"{" V ",\"quantization_config\":{}}", 400, "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\"},\"binary\":{}}}", 400,
         "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{}}}", 400, "missing field `type`"},
        {"{" V ",\"quantization_config\":{\"product\":{\"compression\":\"x5\"}}}", 400,
         "unknown variant `x5`"},
        {"{" V ",\"optimizers_config\":{\"max_optimization_threads\":\"all\"}}", 400, FORMAT},
        {"{" V ",\"metadata\":3}", 400, FORMAT "metadata: "},
        {"{\"sparse_vectors\":{\"s\":3}}", 400, FORMAT "sparse_vectors"},
        {"{\"vectors\":{\"\":3}}", 400, FORMAT},
        /* out of range */
        {"{\"vectors\":{\"size\":65537,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 65537 invalid, must be from 1 to 65536]"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 0 invalid, must be from 1 to 65536]"},
        {"{" V ",\"shard_number\":0}", 422, RANGE "shard_number: value 0 invalid, must be 1 or"},
        {"{" V ",\"replication_factor\":0}", 422, RANGE "replication_factor: value 0"},
        {"{" V ",\"hnsw_config\":{\"ef_construct\":3}}", 422, RANGE "hnsw_config.ef_construct: "},
        {"{" V ",\"hnsw_config\":{\"full_scan_threshold\":9}}", 422, "must be 10 or larger"},
        {"{" V ",\"wal_config\":{\"wal_capacity_mb\":0}}", 422, RANGE "wal_config.wal_capacity_mb"},
        {"{" V ",\"optimizers_config\":{\"deleted_threshold\":1.5}}", 422,
         RANGE "optimizers_config.deleted_threshold: value 1.5 invalid, must be from 0 to 1]"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.4}}}", 422,
         "quantile: value 0.4 invalid"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"},\"shard_number\":0}", 422, "; "},
        {"{\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\"}},\"sparse_vectors\":{\"a\":{}}}",
         400, UNBUILT "Dense and sparse vector names must be unique - duplicate found with 'a'"},
        {"{\"sparse_vectors\":{\"\":{}}}", 400, UNBUILT "Sparse vector name cannot be empty"},
        {"{\"sparse_vectors\":{\"t\":{\"modifier\":\"bm25\"}}}", 400, "sparse_vectors.?.modifier"},
        /* known, and not built yet */
        {"{\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\"}},\"sparse_vectors\":{\"a\":{}}}",
         400, UNBUILT "Dense and sparse vector names must be unique - duplicate found with 'a'"},
        {"{\"sparse_vectors\":{\"\":{}}}", 400, UNBUILT "Sparse vector name cannot be empty"},
        {"{\"sparse_vectors\":{\"t\":{\"modifier\":\"bm25\"}}}", 400, "sparse_vectors.?.modifier"},
        {"{" V ",\"sharding_method\":\"best\"}", 400, "unknown variant `best`"},
        {"{" V ",\"quantization_config\":{}}", 400, "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\"},\"binary\":{}}}", 400,
         "QuantizationConfig"},
        {"{" V ",\"quantization_config\":{\"scalar\":{}}}", 400, "missing field `type`"},
        {"{" V ",\"quantization_config\":{\"product\":{\"compression\":\"x5\"}}}", 400,
         "unknown variant `x5`"},
        {"{" V ",\"optimizers_config\":{\"max_optimization_threads\":\"all\"}}", 400, FORMAT},
        {"{" V ",\"metadata\":3}", 400, FORMAT "metadata: "},
        {"{\"sparse_vectors\":{\"s\":3}}", 400, FORMAT "sparse_vectors"},
        {"{\"vectors\":{\"\":3}}", 400, FORMAT},
        /* out of range */
        {"{\"vectors\":{\"size\":65537,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 65537 invalid, must be from 1 to 65536]"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"}}", 422,
         RANGE "vectors.size: value 0 invalid, must be from 1 to 65536]"},
        {"{" V ",\"shard_number\":0}", 422, RANGE "shard_number: value 0 invalid, must be 1 or"},
        {"{" V ",\"replication_factor\":0}", 422, RANGE "replication_factor: value 0"},
        {"{" V ",\"hnsw_config\":{\"ef_construct\":3}}", 422, RANGE "hnsw_config.ef_construct: "},
        {"{" V ",\"hnsw_config\":{\"full_scan_threshold\":9}}", 422, "must be 10 or larger"},
        {"{" V ",\"wal_config\":{\"wal_capacity_mb\":0}}", 422, RANGE "wal_config.wal_capacity_mb"},
        {"{" V ",\"optimizers_config\":{\"deleted_threshold\":1.5}}", 422,
         RANGE "optimizers_config.deleted_threshold: value 1.5 invalid, must be from 0 to 1]"},
        {"{" V ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.4}}}", 422,
         "quantile: value 0.4 invalid"},
        {"{\"vectors\":{\"size\":0,\"distance\":\"Dot\"},\"shard_number\":0}", 422, "; "},
        {"{\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\"}},\"sparse_vectors\":{\"a\":{}}}",
         400, UNBUILT "Dense and sparse vector names must be unique - duplicate found with 'a'"},
        {"{\"sparse_vectors\":{\"\":{}}}", 400, UNBUILT "Sparse vector name cannot be empty"},
        {"{\"sparse_vectors\":{\"t\":{\"modifier\":\"bm25\"}}}", 400, "sparse_vectors.?.modifier"},
        /* known, and not built yet */
        {"{" V ",\"sharding_method\":\"custom\"}", 400, UNBUILT "sharding_method"},
        {"{" V ",\"strict_mode_config\":{\"enabled\":true,\"sparse_config\":{}}}", 400,
         "Wrong input: strict_mode_config.sparse_config: this limit is not supported yet"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        create("wrong", cases[i].body, cases[i].status, cases[i].text);
    expect_answer(&fixture, "GET", "/collections/wrong/exists", "", NULL, 200, "false");
}

static void names_are_judged(void **state)
{
    (void)state;
    char longest[300];
    memset(longest, 'n', sizeof longest);
    longest[255] = '\0';
    create(longest, "{}", 200, "true");
    longest[255] = 'n';
    longest[256] = '\0';
    create(longest, "{}", 422, "Validation error in path parameters: [collection_name: ");
    create("a%3Ab", "{}", 422, "collection_name");
    create("a%3F", "{}", 422, "collection_name");
    create("a%1Fb", "{}", 422, "collection_name");
    create("a%2Fb", "{}", 400, ""); /* a slash inside a segment */
    create("a%00b", "{}", 400, "");
    create("a%FFb", "{}", 400, "");
    create("caf%C3%A9%20%22quoted%22", "{}", 422, "collection_name");
    create("caf%C3%A9%20bar", "{}", 200, "true");
    expect_answer(&fixture, "GET", "/collections", "", NULL, 200, "{\"name\":\"café bar\"}");
    info("caf%C3%A9%20bar", "green");
    expect_answer(&fixture, "GET", "/collections/a%3Ab", "", NULL, 404, "doesn't exist!");
    expect_answer(&fixture, "GET", "/collections/a%3Ab/exists", "", NULL, 200, "false");
    expect_answer(&fixture, "DELETE", "/collections/a%3Ab", "", NULL, 200, "{\"result\":false");
}

/* jansson and the tree behind it: depth, size, numbers at their ends. */
static void control_bodies_have_ends(void **state)
{
    (void)state;
    enum { DEPTH = 5000 };
    char *deep = malloc(2 * DEPTH + 64);
    size_t at = (size_t)sprintf(deep, "{\"metadata\":{\"d\":");
    memset(deep + at, '[', DEPTH);
    memset(deep + at + DEPTH, ']', DEPTH);
    strcpy(deep + at + 2 * DEPTH, "}}");
    create("deep", deep, 400, FORMAT);
    at = (size_t)sprintf(deep, "{\"metadata\":{\"d\":");
    memset(deep + at, '[', 1000);
    memset(deep + at + 1000, ']', 1000);
    strcpy(deep + at + 2000, "}}");
    create("deep", deep, 400, "nested too deeply");
    free(deep);
    create("numbers", "{\"metadata\":{\"n\":[9223372036854775807,-9223372036854775808,1e308]}}",
           200, "true");
    info("numbers", "[9223372036854775807,-9223372036854775808,1e308]");
    create("n2", "{\"metadata\":{\"n\":9223372036854775808}}", 400, FORMAT);
    create("n3", "{\"metadata\":{\"n\":1e999}}", 400, FORMAT);
    char *large = malloc((1u << 20) + 64);
    memset(large, ' ', (1u << 20) + 63);
    large[(1u << 20) + 63] = '\0';
    memcpy(large, "{}", 2);
    create("large", large, 413, "service.control_body_bytes_max");
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collection_lives_and_dies),
        cmocka_unit_test(the_config_is_echoed_with_defaults),
        cmocka_unit_test(settings_without_effect_are_echoed),
        cmocka_unit_test(wrong_bodies_are_refused),
        cmocka_unit_test(names_are_judged),
        cmocka_unit_test(control_bodies_have_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
