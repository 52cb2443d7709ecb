#include "engine/gpu/caps.h"

#include "engine/allocate.h"
#include "engine/gpu/features.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* On two cores, see SPEED.md. */
#define LLVMPIPE_TIMESTAMP_SECONDS 40e-6

static const char *const capability_names[RF_CAP_COUNT] = {
    [RF_CAP_VULKAN13] = "vulkan1.3",
    [RF_CAP_COMPUTE_QUEUE] = "computeQueue",
    [RF_CAP_BUFFER_DEVICE_ADDRESS] = "bufferDeviceAddress",
    [RF_CAP_SCALAR_BLOCK_LAYOUT] = "scalarBlockLayout",
    [RF_CAP_TIMELINE_SEMAPHORE] = "timelineSemaphore",
    [RF_CAP_SYNCHRONIZATION2] = "synchronization2",
    [RF_CAP_MAINTENANCE4] = "maintenance4",
    [RF_CAP_SUBGROUP_BASIC] = "subgroupBasic",
    [RF_CAP_SUBGROUP_ARITHMETIC] = "subgroupArithmetic",
    [RF_CAP_SUBGROUP_SIZE] = "subgroupSize4To128",
    [RF_CAP_SHARED_32K] = "sharedMemory32KiB",
    [RF_CAP_INVOCATIONS_256] = "invocations256",
    [RF_CAP_PUSH_128] = "pushConstants128",
    [RF_CAP_FP16] = "fp16",
    [RF_CAP_INT8_DOT] = "int8dot",
    [RF_CAP_COOPMAT] = "coopmat",
    [RF_CAP_COOPMAT2] = "coopmat2",
    [RF_CAP_COOPMAT2_MATMUL] = "coopmat2Matmul",
    [RF_CAP_WIDE] = "wide",
    [RF_CAP_SUBGROUP_SIZE_CONTROL] = "subgroupSizeControl",
    [RF_CAP_FULL_SUBGROUPS] = "fullSubgroups",
    [RF_CAP_MEMORY_BUDGET] = "memoryBudget",
    [RF_CAP_PIPELINE_PROPERTIES] = "pipelineProperties",
    [RF_CAP_UNIFIED_MEMORY] = "unifiedMemory",
    [RF_CAP_TIMESTAMPS] = "timestamps",
    [RF_CAP_CALIBRATED_TIMESTAMPS] = "calibratedTimestamps",
    [RF_CAP_PERFORMANCE_QUERY] = "performanceQuery",
    [RF_CAP_GLOBAL_PRIORITY] = "globalPriority",
    [RF_CAP_PLAIN_MATMUL] = "plainMatmul",
    [RF_CAP_COOPMAT_ATTENTION] = "coopmatAttention",
    [RF_CAP_SPLITS] = "splits",
    [RF_CAP_WHOLE_K] = "wholeK",
    [RF_CAP_COOPMAT2_UNITS] = "coopmat2Units",
    [RF_CAP_LOADER] = "loader",
};

enum {
    SHARED_WANTED = 32 * 1024,
    INVOCATIONS_WANTED = 256,
    PUSH_WANTED = 128,
    SUBGROUP_LEAST = 4,
    SUBGROUP_MOST = 128
};

/* ", " between entries; a list that does not fit is cut. */
static void append(char *list, size_t room, const char *entry)
{
    size_t used = strlen(list);
    snprintf(list + used, room - used, "%s%s", used ? ", " : "", entry);
}

static enum rf_status unknown_name(const char *name, size_t length, struct rf_error *err)
{
    char known[768] = "";
    for (int i = 0; i < RF_CAP_COUNT; ++i)
        append(known, sizeof known, capability_names[i]);
    return rf_fail(err, RF_ERROR_ARGUMENT, "disable: \"%.*s\" is no capability; known are %s",
                   (int)(length < 64 ? length : 64), name, known);
}

enum rf_status rf_mask_parse(struct rf_mask *mask, const char *names, struct rf_error *err)
{
    mask->bits = 0;
    while (names && *names) {
        names += strspn(names, " ,\t");
        size_t length = strcspn(names, " ,\t");
        if (!length)
            break;
        int found = -1;
        for (int i = 0; i < RF_CAP_COUNT; ++i)
            if (strlen(capability_names[i]) == length && strncasecmp(names, capability_names[i], length) == 0)
                found = i;
        if (found < 0)
            return unknown_name(names, length, err);
        mask->bits |= UINT64_C(1) << found;
        names += length;
    }
    return RF_OK;
}

