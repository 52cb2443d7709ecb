#include "engine/gpu/internal.h"

#include <time.h>

#include "engine/gpu/command.h"

enum { SPIN_NANOSECONDS = 50000 };

enum rf_status rf_submit_init(struct rf_gpu *gpu, struct rf_error *err)
{
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkResult result = gpu->vk.vkCreateSemaphore(gpu->device, &info, NULL, &gpu->timeline);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkCreateSemaphore");
}

void rf_queue_lock(struct rf_gpu *gpu)
{
    pthread_mutex_lock(&gpu->queue_mutex);
    if (gpu->queue_lock.lock)
        gpu->queue_lock.lock(gpu->queue_lock.user);
}

void rf_queue_unlock(struct rf_gpu *gpu)
{
    if (gpu->queue_lock.unlock)
        gpu->queue_lock.unlock(gpu->queue_lock.user);
    pthread_mutex_unlock(&gpu->queue_mutex);
}

/* Until everything of ours is through; on a queue that is shared, only that. */
static VkResult drain(struct rf_gpu *gpu)
{
    const uint64_t last = atomic_load(&gpu->last_ticket);
    const VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                      .semaphoreCount = 1,
                                      .pSemaphores = &gpu->timeline,
                                      .pValues = &last};
    if (gpu->adopted)
        return gpu->vk.vkWaitSemaphores(gpu->device, &info, UINT64_MAX);
    rf_queue_lock(gpu);
    VkResult result = gpu->vk.vkQueueWaitIdle(gpu->queue);
    rf_queue_unlock(gpu);
    return result;
}

void rf_submit_destroy(struct rf_gpu *gpu)
{
    if (!gpu->timeline) /* nothing was ever submitted; Mesa's devices without hardware have a queue that crashes */
        return;
    drain(gpu);
    gpu->vk.vkDestroySemaphore(gpu->device, gpu->timeline, NULL);
    gpu->timeline = VK_NULL_HANDLE;
}

static enum rf_status fail_lost(struct rf_gpu *gpu, struct rf_error *err)
{
    char report[700];
    atomic_store(&gpu->lost, true);
    rf_fault_report(gpu, report, sizeof report);
    return rf_fail(err, RF_ERROR_DEVICE_LOST, "device %u (%.200s) was lost: destroy the context%s",
                   gpu->probe.info.index, gpu->probe.info.name, report);
}

enum rf_status rf_submit_buffers(struct rf_gpu *gpu, const VkCommandBuffer *buffers, size_t count,
                                 uint64_t *ticket, struct rf_error *err)
{
    VkCommandBufferSubmitInfo infos[RF_SUBMIT_BUFFERS];
    *ticket = 0;
    if (atomic_load(&gpu->lost))
        return fail_lost(gpu, err);
    if (gpu->capture)
        return rf_fail(err, RF_ERROR_ARGUMENT, "submission to a device that only compiles");
    if (!count || count > RF_SUBMIT_BUFFERS)
        return rf_fail(err, RF_ERROR_ARGUMENT, "submission of %zu command buffers, wanted 1 to %d", count,
                       RF_SUBMIT_BUFFERS);
    for (size_t i = 0; i < count; ++i)
        infos[i] = (VkCommandBufferSubmitInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                               .commandBuffer = buffers[i]};
    VkSemaphoreSubmitInfo signal = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                    .semaphore = gpu->timeline,
                                    .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    VkSubmitInfo2 submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                            .commandBufferInfoCount = (uint32_t)count,
                            .pCommandBufferInfos = infos,
                            .signalSemaphoreInfoCount = 1,
                            .pSignalSemaphoreInfos = &signal};
    rf_queue_lock(gpu);
    signal.value = atomic_load(&gpu->last_ticket) + 1;
    VkResult result = gpu->vk.vkQueueSubmit2(gpu->queue, 1, &submit, VK_NULL_HANDLE);
    if (result == VK_SUCCESS)
        atomic_store(&gpu->last_ticket, signal.value);
    rf_queue_unlock(gpu);
    if (result == VK_ERROR_DEVICE_LOST)
        return fail_lost(gpu, err);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkQueueSubmit2");
    *ticket = signal.value;
    return RF_OK;
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A wait that failed says nothing about the work, and the caller will free what it uses: it must be over. */
static enum rf_status fail_wait(struct rf_gpu *gpu, VkResult result, const char *call, struct rf_error *err)
{
    if (result == VK_ERROR_DEVICE_LOST)
        return fail_lost(gpu, err);
    VkResult idle = drain(gpu);
    if (idle == VK_SUCCESS)
        return rf_vk_fail(err, result, call);
    atomic_store(&gpu->lost, true);
    return rf_fail(err, RF_ERROR_DEVICE_LOST, "%s: %s (%d), then %s: %s (%d): device %u (%s) counts as lost",
                   call, rf_vk_result_name(result), (int)result,
                   gpu->adopted ? "vkWaitSemaphores" : "vkQueueWaitIdle", rf_vk_result_name(idle), (int)idle,
                   gpu->probe.info.index, gpu->probe.info.name);
}

