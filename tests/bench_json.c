/* How fast float arrays are read: json_floats, a plain strtod loop and jansson on the same bodies.
 *
 * One run measures all of them in turn, round after round, so that a busy machine slows all alike;
 * medians are printed, in MB of body per second of this thread's CPU time. Bodies: 1 and 100
 * vectors of 1,536 floats in [-1, 1) with 6, 9 and 17 significant digits, as clients write them;
 * the 100 are too many for a branch predictor to learn by heart. Then the other way: text_floats
 * against %.9g. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* jansson's names and those of json.h exclude each other; none of the renamed ones is used. */
#define json_string jansson_string
#define json_null jansson_null
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_TRUE JANSSON_TRUE
#define JSON_FALSE JANSSON_FALSE
#define JSON_NULL JANSSON_NULL
#include <jansson.h>
#undef json_string
#undef json_null
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "server/json.h"

#define DIM 1536
#define VECTORS_MAX 100
#define ROUNDS 15
#define READ_BYTES_MIN (4u << 20) /* a timing reads a body as often as this needs */

struct bench_body {
    char *text; /* NUL-terminated */
    size_t bytes;
    size_t vectors;
};

static float floats[VECTORS_MAX * DIM];

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double random_unit(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(int64_t)state / 0x1p63;
}

static struct bench_body body_new(size_t vectors, int digits, const char *separator)
{
    struct text text = {0};
    text_puts(&text, "[");
    for (size_t v = 0; v < vectors; v++) {
        text_puts(&text, v ? ",[" : "[");
        for (size_t i = 0; i < DIM; i++)
            text_printf(&text, "%s%.*g", i ? separator : "", digits, random_unit());
        text_puts(&text, "]");
    }
    text_puts(&text, "]");
    text_put(&text, "", 1);
    return (struct bench_body){text.data, text.bytes - 1, vectors};
}

/* ---- the three readers: all vectors of a body into floats; false on an error ---- */

typedef bool body_reader(const struct bench_body *body);

static bool read_scanner(const struct bench_body *body)
{
    struct arena arena;
    struct json json;
    size_t count = 0, n = 0;
    arena_init(&arena);
    json_init(&json, span_of(body->text, body->bytes), &arena);
    bool good = json_enter_array(&json);
    while (good && json_element(&json)) {
        good = json_floats(&json, floats + n * DIM, DIM, &count) && count == DIM;
        n++;
    }
    good = good && json_finish(&json) && n == body->vectors;
    arena_release(&arena);
    return good;
}

static bool read_strtod(const struct bench_body *body)
{
    char *p = body->text + 1;
    for (size_t n = 0; n < body->vectors * DIM; n++) {
        p += strspn(p, "[], ");
        char *end;
        floats[n] = (float)strtod(p, &end);
        if (end == p)
            return false;
        p = end;
    }
    return true;
}

static bool read_jansson(const struct bench_body *body)
{
    json_error_t error;
    json_t *root = json_loadb(body->text, body->bytes, 0, &error), *list, *number;
    size_t v, i;
    if (!root)
        return false;
    json_array_foreach(root, v, list)
    {
        json_array_foreach(list, i, number)
        {
            floats[v * DIM + i] = (float)json_number_value(number);
        }
    }
    json_decref(root);
    return true;
}

/* ---- timing ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

static double read_speed(body_reader *reader, const struct bench_body *body)
{
    size_t times = READ_BYTES_MIN / body->bytes + 1;
    double begin = cpu_seconds();
    for (size_t i = 0; i < times; i++)
        if (!reader(body)) {
            fprintf(stderr, "a reader failed\n");
            exit(1);
        }
    return (double)(times * body->bytes) / 1e6 / (cpu_seconds() - begin);
}

static void bench_read(size_t vectors, int digits, const char *separator)
{
    static body_reader *const readers[] = {read_scanner, read_strtod, read_jansson};
    double speeds[3][ROUNDS];
    struct bench_body body = body_new(vectors, digits, separator);
    static float first[VECTORS_MAX * DIM];
    for (size_t r = 0; r < 3; r++) {
        if (!readers[r](&body) || (r && memcmp(first, floats, sizeof first) != 0)) {
            fprintf(stderr, "the readers do not agree\n");
            exit(1);
        }
        memcpy(first, floats, sizeof first);
    }
    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t r = 0; r < 3; r++)
            speeds[r][round] = read_speed(readers[r], &body);
    double fast = median(speeds[0], ROUNDS);
    printf("%7zu x %d %6d   \"%s\"%*s %9zu %12.0f %8.0f %8.0f   %6.2f\n", vectors, DIM, digits,
           separator, 3 - (int)strlen(separator), "", body.bytes, fast, median(speeds[1], ROUNDS),
           median(speeds[2], ROUNDS), (double)body.bytes * 1e3 / fast / (double)(vectors * DIM));
    free(body.text);
}

/* ---- printing ---- */

static void print_plainly(struct text *text)
{
    for (size_t i = 0; i < VECTORS_MAX * DIM; i++)
        text_printf(text, "%s%.9g", i ? "," : "[", (double)floats[i]);
    text_puts(text, "]");
}

static void bench_print(void)
{
    double shortest[ROUNDS], plain[ROUNDS];
    struct text text = {0};
    for (size_t i = 0; i < VECTORS_MAX * DIM; i++)
        floats[i] = (float)random_unit();
    for (size_t round = 0; round < ROUNDS; round++) {
        text.bytes = 0;
        double begin = cpu_seconds();
        text_floats(&text, (const uint8_t *)floats, VECTORS_MAX * DIM);
        shortest[round] = (cpu_seconds() - begin) * 1e9 / (VECTORS_MAX * DIM);
        text.bytes = 0;
        begin = cpu_seconds();
        print_plainly(&text);
        plain[round] = (cpu_seconds() - begin) * 1e9 / (VECTORS_MAX * DIM);
    }
    text_release(&text);
    printf("\nprinting, ns a float: text_floats %.1f, %%.9g %.1f\n", median(shortest, ROUNDS),
           median(plain, ROUNDS));
}

int main(void)
{
    static const int digits[] = {6, 9, 17};
    printf("reading, MB/s of CPU time, medians of %d interleaved rounds\n", ROUNDS);
    printf("        body digits separator   bytes  json_floats   strtod  jansson  ns/float\n");
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
        bench_read(1, digits[i], ",");
        bench_read(VECTORS_MAX, digits[i], ",");
        bench_read(VECTORS_MAX, digits[i], ", ");
    }
    bench_print();
    return 0;
}
