/* Collections: list, create, info, exists, delete.
 *
 * A collection's settings are judged once, when it is created, and stored as the very JSON that
 * GET echoes as `config`. What has no effect here (segments, HNSW, WAL, quantization of other kinds
 * than `turbo`) is judged, stored and echoed all the same, as clients read it back; what would
 * change answers and is not built yet is refused by name. */
#include "server/handlers.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "server/api_index.h"
#include "server/collection_codes.h"
#include "server/collection_config.h"
#include "server/collection_kith.h"
#include "server/collection_schema.h"
#include "server/created_vector.h"
#include "server/tree.h"

/* ---- what kith makes of them ---- */

/* What create found: the clean settings and the vectors they declare. */
struct creation {
    struct span clean;              /* after create_schema */
    struct created_vector *vectors; /* [vector_count], in the order given, sparse ones last */
    uint32_t vector_count;
    struct kith_settings kith;
    bool single; /* `vectors` was the default vector's settings, not a map: echoed as given */
};

static bool member_is(struct span object, const char *name, const char *text)
{
    struct span value = member(object, name);
    return value.bytes > 0 && value_kind(value) == VALUE_STRING &&
           span_equal(value_string(value), span_text(text));
}

/* Exactly one kind of quantization: the upstream type is a union. */
static void judge_quantization(struct judgement *judgement, struct span owner, const char *path)
{
    struct span quantization = member(owner, "quantization_config");
    if (quantization.bytes > 0 && value_count(quantization) != 1)
        judge_format(judgement,
                     "%squantization_config: data did not match any variant of untagged enum "
                     "QuantizationConfig",
                     path);
}

void created_vector_judge(struct judgement *judgement, struct span params, const char *path,
                          struct span *clean)
{
    struct value_builder builder;
    value_begin(&builder, judgement->arena);
    control_judge(vector_schema, params, path, judgement, &builder);
    if (judgement->format != NULL)
        return;
    *clean = value_end(&builder);
    judge_quantization(judgement, *clean, arena_format(judgement->arena, "%s.", path));
}

/* One VectorParams, or a map of them: a map has objects under whatever names it has. */
static bool vectors_are_single(struct span vectors)
{
    struct span size = member(vectors, "size"), distance = member(vectors, "distance");
    return (size.bytes > 0 && value_kind(size) != VALUE_OBJECT) ||
           (distance.bytes > 0 && value_kind(distance) != VALUE_OBJECT);
}

/* The name must be new; *vector: to be filled in. */
static struct created_vector *add_vector(struct judgement *judgement, struct creation *creation,
                                         struct span name)
{
    static struct created_vector surplus;
    const int shown =
        (int)(name.bytes < VECTOR_NAME_BYTES_MAX ? name.bytes : VECTOR_NAME_BYTES_MAX);
    if (name.bytes > VECTOR_NAME_BYTES_MAX)
        judge_wrong(judgement, "vector name %.*s... is longer than %d bytes", shown,
                    (const char *)name.data, VECTOR_NAME_BYTES_MAX);
    for (uint32_t i = 0; i < creation->vector_count; i++) {
        if (span_equal(creation->vectors[i].name, name))
            judge_wrong(
                judgement,
                "Dense and sparse vector names must be unique - duplicate found with '%.*s'", shown,
                (const char *)name.data);
    }
    if (creation->vector_count == COLLECTION_VECTORS_MAX) {
        judge_wrong(judgement, "a collection has at most %u vectors", COLLECTION_VECTORS_MAX);
        return &surplus;
    }
    if (creation->vectors == NULL)
        creation->vectors =
            arena_allocate(judgement->arena, COLLECTION_VECTORS_MAX * sizeof creation->vectors[0]);
    struct created_vector *vector = &creation->vectors[creation->vector_count++];
    *vector = (struct created_vector){.name = name};
    return vector;
}

static void judge_vector_map(struct judgement *judgement, struct span vectors,
                             struct creation *creation)
{
    struct value_cursor cursor;
    struct span name, params, clean = {0};
    value_walk(vectors, &cursor);
    while (value_next(&cursor, &name, &params)) {
        if (value_kind(params) != VALUE_OBJECT) {
            judge_format(judgement,
                         "vectors: data did not match any variant of untagged enum VectorsConfig");
            return;
        }
        created_vector_judge(judgement, params, "vectors.?", &clean);
        add_vector(judgement, creation, name)->clean = clean;
    }
}

