/* HTTP load over keep-alive connections, one blocking thread each:
 *
 *     bench_load PORT PATH BODIES CONNECTIONS REQUESTS
 *
 * BODIES: a file of JSON bodies, one a line, taken in turn. Prints requests/s, p50 and p99 in
 * microseconds; ends with 1 if any answer is not 200. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REPLY_BYTES_MAX ((size_t)4 << 20)

struct request {
    char *data;
    size_t bytes;
};

static struct request *requests;
static size_t request_count, total;
static atomic_size_t next_request, bad;
static double *spent; /* [total] */
static uint16_t port;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void load_requests(const char *file, const char *path)
{
    FILE *in = fopen(file, "r");
    check(in != NULL, file);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    while ((bytes = getline(&line, &capacity, in)) > 0) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        struct request *request = &requests[request_count++];
        int written = asprintf(&request->data,
                               "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                               "Content-Length: %zd\r\n\r\n%s",
                               path, bytes, line);
        check(written > 0, "asprintf");
        request->bytes = (size_t)written;
    }
    free(line);
    fclose(in);
}

static void send_all(int s, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(s, data, bytes, 0);
        check(sent > 0, "send");
        data += sent;
        bytes -= (size_t)sent;
    }
}

/* Read one answer; returns its status. */
static int receive(int s, char *buffer)
{
    size_t have = 0, need = 0;
    while (need == 0 || have < need) {
        ssize_t got = recv(s, buffer + have, REPLY_BYTES_MAX - 1 - have, 0);
        check(got > 0, "recv");
        have += (size_t)got;
        buffer[have] = 0;
        char *end = need == 0 ? strstr(buffer, "\r\n\r\n") : NULL;
        if (end != NULL) {
            const char *length = strcasestr(buffer, "content-length:");
            check(length != NULL, "an answer without Content-Length");
            need = (size_t)(end + 4 - buffer) + (size_t)atoll(length + 15);
        }
    }
    return atoi(buffer + 9);
}

static void *client(void *unused)
{
    (void)unused;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    check(s >= 0 && connect(s, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *buffer = malloc(REPLY_BYTES_MAX);
    size_t i;
    while ((i = atomic_fetch_add(&next_request, 1)) < total) {
        const struct request *request = &requests[i % request_count];
        double begin = seconds();
        send_all(s, request->data, request->bytes);
        if (receive(s, buffer) != 200)
            atomic_fetch_add(&bad, 1);
        spent[i] = seconds() - begin;
    }
    free(buffer);
    close(s);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: bench_load PORT PATH BODIES CONNECTIONS REQUESTS\n");
        return 2;
    }
    port = (uint16_t)atoi(argv[1]);
    load_requests(argv[3], argv[2]);
    size_t connections = (size_t)atoi(argv[4]);
    total = (size_t)atoll(argv[5]);
    spent = calloc(total, sizeof *spent);
    pthread_t *threads = calloc(connections, sizeof *threads);
    double begin = seconds();
    for (size_t i = 0; i < connections; i++)
        check(pthread_create(&threads[i], NULL, client, NULL) == 0, "pthread_create");
    for (size_t i = 0; i < connections; i++)
        pthread_join(threads[i], NULL);
    double elapsed = seconds() - begin;
    qsort(spent, total, sizeof *spent, by_value);
    printf("%.0f %.0f %.0f\n", (double)total / elapsed, 1e6 * spent[total / 2],
           1e6 * spent[total * 99 / 100]);
    return atomic_load(&bad) > 0;
}
