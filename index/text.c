#include "index/text.h"

#include <inttypes.h>
#include <stdlib.h>

#include <libstemmer.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf8.h>

#include "index/filter_tree.h"
#include "index/stopwords.h"

/* A longer word is no word: it makes no token. */
#define WORD_BYTES_MAX 4096u
/* Folding writes out what is one letter elsewhere: at most so many for one. */
#define FOLDED_UNITS_MAX 24u
#define LISTS_MAX 32u
/* Far above any payload; ICU counts in int32. */
#define TEXT_BYTES_MAX ((size_t)1 << 29)

enum tokenizer { TOKENIZER_PREFIX, TOKENIZER_WHITESPACE, TOKENIZER_WORD, TOKENIZER_MULTILINGUAL };

struct text_analyzer {
    enum tokenizer tokenizer;
    bool lowercase, ascii_folding;
    uint64_t least_chars, most_chars; /* of a token */
    const struct stopwords *lists[LISTS_MAX];
    size_t list_count;
    struct span *own; /* stop words of the index's own, sorted */
    size_t own_count;
    const char *stemmer; /* algorithm of libstemmer, or NULL */
};

/* ---- options ---- */

struct options {
    struct span schema;
    struct arena *arena;
    struct field_fault *fault;
};

static bool wrong(const struct options *options, enum field_fault_kind kind, const char *name,
                  const char *text)
{
    *options->fault =
        (struct field_fault){kind, arena_format(options->arena, "field_schema.%s: %s", name, text)};
    return false;
}

static struct span option(const struct options *options, const char *name)
{
    struct span value = value_get(options->schema, span_text(name));
    return value_kind(value) == VALUE_NULL ? (struct span){0} : value;
}

static bool read_flag(const struct options *options, const char *name, bool *flag)
{
    struct span value = option(options, name);
    if (value.bytes == 0)
        return true;
    if (value_kind(value) != VALUE_BOOL)
        return wrong(options, FIELD_FAULT_FORMAT, name, "expected a boolean");
    *flag = value_bool(value);
    return true;
}

static bool read_length(const struct options *options, const char *name, uint64_t *length)
{
    struct span value = option(options, name);
    if (value.bytes == 0)
        return true;
    if (value_kind(value) != VALUE_INTEGER || value_integer(value) < 0)
        return wrong(options, FIELD_FAULT_FORMAT, name, "expected an unsigned integer");
    *length = value_unsigned(value);
    return true;
}

static bool read_tokenizer(const struct options *options, enum tokenizer *tokenizer)
{
    static const char *const names[] = {"prefix", "whitespace", "word", "multilingual"};
    struct span value = option(options, "tokenizer");
    *tokenizer = TOKENIZER_WORD;
    for (size_t i = 0; i < sizeof names / sizeof *names && value.bytes > 0; i++) {
        if (span_equal(value_string(value), span_text(names[i]))) {
            *tokenizer = (enum tokenizer)i;
            return true;
        }
    }
    return value.bytes == 0 ||
           wrong(options, FIELD_FAULT_FORMAT, "tokenizer",
                 "expected one of `prefix`, `whitespace`, `word`, `multilingual`");
}

