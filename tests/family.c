/* The schemes of family.h, written to be read: one coordinate at a time, in doubles. */
#include "tests/family.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/rotate.h"
#include "tests/family_levels.h"
#include "tests/unit/codec_inputs.h"

#define LEVELS_MAX 256u
/* Cosines the likelihood is known at: those of angles (i + 0.5) pi / ANGLES. */
#define ANGLES 512u
#define CELLS 6u

struct family {
    uint32_t dim;
    uint64_t seed;
    const struct kernels *kernels;
    struct rotation sketch;               /* the orthonormal one */
    float *gaussian;                      /* [dim * dim], or NULL so far */
    double log_likely[ANGLES][CELLS];     /* of a pair of 2-bit codes, by struct cells */
    double levels[9][LEVELS_MAX];         /* [bits]: Lloyd-Max, ascending */
    double thresholds[9][LEVELS_MAX - 1]; /* midpoints */
    double steps[9];                      /* [bits]: family_grid_step */
    double *z, *left;                     /* [dim] each, scratch of family_encode */
    float *from, *to, *work;              /* likewise */
    uint8_t *indices, *best_indices;
};

static void *must_allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ---- names ---- */

const char *scheme_name(enum scheme scheme)
{
    static const char *const names[SCHEME_COUNT] = {
        [SCHEME_EDEN_SEARCH] = "EDEN unbiased + search",
        [SCHEME_EDEN_UNBIASED] = "EDEN unbiased",
        [SCHEME_DRIVE] = "DRIVE",
        [SCHEME_RABITQ] = "RaBitQ grid",
        [SCHEME_RABITQ_STEP] = "RaBitQ grid, one step",
        [SCHEME_EDEN_BIASED] = "EDEN biased",
        [SCHEME_MATCHED_NORM] = "matched norm",
        [SCHEME_TURBOQUANT_MSE] = "TurboQuant_mse",
        [SCHEME_TURBOQUANT_PROD_ORTHONORMAL] = "TurboQuant_prod orth.",
        [SCHEME_TURBOQUANT_PROD_GAUSSIAN] = "TurboQuant_prod Gauss",
        [SCHEME_RANDOM_PROJECTION] = "random projections, ML",
    };
    return names[scheme];
}

bool scheme_takes(enum scheme scheme, unsigned bits)
{
    if (bits < 1 || bits > FAMILY_BITS_MAX) {
        return false;
    }
    return scheme == SCHEME_DRIVE               ? bits == 1
           : scheme == SCHEME_RANDOM_PROJECTION ? bits <= 2
                                                : true;
}

static bool is_prod(enum scheme scheme)
{
    return scheme == SCHEME_TURBOQUANT_PROD_ORTHONORMAL ||
           scheme == SCHEME_TURBOQUANT_PROD_GAUSSIAN;
}

static bool is_grid(enum scheme scheme)
{
    return scheme == SCHEME_RABITQ || scheme == SCHEME_RABITQ_STEP;
}

/* ---- the normal distribution ---- */

static double density(double x)
{
    return exp(-0.5 * x * x) * 0.3989422804014327;
}

static double below(double x)
{
    return 0.5 * erfc(-x * 0.7071067811865476);
}

double family_level_error(unsigned bits)
{
    /* Levels are conditional means, so E (z - c)^2 = 1 - E c^2. */
    const unsigned half = 1u << (bits - 1);
    const double *levels = family_levels[bits - 1];
    double square = 0.0, from = 0.0;
    for (unsigned i = 0; i < half; i++) {
        const double to = i + 1 < half ? (levels[i] + levels[i + 1]) / 2 : HUGE_VAL;
        square += 2.0 * levels[i] * levels[i] * (below(to) - below(from));
        from = to;
    }
    return 1.0 - square;
}

