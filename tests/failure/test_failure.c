/* Memory that is not there, and a device that is lost, at every place where the library asks: each allocation
 * (and each call of cJSON and PCRE2, for what those allocate), each Vulkan call that can want memory, each
 * submission and wait. In a first life each place fails when it is first reached, in others later calls do by
 * chance; the step in which one fails is made again and again until it does, and what comes of all must be what
 * comes of a life without a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "engine/refusion_profile.h"
#include "tests/failure/faults.h"
#include "tests/failure/life.h"

static struct life usual, life; /* without a failure; with one */
static unsigned seed;

static int set_up(void **state)
{
    (void)state;
    const char *given = getenv("RF_TEST_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("RF_TEST_SEED=%u\n", seed);
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = host_json_malloc, .free_fn = host_json_free});
    life_live(&usual); /* fills the pipeline cache, and whatever a process has once */
    life_end(&usual);
    assert_null(usual.failed);
    assert_true(usual.counts[0] > 0 && usual.counts[1] > 0 && usual.counts[2] > 0);
    return 0;
}

static void assert_usual(void)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(life.counts[i], usual.counts[i]);
        assert_memory_equal(life.tokens[i], usual.tokens[i], usual.counts[i] * sizeof usual.tokens[i][0]);
    }
}

/* A life in which calls fail, or only those of one name: of each place the first, and one of `one_in` of the others. */
static void live_with(struct faults *faults, const char *only, unsigned one_in)
{
    const long blocks = host_blocks();
    fault_arm(faults, only, one_in, seed);
    life_live(&life);
    fault_disarm(faults);
    life_end(&life);
    print_message("%zu places, %zu calls failed, %u times a step did\n", faults->site_count, faults->failed,
                  life.failures);
    assert_true(life.failures > 0);
    assert_int_equal(host_blocks(), blocks);
    assert_usual();
}

static void host_memory(void **state)
{
    (void)state;
    live_with(&host_faults, NULL, 0);
    live_with(&host_faults, NULL, 3000);
}

static void vulkan_memory(void **state)
{
    (void)state;
    live_with(&vulkan_faults, NULL, 0);
    vulkan_failure = VK_ERROR_OUT_OF_HOST_MEMORY;
    live_with(&vulkan_faults, NULL, 100);
    /* In rounds what was waited for has changed the device's state all the same. */
    live_with(&vulkan_faults, "vkWaitSemaphores", 12);
    live_with(&vulkan_faults, "vkQueueSubmit2", 12);
}

/* What a lost device's context answers. */
static void assert_stays_lost(void)
{
    struct rf_error err = {0};
    rf_model *model = NULL;
    rf_session *session = NULL;
    rf_generation *generation = NULL;
    const struct rf_message message = {"user", "And now?"};
    if (!life.context)
        return;
    assert_int_equal(rf_model_load(&model, life.context, RF_SOURCE_DIR "/tests/golden/tiny", NULL, &err),
                     RF_ERROR_DEVICE_LOST);
    assert_null(model);
    if (!life.session)
        return;
    enum rf_status status = rf_session_begin_chat(life.session, &message, 1, true, &err);
    if (!status)
        status = rf_session_step(life.session, NULL, NULL, &err);
    assert_int_equal(status, RF_ERROR_DEVICE_LOST);
    assert_true(err.message[0]);
    status = rf_session_create(&session, life.model, NULL, &err);
    if (!status)
        status = rf_session_begin_chat(session, &message, 1, true, &err);
    if (!status)
        status = rf_generation_start(&generation, session, NULL, &err);
    if (!status) {
        struct rf_update update;
        assert_true(rf_generation_wait(generation, UINT32_MAX));
        status = rf_generation_poll(generation, &update, &err);
        assert_true(update.finished);
    }
    assert_int_equal(status, RF_ERROR_DEVICE_LOST);
    rf_generation_destroy(generation);
    rf_session_destroy(session);
}

static void lost_device(void **state)
{
    struct life neighbour;
    (void)state;
    life_live(&neighbour);
    lost_arm(LOST_NEVER);
    life_live(&life);
    life_end(&life);
    const size_t calls = lost_calls();
    const size_t step = calls / 6 + 1;
    print_message("%zu submissions and waits, every %zu-th loses the device\n", calls, step);
    for (size_t call = seed % step; call < calls; call += step) {
        const long blocks = host_blocks();
        lost_arm((long)call);
        life_live(&life);
        assert_true(lost_fired());
        if (!life.failed || life.error.status != RF_ERROR_DEVICE_LOST)
            fail_msg("call %zu: %s, %s", call, life.failed ? life.failed : "nothing failed",
                     life.error.message);
        assert_stays_lost();
        struct rf_error err = {0};
        const struct rf_message message = {"user", "Are you still there?"};
        assert_int_equal(rf_session_begin_chat(neighbour.session, &message, 1, true, &err), RF_OK);
        assert_int_equal(rf_session_generate(neighbour.session, NULL, NULL, &err), RF_OK);
        life_end(&life);
        lost_arm(LOST_NEVER);
        if (call + step >= calls) {
            life_live(&life); /* a new context */
            life_end(&life);
            assert_null(life.failed);
            assert_usual();
        }
        if (host_blocks() > blocks + 16) /* the neighbour's, whose response is longer now */
            fail_msg("call %zu: %ld blocks were not released", call, host_blocks() - blocks);
    }
    life_end(&neighbour);
}

static void on_record(void *user, const struct rf_profile_record *record)
{
    (void)record;
    ++*(unsigned *)user;
}

/* What a life does not do: a profile, a synthetic model, the self-test. */
static void other_rooms(void **state)
{
    const long blocks = host_blocks(), strays = host_strays();
    const struct rf_context_desc desc = {.size = sizeof desc, .allocator = {host_allocate, &life}};
    const uint32_t prompt[] = {1, 2, 3};
    unsigned records = 0;
    struct rf_error err = {0};
    rf_context *context;
    rf_model *model;
    rf_session *session;
    (void)state;
    if (rf_context_create(&context, &desc, &err) ||
        rf_model_synthesize(&model, context, "qwen3-0.6b,layers=1,vocab=512",
                            &(struct rf_model_desc){.no_tune = true}, &err) ||
        rf_model_profile(model, RF_PROFILE_SERIAL, on_record, &records, &err) ||
        rf_session_create(&session, model, NULL, &err) || rf_session_begin(session, prompt, 3, &err) ||
        rf_session_step(session, NULL, NULL, &err) ||
        rf_selftest(context, &(struct rf_selftest_desc){.kernel = "rows_gather"}, NULL, NULL, &err))
        fail_msg("%s", err.message);
    assert_true(records > 0);
    assert_true(host_blocks() > blocks);
    rf_session_destroy(session);
    rf_model_destroy(model);
    rf_context_destroy(context);
    assert_int_equal(host_blocks(), blocks);
    assert_int_equal(host_strays(), strays);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_memory),
        cmocka_unit_test(vulkan_memory),
        cmocka_unit_test(lost_device),
        cmocka_unit_test(other_rooms),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
