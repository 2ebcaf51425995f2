/* Reading points: by ids, one, and page by page in id order. */
#include <stdlib.h>

#include "index/point_walk.h"
#include "server/api_points.h"
#include "server/handlers.h"
#include "server/npy_reply.h"
#include "server/query_node.h"
#include "server/selectors.h"
#include "server/update.h"

#define NEXT_PAGE_HEADER "X-Kith-Next-Page-Offset"
#define DEADLINE_RECORDS 256 /* between two looks at it */

enum {
    SEEN_IDS = 1,
    SEEN_PAYLOAD = 2,
    SEEN_VECTOR = 4,
    SEEN_OFFSET = 8,
    SEEN_LIMIT = 16,
    SEEN_FILTER = 32,
    SEEN_ORDER = 64
};

enum error call_check_deadline(const struct call *call)
{
    return call->deadline_ns != 0 && clock_ns() >= call->deadline_ns ? ERROR_CANCELLED : OK;
}

/* ---- records ---- */

/* A reply of records under way: a comma between them, deadline and size looked at now and then. */
struct records {
    struct call *call;
    struct selectors selectors;
    const struct collection_settings *settings;
    uint64_t count;
    bool as_npy;
    struct npy_reply npy;
};

/* false: the call has been ended. */
static bool put_record(struct records *records, uint64_t slot)
{
    struct call *call = records->call;
    struct point_row row;
    if (records->count > 0 && !records->as_npy)
        text_puts(&call->out, ",");
    enum error error = view_point(&call->view, slot, &row);
    if (error == OK && records->as_npy)
        error = npy_reply_put(&records->npy, call, slot, &row, NULL);
    else if (error == OK)
        error = selectors_put_record(&records->selectors, &call->view, slot, &row,
                                     records->settings, NULL, &call->out);
    if (error == OK && ++records->count % DEADLINE_RECORDS == 0)
        error = call_check_deadline(call);
    if (error == OK)
        return call_result_fits(call);
    call_fail_error(call, error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error);
    return false;
}

static void records_begin(struct records *records, struct call *call)
{
    *records = (struct records){
        .call = call,
        .selectors = {.payload = SELECT_ALL, .vector = SELECT_NONE},
        .settings = collection_settings(call->collection),
    };
}

/* In an envelope, with text before the records, or as matrices. false: the call has been ended. */
static bool records_open(struct records *records, const char *text)
{
    struct call *call = records->call;
    records->as_npy = npy_reply_wanted(call->request);
    if (records->as_npy)
        return npy_reply_begin(&records->npy, call, &records->selectors, false);
    text_puts(call_result(call), text);
    return true;
}

static void records_close(struct records *records, const char *text)
{
    struct call *call = records->call;
    if (records->as_npy) {
        npy_reply_end(&records->npy, call);
        return;
    }
    text_puts(&call->out, text);
    call_ok(call);
}

static bool read_selector(struct records *records, struct body *body, struct span key,
                          unsigned *seen, bool *mine)
{
    *mine = true;
    if (key_is(key, "with_payload"))
        return field_once(body, seen, SEEN_PAYLOAD, "with_payload") &&
               selectors_read_payload(body, &records->selectors);
    if (key_is(key, "with_vector") || key_is(key, "with_vectors"))
        return field_once(body, seen, SEEN_VECTOR, "with_vector") &&
               selectors_read_vector(body, collection_settings(records->call->collection),
                                     &records->selectors);
    *mine = false;
    return true;
}

/* ---- POST /collections/{c}/points ---- */

static bool read_retrieve(struct records *records, struct body *body, struct id_list *list)
{
    struct span key;
    unsigned seen = 0;
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object with `ids`");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine;
        if (!read_selector(records, body, key, &seen, &mine))
            return false;
        if (mine)
            continue;
        bool good;
        if (key_is(key, "ids"))
            good = field_once(body, &seen, SEEN_IDS, "ids") &&
                   id_list_read(body, "ids", records->call->service->config->strict.ids_max, list);
        else if (key_is(key, "shard_key"))
            good = field_unsupported(body, "shard_key");
        else
            good = json_skip(&body->json);
        if (!good)
            return false;
    }
    if (!json_failed(&body->json) && (seen & SEEN_IDS) == 0)
        return json_fail(&body->json, "missing field `ids`");
    return body_end(body);
}

