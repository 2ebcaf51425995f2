/* Formulas: every operator against the same thing in double, and every way to be undefined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "index/formula.h"

static struct arena arena;

/* The point: in list 0 with score 0.5, not in list 1; variables as below; condition 1 holds. */
enum { NUMBER, MISSING, MANY, TEXT, PLACE, DAY, DEFAULTED, DEFAULTED_LIST, VARIABLES };
static struct span values[VARIABLES];
static struct formula_variable variables[VARIABLES];

static bool point_score(void *context, uint32_t list, double *score)
{
    (void)context;
    *score = 0.5;
    return list == 0;
}

static size_t point_values(void *context, uint32_t variable, struct span *first)
{
    (void)context;
    *first = values[variable];
    return variable == MANY ? 2 : values[variable].bytes > 0;
}

static bool point_condition(void *context, uint32_t condition)
{
    (void)context;
    return condition == 1;
}

static bool point_datetime(struct span text, double *seconds)
{
    *seconds = 86400;
    return span_equal(text, span_text("1970-01-02"));
}

static const struct formula_point the_point = {NULL, point_score, point_values, point_condition,
                                               point_datetime};

static struct span number_value(double number)
{
    struct value_builder builder;
    value_begin(&builder, &arena);
    value_put_double(&builder, number, (struct span){0});
    return value_end(&builder);
}

static struct span text_value_of(const char *text)
{
    struct value_builder builder;
    value_begin(&builder, &arena);
    value_put_string(&builder, span_text(text));
    return value_end(&builder);
}

static struct span list_value(double number)
{
    struct value_builder builder;
    value_begin(&builder, &arena);
    assert_int_equal(value_open_array(&builder), OK);
    value_put_double(&builder, number, (struct span){0});
    value_close(&builder);
    return value_end(&builder);
}

static struct span place_value(double lon, double lat)
{
    struct value_builder builder;
    value_begin(&builder, &arena);
    assert_int_equal(value_open_object(&builder), OK);
    assert_int_equal(value_put_key(&builder, span_text("lon")), OK);
    value_put_double(&builder, lon, (struct span){0});
    assert_int_equal(value_put_key(&builder, span_text("lat")), OK);
    value_put_double(&builder, lat, (struct span){0});
    value_close(&builder);
    return value_end(&builder);
}

