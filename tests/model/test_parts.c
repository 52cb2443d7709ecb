/* Forwards that are cut: into how many parts, that a cut costs no barrier and changes no bit, that each
 * submission is short, that nothing is recorded again while times stay as they are, and that a submission
 * that fails in the middle leaves nothing behind. A limit of 1 ms on a model that is thin, so that even CPU
 * drivers' single dispatches are shorter, and deep. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/gpu/hazard.h"
#include "engine/gpu/internal.h"
#include "engine/model/forward_internal.h"
#include "tests/decode/engine.h"

enum { LIMIT_MS = 1, TOKENS = 24, ROWS = 8, VOCAB = 4096, LONGEST_LOG = 1024, MOST_RUNS = 60 };

static const char shape[] =
    "qwen3-0.6b,layers=32,hidden=128,heads=4,kv_heads=2,head_dim=32,ffn=256,vocab=4096,"
    "context=512";
static const double LIMIT = 1e-3 * LIMIT_MS;
/* A part is made two thirds of the limit long, and a dispatch is not cut. */
static const double MOST_TIMES_LIMIT = 3.0;

/* Two engines, one without a limit. */
static struct engine whole, cut;

static struct {
    double seconds; /* what each forward takes, as told to the engine; 0: what it took */
    int left;       /* submissions before one fails; below 0: none fails */
    bool each;      /* wait after each submission, and keep the shortest time of each by index */
    size_t count;   /* submissions of the last rf_gpu_submit */
    double least[2 * RF_FORWARD_PARTS];
    PFN_vkQueueSubmit2 real_submit;
} planted = {.left = -1};

static void log_line(void *user, enum rf_log_level level, const char *line)
{
    (void)user;
    if (level >= RF_LOG_WARNING)
        fprintf(stderr, "%s\n", line);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Interposed calls (linker option --wrap) -------------------------------------------------------- */

void __real_rf_forward_ran(const struct rf_forward_cmds *cmds, double seconds);
void __wrap_rf_forward_ran(const struct rf_forward_cmds *cmds, double seconds);
void __wrap_rf_forward_ran(const struct rf_forward_cmds *cmds, double seconds)
{
    __real_rf_forward_ran(cmds, planted.seconds > 0.0 ? planted.seconds * cmds->forward_count : seconds);
}

enum rf_status __real_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *err);
enum rf_status __wrap_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *err);

/* One submission after the other, each timed. */
static enum rf_status submit_each(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                  uint64_t *ticket, struct rf_error *err)
{
    size_t length, index = 0;
    for (size_t first = 0; first < count; first += length + 1, index++) {
        for (length = 0; first + length < count && cmds[first + length]; length++) {
        }
        double start = seconds_now();
        enum rf_status status = __real_rf_gpu_submit(gpu, cmds + first, length, ticket, err);
        if (!status)
            status = rf_gpu_wait(gpu, *ticket, err);
        if (status)
            return status;
        double taken = seconds_now() - start;
        planted.least[index] = taken < planted.least[index] ? taken : planted.least[index];
    }
    return RF_OK;
}

enum rf_status __wrap_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *err)
{
    size_t submissions = 1;
    for (size_t i = 0; i < count; i++)
        submissions += !cmds[i];
    if (submissions != planted.count)
        for (size_t i = 0; i < submissions; i++)
            planted.least[i] = INFINITY;
    planted.count = submissions;
    return planted.each ? submit_each(gpu, cmds, count, ticket, err)
                        : __real_rf_gpu_submit(gpu, cmds, count, ticket, err);
}

static VkResult VKAPI_CALL submit_or_fail(VkQueue queue, uint32_t count, const VkSubmitInfo2 *infos,
                                          VkFence fence)
{
    if (planted.left == 0)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    planted.left--;
    return planted.real_submit(queue, count, infos, fence);
}

/* ---- Engines ---------------------------------------------------------------------------------------- */

