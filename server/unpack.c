/* zlib's inflate in its gzip mode and zstd's streaming decoder, one call a step, with the caps
 * around them.
 *
 * The caps are looked at after each call, so what was made may pass them by one step's capacity:
 * the caller's buffer, not memory of ours. Both decoders take input only as output asks for it, so
 * the ratio is that of what was really unpacked. */
#include "server/unpack.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define WINDOW_GZIP (MAX_WBITS + 16) /* gzip wrapper only, neither zlib's nor raw deflate */
#define CALL_BYTES_MAX (1u << 24)    /* of either side in one call: fits zlib's uInt */

static bool is_name(struct span encoding, const char *name)
{
    return encoding.bytes == strlen(name) &&
           strncasecmp((const char *)encoding.data, name, encoding.bytes) == 0;
}

bool packing_parse(struct span encoding, enum packing *packing)
{
    *packing = PACKING_NONE;
    if (encoding.bytes == 0 || is_name(encoding, "identity"))
        return true;
    if (is_name(encoding, "gzip") || is_name(encoding, "x-gzip")) /* RFC 9110 8.4.1.3 */
        *packing = PACKING_GZIP;
    else if (is_name(encoding, "zstd"))
        *packing = PACKING_ZSTD;
    return *packing != PACKING_NONE;
}

const char *packing_name(enum packing packing)
{
    static const char *const names[] = {"identity", "gzip", "zstd"};
    return names[packing];
}

static void out_of_memory(void)
{
    fputs("kith: out of memory for unpacking\n", stderr);
    abort();
}

void unpack_begin(struct unpack *unpack, enum packing packing, uint64_t bytes_max)
{
    *unpack = (struct unpack){
        .packing = packing, .bytes_max = bytes_max, .between = true, .final = UNPACK_MORE};
    if (packing == PACKING_GZIP) {
        if (inflateInit2(&unpack->gzip, WINDOW_GZIP) != Z_OK)
            out_of_memory();
        return;
    }
    unpack->zstd = ZSTD_createDStream();
    if (unpack->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(
                                    unpack->zstd, ZSTD_d_windowLogMax, UNPACK_WINDOW_LOG_MAX)))
        out_of_memory();
}

void unpack_release(struct unpack *unpack)
{
    if (unpack->packing == PACKING_GZIP)
        inflateEnd(&unpack->gzip);
    else
        ZSTD_freeDStream(unpack->zstd);
}

static size_t at_most(size_t bytes, size_t limit)
{
    return bytes < limit ? bytes : limit;
}

/* What one call of a decoder came to. */
enum call_result { CALL_GOOD, CALL_MEMBER_END, CALL_BROKEN };

static enum call_result gunzip(struct unpack *unpack, const uint8_t *in, size_t in_bytes,
                               size_t *used, uint8_t *out, size_t capacity, size_t *made)
{
    z_stream *stream = &unpack->gzip;
    if (unpack->between && inflateReset(stream) != Z_OK)
        return CALL_BROKEN;
    /* next_in is not const without ZLIB_CONST; zlib only reads it. */
    memcpy(&stream->next_in, &in, sizeof in);
    stream->avail_in = (uInt)in_bytes;
    stream->next_out = out;
    stream->avail_out = (uInt)capacity;
    int result = inflate(stream, Z_NO_FLUSH);
    *used = in_bytes - stream->avail_in;
    *made = capacity - stream->avail_out;
    if (result == Z_STREAM_END)
        return CALL_MEMBER_END;
    /* Z_BUF_ERROR is zlib's word for "nothing to do with this" */
    return result == Z_OK || result == Z_BUF_ERROR ? CALL_GOOD : CALL_BROKEN;
}

/* zstd begins a frame by itself behind a whole one. */
static enum call_result unzstd(struct unpack *unpack, const uint8_t *in, size_t in_bytes,
                               size_t *used, uint8_t *out, size_t capacity, size_t *made)
{
    ZSTD_inBuffer from = {in, in_bytes, 0};
    ZSTD_outBuffer to = {out, capacity, 0};
    size_t result = ZSTD_decompressStream(unpack->zstd, &to, &from);
    *used = from.pos;
    *made = to.pos;
    if (ZSTD_isError(result))
        return CALL_BROKEN;
    return result == 0 ? CALL_MEMBER_END : CALL_GOOD;
}

static bool caps_hold(const struct unpack *unpack)
{
    uint64_t by_ratio = unpack->bytes_in * UNPACK_RATIO_MAX;
    if (by_ratio < UNPACK_RATIO_FREE_BYTES)
        by_ratio = UNPACK_RATIO_FREE_BYTES;
    return unpack->bytes_out <= by_ratio && unpack->bytes_out <= unpack->bytes_max;
}

enum unpack_state unpack_step(struct unpack *unpack, const uint8_t *in, size_t in_bytes,
                              size_t *used, uint8_t *out, size_t capacity, size_t *made)
{
    *used = *made = 0;
    if (unpack->final != UNPACK_MORE || (unpack->between && in_bytes == 0))
        return unpack->final;
    capacity = at_most(capacity, CALL_BYTES_MAX);
    enum call_result result =
        unpack->packing == PACKING_GZIP
            ? gunzip(unpack, in, at_most(in_bytes, CALL_BYTES_MAX), used, out, capacity, made)
            : unzstd(unpack, in, at_most(in_bytes, CALL_BYTES_MAX), used, out, capacity, made);
    unpack->between = result == CALL_MEMBER_END;
    unpack->bytes_in += *used;
    unpack->bytes_out += *made;
    if (result == CALL_BROKEN)
        return unpack->final = UNPACK_BROKEN;
    if (!caps_hold(unpack))
        return unpack->final = UNPACK_TOO_LARGE;
    bool full = *made == capacity && !unpack->between;
    return *used < in_bytes || full ? UNPACK_FULL : UNPACK_MORE;
}

bool unpack_complete(const struct unpack *unpack)
{
    return unpack->final == UNPACK_MORE && unpack->between && unpack->bytes_in > 0;
}
