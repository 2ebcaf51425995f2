/* Two-means with a balance rule, means, Lloyd steps. */
#include "index/partition.h"

#include <assert.h>
#include <math.h>

#define BALANCE_NUMERATOR 3u /* a side gets at least 3/10 of the rows */
#define BALANCE_DENOMINATOR 10u
#define HALVE_ROUNDS_MAX 12u
#define SETTLED_SHARE 100u /* enough when fewer than a hundredth change sides */
#define START_SAMPLE 16u   /* rows among which the second starting point is looked for */
#define CODES_BYTES_MAX ((size_t)256 * 1024)
#define TARGET_CODES 256u
#define TARGET_CODES_WIDE 192u
#define WIDE_DIM 256u

struct margin {
    float value; /* distance to the first centre minus distance to the second */
    uint32_t member;
    bool first; /* on the first side in the round before */
};

struct partition_sizes partition_sizes_of(uint32_t dim, uint32_t target)
{
    if (target == 0) {
        target = dim < WIDE_DIM ? TARGET_CODES : TARGET_CODES_WIDE;
        const size_t code_bytes = dim / 8 + 2 * sizeof(float) + 1;
        const size_t fitting = CODES_BYTES_MAX / code_bytes * 2 / 3; /* `most` must fit, too */
        if (fitting < target) {
            target = fitting < CODEC_BLOCK_LANES ? CODEC_BLOCK_LANES : (uint32_t)fitting;
        }
    }
    return (struct partition_sizes){
        .target = target, .most = target + target / 2, .least = target / 4};
}

void partition_scratch_release(struct partition_scratch *scratch)
{
    scratch_release(&scratch->centres);
    scratch_release(&scratch->margins);
    scratch_release(&scratch->order);
}

float partition_distance(const struct codec *codec, const float *a, const float *b)
{
    return -codec_key(codec, METRIC_EUCLID, a, b);
}

typedef float lanes4 __attribute__((vector_size(16)));

/* sum[i] += x[i] */
static void add_row(float *sum, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        lanes4 a, b;
        memcpy(&a, sum + i, sizeof a);
        memcpy(&b, x + i, sizeof b);
        a += b;
        memcpy(sum + i, &a, sizeof a);
    }
    for (; i < n; i++) {
        sum[i] += x[i];
    }
}

static void divide_row(float *sum, size_t n, size_t count)
{
    const float share = 1.0f / (float)count;
    for (size_t i = 0; i < n; i++) {
        sum[i] *= share;
    }
}

void partition_mean(const struct rows *rows, const uint32_t *members, size_t count, float *centre)
{
    assert(count > 0);
    memset(centre, 0, rows->dim * sizeof *centre);
    for (size_t i = 0; i < count; i++) {
        add_row(centre, rows_at(rows, members[i]), rows->dim);
    }
    divide_row(centre, rows->dim, count);
}

static int compare_margins(const void *a, const void *b)
{
    const struct margin *x = a, *y = b;
    if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    return x->member < y->member ? -1 : x->member > y->member;
}

/* Two rows far from each other: one in the middle of the list, and of a few others spread over it
 * the one at the upper quartile of distance, so that a single outlier is not taken. */
static void start_centres(const struct rows *rows, const uint32_t *members, size_t count,
                          float *centres)
{
    const float *first = rows_at(rows, members[count / 2]);
    struct margin sample[START_SAMPLE];
    size_t sampled = 0;
    for (size_t i = 0; i < START_SAMPLE && i < count; i++) {
        const uint32_t member = members[i * count / (count < START_SAMPLE ? count : START_SAMPLE)];
        const float distance = partition_distance(rows->codec, first, rows_at(rows, member));
        sample[sampled++] = (struct margin){.value = distance, .member = member};
    }
    // cppcheck-suppress uninitvar ; filled from 0 to sampled
    qsort(sample, sampled, sizeof *sample, compare_margins);
    const float *second = rows_at(rows, sample[sampled - 1 - sampled / 4].member);
    memcpy(centres, first, rows->dim * sizeof *centres);
    memcpy(centres + rows->dim, second, rows->dim * sizeof *centres);
}

/* Order margins so that the first `cut` belong to the first side, and return the cut: where they
 * turn positive, but not nearer to an end than the balance allows. Sorted only when it is. */
static size_t cut_margins(struct margin *margins, size_t count)
{
    const size_t least = count * BALANCE_NUMERATOR / BALANCE_DENOMINATOR;
    const size_t low = least > 0 ? least : 1, high = count - low;
    size_t cut = 0;
    for (size_t i = 0; i < count; i++) {
        if (margins[i].value < 0.0f) {
            const struct margin moved = margins[i];
            margins[i] = margins[cut];
            margins[cut++] = moved;
        }
    }
    if (cut >= low && cut <= high) {
        return cut;
    }
    qsort(margins, count, sizeof *margins, compare_margins);
    return cut < low ? low : high;
}

