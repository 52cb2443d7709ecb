/* Listing and choosing devices, masked capabilities, and what is said when there is none. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/context.h"
#include "engine/gpu/internal.h"
#include "tests/gpu/support.h"

static void test_list(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_device_info *infos;
    size_t count;
    assert_rf_ok(rf_gpu_list(&infos, &count, NULL, &err));
    assert_true(count >= 1);
    for (size_t i = 0; i < count; ++i) {
        assert_int_equal(infos[i].index, i);
        assert_true(infos[i].name[0] && infos[i].driver[0] && infos[i].type[0]);
        assert_string_equal(infos[i].missing, "");
        bool int8 = infos[i].has_int8_dot && infos[i].has_fp16;
        const char *tiers = int8 ? "int8, fp16, portable" : infos[i].has_fp16 ? "fp16, portable" : "portable";
        const char *have = infos[i].tiers;
        have += infos[i].has_coopmat2_matmul && strncmp(have, "coopmat2Matmul, ", 16) == 0 ? 16 : 0;
        have += infos[i].has_coopmat2 && strncmp(have, "coopmat2, ", 10) == 0 ? 10 : 0;
        have += infos[i].has_coopmat && strncmp(have, "coopmat, ", 9) == 0 ? 9 : 0;
        assert_string_equal(have, tiers);
        assert_true(infos[i].subgroup_size >= 4 && infos[i].subgroup_size <= 128);
        assert_true(infos[i].subgroup_size_min <= infos[i].subgroup_size);
        assert_true(infos[i].subgroup_size_max >= infos[i].subgroup_size);
        assert_true(infos[i].shared_memory_bytes >= 32768 && infos[i].max_invocations >= 256);
        assert_true(infos[i].memory_bytes > 0);
    }
    rf_free(infos);
}

/* Every required feature, masked: listed as missing, refused by name. */
static void test_masked_features(void **state)
{
    (void)state;
    static const char *const required[] = {"computeQueue",      "bufferDeviceAddress", "scalarBlockLayout",
                                           "timelineSemaphore", "synchronization2",    "maintenance4",
                                           "subgroupBasic",     "subgroupArithmetic",  "subgroupSize4To128",
                                           "sharedMemory32KiB", "invocations256",      "pushConstants128",
                                           "vulkan1.3"};
    struct rf_error err;
    for (size_t i = 0; i < sizeof required / sizeof required[0]; ++i) {
        struct rf_device_info *infos;
        size_t count;
        struct rf_gpu *gpu;
        struct rf_gpu_desc desc = {.disable = required[i]};
        char wanted[128];
        assert_rf_ok(rf_gpu_list(&infos, &count, required[i], &err));
        assert_string_equal(infos[0].missing, required[i]);
        assert_string_equal(infos[0].tiers, "");
        snprintf(wanted, sizeof wanted, "cannot be used: it lacks %s", required[i]);
        assert_rf_status(rf_gpu_create(&gpu, &desc, &err), RF_ERROR_NO_DEVICE);
        assert_message(&err, wanted);
        assert_message(&err, infos[0].name);
        assert_null(gpu);
        rf_free(infos);
    }
    struct rf_gpu *gpu;
    struct rf_gpu_desc both = {.disable = "timelineSemaphore, subgroupBasic"};
    assert_rf_status(rf_gpu_create(&gpu, &both, &err), RF_ERROR_NO_DEVICE);
    assert_message(&err, "it lacks timelineSemaphore, subgroupBasic");
}

static void test_unknown_mask(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu;
    struct rf_gpu_desc desc = {.disable = "fp16,warp9"};
    assert_rf_status(rf_gpu_create(&gpu, &desc, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "disable: \"warp9\" is no capability; known are vulkan1.3, computeQueue");
}

/* The tier goes from the table, and from the device too: its shaders are refused. */
static void test_fp16(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = "test_half"};
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    const bool have = rf_gpu_get_caps(gpu)->fp16;
    if (have) {
        assert_rf_ok(rf_kernels_get(gpu, &id, 1, &kernel, &err));
        assert_int_equal(rf_kernel_local_size(kernel), 16);
        assert_int_equal(rf_kernel_push_size(kernel), 16);
    }
    rf_gpu_destroy(gpu);
    gpu = test_gpu("fp16", NULL);
    struct rf_device_info info;
    rf_gpu_get_info(gpu, &info);
    assert_false(rf_gpu_get_caps(gpu)->fp16);
    assert_false(info.has_fp16);
    assert_string_equal(info.tiers, "portable");
    assert_rf_status(rf_kernels_get(gpu, &id, 1, &kernel, &err), RF_ERROR_UNSUPPORTED);
    assert_message(&err, "shader test_half needs fp16");
    assert_null(kernel);
    rf_gpu_destroy(gpu);
}

