/* PUT and DELETE /collections/{c}/vectors/{name}: a vector added to a collection that is in use, or
 * removed from it.
 *
 * The body is judged on the worker; the settings are changed on the writer's thread, from what they
 * are then. A number is given out once in a collection's life: rows may name a removed one. */
#include <stdlib.h>

#include "server/api_points.h"
#include "server/collection_config.h"
#include "server/created_vector.h"
#include "server/handlers.h"
#include "server/tree.h"

/* What is asked for. */
struct change {
    struct arena *arena;
    struct span name;
    bool removes;
    struct created_vector created; /* of what is added */
    struct judgement judgement;    /* clean but for what the writer's thread finds */
    struct collection_settings settings;
};

static const char *name_text(const struct change *change)
{
    const size_t bytes =
        change->name.bytes < VECTOR_NAME_BYTES_MAX ? change->name.bytes : VECTOR_NAME_BYTES_MAX;
    return arena_format(change->arena, "%.*s", (int)bytes, (const char *)change->name.data);
}

/* ---- the configuration that is echoed ---- */

/* A value at a name of a map, or without it when value is empty. A map that was left out begins. */
static struct span map_with(struct arena *arena, struct span map, struct span name,
                            struct span value)
{
    struct value_builder builder;
    struct value_cursor cursor;
    struct span key, inner;
    value_begin(&builder, arena);
    bool good = value_open_object(&builder) == OK;
    if (map.bytes > 0) {
        value_walk(map, &cursor);
        while (good && value_next(&cursor, &key, &inner)) {
            if (span_equal(key, name))
                continue;
            good = value_put_key(&builder, key) == OK;
            value_put_value(&builder, inner);
        }
    }
    if (good && value.bytes > 0 && value_put_key(&builder, name) == OK) {
        value_put_value(&builder, value);
    }
    value_close(&builder);
    return value_end(&builder);
}

/* `vectors` as a map: the default vector alone is shown as its parameters until there are others.
 */
static struct span as_map(struct arena *arena, struct span vectors)
{
    struct span size = member(vectors, "size");
    bool single = size.bytes > 0 && value_kind(size) != VALUE_OBJECT;
    return single ? map_with(arena, (struct span){0}, (struct span){0}, vectors) : vectors;
}

static bool change_config(struct change *change, const struct vector_settings *vector,
                          struct span json)
{
    struct arena *arena = change->arena;
    struct span config;
    const char *why;
    if (!tree_parse(json, arena, &config, &why))
        return false;
    const char *which = vector->kind == VECTOR_SPARSE ? "sparse_vectors" : "vectors";
    struct span params = member(config, "params");
    struct span map = member(params, which);
    if (vector->kind != VECTOR_SPARSE)
        map = as_map(arena, map);
    map = map_with(arena, map, change->name,
                   change->removes ? (struct span){0} : change->created.clean);
    config = with_member(arena, config, "params", with_member(arena, params, which, map));
    struct text text = {0};
    text_value(&text, config);
    change->settings.config =
        config_pack(arena, span_of(text.data, text.bytes), member(config, "strict_mode_config"));
    text_release(&text);
    return true;
}

/* ---- on the writer's thread ---- */

static void judge_against(struct change *change, const struct collection_settings *now, bool there)
{
    if (change->removes && !there)
        judge_wrong(&change->judgement, "Not existing vector name error: %s", name_text(change));
    else if (!change->removes && there)
        judge_wrong(&change->judgement, "Vector with name `%s` already exists", name_text(change));
    else if (!change->removes && now->vector_count == COLLECTION_VECTORS_MAX)
        judge_wrong(&change->judgement,
                    "a collection has at most %d vectors in its life, removed ones among them",
                    COLLECTION_VECTORS_MAX);
}