static_assert(RF_CAP_COUNT <= 64, "a mask has a bit for each");

bool rf_masked(const struct rf_mask *mask, enum rf_capability capability)
{
    return (mask->bits >> capability & 1) != 0;
}

struct device_chain {
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceVulkan11Properties p11;
    VkPhysicalDeviceVulkan12Properties p12;
    VkPhysicalDeviceVulkan13Properties p13;
    bool ext_coopmat, ext_coopmat2, ext_budget, ext_pipeline_properties, ext_calibrated, ext_counters;
    bool coopmat, coopmat2, coopmat2_matmul;
    bool executable_info, counter_pools;
    bool ext_nv_cores, ext_amd_cores, ext_arm_cores;
    bool monotonic_clock; /* the device's clock can be read beside it */
    bool ext_priority;
    const struct rf_enabled *enabled; /* what the device was made with; NULL: what it offers */
    uint32_t cores;
};

/* Core Vulkan does not say how large a device is; these extensions do. */
static uint32_t count_cores(const struct device_chain *chain, const struct rf_instance *instance,
                            VkPhysicalDevice physical)
{
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    if (chain->ext_nv_cores) {
        VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nv = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
        properties.pNext = &nv;
        instance->get_properties2(physical, &properties);
        return nv.shaderSMCount;
    }
    if (chain->ext_amd_cores) {
        VkPhysicalDeviceShaderCorePropertiesAMD amd = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD};
        properties.pNext = &amd;
        instance->get_properties2(physical, &properties);
        return amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
    }
#ifdef VK_ARM_shader_core_builtins
    if (chain->ext_arm_cores) {
        VkPhysicalDeviceShaderCoreBuiltinsPropertiesARM arm = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_BUILTINS_PROPERTIES_ARM};
        properties.pNext = &arm;
        instance->get_properties2(physical, &properties);
        return arm.shaderCoreCount;
    }
#endif
    return 0;
}

static bool reads_monotonic(const struct rf_instance *instance, VkPhysicalDevice physical)
{
    VkTimeDomainEXT domains[16];
    uint32_t count = sizeof domains / sizeof *domains;
    bool device = false, monotonic = false;
    if (!instance->get_time_domains || instance->get_time_domains(physical, &count, domains) < VK_SUCCESS)
        return false;
    for (uint32_t i = 0; i < count; ++i) {
        device = device || domains[i] == VK_TIME_DOMAIN_DEVICE_EXT;
        monotonic = monotonic || domains[i] == VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT;
    }
    return device && monotonic;
}

static bool supports_compute(const struct rf_instance *instance, VkPhysicalDevice physical)
{
    VkPhysicalDeviceCooperativeMatrixPropertiesKHR coopmat = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                              .pNext = &coopmat};
    instance->get_properties2(physical, &properties);
    return (coopmat.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
}

