/* Vulkan calls that fail: between the engine and the loader stand functions of the test, which volkInitialize
 * (--wrap) puts there, so that validation layers see what really happens. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/failure/faults.h"

VkResult vulkan_failure = VK_ERROR_OUT_OF_DEVICE_MEMORY;

static PFN_vkGetInstanceProcAddr real_instance_function;
static PFN_vkGetDeviceProcAddr real_device_function;
static PFN_vkCreateInstance real_create_instance;

/* ---- Out of memory ---------------------------------------------------------------------------------------- */

/* Each is called as the one it stands for;  */
#define CALLS(X)                                                                                             \
    X(vkAllocateMemory,                                                                                      \
      (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c, VkDeviceMemory *d),        \
      (a, b, c, d))                                                                                          \
    X(vkCreateBuffer,                                                                                        \
      (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d), (a, b, c, d))  \
    X(vkBindBufferMemory, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d), (a, b, c, d))          \
    X(vkMapMemory,                                                                                           \
      (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e, void **f),          \
      (a, b, c, d, e, f))                                                                                    \
    X(vkCreateCommandPool,                                                                                   \
      (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c, VkCommandPool *d),      \
      (a, b, c, d))                                                                                          \
    X(vkAllocateCommandBuffers, (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c),      \
      (a, b, c))                                                                                             \
    X(vkBeginCommandBuffer, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b))                  \
    X(vkEndCommandBuffer, (VkCommandBuffer a), (a))                                                          \
    X(vkResetCommandPool, (VkDevice a, VkCommandPool b, VkCommandPoolResetFlags c), (a, b, c))               \
    X(vkCreateComputePipelines,                                                                              \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d,                      \
       const VkAllocationCallbacks *e, VkPipeline *f),                                                       \
      (a, b, c, d, e, f))                                                                                    \
    X(vkCreatePipelineCache,                                                                                 \
      (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineCache *d),  \
      (a, b, c, d))                                                                                          \
    X(vkGetPipelineCacheData, (VkDevice a, VkPipelineCache b, size_t * c, void *d), (a, b, c, d))            \
    X(vkCreatePipelineLayout,                                                                                \
      (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c,                      \
       VkPipelineLayout *d),                                                                                 \
      (a, b, c, d))                                                                                          \
    X(vkCreateQueryPool,                                                                                     \
      (VkDevice a, const VkQueryPoolCreateInfo *b, const VkAllocationCallbacks *c, VkQueryPool *d),          \
      (a, b, c, d))                                                                                          \
    X(vkCreateEvent, (VkDevice a, const VkEventCreateInfo *b, const VkAllocationCallbacks *c, VkEvent *d),   \
      (a, b, c, d))                                                                                          \
    X(vkCreateSemaphore,                                                                                     \
      (VkDevice a, const VkSemaphoreCreateInfo *b, const VkAllocationCallbacks *c, VkSemaphore *d),          \
      (a, b, c, d))                                                                                          \
    X(vkCreateShaderModule,                                                                                  \
      (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c, VkShaderModule *d),    \
      (a, b, c, d))

#define CALL(name, parameters, arguments)                                                                    \
    static PFN_##name real_##name;                                                                           \
    static VKAPI_ATTR VkResult VKAPI_CALL may_fail_##name parameters                                         \
    {                                                                                                        \
        return fault_here(&vulkan_faults, #name, __builtin_return_address(0)) ? vulkan_failure               \
                                                                              : real_##name arguments;       \
    }
CALLS(CALL)
#undef CALL

static PFN_vkCreateDevice real_create_device;

static VKAPI_ATTR VkResult VKAPI_CALL may_fail_create_device(VkPhysicalDevice physical,
                                                             const VkDeviceCreateInfo *info,
                                                             const VkAllocationCallbacks *callbacks,
                                                             VkDevice *device)
{
    if (fault_here(&vulkan_faults, "vkCreateDevice", __builtin_return_address(0)))
        return vulkan_failure;
    return real_create_device(physical, info, callbacks, device);
}

static VKAPI_ATTR VkResult VKAPI_CALL may_fail_create_instance(const VkInstanceCreateInfo *info,
                                                               const VkAllocationCallbacks *callbacks,
                                                               VkInstance *instance)
{
    if (fault_here(&vulkan_faults, "vkCreateInstance", __builtin_return_address(0)))
        return vulkan_failure;
    return real_create_instance(info, callbacks, instance);
}

/* ---- Lost devices ----------------------------------------------------------------------------------------- */

static pthread_mutex_t lost_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    long call;
    size_t calls;
    bool fired;
    VkDevice device;
    VkQueue queue;
} lost = {.call = LOST_NEVER};
/* Queues of the devices that live, so that a queue's loss is its device's. */
static struct {
    VkDevice device;
    VkQueue queue;
} queues[64];

void lost_arm(long call)
{
    pthread_mutex_lock(&lost_mutex);
    lost.call = call;
    lost.calls = 0;
    lost.fired = false;
    lost.device = VK_NULL_HANDLE;
    lost.queue = VK_NULL_HANDLE;
    pthread_mutex_unlock(&lost_mutex);
}

bool lost_fired(void)
{
    return lost.fired;
}

size_t lost_calls(void)
{
    return lost.calls;
}

