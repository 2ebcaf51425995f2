/* zlib's inflate in its gzip mode, one call a step, with the caps around it.
 *
 * The caps are looked at after each call, so what was made may pass them by one step's capacity:
 * the caller's buffer, not memory of ours. zlib takes input only as output asks for it, so the
 * ratio is that of what was really unpacked. */
#include "server/inflate.h"

#include <stdio.h>
#include <stdlib.h>

#define WINDOW_GZIP (MAX_WBITS + 16) /* gzip wrapper only, neither zlib's nor raw deflate */
#define CALL_BYTES_MAX (1u << 24)    /* of either side in one call: fits zlib's uInt */

void inflate_begin(struct inflate *inflate, uint64_t bytes_max)
{
    *inflate = (struct inflate){.bytes_max = bytes_max, .between = true, .final = INFLATE_MORE};
    if (inflateInit2(&inflate->stream, WINDOW_GZIP) != Z_OK) {
        fputs("kith: out of memory for inflate\n", stderr);
        abort();
    }
}

void inflate_release(struct inflate *inflate)
{
    inflateEnd(&inflate->stream);
}

static size_t at_most(size_t bytes, size_t limit)
{
    return bytes < limit ? bytes : limit;
}

/* zlib's result of one call on at most CALL_BYTES_MAX of each side. */
static int unpack(z_stream *stream, const uint8_t *in, size_t in_bytes, size_t *used, uint8_t *out,
                  size_t capacity, size_t *made)
{
    in_bytes = at_most(in_bytes, CALL_BYTES_MAX);
    capacity = at_most(capacity, CALL_BYTES_MAX);
    /* next_in is not const without ZLIB_CONST; zlib only reads it. */
    memcpy(&stream->next_in, &in, sizeof in);
    stream->avail_in = (uInt)in_bytes;
    stream->next_out = out;
    stream->avail_out = (uInt)capacity;
    int result = inflate(stream, Z_NO_FLUSH);
    *used = in_bytes - stream->avail_in;
    *made = capacity - stream->avail_out;
    return result;
}

static bool caps_hold(const struct inflate *inflate)
{
    uint64_t by_ratio = inflate->bytes_in * INFLATE_RATIO_MAX;
    if (by_ratio < INFLATE_RATIO_FREE_BYTES)
        by_ratio = INFLATE_RATIO_FREE_BYTES;
    return inflate->bytes_out <= by_ratio && inflate->bytes_out <= inflate->bytes_max;
}

/* What a call's result means; Z_BUF_ERROR is zlib's word for "nothing to do with this". */
static enum inflate_state judge(struct inflate *inflate, int result, size_t used, size_t in_bytes)
{
    if (result == Z_STREAM_END)
        inflate->between = true;
    else if (result != Z_OK && result != Z_BUF_ERROR)
        return inflate->final = INFLATE_BROKEN;
    if (!caps_hold(inflate))
        return inflate->final = INFLATE_TOO_LARGE;
    if (used < in_bytes || (inflate->stream.avail_out == 0 && !inflate->between))
        return INFLATE_FULL;
    return INFLATE_MORE;
}

enum inflate_state inflate_step(struct inflate *inflate, const uint8_t *in, size_t in_bytes,
                                size_t *used, uint8_t *out, size_t capacity, size_t *made)
{
    *used = *made = 0;
    if (inflate->final != INFLATE_MORE || (inflate->between && in_bytes == 0))
        return inflate->final;
    if (inflate->between && inflateReset(&inflate->stream) != Z_OK)
        return inflate->final = INFLATE_BROKEN;
    inflate->between = false;
    int result = unpack(&inflate->stream, in, in_bytes, used, out, capacity, made);
    inflate->bytes_in += *used;
    inflate->bytes_out += *made;
    return judge(inflate, result, *used, in_bytes);
}

bool inflate_complete(const struct inflate *inflate)
{
    return inflate->final == INFLATE_MORE && inflate->between && inflate->bytes_in > 0;
}
