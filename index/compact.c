#include "index/compact.h"

#define STEP_BYTES (UINT64_C(8) << 20)

void collection_compact_cancel(struct collection *collection)
{
    collection = collection_newest(collection);
    compaction_end(collection->compaction);
    collection->compaction = NULL;
}

static enum error begin(struct collection *collection, bool *done, struct compaction_sizes *sizes)
{
    uint64_t used, live;
    const enum error error = compaction_worth(collection->environment, &used, &live, done);
    *done = error == OK && !*done;
    if (error != OK || *done) {
        *sizes = (struct compaction_sizes){used, live, used};
        return error;
    }
    return compaction_begin(collection->environment, database_writer_reader(collection->database),
                            &collection->compaction);
}

enum error collection_compact(struct collection *collection, bool *done,
                              struct compaction_sizes *sizes)
{
    collection = collection_newest(collection);
    if (collection->compaction == NULL) {
        return begin(collection, done, sizes);
    }
    bool copied;
    enum error error = compaction_step(collection->compaction, STEP_BYTES, &copied);
    *done = error == OK && copied;
    if (*done) {
        error = compaction_swap(collection->compaction);
        *sizes = *compaction_sizes(collection->compaction);
    }
    if (*done || error != OK) {
        collection_compact_cancel(collection);
    }
    return error;
}
