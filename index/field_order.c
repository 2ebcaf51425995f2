/* The points of a field in the order of its values. */
#include "index/field.h"
#include "index/field_key.h"

struct order_walk {
    struct posting_walk postings;
    bool descending, is_time;
    bool begun; /* the postings stand on one */
    struct posting posting;
    uint32_t place; /* in its chunk: the next to look at */
    struct order_value value;
};

static void class_key(const struct order_walk *walk, struct field_key *key)
{
    field_key_class(walk->is_time ? KEY_TIME : KEY_NUMBER, key);
}

/* Decode the key the postings stand on. ERROR_NOT_FOUND: it is of another class. */
static enum error take(struct order_walk *walk)
{
    struct order_value *value = &walk->value;
    value->is_time = walk->is_time;
    walk->place = 0;
    const bool good =
        walk->is_time ? field_key_to_time(walk->posting.key, &value->microseconds)
                      : field_key_to_number(walk->posting.key, &value->number, &value->is_double);
    return good ? OK : ERROR_NOT_FOUND;
}

static enum error begin_ascending(struct order_walk *walk, const struct order_value *start)
{
    struct field_key key;
    if (start == NULL)
        class_key(walk, &key);
    else if (walk->is_time)
        field_key_time(start->microseconds, &key);
    else
        field_key_number(start->number, false, &key);
    return posting_seek(&walk->postings, field_key_span(&key), 0, &walk->posting);
}

/* Before the first key that is behind the start. */
static enum error begin_descending(struct order_walk *walk, const struct order_value *start)
{
    struct field_key key;
    if (start == NULL) {
        class_key(walk, &key);
        key.data[0]++;
    } else if (walk->is_time) {
        field_key_time(start->microseconds < INT64_MAX ? start->microseconds + 1 : INT64_MAX, &key);
    } else {
        field_key_number(start->number, true, &key);
        key.data[key.bytes - 1]++; /* behind the integer and the double of this value */
    }
    return posting_seek_before(&walk->postings, field_key_span(&key), 0, &walk->posting);
}

enum error order_walk_begin(const struct view *view, const struct field *field, bool descending,
                            const struct order_value *start, struct arena *arena,
                            struct order_walk **out)
{
    struct order_walk *walk = arena_allocate(arena, sizeof *walk);
    *walk = (struct order_walk){.descending = descending, .is_time = field->kind == FIELD_DATETIME};
    *out = walk;
    enum error error = posting_walk_begin(view, field->record.number, &walk->postings);
    if (error != OK)
        return error;
    error = descending ? begin_descending(walk, start) : begin_ascending(walk, start);
    if (error == OK)
        error = take(walk);
    walk->begun = error == OK;
    return error == ERROR_NOT_FOUND ? OK : error; /* nothing to walk over */
}

/* The next place of the posting from walk->place on; false: there is none. */
static bool next_place(struct order_walk *walk, uint32_t *place)
{
    const struct posting *posting = &walk->posting;
    if (!posting->bitmap) {
        if (walk->place >= posting->count)
            return false;
        *place = load16(posting->data + 2 * (size_t)walk->place++);
        return true;
    }
    while (walk->place < POSTING_CHUNK_SLOTS) {
        *place = walk->place++;
        if (posting_has(posting, *place))
            return true;
    }
    return false;
}

enum error order_walk_next(struct order_walk *walk, uint64_t *slot, struct order_value *value)
{
    uint32_t place;
    if (!walk->begun)
        return ERROR_NOT_FOUND;
    while (!next_place(walk, &place)) {
        enum error error = walk->descending ? posting_previous(&walk->postings, &walk->posting)
                                            : posting_next(&walk->postings, &walk->posting);
        if (error == OK)
            error = take(walk);
        if (error != OK) {
            walk->begun = false;
            return error;
        }
    }
    *slot = (walk->posting.chunk << POSTING_CHUNK_BITS) + place;
    *value = walk->value;
    return OK;
}

void order_walk_end(struct order_walk *walk)
{
    if (walk != NULL)
        posting_walk_end(&walk->postings);
}
