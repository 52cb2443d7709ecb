/* Golden prompts decoded side by side by two models of the same Q8_0 weights, one on the fp16 path and one
 * on the int8 path, submission by submission. As long as both have decided the same they forward the same
 * rows, so what they say of a row differs by the int8 path's error alone. Where that changes a token, the
 * two best must have been about as likely, and where it moves a probability over a threshold, by no more
 * than the error. The two halves of a COMPLETE turn are one submission, of whose first half the second
 * leaves no results: where that half fills in other tokens, the run is counted and not judged.
 * RF_TEST_STRIDE=n takes every n-th golden run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gpu/command.h"
#include "tests/decode/engine.h"
#include "tests/decode/golden.h"

enum { RESULT_ROWS = 256, SUBMISSIONS = 400 };

/* Measured over all 88 runs: a probability moves by up to 0.087, and no token changes whose probability is
 * above 0.54. Four runs change in the first half of a turn. */
static const double MOST_SHIFT = 0.12, MOST_TIE = 0.6, MOST_UNJUDGED = 0.1;

static rf_session *stepping; /* is to stop after the submission under way */

enum rf_status __real_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *error);
enum rf_status __wrap_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *error);

enum rf_status __wrap_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *error)
{
    if (stepping)
        rf_session_cancel(stepping);
    return __real_rf_gpu_submit(gpu, cmds, count, ticket, error);
}

/* One submission; the row results that it left. */
static void step(rf_session *session, struct rf_result results[RESULT_ROWS])
{
    struct rf_error stopped;
    stepping = session;
    enum rf_status status = rf_session_step(session, NULL, NULL, &stopped);
    stepping = NULL;
    if (status && status != RF_ERROR_CANCELLED)
        fail_msg("%s", stopped.message);
    uint64_t bytes = RESULT_ROWS * sizeof *results;
    if (bytes > session->memory.results.size)
        bytes = session->memory.results.size / sizeof *results * sizeof *results;
    memset(results, 0, RESULT_ROWS * sizeof *results);
    require_ok(rf_gpu_read(engine.model->gpu, session->memory.results, results, bytes, err));
}

struct comparison {
    double shift, tie; /* largest change of a probability; largest probability of a token that changed */
    unsigned changed;  /* runs in which a token or a decision changed */
    unsigned unjudged; /* of them, those that changed in the first half of a turn */
};

/* Whether a token changed. */
static bool compare(const struct rf_result *a, const struct rf_result *b, struct comparison *out)
{
    bool changed = false;
    for (int i = 0; i < RESULT_ROWS; i++) {
        if (a[i].token != b[i].token) {
            changed = true;
            out->tie = fmax(out->tie, fmax((double)a[i].p, (double)b[i].p));
        } else
            out->shift = fmax(out->shift, fabs((double)a[i].p - (double)b[i].p));
        out->shift = fmax(out->shift, fabs((double)a[i].want_p - (double)b[i].want_p));
    }
    return changed;
}

static bool same_state(const rf_session *a, const rf_session *b)
{
    return a->pass == b->pass && a->pass_row == b->pass_row && a->committed == b->committed &&
           a->chosen_count == b->chosen_count && a->kept_count == b->kept_count &&
           a->accepted == b->accepted && a->remaining_count == b->remaining_count &&
           a->finished == b->finished;
}

/* Whether the last submission filled in other tokens. */
static bool filled_differently(const rf_session *a, const rf_session *b, uint32_t slot_size)
{
    uint32_t have[RESULT_ROWS], want[RESULT_ROWS], count = a->chosen_count * slot_size;
    if (!(a->actions & RF_ACT_FILL) || a->chosen_count != b->chosen_count || !count)
        return false;
    assert_true(count <= RESULT_ROWS);
    require_ok(rf_gpu_read(engine.model->gpu, a->memory.tokens, have, count * sizeof *have, err));
    require_ok(rf_gpu_read(engine.model->gpu, b->memory.tokens, want, count * sizeof *want, err));
    return memcmp(have, want, count * sizeof *have) != 0;
}

static rf_session *begin(rf_model *model, const struct golden_case *c)
{
    struct rf_session_desc desc = {.settings = c->settings};
    rf_session *session = NULL;
    require_ok(rf_session_create(&session, model, &desc, err));
    require_ok(rf_session_begin(session, c->prompt.ids, c->prompt.count, err));
    return session;
}

static void compare_run(rf_model *fp16, const struct golden_case *c, struct comparison *all)
{
    struct rf_result have[RESULT_ROWS], want[RESULT_ROWS];
    struct comparison now = {0};
    rf_session *a = begin(engine.model, c), *b = begin(fp16, c);
    bool changed = false, unjudged = false;
    for (int i = 0; i < SUBMISSIONS && !changed && !(a->finished && b->finished); i++) {
        step(a, have);
        step(b, want);
        unjudged = filled_differently(a, b, c->settings.slot_size);
        changed = unjudged || compare(have, want, &now) || !same_state(a, b);
    }
    if (changed)
        printf("%s:%u: probabilities moved by up to %.4f, a token of %.4f changed%s\n", c->file, c->line,
               now.shift, now.tie, unjudged ? ", a filled in one too" : "");
    else {
        size_t count, wanted;
        const uint32_t *tokens = rf_session_tokens(a, &count), *others = rf_session_tokens(b, &wanted);
        assert_true(a->finished && b->finished);
        assert_int_equal(count, wanted);
        assert_memory_equal(tokens, others, count * sizeof *tokens);
    }
    all->shift = fmax(all->shift, now.shift);
    all->tie = fmax(all->tie, now.tie);
    all->changed += changed;
    all->unjudged += unjudged;
    rf_session_destroy(a);
    rf_session_destroy(b);
}

static void margins_decide_where_texts_differ(void **state)
{
    (void)state;
    const struct rf_model_desc desc = {.precision = RF_PRECISION_F16, .weight_type = "q8_0"};
    const struct golden_case *cases;
    const char *stride = getenv("RF_TEST_STRIDE");
    size_t count = golden_cases(&cases), step_by = stride ? strtoul(stride, NULL, 10) : 1, runs = 0;
    struct comparison all = {0};
    rf_model *fp16;
    assert_true(engine.model->int8);
    require_ok(rf_model_load(&fp16, engine.context, RF_SOURCE_DIR "/tests/golden/tiny", &desc, err));
    for (size_t i = 0; i < count; i += step_by, runs++)
        compare_run(fp16, &cases[i], &all);
    printf("%zu runs, %u of them changed (%u unjudged); probabilities moved by up to %.4f, tokens of up to "
           "%.4f changed\n",
           runs, all.changed, all.unjudged, all.shift, all.tie);
    assert_true(all.shift < MOST_SHIFT);
    assert_true(all.tie < MOST_TIE);
    assert_true(all.unjudged <= 1.0 + MOST_UNJUDGED * (double)runs);
    assert_true(all.changed < runs);
    rf_model_destroy(fp16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(margins_decide_where_texts_differ)};
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}