/* The squared cosine between z and its code on the grid of `step`. */
static double grid_fit(unsigned bits, double step)
{
    const unsigned half = 1u << (bits - 1);
    double product = 0.0, square = 0.0;
    for (unsigned i = 0; i < half; i++) {
        const double level = ((double)i + 0.5) * step, from = (double)i * step;
        const double to = i + 1 < half ? from + step : HUGE_VAL;
        product += 2.0 * level * (density(from) - density(to));
        square += 2.0 * level * level * (below(to) - below(from));
    }
    return product * product / square;
}

double family_grid_step(unsigned bits)
{
    double low = 1.0 / (double)(1u << bits), high = 4.0;
    for (int i = 0; i < 60; i++) { /* one maximum: thirds close in on it */
        const double a = low + (high - low) / 3, b = high - (high - low) / 3;
        if (grid_fit(bits, a) < grid_fit(bits, b)) {
            low = a;
        } else {
            high = b;
        }
    }
    return (low + high) / 2;
}

/* ---- likelihood of 2-bit code pairs ---- */

/* How many coordinates of two codes fall together: same sign or not, both magnitudes beyond the
 * threshold, both within, or one each. */
enum cell { SAME_OUTER, SAME_INNER, SAME_MIXED, OTHER_OUTER, OTHER_INNER, OTHER_MIXED };

/* P(x in (from, to), y in (low, high)) of two normals with correlation cosine. */
static double cell_chance(double from, double to, double low, double high, double cosine)
{
    enum { STEPS = 400 };
    const double others = sqrt(1.0 - cosine * cosine), h = (to - from) / STEPS;
    double sum = 0.0;
    for (int i = 0; i <= STEPS; i++) { /* Simpson */
        const double x = from + h * i;
        const double chance =
            below((high - cosine * x) / others) - below((low - cosine * x) / others);
        sum += density(x) * chance * (i == 0 || i == STEPS ? 1 : i % 2 != 0 ? 4 : 2);
    }
    return sum * h / 3;
}

static void fill_likelihood(struct family *family)
{
    const double split = (family_levels[1][0] + family_levels[1][1]) / 2, far = 9.0;
    for (unsigned i = 0; i < ANGLES; i++) {
        const double cosine = cos(((double)i + 0.5) * 3.141592653589793 / ANGLES);
        double *cells = family->log_likely[i];
        cells[SAME_OUTER] = 2 * cell_chance(split, far, split, far, cosine);
        cells[SAME_INNER] = 2 * cell_chance(0, split, 0, split, cosine);
        cells[SAME_MIXED] = 4 * cell_chance(0, split, split, far, cosine);
        cells[OTHER_OUTER] = 2 * cell_chance(split, far, -far, -split, cosine);
        cells[OTHER_INNER] = 2 * cell_chance(0, split, -split, 0, cosine);
        cells[OTHER_MIXED] = 4 * cell_chance(0, split, -far, -split, cosine);
        for (unsigned cell = 0; cell < CELLS; cell++) {
            cells[cell] = log(fmax(cells[cell], 1e-300));
        }
    }
}

/* ---- life ---- */

struct family *family_new(uint32_t dim, uint64_t seed)
{
    struct family *family = must_allocate(sizeof *family);
    *family = (struct family){.dim = dim, .seed = seed, .kernels = kernels_best()};
    rotation_init(&family->sketch, dim, seed, family->kernels);
    for (unsigned bits = 1; bits <= FAMILY_BITS_MAX; bits++) {
        const unsigned half = 1u << (bits - 1);
        family->steps[bits] = family_grid_step(bits);
        for (unsigned i = 0; i < half; i++) {
            family->levels[bits][half + i] = family_levels[bits - 1][i];
            family->levels[bits][half - 1 - i] = -family_levels[bits - 1][i];
        }
        for (unsigned i = 0; i + 1 < 2 * half; i++) {
            family->thresholds[bits][i] =
                (family->levels[bits][i] + family->levels[bits][i + 1]) / 2;
        }
    }
    fill_likelihood(family);
    family->z = must_allocate(dim * sizeof(double));
    family->left = must_allocate(dim * sizeof(double));
    family->from = must_allocate(dim * sizeof(float));
    family->to = must_allocate(dim * sizeof(float));
    family->work = must_allocate(dim * sizeof(float));
    family->indices = must_allocate(dim);
    family->best_indices = must_allocate(dim);
    return family;
}

