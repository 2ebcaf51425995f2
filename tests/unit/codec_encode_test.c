/* Codes: golden values, unbiased scales, formulas of every metric, blocks, odd vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <stdlib.h>

#include "codec/codec_internal.h"
#include "tests/unit/codec_inputs.h"

/* What a test holds for one codec. */
struct bench {
    struct codec *codec;
    uint32_t dim;
    float *x, *rotated, *centre;
    uint8_t *code;
    void *work;
};

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(memory);
    return memory;
}

static struct bench bench_new(uint32_t dim, uint64_t seed, const struct kernels *kernels)
{
    struct bench bench = {.codec = codec_new(dim, seed, kernels), .dim = dim};
    bench.x = aligned(dim * sizeof(float));
    bench.rotated = aligned(dim * sizeof(float));
    bench.centre = aligned(dim * sizeof(float));
    bench.code = aligned(codec_code_bytes(bench.codec, CODE_8) + 8);
    bench.work = aligned(codec_work_bytes(bench.codec));
    return bench;
}

static void bench_free(struct bench *bench)
{
    codec_free(bench->codec);
    free(bench->x);
    free(bench->rotated);
    free(bench->centre);
    free(bench->code);
    free(bench->work);
}

/* Level of dim j, read from a code by the layouts of codec.h, not by the codec's own functions. */
static int level_at(const uint8_t *code, unsigned bits, uint32_t dim, uint32_t j)
{
    const int levels_2[4] = {-60, -18, 18, 60};
    switch (bits) {
    case 1:
        return (code[j / 8] >> (j % 8) & 1) != 0 ? 1 : -1;
    case 2:
        return levels_2[code[j / 4] >> (2 * (j % 4)) & 3];
    case 8:
        return 2 * (int8_t)code[j] + 1;
    default:
        break;
    }
    const uint32_t group = j / 64, left = dim - group * 64;
    const uint32_t half = left < 64 ? (left + 1) / 2 : 32;
    const uint8_t byte = code[group * 32 + j % 64 % half];
    return codebook_levels_4[j % 64 < half ? byte & 15 : byte >> 4];
}

static void ramp(struct bench *bench)
{
    for (uint32_t j = 0; j < bench->dim; j++) {
        bench->x[j] = (float)((double)(j + 1) / (double)bench->dim);
    }
    codec_rotate(bench->codec, bench->x, bench->rotated, bench->work);
}

/* Exact Lloyd-Max levels, b = 4, nearest without a search: index and scale of codec.md 1.9. */
static const double lloyd_max_4[8] = {0.128395030, 0.388048299, 0.656759119, 0.942340456,
                                      1.256231197, 1.618046386, 2.069017227, 2.732589571};

static unsigned nearest_index(double z)
{
    unsigned rank = 0;
    while (rank < 7 && fabs(z) > (lloyd_max_4[rank] + lloyd_max_4[rank + 1]) / 2) {
        rank++;
    }
    return z < 0 ? 7 - rank : 8 + rank;
}

static void check_golden(uint32_t dim, double s4, double s1, const unsigned *indices)
{
    struct bench bench = bench_new(dim, 1, NULL);
    ramp(&bench);
    double square = 0.0, product = 0.0;
    for (uint32_t j = 0; j < dim; j++) {
        square += (double)bench.rotated[j] * (double)bench.rotated[j];
    }
    const double to_normal = sqrt((double)dim / square);
    for (uint32_t j = 0; j < dim; j++) {
        const double y = (double)bench.rotated[j];
        const unsigned index = nearest_index(y * to_normal);
        product += y * (index < 8 ? -lloyd_max_4[7 - index] : lloyd_max_4[index - 8]);
        if (indices != NULL && j < 16) {
            assert_int_equal(index, indices[j]);
        }
    }
    assert_true(fabs(square / product - s4) <= 1e-5);
    struct code_factors factors;
    codec_encode(bench.codec, 1, METRIC_DOT, bench.rotated, NULL, bench.code, &factors, bench.work);
    assert_true(fabs((double)factors.f_mul / CODEBOOK_UNIT_1 - s1) <= 1.6e-5);
    /* ours: integer levels, and the best of five scales, hence near but not equal */
    codec_encode(bench.codec, 4, METRIC_DOT, bench.rotated, NULL, bench.code, &factors, bench.work);
    const double ours = (double)factors.f_mul / CODEBOOK_UNIT_4;
    assert_true(ours > s4 * 0.85 && ours < s4 * 1.15);
    bench_free(&bench);
}

