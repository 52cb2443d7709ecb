/* The only place that includes Vulkan. volk opens the loader; instance and device functions are kept in
 * tables of our own (instance.h and below), because volk's tables go through a pointer that all instances
 * share. */
#ifndef RF_GPU_VULKAN_H
#define RF_GPU_VULKAN_H

#define VK_NO_PROTOTYPES
#include <volk.h>

#define RF_DEVICE_FUNCTIONS(X)                                                                               \
    X(vkAllocateCommandBuffers)                                                                              \
    X(vkAllocateMemory)                                                                                      \
    X(vkBeginCommandBuffer)                                                                                  \
    X(vkBindBufferMemory)                                                                                    \
    X(vkCmdBeginQuery)                                                                                       \
    X(vkCmdBindPipeline)                                                                                     \
    X(vkCmdCopyBuffer)                                                                                       \
    X(vkCmdDispatch)                                                                                         \
    X(vkCmdDispatchIndirect)                                                                                 \
    X(vkCmdEndQuery)                                                                                         \
    X(vkCmdFillBuffer)                                                                                       \
    X(vkCmdPipelineBarrier2)                                                                                 \
    X(vkCmdPushConstants)                                                                                    \
    X(vkCmdResetEvent2)                                                                                      \
    X(vkCmdResetQueryPool)                                                                                   \
    X(vkCmdWriteTimestamp2)                                                                                  \
    X(vkCreateBuffer)                                                                                        \
    X(vkCreateCommandPool)                                                                                   \
    X(vkCreateComputePipelines)                                                                              \
    X(vkCreateEvent)                                                                                         \
    X(vkCreatePipelineCache)                                                                                 \
    X(vkCreatePipelineLayout)                                                                                \
    X(vkCreateQueryPool)                                                                                     \
    X(vkCreateSemaphore)                                                                                     \
    X(vkCreateShaderModule)                                                                                  \
    X(vkDestroyBuffer)                                                                                       \
    X(vkDestroyCommandPool)                                                                                  \
    X(vkDestroyDevice)                                                                                       \
    X(vkDestroyEvent)                                                                                        \
    X(vkDestroyPipeline)                                                                                     \
    X(vkDestroyPipelineCache)                                                                                \
    X(vkDestroyPipelineLayout)                                                                               \
    X(vkDestroyQueryPool)                                                                                    \
    X(vkDestroySemaphore)                                                                                    \
    X(vkDestroyShaderModule)                                                                                 \
    X(vkEndCommandBuffer)                                                                                    \
    X(vkFreeMemory)                                                                                          \
    X(vkGetBufferDeviceAddress)                                                                              \
    X(vkGetBufferMemoryRequirements)                                                                         \
    X(vkGetDeviceQueue)                                                                                      \
    X(vkGetPipelineCacheData)                                                                                \
    X(vkGetQueryPoolResults)                                                                                 \
    X(vkGetSemaphoreCounterValue)                                                                            \
    X(vkMapMemory)                                                                                           \
    X(vkQueueSubmit2)                                                                                        \
    X(vkQueueWaitIdle)                                                                                       \
    X(vkResetCommandPool)                                                                                    \
    X(vkResetQueryPool)                                                                                      \
    X(vkWaitSemaphores)

/* VK_KHR_pipeline_executable_properties. */
struct rf_executable_table {
    PFN_vkGetPipelineExecutablePropertiesKHR properties;
    PFN_vkGetPipelineExecutableStatisticsKHR statistics;
    PFN_vkGetPipelineExecutableInternalRepresentationsKHR representations;
};

/* One device's entry points, under their own names. */
struct rf_device_table {
#define RF_DEVICE_FIELD(name) PFN_##name name;
    RF_DEVICE_FUNCTIONS(RF_DEVICE_FIELD)
#undef RF_DEVICE_FIELD
};

#endif
