/* A machine without libvulkan: this program's own dlopen finds nothing. */
#include <stdlib.h>

#include "tests/gpu/support.h"

void *dlopen(const char *file, int mode);

void *dlopen(const char *file, int mode)
{
    (void)file;
    (void)mode;
    return NULL;
}

static void test_no_loader(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_device_info *infos;
    size_t count;
    struct rf_gpu *gpu;
    struct rf_gpu_desc desc = {0};
    for (int i = 0; i < 2; ++i) { /* the second time it is remembered, and said again */
        assert_rf_status(rf_gpu_list(&infos, &count, NULL, &err), RF_ERROR_NO_DEVICE);
        assert_message(&err, "no Vulkan loader (libvulkan.so.1) was found: install it");
        assert_rf_status(rf_gpu_create(&gpu, &desc, &err), RF_ERROR_NO_DEVICE);
        assert_message(&err, "no Vulkan loader (libvulkan.so.1) was found: install it");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_loader)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
