/* The inside of a run's value, for vectors.c and check.c. Private to storage/. */
#ifndef KITH_STORAGE_RUN_H
#define KITH_STORAGE_RUN_H

#include "storage/format.h"

struct run {
    struct span value;
    uint64_t first_slot;
    size_t count;
    uint32_t epoch;
    struct run_layout at;
};

/* Offsets that the value can hold, whatever it says; its checksum is not looked at. */
enum error run_open(const struct layout *layout, struct span value, struct run *run) MUST_CHECK;
/* Header, factors and codes against the checksum and the key's slot. */
enum error run_check(const struct run *run, uint16_t vector, uint64_t first_slot) MUST_CHECK;
/* Row i < run->count. */
void run_place(const struct layout *layout, const struct run *run, size_t i,
               struct vector_place *place);
void run_row(const struct layout *layout, const struct run *run, size_t i, struct vector_row *row);

#endif
