/* Named vectors over HTTP: any subset of them per point, stored, returned and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/service_fixture.h"

static struct fixture server;

static void create(const char *name, const char *body)
{
    char path[128];
    snprintf(path, sizeof path, "/collections/%s", name);
    expect_result(&server, "PUT", path, body, "true");
}

static void upsert(const char *name, const char *body)
{
    char path[128];
    snprintf(path, sizeof path, "/collections/%s/points?wait=true", name);
    json_decref(call_result_of(&server, "PUT", path, body));
}

static void expect_points(const char *name, const char *request, const char *expected)
{
    char path[128];
    snprintf(path, sizeof path, "/collections/%s/points", name);
    expect_result(&server, "POST", path, request, expected);
}

#define TWO                                                                                        \
    "{\"vectors\":{\"image\":{\"size\":2,\"distance\":\"Dot\"},"                                   \
    "\"text\":{\"size\":3,\"distance\":\"Cosine\",\"on_disk\":true,\"datatype\":\"float16\"}}}"

static void test_any_subset(void **state)
{
    (void)state;
    create("subset", TWO);
    upsert("subset", "{\"points\":[{\"id\":1,\"vector\":{\"text\":[0,3,4],\"image\":[1,2]}},"
                     "{\"id\":2,\"vector\":{\"image\":[5,6]}},{\"id\":3,\"vector\":{}},"
                     "{\"id\":4,\"vectors\":{\"text\":[2,0,0],\"image\":null}}]}");
    expect_points("subset", "{\"ids\":[1,2,3,4],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":{\"image\":[1.0,2.0],\"text\":[0.0,0.6,0.8]}},"
                  "{\"id\":2,\"vector\":{\"image\":[5.0,6.0]}},{\"id\":3,\"vector\":{}},"
                  "{\"id\":4,\"vector\":{\"text\":[1.0,0.0,0.0]}}]");
    expect_points("subset", "{\"ids\":[1,2],\"with_payload\":false,\"with_vector\":[\"text\"]}",
                  "[{\"id\":1,\"vector\":{\"text\":[0.0,0.6,0.8]}},{\"id\":2,\"vector\":{}}]");
    /* replaced as a whole: the other vector is gone */
    upsert("subset", "{\"points\":[{\"id\":1,\"vector\":{\"text\":[1,0,0]}}]}");
    expect_points("subset", "{\"ids\":[1],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":{\"text\":[1.0,0.0,0.0]}}]");
}

static void test_columns(void **state)
{
    (void)state;
    create("columns", TWO);
    upsert("columns", "{\"batch\":{\"ids\":[1,2],\"vectors\":{\"text\":[[0,0,1],[1,0,0]],"
                      "\"image\":[[1,2],[3,4]]}}}");
    expect_points("columns", "{\"ids\":[2,1],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":2,\"vector\":{\"image\":[3.0,4.0],\"text\":[1.0,0.0,0.0]}},"
                  "{\"id\":1,\"vector\":{\"image\":[1.0,2.0],\"text\":[0.0,0.0,1.0]}}]");
    const char *path = "/collections/columns/points";
    expect_error(&server, "PUT", path,
                 "{\"batch\":{\"ids\":[1,2],\"vectors\":{\"image\":[[1,2]]}}}", 422,
                 "Validation error in JSON body: [batch: number of ids and vectors must be equal "
                 "(2 != 1)]");
    expect_error(&server, "PUT", path, "{\"batch\":{\"ids\":[1],\"vectors\":{\"sound\":[[1,2]]}}}",
                 400, "Wrong input: Not existing vector name error: sound");
    expect_error(&server, "PUT", path, "{\"batch\":{\"ids\":[1],\"vectors\":[[1,2]]}}", 400,
                 "Wrong input: Not existing vector name error: ");
}

