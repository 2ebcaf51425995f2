/* A whole server in a thread, over a directory of its own, and a client that asks it one thing at a
 * time: what tests of routes and collections share. */
#ifndef KITH_TESTS_SERVE_HARNESS_H
#define KITH_TESTS_SERVE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/serve.h"

#define GUARD_S 20 /* no answer takes as long */

struct serve_fixture {
    struct config config;
    char directory[64];
    struct server *server;
    pthread_t thread;
    sem_t ready;
    enum error error;
    char why[512];
    bool stopping; /* asked to: the server may be gone at any time */
};

struct answer {
    int status;
    char *head, *body; /* NUL-terminated, one allocation at head */
};

static inline void *serve_thread(void *argument)
{
    struct serve_fixture *fixture = argument;
    fixture->error =
        server_open(&fixture->config, &fixture->server, fixture->why, sizeof fixture->why);
    sem_post(&fixture->ready);
    if (fixture->error != OK)
        return NULL;
    server_run(fixture->server);
    server_close(fixture->server);
    return NULL;
}

static inline void serve_start(struct serve_fixture *fixture)
{
    sem_init(&fixture->ready, 0, 0);
    fixture->stopping = false;
    assert_int_equal(pthread_create(&fixture->thread, NULL, serve_thread, fixture), 0);
    sem_wait(&fixture->ready);
    if (fixture->error != OK)
        fail_msg("server_open: %s", fixture->why);
}

static inline void serve_ask_to_stop(struct serve_fixture *fixture)
{
    if (!fixture->stopping)
        server_stop(fixture->server);
    fixture->stopping = true;
}

static inline void serve_stop(struct serve_fixture *fixture)
{
    serve_ask_to_stop(fixture);
    pthread_join(fixture->thread, NULL);
    sem_destroy(&fixture->ready);
}

/* pairs: option, value, ..., NULL. Small maps, any port, errors only in the log. */
static inline void serve_begin(struct serve_fixture *fixture, const char *const *pairs)
{
    static const char *const common[] = {"service.http_port",
                                         "0",
                                         "service.workers",
                                         "2",
                                         "log.level",
                                         "error",
                                         "storage.map_initial_bytes",
                                         "16 MiB",
                                         "storage.map_max_bytes",
                                         "64 MiB",
                                         "storage.min_free_bytes",
                                         "1",
                                         "storage.ballast_bytes",
                                         "0",
                                         "storage.allow_network_fs",
                                         "true",
                                         NULL};
    char why[512];
    memset(fixture, 0, sizeof *fixture);
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/kith-serve-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    config_init(&fixture->config);
    assert_true(
        config_set(&fixture->config, "storage.data_dir", fixture->directory, why, sizeof why));
    for (size_t pass = 0; pass < 2; pass++) {
        for (const char *const *at = pass == 0 ? common : pairs; at != NULL && *at != NULL;
             at += 2) {
            if (!config_set(&fixture->config, at[0], at[1], why, sizeof why))
                fail_msg("%s", why);
        }
    }
    log_level_set((enum log_level)fixture->config.log_level);
    serve_start(fixture);
}

static inline int serve_remove_entry(const char *path, const struct stat *stat, int type,
                                     struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void serve_end(struct serve_fixture *fixture)
{
    serve_stop(fixture);
    config_release(&fixture->config);
    assert_int_equal(nftw(fixture->directory, serve_remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- the client ---- */

static inline int serve_connect(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = GUARD_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void send_all(int fd, const void *data, size_t bytes)
{
    for (size_t sent = 0; sent < bytes;) {
        ssize_t step = send(fd, (const char *)data + sent, bytes - sent, MSG_NOSIGNAL);
        if (step <= 0)
            return; /* the answer says why */
        sent += (size_t)step;
    }
}

static inline struct answer read_answer(int fd)
{
    size_t bytes = 0, capacity = 4096;
    char *all = malloc(capacity);
    for (;;) {
        if (bytes + 1 == capacity)
            all = realloc(all, capacity *= 2);
        ssize_t step = recv(fd, all + bytes, capacity - bytes - 1, 0);
        if (step <= 0)
            break;
        bytes += (size_t)step;
    }
    all[bytes] = '\0';
    struct answer answer = {.head = all};
    char *end = strstr(all, "\r\n\r\n");
    if (end == NULL || sscanf(all, "HTTP/1.1 %d", &answer.status) != 1)
        fail_msg("no answer but '%s'", all);
    *end = '\0';
    answer.body = end + 4;
    return answer;
}

/* extra: more header lines, each with its CRLF; body NULL: none. */
static inline struct answer ask(struct serve_fixture *fixture, const char *method, const char *path,
                                const char *extra, const char *body)
{
    size_t body_bytes = body == NULL ? 0 : strlen(body);
    size_t capacity = strlen(path) + strlen(extra) + 512;
    char *head = malloc(capacity);
    int fd = serve_connect(server_port(fixture->server));
    int bytes = snprintf(head, capacity,
                         "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                         "Content-Length: %zu\r\n%s\r\n",
                         method, path, body_bytes, extra);
    send_all(fd, head, (size_t)bytes);
    send_all(fd, body, body_bytes);
    free(head);
    struct answer answer = read_answer(fd);
    close(fd);
    return answer;
}

static inline void answer_free(struct answer *answer)
{
    free(answer->head);
}

/* Ask and compare: the status, and a text that the body must contain. */
static inline void expect_answer(struct serve_fixture *fixture, const char *method,
                                 const char *path, const char *extra, const char *body, int status,
                                 const char *text)
{
    struct answer answer = ask(fixture, method, path, extra, body);
    if (answer.status != status || strstr(answer.body, text) == NULL)
        fail_msg("%s %s %s: %d %s\nexpected %d with '%s'", method, path, body == NULL ? "" : body,
                 answer.status, answer.body, status, text);
    answer_free(&answer);
}

#endif
