/* UTF-8 as RFC 3629 has it: no surrogates, nothing overlong, nothing past U+10FFFF. */
#ifndef KITH_INDEX_UTF8_H
#define KITH_INDEX_UTF8_H

#include "storage/base.h"

/* Bytes of the character at the front of text, 1 to 4; 0 if there is none (empty, cut, malformed).
 */
size_t utf8_length(struct span text);
/* true if text is UTF-8 from end to end; the empty text is. */
bool utf8_check(struct span text);

#endif
