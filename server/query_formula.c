/* A formula: from the value it came as to a tree. */
#include "server/query_node.h"

#include "index/datetime.h"

#define FORMULA_NODES_MAX 4096u
#define FORMULA_DEPTH_MAX 64u

struct formula_reader {
    struct body *body;
    struct query_formula *out;
    struct span defaults;
    size_t node_count, depth;
    size_t variable_capacity, condition_capacity;
};

static struct formula *read_expression(struct formula_reader *reader, struct span value);

static struct formula *wrong(struct formula_reader *reader, const char *text)
{
    (void)json_fail(&reader->body->json, "query.formula: %s", text);
    return NULL;
}

static struct formula *node_new(struct formula_reader *reader, enum formula_kind kind)
{
    if (++reader->node_count > FORMULA_NODES_MAX) {
        (void)refuse(&reader->body->refusal, reader->body->arena, REFUSAL_REQUEST,
                     "a formula has more than %u expressions", FORMULA_NODES_MAX);
        return NULL;
    }
    struct formula *node = arena_allocate(reader->body->arena, sizeof *node);
    *node = (struct formula){.kind = kind, .scale = 1, .midpoint = 0.5};
    return node;
}

static bool is_number(struct span value)
{
    const enum value_kind kind = value_kind(value);
    return kind == VALUE_INTEGER || kind == VALUE_UNSIGNED || kind == VALUE_DOUBLE;
}

static struct span member(struct span object, const char *name)
{
    const struct span value = value_get(object, span_text(name));
    return value.bytes == 0 || value_kind(value) == VALUE_NULL ? (struct span){0} : value;
}

/* ---- variables ---- */

/* "$score" or "$score[i]"; false: it is another name. *bad: it begins so and goes on otherwise. */
static bool score_index(struct span text, uint32_t *index, bool *bad)
{
    const struct span prefix = span_text("$score");
    uint64_t number = 0;
    *index = 0;
    *bad = false;
    if (text.bytes < prefix.bytes || memcmp(text.data, prefix.data, prefix.bytes) != 0)
        return false;
    const struct span rest = span_of(text.data + prefix.bytes, text.bytes - prefix.bytes);
    if (rest.bytes == 0)
        return true;
    *bad = rest.bytes < 3 || rest.data[0] != '[' || rest.data[rest.bytes - 1] != ']' ||
           !parse_u64(span_of(rest.data + 1, rest.bytes - 2), &number);
    *index = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return true;
}

/* The default of a list's score: $score is $score[0] there too. */
static double score_default(const struct formula_reader *reader, uint32_t index)
{
    struct value_cursor cursor;
    struct span key, value;
    if (reader->defaults.bytes == 0)
        return 0;
    value_walk(reader->defaults, &cursor);
    while (value_next(&cursor, &key, &value)) {
        uint32_t other;
        bool bad;
        if (score_index(key, &other, &bad) && !bad && other == index && is_number(value))
            return value_double(value);
    }
    return 0;
}

static bool variable_number(struct formula_reader *reader, struct span path, uint32_t *number)
{
    struct query_formula *out = reader->out;
    struct arena *arena = reader->body->arena;
    for (size_t i = 0; i < out->variable_count; i++) {
        *number = (uint32_t)i;
        if (span_equal(out->variables[i].path, path))
            return true;
    }
    if (out->variable_count == reader->variable_capacity) {
        const size_t capacity = reader->variable_capacity == 0 ? 8 : 2 * reader->variable_capacity;
        struct formula_variable *variables =
            arena_allocate(arena, size_product(capacity, sizeof *variables));
        struct path *paths = arena_allocate(arena, size_product(capacity, sizeof *paths));
        if (out->variable_count > 0) {
            memcpy(variables, out->variables, out->variable_count * sizeof *variables);
            memcpy(paths, out->paths, out->variable_count * sizeof *paths);
        }
        out->variables = variables;
        out->paths = paths;
        reader->variable_capacity = capacity;
    }
    *number = (uint32_t)out->variable_count;
    out->variables[*number] = (struct formula_variable){.path = path};
    if (reader->defaults.bytes > 0)
        out->variables[*number].fallback = value_get(reader->defaults, path);
    if (!path_parse(path, arena, &out->paths[*number]))
        return json_fail(&reader->body->json, "query.formula: `%.*s` is not a path",
                         (int)path.bytes, (const char *)path.data);
    out->variable_count++;
    return true;
}

