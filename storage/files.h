/* Directories and file systems: what store.c and catalog.c ask of the kernel. */
#ifndef KITH_STORAGE_FILES_H
#define KITH_STORAGE_FILES_H

#include "storage/base.h"

/* Make directory `name` below descriptor `parent`, private to the user, and make it durable.
 * ERROR_EXISTS. */
enum error directory_make(int parent, const char *name) MUST_CHECK;
/* Open it; symbolic links are not followed. The caller closes *directory. */
enum error directory_open(int parent, const char *name, int *directory) MUST_CHECK;
/* Make its entries survive a power cut. */
enum error directory_sync(int directory) MUST_CHECK;
/* Remove it with all it holds; links are removed, not followed. A missing one is OK. */
enum error directory_remove(int parent, const char *name) MUST_CHECK;
/* Calls each(context, name) for every entry but . and ..; a non-OK return ends the walk. */
enum error directory_each(int parent, const char *name,
                          enum error (*each)(void *context, const char *name),
                          void *context) MUST_CHECK;

/* The name of the network file system a descriptor lies on, NULL for others. LMDB's lock and its
 * shared map do not work there. */
const char *network_file_system(int descriptor);

#endif