/* A map whose only name is the empty string is the default vector, echoed as it was given. */
static void test_default_in_a_map(void **state)
{
    (void)state;
    create("map", "{\"vectors\":{\"\":{\"size\":2,\"distance\":\"Dot\"}},\"sparse_vectors\":{}}");
    json_t *info = call_result_of(&server, "GET", "/collections/map", "");
    json_t *params = json_object_get(json_object_get(info, "config"), "params");
    json_t *vectors = json_object_get(params, "vectors");
    assert_int_equal(json_object_size(vectors), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(vectors, ""), "size")), 2);
    json_decref(info);
    upsert("map", "{\"points\":[{\"id\":1,\"vector\":{\"\":[1,2]}},{\"id\":2,\"vector\":[3,4]}]}");
    expect_points("map", "{\"ids\":[1,2],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":[1.0,2.0]},{\"id\":2,\"vector\":[3.0,4.0]}]");
}

/* The default vector beside a named one: an array only when it is all there is. */
static void test_default_beside_named(void **state)
{
    (void)state;
    create("beside", "{\"vectors\":{\"\":{\"size\":1,\"distance\":\"Dot\"},"
                     "\"b\":{\"size\":1,\"distance\":\"Dot\"}}}");
    upsert("beside", "{\"points\":[{\"id\":1,\"vector\":[1]},{\"id\":2,\"vector\":{\"b\":[2]}},"
                     "{\"id\":3,\"vector\":{\"b\":[4],\"\":[3]}}]}");
    expect_points("beside", "{\"ids\":[1,2,3],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":[1.0]},{\"id\":2,\"vector\":{\"b\":[2.0]}},"
                  "{\"id\":3,\"vector\":{\"\":[3.0],\"b\":[4.0]}}]");
    expect_points("beside", "{\"ids\":[3],\"with_payload\":false,\"with_vector\":[\"\"]}",
                  "[{\"id\":3,\"vector\":[3.0]}]");
}

/* A search of a name sees the points that have it, by its own distance. */
static void test_search_by_name(void **state)
{
    (void)state;
    create("using", TWO);
    upsert("using", "{\"points\":[{\"id\":1,\"vector\":{\"text\":[0,3,4],\"image\":[1,2]}},"
                    "{\"id\":2,\"vector\":{\"image\":[5,6]}},{\"id\":3,\"vector\":{}},"
                    "{\"id\":4,\"vector\":{\"text\":[2,0,0]}}]}");
    const char *path = "/collections/using/points/query";
    expect_result(&server, "POST", path, "{\"query\":[0,0,5],\"using\":\"text\"}",
                  "{\"points\":[{\"id\":1,\"version\":1,\"score\":0.8},"
                  "{\"id\":4,\"version\":1,\"score\":0.0}]}");
    expect_result(&server, "POST", path, "{\"using\":\"image\",\"query\":[1,1]}",
                  "{\"points\":[{\"id\":2,\"version\":1,\"score\":11.0},"
                  "{\"id\":1,\"version\":1,\"score\":3.0}]}");
    expect_result(&server, "POST", path,
                  "{\"query\":1,\"using\":\"image\",\"with_vector\":[\"image\"]}",
                  "{\"points\":[{\"id\":2,\"version\":1,\"score\":17.0,"
                  "\"vector\":{\"image\":[5.0,6.0]}}]}");
    expect_error(&server, "POST", path, "{\"query\":[1,1]}", 400,
                 "Wrong input: Not existing vector name error: ");
    expect_error(&server, "POST", path, "{\"query\":[1,1],\"using\":\"text\"}", 400,
                 "Wrong input: Vector dimension error: expected dim: 3, got 2");
}

