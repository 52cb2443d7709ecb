/* Devices that an application made: what it has to enable, and whether what it hands over will do. */
#ifndef RF_GPU_ADOPT_H
#define RF_GPU_ADOPT_H

#include "engine/allocate.h"
#include "engine/gpu/caps.h"

/* rf_vulkan_needs_get, with the environment applied; one block for rf_free(). */
enum rf_status rf_adopt_needs(struct rf_vulkan_needs **out, const struct rf_vulkan_query *query,
                              struct rf_error *err);

/* Checks desc->adopt; sets gpu->instance, gpu->probe and the queue's lock. */
enum rf_status rf_adopt_open(struct rf_gpu *gpu, const struct rf_gpu_desc *desc, const struct rf_mask *mask,
                             struct rf_error *err);

#endif