static void query_chain(struct device_chain *chain, const struct rf_instance *instance,
                        VkPhysicalDevice physical)
{
    chain->v13 =
        (VkPhysicalDeviceVulkan13Features){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
    chain->v12 = (VkPhysicalDeviceVulkan12Features){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &chain->v13};
    chain->v11 = (VkPhysicalDeviceVulkan11Features){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &chain->v12};
    chain->features = (VkPhysicalDeviceFeatures2){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                                  .pNext = &chain->v11};
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coopmat = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    if (chain->ext_coopmat)
        chain->v13.pNext = &coopmat;
#endif
#ifdef VK_NV_cooperative_matrix2
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV coopmat2 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV};
    if (chain->ext_coopmat && chain->ext_coopmat2)
        coopmat.pNext = &coopmat2;
#endif
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
    if (chain->ext_pipeline_properties) {
        executable.pNext = chain->v13.pNext;
        chain->v13.pNext = &executable;
    }
    VkPhysicalDevicePerformanceQueryFeaturesKHR counters = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR};
    if (chain->ext_counters) {
        counters.pNext = chain->v13.pNext;
        chain->v13.pNext = &counters;
    }
    instance->get_features2(physical, &chain->features);
    if (chain->enabled) {
        const struct rf_features *enabled = &chain->enabled->features;
        rf_features_and(&chain->features, &enabled->features, sizeof chain->features);
        rf_features_and(&chain->v11, &enabled->v11, sizeof chain->v11);
        rf_features_and(&chain->v12, &enabled->v12, sizeof chain->v12);
        rf_features_and(&chain->v13, &enabled->v13, sizeof chain->v13);
        rf_features_and(&counters, &enabled->counters, sizeof counters);
        rf_features_and(&executable, &enabled->executable, sizeof executable);
#ifdef VK_KHR_cooperative_matrix
        rf_features_and(&coopmat, &enabled->coopmat, sizeof coopmat);
#endif
#ifdef VK_NV_cooperative_matrix2
        rf_features_and(&coopmat2, &enabled->coopmat2, sizeof coopmat2);
#endif
    }
    chain->executable_info = executable.pipelineExecutableInfo;
    chain->counter_pools =
        counters.performanceCounterQueryPools && instance->list_counters && instance->count_passes;
    chain->v13.pNext = NULL;
#ifdef VK_KHR_cooperative_matrix
    chain->coopmat = chain->ext_coopmat && coopmat.cooperativeMatrix && supports_compute(instance, physical);
#endif
#ifdef VK_NV_cooperative_matrix2
    chain->coopmat2 = chain->coopmat && coopmat2.cooperativeMatrixReductions &&
                      coopmat2.cooperativeMatrixConversions && coopmat2.cooperativeMatrixPerElementOperations;
    chain->coopmat2_matmul = chain->coopmat2 && coopmat2.cooperativeMatrixWorkgroupScope &&
                             coopmat2.cooperativeMatrixFlexibleDimensions &&
                             coopmat2.cooperativeMatrixTensorAddressing &&
                             coopmat2.cooperativeMatrixBlockLoads;
#endif

    chain->p13 = (VkPhysicalDeviceVulkan13Properties){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    chain->p12 = (VkPhysicalDeviceVulkan12Properties){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES, .pNext = &chain->p13};
    chain->p11 = (VkPhysicalDeviceVulkan11Properties){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &chain->p12};
    chain->properties = (VkPhysicalDeviceProperties2){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                                      .pNext = &chain->p11};
    instance->get_properties2(physical, &chain->properties);
    chain->cores = count_cores(chain, instance, physical);
    chain->monotonic_clock = chain->ext_calibrated && reads_monotonic(instance, physical);
}

static void query_extensions(struct device_chain *chain, struct rf_probe *out,
                             const struct rf_instance *instance)
{
    uint32_t count = 0;
    if (instance->enumerate_extensions(out->physical, NULL, &count, NULL) != VK_SUCCESS || !count)
        return;
    VkExtensionProperties *list = rf_calloc(count, sizeof *list);
    if (!list) {
        out->no_memory = true;
        return;
    }
    if (instance->enumerate_extensions(out->physical, NULL, &count, list) < VK_SUCCESS)
        count = 0;
    for (uint32_t i = 0; i < count; ++i) {
        const char *name = list[i].extensionName;
        /* These only tell how large it is, whether enabled or not. */
        if (strcmp(name, "VK_NV_shader_sm_builtins") == 0)
            chain->ext_nv_cores = true;
        if (strcmp(name, "VK_AMD_shader_core_properties") == 0)
            chain->ext_amd_cores = true;
        if (strcmp(name, "VK_ARM_shader_core_builtins") == 0)
            chain->ext_arm_cores = true;
        if (chain->enabled && !rf_enabled_extension(chain->enabled, name))
            continue;
        if (strcmp(name, "VK_KHR_cooperative_matrix") == 0)
            chain->ext_coopmat = true;
        if (strcmp(name, "VK_NV_cooperative_matrix2") == 0)
            chain->ext_coopmat2 = true;
        if (strcmp(name, "VK_EXT_memory_budget") == 0)
            chain->ext_budget = true;
        if (strcmp(name, "VK_KHR_pipeline_executable_properties") == 0)
            chain->ext_pipeline_properties = true;
        if (strcmp(name, "VK_EXT_calibrated_timestamps") == 0)
            chain->ext_calibrated = true;
        if (strcmp(name, "VK_KHR_performance_query") == 0)
            chain->ext_counters = true;
        if (strcmp(name, "VK_KHR_global_priority") == 0)
            chain->ext_priority = true;
        if (strcmp(name, "VK_EXT_frame_boundary") == 0)
            out->frame_boundary = true;
        if (strcmp(name, "VK_EXT_device_fault") == 0)
            out->device_fault = true;
        if (strcmp(name, "VK_KHR_portability_subset") == 0)
            out->portability_subset = true;
    }
    rf_free(list);
}

