/* Sets of slots, and what the payload indexes make of filters: never another answer than looking at
 * every payload gives. */
#include "index_fixture.h"

#include "index/field.h"
#include "index/filter_plan.h"
#include "tests/unit/random_payload.h"

/* ---- sets ---- */

#define MODEL_SLOTS 200000u
#define MODEL_BASE ((UINT64_C(1) << 32) - 100000u)

struct set {
    struct slots slots;
    uint8_t *model; /* [MODEL_SLOTS] */
};

static void set_random(struct set *set, uint64_t *random)
{
    slots_init(&set->slots);
    memset(set->model, 0, MODEL_SLOTS);
    const uint64_t postings = random_below(random, 8);
    for (uint64_t i = 0; i < postings; i++) {
        uint8_t data[POSTING_BITMAP_BYTES] = {0};
        struct posting posting = {.data = data};
        posting.chunk = (MODEL_BASE >> POSTING_CHUNK_BITS) + 1 + random_below(random, 9);
        posting.bitmap = random_below(random, 2) == 0;
        const uint32_t wanted = posting.bitmap ? 1025 + (uint32_t)random_below(random, 15000)
                                               : 1 + (uint32_t)random_below(random, 1024);
        const uint32_t stride = POSTING_CHUNK_SLOTS / wanted;
        for (uint32_t j = 0; j < wanted; j++) {
            const uint32_t place = j * stride;
            if (posting.bitmap) {
                data[place / 8] |= (uint8_t)(1u << place % 8);
            } else {
                store16(data + 2 * j, (uint16_t)place);
            }
            set->model[(posting.chunk << POSTING_CHUNK_BITS) + place - MODEL_BASE] = 1;
        }
        posting.count = wanted;
        slots_add_posting(&set->slots, &posting);
    }
    for (uint64_t i = random_below(random, 20); i > 0; i--) {
        const uint64_t at = random_below(random, MODEL_SLOTS);
        slots_add(&set->slots, MODEL_BASE + at);
        set->model[at] = 1;
    }
}

static void set_check(const struct set *set)
{
    static uint8_t bits[MODEL_SLOTS / 8 + 1];
    uint64_t count = 0, list[300], from = 0;
    memset(bits, 0, sizeof bits);
    slots_to_bits(&set->slots, MODEL_BASE, bits, MODEL_SLOTS);
    for (uint32_t i = 0; i < MODEL_SLOTS; i++) {
        count += set->model[i];
        if ((bits[i / 8] >> i % 8 & 1) != set->model[i]) {
            fail_msg("bit %u", i);
        }
        if (i % 7 == 0) {
            assert_true(slots_have(&set->slots, MODEL_BASE + i) == (set->model[i] != 0));
        }
    }
    assert_true(slots_count(&set->slots) == count);
    for (size_t got = 300; got == 300;) {
        got = slots_list(&set->slots, from, list, 300);
        for (size_t i = 0; i < got; i++) {
            assert_true(list[i] >= from && set->model[list[i] - MODEL_BASE]);
            from = list[i] + 1;
        }
        count -= got;
    }
    assert_true(count == 0);
}

static void test_sets(void **state)
{
    (void)state;
    uint64_t random = 5;
    struct set a = {.model = calloc(1, MODEL_SLOTS)}, b = {.model = calloc(1, MODEL_SLOTS)};
    for (int round = 0; round < 60; round++) {
        set_random(&a, &random);
        set_random(&b, &random);
        set_check(&a);
        const int what = round % 3;
        for (uint32_t i = 0; i < MODEL_SLOTS; i++) {
            a.model[i] = what == 0   ? a.model[i] & b.model[i]
                         : what == 1 ? a.model[i] | b.model[i]
                                     : a.model[i] & !b.model[i];
        }
        (what == 0 ? slots_and : what == 1 ? slots_or : slots_and_not)(&a.slots, &b.slots);
        set_check(&a);
        set_check(&b);
        slots_release(&a.slots);
        slots_release(&b.slots);
    }
    free(a.model);
    free(b.model);
}

/* ---- random filters ---- */

