/* One model, several threads: each with sessions of its own, one of them cancelled from outside at random
 * moments. Built for ThreadSanitizer; in other builds the tokens are what is checked. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/decode/engine.h"
#include "tests/decode/golden.h"

enum { THREADS = 3 };


struct worker {
    pthread_t thread;
    const struct golden_case *run;
    rf_session *_Atomic session; /* for whoever wants to cancel it */
    bool right;
    struct rf_error err;
};

static bool finish(rf_session *session, struct rf_error *err)
{
    while (!rf_session_finished(session)) {
        enum rf_status status = rf_session_step(session, NULL, NULL, err);
        if (status && status != RF_ERROR_CANCELLED)
            return false;
    }
    return true;
}

static void *work(void *user)
{
    struct worker *w = user;
    rf_session *session = NULL;
    const struct rf_session_desc desc = {.settings = w->run->settings};
    if (rf_session_create(&session, engine.model, &desc, &w->err))
        return NULL;
    if (rf_session_begin(session, w->run->prompt.ids, w->run->prompt.count, &w->err))
        return NULL;
    atomic_store(&w->session, session);
    bool done = finish(session, &w->err);
    size_t count;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    w->right = done && count == w->run->shown.count &&
               memcmp(tokens, w->run->shown.ids, count * sizeof *tokens) == 0;
    return NULL;
}

static void threads_share_a_model(void **state)
{
    (void)state;
    const struct golden_case *cases;
    size_t count = golden_cases(&cases);
    static struct worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i].run = &cases[((size_t)i * 29 + 2) % count];
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 1000; i++) {
        rf_session *session = atomic_load(&workers[0].session);
        if (session)
            rf_session_cancel(session);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        if (!workers[i].right)
            fail_msg("thread %d: %s", i, workers[i].err.message);
        rf_session_destroy(atomic_load(&workers[i].session));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_a_model)};
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}
