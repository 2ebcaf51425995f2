/* gzip in pieces of every size, and all the ways it can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/inflate.h"

/* gzip of data[bytes]: malloc'd. */
static uint8_t *gzip(const void *data, size_t bytes, size_t *packed_bytes)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    size_t capacity = deflateBound(&stream, bytes) + 32;
    uint8_t *out = malloc(capacity);
    assert_non_null(out);
    memcpy(&stream.next_in, &data, sizeof data);
    stream.avail_in = (uInt)bytes;
    stream.next_out = out;
    stream.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    *packed_bytes = capacity - stream.avail_out;
    deflateEnd(&stream);
    return out;
}

struct unpacked {
    uint8_t data[1 << 16];
    size_t bytes;
    enum inflate_state state;
    bool complete;
};

/* Feed in pieces of in_step, into windows of out_step, until all is used or it is final. */
static void unpack(const uint8_t *in, size_t in_bytes, size_t in_step, size_t out_step,
                   uint64_t bytes_max, struct unpacked *out)
{
    struct inflate inflate;
    inflate_begin(&inflate, bytes_max);
    out->bytes = 0;
    out->state = INFLATE_MORE;
    for (size_t at = 0; at < in_bytes || out->state == INFLATE_FULL;) {
        size_t piece = in_bytes - at < in_step ? in_bytes - at : in_step;
        size_t used, made;
        assert_true(out->bytes + out_step <= sizeof out->data);
        out->state =
            inflate_step(&inflate, in + at, piece, &used, out->data + out->bytes, out_step, &made);
        assert_true(used <= piece && made <= out_step);
        at += used;
        out->bytes += made;
        if (out->state == INFLATE_BROKEN || out->state == INFLATE_TOO_LARGE)
            break;
    }
    out->complete = inflate_complete(&inflate);
    inflate_release(&inflate);
}

static struct unpacked result; /* too large for a stack */

static void fill(uint8_t *data, size_t bytes)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 29); /* three bits a byte: it does compress */
    }
}

static void test_every_piece_size(void **state)
{
    (void)state;
    uint8_t data[3000];
    size_t bytes;
    fill(data, sizeof data);
    uint8_t *packed = gzip(data, sizeof data, &bytes);
    const size_t steps[] = {1, 2, 3, 7, 64, 1000, 4096};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            unpack(packed, bytes, steps[i], steps[j], UINT64_MAX, &result);
            assert_int_equal(result.state, INFLATE_MORE);
            assert_true(result.complete);
            assert_int_equal(result.bytes, sizeof data);
            assert_memory_equal(result.data, data, sizeof data);
        }
    }
    free(packed);
}

static void test_members_behind_each_other(void **state)
{
    (void)state;
    size_t a_bytes, b_bytes;
    uint8_t *a = gzip("one,", 4, &a_bytes), *b = gzip("two", 3, &b_bytes);
    uint8_t both[200];
    memcpy(both, a, a_bytes);
    memcpy(both + a_bytes, b, b_bytes);
    for (size_t step = 1; step <= a_bytes + b_bytes; step++) {
        unpack(both, a_bytes + b_bytes, step, 16, UINT64_MAX, &result);
        assert_true(result.complete);
        assert_int_equal(result.bytes, 7);
        assert_memory_equal(result.data, "one,two", 7);
    }
    unpack(both, a_bytes + 5, 200, 16, UINT64_MAX, &result);
    assert_false(result.complete); /* the second is cut */
    assert_int_equal(result.bytes, 4);
    free(a);
    free(b);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    uint8_t data[500];
    size_t bytes;
    fill(data, sizeof data);
    uint8_t *packed = gzip(data, sizeof data, &bytes);
    for (size_t cut = 0; cut < bytes; cut++) {
        unpack(packed, cut, 64, 64, UINT64_MAX, &result);
        assert_false(result.complete);
        assert_memory_equal(result.data, data, result.bytes);
    }
    free(packed);
}

/* A flipped bit is found by the header, the decoder or the checksum; a few header bits (time,
 * system, level) say nothing about the data. */
