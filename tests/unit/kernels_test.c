/* Every table of kernels against the scalar one, to the byte: lengths 1 to 200 and some large ones,
 * every alignment that bytes can have, and nothing read or written past the ends (run with ASan).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "codec/codebook.h"
#include "codec/kernels.h"
#include "tests/unit/codec_inputs.h"

static const struct kernels *table; /* under test */

static const size_t large[] = {255, 256, 257, 300, 511, 512, 768, 1000, 1024, 1536, 4096, 65536};
#define LARGE (sizeof large / sizeof *large)

/* 1..200, then the large ones; 0 after the last. */
static size_t length_at(size_t i)
{
    return i < 200 ? i + 1 : i < 200 + LARGE ? large[i - 200] : 0;
}

/* Exactly as many bytes as asked for, so that ASan sees the end. */
static void *exactly(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(memory);
    return memory;
}

static float *random_floats(size_t n, struct random *random)
{
    float *x = exactly(n * sizeof *x);
    for (size_t j = 0; j < n; j++) {
        x[j] = (float)(random_normal(random) * pow(10.0, random_uniform(random) * 6.0 - 3.0));
    }
    return x;
}

static uint8_t *random_bytes(size_t n, struct random *random)
{
    uint8_t *bytes = exactly(n);
    for (size_t j = 0; j < n; j++) {
        bytes[j] = (uint8_t)splitmix64(&random->state);
    }
    return bytes;
}

static void same_bits(double a, double b)
{
    assert_memory_equal(&a, &b, sizeof a);
}

static void same_sums(struct level_sums a, struct level_sums b)
{
    same_bits(a.of_x, b.of_x);
    same_bits(a.of_y, b.of_y);
}

static void check_levels(const float *x, const float *y, size_t n, struct random *random)
{
    uint8_t *bytes = random_bytes(n, random);
    const int8_t *levels = (const int8_t *)bytes;
    for (unsigned i = 0; i < 2; i++, y = NULL) {
        same_sums(table->level_sums(x, y, levels, n), kernels_scalar.level_sums(x, y, levels, n));
        same_sums(table->grid_sums(x, y, levels, n), kernels_scalar.grid_sums(x, y, levels, n));
        same_sums(table->sign_sums(x, y, bytes, n), kernels_scalar.sign_sums(x, y, bytes, n));
    }
    free(bytes);
}

/* float16 of every kind: normal, subnormal, zero, infinite, not a number left out. */
static void check_halves(const float *x, size_t n, struct random *random)
{
    const size_t shift = n % 3;
    uint8_t *bytes = random_bytes(2 * n + shift, random);
    for (size_t j = 0; j < n; j++) {
        uint8_t *high = &bytes[shift + 2 * j + 1];
        *high = (*high & 0x7c) == 0x7c ? 0x7b : *high; /* finite */
    }
    const uint8_t *y = bytes + shift;
    same_bits(table->dot_half(x, y, n), kernels_scalar.dot_half(x, y, n));
    same_bits(table->squared_distance_half(x, y, n), kernels_scalar.squared_distance_half(x, y, n));
    same_bits(table->absolute_distance_half(x, y, n),
              kernels_scalar.absolute_distance_half(x, y, n));
    free(bytes);
}

/* All 65,536 values, against their meaning. */
static void halves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint8_t bytes[2] = {(uint8_t)i, (uint8_t)(i >> 8)};
        const int exponent = (int)(i >> 10 & 31);
        const double size = exponent == 0 ? ldexp((double)(i & 1023), -24)
                                          : ldexp((double)(1024 + (i & 1023)), exponent - 25);
        const float one = 1.0f;
        if (exponent < 31) {
            const double value = table->dot_half(&one, bytes, 1);
            assert_true(value == (i >> 15 != 0 ? -size : size));
        }
    }
}

