/* kith: serve, verify, compact, health, --version, --help. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "index/compact.h"
#include "index/plan.h"
#include "index/verify.h"
#include "server/serve.h"
#include "server/version.h"

#define EXIT_SIGBUS 7
#define HEALTH_TIMEOUT_S 5

extern char **environ;

static const char usage[] =
    "kith " KITH_VERSION ", a vector search server\n"
    "\n"
    "  kith serve [--data-dir DIR] [--host ADDR] [--port N] [--config FILE]\n"
    "             [--print-config] [--check]\n"
    "      Serve the REST API (default 127.0.0.1:6333) from DIR (default ./kith-data).\n"
    "      --print-config shows the options in force, --check only says whether they are right.\n"
    "  kith verify DIR\n"
    "      Check every collection of a data directory that no server has open. Exit 1 and a list\n"
    "      if something does not hold.\n"
    "  kith compact DIR\n"
    "      Shrink the files of a data directory that no server has open to what they hold.\n"
    "  kith health [--host ADDR] [--port N] [--config FILE]\n"
    "      Ask a running server whether it is alive. Exit 0 or 1.\n"
    "  kith --version, kith --help\n";

static const char options_help[] =
    "\n"
    "Options come from a file of `name = value` lines (--config), then from the environment\n"
    "(KITH__HTTP__BODY_BYTES_MAX is http.body_bytes_max; KITH_API_KEY or KITH_API_KEY_FILE set "
    "the\n"
    "key), then from flags. All of them, with their defaults:\n"
    "\n";

/* ---- options ---- */

static int fail(const char *why)
{
    fprintf(stderr, "kith: %s\n", why);
    return 1;
}

struct arguments {
    struct config config;
    bool print, check;
};

static const struct option flags[] = {
    {"data-dir", required_argument, NULL, 'd'},
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"config", required_argument, NULL, 'c'},
    {"print-config", no_argument, NULL, 'P'},
    {"check", no_argument, NULL, 'C'},
    {NULL, 0, NULL, 0},
};

static const char *flag_option(int flag)
{
    return flag == 'd' ? "storage.data_dir" : flag == 'h' ? "service.host" : "service.http_port";
}

/* One walk over the flags: pass 1 finds --config, pass 2 (after file and environment) the rest. */
static bool read_flags(struct arguments *arguments, int argc, char **argv, const char **file,
                       char *why, size_t why_bytes)
{
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    for (int flag; (flag = getopt_long(argc, argv, "+", flags, NULL)) != -1;) {
        if (flag == '?') {
            snprintf(why, why_bytes, "unknown or incomplete flag %s (kith --help lists them)",
                     argv[optind - 1]);
            return false;
        }
        if (flag == 'c')
            *file = optarg;
        else if (flag == 'P')
            arguments->print = true;
        else if (flag == 'C')
            arguments->check = true;
        else if (!config_set(&arguments->config, flag_option(flag), optarg, why, why_bytes))
            return false;
    }
    if (optind < argc)
        snprintf(why, why_bytes, "unexpected argument '%.200s' (kith --help)", argv[optind]);
    return optind == argc;
}

static bool read_arguments(struct arguments *arguments, int argc, char **argv, char *why,
                           size_t why_bytes)
{
    const char *file = NULL;
    struct config *config = &arguments->config;
    config_init(config);
    /* the first pass may set options too; the file and the environment then go over them, and the
     * second pass over these */
    return read_flags(arguments, argc, argv, &file, why, why_bytes) &&
           (file == NULL || config_read_file(config, file, why, why_bytes)) &&
           config_read_environment(config, environ, why, why_bytes) &&
           read_flags(arguments, argc, argv, &file, why, why_bytes);
}

/* ---- serve ---- */

static void put_hex(char *out, uintptr_t value)
{
    for (int i = 15; i >= 0; i--, value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
}

static ssize_t put_error(const char *text)
{
    return write(STDERR_FILENO, text, strlen(text));
}

/* A page of a map faulted: its file lost its bytes (truncated, or a disk that fails), or it is
 * damaged and led LMDB astray. Nothing can be saved by going on: what was answered is on disk, or
 * the disk has lost it. The collection is marked, so that the next start does not come by the same
 * page. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    char address[] = " at address 0x0000000000000000", place[] = "collections/0000000000000000";
    uint64_t directory = 0;
    (void)context;
    const bool ours = number == SIGABRT && !fault_is_asserted();
    const bool touched = !ours && fault_mark(&directory);
    if (ours || (number == SIGSEGV && !touched)) {
        signal(number, SIG_DFL); /* a fault of ours: as it would be without this handler */
        raise(number);
        return;
    }
    put_hex(address + sizeof address - 17, number == SIGABRT ? 0 : (uintptr_t)info->si_addr);
    put_hex(place + sizeof place - 17, (uintptr_t)directory);
    ssize_t written = put_error(number == SIGBUS ? "kith: SIGBUS: a mapped file lost its bytes "
                                                   "(truncated, or the disk fails)"
                                                 : "kith: a mapped file is damaged");
    written += put_error(address);
    written += put_error(touched ? "; " : "; `kith verify` tells which collection\n");
    if (touched) {
        written += put_error(place);
        written +=
            put_error(" is marked and not opened again before `kith verify` finds it whole\n");
    }
    (void)written;
    _exit(EXIT_SIGBUS);
}

