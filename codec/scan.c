/* Estimates and their bounds: blocks of first-stage codes, then single row codes. */
#include "codec/codec.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "codec/codec_internal.h"

/* |r| as told from a code and its error byte is off by some 0.6 % at 1 and 2 bits and 0.02 % at 4,
 * and its share in g^2 - (t/|r|)^2 by twice that; the slack keeps that difference from being too
 * small. */
#define NORM_SLACK_1 0.012f
#define NORM_SLACK_4 0.001f
/* Float sums of f_add and f_mul * ip, whose parts may be larger than their sum. */
#define FLOAT_SLACK 2.4e-7
#define ROWS_AT_ONCE 8u /* row codes summed together */
#define ROWS_AHEAD 8u   /* and fetched so many before */

static float load_float(const uint8_t *bytes, size_t j)
{
    float value;
    memcpy(&value, bytes + j * sizeof value, sizeof value);
    return value;
}

/* ---- first stage ---- */

/* Rounding that floats leave in estimates, as an error of ip over the norm of the code. */
static double float_error(const struct codec_query *query, struct centre_terms terms)
{
    return FLOAT_SLACK * (2.0 * query->norm + (double)terms.reach);
}

/* Of the integers that a stage of so many bits, 4 or 8, has the query in: their step, and the
 * variance of ip per |L|^2, for rounding to them and floats. */
static float integer_step(const struct codec_query *query, unsigned bits)
{
    return bits == CODE_8 ? query->wide_step : query->narrow_step;
}

static float integer_noise(const struct codec_query *query, unsigned bits,
                           struct centre_terms terms)
{
    const double floats = float_error(query, terms);
    return (bits == CODE_8 ? query->wide_variance : query->narrow_variance) +
           (float)(floats * floats);
}

/* What a code and its scale tell of the residual r. */
struct residual {
    float error;       /* 1 - rho^2 */
    float code_square; /* |L|^2 */
    float square;      /* |r|^2 */
    float stretch;     /* EDEN's scale over the code's */
};

/* TurboQuant_mse's scale is |r| unit / sqrt(d), EDEN's is |r| / (rho |L|). */
static struct residual residual_of(const struct codec *codec, const struct codec_query *query,
                                   unsigned bits, float f_mul, float error, float code_square)
{
    const float scale = query->metric == METRIC_EUCLID ? 0.5f * f_mul : f_mul;
    const float rho_square = code_square * (1.0f - error);
    if (codec->scale == SCALE_TURBOQUANT_MSE) {
        const float dims = (float)(bits == CODE_1_5 ? codec->code_dim : codec->dim);
        const float per_unit = dims / (float)(codebook_unit(bits) * codebook_unit(bits));
        return (struct residual){error, code_square, scale * scale * per_unit,
                                 sqrtf(per_unit / fmaxf(rho_square, FLT_MIN))};
    }
    return (struct residual){error, code_square, scale * scale * rho_square, 1.0f};
}

/* The square of the part of q - m that lies across r, where all of the error is: g^2 - (t/|r|)^2,
 * t = <q - m, r> told from the estimate. <r, m> takes part in t: known from |x| = 1 under Cosine,
 * not known under Dot, where g^2 stands.
 * *bias: by how much the estimate may be off besides, because of its scale. */
static float across_square(const struct codec_query *query, struct centre_terms terms,
                           struct residual residual, float estimate, float slack, float *bias)
{
    const float reach = terms.reach * terms.reach;
    const float per_product = query->metric == METRIC_EUCLID ? 2.0f : 1.0f;
    float along;
    if (query->metric == METRIC_EUCLID) {
        along = 0.5f * (estimate + reach + residual.square);
    } else if (terms.square <= 0.0f) {
        along = estimate - terms.add;
    } else if (query->metric == METRIC_COSINE) {
        along = estimate - terms.add - 0.5f * (1.0f - terms.square - residual.square);
    } else {
        *bias = fabsf(1.0f - 1.0f / residual.stretch) * terms.reach * sqrtf(residual.square);
        return reach;
    }
    *bias = 0.0f;
    if (residual.stretch != 1.0f) { /* not 0 times what may be no number */
        *bias = per_product * fabsf((residual.stretch - 1.0f) * along);
        along *= residual.stretch;
    }
    const float across = reach - along * along / residual.square;
    return fminf(reach, fmaxf(across, 0.0f) + slack * reach);
}

