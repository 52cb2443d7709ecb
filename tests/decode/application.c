#include "tests/decode/application.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/decode/engine.h"

enum { WORDS = 1 << 16 };

#define require_vk(call) assert_int_equal(call, VK_SUCCESS)

struct application_calls application_calls;

/* One application at a time holds the queue. */
static pthread_mutex_t queue_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int side; /* whose submission was the last: 1 the library's, 2 the application's */
static _Thread_local bool locked;

static void lock(void *user)
{
    (void)user;
    pthread_mutex_lock(&queue_mutex);
    locked = true;
}

static void unlock(void *user)
{
    (void)user;
    locked = false;
    pthread_mutex_unlock(&queue_mutex);
}

static void note_turn(int whose)
{
    if (atomic_exchange(&side, whose) == 3 - whose)
        atomic_fetch_add(&application_calls.turns, 1);
}

/* ---- What the library gets to call ------------------------------------------------------------------ */

static struct {
    PFN_vkGetDeviceProcAddr get;
    PFN_vkQueueSubmit2 submit;
    PFN_vkQueueWaitIdle queue_idle;
    PFN_vkDeviceWaitIdle device_idle;
    PFN_vkQueueBeginDebugUtilsLabelEXT begin;
    PFN_vkQueueEndDebugUtilsLabelEXT end;
    PFN_vkQueueInsertDebugUtilsLabelEXT insert;
    PFN_vkDestroyDevice destroy_device;
    PFN_vkDestroyInstance destroy_instance;
} below;

static void check_lock(void)
{
    if (!locked)
        atomic_fetch_add(&application_calls.unlocked, 1);
}

static VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *infos, VkFence fence)
{
    check_lock();
    atomic_fetch_add(&application_calls.submissions, 1);
    note_turn(1);
    return below.submit(queue, count, infos, fence);
}

static VkResult VKAPI_CALL queue_idle(VkQueue queue)
{
    check_lock();
    atomic_fetch_add(&application_calls.idle, 1);
    return below.queue_idle(queue);
}

static VkResult VKAPI_CALL device_idle(VkDevice device)
{
    atomic_fetch_add(&application_calls.idle, 1);
    return below.device_idle(device);
}

static void VKAPI_CALL begin_label(VkQueue queue, const VkDebugUtilsLabelEXT *label)
{
    check_lock();
    below.begin(queue, label);
}

static void VKAPI_CALL end_label(VkQueue queue)
{
    check_lock();
    below.end(queue);
}

static void VKAPI_CALL insert_label(VkQueue queue, const VkDebugUtilsLabelEXT *label)
{
    check_lock();
    below.insert(queue, label);
}

static void VKAPI_CALL destroy_device(VkDevice device, const VkAllocationCallbacks *callbacks)
{
    (void)device, (void)callbacks;
    atomic_fetch_add(&application_calls.destroyed, 1);
}

static void VKAPI_CALL destroy_instance(VkInstance instance, const VkAllocationCallbacks *callbacks)
{
    (void)instance, (void)callbacks;
    atomic_fetch_add(&application_calls.destroyed, 1);
}

/* `real` goes below, `mine` to the library. */
#define INTERPOSE(text, field, mine)                                                                         \
    if (real && strcmp(name, text) == 0) {                                                                   \
        memcpy(&below.field, &real, sizeof real);                                                            \
        return (PFN_vkVoidFunction)(mine);                                                                   \
    }

static PFN_vkVoidFunction VKAPI_CALL get_device_function(VkDevice device, const char *name)
{
    PFN_vkVoidFunction real = below.get(device, name);
    INTERPOSE("vkQueueSubmit2", submit, submit)
    INTERPOSE("vkQueueWaitIdle", queue_idle, queue_idle)
    INTERPOSE("vkDeviceWaitIdle", device_idle, device_idle)
    INTERPOSE("vkQueueBeginDebugUtilsLabelEXT", begin, begin_label)
    INTERPOSE("vkQueueEndDebugUtilsLabelEXT", end, end_label)
    INTERPOSE("vkQueueInsertDebugUtilsLabelEXT", insert, insert_label)
    INTERPOSE("vkDestroyDevice", destroy_device, destroy_device)
    /* Any other way to a queue would be news. */
    if (strncmp(name, "vkQueue", 7) == 0)
        fail_msg("the library asks for %s", name);
    return real;
}