static void check_centre(const float *x, const float *y, size_t n)
{
    const struct centre_sums sums = table->centre_sums(x, y, n);
    same_bits(sums.product, kernels_scalar.dot(x, (const uint8_t *)y, n));
    same_bits(sums.distance, kernels_scalar.squared_distance(x, (const uint8_t *)y, n));
    same_bits(sums.square, kernels_scalar.dot(y, (const uint8_t *)y, n));
}

static void check_sums(size_t n, struct random *random)
{
    const size_t shift = n % 4; /* y at any alignment */
    float *x = random_floats(n, random), *floats = random_floats(n, random);
    uint8_t *y = exactly(n * sizeof(float) + shift);
    memcpy(y + shift, floats, n * sizeof(float));
    const uint8_t *row = y + shift;
    same_bits(table->dot(x, row, n), kernels_scalar.dot(x, row, n));
    same_bits(table->squared_distance(x, row, n), kernels_scalar.squared_distance(x, row, n));
    same_bits(table->absolute_distance(x, row, n), kernels_scalar.absolute_distance(x, row, n));
    same_bits(table->absolute_sum(x, n), kernels_scalar.absolute_sum(x, n));
    check_centre(x, floats, n);
    check_levels(x, floats, n, random);
    check_halves(x, n, random);
    double exact = 0.0, size = 0.0;
    for (size_t j = 0; j < n; j++) {
        exact += (double)x[j] * (double)floats[j];
        size += fabs((double)x[j] * (double)floats[j]);
    }
    assert_true(fabs(table->dot(x, row, n) - exact) <= 1.1e-6 * size);
    free(x);
    free(floats);
    free(y);
}

static void sums(void **state)
{
    (void)state;
    struct random random = {1};
    for (size_t i = 0; length_at(i) != 0; i++) {
        check_sums(length_at(i), &random);
    }
}

static void check_residual(const float *x, const float *y, size_t n)
{
    float *a = exactly(n * sizeof *a), *b = exactly(n * sizeof *b);
    const struct residual_sums sums = table->residual(a, x, y, n);
    const struct residual_sums expected = kernels_scalar.residual(b, x, y, n);
    assert_memory_equal(a, b, n * sizeof *a);
    same_bits(sums.product, expected.product);
    same_bits(sums.square, expected.square);
    same_bits(sums.own, expected.own);
    free(a);
    free(b);
}

static void check_permute(const float *x, size_t n, struct random *random)
{
    float *a = exactly(n * sizeof *a), *b = exactly(n * sizeof *b);
    uint16_t *sources = exactly(n * sizeof *sources);
    for (size_t j = 0; j < n; j++) {
        sources[j] = (uint16_t)(splitmix64(&random->state) % n);
    }
    table->permute(a, x, sources, n);
    kernels_scalar.permute(b, x, sources, n);
    assert_memory_equal(a, b, n * sizeof *a);
    free(a);
    free(b);
    free(sources);
}

static void check_signs(size_t n, struct random *random)
{
    float *x = random_floats(n, random), *a = exactly(n * sizeof *a), *b = exactly(n * sizeof *b);
    uint8_t *bits = random_bytes((n + 7) / 8, random);
    x[n / 2] = -0.0f;
    x[n / 3] = 0.0f;
    table->copy_signed(a, x, bits, n);
    kernels_scalar.copy_signed(b, x, bits, n);
    assert_memory_equal(a, b, n * sizeof *a);
    table->copy_signed(a, a, bits, n); /* in place, and back */
    assert_memory_equal(a, x, n * sizeof *a);
    uint8_t *c = random_bytes((n + 7) / 8, random), *d = random_bytes((n + 7) / 8, random);
    table->sign_bits(x, n, c);
    kernels_scalar.sign_bits(x, n, d);
    assert_memory_equal(c, d, (n + 7) / 8);
    int8_t *levels = exactly(n), *more = exactly(n);
    table->outer_levels(x, n, 0.7f, c, levels);
    kernels_scalar.outer_levels(x, n, 0.7f, d, more);
    assert_memory_equal(c, d, (n + 7) / 8);
    assert_memory_equal(levels, more, n);
    free(levels);
    free(more);
    check_residual(x, b, n);
    check_permute(x, n, random);
    table->subtract(a, x, b, n);
    kernels_scalar.subtract(b, x, b, n);
    assert_memory_equal(a, b, n * sizeof *a);
    free(x);
    free(a);
    free(b);
    free(bits);
    free(c);
    free(d);
}

