/* Matrices of .npy files (optionally .gz) as floats, for the benchmarks: float32, float16, uint8
 * and int32, C order. Trusts its files; anything odd ends the program with a message. */
#ifndef KITH_TESTS_BENCH_NPY_H
#define KITH_TESTS_BENCH_NPY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct matrix {
    size_t rows, dim;
    float *data; /* owned, matrix_free */
};

static inline void bench_fail(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static inline float half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 31u, fraction = half & 1023u;
    float value;
    if (exponent == 0) { /* subnormal */
        value = (float)fraction * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    const uint32_t bits =
        sign | (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float npy_element(const uint8_t *bytes, const char *type, size_t i)
{
    if (strcmp(type, "|u1") == 0) {
        return (float)bytes[i];
    }
    if (strcmp(type, "<f2") == 0) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        return half_to_float(half);
    }
    if (strcmp(type, "<i4") == 0) {
        int32_t integer;
        memcpy(&integer, bytes + 4 * i, sizeof integer);
        return (float)integer; /* ids below 2^24 */
    }
    float value;
    memcpy(&value, bytes + 4 * i, sizeof value);
    return value;
}

static inline size_t npy_width(const char *type)
{
    return strcmp(type, "|u1") == 0 ? 1 : strcmp(type, "<f2") == 0 ? 2 : 4;
}

/* DIR/NAME.npy, or DIR/NAME.npy.gz. */
static inline struct matrix npy_read(const char *directory, const char *name)
{
    char path[4096], header[65536] = {0}, type[8] = {0};
    snprintf(path, sizeof path, "%s/%s.npy", directory, name);
    gzFile file = gzopen(path, "rb");
    if (file == NULL) {
        snprintf(path, sizeof path, "%s/%s.npy.gz", directory, name);
        file = gzopen(path, "rb");
    }
    uint8_t magic[10];
    if (file == NULL || gzread(file, magic, 10) != 10 || memcmp(magic, "\x93NUMPY", 6) != 0) {
        bench_fail("no such .npy", path);
    }
    const unsigned header_bytes = magic[8] + 256u * magic[9];
    if (gzread(file, header, header_bytes) != (int)header_bytes) {
        bench_fail("short header", path);
    }
    struct matrix matrix = {0};
    const char *descr = strstr(header, "'descr': '"), *shape = strstr(header, "'shape': (");
    if (descr == NULL || shape == NULL || sscanf(descr + 10, "%3s", type) != 1 ||
        sscanf(shape + 10, "%zu, %zu", &matrix.rows, &matrix.dim) != 2) {
        bench_fail("not understood", path);
    }
    const size_t count = matrix.rows * matrix.dim, bytes = count * npy_width(type);
    uint8_t *raw = malloc(bytes);
    matrix.data = malloc(count * sizeof(float));
    if (raw == NULL || matrix.data == NULL || gzread(file, raw, (unsigned)bytes) != (int)bytes) {
        bench_fail("short", path);
    }
    for (size_t i = 0; i < count; i++) {
        matrix.data[i] = npy_element(raw, type, i);
    }
    free(raw);
    gzclose(file);
    return matrix;
}

static inline void matrix_free(struct matrix *matrix)
{
    free(matrix->data);
    *matrix = (struct matrix){0};
}

#endif
