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
    out->probes = calloc(out->count, sizeof *out->probes);
    if (!out->probes)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u devices", out->count);
    for (uint32_t i = 0; !status && i < out->count; ++i) {
        rf_probe_device(&out->probes[i], instance, physical[i], i, mask);
        if (out->probes[i].no_memory)
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory asking what device %u has", i);
    }
    free(physical);
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
    if (!status && !(*infos = calloc(list.count, sizeof **infos)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u devices", list.count);
    for (uint32_t i = 0; !status && i < list.count; ++i)
        (*infos)[i] = list.probes[i].info;
    if (!status)
        *count = list.count;
    free(list.probes);
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
    free(list.probes);
    rf_instance_destroy(&instance);
    return status;
}

/* ---- Creation --------------------------------------------------------------------------------------- */

enum { MAX_DEVICE_EXTENSIONS = 13, DEFAULT_SUBMISSION_MS = 100 };

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

/* What is asked for at vkCreateDevice: structures that point to each other, so it does not move. */
struct device_features {
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable;
    VkPhysicalDevicePerformanceQueryFeaturesKHR counters;
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

static void ask_features(struct device_features *out, const struct rf_probe *probe, bool capture)
{
    const struct rf_gpu_caps *caps = &probe->caps;
    const bool workgroup_matrices = caps->coopmat2_matmul && caps->coopmat2_units;
    out->v13 =
        (VkPhysicalDeviceVulkan13Features){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                                           .synchronization2 = VK_TRUE,
                                           .maintenance4 = VK_TRUE,
                                           .subgroupSizeControl = caps->subgroup_size_control,
                                           .computeFullSubgroups = caps->full_subgroups,
                                           .shaderIntegerDotProduct = caps->dot_product};
    out->v12 = (VkPhysicalDeviceVulkan12Features){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &out->v13,
        .bufferDeviceAddress = VK_TRUE,
        .scalarBlockLayout = VK_TRUE,
        .timelineSemaphore = VK_TRUE,
        .shaderFloat16 = caps->fp16,
        .shaderSubgroupExtendedTypes = caps->fp16 && probe->subgroup_extended_types,
        .vulkanMemoryModel = caps->coopmat,
        .vulkanMemoryModelDeviceScope = caps->coopmat};
    out->v11 =
        (VkPhysicalDeviceVulkan11Features){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                           .pNext = &out->v12,
                                           .storageBuffer16BitAccess = caps->fp16};
    out->features = (VkPhysicalDeviceFeatures2){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                                .pNext = &out->v11,
                                                .features.shaderInt64 = caps->wide_attention || caps->spread};
#ifdef VK_KHR_cooperative_matrix
    out->coopmat = (VkPhysicalDeviceCooperativeMatrixFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .cooperativeMatrix = VK_TRUE};
    if (caps->coopmat)
        out->v13.pNext = &out->coopmat;
#endif
#ifdef VK_NV_cooperative_matrix2
    out->coopmat2 = (VkPhysicalDeviceCooperativeMatrix2FeaturesNV){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV,
        .cooperativeMatrixReductions = VK_TRUE,
        .cooperativeMatrixConversions = VK_TRUE,
        .cooperativeMatrixPerElementOperations = VK_TRUE,
        .cooperativeMatrixWorkgroupScope = workgroup_matrices,
        .cooperativeMatrixFlexibleDimensions = workgroup_matrices,
        .cooperativeMatrixTensorAddressing = workgroup_matrices,
        .cooperativeMatrixBlockLoads = workgroup_matrices};
    if (caps->coopmat2)
        out->coopmat.pNext = &out->coopmat2;
#endif
    out->executable = (VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = out->v13.pNext,
        .pipelineExecutableInfo = VK_TRUE};
    if (capture && caps->pipeline_properties)
        out->v13.pNext = &out->executable;
}

static void ask_for_counters(struct device_features *out, const struct rf_gpu *gpu)
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
static void ask_for_labels(struct device_features *out, struct rf_gpu *gpu)
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

static uint32_t ask_extensions(const char *names[MAX_DEVICE_EXTENSIONS], const struct rf_gpu *gpu)
{
    const struct rf_probe *probe = &gpu->probe;
    uint32_t count = 0;
#ifdef VK_KHR_cooperative_matrix
    if (probe->caps.coopmat)
        names[count++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
#endif
#ifdef VK_NV_cooperative_matrix2
    if (probe->caps.coopmat2)
        names[count++] = VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME;
#endif
    if (probe->portability_subset)
        names[count++] = "VK_KHR_portability_subset";
    if (probe->caps.memory_budget)
        names[count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
#ifdef VK_EXT_device_fault
    if (probe->device_fault)
        names[count++] = VK_EXT_DEVICE_FAULT_EXTENSION_NAME;
#endif
#ifdef VK_EXT_frame_boundary
    if (probe->frame_boundary)
        names[count++] = VK_EXT_FRAME_BOUNDARY_EXTENSION_NAME;
#endif
    if (probe->calibrated_timestamps)
        names[count++] = VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME;
    if (gpu->counters)
        names[count++] = VK_KHR_PERFORMANCE_QUERY_EXTENSION_NAME;
    if (gpu->capture && probe->caps.pipeline_properties)
        names[count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    return count;
}

static enum rf_status create_device(struct rf_gpu *gpu, struct rf_error *err)
{
    const struct rf_probe *probe = &gpu->probe;
    struct device_features features;
    const char *extensions[MAX_DEVICE_EXTENSIONS];
    const float priority = 1.0f;
    ask_features(&features, probe, rf_gpu_captures(gpu));
    ask_for_labels(&features, gpu);
    ask_for_counters(&features, gpu);
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = probe->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &features.features,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = ask_extensions(extensions, gpu),
                               .ppEnabledExtensionNames = extensions};
    VkResult result = gpu->instance.create_device(probe->physical, &info, NULL, &gpu->device);
    if (result != VK_SUCCESS) {
        enum rf_status status = rf_vk_fail(err, result, "vkCreateDevice");
        return rf_fail_within(err, status, "device %u (%s)", probe->info.index, probe->info.name);
    }
    load_device_functions(gpu);
    rf_labels_load(gpu);
    rf_counters_load(gpu);
#ifdef VK_EXT_device_fault
    if (probe->device_fault)
        gpu->faults.get_info = (PFN_vkGetDeviceFaultInfoEXT)gpu->instance.get_device_function(
            gpu->device, "vkGetDeviceFaultInfoEXT");
#endif
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
    *out = malloc(size);
    if (!*out)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory creating a device");
    memcpy(*out, text, size);
    return RF_OK;
}

static enum rf_status open_device(struct rf_gpu *gpu, const struct rf_gpu_desc *desc, struct rf_error *err)
{
    struct rf_mask mask;
    struct device_list list = {0};
    const struct rf_probe *chosen = NULL;
    enum rf_status status = rf_mask_parse(&mask, desc->disable, err);
    if (status)
        return status;
    gpu->masked = mask.bits;
    if ((status = open_instance(&gpu->instance, &mask, desc->validation, gpu->labels.wanted, &gpu->sink,
                                err)) != RF_OK)
        return status;
    status = list_devices(&list, &gpu->instance, &mask, err);
    if (!status)
        status = rf_choose_device(list.probes, list.count, desc->device, &chosen, err);
    if (!status)
        gpu->probe = *chosen;
    free(list.probes);
    if (!status && desc->counters)
        status = rf_counters_choose(gpu, desc->counters, err);
    if (!status)
        status = create_device(gpu, err);
    return status;
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
    struct rf_gpu *gpu = calloc(1, sizeof *gpu);
    if (!gpu)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory creating a device");
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
    if (gpu->device) {
        rf_submit_destroy(gpu);
        rf_transfer_destroy(gpu);
        rf_memory_destroy(gpu);
        rf_kernels_destroy(gpu);
        rf_pipeline_cache_close(gpu);
        gpu->vk.vkDestroyPipelineLayout(gpu->device, gpu->layout, NULL);
        gpu->vk.vkDestroyDevice(gpu->device, NULL);
    }
    rf_counters_free(gpu);
    rf_instance_destroy(&gpu->instance);
    pthread_mutex_destroy(&gpu->arena_mutex);
    pthread_mutex_destroy(&gpu->transfer_mutex);
    pthread_mutex_destroy(&gpu->kernel_mutex);
    pthread_mutex_destroy(&gpu->queue_mutex);
    free(gpu->cache_dir);
    free(gpu->shader_dir);
    free(gpu);
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
