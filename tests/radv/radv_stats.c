/* Compiles every embedded shader for an AMD chip on RADV's null device and writes what the compiler says of it.
 *   radv_stats TABLE.md
 * Fails when a pipeline cannot be made, spills a register or needs scratch memory. Nothing is executed, so this runs
 * without AMD hardware. Specialization: the values that the engine asks for, listed below or made by the engine, else the shader's defaults. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/shader_blobs.h"
#include "engine/gpu/spirv.h"
#include "engine/gpu/vulkan.h"
#include "engine/model/coopmat.h"
#include "shaders/shared.h"

enum { MAX_SPECS = RF_KERNEL_SPECS, PUSH_BYTES = 128, SKIPPED = 77 };

/* A family is every shader whose name is the family's or goes on with an underscore; the longest family wins. */
struct spec_set {
    const char *family;
    uint32_t count, values[MAX_SPECS];
};

/* Every specialization that engine/model/layers.c chooses; of the bench's ceilings one each. */
// clang-format off
static const struct spec_set spec_sets[] = {
    { "rmsnorm", 4, { 0, 1, 256, 0 } },
    { "rmsnorm", 4, { 1, 1, 256, 0 } },
    { "rmsnorm", 4, { 0, 2, 256, 0 } },
    { "rmsnorm", 4, { 0, 4, 256, 0 } },
    { "rmsnorm", 4, { 0, 8, 256, 0 } },
    { "rmsnorm", 4, { 1, 8, 256, 0 } },
    { "rmsnorm", 4, { 0, 16, 256, 0 } },
    { "head_rope", 1, { 1 } },
    { "head_rope", 1, { 2 } },
    { "head_rope", 1, { 4 } },
    { "head_rope", 1, { 8 } },
    { "head_rope", 1, { 16 } },
    { "matmul", 3, { RF_EPILOGUE_STORE, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_STORE, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_RESIDUAL, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_RESIDUAL, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_SWIGLU, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_SWIGLU, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_REDUCE, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_REDUCE, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_LOGITS, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_LOGITS, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_PARTIAL, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_PARTIAL, 64, 2 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 8, 4 } },
    { "matmul_wide", 3, { RF_EPILOGUE_STORE, 64, 1 } }, /* for CPUs; compiled, never chosen on a GPU */
    { "rmsnorm_int8", 4, { 0, 1, 64, 0 } },
    { "rmsnorm_int8", 4, { 1, 8, 64, 1 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 64, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 64, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 128, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 64, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 256, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_RESIDUAL, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_RESIDUAL, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 128, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 256, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_LOGITS, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_LOGITS, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 128, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 64 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 8 } },
    { "attention", 2, { 1, 64 } },
    { "attention", 2, { 1, 128 } },
    { "attention", 2, { 2, 64 } },
    { "attention", 2, { 2, 128 } },
    { "attention", 2, { 4, 64 } },
    { "attention", 2, { 4, 128 } },
    { "attention", 2, { 8, 64 } },
    { "attention", 2, { 8, 128 } },
    { "attention_wide", 4, { 2, 128, 16, 4 } }, /* for CPUs too */
    { "attention_reduce", 0, { 0 } },
    { "bench_read", 2, { 0, 256 } },
    { "bench_math", 2, { 0, 256 } },
    { "bench_coopmat", 4, { 16, 128, 16, 16 } },
};
// clang-format on
enum { SET_COUNT = sizeof spec_sets / sizeof spec_sets[0] };

struct chip {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkPipelineLayout layout;
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    bool coopmat; /* it has cooperative matrices */
};

/* What RADV reports for one pipeline; -1 where it says nothing. */
struct statistics {
    int64_t sgprs, vgprs, spilled_sgprs, spilled_vgprs, scratch, lds, code, waves;
};

static bool skip(const char *why)
{
    fprintf(stderr, "radv_stats: %s\n", why);
    return false;
}

static bool has_extension(const struct chip *chip, const char *name)
{
    uint32_t count = 0;
    bool found = false;
    vkEnumerateDeviceExtensionProperties(chip->physical, NULL, &count, NULL);
    VkExtensionProperties *list = calloc(count ? count : 1, sizeof *list);
    if (list && vkEnumerateDeviceExtensionProperties(chip->physical, NULL, &count, list) >= 0)
        for (uint32_t i = 0; i < count; i++)
            found = found || strcmp(list[i].extensionName, name) == 0;
    free(list);
    return found;
}

