/* The only place that includes Vulkan: entry points come from volk's per-instance and per-device tables. */
#ifndef RF_GPU_VULKAN_H
#define RF_GPU_VULKAN_H

#define VK_NO_PROTOTYPES
#include <volk.h>

#endif