static void golden(void **state)
{
    (void)state;
    const unsigned indices[16] = {14, 0, 11, 1, 9, 11, 9, 11, 10, 7, 7, 10, 2, 9, 11, 2};
    check_golden(100, .598506589, .904455333, indices);
    check_golden(128, .589983181, .922660363, NULL);
    check_golden(768, .583859080, .910961509, NULL);
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    }
    return hash;
}

/* Codes and factors of every input, with and without a centre, under every metric. */
static uint64_t hash_codes(uint32_t dim, const struct kernels *kernels)
{
    struct bench bench = bench_new(dim, 11, kernels);
    struct random random = {dim};
    uint64_t hash = 0xcbf29ce484222325u;
    input_fill(INPUT_RAMP, bench.x, dim, &random);
    codec_rotate(bench.codec, bench.x, bench.centre, bench.work);
    for (unsigned input = INPUT_ONE_HOT_HEAD; input <= INPUT_ALTERNATING; input++) {
        input_fill((enum input)input, bench.x, dim, &random);
        codec_rotate(bench.codec, bench.x, bench.rotated, bench.work);
        hash = hash_bytes(hash, bench.rotated, dim * sizeof(float));
        for (unsigned variant = 0; variant < 8; variant++) {
            const unsigned bits = variant % 2 != 0 ? 1 : 4;
            struct code_factors factors;
            codec_encode(bench.codec, bits, variant & 2 ? METRIC_EUCLID : METRIC_DOT, bench.rotated,
                         variant & 4 ? bench.centre : NULL, bench.code, &factors, bench.work);
            hash = hash_bytes(hash, bench.code, codec_code_bytes(bench.codec, bits));
            hash = hash_bytes(hash, &factors, sizeof factors);
        }
    }
    bench_free(&bench);
    return hash;
}

/* The same at 1.5, 2 and 8 bits. */
static uint64_t hash_more_codes(uint32_t dim, const struct kernels *kernels)
{
    struct bench bench = bench_new(dim, 11, kernels);
    codec_free(bench.codec);
    bench.codec = codec_new_bits(dim, 11, CODE_1_5, CODE_8, kernels);
    free(bench.work);
    bench.work = aligned(codec_work_bytes(bench.codec));
    struct random random = {dim};
    uint64_t hash = 0xcbf29ce484222325u;
    input_fill(INPUT_RAMP, bench.x, dim, &random);
    codec_rotate(bench.codec, bench.x, bench.centre, bench.work);
    for (unsigned input = INPUT_ONE_HOT_HEAD; input <= INPUT_ALTERNATING; input++) {
        const unsigned bits[3] = {CODE_1_5, CODE_2, CODE_8};
        input_fill((enum input)input, bench.x, dim, &random);
        codec_rotate(bench.codec, bench.x, bench.rotated, bench.work);
        for (unsigned variant = 0; variant < 12; variant++) {
            struct code_factors factors;
            codec_encode(bench.codec, bits[variant % 3],
                         variant / 3 % 2 != 0 ? METRIC_EUCLID : METRIC_DOT, bench.rotated,
                         variant / 6 != 0 ? bench.centre : NULL, bench.code, &factors, bench.work);
            hash = hash_bytes(hash, bench.code, codec_code_bytes(bench.codec, bits[variant % 3]));
            hash = hash_bytes(hash, &factors, sizeof factors);
        }
    }
    bench_free(&bench);
    return hash;
}

/* Bytes that may never change: codes on disk are compared with re-encoding. No libm in the inputs
 * used, so the hashes hold on every CPU, compiler and C library. */
