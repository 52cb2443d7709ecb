#include "loader/quant.h"

#include <math.h>

#include "loader/quant_internal.h"

/* ---- Plain types --------------------------------------------------------------------------------------- */

static void decode_f16(const unsigned char *from, uint64_t count, float *out)
{
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        /* rf_half_to_float without branches, which compilers make vectors of: the exponent moves by a
         * product, which gets subnormals right too. Infinity and NaN have their own exponent. */
        uint32_t size = (uint32_t)(half & 0x7fffu) << 13, sign = (uint32_t)(half & 0x8000u) << 16;
        uint32_t finite = rf_float_bits(rf_float_from_bits(size) * 0x1p112f);
        out[i] = rf_float_from_bits(sign | (size >= 0x0f800000u ? size | 0x7f800000u : finite));
    }
}

static void decode_bf16(const unsigned char *from, uint64_t count, float *out)
{
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        out[i] = rf_bf16_to_float(half);
    }
}

static void encode_f16(const float *x, uint64_t count, unsigned char *to)
{
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half = rf_float_to_half(x[i]);
        memcpy(to + 2 * i, &half, 2);
    }
}

static void encode_bf16(const float *x, uint64_t count, unsigned char *to)
{
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half = rf_float_to_bf16(x[i]);
        memcpy(to + 2 * i, &half, 2);
    }
}

void rf_half_count_loss(const float *x, uint64_t count, struct rf_half_loss *loss)
{
    uint64_t overflow = 0, underflow = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t size = rf_float_bits(x[i]) & 0x7fffffffu;
        overflow += size >= 0x477ff000u && size < 0x7f800000u; /* 65520 and more */
        underflow += size > 0 && size <= 0x33000000u;          /* 2^-25 and less */
    }
    loss->overflow += overflow;
    loss->underflow += underflow;
}

uint64_t rf_find_not_finite(const float *x, uint64_t count)
{
    enum { AT_ONCE = 1024 };
    for (uint64_t start = 0; start < count; start += AT_ONCE) {
        uint64_t end = count - start < AT_ONCE ? count : start + AT_ONCE;
        uint32_t bad = 0;
        for (uint64_t i = start; i < end; i++)
            bad |= (rf_float_bits(x[i]) & 0x7f800000u) == 0x7f800000u;
        for (uint64_t i = start; bad && i < end; i++)
            if (!isfinite(x[i]))
                return i;
    }
    return count;
}

/* ---- Blocks of 32 -------------------------------------------------------------------------------------- */

static void decode_q8_0(const unsigned char *block, float *out)
{
    float d = rf_get_half(block);
    for (int i = 0; i < RF_SIMPLE_BLOCK; i++)
        out[i] = d * (float)(int8_t)block[2 + i];
}

static void decode_q4_0(const unsigned char *block, float *out)
{
    float d = rf_get_half(block);
    for (int i = 0; i < RF_SIMPLE_BLOCK / 2; i++) {
        out[i] = d * (float)((block[2 + i] & 15) - 8);
        out[i + RF_SIMPLE_BLOCK / 2] = d * (float)((block[2 + i] >> 4) - 8);
    }
}

/* 1 / d, and 0 where that is infinite: such a block is zero in f16 anyway. */
static float inverse(float d)
{
    float result = 1.0f / d;
    return isfinite(result) ? result : 0.0f;
}

/* roundf (halves away from zero) for |value| below 2^22. Adding 0.5 would round 0.49999997 up; the number
 * just below it does not, and reaches the next whole number from every half all the same. */
static int round_away(float value)
{
    return (int)(value + copysignf(0.49999997f, value));
}

