#include "index/filter_text.h"

#include <stdlib.h>

#include "index/text.h"

#define TOKENS_ON_STACK 256u

/* ---- binding ---- */

struct binding {
    const struct field_list *fields;
    struct arena *arena;
    struct filter_texts *texts;
    size_t capacity;
};

struct collecting {
    struct arena *arena;
    struct filter_text *text;
    size_t capacity;
};

static bool collect(void *context, struct span token)
{
    struct collecting *collecting = context;
    struct filter_text *text = collecting->text;
    if (text->count == collecting->capacity) {
        collecting->capacity = collecting->capacity == 0 ? 8 : 2 * collecting->capacity;
        struct span *tokens =
            arena_allocate(collecting->arena, size_product(collecting->capacity, sizeof *tokens));
        if (text->count > 0)
            memcpy(tokens, text->tokens, text->count * sizeof *tokens);
        text->tokens = tokens;
    }
    text->tokens[text->count++] =
        span_of(arena_copy(collecting->arena, token.data, token.bytes), token.bytes);
    return true;
}

/* The failure function of Knuth, Morris and Pratt, over tokens. */
static void prepare_phrase(struct filter_text *text, struct arena *arena)
{
    text->fallback = arena_allocate(arena, size_product(text->count + 1, sizeof(size_t)));
    text->fallback[0] = 0;
    for (size_t i = 1, k = 0; i < text->count; i++) {
        while (k > 0 && !span_equal(text->tokens[i], text->tokens[k]))
            k = text->fallback[k - 1];
        k += span_equal(text->tokens[i], text->tokens[k]);
        text->fallback[i] = k;
    }
}

static void bind_test(struct binding *binding, const struct test *test, const struct path *path)
{
    if (test->kind != TEST_TEXT && test->kind != TEST_TEXT_ANY && test->kind != TEST_PHRASE)
        return;
    const struct field *field = field_find_text(binding->fields, path);
    if (field == NULL)
        return;
    struct filter_texts *texts = binding->texts;
    if (texts->count == binding->capacity) {
        binding->capacity = binding->capacity == 0 ? 4 : 2 * binding->capacity;
        struct filter_text *items =
            arena_allocate(binding->arena, binding->capacity * sizeof *items);
        if (texts->count > 0)
            memcpy(items, texts->items, texts->count * sizeof *items);
        texts->items = items;
    }
    struct filter_text *text = &texts->items[texts->count++];
    *text = (struct filter_text){.test = test, .field = field};
    struct collecting collecting = {binding->arena, text, 0};
    text_tokens(field->analyzer, test->text, true, collect, &collecting);
    prepare_phrase(text, binding->arena);
}

static struct path join(struct arena *arena, const struct path *a, const struct path *b)
{
    struct path joined = {.count = a->count + b->count};
    joined.segments = arena_allocate(arena, (joined.count + 1) * sizeof *joined.segments);
    if (a->count > 0)
        memcpy(joined.segments, a->segments, a->count * sizeof *a->segments);
    if (b->count > 0)
        memcpy(joined.segments + a->count, b->segments, b->count * sizeof *b->segments);
    return joined;
}

static void bind_filter(struct binding *binding, const struct filter *filter,
                        const struct path *prefix);

static void bind_clause(struct binding *binding, const struct clause *clause,
                        const struct path *prefix)
{
    for (size_t i = 0; i < clause->count; i++) {
        const struct condition *condition = &clause->conditions[i];
        if (condition->kind == CONDITION_FILTER) {
            bind_filter(binding, condition->filter, prefix);
        } else if (condition->kind == CONDITION_NESTED) {
            const struct path inner = join(binding->arena, prefix, &condition->path);
            bind_filter(binding, condition->filter, &inner);
        } else if (condition->kind == CONDITION_FIELD) {
            const struct path path = join(binding->arena, prefix, &condition->path);
            for (size_t j = 0; j < condition->field.count; j++)
                bind_test(binding, &condition->field.tests[j], &path);
        }
    }
}

static void bind_filter(struct binding *binding, const struct filter *filter,
                        const struct path *prefix)
{
    bind_clause(binding, &filter->must, prefix);
    bind_clause(binding, &filter->must_not, prefix);
    bind_clause(binding, &filter->should, prefix);
    bind_clause(binding, &filter->min_should, prefix);
}

void filter_texts_bind(const struct filter *filter, const struct field_list *fields,
                       struct arena *arena, struct filter_texts *texts)
{
    struct binding binding = {fields, arena, texts, 0};
    const struct path top = {NULL, 0};
    *texts = (struct filter_texts){0};
    bool any = false;
    for (size_t i = 0; i < fields->count; i++)
        any |= fields->items[i].kind == FIELD_TEXT;
    if (filter != NULL && any)
        bind_filter(&binding, filter, &top);
}

const struct filter_text *filter_texts_find(const struct filter_texts *texts,
                                            const struct test *test)
{
    for (size_t i = 0; texts != NULL && i < texts->count; i++)
        if (texts->items[i].test == test)
            return &texts->items[i];
    return NULL;
}

/* ---- matching ---- */

struct matching {
    const struct filter_text *text;
    uint8_t *found; /* [count], of TEXT */
    size_t left;    /* not found yet, of TEXT */
    size_t fits;    /* of PHRASE: tokens of it that end here */
    bool holds;
};

static bool match_all(struct matching *matching, struct span token)
{
    const struct filter_text *text = matching->text;
    for (size_t i = 0; i < text->count; i++) {
        if (!matching->found[i] && span_equal(text->tokens[i], token)) {
            matching->found[i] = 1;
            matching->left--;
        }
    }
    return matching->left == 0;
}

static bool match_any(const struct filter_text *text, struct span token)
{
    for (size_t i = 0; i < text->count; i++)
        if (span_equal(text->tokens[i], token))
            return true;
    return false;
}

static bool match_phrase(struct matching *matching, struct span token)
{
    const struct filter_text *text = matching->text;
    while (matching->fits > 0 && !span_equal(text->tokens[matching->fits], token))
        matching->fits = text->fallback[matching->fits - 1];
    matching->fits += span_equal(text->tokens[matching->fits], token);
    return matching->fits == text->count;
}

static bool match_token(void *context, struct span token)
{
    struct matching *matching = context;
    const enum test_kind kind = matching->text->test->kind;
    matching->holds = kind == TEST_TEXT     ? match_all(matching, token)
                      : kind == TEST_PHRASE ? match_phrase(matching, token)
                                            : match_any(matching->text, token);
    return !matching->holds;
}

bool filter_text_holds(const struct filter_text *text, struct span value)
{
    uint8_t stack[TOKENS_ON_STACK] = {0};
    if (text->count == 0)
        return false;
    struct matching matching = {.text = text, .found = stack, .left = text->count};
    if (text->count > TOKENS_ON_STACK)
        matching.found = allocate_zeroed(text->count, 1);
    text_tokens(text->field->analyzer, value, false, match_token, &matching);
    if (matching.found != stack)
        free(matching.found);
    return matching.holds;
}