static void signs(void **state)
{
    (void)state;
    struct random random = {2};
    for (size_t i = 0; length_at(i) != 0; i++) {
        check_signs(length_at(i), &random);
    }
}

static void hadamard(void **state)
{
    (void)state;
    struct random random = {3};
    for (size_t n = 1; n <= 65536; n *= 2) {
        float *x = random_floats(n, &random), *a = exactly(n * sizeof *a);
        float *b = exactly(n * sizeof *b);
        uint8_t *bits = random_bytes((n + 7) / 8, &random);
        const float scale = (float)(1.0 / sqrt((double)n));
        table->hadamard(a, x, bits, n, scale);
        kernels_scalar.hadamard(b, x, bits, n, scale);
        assert_memory_equal(a, b, n * sizeof *a);
        table->hadamard(x, x, bits, n, scale); /* in place */
        assert_memory_equal(x, b, n * sizeof *a);
        free(x);
        free(a);
        free(b);
        free(bits);
    }
}

static struct magnitudes planes_new(size_t padded, struct random *random)
{
    return (struct magnitudes){random_bytes(padded, random), random_bytes(padded, random),
                               random_bytes(padded, random)};
}

static void planes_free(struct magnitudes planes)
{
    free(planes.high);
    free(planes.low);
    free(planes.units);
}

static void check_take(struct magnitudes planes, const float *x, size_t n,
                       const struct rank_table *ranks, struct random *random)
{
    const size_t padded = round_to_pad(n);
    uint8_t *indices[2], *levels[2];
    for (size_t i = 0; i < 2; i++) {
        indices[i] = random_bytes(padded, random);
        levels[i] = random_bytes(padded, random);
        (i == 0 ? table : &kernels_scalar)
            ->take_ranks(planes, x, n, ranks, indices[i], (int8_t *)levels[i]);
    }
    assert_memory_equal(indices[0], indices[1], padded);
    assert_memory_equal(levels[0], levels[1], padded);
    for (size_t i = 0; i < 2; i++) {
        free(indices[i]);
        free(levels[i]);
    }
}

static void check_ranks(size_t n, struct random *random)
{
    const size_t padded = round_to_pad(n);
    float *x = exactly(n * sizeof *x);
    for (size_t j = 0; j < n; j++) {
        x[j] = (float)(random_normal(random) * (j % 50 == 0 ? 4.0 : 1.0));
    }
    struct magnitudes a = planes_new(padded, random), b = planes_new(padded, random);
    table->magnitudes(x, n, 1220.0f, a);
    kernels_scalar.magnitudes(x, n, 1220.0f, b);
    assert_memory_equal(a.high, b.high, padded);
    assert_memory_equal(a.low, b.low, padded);
    assert_memory_equal(a.units, b.units, padded);
    struct rank_table ranks[CODEBOOK_SCALES];
    for (unsigned i = 0; i < CODEBOOK_SCALES; i++) {
        codebook_rank_table(i, &ranks[i]);
        check_take(a, x, n, &ranks[i], random);
    }
    uint32_t dots[2][CODEBOOK_SCALES], squares[2][CODEBOOK_SCALES];
    table->try_ranks(a, padded, ranks, dots[0], squares[0]);
    kernels_scalar.try_ranks(a, padded, ranks, dots[1], squares[1]);
    assert_memory_equal(dots[0], dots[1], sizeof dots[0]);
    assert_memory_equal(squares[0], squares[1], sizeof squares[0]);
    planes_free(a);
    planes_free(b);
    free(x);
}

static void ranks(void **state)
{
    (void)state;
    struct random random = {4};
    for (size_t i = 0; length_at(i) != 0; i++) {
        check_ranks(length_at(i), &random);
    }
}

