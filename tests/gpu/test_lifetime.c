/* Devices come and go without a trace; two devices in two threads, and four threads on one device. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/gpu/support.h"

/* The drivers keep about 100 bytes a cycle. Sanitizers bring their own malloc: there the leak report
 * tells. */
enum { CYCLES = 100, WARM = 20, ALLOWED_KIB = 64, THREADS = 4, TURNS = 25, COUNT = 500 };

/* What malloc has given out and not got back, in KiB (resident pages would add the noise of freed memory). */
static long allocated_kib(void)
{
    const struct mallinfo2 info = mallinfo2();
    return (long)((info.uordblks + info.hblkhd) / 1024);
}

/* One life of everything on a device: memory, pipelines, staging, a command buffer and its result. True when
 * right. */
static bool use_device(struct rf_gpu *gpu, uint32_t salt, struct rf_error *err)
{
    uint32_t values[COUNT];
    struct rf_span a, b;
    struct rf_kernel *kernel;
    struct test_push push;
    const struct rf_kernel_id id = {.shader = "test_push", .spec_count = 2, .specs = {salt % 3, 32}};
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "life");
    if (!arena)
        return false;
    for (uint32_t i = 0; i < COUNT; ++i)
        values[i] = i + salt;
    bool right = !rf_arena_alloc(arena, &a, sizeof values, "a", err) &&
                 !rf_arena_alloc(arena, &b, sizeof values, "b", err) &&
                 !rf_gpu_write(gpu, a, values, sizeof values, err) &&
                 !rf_kernels_get(gpu, &id, 1, &kernel, err);
    if (right) {
        struct rf_dispatch dispatch = test_dispatch(kernel, &push, a, b, COUNT, 2);
        right = !test_run(gpu, &dispatch, err) && !rf_gpu_read(gpu, b, values, sizeof values, err);
    }
    for (uint32_t i = 0; right && i < COUNT; ++i)
        right = values[i] == 2 * (i + salt) + salt % 3;
    rf_arena_destroy(arena);
    return right;
}

static void test_cycles(void **state)
{
    (void)state;
    struct rf_error err;
    long warm = 0;
    struct timespec start, end;
    timespec_get(&start, TIME_UTC);
    for (int i = 0; i < CYCLES; ++i) {
        struct rf_gpu *gpu = test_gpu(i % 2 ? NULL : "unifiedMemory", NULL);
        if (!use_device(gpu, (uint32_t)i, &err))
            fail_msg("cycle %d: %s", i, err.message);
        assert_int_equal(rf_gpu_complaints(gpu), 0);
        rf_gpu_destroy(gpu);
        if (i == WARM)
            warm = allocated_kib();
    }
    timespec_get(&end, TIME_UTC);
    const long grown = allocated_kib() - warm;
    print_message("%.1f ms a cycle, %ld KiB grown over %d cycles\n",
                  (1e3 * (double)(end.tv_sec - start.tv_sec) + 1e-6 * (double)(end.tv_nsec - start.tv_nsec)) /
                      CYCLES,
                  grown, CYCLES - WARM);
    assert_true(grown < ALLOWED_KIB);
}

struct thread {
    struct rf_gpu *gpu;
    uint32_t salt;
    bool right;
    struct rf_error err;
};

static void *turns(void *user)
{
    struct thread *thread = user;
    thread->right = true;
    for (uint32_t i = 0; thread->right && i < TURNS; ++i)
        thread->right = use_device(thread->gpu, thread->salt + i, &thread->err);
    return NULL;
}

static void *own_device(void *user)
{
    struct thread *thread = user;
    const struct rf_gpu_desc desc = {.debug_checks = true, .shader_dir = RF_TEST_SHADER_DIR};
    thread->right = true;
    for (int i = 0; thread->right && i < 3; ++i) {
        if (rf_gpu_create(&thread->gpu, &desc, &thread->err)) {
            thread->right = false;
            return NULL;
        }
        turns(thread);
        rf_gpu_destroy(thread->gpu);
    }
    return NULL;
}

static void run_threads(struct rf_gpu *gpu, int count, void *(*work)(void *))
{
    static struct thread threads[THREADS];
    pthread_t ids[THREADS];
    for (int i = 0; i < count; ++i) {
        threads[i] = (struct thread){.gpu = gpu, .salt = (uint32_t)i * 1000};
        assert_int_equal(pthread_create(&ids[i], NULL, work, &threads[i]), 0);
    }
    for (int i = 0; i < count; ++i)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < count; ++i)
        if (!threads[i].right)
            fail_msg("thread %d: wrong values, or %s", i, threads[i].err.message);
}

static void test_two_devices(void **state)
{
    (void)state;
    run_threads(NULL, 2, own_device);
}

static void test_shared_device(void **state)
{
    (void)state;
    static const char *const modes[] = {NULL, "unifiedMemory"};
    for (int mode = 0; mode < 2; ++mode) {
        struct rf_gpu *gpu = test_gpu(modes[mode], NULL);
        run_threads(gpu, THREADS, turns);
        assert_int_equal(rf_gpu_complaints(gpu), 0);
        assert_int_equal(rf_gpu_submission_count(gpu), THREADS * TURNS);
        rf_gpu_destroy(gpu);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_two_devices),
        cmocka_unit_test(test_shared_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
