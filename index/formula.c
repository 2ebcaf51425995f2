#include "index/formula.h"

#include <assert.h>
#include <math.h>

struct evaluation {
    const struct formula_variable *variables;
    const struct formula_point *point;
    struct arena *arena;
    const char **why;
};

static bool evaluate(const struct evaluation *with, const struct formula *formula, double *out);

static bool not_finite(const struct evaluation *with, const char *expression)
{
    *with->why =
        arena_format(with->arena, "The expression %s produced a non-finite number", expression);
    return false;
}

/* prefix, a and what stands between a and b (NULL: no b): how the expression is written. */
static bool finite_or_why(const struct evaluation *with, double value, const char *prefix, double a,
                          const char *between, double b, double *out)
{
    *out = value;
    if (isfinite(value))
        return true;
    const char *rest = between == NULL
                           ? (*prefix != '\0' && prefix[strlen(prefix) - 1] == '(' ? ")" : "")
                           : arena_format(with->arena, "%s%g", between, b);
    return not_finite(with, arena_format(with->arena, "%s%g%s", prefix, a, rest));
}

/* ---- what is read of the point ---- */

static bool find_value(const struct evaluation *with, const struct formula *formula,
                       struct span *value, size_t *count)
{
    const struct formula_variable *variable = &with->variables[formula->index];
    *count = with->point->values(with->point->context, formula->index, value);
    if (*count == 0 && variable->fallback.bytes > 0) {
        *value = variable->fallback;
        *count = 1;
        if (value_kind(*value) == VALUE_ARRAY) {
            struct value_cursor cursor;
            struct span key;
            *count = value_count(*value);
            value_walk(*value, &cursor);
            if (*count > 0 && !value_next(&cursor, &key, value))
                *count = 0;
        }
    }
    if (*count > 0)
        return true;
    *with->why =
        arena_format(with->arena, "No value found for %.*s in the payload nor the formula defaults",
                     (int)variable->path.bytes, (const char *)variable->path.data);
    return false;
}

static bool wrong_type(const struct evaluation *with, const struct formula *formula,
                       const char *wanted)
{
    const struct formula_variable *variable = &with->variables[formula->index];
    *with->why = arena_format(
        with->arena,
        "Expected %s for %.*s in the payload and/or in the formula defaults. Error: Value is not "
        "a %s",
        wanted, (int)variable->path.bytes, (const char *)variable->path.data, wanted);
    return false;
}

static bool is_number(struct span value)
{
    const enum value_kind kind = value_kind(value);
    return kind == VALUE_INTEGER || kind == VALUE_UNSIGNED || kind == VALUE_DOUBLE;
}

static bool payload_number(const struct evaluation *with, const struct formula *formula,
                           double *out)
{
    struct span value;
    size_t count;
    if (!find_value(with, formula, &value, &count))
        return false;
    if (count != 1 || !is_number(value))
        return wrong_type(with, formula, "number");
    *out = value_double(value);
    return true;
}

double geo_distance_m(double lon1, double lat1, double lon2, double lat2)
{
    const double degree = M_PI / 180;
    const double half_lat = sin((lat2 - lat1) * degree / 2);
    const double half_lon = sin((lon2 - lon1) * degree / 2);
    const double a =
        half_lat * half_lat + cos(lat1 * degree) * cos(lat2 * degree) * half_lon * half_lon;
    return 2 * FORMULA_EARTH_RADIUS_M * asin(sqrt(a < 1 ? a : 1));
}

static bool payload_distance(const struct evaluation *with, const struct formula *formula,
                             double *out)
{
    struct span value;
    size_t count;
    if (!find_value(with, formula, &value, &count))
        return false;
    if (count == 1 && value_kind(value) == VALUE_OBJECT) {
        const struct span lon = value_get(value, span_text("lon"));
        const struct span lat = value_get(value, span_text("lat"));
        if (is_number(lon) && is_number(lat)) {
            *out = geo_distance_m(formula->lon, formula->lat, value_double(lon), value_double(lat));
            return true;
        }
    }
    return wrong_type(with, formula, "geo point");
}

static bool payload_datetime(const struct evaluation *with, const struct formula *formula,
                             double *out)
{
    struct span value;
    size_t count;
    if (!find_value(with, formula, &value, &count))
        return false;
    if (count == 1 && value_kind(value) == VALUE_STRING &&
        with->point->datetime(value_string(value), out))
        return true;
    return wrong_type(with, formula, "datetime");
}

static void list_score(const struct evaluation *with, const struct formula *formula, double *out)
{
    if (!with->point->score(with->point->context, formula->index, out))
        *out = formula->number;
}

/* ---- operators ---- */

