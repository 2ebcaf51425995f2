/* Aliases against a naive model: random lists of actions, all or nothing, and what creating and
 * deleting collections does to them. */
#include "storage/format.h"
#include "tests/unit/storage_model.h"

#define NAMES 6   /* c0.. collections, some of which exist */
#define ALIASES 8 /* a0.. */

/* What each name is: of a collection whether it exists; of an alias its collection, or -1. */
struct names_model {
    bool exists[NAMES];
    int alias[ALIASES];
};

static const char *const collection_names[NAMES] = {"c0", "c1", "c2", "c3", "c4", "c5"};
static const char *const alias_names[ALIASES] = {"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"};

static uint32_t draw(uint32_t below)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state % below);
}

/* ---- the model ---- */

struct planned {
    enum alias_action_kind kind;
    uint32_t alias, target;
    bool onto_collection; /* the new name is collection `target`'s (create: `alias` counts) */
};

static enum error model_action(struct names_model *model, const struct planned *planned)
{
    const uint32_t name = planned->kind == ALIAS_RENAME ? planned->target : planned->alias;
    switch (planned->kind) {
    case ALIAS_CREATE:
        if (!model->exists[planned->target]) {
            return ERROR_NOT_FOUND;
        }
        if (planned->onto_collection) {
            return model->exists[name % NAMES] ? ERROR_EXISTS : OK;
        }
        model->alias[planned->alias] = (int)planned->target;
        return OK;
    case ALIAS_DELETE:
        model->alias[planned->alias] = -1;
        return OK;
    case ALIAS_RENAME:
        if (model->alias[planned->alias] < 0) {
            return ERROR_NOT_FOUND;
        }
        if (planned->onto_collection) {
            return ERROR_EXISTS;
        }
        const int target = model->alias[planned->alias];
        model->alias[planned->alias] = -1;
        model->alias[planned->target] = target;
        return OK;
    }
    return ERROR_INVALID;
}

/* Onto a collection only when it exists: the model has no aliases of these names. */
static struct planned plan(const struct names_model *model)
{
    struct planned planned = {.kind = (enum alias_action_kind)draw(3), .alias = draw(ALIASES)};
    planned.target = draw(planned.kind == ALIAS_CREATE ? NAMES : ALIASES);
    const uint32_t name = planned.kind == ALIAS_RENAME ? planned.target : planned.alias;
    planned.onto_collection =
        planned.kind != ALIAS_DELETE && draw(8) == 0 && model->exists[name % NAMES];
    return planned;
}

static struct alias_action action_of(const struct planned *planned)
{
    struct alias_action action = {.kind = planned->kind,
                                  .alias = span_text(alias_names[planned->alias])};
    if (planned->kind == ALIAS_CREATE) {
        action.target = span_text(collection_names[planned->target]);
        if (planned->onto_collection) {
            action.alias = span_text(collection_names[planned->alias % NAMES]);
        }
    } else if (planned->kind == ALIAS_RENAME) {
        action.target =
            span_text(planned->onto_collection ? collection_names[planned->target % NAMES]
                                               : alias_names[planned->target]);
    }
    return action;
}

/* ---- comparing ---- */

struct walk {
    const struct names_model *model;
    int last;
    size_t count;
};

static enum error walk_alias(void *context, struct span alias, struct span target)
{
    struct walk *walk = context;
    assert_int_equal(alias.bytes, 2);
    const int number = alias.data[1] - '0';
    assert_true(number > walk->last && number < ALIASES);
    assert_true(walk->model->alias[number] >= 0);
    assert_true(span_equal(target, span_text(collection_names[walk->model->alias[number]])));
    walk->last = number;
    walk->count++;
    return OK;
}

static void compare(struct store *store, const struct names_model *model)
{
    struct walk walk = {model, -1, 0};
    assert_int_equal(catalog_each_alias(store, walk_alias, &walk), OK);
    size_t count = 0;
    for (uint32_t i = 0; i < ALIASES; i++) {
        uint8_t target[ALIAS_TARGET_BYTES_MAX];
        size_t bytes;
        const enum error error = catalog_alias(store, span_text(alias_names[i]), target, &bytes);
        count += model->alias[i] >= 0;
        assert_int_equal(error, model->alias[i] >= 0 ? OK : ERROR_NOT_FOUND);
        if (error == OK) {
            assert_true(
                span_equal(span_of(target, bytes), span_text(collection_names[model->alias[i]])));
        }
    }
    assert_int_equal(walk.count, count);
}

/* ---- steps ---- */

