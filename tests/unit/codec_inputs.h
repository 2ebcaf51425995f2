/* Seeded random numbers and the inputs codec tests run on: plain ones, and ones that a weak
 * rotation or a learnt quantiser would stumble over. */
#ifndef KITH_TESTS_UNIT_CODEC_INPUTS_H
#define KITH_TESTS_UNIT_CODEC_INPUTS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "codec/rotate.h"

struct random {
    uint64_t state;
};

static inline double random_uniform(struct random *random)
{
    return (double)(splitmix64(&random->state) >> 11) * 0x1p-53;
}

static inline double random_normal(struct random *random)
{
    const double u = 1.0 - random_uniform(random);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * random_uniform(random));
}

enum input {
    INPUT_GAUSSIAN,
    INPUT_ONE_HOT_HEAD,
    INPUT_ONE_HOT_MIDDLE,
    INPUT_ONE_HOT_TAIL,
    INPUT_TWO_HOT,
    INPUT_EIGHT_HOT,
    INPUT_CONSTANT,
    INPUT_QUARTER_BLOCK,
    INPUT_RAMP,
    INPUT_ALTERNATING,
    INPUT_CAUCHY,
    INPUT_LOG_NORMAL,
    INPUT_TAIL_SPIKE,
    INPUT_SPARSE,
    INPUT_DECAY,
    INPUT_INTEGERS,
    INPUT_COUNT
};

static inline const char *input_name(enum input input)
{
    static const char *const names[INPUT_COUNT] = {
        "gaussian",   "one-hot head", "one-hot middle", "one-hot tail", "2-hot",  "8-hot",
        "constant",   "quarter",      "ramp",           "alternating",  "cauchy", "log-normal",
        "tail spike", "1 % sparse",   "decay",          "integers"};
    return names[input];
}

static inline double input_value(enum input input, uint32_t d, uint32_t j, struct random *random)
{
    switch (input) {
    case INPUT_ONE_HOT_HEAD:
        return j == 0;
    case INPUT_ONE_HOT_MIDDLE:
        return j == d / 2;
    case INPUT_ONE_HOT_TAIL:
        return j == d - 1;
    case INPUT_TWO_HOT:
        return j == 0 || j == d / 2;
    case INPUT_EIGHT_HOT:
        return j % ((d + 7) / 8) == 0;
    case INPUT_CONSTANT:
        return 1.0;
    case INPUT_QUARTER_BLOCK:
        return j < (d + 3) / 4;
    case INPUT_RAMP:
        return (double)(j + 1) / (double)d;
    case INPUT_ALTERNATING:
        return j % 2 != 0 ? -1.0 : 1.0;
    case INPUT_CAUCHY:
        return tan(3.141592653589793 * (random_uniform(random) - 0.5));
    case INPUT_LOG_NORMAL:
        return exp(random_normal(random));
    case INPUT_TAIL_SPIKE:
        return random_normal(random) + (j == d - 1 ? 10.0 * sqrt((double)d) : 0.0);
    case INPUT_SPARSE:
        return j == 0 || random_uniform(random) < 0.01 ? random_normal(random) : 0.0;
    case INPUT_DECAY:
        return pow(0.98, (double)j) * random_normal(random);
    case INPUT_INTEGERS:
        return floor(random_uniform(random) * 256.0);
    case INPUT_GAUSSIAN:
    case INPUT_COUNT:
        break;
    }
    return random_normal(random);
}

static inline void input_fill(enum input input, float *x, uint32_t d, struct random *random)
{
    for (uint32_t j = 0; j < d; j++) {
        x[j] = (float)input_value(input, d, j, random);
    }
}

#endif
