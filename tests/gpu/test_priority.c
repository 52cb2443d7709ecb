/* Queues of low priority, on a driver that offers them or does not, permits them or does not: planted between the library
 * and the instance's functions (--wrap). */
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/internal.h"
#include "tests/gpu/support.h"

static struct {
    bool offered, permitted;
    int devices, low; /* calls of vkCreateDevice, and those that asked for it */
    PFN_vkCreateDevice create;
    PFN_vkEnumerateDeviceExtensionProperties extensions;
    PFN_vkGetPhysicalDeviceQueueFamilyProperties2 families;
} planted;

/* The driver's list without the extension, and one more when it is offered. */
static VkResult VKAPI_CALL list_extensions(VkPhysicalDevice device, const char *layer, uint32_t *count,
                                           VkExtensionProperties *list)
{
    uint32_t room = *count;
    VkResult result = planted.extensions(device, layer, count, list);
    if (!list) {
        *count += 1;
        return result;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; ++i)
        if (strcmp(list[i].extensionName, VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME) != 0)
            list[kept++] = list[i];
    if (planted.offered && kept < room)
        list[kept++] = (VkExtensionProperties){VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME, 1};
    *count = kept;
    return result;
}

static void VKAPI_CALL list_families(VkPhysicalDevice device, uint32_t *count, VkQueueFamilyProperties2 *list)
{
    for (uint32_t i = 0; list && i < *count; ++i) {
        VkQueueFamilyGlobalPriorityPropertiesKHR *priorities = list[i].pNext;
        assert_int_equal(priorities->sType, VK_STRUCTURE_TYPE_QUEUE_FAMILY_GLOBAL_PRIORITY_PROPERTIES_KHR);
        priorities->priorityCount = 2;
        priorities->priorities[0] = VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR;
        priorities->priorities[1] = VK_QUEUE_GLOBAL_PRIORITY_MEDIUM_KHR;
        list[i].pNext = NULL;
    }
    planted.families(device, count, list);
}

/* Below it the driver need not know of priorities. */
static VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                         const VkAllocationCallbacks *callbacks, VkDevice *device)
{
    VkDeviceCreateInfo plain = *info;
    VkDeviceQueueCreateInfo queue = *info->pQueueCreateInfos;
    const char *names[RF_DEVICE_EXTENSIONS];
    const VkDeviceQueueGlobalPriorityCreateInfoKHR *wanted = queue.pNext;
    planted.devices++;
    if (!wanted)
        return planted.create(physical, info, callbacks, device);
    assert_int_equal(wanted->sType, VK_STRUCTURE_TYPE_DEVICE_QUEUE_GLOBAL_PRIORITY_CREATE_INFO_KHR);
    assert_int_equal(wanted->globalPriority, VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR);
    planted.low++;
    if (!planted.permitted)
        return VK_ERROR_NOT_PERMITTED;
    const VkBaseInStructure *first = info->pNext;
    assert_int_equal(first->sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GLOBAL_PRIORITY_QUERY_FEATURES_KHR);
    plain.pNext = first->pNext;
    queue.pNext = NULL;
    plain.pQueueCreateInfos = &queue;
    plain.enabledExtensionCount = 0;
    for (uint32_t i = 0; i < info->enabledExtensionCount; ++i)
        if (strcmp(info->ppEnabledExtensionNames[i], VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME) != 0)
            names[plain.enabledExtensionCount++] = info->ppEnabledExtensionNames[i];
    assert_int_equal(plain.enabledExtensionCount, info->enabledExtensionCount - 1);
    plain.ppEnabledExtensionNames = names;
    return planted.create(physical, &plain, callbacks, device);
}

enum rf_status __real_rf_instance_create(struct rf_instance *out, bool validation, bool labels,
                                         struct rf_log_sink *sink, struct rf_error *err);
enum rf_status __wrap_rf_instance_create(struct rf_instance *out, bool validation, bool labels,
                                         struct rf_log_sink *sink, struct rf_error *err);
enum rf_status __wrap_rf_instance_create(struct rf_instance *out, bool validation, bool labels,
                                         struct rf_log_sink *sink, struct rf_error *err)
{
    enum rf_status status = __real_rf_instance_create(out, validation, labels, sink, err);
    if (status)
        return status;
    planted.create = out->create_device;
    planted.extensions = out->enumerate_extensions;
    planted.families = out->get_families2;
    out->create_device = create_device;
    out->enumerate_extensions = list_extensions;
    out->get_families2 = list_families;
    return RF_OK;
}

/* A device that works, made with so many calls, `low` of them with the wish; `line`: what the log says, NULL: nothing. */
static void check(enum rf_priority priority, const char *disable, int devices, int low, const char *line)
{
    struct test_log log = {""};
    struct rf_error err;
    struct rf_gpu *gpu;
    const struct rf_gpu_desc desc = {.priority = priority,
                                     .disable = disable,
                                     .debug_checks = true,
                                     .log = test_log_line,
                                     .log_user = &log};
    planted.devices = planted.low = 0;
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    struct rf_device_info info;
    rf_gpu_get_info(gpu, &info);
    rf_gpu_destroy(gpu);
    assert_int_equal(planted.devices, devices);
    assert_int_equal(planted.low, low);
    assert_int_equal(info.has_low_priority, planted.offered && !disable);
    if (line ? !strstr(log.text, line) : strstr(log.text, "priority") != NULL)
        fail_msg("log: %s", log.text);
}

static void test_priority(void **state)
{
    (void)state;
    planted.offered = planted.permitted = true;
    check(RF_PRIORITY_DEFAULT, NULL, 1, 0, NULL);
    check(RF_PRIORITY_LOW, NULL, 1, 1, NULL);
    check(RF_PRIORITY_LOW, "globalPriority", 1, 0, "offers no queues of it (VK_KHR_global_priority)");
    planted.permitted = false;
    check(RF_PRIORITY_LOW, NULL, 2, 1, "does not permit it to this process; the default is taken");
    planted.offered = false;
    check(RF_PRIORITY_LOW, NULL, 1, 0, "offers no queues of it (VK_KHR_global_priority)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_priority)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
