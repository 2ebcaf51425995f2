/* What the files of the NEON table share. kernels.h says what its functions do. */
#ifndef KITH_CODEC_KERNELS_NEON_H
#define KITH_CODEC_KERNELS_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "codec/kernels_table.h"

KERNEL_ALL(KERNEL_PROTOTYPE, neon)

/* Four floats at element `at` of an array that ends at `end`, zero past it. */
static inline float32x4_t load_within(const float *x, size_t at, size_t end)
{
    if (at + 4 <= end) {
        return vld1q_f32(x + at);
    }
    float first[4] = {0};
    for (size_t i = 0; at + i < end; i++) {
        first[i] = x[at + i];
    }
    return vld1q_f32(first);
}

static inline void store_within(float *out, size_t at, size_t end, float32x4_t values)
{
    if (at + 4 <= end) {
        vst1q_f32(out + at, values);
        return;
    }
    float four[4];
    vst1q_f32(four, values);
    for (size_t i = 0; at + i < end; i++) {
        out[at + i] = four[i];
    }
}

/* Four floats at any address, and float16 ones. */
static inline float32x4_t load_bytes_within(const uint8_t *y, size_t at, size_t end)
{
    uint8_t bytes[16] = {0};
    if (at + 4 <= end) {
        return vreinterpretq_f32_u8(vld1q_u8(y + at * 4));
    }
    if (at < end) {
        memcpy(bytes, y + at * 4, (end - at) * 4);
    }
    return vreinterpretq_f32_u8(vld1q_u8(bytes));
}

static inline float32x4_t load_halves_within(const uint8_t *y, size_t at, size_t end)
{
    uint8_t bytes[8] = {0};
    if (at + 4 <= end) {
        return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(y + at * 2)));
    }
    if (at < end) {
        memcpy(bytes, y + at * 2, (end - at) * 2);
    }
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(bytes)));
}

/* The sign bit in each of four lanes whose bit is set. */
static inline uint32x4_t sign_mask(unsigned bits)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    const uint32x4_t set = vtstq_u32(vdupq_n_u32(bits), vld1q_u32(bit));
    return vandq_u32(set, vdupq_n_u32(0x80000000u));
}

static inline float32x4_t flip_signs(float32x4_t x, uint32x4_t signs)
{
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), signs));
}

/* Four bits of an array, at a multiple of four. */
static inline unsigned four_bits(const uint8_t *bits, size_t at)
{
    return (unsigned)bits[at / 8] >> (at % 8);
}

/* Four vectors of small integers as bytes. */
static inline uint8x16_t pack_bytes(const uint32x4_t x[4])
{
    const uint16x8_t low = vcombine_u16(vmovn_u32(x[0]), vmovn_u32(x[1]));
    const uint16x8_t high = vcombine_u16(vmovn_u32(x[2]), vmovn_u32(x[3]));
    return vcombine_u8(vmovn_u16(low), vmovn_u16(high));
}

/* Bit i: lane i of two masks of four. */
static inline unsigned bits_of(uint32x4_t low, uint32x4_t high)
{
    static const uint32_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u32(vandq_u32(low, vld1q_u32(bit))) +
           vaddvq_u32(vandq_u32(high, vld1q_u32(bit + 4)));
}

#endif
