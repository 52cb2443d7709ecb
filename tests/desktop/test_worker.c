/* The engine's thread with tests/golden/tiny, driven by a main loop without a window. */
#include "apps/desktop/engine_worker.h"
#include "apps/desktop/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define TINY RF_SOURCE_DIR "/tests/golden/tiny"

enum { PATIENCE_SECONDS = 120, TINY_LONGEST = 4096 /* tokens of a conversation */ };

/* What came of a request, and how often the main loop was woken for it. */
struct seen {
    GMainLoop *loop;
    struct engine_worker *worker;
    guint kinds[ENGINE_NOTICE + 1];
    guint finished_before_fit;
    guint64 wanted; /* request whose end ends the loop */
    gboolean stop_at_cells;
    char *text, *last_text, *finish, *message;
    GBytes *rounds;
    struct response response;
    guint64 device_memory;
    struct engine_fit fit;
    guint devices;
    double shortest_gap; /* seconds between two hand-overs */
    gint64 last_handover;
    gboolean text_shrank, idle;
};

static void take_text(struct seen *seen, const struct engine_event *event)
{
    if (seen->last_text && !g_str_has_prefix(event->text, seen->last_text))
        seen->text_shrank = TRUE;
    g_free(seen->last_text);
    seen->last_text = g_strdup(event->text);
}

static void take_cells(struct seen *seen, const struct engine_event *event)
{
    for (guint i = 0; i < event->cells->len; i++) {
        const struct engine_cell *cell = &g_array_index(event->cells, struct engine_cell, i);
        response_put(&seen->response, cell->position, &cell->cell);
    }
    take_text(seen, event);
    seen->device_memory = event->device_memory;
    if (seen->stop_at_cells)
        engine_worker_cancel(seen->worker, event->request);
}

static void on_event(void *user, const struct engine_event *event)
{
    struct seen *seen = user;
    seen->kinds[event->kind]++;
    switch (event->kind) {
    case ENGINE_CELLS:
        take_cells(seen, event);
        break;
    case ENGINE_FINISHED:
        take_text(seen, event);
        g_free(seen->text);
        g_free(seen->finish);
        seen->text = g_strdup(event->text);
        seen->finish = g_strdup(event->finish);
        seen->rounds = event->rounds ? g_bytes_ref(event->rounds) : NULL;
        break;
    case ENGINE_FAILED:
        seen->message = g_strdup(event->message);
        break;
    case ENGINE_DEVICES:
        seen->devices = (guint)event->device_count;
        break;
    case ENGINE_ESTIMATED:
    case ENGINE_REFUSED:
        seen->finished_before_fit = seen->kinds[ENGINE_FINISHED];
        seen->fit = event->fit;
        seen->message = g_strdup(event->message);
        break;
    case ENGINE_UNLOADED:
        seen->idle = event->idle;
        break;
    default:
        break;
    }
    gboolean ends = event->kind == ENGINE_FINISHED || event->kind == ENGINE_FAILED ||
                    event->kind == ENGINE_DEVICES || event->kind == ENGINE_ESTIMATED ||
                    event->kind == ENGINE_REFUSED || event->kind == ENGINE_UNLOADED;
    if (ends && event->request == seen->wanted)
        g_main_loop_quit(seen->loop);
}

static void forget(struct seen *seen)
{
    g_free(seen->text);
    g_free(seen->last_text);
    g_free(seen->finish);
    g_free(seen->message);
    if (seen->rounds)
        g_bytes_unref(seen->rounds);
    response_clear(&seen->response);
    *seen = (struct seen){.loop = seen->loop, .worker = seen->worker};
}

static gboolean on_late(gpointer data)
{
    (void)data;
    fail_msg("nothing came for %d seconds", PATIENCE_SECONDS);
    return G_SOURCE_REMOVE;
}

static void wait_for(struct seen *seen, guint64 request)
{
    seen->wanted = request;
    guint late = g_timeout_add_seconds(PATIENCE_SECONDS, on_late, NULL);
    g_main_loop_run(seen->loop);
    g_source_remove(late);
}

static int start(void **state)
{
    struct seen *seen = g_new0(struct seen, 1);
    seen->loop = g_main_loop_new(NULL, FALSE);
    seen->worker = engine_worker_start(on_event, seen);
    *state = seen;
    return 0;
}

static int stop(void **state)
{
    struct seen *seen = *state;
    engine_worker_stop(seen->worker);
    forget(seen);
    g_main_loop_unref(seen->loop);
    g_free(seen);
    return 0;
}

static guint64 ask(struct seen *seen, const char *model, const char *preset, const char *question)
{
    struct engine_target target = {.model = (char *)model};
    struct engine_message message = {.from_user = TRUE, .text = (char *)question};
    struct rf_decode_settings settings = {.preset = preset, .max_tokens = 96};
    return engine_worker_generate(seen->worker, &target, &message, 1, &settings, FALSE);
}

