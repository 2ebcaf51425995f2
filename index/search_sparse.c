/* Sparse vectors: exact dot products from the posting lists.
 *
 * Windows of 65,536 slots are scored one after the other: the lists of the query's indices, in
 * their order, add what each posting is worth to its slot's sum, then the slots that were touched
 * are offered. A window begins where the next posting of any list is, so slots that no list names
 * cost nothing, and only the lists of the query are read. Points that are in no list yet (the tail)
 * are scored one by one. Every sum is made in order of index, so that both ways, and a scorer that
 * merges two vectors, give the same bits. */
#include <stdlib.h>

#include "index/admission.h"
#include "index/sparse.h"

#define WINDOW_SLOTS 65536u

struct term {
    uint32_t index;
    float weight;
    bool ended;
    uint64_t next_slot; /* of the posting at `next` */
    struct list_chunk chunk;
    size_t next;
};

struct sparse_search {
    struct admission *admit;
    uint16_t vector;
    struct list_reader reader;
    struct sparse_query query;
    struct term *terms;
    size_t term_count; /* that have a list */
    float *sums;       /* [WINDOW_SLOTS], zero between windows */
    uint64_t *touched; /* bits, zero likewise */
};

/* ---- lists ---- */

/* Go to the first posting of a term at or behind `slot`, in the chunks behind the present one. */
static enum error term_seek(struct sparse_search *search, struct term *term, uint64_t slot)
{
    for (;;) {
        const enum error error =
            lists_find(&search->reader, search->vector, term->index, slot, &term->chunk);
        if (error == ERROR_CORRUPT && term->chunk.index == term->index) {
            (void)admission_leave_out(search->admit, error);
            slot = term->chunk.first_slot + 1;
            continue;
        }
        if (error != OK && error != ERROR_NOT_FOUND && error != ERROR_CORRUPT) {
            return error;
        }
        term->ended = error != OK || term->chunk.index != term->index;
        term->next = 0;
        term->next_slot = term->ended ? UINT64_MAX : term->chunk.first_slot;
        return OK;
    }
}

/* Add what a term is worth to the sums of the window [base, base + WINDOW_SLOTS). */
static enum error term_score(struct sparse_search *search, struct term *term, uint64_t base)
{
    while (!term->ended && term->next_slot - base < WINDOW_SLOTS) {
        const struct list_chunk *chunk = &term->chunk;
        size_t i = term->next;
        for (; i < chunk->count && list_slot(chunk, i) - base < WINDOW_SLOTS; i++) {
            const size_t at = (size_t)(list_slot(chunk, i) - base);
            search->sums[at] += term->weight * list_value(chunk, i);
            search->touched[at / 64] |= UINT64_C(1) << at % 64;
        }
        enum error error = admission_worked(search->admit, (i - term->next) * LIST_ENTRY_BYTES);
        search->admit->stats->codes_scanned += i - term->next;
        if (i < chunk->count) {
            term->next = i;
            term->next_slot = list_slot(chunk, i);
        } else if (error == OK) {
            error = term_seek(search, term, list_slot(chunk, chunk->count - 1) + 1);
        }
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

/* Offer what was touched, and leave all zero. */
static enum error offer_window(struct sparse_search *search, uint64_t base)
{
    enum error error = OK;
    for (size_t word = 0; word < WINDOW_SLOTS / 64; word++) {
        for (uint64_t bits = search->touched[word]; bits != 0; bits &= bits - 1) {
            const size_t at = word * 64 + (size_t)__builtin_ctzll(bits);
            const float sum = search->sums[at];
            search->sums[at] = 0;
            if (error == OK && !(sum < admission_wanted_key(search->admit)) &&
                !admission_left_aside(search->admit, base + at)) {
                error = admission_offer(search->admit, base + at, sum);
                search->admit->stats->exact_scored++;
            }
        }
        search->touched[word] = 0;
    }
    return error;
}

static uint64_t first_posting(const struct sparse_search *search)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < search->term_count; i++) {
        first = search->terms[i].next_slot < first ? search->terms[i].next_slot : first;
    }
    return first;
}

static enum error search_lists(struct sparse_search *search)
{
    for (;;) {
        const uint64_t base = first_posting(search);
        if (base == UINT64_MAX) {
            return OK;
        }
        enum error error = admission_check_stop(search->admit);
        for (size_t i = 0; i < search->term_count && error == OK; i++) {
            error = term_score(search, &search->terms[i], base);
        }
        const enum error offered = offer_window(search, base);
        if (error != OK || offered != OK) {
            return error != OK ? error : offered;
        }
    }
}

/* The lists there are, each at its first posting. */
static enum error open_terms(struct sparse_search *search)
{
    const struct sparse_query *query = &search->query;
    search->terms = allocate_zeroed(query->count, sizeof *search->terms);
    enum error error = view_lists_open(search->admit->view, &search->reader);
    for (size_t i = 0; i < query->count && error == OK; i++) {
        struct term *term = &search->terms[search->term_count];
        *term = (struct term){.index = query->indices[i], .weight = query->weights[i]};
        error = term_seek(search, term, 0);
        search->term_count += error == OK && !term->ended;
        if (error == OK) {
            error = admission_worked(search->admit, 4096);
        }
    }
    return error;
}

/* ---- the tail ---- */

static enum error score_stored(void *context, uint64_t slot, const struct stored_vector *stored,
                               enum error error)
{
    struct sparse_search *search = context;
    if (error != OK) {
        (void)admission_leave_out(search->admit, error);
        return OK;
    }
    bool overlap;
    const float sum = sparse_dot(&search->query, stored, &overlap);
    if (overlap && !admission_left_aside(search->admit, slot)) {
        search->admit->stats->exact_scored++;
        error = admission_offer(search->admit, slot, sum);
    }
    return error == OK ? admission_worked(search->admit, (size_t)stored->count * 8 + 64) : error;
}

/* ---- a search ---- */

static enum error stop_of(void *context)
{
    return admission_check_stop(context);
}

/* Zero when it is new, and left zero by whoever used it. */
static void take_window(struct sparse_search *search)
{
    struct scratch *sums = &search->admit->workspace->sums;
    const size_t sums_bytes = WINDOW_SLOTS * sizeof *search->sums;
    const size_t bytes = sums_bytes + WINDOW_SLOTS / 8;
    if (sums->bytes < bytes) {
        memset(scratch_need(sums, bytes), 0, bytes);
    }
    search->sums = sums->data;
    search->touched = (uint64_t *)(void *)((uint8_t *)sums->data + sums_bytes);
}

static enum error run(struct sparse_search *search)
{
    struct admission *admit = search->admit;
    take_window(search);
    enum error error = open_terms(search);
    if (error == OK) {
        error = search_lists(search);
    }
    lists_close(&search->reader);
    const uint64_t tail = view_vector_counters(admit->view, search->vector)->tail_slot;
    if (error == OK) {
        error = view_each_stored(admit->view, search->vector, tail, score_stored, search);
    }
    free(search->terms);
    return error;
}

enum error search_sparse(struct admission *admission, struct collection *collection)
{
    const struct search_request *request = admission->request;
    if (request->vector_count == 0) {
        return OK;
    }
    float *weights = allocate(size_product(request->vector_count, sizeof *weights));
    struct sparse_search search = {
        .admit = admission,
        .vector = request->vector_number,
        .query = {request->indices, weights, request->vector_count},
    };
    enum error error =
        sparse_weigh(collection, admission->view, search.vector, request->indices, request->vector,
                     request->vector_count, stop_of, admission, weights);
    if (error == OK) {
        error = run(&search);
    }
    free(weights);
    return error;
}
