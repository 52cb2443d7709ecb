/* Device extensions and features: what is asked for when a device is made, and what an application enabled on its own. */
#ifndef RF_GPU_FEATURES_H
#define RF_GPU_FEATURES_H

#include "engine/gpu/caps.h"

/* Structures that point to each other, so it does not move once it is chained. */
struct rf_features {
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable;
    VkPhysicalDevicePerformanceQueryFeaturesKHR counters;
    VkPhysicalDeviceGlobalPriorityQueryFeaturesKHR priority;
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coopmat;
#endif
#ifdef VK_NV_cooperative_matrix2
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV coopmat2;
#endif
#ifdef VK_EXT_frame_boundary
    VkPhysicalDeviceFrameBoundaryFeaturesEXT frame_boundary;
#endif
#ifdef VK_EXT_device_fault
    VkPhysicalDeviceFaultFeaturesEXT fault;
#endif
};

enum { RF_DEVICE_EXTENSIONS = 14 };

/* What everything that the probe found takes, chained from out->features on. */
void rf_features_ask(struct rf_features *out, const struct rf_probe *probe, bool capture);
/* What no device is usable without. */
void rf_features_ask_required(struct rf_features *out);
/* The same of extensions: required ones first, *required of them; static names. How many. */
uint32_t rf_extensions_ask(const char *names[RF_DEVICE_EXTENSIONS], uint32_t *required,
                           const struct rf_probe *probe);

/* What a VkDeviceCreateInfo enabled; names stay the caller's. Structures that were promoted to a version count as that
 * version's; nothing of `features` is chained. */
struct rf_enabled {
    struct rf_features features;
    const char *const *extensions;
    uint32_t extension_count;
};
void rf_enabled_read(struct rf_enabled *out, const VkDeviceCreateInfo *info);
bool rf_enabled_extension(const struct rf_enabled *enabled, const char *name);
/* A structure of features, `bytes` with its head, loses what the other one of its type does not have. */
void rf_features_and(void *structure, const void *other, size_t bytes);

#endif