static void open_engine(struct engine *e, uint32_t submission_ms)
{
    const struct rf_context_desc context = {
        .debug_checks = true, .submission_ms = submission_ms, .log = log_line};
    const struct rf_model_desc model = {.precision = RF_PRECISION_F32, .no_tune = true};
    require_ok(rf_context_create(&e->context, &context, err));
    require_ok(rf_model_synthesize(&e->model, e->context, shape, &model, err));
}

static int open_engines(void **state)
{
    (void)state;
    open_engine(&whole, 0); /* a CPU: no limit */
    open_engine(&cut, LIMIT_MS);
    assert_true(isinf(rf_gpu_submission_limit(whole.model->gpu)));
    assert_true(rf_gpu_submission_limit(cut.model->gpu) == LIMIT);
    return 0;
}

static int close_engines(void **state)
{
    (void)state;
    engine_close(&whole);
    engine_close(&cut);
    return 0;
}

/* Plan-and-infill or sequential decoding of TOKENS tokens, with bars that some slots and tokens miss. */
static void decode(rf_model *model, bool sequential, uint32_t tokens[TOKENS], uint64_t *rounds)
{
    const struct rf_session_desc desc = {
        .settings = {.decode = sequential ? RF_DECODE_AR : RF_DECODE_REFUSION,
                     .max_tokens = TOKENS,
                     .slot_size = 4,
                     .block = 8,
                     .slot_threshold = 0.2f,
                     .token_threshold = 0.2f,
                     .has_slot_threshold = true,
                     .has_token_threshold = true}};
    const uint32_t prompt[] = {1, 2, 3, 4, 5, 6, 7};
    rf_session *session;
    require_ok(rf_session_create(&session, model, &desc, err));
    session->eos_count = 0; /* what random weights take for an end is none */
    require_ok(rf_session_begin(session, prompt, 7, err));
    while (!rf_session_finished(session))
        require_ok(rf_session_step(session, NULL, NULL, err));
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    *rounds = stats.rounds;
    size_t count;
    const uint32_t *have = rf_session_tokens(session, &count);
    assert_int_equal(count, TOKENS);
    memcpy(tokens, have, TOKENS * sizeof *tokens);
    rf_session_destroy(session);
}

/* A session whose ROWS rows, the first of a sequence, are the work of the next forward. */
static rf_session *lay_rows(rf_model *model)
{
    rf_session *s = NULL;
    const uint32_t prompt[] = {0};
    require_ok(rf_session_create(&s, model, NULL, err));
    require_ok(rf_session_begin(s, prompt, 1, err));
    require_ok(rf_session_cover(s, 0, ROWS, err));
    struct rf_row *rows = s->memory.rows.host;
    for (uint32_t i = 0; i < ROWS; i++)
        rows[i] =
            (struct rf_row){.token = 17 * i + 3, .position = i, .kv_row = i, .want = RF_NONE, .result = i};
    *rf_forward_work(model->forward, 0) = (struct rf_work){.piece_count = 1, .pieces = {{s->seq, 0, ROWS}}};
    return s;
}

/* Forwards ROWS rows. logits: [ROWS][VOCAB], or NULL for results alone. */
static void forward(rf_model *model, float *logits)
{
    rf_session *s = lay_rows(model);
    struct rf_forward_cmds cmds;
    uint64_t ticket;
    require_ok(engine_get_forward(model, ROWS, logits ? RF_FORWARD_LOGITS : 0, &cmds, err));
    double start = seconds_now();
    require_ok(rf_gpu_submit(model->gpu, cmds.items, cmds.count, &ticket, err));
    require_ok(rf_gpu_wait(model->gpu, ticket, err));
    rf_forward_ran(&cmds, seconds_now() - start);
    if (logits)
        require_ok(rf_gpu_read(model->gpu, rf_forward_logits(model->forward), logits,
                               sizeof(float) * ROWS * VOCAB, err));
    rf_session_destroy(s);
}

