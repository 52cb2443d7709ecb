/* What the tests of this room share: devices on the driver at hand, one small kernel, log lines that are
 * kept. */
#ifndef RF_TESTS_GPU_SUPPORT_H
#define RF_TESTS_GPU_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/gpu/command.h"

/* Push constants of test_push.comp. */
struct test_push {
    uint64_t source, target;
    uint32_t count, scale, first;
};

enum { TEST_LOG_BYTES = 16384 };

/* Log lines of one device, one behind the other. */
struct test_log {
    char text[TEST_LOG_BYTES];
};

void test_log_line(void *user, enum rf_log_level level, const char *line);

#define assert_rf_ok(call)             assert_rf_status(call, RF_OK)
#define assert_rf_status(call, wanted) test_check_status(call, wanted, &err, #call, __FILE__, __LINE__)
void test_check_status(enum rf_status have, enum rf_status want, const struct rf_error *err, const char *call,
                       const char *file, int line);
/* The message contains `part`. */
void assert_message(const struct rf_error *err, const char *part);

/* A device with debug checks and no cache; `disable` as in rf_gpu_desc. */
struct rf_gpu *test_gpu(const char *disable, struct test_log *log);
/* test_push.comp with a workgroup of `local_size`, adding `offset`. */
struct rf_kernel *test_kernel(struct rf_gpu *gpu, uint32_t offset, uint32_t local_size);
/* One dispatch: target[first + i] = source[i] * scale + offset, both spans declared. */
struct rf_dispatch test_dispatch(struct rf_kernel *kernel, struct test_push *push, struct rf_span source,
                                 struct rf_span target, uint32_t count, uint32_t scale);
/* Records and runs one command buffer with one dispatch. */
enum rf_status test_run(struct rf_gpu *gpu, const struct rf_dispatch *dispatch, struct rf_error *err);

#endif
