#include "index/expired.h"

#include <stdio.h>
#include <time.h>

#include "index/datetime.h"
#include "index/field.h"

#define IDS_STEP 256u

/* {"key": field, "range": {"lte": bound}} */
static void put_bound(struct value_builder *builder, struct span field, struct span text,
                      int64_t seconds)
{
    const bool good =
        value_open_object(builder) == OK && value_put_key(builder, span_text("key")) == OK;
    (void)good; /* two levels and distinct keys: always */
    value_put_string(builder, field);
    (void)!value_put_key(builder, span_text("range"));
    (void)!value_open_object(builder);
    (void)!value_put_key(builder, span_text("lte"));
    if (text.bytes > 0)
        value_put_string(builder, text);
    else
        value_put_integer(builder, seconds, (struct span){0});
    value_close(builder);
    value_close(builder);
}

/* Whole seconds at or before: rounded down, also before 1970. */
static int64_t seconds_of(int64_t us)
{
    return us / 1000000 - (us % 1000000 < 0 ? 1 : 0);
}

struct span expired_condition(struct arena *arena, struct span field, int64_t now_us)
{
    struct value_builder builder;
    const time_t seconds = (time_t)seconds_of(now_us);
    char text[64];
    struct tm utc;
    gmtime_r(&seconds, &utc);
    const size_t bytes = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + bytes, sizeof text - bytes, ".%06dZ",
             (int)(now_us - (int64_t)seconds * 1000000));
    value_begin(&builder, arena);
    (void)!value_open_object(&builder);
    (void)!value_put_key(&builder, span_text("should"));
    (void)!value_open_array(&builder);
    put_bound(&builder, field, (struct span){0}, (int64_t)seconds);
    put_bound(&builder, field, span_text(text), 0);
    value_close(&builder);
    value_close(&builder);
    return value_end(&builder);
}

/* ---- by an index ---- */

static bool is_due(const struct order_value *value, int64_t now_us)
{
    if (value->is_time)
        return value->microseconds <= now_us;
    const struct exact now = {(double)seconds_of(now_us), 0};
    return exact_compare(value->number, now) <= 0;
}

static enum error find_by_index(const struct expired_search *search, const struct field *field,
                                const struct view *view, struct arena *arena, struct point_id *ids,
                                size_t max, size_t *count, bool *more)
{
    struct order_walk *walk = NULL;
    enum error error = order_walk_begin(view, field, false, NULL, arena, &walk);
    while (error == OK) {
        uint64_t slot;
        struct order_value value;
        struct point_row row;
        error = order_walk_next(walk, &slot, &value);
        if (error != OK || !is_due(&value, search->now_us))
            break;
        if (*count == max) {
            *more = true;
            break;
        }
        error = view_point(view, slot, &row);
        if (error == OK)
            ids[(*count)++] = row.id;
        else if (error == ERROR_NOT_FOUND)
            error = OK; /* an index that is damaged: verify says so */
    }
    order_walk_end(walk);
    return error == ERROR_NOT_FOUND ? OK : error;
}

/* ---- without one ---- */

static enum error find_by_walk(struct expired_search *search, const struct collection *collection,
                               const struct view *view, const struct filter *filter,
                               struct point_id *ids, size_t max, size_t *count, bool *more)
{
    const struct collection_settings *settings = collection_settings(collection);
    struct id_slot items[IDS_STEP];
    size_t got = IDS_STEP;
    for (size_t looked = 0; looked < EXPIRED_LOOKED_AT_MAX; looked += got) {
        enum error error =
            view_ids(view, search->has_begin ? &search->begin : NULL, items, IDS_STEP, &got);
        if (error != OK)
            return error;
        /* The last one begins the next round, unless it is the last of all. */
        const bool last = got < IDS_STEP;
        for (size_t i = 0; i < got; i++) {
            struct point_row row;
            if ((i + 1 == got && !last) || *count == max) {
                search->begin = items[i].id;
                search->has_begin = *more = true;
                break;
            }
            error = view_point(view, items[i].slot, &row);
            if (error != OK)
                return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
            if (filter_matches_row(filter, settings, &row))
                ids[(*count)++] = row.id;
        }
        if (last && !*more)
            search->has_begin = false;
        if (last || *count == max)
            return OK;
        *more = false;
    }
    *more = true;
    return OK;
}

enum error expired_find(struct expired_search *search, const struct collection *collection,
                        const struct view *view, struct arena *arena, struct point_id *ids,
                        size_t max, size_t *count, bool *more)
{
    struct field_list fields;
    struct path path;
    const struct filter_limits limits = filter_limits_default();
    const struct filter *filter;
    struct filter_fault fault;
    *count = 0;
    *more = false;
    enum error error = view_fields(view, arena, &fields);
    if (error != OK)
        return error;
    if (!path_parse(search->field, arena, &path))
        return ERROR_INVALID;
    const struct field *field = field_find(&fields, &path, FIELD_KINDS_ORDERED);
    if (field != NULL)
        return find_by_index(search, field, view, arena, ids, max, count, more);
    error = filter_compile(expired_condition(arena, search->field, search->now_us), "", &limits,
                           arena, &filter, &fault);
    return error == OK ? find_by_walk(search, collection, view, filter, ids, max, count, more)
                       : error;
}
