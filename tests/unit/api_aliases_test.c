/* Aliases over HTTP: actions, texts, resolution, and what a deleted collection leaves. */
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

static void create(const char *name, int status, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "/collections/%s", name);
    expect_answer(&fixture, "PUT", path, JSON, "{\"vectors\":{\"size\":2,\"distance\":\"Dot\"}}",
                  status, text);
}

static void change(const char *actions, int status, const char *text)
{
    char body[2048];
    snprintf(body, sizeof body, "{\"actions\":[%s]}", actions);
    expect_answer(&fixture, "POST", "/collections/aliases", JSON, body, status, text);
}

static void get(const char *path, const char *text)
{
    expect_answer(&fixture, "GET", path, "", NULL, 200, text);
}

#define CREATE(collection, alias)                                                                  \
    "{\"create_alias\":{\"collection_name\":\"" collection "\",\"alias_name\":\"" alias "\"}}"
#define DELETE(alias) "{\"delete_alias\":{\"alias_name\":\"" alias "\"}}"
#define RENAME(old, new)                                                                           \
    "{\"rename_alias\":{\"old_alias_name\":\"" old "\",\"new_alias_name\":\"" new "\"}}"
#define PAIR(alias, collection)                                                                    \
    "{\"alias_name\":\"" alias "\",\"collection_name\":\"" collection "\"}"

static void actions_and_lists(void **state)
{
    (void)state;
    create("one", 200, "true");
    create("two", 200, "true");
    get("/aliases", "{\"aliases\":[]}");
    change("", 200, "\"result\":true");
    change(CREATE("one", "b") "," CREATE("two", "a") "," CREATE("one", "c"), 200,
           "\"result\":true,\"status\":\"ok\"");
    get("/aliases",
        "{\"aliases\":[" PAIR("a", "two") "," PAIR("b", "one") "," PAIR("c", "one") "]}");
    get("/collections/one/aliases", "{\"aliases\":[" PAIR("b", "one") "," PAIR("c", "one") "]}");
    get("/collections/b/aliases", "{\"aliases\":[" PAIR("b", "one") "," PAIR("c", "one") "]}");
    change(RENAME("c", "d") "," CREATE("two", "b") "," DELETE("nobody"), 200, "true");
    get("/aliases",
        "{\"aliases\":[" PAIR("a", "two") "," PAIR("b", "two") "," PAIR("d", "one") "]}");
    expect_answer(&fixture, "GET", "/collections/none/aliases", "", NULL, 404,
                  "Not found: Collection `none` doesn't exist!");
    serve_stop(&fixture);
    serve_start(&fixture);
    get("/aliases",
        "{\"aliases\":[" PAIR("a", "two") "," PAIR("b", "two") "," PAIR("d", "one") "]}");
}

static void texts(void **state)
{
    (void)state;
    create("one", 200, "true");
    create("two", 200, "true");
    change(CREATE("one", "a"), 200, "true");
    change(CREATE("none", "x"), 404, "Not found: Collection `none` doesn't exist!");
    change(CREATE("one", "two"), 409, "Wrong input: Collection `two` already exists!");
    change(RENAME("x", "y"), 404, "Not found: Alias x does not exists!");
    change(RENAME("a", "two"), 409, "Wrong input: Collection `two` already exists!");
    change(CREATE("a", "b"), 404, "Not found: Collection `a` doesn't exist!");
    change(CREATE("one", "a/b"), 400, "Wrong input: alias name `a/b` must have from 1 to 255");
    change(CREATE("one", ""), 400, "Wrong input: alias name `` must have");
    create("a", 400, "Wrong input: Can't create collection with name a. Alias with the same name");
    /* all or nothing */
    change(CREATE("one", "kept") "," DELETE("a") "," CREATE("none", "x"), 404, "`none`");
    get("/aliases", "{\"aliases\":[" PAIR("a", "one") "]}");
    /* what is no action */
    change("{\"create_alias\":{\"collection_name\":\"one\"}}", 400,
           "Format error in JSON body: actions[0].create_alias: missing field `alias_name`");
    change(DELETE("q") ",{\"delete_alias\":{\"alias_name\":7}}", 400,
           "actions[1].delete_alias.alias_name: invalid type: integer `7`, expected a string");
    change("{\"make\":{}}", 400, "actions[0]: data did not match any variant");
    change("{\"create_alias\":3}", 400, "actions[0].create_alias: expected a map");
    change("7", 400, "actions[0]: data did not match any variant");
    expect_answer(&fixture, "POST", "/collections/aliases", JSON, "{}", 400,
                  "missing field `actions`");
    expect_answer(&fixture, "POST", "/collections/aliases", JSON, "{\"actions\":{}}", 400,
                  "actions: expected an array");
    expect_answer(&fixture, "POST", "/collections/aliases", JSON, "{\"actions\":", 400,
                  "Format error in JSON body: ");
}

static void an_alias_is_a_name(void **state)
{
    (void)state;
    create("one", 200, "true");
    create("two", 200, "true");
    change(CREATE("one", "now"), 200, "true");
    get("/collections/now/exists", "{\"exists\":true}");
    get("/collections/now", "\"points_count\":0");
    expect_answer(&fixture, "PUT", "/collections/now/points?wait=true", JSON,
                  "{\"points\":[{\"id\":1,\"vector\":[1,2]}]}", 200, "completed");
    get("/collections/one/points/1", "[1.0,2.0]");
    get("/collections", "{\"collections\":[{\"name\":\"one\"},{\"name\":\"two\"}]}");
    change(DELETE("now") "," CREATE("two", "now"), 200, "true");
    expect_answer(&fixture, "GET", "/collections/now/points/1", "", NULL, 404,
                  "Point with id 1 does not exists!");
    expect_answer(&fixture, "POST", "/collections/now/bulk",
                  "Content-Type: application/x-ndjson\r\n", "{\"id\":5,\"vector\":[5,5]}\n", 200,
                  "\"points\":1");
    get("/collections/two/points/5", "[5.0,5.0]");
    /* deleting goes by the collection's own name */
    expect_answer(&fixture, "DELETE", "/collections/now", "", NULL, 200, "\"result\":false");
    get("/collections/now/exists", "{\"exists\":true}");
    change(CREATE("one", "other"), 200, "true");
    expect_answer(&fixture, "DELETE", "/collections/two", "", NULL, 200, "\"result\":true");
    get("/collections/now/exists", "{\"exists\":false}");
    get("/aliases", "{\"aliases\":[" PAIR("other", "one") "]}");
    create("now", 200, "true");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(actions_and_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(texts, setup, teardown),
        cmocka_unit_test_setup_teardown(an_alias_is_a_name, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
