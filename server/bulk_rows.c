/* Records of a bulk upload: lines of JSON and rows of a matrix. */
#include "server/bulk.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "server/config.h"

#define NPY_HEADER_BYTES_MAX ((size_t)1 << 20)

/* The text of a step's arena must outlive the step. */
static enum bulk_progress bad(struct bulk *bulk, const struct refusal *refusal, const char *where)
{
    struct arena *arena = &bulk->request->arena;
    if (bulk->refusal.kind == REFUSAL_NONE) {
        bulk->refusal.kind = refusal->kind;
        bulk->refusal.text = arena_format(arena, "%s", refusal->text);
        bulk->where = where;
    }
    return BULK_BAD;
}

static const char *where_now(struct bulk *bulk)
{
    struct arena *arena = &bulk->request->arena;
    if (bulk->format == BULK_NDJSON)
        return bulk->line == 0 ? "" : arena_format(arena, "line %" PRIu64 ": ", bulk->line);
    if (!bulk->has_header)
        return "";
    return arena_format(arena, "row %" PRIu64 " (the first is 0): ", bulk->row);
}

enum bulk_progress bulk_refuse(struct bulk *bulk, enum refusal_kind kind, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct refusal refusal = {.kind = kind, .text = text};
    return bad(bulk, &refusal, where_now(bulk));
}

static bool step_is_full(const struct bulk_step *step)
{
    return step->point_count >= BULK_STEP_POINTS || step->op.bytes >= BULK_STEP_BYTES;
}

/* ---- lines ---- */

/* The present line, without its end. It stays in the input until it is used. */
static enum bulk_progress find_line(struct bulk *bulk, struct span *line)
{
    struct span held = bulk_input_span(&bulk->input);
    size_t limit = bulk->service->config->http.body_bytes;
    const uint8_t *end = NULL;
    if (held.bytes > bulk->scanned)
        end = memchr(held.data + bulk->scanned, '\n', held.bytes - bulk->scanned);
    *line = end == NULL ? held : span_of(held.data, (size_t)(end - held.data));
    if (line->bytes > limit)
        return bulk_refuse(bulk, REFUSAL_LARGE,
                           "the line is longer than http.body_bytes_max (%zu bytes)", limit);
    if (end != NULL || (bulk->input_ended && held.bytes > 0))
        return BULK_FULL;
    bulk->scanned = held.bytes;
    return bulk->input_ended ? BULK_DONE : BULK_MORE;
}

static void use_line(struct bulk *bulk, struct span line)
{
    size_t held = bulk->input.end - bulk->input.begin;
    bulk_input_use(&bulk->input, line.bytes < held ? line.bytes + 1 : held);
    bulk->scanned = 0;
}

static bool is_blank(struct span line)
{
    for (size_t i = 0; i < line.bytes; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    }
    return true;
}

/* The scanner says "at line 1 column 7" of every line: the line is named already. */
static void drop_line_one(struct refusal *refusal, struct arena *arena)
{
    static const char here[] = " at line 1 column ";
    const char *found = NULL;
    for (const char *at = strstr(refusal->text, here); at != NULL; at = strstr(at + 1, here))
        found = at;
    if (found != NULL)
        refusal->text = arena_format(arena, "%.*s at column %s", (int)(found - refusal->text),
                                     refusal->text, found + sizeof here - 1);
}

static enum bulk_progress refuse_line(struct bulk *bulk, struct body *body, struct arena *arena)
{
    (void)body_good(body);
    drop_line_one(&body->refusal, arena);
    return bad(bulk, &body->refusal, where_now(bulk));
}

static bool put_line(struct bulk *bulk, struct span line)
{
    struct bulk_step *step = bulk->filling;
    struct body body;
    struct point point;
    body_begin(&body, line, &step->arena);
    if (collection_settings(bulk->collection)->string_ids)
        body.filters.id_bytes_max = bulk->service->config->strict.id_bytes_max;
    if (!point_read(&bulk->reader, &body, &point) || !body_end(&body)) {
        refuse_line(bulk, &body, &step->arena);
        return false;
    }
    point_put(&bulk->reader, &point);
    step->point_count++;
    return true;
}

static enum bulk_progress fill_lines(struct bulk *bulk)
{
    struct span line;
    while (!step_is_full(bulk->filling)) {
        bulk->line++;
        enum bulk_progress progress = find_line(bulk, &line);
        if (progress != BULK_FULL) {
            bulk->line--;
            return progress;
        }
        if (!is_blank(line) && !put_line(bulk, line))
            return BULK_BAD;
        use_line(bulk, line);
    }
    return BULK_FULL;
}

