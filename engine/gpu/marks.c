#include "engine/gpu/marks.h"


#include "engine/allocate.h"
#include "engine/gpu/internal.h"

enum { POOL_QUERIES = 256, LEAST_GROUP = 30 /* times what a timestamp costs */ };

struct rf_marks {
    struct rf_gpu *gpu;
    enum rf_marking marking;
    VkQueryPool *pools; /* of POOL_QUERIES each; reset by the command buffer itself */
    uint32_t pool_count;
    uint32_t tick_count;
    VkEvent flush; /* NULL but where timestamps take long; nothing waits for it */
    double since;  /* seconds that what was recorded since the last timestamp is expected to take */
    struct rf_marked *items;
    uint32_t count, room;
};

static enum rf_status fail_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the marks of a command buffer");
}

static enum rf_status add_pool(struct rf_marks *marks, VkCommandBuffer buffer, struct rf_error *err)
{
    VkQueryPool *grown = rf_realloc(marks->pools, (marks->pool_count + 1) * sizeof *grown);
    if (!grown)
        return fail_memory(err);
    marks->pools = grown;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = POOL_QUERIES};
    VkResult result =
        marks->gpu->vk.vkCreateQueryPool(marks->gpu->device, &info, NULL, &marks->pools[marks->pool_count]);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkCreateQueryPool");
    marks->gpu->vk.vkCmdResetQueryPool(buffer, marks->pools[marks->pool_count++], 0, POOL_QUERIES);
    return RF_OK;
}

/* llvmpipe makes each timestamp a scene of its rasterizer. Nothing starts it until something flushes, and that would be
 * the next barrier, which then waits until each of the rasterizer's threads has woken up and found nothing to draw. A
 * reset of an event that nobody sets flushes too: they wake up beside the next dispatch, and the barrier behind it finds them
 * done (SPEED.md has the figures). */
static enum rf_status create_flush(struct rf_marks *marks, struct rf_error *err)
{
    const VkEventCreateInfo info = {.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO,
                                    .flags = VK_EVENT_CREATE_DEVICE_ONLY_BIT};
    struct rf_gpu *gpu = marks->gpu;
    if (gpu->probe.caps.timestamp_cost <= 0.0)
        return RF_OK;
    VkResult result = gpu->vk.vkCreateEvent(gpu->device, &info, NULL, &marks->flush);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkCreateEvent");
}

static void record_flush(const struct rf_marks *marks, VkCommandBuffer buffer)
{
    if (marks->flush)
        marks->gpu->vk.vkCmdResetEvent2(buffer, marks->flush, VK_PIPELINE_STAGE_2_TOP_OF_PIPE_BIT);
}

/* One reset in POOL_QUERIES timestamps lies before one of them, in the group that it ends. */
enum rf_status rf_marks_tick(struct rf_marks *marks, VkCommandBuffer buffer, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    if (marks->tick_count == marks->pool_count * POOL_QUERIES)
        status = add_pool(marks, buffer, err);
    if (status)
        return status;
    marks->gpu->vk.vkCmdWriteTimestamp2(buffer, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                                        marks->pools[marks->tick_count / POOL_QUERIES],
                                        marks->tick_count % POOL_QUERIES);
    record_flush(marks, buffer);
    marks->tick_count++;
    marks->since = 0.0;
    return RF_OK;
}

/* Where timestamps take long, short groups are taken together. */
bool rf_marks_want_tick(const struct rf_marks *marks)
{
    if (!marks || marks->marking != RF_MARK_GROUPS)
        return marks != NULL;
    return marks->since >= LEAST_GROUP * marks->gpu->probe.caps.timestamp_cost;
}

enum rf_status rf_marks_create(struct rf_marks **out, struct rf_gpu *gpu, enum rf_marking marking,
                               VkCommandBuffer buffer, struct rf_error *err)
{
    *out = NULL;
    if (gpu->probe.caps.timestamp_period <= 0.0f)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "device %u (%s) has no timestamps: only times of the host",
                       gpu->probe.info.index, gpu->probe.info.name);
    struct rf_marks *marks = rf_calloc(1, sizeof *marks);
    if (!marks)
        return fail_memory(err);
    marks->gpu = gpu;
    marks->marking = marking;
    enum rf_status status = create_flush(marks, err);
    if (!status)
        status = rf_marks_tick(marks, buffer, err);
    if (status) {
        rf_marks_destroy(marks);
        return status;
    }
    *out = marks;
    return RF_OK;
}

