/* Top-k search over one view: estimate, bound, rerank.
 *
 * 1-bit codes of the partitions nearest to the query, as many as the recall asks for, and of the
 * generations, in place; what its upper bound lets through is scored by its 4-bit
 * code; what that bound lets through is scored exactly from the stored floats. The k-th best EXACT
 * key so far is the threshold of all stages, so it only tightens. Below CODEC_SCAN_DIM_MIN dims,
 * for Manhattan and for exact requests every live vector is scored exactly. Returned keys are
 * always exact. Order: key descending, then id ascending.
 *
 * Sparse vectors: search_sparse.c; multivectors: search_multi.c. A point without the vector is in
 * no answer. */
#ifndef KITH_INDEX_SEARCH_H
#define KITH_INDEX_SEARCH_H

#include <stdatomic.h>

#include "index/database.h"
#include "index/filter.h"

/* Scratch of one thread, grown as needed, never shrunk below use; owner the thread. */
struct search_workspace *search_workspace_new(void);
void search_workspace_free(struct search_workspace *workspace);

struct search_request {
    uint16_t vector_number;
    /* Finite; Cosine: normalised. Dense: float[dim]; of a multivector float[vector_count][dim]; of
     * a sparse one its values float[vector_count] and their indices, ascending */
    const float *vector;
    const uint32_t *indices;
    size_t vector_count;
    uint64_t limit;  /* results wanted, clamped to the live points */
    uint64_t offset; /* best ones left out */
    bool has_threshold;
    float threshold_score;          /* client score; strictly better ones are kept */
    bool exact;                     /* score every live vector exactly */
    float recall;                   /* expected, in [0.5, 1); 0: RECALL_DEFAULT, 0.99 */
    float effort;                   /* without a recall: times the default share; 0: once */
    bool unsampled;                 /* not a client's query: nothing is to be learnt from it */
    float share;                    /* of the codes to read instead, in (0, 1]; 0: as recall says */
    const struct point_id *exclude; /* ids left out of the answer */
    size_t exclude_count;
    const struct filter *filter; /* points that do not match are left out; NULL: none are */
    uint64_t deadline_ns;        /* CLOCK_MONOTONIC, 0: none; past it ERROR_CANCELLED */
};

struct hit {
    uint64_t slot;
    float key;
    struct point_row row; /* borrowed from the view */
};

struct search_stats {
    uint64_t codes_scanned, second_stage, exact_scored, partitions;
    bool sampled;  /* it waits to be answered again: recall_sample */
    bool degraded; /* a damaged row was left out; its checksum did not hold */
};

/* hits: in the arena. ERROR_CANCELLED, ERROR_CORRUPT. The thread that opened the view. */
enum error collection_search(struct collection *collection, const struct view *view,
                             const struct search_request *request,
                             struct search_workspace *workspace, struct arena *arena,
                             struct hit **hits, size_t *hit_count,
                             struct search_stats *stats) MUST_CHECK;

#endif
