/* What this machine can do at most, measured beside the server:
 *
 *     bench_limits memory DIR
 * GB/s: best of 5 sums over 1 GiB through a file mapping in the page cache, in the thread's own
 * time (others may be using the machine).
 *
 *     bench_limits lmdb DIR BYTES N GROUP
 * points/s and CPU microseconds a point: N values of BYTES each, GROUP a commit, synced. */
#include <fcntl.h>
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GIB ((size_t)1 << 30)

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static uint64_t sum_of(const uint8_t *data, size_t bytes)
{
    uint64_t lanes[8] = {0};
    for (size_t i = 0; i < bytes; i += sizeof lanes) {
        uint64_t words[8];
        memcpy(words, data + i, sizeof words);
        for (size_t k = 0; k < 8; k++)
            lanes[k] += words[k];
    }
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}

static int memory(const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/limits.bin", directory);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(file >= 0, path);
    uint8_t *chunk = malloc(1 << 20);
    check(chunk != NULL, "malloc");
    memset(chunk, 1, 1 << 20);
    for (size_t i = 0; i < GIB >> 20; i++)
        check(write(file, chunk, 1 << 20) == 1 << 20, "write");
    const uint8_t *map = mmap(NULL, GIB, PROT_READ, MAP_SHARED, file, 0);
    check(map != MAP_FAILED, "mmap");
    double best = 0;
    uint64_t total = sum_of(map, GIB); /* faults the pages in */
    for (int i = 0; i < 5; i++) {
        double begin = seconds(CLOCK_THREAD_CPUTIME_ID);
        total += sum_of(map, GIB);
        double rate = (double)GIB / (seconds(CLOCK_THREAD_CPUTIME_ID) - begin) / 1e9;
        best = rate > best ? rate : best;
    }
    printf("%.2f\n", best);
    fprintf(stderr, "checksum %llu\n", (unsigned long long)total);
    unlink(path);
    return 0;
}

static int lmdb(const char *directory, size_t bytes, size_t count, size_t group)
{
    MDB_env *env;
    MDB_dbi table;
    MDB_txn *transaction;
    char path[4096];
    snprintf(path, sizeof path, "%s/limits.mdb", directory);
    check(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 64 * GIB) == 0, "mdb_env_create");
    check(mdb_env_open(env, path, MDB_NOSUBDIR, 0600) == 0, path);
    uint8_t *value = malloc(bytes);
    check(value != NULL, "malloc");
    memset(value, 7, bytes);
    double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < count; i += group) {
        check(mdb_txn_begin(env, NULL, 0, &transaction) == 0, "mdb_txn_begin");
        check(mdb_dbi_open(transaction, NULL, 0, &table) == 0, "mdb_dbi_open");
        for (size_t k = i; k < i + group && k < count; k++) {
            uint64_t number = __builtin_bswap64(k);
            MDB_val key = {sizeof number, &number}, data = {bytes, value};
            check(mdb_put(transaction, table, &key, &data, MDB_APPEND) == 0, "mdb_put");
        }
        check(mdb_txn_commit(transaction) == 0, "mdb_txn_commit");
    }
    printf("%.0f %.2f\n", (double)count / (seconds(CLOCK_MONOTONIC) - begin),
           1e6 * (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)count);
    mdb_env_close(env);
    unlink(path);
    strncat(path, "-lock", sizeof path - strlen(path) - 1);
    unlink(path);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "memory") == 0)
        return memory(argv[2]);
    if (argc == 6 && strcmp(argv[1], "lmdb") == 0)
        return lmdb(argv[2], (size_t)atoll(argv[3]), (size_t)atoll(argv[4]),
                    (size_t)atoll(argv[5]));
    fprintf(stderr, "usage: bench_limits memory DIR | lmdb DIR BYTES N GROUP\n");
    return 2;
}
