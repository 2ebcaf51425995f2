/* Every file of this folder and what must come of it. Included where a table is wanted.
 *
 * file; what the gate alone answers (0: passed); what the whole parser answers (0: it takes all
 * there is); how many requests it completes before that. With request_limits. */
#ifndef KITH_TESTS_REQUESTS_ROWS_H
#define KITH_TESTS_REQUESTS_ROWS_H

#include "server/gate.h"

/* Small, so that the files for "too long" are small too. */
static const struct gate_limits request_limits = {
    .request_line_bytes = 512, .header_bytes = 2048, .header_count = 16};

struct request_row {
    const char *file;
    int gate, status, requests;
};

static const struct request_row request_rows[] = {
    /* taken */
    {"get", 0, 0, 1},
    {"get-1.0", 0, 0, 1},
    {"get-absolute", 0, 0, 1},
    {"get-slashes", 0, 0, 1},
    {"options-star", 0, 0, 1},
    {"post-length", 0, 0, 1},
    {"post-chunked", 0, 0, 1},
    {"post-chunked-tab", 0, 0, 1},
    {"trailer-api-key", 0, 0, 1},
    {"blank-lines-first", 0, 0, 1},
    {"pipelined", 0, 0, 4},
    {"upgrade", 0, 0, 2},
    {"upgrade-body", 0, 0, 2},
    {"after-close", 0, 0, 1},
    {"value-latin1", 0, 0, 1},
    {"host-in-body", 0, 0, 2},
    /* lengths and codings */
    {"length-and-chunked", 0, 400, 0},
    {"chunked-and-length", 0, 400, 0},
    {"length-twice", 0, 400, 0},
    {"length-twice-same", 0, 400, 0},
    {"length-plus", 0, 400, 0},
    {"length-minus", 0, 400, 0},
    {"length-overflow", 0, 400, 0},
    {"length-hex", 0, 400, 0},
    {"length-list", 0, 400, 0},
    {"length-blank-inside", 0, 400, 0},
    {"length-empty", 0, 400, 0},
    {"coding-xchunked", 0, 501, 0},
    {"coding-gzip-chunked", 0, 501, 0},
    {"coding-chunked-gzip", 0, 501, 0},
    {"coding-identity", 0, 501, 0},
    {"coding-quoted", 0, 501, 0},
    {"coding-twice", 0, 400, 0},
    {"coding-1.0", 0, 400, 0},
    {"coding-vertical-tab", 400, 400, 0},
    {"coding-name-blank", 400, 400, 0},
    /* line ends, folding, names, control bytes */
    {"bare-lf", 400, 400, 0},
    {"bare-lf-header", 400, 400, 0},
    {"bare-lf-end", 400, 400, 0},
    {"bare-cr-value", 400, 400, 0},
    {"bare-cr-line", 400, 400, 0},
    {"bare-cr-end", 400, 400, 0},
    {"nul-value", 400, 400, 0},
    {"nul-target", 400, 400, 0},
    {"folded", 400, 400, 0},
    {"folded-tab", 400, 400, 0},
    {"folded-first", 400, 400, 0},
    {"name-empty", 400, 400, 0},
    {"name-blank", 400, 400, 0},
    {"name-bracket", 400, 400, 0},
    {"name-only", 400, 400, 0},
    /* headers that must, or must not, be there once */
    {"host-missing", 0, 400, 0},
    {"host-twice", 0, 400, 0},
    {"api-key-twice", 0, 400, 0},
    /* the request line */
    {"version-0.9", 505, 505, 0},
    {"version-0.9-bare-lf", 505, 505, 0},
    {"version-0.9-body", 505, 505, 0},
    {"version-1.2", 505, 505, 0},
    {"version-9.9", 505, 505, 0},
    {"version-2-preface", 505, 505, 0},
    {"version-long", 400, 400, 0},
    {"version-letter", 400, 400, 0},
    {"version-lower", 400, 400, 0},
    {"line-two-blanks", 400, 400, 0},
    {"line-trailing-blank", 400, 400, 0},
    {"connect", 0, 501, 0},
    {"method-unknown", 0, 501, 0},
    {"method-lower", 0, 501, 0},
    {"tls-hello", 400, 400, 0},
    /* sizes */
    {"line-long", 414, 414, 0},
    {"header-long", 431, 431, 0},
    {"headers-many", 431, 431, 0},
    {"trailers-long", 0, 431, 0},
    /* chunks */
    {"chunk-extension-lf", 0, 400, 0},
    {"chunk-no-crlf", 0, 400, 0},
    {"chunk-bare-lf", 0, 400, 0},
    {"chunk-size-overflow", 0, 400, 0},
    {"chunk-size-0x", 0, 400, 0},
    {"chunk-size-minus", 0, 400, 0},
    {"chunk-size-empty", 0, 400, 0},
    /* targets */
    {"target-no-slash", 0, 400, 0},
    {"target-raw-utf8", 400, 400, 0},
    {"target-fragment", 0, 400, 0},
    {"path-slash", 0, 400, 0},
    {"path-nul", 0, 400, 0},
    {"path-utf8-bad", 0, 400, 0},
    {"path-utf8-overlong", 0, 400, 0},
    {"path-percent", 0, 400, 0},
};
#define REQUEST_ROWS (sizeof request_rows / sizeof request_rows[0])

#endif
