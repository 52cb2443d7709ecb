/* A context on a device that an application made, and works with at the same time; what is handed over wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/decode/application.h"
#include "tests/decode/engine.h"

enum { TOKENS = 48, LEAST_TURNS = 100 };

struct answer {
    uint32_t tokens[TOKENS];
    size_t count;
};

static void log_line(void *user, enum rf_log_level level, const char *line)
{
    char *last = user;
    if (last)
        snprintf(last, 1024, "%s", line);
    if (level >= RF_LOG_WARNING)
        fprintf(stderr, "%s\n", line);
}

/* One model on the context, one response, everything destroyed but the context. */
static void ask(rf_context *context, struct answer *out)
{
    static const struct rf_message question = {"user", "Write a Python function is_odd(x)."};
    const struct rf_model_desc model_desc = {.precision = RF_PRECISION_F32, .no_tune = true};
    const struct rf_session_desc desc = {
        .size = sizeof desc, .settings = {.preset = "demo", .max_tokens = TOKENS}, .deterministic = true};
    rf_model *model;
    rf_session *session;
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", &model_desc, err));
    require_ok(rf_session_create(&session, model, &desc, err));
    require_ok(rf_session_begin_chat(session, &question, 1, true, err));
    require_ok(rf_session_generate(session, NULL, NULL, err));
    size_t count;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    assert_true(count > 0 && count <= TOKENS);
    memcpy(out->tokens, tokens, count * sizeof *tokens);
    out->count = count;
    rf_session_destroy(session);
    rf_model_destroy(model);
}

static void ask_owned(struct answer *out)
{
    const struct rf_context_desc desc = {
        .size = sizeof desc, .device = "0", .debug_checks = true, .log = log_line};
    rf_context *context;
    require_ok(rf_context_create(&context, &desc, err));
    ask(context, out);
    assert_int_equal(rf_context_complaints(context), 0);
    rf_context_destroy(context);
}

static void check_manners(const struct application *a)
{
    assert_int_equal(atomic_load(&application_calls.unlocked), 0);
    assert_int_equal(atomic_load(&application_calls.idle), 0);
    assert_int_equal(atomic_load(&application_calls.destroyed), 0);
    assert_int_equal(atomic_load(&a->wrong), 0);
    assert_true(atomic_load(&application_calls.submissions) > 0);
}

/* The same tokens as on a device of its own, beside work that stays right. */
static void check_together(bool required)
{
    struct application a;
    struct answer owned, adopted;
    rf_context *context;
    const struct rf_context_desc desc = {
        .size = sizeof desc, .debug_checks = true, .debug_labels = true, .submission_ms = 5, .log = log_line};
    ask_owned(&owned);
    application_open(&a, required);
    application_start(&a);
    require_ok(rf_context_adopt(&context, &a.handed, &desc, err));
    for (int tries = 0; tries < 50 && atomic_load(&application_calls.turns) < LEAST_TURNS; tries++) {
        ask(context, &adopted);
        assert_int_equal(adopted.count, owned.count);
        assert_memory_equal(adopted.tokens, owned.tokens, owned.count * sizeof *owned.tokens);
    }
    assert_int_equal(rf_context_complaints(context), 0);
    struct rf_device_info info;
    rf_context_device(context, &info);
    rf_context_destroy(context);
    application_stop(&a);
    const unsigned own = atomic_load(&a.submissions), turns = atomic_load(&application_calls.turns);
    printf("%s: %s; %u submissions of the application, %u of the library, %u changes of side\n", info.name,
           info.tiers, own, atomic_load(&application_calls.submissions), turns);
    assert_true(turns >= LEAST_TURNS);
    if (required)
        assert_string_equal(info.tiers, "portable");
    check_manners(&a);
    application_work(&a, 12345); /* the device is alive */
    check_manners(&a);
    application_close(&a);
}

static void test_everything_enabled(void **state)
{
    (void)state;
    check_together(false);
}

