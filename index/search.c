/* The three stages, a chunk of codes at a time.
 *
 * The scan of a chunk lets through every lane whose upper bound reaches the threshold, the k-th
 * best exact key so far. What came through is taken in batches, best bounds first, to its 4-bit
 * code, and what that lets through, best first again, to its stored vector, until a bound falls
 * below the threshold: everything behind it is worse. While there are not yet k exact keys there is
 * no threshold and a whole chunk comes through, so chunks begin small: of the first, the batch with
 * the best bounds makes a threshold that is good already, and the rest of it is dropped by its
 * bounds.
 *
 * Sorting is kept off the path: a chunk that fits one batch is not ordered at all, of a larger one
 * a batch at a time is selected. */
#include "index/search.h"

#include <assert.h>
#include <math.h>
#include <sys/resource.h>

#include "index/admission.h"
#include "index/centre_table.h"
#include "index/recall.h"

#define SCAN_BLOCKS_MAX 64u /* of one codec_scan_blocks call */
#define CHUNK_CODES_FIRST 192u
#define CHUNK_CODES_MAX 4096u
#define CHUNK_CODES_CAP 65536u /* whatever limit a client asks for */
#define BATCH_MIN 32u
/* With more than a quarter of the points wanted, bounds exclude too few to pay for themselves. */
#define EXACT_SHARE 4u
#define EPOCHS_MAX 64u /* each for eight times the codes of the last: 2^64 codes make 22 */
/* Under a filter that leaves no more slots than this, or than this share of all, they are scored
 * one by one. */
#define SLOTS_FEW 1024u
#define SLOTS_SHARE 32u
#define SLOTS_AT_ONCE 32u /* at most BATCH_MIN */
#define MASK_BITS_MAX (UINT64_C(1) << 33)
#define PREFETCH_BYTES 512u
#define PARTITIONS_AHEAD 16u /* whose pages are asked for */
#define COLD_SEARCHES 64u    /* for which they are, after one that waited for pages */
#define EXACT_AHEAD 4u       /* vectors asked for before they are scored */
/* Estimates are sums of floats whose size is that of the centre's term and the key. */
#define ROUNDING 1e-5f

struct candidate {
    float bound;
    uint64_t slot;
};

struct second {
    float bound;
    uint64_t slot;
    struct vector_place place;
};

struct search {
    struct admission admit;
    uint64_t matched; /* lanes of partitions that the mask let through */
    const struct codec *codec;
    uint16_t vector; /* its number */
    struct codec_query *query;
    bool exhaustive;    /* every live vector is scored exactly */
    size_t value_lanes; /* of a block value */
    const struct collection_vector *own;
    /* the chunk */
    struct candidate *candidates;
    size_t candidate_count, candidate_capacity;
    size_t chunk_codes, chunk_target;
    size_t batch_max;
    bool faults_counted;
    float epsilon_first, epsilon_second; /* half widths that bounds allow */
    struct second *second;               /* [batch_max] */
    struct centre_terms epochs[EPOCHS_MAX];
    uint64_t epochs_known; /* bit per epoch */
};

/* ---- workspace ---- */

struct search_workspace *search_workspace_new(void)
{
    return allocate_zeroed(1, sizeof(struct search_workspace));
}

void search_workspace_free(struct search_workspace *workspace)
{
    if (workspace == NULL) {
        return;
    }
    encode_scratch_release(&workspace->encode);
    centre_query_release(&workspace->centres);
    struct scratch *all[] = {&workspace->query,    &workspace->centre, &workspace->candidates,
                             &workspace->second,   &workspace->bounds, &workspace->entries,
                             &workspace->excluded, &workspace->mask,   &workspace->sums,
                             &workspace->multi,    &workspace->queries};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        scratch_release(all[i]);
    }
    free(workspace);
}

/* Room for the rounding of an estimate that is near `key`. */
static float rounding(struct centre_terms terms, float key)
{
    return ROUNDING * (fabsf(terms.add) + fabsf(key));
}

/* ---- the third stage ---- */

static enum error score_exact(struct search *search, uint64_t slot, const struct vector_row *row)
{
    enum error error = vector_row_check(search->admit.view, search->vector, row);
    if (error != OK) {
        return admission_leave_out(&search->admit, error) ? OK : error;
    }
    const float key = codec_exact_key(search->codec, search->query, row->vector);
    search->admit.stats->exact_scored++;
    error = admission_offer(&search->admit, slot, key);
    return error == OK ? admission_worked(&search->admit, codec_dim(search->codec) * sizeof(float))
                       : error;
}