/* Numbers of a vector given as [..] or {"": [..]}; anything else is judged when it is read. */
static bool count_dim(struct json *json, size_t *count)
{
    struct span name;
    if (json_peek(json) == JSON_ARRAY)
        return json_floats(json, NULL, 0, count);
    if (json_peek(json) != JSON_OBJECT)
        return json_skip(json);
    if (!json_enter_object(json))
        return false;
    while (json_key(json, &name)) {
        bool mine = name.bytes == 0 && json_peek(json) == JSON_ARRAY;
        if (!(mine ? json_floats(json, NULL, 0, count) : json_skip(json)))
            return false;
    }
    return !json_failed(json);
}

static bool line_dim(struct body *body, size_t *count)
{
    struct json *json = &body->json;
    struct span key;
    *count = 0;
    if (json_peek(json) != JSON_OBJECT)
        return json_fail(json, "expected a point object");
    if (!json_enter_object(json))
        return false;
    while (json_key(json, &key)) {
        bool mine = key_is(key, "vector") || key_is(key, "vectors");
        if (!(mine ? count_dim(json, count) : json_skip(json)))
            return false;
    }
    return body_end(body);
}

/* Read the line as it will be read again, once there is a collection of `dim` dimensions. */
static bool try_line(struct bulk *bulk, struct body *body, struct span line, uint32_t dim)
{
    struct arena *arena = &bulk->request->arena;
    struct point_reader reader;
    struct point point;
    point_reader_begin_dim(&reader, dim, bulk->service->config, arena);
    body_begin(body, line, arena);
    return point_read(&reader, body, &point) && body_end(body);
}

static enum bulk_progress look_at_line(struct bulk *bulk, struct span line, uint32_t *dim)
{
    struct body body;
    size_t count = 0;
    body_begin(&body, line, &bulk->request->arena);
    if (!line_dim(&body, &count))
        return refuse_line(bulk, &body, &bulk->request->arena);
    if (count == 0 || count > CODEC_DIM_MAX)
        return bulk_refuse(bulk, REFUSAL_INPUT,
                           "cannot create the collection from a vector of %zu dimensions, must be "
                           "from 1 to %u",
                           count, CODEC_DIM_MAX);
    *dim = (uint32_t)count;
    if (!try_line(bulk, &body, line, *dim))
        return refuse_line(bulk, &body, &bulk->request->arena);
    return BULK_DONE;
}

static enum bulk_progress look_at_lines(struct bulk *bulk, uint32_t *dim)
{
    struct span line;
    for (;;) {
        bulk->line++;
        enum bulk_progress progress = find_line(bulk, &line);
        if (progress == BULK_FULL && !is_blank(line)) {
            progress = look_at_line(bulk, line, dim);
            if (progress == BULK_DONE)
                bulk->line--; /* it is not used up: the first fill counts it */
            return progress;
        }
        if (progress != BULK_FULL)
            bulk->line--;
        if (progress == BULK_DONE) {
            bulk->line = 0; /* the fault is not a line's */
            return bulk_refuse(bulk, REFUSAL_INPUT,
                               "cannot create the collection: the body has no point");
        }
        if (progress != BULK_FULL)
            return progress;
        use_line(bulk, line);
    }
}

/* ---- rows ---- */

static enum bulk_progress read_header(struct bulk *bulk)
{
    struct span held = bulk_input_span(&bulk->input);
    char why[256] = "";
    switch ((int)npy_parse(held.data, held.bytes, &bulk->header, why, sizeof why)) {
    case OK:
        bulk_input_use(&bulk->input, bulk->header.header_bytes);
        bulk->has_header = true;
        return BULK_DONE;
    case ERROR_BUSY:
        if (bulk->input_ended || held.bytes > NPY_HEADER_BYTES_MAX)
            return bulk_refuse(bulk, REFUSAL_INPUT, "NPY: the header is cut after %zu bytes",
                               held.bytes);
        return BULK_MORE;
    default:
        return bulk_refuse(bulk, REFUSAL_INPUT, "NPY: %s", why);
    }
}

/* Before the first row: does the matrix fit the collection, and its ids 64 bits? */
static enum bulk_progress check_header(struct bulk *bulk)
{
    const struct npy_header *header = &bulk->header;
    bool fits = header->dim == bulk->reader.dim;
    bulk->has_header = false; /* a fault of the header is not one of row 0 */
    if (!fits && bulk->reader.dim == 0)
        return bulk_refuse(bulk, REFUSAL_INPUT, "Not existing vector name error: ");
    if (!fits)
        return bulk_refuse(bulk, REFUSAL_INPUT,
                           "Vector dimension error: expected dim: %" PRIu32 ", got %" PRIu32,
                           bulk->reader.dim, header->dim);
    if (header->rows > 0 && header->rows != NPY_ROWS_OPEN &&
        bulk->next_id > UINT64_MAX - (header->rows - 1))
        return bulk_refuse(bulk, REFUSAL_INPUT,
                           "%" PRIu64 " ids from %" PRIu64 " on do not fit 64 bits", header->rows,
                           bulk->next_id);
    bulk->has_header = true;
    return BULK_DONE;
}

