/* The NPY reader on any bytes: what it accepts is within its limits, and a row is read in bounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/npy.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_row(const struct npy_header *header, const uint8_t *row)
{
    uint32_t bad = UINT32_MAX;
    float *out = malloc(header->dim * sizeof *out);
    REQUIRE(out);
    if (!npy_row(header, row, out, &bad))
        REQUIRE(bad < header->dim);
    else
        for (uint32_t i = 0; i < header->dim; i++)
            REQUIRE(__builtin_isfinite(out[i]));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct npy_header header;
    char why[64];
    enum error error = npy_parse(data, bytes, &header, why, sizeof why);
    REQUIRE(error == OK || error == ERROR_BUSY || error == ERROR_INVALID);
    if (error == ERROR_INVALID)
        REQUIRE(memchr(why, 0, sizeof why));
    if (error != OK)
        return 0;
    REQUIRE(header.dim >= 1 && header.dim <= 65536 && header.header_bytes <= bytes);
    REQUIRE(header.row_bytes >= header.dim && header.row_bytes <= 4 * header.dim);
    if (header.rows && bytes - header.header_bytes >= header.row_bytes)
        read_row(&header, data + header.header_bytes);
    return 0;
}
