/* A state machine over single bytes: the same answer wherever a buffer was split.
 *
 * Stricter than RFC 9112 asks, since every leniency here has been somebody's request smuggling: CR
 * and LF only together, no folding, no blanks around a name, no control bytes in values. The one
 * courtesy is blank lines before the request line, which old clients send after a body. */
#include "server/gate.h"

enum gate_state {
    GATE_START,    /* before the request line */
    GATE_START_LF, /* after the CR of a blank line there */
    GATE_METHOD,   /* in the method, at least one byte seen */
    GATE_TARGET,   /* after its space */
    GATE_TARGET_REST,
    GATE_VERSION,    /* after the target's space */
    GATE_LINE_LF,    /* after the request line's CR */
    GATE_LINE_BEGIN, /* at the first byte of a header line */
    GATE_NAME,
    GATE_VALUE,
    GATE_VALUE_LF, /* after a header line's CR */
    GATE_END_LF,   /* after the CR of the empty line */
    GATE_DONE
};

/* Bytes of a method or a header name (RFC 9110 5.6.2, token). */
static bool is_token(unsigned char c)
{
    static const uint32_t set[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
    return (set[c >> 5] >> (c & 31)) & 1;
}

/* Bytes of a header value: visible, blank, tab, or beyond ASCII. */
static bool is_value(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

void gate_reset(struct gate *gate, const struct gate_limits *limits)
{
    memset(gate, 0, sizeof *gate);
    gate->limits = limits;
}

static int refuse(const char **why, int status, const char *text)
{
    *why = text;
    return status;
}

/* "HTTP/d.d" and nothing else, then CR. Another version than 1.0 or 1.1 is told from garbage. */
static int feed_version(struct gate *gate, unsigned char c, const char **why)
{
    static const char shape[] = "HTTP/d.d\r";
    char expected = shape[gate->at];
    if (expected == 'd') {
        if (c < '0' || c > '9')
            return refuse(why, 400, "malformed HTTP version");
        gate->version[gate->at == 7] = (char)c;
    } else if (c != (unsigned char)expected) {
        return refuse(why, 400, "malformed HTTP version");
    }
    gate->at++;
    if (c != '\r')
        return 0;
    if (gate->version[0] != '1' || gate->version[1] > '1')
        return refuse(why, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    gate->state = GATE_LINE_LF;
    return 0;
}

static int feed_target(struct gate *gate, unsigned char c, const char **why)
{
    if (c == ' ' && gate->state == GATE_TARGET_REST) {
        gate->state = GATE_VERSION;
        return 0;
    }
    if (c == '\r' || c == '\n')
        return refuse(why, 505, "a request line without a version (HTTP/0.9)");
    if (c <= ' ' || c >= 0x7f)
        return refuse(why, 400, "a byte in the request line that must be percent-encoded");
    gate->state = GATE_TARGET_REST;
    return 0;
}

/* The request line and blank lines before it. */
static int feed_request_line(struct gate *gate, unsigned char c, const char **why)
{
    if (++gate->line_bytes > gate->limits->request_line_bytes)
        return refuse(why, 414, "the request line is longer than http.request_line_bytes_max");
    switch (gate->state) {
    case GATE_START:
        if (c == '\r')
            gate->state = GATE_START_LF;
        else if (is_token(c))
            gate->state = GATE_METHOD;
        else
            return refuse(why, 400, "malformed method");
        return 0;
    case GATE_START_LF:
        gate->state = GATE_START;
        return c == '\n' ? 0 : refuse(why, 400, "carriage return without line feed");
    case GATE_METHOD:
        if (c == ' ')
            gate->state = GATE_TARGET;
        else if (!is_token(c))
            return refuse(why, 400, "malformed method");
        return 0;
    case GATE_TARGET:
    case GATE_TARGET_REST:
        return feed_target(gate, c, why);
    case GATE_VERSION:
        return feed_version(gate, c, why);
    case GATE_LINE_LF:
    default:
        gate->state = GATE_LINE_BEGIN;
        return c == '\n' ? 0 : refuse(why, 400, "carriage return without line feed");
    }
}

static int begin_header(struct gate *gate, unsigned char c, const char **why)
{
    if (c == '\r') {
        gate->state = GATE_END_LF;
        return 0;
    }
    if (c == ' ' || c == '\t')
        return refuse(why, 400, "a header line that begins with a blank (folding)");
    if (c == ':')
        return refuse(why, 400, "empty header name");
    if (!is_token(c))
        return refuse(why, 400, "malformed header name");
    if (++gate->count > gate->limits->header_count)
        return refuse(why, 431, "more headers than http.header_count_max");
    gate->state = GATE_NAME;
    return 0;
}

static int feed_header(struct gate *gate, unsigned char c, const char **why)
{
    if (++gate->total_bytes > gate->limits->header_bytes)
        return refuse(why, 431, "the headers are longer than http.header_bytes_max");
    switch (gate->state) {
    case GATE_LINE_BEGIN:
        return begin_header(gate, c, why);
    case GATE_NAME:
        if (c == ':')
            gate->state = GATE_VALUE;
        else if (!is_token(c))
            return refuse(why, 400, "malformed header name");
        return 0;
    case GATE_VALUE:
        if (c == '\r')
            gate->state = GATE_VALUE_LF;
        else if (!is_value(c))
            return refuse(why, 400, "a control byte in a header value");
        return 0;
    case GATE_VALUE_LF:
        gate->state = GATE_LINE_BEGIN;
        break;
    case GATE_END_LF:
    default:
        gate->state = GATE_DONE;
        break;
    }
    return c == '\n' ? 0 : refuse(why, 400, "carriage return without line feed");
}

int gate_feed(struct gate *gate, const char *data, size_t bytes, size_t *used, bool *done,
              const char **why)
{
    size_t at = 0;
    int status = 0;
    while (at < bytes && status == 0 && gate->state != GATE_DONE) {
        unsigned char c = (unsigned char)data[at++];
        if (gate->state < GATE_LINE_BEGIN)
            status = feed_request_line(gate, c, why);
        else
            status = feed_header(gate, c, why);
    }
    *used = at;
    *done = gate->state == GATE_DONE && status == 0;
    return status;
}