static const char *random_test(struct arena *arena, uint64_t *random)
{
    static const char *const strings[] = {"\"a\\u0000é\"",
                                          "\"b\\u0000é\"",
                                          "\"2024-01-02\"",
                                          "\"550e8400-e29b-41d4-a716-446655440000\"",
                                          "\"550E8400E29B41D4A716446655440000\"",
                                          "\"no\""};
    const char *s = strings[random_below(random, 6)], *t = strings[random_below(random, 6)];
    const int n = (int)random_below(random, 6) - 3, m = (int)random_below(random, 6) - 3;
    switch (random_below(random, 16)) {
    case 0:
        return arena_format(arena, "\"match\":{\"value\":%s}", s);
    case 1:
        return arena_format(arena, "\"match\":{\"value\":%d}", n);
    case 2:
        return arena_format(arena, "\"match\":{\"value\":%s}", n > 0 ? "true" : "false");
    case 3:
        return arena_format(arena, "\"match\":{\"any\":[%s,%s]}", s, t);
    case 4:
        return arena_format(arena, "\"match\":{\"any\":[%d,%d,-9007199254740993]}", n, m);
    case 5:
        return arena_format(arena, "\"match\":{\"except\":[%s,%s]}", s, t);
    case 6:
        return arena_format(arena, "\"match\":{\"except\":[%d]}", n);
    case 7:
        return arena_format(arena, "\"match\":{\"%s\":\"%s\"}",
                            n < -2  ? "prefix"
                            : n < 0 ? "text"
                            : n < 1 ? "text_any"
                            : n < 2 ? "phrase"
                                    : "substring",
                            m > 1    ? "a"
                            : m > 0  ? "b a"
                            : m > -1 ? "a b"
                                     : "2024");
    case 8:
        return arena_format(arena, "\"range\":{\"%s\":%d.25,\"%s\":%d}", n > 0 ? "gt" : "gte", m,
                            n > 1 ? "lt" : "lte", m + 2);
    case 9:
        return arena_format(arena, "\"range\":{\"%s\":%s}", n > 0 ? "gte" : "lt",
                            m > 0 ? "18446744073709551615" : "-9007199254740993");
    case 10:
        return arena_format(arena, "\"range\":{\"%s\":\"2024-01-0%d\"}",
                            n < -1  ? "lt"
                            : n < 0 ? "lte"
                            : n < 2 ? "gt"
                                    : "gte",
                            1 + (int)random_below(random, 2));
    case 11:
        return arena_format(
            arena, "\"geo_radius\":{\"center\":{\"lon\":%d,\"lat\":%d},\"radius\":%d}",
            (int)random_below(random, 361) - 180, (int)random_below(random, 181) - 90,
            1000 * (int)random_below(random, 12000));
    case 12:
        return arena_format(
            arena,
            "\"geo_bounding_box\":{\"top_left\":{\"lon\":%d,\"lat\":%d},"
            "\"bottom_right\":{\"lon\":%d,\"lat\":%d}}",
            (int)random_below(random, 361) - 180, (int)random_below(random, 181) - 90,
            (int)random_below(random, 361) - 180, (int)random_below(random, 181) - 90);
    case 13:
        return arena_format(arena, "\"values_count\":{\"%s\":%d}", n > 0 ? "gte" : "lt",
                            (int)random_below(random, 3));
    case 14:
        return arena_format(arena, "\"is_empty\":%s", n > 0 ? "true" : "false");
    default:
        return arena_format(arena, "\"is_null\":%s", n > 0 ? "true" : "false");
    }
}

static const char *random_filter(struct arena *arena, uint64_t *random, int depth);