static void golden_bytes(void **state)
{
    (void)state;
    static const struct {
        uint32_t dim;
        uint64_t hash, more;
    } expected[] = {
        {1, 0xb8ef5acd9892062fu, 0xbd2ecea8893b5a2eu},
        {2, 0xffa78be4489ae2ecu, 0x3c80bd6180ea4bb7u},
        {3, 0xb09faa6dfee40a36u, 0xc3c28de3d6e0b1fau},
        {7, 0x6fa370dbb8bc5db2u, 0xee1646970923b02bu},
        {31, 0xe55068eae6e7020cu, 0xf2d4fb7a512db139u},
        {64, 0x4221b54151e38a4eu, 0x8bf42f551bce6f73u},
        {100, 0x913d1a3a3f020c39u, 0xbfdf9160fa9d2eadu},
        {768, 0x27b0fdd9c1b27745u, 0x1deb1979c5bbbc89u},
        {1000, 0x72556d02a163e013u, 0xf236437ec10c6687u},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        for (size_t t = 0; kernels_at(t) != NULL; t++) {
            if (kernels_at(t)->supported()) {
                const uint64_t hash = hash_codes(expected[i].dim, kernels_at(t));
                const uint64_t more = hash_more_codes(expected[i].dim, kernels_at(t));
                if (more != expected[i].more) {
                    fail_msg("%s, %u dims: hash of 1.5, 2 and 8 bits %#llx", kernels_at(t)->name,
                             expected[i].dim, (unsigned long long)more);
                }
                if (hash != expected[i].hash) {
                    fail_msg("%s, %u dims: hash %#llx", kernels_at(t)->name, expected[i].dim,
                             (unsigned long long)hash);
                }
            }
        }
    }
}

/* <x^ - m, r> = |r|^2: what makes the estimate unbiased. */
static void check_unbiased(struct bench *bench, unsigned bits, const float *centre)
{
    struct code_factors factors;
    codec_encode(bench->codec, bits, METRIC_DOT, bench->rotated, centre, bench->code, &factors,
                 bench->work);
    double product = 0.0, square = 0.0;
    for (uint32_t j = 0; j < bench->dim; j++) {
        const double r = (double)(bench->rotated[j] - (centre != NULL ? centre[j] : 0.0f));
        product += r * level_at(bench->code, bits, bench->dim, j);
        square += r * r;
    }
    assert_true(fabs((double)factors.f_mul * product / square - 1.0) <= 2e-5);
}

static const uint32_t dims[] = {1, 2, 3, 7, 31, 32, 63, 64, 65, 100, 127, 200, 768, 1000};
#define DIMS (sizeof dims / sizeof *dims)

static void unbiased(void **state)
{
    (void)state;
    for (size_t i = 0; i < DIMS; i++) {
        struct bench bench = bench_new(dims[i], 3 + i, NULL);
        struct random random = {i};
        for (unsigned input = 0; input < INPUT_COUNT; input++) {
            input_fill(INPUT_GAUSSIAN, bench.x, dims[i], &random);
            codec_rotate(bench.codec, bench.x, bench.centre, bench.work);
            input_fill((enum input)input, bench.x, dims[i], &random);
            codec_rotate(bench.codec, bench.x, bench.rotated, bench.work);
            for (unsigned bits = 1; bits <= 8; bits *= 2) {
                check_unbiased(&bench, bits, NULL);
                check_unbiased(&bench, bits, bench.centre);
            }
        }
        bench_free(&bench);
    }
}

