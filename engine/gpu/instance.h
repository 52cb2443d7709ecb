/* The Vulkan loader and one VkInstance with the few functions that are called before there is a device. */
#ifndef RF_GPU_INSTANCE_H
#define RF_GPU_INSTANCE_H

#include <stdatomic.h>

#include "engine/gpu/vulkan.h"
#include "engine/status.h"

/* Where log lines go. One per device; the validation layer's messenger points to it, so it must not move. */
struct rf_log_sink {
    rf_log_fn log;
    void *user;
    atomic_uint_fast64_t complaints; /* validation messages and failed debug checks */
};

void rf_sink_log(const struct rf_log_sink *sink, enum rf_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef VK_NV_cooperative_matrix2
#define RF_COOPMAT2_FUNCTION(X)                                                                              \
    X(get_workgroup_matrices, vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV)
#else
#define RF_COOPMAT2_FUNCTION(X)
#endif
#define RF_INSTANCE_FUNCTIONS(X)                                                                             \
    X(destroy, vkDestroyInstance)                                                                            \
    X(enumerate_devices, vkEnumeratePhysicalDevices)                                                         \
    X(enumerate_extensions, vkEnumerateDeviceExtensionProperties)                                            \
    X(get_properties, vkGetPhysicalDeviceProperties)                                                         \
    X(get_properties2, vkGetPhysicalDeviceProperties2)                                                       \
    X(get_features2, vkGetPhysicalDeviceFeatures2)                                                           \
    X(get_memory, vkGetPhysicalDeviceMemoryProperties)                                                       \
    X(get_memory2, vkGetPhysicalDeviceMemoryProperties2)                                                     \
    X(get_families, vkGetPhysicalDeviceQueueFamilyProperties)                                                \
    X(get_families2, vkGetPhysicalDeviceQueueFamilyProperties2)                                              \
    X(create_device, vkCreateDevice)                                                                         \
    X(get_device_function, vkGetDeviceProcAddr)                                                              \
    X(get_coopmat, vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)                                        \
    RF_COOPMAT2_FUNCTION(X)                                                                                  \
    X(get_time_domains, vkGetPhysicalDeviceCalibrateableTimeDomainsEXT)                                      \
    X(list_counters, vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR)                        \
    X(count_passes, vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR)                                 \
    X(create_messenger, vkCreateDebugUtilsMessengerEXT)                                                      \
    X(destroy_messenger, vkDestroyDebugUtilsMessengerEXT)

struct rf_instance {
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    bool debug_utils; /* VK_EXT_debug_utils is enabled */
    bool adopted;     /* the application's: never destroyed */
#define RF_INSTANCE_FIELD(field, name) PFN_##name field;
    RF_INSTANCE_FUNCTIONS(RF_INSTANCE_FIELD)
#undef RF_INSTANCE_FIELD
};

/* `sink` receives the messages of the validation layer when `validation` is set. `labels`: VK_EXT_debug_utils
 * is enabled where there is one. */
enum rf_status rf_instance_create(struct rf_instance *out, bool validation, bool labels,
                                  struct rf_log_sink *sink, struct rf_error *err);
/* The application's instance, with functions from where it takes its own. */
void rf_instance_adopt(struct rf_instance *out, VkInstance handle, PFN_vkGetInstanceProcAddr get,
                       bool debug_utils);
void rf_instance_destroy(struct rf_instance *instance);
/* All physical devices, for rf_free; RF_ERROR_NO_DEVICE when there is none. */
enum rf_status rf_instance_devices(const struct rf_instance *instance, VkPhysicalDevice **devices,
                                   uint32_t *count, struct rf_error *err);

const char *rf_vk_result_name(VkResult result);
/* Turns a failed Vulkan call into a status: out of memory, device lost, else internal. */
enum rf_status rf_vk_fail(struct rf_error *err, VkResult result, const char *what);

#endif