/* Values too large for 12 bits, infinite and not a number all end at the largest magnitude. */
static void magnitudes_saturate(void **state)
{
    (void)state;
    const float x[6] = {1e30f, -1e30f, INFINITY, -INFINITY, NAN, 0.0f};
    struct random random = {5};
    struct magnitudes planes = planes_new(KERNEL_PAD, &random);
    table->magnitudes(x, 6, 2.0f, planes);
    for (size_t j = 0; j < 5; j++) {
        assert_int_equal(planes.high[j] * 256 + planes.low[j], 4095);
        assert_int_equal(planes.units[j], 128);
    }
    assert_int_equal(planes.high[5] + planes.low[5] + planes.units[5], 0);
    planes_free(planes);
}

/* Blocks at an odd address whose factors are random, some of them hostile. */
static uint8_t *random_blocks(size_t blocks, struct block_shape shape, size_t shift,
                              struct random *random)
{
    uint8_t *bytes = random_bytes(shift + blocks * shape.block_bytes, random);
    for (size_t block = 0; block < blocks; block++) {
        uint8_t *factors = bytes + shift + block * shape.block_bytes + shape.column_count * 16;
        for (size_t i = 0; i < 64; i++) {
            const float value = block % 16 == 15 && i % 9 == 0 ? (i % 2 != 0 ? NAN : -INFINITY)
                                                               : (float)random_normal(random);
            memcpy(factors + i * 4, &value, 4);
        }
    }
    return bytes;
}

static uint8_t *random_lut(size_t columns, bool full, struct random *random)
{
    const size_t bytes = round_to_pad((columns + 1) / 2 * 32);
    uint8_t *lut = random_bytes(bytes, random);
    for (size_t i = 0; i < bytes; i++) {
        lut[i] = i >= columns * 16 ? 0 : full ? 255 : lut[i];
    }
    return lut;
}

static void same_scan(const struct scan_task *a, const struct scan_task *b, size_t blocks)
{
    assert_memory_equal(a->survivors, b->survivors, blocks * sizeof *a->survivors);
    for (size_t i = 0; i < blocks * 32; i++) {
        if (a->survivors[i / 32] >> (i % 32) & 1) {
            assert_memory_equal(&a->bounds[i], &b->bounds[i], sizeof(float));
            assert_true(a->bounds[i] >= a->line.threshold);
        }
    }
}

/* 1 to KERNEL_TASKS_MAX queries at once, with and without masks of lanes. */
static void check_scan(size_t blocks, size_t columns, bool full, struct random *random)
{
    const size_t shift = (blocks + columns) % 16, task_count = 1 + blocks % KERNEL_TASKS_MAX;
    const struct block_shape shape = {columns, columns * 16 + (blocks % 2 != 0 ? 288 : 256)};
    uint8_t *bytes = random_blocks(blocks, shape, shift, random);
    uint32_t *lanes = exactly(blocks * sizeof *lanes), sums[2][32];
    struct scan_task tasks[2][KERNEL_TASKS_MAX];
    for (size_t i = 0; i < blocks; i++) {
        lanes[i] = i % 3 == 1 ? 0 : (uint32_t)splitmix64(&random->state);
    }
    for (size_t i = 0; i < task_count; i++) {
        uint8_t *lut = random_lut(columns, full, random);
        for (size_t t = 0; t < 2; t++) {
            tasks[t][i] = (struct scan_task){
                .lut = lut,
                .line = {.step = 0.01f,
                         .bias = -1.27f * (float)columns,
                         .add = 0.25f,
                         .threshold = 0.5f - (float)i},
                .survivors = exactly(blocks * sizeof(uint32_t)),
                .bounds = exactly(blocks * 32 * sizeof(float)),
            };
        }
        table->scan_sums(bytes + shift, columns, lut, sums[0]);
        kernels_scalar.scan_sums(bytes + shift, columns, lut, sums[1]);
        assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
    }
    for (unsigned masked = 0; masked < 2; masked++) {
        const uint32_t *mask = masked != 0 ? lanes : NULL;
        table->scan_blocks(bytes + shift, blocks, shape, mask, tasks[0], task_count);
        kernels_scalar.scan_blocks(bytes + shift, blocks, shape, mask, tasks[1], task_count);
        for (size_t i = 0; i < task_count; i++) {
            same_scan(&tasks[0][i], &tasks[1][i], blocks);
            for (size_t block = 0; masked != 0 && block < blocks; block++) {
                assert_int_equal(tasks[0][i].survivors[block] & ~lanes[block], 0);
            }
        }
    }
    for (size_t i = 0; i < 2 * task_count; i++) {
        struct scan_task *task = &tasks[i % 2][i / 2];
        if (i % 2 == 0) {
            free((void *)(uintptr_t)task->lut);
        }
        free(task->survivors);
        free(task->bounds);
    }
    free(bytes);
    free(lanes);
}

