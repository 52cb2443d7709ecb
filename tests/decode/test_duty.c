/* A context that works for a share of the time: rf_context_desc.duty. Times are measured, on machines that others use too:
 * load makes rests longer and never shorter, so bounds are tight above and loose below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/context.h"
#include "engine/gpu/rest.h"
#include "tests/decode/engine.h"

enum { DUTY = 25, TOKENS = 64, CANCELS = 5 };

/* Rests begin some microseconds after what is measured ends. */
static const double MOST_SHARE = 0.255, LEAST_SHARE = 0.05, STRETCH = 2.0;
/* The sleeper looks every 2 ms; the rest is a scheduler that has others to serve. */
static const double MOST_CANCEL = 0.1;

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void open_at(struct engine *e, uint32_t duty)
{
    const struct rf_context_desc context = {.size = sizeof context, .debug_checks = true, .duty = duty};
    const struct rf_model_desc model = {.precision = RF_PRECISION_F32, .no_tune = true};
    require_ok(rf_context_create(&e->context, &context, err));
    require_ok(rf_model_load(&e->model, e->context, RF_SOURCE_DIR "/tests/golden/tiny", &model, err));
}

static rf_session *begin(rf_model *model)
{
    static const struct rf_message question = {"user", "Write a Python function is_odd(x)."};
    const struct rf_session_desc desc = {.size = sizeof desc,
                                         .settings = {.preset = "demo", .max_tokens = TOKENS}};
    rf_session *session = NULL;
    require_ok(rf_session_create(&session, model, &desc, err));
    require_ok(rf_session_begin_chat(session, &question, 1, true, err));
    return session;
}

struct stretch {
    double first, last, busy; /* seconds; the last submission is only where it ends */
    double taken;             /* by the last one */
    uint32_t count;
};

static void on_record(void *user, const struct rf_profile_record *record)
{
    struct stretch *s = user;
    s->first = s->count ? s->first : record->submit_begin;
    s->last = record->submit_begin;
    s->busy += s->taken;
    s->taken = record->read_begin - record->submit_begin;
    s->count++;
}

/* The share of time from the first submission's beginning to the last one's in which one was under way. */
static double measure(uint32_t duty, uint32_t tokens[TOKENS], size_t *count)
{
    struct engine e;
    struct stretch stretch = {0};
    open_at(&e, duty);
    rf_session *session = begin(e.model);
    require_ok(rf_session_generate(session, NULL, NULL, err)); /* pipelines are compiled */
    rf_session_destroy(session);
    require_ok(rf_model_profile(e.model, RF_PROFILE_HOST, on_record, &stretch, err));
    do {
        session = begin(e.model);
        require_ok(rf_session_generate(session, NULL, NULL, err));
        const uint32_t *found = rf_session_tokens(session, count);
        assert_true(*count <= TOKENS);
        memcpy(tokens, found, *count * sizeof *tokens);
        rf_session_destroy(session);
    } while (stretch.last - stretch.first < STRETCH);
    engine_close(&e);
    const double share = stretch.busy / (stretch.last - stretch.first);
    printf("duty %u: %u submissions, at work %.1f %% of %.1f s\n", duty, stretch.count, 100.0 * share,
           stretch.last - stretch.first);
    return share;
}

static void test_share(void **state)
{
    uint32_t whole[TOKENS], part[TOKENS];
    size_t whole_count, part_count;
    (void)state;
    const double free_share = measure(0, whole, &whole_count), share = measure(DUTY, part, &part_count);
    assert_true(free_share > 2 * MOST_SHARE); /* else the limit would limit nothing */
    assert_true(share <= MOST_SHARE);
    assert_true(share >= LEAST_SHARE);
    assert_int_equal(whole_count, part_count);
    assert_memory_equal(whole, part, part_count * sizeof *part);
}

static double after_a_while(void)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    nanosleep(&pause, NULL);
    return seconds_now();
}

/* A step that would rest for a quarter of an hour comes back when it is cancelled, and so does one that waits beside it. */
static void test_cancel_ends_a_rest(void **state)
{
    struct engine e;
    (void)state;
    open_at(&e, 1);
    rf_session *sessions[2] = {begin(e.model), begin(e.model)};
    rf_generation *generations[2];
    rf_gpu_worked(rf_context_gpu(e.context), 10.0);
    assert_true(rf_gpu_rest_left(rf_context_gpu(e.context)) > 900.0);
    for (int i = 0; i < CANCELS; i++) {
        for (int k = 0; k < 2; k++)
            require_ok(rf_generation_start(&generations[k], sessions[k], NULL, err));
        const double now = after_a_while();
        for (int k = 0; k < 2; k++) {
            assert_false(rf_generation_wait(generations[k], 0));
            rf_session_cancel(sessions[k]);
            assert_true(rf_generation_wait(generations[k], 60000));
            const double taken = seconds_now() - now;
            printf("cancelled after %.1f ms\n", 1e3 * taken);
            assert_true(taken < (k + 1) * MOST_CANCEL);
            struct rf_update update;
            struct rf_error refusal;
            assert_int_equal(rf_generation_poll(generations[k], &update, &refusal), RF_ERROR_CANCELLED);
            rf_generation_destroy(generations[k]);
        }
    }
    for (int k = 0; k < 2; k++)
        rf_session_destroy(sessions[k]);
    engine_close(&e);
}

/* Of sessions that are stepped together, the one that was cancelled ends, and nothing is submitted for the other before
 * its time. */
static void test_cancel_of_one(void **state)
{
    struct engine e;
    struct rf_error refusal;
    (void)state;
    open_at(&e, 50);
    rf_session *sessions[2] = {begin(e.model), begin(e.model)};
    const double start = seconds_now();
    rf_gpu_worked(rf_context_gpu(e.context), 0.3);
    rf_session_cancel(sessions[0]);
    assert_int_equal(rf_sessions_step(sessions, 2, &refusal), RF_ERROR_CANCELLED);
    assert_true(seconds_now() - start >= 0.3);
    struct rf_session_stats stats;
    rf_session_get_stats(sessions[1], &stats);
    assert_true(stats.forwards > 0);
    rf_session_get_stats(sessions[0], &stats);
    assert_int_equal(stats.forwards, 0);
    for (int k = 0; k < 2; k++)
        rf_session_destroy(sessions[k]);
    engine_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_share),
                                       cmocka_unit_test(test_cancel_ends_a_rest),
                                       cmocka_unit_test(test_cancel_of_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