/* C6: the stored factors give what a decoded x^ = m + S R'L gives in double. */
static void check_formula(struct bench *bench, enum metric metric, unsigned bits,
                          const float *centre, const float *query)
{
    struct code_factors dot, factors;
    codec_encode(bench->codec, bits, METRIC_DOT, bench->rotated, centre, bench->code, &dot,
                 bench->work);
    codec_encode(bench->codec, bits, metric, bench->rotated, centre, bench->code, &factors,
                 bench->work);
    const double scale = (double)dot.f_mul;
    double ip = 0.0, add = 0.0, expected = 0.0, q2 = 0.0, x2 = 0.0, across = 0.0, r2 = 0.0,
           m2 = 0.0;
    for (uint32_t j = 0; j < bench->dim; j++) {
        const double q = (double)query[j], m = centre != NULL ? (double)centre[j] : 0.0;
        const double level = level_at(bench->code, bits, bench->dim, j);
        const double r = (double)bench->rotated[j] - m;
        ip += q * level;
        add += metric == METRIC_EUCLID ? -(q - m) * (q - m) : q * m;
        across += (q - m) * scale * level;
        expected += metric == METRIC_EUCLID ? 0.0 : m * (q + r);
        r2 += r * r;
        q2 += q * q;
        m2 += m * m;
        x2 += (m + r) * (m + r);
    }
    expected = metric == METRIC_EUCLID ? add - r2 + 2.0 * across : expected + across;
    const double estimate = add + (double)factors.f_add + (double)factors.f_mul * ip;
    const double size = q2 + x2 + m2;
    assert_true(fabs(estimate - expected) <= 1e-6 * size);
}

static void formulas(void **state)
{
    (void)state;
    const enum metric metrics[] = {METRIC_COSINE, METRIC_DOT, METRIC_EUCLID};
    for (size_t i = 0; i < DIMS; i++) {
        struct bench bench = bench_new(dims[i], 3 + i, NULL);
        struct random random = {100 + i};
        float *query = aligned(dims[i] * sizeof *query);
        input_fill(INPUT_GAUSSIAN, bench.x, dims[i], &random);
        codec_rotate(bench.codec, bench.x, bench.centre, bench.work);
        input_fill(INPUT_GAUSSIAN, bench.x, dims[i], &random);
        codec_rotate(bench.codec, bench.x, query, bench.work);
        input_fill(INPUT_GAUSSIAN, bench.x, dims[i], &random);
        codec_normalise(bench.codec, bench.x);
        codec_rotate(bench.codec, bench.x, bench.rotated, bench.work);
        for (size_t m = 0; m < 12; m++) {
            check_formula(&bench, metrics[m % 3], 1u << m / 3, NULL, query);
            check_formula(&bench, metrics[m % 3], 1u << m / 3, bench.centre, query);
        }
        free(query);
        bench_free(&bench);
    }
}

/* The share of outer levels that a block of 2-bit codes keeps. */
static void check_heavy(const uint8_t *block, size_t block_bytes, size_t lane, const uint8_t *code,
                        unsigned bits, uint32_t dim)
{
    if (bits != CODE_2) {
        return;
    }
    uint32_t outer = 0;
    for (uint32_t j = 0; j < dim; j++) {
        outer += abs(level_at(code, 2, dim, j)) == 60;
    }
    assert_int_equal(block[block_bytes - 32 + lane], (outer * 255 + dim / 2) / dim);
}

/* A lane comes back as it went in, and leaves the other lanes alone. */
static void check_block(uint32_t dim, unsigned bits, struct random *random)
{
    struct codec *codec = codec_new_bits(dim, 1, bits, CODE_NONE, NULL);
    const size_t code_bytes = codec_code_bytes(codec, bits);
    const size_t block_bytes = codec_block_bytes(codec);
    const uint32_t spread = dim + (dim + 1) / 2 < 65536 ? dim + (dim + 1) / 2 : 65536;
    const uint32_t bit_count = bits == CODE_2 ? 2 * dim : bits == CODE_1_5 ? spread : dim;
    assert_int_equal(block_bytes, (bit_count + 3) / 4 * 16 + (bits == CODE_2 ? 288 : 256));
    uint8_t *block = calloc(1, block_bytes), *codes = calloc(64, code_bytes);
    uint8_t *read = calloc(1, code_bytes);
    for (size_t i = 0; i < 64; i++) { /* each lane twice, the second time over the first */
        uint8_t *code = codes + i * code_bytes;
        for (uint32_t j = 0; j < bit_count; j++) {
            const unsigned bit = (unsigned)(splitmix64(&random->state) & 1);
            code[j / 8] = (uint8_t)(code[j / 8] | bit << (j % 8));
        }
        codec_block_put(codec, block, i * 7 % 32, code, (struct code_factors){(float)i, -(float)i});
    }
    for (size_t i = 32; i < 64; i++) {
        struct code_factors factors;
        codec_block_get(codec, block, i * 7 % 32, read, &factors);
        assert_memory_equal(read, codes + i * code_bytes, code_bytes);
        assert_true(factors.f_mul == (float)i && factors.f_add == -(float)i);
        check_heavy(block, block_bytes, i * 7 % 32, codes + i * code_bytes, bits, dim);
    }
    free(block);
    free(codes);
    free(read);
    codec_free(codec);
}

