#include "server/collection_kith.h"

#include "index/path.h"
#include "server/collection_config.h"
#include "server/collection_schema.h"
#include "server/tree.h"

static void judge_expire_field(struct judgement *judgement, struct span value,
                               struct kith_settings *settings)
{
    struct path path;
    if (value_kind(value) != VALUE_STRING) {
        judge_format(judgement, "metadata.kith.expire_field: expected a path as a string");
        return;
    }
    settings->expire_field = value_string(value);
    if (settings->expire_field.bytes > KITH_PATH_BYTES_MAX)
        judge_wrong(judgement, "metadata.kith.expire_field: longer than %u bytes",
                    KITH_PATH_BYTES_MAX);
    else if (!path_parse(settings->expire_field, judgement->arena, &path))
        judge_wrong(judgement, "metadata.kith.expire_field: `%.*s` is not a valid path",
                    (int)settings->expire_field.bytes, (const char *)settings->expire_field.data);
}

void judge_kith(struct judgement *judgement, struct span metadata, struct kith_settings *settings)
{
    struct span kith = {0}, name, value;
    struct value_cursor cursor;
    *settings = (struct kith_settings){0};
    if (metadata.bytes > 0 && value_kind(metadata) == VALUE_OBJECT)
        kith = member(metadata, "kith");
    if (kith.bytes == 0 || value_kind(kith) == VALUE_NULL)
        return;
    if (value_kind(kith) != VALUE_OBJECT) {
        judge_format(judgement, "metadata.kith: expected a map");
        return;
    }
    value_walk(kith, &cursor);
    while (value_next(&cursor, &name, &value)) {
        if (value_kind(value) == VALUE_NULL)
            continue;
        if (span_equal(name, span_text("expire_field")))
            judge_expire_field(judgement, value, settings);
        else if (span_equal(name, span_text("string_ids")) && value_kind(value) == VALUE_BOOL)
            settings->string_ids = value_bool(value);
        else if (span_equal(name, span_text("string_ids")))
            judge_format(judgement, "metadata.kith.string_ids: expected a boolean");
        else
            judge_wrong(judgement,
                        "metadata.kith: unknown field `%.*s`, expected `expire_field` or "
                        "`string_ids`",
                        (int)(name.bytes > 200 ? 200 : name.bytes), (const char *)name.data);
    }
}

struct kith_settings kith_settings_of(const struct collection *collection, struct arena *arena)
{
    struct kith_settings settings = {0};
    struct judgement judgement = {.arena = arena};
    struct span config;
    const char *why;
    if (tree_parse(config_json(collection), arena, &config, &why))
        judge_kith(&judgement, member(config, "metadata"), &settings);
    return settings;
}

bool config_may_expire(struct span config)
{
    static const char name[] = "\"expire_field\"";
    return config.bytes > 0 && memmem(config.data, config.bytes, name, sizeof name - 1) != NULL;
}