static void test_choice(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_device_info *infos, info;
    size_t count;
    struct rf_gpu *gpu;
    struct rf_gpu_desc desc = {.device = "0"};
    assert_rf_ok(rf_gpu_list(&infos, &count, NULL, &err));
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    rf_gpu_get_info(gpu, &info);
    assert_int_equal(info.index, 0);
    rf_gpu_destroy(gpu);

    char part[8] = ""; /* the middle of the name in the other case */
    snprintf(part, sizeof part, "%.5s", infos[0].name + 1);
    for (char *c = part; *c; ++c)
        *c = (char)(islower((unsigned char)*c) ? toupper((unsigned char)*c) : tolower((unsigned char)*c));
    desc.device = part;
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    rf_gpu_get_info(gpu, &info);
    assert_string_equal(info.name, infos[0].name);
    rf_gpu_destroy(gpu);

    static const char *const wrong[] = {"Voodoo 2", "99", "99999999999999999999999"};
    for (size_t i = 0; i < 3; ++i) {
        char listed[RF_NAME_LENGTH + 8];
        desc.device = wrong[i];
        assert_rf_status(rf_gpu_create(&gpu, &desc, &err), RF_ERROR_NO_DEVICE);
        assert_message(&err, wrong[i]);
        snprintf(listed, sizeof listed, "0: %s", infos[0].name);
        assert_message(&err, listed);
    }
    rf_free(infos);
}

