/* desc.validation: a planted misuse of Vulkan reaches the log and the counter. */
#include <string.h>

#include "engine/gpu/internal.h"
#include "tests/gpu/support.h"

static void test_planted(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu;
    static struct test_log log;
    struct rf_gpu_desc desc = {.validation = true, .log = test_log_line, .log_user = &log};
    enum rf_status status = rf_gpu_create(&gpu, &desc, &err);
    if (status == RF_ERROR_UNSUPPORTED) {
        assert_message(&err, "the layer VK_LAYER_KHRONOS_validation is not installed");
        skip();
    }
    assert_rf_ok(status);
    assert_int_equal(rf_gpu_complaints(gpu), 0);
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                  .flags = 1}; /* must be 0 */
    VkSemaphore semaphore;
    if (gpu->vk.vkCreateSemaphore(gpu->device, &info, NULL, &semaphore) == VK_SUCCESS)
        gpu->vk.vkDestroySemaphore(gpu->device, semaphore, NULL);
    assert_true(rf_gpu_complaints(gpu) > 0);
    assert_non_null(strstr(log.text, "validation:"));
    rf_gpu_destroy(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