void family_free(struct family *family)
{
    if (family == NULL) {
        return;
    }
    rotation_release(&family->sketch);
    free(family->gaussian);
    free(family->z);
    free(family->left);
    free(family->from);
    free(family->to);
    free(family->work);
    free(family->indices);
    free(family->best_indices);
    free(family);
}

/* ---- planes ---- */

static size_t plane_bytes(const struct family *family)
{
    return ((size_t)family->dim + 7) / 8;
}

size_t family_code_bytes(const struct family *family, unsigned bits)
{
    return bits * plane_bytes(family);
}

static void pack(const struct family *family, unsigned bits, const uint8_t *indices, uint8_t *code)
{
    memset(code, 0, family_code_bytes(family, bits));
    for (unsigned plane = 0; plane < bits; plane++, code += plane_bytes(family)) {
        for (uint32_t j = 0; j < family->dim; j++) {
            const unsigned bit = (unsigned)indices[j] >> (bits - 1 - plane) & 1u;
            code[j / 8] = (uint8_t)(code[j / 8] | bit << (j % 8));
        }
    }
}

static unsigned index_at(const struct family *family, unsigned bits, const uint8_t *code,
                         uint32_t j)
{
    unsigned index = 0;
    for (unsigned plane = 0; plane < bits; plane++, code += plane_bytes(family)) {
        index = index << 1 | ((unsigned)code[j / 8] >> (j % 8) & 1u);
    }
    return index;
}

static double sign_at(const uint8_t *plane, uint32_t i)
{
    return ((unsigned)plane[i / 8] >> (i % 8) & 1u) != 0 ? 1.0 : -1.0;
}

/* ---- levels ---- */

static unsigned nearest(const struct family *family, unsigned bits, double z)
{
    const double *thresholds = family->thresholds[bits];
    unsigned index = 0;
    for (unsigned step = 1u << (bits - 1); step > 0; step /= 2) { /* count thresholds <= z */
        index += z >= thresholds[index + step - 1] ? step : 0;
    }
    return index;
}

/* The level of an index, in the units the scale of its scheme is for. */
static double level_of(const struct family *family, enum scheme scheme, unsigned bits,
                       unsigned index)
{
    return is_grid(scheme) ? (double)index + 0.5 - (double)(1u << bits) / 2
                           : family->levels[bits][index];
}

static void take_levels(struct family *family, unsigned bits, double scale)
{
    for (uint32_t j = 0; j < family->dim; j++) {
        family->indices[j] = (uint8_t)nearest(family, bits, family->z[j] * scale);
    }
}

static void take_grid(struct family *family, unsigned bits, double step)
{
    const double half = (double)(1u << (bits - 1));
    for (uint32_t j = 0; j < family->dim; j++) {
        const double k = fmin(floor(fabs(family->z[j]) / step), half - 1);
        family->indices[j] = (uint8_t)(family->z[j] < 0 ? half - 1 - k : half + k);
    }
}

/* <z,c> and |c|^2. */
struct fit {
    double product, square;
};

static struct fit fit_of(const struct family *family, enum scheme scheme, unsigned bits,
                         const uint8_t *indices)
{
    struct fit fit = {0, 0};
    for (uint32_t j = 0; j < family->dim; j++) {
        const double level = level_of(family, scheme, bits, indices[j]);
        fit.product += family->z[j] * level;
        fit.square += level * level;
    }
    return fit;
}

