/* Vulkan calls that fail: planted in the device's table of functions. */
#include <string.h>

#include "engine/gpu/internal.h"
#include "tests/gpu/support.h"

static struct {
    VkResult wait, idle;
    PFN_vkQueueWaitIdle real_idle;
    int idles;
    VkDeviceSize sizes[8]; /* that were asked for */
    uint32_t types[8], count;
} planted;

static VkResult VKAPI_CALL fail_counter(VkDevice device, VkSemaphore semaphore, uint64_t *value)
{
    (void)device, (void)semaphore, (void)value;
    return planted.wait;
}

static VkResult VKAPI_CALL never_reached(VkDevice device, VkSemaphore semaphore, uint64_t *value)
{
    (void)device, (void)semaphore;
    *value = 0;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL fail_wait(VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t timeout)
{
    (void)device, (void)info, (void)timeout;
    return planted.wait;
}

static VkResult VKAPI_CALL count_idle(VkQueue queue)
{
    VkResult result = planted.real_idle(queue);
    ++planted.idles;
    return planted.idle ? planted.idle : result;
}

static VkResult VKAPI_CALL full_heap(VkDevice device, const VkMemoryAllocateInfo *info,
                                     const VkAllocationCallbacks *allocator, VkDeviceMemory *memory)
{
    (void)device, (void)allocator, (void)memory;
    assert_true(planted.count < 8);
    planted.sizes[planted.count] = info->allocationSize;
    planted.types[planted.count++] = info->memoryTypeIndex;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

/* Two device-local heaps, the second larger, and one that is the host's. */
static void VKAPI_CALL tell_budget(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *memory)
{
    (void)device;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = memory->pNext;
    static const VkMemoryHeap heaps[] = {
        {256, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}, {10000, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}, {90000, 0}};
    memory->memoryProperties.memoryHeapCount = 3;
    for (int i = 0; i < 3; ++i) {
        memory->memoryProperties.memoryHeaps[i] = heaps[i];
        budget->heapBudget[i] = heaps[i].size / 5 * 4;
    }
}

/* A dispatch that is submitted and waited for. */
static enum rf_status submit_and_wait(struct rf_gpu *gpu, struct rf_arena *arena, struct rf_error *err)
{
    struct rf_span source, target;
    struct test_push push;
    struct rf_kernel *kernel = test_kernel(gpu, 1, 32);
    enum rf_status status = rf_arena_alloc(arena, &source, 400, "source", err);
    if (!status)
        status = rf_arena_alloc(arena, &target, 400, "target", err);
    if (status)
        return status;
    struct rf_dispatch dispatch = test_dispatch(kernel, &push, source, target, 100, 1);
    return test_run(gpu, &dispatch, err);
}

/* When it cannot be waited for, the work is over all the same before the caller frees what it uses; when not
 * even that can be told, the device counts as lost. The message names the call. */
static void test_wait(void **state)
{
    (void)state;
    struct rf_error err;
    for (int call = 0; call < 2; ++call) {
        static const char *const calls[] = {"vkGetSemaphoreCounterValue", "vkWaitSemaphores"};
        struct rf_gpu *gpu = test_gpu(NULL, NULL);
        struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "work");
        const struct rf_device_table real = gpu->vk;
        planted.wait = VK_ERROR_OUT_OF_HOST_MEMORY;
        planted.idle = VK_SUCCESS;
        planted.idles = 0;
        planted.real_idle = real.vkQueueWaitIdle;
        gpu->vk.vkQueueWaitIdle = count_idle;
        gpu->vk.vkGetSemaphoreCounterValue = call ? never_reached : fail_counter;
        gpu->vk.vkWaitSemaphores = fail_wait;
        assert_rf_status(submit_and_wait(gpu, arena, &err), RF_ERROR_HOST_MEMORY);
        assert_message(&err, calls[call]);
        assert_int_equal(planted.idles, 1);

        gpu->vk = real; /* one failure is not the end */
        assert_rf_ok(submit_and_wait(gpu, arena, &err));

        gpu->vk.vkQueueWaitIdle = count_idle;
        gpu->vk.vkGetSemaphoreCounterValue = call ? never_reached : fail_counter;
        gpu->vk.vkWaitSemaphores = fail_wait;
        planted.idle = VK_ERROR_OUT_OF_HOST_MEMORY;
        assert_rf_status(submit_and_wait(gpu, arena, &err), RF_ERROR_DEVICE_LOST);
        assert_message(&err, calls[call]);
        assert_message(&err, "vkQueueWaitIdle");
        gpu->vk = real;
        assert_rf_status(submit_and_wait(gpu, arena, &err), RF_ERROR_DEVICE_LOST);

        rf_arena_destroy(arena);
        rf_gpu_destroy(gpu);
    }
}

/* A full heap: once more with just what is needed, then a message with the numbers. */
static void test_full_heap(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_span span;
    struct rf_gpu *gpu = test_gpu("unifiedMemory", NULL);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
    const PFN_vkAllocateMemory real = gpu->vk.vkAllocateMemory;
    const uint64_t used = rf_gpu_memory_used(gpu);
    memset(&planted, 0, sizeof planted);
    gpu->vk.vkAllocateMemory = full_heap;
    assert_rf_status(rf_arena_alloc(arena, &span, 1000, "layer 7 q", &err), RF_ERROR_DEVICE_MEMORY);
    assert_message(&err, "\"layer 7 q\" of \"weights\" wants");
    assert_message(&err, "the device has");
    assert_true(planted.count >= 2);
    assert_true(planted.sizes[0] >= 65536 && planted.sizes[planted.count - 1] < 4096);
    for (uint32_t i = 0; i < planted.count; ++i)
        assert_true(gpu->probe.memory.memoryTypes[planted.types[i]].propertyFlags &
                    VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    assert_int_equal(rf_gpu_memory_used(gpu), used);

    gpu->probe.caps.memory_budget = true;
    gpu->instance.get_memory2 = tell_budget;
    planted.count = 0;
    assert_rf_status(rf_arena_alloc(arena, &span, 1000, "layer 7 q", &err), RF_ERROR_DEVICE_MEMORY);
    assert_message(&err, ", of which the driver grants this process 8000");

    /* Memory that is not the device's own is no way out. */
    VkPhysicalDeviceMemoryProperties *memory = &gpu->probe.memory;
    const VkPhysicalDeviceMemoryProperties kept = *memory;
    for (uint32_t i = 0; i < memory->memoryTypeCount; ++i)
        memory->memoryTypes[i].propertyFlags &= ~(VkMemoryPropertyFlags)VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    gpu->vk.vkAllocateMemory = real;
    assert_rf_status(rf_arena_alloc(arena, &span, 1000, "layer 7 q", &err), RF_ERROR_DEVICE_MEMORY);
    *memory = kept;
    assert_rf_ok(rf_arena_alloc(arena, &span, 1000, "layer 7 q", &err));
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

/* Red zones may be read through the transfer while arenas are locked, on unified memory too. */
static void test_transfer_exists(void **state)
{
    (void)state;
    static const char *const modes[] = {NULL, "unifiedMemory"};
    for (int mode = 0; mode < 2; ++mode) {
        struct rf_gpu *gpu = test_gpu(modes[mode], NULL);
        assert_non_null(gpu->transfer);
        rf_gpu_destroy(gpu);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_full_heap),
        cmocka_unit_test(test_transfer_exists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
