/* server/openapi.json beside the route table: a route that one has and the other has not fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "server/openapi.h"
#include "server/routes.h"

static struct arena arena;

/* The document as a value, in the arena. */
static struct span document(void)
{
    struct text text = {0};
    struct span value;
    struct json json;
    arena_init(&arena);
    openapi_text(&text);
    json_init(&json, span_of(text.data, text.bytes), &arena);
    if (!json_value(&json, &value) || !json_finish(&json))
        fail_msg("server/openapi.json: %s", json.why);
    text_release(&text);
    return value;
}

static struct span get(struct span object, const char *name)
{
    return object.bytes == 0 ? object : value_get(object, span_text(name));
}

static const char *text_of(struct span key)
{
    return arena_format(&arena, "%.*s", (int)key.bytes, (const char *)key.data);
}

/* "/collections/{collection_name}/points" as the table has it: "/collections/{}/points". */
static void plain_pattern(const char *path, char *out, size_t capacity)
{
    size_t at = 0;
    bool inside = false;
    for (; *path != '\0'; path++) {
        if (*path == '}')
            inside = false;
        if (!inside) {
            assert_true(at + 1 < capacity);
            out[at++] = *path;
        }
        if (*path == '{')
            inside = true;
    }
    out[at] = '\0';
}

static const struct route *row_of(const char *method, const char *path)
{
    char pattern[160];
    plain_pattern(path, pattern, sizeof pattern);
    for (size_t i = 0; i < route_count; i++) {
        if (strcasecmp(method_text(routes[i].method), method) == 0 &&
            strcmp(routes[i].pattern, pattern) == 0)
            return &routes[i];
    }
    return NULL;
}

/* Empty: there is none. */
static struct span operation_of(struct span paths, const struct route *route)
{
    struct value_cursor cursor;
    struct span path, methods;
    char pattern[160], method[16];
    size_t i = 0;
    for (const char *c = method_text(route->method); *c != '\0'; c++)
        method[i++] = (char)(*c | 0x20);
    method[i] = '\0';
    value_walk(paths, &cursor);
    while (value_next(&cursor, &path, &methods)) {
        plain_pattern(text_of(path), pattern, sizeof pattern);
        if (strcmp(pattern, route->pattern) == 0 && get(methods, method).bytes > 0)
            return get(methods, method);
    }
    return (struct span){0};
}

static void every_route_is_in_the_document(void **state)
{
    struct span paths = get(document(), "paths");
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        if (operation_of(paths, &routes[i]).bytes == 0)
            fail_msg("%s %s is not in server/openapi.json", method_text(routes[i].method),
                     routes[i].pattern);
    }
    arena_release(&arena);
}

static void every_path_of_the_document_is_a_route(void **state)
{
    struct value_cursor outer, inner;
    struct span path, methods, method, operation;
    (void)state;
    value_walk(get(document(), "paths"), &outer);
    while (value_next(&outer, &path, &methods)) {
        value_walk(methods, &inner);
        while (value_next(&inner, &method, &operation)) {
            if (row_of(text_of(method), text_of(path)) == NULL)
                fail_msg("%s %s of server/openapi.json is not in the route table", text_of(method),
                         text_of(path));
        }
    }
    arena_release(&arena);
}

static bool knows(struct span operation, const char *parameter)
{
    struct value_cursor cursor;
    struct span key, item, list = get(operation, "parameters");
    if (list.bytes == 0)
        return false;
    value_walk(list, &cursor);
    while (value_next(&cursor, &key, &item)) {
        if (span_equal(value_string(get(item, "name")), span_text(parameter)))
            return true;
    }
    return false;
}

/* What the row says of parameters, keys and being built, the document says as well. */
static void rows_and_operations_agree(void **state)
{
    static const struct {
        const char *name;
        unsigned flag;
    } parameters[] = {{"wait", PARAMETER_WAIT},
                      {"ordering", PARAMETER_WAIT},
                      {"timeout", PARAMETER_TIMEOUT},
                      {"consistency", PARAMETER_CONSISTENCY}};
    struct span paths = get(document(), "paths");
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        struct span operation = operation_of(paths, route);
        struct span replies = get(operation, "responses");
        assert_true(replies.bytes > 0);
        const bool built = route->kind != ROUTE_UNBUILT && route->kind != ROUTE_STANDALONE;
        if (built != (get(replies, "200").bytes > 0) ||
            (route->kind == ROUTE_UNBUILT) != (get(replies, "501").bytes > 0) ||
            (route->kind == ROUTE_STANDALONE) != (get(replies, "405").bytes > 0))
            fail_msg("%s %s: is it built, or not?", method_text(route->method), route->pattern);
        if (((route->flags & ROUTE_OPEN) == 0) != (get(replies, "401").bytes > 0))
            fail_msg("%s %s: does it need a key?", method_text(route->method), route->pattern);
        if (built && ((route->flags & ROUTE_WRITE) != 0) != (get(replies, "403").bytes > 0))
            fail_msg("%s %s: does it write?", method_text(route->method), route->pattern);
        for (size_t j = 0; built && j < sizeof parameters / sizeof parameters[0]; j++) {
            if (((route->flags & parameters[j].flag) != 0) != knows(operation, parameters[j].name))
                fail_msg("%s %s: parameter %s", method_text(route->method), route->pattern,
                         parameters[j].name);
        }
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_document),
        cmocka_unit_test(every_path_of_the_document_is_a_route),
        cmocka_unit_test(rows_and_operations_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
