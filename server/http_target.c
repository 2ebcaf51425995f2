/* The request target: absolute forms reduced to their path, the query cut off, segments decoded
 * once.
 *
 * Decoding happens after splitting, so an encoded slash cannot make a segment; it is refused, since
 * the two readings of it are how names get past checks. */
#include "server/http_parse.h"

#include <strings.h>

#include "index/utf8.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode one segment into out (as long as raw). Returns its bytes, or SIZE_MAX with *why. */
static size_t decode(struct span raw, uint8_t *out, const char **why)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.bytes; i++) {
        uint8_t c = raw.data[i];
        if (c == '%') {
            int high = i + 2 < raw.bytes ? hex_digit(raw.data[i + 1]) : -1;
            int low = i + 2 < raw.bytes ? hex_digit(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                *why = "a % in the path that is not followed by two hexadecimal digits";
                return SIZE_MAX;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
            if (c == '/' || c == 0) {
                *why = "an encoded slash or NUL in the path";
                return SIZE_MAX;
            }
        }
        out[n++] = c;
    }
    if (!utf8_check(span_of(out, n))) {
        *why = "the path is not UTF-8";
        return SIZE_MAX;
    }
    return n;
}

/* "http://host/path" to "/path": proxies' form, which RFC 9112 3.2.2 asks servers to take. */
static struct span strip_authority(struct span target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (target.bytes < n || strncasecmp((const char *)target.data, schemes[i], n) != 0)
            continue;
        while (n < target.bytes && target.data[n] != '/' && target.data[n] != '?')
            n++;
        return span_of(target.data + n, target.bytes - n);
    }
    return target;
}

static size_t count_segments(struct span path)
{
    size_t count = 0;
    for (size_t i = 0; i < path.bytes; i++)
        count += path.data[i] != '/' && (i == 0 || path.data[i - 1] == '/');
    return count;
}

static int split_path(struct http_request *request, const char **why)
{
    struct span path = request->path;
    size_t count = count_segments(path);
    request->segments = arena_allocate(&request->arena, (count + 1) * sizeof(struct span));
    uint8_t *text = arena_allocate(&request->arena, path.bytes + 1);
    for (size_t i = 0; i < path.bytes;) {
        size_t end = i;
        while (end < path.bytes && path.data[end] != '/')
            end++;
        if (end > i) {
            size_t n = decode(span_of(path.data + i, end - i), text, why);
            if (n == SIZE_MAX)
                return 400;
            request->segments[request->segment_count++] = span_of(text, n);
            text += n;
        }
        i = end + 1;
    }
    return 0;
}

int http_target_split(struct http_request *request, struct span target, const char **why)
{
    struct span rest = strip_authority(target);
    if (memchr(rest.data, '#', rest.bytes) != NULL) {
        *why = "a fragment in the request target";
        return 400;
    }
    bool star = rest.bytes == 1 && rest.data[0] == '*' && request->method == HTTP_METHOD_OPTIONS;
    bool stripped = rest.data != target.data;
    if (!star && !(stripped && (rest.bytes == 0 || rest.data[0] == '?')) &&
        (rest.bytes == 0 || rest.data[0] != '/')) {
        *why = "the request target must begin with a slash";
        return 400;
    }
    const uint8_t *copy = arena_copy(&request->arena, rest.data, rest.bytes);
    const uint8_t *mark = rest.bytes == 0 ? NULL : memchr(copy, '?', rest.bytes);
    size_t path_bytes = mark != NULL ? (size_t)(mark - copy) : rest.bytes;
    request->path = span_of(copy, path_bytes);
    if (mark != NULL)
        request->query = span_of(mark + 1, rest.bytes - path_bytes - 1);
    if (star)
        return 0;
    return split_path(request, why);
}
