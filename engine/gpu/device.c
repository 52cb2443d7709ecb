#include "engine/allocate.h"
#include "engine/gpu/adopt.h"
#include "engine/gpu/internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* All devices of an instance, seen through a mask. */
struct device_list {
    struct rf_probe *probes;
    uint32_t count;
};

static enum rf_status list_devices(struct device_list *out, const struct rf_instance *instance,
                                   const struct rf_mask *mask, struct rf_error *err)
{
    VkPhysicalDevice *physical;
    *out = (struct device_list){0};
    enum rf_status status = rf_instance_devices(instance, &physical, &out->count, err);
    if (status)
        return status;
    out->probes = rf_calloc(out->count, sizeof *out->probes);
    if (!out->probes)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u devices", out->count);
    for (uint32_t i = 0; !status && i < out->count; ++i) {
        rf_probe_device(&out->probes[i], instance, physical[i], i, mask);
        if (out->probes[i].no_memory)
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory asking what device %u has", i);
    }
    rf_free(physical);
    return status;
}

static enum rf_status open_instance(struct rf_instance *instance, const struct rf_mask *mask, bool validation,
                                    bool labels, struct rf_log_sink *sink, struct rf_error *err)
{
    *instance = (struct rf_instance){0};
    if (rf_masked(mask, RF_CAP_LOADER))
        return rf_fail(err, RF_ERROR_NO_DEVICE,
                       "no Vulkan loader (libvulkan.so.1): masked by disable=loader");
    return rf_instance_create(instance, validation, labels, sink, err);
}

/* For looking only, without a device. *instance is to be destroyed and the list's probes freed, failed or not. */
static enum rf_status look_at_devices(struct device_list *list, struct rf_instance *instance,
                                      const char *disable, struct rf_error *err)
{
    struct rf_mask mask;
    *list = (struct device_list){0};
    *instance = (struct rf_instance){0};
    enum rf_status status = rf_mask_parse(&mask, disable, err);
    if (!status)
        status = open_instance(instance, &mask, false, false, NULL, err);
    return status ? status : list_devices(list, instance, &mask, err);
}

enum rf_status rf_gpu_list(struct rf_device_info **infos, size_t *count, const char *disable,
                           struct rf_error *err)
{
    struct rf_instance instance;
    struct device_list list;
    *infos = NULL;
    *count = 0;
    enum rf_status status = look_at_devices(&list, &instance, disable, err);
    if (!status && !(*infos = rf_calloc(list.count, sizeof **infos)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u devices", list.count);
    for (uint32_t i = 0; !status && i < list.count; ++i)
        (*infos)[i] = list.probes[i].info;
    if (!status)
        *count = list.count;
    rf_free(list.probes);
    rf_instance_destroy(&instance);
    return status;
}

/* ---- Choice ----------------------------------------------------------------------------------------- */

static bool contains_text(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; *text; ++text)
        if (strncasecmp(text, part, length) == 0)
            return true;
    return false;
}

static int type_rank(const struct rf_probe *probe)
{
    switch (probe->properties.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return 1;
    default:
        return 0;
    }
}

/* Usable before unusable, then by type; earlier devices win ties. `part` NULL: any name. */
static const struct rf_probe *best_device(const struct rf_probe *probes, uint32_t count, const char *part)
{
    const struct rf_probe *best = NULL;
    int best_rank = -1;
    for (uint32_t i = 0; i < count; ++i) {
        const struct rf_probe *probe = &probes[i];
        if (part && !contains_text(probe->info.name, part))
            continue;
        int rank = type_rank(probe) + (probe->info.missing[0] ? 0 : 8);
        if (rank > best_rank) {
            best = probe;
            best_rank = rank;
        }
    }
    return best;
}

static enum rf_status fail_with_list(const struct rf_probe *probes, uint32_t count, const char *wanted,
                                     struct rf_error *err)
{
    char names[700] = "";
    for (uint32_t i = 0; i < count; ++i) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%u: %s", i ? ", " : "", i, probes[i].info.name);
    }
    return rf_fail(err, RF_ERROR_NO_DEVICE,
                   "device \"%.128s\": there is none of this index or name; there are %s", wanted, names);
}

