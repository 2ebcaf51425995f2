/* What a text index makes of a text: tokens.
 *
 * A text is cut into words (by blanks, at what is no letter or digit, or by ICU's word boundaries
 * with its dictionaries), each of which is folded to ASCII and lowercased as asked, dropped if it
 * is a stop word, stemmed, and dropped if it is too short or too long. The prefix tokenizer makes a
 * token of every beginning of a word. The same is done to what is searched for. */
#ifndef KITH_INDEX_TEXT_H
#define KITH_INDEX_TEXT_H

#include "index/field.h"

/* Judge the options of a text index: schema, an object or empty for the defaults. The analyzer
 * points into it. */
enum error text_analyzer_compile(struct span schema, struct arena *arena,
                                 const struct text_analyzer **analyzer,
                                 struct field_fault *fault) MUST_CHECK;

/* Call each with the tokens of a text, in order; until it says false. query: of a prefix index,
 * only the longest beginning of a word. The text is UTF-8; damaged bytes end words. Allocates and
 * frees as it goes; any thread. */
void text_tokens(const struct text_analyzer *analyzer, struct span text, bool query,
                 bool (*each)(void *context, struct span token), void *context);

#endif