/* Digits are an index where there is such a device, else a part of a name. */
static void test_numbers_and_names(void **state)
{
    (void)state;
    struct rf_error err;
    const struct rf_probe probes[] = {
        {.info = {.index = 0, .name = "llvmpipe (LLVM 15.0.6, 256 bits)"},
         .properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_CPU},
        {.info = {.index = 1, .name = "NVIDIA GeForce RTX 4090"},
         .properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU},
        {.info = {.index = 2, .name = "Intel(R) Graphics", .missing = "fp64"},
         .properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU},
    };
    const struct {
        const char *wanted;
        int index; /* -1: refused */
    } cases[] = {{NULL, 1},  {"", 1},   {"0", 0},      {"1", 1},     {"4090", 1}, {"256", 0},
                 {"rtx", 1}, {"2", -1}, {"intel", -1}, {"3090", -1}, {"3", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const struct rf_probe *chosen = NULL;
        enum rf_status status = rf_choose_device(probes, 3, cases[i].wanted, &chosen, &err);
        if (cases[i].index < 0) {
            assert_rf_status(status, RF_ERROR_NO_DEVICE);
            assert_null(chosen);
        } else {
            assert_rf_ok(status);
            assert_ptr_equal(chosen, &probes[cases[i].index]);
        }
    }
}

static void test_subgroup_sizes(void **state)
{
    (void)state;
    static const struct {
        uint32_t size, least, most;
        bool fit;
    } cases[] = {{4, 4, 4, true},      {32, 8, 32, true},      {64, 32, 64, true},
                 {128, 64, 128, true}, {1, 1, 1, false},       {2, 2, 2, false},
                 {8, 2, 8, false},     {256, 256, 256, false}, {64, 64, 256, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const struct rf_gpu_caps caps = {.subgroup_size = cases[i].size,
                                         .subgroup_size_min = cases[i].least,
                                         .subgroup_size_max = cases[i].most};
        assert_int_equal(rf_subgroups_fit(&caps), cases[i].fit);
    }
}

/* A prefix changes the message and never the status, with or without a place for the message. */
static void test_fail_within(void **state)
{
    (void)state;
    struct rf_error err;
    rf_fail(&err, RF_ERROR_FORMAT, "inner");
    assert_int_equal(rf_fail_within(&err, RF_ERROR_FORMAT, "file %d", 7), RF_ERROR_FORMAT);
    assert_string_equal(err.message, "file 7: inner");
    assert_int_equal(rf_fail_within(NULL, RF_ERROR_FORMAT, "file %d", 7), RF_ERROR_FORMAT);
}

/* The context reads the environment, a description's field goes first. */
static void test_context(void **state)
{
    (void)state;
    struct rf_error err;
    rf_context *context;
    struct rf_device_info info;
    struct rf_device_info *infos;
    size_t count;
    setenv("RF_DISABLE", "fp16", 1);
    setenv("RF_DEVICE", "no such device", 1);
    assert_rf_status(rf_context_create(&context, NULL, &err), RF_ERROR_NO_DEVICE);
    assert_message(&err, "device \"no such device\"");
    struct rf_context_desc desc = {.device = "0", .cache_dir = ""};
    assert_rf_ok(rf_context_create(&context, &desc, &err));
    rf_context_device(context, &info);
    assert_string_equal(info.tiers, "portable");
    assert_int_equal(rf_context_complaints(context), 0);
    rf_context_destroy(context);
    setenv("RF_DISABLE", "subgroupBasic", 1);
    assert_rf_ok(rf_devices_list(&infos, &count, &err));
    assert_string_equal(infos[0].missing, "subgroupBasic");
    rf_free(infos);
    desc.disable = "";
    assert_rf_ok(rf_context_create(&context, &desc, &err));
    rf_context_destroy(context);
    rf_context_destroy(NULL);
    unsetenv("RF_DISABLE");
    unsetenv("RF_DEVICE");
    assert_string_equal(rf_version(), RF_VERSION);
}

/* The layer is asked for: its messages would be counted, and there are none. Without the layer the wish is
 * refused. */
static void test_validation(void **state)
{
    (void)state;
    struct rf_error err;
    rf_context *context;
    static struct test_log log;
    struct rf_context_desc desc = {
        .validation = true, .cache_dir = "", .log = test_log_line, .log_user = &log};
    enum rf_status status = rf_context_create(&context, &desc, &err);
    if (status == RF_ERROR_UNSUPPORTED) {
        assert_message(&err, "the layer VK_LAYER_KHRONOS_validation is not installed");
        return;
    }
    assert_rf_ok(status);
    assert_int_equal(rf_context_complaints(context), 0);
    assert_null(strstr(log.text, "validation:"));
    rf_context_destroy(context);
}

/* A loader without any driver, and none at all by the mask (test_no_loader.c has the real thing). */
static void test_no_driver(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_device_info *infos;
    size_t count = 1;
    static char kept[2][4096];
    static const char *const names[] = {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"};
    for (int i = 0; i < 2; ++i) {
        const char *value = getenv(names[i]);
        snprintf(kept[i], sizeof kept[i], "%s", value ? value : "");
        setenv(names[i], "/nonexistent/driver.json", 1);
    }
    assert_rf_status(rf_gpu_list(&infos, &count, NULL, &err), RF_ERROR_NO_DEVICE);
    assert_message(&err, "driver");
    assert_null(infos);
    assert_int_equal(count, 0);
    for (int i = 0; i < 2; ++i) {
        if (kept[i][0])
            setenv(names[i], kept[i], 1);
        else
            unsetenv(names[i]);
    }
    assert_rf_status(rf_gpu_list(&infos, &count, "loader", &err), RF_ERROR_NO_DEVICE);
    assert_message(&err, "no Vulkan loader (libvulkan.so.1)");
}

#ifdef VK_NV_cooperative_matrix2
/* What a driver with all of VK_NV_cooperative_matrix2 says, over what the real one says. */
static PFN_vkGetPhysicalDeviceFeatures2 real_features;
static PFN_vkGetPhysicalDeviceProperties2 real_properties;
static VkBool32 block_loads;

static void *find_struct(void *chain, VkStructureType type)
{
    VkBaseOutStructure *at = chain;
    while (at && at->sType != type)
        at = at->pNext;
    return at;
}

static VKAPI_ATTR void VKAPI_CALL say_features(VkPhysicalDevice physical, VkPhysicalDeviceFeatures2 *features)
{
    real_features(physical, features);
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV *have =
        find_struct(features, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV);
    if (!have)
        return;
    have->cooperativeMatrixWorkgroupScope = have->cooperativeMatrixFlexibleDimensions = VK_TRUE;
    have->cooperativeMatrixTensorAddressing = VK_TRUE;
    have->cooperativeMatrixBlockLoads = block_loads;
}

static VKAPI_ATTR void VKAPI_CALL say_properties(VkPhysicalDevice physical,
                                                 VkPhysicalDeviceProperties2 *properties)
{
    real_properties(physical, properties);
    VkPhysicalDeviceCooperativeMatrix2PropertiesNV *limits =
        find_struct(properties, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV);
    if (!limits)
        return;
    limits->cooperativeMatrixWorkgroupScopeMaxWorkgroupSize = 512;
    limits->cooperativeMatrixFlexibleDimensionsMaxDimension = 1024;
    limits->cooperativeMatrixWorkgroupScopeReservedSharedMemory = 8192;
}

/* Two that fit among those with other types, scopes and rules. */
static VKAPI_ATTR VkResult VKAPI_CALL say_matrices(VkPhysicalDevice physical, uint32_t *count,
                                                   VkCooperativeMatrixFlexibleDimensionsPropertiesNV *list)
{
    enum { F16 = VK_COMPONENT_TYPE_FLOAT16_KHR, F32 = VK_COMPONENT_TYPE_FLOAT32_KHR };
    static const struct {
        uint32_t m, n, k, factors, sums, saturating, scope, invocations;
    } all[] = {{16, 16, 16, F16, F32, 0, VK_SCOPE_SUBGROUP_KHR, 0},
               {16, 16, 16, F16, F16, 0, VK_SCOPE_WORKGROUP_KHR, 128},
               {32, 16, 32, F16, F32, 0, VK_SCOPE_WORKGROUP_KHR, 128},
               {32, 32, 32, VK_COMPONENT_TYPE_SINT8_KHR, VK_COMPONENT_TYPE_SINT32_KHR, 1, VK_SCOPE_WORKGROUP_KHR, 256},
               {32, 32, 16, F16, F32, 0, VK_SCOPE_WORKGROUP_KHR, 256},
               {0, 16, 16, F16, F32, 0, VK_SCOPE_WORKGROUP_KHR, 64}};
    (void)physical;
    for (uint32_t i = 0; list && i < *count && i < 6; i++) {
        list[i].MGranularity = all[i].m;
        list[i].NGranularity = all[i].n;
        list[i].KGranularity = all[i].k;
        list[i].AType = list[i].BType = (VkComponentTypeKHR)all[i].factors;
        list[i].CType = list[i].ResultType = (VkComponentTypeKHR)all[i].sums;
        list[i].saturatingAccumulation = all[i].saturating;
        list[i].scope = (VkScopeKHR)all[i].scope;
        list[i].workgroupInvocations = all[i].invocations;
    }
    *count = 6;
    return VK_SUCCESS;
}

static void test_workgroup_matrices(void **state)
{
    (void)state;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_instance instance = gpu->instance;
    const bool coopmat2 = rf_gpu_get_caps(gpu)->coopmat2;
    struct rf_probe probe;
    struct rf_mask mask = {0};
    struct rf_error err;
    real_features = instance.get_features2;
    real_properties = instance.get_properties2;
    instance.get_features2 = say_features;
    instance.get_properties2 = say_properties;
    instance.get_workgroup_matrices = say_matrices;
    block_loads = VK_TRUE;
    rf_probe_device(&probe, &instance, gpu->probe.physical, 0, &mask);
    const struct rf_workgroup_matrices *have = &probe.caps.workgroup_matrices;
    assert_int_equal(probe.caps.coopmat2_matmul, coopmat2);
    assert_int_equal(probe.info.has_coopmat2_matmul, coopmat2);
    if (coopmat2) {
        const struct rf_workgroup_matrix want[] = {{128, 32, 16, 32}, {256, 32, 32, 16}};
        assert_int_equal(have->count, 2);
        assert_memory_equal(have->list, want, sizeof want);
        assert_int_equal(have->max_invocations, 512);
        assert_int_equal(have->max_dimension, 1024);
        assert_int_equal(have->reserved_bytes, 8192);
    }
    assert_rf_ok(rf_mask_parse(&mask, "coopmat2Matmul", &err));
    rf_probe_device(&probe, &instance, gpu->probe.physical, 0, &mask);
    assert_true(!probe.caps.coopmat2_matmul && have->count == 0 && probe.caps.coopmat2 == coopmat2);
    assert_null(strstr(probe.info.tiers, "coopmat2Matmul"));
    mask = (struct rf_mask){0};
    block_loads = VK_FALSE; /* one feature is missing */
    rf_probe_device(&probe, &instance, gpu->probe.physical, 0, &mask);
    assert_true(!probe.caps.coopmat2_matmul && have->count == 0);
    rf_gpu_destroy(gpu);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_masked_features),
        cmocka_unit_test(test_unknown_mask),
        cmocka_unit_test(test_fp16),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_no_driver),
        cmocka_unit_test(test_numbers_and_names),
        cmocka_unit_test(test_subgroup_sizes),
        cmocka_unit_test(test_fail_within),
#ifdef VK_NV_cooperative_matrix2
        cmocka_unit_test(test_workgroup_matrices),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
