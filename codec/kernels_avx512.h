/* What the files of the AVX-512 table share. kernels.h says what its functions do. */
#ifndef KITH_CODEC_KERNELS_AVX512_H
#define KITH_CODEC_KERNELS_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "codec/kernels_table.h"

/* What gains nothing from wider registers. */
#define avx512_copy_signed avx2_copy_signed
#define avx512_permute avx2_permute
#define avx512_subtract avx2_subtract
#define avx512_outer_levels avx2_outer_levels
#define avx512_grid_levels avx2_grid_levels
#define avx512_largest avx2_largest
#define avx512_widest_column avx2_widest_column

KERNEL_ALL(KERNEL_PROTOTYPE, avx2)
KERNEL_ALL(KERNEL_PROTOTYPE, avx512)

/* The sum of all lanes, modulo 2^32: gcc's own reduction adds signed ints, whose overflow is not
 * defined. */
static inline int32_t sum_of_32(__m512i x)
{
    const __m256i y = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i z = _mm_add_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0x4e));
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0xb1));
    return _mm_cvtsi128_si32(z);
}

static inline __m512i load_bytes(const void *bytes)
{
    return _mm512_loadu_si512(bytes);
}

static inline __m512 load_floats(const void *bytes)
{
    return _mm512_loadu_ps(bytes);
}

/* The first n of 16 lanes. */
static inline __mmask16 lane_mask(size_t n)
{
    return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffffu);
}

/* The first n of 16 floats, the others zero; memory past them is not touched. */
static inline __m512 load_first(const void *bytes, size_t n)
{
    return _mm512_maskz_loadu_ps(lane_mask(n), bytes);
}

static inline __mmask64 byte_mask(size_t n)
{
    return n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
}

static inline __m512 absolute(__m512 x)
{
    return _mm512_abs_ps(x);
}

static inline __mmask16 load_mask(const uint8_t *bits)
{
    uint16_t mask;
    memcpy(&mask, bits, sizeof mask);
    return mask;
}

/* Sixteen bits of an array of n, zero past it. */
static inline __mmask16 load_mask_within(const uint8_t *bits, size_t at, size_t end)
{
    if (at + 16 <= end) {
        return load_mask(bits + at / 8);
    }
    const unsigned low = at < end ? bits[at / 8] : 0;
    const unsigned high = at + 8 < end ? bits[at / 8 + 1] : 0;
    return (__mmask16)(low | high << 8);
}

static inline __m512 negate_where(__mmask16 mask, __m512 x)
{
    return _mm512_mask_xor_ps(x, mask, x, _mm512_set1_ps(-0.0f));
}

#endif
