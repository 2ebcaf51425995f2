/* The request gate: what llhttp's strict build would still let pass, refused before routing.
 *
 * A line scanner that sees every header block before the parser does (a folded value cannot be told
 * from a split buffer in its callbacks). The table of requests it answers for is tests/requests/. */
#ifndef KITH_SERVER_GATE_H
#define KITH_SERVER_GATE_H

#include "storage/base.h"

struct gate_limits {
    size_t request_line_bytes, header_bytes, header_count;
};

struct gate { /* one a connection, zeroed per request by gate_reset */
    const struct gate_limits *limits;
    size_t line_bytes, total_bytes, count;
    uint32_t state;
    uint8_t last;
};
void gate_reset(struct gate *gate, const struct gate_limits *limits);

/* Feed bytes of the request line and headers. *used: how many belong to the block (up to and with
 * the empty line, then *done). Returns 0, or the status to refuse with (400, 414, 431, 505) and a
 * static *why. */
int gate_feed(struct gate *gate, const char *data, size_t bytes, size_t *used, bool *done,
              const char **why);

#endif