/* Round z f for five f, keep the code with the largest cosine: codec.md 1.3, codebook.c. */
static void search_levels(struct family *family, unsigned bits)
{
    static const double scales[] = {.92, .965, 1.01, 1.055, 1.10};
    double best = -1.0;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        take_levels(family, bits, scales[i]);
        const struct fit fit = fit_of(family, SCHEME_EDEN_SEARCH, bits, family->indices);
        if (fit.product * fit.product / fit.square > best) {
            best = fit.product * fit.product / fit.square;
            memcpy(family->best_indices, family->indices, family->dim);
        }
    }
    memcpy(family->indices, family->best_indices, family->dim);
}

struct breakpoint {
    double at; /* 1/step from which |z| of `dim` rounds one further out */
    uint32_t dim;
};

static int compare_breakpoints(const void *a, const void *b)
{
    const double x = ((const struct breakpoint *)a)->at, y = ((const struct breakpoint *)b)->at;
    return x < y ? -1 : x > y;
}

/* The step with the largest cosine of all between half and twice the one for everybody: the code
 * changes at |z| / step = 1, 2, ..., so walk those in order and keep the sums. */
static void search_grid(struct family *family, unsigned bits)
{
    const uint32_t half = 1u << (bits - 1);
    const double step = family->steps[bits], first = 0.5 / step, last = 2.0 / step;
    struct breakpoint *points = must_allocate((size_t)family->dim * half * sizeof *points + 64);
    size_t count = 0;
    double product = 0.0, square = 0.0;
    for (uint32_t j = 0; j < family->dim; j++) {
        const double z = fabs(family->z[j]);
        uint32_t k = (uint32_t)fmin(floor(z * first), (double)(half - 1));
        product += z * (k + 0.5);
        square += (k + 0.5) * (k + 0.5);
        while (++k < half && z * last >= k) {
            points[count++] = (struct breakpoint){k / z, j};
        }
    }
    qsort(points, count, sizeof *points, compare_breakpoints);
    double best = product * product / square, best_at = first;
    for (size_t i = 0; i < count; i++) {
        const double z = fabs(family->z[points[i].dim]), k = round(points[i].at * z);
        product += z;
        square += 2.0 * k; /* (k + 1/2)^2 - (k - 1/2)^2 */
        if (product * product / square > best) {
            best = product * product / square;
            best_at = points[i].at;
        }
    }
    free(points);
    take_grid(family, bits, 1.0 / (best_at * (1.0 + 1e-12)));
}

/* ---- scales ---- */

/* S of the levels' own units. */
static double scale_of(enum scheme scheme, double norm, double to_normal, struct fit fit)
{
    const double product = fit.product / to_normal; /* <Rr, c> */
    switch (scheme) {
    case SCHEME_EDEN_BIASED:
        return product / fit.square;
    case SCHEME_MATCHED_NORM:
        return norm / sqrt(fit.square);
    case SCHEME_TURBOQUANT_MSE:
    case SCHEME_TURBOQUANT_PROD_ORTHONORMAL:
    case SCHEME_TURBOQUANT_PROD_GAUSSIAN:
        return 1.0 / to_normal;
    case SCHEME_EDEN_SEARCH:
    case SCHEME_EDEN_UNBIASED:
    case SCHEME_DRIVE:
    case SCHEME_RABITQ:
    case SCHEME_RABITQ_STEP:
    case SCHEME_RANDOM_PROJECTION:
    case SCHEME_COUNT:
        break;
    }
    return norm * norm / product;
}

/* ---- the sketch of TurboQuant_prod ---- */

static const float *gaussian_row(struct family *family, uint32_t i)
{
    if (family->gaussian == NULL) {
        struct random random = {family->seed};
        const size_t count = (size_t)family->dim * family->dim;
        family->gaussian = must_allocate(count * sizeof(float));
        for (size_t k = 0; k < count; k++) {
            family->gaussian[k] = (float)random_normal(&random);
        }
    }
    return family->gaussian + (size_t)i * family->dim;
}

