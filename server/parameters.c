/* The query string: found by name, decoded, typed; and the common parameters of the API. */
#include "server/api.h"

#include <inttypes.h>
#include <stdio.h>

int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A malformed escape is kept as it is: parameters we do not know must not be an error. */
static struct span query_decode(struct arena *arena, struct span text)
{
    uint8_t *out = arena_allocate(arena, text.bytes + 1);
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (c == '%' && i + 2 < text.bytes && hex_digit(text.data[i + 1]) >= 0 &&
            hex_digit(text.data[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[bytes++] = c;
    }
    out[bytes] = 0;
    return span_of(out, bytes);
}

static bool query_next(struct span *rest, struct span *pair)
{
    if (rest->bytes == 0)
        return false;
    const uint8_t *end = memchr(rest->data, '&', rest->bytes);
    size_t bytes = end == NULL ? rest->bytes : (size_t)(end - rest->data);
    *pair = span_of(rest->data, bytes);
    size_t used = end == NULL ? bytes : bytes + 1;
    *rest = span_of(rest->data + used, rest->bytes - used);
    return true;
}

/* The part of a pair before its '='. */
static struct span pair_key(struct span pair)
{
    const uint8_t *equals = pair.bytes == 0 ? NULL : memchr(pair.data, '=', pair.bytes);
    return span_of(pair.data, equals == NULL ? pair.bytes : (size_t)(equals - pair.data));
}

bool request_parameters_distinct(struct http_request *request)
{
    struct span rest = request->query, pair, keys[PARAMETERS_MAX];
    size_t count = 0;
    while (query_next(&rest, &pair)) {
        if (pair.bytes == 0)
            continue; /* "a=1&&b=2" */
        if (count == PARAMETERS_MAX) {
            request_fail(request, 400,
                         "Deserialize error in query parameters: more than %d parameters",
                         PARAMETERS_MAX);
            return false;
        }
        struct span key = query_decode(&request->arena, pair_key(pair));
        for (size_t i = 0; i < count; i++) {
            if (!span_equal(keys[i], key))
                continue;
            request_fail(request, 400,
                         "Deserialize error in query parameters: duplicate field `%.*s`",
                         (int)(key.bytes > 128 ? 128 : key.bytes), (const char *)key.data);
            return false;
        }
        keys[count++] = key;
    }
    return true;
}

bool request_parameter(struct http_request *request, const char *name, struct span *value)
{
    struct span rest = request->query, pair;
    while (query_next(&rest, &pair)) {
        size_t key_bytes = pair_key(pair).bytes;
        struct span key = query_decode(&request->arena, span_of(pair.data, key_bytes));
        if (!span_equal(key, span_text(name)))
            continue;
        *value = span_of(NULL, 0);
        if (key_bytes < pair.bytes)
            *value = query_decode(&request->arena,
                                  span_of(pair.data + key_bytes + 1, pair.bytes - key_bytes - 1));
        return true;
    }
    return false;
}

bool parse_u64(struct span text, uint64_t *value)
{
    if (text.bytes == 0 || text.bytes > 20)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *value = v;
    return true;
}

bool request_parameter_u64(struct http_request *request, const char *name, uint64_t min,
                           uint64_t max, uint64_t *value)
{
    struct span text;
    if (!request_parameter(request, name, &text))
        return true;
    uint64_t v;
    if (!parse_u64(text, &v)) {
        request_fail(request, 400,
                     "Deserialize error in query parameters: %s: invalid value `%.*s`, expected an "
                     "unsigned integer",
                     name, (int)text.bytes, (const char *)text.data);
        return false;
    }
    if (v < min || v > max) {
        char range[64];
        if (max == UINT64_MAX)
            snprintf(range, sizeof range, "must be %" PRIu64 " or larger", min);
        else
            snprintf(range, sizeof range, "must be from %" PRIu64 " to %" PRIu64, min, max);
        request_fail(request, 422,
                     "Validation error in query parameters: [%s: value %" PRIu64 " invalid, %s]",
                     name, v, range);
        return false;
    }
    *value = v;
    return true;
}

bool request_parameter_bool(struct http_request *request, const char *name, bool *value)
{
    struct span text;
    if (!request_parameter(request, name, &text))
        return true;
    bool is_true = span_equal(text, span_text("true"));
    if (!is_true && !span_equal(text, span_text("false"))) {
        request_fail(request, 400,
                     "Deserialize error in query parameters: %s: provided string was not `true` or "
                     "`false`",
                     name);
        return false;
    }
    *value = is_true;
    return true;
}

static bool is_one_of(struct span text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal(text, span_text(words[i])))
            return true;
    }
    return false;
}

static bool check_ordering(struct http_request *request)
{
    static const char *const words[] = {"weak", "medium", "strong"};
    struct span text;
    if (!request_parameter(request, "ordering", &text) || is_one_of(text, words, 3))
        return true;
    request_fail(request, 400,
                 "Deserialize error in query parameters: unknown variant `%.*s`, expected one of "
                 "`weak`, `medium`, `strong`",
                 (int)text.bytes, (const char *)text.data);
    return false;
}

static bool check_consistency(struct http_request *request)
{
    static const char *const words[] = {"majority", "quorum", "all"};
    struct span text;
    uint64_t number;
    if (!request_parameter(request, "consistency", &text) || is_one_of(text, words, 3))
        return true;
    if (!parse_u64(text, &number)) {
        request_fail(request, 400,
                     "Deserialize error in query parameters: consistency: `%.*s` is neither an "
                     "integer nor one of `majority`, `quorum`, `all`",
                     (int)text.bytes, (const char *)text.data);
        return false;
    }
    return request_parameter_u64(request, "consistency", 1, UINT64_MAX, &number);
}

bool request_parameters(struct http_request *request, unsigned flags, struct parameters *parameters)
{
    uint64_t timeout_s = 0;
    *parameters = (struct parameters){0};
    if ((flags & PARAMETER_WAIT) != 0 &&
        (!request_parameter_bool(request, "wait", &parameters->wait) || !check_ordering(request)))
        return false;
    if ((flags & PARAMETER_TIMEOUT) != 0 &&
        !request_parameter_u64(request, "timeout", 1, UINT64_MAX, &timeout_s))
        return false;
    if ((flags & PARAMETER_CONSISTENCY) != 0 && !check_consistency(request))
        return false;
    parameters->timeout_s = timeout_s > UINT32_MAX ? UINT32_MAX : (uint32_t)timeout_s;
    return true;
}
