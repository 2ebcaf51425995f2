/* The body of a bulk upload as plain bytes: taken from the connection, unpacked, put together.
 *
 * What is not consumed yet lies in one piece in data[begin, end). Memory: that piece (whoever reads
 * bounds it by refusing longer records), one chunk as it was taken, and while unpacking one step
 * more. One thread at a time. */
#ifndef KITH_SERVER_BULK_INPUT_H
#define KITH_SERVER_BULK_INPUT_H

#include "server/http.h"
#include "server/unpack.h"

enum bulk_input_state {
    BULK_INPUT_MORE,      /* there are more bytes than before */
    BULK_INPUT_WAIT,      /* none now; stream() will tell */
    BULK_INPUT_END,       /* all of the body is there */
    BULK_INPUT_CUT,       /* the rest will not come: too slow, malformed, or the peer is gone */
    BULK_INPUT_BROKEN,    /* packed data that is damaged or cut */
    BULK_INPUT_TOO_LARGE, /* packed data that swells too much */
};

struct bulk_input {
    struct http_request *request;
    enum packing packing;
    struct unpack unpack; /* open when packed */
    uint8_t *chunk;       /* as taken, malloc'd; only while packed */
    size_t chunk_bytes, chunk_next;
    bool taken_all;
    uint64_t bytes_taken; /* as sent, for the answer */
    uint8_t *data;
    size_t begin, end, capacity;
};

void bulk_input_begin(struct bulk_input *input, struct http_request *request, enum packing packing);
void bulk_input_release(struct bulk_input *input);
/* Get some more bytes, up to about a MiB. */
enum bulk_input_state bulk_input_more(struct bulk_input *input);

static inline struct span bulk_input_span(const struct bulk_input *input)
{
    return span_of(input->data + input->begin, input->end - input->begin);
}
static inline void bulk_input_use(struct bulk_input *input, size_t bytes)
{
    input->begin += bytes;
}

#endif
