/* What tools from outside are told: names of objects, labels of dispatches, frames, the capture of one of them. */
#include <stdio.h>
#include <string.h>

#include "engine/gpu/internal.h"
#include "engine/gpu/labels.h"
#include "tests/gpu/support.h"

enum { COUNT = 64 };

static char told[8192]; /* every call, ';' behind each */

static void tell(const char *what, const char *text)
{
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s %s;", what, text);
}

static VkResult VKAPI_CALL on_name(VkDevice device, const VkDebugUtilsObjectNameInfoEXT *info)
{
    (void)device;
    tell(info->objectType == VK_OBJECT_TYPE_PIPELINE         ? "pipeline"
         : info->objectType == VK_OBJECT_TYPE_COMMAND_BUFFER ? "commands"
         : info->objectType == VK_OBJECT_TYPE_BUFFER         ? "buffer"
                                                             : "other",
         info->pObjectName);
    return VK_SUCCESS;
}

static void VKAPI_CALL on_cmd_begin(VkCommandBuffer buffer, const VkDebugUtilsLabelEXT *info)
{
    (void)buffer;
    tell("begin", info->pLabelName);
}

static void VKAPI_CALL on_cmd_end(VkCommandBuffer buffer)
{
    (void)buffer;
    tell("end", "");
}

static void VKAPI_CALL on_queue_begin(VkQueue queue, const VkDebugUtilsLabelEXT *info)
{
    (void)queue;
    tell("queue", info->pLabelName);
}

static void VKAPI_CALL on_queue_end(VkQueue queue)
{
    (void)queue;
    tell("queue end", "");
}

static void VKAPI_CALL on_queue_insert(VkQueue queue, const VkDebugUtilsLabelEXT *info)
{
    (void)queue;
    tell("insert", info->pLabelName);
}

static void listen(struct rf_gpu *gpu)
{
    gpu->labels.set_name = on_name;
    gpu->labels.cmd_begin = on_cmd_begin;
    gpu->labels.cmd_end = on_cmd_end;
    gpu->labels.queue_begin = on_queue_begin;
    gpu->labels.queue_end = on_queue_end;
    gpu->labels.queue_insert = on_queue_insert;
    told[0] = 0;
}

/* Makes a kernel and memory, records one dispatch, and submits it in a frame. */
static void run_frame(struct rf_gpu *gpu, const char *label)
{
    struct rf_error err;
    struct rf_span a, b;
    struct rf_cmd *cmd;
    struct test_push push;
    uint64_t ticket;
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "test arena");
    assert_rf_ok(rf_arena_alloc(arena, &a, COUNT * 4, "a", &err));
    assert_rf_ok(rf_arena_alloc(arena, &b, COUNT * 4, "b", &err));
    struct rf_dispatch dispatch = test_dispatch(test_kernel(gpu, 5, 64), &push, a, b, COUNT, 1);
    dispatch.label = "L3 attention";
    assert_rf_ok(rf_cmd_begin(&cmd, gpu, "forward", &err));
    assert_rf_ok(rf_cmd_dispatch(cmd, &dispatch, &err));
    assert_rf_ok(rf_cmd_end(cmd, &err));
    const uint64_t frame = rf_gpu_begin_frame(gpu, label);
    assert_rf_ok(rf_gpu_submit(gpu, &cmd, 1, &ticket, &err));
    assert_rf_ok(rf_gpu_end_frame(gpu, frame, &err));
    assert_rf_ok(rf_gpu_wait(gpu, ticket, &err));
    rf_cmd_destroy(cmd);
    rf_arena_destroy(arena);
}

static struct rf_gpu *open_gpu(bool labels, uint32_t step)
{
    struct rf_error err;
    struct rf_gpu *gpu;
    const struct rf_gpu_desc desc = {
        .shader_dir = RF_TEST_SHADER_DIR, .debug_checks = true, .debug_labels = labels, .capture_step = step};
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    return gpu;
}

static void close_gpu(struct rf_gpu *gpu)
{
    assert_int_equal(rf_gpu_complaints(gpu), 0);
    rf_gpu_destroy(gpu);
}

