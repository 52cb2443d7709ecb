/* Weights under test, put into the layout that shaders/weights.glsl tells. Written apart from
 * engine/model/weight_format.c and from the loader's quantizers, so that neither can hide a mistake of the
 * other. */
#ifndef RF_SELFTEST_WEIGHTS_H
#define RF_SELFTEST_WEIGHTS_H

#include "engine/model/weight_format.h"
#include "engine/selftest/harness.h"

/* Whether every value that the tests use (see product.c) stands in this format exactly. */
static inline bool rf_weights_exact(enum rf_weight_format format)
{
    return format <= RF_WEIGHT_F32;
}

/* Least k, of which every k is a multiple. */
uint32_t rf_weights_unit(enum rf_weight_format format);
/* Place for `columns` columns, padded to RF_COLUMN_PAD; nothing is declared yet. */
size_t rf_weights_alloc(struct rf_case *c, enum rf_weight_format format, uint32_t columns, uint32_t k);
/* Puts column n in: values [k] are what is wanted, numbers between -2 and 2 in quantized formats, and become
 * what stands there. */
void rf_weights_put(struct rf_case *c, size_t at, enum rf_weight_format format, uint32_t k, uint32_t n,
                    double *values);

#endif
