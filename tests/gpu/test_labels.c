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
    assert_rf_ok(rf_gpu_begin_frame(gpu, label, &err));
    assert_rf_ok(rf_gpu_submit(gpu, &cmd, 1, &ticket, &err));
    assert_rf_ok(rf_gpu_end_frame(gpu, &err));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_has_its_name), cmocka_unit_test(one_frame_is_captured),
        cmocka_unit_test(nothing_is_told_unasked), cmocka_unit_test(the_real_ones_are_called)};
    return cmocka_run_group_tests_name("labels", tests, NULL, NULL);
}