enum rf_status rf_choose_device(const struct rf_probe *probes, uint32_t count, const char *wanted,
                                const struct rf_probe **out, struct rf_error *err)
{
    const struct rf_probe *probe = NULL;
    if (wanted && !wanted[0])
        wanted = NULL;
    if (wanted && wanted[strspn(wanted, "0123456789")] == '\0') {
        unsigned long index = strtoul(wanted, NULL, 10);
        probe = index < count ? &probes[index] : NULL;
    }
    if (!probe) /* "4090" is no index, but may be a part of a name */
        probe = best_device(probes, count, wanted);
    if (!probe)
        return fail_with_list(probes, count, wanted, err);
    if (probe->info.missing[0])
        return rf_fail(err, RF_ERROR_NO_DEVICE, "device %u (%s) cannot be used: it lacks %s",
                       probe->info.index, probe->info.name, probe->info.missing);
    *out = probe;
    return RF_OK;
}

enum rf_status rf_gpu_list_counters(struct rf_counter_list *out, const char *device, const char *disable,
                                    struct rf_error *err)
{
    struct rf_instance instance;
    struct device_list list;
    const struct rf_probe *chosen;
    *out = (struct rf_counter_list){0};
    enum rf_status status = look_at_devices(&list, &instance, disable, err);
    if (!status)
        status = rf_choose_device(list.probes, list.count, device, &chosen, err);
    if (!status)
        status = rf_counters_list(out, &instance, chosen, err);
    rf_free(list.probes);
    rf_instance_destroy(&instance);
    return status;
}

/* ---- Creation --------------------------------------------------------------------------------------- */

enum { DEFAULT_SUBMISSION_MS = 100 };

static void load_device_functions(struct rf_gpu *gpu)
{
#define LOAD(name) gpu->vk.name = (PFN_##name)gpu->instance.get_device_function(gpu->device, #name);
    RF_DEVICE_FUNCTIONS(LOAD)
#undef LOAD
    if (gpu->probe.calibrated_timestamps)
        gpu->read_clocks = (PFN_vkGetCalibratedTimestampsEXT)gpu->instance.get_device_function(
            gpu->device, "vkGetCalibratedTimestampsEXT");
    if (!gpu->capture || !gpu->probe.caps.pipeline_properties)
        return;
    gpu->executables.properties = (PFN_vkGetPipelineExecutablePropertiesKHR)gpu->instance.get_device_function(
        gpu->device, "vkGetPipelineExecutablePropertiesKHR");
    gpu->executables.statistics = (PFN_vkGetPipelineExecutableStatisticsKHR)gpu->instance.get_device_function(
        gpu->device, "vkGetPipelineExecutableStatisticsKHR");
    gpu->executables.representations =
        (PFN_vkGetPipelineExecutableInternalRepresentationsKHR)gpu->instance.get_device_function(
            gpu->device, "vkGetPipelineExecutableInternalRepresentationsKHR");
}

static void ask_for_counters(struct rf_features *out, const struct rf_gpu *gpu)
{
    if (!gpu->counters)
        return;
    out->counters = (VkPhysicalDevicePerformanceQueryFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR,
        .pNext = out->features.pNext,
        .performanceCounterQueryPools = VK_TRUE};
    out->features.pNext = &out->counters;
    out->v12.hostQueryReset = VK_TRUE;
}

/* Only with labels: frames for tools, and what the driver says of a loss. */
static void ask_for_labels(struct rf_features *out, struct rf_gpu *gpu)
{
    gpu->probe.device_fault = gpu->probe.device_fault && gpu->labels.wanted;
#ifdef VK_EXT_device_fault
    out->fault =
        (VkPhysicalDeviceFaultFeaturesEXT){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT,
                                           .pNext = out->features.pNext,
                                           .deviceFault = VK_TRUE};
    if (gpu->probe.device_fault)
        out->features.pNext = &out->fault;
#endif
#ifdef VK_EXT_frame_boundary
    gpu->probe.frame_boundary = gpu->probe.frame_boundary && gpu->labels.wanted;
    out->frame_boundary = (VkPhysicalDeviceFrameBoundaryFeaturesEXT){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FRAME_BOUNDARY_FEATURES_EXT,
        .pNext = out->features.pNext,
        .frameBoundary = VK_TRUE};
    if (gpu->probe.frame_boundary)
        out->features.pNext = &out->frame_boundary;
#else
    gpu->probe.frame_boundary = false;
#endif
}