static const char *random_condition(struct arena *arena, uint64_t *random, int depth)
{
    static const char *const inner[] = {"b", "z"};
    const char *path = paths[random_below(random, PATHS)];
    path = *path == '"' ? "\\\"x.y\\\"" : path;
    switch (random_below(random, depth > 0 ? 14 : 11)) {
    case 0:
        return arena_format(arena, "{\"is_empty\":{\"key\":\"%s\"}}", path);
    case 1:
        return arena_format(arena, "{\"is_null\":{\"key\":\"%s\"}}", path);
    case 2:
        return arena_format(arena, "{\"has_id\":[%d,%d,%d]}", (int)random_below(random, 300),
                            (int)random_below(random, 300), (int)random_below(random, 300));
    case 3:
        return arena_format(arena, "{\"slice\":{\"total\":3,\"index\":%d}}",
                            (int)random_below(random, 3));
    case 4:
        return arena_format(arena, "{\"key\":\"%s\",%s,\"geo_polygon\":null}", path,
                            random_test(arena, random));
    case 11:
        return random_filter(arena, random, depth - 1);
    case 12:
        return arena_format(
            arena, "{\"nested\":{\"key\":\"c\",\"filter\":{\"%s\":[{\"key\":\"%s\",%s}]}}}",
            random_below(random, 2) ? "must" : "must_not", inner[random_below(random, 2)],
            random_test(arena, random));
    case 13:
        return arena_format(arena, "{\"nested\":{\"key\":\"c\",\"filter\":%s}}",
                            random_filter(arena, random, 0));
    default:
        return arena_format(arena, "{\"key\":\"%s\",%s}", path, random_test(arena, random));
    }
}

static const char *random_clause(struct arena *arena, uint64_t *random, int depth)
{
    const char *text = "";
    for (uint64_t i = random_below(random, 4); i > 0; i--) {
        text = arena_format(arena, "%s%s%s", text, *text ? "," : "",
                            random_condition(arena, random, depth));
    }
    return text;
}

static const char *random_filter(struct arena *arena, uint64_t *random, int depth)
{
    const char *text = "";
    static const char *const clauses[] = {"must", "should", "must_not"};
    for (int i = 0; i < 3; i++) {
        if (random_below(random, 2) == 0) {
            text = arena_format(arena, "%s%s\"%s\":[%s]", text, *text ? "," : "", clauses[i],
                                random_clause(arena, random, depth));
        }
    }
    if (random_below(random, 6) == 0) {
        text = arena_format(arena, "%s%s\"min_should\":{\"conditions\":[%s],\"min_count\":%d}",
                            text, *text ? "," : "", random_clause(arena, random, depth),
                            1 + (int)random_below(random, 2));
    }
    return arena_format(arena, "{%s}", text);
}

/* ---- plans ---- */

static void apply(struct fixture *fixture, struct span op)
{
    struct apply_item item = {.op = op};
    assert_int_equal(collection_apply(fixture->collection, &item, 1), OK);
}

static void define(struct fixture *fixture, struct arena *arena, const char *path, const char *kind)
{
    static const uint8_t request_id[16] = {0};
    struct op_builder op;
    const struct span name = span_text(path);
    op_begin(&op, arena, OP_FIELD_DEFINE, request_id);
    op_put_value(&op, json_of(arena, arena_format(arena, "{\"schema\":\"%s\"}", kind)));
    op_put_paths(&op, &name, 1);
    apply(fixture, op_end(&op));
}

static void fill(struct fixture *fixture, struct arena *arena, uint64_t *random, uint64_t count)
{
    static const uint8_t request_id[16] = {0};
    struct op_builder op;
    op_begin(&op, arena, OP_UPSERT, request_id);
    for (uint64_t i = 0; i < count; i++) {
        const struct point_id id = point_id_number(i);
        op_put_point(&op, &id, random_payload(arena, random));
    }
    apply(fixture, op_end(&op));
}

static void build_all(struct fixture *fixture)
{
    for (bool more = true; more;) {
        assert_int_equal(collection_build_fields(fixture->collection, &more), OK);
    }
}

struct counting {
    struct fixture *fixture;
    const struct view *view;
    const struct filter *filter;
    const struct slots *slots;
    const struct filter_plan *plan;
    const char *text;
    uint64_t matches;
};

static enum error count_row(void *context, uint64_t slot)
{
    struct counting *counting = context;
    struct point_row row;
    assert_int_equal(view_point(counting->view, slot, &row), OK);
    const bool matches =
        filter_matches_texts(counting->filter, collection_settings(counting->fixture->collection),
                             &counting->plan->texts, &row);
    const bool in = filter_plan_has(counting->plan, slot);
    if (matches ? !in : in && counting->plan->exact) {
        fail_msg("%s: slot %llu matches %d, plan says %d, exact %d", counting->text,
                 (unsigned long long)slot, matches, in, counting->plan->exact);
    }
    if (!matches && slots_have(&counting->plan->sure, slot)) {
        fail_msg("%s: slot %llu is sure and does not match", counting->text,
                 (unsigned long long)slot);
    }
    if (slots_have(counting->slots, slot) != matches) {
        fail_msg("%s: slot %llu", counting->text, (unsigned long long)slot);
    }
    counting->matches += matches;
    return OK;
}