/* In the order asked for; ids that are not there are left out. false: the call has been ended. */
static bool put_listed(struct records *records, const struct id_list *list)
{
    struct call *call = records->call;
    for (size_t i = 0; i < list->count; i++) {
        uint64_t slot;
        enum error error = view_slot(&call->view, &list->ids[i], &slot);
        if (error == OK && !put_record(records, slot))
            return false;
        if ((error == OK || error == ERROR_NOT_FOUND) && i % DEADLINE_RECORDS == 0)
            error = call_check_deadline(call);
        if (error != OK && error != ERROR_NOT_FOUND) {
            call_fail_error(call, error);
            return false;
        }
    }
    return true;
}

void api_points_retrieve(struct call *call)
{
    struct body body;
    struct records records;
    struct id_list list = {0};
    if (!call_collection(call))
        return;
    body_begin_call(&body, call);
    records_begin(&records, call);
    if (!read_retrieve(&records, &body, &list)) {
        body_refuse(&body, call);
        return;
    }
    if (!call_view(call))
        return;
    if (!records_open(&records, "["))
        return;
    if (put_listed(&records, &list))
        records_close(&records, "]");
    npy_reply_release(&records.npy);
}

/* ---- GET /collections/{c}/points/{id} ---- */

void api_point_get(struct call *call)
{
    struct point_id id;
    struct records records;
    uint64_t slot;
    if (!call_collection(call))
        return;
    if (!point_id_parse_text(call->request->segments[3], call_id_bytes_max(call), &id)) {
        call_fail(call, 400,
                  "Wrong input: value %s is not a valid point ID, valid values are either an "
                  "unsigned integer or a UUID",
                  request_segment_text(call->request, 3));
        return;
    }
    if (!call_view(call))
        return;
    enum error error = view_slot(&call->view, &id, &slot);
    if (error == ERROR_NOT_FOUND) {
        call_fail(call, 404, "Not found: Point with id %s does not exists!",
                  id.kind == POINT_ID_STRING ? request_segment_text(call->request, 3)
                                             : request_id_text(call->request, &id));
        return;
    }
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    records_begin(&records, call);
    records.selectors.vector = SELECT_ALL;
    (void)call_result(call);
    if (put_record(&records, slot))
        call_ok(call);
}

/* ---- POST /collections/{c}/points/scroll ---- */

struct scroll {
    struct point_id offset;
    bool has_offset;
    uint64_t limit;
    const struct filter *filter;
    bool has_order;
    struct query_order order;
};

static bool read_scroll_order(struct body *body, struct scroll *scroll)
{
    if (field_null(body))
        return true;
    scroll->has_order = true;
    return query_order_read(body, &scroll->order);
}

static bool read_scroll_field(struct body *body, struct span key, struct scroll *scroll,
                              unsigned *seen)
{
    if (key_is(key, "offset")) {
        if (field_null(body))
            return true;
        scroll->has_offset = true;
        return field_once(body, seen, SEEN_OFFSET, "offset") && api_read_id(body, &scroll->offset);
    }
    if (key_is(key, "limit"))
        return field_once(body, seen, SEEN_LIMIT, "limit") &&
               field_u64(body, "limit", 1, &scroll->limit);
    if (key_is(key, "filter"))
        return field_once(body, seen, SEEN_FILTER, "filter") &&
               field_filter(body, "filter", &scroll->filter);
    if (key_is(key, "order_by"))
        return field_once(body, seen, SEEN_ORDER, "order_by") && read_scroll_order(body, scroll);
    if (key_is(key, "shard_key"))
        return field_unsupported(body, "shard_key");
    return json_skip(&body->json);
}

static bool read_scroll(struct records *records, struct body *body, struct scroll *scroll)
{
    struct span key;
    unsigned seen = 0;
    body->path = "internal.";
    if (json_peek(&body->json) != JSON_OBJECT)
        return json_fail(&body->json, "expected an object");
    if (!json_enter_object(&body->json))
        return false;
    while (json_key(&body->json, &key)) {
        bool mine;
        if (!read_selector(records, body, key, &seen, &mine) ||
            (!mine && !read_scroll_field(body, key, scroll, &seen)))
            return false;
    }
    if (scroll->has_order && scroll->has_offset)
        return refuse(&body->refusal, body->arena, REFUSAL_REQUEST,
                      "Cannot use an `offset` when using `order_by`. The alternative for paging is "
                      "to use `order_by.start_from` and a filter to exclude the IDs that you've "
                      "already seen for the `order_by.start_from` value");
    return body_end(body);
}

