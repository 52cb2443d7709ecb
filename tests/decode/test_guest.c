/* A guest in somebody else's process: several contexts and threads, cancelled at random moments; cycles that leave neither
 * memory nor Vulkan objects behind. TSan's build runs the first, the validation layer looks on at both. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/decode/engine.h"

/* ROUNDS: of all threads together; more where a sanitizer watches. */
enum { SESSIONS = 4, PROMPT = 12, CYCLES = 100, WARM_UP = 20, MOST_GROWTH = 1 << 20 };

/* One thread's conversation, over and over, until all threads together have made their rounds. */
struct conversation {
    rf_session *session;
    uint32_t prompt[PROMPT], want[64];
    size_t want_count;
    unsigned finished, cancelled;
    char failure[256];
};

static atomic_uint rounds;
static atomic_bool over;
static unsigned first_seed;

static const struct rf_session_desc desc = {
    .size = sizeof desc, .settings = {.preset = "demo", .max_tokens = 32}, .deterministic = true};

static void *converse(void *user)
{
    struct conversation *c = user;
    struct rf_error err = {0};
    bool begun = false;
    while (atomic_load(&rounds) < ROUNDS && !c->failure[0]) {
        enum rf_status status = RF_OK;
        if (!begun)
            status = rf_session_begin(c->session, c->prompt, PROMPT, &err);
        begun = true;
        if (!status)
            status = rf_session_step(c->session, NULL, NULL, &err);
        c->cancelled += status == RF_ERROR_CANCELLED;
        begun = status != RF_ERROR_CANCELLED || atomic_load(&rounds) % 2; /* given up, or stepped on */
        if (status && status != RF_ERROR_CANCELLED)
            snprintf(c->failure, sizeof c->failure, "%.200s", err.message);
        atomic_fetch_add(&rounds, status == RF_OK);
        if (status || !rf_session_finished(c->session))
            continue;
        size_t count;
        const uint32_t *tokens = rf_session_tokens(c->session, &count);
        if (count != c->want_count || memcmp(tokens, c->want, count * sizeof *tokens) != 0)
            snprintf(c->failure, sizeof c->failure, "response %u differs from the one made alone", c->finished);
        c->finished++;
        begun = false;
    }
    return NULL;
}

/* From a thread of its own, at random moments. */
static void *cancel(void *user)
{
    struct conversation *all = user;
    unsigned seed = first_seed;
    while (!atomic_load(&over)) {
        seed = seed * 1664525 + 1013904223;
        const struct timespec pause = {.tv_nsec = (long)(seed >> 8) % 100 * 1000000};
        nanosleep(&pause, NULL);
        rf_session_cancel(all[(seed >> 16) % (SESSIONS + 1)].session);
    }
    return NULL;
}

static void begin_conversation(struct conversation *c, rf_model *model, uint32_t which)
{
    memset(c, 0, sizeof *c);
    for (uint32_t i = 0; i < PROMPT; i++)
        c->prompt[i] = 60 + which * 17 + i * 7;
    require_ok(rf_session_create(&c->session, model, &desc, err));
    require_ok(rf_session_begin(c->session, c->prompt, PROMPT, err));
    require_ok(rf_session_generate(c->session, NULL, NULL, err));
    const uint32_t *tokens = rf_session_tokens(c->session, &c->want_count);
    assert_true(c->want_count <= sizeof c->want / sizeof *c->want);
    memcpy(c->want, tokens, c->want_count * sizeof *tokens);
}

/* Four sessions of one model, one of another context's, each on its own thread. */
static void threads_and_contexts(void **state)
{
    struct conversation all[SESSIONS + 1];
    pthread_t threads[SESSIONS + 1], canceller;
    struct engine other;
    unsigned finished = 0, cancelled = 0;
    (void)state;
    first_seed = (unsigned)time(NULL);
    print_message("seed %u\n", first_seed);
    engine_open(&other);
    for (uint32_t i = 0; i <= SESSIONS; i++)
        begin_conversation(&all[i], i < SESSIONS ? engine.model : other.model, i);
    for (uint32_t i = 0; i <= SESSIONS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, converse, &all[i]), 0);
    assert_int_equal(pthread_create(&canceller, NULL, cancel, all), 0);
    for (uint32_t i = 0; i <= SESSIONS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&over, true);
    pthread_join(canceller, NULL);
    for (uint32_t i = 0; i <= SESSIONS; i++) {
        if (all[i].failure[0])
            fail_msg("session %u: %s", i, all[i].failure);
        finished += all[i].finished;
        cancelled += all[i].cancelled;
        rf_session_destroy(all[i].session);
    }
    print_message("%u rounds, %u responses, cancelled %u times\n", atomic_load(&rounds), finished, cancelled);
    assert_true(finished > 0 && cancelled > 0);
    engine_close(&other);
}

static size_t resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size, pages;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* A session made, a response, a session gone; the model stays, as in an application. */
static void cycles_leave_nothing_behind(void **state)
{
    size_t before = 0;
    uint64_t device = 0;
    (void)state;
    for (int i = 0; i < WARM_UP + CYCLES; i++) {
        if (i == WARM_UP) {
            before = resident();
            device = rf_context_memory(engine.context);
        }
        struct conversation c;
        begin_conversation(&c, engine.model, (uint32_t)i % 7);
        rf_session_destroy(c.session);
    }
    size_t after = resident();
    print_message("%zu kB resident before %d cycles, %zu after\n", before >> 10, CYCLES, after >> 10);
    assert_int_equal(rf_context_memory(engine.context), device);
    assert_true(after < before + MOST_GROWTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_contexts),
        cmocka_unit_test(cycles_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}