void rf_marks_destroy(struct rf_marks *marks)
{
    if (!marks)
        return;
    for (uint32_t i = 0; i < marks->pool_count; i++)
        marks->gpu->vk.vkDestroyQueryPool(marks->gpu->device, marks->pools[i], NULL);
    if (marks->flush)
        marks->gpu->vk.vkDestroyEvent(marks->gpu->device, marks->flush, NULL);
    rf_free(marks->pools);
    rf_free(marks->items);
    rf_free(marks);
}

enum rf_marking rf_marks_marking(const struct rf_marks *marks)
{
    return marks ? marks->marking : RF_MARK_NOTHING;
}

enum rf_status rf_marks_add(struct rf_marks *marks, const struct rf_kernel *kernel, uint32_t note,
                            double seconds, struct rf_error *err)
{
    if (marks->count == marks->room) {
        uint32_t room = marks->room ? 2 * marks->room : 64;
        struct rf_marked *grown = rf_realloc(marks->items, room * sizeof *grown);
        if (!grown)
            return fail_memory(err);
        marks->items = grown;
        marks->room = room;
    }
    marks->since += seconds;
    marks->items[marks->count++] = (struct rf_marked){kernel, note, marks->tick_count - 1};
    return RF_OK;
}

const struct rf_marked *rf_marks_items(const struct rf_marks *marks, uint32_t *count)
{
    *count = marks ? marks->count : 0;
    return marks ? marks->items : NULL;
}

uint32_t rf_marks_groups(const struct rf_marks *marks)
{
    return marks ? marks->tick_count - 1 : 0;
}

enum rf_status rf_marks_read(const struct rf_marks *marks, uint64_t *ticks, struct rf_error *err)
{
    struct rf_gpu *gpu = marks->gpu;
    for (uint32_t first = 0; first < marks->tick_count; first += POOL_QUERIES) {
        uint32_t left = marks->tick_count - first, count = left < POOL_QUERIES ? left : POOL_QUERIES;
        VkResult result = gpu->vk.vkGetQueryPoolResults(
            gpu->device, marks->pools[first / POOL_QUERIES], 0, count, count * sizeof *ticks, ticks + first,
            sizeof *ticks, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
        if (result != VK_SUCCESS)
            return rf_vk_fail(err, result, "vkGetQueryPoolResults");
    }
    return RF_OK;
}

double rf_gpu_ticks_between(const struct rf_gpu *gpu, uint64_t first, uint64_t second)
{
    uint32_t bits = gpu->probe.caps.timestamp_bits;
    uint64_t mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX, ticks = (second - first) & mask;
    /* What seems to be most of a whole turn is a step back: two clocks that were read out of order. */
    double counted = ticks > mask / 2 ? -(double)((first - second) & mask) : (double)ticks;
    return counted * (double)gpu->probe.caps.timestamp_period * 1e-9;
}

enum rf_status rf_gpu_read_clocks(struct rf_gpu *gpu, struct rf_clock_pair *pair, bool *known,
                                  struct rf_error *err)
{
    *known = gpu->read_clocks != NULL;
    if (!*known)
        return RF_OK;
    const VkCalibratedTimestampInfoEXT clocks[2] = {
        {.sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT, .timeDomain = VK_TIME_DOMAIN_DEVICE_EXT},
        {.sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
         .timeDomain = VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT}};
    uint64_t values[2], deviation;
    VkResult result = gpu->read_clocks(gpu->device, 2, clocks, values, &deviation);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkGetCalibratedTimestampsEXT");
    *pair = (struct rf_clock_pair){1e-9 * (double)values[1], values[0], 1e-9 * (double)deviation};
    return RF_OK;
}