static bool fold(const struct evaluation *with, const struct formula *formula, double *out)
{
    const enum formula_kind kind = formula->kind;
    double all = kind == FORMULA_SUM    ? 0
                 : kind == FORMULA_MULT ? 1
                 : kind == FORMULA_MAX  ? -HUGE_VAL
                                        : HUGE_VAL;
    for (size_t i = 0; i < formula->operand_count; i++) {
        double value;
        if (!evaluate(with, formula->operands[i], &value))
            return false;
        if (kind == FORMULA_SUM)
            all += value;
        else if (kind == FORMULA_MULT)
            all *= value;
        else if (kind == FORMULA_MAX ? value > all : value < all)
            all = value;
        if (kind == FORMULA_MULT && value == 0) {
            all = 0;
            break;
        }
    }
    *out = all;
    return true;
}

static bool divide(const struct evaluation *with, const struct formula *formula, double *out)
{
    double left, right;
    if (!evaluate(with, formula->operands[0], &left))
        return false;
    if (left == 0) {
        *out = 0;
        return true;
    }
    if (!evaluate(with, formula->operands[1], &right))
        return false;
    if (right == 0 && formula->has_number) {
        *out = formula->number;
        return true;
    }
    return finite_or_why(with, left / right, "", left, "/", right, out);
}

static bool power(const struct evaluation *with, const struct formula *formula, double *out)
{
    double base, exponent;
    return evaluate(with, formula->operands[0], &base) &&
           evaluate(with, formula->operands[1], &exponent) &&
           finite_or_why(with, pow(base, exponent), "", base, "^", exponent, out);
}

static bool unary(const struct evaluation *with, const struct formula *formula, double *out)
{
    double value;
    if (!evaluate(with, formula->operands[0], &value))
        return false;
    switch ((int)formula->kind) {
    case FORMULA_NEG:
        *out = -value;
        return true;
    case FORMULA_ABS:
        *out = fabs(value);
        return true;
    case FORMULA_SQRT:
        return finite_or_why(with, sqrt(value), "√", value, NULL, 0, out);
    case FORMULA_EXP:
        return finite_or_why(with, exp(value), "exp(", value, NULL, 0, out);
    case FORMULA_LOG10:
        return finite_or_why(with, log10(value), "log10(", value, NULL, 0, out);
    case FORMULA_LN:
        return finite_or_why(with, log(value), "ln(", value, NULL, 0, out);
    case FORMULA_ACOSH:
        return finite_or_why(with, acosh(value), "acosh(", value, NULL, 0, out);
    default:
        break;
    }
    assert(false);
    return false;
}

/* Source: the decay functions of the compatible API; midpoint is the value at distance `scale`. */
static bool decay(const struct evaluation *with, const struct formula *formula, double *out)
{
    double x, target = 0;
    if (!evaluate(with, formula->operands[0], &x) ||
        (formula->operand_count > 1 && !evaluate(with, formula->operands[1], &target)))
        return false;
    const double off = fabs(x - target);
    if (formula->kind == FORMULA_LIN_DECAY) {
        const double value = 1 - (1 - formula->midpoint) / formula->scale * off;
        *out = value > 0 ? value : 0;
    } else if (formula->kind == FORMULA_EXP_DECAY) {
        *out = exp(log(formula->midpoint) / formula->scale * off);
    } else {
        *out = exp(log(formula->midpoint) / (formula->scale * formula->scale) * off * off);
    }
    return true;
}

static bool evaluate(const struct evaluation *with, const struct formula *formula, double *out)
{
    switch (formula->kind) {
    case FORMULA_NUMBER:
        *out = formula->number;
        return true;
    case FORMULA_SCORE:
        list_score(with, formula, out);
        return true;
    case FORMULA_VALUE:
        return payload_number(with, formula, out);
    case FORMULA_CONDITION:
        *out = with->point->condition(with->point->context, formula->index) ? 1 : 0;
        return true;
    case FORMULA_SUM:
    case FORMULA_MULT:
    case FORMULA_MAX:
    case FORMULA_MIN:
        return fold(with, formula, out);
    case FORMULA_DIV:
        return divide(with, formula, out);
    case FORMULA_POW:
        return power(with, formula, out);
    case FORMULA_NEG:
    case FORMULA_ABS:
    case FORMULA_SQRT:
    case FORMULA_EXP:
    case FORMULA_LOG10:
    case FORMULA_LN:
    case FORMULA_ACOSH:
        return unary(with, formula, out);
    case FORMULA_GEO_DISTANCE:
        return payload_distance(with, formula, out);
    case FORMULA_DATETIME:
        return payload_datetime(with, formula, out);
    case FORMULA_LIN_DECAY:
    case FORMULA_EXP_DECAY:
    case FORMULA_GAUSS_DECAY:
        return decay(with, formula, out);
    }
    assert(false);
    return false;
}

bool formula_score(const struct formula *formula, const struct formula_variable *variables,
                   const struct formula_point *point, struct arena *arena, float *score,
                   const char **why)
{
    const struct evaluation with = {variables, point, arena, why};
    double value;
    if (!evaluate(&with, formula, &value))
        return false;
    *score = (float)value;
    if (isfinite(*score))
        return true;
    return not_finite(&with, arena_format(arena, "%g as a 32-bit float", value));
}
