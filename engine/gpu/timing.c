#include "engine/gpu/timing.h"


#include "engine/allocate.h"
#include "engine/gpu/internal.h"

struct rf_timer {
    struct rf_gpu *gpu;
    VkQueryPool pool; /* 0: start, 1: stop */
    struct rf_cmd *marks[2];
};

static enum rf_status record_mark(struct rf_timer *timer, uint32_t mark, struct rf_error *err)
{
    enum rf_status status = rf_cmd_begin(&timer->marks[mark], timer->gpu, "timestamp", err);
    if (status)
        return status;
    VkCommandBuffer buffer = rf_cmd_buffer(timer->marks[mark]);
    if (mark == 0)
        timer->gpu->vk.vkCmdResetQueryPool(buffer, timer->pool, 0, 2);
    timer->gpu->vk.vkCmdWriteTimestamp2(buffer, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, timer->pool, mark);
    return rf_cmd_end(timer->marks[mark], err);
}

enum rf_status rf_timer_create(struct rf_timer **out, struct rf_gpu *gpu, struct rf_error *err)
{
    *out = NULL;
    if (gpu->probe.caps.timestamp_period <= 0.0f)
        return RF_OK;
    struct rf_timer *timer = rf_calloc(1, sizeof *timer);
    if (!timer)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a timer");
    timer->gpu = gpu;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = 2};
    VkResult result = gpu->vk.vkCreateQueryPool(gpu->device, &info, NULL, &timer->pool);
    enum rf_status status = result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkCreateQueryPool");
    for (uint32_t mark = 0; !status && mark < 2; ++mark)
        status = record_mark(timer, mark, err);
    if (status) {
        rf_timer_destroy(timer);
        return status;
    }
    *out = timer;
    return RF_OK;
}

void rf_timer_destroy(struct rf_timer *timer)
{
    if (!timer)
        return;
    rf_cmd_destroy(timer->marks[0]);
    rf_cmd_destroy(timer->marks[1]);
    timer->gpu->vk.vkDestroyQueryPool(timer->gpu->device, timer->pool, NULL);
    rf_free(timer);
}

struct rf_cmd *rf_timer_start(const struct rf_timer *timer)
{
    return timer ? timer->marks[0] : NULL;
}

struct rf_cmd *rf_timer_stop(const struct rf_timer *timer)
{
    return timer ? timer->marks[1] : NULL;
}

enum rf_status rf_timer_seconds(const struct rf_timer *timer, double *seconds, struct rf_error *err)
{
    uint64_t ticks[2] = {0, 0};
    *seconds = 0.0;
    if (!timer)
        return RF_OK;
    struct rf_gpu *gpu = timer->gpu;
    VkResult result = gpu->vk.vkGetQueryPoolResults(gpu->device, timer->pool, 0, 2, sizeof ticks, ticks,
                                                    sizeof ticks[0], VK_QUERY_RESULT_64_BIT);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkGetQueryPoolResults");
    /* A counter of fewer than 64 bits has wrapped between the two: rarer than once in minutes, and better
     * unmeasured than wrong. */
    if (ticks[1] >= ticks[0])
        *seconds = (double)(ticks[1] - ticks[0]) * (double)gpu->probe.caps.timestamp_period * 1e-9;
    return RF_OK;
}
