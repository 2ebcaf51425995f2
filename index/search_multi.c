/* Multivectors: MaxSim, exact at the end.
 *
 * Few points, small dims and exact requests score every live point. Else the 1-bit codes of all
 * rows, whose lanes share the point's slot and stand side by side, give each point an estimate from
 * above: for each row of the query the best bound among the point's lanes, added up. Points are
 * then scored exactly, best estimates first, until an estimate falls below the k-th best key.
 *
 * How far above: single bounds stand CODEC_EPSILON_1BIT half widths above their estimates. A sum of
 * m of them has, were their errors independent, an error of sqrt(m) half widths, but m times a half
 * width of slack. Rows of a query resemble each other, so they are not quite independent: the
 * epsilon used falls with the fourth root of m instead of the square root. */
#include <math.h>
#include <stdlib.h>

#include "index/admission.h"
#include "index/multi.h"

#define EXACT_POINTS_MAX 2048u /* up to here all are scored */
#define EXACT_SHARE 4u         /* a larger share of the points wanted: all are scored */
#define SCAN_BLOCKS_MAX 64u    /* of one codec_scan_blocks call */

struct candidate {
    float bound;
    uint64_t slot;
};

struct multi_search {
    struct admission *admit;
    const struct collection_vector *own;
    struct multi_query query;
    float *row; /* float[dim] scratch */
    /* the scan */
    float epsilon;
    uint8_t *queries; /* struct codec_query[query.count], each query_bytes */
    size_t query_bytes;
    float *bounds;      /* of one call: float[SCAN_BLOCKS_MAX * 32] */
    float *best;        /* by row of the query: of the slot that the last call ended with */
    uint64_t last_slot; /* that slot */
    bool any;           /* there is one */
    struct candidate *candidates;
    size_t candidate_count, candidate_capacity;
};

/* ---- exact ---- */

static enum error score_one(struct multi_search *search, uint64_t slot,
                            const struct stored_vector *stored)
{
    struct admission *admit = search->admit;
    if (stored->dim != search->query.dim || stored->count == 0) {
        (void)admission_leave_out(admit, ERROR_CORRUPT);
        return OK;
    }
    const float key =
        multi_key(search->own->codec, admit->metric, &search->query, stored, search->row);
    admit->stats->exact_scored++;
    const enum error error = admission_offer(admit, slot, key);
    return error == OK ? admission_worked(admit, search->query.count * stored_data_bytes(stored))
                       : error;
}

static enum error score_stored(void *context, uint64_t slot, const struct stored_vector *stored,
                               enum error error)
{
    struct multi_search *search = context;
    if (error != OK) {
        (void)admission_leave_out(search->admit, error);
        return OK;
    }
    return admission_left_aside(search->admit, slot) ? OK : score_one(search, slot, stored);
}

static enum error search_all(struct multi_search *search)
{
    return view_each_stored(search->admit->view, search->own->number, 0, score_stored, search);
}

/* ---- candidates from codes ---- */

static struct codec_query *query_of(const struct multi_search *search, size_t i)
{
    return (struct codec_query *)(void *)(search->queries + i * search->query_bytes);
}

static void add_candidate(struct multi_search *search, uint64_t slot, float bound)
{
    if (bound < search->admit->floor || admission_left_aside(search->admit, slot)) {
        return;
    }
    if (search->candidate_count == search->candidate_capacity) {
        search->candidate_capacity =
            search->candidate_capacity == 0 ? 1024 : 2 * search->candidate_capacity;
        search->candidates = grow(search->candidates, size_product(search->candidate_capacity,
                                                                   sizeof *search->candidates));
    }
    search->candidates[search->candidate_count++] = (struct candidate){bound, slot};
}

/* The slot of the last lanes is complete. */
static void close_last(struct multi_search *search)
{
    if (search->any) {
        float sum = 0;
        for (size_t i = 0; i < search->query.count; i++) {
            sum += search->best[i];
        }
        add_candidate(search, search->last_slot, sum);
    }
    search->any = false;
}

