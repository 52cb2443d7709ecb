/* The staging ring for weights: while one piece travels, the producer fills the next. */
#include <string.h>

#include "engine/allocate.h"
#include "engine/gpu/internal.h"

enum { PIECE_BYTES = 8 << 20, PIECE_COUNT = 3, PIECE_ALIGNMENT = 16 };

/* A place that has been handed out and not yet been copied. */
struct pending {
    struct rf_block *block;
    VkBufferCopy copy;
};

struct piece {
    struct rf_span staging;
    VkCommandPool pool;
    VkCommandBuffer buffer;
    uint64_t ticket, used;
    struct pending *pending;
    size_t pending_count, pending_room;
};

struct rf_upload {
    struct rf_gpu *gpu;
    struct rf_arena *arena;
    struct piece pieces[PIECE_COUNT];
    size_t current;
    bool ready; /* the pieces exist: only made when memory is met that the host cannot reach */
};

enum rf_status rf_upload_begin(struct rf_upload **out, struct rf_gpu *gpu, struct rf_error *err)
{
    *out = rf_calloc(1, sizeof **out);
    if (!*out)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for an upload");
    (*out)->gpu = gpu;
    return RF_OK;
}

uint64_t rf_upload_piece_bytes(const struct rf_upload *up)
{
    (void)up;
    return PIECE_BYTES;
}

static enum rf_status make_pieces(struct rf_upload *up, struct rf_error *err)
{
    if (!up->arena)
        up->arena = rf_arena_create(up->gpu, RF_MEMORY_READBACK, "upload staging");
    if (!up->arena)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for an upload");
    for (size_t i = 0; i < PIECE_COUNT; ++i) {
        struct piece *piece = &up->pieces[i];
        enum rf_status status = RF_OK;
        if (!piece->staging.address)
            status = rf_arena_alloc(up->arena, &piece->staging, PIECE_BYTES, "piece", err);
        if (!status && !piece->pool)
            status = rf_command_pool_create(up->gpu, &piece->pool, &piece->buffer, err);
        if (status)
            return status;
    }
    up->ready = true;
    return RF_OK;
}

/* Records and submits what a piece holds. */
static enum rf_status send_piece(struct rf_upload *up, struct piece *piece, struct rf_error *err)
{
    struct rf_gpu *gpu = up->gpu;
    if (!piece->pending_count)
        return RF_OK;
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                     .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult result = gpu->vk.vkResetCommandPool(gpu->device, piece->pool, 0);
    if (result == VK_SUCCESS)
        result = gpu->vk.vkBeginCommandBuffer(piece->buffer, &info);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "recording an upload");
    rf_record_begin_barrier(gpu, piece->buffer);
    for (size_t i = 0; i < piece->pending_count; ++i)
        gpu->vk.vkCmdCopyBuffer(piece->buffer, piece->staging.block->buffer, piece->pending[i].block->buffer,
                                1, &piece->pending[i].copy);
    rf_record_end_barrier(gpu, piece->buffer);
    result = gpu->vk.vkEndCommandBuffer(piece->buffer);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "recording an upload");
    piece->pending_count = 0;
    piece->used = 0;
    return rf_submit_buffers(gpu, &piece->buffer, 1, &piece->ticket, err);
}

static enum rf_status add_pending(struct piece *piece, struct rf_span dst, uint64_t offset, uint64_t size,
                                  struct rf_error *err)
{
    if (piece->pending_count == piece->pending_room) {
        size_t room = piece->pending_room ? 2 * piece->pending_room : 16;
        struct pending *grown = rf_realloc(piece->pending, room * sizeof *grown);
        if (!grown)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for an upload");
        piece->pending = grown;
        piece->pending_room = room;
    }
    piece->pending[piece->pending_count++] = (struct pending){
        dst.block,
        {.srcOffset = piece->staging.offset + piece->used, .dstOffset = dst.offset + offset, .size = size}};
    return RF_OK;
}

enum rf_status rf_upload_place(struct rf_upload *up, struct rf_span dst, uint64_t offset, uint64_t size,
                               void **place, struct rf_error *err)
{
    *place = NULL;
    if (!dst.address || !dst.block)
        return rf_fail(err, RF_ERROR_ARGUMENT, "upload: a null span");
    if (!size || size > PIECE_BYTES || offset > dst.size || size > dst.size - offset)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "upload: %llu bytes at %llu of a span of %llu bytes, wanted 1 to %d bytes inside it",
                       (unsigned long long)size, (unsigned long long)offset, (unsigned long long)dst.size,
                       PIECE_BYTES);
    if (dst.host) {
        *place = (unsigned char *)dst.host + offset;
        return RF_OK;
    }
    enum rf_status status = up->ready ? RF_OK : make_pieces(up, err);
    if (status)
        return status;
    struct piece *piece = &up->pieces[up->current];
    if (piece->used + size > PIECE_BYTES) {
        if ((status = send_piece(up, piece, err)) != RF_OK)
            return status;
        up->current = (up->current + 1) % PIECE_COUNT;
        piece = &up->pieces[up->current];
        if ((status = rf_wait_ticket(up->gpu, piece->ticket, err)) != RF_OK)
            return status;
    }
    if ((status = add_pending(piece, dst, offset, size, err)) != RF_OK)
        return status;
    *place = (unsigned char *)piece->staging.host + piece->used;
    piece->used += (size + PIECE_ALIGNMENT - 1) & ~(uint64_t)(PIECE_ALIGNMENT - 1);
    return RF_OK;
}

enum rf_status rf_upload_end(struct rf_upload *up, struct rf_error *err)
{
    if (!up)
        return RF_OK;
    struct rf_gpu *gpu = up->gpu;
    enum rf_status status = up->ready ? send_piece(up, &up->pieces[up->current], err) : RF_OK;
    for (size_t i = 0; i < PIECE_COUNT; ++i) {
        struct piece *piece = &up->pieces[i];
        /* Also after a failure: what was submitted must be done before its staging memory goes. */
        enum rf_status waited = rf_wait_ticket(gpu, piece->ticket, status ? NULL : err);
        if (!status)
            status = waited;
        gpu->vk.vkDestroyCommandPool(gpu->device, piece->pool, NULL);
        rf_free(piece->pending);
    }
    rf_arena_destroy(up->arena);
    rf_free(up);
    return status;
}
