/* Number formats and random data of the self-test. Written apart from the engine's own conversions, so that
 * neither can hide a mistake of the other. */
#ifndef RF_SELFTEST_NUMBERS_H
#define RF_SELFTEST_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum rf_number { RF_NUMBER_F32, RF_NUMBER_F16, RF_NUMBER_BF16 };

static inline size_t rf_number_bytes(enum rf_number number)
{
    return number == RF_NUMBER_F32 ? 4 : 2;
}

static inline double rf_decode_f16(uint16_t bits)
{
    int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    double magnitude = exponent == 31  ? (mantissa ? (double)NAN : (double)INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(1024 + mantissa, exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

/* Round to nearest, ties to even; |value| < 65520. */
static inline uint16_t rf_encode_f16(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    int exponent;
    double magnitude = fabs(value);
    if (magnitude < ldexp(1, -14)) /* subnormal: the count of 2^-24 is the bit pattern */
        return (uint16_t)(sign | (uint16_t)nearbyint(ldexp(magnitude, 24)));
    frexp(magnitude, &exponent); /* magnitude = [0.5, 1) * 2^exponent */
    double mantissa =
        nearbyint(ldexp(magnitude, 11 - exponent)); /* [1024, 2048]; 2048 carries into the exponent */
    return (uint16_t)(sign | (uint16_t)(((exponent + 14) << 10) + ((int)mantissa - 1024)));
}

static inline uint32_t rf_bits_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float rf_value_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void rf_store_number(void *at, enum rf_number number, double value)
{
    uint32_t bits = rf_bits_f32((float)value);
    uint16_t half;
    if (number == RF_NUMBER_F32) {
        memcpy(at, &bits, sizeof bits);
        return;
    }
    if (number == RF_NUMBER_F16)
        half = rf_encode_f16(value);
    else /* the upper half of the f32, rounded to nearest even */
        half = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    memcpy(at, &half, sizeof half);
}

static inline double rf_load_number(const void *at, enum rf_number number)
{
    uint32_t bits;
    uint16_t half;
    if (number == RF_NUMBER_F32) {
        memcpy(&bits, at, sizeof bits);
        return (double)rf_value_f32(bits);
    }
    memcpy(&half, at, sizeof half);
    return number == RF_NUMBER_F16 ? rf_decode_f16(half) : (double)rf_value_f32((uint32_t)half << 16);
}

/* splitmix64 */
struct rf_random {
    uint64_t state;
};

static inline uint64_t rf_random_next(struct rf_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint32_t rf_random_below(struct rf_random *random, uint32_t limit)
{
    return (uint32_t)(((rf_random_next(random) >> 32) * limit) >> 32);
}

/* Uniform in [-1, 1). */
static inline double rf_random_signed(struct rf_random *random)
{
    return ldexp((double)(rf_random_next(random) >> 11), -52) - 1.0;
}

#endif
