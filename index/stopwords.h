/* Stop words by language. Private to index/. */
#ifndef KITH_INDEX_STOPWORDS_H
#define KITH_INDEX_STOPWORDS_H

#include "storage/base.h"

struct stopwords {
    const char *language; /* "english" */
    const char *const *words;
    size_t count;
};

/* NULL: there is no list for that language. */
const struct stopwords *stopwords_find(struct span language);
bool stopwords_have(const struct stopwords *list, struct span word);

#endif