static void scan(void **state)
{
    (void)state;
    struct random random = {6};
    for (size_t blocks = 1; blocks <= 130; blocks++) {
        check_scan(blocks, 1 + blocks % 40, false, &random);
    }
    for (size_t columns = 1; columns <= 130; columns++) {
        check_scan(1 + columns % 3, columns, columns % 5 == 0, &random);
    }
    const size_t many[] = {255, 256, 257, 384, 511, 512, 513, 514, 1025, 16383, 16384};
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        check_scan(2, many[i], true, &random);
        check_scan(2, many[i], false, &random);
    }
}

/* Blocks of lane-16 codes: 1 to KERNEL_TASKS_MAX queries, masks, odd addresses, hostile factors;
 * full: the largest sums there are. */
static void check_lanes(size_t blocks, size_t dims, unsigned bits, bool full, struct random *random)
{
    const size_t columns = bits == 4 ? (dims + 7) / 8 * 8 : (dims + 3) / 4 * 8;
    const size_t shift = (blocks + dims) % 16, task_count = 1 + (blocks + dims) % KERNEL_TASKS_MAX;
    const struct block_shape shape = {columns, columns * 16 + 384};
    uint8_t *bytes = random_blocks(blocks, shape, shift, random);
    uint32_t *lanes = exactly(blocks * sizeof *lanes);
    struct scan_task tasks[2][KERNEL_TASKS_MAX];
    for (size_t i = 0; i < blocks; i++) {
        uint8_t *block = bytes + shift + i * shape.block_bytes;
        lanes[i] = i % 3 == 1 ? 0 : (uint32_t)splitmix64(&random->state);
        for (size_t lane = 0; lane < 32; lane++) {
            const float norm = (float)fabs(random_normal(random));
            memcpy(block + columns * 16 + 256 + lane * 4, &norm, sizeof norm);
        }
        memset(block, 255, full ? columns * 16 : 0); /* level 104, or k of -1 */
        memset(block, 128, full && bits == 8 ? columns * 16 : 0);
    }
    const size_t query_bytes = round_to_pad(dims) * (bits / 4);
    const int most = bits == 4 ? 127 : (int)fmin(32767.0, (double)(INT32_MAX / 255 / (int)dims));
    for (size_t i = 0; i < task_count; i++) {
        uint8_t *query = exactly(query_bytes);
        for (size_t j = 0; j < round_to_pad(dims); j++) {
            const double share = full ? 1.0 : random_uniform(random) * 2.0 - 1.0;
            const int16_t value = (int16_t)(j < dims ? share * most : 0.0);
            memcpy(query + j * (bits / 4), &value,
                   bits / 4); /* little-endian: int8 is its low byte */
        }
        for (size_t t = 0; t < 2; t++) {
            tasks[t][i] = (struct scan_task){
                .lut = query,
                .line = {.step = 0.001f,
                         .add = 0.25f,
                         .threshold = 0.5f - (float)i,
                         .of_error = 0.5f,
                         .of_norm = 0.125f},
                .survivors = exactly(blocks * sizeof(uint32_t)),
                .bounds = exactly(blocks * 32 * sizeof(float)),
            };
        }
    }
    for (unsigned masked = 0; masked < 2; masked++) {
        const uint32_t *mask = masked != 0 ? lanes : NULL;
        for (size_t t = 0; t < 2; t++) {
            const struct kernels *kernels = t == 0 ? table : &kernels_scalar;
            (bits == 4 ? kernels->scan_lanes_4 : kernels->scan_lanes_8)(
                bytes + shift, blocks, shape, mask, tasks[t], task_count);
        }
        for (size_t i = 0; i < task_count; i++) {
            same_scan(&tasks[0][i], &tasks[1][i], blocks);
        }
    }
    for (size_t i = 0; i < task_count; i++) {
        free((void *)(uintptr_t)tasks[0][i].lut);
        for (size_t t = 0; t < 2; t++) {
            free(tasks[t][i].survivors);
            free(tasks[t][i].bounds);
        }
    }
    free(bytes);
    free(lanes);
}

