#include "index/topk.h"

#include <assert.h>
#include <math.h>

void topk_init(struct topk *topk, struct topk_entry *entries, size_t k,
               void (*id_of)(void *context, uint64_t slot, struct point_id *id), void *context)
{
    assert(k > 0);
    *topk = (struct topk){.entries = entries, .k = k, .id_of = id_of, .context = context};
}

float topk_threshold(const struct topk *topk)
{
    return topk->count == topk->k ? topk->entries[0].key : -INFINITY;
}

static const struct point_id *entry_id(const struct topk *topk, struct topk_entry *entry)
{
    if (!entry->has_id) {
        topk->id_of(topk->context, entry->slot, &entry->id);
        entry->has_id = true;
    }
    return &entry->id;
}

/* Does a come behind b? */
static bool worse(const struct topk *topk, struct topk_entry *a, struct topk_entry *b)
{
    if (a->key != b->key) {
        return a->key < b->key;
    }
    return point_id_compare(entry_id(topk, a), entry_id(topk, b)) > 0;
}

/* Put entry in at the hole `i`, moving worse ones up from below: the root is the worst. */
static void sift_down(const struct topk *topk, size_t count, size_t i, struct topk_entry entry)
{
    struct topk_entry *entries = topk->entries;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && worse(topk, &entries[child + 1], &entries[child])) {
            child++;
        }
        if (!worse(topk, &entries[child], &entry)) {
            break;
        }
        entries[i] = entries[child];
        i = child;
    }
    entries[i] = entry;
}

static void sift_up(const struct topk *topk, size_t i, struct topk_entry entry)
{
    struct topk_entry *entries = topk->entries;
    while (i > 0 && worse(topk, &entry, &entries[(i - 1) / 2])) {
        entries[i] = entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    entries[i] = entry;
}

void topk_push(struct topk *topk, float key, uint64_t slot)
{
    struct topk_entry entry = {.slot = slot, .key = isnan(key) ? -INFINITY : key};
    if (topk->count < topk->k) {
        sift_up(topk, topk->count++, entry);
    } else if (worse(topk, &topk->entries[0], &entry)) {
        sift_down(topk, topk->count, 0, entry);
    }
}

/* Heapsort: the worst goes to the end, again and again. */
void topk_sort(struct topk *topk)
{
    for (size_t last = topk->count; last > 1; last--) {
        const struct topk_entry worst = topk->entries[0];
        sift_down(topk, last - 1, 0, topk->entries[last - 1]);
        topk->entries[last - 1] = worst;
    }
}
