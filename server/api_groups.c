/* POST …/points/query/groups, …/search/groups and …/recommend/groups.
 *
 * Groups stand in the order of their best hits, so ranking enough points finds them: as many as the
 * groups could hold, then four times as many, until the wanted groups are there and full or there
 * are no more points. Groups that the data cannot fill thus cost a ranking of everything; the
 * deadline holds. */
#include "server/api_query.h"

#include <stdlib.h>

#include "index/string_id.h"
#include "index/uuid.h"
#include "server/config.h"
#include "server/handlers.h"
#include "server/query_groups.h"

/* A hit in a group: one entry per value of its field. */
struct member {
    struct span value; /* integer or string */
    size_t rank;       /* place of the hit */
    size_t place;      /* of the value within its point */
};

struct group {
    const struct member *members; /* by rank */
    size_t count;
};

struct grouping {
    struct query_call *query_call;
    const struct query_groups *asked;
    struct arena *arena;
    struct scored_list hits;
    struct member *members;
    size_t member_count, member_capacity;
    struct group *groups; /* best first */
    size_t group_count;
    bool degraded;
};

/* ---- members ---- */

static bool is_group_id(struct span value)
{
    const enum value_kind kind = value_kind(value);
    return kind == VALUE_STRING || kind == VALUE_INTEGER || kind == VALUE_UNSIGNED;
}

