#include "index/filter_unindexed.h"

#include "index/filter_tree.h"

#define KIND(name) (1u << FIELD_##name)
#define ANY_KIND ((1u << FIELD_KINDS) - 1)

struct search {
    const struct field_list *fields;
    struct arena *arena;
    struct span *key;
    unsigned *kinds;
};

/* Where nested filters have led to. */
struct place {
    const struct path *path; /* NULL: the payload itself */
    struct span text;
};

static unsigned kinds_of(const struct test *test)
{
    switch (test->kind) {
    case TEST_BOOL:
        return KIND(BOOL);
    case TEST_STRINGS:
    case TEST_EXCEPT_STRINGS:
        return KIND(KEYWORD) | KIND(UUID);
    case TEST_PREFIX:
    case TEST_SUBSTRING:
        return KIND(KEYWORD);
    case TEST_INTEGERS:
    case TEST_EXCEPT_INTEGERS:
        return KIND(INTEGER);
    case TEST_TEXT:
    case TEST_TEXT_ANY:
    case TEST_PHRASE:
        return KIND(TEXT);
    case TEST_RANGE:
        return KIND(INTEGER) | KIND(FLOAT);
    case TEST_TIMES:
        return KIND(DATETIME);
    case TEST_GEO_BOX:
    case TEST_GEO_RADIUS:
    case TEST_GEO_POLYGON:
        return KIND(GEO);
    case TEST_COUNT:
    case TEST_EMPTY:
    case TEST_NULL:
        break;
    }
    return ANY_KIND;
}

/* A path behind another. */
static const struct path *path_join(struct arena *arena, const struct path *first,
                                    const struct path *second)
{
    if (first == NULL) {
        return second;
    }
    struct path *joined = arena_allocate(arena, sizeof *joined);
    joined->count = first->count + second->count;
    joined->segments = arena_allocate(arena, joined->count * sizeof joined->segments[0]);
    memcpy(joined->segments, first->segments, first->count * sizeof first->segments[0]);
    memcpy(joined->segments + first->count, second->segments,
           second->count * sizeof second->segments[0]);
    return joined;
}

static struct place place_join(struct arena *arena, struct place place,
                               const struct condition *condition)
{
    struct place joined = {path_join(arena, place.path, &condition->path), condition->key_text};
    if (place.path != NULL) {
        const char *text =
            arena_format(arena, "%.*s.%.*s", (int)place.text.bytes, (const char *)place.text.data,
                         (int)condition->key_text.bytes, (const char *)condition->key_text.data);
        joined.text = span_text(text);
    }
    return joined;
}

static bool lacks(const struct search *search, struct place place, unsigned kinds)
{
    if (field_find(search->fields, place.path, kinds) != NULL) {
        return false;
    }
    *search->key = place.text;
    *search->kinds = kinds;
    return true;
}

static bool filter_lacks(const struct search *search, const struct filter *filter,
                         struct place place);

/* Recursion ends at FILTER_DEPTH_MAX, which bounded the compiling. */
static bool condition_lacks(const struct search *search, const struct condition *condition,
                            struct place place)
{
    switch (condition->kind) {
    case CONDITION_FIELD: {
        const struct place own = place_join(search->arena, place, condition);
        for (size_t i = 0; i < condition->field.count; i++) {
            if (lacks(search, own, kinds_of(&condition->field.tests[i]))) {
                return true;
            }
        }
        return false;
    }
    case CONDITION_IS_EMPTY:
    case CONDITION_IS_NULL:
        return lacks(search, place_join(search->arena, place, condition), ANY_KIND);
    case CONDITION_NESTED:
        return filter_lacks(search, condition->filter, place_join(search->arena, place, condition));
    case CONDITION_FILTER:
        return filter_lacks(search, condition->filter, place);
    case CONDITION_HAS_ID:
    case CONDITION_HAS_VECTOR:
    case CONDITION_SLICE:
        break;
    }
    return false;
}

static bool filter_lacks(const struct search *search, const struct filter *filter,
                         struct place place)
{
    const struct clause *const clauses[] = {&filter->must, &filter->must_not, &filter->should,
                                            &filter->min_should};
    for (size_t i = 0; i < sizeof clauses / sizeof clauses[0]; i++) {
        for (size_t j = 0; j < clauses[i]->count; j++) {
            if (condition_lacks(search, &clauses[i]->conditions[j], place)) {
                return true;
            }
        }
    }
    return false;
}

bool filter_unindexed(const struct filter *filter, const struct field_list *fields,
                      struct arena *arena, struct span *key, unsigned *kinds)
{
    const struct search search = {fields, arena, key, kinds};
    return filter != NULL && filter_lacks(&search, filter, (struct place){0});
}
