/* Aliases: POST /collections/aliases, GET /aliases, GET /collections/{c}/aliases.
 *
 * The actions of one request are one change of the catalogue: all of them or none, and a request
 * that resolves a name meanwhile sees the names before or after it. */
#include "server/handlers.h"

#include "server/api_control.h"

/* ---- reading ---- */

static const struct schema_field create_schema[] = {
    {.name = "collection_name", .kind = FIELD_TEXT, .required = true},
    {.name = "alias_name", .kind = FIELD_TEXT, .required = true},
    {0},
};
static const struct schema_field delete_schema[] = {
    {.name = "alias_name", .kind = FIELD_TEXT, .required = true},
    {0},
};
static const struct schema_field rename_schema[] = {
    {.name = "old_alias_name", .kind = FIELD_TEXT, .required = true},
    {.name = "new_alias_name", .kind = FIELD_TEXT, .required = true},
    {0},
};

static const struct {
    const char *name;
    enum alias_action_kind kind;
    const struct schema_field *schema;
    const char *alias, *target; /* fields */
} forms[] = {
    {"create_alias", ALIAS_CREATE, create_schema, "alias_name", "collection_name"},
    {"delete_alias", ALIAS_DELETE, delete_schema, "alias_name", NULL},
    {"rename_alias", ALIAS_RENAME, rename_schema, "old_alias_name", "new_alias_name"},
};
#define FORM_COUNT (sizeof forms / sizeof forms[0])

static struct span text_of(struct span object, const char *name)
{
    return name == NULL ? (struct span){0} : value_string(value_get(object, span_text(name)));
}

static bool read_form(size_t form, struct span body, const char *path, struct judgement *judgement,
                      struct alias_action *action)
{
    struct value_builder builder;
    value_begin(&builder, judgement->arena);
    if (value_kind(body) != VALUE_OBJECT) {
        judge_format(judgement, "%s.%s: expected a map", path, forms[form].name);
        return false;
    }
    control_judge(forms[form].schema, body,
                  arena_format(judgement->arena, "%s.%s", path, forms[form].name), judgement,
                  &builder);
    if (!judgement_is_clean(judgement))
        return false;
    struct span clean = value_end(&builder);
    *action = (struct alias_action){.kind = forms[form].kind,
                                    .alias = text_of(clean, forms[form].alias),
                                    .target = text_of(clean, forms[form].target)};
    struct span made = action->kind == ALIAS_RENAME ? action->target : action->alias;
    if (action->kind == ALIAS_DELETE || collection_name_valid(made))
        return true;
    judge_wrong(judgement,
                "alias name `%.*s` must have from 1 to %d bytes and none of < > : \" / \\ | ? * "
                "NUL 0x1F",
                (int)(made.bytes < 300 ? made.bytes : 300), (const char *)made.data,
                COLLECTION_NAME_BYTES_MAX);
    return false;
}

static bool read_action(struct span body, size_t i, struct judgement *judgement,
                        struct alias_action *action)
{
    const char *path = arena_format(judgement->arena, "actions[%zu]", i);
    for (size_t form = 0; form < FORM_COUNT && value_kind(body) == VALUE_OBJECT; form++) {
        struct span inner = value_get(body, span_text(forms[form].name));
        if (inner.bytes > 0)
            return read_form(form, inner, path, judgement, action);
    }
    judge_format(judgement, "%s: data did not match any variant of untagged enum AliasOperations",
                 path);
    return false;
}

static bool read_actions(struct span body, struct judgement *judgement,
                         struct alias_action **actions, size_t *count)
{
    struct span list = value_get(body, span_text("actions")), key, item;
    struct value_cursor cursor;
    if (list.bytes == 0 || value_kind(list) != VALUE_ARRAY) {
        judge_format(judgement, list.bytes == 0 ? "missing field `actions`"
                                                : "actions: expected an array of actions");
        return false;
    }
    *actions = arena_allocate(judgement->arena,
                              size_product(value_count(list) + 1, sizeof(struct alias_action)));
    *count = 0;
    value_walk(list, &cursor);
    while (value_next(&cursor, &key, &item)) {
        if (!read_action(item, *count, judgement, &(*actions)[*count]))
            return false;
        ++*count;
    }
    return true;
}

/* ---- changing ---- */

static const char *name_text(struct call *call, struct span name)
{
    return arena_format(call->arena, "%.*s", (int)name.bytes, (const char *)name.data);
}

static void change_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (job->error == OK) {
        text_puts(call_result(call), "true");
        call_ok(call);
        return;
    }
    if (job->action_failed >= job->action_count ||
        (job->error != ERROR_NOT_FOUND && job->error != ERROR_EXISTS)) {
        call_fail_error(call, job->error);
        return;
    }
    const struct alias_action *action = &job->actions[job->action_failed];
    if (job->error == ERROR_EXISTS)
        call_fail(call, 409, "Wrong input: Collection `%s` already exists!",
                  name_text(call, action->kind == ALIAS_RENAME ? action->target : action->alias));
    else if (action->kind == ALIAS_RENAME)
        call_fail(call, 404, "Not found: Alias %s does not exists!",
                  name_text(call, action->alias));
    else
        call_fail(call, 404, "Not found: Collection `%s` doesn't exist!",
                  name_text(call, action->target));
}

void api_aliases_change(struct call *call)
{
    struct span body;
    struct judgement judgement = {.arena = call->arena};
    struct alias_action *actions;
    size_t count;
    if (!control_parse(call, &body))
        return;
    if (!read_actions(body, &judgement, &actions, &count)) {
        call_fail_judgement(call, &judgement);
        return;
    }
    call->job = (struct write_job){.kind = WRITE_ALIASES,
                                   .name = span_text("aliases"),
                                   .actions = actions,
                                   .action_count = count};
    (void)call_submit_write(call, change_done);
}

/* ---- listing ---- */

static void list(struct call *call, struct span collection)
{
    struct alias *aliases;
    size_t count;
    enum error error =
        database_aliases(call->service->database, collection, call->arena, &aliases, &count);
    if (error != OK) {
        call_fail_error(call, error);
        return;
    }
    struct text *out = call_result(call);
    text_puts(out, "{\"aliases\":[");
    for (size_t i = 0; i < count; i++) {
        text_puts(out, i == 0 ? "{\"alias_name\":" : ",{\"alias_name\":");
        text_json_string(out, aliases[i].name);
        text_puts(out, ",\"collection_name\":");
        text_json_string(out, aliases[i].collection);
        text_puts(out, "}");
    }
    text_puts(out, "]}");
    call_ok(call);
}

void api_aliases_list(struct call *call)
{
    list(call, (struct span){0});
}

void api_collection_aliases(struct call *call)
{
    if (call_collection(call))
        list(call, collection_name(call->collection));
}
