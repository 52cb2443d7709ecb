#include "tests/gpu/support.h"

#include <stdio.h>
#include <string.h>

void test_log_line(void *user, enum rf_log_level level, const char *line)
{
    (void)level;
    struct test_log *log = user;
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof log->text - used, "%s\n", line);
}

void test_check_status(enum rf_status have, enum rf_status want, const struct rf_error *err, const char *call,
                       const char *file, int line)
{
    if (have == want)
        return;
    print_error("%s: %s, wanted %s; message: %s\n", call, rf_status_name(have), rf_status_name(want),
                have ? err->message : "");
    _fail(file, line);
}

void assert_message(const struct rf_error *err, const char *part)
{
    if (strstr(err->message, part))
        return;
    print_error("message \"%s\" does not contain \"%s\"\n", err->message, part);
    fail();
}

struct rf_gpu *test_gpu(const char *disable, struct test_log *log)
{
    struct rf_error err;
    struct rf_gpu *gpu;
    struct rf_gpu_desc desc = {.disable = disable, .debug_checks = true, .shader_dir = RF_TEST_SHADER_DIR};
    if (log) {
        log->text[0] = '\0';
        desc.log = test_log_line;
        desc.log_user = log;
    }
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    return gpu;
}

struct rf_kernel *test_kernel(struct rf_gpu *gpu, uint32_t offset, uint32_t local_size)
{
    struct rf_error err;
    struct rf_kernel *kernel;
    struct rf_kernel_id id = {.shader = "test_push", .spec_count = 2, .specs = {offset, local_size}};
    assert_rf_ok(rf_kernels_get(gpu, &id, 1, &kernel, &err));
    assert_int_equal(rf_kernel_local_size(kernel), local_size);
    assert_int_equal(rf_kernel_push_size(kernel), sizeof(struct test_push));
    return kernel;
}

struct rf_dispatch test_dispatch(struct rf_kernel *kernel, struct test_push *push, struct rf_span source,
                                 struct rf_span target, uint32_t count, uint32_t scale)
{
    const uint32_t local = rf_kernel_local_size(kernel);
    *push = (struct test_push){
        .source = source.address, .target = target.address, .count = count, .scale = scale};
    return (struct rf_dispatch){.kernel = kernel,
                                .label = "test",
                                .push = push,
                                .push_size = sizeof *push,
                                .groups = {(count + local - 1) / local, 1, 1},
                                .access_count = 2,
                                .accesses = {{source, RF_READ}, {target, RF_WRITE}}};
}

enum rf_status test_run(struct rf_gpu *gpu, const struct rf_dispatch *dispatch, struct rf_error *err)
{
    struct rf_cmd *cmd;
    uint64_t ticket;
    enum rf_status status = rf_cmd_begin(&cmd, gpu, "one dispatch", err);
    if (status)
        return status;
    status = rf_cmd_dispatch(cmd, dispatch, err);
    if (!status)
        status = rf_cmd_end(cmd, err);
    if (!status)
        status = rf_gpu_submit(gpu, &cmd, 1, &ticket, err);
    if (!status)
        status = rf_gpu_wait(gpu, ticket, err);
    rf_cmd_destroy(cmd);
    return status;
}