static uint32_t ask_extensions(const char *names[RF_DEVICE_EXTENSIONS], const struct rf_gpu *gpu,
                               bool low_priority)
{
    const struct rf_probe *probe = &gpu->probe;
    uint32_t required, count = rf_extensions_ask(names, &required, probe);
#ifdef VK_EXT_device_fault
    if (probe->device_fault)
        names[count++] = VK_EXT_DEVICE_FAULT_EXTENSION_NAME;
#endif
#ifdef VK_EXT_frame_boundary
    if (probe->frame_boundary)
        names[count++] = VK_EXT_FRAME_BOUNDARY_EXTENSION_NAME;
#endif
    if (gpu->counters)
        names[count++] = VK_KHR_PERFORMANCE_QUERY_EXTENSION_NAME;
    if (gpu->capture && probe->caps.pipeline_properties)
        names[count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    if (low_priority)
        names[count++] = VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME;
    return count;
}

static VkResult call_create_device(struct rf_gpu *gpu, struct rf_features *features, bool low_priority)
{
    const char *extensions[RF_DEVICE_EXTENSIONS];
    const float priority = 1.0f;
    VkDeviceQueueGlobalPriorityCreateInfoKHR global = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_GLOBAL_PRIORITY_CREATE_INFO_KHR,
        .globalPriority = VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR};
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .pNext = low_priority ? &global : NULL,
                                     .queueFamilyIndex = gpu->probe.family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    features->priority = (VkPhysicalDeviceGlobalPriorityQueryFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GLOBAL_PRIORITY_QUERY_FEATURES_KHR,
        .pNext = &features->features,
        .globalPriorityQuery = VK_TRUE};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = low_priority ? (void *)&features->priority : &features->features,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = ask_extensions(extensions, gpu, low_priority),
                               .ppEnabledExtensionNames = extensions};
    VkResult result = gpu->instance.create_device(gpu->probe.physical, &info, NULL, &gpu->device);
    if (result != VK_SUCCESS)
        gpu->device = VK_NULL_HANDLE;
    return result;
}

/* A priority is a wish: a device without it is better than none. */
static VkResult create_with_priority(struct rf_gpu *gpu, struct rf_features *features,
                                     enum rf_priority wanted)
{
    bool low = wanted == RF_PRIORITY_LOW;
    if (low && !gpu->probe.info.has_low_priority) {
        rf_gpu_log(gpu, RF_LOG_INFO,
                   "low priority: device %u (%s) offers no queues of it (VK_KHR_global_priority); "
                   "the default is taken",
                   gpu->probe.info.index, gpu->probe.info.name);
        low = false;
    }
    VkResult result = call_create_device(gpu, features, low);
    if (!low || result != VK_ERROR_NOT_PERMITTED)
        return result;
    rf_gpu_log(gpu, RF_LOG_INFO,
               "low priority: the driver of device %u (%s) does not permit it to this process; the "
               "default is taken",
               gpu->probe.info.index, gpu->probe.info.name);
    return call_create_device(gpu, features, false);
}

static void load_functions(struct rf_gpu *gpu)
{
    load_device_functions(gpu);
    rf_labels_load(gpu);
    rf_counters_load(gpu);
#ifdef VK_EXT_device_fault
    if (gpu->probe.device_fault)
        gpu->faults.get_info = (PFN_vkGetDeviceFaultInfoEXT)gpu->instance.get_device_function(
            gpu->device, "vkGetDeviceFaultInfoEXT");
#endif
}

