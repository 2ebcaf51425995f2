/* What the files of the AVX2 table share. kernels.h says what its functions do. */
#ifndef KITH_CODEC_KERNELS_AVX2_H
#define KITH_CODEC_KERNELS_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "codec/kernels_table.h"

KERNEL_ALL(KERNEL_PROTOTYPE, avx2)

static inline __m256i load_bytes(const void *bytes)
{
    return _mm256_loadu_si256(bytes);
}

static inline __m256 load_floats(const void *bytes)
{
    return _mm256_loadu_ps(bytes);
}

/* All ones in the first n of 8 lanes. */
static inline __m256i lane_mask(size_t n)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n < 8 ? n : 8)), lanes);
}

/* The first n of 8 floats, the others zero; memory past them is not touched. */
static inline __m256 load_first(const void *bytes, size_t n)
{
    return _mm256_maskload_ps(bytes, lane_mask(n));
}

static inline __m256 absolute(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

static inline uint32_t sum_of_eight(__m256i x)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(sum);
}

#endif
