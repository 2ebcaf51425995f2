/* What this program is made of, for --version and the log. */
#ifndef KITH_SERVER_VERSION_H
#define KITH_SERVER_VERSION_H

#include <stdio.h>

void version_print(FILE *out);

#endif
