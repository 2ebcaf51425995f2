/* What a text index makes of a text: tokens. */
#ifndef KITH_INDEX_TEXT_H
#define KITH_INDEX_TEXT_H

#include "index/field.h"

/* Judge the options of a text index: schema, an object or empty for the defaults. */
enum error text_analyzer_compile(struct span schema, struct arena *arena,
                                 const struct text_analyzer **analyzer,
                                 struct field_fault *fault) MUST_CHECK;

#endif