/* Lane-16 codes: what codec_encode made comes back, other lanes stay, and the norm is f_mul |L|. */
static void check_lane_block(uint32_t dim, unsigned bits, struct random *random)
{
    struct codec *codec = codec_new_bits(dim, 1, bits, CODE_NONE, NULL);
    const size_t code_bytes = codec_code_bytes(codec, bits);
    const size_t block_bytes = codec_block_bytes(codec);
    const size_t group_dims = bits == CODE_4 ? 8 : 4;
    assert_int_equal(block_bytes, (dim + group_dims - 1) / group_dims * 128 + 384);
    uint8_t *block = calloc(1, block_bytes), *codes = calloc(32, code_bytes);
    uint8_t *read = calloc(1, code_bytes);
    float *x = aligned(dim * sizeof *x);
    void *work = aligned(codec_work_bytes(codec));
    struct code_factors factors[32], found;
    for (size_t i = 0; i < 64; i++) { /* each lane twice, the second time over the first */
        const unsigned lane = (unsigned)(i * 7 % 32);
        input_fill(i == 40 ? INPUT_CONSTANT : INPUT_GAUSSIAN, x, dim, random);
        memset(x, 0, i == 41 ? dim * sizeof *x : 0); /* a code of zeros */
        codec_encode(codec, bits, METRIC_DOT, x, NULL, codes + lane * code_bytes, &factors[lane],
                     work);
        codec_block_put(codec, block, lane, codes + lane * code_bytes, factors[lane]);
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        double square = 0.0;
        for (uint32_t j = 0; j < dim; j++) {
            const double level = level_at(codes + lane * code_bytes, bits, dim, j);
            square += level * level;
        }
        codec_block_get(codec, block, lane, read, &found);
        assert_memory_equal(read, codes + lane * code_bytes, code_bytes);
        assert_memory_equal(&found, &factors[lane], sizeof found);
        float norm;
        memcpy(&norm, block + block_bytes - 128 + 4 * lane, sizeof norm);
        assert_true(norm == (float)((double)found.f_mul * sqrt(square)));
    }
    free(block);
    free(codes);
    free(read);
    free(x);
    free(work);
    codec_free(codec);
}

static void blocks(void **state)
{
    (void)state;
    struct random random = {1};
    for (uint32_t dim = 1; dim <= 200; dim++) {
        check_block(dim, CODE_1, &random);
        check_block(dim, CODE_1_5, &random);
        check_block(dim, CODE_2, &random);
        check_lane_block(dim, CODE_4, &random);
        check_lane_block(dim, CODE_8, &random);
    }
    check_block(65536, CODE_1, &random);
    check_block(65536, CODE_1_5, &random);
    check_block(65536, CODE_2, &random);
}

/* ---- nested codes ---- */

static double squared_error(const struct bench *bench, unsigned bits, const uint8_t *code)
{
    double product = 0.0, square = 0.0, own = 0.0;
    for (uint32_t j = 0; j < bench->dim; j++) {
        const double r = (double)bench->rotated[j], level = level_at(code, bits, bench->dim, j);
        product += r * level;
        square += level * level;
        own += r * r;
    }
    return square * own / (product * product) - 1.0;
}