static void encode_q8_0(const float *x, unsigned char *block)
{
    float most = 0.0f;
    for (int i = 0; i < RF_SIMPLE_BLOCK; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    float d = most / 127.0f, scale = inverse(d);
    rf_put_half(block, d);
    for (int i = 0; i < RF_SIMPLE_BLOCK; i++)
        block[2 + i] = (unsigned char)(int8_t)round_away(x[i] * scale);
}

/* The value of greatest size becomes exactly -8; its own sign decides that of d. */
static void encode_q4_0(const float *x, unsigned char *block)
{
    float most = 0.0f, extreme = 0.0f;
    for (int i = 0; i < RF_SIMPLE_BLOCK; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    for (int i = RF_SIMPLE_BLOCK - 1; i >= 0; i--) /* the first of that size */
        extreme = fabsf(x[i]) >= most ? x[i] : extreme;
    float d = extreme / -8.0f, scale = inverse(d);
    rf_put_half(block, d);
    uint8_t q[RF_SIMPLE_BLOCK];
    for (int i = 0; i < RF_SIMPLE_BLOCK; i++) {
        int rounded = (int)(x[i] * scale + 8.5f);
        q[i] = (uint8_t)(rounded > 15 ? 15 : rounded);
    }
    for (int i = 0; i < RF_SIMPLE_BLOCK / 2; i++)
        block[2 + i] = (unsigned char)(q[i] | q[i + RF_SIMPLE_BLOCK / 2] << 4);
}

/* ---- Blocks of 256 ------------------------------------------------------------------------------------- */

/* Nibbles lie in groups of 32 bytes: the low ones are 32 elements, the high ones the next 32. */
static void decode_q4_k(const unsigned char *block, float *out)
{
    float d = rf_get_half(block + RF_Q4_K_D), dmin = rf_get_half(block + RF_Q4_K_DMIN);
    for (int part = 0; part < 8; part++) {
        const unsigned char *nibbles = block + RF_Q4_K_NIBBLES + part / 2 * 32;
        uint8_t scale, min;
        rf_q4_k_scale(block + RF_Q4_K_SCALES, part, &scale, &min);
        float step = d * (float)scale, offset = dmin * (float)min;
        int shift = part % 2 * 4;
        for (int i = 0; i < 32; i++)
            out[32 * part + i] = step * (float)(nibbles[i] >> shift & 15) - offset;
    }
}

/* Each half of 128 elements: four runs of 32, whose low nibbles are those of 64 bytes, low then high, and
 * whose upper bits are the four pairs of bits of 32 bytes. */
static void decode_q6_k(const unsigned char *block, float *out)
{
    float d = rf_get_half(block + RF_Q6_K_D);
    for (int run = 0; run < 8; run++) {
        int half = run / 4, quarter = run % 4;
        const unsigned char *low = block + RF_Q6_K_LOW + 64 * half + quarter % 2 * 32;
        const unsigned char *high = block + RF_Q6_K_HIGH + 32 * half;
        int low_shift = quarter / 2 * 4, high_shift = 2 * quarter;
        for (int i = 0; i < 32; i++) {
            int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
            float scale = d * (float)(int8_t)block[RF_Q6_K_SCALES + 2 * run + i / 16];
            out[32 * run + i] = scale * (float)(q - 32);
        }
    }
}

/* ---- All of them --------------------------------------------------------------------------------------- */

void rf_quant_decode(enum rf_dtype dtype, const void *blocks, uint64_t count, float *out)
{
    const unsigned char *from = blocks;
    uint64_t bytes = rf_dtype_block_bytes(dtype), elements = rf_dtype_block_elements(dtype);
    if (dtype == RF_DTYPE_F32)
        memcpy(out, from, count * 4);
    else if (dtype == RF_DTYPE_F16)
        decode_f16(from, count, out);
    else if (dtype == RF_DTYPE_BF16)
        decode_bf16(from, count, out);
    else
        for (uint64_t i = 0; i < count; i += elements, from += bytes)
            switch ((int)dtype) {
            case RF_DTYPE_Q8_0:
                decode_q8_0(from, out + i);
                break;
            case RF_DTYPE_Q4_0:
                decode_q4_0(from, out + i);
                break;
            case RF_DTYPE_Q4_K:
                decode_q4_k(from, out + i);
                break;
            case RF_DTYPE_Q6_K:
                decode_q6_k(from, out + i);
                break;
            }
}

void rf_quant_encode(enum rf_dtype dtype, const float *x, uint64_t count, void *blocks)
{
    unsigned char *to = blocks;
    uint64_t bytes = rf_dtype_block_bytes(dtype), elements = rf_dtype_block_elements(dtype);
    if (dtype == RF_DTYPE_F32)
        memcpy(to, x, count * 4);
    else if (dtype == RF_DTYPE_F16)
        encode_f16(x, count, to);
    else if (dtype == RF_DTYPE_BF16)
        encode_bf16(x, count, to);
    else
        for (uint64_t i = 0; i < count; i += elements, to += bytes)
            switch ((int)dtype) {
            case RF_DTYPE_Q8_0:
                encode_q8_0(x + i, to);
                break;
            case RF_DTYPE_Q4_0:
                encode_q4_0(x + i, to);
                break;
            case RF_DTYPE_Q4_K:
                rf_q4_k_encode(x + i, to);
                break;
            case RF_DTYPE_Q6_K:
                rf_q6_k_encode(x + i, to);
                break;
            }
}