static enum rf_status create_device(struct rf_gpu *gpu, enum rf_priority priority, struct rf_error *err)
{
    const struct rf_probe *probe = &gpu->probe;
    struct rf_features features;
    rf_features_ask(&features, probe, rf_gpu_captures(gpu));
    ask_for_labels(&features, gpu);
    ask_for_counters(&features, gpu);
    VkResult result = create_with_priority(gpu, &features, priority);
    if (result != VK_SUCCESS) {
        enum rf_status status = rf_vk_fail(err, result, "vkCreateDevice");
        return rf_fail_within(err, status, "device %u (%s)", probe->info.index, probe->info.name);
    }
    load_functions(gpu);
    gpu->vk.vkGetDeviceQueue(gpu->device, probe->family, 0, &gpu->queue);
    return RF_OK;
}

static enum rf_status create_layout(struct rf_gpu *gpu, struct rf_error *err)
{
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, RF_PUSH_BYTES};
    VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                       .pushConstantRangeCount = 1,
                                       .pPushConstantRanges = &range};
    VkResult result = gpu->vk.vkCreatePipelineLayout(gpu->device, &info, NULL, &gpu->layout);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkCreatePipelineLayout");
}

/* An empty text is none. */
static enum rf_status copy_text(char **out, const char *text, struct rf_error *err)
{
    *out = NULL;
    if (!text || !text[0])
        return RF_OK;
    size_t size = strlen(text) + 1;
    *out = rf_malloc(size);
    if (!*out)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory creating a device");
    memcpy(*out, text, size);
    return RF_OK;
}

static enum rf_status open_own(struct rf_gpu *gpu, const struct rf_gpu_desc *desc, const struct rf_mask *mask,
                               struct rf_error *err)
{
    struct device_list list = {0};
    const struct rf_probe *chosen = NULL;
    enum rf_status status =
        open_instance(&gpu->instance, mask, desc->validation, gpu->labels.wanted, &gpu->sink, err);
    if (status)
        return status;
    status = list_devices(&list, &gpu->instance, mask, err);
    if (!status)
        status = rf_choose_device(list.probes, list.count, desc->device, &chosen, err);
    if (!status)
        gpu->probe = *chosen;
    rf_free(list.probes);
    if (!status && desc->counters)
        status = rf_counters_choose(gpu, desc->counters, err);
    if (!status)
        status = create_device(gpu, desc->priority, err);
    return status;
}

static enum rf_status open_adopted(struct rf_gpu *gpu, const struct rf_gpu_desc *desc,
                                   const struct rf_mask *mask, struct rf_error *err)
{
    enum rf_status status = rf_adopt_open(gpu, desc, mask, err);
    if (!status && desc->counters)
        status = rf_counters_choose(gpu, desc->counters, err);
    if (status)
        return status;
    gpu->adopted = true;
    gpu->device = desc->adopt->device;
    gpu->queue = desc->adopt->queue;
    load_functions(gpu);
    if (!gpu->queue)
        gpu->vk.vkGetDeviceQueue(gpu->device, gpu->probe.family, desc->adopt->queue_index, &gpu->queue);
    if (desc->priority != RF_PRIORITY_DEFAULT)
        rf_gpu_log(gpu, RF_LOG_INFO,
                   "low priority: the queue is the application's, and keeps the priority that it has");
    return RF_OK;
}

static enum rf_status open_device(struct rf_gpu *gpu, const struct rf_gpu_desc *desc, struct rf_error *err)
{
    struct rf_mask mask;
    enum rf_status status = rf_mask_parse(&mask, desc->disable, err);
    if (status)
        return status;
    gpu->masked = mask.bits;
    return desc->adopt ? open_adopted(gpu, desc, &mask, err) : open_own(gpu, desc, &mask, err);
}

/* A CPU driver has no watchdog, and no desktop waits for its queue. */
static double submission_limit(uint32_t ms, bool cpu)
{
    if (ms == UINT32_MAX || (ms == 0 && cpu))
        return INFINITY;
    return 1e-3 * (ms ? ms : DEFAULT_SUBMISSION_MS);
}

