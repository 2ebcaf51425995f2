/* The request gate: what llhttp's strict build would still let pass, refused before routing.
 *
 * A line scanner that sees every header block before the parser does (a folded value cannot be told
 * from a split buffer in its callbacks). It judges the grammar of lines and their sizes; what
 * headers mean together (Host, Transfer-Encoding, Content-Length) is judged in http_parse.c. The
 * table of requests both answer for is tests/requests/. */
#ifndef KITH_SERVER_GATE_H
#define KITH_SERVER_GATE_H

#include "index/arena.h"

struct gate_limits {
    size_t request_line_bytes, header_bytes, header_count;
};

struct gate { /* one a request, begun by gate_reset */
    const struct gate_limits *limits;
    size_t line_bytes;  /* of the request line so far, with blank lines before it */
    size_t total_bytes; /* of the header lines so far */
    uint32_t count;     /* header lines begun */
    uint8_t state;      /* enum gate_state */
    uint8_t at;         /* bytes of the version seen */
    char version[2];    /* its two digits */
};

/* Begin a request. limits must outlive the gate. */
void gate_reset(struct gate *gate, const struct gate_limits *limits);

/* Feed bytes of the request line and headers, split anywhere.
 *
 * data, bytes  what came; only read, nothing of it is kept
 * used         out: how many belong to the block (up to and with the empty line, then *done)
 * why          out, on refusal: a static text for the client
 *
 * Returns 0, or the status to refuse with: 400, 414, 431, 505. Not to be fed again after a refusal
 * or *done before gate_reset. Cannot fail otherwise. Any thread, one at a time. */
int gate_feed(struct gate *gate, const char *data, size_t bytes, size_t *used, bool *done,
              const char **why);

#endif
