/* Compaction of a collection's file: storage/compact.h, a step at a time. */
#ifndef KITH_INDEX_COMPACT_H
#define KITH_INDEX_COMPACT_H

#include "index/collection.h"
#include "storage/compact.h"

/* The next step: copies about 8 MiB, or puts the finished copy in the file's place. *done: there is
 * no other; sizes are set then (bytes_after equals bytes_before when it was not worth a copy). From
 * the first step to the last nothing else may be written to the collection: ops and plans are
 * refused with ERROR_BUSY. On an error the compaction has ended and the file is as it was. Give
 * space back before (index/plan.h): only free pages are left out. Writer thread. */
enum error collection_compact(struct collection *collection, bool *done,
                              struct compaction_sizes *sizes) MUST_CHECK;
/* Give up between two steps. Nothing may be under way. */
void collection_compact_cancel(struct collection *collection);

#endif
