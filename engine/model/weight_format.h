/* How weights stand in device memory: blocks of 8 columns whose words lie side by side. The layout is told in
 * shaders/weights.glsl; this is the host's side of it. */
#ifndef RF_MODEL_WEIGHT_FORMAT_H
#define RF_MODEL_WEIGHT_FORMAT_H

#include "engine/status.h"
#include "loader/dtype.h"

/* Also picks the shader variant. */
enum rf_weight_format {
    RF_WEIGHT_BF16,
    RF_WEIGHT_F16,
    RF_WEIGHT_F32,
    RF_WEIGHT_Q8_0,
    RF_WEIGHT_Q4_0,
    RF_WEIGHT_Q4_K,
    RF_WEIGHT_Q6_K,
    RF_WEIGHT_FORMATS
};

/* Whether weights are integers with scales. */
static inline bool rf_weight_is_quantized(enum rf_weight_format format)
{
    return format >= RF_WEIGHT_Q8_0;
}

const char *rf_weight_format_name(enum rf_weight_format format); /* "bf16", as in shader names */
enum rf_dtype rf_weight_format_dtype(enum rf_weight_format format);
/* False when the engine has no such format. */
bool rf_weight_format_of(enum rf_dtype dtype, enum rf_weight_format *format);
/* By name, such as "q8_0"; the message of a failure lists all names. */
enum rf_status rf_weight_format_parse(enum rf_weight_format *format, const char *name, struct rf_error *err);

/* Bytes of a block of 8 columns of k weights; k is a multiple of 8 and of the format's block. A multiple of
 * 16. */
uint64_t rf_weight_block_bytes(enum rf_weight_format format, uint32_t k);

/* Packs 8 columns of k weights each, encoded as files hold the format (any alignment; NULL: zeros), into a
 * block. */
void rf_weight_pack(enum rf_weight_format format, uint32_t k, const void *const columns[8], void *block);

#endif