enum rf_status rf_gpu_create(struct rf_gpu **out, const struct rf_gpu_desc *desc, struct rf_error *err)
{
    *out = NULL;
    struct rf_gpu *gpu = rf_calloc(1, sizeof *gpu);
    if (!gpu)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory creating a device");
    gpu->allocator = rf_allocator_current();
    gpu->sink.log = desc->log;
    gpu->sink.user = desc->log_user;
    gpu->debug_checks = desc->debug_checks && !desc->capture;
    gpu->capture = desc->capture;
    gpu->shaders = desc->shaders;
    gpu->shader_count = desc->shader_count;
    gpu->labels.wanted = desc->debug_labels || desc->capture_step;
    gpu->labels.capture_frame = desc->capture_step;
    gpu->memory_limit = desc->memory_limit ? desc->memory_limit : UINT64_MAX;
    pthread_mutex_init(&gpu->arena_mutex, NULL);
    pthread_mutex_init(&gpu->transfer_mutex, NULL);
    pthread_mutex_init(&gpu->kernel_mutex, NULL);
    pthread_mutex_init(&gpu->queue_mutex, NULL);
    pthread_mutex_init(&gpu->rest.mutex, NULL);
    gpu->rest.per_second = desc->duty ? 100.0 / desc->duty - 1.0 : 0.0;

    enum rf_status status = copy_text(&gpu->cache_dir, desc->cache_dir, err);
    if (!status)
        status = copy_text(&gpu->shader_dir, desc->shader_dir, err);
    if (!status)
        status = open_device(gpu, desc, err);
    gpu->submission_limit = submission_limit(desc->submission_ms, gpu->probe.caps.cpu);
    if (!status)
        status = create_layout(gpu, err);
    if (!status && !gpu->capture)
        status = rf_submit_init(gpu, err);
    if (!status && !gpu->capture)
        status = rf_pipeline_cache_open(gpu, err);
    if (!status && gpu->debug_checks)
        status = rf_transfer_init(gpu, err);
    if (status) {
        rf_gpu_destroy(gpu);
        return status;
    }
    rf_gpu_log(gpu, RF_LOG_INFO, "device %u: %s (%s), %s", gpu->probe.info.index, gpu->probe.info.name,
               gpu->probe.info.driver, gpu->probe.info.tiers);
    *out = gpu;
    return RF_OK;
}

void rf_gpu_destroy(struct rf_gpu *gpu)
{
    if (!gpu)
        return;
    RF_ALLOCATE_FROM(gpu->allocator); /* writing the pipeline cache */
    if (gpu->device) {
        rf_submit_destroy(gpu);
        rf_transfer_destroy(gpu);
        rf_memory_destroy(gpu);
        rf_kernels_destroy(gpu);
        rf_pipeline_cache_close(gpu);
        gpu->vk.vkDestroyPipelineLayout(gpu->device, gpu->layout, NULL);
        if (!gpu->adopted)
            gpu->vk.vkDestroyDevice(gpu->device, NULL);
    }
    rf_counters_free(gpu);
    rf_instance_destroy(&gpu->instance);
    pthread_mutex_destroy(&gpu->arena_mutex);
    pthread_mutex_destroy(&gpu->transfer_mutex);
    pthread_mutex_destroy(&gpu->kernel_mutex);
    pthread_mutex_destroy(&gpu->queue_mutex);
    pthread_mutex_destroy(&gpu->rest.mutex);
    rf_free(gpu->cache_dir);
    rf_free(gpu->shader_dir);
    rf_free(gpu);
}

struct rf_allocator rf_gpu_allocator(const struct rf_gpu *gpu)
{
    return gpu->allocator;
}

bool rf_gpu_captures(const struct rf_gpu *gpu)
{
    return gpu->capture != RF_CAPTURE_NOTHING;
}

const struct rf_gpu_caps *rf_gpu_get_caps(const struct rf_gpu *gpu)
{
    return &gpu->probe.caps;
}

void rf_gpu_get_info(const struct rf_gpu *gpu, struct rf_device_info *info)
{
    *info = gpu->probe.info;
}

uint64_t rf_gpu_complaints(const struct rf_gpu *gpu)
{
    return atomic_load(&gpu->sink.complaints);
}

void rf_gpu_log(const struct rf_gpu *gpu, enum rf_log_level level, const char *format, ...)
{
    if (!gpu->sink.log)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    rf_sink_log(&gpu->sink, level, "%s", line);
}
