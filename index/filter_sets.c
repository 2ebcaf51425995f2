#include "index/filter_sets.h"

#include <pthread.h>
#include <stdlib.h>

#define SETS 8u
#define SOURCE_BYTES_MAX 4096u /* longer filters are not remembered */
#define SLOTS_BYTES_MAX ((size_t)1 << 20)

struct kept_set {
    struct counters state; /* that it was asked of */
    uint8_t *source;       /* malloc'd; NULL: an empty place */
    size_t source_bytes;
    uint32_t asked; /* how often */
    bool known;     /* slots is the set; else it was only asked for */
    struct slots slots;
};

struct filter_sets {
    pthread_mutex_t mutex;
    struct kept_set sets[SETS];
    size_t oldest; /* the next to give way */
};

struct filter_sets *filter_sets_new(void)
{
    struct filter_sets *sets = allocate_zeroed(1, sizeof *sets);
    pthread_mutex_init(&sets->mutex, NULL);
    return sets;
}

void filter_sets_free(struct filter_sets *sets)
{
    if (sets == NULL)
        return;
    for (size_t i = 0; i < SETS; i++) {
        slots_release(&sets->sets[i].slots);
        free(sets->sets[i].source);
    }
    pthread_mutex_destroy(&sets->mutex);
    free(sets);
}

/* Every change of points is an operation; slots that move without one change the other figures. */
static bool same_state(const struct counters *a, const struct counters *b)
{
    return a->operation == b->operation && a->next_slot == b->next_slot &&
           a->id_hash == b->id_hash && a->point_count == b->point_count;
}

/* The place of a filter, in any state; NULL: it has none. */
static struct kept_set *find(struct filter_sets *sets, struct span source)
{
    for (size_t i = 0; i < SETS; i++) {
        struct kept_set *set = &sets->sets[i];
        if (set->source != NULL && span_equal(span_of(set->source, set->source_bytes), source))
            return set;
    }
    return NULL;
}

/* A place for it, in this state. */
static struct kept_set *place(struct filter_sets *sets, const struct counters *state,
                              struct span source)
{
    struct kept_set *set = find(sets, source);
    if (set == NULL) {
        set = &sets->sets[sets->oldest];
        sets->oldest = (sets->oldest + 1) % SETS;
        free(set->source);
        set->source = allocate(source.bytes);
        memcpy(set->source, source.data, source.bytes);
        set->source_bytes = source.bytes;
    }
    slots_release(&set->slots);
    set->known = false;
    set->asked = 0;
    set->state = *state;
    return set;
}

uint32_t filter_sets_ask(struct filter_sets *sets, const struct counters *state, struct span source,
                         struct slots *slots, bool *found)
{
    *found = false;
    if (source.bytes == 0 || source.bytes > SOURCE_BYTES_MAX)
        return 0;
    pthread_mutex_lock(&sets->mutex);
    struct kept_set *set = find(sets, source);
    if (set == NULL || !same_state(&set->state, state))
        set = place(sets, state, source);
    const uint32_t asked = set->asked;
    set->asked += asked < UINT32_MAX;
    *found = set->known;
    if (set->known) {
        slots_init(slots);
        slots_copy(slots, &set->slots);
    }
    pthread_mutex_unlock(&sets->mutex);
    return asked;
}

void filter_sets_keep(struct filter_sets *sets, const struct counters *state, struct span source,
                      const struct slots *slots)
{
    if (source.bytes == 0 || source.bytes > SOURCE_BYTES_MAX ||
        slots_bytes(slots) > SLOTS_BYTES_MAX)
        return;
    pthread_mutex_lock(&sets->mutex);
    struct kept_set *set = place(sets, state, source);
    slots_copy(&set->slots, slots);
    set->known = true;
    pthread_mutex_unlock(&sets->mutex);
}
