/* The int8 path: products of quantized weights with activations that are int8 with a scale per 32 of k
 * (shaders/int8.glsl), for any number of rows. Plain weights of the same model keep f16 inputs; whatever
 * precedes a product writes what its matrix reads. */
#ifndef RF_MODEL_INT8_H
#define RF_MODEL_INT8_H

#include "engine/model/matmul.h"

/* Whether weights of this model can have int8 inputs: some are quantized, heads are whole blocks of 32, and a
 * quantized down_proj has a quantized gate/up before it, whose kernels alone write int8. Else the message. */
enum rf_status rf_int8_check(const struct rf_weights *weights, const struct rf_model_config *config,
                             struct rf_error *err);

/* Whether the forward's products with this format have int8 inputs. */
bool rf_int8_takes(const struct rf_forward *forward, enum rf_weight_format format);
/* What a matrix's chunks read: int8 blocks, f16 or f32 quads, or, where it is mixed, both. */
struct rf_int8_inputs {
    bool blocks, quads;
};
struct rf_int8_inputs rf_int8_inputs(const struct rf_forward *forward, const struct rf_matrix *matrix);

/* As rf_matmul_legal, rf_matmul_default and rf_matmul_candidates, for products with int8 inputs. */
bool rf_int8_legal(const struct rf_gpu_caps *caps, uint32_t bucket, struct rf_matmul_shape shape);
struct rf_matmul_shape rf_int8_default(const struct rf_gpu_caps *caps, uint32_t bucket);
uint32_t rf_int8_candidates(const struct rf_gpu_caps *caps, uint32_t bucket,
                            struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES]);
/* The shape with which an epilogue is made, where `shape` was chosen for the format. */
struct rf_matmul_shape rf_int8_fit(const struct rf_gpu_caps *caps, struct rf_matmul_shape shape,
                                   uint32_t epilogue, bool deterministic);

#endif