/* The code of `fewer` bits that a code of `more` holds. */
static void narrow(struct bench *bench, unsigned more, const uint8_t *code, unsigned fewer,
                   uint8_t *coarse)
{
    struct code_factors ignored;
    float *levels = aligned(bench->dim * sizeof *levels);
    codec_levels(bench->codec, more, code, levels);
    for (uint32_t j = 0; j < bench->dim; j++) {
        assert_true((int)levels[j] == level_at(code, more, bench->dim, j));
    }
    codec_encode(bench->codec, fewer, METRIC_DOT, levels, NULL, coarse, &ignored, bench->work);
    free(levels);
}

/* codec_factors agrees with codec_encode, and makes what is narrowed unbiased. */
static void check_factors(struct bench *bench, unsigned bits, const float *centre,
                          const uint8_t *code)
{
    struct code_factors factors, of_code;
    double product = 0.0, square = 0.0;
    codec_encode(bench->codec, bits, METRIC_EUCLID, bench->rotated, centre, bench->code, &factors,
                 bench->work);
    codec_factors(bench->codec, bits, METRIC_EUCLID, bench->rotated, centre, bench->code, &of_code,
                  bench->work);
    assert_memory_equal(&of_code, &factors, sizeof factors);
    codec_factors(bench->codec, bits, METRIC_DOT, bench->rotated, NULL, code, &of_code,
                  bench->work);
    for (uint32_t j = 0; j < bench->dim; j++) {
        product += (double)bench->rotated[j] * level_at(code, bits, bench->dim, j);
        square += (double)bench->rotated[j] * (double)bench->rotated[j];
    }
    assert_true(fabs((double)of_code.f_mul * product / square - 1.0) <= 2e-5);
}

/* errors: sums over vectors of the vector's own codes and of narrowed ones. */
static void check_nested(struct bench *bench, unsigned more, unsigned fewer, double errors[2])
{
    const size_t bytes = codec_code_bytes(bench->codec, fewer);
    uint8_t *own = aligned(bench->dim + 8u), *code = aligned(bench->dim + 8u);
    uint8_t *coarse = aligned(bench->dim + 8u);
    struct code_factors factors;
    codec_encode(bench->codec, more, METRIC_DOT, bench->rotated, NULL, code, &factors, bench->work);
    codec_encode(bench->codec, fewer, METRIC_DOT, bench->rotated, NULL, own, &factors, bench->work);
    narrow(bench, more, code, fewer, coarse);
    if (fewer == CODE_1) {
        assert_memory_equal(coarse, own, bytes);
    }
    if (more == CODE_4 && fewer == CODE_2) { /* leading bits: one cut, at index 11, 12 or 13 */
        int inner = 0, outer = 105;
        for (uint32_t j = 0; j < bench->dim; j++) {
            const int level = abs(level_at(code, CODE_4, bench->dim, j));
            const bool is_outer = abs(level_at(coarse, CODE_2, bench->dim, j)) == 60;
            inner = !is_outer && level > inner ? level : inner;
            outer = is_outer && level < outer ? level : outer;
        }
        assert_true(inner < outer && inner >= 25 && inner <= 48);
    }
    check_factors(bench, fewer, bench->centre, coarse);
    errors[0] += squared_error(bench, fewer, own);
    errors[1] += squared_error(bench, fewer, coarse);
    free(own);
    free(code);
    free(coarse);
}

static void nested(void **state)
{
    (void)state;
    static const struct {
        unsigned more, fewer;
        double most; /* of the error, over the vector's own code */
    } pairs[] = {{CODE_2, CODE_1, 1.0 + 1e-9}, {CODE_4, CODE_1, 1.0 + 1e-9},
                 {CODE_8, CODE_1, 1.0 + 1e-9}, {CODE_4, CODE_2, 1.035},
                 {CODE_8, CODE_2, 1.005},      {CODE_8, CODE_4, 1.01}};
    const uint32_t all[] = {64, 100, 201, 768};
    for (size_t i = 0; i < 4; i++) {
        struct bench bench = bench_new(all[i], 3 + i, NULL);
        struct random random = {all[i]};
        for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
            double errors[2] = {0.0, 0.0};
            for (int draw = 0; draw < 200; draw++) {
                input_fill(INPUT_GAUSSIAN, bench.x, all[i], &random);
                codec_rotate(bench.codec, bench.x, bench.rotated, bench.work);
                input_fill(INPUT_GAUSSIAN, bench.centre, all[i], &random);
                check_nested(&bench, pairs[p].more, pairs[p].fewer, errors);
            }
            print_message("%4u dims, %u of %u bits: %.5f of the error of its own code\n", all[i],
                          pairs[p].fewer, pairs[p].more, errors[1] / errors[0]);
            assert_true(errors[1] <= errors[0] * pairs[p].most);
        }
        bench_free(&bench);
    }
}

