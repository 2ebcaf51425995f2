/* What text indexes make of texts: every option by example, the lists and the stemmers there are,
 * and what text, text_any and phrase mean by it, in filters as in formulas' conditions. */
#include "index_fixture.h"

#include "index/field.h"
#include "index/filter_text.h"
#include "index/stopwords.h"
#include "index/text.h"
#include "server/json.h"

/* ---- tokens ---- */

static struct span json_of(struct arena *arena, const char *text)
{
    struct json json;
    struct span value;
    json_init(&json, span_text(text), arena);
    if (!json_value(&json, &value)) {
        fail_msg("%s: %s", text, json.why);
    }
    return value;
}

struct gathered {
    char text[8192];
    size_t bytes, count, limit;
};

static bool gather(void *context, struct span token)
{
    struct gathered *gathered = context;
    assert_true(gathered->bytes + token.bytes + 1 < sizeof gathered->text);
    if (gathered->count++ > 0) {
        gathered->text[gathered->bytes++] = '|';
    }
    if (token.bytes > 0) {
        memcpy(gathered->text + gathered->bytes, token.data, token.bytes);
    }
    gathered->bytes += token.bytes;
    gathered->text[gathered->bytes] = 0;
    return gathered->count != gathered->limit;
}

static const struct text_analyzer *analyzer_of(struct arena *arena, const char *schema)
{
    const struct text_analyzer *analyzer;
    struct field_fault fault;
    if (text_analyzer_compile(json_of(arena, schema), arena, &analyzer, &fault) != OK) {
        fail_msg("%s: %s", schema, fault.text);
    }
    return analyzer;
}

static void check_as(const char *schema, const char *text, bool query, const char *expected)
{
    struct arena arena;
    struct gathered gathered = {0};
    arena_init(&arena);
    text_tokens(analyzer_of(&arena, schema), span_text(text), query, gather, &gathered);
    if (strcmp(gathered.text, expected) != 0) {
        fail_msg("%s of \"%s\": %s, not %s", schema, text, gathered.text, expected);
    }
    arena_release(&arena);
}

static void check(const char *schema, const char *text, const char *expected)
{
    check_as(schema, text, false, expected);
}

static void test_word(void **state)
{
    (void)state;
    check("{}", "The quick-brown fox; 3.5 m²!", "the|quick|brown|fox|3|5|m²");
    check("{\"tokenizer\":\"word\"}", "naïve_Café Ünïcode", "naïve|café|ünïcode");
    check("{}", "", "");
    check("{}", " \t\n--", "");
    check("{}", "один ДВА три", "один|два|три");
    /* damaged bytes end words */
    check("{}",
          "ab\xff"
          "cd\xc3",
          "ab|cd");
}

static void test_whitespace(void **state)
{
    (void)state;
    check("{\"tokenizer\":\"whitespace\"}", "  C++ is-it? O'Neil\tx\u3000y ",
          "c++|is-it?|o'neil|x|y");
    check("{\"tokenizer\":\"whitespace\",\"lowercase\":false}", "C++ A b", "C++|A|b");
}

static void test_prefix(void **state)
{
    (void)state;
    const char *schema = "{\"tokenizer\":\"prefix\",\"min_token_len\":2,\"max_token_len\":4}";
    check(schema, "Hello a ab", "he|hel|hell|ab");
    check_as(schema, "Hello", true, "hell");
    check_as(schema, "hel", true, "hel");
    check_as(schema, "h", true, "");
    check("{\"tokenizer\":\"prefix\"}", "Дом é", "д|до|дом|é");
}

static void test_multilingual(void **state)
{
    (void)state;
    const char *schema = "{\"tokenizer\":\"multilingual\"}";
    check(schema, "Hello, World!", "hello|world");
    check(schema, "today's 3.5 costs", "today's|3.5|costs");
    /* no blanks between words: ICU's dictionaries cut Thai and Japanese */
    check(schema, "ภาษาไทย", "ภาษา|ไทย");
    check(schema, "私は学生です", "私|は|学生|です");
    check(schema, "", "");
    check(schema,
          "ab\xff"
          "cd",
          "ab|cd");
}

