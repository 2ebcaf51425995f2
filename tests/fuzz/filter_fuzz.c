/* Any JSON as a filter, and any bytes as the payload it is matched with.
 *
 * Bytes 0 and 1: how long the filter's text is (u16, little-endian), and whether what follows it is
 * JSON (top bit) or a value as a disk might give it back. Besides not crashing: a filter that is
 * refused is refused with a place and a text; one that is not is the same when compiled again from
 * its own bytes, matches the same point twice the same, and its negation matches where it does not.
 * With a text index on the path of every test, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/field.h"
#include "index/filter_text.h"
#include "server/json.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define TEXT_FIELDS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool json_of(struct span text, struct arena *arena, struct span *value)
{
    struct json json;
    json_init(&json, text, arena);
    return json_value(&json, value);
}

static bool has_vector(const struct filter_point *point, struct span name)
{
    (void)point;
    return name.bytes % 2 == 0;
}

static const struct filter *compile(struct span source, struct arena *arena)
{
    const struct filter_limits limits = filter_limits_default();
    const struct filter *filter;
    struct filter_fault fault = {0};
    const enum error error = filter_compile(source, "filter", &limits, arena, &filter, &fault);
    REQUIRE(error == OK || error == ERROR_INVALID);
    if (error == OK)
        return filter;
    REQUIRE(fault.path != NULL && strncmp(fault.path, "filter", 6) == 0);
    REQUIRE(fault.text != NULL && fault.text[0] != 0);
    return NULL;
}

/* One of each tokenizer. */
static void define_fields(struct arena *arena, struct field fields[TEXT_FIELDS])
{
    static const char *const definitions[TEXT_FIELDS][2] = {
        {"a", "{\"type\":\"text\"}"},
        {"b", "{\"type\":\"text\",\"tokenizer\":\"whitespace\",\"ascii_folding\":true}"},
        {"a[].b", "{\"type\":\"text\",\"tokenizer\":\"multilingual\",\"stopwords\":\"en\"}"},
        {"a.b", "{\"type\":\"text\",\"tokenizer\":\"prefix\",\"min_token_len\":1,"
                "\"max_token_len\":5,\"stemmer\":{\"type\":\"snowball\",\"language\":\"de\"}}"},
    };
    struct field_fault fault;
    for (size_t i = 0; i < TEXT_FIELDS; i++) {
        struct span schema;
        REQUIRE(json_of(span_text(definitions[i][1]), arena, &schema));
        REQUIRE(field_compile(span_text(definitions[i][0]), schema, arena, &fields[i], &fault) ==
                OK);
        fields[i].record.state = FIELD_READY;
    }
}

static void ignore_key(void *context, struct span key)
{
    size_t *keys = context;
    REQUIRE(key.bytes > 0 && key.bytes <= FIELD_KEY_BYTES_MAX);
    ++*keys;
}

/* What the indexes of all kinds make of the payload. */
static void index_payload(struct arena *arena, struct span payload)
{
    for (unsigned kind = 0; kind < FIELD_KINDS; kind++) {
        static const char *const paths[] = {"a", "a[].b", "a.b"};
        for (size_t i = 0; i < 3; i++) {
            struct field field;
            struct field_fault fault;
            struct span schema;
            size_t keys = 0;
            const char *text =
                arena_format(arena, "\"%s\"", field_kind_name((enum field_kind)kind));
            REQUIRE(json_of(span_text(text), arena, &schema));
            REQUIRE(field_compile(span_text(paths[i]), schema, arena, &field, &fault) == OK);
            field_keys(&field, payload, ignore_key, &keys);
        }
    }
}

static void match(const struct filter *filter, struct span text, struct arena *arena,
                  const struct filter_point *point)
{
    struct field fields[TEXT_FIELDS];
    const struct field_list list = {fields, TEXT_FIELDS};
    struct filter_texts texts;
    struct span negation;
    const bool matches = filter_matches(filter, point);
    REQUIRE(filter_matches(filter, point) == matches);
    REQUIRE(!filter_is_empty(filter) || matches);
    const struct filter *again = compile(filter_source(filter), arena);
    REQUIRE(again != NULL && filter_matches(again, point) == matches);
    define_fields(arena, fields);
    filter_texts_bind(filter, &list, arena, &texts);
    struct filter_point bound = *point;
    bound.texts = &texts;
    const bool bound_matches = filter_matches(filter, &bound);
    REQUIRE(texts.count > 0 || bound_matches == matches);
    const char *not =
        arena_format(arena, "{\"must_not\":[%.*s]}", (int)text.bytes, (const char *)text.data);
    if (memchr(text.data, 0, text.bytes) == NULL && json_of(span_text(not ), arena, &negation)) {
        const struct filter *negated = compile(negation, arena); /* NULL: too deep by one */
        if (negated != NULL)
            REQUIRE(filter_matches(negated, point) == !matches);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena arena;
    struct span source, payload;
    if (bytes < 2)
        return 0;
    const size_t wanted = (size_t)(data[0] | (data[1] & 0x7f) << 8);
    const struct span text = span_of(data + 2, wanted < bytes - 2 ? wanted : bytes - 2);
    const struct span rest = span_of(text.data + text.bytes, bytes - 2 - text.bytes);
    arena_init(&arena);
    payload = rest;
    bool good = (data[1] & 0x80) == 0 || json_of(rest, &arena, &payload);
    if (good)
        index_payload(&arena, payload);
    if (good && json_of(text, &arena, &source)) {
        const struct filter *filter = compile(source, &arena);
        const struct point_id id = point_id_number(bytes);
        const struct filter_point point = {.id = &id, .payload = payload, .has_vector = has_vector};
        if (filter != NULL)
            match(filter, text, &arena, &point);
    }
    arena_release(&arena);
    return 0;
}
