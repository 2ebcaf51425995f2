/* gzip bodies, unpacked as they stream.
 *
 * Two caps hold at every step: a total of unpacked bytes, and a ratio of 100 to what came in (after
 * the first MiB, so that a small body of zeros is no bomb). Members behind each other are one body,
 * as gzip(1) reads them. The output buffer is the caller's, so memory is what the caller says. */
#ifndef KITH_SERVER_INFLATE_H
#define KITH_SERVER_INFLATE_H

#include <zlib.h>

#include "index/arena.h"

#define INFLATE_RATIO_MAX 100u
#define INFLATE_RATIO_FREE_BYTES (1u << 20) /* unpacked bytes before the ratio counts */

enum inflate_state {
    INFLATE_MORE,      /* all input is used: feed more, or ask inflate_complete at the end */
    INFLATE_FULL,      /* the output is full: call again with room */
    INFLATE_BROKEN,    /* no gzip, or damaged; final */
    INFLATE_TOO_LARGE, /* a cap is passed; final */
};

struct inflate {
    z_stream stream;
    uint64_t bytes_in, bytes_out, bytes_max;
    bool between;             /* no member is open: at the beginning, or after one ended */
    enum inflate_state final; /* INFLATE_MORE until broken or too large */
};

/* bytes_max: cap of unpacked bytes, UINT64_MAX for none. Release in every case. */
void inflate_begin(struct inflate *inflate, uint64_t bytes_max);
void inflate_release(struct inflate *inflate);

/* Unpack from in[in_bytes] into out[capacity] (> 0). *used and *made: bytes taken and written,
 * valid with every state: what was unpacked before a fault is good. One thread at a time. */
enum inflate_state inflate_step(struct inflate *inflate, const uint8_t *in, size_t in_bytes,
                                size_t *used, uint8_t *out, size_t capacity, size_t *made);

/* At the end of the body: was the last member whole, its checksum included? An empty body is not.
 */
bool inflate_complete(const struct inflate *inflate);

#endif
