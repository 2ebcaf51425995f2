/* NPY, as numpy.lib.format writes it.
 *
 *   bytes  what
 *   6      0x93 "NUMPY"
 *   2      format: major, minor (1.0, 2.0 or 3.0)
 *   2 / 4  length of the header text, little-endian: u16 in format 1.0, u32 later
 *   ...    header: a Python dict with the keys descr, fortran_order and shape, then blanks
 *   ...    the rows
 *
 * The dict is parsed as what it is, a literal: keys in any order, any blanks, either quote, a comma
 * before the brace or none. */
#include "server/npy.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
/* NumPy itself refuses headers above 10,000 bytes unless told otherwise. */
#define HEADER_TEXT_MAX 65535
#define DIM_MAX 65536

/* The rest of the header's text, and where a complaint goes. */
struct parser {
    const char *next, *end;
    char *why;
    size_t why_bytes;
};

static enum error refuse(struct parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum error refuse(struct parser *parser, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(parser->why, parser->why_bytes, format, arguments);
    va_end(arguments);
    return ERROR_INVALID;
}

static void skip_blanks(struct parser *parser)
{
    while (parser->next < parser->end && *parser->next && strchr(" \t\r\n\f\v", *parser->next))
        parser->next++;
}

/* Take this character, blanks before it skipped. */
static bool take(struct parser *parser, char c)
{
    skip_blanks(parser);
    if (parser->next == parser->end || *parser->next != c)
        return false;
    parser->next++;
    return true;
}

/* A quoted string without escapes; NumPy writes no others. */
static bool take_string(struct parser *parser, struct span *text)
{
    char quote = '\'';
    if (!take(parser, quote) && !take(parser, quote = '"'))
        return false;
    const char *begin = parser->next;
    const char *end = memchr(begin, quote, (size_t)(parser->end - begin));
    if (!end)
        return false;
    *text = span_of(begin, (size_t)(end - begin));
    parser->next = end + 1;
    return true;
}

static bool take_word(struct parser *parser, const char *word)
{
    size_t bytes = strlen(word);
    skip_blanks(parser);
    if ((size_t)(parser->end - parser->next) < bytes || memcmp(parser->next, word, bytes) != 0)
        return false;
    parser->next += bytes;
    return true;
}

/* A number; Python 2 wrote an L behind long ones. */
static bool take_number(struct parser *parser, uint64_t *v)
{
    skip_blanks(parser);
    const char *begin = parser->next;
    *v = 0;
    for (; parser->next < parser->end && *parser->next >= '0' && *parser->next <= '9';
         parser->next++)
        if (__builtin_mul_overflow(*v, 10, v) ||
            __builtin_add_overflow(*v, (uint64_t)(*parser->next - '0'), v))
            return false;
    bool any = parser->next > begin;
    take(parser, 'L');
    return any;
}

/* ---- the three entries ---- */

static enum error parse_type(struct parser *parser, struct npy_header *header)
{
    static const struct {
        const char *name;
        enum npy_type type;
    } types[] = {
        {"f4", NPY_FLOAT32}, {"f8", NPY_FLOAT64}, {"f2", NPY_FLOAT16},
        {"u1", NPY_UINT8},   {"i1", NPY_INT8},
    };
    struct span text, name;
    if (!take_string(parser, &text))
        return refuse(parser, "the dtype is not a simple one");
    name = text;
    bool order = text.bytes && memchr("<>=|", text.data[0], 4);
    if (order)
        name = span_of(text.data + 1, text.bytes - 1);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!span_equal(name, span_text(types[i].name)))
            continue;
        header->type = types[i].type;
        bool wide = types[i].name[0] == 'f';
        if (order && text.data[0] == '>' && wide)
            return refuse(parser, "dtype '>%s' is big-endian, only little-endian is read",
                          types[i].name);
        return OK;
    }
    return refuse(parser,
                  "unknown dtype '%.*s', known are float32, float64, float16, uint8 and int8",
                  (int)(text.bytes < 32 ? text.bytes : 32), (const char *)text.data);
}