static void judge_vectors(struct judgement *judgement, struct creation *creation)
{
    struct span vectors = member(creation->clean, "vectors");
    if (vectors.bytes == 0)
        return;
    creation->single = vectors_are_single(vectors);
    if (creation->single)
        created_vector_judge(judgement, vectors, "vectors",
                             &add_vector(judgement, creation, (struct span){0})->clean);
    else
        judge_vector_map(judgement, vectors, creation);
}

static void judge_sparse(struct judgement *judgement, struct creation *creation)
{
    struct span sparse = member(creation->clean, "sparse_vectors"), name, params;
    struct value_cursor cursor;
    if (sparse.bytes == 0)
        return;
    value_walk(sparse, &cursor);
    while (value_next(&cursor, &name, &params)) {
        struct value_builder builder, empty;
        value_begin(&builder, judgement->arena);
        if (value_kind(params) == VALUE_NULL) {
            value_begin(&empty, judgement->arena);
            if (value_open_object(&empty) == OK)
                value_close(&empty);
            params = value_end(&empty);
        }
        if (value_kind(params) != VALUE_OBJECT)
            judge_format(judgement, "sparse_vectors.?: expected a map");
        else
            control_judge(sparse_schema, params, "sparse_vectors.?", judgement, &builder);
        if (judgement->format != NULL)
            return;
        if (name.bytes == 0)
            judge_wrong(judgement, "Sparse vector name cannot be empty");
        struct created_vector *vector = add_vector(judgement, creation, name);
        vector->clean = value_end(&builder);
        vector->sparse = true;
    }
}

/* Fields that would change what the server does, and do not yet. */
static void judge_unbuilt(struct judgement *judgement, struct span clean)
{
    judge_strict(judgement, member(clean, "strict_mode_config"));
    if (member_is(clean, "sharding_method", "custom"))
        judge_wrong(judgement, "sharding_method: custom sharding is not supported yet");
}

static void judge_creation(struct judgement *judgement, struct span body, struct creation *creation)
{
    struct value_builder builder;
    value_begin(&builder, judgement->arena);
    control_judge(create_schema, body, "", judgement, &builder);
    if (judgement->format != NULL)
        return;
    creation->clean = value_end(&builder);
    judge_quantization(judgement, creation->clean, "");
    judge_vectors(judgement, creation);
    judge_sparse(judgement, creation);
    judge_unbuilt(judgement, creation->clean);
    judge_kith(judgement, member(creation->clean, "metadata"), &creation->kith);
}

/* ---- the config that is echoed ---- */

static const char hnsw_defaults[] = "{\"m\":16,\"ef_construct\":100,\"full_scan_threshold\":10000,"
                                    "\"max_indexing_threads\":0,\"on_disk\":false}";
static const char optimizer_defaults[] =
    "{\"deleted_threshold\":0.2,\"vacuum_min_vector_number\":1000,\"default_segment_number\":0,"
    "\"max_segment_size\":null,\"memmap_threshold\":null,\"indexing_threshold\":10000,"
    "\"flush_interval_sec\":5,\"max_optimization_threads\":null}";
static const char wal_defaults[] =
    "{\"wal_capacity_mb\":32,\"wal_segments_ahead\":0,\"wal_retain_closed\":1}";

static void put_member(struct text *text, bool *first, struct span key, struct span value)
{
    if (!*first)
        text_puts(text, ",");
    *first = false;
    text_json_string(text, key);
    text_puts(text, ":");
    text_value(text, value);
}

/* The defaults, with what was given in their place, then what was given besides. */
static void put_merged(struct text *text, struct arena *arena, const char *defaults_text,
                       struct span given)
{
    struct span defaults, key, value;
    const char *why;
    bool first = true, parsed = tree_parse(span_text(defaults_text), arena, &defaults, &why);
    assert(parsed);
    struct value_cursor cursor;
    text_puts(text, "{");
    value_walk(defaults, &cursor);
    while (value_next(&cursor, &key, &value)) {
        struct span own = given.bytes == 0 ? given : value_get(given, key);
        put_member(text, &first, key, own.bytes == 0 ? value : own);
    }
    if (given.bytes > 0) {
        value_walk(given, &cursor);
        while (value_next(&cursor, &key, &value)) {
            if (value_get(defaults, key).bytes == 0)
                put_member(text, &first, key, value);
        }
    }
    text_puts(text, "}");
}

/* ,"name":value - or `otherwise` where absent (NULL: leave out). */
static void put_given(struct text *text, struct span clean, const char *name, const char *otherwise)
{
    struct span value = member(clean, name);
    if (value.bytes == 0 && otherwise == NULL)
        return;
    text_printf(text, ",\"%s\":", name);
    if (value.bytes == 0)
        text_puts(text, otherwise);
    else
        text_value(text, value);
}

