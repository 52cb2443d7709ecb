/* The hazard checker against an oracle that keeps the state of every byte, and the barriers that rf_cmd
 * derives against the checker. */
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/hazard.h"
#include "tests/gpu/support.h"

enum { BYTES = 64, ENTRIES = 12, LOGS = 20000, RECORDINGS = 200, COMMANDS = 40 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static struct rf_access random_access(uint32_t *seed, uint64_t base)
{
    const uint64_t begin = next_random(seed) % BYTES, size = 1 + next_random(seed) % (BYTES - begin);
    return (struct rf_access){{.address = base + begin, .size = size < 12 ? size : 12},
                              (enum rf_access_mode)(1 + next_random(seed) % 3)};
}

/* True when two entries with no barrier between touch the same byte and one of them writes it. */
static bool oracle(const struct rf_log_entry *log, size_t count, int without, uint64_t base)
{
    bool read[BYTES] = {0}, written[BYTES] = {0};
    int barrier = 0;
    for (size_t i = 0; i < count; ++i) {
        bool reads[BYTES] = {0}, writes[BYTES] = {0};
        if (log[i].is_barrier && barrier++ != without) {
            memset(read, 0, sizeof read);
            memset(written, 0, sizeof written);
        }
        for (uint32_t a = 0; a < log[i].access_count; ++a)
            for (uint64_t k = 0; k < log[i].accesses[a].span.size; ++k) {
                const uint64_t byte = log[i].accesses[a].span.address - base + k;
                if (log[i].accesses[a].mode & RF_READ)
                    reads[byte] = true;
                if (log[i].accesses[a].mode & RF_WRITE)
                    writes[byte] = true;
            }
        for (int k = 0; k < BYTES; ++k) {
            if ((reads[k] && written[k]) || (writes[k] && (read[k] || written[k])))
                return true;
            read[k] = read[k] || reads[k];
            written[k] = written[k] || writes[k];
        }
    }
    return false;
}

static void test_random_logs(void **state)
{
    (void)state;
    static struct rf_log_entry log[ENTRIES];
    uint32_t seed = 1;
    int found = 0;
    for (int n = 0; n < LOGS; ++n) {
        int barriers = 0;
        memset(log, 0, sizeof log);
        for (int i = 0; i < ENTRIES; ++i) {
            log[i].is_barrier = next_random(&seed) % 2 == 0;
            barriers += log[i].is_barrier;
            if (!log[i].is_barrier)
                log[i].access_count = next_random(&seed) % 4;
            for (uint32_t a = 0; a < log[i].access_count; ++a)
                log[i].accesses[a] = random_access(&seed, 4096);
        }
        for (int without = RF_KEEP_ALL_BARRIERS; without < barriers; ++without) {
            const bool want = oracle(log, ENTRIES, without, 4096);
            const enum rf_status have = rf_hazard_check(log, ENTRIES, without, NULL);
            assert_int_equal(have, want ? RF_ERROR_INTERNAL : RF_OK);
            found += want;
        }
    }
    assert_true(found > LOGS / 10); /* and as many logs without a hazard */
    assert_true(found < LOGS * ENTRIES);
}

static void test_message(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_log_entry log[2];
    memset(log, 0, sizeof log);
    strcpy(log[0].label, "L3 norm");
    strcpy(log[1].label, "L3 qkv");
    log[0].access_count = log[1].access_count = 1;
    log[0].accesses[0] = (struct rf_access){{.address = 0x1000, .size = 256}, RF_WRITE};
    log[1].accesses[0] = (struct rf_access){{.address = 0x1080, .size = 512}, RF_READ};
    assert_rf_status(rf_hazard_check(log, 2, RF_KEEP_ALL_BARRIERS, &err), RF_ERROR_INTERNAL);
    assert_string_equal(
        err.message, "hazard: no barrier between \"L3 norm\", which writes [0x1000, +256), and \"L3 qkv\", "
                     "which reads [0x1080, +512)");
}

/* Random commands: what rf_cmd records has no hazard, and none of its barriers can be left out. */
static void test_derived_barriers(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_kernel *kernel = test_kernel(gpu, 0, 4);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "hazards");
    struct rf_span span;
    uint32_t seed = 11, total = 0;
    assert_rf_ok(rf_arena_alloc(arena, &span, BYTES, "bytes", &err));
    for (int n = 0; n < RECORDINGS; ++n) {
        struct rf_cmd *cmd;
        struct test_push push;
        assert_rf_ok(rf_cmd_begin(&cmd, gpu, "random", &err));
        for (int i = 0; i < COMMANDS; ++i) {
            const struct rf_access a = random_access(&seed, 0), b = random_access(&seed, 0);
            const struct rf_span from = rf_span_part(span, a.span.address, a.span.size);
            const struct rf_span to = rf_span_part(span, b.span.address, b.span.size);
            const uint64_t size = from.size < to.size ? from.size : to.size;
            const bool apart = from.address + size <= to.address || to.address + size <= from.address;
            if (apart && next_random(&seed) % 3 == 0) {
                assert_rf_ok(rf_cmd_copy(cmd, to, from, size, "copy", &err));
                continue;
            }
            struct rf_dispatch dispatch = test_dispatch(kernel, &push, span, span, 1, 1);
            dispatch.accesses[0] = (struct rf_access){from, a.mode};
            dispatch.accesses[1] = (struct rf_access){to, b.mode};
            assert_rf_ok(rf_cmd_dispatch(cmd, &dispatch, &err));
        }
        assert_rf_ok(rf_cmd_end(cmd, &err));
        size_t count;
        const struct rf_log_entry *log = rf_cmd_log(cmd, &count);
        const uint32_t barriers = rf_cmd_barrier_count(cmd);
        assert_int_equal(count, COMMANDS + barriers);
        assert_false(oracle(log, count, RF_KEEP_ALL_BARRIERS, span.address));
        for (uint32_t i = 0; i < barriers; ++i)
            assert_rf_status(rf_hazard_check(log, count, (int)i, &err), RF_ERROR_INTERNAL);
        total += barriers;
        rf_cmd_destroy(cmd);
    }
    assert_true(total > RECORDINGS);
    assert_true(total < RECORDINGS * (COMMANDS - 1));
    assert_int_equal(rf_gpu_complaints(gpu), 0);
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_logs),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_derived_barriers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
