/* Dispatches, indirect sizes, copies, barriers and tickets on a real device. */
#include <string.h>

#include "engine/gpu/hazard.h"
#include "tests/gpu/support.h"

enum { COUNT = 1000 };

struct fixture {
    struct rf_gpu *gpu;
    struct rf_arena *arena;
    struct rf_span a, b, c, size;
    struct rf_kernel *kernel;
};

static struct fixture open_fixture(const char *disable)
{
    struct rf_error err;
    struct fixture f = {.gpu = test_gpu(disable, NULL)};
    f.arena = rf_arena_create(f.gpu, RF_MEMORY_DEVICE, "test");
    assert_rf_ok(rf_arena_alloc(f.arena, &f.a, COUNT * 4, "a", &err));
    assert_rf_ok(rf_arena_alloc(f.arena, &f.b, COUNT * 4, "b", &err));
    assert_rf_ok(rf_arena_alloc(f.arena, &f.c, COUNT * 4, "c", &err));
    assert_rf_ok(rf_arena_alloc(f.arena, &f.size, 12, "indirect", &err));
    uint32_t values[COUNT];
    for (uint32_t i = 0; i < COUNT; ++i)
        values[i] = i;
    assert_rf_ok(rf_gpu_write(f.gpu, f.a, values, sizeof values, &err));
    f.kernel = test_kernel(f.gpu, 5, 64);
    return f;
}

static void close_fixture(struct fixture *f)
{
    assert_int_equal(rf_gpu_complaints(f->gpu), 0);
    rf_arena_destroy(f->arena);
    rf_gpu_destroy(f->gpu);
}

static void expect_values(struct fixture *f, struct rf_span span, uint32_t scale, uint32_t offset)
{
    struct rf_error err;
    uint32_t values[COUNT];
    assert_rf_ok(rf_gpu_read(f->gpu, span, values, sizeof values, &err));
    for (uint32_t i = 0; i < COUNT; ++i)
        assert_int_equal(values[i], i * scale + offset);
}

/* a -> b -> c, then a copy of c over b: three barriers in all, and a replay gives the same again. */
static void run_chain(const char *disable)
{
    struct rf_error err;
    struct fixture f = open_fixture(disable);
    struct test_push push;
    struct rf_cmd *cmd;
    uint64_t tickets[2];
    assert_rf_ok(rf_cmd_begin(&cmd, f.gpu, "chain", &err));
    struct rf_dispatch first = test_dispatch(f.kernel, &push, f.a, f.b, COUNT, 3);
    assert_rf_ok(rf_cmd_dispatch(cmd, &first, &err));
    struct rf_dispatch second = test_dispatch(f.kernel, &push, f.b, f.c, COUNT, 2);
    assert_rf_ok(rf_cmd_dispatch(cmd, &second, &err));
    assert_int_equal(rf_cmd_barrier_count(cmd), 1);
    assert_rf_ok(rf_cmd_copy(cmd, f.b, f.c, f.b.size, "back", &err));
    assert_int_equal(rf_cmd_barrier_count(cmd), 2);
    assert_int_equal(rf_cmd_dispatch_count(cmd), 2);
    assert_rf_ok(rf_cmd_end(cmd, &err));
    assert_rf_ok(rf_gpu_submit(f.gpu, &cmd, 1, &tickets[0], &err));
    assert_rf_ok(rf_gpu_submit(f.gpu, &cmd, 1, &tickets[1], &err)); /* in flight twice */
    assert_rf_ok(rf_gpu_wait(f.gpu, tickets[1], &err));
    assert_rf_ok(rf_gpu_wait(f.gpu, tickets[0], &err));
    expect_values(&f, f.b, 6, 15);
    expect_values(&f, f.c, 6, 15);
    assert_int_equal(rf_gpu_submission_count(f.gpu), 2);
    assert_int_equal(rf_gpu_recorded_count(f.gpu), 1);
    rf_cmd_destroy(cmd);
    close_fixture(&f);
}

static void test_chain(void **state)
{
    (void)state;
    run_chain(NULL);
}

static void test_chain_staged(void **state)
{
    (void)state;
    run_chain("unifiedMemory");
}