/* The variant of ROWS rows. */
static const struct forward_variant *variant_of(const rf_model *model, uint32_t flags)
{
    return &model->forward->recordings[RF_MARK_NOTHING].variants[3][flags];
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static void the_second_longest_of_four_counts(void **state)
{
    (void)state;
    struct forward_times times = {0};
    assert_true(rf_times_seconds(&times) == 0.0);
    rf_times_add(&times, 5.0);
    assert_true(rf_times_seconds(&times) == 5.0); /* all that is known */
    rf_times_add(&times, 1.0);
    assert_true(rf_times_seconds(&times) == 1.0); /* the first may have been a stall */
    rf_times_add(&times, 3.0);
    assert_true(rf_times_seconds(&times) == 3.0); /* two contexts that take turns: the longer one */
    rf_times_add(&times, 1.0);
    rf_times_add(&times, 1.0);
    assert_true(rf_times_seconds(&times) == 1.0); /* 5 is forgotten, 3 is one of four */
    rf_times_add(&times, 2.0);
    rf_times_add(&times, 2.0);
    assert_true(rf_times_seconds(&times) == 2.0);
}

static void parts_are_shorter_than_the_limit(void **state)
{
    (void)state;
    assert_int_equal(rf_parts_for(1e9, INFINITY), 1);
    assert_false(rf_parts_are_wrong(1, 1e9, INFINITY));
    assert_int_equal(rf_parts_for(0.05, 0.1), 1);
    assert_int_equal(rf_parts_for(1e9, 0.1), RF_FORWARD_PARTS);
    assert_false(rf_parts_are_wrong(RF_FORWARD_PARTS, 1e9, 0.1)); /* it is all that can be done */
    for (double seconds = 0.01; seconds < 15.0; seconds *= 1.07) {
        uint32_t parts = rf_parts_for(seconds, 0.1);
        assert_true(seconds / parts <= 0.0667);
        /* Once recorded, half as long again is no reason for another recording, nor is 0.6 of it. */
        assert_false(rf_parts_are_wrong(parts, seconds, 0.1));
        assert_false(rf_parts_are_wrong(parts, 1.49 * parts * 0.0666, 0.1));
        assert_true(rf_parts_are_wrong(parts, 1.6 * parts * 0.0666, 0.1));
        assert_false(rf_parts_are_wrong(parts, 0.6 * parts * 0.0667, 0.1));
        assert_true(parts == 1 || rf_parts_are_wrong(parts, 0.32 * parts * 0.0667, 0.1));
    }
}

static void what_has_not_run_is_estimated(void **state)
{
    (void)state;
    struct rf_forward *f = calloc(1, sizeof *f);
    assert_non_null(f);
    /* Nothing is known: 8 GB of weights for 512 rows on a slow device are parts as short as can be. */
    assert_int_equal(rf_parts_for(rf_forward_estimate(f, 9, 0, UINT64_C(8) << 30), 0.1), RF_FORWARD_PARTS);
    assert_int_equal(rf_parts_for(rf_forward_estimate(f, 0, 0, 10 << 20), 0.1), 1);
    rf_times_add(&f->recordings[RF_MARK_NOTHING].variants[5][0].times, 0.2); /* 32 rows */
    assert_true(rf_forward_estimate(f, 5, 0, 1) == 0.2);
    assert_true(rf_forward_estimate(f, 3, 0, 1) == 0.2);
    assert_true(rf_forward_estimate(f, 5, RF_FORWARD_LOGITS, 1) == 0.2);
    assert_true(rf_forward_estimate(f, 8, 0, 1) == 1.6);
    rf_times_add(&f->recordings[RF_MARK_NOTHING].variants[6][0].times, 0.25); /* 64 rows */
    assert_true(rf_forward_estimate(f, 8, 0, 1) == 1.0);
    assert_true(rf_forward_estimate(f, 4, 0, 1) == 0.2);
    free(f);
}

/* ---- Recordings ------------------------------------------------------------------------------------- */

/* A forward's log from part to part, with the barrier that each part but the first begins with. */
static size_t join_logs(const struct forward_variant *variant, struct rf_log_entry *out)
{
    size_t total = 0;
    for (uint32_t i = 0; i < variant->part_count; i++) {
        size_t count;
        const struct rf_log_entry *log = rf_cmd_log(variant->parts[i], &count);
        assert_true(count > 0 && total + count + 1 < LONGEST_LOG);
        if (i > 0)
            out[total++] = (struct rf_log_entry){.is_barrier = true};
        memcpy(out + total, log, count * sizeof *log);
        total += count;
    }
    return total;
}

/* The log as if products were not cut by columns: a dispatch that goes on with the one before is left out, with the
 * barrier between them. */
static size_t join_pieces(const struct rf_log_entry *log, size_t count, struct rf_log_entry *out)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        bool goes_on = log[i].is_barrier && total > 0 && i + 1 < count && !out[total - 1].is_barrier &&
                       strcmp(out[total - 1].label, log[i + 1].label) == 0;
        if (goes_on)
            i++;
        else
            out[total++] = log[i];
    }
    return total;
}