/* Languages go by their names or by their codes. */
static struct span language_name(struct span code)
{
    static const char *const table[][2] = {
        {"ar", "arabic"},     {"bn", "bengali"},  {"ca", "catalan"},    {"da", "danish"},
        {"de", "german"},     {"el", "greek"},    {"en", "english"},    {"es", "spanish"},
        {"eu", "basque"},     {"fi", "finnish"},  {"fr", "french"},     {"he", "hebrew"},
        {"hu", "hungarian"},  {"hy", "armenian"}, {"id", "indonesian"}, {"it", "italian"},
        {"ja", "japanese"},   {"ne", "nepali"},   {"nl", "dutch"},      {"no", "norwegian"},
        {"pt", "portuguese"}, {"ro", "romanian"}, {"ru", "russian"},    {"sl", "slovene"},
        {"sv", "swedish"},    {"ta", "tamil"},    {"tr", "turkish"},    {"zh", "chinese"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (span_equal(code, span_text(table[i][0])))
            return span_text(table[i][1]);
    return code;
}

static bool add_language(const struct options *options, struct text_analyzer *analyzer,
                         struct span value)
{
    struct span name = language_name(value_string(value));
    const struct stopwords *list = stopwords_find(name);
    if (value_kind(value) != VALUE_STRING)
        return wrong(options, FIELD_FAULT_FORMAT, "stopwords", "expected a language");
    if (list == NULL || analyzer->list_count == LISTS_MAX)
        return wrong(options, FIELD_FAULT_INPUT, "stopwords",
                     arena_format(options->arena, "there is no list for the language `%.*s`",
                                  (int)(name.bytes < 64 ? name.bytes : 64),
                                  (const char *)name.data));
    analyzer->lists[analyzer->list_count++] = list;
    return true;
}

static int compare_spans(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static bool read_own(const struct options *options, struct text_analyzer *analyzer,
                     struct span words)
{
    struct value_cursor cursor;
    struct span key, word;
    size_t capacity = value_count(words);
    if (value_kind(words) != VALUE_ARRAY)
        return wrong(options, FIELD_FAULT_FORMAT, "stopwords.custom", "expected a list of words");
    analyzer->own =
        arena_allocate(options->arena, size_product(capacity + 1, sizeof *analyzer->own));
    value_walk(words, &cursor);
    while (analyzer->own_count < capacity && value_next(&cursor, &key, &word)) {
        if (value_kind(word) != VALUE_STRING)
            return wrong(options, FIELD_FAULT_FORMAT, "stopwords.custom", "expected a word");
        analyzer->own[analyzer->own_count++] = value_string(word);
    }
    return true;
}

static bool read_languages(const struct options *options, struct text_analyzer *analyzer,
                           struct span languages)
{
    struct value_cursor cursor;
    struct span key, language;
    if (value_kind(languages) != VALUE_ARRAY)
        return wrong(options, FIELD_FAULT_FORMAT, "stopwords.languages",
                     "expected a list of languages");
    value_walk(languages, &cursor);
    while (value_next(&cursor, &key, &language))
        if (!add_language(options, analyzer, language))
            return false;
    return true;
}

/* A language, or {languages, custom}. */
static bool read_stopwords(const struct options *options, struct text_analyzer *analyzer)
{
    struct span value = option(options, "stopwords");
    if (value.bytes == 0)
        return true;
    if (value_kind(value) != VALUE_OBJECT)
        return add_language(options, analyzer, value);
    struct span languages = value_get(value, span_text("languages"));
    struct span custom = value_get(value, span_text("custom"));
    return (languages.bytes == 0 || value_kind(languages) == VALUE_NULL ||
            read_languages(options, analyzer, languages)) &&
           (custom.bytes == 0 || value_kind(custom) == VALUE_NULL ||
            read_own(options, analyzer, custom));
}

static void prepare_own(struct text_analyzer *analyzer, struct arena *arena);

/* {"type": "snowball", "language": ..}, or {"type": "none"}. */
static bool read_stemmer(const struct options *options, struct text_analyzer *analyzer)
{
    struct span value = option(options, "stemmer");
    if (value.bytes == 0)
        return true;
    struct span type = value_string(value_get(value, span_text("type")));
    if (span_equal(type, span_text("none")))
        return true;
    struct span language = language_name(value_string(value_get(value, span_text("language"))));
    if (!span_equal(type, span_text("snowball")) || language.bytes == 0 || language.bytes > 64)
        return wrong(options, FIELD_FAULT_FORMAT, "stemmer",
                     "expected an object with `type` snowball and `language`");
    const char *name =
        arena_format(options->arena, "%.*s", (int)language.bytes, (const char *)language.data);
    for (const char **known = sb_stemmer_list(); *known != NULL; known++) {
        if (strcmp(*known, name) == 0) {
            analyzer->stemmer = *known;
            return true;
        }
    }
    return wrong(options, FIELD_FAULT_INPUT, "stemmer",
                 arena_format(options->arena, "there is none for the language `%s`", name));
}

enum error text_analyzer_compile(struct span schema, struct arena *arena,
                                 const struct text_analyzer **out, struct field_fault *fault)
{
    const struct options options = {schema, arena, fault};
    struct text_analyzer *analyzer = arena_allocate(arena, sizeof *analyzer);
    bool phrase = false; /* phrases are looked up in the text itself: always there */
    *analyzer = (struct text_analyzer){.lowercase = true, .most_chars = UINT64_MAX};
    *out = analyzer;
    if (!read_tokenizer(&options, &analyzer->tokenizer) ||
        !read_flag(&options, "lowercase", &analyzer->lowercase) ||
        !read_flag(&options, "ascii_folding", &analyzer->ascii_folding) ||
        !read_flag(&options, "phrase_matching", &phrase) ||
        !read_length(&options, "min_token_len", &analyzer->least_chars) ||
        !read_length(&options, "max_token_len", &analyzer->most_chars) ||
        !read_stopwords(&options, analyzer) || !read_stemmer(&options, analyzer))
        return ERROR_INVALID;
    prepare_own(analyzer, arena);
    if (analyzer->least_chars <= analyzer->most_chars)
        return OK;
    (void)wrong(&options, FIELD_FAULT_VALUE, "min_token_len", "must not be above max_token_len");
    return ERROR_INVALID;
}

/* ---- one word ---- */

struct tokens {
    const struct text_analyzer *analyzer;
    bool query;
    bool (*each)(void *context, struct span token);
    void *context;
    struct sb_stemmer *stemmer; /* opened when first needed */
    UChar *units;               /* [WORD_BYTES_MAX * 2], the same */
    char *utf8;                 /* [WORD_BYTES_MAX * 6], the same */
    char lower[128];            /* a short word of ASCII */
};

static bool is_ascii(struct span word)
{
    for (size_t i = 0; i < word.bytes; i++)
        if (word.data[i] >= 0x80)
            return false;
    return true;
}

static uint64_t count_chars(struct span text)
{
    uint64_t count = 0;
    for (size_t i = 0; i < text.bytes; i++)
        count += (text.data[i] & 0xc0) != 0x80;
    return count;
}

/* Letters that do not decompose into an ASCII letter and marks. */
static const char *fold_special(UChar32 c)
{
    static const struct {
        UChar32 c;
        const char *text;
    } table[] = {
        {0xc6, "AE"},  {0xd0, "D"},   {0xd8, "O"},   {0xde, "TH"},  {0xdf, "ss"}, {0xe6, "ae"},
        {0xf0, "d"},   {0xf8, "o"},   {0xfe, "th"},  {0x110, "D"},  {0x111, "d"}, {0x126, "H"},
        {0x127, "h"},  {0x131, "i"},  {0x138, "q"},  {0x141, "L"},  {0x142, "l"}, {0x14a, "N"},
        {0x14b, "n"},  {0x152, "OE"}, {0x153, "oe"}, {0x166, "T"},  {0x167, "t"}, {0x1e9e, "SS"},
        {0x2018, "'"}, {0x2019, "'"}, {0x2013, "-"}, {0x2014, "-"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].c == c)
            return table[i].text;
    return NULL;
}

/* The ASCII that a character decomposes into (compatibly), or itself when that is not ASCII. */
static size_t fold_char(UChar32 c, UChar out[FOLDED_UNITS_MAX])
{
    UErrorCode status = U_ZERO_ERROR;
    const UNormalizer2 *nfkd = unorm2_getNFKDInstance(&status);
    const char *special = fold_special(c);
    UChar parts[FOLDED_UNITS_MAX];
    size_t count = 0;
    for (; special != NULL && special[count] != 0; count++)
        out[count] = (UChar)special[count];
    if (special != NULL)
        return count;
    int32_t length =
        U_SUCCESS(status) ? unorm2_getDecomposition(nfkd, c, parts, FOLDED_UNITS_MAX, &status) : -1;
    bool ascii = U_SUCCESS(status) && length > 0;
    for (int32_t i = 0; i < length && ascii; i++) {
        if (parts[i] < 0x80)
            out[count++] = parts[i];
        else
            ascii = u_charType(parts[i]) == U_NON_SPACING_MARK;
    }
    if (ascii && count > 0)
        return count;
    if (u_charType(c) == U_NON_SPACING_MARK)
        return 0;
    count = 0;
    U16_APPEND_UNSAFE(out, count, c);
    return count;
}

/* ICU's own macro for this does not pass -Wsign-conversion. */
static UChar32 next_char(const UChar *units, int32_t *i, int32_t length)
{
    const uint32_t lead = units[(*i)++];
    if (!U16_IS_LEAD(lead) || *i == length || !U16_IS_TRAIL(units[*i]))
        return (UChar32)lead;
    return (UChar32)((lead - 0xd800u) * 0x400u + (units[(*i)++] - 0xdc00u) + 0x10000u);
}

/* units[length] folded, in place as far as it fits; returns the new length. */
static int32_t fold(UChar *units, int32_t length, int32_t capacity)
{
    UChar *copy = allocate(((size_t)length + 1) * sizeof *copy);
    int32_t made = 0;
    memcpy(copy, units, (size_t)length * sizeof *copy);
    for (int32_t i = 0; i < length && made + (int32_t)FOLDED_UNITS_MAX <= capacity;) {
        UChar folded[FOLDED_UNITS_MAX];
        const size_t count = fold_char(next_char(copy, &i, length), folded);
        memcpy(units + made, folded, count * sizeof *folded);
        made += (int32_t)count;
    }
    free(copy);
    return made;
}

/* Folded and lowercased, by ICU. Empty: not UTF-8, or too long. */
static struct span normalise(struct tokens *tokens, struct span word)
{
    UErrorCode status = U_ZERO_ERROR;
    const int32_t capacity = 2 * WORD_BYTES_MAX;
    int32_t length = 0, bytes = 0;
    if (tokens->units == NULL) {
        tokens->units = allocate(2 * (size_t)capacity * sizeof *tokens->units);
        tokens->utf8 = allocate(3 * (size_t)capacity);
    }
    u_strFromUTF8(tokens->units, capacity, &length, (const char *)word.data, (int32_t)word.bytes,
                  &status);
    if (U_FAILURE(status))
        return (struct span){0};
    if (tokens->analyzer->ascii_folding)
        length = fold(tokens->units, length, capacity);
    UChar *units = tokens->units;
    if (tokens->analyzer->lowercase) {
        units = tokens->units + capacity;
        length = u_strToLower(units, capacity, tokens->units, length, "", &status);
    }
    if (U_SUCCESS(status))
        u_strToUTF8(tokens->utf8, 3 * capacity, &bytes, units, length, &status);
    return U_SUCCESS(status) ? span_of(tokens->utf8, (size_t)bytes) : (struct span){0};
}

static bool is_stopword(const struct text_analyzer *analyzer, struct span word)
{
    for (size_t i = 0; i < analyzer->list_count; i++)
        if (stopwords_have(analyzer->lists[i], word))
            return true;
    return analyzer->own_count > 0 &&
           bsearch(&word, analyzer->own, analyzer->own_count, sizeof word, compare_spans) != NULL;
}

static struct span stem(struct tokens *tokens, struct span word)
{
    if (tokens->stemmer == NULL)
        tokens->stemmer = sb_stemmer_new(tokens->analyzer->stemmer, NULL);
    if (tokens->stemmer == NULL)
        return word;
    const sb_symbol *out = sb_stemmer_stem(tokens->stemmer, word.data, (int)word.bytes);
    return out == NULL ? word : span_of(out, (size_t)sb_stemmer_length(tokens->stemmer));
}

/* Bytes of the first `chars` characters. */
static size_t prefix_bytes(struct span word, uint64_t chars)
{
    size_t i = 0;
    for (; i < word.bytes; i++) {
        if ((word.data[i] & 0xc0) != 0x80 && chars-- == 0)
            break;
    }
    return i;
}

/* Every beginning of the word; of a query, the longest there is in the index. */
static bool put_prefixes(struct tokens *tokens, struct span word)
{
    const uint64_t chars = count_chars(word);
    const uint64_t least = tokens->analyzer->least_chars > 0 ? tokens->analyzer->least_chars : 1;
    const uint64_t most =
        tokens->analyzer->most_chars < chars ? tokens->analyzer->most_chars : chars;
    for (uint64_t n = tokens->query ? most : least; n >= least && n <= most; n++)
        if (!tokens->each(tokens->context, span_of(word.data, prefix_bytes(word, n))))
            return false;
    return true;
}

/* A word as it is compared. Empty: it is none. The result lasts until the next call. */
static struct span shape(struct tokens *tokens, struct span word)
{
    const bool lowercase = tokens->analyzer->lowercase;
    if (word.bytes == 0 || word.bytes > WORD_BYTES_MAX)
        return (struct span){0};
    if (!is_ascii(word) || (lowercase && word.bytes > sizeof tokens->lower))
        return normalise(tokens, word);
    if (!lowercase)
        return word;
    for (size_t i = 0; i < word.bytes; i++)
        tokens->lower[i] =
            (char)(word.data[i] >= 'A' && word.data[i] <= 'Z' ? word.data[i] + 32 : word.data[i]);
    return span_of(tokens->lower, word.bytes);
}

/* The stop words of the index's own meet words that are folded and lowercased. */
static void prepare_own(struct text_analyzer *analyzer, struct arena *arena)
{
    struct tokens tokens = {.analyzer = analyzer};
    for (size_t i = 0; i < analyzer->own_count; i++) {
        const struct span word = shape(&tokens, analyzer->own[i]);
        analyzer->own[i] = (struct span){0};
        if (word.bytes > 0)
            analyzer->own[i] = span_of(arena_copy(arena, word.data, word.bytes), word.bytes);
    }
    if (analyzer->own_count > 0)
        qsort(analyzer->own, analyzer->own_count, sizeof *analyzer->own, compare_spans);
    free(tokens.units);
    free(tokens.utf8);
}

/* A word of the text: into tokens. */
static bool put_word(struct tokens *tokens, struct span word)
{
    const struct text_analyzer *analyzer = tokens->analyzer;
    word = shape(tokens, word);
    if (word.bytes == 0 || is_stopword(analyzer, word))
        return true;
    if (analyzer->stemmer != NULL)
        word = stem(tokens, word);
    if (analyzer->tokenizer == TOKENIZER_PREFIX)
        return put_prefixes(tokens, word);
    const uint64_t chars = count_chars(word);
    return chars == 0 || chars < analyzer->least_chars || chars > analyzer->most_chars ||
           tokens->each(tokens->context, word);
}

/* ---- words of a text ---- */

static bool is_word_char(UChar32 c)
{
    return c >= 0 && (u_isUAlphabetic(c) || (U_GET_GC_MASK(c) & U_GC_N_MASK) != 0);
}

static bool splits(const struct text_analyzer *analyzer, UChar32 c)
{
    if (analyzer->tokenizer == TOKENIZER_WHITESPACE)
        return c < 0 || u_isUWhiteSpace(c);
    return !is_word_char(c);
}

static void split(struct tokens *tokens, struct span text)
{
    size_t begin = 0, i = 0;
    while (i < text.bytes) {
        const size_t at = i;
        UChar32 c;
        U8_NEXT(text.data, i, text.bytes, c);
        if (!splits(tokens->analyzer, c))
            continue;
        if (!put_word(tokens, span_of(text.data + begin, at - begin)))
            return;
        begin = i;
    }
    (void)put_word(tokens, span_of(text.data + begin, text.bytes - begin));
}

/* One run between two of ICU's boundaries; those without a letter or digit are no words. */
static bool put_run(struct tokens *tokens, const UChar *units, int32_t length)
{
    char word[3 * 1024];
    int32_t bytes = 0;
    UErrorCode status = U_ZERO_ERROR;
    bool any = false;
    for (int32_t i = 0; i < length && !any;) {
        any = is_word_char(next_char(units, &i, length));
    }
    if (!any)
        return true;
    u_strToUTF8(word, sizeof word, &bytes, units, length, &status);
    return U_FAILURE(status) || put_word(tokens, span_of(word, (size_t)bytes));
}

static void split_by_icu(struct tokens *tokens, struct span text)
{
    UErrorCode status = U_ZERO_ERROR;
    int32_t length = 0;
    const int32_t capacity = (int32_t)text.bytes + 1;
    UChar *units = allocate((size_t)capacity * sizeof *units);
    u_strFromUTF8WithSub(units, capacity, &length, (const char *)text.data, (int32_t)text.bytes,
                         0xfffd, NULL, &status);
    UBreakIterator *breaks =
        U_SUCCESS(status) ? ubrk_open(UBRK_WORD, "", units, length, &status) : NULL;
    if (U_SUCCESS(status)) {
        int32_t begin = ubrk_first(breaks);
        for (int32_t end = ubrk_next(breaks); end != UBRK_DONE; end = ubrk_next(breaks)) {
            if (!put_run(tokens, units + begin, end - begin))
                break;
            begin = end;
        }
    } else {
        split(tokens, text); /* ICU without its data: words by letters */
    }
    ubrk_close(breaks);
    free(units);
}

void text_tokens(const struct text_analyzer *analyzer, struct span text, bool query,
                 bool (*each)(void *context, struct span token), void *context)
{
    struct tokens tokens = {.analyzer = analyzer, .query = query, .each = each, .context = context};
    if (text.bytes > TEXT_BYTES_MAX)
        return;
    if (analyzer->tokenizer == TOKENIZER_MULTILINGUAL)
        split_by_icu(&tokens, text);
    else
        split(&tokens, text);
    sb_stemmer_delete(tokens.stemmer);
    free(tokens.units);
    free(tokens.utf8);
}