/* The dense or the sparse ones. */
static void put_vectors(struct text *text, struct arena *arena, const struct creation *creation,
                        bool sparse)
{
    bool first = true;
    if (creation->single && !sparse) {
        text_value(text, codes_shown(arena, creation->vectors[0].clean));
        return;
    }
    text_puts(text, "{");
    for (uint32_t i = 0; i < creation->vector_count; i++) {
        if (creation->vectors[i].sparse == sparse)
            put_member(text, &first, creation->vectors[i].name,
                       codes_shown(arena, creation->vectors[i].clean));
    }
    text_puts(text, "}");
}

static struct span config_text(struct arena *arena, const struct creation *creation)
{
    struct span clean = codes_shown(arena, creation->clean);
    struct text text = {0};
    text_puts(&text, "{\"params\":{\"vectors\":");
    put_vectors(&text, arena, creation, false);
    put_given(&text, clean, "shard_number", "1");
    put_given(&text, clean, "sharding_method", NULL);
    put_given(&text, clean, "replication_factor", "1");
    put_given(&text, clean, "write_consistency_factor", "1");
    put_given(&text, clean, "on_disk_payload", "true");
    put_given(&text, clean, "payload", NULL);
    if (member(clean, "sparse_vectors").bytes > 0) {
        text_puts(&text, ",\"sparse_vectors\":");
        put_vectors(&text, arena, creation, true);
    }
    text_puts(&text, "},\"hnsw_config\":");
    put_merged(&text, arena, hnsw_defaults, member(clean, "hnsw_config"));
    text_puts(&text, ",\"optimizer_config\":");
    put_merged(&text, arena, optimizer_defaults, member(clean, "optimizers_config"));
    text_puts(&text, ",\"wal_config\":");
    put_merged(&text, arena, wal_defaults, member(clean, "wal_config"));
    put_given(&text, clean, "quantization_config", "null");
    put_given(&text, clean, "strict_mode_config", NULL);
    put_given(&text, clean, "metadata", NULL);
    text_puts(&text, "}");
    struct span config =
        config_pack(arena, span_of(text.data, text.bytes), member(clean, "strict_mode_config"));
    text_release(&text);
    return config;
}

static uint64_t draw_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        abort(); /* without it every collection would turn its vectors the same way */
    return seed;
}

void created_vector_fill(const struct created_vector *created, struct span shared,
                         struct vector_settings *vector)
{
    if (created->sparse) {
        *vector = (struct vector_settings){.name = created->name,
                                           .kind = VECTOR_SPARSE,
                                           .metric = METRIC_DOT,
                                           .idf = member_is(created->clean, "modifier", "idf")};
        return;
    }
    struct span distance = value_string(member(created->clean, "distance"));
    struct code_choice codes =
        code_choice_of(member(created->clean, "quantization_config"), shared);
    *vector = (struct vector_settings){
        .name = created->name,
        .kind =
            member(created->clean, "multivector_config").bytes > 0 ? VECTOR_MULTI : VECTOR_DENSE,
        .code_bits = codes.bits,
        .code_scale = codes.scale,
        .dim = (uint32_t)value_integer(member(created->clean, "size")),
        .seed = draw_seed(),
    };
    bool known = metric_parse((const char *)distance.data, distance.bytes, &vector->metric);
    assert(known);
    for (int i = 0; datatype_words[i] != NULL; i++) {
        if (member_is(created->clean, "datatype", datatype_words[i]))
            vector->datatype = (enum vector_datatype)i;
    }
}

static void settings_fill(struct arena *arena, const struct creation *creation,
                          struct collection_settings *settings)
{
    struct vector_settings *vectors =
        arena_allocate(arena, (creation->vector_count + 1) * sizeof *vectors);
    for (uint32_t i = 0; i < creation->vector_count; i++)
        created_vector_fill(&creation->vectors[i], member(creation->clean, "quantization_config"),
                            &vectors[i]);
    *settings = (struct collection_settings){.vectors = vectors,
                                             .vector_count = creation->vector_count,
                                             .string_ids = creation->kith.string_ids,
                                             .config = config_text(arena, creation)};
}

void collection_settings_simple(struct arena *arena, uint32_t dim, enum metric metric,
                                struct collection_settings *settings)
{
    const char *why;
    struct creation creation = {0};
    struct span body;
    const char *text =
        arena_format(arena, "{\"vectors\":{\"size\":%" PRIu32 ",\"distance\":\"%s\"}}", dim,
                     metric_name(metric));
    bool parsed = tree_parse(span_text(text), arena, &body, &why);
    struct judgement judgement = {.arena = arena};
    if (parsed)
        judge_creation(&judgement, body, &creation);
    assert(parsed && judgement_is_clean(&judgement));
    settings_fill(arena, &creation, settings);
}