static struct formula *read_variable(struct formula_reader *reader, enum formula_kind kind,
                                     struct span value)
{
    if (value.bytes == 0 || value_kind(value) != VALUE_STRING)
        return wrong(reader, "expected a path as a string");
    struct formula *node = node_new(reader, kind);
    if (node == NULL || !variable_number(reader, value_string(value), &node->index))
        return NULL;
    return node;
}

static struct formula *read_name(struct formula_reader *reader, struct span value)
{
    const struct span text = value_string(value);
    uint32_t index;
    bool bad;
    if (!score_index(text, &index, &bad))
        return read_variable(reader, FORMULA_VALUE, value);
    if (bad) {
        (void)json_fail(&reader->body->json, "query.formula: invalid score pattern `%.*s`",
                        (int)text.bytes, (const char *)text.data);
        return NULL;
    }
    struct formula *node = node_new(reader, FORMULA_SCORE);
    if (node != NULL) {
        node->index = index;
        node->number = score_default(reader, index);
    }
    return node;
}

/* ---- conditions ---- */

/* {"must": [condition]}: what a condition is, filters know. */
static struct span as_filter(struct formula_reader *reader, struct span condition)
{
    struct value_builder builder;
    value_begin(&builder, reader->body->arena);
    if (value_open_object(&builder) == OK && value_put_key(&builder, span_text("must")) == OK &&
        value_open_array(&builder) == OK) {
        value_put_value(&builder, condition);
        value_close(&builder);
        value_close(&builder);
    }
    return value_end(&builder);
}

static struct formula *read_condition(struct formula_reader *reader, struct span value)
{
    struct query_formula *out = reader->out;
    struct arena *arena = reader->body->arena;
    const struct filter *filter;
    if (!filter_value(reader->body, as_filter(reader, value), "query.formula", &filter))
        return NULL;
    struct formula *node = node_new(reader, FORMULA_CONDITION);
    if (node == NULL)
        return NULL;
    if (out->condition_count == reader->condition_capacity) {
        const size_t capacity =
            reader->condition_capacity == 0 ? 8 : 2 * reader->condition_capacity;
        const struct filter **larger =
            arena_allocate(arena, size_product(capacity, sizeof *larger));
        if (out->condition_count > 0)
            memcpy(larger, out->conditions, out->condition_count * sizeof *larger);
        out->conditions = larger;
        reader->condition_capacity = capacity;
    }
    node->index = (uint32_t)out->condition_count;
    out->conditions[out->condition_count++] = filter;
    return node;
}

/* ---- operators ---- */

static bool set_operands(struct formula_reader *reader, struct formula *node,
                         const struct span *values, size_t count)
{
    node->operands = arena_allocate(reader->body->arena, size_product(count + 1, sizeof(node)));
    for (size_t i = 0; i < count; i++) {
        node->operands[i] = read_expression(reader, values[i]);
        if (node->operands[i] == NULL)
            return false;
    }
    node->operand_count = count;
    return true;
}