static void a_cut_costs_no_barrier(void **state)
{
    (void)state;
    struct rf_log_entry *one = malloc(LONGEST_LOG * sizeof *one), *many = malloc(LONGEST_LOG * sizeof *many);
    struct rf_log_entry *joined = malloc(LONGEST_LOG * sizeof *joined);
    struct rf_error failure;
    planted.seconds = 10 * LIMIT;
    forward(whole.model, NULL);
    for (int i = 0; i < 2; i++)
        forward(cut.model, NULL);
    const struct forward_variant *variant = variant_of(cut.model, 0);
    assert_int_equal(variant_of(whole.model, 0)->part_count, 1);
    assert_in_range(variant->part_count, 13, 15); /* 15 are wanted */
    size_t count = join_logs(variant_of(whole.model, 0), one), all = join_logs(variant, many);
    assert_true(all > count); /* lm_head alone is longer than a part */
    assert_int_equal(join_pieces(many, all, joined), count);
    int barriers = 0;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(one[i].is_barrier, joined[i].is_barrier);
        assert_string_equal(one[i].label, joined[i].label);
    }
    for (size_t i = 0; i < all; i++)
        barriers += many[i].is_barrier;
    assert_int_equal(rf_hazard_check(many, all, RF_KEEP_ALL_BARRIERS, &failure), RF_OK);
    for (int b = 0; b < barriers; b++)
        if (!rf_hazard_check(many, all, b, &failure))
            fail_msg("nobody misses barrier %d of %d", b, barriers);
    planted.seconds = 0.0;
    free(one);
    free(many);
    free(joined);
}

struct tally {
    uint32_t parts, dispatches;
};

static void count_parts(void *user, const struct rf_cmd *cmd, const char *label)
{
    struct tally *tally = user;
    size_t count;
    const struct rf_log_entry *log = rf_cmd_log(cmd, &count);
    struct rf_error err;
    if (rf_hazard_check(log, count, RF_KEEP_ALL_BARRIERS, &err))
        fail_msg("%s: %s", label, err.message);
    tally->parts += strcmp(label, "8 rows") == 0;
    tally->dispatches += strcmp(label, "8 rows") == 0 ? rf_cmd_dispatch_count(cmd) : 0;
}

static void every_part_is_visited(void **state)
{
    (void)state;
    struct tally one = {0}, many = {0};
    rf_forward_visit(whole.model->forward, count_parts, &one);
    rf_forward_visit(cut.model->forward, count_parts, &many);
    assert_int_equal(one.parts, 3); /* two gathers */
    assert_true(many.parts > one.parts + 10);
    assert_true(many.dispatches > one.dispatches); /* products that are cut by columns */
}

/* ---- Runs ------------------------------------------------------------------------------------------- */

