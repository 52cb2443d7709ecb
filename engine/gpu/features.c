#include "engine/gpu/features.h"

#include <string.h>

void rf_features_ask_required(struct rf_features *out)
{
    *out = (struct rf_features){0};
    out->v13 =
        (VkPhysicalDeviceVulkan13Features){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                                           .synchronization2 = VK_TRUE,
                                           .maintenance4 = VK_TRUE};
    out->v12 =
        (VkPhysicalDeviceVulkan12Features){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                           .pNext = &out->v13,
                                           .bufferDeviceAddress = VK_TRUE,
                                           .scalarBlockLayout = VK_TRUE,
                                           .timelineSemaphore = VK_TRUE};
    out->v11 = (VkPhysicalDeviceVulkan11Features){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &out->v12};
    out->features = (VkPhysicalDeviceFeatures2){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                                .pNext = &out->v11};
}

static void ask_matrices(struct rf_features *out, const struct rf_gpu_caps *caps)
{
    const bool workgroup_matrices = caps->coopmat2_matmul && caps->coopmat2_units;
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
#else
    (void)workgroup_matrices;
#endif
}

void rf_features_ask(struct rf_features *out, const struct rf_probe *probe, bool capture)
{
    const struct rf_gpu_caps *caps = &probe->caps;
    rf_features_ask_required(out);
    out->v13.subgroupSizeControl = caps->subgroup_size_control;
    out->v13.computeFullSubgroups = caps->full_subgroups;
    out->v13.shaderIntegerDotProduct = caps->dot_product;
    out->v12.shaderFloat16 = caps->fp16;
    out->v12.shaderSubgroupExtendedTypes = caps->fp16 && probe->subgroup_extended_types;
    out->v12.vulkanMemoryModel = caps->coopmat;
    out->v12.vulkanMemoryModelDeviceScope = caps->coopmat;
    out->v11.storageBuffer16BitAccess = caps->fp16;
    out->features.features.shaderInt64 = caps->wide_attention || caps->spread;
    ask_matrices(out, caps);
    out->executable = (VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = out->v13.pNext,
        .pipelineExecutableInfo = VK_TRUE};
    if (capture && caps->pipeline_properties)
        out->v13.pNext = &out->executable;
}

