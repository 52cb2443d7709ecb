#include "engine/gpu/adopt.h"


#include "engine/allocate.h"
#include "engine/gpu/internal.h"

/* ---- What to enable --------------------------------------------------------------------------------- */

/* One allocation; the features point into it. */
struct needs {
    struct rf_vulkan_needs shown;
    struct rf_features all, required;
    const char *extensions[RF_DEVICE_EXTENSIONS];
};

static VkBaseOutStructure *chain_end(VkPhysicalDeviceFeatures2 *features)
{
    VkBaseOutStructure *end = (VkBaseOutStructure *)(void *)features;
    while (end->pNext)
        end = end->pNext;
    return end;
}

/* Its number among the instance's devices, for messages. */
static uint32_t index_of(const struct rf_instance *instance, VkPhysicalDevice physical)
{
    VkPhysicalDevice *all;
    uint32_t count, index = 0;
    if (rf_instance_devices(instance, &all, &count, NULL) != RF_OK)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        index = all[i] == physical ? i : index;
    rf_free(all);
    return index;
}

enum rf_status rf_adopt_needs(struct rf_vulkan_needs **out, const struct rf_vulkan_query *query,
                              struct rf_error *err)
{
    struct rf_instance instance;
    struct rf_mask mask;
    struct rf_probe probe;
    const char *absent = !query->get_instance_proc_addr ? "get_instance_proc_addr"
                         : !query->instance             ? "instance"
                         : !query->physical_device      ? "physical_device"
                                                        : NULL;
    if (absent)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_vulkan_query.%s: found NULL, wanted the application's",
                       absent);
    enum rf_status status = rf_mask_parse(&mask, query->disable, err);
    if (status)
        return status;
    rf_instance_adopt(&instance, query->instance, query->get_instance_proc_addr, false);
    rf_probe_device(&probe, &instance, query->physical_device, index_of(&instance, query->physical_device),
                    &mask);
    if (probe.no_memory)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory asking what device %u has",
                       probe.info.index);
    if (probe.info.missing[0])
        return rf_fail(err, RF_ERROR_NO_DEVICE, "device %u (%s) cannot be used: it lacks %s",
                       probe.info.index, probe.info.name, probe.info.missing);
    struct needs *needs = rf_calloc(1, sizeof *needs);
    if (!needs)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for what a device needs");
    rf_features_ask(&needs->all, &probe, false);
    rf_features_ask_required(&needs->required);
    struct rf_vulkan_needs *shown = &needs->shown;
    *shown = (struct rf_vulkan_needs){.api_version = VK_API_VERSION_1_3,
                                      .queue_family = probe.family,
                                      .extensions = needs->extensions,
                                      .features = &needs->all.features,
                                      .features_end = chain_end(&needs->all.features),
                                      .required_features = &needs->required.features,
                                      .required_features_end = chain_end(&needs->required.features),
                                      .info = probe.info};
    shown->extension_count = rf_extensions_ask(needs->extensions, &shown->required_extension_count, &probe);
    *out = shown;
    return RF_OK;
}

/* ---- What was handed over --------------------------------------------------------------------------- */

static enum rf_status check_handles(const struct rf_vulkan_device *vulkan, struct rf_error *err)
{
    const char *absent = !vulkan->get_instance_proc_addr ? "get_instance_proc_addr"
                         : !vulkan->instance             ? "instance"
                         : !vulkan->physical_device      ? "physical_device"
                         : !vulkan->device               ? "device"
                         : !vulkan->device_info          ? "device_info"
                                                         : NULL;
    if (absent)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_vulkan_device.%s: found NULL, wanted the application's",
                       absent);
    if (!vulkan->lock_queue != !vulkan->unlock_queue)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_vulkan_device.%s: found NULL, wanted both callbacks, or none",
                       vulkan->lock_queue ? "unlock_queue" : "lock_queue");
    if (vulkan->api_version < VK_API_VERSION_1_3)
        return rf_fail(err, RF_ERROR_NO_DEVICE,
                       "rf_vulkan_device.api_version: found %u.%u, wanted an instance made for 1.3 "
                       "or newer (VkApplicationInfo.apiVersion)",
                       VK_API_VERSION_MAJOR(vulkan->api_version), VK_API_VERSION_MINOR(vulkan->api_version));
    return RF_OK;
}

