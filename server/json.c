/* The pull scanner: tokens, strings and the states between them.
 *
 * The state is small on purpose: the closing brackets that are owed, whether a comma is due and
 * whether a value is due. Everything else is where `next` stands. Strings without escapes are
 * borrowed from the body; the others are unescaped into the arena. */
#include "server/json.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "index/utf8.h"
#include "server/json_private.h"
#include "server/number.h"

void json_init(struct json *json, struct span text, struct arena *arena)
{
    const char *begin = text.bytes ? (const char *)text.data : "";
    json->begin = json->next = begin;
    json->end = begin + text.bytes;
    json->arena = arena;
    json->depth = 0;
    json->comma = false;
    json->due = true;
    json->why = NULL;
}

bool json_failed(const struct json *json)
{
    return json->why != NULL;
}

bool json_fail(struct json *json, const char *format, ...)
{
    char message[512];
    va_list arguments;
    size_t line = 1;
    const char *line_begin = json->begin;
    if (json->why)
        return false;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (const char *p = json->begin; p < json->next; p++)
        if (*p == '\n') {
            line++;
            line_begin = p + 1;
        }
    json->why = arena_format(json->arena, "%s at line %zu column %zu", message, line,
                             (size_t)(json->next - line_begin) + 1);
    return false;
}

bool json_fail_within(struct json *json, const char *format, ...)
{
    char where[256];
    va_list arguments;
    if (json->why == NULL)
        return false;
    va_start(arguments, format);
    vsnprintf(where, sizeof where, format, arguments);
    va_end(arguments);
    json->why = arena_format(json->arena, "%s: %s", where, json->why);
    return false;
}

static inline void skip_blanks(struct json *json)
{
    while (json->next < json->end && (*json->next == ' ' || *json->next == '\n' ||
                                      *json->next == '\r' || *json->next == '\t'))
        json->next++;
}

/* ---- what comes next ---- */

/* Behind the top value: nothing but blanks. */
static enum json_token peek_end(struct json *json)
{
    if (json->next == json->end)
        return JSON_END;
    json_fail(json, "trailing characters");
    return JSON_ERROR;
}

enum json_token json_peek(struct json *json)
{
    if (json->why)
        return JSON_ERROR;
    skip_blanks(json);
    if (json->depth == 0 && json->comma)
        return peek_end(json);
    if (json->next == json->end) {
        json_fail(json, "unexpected end");
        return JSON_ERROR;
    }
    char c = *json->next;
    if (!json->due && json->depth && c == json->closing[json->depth - 1])
        return c == '}' ? JSON_OBJECT_END : JSON_ARRAY_END;
    switch (c) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return JSON_NUMBER;
        json_fail(json, c == ']' && json->comma ? "trailing comma" : "expected a value");
        return JSON_ERROR;
    }
}