/* Lanes of one call: bounds of row i of the query. The groups of lanes with the same slot but the
 * last get their best added to sums; the last's is kept, as its lanes may go on in the next call.
 */
static void add_row(struct multi_search *search, size_t i, const uint8_t *slots, size_t codes,
                    float *sums)
{
    size_t group = 0;
    float best = search->any && search->last_slot == load64(slots) ? search->best[i] : -INFINITY;
    for (size_t lane = 0; lane < codes; lane++) {
        if (lane > 0 && load64(slots + lane * 8) != load64(slots + (lane - 1) * 8)) {
            sums[group++] += best;
            best = -INFINITY;
        }
        const float bound = search->bounds[lane];
        best = bound > best ? bound : best;
    }
    search->best[i] = best;
}

/* Up to SCAN_BLOCKS_MAX blocks of one value. terms: of each row of the query. */
static enum error scan_blocks(struct multi_search *search, const struct centre_terms *terms,
                              const uint8_t *blocks, size_t block_count, const uint8_t *slots,
                              size_t codes)
{
    const struct codec *codec = search->own->codec;
    uint32_t survivors[SCAN_BLOCKS_MAX];
    float sums[SCAN_BLOCKS_MAX * CODEC_BLOCK_LANES] = {0};
    if (search->any && search->last_slot != load64(slots)) {
        close_last(search);
    }
    for (size_t i = 0; i < search->query.count; i++) {
        codec_scan_blocks(codec, query_of(search, i), terms[i], blocks, block_count,
                          search->epsilon, -INFINITY, survivors, search->bounds);
        add_row(search, i, slots, codes, sums);
    }
    search->admit->stats->codes_scanned += codes;
    size_t group = 0;
    for (size_t lane = 1; lane < codes; lane++) {
        if (load64(slots + lane * 8) != load64(slots + (lane - 1) * 8)) {
            add_candidate(search, load64(slots + (lane - 1) * 8), sums[group++]);
        }
    }
    search->last_slot = load64(slots + (codes - 1) * 8);
    search->any = true;
    return admission_worked(search->admit,
                            search->query.count * block_count * codec_block_bytes(codec));
}

static enum error scan_value(struct multi_search *search, const struct centre_terms *terms,
                             const struct block_value *value)
{
    const size_t block_bytes = codec_block_bytes(search->own->codec);
    enum error error = OK;
    for (size_t block = 0; block < value->block_count && error == OK; block += SCAN_BLOCKS_MAX) {
        const size_t left = value->block_count - block;
        const size_t blocks = left < SCAN_BLOCKS_MAX ? left : SCAN_BLOCKS_MAX;
        const size_t first = block * CODEC_BLOCK_LANES;
        const size_t most = blocks * CODEC_BLOCK_LANES;
        const size_t codes = value->code_count - first < most ? value->code_count - first : most;
        error = scan_blocks(search, terms, value->blocks + block * block_bytes, blocks,
                            value->slots + first * 8, codes);
    }
    return error;
}

static enum error scan_generation(struct multi_search *search, const struct generation *generation)
{
    const struct codec *codec = search->own->codec;
    struct admission *admit = search->admit;
    const size_t bytes = codec_dim(codec) * sizeof(float);
    float *centre = scratch_need(&admit->workspace->centre, bytes);
    if (generation->centre != NULL) {
        memcpy(centre, generation->centre, bytes);
    }
    struct centre_terms *terms = allocate(size_product(search->query.count, sizeof *terms));
    for (size_t i = 0; i < search->query.count; i++) {
        terms[i] = codec_query_centre(codec, query_of(search, i),
                                      generation->centre != NULL ? centre : NULL);
    }
    enum error error = OK;
    for (uint64_t i = 0; i < generation->value_count && error == OK; i++) {
        struct block_value value;
        error = view_blocks(admit->view, search->own->number, generation->number, i, &value);
        if (error == OK) {
            error = scan_value(search, terms, &value);
        } else if (admission_leave_out(admit, error)) {
            error = OK;
        }
    }
    free(terms);
    return error;
}