static enum error parse_order(struct parser *parser)
{
    if (take_word(parser, "False"))
        return OK;
    if (take_word(parser, "True"))
        return refuse(parser, "Fortran order is not supported, write it with order='C'");
    return refuse(parser, "fortran_order is neither True nor False");
}

static enum error parse_shape(struct parser *parser, struct npy_header *header)
{
    uint64_t sizes[2] = {0, 0}, size;
    size_t count = 0;
    if (!take(parser, '('))
        return refuse(parser, "the shape is not a tuple");
    while (!take(parser, ')')) {
        if ((count && !take(parser, ',')) || (count && take(parser, ')')))
            break;
        if (!take_number(parser, &size))
            return refuse(parser, "the shape is not a tuple of integers");
        if (count < 2)
            sizes[count] = size;
        count++;
    }
    if (parser->next[-1] != ')')
        return refuse(parser, "the shape is not a tuple of integers");
    if (count != 2)
        return refuse(parser, "the array has %zu dimensions, it must have two", count);
    if (sizes[1] < 1 || sizes[1] > DIM_MAX)
        return refuse(parser, "rows of %llu values, there must be 1 to %d",
                      (unsigned long long)sizes[1], DIM_MAX);
    header->rows = sizes[0];
    header->dim = (uint32_t)sizes[1];
    return OK;
}

enum entry { ENTRY_TYPE = 1, ENTRY_ORDER = 2, ENTRY_SHAPE = 4, ENTRY_ALL = 7 };

static enum error parse_entry(struct parser *parser, struct npy_header *header, unsigned *seen)
{
    struct span key;
    unsigned entry = 0;
    if (!take_string(parser, &key) || !take(parser, ':'))
        return refuse(parser, "the header is not a dict");
    if (span_equal(key, span_text("descr")))
        entry = ENTRY_TYPE;
    else if (span_equal(key, span_text("fortran_order")))
        entry = ENTRY_ORDER;
    else if (span_equal(key, span_text("shape")))
        entry = ENTRY_SHAPE;
    if (entry == 0 || (*seen & entry))
        return refuse(parser, "unexpected or repeated key '%.*s' in the header",
                      (int)(key.bytes < 32 ? key.bytes : 32), (const char *)key.data);
    *seen |= entry;
    if (entry == ENTRY_TYPE)
        return parse_type(parser, header);
    return entry == ENTRY_ORDER ? parse_order(parser) : parse_shape(parser, header);
}

static enum error parse_dict(struct parser *parser, struct npy_header *header)
{
    unsigned seen = 0;
    if (!take(parser, '{'))
        return refuse(parser, "the header is not a dict");
    while (!take(parser, '}')) {
        if (seen && !take(parser, ','))
            return refuse(parser, "the header is not a dict");
        if (seen && take(parser, '}'))
            break;
        enum error error = parse_entry(parser, header, &seen);
        if (error)
            return error;
    }
    skip_blanks(parser);
    if (parser->next != parser->end)
        return refuse(parser, "the header goes on behind its dict");
    if (seen != ENTRY_ALL)
        return refuse(parser, "the header lacks descr, fortran_order or shape");
    return OK;
}

enum error npy_parse(const uint8_t *data, size_t bytes, struct npy_header *header, char *why,
                     size_t why_bytes)
{
    struct parser parser = {.why = why, .why_bytes = why_bytes};
    size_t known = bytes < MAGIC_BYTES ? bytes : MAGIC_BYTES;
    if (known && memcmp(data, MAGIC, known) != 0)
        return refuse(&parser, "the file does not begin as an NPY file does");
    if (bytes < MAGIC_BYTES + 2)
        return ERROR_BUSY;
    uint8_t major = data[6], minor = data[7];
    if (major < 1 || major > 3 || minor != 0)
        return refuse(&parser, "format %u.%u is not known", major, minor);
    size_t head = major == 1 ? 10 : 12;
    if (bytes < head)
        return ERROR_BUSY;
    size_t length = major == 1 ? load16(data + 8) : load32(data + 8);
    if (length > HEADER_TEXT_MAX)
        return refuse(&parser, "a header of %zu bytes is too large", length);
    if (bytes - head < length)
        return ERROR_BUSY;
    parser.next = (const char *)data + head;
    parser.end = parser.next + length;
    *header = (struct npy_header){.header_bytes = head + length};
    enum error error = parse_dict(&parser, header);
    if (error)
        return error;
    static const uint32_t sizes[] = {
        [NPY_FLOAT32] = 4, [NPY_FLOAT64] = 8, [NPY_FLOAT16] = 2, [NPY_UINT8] = 1, [NPY_INT8] = 1};
    header->row_bytes = header->dim * sizes[header->type];
    uint64_t total;
    if (__builtin_mul_overflow(header->rows, header->row_bytes, &total) || total > INT64_MAX)
        return refuse(&parser, "%llu rows are too many", (unsigned long long)header->rows);
    return OK;
}