static void change(struct store *store, struct names_model *model)
{
    struct alias_action actions[6];
    struct names_model after = *model;
    const size_t count = draw(7) % 6;
    enum error expected = OK;
    size_t expected_failed = count, failed = 99;
    for (size_t i = 0; i < count; i++) {
        const struct planned planned = plan(model);
        actions[i] = action_of(&planned);
        if (expected == OK) {
            expected = model_action(&after, &planned);
            expected_failed = expected == OK ? count : i;
        }
    }
    assert_int_equal(catalog_change_aliases(store, actions, count, &failed), expected);
    assert_int_equal(failed, expected_failed);
    if (expected == OK) {
        *model = after;
    }
}

static void toggle(struct store *store, struct names_model *model)
{
    const uint32_t which = draw(NAMES);
    const struct span name = span_text(collection_names[which]);
    uint64_t directory;
    if (!model->exists[which]) {
        assert_int_equal(catalog_create(store, name, name, &directory), OK);
        model->exists[which] = true;
        return;
    }
    assert_int_equal(catalog_create(store, name, name, &directory), ERROR_EXISTS);
    assert_int_equal(catalog_delete(store, name), OK);
    model->exists[which] = false;
    for (uint32_t i = 0; i < ALIASES; i++) {
        model->alias[i] = model->alias[i] == (int)which ? -1 : model->alias[i];
    }
}

static void test_model(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    struct store *store;
    char why[300];
    struct names_model model = {.alias = {-1, -1, -1, -1, -1, -1, -1, -1}};
    assert_int_equal(store_open(path, true, &options, &store, why, sizeof why), OK);
    for (int step = 0; step < 400; step++) {
        if (draw(6) == 0) {
            toggle(store, &model);
        } else {
            change(store, &model);
        }
        compare(store, &model);
        for (uint32_t i = 0; i < ALIASES && step % 50 == 0; i++) {
            uint64_t directory; /* an alias takes the name */
            if (model.alias[i] >= 0) {
                assert_int_equal(
                    catalog_create(store, span_text(alias_names[i]), span_of("", 0), &directory),
                    ERROR_EXISTS);
            }
        }
        if (step % 100 == 99) {
            store_close(store);
            assert_int_equal(store_open(path, false, &options, &store, why, sizeof why), OK);
            compare(store, &model);
        }
    }
    store_close(store);
    scratch_remove(path);
}

static void test_names(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    struct store *store;
    char why[300], name[300];
    size_t failed;
    uint64_t directory;
    memset(name, 'n', sizeof name);
    assert_int_equal(store_open(path, true, &options, &store, why, sizeof why), OK);
    assert_int_equal(catalog_create(store, span_of(name, 255), span_of("", 0), &directory), OK);
    struct alias_action action = {ALIAS_CREATE, span_of(name + 1, 254), span_of(name, 255)};
    assert_int_equal(catalog_change_aliases(store, &action, 1, &failed), OK);
    uint8_t target[ALIAS_TARGET_BYTES_MAX];
    size_t bytes;
    assert_int_equal(catalog_alias(store, action.alias, target, &bytes), OK);
    assert_int_equal(bytes, 255);
    action.alias = span_of(name, 256);
    assert_int_equal(catalog_change_aliases(store, &action, 1, &failed), ERROR_INVALID);
    assert_int_equal(failed, 0);
    action.alias = span_of(name, 0);
    assert_int_equal(catalog_change_aliases(store, &action, 1, &failed), ERROR_INVALID);
    action.kind = ALIAS_DELETE;
    assert_int_equal(catalog_change_aliases(store, &action, 1, &failed), OK);
    assert_int_equal(catalog_alias(store, action.alias, target, &bytes), ERROR_NOT_FOUND);
    assert_int_equal(catalog_change_aliases(store, NULL, 0, &failed), OK);
    store_close(store);
    scratch_remove(path);
}

static void test_settings(void **state)
{
    (void)state;
    char *path = scratch_directory();
    const struct store_options options = small_options();
    struct store *store;
    char why[300];
    uint64_t directory, again;
    uint8_t *settings;
    size_t bytes;
    assert_int_equal(store_open(path, true, &options, &store, why, sizeof why), OK);
    assert_int_equal(catalog_update(store, span_text("c"), span_text("x")), ERROR_NOT_FOUND);
    assert_int_equal(catalog_create(store, span_text("c"), span_text("old"), &directory), OK);
    assert_int_equal(catalog_update(store, span_text("c"), span_text("new settings")), OK);
    assert_int_equal(catalog_get(store, span_text("c"), &again, &settings, &bytes), OK);
    assert_int_equal(again, directory);
    assert_true(span_equal(span_of(settings, bytes), span_text("new settings")));
    free(settings);
    assert_int_equal(
        catalog_update(store, span_text("c"), span_of(path, FORMAT_SETTINGS_BYTES_MAX + 1)),
        ERROR_TOO_LARGE);
    store_close(store);
    scratch_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