static void test_case_and_folding(void **state)
{
    (void)state;
    check("{\"lowercase\":false}", "Ab ÄÖ", "Ab|ÄÖ");
    check("{\"lowercase\":true}", "Ab ÄÖ ΣΑΣ", "ab|äö|σας");
    check("{\"ascii_folding\":true}", "Ærøskøbing Straße naïve ﬁn ½",
          "aeroskobing|strasse|naive|fin|½");
    check("{\"ascii_folding\":true,\"lowercase\":false}", "Éa Łódź", "Ea|Lodz");
    check("{\"ascii_folding\":true}", "Дом", "дом"); /* what has no ASCII stays */
    char word[600], expected[600];
    memset(word, 'A', sizeof word - 1); /* beyond the fast path */
    word[sizeof word - 1] = 0;
    memset(expected, 'a', sizeof expected - 1);
    expected[sizeof expected - 1] = 0;
    check("{}", word, expected);
}

static void test_lengths(void **state)
{
    (void)state;
    check("{\"min_token_len\":3}", "a ab abc äöü", "abc|äöü");
    check("{\"max_token_len\":2}", "a ab abc äö", "a|ab|äö");
    check("{\"min_token_len\":2,\"max_token_len\":2}", "a ab abc", "ab");
    check("{\"min_token_len\":null}", "a", "a");
    char text[5000];
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 5, " end", 5);
    check("{}", text, "end"); /* longer than any word */
}

static void test_stopwords(void **state)
{
    (void)state;
    check("{\"stopwords\":\"english\"}", "The cat AND the dog", "cat|dog");
    check("{\"stopwords\":\"en\"}", "The cat AND the dog", "cat|dog");
    check("{\"stopwords\":{\"languages\":[\"german\",\"french\"]}}", "der Hund et la Katze",
          "hund|katze");
    check("{\"stopwords\":{\"custom\":[\"Foo\",\"ÄÖ\"]}}", "foo FOO äö bar", "bar");
    check("{\"stopwords\":{\"languages\":[\"english\"],\"custom\":[\"cat\"]}}", "the cat sat",
          "sat");
    check("{\"stopwords\":{\"custom\":[\"Foo\"]},\"lowercase\":false}", "Foo foo", "foo");
    check("{\"stopwords\":{\"custom\":[]}}", "a", "a");
    check("{\"stopwords\":{\"custom\":[\"cafe\"]},\"ascii_folding\":true}", "Café bar", "bar");
}

static void test_stemmers(void **state)
{
    (void)state;
#define STEMMER(language) "{\"stemmer\":{\"type\":\"snowball\",\"language\":\"" language "\"}}"
    check(STEMMER("english"), "Running runs ponies", "run|run|poni");
    check(STEMMER("en"), "running", "run");
    check(STEMMER("german"), "Häuser Hauses", "haus|haus");
    check(STEMMER("french"), "continuellement", "continuel");
    check(STEMMER("spanish"), "corriendo", "corr");
    check(STEMMER("russian"), "важнейшими", "важн");
    check(STEMMER("swedish"), "jaktkarlens", "jaktkarl");
    check("{\"stemmer\":{\"type\":\"none\"}}", "running", "running");
    /* stop words are met before they are stemmed, lengths after */
    check("{\"stemmer\":{\"type\":\"snowball\",\"language\":\"english\"},\"stopwords\":\"english\","
          "\"max_token_len\":3}",
          "being running", "run");
    static const char *const languages[] = {
        "arabic",  "armenian", "danish",    "dutch",   "english",   "finnish",    "french",
        "german",  "greek",    "hungarian", "italian", "norwegian", "portuguese", "romanian",
        "russian", "spanish",  "swedish",   "tamil",   "turkish"};
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        struct arena arena;
        arena_init(&arena);
        (void)analyzer_of(&arena, arena_format(&arena, STEMMER("%s"), languages[i]));
        arena_release(&arena);
    }
}

