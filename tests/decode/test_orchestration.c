/* What a submission costs the host, and that rounds replay: on 36 layers that are as thin as layers can be,
 * so that all but the work itself is as in an 8B model. No debug checks, whose readings would be measured
 * too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/gpu/internal.h"
#include "engine/model/forward_internal.h"
#include "tests/decode/engine.h"

enum { TOKENS = 96, PROMPT = 12, RESPONSES = 4, LAYERS = 36 };

static const char shape[] = "qwen3-0.6b,layers=36,hidden=64,heads=2,kv_heads=1,head_dim=32,ffn=64,vocab=256,"
                            "context=512";
static const double MOST_HOST_SECONDS = 150e-6;

static struct engine thin;
static double waited;   /* seconds inside rf_gpu_wait */
static uint32_t begins; /* calls of vkBeginCommandBuffer */
static PFN_vkBeginCommandBuffer real_begin;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Interposed calls ------------------------------------------------------------------------------- */

enum rf_status __real_rf_gpu_wait(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err);
enum rf_status __wrap_rf_gpu_wait(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err);
enum rf_status __wrap_rf_gpu_wait(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err)
{
    double start = seconds_now();
    enum rf_status status = __real_rf_gpu_wait(gpu, ticket, err);
    waited += seconds_now() - start;
    return status;
}

/* In the table that the driver's functions are called through. */
static VkResult VKAPI_CALL count_begin(VkCommandBuffer buffer, const VkCommandBufferBeginInfo *info)
{
    begins++;
    return real_begin(buffer, info);
}

/* ---- Engine ----------------------------------------------------------------------------------------- */

static int open_engine(void **state)
{
    (void)state;
    const struct rf_model_desc model = {.precision = RF_PRECISION_F32, .no_tune = true};
    require_ok(rf_context_create(&thin.context, NULL, err));
    require_ok(rf_model_synthesize(&thin.model, thin.context, shape, &model, err));
    assert_int_equal(thin.model->config.layers, LAYERS);
    struct rf_device_table *vk = &thin.model->gpu->vk;
    real_begin = vk->vkBeginCommandBuffer;
    vk->vkBeginCommandBuffer = count_begin;
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(&thin);
    return 0;
}

static rf_session *open_session(enum rf_decode decode)
{
    /* Bars that some slots and tokens miss, so that rounds have all their passes. */
    const struct rf_session_desc desc = {.settings = {.decode = decode,
                                                      .max_tokens = TOKENS,
                                                      .slot_size = 4,
                                                      .block = 16,
                                                      .slot_threshold = 0.1f,
                                                      .token_threshold = 0.1f,
                                                      .has_slot_threshold = true,
                                                      .has_token_threshold = true}};
    rf_session *session;
    require_ok(rf_session_create(&session, thin.model, &desc, err));
    session->eos_count = 0; /* what random weights take for an end is none */
    return session;
}

static void begin(rf_session *session)
{
    uint32_t prompt[PROMPT];
    for (uint32_t i = 0; i < PROMPT; i++)
        prompt[i] = 11 * i + 1;
    require_ok(rf_session_begin(session, prompt, PROMPT, err));
}

/* Steps through one response; returns the least host time of a submission: everything that a step does but
 * wait for the device. *submissions: how many there were. */
static double respond(rf_session *session, uint64_t *submissions)
{
    struct rf_gpu *gpu = thin.model->gpu;
    uint64_t first = rf_gpu_submission_count(gpu);
    double least = 1e9;
    begin(session);
    while (!rf_session_finished(session)) {
        uint64_t before = rf_gpu_submission_count(gpu);
        waited = 0.0;
        double start = seconds_now();
        require_ok(rf_session_step(session, NULL, NULL, err));
        double own = seconds_now() - start - waited;
        uint64_t count = rf_gpu_submission_count(gpu) - before;
        assert_true(count > 0);
        own /= (double)count;
        least = own < least ? own : least;
    }
    *submissions = rf_gpu_submission_count(gpu) - first;
    return least;
}

static void measure(const char *name, enum rf_decode decode)
{
    rf_session *session = open_session(decode);
    double least = 1e9;
    uint64_t submissions = 0;
    for (int i = 0; i < RESPONSES; i++) {
        double now = respond(session, &submissions);
        least = now < least ? now : least;
    }
    printf("%s: %.1f us of the host a submission, the least of %d responses of %llu submissions\n", name,
           1e6 * least, RESPONSES, (unsigned long long)submissions);
    rf_session_destroy(session);
    assert_true(least < MOST_HOST_SECONDS);
}

static void a_submission_takes_little_of_the_host(void **state)
{
    (void)state;
    measure("sequential", RF_DECODE_AR);
    measure("plan and infill", RF_DECODE_REFUSION);
}

/* A response is recorded while it first runs; when it runs again, nothing is. */
static void rounds_replay(void **state)
{
    (void)state;
    rf_session *session = open_session(RF_DECODE_REFUSION);
    struct rf_session_stats stats;
    uint64_t submissions;
    rf_session *recorder = open_session(RF_DECODE_REFUSION);
    respond(recorder, &submissions);
    assert_true(begins > 0); /* the counter counts: all of this test program's recordings */
    respond(session, &submissions);
    uint32_t before = begins;
    uint64_t recorded = rf_gpu_recorded_count(thin.model->gpu);
    respond(session, &submissions);
    rf_session_get_stats(session, &stats);
    printf("%u rounds, %llu submissions, %u command buffers begun\n", stats.rounds,
           (unsigned long long)submissions, begins - before);
    assert_true(stats.rounds >= 6 && submissions >= 2 * stats.rounds);
    assert_int_equal(begins, before);
    assert_int_equal(rf_gpu_recorded_count(thin.model->gpu), recorded);
    rf_session_destroy(session);
    rf_session_destroy(recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_submission_takes_little_of_the_host),
        cmocka_unit_test(rounds_replay),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