static PFN_vkVoidFunction VKAPI_CALL get_function(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction real = vkGetInstanceProcAddr(instance, name);
    INTERPOSE("vkGetDeviceProcAddr", get, get_device_function)
    INTERPOSE("vkDestroyInstance", destroy_instance, destroy_instance)
    return real;
}

/* ---- Instance and device ---------------------------------------------------------------------------- */

static void make_instance(struct application *a)
{
    static const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pApplicationInfo = &app,
                                       .enabledExtensionCount = 1,
                                       .ppEnabledExtensionNames = extensions};
    require_vk(volkInitialize());
    require_vk(vkCreateInstance(&info, NULL, &a->instance));
    volkLoadInstanceOnly(a->instance);
    uint32_t count = 1;
    assert_true(vkEnumeratePhysicalDevices(a->instance, &count, &a->physical) >= VK_SUCCESS && count == 1);
}

static void make_device(struct application *a, bool required)
{
    static const float priority = 0.5f;
    const struct rf_vulkan_query query = {.size = sizeof query,
                                          .get_instance_proc_addr = get_function,
                                          .instance = a->instance,
                                          .physical_device = a->physical};
    require_ok(rf_vulkan_needs_get(&a->needs, &query, err));
    a->queue_info = (VkDeviceQueueCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                              .queueFamilyIndex = a->needs->queue_family,
                                              .queueCount = 1,
                                              .pQueuePriorities = &priority};
    a->info = (VkDeviceCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                   .pNext = required ? a->needs->required_features : a->needs->features,
                                   .queueCreateInfoCount = 1,
                                   .pQueueCreateInfos = &a->queue_info,
                                   .enabledExtensionCount = required ? a->needs->required_extension_count
                                                                     : a->needs->extension_count,
                                   .ppEnabledExtensionNames = a->needs->extensions};
    require_vk(vkCreateDevice(a->physical, &a->info, NULL, &a->device));
    volkLoadDeviceTable(&a->vk, a->device);
    a->vk.vkGetDeviceQueue(a->device, a->needs->queue_family, 0, &a->queue);
    a->handed = (struct rf_vulkan_device){.size = sizeof a->handed,
                                          .api_version = VK_API_VERSION_1_3,
                                          .get_instance_proc_addr = get_function,
                                          .instance = a->instance,
                                          .physical_device = a->physical,
                                          .device = a->device,
                                          .device_info = &a->info,
                                          .queue_family = a->needs->queue_family,
                                          .lock_queue = lock,
                                          .unlock_queue = unlock,
                                          .debug_utils = true};
}

static void make_buffer(struct application *a, int which)
{
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = 4 * WORDS,
                                     .usage =
                                         VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkMemoryRequirements needs;
    VkPhysicalDeviceMemoryProperties memory;
    const VkMemoryPropertyFlags wanted =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    require_vk(a->vk.vkCreateBuffer(a->device, &info, NULL, &a->buffers[which]));
    a->vk.vkGetBufferMemoryRequirements(a->device, a->buffers[which], &needs);
    vkGetPhysicalDeviceMemoryProperties(a->physical, &memory);
    uint32_t type = 0;
    while (!(needs.memoryTypeBits >> type & 1) || (memory.memoryTypes[type].propertyFlags & wanted) != wanted)
        type++;
    const VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = needs.size,
                                           .memoryTypeIndex = type};
    require_vk(a->vk.vkAllocateMemory(a->device, &allocate, NULL, &a->memory[which]));
    require_vk(a->vk.vkBindBufferMemory(a->device, a->buffers[which], a->memory[which], 0));
}

