#include "server/tree.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/random.h>

void tree_seed(void)
{
    size_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        abort();
    json_object_seed(seed == 0 ? 1 : seed); /* 0 would let jansson look for one of its own */
}

const char *tree_library_version(void)
{
    return jansson_version_str();
}

static enum error put_tree(struct value_builder *builder, json_t *tree);

static enum error put_object(struct value_builder *builder, json_t *tree)
{
    enum error error = value_open_object(builder);
    for (void *at = json_object_iter(tree); at != NULL && error == OK;
         at = json_object_iter_next(tree, at)) {
        error = value_put_key(builder, span_text(json_object_iter_key(at)));
        if (error == OK)
            error = put_tree(builder, json_object_iter_value(at));
    }
    if (error == OK)
        value_close(builder);
    return error;
}

static enum error put_array(struct value_builder *builder, json_t *tree)
{
    enum error error = value_open_array(builder);
    for (size_t i = 0; i < json_array_size(tree) && error == OK; i++)
        error = put_tree(builder, json_array_get(tree, i));
    if (error == OK)
        value_close(builder);
    return error;
}

/* Depth ends at VALUE_DEPTH_MAX, where value_open_* refuses. */
static enum error put_tree(struct value_builder *builder, json_t *tree)
{
    switch (json_typeof(tree)) {
    case JSON_OBJECT:
        return put_object(builder, tree);
    case JSON_ARRAY:
        return put_array(builder, tree);
    case JSON_STRING:
        value_put_string(builder, span_of(json_string_value(tree), json_string_length(tree)));
        return OK;
    case JSON_INTEGER:
        value_put_integer(builder, json_integer_value(tree), (struct span){0});
        return OK;
    case JSON_REAL:
        value_put_double(builder, json_real_value(tree), (struct span){0});
        return OK;
    case JSON_TRUE:
    case JSON_FALSE:
        value_put_bool(builder, json_is_true(tree));
        return OK;
    case JSON_NULL:
        value_put_null(builder);
        return OK;
    }
    return ERROR_INVALID;
}

bool tree_parse(struct span text, struct arena *arena, struct span *value, const char **why)
{
    if (text.bytes == 0) {
        *why = "EOF while parsing a value at line 1 column 0";
        return false;
    }
    json_error_t error;
    json_t *tree = json_loadb((const char *)text.data, text.bytes,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (tree == NULL) {
        *why = arena_format(arena, "%s at line %d column %d", error.text, error.line, error.column);
        return false;
    }
    struct value_builder builder;
    value_begin(&builder, arena);
    enum error result = json_is_object(tree) ? put_tree(&builder, tree) : ERROR_INVALID;
    json_decref(tree);
    if (result == OK)
        *value = value_end(&builder);
    else
        *why = result == ERROR_INVALID ? "invalid type: sequence, expected a map"
                                       : "nested too deeply";
    return result == OK;
}
