/* An application with a Vulkan device of its own: made with what rf_vulkan_needs_get lists, a queue behind a lock, and work
 * of its own on it. It looks on at every call that the library makes of the queue. */
#ifndef RF_TESTS_DECODE_APPLICATION_H
#define RF_TESTS_DECODE_APPLICATION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/gpu/vulkan.h"
#include "engine/refusion_vulkan.h"

struct application {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    struct rf_vulkan_needs *needs;
    VkDeviceQueueCreateInfo queue_info;
    VkDeviceCreateInfo info;
    struct VolkDeviceTable vk;
    struct rf_vulkan_device handed; /* to rf_context_adopt */

    /* Its own work: a buffer that is filled, copied and compared. */
    VkBuffer buffers[2];
    VkDeviceMemory memory[2];
    uint32_t *seen; /* the second one's memory */
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint submissions, wrong; /* of its own; results that were not what was filled in */
};

/* What the library did with a queue that was handed over, since application_open. */
struct application_calls {
    atomic_uint submissions; /* vkQueueSubmit2 */
    atomic_uint unlocked;    /* calls without the lock */
    atomic_uint idle;        /* vkQueueWaitIdle, vkDeviceWaitIdle */
    atomic_uint destroyed;   /* vkDestroyDevice, vkDestroyInstance */
    atomic_uint turns;       /* submissions that followed one of the other side */
};
extern struct application_calls application_calls;

/* Of the first device that the loader lists; `required` alone, or everything. Fails the test. */
void application_open(struct application *a, bool required);
void application_close(struct application *a);
void application_start(struct application *a); /* its thread */
void application_stop(struct application *a);
/* One submission of its own, checked. */
void application_work(struct application *a, uint32_t value);

#endif