static const char *token_name(enum json_token token)
{
    static const char *const names[] = {
        [JSON_ERROR] = "an error",
        [JSON_END] = "the end",
        [JSON_NULL] = "null",
        [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean",
        [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string",
        [JSON_OBJECT] = "an object",
        [JSON_ARRAY] = "an array",
        [JSON_OBJECT_END] = "the end of an object",
        [JSON_ARRAY_END] = "the end of an array",
    };
    return names[token];
}

/* Stand before a token of this kind, or fail. A value is wanted, so none may be read already. */
static bool want(struct json *json, enum json_token wanted)
{
    enum json_token token = json_peek(json);
    if (token == JSON_ERROR)
        return false;
    if (token != wanted || !json->due)
        return json_fail(json, "invalid type: %s, expected %s", token_name(token),
                         token_name(wanted));
    return true;
}

/* ---- containers ---- */

static bool enter(struct json *json, enum json_token token, char closing)
{
    if (!want(json, token))
        return false;
    if (json->depth == JSON_DEPTH_MAX)
        return json_fail(json, "nested deeper than %d levels", JSON_DEPTH_MAX);
    json->closing[json->depth++] = closing;
    json->next++;
    json->comma = false;
    json->due = false;
    return true;
}

bool json_enter_object(struct json *json)
{
    return enter(json, JSON_OBJECT, '}');
}

bool json_enter_array(struct json *json)
{
    return enter(json, JSON_ARRAY, ']');
}

/* Inside a container: true before the next member or element; false when its end has been taken, or
 * on failure. */
static bool advance(struct json *json, char closing)
{
    if (json->why)
        return false;
    if (json->due || json->depth == 0 || json->closing[json->depth - 1] != closing)
        return json_fail(json, "expected a value");
    skip_blanks(json);
    if (json->next < json->end && *json->next == closing) {
        json->next++;
        json->depth--;
        json_value_done(json);
        return false;
    }
    if (json->comma) {
        if (json->next == json->end)
            return json_fail(json, "unexpected end");
        if (*json->next != ',')
            return json_fail(json, "expected , or %c", closing);
        json->next++;
        skip_blanks(json);
        if (json->next < json->end && *json->next == closing)
            return json_fail(json, "trailing comma");
    }
    return true;
}

bool json_element(struct json *json)
{
    if (!advance(json, ']'))
        return false;
    json->due = true;
    return true;
}

bool json_key(struct json *json, struct span *key)
{
    if (!advance(json, '}'))
        return false;
    if (json->next == json->end)
        return json_fail(json, "unexpected end");
    if (*json->next != '"')
        return json_fail(json, "a key must be a string");
    if (!json_scan_string(json, key))
        return false;
    skip_blanks(json);
    if (json->next == json->end)
        return json_fail(json, "unexpected end");
    if (*json->next != ':')
        return json_fail(json, "expected :");
    json->next++;
    json->due = true;
    return true;
}

/* ---- strings ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at next, which moves behind them; -1 if they are not. */
static int32_t scan_hex(struct json *json)
{
    int32_t v = 0;
    if (json->end - json->next < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(json->next[i]);
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    json->next += 4;
    return v;
}

/* The code point of a \u escape, next behind the u; surrogates must come as a pair. */
static bool scan_code_point(struct json *json, uint32_t *point)
{
    int32_t first = scan_hex(json);
    if (first < 0)
        return json_fail(json, "expected four hexadecimal digits");
    *point = (uint32_t)first;
    if (first < 0xd800 || first > 0xdfff)
        return true;
    if (first > 0xdbff || json->end - json->next < 2 || json->next[0] != '\\' ||
        json->next[1] != 'u')
        return json_fail(json, "lone surrogate in a string");
    json->next += 2;
    int32_t second = scan_hex(json);
    if (second < 0xdc00 || second > 0xdfff)
        return json_fail(json, "lone surrogate in a string");
    *point = 0x10000 + ((uint32_t)(first - 0xd800) << 10) + (uint32_t)(second - 0xdc00);
    return true;
}

/* As UTF-8, at most four bytes and never more than the escape took. */
static size_t put_code_point(uint32_t point, uint8_t *out)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (uint8_t)(lead[bytes] | point);
    return bytes;
}

/* One escape, next at its backslash, into out: *bytes more. */
static bool scan_escape(struct json *json, uint8_t *out, size_t *bytes)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    json->next++;
    if (json->next == json->end)
        return json_fail(json, "unexpected end of a string");
    char c = *json->next;
    const char *name = c ? strchr(names, c) : NULL;
    if (name) {
        json->next++;
        out[0] = (uint8_t)meanings[name - names];
        *bytes = 1;
        return true;
    }
    if (c != 'u')
        return json_fail(json, "invalid escape in a string");
    json->next++;
    uint32_t point = 0;
    if (!scan_code_point(json, &point))
        return false;
    *bytes = put_code_point(point, out);
    return true;
}

/* Where the string that next stands in ends: its closing quote, or the body's end. */
static const char *closing_quote(const struct json *json)
{
    const char *p = json->next;
    bool other;
    while ((p = json_plain_end(p, json->end, &other)) < json->end && *p != '"')
        p += *p == '\\' && json->end - p > 1 ? 2 : 1;
    return p;
}

/* The rest of a string with escapes: what has been passed since begin is copied first. */
static bool scan_escaped(struct json *json, const char *begin, struct span *text)
{
    /* An escape is never shorter than what it stands for. */
    uint8_t *out = arena_allocate(json->arena, (size_t)(closing_quote(json) - begin) + 4);
    size_t bytes = (size_t)(json->next - begin), more = 0;
    bool other;
    memcpy(out, begin, bytes);
    while (json->next < json->end && *json->next == '\\') {
        if (!scan_escape(json, out + bytes, &more))
            return false;
        bytes += more;
        const char *run = json->next;
        json->next = json_plain_end(run, json->end, &other);
        memcpy(out + bytes, run, (size_t)(json->next - run));
        bytes += (size_t)(json->next - run);
    }
    *text = span_of(out, bytes);
    return true;
}

bool json_scan_string(struct json *json, struct span *text)
{
    const char *begin = json->next + 1;
    bool other;
    assert(json->next < json->end && *json->next == '"');
    json->next = json_plain_end(begin, json->end, &other);
    *text = span_of(begin, (size_t)(json->next - begin));
    bool escaped = json->next < json->end && *json->next == '\\';
    if (escaped && !scan_escaped(json, begin, text))
        return false;
    if (json->next == json->end)
        return json_fail(json, "unexpected end of a string");
    if (*json->next != '"')
        return json_fail(json, "control character in a string");
    if ((other || escaped) && !utf8_check(*text))
        return json_fail(json, "invalid UTF-8 in a string");
    json->next++;
    return true;
}

bool json_string(struct json *json, struct span *text)
{
    return want(json, JSON_STRING) && json_scan_string(json, text) && json_value_done(json);
}

/* ---- other scalars ---- */

static bool take_word(struct json *json, const char *word)
{
    size_t bytes = strlen(word);
    if ((size_t)(json->end - json->next) < bytes || memcmp(json->next, word, bytes) != 0)
        return json_fail(json, "expected a value");
    json->next += bytes;
    return json_value_done(json);
}

bool json_bool(struct json *json, bool *value)
{
    *value = json_peek(json) == JSON_TRUE;
    if (*value && json->due)
        return take_word(json, "true");
    return want(json, JSON_FALSE) && take_word(json, "false");
}

bool json_null(struct json *json)
{
    return want(json, JSON_NULL) && take_word(json, "null");
}

bool json_scan_number(struct json *json, struct span *text, struct decimal *decimal)
{
    const char *end = number_scan(json->next, json->end, decimal);
    if (!end)
        return json_fail(json, "invalid number");
    *text = span_of(json->next, (size_t)(end - json->next));
    json->next = end;
    return json_value_done(json);
}

bool json_number(struct json *json, struct span *text)
{
    struct decimal decimal;
    return want(json, JSON_NUMBER) && json_scan_number(json, text, &decimal);
}

bool json_decimal_u64(const struct decimal *decimal, struct span text, uint64_t *value)
{
    size_t sign = decimal->negative;
    if (!decimal->integer)
        return false;
    if (text.bytes - sign < 20) {
        *value = decimal->digits;
        return true;
    }
    if (text.bytes - sign > 20)
        return false;
    uint64_t digit = text.data[text.bytes - 1] - (uint64_t)'0';
    return !__builtin_mul_overflow(decimal->digits, 10, value) &&
           !__builtin_add_overflow(*value, digit, value);
}

bool json_u64(struct json *json, uint64_t *value)
{
    struct decimal decimal;
    struct span text = {0};
    if (!want(json, JSON_NUMBER) || !json_scan_number(json, &text, &decimal))
        return false;
    if (decimal.negative || !json_decimal_u64(&decimal, text, value))
        return json_fail(json, "invalid value: %.*s, expected an unsigned 64-bit integer",
                         (int)(text.bytes < 40 ? text.bytes : 40), (const char *)text.data);
    return true;
}

bool json_double(struct json *json, double *value)
{
    struct decimal decimal;
    struct span text = {0};
    if (!want(json, JSON_NUMBER) || !json_scan_number(json, &text, &decimal))
        return false;
    *value = number_double(&decimal, (const char *)text.data, text.bytes);
    return __builtin_isfinite(*value) || json_fail(json, "number out of range");
}

double json_parse_double(struct span text)
{
    struct decimal decimal;
    const char *begin = (const char *)text.data;
    const char *end = number_scan(begin, begin + text.bytes, &decimal);
    assert(end == begin + text.bytes);
    return number_double(&decimal, begin, text.bytes);
}

bool json_finish(struct json *json)
{
    enum json_token token = json_peek(json);
    return token == JSON_END || (token != JSON_ERROR && json_fail(json, "expected the end"));
}
