/* gzip and zstd in pieces of every size, and all the ways they can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/unpack.h"

static enum packing packing; /* of the test at hand */

static uint8_t *zstd(const void *data, size_t bytes, int window_log, size_t *packed_bytes)
{
    size_t capacity = ZSTD_compressBound(bytes);
    uint8_t *out = malloc(capacity);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    assert_non_null(out);
    assert_non_null(context);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    if (window_log > 0) {
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
        ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
        /* as a stream, so that the window is not cut to the data */
        ZSTD_inBuffer in = {data, bytes, 0};
        ZSTD_outBuffer to = {out, capacity, 0};
        assert_int_equal(ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue) > 1000000000, 0);
        assert_int_equal(ZSTD_compressStream2(context, &to, &in, ZSTD_e_end), 0);
        *packed_bytes = to.pos;
    } else {
        *packed_bytes = ZSTD_compress2(context, out, capacity, data, bytes);
        assert_false(ZSTD_isError(*packed_bytes));
    }
    ZSTD_freeCCtx(context);
    return out;
}

/* data[bytes], packed: malloc'd. */
static uint8_t *pack(const void *data, size_t bytes, size_t *packed_bytes)
{
    if (packing == PACKING_ZSTD)
        return zstd(data, bytes, 0, packed_bytes);
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
    enum unpack_state state;
    bool complete;
};