static void results_are_the_same_to_the_bit(void **state)
{
    (void)state;
    static float one[ROWS * VOCAB], many[ROWS * VOCAB];
    planted.seconds = 20 * LIMIT;
    forward(whole.model, one);
    for (int i = 0; i < 3; i++) { /* as first estimated, then as measured */
        forward(cut.model, many);
        assert_memory_equal(one, many, sizeof one);
    }
    assert_int_equal(variant_of(whole.model, RF_FORWARD_LOGITS)->part_count, 1);
    assert_in_range(variant_of(cut.model, RF_FORWARD_LOGITS)->part_count, 25, 30);
    planted.seconds = 0.0;
}

/* Tokens, and how many submissions they took, in both ways of decoding. */
static void sessions_decode_the_same(void **state)
{
    (void)state;
    for (int sequential = 0; sequential < 2; sequential++) {
        uint32_t one[TOKENS], many[TOKENS];
        uint64_t rounds[2],
            before[2] = {rf_gpu_submission_count(whole.model->gpu), rf_gpu_submission_count(cut.model->gpu)};
        planted.seconds = 10 * LIMIT;
        decode(whole.model, sequential, one, &rounds[0]);
        decode(cut.model, sequential, many, &rounds[1]);
        uint64_t few = rf_gpu_submission_count(whole.model->gpu) - before[0],
                 more = rf_gpu_submission_count(cut.model->gpu) - before[1];
        printf("%s: %llu submissions, with a limit %llu, %llu rounds\n", sequential ? "ar" : "refusion",
               (unsigned long long)few, (unsigned long long)more, (unsigned long long)rounds[1]);
        assert_memory_equal(one, many, sizeof one);
        assert_int_equal(rounds[0], rounds[1]);
        assert_true(more >= 10 * few);
    }
    planted.seconds = 0.0;
}

/* In real time, one submission at a time: the least of several runs of each part, which a busy machine does
 * not show in, and parts that the engine has chosen itself from the times that it saw. */
static void submissions_keep_the_limit(void **state)
{
    (void)state;
    size_t parts = 0;
    planted.each = true;
    for (int run = 0, same = 0; run < MOST_RUNS && same < 12; run++) {
        forward(cut.model, NULL);
        same = planted.count == parts ? same + 1 : 0;
        parts = planted.count;
    }
    planted.each = false;
    double longest = 0.0, sum = 0.0;
    for (size_t i = 0; i < parts; i++) {
        sum += planted.least[i];
        longest = planted.least[i] > longest ? planted.least[i] : longest;
    }
    printf("%zu submissions, %.2f ms together, the longest %.2f ms\n", parts, 1e3 * sum, 1e3 * longest);
    assert_true(longest < MOST_TIMES_LIMIT * LIMIT);
}

static void the_steady_state_records_nothing(void **state)
{
    (void)state;
    uint32_t tokens[TOKENS];
    uint64_t rounds;
    struct rf_gpu *gpu = cut.model->gpu;
    for (int pass = 0; pass < 2; pass++) { /* the second with times that swing by a third */
        planted.seconds = pass ? 12 * LIMIT : 10 * LIMIT;
        decode(cut.model, false, tokens, &rounds);
        decode(cut.model, false, tokens, &rounds);
        uint64_t recorded = rf_gpu_recorded_count(gpu);
        for (int i = 0; i < 8; i++) {
            planted.seconds = (pass ? 8 + i % 4 * 2 : 10) * LIMIT;
            forward(cut.model, NULL);
        }
        /* A session records its own commit, and nothing else is new. */
        assert_int_equal(rf_gpu_recorded_count(gpu), recorded + 8);
    }
    /* What takes ten times as long is cut anew, once; a single stall is not. */
    uint32_t parts = variant_of(cut.model, 0)->part_count;
    planted.seconds = 100 * LIMIT;
    forward(cut.model, NULL);
    planted.seconds = 10 * LIMIT;
    for (int i = 0; i < 4; i++)
        forward(cut.model, NULL);
    assert_int_equal(variant_of(cut.model, 0)->part_count, parts);
    planted.seconds = 100 * LIMIT;
    for (int i = 0; i < 3; i++)
        forward(cut.model, NULL);
    assert_true(variant_of(cut.model, 0)->part_count > 2 * parts);
    uint64_t recorded = rf_gpu_recorded_count(gpu);
    for (int i = 0; i < 4; i++)
        forward(cut.model, NULL);
    assert_int_equal(rf_gpu_recorded_count(gpu), recorded + 4);
    planted.seconds = 0.0;
}