/* a -> b -> c in two parts, cut where the second waits for the first: as one submission and as two. */
static void test_parts(void **state)
{
    (void)state;
    struct rf_error err;
    struct fixture f = open_fixture(NULL);
    struct test_push push;
    struct rf_cmd *parts[2];
    uint64_t ticket;
    struct rf_dispatch first = test_dispatch(f.kernel, &push, f.a, f.b, COUNT, 3);
    assert_rf_ok(rf_cmd_begin(&parts[0], f.gpu, "parts", &err));
    assert_false(rf_cmd_waits(parts[0], &first));
    assert_rf_ok(rf_cmd_dispatch(parts[0], &first, &err));
    struct rf_dispatch second = test_dispatch(f.kernel, &push, f.b, f.c, COUNT, 2);
    assert_true(rf_cmd_waits(parts[0], &second));
    assert_int_equal(rf_cmd_barrier_count(parts[0]), 0); /* asking is not recording */
    assert_rf_ok(rf_cmd_continue(&parts[1], parts[0], &err));
    assert_false(rf_cmd_waits(parts[1], &second));
    assert_rf_ok(rf_cmd_dispatch(parts[1], &second, &err));
    assert_rf_ok(rf_cmd_end(parts[1], &err));
    assert_int_equal(rf_gpu_recorded_count(f.gpu), 2);
    for (size_t cut = 0; cut < 2; ++cut) {
        struct rf_cmd *cmds[] = {parts[0], cut ? NULL : parts[1], parts[1]};
        assert_rf_ok(rf_gpu_fill(f.gpu, f.b, 77, &err));
        assert_rf_ok(rf_gpu_fill(f.gpu, f.c, 77, &err));
        assert_rf_ok(rf_gpu_submit(f.gpu, cmds, 2 + cut, &ticket, &err));
        assert_rf_ok(rf_gpu_wait(f.gpu, ticket, &err));
        expect_values(&f, f.c, 6, 15);
        assert_int_equal(rf_gpu_submission_count(f.gpu), 1 + 2 * cut);
    }
    /* A cut has something on both sides, and nothing is submitted when one has not. */
    struct rf_cmd *const wrong[][3] = {
        {NULL, parts[0], parts[1]}, {parts[0], parts[1], NULL}, {parts[0], NULL, NULL}};
    for (int i = 0; i < 3; ++i) {
        assert_rf_status(rf_gpu_submit(f.gpu, wrong[i], 3, &ticket, &err), RF_ERROR_ARGUMENT);
        assert_message(&err, "submission of 0 command buffers");
    }
    assert_int_equal(rf_gpu_submission_count(f.gpu), 3);
    assert_rf_status(rf_cmd_continue(&parts[0], parts[1], &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "has already ended");
    rf_cmd_destroy(wrong[0][1]);
    rf_cmd_destroy(parts[1]);
    close_fixture(&f);
}

/* The size comes from the device: written by a kernel in the same command buffer. */
static void test_indirect(void **state)
{
    (void)state;
    struct rf_error err;
    struct fixture f = open_fixture(NULL);
    struct test_push size_push, push;
    struct rf_cmd *cmd;
    uint64_t ticket;
    const uint32_t zero[3] = {0};
    struct rf_kernel *ones = test_kernel(f.gpu, 1, 4);
    assert_rf_ok(rf_gpu_write(f.gpu, f.c, zero, sizeof zero, &err));
    assert_rf_ok(rf_gpu_fill(f.gpu, f.b, 77, &err));
    assert_rf_ok(rf_cmd_begin(&cmd, f.gpu, "indirect", &err));
    struct rf_dispatch size = test_dispatch(ones, &size_push, f.c, f.size, 3, 1); /* {1, 1, 1} */
    assert_rf_ok(rf_cmd_dispatch(cmd, &size, &err));
    struct rf_dispatch run = test_dispatch(f.kernel, &push, f.a, f.b, COUNT, 1);
    memset(run.groups, 0, sizeof run.groups);
    run.indirect = f.size;
    assert_rf_ok(rf_cmd_dispatch(cmd, &run, &err));
    assert_int_equal(rf_cmd_barrier_count(cmd), 1);
    assert_rf_ok(rf_cmd_end(cmd, &err));
    assert_rf_ok(rf_gpu_submit(f.gpu, &cmd, 1, &ticket, &err));
    assert_rf_ok(rf_gpu_wait(f.gpu, ticket, &err));
    uint32_t values[COUNT];
    assert_rf_ok(rf_gpu_read(f.gpu, f.b, values, sizeof values, &err));
    for (uint32_t i = 0; i < COUNT; ++i)
        assert_int_equal(values[i], i < 64 ? i + 5 : 77); /* one workgroup */
    rf_cmd_destroy(cmd);
    close_fixture(&f);
}

/* Independent dispatches have no barrier; reading twice has none; each kind of conflict has one. */
static void test_barriers(void **state)
{
    (void)state;
    struct rf_error err;
    struct fixture f = open_fixture(NULL);
    struct test_push push;
    struct rf_cmd *cmd;
    assert_rf_ok(rf_cmd_begin(&cmd, f.gpu, "barriers", &err));
    const struct rf_span half = rf_span_part(f.b, 0, 512), rest = rf_span_part(f.b, 512, 512);
    const struct {
        struct rf_span from, to;
        uint32_t barriers;
    } steps[] = {
        {f.a, half, 0},    {f.a, rest, 0}, /* neighbours */
        {f.a, half, 1},                    /* write after write */
        {half, f.c, 2},                    /* read after write */
        {rest, f.size, 2},                 /* was written before the last barrier */
        {f.a, rest, 3},                    /* write after read */
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; ++i) {
        struct rf_dispatch dispatch = test_dispatch(f.kernel, &push, steps[i].from, steps[i].to, 2, 1);
        assert_rf_ok(rf_cmd_dispatch(cmd, &dispatch, &err));
        assert_int_equal(rf_cmd_barrier_count(cmd), steps[i].barriers);
    }
    assert_rf_ok(rf_cmd_end(cmd, &err));
    size_t count;
    const struct rf_log_entry *log = rf_cmd_log(cmd, &count);
    assert_rf_ok(rf_hazard_check(log, count, RF_KEEP_ALL_BARRIERS, &err));
    for (int i = 0; i < 3; ++i) {
        assert_rf_status(rf_hazard_check(log, count, i, &err), RF_ERROR_INTERNAL);
        assert_message(&err, "no barrier between \"test\"");
    }
    rf_cmd_destroy(cmd);
    close_fixture(&f);
}

static void test_refusals(void **state)
{
    (void)state;
    struct rf_error err;
    struct fixture f = open_fixture(NULL);
    struct test_push push;
    struct rf_cmd *cmd;
    uint64_t ticket;
    assert_rf_ok(rf_cmd_begin(&cmd, f.gpu, "refusals", &err));
    const struct rf_dispatch good = test_dispatch(f.kernel, &push, f.a, f.b, COUNT, 1);

    struct rf_dispatch bad = good;
    bad.label = "L3 attention";
    bad.push_size = 24;
    assert_rf_status(rf_cmd_dispatch(cmd, &bad, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "L3 attention: 24 bytes of push constants, kernel test_push takes 32");
    bad = good;
    bad.accesses[1].span = (struct rf_span){0};
    assert_rf_status(rf_cmd_dispatch(cmd, &bad, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "test: access 1 of kernel test_push is a null span");
    bad = good;
    bad.groups[1] = UINT32_MAX;
    assert_rf_status(rf_cmd_dispatch(cmd, &bad, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "4294967295 workgroups in dimension 1, the device takes at most");
    bad = good;
    bad.indirect = rf_span_part(f.size, 0, 8);
    assert_rf_status(rf_cmd_dispatch(cmd, &bad, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "wanted 12 at a multiple of 4");
    bad = good;
    bad.groups[2] = 0;
    assert_rf_ok(rf_cmd_dispatch(cmd, &bad, &err));
    assert_int_equal(rf_cmd_dispatch_count(cmd), 0);

    assert_rf_status(rf_cmd_copy(cmd, f.a, f.b, COUNT * 4 + 1, "too long", &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "too long: 4001 bytes");
    assert_rf_status(rf_cmd_copy(cmd, f.a, rf_span_part(f.a, 4, 8), 8, "onto itself", &err),
                     RF_ERROR_ARGUMENT);
    assert_message(&err, "overlap");
    assert_rf_status(rf_gpu_submit(f.gpu, &cmd, 1, &ticket, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "submitted before its end");
    assert_rf_ok(rf_cmd_end(cmd, &err));
    assert_rf_status(rf_cmd_dispatch(cmd, &good, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "has already ended");
    assert_rf_status(rf_gpu_wait(f.gpu, 1000, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "wait for ticket 1000");
    rf_cmd_destroy(cmd);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),    cmocka_unit_test(test_chain_staged), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_indirect), cmocka_unit_test(test_barriers),     cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
