/* A collection's file written anew without its free pages, to take the place of the old one.
 *
 *     DIR/compact/N/      the copy of DIR/collections/N while it is made; emptied at start
 *
 * LMDB reuses the pages that are freed but never gives them back. The copy is made entry by entry,
 * in order, through a view: that needs nothing of LMDB's inside, and notices damage (every entry
 * must lie in the file and be counted) instead of carrying it over. It is opened and compared with
 * the original before it takes its place by a rename: killed at any moment, the collection is the
 * old file or the new one, never a mixture, and a disk that fills up leaves the old one as it was.
 *
 * Nothing may be written to the environment from begin to end: the copy would not have it. All of
 * this by the writer thread, which may do other things between two steps. */
#ifndef KITH_STORAGE_COMPACT_H
#define KITH_STORAGE_COMPACT_H

#include "storage/points.h"

struct compaction;

struct compaction_sizes {
    uint64_t bytes_before; /* of the file's pages in use, free ones among them */
    uint64_t bytes_live;   /* of those that hold something */
    uint64_t bytes_after;  /* of the copy; known once it is whole */
};

/* Would a copy be smaller by a twentieth or more? *live: bytes of pages that hold something. */
enum error compaction_worth(struct environment *environment, uint64_t *used, uint64_t *live,
                            bool *worth) MUST_CHECK;

/* Begin to copy what there is now, through a view of `reader`. ERROR_FULL when the disk has not the
 * room for it beside what it keeps free. */
enum error compaction_begin(struct environment *environment, uint32_t reader,
                            struct compaction **compaction) MUST_CHECK;
/* Copy about `bytes` more, in a transaction of the copy. *done: all of it is there, and durable. */
enum error compaction_step(struct compaction *compaction, uint64_t bytes, bool *done) MUST_CHECK;
/* Check the copy against the original, close the original behind the gate (readers wait, and the
 * views that are open are waited for), put the copy in its place and open it. An error before the
 * rename leaves the environment as it was. To be ended in any case. */
enum error compaction_swap(struct compaction *compaction) MUST_CHECK;
const struct compaction_sizes *compaction_sizes(const struct compaction *compaction);
/* Lets go of everything and removes a copy that was not used. Accepts NULL. */
void compaction_end(struct compaction *compaction);

#endif