struct npy_header npy_floats(uint32_t dim)
{
    return (struct npy_header){
        .type = NPY_FLOAT32, .rows = NPY_ROWS_OPEN, .dim = dim, .row_bytes = 4 * dim};
}

/* ---- rows ---- */

/* The first of the values whose exponent is all ones, which means NaN or infinite. */
static bool floats_finite(const uint8_t *row, uint32_t dim, uint32_t *bad)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    /* No exit inside, so that the compiler makes vectors of it; looked at again only if found. */
    for (uint32_t i = 0; i < dim; i++)
        found |= (load32(row + 4 * (size_t)i) & exponent) == exponent;
    if (!found)
        return true;
    for (*bad = 0; (load32(row + 4 * (size_t)*bad) & exponent) != exponent;)
        ++*bad;
    return false;
}

/* Half precision: shifted into a float's places the value is too small by 2^112, subnormals
 * included, and multiplying by a power of two is exact. */
static inline float widen_half(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    float v;
    memcpy(&v, &bits, sizeof v);
    v *= 0x1p112f;
    return half & 0x8000 ? -v : v;
}

static bool widen_halves(const uint8_t *row, uint32_t dim, float *out, uint32_t *bad)
{
    for (uint32_t i = 0; i < dim; i++) {
        uint16_t half = load16(row + 2 * (size_t)i);
        if ((half & 0x7c00) == 0x7c00) {
            *bad = i;
            return false;
        }
        out[i] = widen_half(half);
    }
    return true;
}

static bool round_doubles(const uint8_t *row, uint32_t dim, float *out, uint32_t *bad)
{
    for (uint32_t i = 0; i < dim; i++) {
        double v;
        memcpy(&v, row + 8 * (size_t)i, sizeof v);
        out[i] = fabs(v) <= (double)FLT_MAX ? (float)v : INFINITY;
    }
    return floats_finite((const uint8_t *)out, dim, bad);
}

bool npy_row(const struct npy_header *header, const uint8_t *row, float *out, uint32_t *bad)
{
    switch (header->type) {
    case NPY_FLOAT32:
        memcpy(out, row, header->row_bytes);
        return floats_finite(row, header->dim, bad);
    case NPY_FLOAT64:
        return round_doubles(row, header->dim, out, bad);
    case NPY_FLOAT16:
        return widen_halves(row, header->dim, out, bad);
    case NPY_UINT8:
        for (uint32_t i = 0; i < header->dim; i++)
            out[i] = row[i];
        return true;
    case NPY_INT8:
        for (uint32_t i = 0; i < header->dim; i++)
            out[i] = (int8_t)row[i];
        return true;
    }
    return false;
}

/* ---- writing ---- */

void npy_head(char head[NPY_HEAD_BYTES], const char *type, const char *shape)
{
    char text[NPY_HEAD_BYTES];
    memset(head, ' ', NPY_HEAD_BYTES);
    memcpy(head, MAGIC "\x01\x00", MAGIC_BYTES + 2);
    store16(head + MAGIC_BYTES + 2, NPY_HEAD_BYTES - 10);
    const int bytes = snprintf(
        text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    assert(bytes > 0 && (size_t)bytes < NPY_HEAD_BYTES - 10);
    memcpy(head + 10, text, (size_t)bytes);
    head[NPY_HEAD_BYTES - 1] = '\n';
}