void application_open(struct application *a, bool required)
{
    *a = (struct application){0};
    application_calls = (struct application_calls){0};
    make_instance(a);
    make_device(a, required);
    for (int i = 0; i < 2; i++)
        make_buffer(a, i);
    require_vk(a->vk.vkMapMemory(a->device, a->memory[1], 0, VK_WHOLE_SIZE, 0, (void **)&a->seen));
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .queueFamilyIndex = a->needs->queue_family};
    require_vk(a->vk.vkCreateCommandPool(a->device, &pool, NULL, &a->pool));
    const VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                  .commandPool = a->pool,
                                                  .commandBufferCount = 1};
    require_vk(a->vk.vkAllocateCommandBuffers(a->device, &allocate, &a->commands));
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    require_vk(a->vk.vkCreateFence(a->device, &fence, NULL, &a->fence));
}

void application_close(struct application *a)
{
    require_vk(a->vk.vkDeviceWaitIdle(a->device));
    a->vk.vkDestroyFence(a->device, a->fence, NULL);
    a->vk.vkDestroyCommandPool(a->device, a->pool, NULL);
    for (int i = 0; i < 2; i++) {
        a->vk.vkDestroyBuffer(a->device, a->buffers[i], NULL);
        a->vk.vkFreeMemory(a->device, a->memory[i], NULL);
    }
    a->vk.vkDestroyDevice(a->device, NULL);
    vkDestroyInstance(a->instance, NULL);
    rf_free(a->needs);
}

/* ---- Its own work ----------------------------------------------------------------------------------- */

static void barrier(struct application *a, VkPipelineStageFlags2 to, VkAccessFlags2 access)
{
    const VkMemoryBarrier2 memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
                                     .srcStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
                                     .srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
                                     .dstStageMask = to,
                                     .dstAccessMask = access};
    const VkDependencyInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &memory};
    a->vk.vkCmdPipelineBarrier2(a->commands, &info);
}

void application_work(struct application *a, uint32_t value)
{
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    const VkBufferCopy copy = {0, 0, 4 * WORDS};
    VkResult result = a->vk.vkResetCommandPool(a->device, a->pool, 0);
    if (!result)
        result = a->vk.vkBeginCommandBuffer(a->commands, &begin);
    a->vk.vkCmdFillBuffer(a->commands, a->buffers[0], 0, VK_WHOLE_SIZE, value);
    barrier(a, VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT, VK_ACCESS_2_TRANSFER_READ_BIT);
    a->vk.vkCmdCopyBuffer(a->commands, a->buffers[0], a->buffers[1], 1, &copy);
    barrier(a, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    if (!result)
        result = a->vk.vkEndCommandBuffer(a->commands);
    const VkCommandBufferSubmitInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                              .commandBuffer = a->commands};
    const VkSubmitInfo2 info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                .commandBufferInfoCount = 1,
                                .pCommandBufferInfos = &buffer};
    lock(NULL);
    note_turn(2);
    if (!result)
        result = a->vk.vkQueueSubmit2(a->queue, 1, &info, a->fence);
    unlock(NULL);
    if (!result)
        result = a->vk.vkWaitForFences(a->device, 1, &a->fence, VK_TRUE, UINT64_MAX);
    if (!result)
        result = a->vk.vkResetFences(a->device, 1, &a->fence);
    bool right = !result;
    for (uint32_t i = 0; right && i < WORDS; i++)
        right = a->seen[i] == value;
    atomic_fetch_add(&a->submissions, 1);
    atomic_fetch_add(&a->wrong, !right);
}

static void *work(void *user)
{
    struct application *a = user;
    for (uint32_t value = 1; !atomic_load(&a->stop); value++)
        application_work(a, value * 2654435761u);
    return NULL;
}

void application_start(struct application *a)
{
    atomic_store(&a->stop, false);
    assert_int_equal(pthread_create(&a->thread, NULL, work, a), 0);
}

void application_stop(struct application *a)
{
    atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
}