/* Each list is found, sorted (it is searched by halves), and has its own words. */
static void test_lists(void **state)
{
    (void)state;
    static const char *const languages[] = {
        "arabic",     "basque",  "bengali",  "catalan", "chinese",   "danish",     "dutch",
        "english",    "finnish", "french",   "german",  "greek",     "hebrew",     "hungarian",
        "indonesian", "italian", "japanese", "nepali",  "norwegian", "portuguese", "romanian",
        "russian",    "slovene", "spanish",  "swedish", "turkish"};
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        const struct stopwords *list = stopwords_find(span_text(languages[i]));
        assert_non_null(list);
        assert_true(list->count > 10);
        for (size_t j = 0; j < list->count; j++) {
            if (j > 0 && strcmp(list->words[j - 1], list->words[j]) >= 0) {
                fail_msg("%s: %s before %s", languages[i], list->words[j - 1], list->words[j]);
            }
            assert_true(stopwords_have(list, span_text(list->words[j])));
        }
        assert_false(stopwords_have(list, span_text("xyzzy")));
    }
    assert_null(stopwords_find(span_text("klingon")));
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        enum field_fault_kind kind;
        const char *text; /* the beginning */
    } cases[] = {
        {"{\"tokenizer\":\"words\"}", FIELD_FAULT_FORMAT, "field_schema.tokenizer: "},
        {"{\"tokenizer\":3}", FIELD_FAULT_FORMAT, "field_schema.tokenizer: "},
        {"{\"lowercase\":1}", FIELD_FAULT_FORMAT, "field_schema.lowercase: "},
        {"{\"ascii_folding\":\"yes\"}", FIELD_FAULT_FORMAT, "field_schema.ascii_folding: "},
        {"{\"phrase_matching\":0}", FIELD_FAULT_FORMAT, "field_schema.phrase_matching: "},
        {"{\"min_token_len\":-1}", FIELD_FAULT_FORMAT, "field_schema.min_token_len: "},
        {"{\"max_token_len\":1.5}", FIELD_FAULT_FORMAT, "field_schema.max_token_len: "},
        {"{\"min_token_len\":3,\"max_token_len\":2}", FIELD_FAULT_VALUE,
         "field_schema.min_token_len: "},
        {"{\"stopwords\":\"klingon\"}", FIELD_FAULT_INPUT, "field_schema.stopwords: "},
        {"{\"stopwords\":3}", FIELD_FAULT_FORMAT, "field_schema.stopwords: "},
        {"{\"stopwords\":{\"languages\":[\"english\",\"klingon\"]}}", FIELD_FAULT_INPUT,
         "field_schema.stopwords: "},
        {"{\"stopwords\":{\"languages\":\"english\"}}", FIELD_FAULT_FORMAT,
         "field_schema.stopwords.languages: "},
        {"{\"stopwords\":{\"custom\":[1]}}", FIELD_FAULT_FORMAT, "field_schema.stopwords.custom: "},
        {"{\"stemmer\":{\"type\":\"snowball\",\"language\":\"klingon\"}}", FIELD_FAULT_INPUT,
         "field_schema.stemmer: there is none for the language `klingon`"},
        {"{\"stemmer\":{\"type\":\"porter\"}}", FIELD_FAULT_FORMAT, "field_schema.stemmer: "},
        {"{\"stemmer\":\"english\"}", FIELD_FAULT_FORMAT, "field_schema.stemmer: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena;
        const struct text_analyzer *analyzer;
        struct field_fault fault = {0};
        arena_init(&arena);
        if (text_analyzer_compile(json_of(&arena, cases[i].schema), &arena, &analyzer, &fault) !=
            ERROR_INVALID) {
            fail_msg("%s passes", cases[i].schema);
        }
        if (fault.kind != cases[i].kind ||
            strncmp(fault.text, cases[i].text, strlen(cases[i].text)) != 0) {
            fail_msg("%s: %d %s", cases[i].schema, (int)fault.kind, fault.text);
        }
        arena_release(&arena);
    }
}

/* The walk ends when it is told to. */
static void test_stops(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{}", "{\"tokenizer\":\"prefix\"}", "{\"tokenizer\":\"multilingual\"}",
        "{\"stemmer\":{\"type\":\"snowball\",\"language\":\"en\"}}"};
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct arena arena;
        struct gathered gathered = {.limit = 2};
        arena_init(&arena);
        text_tokens(analyzer_of(&arena, schemas[i]), span_text("one two three"), false, gather,
                    &gathered);
        assert_int_equal(gathered.count, 2);
        arena_release(&arena);
    }
}

/* ---- what tests mean ---- */