/* A page by the values of a field; another page begins by start_from. */
static void scroll_in_order(struct records *records, struct body *body, struct scroll *scroll)
{
    struct call *call = records->call;
    struct scored_list list = {0};
    if (!query_order_find(body, &call->view, &scroll->order)) {
        body_refuse(body, call);
        return;
    }
    struct query_run run = {
        .collection = call->collection,
        .view = &call->view,
        .workspace = call->worker->workspace,
        .arena = call->arena,
        .deadline_ns = call->deadline_ns,
    };
    const struct query query = {.kind = QUERY_ORDER_BY,
                                .limit = scroll->limit,
                                .filter = scroll->filter,
                                .order = scroll->order};
    const enum error error = query_evaluate(&run, &query, &list);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    if (!records_open(records, "{\"points\":["))
        return;
    bool good = true;
    for (size_t i = 0; i < list.count && good; i++) {
        good = put_record(records, list.items[i].slot);
        if (good && !records->as_npy)
            text_order_value_into(&call->out, &list.values[i]);
    }
    if (good)
        records_close(records, "],\"next_page_offset\":null}");
    npy_reply_release(&records->npy);
}

/* What a page ends with: the point behind it, if there is one. */
struct page_end {
    bool more;
    struct id_slot next;
};

/* false: the call has been ended. */
static bool put_page(struct records *records, const struct scroll *scroll, struct point_walk *walk,
                     struct page_end *end)
{
    struct call *call = records->call;
    const struct id_slot *item;
    enum error error =
        point_walk_begin(walk, call->collection, &call->view, scroll->filter,
                         scroll->has_offset ? &scroll->offset : NULL, call->deadline_ns, NULL);
    while (error == OK) {
        error = point_walk_next(walk, &item);
        if (error != OK)
            break;
        end->more = item != NULL;
        if (item == NULL)
            return true;
        end->next = *item;
        if (records->count == scroll->limit)
            return true;
        if (!put_record(records, item->slot))
            return false;
    }
    call_fail_error(call, error);
    return false;
}

/* Where the next page begins: in the envelope, or in a header beside matrices. */
static void end_page(struct records *records, const struct page_end *end)
{
    struct call *call = records->call;
    struct text next = {0};
    enum error error = OK;
    if (records->as_npy && end->more) {
        error = text_slot_id(&next, &call->view, &end->next.id,
                             end->next.slot); /* as JSON: no control characters in a header */
        call->headers =
            arena_format(call->arena, NEXT_PAGE_HEADER ": %.*s\r\n", (int)next.bytes, next.data);
    } else if (!records->as_npy) {
        text_puts(&next, "],\"next_page_offset\":");
        if (end->more)
            error = text_slot_id(&next, &call->view, &end->next.id, end->next.slot);
        text_puts(&next, end->more ? "}" : "null}");
    }
    text_put(&next, "", 1);
    if (error == OK)
        records_close(records, next.data);
    else
        call_fail_error(call, error);
    text_release(&next);
}

void api_points_scroll(struct call *call)
{
    struct body body;
    struct records records;
    struct scroll scroll = {.limit = 10};
    struct page_end end = {0};
    if (!call_collection(call))
        return;
    body_begin_call(&body, call);
    records_begin(&records, call);
    if (!read_scroll(&records, &body, &scroll) || !body_check_limit(&body, call, scroll.limit)) {
        body_refuse(&body, call);
        return;
    }
    if (!call_view(call))
        return;
    if (scroll.has_order) {
        scroll_in_order(&records, &body, &scroll);
        return;
    }
    if (!records_open(&records, "{\"points\":["))
        return;
    /* Not in the arena: a page that cannot be put has ended the call, arena and all. */
    struct point_walk *walk = allocate(sizeof *walk);
    bool good = put_page(&records, &scroll, walk, &end);
    point_walk_end(walk);
    free(walk);
    if (good)
        end_page(&records, &end);
    npy_reply_release(&records.npy);
}
