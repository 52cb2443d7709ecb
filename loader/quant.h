/* Numbers as files hold them: f32, f16, bf16 and GGML's quantized blocks, to f32 and back.
 *
 * Blocks (little endian, a multiple of the block's elements along a row, no padding between them):
 *   Q8_0  32 elements,  34 bytes: f16 d, 32 x int8 q; x = d q
 *   Q4_0  32 elements,  18 bytes: f16 d, 16 bytes; element i is the low nibble of byte i, element i + 16 its
 *         high nibble; x = d (q - 8)
 *   Q4_K 256 elements, 144 bytes: f16 d, f16 dmin, 12 bytes with eight 6-bit scales s and eight 6-bit
 *         minima m (one pair for 32 elements), 128 bytes of nibbles; x = d s q - dmin m
 *   Q6_K 256 elements, 210 bytes: 128 bytes with the low nibbles, 64 bytes with the upper two bits, 16 x int8
 *         scale s (one for 16 elements), f16 d; x = d s (q - 32) */
#ifndef RF_LOADER_QUANT_H
#define RF_LOADER_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "loader/dtype.h"

static inline uint32_t rf_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float rf_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float rf_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return rf_float_from_bits(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) |
                              fraction << 13);
}

/* To nearest, ties to even; from 65520 on infinity, below 2^-25 zero. A NaN stays one. */
static inline uint16_t rf_float_to_half(float value)
{
    uint32_t bits = rf_float_bits(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    /* The ulp of 0.5 is 2^-24, that of subnormal halves: the addition rounds to it. */
    uint32_t subnormal = rf_float_bits(rf_float_from_bits(size) + 0.5f) - 0x3f000000u;
    uint32_t normal = (size - 0x38000000u + 0xfffu + (size >> 13 & 1)) >> 13;
    uint32_t huge = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return (uint16_t)(sign | (size < 0x38800000u ? subnormal : size < 0x47800000u ? normal : huge));
}

static inline float rf_bf16_to_float(uint16_t value)
{
    return rf_float_from_bits((uint32_t)value << 16);
}

/* To nearest, ties to even. A NaN stays one. */
static inline uint16_t rf_float_to_bf16(float value)
{
    uint32_t bits = rf_float_bits(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

/* `count` elements of a weight type (rf_dtype_is_weight), a multiple of the block; `blocks` may have any
 * alignment. */
void rf_quant_decode(enum rf_dtype dtype, const void *blocks, uint64_t count, float *out);

/* The other way. Q8_0 and Q4_0 are rounded as GGML's reference does it, to the bit; Q4_K and Q6_K search the
 * scales that make the weighted square error least. Every input must be finite, or the blocks decode to
 * anything; a finite one can still become infinite: f16 ends at 65504, and so do the scales of blocks. */
void rf_quant_encode(enum rf_dtype dtype, const float *x, uint64_t count, void *blocks);

/* What f32 -> f16 loses. Adds to the counts. */
struct rf_half_loss {
    uint64_t overflow;  /* finite, but infinite in f16 */
    uint64_t underflow; /* not zero, but zero in f16 */
};
void rf_half_count_loss(const float *x, uint64_t count, struct rf_half_loss *loss);

/* The first element that is infinite or NaN, or `count`. */
uint64_t rf_find_not_finite(const float *x, uint64_t count);

#endif