/* sign(G left) into a plane; the scalar is |left|. */
static double sketch(struct family *family, enum scheme scheme, const double *left, uint8_t *plane)
{
    double square = 0.0;
    for (uint32_t j = 0; j < family->dim; j++) {
        family->from[j] = (float)left[j];
        square += left[j] * left[j];
    }
    if (scheme == SCHEME_TURBOQUANT_PROD_ORTHONORMAL) {
        rotation_apply(&family->sketch, family->from, family->to, family->work);
    }
    for (uint32_t i = 0; scheme == SCHEME_TURBOQUANT_PROD_GAUSSIAN && i < family->dim; i++) {
        const float *row = gaussian_row(family, i);
        family->to[i] =
            (float)family->kernels->dot(family->from, (const uint8_t *)row, family->dim);
    }
    family->kernels->sign_bits(family->to, family->dim, plane);
    return sqrt(square);
}

/* out += constant |left| G' sign(G left) */
static void unsketch(const struct family *family, enum scheme scheme, const uint8_t *plane,
                     double norm, float *out)
{
    const uint32_t dim = family->dim;
    if (norm <= 0.0) {
        return;
    }
    float *minus = must_allocate(dim * sizeof(float)), *plus = must_allocate(dim * sizeof(float));
    float *work = must_allocate(dim * sizeof(float));
    double factor = sqrt(1.5707963267948966 / (double)dim) * norm;
    memset(minus, 0, dim * sizeof(float));
    memset(plus, 0, dim * sizeof(float));
    if (scheme == SCHEME_TURBOQUANT_PROD_ORTHONORMAL) {
        for (uint32_t i = 0; i < dim; i++) {
            work[i] = (float)sign_at(plane, i);
        }
        rotation_invert(&family->sketch, work, plus, minus);
        memset(minus, 0, dim * sizeof(float));
    } else { /* the sums of rows with either sign, each negated: the kernels can subtract */
        factor /= sqrt((double)dim);
        for (uint32_t i = 0; i < dim; i++) {
            float *sum = sign_at(plane, i) > 0 ? minus : plus;
            family->kernels->subtract(sum, sum, family->gaussian + (size_t)i * dim, dim);
        }
    }
    for (uint32_t j = 0; j < dim; j++) {
        out[j] += (float)(factor * ((double)plus[j] - (double)minus[j]));
    }
    free(minus);
    free(plus);
    free(work);
}

/* ---- encode, decode ---- */

static void choose_indices(struct family *family, enum scheme scheme, unsigned bits)
{
    if (scheme == SCHEME_EDEN_SEARCH) {
        search_levels(family, bits);
    } else if (scheme == SCHEME_RABITQ) {
        search_grid(family, bits);
    } else if (scheme == SCHEME_RABITQ_STEP) {
        take_grid(family, bits, family->steps[bits]);
    } else {
        take_levels(family, bits, 1.0);
    }
}

void family_encode(struct family *family, enum scheme scheme, unsigned bits, const float *rotated,
                   uint8_t *code, struct family_scalars *scalars)
{
    assert(scheme_takes(scheme, bits));
    const unsigned level_bits = is_prod(scheme) ? bits - 1 : bits;
    double square = 0.0;
    for (uint32_t j = 0; j < family->dim; j++) {
        square += (double)rotated[j] * (double)rotated[j];
    }
    *scalars = (struct family_scalars){0, 0};
    memset(code, 0, family_code_bytes(family, bits));
    if (square <= 0.0) {
        return;
    }
    const double norm = sqrt(square), to_normal = sqrt((double)family->dim) / norm;
    for (uint32_t j = 0; j < family->dim; j++) {
        family->z[j] = (double)rotated[j] * to_normal;
        family->left[j] = (double)rotated[j];
    }
    scalars->left = norm;
    if (level_bits > 0) {
        choose_indices(family, scheme, level_bits);
        pack(family, level_bits, family->indices, code);
        scalars->scale =
            scale_of(scheme, norm, to_normal, fit_of(family, scheme, level_bits, family->indices));
    }
    if (is_prod(scheme)) {
        for (uint32_t j = 0; level_bits > 0 && j < family->dim; j++) {
            const double level = level_of(family, scheme, level_bits, family->indices[j]);
            family->left[j] -= scalars->scale * level;
        }
        scalars->left =
            sketch(family, scheme, family->left, code + level_bits * plane_bytes(family));
    }
}

