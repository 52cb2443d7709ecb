/* Desc structs across versions. A caller tells which one it was compiled with by the first member, `size`; what it does
 * not have is zero, which means default everywhere. */
#ifndef RF_ENGINE_DESC_H
#define RF_ENGINE_DESC_H

#include "engine/status.h"

/* Sizes of version 0.1, what a `size` of 0 means. From its release on they stay as they are when members are added. */
#define RF_DESC_FIRST(type)                   (offsetof(struct type, RF_DESC_LAST_##type) + RF_DESC_LAST_BYTES_##type)
#define RF_DESC_LAST_rf_context_desc          allocator
#define RF_DESC_LAST_BYTES_rf_context_desc    sizeof(struct rf_allocator)
#define RF_DESC_LAST_rf_tokenizer_desc        allocator
#define RF_DESC_LAST_BYTES_rf_tokenizer_desc  sizeof(struct rf_allocator)
#define RF_DESC_LAST_rf_vulkan_query          disable
#define RF_DESC_LAST_BYTES_rf_vulkan_query    sizeof(char *)
#define RF_DESC_LAST_rf_vulkan_device         debug_utils
#define RF_DESC_LAST_BYTES_rf_vulkan_device   sizeof(bool)
#define RF_DESC_LAST_rf_model_desc            no_tune
#define RF_DESC_LAST_BYTES_rf_model_desc      sizeof(bool)
#define RF_DESC_LAST_rf_session_desc          deterministic
#define RF_DESC_LAST_BYTES_rf_session_desc    sizeof(bool)
#define RF_DESC_LAST_rf_generation_desc       user
#define RF_DESC_LAST_BYTES_rf_generation_desc sizeof(void *)
#define RF_DESC_LAST_rf_selftest_desc         seed
#define RF_DESC_LAST_BYTES_rf_selftest_desc   sizeof(uint64_t)

/* *out becomes `given` (NULL: zeros) in our version: `known` bytes, of which 0.1 had `first`. RF_ERROR_ARGUMENT for a
 * size that cannot be, RF_ERROR_UNSUPPORTED when the caller's version is newer and uses what we do not know. */
enum rf_status rf_desc_read(void *out, size_t known, size_t first, const void *given, const char *name,
                            struct rf_error *err);
#define RF_DESC_READ(out, type, given, err)                                                                  \
    rf_desc_read(out, sizeof(struct type), RF_DESC_FIRST(type), given, #type, err)

#endif
