/* The table: the prior before it, its shares, how they are made, and its bytes. */
#include "index/recall_private.h"

#include <math.h>
#include <stdlib.h>

/* Codes that 120,000 of GloVe's vectors, the hardest set at hand, take for the 10 nearest, with
 * half as much again on top; they grow with about the 0.6th power of the number of points. */
#define PRIOR_POINTS 120000.0
#define PRIOR_GROWTH 0.6
#define SHARE_MIN 1e-4

/* The part of what may be missed that is aimed for. Stored points as queries promised digits .8, .9
 * and .95; those of other writers got .776, .878 and .938. Beyond the distances of stored points
 * random directions promised words .8 and .95; image descriptors got .735 and .930. What live
 * queries need is aimed for as near ones are: with .95 of what may be missed, sentences shifted by
 * a tenth got .8898 for .9 from a table of 1,000 unshifted ones. */
#define KEEP_NEAR 0.87
#define KEEP_NEAR_HIGH 0.95 /* from .985 on, where the difference was not seen */
#define KEEP_FAR 0.6
#define LIVE_LEAST 100.0 /* weight of live queries that decide alone */
#define WEIGHT_LEAST 8.0 /* of any that decide */

const double recall_levels[RECALL_LEVELS] = {0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999};

static const struct {
    double recall, codes;
} prior[] = {{0.5, 2000.0},   {0.8, 9000.0},   {0.9, 15000.0},   {0.95, 21000.0},
             {0.98, 34000.0}, {0.99, 46000.0}, {0.995, 60000.0}, {0.999, 90000.0}};
#define PRIOR_COUNT (sizeof prior / sizeof *prior)

/* Where a recall lies between two, in the logarithm of what is missed. */
static double between(double recall, double low, double high)
{
    const double missed = log(1.0 - low);
    return (missed - log(1.0 - recall)) / (missed - log(1.0 - high));
}

static double clamp_share(double share)
{
    return share < SHARE_MIN ? SHARE_MIN : share < 1.0 ? share : 1.0;
}

double recall_prior_share(double recall, uint64_t code_count, size_t k)
{
    size_t i = 1;
    while (i + 1 < PRIOR_COUNT && prior[i].recall < recall) {
        i++;
    }
    double at = between(fmin(recall, 0.99999), prior[i - 1].recall, prior[i].recall);
    at = at < 0.0 ? 0.0 : at;
    const double codes = prior[i - 1].codes * pow(prior[i].codes / prior[i - 1].codes, at);
    const double n = code_count > 0 ? (double)code_count : 1.0;
    const double more = k > 10 ? pow((double)k / 10.0, 0.35) : 1.0;
    return clamp_share(codes * more * pow(n / PRIOR_POINTS, PRIOR_GROWTH) / n);
}

/* ---- reading it ---- */

/* The knot at or below a distance, and how far towards the next one it lies, 0 to 1. */
static size_t find_knot(const float *far, double distance, double *towards)
{
    size_t i = 0;
    while (i + 2 < RECALL_KNOTS && (double)far[i + 1] <= distance) {
        i++;
    }
    const double width = (double)far[i + 1] - (double)far[i];
    const double at = width > 0.0 ? (distance - (double)far[i]) / width : 0.0;
    *towards = at < 0.0 ? 0.0 : at > 1.0 ? 1.0 : at;
    return i;
}

/* Of one row of the table. */
static double level_share(const float *shares, double recall)
{
    if (recall <= recall_levels[0]) {
        /* Less than the lowest: in proportion, which is more than it takes. */
        return (double)shares[0] * recall / recall_levels[0];
    }
    size_t i = 1;
    while (i + 1 < RECALL_LEVELS && recall_levels[i] < recall) {
        i++;
    }
    const double at = between(fmin(recall, 0.99999), recall_levels[i - 1], recall_levels[i]);
    return (double)shares[i - 1] * pow((double)shares[i] / (double)shares[i - 1], at);
}

static double knots_share(const float shares[RECALL_KNOTS][RECALL_LEVELS], size_t knot,
                          double towards, double recall)
{
    const double near = level_share(shares[knot], recall);
    const double far = level_share(shares[knot + 1], recall);
    return near * pow(far / near, towards);
}

double recall_table_share(const struct recall_table *table, double recall, double distance,
                          uint64_t code_count, size_t k)
{
    double towards;
    const size_t knot = find_knot(table->far, distance, &towards);
    const double ten = knots_share(table->share.of[0], knot, towards, recall);
    double share = ten;

    if (k > 10) {
        const double hundred = knots_share(table->share.of[1], knot, towards, recall);
        share = ten * pow(fmax(hundred / ten, 1.0), log10((double)k / 10.0));
    }
    /* Of fewer codes than it was learnt from (deletes, a filter) it takes a larger share. */
    if (code_count > 0 && code_count < table->codes) {
        share *= sqrt((double)table->codes / (double)code_count);
    }
    return clamp_share(share);
}