/* Best bounds first. Insertion: a batch of a running search leaves a handful. */
static void second_insertion_sort(struct second *second, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct second moved = second[i];
        size_t j = i;
        for (; j > 0 && second[j - 1].bound < moved.bound; j--) {
            second[j] = second[j - 1];
        }
        second[j] = moved;
    }
}

static int compare_second(const void *a, const void *b)
{
    const float x = ((const struct second *)a)->bound, y = ((const struct second *)b)->bound;
    return x > y ? -1 : x < y;
}

static void second_sort(struct second *second, size_t count)
{
    if (count <= 32) {
        second_insertion_sort(second, count);
    } else {
        qsort(second, count, sizeof *second, compare_second);
    }
}

/* Ask for the first lines of what is read next; the machine's own prefetcher sees the rest. */
static void prefetch(const uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at < bytes && at < PREFETCH_BYTES; at += 64) {
        __builtin_prefetch(data + at);
    }
}

static void prefetch_exact(const struct search *search, const struct second *entry)
{
    prefetch(entry->place.vector, codec_dim(search->codec) * sizeof(float));
}

static enum error third_stage(struct search *search, size_t count)
{
    const struct second *second = search->second;
    second_sort(search->second, count);
    for (size_t i = 0; i < count && search->admit.workspace->cold > 0; i++) {
        vector_place_will_need(search->admit.view, search->vector, &second[i].place, false);
    }
    for (size_t i = 0; i < count && i < EXACT_AHEAD; i++) {
        prefetch_exact(search, &second[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (second[i].bound < admission_wanted_key(&search->admit)) {
            break;
        }
        if (i + EXACT_AHEAD < count) {
            prefetch_exact(search, &second[i + EXACT_AHEAD]);
        }
        struct vector_row row;
        vector_place_row(&second[i].place, &row);
        const enum error error = score_exact(search, second[i].slot, &row);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* ---- the second stage ---- */

/* Centre terms of a second-stage epoch, computed once a query. */
static enum error epoch_terms(struct search *search, uint32_t epoch, struct centre_terms *terms)
{
    if (epoch >= EPOCHS_MAX) {
        return ERROR_CORRUPT;
    }
    if (!(search->epochs_known >> epoch & 1)) {
        const uint8_t *stored = NULL;
        const enum error error =
            epoch == 0 ? OK : view_epoch_centre(search->admit.view, search->vector, epoch, &stored);
        if (error != OK) {
            return error;
        }
        const size_t bytes = codec_dim(search->codec) * sizeof(float);
        float *centre = scratch_need(&search->admit.workspace->centre, bytes);
        if (stored != NULL) {
            memcpy(centre, stored, bytes);
        }
        search->epochs[epoch] =
            codec_query_centre(search->codec, search->query, stored != NULL ? centre : NULL);
        search->epochs_known |= (uint64_t)1 << epoch;
    }
    *terms = search->epochs[epoch];
    return OK;
}

/* Upper bound of a row's key by its code. */
static float row_bound(struct search *search, struct centre_terms terms,
                       const struct vector_place *place)
{
    const struct code_factors factors = {load_float(place->factors),
                                         load_float(place->factors + sizeof(float))};
    float half_width;
    const float estimate =
        codec_score_row(search->codec, search->query, terms, place->code, factors, &half_width);
    const float bound = estimate + search->epsilon_second * half_width;
    search->admit.stats->second_stage++;
    return bound + rounding(terms, bound);
}

/* The rows of a batch, without what is dead or excluded. All are looked up before one is scored:
 * the loads of one hide behind those of the others. */
static enum error find_rows(struct search *search, const struct candidate *batch, size_t count,
                            size_t *found)
{
    const size_t head_bytes =
        codec_code_bytes(search->codec, codec_second_bits(search->codec)) + VECTOR_HEAD_BYTES;
    struct second *next = search->second;
    const bool cold = search->admit.workspace->cold > 0;
    for (size_t i = 0; i < count; i++) {
        view_vector_prefetch(search->admit.view, search->vector, batch[i].slot, cold);
    }
    for (size_t i = 0; i < count; i++) {
        if (admission_left_aside(&search->admit, batch[i].slot)) {
            continue;
        }
        const enum error error =
            view_vector_place(search->admit.view, search->vector, batch[i].slot, &next->place);
        if (error == OK) {
            if (cold) {
                vector_place_will_need(search->admit.view, search->vector, &next->place, true);
            } else {
                prefetch(next->place.factors, head_bytes);
            }
            next->bound = batch[i].bound;
            next++->slot = batch[i].slot;
        } else if (!admission_leave_out(&search->admit, error)) {
            return error;
        }
    }
    *found = (size_t)(next - search->second);
    return OK;
}

/* Both stages for up to batch_max candidates. */
static enum error score_batch(struct search *search, const struct candidate *batch, size_t count)
{
    assert(count <= search->batch_max);
    size_t found = 0, kept = 0;
    const bool staged = codec_second_bits(search->codec) != CODE_NONE;
    enum error error = find_rows(search, batch, count, &found);
    const float wanted = admission_wanted_key(&search->admit);
    for (size_t i = 0; error == OK && i < found; i++) {
        struct second *second = &search->second[i];
        struct centre_terms terms;
        error = epoch_terms(search, second->place.epoch, &terms);
        if (error != OK) {
            error = admission_leave_out(&search->admit, error) ? OK : error;
            continue;
        }
        if (staged) { /* without a second stage the first one's bound stands */
            second->bound = row_bound(search, terms, &second->place);
        }
        if (second->bound >= wanted) {
            search->second[kept++] = *second;
        }
    }
    return error == OK ? third_stage(search, kept) : error;
}

/* ---- the chunk ---- */

/* Bring the `wanted` best of candidates[count] to the front, in any order (Hoare's FIND). */
static void candidate_select(struct candidate *candidates, size_t count, size_t wanted)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)count - 1;
    const ptrdiff_t last = (ptrdiff_t)wanted - 1;
    while (low < high) {
        const float pivot = candidates[last].bound;
        ptrdiff_t i = low, j = high;
        do {
            while (candidates[i].bound > pivot) {
                i++;
            }
            while (pivot > candidates[j].bound) {
                j--;
            }
            if (i <= j) {
                const struct candidate moved = candidates[i];
                candidates[i++] = candidates[j];
                candidates[j--] = moved;
            }
        } while (i <= j);
        low = j < last ? i : low;
        high = last < i ? j : high;
    }
}

/* Take batches, best first, until the best that is left cannot be among the k. */
static enum error score_batches(struct search *search)
{
    struct candidate *left = search->candidates;
    size_t count = search->candidate_count;
    bool choose = true;
    while (count > search->batch_max) {
        if (choose) {
            candidate_select(left, count, search->batch_max);
        }
        const enum error error = score_batch(search, left, search->batch_max);
        if (error != OK) {
            return error;
        }
        struct candidate *next = left += search->batch_max;
        const float wanted = admission_wanted_key(&search->admit);
        for (size_t i = 0; i < count - search->batch_max; i++) {
            *next = left[i];
            next += left[i].bound >= wanted;
        }
        count = (size_t)(next - left);
        /* While there are not k keys, all are to be scored, in whatever order. */
        choose = topk_threshold(&search->admit.topk) > -INFINITY;
    }
    return score_batch(search, left, count);
}

/* Has this thread waited for pages since its last search's first chunk? Then the pages of what is
 * to be read are asked for ahead, by system calls that would cost a warm search a multiple of
 * itself.
 */
static void count_faults(struct search *search)
{
    struct search_workspace *workspace = search->admit.workspace;
    struct rusage usage;
    search->faults_counted = true;
    workspace->cold -= workspace->cold > 0;
    if (getrusage(RUSAGE_THREAD, &usage) == 0 && usage.ru_majflt != workspace->faults) {
        workspace->faults = usage.ru_majflt;
        workspace->cold = COLD_SEARCHES;
    }
}

/* Score what the scan of the chunk let through, and begin the next. */
static enum error score_chunk(struct search *search)
{
    enum error error = admission_check_stop(&search->admit);
    if (error == OK) {
        error = score_batches(search);
    }
    search->candidate_count = 0;
    search->chunk_codes = 0;
    if (!search->faults_counted) {
        count_faults(search);
    }
    if (search->chunk_target < CHUNK_CODES_MAX) {
        search->chunk_target *= 2;
    }
    return error;
}

/* ---- the first stage ---- */

/* Codes in a row: of a partition, or of a block value of a generation. */
struct codes {
    struct block_value value;
    struct centre_terms terms;
    const uint8_t *moved; /* NULL, or bits: lanes that are elsewhere by now */
    size_t first_lane;    /* bit of the first */
};

static bool lane_moved(const struct codes *codes, size_t i)
{
    const size_t bit = codes->first_lane + i;
    return codes->moved != NULL && (codes->moved[bit / 8] >> bit % 8 & 1) != 0;
}

/* Lanes of consecutive blocks from `begin` on that came through. */
static void collect(struct search *search, const uint32_t *survivors, const float *bounds,
                    const struct codes *all, size_t begin, size_t codes)
{
    const uint8_t *slots = all->value.slots + begin * 8;
    const struct centre_terms terms = all->terms;
    struct candidate *next = search->candidates + search->candidate_count;
    for (size_t block = 0; block * CODEC_BLOCK_LANES < codes; block++) {
        const size_t first = block * CODEC_BLOCK_LANES;
        uint32_t lanes = survivors[block];
        if (codes - first < CODEC_BLOCK_LANES) {
            lanes &= (1u << (codes - first)) - 1;
        }
        for (; lanes != 0; lanes &= lanes - 1) {
            const size_t i = first + (size_t)__builtin_ctz(lanes);
            if (lane_moved(all, begin + i)) {
                continue;
            }
            const float bound = bounds[i] + rounding(terms, bounds[i]);
            *next++ = (struct candidate){bound, load64(slots + i * 8)};
        }
    }
    search->candidate_count = (size_t)(next - search->candidates);
    assert(search->candidate_count <= search->candidate_capacity);
}

/* The same, by the mask: this is asked for every lane there is. */
static uint32_t lanes_in_mask(const struct admission *admit, const uint8_t *slots, size_t codes)
{
    const uint8_t *mask = admit->mask;
    const uint64_t base = admit->mask_base, bits = admit->mask_bits;
    uint32_t lanes = 0;
    for (size_t i = 0; i < codes; i++) {
        const uint64_t bit = load64(slots + i * 8) - base;
        const uint64_t at = bit < bits ? bit : bits; /* of which the mask has nothing */
        lanes |= (uint32_t)(mask[at / 8] >> at % 8 & 1) << i;
    }
    return lanes;
}

/* Which lanes of a block the filter lets through. */
static uint32_t lanes_let_through(const struct search *search, const struct codes *all,
                                  size_t first)
{
    const size_t left = all->value.code_count - first;
    const size_t codes = left < CODEC_BLOCK_LANES ? left : CODEC_BLOCK_LANES;
    const uint8_t *slots = all->value.slots + first * 8;
    uint32_t lanes = 0;
    if (search->admit.mask != NULL) {
        return lanes_in_mask(&search->admit, slots, codes);
    }
    for (size_t i = 0; i < codes; i++) {
        lanes |= (uint32_t)!admission_filtered_out(&search->admit, load64(slots + i * 8)) << i;
    }
    return lanes;
}

/* Blocks in a row, at most SCAN_BLOCKS_MAX; wanted: lanes of each, or NULL for all. */
static enum error scan_blocks(struct search *search, const struct codes *all, size_t block,
                              size_t blocks, const uint32_t *wanted)
{
    const struct block_value *value = &all->value;
    const size_t first = block * CODEC_BLOCK_LANES;
    const size_t left = value->code_count - first;
    const size_t codes = left < blocks * CODEC_BLOCK_LANES ? left : blocks * CODEC_BLOCK_LANES;
    float *bounds = search->admit.workspace->bounds.data;
    uint32_t survivors[SCAN_BLOCKS_MAX];
    const float least = admission_wanted_key(&search->admit);
    const struct codec_scan scan = {
        .query = search->query,
        .terms = all->terms,
        .epsilon = search->epsilon_first,
        .threshold = least - rounding(all->terms, least),
        .survivors = survivors,
        .bounds = bounds,
        .coarse = least == -INFINITY, /* everything comes through */
    };
    codec_scan_many(search->codec, &scan, 1,
                    value->blocks + block * codec_block_bytes(search->codec), blocks, wanted);
    collect(search, survivors, bounds, all, first, codes);
    search->admit.stats->codes_scanned += codes;
    search->chunk_codes += codes;
    return search->chunk_codes >= search->chunk_target ? score_chunk(search) : OK;
}

/* Blocks of which the filter leaves no lane are not read at all. */
static enum error scan_masked(struct search *search, const struct codes *all, size_t block,
                              size_t blocks)
{
    uint32_t wanted[SCAN_BLOCKS_MAX];
    for (size_t i = 0; i < blocks; i++) {
        wanted[i] = lanes_let_through(search, all, (block + i) * CODEC_BLOCK_LANES);
        search->matched += (uint64_t)__builtin_popcount(wanted[i]);
    }
    enum error error = OK;
    for (size_t i = 0; i < blocks && error == OK;) {
        size_t end = i;
        while (end < blocks && wanted[end] != 0) {
            end++;
        }
        if (end > i) {
            error = scan_blocks(search, all, block + i, end - i, wanted + i);
        }
        i = end > i ? end : i + 1;
    }
    return error;
}

static enum error scan_codes(struct search *search, const struct codes *all)
{
    const size_t count = all->value.block_count;
    const bool masked = admission_is_filtered(&search->admit);
    for (size_t block = 0; block < count; block += SCAN_BLOCKS_MAX) {
        const size_t left = count - block;
        const size_t blocks = left < SCAN_BLOCKS_MAX ? left : SCAN_BLOCKS_MAX;
        const enum error error = masked ? scan_masked(search, all, block, blocks)
                                        : scan_blocks(search, all, block, blocks, NULL);
        if (error != OK) {
            return error;
        }
    }
    return admission_worked(&search->admit, count * codec_block_bytes(search->codec));
}

static enum error score_slot(struct search *search, uint64_t slot)
{
    struct vector_row row;
    const enum error error = view_vector(search->admit.view, search->vector, slot, &row);
    if (error == OK) {
        return score_exact(search, slot, &row);
    }
    return admission_leave_out(&search->admit, error) ? OK : error;
}

/* Every live vector, exactly. */
static enum error score_codes(struct search *search, const struct codes *all)
{
    enum error error = OK;
    for (size_t lane = 0; lane < all->value.code_count && error == OK; lane++) {
        const uint64_t slot = load64(all->value.slots + lane * 8);
        if (lane_moved(all, lane) || admission_left_aside(&search->admit, slot)) {
            continue;
        }
        error = score_slot(search, slot);
    }
    return error;
}

static struct centre_terms generation_terms(struct search *search,
                                            const struct generation *generation)
{
    const size_t bytes = codec_dim(search->codec) * sizeof(float);
    float *centre = scratch_need(&search->admit.workspace->centre, bytes);
    if (generation->centre != NULL) {
        memcpy(centre, generation->centre, bytes);
    }
    return codec_query_centre(search->codec, search->query,
                              generation->centre != NULL ? centre : NULL);
}

static enum error search_generation(struct search *search, const struct generation *generation)
{
    struct codes codes = {.moved = generation->moved};
    if (!search->exhaustive) {
        codes.terms = generation_terms(search, generation);
    }
    for (uint64_t i = 0; i < generation->value_count; i++) {
        enum error error =
            view_blocks(search->admit.view, search->vector, generation->number, i, &codes.value);
        if (error == OK) {
            error = search->exhaustive ? score_codes(search, &codes) : scan_codes(search, &codes);
            codes.first_lane += codes.value.code_count;
        } else if (admission_leave_out(&search->admit, error)) {
            error = OK;
            codes.first_lane += search->value_lanes;
        }
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

static enum error search_generations(struct search *search)
{
    const uint64_t count =
        view_vector_counters(search->admit.view, search->vector)->generation_count;
    for (uint64_t i = 0; i < count; i++) {
        struct generation generation;
        enum error error = view_generation(search->admit.view, search->vector, i, &generation);
        if (error == OK) {
            error = search_generation(search, &generation);
        }
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* ---- partitions ---- */

/* Codes to read for the recall that is asked for, of `codes`, to find `k`; distance: of the query
 * from the nearest of their centres. */
static uint64_t wanted_codes(const struct search *search, uint64_t codes, size_t k, double distance)
{
    const struct search_request *request = search->admit.request;
    const double recall = request->recall > 0.0f ? (double)request->recall : RECALL_DEFAULT;
    double share = (double)request->share;
    if (share <= 0.0) {
        share = recall_share(search->own, search->admit.view, recall, distance, codes, k);
        share *= request->recall <= 0.0f && request->effort > 0.0f ? (double)request->effort : 1.0;
    }
    return (uint64_t)((share < 1.0 ? share : 1.0) * (double)codes) + 1;
}

static enum error search_partition(struct search *search, const struct centre_table *table,
                                   uint32_t index)
{
    struct partition partition;
    enum error error = view_partition(search->admit.view, search->vector, index, &partition);
    search->admit.stats->partitions++;
    if (error != OK) {
        return admission_leave_out(&search->admit, error) ? OK : error;
    }
    struct codes codes = {
        .value = {partition.blocks, partition.slots, partition.block_count, partition.code_count}};
    if (search->exhaustive) {
        return score_codes(search, &codes);
    }
    codes.terms = codec_query_centre_plain(search->codec, search->query, partition.centre,
                                           centre_table_square(table, index));
    return scan_codes(search, &codes);
}

/* Where reading may end. Under a filter the recall is that of the same search on the matching
 * points alone: the share such a collection would take, of their codes. That is more than it takes
 * where the matches are spread evenly over the partitions, for these are finer than the matches'
 * own would be: there the k nearest matches lie where the nearest k / (share of matches) points do,
 * and it is known what that takes. Evenly is as many matches as there should be, within a third, in
 * what has been read.
 *
 * Where the indexes are not sure of half of those they let through, nobody can say what share it
 * is; where they are, it is taken for as few matches as there may be, of all that are let
 * through. */
struct probe_end {
    uint64_t codes;        /* read */
    uint64_t matched;      /* or so many of those that are let through; UINT64_MAX: unfiltered */
    uint64_t matched_even; /* enough where they are spread evenly */
    double even;           /* how many of the codes match then */
};
#define EVEN_LEAST (2.0 / 3.0)
#define EVEN_MOST 1.5

static struct probe_end probe_end(const struct search *search, const struct centre_table *table,
                                  double distance)
{
    const struct filter_plan *plan = &search->admit.plan;
    const size_t k = search->admit.topk.k;
    struct probe_end end = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0};
    if (search->exhaustive) {
        return end;
    }
    if (plan->exact && !admission_is_filtered(&search->admit)) {
        end.codes = wanted_codes(search, table->codes, k, distance);
        return end;
    }
    const uint64_t most = filter_plan_count(plan, table->codes);
    const uint64_t least = plan->exact ? most : slots_count(&plan->sure);
    if (least * 2 < most || least == 0 || table->codes == 0) {
        return end;
    }
    const double codes = (double)table->codes, let = (double)most;
    const double more = fmin((double)k * codes / (double)least, codes);
    const double own = (double)wanted_codes(search, least, k, distance) / (double)least;
    const double spread =
        (double)wanted_codes(search, table->codes, (size_t)more, distance) / codes;
    end.matched = (uint64_t)(own * let) + 1;
    end.matched_even = (uint64_t)(spread * let) + 1;
    end.even = let / codes;
    return end;
}

/* Has enough been read? */
static bool is_read(const struct search *search, const struct probe_end *end, uint64_t read)
{
    const double even = (double)search->matched / ((double)read * end->even);
    return read >= end->codes || search->matched >= end->matched ||
           (search->matched >= end->matched_even && even >= EVEN_LEAST && even <= EVEN_MOST);
}

/* How many partitions that takes, about; SIZE_MAX: nobody knows. */
static size_t probes_at_most(const struct centre_table *table, struct probe_end end)
{
    if (end.codes >= table->codes) {
        return SIZE_MAX;
    }
    return (size_t)((double)end.codes / (double)table->codes * (double)table->live) + 1;
}

/* Order the partitions, and see where reading may end. How many are wanted depends on how far the
 * first is: those that a near query takes are looked for, and more for one that turns out to be
 * far.
 */
static struct probe_end order_partitions(struct search *search, const struct centre_table *table)
{
    const float *vector = search->admit.request->vector;
    struct centre_query *query = &search->admit.workspace->centres;
    struct probe_end end = probe_end(search, table, 0.0);
    const size_t few = probes_at_most(table, end);
    centre_query_run(query, search->codec, search->query, vector, search->admit.metric, table, few);
    if (query->count > 0) {
        end = probe_end(search, table, centre_query_distance(query, 0));
        const size_t wanted = probes_at_most(table, end);
        if (wanted > few && query->count < table->live) {
            centre_query_run(query, search->codec, search->query, vector, search->admit.metric,
                             table, wanted);
        }
    }
    return end;
}

/* The pages of partitions to come, where they may not be in memory, or the first lines of the next.
 */
static void ask_ahead(const struct search *search, struct centre_query *query, size_t i,
                      size_t wanted)
{
    const struct view *view = search->admit.view;
    const bool cold = search->admit.workspace->cold > 0;
    const size_t from = i == 0 ? 0 : i + PARTITIONS_AHEAD;
    for (size_t j = from; j <= i + PARTITIONS_AHEAD && j < wanted && j < query->count; j++) {
        view_partition_prefetch(view, search->vector, centre_query_at(query, j), cold);
    }
    if (!cold && i + 1 < query->count) {
        view_partition_touch(view, search->vector, centre_query_at(query, i + 1));
    }
}

/* All of them, or the best until the share of codes that the recall asks for is read. Under a
 * filter the query's distance is that from the first partition with points that it lets through. */
static enum error probe_partitions(struct search *search, const struct centre_table *table)
{
    const bool filtered = admission_is_filtered(&search->admit);
    if (!search->exhaustive && !search->admit.request->unsampled && !filtered) {
        search->admit.stats->sampled = recall_sample(search->own);
    }
    struct centre_query *query = &search->admit.workspace->centres;
    struct probe_end end = order_partitions(search, table);
    const size_t wanted = probes_at_most(table, end);
    bool met = false; /* any that the filter lets through */
    uint64_t read = 0;
    enum error error = OK;
    for (size_t i = 0; i < query->count && error == OK; i++) {
        if (is_read(search, &end, read)) {
            break;
        }
        const uint32_t index = centre_query_at(query, i);
        ask_ahead(search, query, i, wanted);
        read += table->entries[index].codes;
        error = search_partition(search, table, index);
        if (filtered && !met && search->matched > 0) {
            met = true;
            end = i > 0 ? probe_end(search, table, centre_query_distance(query, i)) : end;
        }
    }
    return error;
}

static enum error search_partitions(struct search *search)
{
    if (view_partition_count(search->admit.view, search->vector) == 0) {
        return OK;
    }
    const struct centre_table *table;
    enum error error = centre_table_acquire(search->own, search->admit.view, &table);
    if (error == OK) {
        search->admit.stats->degraded |= table->damaged > 0;
        error = probe_partitions(search, table);
        centre_table_release(search->own, table);
    }
    return error;
}

/* Partitions first: the nearest of them make the threshold that the rest is measured by. */
static enum error search_all(struct search *search)
{
    const enum error error = search_partitions(search);
    return error == OK ? search_generations(search) : error;
}

/* ---- a search ---- */

static bool wants_exact(const struct search *search, size_t k)
{
    return search->admit.request->exact || search->admit.metric == METRIC_MANHATTAN ||
           codec_dim(search->codec) < CODEC_SCAN_DIM_MIN ||
           k > view_vector_counters(search->admit.view, search->vector)->vector_count / EXACT_SHARE;
}

/* How wide the bounds are follows from the recall, too. Half widths of 2 and 2.5 lose .0008 of
 * recall to 2.75 on GloVe and sentences, of 2.25 half of it, and leave a quarter fewer candidates.
 * Where an exact answer is stood for (a share is given), and above .99, nothing is lost. */
static void choose_bounds(struct search *search)
{
    const struct search_request *request = search->admit.request;
    const float recall = request->recall > 0.0f ? request->recall : (float)RECALL_DEFAULT;
    const bool narrow = request->share <= 0.0f && recall < 0.995f;
    search->epsilon_first = !narrow ? CODEC_EPSILON_1BIT : recall > 0.97f ? 2.25f : 2.0f;
    search->epsilon_second = narrow ? 2.5f : CODEC_EPSILON_4BIT;
}

static void prepare_stages(struct search *search, size_t k)
{
    choose_bounds(search);
    struct search_workspace *workspace = search->admit.workspace;
    /* The first chunk must hold some times k codes for its best to be good, but memory has an end.
     */
    const size_t few = k < CHUNK_CODES_CAP / 4 ? k : CHUNK_CODES_CAP / 4;
    search->chunk_target = few < CHUNK_CODES_FIRST / 4 ? CHUNK_CODES_FIRST : 4 * few;
    const size_t chunk_max =
        search->chunk_target < CHUNK_CODES_MAX ? CHUNK_CODES_MAX : search->chunk_target;
    const size_t call_lanes = SCAN_BLOCKS_MAX * CODEC_BLOCK_LANES;
    search->batch_max = 2 * few < BATCH_MIN ? BATCH_MIN : 2 * few;
    search->candidate_capacity = 2 * chunk_max + call_lanes;
    search->candidates =
        scratch_need(&workspace->candidates,
                     size_product(search->candidate_capacity, sizeof *search->candidates));
    search->second =
        scratch_need(&workspace->second, size_product(search->batch_max, sizeof *search->second));
    (void)scratch_need(&workspace->bounds, call_lanes * sizeof(float));
}

/* ---- under a filter ---- */

/* Slots of the plan one by one: their codes need not be looked for. */
static enum error score_slots(struct search *search)
{
    uint64_t slots[SLOTS_AT_ONCE], from = 0;
    enum error error = OK;
    for (size_t count = SLOTS_AT_ONCE; count == SLOTS_AT_ONCE && error == OK;) {
        count = slots_list(&search->admit.plan.slots, from, slots, SLOTS_AT_ONCE);
        for (size_t i = 0; i < count && search->exhaustive && error == OK; i++) {
            error =
                admission_left_aside(&search->admit, slots[i]) ? OK : score_slot(search, slots[i]);
        }
        if (!search->exhaustive) {
            for (size_t i = 0; i < count; i++) {
                search->candidates[i] = (struct candidate){INFINITY, slots[i]};
            }
            error = score_batch(search, search->candidates, count);
        }
        from = count > 0 ? slots[count - 1] + 1 : 0;
    }
    return error;
}

/* Is that less work than scanning codes under a mask? */
static bool slots_are_few(const struct search *search)
{
    const struct vector_counters *counters =
        view_vector_counters(search->admit.view, search->vector);
    if (search->admit.plan.inverted) {
        return false;
    }
    const uint64_t count = slots_count(&search->admit.plan.slots);
    return search->exhaustive || count <= SLOTS_FEW ||
           count <= counters->vector_count / SLOTS_SHARE;
}

/* The plan as bits, for a scan that asks for every lane. */
static void make_mask(struct search *search)
{
    const uint64_t next = view_counters(search->admit.view)->next_slot;
    search->admit.mask_base = search->admit.settings->first_slot & ~UINT64_C(63);
    search->admit.mask_bits = next - search->admit.mask_base;
    if (search->admit.mask_bits > MASK_BITS_MAX) {
        return; /* sparse as it is, the bitmap is asked itself */
    }
    const size_t bytes = (size_t)(search->admit.mask_bits / 8) + 1;
    uint8_t *mask = scratch_need(&search->admit.workspace->mask, bytes);
    memset(mask, 0, bytes);
    slots_to_bits(&search->admit.plan.slots, search->admit.mask_base, mask,
                  search->admit.mask_bits);
    for (size_t i = 0; search->admit.plan.inverted && i < bytes; i++) {
        mask[i] = (uint8_t)~mask[i];
    }
    mask[bytes - 1] &= (uint8_t)((1u << search->admit.mask_bits % 8) - 1);
    search->admit.mask = mask;
}

static enum error search_chosen(struct search *search)
{
    if (admission_is_filtered(&search->admit)) {
        if (slots_are_few(search)) {
            search->admit.by_slots = true;
            return score_slots(search);
        }
        make_mask(search);
    }
    const enum error error = search_all(search);
    return error == OK && !search->exhaustive ? score_chunk(search) : error;
}

static enum error run_search(struct search *search)
{
    const size_t k = search->admit.k;
    struct search_workspace *workspace = search->admit.workspace;
    void *work = scratch_need(&workspace->encode.work, codec_work_bytes(search->codec));
    search->query = scratch_need(&workspace->query, codec_query_bytes(search->codec));
    codec_query_init(search->codec, search->admit.metric, search->admit.request->vector,
                     search->query, work);
    search->exhaustive = wants_exact(search, k);
    if (!search->exhaustive) {
        prepare_stages(search, k);
    }
    return search_chosen(search);
}

static enum error search_dense(struct search *search, struct collection *collection)
{
    const uint16_t vector = search->admit.request->vector_number;
    search->codec = collection_codec(collection, vector);
    search->vector = vector;
    search->own = &collection->vectors[vector];
    search->value_lanes =
        environment_blocks_per_value(collection->environment, vector) * CODEC_BLOCK_LANES;
    return run_search(search);
}

static enum error search_by_kind(struct search *search, struct collection *collection)
{
    switch (collection->settings.vectors[search->admit.request->vector_number].kind) {
    case VECTOR_DENSE:
        return search_dense(search, collection);
    case VECTOR_MULTI:
        return search_multi(&search->admit, collection);
    case VECTOR_SPARSE:
        return search_sparse(&search->admit, collection);
    case VECTOR_NONE:
        break;
    }
    return OK;
}

enum error collection_search(struct collection *collection, const struct view *view,
                             const struct search_request *request,
                             struct search_workspace *workspace, struct arena *arena,
                             struct hit **hits, size_t *hit_count, struct search_stats *stats)
{
    *hits = NULL;
    *hit_count = 0;
    *stats = (struct search_stats){0};
    if (request->vector_number >= collection->settings.vector_count) {
        return OK;
    }
    struct search search = {0};
    bool nothing;
    enum error error =
        admission_begin(&search.admit, collection, view, request, workspace, stats, &nothing);
    if (error == OK && !nothing) {
        error = search_by_kind(&search, collection);
    }
    if (error == OK && !nothing) {
        error = admission_end(&search.admit, arena, hits, hit_count);
    }
    if (error == OK && stats->sampled) {
        recall_sample_keep(search.own, view, request, *hits, *hit_count);
    }
    filter_plan_release(&search.admit.plan);
    return error;
}
