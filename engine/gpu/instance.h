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

struct rf_instance {
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkDestroyInstance destroy;
    PFN_vkEnumeratePhysicalDevices enumerate_devices;
    PFN_vkEnumerateDeviceExtensionProperties enumerate_extensions;
    PFN_vkGetPhysicalDeviceProperties get_properties;
    PFN_vkGetPhysicalDeviceProperties2 get_properties2;
    PFN_vkGetPhysicalDeviceFeatures2 get_features2;
    PFN_vkGetPhysicalDeviceMemoryProperties get_memory;
    PFN_vkGetPhysicalDeviceQueueFamilyProperties get_families;
    PFN_vkCreateDevice create_device;
    PFN_vkGetDeviceProcAddr get_device_function;
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
};

/* `sink` receives the messages of the validation layer when `validation` is set. */
enum rf_status rf_instance_create(struct rf_instance *out, bool validation, struct rf_log_sink *sink,
                                  struct rf_error *err);
void rf_instance_destroy(struct rf_instance *instance);
/* All physical devices, malloc'ed; RF_ERROR_NO_DEVICE when there is none. */
enum rf_status rf_instance_devices(const struct rf_instance *instance, VkPhysicalDevice **devices, uint32_t *count,
                                   struct rf_error *err);

const char *rf_vk_result_name(VkResult result);
/* Turns a failed Vulkan call into a status: out of memory, device lost, else internal. */
enum rf_status rf_vk_fail(struct rf_error *err, VkResult result, const char *what);

#endif
