/* What every room computes. */
#ifndef RF_ENGINE_ARITHMETIC_H
#define RF_ENGINE_ARITHMETIC_H

#include <stdint.h>

/* ceil(a / b); a + b must fit. */
static inline uint32_t rf_divide_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

#endif