uint32_t rf_extensions_ask(const char *names[RF_DEVICE_EXTENSIONS], uint32_t *required,
                           const struct rf_probe *probe)
{
    uint32_t count = 0;
    if (probe->portability_subset)
        names[count++] = "VK_KHR_portability_subset";
    *required = count;
#ifdef VK_KHR_cooperative_matrix
    if (probe->caps.coopmat)
        names[count++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
#endif
#ifdef VK_NV_cooperative_matrix2
    if (probe->caps.coopmat2)
        names[count++] = VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME;
#endif
    if (probe->caps.memory_budget)
        names[count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (probe->calibrated_timestamps)
        names[count++] = VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME;
    return count;
}

/* ---- What an application enabled -------------------------------------------------------------------- */

/* Structures of one feature or two that stand for members of a version's structure. */
static const struct {
    VkStructureType type;
    size_t from, to;
} promoted[] = {
#define PROMOTED(id, structure, version, member)                                                             \
    {                                                                                                        \
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_##id##_FEATURES,                                                   \
            offsetof(VkPhysicalDevice##structure##Features, member),                                         \
            offsetof(struct rf_features, version.member)                                                     \
    }
    PROMOTED(16BIT_STORAGE, 16BitStorage, v11, storageBuffer16BitAccess),
    PROMOTED(BUFFER_DEVICE_ADDRESS, BufferDeviceAddress, v12, bufferDeviceAddress),
    PROMOTED(SCALAR_BLOCK_LAYOUT, ScalarBlockLayout, v12, scalarBlockLayout),
    PROMOTED(TIMELINE_SEMAPHORE, TimelineSemaphore, v12, timelineSemaphore),
    PROMOTED(VULKAN_MEMORY_MODEL, VulkanMemoryModel, v12, vulkanMemoryModel),
    PROMOTED(VULKAN_MEMORY_MODEL, VulkanMemoryModel, v12, vulkanMemoryModelDeviceScope),
    PROMOTED(SHADER_FLOAT16_INT8, ShaderFloat16Int8, v12, shaderFloat16),
    PROMOTED(SHADER_SUBGROUP_EXTENDED_TYPES, ShaderSubgroupExtendedTypes, v12, shaderSubgroupExtendedTypes),
    PROMOTED(HOST_QUERY_RESET, HostQueryReset, v12, hostQueryReset),
    PROMOTED(SYNCHRONIZATION_2, Synchronization2, v13, synchronization2),
    PROMOTED(MAINTENANCE_4, Maintenance4, v13, maintenance4),
    PROMOTED(SUBGROUP_SIZE_CONTROL, SubgroupSizeControl, v13, subgroupSizeControl),
    PROMOTED(SUBGROUP_SIZE_CONTROL, SubgroupSizeControl, v13, computeFullSubgroups),
    PROMOTED(SHADER_INTEGER_DOT_PRODUCT, ShaderIntegerDotProduct, v13, shaderIntegerDotProduct),
#undef PROMOTED
};

static void read_promoted(struct rf_features *out, const VkBaseInStructure *structure)
{
    for (size_t i = 0; i < sizeof promoted / sizeof *promoted; i++) {
        VkBool32 on;
        if (promoted[i].type != structure->sType)
            continue;
        memcpy(&on, (const char *)structure + promoted[i].from, sizeof on);
        if (on)
            memcpy((char *)out + promoted[i].to, &on, sizeof on);
    }
}

static void read_structure(struct rf_features *out, const VkBaseInStructure *structure)
{
    switch ((int)structure->sType) {
#define READ(type, member)                                                                                   \
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_##type:                                                           \
        memcpy(&out->member, structure, sizeof out->member);                                                 \
        out->member.pNext = NULL;                                                                            \
        break
        READ(FEATURES_2, features);
        READ(VULKAN_1_1_FEATURES, v11);
        READ(VULKAN_1_2_FEATURES, v12);
        READ(VULKAN_1_3_FEATURES, v13);
        READ(PERFORMANCE_QUERY_FEATURES_KHR, counters);
#ifdef VK_KHR_cooperative_matrix
        READ(COOPERATIVE_MATRIX_FEATURES_KHR, coopmat);
#endif
#ifdef VK_NV_cooperative_matrix2
        READ(COOPERATIVE_MATRIX_2_FEATURES_NV, coopmat2);
#endif
#ifdef VK_EXT_frame_boundary
        READ(FRAME_BOUNDARY_FEATURES_EXT, frame_boundary);
#endif
#ifdef VK_EXT_device_fault
        READ(FAULT_FEATURES_EXT, fault);
#endif
#undef READ
    default:
        read_promoted(out, structure);
    }
}

void rf_enabled_read(struct rf_enabled *out, const VkDeviceCreateInfo *info)
{
    *out = (struct rf_enabled){.extensions = info->ppEnabledExtensionNames,
                               .extension_count = info->enabledExtensionCount};
    if (info->pEnabledFeatures)
        out->features.features.features = *info->pEnabledFeatures;
    for (const VkBaseInStructure *next = info->pNext; next; next = next->pNext)
        read_structure(&out->features, next);
}

bool rf_enabled_extension(const struct rf_enabled *enabled, const char *name)
{
    for (uint32_t i = 0; i < enabled->extension_count; i++)
        if (strcmp(enabled->extensions[i], name) == 0)
            return true;
    return false;
}

void rf_features_and(void *structure, const void *other, size_t bytes)
{
    for (size_t at = sizeof(VkBaseInStructure); at + sizeof(VkBool32) <= bytes; at += sizeof(VkBool32)) {
        VkBool32 one, two;
        memcpy(&one, (const char *)structure + at, sizeof one);
        memcpy(&two, (const char *)other + at, sizeof two);
        one = one && two;
        memcpy((char *)structure + at, &one, sizeof one);
    }
}
