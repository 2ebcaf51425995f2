/* Formulas: a score computed from scores, payload values and conditions.
 *
 * The tree is built by whoever reads it (server/query_formula.c) in an arena and never changes;
 * evaluation keeps no state but its stack, whose depth the reader bounds. All arithmetic is double,
 * the result is rounded to float. What is undefined (a division by 0, the root of a negative
 * number, a missing value without default) ends with a text, never with a NaN. */
#ifndef KITH_INDEX_FORMULA_H
#define KITH_INDEX_FORMULA_H

#include "index/value.h"

#define FORMULA_EARTH_RADIUS_M 6371008.8

enum formula_kind {
    FORMULA_NUMBER,
    FORMULA_SCORE,     /* of list `index`, or `number` for a point that is not in it */
    FORMULA_VALUE,     /* a number in the payload: variable `index` */
    FORMULA_CONDITION, /* 1 or 0: condition `index` */
    FORMULA_SUM,
    FORMULA_MULT, /* ends at the first 0 */
    FORMULA_MAX,
    FORMULA_MIN,
    FORMULA_NEG,
    FORMULA_ABS,
    FORMULA_DIV, /* operands left, right; `number` when right is 0, if has_number */
    FORMULA_SQRT,
    FORMULA_POW, /* operands base, exponent */
    FORMULA_EXP,
    FORMULA_LOG10,
    FORMULA_LN,
    FORMULA_ACOSH,
    FORMULA_GEO_DISTANCE, /* metres from (lon, lat) to variable `index` */
    FORMULA_DATETIME,     /* seconds of the date-time at variable `index` */
    FORMULA_LIN_DECAY,    /* operands x and, if operand_count is 2, target */
    FORMULA_EXP_DECAY,
    FORMULA_GAUSS_DECAY,
};

struct formula {
    enum formula_kind kind;
    bool has_number;
    uint32_t index;
    double number;          /* constant; default of a score or a division */
    double scale, midpoint; /* of decays */
    double lon, lat;        /* of a distance, degrees */
    struct formula **operands;
    size_t operand_count;
};

struct formula_variable {
    struct span path;     /* as written, for texts */
    struct span fallback; /* value where the payload has none; empty: an error then */
};

/* What evaluating reads of one point. */
struct formula_point {
    void *context;
    /* false: the point is not in that list */
    bool (*score)(void *context, uint32_t list, double *score);
    /* How many values the payload has at the variable's path; the first of them. */
    size_t (*values)(void *context, uint32_t variable, struct span *first);
    bool (*condition)(void *context, uint32_t condition);
    /* Text of a date-time to seconds. */
    bool (*datetime)(struct span text, double *seconds);
};

/* The score. false: *why says what is undefined, in the arena. */
bool formula_score(const struct formula *formula, const struct formula_variable *variables,
                   const struct formula_point *point, struct arena *arena, float *score,
                   const char **why);

/* Metres between two places in degrees, along a sphere (haversine). */
double geo_distance_m(double lon1, double lat1, double lon2, double lat2);

#endif