static struct code_factors encode_of(struct bench *bench, unsigned bits, enum metric metric,
                                     const float *centre)
{
    struct code_factors factors;
    codec_rotate(bench->codec, bench->x, bench->rotated, bench->work);
    codec_encode(bench->codec, bits, metric, bench->rotated, centre, bench->code, &factors,
                 bench->work);
    return factors;
}

static void odd_vectors(void **state)
{
    (void)state;
    struct bench bench = bench_new(100, 5, NULL);
    for (unsigned bits = 1; bits <= 8; bits *= 2) {
        memset(bench.x, 0, 100 * sizeof(float));
        struct code_factors factors = encode_of(&bench, bits, METRIC_DOT, NULL);
        assert_true(factors.f_mul == 0.0f && factors.f_add == 0.0f);
        factors = encode_of(&bench, bits, METRIC_EUCLID, NULL);
        assert_true(factors.f_mul == 0.0f && factors.f_add == 0.0f);
        ramp(&bench); /* equal to its centre */
        memcpy(bench.centre, bench.rotated, 100 * sizeof(float));
        factors = encode_of(&bench, bits, METRIC_EUCLID, bench.centre);
        assert_true(factors.f_mul == 0.0f && factors.f_add == 0.0f);
        const float extremes[] = {3e38f, 1e25f, 1e-20f, 1e-40f, INFINITY};
        for (size_t i = 0; i < 5; i++) { /* beyond what float sums can tell: always a candidate */
            for (uint32_t j = 0; j < 100; j++) {
                bench.x[j] = j % 3 == 0 ? extremes[i] : -extremes[i];
            }
            factors = encode_of(&bench, bits, METRIC_EUCLID, NULL);
            assert_true(factors.f_mul == 0.0f && factors.f_add == INFINITY);
        }
        for (uint32_t j = 0; j < 100; j++) {
            bench.x[j] = 1e15f * (j % 7 == 0 ? 1.0f : -1.0f);
        }
        factors = encode_of(&bench, bits, METRIC_EUCLID, NULL);
        assert_true(factors.f_mul > 0.0f && isfinite(factors.f_add));
    }
    memset(bench.x, 0, 100 * sizeof(float)); /* Cosine counts on |x| = 1, zero has none */
    assert_true(encode_of(&bench, 4, METRIC_COSINE, bench.centre).f_add == INFINITY);
    bench_free(&bench);
}

static void normalise(void **state)
{
    (void)state;
    struct codec *codec = codec_new(3, 1, NULL);
    float plain[3] = {3.0f, 0.0f, 4.0f}, large[3] = {3e30f, 0.0f, 4e30f};
    float small[3] = {1e-6f, 0.0f, 0.0f}, unit[3] = {0.6f, 0.0f, 0.80000007f};
    codec_normalise(codec, plain);
    assert_true(plain[0] == 0.6f && plain[2] == 0.8f);
    codec_normalise(codec, large);
    assert_true(fabsf(large[0] - 0.6f) <= 1e-7f && fabsf(large[2] - 0.8f) <= 1e-7f);
    codec_normalise(codec, small);
    assert_true(small[0] == 1e-6f);
    codec_normalise(codec, unit);
    assert_true(unit[2] == 0.80000007f);
    codec_free(codec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),    cmocka_unit_test(golden_bytes), cmocka_unit_test(unbiased),
        cmocka_unit_test(formulas),  cmocka_unit_test(blocks),       cmocka_unit_test(odd_vectors),
        cmocka_unit_test(normalise), cmocka_unit_test(nested),
    };
    return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