/* Feed in pieces of in_step, into windows of out_step, until all is used or it is final. */
static void unpack_all(const uint8_t *in, size_t in_bytes, size_t in_step, size_t out_step,
                       uint64_t bytes_max, struct unpacked *out)
{
    struct unpack decoder;
    unpack_begin(&decoder, packing, bytes_max);
    out->bytes = 0;
    out->state = UNPACK_MORE;
    for (size_t at = 0; at < in_bytes || out->state == UNPACK_FULL;) {
        size_t piece = in_bytes - at < in_step ? in_bytes - at : in_step;
        size_t used, made;
        assert_true(out->bytes + out_step <= sizeof out->data);
        out->state =
            unpack_step(&decoder, in + at, piece, &used, out->data + out->bytes, out_step, &made);
        assert_true(used <= piece && made <= out_step);
        at += used;
        out->bytes += made;
        if (out->state == UNPACK_BROKEN || out->state == UNPACK_TOO_LARGE)
            break;
    }
    out->complete = unpack_complete(&decoder);
    unpack_release(&decoder);
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
    uint8_t *packed = pack(data, sizeof data, &bytes);
    const size_t steps[] = {1, 2, 3, 7, 64, 1000, 4096};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            unpack_all(packed, bytes, steps[i], steps[j], UINT64_MAX, &result);
            assert_int_equal(result.state, UNPACK_MORE);
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
    uint8_t *a = pack("one,", 4, &a_bytes), *b = pack("two", 3, &b_bytes);
    uint8_t both[200];
    memcpy(both, a, a_bytes);
    memcpy(both + a_bytes, b, b_bytes);
    for (size_t step = 1; step <= a_bytes + b_bytes; step++) {
        unpack_all(both, a_bytes + b_bytes, step, 16, UINT64_MAX, &result);
        assert_true(result.complete);
        assert_int_equal(result.bytes, 7);
        assert_memory_equal(result.data, "one,two", 7);
    }
    unpack_all(both, a_bytes + 5, 200, 16, UINT64_MAX, &result);
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
    uint8_t *packed = pack(data, sizeof data, &bytes);
    for (size_t cut = 0; cut < bytes; cut++) {
        unpack_all(packed, cut, 64, 64, UINT64_MAX, &result);
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
    uint8_t *packed = pack(data, sizeof data, &bytes);
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        if (packing == PACKING_GZIP && bit >= 32 && bit < 80)
            continue;
        packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        unpack_all(packed, bytes, 4096, 4096, UINT64_MAX, &result);
        assert_false(result.complete && result.bytes == sizeof data &&
                     memcmp(result.data, data, sizeof data) != 0);
        assert_true(!result.complete || memcmp(result.data, data, sizeof data) == 0);
        packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    packed[bytes - (packing == PACKING_GZIP ? 6 : 2)] ^= 1; /* its checksum */
    unpack_all(packed, bytes, 4096, 4096, UINT64_MAX, &result);
    assert_int_equal(result.state, UNPACK_BROKEN);
    free(packed);
}

static void test_not_packed(void **state)
{
    (void)state;
    unpack_all((const uint8_t *)"{\"id\":1}", 8, 8, 64, UINT64_MAX, &result);
    assert_int_equal(result.state, UNPACK_BROKEN);
    /* bytes behind the last member that are none */
    size_t bytes;
    uint8_t *packed = pack("x", 1, &bytes);
    uint8_t longer[100];
    memcpy(longer, packed, bytes);
    memcpy(longer + bytes, "garbage", 7);
    unpack_all(longer, bytes + 7, 100, 64, UINT64_MAX, &result);
    assert_int_equal(result.state, UNPACK_BROKEN);
    assert_false(result.complete);
    unpack_all(NULL, 0, 1, 64, UINT64_MAX, &result);
    assert_false(result.complete);
    free(packed);
}

static void test_broken_stays_broken(void **state)
{
    (void)state;
    struct unpack decoder;
    uint8_t out[8];
    size_t used, made, bytes;
    unpack_begin(&decoder, packing, UINT64_MAX);
    assert_int_equal(unpack_step(&decoder, (const uint8_t *)"no", 2, &used, out, 8, &made),
                     UNPACK_BROKEN);
    uint8_t *packed = pack("x", 1, &bytes);
    assert_int_equal(unpack_step(&decoder, packed, bytes, &used, out, 8, &made), UNPACK_BROKEN);
    assert_int_equal(used + made, 0);
    free(packed);
    unpack_release(&decoder);
}

/* 64 MiB of zeros in 64 KB: stopped a step behind the ratio, having made a few MiB. */
static void test_bomb(void **state)
{
    (void)state;
    size_t zero_bytes = (size_t)64 << 20, packed_bytes, at = 0;
    uint8_t *zeros = calloc(1, zero_bytes);
    assert_non_null(zeros);
    uint8_t *packed = pack(zeros, zero_bytes, &packed_bytes);
    struct unpack decoder;
    enum unpack_state verdict = UNPACK_MORE;
    unpack_begin(&decoder, packing, UINT64_MAX);
    while (at < packed_bytes && (verdict == UNPACK_MORE || verdict == UNPACK_FULL)) {
        size_t used, made;
        verdict = unpack_step(&decoder, packed + at, packed_bytes - at, &used, zeros,
                              sizeof result.data, &made);
        at += used;
    }
    assert_int_equal(verdict, UNPACK_TOO_LARGE);
    assert_true(decoder.bytes_out <= UNPACK_RATIO_FREE_BYTES + sizeof result.data);
    assert_false(unpack_complete(&decoder));
    unpack_release(&decoder);
    free(packed);
    free(zeros);
}

static void test_small_zeros_are_no_bomb(void **state)
{
    (void)state;
    static uint8_t zeros[50000];
    size_t bytes;
    uint8_t *packed = pack(zeros, sizeof zeros, &bytes);
    assert_true(bytes * UNPACK_RATIO_MAX < sizeof zeros);
    unpack_all(packed, bytes, 4096, 4096, UINT64_MAX, &result);
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
    uint8_t *packed = pack(data, sizeof data, &bytes);
    unpack_all(packed, bytes, 4096, 100, 3000, &result);
    assert_true(result.complete);
    unpack_all(packed, bytes, 4096, 100, 2999, &result);
    assert_int_equal(result.state, UNPACK_TOO_LARGE);
    free(packed);
}

/* A frame of zstd may ask for any window: one beyond the limit is refused before it is held. */
static void test_zstd_window(void **state)
{
    (void)state;
    static uint8_t data[60000];
    size_t bytes;
    fill(data, sizeof data);
    uint8_t *packed = zstd(data, sizeof data, UNPACK_WINDOW_LOG_MAX, &bytes);
    unpack_all(packed, bytes, 4096, 4096, UINT64_MAX, &result);
    assert_true(result.complete);
    assert_memory_equal(result.data, data, sizeof data);
    free(packed);
    packed = zstd(data, sizeof data, UNPACK_WINDOW_LOG_MAX + 1, &bytes);
    unpack_all(packed, bytes, 4096, 4096, UINT64_MAX, &result);
    assert_int_equal(result.state, UNPACK_BROKEN);
    free(packed);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum packing packing;
    } good[] = {{"", PACKING_NONE},     {"identity", PACKING_NONE}, {"gzip", PACKING_GZIP},
                {"GZip", PACKING_GZIP}, {"x-gzip", PACKING_GZIP},   {"zstd", PACKING_ZSTD}};
    static const char *const bad[] = {"br", "gzi", "gzipx", "deflate", "gzip, zstd", "zstd;q=1"};
    enum packing got;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(packing_parse(span_text(good[i].text), &got));
        assert_int_equal(got, good[i].packing);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(packing_parse(span_text(bad[i]), &got));
}

static int use_gzip(void **state)
{
    (void)state;
    packing = PACKING_GZIP;
    return 0;
}

static int use_zstd(void **state)
{
    (void)state;
    packing = PACKING_ZSTD;
    return 0;
}

#define BOTH(test) cmocka_unit_test_setup(test, use_gzip), cmocka_unit_test_setup(test, use_zstd)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_every_piece_size),
        BOTH(test_members_behind_each_other),
        BOTH(test_cut_anywhere),
        BOTH(test_damaged_anywhere),
        BOTH(test_not_packed),
        BOTH(test_broken_stays_broken),
        BOTH(test_bomb),
        BOTH(test_small_zeros_are_no_bomb),
        BOTH(test_total_cap),
        cmocka_unit_test_setup(test_zstd_window, use_zstd),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
