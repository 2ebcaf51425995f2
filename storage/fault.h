/* Which collection a thread is reading or writing, for when the map faults under it.
 *
 * LMDB believes what its pages say of themselves: a damaged one can send it out of the map
 * (SIGSEGV), make one of its asserts fail (SIGABRT), and a file that loses its bytes is SIGBUS.
 * Nothing can be saved by going on, but the next start must not die of the same page: the handler
 * marks the collection, an empty file `damaged` beside its data, and a marked one is not opened
 * until kith verify has found nothing wrong with it. */
#ifndef KITH_STORAGE_FAULT_H
#define KITH_STORAGE_FAULT_H

#include "storage/store.h"

/* This thread begins or ends to touch an environment's map; pairs may nest. */
void fault_enter(const struct environment *environment);
void fault_leave(const struct environment *environment);
/* LMDB is about to abort: one of its asserts has failed. */
void fault_asserted(void);

/* In a signal handler, of the thread it interrupted. Mark the collection that is being touched;
 * *directory: its number. false: none is. */
bool fault_mark(uint64_t *directory);
/* Is the thread here because of fault_asserted? */
bool fault_is_asserted(void);

/* Is a collection marked? */
bool store_is_marked(const struct store *store, uint64_t directory);
/* It has been checked and is whole. */
enum error store_unmark(struct store *store, uint64_t directory) MUST_CHECK;

#endif