static void test_required_alone(void **state)
{
    (void)state;
    check_together(true);
}

/* Features in the structures of one feature each, beside Vulkan's own: an application that asked nobody. */
static void test_own_chain(void **state)
{
    struct application a;
    rf_context *context;
    (void)state;
    application_open(&a, true);
    VkPhysicalDeviceMaintenance4Features maintenance = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES, .maintenance4 = VK_TRUE};
    VkPhysicalDeviceSynchronization2Features synchronization = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SYNCHRONIZATION_2_FEATURES,
        .pNext = &maintenance,
        .synchronization2 = VK_TRUE};
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = &synchronization,
                                            .bufferDeviceAddress = VK_TRUE,
                                            .scalarBlockLayout = VK_TRUE,
                                            .timelineSemaphore = VK_TRUE};
    a.info.pNext = &v12; /* what the device has, told otherwise */
    require_ok(rf_context_adopt(&context, &a.handed, NULL, err));
    rf_context_destroy(context);
    maintenance.maintenance4 = VK_FALSE;
    struct rf_error err = {0};
    assert_int_equal(rf_context_adopt(&context, &a.handed, NULL, &err), RF_ERROR_NO_DEVICE);
    assert_non_null(strstr(err.message, "was made without maintenance4: see rf_vulkan_needs"));
    assert_null(context);
    application_close(&a);
}

/* ---- Refusals --------------------------------------------------------------------------------------- */

static void refuse(const struct rf_vulkan_device *vulkan, const struct rf_context_desc *desc,
                   enum rf_status status, const char *part)
{
    struct rf_error err = {0};
    rf_context *context = (rf_context *)&err;
    assert_int_equal(rf_context_adopt(&context, vulkan, desc, &err), status);
    assert_null(context);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, part);
}

static void test_handles(void **state)
{
    struct application a;
    struct rf_vulkan_device bad;
    (void)state;
    application_open(&a, false);
#define REFUSE(change, status, part) bad = a.handed, bad.change, refuse(&bad, NULL, status, part)
    REFUSE(get_instance_proc_addr = NULL, RF_ERROR_ARGUMENT,
           "rf_vulkan_device.get_instance_proc_addr: found NULL");
    REFUSE(instance = NULL, RF_ERROR_ARGUMENT, "rf_vulkan_device.instance: found NULL");
    REFUSE(physical_device = NULL, RF_ERROR_ARGUMENT, "rf_vulkan_device.physical_device: found NULL");
    REFUSE(device = NULL, RF_ERROR_ARGUMENT, "rf_vulkan_device.device: found NULL");
    REFUSE(device_info = NULL, RF_ERROR_ARGUMENT, "rf_vulkan_device.device_info: found NULL");
    REFUSE(unlock_queue = NULL, RF_ERROR_ARGUMENT, "rf_vulkan_device.unlock_queue: found NULL, wanted both");
    REFUSE(lock_queue = NULL, RF_ERROR_ARGUMENT, "rf_vulkan_device.lock_queue: found NULL, wanted both");
    REFUSE(api_version = 0, RF_ERROR_NO_DEVICE, "api_version: found 0.0, wanted");
    REFUSE(api_version = VK_API_VERSION_1_2, RF_ERROR_NO_DEVICE, "api_version: found 1.2, wanted");
    REFUSE(queue_family = 77, RF_ERROR_ARGUMENT,
           "queue_family: found 77, of which device_info has no queues");
    REFUSE(queue_index = 1, RF_ERROR_ARGUMENT, "queue_index: found 1, device_info has 1 queues");
    REFUSE(size = 3, RF_ERROR_ARGUMENT, "rf_vulkan_device.size: found 3");
    refuse(NULL, NULL, RF_ERROR_ARGUMENT, "vulkan is needed");
    const struct rf_context_desc device = {.size = sizeof device, .device = "0"};
    refuse(&a.handed, &device, RF_ERROR_ARGUMENT, "rf_context_desc.device: found \"0\", wanted NULL");
    const struct rf_context_desc validation = {.size = sizeof validation, .validation = true};
    refuse(&a.handed, &validation, RF_ERROR_ARGUMENT, "rf_context_desc.validation: found true");
    const struct rf_context_desc duty = {.size = sizeof duty, .duty = 101};
    refuse(&a.handed, &duty, RF_ERROR_ARGUMENT, "rf_context_desc.duty: found 101, wanted 1 to 100");
    const struct rf_context_desc priority = {.size = sizeof priority, .priority = (enum rf_priority)9};
    refuse(&a.handed, &priority, RF_ERROR_ARGUMENT, "rf_context_desc.priority: found 9");
    const struct rf_context_desc lacking = {.size = sizeof lacking, .disable = "synchronization2"};
    refuse(&a.handed, &lacking, RF_ERROR_NO_DEVICE, "cannot be used: it lacks synchronization2");
    assert_int_equal(atomic_load(&application_calls.destroyed), 0);
    application_close(&a);
}