static const char code_question[] =
    "Write a Python function count_even(nums) that counts the even numbers in a list.";
static const char word_question[] =
    "Tom has 12 apples. Tom buys 3 bags with 4 apples each. How many apples does Tom have?";

static void test_devices(void **state)
{
    struct seen *seen = *state;
    engine_worker_list_devices(seen->worker);
    wait_for(seen, 0);
    assert_true(seen->devices >= 1);
    forget(seen);
}

static void test_estimate(void **state)
{
    struct seen *seen = *state;
    struct engine_target target = {.model = TINY};
    engine_worker_estimate(seen->worker, &target);
    wait_for(seen, 0);
    assert_null(seen->message);
    const struct rf_memory_estimate whole = seen->fit.memory;
    assert_true(whole.weights > 9000000 && whole.weights < 25000000); /* 4.9 million, bf16 to f32 */
    assert_true(whole.fits);
    char *words = engine_fit_words(&seen->fit, "The device");
    assert_non_null(strstr(words, "for the model"));
    assert_non_null(strstr(words, "The device has"));
    assert_non_null(strstr(words, "it fits."));
    g_free(words);
    forget(seen);
    /* Fewer tokens take less, smaller weights too. */
    target.context_length = 512;
    target.weight_type = "q8_0";
    engine_worker_estimate(seen->worker, &target);
    wait_for(seen, 0);
    assert_int_equal(seen->fit.context_length, 512);
    assert_true(seen->fit.memory.weights < whole.weights);
    assert_true(seen->fit.memory.kv < whole.kv);
    forget(seen);
    target.model = RF_SOURCE_DIR "/docs";
    engine_worker_estimate(seen->worker, &target);
    wait_for(seen, 0);
    assert_non_null(strstr(seen->message, "docs"));
    forget(seen);
}

static guint64 ask_within(struct seen *seen, guint64 memory_limit, guint32 context_length, gboolean although)
{
    struct engine_target target = {
        .model = TINY, .memory_limit = memory_limit, .context_length = context_length};
    struct engine_message message = {.from_user = TRUE, .text = "Hello"};
    struct rf_decode_settings settings = {.max_tokens = 32};
    return engine_worker_generate(seen->worker, &target, &message, 1, &settings, although);
}

/* What does not fit is told before, with what would; and what would does. */
static void test_refusal(void **state)
{
    struct seen *seen = *state;
    struct engine_target target = {.model = TINY};
    engine_worker_estimate(seen->worker, &target);
    wait_for(seen, 0);
    const struct rf_memory_estimate whole = seen->fit.memory;
    forget(seen);
    guint64 limit = whole.total - whole.kv / 4;
    wait_for(seen, ask_within(seen, limit, 0, FALSE));
    assert_int_equal(seen->kinds[ENGINE_REFUSED], 1);
    assert_int_equal(seen->kinds[ENGINE_FAILED] + seen->kinds[ENGINE_LOADED] + seen->kinds[ENGINE_FINISHED],
                     0);
    assert_true(seen->fit.memory.available <= limit);
    guint32 shorter = seen->fit.shorter;
    assert_true(shorter >= MIN_CONTEXT && shorter < TINY_LONGEST);
    assert_false(seen->fit.smaller_type && g_str_equal(seen->fit.smaller_type, "bf16"));
    forget(seen);
    wait_for(seen, ask_within(seen, limit, shorter, FALSE));
    assert_null(seen->message);
    assert_int_equal(seen->kinds[ENGINE_REFUSED], 0);
    assert_int_equal(seen->kinds[ENGINE_FINISHED], 1);
    assert_true(seen->device_memory <= limit);
    forget(seen);
    /* All the same: a short answer does not fill the cache. What was loaded counts as free for what comes. */
    wait_for(seen, ask_within(seen, limit, 0, TRUE));
    assert_int_equal(seen->kinds[ENGINE_FINISHED], 1);
    forget(seen);
    wait_for(seen, ask_within(seen, 1000000, 0, FALSE));
    assert_int_equal(seen->kinds[ENGINE_REFUSED], 1);
    assert_int_equal(seen->fit.shorter, 0);
    assert_null(seen->fit.smaller_type);
    forget(seen);
}

/* An estimate does not wait for the answer that is being written. */
static void test_estimate_meanwhile(void **state)
{
    struct seen *seen = *state;
    struct engine_target target = {.model = TINY};
    wait_for(seen, ask(seen, TINY, "demo", "Hello"));
    forget(seen);
    guint64 request = ask(seen, TINY, "demo", word_question);
    engine_worker_estimate(seen->worker, &target);
    wait_for(seen, 0);
    assert_int_equal(seen->kinds[ENGINE_ESTIMATED], 1);
    assert_int_equal(seen->finished_before_fit, 0);
    if (!seen->kinds[ENGINE_FINISHED]) /* else both came at once */
        wait_for(seen, request);
    assert_int_equal(seen->kinds[ENGINE_FINISHED], 1);
    forget(seen);
}

