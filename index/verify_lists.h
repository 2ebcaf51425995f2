/* Vectors that no run holds against the rows, and posting lists against the sparse vectors: for
 * verify. Private to index/. */
#ifndef KITH_INDEX_VERIFY_LISTS_H
#define KITH_INDEX_VERIFY_LISTS_H

#include "index/collection.h"

/* report(context, text) says what does not hold together. vector: sparse, or a multivector (which
 * has no lists). */
enum error lists_verify(const struct collection_vector *vector, const struct view *view,
                        void (*report)(void *context, const char *text), void *context) MUST_CHECK;

#endif
