/* Memory that is used again and again: grown as needed, never shrunk. Private to index/. */
#ifndef KITH_INDEX_SCRATCH_H
#define KITH_INDEX_SCRATCH_H

#include <stdlib.h>

#include "codec/codec.h"
#include "storage/base.h"

struct scratch { /* zero before first use */
    void *data;
    size_t bytes;
};

/* At least `bytes`, 64-byte aligned, never NULL; what was in it is lost when it grows. */
static inline void *scratch_need(struct scratch *scratch, size_t bytes)
{
    if (scratch->bytes < bytes || scratch->data == NULL) {
        const size_t rounded = (bytes + 64) & ~(size_t)63;
        free(scratch->data);
        scratch->data = allocate_aligned(rounded);
        scratch->bytes = rounded;
    }
    return scratch->data;
}

static inline void scratch_release(struct scratch *scratch)
{
    free(scratch->data);
    *scratch = (struct scratch){0};
}

/* What encoding one vector after the other takes. */
struct encode_scratch {
    struct scratch vector, rotated, work, generation_centre, epoch_centre;
};

static inline void encode_scratch_release(struct encode_scratch *scratch)
{
    scratch_release(&scratch->vector);
    scratch_release(&scratch->rotated);
    scratch_release(&scratch->work);
    scratch_release(&scratch->generation_centre);
    scratch_release(&scratch->epoch_centre);
}

#endif