/* The sanitizers report these themselves. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_FAULTS 0
#else
#define OWN_FAULTS 1
#endif

static void install_handlers(void)
{
    static const int numbers[] = {SIGBUS, SIGSEGV, SIGABRT};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    for (size_t i = 0; i < (OWN_FAULTS ? sizeof numbers / sizeof numbers[0] : 1); i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int serve(const struct config *config)
{
    char why[1024] = "";
    struct server *server = NULL;
    install_handlers();
    log_level_set((enum log_level)config->log_level);
    enum error error = server_open(config, &server, why, sizeof why);
    if (error != OK)
        return fail(*why == '\0' ? error_text(error) : why);
    server_run(server);
    server_close(server);
    return 0;
}

static int command_serve(int argc, char **argv)
{
    char why[1024] = "";
    struct arguments arguments = {0};
    int code = 0;
    if (!read_arguments(&arguments, argc, argv, why, sizeof why) ||
        !config_check(&arguments.config, why, sizeof why))
        code = fail(why);
    else if (arguments.print)
        config_print(&arguments.config, stdout);
    else if (!arguments.check)
        code = serve(&arguments.config);
    config_release(&arguments.config);
    return code;
}

/* ---- verify ---- */

/* LMDB believes what a page says of itself: 2 of 800 flipped bits sent it out of the map. That is a
 * finding like the others, not a crash. The handler has nothing but this to know the collection by.
 */
static const char *volatile verifying;

static void on_bad_structure(int number)
{
    static const char text[] = ": cannot be checked to its end: damaged structure, a page leads "
                               "out of the file; what comes after it was not checked\n";
    const char *name = verifying;
    (void)number;
    ssize_t written = write(STDOUT_FILENO, name, strlen(name));
    written += write(STDOUT_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(1);
}

static void install_verify_handlers(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE};
    struct sigaction action = {.sa_handler = on_bad_structure};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was found before it must be out */
}

static void report(void *context, const char *text)
{
    printf("%s: %s\n", (const char *)context, text);
}

/* A marked collection without a problem may be opened again; 1 when the mark cannot be removed. */
static uint64_t unmark(struct database *database, struct span name, uint64_t problems)
{
    bool was;
    if (problems > 0)
        return 0;
    enum error error = database_unmark(database, name, &was);
    if (error != OK)
        printf("%.*s: its mark as damaged cannot be removed: %s\n", (int)name.bytes,
               (const char *)name.data, error_text(error));
    else if (was)
        printf("%.*s: was marked as damaged, is whole, and will be opened again\n", (int)name.bytes,
               (const char *)name.data);
    return error != OK;
}

static uint64_t verify_collection(struct database *database, struct span name)
{
    char text[COLLECTION_NAME_BYTES_MAX + 1];
    struct collection *collection;
    uint64_t problems = 0;
    snprintf(text, sizeof text, "%.*s", (int)name.bytes, (const char *)name.data);
    verifying = text;
    enum error error = collection_acquire(database, name, &collection);
    if (error == OK) {
        error = collection_verify(collection, 0, report, text, &problems);
        collection_release(collection);
    }
    if (error != OK) {
        printf("%s: cannot be checked to its end: %s\n", text, error_text(error));
        problems++;
    }
    verifying = "the catalogue";
    return problems + unmark(database, name, problems);
}

static int verify_all(struct database *database)
{
    struct arena arena;
    struct span *names;
    size_t count;
    uint64_t problems = 0;
    char catalogue[] = "the catalogue";
    arena_init(&arena);
    enum error error = database_names(database, &arena, &names, &count);
    if (error == OK)
        error = database_verify(database, report, catalogue, &problems);
    for (size_t i = 0; error == OK && i < count; i++)
        problems += verify_collection(database, names[i]);
    arena_release(&arena);
    if (error != OK)
        return fail(error_text(error));
    printf("%zu collections, %" PRIu64 " problems\n", count, problems);
    return problems == 0 ? 0 : 1;
}

/* Run `work` on the database of a directory that is there, by itself: options come from the
 * environment only. */