static void everything_has_its_name(void **state)
{
    (void)state;
    struct rf_gpu *gpu = open_gpu(true, 0);
    assert_true(rf_gpu_labelled(gpu)); /* the loader of every machine that tests here has the extension */
    listen(gpu);
    run_frame(gpu, "round 7");
    assert_non_null(strstr(told, "buffer test arena;"));
    assert_non_null(strstr(told, "pipeline test_push;"));
    assert_non_null(strstr(told, "commands forward;begin L3 attention;end ;"));
    assert_non_null(strstr(told, "insert AmdFrameBegin;queue round 7;queue end ;insert AmdFrameEnd;"));
    assert_null(strstr(told, "capture-marker"));
    close_gpu(gpu);
}

static void one_frame_is_captured(void **state)
{
    (void)state;
    struct rf_gpu *gpu = open_gpu(false, 2);
    assert_true(rf_gpu_labelled(gpu));
    for (uint32_t frame = 1; frame <= 3; frame++) {
        listen(gpu);
        run_frame(gpu, "round");
        bool captured = strstr(told, "insert capture-marker,begin_capture;insert AmdFrameBegin;") &&
                        strstr(told, "insert AmdFrameEnd;insert capture-marker,end_capture;");
        assert_int_equal(captured, frame == 2);
        assert_int_equal(strstr(told, "capture-marker") != NULL, frame == 2);
    }
    close_gpu(gpu);
}

static void nothing_is_told_unasked(void **state)
{
    (void)state;
    struct rf_gpu *gpu = open_gpu(false, 0);
    assert_false(rf_gpu_labelled(gpu));
    listen(gpu);
    run_frame(gpu, "round");
    assert_string_equal(told, "");
    close_gpu(gpu);
}

/* With the functions of the driver, or of the validation layer, which counts their pairs. */
static void the_real_ones_are_called(void **state)
{
    (void)state;
    struct rf_gpu *gpu = open_gpu(true, 1);
    run_frame(gpu, "round");
    run_frame(gpu, "round");
    close_gpu(gpu);
}

/* ---- A lost device ---------------------------------------------------------------------------------- */

static VkResult VKAPI_CALL lose(VkDevice device, VkSemaphore semaphore, uint64_t *value)
{
    (void)device, (void)semaphore, (void)value;
    return VK_ERROR_DEVICE_LOST;
}

static VkResult VKAPI_CALL refuse_submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *submits,
                                         VkFence fence)
{
    (void)queue, (void)count, (void)submits, (void)fence;
    return VK_ERROR_DEVICE_LOST;
}

#ifdef VK_EXT_device_fault
static VkResult VKAPI_CALL tell_fault(VkDevice device, VkDeviceFaultCountsEXT *counts,
                                      VkDeviceFaultInfoEXT *info)
{
    (void)device;
    if (!info) {
        counts->addressInfoCount = 9;
        counts->vendorInfoCount = 2;
        counts->vendorBinarySize = 100;
        return VK_SUCCESS;
    }
    assert_int_equal(counts->vendorBinarySize, 0);
    snprintf(info->description, sizeof info->description, "page\nfault");
    for (uint32_t i = 0; i < counts->addressInfoCount; i++)
        info->pAddressInfos[i] =
            (VkDeviceFaultAddressInfoEXT){VK_DEVICE_FAULT_ADDRESS_TYPE_WRITE_INVALID_EXT, 0xabc000 + i, 4096};
    snprintf(info->pVendorInfos[0].description, sizeof info->pVendorInfos[0].description, "vendor text");
    info->pVendorInfos[0].vendorFaultCode = 7;
    return VK_INCOMPLETE;
}
#endif