/* Margins of all members against the two centres: 2 <x, b - a> + |a|^2 - |b|^2. */
static void measure(const struct rows *rows, const uint32_t *members, size_t count, size_t before,
                    const float *centres, float *across, struct margin *margins)
{
    const size_t dim = rows->dim;
    for (size_t j = 0; j < dim; j++) {
        across[j] = centres[dim + j] - centres[j];
    }
    const float offset = codec_key(rows->codec, METRIC_DOT, centres, centres) -
                         codec_key(rows->codec, METRIC_DOT, centres + dim, centres + dim);
    for (size_t i = 0; i < count; i++) {
        const float product = codec_key(rows->codec, METRIC_DOT, across, rows_at(rows, members[i]));
        const float value = 2.0f * product + offset;
        margins[i] = (struct margin){isfinite(value) ? value : 0.0f, members[i], i < before};
    }
}

size_t partition_halve(const struct rows *rows, uint32_t *members, size_t count,
                       struct partition_scratch *scratch)
{
    assert(count >= 2);
    const size_t dim = rows->dim;
    float *centres = scratch_need(&scratch->centres, size_product(3 * dim, sizeof *centres));
    struct margin *margins = scratch_need(&scratch->margins, size_product(count, sizeof *margins));
    start_centres(rows, members, count, centres);
    size_t cut = 0;
    for (unsigned round = 0; round < HALVE_ROUNDS_MAX; round++) {
        measure(rows, members, count, cut, centres, centres + 2 * dim, margins);
        cut = cut_margins(margins, count);
        size_t changed = 0;
        for (size_t i = 0; i < count; i++) {
            changed += margins[i].first != (i < cut);
            members[i] = margins[i].member;
        }
        if (changed * SETTLED_SHARE < count) {
            break;
        }
        partition_mean(rows, members, cut, centres);
        partition_mean(rows, members + cut, count - cut, centres + dim);
    }
    return cut;
}

size_t partition_groups_max(size_t count, const struct partition_sizes *sizes)
{
    /* A group that was cut off a larger one has at least 3/10 of more than `most`. */
    const size_t smallest = (sizes->most + 1) * BALANCE_NUMERATOR / BALANCE_DENOMINATOR;
    return count / (smallest > 0 ? smallest : 1) + 2;
}

size_t partition_divide(const struct rows *rows, uint32_t *members, size_t count,
                        const struct partition_sizes *sizes, uint32_t *ends,
                        struct partition_scratch *scratch)
{
    size_t groups = 0, begin = 0;
    /* Ends of the parts still to be looked at, nearest last; each at most 7/10 of the one before.
     */
    uint32_t pending[64];
    size_t depth = 0;
    pending[depth++] = (uint32_t)count;
    while (depth > 0) {
        const size_t end = pending[depth - 1];
        if (end - begin <= sizes->most || end - begin < 2) {
            ends[groups++] = (uint32_t)end;
            begin = end;
            depth--;
            continue;
        }
        assert(depth < sizeof pending / sizeof *pending);
        const size_t cut = partition_halve(rows, members + begin, end - begin, scratch);
        pending[depth++] = (uint32_t)(begin + cut);
    }
    return groups;
}

uint32_t partition_nearest(const struct codec *codec, const float *vector, const float *centres,
                           size_t centre_count, float *distance)
{
    const size_t dim = codec_dim(codec);
    uint32_t nearest = 0;
    float least = INFINITY;
    for (size_t i = 0; i < centre_count; i++) {
        const float d = partition_distance(codec, vector, centres + i * dim);
        if (d < least) {
            least = d;
            nearest = (uint32_t)i;
        }
    }
    *distance = least;
    return nearest;
}

size_t partition_lloyd(const struct rows *rows, size_t count, uint32_t *owner, float *centres,
                       size_t centre_count, struct partition_scratch *scratch)
{
    const size_t dim = rows->dim;
    size_t changed = 0;
    uint32_t *sizes = scratch_need(&scratch->order, size_product(centre_count, sizeof *sizes));
    memset(sizes, 0, centre_count * sizeof *sizes);
    for (size_t i = 0; i < count; i++) {
        float distance;
        const uint32_t nearest =
            partition_nearest(rows->codec, rows_at(rows, i), centres, centre_count, &distance);
        changed += nearest != owner[i];
        owner[i] = nearest;
        sizes[nearest]++;
    }
    for (size_t c = 0; c < centre_count; c++) {
        if (sizes[c] > 0) {
            memset(centres + c * dim, 0, dim * sizeof *centres);
        }
    }
    for (size_t i = 0; i < count; i++) {
        add_row(centres + owner[i] * dim, rows_at(rows, i), dim);
    }
    for (size_t c = 0; c < centre_count; c++) {
        if (sizes[c] > 0) {
            divide_row(centres + c * dim, dim, sizes[c]);
        }
    }
    return changed;
}