void family_decode(const struct family *family, enum scheme scheme, unsigned bits,
                   const uint8_t *code, struct family_scalars scalars, float *out)
{
    assert(scheme != SCHEME_RANDOM_PROJECTION);
    const unsigned level_bits = is_prod(scheme) ? bits - 1 : bits;
    for (uint32_t j = 0; j < family->dim; j++) {
        const unsigned index = index_at(family, level_bits, code, j);
        out[j] = level_bits == 0
                     ? 0.0f
                     : (float)(scalars.scale * level_of(family, scheme, level_bits, index));
    }
    if (is_prod(scheme)) {
        unsketch(family, scheme, code + level_bits * plane_bytes(family), scalars.left, out);
    }
}

/* ---- the likeliest cosine ---- */

static double likelihood(const struct family *family, const unsigned *counts, unsigned angle)
{
    double sum = 0.0;
    for (unsigned cell = 0; cell < CELLS; cell++) {
        sum += counts[cell] * family->log_likely[angle][cell];
    }
    return sum;
}

/* One maximum: thirds close in on it, a parabola tells where between three angles it lies. */
static double likeliest(const struct family *family, const unsigned *counts)
{
    unsigned low = 0, high = ANGLES - 1;
    while (high - low > 3) {
        const unsigned a = low + (high - low) / 3, b = high - (high - low) / 3;
        if (likelihood(family, counts, a) < likelihood(family, counts, b)) {
            low = a;
        } else {
            high = b;
        }
    }
    unsigned best = low;
    for (unsigned i = low; i <= high; i++) {
        best = likelihood(family, counts, i) > likelihood(family, counts, best) ? i : best;
    }
    double angle = (double)best + 0.5;
    if (best > 0 && best < ANGLES - 1) {
        const double left = likelihood(family, counts, best - 1);
        const double right = likelihood(family, counts, best + 1);
        const double bend = left - 2.0 * likelihood(family, counts, best) + right;
        angle += bend < 0.0 ? 0.5 * (left - right) / bend : 0.0;
    }
    return cos(angle * 3.141592653589793 / ANGLES);
}

static unsigned count_bits(unsigned byte)
{
    return (unsigned)__builtin_popcount(byte & 255u);
}

double family_cosine(const struct family *family, unsigned bits, const uint8_t *a, const uint8_t *b)
{
    assert(bits == 1 || bits == 2);
    const size_t bytes = plane_bytes(family);
    unsigned counts[CELLS] = {0}, differ = 0;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned used =
            i + 1 < bytes || family->dim % 8 == 0 ? 255u : (1u << family->dim % 8) - 1u;
        const unsigned other = (unsigned)(a[i] ^ b[i]) & used, same = ~other & used;
        differ += count_bits(other);
        if (bits == 2) { /* the second bit is that of the sign in the outer cells */
            const unsigned outer_a = ~(unsigned)(a[i] ^ a[bytes + i]);
            const unsigned outer_b = ~(unsigned)(b[i] ^ b[bytes + i]);
            counts[SAME_OUTER] += count_bits(same & outer_a & outer_b);
            counts[SAME_INNER] += count_bits(same & ~outer_a & ~outer_b);
            counts[SAME_MIXED] += count_bits(same & (outer_a ^ outer_b));
            counts[OTHER_OUTER] += count_bits(other & outer_a & outer_b);
            counts[OTHER_INNER] += count_bits(other & ~outer_a & ~outer_b);
            counts[OTHER_MIXED] += count_bits(other & (outer_a ^ outer_b));
        }
    }
    if (bits == 1) {
        return cos(3.141592653589793 * (double)differ / (double)family->dim);
    }
    return likeliest(family, counts);
}