static void test_bad_path(void **state)
{
    struct seen *seen = *state;
    wait_for(seen, ask(seen, RF_SOURCE_DIR "/models/none", "chat", "Hello"));
    assert_int_equal(seen->kinds[ENGINE_FAILED], 1);
    assert_non_null(strstr(seen->message, "models/none"));
    assert_int_equal(seen->kinds[ENGINE_FINISHED] + seen->kinds[ENGINE_LOADED], 0);
    forget(seen);
}

static void test_answer(void **state)
{
    struct seen *seen = *state;
    wait_for(seen, ask(seen, TINY, "chat", code_question));
    assert_null(seen->message);
    assert_string_equal(seen->finish, "stop");
    assert_int_equal(seen->kinds[ENGINE_LOADED], 1);
    assert_true(seen->kinds[ENGINE_LOADING] >= 1);
    assert_true(seen->kinds[ENGINE_CELLS] >= 1);
    assert_non_null(strstr(seen->text, "def count_even(nums):"));
    assert_false(seen->text_shrank);
    assert_true(seen->device_memory > 9000000);
    assert_non_null(seen->rounds);
    /* Cells that came through the main loop spell the answer. */
    GBytes *rounds = response_rounds(&seen->response, seen->text);
    assert_non_null(rounds);
    assert_true(g_bytes_equal(rounds, seen->rounds));
    g_bytes_unref(rounds);
    char *first = g_strdup(seen->text);
    forget(seen);
    /* Loaded already; the same answer again. */
    wait_for(seen, ask(seen, TINY, "chat", code_question));
    assert_int_equal(seen->kinds[ENGINE_LOADED], 0);
    assert_string_equal(seen->text, first);
    g_free(first);
    forget(seen);
}

static void test_drafts_come_first(void **state)
{
    struct seen *seen = *state;
    wait_for(seen, ask(seen, TINY, "demo", word_question));
    assert_null(seen->message);
    assert_true(seen->kinds[ENGINE_CELLS] >= 3); /* rounds, each told by itself */
    guint committed = 0;
    for (guint32 i = 0; i < seen->response.count; i++)
        committed += seen->response.cells[i].state == CELL_COMMITTED;
    assert_true(committed > 8);
    forget(seen);
}

static void test_stop_midway(void **state)
{
    struct seen *seen = *state;
    seen->stop_at_cells = TRUE;
    wait_for(seen, ask(seen, TINY, "demo", word_question));
    assert_string_equal(seen->finish, FINISH_STOPPED);
    assert_true(seen->kinds[ENGINE_CELLS] >= 1);
    forget(seen);
    /* One that waits behind another is taken back without having begun. */
    guint64 first = ask(seen, TINY, "demo", word_question), second = ask(seen, TINY, "demo", word_question);
    engine_worker_cancel(seen->worker, second);
    engine_worker_cancel(seen->worker, first);
    wait_for(seen, second);
    assert_string_equal(seen->finish, FINISH_STOPPED);
    assert_string_equal(seen->text, "");
    forget(seen);
    /* And what comes next is not affected. */
    wait_for(seen, ask(seen, TINY, "chat", code_question));
    assert_string_equal(seen->finish, "stop");
    forget(seen);
}

static void test_unload(void **state)
{
    struct seen *seen = *state;
    wait_for(seen, ask(seen, TINY, "chat", code_question));
    forget(seen);
    engine_worker_set_idle(seen->worker, 1);
    wait_for(seen, 0);
    assert_true(seen->idle);
    forget(seen);
    wait_for(seen, ask(seen, TINY, "chat", code_question)); /* loads it again */
    assert_int_equal(seen->kinds[ENGINE_LOADED], 1);
    assert_string_equal(seen->finish, "stop");
    engine_worker_set_idle(seen->worker, 0);
    forget(seen);
    engine_worker_unload(seen->worker);
    wait_for(seen, 0);
    assert_false(seen->idle);
    forget(seen);
}

/* The program is closed while an answer forms. */
static void test_stop_worker_while_it_works(void **state)
{
    struct seen *seen = *state;
    ask(seen, TINY, "demo", word_question);
    g_usleep(300000);
    engine_worker_stop(seen->worker);
    seen->worker = engine_worker_start(on_event, seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_bad_path),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_estimate_meanwhile),
        cmocka_unit_test(test_drafts_come_first),
        cmocka_unit_test(test_stop_midway),
        cmocka_unit_test(test_unload),
        cmocka_unit_test(test_stop_worker_while_it_works),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
