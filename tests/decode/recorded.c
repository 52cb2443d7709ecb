#include "tests/decode/recorded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gpu/command.h"
#include "shaders/shared.h"

static struct {
    struct rf_device_table real;
    struct recording *recordings;
    uint32_t count, room;
    const char *kernel; /* of the dispatch that is being recorded */
} seen;

uint32_t pools_made, pools_alive;

static struct recording *recording_of(VkCommandBuffer buffer)
{
    for (uint32_t i = seen.count; i > 0; i--) /* buffers are allocated anew where others were freed */
        if (seen.recordings[i - 1].buffer == buffer)
            return &seen.recordings[i - 1];
    fail_msg("a call for a command buffer that was not begun");
    return NULL;
}

static struct entry *note(VkCommandBuffer buffer, enum call call)
{
    struct recording *r = recording_of(buffer);
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : 64;
        r->entries = realloc(r->entries, r->room * sizeof *r->entries);
        assert_non_null(r->entries);
    }
    memset(&r->entries[r->count], 0, sizeof *r->entries);
    r->entries[r->count].call = call;
    return &r->entries[r->count++];
}

static void put(struct entry *entry, const void *bytes, size_t size)
{
    assert_true(entry->size + size <= sizeof entry->bytes);
    memcpy(entry->bytes + entry->size, bytes, size);
    entry->size += (uint32_t)size;
}

static VkResult VKAPI_CALL begin_buffer(VkCommandBuffer buffer, const VkCommandBufferBeginInfo *info)
{
    if (seen.count == seen.room) {
        seen.room = seen.room ? 2 * seen.room : 64;
        seen.recordings = realloc(seen.recordings, seen.room * sizeof *seen.recordings);
        assert_non_null(seen.recordings);
    }
    seen.recordings[seen.count++] = (struct recording){.buffer = buffer};
    put(note(buffer, BEGIN), &info->flags, sizeof info->flags);
    return seen.real.vkBeginCommandBuffer(buffer, info);
}

static VkResult VKAPI_CALL end_buffer(VkCommandBuffer buffer)
{
    note(buffer, END);
    return seen.real.vkEndCommandBuffer(buffer);
}

static void VKAPI_CALL bind(VkCommandBuffer buffer, VkPipelineBindPoint point, VkPipeline pipeline)
{
    put(note(buffer, BIND), &pipeline, sizeof pipeline);
    seen.real.vkCmdBindPipeline(buffer, point, pipeline);
}

#define END_OF(T, last) (offsetof(struct T, last) + sizeof(((struct T *)0)->last))

/* Bytes of a kernel's push constants without the padding at their end, in which anything may stand. */
static uint32_t push_bytes(const char *kernel, uint32_t size)
{
    static const struct {
        const char *prefix;
        size_t bytes;
    } pushes[] = {{"rows_gather", END_OF(rf_push_rows_gather, grid_count)},
                  {"embed", END_OF(rf_push_embed, count)},
                  {"rmsnorm", END_OF(rf_push_rmsnorm, eps)},
                  {"matmul", END_OF(rf_push_matmul, split_octets)},
                  {"head_rope", END_OF(rf_push_head_rope, eps)},
                  {"attention_reduce", END_OF(rf_push_attention_reduce, ld)},
                  {"attention", END_OF(rf_push_attention, scale)},
                  {"logits_reduce", END_OF(rf_push_logits_reduce, ld)},
                  {"slot_", END_OF(rf_push_slots, sequences)},
                  {"kv_commit", END_OF(rf_push_kv_commit, head_dim)},
                  {"synthetic", END_OF(rf_push_synthetic, ratio)}};
    for (size_t i = 0; kernel && i < sizeof pushes / sizeof *pushes; i++)
        if (strncmp(kernel, pushes[i].prefix, strlen(pushes[i].prefix)) == 0) {
            assert_true(pushes[i].bytes <= size && size - pushes[i].bytes < 8);
            return (uint32_t)pushes[i].bytes;
        }
    fail_msg("kernel %s: its push constants are unknown", kernel ? kernel : "(none)");
    return size;
}

enum rf_status __real_rf_cmd_dispatch(struct rf_cmd *cmd, const struct rf_dispatch *given,
                                      struct rf_error *err);
enum rf_status __wrap_rf_cmd_dispatch(struct rf_cmd *cmd, const struct rf_dispatch *given,
                                      struct rf_error *err);