static void test_sparse(void **state)
{
    (void)state;
    create("sparse", "{\"sparse_vectors\":{\"s\":{\"index\":{\"on_disk\":true}},"
                     "\"t\":{\"modifier\":\"idf\"}}}");
    json_t *info = call_result_of(&server, "GET", "/collections/sparse", "");
    json_t *params = json_object_get(json_object_get(info, "config"), "params");
    json_t *text = json_object_get(json_object_get(params, "sparse_vectors"), "t");
    assert_string_equal(json_string_value(json_object_get(text, "modifier")), "idf");
    json_decref(info);
    upsert("sparse",
           "{\"points\":[{\"id\":1,\"vector\":{\"s\":{\"values\":[1,2],\"indices\":[9,4]},"
           "\"t\":{\"indices\":[1,2],\"values\":[1,1]}}},"
           "{\"id\":2,\"vector\":{\"s\":{\"indices\":[4294967295,4],\"values\":[1,-1]},"
           "\"t\":{\"indices\":[1],\"values\":[1]}}},"
           "{\"id\":3,\"vector\":{\"s\":{\"indices\":[],\"values\":[]}}}]}");
    expect_points(
        "sparse", "{\"ids\":[1,2,3],\"with_payload\":false,\"with_vector\":[\"s\"]}",
        "[{\"id\":1,\"vector\":{\"s\":{\"indices\":[4,9],\"values\":[2.0,1.0]}}},"
        "{\"id\":2,\"vector\":{\"s\":{\"indices\":[4,4294967295],\"values\":[-1.0,1.0]}}},"
        "{\"id\":3,\"vector\":{\"s\":{\"indices\":[],\"values\":[]}}}]");
    const char *path = "/collections/sparse/points/query";
    expect_result(&server, "POST", path,
                  "{\"query\":{\"indices\":[9,4],\"values\":[1,10]},\"using\":\"s\"}",
                  "{\"points\":[{\"id\":1,\"version\":1,\"score\":21.0},"
                  "{\"id\":2,\"version\":1,\"score\":-10.0}]}");
    expect_result(&server, "POST", path,
                  "{\"query\":{\"indices\":[9],\"values\":[1]},\"using\":\"s\"}",
                  "{\"points\":[{\"id\":1,\"version\":1,\"score\":1.0}]}");
    expect_result(&server, "POST", path, "{\"query\":2,\"using\":\"s\"}",
                  "{\"points\":[{\"id\":1,\"version\":1,\"score\":-2.0}]}");
    expect_result(&server, "POST", path,
                  "{\"query\":{\"indices\":[7],\"values\":[1]},\"using\":\"s\"}",
                  "{\"points\":[]}");
    /* ln(1.2) for what both have, ln(2) for what one of two has */
    expect_result(&server, "POST", path,
                  "{\"query\":{\"indices\":[1,2],\"values\":[1,1]},\"using\":\"t\"}",
                  "{\"points\":[{\"id\":1,\"version\":1,\"score\":0.87546873},"
                  "{\"id\":2,\"version\":1,\"score\":0.18232156}]}");
    expect_error(&server, "POST", path, "{\"query\":[1,2],\"using\":\"s\"}", 400,
                 "Wrong input: Conversion between sparse and regular vectors failed");
    expect_error(
        &server, "PUT", "/collections/sparse/points",
        "{\"points\":[{\"id\":1,\"vector\":{}},{\"id\":1,\"vector\":{\"s\":{\"indices\":[1,1],"
        "\"values\":[1,2]}}}]}",
        422,
        "Validation error in JSON body: [points[1].vector.?.indices: Validation error: must "
        "be unique [{}]]");
    expect_error(
        &server, "PUT", "/collections/sparse/points",
        "{\"points\":[{\"id\":1,\"vector\":{\"s\":{\"indices\":[1],\"values\":[1,2]}}}]}", 422,
        "Validation error in JSON body: [points[0].vector.?.values: Validation error: must "
        "be the same length as indices [{}]]");
    expect_error(&server, "PUT", "/collections/sparse/points",
                 "{\"points\":[{\"id\":1,\"vector\":{\"s\":[1,2]}}]}", 400,
                 "Wrong input: Conversion between sparse and regular vectors failed (points[0])");
    expect_error(&server, "PUT", "/collections/sparse/points",
                 "{\"points\":[{\"id\":1,\"vector\":[1,2]}]}", 400,
                 "Wrong input: Not existing vector name error:  (points[0])");
}