/* Is the queue one that the device was made with? */
static enum rf_status check_queue(const struct rf_vulkan_device *vulkan, struct rf_error *err)
{
    const VkDeviceCreateInfo *info = vulkan->device_info;
    uint32_t count = 0;
    bool flags = false;
    for (uint32_t i = 0; i < info->queueCreateInfoCount; i++) {
        const VkDeviceQueueCreateInfo *queues = &info->pQueueCreateInfos[i];
        if (queues->queueFamilyIndex != vulkan->queue_family)
            continue;
        count += queues->queueCount;
        flags = flags || queues->flags;
    }
    if (!count)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_vulkan_device.queue_family: found %u, of which device_info has no "
                       "queues",
                       vulkan->queue_family);
    if (!vulkan->queue && vulkan->queue_index >= count)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_vulkan_device.queue_index: found %u, device_info has %u queues of family "
                       "%u",
                       vulkan->queue_index, count, vulkan->queue_family);
    if (!vulkan->queue && flags)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_vulkan_device.queue: found NULL, wanted the queue itself: those of family "
                       "%u were made with flags",
                       vulkan->queue_family);
    return RF_OK;
}

/* The queue's family is among the device's, and computes. */
static enum rf_status check_family(const struct rf_instance *instance, const struct rf_vulkan_device *vulkan,
                                   struct rf_error *err)
{
    uint32_t count = 0;
    instance->get_families(vulkan->physical_device, &count, NULL);
    VkQueueFamilyProperties *families = rf_calloc(count + 1, sizeof *families);
    if (!families)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %u queue families", count);
    instance->get_families(vulkan->physical_device, &count, families);
    const bool known = vulkan->queue_family < count;
    const bool computes = known && (families[vulkan->queue_family].queueFlags & VK_QUEUE_COMPUTE_BIT);
    rf_free(families);
    if (!known)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_vulkan_device.queue_family: found %u, the device has %u",
                       vulkan->queue_family, count);
    return computes ? RF_OK
                    : rf_fail(err, RF_ERROR_ARGUMENT,
                              "rf_vulkan_device.queue_family: found %u, which does not compute "
                              "(VK_QUEUE_COMPUTE_BIT)",
                              vulkan->queue_family);
}

/* gpu->probe: what was enabled. A device that could not be used in any case is told apart from one that was made
 * without what it has. */
static enum rf_status probe_adopted(struct rf_gpu *gpu, const struct rf_vulkan_device *vulkan,
                                    const struct rf_mask *mask, struct rf_error *err)
{
    struct rf_probe *probe = &gpu->probe;
    struct rf_enabled enabled;
    const uint32_t index = index_of(&gpu->instance, vulkan->physical_device);
    rf_probe_device(probe, &gpu->instance, vulkan->physical_device, index, mask);
    if (probe->no_memory)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory asking what device %u has", index);
    if (probe->info.missing[0])
        return rf_fail(err, RF_ERROR_NO_DEVICE, "device %u (%s) cannot be used: it lacks %s", index,
                       probe->info.name, probe->info.missing);
    const bool portability = probe->portability_subset;
    rf_enabled_read(&enabled, vulkan->device_info);
    rf_probe_enabled(probe, &gpu->instance, vulkan->physical_device, index, mask, &enabled,
                     vulkan->queue_family);
    if (probe->info.missing[0] || portability != probe->portability_subset)
        return rf_fail(err, RF_ERROR_NO_DEVICE, "device %u (%s) was made without %s%s%s: see rf_vulkan_needs",
                       index, probe->info.name, probe->info.missing,
                       probe->info.missing[0] && portability != probe->portability_subset ? ", " : "",
                       portability != probe->portability_subset ? "VK_KHR_portability_subset" : "");
    return RF_OK;
}

enum rf_status rf_adopt_open(struct rf_gpu *gpu, const struct rf_gpu_desc *desc, const struct rf_mask *mask,
                             struct rf_error *err)
{
    const struct rf_vulkan_device *vulkan = desc->adopt;
    enum rf_status status = check_handles(vulkan, err);
    if (!status)
        status = check_queue(vulkan, err);
    if (status)
        return status;
    rf_instance_adopt(&gpu->instance, vulkan->instance, vulkan->get_instance_proc_addr, vulkan->debug_utils);
    status = check_family(&gpu->instance, vulkan, err);
    if (!status)
        status = probe_adopted(gpu, vulkan, mask, err);
    gpu->queue_lock.lock = vulkan->lock_queue;
    gpu->queue_lock.unlock = vulkan->unlock_queue;
    gpu->queue_lock.user = vulkan->queue_user;
    return status;
}
