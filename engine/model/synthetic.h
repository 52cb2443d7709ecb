/* Random weights and KV rows, made on the device: what a measurement needs of a model is its shape. */
#ifndef RF_MODEL_SYNTHETIC_H
#define RF_MODEL_SYNTHETIC_H

#include "engine/gpu/command.h"
#include "engine/model/weights.h"
#include "shaders/shared.h"

struct rf_fill {
    uint32_t kind; /* RF_FILL_... */
    uint32_t seed;
    float amplitude; /* numbers lie in (-amplitude, amplitude) */
    float ratio;     /* RF_FILL_SCALES */
};

/* Fills a span of whole words; blocks. */
enum rf_status rf_fill_span(struct rf_gpu *gpu, struct rf_span span, const struct rf_fill *fill,
                            struct rf_error *err);

/* Fills one chunk of a matrix with k inputs, by format: numbers of variance 1 / k, so that a row of variance
 * 1 goes on as one. Padding columns are filled too; kernels leave out what they make of them. */
enum rf_status rf_synthesize_chunk(struct rf_gpu *gpu, enum rf_weight_format format, uint32_t k,
                                   struct rf_span span, uint32_t seed, struct rf_error *err);

#endif