static void test_multi(void **state)
{
    (void)state;
    create("multi", "{\"vectors\":{\"size\":2,\"distance\":\"Dot\",\"multivector_config\":"
                    "{\"comparator\":\"max_sim\"}}}");
    upsert("multi",
           "{\"points\":[{\"id\":1,\"vector\":[[1,2],[3,4]]},{\"id\":2,\"vector\":[[5,-5]]},"
           "{\"id\":3,\"vector\":[1,1]},{\"id\":4,\"vector\":{}}]}");
    expect_points("multi", "{\"ids\":[1,2,3,4],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":[[1.0,2.0],[3.0,4.0]]},{\"id\":2,\"vector\":[[5.0,-5.0]]},"
                  "{\"id\":3,\"vector\":[[1.0,1.0]]},{\"id\":4,\"vector\":{}}]");
    expect_result(
        &server, "POST", "/collections/multi/points/query", "{\"query\":[[1,0],[0,1]]}",
        "{\"points\":[{\"id\":1,\"version\":1,\"score\":7.0},"
        "{\"id\":3,\"version\":1,\"score\":2.0},{\"id\":2,\"version\":1,\"score\":0.0}]}");
    expect_result(&server, "POST", "/collections/multi/points/query", "{\"query\":3}",
                  "{\"points\":[{\"id\":1,\"version\":1,\"score\":7.0},"
                  "{\"id\":2,\"version\":1,\"score\":0.0}]}");
    const char *path = "/collections/multi/points";
    expect_error(&server, "PUT", path, "{\"points\":[{\"id\":1,\"vector\":[[1,2],[3]]}]}", 400,
                 "Wrong input: Vector dimension error: expected dim: 2, got 1 (points[0])");
    expect_error(
        &server, "PUT", path, "{\"points\":[{\"id\":1,\"vector\":[]}]}", 422,
        "Validation error in JSON body: [points[0].vector: multivector must not be empty]");
}