/* Returns whether the plan was of use. */
static bool check_filter(struct fixture *fixture, const struct view *view, struct arena *arena,
                         const char *text)
{
    struct filter_limits limits = filter_limits_default();
    struct filter_fault fault;
    struct counting counting = {.fixture = fixture, .view = view, .text = text};
    struct filter_plan plan;
    struct slots slots;
    if (filter_compile(json_of(arena, text), "filter", &limits, arena, &counting.filter, &fault) !=
        OK) {
        fail_msg("%s: %s: %s", text, fault.path, fault.text);
    }
    assert_int_equal(filter_plan_make(view, counting.filter, &plan), OK);
    assert_int_equal(filter_slots(fixture->collection, view, counting.filter, 0, &slots), OK);
    counting.plan = &plan;
    counting.slots = &slots;
    assert_int_equal(view_each_row(view, count_row, &counting), OK);
    assert_true(slots_count(&slots) == counting.matches);
    const uint64_t points = view_counters(view)->point_count;
    if (plan.exact) {
        assert_true(filter_plan_count(&plan, points) == counting.matches);
    }
    const bool useful = !filter_plan_is_open(&plan);
    slots_release(&slots);
    filter_plan_release(&plan);
    return useful;
}

static void test_random_filters(void **state)
{
    (void)state;
    uint64_t random = 11;
    unsigned useful = 0, checked = 0;
    for (int round = 0; round < 12; round++) {
        struct fixture fixture;
        struct arena arena;
        fixture_begin(&fixture, 0, 0);
        fixture_create(&fixture, 0, METRIC_DOT, (UINT64_C(1) << 32) - 100);
        arena_init(&arena);
        for (size_t i = 0; i < PATHS && round > 0; i++) {
            static const char *const kinds[] = {"keyword", "integer", "float",    "geo",
                                                "text",    "bool",    "datetime", "uuid"};
            define(&fixture, &arena, paths[i], kinds[(i + (size_t)round) % 8]);
        }
        fill(&fixture, &arena, &random, 300);
        build_all(&fixture);
        struct view view = fixture_view(&fixture);
        for (int i = 0; i < 400; i++, checked++) {
            useful += check_filter(&fixture, &view, &arena, random_filter(&arena, &random, 2));
        }
        view_close(&view);
        arena_release(&arena);
        fixture_end(&fixture);
    }
    /* or the test tests nothing */
    assert_true(useful * 2 > checked);
}

/* ---- wide ranges: spans of many values, and what is left at their ends ---- */

/* Anything from one of a few values to all there are, of either sign. */
static double wide_number(uint64_t *random)
{
    const double v = ldexp(random_unit(random), (int)random_below(random, 70) - 10);
    return random_below(random, 2) ? v : random_below(random, 2) ? -v : floor(v);
}

static const char *wide_time(struct arena *arena, uint64_t *random)
{
    return arena_format(arena, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
                        random_below(random, 9) ? 1990 + (int)random_below(random, 40)
                                                : 1 + (int)random_below(random, 9998),
                        1 + (int)random_below(random, 12), 1 + (int)random_below(random, 28),
                        (int)random_below(random, 24), (int)random_below(random, 60),
                        (int)random_below(random, 60), (int)random_below(random, 1000000));
}

/* Half of them in one town. */
static const char *wide_place(struct arena *arena, uint64_t *random)
{
    const bool town = random_below(random, 2) == 0;
    return arena_format(arena, "{\"lon\":%.9f,\"lat\":%.9f}",
                        town ? 13.4 + random_unit(random) / 5 : random_unit(random) * 360 - 180,
                        town ? 52.5 + random_unit(random) / 5 : random_unit(random) * 180 - 90);
}

