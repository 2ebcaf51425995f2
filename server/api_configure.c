/* PATCH /collections/{c}: other settings for a collection that is in use.
 *
 * The body is judged on the worker; what is stored is changed on the writer's thread, from what is
 * stored then, so that two changes at once are both kept. Nothing here changes vectors or codes:
 * what does not apply to kith (HNSW, optimizers, quantization) is stored and echoed, strict mode
 * and metadata take effect at once. */
#include "server/handlers.h"

#include "index/value_edit.h"
#include "server/api_control.h"
#include "server/collection_codes.h"
#include "server/collection_config.h"
#include "server/collection_kith.h"
#include "server/collection_schema.h"
#include "server/tree.h"

/* What PATCH asks for, judged. */
struct patch {
    struct span clean;   /* after update_schema */
    struct span vectors; /* {name: clean vector}, empty when none are given */
    struct span sparse;  /* {name: clean sparse vector} */
    struct judgement judgement;
};

/* ---- judging, on the worker ---- */

static bool is_disabled(struct span value)
{
    return value_kind(value) == VALUE_STRING &&
           span_equal(value_string(value), span_text("Disabled"));
}

/* An object of one kind, or "Disabled", which is null from here on. */
static struct span judge_quantization(struct judgement *judgement, struct span value,
                                      const char *path)
{
    struct value_builder builder;
    value_begin(&builder, judgement->arena);
    if (value.bytes == 0)
        return value;
    if (is_disabled(value)) {
        value_put_null(&builder);
        return value_end(&builder);
    }
    if (value_kind(value) != VALUE_OBJECT) {
        judge_format(judgement, "%s: expected a map or \"Disabled\"", path);
        return (struct span){0};
    }
    control_judge(quantization_schema, value, path, judgement, &builder);
    if (judgement->format != NULL)
        return (struct span){0};
    struct span clean = value_end(&builder);
    if (value_count(clean) != 1)
        judge_format(judgement,
                     "%s: data did not match any variant of untagged enum QuantizationConfigDiff",
                     path);
    if (member(clean, "turboquant_mse").bytes > 0)
        judge_wrong(judgement,
                    "%s.turboquant_mse: codes are made once, and their scale cannot be changed",
                    path);
    return clean;
}

/* Each of {name: object} by a schema. kind: "vectors" or "sparse_vectors", for texts. */
static struct span judge_named(struct patch *patch, const struct collection_settings *settings,
                               const char *kind, const struct schema_field *schema)
{
    struct judgement *judgement = &patch->judgement;
    struct span map = member(patch->clean, kind), name, params;
    struct value_builder builder, inner;
    struct value_cursor cursor;
    if (map.bytes == 0)
        return map;
    value_begin(&builder, judgement->arena);
    bool good = value_open_object(&builder) == OK;
    value_walk(map, &cursor);
    while (good && judgement->format == NULL && value_next(&cursor, &name, &params)) {
        const char *path = arena_format(judgement->arena, "%s.?", kind);
        uint16_t number;
        const struct vector_settings *vector = settings_find_vector(settings, name, &number);
        if (vector == NULL || (vector->kind == VECTOR_SPARSE) != (kind[0] == 's'))
            judge_wrong(judgement, "Not existing vector name error: %.*s",
                        (int)(name.bytes < 200 ? name.bytes : 200), (const char *)name.data);
        if (value_kind(params) != VALUE_OBJECT) {
            judge_format(judgement, "%s: expected a map", path);
            break;
        }
        value_begin(&inner, judgement->arena);
        control_judge(schema, params, path, judgement, &inner);
        if (judgement->format != NULL)
            break;
        struct span clean = value_end(&inner);
        struct span modifier = member(clean, "modifier");
        if (vector != NULL && modifier.bytes > 0 &&
            vector->idf != span_equal(value_string(modifier), span_text("idf")))
            judge_wrong(judgement, "%s.modifier: cannot be changed after creation", path);
        struct span quantization =
            judge_quantization(judgement, member(clean, "quantization_config"),
                               arena_format(judgement->arena, "%s.quantization_config", path));
        clean = with_member(judgement->arena, clean, "quantization_config", quantization);
        good = value_put_key(&builder, name) == OK;
        value_put_value(&builder, clean);
    }
    value_close(&builder);
    return value_end(&builder);
}

static void judge_patch(struct patch *patch, struct span body,
                        const struct collection_settings *settings)
{
    struct judgement *judgement = &patch->judgement;
    struct value_builder builder;
    value_begin(&builder, judgement->arena);
    control_judge(update_schema, body, "", judgement, &builder);
    if (judgement->format != NULL)
        return;
    patch->clean = value_end(&builder);
    struct span quantization = judge_quantization(
        judgement, member(patch->clean, "quantization_config"), "quantization_config");
    patch->clean = with_member(judgement->arena, patch->clean, "quantization_config", quantization);
    patch->vectors = judge_named(patch, settings, "vectors", vector_update_schema);
    patch->sparse = judge_named(patch, settings, "sparse_vectors", sparse_schema);
}

/* ---- changing, on the writer's thread ---- */

/* Merge what is given into what is there, a level deep. Either may be empty. */
static struct span merged(struct arena *arena, struct span there, struct span given)
{
    struct span out;
    if (given.bytes == 0)
        return there;
    if (there.bytes > 0 && value_kind(there) != VALUE_OBJECT)
        there = (struct span){0}; /* null */
    return value_merge(there, given, arena, &out) == OK ? out : there;
}