enum rf_status rf_wait_ticket(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err)
{
    if (atomic_load(&gpu->lost))
        return fail_lost(gpu, err);
    if (ticket > atomic_load(&gpu->last_ticket))
        return rf_fail(err, RF_ERROR_ARGUMENT, "wait for ticket %llu, the newest is %llu",
                       (unsigned long long)ticket, (unsigned long long)atomic_load(&gpu->last_ticket));
    VkResult result;
    uint64_t value = 0;
    const uint64_t start = nanoseconds();
    do {
        result = gpu->vk.vkGetSemaphoreCounterValue(gpu->device, gpu->timeline, &value);
        if (result == VK_SUCCESS && value >= ticket)
            return RF_OK;
    } while (result == VK_SUCCESS && nanoseconds() - start < SPIN_NANOSECONDS);
    if (result != VK_SUCCESS)
        return fail_wait(gpu, result, "vkGetSemaphoreCounterValue", err);
    VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                .semaphoreCount = 1,
                                .pSemaphores = &gpu->timeline,
                                .pValues = &ticket};
    result = gpu->vk.vkWaitSemaphores(gpu->device, &info, UINT64_MAX);
    return result == VK_SUCCESS ? RF_OK : fail_wait(gpu, result, "vkWaitSemaphores", err);
}

enum rf_status rf_gpu_wait(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err)
{
    enum rf_status status = rf_wait_ticket(gpu, ticket, err);
    return status ? status : rf_gpu_check_red_zones(gpu, err);
}

uint64_t rf_gpu_submission_count(const struct rf_gpu *gpu)
{
    return atomic_load(&gpu->submissions);
}

double rf_gpu_submission_limit(const struct rf_gpu *gpu)
{
    return gpu->submission_limit;
}

uint64_t rf_gpu_recorded_count(const struct rf_gpu *gpu)
{
    return atomic_load(&gpu->recorded);
}

enum rf_status rf_command_pool_create(struct rf_gpu *gpu, VkCommandPool *pool, VkCommandBuffer *buffer,
                                      struct rf_error *err)
{
    VkCommandPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = gpu->probe.family};
    VkResult result = gpu->vk.vkCreateCommandPool(gpu->device, &info, NULL, pool);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkCreateCommandPool");
    VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = *pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
    result = gpu->vk.vkAllocateCommandBuffers(gpu->device, &allocate, buffer);
    if (result == VK_SUCCESS)
        return RF_OK;
    gpu->vk.vkDestroyCommandPool(gpu->device, *pool, NULL);
    *pool = VK_NULL_HANDLE;
    return rf_vk_fail(err, result, "vkAllocateCommandBuffers");
}

static void record_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer, VkMemoryBarrier2 barrier)
{
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2;
    VkDependencyInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &barrier};
    gpu->vk.vkCmdPipelineBarrier2(buffer, &info);
}

#define DEVICE_STAGES                                                                                        \
    (VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_DRAW_INDIRECT_BIT |                        \
     VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT)
#define DEVICE_READS                                                                                         \
    (VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_INDIRECT_COMMAND_READ_BIT |                           \
     VK_ACCESS_2_TRANSFER_READ_BIT)
#define DEVICE_WRITES (VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT)

void rf_record_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer)
{
    record_barrier(gpu, buffer,
                   (VkMemoryBarrier2){.srcStageMask = DEVICE_STAGES,
                                      .srcAccessMask = DEVICE_WRITES,
                                      .dstStageMask = DEVICE_STAGES,
                                      .dstAccessMask = DEVICE_READS | DEVICE_WRITES});
}

void rf_record_begin_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer)
{
    record_barrier(gpu, buffer,
                   (VkMemoryBarrier2){.srcStageMask = DEVICE_STAGES | VK_PIPELINE_STAGE_2_HOST_BIT,
                                      .srcAccessMask = DEVICE_WRITES | VK_ACCESS_2_HOST_WRITE_BIT,
                                      .dstStageMask = DEVICE_STAGES,
                                      .dstAccessMask = DEVICE_READS | DEVICE_WRITES});
}

void rf_record_end_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer)
{
    record_barrier(
        gpu, buffer,
        (VkMemoryBarrier2){.srcStageMask = DEVICE_STAGES,
                           .srcAccessMask = DEVICE_WRITES,
                           .dstStageMask = VK_PIPELINE_STAGE_2_HOST_BIT,
                           .dstAccessMask = VK_ACCESS_2_HOST_READ_BIT | VK_ACCESS_2_HOST_WRITE_BIT});
}
