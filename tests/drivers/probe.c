/* A tiny Vulkan program that the driver matrix is checked with: prints the device, and on request misuses it.
 *   probe                prints the device's name and driver; exit status 77 if there is none
 *   probe --expect TEXT  and fails if the name does not hold TEXT
 *   probe --invalid      creates a buffer of zero bytes, which the validation layer must report
 *   probe --hazard       writes a buffer twice without a barrier, which synchronization validation must report */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/vulkan.h"

struct probe {
    VkInstance instance;
    VkPhysicalDevice physical;
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    VkDevice device;
    VkQueue queue;
};

static void check(VkResult result, const char *what)
{
    if (result != VK_SUCCESS) {
        fprintf(stderr, "probe: %s: VkResult %d\n", what, (int)result);
        exit(result == VK_ERROR_INCOMPATIBLE_DRIVER ? 77 : 1);
    }
}

static void open_device(struct probe *probe)
{
    if (volkInitialize() != VK_SUCCESS) {
        fprintf(stderr, "probe: no Vulkan loader\n");
        exit(77);
    }
    const VkApplicationInfo app = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3 };
    const VkInstanceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app };
    check(vkCreateInstance(&info, NULL, &probe->instance), "vkCreateInstance");
    volkLoadInstance(probe->instance);
    uint32_t count = 1;
    const VkResult found = vkEnumeratePhysicalDevices(probe->instance, &count, &probe->physical);
    if (found < 0 || count == 0) {
        fprintf(stderr, "probe: no device\n");
        exit(77);
    }
    VkPhysicalDeviceDriverProperties driver = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES };
    VkPhysicalDeviceProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = &driver };
    vkGetPhysicalDeviceProperties2(probe->physical, &properties);
    memcpy(probe->name, properties.properties.deviceName, sizeof probe->name);
    printf("%s, %s %s\n", properties.properties.deviceName, driver.driverName, driver.driverInfo);

    const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                            .queueCount = 1,
                                            .pQueuePriorities = &priority };
    const VkDeviceCreateInfo device = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                        .queueCreateInfoCount = 1,
                                        .pQueueCreateInfos = &queue };
    check(vkCreateDevice(probe->physical, &device, NULL, &probe->device), "vkCreateDevice");
    volkLoadDevice(probe->device);
    vkGetDeviceQueue(probe->device, 0, 0, &probe->queue);
}

static VkBuffer create_buffer(const struct probe *probe, VkDeviceSize size)
{
    const VkBufferCreateInfo info = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                      .size = size,
                                      .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT };
    VkBuffer buffer = VK_NULL_HANDLE;
    check(vkCreateBuffer(probe->device, &info, NULL, &buffer), "vkCreateBuffer");
    return buffer;
}

static VkDeviceMemory bind_memory(const struct probe *probe, VkBuffer buffer)
{
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(probe->device, buffer, &needs);
    uint32_t type = 0;
    while (!(needs.memoryTypeBits >> type & 1))
        type++;
    const VkMemoryAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                        .allocationSize = needs.size,
                                        .memoryTypeIndex = type };
    VkDeviceMemory memory = VK_NULL_HANDLE;
    check(vkAllocateMemory(probe->device, &info, NULL, &memory), "vkAllocateMemory");
    check(vkBindBufferMemory(probe->device, buffer, memory, 0), "vkBindBufferMemory");
    return memory;
}

/* Two fills of the same bytes in one command buffer, nothing between them. */
static void provoke_hazard(const struct probe *probe)
{
    VkBuffer buffer = create_buffer(probe, 256);
    VkDeviceMemory memory = bind_memory(probe, buffer);
    VkCommandPool pool = VK_NULL_HANDLE;
    const VkCommandPoolCreateInfo pool_info = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO };
    check(vkCreateCommandPool(probe->device, &pool_info, NULL, &pool), "vkCreateCommandPool");
    const VkCommandBufferAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               .commandPool = pool,
                                               .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                               .commandBufferCount = 1 };
    VkCommandBuffer commands = VK_NULL_HANDLE;
    check(vkAllocateCommandBuffers(probe->device, &info, &commands), "vkAllocateCommandBuffers");
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    check(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    vkCmdFillBuffer(commands, buffer, 0, 256, 1);
    vkCmdFillBuffer(commands, buffer, 0, 256, 2);
    check(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
    const VkSubmitInfo submit = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                  .commandBufferCount = 1,
                                  .pCommandBuffers = &commands };
    check(vkQueueSubmit(probe->queue, 1, &submit, VK_NULL_HANDLE), "vkQueueSubmit");
    check(vkQueueWaitIdle(probe->queue), "vkQueueWaitIdle");
    vkDestroyCommandPool(probe->device, pool, NULL);
    vkDestroyBuffer(probe->device, buffer, NULL);
    vkFreeMemory(probe->device, memory, NULL);
}

int main(int argc, char **argv)
{
    struct probe probe = { 0 };
    open_device(&probe);
    if (argc > 1 && strcmp(argv[1], "--invalid") == 0)
        vkDestroyBuffer(probe.device, create_buffer(&probe, 0), NULL);
    else if (argc > 1 && strcmp(argv[1], "--hazard") == 0)
        provoke_hazard(&probe);
    vkDestroyDevice(probe.device, NULL);
    vkDestroyInstance(probe.instance, NULL);
    if (argc > 2 && strcmp(argv[1], "--expect") == 0 && !strstr(probe.name, argv[2])) {
        fprintf(stderr, "probe: the device is %s, wanted %s\n", probe.name, argv[2]);
        return 1;
    }
    return 0;
}