/* Widen a row into out[dim] and judge it. */
static bool read_row(struct bulk *bulk, const uint8_t *bytes, float *out)
{
    uint32_t column = 0;
    if (!npy_row(&bulk->header, bytes, out, &column)) {
        bulk_refuse(bulk, REFUSAL_INPUT, "column %" PRIu32 " is not a finite number", column);
        return false;
    }
    if (!vector_is_sane(out, bulk->header.dim)) {
        bulk_refuse(bulk, REFUSAL_INPUT, VECTOR_TOO_LONG_TEXT, (double)VECTOR_NORM2_MAX);
        return false;
    }
    return true;
}

/* The present row is not whole: more must come, or the body is cut. */
static enum bulk_progress short_row(struct bulk *bulk, size_t bytes)
{
    if (!bulk->input_ended)
        return BULK_MORE;
    if (bulk->header.rows == NPY_ROWS_OPEN && bytes == 0)
        return BULK_DONE;
    if (bulk->header.rows == NPY_ROWS_OPEN)
        return bulk_refuse(bulk, REFUSAL_INPUT,
                           "the body ends after %zu of the row's %" PRIu32 " bytes (dim x 4)",
                           bytes, bulk->header.row_bytes);
    return bulk_refuse(bulk, REFUSAL_INPUT,
                       "NPY: the body ends after %zu of the row's %" PRIu32
                       " bytes; the header announces %" PRIu64 " rows",
                       bytes, bulk->header.row_bytes, bulk->header.rows);
}

static bool put_row(struct bulk *bulk, const uint8_t *bytes)
{
    struct point point = {.id = point_id_number(bulk->next_id)};
    if (bulk->row > 0 && bulk->next_id == 0) { /* only rows without a header get here */
        bulk_refuse(bulk, REFUSAL_INPUT,
                    "no id is left: the row before has the highest of 64 bits");
        return false;
    }
    float *row = point_reader_row(&bulk->reader);
    if (!read_row(bulk, bytes, row))
        return false;
    point_set_row(&bulk->reader, &point, row);
    point_put(&bulk->reader, &point);
    bulk->filling->point_count++;
    bulk->next_id++;
    bulk->row++;
    return true;
}

static enum bulk_progress end_of_rows(struct bulk *bulk)
{
    size_t held = bulk->input.end - bulk->input.begin;
    if (held > 0) {
        bulk->has_header = false; /* the fault is the matrix's, not a row's */
        return bulk_refuse(bulk, REFUSAL_INPUT,
                           "NPY: bytes after the %" PRIu64 " rows that the header announces",
                           bulk->header.rows);
    }
    return bulk->input_ended ? BULK_DONE : BULK_MORE;
}

static enum bulk_progress fill_rows(struct bulk *bulk)
{
    size_t row_bytes = bulk->header.row_bytes;
    while (bulk->row < bulk->header.rows) {
        struct span held = bulk_input_span(&bulk->input);
        if (step_is_full(bulk->filling))
            return BULK_FULL;
        if (held.bytes < row_bytes)
            return short_row(bulk, held.bytes);
        if (!put_row(bulk, held.data))
            return BULK_BAD;
        bulk_input_use(&bulk->input, row_bytes);
    }
    return end_of_rows(bulk);
}

static enum bulk_progress look_at_rows(struct bulk *bulk, uint32_t *dim)
{
    enum bulk_progress progress = bulk->has_header ? BULK_DONE : read_header(bulk);
    if (progress != BULK_DONE)
        return progress;
    *dim = bulk->header.dim;
    struct span held = bulk_input_span(&bulk->input);
    if (bulk->header.rows == 0)
        return BULK_DONE;
    if (held.bytes < bulk->header.row_bytes)
        return short_row(bulk, held.bytes);
    float *row = arena_allocate(&bulk->request->arena, *dim * sizeof *row);
    return read_row(bulk, held.data, row) ? BULK_DONE : BULK_BAD;
}

/* ---- both ---- */

enum bulk_progress bulk_fill(struct bulk *bulk)
{
    if (bulk->format == BULK_NDJSON)
        return fill_lines(bulk);
    if (!bulk->has_header) {
        enum bulk_progress progress = read_header(bulk);
        if (progress != BULK_DONE)
            return progress;
    }
    if (bulk->row == 0) {
        enum bulk_progress progress = check_header(bulk);
        if (progress != BULK_DONE)
            return progress;
    }
    return fill_rows(bulk);
}

enum bulk_progress bulk_look_at_dim(struct bulk *bulk, uint32_t *dim)
{
    return bulk->format == BULK_NDJSON ? look_at_lines(bulk, dim) : look_at_rows(bulk, dim);
}
