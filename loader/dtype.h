/* Types of weights, in files of either format. A type stores its elements in blocks: one element for plain
 * types, 32 or 256 consecutive ones of a row for the quantized types of GGUF. */
#ifndef RF_LOADER_DTYPE_H
#define RF_LOADER_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

enum rf_dtype {
    RF_DTYPE_NONE = 0,
    RF_DTYPE_BF16, /* these three hold weights that the engine can use */
    RF_DTYPE_F16,
    RF_DTYPE_F32,
    /* Known to the formats: a file that holds them is read, binding them is refused. */
    RF_DTYPE_F64,
    RF_DTYPE_F8_E4M3,
    RF_DTYPE_F8_E5M2,
    RF_DTYPE_F8_E8M0,
    RF_DTYPE_F6_E2M3,
    RF_DTYPE_F6_E3M2,
    RF_DTYPE_F4,
    RF_DTYPE_BOOL,
    RF_DTYPE_I8,
    RF_DTYPE_U8,
    RF_DTYPE_I16,
    RF_DTYPE_U16,
    RF_DTYPE_I32,
    RF_DTYPE_U32,
    RF_DTYPE_I64,
    RF_DTYPE_U64,
    RF_DTYPE_C64,
    RF_DTYPE_SAFETENSORS_END, /* those above may stand in a safetensors file */
    /* Quantized blocks, in GGUF only; layouts in quant.h. Weights that the engine can use. */
    RF_DTYPE_Q8_0 = RF_DTYPE_SAFETENSORS_END,
    RF_DTYPE_Q4_0,
    RF_DTYPE_Q4_K,
    RF_DTYPE_Q6_K,
    RF_DTYPE_COUNT
};

const char *rf_dtype_name(enum rf_dtype dtype); /* as safetensors and GGUF write it: "BF16", "Q4_K" */

/* A block: the fewest elements that fill whole bytes, so 1 but for packed and quantized types. 0 for
 * RF_DTYPE_NONE. */
uint32_t rf_dtype_block_elements(enum rf_dtype dtype);
uint32_t rf_dtype_block_bytes(enum rf_dtype dtype);

/* Bytes of `elements` elements, a multiple of the block. */
static inline uint64_t rf_dtype_bytes(enum rf_dtype dtype, uint64_t elements)
{
    return elements / rf_dtype_block_elements(dtype) * rf_dtype_block_bytes(dtype);
}

/* Numbers that a model's weights may be made of: F32, F16, BF16 and the quantized blocks. */
static inline bool rf_dtype_is_weight(enum rf_dtype dtype)
{
    return (dtype >= RF_DTYPE_BF16 && dtype <= RF_DTYPE_F32) ||
           (dtype >= RF_DTYPE_SAFETENSORS_END && dtype < RF_DTYPE_COUNT);
}

#endif