static struct formula *read_list(struct formula_reader *reader, enum formula_kind kind,
                                 struct span value)
{
    if (value_kind(value) != VALUE_ARRAY)
        return wrong(reader, "expected an array of expressions");
    const size_t count = value_count(value);
    if (count > FORMULA_NODES_MAX)
        return wrong(reader, "too many expressions");
    if (count == 0 && (kind == FORMULA_MAX || kind == FORMULA_MIN))
        return wrong(reader, "`max` and `min` need at least one operand");
    struct span *values =
        arena_allocate(reader->body->arena, size_product(count + 1, sizeof *values));
    struct value_cursor cursor;
    struct span key;
    size_t read = 0;
    value_walk(value, &cursor);
    while (read < count && value_next(&cursor, &key, &values[read]))
        read++;
    struct formula *node = node_new(reader, kind);
    return node != NULL && set_operands(reader, node, values, read) ? node : NULL;
}

static struct formula *read_one(struct formula_reader *reader, enum formula_kind kind,
                                struct span value)
{
    struct formula *node = node_new(reader, kind);
    return node != NULL && set_operands(reader, node, &value, 1) ? node : NULL;
}

static struct formula *read_two(struct formula_reader *reader, enum formula_kind kind,
                                struct span value)
{
    const bool division = kind == FORMULA_DIV;
    const struct span operands[2] = {member(value, division ? "left" : "base"),
                                     member(value, division ? "right" : "exponent")};
    if (operands[0].bytes == 0 || operands[1].bytes == 0)
        return wrong(reader, division ? "`div` needs `left` and `right`"
                                      : "`pow` needs `base` and `exponent`");
    struct formula *node = node_new(reader, kind);
    if (node == NULL || !set_operands(reader, node, operands, 2))
        return NULL;
    const struct span fallback = division ? member(value, "by_zero_default") : (struct span){0};
    if (fallback.bytes > 0 && !is_number(fallback))
        return wrong(reader, "`by_zero_default` must be a number");
    node->has_number = fallback.bytes > 0;
    if (node->has_number)
        node->number = value_double(fallback);
    return node;
}

static bool optional_number(struct formula_reader *reader, struct span object, const char *name,
                            double *number)
{
    const struct span value = member(object, name);
    if (value.bytes == 0)
        return true;
    if (!is_number(value))
        return json_fail(&reader->body->json, "query.formula: `%s` must be a number", name);
    *number = value_double(value);
    return true;
}

static bool refuse_decay(struct formula_reader *reader, const char *what, double got)
{
    return refuse(&reader->body->refusal, reader->body->arena, REFUSAL_INPUT, "%s, got %g", what,
                  got);
}

static bool check_decay(struct formula_reader *reader, const struct formula *node)
{
    const double midpoint = node->midpoint;
    if (node->kind == FORMULA_LIN_DECAY && !(midpoint >= 0 && midpoint <= 1))
        return refuse_decay(reader, "Linear decay midpoint should be in the range [0.0, 1.0]",
                            midpoint);
    if (node->kind != FORMULA_LIN_DECAY && !(midpoint > 0 && midpoint < 1))
        return refuse_decay(reader, "Decay midpoint should be in the range (0.0, 1.0)", midpoint);
    return node->scale > 0 || refuse_decay(reader, "Scale must be non-zero positive", node->scale);
}

static struct formula *read_decay(struct formula_reader *reader, enum formula_kind kind,
                                  struct span value)
{
    const struct span operands[2] = {member(value, "x"), member(value, "target")};
    if (operands[0].bytes == 0)
        return wrong(reader, "a decay needs `x`");
    struct formula *node = node_new(reader, kind);
    if (node == NULL || !set_operands(reader, node, operands, operands[1].bytes > 0 ? 2 : 1) ||
        !optional_number(reader, value, "scale", &node->scale) ||
        !optional_number(reader, value, "midpoint", &node->midpoint) || !check_decay(reader, node))
        return NULL;
    return node;
}

/* ---- places and times ---- */