static struct span wide_payload(struct arena *arena, uint64_t *random)
{
    const int64_t near = ((int64_t)1 << 53) + (int64_t)random_below(random, 9);
    return json_of(
        arena,
        arena_format(arena, "{\"i\":%lld,\"f\":[%.17g,%.17g],\"t\":\"%s\",\"p\":[%s,%s]}",
                     (long long)(random_below(random, 9) ? (int64_t)wide_number(random) : near),
                     wide_number(random), wide_number(random), wide_time(arena, random),
                     wide_place(arena, random), wide_place(arena, random)));
}

static const char *wide_filter(struct arena *arena, uint64_t *random)
{
    static const char *const lows[] = {"gt", "gte"}, *const highs[] = {"lt", "lte"};
    const char *low = lows[random_below(random, 2)], *high = highs[random_below(random, 2)];
    const double x = wide_number(random), y = wide_number(random);
    const char *places[5];
    for (size_t i = 0; i < 5; i++) {
        places[i] = wide_place(arena, random);
    }
    switch (random_below(random, 7)) {
    case 0:
        return arena_format(arena,
                            "{\"must\":{\"key\":\"i\",\"range\":{\"%s\":%lld,\"%s\":%.17g}}}", low,
                            (long long)floor(fmin(x, y)), high, fmax(x, y));
    case 1:
        return arena_format(arena, "{\"must\":{\"key\":\"f\",\"range\":{\"%s\":%.17g}}}",
                            random_below(random, 2) ? low : high, x);
    case 2:
        return arena_format(
            arena, "{\"must_not\":{\"key\":\"i\",\"range\":{\"%s\":9007199254740992,\"%s\":%lld}}}",
            low, high, (long long)(9007199254740992 + (int64_t)random_below(random, 10)));
    case 3:
        return arena_format(arena,
                            "{\"must\":{\"key\":\"t\",\"range\":{\"%s\":\"%s\",\"%s\":\"%s\"}}}",
                            low, wide_time(arena, random), high, wide_time(arena, random));
    case 4:
        return arena_format(
            arena, "{\"%s\":{\"key\":\"p\",\"geo_radius\":{\"center\":%s,\"radius\":%.3f}}}",
            random_below(random, 3) ? "must" : "must_not", places[0],
            ldexp(1000 * random_unit(random), (int)random_below(random, 15)));
    case 5:
        return arena_format(
            arena,
            "{\"must\":{\"key\":\"p\",\"geo_bounding_box\":{\"top_left\":%s,\"bottom_right\":%s}}}",
            places[0], places[1]);
    default:
        return arena_format(
            arena,
            "{\"%s\":[{\"key\":\"p\",\"geo_polygon\":{\"exterior\":{\"points\":[%s,%s,%s,%s]}}},"
            "{\"key\":\"i\",\"range\":{\"%s\":%.17g}}]}",
            random_below(random, 2) ? "must" : "should", places[0], places[1], places[2], places[0],
            low, x);
    }
}

static void test_wide_ranges(void **state)
{
    (void)state;
    static const uint8_t request_id[16] = {0};
    uint64_t random = 3;
    unsigned useful = 0;
    struct fixture fixture;
    struct arena arena;
    struct op_builder op;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, (UINT64_C(1) << 32) - 1000);
    arena_init(&arena);
    define(&fixture, &arena, "i", "integer");
    define(&fixture, &arena, "f", "float");
    define(&fixture, &arena, "t", "datetime");
    define(&fixture, &arena, "p", "geo");
    op_begin(&op, &arena, OP_UPSERT, request_id);
    for (uint64_t i = 0; i < 2000; i++) {
        const struct point_id id = point_id_number(i);
        op_put_point(&op, &id, wide_payload(&arena, &random));
    }
    apply(&fixture, op_end(&op));
    build_all(&fixture);
    struct view view = fixture_view(&fixture);
    for (int i = 0; i < 700; i++) {
        useful += check_filter(&fixture, &view, &arena, wide_filter(&arena, &random));
    }
    if (useful < 500) { /* the others let everything through */
        fail_msg("%u useful plans", useful);
    }
    view_close(&view);
    arena_release(&arena);
    fixture_end(&fixture);
}

/* ---- plans that are made exact by looking at payloads ---- */

