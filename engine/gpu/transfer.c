/* Blocking copies between host and device, through one staging buffer where the host cannot reach the
 * memory. */
#include <string.h>

#include "engine/allocate.h"
#include "engine/gpu/internal.h"

enum {
    STAGING_BYTES = 8 << 20,
    DIRECT_READ_BYTES = 4096 /* reading uncached memory through the bus is slow, but fine for a few bytes */
};

/* Guarded by transfer_mutex. */
struct rf_transfer {
    struct rf_arena *arena;
    struct rf_span staging;
    VkCommandPool pool;
    VkCommandBuffer buffer;
};

enum rf_status rf_transfer_init(struct rf_gpu *gpu, struct rf_error *err)
{
    if (gpu->transfer)
        return RF_OK;
    struct rf_transfer *transfer = rf_calloc(1, sizeof *transfer);
    if (!transfer)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for the staging buffer");
    transfer->arena = rf_arena_create(gpu, RF_MEMORY_READBACK, "staging");
    enum rf_status status = RF_OK;
    if (!transfer->arena)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for the staging buffer");
    if (!status)
        status = rf_arena_alloc(transfer->arena, &transfer->staging, STAGING_BYTES, "transfers", err);
    if (!status)
        status = rf_command_pool_create(gpu, &transfer->pool, &transfer->buffer, err);
    if (status) {
        rf_arena_destroy(transfer->arena);
        rf_free(transfer);
        return status;
    }
    gpu->transfer = transfer;
    return RF_OK;
}

void rf_transfer_destroy(struct rf_gpu *gpu)
{
    struct rf_transfer *transfer = gpu->transfer;
    if (!transfer)
        return;
    gpu->vk.vkDestroyCommandPool(gpu->device, transfer->pool, NULL);
    rf_arena_destroy(transfer->arena);
    rf_free(transfer);
    gpu->transfer = NULL;
}

/* Starts recording; transfer_mutex is held. */
static enum rf_status begin(struct rf_gpu *gpu, struct rf_error *err)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                     .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult result = gpu->vk.vkResetCommandPool(gpu->device, gpu->transfer->pool, 0);
    if (result == VK_SUCCESS)
        result = gpu->vk.vkBeginCommandBuffer(gpu->transfer->buffer, &info);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "recording a transfer");
    rf_record_begin_barrier(gpu, gpu->transfer->buffer);
    return RF_OK;
}

static enum rf_status finish(struct rf_gpu *gpu, struct rf_error *err)
{
    uint64_t ticket;
    rf_record_end_barrier(gpu, gpu->transfer->buffer);
    VkResult result = gpu->vk.vkEndCommandBuffer(gpu->transfer->buffer);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "recording a transfer");
    enum rf_status status = rf_submit_buffers(gpu, &gpu->transfer->buffer, 1, &ticket, err);
    return status ? status : rf_wait_ticket(gpu, ticket, err);
}

static void record_copy(struct rf_gpu *gpu, struct rf_region dst, struct rf_region src)
{
    VkBufferCopy region = {.srcOffset = src.offset, .dstOffset = dst.offset, .size = src.size};
    gpu->vk.vkCmdCopyBuffer(gpu->transfer->buffer, src.block->buffer, dst.block->buffer, 1, &region);
}

static enum rf_status copy_regions(struct rf_gpu *gpu, struct rf_region dst, struct rf_region src,
                                   struct rf_error *err)
{
    enum rf_status status = begin(gpu, err);
    if (status)
        return status;
    record_copy(gpu, dst, src);
    return finish(gpu, err);
}

enum rf_status rf_region_fill(struct rf_gpu *gpu, struct rf_region region, uint32_t word,
                              struct rf_error *err)
{
    if (!region.size)
        return RF_OK;
    pthread_mutex_lock(&gpu->transfer_mutex);
    enum rf_status status = rf_transfer_init(gpu, err);
    if (!status)
        status = begin(gpu, err);
    if (!status) {
        gpu->vk.vkCmdFillBuffer(gpu->transfer->buffer, region.block->buffer, region.offset, region.size,
                                word);
        status = finish(gpu, err);
    }
    pthread_mutex_unlock(&gpu->transfer_mutex);
    return status;
}

enum rf_status rf_regions_read(struct rf_gpu *gpu, const struct rf_region *regions, size_t count, void *data,
                               struct rf_error *err)
{
    unsigned char *to = data;
    pthread_mutex_lock(&gpu->transfer_mutex);
    enum rf_status status = rf_transfer_init(gpu, err);
    for (size_t i = 0; !status && i < count;) {
        uint64_t used = 0;
        status = begin(gpu, err);
        if (status)
            break;
        for (; i < count && used + regions[i].size <= STAGING_BYTES; ++i) {
            struct rf_span staging = gpu->transfer->staging;
            record_copy(gpu, (struct rf_region){staging.block, staging.offset + used, regions[i].size},
                        regions[i]);
            used += regions[i].size;
        }
        status = finish(gpu, err);
        if (!status)
            memcpy(to, gpu->transfer->staging.host, used);
        to += used;
    }
    pthread_mutex_unlock(&gpu->transfer_mutex);
    return status;
}