static enum error alter(struct write_job *job, const struct collection_settings **settings)
{
    struct change *change = job->context;
    struct arena *arena = change->arena;
    const struct collection_settings *now = collection_newest_settings(job->collection);
    uint16_t number;
    const bool there = settings_find_vector(now, change->name, &number) != NULL;
    judge_against(change, now, there);
    if (!judgement_is_clean(&change->judgement))
        return ERROR_INVALID;
    struct vector_settings *vectors =
        arena_allocate(arena, (now->vector_count + 1) * sizeof *vectors);
    if (now->vector_count > 0)
        memcpy(vectors, now->vectors, now->vector_count * sizeof *vectors);
    change->settings = *now;
    change->settings.vectors = vectors;
    struct span json = config_newest_json(job->collection);
    if (!change->removes) {
        struct span config;
        const char *why;
        number = (uint16_t)change->settings.vector_count++;
        if (!tree_parse(json, arena, &config, &why))
            return ERROR_CORRUPT;
        created_vector_fill(&change->created, member(config, "quantization_config"),
                            &vectors[number]);
    }
    if (!change_config(change, &vectors[number], json))
        return ERROR_CORRUPT;
    if (change->removes)
        vectors[number] = (struct vector_settings){.kind = VECTOR_NONE};
    *settings = &change->settings;
    return OK;
}

static void alter_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    struct change *change = job->context;
    if (!judgement_is_clean(&change->judgement))
        call_fail_judgement(call, &change->judgement);
    else if (job->error == ERROR_TOO_LARGE)
        call_fail(call, 400, "Wrong input: the collection's settings would be too large");
    else
        api_update_done(job);
}

static void submit(struct call *call, struct change *change)
{
    call->job = (struct write_job){
        .kind = WRITE_ALTER, .collection = call->collection, .alter = alter, .context = change};
    (void)call_submit_write(call, alter_done);
}

static struct change *change_new(struct call *call)
{
    struct change *change = arena_allocate(call->arena, sizeof *change);
    *change = (struct change){.arena = call->arena,
                              .name = call->request->segments[3],
                              .judgement = {.arena = call->arena}};
    return change;
}

/* ---- judging, on the worker ---- */

static void judge_sparse(struct change *change, struct span params)
{
    struct value_builder builder;
    value_begin(&builder, change->arena);
    control_judge(sparse_schema, params, "sparse", &change->judgement, &builder);
    if (change->judgement.format == NULL)
        change->created.clean = value_end(&builder);
}

/* Null equals absent. */
static struct span given(struct span body, const char *name)
{
    struct span value = member(body, name);
    return value.bytes > 0 && value_kind(value) == VALUE_NULL ? (struct span){0} : value;
}

static void judge(struct change *change, struct span body)
{
    struct judgement *judgement = &change->judgement;
    struct span dense = given(body, "dense"), sparse = given(body, "sparse");
    struct span params = dense.bytes > 0 ? dense : sparse;
    change->created.name = change->name;
    change->created.sparse = dense.bytes == 0;
    if (change->name.bytes > VECTOR_NAME_BYTES_MAX)
        judge_wrong(judgement, "vector name %s... is longer than %d bytes", name_text(change),
                    VECTOR_NAME_BYTES_MAX);
    if ((dense.bytes > 0) == (sparse.bytes > 0) || value_kind(params) != VALUE_OBJECT)
        judge_format(judgement, "data did not match any variant of untagged enum VectorNameConfig: "
                                "expected an object `dense` or an object `sparse`");
    else if (change->created.sparse)
        judge_sparse(change, params);
    else
        created_vector_judge(judgement, params, "dense", &change->created.clean);
}

void api_vector_name_create(struct call *call)
{
    struct span body;
    if (!call_collection(call) || !control_parse(call, &body))
        return;
    struct change *change = change_new(call);
    judge(change, body);
    if (!judgement_is_clean(&change->judgement)) {
        call_fail_judgement(call, &change->judgement);
        return;
    }
    submit(call, change);
}

void api_vector_name_delete(struct call *call)
{
    if (!call_collection(call))
        return;
    struct change *change = change_new(call);
    change->removes = true;
    submit(call, change);
}