/* Its `hnsw_config` and `index` are merged themselves, the rest replaced. */
static struct span changed_vector(struct arena *arena, struct span vector, struct span given)
{
    static const char *const deep[] = {"hnsw_config", "index"};
    for (size_t i = 0; i < sizeof deep / sizeof deep[0]; i++) {
        struct span inner = member(given, deep[i]);
        if (inner.bytes > 0)
            given =
                with_member(arena, given, deep[i], merged(arena, member(vector, deep[i]), inner));
    }
    return merged(arena, vector, given);
}

/* One VectorParams has a size itself; a map has objects under whatever names it has. */
static bool vectors_are_single(struct span vectors)
{
    struct span size = member(vectors, "size");
    return size.bytes > 0 && value_kind(size) != VALUE_OBJECT;
}

static struct span changed_vectors(struct arena *arena, struct span vectors, struct span given)
{
    struct value_cursor cursor;
    struct span name, params;
    if (given.bytes == 0 || vectors.bytes == 0)
        return vectors;
    value_walk(given, &cursor);
    while (value_next(&cursor, &name, &params)) {
        if (vectors_are_single(vectors)) {
            vectors = changed_vector(arena, vectors, params);
            continue;
        }
        struct value_builder builder;
        struct span there = value_get(vectors, name);
        if (there.bytes == 0)
            continue;
        value_begin(&builder, arena);
        if (value_open_object(&builder) != OK || value_put_key(&builder, name) != OK)
            continue;
        value_put_value(&builder, changed_vector(arena, there, params));
        value_close(&builder);
        vectors = merged(arena, vectors, value_end(&builder));
    }
    return vectors;
}

static struct span changed_params(const struct patch *patch, struct span params)
{
    struct arena *arena = patch->judgement.arena;
    params = merged(arena, params, member(patch->clean, "params"));
    if (patch->vectors.bytes > 0)
        params = with_member(arena, params, "vectors",
                             changed_vectors(arena, member(params, "vectors"), patch->vectors));
    if (patch->sparse.bytes > 0)
        params =
            with_member(arena, params, "sparse_vectors",
                        changed_vectors(arena, member(params, "sparse_vectors"), patch->sparse));
    return params;
}

/* The whole configuration, as a value. */
static struct span changed_config(const struct patch *patch, struct span config)
{
    static const struct {
        const char *name, *given;
    } parts[] = {{"hnsw_config", "hnsw_config"},
                 {"optimizer_config", "optimizers_config"},
                 {"strict_mode_config", "strict_mode_config"},
                 {"metadata", "metadata"}};
    struct arena *arena = patch->judgement.arena;
    struct span quantization = member(patch->clean, "quantization_config");
    config = with_member(arena, config, "params", changed_params(patch, member(config, "params")));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct span given = member(patch->clean, parts[i].given);
        if (given.bytes > 0)
            config = with_member(arena, config, parts[i].name,
                                 merged(arena, member(config, parts[i].name), given));
    }
    if (quantization.bytes > 0)
        config = with_member(arena, config, "quantization_config", quantization);
    return config;
}

static enum error configure(struct write_job *job, struct span *config)
{
    struct patch *patch = job->context;
    struct arena *arena = patch->judgement.arena;
    struct span there;
    const char *why;
    if (!tree_parse(config_newest_json(job->collection), arena, &there, &why))
        return ERROR_CORRUPT;
    struct span changed = changed_config(patch, there);
    struct span strict = member(changed, "strict_mode_config");
    judge_strict(&patch->judgement, strict);
    struct kith_settings kith;
    judge_kith(&patch->judgement, member(changed, "metadata"), &kith);
    if (kith.string_ids != collection_settings(job->collection)->string_ids)
        judge_wrong(&patch->judgement,
                    "metadata.kith.string_ids: cannot be changed after creation");
    judge_codes_kept(&patch->judgement, collection_settings(job->collection), there, changed);
    if (!judgement_is_clean(&patch->judgement))
        return ERROR_INVALID;
    struct text text = {0};
    text_value(&text, changed);
    *config = config_pack(arena, span_of(text.data, text.bytes), strict);
    text_release(&text);
    return OK;
}

static void configure_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    struct patch *patch = job->context;
    if (!judgement_is_clean(&patch->judgement)) {
        call_fail_judgement(call, &patch->judgement);
    } else if (job->error != OK) {
        call_fail_error(call, job->error);
    } else {
        text_puts(call_result(call), "true");
        call_ok(call);
    }
}

void api_collection_update(struct call *call)
{
    struct span body;
    if (!call_collection(call) || !control_parse(call, &body))
        return;
    struct patch *patch = arena_allocate(call->arena, sizeof *patch);
    *patch = (struct patch){.judgement = {.arena = call->arena}};
    judge_patch(patch, body, collection_settings(call->collection));
    if (!judgement_is_clean(&patch->judgement)) {
        call_fail_judgement(call, &patch->judgement);
        return;
    }
    call->job = (struct write_job){.kind = WRITE_CONFIGURE,
                                   .collection = call->collection,
                                   .configure = configure,
                                   .context = patch};
    (void)call_submit_write(call, configure_done);
}