/* A device with every feature that it has: which of them a shader needs is not the question here. */
static bool create_device(struct chip *chip)
{
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR };
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coopmat = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR };
    chip->coopmat = has_extension(chip, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
    if (chip->coopmat)
        executable.pNext = &coopmat;
    VkPhysicalDeviceVulkan13Features v13 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                                             .pNext = &executable };
    VkPhysicalDeviceVulkan12Features v12 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                             .pNext = &v13 };
    VkPhysicalDeviceVulkan11Features v11 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                             .pNext = &v12 };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11 };
    vkGetPhysicalDeviceFeatures2(chip->physical, &features);
    if (!executable.pipelineExecutableInfo)
        return skip("the device has no VK_KHR_pipeline_executable_properties");
    features.features.robustBufferAccess = VK_FALSE;
    const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                            .queueCount = 1,
                                            .pQueuePriorities = &priority };
    const char *const extensions[] = { VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME,
                                       VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME };
    const VkDeviceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                      .pNext = &features,
                                      .queueCreateInfoCount = 1,
                                      .pQueueCreateInfos = &queue,
                                      .enabledExtensionCount = chip->coopmat ? 2 : 1,
                                      .ppEnabledExtensionNames = extensions };
    if (vkCreateDevice(chip->physical, &info, NULL, &chip->device) != VK_SUCCESS)
        return skip("the device cannot be created");
    volkLoadDevice(chip->device);
    return true;
}

static bool open_chip(struct chip *chip)
{
    if (volkInitialize() != VK_SUCCESS)
        return skip("no Vulkan loader");
    const VkApplicationInfo app = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3 };
    const VkInstanceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app };
    if (vkCreateInstance(&info, NULL, &chip->instance) != VK_SUCCESS)
        return skip("no Vulkan instance");
    volkLoadInstance(chip->instance);
    uint32_t count = 1;
    if (vkEnumeratePhysicalDevices(chip->instance, &count, &chip->physical) < 0 || count == 0)
        return skip("no device");
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(chip->physical, &properties);
    memcpy(chip->name, properties.deviceName, sizeof chip->name);
    if (!strstr(chip->name, "RADV"))
        return skip("the device is not RADV");
    if (!create_device(chip))
        return false;
    const VkPushConstantRange range = { .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = PUSH_BYTES };
    const VkPipelineLayoutCreateInfo layout = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                                .pushConstantRangeCount = 1,
                                                .pPushConstantRanges = &range };
    return vkCreatePipelineLayout(chip->device, &layout, NULL, &chip->layout) == VK_SUCCESS;
}

static void close_chip(struct chip *chip)
{
    if (chip->device) {
        vkDestroyPipelineLayout(chip->device, chip->layout, NULL);
        vkDestroyDevice(chip->device, NULL);
    }
    if (chip->instance)
        vkDestroyInstance(chip->instance, NULL);
}

static VkPipeline create_pipeline(const struct chip *chip, const struct rf_shader_blob *blob, const struct spec_set *set)
{
    const VkShaderModuleCreateInfo code = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                            .codeSize = blob->word_count * sizeof(uint32_t),
                                            .pCode = blob->words };
    VkShaderModule module;
    if (vkCreateShaderModule(chip->device, &code, NULL, &module) != VK_SUCCESS)
        return VK_NULL_HANDLE;
    VkSpecializationMapEntry entries[MAX_SPECS];
    for (uint32_t i = 0; i < MAX_SPECS; i++)
        entries[i] = (VkSpecializationMapEntry){ i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t) };
    const VkSpecializationInfo specialization = { .mapEntryCount = set->count,
                                                  .pMapEntries = entries,
                                                  .dataSize = set->count * sizeof(uint32_t),
                                                  .pData = set->values };
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR,
        .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                   .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                   .module = module,
                   .pName = "main",
                   .pSpecializationInfo = &specialization },
        .layout = chip->layout,
    };
    VkPipeline pipeline = VK_NULL_HANDLE;
    if (vkCreateComputePipelines(chip->device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline) != VK_SUCCESS)
        pipeline = VK_NULL_HANDLE;
    vkDestroyShaderModule(chip->device, module, NULL);
    return pipeline;
}

static int64_t find_statistic(const VkPipelineExecutableStatisticKHR *statistics, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(statistics[i].name, name) == 0)
            return statistics[i].value.i64;
    return -1;
}

