/* Responses that form in the background: the same tokens and events as by steps, through polls alone; cancelled at random
 * moments; several sessions of one model at a time; no session kept waiting. And desc structs of other versions. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/desc.h"
#include "tests/decode/engine.h"

enum { COMPANY = 4, MOST_EVENTS = 8192, ENOUGH = 600000 };

static const uint32_t prompt[] = {667, 84, 82, 265, 198, 31, 7};

static rf_session *begin(uint32_t last, uint32_t max_tokens)
{
    rf_session *s = NULL;
    uint32_t tokens[sizeof prompt / sizeof *prompt];
    memcpy(tokens, prompt, sizeof prompt);
    tokens[sizeof prompt / sizeof *prompt - 1] = last;
    const struct rf_session_desc desc = {.size = sizeof desc,
                                         .settings = {.preset = "demo", .max_tokens = max_tokens},
                                         .deterministic = true};
    require_ok(rf_session_create(&s, engine.model, &desc, err));
    require_ok(rf_session_begin(s, tokens, sizeof prompt / sizeof *prompt, err));
    return s;
}

struct record {
    struct rf_event events[MOST_EVENTS];
    size_t event_count, text_length;
    char text[1 << 16];
};

static void keep(struct record *r, const struct rf_event *events, size_t count)
{
    assert_true(r->event_count + count <= MOST_EVENTS);
    if (count)
        memcpy(r->events + r->event_count, events, count * sizeof *events);
    r->event_count += count;
}

/* Poll until the end, a millisecond apart. */
static enum rf_status poll_out(rf_generation *g, struct record *r)
{
    struct rf_update update;
    struct rf_error err = {0};
    enum rf_status status;
    do {
        bool ended = rf_generation_wait(g, 1);
        status = rf_generation_poll(g, &update, &err);
        keep(r, update.events, update.event_count);
        assert_int_equal(update.text_first, r->text_length);
        assert_true(update.text_length < sizeof r->text);
        memcpy(r->text + r->text_length, update.text + update.text_first, update.text_length - update.text_first);
        r->text_length = update.text_length;
        assert_int_equal(update.text[update.text_length], '\0');
        assert_true(update.finished || !ended);
        assert_int_equal(status != RF_OK, status == err.status && err.message[0]);
    } while (!update.finished);
    return status;
}

static void assert_same(const struct record *got, const struct record *want)
{
    assert_int_equal(got->event_count, want->event_count);
    assert_memory_equal(got->events, want->events, want->event_count * sizeof *want->events);
    assert_int_equal(got->text_length, want->text_length);
    assert_memory_equal(got->text, want->text, want->text_length);
}

static void by_steps(struct record *r, uint32_t last, uint32_t max_tokens)
{
    rf_session *s = begin(last, max_tokens);
    memset(r, 0, sizeof *r);
    while (!rf_session_finished(s)) {
        const struct rf_event *events;
        size_t count;
        require_ok(rf_session_step(s, &events, &count, err));
        keep(r, events, count);
    }
    const char *text = rf_session_text(s, &r->text_length);
    memcpy(r->text, text, r->text_length);
    rf_session_destroy(s);
}

static void the_same_as_by_steps(void **state)
{
    static struct record want[COMPANY], got[COMPANY];
    rf_session *sessions[COMPANY];
    rf_generation *generations[COMPANY];
    (void)state;
    memset(got, 0, sizeof got);
    for (uint32_t i = 0; i < COMPANY; i++)
        by_steps(&want[i], 40 + i, 48);
    for (uint32_t i = 0; i < COMPANY; i++) {
        sessions[i] = begin(40 + i, 48);
        require_ok(rf_generation_start(&generations[i], sessions[i], NULL, err));
    }
    for (uint32_t i = 0; i < COMPANY; i++)
        assert_int_equal(poll_out(generations[i], &got[i]), RF_OK);
    for (uint32_t i = 0; i < COMPANY; i++) {
        assert_same(&got[i], &want[i]);
        assert_true(got[i].event_count > 8);
        rf_generation_destroy(generations[i]);
        assert_true(rf_session_finished(sessions[i]));
        rf_session_destroy(sessions[i]);
    }
}

struct woken {
    pthread_mutex_t mutex;
    unsigned times;
    sigset_t blocked;
};

static void on_wake(void *user)
{
    struct woken *w = user;
    pthread_mutex_lock(&w->mutex);
    w->times++;
    pthread_sigmask(SIG_SETMASK, NULL, &w->blocked);
    pthread_mutex_unlock(&w->mutex);
}

static unsigned times(struct woken *w)
{
    pthread_mutex_lock(&w->mutex);
    unsigned n = w->times;
    pthread_mutex_unlock(&w->mutex);
    return n;
}

static void one_call_until_a_poll(void **state)
{
    (void)state;
    struct woken woken = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct rf_generation_desc desc = {.size = sizeof desc, .wake = on_wake, .user = &woken};
    struct rf_update update;
    rf_session *s = begin(3, 64);
    rf_generation *g = NULL;
    require_ok(rf_generation_start(&g, s, &desc, err));
    assert_true(rf_generation_wait(g, ENOUGH));
    require_ok(rf_generation_poll(g, &update, err));
    assert_true(update.finished && update.event_count > 64);
    assert_true(update.stats.rounds > 1);
    require_ok(rf_generation_poll(g, &update, err)); /* nothing is told twice */
    assert_true(update.finished && update.event_count == 0 && update.text_first == update.text_length);
    rf_generation_destroy(g);
    assert_int_equal(times(&woken), 2); /* the first round, and the end */
    assert_int_equal(sigismember(&woken.blocked, SIGINT), 1);
    assert_int_equal(sigismember(&woken.blocked, SIGTERM), 1);
    rf_session_destroy(s);
}

