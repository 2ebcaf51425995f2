/* PATCH /collections/{c}: what is merged, replaced, removed and refused. */
#include "serve_harness.h"

#define JSON "Content-Type: application/json\r\n"
#define C "/collections/a"

static struct serve_fixture fixture;

static void create(const char *body)
{
    expect_answer(&fixture, "PUT", C, JSON, body, 200, "true");
}

static int setup(void **state)
{
    (void)state;
    serve_begin(&fixture, NULL);
    create("{\"vectors\":{\"size\":2,\"distance\":\"Dot\"}}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    serve_end(&fixture);
    return 0;
}

static void patch(const char *body, int status, const char *text)
{
    expect_answer(&fixture, "PATCH", C, JSON, body, status, text);
}

static void info(const char *text)
{
    expect_answer(&fixture, "GET", C, "", NULL, 200, text);
}

static void diffs_are_merged(void **state)
{
    (void)state;
    patch("{}", 200, "\"result\":true");
    patch("{\"hnsw_config\":{\"m\":4},\"optimizers_config\":{\"indexing_threshold\":7},"
          "\"params\":{\"replication_factor\":2,\"read_fan_out_factor\":3,\"on_disk_payload\":"
          "false}}",
          200, "true");
    info("\"hnsw_config\":{\"m\":4,\"ef_construct\":100,\"full_scan_threshold\":10000,"
         "\"max_indexing_threads\":0,\"on_disk\":false}");
    info("\"indexing_threshold\":7,\"flush_interval_sec\":5");
    info("\"replication_factor\":2");
    info("\"read_fan_out_factor\":3");
    info("\"on_disk_payload\":false");
    patch(
        "{\"hnsw_config\":{\"ef_construct\":10},\"optimizer_config\":{\"max_optimization_threads\":"
        "\"auto\"}}",
        200, "true");
    info("\"m\":4,\"ef_construct\":10");
    info("\"indexing_threshold\":7");
    info("\"max_optimization_threads\":\"auto\"");
    serve_stop(&fixture);
    serve_start(&fixture);
    info("\"m\":4,\"ef_construct\":10");
    info("\"vectors\":{\"size\":2,\"distance\":\"Dot\"}");
}

static void quantization(void **state)
{
    (void)state;
    info("\"quantization_config\":null");
    patch("{\"quantization_config\":{\"binary\":{\"always_ram\":true}}}", 200, "true");
    info("\"quantization_config\":{\"binary\":{\"always_ram\":true}}");
    patch("{\"quantization_config\":{\"scalar\":{\"type\":\"int8\"}}}", 200, "true");
    info("\"quantization_config\":{\"scalar\":{\"type\":\"int8\"}}");
    patch("{\"quantization_config\":\"Disabled\"}", 200, "true");
    info("\"quantization_config\":null");
    patch("{\"quantization_config\":\"Off\"}", 400, "quantization_config: expected a map or");
    patch("{\"quantization_config\":{}}", 400, "data did not match any variant");
    patch("{\"quantization_config\":{\"scalar\":{\"type\":\"int9\"}}}", 400,
          "unknown variant `int9`");
}

static void metadata(void **state)
{
    (void)state;
    patch("{\"metadata\":{\"a\":1,\"b\":{\"c\":[2]}}}", 200, "true");
    info("\"metadata\":{\"a\":1,\"b\":{\"c\":[2]}}");
    patch("{\"metadata\":{\"a\":null,\"d\":\"x\"}}", 200, "true");
    info("\"metadata\":{\"b\":{\"c\":[2]},\"d\":\"x\"}");
    patch("{\"metadata\":null}", 200, "true");
    info("\"d\":\"x\"");
    patch("{\"metadata\":[1]}", 400, "metadata: invalid type: sequence, expected a map");
}

static void vectors(void **state)
{
    (void)state;
    patch("{\"vectors\":{\"\":{\"hnsw_config\":{\"m\":3},\"on_disk\":true,"
          "\"quantization_config\":{\"binary\":{}}}}}",
          200, "true");
    info("\"hnsw_config\":{\"m\":3},\"quantization_config\":{\"binary\":{}},\"on_disk\":true}");
    patch("{\"vectors\":{\"\":{\"hnsw_config\":{\"ef_construct\":9},\"quantization_config\":"
          "\"Disabled\"}}}",
          200, "true");
    info(
        "\"vectors\":{\"size\":2,\"distance\":\"Dot\",\"hnsw_config\":{\"m\":3,\"ef_construct\":9},"
        "\"on_disk\":true}");
    patch("{\"vectors\":{\"x\":{}}}", 400, "Wrong input: Not existing vector name error: x");
    patch("{\"sparse_vectors\":{\"\":{}}}", 400, "Wrong input: Not existing vector name error: ");
    patch("{\"vectors\":{\"\":{\"on_disk\":7}}}", 400, "vectors.?.on_disk: invalid type");
    patch("{\"vectors\":{\"\":7}}", 400, "vectors.?: expected a map");
    patch("{\"vectors\":7}", 400, "vectors: invalid type");
    expect_answer(&fixture, "DELETE", C, "", NULL, 200, "true");
    create("{\"vectors\":{\"p\":{\"size\":2,\"distance\":\"Dot\"},"
           "\"q\":{\"size\":3,\"distance\":\"Cosine\"}}}");
    patch("{\"vectors\":{\"q\":{\"on_disk\":true}}}", 200, "true");
    info("\"p\":{\"size\":2,\"distance\":\"Dot\"},"
         "\"q\":{\"size\":3,\"distance\":\"Cosine\",\"on_disk\":true}");
}

static void a_modifier_stays(void **state)
{
    (void)state;
    expect_answer(&fixture, "DELETE", C, "", NULL, 200, "true");
    create("{\"sparse_vectors\":{\"s\":{\"modifier\":\"idf\"},\"t\":{}}}");
    patch("{\"sparse_vectors\":{\"s\":{\"modifier\":\"idf\",\"index\":{\"on_disk\":true}}}}", 200,
          "true");
    info("\"on_disk\":true}");
    patch("{\"sparse_vectors\":{\"s\":{\"modifier\":\"none\"}}}", 400,
          "Wrong input: sparse_vectors.?.modifier: cannot be changed after creation");
    patch("{\"sparse_vectors\":{\"t\":{\"modifier\":\"idf\"}}}", 400, "cannot be changed");
}

static void refusals(void **state)
{
    (void)state;
    patch("{\"hnsw_config\":{\"ef_construct\":3}}", 422,
          "[hnsw_config.ef_construct: value 3 invalid, must be 4 or larger]");
    patch("{\"params\":{\"replication_factor\":0}}", 422, "params.replication_factor: value 0");
    patch("{\"params\":{\"replication_factor\":-1}}", 400, "expected an unsigned integer");
    patch("{\"optimizers_config\":7}", 400, "optimizers_config: invalid type");
    patch("[]", 400, "Format error in JSON body");
    patch("{\"hnsw_config\":", 400, "Format error in JSON body");
    expect_answer(&fixture, "PATCH", "/collections/none", JSON, "{}", 404, "doesn't exist");
    patch("{\"strict_mode_config\":{\"enabled\":true,\"max_resident_memory_percent\":50}}", 400,
          "strict_mode_config.max_resident_memory_percent: this limit is not supported yet");
    /* also when enabling comes later */
    patch("{\"strict_mode_config\":{\"max_collection_payload_size_bytes\":50}}", 200, "true");
    patch("{\"strict_mode_config\":{\"enabled\":true}}", 400, "max_collection_payload_size_bytes");
    info("\"strict_mode_config\":{\"max_collection_payload_size_bytes\":50}");
}

/* Two at once are both kept: each is made from what is there when it is its turn. */
static void *patch_many(void *argument)
{
    const char *key = argument;
    for (int i = 0; i < 40; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"metadata\":{\"%s%d\":%d}}", key, i, i);
        patch(body, 200, "true");
    }
    return NULL;
}

static void changes_at_once_are_all_kept(void **state)
{
    (void)state;
    pthread_t threads[3];
    static char keys[3][2] = {"x", "y", "z"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, patch_many, keys[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 40; i++) {
        for (int j = 0; j < 3; j++) {
            char text[40];
            snprintf(text, sizeof text, "\"%s%d\":%d", keys[j], i, i);
            info(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(diffs_are_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(quantization, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata, setup, teardown),
        cmocka_unit_test_setup_teardown(vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(a_modifier_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_at_once_are_all_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
