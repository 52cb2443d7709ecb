/* Answers a question on a Vulkan device that this program made, and works with at the same time: a thread of its own
 * submits to the same queue while the answer forms.
 *   cc share_device.c $(pkg-config --cflags --libs refusion) -pthread -ldl -o share_device
 *   ./share_device /usr/share/refusion/models/tiny "Write a Python function limit_value(n) that keeps n between 5 and 89." */
#define VK_NO_PROTOTYPES
#include <refusion_vulkan.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- The application's Vulkan ----------------------------------------------------------------------- */

enum { WORDS = 4096 };

#define FUNCTIONS(X)                                                                                         \
    X(vkCreateInstance)                                                                                      \
    X(vkDestroyInstance)                                                                                     \
    X(vkEnumeratePhysicalDevices)                                                                            \
    X(vkGetPhysicalDeviceMemoryProperties)                                                                   \
    X(vkCreateDevice)                                                                                        \
    X(vkDestroyDevice)                                                                                       \
    X(vkGetDeviceQueue)                                                                                      \
    X(vkCreateBuffer)                                                                                        \
    X(vkDestroyBuffer)                                                                                       \
    X(vkGetBufferMemoryRequirements)                                                                         \
    X(vkAllocateMemory)                                                                                      \
    X(vkFreeMemory)                                                                                          \
    X(vkBindBufferMemory)                                                                                    \
    X(vkMapMemory)                                                                                           \
    X(vkCreateCommandPool)                                                                                   \
    X(vkDestroyCommandPool)                                                                                  \
    X(vkResetCommandPool)                                                                                    \
    X(vkAllocateCommandBuffers)                                                                              \
    X(vkBeginCommandBuffer)                                                                                  \
    X(vkEndCommandBuffer)                                                                                    \
    X(vkCmdFillBuffer)                                                                                       \
    X(vkCmdPipelineBarrier)                                                                                  \
    X(vkCreateFence)                                                                                         \
    X(vkDestroyFence)                                                                                        \
    X(vkQueueSubmit)                                                                                         \
    X(vkWaitForFences)                                                                                       \
    X(vkResetFences)
#define DECLARE(name) static PFN_##name name;
FUNCTIONS(DECLARE)
static PFN_vkGetInstanceProcAddr get_instance_proc_addr;

static VkInstance instance;
static VkPhysicalDevice physical;
static VkDevice device;
static VkQueue queue;
static pthread_mutex_t queue_mutex = PTHREAD_MUTEX_INITIALIZER;

static void check(VkResult result, const char *what)
{
    if (result == VK_SUCCESS)
        return;
    fprintf(stderr, "share_device: %s: VkResult %d\n", what, (int)result);
    exit(1);
}

static void load(void)
{
#define LOAD(name) name = (PFN_##name)get_instance_proc_addr(instance, #name);
    FUNCTIONS(LOAD)
}

static void make_instance(void)
{
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .pApplicationName = "share_device",
                                   .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pApplicationInfo = &app};
    void *loader = dlopen("libvulkan.so.1", RTLD_NOW);
    uint32_t count = 1;
    if (loader)
        *(void **)&get_instance_proc_addr = dlsym(loader, "vkGetInstanceProcAddr");
    if (!get_instance_proc_addr)
        check(VK_ERROR_INITIALIZATION_FAILED, "libvulkan.so.1");
    vkCreateInstance = (PFN_vkCreateInstance)get_instance_proc_addr(NULL, "vkCreateInstance");
    check(vkCreateInstance(&info, NULL, &instance), "vkCreateInstance");
    load();
    VkResult result = vkEnumeratePhysicalDevices(instance, &count, &physical);
    check(result == VK_INCOMPLETE ? VK_SUCCESS : result, "vkEnumeratePhysicalDevices");
}

/* ---- Its own work ----------------------------------------------------------------------------------- */

static struct {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint32_t *words;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    atomic_bool stop;
    unsigned count, wrong;
} work;

static void make_work(uint32_t family)
{
    const VkBufferCreateInfo buffer = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                       .size = 4 * WORDS,
                                       .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    const VkMemoryPropertyFlags wanted =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    VkPhysicalDeviceMemoryProperties memory;
    VkMemoryRequirements needs;
    check(vkCreateBuffer(device, &buffer, NULL, &work.buffer), "vkCreateBuffer");
    vkGetBufferMemoryRequirements(device, work.buffer, &needs);
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .allocationSize = needs.size};
    for (uint32_t i = memory.memoryTypeCount; i-- > 0;)
        if ((needs.memoryTypeBits >> i & 1) && (memory.memoryTypes[i].propertyFlags & wanted) == wanted)
            allocate.memoryTypeIndex = i;
    check(vkAllocateMemory(device, &allocate, NULL, &work.memory), "vkAllocateMemory");
    check(vkBindBufferMemory(device, work.buffer, work.memory, 0), "vkBindBufferMemory");
    check(vkMapMemory(device, work.memory, 0, VK_WHOLE_SIZE, 0, (void **)&work.words), "vkMapMemory");
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .queueFamilyIndex = family};
    check(vkCreateCommandPool(device, &pool, NULL, &work.pool), "vkCreateCommandPool");
    const VkCommandBufferAllocateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                  .commandPool = work.pool,
                                                  .commandBufferCount = 1};
    check(vkAllocateCommandBuffers(device, &commands, &work.commands), "vkAllocateCommandBuffers");
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    check(vkCreateFence(device, &fence, NULL, &work.fence), "vkCreateFence");
}

