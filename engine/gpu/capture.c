#include "engine/gpu/capture.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/allocate.h"
#include "engine/gpu/internal.h"

double rf_statistic_number(const struct rf_statistic *statistic)
{
    switch (statistic->format) {
    case RF_STATISTIC_BOOL:
        return statistic->value.truth;
    case RF_STATISTIC_INT:
        return (double)statistic->value.i64;
    case RF_STATISTIC_UINT:
        return (double)statistic->value.u64;
    default:
        return statistic->value.f64;
    }
}

const struct rf_statistic *rf_find_statistic(const struct rf_kernel_facts *facts, const char *name)
{
    for (uint32_t e = 0; e < facts->executable_count; ++e)
        for (uint32_t s = 0; s < facts->executables[e].statistic_count; ++s)
            if (strcasecmp(facts->executables[e].statistics[s].name, name) == 0)
                return &facts->executables[e].statistics[s];
    return NULL;
}

static void copy_text(char to[RF_CAPTURE_TEXT], const char *from)
{
    snprintf(to, RF_CAPTURE_TEXT, "%.*s", RF_CAPTURE_TEXT - 1, from);
}

static enum rf_status fail_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for what the driver tells of a pipeline");
}

static void take_statistic(struct rf_statistic *out, const VkPipelineExecutableStatisticKHR *from)
{
    copy_text(out->name, from->name);
    copy_text(out->description, from->description);
    switch (from->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        out->format = RF_STATISTIC_BOOL;
        out->value.truth = from->value.b32 != VK_FALSE;
        break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        out->format = RF_STATISTIC_INT;
        out->value.i64 = from->value.i64;
        break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        out->format = RF_STATISTIC_UINT;
        out->value.u64 = from->value.u64;
        break;
    default:
        out->format = RF_STATISTIC_REAL;
        out->value.f64 = from->value.f64;
        break;
    }
}

static enum rf_status read_statistics(const struct rf_gpu *gpu, const VkPipelineExecutableInfoKHR *info,
                                      struct rf_executable *out, struct rf_error *err)
{
    uint32_t count = 0;
    VkResult result = gpu->executables.statistics(gpu->device, info, &count, NULL);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkGetPipelineExecutableStatisticsKHR");
    VkPipelineExecutableStatisticKHR *list = rf_calloc(count + 1, sizeof *list);
    out->statistics = rf_calloc(count + 1, sizeof *out->statistics);
    if (!list || !out->statistics) {
        rf_free(list);
        return fail_memory(err);
    }
    for (uint32_t i = 0; i < count; ++i)
        list[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    result = gpu->executables.statistics(gpu->device, info, &count, list);
    for (uint32_t i = 0; result >= VK_SUCCESS && i < count; ++i)
        take_statistic(&out->statistics[out->statistic_count++], &list[i]);
    rf_free(list);
    return result >= VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkGetPipelineExecutableStatisticsKHR");
}

/* Sizes first, then the data into what was allocated for each. */
static enum rf_status read_data(const struct rf_gpu *gpu, const VkPipelineExecutableInfoKHR *info,
                                VkPipelineExecutableInternalRepresentationKHR *list, uint32_t count,
                                struct rf_executable *out, struct rf_error *err)
{
    VkResult result = gpu->executables.representations(gpu->device, info, &count, list);
    for (uint32_t i = 0; result >= VK_SUCCESS && i < count; ++i) {
        struct rf_representation *to = &out->representations[out->representation_count++];
        copy_text(to->name, list[i].name);
        copy_text(to->description, list[i].description);
        to->is_text = list[i].isText;
        to->data = rf_calloc(list[i].dataSize + 1, 1);
        if (!to->data)
            return fail_memory(err);
        list[i].pData = to->data;
    }
    if (result >= VK_SUCCESS)
        result = gpu->executables.representations(gpu->device, info, &count, list);
    for (uint32_t i = 0; result >= VK_SUCCESS && i < count; ++i) {
        struct rf_representation *to = &out->representations[i];
        to->size = to->is_text ? strnlen((const char *)to->data, list[i].dataSize) : list[i].dataSize;
    }
    return result >= VK_SUCCESS
               ? RF_OK
               : rf_vk_fail(err, result, "vkGetPipelineExecutableInternalRepresentationsKHR");
}

static enum rf_status read_representations(const struct rf_gpu *gpu, const VkPipelineExecutableInfoKHR *info,
                                           struct rf_executable *out, struct rf_error *err)
{
    uint32_t count = 0;
    VkResult result = gpu->executables.representations(gpu->device, info, &count, NULL);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkGetPipelineExecutableInternalRepresentationsKHR");
    VkPipelineExecutableInternalRepresentationKHR *list = rf_calloc(count + 1, sizeof *list);
    out->representations = rf_calloc(count + 1, sizeof *out->representations);
    enum rf_status status = list && out->representations ? RF_OK : fail_memory(err);
    for (uint32_t i = 0; !status && i < count; ++i)
        list[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    if (!status)
        status = read_data(gpu, info, list, count, out, err);
    rf_free(list);
    return status;
}

static enum rf_status read_executables(const struct rf_gpu *gpu, VkPipeline pipeline,
                                       struct rf_kernel_facts *out, struct rf_error *err)
{
    VkPipelineInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
    uint32_t count = 0;
    VkResult result = gpu->executables.properties(gpu->device, &which, &count, NULL);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkGetPipelineExecutablePropertiesKHR");
    VkPipelineExecutablePropertiesKHR *list = rf_calloc(count + 1, sizeof *list);
    out->executables = rf_calloc(count + 1, sizeof *out->executables);
    enum rf_status status = list && out->executables ? RF_OK : fail_memory(err);
    for (uint32_t i = 0; !status && i < count; ++i)
        list[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    if (!status && gpu->executables.properties(gpu->device, &which, &count, list) < VK_SUCCESS)
        count = 0;
    for (uint32_t i = 0; !status && i < count; ++i) {
        const VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                                  .pipeline = pipeline,
                                                  .executableIndex = i};
        struct rf_executable *executable = &out->executables[out->executable_count++];
        copy_text(executable->name, list[i].name);
        copy_text(executable->description, list[i].description);
        executable->subgroup_size = list[i].subgroupSize;
        status = read_statistics(gpu, &info, executable, err);
        if (!status && gpu->capture == RF_CAPTURE_ALL)
            status = read_representations(gpu, &info, executable, err);
    }
    rf_free(list);
    return status;
}

enum rf_status rf_capture_pipeline(const struct rf_gpu *gpu, VkPipeline pipeline,
                                   const struct rf_kernel_facts *known, struct rf_kernel_facts **out,
                                   struct rf_error *err)
{
    *out = rf_malloc(sizeof **out);
    if (!*out)
        return fail_memory(err);
    **out = *known;
    if (!gpu->executables.properties)
        return RF_OK;
    enum rf_status status = read_executables(gpu, pipeline, *out, err);
    return status ? rf_fail_within(err, status, "shader %s", known->shader) : RF_OK;
}

void rf_capture_free(struct rf_kernel_facts *facts)
{
    if (!facts)
        return;
    for (uint32_t i = 0; i < facts->executable_count; ++i) {
        struct rf_executable *executable = &facts->executables[i];
        for (uint32_t r = 0; r < executable->representation_count; ++r)
            rf_free(executable->representations[r].data);
        rf_free(executable->representations);
        rf_free(executable->statistics);
    }
    rf_free(facts->executables);
    rf_free(facts);
}