static struct formula *read_distance(struct formula_reader *reader, enum formula_kind kind,
                                     struct span value)
{
    const struct span origin = member(value, "origin");
    const struct span lon = member(origin, "lon"), lat = member(origin, "lat");
    if (!is_number(lon) || !is_number(lat))
        return wrong(reader, "`geo_distance.origin` needs `lon` and `lat`");
    struct formula *node = read_variable(reader, kind, member(value, "to"));
    if (node == NULL)
        return NULL;
    node->lon = value_double(lon);
    node->lat = value_double(lat);
    if (!(node->lon >= -180 && node->lon <= 180 && node->lat >= -90 && node->lat <= 90))
        return wrong(reader, "`geo_distance.origin` is no place on earth");
    return node;
}

static struct formula *read_datetime(struct formula_reader *reader, enum formula_kind kind,
                                     struct span value)
{
    int64_t microseconds;
    (void)kind;
    if (value_kind(value) != VALUE_STRING || !datetime_parse(value_string(value), &microseconds))
        return wrong(reader, "`datetime` is not a date-time");
    struct formula *node = node_new(reader, FORMULA_NUMBER);
    if (node != NULL)
        node->number = (double)microseconds / 1e6;
    return node;
}

/* ---- which ---- */

static const struct operator
{
    const char *name;
    enum formula_kind kind;
    struct formula *(*read)(struct formula_reader * reader, enum formula_kind kind,
                            struct span value);
}
operators[] = {
    {"sum", FORMULA_SUM, read_list},
    {"mult", FORMULA_MULT, read_list},
    {"max", FORMULA_MAX, read_list},
    {"min", FORMULA_MIN, read_list},
    {"neg", FORMULA_NEG, read_one},
    {"abs", FORMULA_ABS, read_one},
    {"div", FORMULA_DIV, read_two},
    {"sqrt", FORMULA_SQRT, read_one},
    {"pow", FORMULA_POW, read_two},
    {"exp", FORMULA_EXP, read_one},
    {"log10", FORMULA_LOG10, read_one},
    {"ln", FORMULA_LN, read_one},
    {"acosh", FORMULA_ACOSH, read_one},
    {"geo_distance", FORMULA_GEO_DISTANCE, read_distance},
    {"datetime", FORMULA_NUMBER, read_datetime},
    {"datetime_key", FORMULA_DATETIME, read_variable},
    {"lin_decay", FORMULA_LIN_DECAY, read_decay},
    {"exp_decay", FORMULA_EXP_DECAY, read_decay},
    {"gauss_decay", FORMULA_GAUSS_DECAY, read_decay},
};

static struct formula *read_object(struct formula_reader *reader, struct span value)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        const struct span operand = member(value, operators[i].name);
        if (operand.bytes > 0)
            return operators[i].read(reader, operators[i].kind, operand);
    }
    return read_condition(reader, value);
}

static struct formula *read_kind(struct formula_reader *reader, struct span value)
{
    if (is_number(value)) {
        struct formula *node = node_new(reader, FORMULA_NUMBER);
        if (node != NULL)
            node->number = value_double(value);
        return node;
    }
    switch ((int)value_kind(value)) {
    case VALUE_STRING:
        return read_name(reader, value);
    case VALUE_OBJECT:
        return read_object(reader, value);
    default:
        return wrong(reader, "expected a number, a variable, a condition or an expression");
    }
}

static struct formula *read_expression(struct formula_reader *reader, struct span value)
{
    if (++reader->depth > FORMULA_DEPTH_MAX) {
        (void)refuse(&reader->body->refusal, reader->body->arena, REFUSAL_REQUEST,
                     "a formula is nested deeper than %u expressions", FORMULA_DEPTH_MAX);
        return NULL;
    }
    struct formula *node = read_kind(reader, value);
    reader->depth--;
    return node;
}

bool query_formula_build(struct body *body, struct query_node *node)
{
    struct query_formula *out = arena_allocate(body->arena, sizeof *out);
    struct formula_reader reader = {.body = body, .out = out, .defaults = node->defaults};
    *out = (struct query_formula){0};
    out->root = read_expression(&reader, node->formula);
    node->query.formula = out;
    return out->root != NULL;
}