/* Three dispatches, of which the device comes through all; then it is lost while the host waits. */
static void a_loss_names_the_last_dispatch(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = open_gpu(true, 0);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "test arena");
    struct rf_span spans[4];
    struct rf_cmd *cmd;
    struct test_push push;
    uint64_t ticket;
    static const char *const labels[] = {"L0 qkv", "L0 attention", "L0 o"};
    for (int i = 0; i < 4; i++)
        assert_rf_ok(rf_arena_alloc(arena, &spans[i], COUNT * 4, "span", &err));
    assert_rf_ok(rf_cmd_begin(&cmd, gpu, "forward", &err));
    for (int i = 0; i < 3; i++) {
        struct rf_dispatch dispatch =
            test_dispatch(test_kernel(gpu, 5, 64), &push, spans[i], spans[i + 1], COUNT, 1);
        dispatch.label = labels[i];
        assert_rf_ok(rf_cmd_dispatch(cmd, &dispatch, &err));
    }
    assert_rf_ok(rf_cmd_end(cmd, &err));
    assert_rf_ok(rf_gpu_submit(gpu, &cmd, 1, &ticket, &err));
    gpu->vk.vkQueueWaitIdle(gpu->queue);
    gpu->vk.vkGetSemaphoreCounterValue = lose;
#ifdef VK_EXT_device_fault
    gpu->faults.get_info = tell_fault;
#endif
    for (int i = 0; i < 2; i++) { /* it stays lost, and says the same again */
        assert_rf_status(rf_gpu_wait(gpu, ticket, &err), RF_ERROR_DEVICE_LOST);
        assert_message(&err,
                       "was lost: destroy the context; the last dispatch that was reached is \"L0 o\" of "
                       "\"forward\"");
#ifdef VK_EXT_device_fault
        assert_message(&err, "; the driver says: page fault; invalid write to 0xabc000, to 4096 bytes");
        assert_message(&err, "0xabc003");
        assert_null(strstr(err.message, "0xabc004"));
        assert_message(&err, "vendor text (code 7, 0)");
#endif
        assert_null(strchr(err.message, '\n'));
    }
    rf_cmd_destroy(cmd);
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

/* Where the device stopped before the second command buffer, its crumbs are what tells. */
static void what_was_not_reached_is_not_named(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = open_gpu(true, 0);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "test arena");
    struct rf_span a, b;
    struct rf_cmd *cmds[2];
    struct test_push push;
    uint64_t ticket;
    assert_rf_ok(rf_arena_alloc(arena, &a, COUNT * 4, "a", &err));
    assert_rf_ok(rf_arena_alloc(arena, &b, COUNT * 4, "b", &err));
    for (int i = 0; i < 2; i++) {
        struct rf_dispatch dispatch = test_dispatch(test_kernel(gpu, 5, 64), &push, a, b, COUNT, 1);
        dispatch.label = i ? "second" : "first";
        assert_rf_ok(rf_cmd_begin(&cmds[i], gpu, i ? "two" : "one", &err));
        assert_rf_ok(rf_cmd_dispatch(cmds[i], &dispatch, &err));
        assert_rf_ok(rf_cmd_end(cmds[i], &err));
    }
    assert_rf_ok(rf_gpu_submit(gpu, &cmds[0], 1, &ticket, &err));
    assert_rf_ok(rf_gpu_wait(gpu, ticket, &err));
    /* The second is handed over, but no device ever sees it. */
    PFN_vkQueueSubmit2 submit = gpu->vk.vkQueueSubmit2;
    gpu->vk.vkQueueSubmit2 = refuse_submit;
    assert_rf_status(rf_gpu_submit(gpu, &cmds[1], 1, &ticket, &err), RF_ERROR_DEVICE_LOST);
    assert_message(&err, "\"first\" of \"one\"");
    gpu->vk.vkQueueSubmit2 = submit;
    for (int i = 0; i < 2; i++)
        rf_cmd_destroy(cmds[i]);
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_has_its_name),
                                       cmocka_unit_test(one_frame_is_captured),
                                       cmocka_unit_test(nothing_is_told_unasked),
                                       cmocka_unit_test(the_real_ones_are_called),
                                       cmocka_unit_test(a_loss_names_the_last_dispatch),
                                       cmocka_unit_test(what_was_not_reached_is_not_named)};
    return cmocka_run_group_tests_name("labels", tests, NULL, NULL);
}