/* A session that is given back in the middle goes on from there, to the same end. */
static void cancelled_at_random_moments(void **state)
{
    static struct record want, got;
    unsigned seed = (unsigned)time(NULL), cancelled = 0;
    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    by_steps(&want, 5, 64);
    for (int i = 0; i < 12; i++) {
        rf_session *s = begin(5, 64);
        rf_generation *g = NULL;
        memset(&got, 0, sizeof got);
        require_ok(rf_generation_start(&g, s, NULL, err));
        const struct timespec pause = {.tv_nsec = rand() % 60 * 1000000l};
        nanosleep(&pause, NULL);
        if (i % 2) {
            rf_session_cancel(s);
            enum rf_status status = poll_out(g, &got);
            assert_true(status == RF_OK || status == RF_ERROR_CANCELLED);
            cancelled += status == RF_ERROR_CANCELLED;
        }
        rf_generation_destroy(g);
        while (!rf_session_finished(s))
            require_ok(rf_session_step(s, NULL, NULL, err));
        size_t length;
        const char *text = rf_session_text(s, &length);
        assert_int_equal(length, want.text_length);
        assert_memory_equal(text, want.text, length);
        rf_session_destroy(s);
    }
    print_message("%u of 6 were cancelled while they ran\n", cancelled);
}

/* Nobody is kept waiting: as long as all run, each makes about as many submissions as the others. */
static void turns_are_fair(void **state)
{
    rf_session *sessions[COMPANY];
    rf_generation *generations[COMPANY];
    struct rf_update update;
    uint32_t rounds[COMPANY], before[COMPANY] = {0};
    (void)state;
    for (uint32_t i = 0; i < COMPANY; i++)
        sessions[i] = begin(20 + i, 256);
    for (uint32_t i = 0; i < COMPANY; i++)
        require_ok(rf_generation_start(&generations[i], sessions[i], NULL, err));
    bool all = true, started = false;
    uint32_t least = 0, most = 0;
    while (all) {
        for (uint32_t i = 0; i < COMPANY; i++) {
            require_ok(rf_generation_poll(generations[i], &update, err));
            all = all && !update.finished;
            rounds[i] = update.stats.rounds;
        }
        if (!all)
            break;
        bool has = true;
        for (uint32_t i = 0; i < COMPANY; i++)
            has = has && rounds[i] > 0;
        if (has && !started)
            memcpy(before, rounds, sizeof before);
        started = started || has;
        least = UINT32_MAX;
        most = 0;
        for (uint32_t i = 0; i < COMPANY; i++) {
            least = rounds[i] - before[i] < least ? rounds[i] - before[i] : least;
            most = rounds[i] - before[i] > most ? rounds[i] - before[i] : most;
        }
        rf_generation_wait(generations[0], 5);
    }
    print_message("%u to %u rounds\n", least, most);
    assert_true(least > 2 && most <= 2 * least + 2); /* a round is two submissions, or more */
    for (uint32_t i = 0; i < COMPANY; i++) {
        rf_generation_destroy(generations[i]);
        rf_session_destroy(sessions[i]);
    }
}

static void descs_of_other_versions(void **state)
{
    struct {
        struct rf_session_desc known;
        uint32_t later;
    } newer = {.known = {.size = sizeof newer, .deterministic = true}};
    struct rf_session_desc out;
    struct rf_error err;
    (void)state;
    assert_int_equal(RF_DESC_READ(&out, rf_session_desc, &newer.known, &err), RF_OK); /* a new member, not set */
    assert_true(out.deterministic);
    newer.later = 1;
    assert_int_equal(RF_DESC_READ(&out, rf_session_desc, &newer.known, &err), RF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "rf_session_desc: byte "));
    /* A caller that is older than `deterministic`: what lies behind its struct is none of ours. */
    newer.known.size = offsetof(struct rf_session_desc, deterministic);
    assert_int_equal(RF_DESC_READ(&out, rf_session_desc, &newer.known, &err), RF_OK);
    assert_false(out.deterministic);
    newer.known.size = 0; /* version 0.1 */
    assert_int_equal(RF_DESC_READ(&out, rf_session_desc, &newer.known, &err), RF_OK);
    assert_true(out.deterministic);
    newer.known.size = 3;
    assert_int_equal(RF_DESC_READ(&out, rf_session_desc, &newer.known, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message,
                        "rf_session_desc.size: found 3, wanted sizeof(struct rf_session_desc), or 0");
    newer.known.size = 1u << 30; /* uninitialised memory, say */
    assert_int_equal(RF_DESC_READ(&out, rf_session_desc, &newer.known, &err), RF_ERROR_ARGUMENT);
    rf_session *s = NULL;
    assert_int_equal(rf_session_create(&s, engine.model, &newer.known, &err), RF_ERROR_ARGUMENT);
    const struct rf_session_desc setting = {.settings = {.reserved = {[2] = 7}}};
    assert_int_equal(rf_session_create(&s, engine.model, &setting, &err), RF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "rf_decode_settings.reserved[2] is 7"));
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_as_by_steps),        cmocka_unit_test(one_call_until_a_poll),
        cmocka_unit_test(cancelled_at_random_moments), cmocka_unit_test(turns_are_fair),
        cmocka_unit_test(descs_of_other_versions),
    };
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}
