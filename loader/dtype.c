#include "loader/dtype.h"

static const struct {
    const char *name;
    uint32_t elements, bytes; /* of a block */
} dtypes[RF_DTYPE_COUNT] = {
    [RF_DTYPE_NONE] = {"none", 0, 0},       [RF_DTYPE_BF16] = {"BF16", 1, 2},
    [RF_DTYPE_F16] = {"F16", 1, 2},         [RF_DTYPE_F32] = {"F32", 1, 4},
    [RF_DTYPE_F64] = {"F64", 1, 8},         [RF_DTYPE_F8_E4M3] = {"F8_E4M3", 1, 1},
    [RF_DTYPE_F8_E5M2] = {"F8_E5M2", 1, 1}, [RF_DTYPE_F8_E8M0] = {"F8_E8M0", 1, 1},
    [RF_DTYPE_F6_E2M3] = {"F6_E2M3", 4, 3}, [RF_DTYPE_F6_E3M2] = {"F6_E3M2", 4, 3},
    [RF_DTYPE_F4] = {"F4", 2, 1},           [RF_DTYPE_BOOL] = {"BOOL", 1, 1},
    [RF_DTYPE_I8] = {"I8", 1, 1},           [RF_DTYPE_U8] = {"U8", 1, 1},
    [RF_DTYPE_I16] = {"I16", 1, 2},         [RF_DTYPE_U16] = {"U16", 1, 2},
    [RF_DTYPE_I32] = {"I32", 1, 4},         [RF_DTYPE_U32] = {"U32", 1, 4},
    [RF_DTYPE_I64] = {"I64", 1, 8},         [RF_DTYPE_U64] = {"U64", 1, 8},
    [RF_DTYPE_C64] = {"C64", 1, 8},         [RF_DTYPE_Q8_0] = {"Q8_0", 32, 34},
    [RF_DTYPE_Q4_0] = {"Q4_0", 32, 18},     [RF_DTYPE_Q4_K] = {"Q4_K", 256, 144},
    [RF_DTYPE_Q6_K] = {"Q6_K", 256, 210},
};

const char *rf_dtype_name(enum rf_dtype dtype)
{
    return dtypes[dtype].name;
}

uint32_t rf_dtype_block_elements(enum rf_dtype dtype)
{
    return dtypes[dtype].elements;
}

uint32_t rf_dtype_block_bytes(enum rf_dtype dtype)
{
    return dtypes[dtype].bytes;
}
