/* Control bodies through jansson: text to a flat value (index/value.h) in the request's arena.
 *
 * The only file that includes jansson.h is tree.c: its names and those of json.h exclude each
 * other. Duplicate keys are refused. Integers above 2^63 - 1 are refused (nothing here holds an
 * id). */
#ifndef KITH_SERVER_TREE_H
#define KITH_SERVER_TREE_H

#include "index/value.h"

/* Seed jansson's hash tables from the kernel. Once, before the first tree_parse. */
void tree_seed(void);

/* Parse a whole document whose top is an object. false: *why is a text in the arena. Any thread. */
bool tree_parse(struct span text, struct arena *arena, struct span *value, const char **why);

const char *tree_library_version(void); /* jansson's */

#endif
