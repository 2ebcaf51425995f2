/* Partitions: groups of near codes, each one value that readers scan in place.
 *
 * A partition has an index (small, reused when it is removed), a centre that is frozen as long as
 * the value stands, and blocks of 1-bit codes relative to it. One value holds all of it, so that a
 * partition changes as a whole and a scan follows one pointer. A generation whose codes are being
 * moved to partitions has a bit for each lane that is gone: a code is in a partition or counts in
 * its generation, never both, in every snapshot. */
#ifndef KITH_STORAGE_PARTITIONS_H
#define KITH_STORAGE_PARTITIONS_H

#include "storage/points.h"

struct partition {
    const uint8_t *centre; /* float[dim], not rotated, unaligned */
    const uint8_t *blocks; /* block_count * block_bytes */
    const uint8_t *slots;  /* u64 little-endian [block_count * 32], unaligned */
    size_t block_count;
    size_t code_count; /* lanes in use, from lane 0 on */
    float radius;      /* root mean square distance of its points to the centre when written */
    uint16_t flags;    /* of index/, PARTITION_FLAGS_MASK */
};
#define PARTITION_FLAGS_MASK 0xffffu

/* Indexes are below this; some may be empty. */
uint64_t view_partition_count(const struct view *view, uint16_t vector);
/* Checks the value's CRC on its first read after open. ERROR_NOT_FOUND for an empty index,
 * ERROR_CORRUPT. */
enum error view_partition(const struct view *view, uint16_t vector, uint64_t index,
                          struct partition *out) MUST_CHECK;
/* Ask for the first cache lines of a partition: header, centre and the first codes. */
void view_partition_touch(const struct view *view, uint16_t vector, uint64_t index);
/* The same of what the centres are listed from: its figures and its centre, which have a checksum
 * of their own, so that the pages of its codes are not touched. Blocks and slots may not be read.
 */
enum error view_partition_head(const struct view *view, uint16_t vector, uint64_t index,
                               struct partition *out) MUST_CHECK;
/* Ask for a partition's pages ahead of reading them: when it was not read since it was opened, or,
 * if `cold`, in any case (a system call). */
void view_partition_prefetch(const struct view *view, uint16_t vector, uint64_t index, bool cold);
/* The same for its header and centre alone, when it was not read yet. */
void view_partition_prefetch_centre(const struct view *view, uint16_t vector, uint64_t index);

/* Bytes of a partition's value; what a plan reckons with. */
size_t partition_value_bytes(const struct environment *environment, uint16_t vector,
                             size_t block_count);

/* What was put by write_recall. ERROR_NOT_FOUND, ERROR_CORRUPT. */
enum error view_recall(const struct view *view, uint16_t vector, struct span *bytes) MUST_CHECK;
/* Bytes that the index keeps of a vector: what it learnt about searching. */
enum error write_recall(struct write *write, uint16_t vector, struct span bytes) MUST_CHECK;

/* For how long the oldest version that a reader still holds has been replaced; 0: none is. The
 * writer thread. */
uint64_t environment_oldest_reader_ns(struct environment *environment);

/* Put a partition: its blocks (unused lanes zero) and slots[block_count * 32]; code_count >= 1. */
enum error write_partition(struct write *write, uint16_t vector, uint64_t index,
                           const struct partition *partition) MUST_CHECK;
enum error write_partition_remove(struct write *write, uint16_t vector, uint64_t index) MUST_CHECK;
/* Lanes of a sealed generation that are in partitions now; bits: ceil(codes / 8) bytes, lane i is
 * bit i%8 of byte i/8. */
enum error write_moved(struct write *write, uint16_t vector, uint64_t generation,
                       const uint8_t *bits, size_t bytes) MUST_CHECK;
/* Put a sealed generation, none of whose lanes was moved, anew with fewer codes: blocks and slots
 * as in write_blocks for all its values, one behind the other. */
struct generation_rewrite {
    const uint8_t *blocks;
    const uint64_t *slots;
    uint64_t code_count, value_count, old_value_count;
    const float *centre; /* rotated; NULL: the origin */
};
enum error write_generation_anew(struct write *write, uint16_t vector, uint64_t generation,
                                 const struct generation_rewrite *anew) MUST_CHECK;
/* Remove a sealed generation with its blocks, centre and moved bits. */
enum error write_generation_drop(struct write *write, uint16_t vector,
                                 uint64_t generation) MUST_CHECK;

#endif