static void test_damaged_anywhere(void **state)
{
    (void)state;
    uint8_t data[500];
    size_t bytes;
    fill(data, sizeof data);
    uint8_t *packed = gzip(data, sizeof data, &bytes);
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        if (bit >= 32 && bit < 80)
            continue;
        packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        unpack(packed, bytes, 4096, 4096, UINT64_MAX, &result);
        assert_false(result.complete && result.bytes == sizeof data &&
                     memcmp(result.data, data, sizeof data) != 0);
        assert_true(!result.complete || memcmp(result.data, data, sizeof data) == 0);
        packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    packed[bytes - 6] ^= 1; /* its CRC-32 */
    unpack(packed, bytes, 4096, 4096, UINT64_MAX, &result);
    assert_int_equal(result.state, INFLATE_BROKEN);
    free(packed);
}

static void test_no_gzip(void **state)
{
    (void)state;
    unpack((const uint8_t *)"{\"id\":1}", 8, 8, 64, UINT64_MAX, &result);
    assert_int_equal(result.state, INFLATE_BROKEN);
    /* bytes behind the last member that are none */
    size_t bytes;
    uint8_t *packed = gzip("x", 1, &bytes);
    uint8_t longer[100];
    memcpy(longer, packed, bytes);
    memcpy(longer + bytes, "garbage", 7);
    unpack(longer, bytes + 7, 100, 64, UINT64_MAX, &result);
    assert_int_equal(result.state, INFLATE_BROKEN);
    assert_false(result.complete);
    unpack(NULL, 0, 1, 64, UINT64_MAX, &result);
    assert_false(result.complete);
    free(packed);
}

static void test_broken_stays_broken(void **state)
{
    (void)state;
    struct inflate inflate;
    uint8_t out[8];
    size_t used, made, bytes;
    inflate_begin(&inflate, UINT64_MAX);
    assert_int_equal(inflate_step(&inflate, (const uint8_t *)"no", 2, &used, out, 8, &made),
                     INFLATE_BROKEN);
    uint8_t *packed = gzip("x", 1, &bytes);
    assert_int_equal(inflate_step(&inflate, packed, bytes, &used, out, 8, &made), INFLATE_BROKEN);
    assert_int_equal(used + made, 0);
    free(packed);
    inflate_release(&inflate);
}

/* 64 MiB of zeros in 64 KB: stopped a step behind the ratio, having made a few MiB. */
static void test_bomb(void **state)
{
    (void)state;
    size_t zero_bytes = (size_t)64 << 20, packed_bytes, at = 0;
    uint8_t *zeros = calloc(1, zero_bytes);
    assert_non_null(zeros);
    uint8_t *packed = gzip(zeros, zero_bytes, &packed_bytes);
    struct inflate inflate;
    enum inflate_state verdict = INFLATE_MORE;
    inflate_begin(&inflate, UINT64_MAX);
    while (at < packed_bytes && (verdict == INFLATE_MORE || verdict == INFLATE_FULL)) {
        size_t used, made;
        verdict = inflate_step(&inflate, packed + at, packed_bytes - at, &used, zeros,
                               sizeof result.data, &made);
        at += used;
    }
    assert_int_equal(verdict, INFLATE_TOO_LARGE);
    assert_true(inflate.bytes_out <= INFLATE_RATIO_FREE_BYTES + sizeof result.data);
    assert_false(inflate_complete(&inflate));
    inflate_release(&inflate);
    free(packed);
    free(zeros);
}

static void test_small_zeros_are_no_bomb(void **state)
{
    (void)state;
    static uint8_t zeros[50000];
    size_t bytes;
    uint8_t *packed = gzip(zeros, sizeof zeros, &bytes);
    assert_true(bytes * INFLATE_RATIO_MAX < sizeof zeros);
    unpack(packed, bytes, 4096, 4096, UINT64_MAX, &result);
    assert_true(result.complete);
    assert_int_equal(result.bytes, sizeof zeros);
    free(packed);
}

static void test_total_cap(void **state)
{
    (void)state;
    uint8_t data[3000];
    size_t bytes;
    fill(data, sizeof data);
    uint8_t *packed = gzip(data, sizeof data, &bytes);
    unpack(packed, bytes, 4096, 100, 3000, &result);
    assert_true(result.complete);
    unpack(packed, bytes, 4096, 100, 2999, &result);
    assert_int_equal(result.state, INFLATE_TOO_LARGE);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_piece_size),
        cmocka_unit_test(test_members_behind_each_other),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_damaged_anywhere),
        cmocka_unit_test(test_no_gzip),
        cmocka_unit_test(test_broken_stays_broken),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_small_zeros_are_no_bomb),
        cmocka_unit_test(test_total_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