static void put_numbers(struct fixture *fixture, struct arena *arena, uint64_t first, uint64_t end)
{
    static const uint8_t request_id[16] = {0};
    struct op_builder op;
    op_begin(&op, arena, OP_UPSERT, request_id);
    for (uint64_t i = first; i < end; i++) {
        const struct point_id id = point_id_number(i);
        const char *text = arena_format(arena, "{\"i\":%d}", (int)(i % 3000));
        op_put_point(&op, &id, json_of(arena, text));
    }
    apply(fixture, op_end(&op));
}

/* How many points match by a plan that was resolved; -1: it was left as it is. */
static int64_t resolved(struct fixture *fixture, struct arena *arena, int below)
{
    const struct filter_limits limits = filter_limits_default();
    struct filter_fault fault;
    const struct filter *filter;
    struct filter_plan plan;
    struct view view = fixture_view(fixture);
    const char *text =
        arena_format(arena, "{\"must\":{\"key\":\"i\",\"range\":{\"lt\":%d}}}", below);
    assert_int_equal(filter_compile(json_of(arena, text), "f", &limits, arena, &filter, &fault),
                     OK);
    assert_int_equal(filter_plan_make(&view, filter, &plan), OK);
    assert_int_equal(filter_plan_resolve(fixture->collection, &view, filter, 0, &plan), OK);
    const int64_t count = plan.exact ? (int64_t)filter_plan_count(&plan, UINT64_MAX) : -1;
    struct slots all;
    assert_int_equal(filter_slots(fixture->collection, &view, filter, 0, &all), OK);
    for (uint64_t slot = 0; plan.exact && slot < view_counters(&view)->next_slot; slot++) {
        assert_true(slots_have(&all, slot) == filter_plan_has(&plan, slot));
    }
    slots_release(&all);
    filter_plan_release(&plan);
    view_close(&view);
    return count;
}

static void test_resolved_plans(void **state)
{
    (void)state;
    struct fixture fixture;
    struct arena arena;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    arena_init(&arena);
    put_numbers(&fixture, &arena, 0, 3000);
    /* few: at once, and again by what is kept */
    assert_int_equal(resolved(&fixture, &arena, 1), 1);
    assert_int_equal(resolved(&fixture, &arena, 1), 1);
    /* a change is seen at once: another point matches */
    put_numbers(&fixture, &arena, 3000, 3002);
    assert_int_equal(resolved(&fixture, &arena, 1), 2);
    assert_int_equal(resolved(&fixture, &arena, 1), 2);
    /* many: only when it is asked over and over */
    int64_t count = -1;
    int asked = 0;
    for (; asked < 100 && count < 0; asked++) {
        count = resolved(&fixture, &arena, 1500);
    }
    assert_true(asked > 10 && asked < 100);
    assert_int_equal(count, 1502);
    /* more filters than are kept */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(resolved(&fixture, &arena, 1), 2);
        assert_int_equal(resolved(&fixture, &arena, -i), 0);
    }
    arena_release(&arena);
    fixture_end(&fixture);
}

/* A field that is not whole yet is not asked. */
static void test_building_is_not_asked(void **state)
{
    (void)state;
    uint64_t random = 2;
    struct fixture fixture;
    struct arena arena;
    bool more;
    fixture_begin(&fixture, 0, 0);
    fixture_create(&fixture, 0, METRIC_DOT, 0);
    arena_init(&arena);
    fill(&fixture, &arena, &random, 5000);
    define(&fixture, &arena, "a", "keyword");
    assert_int_equal(collection_build_fields(fixture.collection, &more), OK);
    assert_true(more);
    struct view view = fixture_view(&fixture);
    const char *filter = "{\"must\":{\"key\":\"a\",\"match\":{\"any\":[\"a\\u0000é\",\"x\"]}}}";
    assert_false(check_filter(&fixture, &view, &arena, filter));
    view_close(&view);
    build_all(&fixture);
    view = fixture_view(&fixture);
    assert_true(check_filter(&fixture, &view, &arena, filter));
    view_close(&view);
    arena_release(&arena);
    fixture_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_random_filters),
        cmocka_unit_test(test_wide_ranges),
        cmocka_unit_test(test_resolved_plans),
        cmocka_unit_test(test_building_is_not_asked),
    };
    return cmocka_run_group_tests_name("filter_plan", tests, NULL, NULL);
}