/* Shared memory is laid out in words of 8 numbers, and workgroups in powers of two. */
static bool side_fits(uint32_t side)
{
    return side >= 8 && side <= 64 && (side & (side - 1)) == 0;
}

static bool shape_fits(const VkCooperativeMatrixPropertiesKHR *shape)
{
    return shape->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && shape->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           shape->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           shape->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR && shape->scope == VK_SCOPE_SUBGROUP_KHR &&
           side_fits(shape->MSize) && side_fits(shape->NSize) && side_fits(shape->KSize);
}

/* The shapes that fit, at most RF_COOPMAT_SHAPES. A device may list the extension without any. */
static void read_coopmat_shapes(struct rf_probe *out, const struct rf_instance *instance)
{
    struct rf_gpu_caps *caps = &out->caps;
    uint32_t count = 0;
    if (!instance->get_coopmat || instance->get_coopmat(out->physical, &count, NULL) != VK_SUCCESS || !count)
        return;
    VkCooperativeMatrixPropertiesKHR *list = rf_calloc(count, sizeof *list);
    if (!list) {
        out->no_memory = true;
        return;
    }
    for (uint32_t i = 0; i < count; ++i)
        list[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (instance->get_coopmat(out->physical, &count, list) < VK_SUCCESS)
        count = 0;
    for (uint32_t i = 0; i < count && caps->coopmat_shape_count < RF_COOPMAT_SHAPES; ++i)
        if (shape_fits(&list[i]))
            caps->coopmat_shapes[caps->coopmat_shape_count++] =
                (struct rf_coopmat_shape){list[i].MSize, list[i].NSize, list[i].KSize};
    rf_free(list);
}

#ifdef VK_NV_cooperative_matrix2
static bool matrix_fits(const VkCooperativeMatrixFlexibleDimensionsPropertiesNV *matrix)
{
    return matrix->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && matrix->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           matrix->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           matrix->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR && matrix->scope == VK_SCOPE_WORKGROUP_KHR &&
           !matrix->saturatingAccumulation && matrix->MGranularity && matrix->NGranularity &&
           matrix->KGranularity;
}

/* What fits, at most RF_WORKGROUP_MATRICES. */
static void read_workgroup_matrices(struct rf_probe *out, const struct rf_instance *instance)
{
    struct rf_workgroup_matrices *matrices = &out->caps.workgroup_matrices;
    VkPhysicalDeviceCooperativeMatrix2PropertiesNV limits = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                              .pNext = &limits};
    uint32_t count = 0;
    if (!instance->get_workgroup_matrices ||
        instance->get_workgroup_matrices(out->physical, &count, NULL) != VK_SUCCESS || !count)
        return;
    VkCooperativeMatrixFlexibleDimensionsPropertiesNV *list = rf_calloc(count, sizeof *list);
    if (!list) {
        out->no_memory = true;
        return;
    }
    for (uint32_t i = 0; i < count; ++i)
        list[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV;
    if (instance->get_workgroup_matrices(out->physical, &count, list) < VK_SUCCESS)
        count = 0;
    for (uint32_t i = 0; i < count && matrices->count < RF_WORKGROUP_MATRICES; ++i)
        if (matrix_fits(&list[i]))
            matrices->list[matrices->count++] =
                (struct rf_workgroup_matrix){list[i].workgroupInvocations, list[i].MGranularity,
                                             list[i].NGranularity, list[i].KGranularity};
    rf_free(list);
    instance->get_properties2(out->physical, &properties);
    matrices->max_dimension = limits.cooperativeMatrixFlexibleDimensionsMaxDimension;
    matrices->max_invocations = limits.cooperativeMatrixWorkgroupScopeMaxWorkgroupSize;
    matrices->reserved_bytes = limits.cooperativeMatrixWorkgroupScopeReservedSharedMemory;
}
#endif

static const char *type_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "cpu";
    default:
        return "other";
    }
}