static struct statistics read_statistics(const struct chip *chip, VkPipeline pipeline)
{
    VkPipelineExecutableStatisticKHR found[64];
    uint32_t count = sizeof found / sizeof found[0];
    memset(found, 0, sizeof found);
    for (uint32_t i = 0; i < count; i++)
        found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    const VkPipelineExecutableInfoKHR info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                               .pipeline = pipeline };
    if (vkGetPipelineExecutableStatisticsKHR(chip->device, &info, &count, found) < 0)
        count = 0;
    return (struct statistics){
        .sgprs = find_statistic(found, count, "SGPRs"),
        .vgprs = find_statistic(found, count, "VGPRs"),
        .spilled_sgprs = find_statistic(found, count, "Spilled SGPRs"),
        .spilled_vgprs = find_statistic(found, count, "Spilled VGPRs"),
        .scratch = find_statistic(found, count, "Scratch size"),
        .lds = find_statistic(found, count, "LDS size"),
        .code = find_statistic(found, count, "Code size"),
        .waves = find_statistic(found, count, "Subgroups per SIMD"),
    };
}

/* Writes one row of the table; false when the pipeline is not what it should be. */
static bool check_pipeline(const struct chip *chip, const struct rf_shader_blob *blob, const struct spec_set *set,
                           FILE *table)
{
    char values[128] = "";
    for (uint32_t i = 0; i < set->count; i++)
        snprintf(values + strlen(values), sizeof values - strlen(values), "%s%" PRIu32, i ? " " : "", set->values[i]);
    VkPipeline pipeline = create_pipeline(chip, blob, set);
    if (!pipeline) {
        fprintf(stderr, "radv_stats: %s (%s): no pipeline on %s\n", blob->name, values, chip->name);
        return false;
    }
    const struct statistics s = read_statistics(chip, pipeline);
    vkDestroyPipeline(chip->device, pipeline, NULL);
    fprintf(table, "| %s | %s | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64
            " | %" PRId64 " |\n", blob->name, values, s.sgprs, s.vgprs, s.spilled_sgprs + s.spilled_vgprs, s.scratch,
            s.lds, s.code, s.waves);
    if (s.spilled_sgprs == 0 && s.spilled_vgprs == 0 && s.scratch == 0)
        return true;
    fprintf(stderr, "radv_stats: %s (%s): %" PRId64 " spilled SGPRs, %" PRId64 " spilled VGPRs, %" PRId64
            " bytes of scratch on %s, wanted 0\n", blob->name, values, s.spilled_sgprs, s.spilled_vgprs, s.scratch,
            chip->name);
    return false;
}

static size_t family_length(const char *name, const char *family)
{
    const size_t length = strlen(family);
    return strncmp(name, family, length) == 0 && (name[length] == 0 || name[length] == '_') ? length : 0;
}

/* The caps by which engine/model/coopmat.c divides work. */
static struct rf_gpu_caps read_caps(const struct chip *chip)
{
    VkPhysicalDeviceSubgroupProperties subgroup = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES };
    VkPhysicalDeviceProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = &subgroup };
    vkGetPhysicalDeviceProperties2(chip->physical, &properties);
    return (struct rf_gpu_caps){ .subgroup_size = subgroup.subgroupSize,
                                 .shared_bytes = properties.properties.limits.maxComputeSharedMemorySize,
                                 .max_invocations = properties.properties.limits.maxComputeWorkGroupInvocations,
                                 .coopmat_shape_count = 1,
                                 .coopmat_shapes = { { 16, 16, 16 } } };
}

/* Every workgroup that engine/model/matmul.c chooses where fragments are 16 x 16 x 16, with each epilogue. */
static int check_coopmat(const struct chip *chip, const struct rf_shader_blob *blob, FILE *table)
{
    static const struct {
        uint32_t rows, columns;
    } workgroups[] = { { 16, 64 }, { 32, 64 }, { 64, 32 }, { 64, 64 }, { 64, 128 }, { 128, 128 } };
    const struct rf_gpu_caps caps = read_caps(chip);
    int failures = 0;
    for (size_t i = 0; i < sizeof workgroups / sizeof workgroups[0]; i++)
        for (uint32_t epilogue = RF_EPILOGUE_STORE; epilogue <= RF_EPILOGUE_PARTIAL; epilogue++) {
            struct rf_coopmat_tiling tiling;
            uint32_t local = workgroups[i].columns / 16 * caps.subgroup_size, rows = workgroups[i].rows;
            struct spec_set set = { .count = 3 + RF_COOPMAT_SPECS, .values = { epilogue, local, rows } };
            if (!rf_coopmat_divide(&caps, local, rows, epilogue == RF_EPILOGUE_REDUCE, &tiling)) {
                fprintf(stderr, "radv_stats: %u rows, %u columns: no such workgroup\n", rows, workgroups[i].columns);
                failures++;
                continue;
            }
            rf_coopmat_specs(&tiling, set.values + 3);
            failures += !check_pipeline(chip, blob, &set, table);
        }
    return failures;
}

