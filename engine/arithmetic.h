/* What every room computes. */
#ifndef RF_ENGINE_ARITHMETIC_H
#define RF_ENGINE_ARITHMETIC_H

#include <stdbool.h>
#include <stdint.h>

/* ceil(a / b); a + b must fit. */
static inline uint32_t rf_divide_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

static inline bool rf_is_power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

#endif