enum rf_status __wrap_rf_cmd_dispatch(struct rf_cmd *cmd, const struct rf_dispatch *given,
                                      struct rf_error *err)
{
    seen.kernel = given->kernel ? rf_kernel_name(given->kernel) : NULL;
    return __real_rf_cmd_dispatch(cmd, given, err);
}

static void VKAPI_CALL push(VkCommandBuffer buffer, VkPipelineLayout layout, VkShaderStageFlags stages,
                            uint32_t offset, uint32_t size, const void *values)
{
    struct entry *entry = note(buffer, PUSH);
    assert_int_equal(offset, 0);
    put(entry, values, push_bytes(seen.kernel, size));
    put(entry, &layout, sizeof layout);
    put(entry, &stages, sizeof stages);
    seen.real.vkCmdPushConstants(buffer, layout, stages, offset, size, values);
}

static void VKAPI_CALL dispatch(VkCommandBuffer buffer, uint32_t x, uint32_t y, uint32_t z)
{
    put(note(buffer, DISPATCH), (const uint32_t[]){x, y, z}, 12);
    seen.real.vkCmdDispatch(buffer, x, y, z);
}

static void VKAPI_CALL dispatch_indirect(VkCommandBuffer buffer, VkBuffer sizes, VkDeviceSize offset)
{
    struct entry *entry = note(buffer, INDIRECT);
    put(entry, &offset, sizeof offset);
    put(entry, &sizes, sizeof sizes);
    seen.real.vkCmdDispatchIndirect(buffer, sizes, offset);
}

static void VKAPI_CALL barrier(VkCommandBuffer buffer, const VkDependencyInfo *info)
{
    struct entry *entry = note(buffer, BARRIER);
    const uint32_t counts[] = {info->dependencyFlags, info->memoryBarrierCount,
                               info->bufferMemoryBarrierCount, info->imageMemoryBarrierCount};
    put(entry, counts, sizeof counts);
    for (uint32_t i = 0; i < info->memoryBarrierCount; i++) {
        const VkMemoryBarrier2 *b = &info->pMemoryBarriers[i];
        const uint64_t masks[] = {b->srcStageMask, b->srcAccessMask, b->dstStageMask, b->dstAccessMask};
        put(entry, masks, sizeof masks);
    }
    seen.real.vkCmdPipelineBarrier2(buffer, info);
}

static void VKAPI_CALL copy(VkCommandBuffer buffer, VkBuffer from, VkBuffer to, uint32_t count,
                            const VkBufferCopy *regions)
{
    struct entry *entry = note(buffer, COPY);
    put(entry, &to, sizeof to);
    put(entry, &from, sizeof from);
    for (uint32_t i = 0; i < count && i < 4; i++)
        put(entry, &regions[i], sizeof regions[i]);
    seen.real.vkCmdCopyBuffer(buffer, from, to, count, regions);
}

static void VKAPI_CALL fill(VkCommandBuffer buffer, VkBuffer to, VkDeviceSize offset, VkDeviceSize size,
                            uint32_t word)
{
    const uint64_t values[] = {offset, size, word};
    struct entry *entry = note(buffer, FILL);
    put(entry, &to, sizeof to);
    put(entry, values, sizeof values);
    seen.real.vkCmdFillBuffer(buffer, to, offset, size, word);
}

static void VKAPI_CALL reset_pool(VkCommandBuffer buffer, VkQueryPool pool, uint32_t first, uint32_t count)
{
    note(buffer, RESET);
    seen.real.vkCmdResetQueryPool(buffer, pool, first, count);
}

static void VKAPI_CALL write_timestamp(VkCommandBuffer buffer, VkPipelineStageFlags2 stage, VkQueryPool pool,
                                       uint32_t query)
{
    note(buffer, TIMESTAMP);
    seen.real.vkCmdWriteTimestamp2(buffer, stage, pool, query);
}

static VkResult VKAPI_CALL make_pool(VkDevice device, const VkQueryPoolCreateInfo *info,
                                     const VkAllocationCallbacks *allocator, VkQueryPool *pool)
{
    pools_made++;
    pools_alive++;
    return seen.real.vkCreateQueryPool(device, info, allocator, pool);
}

static void VKAPI_CALL destroy_pool(VkDevice device, VkQueryPool pool, const VkAllocationCallbacks *allocator)
{
    pools_alive--;
    seen.real.vkDestroyQueryPool(device, pool, allocator);
}

