/* A whole server in a thread, on a port and in a directory of its own. Include after cmocka.h. */
#ifndef KITH_TESTS_SERVICE_FIXTURE_H
#define KITH_TESTS_SERVICE_FIXTURE_H

#include <ftw.h>
#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>

#include "server/serve.h"
#include "tests/unit/http_client.h"

struct fixture {
    struct config config;
    struct server *server;
    pthread_t thread;
    sem_t opened;
    uint16_t port;
    char directory[64];
};

static inline void *fixture_main(void *context)
{
    struct fixture *fixture = context;
    char why[256] = "";
    if (server_open(&fixture->config, &fixture->server, why, sizeof why) != OK) {
        fprintf(stderr, "fixture: %s\n", why);
        abort();
    }
    fixture->port = server_port(fixture->server);
    sem_post(&fixture->opened);
    server_run(fixture->server);
    server_close(fixture->server);
    return NULL;
}

static inline void fixture_set(struct fixture *fixture, const char *name, const char *value)
{
    char why[256] = "";
    if (!config_set(&fixture->config, name, value, why, sizeof why))
        fail_msg("%s", why);
}

/* Set what the test wants between prepare and start. */
static inline void fixture_prepare(struct fixture *fixture)
{
    *fixture = (struct fixture){.directory = "/tmp/kith-test-XXXXXX"};
    assert_non_null(mkdtemp(fixture->directory));
    config_init(&fixture->config);
    log_level_set(LOG_LEVEL_ERROR);
    fixture_set(fixture, "service.host", "127.0.0.1");
    fixture_set(fixture, "service.http_port", "0");
    fixture_set(fixture, "storage.data_dir", fixture->directory);
    fixture_set(fixture, "service.workers", "3");
    fixture_set(fixture, "storage.min_free_bytes", "0");
    fixture_set(fixture, "storage.ballast_bytes", "0");
}

static inline void fixture_start(struct fixture *fixture)
{
    sem_init(&fixture->opened, 0, 0);
    assert_int_equal(pthread_create(&fixture->thread, NULL, fixture_main, fixture), 0);
    sem_wait(&fixture->opened);
}

static inline void fixture_stop(struct fixture *fixture)
{
    server_stop(fixture->server);
    pthread_join(fixture->thread, NULL);
    sem_destroy(&fixture->opened);
}

static inline int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
    (void)stat, (void)flag, (void)ftw;
    return remove(path);
}

static inline void fixture_release(struct fixture *fixture)
{
    config_release(&fixture->config);
    nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A body written with fprintf: text->out until text_of, which closes it. */
struct body_text {
    FILE *out;
    char *data;
    size_t bytes;
};

static inline void text_open(struct body_text *text)
{
    *text = (struct body_text){0};
    text->out = open_memstream(&text->data, &text->bytes);
    assert_non_null(text->out);
}

/* The text, to be freed. */
static inline char *text_of(struct body_text *text)
{
    assert_int_equal(fclose(text->out), 0);
    return text->data;
}

static inline void put_floats(FILE *out, const float *floats, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%.9g", i == 0 ? "[" : ",", (double)floats[i]);
    fputs("]", out);
}

/* ---- calls ---- */

#define JSON_HEADER "Content-Type: application/json\r\n"

/* A call whose status is checked; the reply's JSON (a reference to release), NULL if it is none. */
static inline json_t *call_status(struct fixture *fixture, const char *method, const char *path,
                                  const char *body, int status)
{
    struct reply reply;
    client_call(fixture->port, method, path, JSON_HEADER, body, strlen(body), &reply);
    if (reply.status != status)
        fail_msg("%s %s %.200s: expected %d, got %d: %.*s", method, path, body, status,
                 reply.status, (int)reply.body_bytes, reply.body);
    json_error_t error;
    json_t *json = json_loadb(reply.body, reply.body_bytes, 0, &error);
    reply_release(&reply);
    return json;
}

/* The result of a call that must succeed. */
static inline json_t *call_result_of(struct fixture *fixture, const char *method, const char *path,
                                     const char *body)
{
    json_t *json = call_status(fixture, method, path, body, 200);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "status")), "ok");
    assert_true(json_is_real(json_object_get(json, "time")));
    json_t *result = json_incref(json_object_get(json, "result"));
    json_decref(json);
    return result;
}

/* The result must be exactly this JSON (blanks and key order apart). */
static inline void expect_result(struct fixture *fixture, const char *method, const char *path,
                                 const char *body, const char *expected)
{
    json_error_t error;
    json_t *result = call_result_of(fixture, method, path, body);
    json_t *wanted = json_loads(expected, JSON_DECODE_ANY, &error);
    assert_non_null(wanted);
    if (!json_equal(result, wanted)) {
        char *got = json_dumps(result, JSON_ENCODE_ANY);
        fail_msg("%s %s %s: expected %s, got %s", method, path, body, expected, got);
    }
    json_decref(wanted);
    json_decref(result);
}

/* An error envelope with this status and exactly this text, or one that begins so if it ends in
 * "…". */
static inline void expect_error(struct fixture *fixture, const char *method, const char *path,
                                const char *body, int status, const char *expected)
{
    json_t *json = call_status(fixture, method, path, body, status);
    assert_non_null(json);
    assert_null(json_object_get(json, "result"));
    assert_true(json_is_real(json_object_get(json, "time")));
    const char *text = json_string_value(json_object_get(json_object_get(json, "status"), "error"));
    assert_non_null(text);
    size_t bytes = strlen(expected);
    bool prefix = bytes >= 3 && strcmp(expected + bytes - 3, "…") == 0;
    if (prefix ? strncmp(text, expected, bytes - 3) != 0 : strcmp(text, expected) != 0)
        fail_msg("%s %s %s: expected \"%s\", got \"%s\"", method, path, body, expected, text);
    json_decref(json);
}

#endif
