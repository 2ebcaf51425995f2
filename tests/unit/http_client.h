/* A raw HTTP/1.1 client for tests: what is sent is exactly what the test wrote.
 *
 * Every wait has a limit of CLIENT_TIMEOUT_S, after which the test fails. Include after cmocka.h.
 */
#ifndef KITH_TESTS_HTTP_CLIENT_H
#define KITH_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENT_TIMEOUT_S 60

struct reply {
    int status;
    char *text; /* status line, headers and body, NUL-terminated; owned */
    size_t text_bytes;
    char *body; /* within text */
    size_t body_bytes;
};

static inline void reply_release(struct reply *reply)
{
    free(reply->text);
    *reply = (struct reply){0};
}

static inline int client_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval timeout = {.tv_sec = CLIENT_TIMEOUT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* false: the peer stopped reading, as it may when it has answered already. */
static inline bool client_send(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

/* Method, path and headers with CRLF between them; Host and Content-Length are added. UINT64_MAX: a
 * chunked body. */
static inline bool client_send_head(int fd, const char *method, const char *path,
                                    const char *headers, uint64_t body_bytes)
{
    char head[4096], length[64] = "Transfer-Encoding: chunked\r\n";
    if (body_bytes != UINT64_MAX)
        snprintf(length, sizeof length, "Content-Length: %llu\r\n", (unsigned long long)body_bytes);
    int bytes = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: test\r\n%s%s\r\n", method,
                         path, headers, length);
    assert_true(bytes > 0 && (size_t)bytes < sizeof head);
    return client_send(fd, head, (size_t)bytes);
}

static inline bool client_send_chunk(int fd, const void *data, size_t bytes)
{
    char size[32];
    int size_bytes = snprintf(size, sizeof size, "%zx\r\n", bytes);
    return client_send(fd, size, (size_t)size_bytes) && client_send(fd, data, bytes) &&
           client_send(fd, "\r\n", 2);
}

/* Value of a header, NUL-terminated into buffer; "" if absent. */
static inline const char *reply_header(const struct reply *reply, const char *name, char *buffer,
                                       size_t buffer_bytes)
{
    size_t name_bytes = strlen(name);
    buffer[0] = 0;
    for (const char *line = strstr(reply->text, "\r\n"); line != NULL;
         line = strstr(line + 2, "\r\n")) {
        const char *value = line + 2 + name_bytes;
        if (strncasecmp(line + 2, name, name_bytes) == 0 && *value == ':') {
            value++;
            while (*value == ' ')
                value++;
            snprintf(buffer, buffer_bytes, "%.*s", (int)strcspn(value, "\r"), value);
            break;
        }
    }
    return buffer;
}

/* One reply with a Content-Length; the connection stays open. */
static inline void client_receive(int fd, struct reply *reply)
{
    size_t capacity = 65536, needed = SIZE_MAX;
    *reply = (struct reply){.text = malloc(capacity)};
    assert_non_null(reply->text);
    while (reply->text_bytes < needed) {
        if (capacity - reply->text_bytes < 32768) {
            capacity *= 2;
            reply->text = realloc(reply->text, capacity);
            assert_non_null(reply->text);
        }
        ssize_t bytes =
            recv(fd, reply->text + reply->text_bytes, capacity - reply->text_bytes - 1, 0);
        if (bytes <= 0)
            fail_msg("no whole reply: got %zu bytes", reply->text_bytes);
        reply->text_bytes += (size_t)bytes;
        reply->text[reply->text_bytes] = 0;
        char *end = strstr(reply->text, "\r\n\r\n");
        if (needed == SIZE_MAX && end != NULL) {
            char value[32];
            reply->body = end + 4;
            reply_header(reply, "Content-Length", value, sizeof value);
            needed = (size_t)(reply->body - reply->text) + strtoul(value, NULL, 10);
        }
    }
    reply->body = strstr(reply->text, "\r\n\r\n") + 4;
    reply->body_bytes = needed - (size_t)(reply->body - reply->text);
    assert_int_equal(sscanf(reply->text, "HTTP/1.1 %d", &reply->status), 1);
}

/* One request on a connection of its own. headers: "Name: value\r\n"... */
static inline void client_call(uint16_t port, const char *method, const char *path,
                               const char *headers, const void *body, size_t body_bytes,
                               struct reply *reply)
{
    int fd = client_connect(port);
    if (client_send_head(fd, method, path, headers, body_bytes))
        (void)client_send(fd, body, body_bytes);
    client_receive(fd, reply);
    close(fd);
}

#endif