/* The same lock as refusion takes, round the submission alone. */
static void lock_queue(void *user)
{
    pthread_mutex_lock(user);
}

static void unlock_queue(void *user)
{
    pthread_mutex_unlock(user);
}

static void submit(uint32_t value)
{
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                     .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &work.commands};
    check(vkResetCommandPool(device, work.pool, 0), "vkResetCommandPool");
    check(vkBeginCommandBuffer(work.commands, &begin), "vkBeginCommandBuffer");
    vkCmdFillBuffer(work.commands, work.buffer, 0, VK_WHOLE_SIZE, value);
    vkCmdPipelineBarrier(work.commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                         &barrier, 0, NULL, 0, NULL);
    check(vkEndCommandBuffer(work.commands), "vkEndCommandBuffer");
    lock_queue(&queue_mutex);
    VkResult result = vkQueueSubmit(queue, 1, &info, work.fence);
    unlock_queue(&queue_mutex);
    check(result, "vkQueueSubmit");
    check(vkWaitForFences(device, 1, &work.fence, VK_TRUE, UINT64_MAX), "vkWaitForFences");
    check(vkResetFences(device, 1, &work.fence), "vkResetFences");
}

static void *run_work(void *user)
{
    (void)user;
    while (!atomic_load(&work.stop)) {
        submit(++work.count);
        for (int i = 0; i < WORDS; i++)
            if (work.words[i] != work.count) {
                work.wrong++;
                break;
            }
    }
    return NULL;
}

/* ---- The answer ------------------------------------------------------------------------------------- */

static enum rf_status answer(rf_context *context, const char *folder, const char *text, struct rf_error *err)
{
    const struct rf_message question = {"user", text};
    rf_model *model = NULL;
    rf_session *session = NULL;
    enum rf_status status = rf_model_load(&model, context, folder, NULL, err);
    if (status == RF_OK)
        status = rf_session_create(&session, model, NULL, err);
    if (status == RF_OK)
        status = rf_session_begin_chat(session, &question, 1, true, err);
    if (status == RF_OK)
        status = rf_session_generate(session, NULL, NULL, err);
    if (status == RF_OK)
        puts(rf_session_text(session, NULL));
    rf_session_destroy(session);
    rf_model_destroy(model);
    return status;
}

/* Makes the device and lends it; *context is NULL after a failure. */
static enum rf_status lend(rf_context **context, struct rf_error *err)
{
    static const float priority = 1.0f;
    const struct rf_vulkan_query query = {sizeof query, get_instance_proc_addr, instance, physical, NULL};
    struct rf_vulkan_needs *needs;
    enum rf_status status = rf_vulkan_needs_get(&needs, &query, err);
    if (status != RF_OK)
        return status;
    /* Here an application would set features of its own in needs->features, and hang more to needs->features_end. */
    const VkDeviceQueueCreateInfo queues = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                            .queueFamilyIndex = needs->queue_family,
                                            .queueCount = 1,
                                            .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = needs->features,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queues,
                                     .enabledExtensionCount = needs->extension_count,
                                     .ppEnabledExtensionNames = needs->extensions};
    check(vkCreateDevice(physical, &info, NULL, &device), "vkCreateDevice");
    vkGetDeviceQueue(device, needs->queue_family, 0, &queue);
    make_work(needs->queue_family);
    const struct rf_vulkan_device ours = {.size = sizeof ours,
                                          .api_version = VK_API_VERSION_1_3,
                                          .get_instance_proc_addr = get_instance_proc_addr,
                                          .instance = instance,
                                          .physical_device = physical,
                                          .device = device,
                                          .device_info = &info,
                                          .queue_family = needs->queue_family,
                                          .queue = queue,
                                          .lock_queue = lock_queue,
                                          .unlock_queue = unlock_queue,
                                          .queue_user = &queue_mutex};
    const struct rf_context_desc desc = {.size = sizeof desc, .submission_ms = 8}; /* half a frame */
    status = rf_context_adopt(context, &ours, &desc, err);
    rf_free(needs);
    return status;
}

static void destroy_device(void)
{
    if (device) {
        vkDestroyFence(device, work.fence, NULL);
        vkDestroyCommandPool(device, work.pool, NULL);
        vkDestroyBuffer(device, work.buffer, NULL);
        vkFreeMemory(device, work.memory, NULL);
        vkDestroyDevice(device, NULL);
    }
    vkDestroyInstance(instance, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: share_device MODEL QUESTION\n");
        return 2;
    }
    struct rf_error err = {0};
    rf_context *context = NULL;
    pthread_t thread;
    make_instance();
    enum rf_status status = lend(&context, &err);
    if (status == RF_OK && pthread_create(&thread, NULL, run_work, NULL) != 0)
        check(VK_ERROR_OUT_OF_HOST_MEMORY, "pthread_create");
    if (status == RF_OK) {
        status = answer(context, argv[1], argv[2], &err);
        atomic_store(&work.stop, true);
        pthread_join(thread, NULL);
        rf_context_destroy(context); /* the device stays: one more of its own */
        submit(++work.count);
        if (status == RF_OK)
            fprintf(stderr, "%u submissions of its own meanwhile, %u with a wrong result\n", work.count,
                    work.wrong);
    }
    if (status != RF_OK)
        fprintf(stderr, "share_device: %s\n", err.message);
    destroy_device();
    return status == RF_OK && !work.wrong ? 0 : 1;
}