/* Two forwards in one go, as in a COMPLETE turn, are one submission only while both fit one. */
static void two_forwards_share_a_submission_that_they_fit(void **state)
{
    (void)state;
    for (int fits = 0; fits < 2; fits++) {
        struct rf_forward_cmds cmds;
        planted.seconds = (fits ? 0.4 : 0.6) * LIMIT;
        for (int i = 0; i < 5; i++)
            forward(cut.model, NULL);
        rf_forward_cmds_init(&cmds);
        for (uint32_t pass = 0; pass < 2; pass++)
            require_ok(rf_forward_get(cut.model->forward, ROWS, 0, pass, &cmds, err));
        assert_int_equal(cmds.count, fits ? 4 : 5);
        assert_int_equal(!cmds.items[2], !fits);
    }
    planted.seconds = 0.0;
}

static uint64_t reached(struct rf_gpu *gpu)
{
    uint64_t value = 0;
    assert_int_equal(gpu->vk.vkGetSemaphoreCounterValue(gpu->device, gpu->timeline, &value), VK_SUCCESS);
    return value;
}

/* What was submitted before is over when the call returns, and the engine goes on. */
static void a_failure_in_the_middle_leaves_nothing_in_flight(void **state)
{
    (void)state;
    struct rf_gpu *gpu = cut.model->gpu;
    struct rf_forward_cmds cmds;
    struct rf_error failure;
    uint64_t ticket = 1;
    planted.seconds = 20 * LIMIT;
    for (int i = 0; i < 5; i++)
        forward(cut.model, NULL);
    rf_session *session = lay_rows(cut.model); /* what runs must have something to run on */
    require_ok(engine_get_forward(cut.model, ROWS, 0, &cmds, err));
    planted.real_submit = gpu->vk.vkQueueSubmit2;
    gpu->vk.vkQueueSubmit2 = submit_or_fail;
    for (int left = 0; left < 20; left += 6) {
        uint64_t before = rf_gpu_submission_count(gpu), last = atomic_load(&gpu->last_ticket);
        planted.left = left;
        assert_int_equal(rf_gpu_submit(gpu, cmds.items, cmds.count, &ticket, &failure), RF_ERROR_HOST_MEMORY);
        assert_int_equal(reached(gpu), last + (uint64_t)left);
        assert_non_null(strstr(failure.message, "vkQueueSubmit2"));
        assert_int_equal(ticket, left ? last + (uint64_t)left : 0); /* how far it came */
        assert_int_equal(rf_gpu_submission_count(gpu), before + (uint64_t)left);
    }
    planted.left = -1;
    gpu->vk.vkQueueSubmit2 = planted.real_submit;
    rf_session_destroy(session);
    forward(cut.model, NULL);
    planted.seconds = 0.0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_longest_of_four_counts),
        cmocka_unit_test(parts_are_shorter_than_the_limit),
        cmocka_unit_test(what_has_not_run_is_estimated),
        cmocka_unit_test(a_cut_costs_no_barrier),
        cmocka_unit_test(every_part_is_visited),
        cmocka_unit_test(results_are_the_same_to_the_bit),
        cmocka_unit_test(sessions_decode_the_same),
        cmocka_unit_test(submissions_keep_the_limit),
        cmocka_unit_test(the_steady_state_records_nothing),
        cmocka_unit_test(two_forwards_share_a_submission_that_they_fit),
        cmocka_unit_test(a_failure_in_the_middle_leaves_nothing_in_flight),
    };
    return cmocka_run_group_tests(tests, open_engines, close_engines);
}