static int check_coopmat_attention(const struct chip *chip, const struct rf_shader_blob *blob, FILE *table)
{
    static const struct {
        uint32_t group, head_dim, rows;
    } models[] = { { 2, 128, 16 }, { 2, 128, 64 }, { 4, 128, 64 }, { 8, 128, 64 }, { 4, 64, 64 }, { 3, 128, 64 } };
    const struct rf_gpu_caps caps = read_caps(chip);
    int failures = 0;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct rf_coopmat_attention division;
        struct spec_set set = { .count = RF_COOPMAT_ATTENTION_SPECS };
        if (!rf_coopmat_attend(&caps, models[i].group, models[i].head_dim, models[i].rows, &division)) {
            fprintf(stderr, "radv_stats: attention of %u heads: no such workgroup\n", models[i].group);
            failures++;
            continue;
        }
        rf_coopmat_attention_specs(&division, models[i].group, models[i].head_dim, set.values);
        failures += !check_pipeline(chip, blob, &set, table);
    }
    return failures;
}

static int check_shader(const struct chip *chip, const struct rf_shader_blob *blob, bool used[SET_COUNT], FILE *table)
{
    size_t longest = 0;
    int failures = 0;
    struct rf_spirv_info info;
    struct rf_error err;
    if (rf_spirv_read(&info, blob->words, blob->word_count, NULL, 0, blob->name, &err)) {
        fprintf(stderr, "radv_stats: %s\n", err.message);
        return 1;
    }
    const bool runs = (!info.cooperative_matrix || chip->coopmat) && !info.cooperative_matrix2;
    if (!runs)
        fprintf(table, "| %s | needs cooperative matrices | | | | | | | |\n", blob->name);
    if (family_length(blob->name, "attention_coopmat"))
        return runs ? check_coopmat_attention(chip, blob, table) : 0;
    if (info.tensor_addressing)
        return 0;
    if (family_length(blob->name, "matmul_coopmat"))
        return runs ? check_coopmat(chip, blob, table) : 0;
    for (int i = 0; i < SET_COUNT; i++)
        if (family_length(blob->name, spec_sets[i].family) > longest)
            longest = family_length(blob->name, spec_sets[i].family);
    for (int i = 0; longest && i < SET_COUNT; i++) {
        if (family_length(blob->name, spec_sets[i].family) != longest)
            continue;
        used[i] = true;
        failures += runs && !check_pipeline(chip, blob, &spec_sets[i], table);
    }
    if (longest == 0 && runs)
        failures += !check_pipeline(chip, blob, &(struct spec_set){ 0 }, table);
    return failures;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: radv_stats TABLE.md\n");
        return 2;
    }
    struct chip chip = { 0 };
    if (!open_chip(&chip)) {
        close_chip(&chip);
        return SKIPPED;
    }
    FILE *table = fopen(argv[1], "w");
    if (!table) {
        fprintf(stderr, "radv_stats: %s: cannot be written\n", argv[1]);
        close_chip(&chip);
        return 1;
    }
    fprintf(table, "# Shaders on %s\n\n| shader | specialization | SGPRs | VGPRs | spills | scratch | LDS | code bytes "
            "| subgroups per SIMD |\n|---|---|---|---|---|---|---|---|---|\n", chip.name);
    bool used[SET_COUNT] = { false };
    int failures = 0;
    for (size_t i = 0; i < rf_shader_blob_count; i++)
        failures += check_shader(&chip, &rf_shader_blobs[i], used, table);
    for (int i = 0; i < SET_COUNT; i++)
        if (!used[i]) {
            fprintf(stderr, "radv_stats: no shader belongs to the family %s\n", spec_sets[i].family);
            failures++;
        }
    if (fclose(table) != 0)
        failures++;
    close_chip(&chip);
    printf("%zu shaders on %s, %d failures\n", rf_shader_blob_count, chip.name, failures);
    return failures ? 1 : 0;
}
