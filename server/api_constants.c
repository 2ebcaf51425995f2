/* What a single node has little to say about: /cluster, /issues, /quotas,
 * /collections/{c}/optimizations. Nothing is queued, no issues are kept, and quotas are never
 * enforced, so one that would be is refused. */
#include "server/handlers.h"

#include "server/api_control.h"

static void put(struct call *call, const char *result)
{
    text_puts(call_result(call), result);
    call_ok(call);
}

void api_cluster(struct call *call)
{
    put(call, "{\"status\":\"disabled\"}");
}

void api_issues(struct call *call)
{
    put(call, "{\"issues\":[]}");
}

void api_issues_clear(struct call *call)
{
    put(call, "true");
}

void api_quotas(struct call *call)
{
    put(call, "{\"config\":{\"enabled\":false},\"usage\":{\"resident_memory_percent\":null,"
              "\"disk_usage_percent\":null}}");
}

static const struct schema_field quota_schema[] = {
    {.name = "enabled", .kind = FIELD_BOOL},
    {.name = "max_resident_memory_percent", .kind = FIELD_UINT, .min = 1, .max = 100},
    {.name = "max_disk_usage_percent", .kind = FIELD_UINT, .min = 1, .max = 100},
    {.name = "release_margin_percent", .kind = FIELD_UINT, .min = 0, .max = 100},
    {0},
};

void api_quotas_set(struct call *call)
{
    struct span body;
    struct value_builder builder;
    struct judgement judgement = {.arena = call->arena};
    if (!control_parse(call, &body))
        return;
    value_begin(&builder, call->arena);
    control_judge(quota_schema, body, "", &judgement, &builder);
    if (judgement_is_clean(&judgement)) {
        struct span enabled = value_get(value_end(&builder), span_text("enabled"));
        if (enabled.bytes > 0 && value_bool(enabled))
            judge_wrong(&judgement, "enabled: quotas are not supported; storage.min_free_bytes "
                                    "keeps the disk from filling up");
    }
    if (!judgement_is_clean(&judgement))
        call_fail_judgement(call, &judgement);
    else
        put(call, "true");
}

/* Is the word in the comma-separated ?with= list? */
static bool with(struct call *call, const char *word)
{
    struct span list;
    if (!request_parameter(call->request, "with", &list))
        return false;
    for (size_t begin = 0, i = 0; i <= list.bytes; i++) {
        if (i < list.bytes && list.data[i] != ',')
            continue;
        if (span_equal(span_of(list.data + begin, i - begin), span_text(word)))
            return true;
        begin = i + 1;
    }
    return false;
}

void api_optimizations(struct call *call)
{
    static const char *const lists[] = {"queued", "completed", "idle_segments"};
    if (!call_collection(call))
        return;
    struct text *out = call_result(call);
    text_puts(out, "{\"summary\":{\"queued_optimizations\":0,\"queued_segments\":0,"
                   "\"queued_points\":0,\"idle_segments\":0},\"running\":[]");
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (with(call, lists[i]))
            text_printf(out, ",\"%s\":[]", lists[i]);
    }
    text_puts(out, "}");
    call_ok(call);
}