/* Half width of one code: |r| |across| sqrt((1/rho^2 - 1)/(d - 1)), and the noise. */
static float half_width_of(uint32_t dim, struct residual residual, float f_mul, float across,
                           float noise)
{
    const float others = dim > 1 ? (float)(dim - 1) : 1.0f;
    return residual.stretch * f_mul *
           sqrtf(residual.code_square * residual.error / others * across + noise);
}

/* Dims of the space a first-stage code lies in, and |L|^2 of the mean one. */
static double mean_square(const struct codec *codec)
{
    const double d = (double)codec->code_dim;
    return codec->first_bits == CODE_2
               ? d * (1.0 - CODEBOOK_ERROR_2) / (CODEBOOK_UNIT_2 * CODEBOOK_UNIT_2)
               : d;
}

/* Variance of ip for a code of square `code_square`: rounding the table, and floats. */
static double noise_1(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms)
{
    const double floats = float_error(query, terms);
    return query->lut_error * query->lut_error + floats * floats * mean_square(codec);
}

/* The scan's half width, per f_mul: the mean code's and all of g, a little more for codes that are
 * worse than the mean (the spread of |L|^2 (1 - rho^2) is .94/sqrt(d) of it at 1 bit, 1.1 at 2). */
static double half_width_1(const struct codec *codec, struct centre_terms terms, double noise)
{
    const double d = (double)codec->code_dim, reach = (double)terms.reach;
    const double others = d > 1.0 ? d - 1.0 : 1.0;
    const double error = codec->first_bits == CODE_2 ? CODEBOOK_ERROR_2 : CODEBOOK_ERROR_1;
    return sqrt(mean_square(codec) * error * (1.0 + 1.0 / sqrt(d)) / others * reach * reach +
                noise);
}

/* What a scan allows, per f_mul: so many half widths, and under TurboQuant_mse's scale also the
 * bias of the longest code that points as the query does, (1 - s) g |r|, f_mul being |r| unit /
 * sqrt(d) and s, its share of EDEN's scale, taken a little smaller than the mean 1 - D. */
static double allowed_1(const struct codec *codec, struct centre_terms terms, double epsilon,
                        double noise)
{
    const double d = (double)codec->code_dim;
    const double error = codec->first_bits == CODE_2 ? CODEBOOK_ERROR_2 : CODEBOOK_ERROR_1;
    const double allowed = epsilon * half_width_1(codec, terms, noise);
    if (codec->scale == SCALE_EDEN) {
        return allowed;
    }
    const double share = (1.0 - error) * (1.0 - fmin(0.5, 1.0 / sqrt(d)));
    return allowed / share +
           (1.0 - share) * (double)terms.reach * sqrt(d) / codebook_unit(codec->first_bits);
}

/* What a scan found, looked at with each code's own half width. */
struct refinement {
    float epsilon;
    float allowed;           /* in the scan's bounds, per f_mul */
    float of_error, of_norm; /* of lane-16 codes, as in struct scan_line */
    float noise;             /* of lane-16 codes per |L|^2 */
    float threshold;
};

/* What the scan's bound of a lane has above its estimate. */
static float lane_allowed(const struct codec *codec, const struct refinement *refinement,
                          const uint8_t *scalars, unsigned lane, float f_mul)
{
    return codec_has_lanes(codec)
               ? codec_lane_norm(scalars, lane) *
                     (kernel_root_of(f_mul) * refinement->of_error + refinement->of_norm)
               : f_mul * refinement->allowed;
}

/* |L|^2 of a lane. */
static float lane_square(const struct codec *codec, const uint8_t *scalars, unsigned lane,
                         float f_mul)
{
    if (codec_has_lanes(codec)) {
        const float length = codec_lane_norm(scalars, lane) / f_mul;
        return length * length;
    }
    if (codec->first_bits != CODE_2) {
        return (float)codec->code_dim;
    }
    const double heavy = scalars[CODEC_BLOCK_LANES * sizeof(struct code_factors) + lane];
    return (float)codebook_square_2(codec->dim, heavy * (double)codec->dim / CODEC_HEAVY_FULL);
}