static void lane_codes(void **state)
{
    (void)state;
    struct random random = {12};
    for (unsigned bits = 4; bits <= 8; bits += 4) {
        for (size_t blocks = 1; blocks <= 130; blocks++) {
            check_lanes(blocks, 1 + blocks % 40, bits, false, &random);
        }
        for (size_t dims = 1; dims <= 130; dims++) {
            check_lanes(1 + dims % 3, dims, bits, dims % 5 == 0, &random);
        }
        const size_t many[] = {255, 256, 257, 768, 1000, 1536, 65536};
        for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
            check_lanes(2, many[i], bits, false, &random);
            check_lanes(2, many[i], bits, true, &random);
        }
    }
}

/* An upper bound of every root, and close. */
static void roots(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint32_t bits = 0x3fa5a500u | byte;
        float f_mul;
        memcpy(&f_mul, &bits, sizeof f_mul);
        const double root = sqrt(codebook_error_of(4, (uint8_t)byte));
        const double found = (double)kernel_root_of(f_mul);
        assert_true(found >= root * (1.0 - 1e-7) && found <= root * 1.062);
    }
}

static void check_rows(size_t code_bytes, struct random *random)
{
    const size_t shift = code_bytes % 7;
    uint8_t *code = random_bytes(shift + code_bytes, random);
    const size_t padded = round_to_pad(code_bytes);
    uint8_t *low = random_bytes(padded, random), *high = random_bytes(padded, random);
    for (size_t i = 0; i < padded; i++) {
        low[i] = i >= code_bytes ? 0 : low[i] == 128 ? 127 : low[i];
        high[i] = i >= code_bytes ? 0 : high[i] == 128 ? 127 : high[i];
    }
    const struct row_sums a =
        table->row_sums(code + shift, code_bytes, (int8_t *)low, (int8_t *)high);
    const struct row_sums b =
        kernels_scalar.row_sums(code + shift, code_bytes, (int8_t *)low, (int8_t *)high);
    assert_int_equal(a.dot, b.dot);
    assert_int_equal(a.square, b.square);
    memset(code, 0xff, shift + code_bytes); /* the largest sums */
    memset(low, 127, code_bytes);
    memset(high, 127, code_bytes);
    assert_int_equal(table->row_sums(code + shift, code_bytes, (int8_t *)low, (int8_t *)high).dot,
                     (int32_t)code_bytes * 2 * 104 * 127);
    free(code);
    free(low);
    free(high);
}

/* 1 to 9 rows at once, each at its own alignment: the sums of each alone. */
static void check_many_rows(size_t code_bytes, struct random *random)
{
    const size_t padded = round_to_pad(code_bytes), count = 1 + code_bytes % 9;
    uint8_t *codes[9], *low = random_bytes(padded, random), *high = random_bytes(padded, random);
    const uint8_t *at[9];
    for (size_t i = 0; i < padded; i++) {
        low[i] = i >= code_bytes ? 0 : low[i] == 128 ? 127 : low[i];
        high[i] = i >= code_bytes ? 0 : high[i] == 128 ? 127 : high[i];
    }
    for (size_t i = 0; i < count; i++) {
        codes[i] = random_bytes(code_bytes + i, random);
        at[i] = codes[i] + i;
    }
    struct row_sums sums[9];
    table->rows_sums(at, count, code_bytes, (int8_t *)low, (int8_t *)high, sums);
    for (size_t i = 0; i < count; i++) {
        const struct row_sums alone =
            kernels_scalar.row_sums(at[i], code_bytes, (int8_t *)low, (int8_t *)high);
        assert_memory_equal(&sums[i], &alone, sizeof alone);
        free(codes[i]);
    }
    free(low);
    free(high);
}