/* ---- Spans ------------------------------------------------------------------------------------------ */

static enum rf_status check_span(struct rf_span span, uint64_t size, const char *what, struct rf_error *err)
{
    if (!span.address || !span.block)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: a null span", what);
    if (size > span.size)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: %llu bytes, the span has %llu", what,
                       (unsigned long long)size, (unsigned long long)span.size);
    return RF_OK;
}

static enum rf_status write_staged(struct rf_gpu *gpu, struct rf_span dst, const unsigned char *from,
                                   uint64_t size, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint64_t done = 0; !status && done < size; done += STAGING_BYTES) {
        uint64_t part = size - done < STAGING_BYTES ? size - done : STAGING_BYTES;
        struct rf_span staging = gpu->transfer->staging;
        memcpy(staging.host, from + done, part);
        status = copy_regions(gpu, (struct rf_region){dst.block, dst.offset + done, part},
                              (struct rf_region){staging.block, staging.offset, part}, err);
    }
    return status;
}

enum rf_status rf_gpu_write(struct rf_gpu *gpu, struct rf_span dst, const void *data, uint64_t size,
                            struct rf_error *err)
{
    enum rf_status status = check_span(dst, size, "rf_gpu_write", err);
    if (status || !size)
        return status;
    if (dst.host) {
        memcpy(dst.host, data, size);
        return RF_OK;
    }
    pthread_mutex_lock(&gpu->transfer_mutex);
    status = rf_transfer_init(gpu, err);
    if (!status)
        status = write_staged(gpu, dst, data, size, err);
    pthread_mutex_unlock(&gpu->transfer_mutex);
    return status;
}

static enum rf_status read_staged(struct rf_gpu *gpu, struct rf_span src, unsigned char *to, uint64_t size,
                                  struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint64_t done = 0; !status && done < size; done += STAGING_BYTES) {
        uint64_t part = size - done < STAGING_BYTES ? size - done : STAGING_BYTES;
        struct rf_span staging = gpu->transfer->staging;
        status = copy_regions(gpu, (struct rf_region){staging.block, staging.offset, part},
                              (struct rf_region){src.block, src.offset + done, part}, err);
        if (!status)
            memcpy(to + done, staging.host, part);
    }
    return status;
}

enum rf_status rf_gpu_read(struct rf_gpu *gpu, struct rf_span src, void *data, uint64_t size,
                           struct rf_error *err)
{
    enum rf_status status = check_span(src, size, "rf_gpu_read", err);
    if (status || !size)
        return status;
    if (src.host && (src.block->host_cached || size <= DIRECT_READ_BYTES)) {
        memcpy(data, src.host, size);
        return RF_OK;
    }
    pthread_mutex_lock(&gpu->transfer_mutex);
    status = rf_transfer_init(gpu, err);
    if (!status)
        status = read_staged(gpu, src, data, size, err);
    pthread_mutex_unlock(&gpu->transfer_mutex);
    return status;
}

enum rf_status rf_gpu_fill(struct rf_gpu *gpu, struct rf_span dst, uint32_t word, struct rf_error *err)
{
    enum rf_status status = check_span(dst, dst.size, "rf_gpu_fill", err);
    if (status)
        return status;
    if (dst.size % 4 || dst.offset % 4)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_gpu_fill: offset %llu and size %llu must be multiples of 4",
                       (unsigned long long)dst.offset, (unsigned long long)dst.size);
    if (!dst.host)
        return rf_region_fill(gpu, (struct rf_region){dst.block, dst.offset, dst.size}, word, err);
    uint32_t *words = dst.host;
    for (uint64_t i = 0; i < dst.size / 4; ++i)
        words[i] = word;
    return RF_OK;
}

enum rf_status rf_gpu_copy(struct rf_gpu *gpu, struct rf_span dst, struct rf_span src, uint64_t size,
                           struct rf_error *err)
{
    enum rf_status status = check_span(dst, size, "rf_gpu_copy: destination", err);
    if (!status)
        status = check_span(src, size, "rf_gpu_copy: source", err);
    if (status || !size)
        return status;
    if (dst.block == src.block && dst.offset < src.offset + size && src.offset < dst.offset + size)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_gpu_copy: source and destination overlap");
    pthread_mutex_lock(&gpu->transfer_mutex);
    status = rf_transfer_init(gpu, err);
    if (!status)
        status = copy_regions(gpu, (struct rf_region){dst.block, dst.offset, size},
                              (struct rf_region){src.block, src.offset, size}, err);
    pthread_mutex_unlock(&gpu->transfer_mutex);
    return status;
}