static uint32_t refine_block(const struct codec *codec, const struct codec_scan *scan,
                             const uint8_t *scalars, const struct refinement *refinement,
                             uint32_t lanes, float *bounds)
{
    const float *errors = codec_errors(codec, codec->first_bits);
    const bool has_lanes = codec_has_lanes(codec);
    const float slack = has_lanes ? NORM_SLACK_4 : NORM_SLACK_1;
    uint32_t kept = lanes;
    for (; lanes != 0; lanes &= lanes - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(lanes);
        const float f_mul = load_float(scalars, lane);
        if (!(f_mul > 0.0f) || !isfinite(bounds[lane])) {
            continue;
        }
        const float code_square = lane_square(codec, scalars, lane, f_mul);
        const float estimate = bounds[lane] - lane_allowed(codec, refinement, scalars, lane, f_mul);
        const struct residual residual = residual_of(codec, scan->query, codec->first_bits, f_mul,
                                                     errors[factor_error_byte(f_mul)], code_square);
        float bias;
        const float across =
            across_square(scan->query, scan->terms, residual, estimate, slack, &bias);
        const float noise = refinement->noise * (has_lanes ? code_square : 1.0f);
        const float half_width = half_width_of(codec->code_dim, residual, f_mul, across, noise);
        const float bound = estimate + bias + refinement->epsilon * half_width;
        if (bound < bounds[lane]) {
            bounds[lane] = bound;
            kept &= bound < refinement->threshold ? ~(1u << lane) : ~0u;
        }
    }
    return kept;
}

/* The first stage of FastScan codes: every code is taken for the mean one. */
static struct scan_line fastscan_begin(const struct codec *codec, const struct codec_scan *scan,
                                       struct refinement *refinement)
{
    const double noise = noise_1(codec, scan->query, scan->terms);
    const double allowed = allowed_1(codec, scan->terms, (double)scan->epsilon, noise);
    refinement->allowed = (float)allowed;
    refinement->noise = (float)noise;
    return (struct scan_line){.step = scan->query->lut_step,
                              .bias = (float)((double)scan->query->lut_bias + allowed)};
}

/* Of lane-16 codes: each code's own error and all of g. The root of two variances is at most the
 * sum of theirs. */
static struct scan_line lanes_begin(const struct codec *codec, const struct codec_scan *scan,
                                    struct refinement *refinement)
{
    const double others = codec->dim > 1 ? (double)(codec->dim - 1) : 1.0;
    const double epsilon = (double)scan->epsilon;
    refinement->noise = integer_noise(scan->query, codec->first_bits, scan->terms);
    refinement->of_error = (float)(epsilon * (double)scan->terms.reach / sqrt(others));
    refinement->of_norm = (float)(epsilon * sqrt((double)refinement->noise));
    return (struct scan_line){.step = integer_step(scan->query, codec->first_bits),
                              .of_error = refinement->of_error,
                              .of_norm = refinement->of_norm};
}

static const uint8_t *lut_of(const struct codec *codec, const struct codec_query *query)
{
    return codec->first_bits == CODE_4   ? (const uint8_t *)query->plain
           : codec->first_bits == CODE_8 ? (const uint8_t *)query->wide
                                         : query->lut;
}

static struct scan_task scan_begin(const struct codec *codec, const struct codec_scan *scan,
                                   struct refinement *refinement)
{
    *refinement = (struct refinement){.epsilon = scan->epsilon, .threshold = scan->threshold};
    struct scan_task task = {.lut = lut_of(codec, scan->query),
                             .line = codec_has_lanes(codec)
                                         ? lanes_begin(codec, scan, refinement)
                                         : fastscan_begin(codec, scan, refinement),
                             .survivors = scan->survivors,
                             .bounds = scan->bounds};
    task.line.add = scan->terms.add;
    task.line.threshold = scan->threshold;
    return task;
}

static void scan_with_kernels(const struct codec *codec, const uint8_t *blocks, size_t block_count,
                              const uint32_t *lanes, const struct scan_task *tasks, size_t count)
{
    const struct kernels *kernels = codec->kernels;
    (codec->first_bits == CODE_4 ? kernels->scan_lanes_4
     : codec->first_bits == CODE_8
         ? kernels->scan_lanes_8
         : kernels->scan_blocks)(blocks, block_count, codec->shape, lanes, tasks, count);
}

void codec_scan_many(const struct codec *codec, const struct codec_scan *scans, size_t scan_count,
                     const uint8_t *blocks, size_t block_count, const uint32_t *lanes)
{
    assert(scan_count >= 1 && scan_count <= CODEC_SCANS_MAX);
    struct scan_task tasks[CODEC_SCANS_MAX];
    struct refinement refinements[CODEC_SCANS_MAX];
    for (size_t i = 0; i < scan_count; i++) {
        tasks[i] = scan_begin(codec, &scans[i], &refinements[i]);
    }
    scan_with_kernels(codec, blocks, block_count, lanes, tasks, scan_count);
    const uint8_t *scalars = blocks + codec->shape.column_count * 16;
    for (size_t block = 0; block < block_count; block++, scalars += codec->shape.block_bytes) {
        for (size_t i = 0; i < scan_count; i++) {
            uint32_t *survivors = &scans[i].survivors[block];
            if (*survivors != 0 && !scans[i].coarse) {
                *survivors = refine_block(codec, &scans[i], scalars, &refinements[i], *survivors,
                                          scans[i].bounds + block * CODEC_BLOCK_LANES);
            }
        }
    }
}
_Static_assert(CODEC_SCANS_MAX <= KERNEL_TASKS_MAX, "a scan is a task of the kernels");