static void rows(void **state)
{
    (void)state;
    struct random random = {7};
    for (size_t i = 0; length_at(i) != 0 && length_at(i) <= 32768; i++) {
        check_rows(length_at(i), &random);
        check_many_rows(length_at(i), &random);
    }
    check_rows(32768, &random);
}

static void check_grid(size_t n, struct random *random)
{
    const size_t shift = n % 5, padded = round_to_pad(n);
    float *x = random_floats(n, random);
    int8_t *a = exactly(n), *b = exactly(n);
    table->grid_levels(x, n, 50.0f, a);
    kernels_scalar.grid_levels(x, n, 50.0f, b);
    assert_memory_equal(a, b, n);
    uint8_t *code = random_bytes(shift + n, random);
    int16_t *query = exactly(padded * sizeof *query);
    const int most = (int)(INT32_MAX / 255 / n) < 32767 ? (int)(INT32_MAX / 255 / n) : 32767;
    for (size_t j = 0; j < padded; j++) {
        query[j] = (int16_t)(j >= n ? 0 : (random_uniform(random) * 2.0 - 1.0) * most);
    }
    struct row_sums sums = table->row_sums_8(code + shift, n, query);
    const struct row_sums expected = kernels_scalar.row_sums_8(code + shift, n, query);
    assert_int_equal(sums.dot, expected.dot);
    assert_int_equal(sums.square, expected.square);
    memset(code, 127, shift + n); /* the largest sums */
    for (size_t j = 0; j < n; j++) {
        query[j] = (int16_t)most;
    }
    sums = table->row_sums_8(code + shift, n, query);
    assert_int_equal(sums.dot, 255 * most * (int)n);
    assert_int_equal(sums.square, (uint32_t)(65025 * n));
    free(x);
    free(a);
    free(b);
    free(code);
    free(query);
}

static void grid(void **state)
{
    (void)state;
    struct random random = {9};
    for (size_t i = 0; length_at(i) != 0; i++) {
        check_grid(length_at(i), &random);
    }
    const float odd[5] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f};
    int8_t k[5];
    table->grid_levels(odd, 5, 1.0f, k);
    const int8_t expected[5] = {-128, 127, -128, 127, -128};
    assert_memory_equal(k, expected, sizeof k);
}

/* Lookup tables and integers of queries. */
static void check_query(size_t n, struct random *random)
{
    const size_t padded = round_to_pad(n);
    float *x = exactly(padded * sizeof *x);
    for (size_t j = 0; j < padded; j++) {
        x[j] = j < n && j % 7 != 3 ? (float)random_normal(random) : j % 2 != 0 ? -0.0f : 0.0f;
    }
    const float most = table->largest(x, n);
    assert_true(most == kernels_scalar.largest(x, n));
    for (unsigned bits = 1; bits <= 2; bits++) {
        const size_t columns = (n + 4 / bits - 1) / (4 / bits);
        const float widest = table->widest_column(x, n, bits);
        assert_true(widest == kernels_scalar.widest_column(x, n, bits));
        uint8_t *a = exactly(columns * 16), *b = exactly(columns * 16);
        const float per_step = widest > 0.0f ? 300.0f / widest : 0.0f; /* some above 255 */
        table->fill_lut(x, columns, bits, per_step, a);
        kernels_scalar.fill_lut(x, columns, bits, per_step, b);
        assert_memory_equal(a, b, columns * 16);
        free(a);
        free(b);
    }
    int8_t *a = exactly(n), *b = exactly(n);
    const float step = most / 127.0f, per_step = most > 0.0f ? 127.0f / most : 0.0f;
    same_bits(table->quantise(x, n, per_step, step, a),
              kernels_scalar.quantise(x, n, per_step, step, b));
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    free(x);
}

