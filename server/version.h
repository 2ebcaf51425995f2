/* What this program is made of, for --version and the log. */
#ifndef KITH_SERVER_VERSION_H
#define KITH_SERVER_VERSION_H

#include <stdio.h>

/* The commit this was built from, 40 hex digits; zeros when it was not built in a clone. */
const char *version_commit(void);
void version_print(FILE *out);

#endif