void codec_scan_blocks(const struct codec *codec, const struct codec_query *query,
                       struct centre_terms terms, const uint8_t *blocks, size_t block_count,
                       float epsilon, float threshold, uint32_t *survivors, float *bounds)
{
    const struct codec_scan scan = {query, terms, epsilon, threshold, survivors, bounds, false};
    codec_scan_many(codec, &scan, 1, blocks, block_count, NULL);
}

/* ---- second stage ---- */

/* An estimate and its half width from the sums of a row. */
static float row_estimate(const struct codec *codec, const struct codec_query *query,
                          const struct centre_terms *terms, float noise, struct row_sums sums,
                          struct code_factors factors, float *half_width)
{
    const double ip = (double)integer_step(query, codec->second_bits) * (double)sums.dot;
    const float estimate =
        (float)((double)terms->add + (double)factors.f_add + (double)factors.f_mul * ip);
    *half_width = 0.0f;
    if (!isfinite(estimate) || !isfinite(terms->reach)) {
        return INFINITY;
    }
    if (!(factors.f_mul > 0.0f)) {
        return estimate;
    }
    const float code_square = (float)(sums.square - codec->pad_square);
    const struct residual residual =
        residual_of(codec, query, codec->second_bits, factors.f_mul,
                    codec->errors_coarse[factor_error_byte(factors.f_mul)], code_square);
    float bias;
    const float across = across_square(query, *terms, residual, estimate, NORM_SLACK_4, &bias);
    *half_width = half_width_of(codec->dim, residual, factors.f_mul, across, noise * code_square) +
                  bias / CODEC_EPSILON_4BIT;
    return estimate;
}

float codec_score_row(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms, const uint8_t *code, struct code_factors factors,
                      float *half_width)
{
    if (codec->second_bits == CODE_NONE) {
        *half_width = 0.0f;
        return INFINITY;
    }
    const struct row_sums sums =
        codec->second_bits == CODE_8
            ? codec->kernels->row_sums_8(code, codec->row_bytes, query->wide)
            : codec->kernels->row_sums(code, codec->row_bytes, query->low, query->high);
    return row_estimate(codec, query, &terms, integer_noise(query, codec->second_bits, terms), sums,
                        factors, half_width);
}

static void sum_rows(const struct codec *codec, const struct codec_query *query,
                     const struct codec_row *rows, size_t count, struct row_sums *sums)
{
    const uint8_t *codes[ROWS_AT_ONCE];
    for (size_t i = 0; i < count; i++) {
        codes[i] = rows[i].code;
        if (codec->second_bits == CODE_8) {
            sums[i] = codec->kernels->row_sums_8(codes[i], codec->row_bytes, query->wide);
        }
    }
    if (codec->second_bits == CODE_4) {
        codec->kernels->rows_sums(codes, count, codec->row_bytes, query->low, query->high, sums);
    }
}

static void fetch_rows(const struct codec_row *rows, size_t first, size_t end, size_t row_bytes)
{
    for (size_t i = first; i < end; i++) {
        codec_fetch(rows[i].code, row_bytes);
    }
}

void codec_score_rows(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms, const struct codec_row *rows, size_t count,
                      float *estimates, float *half_widths)
{
    const float noise = integer_noise(query, codec->second_bits, terms);
    struct row_sums sums[ROWS_AT_ONCE];
    fetch_rows(rows, 0, count < ROWS_AHEAD ? count : ROWS_AHEAD, codec->row_bytes);
    for (size_t first = 0; first < count; first += ROWS_AT_ONCE) {
        const size_t left = count - first, now = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        const size_t next = first + ROWS_AHEAD, end = next + ROWS_AT_ONCE;
        fetch_rows(rows, next, end < count ? end : count, codec->row_bytes);
        sum_rows(codec, query, rows + first, now, sums);
        for (size_t i = first; i < first + now; i++) {
            estimates[i] = row_estimate(codec, query, &terms, noise, sums[i - first],
                                        rows[i].factors, &half_widths[i]);
        }
    }
    for (size_t i = 0; codec->second_bits == CODE_NONE && i < count; i++) {
        estimates[i] = INFINITY;
        half_widths[i] = 0.0f;
    }
}