static void queries(void **state)
{
    (void)state;
    struct random random = {10};
    for (size_t i = 0; length_at(i) != 0; i++) {
        check_query(length_at(i), &random);
    }
}

static void int8_rows(void **state)
{
    (void)state;
    struct random random = {11};
    for (size_t blocks = 1; blocks <= 130; blocks++) {
        const size_t bytes = blocks * KERNEL_PAD, count = 1 + blocks % 5, shift = blocks % 7;
        const size_t stride = bytes + 16 * (blocks % 3);
        uint8_t *rows = random_bytes(shift + count * stride, &random);
        uint8_t *query = random_bytes(bytes, &random);
        for (size_t i = 0; i < shift + count * stride; i++) {
            rows[i] = blocks % 10 == 0 ? 127 : rows[i] == 128 ? 129 : rows[i];
        }
        for (size_t i = 0; i < bytes; i++) {
            query[i] = blocks % 10 == 0 ? 127 : query[i] == 128 ? 129 : query[i];
        }
        int32_t a[5], b[5];
        table->int8_dots((int8_t *)query, rows + shift, count, bytes, stride, a);
        kernels_scalar.int8_dots((int8_t *)query, rows + shift, count, bytes, stride, b);
        assert_memory_equal(a, b, count * sizeof *a);
        free(rows);
        free(query);
    }
}

/* The order of a sum is what kernels.h says: a plain transcription gives the same bits. */
static void reference_order(void **state)
{
    (void)state;
    struct random random = {8};
    const size_t n = 777;
    float *x = random_floats(n, &random), *y = random_floats(n, &random);
    double lanes[16] = {0.0};
    for (size_t begin = 0; begin < n; begin += 256) {
        for (size_t l = 0; l < 16; l++) {
            float sum = 0.0f;
            for (size_t j = begin + l; j < n && j < begin + 256; j += 16) {
                sum += x[j] * y[j];
            }
            lanes[l] += (double)sum;
        }
    }
    for (size_t half = 8; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            lanes[l] += lanes[l + half];
        }
    }
    same_bits(table->dot(x, (const uint8_t *)y, n), lanes[0]);
    free(x);
    free(y);
}

static void choice(void **state)
{
    (void)state;
    assert_ptr_equal(kernels_by_name("scalar"), &kernels_scalar);
    assert_null(kernels_by_name("abacus"));
    setenv("KITH_KERNELS", "scalar", 1);
    assert_ptr_equal(kernels_best(), &kernels_scalar);
    setenv("KITH_KERNELS", "abacus", 1);
    const struct kernels *best = kernels_best();
    unsetenv("KITH_KERNELS");
    assert_ptr_equal(kernels_best(), best);
    assert_true(best->supported());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),
        cmocka_unit_test(signs),
        cmocka_unit_test(hadamard),
        cmocka_unit_test(ranks),
        cmocka_unit_test(magnitudes_saturate),
        cmocka_unit_test(scan),
        cmocka_unit_test(lane_codes),
        cmocka_unit_test(roots),
        cmocka_unit_test(rows),
        cmocka_unit_test(grid),
        cmocka_unit_test(queries),
        cmocka_unit_test(int8_rows),
        cmocka_unit_test(halves),
        cmocka_unit_test(reference_order),
        cmocka_unit_test(choice),
    };
    int failed = 0;
    for (size_t i = 0; kernels_at(i) != NULL; i++) {
        table = kernels_at(i);
        if (!table->supported()) {
            print_message("SKIPPED: kernels %s: this CPU lacks the instructions\n", table->name);
            continue;
        }
        print_message("kernels %s\n", table->name);
        failed += cmocka_run_group_tests_name(table->name, tests, NULL, NULL);
    }
    return failed;
}
