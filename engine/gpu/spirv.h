/* Reads the little that is needed out of a compute shader's SPIR-V, checking every length on the way. */
#ifndef RF_GPU_SPIRV_H
#define RF_GPU_SPIRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"

struct rf_spirv_info {
    char entry[64];          /* name of the entry point */
    uint32_t local_size[3];  /* with the given specialization constants applied */
    uint32_t push_bytes;     /* end of the last member of the push constant block */
    uint32_t push_alignment; /* of its widest scalar: 8 with pointers; C's struct may be padded up to it */
    bool float16, storage16, int64, int8, storage8, float64, cooperative_matrix, cooperative_matrix2,
        tensor_addressing, dot_product; /* declared capabilities */
};

/* specs[i] replaces the default of specialization constant i. RF_ERROR_FORMAT when the words are no compute
 * shader. */
enum rf_status rf_spirv_read(struct rf_spirv_info *out, const uint32_t *words, size_t count,
                             const uint32_t *specs, uint32_t spec_count, const char *name,
                             struct rf_error *err);

/* A copy of a module that rf_spirv_read took, in which every specialization constant is a plain constant with
 * its value. SwiftShader does not fold specialization constants: its products run up to ten times faster so.
 * The caller frees *out. */
enum rf_status rf_spirv_freeze(uint32_t **out, size_t *out_count, const uint32_t *words, size_t count,
                               const uint32_t *specs, uint32_t spec_count, struct rf_error *err);

#endif