/* ---- handlers ---- */

static void put_true(struct call *call, bool result)
{
    text_puts(call_result(call), result ? "true" : "false");
    call_ok(call);
}

static void create_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (job->error == OK)
        put_true(call, true);
    else if (job->error == ERROR_EXISTS &&
             database_has_alias(call->service->database, call->request->segments[1]) == OK)
        call_fail(call, 400,
                  "Wrong input: Can't create collection with name %s. Alias with the same name "
                  "already exists",
                  request_segment_text(call->request, 1));
    else
        call_fail_error(call, job->error);
}

static bool name_is_valid(struct call *call)
{
    struct span name = call->request->segments[1];
    if (collection_name_valid(name))
        return true;
    call_fail(call, 422,
              "Validation error in path parameters: [collection_name: value %s invalid, must have "
              "from 1 to %d bytes and none of < > : \" / \\ | ? * NUL 0x1F]",
              request_segment_text(call->request, 1), COLLECTION_NAME_BYTES_MAX);
    return false;
}

void api_collection_create(struct call *call)
{
    struct span body;
    struct creation creation = {0};
    struct judgement judgement = {.arena = call->arena};
    if (!name_is_valid(call) || !control_parse(call, &body))
        return;
    judge_creation(&judgement, body, &creation);
    if (!judgement_is_clean(&judgement)) {
        call_fail_judgement(call, &judgement);
        return;
    }
    struct collection_settings *settings = arena_allocate(call->arena, sizeof *settings);
    settings_fill(call->arena, &creation, settings);
    call->job.kind = WRITE_CREATE;
    call->job.settings = settings;
    call_submit_write(call, create_done);
}

static void delete_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (job->error == OK || job->error == ERROR_NOT_FOUND || job->error == ERROR_INVALID)
        put_true(call, job->error == OK);
    else
        call_fail_error(call, job->error);
}

void api_collection_delete(struct call *call)
{
    call->job.kind = WRITE_DELETE_COLLECTION;
    call_submit_write(call, delete_done);
}

void api_collections_list(struct call *call)
{
    struct span *names;
    size_t count;
    enum error error = database_names(call->service->database, call->arena, &names, &count);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    struct text *out = call_result(call);
    text_puts(out, "{\"collections\":[");
    for (size_t i = 0; i < count; i++) {
        text_puts(out, i == 0 ? "{\"name\":" : ",{\"name\":");
        text_json_string(out, names[i]);
        text_puts(out, "}");
    }
    text_puts(out, "]}");
    call_ok(call);
}

/* A collection that is there but damaged exists. */
void api_collection_exists(struct call *call)
{
    struct span name = call->request->segments[1];
    enum error error = collection_acquire(call->service->database, name, &call->collection);
    if (error != OK)
        call->collection = NULL;
    text_puts(call_result(call), error == ERROR_NOT_FOUND || error == ERROR_INVALID
                                     ? "{\"exists\":false}"
                                     : "{\"exists\":true}");
    call_ok(call);
}

void api_collection_info(struct call *call)
{
    if (!call_collection(call) || !call_view(call))
        return;
    const struct collection_settings *settings = collection_settings(call->collection);
    uint64_t vectors = 0, generations = 0;
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        vectors += view_vector_counters(&call->view, (uint16_t)i)->vector_count;
        generations += view_vector_counters(&call->view, (uint16_t)i)->generation_count;
    }
    struct writer_figures figures;
    writer_figures_get(call->service->writer, &figures);
    struct text *out = call_result(call);
    text_printf(
        out,
        "{\"status\":\"green\",\"optimizer_status\":\"ok\",\"indexed_vectors_count\":%" PRIu64
        ",\"points_count\":%" PRIu64 ",\"segments_count\":%" PRIu64 ",\"config\":",
        vectors, view_counters(&call->view)->point_count, generations == 0 ? 1 : generations);
    struct span config = config_json(call->collection);
    text_put(out, config.data, config.bytes);
    text_puts(out, ",\"payload_schema\":");
    enum error error = text_payload_schema(out, &call->view, call->arena);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    text_printf(out, ",\"update_queue\":{\"length\":%" PRIu64 "},\"codes\":", figures.queue_points);
    text_codes(out, call->collection);
    text_puts(out, "}");
    call_ok(call);
}
