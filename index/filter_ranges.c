/* A range is cut at the borders of the widest spans that fit: those between are read by their keys,
 * what is left at both ends is cut at the borders of the next level, and so on. */
#include "index/filter_ranges.h"

enum error range_reader_begin(struct range_reader *reader, const struct view *view,
                              const struct field *field, uint64_t *budget)
{
    *reader = (struct range_reader){
        .which = field->kind == FIELD_DATETIME ? KEY_TIME
                 : field->kind == FIELD_GEO    ? KEY_PLACE
                                               : KEY_NUMBER,
        .budget = budget,
        .enough = true,
    };
    reader->level_count = field_key_levels(reader->which, &reader->shifts);
    return posting_walk_begin(view, field->record.number, &reader->walk);
}

void range_reader_end(struct range_reader *reader)
{
    posting_walk_end(&reader->walk);
}

static bool spend(struct range_reader *reader)
{
    reader->enough = reader->enough && *reader->budget > 0;
    *reader->budget -= reader->enough;
    return reader->enough;
}

static enum error end_of(enum error error)
{
    return error == ERROR_NOT_FOUND ? OK : error;
}

/* Single values; the class and the order are what their keys begin with. */
static enum error read_values(struct range_reader *reader, uint64_t first, uint64_t last)
{
    struct field_key from;
    struct posting posting;
    uint64_t order;
    field_key_order(reader->which, first, &from);
    enum error error = posting_seek(&reader->walk, field_key_span(&from), 0, &posting);
    while (error == OK && posting.key.data[0] == reader->which &&
           field_key_to_order(posting.key, &order) && order <= last) {
        if (!spend(reader))
            return OK;
        gather_add(reader->into, &posting);
        error = posting_next(&reader->walk, &posting);
    }
    return end_of(error);
}

static enum error read_spans(struct range_reader *reader, size_t level, uint64_t first,
                             uint64_t last)
{
    struct field_key from;
    struct posting posting;
    uint64_t order;
    size_t at;
    field_key_level(level, first, &from);
    enum error error = posting_seek(&reader->walk, field_key_span(&from), 0, &posting);
    while (error == OK && field_key_to_level(posting.key, &at, &order) && at == level &&
           order <= last) {
        if (!spend(reader))
            return OK;
        gather_add(reader->into, &posting);
        error = posting_next(&reader->walk, &posting);
    }
    return end_of(error);
}

static enum error read_from(struct range_reader *reader, size_t level, uint64_t first,
                            uint64_t last)
{
    if (!reader->enough)
        return OK;
    if (level == reader->level_count)
        return read_values(reader, first, last);
    /* Spans of this level, by number: the first that begins in the range, and the first that does
     * not end in it. */
    const uint8_t shift = reader->shifts[level];
    const uint64_t inside = (UINT64_C(1) << shift) - 1;
    const uint64_t begin = (first >> shift) + ((first & inside) != 0);
    const uint64_t end = (last >> shift) + ((last & inside) == inside);
    if (begin >= end)
        return read_from(reader, level + 1, first, last);
    enum error error = read_spans(reader, level, begin << shift, (end - 1) << shift);
    if (error == OK && (first & inside) != 0)
        error = read_from(reader, level + 1, first, (begin << shift) - 1);
    if (error == OK && (last & inside) != inside)
        error = read_from(reader, level + 1, end << shift, last);
    return error;
}

enum error range_read(struct range_reader *reader, uint64_t first, uint64_t last)
{
    return first > last ? OK : read_from(reader, 0, first, last);
}

enum error range_read_order(struct range_reader *reader, uint64_t order,
                            bool (*passes)(const void *context, struct span key),
                            const void *context)
{
    struct field_key from;
    struct posting posting;
    uint64_t at;
    field_key_order(reader->which, order, &from);
    enum error error = posting_seek(&reader->walk, field_key_span(&from), 0, &posting);
    while (error == OK && posting.key.data[0] == reader->which &&
           field_key_to_order(posting.key, &at) && at == order && spend(reader)) {
        if (passes(context, posting.key))
            gather_add(reader->into, &posting);
        error = posting_next(&reader->walk, &posting);
    }
    return end_of(error);
}
