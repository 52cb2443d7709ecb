/* Shared by the quantizers only. */
#ifndef RF_LOADER_QUANT_INTERNAL_H
#define RF_LOADER_QUANT_INTERNAL_H

#include "loader/quant.h"

enum { RF_SIMPLE_BLOCK = 32, RF_K_BLOCK = 256 };

/* Bytes inside a Q4_K block. */
enum { RF_Q4_K_D = 0, RF_Q4_K_DMIN = 2, RF_Q4_K_SCALES = 4, RF_Q4_K_NIBBLES = 16 };
/* Bytes inside a Q6_K block. */
enum { RF_Q6_K_LOW = 0, RF_Q6_K_HIGH = 128, RF_Q6_K_SCALES = 192, RF_Q6_K_D = 208 };

static inline void rf_put_half(unsigned char *to, float value)
{
    uint16_t half = rf_float_to_half(value);
    to[0] = (unsigned char)half;
    to[1] = (unsigned char)(half >> 8);
}

static inline float rf_get_half(const unsigned char *from)
{
    return rf_half_to_float((uint16_t)(from[0] | from[1] << 8));
}

/* Scale and minimum number `i` of a Q4_K block's eight. The first four lie in the low six bits of bytes i and
 * i + 4; of the others the low four bits share byte i + 4, and the upper two are those left free above. */
static inline void rf_q4_k_scale(const unsigned char *packed, int i, uint8_t *scale, uint8_t *min)
{
    if (i < 4) {
        *scale = packed[i] & 63;
        *min = packed[i + 4] & 63;
    } else {
        *scale = (uint8_t)((packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4);
        *min = (uint8_t)(packed[i + 4] >> 4 | (packed[i] >> 6) << 4);
    }
}

/* One block of RF_K_BLOCK elements. */
void rf_q4_k_encode(const float *x, unsigned char *block);
void rf_q6_k_encode(const float *x, unsigned char *block);

#endif
