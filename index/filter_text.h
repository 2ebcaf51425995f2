/* What text, text_any and phrase mean where there is a text index: tokens, in place of substrings.
 * Private to index/.
 *
 * A filter is bound to the fields of a view: its tests on fields with a text index are listed with
 * the tokens they look for. A value matches as the index would have it, looked at itself: so what a
 * test means changes with the definition, at once, however long the index takes to build. */
#ifndef KITH_INDEX_FILTER_TEXT_H
#define KITH_INDEX_FILTER_TEXT_H

#include "index/field.h"
#include "index/filter_tree.h"

struct filter_text {
    const struct test *test;
    const struct field *field;
    struct span *tokens; /* in order; none: nothing matches */
    size_t *fallback;    /* of phrases: how much of the phrase still fits after a mismatch (KMP) */
    size_t count;
};
struct filter_texts {
    struct filter_text *items;
    size_t count;
};

/* In the arena; the fields and the filter must outlive it. */
void filter_texts_bind(const struct filter *filter, const struct field_list *fields,
                       struct arena *arena, struct filter_texts *texts);
/* NULL: the test is not bound. texts may be NULL. */
const struct filter_text *filter_texts_find(const struct filter_texts *texts,
                                            const struct test *test);
/* Does a string match? */
bool filter_text_holds(const struct filter_text *text, struct span value);

#endif