/* Integers before strings; signed before those above INT64_MAX. */
static int compare_values(struct span a, struct span b)
{
    const bool a_text = value_kind(a) == VALUE_STRING, b_text = value_kind(b) == VALUE_STRING;
    if (a_text != b_text)
        return a_text - b_text;
    if (a_text) {
        const struct span x = value_string(a), y = value_string(b);
        const size_t common = x.bytes < y.bytes ? x.bytes : y.bytes;
        const int order = common == 0 ? 0 : memcmp(x.data, y.data, common);
        return order != 0 ? order : (x.bytes > y.bytes) - (x.bytes < y.bytes);
    }
    const bool a_large = value_kind(a) == VALUE_UNSIGNED, b_large = value_kind(b) == VALUE_UNSIGNED;
    if (a_large != b_large)
        return a_large - b_large;
    if (a_large)
        return (value_unsigned(a) > value_unsigned(b)) - (value_unsigned(a) < value_unsigned(b));
    return (value_integer(a) > value_integer(b)) - (value_integer(a) < value_integer(b));
}

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    const int order = compare_values(x->value, y->value);
    if (order != 0)
        return order;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int compare_groups(const void *a, const void *b)
{
    const struct member *x = ((const struct group *)a)->members;
    const struct member *y = ((const struct group *)b)->members;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void add_member(struct grouping *grouping, struct span value, size_t rank, size_t place)
{
    if (grouping->member_count == grouping->member_capacity) {
        const size_t capacity =
            grouping->member_capacity == 0 ? 256 : 2 * grouping->member_capacity;
        grouping->members = grow(grouping->members, size_product(capacity, sizeof(struct member)));
        grouping->member_capacity = capacity;
    }
    grouping->members[grouping->member_count++] = (struct member){value, rank, place};
}

struct adding {
    struct grouping *grouping;
    size_t rank, place;
    bool foreign; /* a value that cannot name a group: the point is in none */
};

static bool add_value(const void *context, struct span value)
{
    struct adding *const *adding = context;
    struct span key, element;
    struct value_cursor cursor;
    if (value_kind(value) != VALUE_ARRAY) {
        (*adding)->foreign |= !is_group_id(value);
        if (!(*adding)->foreign)
            add_member((*adding)->grouping, value, (*adding)->rank, (*adding)->place++);
        return (*adding)->foreign;
    }
    value_walk(value, &cursor);
    while (!(*adding)->foreign && value_next(&cursor, &key, &element)) {
        (*adding)->foreign |= !is_group_id(element);
        if (!(*adding)->foreign)
            add_member((*adding)->grouping, element, (*adding)->rank, (*adding)->place++);
    }
    return (*adding)->foreign;
}

static enum error add_hit(struct grouping *grouping, size_t rank)
{
    struct point_row row;
    const size_t before = grouping->member_count;
    struct adding adding = {.grouping = grouping, .rank = rank};
    struct adding *const to = &adding;
    const enum error error =
        view_point(&grouping->query_call->call->view, grouping->hits.items[rank].slot, &row);
    if (error != OK)
        return error;
    if (row.payload.bytes > 0)
        (void)path_visit(&grouping->asked->path, row.payload, add_value, &to);
    if (adding.foreign)
        grouping->member_count = before;
    return OK;
}

/* ---- groups ---- */

/* Runs of equal values; a point that has a value twice counts once. */
static void make_groups(struct grouping *grouping)
{
    struct member *members = grouping->members;
    size_t kept = 0;
    if (grouping->member_count > 1)
        qsort(members, grouping->member_count, sizeof *members, compare_members);
    grouping->groups =
        grow(grouping->groups, size_product(grouping->member_count + 1, sizeof *grouping->groups));
    grouping->group_count = 0;
    for (size_t i = 0; i < grouping->member_count; i++) {
        const bool same =
            kept > 0 && compare_values(members[i].value, members[kept - 1].value) == 0;
        if (same && members[i].rank == members[kept - 1].rank)
            continue;
        members[kept] = members[i];
        if (!same)
            grouping->groups[grouping->group_count++] = (struct group){&members[kept], 0};
        grouping->groups[grouping->group_count - 1].count++;
        kept++;
    }
    if (grouping->group_count > 1)
        qsort(grouping->groups, grouping->group_count, sizeof *grouping->groups, compare_groups);
}

/* Are all wanted groups there, and full? */
static bool enough(const struct grouping *grouping, uint64_t wanted)
{
    if (grouping->group_count < wanted)
        return false;
    for (size_t i = 0; i < wanted; i++) {
        if (grouping->groups[i].count < grouping->asked->group_size)
            return false;
    }
    return true;
}

/* Rank `limit` points and group them. false: the call has been ended. */
static bool group_once(struct grouping *grouping, struct query_node *node, uint64_t limit)
{
    struct query_call *query_call = grouping->query_call;
    node->query.limit = limit;
    grouping->member_count = 0;
    if (!query_call_run(query_call, node, grouping->arena, &grouping->hits, &grouping->degraded))
        return false;
    for (size_t i = 0; i < grouping->hits.count; i++) {
        const enum error error = add_hit(grouping, i);
        if (error != OK)
            return query_call_fail(query_call, error);
    }
    make_groups(grouping);
    return true;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return a != 0 && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

/* As many times more of everything below, that the limits of prefetches leave groups to fill. */
static void widen(struct query_node *node, uint64_t factor)
{
    for (size_t i = 0; i < node->prefetch_count; i++) {
        node->prefetches[i].query.limit = times(node->prefetches[i].query.limit, factor);
        widen(&node->prefetches[i], factor);
    }
}

static bool find_groups(struct grouping *grouping, struct query_node *node)
{
    const uint64_t wanted = node->query.limit;
    uint64_t limit = times(wanted, grouping->asked->group_size);
    widen(node, grouping->asked->group_size);
    for (;;) {
        if (!group_once(grouping, node, limit))
            return false;
        if (grouping->hits.count < limit || enough(grouping, wanted))
            break;
        limit = times(limit, 4);
        arena_release(grouping->arena);
    }
    if (grouping->group_count > wanted)
        grouping->group_count = (size_t)wanted;
    return true;
}

/* ---- the reply ---- */

static bool put_lookup(struct grouping *grouping, struct span value)
{
    struct query_call *query_call = grouping->query_call;
    const struct query_groups *asked = grouping->asked;
    struct call *call = query_call->call;
    struct collection *collection =
        asked->own_lookup ? call->collection : asked->lookup->collection;
    const struct view *view =
        asked->own_lookup ? &call->view : query_lookup_view(call, &query_call->body, asked->lookup);
    struct point_id id;
    struct point_row row;
    uint64_t slot;
    if (view == NULL)
        return query_call_refuse(query_call);
    if (value_kind(value) == VALUE_STRING && collection_settings(collection)->string_ids) {
        id = point_id_string(value_string(value));
    } else if (value_kind(value) == VALUE_STRING) {
        if (!uuid_parse(value_string(value), id.bytes))
            return true;
        id.kind = POINT_ID_UUID;
    } else {
        if (value_kind(value) == VALUE_INTEGER && value_integer(value) < 0)
            return true;
        id = point_id_number(value_unsigned(value));
    }
    enum error error = view_slot(view, &id, &slot);
    if (error == ERROR_NOT_FOUND)
        return true;
    if (error == OK)
        error = view_point(view, slot, &row);
    text_puts(&call->out, ",\"lookup\":");
    if (error == OK)
        error = selectors_put_record(&asked->lookup_selectors, view, slot, &row,
                                     collection_settings(collection), NULL, &call->out);
    return error == OK || query_call_fail(query_call, error);
}

static bool put_group(struct grouping *grouping, const struct query_request *query,
                      const struct group *group)
{
    struct query_call *query_call = grouping->query_call;
    struct call *call = query_call->call;
    text_puts(&call->out, "{\"id\":");
    text_value(&call->out, group->members[0].value);
    text_puts(&call->out, ",\"hits\":[");
    for (size_t i = 0; i < group->count && i < grouping->asked->group_size; i++) {
        if (i > 0)
            text_puts(&call->out, ",");
        if (!query_call_put(query_call, &query->selectors,
                            &grouping->hits.items[group->members[i].rank], NULL))
            return false;
    }
    text_puts(&call->out, "]");
    if (grouping->asked->has_lookup && !put_lookup(grouping, group->members[0].value))
        return false;
    text_puts(&call->out, "}");
    return true;
}

static bool answer(struct grouping *grouping, struct query_request *query)
{
    struct call *call = grouping->query_call->call;
    if (!find_groups(grouping, &query->root))
        return false;
    text_puts(call_result(call), "{\"groups\":[");
    for (size_t i = 0; i < grouping->group_count; i++) {
        if (i > 0)
            text_puts(&call->out, ",");
        if (!put_group(grouping, query, &grouping->groups[i]))
            return false;
    }
    text_puts(&call->out, grouping->degraded ? "],\"degraded\":true}" : "]}");
    return true;
}

static void run_groups(struct call *call, query_read *read)
{
    struct query_call query_call;
    struct query_groups groups = {.group_size = 3, .call = call};
    struct query_request query = {.groups = &groups};
    struct arena arena;
    if (!query_call_begin(&query_call, call))
        return;
    groups.lookups = &query_call.lookups;
    bool good = read(&query_call.reader, &query) && query_call_limit(&query_call, &query.root);
    if (good && groups.group_by.data == NULL)
        good = json_fail(&query_call.body.json, "missing field `group_by`");
    if (!good || !body_end(&query_call.body)) {
        (void)query_call_refuse(&query_call);
        return;
    }
    if (!call_view(call)) {
        query_lookups_release(&query_call.lookups);
        return;
    }
    arena_init(&arena);
    struct grouping grouping = {.query_call = &query_call, .asked = &groups, .arena = &arena};
    if (answer(&grouping, &query))
        query_call_ok(&query_call);
    free(grouping.members);
    free(grouping.groups);
    arena_release(&arena);
}

void api_points_query_groups(struct call *call)
{
    run_groups(call, query_request_read);
}

void api_points_search_groups(struct call *call)
{
    run_groups(call, legacy_search_read);
}

void api_points_recommend_groups(struct call *call)
{
    run_groups(call, legacy_recommend_read);
}
