/* Matrices, read as they stream: an NPY header, then rows made float32, exactly but for float64,
 * which is rounded to the nearest. Rows alone are read the same way, once a header is made up. */
#ifndef KITH_SERVER_NPY_H
#define KITH_SERVER_NPY_H

#include "index/arena.h"

enum npy_type { NPY_FLOAT32, NPY_FLOAT64, NPY_FLOAT16, NPY_UINT8, NPY_INT8 };
#define NPY_ROWS_OPEN UINT64_MAX /* as many as come */
struct npy_header {
    enum npy_type type;
    uint64_t rows;
    uint32_t dim;
    uint32_t row_bytes;
    size_t header_bytes; /* where the rows begin */
};
/* Parse the header of a format 1.0, 2.0 or 3.0 file. Returns OK; ERROR_BUSY if more bytes are
 * needed; ERROR_INVALID with a text in *why that does not say NPY again (bad magic, unknown dtype
 * named, Fortran order, not two dimensions, big-endian, dim out of 1..65536). Never reads past
 * bytes. */
enum error npy_parse(const uint8_t *data, size_t bytes, struct npy_header *header, char *why,
                     size_t why_bytes) MUST_CHECK;
/* The header that rows of little-endian float32 without one would have. dim: 1 to 65536. */
struct npy_header npy_floats(uint32_t dim);
/* One row to out, float[dim]. Returns false if a value is NaN, infinite or (float64) too large for
 * a float32; *bad its column. */
bool npy_row(const struct npy_header *header, const uint8_t *row, float *out, uint32_t *bad);

/* ---- writing ---- */

#define NPY_HEAD_BYTES 128u /* room for any shape; a multiple of 64, as the format asks for */
/* The header of an array in C order. type: as NumPy writes it, "<f4"; shape: "(7, 3)" or "(7,)";
 * both together at most 64 bytes. */
void npy_head(char head[NPY_HEAD_BYTES], const char *type, const char *shape);

#endif