/* In the table that the driver's functions are called through. */
void recorded_interpose(struct rf_device_table *vk)
{
    seen.real = *vk;
    vk->vkBeginCommandBuffer = begin_buffer;
    vk->vkEndCommandBuffer = end_buffer;
    vk->vkCmdBindPipeline = bind;
    vk->vkCmdPushConstants = push;
    vk->vkCmdDispatch = dispatch;
    vk->vkCmdDispatchIndirect = dispatch_indirect;
    vk->vkCmdPipelineBarrier2 = barrier;
    vk->vkCmdCopyBuffer = copy;
    vk->vkCmdFillBuffer = fill;
    vk->vkCmdResetQueryPool = reset_pool;
    vk->vkCmdWriteTimestamp2 = write_timestamp;
    vk->vkCreateQueryPool = make_pool;
    vk->vkDestroyQueryPool = destroy_pool;
}

/* ---- Lists of commands ------------------------------------------------------------------------------ */

void recorded_free(struct listing *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free(list->items[i].entries);
    free(list->items);
    *list = (struct listing){0};
}

static uint32_t count_calls(const struct recording *r, enum call call)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->count; i++)
        count += r->entries[i].call == call;
    return count;
}

struct listing recorded_take(void)
{
    struct listing list = {calloc(seen.count + 1, sizeof *list.items), 0};
    assert_non_null(list.items);
    for (uint32_t i = 0; i < seen.count; i++) {
        const struct recording *r = &seen.recordings[i];
        if (count_calls(r, DISPATCH) + count_calls(r, INDIRECT) > 0)
            list.items[list.count++] = *r;
        else
            free(r->entries);
    }
    free(seen.recordings);
    seen.recordings = NULL;
    seen.count = seen.room = 0;
    return list;
}

uint32_t recorded_count(const struct listing *list, enum call call)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < list->count; i++)
        count += count_calls(&list->items[i], call);
    return count;
}

bool recorded_same(const struct recording *a, const struct recording *b)
{
    return a->count == b->count && memcmp(a->entries, b->entries, a->count * sizeof *a->entries) == 0;
}

uint32_t recorded_cross_out(const struct listing *a, const struct listing *b, bool *crossed)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t found = b->count;
        for (uint32_t j = 0; j < b->count && found == b->count; j++)
            if (!crossed[j] && recorded_same(&a->items[i], &b->items[j]))
                found = j;
        if (found < b->count)
            crossed[found] = true;
        else
            missing++;
    }
    return missing;
}

uint32_t recorded_strip(struct listing *list, const VkBuffer to[2])
{
    uint32_t copies = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        struct recording *r = &list->items[i];
        uint32_t kept = 0;
        for (uint32_t e = 0; e < r->count; e++) {
            const struct entry *entry = &r->entries[e];
            bool profilers = false;
            for (int copied = 0; entry->call == COPY && copied < 2; copied++)
                profilers = profilers || memcmp(entry->bytes, &to[copied], sizeof to[copied]) == 0;
            if (profilers) {
                copies++;
                assert_true(kept > 0 && r->entries[kept - 1].call == BARRIER);
                kept--;
            } else if (entry->call != RESET && entry->call != TIMESTAMP) {
                r->entries[kept++] = *entry;
            }
        }
        r->count = kept;
    }
    return copies;
}

void recorded_forget_places(struct listing *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        VkDeviceSize first = UINT64_MAX, offset;
        for (uint32_t e = 0; e < list->items[i].count; e++) {
            struct entry *entry = &list->items[i].entries[e];
            struct rf_push_rows_gather gather;
            if (entry->call == INDIRECT) {
                memcpy(&offset, entry->bytes, sizeof offset);
                first = first == UINT64_MAX ? offset : first;
                offset -= first;
                memset(entry->bytes, 0, sizeof entry->bytes);
                memcpy(entry->bytes, &offset, sizeof offset);
            }
            if (entry->call != PUSH ||
                entry->size != END_OF(rf_push_rows_gather, grid_count) + sizeof(VkPipelineLayout) + 4)
                continue;
            memcpy(&gather, entry->bytes, END_OF(rf_push_rows_gather, grid_count));
            gather.grids = gather.indirect = 0;
            memcpy(entry->bytes, &gather, END_OF(rf_push_rows_gather, grid_count));
        }
    }
}