static void test_update_and_delete(void **state)
{
    (void)state;
    create("change", "{\"vectors\":{\"\":{\"size\":1,\"distance\":\"Dot\"},\"b\":{\"size\":2,"
                     "\"distance\":\"Dot\"}},"
                     "\"sparse_vectors\":{\"s\":{}}}");
    upsert("change", "{\"points\":[{\"id\":1,\"vector\":{\"\":[1],\"b\":[2,3],\"s\":{\"indices\":["
                     "4],\"values\":[5]}},"
                     "\"payload\":{\"p\":1}},{\"id\":2,\"vector\":[7],\"payload\":{\"p\":2}}]}");
    const char *update = "/collections/change/points/vectors?wait=true";
    json_decref(call_result_of(&server, "PUT", update,
                               "{\"points\":[{\"id\":1,\"vector\":{\"b\":[8,9]}},"
                               "{\"id\":2,\"vector\":{\"s\":{\"indices\":[1],\"values\":[2]}}}]}"));
    expect_points("change", "{\"ids\":[1,2],\"with_vector\":true}",
                  "[{\"id\":1,\"payload\":{\"p\":1},\"vector\":{\"\":[1.0],\"b\":[8.0,9.0],"
                  "\"s\":{\"indices\":[4],\"values\":[5.0]}}},"
                  "{\"id\":2,\"payload\":{\"p\":2},\"vector\":{\"\":[7.0],"
                  "\"s\":{\"indices\":[1],\"values\":[2.0]}}}]");
    const char *removal = "/collections/change/points/vectors/delete?wait=true";
    json_decref(
        call_result_of(&server, "POST", removal, "{\"vector\":[\"s\",\"\"],\"points\":[1,99]}"));
    json_decref(call_result_of(
        &server, "POST", removal,
        "{\"vector\":[\"s\"],\"filter\":{\"must\":{\"key\":\"p\",\"match\":{\"value\":2}}}}"));
    expect_points("change", "{\"ids\":[1,2],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":{\"b\":[8.0,9.0]}},{\"id\":2,\"vector\":[7.0]}]");
    expect_result(&server, "POST", "/collections/change/points/query",
                  "{\"query\":{\"indices\":[4,1],\"values\":[1,1]},\"using\":\"s\"}",
                  "{\"points\":[]}");
    json_decref(call_result_of(
        &server, "POST", "/collections/change/points/batch?wait=true",
        "{\"operations\":[{\"update_vectors\":{\"points\":[{\"id\":2,\"vector\":[6]}]}},"
        "{\"delete_vectors\":{\"vector\":[\"b\"],\"points\":[1]}}]}"));
    expect_points("change", "{\"ids\":[1,2],\"with_payload\":false,\"with_vector\":true}",
                  "[{\"id\":1,\"vector\":{}},{\"id\":2,\"vector\":[6.0]}]");
    expect_error(
        &server, "PUT", update, "{\"points\":[{\"id\":1,\"vector\":{}}]}", 422,
        "Validation error in JSON body: [points[0].vector: must specify vectors to update for "
        "point]");
    expect_error(&server, "PUT", update, "{\"points\":[{\"id\":5,\"vector\":[1]}]}", 404,
                 "Not found: No point with id 5 found");
    expect_error(&server, "PUT", update, "{\"points\":[{\"id\":1,\"vector\":[1,2]}]}", 400,
                 "Wrong input: Vector dimension error: expected dim: 1, got 2 (points[0])");
    expect_error(&server, "POST", removal, "{\"vector\":[\"x\"],\"points\":[1]}", 400,
                 "Wrong input: Not existing vector name error: x");
    expect_error(&server, "POST", removal, "{\"vector\":[],\"points\":[1]}", 422,
                 "Validation error in JSON body: [vector: must specify vector names to delete]");
}

static void test_info_counts_all(void **state)
{
    (void)state;
    create("counts", TWO);
    upsert("counts", "{\"points\":[{\"id\":1,\"vector\":{\"text\":[0,3,4],\"image\":[1,2]}},"
                     "{\"id\":2,\"vector\":{\"image\":[5,6]}}]}");
    json_t *info = call_result_of(&server, "GET", "/collections/counts", "");
    assert_int_equal(json_integer_value(json_object_get(info, "indexed_vectors_count")), 3);
    assert_int_equal(json_integer_value(json_object_get(info, "points_count")), 2);
    json_t *params = json_object_get(json_object_get(info, "config"), "params");
    json_t *text = json_object_get(json_object_get(params, "vectors"), "text");
    assert_string_equal(json_string_value(json_object_get(text, "datatype")), "float16");
    assert_true(json_is_true(json_object_get(text, "on_disk")));
    json_decref(info);
}

static void test_refusals(void **state)
{
    (void)state;
    create("wrong", TWO);
    const char *path = "/collections/wrong/points";
    const struct {
        const char *vector, *text;
        int status;
    } cases[] = {
        {"{\"sound\":[1,2]}", "Wrong input: Not existing vector name error: sound (points[0])",
         400},
        {"[1,2]", "Wrong input: Not existing vector name error:  (points[0])", 400},
        {"{\"image\":[1,2,3]}",
         "Wrong input: Vector dimension error: expected dim: 2, got 3 (points[0])", 400},
        {"{\"text\":[]}", "Wrong input: Vector dimension error: expected dim: 3, got 0 (points[0])",
         400},
        {"{\"image\":[1,2],\"image\":[1,2]}",
         "Format error in JSON body: points[0]: duplicate field `image` at …", 400},
        {"{\"image\":{\"indices\":[1],\"values\":[1]}}",
         "Wrong input: Conversion between sparse and regular vectors failed (points[0])", 400},
        {"{\"image\":[[1,2]]}",
         "Wrong input: Conversion between multi and regular vectors failed (points[0])", 400},
        {"{\"image\":\"x\"}",
         "Format error in JSON body: points[0]: vector: expected an array of numbers…", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"points\":[{\"id\":1,\"vector\":%s}]}", cases[i].vector);
        expect_error(&server, "PUT", path, body, cases[i].status, cases[i].text);
    }
    expect_error(&server, "POST", path, "{\"ids\":[1],\"with_vector\":[\"sound\"]}", 400,
                 "Wrong input: Not existing vector name error: sound");
    char *name = malloc(300);
    assert_non_null(name);
    snprintf(name, 300, "{\"vectors\":{\"%0201d\":{\"size\":1,\"distance\":\"Dot\"}}}", 7);
    expect_error(&server, "PUT", "/collections/long", name, 400, "Wrong input: vector name 0…");
    free(name);
}

static int setup(void **state)
{
    (void)state;
    fixture_prepare(&server);
    fixture_start(&server);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&server);
    fixture_release(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_subset),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_default_in_a_map),
        cmocka_unit_test(test_default_beside_named),
        cmocka_unit_test(test_update_and_delete),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_multi),
        cmocka_unit_test(test_search_by_name),
        cmocka_unit_test(test_info_counts_all),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