/* The first family that computes, or that one if it does; UINT32_MAX if none. */
static void find_queue_family(struct rf_probe *out, const struct rf_instance *instance, uint32_t wanted)
{
    uint32_t count = 0;
    instance->get_families(out->physical, &count, NULL);
    VkQueueFamilyProperties *families = rf_calloc(count ? count : 1, sizeof *families);
    out->family = UINT32_MAX;
    if (!families) {
        out->no_memory = true;
        return;
    }
    instance->get_families(out->physical, &count, families);
    for (uint32_t i = 0; i < count && out->family == UINT32_MAX; ++i) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || !families[i].queueCount)
            continue;
        if (wanted != UINT32_MAX && i != wanted)
            continue;
        out->family = i;
        out->caps.timestamp_bits = families[i].timestampValidBits;
        if (families[i].timestampValidBits)
            out->caps.timestamp_period = out->properties.limits.timestampPeriod;
    }
    rf_free(families);
}

/* Whether queues of the family can be of low priority. */
static bool offers_low_priority(const struct rf_probe *probe, const struct rf_instance *instance)
{
    VkQueueFamilyGlobalPriorityPropertiesKHR *priorities = NULL;
    VkQueueFamilyProperties2 *families = NULL;
    uint32_t count = 0;
    bool low = false;
    instance->get_families2(probe->physical, &count, NULL);
    if (probe->family < count) {
        priorities = rf_calloc(count, sizeof *priorities);
        families = rf_calloc(count, sizeof *families);
    }
    for (uint32_t i = 0; priorities && families && i < count; ++i) {
        priorities[i].sType = VK_STRUCTURE_TYPE_QUEUE_FAMILY_GLOBAL_PRIORITY_PROPERTIES_KHR;
        families[i].sType = VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2;
        families[i].pNext = &priorities[i];
    }
    if (priorities && families) {
        instance->get_families2(probe->physical, &count, families);
        const VkQueueFamilyGlobalPriorityPropertiesKHR *own = &priorities[probe->family];
        for (uint32_t i = 0; i < own->priorityCount; ++i)
            low = low || own->priorities[i] == VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR;
    }
    rf_free(priorities);
    rf_free(families);
    return low;
}

/* Unified: whatever the device sees as its own memory, the host can map, and there is no other memory beside
 * it (a discrete GPU with a resizable BAR is not unified: the host would read through the bus). */
static void read_memory(struct rf_probe *out)
{
    const VkPhysicalDeviceMemoryProperties *memory = &out->memory;
    const VkMemoryPropertyFlags mappable = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                           VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                           VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    bool unified = out->properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    for (uint32_t heap = 0; heap < memory->memoryHeapCount; ++heap) {
        if (!(memory->memoryHeaps[heap].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT))
            continue;
        if (memory->memoryHeaps[heap].size > out->caps.memory_bytes)
            out->caps.memory_bytes = memory->memoryHeaps[heap].size;
        bool mapped = false;
        for (uint32_t type = 0; type < memory->memoryTypeCount; ++type)
            mapped = mapped || (memory->memoryTypes[type].heapIndex == heap &&
                                (memory->memoryTypes[type].propertyFlags & mappable) == mappable);
        unified = unified && mapped;
    }
    out->caps.unified_memory = unified;
}