static bool matches(const char *schema, const char *match, const char *payload)
{
    struct arena arena;
    struct field field;
    struct field_fault fault;
    struct filter_fault filter_fault;
    struct filter_texts texts;
    const struct filter *filter;
    const struct filter_limits limits = filter_limits_default();
    arena_init(&arena);
    if (field_compile(span_text("t"), json_of(&arena, schema), &arena, &field, &fault) != OK) {
        fail_msg("%s: %s", schema, fault.text);
    }
    field.record.state = FIELD_BUILDING; /* what it means does not wait for the index */
    const struct field_list fields = {&field, 1};
    const char *text = arena_format(&arena, "{\"must\":{\"key\":\"t\",\"match\":%s}}", match);
    if (filter_compile(json_of(&arena, text), "filter", &limits, &arena, &filter, &filter_fault) !=
        OK) {
        fail_msg("%s: %s", text, filter_fault.text);
    }
    filter_texts_bind(filter, &fields, &arena, &texts);
    const struct filter_point point = {.payload = json_of(&arena, payload), .texts = &texts};
    const bool result = filter_matches(filter, &point);
    arena_release(&arena);
    return result;
}

#define WORDS "{\"type\":\"text\",\"stopwords\":\"english\"}"
#define T(text) "{\"t\":\"" text "\"}"

static void test_text(void **state)
{
    (void)state;
    assert_true(matches(WORDS, "{\"text\":\"fox quick\"}", T("The QUICK brown fox")));
    assert_true(matches(WORDS, "{\"text\":\"the fox\"}", T("A fox")));
    assert_false(matches(WORDS, "{\"text\":\"qui\"}", T("The quick brown fox"))); /* no substring */
    assert_false(matches(WORDS, "{\"text\":\"fox cat\"}", T("The quick brown fox")));
    assert_false(matches(WORDS, "{\"text\":\"the\"}", T("the"))); /* no token is left */
    assert_false(matches(WORDS, "{\"text\":\"\"}", T("x")));
    assert_true(matches(WORDS, "{\"text\":\"fox fox\"}", T("fox")));
    assert_false(matches(WORDS, "{\"text\":\"fox\"}", "{\"t\":3}"));
    assert_false(matches(WORDS, "{\"text\":\"fox\"}", "{}"));
    assert_true(matches(WORDS, "{\"text\":\"a b\"}", "{\"t\":[\"b\",\"B x\"]}"));
    assert_false(matches(WORDS, "{\"text\":\"x y\"}", "{\"t\":[\"x\",\"y\"]}")); /* one holds it */
    const char *prefix = "{\"type\":\"text\",\"tokenizer\":\"prefix\",\"min_token_len\":2}";
    assert_true(matches(prefix, "{\"text\":\"qui\"}", T("quick")));
    assert_false(matches(prefix, "{\"text\":\"ick\"}", T("quick")));
}

static void test_text_any(void **state)
{
    (void)state;
    assert_true(matches(WORDS, "{\"text_any\":\"cat fox\"}", T("The quick brown fox")));
    assert_false(matches(WORDS, "{\"text_any\":\"cat the\"}", T("The quick brown fox")));
    assert_false(matches(WORDS, "{\"text_any\":\"the\"}", T("the")));
    assert_true(matches(WORDS, "{\"text_any\":\"cat fox\"}", "{\"t\":[1,\"cat\"]}"));
}

static void test_phrase(void **state)
{
    (void)state;
    const char *any = "{\"type\":\"text\",\"phrase_matching\":true}";
    assert_true(matches(any, "{\"phrase\":\"quick Brown\"}", T("The quick-brown fox")));
    assert_false(matches(any, "{\"phrase\":\"brown quick\"}", T("The quick brown fox")));
    assert_false(matches(any, "{\"phrase\":\"quick fox\"}", T("The quick brown fox")));
    assert_true(matches(any, "{\"phrase\":\"a b a b c\"}", T("a b a b a b c"))); /* falls back */
    assert_false(matches(any, "{\"phrase\":\"a b a b c\"}", T("a b a b a b")));
    assert_true(matches(any, "{\"phrase\":\"a a b\"}", T("a a a b")));
    assert_false(matches(any, "{\"phrase\":\"\"}", T("x")));
    /* stop words are in neither */
    assert_true(matches(WORDS, "{\"phrase\":\"king of the hill\"}", T("The king hill")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_word),
        cmocka_unit_test(test_whitespace),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_multilingual),
        cmocka_unit_test(test_case_and_folding),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_stopwords),
        cmocka_unit_test(test_stemmers),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_any),
        cmocka_unit_test(test_phrase),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