/* ---- making it ---- */

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Needs that count at one distance. */
struct weighted {
    const struct needs *needs;
    double weight;
};

/* Mean over the queries of what a share finds of the k nearest, and its standard error. */
static double found_by(const struct weighted *all, size_t count, size_t k, float share,
                       double *error)
{
    double sum = 0.0, squares = 0.0, weights = 0.0, weight_squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        const struct needs *needs = all[i].needs;
        const size_t most = needs->count < k ? needs->count : k;
        size_t found = 0;
        for (size_t j = 0; j < most; j++) {
            found += needs->share[j] <= share;
        }
        const double of = (double)found / (double)most, weight = all[i].weight;
        sum += weight * of;
        squares += weight * of * of;
        weights += weight;
        weight_squares += weight * weight;
    }
    const double mean = sum / weights;
    *error = sqrt(fmax(squares / weights - mean * mean, 0.0) * weight_squares) / weights;
    return mean;
}

/* The recall to aim for. */
static double aim(double recall, double keep, double keep_high)
{
    return 1.0 - (1.0 - recall) * (recall < 0.985 ? keep : keep_high);
}

/* The least share that finds each level's aim, and one standard error more. */
static void learn_shares(const struct weighted *all, size_t count, size_t k, double keep,
                         double keep_high, float shares[RECALL_LEVELS])
{
    float *candidates = allocate(size_product(count * k + 1, sizeof *candidates));
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < k && j < all[i].needs->count; j++) {
            candidates[total++] = all[i].needs->share[j];
        }
    }
    candidates[total++] = 1.0f;
    qsort(candidates, total, sizeof *candidates, compare_floats);
    size_t low = 0;
    for (size_t level = 0; level < RECALL_LEVELS; level++) {
        const double wanted = aim(recall_levels[level], keep, keep_high);
        size_t high =
            total - 1; /* candidates[high] is enough; what a lower level needs is not less */
        while (low < high) {
            const size_t middle = (low + high) / 2;
            double error;
            const double mean = found_by(all, count, k, candidates[middle], &error);
            if (mean >= fmin(wanted + error, 1.0 - 1e-9)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        /* A little above: a partition is read when less than the share was read before it. */
        shares[level] = fminf(candidates[high] * 1.0001f + 1e-5f, 1.0f);
    }
    free(candidates);
}

/* Those of needs, foreign or not, that count at a knot, more the nearer they are; returns their
 * weight. */
static double weigh(const float *far, size_t knot, const struct needs *needs, size_t count,
                    bool foreign, struct weighted *all, size_t *made)
{
    double sum = 0.0;
    *made = 0;
    for (size_t i = 0; i < count; i++) {
        double towards;
        const size_t below = find_knot(far, (double)needs[i].distance, &towards);
        const double weight = below == knot ? 1.0 - towards : below + 1 == knot ? towards : 0.0;
        if (weight > 1e-3 && needs[i].count > 0 && needs[i].foreign == foreign) {
            all[(*made)++] = (struct weighted){&needs[i], weight};
            sum += weight;
        }
    }
    return sum;
}

static float quantile(const float *sorted, size_t count, double at)
{
    return sorted[(size_t)(at * (double)(count - 1) + 0.5)];
}

/* Four among the distances of stored points, four among those of copies beyond. Returns the
 * distance beyond which hardly any stored point is. */
static float place_knots(const struct needs *needs, size_t stored, size_t made,
                         float far[RECALL_KNOTS])
{
    static const double among[4] = {0.05, 0.35, 0.65, 0.95}, beyond[4] = {0.25, 0.5, 0.75, 0.98};
    float *all = allocate(size_product(stored + made + 1, sizeof *all));
    for (size_t i = 0; i < stored; i++) {
        all[i] = needs[i].distance;
    }
    qsort(all, stored, sizeof *all, compare_floats);
    for (size_t i = 0; i < 4; i++) {
        far[i] = stored > 0 ? quantile(all, stored, among[i]) : 0.0f;
    }
    const float end = stored > 0 ? quantile(all, stored, 0.99) : 0.0f;
    size_t out = 0;
    for (size_t i = stored; i < stored + made; i++) {
        if (needs[i].distance > far[3]) {
            all[out++] = needs[i].distance;
        }
    }
    qsort(all, out, sizeof *all, compare_floats);
    for (size_t i = 0; i < 4; i++) {
        far[4 + i] = out > 0 ? quantile(all, out, beyond[i]) : far[3];
    }
    free(all);
    return end;
}

/* The shares at one knot from needs of one kind, if there are enough near it; never less than what
 * is there. */
static bool learn_knot(struct recall_table *table, size_t knot, const struct needs *needs,
                       size_t count, bool foreign, bool beyond)
{
    static const size_t ks[2] = {10, RECALL_K};
    struct weighted *all = allocate(size_product(count + 1, sizeof *all));
    size_t made;
    const bool enough = weigh(table->far, knot, needs, count, foreign, all, &made) >= WEIGHT_LEAST;

    for (size_t row = 0; row < 2 && enough; row++) {
        float shares[RECALL_LEVELS];
        learn_shares(all, made, ks[row], beyond ? KEEP_FAR : KEEP_NEAR,
                     beyond ? KEEP_FAR : KEEP_NEAR_HIGH, shares);
        for (size_t level = 0; level < RECALL_LEVELS; level++) {
            table->base.of[row][knot][level] =
                fmaxf(table->base.of[row][knot][level], shares[level]);
        }
    }
    free(all);
    return enough;
}

/* Where nothing is known: as one knot before. */
static void guess_knot(struct recall_table *table, size_t knot)
{
    for (size_t row = 0; row < 2; row++) {
        for (size_t level = 0; level < RECALL_LEVELS; level++) {
            table->base.of[row][knot][level] =
                knot > 0 ? table->base.of[row][knot - 1][level]
                         : (float)recall_prior_share(recall_levels[level], table->codes,
                                                     row == 0 ? 10 : RECALL_K);
        }
    }
}

void recall_table_make(struct recall_table *table, const struct needs *needs, size_t stored,
                       size_t made)
{
    const float end = place_knots(needs, stored, made, table->far);

    table->stored = (uint32_t)stored;
    table->made = (uint32_t)made;
    table->live = 0;
    table->base = (struct recall_shares){0};
    for (size_t knot = 0; knot < RECALL_KNOTS; knot++) {
        const bool beyond = table->far[knot] > end;
        const bool near = learn_knot(table, knot, needs, stored + made, false, beyond);
        if (!learn_knot(table, knot, needs, stored + made, true, beyond) && !near) {
            guess_knot(table, knot);
        }
    }
    table->share = table->base;
}

void recall_table_overlay(struct recall_table *table, const struct needs *live, size_t count)
{
    struct weighted *all = allocate(size_product(count + 1, sizeof *all));

    table->share = table->base;
    table->live = 0;
    for (size_t knot = 0; knot < RECALL_KNOTS; knot++) {
        size_t made;
        if (weigh(table->far, knot, live, count, false, all, &made) >= LIVE_LEAST) {
            table->live = (uint32_t)count;
            learn_shares(all, made, 10, KEEP_NEAR, KEEP_NEAR_HIGH, table->share.of[0][knot]);
            learn_shares(all, made, RECALL_K, KEEP_NEAR, KEEP_NEAR_HIGH, table->share.of[1][knot]);
        }
    }
    free(all);
}

/* ---- its bytes ---- */

static float *shares_at(struct recall_table *table, size_t i)
{
    struct recall_shares *all[2] = {&table->base, &table->share};
    const size_t each = 2 * (size_t)RECALL_KNOTS * RECALL_LEVELS, at = i % each;
    return &all[i / each]->of[at / (RECALL_KNOTS * RECALL_LEVELS)]
                             [at / RECALL_LEVELS % RECALL_KNOTS][at % RECALL_LEVELS];
}
#define SHARES_ALL (2u * 2u * RECALL_KNOTS * RECALL_LEVELS)

void recall_table_put(const struct recall_table *table, uint8_t bytes[RECALL_TABLE_BYTES])
{
    struct recall_table copy = *table;
    store64(bytes, table->codes);
    store32(bytes + 8, table->stored);
    store32(bytes + 12, table->made);
    store32(bytes + 16, table->live);
    store32(bytes + 20, RECALL_KNOTS);
    uint8_t *at = bytes + 24;
    for (size_t i = 0; i < RECALL_KNOTS; i++, at += 4) {
        store_float(at, table->far[i]);
    }
    for (size_t i = 0; i < SHARES_ALL; i++, at += 4) {
        store_float(at, *shares_at(&copy, i));
    }
}

bool recall_table_get(struct recall_table *table, struct span bytes)
{
    if (bytes.bytes != RECALL_TABLE_BYTES || load32(bytes.data + 20) != RECALL_KNOTS) {
        return false;
    }
    *table = (struct recall_table){.codes = load64(bytes.data),
                                   .stored = load32(bytes.data + 8),
                                   .made = load32(bytes.data + 12),
                                   .live = load32(bytes.data + 16)};
    const uint8_t *at = bytes.data + 24;
    bool good = true;
    for (size_t i = 0; i < RECALL_KNOTS; i++, at += 4) {
        table->far[i] = load_float(at);
        good = good && isfinite(table->far[i]) && (i == 0 || table->far[i] >= table->far[i - 1]);
    }
    for (size_t i = 0; i < SHARES_ALL; i++, at += 4) {
        float *share = shares_at(table, i);
        *share = load_float(at);
        good = good && *share > 0.0f && *share <= 1.0f;
    }
    return good;
}