static int setup(void **state)
{
    (void)state;
    static const char *const paths[VARIABLES] = {"n", "m", "many", "t", "place", "day", "d", "dl"};
    arena_init(&arena);
    for (size_t i = 0; i < VARIABLES; i++)
        variables[i].path = span_text(paths[i]);
    values[NUMBER] = values[MANY] = number_value(3);
    values[TEXT] = text_value_of("word");
    values[PLACE] = place_value(13.4050, 52.5200);
    values[DAY] = text_value_of("1970-01-02");
    variables[DEFAULTED].fallback = number_value(11);
    variables[DEFAULTED_LIST].fallback = list_value(12);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ---- building ---- */

static struct formula *node(enum formula_kind kind, size_t count, struct formula *a,
                            struct formula *b)
{
    struct formula *made = arena_allocate(&arena, sizeof *made);
    *made = (struct formula){.kind = kind, .operand_count = count, .scale = 1, .midpoint = 0.5};
    made->operands = arena_allocate(&arena, 2 * sizeof a);
    made->operands[0] = a;
    made->operands[1] = b;
    return made;
}

static struct formula *number(double value)
{
    struct formula *made = node(FORMULA_NUMBER, 0, NULL, NULL);
    made->number = value;
    return made;
}

static struct formula *leaf(enum formula_kind kind, uint32_t index)
{
    struct formula *made = node(kind, 0, NULL, NULL);
    made->index = index;
    return made;
}

static struct formula *one(enum formula_kind kind, double a)
{
    return node(kind, 1, number(a), NULL);
}

static struct formula *two(enum formula_kind kind, double a, double b)
{
    return node(kind, 2, number(a), number(b));
}

static void expect(const struct formula *formula, double wanted)
{
    float score;
    const char *why = NULL;
    if (!formula_score(formula, variables, &the_point, &arena, &score, &why))
        fail_msg("%s", why);
    assert_float_equal(score, (float)wanted, 1e-6f * (float)fmax(1, fabs(wanted)));
}

static void expect_why(const struct formula *formula, const char *text)
{
    float score;
    const char *why = NULL;
    assert_false(formula_score(formula, variables, &the_point, &arena, &score, &why));
    assert_string_equal(why, text);
}

/* ---- tests ---- */

static void test_leaves(void **state)
{
    (void)state;
    expect(number(2.5), 2.5);
    expect(leaf(FORMULA_SCORE, 0), 0.5);
    expect(leaf(FORMULA_SCORE, 1), 0);
    struct formula *absent = leaf(FORMULA_SCORE, 1);
    absent->number = 8; /* its default */
    expect(absent, 8);
    expect(leaf(FORMULA_VALUE, NUMBER), 3);
    expect(leaf(FORMULA_VALUE, DEFAULTED), 11);
    expect(leaf(FORMULA_VALUE, DEFAULTED_LIST), 12);
    expect(leaf(FORMULA_CONDITION, 1), 1);
    expect(leaf(FORMULA_CONDITION, 0), 0);
    expect(leaf(FORMULA_DATETIME, DAY), 86400);
    struct formula *distance = leaf(FORMULA_GEO_DISTANCE, PLACE);
    distance->lon = 37.6173;
    distance->lat = 55.7558;
    float metres;
    const char *why;
    assert_true(formula_score(distance, variables, &the_point, &arena, &metres, &why));
    assert_true(metres > 1600e3f && metres < 1650e3f);
}

static void test_operators(void **state)
{
    (void)state;
    expect(two(FORMULA_SUM, 1, 2), 3);
    expect(node(FORMULA_SUM, 0, NULL, NULL), 0);
    expect(two(FORMULA_MULT, 3, -2), -6);
    /* the second operand is not looked at behind a 0 */
    expect(node(FORMULA_MULT, 2, number(0), leaf(FORMULA_VALUE, MISSING)), 0);
    expect(two(FORMULA_MAX, 3, -2), 3);
    expect(two(FORMULA_MIN, 3, -2), -2);
    expect(one(FORMULA_NEG, 3), -3);
    expect(one(FORMULA_ABS, -3), 3);
    expect(two(FORMULA_DIV, 3, 2), 1.5);
    expect(node(FORMULA_DIV, 2, number(0), leaf(FORMULA_VALUE, MISSING)), 0);
    expect(one(FORMULA_SQRT, 2), sqrt(2));
    expect(two(FORMULA_POW, 2, 10), 1024);
    expect(one(FORMULA_EXP, 1), exp(1));
    expect(one(FORMULA_LOG10, 1000), 3);
    expect(one(FORMULA_LN, 2), log(2));
    expect(one(FORMULA_ACOSH, 2), acosh(2));
    struct formula *guarded = two(FORMULA_DIV, 1, 0);
    guarded->has_number = true;
    guarded->number = -1;
    expect(guarded, -1);
}

static void test_decays(void **state)
{
    (void)state;
    struct formula *decays[] = {two(FORMULA_LIN_DECAY, 7, 2), two(FORMULA_EXP_DECAY, 7, 2),
                                two(FORMULA_GAUSS_DECAY, 7, 2)};
    for (size_t i = 0; i < 3; i++) {
        decays[i]->scale = 5;
        decays[i]->midpoint = 0.25;
        expect(decays[i], 0.25); /* at distance `scale` the value is the midpoint */
        decays[i]->operands[0] = number(2);
        expect(decays[i], 1);
    }
    decays[0]->operands[0] = number(100);
    expect(decays[0], 0);
    decays[1]->operands[0] = number(-8);
    expect(decays[1], 0.25 * 0.25);
    decays[2]->operands[0] = number(-8);
    expect(decays[2], pow(0.25, 4));
    expect(one(FORMULA_EXP_DECAY, 1), 0.5); /* no target: 0 */
}

static void test_undefined(void **state)
{
    (void)state;
    expect_why(leaf(FORMULA_VALUE, MISSING),
               "No value found for m in the payload nor the formula defaults");
    expect_why(leaf(FORMULA_VALUE, MANY), "Expected number for many in the payload and/or in the "
                                          "formula defaults. Error: Value is not a number");
    expect_why(leaf(FORMULA_VALUE, TEXT), "Expected number for t in the payload and/or in the "
                                          "formula defaults. Error: Value is not a number");
    expect_why(leaf(FORMULA_GEO_DISTANCE, TEXT),
               "Expected geo point for t in the payload and/or in the formula defaults. Error: "
               "Value is not a geo point");
    expect_why(leaf(FORMULA_DATETIME, TEXT), "Expected datetime for t in the payload and/or in the "
                                             "formula defaults. Error: Value is not a datetime");
    expect_why(two(FORMULA_DIV, 1, 0), "The expression 1/0 produced a non-finite number");
    expect_why(one(FORMULA_SQRT, -1), "The expression √-1 produced a non-finite number");
    expect_why(two(FORMULA_POW, -1, 0.5), "The expression -1^0.5 produced a non-finite number");
    expect_why(one(FORMULA_EXP, 1000), "The expression exp(1000) produced a non-finite number");
    expect_why(one(FORMULA_LOG10, 0), "The expression log10(0) produced a non-finite number");
    expect_why(one(FORMULA_LN, -2), "The expression ln(-2) produced a non-finite number");
    expect_why(one(FORMULA_ACOSH, 0.5), "The expression acosh(0.5) produced a non-finite number");
    expect_why(number(1e300),
               "The expression 1e+300 as a 32-bit float produced a non-finite number");
    /* found however deep */
    expect_why(node(FORMULA_SUM, 2, number(1), node(FORMULA_NEG, 1, one(FORMULA_LN, 0), NULL)),
               "The expression ln(0) produced a non-finite number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_decays),
        cmocka_unit_test(test_undefined),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
