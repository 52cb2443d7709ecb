/* refusion on the application's own Vulkan device: for applications that draw or compute with Vulkan themselves and
 * want one device, one memory budget and one queue. The conventions are those of refusion.h.
 *
 * In short:
 *   1. rf_vulkan_needs_get tells what to enable, once the instance is made and the physical device chosen.
 *   2. The application makes its device with that, and whatever it wants itself.
 *   3. rf_context_adopt makes a context of it, with callbacks that lock the queue.
 *
 * What a guest may be trusted with:
 *   - It never aborts and never prints; every failure is a status and one line. It exports rf_* names alone, brings its
 *     own table of Vulkan functions, and takes them from the application's vkGetInstanceProcAddr: no clash with volk, a
 *     loader of the application's own, or layers.
 *   - It destroys what it made and nothing else: instance, device and queue stay as they were, whatever fails.
 *   - It waits for its own work alone, by a timeline semaphore, and calls neither vkQueueWaitIdle nor vkDeviceWaitIdle.
 *   - A lost device is RF_ERROR_DEVICE_LOST in every later call; destroying the context works.
 *   - Device memory: rf_model_estimate before anything is loaded, rf_context_desc.memory_limit as a wall that is never
 *     passed, rf_context_memory for what it holds now.
 *   - Frames: rf_context_desc.submission_ms for the length of one submission, duty for the share of time, and the queue
 *     is free for the application between submissions. */
#ifndef REFUSION_VULKAN_H
#define REFUSION_VULKAN_H

#include <vulkan/vulkan_core.h>

#include "refusion.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- An application's own Vulkan device ------------------------------------------------------------- */

struct rf_vulkan_query {
    uint32_t size; /* sizeof(struct rf_vulkan_query) */
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
    VkInstance instance;
    VkPhysicalDevice physical_device;
    const char *disable; /* tiers not to ask for, as in rf_context_desc */
};

/* What to enable. Everything belongs to the library and is one block for rf_free. */
struct rf_vulkan_needs {
    uint32_t api_version;  /* VkApplicationInfo.apiVersion at least; no instance extension is needed */
    uint32_t queue_family; /* a family that computes; another one that does is as good */
    /* Device extensions, all of which this device has. The first required_extension_count are required, the others only
     * make it faster or better informed (tiers of matrix units, memory budget, clocks). */
    const char *const *extensions;
    uint32_t extension_count, required_extension_count;
    /* A chain for VkDeviceCreateInfo.pNext with everything that helps, all of which this device has. The application
     * may set more members of it, and hang its own structures (of other types) to features_end->pNext. */
    VkPhysicalDeviceFeatures2 *features;
    VkBaseOutStructure *features_end;
    /* The same with nothing but what is required. */
    VkPhysicalDeviceFeatures2 *required_features;
    VkBaseOutStructure *required_features_end;
    struct rf_device_info info; /* the device, with the tiers that it has when all of this is enabled */
    uint64_t reserved[8];
};

/* Lists it. RF_ERROR_NO_DEVICE, with what it lacks, for a device that cannot be used. Thread-safe.
 *
 * An application with a chain of its own need not take over ours: it may enable the members that
 * rf_vulkan_needs.required_features has set, in the structures of Vulkan 1.2 and 1.3 or in those of single features,
 * and as many of the others as it likes. rf_context_adopt reads what was enabled and uses the tiers that this gives.
 *
 *     struct rf_vulkan_query query = {.size = sizeof query,
 *                                     .get_instance_proc_addr = get_instance_proc_addr,
 *                                     .instance = instance,
 *                                     .physical_device = physical_device};
 *     struct rf_vulkan_needs *needs;
 *     if (rf_vulkan_needs_get(&needs, &query, &err) != RF_OK)
 *         return err.status;
 *     VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
 *                                .pNext = needs->features,
 *                                .enabledExtensionCount = needs->extension_count,
 *                                .ppEnabledExtensionNames = needs->extensions};
 *     printf("%u extensions, queues of family %u\n", info.enabledExtensionCount, needs->queue_family);
 *     rf_free(needs);
 */
RF_API enum rf_status rf_vulkan_needs_get(struct rf_vulkan_needs **out, const struct rf_vulkan_query *query,
                                          struct rf_error *err);
/* Called round every call that takes the queue, on the thread that makes it; never nested. */
typedef void (*rf_queue_fn)(void *user);

/* A device that the application made. What is pointed to is only read during rf_context_adopt; the handles must outlive
 * the context. */
struct rf_vulkan_device {
    uint32_t size;        /* sizeof(struct rf_vulkan_device) */
    uint32_t api_version; /* VkApplicationInfo.apiVersion of the instance, 1.3 or newer */
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    /* As the application gave it to vkCreateDevice: extensions, features (pNext and pEnabledFeatures), queues. Tiers
     * are taken from what it names and nothing else. */
    const VkDeviceCreateInfo *device_info;
    uint32_t queue_family; /* one that computes, among device_info's queues */
    uint32_t queue_index;  /* in the family; read when `queue` is NULL */
    VkQueue queue;         /* NULL: vkGetDeviceQueue */
    /* Both or none. None: nobody but this context ever uses the queue. The application holds the same lock when it uses
     * it, and calls nothing of refusion while it does. Two contexts on one queue take the same callbacks. */
    rf_queue_fn lock_queue, unlock_queue;
    void *queue_user;
    bool debug_utils; /* the instance has VK_EXT_debug_utils enabled, for rf_context_desc.debug_labels */
};

/* A context on that device. `desc` may be NULL; of its members `device`, `validation` and `priority` are the
 * application's to decide: `device` and `validation` are refused, `priority` is passed over with a line of log. The
 * environment's RF_DEVICE is not read. RF_ERROR_ARGUMENT for handles that are missing, RF_ERROR_NO_DEVICE with the
 * names of extensions and features that were not enabled. Everything else of refusion.h works as ever.
 * rf_context_destroy leaves the device as it was. Thread-safe.
 *
 *     struct rf_vulkan_device ours = {.size = sizeof ours,
 *                                     .api_version = VK_API_VERSION_1_3,
 *                                     .get_instance_proc_addr = get_instance_proc_addr,
 *                                     .instance = instance,
 *                                     .physical_device = physical_device,
 *                                     .device = device,
 *                                     .device_info = device_info,
 *                                     .lock_queue = lock_queue,
 *                                     .unlock_queue = unlock_queue};
 *     struct rf_context_desc desc = {.size = sizeof desc, .memory_limit = 2ull << 30, .duty = 50};
 *     return rf_context_adopt(&context, &ours, &desc, &err);
 */
RF_API enum rf_status rf_context_adopt(rf_context **out, const struct rf_vulkan_device *vulkan,
                                       const struct rf_context_desc *desc, struct rf_error *err);

#ifdef __cplusplus
}
#endif
#endif