/* Whether a call on a device, or on a queue, finds it lost, by this call or by one before. */
static bool is_lost(VkDevice device, VkQueue queue)
{
    pthread_mutex_lock(&lost_mutex);
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        if (queues[i].device && (queues[i].device == device || queues[i].queue == queue)) {
            device = queues[i].device;
            queue = queues[i].queue;
        }
    if (lost.call >= 0 && !lost.fired && lost.calls == (size_t)lost.call) {
        lost.fired = true;
        lost.device = device;
        lost.queue = queue;
    }
    lost.calls++;
    bool result = lost.fired && lost.device == device;
    pthread_mutex_unlock(&lost_mutex);
    return result;
}

static PFN_vkQueueSubmit2 real_submit;
static PFN_vkWaitSemaphores real_wait;
static PFN_vkGetSemaphoreCounterValue real_value;
static PFN_vkGetDeviceQueue real_queue;
static PFN_vkDestroyDevice real_destroy;

static VKAPI_ATTR VkResult VKAPI_CALL may_lose_submit(VkQueue queue, uint32_t count,
                                                      const VkSubmitInfo2 *infos, VkFence fence)
{
    if (is_lost(VK_NULL_HANDLE, queue))
        return VK_ERROR_DEVICE_LOST;
    if (fault_here(&vulkan_faults, "vkQueueSubmit2", __builtin_return_address(0)))
        return vulkan_failure;
    return real_submit(queue, count, infos, fence);
}

/* A lost device works no more, this one does: what is waited for is over before the loss is told. */
static VKAPI_ATTR VkResult VKAPI_CALL may_lose_wait(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                    uint64_t timeout)
{
    VkResult result = real_wait(device, info, timeout);
    if (is_lost(device, VK_NULL_HANDLE))
        return VK_ERROR_DEVICE_LOST;
    return fault_here(&vulkan_faults, "vkWaitSemaphores", __builtin_return_address(0)) ? vulkan_failure
                                                                                       : result;
}

/* "Not yet", always: a wait that the first looks end makes no call that counts, and how many waits do hangs on the
 * processor's speed. That a look itself finds the device lost is tests/gpu/test_faults.c's. */
static VKAPI_ATTR VkResult VKAPI_CALL may_lose_value(VkDevice device, VkSemaphore semaphore, uint64_t *value)
{
    VkResult result = real_value(device, semaphore, value);
    *value = 0;
    pthread_mutex_lock(&lost_mutex);
    bool gone = lost.fired && lost.device == device;
    pthread_mutex_unlock(&lost_mutex);
    return gone ? VK_ERROR_DEVICE_LOST : result;
}

static VKAPI_ATTR void VKAPI_CALL remember_queue(VkDevice device, uint32_t family, uint32_t index,
                                                 VkQueue *queue)
{
    real_queue(device, family, index, queue);
    pthread_mutex_lock(&lost_mutex);
    size_t at = 0;
    while (at + 1 < sizeof queues / sizeof *queues && queues[at].device)
        at++;
    queues[at].device = device;
    queues[at].queue = *queue;
    pthread_mutex_unlock(&lost_mutex);
}

static VKAPI_ATTR void VKAPI_CALL forget_device(VkDevice device, const VkAllocationCallbacks *callbacks)
{
    pthread_mutex_lock(&lost_mutex);
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        if (queues[i].device == device)
            queues[i].device = VK_NULL_HANDLE;
    if (lost.device == device)
        lost.device = VK_NULL_HANDLE;
    pthread_mutex_unlock(&lost_mutex);
    real_destroy(device, callbacks);
}

/* ---- Standing between ------------------------------------------------------------------------------------- */

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name)
{
    PFN_vkVoidFunction real = real_device_function(device, name);
#define STAND_FOR(call, function, ours)                                                                      \
    if (strcmp(name, #call) == 0) {                                                                          \
        function = (PFN_##call)real;                                                                         \
        return (PFN_vkVoidFunction)ours;                                                                     \
    }
#define CALL(call, parameters, arguments) STAND_FOR(call, real_##call, may_fail_##call)
    CALLS(CALL)
#undef CALL
    STAND_FOR(vkQueueSubmit2, real_submit, may_lose_submit)
    STAND_FOR(vkWaitSemaphores, real_wait, may_lose_wait)
    STAND_FOR(vkGetSemaphoreCounterValue, real_value, may_lose_value)
    STAND_FOR(vkGetDeviceQueue, real_queue, remember_queue)
    STAND_FOR(vkDestroyDevice, real_destroy, forget_device)
    return real;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction real = real_instance_function(instance, name);
    STAND_FOR(vkGetDeviceProcAddr, real_device_function, device_function)
    STAND_FOR(vkCreateDevice, real_create_device, may_fail_create_device)
    return real;
}

VkResult __real_volkInitialize(void);
VkResult __wrap_volkInitialize(void);

VkResult __wrap_volkInitialize(void)
{
    VkResult result = __real_volkInitialize();
    if (result != VK_SUCCESS)
        return result;
    real_instance_function = vkGetInstanceProcAddr;
    vkGetInstanceProcAddr = instance_function;
    real_create_instance = vkCreateInstance;
    vkCreateInstance = may_fail_create_instance;
    return VK_SUCCESS;
}
