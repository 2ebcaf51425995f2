/* The picture of errors against bits: two panels, written as SVG. */
#ifndef KITH_TESTS_BENCH_CODEC_SVG_H
#define KITH_TESTS_BENCH_CODEC_SVG_H

#include "tests/coder.h"

#define PICTURE_POINTS 128u

struct picture {
    uint32_t dim;
    size_t count;
    struct picture_point {
        const char *name;
        double bits, error, noise; /* noise at cosine .9 */
    } points[PICTURE_POINTS];
};

void picture_add(struct picture *picture, const struct coder *coder,
                 const struct coder_figures *figures);
/* Ends the program with a message when the file cannot be written. */
void picture_write(const struct picture *picture, const char *path);

#endif
