/* Kernels of the AVX2 table that the AVX-512 one shares. kernels.h says what they do. */
#ifndef KITH_CODEC_KERNELS_AVX2_H
#define KITH_CODEC_KERNELS_AVX2_H

#include "codec/kernels.h"

extern const struct kernels kernels_avx2;

void avx2_copy_signed(float *out, const float *x, const uint8_t *bits, size_t n);
void avx2_permute(float *out, const float *x, const uint16_t *sources, size_t n);
void avx2_subtract(float *out, const float *x, const float *y, size_t n);
void avx2_outer_levels(const float *x, size_t n, float threshold, uint8_t *bits, int8_t *levels);
void avx2_grid_levels(const float *x, size_t n, float scale, int8_t *levels);
float avx2_largest(const float *x, size_t n);
float avx2_widest_column(const float *x, size_t n, unsigned bits);

#endif
