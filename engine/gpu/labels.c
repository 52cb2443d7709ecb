#include "engine/gpu/labels.h"

#include <stdio.h>

#include "engine/gpu/internal.h"

static VkDebugUtilsLabelEXT label_info(const char *text)
{
    return (VkDebugUtilsLabelEXT){.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT, .pLabelName = text};
}

bool rf_gpu_labelled(const struct rf_gpu *gpu)
{
    return gpu->labels.wanted;
}

void rf_labels_load(struct rf_gpu *gpu)
{
    struct rf_labels *labels = &gpu->labels;
#define LOAD(field, name)                                                                                    \
    labels->field = (PFN_##name)gpu->instance.get_device_function(gpu->device, #name);                       \
    found = found && labels->field
    bool found = gpu->instance.debug_utils;
    LOAD(set_name, vkSetDebugUtilsObjectNameEXT);
    LOAD(cmd_begin, vkCmdBeginDebugUtilsLabelEXT);
    LOAD(cmd_end, vkCmdEndDebugUtilsLabelEXT);
    LOAD(queue_begin, vkQueueBeginDebugUtilsLabelEXT);
    LOAD(queue_end, vkQueueEndDebugUtilsLabelEXT);
    LOAD(queue_insert, vkQueueInsertDebugUtilsLabelEXT);
#undef LOAD
    if (labels->wanted && !found)
        rf_gpu_log(
            gpu, RF_LOG_WARNING,
            "debug labels were asked for, but the Vulkan loader offers no VK_EXT_debug_utils: nothing is "
            "named");
    labels->wanted = labels->wanted && found;
}

void rf_label_name(struct rf_gpu *gpu, VkObjectType type, uint64_t handle, const char *name)
{
    if (!gpu->labels.wanted)
        return;
    VkDebugUtilsObjectNameInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                          .objectType = type,
                                          .objectHandle = handle,
                                          .pObjectName = name};
    gpu->labels.set_name(gpu->device, &info);
}

void rf_label_begin(struct rf_gpu *gpu, VkCommandBuffer buffer, const char *text)
{
    const VkDebugUtilsLabelEXT info = label_info(text);
    if (gpu->labels.wanted)
        gpu->labels.cmd_begin(buffer, &info);
}

void rf_label_end(struct rf_gpu *gpu, VkCommandBuffer buffer)
{
    if (gpu->labels.wanted)
        gpu->labels.cmd_end(buffer);
}

static void insert(struct rf_gpu *gpu, const char *text)
{
    const VkDebugUtilsLabelEXT info = label_info(text);
    gpu->labels.queue_insert(gpu->queue, &info);
}

/* AmdFrameBegin and AmdFrameEnd are what the Radeon GPU Profiler takes for a frame where nothing is presented,
 * capture-marker what makes RenderDoc capture. */
uint64_t rf_gpu_begin_frame(struct rf_gpu *gpu, const char *label)
{
    struct rf_labels *labels = &gpu->labels;
    if (!labels->wanted)
        return 0;
    const VkDebugUtilsLabelEXT info = label_info(label);
    rf_queue_lock(gpu);
    const uint64_t frame = ++labels->frame;
    if (frame == labels->capture_frame)
        insert(gpu, "capture-marker,begin_capture");
    insert(gpu, "AmdFrameBegin");
    labels->queue_begin(gpu->queue, &info);
    rf_queue_unlock(gpu);
    return frame;
}

/* An empty submission that says that the frame's work ends with it. */
static VkResult submit_boundary(struct rf_gpu *gpu, uint64_t frame)
{
#ifdef VK_EXT_frame_boundary
    VkFrameBoundaryEXT boundary = {.sType = VK_STRUCTURE_TYPE_FRAME_BOUNDARY_EXT,
                                   .flags = VK_FRAME_BOUNDARY_FRAME_END_BIT_EXT,
                                   .frameID = frame};
    VkSubmitInfo2 submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2, .pNext = &boundary};
    if (gpu->probe.frame_boundary)
        return gpu->vk.vkQueueSubmit2(gpu->queue, 1, &submit, VK_NULL_HANDLE);
#else
    (void)gpu, (void)frame;
#endif
    return VK_SUCCESS;
}

enum rf_status rf_gpu_end_frame(struct rf_gpu *gpu, uint64_t frame, struct rf_error *err)
{
    struct rf_labels *labels = &gpu->labels;
    if (!labels->wanted)
        return RF_OK;
    rf_queue_lock(gpu);
    VkResult result = submit_boundary(gpu, frame);
    labels->queue_end(gpu->queue);
    insert(gpu, "AmdFrameEnd");
    if (frame == labels->capture_frame)
        insert(gpu, "capture-marker,end_capture");
    rf_queue_unlock(gpu);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkQueueSubmit2");
}
