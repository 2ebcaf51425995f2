/* Packed request bodies, unpacked as they stream: gzip and zstd.
 *
 * Two caps hold at every step: a total of unpacked bytes, and a ratio of 100 to what came in (after
 * the first MiB, so that a small body of zeros is no bomb). Members (zstd: frames) behind each
 * other are one body, as gzip(1) and zstd(1) read them. The output buffer is the caller's; a
 * decoder holds 32 KiB of window for gzip and at most UNPACK_WINDOW_LOG_MAX for zstd, as RFC
 * 8878 3.1.1.1.2 has it: a frame that asks for more is refused. */
#ifndef KITH_SERVER_UNPACK_H
#define KITH_SERVER_UNPACK_H

#include <zlib.h>
#include <zstd.h>

#include "index/arena.h"

#define UNPACK_RATIO_MAX 100u
#define UNPACK_RATIO_FREE_BYTES (1u << 20) /* unpacked bytes before the ratio counts */
#define UNPACK_WINDOW_LOG_MAX 23           /* 8 MiB */

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };
/* What a Content-Encoding says, in any case; empty and identity are none. false: another. */
bool packing_parse(struct span encoding, enum packing *packing);
const char *packing_name(enum packing packing);
/* For the Accept-Encoding header and the text of a 415. */
#define PACKINGS_TEXT "gzip, zstd"

enum unpack_state {
    UNPACK_MORE,      /* all input is used: feed more, or ask unpack_complete at the end */
    UNPACK_FULL,      /* there is more output or input: call again with room */
    UNPACK_BROKEN,    /* not of this packing, damaged, or a window too large; final */
    UNPACK_TOO_LARGE, /* a cap is passed; final */
};

struct unpack {
    enum packing packing; /* not none */
    z_stream gzip;
    ZSTD_DStream *zstd;
    uint64_t bytes_in, bytes_out, bytes_max;
    bool between;            /* no member is open: at the beginning, or after one ended */
    enum unpack_state final; /* UNPACK_MORE until broken or too large */
};

/* bytes_max: cap of unpacked bytes, UINT64_MAX for none. Release in every case. */
void unpack_begin(struct unpack *unpack, enum packing packing, uint64_t bytes_max);
void unpack_release(struct unpack *unpack);

/* Unpack from in[in_bytes] into out[capacity] (> 0). *used and *made: bytes taken and written,
 * valid with every state: what was unpacked before a fault is good. One thread at a time. */
enum unpack_state unpack_step(struct unpack *unpack, const uint8_t *in, size_t in_bytes,
                              size_t *used, uint8_t *out, size_t capacity, size_t *made);

/* At the end of the body: was the last member whole, its checksum included? An empty body is not.
 */
bool unpack_complete(const struct unpack *unpack);

#endif