static void test_queue_family(void **state)
{
    struct application a;
    (void)state;
    application_open(&a, false);
    a.queue_info.queueFamilyIndex = a.handed.queue_family =
        77; /* a device_info that cannot be the device's */
    refuse(&a.handed, NULL, RF_ERROR_ARGUMENT, "queue_family: found 77, the device has");
    application_close(&a);
}

static void test_needs(void **state)
{
    struct application a;
    struct rf_error refusal;
    struct rf_vulkan_needs *needs;
    (void)state;
    application_open(&a, false);
    struct rf_vulkan_query query = {.size = sizeof query,
                                    .get_instance_proc_addr = a.handed.get_instance_proc_addr,
                                    .instance = a.instance,
                                    .physical_device = a.physical,
                                    .disable = "fp16"};
    require_ok(rf_vulkan_needs_get(&needs, &query, err));
    assert_false(needs->info.has_fp16);
    assert_null(needs->features_end->pNext);
    assert_true(needs->required_extension_count <= needs->extension_count);
    rf_free(needs);
    query.disable = "scalarBlockLayout, maintenance4";
    assert_int_equal(rf_vulkan_needs_get(&needs, &query, &refusal), RF_ERROR_NO_DEVICE);
    assert_non_null(strstr(refusal.message, "cannot be used: it lacks scalarBlockLayout, maintenance4"));
    assert_null(needs);
    query.disable = NULL;
    query.physical_device = NULL;
    assert_int_equal(rf_vulkan_needs_get(&needs, &query, &refusal), RF_ERROR_ARGUMENT);
    assert_non_null(strstr(refusal.message, "rf_vulkan_query.physical_device: found NULL"));
    rf_free(NULL);
    application_close(&a);
}

/* A priority is the application's to give; without callbacks the queue is the context's alone. */
static void test_without_callbacks(void **state)
{
    struct application a;
    char last[1024] = "";
    struct answer answer;
    rf_context *context;
    (void)state;
    application_open(&a, false);
    a.handed.lock_queue = a.handed.unlock_queue = NULL;
    a.handed.queue = a.queue;
    a.handed.queue_index = 99; /* not read */
    const struct rf_context_desc desc = {
        .size = sizeof desc, .priority = RF_PRIORITY_LOW, .log = log_line, .log_user = last};
    require_ok(rf_context_adopt(&context, &a.handed, &desc, err));
    ask(context, &answer);
    rf_context_destroy(context);
    /* So the test would see a call without the lock. */
    assert_int_equal(atomic_load(&application_calls.unlocked), atomic_load(&application_calls.submissions));
    assert_true(atomic_load(&application_calls.unlocked) > 0);
    application_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_enabled), cmocka_unit_test(test_required_alone),
        cmocka_unit_test(test_own_chain),          cmocka_unit_test(test_handles),
        cmocka_unit_test(test_queue_family),       cmocka_unit_test(test_needs),
        cmocka_unit_test(test_without_callbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