static void read_limits(struct rf_probe *out, const struct device_chain *chain)
{
    struct rf_gpu_caps *caps = &out->caps;
    const VkPhysicalDeviceLimits *limits = &out->properties.limits;
    caps->subgroup_size = chain->p11.subgroupSize;
    caps->subgroup_size_min = chain->p13.minSubgroupSize ? chain->p13.minSubgroupSize : caps->subgroup_size;
    caps->subgroup_size_max = chain->p13.maxSubgroupSize ? chain->p13.maxSubgroupSize : caps->subgroup_size;
    caps->shared_bytes = limits->maxComputeSharedMemorySize;
    caps->max_invocations = limits->maxComputeWorkGroupInvocations;
    memcpy(caps->max_workgroup_count, limits->maxComputeWorkGroupCount, sizeof caps->max_workgroup_count);
    caps->max_push_bytes = limits->maxPushConstantsSize;
    caps->max_allocation = chain->p11.maxMemoryAllocationSize;
    if (chain->p13.maxBufferSize && chain->p13.maxBufferSize < caps->max_allocation)
        caps->max_allocation = chain->p13.maxBufferSize;
    caps->max_allocation_count = limits->maxMemoryAllocationCount;
    caps->cores = chain->cores;
    out->max_workgroup_subgroups = chain->p13.maxComputeWorkgroupSubgroups;
    out->size_control_in_compute = (chain->p13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    out->memory_model = chain->v12.vulkanMemoryModel && chain->v12.vulkanMemoryModelDeviceScope;
    out->subgroup_extended_types = chain->v12.shaderSubgroupExtendedTypes;
    memcpy(out->device_uuid, chain->p11.deviceUUID, VK_UUID_SIZE);
}

/* What shaders/coopmat2_emulation.glsl can do in 32 KiB of shared memory: both factors take 16 KiB of them.
 * */
static const struct rf_workgroup_matrices emulated_matrices = {.count = 2,
                                                               .list = {{128, 16, 16, 16}, {256, 32, 32, 16}},
                                                               .max_dimension = 64,
                                                               .max_invocations = 256,
                                                               .reserved_bytes = 16384};

/* After coopmat2 is known. */
static void choose_workgroup_matrices(struct rf_gpu_caps *caps, const struct device_chain *chain,
                                      const struct rf_mask *mask)
{
    caps->coopmat2_units = !rf_masked(mask, RF_CAP_COOPMAT2_UNITS);
    if (!caps->coopmat2_units)
        caps->workgroup_matrices = emulated_matrices;
    bool possible = caps->coopmat2_units ? caps->coopmat2 && chain->coopmat2_matmul : caps->fp16;
    caps->coopmat2_matmul =
        !rf_masked(mask, RF_CAP_COOPMAT2_MATMUL) && possible && caps->workgroup_matrices.count > 0;
    if (!caps->coopmat2_matmul)
        caps->workgroup_matrices.count = 0;
}

static void read_optional(struct rf_probe *out, const struct device_chain *chain, const struct rf_mask *mask)
{
    struct rf_gpu_caps *caps = &out->caps;
    caps->fp16 =
        !rf_masked(mask, RF_CAP_FP16) && chain->v12.shaderFloat16 && chain->v11.storageBuffer16BitAccess;
    caps->dot_product = !rf_masked(mask, RF_CAP_INT8_DOT) && chain->v13.shaderIntegerDotProduct;
    caps->int8_dot = caps->dot_product && chain->p13.integerDotProduct4x8BitPackedSignedAccelerated;
    caps->coopmat = !rf_masked(mask, RF_CAP_COOPMAT) && caps->fp16 && chain->coopmat && out->memory_model &&
                    caps->coopmat_shape_count > 0;
    if (!caps->coopmat)
        caps->coopmat_shape_count = 0;
    caps->plain_matmul = !rf_masked(mask, RF_CAP_PLAIN_MATMUL);
    caps->coopmat_attention = !rf_masked(mask, RF_CAP_COOPMAT_ATTENTION) && caps->coopmat;
    caps->splits = !rf_masked(mask, RF_CAP_SPLITS);
    caps->whole_k = !rf_masked(mask, RF_CAP_WHOLE_K);
    caps->coopmat2 = !rf_masked(mask, RF_CAP_COOPMAT2) && caps->coopmat && chain->coopmat2;
    choose_workgroup_matrices(caps, chain, mask);
    caps->subgroup_size_control = !rf_masked(mask, RF_CAP_SUBGROUP_SIZE_CONTROL) &&
                                  chain->v13.subgroupSizeControl && out->size_control_in_compute;
    if (!caps->subgroup_size_control)
        caps->subgroup_size_min = caps->subgroup_size_max = caps->subgroup_size;
    caps->full_subgroups = !rf_masked(mask, RF_CAP_FULL_SUBGROUPS) && chain->v13.computeFullSubgroups;
    caps->memory_budget = !rf_masked(mask, RF_CAP_MEMORY_BUDGET) && chain->ext_budget;
    caps->pipeline_properties = !rf_masked(mask, RF_CAP_PIPELINE_PROPERTIES) && chain->executable_info;
    if (rf_masked(mask, RF_CAP_UNIFIED_MEMORY))
        caps->unified_memory = false;
    if (rf_masked(mask, RF_CAP_TIMESTAMPS))
        caps->timestamp_period = 0.0f;
    out->calibrated_timestamps = !rf_masked(mask, RF_CAP_CALIBRATED_TIMESTAMPS) && chain->ext_calibrated &&
                                 caps->timestamp_period > 0.0f && chain->monotonic_clock;
    out->performance_query =
        !rf_masked(mask, RF_CAP_PERFORMANCE_QUERY) && chain->counter_pools && chain->v12.hostQueryReset;
    caps->cpu = out->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    if (chain->p12.driverID == VK_DRIVER_ID_MESA_LLVMPIPE)
        caps->timestamp_cost = LLVMPIPE_TIMESTAMP_SECONDS;
    const VkSubgroupFeatureFlags operations = chain->p11.subgroupSupportedOperations;
    const bool registers =
        !rf_masked(mask, RF_CAP_WIDE) && caps->cpu && (caps->subgroup_size == 8 || caps->subgroup_size == 16);
    caps->wide = registers && (operations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
    caps->wide_attention = caps->wide && chain->features.features.shaderInt64 &&
                           (operations & VK_SUBGROUP_FEATURE_CLUSTERED_BIT);
    /* Clustered operations tell drivers that load vectors from older ones that load lane by lane. */
    caps->spread = registers && chain->features.features.shaderInt64 &&
                   (operations & VK_SUBGROUP_FEATURE_BALLOT_BIT) &&
                   !(operations & VK_SUBGROUP_FEATURE_CLUSTERED_BIT);
}

bool rf_subgroups_fit(const struct rf_gpu_caps *caps)
{
    return caps->subgroup_size >= SUBGROUP_LEAST && caps->subgroup_size_min >= SUBGROUP_LEAST &&
           caps->subgroup_size <= SUBGROUP_MOST && caps->subgroup_size_max <= SUBGROUP_MOST;
}

static void check_required(struct rf_probe *out, const struct device_chain *chain, const struct rf_mask *mask)
{
    const struct rf_gpu_caps *caps = &out->caps;
    const VkSubgroupFeatureFlags subgroup = (chain->p11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT)
                                                ? chain->p11.subgroupSupportedOperations
                                                : 0;
    const bool have[RF_CAP_REQUIRED_COUNT] = {
        [RF_CAP_VULKAN13] = true,
        [RF_CAP_COMPUTE_QUEUE] = out->family != UINT32_MAX,
        [RF_CAP_BUFFER_DEVICE_ADDRESS] = chain->v12.bufferDeviceAddress,
        [RF_CAP_SCALAR_BLOCK_LAYOUT] = chain->v12.scalarBlockLayout,
        [RF_CAP_TIMELINE_SEMAPHORE] = chain->v12.timelineSemaphore,
        [RF_CAP_SYNCHRONIZATION2] = chain->v13.synchronization2,
        [RF_CAP_MAINTENANCE4] = chain->v13.maintenance4,
        [RF_CAP_SUBGROUP_BASIC] = (subgroup & VK_SUBGROUP_FEATURE_BASIC_BIT) != 0,
        [RF_CAP_SUBGROUP_ARITHMETIC] = (subgroup & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT) != 0,
        [RF_CAP_SUBGROUP_SIZE] = rf_subgroups_fit(caps),
        [RF_CAP_SHARED_32K] = caps->shared_bytes >= SHARED_WANTED,
        [RF_CAP_INVOCATIONS_256] = caps->max_invocations >= INVOCATIONS_WANTED,
        [RF_CAP_PUSH_128] = caps->max_push_bytes >= PUSH_WANTED,
    };
    for (int i = 0; i < RF_CAP_REQUIRED_COUNT; ++i)
        if (!have[i] || rf_masked(mask, (enum rf_capability)i))
            append(out->info.missing, sizeof out->info.missing, capability_names[i]);
}

static void fill_info(struct rf_probe *out, uint32_t index, const char *driver)
{
    struct rf_device_info *info = &out->info;
    const struct rf_gpu_caps *caps = &out->caps;
    info->index = index;
    snprintf(info->name, sizeof info->name, "%s", out->properties.deviceName);
    snprintf(info->driver, sizeof info->driver, "%s", driver);
    snprintf(info->type, sizeof info->type, "%s", type_name(out->properties.deviceType));
    info->api_version = out->properties.apiVersion;
    info->subgroup_size = caps->subgroup_size;
    info->subgroup_size_min = caps->subgroup_size_min;
    info->subgroup_size_max = caps->subgroup_size_max;
    info->shared_memory_bytes = caps->shared_bytes;
    info->max_invocations = caps->max_invocations;
    info->cores = caps->cores;
    info->memory_bytes = caps->memory_bytes;
    info->has_fp16 = caps->fp16;
    info->has_int8_dot = caps->int8_dot;
    info->has_coopmat = caps->coopmat;
    info->has_coopmat2 = caps->coopmat2;
    info->has_coopmat2_matmul = caps->coopmat2_matmul && caps->coopmat2_units;
    info->unified_memory = caps->unified_memory;
    if (!info->missing[0])
        snprintf(info->tiers, sizeof info->tiers, "%s%s%s%s%sportable",
                 info->has_coopmat2_matmul && RF_COOPMAT2_SHADERS ? "coopmat2Matmul, " : "",
                 caps->coopmat2 && RF_COOPMAT2_SHADERS ? "coopmat2, " : "",
                 caps->coopmat && RF_COOPMAT_SHADERS ? "coopmat, " : "",
                 caps->int8_dot && caps->fp16 ? "int8, " : "", caps->fp16 ? "fp16, " : "");
}

void rf_probe_device(struct rf_probe *out, const struct rf_instance *instance, VkPhysicalDevice physical,
                     uint32_t index, const struct rf_mask *mask)
{
    rf_probe_enabled(out, instance, physical, index, mask, NULL, UINT32_MAX);
}

/* Extensions that are only of use with their feature. */
static void mask_labels(struct rf_probe *out, const struct rf_enabled *enabled)
{
#ifdef VK_EXT_frame_boundary
    out->frame_boundary = out->frame_boundary && enabled->features.frame_boundary.frameBoundary;
#endif
#ifdef VK_EXT_device_fault
    out->device_fault = out->device_fault && enabled->features.fault.deviceFault;
#endif
}

void rf_probe_enabled(struct rf_probe *out, const struct rf_instance *instance, VkPhysicalDevice physical,
                      uint32_t index, const struct rf_mask *mask, const struct rf_enabled *enabled,
                      uint32_t family)
{
    *out = (struct rf_probe){.physical = physical};
    instance->get_properties(physical, &out->properties);
    instance->get_memory(physical, &out->memory);
    find_queue_family(out, instance, family);
    read_memory(out);
    /* The structures below are those of Vulkan 1.3; an older driver must not be asked. */
    if (out->properties.apiVersion < VK_API_VERSION_1_3) {
        append(out->info.missing, sizeof out->info.missing, capability_names[RF_CAP_VULKAN13]);
        fill_info(out, index, "");
        return;
    }
    struct device_chain chain = {.enabled = enabled};
    query_extensions(&chain, out, instance);
    if (enabled)
        mask_labels(out, enabled);
    out->info.has_low_priority =
        chain.ext_priority && !rf_masked(mask, RF_CAP_GLOBAL_PRIORITY) && offers_low_priority(out, instance);
    query_chain(&chain, instance, physical);
    read_limits(out, &chain);
    if (chain.coopmat)
        read_coopmat_shapes(out, instance);
#ifdef VK_NV_cooperative_matrix2
    if (chain.coopmat2_matmul)
        read_workgroup_matrices(out, instance);
#endif
    read_optional(out, &chain, mask);
    check_required(out, &chain, mask);
    char driver[2 * VK_MAX_DRIVER_NAME_SIZE + VK_MAX_DRIVER_INFO_SIZE];
    snprintf(driver, sizeof driver, "%s %s", chain.p12.driverName, chain.p12.driverInfo);
    fill_info(out, index, driver);
}