static int compare_candidates(const void *a, const void *b)
{
    const float x = ((const struct candidate *)a)->bound, y = ((const struct candidate *)b)->bound;
    return x > y ? -1 : x < y;
}

static enum error score_candidates(struct multi_search *search)
{
    struct admission *admit = search->admit;
    if (search->candidate_count > 0) {
        qsort(search->candidates, search->candidate_count, sizeof *search->candidates,
              compare_candidates);
    }
    enum error error = OK;
    for (size_t i = 0; i < search->candidate_count && error == OK; i++) {
        const struct candidate *candidate = &search->candidates[i];
        if (candidate->bound < admission_wanted_key(admit)) {
            break;
        }
        struct stored_vector stored;
        error = view_stored(admit->view, search->own->number, candidate->slot, &stored);
        if (error == OK) {
            error = score_one(search, candidate->slot, &stored);
        } else if (admission_leave_out(admit, error)) {
            error = OK;
        }
    }
    return error;
}

static void prepare_queries(struct multi_search *search)
{
    struct search_workspace *workspace = search->admit->workspace;
    const struct codec *codec = search->own->codec;
    const size_t count = search->query.count;
    search->query_bytes = (codec_query_bytes(codec) + 63) / 64 * 64;
    search->queries = scratch_need(&workspace->queries, size_product(count, search->query_bytes));
    search->bounds =
        scratch_need(&workspace->bounds, SCAN_BLOCKS_MAX * CODEC_BLOCK_LANES * sizeof(float));
    search->best = scratch_need(&workspace->multi, size_product(count, sizeof(float)));
    search->epsilon = CODEC_EPSILON_1BIT / sqrtf(sqrtf((float)count));
    void *work = scratch_need(&workspace->encode.work, codec_work_bytes(codec));
    for (size_t i = 0; i < count; i++) {
        codec_query_init(codec, search->admit->metric, search->query.rows + i * search->query.dim,
                         query_of(search, i), work);
    }
}

static enum error search_codes(struct multi_search *search)
{
    const uint16_t number = search->own->number;
    const struct view *view = search->admit->view;
    prepare_queries(search);
    const uint64_t count = view_vector_counters(view, number)->generation_count;
    enum error error = OK;
    for (uint64_t i = 0; i < count && error == OK; i++) {
        struct generation generation;
        error = view_generation(view, number, i, &generation);
        if (error == OK) {
            error = scan_generation(search, &generation);
        }
    }
    close_last(search);
    if (error == OK) {
        error = score_candidates(search);
    }
    free(search->candidates);
    return error;
}

/* ---- a search ---- */

static bool wants_exact(const struct multi_search *search)
{
    const struct admission *admit = search->admit;
    const uint64_t live = view_vector_counters(admit->view, search->own->number)->vector_count;
    return admit->request->exact || live <= EXACT_POINTS_MAX || admit->metric == METRIC_MANHATTAN ||
           search->query.dim < CODEC_SCAN_DIM_MIN || admit->k > live / EXACT_SHARE;
}

enum error search_multi(struct admission *admission, struct collection *collection)
{
    const struct search_request *request = admission->request;
    const struct collection_vector *own = &collection->vectors[request->vector_number];
    const uint32_t dim = own->settings->dim;
    if (request->vector_count == 0) {
        return OK;
    }
    struct multi_search search = {
        .admit = admission,
        .own = own,
        .query = {request->vector, request->vector_count, dim},
        .row = scratch_need(&admission->workspace->encode.vector, dim * sizeof(float)),
    };
    return wants_exact(&search) ? search_all(&search) : search_codes(&search);
}
