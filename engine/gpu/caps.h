/* What a physical device offers, what it lacks, and the names by which capabilities are masked
 * (RF_DISABLE). */
#ifndef RF_GPU_CAPS_H
#define RF_GPU_CAPS_H

#include "engine/gpu/device.h"
#include "engine/gpu/instance.h"

/* The required ones first; caps.c holds their names in the same order. */
enum rf_capability {
    RF_CAP_VULKAN13,
    RF_CAP_COMPUTE_QUEUE,
    RF_CAP_BUFFER_DEVICE_ADDRESS,
    RF_CAP_SCALAR_BLOCK_LAYOUT,
    RF_CAP_TIMELINE_SEMAPHORE,
    RF_CAP_SYNCHRONIZATION2,
    RF_CAP_MAINTENANCE4, /* workgroup sizes from specialization constants */
    RF_CAP_SUBGROUP_BASIC,
    RF_CAP_SUBGROUP_ARITHMETIC,
    RF_CAP_SUBGROUP_SIZE, /* 4 to 128: what the kernels' shared memory and row shapes are made for */
    RF_CAP_SHARED_32K,
    RF_CAP_INVOCATIONS_256,
    RF_CAP_PUSH_128,
    RF_CAP_REQUIRED_COUNT,
    RF_CAP_FP16 = RF_CAP_REQUIRED_COUNT,
    RF_CAP_INT8_DOT,
    RF_CAP_COOPMAT,
    RF_CAP_COOPMAT2,
    RF_CAP_COOPMAT2_MATMUL,
    RF_CAP_WIDE,
    RF_CAP_SUBGROUP_SIZE_CONTROL,
    RF_CAP_FULL_SUBGROUPS,
    RF_CAP_MEMORY_BUDGET,
    RF_CAP_PIPELINE_PROPERTIES,
    RF_CAP_UNIFIED_MEMORY,
    RF_CAP_TIMESTAMPS,
    RF_CAP_CALIBRATED_TIMESTAMPS,
    RF_CAP_PERFORMANCE_QUERY,
    RF_CAP_GLOBAL_PRIORITY,
    RF_CAP_PLAIN_MATMUL,      /* only to be masked: coopmat wherever it can run */
    RF_CAP_COOPMAT_ATTENTION, /* only to be masked: attention without matrix units beside products with them */
    RF_CAP_SPLITS,            /* only to be masked: no product is split over k */
    RF_CAP_WHOLE_K,           /* only to be masked: every product that can be is split over k */
    /* Only to be masked: coopmat2Matmul on any device with fp16, which must then find emulations of its shaders
     * in shader_dir (tests/kernels). */
    RF_CAP_COOPMAT2_UNITS,
    RF_CAP_LOADER, /* only to be masked: as if there were no Vulkan loader */
    RF_CAP_COUNT
};

/* Set of masked capabilities, bit i for rf_capability i. */
struct rf_mask {
    uint64_t bits;
};

/* Parses "fp16, coopmat" (NULL: nothing masked). An unknown name is RF_ERROR_ARGUMENT and the message lists
 * all names. */
enum rf_status rf_mask_parse(struct rf_mask *mask, const char *names, struct rf_error *err);
bool rf_masked(const struct rf_mask *mask, enum rf_capability capability);

/* One physical device, seen through the mask. */
struct rf_probe {
    bool
        no_memory; /* the host had none for lists of what the device has, so the rest is not to be believed */
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceMemoryProperties memory;
    struct rf_gpu_caps caps;
    struct rf_device_info info;
    uint8_t device_uuid[VK_UUID_SIZE];
    uint32_t family; /* queue family */
    uint32_t max_workgroup_subgroups;
    bool size_control_in_compute;
    bool memory_model, subgroup_extended_types, portability_subset;
    bool frame_boundary;        /* VK_EXT_frame_boundary */
    bool device_fault;          /* VK_EXT_device_fault */
    bool calibrated_timestamps; /* VK_EXT_calibrated_timestamps, with the host's monotonic clock */
    bool performance_query;     /* VK_KHR_performance_query, and queries that the host resets */
};

/* Are the subgroups that kernels may run with neither too small nor too large? */
bool rf_subgroups_fit(const struct rf_gpu_caps *caps);

struct rf_enabled;
/* As rf_probe_device, of a device that was made with `enabled` and a queue of `family`; NULL and UINT32_MAX: of whatever
 * the device offers, and the first family that computes. */
void rf_probe_enabled(struct rf_probe *out, const struct rf_instance *instance, VkPhysicalDevice physical,
                      uint32_t index, const struct rf_mask *mask, const struct rf_enabled *enabled,
                      uint32_t family);
void rf_probe_device(struct rf_probe *out, const struct rf_instance *instance, VkPhysicalDevice physical,
                     uint32_t index, const struct rf_mask *mask);

#endif