static int with_database(const char *directory, bool marked, int (*work)(struct database *database))
{
    char why[1024] = "";
    struct database *database = NULL;
    struct arguments arguments = {0};
    config_init(&arguments.config);
    bool good = config_read_environment(&arguments.config, environ, why, sizeof why);
    struct database_options options = arguments.config.database;
    options.storage.reader_count = 1;
    options.storage.open_marked = marked;
    enum error error = good ? database_open(directory, false, &options, &database, why, sizeof why)
                            : ERROR_INVALID;
    config_release(&arguments.config);
    if (error != OK)
        return fail(*why == '\0' ? error_text(error) : why);
    int code = work(database);
    database_close(database);
    return code;
}

static int command_verify(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-')
        return fail("usage: kith verify DIR");
    verifying = "the catalogue";
    install_verify_handlers();
    return with_database(argv[1], true, verify_all);
}

/* ---- compact ---- */

static enum error compact_steps(struct collection *collection, struct compaction_sizes *sizes)
{
    uint64_t steps;
    bool done = false;
    enum error error = collection_reclaim_all(collection, 0, &steps);
    while (error == OK && !done)
        error = collection_compact(collection, &done, sizes);
    return error;
}

/* 1 when it failed. */
static size_t compact_collection(struct database *database, struct span name)
{
    struct collection *collection;
    struct compaction_sizes sizes = {0};
    enum error error = collection_acquire_unaliased(database, name, &collection);
    if (error == OK) {
        error = compact_steps(collection, &sizes);
        collection_release(collection);
    }
    if (error != OK) {
        printf("%.*s: not compacted, its file is as it was: %s\n", (int)name.bytes,
               (const char *)name.data, error_text(error));
        return 1;
    }
    printf("%.*s: %" PRIu64 " bytes, before %" PRIu64 "\n", (int)name.bytes,
           (const char *)name.data, sizes.bytes_after, sizes.bytes_before);
    return 0;
}

static int compact_all(struct database *database)
{
    struct arena arena;
    struct span *names;
    size_t count, failed = 0;
    arena_init(&arena);
    enum error error = database_names(database, &arena, &names, &count);
    for (size_t i = 0; error == OK && i < count; i++)
        failed += compact_collection(database, names[i]);
    arena_release(&arena);
    if (error != OK)
        return fail(error_text(error));
    return failed == 0 ? 0 : 1;
}

static int command_compact(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-')
        return fail("usage: kith compact DIR");
    return with_database(argv[1], false, compact_all);
}

/* ---- health ---- */

static const char *health_host(const char *host)
{
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static int health_connect(const struct config *config)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    const struct timeval limit = {.tv_sec = HEALTH_TIMEOUT_S};
    char port[8];
    int fd = -1;
    snprintf(port, sizeof port, "%" PRIu32, config->port);
    if (getaddrinfo(health_host(config->host), port, &hints, &found) != 0)
        return -1;
    for (struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
            break;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static bool health_ask(int fd)
{
    static const char request[] =
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static const char expected[] = "HTTP/1.1 200 ";
    char answer[sizeof expected - 1];
    size_t have = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof request - 1))
        return false;
    while (have < sizeof answer) {
        ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return memcmp(answer, expected, sizeof answer) == 0;
}

static int command_health(int argc, char **argv)
{
    char why[1024] = "";
    struct arguments arguments = {0};
    int code = 1;
    if (!read_arguments(&arguments, argc, argv, why, sizeof why)) {
        fail(why);
    } else {
        int fd = health_connect(&arguments.config);
        code = fd >= 0 && health_ask(fd) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "kith: no healthy server at %s:%" PRIu32 "\n", arguments.config.host,
                    arguments.config.port);
        if (fd >= 0)
            close(fd);
    }
    config_release(&arguments.config);
    return code;
}

/* ---- the rest ---- */

static int command_help(void)
{
    struct config config;
    fputs(usage, stdout);
    fputs(options_help, stdout);
    config_init(&config);
    config_print(&config, stdout);
    config_release(&config);
    return 0;
}

/* LMDB asks for 3 MB of zeroed lists for every environment it opens, and touches a page or two of
 * them. Fresh from mmap they cost just that; from the heap, where glibc's moving threshold puts
 * them once one was freed, calloc clears them all: 1,000 new collections took 1,488 MB. */
static void settle_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

int main(int argc, char **argv)
{
    settle_memory();
    const char *command = argc < 2 ? "" : argv[1];
    for (int i = 2; i < argc; i++) { /* after a command too, where people look for it */
        if (strcmp(argv[i], "--help") == 0)
            return command_help();
    }
    if (strcmp(command, "serve") == 0)
        return command_serve(argc - 1, argv + 1);
    if (strcmp(command, "verify") == 0)
        return command_verify(argc - 1, argv + 1);
    if (strcmp(command, "compact") == 0)
        return command_compact(argc - 1, argv + 1);
    if (strcmp(command, "health") == 0)
        return command_health(argc - 1, argv + 1);
    if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) {
        version_print(stdout);
        return 0;
    }
    if (strcmp(command, "--help") == 0 || strcmp(command, "help") == 0)
        return command_help();
    fputs(usage, stderr);
    return 1;
}
